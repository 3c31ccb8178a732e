//! Which binding's turn it is: a keyed queue with de-duplication and exponential back-off, over a `now` that is
//! passed in. It reads no clock; jitter comes from the key, so that a run can be repeated.
//!
//! Guarantees: a key has at most one turn at a time; a key that is added during its turn gets another one; the keys of a
//! lane (a namespace) have their turns in the order in which they became ready, and lanes take turns, so that neither a
//! busy key nor a crowded namespace can starve the others.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::lanes::Lanes;
use crate::name::{BindingKey, Namespace};

/// A point in time as the driver counts it: since its start.
pub type Now = Duration;

/// The first delay after a failure.
pub const FIRST_DELAY: Duration = Duration::from_millis(250);
/// The longest delay after failures.
pub const LONGEST_DELAY: Duration = Duration::from_secs(60);
/// The longest delay after failures while few keys fail: they go on soon after the cause is gone.
pub const LONGEST_DELAY_OF_FEW: Duration = Duration::from_secs(10);
/// How many failing keys are tried a second, so that many do not overwhelm what may be failing because of too much work.
const TRIED_A_SECOND: u64 = 100;

/// What waits in a lane.
pub trait InLane {
    /// The lane.
    type Lane: Clone + Ord;

    /// Its lane.
    fn lane(&self) -> Self::Lane;
}

impl InLane for BindingKey {
    type Lane = Namespace;

    fn lane(&self) -> Namespace {
        self.namespace.clone()
    }
}

/// The queue.
#[derive(Debug)]
pub struct Queue<K: InLane> {
    ready: Lanes<K::Lane, K>,
    waiting: BTreeSet<K>,
    in_turn: BTreeSet<K>,
    again: BTreeSet<K>,
    later: BTreeMap<(Now, K), ()>,
    due: BTreeMap<K, Now>,
    failures: BTreeMap<K, u32>,
}

impl<K: InLane> Default for Queue<K> {
    fn default() -> Self {
        Self {
            ready: Lanes::default(),
            waiting: BTreeSet::new(),
            in_turn: BTreeSet::new(),
            again: BTreeSet::new(),
            later: BTreeMap::new(),
            due: BTreeMap::new(),
            failures: BTreeMap::new(),
        }
    }
}

impl<K: Clone + Ord + InLane> Queue<K> {
    /// An empty queue.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks for a turn now. A pending back-off is left as it is: it ends by itself.
    pub fn add(&mut self, key: K) {
        if self.in_turn.contains(&key) {
            self.again.insert(key);
        } else if self.waiting.insert(key.clone()) {
            self.ready.push(key.lane(), key);
        }
    }

    /// Asks for a turn after a delay; an earlier one that was asked for stays.
    pub fn add_after(&mut self, key: K, now: Now, delay: Duration) {
        let at = now + delay;
        match self.due.get(&key) {
            Some(due) if *due <= at => {}
            earlier => {
                if let Some(due) = earlier {
                    self.later.remove(&(*due, key.clone()));
                }
                self.later.insert((at, key.clone()), ());
                self.due.insert(key, at);
            }
        }
    }

    /// Begins the next turn, if one is ready.
    pub fn pop(&mut self, now: Now) -> Option<K> {
        while let Some(((at, _), ())) = self.later.first_key_value() {
            if *at > now {
                break;
            }
            if let Some(((_, key), ())) = self.later.pop_first() {
                self.due.remove(&key);
                self.add(key);
            }
        }
        let key = self.ready.pop()?;
        self.waiting.remove(&key);
        self.in_turn.insert(key.clone());
        Some(key)
    }

    /// Ends a turn. What was asked for meanwhile becomes ready.
    pub fn done(&mut self, key: &K) {
        self.in_turn.remove(key);
        if let Some(key) = self.again.take(key) {
            self.add(key);
        }
    }

    /// Notes a failure and asks for a turn after the key's back-off; answers the delay. `seed` spreads the delays of
    /// different keys: its hash with the attempt's number decides between half and all of the longest delay.
    pub fn back_off(&mut self, key: &K, seed: &[u8], now: Now) -> Duration {
        let failures = self.failures.entry(key.clone()).or_insert(0);
        *failures = failures.saturating_add(1);
        let failures = *failures;
        let doublings = failures.saturating_sub(1).min(20);
        let longest = FIRST_DELAY.saturating_mul(1 << doublings);
        let failing = u64::try_from(self.failures.len()).unwrap_or(u64::MAX);
        let limit = Duration::from_secs(failing / TRIED_A_SECOND).clamp(LONGEST_DELAY_OF_FEW, LONGEST_DELAY);
        let longest = longest.min(limit);
        let mut digest = Sha256::new();
        digest.update(seed);
        digest.update(failures.to_be_bytes());
        let jitter = u32::from(digest.finalize()[0]);
        let delay = longest / 2 + longest / 2 * jitter / 255;
        self.add_after(key.clone(), now, delay);
        delay
    }

    /// How often in a row a key's turns have failed.
    pub fn failures(&self, key: &K) -> u32 {
        self.failures.get(key).copied().unwrap_or(0)
    }

    /// Forgets a key's failures.
    pub fn succeeded(&mut self, key: &K) {
        self.failures.remove(key);
    }

    /// When the next delayed turn is due.
    pub fn next_due(&self) -> Option<Now> {
        self.later.first_key_value().map(|((at, _), ())| *at)
    }

    /// Whether a turn is ready.
    pub fn is_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// How many turns are ready.
    pub fn depth(&self) -> usize {
        self.ready.len()
    }

    /// Whether nothing is ready, under way or delayed.
    pub fn is_idle(&self) -> bool {
        self.ready.is_empty() && self.in_turn.is_empty() && self.later.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Now = Duration::ZERO;

    impl InLane for &'static str {
        type Lane = &'static str;

        /// What stands before the slash; nothing for a bare key.
        fn lane(&self) -> &'static str {
            self.split_once('/').map_or("", |(lane, _)| lane)
        }
    }

    impl InLane for u32 {
        type Lane = ();

        fn lane(&self) {}
    }

    fn queue(keys: &[&'static str]) -> Queue<&'static str> {
        let mut queue = Queue::new();
        keys.iter().for_each(|key| queue.add(*key));
        queue
    }

    #[test]
    fn a_key_added_twice_has_one_turn() {
        let mut queue = queue(&["a", "b", "a"]);
        assert_eq!((queue.pop(NOW), queue.pop(NOW), queue.pop(NOW)), (Some("a"), Some("b"), None));
    }

    #[test]
    fn a_key_added_during_its_turn_has_another_after_it() {
        let mut queue = queue(&["a"]);
        queue.pop(NOW);
        queue.add("a");
        assert_eq!(queue.pop(NOW), None);
        queue.done(&"a");
        assert_eq!(queue.pop(NOW), Some("a"));
    }

    #[test]
    fn a_busy_key_goes_to_the_end() {
        let mut queue = queue(&["hot", "b", "c"]);
        let mut turns = Vec::new();
        for _ in 0..4 {
            let key = queue.pop(NOW).unwrap();
            queue.add("hot");
            queue.done(&key);
            turns.push(key);
        }
        assert_eq!(turns, ["hot", "b", "c", "hot"]);
    }

    #[test]
    fn a_key_of_a_quiet_lane_waits_for_one_of_a_crowded_lane_and_not_for_all() {
        let mut queue = queue(&["mob/1", "mob/2", "mob/3", "mob/4"]);
        queue.pop(NOW);
        queue.add("quiet/1");
        let turns: Vec<_> = std::iter::from_fn(|| queue.pop(NOW)).collect();
        assert_eq!(turns, ["mob/2", "quiet/1", "mob/3", "mob/4"]);
    }

    #[test]
    fn back_off_doubles_up_to_a_limit_and_is_forgotten_on_success() {
        let mut queue = queue(&[]);
        let delays: Vec<Duration> = (0..12).map(|_| queue.back_off(&"a", b"a", NOW)).collect();
        assert!(delays[0] <= FIRST_DELAY && delays[0] >= FIRST_DELAY / 2);
        assert!(delays[4] >= FIRST_DELAY * 8 && delays[4] <= FIRST_DELAY * 16);
        assert!(delays[11] >= LONGEST_DELAY_OF_FEW / 2 && delays[11] <= LONGEST_DELAY_OF_FEW);
        queue.succeeded(&"a");
        assert!(queue.back_off(&"a", b"a", NOW) <= FIRST_DELAY);
    }

    #[test]
    fn where_many_fail_each_waits_longer_than_where_few_do() {
        let mut queue = Queue::new();
        let longest = |queue: &mut Queue<u32>, keys: u32| {
            let delays = (0..keys).flat_map(|key| (0..12).map(move |_| key));
            delays.map(|key| queue.back_off(&key, &key.to_be_bytes(), NOW)).max().unwrap()
        };
        assert!(longest(&mut queue, 1_000) <= LONGEST_DELAY_OF_FEW);
        let many = longest(&mut queue, 10_000);
        assert!(many > LONGEST_DELAY / 2 && many <= LONGEST_DELAY, "{many:?}");
    }

    #[test]
    fn a_delayed_key_is_ready_when_it_is_due_and_not_before() {
        let mut queue = queue(&[]);
        queue.add_after("a", NOW, Duration::from_secs(2));
        queue.add_after("a", NOW, Duration::from_secs(1));
        queue.add_after("a", NOW, Duration::from_secs(3));
        assert_eq!(queue.next_due(), Some(Duration::from_secs(1)));
        assert_eq!(queue.pop(Duration::from_millis(999)), None);
        assert_eq!(queue.pop(Duration::from_secs(1)), Some("a"));
        queue.done(&"a");
        assert!(queue.is_idle());
    }
}
