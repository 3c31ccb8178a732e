//! What a binding's status says: conditions, identity, conflicts and the configuration that produced them, without
//! clocks. A report, never an authority: no decision reads it back.

use crate::fact::{Mode, Trouble};
use crate::index::Decision;
use crate::kind::Kind;
use crate::name::{BindingKey, ObjectName, Uid};
use crate::output::FINALIZER;
use crate::plan::{Granting, Remnant, Standing, Wait};
use crate::refusal::{Condition, Refusal, WriteFailure};
use crate::relation::Peer;
use crate::render::Identity;
use crate::resolve::Troubles;
use crate::settings::Settings;
use crate::text::{MAX_MESSAGE_BYTES, Quoted, bounded, cut_to, quoted_list};

/// A condition's status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Truth {
    /// `True`
    True,
    /// `False`
    False,
    /// `Unknown`
    Unknown,
}

impl Truth {
    /// The value of `status`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Truth::True => "True",
            Truth::False => "False",
            Truth::Unknown => "Unknown",
        }
    }
}

/// kstatus condition: the operator is still at it. Present only when True.
pub const RECONCILING: &str = "Reconciling";
/// kstatus condition: it will not become Ready unless somebody changes something. Present only when True.
pub const STALLED: &str = "Stalled";

/// Reason of `Ready=True`.
pub const REASON_RECONCILED: &str = "Reconciled";
/// Reason of the failure conditions that are False.
pub const REASON_RESOLVED: &str = "Resolved";
/// Reason of what is not decided yet.
pub const REASON_INITIALIZING: &str = "Initializing";
/// Reason of `Reconciling` while a verdict is held because a kind cannot be read.
pub const REASON_API_UNAVAILABLE: &str = "APIUnavailable";

/// One condition, its times aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConditionFact {
    /// Its type.
    pub kind: &'static str,
    /// Its status.
    pub status: Truth,
    /// Its reason.
    pub reason: &'static str,
    /// At most 1,024 bytes: what, where and what to do.
    pub message: String,
}

/// What is granted, only while Ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantFact {
    /// The mode.
    pub mode: Mode,
    /// The SPIFFE ID.
    pub spiffe_id: String,
    /// The canonical selectors.
    pub selectors: Vec<String>,
    /// The fingerprint of the selectors.
    pub fingerprint: String,
    /// The output's name.
    pub output: ObjectName,
    /// The output's uid.
    pub output_uid: Uid,
}

/// A whole status, times aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusFacts {
    /// The generation it speaks of.
    pub observed_generation: Option<i64>,
    /// The conditions: the five of the contract, then `Reconciling` or `Stalled` if True.
    pub conditions: Vec<ConditionFact>,
    /// What is granted.
    pub grant: Option<GrantFact>,
    /// The peers that come first and claim the same, at most 16.
    pub conflicts: Vec<Peer>,
    /// How many such peers there are.
    pub conflict_count: usize,
    /// The configured trust domain.
    pub trust_domain: String,
    /// The configured class.
    pub class_name: Option<String>,
    /// The operator's instance.
    pub instance: String,
    /// The prefixes granted to the binding's namespace.
    pub path_grants: Vec<String>,
}

/// The status of a binding that stands like this; `None` when there is nothing to report.
pub fn report(
    settings: &Settings,
    key: &BindingKey,
    generation: Option<i64>,
    decision: &Decision,
    standing: &Standing,
) -> Option<StatusFacts> {
    let mut conditions = match standing {
        Standing::Leaving => return None,
        Standing::Released { kept_by } => waiting(released(kept_by)),
        Standing::Undecided(kinds) if kinds.contains_key(&Kind::Output) => waiting(unreadable(kinds)),
        Standing::Undecided(kinds) => undecided(&unreadable(kinds)),
        Standing::Waiting(wait) => waiting(waits_for(wait)),
        Standing::Refused { refusal, remnant } => {
            let mut conditions = refused(refusal, &refused_message(refusal, remnant));
            let left = match remnant {
                // That it stands is said beside the refusal.
                Remnant::Nothing | Remnant::AsBefore { .. } => None,
                Remnant::Kept(kept_by) => Some(kept(kept_by)),
                Remnant::Granting(granting) => Some(still_grants(granting)),
                Remnant::Unproved { output, failure } => Some(unproved(output, *failure)),
            };
            if let Some(left) = left {
                conditions.retain(|c| c.kind != STALLED && c.kind != RECONCILING);
                conditions.push(condition(RECONCILING, Truth::True, refusal.reason().as_str(), left));
            }
            conditions
        }
        Standing::Granted { identity, output, .. } => granted_conditions(output, identity),
    };
    if !decision.held.is_empty() && !conditions.iter().any(|c| c.kind == RECONCILING) {
        let message = format!("the verdict is held from what was last known: {}", unreadable(&decision.held));
        conditions.retain(|c| c.kind != STALLED);
        conditions.push(condition(RECONCILING, Truth::True, REASON_API_UNAVAILABLE, message));
    }
    let grant = match standing {
        Standing::Granted { identity, output, uid } => Some(GrantFact {
            mode: identity.mode,
            spiffe_id: identity.spiffe_id.to_string(),
            selectors: identity.selectors.texts().map(str::to_owned).collect(),
            fingerprint: identity.selectors.fingerprint(),
            output: output.clone(),
            output_uid: uid.clone(),
        }),
        _ => None,
    };
    let conflict = match standing {
        Standing::Refused { refusal: Refusal::Conflict(conflict), .. } => Some(conflict),
        _ => None,
    };
    Some(StatusFacts {
        observed_generation: generation,
        conditions,
        grant,
        conflicts: conflict.map(|c| c.peers.clone()).unwrap_or_default(),
        conflict_count: conflict.map_or(0, |c| c.count),
        trust_domain: settings.trust_domain.to_string(),
        class_name: settings.class_name.as_ref().map(ToString::to_string),
        instance: settings.instance.to_string(),
        path_grants: settings.grants_of(&key.namespace).map(ToString::to_string).collect(),
    })
}

fn waits_for(wait: &Wait) -> String {
    match wait {
        Wait::Outputs(outputs) => format!(
            "the identity is granted as soon as {} of other bindings, which could give the same workloads another identity, are gone or replaced",
            quoted_list(outputs.iter().map(ObjectName::as_str))
        ),
        Wait::Absence => "the identity is granted as soon as the former ClusterSPIFFEID is gone".to_owned(),
        Wait::Finalizers(finalizers) => kept(finalizers),
        Wait::Withdrawal(granting) => still_grants(granting),
        Wait::Proof { output, failure } => unproved(output, *failure),
        Wait::Release(failure) => format!(
            "the binding is being deleted and its ClusterSPIFFEID is gone, but the operator's finalizer `{FINALIZER}` stays on it, because {}; {}",
            why_not(*failure, "taken off", Kind::Binding),
            what_then(*failure)
        ),
        Wait::List => {
            "the identity is granted as soon as this operator, which has taken over from another replica, can list ClusterSPIFFEIDs".to_owned()
        }
        Wait::Undone(output) => undone(output),
        Wait::Cooling => {
            "the identity was withdrawn a moment ago and is granted again after a short back-off".to_owned()
        }
    }
}

/// The same words whatever was done this time, or whoever does it would have the status written at his pace.
fn undone(output: &ObjectName) -> String {
    format!(
        "somebody changes or deletes ClusterSPIFFEID `{output}` again and again: it is put right after a pause of at most a minute, and deleted meanwhile where it grants too much; find out who does that with `kubectl get clusterspiffeid {output} -o yaml --show-managed-fields`, or in the API server's audit log, and stop it"
    )
}

fn kept(finalizers: &[Box<str>]) -> String {
    format!(
        "the former ClusterSPIFFEID selects nothing any more, but is kept by the finalizers {}; whoever set them must remove them",
        quoted_list(finalizers.iter().map(|finalizer| &**finalizer))
    )
}

/// What was to be deleted, why it is not known to be gone, and what to do.
fn unproved(output: &ObjectName, failure: WriteFailure) -> String {
    format!(
        "whether ClusterSPIFFEID `{output}` is gone cannot be looked up, because {}; {}",
        why_not(failure, "listed", Kind::Output),
        what_then(failure)
    )
}

/// What still stands, why it could not be withdrawn, and what to do.
fn still_grants(granting: &Granting) -> String {
    let Granting { output, spiffe_id, failure, kept_by } = granting;
    let verb = if kept_by.is_empty() { "deleted" } else { "changed" };
    let why = why_not(*failure, verb, Kind::Output);
    let kept = match &**kept_by {
        [] => String::new(),
        finalizers => {
            let finalizers = quoted_list(finalizers.iter().map(|finalizer| &**finalizer));
            format!("; whoever set its finalizers {finalizers} must remove them")
        }
    };
    let then = what_then(*failure);
    // The name alone can have a quarter of what a message may have.
    let id = cut_to(Quoted(spiffe_id).to_string(), MAX_MESSAGE_BYTES / 4);
    format!("ClusterSPIFFEID `{output}` still grants {id}, because {why}; {then}{kept}")
}

/// Why something of a kind cannot be done, which stands in the passive: `deleted`.
pub(crate) fn why_not(failure: WriteFailure, done: &str, kind: Kind) -> String {
    match failure {
        WriteFailure::Forbidden => format!("it may not be {done} with the operator's permissions"),
        WriteFailure::Rejected
        | WriteFailure::FieldUnknown
        | WriteFailure::Altered
        | WriteFailure::Widened => {
            format!("the API server or an admission webhook does not let it be {done}")
        }
        WriteFailure::NotServed => format!("the API server does not serve {}", served_as(kind)),
        WriteFailure::Terminating => {
            format!("the CustomResourceDefinition `{}` is being deleted", kind.crd_name())
        }
        WriteFailure::Outrun => "somebody else changes it at the same time".to_owned(),
        WriteFailure::Unavailable => "the API server or an admission webhook does not answer".to_owned(),
    }
}

/// What is to be done about that.
pub(crate) fn what_then(failure: WriteFailure) -> String {
    let then = match failure {
        WriteFailure::Forbidden => "give the operator the permissions of its ClusterRole",
        WriteFailure::Rejected | WriteFailure::FieldUnknown => {
            "see the operator's log for the answer, and mend or remove what rejects it"
        }
        WriteFailure::Altered | WriteFailure::Widened => {
            "find the mutating webhook or policy that changes it, and mend or remove it"
        }
        WriteFailure::Terminating => "install it again once it is gone",
        WriteFailure::Outrun => "find out who does that",
        WriteFailure::NotServed | WriteFailure::Unavailable => "mend what does not answer",
    };
    format!("{then}, and the operator tries again by itself")
}

/// The message of a refusal, with a word on the grant that still stands, or may: before it where that is to be gone, since
/// who reads it must know that first.
pub(crate) fn refused_message(refusal: &Refusal, remnant: &Remnant) -> String {
    match remnant {
        Remnant::Granting(granting) => {
            bounded(format!("{}; it is to be gone, because {}", still_grants(granting), refusal.message()))
        }
        Remnant::AsBefore { output, spiffe_id } => {
            // After the refusal, which is what is to be mended: nothing stands that is not to be granted.
            let id = cut_to(Quoted(spiffe_id).to_string(), MAX_MESSAGE_BYTES / 4);
            let stands = format!("; meanwhile ClusterSPIFFEID `{output}` grants {id} as before");
            let refused = cut_to(refusal.message(), MAX_MESSAGE_BYTES - stands.len());
            format!("{refused}{stands}")
        }
        Remnant::Unproved { output, failure } => {
            let unproved = unproved(output, *failure);
            bounded(format!("{unproved}; it is to be gone, because {}", refusal.message()))
        }
        Remnant::Nothing | Remnant::Kept(_) => refusal.message(),
    }
}

/// A kind's definition and the version of it that Kleym uses.
pub(crate) fn served_as(kind: Kind) -> String {
    format!("`{}` in version `{}`", kind.crd_name(), kind.version())
}

fn released(kept_by: &[Box<str>]) -> String {
    format!(
        "the binding is being deleted and its ClusterSPIFFEID is gone; the object is kept by the finalizers {}; whoever set them must remove them",
        quoted_list(kept_by.iter().map(|finalizer| &**finalizer))
    )
}

/// The conditions of a binding whose output grants its identity.
pub fn granted_conditions(output: &ObjectName, identity: &Identity) -> Vec<ConditionFact> {
    granted(format!("ClusterSPIFFEID `{output}` grants `{}`", identity.spiffe_id))
}

/// The conditions of a binding that renders and that nothing stands against, as far as files can tell.
pub fn conditions_of(refusal: Option<&Refusal>) -> Vec<ConditionFact> {
    match refusal {
        Some(refusal) => refused(refusal, &refusal.message()),
        None => granted("the identity can be granted".to_owned()),
    }
}

fn condition(kind: &'static str, status: Truth, reason: &'static str, message: String) -> ConditionFact {
    ConditionFact { kind, status, reason, message: bounded(message) }
}

/// The four failure conditions, with `is_true` True and the others False.
fn failures(is_true: Option<(&Refusal, &str)>) -> impl Iterator<Item = ConditionFact> {
    Condition::ALL.into_iter().filter(|c| *c != Condition::Ready).map(move |c| match is_true {
        Some((refusal, message)) if refusal.condition() == c => {
            condition(c.as_str(), Truth::True, refusal.reason().as_str(), message.to_owned())
        }
        _ => condition(c.as_str(), Truth::False, REASON_RESOLVED, String::new()),
    })
}

fn granted(message: String) -> Vec<ConditionFact> {
    let ready = condition(Condition::Ready.as_str(), Truth::True, REASON_RECONCILED, message);
    std::iter::once(ready).chain(failures(None)).collect()
}

fn refused(refusal: &Refusal, message: &str) -> Vec<ConditionFact> {
    let reason = refusal.reason().as_str();
    let ready = condition(Condition::Ready.as_str(), Truth::False, reason, message.to_owned());
    let kstatus = if refusal.transient() { RECONCILING } else { STALLED };
    let last = condition(kstatus, Truth::True, reason, message.to_owned());
    std::iter::once(ready).chain(failures(Some((refusal, message)))).chain([last]).collect()
}

fn waiting(message: String) -> Vec<ConditionFact> {
    let ready = condition(Condition::Ready.as_str(), Truth::Unknown, REASON_INITIALIZING, message.clone());
    let last = condition(RECONCILING, Truth::True, REASON_INITIALIZING, message);
    std::iter::once(ready).chain(failures(None)).chain([last]).collect()
}

fn undecided(message: &str) -> Vec<ConditionFact> {
    let last = condition(RECONCILING, Truth::True, REASON_INITIALIZING, message.to_owned());
    let unknown =
        |c: Condition| condition(c.as_str(), Truth::Unknown, REASON_INITIALIZING, message.to_owned());
    Condition::ALL.into_iter().map(unknown).chain([last]).collect()
}

fn unreadable(kinds: &Troubles) -> String {
    let kinds: Vec<String> = kinds
        .iter()
        .map(|(kind, trouble)| match trouble {
            Trouble::NotServed => format!("{} is not served", served_as(*kind)),
            _ => format!("`{}` is {}", kind.crd_name(), trouble.as_str()),
        })
        .collect();
    if kinds.is_empty() { "not decided yet".to_owned() } else { kinds.join(", ") }
}
