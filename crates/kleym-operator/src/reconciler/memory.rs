//! What the reconciler remembers of a binding between its turns. Lost with the process, and never needed for safety: what is
//! forgotten only makes the next turn more careful.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use kleym_core::announce::Told;
use kleym_core::name::ObjectName;
use kleym_core::plan::Failure;
use kleym_core::queue::{FIRST_DELAY, LONGEST_DELAY, Now};
use kleym_core::render::Identity;

/// How long a grant that is too wide may stand while its replacement waits or fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);
/// After this long without a withdrawal, or a rewrite, the next one is followed by as short a pause as the first.
const FORGIVEN_AFTER: Duration = Duration::from_secs(300);
/// How often in a row what somebody undoes is done again at once: more often than anybody drifts an output by hand, or by a
/// script that tries one field after the other, and still over within a second where two programs undo each other.
const AT_ONCE: u32 = 20;
/// The longest a status that is rejected each time waits until it is written again. Shorter than what is forgiven.
const LONGEST_WHEN_REJECTED: Duration = Duration::from_secs(240);
/// How many identities are remembered of one output. More than that are written only where a target changes faster than
/// anything settles; what is forgotten makes the next turn more careful.
const IDENTITIES: usize = 8;

/// The memory of one binding.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    /// The identity that was last confirmed in its output, and those that were sent since.
    written: Vec<Arc<Identity>>,
    /// The outputs that it waited for at the end of its last turn.
    pub(crate) blockers: BTreeSet<ObjectName>,
    /// How the API server rejected its output last, if nothing changed since.
    pub(crate) rejected: Option<Failure>,
    /// Its output was deleted by the operator, or may have been, since it stood last.
    pub(crate) took_away: bool,
    /// What was told of it.
    pub(crate) told: Told,
    /// The identity that was last made to stand in its output.
    made: Option<Arc<Identity>>,
    stuck_since: Option<Now>,
    withdrawals: Pace,
    rewrites: Pace,
    /// What somebody undid or rejected; of nearly every binding nobody ever does.
    undone: Option<Box<Undone>>,
}

/// How often what somebody undoes, or rejects, was done again.
#[derive(Debug, Default)]
struct Undone {
    repairs: Pace<AT_ONCE>,
    holds: Pace<AT_ONCE>,
    reports: Pace,
    /// How often the output was made to select nothing, and was stored as one that still selects.
    neutrals: Pace,
    /// When a rejection is over that came of a definition which was just replaced.
    rejected_until: Option<Now>,
}

/// That what somebody had undone was done again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repair {
    /// As it happens now and then.
    Once,
    /// So often in a row that the next time has to wait.
    Often(u32),
}

impl From<Option<u32>> for Repair {
    fn from(times: Option<u32>) -> Self {
        times.map_or(Repair::Once, Repair::Often)
    }
}

impl Memory {
    /// The identities that may stand in its output, as far as that is remembered.
    pub(crate) fn written(&self) -> &[Arc<Identity>] {
        &self.written
    }

    /// Notes the identity that stands in its output.
    pub(crate) fn confirmed(&mut self, identity: &Arc<Identity>) {
        self.took_away = false;
        if self.made.as_ref() != Some(identity) {
            self.made = Some(Arc::clone(identity));
        }
        if !matches!(&*self.written, [only] if only == identity) {
            self.written = vec![Arc::clone(identity)];
        }
    }

    /// Notes an identity that is sent.
    pub(crate) fn writes(&mut self, identity: &Arc<Identity>) {
        if self.written.contains(identity) {
            return;
        }
        if self.written.len() == IDENTITIES {
            self.written.remove(0);
        }
        self.written.push(Arc::clone(identity));
    }

    /// Notes that the output was rejected; until something changes, or until this time.
    pub(crate) fn rejects(&mut self, failure: Failure, until: Option<Now>) {
        self.rejected = Some(failure);
        if until.is_some() || self.undone.is_some() {
            self.undone.get_or_insert_default().rejected_until = until;
        }
    }

    /// How much longer a rejection counts that came of a definition which was just replaced.
    pub(crate) fn rejected_for(&self, now: Now) -> Option<Duration> {
        let until = self.undone.as_ref()?.rejected_until.filter(|_| self.rejected.is_some())?;
        Some(until.saturating_sub(now))
    }

    /// Forgets a rejection whose time is over.
    pub(crate) fn forget_rejected(&mut self, now: Now) {
        let over =
            self.undone.as_mut().and_then(|undone| undone.rejected_until.take_if(|until| *until <= now));
        if over.is_some() {
            self.rejected = None;
        }
    }

    /// Notes that the output could not be made right in this turn.
    pub(crate) fn stuck(&mut self, now: Now) {
        self.stuck_since.get_or_insert(now);
    }

    /// Notes that nothing waits or fails.
    pub(crate) fn settled(&mut self) {
        self.stuck_since = None;
        self.blockers.clear();
    }

    /// Whether the output has been wrong for at least this long.
    pub(crate) fn stuck_for(&self, time: Duration, now: Now) -> bool {
        self.stuck_since.is_some_and(|since| now.saturating_sub(since) >= time)
    }

    /// Whether the output has been wrong for longer than a grant that is too wide may stand.
    pub(crate) fn out_of_patience(&self, now: Now) -> bool {
        self.stuck_for(PATIENCE, now)
    }

    /// How much longer a grant that is too wide may stand; none when it may no longer, or nothing is wrong.
    pub(crate) fn patience_left(&self, now: Now) -> Option<Duration> {
        (self.stuck_since? + PATIENCE).checked_sub(now).filter(|left| !left.is_zero())
    }

    /// Notes a withdrawal.
    pub(crate) fn withdrawn(&mut self, now: Now) {
        self.withdrawals.one_more(now);
    }

    /// Notes that this identity was written; answers whether the same had been, so that somebody had undone it.
    pub(crate) fn made(&mut self, identity: Arc<Identity>, now: Now) -> Option<Repair> {
        if self.made.as_ref() == Some(&identity) {
            return Some(self.undone.get_or_insert_default().repairs.one_more(now).into());
        }
        self.made = Some(identity);
        None
    }

    /// Whether this identity was written last.
    pub(crate) fn has_made(&self, identity: &Arc<Identity>) -> bool {
        self.made.as_ref() == Some(identity)
    }

    /// Notes that what was written is not to stand any more, so that nobody undid it who takes it away.
    pub(crate) fn unmade(&mut self) {
        self.took_away = false;
        self.made = None;
    }

    /// How much longer writing this identity has to wait, because somebody has undone it again and again. Any other one
    /// waits for nothing.
    pub(crate) fn repairs_in(
        &self,
        identity: &Arc<Identity>,
        now: Now,
        longest: Duration,
    ) -> Option<Duration> {
        let left = self.undone.as_ref()?.repairs.pause_left_of(longest, now);
        left.filter(|_| self.made.as_ref() == Some(identity))
    }

    /// Notes that the output was made to select nothing, and is stored as one that still selects.
    pub(crate) fn still_selects(&mut self, now: Now) {
        self.undone.get_or_insert_default().neutrals.one_more(now);
    }

    /// How much longer making it select nothing has to wait because of that: each try can change it, and that asks for the
    /// next turn. No longer than a grant that is too wide may stand.
    pub(crate) fn neutralises_in(&self, now: Now) -> Option<Duration> {
        self.undone.as_ref()?.neutrals.pause_left_of(PATIENCE, now)
    }

    /// Notes that the output selects nothing.
    pub(crate) fn neutralised(&mut self) {
        if let Some(undone) = &mut self.undone {
            undone.neutrals = Pace::default();
        }
    }

    /// Notes that our finalizer was put back.
    pub(crate) fn held(&mut self, now: Now) -> Repair {
        self.undone.get_or_insert_default().holds.one_more(now).into()
    }

    /// How much longer putting our finalizer back has to wait, because somebody has taken it off again and again.
    pub(crate) fn holds_in(&self, now: Now) -> Option<Duration> {
        self.undone.as_ref()?.holds.pause_left(now)
    }

    /// How much longer granting again has to wait after withdrawals, so that a flapping target does not flood SPIRE.
    pub(crate) fn cools_for(&self, now: Now) -> Option<Duration> {
        self.withdrawals.pause_left(now)
    }

    /// Notes that a status was rejected; answers how long the next one waits, so that one policy which rejects those of very
    /// many bindings costs little.
    pub(crate) fn report_rejected(&mut self, now: Now) -> Option<Duration> {
        let reports = &mut self.undone.get_or_insert_default().reports;
        reports.one_more(now);
        reports.pause_left_of(LONGEST_WHEN_REJECTED, now)
    }

    /// Whether the status that was written last was rejected, or changed on its way in.
    pub(crate) fn fails_to_report(&self) -> bool {
        self.undone.as_ref().is_some_and(|undone| undone.reports.times > 0)
    }

    /// Notes that a status was written, and stands.
    pub(crate) fn reported(&mut self) {
        if let Some(undone) = &mut self.undone {
            undone.reports = Pace::default();
        }
    }

    /// Notes that the same status was written again, because somebody had put another one in its place.
    pub(crate) fn rewritten(&mut self, now: Now) {
        self.rewrites.one_more(now);
    }

    /// How much longer writing the same status again has to wait, so that two writers do not outdo each other.
    pub(crate) fn rewrites_in(&self, now: Now) -> Option<Duration> {
        self.rewrites.pause_left(now)
    }
}

/// Something that is to be done ever more rarely while it has to be done over and over. The first `AT_ONCE` times may follow
/// each other at once; without any, the second time waits.
#[derive(Debug, Default)]
struct Pace<const AT_ONCE: u32 = 1> {
    times: u32,
    last: Now,
}

impl<const AT_ONCE: u32> Pace<AT_ONCE> {
    /// Notes that it was done; answers how often in a row, when the next time has to wait.
    fn one_more(&mut self, now: Now) -> Option<u32> {
        if now.saturating_sub(self.last) >= FORGIVEN_AFTER {
            self.times = 0;
        }
        self.times = self.times.saturating_add(1);
        self.last = now;
        (self.times >= AT_ONCE).then_some(self.times)
    }

    fn pause_left(&self, now: Now) -> Option<Duration> {
        self.pause_left_of(LONGEST_DELAY, now)
    }

    fn pause_left_of(&self, longest: Duration, now: Now) -> Option<Duration> {
        let doublings = self.times.checked_sub(AT_ONCE)?.min(20);
        let pause = FIRST_DELAY.saturating_mul(1 << doublings).min(longest);
        (self.last + pause).checked_sub(now).filter(|left| !left.is_zero())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: u64) -> Now {
        Duration::from_millis(milliseconds)
    }

    #[test]
    fn a_flapping_binding_waits_twice_as_long_each_time() {
        let mut memory = Memory::default();
        assert_eq!(memory.cools_for(at(0)), None);
        memory.withdrawn(at(0));
        assert_eq!(memory.cools_for(at(50)), Some(at(200)));
        assert_eq!(memory.cools_for(at(250)), None);
        memory.withdrawn(at(1000));
        assert_eq!(memory.cools_for(at(1000)), Some(at(500)));
        memory.withdrawn(at(1000) + FORGIVEN_AFTER);
        assert_eq!(memory.cools_for(at(1000) + FORGIVEN_AFTER), Some(at(250)));
    }

    #[test]
    fn what_may_be_done_at_once_a_few_times_waits_twice_as_long_each_time_after_that() {
        let mut pace = Pace::<3>::default();
        assert_eq!((pace.one_more(at(0)), pace.one_more(at(0)), pace.pause_left(at(0))), (None, None, None));
        assert_eq!(pace.one_more(at(0)), Some(3));
        assert_eq!(pace.pause_left(at(50)), Some(at(200)));
        assert_eq!(pace.one_more(at(250)), Some(4));
        assert_eq!(pace.pause_left(at(250)), Some(at(500)));
        assert_eq!(
            pace.pause_left_of(at(100), at(250)),
            Some(at(100)),
            "and never longer than somebody else may wait"
        );
        assert_eq!(pace.one_more(at(250) + FORGIVEN_AFTER), None);
    }

    #[test]
    fn a_status_that_is_rejected_each_time_is_written_ever_more_rarely_until_one_is_taken() {
        let mut memory = Memory::default();
        let mut now = at(0);
        let mut pauses = Vec::new();
        for _ in 0..14 {
            let pause = memory.report_rejected(now).unwrap();
            pauses.push(pause.as_millis());
            now += pause;
        }
        assert_eq!(pauses[..4], [250, 500, 1000, 2000]);
        assert_eq!(pauses[11..], [240_000; 3]);
        assert!(memory.fails_to_report());
        memory.reported();
        assert!(!memory.fails_to_report());
        assert_eq!(memory.report_rejected(now), Some(at(250)));
    }

    #[test]
    fn patience_runs_from_the_first_failure_and_ends_with_success() {
        let mut memory = Memory::default();
        memory.stuck(at(0));
        memory.stuck(at(4000));
        assert!(!memory.out_of_patience(at(4999)) && memory.out_of_patience(at(5000)));
        assert_eq!(memory.patience_left(at(4000)), Some(at(1000)));
        assert_eq!(memory.patience_left(at(5000)), None);
        memory.settled();
        assert!(!memory.out_of_patience(at(60_000)));
    }
}
