//! Specs of objects as people write them, and the few names that they fight over.

use kleym_core::name::{BindingKey, Namespace, ObjectName, output_name};
use serde_json::{Map, Value, json};

/// The namespaces.
pub(crate) const NAMESPACES: [&str; 2] = ["llm", "web"];
/// The instance of every operator.
pub(crate) const INSTANCE: &str = "default";

/// A binding's key.
pub(crate) fn key(namespace: &str, name: &str) -> BindingKey {
    BindingKey::new(Namespace::parse(namespace).unwrap(), ObjectName::parse(name).unwrap())
}

/// The name of a binding's output.
pub(crate) fn output_of(namespace: &str, binding: &str) -> String {
    output_name(INSTANCE, &key(namespace, binding)).to_string()
}

fn labels(of: &[(&str, &str)]) -> Value {
    of.iter().map(|(key, value)| ((*key).to_owned(), json!(value))).collect::<Map<_, _>>().into()
}

/// The spec of a pool of the preferred group.
pub(crate) fn pool(selects: &[(&str, &str)]) -> Value {
    json!({"selector": {"matchLabels": labels(selects)}})
}

/// The spec of a pool of the older group.
pub(crate) fn pool_x(selects: &[(&str, &str)]) -> Value {
    json!({"selector": labels(selects)})
}

/// The spec of an objective on a pool of the preferred group.
pub(crate) fn objective(pool: &str) -> Value {
    json!({"poolRef": {"name": pool}})
}

/// The spec of an objective on a pool of a named group.
pub(crate) fn objective_in(pool: &str, group: &str) -> Value {
    json!({"poolRef": {"name": pool, "group": group}})
}

/// The spec of a binding of a container's objective.
pub(crate) fn per_objective(objective: &str, container: &str) -> Value {
    json!({
        "targetRef": {"name": objective, "kind": "InferenceObjective"},
        "selectorSource": "DerivedFromPool",
        "workloadSelectorTemplates": ["k8s:ns:{{ .Namespace }}", "k8s:sa:server"],
        "mode": "PerObjective",
        "containerDiscriminator": {"type": "ContainerName", "value": container},
    })
}

/// The spec of a binding of the pool behind an objective.
pub(crate) fn pool_only(objective: &str) -> Value {
    json!({
        "targetRef": {"name": objective, "kind": "InferenceObjective"},
        "selectorSource": "DerivedFromPool",
        "workloadSelectorTemplates": ["k8s:ns:{{ .Namespace }}", "k8s:sa:server"],
        "mode": "PoolOnly",
    })
}

/// The spec of a binding of a pool, without an objective.
pub(crate) fn of_pool(pool: &str) -> Value {
    let mut spec = pool_only(pool);
    spec["targetRef"]["kind"] = json!("InferencePool");
    spec
}

/// The same spec with another service account.
pub(crate) fn in_account(mut spec: Value, account: &str) -> Value {
    spec["workloadSelectorTemplates"][1] = json!(format!("k8s:sa:{account}"));
    spec
}

/// The same spec with a SPIFFE ID of its own.
pub(crate) fn with_id(mut spec: Value, template: &str) -> Value {
    spec["spiffeIDTemplate"] = json!(template);
    spec
}

/// A ClusterSPIFFEID that somebody else wrote.
pub(crate) fn foreign() -> Value {
    json!({
        "metadata": {"labels": {"app": "somebody-else"}},
        "spec": {
            "spiffeIDTemplate": "spiffe://{{ .TrustDomain }}/ns/{{ .PodMeta.Namespace }}/sa/{{ .PodSpec.ServiceAccountName }}",
            "podSelector": {},
        },
    })
}
