//! From a binding to its pool: objectives and pools of every group, alone and together, and any subset of their
//! definitions in the cluster.

use kleym_core::kind::{Kind, ObjectiveGroup, PoolGroup};
use serde_json::{Value, json};

use crate::world::{
    Kstatus, OBJECTIVE, OBJECTIVE_X, POOL, POOL_X, World, objective, objective_of, per_objective, pool,
    pool_only, pool_x, refused, resolved, status_of,
};

fn pods(world_output: &Value) -> Value {
    world_output["spec"]["podSelector"]["matchLabels"].clone()
}

#[tokio::test]
async fn objectives_of_llm_d_alone_lead_to_pools_of_today_in_every_namespace() {
    let world = World::with_only("llm-d", &[Kind::Binding, OBJECTIVE, POOL, Kind::Output]).await;
    let _operator = world.operator_everywhere().await;
    let other = world.neighbour("other").await;
    other.create_all([pool("llama", &[("app", "other")]), objective("chat", "llama")]).await;
    other.create(pool_only("all", "chat")).await;
    other.ready("all").await;
    assert_eq!(pods(&other.output("all").await), json!({"app": "other"}));
    world.create_all([pool("llama", &[("app", "vllm")]), objective("chat", "llama")]).await;
    world.create_all([per_objective("one", "chat", "vllm"), pool_only("all", "chat")]).await;
    world.ready("one").await;
    world.ready("all").await;
    assert_eq!(pods(&world.output("all").await), json!({"app": "vllm"}));
}

#[tokio::test]
async fn objectives_of_gaie_alone_lead_to_pools_of_before() {
    let world = World::with_only("gaie", &[Kind::Binding, OBJECTIVE_X, POOL_X, Kind::Output]).await;
    let _operator = world.operator().await;
    let group = json!("inference.networking.x-k8s.io");
    let objective =
        objective_of(ObjectiveGroup::InferenceX, "chat", "llama").with("/spec/poolRef/group", group);
    world.create_all([pool_x("llama", &[("app", "vllm")]), objective]).await;
    world.create_all([per_objective("one", "chat", "vllm"), pool_only("all", "chat")]).await;
    world.ready("one").await;
    world.ready("all").await;
    assert_eq!(pods(&world.output("all").await), json!({"app": "vllm"}));

    // The group that an objective names by default is the one that is not installed here.
    world.create(objective_of(ObjectiveGroup::InferenceX, "elsewhere", "llama")).await;
    world.create(pool_only("elsewhere", "elsewhere")).await;
    let missing = world.refused("elsewhere", "InferencePoolCRDMissing").await;
    let message = "no CustomResourceDefinition `inferencepools.inference.networking.k8s.io` is installed; install \
                   the CustomResourceDefinitions of the Gateway API Inference Extension";
    let conditions = refused(1, "InvalidRef", "InferencePoolCRDMissing", message, Kstatus::Reconciling);
    assert_eq!(status_of(&missing), resolved(1, &world.instance, conditions));
}

#[tokio::test]
async fn a_pool_can_be_the_target_where_no_objective_is_served() {
    let world = World::with_only("pools", &[Kind::Binding, POOL, POOL_X, Kind::Output]).await;
    let _operator = world.operator().await;
    world.create_all([pool("llama", &[("app", "vllm")]), pool_x("older", &[("app", "older")])]).await;
    let kind = json!("InferencePool");
    let of_pool = |name: &str| pool_only(name, name).with("/spec/targetRef/kind", kind.clone());
    world.create_all([of_pool("llama"), of_pool("older"), pool_only("objective", "chat")]).await;
    world.ready("llama").await;
    world.ready("older").await;
    let id = format!("spiffe://kleym.sonda.red/ns/{}/pool/older", world.namespace);
    assert_eq!(world.output("older").await["spec"]["spiffeIDTemplate"], id);
    let missing = world.refused("objective", "InferenceObjectiveCRDMissing").await;
    let message = "no CustomResourceDefinition of InferenceObjective is installed in any of the groups `llm-d.ai`, \
                   `inference.networking.x-k8s.io` and `inference.networking.k8s.io`; install it, or bind a pool with \
                   spec.targetRef.kind InferencePool and mode PoolOnly";
    let conditions = refused(1, "InvalidRef", "InferenceObjectiveCRDMissing", message, Kstatus::Reconciling);
    assert_eq!(status_of(&missing), resolved(1, &world.instance, conditions));
}

#[tokio::test]
async fn objectives_of_one_name_in_several_groups_count_as_one_when_they_lead_to_the_same_pool() {
    let world = World::new("both").await;
    let _operator = world.operator().await;
    world.create_all([pool("llama", &[("app", "vllm")]), pool("mistral", &[("app", "mistral")])]).await;
    for group in ObjectiveGroup::ALL {
        world.create(objective_of(group, "chat", "llama")).await;
    }
    world.create(pool_only("chat", "chat")).await;
    world.ready("chat").await;
    let before = world.output("chat").await;

    // One of them moves: nobody can say which one is meant.
    world.edit(OBJECTIVE_X, "chat", json!({"spec": {"poolRef": {"name": "mistral"}}})).await;
    let ambiguous = world.refused("chat", "AmbiguousTargetRef").await;
    let message = "several objects of kind InferenceObjective are called `chat` and disagree: llm-d.ai leads to pool \
                   `llama` (inference.networking.k8s.io), inference.networking.x-k8s.io leads to pool `mistral` \
                   (inference.networking.k8s.io), inference.networking.k8s.io leads to pool `llama` \
                   (inference.networking.k8s.io); pin one with spec.targetRef.group or remove the others";
    let conditions = refused(1, "InvalidRef", "AmbiguousTargetRef", message, Kstatus::Stalled);
    assert_eq!(status_of(&ambiguous), resolved(1, &world.instance, conditions));
    assert_eq!(world.find_output("chat").await, None);

    // A pinned group decides, and the group is no part of the identity.
    let pin = json!({"spec": {"targetRef": {"group": "inference.networking.x-k8s.io"}}});
    world.edit(Kind::Binding, "chat", pin).await;
    world.ready("chat").await;
    assert_eq!(pods(&world.output("chat").await), json!({"app": "mistral"}));
    world.edit(OBJECTIVE_X, "chat", json!({"spec": {"poolRef": {"name": "llama"}}})).await;
    world
        .until("the output is as it was", Kind::Output, &world.output_name("chat"), |output| {
            anyhow::ensure!(output.is_some_and(|output| output["spec"] == before["spec"]), "not yet");
            Ok(())
        })
        .await;
}

#[tokio::test]
async fn twin_pools_of_both_groups_are_one_pool_and_disagreeing_ones_are_ambiguous() {
    let world = World::new("twins").await;
    let _operator = world.operator().await;
    world.create_all([pool("llama", &[("app", "vllm")]), pool_x("llama", &[("app", "vllm")])]).await;
    world.create(pool_only("target", "llama").with("/spec/targetRef/kind", json!("InferencePool"))).await;
    // An objective may name either twin, or none in particular.
    for (name, group) in
        [("new", PoolGroup::Inference.as_str()), ("old", PoolGroup::InferenceX.as_str()), ("any", "")]
    {
        world.create(objective(name, "llama").with("/spec/poolRef/group", json!(group))).await;
        world.create(pool_only(name, name)).await;
        world.ready(name).await;
    }
    world.ready("target").await;
    let ids: Vec<Value> = [
        world.output("target").await,
        world.output("new").await,
        world.output("old").await,
        world.output("any").await,
    ]
    .map(|output| output["spec"]["spiffeIDTemplate"].clone())
    .into();
    let id = json!(format!("spiffe://kleym.sonda.red/ns/{}/pool/llama", world.namespace));
    assert_eq!(ids, [id.clone(), id.clone(), id.clone(), id]);

    world.edit(POOL_X, "llama", json!({"spec": {"selector": {"app": "other"}}})).await;
    let ambiguous = world.refused("target", "AmbiguousTargetRef").await;
    let message = "several objects of kind InferencePool are called `llama` and disagree: inference.networking.k8s.io \
                   leads to the pods with `app=vllm`, inference.networking.x-k8s.io leads to the pods with \
                   `app=other`; pin one with spec.targetRef.group or remove the others";
    let conditions = refused(1, "InvalidRef", "AmbiguousTargetRef", message, Kstatus::Stalled);
    assert_eq!(status_of(&ambiguous), resolved(1, &world.instance, conditions));
}

#[tokio::test]
async fn an_objective_or_a_pool_that_is_being_deleted_counts_as_not_found_although_it_is_there() {
    let world = World::new("going").await;
    let _operator = world.operator().await;
    world.create_all([pool("llama", &[("app", "vllm")]), objective("chat", "llama")]).await;
    world.create(pool_only("chat", "chat")).await;
    let held = json!({"metadata": {"finalizers": ["example.com/hold"]}});
    let let_go = json!({"metadata": {"finalizers": null}});
    for (kind, name, reason, what) in [
        (
            POOL,
            "llama",
            "TargetPoolNotFound",
            "InferencePool `llama` of inference.networking.k8s.io, named by InferenceObjective `chat`,",
        ),
        (OBJECTIVE, "chat", "TargetObjectiveNotFound", "InferenceObjective `chat`"),
    ] {
        world.ready("chat").await;
        world.edit(kind, name, held.clone()).await;
        world.delete(kind, name).await;
        let gone = world.refused("chat", reason).await;
        let message = format!(
            "{what} is being deleted in namespace `{}`; create it again or point elsewhere",
            world.namespace
        );
        let conditions = refused(1, "InvalidRef", reason, &message, Kstatus::Reconciling);
        assert_eq!(status_of(&gone), resolved(1, &world.instance, conditions));
        assert_eq!(world.find_output("chat").await, None);
        assert!(world.find(kind, name).await.is_some());
        world.edit(kind, name, let_go.clone()).await;
        world.gone(kind, name).await;
        let again = if kind == POOL { pool("llama", &[("app", "vllm")]) } else { objective("chat", "llama") };
        world.create(again).await;
    }
    world.ready("chat").await;
}
