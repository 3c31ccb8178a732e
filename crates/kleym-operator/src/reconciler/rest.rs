//! How a turn ends: what is told and remembered of it, and when there is another one.

use std::sync::Arc;
use std::time::Duration;

use kleym_core::announce::Settled;
use kleym_core::index::{Dirty, Verdict};
use kleym_core::name::{BindingKey, ObjectName, output_name};
use kleym_core::plan::{Failure, Remnant, Standing, Turn, Wait};
use kleym_core::queue::{LONGEST_DELAY, Now};
use kleym_core::refusal::Refusal;
use kleym_core::render::Identity;

use super::Reconciler;
use super::memory::PATIENCE;
use super::turn::StatusWrite;
use crate::metrics::TurnEnd;

/// How long the API server may take to judge by a new definition.
pub(super) const REDEFINED_FOR: Duration = Duration::from_secs(10);

/// How soon a binding that waits for other outputs looks again by itself.
pub(super) const LOOK_AGAIN: Duration = Duration::from_secs(1);

impl Reconciler {
    /// Ends a turn: rest, or another one when what it waits for can have changed.
    pub(super) fn end(&mut self, key: &BindingKey, standing: &Standing) {
        let Some(running) = self.running.remove(key) else { return };
        self.queue.done(key);
        let now = self.now();
        let rejected_early = running
            .turn
            .failure()
            .is_some_and(|failure| failure != Failure::Widened && self.redefined_until().is_some());
        let unreported = matches!(running.status, StatusWrite::Failed(failure) if failure.passes());
        let tried_again = rejected_early || unreported || running.turn.tries_again();
        // Whatever becomes of it, a status that does not stand is an error: what the binding says is not true.
        let in_vain = matches!(running.status, StatusWrite::Failed(_) | StatusWrite::Altered);
        self.tell(key, standing, &running.turn, tried_again || in_vain);
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
        self.remember(key, standing, running.turn.shortfall());
        match running.status {
            StatusWrite::Failed(failure) if !failure.passes() => self.report_later(key),
            StatusWrite::Altered => self.report_later(key),
            StatusWrite::Failed(_) | StatusWrite::Done | StatusWrite::NotTried => {}
        }
        if let Some(left) = self.holds_in(key) {
            self.queue.add_after(key.clone(), now, left);
        }
        if let Some(left) = self.memory.get(key).and_then(|memory| memory.rejected_for(now)) {
            self.queue.add_after(key.clone(), now, left);
        }
    }

    /// Has a status that was rejected, or changed on its way in, written again, ever more rarely: what stands is not true, and
    /// what rejects or changes it, a policy say, may go without a change of anything that is watched.
    fn report_later(&mut self, key: &BindingKey) {
        let now = self.now();
        let left = self.memory.entry(key.clone()).or_default().report_rejected(now);
        self.queue.add_after(key.clone(), now, left.unwrap_or_default());
    }

    /// How much longer a binding has to wait until what somebody has undone again and again is written once more.
    pub(super) fn repairs_in(&self, key: &BindingKey, identity: &Arc<Identity>) -> Option<Duration> {
        let memory = self.memory.get(key)?;
        let left = memory.repairs_in(identity, self.now(), LONGEST_DELAY)?;
        // Nobody else waits for long because somebody fights over this output.
        let output = output_name(self.index.settings().instance.as_str(), key);
        if !self.waiters.contains_key(&output) {
            return Some(left);
        }
        memory.repairs_in(identity, self.now(), PATIENCE)
    }

    /// How much longer a binding that lost our finalizer has to wait until it is put back.
    pub(super) fn holds_in(&self, key: &BindingKey) -> Option<Duration> {
        let left = self.memory.get(key)?.holds_in(self.now())?;
        self.book.binding(key).filter(|known| !known.live.holds_finalizer()).map(|_| left)
    }

    /// Whether an output stands that may grant what it is not to grant.
    fn may_grant_too_much(&self, key: &BindingKey, standing: &Standing) -> bool {
        let unwanted = match standing {
            Standing::Leaving | Standing::Refused { .. } | Standing::Waiting(_) => true,
            Standing::Granted { .. } | Standing::Undecided(_) | Standing::Released { .. } => false,
        };
        unwanted && self.book.output_of(key).is_some_and(|live| !live.selects_nothing())
    }

    /// Until when the API server may judge outputs by the definition before, if that has changed a moment ago.
    pub(super) fn redefined_until(&self) -> Option<Now> {
        Some(self.redefined_at? + REDEFINED_FOR).filter(|until| *until > self.now())
    }

    /// What was rejected may be tried again: something changed.
    pub(super) fn forget_rejections(&mut self, changed: &Dirty) {
        for key in changed {
            let Some(memory) = self.memory.get_mut(key) else { continue };
            // What would be stored too wide is not to be made again before it can be another.
            let the_same = memory.rejected == Some(Failure::Widened)
                && matches!(self.index.verdict(key).verdict, Verdict::Wanted(identity) if memory.has_made(&identity));
            if !the_same {
                memory.rejected = None;
            }
        }
    }

    /// Tells and counts how a turn ended.
    fn tell(&mut self, key: &BindingKey, standing: &Standing, turn: &Turn, tried_again: bool) {
        let mode = self.index.binding(key).and_then(|binding| Some(binding.spec.as_ref().ok()?.mode));
        self.metrics.turn_ends(key, self.now(), &TurnEnd { standing, mode, tried_again });
        let peer = |name: &ObjectName| {
            let peer = BindingKey::new(key.namespace.clone(), name.clone());
            Some(self.book.binding(&peer)?.live.uid.clone())
        };
        let output = self.book.output_of(key);
        let settled = Settled {
            settings: self.index.settings(),
            key,
            uid: self.book.binding(key).map(|known| &known.live.uid),
            deleting: self.index.binding(key).is_some_and(|binding| binding.deleting),
            standing,
            output: output.as_deref(),
            in_doubt: turn.leaves_in_doubt(),
            peer: &peer,
        };
        let news = self.memory.entry(key.clone()).or_default().told.settle(&settled);
        self.announcements.extend(news);
    }

    /// Has a binding that waits looked at once more, to say so in its status: a wait that is over before costs none.
    fn say_so(&mut self, key: &BindingKey) {
        let now = self.now();
        if !self.memory.get(key).is_some_and(|memory| memory.stuck_for(LOOK_AGAIN, now)) {
            self.queue.add_after(key.clone(), now, LOOK_AGAIN);
        }
    }

    /// Keeps what the next turn needs to know of a binding that is gone: since when its orphan cannot be taken away, and how
    /// often that was made to select nothing in vain.
    fn remember_gone(&mut self, key: &BindingKey, failure: Option<Failure>) {
        let now = self.now();
        if failure.is_none() || self.book.output_of(key).is_none() {
            self.memory.remove(key);
            return;
        }
        let memory = self.memory.entry(key.clone()).or_default();
        memory.stuck(now);
        if let Some(left) = memory.patience_left(now) {
            self.queue.add_after(key.clone(), now, left);
        }
    }

    /// Keeps what the next turn needs to know of this one.
    fn remember(&mut self, key: &BindingKey, standing: &Standing, failure: Option<Failure>) {
        let now = self.now();
        match standing {
            Standing::Leaving if self.book.binding(key).is_none() => self.remember_gone(key, failure),
            Standing::Granted { identity, .. } => {
                let memory = self.memory.entry(key.clone()).or_default();
                memory.settled();
                memory.confirmed(identity);
                // What stands was not rejected, whatever was answered when it was written.
                memory.rejected = None;
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
            Standing::Waiting(Wait::Undone(_)) => {
                self.memory.entry(key.clone()).or_default().stuck(now);
                self.say_so(key);
                if let Verdict::Wanted(identity) = self.index.verdict(key).verdict
                    && let Some(left) = self.repairs_in(key, &identity)
                {
                    self.queue.add_after(key.clone(), now, left);
                }
            }
            Standing::Waiting(Wait::Cooling) => {
                let memory = self.memory.entry(key.clone()).or_default();
                memory.stuck(now);
                let left = memory.cools_for(now);
                self.say_so(key);
                if let Some(left) = left {
                    self.queue.add_after(key.clone(), now, left);
                }
            }
            // That somebody else was faster with what is to be written is no failure, and ends none. What is to go has no such
            // patience.
            Standing::Refused {
                refusal: Refusal::OutputWrite { .. } | Refusal::FinalizerWrite { .. },
                ..
            } if failure == Some(Failure::Stale) => {}
            // What cannot be taken away is said to stand until it is gone, however the next try fails.
            Standing::Waiting(Wait::Withdrawal(_) | Wait::Proof { .. } | Wait::Release(_))
            | Standing::Refused { remnant: Remnant::Granting(_), .. } => {
                self.memory.entry(key.clone()).or_default().stuck(now);
            }
            // Where outputs were never listed nothing was tried.
            Standing::Refused { remnant: Remnant::Unproved { .. }, .. } if failure.is_some() => {
                self.memory.entry(key.clone()).or_default().stuck(now);
            }
            Standing::Leaving | Standing::Refused { .. } if failure.is_some_and(Failure::passes) => {
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
                // After that the watch tells when the finalizers are gone.
                self.memory.entry(key.clone()).or_default().stuck(now);
                self.say_so(key);
            }
            Standing::Waiting(Wait::List) => {
                let memory = self.memory.entry(key.clone()).or_default();
                memory.stuck(now);
                if let Some(left) = memory.patience_left(now) {
                    self.queue.add_after(key.clone(), now, left);
                }
                self.say_so(key);
                if let Some(takeover) = &mut self.takeover {
                    takeover.holds(key);
                }
            }
            Standing::Leaving
            | Standing::Released { .. }
            | Standing::Undecided(_)
            | Standing::Refused { .. } => {
                if let Some(memory) = self.memory.get_mut(key) {
                    memory.settled();
                }
            }
        }
    }
}
