//! One API call for one step: the request, and nothing decided about its answer.
//!
//! Every write is bound to what was seen (uid, resourceVersion), asks for strict field validation, and is sent once.

use http::Request;
use kleym_api::encode;
use kleym_core::kind::Kind;
use kleym_core::name::{BindingKey, ObjectName, Uid};
use kleym_core::output::{FINALIZER, LiveOutput, WantedOutput};
use kleym_core::plan::LiveBinding;
use serde_json::{Value, json};

/// A request that could not be built: a bug, not an answer.
#[derive(Debug, thiserror::Error)]
#[error("cannot build the request: {0}")]
pub(super) struct Unbuildable(String);

type Built = Result<Request<Vec<u8>>, Unbuildable>;

/// The collection's path: `/apis/<group>/<version>[/namespaces/<namespace>]/<plural>`.
fn path(kind: Kind, namespace: Option<&str>) -> String {
    let base = format!("/apis/{}/{}", kind.group(), kind.version());
    match namespace {
        Some(namespace) => format!("{base}/namespaces/{namespace}/{}", kind.plural()),
        None => format!("{base}/{}", kind.plural()),
    }
}

fn build(method: &str, uri: String, content: &str, body: &impl serde::Serialize) -> Built {
    let unbuildable = |error: &dyn std::fmt::Display| Unbuildable(error.to_string());
    let body = serde_json::to_vec(body).map_err(|error| unbuildable(&error))?;
    Request::builder()
        .method(method)
        .uri(uri)
        .header(http::header::CONTENT_TYPE, content)
        .body(body)
        .map_err(|error| unbuildable(&error))
}

const JSON: &str = "application/json";
const MERGE_PATCH: &str = "application/merge-patch+json";

/// Creates an output.
pub(super) fn create_output(wanted: &WantedOutput) -> Built {
    let uri = format!("{}?fieldValidation=Strict", path(Kind::Output, None));
    build("POST", uri, JSON, &encode::cluster_spiffe_id(wanted))
}

/// Asks whether an output could be created.
pub(super) fn try_output(wanted: &WantedOutput) -> Built {
    let uri = format!("{}?fieldValidation=Strict&dryRun=All", path(Kind::Output, None));
    build("POST", uri, JSON, &encode::cluster_spiffe_id(wanted))
}

/// Replaces a live output.
pub(super) fn replace_output(wanted: &WantedOutput, live: &LiveOutput) -> Built {
    let uri = format!("{}/{}?fieldValidation=Strict", path(Kind::Output, None), live.name);
    build("PUT", uri, JSON, &encode::replacement(wanted, live))
}

/// Deletes the output with this uid, whatever happened to it since.
pub(super) fn delete_output(name: &ObjectName, uid: &Uid) -> Built {
    let options = json!({
        "apiVersion": "v1",
        "kind": "DeleteOptions",
        "preconditions": {"uid": uid.as_str()},
        "propagationPolicy": "Background",
    });
    build("DELETE", format!("{}/{name}", path(Kind::Output, None)), JSON, &options)
}

/// Lists outputs of one name. Without a resourceVersion the answer is as new as the request.
pub(super) fn list_outputs(name: &ObjectName) -> Built {
    let uri = format!("{}?fieldSelector=metadata.name%3D{name}", path(Kind::Output, None));
    Request::builder().uri(uri).body(Vec::new()).map_err(|error| Unbuildable(error.to_string()))
}

/// Lists bindings of one name.
pub(super) fn list_bindings(key: &BindingKey) -> Built {
    let uri = format!(
        "{}?fieldSelector=metadata.name%3D{}",
        path(Kind::Binding, Some(key.namespace.as_str())),
        key.name
    );
    Request::builder().uri(uri).body(Vec::new()).map_err(|error| Unbuildable(error.to_string()))
}

/// Sets the binding's finalizers: with ours, or without.
pub(super) fn patch_finalizers(key: &BindingKey, live: &LiveBinding, with_ours: bool) -> Built {
    let others = live.finalizers.iter().filter(|finalizer| *finalizer != FINALIZER);
    let finalizers: Vec<&str> = others.chain(with_ours.then_some(FINALIZER)).collect();
    let patch = json!({"metadata": {
        "uid": live.uid.as_str(),
        "resourceVersion": live.resource_version,
        "finalizers": finalizers,
    }});
    let uri = format!("{}/{}", path(Kind::Binding, Some(key.namespace.as_str())), key.name);
    build("PATCH", uri, MERGE_PATCH, &patch)
}

/// Replaces the binding's whole status.
pub(super) fn replace_status(key: &BindingKey, live: &LiveBinding, status: &Value) -> Built {
    let object = json!({
        "apiVersion": Kind::Binding.api_version(),
        "kind": Kind::Binding.kind(),
        "metadata": {
            "namespace": key.namespace.as_str(),
            "name": key.name.as_str(),
            "uid": live.uid.as_str(),
            "resourceVersion": live.resource_version,
        },
        "status": status,
    });
    let uri = format!("{}/{}/status", path(Kind::Binding, Some(key.namespace.as_str())), key.name);
    build("PUT", uri, JSON, &object)
}

impl Unbuildable {
    /// A request that lacks something.
    pub(super) fn because(why: &str) -> Self {
        Self(why.to_owned())
    }
}
