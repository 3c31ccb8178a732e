//! Taking over from another leader. What the watches of this replica told may lack what the former leader wrote last, and
//! each kind by another time: beside an output that is not known of, nothing must be granted.

use kleym_core::fact::Trouble;
use kleym_core::index::Dirty;
use kleym_core::kind::Kind;
use kleym_core::name::BindingKey;
use kleym_core::output::LiveOutput;
use kleym_core::plan::{Standing, Step};
use kleym_core::queue::Now;
use kleym_core::resolve::Troubles;

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

    /// What becomes of a step of a binding where that list takes so long that turns have begun without it: nothing is
    /// granted, and what is to be taken away is. What grants too much and cannot be replaced therefore is taken away, too.
    pub(super) fn restrain(
        &mut self,
        key: &BindingKey,
        step: Step,
        live: Option<&LiveOutput>,
        trouble: Option<Trouble>,
    ) -> Step {
        match (step, live) {
            (Step::ReplaceOutput(wanted), Some(live)) if live.grants_more_than(&wanted) => {
                Step::DeleteOutput { name: wanted.name, uid: live.uid.clone() }
            }
            (Step::CreateOutput(_) | Step::ReplaceOutput(_) | Step::TryOutput(_), _) => {
                self.held.insert(key.clone());
                let trouble = trouble.unwrap_or(Trouble::Starting);
                Step::Settle(Standing::Undecided(Troubles::from([(Kind::Output, trouble)])))
            }
            (step, _) => step,
        }
    }

    /// The bindings that had to wait.
    pub(super) fn over(self) -> Dirty {
        self.held
    }
}
