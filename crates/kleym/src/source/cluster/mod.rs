//! A live cluster, read-only by construction: the only client there is refuses every request but GET
//! ([`connect`]), and what can be asked of it is a paged list ([`list`]).
//!
//! Connecting, and the runtime that it needs, happens in [`Cluster::connect`] and nowhere else, so that commands that
//! read files alone pay nothing for it.

mod answer;
mod connect;
mod kubeconfig;
mod limit;
mod list;
mod resource;
mod words;

use std::cell::{Cell, RefCell};
use std::io::{IsTerminal, Write};
use std::ops::ControlFlow;
use std::time::Duration;

use futures::future::join_all;
use kleym_core::name::Namespace;
use kube::Client;
use serde_json::Value;
use tokio::runtime::Runtime;

pub(crate) use self::limit::{Limit, Why};
pub(crate) use self::list::Seen;
pub(crate) use self::resource::{Collection, Resource};

/// How long work may take before progress is shown.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often the shown progress changes.
const TICK: Duration = Duration::from_millis(200);

/// A connection to a cluster.
pub(crate) struct Cluster {
    runtime: Runtime,
    client: Client,
    /// The namespace of the context.
    namespace: Namespace,
    /// How long one request may take.
    deadline: Option<Duration>,
    /// Where the API server is, for messages.
    server: String,
    /// What was asked of it.
    asked: Asked,
}

/// What was asked of a cluster so far.
#[derive(Debug, Default)]
struct Asked {
    /// How many requests were sent.
    requests: Cell<usize>,
    /// How many objects came.
    objects: Cell<usize>,
    /// Each list, in the order of the questions, and what came of it.
    lists: RefCell<Vec<(Collection, String)>>,
}

/// What a list brought.
#[derive(Debug, Clone)]
pub(crate) enum Found {
    /// Nobody asked for it.
    NotAsked,
    /// Every object.
    All(Vec<Value>),
    /// The kind is proved not to be installed.
    Absent,
    /// It cannot be read, so nothing is known.
    Limited(Limit),
}

impl Found {
    /// The objects that were found.
    pub(crate) fn items(&self) -> &[Value] {
        match self {
            Found::All(items) => items,
            Found::NotAsked | Found::Absent | Found::Limited(_) => &[],
        }
    }

    fn in_words(&self) -> String {
        match self {
            Found::All(items) if items.len() == 1 => "1 object".to_owned(),
            Found::All(items) => format!("{} objects", items.len()),
            Found::Absent => "not installed".to_owned(),
            Found::Limited(limit) => limit.message(),
            Found::NotAsked => "not asked".to_owned(),
        }
    }
}

impl Cluster {
    /// The namespace of the context, or `default`.
    pub(crate) fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Where the API server is.
    pub(crate) fn server(&self) -> &str {
        &self.server
    }

    /// Lists collections side by side, each page by page; the answers are in the order of the questions. Whatever
    /// fails, fails for its own collection alone.
    pub(crate) fn lists(&self, collections: &[Collection]) -> Vec<Found> {
        let all = join_all(collections.iter().map(|collection| self.list(collection)));
        let found = self.runtime.block_on(with_progress(all, &self.asked.objects));
        let came = collections.iter().cloned().zip(found.iter().map(Found::in_words));
        self.asked.lists.borrow_mut().extend(came);
        found
    }

    /// How many requests were sent, and of every list where it was looked and what came: `pods in all namespaces: 3 objects`.
    pub(crate) fn asked(&self) -> (usize, Vec<String>) {
        let lists = self.asked.lists.borrow();
        let words = lists.iter().map(|(collection, came)| format!("{}: {came}", collection.in_words()));
        (self.asked.requests.get(), words.collect())
    }

    async fn list(&self, collection: &Collection) -> Found {
        match list::all(&self.client, self.deadline, collection, &self.asked).await {
            Ok(items) => Found::All(items),
            Err(why) => match collection.resource.definition() {
                // Rights are looked at before the kind is, so a refusal says nothing about whether it exists.
                Some(name) if matches!(why, Why::NotServed | Why::Forbidden) => {
                    match list::definition_is_absent(&self.client, self.deadline, &name, &self.asked).await {
                        Ok(true) => Found::Absent,
                        Ok(false) | Err(_) => Found::Limited(Limit::new(collection, why)),
                    }
                }
                _ => Found::Limited(Limit::new(collection, why)),
            },
        }
    }

    /// Goes on telling what happens to the objects of a collection, from a complete list on, until `each` says stop or
    /// the connection cannot be held. A watch that ends is opened again.
    pub(crate) fn watch(
        &self,
        collection: &Collection,
        each: &mut dyn FnMut(Seen) -> ControlFlow<()>,
    ) -> Result<(), Limit> {
        let watch = list::watch(&self.client, self.deadline, collection, &self.asked, each);
        self.runtime.block_on(watch).map_err(|why| Limit::new(collection, why))
    }
}

/// Waits for an answer; when that takes long and somebody is watching, says how far it is.
async fn with_progress<T>(work: impl Future<Output = T>, count: &Cell<usize>) -> T {
    let mut work = std::pin::pin!(work);
    let mut shown = false;
    let mut pause = PATIENCE;
    loop {
        match tokio::time::timeout(pause, &mut work).await {
            Ok(answer) => {
                if shown {
                    progress("\r\u{1b}[K");
                }
                return answer;
            }
            Err(_) if !shown && !std::io::stderr().is_terminal() => return work.await,
            Err(_) => {
                shown = true;
                pause = TICK;
                progress(&format!("\rreading the cluster: {} objects", count.get()));
            }
        }
    }
}

fn progress(text: &str) {
    let mut stderr = std::io::stderr();
    drop(stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush()));
}
