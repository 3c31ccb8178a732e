//! What the operator asks of the API server: a call for a change, and none for what changes nothing.

use std::time::Duration;

use anyhow::{Context, ensure};
use futures::{StreamExt, stream};
use kleym_core::kind::Kind;
use serde_json::json;

use crate::world::{OBJECTIVE, Operator, POOL, World, objective, per_objective, pool, pool_only, text};

/// A world with a pool, an objective, a binding `chat` that is Ready, and an operator at rest.
async fn settled(name: &str) -> (World, Operator) {
    let world = World::new(name).await;
    let operator = world.operator().await;
    world.with_chat().await;
    world.at_rest().await;
    (world, operator)
}

/// Makes the output of `chat` grant more than it should, and waits until it no longer does.
async fn spoil_and_see_repaired(world: &World) {
    let output = world.output_name("chat");
    world.edit(Kind::Output, &output, json!({"spec": {"admin": true}})).await;
    world
        .until("`admin` is gone", Kind::Output, &output, |output| {
            ensure!(output.context("the output is gone")?["spec"].get("admin").is_none(), "it is there");
            Ok(())
        })
        .await;
}

const FINALIZER: &str = "patch inferenceidentitybindings";
const STATUS: &str = "update inferenceidentitybindings/status";
const CREATE: &str = "create clusterspiffeids";
const REPLACE: &str = "update clusterspiffeids";

#[tokio::test]
async fn a_binding_becomes_ready_with_three_writes_and_no_read() {
    let world = World::new("new").await;
    let _operator = world.operator().await;
    let mark = world.at_rest().await;
    world.create_all([pool("llama", &[("app", "vllm")]), objective("chat", "llama")]).await;
    assert_eq!(world.calls(mark).await, Vec::<String>::new());

    world.create(per_objective("chat", "chat", "vllm")).await;
    world.ready("chat").await;
    assert_eq!(world.calls(mark).await, [FINALIZER, CREATE, STATUS]);
    assert_eq!(world.event_calls(mark).await, ["create events"]);
}

#[tokio::test]
async fn a_change_that_changes_no_identity_costs_nothing() {
    let (world, _operator) = settled("noop").await;
    let note =
        json!({"metadata": {"annotations": {"example.com/note": "x"}, "labels": {"example.com/l": "x"}}});
    let mark = world.at_rest().await;
    world.edit(POOL, "llama", note.clone()).await;
    world.edit(POOL, "llama", json!({"spec": {"targetPorts": [{"number": 9000}]}})).await;
    world.edit(OBJECTIVE, "chat", note.clone()).await;
    world.edit(OBJECTIVE, "chat", json!({"spec": {"priority": 7}})).await;
    world.edit(Kind::Binding, "chat", note.clone()).await;
    world.edit(Kind::Output, &world.output_name("chat"), note).await;
    assert_eq!(world.all_calls(mark).await, []);
    // The watches were open all the time.
    spoil_and_see_repaired(&world).await;
    assert_eq!(world.calls(mark).await, [REPLACE]);
}

#[tokio::test]
async fn what_spire_counts_costs_nothing() {
    let (world, _operator) = settled("stats").await;
    let mark = world.at_rest().await;
    let output = world.output_name("chat");
    for pods in 1..=20 {
        let stats = json!({"namespacesSelected": 1, "podsSelected": pods, "entriesToSet": pods});
        world.edit_status(Kind::Output, &output, json!({"status": {"stats": stats}})).await;
    }
    spoil_and_see_repaired(&world).await;
    assert_eq!(world.calls(mark).await, [REPLACE]);
}

#[tokio::test]
async fn a_drift_is_repaired_with_one_write() {
    let (world, _operator) = settled("drift").await;
    let mark = world.at_rest().await;
    spoil_and_see_repaired(&world).await;
    assert_eq!(world.calls(mark).await, [REPLACE]);
}

#[tokio::test]
async fn an_edit_of_the_spec_costs_a_replace_and_a_status() {
    let (world, _operator) = settled("edit").await;
    let mark = world.at_rest().await;
    let template = "spiffe://{{ .TrustDomain }}/ns/{{ .Namespace }}/model/{{ .ObjectiveName }}";
    world.edit(Kind::Binding, "chat", json!({"spec": {"spiffeIDTemplate": template}})).await;
    world.ready("chat").await;
    assert_eq!(world.calls(mark).await, [REPLACE, STATUS]);
    let id = format!("spiffe://kleym.sonda.red/ns/{}/model/chat", world.namespace);
    assert_eq!(world.output("chat").await["spec"]["spiffeIDTemplate"], id);
}

/// Waits until the output of each of these bindings selects these pods.
async fn follow(world: &World, names: &[&str], pods: serde_json::Value) {
    let wanted = json!({"matchLabels": pods});
    for name in names {
        world
            .until("the output follows the pool", Kind::Output, &world.output_name(name), |output| {
                let selector = &output.context("the output is gone")?["spec"]["podSelector"];
                ensure!(*selector == wanted, "{selector}");
                Ok(())
            })
            .await;
        world.ready(name).await;
    }
}

/// Checks that a change of the pool `llama` costs each of these bindings a replace and a status, and nothing else.
async fn pool_change_costs_two_writes(world: &World, names: &[&str]) {
    for name in names {
        world.ready(name).await;
    }
    let mark = world.at_rest().await;
    world.edit(POOL, "llama", json!({"spec": {"selector": {"matchLabels": {"tier": "gold"}}}})).await;
    follow(world, names, json!({"app": "vllm", "tier": "gold"})).await;
    let mut calls = world.named_calls(mark).await;
    calls.sort();
    let replaces = names.iter().map(|name| format!("{REPLACE} {}", world.output_name(name)));
    let mut expected: Vec<_> = replaces.chain(names.iter().map(|name| format!("{STATUS} {name}"))).collect();
    expected.sort();
    assert_eq!(calls, expected);
}

#[tokio::test]
async fn a_change_of_a_pool_costs_each_of_its_bindings_two_writes_and_others_nothing() {
    let (world, _operator) = settled("dependants").await;
    world.create_all([pool("other", &[("app", "other")]), objective("other", "other")]).await;
    world.create(per_objective("other", "other", "vllm")).await;
    world.ready("other").await;
    let names = ["b", "c", "d", "e"];
    world.create_all(names.map(|name| objective(name, "llama"))).await;
    world.create_all(names.map(|name| per_objective(name, name, name))).await;
    pool_change_costs_two_writes(&world, &[&["chat"], &names[..]].concat()).await;
}

#[tokio::test]
async fn a_change_of_a_pool_costs_two_writes_each_where_several_bindings_share_an_objective_too() {
    let (world, _operator) = settled("shared").await;
    let names = ["b", "c"];
    world.create_all(names.map(|name| per_objective(name, "chat", name))).await;
    pool_change_costs_two_writes(&world, &[&["chat"], &names[..]].concat()).await;
}

#[tokio::test]
async fn a_change_of_a_pool_with_bindings_of_both_modes_settles_with_at_most_four_writes_each() {
    let (world, _operator) = settled("layers").await;
    world.create(pool_only("pool", "chat")).await;
    let others = ["b", "c", "d"];
    world.create_all(others.map(|name| objective(name, "llama"))).await;
    world.create_all(others.map(|name| per_objective(name, name, name))).await;
    let names = ["chat", "pool", "b", "c", "d"];
    for name in names {
        world.ready(name).await;
    }
    let mark = world.at_rest().await;
    world.edit(POOL, "llama", json!({"spec": {"selector": {"matchLabels": {"tier": "gold"}}}})).await;
    follow(&world, &names, json!({"app": "vllm", "tier": "gold"})).await;
    let calls = world.named_calls(mark).await;
    let writes: Vec<&String> = calls.iter().filter(|call| !call.starts_with("list ")).collect();
    for name in names {
        let (own, output) = (format!(" {name}"), world.output_name(name));
        let about = |call: &&&String| call.ends_with(&own) || call.ends_with(&output);
        let writes: Vec<&&String> = writes.iter().filter(about).collect();
        assert!(writes.len() <= 4, "{writes:?}");
    }
}

#[tokio::test]
async fn a_restart_in_sync_lists_and_watches_and_writes_nothing() {
    let (world, operator) = settled("restart").await;
    operator.terminate().await;
    let mark = world.mark().await;
    let _operator = world.operator().await;
    let mut calls = world.calls(mark).await;
    calls.sort();
    // What is served is asked for in each group once, and each kind is listed once.
    assert_eq!(
        calls,
        [
            "get /apis/inference.networking.k8s.io/v1",
            "get /apis/inference.networking.k8s.io/v1",
            "get /apis/inference.networking.x-k8s.io/v1alpha2",
            "get /apis/inference.networking.x-k8s.io/v1alpha2",
            "get /apis/kleym.sonda.red/v1alpha1",
            "get /apis/llm-d.ai/v1alpha2",
            "get /apis/spire.spiffe.io/v1alpha1",
            "list clusterspiffeids",
            "list customresourcedefinitions",
            "list inferenceidentitybindings",
            "list inferenceobjectives",
            "list inferenceobjectives",
            "list inferenceobjectives",
            "list inferencepools",
            "list inferencepools",
        ]
    );
    assert_eq!(world.event_calls(mark).await, Vec::<String>::new());
    assert_eq!(world.ready("chat").await["metadata"]["generation"], 1);
}

#[tokio::test]
async fn a_class_change_over_a_restart_deletes_then_creates_with_at_most_four_writes() {
    let (world, operator) = settled("class").await;
    let old = world.output("chat").await;
    operator.terminate().await;
    let mark = world.mark().await;
    let _operator = world.operator_with(&["--clusterspiffeid-class-name=gold"]).await;
    world
        .reported("the class is in the status", "chat", |binding| {
            ensure!(binding["status"]["clusterSPIFFEIDClassName"] == "gold", "not yet");
            Ok(())
        })
        .await;
    world.ready("chat").await;
    let new = world.output("chat").await;
    assert_ne!(new["metadata"]["uid"], old["metadata"]["uid"]);
    assert_eq!(new["metadata"]["name"], old["metadata"]["name"]);
    assert_eq!(new["spec"]["className"], "gold");

    // Whether the new one would be taken is tried first, and that the old one is gone is seen by a list, unless the
    // watch has said so before.
    let calls = world.calls(mark).await;
    let reading = |call: &&String| call.starts_with("get ") || call.starts_with("list ");
    let writes: Vec<&String> = calls.iter().filter(|call| !reading(call)).collect();
    assert!(writes.len() <= 4, "{writes:?}");
    assert!(writes.ends_with(&[
        &"delete clusterspiffeids".to_owned(),
        &CREATE.to_owned(),
        &STATUS.to_owned()
    ]));
}

#[tokio::test]
async fn at_rest_nothing_is_asked() {
    let (world, operator) = settled("rest").await;
    let mark = world.at_rest().await;
    world.at_rest_for(Duration::from_secs(5)).await;
    assert_eq!(world.all_calls(mark).await, []);
    drop(operator);
}

#[tokio::test]
async fn a_restart_with_a_thousand_bindings_in_sync_lists_and_watches_and_writes_nothing() {
    const MANY: usize = 1_000;
    let world = World::new("thousand").await;
    // Words on each of its calls would be most of what it costs.
    world.excuse("wire: nobody spoke");
    let operator = world.operator_with(&["--log-level=info"]).await;
    world.create_all([pool("llama", &[("app", "vllm")]), objective("chat", "llama")]).await;
    let names = |nth: usize| format!("b{nth:04}");
    let bindings = (0..MANY).map(|nth| world.create(per_objective(&names(nth), "chat", &names(nth))));
    stream::iter(bindings).buffer_unordered(16).collect::<Vec<_>>().await;
    kleym_testenv::eventually("all are Ready", Duration::from_secs(180), || async {
        let ready = world.all(Kind::Binding).await;
        let ready =
            ready.iter().filter(|binding| binding["status"]["conditions"][0]["status"] == "True").count();
        anyhow::ensure!(ready == MANY, "{ready}");
        Ok(())
    })
    .await
    .unwrap();
    // As spire-controller-manager does, so that however long all this took there is nothing to report.
    let stats = json!({"status": {"stats": {"podsSelected": 1, "entriesToSet": 1}}});
    let outputs = world.all(Kind::Output).await;
    let picked_up = outputs
        .iter()
        .map(|output| world.edit_status(Kind::Output, text(&output["metadata"]["name"]), stats.clone()));
    stream::iter(picked_up).buffer_unordered(16).collect::<Vec<_>>().await;
    world.at_rest().await;
    operator.terminate().await;
    let mark = world.mark().await;
    let _operator = world.operator().await;
    let calls = world.all_calls(mark).await;
    let about_one = |call: &kleym_testenv::Call| !call.name.is_empty() || call.uri.contains("fieldSelector");
    let other: Vec<String> = calls
        .iter()
        .filter(|call| {
            let reads = call.verb == "list"
                || call.verb == "watch"
                || call.uri.starts_with("/apis/") && call.verb == "get";
            !reads || about_one(call)
        })
        .map(|call| format!("{} {}", call.verb, call.uri))
        .collect();
    assert_eq!(other, Vec::<String>::new());
    world.is_settled().await;
}

#[tokio::test]
async fn at_rest_a_leader_renews_its_lease_and_asks_nothing_else() {
    let world = World::new("rest-leader").await;
    let operator = world.operator_with(&["--leader-elect"]).await;
    world.with_chat().await;
    let mark = world.at_rest().await;
    world.at_rest_for(Duration::from_secs(6)).await;
    assert_eq!(world.all_calls(mark).await, []);
    let renewals: Vec<String> = world.lease_calls(mark).await;
    assert!((1..=4).contains(&renewals.len()), "{renewals:?}");
    assert!(renewals.iter().all(|call| call == "update leases"), "{renewals:?}");
    operator.terminate().await;
}
