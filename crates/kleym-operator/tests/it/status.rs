//! What a binding says of itself: each refusal by exactly one condition, with its output withdrawn; and a status is a
//! report, so that forging one changes nothing.

use anyhow::ensure;
use kleym_core::kind::Kind;
use kleym_testenv::eventually;
use kleym_testenv::proxy::{Fault, Reply};
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::world::{
    Kstatus, OBJECTIVE, POOL, SOON, World, objective, per_objective, pool, pool_only, refused, resolved,
    status_of, text,
};

/// How a binding that is Ready becomes refused, and what it then says.
struct Case {
    /// The name of binding, objective, pool and container.
    name: &'static str,
    /// What is changed.
    kind: Kind,
    patch: Value,
    condition: &'static str,
    reason: &'static str,
    message: String,
    kstatus: Kstatus,
}

fn cases(namespace: &str) -> Vec<Case> {
    let spec = |patch: Value| (Kind::Binding, json!({ "spec": patch }));
    let templates = |item: &str| {
        spec(json!({"workloadSelectorTemplates": ["k8s:ns:{{ .Namespace }}", "k8s:sa:model-server", item]}))
    };
    let case = |name, (kind, patch): (Kind, Value), condition, reason, message: &str, kstatus| Case {
        name,
        kind,
        patch,
        condition,
        reason,
        message: message.replace("NAMESPACE", namespace),
        kstatus,
    };
    use Kstatus::{Reconciling, Stalled};
    vec![
        case(
            "no-objective",
            spec(json!({"targetRef": {"name": "nowhere"}})),
            "InvalidRef",
            "TargetObjectiveNotFound",
            "InferenceObjective `nowhere` does not exist in namespace `NAMESPACE`; create it or correct \
             spec.targetRef",
            Reconciling,
        ),
        case(
            "no-pool",
            (OBJECTIVE, json!({"spec": {"poolRef": {"name": "nowhere"}}})),
            "InvalidRef",
            "TargetPoolNotFound",
            "InferencePool `nowhere` of inference.networking.k8s.io, named by InferenceObjective `no-pool`, does \
             not exist in namespace `NAMESPACE`; create it or correct the objective's spec.poolRef, whose group must \
             be the pool's",
            Reconciling,
        ),
        case(
            "pool-kind",
            (OBJECTIVE, json!({"spec": {"poolRef": {"kind": "Service"}}})),
            "InvalidRef",
            "InvalidPoolRef",
            "InferenceObjective `pool-kind` (llm-d.ai) points to no pool: spec.poolRef.kind is \
             `Service`, but must be `InferencePool`; correct the objective",
            Stalled,
        ),
        case(
            "pool-group",
            (OBJECTIVE, json!({"spec": {"poolRef": {"group": "example.com"}}})),
            "InvalidRef",
            "InvalidPoolRef",
            "InferenceObjective `pool-group` (llm-d.ai) points to no pool: spec.poolRef.group is \
             `example.com`, but must be one of `inference.networking.k8s.io` and \
             `inference.networking.x-k8s.io`; correct the objective",
            Stalled,
        ),
        case(
            "pool-selector",
            (POOL, json!({"spec": {"selector": {"matchLabels": {"not a key": "x"}}}})),
            "UnsafeSelector",
            "InvalidPoolSelector",
            "the selector of InferencePool `pool-selector` (inference.networking.k8s.io) cannot be \
             proved safe: the label key `not a key` is malformed: allowed are letters, digits, `-`, `_` and `.`, \
             with a letter or digit at both ends; use another label in the pool's spec.selector, and on its pods",
            Stalled,
        ),
        case(
            "no-account",
            spec(json!({"workloadSelectorTemplates": ["k8s:ns:{{ .Namespace }}"]})),
            "UnsafeSelector",
            "UnsafeSelector",
            "no selector names the service account; add `k8s:sa:<service account of the pods>` to \
             spec.workloadSelectorTemplates",
            Stalled,
        ),
        case(
            "foreign-namespace",
            spec(json!({"workloadSelectorTemplates": ["k8s:ns:kube-system", "k8s:sa:model-server"]})),
            "UnsafeSelector",
            "UnsafeSelector",
            "selector `k8s:ns:kube-system` names a namespace other than the binding's; only \
             `k8s:ns:NAMESPACE` may stand there, so correct or remove it",
            Stalled,
        ),
        case(
            "unknown-selector",
            templates("docker:label:app:vllm"),
            "UnsafeSelector",
            "UnsafeSelector",
            "spec.workloadSelectorTemplates[2]: the selector `docker:label:app:vllm` has the unknown \
             selector type `docker`; use `k8s` or `unix`",
            Stalled,
        ),
        case(
            "template",
            templates("k8s:pod-label:app:{{ .Values.app }}"),
            "RenderFailure",
            "SelectorTemplateRenderFailed",
            "spec.workloadSelectorTemplates[2] holds `.Values.app`, which is no placeholder; the known \
             ones are `.Namespace`, `.BindingName`, `.ObjectiveName`, `.PoolName`, `.Mode`, \
             `.ContainerDiscriminatorType`, `.ContainerDiscriminatorValue` and `.TrustDomain`",
            Stalled,
        ),
        case(
            "container",
            spec(json!({"containerDiscriminator": {"value": "two words"}})),
            "RenderFailure",
            "InvalidContainerDiscriminator",
            "spec.containerDiscriminator.value `two words`: the selector holds a character that is not \
             printable ASCII, or white space",
            Stalled,
        ),
        case(
            "id-template",
            spec(json!({"spiffeIDTemplate": "spiffe://{{ .TrustDomain }}/ns/{{ .Namespace }}/{{ .Pod }}"})),
            "RenderFailure",
            "SPIFFEIDRenderFailed",
            "spec.spiffeIDTemplate holds `.Pod`, which is no placeholder; the known ones are \
             `.Namespace`, `.BindingName`, `.ObjectiveName`, `.PoolName`, `.Mode`, \
             `.ContainerDiscriminatorType`, `.ContainerDiscriminatorValue` and `.TrustDomain`",
            Stalled,
        ),
        case(
            "id-elsewhere",
            spec(json!({"spiffeIDTemplate": "spiffe://{{ .TrustDomain }}/ns/kube-system/sa/admin"})),
            "RenderFailure",
            "InvalidSPIFFEID",
            "spec.spiffeIDTemplate gives the SPIFFE ID `spiffe://kleym.sonda.red/ns/kube-system/sa/admin`, which \
             must lie deeper than `/ns/NAMESPACE`; no other path is granted to the namespace (`--path-grant`)",
            Stalled,
        ),
        case(
            "id-domain",
            spec(json!({"spiffeIDTemplate": "spiffe://example.org/ns/{{ .Namespace }}/x"})),
            "RenderFailure",
            "InvalidSPIFFEID",
            "spec.spiffeIDTemplate gives the SPIFFE ID `spiffe://example.org/ns/NAMESPACE/x`, which has the trust \
             domain `example.org`, but the operator issues for `kleym.sonda.red`; use `{{ .TrustDomain }}`",
            Stalled,
        ),
    ]
}

#[tokio::test]
async fn a_refusal_is_one_condition_with_its_reason_and_takes_the_output_away() {
    let world = World::new("refusals").await;
    let _operator = world.operator().await;
    let cases = cases(&world.namespace);
    for Case { name, .. } in &cases {
        let objects = [pool(name, &[("app", name)]), objective(name, name), per_objective(name, name, name)];
        world.create_all(objects).await;
    }
    for case in &cases {
        world.ready(case.name).await;
    }
    let mark = world.at_rest().await;
    for case in &cases {
        world.edit(case.kind, case.name, case.patch.clone()).await;
    }
    for Case { name, kind, condition, reason, message, kstatus, .. } in &cases {
        let binding = world.refused(name, reason).await;
        let generation = if *kind == Kind::Binding { 2 } else { 1 };
        let conditions = refused(generation, condition, reason, message, *kstatus);
        assert_eq!(status_of(&binding), resolved(generation, &world.instance, conditions), "{name}");
        assert_eq!(world.find_output(name).await, None, "{name}");
    }
    let mut calls = world.named_calls(mark).await;
    calls.retain(|call| !call.starts_with("list "));
    calls.sort();
    let mut expected: Vec<String> = Vec::new();
    for Case { name, .. } in &cases {
        expected.push(format!("delete clusterspiffeids {}", world.output_name(name)));
        expected.push(format!("update inferenceidentitybindings/status {name}"));
    }
    expected.sort();
    assert_eq!(calls, expected);
}

/// A status that is wrong in every field, and valid by the schema.
fn forged() -> Value {
    let condition = |kind: &str, status: &str| {
        json!({
            "type": kind, "status": status, "reason": "Forged", "message": "forged", "observedGeneration": 99,
            "lastTransitionTime": "2099-01-01T00:00:00Z",
        })
    };
    let kinds =
        ["Ready", "InvalidRef", "UnsafeSelector", "Conflict", "RenderFailure", "Reconciling", "Stalled", "X"];
    let id = "spiffe://kleym.sonda.red/ns/kube-system/sa/admin";
    json!({
        "observedGeneration": 99,
        "conditions": kinds.map(|kind| condition(kind, if kind == "Ready" { "Unknown" } else { "True" })),
        "computedSpiffeIDs": [{"mode": "PoolOnly", "spiffeID": id}],
        "renderedSelectors": [{"spiffeID": id, "selectors": ["k8s:ns:kube-system"]}],
        "renderedClusterSPIFFEID": {
            "name": "forged", "uid": "forged", "spiffeID": id, "observedGeneration": 99,
            "selectorFingerprint": format!("sha256:{}", "0".repeat(64)),
        },
        "conflicts": [{"bindingName": "forged", "cause": "IdentityCollision", "spiffeID": id}],
        "conflictCount": 99,
        "trustDomain": "forged.example.org",
        "clusterSPIFFEIDClassName": "forged",
        "instance": "forged",
        "pathGrants": ["/forged"],
    })
}

#[tokio::test]
async fn a_status_forged_in_every_field_is_written_again_and_changes_nothing_else() {
    let world = World::new("forged").await;
    let operator = world.operator().await;
    world.create_all([pool("llama", &[("app", "vllm")]), objective("chat", "llama")]).await;
    world.create_all([pool_only("granted", "chat"), pool_only("refused", "nowhere")]).await;
    let granted = world.ready("granted").await;
    let refused = world.refused("refused", "TargetObjectiveNotFound").await;
    let output = world.output("granted").await;
    let forge = async |name: &str| {
        let version = world.edit_status(Kind::Binding, name, json!({"status": forged()})).await;
        assert_eq!(version["status"], forged());
    };
    let repaired = async |name: &str, before: &Value| {
        let wanted = status_of(before);
        world
            .until("the status is as before", Kind::Binding, name, |binding| {
                let status = status_of(binding.unwrap());
                anyhow::ensure!(status == wanted, "{status}");
                Ok(())
            })
            .await;
    };
    let mark = world.at_rest().await;
    forge("granted").await;
    forge("refused").await;
    repaired("granted", &granted).await;
    repaired("refused", &refused).await;
    let mut calls = world.named_calls(mark).await;
    calls.sort();
    let status = "update inferenceidentitybindings/status";
    assert_eq!(calls, [format!("{status} granted"), format!("{status} refused")]);
    assert_eq!(world.output("granted").await, output);
    let now = jiff::Timestamp::now();
    for condition in world.binding("granted").await["status"]["conditions"].as_array().unwrap() {
        let since: jiff::Timestamp = text(&condition["lastTransitionTime"]).parse().unwrap();
        assert!(since <= now, "{condition}");
    }

    // A status that was forged while nobody looked is no memory either.
    operator.terminate().await;
    forge("granted").await;
    forge("refused").await;
    let mark = world.mark().await;
    let _operator = world.operator().await;
    repaired("granted", &granted).await;
    repaired("refused", &refused).await;
    let mut calls = world.named_calls(mark).await;
    calls.retain(|call| !call.starts_with("list ") && !call.starts_with("get "));
    calls.sort();
    assert_eq!(calls, [format!("{status} granted"), format!("{status} refused")]);
    assert_eq!(world.output("granted").await, output);
}

#[tokio::test]
async fn a_status_that_was_rejected_is_written_when_nothing_rejects_it_any_more() {
    let world = World::new("status-rejected").await;
    let proxy = world.proxy().await;
    let denied = Reply::status(422, "Invalid", "a policy denied the request: no");
    let rejections = proxy.always(|asked| asked.subresource == "status", Fault::Answer(denied));
    let operator = world.start_operator_by(&proxy, &["--metrics-bind-address=127.0.0.1:0"]).await;
    world.create_all([pool("llama", &[("app", "vllm")]), objective("chat", "llama")]).await;
    world.create(per_objective("chat", "chat", "vllm")).await;
    // Two may follow what is seen of the inputs.
    eventually("statuses were rejected", SOON, || async {
        ensure!(rejections.count() >= 4, "not yet");
        Ok(())
    })
    .await
    .unwrap();
    // What the binding says is not true, and whoever looks at the metrics alone learns of it.
    let page = operator.metrics().await.unwrap();
    let errors = page.lines().find(|line| line.starts_with("controller_runtime_reconcile_errors_total{"));
    assert!(errors.is_some_and(|line| !line.ends_with(" 0")), "{errors:?}");
    // Nothing that is watched changes when a policy goes.
    proxy.heal();
    world.ready("chat").await;
}

#[tokio::test]
async fn a_status_that_a_policy_changes_on_its_way_in_is_written_again_until_it_stands_as_written() {
    let world = World::new("changed").await;
    let operator = world.operator().await;
    world.with_chat().await;
    let trust_domain = status_of(&world.binding("chat").await)["trustDomain"].clone();
    let of_the_namespace =
        json!({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": world.namespace}}});
    let patch = "[JSONPatch{op: \"add\", path: \"/status/trustDomain\", value: \"evil.org\"}]";
    let statuses = "inferenceidentitybindings/status";
    world.change_updates("kleym.sonda.red", statuses, of_the_namespace, patch).await;
    let bindings = world.api(Kind::Binding);
    let tries = PatchParams { dry_run: true, ..PatchParams::default() };
    let forged = json!({"status": {"instance": "forged"}});
    eventually("the policy is applied", SOON, || async {
        let tried = bindings.patch_status("chat", &tries, &Patch::Merge(&forged)).await?;
        ensure!(tried.data["status"]["trustDomain"] == "evil.org", "not yet");
        Ok(())
    })
    .await
    .unwrap();
    world.edit_status(Kind::Binding, "chat", forged).await;
    operator.says("the status is not stored as it was written").await;
    world.change_updates_no_more().await;
    world
        .reported("the status stands as written", "chat", |binding| {
            let status = status_of(binding);
            ensure!(
                status["trustDomain"] == trust_domain && status["instance"] == *world.instance,
                "{status}"
            );
            Ok(())
        })
        .await;
}

#[tokio::test]
async fn a_transition_time_moves_only_with_the_status() {
    let world = World::new("times").await;
    let _operator = world.operator().await;
    world.create_all([pool("llama", &[("app", "vllm")]), objective("chat", "llama")]).await;
    world.create(pool_only("chat", "chat")).await;
    let before = world.ready("chat").await;
    world.second_after(&before["status"]["conditions"][0]["lastTransitionTime"]).await;
    let template = "spiffe://{{ .TrustDomain }}/ns/{{ .Namespace }}/model/x";
    world.edit(Kind::Binding, "chat", json!({"spec": {"spiffeIDTemplate": template}})).await;
    let after = world.ready("chat").await;
    let times = |binding: &Value| -> Vec<Value> {
        let conditions = binding["status"]["conditions"].as_array().unwrap();
        conditions.iter().map(|condition| condition["lastTransitionTime"].clone()).collect()
    };
    assert_eq!(times(&after), times(&before));
    world.edit(Kind::Binding, "chat", json!({"spec": {"spiffeIDTemplate": "{{ .Nothing }}"}})).await;
    let refused = world.refused("chat", "SPIFFEIDRenderFailed").await;
    let (before, after) = (times(&after), times(&refused));
    let moved: Vec<bool> = before.iter().zip(&after).map(|(before, after)| before != after).collect();
    // Ready and RenderFailure changed, and `Stalled` is new.
    assert_eq!((moved, after.len()), (vec![true, false, false, false, true], 6));
}
