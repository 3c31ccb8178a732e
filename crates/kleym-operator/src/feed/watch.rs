//! The watch of one kind: waits for its definition, then for discovery, then lists and watches until the definition
//! changes. With several namespaces there is one watch for each, and the first lists are told as one.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::{SelectAll, select_all};
use kleym_core::fact::Trouble;
use kleym_core::kind::Kind;
use kleym_core::name::{Namespace, ObjectName, Uid};
use kleym_core::relist::{Difference, Relist, Seen};
use kube::api::{ApiResource, DynamicObject};
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as watch_objects};
use kube::{Api, Client};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use super::definitions::Definition;
use super::item::value;
use super::{GoneKey, Item, News, served};

/// A watch that failed to open is taken for healthy again when no further failure comes for this long: longer than the
/// longest back-off of the library's watches, which say nothing when they succeed.
const HEALTHY_AFTER: Duration = Duration::from_secs(45);

/// The watch of one kind.
pub(super) struct Watch {
    /// Of what.
    pub kind: Kind,
    /// With which client.
    pub client: Client,
    /// In which namespaces; empty means everywhere.
    pub namespaces: Vec<Namespace>,
    /// What is known of its definition.
    pub definition: watch::Receiver<Definition>,
    /// Whom to tell.
    pub news: mpsc::Sender<News>,
}

/// The driver is gone: the process is ending.
struct Ending;

impl From<mpsc::error::SendError<News>> for Ending {
    fn from(_: mpsc::error::SendError<News>) -> Self {
        Ending
    }
}

impl Watch {
    /// Watches until the driver is gone.
    ///
    /// # Errors
    /// Never; whatever fails is told as trouble and tried again.
    pub(super) async fn run(mut self) -> anyhow::Result<()> {
        let _ = self.follow().await;
        Ok(())
    }

    async fn follow(&mut self) -> Result<(), Ending> {
        let mut definition = self.definition.clone();
        loop {
            let known = *definition.borrow_and_update();
            match known {
                Definition::Unknown => {}
                Definition::Absent => self.news.send(News::Absent(self.kind)).await?,
                Definition::Exists(_) | Definition::Unreadable(_) => {
                    let served = served::wait(self.client.clone(), self.kind, self.news.clone());
                    tokio::select! {
                        () = served => {}
                        changed = definition.changed() => {
                            changed.map_err(|_| Ending)?;
                            continue;
                        }
                    }
                    if self.objects(&mut definition).await? {
                        continue;
                    }
                }
            }
            definition.changed().await.map_err(|_| Ending)?;
        }
    }

    /// Lists and watches the objects until the definition is gone or has changed so that the kind must be asked for
    /// again; answers whether the definition was looked at already.
    async fn objects(&mut self, definition: &mut watch::Receiver<Definition>) -> Result<bool, Ending> {
        let mut streams = self.streams();
        let mut scopes = Scopes::new(self.kind, &self.namespaces);
        let mut troubled = false;
        let mut healthy_at: Option<Instant> = None;
        loop {
            let healthy = async {
                match healthy_at {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = definition.changed() => {
                    changed.map_err(|_| Ending)?;
                    let known = *definition.borrow_and_update();
                    match known {
                        // A new version of the definition that still serves the kind disturbs no watch; one that does
                        // not ends them by itself.
                        Definition::Exists(_) | Definition::Unreadable(_) | Definition::Unknown => {}
                        Definition::Absent => {
                            self.news.send(News::Absent(self.kind)).await?;
                            return Ok(false);
                        }
                    }
                }
                () = healthy => {
                    healthy_at = None;
                    troubled = false;
                    self.news.send(News::Trouble(self.kind, None)).await?;
                }
                event = streams.next() => match event {
                    None => return Ok(false),
                    Some((scope, Ok(event))) => {
                        if troubled && !matches!(event, Event::Init | Event::InitApply(_)) {
                            troubled = false;
                            healthy_at = None;
                            self.news.send(News::Trouble(self.kind, None)).await?;
                        }
                        if let Some(news) = scopes.apply(&scope, event) {
                            self.news.send(news).await?;
                        }
                    }
                    Some((_, Err(error))) => {
                        tracing::warn!(kind = %self.kind, %error, "a watch fails; it is opened again");
                        if let Some(trouble) = trouble_of(&error) {
                            troubled = true;
                            healthy_at = matches!(error, watcher::Error::WatchStartFailed(_))
                                .then(|| Instant::now() + HEALTHY_AFTER);
                            self.news.send(News::Trouble(self.kind, Some(trouble))).await?;
                        }
                    }
                },
            }
        }
    }

    fn streams(&self) -> SelectAll<futures::stream::BoxStream<'static, Report>> {
        let kind = self.kind;
        let resource = ApiResource {
            group: kind.group().to_owned(),
            version: kind.version().to_owned(),
            api_version: kind.api_version(),
            kind: kind.kind().to_owned(),
            plural: kind.plural().to_owned(),
        };
        let watch = |scope: Option<Namespace>| {
            let api: Api<DynamicObject> = match &scope {
                Some(namespace) => Api::namespaced_with(self.client.clone(), namespace.as_str(), &resource),
                None => Api::all_with(self.client.clone(), &resource),
            };
            let events = watch_objects(api, watcher::Config::default()).default_backoff();
            events.map(move |event| (scope.clone(), event)).boxed()
        };
        if self.namespaces.is_empty() {
            select_all([watch(None)])
        } else {
            select_all(self.namespaces.iter().cloned().map(|namespace| watch(Some(namespace))))
        }
    }
}

/// What one stream says, with the namespace it watches.
type Report = (Option<Namespace>, watcher::Result<Event<DynamicObject>>);

/// What an error says of a kind. A broken connection or an expired resourceVersion says nothing: the library opens the
/// watch again.
pub(super) fn trouble_of(error: &watcher::Error) -> Option<Trouble> {
    let (watcher::Error::InitialListFailed(error) | watcher::Error::WatchStartFailed(error)) = error else {
        return None;
    };
    Some(match error {
        kube::Error::Api(status) if matches!(status.code, 401 | 403) => Trouble::Forbidden,
        kube::Error::Api(status) if status.code == 404 => Trouble::NotServed,
        _ => Trouble::Failing,
    })
}

/// The lists of one kind, one for each scope.
struct Scopes {
    kind: Kind,
    relists: BTreeMap<Option<Namespace>, Relist<Item>>,
    /// First lists, kept until every scope has one; `None` when that is done.
    first: Option<BTreeMap<Option<Namespace>, Vec<Item>>>,
}

impl Scopes {
    fn new(kind: Kind, namespaces: &[Namespace]) -> Self {
        let scopes: Vec<Option<Namespace>> =
            if namespaces.is_empty() { vec![None] } else { namespaces.iter().cloned().map(Some).collect() };
        let relists = scopes.into_iter().map(|scope| (scope, Relist::new())).collect();
        Self { kind, relists, first: Some(BTreeMap::new()) }
    }

    fn apply(&mut self, scope: &Option<Namespace>, event: Event<DynamicObject>) -> Option<News> {
        let seen = match event {
            Event::Init => Seen::ListBegins,
            Event::InitApply(object) => Seen::ListItem(self.decode(object)?),
            Event::InitDone => Seen::ListEnds,
            Event::Apply(object) => Seen::Put(self.decode(object)?),
            Event::Delete(object) => Seen::Gone(gone(&object)?),
        };
        let difference = self.relists.get_mut(scope)?.apply(seen)?;
        let Some(first) = &mut self.first else {
            return Some(News::Objects(self.kind, scope.clone(), difference));
        };
        match difference {
            Difference::Listed(items) => {
                first.insert(scope.clone(), items);
            }
            // An object that changes before the other scopes are listed belongs to its scope's list.
            Difference::Put(item) => first.entry(scope.clone()).or_default().push(item),
            Difference::Gone(key) => {
                first.entry(scope.clone()).or_default().retain(|item| item.name() != &key.name);
            }
        }
        if first.len() < self.relists.len() {
            return None;
        }
        let items = self.first.take()?.into_values().flatten().collect();
        Some(News::Objects(self.kind, None, Difference::Listed(items)))
    }

    fn decode(&self, object: DynamicObject) -> Option<Item> {
        let object = value(object);
        match Item::decode(self.kind, &object) {
            Ok(item) => Some(item),
            Err(error) => {
                tracing::error!(kind = %self.kind, %error, "an object from the API server has no usable identity");
                None
            }
        }
    }
}

fn gone(object: &DynamicObject) -> Option<GoneKey> {
    Some(GoneKey {
        namespace: object
            .metadata
            .namespace
            .as_deref()
            .and_then(|namespace| Namespace::parse(namespace).ok()),
        name: ObjectName::parse(object.metadata.name.as_deref()?).ok()?,
        uid: object.metadata.uid.as_deref().and_then(|uid| Uid::parse(uid).ok()),
    })
}
