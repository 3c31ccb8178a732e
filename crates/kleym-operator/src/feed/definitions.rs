//! Which CustomResourceDefinitions exist, told to the watch of each kind. One metadata watch for all of them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use http::Request;
use kleym_core::fact::Trouble;
use kleym_core::kind::Kind;
use kube::Client;
use serde_json::Value;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout};

use super::stream::{self, Collection, Report};
use super::{News, went_back};
use crate::client::{CALL_DEADLINE, ask, describe};
use crate::horizon::Horizon;

/// Where CustomResourceDefinitions are.
const PATH: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

/// What is known of a kind's CustomResourceDefinition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Definition {
    /// Nothing yet.
    Unknown,
    /// It exists; the number changes with everything that happens to it.
    Exists(u64),
    /// It is proved not to exist: a complete list by its name was empty.
    Absent,
    /// CustomResourceDefinitions cannot be read.
    Unreadable(Trouble),
}

const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// The watch of CustomResourceDefinitions.
pub(super) struct Definitions {
    kinds: BTreeMap<String, watch::Sender<Definition>>,
    changes: u64,
    horizon: Horizon,
    /// Definitions that are missing, of which it could not be told yet whether they are absent.
    unproved: BTreeSet<String>,
    /// How long it is until they are looked for again.
    pause: Duration,
}

impl Definitions {
    /// A watch that nobody listens to yet.
    pub(super) fn new() -> Self {
        let kinds =
            Kind::ALL.into_iter().map(|kind| (kind.crd_name(), watch::Sender::new(Definition::Unknown)));
        let (unproved, pause) = (BTreeSet::new(), FIRST_PAUSE);
        Self { kinds: kinds.collect(), changes: 0, horizon: Horizon::default(), unproved, pause }
    }

    /// What is known of a kind's definition, from now on.
    pub(super) fn subscribe(&self, kind: Kind) -> watch::Receiver<Definition> {
        match self.kinds.get(&kind.crd_name()) {
            Some(sender) => sender.subscribe(),
            None => unreachable!("every kind has a sender"),
        }
    }

    /// Watches until the process ends.
    ///
    /// # Errors
    /// When the store was restored from an older snapshot; a watch that fails is opened again.
    pub(super) async fn run(mut self, client: Client, news: mpsc::Sender<News>) -> anyhow::Result<()> {
        let mut troubled = false;
        let (reports, mut received) = mpsc::channel(64);
        let collection = Collection {
            path: PATH.to_owned(),
            list_kind: "PartialObjectMetadataList".to_owned(),
            metadata_only: true,
            horizon: self.horizon.clone(),
            anew: None,
        };
        let follow = tokio::spawn(stream::follow(client.clone(), collection, reports));
        let mut listing: Option<BTreeSet<String>> = None;
        let mut look_again: Option<Instant> = None;
        loop {
            // No event tells when an absence can be looked up again.
            look_again = match (self.unproved.is_empty(), look_again) {
                (true, _) => None,
                (false, None) => Some(Instant::now() + self.pause),
                (false, Some(at)) => Some(at),
            };
            let due = async {
                match look_again {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            let report = tokio::select! {
                report = received.recv() => report,
                () = due => {
                    look_again = None;
                    self.look_again(&client).await;
                    continue;
                }
            };
            let Some(report) = report else { break };
            match report {
                Report::ListBegins => listing = Some(BTreeSet::new()),
                Report::ListItem(object) => {
                    if let (Some(names), Some(name)) = (&mut listing, name_of(&object)) {
                        names.insert(name.to_owned());
                    }
                    self.exists(&object);
                }
                Report::ListEnds => {
                    let present = listing.take().unwrap_or_default();
                    let missing: Vec<String> =
                        self.kinds.keys().filter(|name| !present.contains(*name)).cloned().collect();
                    for name in missing {
                        self.confirm_absent(&client, &name).await;
                    }
                }
                Report::Put(object) => self.exists(&object),
                Report::Gone(object) => {
                    if let Some(name) = name_of(&object).filter(|name| self.kinds.contains_key(*name)) {
                        self.confirm_absent(&client, name).await;
                    }
                }
                Report::Open => {
                    if std::mem::take(&mut troubled) {
                        drop(news.send(News::Definitions(None)).await);
                    }
                }
                Report::Anew(_) => {}
                Report::WentBack => anyhow::bail!(went_back("customresourcedefinitions")),
                Report::Failed(trouble) => {
                    troubled = true;
                    // A driver that is gone is noticed by the watches of the kinds.
                    drop(news.send(News::Definitions(Some(trouble))).await);
                    for sender in self.kinds.values() {
                        sender.send_if_modified(unreadable(trouble));
                    }
                }
            }
        }
        follow.abort();
        Ok(())
    }

    fn exists(&mut self, object: &Value) {
        let Some(name) = name_of(object) else { return };
        if let Some(sender) = self.kinds.get(name) {
            self.unproved.remove(name);
            self.changes += 1;
            sender.send_replace(Definition::Exists(self.changes));
        }
    }

    /// Looks at what could not be told before, with ever longer pauses while that goes on.
    async fn look_again(&mut self, client: &Client) {
        for name in std::mem::take(&mut self.unproved) {
            self.confirm_absent(client, &name).await;
        }
        self.pause = match self.unproved.is_empty() {
            true => FIRST_PAUSE,
            false => (self.pause * 2).min(LONGEST_PAUSE),
        };
    }

    /// Looks at one name live. Only an empty list proves absence; whatever goes wrong leaves what was known, and is looked
    /// at again.
    async fn confirm_absent(&mut self, client: &Client, name: &str) {
        let Some(sender) = self.kinds.get(name) else { return };
        self.unproved.remove(name);
        match list_by_name(client, &self.horizon, name).await {
            Ok(true) => {
                sender.send_replace(Definition::Absent);
            }
            Ok(false) => {
                self.changes += 1;
                sender.send_replace(Definition::Exists(self.changes));
            }
            Err(error) => {
                tracing::warn!(definition = name, error, "cannot tell whether the definition is gone");
                sender.send_if_modified(unreadable(Trouble::Failing));
                self.unproved.insert(name.to_owned());
            }
        }
    }
}

fn name_of(object: &Value) -> Option<&str> {
    object.pointer("/metadata/name").and_then(Value::as_str)
}

/// The request for the list of the one definition of this name.
pub(super) fn by_name(name: &str) -> http::Result<Request<Vec<u8>>> {
    Request::get(format!("{PATH}?fieldSelector=metadata.name%3D{name}")).body(Vec::new())
}

/// The items of a list of definitions; none when the answer is something else.
pub(super) fn items(list: &Value) -> Option<&Vec<Value>> {
    let is_list = list.get("kind").and_then(Value::as_str) == Some("CustomResourceDefinitionList");
    list.get("items").and_then(Value::as_array).filter(|_| is_list)
}

/// Whether a kind's definition is absent now, as a list tells that is made for this alone.
pub(super) async fn is_absent(client: &Client, kind: Kind) -> Result<bool, String> {
    list_by_name(client, &Horizon::default(), &kind.crd_name()).await
}

/// Whether a complete list by this name, no older than what was seen, is empty.
async fn list_by_name(client: &Client, horizon: &Horizon, name: &str) -> Result<bool, String> {
    let request = by_name(name).map_err(|error| error.to_string())?;
    let before = horizon.before();
    let list = timeout(CALL_DEADLINE, ask(client, request)).await;
    let list = list.map_err(|_| "not answered in time".to_owned())?.map_err(|error| describe(&error))?;
    let version = list.pointer("/metadata/resourceVersion").and_then(Value::as_str).unwrap_or_default();
    if !before.admits(version) {
        return Err("the answer is older than what was seen before, or does not say how old it is".to_owned());
    }
    items(&list).map(Vec::is_empty).ok_or_else(|| "the answer is not a list of definitions".to_owned())
}

/// What was known stays; only ignorance turns into the knowledge that nothing can be read.
fn unreadable(trouble: Trouble) -> impl FnOnce(&mut Definition) -> bool {
    move |known| {
        let ignorant = *known == Definition::Unknown;
        if ignorant {
            *known = Definition::Unreadable(trouble);
        }
        ignorant
    }
}
