//! Objects that today's definitions would refuse: each is refused with its reason, and none hinders another.

use kleym_core::kind::{Kind, ObjectiveGroup};
use serde_json::{Value, json};

use crate::world::{
    OBJECTIVE, Object, POOL, World, definition, install_as, objective_of, per_objective, permissive, pool,
    pool_only,
};

/// Malformed bindings with the condition that says so and its reason.
fn bindings() -> Vec<(Object, &'static str, &'static str)> {
    let one = |name: &str| per_objective(name, "good-0", name);
    let all = |name: &str| pool_only(name, "good-0");
    vec![
        (all("nothing").without("/spec"), "InvalidRef", "InvalidPoolRef"),
        (
            one("target-name").with("/spec/targetRef/name", json!("Upper Case")),
            "InvalidRef",
            "InvalidPoolRef",
        ),
        (one("target-number").with("/spec/targetRef/name", json!(7)), "InvalidRef", "InvalidPoolRef"),
        (one("target-kind").with("/spec/targetRef/kind", json!("Service")), "InvalidRef", "InvalidPoolRef"),
        (one("target-group").with("/spec/targetRef/group", json!("apps")), "InvalidRef", "InvalidPoolRef"),
        (one("source").with("/spec/selectorSource", json!("Everything")), "UnsafeSelector", "UnsafeSelector"),
        (
            one("no-templates").with("/spec/workloadSelectorTemplates", json!([])),
            "RenderFailure",
            "SelectorTemplateRenderFailed",
        ),
        (
            one("number-templates").with("/spec/workloadSelectorTemplates", json!([1, 2])),
            "RenderFailure",
            "SelectorTemplateRenderFailed",
        ),
        (
            one("twice").with("/spec/workloadSelectorTemplates", json!(["k8s:ns:x", "k8s:ns:x"])),
            "RenderFailure",
            "SelectorTemplateRenderFailed",
        ),
        (
            all("discriminator")
                .with("/spec/containerDiscriminator", json!({"type": "ContainerName", "value": "x"})),
            "RenderFailure",
            "InvalidContainerDiscriminator",
        ),
        (
            all("no-discriminator").with("/spec/mode", json!("PerObjective")),
            "RenderFailure",
            "MissingContainerDiscriminator",
        ),
        (all("no-mode").without("/spec/mode"), "RenderFailure", "MissingContainerDiscriminator"),
        (one("mode").with("/spec/mode", json!("Both")), "RenderFailure", "UnsupportedMode"),
        (
            one("pool-target")
                .with("/spec/targetRef/kind", json!("InferencePool"))
                .with("/spec/targetRef/name", json!("good-0")),
            "RenderFailure",
            "UnsupportedMode",
        ),
        (one("id-number").with("/spec/spiffeIDTemplate", json!(7)), "RenderFailure", "SPIFFEIDRenderFailed"),
    ]
}

/// Malformed objectives and pools, each with a good binding of the same name, and what that is told.
fn inputs() -> Vec<(Object, &'static str, &'static str)> {
    let of = |name: &str, pool_ref: Value| {
        objective_of(ObjectiveGroup::LlmD, name, "good-0").with("/spec/poolRef", pool_ref)
    };
    let selects = |name: &str, selector: Value| pool(name, &[]).with("/spec/selector", selector);
    let many: Vec<(String, String)> = (0..65).map(|n| (format!("l{n}"), "x".to_owned())).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(key, value)| (&**key, &**value)).collect();
    vec![
        (of("objective-text", json!("good-0")), "InvalidRef", "InvalidPoolRef"),
        (of("objective-number", json!({"name": 7})), "InvalidRef", "InvalidPoolRef"),
        (
            of("objective-namespace", json!({"name": "good-0", "namespace": "kube-system"})),
            "InvalidRef",
            "InvalidPoolRef",
        ),
        (selects("pool-text", json!("app=vllm")), "UnsafeSelector", "InvalidPoolSelector"),
        (selects("pool-flat", json!({"app": "vllm"})), "UnsafeSelector", "InvalidPoolSelector"),
        (
            selects(
                "pool-expressions",
                json!({
                    "matchLabels": {"app": "vllm"},
                    "matchExpressions": [{"key": "app", "operator": "Exists"}],
                }),
            ),
            "UnsafeSelector",
            "InvalidPoolSelector",
        ),
        (selects("pool-number", json!({"matchLabels": {"app": 7}})), "UnsafeSelector", "InvalidPoolSelector"),
        (
            selects("pool-padded", json!({"matchLabels": {"app": " vllm "}})),
            "UnsafeSelector",
            "InvalidPoolSelector",
        ),
        (pool("pool-many", &many), "UnsafeSelector", "InvalidPoolSelector"),
    ]
}

#[tokio::test]
async fn twenty_good_bindings_become_ready_among_malformed_objects_that_are_each_told_why() {
    let world = World::with_only("malformed", &[Kind::Output]).await;
    install_as(&world.client, [Kind::Binding, OBJECTIVE, POOL].map(permissive).into()).await;
    let mut expected: Vec<(String, &str, &str)> = Vec::new();
    for (binding, condition, reason) in bindings() {
        expected.push((binding.name().to_owned(), condition, reason));
        world.create(binding).await;
    }
    // Where a rule expects a map and finds a text, the API server takes no change today, not even of the status.
    world.create(pool_only("target-text", "x").with("/spec/targetRef", json!("good-0"))).await;
    // From here on the definition of bindings is today's.
    install_as(&world.client, vec![definition(Kind::Binding)]).await;
    for (input, condition, reason) in inputs() {
        let name = input.name().to_owned();
        if name.starts_with("pool-") {
            world.create(objective_of(ObjectiveGroup::LlmD, &name, &name)).await;
        }
        world.create(input).await;
        world.create(per_objective(&name, &name, &name)).await;
        expected.push((name, condition, reason));
    }
    let good: Vec<String> = (0..20).map(|number| format!("good-{number}")).collect();
    for name in &good {
        world
            .create_all([pool(name, &[("app", name)]), objective_of(ObjectiveGroup::LlmD, name, name)])
            .await;
        world.create(per_objective(name, name, name)).await;
    }

    let _operator = world.operator().await;
    for name in &good {
        world.ready(name).await;
    }
    for (name, condition, reason) in &expected {
        let binding = world.refused(name, reason).await;
        let conditions = binding["status"]["conditions"].as_array().unwrap();
        let is_true = |one: &&Value| one["status"] == "True" && one["type"] != "Stalled";
        let told: Vec<&Value> = conditions.iter().filter(is_true).map(|one| &one["type"]).collect();
        assert_eq!(told, [condition], "{binding}");
    }
    let mut granted = world.granted().await;
    granted.sort();
    let mut wanted = good;
    wanted.sort();
    assert_eq!(granted, wanted);

    // Nothing is tried again and again, but for a status that is rejected: that ever more rarely. And every one of them can be
    // deleted.
    let mark = world.at_rest().await;
    world.at_rest_for(std::time::Duration::from_secs(2)).await;
    let calls = world.named_calls(mark).await;
    let rejected = "update inferenceidentitybindings/status target-text";
    assert!(calls.iter().all(|call| call == rejected) && calls.len() <= 4, "{calls:?}");
    for (name, ..) in &expected {
        world.delete(Kind::Binding, name).await;
        assert_eq!(world.find(Kind::Binding, name).await, None);
    }
    world.delete(Kind::Binding, "target-text").await;
    assert_eq!(world.find(Kind::Binding, "target-text").await, None);
    world.at_rest().await;
    assert_eq!(world.granted().await.len(), 20);
}
