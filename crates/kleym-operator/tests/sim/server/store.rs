//! What every write does to the object that it changes: versions, generations, and the log of its kind.

use std::rc::Rc;

use kleym_core::kind::Kind;
use serde_json::{Map, Value, json};

use super::{Event, Place, Server, Stored, Writer, finalizers, is_deleting};

impl Server {
    /// Puts a new object in its place.
    pub(super) fn insert(&mut self, place: &Place, value: Value, writer: Writer) -> Rc<Value> {
        let (uid, value) = self.made(place, value);
        self.store(place, uid, value, Some(writer))
    }

    /// A new object as it is stored, and its uid.
    pub(super) fn made(&mut self, place: &Place, mut value: Value) -> (String, Value) {
        self.uids += 1;
        let uid = format!("00000000-0000-4000-8000-{:012x}", self.uids);
        let created = self.second();
        value["apiVersion"] = json!(place.kind.api_version());
        value["kind"] = json!(place.kind.kind());
        let metadata = value["metadata"].as_object_mut().unwrap();
        for of_the_server in ["resourceVersion", "deletionTimestamp", "deletionGracePeriodSeconds"] {
            metadata.shift_remove(of_the_server);
        }
        metadata.insert("uid".to_owned(), json!(uid));
        metadata.insert("generation".to_owned(), json!(1));
        metadata.insert("creationTimestamp".to_owned(), json!(created));
        drop_empty(metadata);
        // A status is written by itself; only its default is there from the beginning.
        value.as_object_mut().unwrap().shift_remove("status");
        with_default(place.kind, &mut value);
        (uid, value)
    }

    /// Puts a changed object in its place: a new resourceVersion, a new generation when its spec changed, gone when it
    /// is being deleted and nothing holds it. An object that did not change stays as it is.
    pub(super) fn update(&mut self, place: &Place, mut value: Value, writer: Option<Writer>) -> Rc<Value> {
        drop_empty(value["metadata"].as_object_mut().unwrap());
        with_default(place.kind, &mut value);
        let old = &self.objects[place];
        if *old.value == value && !old.defaulted {
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

    /// Gives an object that stays as it is a new version.
    pub(crate) fn restamp(&mut self, place: &Place) -> Rc<Value> {
        let stored = &self.objects[place];
        let (uid, value) = (stored.uid.clone(), Value::clone(&stored.value));
        self.store(place, uid, value, None)
    }

    fn store(&mut self, place: &Place, uid: String, mut value: Value, writer: Option<Writer>) -> Rc<Value> {
        self.version += 1;
        let metadata = value["metadata"].as_object_mut().unwrap();
        metadata.insert("resourceVersion".to_owned(), json!(self.version.to_string()));
        let value = Rc::new(value);
        let old = self.objects.get(place).map(|old| (old.writer, old.by_operator, old.identity.clone()));
        let created = old.is_none();
        let (known_writer, by_operator, identity) = old.unwrap_or((Writer::Hand, false, None));
        let writer = writer.unwrap_or(known_writer);
        let stored = Stored {
            uid,
            version: self.version,
            deleting: is_deleting(&value),
            defaulted: created && place.kind == Kind::Binding,
            by_operator: by_operator || writer != Writer::Hand,
            value: Rc::clone(&value),
            writer,
            identity,
        };
        self.objects.insert(place.clone(), stored);
        self.log(place.kind, Event { version: self.version, created, gone: false, value: Rc::clone(&value) });
        value
    }

    /// Takes an object away. The event shows it as it was last stored, but for a version of its own; the answer shows what
    /// was written, with the version before.
    fn remove(&mut self, place: &Place, last: Value) -> Rc<Value> {
        let stored = self.objects.remove(place).expect("what is removed is there");
        self.version += 1;
        let mut told = Value::clone(&stored.value);
        told["metadata"]["resourceVersion"] = json!(self.version.to_string());
        let event = Event { version: self.version, created: false, gone: true, value: Rc::new(told) };
        self.log(place.kind, event);
        self.finish_definition(place.kind);
        self.finish_namespace(&place.namespace);
        Rc::new(last)
    }

    /// Deletes an object, or marks it as being deleted when something holds it.
    pub(super) fn delete(&mut self, place: &Place) -> Rc<Value> {
        let stored = &self.objects[place];
        let mut value = Value::clone(&stored.value);
        if finalizers(&value).next().is_none() {
            return self.remove(place, value);
        }
        if !stored.deleting {
            let now = self.second();
            value["metadata"]["deletionTimestamp"] = json!(now);
            value["metadata"]["deletionGracePeriodSeconds"] = json!(0);
        }
        // Who asks for a deletion writes nothing into the object.
        self.update(place, value, None)
    }

    fn log(&mut self, kind: Kind, event: Event) {
        self.shelves.get_mut(&kind).unwrap().log.push(event);
    }
}

/// What is empty is not stored.
fn drop_empty(metadata: &mut Map<String, Value>) {
    for field in ["finalizers", "labels", "annotations"] {
        let empty = match metadata.get(field) {
            Some(Value::Array(list)) => list.is_empty(),
            Some(Value::Object(map)) => map.is_empty(),
            Some(other) => other.is_null(),
            None => false,
        };
        if empty {
            metadata.shift_remove(field);
        }
    }
}

/// A binding without a status gets the one that its definition gives.
fn with_default(kind: Kind, value: &mut Value) {
    if kind == Kind::Binding && value.get("status").is_none() {
        value["status"] = json!({"observedGeneration": -1});
    }
}
