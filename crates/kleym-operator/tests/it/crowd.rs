//! A namespace that keeps the operator as busy as it can, and its neighbours.

use futures::{StreamExt, stream};
use kleym_core::kind::Kind;
use serde_json::json;

use crate::world::{OBJECTIVE, POOL, World, objective, per_objective, pool};

#[tokio::test]
async fn a_crowd_whose_pool_changes_all_the_time_keeps_no_other_namespace_waiting() {
    let quiet = World::new("quiet").await;
    let mob = quiet.neighbour("mob").await;
    let operator = quiet.operator_with(&[&format!("--watch-namespace={}", mob.namespace)]).await;
    for world in [&quiet, &mob] {
        world.create_all([pool("llama", &[("app", "vllm")]), objective("chat", "llama")]).await;
    }
    // All of one container, so that everyone meets everyone.
    let crowd = (0..300).map(|number| mob.create(per_objective(&format!("b{number}"), "chat", "vllm")));
    stream::iter(crowd).buffer_unordered(16).collect::<Vec<_>>().await;
    quiet.create(per_objective("chat", "chat", "vllm")).await;
    quiet.ready("chat").await;

    let churn = async {
        for turn in 0_u32.. {
            let labels = json!({"app": "vllm", "turn": turn.to_string()});
            mob.edit(POOL, "llama", json!({"spec": {"selector": {"matchLabels": labels}}})).await;
        }
    };
    let life = async {
        for _ in 0..3 {
            quiet.edit(OBJECTIVE, "chat", json!({"spec": {"poolRef": {"name": "gone"}}})).await;
            quiet.refused("chat", "TargetPoolNotFound").await;
            quiet.gone(Kind::Output, &quiet.output_name("chat")).await;
            quiet.edit(OBJECTIVE, "chat", json!({"spec": {"poolRef": {"name": "llama"}}})).await;
            quiet.ready("chat").await;
        }
        // And it stops when it is told to.
        operator.terminate().await;
    };
    tokio::select! {
        () = churn => unreachable!("it goes on for ever"),
        () = life => {}
    }
}
