//! The protocol of a binding and its output: from a verdict and what was last seen live to the next single step.
//!
//! Flow: a turn begins; [`next`] gives a step of at most one API call; whoever performs it hands the [`Reply`] to
//! [`Turn::take`] and asks again, until [`Step::Settle`].
//!
//! Guarantees: a finalizer stands before the first output is created and leaves only when the output is proved absent;
//! no identity is written while another live output stands against it; a foreign object is never changed; an orphan is
//! deleted only after a live look at its binding; every delete is bound to a uid and every replace to a
//! resourceVersion; nobody is fought with at the pace that he sets, and what he widens does not stand meanwhile; a crash
//! between any two steps loses nothing, because the next turn begins with what is live.
//!
//! Assumptions: the caller applies what replies and watches say to its view of bindings and outputs before it asks for
//! the next step.
//!
//! Nothing in here waits or calls anything.

mod next;

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::fact::Availability;
use crate::index::Decision;
use crate::name::{BindingKey, ObjectName, Uid};
use crate::output::{FINALIZER, LiveOutput, WantedOutput};
use crate::refusal::{Refusal, WriteFailure};
use crate::render::Identity;
use crate::resolve::Troubles;
use crate::settings::Settings;

/// What the protocol needs of a live binding beside its facts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveBinding {
    /// Its uid.
    pub uid: Uid,
    /// Its resourceVersion; every write is bound to it.
    pub resource_version: Box<str>,
    /// Its generation.
    pub generation: Option<i64>,
    /// All its finalizers.
    pub finalizers: Finalizers,
}

/// The finalizers of a binding, in their order. Nearly every one has Kleym's and no other, so that needs no list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finalizers(Held);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Held {
    OursAlone,
    These(Box<[Box<str>]>),
}

impl Finalizers {
    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        let (ours, these) = match &self.0 {
            Held::OursAlone => (Some(FINALIZER), [].as_slice()),
            Held::These(these) => (None, &**these),
        };
        ours.into_iter().chain(these.iter().map(|finalizer| &**finalizer))
    }
}

impl Default for Finalizers {
    fn default() -> Self {
        Self(Held::These(Box::default()))
    }
}

impl<'a> FromIterator<&'a str> for Finalizers {
    fn from_iter<I: IntoIterator<Item = &'a str>>(finalizers: I) -> Self {
        let these: Box<[Box<str>]> = finalizers.into_iter().map(Into::into).collect();
        Self(if matches!(&*these, [only] if **only == *FINALIZER) {
            Held::OursAlone
        } else {
            Held::These(these)
        })
    }
}

impl LiveBinding {
    /// Whether Kleym's finalizer is there.
    pub fn holds_finalizer(&self) -> bool {
        self.finalizers.iter().any(|finalizer| finalizer == FINALIZER)
    }
}

/// Asked before an identity is written: what stands against it.
pub trait Gate {
    /// The live outputs of other bindings that stand against writing this identity.
    fn blockers(&self, wanted: &Identity) -> BTreeSet<ObjectName>;
    /// Whether the binding's own live output stands against what a peer that comes first is to have.
    fn in_the_way(&self) -> bool;
}

/// A gate that nothing stands against.
#[derive(Debug, Clone, Copy)]
pub struct Open;

impl Gate for Open {
    fn blockers(&self, _: &Identity) -> BTreeSet<ObjectName> {
        BTreeSet::new()
    }

    fn in_the_way(&self) -> bool {
        false
    }
}

/// What a turn starts from: everything known of one binding.
#[derive(Clone, Copy)]
pub struct Situation<'a> {
    /// The operator's configuration.
    pub settings: &'a Settings,
    /// Which binding.
    pub key: &'a BindingKey,
    /// What is to become of it.
    pub decision: &'a Decision,
    /// The binding as last seen; none when it is gone.
    pub binding: Option<&'a LiveBinding>,
    /// How well ClusterSPIFFEIDs are known.
    pub outputs: Availability,
    /// What stands at the binding's output name, as last seen.
    pub output: Option<&'a LiveOutput>,
    /// What other live outputs stand against.
    pub gate: &'a dyn Gate,
    /// How well bindings are known.
    pub bindings: Availability,
    /// Whether a replace has been kept waiting, or has been failing, for longer than a grant that is too wide may stand
    /// (5 seconds).
    pub out_of_patience: bool,
    /// Whether a withdrawal was so recent that granting again has to wait.
    pub cooling: bool,
    /// Whether somebody undid what is to be written again and again, so that writing the same once more has to wait.
    pub undone: bool,
    /// The same of Kleym's finalizer on the binding.
    pub stripped: bool,
    /// Whether outputs were not listed since this replica took over: what the former leader wrote last may be missing, so
    /// nothing is granted before.
    pub unlisted: bool,
    /// How the API server rejected the output last, if neither binding nor output nor definition changed since: the same
    /// is not asked again.
    pub rejected: Option<Failure>,
}

pub use next::next;

/// The next step: at most one API call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Add Kleym's finalizer to the binding.
    AddFinalizer,
    /// Take Kleym's finalizer off the binding with this uid.
    RemoveFinalizer {
        /// The uid.
        uid: Uid,
    },
    /// Ask whether the output could be created, without creating it. That its name is taken counts as yes: the API
    /// server says so after every other check.
    TryOutput(Box<WantedOutput>),
    /// Create the output.
    CreateOutput(Box<WantedOutput>),
    /// Replace the live output, bound to its uid and resourceVersion; foreign metadata stays.
    ReplaceOutput(Box<WantedOutput>),
    /// Delete the output with this uid.
    DeleteOutput {
        /// Its name.
        name: ObjectName,
        /// Its uid, as a precondition.
        uid: Uid,
    },
    /// Replace an output that a foreign finalizer would keep by one that selects no namespace, before it is deleted:
    /// spire-controller-manager does not skip terminating objects.
    NeutraliseOutput {
        /// Its name.
        name: ObjectName,
    },
    /// List outputs by this name: what is there, or the proof that nothing is.
    LookAtOutput {
        /// The name.
        name: ObjectName,
    },
    /// List bindings by this binding's name: what lives there, or the proof that nothing does.
    LookAtBinding {
        /// The uid of the output that may be an orphan.
        suspect: Uid,
    },
    /// Nothing more to do in this turn: report how the binding stands.
    Settle(Standing),
}

/// How a binding stands at the end of a turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Gone or going: there is nothing to report.
    Leaving,
    /// Being deleted, its output gone and its finalizer of ours off: only others keep it.
    Released {
        /// Foreign finalizers that keep the binding.
        kept_by: Vec<Box<str>>,
    },
    /// Kinds it needs were never listed.
    Undecided(Troubles),
    /// Refused, or its output cannot be written.
    Refused {
        /// Why.
        refusal: Refusal,
        /// What is left of its output.
        remnant: Remnant,
    },
    /// To be granted, as soon as what is in the way is gone.
    Waiting(Wait),
    /// The output in the cluster equals the identity.
    Granted {
        /// The identity.
        identity: Arc<Identity>,
        /// The output's name.
        output: ObjectName,
        /// The output's uid.
        uid: Uid,
    },
}

/// What is left of an output of a binding that is refused, or of one that is to be gone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Remnant {
    /// Nothing, or nothing that is known to last.
    #[default]
    Nothing,
    /// It selects nothing any more, but foreign finalizers keep it terminating.
    Kept(Vec<Box<str>>),
    /// It grants as before, and no more than is wanted, because it, or its binding, cannot be written.
    AsBefore {
        /// The output's name.
        output: ObjectName,
        /// The SPIFFE ID that it grants, as it stands there.
        spiffe_id: Box<str>,
    },
    /// It cannot be taken away and still grants.
    Granting(Granting),
    /// It was to be deleted, or may stand, and whether it is gone cannot be looked up.
    Unproved {
        /// The output's name.
        output: ObjectName,
        /// How looking for it failed.
        failure: WriteFailure,
    },
}

/// An output that grants what is not to be granted any more, because it cannot be taken away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Granting {
    /// The output's name.
    pub output: ObjectName,
    /// The SPIFFE ID that it grants, as it stands there.
    pub spiffe_id: Box<str>,
    /// How taking it away failed.
    pub failure: WriteFailure,
    /// The foreign finalizers that keep it, where deleting it did not fail, but making it select nothing did.
    pub kept_by: Vec<Box<str>>,
}

/// What an identity that is to be granted waits for, or a binding that is being deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wait {
    /// Other live outputs that stand against it.
    Outputs(BTreeSet<ObjectName>),
    /// Its own former output, which is still there.
    Absence,
    /// Its own former output, which foreign finalizers keep terminating.
    Finalizers(Vec<Box<str>>),
    /// Its own former output, which cannot be taken away and still grants.
    Withdrawal(Granting),
    /// The proof that its own former output is gone, which cannot be had.
    Proof {
        /// The output's name.
        output: ObjectName,
        /// How looking for it failed.
        failure: WriteFailure,
    },
    /// Kleym's finalizer, which cannot be taken off although the output is gone.
    Release(WriteFailure),
    /// A list of outputs, since this replica has taken over.
    List,
    /// Its own back-off after a withdrawal.
    Cooling,
    /// A pause, because somebody undoes again and again what is written to this output.
    Undone(ObjectName),
}

/// What a call answered, classified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// The write is done, or the list of outputs found something.
    Done,
    /// The list of bindings found one with this uid.
    Lives(Uid),
    /// A list by name, complete and not older than our last write, is empty.
    ProvedAbsent,
    /// It failed.
    Failed(Failure),
}

/// Every way a call can fail. None of them proves that an object is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Failure {
    /// Time-out, broken connection, 429, 5xx: it may or may not have happened.
    Transient,
    /// 409: what we saw is old, or the name is taken.
    Stale,
    /// 404: perhaps gone, perhaps the API is.
    Absent,
    /// 401, 403.
    Forbidden,
    /// 403, or 405 of an older API server, because the definition is being deleted.
    Terminating,
    /// 400, 422: the API server or a webhook will not take it.
    Rejected,
    /// The installed CRD does not know a field we write.
    FieldUnknown,
    /// It was taken, and stored as something else that grants no more: by the defaults of the CRD, or by a mutating
    /// webhook.
    Altered,
    /// The same, but what is stored grants more than is wanted.
    Widened,
}

impl Failure {
    fn as_write_failure(self) -> WriteFailure {
        match self {
            Failure::Transient => WriteFailure::Unavailable,
            Failure::Stale => WriteFailure::Outrun,
            Failure::Absent => WriteFailure::NotServed,
            Failure::Forbidden => WriteFailure::Forbidden,
            Failure::Terminating => WriteFailure::Terminating,
            Failure::Rejected => WriteFailure::Rejected,
            Failure::FieldUnknown => WriteFailure::FieldUnknown,
            Failure::Altered => WriteFailure::Altered,
            Failure::Widened => WriteFailure::Widened,
        }
    }

    /// Whether it is over by itself as a rule, and mostly in a moment: not worth a word before it has lasted.
    fn is_momentary(self) -> bool {
        matches!(self, Failure::Transient | Failure::Stale | Failure::Absent | Failure::Terminating)
    }

    /// Whether the same call may succeed later without anything being changed.
    pub fn passes(self) -> bool {
        !matches!(self, Failure::Rejected | Failure::FieldUnknown | Failure::Altered | Failure::Widened)
    }
}

/// What the calls of one turn answered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Turn {
    /// The output that was deleted in this turn.
    deleted: Option<Uid>,
    /// A delete failed in this turn.
    undeleted: bool,
    /// What stands at the name was looked at after the last write, by a live list.
    looked: bool,
    /// The output could be created.
    tried: bool,
    /// The output for whose sake the binding was looked at by a live list, and the binding that lives.
    looked_at_binding: Option<(Uid, Option<Uid>)>,
    /// What stands at the name may be something else than what was seen: look before writing or believing in nothing.
    in_doubt: bool,
    /// A write met something that was not expected: look before going on.
    surprised: bool,
    /// How making the output select nothing failed.
    still_selects: Option<Failure>,
    /// The binding whose finalizer was taken off: it is the API server's to remove now.
    released: Option<Uid>,
    /// The failure that ended the turn.
    failure: Option<Failure>,
    /// What failed then.
    failed_at: Option<FailedAt>,
    /// It was a rejection of what is to be written, which a further try alone does not change.
    refused: bool,
    /// How the output could not be written, whatever failed after that.
    unwritten: Option<Failure>,
    calls: u8,
}

/// At which of the steps that are no writing of an output a turn ended, because what is told of it depends on that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum FailedAt {
    /// Kleym's finalizer could not be put on.
    Holding,
    /// Kleym's finalizer could not be taken off.
    Releasing,
    /// Outputs of the name could not be listed.
    Looking,
}

/// The most calls of one turn; a turn that needs more is fighting somebody and backs off.
const MAX_CALLS: u8 = 10;

impl Turn {
    /// A new turn.
    pub fn new() -> Self {
        Self::default()
    }

    /// A new turn of which it is not known what stands at the output's name: nothing is written, and no absence is
    /// believed in, before a live look.
    pub fn in_doubt() -> Self {
        Self { in_doubt: true, ..Self::default() }
    }

    /// Notes that what stands at the output's name may be something else than what was seen, since an answer says so.
    pub fn doubts(&mut self) {
        self.in_doubt = true;
    }

    /// Whether the turn failed in a way that another one, a while later, may mend: everything but the rejection of an
    /// output, which waits until something changes.
    pub fn tries_again(&self) -> bool {
        self.still_selects.is_some() || (self.failure.is_some() && !self.refused)
    }

    /// Whether an output that was, or may have been, deleted in this turn was not looked at since: neither that it stands
    /// nor that it is gone can be said then.
    pub fn leaves_in_doubt(&self) -> bool {
        let unanswered =
            self.failed_at == Some(FailedAt::Looking) || self.failure == Some(Failure::Transient);
        !self.looked && (self.deleted.is_some() || self.undeleted && unanswered)
    }

    /// The failure that ended the turn, if one did.
    pub fn failure(&self) -> Option<Failure> {
        self.failure
    }

    /// The failure that kept the turn from doing all it was to do, if one did, whether or not it ended there.
    pub fn shortfall(&self) -> Option<Failure> {
        self.failure.or(self.still_selects)
    }

    /// Takes the reply to a step.
    pub fn take(&mut self, step: &Step, reply: &Reply) {
        self.calls = self.calls.saturating_add(1);
        self.undeleted |= matches!((step, reply), (Step::DeleteOutput { .. }, Reply::Failed(_)));
        match (step, reply) {
            (Step::TryOutput(_), Reply::Done | Reply::Failed(Failure::Stale)) => self.tried = true,
            (Step::LookAtBinding { suspect }, Reply::ProvedAbsent) => {
                self.looked_at_binding = Some((suspect.clone(), None));
            }
            (Step::LookAtBinding { suspect }, Reply::Lives(uid)) => {
                self.looked_at_binding = Some((suspect.clone(), Some(uid.clone())));
            }
            (Step::LookAtOutput { .. }, Reply::Done | Reply::ProvedAbsent) => {
                self.looked = true;
                self.in_doubt = false;
                self.surprised = false;
            }
            // The name is taken, or the object moved on: look at it and decide again.
            (
                Step::CreateOutput(_)
                | Step::ReplaceOutput(_)
                | Step::NeutraliseOutput { .. }
                | Step::DeleteOutput { .. },
                Reply::Failed(Failure::Stale),
            )
            | (
                Step::ReplaceOutput(_) | Step::NeutraliseOutput { .. } | Step::DeleteOutput { .. },
                Reply::Failed(Failure::Absent),
            ) => {
                self.looked = false;
                self.surprised = true;
            }
            (Step::NeutraliseOutput { .. }, Reply::Failed(failure)) => self.still_selects = Some(*failure),
            (_, Reply::Failed(failure)) => {
                self.failure = Some(*failure);
                self.failed_at = match step {
                    Step::AddFinalizer => Some(FailedAt::Holding),
                    Step::RemoveFinalizer { .. } => Some(FailedAt::Releasing),
                    Step::LookAtOutput { .. } => Some(FailedAt::Looking),
                    _ => None,
                };
                let writes =
                    matches!(step, Step::TryOutput(_) | Step::CreateOutput(_) | Step::ReplaceOutput(_));
                self.refused = writes && !failure.passes();
                if writes {
                    self.unwritten = Some(*failure);
                }
            }
            (Step::DeleteOutput { uid, .. }, _) => {
                self.deleted = Some(uid.clone());
                self.looked = false;
            }
            (Step::CreateOutput(_) | Step::ReplaceOutput(_) | Step::NeutraliseOutput { .. }, _) => {
                self.looked = false;
            }
            (Step::RemoveFinalizer { uid }, _) => self.released = Some(uid.clone()),
            _ => {}
        }
        if self.calls >= MAX_CALLS && self.failure.is_none() {
            self.failure = Some(Failure::Stale);
        }
    }
}
