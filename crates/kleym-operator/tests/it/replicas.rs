//! Several replicas of one operator: one leads, the others are ready to.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use kleym_testenv::eventually;
use kleym_testenv::proxy::{Fault, Gate};
use kube::Api;
use kube::api::{ObjectMeta, PostParams};

use crate::world::{SOON, World, objective, per_objective, pool};

fn leases(world: &World) -> Api<Lease> {
    Api::namespaced(world.client.clone(), "default")
}

fn lease_name(world: &World) -> String {
    format!("kleym-operator-{}", world.instance)
}

/// Leaves a lease as a leader does that ended well: nobody has to wait for it.
async fn released(world: &World) {
    let metadata = ObjectMeta { name: Some(lease_name(world)), ..ObjectMeta::default() };
    let spec = LeaseSpec { lease_duration_seconds: Some(1), ..LeaseSpec::default() };
    let lease = Lease { metadata, spec: Some(spec) };
    leases(world).create(&PostParams::default(), &lease).await.unwrap();
}

/// Waits until a replica holds the lease; gives its identity.
async fn leader(world: &World, not: Option<&str>) -> String {
    let (leases, name) = (leases(world), lease_name(world));
    let held = eventually("somebody leads", SOON, || async {
        let lease = leases.get_opt(&name).await?.context("there is no lease yet")?;
        let holder = lease.spec.and_then(|spec| spec.holder_identity).unwrap_or_default();
        ensure!(!holder.is_empty() && Some(holder.as_str()) != not, "held by `{holder}`");
        Ok(holder)
    });
    held.await.unwrap()
}

#[tokio::test]
async fn of_two_replicas_one_writes_and_the_other_takes_over_when_it_ends() {
    let world = World::new("replicas").await;
    released(&world).await;
    let first = world.operator_with(&["--leader-elect"]).await;
    let leads = leader(&world, None).await;
    let second = world.operator_with(&["--leader-elect"]).await;
    world.create_all([pool("llama", &[("app", "vllm")]), objective("chat", "llama")]).await;
    let mark = world.at_rest().await;
    world.create(per_objective("one", "chat", "one")).await;
    world.ready("one").await;
    assert_eq!(
        world.calls(mark).await,
        [
            "patch inferenceidentitybindings",
            "create clusterspiffeids",
            "update inferenceidentitybindings/status"
        ]
    );
    assert_eq!(leader(&world, None).await, leads);

    let ended = Instant::now();
    first.terminate().await;
    leader(&world, Some(&leads)).await;
    world.create(per_objective("two", "chat", "two")).await;
    world.ready("two").await;
    // A lease that was given back is not waited for.
    assert!(ended.elapsed() < Duration::from_secs(12), "{:?}", ended.elapsed());
    assert_eq!(world.granted().await, ["one", "two"]);
    second.terminate().await;
}

#[tokio::test]
async fn a_first_replica_leads_at_once_where_there_is_no_lease_yet() {
    let world = World::new("first").await;
    let started = Instant::now();
    let operator = world.operator_with(&["--leader-elect"]).await;
    world.create_all([pool("llama", &[("app", "vllm")]), objective("chat", "llama")]).await;
    world.create(per_objective("chat", "chat", "vllm")).await;
    world.ready("chat").await;
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    operator.terminate().await;
}

#[tokio::test]
async fn a_leader_that_is_stopped_in_the_middle_of_a_call_and_woken_writes_nothing_more() {
    let world = World::new("stopped").await;
    // Whoever stands still keeps no deadline.
    world.excuse("wire: without a deadline");
    released(&world).await;
    let proxy = world.proxy().await;
    let first = world.start_operator_by(&proxy, &["--leader-elect"]).await;
    let leads = leader(&world, None).await;
    first.ready().await;
    let second = world.operator_with(&["--leader-elect"]).await;
    world.create_all([pool("llama", &[("app", "vllm")]), objective("chat", "llama")]).await;
    world.create(per_objective("one", "chat", "one")).await;
    world.ready("one").await;
    world.at_rest().await;

    let gate = Gate::new();
    proxy.once(|asked| asked.is("create", "clusterspiffeids"), Fault::Hold(gate.clone()));
    world.create(per_objective("two", "chat", "two")).await;
    gate.reached().await;
    let mark = world.mark().await;
    first.signal("STOP");
    let stopped = Instant::now();
    let follows = leader(&world, Some(&leads)).await;
    assert!(stopped.elapsed() < Duration::from_secs(17), "{:?}", stopped.elapsed());
    world.ready("two").await;
    let (output, asked) = (world.output("two").await, proxy.asked().len());
    // The call under way is carried out now, and whoever made it wakes up.
    gate.open();
    first.signal("CONT");
    assert_eq!(first.end().await.code(), Some(1));
    first.says("leadership is lost").await;
    let output_name = world.output_name("two");
    let lands = eventually("the call under way lands", SOON, || async {
        let calls = world.calls_so_far(mark);
        let creates = calls.iter().filter(|call| call.verb == "create" && call.name == output_name).count();
        ensure!(creates == 2, "{creates} creates");
        Ok(())
    });
    lands.await.unwrap();
    let calls = world.named_calls(mark).await;
    assert_eq!(
        calls,
        [
            format!("create clusterspiffeids {output_name}"),
            "update inferenceidentitybindings/status two".to_owned(),
            format!("create clusterspiffeids {output_name}"),
        ],
        "the second replica's, and the one that came late"
    );
    let late: Vec<String> =
        proxy.asked()[asked..].iter().filter(|asked| asked.writes()).map(|asked| asked.brief()).collect();
    assert_eq!(late, Vec::<String>::new());
    assert_eq!(world.output("two").await, output);
    assert_eq!(leader(&world, None).await, follows);
    world.is_settled().await;
    second.terminate().await;
}

#[tokio::test]
async fn a_replica_without_rights_to_its_lease_says_so_and_leads_when_they_are_given() {
    let world = World::new("leaseless").await;
    let operator = world.start_elector_without_lease().await;
    operator.says("the lease cannot be read or written").await;
    assert_eq!(operator.probe("/healthz").await.0, 200);
    world.create_all([pool("llama", &[("app", "vllm")]), objective("chat", "llama")]).await;
    world.create(per_objective("chat", "chat", "vllm")).await;
    world.give_lease_rights().await;
    world.ready("chat").await;
    operator.terminate().await;
}
