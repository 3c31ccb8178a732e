//! An API server in memory, as far as the operator meets one: objects with uid, resourceVersion and generation, writes
//! with their preconditions, finalizers, a status subresource, namespaces and definitions that come and go, pages of
//! lists, and one log of events for each kind. What happens in it happens at once; who sees it when is not its business.
//!
//! `agreement` holds it against a real API server.

mod hands;
mod reads;
mod refused;
mod store;
mod verbs;

pub(crate) use refused::Refused;
pub(crate) use verbs::{INPUTS, Response};

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kleym_core::kind::Kind;
use kleym_core::render::Identity;
use serde_json::{Map, Value, json};

/// The time of day at which every simulation begins, in seconds since 1970.
const DAWN: i64 = 1_790_000_000;

/// Where an object is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    /// Of which kind.
    pub(crate) kind: Kind,
    /// Empty for cluster-scoped kinds.
    pub(crate) namespace: String,
    /// Its name.
    pub(crate) name: String,
}

impl Place {
    /// Puts the three together.
    pub(crate) fn new(kind: Kind, namespace: &str, name: &str) -> Self {
        let namespace = if kind.namespaced() { namespace.to_owned() } else { String::new() };
        Self { kind, namespace, name: name.to_owned() }
    }

    /// A ClusterSPIFFEID.
    pub(crate) fn output(name: &str) -> Self {
        Self::new(Kind::Output, "", name)
    }
}

/// Who wrote the last version of an object, its status and finalizers aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Writer {
    /// A person, or another program.
    Hand,
    /// An operator, before it gave the request up and before another one started.
    Operator,
    /// A request that landed later than that.
    Late,
}

/// An object as it stands.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    /// All of it.
    pub(crate) value: Rc<Value>,
    /// `metadata.uid`
    pub(crate) uid: String,
    /// `metadata.resourceVersion`
    pub(crate) version: u64,
    /// `metadata.deletionTimestamp` is there.
    pub(crate) deleting: bool,
    /// Something that its definition adds by default is shown, and was never written: the next write writes it, even one
    /// that changes nothing.
    pub(crate) defaulted: bool,
    /// Who wrote it.
    pub(crate) writer: Writer,
    /// An earlier version, or this one, was written by an operator.
    pub(crate) by_operator: bool,
    /// The identity that an operator last wrote into it.
    pub(crate) identity: Option<Arc<Identity>>,
}

impl Stored {
    /// `metadata.finalizers`
    pub(crate) fn finalizers(&self) -> impl Iterator<Item = &str> {
        finalizers(&self.value)
    }
}

/// `metadata.finalizers`
pub(crate) fn finalizers(object: &Value) -> impl Iterator<Item = &str> {
    let list = object.pointer("/metadata/finalizers").and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_str)
}

/// One event of a kind.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    /// The version of the server that it made.
    pub(crate) version: u64,
    /// The object was not there before.
    pub(crate) created: bool,
    /// The object is gone; the value is its last state.
    pub(crate) gone: bool,
    /// The object.
    pub(crate) value: Rc<Value>,
}

/// A CustomResourceDefinition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Definition {
    /// Its objects can be read and written.
    Served,
    /// It is being deleted and waits for its objects to go.
    Terminating,
    /// It is not there.
    Absent,
}

/// Everything of one kind.
#[derive(Debug)]
pub(crate) struct Shelf {
    /// Its definition.
    pub(crate) definition: Definition,
    /// The version of the server each time that the definition went away.
    pub(crate) ends: Vec<u64>,
    /// How often the definition changed.
    pub(crate) changes: u64,
    /// Our version is not served, although the definition is there.
    pub(crate) unserved: bool,
    /// What happened to its objects.
    pub(crate) log: Vec<Event>,
    /// What happened up to this version is told to nobody any more.
    pub(crate) forgotten: u64,
}

/// A namespace that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Namespace {
    /// Objects can be created in it.
    Active,
    /// It is being deleted and waits for its objects to go.
    Terminating,
}

/// The server.
#[derive(Debug)]
pub(crate) struct Server {
    objects: BTreeMap<Place, Stored>,
    shelves: BTreeMap<Kind, Shelf>,
    namespaces: BTreeMap<String, Namespace>,
    version: u64,
    uids: u64,
    /// How long the simulation has run.
    pub(crate) now: Duration,
}

impl Server {
    /// A server that serves every kind, with these namespaces and nothing in them.
    pub(crate) fn new(namespaces: &[&str]) -> Self {
        let shelf = || Shelf {
            definition: Definition::Served,
            ends: Vec::new(),
            changes: 0,
            unserved: false,
            log: Vec::new(),
            forgotten: 0,
        };
        let shelves = Kind::ALL.into_iter().map(|kind| (kind, shelf())).collect();
        let active = |name: &&str| ((*name).to_owned(), Namespace::Active);
        let namespaces = namespaces.iter().map(active).collect();
        Self { objects: BTreeMap::new(), shelves, namespaces, version: 100, uids: 0, now: Duration::ZERO }
    }

    /// The time of day.
    pub(crate) fn wall(&self) -> Timestamp {
        let since = i64::try_from(self.now.as_millis()).unwrap();
        Timestamp::from_millisecond(DAWN * 1000 + since).unwrap()
    }

    fn second(&self) -> String {
        Timestamp::from_second(self.wall().as_second()).unwrap().to_string()
    }

    /// Everything of a kind but its objects.
    pub(crate) fn shelf(&self, kind: Kind) -> &Shelf {
        &self.shelves[&kind]
    }

    /// Notes the identity that an operator wrote into an object.
    pub(crate) fn note_identity(&mut self, place: &Place, identity: Arc<Identity>) {
        if let Some(stored) = self.objects.get_mut(place) {
            stored.identity = Some(identity);
        }
    }

    /// Whether requests for a kind reach it.
    pub(crate) fn serves(&self, kind: Kind) -> bool {
        let shelf = self.shelf(kind);
        shelf.definition != Definition::Absent && !shelf.unserved
    }

    /// Makes a version of a kind served or not.
    pub(crate) fn set_unserved(&mut self, kind: Kind, unserved: bool) {
        self.shelves.get_mut(&kind).unwrap().unserved = unserved;
    }

    /// An object.
    pub(crate) fn get(&self, place: &Place) -> Option<&Stored> {
        self.objects.get(place)
    }

    /// The objects of a kind.
    pub(crate) fn of_kind(&self, kind: Kind) -> impl Iterator<Item = (&Place, &Stored)> {
        self.objects
            .range(Place { kind, namespace: String::new(), name: String::new() }..)
            .take_while(move |(place, _)| place.kind == kind)
    }

    /// Deletes a definition, and with it its objects; it goes when the last of them is gone.
    pub(crate) fn remove_definition(&mut self, kind: Kind) {
        if self.shelf(kind).definition != Definition::Served {
            return;
        }
        let shelf = self.shelves.get_mut(&kind).unwrap();
        shelf.definition = Definition::Terminating;
        shelf.changes += 1;
        let all: Vec<Place> = self.of_kind(kind).map(|(place, _)| place.clone()).collect();
        for place in all {
            self.delete_by_hand(&place);
        }
        self.finish_definition(kind);
    }

    /// Changes a definition in a way that does not concern its objects.
    pub(crate) fn redefine(&mut self, kind: Kind) {
        let shelf = self.shelves.get_mut(&kind).unwrap();
        if shelf.definition == Definition::Served {
            shelf.changes += 1;
        }
    }

    /// Puts a definition back; one that is still being deleted goes on going.
    pub(crate) fn restore_definition(&mut self, kind: Kind) {
        let shelf = self.shelves.get_mut(&kind).unwrap();
        if shelf.definition == Definition::Absent {
            shelf.definition = Definition::Served;
            shelf.changes += 1;
        }
    }

    fn finish_definition(&mut self, kind: Kind) {
        if self.shelf(kind).definition == Definition::Terminating && self.of_kind(kind).next().is_none() {
            let shelf = self.shelves.get_mut(&kind).unwrap();
            shelf.definition = Definition::Absent;
            shelf.ends.push(self.version);
            shelf.changes += 1;
        }
    }

    /// What there is of a namespace.
    pub(crate) fn namespace(&self, name: &str) -> Option<Namespace> {
        self.namespaces.get(name).copied()
    }

    /// Creates a namespace; one that is still being deleted goes on going.
    pub(crate) fn create_namespace(&mut self, name: &str) {
        self.namespaces.entry(name.to_owned()).or_insert(Namespace::Active);
    }

    /// Deletes a namespace, and with it everything in it; it goes when the last object is gone.
    pub(crate) fn remove_namespace(&mut self, name: &str) {
        let Some(phase) = self.namespaces.get_mut(name) else { return };
        *phase = Namespace::Terminating;
        let inside: Vec<Place> =
            self.objects.keys().filter(|place| place.namespace == name).cloned().collect();
        for place in inside {
            self.delete_by_hand(&place);
        }
        self.finish_namespace(name);
    }

    fn finish_namespace(&mut self, name: &str) {
        if self.namespaces.get(name) == Some(&Namespace::Terminating)
            && !self.objects.keys().any(|place| place.namespace == name)
        {
            self.namespaces.remove(name);
        }
    }
}

fn is_deleting(object: &Value) -> bool {
    object["metadata"].get("deletionTimestamp").is_some()
}

/// A field of an object, as an object that can be changed; made when it is missing.
pub(crate) fn fields<'a>(object: &'a mut Value, field: &str) -> &'a mut Map<String, Value> {
    let place = &mut object[field];
    if !place.is_object() {
        *place = json!({});
    }
    place.as_object_mut().unwrap()
}
