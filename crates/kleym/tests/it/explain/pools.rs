//! Who is in a pool and who is not: what is advised takes nobody out who is in it, and the pools of one name in two groups are
//! told apart.

use super::advice::fix;
use super::{BINDING, Dump, FALLBACK, POD, POOL, cause, h};
use crate::run::Answer;

/// A pod of a Deployment, in the version of this hash.
fn pod(name: &str, labels: &str, deployment: &str, hash: &str) -> String {
    let owner = format!(
        "ownerReferences: [{{apiVersion: apps/v1, kind: ReplicaSet, name: {deployment}-{hash}, uid: u}}]"
    );
    POD.replace("vllm-0", name)
        .replace("labels: {app: vllm}", &format!("{owner}, labels: {{{labels}, pod-template-hash: {hash}}}"))
}

/// A Deployment in the middle of a rollout that brings another label: one old pod, and `vllm-0`.
fn rollout(of_pool: &str, old: &str, new: &str) -> Dump {
    let dump = h()
        .edit("pool.yaml", "{app: vllm}", of_pool)
        .without("pod.yaml")
        .with("pod.yaml", &pod("vllm-0", new, "vllm", "7d9"))
        .with("old.yaml", &pod("vllm-1", old, "vllm", "5c8"))
        .without("output.yaml");
    written(dump)
}

/// The same, with what the operator writes for it.
fn written(dump: Dump) -> Dump {
    let output = dump.kleym("render --instance default");
    dump.with("output.yaml", &output.out)
}

fn line<'a>(answer: &'a Answer, word: &str) -> &'a str {
    answer.out.lines().find_map(|line| line.strip_prefix(&format!("{word:<7}"))).unwrap_or_default()
}

#[test]
fn a_pool_that_has_pods_is_never_said_to_be_what_is_wrong() {
    let answer = rollout("{app: vllm}", "app: vllm", "app: vllm-2").explain();
    assert_eq!(cause(&answer), Some("KLM2113"), "{answer}");
    assert_eq!(
        fix(&answer),
        "label the pod in the template of Deployment `vllm` (app=vllm; the pool's requests go to it then); the pool's selector is to stay as it is, for 1 pod is in the pool by it"
    );
    // One that has none may be what is wrong.
    let empty = h().edit("pod.yaml", "{app: vllm}", "{app: vllm-2}").explain();
    assert_eq!(
        fix(&empty),
        "label the pod (app=vllm; the pool's requests go to it then), or correct the pool's selector"
    );
}

#[test]
fn a_pod_that_has_nothing_in_common_with_a_pool_that_has_pods_is_told_to_join_it_only_if_it_serves_its_model()
{
    let dump = h()
        .without("pod.yaml")
        .with("pod.yaml", &pod("vllm-0", "app: console", "console", "7d9"))
        .with("old.yaml", &pod("vllm-1", "app: vllm", "vllm", "5c8"))
        .without("output.yaml");
    let answer = written(dump).explain();
    assert_eq!(cause(&answer), Some("KLM2113"), "{answer}");
    let fix = fix(&answer);
    assert!(fix.starts_with("if it serves the pool's model, label the pod"), "{answer}");
    assert!(fix.ends_with("any other pod has nothing to do with pools, nor with Kleym"), "{answer}");
}

#[test]
fn a_label_is_taken_out_of_a_selector_only_where_nobody_comes_in_who_is_not_meant() {
    let dump =
        || rollout("{serving: 'yes', app: vllm}", "serving: 'yes', app: vllm", "serving: 'yes', app: fp8");
    let answer = dump().explain();
    let wider = ", or take `app` out of the pool's selector, which keeps the pod that is in the pool now";
    assert!(fix(&answer).ends_with(wider), "{answer}");
    // Followed, both are in it.
    let followed =
        dump().edit("pool.yaml", "{serving: 'yes', app: vllm}", "{serving: 'yes'}").without("output.yaml");
    let followed = written(followed);
    for asked in ["explain pod/vllm-0", "explain pod/vllm-1", "explain binding/chat"] {
        let answer = followed.kleym(asked);
        assert_eq!((cause(&answer), answer.exit), (None, Some(0)), "{answer}");
    }
    let stranger = POD.replace("vllm-0", "bge-0").replace("{app: vllm}", "{serving: 'yes', app: bge}");
    let pool = POOL.replace("name: llama", "name: bge").replace("{app: vllm}", "{serving: 'yes', app: bge}");
    for other in [stranger, pool] {
        let answer = dump().with("other.yaml", &other).explain();
        assert!(
            fix(&answer).contains("label the pod in the template of Deployment `vllm` (app=vllm; the pool's requests go to it then)"),
            "{answer}"
        );
        assert!(fix(&answer).ends_with(" is to stay as it is, for 1 pod is in the pool by it"), "{answer}");
    }
}

#[test]
fn a_binding_tells_of_a_pod_of_the_same_workload_that_is_outside() {
    let dump = rollout("{app: vllm}", "app: vllm", "app: vllm-2");
    for asked in ["binding/chat", "spiffe://example.org/ns/llm/objective/chat"] {
        let answer = dump.kleym(&format!("explain {asked}"));
        assert_eq!((cause(&answer), answer.exit), (None, Some(0)), "{answer}");
        for said in [
            "note   KLM2113 pod `vllm-0` of Deployment `vllm` is not in pool `llama`, though 1 pod of it is: it has `app=vllm-2` instead of `app=vllm`\n",
            "fix    if those outside are the newer ones, label the pods in the template of Deployment `vllm` (app=vllm); if they are the older ones, they go with the rollout\n",
        ] {
            assert!(answer.out.contains(said), "{said}: {answer}");
        }
    }
    // One of another workload, one that is in another pool, and one that goes are no matter of the binding.
    let other = pod("vllm-0", "app: vllm-2", "picker", "7d9");
    let of_other = dump.without("pod.yaml").with("pod.yaml", &other);
    assert!(!of_other.kleym("explain binding/chat").out.contains("KLM2113"));
    let second = POOL.replace("name: llama", "name: second").replace("app: vllm", "app: vllm-2");
    let in_another = rollout("{app: vllm}", "app: vllm", "app: vllm-2").with("second.yaml", &second);
    assert!(!in_another.kleym("explain binding/chat").out.contains("KLM2113"));
    let goes = rollout("{app: vllm}", "app: vllm", "app: vllm-2").edit(
        "pod.yaml",
        "uid: uid-of-vllm-0",
        "uid: uid-of-vllm-0, deletionTimestamp: '2026-11-02T08:00:00Z'",
    );
    assert!(!goes.kleym("explain binding/chat").out.contains("KLM2113"));
}

#[test]
fn a_binding_tells_why_one_of_its_pods_gets_nothing_that_others_have() {
    let second = POD.replace("vllm-0", "vllm-1");
    for (from, to, code) in [
        ("serviceAccountName: llama", "serviceAccountName: s3", "KLM2110"),
        ("name: vllm, image", "name: server, image", "KLM2111"),
    ] {
        let dump = h().edit("pod.yaml", from, to).with("second.yaml", &second).with("default.yaml", FALLBACK);
        let (pod, binding) = (dump.explain(), dump.kleym("explain binding/chat"));
        assert_eq!((cause(&pod), pod.exit), (Some(code), Some(2)), "{pod}");
        assert_eq!((cause(&binding), binding.exit), (None, Some(0)), "{binding}");
        let message = line(&pod, "cause");
        assert!(binding.out.contains(&format!("note   {message}\n")), "{binding}");
        assert!(binding.out.contains(&format!("fix    {}\n", fix(&pod))), "{binding}");
    }
    // Of several that are told by the first.
    let third =
        POD.replace("vllm-0", "vllm-2").replace("serviceAccountName: llama", "serviceAccountName: s3");
    let dump = h().edit("pod.yaml", "serviceAccountName: llama", "serviceAccountName: s3");
    let answer = dump.with("second.yaml", &second).with("third.yaml", &third).kleym("explain binding/chat");
    assert!(answer.out.contains("names `llama`; and so it is with 1 more of the pods\n"), "{answer}");
}

#[test]
fn a_pool_whose_selector_was_changed_is_told_by_the_output_from_before() {
    let answer = h().edit("pool.yaml", "app: vllm", "app: vlm").explain();
    assert_eq!(cause(&answer), Some("KLM2113"), "{answer}");
    assert!(
        line(&answer, "note")
            .starts_with("the output of `llm/chat` is from before the selector of the pool was changed"),
        "{answer}"
    );
    assert_eq!(
        fix(&answer),
        "label the pod (app=vlm; the pool's requests go to it then), or correct the pool's selector"
    );
}

#[test]
fn a_name_that_is_not_there_comes_with_the_one_that_is_meant_most_likely() {
    for asked in ["explain pod/vllm-0", "explain binding/chat"] {
        let objective = h().edit("binding.yaml", "targetRef: {name: chat}", "targetRef: {name: chatt}");
        assert_eq!(
            fix(&objective.kleym(asked)),
            "set `spec.targetRef.name` of `llm/chat` to `chat`, or create InferenceObjective `chatt`"
        );
        let pool = h().edit("objective.yaml", "name: llama", "name: lama");
        assert_eq!(
            fix(&pool.kleym(asked)),
            "set `spec.poolRef.name` of InferenceObjective `chat` to `llama` (of inference.networking.k8s.io), or create InferencePool `lama`"
        );
        let other = super::OBJECTIVE
            .replace("llm-d.ai/", "inference.networking.x-k8s.io/")
            .replace("name: llama", "name: mistral");
        let both = h().with("other.yaml", &other).without("output.yaml").kleym(asked);
        assert_eq!(cause(&both), Some("KLM1004"), "{both}");
        let start = "set `spec.targetRef.group` of `llm/chat` to `llm-d.ai`, whose pool has ";
        assert!(fix(&both).starts_with(start), "{both}");
    }
}

#[test]
fn every_refusal_has_a_fix_and_unknown_grants_are_told() {
    let lacks = h().edit("binding.yaml", "'k8s:ns:llm', ", "").explain();
    assert_eq!(fix(&lacks), "add `k8s:ns:llm` to `spec.workloadSelectorTemplates` of `llm/chat`", "{lacks}");
    let lacks = h().edit("binding.yaml", ", 'k8s:sa:llama'", "").explain();
    let add =
        "add `k8s:sa:llama` to `spec.workloadSelectorTemplates` of `llm/chat`, for this pod runs as that";
    assert_eq!(fix(&lacks), add, "{lacks}");
    let other = h().edit("binding.yaml", "k8s:ns:llm", "k8s:ns:web").explain();
    let write =
        "write `k8s:ns:llm` instead of `k8s:ns:web` in `spec.workloadSelectorTemplates` of `llm/chat`";
    assert_eq!(fix(&other), write, "{other}");
    let outside = h().edit("binding.yaml", "spec:", "spec:\n  spiffeIDTemplate: spiffe://example.org/web/x");
    let answer = outside.without("output.yaml").explain();
    assert_eq!(cause(&answer), Some("KLM3002"), "{answer}");
    assert_eq!(fix(&answer), "correct `spec.spiffeIDTemplate` of InferenceIdentityBinding `llm/chat`");
    assert_eq!(
        line(&answer, "note"),
        "no binding of namespace `llm` has a status, so which paths its operator grants is not known here: give them with --path-grant"
    );
}

/// Two pools of one name; the objective leads to the one of the older group, and the pod is in the other.
fn twins() -> Dump {
    let twin = POOL
        .replace("inference.networking.k8s.io/v1", "inference.networking.x-k8s.io/v1alpha2")
        .replace("{matchLabels: {app: vllm}}", "{app: vllm-v0}");
    let dump = h()
        .edit("objective.yaml", "{name: llama}", "{name: llama, group: inference.networking.x-k8s.io}")
        .with("twin.yaml", &twin)
        .without("output.yaml");
    written(dump)
}

#[test]
fn of_two_pools_of_one_name_the_group_that_is_led_to_is_corrected_first() {
    let pin = "set `spec.poolRef.group` of InferenceObjective `chat` to `inference.networking.k8s.io`";
    for (asked, code, selects) in [
        ("explain pod/vllm-0", "KLM2113", "the pod"),
        ("explain binding/chat", "KLM6102", "1 pod"),
        ("explain spiffe://example.org/ns/llm/objective/chat", "KLM6102", "1 pod"),
    ] {
        let answer = twins().kleym(asked);
        assert_eq!((cause(&answer), answer.exit), (Some(code), Some(2)), "{answer}");
        assert_eq!(
            fix(&answer),
            format!(
                "{pin}, or give pool `llama` of `inference.networking.x-k8s.io` the selector of the other"
            )
        );
        assert_eq!(
            line(&answer, "note"),
            format!(
                "there are two pools `llama`: that of `inference.networking.k8s.io` selects {selects}, but objective `chat` leads to that of `inference.networking.x-k8s.io` (KLM1104)"
            )
        );
        for said in [
            "pool `llama` of `inference.networking.x-k8s.io`",
            "InferencePool llm/llama (inference.networking.x-k8s.io): spec.selector = app=vllm-v0\n",
            "InferencePool llm/llama (inference.networking.k8s.io): spec.selector = app=vllm\n",
            "InferenceObjective llm/chat (llm-d.ai): spec.poolRef = llama (group inference.networking.x-k8s.io)\n",
        ] {
            assert!(answer.out.contains(said), "{said}: {answer}");
        }
        // Followed, it holds.
        let followed =
            twins().edit("objective.yaml", "inference.networking.x-k8s.io", "inference.networking.k8s.io");
        let followed = written(followed.without("output.yaml")).kleym(asked);
        assert_eq!((cause(&followed), followed.exit), (None, Some(0)), "{followed}");
        // Where the pool that is led to has pods, they are told of.
        let other = POD.replace("vllm-0", "old-0").replace("{app: vllm}", "{app: vllm-v0}");
        let answer = twins().with("other.yaml", &other).explain();
        assert_eq!(
            fix(&answer),
            format!(
                "{pin}; the binding then no longer speaks of the 1 pod in that of `inference.networking.x-k8s.io`"
            )
        );
    }
    // A twin that has no pod either is not what is wrong.
    let neither = twins().edit("pod.yaml", "{app: vllm}", "{app: vllm-v1}").kleym("explain binding/chat");
    assert_eq!(
        line(&neither, "note"),
        "there are two pools `llama`, and that of `inference.networking.k8s.io` selects none either (KLM1104)"
    );
    assert!(!fix(&neither).contains("poolRef"), "{neither}");
}

#[test]
fn a_binding_whose_pool_has_no_pod_names_the_one_that_is_meant_most_likely() {
    let shop = POD.replace("vllm-0", "a-shop").replace("app: vllm", "app: shop").replace("llama", "shop");
    let answer = h()
        .edit("pod.yaml", "{app: vllm}", "{app: vllm-2}")
        .with("a-shop.yaml", &shop)
        .kleym("explain binding/chat");
    assert_eq!(cause(&answer), Some("KLM6102"), "{answer}");
    assert_eq!(
        line(&answer, "cause"),
        "KLM6102 no pod of namespace `llm` has the labels `app=vllm`; the nearest is pod `vllm-0`: it has `app=vllm-2` instead of `app=vllm`"
    );
    assert_eq!(
        fix(&answer),
        "label the pod (app=vllm; the pool's requests go to it then), or correct the pool's selector"
    );
    // What has neither its account nor a label of it is none.
    let strangers = h().without("pod.yaml").with("a-shop.yaml", &shop).kleym("explain binding/chat");
    assert_eq!(
        fix(&strangers),
        "label the pods that serve the model (app=vllm), or correct the pool's selector; if they are scaled to none, nothing else is wrong"
    );
    let elsewhere = shop.replace("namespace: llm", "namespace: web");
    let elsewhere = h().without("pod.yaml").with("a-shop.yaml", &elsewhere).kleym("explain binding/chat");
    assert_eq!(
        fix(&elsewhere),
        "give the files of the pods of namespace `llm` too; if there are none, scale the workload up"
    );
}

#[test]
fn a_binding_that_fits_other_pods_is_never_said_to_be_what_is_wrong() {
    let beside = |dump: Dump| dump.with("second.yaml", &POD.replace("vllm-0", "vllm-1")).explain();
    let account = h().edit("pod.yaml", "serviceAccountName: llama", "serviceAccountName: s3");
    assert_eq!(
        fix(&beside(account)),
        "set `serviceAccountName: llama` in the pod's template; the binding is to stay as it is, for 1 other pod runs as `llama`"
    );
    let container = h().edit("pod.yaml", "name: vllm, image", "name: server, image");
    assert_eq!(
        fix(&beside(container)),
        "call the container `vllm`; `spec.containerDiscriminator.value` of `llm/chat` is to stay as it is, for 1 other pod has it"
    );
    let label = "'k8s:sa:llama', 'k8s:pod-label:engine:vllm'";
    let second = POD.replace("vllm-0", "vllm-1").replace("{app: vllm}", "{app: vllm, engine: vllm}");
    let labelled = h().edit("binding.yaml", "'k8s:sa:llama'", label).without("output.yaml");
    let labelled = written(labelled).with("second.yaml", &second).explain();
    assert_eq!(cause(&labelled), Some("KLM2112"), "{labelled}");
    assert_eq!(
        fix(&labelled),
        "label the pod (engine=vllm); `k8s:pod-label:engine:vllm` in `spec.workloadSelectorTemplates[2]` of `llm/chat` is to stay as it is, for 1 other pod has it"
    );
}

#[test]
fn a_container_that_another_binding_names_is_not_offered() {
    let sidecar = BINDING
        .replace("name: chat, namespace", "name: sidecar, namespace")
        .replace("uid-of-chat", "uid-of-sidecar")
        .replace("value: vllm", "value: proxy");
    let answer = h()
        .edit("pod.yaml", "name: vllm, image", "name: server, image")
        .with("sidecar.yaml", &sidecar)
        .kleym("explain binding/chat");
    assert_eq!(
        fix(&answer),
        "set `spec.containerDiscriminator.value` of `llm/chat` to `server`, or call the container `vllm` in the pods"
    );
}

#[test]
fn a_binding_that_fits_no_container_is_told_with_the_fallbacks_it_took_away() {
    let note =
        "note   `llm/chat` takes the fallback identity of pod `vllm-0` away and gives it none (KLM6101)\n";
    let account = h().edit("pod.yaml", "serviceAccountName: llama", "serviceAccountName: s3");
    // By a selector that nobody has, and by two that no container has together.
    let node = "'k8s:sa:llama', 'k8s:node-name:gpu-1'";
    let node = written(h().edit("binding.yaml", "'k8s:sa:llama'", node).without("output.yaml"));
    let image = "'k8s:sa:llama', 'k8s:container-image:r/proxy:v1'";
    let reported = "status: {phase: Running, containerStatuses: [{name: vllm, image: 'r/vllm:v1', imageID: 'r/vllm@sha256:0'}], initContainerStatuses: [{name: proxy, image: 'r/proxy:v1', imageID: 'r/proxy@sha256:1'}]}";
    let image = h()
        .edit("binding.yaml", "'k8s:sa:llama'", image)
        .edit("pod.yaml", "status: {phase: Running}", reported)
        .without("output.yaml");
    for (dump, code) in [(account, "KLM2110"), (node, "KLM2112"), (written(image), "KLM2112")] {
        let answer = dump.with("default.yaml", FALLBACK).kleym("explain binding/chat");
        assert_eq!((cause(&answer), answer.exit), (Some(code), Some(2)), "{answer}");
        assert!(answer.out.contains(note), "{answer}");
    }
}

#[test]
fn what_was_not_looked_at_is_one_line() {
    let first = h().edit("pod.yaml", "{app: vllm}", "{app: vllm-2}").explain();
    assert!(first.out.contains("\n 2-9 -  not looked at: 1 failed\nCONTAINER "), "{first}");
    let last_but_one = h().edit("manager.yaml", "className: spire-spire", "className: spire-prod").explain();
    assert!(
        last_but_one.out.contains("\n 9 -    SCM              not looked at: 8 failed\n"),
        "{last_but_one}"
    );
}
