//! Pods that a pool leaves out on purpose are not told to join it, and nobody is told to set a label that a controller writes.

use super::advice::fix;
use super::{Dump, FALLBACK, POD, cause, h};

const INDEX: &str = "leaderworkerset.sigs.k8s.io/worker-index";

/// One of two pods of a LeaderWorkerSet: StatefulSets stand between, and that of the workers is owned by the leader.
fn of_a_group(name: &str, set: &str, index: &str) -> String {
    let labels = format!("{{app: vllm, leaderworkerset.sigs.k8s.io/name: r1, {INDEX}: '{index}'}}");
    let owner = format!("ownerReferences: [{{apiVersion: apps/v1, kind: StatefulSet, name: {set}, uid: u}}]");
    POD.replace("vllm-0", name).replace("labels: {app: vllm}", &format!("labels: {labels}, {owner}"))
}

/// A pool of leaders.
fn group() -> Dump {
    let dump = h()
        .edit("pool.yaml", "{app: vllm}", &format!("{{app: vllm, {INDEX}: '0'}}"))
        .without("pod.yaml")
        .with("pod.yaml", &of_a_group("r1-0", "r1", "0"))
        .with("worker.yaml", &of_a_group("r1-0-1", "r1-0", "1"))
        .with("default.yaml", FALLBACK)
        .without("output.yaml");
    let output = dump.kleym("render --instance default");
    dump.with("output.yaml", &output.out)
}

#[test]
fn the_worker_of_a_group_whose_leader_serves_is_left_out_on_purpose() {
    let answer = group().kleym("explain pod/r1-0-1");
    insta::assert_snapshot!(answer);
    assert!(!answer.out.contains("label the pod"), "{answer}");
    // Nor does a binding speak of it as of a pod that a rollout forgot.
    let of_binding = group().kleym("explain binding/chat");
    assert_eq!((cause(&of_binding), of_binding.exit), (None, Some(0)), "{of_binding}");
    assert!(!format!("{of_binding}").contains("KLM2113"), "{of_binding}");
    // As data the mark is one that there was before.
    let data = group().kleym("explain pod/r1-0-1 -o json");
    assert!(data.out.contains("\"mark\": \"waits\"") && data.out.contains("KLM2115"), "{data}");
}

#[test]
fn what_is_said_of_workers_can_be_followed() {
    let pool = super::POOL.replace("name: llama", "name: workers");
    let pool = pool.replace("{app: vllm}", &format!("{{app: vllm, {INDEX}: '1'}}"));
    let binding = super::BINDING
        .replace("name: chat, namespace", "name: workers, namespace")
        .replace("uid-of-chat", "uid-of-workers")
        .replace("{name: chat}", "{name: workers, kind: InferencePool}\n  mode: PoolOnly")
        .replace("  containerDiscriminator: {type: ContainerName, value: vllm}\n", "");
    let dump = group().with("workers.yaml", &pool).with("its.yaml", &binding).without("output.yaml");
    let output = dump.kleym("render --instance default");
    let dump = dump.with("output.yaml", &output.out);
    for (pod, id) in [("r1-0", "objective/chat"), ("r1-0-1", "pool/workers")] {
        let answer = dump.kleym(&format!("explain pod/{pod}"));
        assert_eq!((cause(&answer), answer.exit), (None, Some(0)), "{answer}");
        assert!(answer.out.contains(&format!("   = spiffe://example.org/ns/llm/{id}\n")), "{answer}");
    }
}

#[test]
fn a_pool_that_selects_no_place_of_a_group_is_what_is_wrong() {
    let answer = group()
        .edit("pool.yaml", &format!("{INDEX}: '0'"), &format!("{INDEX}: '7'"))
        .kleym("explain pod/r1-0-1");
    assert_eq!(cause(&answer), Some("KLM2113"), "{answer}");
    assert_eq!(
        fix(&answer),
        "the pool's selector names `leaderworkerset.sigs.k8s.io/worker-index`, a label that a controller writes: do not set it on the pod; if the pool is meant for this pod too, select by a label in the template of `LeaderWorkerSet` `r1` instead",
        "{answer}"
    );
}

#[test]
fn a_hash_in_a_selector_is_taken_out_of_it_and_set_on_no_pod() {
    let owned = |name: &str, hash: &str| {
        let owner = format!(
            "ownerReferences: [{{apiVersion: apps/v1, kind: ReplicaSet, name: vllm-{hash}, uid: u}}]"
        );
        POD.replace("vllm-0", name).replace(
            "labels: {app: vllm}",
            &format!("{owner}, labels: {{app: vllm, pod-template-hash: {hash}}}"),
        )
    };
    let answer = h()
        .edit("pool.yaml", "{app: vllm}", "{app: vllm, pod-template-hash: 5c8}")
        .without("pod.yaml")
        .with("pod.yaml", &owned("vllm-0", "7d9"))
        .with("old.yaml", &owned("vllm-1", "5c8"))
        .without("output.yaml")
        .explain();
    assert_eq!(cause(&answer), Some("KLM2113"), "{answer}");
    assert_eq!(
        fix(&answer),
        "take `pod-template-hash` out of the pool's selector, which keeps who is in the pool now; requests go to this pod then (`pod-template-hash`: a label that a controller writes, and nobody else)",
        "{answer}"
    );
}

#[test]
fn the_endpoint_picker_of_a_pool_is_not_told_to_join_it() {
    let picker = POD
        .replace("vllm-0", "llama-epp-7d9-x")
        .replace("{app: vllm}", "{inferencepool: llama-epp}")
        .replace("r/vllm:v1", "r/our-picker:v1");
    let answer = h().with("picker.yaml", &picker).kleym("explain pod/llama-epp-7d9-x");
    assert_eq!((cause(&answer), answer.exit), (Some("KLM2115"), Some(0)), "{answer}");
    assert!(answer.out.contains("is the endpoint picker of pool `llama`"), "{answer}");
    assert!(fix(&answer).starts_with("nothing is to be done: it stays with what it has"), "{answer}");
    let by_image = picker
        .replace("{inferencepool: llama-epp}", "{app: router}")
        .replace("r/our-picker:v1", "ghcr.io/llm-d/llm-d-router-endpoint-picker:v0.10.0");
    let answer = h().with("picker.yaml", &by_image).kleym("explain pod/llama-epp-7d9-x");
    assert_eq!((cause(&answer), answer.exit), (Some("KLM2115"), Some(0)), "{answer}");
}
