//! What the API server itself refuses, by the committed definition of the binding, and what it says.

use serde_json::{Value, json};

use crate::world::{Object, World, per_objective, pool_only};

/// What the API server says of a binding that it does not take.
async fn refusal(world: &World, binding: Object) -> String {
    let name = binding.name().to_owned();
    let message = world.try_create(binding).await.expect_err("it was taken");
    let prefix = format!("InferenceIdentityBinding.kleym.sonda.red \"{name}\" is invalid: ");
    message.strip_prefix(&prefix).unwrap_or_else(|| panic!("{message}")).to_owned()
}

#[tokio::test]
async fn a_binding_that_contradicts_itself_is_refused_at_admission_in_words_a_person_understands() {
    let world = World::new("admission").await;
    let discriminator = json!({"type": "ContainerName", "value": "vllm"});
    for (binding, expected) in [
        (
            pool_only("chat", "chat").with("/spec/containerDiscriminator", discriminator),
            "spec.containerDiscriminator: Forbidden: remove containerDiscriminator or set mode to PerObjective: in \
             mode PoolOnly the identity is the whole pool's and names no container",
        ),
        (
            pool_only("chat", "chat").with("/spec/mode", json!("PerObjective")),
            "spec.containerDiscriminator: Required value: add containerDiscriminator or set mode to PoolOnly: in \
             mode PerObjective, the default, it says which container the identity is for",
        ),
        (
            pool_only("chat", "chat").without("/spec/mode"),
            "spec.containerDiscriminator: Required value: add containerDiscriminator or set mode to PoolOnly: in \
             mode PerObjective, the default, it says which container the identity is for",
        ),
        (
            pool_only("chat", "chat").with("/spec/mode", Value::Null),
            "spec.containerDiscriminator: Required value: add containerDiscriminator or set mode to PoolOnly: in \
             mode PerObjective, the default, it says which container the identity is for",
        ),
        (
            pool_only("chat", "chat").with("/spec/workloadSelectorTemplates", json!([])),
            "spec.workloadSelectorTemplates: Invalid value: 0: spec.workloadSelectorTemplates in body should have \
             at least 1 items",
        ),
        (
            per_objective("chat", "chat", "vllm").with("/spec/targetRef/kind", json!("InferencePool")),
            "spec.mode: Invalid value: set mode to PoolOnly or refer to an InferenceObjective: a target of kind \
             InferencePool has no objective that mode PerObjective, the default, could be about",
        ),
        (
            pool_only("chat", "chat")
                .with("/spec/targetRef/kind", json!("InferencePool"))
                .with("/spec/targetRef/group", json!("llm-d.ai")),
            "spec.targetRef.group: Invalid value: remove group or use inference.networking.k8s.io or \
             inference.networking.x-k8s.io: no other group has a kind InferencePool",
        ),
    ] {
        assert_eq!(refusal(&world, binding.clone()).await, expected, "{binding:?}");
    }
}

#[tokio::test]
async fn a_new_binding_says_that_no_operator_has_seen_it_and_gets_its_defaults() {
    let world = World::new("unseen").await;
    let created = world.create(per_objective("chat", "chat", "vllm")).await;
    assert_eq!(created["status"], json!({"observedGeneration": -1}));
    assert_eq!(
        created["spec"],
        json!({
            "targetRef": {"kind": "InferenceObjective", "name": "chat"},
            "selectorSource": "DerivedFromPool",
            "workloadSelectorTemplates": ["k8s:ns:{{ .Namespace }}", "k8s:sa:model-server"],
            "mode": "PerObjective",
            "containerDiscriminator": {"type": "ContainerName", "value": "vllm"},
        })
    );
}
