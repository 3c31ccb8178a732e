//! What a client of one server knows of it: the objects as last seen, their versions, and the numbers by which uids and
//! versions are compared with those of the other server.

use std::collections::BTreeMap;

use kleym_core::kind::Kind;
use kleym_core::output::FINALIZER;
use serde_json::{Value, json};

use super::operation::{Bound, Operation, Shape};
use crate::objects;
use crate::server::Place;
use crate::wire::{Request, Verb};

/// What no object has.
const NOBODY: &str = "00000000-0000-0000-0000-00000000dead";

/// One client.
#[derive(Debug, Default)]
pub(super) struct Side {
    /// The states of each object that were seen, oldest first.
    seen: BTreeMap<Place, Vec<Value>>,
    uids: Vec<String>,
    versions: Vec<String>,
    /// Where the list whose page was read last goes on.
    pub(super) open: Option<(Kind, String, u64, String)>,
}

impl Side {
    /// The version that was seen so many versions ago, or the oldest.
    pub(super) fn version_ago(&self, ago: u64) -> Option<&str> {
        let last = self.versions.len().checked_sub(1)?;
        let place = last.saturating_sub(usize::try_from(ago).unwrap());
        Some(&self.versions[place])
    }

    /// Notes a version that no object has.
    pub(super) fn saw(&mut self, version: &str) {
        number(&mut self.versions, version);
    }

    /// The request of an operation; none for what is no request, or cannot be asked.
    pub(super) fn request(&self, operation: &Operation) -> Option<Request> {
        let of = |verb, place: &Place, body| Request {
            verb,
            kind: place.kind,
            namespace: place.namespace.clone(),
            name: place.name.clone(),
            body,
        };
        match operation {
            Operation::Write(verb, place, shape, version, uid) => {
                Some(of(*verb, place, self.body(*verb, place, *shape, *version, *uid)))
            }
            Operation::Delete(place, version, uid) => {
                let mut options = json!({
                    "apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background",
                    "preconditions": {},
                });
                if let Some(uid) = self.uid(place, *uid) {
                    options["preconditions"]["uid"] = json!(uid);
                }
                if let Some(version) = self.version(place, *version) {
                    options["preconditions"]["resourceVersion"] = json!(version);
                }
                Some(of(Verb::Delete, place, options))
            }
            Operation::Read(verb, place) => Some(of(*verb, place, Value::Null)),
            Operation::Page(kind, namespace, limit) => {
                let place = Place::new(*kind, namespace.unwrap_or_default(), "");
                Some(of(Verb::Page, &place, json!({ "limit": limit })))
            }
            Operation::Next => {
                let (kind, namespace, limit, token) = self.open.as_ref()?;
                let place = Place::new(*kind, namespace, "");
                Some(of(Verb::Page, &place, json!({ "limit": limit, "continue": token })))
            }
            Operation::Watch(..)
            | Operation::EndNamespace
            | Operation::BeginNamespace
            | Operation::Undefine
            | Operation::Define => None,
        }
    }

    fn uid(&self, place: &Place, bound: Bound) -> Option<String> {
        let last = self.seen.get(place).and_then(|states| states.last());
        let uid = last.and_then(|state| state["metadata"]["uid"].as_str());
        match bound {
            Bound::Nothing => None,
            Bound::Right => Some(uid.unwrap_or(NOBODY).to_owned()),
            Bound::Wrong => {
                let states = self.seen.get(place).into_iter().flatten();
                let mut others = states.filter_map(|state| state["metadata"]["uid"].as_str());
                Some(others.rfind(|other| Some(*other) != uid).unwrap_or(NOBODY).to_owned())
            }
        }
    }

    fn version(&self, place: &Place, bound: Bound) -> Option<String> {
        let versions = || {
            let states = self.seen.get(place).into_iter().flatten();
            states.filter_map(|state| state["metadata"]["resourceVersion"].as_str())
        };
        let last = versions().next_back();
        match bound {
            Bound::Nothing => None,
            Bound::Right => Some(last.unwrap_or("1").to_owned()),
            Bound::Wrong => Some(versions().rfind(|v| Some(*v) != last).unwrap_or("1").to_owned()),
        }
    }

    fn body(&self, verb: Verb, place: &Place, shape: Shape, version: Bound, uid: Bound) -> Value {
        let last = self.seen.get(place).and_then(|states| states.last());
        let mut body = match last.filter(|_| shape.same) {
            _ if verb == Verb::PatchFinalizers => {
                json!({"metadata": {"finalizers": finalizers(shape.finalizers)}})
            }
            Some(last) => last.clone(),
            None => made(place, shape),
        };
        let metadata = body["metadata"].as_object_mut().unwrap();
        for (field, value) in
            [("uid", self.uid(place, uid)), ("resourceVersion", self.version(place, version))]
        {
            match value {
                Some(value) => drop(metadata.insert(field.to_owned(), json!(value))),
                None => drop(metadata.shift_remove(field)),
            }
        }
        body
    }

    /// Takes an answer's body; gives it with numbers for uids and versions, and without what differs from one server to
    /// another.
    pub(super) fn mask(&mut self, kind: Kind, body: &Value) -> Value {
        if let Some(items) = body.get("items").and_then(Value::as_array) {
            let items: Vec<Value> = items.iter().map(|item| self.mask(kind, item)).collect();
            let more = body["metadata"]["continue"].as_str().is_some_and(|token| !token.is_empty());
            return json!({"kind": body["kind"], "items": items, "more": more});
        }
        if body["kind"] == "Status" || body.get("reason").is_some() {
            return self.mask_status(body);
        }
        let mut masked = body.clone();
        let Some(metadata) = masked["metadata"].as_object_mut() else { return masked };
        metadata.shift_remove("managedFields");
        for time in ["creationTimestamp", "deletionTimestamp"] {
            if let Some(value) = metadata.get_mut(time) {
                *value = json!("set");
            }
        }
        if let Some(uid) = metadata.get("uid").and_then(Value::as_str) {
            let number = number(&mut self.uids, uid);
            metadata.insert("uid".to_owned(), json!(number));
        }
        if let Some(version) = metadata.get("resourceVersion").and_then(Value::as_str) {
            let number = number(&mut self.versions, version);
            metadata.insert("resourceVersion".to_owned(), json!(number));
            let text = |field: &str| metadata.get(field).and_then(Value::as_str).unwrap_or("");
            let place = Place::new(kind, text("namespace"), text("name"));
            let states = self.seen.entry(place).or_default();
            if states.last() != Some(body) {
                states.push(body.clone());
            }
        }
        masked
    }

    fn mask_status(&mut self, body: &Value) -> Value {
        let mut details = json!({});
        for field in ["name", "group", "kind", "uid"] {
            let value = &body["details"][field];
            if let Some(text) = value.as_str().filter(|text| !text.is_empty()) {
                details[field] =
                    if field == "uid" { json!(number(&mut self.uids, text)) } else { json!(text) };
            }
        }
        json!({"status": body["status"], "reason": body["reason"], "details": details})
    }
}

/// The place of a text among those that were seen.
fn number(seen: &mut Vec<String>, text: &str) -> usize {
    seen.iter().position(|other| other == text).unwrap_or_else(|| {
        seen.push(text.to_owned());
        seen.len() - 1
    })
}

fn finalizers(nth: u64) -> Value {
    match nth {
        0 => json!([]),
        1 => json!(["example.com/keep"]),
        2 => json!([FINALIZER]),
        _ => json!([FINALIZER, "example.com/keep"]),
    }
}

/// An object made anew.
fn made(place: &Place, shape: Shape) -> Value {
    let mut metadata = json!({"name": place.name, "finalizers": finalizers(shape.finalizers)});
    if place.kind.namespaced() {
        metadata["namespace"] = json!(place.namespace);
    }
    metadata["labels"] = match shape.labels {
        0 => json!({}),
        1 => json!({"team": "x"}),
        _ => json!({"team": "y", "tier": "gold"}),
    };
    let mut object = json!({
        "apiVersion": place.kind.api_version(),
        "kind": place.kind.kind(),
        "metadata": metadata,
        "spec": spec(place.kind, shape.spec),
    });
    let status = match shape.status {
        0 => return object,
        1 => json!({}),
        2 if place.kind == Kind::Output => json!({"stats": {"podsSelected": 2}}),
        2 => json!({"observedGeneration": 1}),
        _ if place.kind == Kind::Output => json!({"stats": {"podsSelected": 3, "entriesToSet": 3}}),
        _ => json!({"observedGeneration": 2, "conditions": [{
            "type": "Ready", "status": "True", "reason": "Ready", "message": "",
            "lastTransitionTime": "2030-01-01T00:00:00Z",
        }]}),
    };
    object["status"] = status;
    object
}

fn spec(kind: Kind, nth: u64) -> Value {
    let app = ["llama", "qwen", "phi"][usize::try_from(nth).unwrap()];
    match kind {
        Kind::Binding if nth == 0 => objects::pool_only("chat"),
        Kind::Binding => objects::per_objective("chat", app),
        Kind::Output => json!({
            "spiffeIDTemplate": format!("spiffe://example.org/ns/home/{app}"),
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "home"}},
            "podSelector": {"matchLabels": {"app": app}},
            "workloadSelectorTemplates": ["k8s:ns:home", format!("k8s:pod-label:app:{app}")],
            "fallback": false,
            "hint": "home/a",
        }),
        Kind::Pool(_) => objects::pool(&[("app", app)]),
        Kind::Objective(_) => objects::objective(app),
    }
}
