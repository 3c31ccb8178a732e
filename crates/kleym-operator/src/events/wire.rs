//! Announcements as they stand in the cluster.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kleym_core::announce::{Announcement, Object};
use kleym_core::kind::Kind;
use kube::api::ObjectMeta;
use serde_json::{Value, json};

/// The event's `reportingController`.
pub(super) const CONTROLLER: &str = "kleym.sonda.red/operator";
/// Where events about objects without a namespace live.
const CLUSTER_SCOPED: &str = "default";
/// The most bytes of `reportingInstance`.
const LONGEST_INSTANCE: usize = 128;

/// Who reports.
#[derive(Debug, Clone)]
pub(super) struct Reporter {
    instance: String,
}

impl Reporter {
    /// The process of this name.
    pub(super) fn new(instance: &str) -> Self {
        let mut end = instance.len().min(LONGEST_INSTANCE);
        while !instance.is_char_boundary(end) {
            end -= 1;
        }
        let instance = if end == 0 { "kleym-operator" } else { &instance[..end] };
        Self { instance: instance.to_owned() }
    }

    /// The event that tells this.
    pub(super) fn event(&self, announcement: &Announcement, happened: Timestamp) -> Event {
        let Announcement { regarding, related, occasion, weight, note } = announcement;
        let namespace = match regarding {
            Object::Binding(key, _) => key.namespace.as_str(),
            Object::Output(..) => CLUSTER_SCOPED,
        };
        Event {
            metadata: ObjectMeta {
                name: Some(announcement.event_name()),
                namespace: Some(namespace.to_owned()),
                ..ObjectMeta::default()
            },
            event_time: Some(MicroTime(happened)),
            reporting_controller: Some(CONTROLLER.to_owned()),
            reporting_instance: Some(self.instance.clone()),
            action: Some(occasion.action().to_owned()),
            reason: Some(occasion.as_str().to_owned()),
            type_: Some(weight.as_str().to_owned()),
            note: Some(note.clone()),
            regarding: Some(reference(regarding)),
            related: related.as_ref().map(reference),
            ..Event::default()
        }
    }
}

fn reference(object: &Object) -> ObjectReference {
    let (kind, namespace) = match object {
        Object::Binding(key, _) => (Kind::Binding, Some(key.namespace.to_string())),
        Object::Output(..) => (Kind::Output, None),
    };
    ObjectReference {
        api_version: Some(kind.api_version()),
        kind: Some(kind.kind().to_owned()),
        namespace,
        name: Some(object.name().to_string()),
        uid: Some(object.uid().to_string()),
        ..ObjectReference::default()
    }
}

/// The patch that counts on an event's series.
pub(super) fn series(count: i32, last: Timestamp) -> Value {
    json!({"series": {"count": count, "lastObservedTime": MicroTime(last)}})
}

/// What a failed call means for an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// It is there already.
    Exists,
    /// It is not there (any more), or its namespace is not.
    Absent,
    /// Its namespace is going.
    Ending,
    /// It may not be sent, or is not taken.
    Refused,
    /// The API server did not answer, or not well.
    Passing,
    /// The operator may not write any more.
    Unwanted,
}

/// What a failed call means.
pub(super) fn classify(error: &kube::Error) -> Failure {
    let kube::Error::Api(status) = error else { return Failure::Passing };
    let ending = || {
        let causes = status.details.iter().flat_map(|details| &details.causes);
        causes.into_iter().any(|cause| cause.reason == "NamespaceTerminating")
    };
    match status.code {
        409 if status.reason == "AlreadyExists" => Failure::Exists,
        404 => Failure::Absent,
        403 if ending() => Failure::Ending,
        408 | 409 | 429 => Failure::Passing,
        400..=499 => Failure::Refused,
        _ => Failure::Passing,
    }
}
