//! What is counted.

use std::collections::BTreeMap;

use kleym_core::plan::Step;
use kleym_operator::perform::{Action, Call};

/// What was counted.
#[derive(Debug, Default, Clone)]
pub(crate) struct Tally {
    /// Calls, by what they do.
    pub(crate) calls: BTreeMap<&'static str, u64>,
    /// How often an operator died.
    pub(crate) deaths: u64,
    /// Events of the simulation.
    pub(crate) events: u64,
    /// Identities written.
    pub(crate) grants: u64,
    /// Requests that landed late.
    pub(crate) late: u64,
}

impl Tally {
    /// How many calls were made.
    pub(crate) fn all(&self) -> u64 {
        self.calls.values().sum()
    }

    /// How many of them were to change something.
    pub(crate) fn writes(&self) -> u64 {
        let reads = ["look at output", "look at binding", "try output"];
        self.calls.iter().filter(|(call, _)| !reads.contains(call)).map(|(_, count)| count).sum()
    }
}

/// What a call does.
pub(super) fn name_of(call: &Call) -> &'static str {
    let step = match &call.action {
        Action::WriteStatus(_) => return "write status",
        Action::Step(step) => step,
    };
    match step {
        Step::AddFinalizer => "add finalizer",
        Step::RemoveFinalizer { .. } => "remove finalizer",
        Step::TryOutput(_) => "try output",
        Step::CreateOutput(_) => "create output",
        Step::ReplaceOutput(_) => "replace output",
        Step::DeleteOutput { .. } => "delete output",
        Step::NeutraliseOutput { .. } => "neutralise output",
        Step::LookAtOutput { .. } => "look at output",
        Step::LookAtBinding { .. } => "look at binding",
        Step::Settle(_) => "settle",
    }
}
