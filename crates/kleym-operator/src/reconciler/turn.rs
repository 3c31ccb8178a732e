//! One turn of one binding: steps until it settles, then its status, then rest or back-off.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use kleym_api::decode;
use kleym_api::encode::{self, StatusDigest, StatusSeen};
use kleym_core::announce::Settled;
use kleym_core::fact::{Availability, Change, Fact, Known};
use kleym_core::index::{Dirty, Index, Verdict};
use kleym_core::kind::Kind;
use kleym_core::name::{BindingKey, ObjectName, Uid, output_name};
use kleym_core::output::LiveOutput;
use kleym_core::plan::{Failure, Gate, Reply, Situation, Standing, Step, Turn, Wait};
use kleym_core::render::Identity;
use kleym_core::status;
use serde_json::Value;

use super::Reconciler;
use super::book::News;
use super::doubt::{Doubts, Tick};
use super::memory::{Memory, PATIENCE};
use crate::feed::{self, SeenBinding};
use crate::metrics::TurnEnd;
use crate::perform::{Action, Answer, Call};

/// A turn under way.
#[derive(Debug, Default)]
pub(super) struct Running {
    turn: Turn,
    /// Outputs that the watch reported gone during the turn: a reply that comes late must not bring them back.
    gone: Vec<Uid>,
    status: StatusWrite,
    /// When its last call was sent.
    sent: Tick,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum StatusWrite {
    #[default]
    NotTried,
    Done,
    Failed(Failure),
}

impl Running {
    /// A turn that begins; with a live look when there is a doubt about the output.
    pub(super) fn new(doubt: bool) -> Self {
        Self { turn: if doubt { Turn::in_doubt() } else { Turn::new() }, ..Self::default() }
    }

    /// Notes an output that is gone for sure.
    pub(super) fn note_gone(&mut self, uid: Uid) {
        self.gone.push(uid);
    }
}

impl Reconciler {
    /// The next call of a turn; none when it is at its end.
    pub(super) fn advance(&mut self, key: BindingKey) -> Option<Call> {
        let running = self.running.get(&key)?;
        let mut decision = self.index.verdict(&key);
        if let (Verdict::Wanted(_), Availability { known: Known::Listed, trouble: Some(trouble) }) =
            (&decision.verdict, self.index.availability(Kind::Output))
        {
            decision.held.insert(Kind::Output, trouble);
        }
        let known = self.book.binding(&key);
        let output = self.book.output_of(&key).cloned();
        let memory = self.memory.get(&key);
        let gate = Gatekeeper {
            index: &self.index,
            memory: &self.memory,
            doubts: &self.doubts,
            key: &key,
            output: output.as_deref(),
        };
        let situation = Situation {
            settings: self.index.settings(),
            key: &key,
            decision: &decision,
            binding: known.map(|known| &known.live),
            bindings: self.index.availability(Kind::Binding),
            outputs: self.index.availability(Kind::Output),
            output: output.as_deref(),
            gate: &gate,
            out_of_patience: memory.is_some_and(|memory| memory.out_of_patience(self.now())),
            cooling: memory.is_some_and(|memory| memory.cools_for(self.now()).is_some()),
            rejected: memory.and_then(|memory| memory.rejected),
        };
        let action = match (self.protocol)(&situation, &running.turn) {
            Step::Settle(standing) => {
                // A wait that is over in a moment is not worth a status.
                let passing = matches!(standing, Standing::Waiting(_))
                    && !memory.is_some_and(|memory| memory.stuck_for(LOOK_AGAIN, self.now()));
                let written = running.status != StatusWrite::NotTried || passing;
                match (written, self.status_to_write(&key, &decision, &standing)) {
                    (false, Some(status)) => Action::WriteStatus(status),
                    _ => {
                        self.end(&key, &standing);
                        return None;
                    }
                }
            }
            step => Action::Step(step),
        };
        let binding = known.map(|known| known.live.clone());
        if let (Action::Step(Step::CreateOutput(_) | Step::ReplaceOutput(_)), Verdict::Wanted(identity)) =
            (&action, &decision.verdict)
        {
            self.doubts.writes(&key, identity);
        }
        if let Some(running) = self.running.get_mut(&key) {
            running.sent = self.doubts.now();
        }
        Some(Call { key, action, binding, output })
    }

    /// The status to write, if the live one does not say it already.
    fn status_to_write(
        &self,
        key: &BindingKey,
        decision: &kleym_core::index::Decision,
        standing: &Standing,
    ) -> Option<Value> {
        let known = self.book.binding(key)?;
        let facts = status::report(self.index.settings(), key, known.live.generation, decision, standing)?;
        let status = encode::status(&facts, Some(&known.status), self.moment.wall);
        let status = serde_json::to_value(status).ok()?;
        let wanted = StatusDigest::of(&status);
        let stands = known.status.digest == wanted || known.wrote == Some((wanted, known.status.digest));
        (!stands).then_some(status)
    }

    /// Notes what a call answered.
    pub(super) fn note_answer(&mut self, call: Call, answer: &Answer) {
        let Call { key, action, binding, output: before } = call;
        let mut dirty = Dirty::new();
        if let Action::Step(step) = &action {
            let uid = binding.as_ref().map(|binding| &binding.uid);
            let told = &mut self.memory.entry(key.clone()).or_default().told;
            let news = told.wrote(self.index.settings(), &key, uid, step, &answer.reply, before.as_deref());
            self.announcements.extend(news);
        }
        for (kind, object) in &answer.objects {
            dirty.extend(self.saw_in_reply(&key, *kind, object));
        }
        match &action {
            Action::Step(step) => {
                match (step, &answer.reply) {
                    (Step::LookAtOutput { name }, Reply::ProvedAbsent) => {
                        dirty.extend(self.output_gone(name, None))
                    }
                    (Step::RemoveFinalizer { .. }, Reply::Done) => self.book.released(&key),
                    (Step::DeleteOutput { .. }, Reply::Done) => {
                        // A class change deletes too; only what is refused has to cool down.
                        if matches!(self.index.verdict(&key).verdict, Verdict::Refused(_)) {
                            let now = self.now();
                            self.memory.entry(key.clone()).or_default().withdrawn(now);
                        }
                    }
                    _ => {}
                }
                if let (
                    Step::CreateOutput(_) | Step::ReplaceOutput(_) | Step::TryOutput(_),
                    Reply::Failed(failure),
                ) = (step, &answer.reply)
                    && !failure.passes()
                    && !self.is_redefined()
                {
                    self.memory.entry(key.clone()).or_default().rejected = Some(*failure);
                }
                if is_certain(step, &answer.reply)
                    && let Some(sent) = self.running.get(&key).map(|running| running.sent)
                {
                    self.end_doubt(&key, sent, &mut dirty);
                }
                log(&key, step, &answer.reply);
                if let Some(running) = self.running.get_mut(&key) {
                    running.turn.take(step, &answer.reply);
                }
            }
            Action::WriteStatus(status) => {
                let outcome = match answer.reply {
                    Reply::Failed(failure) => StatusWrite::Failed(failure),
                    Reply::Done | Reply::Lives(_) | Reply::ProvedAbsent => StatusWrite::Done,
                };
                if let (StatusWrite::Done, Some((_, object))) = (outcome, answer.objects.first())
                    && let Some(known) = self.book.binding_mut(&key)
                {
                    let stored = StatusSeen::read(object.get("status")).digest;
                    known.wrote = Some((StatusDigest::of(status), stored));
                }
                if let Some(running) = self.running.get_mut(&key) {
                    running.status = outcome;
                }
            }
        }
        self.add(dirty);
    }

    /// Takes an object that an answer showed, as if a watch had.
    fn saw_in_reply(&mut self, key: &BindingKey, kind: Kind, object: &Value) -> Dirty {
        match kind {
            Kind::Binding => match feed::binding(object) {
                // A binding that is gone is not brought back by a late reply; a newer one takes its place.
                Ok(seen) if self.book.binding(key).is_some() => self.saw_binding(seen),
                Ok(_) => Dirty::new(),
                Err(error) => {
                    tracing::error!(binding = %key, %error, "the API server answered with an unusable binding");
                    Dirty::new()
                }
            },
            Kind::Output => match decode::output(object) {
                Ok(output) => {
                    let late =
                        self.running.get(key).is_some_and(|running| running.gone.contains(&output.uid));
                    if late { Dirty::new() } else { self.saw_output(output) }
                }
                Err(error) => {
                    tracing::error!(binding = %key, %error, "the API server answered with an unusable ClusterSPIFFEID");
                    Dirty::new()
                }
            },
            Kind::Objective(_) | Kind::Pool(_) => Dirty::new(),
        }
    }

    /// Takes a binding that was seen; answers who must have a turn.
    pub(super) fn saw_binding(&mut self, seen: SeenBinding) -> Dirty {
        let mut dirty = Dirty::new();
        match self.book.saw_binding(&seen) {
            News::Old => return dirty,
            News::Quiet => {}
            News::Judge => {
                dirty.insert(seen.fact.key.clone());
            }
        }
        let key = seen.fact.key.clone();
        // A status that comes back changes no fact, and so nothing of what was rejected.
        dirty.extend(self.apply(Change::Put(Fact::Binding(Box::new(seen.fact)))));
        self.refresh_grant(&key, &mut dirty);
        dirty
    }

    /// Ends a turn: rest, or another one when what it waits for can have changed.
    fn end(&mut self, key: &BindingKey, standing: &Standing) {
        let Some(running) = self.running.remove(key) else { return };
        self.queue.done(key);
        let now = self.now();
        let rejected_early = running.turn.failure().is_some() && self.is_redefined();
        // A status that is rejected is rejected again, until the binding changes.
        let unreported = matches!(running.status, StatusWrite::Failed(failure) if failure.passes());
        let tried_again = rejected_early || unreported || running.turn.tries_again();
        self.tell(key, standing, tried_again);
        if tried_again {
            let delay = self.queue.back_off(key, key.to_string().as_bytes(), now);
            tracing::debug!(binding = %key, ?delay, "tried again later");
            // What is not to be granted, or grants too much, waits for no longer back-off.
            if self.may_grant_too_much(key, standing) {
                self.queue.add_after(key.clone(), now, PATIENCE);
            }
        } else {
            self.queue.succeeded(key);
        }
        self.remember(key, standing, running.turn.failure());
    }

    /// Whether an output stands that may grant what it is not to grant.
    fn may_grant_too_much(&self, key: &BindingKey, standing: &Standing) -> bool {
        let unwanted = match standing {
            Standing::Leaving | Standing::Refused { .. } | Standing::Waiting(_) => true,
            Standing::Granted { .. } | Standing::Undecided(_) => false,
        };
        unwanted && self.book.output_of(key).is_some_and(|live| !live.selects_nothing())
    }

    /// Whether the API server may still judge outputs by a definition that has changed a moment ago.
    fn is_redefined(&self) -> bool {
        self.redefined_at.is_some_and(|at| self.now().saturating_sub(at) < REDEFINED_FOR)
    }

    /// What was rejected may be tried again: something changed.
    pub(super) fn forget_rejections(&mut self, changed: &Dirty) {
        for key in changed {
            if let Some(memory) = self.memory.get_mut(key) {
                memory.rejected = None;
            }
        }
    }

    /// Tells and counts how a turn ended.
    fn tell(&mut self, key: &BindingKey, standing: &Standing, tried_again: bool) {
        let mode = self.index.binding(key).and_then(|binding| Some(binding.spec.as_ref().ok()?.mode));
        self.metrics.turn_ends(key, self.now(), &TurnEnd { standing, mode, tried_again });
        let peer = |name: &ObjectName| {
            let peer = BindingKey::new(key.namespace.clone(), name.clone());
            Some(self.book.binding(&peer)?.live.uid.clone())
        };
        let settled = Settled {
            settings: self.index.settings(),
            key,
            uid: self.book.binding(key).map(|known| &known.live.uid),
            standing,
            output: self.book.output_of(key).map(AsRef::as_ref),
            peer: &peer,
        };
        let news = self.memory.entry(key.clone()).or_default().told.settle(&settled);
        self.announcements.extend(news);
    }

    /// Keeps what the next turn needs to know of this one.
    fn remember(&mut self, key: &BindingKey, standing: &Standing, failure: Option<Failure>) {
        let now = self.now();
        match standing {
            Standing::Leaving if self.book.binding(key).is_none() => {
                self.memory.remove(key);
            }
            Standing::Granted { identity, .. } => {
                let memory = self.memory.entry(key.clone()).or_default();
                memory.settled();
                memory.written = Some(std::sync::Arc::clone(identity));
            }
            Standing::Waiting(Wait::Outputs(blockers)) => {
                let memory = self.memory.entry(key.clone()).or_default();
                memory.stuck(now);
                let news: Vec<_> = blockers.difference(&memory.blockers).cloned().collect();
                memory.blockers.clone_from(blockers);
                // Whose output blocks must look again: it may have to delete it rather than replace it.
                for owner in news.iter().filter_map(|output| self.book.owner_of(output).cloned()) {
                    self.queue.add(owner);
                }
                for output in blockers {
                    self.waiters.entry(output.clone()).or_default().insert(key.clone());
                }
                // Whether a blocker's mode is known can change without the blocker; looking again costs no call.
                self.queue.add_after(key.clone(), now, LOOK_AGAIN);
            }
            Standing::Waiting(Wait::Cooling) => {
                self.memory.entry(key.clone()).or_default().stuck(now);
                if let Some(left) = self.memory.get(key).and_then(|memory| memory.cools_for(now)) {
                    self.queue.add_after(key.clone(), now, left);
                }
            }
            // That somebody else was faster is no failure, and ends none.
            Standing::Refused { .. } if failure == Some(Failure::Stale) => {}
            Standing::Refused { .. } if failure.is_some_and(Failure::passes) => {
                let memory = self.memory.entry(key.clone()).or_default();
                memory.stuck(now);
                // What grants too much must not wait for a longer back-off.
                if let Some(left) = memory.patience_left(now) {
                    self.queue.add_after(key.clone(), now, left);
                }
            }
            Standing::Waiting(Wait::Absence) => {
                self.memory.entry(key.clone()).or_default().stuck(now);
                self.queue.back_off(key, key.to_string().as_bytes(), now);
            }
            Standing::Waiting(Wait::Finalizers(_)) => {
                let memory = self.memory.entry(key.clone()).or_default();
                memory.stuck(now);
                // Once more, to say so in the status; after that the watch tells when the finalizers are gone.
                if !memory.stuck_for(LOOK_AGAIN, now) {
                    self.queue.add_after(key.clone(), now, LOOK_AGAIN);
                }
            }
            Standing::Leaving | Standing::Undecided(_) | Standing::Refused { .. } => {
                if let Some(memory) = self.memory.get_mut(key) {
                    memory.settled();
                }
            }
        }
    }
}

/// How long the API server may take to judge by a new definition.
const REDEFINED_FOR: Duration = Duration::from_secs(10);

/// How soon a binding that waits for other outputs looks again by itself.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// What other live outputs stand against, as the index and the memory know it.
struct Gatekeeper<'a> {
    index: &'a Index,
    doubts: &'a Doubts,
    memory: &'a HashMap<BindingKey, Memory>,
    key: &'a BindingKey,
    output: Option<&'a LiveOutput>,
}

impl<'a> Gatekeeper<'a> {
    fn written(&self, binding: &ObjectName) -> Option<&'a Identity> {
        let key = BindingKey::new(self.key.namespace.clone(), binding.clone());
        self.memory.get(&key)?.written.as_deref()
    }
}

impl Gate for Gatekeeper<'_> {
    fn blockers(&self, wanted: &Identity) -> BTreeSet<ObjectName> {
        let mut blockers = self.index.blockers(self.key, wanted, |binding| self.written(binding));
        let instance = self.index.settings().instance.as_str();
        blockers.extend(self.doubts.against(self.key, wanted).map(|key| output_name(instance, key)));
        blockers
    }

    fn in_the_way(&self) -> bool {
        let written = self.written(&self.key.name);
        self.output.is_some_and(|output| self.index.stands_against_older(self.key, &output.name, written))
    }
}

/// Whether it is known after this what stands at the output's name. A write that is rejected has not happened; every other
/// failure leaves a doubt.
fn is_certain(step: &Step, reply: &Reply) -> bool {
    match step {
        Step::LookAtOutput { .. } => matches!(reply, Reply::Done | Reply::ProvedAbsent),
        Step::CreateOutput(_) | Step::ReplaceOutput(_) => {
            !matches!(reply, Reply::Failed(failure) if failure.passes())
        }
        _ => false,
    }
}

fn log(key: &BindingKey, step: &Step, reply: &Reply) {
    if matches!(reply, Reply::Failed(_)) {
        return;
    }
    match step {
        Step::CreateOutput(wanted) => {
            tracing::debug!(binding = %key, output = %wanted.name, spiffe_id = %wanted.spec.spiffe_id, "identity granted");
        }
        Step::ReplaceOutput(wanted) => {
            tracing::debug!(binding = %key, output = %wanted.name, spiffe_id = %wanted.spec.spiffe_id, "identity changed");
        }
        Step::DeleteOutput { name, .. } => {
            tracing::debug!(binding = %key, output = %name, "identity withdrawn");
        }
        Step::NeutraliseOutput { name } => {
            tracing::debug!(binding = %key, output = %name, "output made to select nothing: a foreign finalizer keeps it");
        }
        Step::AddFinalizer
        | Step::RemoveFinalizer { .. }
        | Step::TryOutput(_)
        | Step::LookAtOutput { .. }
        | Step::LookAtBinding { .. }
        | Step::Settle(_) => {}
    }
}
