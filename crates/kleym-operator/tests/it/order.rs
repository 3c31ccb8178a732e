//! The order of writes: at no revision do two live outputs give one container two identities, however bindings move.

use kleym_core::kind::Kind;
use serde_json::{Value, json};

use crate::world::{Operator, World, objective, per_objective, pool};

const BINDINGS: [&str; 3] = ["a", "b", "c"];

/// A world with three bindings of the containers `x`, `y` and `z` that are Ready.
async fn three(name: &str) -> (World, Operator) {
    let world = World::new(name).await;
    let operator = world.operator().await;
    world.create(pool("llama", &[("app", "vllm")])).await;
    for (name, container) in BINDINGS.into_iter().zip(["x", "y", "z"]) {
        world.create_all([objective(name, "llama"), per_objective(name, name, container)]).await;
    }
    for name in BINDINGS {
        world.ready(name).await;
    }
    world.at_rest().await;
    (world, operator)
}

fn container(output: &Value) -> &Value {
    let items = output["spec"]["workloadSelectorTemplates"].as_array().unwrap();
    let names = |item: &&Value| item.as_str().unwrap().starts_with("k8s:container-name:");
    items.iter().find(names).unwrap()
}

/// Moves bindings to other containers, all at once.
async fn moved(world: &World, moves: &[(&str, &str)]) {
    let patch = |to: &str| json!({"spec": {"containerDiscriminator": {"value": to}}});
    let edits = moves.iter().map(|(name, to)| world.edit(Kind::Binding, name, patch(to)));
    futures::future::join_all(edits).await;
}

/// Waits until all are Ready in these containers.
async fn settled(world: &World, containers: [&str; 3]) {
    for (name, wanted) in BINDINGS.into_iter().zip(containers) {
        world.ready(name).await;
        assert_eq!(*container(&world.output(name).await), format!("k8s:container-name:{wanted}"), "{name}");
    }
}

/// Expects that in none of these states two outputs are of one container.
fn never_overlapped(states: &[Vec<Value>]) {
    for outputs in states {
        for (place, one) in outputs.iter().enumerate() {
            let same = |other: &&Value| container(other) == container(one);
            let twin = outputs[..place].iter().find(same);
            assert_eq!(twin, None, "{one}");
        }
    }
}

#[tokio::test]
async fn two_bindings_that_swap_their_containers_never_hold_one_together() {
    let (world, _operator) = three("swap").await;
    let beginning = world.beginning().await;
    moved(&world, &[("a", "y"), ("b", "x")]).await;
    settled(&world, ["y", "x", "z"]).await;
    let states = world.states_since(beginning).await;
    assert!(states.len() > 2, "{states:?}");
    never_overlapped(&states);
}

#[tokio::test]
async fn three_bindings_that_shift_by_one_never_hold_a_container_together() {
    let (world, _operator) = three("shift").await;
    let beginning = world.beginning().await;
    moved(&world, &[("a", "y"), ("b", "z"), ("c", "x")]).await;
    settled(&world, ["y", "z", "x"]).await;
    moved(&world, &[("c", "y"), ("b", "x"), ("a", "z")]).await;
    settled(&world, ["z", "x", "y"]).await;
    never_overlapped(&world.states_since(beginning).await);
}

#[tokio::test]
async fn bindings_that_moved_while_no_operator_ran_never_hold_a_container_together() {
    let (world, operator) = three("away").await;
    // As in a crash.
    drop(operator);
    let beginning = world.beginning().await;
    moved(&world, &[("a", "z"), ("b", "x"), ("c", "y")]).await;
    let _operator = world.operator().await;
    settled(&world, ["z", "x", "y"]).await;
    never_overlapped(&world.states_since(beginning).await);
}
