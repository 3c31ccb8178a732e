//! Who can meet whom in one namespace, found without looking at everybody.
//!
//! A selector set names one service account, and sets of different accounts are disjoint; so names are kept by account.
//! Within an account they are grouped by the slots they fill that can tell sets apart: against a group, the smallest list
//! of equal items in a shared slot holds every member that is not proved disjoint.
//!
//! Texts are shared with the claims and grants that they are of, never copied.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use super::few::Few;
use crate::name::ObjectName;
use crate::relation::tells_apart;
use crate::selector::{Item, ItemKey};

pub(super) type Names = BTreeSet<ObjectName>;

/// What the members of a group have in common.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Kin {
    account: Item,
    /// The slots, the account's aside, that they fill and that can tell them apart; sorted.
    slots: Box<[Box<str>]>,
}

#[derive(Debug, Default)]
struct Group {
    members: Names,
    /// By each item of those slots.
    by_item: BTreeMap<Item, Few>,
}

/// SPIFFE ID and selector items of a claim or a grant.
#[derive(Debug, Clone, Copy)]
pub(super) struct Face<'a> {
    pub(super) spiffe_id: &'a Arc<str>,
    pub(super) items: &'a [Item],
}

/// A SPIFFE ID whose case does not count.
struct Folded(Arc<str>);

impl Folded {
    fn bytes(&self) -> impl Iterator<Item = u8> {
        self.0.bytes().map(|byte| byte.to_ascii_lowercase())
    }
}

impl Ord for Folded {
    fn cmp(&self, other: &Self) -> Ordering {
        self.bytes().cmp(other.bytes())
    }
}

impl PartialOrd for Folded {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Folded {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl Eq for Folded {}

/// Which of several spellings came first says nothing.
impl fmt::Debug for Folded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0.to_ascii_lowercase(), f)
    }
}

/// Names by what they can meet.
#[derive(Debug, Default)]
pub(super) struct Neighbours {
    by_id: BTreeMap<Folded, Few>,
    groups: BTreeMap<Kin, Box<Group>>,
    /// Those that name no account, or several: they can meet everybody.
    anywhere: Names,
}

/// The item of the one service account of a set.
fn account(items: &[Item]) -> Option<&Item> {
    let mut accounts = items.iter().filter(|item| item.key() == ItemKey::ServiceAccount);
    match (accounts.next(), accounts.next()) {
        (Some(only), None) => Some(only),
        _ => None,
    }
}

/// The items that can tell a set apart within its account, by slot. A slot that is filled twice tells nothing.
fn telling(items: &[Item]) -> impl Iterator<Item = &Item> {
    let telling = items.iter().filter(|item| tells_apart(item) && item.key() != ItemKey::ServiceAccount);
    let mut slots: BTreeMap<&str, Option<&Item>> = BTreeMap::new();
    for item in telling.chain(items.iter().filter(|item| item.tagged_image().is_some())) {
        let known = slots.entry(item.slot()).or_insert(Some(item));
        if *known != Some(item) {
            *known = None;
        }
    }
    slots.into_values().flatten()
}

impl Kin {
    fn of(account: &Item, items: &[Item]) -> Self {
        Self { account: account.clone(), slots: telling(items).map(|item| item.slot().into()).collect() }
    }

    fn fills(&self, slot: &str) -> bool {
        self.slots.binary_search_by(|known| (**known).cmp(slot)).is_ok()
    }
}

impl Neighbours {
    /// Everyone who may not be disjoint from this set, or has its SPIFFE ID: a superset.
    pub(super) fn of(&self, face: Face<'_>) -> BTreeSet<&ObjectName> {
        self.looked_for(face).0
    }

    /// The same, and at how many groups and names was looked for it.
    pub(super) fn looked_for(&self, face: Face<'_>) -> (BTreeSet<&ObjectName>, usize) {
        let mut groups = 0;
        let id = Folded(Arc::clone(face.spiffe_id));
        let mut found: BTreeSet<&ObjectName> = self.by_id.get(&id).into_iter().flat_map(Few::iter).collect();
        found.extend(&self.anywhere);
        let telling: Vec<&Item> = telling(face.items).collect();
        for (kin, group) in self.groups(account(face.items)) {
            group.smallest(kin, &telling, &mut found);
            groups += 1;
        }
        let looked = groups + found.len();
        (found, looked)
    }

    /// The groups of an account, or all of them.
    fn groups<'a>(&'a self, account: Option<&Item>) -> impl Iterator<Item = (&'a Kin, &'a Group)> {
        let first = account.map(|account| Kin { account: account.clone(), slots: Box::default() });
        let groups = match first {
            Some(first) => self.groups.range(first..),
            None => self.groups.range::<Kin, _>(..),
        };
        groups
            .take_while(move |(kin, _)| account.is_none_or(|account| kin.account == *account))
            .map(|(kin, group)| (kin, &**group))
    }

    /// One of those that a set has most items in common with.
    pub(super) fn alike(&self, items: &[Item]) -> Option<&ObjectName> {
        let (_, group) = self.groups(Some(account(items)?)).next()?;
        group.members.first()
    }

    pub(super) fn link(&mut self, name: &ObjectName, face: Face<'_>) {
        let add = |names: &mut Few| names.insert(name);
        let id = Folded(Arc::clone(face.spiffe_id));
        self.by_id.entry(id).and_modify(add).or_insert_with(|| Few::One(name.clone()));
        let Some(account) = account(face.items) else {
            self.anywhere.insert(name.clone());
            return;
        };
        let group = self.groups.entry(Kin::of(account, face.items)).or_default();
        group.members.insert(name.clone());
        for item in telling(face.items) {
            group.by_item.entry(item.clone()).and_modify(add).or_insert_with(|| Few::One(name.clone()));
        }
    }

    pub(super) fn unlink(&mut self, name: &ObjectName, face: Face<'_>) {
        remove(&mut self.by_id, &Folded(Arc::clone(face.spiffe_id)), name);
        let Some(account) = account(face.items) else {
            self.anywhere.remove(name);
            return;
        };
        let kin = Kin::of(account, face.items);
        let Some(group) = self.groups.get_mut(&kin) else { return };
        group.members.remove(name);
        for item in telling(face.items) {
            remove(&mut group.by_item, item, name);
        }
        if group.members.is_empty() {
            self.groups.remove(&kin);
        }
    }
}

/// Takes a name out of the set that is kept under a key.
fn remove<K: Ord>(sets: &mut BTreeMap<K, Few>, key: &K, name: &ObjectName) {
    if sets.get_mut(key).is_some_and(|names| names.remove(name)) {
        sets.remove(key);
    }
}

impl Group {
    /// Finds the members that may not be disjoint from a set with these telling items.
    fn smallest<'a>(&'a self, kin: &Kin, telling: &[&Item], found: &mut BTreeSet<&'a ObjectName>) {
        let mut smallest: Option<&Few> = None;
        for item in telling.iter().filter(|item| kin.fills(item.slot())) {
            // Without such an item, every member has another value in this slot.
            let Some(names) = self.by_item.get(item) else { return };
            if smallest.is_none_or(|so_far| names.len() < so_far.len()) {
                smallest = Some(names);
            }
        }
        match smallest {
            Some(names) => found.extend(names.iter()),
            None => found.extend(&self.members),
        }
    }
}
