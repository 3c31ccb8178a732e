//! The one owner of the index, the live outputs and the queue. It takes news and answers, and starts at most one call
//! at a time for each binding; what to do is asked of the engine, never decided here.
//!
//! Guarantees: nothing is started before every kind was listed, proved absent or found in trouble, or a first-start
//! grace is over; a binding has one turn at a time; a turn always begins from what is live.

mod book;
mod memory;
mod outputs;
mod turn;

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use kleym_core::fact::{Availability, Change, Trouble};
use kleym_core::index::{Dirty, Index};
use kleym_core::kind::Kind;
use kleym_core::name::{BindingKey, Namespace, ObjectName};
use kleym_core::queue::{Now, Queue};
use kleym_core::relist::Difference;
use kleym_core::settings::Settings;
use kube::Client;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::client::CALL_DEADLINE;
use crate::feed::{GoneKey, Item, News};
use crate::perform::{Answer, Call, perform};
use book::Book;
use memory::Memory;
use turn::Running;

/// How many calls may be under way at once, for all bindings together.
const CALLS_AT_ONCE: usize = 16;
/// How long the first start waits for a kind of which nothing at all is heard.
const GRACE: Duration = Duration::from_secs(10);

/// What the driver says of its readiness: the kinds it cannot vouch for; ready when there are none.
pub type Unready = Vec<String>;

/// The driver.
pub struct Driver {
    client: Client,
    index: Index,
    book: Book,
    queue: Queue<BindingKey>,
    running: HashMap<BindingKey, Running>,
    memory: HashMap<BindingKey, Memory>,
    /// Who waits for an output to go or to change.
    waiters: HashMap<ObjectName, Dirty>,
    /// The namespaces that are served; empty means all.
    namespaces: BTreeSet<Namespace>,
    calls: JoinSet<(Call, Answer)>,
    origin: Instant,
    started: bool,
    readiness: watch::Sender<Unready>,
}

impl Driver {
    /// A driver that knows nothing yet.
    pub fn new(
        client: Client,
        settings: Settings,
        namespaces: BTreeSet<Namespace>,
        readiness: watch::Sender<Unready>,
    ) -> Self {
        Self {
            client,
            book: Book::new(settings.instance.as_str()),
            index: Index::new(settings),
            queue: Queue::new(),
            running: HashMap::new(),
            memory: HashMap::new(),
            waiters: HashMap::new(),
            namespaces,
            calls: JoinSet::new(),
            origin: Instant::now(),
            started: false,
            readiness,
        }
    }

    /// Drives until it is told to stop; calls under way are then waited for, up to their deadline.
    ///
    /// # Errors
    /// When the feed ends.
    pub async fn run(
        mut self,
        mut news: mpsc::Receiver<News>,
        stop: CancellationToken,
    ) -> anyhow::Result<()> {
        let grace = self.origin + GRACE;
        loop {
            self.start_when_ready(grace);
            self.start_turns();
            let due = match (self.started, self.queue.next_due()) {
                (false, _) => Some(grace),
                (true, due) => due.map(|due| self.origin + due),
            };
            let wake = async {
                match due {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(finished) = self.calls.join_next() => {
                    let (call, answer) = finished?;
                    self.answered(call, &answer);
                }
                received = news.recv() => match received {
                    Some(received) => {
                        self.take(received);
                        // Take what is there already, so that a burst is seen as a whole before anything is started.
                        while let Ok(received) = news.try_recv() {
                            self.take(received);
                        }
                    }
                    None => anyhow::bail!("the watches ended"),
                },
                () = wake => {}
            }
        }
        tracing::info!(calls = self.calls.len(), "stopping: waiting for calls under way");
        let finish = async { while self.calls.join_next().await.is_some() {} };
        let _ = timeout(CALL_DEADLINE, finish).await;
        Ok(())
    }

    fn now(&self) -> Now {
        self.origin.elapsed()
    }

    fn take(&mut self, news: News) {
        let dirty = match news {
            News::Objects(kind, namespace, difference) => self.objects(kind, namespace, difference),
            News::Absent(kind) => {
                tracing::info!(%kind, "the CustomResourceDefinition is not installed");
                let mut dirty = self.index.apply(Change::Absent(kind));
                match kind {
                    Kind::Output => dirty.extend(self.outputs_absent()),
                    Kind::Binding => dirty.extend(self.book.bindings_absent()),
                    Kind::Objective(_) | Kind::Pool(_) => {}
                }
                dirty
            }
            News::Trouble(kind, trouble) => {
                if let Some(trouble) = trouble {
                    tracing::warn!(%kind, "cannot be read: {}", trouble.as_str());
                }
                let mut dirty = self.index.apply(Change::Trouble(kind, trouble));
                if kind == Kind::Output {
                    dirty.extend(self.book.keys());
                }
                dirty
            }
        };
        self.add(dirty);
        self.tell_readiness();
    }

    fn objects(
        &mut self,
        kind: Kind,
        namespace: Option<Namespace>,
        difference: Difference<Item, GoneKey>,
    ) -> Dirty {
        match (kind, difference) {
            (Kind::Output, Difference::Listed(items)) => self.outputs_listed(items),
            (Kind::Output, Difference::Put(Item::Output(output))) => self.saw_output(*output),
            (Kind::Output, Difference::Gone(key)) => self.output_gone(&key.name, key.uid.as_ref()),
            (Kind::Binding, Difference::Listed(items)) => {
                let (mut dirty, facts) = self.book.bindings_listed(namespace.as_ref(), items);
                dirty.extend(self.index.apply(match namespace {
                    None => Change::Listed(kind, facts),
                    Some(namespace) => Change::ListedIn(kind, namespace, facts),
                }));
                for key in dirty.clone() {
                    self.refresh_grant(&key, &mut dirty);
                }
                dirty
            }
            (_, Difference::Listed(items)) => {
                let facts = items.into_iter().filter_map(Item::into_input).collect();
                self.index.apply(match namespace {
                    None => Change::Listed(kind, facts),
                    Some(namespace) => Change::ListedIn(kind, namespace, facts),
                })
            }
            (_, Difference::Put(Item::Binding(seen))) => self.saw_binding(*seen),
            (_, Difference::Put(Item::Input(fact))) => self.index.apply(Change::Put(fact)),
            (_, Difference::Put(Item::Output(_))) => Dirty::new(),
            (_, Difference::Gone(key)) => {
                let Some(fact_key) = key.fact_key(kind) else { return Dirty::new() };
                let mut dirty = Dirty::new();
                if kind == Kind::Binding {
                    let binding = BindingKey::new(fact_key.namespace.clone(), fact_key.name.clone());
                    if !self.book.binding_gone(&binding, key.uid.as_ref()) {
                        return dirty;
                    }
                    self.queue.succeeded(&binding);
                    dirty.insert(binding);
                }
                dirty.extend(self.index.apply(Change::Gone(fact_key)));
                for key in dirty.clone() {
                    self.refresh_grant(&key, &mut dirty);
                }
                dirty
            }
        }
    }

    fn add(&mut self, dirty: Dirty) {
        for key in dirty {
            self.queue.add(key);
        }
    }

    /// Opens the gate: from here on turns are started.
    fn start_when_ready(&mut self, grace: Instant) {
        if self.started {
            return;
        }
        let silent = |kind: &Kind| self.index.availability(*kind) == Availability::STARTING;
        let heard_of_all = !Kind::ALL.iter().any(silent);
        let bindings_known = self.index.is_known(Kind::Binding);
        if bindings_known && (heard_of_all || Instant::now() >= grace) {
            self.started = true;
            tracing::info!(
                bindings = self.book.binding_count(),
                outputs = self.book.output_count(),
                "serving: every kind was heard of"
            );
            self.tell_readiness();
        }
    }

    fn tell_readiness(&self) {
        let unready: Unready = Kind::ALL
            .into_iter()
            .filter_map(|kind| match self.index.availability(kind) {
                Availability { trouble: Some(trouble), .. } => Some((kind, trouble)),
                _ => None,
            })
            // A kind that exists and does not serve our version is the cluster's state, not this replica's.
            .filter(|(_, trouble)| *trouble != Trouble::NotServed)
            .map(|(kind, trouble)| format!("{} is {}", kind.crd_name(), trouble.as_str()))
            .chain((!self.started).then(|| "the first lists are not complete".to_owned()))
            .collect();
        self.readiness.send_if_modified(|known| {
            let changed = *known != unready;
            *known = unready;
            changed
        });
    }

    fn start_turns(&mut self) {
        while self.started && self.calls.len() < CALLS_AT_ONCE {
            let Some(key) = self.queue.pop(self.now()) else { return };
            self.running.insert(key.clone(), Running::default());
            self.advance(key);
        }
    }

    fn call(&mut self, call: Call) {
        let client = self.client.clone();
        self.calls.spawn(async move {
            let answer = perform(&client, &call).await;
            (call, answer)
        });
    }
}
