//! Several replicas of one operator: one leads, the others are ready to.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use futures::future;
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use kleym_core::kind::Kind;
use kleym_testenv::proxy::{Asked, Fault, Gate};
use kleym_testenv::{Call, Mark, eventually};
use kube::Api;
use kube::api::{ObjectMeta, PostParams};
use serde_json::{Value, json};

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
    world.with_chat().await;
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    operator.terminate().await;
}

#[tokio::test]
async fn a_leader_that_its_configuration_stops_gives_the_lease_back_for_one_with_the_right_one() {
    let world = World::new("braked-leader").await;
    let operator = world.operator_with(&["--leader-elect", "--trust-domain=example.org"]).await;
    world.with_chat().await;
    let stats = json!({"status": {"stats": {"namespacesSelected": 1, "podsSelected": 1, "entriesToSet": 1}}});
    world.edit_status(Kind::Output, &world.output_name("chat"), stats).await;
    operator.terminate().await;
    // It leads before it can see what its configuration does not fit.
    let (proxy, gate) = (world.proxy().await, Gate::new());
    proxy.once(|asked| asked.is("list", "clusterspiffeids"), Fault::Hold(gate.clone()));
    let wrong = world.start_operator_by(&proxy, &["--leader-elect"]).await;
    wrong.says(" leading lease=").await;
    gate.open();
    assert_eq!(wrong.end().await.code(), Some(1));
    assert!(wrong.log().contains("--allow-configuration-change"), "{}", wrong.log());
    let lease = leases(&world).get(&lease_name(&world)).await.unwrap();
    assert_eq!(lease.spec.unwrap().holder_identity.unwrap_or_default(), "");
}

/// The call in whose middle a leader is stopped.
#[derive(Debug, Clone, Copy)]
enum Held {
    Finalizer,
    Create,
    Status,
    Update,
    Delete,
}

impl Held {
    const ALL: [Self; 5] = [Self::Finalizer, Self::Create, Self::Status, Self::Update, Self::Delete];

    /// Verb and resource.
    fn brief(self) -> &'static str {
        match self {
            Self::Finalizer => "patch inferenceidentitybindings",
            Self::Create => "create clusterspiffeids",
            Self::Status => "update inferenceidentitybindings/status",
            Self::Update => "update clusterspiffeids",
            Self::Delete => "delete clusterspiffeids",
        }
    }

    /// The name of the object.
    fn name(self, world: &World) -> String {
        match self {
            Self::Finalizer | Self::Status => "two".to_owned(),
            Self::Create => world.output_name("two"),
            Self::Update | Self::Delete => world.output_name("one"),
        }
    }

    /// Does what makes the operator call so, where a binding `one` is Ready.
    async fn act(self, world: &World) {
        match self {
            Self::Finalizer | Self::Create | Self::Status => {
                world.create(per_objective("two", "chat", "two")).await;
            }
            Self::Update => {
                let patch = json!({"spec": {"containerDiscriminator": {"value": "other"}}});
                world.edit(Kind::Binding, "one", patch).await;
            }
            Self::Delete => world.delete(Kind::Binding, "one").await,
        }
    }

    /// Waits for what comes of that.
    async fn done(self, world: &World) {
        match self {
            Self::Finalizer | Self::Create | Self::Status => drop(world.ready("two").await),
            Self::Update => drop(world.ready("one").await),
            Self::Delete => world.gone(Kind::Binding, "one").await,
        }
    }

    /// The calls of this kind that arrived since then.
    fn arrived(self, world: &World, since: Mark) -> Vec<Call> {
        let name = self.name(world);
        let alike = |call: &Call| {
            let target = call.target();
            let resource = target.split_once('/').map_or(target.as_str(), |(_, rest)| rest);
            call.name == name && format!("{} {resource}", call.verb) == self.brief()
        };
        world.calls_so_far(since).into_iter().filter(alike).collect()
    }
}

/// A leader is stopped in the middle of a call; the other replica goes on in time and without a look at anything, and what
/// the first one sent, and what it would have sent, changes nothing any more.
async fn stopped_in_the_middle_of(held: Held) {
    let world = World::new(&format!("stopped-{held:?}").to_lowercase()).await;
    // Whoever stands still keeps no deadline.
    world.excuse("wire: without a deadline");
    released(&world).await;
    let (proxy, beside) = (world.proxy().await, world.proxy().await);
    let first = world.start_operator_by(&proxy, &["--leader-elect"]).await;
    let leads = leader(&world, None).await;
    first.ready().await;
    let second = world.start_operator_by(&beside, &["--leader-elect"]).await;
    second.ready().await;
    world.create_all([pool("llama", &[("app", "vllm")]), objective("chat", "llama")]).await;
    world.create(per_objective("one", "chat", "one")).await;
    world.ready("one").await;
    world.at_rest().await;

    let gate = Gate::new();
    proxy.once(move |asked| asked.brief() == held.brief(), Fault::Hold(gate.clone()));
    held.act(&world).await;
    gate.reached().await;
    let (mark, caught_up) = (world.mark().await, beside.asked().len());
    first.signal("STOP");
    let stopped = Timestamp::now();
    let follows = leader(&world, Some(&leads)).await;
    held.done(&world).await;
    world.at_rest().await;
    let writes = |call: &&Call| !["get", "list", "watch"].contains(&call.verb.as_str());
    let goes_on = world.calls_so_far(mark).iter().find(writes).unwrap().received.duration_since(stopped);
    // The lease is what is waited for, and not much else; how much is for the benchmark to measure, on a quiet machine.
    assert!(goes_on.as_secs() < 25, "{held:?}: the first write came after {goes_on}");
    // Its caches are warm; only what the former leader wrote last is asked for.
    let looks_around = |asked: &Asked| {
        asked.verb == "list" && !asked.uri.contains("fieldSelector") && !asked.is("list", "clusterspiffeids")
    };
    assert!(beside.asked()[caught_up..].iter().any(|asked| asked.is("list", "clusterspiffeids")), "{held:?}");
    assert!(!beside.asked()[caught_up..].iter().any(|asked| looks_around(asked)), "{held:?}");
    let before = held.arrived(&world, mark).len();
    let (outputs, asked) = (world.all(Kind::Output).await, proxy.asked().len());
    // The call under way is carried out now, and whoever made it wakes up.
    gate.open();
    first.signal("CONT");
    assert_eq!(first.end().await.code(), Some(1));
    first.says("leadership is lost").await;
    let lands = eventually("the call under way lands", SOON, || async {
        let arrived = held.arrived(&world, mark);
        ensure!(arrived.len() > before, "{arrived:?}");
        Ok(arrived)
    });
    let codes: Vec<u16> = lands.await.unwrap().iter().map(|call| call.code).collect();
    let (last, others) = codes.split_last().unwrap();
    assert!([404, 409].contains(last) && others.iter().all(|code| *code < 300), "{held:?}: {codes:?}");
    world.at_rest().await;
    let late: Vec<String> =
        proxy.asked()[asked..].iter().filter(|asked| asked.writes()).map(|asked| asked.brief()).collect();
    assert_eq!(late, Vec::<String>::new(), "{held:?}");
    let own = |outputs: Vec<Value>| -> Vec<Value> {
        let own =
            |output: &Value| output["metadata"]["labels"]["kleym.sonda.red/instance"] == *world.instance;
        outputs.into_iter().filter(own).collect()
    };
    assert_eq!(own(world.all(Kind::Output).await), own(outputs), "{held:?}");
    assert_eq!(leader(&world, None).await, follows);
    world.is_settled().await;
    second.terminate().await;
}

#[tokio::test]
async fn a_leader_that_is_stopped_in_the_middle_of_any_call_and_woken_writes_nothing_more() {
    future::join_all(Held::ALL.map(stopped_in_the_middle_of)).await;
}

#[tokio::test]
async fn a_replica_without_rights_to_its_lease_says_so_and_leads_when_they_are_given() {
    let world = World::new("leaseless").await;
    let operator = world.start_elector_without_lease().await;
    operator.says("the lease cannot be read or written").await;
    // Not ready, since nobody leads because of it; healthy, since a restart would not help.
    eventually("it is not ready", SOON, || async {
        let (code, body) = operator.probe("/readyz").await;
        ensure!(code == 503 && body.contains("lease of the leader election"), "{code} {body}");
        Ok(())
    })
    .await
    .unwrap();
    assert_eq!(operator.probe("/healthz").await.0, 200);
    world.create_all([pool("llama", &[("app", "vllm")]), objective("chat", "llama")]).await;
    world.create(per_objective("chat", "chat", "vllm")).await;
    world.give_lease_rights().await;
    world.ready("chat").await;
    operator.ready().await;
    operator.terminate().await;
}
