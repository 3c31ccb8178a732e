//! Definitions that come, go and come back while the operator runs, and any subset of them at its start.

use std::time::Duration;

use anyhow::{Context, ensure};
use kleym_core::kind::Kind;
use kleym_testenv::eventually;
use kleym_testenv::proxy::{Asked, Fault, Proxy, Reply};
use serde_json::{Value, json};

use crate::world::{
    Kstatus, OBJECTIVE, Object, POOL, SOON, World, definition, doom, install, install_as, objective,
    per_objective, pool, refused, remove, resolved, status_of, text,
};

const NEEDED: [Kind; 4] = [Kind::Binding, OBJECTIVE, POOL, Kind::Output];

const NO_OUTPUTS: &str = "no CustomResourceDefinition `clusterspiffeids.spire.spiffe.io` is installed; install \
                          spire-controller-manager's CustomResourceDefinitions";
const NO_POOLS: &str = "no CustomResourceDefinition `inferencepools.inference.networking.k8s.io` is installed; install \
                        the CustomResourceDefinitions of the Gateway API Inference Extension";
const NO_OBJECTIVES: &str = "no CustomResourceDefinition of InferenceObjective is installed in any of the groups \
                             `llm-d.ai`, `inference.networking.x-k8s.io` and `inference.networking.k8s.io`; install \
                             it, or bind a pool with spec.targetRef.kind InferencePool and mode PoolOnly";

/// Waits until `chat` says that a definition is missing, and expects nothing else in its status.
async fn missing(world: &World, condition: &str, reason: &str, message: &str) {
    let wanted = resolved(1, &world.instance, refused(1, condition, reason, message, Kstatus::Reconciling));
    world
        .reported(&format!("`chat` says {reason}"), "chat", |binding| {
            let status = status_of(binding);
            ensure!(status == wanted, "{status}");
            Ok(())
        })
        .await;
}

#[tokio::test]
async fn an_operator_that_starts_with_no_definition_serves_each_kind_as_soon_as_it_is_installed() {
    let world = World::with_only("empty", &[]).await;
    let operator = world.operator().await;
    assert_eq!(operator.probe("/readyz").await.0, 200);

    install(&world.client, &[Kind::Binding]).await;
    world.create(per_objective("chat", "chat", "vllm")).await;
    missing(&world, "InvalidRef", "InferenceObjectiveCRDMissing", NO_OBJECTIVES).await;

    install(&world.client, &[OBJECTIVE]).await;
    world.refused("chat", "TargetObjectiveNotFound").await;
    world.create(objective("chat", "llama")).await;
    missing(&world, "InvalidRef", "InferencePoolCRDMissing", NO_POOLS).await;

    install(&world.client, &[POOL]).await;
    world.refused("chat", "TargetPoolNotFound").await;
    world.create(pool("llama", &[("app", "vllm")])).await;
    missing(&world, "RenderFailure", "ClusterSPIFFEIDCRDMissing", NO_OUTPUTS).await;

    install(&world.client, &[Kind::Output]).await;
    world.ready("chat").await;
    assert_eq!(operator.probe("/readyz").await.0, 200);
}

#[tokio::test]
async fn a_definition_that_goes_withdraws_what_stood_on_it_and_one_that_comes_back_is_served_again() {
    let world = World::with_only("gone", &NEEDED).await;
    let operator = world.operator().await;
    let (the_pool, the_objective) = (pool("llama", &[("app", "vllm")]), objective("chat", "llama"));
    world.create_all([the_pool.clone(), the_objective.clone()]).await;
    world.create(per_objective("chat", "chat", "vllm")).await;
    world.ready("chat").await;

    remove(&world.client, POOL).await;
    missing(&world, "InvalidRef", "InferencePoolCRDMissing", NO_POOLS).await;
    assert_eq!(world.find_output("chat").await, None);
    install(&world.client, &[POOL]).await;
    world.refused("chat", "TargetPoolNotFound").await;
    world.create(the_pool).await;
    world.ready("chat").await;

    remove(&world.client, OBJECTIVE).await;
    missing(&world, "InvalidRef", "InferenceObjectiveCRDMissing", NO_OBJECTIVES).await;
    assert_eq!(world.find_output("chat").await, None);
    install(&world.client, &[OBJECTIVE]).await;
    world.create(the_objective).await;
    world.ready("chat").await;

    remove(&world.client, Kind::Output).await;
    missing(&world, "RenderFailure", "ClusterSPIFFEIDCRDMissing", NO_OUTPUTS).await;
    install(&world.client, &[Kind::Output]).await;
    world.ready("chat").await;
    for said in ["the CustomResourceDefinition is not installed", "the CustomResourceDefinition is installed"]
    {
        let count =
            [POOL, OBJECTIVE, Kind::Output].map(|kind| operator.said(&format!("{said} kind={kind}")).len());
        assert_eq!(count, [1; 3], "{}", operator.log());
    }

    assert!(operator.said("somebody had").is_empty(), "{}", operator.log());

    // Removing the definition of bindings deletes them, in order.
    let output = world.output_name("chat");
    remove(&world.client, Kind::Binding).await;
    assert_eq!(world.find(Kind::Output, &output).await, None);
    install(&world.client, &[Kind::Binding]).await;
    world.create(per_objective("chat", "chat", "vllm")).await;
    world.ready("chat").await;
    assert_eq!(operator.probe("/readyz").await.0, 200);
}

/// The definition of ClusterSPIFFEID before it had `hint` and `fallback`.
fn older_output() -> Value {
    let mut older = definition(Kind::Output);
    let spec =
        older.pointer_mut("/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties").unwrap();
    let fields = spec.as_object_mut().unwrap();
    assert!(fields.remove("hint").is_some() && fields.remove("fallback").is_some());
    older
}

#[tokio::test]
async fn a_definition_that_cannot_hold_a_field_is_told_without_repeating_the_write_until_it_is_upgraded() {
    let world = World::with_only("older", &[Kind::Binding, OBJECTIVE, POOL]).await;
    install_as(&world.client, vec![older_output()]).await;
    let operator = world.operator().await;
    world.create_all([pool("llama", &[("app", "vllm")]), objective("chat", "llama")]).await;
    let mark = world.at_rest().await;
    world.create(per_objective("chat", "chat", "vllm")).await;
    let failed = world.refused("chat", "ManagedOutputApplyFailed").await;
    let message = format!(
        "ClusterSPIFFEID `{}` has a field that the installed CustomResourceDefinition cannot hold; upgrade the \
         CustomResourceDefinition to that of spire-controller-manager 0.6.0 or newer",
        world.output_name("chat")
    );
    let conditions = refused(1, "RenderFailure", "ManagedOutputApplyFailed", &message, Kstatus::Stalled);
    assert_eq!(status_of(&failed), resolved(1, &world.instance, conditions));
    assert_eq!(operator.probe("/readyz").await.0, 200);
    // Whoever writes the status, or anything else that the output does not depend on, is no reason to try again.
    world.edit(Kind::Binding, "chat", json!({"metadata": {"labels": {"touched": "yes"}}})).await;
    world.edit_status(Kind::Binding, "chat", json!({"status": {"trustDomain": "forged"}})).await;
    // Longer than anything is waited for in other cases.
    world.at_rest_for(Duration::from_secs(6)).await;
    let mut calls = world.calls(mark).await;
    calls.sort();
    let (look, status) = ("list clusterspiffeids", "update inferenceidentitybindings/status");
    // One look whether it was not written all the same, since who rejected it may stand before the API server.
    assert_eq!(calls, ["create clusterspiffeids", look, "patch inferenceidentitybindings", status, status]);
    assert_eq!(world.find_output("chat").await, None);

    install(&world.client, &[Kind::Output]).await;
    world.ready("chat").await;
}

/// The definition of ClusterSPIFFEID with a field that Kleym does not know, and that every output gets by itself.
fn with_default(field: &str, schema: &Value) -> Value {
    let mut newer = definition(Kind::Output);
    let fields = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties";
    newer.pointer_mut(fields).unwrap()[field] = schema.clone();
    newer
}

#[tokio::test]
async fn an_output_that_a_definition_changes_is_told_and_not_fought_over_and_goes_where_it_grants_more() {
    let world = World::with_only("defaults", &[Kind::Binding, OBJECTIVE, POOL]).await;
    install_as(&world.client, vec![with_default("zone", &json!({"type": "string", "default": "x"}))]).await;
    // The API server, and not the operator, writes what no state asks for.
    world.excuse("S3");
    let operator = world.operator().await;
    world.create_all([pool("llama", &[("app", "vllm")]), objective("chat", "llama")]).await;
    let mark = world.at_rest().await;
    world.create(per_objective("chat", "chat", "vllm")).await;
    let failed = world.refused("chat", "ManagedOutputApplyFailed").await;
    assert!(operator.said("`zone`").len() == 1, "{}", operator.log());
    let output = world.output_name("chat");
    let message = format!(
        "ClusterSPIFFEID `{output}` grants the identity, but is not stored as Kleym writes it: defaults of its \
         CustomResourceDefinition or a mutating webhook change it; see the operator's log for what differs, and end that; it \
         is tried again when the binding's spec, what it refers to or the CustomResourceDefinition changes, or the operator \
         restarts"
    );
    let conditions = refused(1, "RenderFailure", "ManagedOutputApplyFailed", &message, Kstatus::Stalled);
    assert_eq!(status_of(&failed), resolved(1, &world.instance, conditions));
    world.at_rest_for(Duration::from_secs(6)).await;
    let mut calls = world.calls(mark).await;
    calls.sort();
    let (create, replace) = ("create clusterspiffeids", "update clusterspiffeids");
    let (finalizer, status) = ("patch inferenceidentitybindings", "update inferenceidentitybindings/status");
    assert_eq!(calls, [create, finalizer, replace, status]);
    assert_eq!(world.output("chat").await["spec"]["zone"], "x");

    let mark = world.at_rest().await;
    install_as(&world.client, vec![with_default("admin", &json!({"type": "boolean", "default": true}))])
        .await;
    world.edit(Kind::Binding, "chat", json!({"spec": {"containerDiscriminator": {"value": "other"}}})).await;
    world.gone(Kind::Output, &output).await;
    world.at_rest_for(Duration::from_secs(6)).await;
    let writes =
        world.calls(mark).await.iter().filter(|call| [create, replace].contains(&call.as_str())).count();
    // The edit, and once more after the definition had changed.
    assert!(writes <= 2, "{writes}");
    install(&world.client, &[Kind::Output]).await;
    world.ready("chat").await;
}

/// A kind's definition that serves `v2` and no longer the version that Kleym uses.
fn in_another_version(kind: Kind) -> Value {
    let mut other = definition(kind);
    let version = other["spec"]["versions"][0].clone();
    other["spec"]["versions"] = json!([version, version]);
    other["spec"]["versions"][1]["name"] = json!("v2");
    other["spec"]["versions"][1]["storage"] = json!(false);
    other["spec"]["versions"][0]["served"] = json!(false);
    other
}

#[tokio::test]
async fn a_new_binding_says_which_version_of_cluster_spiffe_ids_is_not_served() {
    let world = World::with_only("output-versions", &NEEDED).await;
    let operator = world.operator().await;
    world.create_all([pool("llama", &[("app", "vllm")]), objective("chat", "llama")]).await;
    world.at_rest().await;
    install_as(&world.client, vec![in_another_version(Kind::Output)]).await;
    operator.says("not served in the version Kleym reads").await;
    world.create(per_objective("chat", "chat", "vllm")).await;
    let message = format!(
        "ClusterSPIFFEID `{}` cannot be written: the API server does not serve `clusterspiffeids.spire.spiffe.io` in \
         version `v1alpha1`; install the CustomResourceDefinition of spire-controller-manager 0.6.0 or newer, or let the \
         installed one serve that version again",
        world.output_name("chat")
    );
    missing(&world, "RenderFailure", "ManagedOutputApplyFailed", &message).await;

    install(&world.client, &[Kind::Output]).await;
    world.ready("chat").await;
}

#[tokio::test]
async fn a_new_binding_says_that_the_definition_of_cluster_spiffe_ids_is_being_deleted() {
    let world = World::with_only("output-doomed", &NEEDED).await;
    let _operator = world.operator().await;
    world.create_all([pool("llama", &[("app", "vllm")]), objective("chat", "llama")]).await;
    let theirs =
        Object::new(Kind::Output, "theirs", json!({"spiffeIDTemplate": "spiffe://example.org/theirs"}));
    world.create(theirs.with("/metadata/finalizers", json!(["example.com/hold"]))).await;
    world.at_rest().await;
    doom(&world.client, Kind::Output).await;
    world.create(per_objective("chat", "chat", "vllm")).await;
    let message = format!(
        "ClusterSPIFFEID `{}` cannot be written: the CustomResourceDefinition `clusterspiffeids.spire.spiffe.io` is being \
         deleted; wait until it is gone, or remove what the finalizers of its last objects wait for, and install it again; \
         the operator tries again by itself",
        world.output_name("chat")
    );
    missing(&world, "RenderFailure", "ManagedOutputApplyFailed", &message).await;

    world.edit(Kind::Output, "theirs", json!({"metadata": {"finalizers": null}})).await;
    missing(&world, "RenderFailure", "ClusterSPIFFEIDCRDMissing", NO_OUTPUTS).await;
    install(&world.client, &[Kind::Output]).await;
    world.ready("chat").await;
}

#[tokio::test]
async fn a_definition_that_does_not_serve_our_version_holds_what_was_granted() {
    let world = World::with_only("versions", &NEEDED).await;
    let _operator = world.operator().await;
    world.with_chat().await;
    let output = world.output("chat").await;

    install_as(&world.client, vec![in_another_version(POOL)]).await;
    let held = world
        .until("the verdict is held", Kind::Binding, "chat", |binding| {
            let conditions = &binding.context("it is gone")?["status"]["conditions"];
            let conditions = conditions.as_array().context("no conditions")?;
            let reconciling = conditions.iter().find(|condition| condition["type"] == "Reconciling");
            reconciling.cloned().with_context(|| format!("{conditions:?}"))
        })
        .await;
    assert_eq!(held["reason"], "APIUnavailable");
    assert!(text(&held["message"]).contains("`inferencepools.inference.networking.k8s.io`"), "{held}");
    world.ready("chat").await;
    assert_eq!(world.output("chat").await, output);

    install(&world.client, &[POOL]).await;
    world
        .until("the verdict is no longer held", Kind::Binding, "chat", |binding| {
            let conditions = &binding.context("it is gone")?["status"]["conditions"];
            ensure!(!conditions.to_string().contains("Reconciling"), "{conditions}");
            Ok(())
        })
        .await;
    assert_eq!(world.output("chat").await, output);
}

/// Whether one definition is looked for by its name.
fn looks_for_one(asked: &Asked) -> bool {
    asked.is("list", "customresourcedefinitions") && asked.uri.contains("fieldSelector")
}

/// Fails every look for one definition, until the operator has looked so often again.
async fn fail_looks(proxy: &Proxy, times: usize) {
    let since = proxy.asked().len();
    eventually("definitions are looked for", SOON, || async {
        let looks = proxy.asked()[since..].iter().filter(|asked| looks_for_one(asked)).count();
        ensure!(looks >= times, "{looks} of {times} times");
        Ok(())
    })
    .await
    .unwrap_or_else(|error| panic!("{error:#}"));
    proxy.heal();
}

#[tokio::test]
async fn a_definition_whose_absence_could_not_be_looked_up_is_looked_for_again_until_it_could() {
    let world = World::with_only("unproved", &NEEDED).await;
    let proxy = world.proxy().await;
    let deny = || {
        let failing = Reply::status(500, "InternalError", "etcdserver: request timed out");
        proxy.always(looks_for_one, Fault::Answer(failing));
    };
    // At the start, of the groups that nobody installed.
    deny();
    let operator = world.start_operator_by(&proxy, &[]).await;
    world.create_all([pool("llama", &[("app", "vllm")]), objective("chat", "llama")]).await;
    world.create(per_objective("chat", "chat", "vllm")).await;
    fail_looks(&proxy, 4).await;
    world.ready("chat").await;
    operator.ready().await;

    // And of one that goes while it runs.
    deny();
    remove(&world.client, POOL).await;
    fail_looks(&proxy, 2).await;
    missing(&world, "InvalidRef", "InferencePoolCRDMissing", NO_POOLS).await;
    assert_eq!(world.find_output("chat").await, None);
    world.at_rest().await;
    assert_eq!(operator.probe("/readyz").await.0, 200);
}

/// Where the group that has the pools says what it serves.
const DISCOVERY: &str = "/apis/inference.networking.k8s.io/v1";

fn discoveries(proxy: &Proxy) -> usize {
    proxy.asked().iter().filter(|asked| asked.uri == DISCOVERY).count()
}

#[tokio::test]
async fn a_start_while_discovery_knows_nothing_of_a_kind_holds_every_output_and_ends_by_itself() {
    let nothing = json!({"kind": "APIResourceList", "apiVersion": "v1", "resources": []});
    let forms = [
        ("text", Reply::text(404, "text/plain", "404 page not found")),
        ("empty", Reply::json(200, &nothing)),
    ];
    let runs = forms.map(|(form, reply)| async move {
        let world = World::new(&format!("spell-{form}")).await;
        let operator = world.operator().await;
        world.with_chat().await;
        let output = world.output("chat").await;
        drop(operator);

        let proxy = world.proxy().await;
        proxy.always(|asked| asked.uri == DISCOVERY, Fault::Answer(reply));
        let operator = world.start_operator_by(&proxy, &[]).await;
        // Longer than discovery ever lags behind a definition that was just made.
        eventually("discovery is asked again and again", SOON, || async {
            ensure!(discoveries(&proxy) >= 14, "{form}: {} times", discoveries(&proxy));
            Ok(())
        })
        .await
        .unwrap_or_else(|error| panic!("{error:#}"));
        world
            .until("nothing is decided", Kind::Binding, "chat", |binding| {
                let conditions = &binding.context("it is gone")?["status"]["conditions"];
                ensure!(conditions.to_string().contains("Initializing"), "{conditions}");
                Ok(())
            })
            .await;
        // It has not seen what is there, and says so.
        assert_eq!(operator.probe("/healthz").await.0, 200, "{form}");
        assert_eq!(operator.probe("/readyz").await.0, 503, "{form}");
        assert_eq!(world.output("chat").await, output, "{form}");

        proxy.heal();
        operator.ready().await;
        world.ready("chat").await;
        assert_eq!(world.output("chat").await, output, "{form}");
        world.at_rest().await;
    });
    futures::future::join_all(runs).await;
}

#[tokio::test]
async fn a_kind_that_is_not_served_in_our_version_at_the_start_is_waited_for_and_not_asked_for() {
    let world = World::with_only("start-versions", &[Kind::Binding, OBJECTIVE, Kind::Output]).await;
    install_as(&world.client, vec![in_another_version(POOL)]).await;
    let proxy = world.proxy().await;
    let operator = world.start_operator_by(&proxy, &[]).await;
    operator.says("not served in the version Kleym reads").await;
    let asked = discoveries(&proxy);
    world.at_rest_for(Duration::from_secs(4)).await;
    assert_eq!(discoveries(&proxy), asked);
    assert_eq!(operator.probe("/readyz").await.0, 200);

    install(&world.client, &[POOL]).await;
    world.with_chat().await;
}
