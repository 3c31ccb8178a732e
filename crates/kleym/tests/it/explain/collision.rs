//! A pod that has the identity of another binding than the one that was meant for it: who lost it, why, and how both get
//! their own.

use super::advice::fix;
use super::{BINDING, Dump, OBJECTIVE, POD, cause, h};

fn ready(since: &str) -> String {
    format!(
        "value: vllm}}
status:
  observedGeneration: 1
  conditions:
  - {{type: Ready, status: 'True', reason: Reconciled, message: done, observedGeneration: 1, lastTransitionTime: '{since}'}}"
    )
}

/// One of the pods of a Deployment, with these labels.
fn pod(name: &str, deployment: &str, labels: &str) -> String {
    let owner = format!(
        "ownerReferences: [{{apiVersion: apps/v1, kind: ReplicaSet, name: {deployment}-5c8, uid: u}}]"
    );
    POD.replace("vllm-0", name)
        .replace("{app: vllm}", &format!("{{app: vllm, pod-template-hash: 5c8{labels}}}, {owner}"))
}

/// `chat` was replaced on the 26th; `chat-canary` is from the 2nd, and is Ready since this time.
fn replaced(since: &str, stable: &str, canary: &str) -> Dump {
    let of_canary = BINDING
        .replace("name: chat, namespace", "name: chat-canary, namespace")
        .replace("uid-of-chat", "uid-of-canary")
        .replace("generation: 3", "generation: 1")
        .replace("2026-11-01T08:00:00Z", "2026-11-02T09:12:20Z")
        .replace("{name: chat}", "{name: canary}")
        .replace("value: vllm}", &ready(since));
    let dump = h()
        .edit("binding.yaml", "generation: 3", "generation: 1")
        .edit("binding.yaml", "2026-11-01T08:00:00Z", "2026-11-26T10:41:07Z")
        .with("canary.yaml", &of_canary)
        .with("its.yaml", &OBJECTIVE.replace("name: chat", "name: canary"))
        .without("pod.yaml")
        .with("pod.yaml", &pod("vllm-0", "vllm", stable))
        .with("other.yaml", &pod("vllm-canary-0", "vllm-canary", canary))
        .without("output.yaml");
    let output = dump.kleym("render --instance default");
    dump.with("output.yaml", &output.out)
}

const THEN: &str = "2026-11-26T10:41:06Z";

#[test]
fn a_binding_that_was_made_anew_and_lost_its_age_is_told_with_the_labels_that_both_are_to_name() {
    let dump = replaced(THEN, ", track: stable", ", track: canary");
    let answer = dump.explain();
    assert_eq!((cause(&answer), answer.exit), (None, Some(2)), "{answer}");
    let note = "`llm/chat` was made anew at 2026-11-26T10:41:07Z (its generation is 1), so it is now the younger of the two: `llm/chat-canary` is from 2026-11-02T09:12:20Z and Ready only since 2026-11-26T10:41:06Z";
    let both = "tell the two apart by the label `track`, in which their pods differ (`stable` and `canary`): add `k8s:pod-label:track:stable` to `spec.workloadSelectorTemplates` of `chat` and `k8s:pod-label:track:canary` to that of `chat-canary`, in BOTH, for in one alone it proves nothing";
    assert!(answer.out.contains("\n!      claims this pod: `chat`, refused KLM4001, see "), "{answer}");
    assert!(answer.out.contains(note) && fix(&answer).starts_with(both), "{answer}");
    let binding = dump.kleym("explain binding/chat");
    assert_eq!((cause(&binding), binding.exit), (Some("KLM4001"), Some(2)), "{binding}");
    assert!(binding.out.contains(note) && fix(&binding).starts_with(both), "{binding}");
}

#[test]
fn what_is_said_of_both_can_be_followed_and_of_one_alone_proves_nothing() {
    let templates = |value: &str| format!("'k8s:sa:llama', 'k8s:pod-label:track:{value}'");
    let dump = || replaced(THEN, ", track: stable", ", track: canary").without("output.yaml");
    let own = dump().edit("binding.yaml", "'k8s:sa:llama'", &templates("stable"));
    assert_eq!(cause(&own.kleym("explain binding/chat")), Some("KLM4001"));
    let both = own.edit("canary.yaml", "'k8s:sa:llama'", &templates("canary"));
    let output = both.kleym("render --instance default");
    let both = both.with("output.yaml", &output.out);
    for (pod, id) in [("vllm-0", "objective/chat"), ("vllm-canary-0", "objective/canary")] {
        let answer = both.kleym(&format!("explain pod/{pod}"));
        assert_eq!((cause(&answer), answer.exit), (None, Some(0)), "{answer}");
        assert!(answer.out.contains(&format!("   = spiffe://example.org/ns/llm/{id}\n")), "{answer}");
    }
}

#[test]
fn where_times_or_labels_tell_nothing_nothing_is_made_up() {
    // The older one had it all the time.
    let answer = replaced("2026-11-02T09:12:21Z", ", track: stable", ", track: canary").explain();
    assert!(!answer.out.contains("made anew"), "{answer}");
    // Of two names that say nothing, the workload says whose label it is.
    let answer = replaced(THEN, ", track: a1", ", track: b2").explain();
    let each = "the label of its own pods (`k8s:pod-label:track:a1` for Deployment `vllm`, `k8s:pod-label:track:b2` for Deployment `vllm-canary`), in BOTH";
    assert!(fix(&answer).contains(each), "{answer}");
    // What a controller writes, or what all pods have, tells nobody apart.
    let answer = replaced(THEN, "", "").explain();
    assert!(!fix(&answer).contains("k8s:pod-label:pod-template-hash"), "{answer}");
    assert!(!fix(&answer).contains("in which their pods differ"), "{answer}");
}
