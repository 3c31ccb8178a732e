//! Stand-in for ClusterSPIFFEID. The real schema has no bounds and no defaults either.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kleym_core::kind::Kind;
use serde_json::{Value, json};

use super::{assemble, object, root};

/// `spire.spiffe.io/v1alpha1` ClusterSPIFFEID.
pub(super) fn cluster_spiffe_id() -> CustomResourceDefinition {
    let text = json!({"type": "string"});
    let texts = json!({"type": "array", "items": text});
    let flag = json!({"type": "boolean"});
    let count = json!({"type": "integer"});
    let spec = object(
        &["spiffeIDTemplate"],
        json!({
            "admin": flag,
            "autoPopulateDNSNames": flag,
            "className": text,
            "dnsNameTemplates": texts,
            "downstream": flag,
            "fallback": flag,
            "federatesWith": texts,
            "hint": text,
            "jwtTtl": text,
            "namespaceSelector": label_selector(),
            "podSelector": label_selector(),
            "spiffeIDTemplate": text,
            "ttl": text,
            "workloadSelectorTemplates": texts,
        }),
    );
    let stats = object(
        &[],
        json!({
            "entriesMasked": count,
            "entriesToSet": count,
            "entryFailures": count,
            "namespacesIgnored": count,
            "namespacesSelected": count,
            "podEntryRenderFailures": count,
            "podsSelected": count,
        }),
    );
    let schema = root(&["metadata", "spec"], spec, object(&[], json!({"stats": stats})));
    assemble(Kind::Output, &[], &Value::Null, schema)
}

fn label_selector() -> Value {
    let text = json!({"type": "string"});
    let texts = json!({"type": "array", "items": text, "x-kubernetes-list-type": "atomic"});
    let expression = object(&["key", "operator"], json!({"key": text, "operator": text, "values": texts}));
    let mut selector = object(
        &[],
        json!({
            "matchExpressions": {"type": "array", "items": expression, "x-kubernetes-list-type": "atomic"},
            "matchLabels": {"type": "object", "additionalProperties": text},
        }),
    );
    selector["x-kubernetes-map-type"] = json!("atomic");
    selector
}
