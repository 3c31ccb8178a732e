//! The protocol of a binding and its output: from a verdict and what was last seen live to the next single step.
//!
//! Flow: a turn begins; [`next`] gives a step of at most one API call; whoever performs it hands the [`Reply`] to
//! [`Turn::take`] and asks again, until [`Step::Settle`].
//!
//! Guarantees: a finalizer stands before the first output is created and leaves only when the output is proved absent;
//! a foreign object is never changed; every delete is bound to a uid and every replace to a resourceVersion; a crash
//! between any two steps loses nothing, because the next turn begins with what is live.
//!
//! Assumptions: the caller applies what replies and watches say to its view of bindings and outputs before it asks for
//! the next step.
//!
//! Nothing in here waits or calls anything.

use std::sync::Arc;

use crate::fact::{Availability, Known, Trouble};
use crate::index::{Decision, Verdict};
use crate::kind::Kind;
use crate::name::{BindingKey, ObjectName, Uid, output_name};
use crate::output::{FINALIZER, LiveOutput, Ownership, WantedOutput};
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
    pub finalizers: Box<[Box<str>]>,
}

impl LiveBinding {
    /// Whether Kleym's finalizer is there.
    pub fn holds_finalizer(&self) -> bool {
        self.finalizers.iter().any(|finalizer| **finalizer == *FINALIZER)
    }
}

/// What a turn starts from: everything known of one binding.
#[derive(Debug, Clone, Copy)]
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
}

/// The next step: at most one API call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Add Kleym's finalizer to the binding.
    AddFinalizer,
    /// Take Kleym's finalizer off the binding.
    RemoveFinalizer,
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
    /// List outputs by this name: what is there, or the proof that nothing is.
    LookAtOutput {
        /// The name.
        name: ObjectName,
    },
    /// Nothing more to do in this turn: report how the binding stands.
    Settle(Standing),
}

/// How a binding stands at the end of a turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Gone or going: there is nothing to report.
    Leaving,
    /// Kinds it needs were never listed.
    Undecided(Troubles),
    /// Refused, or its output cannot be written.
    Refused(Refusal),
    /// To be granted, as soon as what is in the way is confirmed absent.
    Waiting,
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

/// What a call answered, classified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// The write is done, or the list found something.
    Done,
    /// A list by name, complete and not older than our last write, is empty.
    ProvedAbsent,
    /// It failed.
    Failed(Failure),
}

/// Every way a call can fail. None of them proves that an object is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Failure {
    /// Time-out, broken connection, 429, 5xx: it may or may not have happened.
    Transient,
    /// 409: what we saw is old, or the name is taken.
    Stale,
    /// 404: perhaps gone, perhaps the API is.
    Absent,
    /// 401, 403.
    Forbidden,
    /// 400, 422: the API server or a webhook will not take it.
    Rejected,
    /// The installed CRD does not know a field we write.
    FieldUnknown,
}

impl Failure {
    fn as_write_failure(self) -> WriteFailure {
        match self {
            Failure::Transient | Failure::Stale | Failure::Absent => WriteFailure::Unavailable,
            Failure::Forbidden => WriteFailure::Forbidden,
            Failure::Rejected => WriteFailure::Rejected,
            Failure::FieldUnknown => WriteFailure::FieldUnknown,
        }
    }

    /// Whether the same call may succeed later without anything being changed.
    pub fn passes(self) -> bool {
        !matches!(self, Failure::Rejected | Failure::FieldUnknown)
    }
}

/// What the calls of one turn answered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Turn {
    /// The output that was deleted in this turn.
    deleted: Option<Uid>,
    /// What stands at the name was looked at after the last write, by a live list.
    looked: bool,
    /// A write met something that was not expected: look before going on.
    must_look: bool,
    /// The failure that ended the turn.
    failure: Option<Failure>,
    calls: u8,
}

/// The most calls of one turn; a turn that needs more is fighting somebody and backs off.
const MAX_CALLS: u8 = 10;

impl Turn {
    /// A new turn.
    pub fn new() -> Self {
        Self::default()
    }

    /// The failure that ended the turn, if one did.
    pub fn failure(&self) -> Option<Failure> {
        self.failure
    }

    /// Takes the reply to a step.
    pub fn take(&mut self, step: &Step, reply: &Reply) {
        self.calls = self.calls.saturating_add(1);
        match (step, reply) {
            (Step::LookAtOutput { .. }, Reply::Done | Reply::ProvedAbsent) => {
                self.looked = true;
                self.must_look = false;
            }
            // The name is taken, or the object moved on: look at it and decide again.
            (
                Step::CreateOutput(_) | Step::ReplaceOutput(_) | Step::DeleteOutput { .. },
                Reply::Failed(Failure::Stale),
            )
            | (Step::ReplaceOutput(_) | Step::DeleteOutput { .. }, Reply::Failed(Failure::Absent)) => {
                self.looked = false;
                self.must_look = true;
            }
            (_, Reply::Failed(failure)) => self.failure = Some(*failure),
            (Step::DeleteOutput { uid, .. }, _) => {
                self.deleted = Some(uid.clone());
                self.looked = false;
            }
            (Step::CreateOutput(_) | Step::ReplaceOutput(_), _) => self.looked = false,
            _ => {}
        }
        if self.calls >= MAX_CALLS && self.failure.is_none() {
            self.failure = Some(Failure::Stale);
        }
    }
}

/// The next step of a turn.
pub fn next(situation: &Situation<'_>, turn: &Turn) -> Step {
    let name = output_name(situation.settings.instance.as_str(), situation.key);
    let plan = Plan { situation, turn, name };
    match &situation.decision.verdict {
        Verdict::Gone => Step::Settle(Standing::Leaving),
        Verdict::Deleting => plan.leave(),
        Verdict::Waiting(kinds) => plan.keep(Standing::Undecided(kinds.clone())),
        Verdict::Refused(refusal) => plan.withdraw(refusal),
        Verdict::Wanted(identity) => plan.grant(identity),
    }
}

/// What stands at the output's name.
enum Found<'a> {
    Nothing,
    Foreign,
    /// Ours, or an orphan: the latter has another uid than the live binding's.
    Ours(&'a LiveOutput, Ownership),
}

struct Plan<'a> {
    situation: &'a Situation<'a>,
    turn: &'a Turn,
    name: ObjectName,
}

impl<'a> Plan<'a> {
    fn found(&self) -> Found<'a> {
        let Some(live) = self.situation.output else { return Found::Nothing };
        let Some(binding) = self.situation.binding else { return Found::Foreign };
        match live.ownership_at_own_name(self.situation.key, &binding.uid) {
            Ownership::Foreign => Found::Foreign,
            whose => Found::Ours(live, whose),
        }
    }

    fn holds_finalizer(&self) -> bool {
        self.situation.binding.is_some_and(LiveBinding::holds_finalizer)
    }

    fn look(&self) -> Step {
        Step::LookAtOutput { name: self.name.clone() }
    }

    /// The step that takes a live output away: delete, then look whether it is gone; `None` when it is still going.
    fn remove(&self, live: &LiveOutput) -> Option<Step> {
        let deleted = live.deleting || self.turn.deleted.as_ref() == Some(&live.uid);
        match (deleted, self.turn.looked) {
            (false, _) => Some(Step::DeleteOutput { name: self.name.clone(), uid: live.uid.clone() }),
            (true, false) => Some(self.look()),
            (true, true) => None,
        }
    }

    /// Deleting: output first; the finalizer leaves only on proof.
    fn leave(&self) -> Step {
        let at_rest = Step::Settle(Standing::Leaving);
        if !self.holds_finalizer() || self.turn.failure.is_some() {
            return at_rest;
        }
        match self.situation.outputs {
            Availability { known: Known::Absent, trouble: None } => return Step::RemoveFinalizer,
            Availability { known: Known::Listed, .. } => {}
            _ => return at_rest,
        }
        if self.turn.must_look {
            return self.look();
        }
        match self.found() {
            Found::Ours(live, _) => self.remove(live).unwrap_or(at_rest),
            Found::Nothing | Found::Foreign if self.turn.looked => Step::RemoveFinalizer,
            Found::Nothing | Found::Foreign => self.look(),
        }
    }

    /// Undecided: what is there stays, and an output of ours keeps its finalizer.
    fn keep(&self, standing: Standing) -> Step {
        match self.found() {
            Found::Ours(_, Ownership::Ours) if !self.holds_finalizer() && self.turn.failure.is_none() => {
                Step::AddFinalizer
            }
            _ => Step::Settle(standing),
        }
    }

    /// Refused: the output goes, and nothing waits for anything.
    fn withdraw(&self, refusal: &Refusal) -> Step {
        let settled = Step::Settle(Standing::Refused(refusal.clone()));
        if self.turn.failure.is_some() {
            return settled;
        }
        if self.turn.must_look {
            return self.look();
        }
        match self.found() {
            Found::Ours(live, _) => self.remove(live).unwrap_or(settled),
            Found::Nothing | Found::Foreign => settled,
        }
    }

    fn grant(&self, identity: &Arc<Identity>) -> Step {
        let Some(binding) = self.situation.binding else { return Step::Settle(Standing::Leaving) };
        match self.situation.outputs {
            Availability { known: Known::Absent, trouble: None } => {
                return Step::Settle(Standing::Refused(Refusal::OutputCrdMissing));
            }
            Availability { known: Known::Nothing | Known::Absent, trouble } => {
                let troubles = Troubles::from([(Kind::Output, trouble.unwrap_or(Trouble::Starting))]);
                return self.keep(Standing::Undecided(troubles));
            }
            Availability { known: Known::Listed, .. } => {}
        }
        if let Some(failure) = self.turn.failure {
            let refusal =
                Refusal::OutputWrite { name: self.name.clone(), failure: failure.as_write_failure() };
            return Step::Settle(Standing::Refused(refusal));
        }
        if self.turn.must_look {
            return self.look();
        }
        let (live, whose) = match self.found() {
            Found::Foreign if self.turn.looked => {
                return Step::Settle(Standing::Refused(Refusal::OutputForeign { name: self.name.clone() }));
            }
            Found::Foreign => return self.look(),
            Found::Nothing if self.holds_finalizer() => {
                return Step::CreateOutput(Box::new(self.wanted(binding, identity)));
            }
            Found::Nothing => return Step::AddFinalizer,
            Found::Ours(live, whose) => (live, whose),
        };
        let waiting = Step::Settle(Standing::Waiting);
        if whose == Ownership::Orphan || live.deleting {
            return self.remove(live).unwrap_or(waiting);
        }
        if !self.holds_finalizer() {
            return Step::AddFinalizer;
        }
        let wanted = self.wanted(binding, identity);
        if live.drift(&wanted).is_empty() {
            let granted = Standing::Granted {
                identity: Arc::clone(identity),
                output: self.name.clone(),
                uid: live.uid.clone(),
            };
            return Step::Settle(granted);
        }
        // spire-controller-manager keeps an output's old counts when it moves to a class that is not watched.
        if live.spec.class_name != wanted.spec.class_name {
            return self.remove(live).unwrap_or(waiting);
        }
        Step::ReplaceOutput(Box::new(wanted))
    }

    fn wanted(&self, binding: &LiveBinding, identity: &Identity) -> WantedOutput {
        WantedOutput::of(self.situation.settings, self.situation.key, Some(&binding.uid), identity)
    }
}
