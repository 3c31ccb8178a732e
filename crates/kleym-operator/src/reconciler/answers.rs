//! What a call answered: what it shows, what it proves, and what it leaves in doubt.

use std::sync::Arc;

use kleym_api::decode;
use kleym_api::encode::{self, StatusDigest, StatusSeen};
use kleym_core::fact::{Availability, Change, Fact, Known};
use kleym_core::index::{Dirty, Verdict};
use kleym_core::kind::Kind;
use kleym_core::name::{BindingKey, ObjectName};
use kleym_core::output::{KeptOutput, LiveOutput, WantedOutput};
use kleym_core::plan::{Failure, Reply, Step};
use kleym_core::text::quoted_list;
use serde_json::Value;

use super::Reconciler;
use super::book::{self, News};
use super::memory::{Memory, Repair};
use super::turn::StatusWrite;
use crate::feed::{self, SeenBinding};
use crate::perform::{Action, Answer, Call};

/// The most fields that one line of the log names.
const FIELDS_NAMED: usize = 8;

impl Reconciler {
    /// Notes what a call answered.
    pub(super) fn note_answer(&mut self, call: Call, answer: &Answer) {
        let warns = call.warns();
        let Call { key, action, binding, output: before, failures: _ } = call;
        let mut dirty = Dirty::new();
        let mut unreadable = false;
        for (kind, object) in &answer.objects {
            match self.saw_in_reply(&key, *kind, object) {
                Some(whom) => dirty.extend(whom),
                None => unreadable = true,
            }
        }
        match &action {
            Action::Step(step) => {
                // What shows something that cannot be read, shows nothing and proves nothing.
                let reply = if unreadable { &Reply::Failed(Failure::Transient) } else { &answer.reply };
                let reply = &self.in_spite_of_absence(&key, step, reply);
                let uid = binding.as_ref().map(|binding| &binding.uid);
                let told = &mut self.memory.entry(key.clone()).or_default().told;
                let news = told.wrote(self.index.settings(), &key, uid, step, reply, before.as_deref());
                self.announcements.extend(news);
                let made_in_spite = self.outputs_are_absent()
                    && matches!(step, Step::CreateOutput(_) | Step::ReplaceOutput(_))
                    && *reply == Reply::Done;
                let mut failed = None;
                match (step, reply) {
                    (Step::LookAtOutput { name }, Reply::ProvedAbsent) => {
                        // What was seen since the look was sent, it says nothing of.
                        if let Some(before) = &before {
                            dirty.extend(self.output_departs(name, &before.uid));
                        }
                    }
                    (Step::RemoveFinalizer { .. }, Reply::Done) => self.book.released(&key),
                    (Step::CreateOutput(wanted) | Step::ReplaceOutput(wanted), Reply::Done) => {
                        failed = self.note_written(&key, wanted, before.as_deref(), answer);
                    }
                    (Step::NeutraliseOutput { name }, Reply::Done) => {
                        failed = self.note_neutralised(&key, name, answer, warns);
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
                    (Step::DeleteOutput { .. }, Reply::Failed(Failure::Transient)) => {
                        // It may have happened.
                        self.memory.entry(key.clone()).or_default().took_away = true;
                    }
                    (Step::DeleteOutput { .. }, Reply::Done) => {
                        let verdict = self.index.verdict(&key).verdict;
                        let now = self.now();
                        let memory = self.memory.entry(key.clone()).or_default();
                        memory.took_away = true;
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
                if is_certain(step, reply)
                    && !self.outputs_are_absent()
                    && let Some(sent) = self.running.get(&key).map(|running| running.sent)
                {
                    self.end_doubt(&key, sent, &mut dirty);
                }
                let reply = &failed.map_or_else(|| reply.clone(), Reply::Failed);
                if let (
                    Step::CreateOutput(_) | Step::ReplaceOutput(_) | Step::TryOutput(_),
                    Reply::Failed(failure),
                ) = (step, reply)
                    && !failure.passes()
                {
                    let until = self.redefined_until();
                    // What is stored too wide is not to be made again and again, not even for a moment.
                    if until.is_none() || *failure == Failure::Widened {
                        self.memory.entry(key.clone()).or_default().rejects(*failure, until);
                    }
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
                let mut outcome = match answer.reply {
                    Reply::Failed(failure) => StatusWrite::Failed(failure),
                    Reply::Done | Reply::Lives(_) | Reply::ProvedAbsent => StatusWrite::Done,
                };
                if let (StatusWrite::Done, Some((_, object))) = (outcome, answer.objects.first())
                    && let Some(known) = self.book.binding_mut(&key)
                {
                    let wrote = StatusDigest::of(status);
                    let again = known.wrote_already(wrote);
                    let stands = object.get("status");
                    let altered = stands.is_some_and(|stands| encode::contradicts(stands, status));
                    // What says something else is written again, ever more rarely; what lacks something would always.
                    let stored = if altered { wrote } else { StatusSeen::read(stands).digest };
                    known.wrote = Some((wrote, stored));
                    let known_so = self.memory.get(&key).is_some_and(Memory::fails_to_report);
                    if altered && !known_so {
                        tracing::warn!(binding = %key, "the status is not stored as it was written: a mutating webhook or policy changes it; it is written again, ever more rarely");
                    }
                    if altered {
                        outcome = StatusWrite::Altered;
                    } else if again {
                        tracing::info!(binding = %key, "the status was not what was written last: it was written again");
                    }
                    if again {
                        let now = self.now();
                        self.memory.entry(key.clone()).or_default().rewritten(now);
                    }
                }
                if outcome == StatusWrite::Done
                    && let Some(memory) = self.memory.get_mut(&key)
                {
                    memory.reported();
                }
                if let Some(running) = self.running.get_mut(&key) {
                    running.status = outcome;
                }
            }
        }
        self.add(dirty);
    }

    /// Notes that an output was written. Answers that it failed all the same where what the API server has made of it is not
    /// what was written: at once when that grants more, else when the same had been written before, since one answer can be
    /// mistaken.
    fn note_written(
        &mut self,
        key: &BindingKey,
        wanted: &WantedOutput,
        before: Option<&LiveOutput>,
        answer: &Answer,
    ) -> Option<Failure> {
        let now = self.now();
        let written = self.running.get_mut(key).and_then(|running| running.writes.take());
        let memory = self.memory.entry(key.clone()).or_default();
        let took_away = std::mem::take(&mut memory.took_away);
        let repair = written.and_then(|identity| memory.made(identity, now));
        let stored = self.stored(&wanted.name, answer).filter(|live| !live.drift(wanted).is_empty());
        if let Some(live) = stored {
            let too_wide = live.grants_more_than(wanted);
            if too_wide || repair.is_some() {
                let fields = quoted_list(live.spec.unwanted.iter().take(FIELDS_NAMED).map(|field| &**field));
                tracing::warn!(binding = %key, output = %wanted.name, differs = live.drift(wanted).join(", "), fields, too_wide, "the output is not stored as it was written: defaults of its CustomResourceDefinition or a mutating webhook change it");
                return Some(if too_wide { Failure::Widened } else { Failure::Altered });
            }
        }
        match repair? {
            Repair::Often(times) => {
                tracing::warn!(binding = %key, output = %wanted.name, times, "somebody changes or deletes the output again and again: it was put right, and the next time only after a pause");
            }
            Repair::Once if took_away => {
                tracing::info!(binding = %key, output = %wanted.name, "what the operator had deleted was created again");
            }
            Repair::Once => {
                tracing::info!(binding = %key, output = %wanted.name, differed = differed(before, wanted), "somebody had changed or deleted the output: it was put right");
            }
        }
        None
    }

    /// Notes that an output was made to select nothing. Answers that it failed all the same where the API server has stored
    /// one that still selects: then nothing waits for that, and it is asked again after a pause.
    fn note_neutralised(
        &mut self,
        key: &BindingKey,
        name: &ObjectName,
        answer: &Answer,
        warns: bool,
    ) -> Option<Failure> {
        let now = self.now();
        let done = self.stored(name, answer).is_none_or(|live| live.selects_nothing());
        let memory = self.memory.entry(key.clone()).or_default();
        if done {
            memory.neutralised();
            return None;
        }
        memory.still_selects(now);
        if warns {
            tracing::warn!(binding = %key, output = %name, "the output was made to select nothing, and is stored as one that still selects: a mutating webhook or policy changes it");
        }
        Some(Failure::Widened)
    }

    /// The output that an answer to a write showed, unless a newer state has been seen since.
    fn stored(&self, name: &ObjectName, answer: &Answer) -> Option<Arc<LiveOutput>> {
        let (_, object) = answer.objects.first()?;
        let version = object.pointer("/metadata/resourceVersion")?.as_str()?;
        self.book.output(name).filter(|live| *live.resource_version == *version)
    }

    /// What an answer means while a kind has no definition, as far as is known: a look that finds an output contradicts
    /// that, and a list of all is to come; one that the API server has no answer to, agrees, unless discovery, too, says that
    /// the definition is back.
    fn in_spite_of_absence(&self, key: &BindingKey, step: &Step, reply: &Reply) -> Reply {
        let proved_absent = |kind| self.index.availability_in(kind, &key.namespace) == Availability::ABSENT;
        match (step, reply) {
            (Step::LookAtOutput { .. }, Reply::Done) if self.outputs_are_absent() => {
                Reply::Failed(Failure::Transient)
            }
            (Step::LookAtOutput { .. }, Reply::Failed(Failure::Absent)) if proved_absent(Kind::Output) => {
                Reply::ProvedAbsent
            }
            (Step::LookAtBinding { .. }, Reply::Failed(Failure::Absent)) if proved_absent(Kind::Binding) => {
                Reply::ProvedAbsent
            }
            _ => reply.clone(),
        }
    }

    fn outputs_are_absent(&self) -> bool {
        self.index.availability(Kind::Output).known == Known::Absent
    }

    /// Takes an object that an answer showed, as if a watch had; none, if it cannot be read.
    fn saw_in_reply(&mut self, key: &BindingKey, kind: Kind, object: &Value) -> Option<Dirty> {
        Some(match kind {
            Kind::Binding => match feed::binding(object) {
                // A binding that is gone is not brought back by a late reply; a newer one takes its place.
                Ok(seen) if self.book.binding(key).is_some() => self.saw_binding(seen),
                Ok(_) => Dirty::new(),
                Err(error) => {
                    tracing::error!(binding = %key, %error, "the API server answered with an unusable binding");
                    return None;
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
                        return Some(Dirty::new());
                    }
                    self.saw_output(KeptOutput::of(self.index.settings(), output))
                }
                Err(error) => {
                    tracing::error!(binding = %key, %error, "the API server answered with an unusable ClusterSPIFFEID");
                    return None;
                }
            },
            Kind::Objective(_) | Kind::Pool(_) => Dirty::new(),
        })
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
