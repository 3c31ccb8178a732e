//! Who leads, as a pure state machine over the one Lease that all replicas of an instance share.
//!
//! # Flow
//! The caller asks [`State::next`] what to do, does exactly that one thing, and hands the answer to
//! [`State::answered`]; while it is told to wait, it may hand over what a watch shows ([`State::saw`]). A candidate
//! looks at the lease, creates it when there is none, claims it when it is free, and then renews it until it is
//! stopped ([`State::release`]) or has lost it.
//!
//! # Guarantees
//! At no time do two candidates lead, whatever is delayed, lost, answered late, carried out late, paused or killed,
//! and whoever else deletes or overwrites the lease:
//! - A leader leads until [`Timing::lead`] after it *began to send* its last write that was acknowledged. That is
//!   less than the lease's duration.
//! - A candidate claims a lease only when it saw the very same version of it for the whole duration on its own
//!   clock. Which version that is, is said by uid and resourceVersion, and the claim is bound to both, so that the API
//!   server refuses it when anything was written since. Times in the record are never compared with a clock.
//! - So every write of an earlier leader was begun before the version that is claimed was seen, and its leadership
//!   was over before the claim was sent. This holds for a version that anybody wrote by hand, and it is why a lease
//!   that a candidate had seen and then had to create anew (perhaps somebody deleted it under a leader) is held for its
//!   duration before it is led.
//! - A lease that was missing when the candidate first looked is led as soon as it is created: creation is atomic, and
//!   where there is no lease there is no leader, so that a first installation serves at once.
//! - Two versions are free at once. One that a leader left when it was released: it has no holder *and* lasts one
//!   second, which nobody but a leader that has stopped writes. And one that is exactly what this candidate sent in a
//!   claim that was never answered, for as long as the answer would have made it lead: nobody else can have led since.
//! - A leader that finds the lease gone, or held by another, or that could not renew it in time, has lost it for
//!   ever: [`Step::Lost`]. The process ends and starts again as a candidate with another identity.
//!
//! # Assumptions
//! Clocks of different machines run at about the same rate (the leader stops after two thirds of the duration, so
//! one may run half as fast again as another) and do not stand still while a machine runs; uid and resourceVersion
//! never come back; nobody forges a release.
//!
//! # Caveats
//! An etcd that is restored from an older snapshot breaks the last two assumptions: it can show an old release
//! again. A candidate that saw anything newer does not believe it; one that just started does, and for at most one
//! renewal period two may lead. The same holds when somebody deletes the lease under a leader just before a candidate
//! starts: the leader learns of it at its next renewal, or stops when that fails.
//!
//! Nothing in here reads a clock or does I/O: the monotonic and the wall-clock time are passed in.

mod record;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;

use std::fmt;
use std::time::Duration;

use crate::text::Quoted;

pub use crate::queue::Now;
pub use record::{BadDuration, Live, RELEASED_SECONDS, Record, Sight, Stamp, Timing, name};

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Read the lease; answer with [`Answer::Seen`] or [`Answer::Failed`].
    Look,
    /// Create the lease; answer with [`Answer::Written`], [`Answer::Conflict`] or [`Answer::Failed`].
    Create(Record),
    /// Replace the lease of this uid at this resourceVersion; answered as [`Step::Create`].
    Replace {
        /// The lease that is replaced.
        uid: String,
        /// The version of it that is replaced.
        resource_version: String,
        /// What it shall say.
        record: Record,
    },
    /// Nothing before then. Ask again at that time, or sooner when a watch has shown something.
    Wait {
        /// When to ask again.
        until: Now,
    },
    /// This candidate led and does so no more.
    Lost(Loss),
    /// This candidate was stopped, and there is nothing left to do.
    Over,
}

/// How leadership was lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Loss {
    /// No renewal was acknowledged in time.
    NotRenewed,
    /// The lease was deleted.
    Deleted,
    /// The lease names another holder, or none.
    Taken {
        /// Whom it names; may be empty.
        by: String,
    },
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Loss::NotRenewed => f.write_str("it was not renewed in time"),
            Loss::Deleted => f.write_str("it was deleted"),
            Loss::Taken { by } if by.is_empty() => f.write_str("its holder was removed"),
            Loss::Taken { by } => write!(f, "it is held by {}", Quoted(by)),
        }
    }
}

/// How a call ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The API server says that the lease is like this, or that there is none.
    Seen(Sight),
    /// A write was carried out and left this.
    Written(Live),
    /// A write was refused because the lease is not what the write was bound to.
    Conflict,
    /// Anything else. A write may or may not have been carried out, or may still be.
    Failed,
}

/// What was claimed, and when that was first begun.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Claim {
    begun: Now,
    record: Record,
}

/// A candidate.
#[derive(Debug, Clone)]
pub struct State {
    timing: Timing,
    identity: String,
    role: Role,
    /// What was last seen.
    seen: Seen,
    /// The lease, in whatever version, has been seen or may have been made by this candidate.
    met: bool,
    /// What was last seen may be outdated: look before anything else.
    stale: bool,
    /// Nothing is asked of the API server before then, after a failure.
    pause: Now,
    /// Conflicts since the last rest: the second in a row costs a pause.
    conflicts: u32,
    /// The claim of the version that was last seen, sent at least once and never answered.
    claim: Option<Claim>,
    /// The call under way.
    pending: Option<Pending>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Role {
    /// Does not lead and never did.
    Standby,
    /// Leads until then.
    Leading { until: Now, renew_at: Now },
    /// Led, was stopped, and gives the lease back, as long as nobody else can lead.
    Releasing {
        until: Now,
        /// A release was sent and not answered: it may have been carried out, and then others may lead.
        sent: bool,
    },
    /// Was stopped.
    Over,
    /// Led and lost it.
    Lost(Loss),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Seen {
    Nothing,
    Absent,
    /// A version, and what is due if it does not change.
    Version(Live, Due),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Due {
    /// When it may be claimed.
    claim: Now,
    /// When to make sure that it really did not change: a watch can be silent because it is dead.
    look: Option<Now>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Pending {
    Look,
    Create { begun: Now, record: Record },
    Replace { begun: Now, base: Live, record: Record },
}

impl State {
    /// A candidate that has seen nothing. Nobody else, now or ever, has the same identity; it is not empty.
    pub fn new(timing: Timing, identity: &str) -> Self {
        Self {
            timing,
            identity: identity.to_owned(),
            role: Role::Standby,
            seen: Seen::Nothing,
            met: false,
            stale: true,
            pause: Now::ZERO,
            conflicts: 0,
            claim: None,
            pending: None,
        }
    }

    /// Who this is.
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// Until when this candidate leads, if it leads.
    pub fn leading(&self, now: Now) -> Option<Now> {
        match self.role {
            Role::Leading { until, .. } if now < until => Some(until),
            _ => None,
        }
    }

    /// Whether this candidate neither leads, nor led, nor was stopped.
    pub fn is_standby(&self) -> bool {
        self.role == Role::Standby
    }

    /// When a call that begins now must be given up.
    pub fn call_deadline(&self, now: Now) -> Now {
        let deadline = now + self.timing.call;
        self.leading(now).map_or(deadline, |until| until.min(deadline))
    }

    /// Whom the lease names, as last seen; may be empty.
    pub fn holder(&self) -> Option<&str> {
        match &self.seen {
            Seen::Version(live, _) => Some(&live.record.holder),
            Seen::Nothing | Seen::Absent => None,
        }
    }

    /// The resourceVersion after which a watch would show something new. A leader needs none: its renewals tell.
    pub fn watch_from(&self) -> Option<&str> {
        match &self.seen {
            Seen::Version(live, _) if !self.stale && self.is_standby() => Some(&live.resource_version),
            _ => None,
        }
    }

    /// What to do now. `now` is taken as the time at which the call begins, `wall` goes into the record for people.
    pub fn next(&mut self, now: Now, wall: Stamp) -> Step {
        if self.pending.is_some() {
            // Whoever asks again has given the call up.
            self.answered(now, Answer::Failed);
        }
        self.judge(now);
        match &self.role {
            Role::Over => return Step::Over,
            Role::Lost(loss) => return Step::Lost(loss.clone()),
            Role::Standby | Role::Leading { .. } | Role::Releasing { .. } => {}
        }
        let due = self.due(now);
        if now < due {
            if due > self.pause {
                self.conflicts = 0;
            }
            let until = self.leading(now).map_or(due, |until| until.min(due));
            return Step::Wait { until };
        }
        if let (Role::Standby, Seen::Version(_, due)) = (&self.role, &self.seen) {
            self.stale |= now < due.claim;
        }
        let (pending, step) = match &self.seen {
            Seen::Version(live, _) if !self.stale => {
                let record = self.wanted(live, wall);
                let (uid, resource_version) = (live.uid.clone(), live.resource_version.clone());
                let step = Step::Replace { uid, resource_version, record: record.clone() };
                (Pending::Replace { begun: now, base: live.clone(), record }, step)
            }
            Seen::Absent if !self.stale => {
                let record = Record {
                    holder: self.identity.clone(),
                    duration_seconds: Some(self.timing.duration_seconds()),
                    transitions: 0,
                    acquired: Some(wall),
                    renewed: Some(wall),
                };
                (Pending::Create { begun: now, record: record.clone() }, Step::Create(record))
            }
            _ => (Pending::Look, Step::Look),
        };
        if let Pending::Replace { record, .. } = &pending
            && self.is_standby()
            && self.claim.is_none()
        {
            self.claim = Some(Claim { begun: now, record: record.clone() });
        }
        self.pending = Some(pending);
        step
    }

    /// Ends what has to end, by the time and by what was seen.
    fn judge(&mut self, now: Now) {
        let loss = match &self.seen {
            _ if self.stale => None,
            Seen::Nothing => None,
            Seen::Absent => Some(Loss::Deleted),
            Seen::Version(live, _) if live.record.holder == self.identity => None,
            Seen::Version(live, _) => Some(Loss::Taken { by: live.record.holder.clone() }),
        };
        match (&self.role, loss) {
            (Role::Leading { until, .. }, _) if now >= *until => self.role = Role::Lost(Loss::NotRenewed),
            (Role::Leading { .. }, Some(loss)) => self.role = Role::Lost(loss),
            (Role::Releasing { until, .. }, _) if now >= *until => self.role = Role::Over,
            (Role::Releasing { .. }, Some(_)) => self.role = Role::Over,
            _ => {}
        }
    }

    /// When the next call begins.
    fn due(&self, now: Now) -> Now {
        let due = match (&self.role, &self.seen) {
            (Role::Leading { renew_at, .. }, _) if !self.stale => *renew_at,
            (Role::Standby, Seen::Version(_, due)) if !self.stale => {
                due.look.map_or(due.claim, |look| look.min(due.claim))
            }
            _ => now,
        };
        due.max(self.pause)
    }

    /// What a version is replaced by: a claim, a renewal or a release.
    fn wanted(&self, live: &Live, wall: Stamp) -> Record {
        if let Some(claim) = &self.claim
            && self.is_standby()
        {
            // Claims of one version are all the same, so that each is recognised by whichever was carried out.
            return claim.record.clone();
        }
        let old = &live.record;
        // A write that changes nothing leaves the version as it is, and nobody would notice it.
        let renewed = if old.renewed == Some(wall) { Stamp(wall.0.saturating_add(1)) } else { wall };
        let ours = old.holder == self.identity;
        let releasing = matches!(self.role, Role::Releasing { .. });
        Record {
            holder: if releasing { String::new() } else { self.identity.clone() },
            duration_seconds: Some(if releasing { RELEASED_SECONDS } else { self.timing.duration_seconds() }),
            transitions: old.transitions.max(0).saturating_add(i32::from(!ours)),
            acquired: old.acquired.filter(|_| ours).or(Some(renewed)),
            renewed: Some(renewed),
        }
    }

    /// Takes the answer to the last call.
    pub fn answered(&mut self, now: Now, answer: Answer) {
        let Some(pending) = self.pending.take() else { return };
        match (pending, answer) {
            (Pending::Look, Answer::Seen(sight)) if sight.is_whole() => {
                self.stale = false;
                self.observe(now, sight);
            }
            (Pending::Create { begun, record }, Answer::Written(live))
                if live.is_whole() && live.record.holder == record.holder =>
            {
                if self.met {
                    self.observe(now, Sight::Present(live));
                } else {
                    self.met = true;
                    self.replaced(now, begun, live);
                }
            }
            (Pending::Replace { begun, base, record }, Answer::Written(live))
                if live.is_whole() && base.was_replaced_by(&live) && live.record.holder == record.holder =>
            {
                self.replaced(now, begun, live);
            }
            (Pending::Replace { .. }, Answer::Conflict)
                if matches!(self.role, Role::Releasing { sent: true, .. }) =>
            {
                self.role = Role::Over;
            }
            (Pending::Create { .. } | Pending::Replace { .. }, Answer::Conflict) => {
                self.met = true;
                self.stale = true;
                self.conflicts = self.conflicts.saturating_add(1);
                if self.conflicts > 1 {
                    self.pause = now + self.timing.pause;
                }
            }
            (pending, _) => {
                // A create that was not answered may have been carried out, and may be deleted by now.
                self.met |= matches!(pending, Pending::Create { .. });
                self.pause = now + self.timing.pause;
                match (&mut self.role, pending) {
                    // Tried again on what is known: when the write was carried out already, it meets a conflict.
                    (Role::Leading { .. }, _) => {}
                    (Role::Releasing { sent, .. }, Pending::Replace { .. }) => *sent = true,
                    _ => self.stale = true,
                }
            }
        }
    }

    /// A claim, renewal or release was carried out.
    fn replaced(&mut self, now: Now, begun: Now, live: Live) {
        self.conflicts = 0;
        self.claim = None;
        // Our own write over a version that we might write over: it needs no further wait.
        self.seen = Seen::Version(live, Due { claim: now, look: None });
        let until = begun + self.timing.lead;
        match self.role {
            // An answer that comes too late: what we claimed is ours, but it must be claimed again.
            Role::Standby if now >= until => {}
            // The leadership was over before this was known. It stays over.
            Role::Leading { until: over, .. } if now >= over => self.role = Role::Lost(Loss::NotRenewed),
            Role::Standby | Role::Leading { .. } => {
                self.role = Role::Leading { until, renew_at: begun + self.timing.period };
            }
            Role::Releasing { .. } => self.role = Role::Over,
            Role::Over | Role::Lost(_) => {}
        }
    }

    /// Takes what a watch showed. Only a standby looks at it.
    pub fn saw(&mut self, now: Now, sight: Sight) {
        if !self.is_standby() {
            return;
        }
        if sight.is_whole() {
            self.observe(now, sight);
        } else {
            self.stale = true;
        }
    }

    /// Takes that the lease is not watched, so that it must be looked at again.
    pub fn not_watched(&mut self, now: Now) {
        self.stale = true;
        self.pause = self.pause.max(now + self.timing.pause);
    }

    /// Stops: a leader is then told to give the lease back, anybody else that it is over. (A leader whose time is up
    /// too: what names it by now may have been put there by hand while another leads.) From here on nobody leads by
    /// this state, so whatever writes by its leadership must have ended before.
    pub fn release(&mut self) {
        match self.role {
            Role::Leading { until, .. } => self.role = Role::Releasing { until, sent: false },
            Role::Standby => self.role = Role::Over,
            Role::Releasing { .. } | Role::Over | Role::Lost(_) => {}
        }
    }

    fn observe(&mut self, now: Now, sight: Sight) {
        let Sight::Present(live) = sight else {
            self.claim = None;
            self.seen = Seen::Absent;
            return;
        };
        self.met = true;
        let wait = match &mut self.seen {
            Seen::Version(known, due) if known.is_same_version(&live) => {
                due.look = None;
                return;
            }
            Seen::Nothing if live.record.is_released() => Duration::ZERO,
            Seen::Version(known, _) if known.uid == live.uid => {
                let goes_on = live.record.transitions >= known.record.transitions;
                let released = live.record.is_released() && goes_on;
                let ours =
                    |claim: &Claim| claim.record == live.record && now < claim.begun + self.timing.lead;
                let claimed = self.claim.as_ref().is_some_and(ours);
                if released || claimed { Duration::ZERO } else { self.timing.wait(&live.record) }
            }
            _ => self.timing.wait(&live.record),
        };
        self.claim = None;
        let due = Due { claim: now + wait, look: Some(now + 2 * self.timing.period) };
        self.seen = Seen::Version(live, due);
    }
}
