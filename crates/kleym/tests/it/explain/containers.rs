//! The containers of a pod: each has its own cause, and what is said of all of them is said of those that can hold an
//! identity.

use serde_json::Value;

use super::{BINDING, Dump, FALLBACK, OBJECTIVE, POD, POOL, cause, h};
use crate::run::{Answer, at_the_root};

#[test]
fn the_cause_of_a_container_is_its_own_and_not_that_of_a_refused_peer() {
    let of = |container: &str| {
        at_the_root(&format!(
            "explain pod/llama-70b-6d5f8c-4kx9z -c {container} -n inference -f examples/map --clusterspiffeid-class-name spire-spire"
        ))
    };
    let metrics = of("metrics");
    assert_eq!(cause(&metrics), Some("KLM6101"), "{metrics}");
    assert!(!metrics.out.contains("KLM4001"), "{metrics}");
    assert!(metrics.out.contains("one with `mode: PoolOnly`"), "{metrics}");
    // The container that both claim is told who is refused.
    let vllm = of("vllm");
    assert!(vllm.out.contains("!      claims this pod: `summaries`, refused KLM4001"), "{vllm}");
}

#[test]
fn a_container_is_not_told_what_is_wrong_with_the_binding_of_another() {
    let refused = h().edit("binding.yaml", "'k8s:ns:llm', ", "").without("output.yaml");
    let of = |container: &str| refused.kleym(&format!("explain pod/vllm-0 -c {container}"));
    assert_eq!(cause(&of("vllm")), Some("KLM2001"), "{}", of("vllm"));
    let proxy = of("proxy");
    assert_eq!(cause(&proxy), Some("KLM2114"), "{proxy}");
    let message =
        "no InferenceIdentityBinding of namespace `llm` speaks of container `proxy` of pod `vllm-0`";
    assert!(proxy.out.contains(message), "{proxy}");
}

#[test]
fn that_a_fallback_identity_is_gone_is_no_second_alarm_behind_another_cause() {
    let fallback = || h().with("default.yaml", FALLBACK);
    let holds = fallback().explain();
    assert!(holds.err.contains("warning[KLM6101]"), "{holds}");
    let refused = fallback().edit("output.yaml", "entriesToSet: 1", "entriesToSet: 1, entryFailures: 1");
    for answer in [refused.explain(), refused.kleym("explain binding/chat")] {
        assert_eq!(cause(&answer), Some("KLM6004"), "{answer}");
        assert!(!answer.err.contains("KLM6101"), "{answer}");
    }
    // Where it belongs to the cause it is a note.
    let none = fallback().edit("pod.yaml", "name: vllm, image", "name: server, image").explain();
    assert_eq!(cause(&none), Some("KLM2111"), "{none}");
    assert!(none.out.contains("note   `llm/chat` takes the fallback identity"), "{none}");
    assert!(!none.err.contains("KLM6101"), "{none}");
}

/// The containers from which the map draws a lost fallback identity.
fn lost(dump: &Dump) -> Vec<String> {
    let map: Value = serde_json::from_str(&dump.kleym("graph -o json").out).unwrap();
    let edges = map["namespaces"][0]["edges"].as_array().unwrap();
    let lost = edges.iter().filter(|edge| edge["link"] == "displaced");
    lost.filter_map(|edge| edge["fromContainer"].as_str())
        .filter(|name| *name != "vllm")
        .map(str::to_owned)
        .collect()
}

#[test]
fn an_init_container_counts_while_it_can_hold_an_identity() {
    let init = |phase: &str| {
        h().with("default.yaml", FALLBACK).edit("pod.yaml", ", restartPolicy: Always", "").edit(
            "pod.yaml",
            "{phase: Running}",
            phase,
        )
    };
    let told = |answer: &Answer| {
        (answer.out.contains("container `proxy` has no identity"), answer.err.contains("KLM6101"))
    };
    for (phase, counts) in
        [("{phase: Running}", false), ("{phase: Succeeded}", false), ("{phase: Pending}", true), ("{}", true)]
    {
        let dump = init(phase);
        let answer = dump.explain();
        assert_eq!(told(&answer), (counts, counts), "{phase}: {answer}");
        assert_eq!(lost(&dump), if counts { vec!["proxy".to_owned()] } else { Vec::new() }, "{phase}");
    }
    // A native sidecar runs on.
    assert_eq!(lost(&h().with("default.yaml", FALLBACK)), ["proxy"]);
}

#[test]
fn of_two_pools_of_one_name_the_one_that_the_binding_leads_to_is_compared() {
    let twin = POOL
        .replace("inference.networking.k8s.io/v1", "inference.networking.x-k8s.io/v1alpha2")
        .replace("{matchLabels: {app: vllm}}", "{app: vllm}");
    let dump = h()
        .edit("pool.yaml", "{app: vllm}", "{app: vllm, role: decode}")
        .edit("pod.yaml", "labels: {app: vllm}", "labels: {app: vllm, role: both}")
        .with("twin.yaml", &twin);
    for answer in [dump.explain(), dump.kleym("explain pod/vllm-0 -c vllm")] {
        assert_eq!(cause(&answer), Some("KLM2113"), "{answer}");
        for said in [
            "it has `role=both` instead of `role=decode`",
            "InferencePool llm/llama (inference.networking.k8s.io): spec.selector = app=vllm,role=decode",
            "InferencePool llm/llama (inference.networking.x-k8s.io): spec.selector = app=vllm\n",
            "note   there are two pools `llama`",
            "set `spec.poolRef.group` of InferenceObjective `chat` to `inference.networking.x-k8s.io`",
        ] {
            assert!(answer.out.contains(said), "{said}: {answer}");
        }
    }
}

/// A second binding, for the sidecar, beside one for the container; both have their outputs.
fn two_containers(templates: &str) -> Dump {
    let sidecar = BINDING
        .replace("name: chat", "name: sidecar")
        .replace("uid-of-chat", "uid-of-sidecar")
        .replace("value: vllm", "value: proxy");
    let dump = h()
        .edit("binding.yaml", "'k8s:sa:llama'", templates)
        .without("output.yaml")
        .with("sidecar.yaml", &sidecar)
        .with("objective-of-sidecar.yaml", &OBJECTIVE.replace("name: chat", "name: sidecar"))
        .with("default.yaml", FALLBACK);
    let outputs = dump.kleym("render --instance default");
    dump.with("output.yaml", &outputs.out)
}

#[test]
fn the_binding_that_names_a_container_comes_before_one_that_only_took_its_fallback_away() {
    let dump = two_containers("'k8s:sa:llama', 'k8s:pod-label:engine:vllm'");
    let answer = dump.kleym("explain pod/vllm-0 -c vllm");
    assert_eq!((cause(&answer), answer.exit), (Some("KLM2112"), Some(2)), "{answer}");
    for said in [
        "pod `vllm-0` lacks label `engine=vllm`, which `llm/chat` selects",
        "Pod llm/vllm-0: metadata.labels = app=vllm\n",
        "spec.workloadSelectorTemplates[2] = k8s:pod-label:engine:vllm",
        "note   `llm/sidecar` takes the fallback identity of the whole pod away",
    ] {
        assert!(answer.out.contains(said), "{said}: {answer}");
    }
    // A binding of its own would compete with the one that is there, so nobody is told to write one.
    for answer in [dump.explain(), dump.kleym("status")] {
        let told = format!("{}{}", answer.out, answer.err);
        assert!(told.contains("KLM6101"), "{answer}");
        assert!(told.contains("`llm/chat` names container `vllm`"), "{answer}");
        assert!(!told.contains("bind these containers too"), "{answer}");
    }
}

#[test]
fn evidence_that_was_typed_is_not_said_to_be_read() {
    let answer = h().kleym("explain pod/vllm-0 --scm-class-name other");
    assert_eq!(cause(&answer), Some("KLM6001"), "{answer}");
    assert!(answer.out.contains("flag --scm-class-name: className = other"), "{answer}");
    let answer = h().kleym("explain pod/vllm-0 --scm-ignore-namespaces llm");
    assert!(answer.out.contains("flag --scm-ignore-namespaces: ignoreNamespaces = llm"), "{answer}");
}

#[test]
fn of_an_image_that_is_not_there_the_one_is_told_that_the_kubelet_reports() {
    let reported = "status:
  phase: Running
  containerStatuses: [{name: vllm, image: 'docker.io/r/vllm:v1', imageID: 'docker.io/r/vllm@sha256:0'}]";
    let dump = h()
        .edit(
            "binding.yaml",
            "{type: ContainerName, value: vllm}",
            "{type: ContainerImage, value: 'r/vllm:v1'}",
        )
        .edit("pod.yaml", "status: {phase: Running}", reported)
        .edit(
            "pod.yaml",
            "  initContainers: [{name: proxy, image: 'r/proxy:v1', restartPolicy: Always}]\n",
            "",
        );
    let answer = dump.explain();
    assert_eq!(cause(&answer), Some("KLM2111"), "{answer}");
    for said in [
        "has `k8s:container-image:r/vllm:v1`; the kubelet reports `docker.io/r/vllm:v1`",
        "Pod llm/vllm-0: status.containerStatuses[].image = `docker.io/r/vllm:v1`",
        "as the kubelet reports it, in `spec.containerDiscriminator.value` of `llm/chat`: `docker.io/r/vllm:v1`",
    ] {
        assert!(answer.out.contains(said), "{said}: {answer}");
    }
}

#[test]
fn an_image_from_a_mirror_is_that_of_the_container_that_is_meant() {
    let reported = "status:
  phase: Running
  containerStatuses: [{name: vllm, image: 'mirror/r/vllm:v1', imageID: 'mirror/r/vllm@sha256:0'}]
  initContainerStatuses: [{name: proxy, image: 'mirror/r/proxy:v1', imageID: 'mirror/r/proxy@sha256:1'}]";
    let by_image = "{type: ContainerImage, value: 'r/vllm:v1'}";
    let dump = h().edit("binding.yaml", "{type: ContainerName, value: vllm}", by_image).edit(
        "pod.yaml",
        "status: {phase: Running}",
        reported,
    );
    let name = "discriminate by `ContainerName: vllm` in `spec.containerDiscriminator` of `llm/chat`, which no other tag of the image changes";
    let write = "write the image as the kubelet reports it, in `spec.containerDiscriminator.value` of `llm/chat`: `mirror/r/vllm:v1`";
    let answer = dump.explain();
    assert!(answer.out.contains(&format!("fix    {name}; or {write}\n")), "{answer}");
    // By their names both can be bound, by an image beside a name they could not.
    let proxy = dump.kleym("explain pod/vllm-0 -c proxy");
    let both = format!(
        "fix    for container `vllm`: {name}; and bind `proxy` too, by a binding of its own with `ContainerName: proxy`\n"
    );
    assert!(proxy.out.contains(&both), "{proxy}");
}

/// The binding by an image as it is written in the pod, which the kubelet reports with its registry.
fn by_image(value: &str) -> Dump {
    let reported = "status:
  phase: Running
  containerStatuses: [{name: vllm, image: 'docker.io/r/vllm:v1', imageID: 'docker.io/r/vllm@sha256:0'}]
  initContainerStatuses: [{name: proxy, image: 'docker.io/r/proxy:v1', imageID: 'docker.io/r/proxy@sha256:1'}]";
    let discriminator = format!("{{type: ContainerImage, value: '{value}'}}");
    h().edit("binding.yaml", "{type: ContainerName, value: vllm}", &discriminator)
        .edit("pod.yaml", "status: {phase: Running}", reported)
        .without("output.yaml")
}

/// A pod of which nothing was reported yet.
fn pending(image: &str) -> String {
    POD.replace("vllm-0", "vllm-1")
        .replace("  nodeName: gpu-14\n", "")
        .replace("phase: Running", "phase: Pending")
        .replace("r/vllm:v1", image)
}

#[test]
fn a_pod_that_has_not_started_does_not_hide_that_no_container_has_the_image() {
    for id in ["binding/chat", "spiffe://example.org/ns/llm/objective/chat"] {
        for image in ["r/vllm:v1", "r/vllm:v0"] {
            let answer =
                by_image("r/vllm:v1").with("pod-1.yaml", &pending(image)).kleym(&format!("explain {id}"));
            assert_eq!((cause(&answer), answer.exit), (Some("KLM2111"), Some(2)), "{answer}");
            for said in [
                "Pod llm/vllm-0: status.containerStatuses[].image = `docker.io/r/proxy:v1` and `docker.io/r/vllm:v1`\n",
                "spec.containerDiscriminator.value = r/vllm:v1\n",
                "as the kubelet reports it, in `spec.containerDiscriminator.value` of `llm/chat`: `docker.io/r/vllm:v1`\n",
            ] {
                assert!(answer.out.contains(said), "{said}: {answer}");
            }
        }
    }
}

#[test]
fn that_a_container_of_the_pods_has_an_image_is_said_only_where_one_was_seen() {
    let has = "6 ok   container        some container of the pods has k8s:container-image:";
    let seen = by_image("docker.io/r/vllm:v1").with("pod-1.yaml", &pending("r/vllm:v1"));
    assert!(seen.kleym("explain binding/chat").out.contains(has));
    // The one pod that may have it has not started: the image of another version, or nothing was reported at all.
    let unseen = [
        by_image("docker.io/r/vllm:v2").with("pod-1.yaml", &pending("r/vllm:v2")),
        by_image("docker.io/r/vllm:v1").without("pod.yaml").with("pod-1.yaml", &pending("r/vllm:v1")),
    ];
    for dump in unseen {
        let answer = dump.kleym("explain binding/chat");
        let says = " 6 ?    container        whether a container of the pods has `k8s:container-image:docker.io/r/vllm:v";
        assert!(answer.out.contains(says), "{answer}");
    }
}

#[test]
fn a_service_account_that_fits_no_pod_is_told_with_the_fallback_it_took_away() {
    let answer = h()
        .with("default.yaml", FALLBACK)
        .edit("pod.yaml", "serviceAccountName: llama", "serviceAccountName: other")
        .explain();
    assert_eq!(cause(&answer), Some("KLM2110"), "{answer}");
    assert!(answer.out.contains("note   `llm/chat` takes the fallback identity"), "{answer}");
}

/// The binding with more selectors, written.
fn with_items(items: &str) -> Dump {
    let dump = h()
        .edit("binding.yaml", "'k8s:sa:llama'", &format!("'k8s:sa:llama', {items}"))
        .without("output.yaml")
        .with("default.yaml", FALLBACK);
    let output = dump.kleym("render --instance default");
    dump.with("output.yaml", &output.out)
}

/// What the kubelet reports of both containers.
const REPORTED: &str = "status:
  phase: Running
  containerStatuses: [{name: vllm, image: 'docker.io/r/vllm:v1', imageID: 'docker.io/r/vllm@sha256:0'}]
  initContainerStatuses: [{name: proxy, image: 'docker.io/r/proxy:v1', imageID: 'docker.io/r/proxy@sha256:1'}]";

#[test]
fn a_count_of_containers_is_told_with_what_spire_counts_and_the_number_to_write() {
    let dump =
        || with_items("'k8s:pod-image-count:2'").edit("pod.yaml", "status: {phase: Running}", REPORTED);
    let write = "write `k8s:pod-image-count:1` instead of `k8s:pod-image-count:2` in `spec.workloadSelectorTemplates[2]` of `llm/chat`, and add `k8s:pod-init-image-count:1` beside it so that still nothing else can be injected; or take the count out";
    for asked in ["explain pod/vllm-0", "explain binding/chat"] {
        let answer = dump().kleym(asked);
        assert_eq!((cause(&answer), answer.exit), (Some("KLM2112"), Some(2)), "{answer}");
        for said in [
            " `k8s:pod-image-count:2`: that counts regular containers alone, and SPIRE counts 1 regular (`vllm`), 1 init (`proxy`, a native sidecar)\n",
            "Pod llm/vllm-0: status.containerStatuses = 1 (`vllm`)\n",
            "Pod llm/vllm-0: status.initContainerStatuses = 1 (`proxy`, a native sidecar)\n",
            "InferenceIdentityBinding llm/chat: spec.workloadSelectorTemplates[2] = k8s:pod-image-count:2\n",
            &format!("fix    {write}\n"),
        ] {
            assert!(answer.out.contains(said), "{said}: {answer}");
        }
    }
    let status = dump().kleym("status");
    assert!(status.err.contains(write), "{status}");
    // What is advised does match.
    for items in ["'k8s:pod-image-count:1', 'k8s:pod-init-image-count:1'", "'k8s:pod-image-count:1'"] {
        let mended = with_items(items).edit("pod.yaml", "status: {phase: Running}", REPORTED).explain();
        assert_eq!((cause(&mended), mended.exit), (None, Some(0)), "{mended}");
    }
}

#[test]
fn both_counts_are_mended_where_both_are_wrong_and_a_right_one_stays() {
    for (items, fix) in [
        (
            "'k8s:pod-image-count:3', 'k8s:pod-init-image-count:2'",
            "write `k8s:pod-image-count:1` instead of `k8s:pod-image-count:3` in `spec.workloadSelectorTemplates[2]` of `llm/chat`, and `k8s:pod-init-image-count:1` instead of `k8s:pod-init-image-count:2` in `spec.workloadSelectorTemplates[3]`",
        ),
        (
            "'k8s:pod-image-count:3', 'k8s:pod-init-image-count:1'",
            "write `k8s:pod-image-count:1` instead of `k8s:pod-image-count:3` in `spec.workloadSelectorTemplates[2]` of `llm/chat`",
        ),
    ] {
        let answer = with_items(items).edit("pod.yaml", "status: {phase: Running}", REPORTED).explain();
        assert!(answer.out.contains(&format!("fix    {fix}\n")), "{answer}");
    }
}

#[test]
fn a_container_beyond_the_count_may_be_one_that_does_not_belong_there() {
    let dump = with_items("'k8s:pod-image-count:1'").edit(
        "pod.yaml",
        "containers: [{name: vllm, image: 'r/vllm:v1'}]",
        "containers: [{name: vllm, image: 'r/vllm:v1'}, {name: injected, image: 'r/x:1'}]",
    );
    let answer = dump.edit("pod.yaml", "status: {phase: Running}", REPORTED).explain();
    // Nothing is reported of it yet, so what will be counted is not known.
    assert!(answer.out.contains(" 6 ?    container "), "{answer}");
    let both = "containerStatuses: [{name: injected, image: 'r/x:1', imageID: 'r/x@sha256:2'}, ";
    let reported = REPORTED.replace("containerStatuses: [", both);
    let answer = with_items("'k8s:pod-image-count:1'")
        .edit(
            "pod.yaml",
            "containers: [{name: vllm, image: 'r/vllm:v1'}]",
            "containers: [{name: vllm, image: 'r/vllm:v1'}, {name: injected, image: 'r/x:1'}]",
        )
        .edit("pod.yaml", "status: {phase: Running}", &reported)
        .explain();
    assert_eq!(cause(&answer), Some("KLM2112"), "{answer}");
    let fix = "fix    see first whether all of `vllm` and `injected` belong there, for the number keeps others out: if one does not, take it out of the pods; if all do, write `k8s:pod-image-count:2` instead";
    assert!(answer.out.contains(fix), "{answer}");
}

#[test]
fn no_one_number_fits_pods_of_two_forms() {
    let former = POD
        .replace("vllm-0", "vllm-1")
        .replace("containers: [{", "containers: [{name: proxy, image: 'r/proxy:v1'}, {")
        .replace("  initContainers: [{name: proxy, image: 'r/proxy:v1', restartPolicy: Always}]\n", "")
        .replace("status: {phase: Running}", "status: {phase: Running, containerStatuses: [{name: proxy, image: 'r/proxy:v1', imageID: 'r/proxy@sha256:1'}, {name: vllm, image: 'r/vllm:v1', imageID: 'r/vllm@sha256:0'}]}");
    let answer = with_items("'k8s:pod-image-count:2'")
        .edit("pod.yaml", "status: {phase: Running}", REPORTED)
        .with("pod-1.yaml", &former)
        .explain();
    assert_eq!(cause(&answer), Some("KLM2112"), "{answer}");
    let fix = "fix    1 other pod has `k8s:pod-image-count:2`, and no one number fits both: change this pod, or, when it is the others that are to go, write `k8s:pod-image-count:1`";
    assert!(answer.out.contains(fix), "{answer}");
}

/// Two pods of one image, which the node of the first reports by another tag.
fn tagged(own: &str, digest: &str) -> Dump {
    let other = POD
        .replace("vllm-0", "vllm-1")
        .replace("gpu-14", "gpu-15")
        .replace("status: {phase: Running}", REPORTED)
        .replace("sha256:0", DIGEST);
    let dump = h()
        .edit(
            "binding.yaml",
            "{type: ContainerName, value: vllm}",
            "{type: ContainerImage, value: 'docker.io/r/vllm:v1'}",
        )
        .edit("pod.yaml", "status: {phase: Running}", &REPORTED.replace("docker.io/r/vllm:v1", own))
        .edit("pod.yaml", "sha256:0", digest)
        .with("pod-1.yaml", &other)
        .with("node-1.yaml", &super::NODE.replace("gpu-14", "gpu-15"))
        .with("default.yaml", FALLBACK)
        .without("output.yaml");
    let output = dump.kleym("render --instance default");
    dump.with("output.yaml", &output.out)
}

const DIGEST: &str = "sha256:5f3c0a9d8e7b6f5a4c3d2e1f0a9b8c7d6e5f4a3b2c1d0e9f8a7b6c5d4e3f2a1b";

#[test]
fn a_node_that_names_the_same_image_by_another_tag_is_told_with_what_does_not_depend_on_it() {
    let answer = tagged("docker.io/r/vllm:latest", DIGEST).explain();
    assert_eq!((cause(&answer), answer.exit), (Some("KLM2111"), Some(2)), "{answer}");
    insta::assert_snapshot!(answer);
    // Of the binding the same is told, beside the pod that has it.
    let binding = tagged("docker.io/r/vllm:latest", DIGEST).kleym("explain binding/chat");
    assert!(
        binding.out.contains("node `gpu-14` names the same image of container `vllm` by another tag"),
        "{binding}"
    );
    // Another container's identity is mended beside it by names alone.
    let proxy = tagged("docker.io/r/vllm:latest", DIGEST).kleym("explain pod/vllm-0 -c proxy");
    assert!(
        proxy.out.contains("; and bind `proxy` too, by a binding of its own with `ContainerName: proxy`\n"),
        "{proxy}"
    );
    assert!(!super::advice::fix(&proxy).contains("imageID"), "{proxy}");
    // What is advised does match, both ways.
    let image = "{type: ContainerImage, value: 'docker.io/r/vllm:v1'}";
    for instead in [
        "{type: ContainerName, value: vllm}".to_owned(),
        format!("{{type: ContainerImage, value: 'docker.io/r/vllm@{DIGEST}'}}"),
    ] {
        let mended = tagged("docker.io/r/vllm:latest", DIGEST)
            .edit("binding.yaml", image, &instead)
            .without("output.yaml");
        let output = mended.kleym("render --instance default");
        let mended = mended.with("output.yaml", &output.out).kleym("explain pod/vllm-0 -c vllm");
        assert_eq!((cause(&mended), mended.exit), (None, Some(0)), "{mended}");
    }
}

#[test]
fn another_image_is_not_taken_for_another_tag_and_nobody_is_told_to_write_one_that_moves() {
    let other = DIGEST.replace('5', "6");
    let answer = tagged("docker.io/r/vllm:latest", &other).explain();
    assert_eq!(cause(&answer), Some("KLM2111"), "{answer}");
    assert!(!answer.out.contains("another tag,"), "{answer}");
    assert_eq!(
        super::advice::fix(&answer),
        "discriminate by `ContainerName: vllm` in `spec.containerDiscriminator` of `llm/chat`, which no other tag of the image changes"
    );
}

#[test]
fn a_name_that_another_binding_would_stand_in_the_way_of_is_not_advised() {
    let sidecar =
        BINDING.replace("name: chat", "name: sidecar").replace("uid-of-chat", "uid-of-sidecar").replace(
            "{type: ContainerName, value: vllm}",
            "{type: ContainerImage, value: 'docker.io/r/proxy:v1'}",
        );
    let answer = tagged("docker.io/r/vllm:latest", DIGEST)
        .with("sidecar.yaml", &sidecar)
        .with("objective-of-sidecar.yaml", &OBJECTIVE.replace("name: chat", "name: sidecar"))
        .kleym("explain pod/vllm-0 -c vllm");
    assert_eq!(cause(&answer), Some("KLM2111"), "{answer}");
    let fix = super::advice::fix(&answer);
    assert!(
        fix.starts_with(&format!("write `docker.io/r/vllm@{DIGEST}` in `spec.containerDiscriminator.value`")),
        "{answer}"
    );
    assert!(
        fix.contains("; `ContainerName: vllm` would be refused because of `llm/sidecar` (KLM4001)"),
        "{answer}"
    );
}

#[test]
fn an_image_of_the_pod_is_told_with_the_value_to_write() {
    for (item, says, write) in [
        (
            "k8s:pod-image:r/vllm:v1",
            "of its regular containers the kubelet reports `docker.io/r/vllm:v1`",
            "write `k8s:pod-image:docker.io/r/vllm:v1` instead of `k8s:pod-image:r/vllm:v1` in `spec.workloadSelectorTemplates[2]` of `llm/chat`",
        ),
        (
            "k8s:pod-init-image:r/proxy:v0",
            "of its init containers the kubelet reports `docker.io/r/proxy:v1`",
            "write `k8s:pod-init-image:docker.io/r/proxy:v1` instead of `k8s:pod-init-image:r/proxy:v0` in `spec.workloadSelectorTemplates[2]` of `llm/chat`",
        ),
        // A native sidecar is an init container.
        (
            "k8s:pod-image:docker.io/r/proxy:v1",
            "of its regular containers the kubelet reports `docker.io/r/vllm:v1`",
            "that image is of sidecar `proxy`, which SPIRE counts among the init containers: write `k8s:pod-init-image:docker.io/r/proxy:v1` instead of `k8s:pod-image:docker.io/r/proxy:v1` in `spec.workloadSelectorTemplates[2]` of `llm/chat`",
        ),
    ] {
        for asked in ["explain pod/vllm-0", "explain binding/chat"] {
            let dump =
                with_items(&format!("'{item}'")).edit("pod.yaml", "status: {phase: Running}", REPORTED);
            let answer = dump.kleym(asked);
            assert_eq!((cause(&answer), answer.exit), (Some("KLM2112"), Some(2)), "{answer}");
            assert!(answer.out.contains(says), "{says}: {answer}");
            assert_eq!(super::advice::fix(&answer), write, "{answer}");
        }
    }
}
