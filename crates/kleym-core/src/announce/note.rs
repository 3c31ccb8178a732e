//! The words of every announcement: what, where, and what to do. At most 1,024 bytes, and the same words for the same
//! thing, so that an event that is told twice can be recognised.

use crate::name::ObjectName;
use crate::output::OutputStats;
use crate::plan::{Remnant, Wait};
use crate::refusal::Refusal;
use crate::relation::Conflict;
use crate::render::Identity;
use crate::status::refused_message;
use crate::text::{Quoted, bounded, quoted_list};

/// What follows a withdrawal, because it is not the end of the story.
const AFTERWARDS: &str = "SPIRE's entry goes when spire-controller-manager runs next, an SVID already issued lives until it expires, and the pods' fallback identity comes back";

pub(super) fn granted(output: &ObjectName, identity: &Identity) -> String {
    bounded(format!("ClusterSPIFFEID `{output}` grants `{}`", identity.spiffe_id))
}

/// `before` is the SPIFFE ID that was granted; `again` says that the same was granted by another object.
pub(super) fn changed(output: &ObjectName, before: &str, identity: &Identity, again: bool) -> String {
    let id = &identity.spiffe_id;
    bounded(if before != id.as_str() {
        format!(
            "ClusterSPIFFEID `{output}` grants `{id}` instead of {}; an SVID already issued lives until it expires",
            Quoted(before)
        )
    } else if again {
        format!("ClusterSPIFFEID `{output}` was created again and grants `{id}` as before")
    } else {
        format!(
            "ClusterSPIFFEID `{output}` grants `{id}` to other workloads than before: its selectors are now {}",
            identity.selectors.fingerprint()
        )
    })
}

fn gone(output: &ObjectName, spiffe_id: &str) -> String {
    format!("ClusterSPIFFEID `{output}`, which granted {}, is gone; {AFTERWARDS}", Quoted(spiffe_id))
}

pub(super) fn withdrawn_by_deletion(output: &ObjectName, spiffe_id: &str) -> String {
    bounded(format!("{}: the binding is deleted", gone(output, spiffe_id)))
}

/// What is told of an identity that is withdrawn while its binding is being deleted.
pub(super) fn as_it_is_deleted(note: &str) -> String {
    bounded(format!("the binding is being deleted: {note}"))
}

pub(super) fn withdrawn_by_refusal(
    output: &ObjectName,
    spiffe_id: &str,
    refusal: &Refusal,
    remnant: &Remnant,
) -> String {
    let withdrawn = match remnant {
        Remnant::Kept(finalizers) => kept(output, spiffe_id, finalizers),
        _ => gone(output, spiffe_id),
    };
    bounded(format!("{withdrawn}: {}", refusal.message()))
}

fn kept(output: &ObjectName, spiffe_id: &str, finalizers: &[Box<str>]) -> String {
    format!(
        "ClusterSPIFFEID `{output}`, which granted {}, selects nothing any more, but is kept by the finalizers {}; whoever set them must remove them; {AFTERWARDS}",
        Quoted(spiffe_id),
        quoted_list(finalizers.iter().map(|finalizer| &**finalizer))
    )
}

pub(super) fn withdrawn_for_a_while(output: &ObjectName, spiffe_id: &str, wait: &Wait) -> String {
    let why = match wait {
        Wait::Finalizers(finalizers) => return bounded(kept(output, spiffe_id, finalizers)),
        Wait::Outputs(outputs) => format!(
            "the binding is to have it again as soon as {} of other bindings are gone or replaced",
            quoted_list(outputs.iter().map(ObjectName::as_str))
        ),
        Wait::Undone(_) => {
            "somebody changes or deletes it again and again, so the binding is to have it again after a pause; find out who does that and stop it".to_owned()
        }
        Wait::List => "the binding is to have it again as soon as ClusterSPIFFEIDs can be listed".to_owned(),
        Wait::Absence | Wait::Cooling | Wait::Withdrawal(_) | Wait::Proof { .. } | Wait::Release(_) => {
            "the binding is to have it again in a moment".to_owned()
        }
    };
    bounded(format!("{}: {why}", gone(output, spiffe_id)))
}

/// `stands` is the SPIFFE ID that the binding's output grants nevertheless.
pub(super) fn refused(
    refusal: &Refusal,
    remnant: &Remnant,
    output: &ObjectName,
    stands: Option<&str>,
) -> String {
    bounded(match (remnant, stands) {
        (Remnant::Nothing | Remnant::Kept(_), Some(id)) => {
            format!("ClusterSPIFFEID `{output}` still grants {}: {}", Quoted(id), refusal.message())
        }
        _ => refused_message(refusal, remnant),
    })
}

pub(super) fn contested(younger: &ObjectName, conflict: &Conflict) -> String {
    let younger = Quoted(younger.as_str());
    let id = Quoted(conflict.spiffe_id.as_str());
    bounded(format!(
        "InferenceIdentityBinding {younger} claims {id} for workloads or a SPIFFE ID of this binding and is refused with {}, because this binding comes first and keeps what it has; {}",
        conflict.cause().reason().as_str(),
        conflict.hint()
    ))
}

pub(super) fn conflict_ended(younger: &ObjectName) -> String {
    bounded(format!(
        "InferenceIdentityBinding {} is no longer refused because of this binding",
        Quoted(younger.as_str())
    ))
}

/// `finalizers` keep it: somebody else's, for Kleym puts none on outputs.
pub(super) fn orphan(output: &ObjectName, binding: &str, spiffe_id: &str, finalizers: &[Box<str>]) -> String {
    let done = if finalizers.is_empty() {
        format!("was deleted; {AFTERWARDS}")
    } else {
        format!(
            "is being deleted, and made to select nothing as long as it is kept by the finalizers {}, which whoever set them must remove; {AFTERWARDS}",
            quoted_list(finalizers.iter().map(|finalizer| &**finalizer))
        )
    };
    bounded(format!(
        "ClusterSPIFFEID `{output}` granted {} for an InferenceIdentityBinding {} with another uid than any that lives, and {done}",
        Quoted(spiffe_id),
        Quoted(binding),
    ))
}

/// What to do about an object that is not ours.
fn leave(output: &ObjectName) -> String {
    format!(
        "it is left alone, whatever it grants; find out who made it, then remove it: `kubectl delete clusterspiffeid {output}`"
    )
}

pub(super) fn foreign(output: &ObjectName) -> String {
    bounded(format!(
        "ClusterSPIFFEID `{output}` has the name of this binding's output and is not Kleym's: {}",
        leave(output)
    ))
}

pub(super) fn stripped(output: &ObjectName, spiffe_id: &str) -> String {
    bounded(format!(
        "ClusterSPIFFEID `{output}` was this binding's and lost the labels and annotations that prove it, but still grants {}: {}",
        Quoted(spiffe_id),
        leave(output)
    ))
}

pub(super) fn stranger(output: &ObjectName) -> String {
    bounded(format!(
        "ClusterSPIFFEID `{output}` wears the labels of this operator's outputs and is none of them: {}",
        leave(output)
    ))
}

pub(super) fn not_picked_up(output: &ObjectName, spiffe_id: &str, class: Option<&str>) -> String {
    let cause = match class {
        Some(class) => format!(
            "it may not watch the class {}; compare its setting `className` with the operator's --clusterspiffeid-class-name",
            Quoted(class)
        ),
        None => "it may watch a class only, and this object has none; give the operator its setting `className` with --clusterspiffeid-class-name".to_owned(),
    };
    bounded(format!(
        "spire-controller-manager has reported nothing on ClusterSPIFFEID `{output}`, so no workload has {}: {cause}",
        Quoted(spiffe_id)
    ))
}

pub(super) fn not_issued(output: &ObjectName, spiffe_id: &str, stats: &OutputStats) -> String {
    let what =
        if stats.entry_failures > 0 { "SPIRE refuses entries" } else { "there is no entry for any of them" };
    bounded(format!(
        "spire-controller-manager selects pods for ClusterSPIFFEID `{output}`, but {what}, so workloads lack {}: see its log; the trust domain may not be SPIRE's, or the pods may have no node yet",
        Quoted(spiffe_id)
    ))
}
