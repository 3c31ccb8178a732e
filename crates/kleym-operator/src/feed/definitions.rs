//! Which CustomResourceDefinitions exist, told to the watch of each kind. One metadata watch for all of them.

use std::collections::BTreeMap;
use std::pin::pin;

use futures::StreamExt;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kleym_core::fact::Trouble;
use kleym_core::kind::Kind;
use kube::api::ListParams;
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as watch_objects};
use kube::{Api, Client};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::client::CALL_DEADLINE;

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

type Meta = PartialObjectMeta<CustomResourceDefinition>;

/// The watch of CustomResourceDefinitions.
pub(super) struct Definitions {
    kinds: BTreeMap<String, watch::Sender<Definition>>,
    changes: u64,
}

impl Definitions {
    /// A watch that nobody listens to yet.
    pub(super) fn new() -> Self {
        let kinds =
            Kind::ALL.into_iter().map(|kind| (kind.crd_name(), watch::Sender::new(Definition::Unknown)));
        Self { kinds: kinds.collect(), changes: 0 }
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
    /// Never; a watch that fails is opened again.
    pub(super) async fn run(mut self, client: Client) -> anyhow::Result<()> {
        let api: Api<Meta> = Api::all(client);
        let mut events = pin!(watch_objects(api.clone(), watcher::Config::default()).default_backoff());
        let mut listing: Option<Vec<String>> = None;
        while let Some(event) = events.next().await {
            match event {
                Ok(Event::Init) => listing = Some(Vec::new()),
                Ok(Event::InitApply(object)) => {
                    if let (Some(names), Some(name)) = (&mut listing, object.metadata.name.clone()) {
                        names.push(name);
                    }
                    self.exists(&object);
                }
                Ok(Event::InitDone) => {
                    let present = listing.take().unwrap_or_default();
                    let missing: Vec<String> =
                        self.kinds.keys().filter(|name| !present.contains(name)).cloned().collect();
                    for name in missing {
                        self.confirm_absent(&api, &name).await;
                    }
                }
                Ok(Event::Apply(object)) => self.exists(&object),
                Ok(Event::Delete(object)) => {
                    if let Some(name) = object.metadata.name.filter(|name| self.kinds.contains_key(name)) {
                        self.confirm_absent(&api, &name).await;
                    }
                }
                Err(error) => self.failed(&error),
            }
        }
        Ok(())
    }

    fn exists(&mut self, object: &Meta) {
        if let Some(sender) = object.metadata.name.as_ref().and_then(|name| self.kinds.get(name)) {
            self.changes += 1;
            sender.send_replace(Definition::Exists(self.changes));
        }
    }

    /// Looks at one name live. Only an empty list proves absence; whatever goes wrong leaves what was known.
    async fn confirm_absent(&mut self, api: &Api<Meta>, name: &str) {
        let Some(sender) = self.kinds.get(name) else { return };
        let by_name = ListParams::default().fields(&format!("metadata.name={name}"));
        match timeout(CALL_DEADLINE, api.list(&by_name)).await {
            Ok(Ok(list)) if list.items.is_empty() => {
                sender.send_replace(Definition::Absent);
            }
            Ok(Ok(_)) => {
                self.changes += 1;
                sender.send_replace(Definition::Exists(self.changes));
            }
            Ok(Err(error)) => {
                tracing::warn!(definition = name, %error, "cannot tell whether the definition is gone");
                sender.send_if_modified(unreadable(Trouble::Failing));
            }
            Err(_) => {
                tracing::warn!(definition = name, "cannot tell in time whether the definition is gone");
                sender.send_if_modified(unreadable(Trouble::Failing));
            }
        }
    }

    fn failed(&self, error: &watcher::Error) {
        tracing::warn!(%error, "the watch of CustomResourceDefinitions fails; it is opened again");
        let trouble = super::watch::trouble_of(error).unwrap_or(Trouble::Failing);
        for sender in self.kinds.values() {
            sender.send_if_modified(unreadable(trouble));
        }
    }
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
