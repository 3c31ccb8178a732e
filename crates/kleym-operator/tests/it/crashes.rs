//! The operator is killed at every call, before it is heard, after it is carried out, after it is answered; the next one
//! brings everything to where it would be had nothing happened.

use futures::{StreamExt, future, stream};
use kleym_core::kind::Kind;
use kleym_testenv::proxy::Point;

use crate::runs::{Reference, Run, counts, reference, reference_in};
use crate::scenario::Scenario;
use crate::world::{OBJECTIVE, POOL, World};

const POINTS: [Point; 3] = [Point::Before, Point::AfterCommit, Point::AfterReply];
/// How many worlds live side by side.
const AT_ONCE: usize = 3;

/// The scenario with a crash at one call; whether it came to that call.
async fn crashed(scenario: Scenario, nth: usize, point: Point, reference: &Reference) -> bool {
    let expected = reference.end.as_str();
    let mut run =
        Run::prepared(scenario, &format!("{}-{nth}-{point:?}", scenario.name()).to_lowercase()).await;
    let reached = run.killed_at(counts, nth, point, expected).await;
    if reached {
        run.ends(expected).await;
        run.lives().await;
        assert_eq!(run.deeds().await, reference.deeds);
    }
    run.close().await;
    reached
}

/// Kills at every call of a scenario.
pub(crate) async fn at_every_call(scenario: Scenario) {
    let reference = &reference(scenario).await;
    let calls = &reference.calls;
    println!("{scenario:?}: killed at each of {} calls, three times: {calls:?}", calls.len());
    assert!(!calls.is_empty());
    let runs = (0..calls.len()).flat_map(|nth| POINTS.map(|point| (nth, point)));
    let missed: Vec<(usize, Point)> = stream::iter(runs)
        .map(|(nth, point)| async move {
            (!crashed(scenario, nth, point, reference).await).then_some((nth, point))
        })
        .buffer_unordered(AT_ONCE)
        .filter_map(future::ready)
        .collect()
        .await;
    // Events are told on the side, so that the last one may come later than the end.
    let told = calls.iter().filter(|call| call.contains("-events")).count();
    assert!(missed.iter().all(|(nth, _)| nth + told >= calls.len()), "{missed:?} of {calls:?}");
}

#[tokio::test]
async fn every_scenario_comes_to_its_end_and_settles() {
    let runs = stream::iter(Scenario::FURTHER).map(reference);
    let all: Vec<Reference> = runs.buffer_unordered(AT_ONCE).collect().await;
    assert!(all.iter().all(|reference| !reference.calls.is_empty() && !reference.heard.is_empty()));
}

#[tokio::test]
async fn the_definition_of_each_kind_goes_with_all_its_objects_and_comes_back() {
    let world = World::with_only("definitions", &Kind::ALL).await;
    for kind in [Kind::Binding, OBJECTIVE, POOL, Kind::Output] {
        let own = world.beside(kind.plural()).await;
        reference_in(own, Scenario::Definition(kind)).await;
    }
}

#[tokio::test]
async fn killed_at_any_call_of_a_create_a_change_a_conflict_or_a_delete_the_next_operator_brings_it_to_the_same_end()
 {
    for scenario in Scenario::MAIN {
        at_every_call(scenario).await;
    }
}
