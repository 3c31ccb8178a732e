//! Who claims what in one namespace, so that the peers an identity can meet are found without looking at all of them.
//!
//! Every identity names exactly one service account, and identities of different accounts are disjoint; so claims are
//! kept by account. Within an account they are grouped by the slots they fill that can tell identities apart: against a
//! group, the smallest list of equal values in a shared slot holds every member that is not proved disjoint.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::name::ObjectName;
use crate::relation::{Precedence, conflict, tells_apart};
use crate::render::Identity;
use crate::selector::ItemKey;

/// One binding's claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) precedence: Precedence,
    pub(super) identity: Arc<Identity>,
}

type Names = BTreeSet<ObjectName>;
/// The slots, the account's aside, that an identity fills and that can tell it apart.
type Signature = Box<[Box<str>]>;

#[derive(Debug, Default)]
struct Group {
    members: Names,
    by_slot: BTreeMap<Box<str>, BTreeMap<Box<str>, Names>>,
}

/// The claims of one namespace.
#[derive(Debug, Default)]
pub(super) struct Claims {
    by_name: BTreeMap<ObjectName, Claim>,
    by_id: BTreeMap<Box<str>, Names>,
    by_account: BTreeMap<Box<str>, BTreeMap<Signature, Group>>,
}

/// Slot and value of what can tell an identity apart within its account.
fn slots(identity: &Identity) -> Vec<(&str, &str)> {
    let items = identity.selectors.items();
    let mut slots: Vec<(&str, &str)> = items
        .iter()
        .filter(|item| tells_apart(item) && item.key() != ItemKey::ServiceAccount)
        .map(|item| (item.slot(), item.value()))
        .collect();
    // Two tagged images in one set tell it apart from every single one, so only a single one can stand for a slot.
    let mut tagged = items.iter().filter(|item| item.tagged_image().is_some());
    if let (Some(image), None) = (tagged.next(), tagged.next()) {
        slots.push((image.slot(), image.value()));
    }
    slots.sort_unstable();
    slots
}

fn signature(slots: &[(&str, &str)]) -> Signature {
    slots.iter().map(|(slot, _)| (*slot).into()).collect()
}

impl Claims {
    pub(super) fn get(&self, name: &ObjectName) -> Option<&Claim> {
        self.by_name.get(name)
    }

    /// Sets or takes away a binding's claim; answers the peers after it, in precedence, that its old or its new claim
    /// conflicts with.
    pub(super) fn set(&mut self, name: &ObjectName, claim: Option<Claim>) -> Names {
        if self.by_name.get(name) == claim.as_ref() {
            return Names::new();
        }
        let mut affected = Names::new();
        if let Some(old) = self.by_name.remove(name) {
            self.unlink(name, &old.identity);
            affected.extend(self.later_conflicts(&old));
        }
        if let Some(new) = claim {
            affected.extend(self.later_conflicts(&new));
            self.link(name, &new.identity);
            self.by_name.insert(name.clone(), new);
        }
        affected
    }

    /// The claims that conflict with this one and come before it, by precedence.
    pub(super) fn earlier_conflicts(&self, claim: &Claim) -> Vec<&Claim> {
        let mut earlier: Vec<&Claim> = self
            .candidates(&claim.identity)
            .into_iter()
            .filter_map(|name| self.by_name.get(name))
            .filter(|peer| peer.precedence < claim.precedence)
            .filter(|peer| conflict(&claim.identity, &peer.identity).is_some())
            .collect();
        earlier.sort_by(|a, b| a.precedence.cmp(&b.precedence));
        earlier
    }

    fn later_conflicts(&self, claim: &Claim) -> Names {
        self.candidates(&claim.identity)
            .into_iter()
            .filter_map(|name| self.by_name.get(name))
            .filter(|peer| peer.precedence > claim.precedence)
            .filter(|peer| conflict(&claim.identity, &peer.identity).is_some())
            .map(|peer| peer.precedence.name.clone())
            .collect()
    }

    /// Everyone who may conflict with an identity: a superset.
    fn candidates(&self, identity: &Identity) -> BTreeSet<&ObjectName> {
        let mut found: BTreeSet<&ObjectName> =
            self.by_id.get(identity.spiffe_id.folded().as_str()).into_iter().flatten().collect();
        let slots = slots(identity);
        for group in
            self.by_account.get(identity.selectors.service_account()).into_iter().flat_map(BTreeMap::values)
        {
            let mut smallest = &group.members;
            let none = Names::new();
            for (slot, value) in &slots {
                if let Some(values) = group.by_slot.get(*slot) {
                    match values.get(*value) {
                        Some(names) if names.len() < smallest.len() => smallest = names,
                        Some(_) => {}
                        None => {
                            smallest = &none;
                            break;
                        }
                    }
                }
            }
            // `none` is empty, so nothing of it is kept.
            found.extend(smallest.iter().filter_map(|name| group.members.get(name)));
        }
        found
    }

    fn link(&mut self, name: &ObjectName, identity: &Identity) {
        self.by_id.entry(identity.spiffe_id.folded().into()).or_default().insert(name.clone());
        let slots = slots(identity);
        let account = self.by_account.entry(identity.selectors.service_account().into()).or_default();
        let group = account.entry(signature(&slots)).or_default();
        group.members.insert(name.clone());
        for (slot, value) in slots {
            let values = group.by_slot.entry(slot.into()).or_default();
            values.entry(value.into()).or_default().insert(name.clone());
        }
    }

    fn unlink(&mut self, name: &ObjectName, identity: &Identity) {
        let id = identity.spiffe_id.folded();
        if let Some(names) = self.by_id.get_mut(id.as_str()) {
            names.remove(name);
            if names.is_empty() {
                self.by_id.remove(id.as_str());
            }
        }
        let slots = slots(identity);
        let account = identity.selectors.service_account();
        let Some(groups) = self.by_account.get_mut(account) else { return };
        let signature = signature(&slots);
        if let Some(group) = groups.get_mut(&signature) {
            group.members.remove(name);
            for (slot, value) in slots {
                if let Some(values) = group.by_slot.get_mut(slot)
                    && let Some(names) = values.get_mut(value)
                {
                    names.remove(name);
                    if names.is_empty() {
                        values.remove(value);
                    }
                }
            }
            if group.members.is_empty() {
                groups.remove(&signature);
            }
        }
        if groups.is_empty() {
            self.by_account.remove(account);
        }
    }
}
