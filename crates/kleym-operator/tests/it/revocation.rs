//! Revocation does not wait: a grant that is too wide is deleted when its replacement is rejected or keeps failing, as
//! when spire-controller-manager's webhook is away; a grant that is not too wide is kept.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use kleym_core::kind::{Kind, ObjectiveGroup};
use kleym_testenv::eventually;
use kleym_testenv::proxy::{Asked, Fault, Proxy, Reply};
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::world::{Object, Operator, SOON, World, objective, per_objective, pool, ready, text};

const NARROW: [&str; 3] = ["k8s:ns:{{ .Namespace }}", "k8s:sa:model-server", "k8s:node-name:n1"];

async fn granted(name: &str, templates: &[&str]) -> (World, Proxy, Operator) {
    let world = World::new(name).await;
    let proxy = world.proxy().await;
    let operator = world.operator_by(&proxy).await;
    world.create_all([pool("llama", &[("app", "vllm")]), objective("chat", "llama")]).await;
    let binding =
        per_objective("chat", "chat", "vllm").with("/spec/workloadSelectorTemplates", json!(templates));
    world.create(binding).await;
    world.ready("chat").await;
    world.at_rest().await;
    (world, proxy, operator)
}

fn replaces(asked: &Asked) -> bool {
    asked.is("update", "clusterspiffeids")
}

async fn templates(world: &World, templates: &[&str]) {
    let patch = json!({"spec": {"workloadSelectorTemplates": templates}});
    world.edit(Kind::Binding, "chat", patch).await;
}

/// The message of a condition.
fn message_of<'a>(binding: &'a Value, kind: &str) -> &'a str {
    let conditions = binding["status"]["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
    let condition = conditions.iter().find(|condition| condition["type"] == kind);
    condition.map_or("", |condition| text(&condition["message"]))
}

fn away() -> Reply {
    let message =
        "Internal error occurred: failed calling webhook \"vclusterspiffeid.kb.io\": connection refused";
    Reply::status(500, "InternalError", message)
}

#[tokio::test]
async fn a_grant_that_is_too_wide_is_deleted_within_the_patience_while_the_webhook_is_away() {
    let (world, proxy, _operator) = granted("webhook-wide", &NARROW[..2]).await;
    let creates = |asked: &Asked| asked.is("create", "clusterspiffeids");
    proxy.always(move |asked| replaces(asked) || creates(asked), Fault::Answer(away()));
    let since = proxy.asked().len();
    templates(&world, &NARROW).await;
    let called = async |what: fn(&Asked) -> bool| {
        let call = || proxy.asked()[since..].iter().any(|asked| what(asked));
        let called =
            eventually("it is called", SOON, || async { call().then(Instant::now).ok_or("not yet") });
        called.await.unwrap()
    };
    let failed = called(replaces).await;
    let deleted = called(|asked| asked.is("delete", "clusterspiffeids")).await;
    let took = deleted - failed;
    assert!((Duration::from_millis(4_800)..Duration::from_millis(6_500)).contains(&took), "{took:?}");
    world.gone(Kind::Output, &world.output_name("chat")).await;
    proxy.heal();
    world.ready("chat").await;
    assert!(world.output("chat").await.to_string().contains("k8s:node-name:n1"));
}

#[tokio::test]
async fn a_grant_that_is_too_wide_is_deleted_at_once_when_its_replacement_is_rejected() {
    let (world, proxy, _operator) = granted("webhook-rejects", &NARROW[..2]).await;
    let denied = Reply::status(422, "Invalid", "admission webhook denied the request: no");
    proxy.always(replaces, Fault::Answer(denied.clone()));
    proxy.always(|asked| asked.is("create", "clusterspiffeids"), Fault::Answer(denied));
    let edited = Instant::now();
    templates(&world, &NARROW).await;
    world.gone(Kind::Output, &world.output_name("chat")).await;
    assert!(edited.elapsed() < Duration::from_secs(4), "{:?}", edited.elapsed());
    world.refused("chat", "ManagedOutputApplyFailed").await;
    proxy.heal();
    // A rejection is tried again when something changes.
    templates(&world, &[NARROW[0], NARROW[1], "k8s:node-name:n2"]).await;
    world.ready("chat").await;
}

#[tokio::test]
async fn a_grant_that_went_because_its_replacement_is_rejected_is_created_again() {
    let (world, proxy, _operator) = granted("replace-rejected", &NARROW[..2]).await;
    let denied =
        Reply::status(422, "Invalid", "ValidatingAdmissionPolicy 'a' with binding 'b' denied request: no");
    proxy.always(replaces, Fault::Answer(denied));
    templates(&world, &NARROW).await;
    world.ready("chat").await;
    assert!(world.output("chat").await.to_string().contains("k8s:node-name:n1"));
}

#[tokio::test]
async fn a_binding_whose_grant_cannot_be_withdrawn_says_that_it_stands_and_why_and_what_to_do() {
    let (world, proxy, _operator) = granted("undeletable", &NARROW[..2]).await;
    let name = world.output_name("chat");
    let deny = || {
        let message = "clusterspiffeids.spire.spiffe.io is forbidden: cannot delete resource";
        let deletes = |asked: &Asked| asked.is("delete", "clusterspiffeids");
        proxy.always(deletes, Fault::Answer(Reply::status(403, "Forbidden", message)));
    };
    let stands = format!(
        "ClusterSPIFFEID `{name}` still grants `spiffe://kleym.sonda.red/ns/{}/objective/chat`, because it may not be \
         deleted with the operator's permissions; give the operator the permissions of its ClusterRole, and the operator \
         tries again by itself",
        world.namespace
    );
    deny();
    world.delete(Kind::Objective(ObjectiveGroup::LlmD), "chat").await;
    let binding = world.refused("chat", "TargetObjectiveNotFound").await;
    for kind in ["Ready", "InvalidRef", "Reconciling"] {
        let message = message_of(&binding, kind);
        assert!(message.starts_with(&stands), "{kind}: {message}");
    }
    world.output("chat").await;
    proxy.heal();
    world.gone(Kind::Output, &name).await;
    world
        .reported("only the refusal is told", "chat", |binding| {
            let message = message_of(binding, "Ready");
            ensure!(message.starts_with("InferenceObjective `chat` does not exist"), "{message}");
            Ok(())
        })
        .await;

    // And so of a binding that is being deleted.
    world.create(objective("chat", "llama")).await;
    world.ready("chat").await;
    deny();
    world.delete(Kind::Binding, "chat").await;
    let told = |binding: Option<&Value>| {
        let binding = binding.context("it is gone")?;
        ensure!(message_of(binding, "Ready") == stands, "{binding}");
        Ok(binding.clone())
    };
    let binding = world.until("it is told of the deleted binding", Kind::Binding, "chat", told).await;
    assert_eq!(ready(&binding), ("Unknown", "Initializing"));
    assert_eq!(message_of(&binding, "Reconciling"), stands);
    proxy.heal();
    world.gone(Kind::Binding, "chat").await;
    assert_eq!(world.find_output("chat").await, None);
}

#[tokio::test]
async fn what_a_policy_keeps_from_selecting_nothing_is_deleted_all_the_same_and_said_to_grant() {
    let world = World::new("unneutral").await;
    let operator = world.operator().await;
    world.with_chat().await;
    let name = world.output_name("chat");
    world.edit(Kind::Output, &name, json!({"metadata": {"finalizers": ["example.com/keep"]}})).await;
    let patch = format!(
        "[JSONPatch{{op: \"add\", path: \"/spec/namespaceSelector\", value: \
         {{\"matchLabels\": {{\"kubernetes.io/metadata.name\": \"{}\"}}}}}}]",
        world.namespace
    );
    let of_the_instance =
        json!({"objectSelector": {"matchLabels": {"kleym.sonda.red/instance": world.instance}}});
    world.change_updates("spire.spiffe.io", "clusterspiffeids", of_the_instance, &patch).await;
    let outputs = world.api(Kind::Output);
    let tries = PatchParams { dry_run: true, ..PatchParams::default() };
    let elsewhere = json!({"matchLabels": {"kubernetes.io/metadata.name": "elsewhere"}});
    let narrowed = json!({"spec": {"namespaceSelector": elsewhere}});
    let is_applied = async || {
        let tried = outputs.patch(&name, &tries, &Patch::Merge(&narrowed)).await?;
        anyhow::Ok(tried.data["spec"]["namespaceSelector"] != elsewhere)
    };
    let applied = eventually("the policy is applied", SOON, || async {
        ensure!(is_applied().await?, "not yet");
        Ok(())
    });
    applied.await.unwrap();
    let mark = world.at_rest().await;
    world.delete(Kind::Objective(ObjectiveGroup::LlmD), "chat").await;
    // Deletes wait for nothing.
    world
        .until("it is being deleted", Kind::Output, &name, |output| {
            let deleted = &output.context("it is gone")?["metadata"]["deletionTimestamp"];
            ensure!(deleted.is_string(), "not yet");
            Ok(())
        })
        .await;
    let says = format!(
        "ClusterSPIFFEID `{name}` still grants `spiffe://kleym.sonda.red/ns/{}/objective/chat`, because the API server \
         or an admission webhook does not let it be changed; find the mutating webhook or policy that changes it, and \
         mend or remove it, and the operator tries again by itself; whoever set its finalizers `example.com/keep` must \
         remove them",
        world.namespace
    );
    world
        .reported("it is said to grant", "chat", |binding| {
            for kind in ["Ready", "InvalidRef", "Reconciling"] {
                let message = message_of(binding, kind);
                ensure!(message.starts_with(&says), "{kind}: {message}");
            }
            Ok(())
        })
        .await;
    operator.says("is stored as one that still selects").await;
    // Tried for five seconds, and not at the pace at which the policy answers.
    let calls = || world.calls_so_far(mark);
    let replaces = || calls().iter().filter(|call| call.verb == "update").count();
    let began = Instant::now();
    eventually("it is tried again", SOON, || async {
        ensure!(began.elapsed() > Duration::from_secs(5) && replaces() >= 3, "{} calls", calls().len());
        Ok(())
    })
    .await
    .unwrap();
    assert!(replaces() < 14 && calls().len() < 24, "{} calls", calls().len());
    world.change_updates_no_more().await;
    world
        .reported("it selects nothing", "chat", |binding| {
            let message = message_of(binding, "Reconciling");
            ensure!(message.contains("selects nothing any more, but is kept"), "{message}");
            Ok(())
        })
        .await;
    world.edit(Kind::Output, &name, json!({"metadata": {"finalizers": null}})).await;
    world.gone(Kind::Output, &name).await;
}

#[tokio::test]
async fn a_grant_that_is_not_too_wide_is_kept_while_the_webhook_is_away() {
    let (world, proxy, _operator) = granted("webhook-narrow", &NARROW).await;
    let output = world.output("chat").await;
    let since = proxy.asked().len();
    proxy.always(replaces, Fault::Answer(away()));
    let edited = Instant::now();
    templates(&world, &NARROW[..2]).await;
    let tries = || proxy.asked()[since..].iter().filter(|asked| replaces(asked)).count();
    // Well after the patience.
    eventually("it is tried for nine seconds", SOON, || async {
        ensure!(tries() >= 4 && edited.elapsed() > Duration::from_secs(9), "{} tries", tries());
        Ok(())
    })
    .await
    .unwrap();
    assert!(tries() < 12, "{} tries", tries());
    assert_eq!(world.output("chat").await, output);
    let binding = world.refused("chat", "ManagedOutputApplyFailed").await;
    let conditions = binding["status"]["conditions"].as_array().unwrap();
    let message = text(&conditions[0]["message"]);
    assert!(message.ends_with(&world.meanwhile(&output)), "{message}");
    let reconciling = conditions.iter().find(|condition| condition["type"] == "Reconciling");
    assert_eq!(reconciling.map(|condition| &condition["status"]), Some(&Value::from("True")));
    proxy.heal();
    world.ready("chat").await;
    let kept = world.output("chat").await;
    assert_eq!(kept["metadata"]["uid"], output["metadata"]["uid"]);
    assert!(!kept.to_string().contains("k8s:node-name:n1"));
}

#[tokio::test]
async fn the_log_says_of_an_orphan_that_cannot_be_deleted_that_it_may_still_grant() {
    let (world, proxy, operator) = granted("undeletable-orphan", &NARROW[..2]).await;
    let deletes = |asked: &Asked| asked.is("delete", "clusterspiffeids");
    proxy.always(deletes, Fault::Answer(Reply::status(403, "Forbidden", "may not")));
    let name = world.output_name("gone");
    let proofs = json!({
        "labels": {"kleym.sonda.red/managed-by": "kleym", "kleym.sonda.red/instance": world.instance},
        "annotations": {
            "kleym.sonda.red/binding": format!("{}/gone", world.namespace),
            "kleym.sonda.red/binding-uid": "long-gone",
        },
    });
    let mut orphan =
        Object::new(Kind::Output, &name, json!({"spiffeIDTemplate": "spiffe://example.org/gone"}));
    for field in ["labels", "annotations"] {
        orphan = orphan.with(&format!("/metadata/{field}"), proofs[field].clone());
    }
    world.create(orphan).await;
    let says = format!(
        "ClusterSPIFFEID `{name}` of no binding that lives may still grant `spiffe://example.org/gone`"
    );
    operator.says(&says).await;
    proxy.heal();
    world.gone(Kind::Output, &name).await;
}
