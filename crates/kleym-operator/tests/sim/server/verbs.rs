//! What a request does: the verbs that the operator uses, with their preconditions, and the codes of their refusals.

use std::rc::Rc;

use kleym_core::kind::Kind;
use serde_json::{Value, json};

use super::{Definition, Place, Server, Writer, finalizers};
use crate::wire::{Request, Verb};

/// The body of a 2xx answer, or the code of another.
pub(crate) type Response = Result<Rc<Value>, u16>;

impl Server {
    /// Answers a request.
    pub(crate) fn answer(&mut self, request: &Request, writer: Writer) -> Response {
        if !self.serves(request.kind) {
            return Err(404);
        }
        let place = Place::new(request.kind, &request.namespace, &request.name);
        match request.verb {
            Verb::List => Ok(self.list(&place)),
            Verb::Create => self.create(&place, &request.body, writer, false),
            Verb::TryCreate => self.create(&place, &request.body, writer, true),
            Verb::Replace => self.replace(&place, &request.body, writer),
            Verb::PatchFinalizers => self.patch_finalizers(&place, &request.body),
            Verb::ReplaceStatus => self.replace_status(&place, &request.body),
            Verb::Delete => self.delete_if(&place, &request.body),
        }
    }

    fn list(&self, place: &Place) -> Rc<Value> {
        let items: Vec<Value> =
            self.objects.get(place).map(|stored| Value::clone(&stored.value)).into_iter().collect();
        let kind = place.kind;
        Rc::new(json!({
            "apiVersion": kind.api_version(),
            "kind": format!("{}List", kind.kind()),
            "metadata": {"resourceVersion": self.version.to_string(), "continue": ""},
            "items": items,
        }))
    }

    fn create(&mut self, place: &Place, body: &Value, writer: Writer, dry: bool) -> Response {
        if self.objects.contains_key(place) {
            return Err(409);
        }
        if self.shelf(place.kind).definition == Definition::Terminating {
            return Err(405);
        }
        if dry {
            return Ok(Rc::new(body.clone()));
        }
        Ok(self.insert(place, body.clone(), writer))
    }

    fn replace(&mut self, place: &Place, body: &Value, writer: Writer) -> Response {
        let stored = self.objects.get(place).ok_or(404_u16)?;
        bound(body, &stored.uid, stored.version)?;
        if stored.deleting && finalizers(body).any(|new| !stored.finalizers().any(|old| old == new)) {
            return Err(422);
        }
        let mut value = body.clone();
        let old = &stored.value["metadata"];
        let metadata = value["metadata"].as_object_mut().unwrap();
        for kept in ["uid", "resourceVersion", "generation", "creationTimestamp", "deletionTimestamp"] {
            if let Some(kept_value) = old.get(kept) {
                metadata.insert(kept.to_owned(), kept_value.clone());
            }
        }
        if let Some(status) = stored.value.get("status") {
            value["status"] = status.clone();
        }
        Ok(self.update(place, value, Some(writer)))
    }

    fn patch_finalizers(&mut self, place: &Place, body: &Value) -> Response {
        let stored = self.objects.get(place).ok_or(404_u16)?;
        bound(body, &stored.uid, stored.version)?;
        if stored.deleting && finalizers(body).any(|new| !stored.finalizers().any(|old| old == new)) {
            return Err(422);
        }
        let mut value = Value::clone(&stored.value);
        let wanted = &body["metadata"]["finalizers"];
        let metadata = value["metadata"].as_object_mut().unwrap();
        if wanted.as_array().is_some_and(Vec::is_empty) {
            metadata.shift_remove("finalizers");
        } else {
            metadata.insert("finalizers".to_owned(), wanted.clone());
        }
        Ok(self.update(place, value, None))
    }

    fn replace_status(&mut self, place: &Place, body: &Value) -> Response {
        let stored = self.objects.get(place).ok_or(404_u16)?;
        bound(body, &stored.uid, stored.version)?;
        let mut value = Value::clone(&stored.value);
        value["status"] = body["status"].clone();
        Ok(self.update(place, value, None))
    }

    fn delete_if(&mut self, place: &Place, options: &Value) -> Response {
        let stored = self.objects.get(place).ok_or(404_u16)?;
        let uid = options.pointer("/preconditions/uid").and_then(Value::as_str);
        if uid.is_some_and(|uid| uid != stored.uid) {
            return Err(409);
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
            "details": {"name": place.name, "kind": place.kind.plural(), "uid": uid},
        })))
    }
}

/// Whether a write is bound to what stands there. A write to a custom resource that is bound to no version is refused.
fn bound(body: &Value, uid: &str, version: u64) -> Result<(), u16> {
    let text = |field: &str| body["metadata"].get(field).and_then(Value::as_str);
    if text("uid").is_some_and(|bound_to| bound_to != uid) {
        return Err(409);
    }
    match text("resourceVersion") {
        None | Some("") => Err(422),
        Some(bound_to) if bound_to != version.to_string() => Err(409),
        Some(_) => Ok(()),
    }
}

/// The kinds of the objects that people write.
pub(crate) const INPUTS: [Kind; 6] =
    [Kind::ALL[0], Kind::ALL[1], Kind::ALL[2], Kind::ALL[3], Kind::ALL[4], Kind::ALL[5]];
