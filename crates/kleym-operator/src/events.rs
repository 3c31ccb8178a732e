//! Tells people what happened, as events of `events.k8s.io/v1`: the only place that sends them.
//!
//! Flow: [`Recorder::tell`] puts an announcement into a queue and never waits; a task of its own sends one after another,
//! from each namespace in turn.
//!
//! Guarantees: an event's name follows from what it tells, so the same news is one event over restarts and replicas, whose
//! series is counted on; whatever goes wrong costs the event and nothing else; every call has a deadline, a failed one is
//! made once more, and nothing is sent while it may not be. The queue, the memory of what was sent and the spending of each
//! object are bounded.
//!
//! Caveats: events get lost, by design; what must be known stands in the status. A series that an earlier process began is
//! counted on from two.

mod backlog;
mod budget;
mod wire;

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::events::v1::Event;
use kleym_core::announce::{Announcement, Occasion};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::lease::{Leadership, before};
use crate::metrics::{EventResult, Metrics};
use crate::recent::Recent;
use backlog::{Entrance, Exit, Queued, backlog};
use budget::Budget;
use wire::{Failure, Reporter, classify};

/// How many events are remembered by name.
const REMEMBERED: usize = 4096;
/// The longest a call may take. Shorter than that of a step: nobody waits for an event.
const CALL_DEADLINE: Duration = Duration::from_secs(5);
/// The pause before a call that failed is made once more.
const PAUSE: Duration = Duration::from_millis(250);
/// What waited longer than this is no news any more.
const STALE: Duration = Duration::from_secs(60);
/// How long what is queued may still be sent when the process stops.
const STOP_DEADLINE: Duration = Duration::from_secs(2);

/// Takes announcements. Clones share one queue.
#[derive(Debug, Clone)]
pub struct Recorder {
    queue: Entrance,
    metrics: Metrics,
}

impl Recorder {
    /// Starts the task that sends, while this replica leads. `instance` names this process (a pod's name, say). The task
    /// ends when it is told to stop and every recorder is dropped, or soon after.
    pub fn start(
        client: Client,
        instance: &str,
        leadership: watch::Receiver<Leadership>,
        metrics: Metrics,
        tasks: &mut JoinSet<anyhow::Result<()>>,
        stop: CancellationToken,
    ) -> Self {
        let (queue, exit) = backlog();
        let sender = Sender {
            client,
            reporter: Reporter::new(instance),
            leadership,
            metrics: metrics.clone(),
            sent: Recent::new(REMEMBERED),
            budget: Budget::new(),
            broken: false,
        };
        tasks.spawn(sender.run(exit, stop));
        Self { queue, metrics }
    }

    /// Tells it, some time, if nothing goes wrong. Never waits. Answers whether there was room; where there is none, the
    /// oldest announcement of the namespace with the most of them is lost.
    pub fn tell(&self, announcement: Announcement) -> bool {
        self.metrics.announced(&announcement);
        let queued = Queued { announcement, happened: Timestamp::now(), since: Instant::now() };
        let room = self.queue.put(queued);
        if !room {
            self.metrics.event(EventResult::Dropped);
        }
        room
    }
}

/// The task that sends.
struct Sender {
    client: Client,
    reporter: Reporter,
    leadership: watch::Receiver<Leadership>,
    metrics: Metrics,
    /// How often each event was told, by namespace and name.
    sent: Recent<(String, String), i32>,
    budget: Budget,
    /// Whether the last event could not be sent; said once.
    broken: bool,
}

impl Sender {
    async fn run(mut self, mut queue: Exit, stop: CancellationToken) -> anyhow::Result<()> {
        let sending = async {
            while let Some(queued) = queue.next().await {
                let result = self.deliver(queued).await;
                self.metrics.event(result);
            }
        };
        let too_late = async {
            stop.cancelled().await;
            sleep(STOP_DEADLINE).await;
        };
        tokio::select! {
            () = sending => {}
            () = too_late => {}
        }
        stop.cancelled().await;
        Ok(())
    }

    async fn deliver(&mut self, queued: Queued) -> EventResult {
        let Queued { announcement, happened, since } = queued;
        let now = Instant::now();
        if now - since > STALE || self.until(now).is_none() {
            return EventResult::Dropped;
        }
        if !self.budget.spend(&announcement.regarding, now.into_std()) {
            tracing::debug!(reason = announcement.occasion.as_str(), "too many events about one object");
            return EventResult::Dropped;
        }
        let event = self.reporter.event(&announcement, happened);
        match self.send(&event, announcement.occasion, happened).await {
            Ok(result) => {
                self.broken = false;
                result
            }
            Err(Failure::Ending | Failure::Unwanted) => EventResult::Dropped,
            Err(failure) => {
                let reason = announcement.occasion.as_str();
                if std::mem::replace(&mut self.broken, true) {
                    tracing::debug!(reason, ?failure, "an event could not be sent");
                } else {
                    tracing::warn!(
                        reason,
                        ?failure,
                        "an event could not be sent; further ones are not mentioned"
                    );
                }
                EventResult::Failed
            }
        }
    }

    /// Until when a call may go on that begins now; none when this replica does not lead.
    fn until(&self, now: Instant) -> Option<Instant> {
        let leads_until = self.leadership.borrow().deadline(now)?;
        Some(leads_until.min(now + CALL_DEADLINE))
    }

    /// Creates the event or, where it is there, counts on its series: one call, and one more where the first one showed
    /// that it was the wrong one, or failed in passing.
    async fn send(
        &mut self,
        event: &Event,
        occasion: Occasion,
        happened: Timestamp,
    ) -> Result<EventResult, Failure> {
        let namespace = event.metadata.namespace.clone().unwrap_or_default();
        let key = (namespace, event.metadata.name.clone().unwrap_or_default());
        let events = Api::<Event>::namespaced(self.client.clone(), &key.0);
        let mut retried = false;
        loop {
            let now = Instant::now();
            let until = self.until(now).ok_or(Failure::Unwanted)?;
            let told = self.sent.get(&key).copied();
            let call = async {
                match told {
                    None => events.create(&PostParams::default(), event).await,
                    Some(times) => {
                        let patch = Patch::Merge(wire::series(times.saturating_add(1), happened));
                        events.patch(&key.1, &PatchParams::default(), &patch).await
                    }
                }
            };
            let failure = match before(until, call).await {
                Some(Ok(_)) => {
                    self.sent.insert(key, told.map_or(1, |times| times.saturating_add(1)));
                    return Ok(if told.is_some() { EventResult::Repeated } else { EventResult::Created });
                }
                Some(Err(error)) => classify(&error),
                None => Failure::Passing,
            };
            match (failure, told) {
                // The first try was done after all.
                (Failure::Exists, None) if retried => {
                    self.sent.insert(key, 1);
                    return Ok(EventResult::Created);
                }
                _ if retried => return Err(failure),
                // It lasts, and an earlier process told it.
                (Failure::Exists, None) if occasion.lasts() => {
                    self.sent.insert(key, 1);
                    return Ok(EventResult::Repeated);
                }
                (Failure::Exists, None) => self.sent.insert(key.clone(), 1),
                (Failure::Absent, Some(_)) => self.sent.remove(&key),
                (Failure::Passing, _) => sleep(PAUSE).await,
                _ => return Err(failure),
            }
            retried = true;
        }
    }
}

#[cfg(test)]
mod tests;
