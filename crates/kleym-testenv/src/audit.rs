//! What was asked of the API server, counted exactly.
//!
//! The API server writes its audit log to its standard output, in blocking mode, and a thread of ours reads it:
//! nothing is polled, and a caller who waits is woken by the event itself. Since an event can be on its way
//! while its reply already is with the client, the methods that need certainty first send a call of their own
//! (the barrier) and wait until it shows up; barriers, health checks and the API server's calls to itself are
//! never counted. A watch counts once, when it opens (or is refused), not again when it ends.

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use jiff::Timestamp;
use kube::Client;
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use crate::control_plane::get_text;

const BARRIER: &str = "/version?kleym-testenv-barrier=";
/// Where the API server says which credential a call was made with.
const CREDENTIAL: &str = "authentication.kubernetes.io/credential-id";
/// Long, because the machine may be busy.
const BARRIER_DEADLINE: Duration = Duration::from_secs(60);

/// How much the audit log holds of each call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AuditLevel {
    /// Who asked for what, and the answer's code.
    #[default]
    Metadata,
    /// Also the request's body.
    Request,
    /// Also the reply's body.
    RequestResponse,
}

impl AuditLevel {
    /// The level in the words of an audit policy.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Metadata => "Metadata",
            Self::Request => "Request",
            Self::RequestResponse => "RequestResponse",
        }
    }

    /// The audit policy: one event for a call, at its end; for a watch also one at its start.
    pub(crate) fn policy(self) -> String {
        let level = self.as_str();
        format!(
            "\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
omitManagedFields: true
rules:
- level: None
  users: [\"system:apiserver\"]
- level: None
  nonResourceURLs: [\"/readyz*\", \"/livez*\", \"/healthz*\"]
- level: Metadata
  verbs: [watch]
- level: {level}
  omitStages: [ResponseStarted]
"
        )
    }
}

/// A place in the audit log: between two calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark(usize);

/// One call that the API server answered.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// The user's name, as authenticated.
    pub user: String,
    /// The user's groups.
    pub groups: Vec<String>,
    /// Which of the user's credentials it was (`JTI=...` for a token of a ServiceAccount), or empty.
    pub credential: String,
    /// The verb as in RBAC: `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`.
    pub verb: String,
    /// `group/resource`, the bare resource in the core group, or empty when the URI names no resource.
    pub resource: String,
    /// The subresource (`status`), or empty.
    pub subresource: String,
    /// The namespace, or empty.
    pub namespace: String,
    /// The object's name, or empty; creates have it too.
    pub name: String,
    /// The HTTP code of the reply.
    pub code: u16,
    /// The client's User-Agent.
    pub user_agent: String,
    /// Path and query as sent.
    pub uri: String,
    /// When the API server received the call.
    pub received: Timestamp,
    /// When it had answered, or for a watch begun to answer.
    pub answered: Timestamp,
    /// The request's body, at level `Request` and above. Watches never have one.
    pub request: Option<Value>,
    /// The reply's body, at level `RequestResponse`.
    pub response: Option<Value>,
}

impl Call {
    /// The resource with its subresource (`group/resource/status`), or the path when there is no resource.
    pub fn target(&self) -> String {
        match (self.resource.as_str(), self.subresource.as_str()) {
            ("", _) => self.uri.split('?').next().unwrap_or_default().to_owned(),
            (resource, "") => resource.to_owned(),
            (resource, subresource) => format!("{resource}/{subresource}"),
        }
    }
}

/// Counts calls by `<user> <verb> <target>`, the target as [`Call::target`] gives it.
pub fn tally<'a>(calls: impl IntoIterator<Item = &'a Call>) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for call in calls {
        *counts.entry(format!("{} {} {}", call.user, call.verb, call.target())).or_insert(0) += 1;
    }
    counts
}

/// The audit log of one environment, over all restarts of its API server. Clones share it.
#[derive(Clone)]
pub struct Audit {
    recorder: Arc<Recorder>,
    config: kube::Config,
}

impl Audit {
    pub(crate) fn new(recorder: Arc<Recorder>, config: kube::Config) -> Self {
        Self { recorder, config }
    }

    /// The place after every call that was answered before this call. Needs the API server.
    pub async fn mark(&self) -> Result<Mark> {
        self.barrier().await?;
        Ok(self.recorded())
    }

    /// All calls between `mark` and now, in the order they were logged. Needs the API server.
    pub async fn calls_since(&self, mark: Mark) -> Result<Vec<Call>> {
        self.barrier().await?;
        Ok(self.recorded_since(mark))
    }

    /// The place after the last call that has been read. Works while the API server is down.
    pub fn recorded(&self) -> Mark {
        Mark(self.recorder.log().calls.len())
    }

    /// The calls after `mark` that have been read so far. Works while the API server is down.
    pub fn recorded_since(&self, mark: Mark) -> Vec<Call> {
        self.recorder.log().calls.get(mark.0..).unwrap_or_default().to_vec()
    }

    /// The calls after `mark` that have been read so far; moves the mark behind them. Works while the API server is down.
    pub fn next_since(&self, mark: &mut Mark) -> Vec<Call> {
        let calls = self.recorded_since(*mark);
        mark.0 += calls.len();
        calls
    }

    /// Forgets the bodies of some calls that have been read: whoever is done with them does not need the memory.
    pub fn forget_bodies(&self, of: impl Fn(&Call) -> bool) {
        for call in self.recorder.log().calls.iter_mut().filter(|call| of(call)) {
            (call.request, call.response) = (None, None);
        }
    }

    /// Waits until the calls since `mark` fulfil `condition`, which is asked again at each call, and gives them.
    pub async fn wait_for(
        &self,
        what: &str,
        mark: Mark,
        deadline: Duration,
        mut condition: impl FnMut(&[Call]) -> bool,
    ) -> Result<Vec<Call>> {
        let fulfilled = self.recorder.until(|log| {
            let calls = log.calls.get(mark.0..).unwrap_or_default();
            condition(calls).then(|| calls.to_vec())
        });
        match timeout(deadline, fulfilled).await {
            Ok(calls) => Ok(calls),
            Err(_) => bail!(
                "not within {deadline:?}: {what}; the calls were {:?}",
                tally(&self.recorded_since(mark))
            ),
        }
    }

    /// Waits until no call that `matches` has been logged for as long as `quiet`, and gives that place.
    ///
    /// Fails when such calls still come after `deadline`.
    pub async fn wait_until_quiet(
        &self,
        quiet: Duration,
        deadline: Duration,
        matches: impl Fn(&Call) -> bool,
    ) -> Result<Mark> {
        let end = Instant::now() + deadline;
        let mut from = self.mark().await?;
        loop {
            let mut seen = from.0;
            let next = self.recorder.until(|log| {
                let found = log.calls[seen..].iter().position(&matches).map(|at| Mark(seen + at + 1));
                seen = log.calls.len();
                found
            });
            let Ok(next) = timeout(quiet, next).await else { return Ok(self.recorded()) };
            if Instant::now() >= end {
                let calls = self.recorded_since(Mark(next.0 - 1));
                let matching = tally(calls.iter().filter(|call| matches(call)));
                bail!("not quiet for {quiet:?} within {deadline:?}; the last calls were {matching:?}");
            }
            from = next;
        }
    }

    async fn barrier(&self) -> Result<()> {
        let number = self.recorder.next_barrier.fetch_add(1, Ordering::Relaxed);
        let call = async {
            // A client belongs to the runtime that made it, and tests have one runtime each.
            let client = Client::try_from(self.config.clone())?;
            get_text(&client, &format!("{BARRIER}{number}")).await?;
            self.recorder.until(|log| log.barriers.remove(&number).then_some(())).await;
            Ok(())
        };
        match timeout(BARRIER_DEADLINE, call).await {
            Ok(outcome) => outcome,
            Err(_) => bail!("the audit log did not show our own call within {BARRIER_DEADLINE:?}"),
        }
    }
}

/// Where the reading threads put what they read.
pub(crate) struct Recorder {
    log: Mutex<Log>,
    changed: watch::Sender<()>,
    next_barrier: AtomicU64,
}

#[derive(Default)]
struct Log {
    calls: Vec<Call>,
    open_watches: HashSet<String>,
    barriers: HashSet<u64>,
}

impl Recorder {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            log: Mutex::default(),
            changed: watch::Sender::new(()),
            next_barrier: AtomicU64::new(0),
        })
    }

    /// Reads events until the API server closes its end, and keeps the lines in `file`.
    pub(crate) fn read(self: &Arc<Self>, events: impl Read + Send + 'static, mut file: File) -> Result<()> {
        let recorder = Arc::clone(self);
        let body = move || {
            let mut events = BufReader::new(events);
            let mut line = Vec::new();
            while events.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
                if let Err(error) = file.write_all(&line) {
                    eprintln!("kleym-testenv: cannot keep a line of the audit log: {error}");
                }
                match serde_json::from_slice::<Event>(&line) {
                    Ok(event) => recorder.record(event),
                    // A killed API server may leave half a line behind.
                    Err(_) if line.last() != Some(&b'\n') => {}
                    Err(error) => eprintln!("kleym-testenv: not an audit event: {error}"),
                }
                line.clear();
            }
        };
        std::thread::Builder::new()
            .name("audit log".to_owned())
            .spawn(body)
            .context("cannot start the thread that reads the audit log")?;
        Ok(())
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        // The log is whole between any two statements, so a panic elsewhere does not spoil it.
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn record(&self, event: Event) {
        {
            let mut log = self.log();
            if let Some(number) = event.request_uri.strip_prefix(BARRIER) {
                log.barriers.extend(number.parse::<u64>());
            } else if event.stage == "ResponseStarted" {
                log.open_watches.insert(event.audit_id.clone());
                log.calls.push(event.into());
            } else if !log.open_watches.remove(&event.audit_id) {
                log.calls.push(event.into());
            }
        }
        self.changed.send_replace(());
    }

    async fn until<T>(&self, mut condition: impl FnMut(&mut Log) -> Option<T>) -> T {
        let mut changed = self.changed.subscribe();
        loop {
            if let Some(value) = condition(&mut self.log()) {
                return value;
            }
            changed.changed().await.expect("the sender lives in `self`, which is borrowed");
        }
    }
}

/// An audit event as the API server writes it; only the fields that are used.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    #[serde(rename = "auditID")]
    audit_id: String,
    stage: String,
    #[serde(rename = "requestURI")]
    request_uri: String,
    verb: String,
    user: User,
    #[serde(default)]
    user_agent: String,
    #[serde(default)]
    object_ref: ObjectRef,
    #[serde(default)]
    response_status: ResponseStatus,
    request_received_timestamp: String,
    stage_timestamp: String,
    request_object: Option<Value>,
    response_object: Option<Value>,
}

#[derive(Deserialize)]
struct User {
    #[serde(default)]
    username: String,
    #[serde(default)]
    groups: Vec<String>,
    #[serde(default)]
    extra: BTreeMap<String, Vec<String>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct ObjectRef {
    api_group: String,
    resource: String,
    subresource: String,
    namespace: String,
    name: String,
}

#[derive(Deserialize, Default)]
struct ResponseStatus {
    #[serde(default)]
    code: u16,
}

impl From<Event> for Call {
    fn from(event: Event) -> Self {
        let object = event.object_ref;
        let credential = event.user.extra.get(CREDENTIAL).and_then(|values| values.first());
        let time = |text: &str| text.parse().unwrap_or(Timestamp::UNIX_EPOCH);
        Self {
            credential: credential.cloned().unwrap_or_default(),
            user: event.user.username,
            groups: event.user.groups,
            verb: event.verb,
            resource: if object.api_group.is_empty() {
                object.resource
            } else {
                format!("{}/{}", object.api_group, object.resource)
            },
            subresource: object.subresource,
            namespace: object.namespace,
            name: object.name,
            code: event.response_status.code,
            user_agent: event.user_agent,
            uri: event.request_uri,
            received: time(&event.request_received_timestamp),
            answered: time(&event.stage_timestamp),
            request: event.request_object,
            response: event.response_object,
        }
    }
}
