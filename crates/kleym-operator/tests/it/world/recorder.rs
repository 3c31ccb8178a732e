//! Every version that bindings, outputs and what identities depend on went through on one control plane, from its beginning
//! on.
//!
//! A thread of its own watches every kind, because a test's runtime stands still while the test ends. A gap in a watch
//! (410, a definition that goes) is closed by a list; what happened inside it is then not known.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use futures::StreamExt;
use jiff::Timestamp;
use kleym_api::resource::api_resource;
use kleym_core::kind::Kind;
use kube::api::{Api, DynamicObject, ListParams, WatchEvent, WatchParams};
use kube::{Client, Config};
use serde_json::Value;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Where an object stands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    /// Its kind.
    pub(crate) kind: Kind,
    /// Its namespace, or empty.
    pub(crate) namespace: &'a str,
    /// Its name.
    pub(crate) name: &'a str,
}

/// One version of an object.
#[derive(Debug, Clone)]
pub(crate) struct Version {
    /// Of what.
    pub(crate) kind: Kind,
    /// Since which revision of the whole store.
    pub(crate) revision: u64,
    /// When the recorder was told: a moment after it came to be.
    pub(crate) seen: Timestamp,
    /// Whether it is gone with this revision.
    pub(crate) gone: bool,
    /// The object; of one that is gone, as it stood at last.
    pub(crate) object: Arc<Value>,
}

impl Version {
    /// Where it stands.
    pub(crate) fn place(&self) -> Place<'_> {
        Place {
            kind: self.kind,
            namespace: self.text("/metadata/namespace"),
            name: self.text("/metadata/name"),
        }
    }

    /// A text field.
    pub(crate) fn text(&self, pointer: &str) -> &str {
        self.object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
    }

    /// The object's uid.
    pub(crate) fn uid(&self) -> &str {
        self.text("/metadata/uid")
    }
}

/// How long a kind that is not defined is left alone.
const UNDEFINED: Duration = Duration::from_millis(100);

#[derive(Default)]
struct History {
    versions: Vec<Version>,
    /// What lives, by kind and uid.
    live: BTreeMap<(Kind, String), Version>,
}

/// The history, and a word at everything that comes to it.
#[derive(Default)]
struct Shared {
    history: Mutex<History>,
    grown: watch::Sender<()>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut History)) {
        change(&mut self.lock());
        self.grown.send_replace(());
    }
}

/// The recorder of one control plane. Dropping it ends its thread.
pub(crate) struct Recorder {
    history: Arc<Shared>,
    config: Config,
    stop: CancellationToken,
}

/// All objects of a kind, in every namespace.
fn all(client: &Client, kind: Kind) -> Api<DynamicObject> {
    Api::all_with(client.clone(), &api_resource(kind))
}

fn revision(text: Option<&String>) -> u64 {
    text.and_then(|text| text.parse().ok()).unwrap_or_default()
}

impl Recorder {
    /// Starts to record.
    pub(crate) fn start(config: Config) -> Arc<Self> {
        let (history, stop) = (Arc::<Shared>::default(), CancellationToken::new());
        let (kept, stopped, used) = (Arc::clone(&history), stop.clone(), config.clone());
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let client = Client::try_from(used).unwrap();
                let follow = Kind::ALL.map(|kind| follow(client.clone(), kind, &kept));
                tokio::select! {
                    _ = futures::future::join_all(follow) => {}
                    () = stopped.cancelled() => {}
                }
            });
        });
        Arc::new(Self { history, config, stop })
    }

    /// Every version of some objects of these kinds so far, by revision. Waits until what is live now has been recorded.
    pub(crate) async fn versions(&self, kinds: &[Kind], of: impl Fn(Place<'_>) -> bool) -> Vec<Version> {
        let client = Client::try_from(self.config.clone()).unwrap();
        for &kind in kinds {
            // Nothing can be asked of an API server that a test has stopped, or of a kind that is not there.
            let Ok(list) = all(&client, kind).list(&ListParams::default()).await else { continue };
            let until = revision(list.metadata.resource_version.as_ref());
            let wanted: BTreeMap<String, u64> = list
                .items
                .iter()
                .filter(|object| {
                    let of_metadata = |text: &Option<String>| text.clone().unwrap_or_default();
                    let (namespace, name) =
                        (of_metadata(&object.metadata.namespace), of_metadata(&object.metadata.name));
                    of(Place { kind, namespace: &namespace, name: &name })
                })
                .map(|object| {
                    let metadata = &object.metadata;
                    (metadata.uid.clone().unwrap_or_default(), revision(metadata.resource_version.as_ref()))
                })
                .collect();
            let mut grown = self.history.grown.subscribe();
            while !self.history.lock().holds(kind, until, &wanted, &of) {
                grown.changed().await.expect("the sender lives in `self`");
            }
        }
        let wanted = |version: &&Version| kinds.contains(&version.kind) && of(version.place());
        let mut versions: Vec<Version> =
            self.history.lock().versions.iter().filter(wanted).cloned().collect();
        versions.sort_by_key(|version| version.revision);
        versions
    }

    /// Forgets versions that nobody will ask for again.
    pub(crate) fn forget(&self, of: impl Fn(Place<'_>) -> bool) {
        self.history.change(|history| history.versions.retain(|version| !of(version.place())));
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl History {
    /// Whether everything up to a revision, at which exactly these of some objects lived, has been recorded.
    fn holds(
        &self,
        kind: Kind,
        until: u64,
        wanted: &BTreeMap<String, u64>,
        of: &impl Fn(Place<'_>) -> bool,
    ) -> bool {
        let mine = self.live.iter().filter(|((other, _), version)| *other == kind && of(version.place()));
        let lives: BTreeMap<&String, u64> = mine.map(|((_, uid), version)| (uid, version.revision)).collect();
        let known = |uid: &str| {
            let of = |version: &&Version| version.kind == kind && version.uid() == uid;
            self.versions.iter().rev().find(of).map_or(0, |version| version.revision)
        };
        let all_there = wanted.iter().all(|(uid, revision)| match lives.get(uid) {
            Some(seen) => seen >= revision,
            None => known(uid) >= *revision,
        });
        let all_gone = lives.iter().all(|(uid, revision)| wanted.contains_key(*uid) || *revision > until);
        all_there && all_gone
    }

    fn put(&mut self, kind: Kind, object: &DynamicObject) {
        let metadata = &object.metadata;
        let version = Version {
            kind,
            revision: revision(metadata.resource_version.as_ref()),
            seen: Timestamp::now(),
            gone: false,
            object: Arc::new(serde_json::to_value(object).unwrap()),
        };
        let place = (kind, metadata.uid.clone().unwrap_or_default());
        if self.live.get(&place).is_none_or(|known| known.revision < version.revision) {
            self.versions.push(version.clone());
            self.live.insert(place, version);
        }
    }

    fn gone(&mut self, kind: Kind, uid: &str, at: u64) {
        if let Some(last) = self.live.remove(&(kind, uid.to_owned())) {
            let revision = at.max(last.revision);
            self.versions.push(Version { revision, seen: Timestamp::now(), gone: true, ..last });
        }
    }

    /// A list: what is not in it is gone.
    fn listed(&mut self, kind: Kind, at: u64, objects: &[DynamicObject]) {
        objects.iter().for_each(|object| self.put(kind, object));
        let lives = |uid: &str| objects.iter().any(|object| object.metadata.uid.as_deref() == Some(uid));
        let missing: Vec<String> = self
            .live
            .keys()
            .filter(|(of, uid)| *of == kind && !lives(uid))
            .map(|(_, uid)| uid.clone())
            .collect();
        missing.iter().for_each(|uid| self.gone(kind, uid, at));
    }
}

async fn follow(client: Client, kind: Kind, history: &Shared) {
    // Between two lists, so that an API server that is away is not asked in a tight loop.
    let mut pace = tokio::time::interval(Duration::from_millis(30));
    let api = all(&client, kind);
    loop {
        pace.tick().await;
        match api.list(&ListParams::default()).await {
            Ok(list) => {
                let at = revision(list.metadata.resource_version.as_ref());
                history.change(|history| history.listed(kind, at, &list.items));
                events(&api, kind, at.to_string(), history).await;
            }
            // A definition that is gone takes its objects along.
            Err(kube::Error::Api(status)) if status.code == 404 => {
                history.change(|history| history.listed(kind, 0, &[]));
                // Many tests do without most kinds that an identity can depend on.
                if !matches!(kind, Kind::Binding | Kind::Output) {
                    tokio::time::sleep(UNDEFINED).await;
                }
            }
            Err(_) => {}
        }
    }
}

/// Watches until that breaks.
async fn events(api: &Api<DynamicObject>, kind: Kind, mut version: String, history: &Shared) {
    let parameters = WatchParams::default();
    while let Ok(events) = api.watch(&parameters, &version).await {
        let mut events = events.boxed();
        while let Some(event) = events.next().await {
            match event {
                Ok(WatchEvent::Added(object) | WatchEvent::Modified(object)) => {
                    version = object.metadata.resource_version.clone().unwrap_or_default();
                    history.change(|history| history.put(kind, &object));
                }
                Ok(WatchEvent::Deleted(object)) => {
                    version = object.metadata.resource_version.clone().unwrap_or_default();
                    let uid = object.metadata.uid.unwrap_or_default();
                    history.change(|history| history.gone(kind, &uid, revision(Some(&version))));
                }
                Ok(WatchEvent::Bookmark(bookmark)) => version = bookmark.metadata.resource_version,
                Ok(WatchEvent::Error(_)) | Err(_) => return,
            }
        }
    }
}
