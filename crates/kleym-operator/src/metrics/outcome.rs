//! How a turn ended, in the words of the labels. A closed vocabulary: nothing a tenant writes becomes a label.

use kleym_core::fact::Mode;
use kleym_core::plan::Standing;
use kleym_core::refusal::{Condition, Reason};
use kleym_core::status::{REASON_INITIALIZING, REASON_RECONCILED};

use super::table::Value;

/// The label `mode` of a binding whose spec cannot be read.
const NO_MODE: &str = "Unknown";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Ready,
    Undecided,
    Refused(Reason),
}

/// The condition and reason a binding stands with, and its mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Outcome {
    verdict: Verdict,
    mode: Option<Mode>,
}

impl Outcome {
    /// How a binding stands; none when it is leaving.
    pub(super) fn of(standing: &Standing, mode: Option<Mode>) -> Option<Self> {
        let verdict = match standing {
            Standing::Leaving | Standing::Released { .. } => return None,
            Standing::Undecided(_) | Standing::Waiting(_) => Verdict::Undecided,
            Standing::Refused { refusal, .. } => Verdict::Refused(refusal.reason()),
            Standing::Granted { .. } => Verdict::Ready,
        };
        Some(Self { verdict, mode })
    }

    /// The values of `condition`, `reason` and `mode`.
    pub(super) fn labels(self) -> [Value; 3] {
        let (condition, reason) = match self.verdict {
            Verdict::Ready => (Condition::Ready, REASON_RECONCILED),
            Verdict::Undecided => (Condition::Ready, REASON_INITIALIZING),
            Verdict::Refused(reason) => (reason.condition(), reason.as_str()),
        };
        let mode = self.mode.map_or(NO_MODE, Mode::as_str);
        [condition.as_str(), reason, mode].map(Value::Borrowed)
    }
}
