//! An operator that may not do what it should: it says so, changes nothing it is not sure of, and goes on when it may.

use anyhow::{Context, ensure};
use futures::{StreamExt, stream};
use kleym_api::rights::{OPERATOR, Reach};
use kleym_core::kind::Kind;
use kleym_testenv::eventually;
use kleym_testenv::proxy::{Asked, Fault, Reply};
use serde_json::json;

use crate::world::{
    Kstatus, OBJECTIVE, Operator, POOL, SOON, World, objective, per_objective, pool, pool_only, ready,
    refused, resolved, status_of, text, undecided, waiting,
};

#[tokio::test]
async fn after_a_restart_without_the_right_to_read_pools_nothing_is_decided_and_outputs_stay() {
    let world = World::new("blind").await;
    let operator = world.operator().await;
    world.with_chat().await;
    let output = world.output("chat").await;
    operator.terminate().await;

    let operator = world.start_operator_without("inferencepools", &["list", "watch"]).await;
    let message =
        "`inferencepools.inference.networking.k8s.io` is not readable with the operator's permissions";
    world
        .reported("the binding is undecided", "chat", |binding| {
            let status = status_of(binding);
            ensure!(status == resolved(1, &world.instance, undecided(1, message)), "not yet");
            Ok(())
        })
        .await;
    assert_eq!(world.output("chat").await, output);
    // Not ready, since it cannot do its work; healthy, since a restart would not help.
    let (code, body) = operator.probe("/readyz").await;
    assert_eq!(code, 503);
    assert!(body.contains("inferencepools.inference.networking.k8s.io"), "{body}");
    assert_eq!(operator.probe("/healthz").await.0, 200);

    world.give_all_rights().await;
    world.ready("chat").await;
    operator.ready().await;
    assert_eq!(world.output("chat").await, output);
    for said in ["cannot be read: ", "can be read"] {
        let said = operator.said(said).iter().filter(|line| line.contains("kind=InferencePool")).count();
        assert!(said > 0, "{}", operator.log());
    }
}

#[tokio::test]
async fn without_the_right_to_read_definitions_an_absence_is_not_decided_and_that_is_said() {
    let kinds = [Kind::Binding, OBJECTIVE, POOL, Kind::Output];
    let world = World::with_only("undefined", &kinds).await;
    let definitions = "customresourcedefinitions";
    let operator = world.start_operator_without(definitions, &["get", "list", "watch"]).await;
    world.create_all([pool("llama", &[("app", "vllm")]), objective("chat", "llama")]).await;
    world.create(per_objective("chat", "chat", "vllm")).await;
    world
        .reported("the binding is undecided", "chat", |binding| {
            let conditions = binding["status"]["conditions"].to_string();
            // That it is not served would be a guess.
            ensure!(conditions.contains("is not readable with the operator's permissions"), "{conditions}");
            ensure!(!conditions.contains("not served"), "{conditions}");
            Ok(())
        })
        .await;
    assert_eq!(operator.probe("/readyz").await.0, 503);
    assert_eq!(operator.probe("/healthz").await.0, 200);
    world.give_all_rights().await;
    world.ready("chat").await;
    operator.ready().await;
}

#[tokio::test]
async fn without_the_right_to_read_definitions_a_replica_is_not_ready_although_every_kind_is_served() {
    let world = World::new("undefinable").await;
    let operator = world.start_operator_without("customresourcedefinitions", &["get", "list", "watch"]).await;
    world.create_all([pool("llama", &[("app", "vllm")]), objective("chat", "llama")]).await;
    world.create(per_objective("chat", "chat", "vllm")).await;
    // It does its work, but would not notice that a kind goes.
    world.ready("chat").await;
    let (code, body) = operator.probe("/readyz").await;
    assert_eq!(code, 503);
    assert!(body.contains("customresourcedefinitions.apiextensions.k8s.io is not readable"), "{body}");
    world.give_all_rights().await;
    operator.ready().await;
}

#[tokio::test]
async fn after_a_restart_without_the_right_to_list_outputs_a_refused_binding_says_that_its_own_may_stand() {
    let world = World::new("unlisted").await;
    let operator = world.operator().await;
    world.with_chat().await;
    operator.terminate().await;
    world.delete(OBJECTIVE, "chat").await;

    let _operator = world.start_operator_without("clusterspiffeids", &["list", "watch"]).await;
    let plain = "InferenceObjective `chat` does not exist";
    let unproved = format!(
        "whether ClusterSPIFFEID `{}` is gone cannot be looked up, because it may not be listed with the operator's \
         permissions; give the operator the permissions of its ClusterRole, and the operator tries again by itself",
        world.output_name("chat")
    );
    let says = async |name: &'static str, begin: String| {
        world
            .reported("it says so", name, |binding| {
                let (message, reason) =
                    (text(&status_of(binding)["conditions"][0]["message"]).to_owned(), ready(binding));
                ensure!(
                    reason == ("False", "TargetObjectiveNotFound") && message.starts_with(&begin),
                    "{message}"
                );
                Ok(())
            })
            .await
    };
    let said = says("chat", format!("{unproved}; it is to be gone, because {plain}")).await;
    let reconciling = json!(["Reconciling", unproved]);
    let conditions = status_of(&said)["conditions"].as_array().unwrap().clone();
    assert!(conditions.iter().any(|c| json!([c["type"], c["message"]]) == reconciling), "{said}");
    // A binding that never had one is not told so.
    world.create(per_objective("new", "chat", "vllm")).await;
    says("new", plain.to_owned()).await;
    world.output("chat").await;
    world.give_all_rights().await;
    world.gone(Kind::Output, &world.output_name("chat")).await;
    says("chat", plain.to_owned()).await;
}

#[tokio::test]
async fn without_the_right_to_create_outputs_the_binding_says_so_and_is_granted_when_it_is_given() {
    let world = World::new("mute").await;
    let _operator = world.start_operator_without("clusterspiffeids", &["create"]).await;
    world.create_all([pool("llama", &[("app", "vllm")]), objective("chat", "llama")]).await;
    world.create(per_objective("chat", "chat", "vllm")).await;
    let failed = world.refused("chat", "ManagedOutputApplyFailed").await;
    let ready = &failed["status"]["conditions"][0];
    let expected = format!(
        "ClusterSPIFFEID `{}` may not be written with the operator's permissions; give the operator the permissions \
         of its ClusterRole",
        world.output_name("chat")
    );
    assert_eq!(text(&ready["message"]), expected);
    world.give_all_rights().await;
    world.ready("chat").await;
}

#[tokio::test]
async fn without_the_right_to_delete_outputs_a_deleted_binding_stays_until_it_is_given() {
    let world = World::new("held-back").await;
    let _operator = world.start_operator_without("clusterspiffeids", &["delete"]).await;
    world.with_chat().await;
    let mark = world.at_rest().await;
    world.delete(Kind::Binding, "chat").await;
    world
        .until("the delete was tried", Kind::Binding, "chat", |binding| {
            let finalizers = &binding.context("the binding is gone")?["metadata"]["finalizers"];
            ensure!(
                *finalizers == json!(["kleym.sonda.red/inferenceidentitybinding-finalizer"]),
                "{finalizers}"
            );
            let tried = world.calls_so_far(mark).iter().any(|call| call.verb == "delete" && call.code == 403);
            ensure!(tried, "not yet");
            Ok(())
        })
        .await;
    assert_ne!(world.find_output("chat").await, None);
    world.give_all_rights().await;
    world.gone(Kind::Binding, "chat").await;
    assert_eq!(world.find_output("chat").await, None);
}

#[tokio::test]
async fn a_kind_that_may_not_be_read_keeps_nobody_waiting_who_does_not_need_it() {
    let world = World::new("one-blind-eye").await;
    world.create_all([pool("llama", &[("app", "vllm")]), objective("chat", "llama")]).await;
    let of_pool = |name: &str| pool_only(name, "llama").with("/spec/targetRef/kind", json!("InferencePool"));
    world.create_all([of_pool("before"), per_objective("chat", "chat", "vllm")]).await;
    // At the start, and while it runs.
    let operator = world.start_operator_without("inferenceobjectives", &["list", "watch"]).await;
    world.ready("before").await;
    world.create(of_pool("after")).await;
    world.ready("after").await;
    world.delete(Kind::Binding, "before").await;
    world.gone(Kind::Binding, "before").await;
    world
        .reported("who needs it is undecided", "chat", |binding| {
            ensure!(ready(binding) == ("Unknown", "Initializing"), "{:?}", ready(binding));
            Ok(())
        })
        .await;
    assert_eq!(world.find_output("chat").await, None);
    world.give_all_rights().await;
    world.ready("chat").await;
    operator.ready().await;
}

#[tokio::test]
async fn a_namespace_that_may_not_be_read_keeps_no_other_one_waiting() {
    let world = World::new("readable").await;
    let shut = world.neighbour("unreadable").await;
    let proxy = world.proxy().await;
    let both = format!("--watch-namespace={}", shut.namespace);
    let operator = world.start_operator_by(&proxy, &[&both]).await;
    for world in [&world, &shut] {
        world.with_chat().await;
    }
    operator.terminate().await;
    let before = (shut.output("chat").await, shut.get(Kind::Binding, "chat").await);

    // As when the namespace, or the RoleBinding in it, was deleted meanwhile.
    let place = shut.namespace.clone();
    let reads = move |asked: &Asked| asked.namespace == place && matches!(asked.verb, "list" | "watch");
    let forbidden = || Fault::Answer(Reply::status(403, "Forbidden", "it may not be read"));
    proxy.always(reads.clone(), forbidden());
    let operator = world.start_operator_by(&proxy, &[&both, "--metrics-bind-address=127.0.0.1:0"]).await;
    world.create(per_objective("later", "chat", "sidecar")).await;
    world.ready("later").await;
    let withdrawn = async |name: &str| {
        world.delete(OBJECTIVE, "chat").await;
        let refused = world.refused(name, "TargetObjectiveNotFound").await;
        world.gone(Kind::Output, &world.output_name(name)).await;
        // It is not held from what was last known either.
        assert!(!refused["status"]["conditions"].to_string().contains("APIUnavailable"), "{refused}");
        world.create(objective("chat", "llama")).await;
        world.ready(name).await;
    };
    withdrawn("chat").await;
    let (code, body) = operator.probe("/readyz").await;
    assert_eq!(code, 503);
    let said = format!("in namespace `{}` is not readable with the operator's permissions", shut.namespace);
    assert!(body.contains(&said), "{body}");
    assert_eq!((shut.output("chat").await, shut.get(Kind::Binding, "chat").await), before);

    proxy.heal();
    operator.ready().await;
    // All outputs are looked after, those too whose bindings are known only now.
    let page = operator.metrics().await.unwrap();
    assert!(page.contains("kleym_cluster_spiffe_ids{spire_status=\"absent\"} 3"), "{page}");
    shut.delete(OBJECTIVE, "chat").await;
    shut.refused("chat", "TargetObjectiveNotFound").await;
    shut.gone(Kind::Output, &shut.output_name("chat")).await;

    // The same while it runs.
    proxy.always(reads.clone(), forbidden());
    assert!(proxy.expire(reads) > 0);
    operator.says("cannot be read: not readable").await;
    withdrawn("chat").await;
    world.at_rest().await;
    world.is_settled().await;
}

const FINALIZER: &str = "kleym.sonda.red/inferenceidentitybinding-finalizer";

#[tokio::test]
async fn a_deleted_binding_says_that_its_finalizer_may_not_be_taken_off_and_goes_when_it_may() {
    let world = World::new("unreleased").await;
    let _operator = world.start_operator_without("", &[]).await;
    world.with_chat().await;
    world.revoke("inferenceidentitybindings", &["patch"]).await;
    world.may_not("patch", Kind::Binding).await;
    world.delete(Kind::Binding, "chat").await;
    let message = format!(
        "the binding is being deleted and its ClusterSPIFFEID is gone, but the operator's finalizer `{FINALIZER}` stays \
         on it, because it may not be taken off with the operator's permissions; give the operator the permissions of \
         its ClusterRole, and the operator tries again by itself"
    );
    let kept = world
        .reported("it says what keeps it", "chat", |binding| {
            // A deletion is another generation.
            ensure!(status_of(binding) == resolved(2, &world.instance, waiting(2, &message)), "not yet");
            Ok(())
        })
        .await;
    assert_eq!(kept["metadata"]["finalizers"], json!([FINALIZER]));
    assert_eq!(world.find_output("chat").await, None);
    world.give_all_rights().await;
    world.gone(Kind::Binding, "chat").await;
    // The operator has its say of the call that did it, before it is counted.
    world.at_rest().await;
}

#[tokio::test]
async fn a_binding_says_that_its_finalizer_may_not_be_put_on_and_is_granted_when_it_may() {
    let world = World::new("unheld").await;
    let _operator = world.start_operator_without("inferenceidentitybindings", &["patch"]).await;
    world.create_all([pool("llama", &[("app", "vllm")]), objective("chat", "llama")]).await;
    world.may_not("patch", Kind::Binding).await;
    world.create(per_objective("chat", "chat", "vllm")).await;
    let failed = world.refused("chat", "ManagedOutputApplyFailed").await;
    let message = format!(
        "the binding lacks the finalizer `{FINALIZER}`, without which no ClusterSPIFFEID is made, and it may not be \
         added with the operator's permissions; give the operator the permissions of its ClusterRole, and the operator \
         tries again by itself"
    );
    let conditions = refused(1, "RenderFailure", "ManagedOutputApplyFailed", &message, Kstatus::Reconciling);
    assert_eq!(status_of(&failed), resolved(1, &world.instance, conditions));
    assert_eq!((failed["metadata"].get("finalizers"), world.find_output("chat").await), (None, None));
    world.give_all_rights().await;
    world.ready("chat").await;
    // Nor can it be put back on what is granted.
    world.revoke("inferenceidentitybindings", &["patch"]).await;
    world.may_not("patch", Kind::Binding).await;
    let output = world.output("chat").await;
    world.edit(Kind::Binding, "chat", json!({"metadata": {"finalizers": null}})).await;
    let failed = world.refused("chat", "ManagedOutputApplyFailed").await;
    let message = format!("{message}{}", world.meanwhile(&output));
    assert_eq!(text(&failed["status"]["conditions"][0]["message"]), message);
    assert_eq!(world.output("chat").await, output);
    world.give_all_rights().await;
    let held = world.ready("chat").await;
    assert_eq!(held["metadata"]["finalizers"], json!([FINALIZER]));
    assert_eq!(world.output("chat").await, output);
}

/// What the operator is for, from the beginning to the end; from wherever it stands.
async fn life(world: &World) {
    if world.find(Kind::Binding, "chat").await.is_none() {
        world.create(per_objective("chat", "chat", "vllm")).await;
    }
    world.ready("chat").await;
    let patch = json!({"spec": {"containerDiscriminator": {"value": "other"}}});
    world.edit(Kind::Binding, "chat", patch).await;
    world.ready("chat").await;
    assert!(world.output("chat").await.to_string().contains("k8s:container-name:other"));
    world.delete(Kind::Binding, "chat").await;
    world.gone(Kind::Binding, "chat").await;
}

/// Waits until the operator says that something is forbidden.
async fn says_forbidden(operator: &Operator) {
    eventually("the operator says what it may not do", SOON, || async {
        ensure!(operator.log().to_lowercase().contains("forbidden"), "nothing is forbidden");
        Ok(())
    })
    .await
    .unwrap();
}

/// Whether a verb is needed: whether the operator's life comes to a halt, or begins blind, without it.
async fn needed(resource: &'static str, verb: &'static str) -> bool {
    let world = World::new(&format!("without-{verb}")).await;
    world.create_all([pool("llama", &[("app", "vllm")]), objective("chat", "llama")]).await;
    let operator = world.start_operator_without(resource, &[verb]).await;
    operator.health_address().await;
    let missed = tokio::select! {
        biased;
        () = says_forbidden(&operator) => true,
        () = life(&world) => false,
    };
    assert_eq!(operator.probe("/healthz").await.0, 200, "{verb} {resource}");
    if missed {
        world.give_all_rights().await;
        if world
            .find(Kind::Binding, "chat")
            .await
            .is_none_or(|it| it["metadata"]["deletionTimestamp"].is_null())
        {
            life(&world).await;
        } else {
            world.gone(Kind::Binding, "chat").await;
        }
        operator.ready().await;
    }
    world.is_settled().await;
    operator.terminate().await;
    missed
}

#[tokio::test]
async fn each_verb_is_needed_and_without_it_the_operator_says_so_lives_on_and_recovers_when_it_is_given() {
    // The Lease is in `replicas` and `lease`, events are in `events`.
    let rights = OPERATOR.iter().filter(|right| right.reach != Reach::Own && right.resource != "events");
    let verbs = rights.flat_map(|right| right.verbs.iter().map(|verb| (right.resource, *verb)));
    let all: Vec<(&str, &str, bool)> = stream::iter(verbs)
        .map(|(resource, verb)| async move { (resource, verb, needed(resource, verb).await) })
        .buffer_unordered(4)
        .collect()
        .await;
    let mut unneeded: Vec<(&str, &str)> =
        all.iter().filter(|(.., needed)| !needed).map(|(resource, verb, _)| (*resource, *verb)).collect();
    unneeded.sort_unstable();
    // Whoever may list an object may get it; operators are given both, and this one lists by name instead. No other verb
    // is given that nothing needs.
    let gets = [
        "clusterspiffeids",
        "customresourcedefinitions",
        "inferenceidentitybindings",
        "inferenceobjectives",
        "inferencepools",
    ];
    assert_eq!(unneeded, gets.map(|resource| (resource, "get")));
    assert!(all.len() > 12, "{all:?}");
}

#[tokio::test]
async fn without_a_right_to_events_nothing_waits_and_they_are_told_again_when_it_is_given() {
    let runs = ["create", "patch"].map(|verb| async move {
        let world = World::new(&format!("untold-{verb}")).await;
        let operator = world.start_operator_without("events", &[verb]).await;
        world.create_all([pool("llama", &[("app", "vllm")]), objective("chat", "llama")]).await;
        world.create(per_objective("chat", "chat", "vllm")).await;
        let flaps = async || {
            world.ready("chat").await;
            world.delete(POOL, "llama").await;
            world.refused("chat", "TargetPoolNotFound").await;
            world.create(pool("llama", &[("app", "vllm")])).await;
            world.ready("chat").await;
        };
        // What is told once more is a patch of what was told before.
        flaps().await;
        flaps().await;
        operator.says("an event could not be sent").await;
        assert_eq!(operator.probe("/healthz").await.0, 200, "{verb}");
        operator.ready().await;
        world.give_all_rights().await;
        let mark = world.mark().await;
        flaps().await;
        let told = eventually("it is told again", SOON, || async {
            let calls = world.calls_so_far(mark);
            let told =
                |call: &kleym_testenv::Call| call.resource == "events.k8s.io/events" && call.code < 300;
            ensure!(calls.iter().any(|call| told(call) && call.verb == verb), "not yet");
            Ok(())
        });
        told.await.unwrap_or_else(|error| panic!("{verb}: {error:#}"));
        operator.terminate().await;
    });
    futures::future::join_all(runs).await;
}

#[tokio::test]
async fn each_verb_of_the_lease_is_needed_and_without_it_a_replica_says_so_and_leads_when_it_is_given() {
    let lease = OPERATOR.iter().find(|right| right.resource == "leases").unwrap();
    assert_eq!(lease.verbs, ["get", "watch", "create", "update"]);
    let runs = lease.verbs.iter().map(|verb| async move {
        let world = World::new(&format!("lease-{verb}")).await;
        world.create_all([pool("llama", &[("app", "vllm")]), objective("chat", "llama")]).await;
        world.create(per_objective("chat", "chat", "vllm")).await;
        // Only who stands by watches.
        let mut other = None;
        if *verb == "watch" {
            let leads = world.operator_with(&["--leader-elect"]).await;
            leads.says(" leading lease=").await;
            other = Some(leads);
        }
        let operator = world.start_elector_without(verb).await;
        operator.says(&format!("cannot {verb} resource")).await;
        assert_eq!(operator.probe("/healthz").await.0, 200, "{verb}");
        if let Some(other) = other {
            other.terminate().await;
        }
        world.give_lease_rights().await;
        operator.says(" leading lease=").await;
        world.ready("chat").await;
        operator.terminate().await;
    });
    futures::future::join_all(runs).await;
}
