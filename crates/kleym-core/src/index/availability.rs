//! How well each kind is known: as a whole, and, where each namespace is read by a list of its own, in that namespace.
//! What cannot be read in one namespace says nothing of another.

use std::collections::BTreeMap;

use crate::fact::{Availability, Known, Trouble};
use crate::kind::Kind;
use crate::name::Namespace;

/// How well each kind is known, and where.
#[derive(Debug, Default)]
pub(super) struct Availabilities {
    whole: BTreeMap<Kind, Availability>,
    /// Where it is known better, or worse, than as a whole.
    own: BTreeMap<Kind, BTreeMap<Namespace, Availability>>,
}

impl Availabilities {
    /// How well a kind is known as a whole.
    pub(super) fn of(&self, kind: Kind) -> Availability {
        self.whole.get(&kind).copied().unwrap_or(Availability::STARTING)
    }

    /// How well it is known in a namespace.
    pub(super) fn within(&self, kind: Kind, namespace: &Namespace) -> Availability {
        let own = self.own.get(&kind).and_then(|own| own.get(namespace));
        own.copied().unwrap_or_else(|| self.of(kind))
    }

    /// Notes what was proved of a kind everywhere; answers whether that changes anything.
    pub(super) fn proved(&mut self, kind: Kind, availability: Availability) -> bool {
        let own = self.own.remove(&kind).unwrap_or_default();
        self.set(kind, availability) || own.values().any(|own| *own != availability)
    }

    /// Notes that a kind was listed in a namespace; answers whether that changes anything.
    pub(super) fn listed_in(&mut self, kind: Kind, namespace: &Namespace) -> bool {
        self.set_within(kind, namespace, Availability::LISTED)
    }

    /// Notes what is wrong with a kind everywhere; answers whether that changes anything.
    pub(super) fn trouble(&mut self, kind: Kind, trouble: Option<Trouble>) -> bool {
        let mut changed = self.set(kind, Availability { trouble, ..self.of(kind) });
        for own in self.own.get_mut(&kind).into_iter().flat_map(BTreeMap::values_mut) {
            changed |= own.trouble != trouble;
            own.trouble = trouble;
        }
        changed
    }

    /// Notes what is wrong with a kind in a namespace; answers whether that changes anything.
    pub(super) fn trouble_in(&mut self, kind: Kind, namespace: &Namespace, trouble: Option<Trouble>) -> bool {
        let known = self.within(kind, namespace).known;
        self.set_within(kind, namespace, Availability { known, trouble })
    }

    /// Whether a kind is known anywhere.
    pub(super) fn anywhere(&self, kind: Kind) -> bool {
        let own = self.own.get(&kind).into_iter().flat_map(BTreeMap::values).copied();
        own.chain([self.of(kind)]).any(|availability| availability.known != Known::Nothing)
    }

    fn set(&mut self, kind: Kind, availability: Availability) -> bool {
        let changed = self.of(kind) != availability;
        if changed {
            self.whole.insert(kind, availability);
        }
        changed
    }

    fn set_within(&mut self, kind: Kind, namespace: &Namespace, availability: Availability) -> bool {
        let before = self.within(kind, namespace);
        self.own.entry(kind).or_default().insert(namespace.clone(), availability);
        before != availability
    }
}
