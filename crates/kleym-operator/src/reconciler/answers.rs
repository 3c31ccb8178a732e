//! What a call answered: what it shows, what it proves, and what it leaves in doubt.

use kleym_api::decode;
use kleym_api::encode::{StatusDigest, StatusSeen};
use kleym_core::fact::{Change, Fact, Known};
use kleym_core::index::{Dirty, Verdict};
use kleym_core::kind::Kind;
use kleym_core::name::BindingKey;
use kleym_core::output::{KeptOutput, LiveOutput, WantedOutput};
use kleym_core::plan::{Failure, Reply, Step};
use serde_json::Value;

use super::Reconciler;
use super::book::{self, News};
use super::memory::Repair;
use super::turn::StatusWrite;
use crate::feed::{self, SeenBinding};
use crate::perform::{Action, Answer, Call};

impl Reconciler {
    /// Notes what a call answered.
    pub(super) fn note_answer(&mut self, call: Call, answer: &Answer) {
        let Call { key, action, binding, output: before, failures: _ } = call;
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
                let reply = &self.in_spite_of_absence(step, &answer.reply);
                let made_in_spite = self.outputs_are_absent()
                    && matches!(step, Step::CreateOutput(_) | Step::ReplaceOutput(_))
                    && *reply == Reply::Done;
                match (step, reply) {
                    (Step::LookAtOutput { name }, Reply::ProvedAbsent) => {
                        // What was seen since the look was sent, it says nothing of.
                        if let Some(before) = &before {
                            dirty.extend(self.output_gone(name, Some(&before.uid)));
                        }
                    }
                    (Step::RemoveFinalizer { .. }, Reply::Done) => self.book.released(&key),
                    (Step::CreateOutput(wanted) | Step::ReplaceOutput(wanted), Reply::Done) => {
                        let now = self.now();
                        let written = self.running.get_mut(&key).and_then(|running| running.writes.take());
                        let memory = self.memory.entry(key.clone()).or_default();
                        match written.and_then(|identity| memory.made(identity, now)) {
                            Some(Repair::Often(times)) => {
                                tracing::warn!(binding = %key, output = %wanted.name, times, "somebody changes or deletes the output again and again: it was put right, and the next time only after a pause");
                            }
                            Some(Repair::Once) => {
                                tracing::info!(binding = %key, output = %wanted.name, differed = differed(before.as_deref(), wanted), "somebody had changed or deleted the output: it was put right");
                            }
                            None => {}
                        }
                    }
                    (Step::AddFinalizer, Reply::Done) if before.is_some() => {
                        let now = self.now();
                        match self.memory.entry(key.clone()).or_default().held(now) {
                            Repair::Often(times) => {
                                tracing::warn!(binding = %key, times, "somebody takes the finalizer off again and again: it was put back, and the next time only after a pause");
                            }
                            Repair::Once => {
                                tracing::info!(binding = %key, "somebody had taken the finalizer off: it was put back");
                            }
                        }
                    }
                    (Step::DeleteOutput { .. }, Reply::Done) => {
                        let verdict = self.index.verdict(&key).verdict;
                        let now = self.now();
                        let memory = self.memory.entry(key.clone()).or_default();
                        if !matches!(verdict, Verdict::Wanted(_)) {
                            memory.unmade();
                        }
                        // A class change deletes too; only what is refused has to cool down.
                        if matches!(verdict, Verdict::Refused(_)) {
                            memory.withdrawn(now);
                        }
                    }
                    _ => {}
                }
                if let (
                    Step::CreateOutput(_) | Step::ReplaceOutput(_) | Step::TryOutput(_),
                    Reply::Failed(failure),
                ) = (step, reply)
                    && !failure.passes()
                    && !self.is_redefined()
                {
                    self.memory.entry(key.clone()).or_default().rejected = Some(*failure);
                }
                if is_certain(step, reply)
                    && !self.outputs_are_absent()
                    && let Some(sent) = self.running.get(&key).map(|running| running.sent)
                {
                    self.end_doubt(&key, sent, &mut dirty);
                }
                log(&key, step, reply);
                if let Some(running) = self.running.get_mut(&key) {
                    running.turn.take(step, reply);
                    if made_in_spite {
                        running.turn.doubts();
                    }
                }
            }
            Action::WriteStatus(status) => {
                let outcome = match answer.reply {
                    Reply::Failed(failure) => StatusWrite::Failed(failure),
                    Reply::Done | Reply::Lives(_) | Reply::ProvedAbsent => StatusWrite::Done,
                };
                if outcome == StatusWrite::Done
                    && let Some(memory) = self.memory.get_mut(&key)
                {
                    memory.reported();
                }
                if let (StatusWrite::Done, Some((_, object))) = (outcome, answer.objects.first())
                    && let Some(known) = self.book.binding_mut(&key)
                {
                    let wrote = StatusDigest::of(status);
                    let again = known.wrote_already(wrote);
                    known.wrote = Some((wrote, StatusSeen::read(object.get("status")).digest));
                    if again {
                        tracing::info!(binding = %key, "the status was not what was written last: it was written again");
                        let now = self.now();
                        self.memory.entry(key.clone()).or_default().rewritten(now);
                    }
                }
                if let Some(running) = self.running.get_mut(&key) {
                    running.status = outcome;
                }
            }
        }
        self.add(dirty);
    }

    /// What an answer means while outputs have no definition, as far as is known: a look that finds one contradicts that,
    /// and a list of all is to come; one that the API server has no answer to, agrees.
    fn in_spite_of_absence(&self, step: &Step, reply: &Reply) -> Reply {
        match (step, reply) {
            (Step::LookAtOutput { .. }, Reply::Done) if self.outputs_are_absent() => {
                Reply::Failed(Failure::Transient)
            }
            (Step::LookAtOutput { .. }, Reply::Failed(Failure::Absent)) if self.outputs_are_absent() => {
                Reply::ProvedAbsent
            }
            _ => reply.clone(),
        }
    }

    fn outputs_are_absent(&self) -> bool {
        self.index.availability(Kind::Output).known == Known::Absent
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
            // The definition went while the call was on its way, and its objects with it. If it is back by now, a list is to
            // come.
            Kind::Output if self.outputs_are_absent() => Dirty::new(),
            Kind::Output => match decode::output(object) {
                Ok(output) => {
                    let late =
                        self.running.get(key).is_some_and(|running| running.gone.contains(&output.uid));
                    if late {
                        return Dirty::new();
                    }
                    self.saw_output(KeptOutput::of(self.index.settings(), output))
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
        let (fact, fresh) = book::Known::of(seen);
        let key = fact.key.clone();
        match self.book.saw_binding(&key, fresh) {
            News::Old => return dirty,
            News::Quiet => {}
            News::Judge => drop(dirty.insert(key.clone())),
        }
        // A status that comes back changes no fact, and so nothing of what was rejected.
        dirty.extend(self.apply(Change::Put(Fact::Binding(fact))));
        self.refresh_grant(&key, &mut dirty);
        dirty
    }
}

/// Whether it is known after this what stands at the output's name. A write that failed leaves a doubt, however certain the
/// refusal sounds: something between here and the API server can have made it up after the write had happened.
fn is_certain(step: &Step, reply: &Reply) -> bool {
    match step {
        Step::LookAtOutput { .. } => matches!(reply, Reply::Done | Reply::ProvedAbsent),
        Step::CreateOutput(_) | Step::ReplaceOutput(_) => *reply == Reply::Done,
        _ => false,
    }
}

/// In what an output differed before it was written; everything, where there was none.
fn differed(before: Option<&LiveOutput>, wanted: &WantedOutput) -> String {
    before.map_or_else(|| "everything".to_owned(), |live| live.drift(wanted).join(", "))
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
