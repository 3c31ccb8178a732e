//! One turn of one binding: steps until it settles, then its status, then rest or back-off.

use std::sync::Arc;
use std::time::Duration;

use kleym_api::encode::{self, StatusDigest};
use kleym_core::fact::{Availability, Known};
use kleym_core::index::Verdict;
use kleym_core::kind::Kind;
use kleym_core::name::{BindingKey, Uid};
use kleym_core::plan::{Failure, Reply, Situation, Standing, Step, Turn};
use kleym_core::render::Identity;
use kleym_core::status;
use serde_json::Value;

use super::Reconciler;
use super::doubt::Tick;
use super::gate::Gatekeeper;
use super::rest::LOOK_AGAIN;
use crate::perform::{Action, Call};

/// A turn under way.
#[derive(Debug, Default)]
pub(super) struct Running {
    pub(super) turn: Turn,
    /// Outputs that the watch reported gone during the turn: a reply that comes late must not bring them back.
    pub(super) gone: Vec<Uid>,
    pub(super) status: StatusWrite,
    /// The identity that its last call writes.
    pub(super) writes: Option<Arc<Identity>>,
    /// When its last call was sent.
    pub(super) sent: Tick,
    /// The answer to its last call may show an output.
    pub(super) shows: bool,
}

/// Whether the turn has written the status.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum StatusWrite {
    #[default]
    NotTried,
    Done,
    /// It was written, and something on its way in made another one of it.
    Altered,
    Failed(Failure),
}

/// A status that is to be written.
struct ToWrite {
    status: Value,
    /// It was written already, and somebody has overwritten it since.
    again: bool,
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
        if !self.braked.is_empty() {
            return None;
        }
        let running = self.running.get(&key)?;
        let mut decision = self.index.verdict(&key);
        if let (Verdict::Wanted(_), Availability { known: Known::Listed, trouble: Some(trouble) }) =
            (&decision.verdict, self.index.availability(Kind::Output))
        {
            decision.held.insert(Kind::Output, trouble);
        }
        let known = self.book.binding(&key);
        let output = self.book.output_of(&key);
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
            bindings: self.index.availability_in(Kind::Binding, &key.namespace),
            outputs: self.index.availability(Kind::Output),
            output: output.as_deref(),
            gate: &gate,
            out_of_patience: memory.is_some_and(|memory| memory.out_of_patience(self.now())),
            undone: match &decision.verdict {
                Verdict::Wanted(identity) => self.repairs_in(&key, identity).is_some(),
                _ => false,
            },
            stripped: self.holds_in(&key).is_some(),
            cooling: memory.is_some_and(|memory| memory.cools_for(self.now()).is_some()),
            unlisted: self.takeover.is_some(),
            rejected: memory.and_then(|memory| memory.rejected),
        };
        let mut step = (self.protocol)(&situation, &running.turn);
        let status_tried = running.status != StatusWrite::NotTried;
        // What was answered a moment ago is not asked again: the same would come of it.
        if matches!(step, Step::NeutraliseOutput { .. })
            && memory.is_some_and(|memory| memory.neutralises_in(self.now()).is_some())
        {
            let mut turn = running.turn.clone();
            turn.take(&step, &Reply::Failed(Failure::Widened));
            step = (self.protocol)(&situation, &turn);
            self.running.get_mut(&key)?.turn = turn;
        }
        let action = match step {
            Step::Settle(standing) => {
                // A wait that is over in a moment is not worth a status.
                let passing = matches!(standing, Standing::Waiting(_))
                    && !memory.is_some_and(|memory| memory.stuck_for(LOOK_AGAIN, self.now()));
                let written = status_tried || passing;
                match (written, self.status_to_write(&key, &decision, &standing)) {
                    (false, Some(write)) => match self.pause_before(&key, &write) {
                        None => Action::WriteStatus(write.status),
                        Some(left) => {
                            self.end(&key, &standing);
                            self.queue.add_after(key, self.now(), left);
                            return None;
                        }
                    },
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
            self.memory.entry(key.clone()).or_default().writes(identity);
        }
        if let Some(running) = self.running.get_mut(&key) {
            running.writes = match (&action, &decision.verdict) {
                (Action::Step(Step::CreateOutput(_) | Step::ReplaceOutput(_)), Verdict::Wanted(identity)) => {
                    Some(Arc::clone(identity))
                }
                _ => None,
            };
            running.sent = self.doubts.now();
            running.shows = matches!(
                action,
                Action::Step(
                    Step::CreateOutput(_)
                        | Step::ReplaceOutput(_)
                        | Step::NeutraliseOutput { .. }
                        | Step::DeleteOutput { .. }
                        | Step::LookAtOutput { .. }
                )
            );
        }
        let failures = self.queue.failures(&key);
        Some(Call { key, action, binding, output, failures })
    }

    /// How long a status must wait that was written already and that somebody has overwritten since.
    fn pause_before(&self, key: &BindingKey, write: &ToWrite) -> Option<Duration> {
        self.memory.get(key).filter(|_| write.again)?.rewrites_in(self.now())
    }

    /// The status to write, if the live one does not say it already.
    fn status_to_write(
        &self,
        key: &BindingKey,
        decision: &kleym_core::index::Decision,
        standing: &Standing,
    ) -> Option<ToWrite> {
        let known = self.book.binding(key)?;
        let facts = status::report(self.index.settings(), key, known.live.generation, decision, standing)?;
        let status = encode::status(&facts, Some(&known.status), self.moment.wall);
        let status = serde_json::to_value(status).ok()?;
        let wanted = StatusDigest::of(&status);
        let stands = known.status.digest == wanted || known.wrote == Some((wanted, known.status.digest));
        (!stands).then(|| ToWrite { status, again: known.wrote_already(wanted) })
    }
}
