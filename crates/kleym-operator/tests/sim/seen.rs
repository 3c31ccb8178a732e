//! What an operator has been told so far, kept apart from its own memory: the measure of what it may write.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use kleym_core::fact::{Availability, Change, Fact, FactKey};
use kleym_core::index::{Index, Verdict};
use kleym_core::kind::Kind;
use kleym_core::name::{BindingKey, Namespace, ObjectName, Uid};
use kleym_core::relation::Precedence;
use kleym_core::relist::Difference;
use kleym_core::render::Identity;
use kleym_core::settings::Settings;
use kleym_operator::feed::{GoneKey, Item, News, SeenBinding, binding};
use kleym_operator::perform::Answer;
use serde_json::Value;

use crate::feed::Report;

/// Everything that was told.
#[derive(Debug)]
pub(crate) struct Seen {
    index: Index,
    bindings: BTreeMap<BindingKey, (Uid, u64)>,
    /// Every identity that a binding has had, as far as was told.
    identities: BTreeMap<BindingKey, Vec<Arc<Identity>>>,
    /// By uid, the newest version that was told.
    versions: HashMap<String, u64>,
}

fn version(object: &Value) -> u64 {
    object["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap()
}

impl Seen {
    /// Nothing was told.
    pub(crate) fn new(settings: &Settings) -> Self {
        Self {
            index: Index::new(settings.clone()),
            bindings: BTreeMap::new(),
            identities: BTreeMap::new(),
            versions: HashMap::new(),
        }
    }

    /// What is to become of a binding, as far as was told.
    pub(crate) fn verdict(&self, key: &BindingKey) -> Verdict {
        self.index.verdict(key).verdict
    }

    /// Every identity that the other bindings of the namespace have had, as far as was told.
    pub(crate) fn neighbours(
        &self,
        of: &BindingKey,
    ) -> impl Iterator<Item = (&BindingKey, &[Arc<Identity>])> {
        let all = self.identities.iter().filter(move |(key, _)| key.namespace == of.namespace && *key != of);
        all.map(|(key, had)| (key, had.as_slice()))
    }

    /// The bindings of the namespace that come before this one and are to have an identity, as far as was told.
    pub(crate) fn older<'a>(
        &'a self,
        than: &'a BindingKey,
    ) -> impl Iterator<Item = (BindingKey, Arc<Identity>)> + 'a {
        let own = self.index.binding(than).map(Precedence::of);
        self.index
            .bindings()
            .filter(move |peer| peer.key.namespace == than.namespace && Some(Precedence::of(peer)) < own)
            .filter_map(|peer| match self.index.verdict(&peer.key).verdict {
                Verdict::Wanted(identity) => Some((peer.key.clone(), identity)),
                _ => None,
            })
    }

    fn apply(&mut self, change: Change) {
        for key in self.index.apply(change) {
            if let Some(identity) = self.index.identity(&key) {
                let had = self.identities.entry(key).or_default();
                if had.last() != Some(identity) {
                    had.push(Arc::clone(identity));
                }
            }
        }
    }

    /// The uid of a binding that was told of and not yet of its end.
    pub(crate) fn uid(&self, key: &BindingKey) -> Option<&Uid> {
        self.bindings.get(key).map(|(uid, _)| uid)
    }

    /// Whether this version of an object, or a later one, was told.
    pub(crate) fn has_seen(&self, uid: &str, version: u64) -> bool {
        self.versions.get(uid).is_some_and(|seen| *seen >= version)
    }

    /// Notes a report, and makes it news.
    pub(crate) fn told(&mut self, report: Report) -> News {
        match report {
            Report::Absent(kind) => {
                if kind == Kind::Binding {
                    self.bindings.clear();
                }
                self.apply(Change::Absent(kind));
                News::Absent(kind)
            }
            Report::Redefined(kind) => News::Redefined(kind),
            Report::Anew(asked) => News::Anew(asked),
            Report::Trouble(kind, trouble) => {
                self.apply(Change::Trouble(kind, trouble));
                News::Trouble(kind, None, trouble)
            }
            Report::Listed(kind, namespace, values) => {
                let items: Vec<Item> = values
                    .iter()
                    .map(|value| {
                        self.saw_version(value);
                        Item::decode(kind, value, self.index.settings()).unwrap()
                    })
                    .collect();
                self.listed(kind, namespace.as_ref(), &items);
                News::Objects(kind, namespace, Difference::Listed(items))
            }
            Report::Put(kind, value) => {
                self.saw_version(&value);
                let item = Item::decode(kind, &value, self.index.settings()).unwrap();
                match &item {
                    Item::Binding(seen) => self.saw_binding(seen),
                    Item::Input(fact) => self.apply(Change::Put(fact.clone())),
                    Item::Output(_) => {}
                }
                News::Objects(kind, None, Difference::Put(item))
            }
            Report::Gone(kind, value) => {
                self.saw_version(&value);
                let gone = gone_key(&value);
                if let Some(key) = gone.fact_key(kind) {
                    self.gone(key, gone.uid.as_ref());
                }
                News::Objects(kind, None, Difference::Gone(gone))
            }
        }
    }

    /// Notes what an answer showed.
    pub(crate) fn answered(&mut self, answer: &Answer) {
        for (kind, object) in &answer.objects {
            self.saw_version(object);
            if *kind == Kind::Binding
                && let Ok(seen) = binding(object)
                && self.bindings.contains_key(&seen.fact.key)
            {
                self.saw_binding(&seen);
            }
        }
    }

    fn saw_version(&mut self, object: &Value) {
        let uid = object["metadata"]["uid"].as_str().unwrap();
        let version = version(object);
        match self.versions.get_mut(uid) {
            Some(seen) => *seen = version.max(*seen),
            None => drop(self.versions.insert(uid.to_owned(), version)),
        }
    }

    fn saw_binding(&mut self, seen: &SeenBinding) {
        let version: u64 = seen.live.resource_version.parse().unwrap();
        let uid = seen.live.uid.clone();
        match self.bindings.get(&seen.fact.key) {
            // The answer that lets a binding go shows it with the version before.
            Some((known, newer)) if *newer > version || (*newer == version && *known == uid) => {}
            _ => {
                self.bindings.insert(seen.fact.key.clone(), (uid, version));
                self.apply(Change::Put(Fact::Binding(seen.fact.clone())));
            }
        }
    }

    fn gone(&mut self, key: FactKey, uid: Option<&Uid>) {
        if key.kind == Kind::Binding {
            let binding = BindingKey::new(key.namespace.clone(), key.name.clone());
            if self.bindings.get(&binding).is_none_or(|(known, _)| Some(known) != uid) {
                return;
            }
            self.bindings.remove(&binding);
        }
        self.apply(Change::Gone(key));
    }

    fn listed(&mut self, kind: Kind, namespace: Option<&Namespace>, items: &[Item]) {
        if kind != Kind::Binding {
            let facts = items.iter().filter_map(|item| match item {
                Item::Input(fact) => Some(fact.clone()),
                Item::Binding(_) | Item::Output(_) => None,
            });
            let facts = facts.collect();
            self.apply(match namespace {
                Some(namespace) => Change::ListedIn(kind, namespace.clone(), facts),
                None => Change::Listed(kind, facts),
            });
            return;
        }
        // One by one, so that a list that is older than an answer takes nothing back.
        let listed: Vec<&SeenBinding> = items
            .iter()
            .filter_map(|item| match item {
                Item::Binding(seen) => Some(&**seen),
                Item::Input(_) | Item::Output(_) => None,
            })
            .collect();
        let vanished: Vec<BindingKey> = self
            .bindings
            .keys()
            .filter(|key| namespace.is_none_or(|only| *only == key.namespace))
            .filter(|key| !listed.iter().any(|seen| seen.fact.key == **key))
            .cloned()
            .collect();
        for key in vanished {
            self.bindings.remove(&key);
            let fact = FactKey { kind, namespace: key.namespace, name: key.name };
            self.apply(Change::Gone(fact));
        }
        for seen in listed {
            self.saw_binding(seen);
        }
        if namespace.is_none() && self.index.availability(kind) != Availability::LISTED {
            let all: Vec<Fact> =
                self.index.bindings().map(|binding| Fact::Binding(Box::new(binding.clone()))).collect();
            self.apply(Change::Listed(kind, all));
        }
    }
}

fn gone_key(object: &Value) -> GoneKey {
    let text = |field: &str| object["metadata"][field].as_str();
    GoneKey {
        namespace: text("namespace").map(|namespace| Namespace::parse(namespace).unwrap()),
        name: ObjectName::parse(text("name").unwrap()).unwrap(),
        uid: text("uid").map(|uid| Uid::parse(uid).unwrap()),
    }
}
