//! Who can meet whom in one namespace, found without looking at everybody.
//!
//! A selector set names one service account, and sets of different accounts are disjoint; so names are kept by account.
//! Within an account they are grouped by the slots they fill that can tell sets apart: against a group, the smallest list
//! of equal values in a shared slot holds every member that is not proved disjoint.

use std::collections::{BTreeMap, BTreeSet};

use crate::name::ObjectName;
use crate::relation::tells_apart;
use crate::selector::{Item, ItemKey};

pub(super) type Names = BTreeSet<ObjectName>;
/// The slots, the account's aside, that a set fills and that can tell it apart.
type Signature = Box<[Box<str>]>;

#[derive(Debug, Default)]
struct Group {
    members: Names,
    by_slot: BTreeMap<Box<str>, BTreeMap<Box<str>, Names>>,
}

/// SPIFFE ID and selector items of a claim or a grant.
#[derive(Debug, Clone, Copy)]
pub(super) struct Face<'a> {
    pub(super) spiffe_id: &'a str,
    pub(super) items: &'a [Item],
}

/// Names by what they can meet.
#[derive(Debug, Default)]
pub(super) struct Neighbours {
    by_id: BTreeMap<Box<str>, Names>,
    by_account: BTreeMap<Box<str>, BTreeMap<Signature, Group>>,
    /// Those that name no account, or several: they can meet everybody.
    anywhere: Names,
}

/// The one service account of a set.
fn account(items: &[Item]) -> Option<&str> {
    let mut accounts = items.iter().filter(|item| item.key() == ItemKey::ServiceAccount);
    match (accounts.next(), accounts.next()) {
        (Some(only), None) => Some(only.value()),
        _ => None,
    }
}

/// Slot and value of what can tell a set apart within its account. A slot that is filled twice tells nothing.
fn slots(items: &[Item]) -> Vec<(&str, &str)> {
    let telling = items.iter().filter(|item| tells_apart(item) && item.key() != ItemKey::ServiceAccount);
    let mut slots: BTreeMap<&str, Option<&str>> = BTreeMap::new();
    for item in telling.chain(items.iter().filter(|item| item.tagged_image().is_some())) {
        let value = slots.entry(item.slot()).or_insert(Some(item.value()));
        if *value != Some(item.value()) {
            *value = None;
        }
    }
    slots.into_iter().filter_map(|(slot, value)| Some((slot, value?))).collect()
}

fn signature(slots: &[(&str, &str)]) -> Signature {
    slots.iter().map(|(slot, _)| (*slot).into()).collect()
}

impl Neighbours {
    /// Everyone who may not be disjoint from this set, or has its SPIFFE ID: a superset.
    pub(super) fn of(&self, face: Face<'_>) -> BTreeSet<&ObjectName> {
        let id = face.spiffe_id.to_ascii_lowercase();
        let mut found: BTreeSet<&ObjectName> = self.by_id.get(id.as_str()).into_iter().flatten().collect();
        found.extend(&self.anywhere);
        let slots = slots(face.items);
        match account(face.items) {
            Some(account) => {
                for group in self.by_account.get(account).into_iter().flat_map(BTreeMap::values) {
                    found.extend(group.smallest(&slots));
                }
            }
            None => {
                for group in self.by_account.values().flat_map(BTreeMap::values) {
                    found.extend(group.smallest(&slots));
                }
            }
        }
        found
    }

    pub(super) fn link(&mut self, name: &ObjectName, face: Face<'_>) {
        self.by_id.entry(face.spiffe_id.to_ascii_lowercase().into()).or_default().insert(name.clone());
        let Some(account) = account(face.items) else {
            self.anywhere.insert(name.clone());
            return;
        };
        let slots = slots(face.items);
        let group = self.by_account.entry(account.into()).or_default().entry(signature(&slots)).or_default();
        group.members.insert(name.clone());
        for (slot, value) in slots {
            let values = group.by_slot.entry(slot.into()).or_default();
            values.entry(value.into()).or_default().insert(name.clone());
        }
    }

    pub(super) fn unlink(&mut self, name: &ObjectName, face: Face<'_>) {
        let id = face.spiffe_id.to_ascii_lowercase();
        if let Some(names) = self.by_id.get_mut(id.as_str()) {
            names.remove(name);
            if names.is_empty() {
                self.by_id.remove(id.as_str());
            }
        }
        let Some(account) = account(face.items) else {
            self.anywhere.remove(name);
            return;
        };
        let slots = slots(face.items);
        let signature = signature(&slots);
        let Some(groups) = self.by_account.get_mut(account) else { return };
        if let Some(group) = groups.get_mut(&signature) {
            group.remove(name, &slots);
            if group.members.is_empty() {
                groups.remove(&signature);
            }
        }
        if groups.is_empty() {
            self.by_account.remove(account);
        }
    }
}

impl Group {
    /// The members that may not be disjoint from a set with these slots.
    fn smallest<'a>(&'a self, slots: &[(&str, &str)]) -> impl Iterator<Item = &'a ObjectName> + use<'a> {
        let mut smallest = Some(&self.members);
        for (slot, value) in slots {
            let Some(values) = self.by_slot.get(*slot) else { continue };
            match values.get(*value) {
                Some(names) => {
                    if smallest.is_some_and(|so_far| names.len() < so_far.len()) {
                        smallest = Some(names);
                    }
                }
                // Every member has another value in this slot.
                None => smallest = None,
            }
            if smallest.is_none() {
                break;
            }
        }
        smallest.into_iter().flatten()
    }

    fn remove(&mut self, name: &ObjectName, slots: &[(&str, &str)]) {
        self.members.remove(name);
        for (slot, value) in slots {
            if let Some(values) = self.by_slot.get_mut(*slot)
                && let Some(names) = values.get_mut(*value)
            {
                names.remove(name);
                if names.is_empty() {
                    values.remove(*value);
                }
            }
        }
    }
}
