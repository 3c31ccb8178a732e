//! The watch of one kind: waits for its definition, then for discovery, then lists and watches until the definition
//! is gone. With several namespaces there is one watch for each, and none waits for another: a namespace that cannot be read,
//! or is gone with the rights to it, costs the others nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kleym_core::kind::Kind;
use kleym_core::name::{Namespace, ObjectName, Uid};
use kleym_core::relist::{Relist, Seen};
use kleym_core::settings::Settings;
use kube::Client;
use serde_json::Value;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::definitions::Definition;
use super::stream::{self, Collection, Report};
use super::{GoneKey, Item, News, definitions, served, went_back};
use crate::horizon::Horizon;

/// The watch of one kind.
pub(super) struct Watch {
    /// Of what.
    pub(super) kind: Kind,
    /// With which client.
    pub(super) client: Client,
    /// How outputs are written.
    pub(super) settings: Arc<Settings>,
    /// In which namespaces; empty means everywhere.
    pub(super) namespaces: Vec<Namespace>,
    /// What is known of its definition.
    pub(super) definition: watch::Receiver<Definition>,
    /// How far the kind was seen to be.
    pub(super) horizon: Horizon,
    /// Whenever this number grows, it is listed again.
    pub(super) anew: Option<watch::Receiver<u64>>,
    /// Whom to tell.
    pub(super) news: mpsc::Sender<News>,
}

/// Why a watch ends.
enum End {
    /// The process is ending: nobody listens, or nobody tells.
    Process,
    /// What was seen holds no more.
    WentBack,
}

impl<T> From<mpsc::error::SendError<T>> for End {
    fn from(_: mpsc::error::SendError<T>) -> Self {
        End::Process
    }
}

impl From<watch::error::RecvError> for End {
    fn from(_: watch::error::RecvError) -> Self {
        End::Process
    }
}

/// A namespace, or none for everywhere.
type Scope = Option<Namespace>;

impl Watch {
    /// Watches until the process ends.
    ///
    /// # Errors
    /// When the store was restored from an older snapshot; whatever else fails is told as trouble and tried again.
    pub(super) async fn run(mut self) -> anyhow::Result<()> {
        if let Err(End::WentBack) = self.follow().await {
            anyhow::bail!(went_back(&self.kind.crd_name()));
        }
        if self.news.is_closed() {
            // Why nobody listens any more is for who listened to say.
            std::future::pending::<()>().await;
        }
        Ok(())
    }

    async fn follow(&mut self) -> Result<(), End> {
        let mut definition = self.definition.clone();
        loop {
            let known = *definition.borrow_and_update();
            match known {
                Definition::Unknown => definition.changed().await?,
                Definition::Absent => {
                    self.news.send(News::Absent(self.kind)).await?;
                    self.while_absent(&mut definition).await?;
                }
                Definition::Exists(_) | Definition::Unreadable(_) => {
                    let served = served::wait(self.client.clone(), self.kind, self.news.clone());
                    tokio::select! {
                        () = served => self.objects(&mut definition).await?,
                        changed = definition.changed() => changed?,
                    }
                }
            }
        }
    }

    /// Waits until the definition changes. That it is absent is proved again when a list is asked for.
    async fn while_absent(&mut self, definition: &mut watch::Receiver<Definition>) -> Result<(), End> {
        loop {
            tokio::select! {
                changed = definition.changed() => return Ok(changed?),
                asked = stream::asked(&mut self.anew) => {
                    if matches!(definitions::is_absent(&self.client, self.kind).await, Ok(true)) {
                        self.news.send(News::Anew(asked)).await?;
                    }
                }
            }
        }
    }

    /// Lists and watches the objects until the definition is gone.
    async fn objects(&self, definition: &mut watch::Receiver<Definition>) -> Result<(), End> {
        let (reports, mut received) = mpsc::channel(64);
        // Ends with this function.
        let mut streams = JoinSet::new();
        for scope in self.scopes() {
            streams.spawn(Self::tagged(self.client.clone(), self.collection(&scope), scope, reports.clone()));
        }
        drop(reports);
        let mut lists = Lists::new(self.kind, Arc::clone(&self.settings), self.scopes());
        let mut troubled: BTreeSet<Scope> = BTreeSet::new();
        loop {
            tokio::select! {
                changed = definition.changed() => {
                    changed?;
                    // A new version of the definition that still serves the kind disturbs no watch; one that does not
                    // makes them fail.
                    let known = *definition.borrow();
                    if known == Definition::Absent {
                        definition.mark_changed();
                        return Ok(());
                    }
                    self.news.send(News::Redefined(self.kind)).await?;
                }
                report = received.recv() => {
                    let Some((scope, report)) = report else { return Err(End::Process) };
                    match report {
                        Report::Failed(trouble) => {
                            troubled.insert(scope.clone());
                            self.news.send(News::Trouble(self.kind, scope, Some(trouble))).await?;
                        }
                        Report::Open => {
                            if troubled.remove(&scope) {
                                self.news.send(News::Trouble(self.kind, scope, None)).await?;
                            }
                        }
                        Report::Anew(asked) => self.news.send(News::Anew(asked)).await?,
                        Report::WentBack => return Err(End::WentBack),
                        report => {
                            if let Some(news) = lists.apply(&scope, report) {
                                self.news.send(news).await?;
                            }
                        }
                    }
                }
            }
        }
    }

    fn scopes(&self) -> BTreeSet<Scope> {
        if self.namespaces.is_empty() {
            BTreeSet::from([None])
        } else {
            self.namespaces.iter().cloned().map(Some).collect()
        }
    }

    fn collection(&self, scope: &Scope) -> Collection {
        let (group, version, plural) = (self.kind.group(), self.kind.version(), self.kind.plural());
        let path = match scope {
            Some(namespace) => format!("/apis/{group}/{version}/namespaces/{namespace}/{plural}"),
            None => format!("/apis/{group}/{version}/{plural}"),
        };
        Collection {
            path,
            list_kind: format!("{}List", self.kind.kind()),
            metadata_only: false,
            horizon: self.horizon.clone(),
            anew: self.anew.clone(),
        }
    }

    /// One stream, each report with its scope.
    async fn tagged(
        client: Client,
        collection: Collection,
        scope: Scope,
        reports: mpsc::Sender<(Scope, Report)>,
    ) {
        let (inner, mut received) = mpsc::channel(16);
        let forward = async {
            while let Some(report) = received.recv().await {
                if reports.send((scope.clone(), report)).await.is_err() {
                    return;
                }
            }
        };
        tokio::join!(stream::follow(client, collection, inner), forward);
    }
}

/// The lists of one kind, one for each scope.
struct Lists {
    kind: Kind,
    settings: Arc<Settings>,
    relists: BTreeMap<Scope, Relist<Item>>,
}

impl Lists {
    fn new(kind: Kind, settings: Arc<Settings>, scopes: BTreeSet<Scope>) -> Self {
        let relists = scopes.into_iter().map(|scope| (scope, Relist::new())).collect();
        Self { kind, settings, relists }
    }

    fn apply(&mut self, scope: &Scope, report: Report) -> Option<News> {
        let seen = match report {
            Report::ListBegins => Seen::ListBegins,
            Report::ListItem(object) => Seen::ListItem(self.decode(&object)?),
            Report::ListEnds => Seen::ListEnds,
            Report::Put(object) => Seen::Put(self.decode(&object)?),
            Report::Gone(object) => Seen::Gone(gone(&object)?),
            Report::Anew(_) | Report::Open | Report::Failed(_) | Report::WentBack => return None,
        };
        let difference = self.relists.get_mut(scope)?.apply(seen)?;
        Some(News::Objects(self.kind, scope.clone(), difference))
    }

    fn decode(&self, object: &Value) -> Option<Item> {
        match Item::decode(self.kind, object, &self.settings) {
            Ok(item) => Some(item),
            Err(error) => {
                tracing::error!(kind = %self.kind, %error, "an object from the API server has no usable identity");
                None
            }
        }
    }
}

fn gone(object: &Value) -> Option<GoneKey> {
    let text = |field: &str| object.pointer(field).and_then(Value::as_str);
    Some(GoneKey {
        namespace: text("/metadata/namespace").and_then(|namespace| Namespace::parse(namespace).ok()),
        name: ObjectName::parse(text("/metadata/name")?).ok()?,
        uid: text("/metadata/uid").and_then(|uid| Uid::parse(uid).ok()),
    })
}

#[cfg(test)]
mod tests {
    use kleym_core::name::Instance;
    use kleym_core::relist::Difference;
    use kleym_core::spiffe::{PathGrants, TrustDomain};
    use serde_json::json;

    use super::*;

    fn pool(namespace: &str, name: &str) -> Value {
        json!({"metadata": {"namespace": namespace, "name": name}, "spec": {"selector": {"matchLabels": {"a": "b"}}}})
    }

    #[test]
    fn no_namespace_waits_for_the_first_list_of_another() {
        let scope = |name: &str| Some(Namespace::parse(name).unwrap());
        let (a, b) = (scope("a"), scope("b"));
        let kind = Kind::Pool(kleym_core::kind::PoolGroup::Inference);
        let settings = Settings {
            trust_domain: TrustDomain::parse("example.org").unwrap(),
            class_name: None,
            instance: Instance::parse("default").unwrap(),
            path_grants: PathGrants::default(),
        };
        let mut lists = Lists::new(kind, Arc::new(settings), BTreeSet::from([a.clone(), b.clone()]));
        assert!(lists.apply(&a, Report::ListBegins).is_none());
        assert!(lists.apply(&b, Report::ListBegins).is_none());
        assert!(lists.apply(&a, Report::ListItem(pool("a", "x"))).is_none());
        let Some(News::Objects(_, told, Difference::Listed(items))) = lists.apply(&a, Report::ListEnds)
        else {
            panic!("a list of one namespace is told when it is complete");
        };
        assert_eq!((told, items.len()), (a.clone(), 1));
        let later = lists.apply(&a, Report::Put(pool("a", "z")));
        assert!(matches!(later, Some(News::Objects(_, told, Difference::Put(_))) if told == a));
    }
}
