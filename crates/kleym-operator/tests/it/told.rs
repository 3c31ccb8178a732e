//! What the operator tells the cluster of what it does: one event a transition, about the object that it concerns, and
//! none for what was told before. How an event is written is in `events`; which transitions there are, in the core.

use std::collections::BTreeMap;

use anyhow::ensure;
use k8s_openapi::api::events::v1::Event;
use kleym_core::kind::Kind;
use kleym_testenv::eventually;
use kleym_testenv::proxy::{Asked, Fault, Gate};
use kube::Api;
use kube::api::ListParams;
use serde_json::json;

use crate::world::{OBJECTIVE, Object, SOON, World, objective, per_objective, pool};

/// How often each thing was told, as `<type> <reason> <object>`.
type Told = BTreeMap<String, i32>;

/// What was told of the bindings of a world, and of outputs that carry its namespace in their names.
async fn told(world: &World) -> Told {
    let mut told = Told::new();
    for namespace in [world.namespace.as_str(), "default"] {
        let events = Api::<Event>::namespaced(world.client.clone(), namespace);
        for event in events.list(&ListParams::default()).await.unwrap() {
            let name = event.regarding.and_then(|regarding| regarding.name).unwrap_or_default();
            if namespace == "default" && !name.contains(&world.namespace) {
                continue;
            }
            let text = |text: Option<String>| text.unwrap_or_default();
            let what = format!("{} {} {name}", text(event.type_), text(event.reason));
            *told.entry(what).or_default() += event.series.map_or(1, |series| series.count);
        }
    }
    told
}

/// What is to have been told by now.
struct Expected<'a> {
    world: &'a World,
    told: Told,
}

impl Expected<'_> {
    /// Waits until this was told too, and expects that nothing else was.
    async fn and(&mut self, news: &[&str]) {
        for one in news {
            *self.told.entry((*one).to_owned()).or_default() += 1;
        }
        let all = eventually("everything is told", SOON, || async {
            let found = told(self.world).await;
            ensure!(found == self.told, "{found:#?}\nbut it is to be\n{:#?}", self.told);
            Ok(())
        });
        all.await.unwrap_or_else(|error| panic!("{error:#}"));
        self.world.at_rest().await;
        assert_eq!(told(self.world).await, self.told);
    }
}

fn nothing(world: &World) -> Expected<'_> {
    Expected { world, told: Told::new() }
}

#[tokio::test]
async fn every_transition_is_told_once_and_the_older_of_two_hears_of_the_contest_and_of_its_end() {
    let world = World::new("told").await;
    let operator = world.operator().await;
    world.create(pool("llama", &[("app", "vllm")])).await;
    world.create_all([objective("chat", "llama"), objective("code", "llama")]).await;
    let mut expected = nothing(&world);
    world.create(per_objective("older", "chat", "vllm")).await;
    world.ready("older").await;
    expected.and(&["Normal IdentityGranted older"]).await;

    world.create(per_objective("younger", "code", "vllm")).await;
    world.refused("younger", "IdentityCollision").await;
    expected.and(&["Warning IdentityRefused younger", "Warning IdentityContested older"]).await;

    // The next operator finds both as they were told to be.
    operator.terminate().await;
    let operator = world.operator().await;
    world.at_rest().await;
    expected.and(&[]).await;

    let moved = json!({"spec": {"containerDiscriminator": {"value": "router"}}});
    world.edit(Kind::Binding, "younger", moved).await;
    world.ready("younger").await;
    expected.and(&["Normal IdentityGranted younger", "Normal ConflictEnded older"]).await;

    let template = "spiffe://{{ .TrustDomain }}/ns/{{ .Namespace }}/model/{{ .ObjectiveName }}";
    world.edit(Kind::Binding, "older", json!({"spec": {"spiffeIDTemplate": template}})).await;
    world.ready("older").await;
    expected.and(&["Normal IdentityChanged older"]).await;

    world.delete(OBJECTIVE, "chat").await;
    world.refused("older", "TargetObjectiveNotFound").await;
    expected.and(&["Warning IdentityWithdrawn older"]).await;

    world.delete(Kind::Binding, "younger").await;
    world.gone(Kind::Binding, "younger").await;
    expected.and(&["Normal IdentityWithdrawn younger"]).await;

    operator.terminate().await;
    let _operator = world.operator().await;
    world.at_rest().await;
    expected.and(&[]).await;
}

/// A ClusterSPIFFEID that somebody wrote by hand.
fn by_hand(name: &str) -> Object {
    Object::new(Kind::Output, name, json!({"spiffeIDTemplate": "spiffe://example.org/by/hand"}))
}

#[tokio::test]
async fn foreign_objects_and_orphans_are_told_and_counted() {
    let world = World::new("strange").await;
    let operator = world.operator_with(&["--metrics-bind-address=127.0.0.1:0"]).await;
    world.create_all([pool("llama", &[("app", "vllm")]), objective("chat", "llama")]).await;
    let mut expected = nothing(&world);
    let orphan = world.output_name("gone");
    let proofs = by_hand(&orphan)
        .with("/metadata/labels/kleym.sonda.red~1managed-by", json!("kleym"))
        .with("/metadata/labels/kleym.sonda.red~1instance", json!(world.instance))
        .with("/metadata/annotations/kleym.sonda.red~1binding", json!(format!("{}/gone", world.namespace)))
        .with("/metadata/annotations/kleym.sonda.red~1binding-uid", json!("long-gone"));
    world.create(proofs).await;
    world.gone(Kind::Output, &orphan).await;
    expected.and(&[&format!("Warning OrphanRemoved {orphan}")]).await;

    let look_alike = format!("{}-look-alike", world.namespace);
    let labels = json!({"kleym.sonda.red/managed-by": "kleym", "kleym.sonda.red/instance": world.instance});
    world.create(by_hand(&look_alike).with("/metadata/labels", labels)).await;
    expected.and(&[&format!("Warning ForeignObjectMet {look_alike}")]).await;

    let output = world.output_name("chat");
    world.create(by_hand(&output)).await;
    world.create(per_objective("chat", "chat", "vllm")).await;
    world.refused("chat", "ManagedOutputConflict").await;
    expected.and(&["Warning ForeignObjectMet chat"]).await;
    world.delete(Kind::Output, &output).await;
    world.ready("chat").await;
    expected.and(&["Normal IdentityGranted chat"]).await;

    let strip = json!([
        {"op": "remove", "path": "/metadata/labels"},
        {"op": "remove", "path": "/metadata/annotations"},
    ]);
    world.json_patch(Kind::Output, &output, strip).await;
    world.refused("chat", "ManagedOutputConflict").await;
    expected.and(&["Warning ForeignObjectMet chat"]).await;

    let page = operator.metrics().await.unwrap();
    for sample in ["kleym_orphans_removed_total 1", "kleym_foreign_objects_met_total 3"] {
        assert!(page.lines().any(|line| line == sample), "{sample}: {page}");
    }
}

#[tokio::test]
async fn events_that_nobody_answers_hold_no_step_up() {
    let world = World::new("unheard").await;
    let proxy = world.proxy().await;
    let _operator = world.operator_by(&proxy).await;
    world.create_all([pool("llama", &[("app", "vllm")]), objective("chat", "llama")]).await;
    let gate = Gate::new();
    let tells = |asked: &Asked| asked.resource == "events.k8s.io/events";
    proxy.always(tells, Fault::Hold(gate.clone()));
    world.create(per_objective("chat", "chat", "vllm")).await;
    world.ready("chat").await;
    gate.reached().await;
    let moved = json!({"spec": {"containerDiscriminator": {"value": "router"}}});
    world.edit(Kind::Binding, "chat", moved).await;
    world.ready("chat").await;
    world.delete(Kind::Binding, "chat").await;
    world.gone(Kind::Binding, "chat").await;
    assert_eq!(world.find_output("chat").await, None);
    assert_eq!(told(&world).await, Told::new());
    gate.open();
}
