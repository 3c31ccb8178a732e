//! What a live output grants, as far as it can be told from the object alone, and whether that stands in the way of an
//! identity that is to be written.
//!
//! Conservative on purpose: an item that cannot be read narrows nothing, and an output whose mode or pool is not known
//! competes with everything.

use std::sync::Arc;

use crate::output::LiveOutput;
use crate::relation::{compete, disjoint_items};
use crate::render::Identity;
use crate::selector::{self, Item};

/// A live output's SPIFFE ID and the selector items that can be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// As it stands in the object; not necessarily a SPIFFE ID.
    pub spiffe_id: Arc<str>,
    /// Sorted, without duplicates.
    pub items: Arc<[Item]>,
}

impl Grant {
    /// What this output grants.
    pub fn of(output: &LiveOutput) -> Self {
        let mut items: Vec<Item> =
            output.spec.selectors.iter().filter_map(|text| Item::parse(text).ok()).collect();
        items.sort();
        items.dedup();
        Self { spiffe_id: (*output.spec.spiffe_id).into(), items: items.into() }
    }

    /// Keeps once what it has in common with another grant's, or an identity's, SPIFFE ID and items.
    pub(crate) fn share(&mut self, spiffe_id: &Arc<str>, items: &Arc<[Item]>) {
        if self.spiffe_id == *spiffe_id {
            self.spiffe_id = Arc::clone(spiffe_id);
        }
        selector::share(&mut self.items, items);
    }

    /// Whether this is exactly what an identity renders to: then the identity's mode and pool are the grant's.
    pub fn is_of(&self, identity: &Identity) -> bool {
        *self.spiffe_id == *identity.spiffe_id.as_str() && *self.items == *identity.selectors.items()
    }

    /// Whether writing `wanted` beside this grant could give one workload two identities, or two subjects one SPIFFE ID.
    /// `known` is an identity that this grant is of, if there is one.
    pub fn stands_against(&self, known: Option<&Identity>, wanted: &Identity) -> bool {
        if *self.spiffe_id != *wanted.spiffe_id.as_str() {
            let competes = known.is_none_or(|known| compete(known, wanted));
            if competes && !disjoint_items(&self.items, wanted.selectors.items()) {
                return true;
            }
        }
        // A subject keeps its name while its pool is relabelled; several bindings of it may then be replaced in any order.
        self.spiffe_id.eq_ignore_ascii_case(wanted.spiffe_id.as_str())
            && known.is_none_or(|known| known.subject != wanted.subject)
    }
}
