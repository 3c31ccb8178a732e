//! Where a binding's status and the engine contradict each other. Nothing is decided by a status; this only says that it is
//! not what it should be.

use super::code::Code;
use super::finding::{Finding, binding_key};
use super::place::FieldPath;
use super::scene::Scene;
use crate::fact::Binding;
use crate::index::Verdict;
use crate::refusal::Reason;
use crate::status::{REASON_INITIALIZING, REASON_RECONCILED};

/// A status that says something else than the engine. What the engine cannot know (whether an output could be written) is not
/// compared.
pub(super) fn stale(scene: &Scene<'_>, binding: &Binding) -> Option<Finding> {
    let key = &binding.key;
    let status = scene.statuses.get(key)?;
    let decision = scene.index.verdict(key);
    if !decision.held.is_empty() {
        return None;
    }
    let wanted = match &decision.verdict {
        Verdict::Wanted(_) => REASON_RECONCILED,
        Verdict::Refused(refusal) => refusal.reason().as_str(),
        Verdict::Gone | Verdict::Deleting | Verdict::Waiting(_) => return None,
    };
    let message = match status {
        None => format!("`{key}` has no status yet; the engine says `{wanted}`"),
        Some(status) if binding.generation.is_some() && status.observed < binding.generation => format!(
            "the status of `{key}` speaks of generation {}, but it has generation {}; the engine says `{wanted}`",
            status.observed.unwrap_or_default(),
            binding.generation.unwrap_or_default()
        ),
        Some(status) if status.reason == wanted || after_the_verdict(&status.reason, &decision.verdict) => {
            return None;
        }
        Some(status) => format!(
            "the status of `{key}` says {}, the engine says `{wanted}`",
            crate::text::Quoted(&status.reason)
        ),
    };
    let object = binding_key(key);
    let finding = Finding::new(Code::StatusStale, message).about(&object);
    let finding = finding.at(object, FieldPath::dotted("status.conditions"));
    Some(finding.hint("when it stays so: see that kleym-operator runs, leads, and watches this namespace"))
}

/// Whether a reason only says how the writing of a wanted output goes.
fn after_the_verdict(reason: &str, verdict: &Verdict) -> bool {
    let writing = [
        REASON_INITIALIZING,
        Reason::ClusterSpiffeIdCrdMissing.as_str(),
        Reason::ManagedOutputConflict.as_str(),
        Reason::ManagedOutputApplyFailed.as_str(),
    ];
    matches!(verdict, Verdict::Wanted(_)) && writing.contains(&reason)
}
