//! Stand-ins for the CustomResourceDefinitions of GAIE, llm-d and SPIRE that Kleym reads and writes, for tests and
//! the demo: field names, types, bounds and defaults as in the real ones, without their texts.
//!
//! A cluster never needs these: whoever runs GAIE and SPIRE has the real ones. Installing a stand-in over a real
//! definition would take its texts away, so nothing here is part of an installation.

mod inference;
mod spire;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kleym_core::kind::{Kind, ObjectiveGroup, PoolGroup};
use serde_json::{Value, json};

/// The stand-in of a foreign kind; None for the binding, which is ours.
///
/// `inference.networking.k8s.io/v1` InferenceObjective has one too, although nobody ships that kind: it is the
/// objective of the other groups under the name that the product's contract reserves.
pub fn definition(kind: Kind) -> Option<CustomResourceDefinition> {
    match kind {
        Kind::Binding => None,
        Kind::Objective(group) => Some(inference::objective(group)),
        Kind::Pool(PoolGroup::Inference) => Some(inference::pool()),
        Kind::Pool(PoolGroup::InferenceX) => Some(inference::pool_x()),
        Kind::Output => Some(spire::cluster_spiffe_id()),
    }
}

/// The kinds that have a stand-in, in the order of [`Kind::ALL`].
pub fn kinds() -> impl Iterator<Item = Kind> {
    Kind::ALL.into_iter().filter(|kind| *kind != Kind::Binding)
}

/// Whether a project ships this kind, so that its stand-in has something to be equal to.
pub fn is_shipped(kind: Kind) -> bool {
    !matches!(kind, Kind::Binding | Kind::Objective(ObjectiveGroup::Inference))
}

/// Puts a definition together: one version, served and stored, with a status subresource.
fn assemble(kind: Kind, short_names: &[&str], columns: &Value, schema: Value) -> CustomResourceDefinition {
    let mut names = json!({
        "kind": kind.kind(),
        "listKind": format!("{}List", kind.kind()),
        "plural": kind.plural(),
        "singular": kind.kind().to_lowercase(),
    });
    if !short_names.is_empty() {
        names["shortNames"] = json!(short_names);
    }
    let mut version = json!({
        "name": kind.version(),
        "served": true,
        "storage": true,
        "subresources": {"status": {}},
    });
    version["schema"]["openAPIV3Schema"] = schema;
    if !columns.is_null() {
        version["additionalPrinterColumns"] = columns.clone();
    }
    let mut metadata = json!({"name": kind.crd_name()});
    if kind.group().ends_with(".k8s.io") {
        // The API server takes a definition in a group of Kubernetes' own only with a word on its approval.
        metadata["annotations"] = json!({"api-approved.kubernetes.io": "unapproved, a stand-in for tests"});
    }
    let mut definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": metadata,
        "spec": {
            "group": kind.group(),
            "scope": if kind.namespaced() { "Namespaced" } else { "Cluster" },
            "versions": [version],
        },
    });
    definition["spec"]["names"] = names;
    serde_json::from_value(definition).expect("the parts make a CustomResourceDefinition")
}

/// A schema of an object with these properties, some of them required.
fn object(required: &[&str], properties: Value) -> Value {
    let mut schema = json!({"type": "object"});
    schema["properties"] = properties;
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    schema
}

/// The root of a kind's schema.
fn root(required: &[&str], spec: Value, status: Value) -> Value {
    let text = json!({"type": "string"});
    let mut properties = json!({"apiVersion": text, "kind": text, "metadata": {"type": "object"}});
    properties["spec"] = spec;
    properties["status"] = status;
    object(required, properties)
}
