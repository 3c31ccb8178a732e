//! An operator that may not do what it should: it says so, changes nothing it is not sure of, and goes on when it may.

use anyhow::{Context, ensure};
use kleym_core::kind::Kind;
use serde_json::json;

use crate::world::{World, objective, per_objective, pool, resolved, status_of, text, undecided};

#[tokio::test]
async fn after_a_restart_without_the_right_to_read_pools_nothing_is_decided_and_outputs_stay() {
    let world = World::new("blind").await;
    let operator = world.operator().await;
    world.create_all([pool("llama", &[("app", "vllm")]), objective("chat", "llama")]).await;
    world.create(per_objective("chat", "chat", "vllm")).await;
    world.ready("chat").await;
    let output = world.output("chat").await;
    operator.terminate().await;

    let operator = world.start_operator_without("inferencepools", &["list", "watch"]).await;
    let message =
        "`inferencepools.inference.networking.k8s.io` is not readable with the operator's permissions";
    world
        .reported("the binding is undecided", "chat", |binding| {
            let status = status_of(binding);
            ensure!(status == resolved(1, &world.instance, undecided(1, message)), "not yet");
            Ok(())
        })
        .await;
    assert_eq!(world.output("chat").await, output);
    // Not ready, since it cannot do its work; healthy, since a restart would not help.
    let (code, body) = operator.probe("/readyz").await;
    assert_eq!(code, 503);
    assert!(body.contains("inferencepools.inference.networking.k8s.io"), "{body}");
    assert_eq!(operator.probe("/healthz").await.0, 200);

    world.give_all_rights().await;
    world.ready("chat").await;
    operator.ready().await;
    assert_eq!(world.output("chat").await, output);
}

#[tokio::test]
async fn without_the_right_to_create_outputs_the_binding_says_so_and_is_granted_when_it_is_given() {
    let world = World::new("mute").await;
    let _operator = world.start_operator_without("clusterspiffeids", &["create"]).await;
    world.create_all([pool("llama", &[("app", "vllm")]), objective("chat", "llama")]).await;
    world.create(per_objective("chat", "chat", "vllm")).await;
    let failed = world.refused("chat", "ManagedOutputApplyFailed").await;
    let ready = &failed["status"]["conditions"][0];
    let expected = format!(
        "ClusterSPIFFEID `{}` may not be written with the operator's permissions; give the operator the permissions \
         of its ClusterRole",
        world.output_name("chat")
    );
    assert_eq!(text(&ready["message"]), expected);
    world.give_all_rights().await;
    world.ready("chat").await;
}

#[tokio::test]
async fn without_the_right_to_delete_outputs_a_deleted_binding_stays_until_it_is_given() {
    let world = World::new("held-back").await;
    let _operator = world.start_operator_without("clusterspiffeids", &["delete"]).await;
    world.create_all([pool("llama", &[("app", "vllm")]), objective("chat", "llama")]).await;
    world.create(per_objective("chat", "chat", "vllm")).await;
    world.ready("chat").await;
    let mark = world.at_rest().await;
    world.delete(Kind::Binding, "chat").await;
    world
        .until("the delete was tried", Kind::Binding, "chat", |binding| {
            let finalizers = &binding.context("the binding is gone")?["metadata"]["finalizers"];
            ensure!(
                *finalizers == json!(["kleym.sonda.red/inferenceidentitybinding-finalizer"]),
                "{finalizers}"
            );
            let tried = world.calls_so_far(mark).iter().any(|call| call.verb == "delete" && call.code == 403);
            ensure!(tried, "not yet");
            Ok(())
        })
        .await;
    assert_ne!(world.find_output("chat").await, None);
    world.give_all_rights().await;
    world.gone(Kind::Binding, "chat").await;
    assert_eq!(world.find_output("chat").await, None);
}
