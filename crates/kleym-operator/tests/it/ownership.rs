//! Whose an output is: ours is kept as it should be, a foreign one is never touched, an orphan goes.

use anyhow::{Context, ensure};
use kleym_core::kind::Kind;
use serde_json::{Map, Value, json};

use crate::world::{
    Kstatus, Object, Operator, World, objective, per_objective, pool, refused, resolved, status_of, text,
};

/// A world with a pool and an objective, and an operator at rest.
async fn prepared(name: &str) -> (World, Operator) {
    let world = World::new(name).await;
    let operator = world.operator().await;
    world.create_all([pool("llama", &[("app", "vllm")]), objective("chat", "llama")]).await;
    world.at_rest().await;
    (world, operator)
}

/// The same with a binding `chat` that is Ready.
async fn settled(name: &str) -> (World, Operator) {
    let (world, operator) = prepared(name).await;
    world.create(per_objective("chat", "chat", "vllm")).await;
    world.ready("chat").await;
    world.at_rest().await;
    (world, operator)
}

/// A ClusterSPIFFEID that somebody wrote by hand.
fn by_hand(name: &str, labels: &[(&str, &str)], annotations: &[(&str, &str)]) -> Object {
    let map = |pairs: &[(&str, &str)]| -> Value {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), json!(value))).collect::<Map<_, _>>().into()
    };
    Object::new(Kind::Output, name, json!({"spiffeIDTemplate": "spiffe://example.org/by/hand"}))
        .with("/metadata/labels", map(labels))
        .with("/metadata/annotations", map(annotations))
}

#[tokio::test]
async fn a_foreign_object_at_the_name_is_reported_and_left_alone_until_somebody_removes_it() {
    let (world, _operator) = prepared("foreign").await;
    let name = world.output_name("chat");
    // One proof of three is not enough.
    let foreign = world.create(by_hand(&name, &[("kleym.sonda.red/managed-by", "kleym")], &[])).await;
    let mark = world.at_rest().await;
    world.create(per_objective("chat", "chat", "vllm")).await;
    let refusal = world.refused("chat", "ManagedOutputConflict").await;
    let message = format!(
        "ClusterSPIFFEID `{name}` exists and is not this binding's; find out who made it, then remove it: `kubectl \
         delete clusterspiffeid {name}`"
    );
    let conditions = refused(1, "RenderFailure", "ManagedOutputConflict", &message, Kstatus::Stalled);
    assert_eq!(status_of(&refusal), resolved(1, &world.instance, conditions));
    world.edit(Kind::Binding, "chat", json!({"metadata": {"labels": {"touched": "yes"}}})).await;
    let mut calls = world.calls(mark).await;
    // Each turn takes a live look before it calls the object foreign.
    calls.retain(|call| call != "list clusterspiffeids");
    assert_eq!(calls, ["update inferenceidentitybindings/status"]);
    assert_eq!(world.output("chat").await, foreign);

    world.delete(Kind::Output, &name).await;
    world.ready("chat").await;
    assert_ne!(world.output("chat").await["metadata"]["uid"], foreign["metadata"]["uid"]);
}

#[tokio::test]
async fn a_binding_that_stands_beside_a_foreign_object_can_be_deleted_and_leaves_it_there() {
    let (world, _operator) = prepared("beside").await;
    let name = world.output_name("chat");
    let foreign = world.create(by_hand(&name, &[], &[])).await;
    world.create(per_objective("chat", "chat", "vllm")).await;
    world.refused("chat", "ManagedOutputConflict").await;
    world.delete(Kind::Binding, "chat").await;
    world.gone(Kind::Binding, "chat").await;
    world.at_rest().await;
    assert_eq!(world.output("chat").await, foreign);
}

#[tokio::test]
async fn an_output_that_was_stripped_of_all_proof_is_foreign_from_then_on() {
    let (world, _operator) = settled("stripped").await;
    let name = world.output_name("chat");
    let strip = json!([
        {"op": "remove", "path": "/metadata/labels"},
        {"op": "remove", "path": "/metadata/annotations"},
    ]);
    let stripped = world.json_patch(Kind::Output, &name, strip).await;
    world.refused("chat", "ManagedOutputConflict").await;
    world.at_rest().await;
    assert_eq!(world.output("chat").await, stripped);
}

#[tokio::test]
async fn every_drift_is_repaired_by_one_full_replace_and_what_is_foreign_stays() {
    let (world, operator) = settled("drifts").await;
    let name = world.output_name("chat");
    let foreign = json!({"metadata": {
        "labels": {"example.com/team": "ml"},
        "annotations": {"example.com/note": "keep"},
        "finalizers": ["example.com/hold"],
    }});
    world.edit(Kind::Output, &name, foreign).await;
    let wanted = world.output("chat").await;
    let owner = json!({"apiVersion": "v1", "kind": "Namespace", "name": "x", "uid": "x"});
    let ours =
        |key: &str, value: Value| json!({"metadata": {"labels": {format!("kleym.sonda.red/{key}"): value}}});
    let noted = |key: &str| json!({"metadata": {"annotations": {format!("kleym.sonda.red/{key}"): null}}});
    let drifts = [
        json!({"spec": {"admin": true, "downstream": true, "ttl": "1h", "federatesWith": ["example.org"]}}),
        json!({"spec": {"autoPopulateDNSNames": true, "dnsNameTemplates": ["example.org"], "jwtTtl": "1h"}}),
        json!({"spec": {"spiffeIDTemplate": "spiffe://kleym.sonda.red/ns/{{ .PodMeta.Namespace }}/admin"}}),
        json!({"spec": {"namespaceSelector": null, "podSelector": null}}),
        json!({"spec": {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}}}),
        json!({"spec": {"podSelector": {"matchExpressions": [{"key": "app", "operator": "Exists"}]}}}),
        json!({"spec": {"workloadSelectorTemplates": ["k8s:ns:kube-system"], "hint": null, "fallback": true}}),
        ours("managed-by", json!("helm")),
        ours("managed-by", Value::Null),
        ours("instance", json!("another")),
        ours("binding-namespace", Value::Null),
        ours("binding-name", json!("another")),
        json!({"metadata": {"labels": {"spire.spiffe.io/class-name": "another"}}}),
        noted("binding"),
        noted("binding-uid"),
        json!({"metadata": {"ownerReferences": [owner]}}),
    ];
    let mark = world.at_rest().await;
    for drift in &drifts {
        let drifted = world.edit(Kind::Output, &name, drift.clone()).await;
        world
            .until(&format!("{drift} is repaired"), Kind::Output, &name, |output| {
                let output = output.context("it is gone")?;
                ensure!(
                    output["metadata"]["resourceVersion"] != drifted["metadata"]["resourceVersion"],
                    "not yet"
                );
                Ok(())
            })
            .await;
        assert_eq!(essence(&world.output("chat").await), essence(&wanted), "{drift}");
    }
    assert_eq!(world.calls(mark).await, vec!["update clusterspiffeids"; drifts.len()]);
    // No event tells of a repair; the log does, each time.
    assert_eq!(
        operator.said("somebody had changed or deleted the output: it was put right").len(),
        drifts.len()
    );
    assert_eq!(operator.said("differed=\"spec (fields Kleym never writes)\"").len(), 2);
}

/// What must not change by a drift and its repair.
fn essence(output: &Value) -> Value {
    let metadata = &output["metadata"];
    json!({
        "uid": metadata["uid"],
        "labels": metadata["labels"],
        "annotations": metadata["annotations"],
        "finalizers": metadata["finalizers"],
        "ownerReferences": metadata["ownerReferences"],
        "spec": output["spec"],
    })
}

/// An object with every proof of being the output of a binding with another uid.
fn proven(world: &World, binding: &str) -> Object {
    let key = format!("{}/{binding}", world.namespace);
    let labels = [("kleym.sonda.red/managed-by", "kleym"), ("kleym.sonda.red/instance", &world.instance)];
    let annotations =
        [("kleym.sonda.red/binding", key.as_str()), ("kleym.sonda.red/binding-uid", "long-gone")];
    by_hand(&world.output_name(binding), &labels, &annotations)
}

#[tokio::test]
async fn an_orphan_at_the_name_is_deleted_before_the_binding_is_granted() {
    let (world, operator) = prepared("reborn").await;
    operator.terminate().await;
    let orphan = world.create(proven(&world, "chat")).await;
    world.create(per_objective("chat", "chat", "vllm")).await;
    let _operator = world.operator().await;
    world.ready("chat").await;
    let output = world.output("chat").await;
    assert_ne!(output["metadata"]["uid"], orphan["metadata"]["uid"]);
    assert!(text(&output["spec"]["spiffeIDTemplate"]).ends_with("/objective/chat"));
}

#[tokio::test]
async fn an_orphan_of_a_binding_that_is_not_there_is_deleted_when_it_is_seen_and_a_look_alike_is_not() {
    let (world, operator) = prepared("orphans").await;
    let other_instance =
        proven(&world, "elsewhere").with("/metadata/labels/kleym.sonda.red~1instance", json!("another"));
    let other_name = Object::new(Kind::Output, &format!("{}-look-alike", world.namespace), json!({}))
        .with("/spec/spiffeIDTemplate", json!("spiffe://example.org/by/hand"))
        .with("/metadata/labels", json!({"kleym.sonda.red/managed-by": "kleym"}));
    let (other_instance, other_name) = (world.create(other_instance).await, world.create(other_name).await);
    // While it runs.
    world.create(proven(&world, "first")).await;
    world.gone(Kind::Output, &world.output_name("first")).await;
    // And at its start.
    operator.terminate().await;
    world.create(proven(&world, "second")).await;
    let _operator = world.operator().await;
    world.gone(Kind::Output, &world.output_name("second")).await;
    world.at_rest().await;
    assert_eq!(world.output("elsewhere").await, other_instance);
    assert_eq!(world.get(Kind::Output, text(&other_name["metadata"]["name"])).await, other_name);
}
