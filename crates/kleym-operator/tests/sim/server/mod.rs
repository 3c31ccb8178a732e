//! An API server in memory, as far as the operator meets one: objects with uid, resourceVersion and generation, writes
//! with their preconditions, finalizers, a status subresource, definitions that come and go, and one log of events for
//! each kind. What happens in it happens at once; who sees it when is not its business.

mod verbs;

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
    /// How long the log was each time that the definition went away.
    pub(crate) ends: Vec<usize>,
    /// How often the definition changed.
    pub(crate) changes: u64,
    /// Our version is not served, although the definition is there.
    pub(crate) unserved: bool,
    /// What happened to its objects.
    pub(crate) log: Vec<Event>,
}

/// The server.
#[derive(Debug)]
pub(crate) struct Server {
    objects: BTreeMap<Place, Stored>,
    shelves: BTreeMap<Kind, Shelf>,
    version: u64,
    uids: u64,
    /// How long the simulation has run.
    pub(crate) now: Duration,
}

impl Server {
    /// A server without objects that serves every kind.
    pub(crate) fn new() -> Self {
        let shelf = || Shelf {
            definition: Definition::Served,
            ends: Vec::new(),
            changes: 0,
            unserved: false,
            log: Vec::new(),
        };
        let shelves = Kind::ALL.into_iter().map(|kind| (kind, shelf())).collect();
        Self { objects: BTreeMap::new(), shelves, version: 100, uids: 0, now: Duration::ZERO }
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
            shelf.ends.push(shelf.log.len());
            shelf.changes += 1;
        }
    }

    /// Deletes an object as a person does. Answers whether it was there.
    pub(crate) fn delete_by_hand(&mut self, place: &Place) -> bool {
        let there = self.objects.contains_key(place);
        if there {
            self.delete(place);
        }
        there
    }

    /// Creates an object with this spec, or edits the one that is there, as a person does.
    pub(crate) fn put_by_hand(&mut self, place: &Place, spec: Value) {
        if self.objects.contains_key(place) {
            self.edit_by_hand(place, |object| object["spec"] = spec);
        } else if self.shelf(place.kind).definition == Definition::Served {
            let metadata = if place.kind.namespaced() {
                json!({"namespace": place.namespace, "name": place.name})
            } else {
                json!({"name": place.name})
            };
            self.insert(place, json!({"metadata": metadata, "spec": spec}), Writer::Hand);
        }
    }

    /// Creates an object as a person does, when there is none; the metadata's name and namespace are seen to.
    pub(crate) fn create_by_hand(&mut self, place: &Place, mut object: Value) {
        if !self.objects.contains_key(place) && self.shelf(place.kind).definition == Definition::Served {
            object["metadata"]["name"] = json!(place.name);
            self.insert(place, object, Writer::Hand);
        }
    }

    /// Changes an object as a person does. Answers whether it was there.
    pub(crate) fn edit_by_hand(&mut self, place: &Place, change: impl FnOnce(&mut Value)) -> bool {
        let Some(stored) = self.objects.get(place) else { return false };
        let mut value = Value::clone(&stored.value);
        change(&mut value);
        self.update(place, value, Some(Writer::Hand));
        true
    }

    /// Changes an object's status as another program does; who wrote the object stays.
    pub(crate) fn report(&mut self, place: &Place, status: Value) {
        let Some(stored) = self.objects.get(place) else { return };
        let mut value = Value::clone(&stored.value);
        value["status"] = status;
        self.update(place, value, None);
    }

    fn insert(&mut self, place: &Place, mut value: Value, writer: Writer) -> Rc<Value> {
        self.uids += 1;
        let uid = format!("00000000-0000-4000-8000-{:012x}", self.uids);
        let created = self.second();
        value["apiVersion"] = json!(place.kind.api_version());
        value["kind"] = json!(place.kind.kind());
        let metadata = value["metadata"].as_object_mut().unwrap();
        metadata.remove("resourceVersion");
        metadata.insert("uid".to_owned(), json!(uid));
        metadata.insert("generation".to_owned(), json!(1));
        metadata.insert("creationTimestamp".to_owned(), json!(created));
        if place.kind == Kind::Binding && value.get("status").is_none() {
            value["status"] = json!({"observedGeneration": -1});
        }
        self.store(place, uid, value, Some(writer))
    }

    /// Puts a changed object in its place: a new resourceVersion, a new generation when its spec changed, gone when it
    /// is being deleted and nothing holds it. An object that did not change stays as it is.
    fn update(&mut self, place: &Place, mut value: Value, writer: Option<Writer>) -> Rc<Value> {
        let old = &self.objects[place];
        if *old.value == value {
            return Rc::clone(&old.value);
        }
        let uid = old.uid.clone();
        if old.value.get("spec") != value.get("spec") || old.deleting != is_deleting(&value) {
            let generation = old.value["metadata"]["generation"].as_i64().unwrap() + 1;
            value["metadata"]["generation"] = json!(generation);
        }
        if is_deleting(&value) && finalizers(&value).next().is_none() {
            return self.remove(place, value);
        }
        self.store(place, uid, value, writer)
    }

    fn store(&mut self, place: &Place, uid: String, mut value: Value, writer: Option<Writer>) -> Rc<Value> {
        self.version += 1;
        let metadata = value["metadata"].as_object_mut().unwrap();
        metadata.insert("resourceVersion".to_owned(), json!(self.version.to_string()));
        let value = Rc::new(value);
        let old = self.objects.get(place).map(|old| (old.writer, old.by_operator, old.identity.clone()));
        let (known_writer, by_operator, identity) = old.unwrap_or((Writer::Hand, false, None));
        let writer = writer.unwrap_or(known_writer);
        let stored = Stored {
            uid,
            version: self.version,
            deleting: is_deleting(&value),
            by_operator: by_operator || writer != Writer::Hand,
            value: Rc::clone(&value),
            writer,
            identity,
        };
        self.objects.insert(place.clone(), stored);
        self.log(place.kind, Event { gone: false, value: Rc::clone(&value) });
        value
    }

    fn remove(&mut self, place: &Place, mut last: Value) -> Rc<Value> {
        self.objects.remove(place);
        self.version += 1;
        last["metadata"]["resourceVersion"] = json!(self.version.to_string());
        let value = Rc::new(last);
        self.log(place.kind, Event { gone: true, value: Rc::clone(&value) });
        self.finish_definition(place.kind);
        value
    }

    fn delete(&mut self, place: &Place) -> Rc<Value> {
        let stored = &self.objects[place];
        let mut value = Value::clone(&stored.value);
        if finalizers(&value).next().is_none() {
            return self.remove(place, value);
        }
        if !stored.deleting {
            let now = self.second();
            value["metadata"]["deletionTimestamp"] = json!(now);
        }
        // Who asks for a deletion writes nothing into the object.
        self.update(place, value, None)
    }

    fn log(&mut self, kind: Kind, event: Event) {
        self.shelves.get_mut(&kind).unwrap().log.push(event);
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
