//! The metrics of the operator: what is counted, and the page it is read from.
//!
//! Guarantees: label values come from closed vocabularies, the API server's address and the lease's name; what is kept for
//! each binding is bounded by the number of bindings; counting never waits for anything but other counting.
//!
//! Nothing in here decides or calls anything, and no decision depends on it.

mod calls;
pub mod names;
mod outcome;
mod process;
mod review;
mod serve;
mod table;
mod tls;
mod turns;

use std::sync::Arc;

use kleym_core::announce::{Announcement, Counts, Occasion, SpireStatus, Weight};
use kleym_core::name::BindingKey;
use kleym_core::queue::Now;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use tokio::time::Instant;

use table::{Count, Level, Table, Value};
use turns::Turns;

pub use calls::{CountCalls, Counted};
pub use serve::{Secure, listen, serve};
pub use tls::Certificate;
pub use turns::TurnEnd;

/// The content type of [`Metrics::text`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The build's revision, when whoever built it said so.
const REVISION: &str = match option_env!("KLEYM_BUILD_REVISION") {
    Some(revision) => revision,
    None => "unknown",
};

/// What became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventResult {
    /// It was created.
    Created,
    /// It was there, and its series was counted on.
    Repeated,
    /// It was not sent: too many, too old, or a namespace that is going.
    Dropped,
    /// It could not be sent.
    Failed,
}

impl EventResult {
    /// All of them.
    pub const ALL: [EventResult; 4] =
        [EventResult::Created, EventResult::Repeated, EventResult::Dropped, EventResult::Failed];

    /// As a label value.
    pub const fn as_str(self) -> &'static str {
        match self {
            EventResult::Created => "created",
            EventResult::Repeated => "repeated",
            EventResult::Dropped => "dropped",
            EventResult::Failed => "failed",
        }
    }
}

/// The metrics. Clones count together.
#[derive(Debug, Clone)]
pub struct Metrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    registry: Registry,
    turns: Turns,
    outputs: Table<1, Level>,
    withdrawn: Table<0, Count>,
    orphans: Table<0, Count>,
    foreign: Table<0, Count>,
    events: Table<1, Count>,
    calls: Table<3, Count>,
    leader: Table<1, Level>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new(1, Instant::now())
    }
}

impl Metrics {
    /// Metrics with nothing counted yet. `at_once` is how many turns may be under way at once; times are told as they pass
    /// since `origin`.
    pub fn new(at_once: usize, origin: Instant) -> Self {
        let mut registry = Registry::default();
        let of = &mut registry;
        let turns = Turns::register(of, at_once, origin);
        let outputs = Table::register(&names::CLUSTER_SPIFFE_IDS, of)
            .with_rows(SpireStatus::ALL.map(|status| ([status.as_str()], Level(0))));
        let withdrawn = Table::register(&names::WITHDRAWN, of).with_rows([([], Count(0))]);
        let orphans = Table::register(&names::ORPHANS, of).with_rows([([], Count(0))]);
        let foreign = Table::register(&names::FOREIGN, of).with_rows([([], Count(0))]);
        let events = Table::register(&names::EVENTS, of)
            .with_rows(EventResult::ALL.map(|result| ([result.as_str()], Count(0))));
        let build = [env!("CARGO_PKG_VERSION"), REVISION].map(Value::Borrowed);
        Table::register(&names::BUILD_INFO, of).set(build, Level(1));
        let calls = calls::register(of);
        let leader = Table::register(&names::LEADER, of);
        process::register(of);
        Self(Arc::new(Inner { registry, turns, outputs, withdrawn, orphans, foreign, events, calls, leader }))
    }

    /// Notes that a change may affect a binding, so that it needs a turn.
    pub fn changed(&self, key: &BindingKey, now: Now) {
        self.0.turns.changed(key, now);
    }

    /// Notes that a binding's turn begins.
    pub fn turn_begins(&self, key: &BindingKey, now: Now) {
        self.0.turns.begins(key, now);
    }

    /// Notes how a binding's turn ended. A binding that is leaving is counted no longer.
    pub fn turn_ends(&self, key: &BindingKey, now: Now, end: &TurnEnd<'_>) {
        self.0.turns.ends(key, now, end);
    }

    /// Notes what spire-controller-manager says of the outputs.
    pub fn outputs(&self, counts: Counts) {
        for status in SpireStatus::ALL {
            let count = i64::try_from(counts.of(status)).unwrap_or(i64::MAX);
            self.0.outputs.set([Value::Borrowed(status.as_str())], Level(count));
        }
    }

    /// Notes what is announced: withdrawals, orphans and foreign objects are counted by their announcements. An identity
    /// that is withdrawn because its binding is being deleted is as it should be.
    pub fn announced(&self, announcement: &Announcement) {
        match announcement.occasion {
            Occasion::IdentityWithdrawn => {
                if announcement.weight == Weight::Warning {
                    self.0.withdrawn.count([]);
                }
            }
            Occasion::OrphanRemoved => self.0.orphans.count([]),
            Occasion::ForeignObjectMet => self.0.foreign.count([]),
            Occasion::IdentityGranted
            | Occasion::IdentityChanged
            | Occasion::IdentityRefused
            | Occasion::IdentityContested
            | Occasion::ConflictEnded
            | Occasion::NotPickedUp
            | Occasion::NotIssued => {}
        }
    }

    /// Notes what became of an event.
    pub fn event(&self, result: EventResult) {
        self.0.events.count([Value::Borrowed(result.as_str())]);
    }

    /// Notes whether this replica holds the lease of that name.
    pub fn leads(&self, lease: &str, leading: bool) {
        self.0.leader.set([Value::Owned(lease.to_owned())], Level(i64::from(leading)));
    }

    /// A layer of the API client that counts its calls; `host` is where the API server is.
    pub fn count_calls(&self, host: &str) -> CountCalls {
        CountCalls::new(self.0.calls.clone(), host)
    }

    /// Everything as OpenMetrics text, which scrapers of the Prometheus text format read too.
    pub fn text(&self) -> String {
        let mut text = String::with_capacity(16 * 1024);
        match encode(&mut text, &self.0.registry) {
            Ok(()) => text,
            // Writing into a string does not fail; half a page must not be taken for a whole one.
            Err(_) => "# EOF\n".to_owned(),
        }
    }
}

/// The samples of a family, as they are exposed.
#[cfg(test)]
pub(crate) fn samples(metrics: &Metrics, family: &str) -> Vec<String> {
    let of = |line: &&str| line.starts_with(family) && !line.starts_with('#');
    metrics.text().lines().filter(of).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests;
