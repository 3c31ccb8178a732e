//! Of an objective only `spec.poolRef` is read.

use kleym_api::decode;
use kleym_core::fact::{Fact, Objective, PoolRef, PoolRefError};
use kleym_core::kind::{Kind, ObjectiveGroup, PoolGroup};
use kleym_core::name::{Namespace, ObjectName};
use serde_json::{Value, json};

use super::object;

fn pool_ref(object: &Value) -> Result<PoolRef, PoolRefError> {
    let mut answers = ObjectiveGroup::ALL.map(|group| match decode::fact(Kind::Objective(group), object) {
        Ok(Fact::Objective(objective)) => objective.pool_ref,
        other => panic!("not an objective: {other:?}"),
    });
    assert!(answers.iter().all(|answer| *answer == answers[0]), "every group has the same shape");
    std::mem::replace(&mut answers[0], Err(PoolRefError::UnknownKind(Box::default())))
}

fn reference(pool_ref: &Value) -> Result<PoolRef, PoolRefError> {
    self::pool_ref(&object("chat", json!({"poolRef": pool_ref})))
}

fn to(group: Option<PoolGroup>) -> Result<PoolRef, PoolRefError> {
    Ok(PoolRef { group, name: ObjectName::parse("llama").unwrap() })
}

#[test]
fn an_objective_is_its_pool_reference_and_nothing_else() {
    let plain = json!({
        "metadata": {"namespace": "llm", "name": "chat"},
        "spec": {"poolRef": {"name": "llama"}},
    });
    let rich = json!({
        "apiVersion": "llm-d.ai/v1alpha2", "kind": "InferenceObjective",
        "metadata": {"namespace": "llm", "name": "chat", "uid": "u", "generation": 7, "labels": {"a": "b"}},
        "spec": {"poolRef": {"name": "llama", "weight": 3}, "priority": "high", "poolRefs": [1]},
        "status": {"conditions": 5},
    });
    let kind = Kind::Objective(ObjectiveGroup::LlmD);
    let expected = Fact::Objective(Objective {
        group: ObjectiveGroup::LlmD,
        namespace: Namespace::parse("llm").unwrap(),
        name: ObjectName::parse("chat").unwrap(),
        deleting: false,
        pool_ref: to(Some(PoolGroup::Inference)),
    });
    assert_eq!(decode::fact(kind, &plain), Ok(expected.clone()));
    assert_eq!(decode::fact(kind, &rich), Ok(expected));
}

#[test]
fn group_and_kind_of_a_pool_reference_have_defaults_and_an_empty_group_means_by_preference() {
    for (pool_ref, group) in [
        (json!({"name": "llama"}), Some(PoolGroup::Inference)),
        (
            json!({"name": "llama", "group": null, "kind": null, "namespace": null}),
            Some(PoolGroup::Inference),
        ),
        (json!({"name": "llama", "group": "inference.networking.k8s.io"}), Some(PoolGroup::Inference)),
        (json!({"name": "llama", "group": "inference.networking.x-k8s.io"}), Some(PoolGroup::InferenceX)),
        (json!({"name": "llama", "group": ""}), None),
        (json!({"name": "llama", "group": "", "kind": "InferencePool", "namespace": "llm"}), None),
    ] {
        assert_eq!(reference(&pool_ref), to(group), "{pool_ref}");
    }
}

#[test]
fn every_pool_reference_that_cannot_be_followed_says_why() {
    let namespace = "but a pool must be in the objective's namespace";
    let groups = "but must be one of `inference.networking.k8s.io` and `inference.networking.x-k8s.io`";
    let subdomain = "is not a DNS-1123 subdomain (lower-case letters, digits, `-` and `.`, each part starting and ending with a letter or digit)";
    for (pool_ref, message) in [
        (json!(null), "spec.poolRef is required".to_owned()),
        (json!("llama"), "spec.poolRef must be an object, but is a string".to_owned()),
        (json!([{"name": "llama"}]), "spec.poolRef must be an object, but is a list".to_owned()),
        (json!({}), "spec.poolRef.name is required".to_owned()),
        (json!({"name": null}), "spec.poolRef.name is required".to_owned()),
        (json!({"name": 1}), "spec.poolRef.name must be a string, but is a number".to_owned()),
        (json!({"name": ""}), "spec.poolRef.name is ``, which is empty".to_owned()),
        (json!({"name": " "}), format!("spec.poolRef.name is ` `, which {subdomain}")),
        (json!({"name": "../llama"}), format!("spec.poolRef.name is `../llama`, which {subdomain}")),
        (
            json!({"name": "l\u{202e}\u{1b}\n"}),
            format!("spec.poolRef.name is `l\\u{{202e}}\\u{{1b}}\\n`, which {subdomain}"),
        ),
        (
            json!({"name": "l".repeat(1_000_000)}),
            format!("spec.poolRef.name is `{}...`, which is longer than 253 bytes", "l".repeat(96)),
        ),
        (
            json!({"name": "llama", "kind": "Service"}),
            "spec.poolRef.kind is `Service`, but must be `InferencePool`".to_owned(),
        ),
        (
            json!({"name": "llama", "kind": ""}),
            "spec.poolRef.kind is ``, but must be `InferencePool`".to_owned(),
        ),
        (
            json!({"name": "llama", "kind": {}}),
            "spec.poolRef.kind must be a string, but is an object".to_owned(),
        ),
        (
            json!({"name": "llama", "group": "llm-d.ai"}),
            format!("spec.poolRef.group is `llm-d.ai`, {groups}"),
        ),
        (json!({"name": "llama", "group": " "}), format!("spec.poolRef.group is ` `, {groups}")),
        (
            json!({"name": "llama", "group": false}),
            "spec.poolRef.group must be a string, but is a boolean".to_owned(),
        ),
        (
            json!({"name": "llama", "namespace": "batch"}),
            format!("spec.poolRef.namespace is `batch`, {namespace}"),
        ),
        (json!({"name": "llama", "namespace": ""}), format!("spec.poolRef.namespace is ``, {namespace}")),
        (
            json!({"name": "llama", "namespace": "b".repeat(1_000_000)}),
            format!("spec.poolRef.namespace is `{}...`, {namespace}", "b".repeat(96)),
        ),
        (
            json!({"name": "llama", "namespace": ["llm"]}),
            "spec.poolRef.namespace must be a string, but is a list".to_owned(),
        ),
    ] {
        assert_eq!(reference(&pool_ref).unwrap_err().to_string(), message);
    }
    for (spec, message) in [
        (json!(null), "spec is required"),
        (json!([]), "spec must be an object, but is a list"),
        (json!({}), "spec.poolRef is required"),
    ] {
        assert_eq!(pool_ref(&object("chat", spec)).unwrap_err().to_string(), message);
    }
    assert_eq!(
        pool_ref(&json!({"metadata": {"namespace": "llm", "name": "chat"}})).unwrap_err().to_string(),
        "spec is required"
    );
}

#[test]
fn of_several_faults_of_a_pool_reference_the_first_in_a_fixed_order_is_told() {
    let mut pool_ref = json!({"namespace": "batch", "group": "x", "kind": "Service", "name": "A"});
    for (field, good, told) in [
        ("name", "llama", "spec.poolRef.name"),
        ("kind", "InferencePool", "spec.poolRef.kind"),
        ("group", "", "spec.poolRef.group"),
        ("namespace", "llm", "spec.poolRef.namespace"),
    ] {
        let message = reference(&pool_ref).unwrap_err().to_string();
        assert!(message.starts_with(told), "{message}");
        pool_ref[field] = json!(good);
    }
    assert_eq!(reference(&pool_ref), to(None));
}
