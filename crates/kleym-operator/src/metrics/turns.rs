//! Turns of bindings: how long they wait, how long they take, how they end, and how many bindings stand how. What is kept
//! is bounded by the number of bindings.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kleym_core::fact::Mode;
use kleym_core::name::BindingKey;
use kleym_core::plan::Standing;
use kleym_core::queue::Now;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use tokio::time::Instant;

use super::names;
use super::outcome::Outcome;
use super::table::{Count, Level, Reading, Table, Value};

/// The controller's name, and its queue's.
pub(super) const CONTROLLER: &str = "inferenceidentitybinding";

const SETTLE_BUCKETS: [f64; 14] =
    [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0];
const TURN_BUCKETS: [f64; 12] = [0.0001, 0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 60.0];

/// How a turn ended.
#[derive(Debug, Clone, Copy)]
pub struct TurnEnd<'a> {
    /// How the binding stands.
    pub standing: &'a Standing,
    /// Its mode, where its spec can be read.
    pub mode: Option<Mode>,
    /// Whether the turn is tried again after a back-off.
    pub tried_again: bool,
}

/// What is kept of one binding.
#[derive(Debug, Default)]
struct Binding {
    outcome: Option<Outcome>,
    /// When the first change came that it has not settled since.
    changed: Option<Now>,
    /// When a turn was asked for.
    ready: Option<Now>,
}

#[derive(Debug, Default)]
struct State {
    bindings: HashMap<BindingKey, Binding>,
    /// How many are ready, those with a turn under way aside.
    depth: usize,
    /// When the turns under way began.
    working: HashMap<BindingKey, Now>,
}

impl State {
    /// How many seconds each turn under way has taken so far.
    fn so_far(&self, now: Now) -> impl Iterator<Item = f64> {
        self.working.values().map(move |began| now.saturating_sub(*began).as_secs_f64())
    }

    /// Forgets a binding of which there is nothing left to know.
    fn prune(&mut self, key: &BindingKey) {
        let empty =
            |known: &Binding| known.outcome.is_none() && known.changed.is_none() && known.ready.is_none();
        if self.bindings.get(key).is_some_and(empty) {
            self.bindings.remove(key);
        }
    }
}

/// The metrics of turns.
#[derive(Debug)]
pub(super) struct Turns {
    state: Arc<Mutex<State>>,
    outcomes: Table<3, Count>,
    bindings: Table<3, Level>,
    settle: Histogram,
    results: Table<2, Count>,
    errors: Table<1, Count>,
    turn_seconds: Histogram,
    adds: Table<1, Count>,
    queue_seconds: Histogram,
    work_seconds: Histogram,
    retries: Table<1, Count>,
}

const NAME: [Value; 1] = [Value::Borrowed(CONTROLLER)];

impl Turns {
    /// Registers the metrics; times are told as they pass since `origin`.
    pub(super) fn register(registry: &mut Registry, at_once: usize, origin: Instant) -> Self {
        let state: Arc<Mutex<State>> = Arc::default();
        let read = |what: fn(&State, Now) -> f64| {
            let state = Arc::clone(&state);
            move || Some(what(&lock(&state), origin.elapsed()))
        };
        let none = || [([CONTROLLER], Count(0))];
        let outcomes = Table::register(&names::OUTCOMES, registry);
        let bindings = Table::register(&names::BINDINGS, registry);
        let settle = Histogram::new(SETTLE_BUCKETS);
        registry.register(names::SETTLE_SECONDS.base(), names::SETTLE_SECONDS.help, settle.clone());
        let results = Table::register(&names::RECONCILES, registry);
        let results = results
            .with_rows(["success", "error", "requeue_after"].map(|result| ([CONTROLLER, result], Count(0))));
        let errors = Table::register(&names::RECONCILE_ERRORS, registry).with_rows(none());
        let seconds = |family, registry: &mut Registry| {
            let histogram = Histogram::new(TURN_BUCKETS);
            Table::<1, Histogram>::register(family, registry).set(NAME, histogram.clone());
            histogram
        };
        let turn_seconds = seconds(&names::RECONCILE_SECONDS, registry);
        let limit = i64::try_from(at_once).unwrap_or(i64::MAX);
        Table::register(&names::MAX_CONCURRENT, registry).set(NAME, Level(limit));
        Reading::register(
            &names::ACTIVE_WORKERS,
            registry,
            NAME,
            read(|state, _| number(state.working.len())),
        );
        Reading::register(&names::QUEUE_DEPTH, registry, NAME, read(|state, _| number(state.depth)));
        let adds = Table::register(&names::QUEUE_ADDS, registry).with_rows(none());
        let queue_seconds = seconds(&names::QUEUE_SECONDS, registry);
        let work_seconds = seconds(&names::WORK_SECONDS, registry);
        Reading::register(
            &names::UNFINISHED_SECONDS,
            registry,
            NAME,
            read(|state, now| state.so_far(now).fold(0.0, |sum, one| sum + one)),
        );
        Reading::register(
            &names::LONGEST_SECONDS,
            registry,
            NAME,
            read(|state, now| state.so_far(now).fold(0.0, f64::max)),
        );
        let retries = Table::register(&names::QUEUE_RETRIES, registry).with_rows(none());
        Self {
            state,
            outcomes,
            bindings,
            settle,
            results,
            errors,
            turn_seconds,
            adds,
            queue_seconds,
            work_seconds,
            retries,
        }
    }

    /// A change may affect a binding: a turn is asked for.
    pub(super) fn changed(&self, key: &BindingKey, now: Now) {
        let mut state = lock(&self.state);
        let working = state.working.contains_key(key);
        let known = state.bindings.entry(key.clone()).or_default();
        known.changed.get_or_insert(now);
        if known.ready.is_none() {
            known.ready = Some(now);
            state.depth += usize::from(!working);
            drop(state);
            self.adds.count(NAME);
        }
    }

    /// A turn begins; one that nothing asked for since the last was due after a delay.
    pub(super) fn begins(&self, key: &BindingKey, now: Now) {
        let mut state = lock(&self.state);
        let ready = state.bindings.entry(key.clone()).or_default().ready.take();
        state.depth = state.depth.saturating_sub(usize::from(ready.is_some()));
        state.working.insert(key.clone(), now);
        drop(state);
        if ready.is_none() {
            self.adds.count(NAME);
        }
        let waited = ready.map_or(Now::ZERO, |since| now.saturating_sub(since));
        self.queue_seconds.observe(waited.as_secs_f64());
    }

    /// A turn ended.
    pub(super) fn ends(&self, key: &BindingKey, now: Now, end: &TurnEnd<'_>) {
        let outcome = Outcome::of(end.standing, end.mode);
        let waits = matches!(end.standing, Standing::Waiting(_) | Standing::Undecided(_));
        let mut state = lock(&self.state);
        let began = state.working.remove(key).unwrap_or(now);
        let known = state.bindings.entry(key.clone()).or_default();
        // A change that came during the turn is what the next one settles.
        let next = known.ready;
        let settled = if waits || end.tried_again { None } else { known.changed.take() };
        if settled.is_some() {
            known.changed = next;
        }
        let before = std::mem::replace(&mut known.outcome, outcome);
        state.depth += usize::from(next.is_some());
        state.prune(key);
        // Under the lock, so that the gauge follows the outcomes in their order.
        self.move_gauge(before, outcome);
        drop(state);

        if let Some(since) = settled {
            self.settle.observe(now.saturating_sub(since).as_secs_f64());
        }
        if let Some(outcome) = outcome {
            self.outcomes.count(outcome.labels());
        }
        let took = now.saturating_sub(began).as_secs_f64();
        self.turn_seconds.observe(took);
        self.work_seconds.observe(took);
        let result = if end.tried_again {
            self.errors.count(NAME);
            self.retries.count(NAME);
            "error"
        } else if waits {
            "requeue_after"
        } else {
            "success"
        };
        self.results.count([CONTROLLER, result].map(Value::Borrowed));
    }

    fn move_gauge(&self, before: Option<Outcome>, after: Option<Outcome>) {
        if before == after {
            return;
        }
        if let Some(before) = before {
            self.bindings.shift(before.labels(), -1);
        }
        if let Some(after) = after {
            self.bindings.shift(after.labels(), 1);
        }
    }

    #[cfg(test)]
    pub(super) fn remembered(&self) -> usize {
        let state = lock(&self.state);
        state.bindings.len() + state.working.len()
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    // Every change to the state is made in one go, so a panic elsewhere does not spoil it.
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

#[expect(clippy::cast_precision_loss, reason = "there are no 2^52 bindings")]
fn number(count: usize) -> f64 {
    count as f64
}
