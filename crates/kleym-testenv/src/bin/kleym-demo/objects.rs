//! What the demo reads of live objects, each thing by its path. It interprets nothing: whatever is shown stands in the
//! object.

use kube::api::DynamicObject;
use kube::{Resource, ResourceExt};
use serde_json::{Map, Value, json};

/// The annotation that a file cannot have: the uid of the live binding.
const BINDING_UID: &str = "kleym.sonda.red/binding-uid";

/// A condition of a binding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Condition {
    /// `True`, `False` or `Unknown`.
    pub(crate) status: String,
    /// Its reason.
    pub(crate) reason: String,
    /// Its message.
    pub(crate) message: String,
}

/// A text at a path, or nothing.
fn text<'a>(object: &'a DynamicObject, path: &str) -> &'a str {
    object.data.pointer(path).and_then(Value::as_str).unwrap_or_default()
}

/// `namespace/name`.
pub(crate) fn title(object: &DynamicObject) -> String {
    format!("{}/{}", object.namespace().unwrap_or_default(), object.name_any())
}

/// `group/version`.
pub(crate) fn api_version(object: &DynamicObject) -> &str {
    object.types.as_ref().map(|types| types.api_version.as_str()).unwrap_or_default()
}

/// The kind.
pub(crate) fn kind(object: &DynamicObject) -> &str {
    object.types.as_ref().map(|types| types.kind.as_str()).unwrap_or_default()
}

/// The pool that an objective names.
pub(crate) fn pool_of(objective: &DynamicObject) -> &str {
    text(objective, "/spec/poolRef/name")
}

/// The labels that a pool selects by, where they stand: in `matchLabels`, or flat in the older group.
pub(crate) fn pool_labels_path(pool: &DynamicObject) -> &'static str {
    if pool.data.pointer("/spec/selector/matchLabels").is_some() {
        "/spec/selector/matchLabels"
    } else {
        "/spec/selector"
    }
}

/// `key=value, key=value` of the map at a path.
pub(crate) fn labels(object: &DynamicObject, path: &str) -> String {
    let map = object.data.pointer(path).and_then(Value::as_object);
    let one = |(key, value): (&String, &Value)| format!("{key}={}", value.as_str().unwrap_or_default());
    map.into_iter().flatten().map(one).collect::<Vec<_>>().join(", ")
}

/// The mode of a binding.
pub(crate) fn mode(binding: &DynamicObject) -> &str {
    text(binding, "/spec/mode")
}

/// The name of a binding's target.
pub(crate) fn target(binding: &DynamicObject) -> &str {
    text(binding, "/spec/targetRef/name")
}

/// The SPIFFE ID that a Ready binding reports.
pub(crate) fn spiffe_id(binding: &DynamicObject) -> &str {
    text(binding, "/status/computedSpiffeIDs/0/spiffeID")
}

/// The output that a Ready binding reports.
pub(crate) fn output_name(binding: &DynamicObject) -> &str {
    text(binding, "/status/renderedClusterSPIFFEID/name")
}

/// The bindings that come first and claim the same.
pub(crate) fn winners(binding: &DynamicObject) -> Vec<&str> {
    let conflicts = binding.data.pointer("/status/conflicts").and_then(Value::as_array);
    conflicts.into_iter().flatten().filter_map(|one| one.get("bindingName")?.as_str()).collect()
}

/// A condition of a binding; none when its status does not speak of the spec as it is.
pub(crate) fn condition(binding: &DynamicObject, kind: &str) -> Option<Condition> {
    let observed = binding.data.pointer("/status/observedGeneration").and_then(Value::as_i64);
    if observed != binding.meta().generation {
        return None;
    }
    let all = binding.data.pointer("/status/conditions")?.as_array()?;
    let found = all.iter().find(|one| one.get("type").is_some_and(|found| found == kind))?;
    let part = |name: &str| found.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    Some(Condition { status: part("status"), reason: part("reason"), message: part("message") })
}

/// Whether a binding is Ready.
pub(crate) fn is_ready(binding: &DynamicObject) -> bool {
    condition(binding, "Ready").is_some_and(|ready| ready.status == "True")
}

/// The selectors of an output.
pub(crate) fn selectors(output: &DynamicObject) -> Vec<&str> {
    let all = output.data.pointer("/spec/workloadSelectorTemplates").and_then(Value::as_array);
    all.into_iter().flatten().filter_map(Value::as_str).collect()
}

/// What somebody declared of an output: its kind, name, labels, annotations and spec, without what the API server
/// added.
pub(crate) fn essence(output: &DynamicObject) -> Value {
    let strings = |map: &std::collections::BTreeMap<String, String>| {
        Value::Object(map.iter().map(|(key, value)| (key.clone(), json!(value))).collect::<Map<_, _>>())
    };
    json!({
        "apiVersion": api_version(output),
        "kind": kind(output),
        "metadata": {
            "name": output.name_any(),
            "labels": strings(output.labels()),
            "annotations": strings(output.annotations()),
        },
        "spec": output.data.get("spec").cloned().unwrap_or_default(),
    })
}

/// [`essence`] without the uid of the live binding, which no file can know.
pub(crate) fn essence_without_uid(output: &DynamicObject) -> Value {
    let mut essence = essence(output);
    if let Some(annotations) = essence.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) {
        annotations.remove(BINDING_UID);
    }
    essence
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binding(generation: i64, observed: i64) -> DynamicObject {
        serde_json::from_value(json!({
            "apiVersion": "kleym.sonda.red/v1alpha1",
            "kind": "InferenceIdentityBinding",
            "metadata": {"namespace": "llm", "name": "chat", "generation": generation},
            "status": {
                "observedGeneration": observed,
                "conditions": [{"type": "Ready", "status": "True", "reason": "Reconciled", "message": "m"}],
            },
        }))
        .unwrap()
    }

    #[test]
    fn a_condition_counts_only_when_it_speaks_of_the_spec_as_it_is() {
        assert!(is_ready(&binding(2, 2)));
        assert!(!is_ready(&binding(2, 1)));
        assert_eq!(condition(&binding(1, 1), "Conflict"), None);
    }

    #[test]
    fn two_outputs_that_differ_in_the_uid_of_the_binding_alone_have_the_same_essence() {
        let output = |uid: Value| -> DynamicObject {
            let mut object = json!({
                "apiVersion": "spire.spiffe.io/v1alpha1",
                "kind": "ClusterSPIFFEID",
                "metadata": {
                    "name": "kleym-llm-chat-0",
                    "annotations": {"kleym.sonda.red/binding": "llm/chat"},
                },
                "spec": {"spiffeIDTemplate": "spiffe://example.org/ns/llm/objective/chat"},
            });
            if !uid.is_null() {
                object["metadata"]["annotations"][BINDING_UID] = uid;
                object["metadata"]["resourceVersion"] = json!("7");
            }
            serde_json::from_value(object).unwrap()
        };
        let (file, live) = (output(Value::Null), output(json!("u-1")));
        assert_eq!(essence_without_uid(&file), essence_without_uid(&live));
        assert_ne!(essence(&file), essence(&live));
    }
}
