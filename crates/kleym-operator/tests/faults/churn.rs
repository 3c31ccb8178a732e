//! What is no fault of a single call: an API server that dies under churn, a hostile writer, a SPIRE that leaves outputs
//! alone, and a long rest.

use std::time::Duration;

use futures::{StreamExt, future, stream};
use k8s_openapi::api::events::v1::Event;
use kleym_core::kind::Kind;
use kleym_testenv::eventually;
use kube::Api;
use kube::api::ListParams;
use serde_json::json;
use tokio::time::{Instant, interval};

use crate::runs::{Reference, Run, reference};
use crate::scenario::Scenario;
use crate::snapshot::{copy, put_back, restart_etcd};
use crate::world::{World, objective, per_objective, pool};

async fn granted(world: &World) {
    world.with_chat().await;
}

/// Every scenario that is no restart of the operator, and how it ends when nothing goes wrong.
async fn references() -> Vec<(Scenario, Reference)> {
    let all = Scenario::MAIN.into_iter().chain(Scenario::FURTHER);
    let all = all.filter(|scenario| scenario.restarts_with().is_empty());
    let references = stream::iter(all).map(|scenario| async move { (scenario, reference(scenario).await) });
    references.buffer_unordered(8).collect().await
}

/// All of them at once, prepared on one control plane.
async fn prepared(world: &World, references: &[(Scenario, Reference)]) -> Vec<(Run, String)> {
    let runs = stream::iter(references).map(|(scenario, reference)| async {
        let own = world.beside(&scenario.name()).await;
        (Run::prepared_with(*scenario, own, false, &[]).await, reference.end.clone())
    });
    runs.buffer_unordered(8).collect().await
}

async fn all_end(runs: Vec<(Run, String)>) {
    stream::iter(runs)
        .for_each_concurrent(8, |(run, end)| async move {
            run.ends(&end).await;
            run.lives().await;
            run.close().await;
        })
        .await;
}

#[tokio::test]
async fn an_api_server_and_an_etcd_that_are_killed_in_the_middle_of_every_scenario_cost_nothing() {
    let references = references().await;
    let world = World::with_only("killed", &Kind::ALL).await;
    for etcd_too in [false, true] {
        let mut runs = prepared(&world, &references).await;
        future::join_all(runs.iter_mut().map(|(run, _)| run.act())).await;
        world.stop_apiserver();
        if etcd_too {
            world.stop_etcd();
            world.start_etcd().await.unwrap();
        }
        world.start_apiserver().await.unwrap();
        all_end(runs).await;
    }
}

#[tokio::test]
async fn after_etcd_was_restored_from_an_older_snapshot_every_scenario_can_be_played_again() {
    let references = references().await;
    let world = World::with_only("restored", &Kind::ALL).await;
    let mut runs = prepared(&world, &references).await;
    restart_etcd(&world, copy).await;
    for (run, end) in &mut runs {
        // Revisions repeat themselves, so that no history can be told.
        ["S1", "S2", "S3", "S4"].iter().for_each(|rule| run.world.excuse(rule));
        run.act().await;
        run.ends(end).await;
    }
    restart_etcd(&world, put_back).await;
    let again = runs.iter_mut().map(|(run, _)| async {
        let operator = run.take_operator();
        assert_eq!(operator.end().await.code(), Some(1), "{}", operator.log());
        drop(operator);
        run.start().await;
        run.act().await;
    });
    future::join_all(again).await;
    all_end(runs).await;
}

#[tokio::test]
async fn a_hostile_writer_starves_nobody_and_everything_settles_when_it_stops() {
    let world = World::new("hostile").await;
    let _operator = world.operator().await;
    granted(&world).await;
    let until = Instant::now() + Duration::from_secs(20);
    let hostile = async {
        let mut nth = 0_u64;
        // A hundred changes a second: a load, and nothing that is waited for.
        let mut pace = interval(Duration::from_millis(10));
        while pace.tick().await < until {
            nth += 1;
            let patch = json!({"spec": {"containerDiscriminator": {"value": format!("c{}", nth % 7)}}});
            world.edit(Kind::Binding, "chat", patch).await;
        }
        nth
    };
    let patient = async {
        let mut slowest = Duration::ZERO;
        let mut nth = 0;
        while Instant::now() < until {
            nth += 1;
            let name = format!("patient-{nth}");
            let began = Instant::now();
            world.create_all([objective(&name, "llama"), per_objective(&name, &name, &name)]).await;
            world.ready(&name).await;
            slowest = slowest.max(began.elapsed());
        }
        (nth, slowest)
    };
    let (edits, (granted, slowest)) = tokio::join!(hostile, patient);
    println!(
        "{edits} edits in 20 s; meanwhile {granted} others were granted, the slowest within {slowest:?}"
    );
    assert!(granted >= 5 && slowest < Duration::from_secs(5), "{granted}, {slowest:?}");
    world.ready("chat").await;
    world.at_rest().await;
    world.is_settled().await;
}

#[tokio::test]
async fn at_rest_for_a_minute_a_leader_renews_its_lease_and_asks_nothing_else() {
    let world = World::new("minute").await;
    let _operator = world.operator_with(&["--leader-elect"]).await;
    granted(&world).await;
    let mark = world.at_rest().await;
    let (began, minute) = (Instant::now(), Duration::from_secs(60));
    let over = eventually("a minute is over", minute * 2, || async move {
        (began.elapsed() >= minute).then_some(()).ok_or("not yet")
    });
    over.await.unwrap();
    let calls = world.calls_so_far(mark);
    assert_eq!(calls, [], "{calls:?}");
    let renewals = world.lease_calls(mark).await;
    println!("in a minute at rest: {} renewals of the lease, and nothing else", renewals.len());
    assert!(
        (20..=27).contains(&renewals.len()) && renewals.iter().all(|call| call == "update leases"),
        "{renewals:?}"
    );
}

/// What was told about what SPIRE makes of outputs, as `<reason> <binding>`, with the seconds since the output was created.
async fn told_of_spire(world: &World) -> Vec<(String, i64)> {
    let events = Api::<Event>::namespaced(world.client.clone(), &world.namespace);
    let mut told = Vec::new();
    for event in events.list(&ListParams::default()).await.unwrap() {
        let reason = event.reason.unwrap_or_default();
        if !["NotPickedUp", "NotIssued"].contains(&reason.as_str()) {
            continue;
        }
        assert_eq!(event.type_.as_deref(), Some("Warning"));
        let binding = event.regarding.and_then(|regarding| regarding.name).unwrap();
        let created = world.output(&binding).await["metadata"]["creationTimestamp"].clone();
        let created: jiff::Timestamp = created.as_str().unwrap().parse().unwrap();
        let since = event.event_time.unwrap().0.as_second() - created.as_second();
        told.push((format!("{reason} {binding}"), since));
    }
    told.sort();
    told
}

#[tokio::test]
async fn what_spire_leaves_alone_is_told_once_after_two_minutes_and_stays_one_event_over_a_restart() {
    let world = World::new("vigil").await;
    let operator = world.operator().await;
    world.create(pool("llama", &[("app", "vllm")])).await;
    for name in ["silent", "failing", "served"] {
        world.create_all([objective(name, "llama"), per_objective(name, name, name)]).await;
        world.ready(name).await;
    }
    for (name, entries) in [("failing", 0), ("served", 3)] {
        let stats = json!({"namespacesSelected": 1, "podsSelected": 3, "entriesToSet": entries});
        world.edit_status(Kind::Output, &world.output_name(name), json!({"status": {"stats": stats}})).await;
    }
    let told = eventually("it is told", Duration::from_secs(240), || async {
        let told = told_of_spire(&world).await;
        anyhow::ensure!(told.len() >= 2, "{told:?}");
        Ok(told)
    });
    let told = told.await.unwrap_or_else(|error| panic!("{error:#}"));
    let what: Vec<&str> = told.iter().map(|(what, _)| what.as_str()).collect();
    assert_eq!(what, ["NotIssued failing", "NotPickedUp silent"]);
    // Times of objects have no parts of a second.
    assert!(told.iter().all(|(_, since)| *since >= 119), "{told:?}");
    world.at_rest().await;
    operator.terminate().await;
    let _operator = world.operator().await;
    world.at_rest_for(Duration::from_secs(3)).await;
    assert_eq!(told_of_spire(&world).await, told);
}
