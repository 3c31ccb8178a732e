//! Who claims what in one namespace: every binding that renders, with its place in the order of precedence.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::neighbours::{Face, Names, Neighbours};
use crate::name::ObjectName;
use crate::relation::{Precedence, conflict};
use crate::render::Identity;
use crate::selector::Item;

/// One binding's claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) precedence: Precedence,
    pub(super) identity: Arc<Identity>,
}

impl Claim {
    pub(super) fn face(&self) -> Face<'_> {
        face(&self.identity)
    }
}

/// At how many groups and names may still be looked to find whom a change affects. Whoever can make many bindings that
/// meet each other, and change what all of them stand on, would else make one change cost the square of their number.
#[derive(Debug)]
pub(super) struct Looks(pub(super) usize);

/// The peers whose verdict may change with a claim.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Peers {
    /// These.
    Those(Names),
    /// It costs less to judge everyone of the namespace again than to find out.
    Everyone,
}

fn face(identity: &Identity) -> Face<'_> {
    Face { spiffe_id: identity.spiffe_id.shared(), items: identity.selectors.items() }
}

/// The claims of one namespace.
#[derive(Debug, Default)]
pub(super) struct Claims {
    by_name: BTreeMap<ObjectName, Claim>,
    neighbours: Neighbours,
}

impl Claims {
    pub(super) fn get(&self, name: &ObjectName) -> Option<&Claim> {
        self.by_name.get(name)
    }

    /// Sets or takes away a binding's claim; answers the peers after it, in precedence, that its old or its new claim
    /// conflicts with.
    pub(super) fn set(&mut self, name: &ObjectName, claim: Option<Claim>, looks: &mut Looks) -> Peers {
        if self.by_name.get(name) == claim.as_ref() {
            return Peers::Those(Names::new());
        }
        let mut affected = Some(Names::new());
        if let Some(old) = self.by_name.remove(name) {
            self.neighbours.unlink(name, old.face());
            self.add_later_conflicts(&old, looks, &mut affected);
        }
        if let Some(new) = claim {
            self.add_later_conflicts(&new, looks, &mut affected);
            self.neighbours.link(name, new.face());
            self.by_name.insert(name.clone(), new);
        }
        affected.map_or(Peers::Everyone, Peers::Those)
    }

    /// The claims that conflict with this one and come before it, by precedence.
    pub(super) fn earlier_conflicts(&self, claim: &Claim) -> Vec<&Claim> {
        let mut earlier: Vec<&Claim> = self
            .near(claim.face())
            .filter(|peer| peer.precedence < claim.precedence)
            .filter(|peer| conflict(&claim.identity, &peer.identity).is_some())
            .collect();
        earlier.sort_by(|a, b| a.precedence.cmp(&b.precedence));
        earlier
    }

    /// Of the claims that conflict with an identity the one that comes first.
    pub(super) fn first_conflict(&self, identity: &Identity) -> Option<&Claim> {
        let against = self.near(face(identity)).filter(|peer| conflict(identity, &peer.identity).is_some());
        against.min_by(|a, b| a.precedence.cmp(&b.precedence))
    }

    /// Every claim that may not be disjoint from this face, or has its SPIFFE ID: a superset, in no order that matters.
    pub(super) fn near(&self, face: Face<'_>) -> impl Iterator<Item = &Claim> {
        self.called(self.neighbours.of(face))
    }

    /// The claims of the bindings with these names.
    fn called<'a>(
        &'a self,
        names: impl IntoIterator<Item = &'a ObjectName>,
    ) -> impl Iterator<Item = &'a Claim> {
        names.into_iter().filter_map(|name| self.by_name.get(name))
    }

    /// A claim of the same account, if there is one: it has most of its items in common with this set.
    pub(super) fn alike(&self, items: &[Item]) -> Option<&Identity> {
        let name = self.neighbours.alike(items)?;
        Some(&*self.by_name.get(name)?.identity)
    }

    /// Adds the claims that conflict with this one and come after it, as long as looks are left; then there is none.
    fn add_later_conflicts(&self, claim: &Claim, looks: &mut Looks, affected: &mut Option<Names>) {
        if looks.0 == 0 {
            *affected = None;
        }
        let Some(affected) = affected else { return };
        let (near, looked) = self.neighbours.looked_for(claim.face());
        looks.0 = looks.0.saturating_sub(looked);
        let later = self
            .called(near)
            .filter(|peer| peer.precedence > claim.precedence)
            .filter(|peer| conflict(&claim.identity, &peer.identity).is_some());
        affected.extend(later.map(|peer| peer.precedence.name.clone()));
    }
}
