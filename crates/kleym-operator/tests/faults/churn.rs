//! Faults that are no single call: an API server that dies under churn, definitions that go and come back, a hostile
//! writer, and a long rest.

use std::time::Duration;

use kleym_core::kind::Kind;
use serde_json::json;
use tokio::time::Instant;

use crate::scenario::Scenario;
use crate::world::{OBJECTIVE, POOL, World, install, objective, per_objective, pool, remove};

async fn granted(world: &World) {
    world.create_all([pool("llama", &[("app", "vllm")]), objective("chat", "llama")]).await;
    world.create(per_objective("chat", "chat", "vllm")).await;
    world.ready("chat").await;
}

#[tokio::test]
async fn an_api_server_that_is_killed_and_started_again_under_churn_costs_nothing() {
    let world = World::with_only("killed", &Kind::ALL).await;
    let _operator = world.operator().await;
    Scenario::Swap.prepare(&world).await;
    for _ in 0..3 {
        Scenario::Swap.act(&world).await;
        world.stop_apiserver();
        world.start_apiserver().await.unwrap();
        Scenario::Swap.end(&world).await;
        let back = json!({"spec": {"containerDiscriminator": {"value": "x"}}});
        world.edit(Kind::Binding, "b", json!({"spec": {"containerDiscriminator": {"value": "q"}}})).await;
        world.ready("b").await;
        world.edit(Kind::Binding, "a", back).await;
        world.ready("a").await;
        world.edit(Kind::Binding, "b", json!({"spec": {"containerDiscriminator": {"value": "y"}}})).await;
        world.ready("b").await;
    }
    world.at_rest().await;
    world.is_settled().await;
}

#[tokio::test]
async fn the_definitions_of_each_kind_go_and_come_back() {
    let world = World::with_only("definitions", &Kind::ALL).await;
    let operator = world.operator().await;
    granted(&world).await;
    for (kind, reason) in [
        (POOL, "InferencePoolCRDMissing"),
        (OBJECTIVE, "InferenceObjectiveCRDMissing"),
        (Kind::Output, "ClusterSPIFFEIDCRDMissing"),
    ] {
        remove(&world.client, kind).await;
        // Another group may still serve the kind.
        if kind == Kind::Output {
            world.refused("chat", reason).await;
        } else {
            world.gone(Kind::Output, &world.output_name("chat")).await;
        }
        install(&world.client, &[kind]).await;
        match kind {
            POOL => drop(world.create(pool("llama", &[("app", "vllm")])).await),
            OBJECTIVE => drop(world.create(objective("chat", "llama")).await),
            _ => {}
        }
        world.ready("chat").await;
    }
    assert_eq!(operator.probe("/healthz").await.0, 200);
    world.at_rest().await;
    world.is_settled().await;
}

#[tokio::test]
async fn a_hostile_writer_starves_nobody_and_everything_settles_when_it_stops() {
    let world = World::new("hostile").await;
    let _operator = world.operator().await;
    granted(&world).await;
    let until = Instant::now() + Duration::from_secs(20);
    let hostile = async {
        let mut nth = 0_u64;
        while Instant::now() < until {
            nth += 1;
            let patch = json!({"spec": {"containerDiscriminator": {"value": format!("c{}", nth % 7)}}});
            world.edit(Kind::Binding, "chat", patch).await;
            tokio::time::sleep(Duration::from_millis(10)).await;
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
    let minute = tokio::time::sleep(Duration::from_secs(60));
    minute.await;
    let calls = world.calls_so_far(mark);
    assert_eq!(calls, [], "{calls:?}");
    let renewals = world.lease_calls(mark).await;
    println!("in a minute at rest: {} renewals of the lease, and nothing else", renewals.len());
    assert!(
        (20..=27).contains(&renewals.len()) && renewals.iter().all(|call| call == "update leases"),
        "{renewals:?}"
    );
}
