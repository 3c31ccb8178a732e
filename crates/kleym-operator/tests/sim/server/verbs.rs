//! What a request does: the verbs that the operator uses, with their preconditions, and how they are refused.

use std::rc::Rc;

use kleym_core::kind::Kind;
use serde_json::{Value, json};

use super::{Definition, Namespace, Place, Refused, Server, Stored, Writer, finalizers};
use crate::wire::{Request, Verb};

/// The body of a 2xx answer, or why there is none.
pub(crate) type Response = Result<Rc<Value>, Refused>;

/// What the server says of an object, whatever a write says.
const OF_THE_SERVER: [&str; 5] =
    ["uid", "generation", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"];

impl Server {
    /// Answers a request.
    pub(crate) fn answer(&mut self, request: &Request, writer: Writer) -> Response {
        if !self.serves(request.kind) {
            return Err(Refused::Unserved);
        }
        let place = Place::new(request.kind, &request.namespace, &request.name);
        match request.verb {
            Verb::List => Ok(self.list(&place)),
            Verb::Page => self.page(request.kind, &request.namespace, &request.body),
            Verb::Get => self.get(&place).map(|stored| Rc::clone(&stored.value)).ok_or(Refused::NotFound),
            Verb::Create => self.create(&place, &request.body, writer, false),
            Verb::TryCreate => self.create(&place, &request.body, writer, true),
            Verb::Replace => self.replace(&place, request.body.clone(), writer),
            Verb::PatchFinalizers => self.patch_finalizers(&place, &request.body),
            Verb::ReplaceStatus => self.replace_status(&place, &request.body),
            Verb::Delete => self.delete_if(&place, &request.body),
        }
    }

    pub(super) fn create(&mut self, place: &Place, body: &Value, writer: Writer, dry: bool) -> Response {
        match self.shelf(place.kind).definition {
            Definition::Served => {}
            Definition::Terminating => return Err(Refused::Terminating),
            Definition::Absent => return Err(Refused::Unserved),
        }
        if place.kind.namespaced() {
            match self.namespaces.get(&place.namespace) {
                Some(Namespace::Active) => {}
                Some(Namespace::Terminating) => return Err(Refused::Terminating),
                None => return Err(Refused::NoNamespace),
            }
        }
        if self.objects.contains_key(place) {
            return Err(Refused::AlreadyExists);
        }
        if dry {
            return Ok(Rc::new(self.made(place, body.clone()).1));
        }
        Ok(self.insert(place, body.clone(), writer))
    }

    pub(super) fn replace(&mut self, place: &Place, mut value: Value, writer: Writer) -> Response {
        let stored = self.objects.get(place).ok_or(Refused::NotFound)?;
        bound(&value, &stored.uid, stored.version)?;
        if version_of(&value).is_empty() {
            return Err(Refused::Unbound);
        }
        may_hold(stored, &value)?;
        let old = &stored.value;
        let metadata = value["metadata"].as_object_mut().unwrap();
        for kept in OF_THE_SERVER {
            match old["metadata"].get(kept) {
                Some(kept_value) => drop(metadata.insert(kept.to_owned(), kept_value.clone())),
                None => drop(metadata.shift_remove(kept)),
            }
        }
        metadata.insert("resourceVersion".to_owned(), old["metadata"]["resourceVersion"].clone());
        match old.get("status") {
            Some(status) => value["status"] = status.clone(),
            None => drop(value.as_object_mut().unwrap().shift_remove("status")),
        }
        Ok(self.update(place, value, Some(writer)))
    }

    fn patch_finalizers(&mut self, place: &Place, body: &Value) -> Response {
        let stored = self.objects.get(place).ok_or(Refused::NotFound)?;
        // A patch that says another uid would change the uid, which nobody may.
        bound(body, &stored.uid, stored.version).map_err(|_| match version_of(body) {
            version if version.is_empty() || version == stored.version.to_string() => Refused::Invalid,
            _ => Refused::Conflict,
        })?;
        may_hold(stored, body)?;
        let mut value = Value::clone(&stored.value);
        let metadata = value["metadata"].as_object_mut().unwrap();
        metadata.insert("finalizers".to_owned(), body["metadata"]["finalizers"].clone());
        Ok(self.update(place, value, None))
    }

    fn replace_status(&mut self, place: &Place, body: &Value) -> Response {
        let stored = self.objects.get(place).ok_or(Refused::NotFound)?;
        bound(body, &stored.uid, stored.version)?;
        if version_of(body).is_empty() {
            return Err(Refused::Unbound);
        }
        let mut value = Value::clone(&stored.value);
        match body.get("status") {
            Some(status) => value["status"] = status.clone(),
            None => drop(value.as_object_mut().unwrap().shift_remove("status")),
        }
        Ok(self.update(place, value, None))
    }

    pub(super) fn delete_if(&mut self, place: &Place, options: &Value) -> Response {
        let stored = self.objects.get(place).ok_or(Refused::NotFound)?;
        let wanted = |field: &str| options.get("preconditions")?.get(field)?.as_str();
        if wanted("uid").is_some_and(|uid| uid != stored.uid)
            || wanted("resourceVersion").is_some_and(|version| version != stored.version.to_string())
        {
            return Err(Refused::Precondition);
        }
        let uid = stored.uid.clone();
        let last = self.delete(place);
        if self.objects.contains_key(place) {
            return Ok(last);
        }
        Ok(Rc::new(json!({
            "apiVersion": "v1",
            "kind": "Status",
            "status": "Success",
            "details": {
                "name": place.name,
                "group": place.kind.group(),
                "kind": place.kind.plural(),
                "uid": uid,
            },
        })))
    }
}

fn version_of(body: &Value) -> &str {
    body["metadata"].get("resourceVersion").and_then(Value::as_str).unwrap_or("")
}

/// Whether what a write is bound to is what stands there.
fn bound(body: &Value, uid: &str, version: u64) -> Result<(), Refused> {
    let bound_to = body["metadata"].get("uid").and_then(Value::as_str);
    if bound_to.is_some_and(|bound_to| bound_to != uid) {
        return Err(Refused::Conflict);
    }
    match version_of(body) {
        "" => Ok(()),
        bound_to if bound_to != version.to_string() => Err(Refused::Conflict),
        _ => Ok(()),
    }
}

/// Nobody puts a further finalizer on what is being deleted.
fn may_hold(stored: &Stored, body: &Value) -> Result<(), Refused> {
    let held = |finalizer: &str| stored.finalizers().any(|old| old == finalizer);
    if stored.deleting && finalizers(body).any(|new| !held(new)) {
        return Err(Refused::Invalid);
    }
    Ok(())
}

/// The kinds of the objects that people write.
pub(crate) const INPUTS: [Kind; 6] =
    [Kind::ALL[0], Kind::ALL[1], Kind::ALL[2], Kind::ALL[3], Kind::ALL[4], Kind::ALL[5]];
