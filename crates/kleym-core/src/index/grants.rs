//! The live outputs of one namespace by what they grant.

use std::collections::BTreeMap;

use super::neighbours::{Face, Neighbours};
use crate::grant::Grant;
use crate::name::ObjectName;
use crate::render::Identity;
use crate::selector::Item;

/// A live output of a binding, living or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Standing {
    /// The binding it was written for, in this namespace.
    pub(super) binding: ObjectName,
    pub(super) grant: Grant,
}

/// The grants of one namespace, by output name.
#[derive(Debug, Default)]
pub(super) struct Grants {
    by_output: BTreeMap<ObjectName, Standing>,
    neighbours: Neighbours,
}

fn face(grant: &Grant) -> Face<'_> {
    Face { spiffe_id: &grant.spiffe_id, items: &grant.items }
}

impl Grants {
    pub(super) fn is_empty(&self) -> bool {
        self.by_output.is_empty()
    }

    /// Sets or takes away what an output grants; answers whether that changed.
    pub(super) fn set(&mut self, output: &ObjectName, standing: Option<Standing>) -> bool {
        if self.by_output.get(output) == standing.as_ref() {
            return false;
        }
        if let Some(old) = self.by_output.remove(output) {
            self.neighbours.unlink(output, face(&old.grant));
        }
        if let Some(new) = standing {
            self.neighbours.link(output, face(&new.grant));
            self.by_output.insert(output.clone(), new);
        }
        true
    }

    /// The outputs that could meet an identity: a superset.
    pub(super) fn near<'a>(
        &'a self,
        identity: &Identity,
    ) -> impl Iterator<Item = (&'a ObjectName, &'a Standing)> {
        let wanted = Face { spiffe_id: identity.spiffe_id.shared(), items: identity.selectors.items() };
        self.neighbours.of(wanted).into_iter().filter_map(|name| self.by_output.get_key_value(name))
    }

    /// A grant to the same account, if there is one: it has most of its items in common with this set.
    pub(super) fn alike(&self, items: &[Item]) -> Option<&Grant> {
        let name = self.neighbours.alike(items)?;
        Some(&self.by_output.get(name)?.grant)
    }

    /// What a live output grants that is of this very identity, if there is one.
    pub(super) fn of(&self, identity: &Identity) -> Option<&Grant> {
        self.near(identity).map(|(_, standing)| &standing.grant).find(|grant| grant.is_of(identity))
    }

    pub(super) fn get(&self, output: &ObjectName) -> Option<&Standing> {
        self.by_output.get(output)
    }
}
