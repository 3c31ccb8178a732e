//! Writes that land late: held back on their way until the world has moved on, and then carried out, with nobody waiting
//! for them any more. None of them leaves a grant that nobody asks for.

use std::time::Duration;

use anyhow::ensure;
use kleym_core::kind::Kind;
use kleym_testenv::proxy::{Asked, Fault, Gate, Proxy};
use kleym_testenv::{Mark, eventually};

use crate::runs::Run;
use crate::scenario::{Scenario, moved};
use crate::world::{Operator, SOON, World, objective, per_objective};

/// A world whose operator is behind a proxy, with a Ready binding `a` of the container `x`.
async fn prepared(name: &str) -> (World, Proxy, Operator) {
    Run::prepared(Scenario::Change, name).await.into_parts()
}

async fn created(world: &World, name: &str, container: &str) {
    if world.find(crate::world::OBJECTIVE, name).await.is_none() {
        world.create(objective(name, "llama")).await;
    }
    world.create(per_objective(name, name, container)).await;
}

/// Holds the next such write on outputs.
fn hold(proxy: &Proxy, verb: &'static str) -> Gate {
    let gate = Gate::new();
    proxy.once(move |asked: &Asked| asked.is(verb, "clusterspiffeids"), Fault::Hold(gate.clone()));
    gate
}

/// The same, after its operator died with the create of the output of a new binding `b` on its way.
async fn died_creating(name: &str) -> (World, Proxy, Gate) {
    let (world, proxy, operator) = prepared(name).await;
    let gate = hold(&proxy, "create");
    created(&world, "b", "y").await;
    gate.reached().await;
    drop(operator);
    (world, proxy, gate)
}

/// Lets a held write go, and waits until the API server has answered it; gives the answer's code.
async fn released(world: &World, gate: &Gate, verb: &str, binding: &str) -> u16 {
    let (output, mark) = (world.output_name(binding), world.mark().await);
    gate.open();
    let landed = |call: &kleym_testenv::Call| call.verb == verb && call.name == output;
    let code = eventually("the held write lands", SOON, || async {
        let calls = world.calls_so_far(mark);
        calls.iter().find(|call| landed(call)).map(|call| call.code).ok_or("not yet")
    });
    code.await.unwrap()
}

/// Waits until a binding has no output and nothing more happens.
async fn without_output(world: &World, binding: &str) {
    world.gone(Kind::Output, &world.output_name(binding)).await;
    world.at_rest().await;
    assert_eq!(world.find_output(binding).await, None);
    world.is_settled().await;
}

/// Expects the output that a late create made to have gone within two seconds.
async fn swept_in_time(world: &World, mark: Mark, binding: &str) {
    let (calls, output) = (world.all_calls(mark).await, world.output_name(binding));
    let of =
        |verb: &str| calls.iter().find(|call| call.verb == verb && call.name == output && call.code < 300);
    let stood = of("delete").unwrap().answered.duration_since(of("create").unwrap().answered);
    assert!(stood.as_millis() < 2_000, "{stood}");
}

#[tokio::test]
async fn a_create_that_lands_after_its_binding_is_gone_is_swept_within_two_seconds() {
    let (world, proxy, gate) = died_creating("late-deleted").await;
    world.delete(Kind::Binding, "b").await;
    let _operator = world.operator_by(&proxy).await;
    world.gone(Kind::Binding, "b").await;
    let mark = world.mark().await;
    assert_eq!(released(&world, &gate, "create", "b").await, 201);
    without_output(&world, "b").await;
    swept_in_time(&world, mark, "b").await;
}

#[tokio::test]
async fn a_create_that_its_operator_gave_up_lands_after_the_binding_is_gone_and_is_swept() {
    let (world, proxy, _operator) = prepared("late-waited").await;
    let gate = hold(&proxy, "create");
    created(&world, "b", "y").await;
    gate.reached().await;
    world.delete(Kind::Binding, "b").await;
    // The same operator: its call has a deadline, and then it looks.
    world.gone(Kind::Binding, "b").await;
    let mark = world.mark().await;
    assert_eq!(released(&world, &gate, "create", "b").await, 201);
    without_output(&world, "b").await;
    swept_in_time(&world, mark, "b").await;
}

#[tokio::test]
async fn a_create_that_lands_after_its_binding_was_made_anew_changes_nothing() {
    let (world, proxy, gate) = died_creating("late-recreated").await;
    world.delete(Kind::Binding, "b").await;
    let _operator = world.operator_by(&proxy).await;
    world.gone(Kind::Binding, "b").await;
    created(&world, "b", "z").await;
    world.ready("b").await;
    let output = world.output("b").await;
    assert_eq!(released(&world, &gate, "create", "b").await, 409);
    world.at_rest().await;
    assert_eq!(world.output("b").await, output);
    world.is_settled().await;
}

#[tokio::test]
async fn a_create_that_lands_before_its_binding_is_made_anew_is_swept_and_the_new_one_is_granted() {
    let (world, proxy, gate) = died_creating("late-between").await;
    world.delete(Kind::Binding, "b").await;
    let operator = world.operator_by(&proxy).await;
    world.gone(Kind::Binding, "b").await;
    drop(operator);
    assert_eq!(released(&world, &gate, "create", "b").await, 201);
    created(&world, "b", "z").await;
    let _operator = world.operator_by(&proxy).await;
    let binding = world.ready("b").await;
    let output = world.output("b").await;
    let uid = &output["metadata"]["annotations"]["kleym.sonda.red/binding-uid"];
    assert_eq!(*uid, binding["metadata"]["uid"]);
    world.at_rest().await;
    world.is_settled().await;
}

#[tokio::test]
async fn a_create_that_lands_after_its_binding_was_displaced_is_swept() {
    let (world, proxy, gate) = died_creating("late-displaced").await;
    world.displaced("b");
    moved(&world, &[("a", "y")]).await;
    let _operator = world.operator_by(&proxy).await;
    world.ready("a").await;
    world.refused("b", "IdentityCollision").await;
    let mark = world.mark().await;
    assert_eq!(released(&world, &gate, "create", "b").await, 201);
    without_output(&world, "b").await;
    swept_in_time(&world, mark, "b").await;
    world.ready("a").await;
}

#[tokio::test]
async fn a_replace_that_lands_after_its_binding_was_displaced_is_refused_by_its_version() {
    let (world, proxy, operator) = prepared("late-replace").await;
    created(&world, "b", "y").await;
    world.ready("b").await;
    let gate = hold(&proxy, "update");
    moved(&world, &[("b", "z")]).await;
    gate.reached().await;
    drop(operator);
    moved(&world, &[("a", "z")]).await;
    let _operator = world.operator_by(&proxy).await;
    world.refused("b", "IdentityCollision").await;
    world.ready("a").await;
    world.gone(Kind::Output, &world.output_name("b")).await;
    let code = released(&world, &gate, "update", "b").await;
    assert!([404, 409].contains(&code), "{code}");
    without_output(&world, "b").await;
}

#[tokio::test]
async fn a_delete_that_lands_after_its_binding_was_made_anew_is_refused_by_its_uid() {
    let (world, proxy, operator) = prepared("late-delete").await;
    let gate = hold(&proxy, "delete");
    world.delete(Kind::Binding, "a").await;
    gate.reached().await;
    drop(operator);
    let _operator = world.operator_by(&proxy).await;
    world.gone(Kind::Binding, "a").await;
    created(&world, "a", "x").await;
    world.ready("a").await;
    let output = world.output("a").await;
    assert_eq!(released(&world, &gate, "delete", "a").await, 409);
    world.at_rest().await;
    assert_eq!(world.output("a").await, output);
}

#[tokio::test]
async fn a_watch_that_stands_still_while_everything_changes_costs_no_safety() {
    let (world, proxy, _operator) = prepared("late-watch").await;
    created(&world, "b", "y").await;
    world.ready("b").await;
    world.at_rest().await;
    let frozen = proxy.freeze(|asked| asked.is("watch", "clusterspiffeids"));
    // Both move, and the operator does not see what its own writes did but by their answers.
    moved(&world, &[("a", "y")]).await;
    moved(&world, &[("b", "x")]).await;
    let moved_in = |name: &'static str, item: &'static str| {
        let world = &world;
        async move {
            let output = world.output_name(name);
            let what = format!("the output of `{name}` holds {item}");
            world
                .until(&what, Kind::Output, &output, |found| {
                    ensure!(found.is_some_and(|output| output.to_string().contains(item)), "{found:?}");
                    Ok(())
                })
                .await;
        }
    };
    moved_in("a", "k8s:container-name:y").await;
    moved_in("b", "k8s:container-name:x").await;
    frozen.open();
    world.ready("a").await;
    world.ready("b").await;
    world.at_rest_for(Duration::from_millis(1_500)).await;
    world.is_settled().await;
}
