//! Several replicas of one operator: one leads, the others are ready to.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use kleym_testenv::eventually;
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
