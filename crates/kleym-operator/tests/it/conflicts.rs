//! Two bindings that claim the same: the one that comes first keeps its identity and notices nothing, the other is
//! refused, and is granted as soon as it can be.

use kleym_core::kind::Kind;
use serde_json::{Value, json};

use crate::world::{
    Kstatus, Object, Operator, World, objective, per_objective, pool, refused, resolved, status_of,
};

/// A world with one pool and the objectives `chat` and `code` on it.
async fn two_objectives(name: &str) -> (World, Operator) {
    let world = World::new(name).await;
    let operator = world.operator().await;
    let objectives = [objective("chat", "llama"), objective("code", "llama")];
    world.create(pool("llama", &[("app", "vllm")])).await;
    world.create_all(objectives).await;
    (world, operator)
}

fn id(world: &World, rest: &str) -> String {
    format!("spiffe://kleym.sonda.red/ns/{}/{rest}", world.namespace)
}

/// What a binding says that is refused because `older` gives the same container another ID.
fn collision(world: &World, generation: i64, older: &str, objective: &str) -> Value {
    let theirs = id(world, &format!("objective/{objective}"));
    let message = format!(
        "InferenceIdentityBinding `{older}` comes first and claims `{theirs}` for workloads this binding claims too: \
         nothing proves the two apart, both select `k8s:container-name:vllm`, `k8s:pod-label:app:vllm` and \
         `k8s:sa:model-server`; if they are different containers, correct the container name of one (in mode \
         PerObjective, spec.containerDiscriminator); otherwise tell them apart by service account, pod label, node or \
         pod name; if they are the same, keep one binding"
    );
    let conditions = refused(generation, "Conflict", "IdentityCollision", &message, Kstatus::Stalled);
    let mut status = resolved(generation, &world.instance, conditions);
    status["conflicts"] = json!([{"bindingName": older, "cause": "IdentityCollision", "spiffeID": theirs}]);
    status["conflictCount"] = json!(1);
    status
}

/// Names the objects of a binding: itself and its output.
fn touches(world: &World, calls: &[String], binding: &str) -> Vec<String> {
    let output = world.output_name(binding);
    let about = |call: &&String| call.ends_with(&format!(" {binding}")) || call.ends_with(&output);
    calls.iter().filter(about).cloned().collect()
}

fn container(name: &str) -> Value {
    json!({"spec": {"containerDiscriminator": {"value": name}}})
}

#[tokio::test]
async fn a_younger_binding_of_the_same_container_is_refused_and_the_oldest_is_not_touched() {
    let (world, _operator) = two_objectives("collision").await;
    // Age decides, not the name.
    let older = world.create(per_objective("zeta", "chat", "vllm")).await;
    world.ready("zeta").await;
    let (binding, output) = (world.binding("zeta").await, world.output("zeta").await);
    world.second_after(&older["metadata"]["creationTimestamp"]).await;
    let mark = world.at_rest().await;
    world.create(per_objective("alpha", "code", "vllm")).await;
    let refused = world.refused("alpha", "IdentityCollision").await;
    assert_eq!(status_of(&refused), collision(&world, 1, "zeta", "chat"));
    assert_eq!(refused["metadata"].get("finalizers"), None);
    assert_eq!(world.find_output("alpha").await, None);
    assert_eq!(world.calls(mark).await, ["update inferenceidentitybindings/status"]);
    assert_eq!((world.binding("zeta").await, world.output("zeta").await), (binding, output));
}

#[tokio::test]
async fn a_refused_binding_recovers_when_the_older_one_is_edited_invalidated_or_deleted() {
    let (world, _operator) = two_objectives("recovery").await;
    world.create(per_objective("a-older", "chat", "vllm")).await;
    world.ready("a-older").await;
    world.create(per_objective("b-younger", "code", "vllm")).await;
    world.refused("b-younger", "IdentityCollision").await;

    world.edit(Kind::Binding, "a-older", container("sidecar")).await;
    let granted = world.ready("b-younger").await;
    assert_eq!(granted["status"].get("conflicts"), None);
    assert_eq!(granted["status"].get("conflictCount"), None);
    world.ready("a-older").await;

    // Back again: the older one gets what it asks for, the younger one loses it.
    world.edit(Kind::Binding, "a-older", container("vllm")).await;
    world.refused("b-younger", "IdentityCollision").await;
    world.ready("a-older").await;
    assert_eq!(world.granted().await, ["a-older"]);

    world.edit(Kind::Binding, "a-older", json!({"spec": {"spiffeIDTemplate": "{{ .Nothing }}"}})).await;
    world.refused("a-older", "SPIFFEIDRenderFailed").await;
    world.ready("b-younger").await;
    assert_eq!(world.granted().await, ["b-younger"]);

    world.edit(Kind::Binding, "a-older", json!({"spec": {"spiffeIDTemplate": null}})).await;
    world.ready("a-older").await;
    world.refused("b-younger", "IdentityCollision").await;

    world.delete(Kind::Binding, "a-older").await;
    world.ready("b-younger").await;
    world.gone(Kind::Binding, "a-older").await;
    assert_eq!(world.granted().await, ["b-younger"]);
}

#[tokio::test]
async fn an_older_binding_that_moves_into_the_way_of_a_younger_one_waits_until_that_is_withdrawn() {
    let (world, _operator) = two_objectives("displaced").await;
    world.create(per_objective("a-older", "chat", "sidecar")).await;
    world.create(per_objective("b-younger", "code", "vllm")).await;
    world.ready("a-older").await;
    world.ready("b-younger").await;
    let mark = world.at_rest().await;
    world.edit(Kind::Binding, "a-older", container("vllm")).await;
    world.refused("b-younger", "IdentityCollision").await;
    world.ready("a-older").await;
    let calls = world.named_calls(mark).await;
    let (older, younger) = (world.output_name("a-older"), world.output_name("b-younger"));
    // That it is gone is seen by a list, unless the watch has said so before.
    let changes = |call: &&String| call.contains(" clusterspiffeids ") && !call.starts_with("list");
    let changes: Vec<&String> = calls.iter().filter(changes).collect();
    let (withdrawn, changed) =
        (format!("delete clusterspiffeids {younger}"), format!("update clusterspiffeids {older}"));
    assert_eq!(changes, [&withdrawn, &changed]);
}

/// A binding with the ID of a model.
fn of_model(name: &str, objective: &str, container: &str) -> Object {
    let template = json!("spiffe://{{ .TrustDomain }}/ns/{{ .Namespace }}/model/llama");
    per_objective(name, objective, container).with("/spec/spiffeIDTemplate", template)
}

#[tokio::test]
async fn a_younger_binding_with_the_same_id_for_another_subject_is_refused_until_the_older_one_is_gone() {
    let (world, _operator) = two_objectives("duplicate").await;
    world.create(of_model("a-older", "chat", "vllm")).await;
    world.ready("a-older").await;
    // The same subject may have several bindings with one ID.
    world.create(of_model("b-same", "chat", "sidecar")).await;
    world.ready("b-same").await;
    world.create(of_model("c-other", "code", "proxy")).await;
    let refusal = world.refused("c-other", "DuplicateSPIFFEID").await;
    let theirs = id(&world, "model/llama");
    let message = format!(
        "InferenceIdentityBinding `a-older` (and one more binding) comes first and holds the same SPIFFE ID \
         `{theirs}` for another subject; change spec.spiffeIDTemplate of one, or remove one"
    );
    let conditions = refused(1, "Conflict", "DuplicateSPIFFEID", &message, Kstatus::Stalled);
    let mut expected = resolved(1, &world.instance, conditions);
    let conflict =
        |name: &str| json!({"bindingName": name, "cause": "DuplicateSPIFFEID", "spiffeID": theirs});
    expected["conflicts"] = json!([conflict("a-older"), conflict("b-same")]);
    expected["conflictCount"] = json!(2);
    assert_eq!(status_of(&refusal), expected);

    world.delete(Kind::Binding, "a-older").await;
    world.delete(Kind::Binding, "b-same").await;
    world.ready("c-other").await;
    assert_eq!(world.granted().await, ["c-other"]);
}

#[tokio::test]
async fn of_many_claims_the_first_is_granted_and_each_other_costs_one_status_and_lists_sixteen() {
    let (world, _operator) = two_objectives("many").await;
    let name = |number: usize| format!("claim-{number:02}");
    world.create(per_objective(&name(0), "chat", "vllm")).await;
    world.ready(&name(0)).await;
    let mark = world.at_rest().await;
    let mut expected = Vec::new();
    for number in 1..=18 {
        let template = format!("spiffe://{{{{ .TrustDomain }}}}/ns/{{{{ .Namespace }}}}/claim/{number}");
        let claim =
            per_objective(&name(number), "chat", "vllm").with("/spec/spiffeIDTemplate", json!(template));
        world.create(claim).await;
        world.refused(&name(number), "IdentityCollision").await;
        expected.push(format!("update inferenceidentitybindings/status {}", name(number)));
    }
    assert_eq!(world.named_calls(mark).await, expected);
    let last = world.binding(&name(18)).await;
    let listed = last["status"]["conflicts"].as_array().unwrap();
    let listed: Vec<&Value> = listed.iter().map(|conflict| &conflict["bindingName"]).collect();
    let first_sixteen: Vec<Value> = (0..16).map(|number| json!(name(number))).collect();
    assert_eq!(listed, first_sixteen.iter().collect::<Vec<_>>());
    assert_eq!(last["status"]["conflictCount"], 18);

    // The next in line is granted, and only that one.
    world.delete(Kind::Binding, &name(0)).await;
    world.ready(&name(1)).await;
    world.gone(Kind::Binding, &name(0)).await;
    world.at_rest().await;
    assert_eq!(world.granted().await, [name(1)]);
    let calls = world.named_calls(mark).await;
    assert_eq!(touches(&world, &calls, &name(2)).len(), 2, "{calls:?}");
}
