//! Leader election: makes the calls that [`kleym_core::lease`] asks for, and tells everybody else until when this
//! replica leads.
//!
//! # Flow
//! [`Elector::run`] stands by, leads, and ends: with an error when leadership was lost (the process then ends too and
//! starts again as a candidate), without one when it was told to stop and has given the lease back.
//!
//! # Guarantees
//! At most one replica leads, whatever the network, the API server and other people do to the lease; how and under
//! which assumptions is said at the state machine. Leadership is a value with a deadline on the monotonic clock: it
//! ends by itself when this task is stopped, killed or starved, and needs nobody to take it back. Every write carries
//! uid and resourceVersion and is sent once; every call has a deadline. A leader at rest makes one call a period, a
//! standby none: it watches. Labels and annotations that others put on the lease stay.
//!
//! # For those who write
//! Ask [`Leadership::deadline`] right before a write is sent, and give the write up at that deadline ([`before`]).
//! Tell the elector to stop only when every write has ended: it then lets the next replica lead at once.

mod wire;

use std::future::poll_fn;
use std::hash::{BuildHasher, RandomState};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use anyhow::{Context, bail};
use futures::stream::{BoxStream, StreamExt};
use k8s_openapi::api::coordination::v1::Lease;
use kleym_core::lease::{Answer, Now, Sight, Stamp, State, Step, Timing, name};
use kleym_core::name::{Instance, Namespace, ObjectName};
use kube::api::{PostParams, WatchEvent, WatchParams};
use kube::{Api, Client};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::client::describe;
use wire::Readable;

/// What an elector says of its replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Leadership {
    /// Leader election is off: this replica may always write. No elector says so.
    Unelected,
    /// This replica does not lead yet.
    Standby {
        /// Why it cannot take part at the moment, if it cannot.
        trouble: Option<String>,
    },
    /// This replica leads, and stops leading then unless something newer is said before.
    Leading {
        /// The deadline of every write.
        until: Instant,
    },
    /// This replica leads no more.
    Over,
}

impl Leadership {
    /// Until when this replica may write; none when it may not. A paused process may ask too late: what counts is
    /// the deadline, not that it was given one.
    pub fn deadline(&self, now: Instant) -> Option<Instant> {
        match self {
            Leadership::Unelected => Some(now + Duration::from_secs(3600)),
            Leadership::Leading { until } if now < *until => Some(*until),
            Leadership::Leading { .. } | Leadership::Standby { .. } | Leadership::Over => None,
        }
    }
}

/// Makes a call that must not begin or go on after a deadline; none when it was not answered before.
pub async fn before<T>(deadline: Instant, call: impl Future<Output = T>) -> Option<T> {
    let (mut call, mut timer) = (pin!(call), pin!(sleep_until(deadline)));
    poll_fn(|context| {
        // The library's time-out looks at the call first: it would let one begin, or go on in a process that stood still,
        // that is too late already.
        if Instant::now() >= deadline {
            return Poll::Ready(None);
        }
        match call.as_mut().poll(context) {
            Poll::Ready(answer) => Poll::Ready(Some(answer)),
            Poll::Pending => timer.as_mut().poll(context).map(|()| None),
        }
    })
    .await
}

/// The namespace of the Lease: the pod's in a cluster, else that of the kubeconfig's context, else `default`.
///
/// # Errors
/// When that is no namespace.
pub fn namespace(client: &Client) -> anyhow::Result<Namespace> {
    // The client knows all three cases.
    let namespace = client.default_namespace();
    Namespace::parse(namespace)
        .map_err(anyhow::Error::msg)
        .with_context(|| format!("the namespace `{namespace}` for the leader election's lease"))
}

/// A holder identity that nobody else has: the host's name (a pod's is the pod's name), for people, and 128 bits,
/// for uniqueness. They are hashes of process id and time under keys that the standard library draws from the
/// operating system's random source, so two processes have the same with a probability of about 2^-64 even when
/// started at the same moment with the same process id, as containers are.
pub fn identity() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = match host.trim() {
        "" => "kleym-operator",
        host => host,
    };
    let seed = (std::process::id(), std::time::SystemTime::now());
    let [high, low] = [(); 2].map(|()| RandomState::new().hash_one(seed));
    format!("{host}_{high:016x}{low:016x}")
}

/// A candidate for leadership.
pub struct Elector {
    leases: Api<Readable>,
    namespace: Namespace,
    name: ObjectName,
    timing: Timing,
    state: State,
    /// Where the state machine's clock begins.
    origin: Instant,
    /// The lease as last seen, for what others put on it.
    seen: Option<Lease>,
    trouble: Option<String>,
    /// What stood there when a write last failed: as long as that stands, a look that succeeds says nothing of writing.
    unwritten: Option<Option<String>>,
    /// What the log last said: whom the lease names, and whether this replica leads.
    logged: (Option<String>, bool),
    /// Whether the log last said that the lease cannot be watched.
    unwatched: bool,
}

type Events = BoxStream<'static, kube::Result<WatchEvent<Readable>>>;

/// An open watch, and since when.
type Watch = Option<(Events, Instant)>;

impl Elector {
    /// A candidate for an instance's lease of 15 seconds. The client must not retry by itself.
    pub fn new(client: Client, namespace: Namespace, instance: &Instance, identity: &str) -> Self {
        Self {
            leases: Api::namespaced(client, namespace.as_str()),
            namespace,
            name: name(instance),
            timing: Timing::DEFAULT,
            state: State::new(Timing::DEFAULT, identity),
            origin: Instant::now(),
            seen: None,
            trouble: None,
            unwritten: None,
            logged: (None, false),
            unwatched: false,
        }
    }

    /// The same candidate for a lease of another duration. All candidates should use the same one.
    #[must_use]
    pub fn with_timing(mut self, timing: Timing) -> Self {
        self.timing = timing;
        self.state = State::new(timing, self.state.identity());
        self
    }

    /// Takes part until it is told to stop. `leadership` says at any time whether this replica leads.
    ///
    /// # Errors
    /// When this replica led and lost the lease.
    pub async fn run(
        mut self,
        leadership: watch::Sender<Leadership>,
        stop: CancellationToken,
    ) -> anyhow::Result<()> {
        tracing::info!(
            lease = format!("{}/{}", self.namespace, self.name),
            identity = self.state.identity(),
            "standing for leader election"
        );
        let ended = self.elect(&leadership, &stop).await;
        leadership.send_replace(Leadership::Over);
        ended
    }

    async fn elect(
        &mut self,
        leadership: &watch::Sender<Leadership>,
        stop: &CancellationToken,
    ) -> anyhow::Result<()> {
        let mut watch = None;
        let mut stopping: Option<Instant> = None;
        loop {
            if stopping.is_none() && stop.is_cancelled() {
                self.state.release();
                stopping = Some(Instant::now() + self.timing.call);
            }
            if stopping.is_some_and(|end| Instant::now() >= end) {
                tracing::warn!("the lease could not be given back; it has to expire");
                return Ok(());
            }
            let now = self.now();
            let step = self.state.next(now, Stamp(jiff::Timestamp::now().as_microsecond()));
            self.tell(leadership);
            match step {
                Step::Wait { until } => {
                    let until = self.origin + until;
                    let until = stopping.map_or(until, |end| end.min(until));
                    let shown = tokio::select! {
                        biased;
                        () = stop.cancelled(), if stopping.is_none() => continue,
                        () = sleep_until(until) => continue,
                        shown = self.watch(&mut watch) => shown,
                    };
                    if shown.is_none() {
                        watch = None;
                    }
                    self.take(shown);
                }
                Step::Lost(loss) => {
                    bail!("leadership is lost, of the lease `{}/{}`: {loss}", self.namespace, self.name)
                }
                Step::Over => return Ok(()),
                call @ (Step::Look | Step::Create(_) | Step::Replace { .. }) => {
                    // What comes of the call is where the next watch begins.
                    watch = None;
                    let deadline = self.origin + self.state.call_deadline(now);
                    let deadline = stopping.map_or(deadline, |end| end.min(deadline));
                    let answer = self.call(call, deadline).await;
                    self.state.answered(self.now(), answer);
                }
            }
        }
    }

    fn now(&self) -> Now {
        self.origin.elapsed()
    }

    /// Publishes and logs what changed.
    fn tell(&mut self, leadership: &watch::Sender<Leadership>) {
        let says = match self.state.leading(self.now()) {
            Some(until) => Leadership::Leading { until: self.origin + until },
            None if self.state.is_standby() => Leadership::Standby { trouble: self.trouble.clone() },
            None => Leadership::Over,
        };
        let leads = matches!(says, Leadership::Leading { .. });
        let standing = (self.state.holder().map(str::to_owned), leads);
        if standing != self.logged {
            match (&says, standing.0.as_deref()) {
                (Leadership::Leading { .. }, _) => tracing::info!(lease = %self.name, "leading"),
                (Leadership::Standby { .. }, Some(own)) if own == self.state.identity() => tracing::info!(
                    lease = %self.name,
                    duration = ?self.timing.duration,
                    "holding the lease for its duration before leading, in case that another one led without it"
                ),
                (Leadership::Standby { .. }, Some(holder)) if !holder.is_empty() => {
                    tracing::info!(lease = %self.name, holder, "standing by");
                }
                _ => {}
            }
            self.logged = standing;
        }
        leadership.send_if_modified(|said| {
            let changed = *said != says;
            *said = says;
            changed
        });
    }

    /// Notes whether calls succeed, and logs when that changes.
    fn note(&mut self, trouble: Option<String>) {
        match (&self.trouble, &trouble) {
            (None, Some(error)) => {
                tracing::warn!(lease = %self.name, error, "the lease cannot be read or written");
            }
            (Some(_), None) => tracing::info!(lease = %self.name, "the lease can be read and written again"),
            (_, Some(error)) => tracing::debug!(lease = %self.name, error, "a call for the lease failed"),
            (None, None) => {}
        }
        self.trouble = trouble;
    }

    async fn call(&mut self, step: Step, deadline: Instant) -> Answer {
        let posting = PostParams::default();
        let name = self.name.as_str();
        let (looks, answer) = match &step {
            Step::Create(record) => {
                let lease = Readable(wire::new(name, record));
                (false, before(deadline, self.leases.create(&posting, &lease)).await)
            }
            Step::Replace { uid, resource_version, record } => {
                let lease = wire::replacement(name, self.seen.as_ref(), uid, resource_version, record);
                let lease = Readable(lease);
                (false, before(deadline, self.leases.replace(name, &posting, &lease)).await)
            }
            Step::Look => (true, before(deadline, self.leases.get(name)).await),
            Step::Wait { .. } | Step::Lost(_) | Step::Over => return Answer::Failed,
        };
        let failed = |error: String| (Answer::Failed, Some(error));
        let (answer, trouble) = match answer {
            None => failed("not answered in time".to_owned()),
            Some(Ok(Readable(lease))) => match wire::live(name, &lease) {
                None => failed("the API server answered with something else than the lease".to_owned()),
                Some(live) => {
                    self.seen = Some(lease);
                    let answer =
                        if looks { Answer::Seen(Sight::Present(live)) } else { Answer::Written(live) };
                    (answer, None)
                }
            },
            Some(Err(kube::Error::Api(status))) if looks && wire::says_absent(name, &status) => {
                self.seen = None;
                (Answer::Seen(Sight::Absent), None)
            }
            // Whether it is really gone, the look that follows will tell.
            Some(Err(kube::Error::Api(status))) if !looks && matches!(status.code, 404 | 409) => {
                (Answer::Conflict, None)
            }
            Some(Err(error)) => failed(describe(&error)),
        };
        if looks && trouble.is_none() {
            self.note_seen();
        } else {
            if !looks {
                self.unwritten = trouble.is_some().then(|| self.version());
            }
            self.note(trouble);
        }
        answer
    }

    /// The version of the lease that was last seen.
    fn version(&self) -> Option<String> {
        self.seen.as_ref()?.metadata.resource_version.clone()
    }

    /// Notes that the lease can be read; and that it need not be written, when somebody else has.
    fn note_seen(&mut self) {
        if self.unwritten.as_ref() != Some(&self.version()) {
            self.unwritten = None;
            self.note(None);
        }
    }

    /// What the watch shows next, opening it first where it is not open; nothing when it broke. Waits for ever while
    /// there is nothing to watch.
    async fn watch(&mut self, watch: &mut Watch) -> Option<Shown> {
        let Some(version) = self.state.watch_from() else { std::future::pending().await };
        let parameters = WatchParams::default().fields(&format!("metadata.name={}", self.name));
        loop {
            let (events, opened) = match watch {
                Some(open) => open,
                None => {
                    let deadline = Instant::now() + self.timing.call;
                    let events = match before(deadline, self.leases.watch(&parameters, version)).await {
                        Some(Ok(events)) => events.boxed(),
                        Some(Err(error)) => return self.cannot_watch(&describe(&error)),
                        None => return self.cannot_watch("not answered in time"),
                    };
                    watch.insert((events, Instant::now()))
                }
            };
            match events.next().await {
                Some(Ok(WatchEvent::Added(Readable(lease)) | WatchEvent::Modified(Readable(lease)))) => {
                    if std::mem::take(&mut self.unwatched) {
                        tracing::info!(lease = %self.name, "the lease can be watched again");
                    }
                    return Some(Shown::Lease(Box::new(lease)));
                }
                Some(Ok(WatchEvent::Deleted(_))) => return Some(Shown::Deleted),
                Some(Ok(WatchEvent::Bookmark(_))) => {}
                // The API server ends every watch after some minutes; the next one goes on from where this one was.
                None if opened.elapsed() > self.timing.duration => *watch = None,
                None | Some(Ok(WatchEvent::Error(_)) | Err(_)) => return None,
            }
        }
    }

    fn cannot_watch(&mut self, error: &str) -> Option<Shown> {
        if std::mem::replace(&mut self.unwatched, true) {
            tracing::debug!(lease = %self.name, error, "the lease cannot be watched");
        } else {
            tracing::warn!(lease = %self.name, error, "the lease cannot be watched; it is read instead, again and again");
        }
        None
    }

    fn take(&mut self, shown: Option<Shown>) {
        let now = self.now();
        match shown {
            Some(Shown::Lease(lease)) => {
                if let Some(live) = wire::live(self.name.as_str(), &lease) {
                    self.seen = Some(*lease);
                    self.note_seen();
                    self.state.saw(now, Sight::Present(live));
                }
            }
            Some(Shown::Deleted) => {
                self.seen = None;
                self.state.saw(now, Sight::Absent);
            }
            None => self.state.not_watched(now),
        }
    }
}

/// What a watch showed.
enum Shown {
    Lease(Box<Lease>),
    Deleted,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_replicas_have_one_identity() {
        let identities = std::collections::BTreeSet::from_iter((0..1_000).map(|_| identity()));
        assert_eq!(identities.len(), 1_000);
        let identity = identity();
        let (host, suffix) = identity.rsplit_once('_').unwrap();
        assert!(!host.is_empty() && suffix.len() == 32 && suffix.bytes().all(|b| b.is_ascii_hexdigit()));
    }

    #[tokio::test]
    async fn leadership_has_a_deadline_and_ends_by_itself() {
        let now = Instant::now();
        let until = now + Duration::from_secs(1);
        let leading = Leadership::Leading { until };
        assert_eq!((leading.deadline(now), leading.deadline(until)), (Some(until), None));
        assert_eq!(Leadership::Standby { trouble: None }.deadline(now), None);
        assert_eq!(Leadership::Over.deadline(now), None);
        assert!(Leadership::Unelected.deadline(now).is_some());
    }

    #[tokio::test]
    async fn a_call_neither_begins_nor_goes_on_after_its_deadline() {
        let now = Instant::now();
        assert_eq!(before(now, async { panic!("it began") }).await, None::<()>);
        assert_eq!(before(now + Duration::from_millis(1), std::future::pending::<()>()).await, None);
        assert_eq!(before(now + Duration::from_secs(60), async { 1 }).await, Some(1));
    }

    #[tokio::test]
    async fn a_call_does_not_go_on_in_a_process_that_stood_still_until_it_was_too_late() {
        let deadline = Instant::now() + Duration::from_millis(1);
        let mut begun = false;
        let call = poll_fn(|context| {
            assert!(!begun, "it went on");
            begun = true;
            context.waker().wake_by_ref();
            while Instant::now() < deadline {}
            Poll::<()>::Pending
        });
        assert_eq!(before(deadline, call).await, None);
    }
}
