//! Taking over from another leader. What the watches of this replica told may lack what the former leader wrote last, and
//! each kind by another time: beside an output that is not known of, nothing must be granted.

use kleym_core::index::Dirty;
use kleym_core::name::BindingKey;
use kleym_core::queue::Now;

/// A takeover that is not over: outputs were not listed, or proved absent, anew.
#[derive(Debug)]
pub(super) struct Takeover {
    /// The list that is waited for.
    pub(super) asked: u64,
    pub(super) since: Now,
    /// The bindings that wait for it.
    held: Dirty,
}

impl Takeover {
    /// A takeover that begins now.
    pub(super) fn new(asked: u64, since: Now) -> Self {
        Self { asked, since, held: Dirty::new() }
    }

    /// Has a binding wait for the list.
    pub(super) fn holds(&mut self, key: &BindingKey) {
        if self.held.is_empty() {
            tracing::warn!(
                "ClusterSPIFFEIDs cannot be listed since this replica took over: until they are, nothing is granted"
            );
        }
        self.held.insert(key.clone());
    }

    /// The bindings that had to wait.
    pub(super) fn over(self) -> Dirty {
        self.held
    }
}
