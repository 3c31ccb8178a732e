//! What was read: the fields behind a cause, with what stands in them.

use serde_json::Value;

use super::{BINDING, Dump, OBJECTIVE, POD, POOL, cause, duplicate, h, rival};
use crate::run::Answer;

/// The lines of the evidence, without the word before them.
pub(super) fn read(answer: &Answer) -> Vec<&str> {
    let lines = answer.out.lines().skip_while(|line| !line.starts_with("read "));
    lines
        .take_while(|line| line.starts_with("read ") || line.starts_with("       "))
        .map(|line| &line[7..])
        .collect()
}

pub(super) fn line<'a>(answer: &'a Answer, word: &str) -> &'a str {
    answer.out.lines().find_map(|line| line.strip_prefix(&format!("{word:<7}"))).unwrap_or_default()
}

#[test]
fn an_objective_of_another_group_is_named() {
    let dump = h().edit("binding.yaml", "{name: chat}", "{name: chat, group: llm-d.ai}").edit(
        "objective.yaml",
        "llm-d.ai/",
        "inference.networking.x-k8s.io/",
    );
    let answer = dump.explain();
    assert_eq!(cause(&answer), Some("KLM1001"), "{answer}");
    assert_eq!(
        read(&answer),
        [
            "InferenceIdentityBinding llm/chat: spec.targetRef.name = chat",
            "InferenceIdentityBinding llm/chat: spec.targetRef.group = llm-d.ai",
            "InferenceObjective llm/chat (inference.networking.x-k8s.io): metadata.name = chat",
        ]
    );
    assert_eq!(
        line(&answer, "fix"),
        "set spec.targetRef.group to `inference.networking.x-k8s.io`, or leave it out, or create the InferenceObjective in `llm-d.ai`"
    );
    let lint = dump.kleym("lint");
    assert!(lint.out.contains("note: the one of the other group"), "{lint}");
}

#[test]
fn a_pool_of_another_group_is_named() {
    let answer = h()
        .edit("pool.yaml", "inference.networking.k8s.io/v1", "inference.networking.x-k8s.io/v1alpha2")
        .edit("pool.yaml", "{matchLabels: {app: vllm}}", "{app: vllm}")
        .explain();
    assert_eq!(cause(&answer), Some("KLM1002"), "{answer}");
    assert_eq!(
        read(&answer),
        [
            "InferenceObjective llm/chat (llm-d.ai): spec.poolRef = llama (group inference.networking.k8s.io, the default)",
            "InferencePool llm/llama (inference.networking.x-k8s.io): metadata.name = llama",
        ]
    );
    assert!(
        line(&answer, "fix").starts_with(
            "set spec.poolRef.group of InferenceObjective `chat` to `inference.networking.x-k8s.io`"
        ),
        "{answer}"
    );
}

#[test]
fn where_nothing_has_the_name_the_others_are_listed() {
    let answer = h().edit("objective.yaml", "name: chat", "name: chatt").explain();
    assert_eq!(
        read(&answer),
        [
            "InferenceIdentityBinding llm/chat: spec.targetRef.name = chat",
            "namespace llm: InferenceObjectives = chatt (llm-d.ai)",
        ]
    );
    let none = h().without("binding.yaml").without("output.yaml").explain();
    assert_eq!(
        read(&none),
        [
            "InferencePool llm/llama: spec.selector = app=vllm",
            "namespace llm: InferenceIdentityBindings = <none>",
        ]
    );
}

#[test]
fn a_conflict_shows_who_came_when_and_what_both_claim() {
    let answer = rival().kleym("explain binding/chat");
    let items = "k8s:container-name:vllm, k8s:ns:llm, k8s:pod-label:app:vllm, k8s:sa:llama";
    assert_eq!(
        read(&answer),
        [
            "InferenceIdentityBinding llm/rival: metadata.creationTimestamp = 2026-10-01T08:00:00Z",
            "InferenceIdentityBinding llm/chat: metadata.creationTimestamp = 2026-11-01T08:00:00Z",
            &format!("InferenceIdentityBinding llm/rival: selectors = {items}"),
            &format!("InferenceIdentityBinding llm/chat: selectors = {items}"),
        ]
    );
}

#[test]
fn of_two_selectors_that_exclude_each_other_it_is_told_which_is_the_pools_own() {
    let template =
        |item: &str| h().edit("binding.yaml", "'k8s:sa:llama'", &format!("'k8s:sa:llama', '{item}'"));
    for (dump, remove) in [
        (
            template("k8s:pod-label:app:vllm-2"),
            "InferencePool `llama` selects `k8s:pod-label:app:vllm` itself, so remove `k8s:pod-label:app:vllm-2` in `spec.workloadSelectorTemplates[2]`",
        ),
        (
            template("k8s:container-name:other"),
            "`k8s:container-name:vllm` is what `spec.containerDiscriminator` says: remove `k8s:container-name:other` in `spec.workloadSelectorTemplates[2]`, or correct the discriminator",
        ),
        (
            template("k8s:sa:other"),
            "remove `k8s:sa:llama` in `spec.workloadSelectorTemplates[1]` or `k8s:sa:other` in `spec.workloadSelectorTemplates[2]`",
        ),
    ] {
        let answer = dump.without("output.yaml").explain();
        assert_eq!(cause(&answer), Some("KLM2001"), "{answer}");
        assert_eq!(line(&answer, "fix"), remove, "{answer}");
        assert!(read(&answer).contains(&"InferencePool llm/llama: spec.selector = app=vllm"), "{answer}");
    }
}

/// Every refusal that files can show, and what it is about.
fn refused() -> Vec<Dump> {
    let edit = |from: &str, to: &str| h().edit("binding.yaml", from, to);
    vec![
        rival(),
        duplicate(),
        edit("'k8s:ns:llm', ", ""),
        edit("k8s:ns:llm", "k8s:ns:{{ .Name }}"),
        edit("k8s:ns:llm", "k8s:ns:web"),
        edit("k8s:sa:llama", "k8s:sa:llama', 'k8s:pod-uid:x"),
        edit("  containerDiscriminator: {type: ContainerName, value: vllm}\n", ""),
        edit("value: vllm", "value: 'v llm'"),
        edit("spec:", "spec:\n  mode: PoolOnly"),
        edit("spec:", "spec:\n  mode: PerPod"),
        edit("spec:", "spec:\n  spiffeIDTemplate: 'spiffe://{{ .TrustDomain'"),
        edit("spec:", "spec:\n  spiffeIDTemplate: spiffe://example.org/ns/web/x"),
        edit("{name: chat}", "{name: 5}"),
        h().edit("objective.yaml", "{name: llama}", "{name: llama, namespace: other}"),
        h().edit("objective.yaml", "{name: llama}", "{name: llama, kind: Service}"),
        h().edit("pool.yaml", "{app: vllm}", "{}"),
        h().edit("pool.yaml", "{app: vllm}", "{app: ' x'}"),
        h().edit(
            "pool.yaml",
            "{matchLabels: {app: vllm}}",
            "{matchLabels: {app: vllm}, matchExpressions: [{key: a, operator: Exists}]}",
        ),
        h().without("objective.yaml"),
        h().without("pool.yaml"),
    ]
}

#[test]
fn evidence_is_what_stands_in_a_field_and_never_the_message_again() {
    for dump in refused() {
        let answer = dump.kleym("explain binding/chat -o json");
        let report: Value = serde_json::from_str(&answer.out).unwrap();
        let chain = &report["chains"][0];
        let message = chain["cause"]["message"].as_str().unwrap();
        let what = message.split_once(" is refused: ").unwrap().1;
        let links = chain["links"].as_array().unwrap();
        let broken = links.iter().find(|link| link["mark"] == "broken").unwrap();
        let evidence = broken["evidence"].as_array().unwrap();
        assert!(!evidence.is_empty(), "{answer}");
        for read in evidence {
            let value = read["value"].as_str().unwrap();
            assert!(!value.is_empty() && !value.contains(what), "{answer}");
        }
    }
}

#[test]
fn a_pod_that_is_in_no_pool_is_told_which_comes_nearest() {
    let pool = |name: &str, labels: &str| {
        POOL.replace("name: llama", &format!("name: {name}")).replace("{app: vllm}", labels)
    };
    let dump = |labels: &str| {
        h().edit("pod.yaml", "{app: vllm}", labels)
            .edit("pool.yaml", "{app: vllm}", "{app: vllm, tier: gpu}")
            .with("a.yaml", &pool("alpha", "{role: decode}"))
            .with("b.yaml", &pool("beta", "{app: bge, tier: cpu}"))
            .without("output.yaml")
            .explain()
    };
    let near = dump("{app: vllm-2, tier: gpu}");
    assert_eq!(
        line(&near, "cause"),
        "KLM2113 pod `vllm-0` is in no pool; the nearest is `llama`: it has `app=vllm-2` instead of `app=vllm`"
    );
    assert_eq!(
        read(&near),
        [
            "Pod llm/vllm-0: metadata.labels = app=vllm-2,tier=gpu",
            "InferencePool llm/llama: spec.selector = app=vllm,tier=gpu",
            "InferencePool llm/beta: spec.selector = app=bge,tier=cpu",
            "InferencePool llm/alpha: spec.selector = role=decode",
        ]
    );
    assert_eq!(
        line(&near, "fix"),
        "label the pod (app=vllm; the pool's requests go to it then), or correct the selector of pool `llama`"
    );
    let far = dump("{team: search}");
    assert!(line(&far, "cause").contains("has no label that `alpha`, `beta` and `llama` select"), "{far}");
    // None is blamed that others are as near as.
    let other = dump("{app: console}");
    assert!(line(&other, "cause").contains("is in no pool of namespace `llm`: it has no label"), "{other}");
    let between = h()
        .edit("pod.yaml", "{app: vllm}", "{tier: gpu, role: x}")
        .edit("pool.yaml", "{app: vllm}", "{tier: gpu, role: a}")
        .with("b.yaml", &pool("beta", "{tier: gpu, role: b}"))
        .without("output.yaml")
        .explain();
    assert!(
        line(&between, "cause").ends_with(
            "as near as each other are `beta` (it has `role=x` instead of `role=b`), `llama` (it has `role=x` instead of `role=a`)"
        ),
        "{between}"
    );
    let lacks = dump("{app: vllm}");
    assert!(line(&lacks, "cause").ends_with("the nearest is `llama`: it lacks `tier=gpu`"), "{lacks}");
}

#[test]
fn labels_are_set_where_the_pods_come_from() {
    let owned = |kind: &str, name: &str| {
        let owner = format!("ownerReferences: [{{apiVersion: apps/v1, kind: {kind}, name: {name}, uid: u}}]");
        h().edit(
            "pod.yaml",
            "labels: {app: vllm}",
            &format!("{owner}, labels: {{app: x, pod-template-hash: 6c4f}}"),
        )
        .explain()
    };
    let fix = "label the pod in the template of Deployment `vllm` (app=vllm; the pool's requests go to it then), or correct the pool's selector";
    assert_eq!(line(&owned("ReplicaSet", "vllm-6c4f"), "fix"), fix);
    let set = owned("LeaderWorkerSet", "vllm");
    assert!(
        line(&set, "fix").starts_with("label the pod in the template of `LeaderWorkerSet` `vllm`"),
        "{set}"
    );
}

#[test]
fn a_binding_is_told_with_the_evidence_of_its_pods() {
    let same = |dump: Dump| {
        let (pod, binding) = (dump.explain(), dump.kleym("explain binding/chat"));
        assert_eq!(cause(&pod), cause(&binding), "{binding}");
        assert_eq!((read(&pod), line(&pod, "fix")), (read(&binding), line(&binding, "fix")), "{binding}");
        assert!(!read(&pod).is_empty(), "{pod}");
    };
    same(h().edit("pod.yaml", "name: vllm, image", "name: server, image"));
    same(h().edit("manager.yaml", "className: spire-spire", "className: spire-prod"));
    same(h().edit("pod.yaml", "  nodeName: gpu-14\n", ""));
    same(h().edit("node.yaml", "name: gpu-14", "name: gpu-15"));
    let account = h().edit("pod.yaml", "llama", "default").kleym("explain binding/chat");
    assert_eq!(
        read(&account),
        [
            "Pod llm/vllm-0: spec.serviceAccountName = default",
            "InferenceIdentityBinding llm/chat: spec.workloadSelectorTemplates[1] = k8s:sa:llama",
        ]
    );
    let container = h().edit("pod.yaml", "name: vllm, image", "name: server, image");
    let container = container.kleym("explain binding/chat");
    assert_eq!(
        line(&container, "fix"),
        "set `spec.containerDiscriminator.value` of `llm/chat` to one of `server` and `proxy`, or call the container `vllm` in the pods"
    );
    let none = h().without("pod.yaml").with("pod.yaml", &POD.replace("app: vllm", "app: other"));
    let none = none.kleym("explain binding/chat");
    assert!(read(&none).contains(&"Pod llm/vllm-0: metadata.labels = app=other"), "{none}");
}

/// The operator's Deployment.
fn operator(replicas: i64, status: &str, instance: &str) -> String {
    format!(
        "apiVersion: apps/v1
kind: Deployment
metadata:
  name: kleym-operator
  namespace: kleym-system
  labels: {{app.kubernetes.io/name: kleym, app.kubernetes.io/component: operator}}
spec:
  replicas: {replicas}
  template: {{spec: {{containers: [{{name: operator, args: [--instance={instance}]}}]}}}}
status: {status}
"
    )
}

#[test]
fn an_operator_that_does_not_run_is_why_an_output_is_not_as_it_should_be() {
    let drifted = |operator: &str| {
        h().edit("output.yaml", "fallback: false", "fallback: true").with("operator.yaml", operator).explain()
    };
    let at_rest = drifted(&operator(0, "{}", "default"));
    assert_eq!(cause(&at_rest), Some("KLM5011"), "{at_rest}");
    assert_eq!(read(&at_rest).last(), Some(&"Deployment kleym-system/kleym-operator: spec.replicas = 0"));
    assert_eq!(
        line(&at_rest, "fix"),
        "kleym-operator is scaled to none: give Deployment `kleym-system/kleym-operator` a replica"
    );
    let unready = drifted(&operator(2, "{replicas: 2}", "default"));
    assert_eq!(
        read(&unready).last(),
        Some(&"Deployment kleym-system/kleym-operator: status.readyReplicas = 0"),
        "{unready}"
    );
    // One that runs, or one of another instance, explains nothing.
    for other in
        [operator(1, "{readyReplicas: 1}", "default"), operator(1, "", "default"), operator(0, "{}", "blue")]
    {
        let answer = drifted(&other);
        assert!(!answer.out.contains("Deployment"), "{answer}");
        assert!(line(&answer, "fix").starts_with("kleym-operator repairs this by itself"), "{answer}");
    }
    let missing = h().without("output.yaml").with("default.yaml", super::FALLBACK);
    let missing = missing.with("operator.yaml", &operator(0, "{}", "default")).explain();
    assert_eq!(cause(&missing), Some("KLM5010"), "{missing}");
    assert!(line(&missing, "fix").starts_with("kleym-operator is scaled to none"), "{missing}");
    // Nobody tells of a refusal either: what is wrong with the binding comes behind that.
    let refused = h()
        .edit("binding.yaml", "spec:", "spec:\n  spiffeIDTemplate: spiffe://example.org/ns/web/x")
        .edit("binding.yaml", "value: vllm}\n", "value: vllm}\nstatus: {observedGeneration: -1}\n");
    let refused = refused.with("operator.yaml", &operator(1, "{replicas: 1}", "default")).explain();
    assert_eq!((cause(&refused), refused.exit), (Some("KLM9202"), Some(2)), "{refused}");
    assert_eq!(
        line(&refused, "cause"),
        "KLM9202 no operator has decided `llm/chat` as it is now, for none works in its namespace"
    );
    assert!(
        line(&refused, "note").starts_with("once one works, it refuses the binding (KLM3002): "),
        "{refused}"
    );
    // It is also who lets go of a binding that is to go.
    let held = BINDING.replace(
        "generation: 3",
        "generation: 3, deletionTimestamp: '2026-11-02T08:00:00Z', finalizers: [kleym.sonda.red/inferenceidentitybinding-finalizer]",
    );
    let held = h().without("binding.yaml").with("binding.yaml", &held);
    let held = held.with("operator.yaml", &operator(0, "{}", "default")).explain();
    assert!(line(&held, "fix").starts_with("kleym-operator is scaled to none"), "{held}");
}

#[test]
fn two_objectives_of_one_name_show_where_each_leads() {
    let other = OBJECTIVE
        .replace("llm-d.ai/", "inference.networking.x-k8s.io/")
        .replace("name: llama", "name: mistral, group: inference.networking.x-k8s.io");
    let answer = h().with("other.yaml", &other).explain();
    assert_eq!(cause(&answer), Some("KLM1004"), "{answer}");
    assert_eq!(
        read(&answer)[..3],
        [
            "InferenceIdentityBinding llm/chat: spec.targetRef.group = <none>",
            "InferenceObjective llm/chat (llm-d.ai): spec.poolRef = llama (group inference.networking.k8s.io, the default)",
            "InferenceObjective llm/chat (inference.networking.x-k8s.io): spec.poolRef = mistral (group inference.networking.x-k8s.io)",
        ]
    );
}

#[test]
fn an_operator_that_has_lost_its_path_grants_refuses_to_start() {
    let granted =
        BINDING.replace("spec:", "spec:\n  spiffeIDTemplate: spiffe://example.org/tenants/llm/chat");
    let granted = granted
        + "status: {observedGeneration: 3, trustDomain: example.org, clusterSPIFFEIDClassName: spire-spire, instance: default, pathGrants: [/tenants/llm], conditions: [{type: Ready, status: 'True', reason: Reconciled, message: ''}]}\n";
    let rules = BINDING
        .replace("{name: chat,", "{name: rules,")
        .replace("uid-of-chat", "uid-of-rules")
        .replace("value: vllm", "value: proxy")
        + "status: {observedGeneration: -1}\n";
    let dump = h().without("binding.yaml").without("output.yaml").with("binding.yaml", &granted);
    let output = dump.kleym("render --path-grant llm=/tenants/llm");
    let stats = "status: {stats: {podsSelected: 1, entriesToSet: 1, namespacesSelected: 1}}\n";
    let dump = dump.with("output.yaml", &(output.out + stats)).with("rules.yaml", &rules);
    let said = "KLEYM_PATH_GRANT=llm=/tenants/llm, as the bindings' status has it";
    let lost = operator(
        1,
        "{replicas: 1}",
        "default, --trust-domain=example.org, --clusterspiffeid-class-name=spire-spire",
    );
    let dump = dump.with("operator.yaml", &lost);
    let answer = dump.ask("explain binding/rules -n llm -f dump");
    assert_eq!((cause(&answer), answer.exit), (Some("KLM5010"), Some(2)), "{answer}");
    assert!(line(&answer, "fix").contains("--path-grant is not set, but 1 issued output lies outside `/ns/`, such as `spiffe://example.org/tenants/llm/chat`, in no grant any more, so it refuses to start"), "{answer}");
    assert!(line(&answer, "fix").contains(said), "{answer}");
}
