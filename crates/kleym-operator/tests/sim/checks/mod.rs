//! What must hold at every moment, and what must hold in the end; told a second time, from the contract alone.

mod conduct;
mod moment;
#[path = "../../rules/mod.rs"]
mod rules;
mod settled;

pub(crate) use conduct::Conduct;
pub(crate) use moment::{Commit, committed, issued};
pub(crate) use settled::{Snapshot, settled, snapshot};

/// A broken rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Violation {
    /// Which one: `S1` to `S5`, `L1` to `L3`, `wire`, `order`.
    pub(crate) rule: &'static str,
    /// What happened.
    pub(crate) what: String,
}

/// Whether a rule is kept.
pub(crate) type Verified = Result<(), Violation>;

/// A rule that is broken when this does not hold.
pub(crate) fn must(holds: bool, rule: &'static str, what: impl FnOnce() -> String) -> Verified {
    if holds { Ok(()) } else { Err(Violation { rule, what: what() }) }
}
