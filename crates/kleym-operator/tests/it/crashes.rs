//! The operator is killed at every call, before it is heard, after it is carried out, after it is answered; the next one
//! brings everything to where it would be had nothing happened.

use std::sync::Arc;

use futures::{StreamExt, stream};
use kleym_testenv::proxy::{Asked, Point};

use crate::scenario::Scenario;
use crate::world::World;

const POINTS: [Point; 3] = [Point::Before, Point::AfterCommit, Point::AfterReply];
/// How many worlds live side by side.
const AT_ONCE: usize = 3;

/// A call that counts: everything but watches and the lease.
fn counts(asked: &Asked) -> bool {
    asked.verb != "watch" && !asked.resource.starts_with("coordination.k8s.io/")
}

/// The scenario without a fault: the calls that it takes, and how it ends.
pub(crate) async fn reference(scenario: Scenario) -> (Vec<String>, String) {
    let world = World::new(&format!("{}-ref", scenario.name())).await;
    let proxy = world.proxy().await;
    let operator = world.operator_by(&proxy).await;
    scenario.prepare(&world).await;
    world.at_rest().await;
    let before = proxy.asked().len();
    scenario.act(&world).await;
    scenario.end(&world).await;
    world.at_rest().await;
    world.is_settled().await;
    let asked: Vec<Arc<Asked>> = proxy.asked().split_off(before);
    let calls = asked.iter().filter(|asked| counts(asked)).map(|asked| asked.brief()).collect();
    let snapshot = world.snapshot().await;
    drop(operator);
    (calls, snapshot)
}

/// The scenario with a crash at one call; whether it came to that call.
async fn crashed(scenario: Scenario, nth: usize, point: Point, expected: &str) -> bool {
    let world = World::new(&format!("{}-{nth}-{point:?}", scenario.name()).to_lowercase()).await;
    let proxy = world.proxy().await;
    let mut operator = world.operator_by(&proxy).await;
    scenario.prepare(&world).await;
    world.at_rest().await;
    let mut sprung = proxy.trap(counts, nth, point);
    scenario.act(&world).await;
    let reached = tokio::select! {
        sprung = sprung.wait_for(|sprung| *sprung) => sprung.is_ok(),
        () = async { scenario.end(&world).await; world.at_rest().await; } => false,
    };
    if reached {
        drop(operator);
        proxy.heal();
        operator = world.operator_by(&proxy).await;
        scenario.end(&world).await;
    }
    world.at_rest().await;
    world.is_settled().await;
    let found = world.snapshot().await;
    assert_eq!(found, expected, "{scenario:?}, call {nth}, {point:?}");
    drop(operator);
    reached
}

/// Kills at every call of a scenario.
pub(crate) async fn at_every_call(scenario: Scenario) {
    let (calls, expected) = reference(scenario).await;
    println!("{scenario:?}: killed at each of {} calls, three times: {calls:?}", calls.len());
    assert!(!calls.is_empty());
    let runs = (0..calls.len()).flat_map(|nth| POINTS.map(|point| (nth, point)));
    let reached: Vec<bool> = stream::iter(runs)
        .map(|(nth, point)| crashed(scenario, nth, point, &expected))
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    // Events are told on the side, so that the last one may come later than the end.
    let missed = reached.iter().filter(|reached| !**reached).count();
    assert!(missed <= POINTS.len(), "{missed} of {} kills found no call", reached.len());
}

#[tokio::test]
async fn every_scenario_comes_to_its_end_and_settles() {
    let runs = stream::iter(Scenario::FURTHER).map(reference);
    let all: Vec<(Vec<String>, String)> = runs.buffer_unordered(AT_ONCE).collect().await;
    assert!(all.iter().all(|(calls, _)| !calls.is_empty()));
}

#[tokio::test]
async fn killed_at_any_call_of_a_create_a_change_a_conflict_or_a_delete_the_next_operator_brings_it_to_the_same_end()
 {
    for scenario in Scenario::MAIN {
        at_every_call(scenario).await;
    }
}
