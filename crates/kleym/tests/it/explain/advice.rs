//! What is advised: about the pod, the pattern and the operator that are meant, and nothing that would be refused in its turn.

use super::{BINDING, Dump, FALLBACK, OBJECTIVE, POD, POOL, cause, h, rival};
use crate::run::Answer;

pub(super) fn fix(answer: &Answer) -> &str {
    answer.out.lines().find_map(|line| line.strip_prefix("fix    ")).unwrap_or_default()
}

/// The Deployment of an operator.
fn operator(namespace: &str, name: &str, instance: &str) -> String {
    format!(
        "apiVersion: apps/v1
kind: Deployment
metadata:
  name: {name}
  namespace: {namespace}
  labels: {{app.kubernetes.io/name: kleym, app.kubernetes.io/component: operator}}
spec:
  template: {{spec: {{containers: [{{name: operator, args: [--instance={instance}]}}]}}}}
status: {{readyReplicas: 1}}
"
    )
}

#[test]
fn the_operator_that_is_to_be_started_anew_is_the_one_of_the_instance() {
    let domain = || h().edit("manager.yaml", "trustDomain: example.org", "trustDomain: prod.example.org");
    let class = || h().edit("manager.yaml", "className: spire-spire", "className: spire-prod");
    let (blue, own) = (operator("blue", "kleym-blue", "blue"), operator("kleym-system", "kleym", "default"));
    for (dump, code, how, was) in [
        (
            domain as fn() -> Dump,
            "KLM6003",
            "with --trust-domain=prod.example.org",
            ["example.org", "trustDomain"],
        ),
        (class, "KLM6001", "with --clusterspiffeid-class-name=spire-prod", ["spire-spire", "className"]),
    ] {
        let [old, field] = was;
        let how = format!(
            "{how}, once with --allow-configuration-change, for it refuses to start otherwise: 1 issued output carries `{old}`"
        );
        let back = format!("; or give spire-controller-manager its `{field}: {old}` back");
        let both = dump().with("a.yaml", &blue).with("b.yaml", &own).explain();
        assert_eq!(cause(&both), Some(code), "{both}");
        assert_eq!(
            fix(&both),
            format!("start kleym-operator (Deployment `kleym-system/kleym`) {how}{back}"),
            "{both}"
        );
        // Of two of one instance, or of none of it, none is named as the one.
        let twice = operator("other", "kleym", "default");
        let unclear = dump().with("a.yaml", &twice).with("b.yaml", &own).explain();
        assert_eq!(
            fix(&unclear),
            format!(
                "start the kleym-operator of instance `default` {how}; `other/kleym` and `kleym-system/kleym` have the instance `default`: `--watch-namespace` of each says which is meant{back}"
            ),
            "{unclear}"
        );
        let elsewhere = dump().with("a.yaml", &blue).explain();
        assert_eq!(
            fix(&elsewhere),
            format!(
                "start the kleym-operator of instance `default` {how}; it is the one whose `--instance` is `default`, and none of `blue/kleym-blue` seems to be{back}"
            ),
            "{elsewhere}"
        );
        assert_eq!(fix(&dump().explain()), format!("start kleym-operator {how}{back}"));
    }
}

#[test]
fn each_pattern_that_ignores_the_namespace_is_named_with_what_to_change_about_it() {
    for (patterns, change) in [
        ("lm", "write `lm` as `^lm$`"),
        ("^ll", "write `^ll` as `^ll$`"),
        ("llm", "take `llm` out"),
        ("^llm$", "take `^llm$` out"),
        ("l.m", "narrow `l.m`, which matches the whole name, or take it out"),
        ("lm, 'l+'", "write `lm` as `^lm$`, and write `l+` as `^l+$`"),
    ] {
        let answer = h().edit("manager.yaml", "kube-system", patterns).explain();
        assert_eq!(cause(&answer), Some("KLM6002"), "{answer}");
        let said = format!(
            "in `ignoreNamespaces` of spire-controller-manager {change}, and start it anew; or move the workload to another namespace"
        );
        assert_eq!(fix(&answer), said, "{answer}");
    }
}

#[test]
fn what_else_is_said_is_said_of_the_pod_that_was_asked_for() {
    let foreign = FALLBACK.replace("fallback: true", "fallback: false");
    let second = POD.replace("vllm-0", "vllm-1");
    let dump = h().with("default.yaml", &foreign).with("second.yaml", &second);
    for (asked, other) in [("vllm-0", "vllm-1"), ("vllm-1", "vllm-0")] {
        let answer = dump.kleym(&format!("explain pod/{asked}"));
        let line = answer.err.lines().find(|line| line.contains("KLM4111")).unwrap();
        assert!(line.contains(&format!("pod `{asked}`")) && !answer.err.contains(other), "{answer}");
    }
    // One that nobody gives anything else is not told of its neighbour.
    let labelled = foreign.replace("spec:", "spec:\n  podSelector: {matchLabels: {role: decode}}");
    let dump = h()
        .with("default.yaml", &labelled)
        .with("second.yaml", &second.replace("{app: vllm}", "{app: vllm, role: decode}"));
    assert!(!dump.explain().err.contains("KLM4111"), "{}", dump.explain());
    assert!(dump.kleym("explain pod/vllm-1").err.contains("KLM4111"));
    assert!(dump.kleym("explain binding/chat").err.contains("pod `vllm-1`"));
}

/// A pod in a namespace of its own.
fn pod(namespace: &str, name: &str, image: &str, labels: &str) -> String {
    POD.replace("namespace: llm", &format!("namespace: {namespace}"))
        .replace("vllm-0", name)
        .replace("r/vllm:v1", image)
        .replace("{app: vllm}", labels)
}

#[test]
fn nobody_is_told_to_make_a_pool_for_a_pod_that_serves_no_model() {
    let operator = pod(
        "kleym-system",
        "kleym-7",
        "r/x:1",
        "{app.kubernetes.io/name: kleym, app.kubernetes.io/component: operator}",
    );
    let picker = pod("llm", "epp-7", "r/epp:v1", "{app: picker}");
    let other = pod("web", "shop-7", "r/shop:v1", "{app: shop}");
    let dump = h().with("a.yaml", &operator).with("b.yaml", &picker).with("c.yaml", &other);
    for (asked, why, code, exit) in [
        ("pod/kleym-7 -n kleym-system", "it runs Kleym's operator, and serves no model", "KLM2115", 0),
        ("pod/epp-7 -n llm", "it runs an endpoint picker, and serves no model", "KLM2115", 0),
        ("pod/shop-7 -n web", "namespace `web` has no InferencePool", "KLM2113", 2),
    ] {
        let answer = dump.ask(&format!("explain {asked} -f dump {}", super::SETTINGS));
        assert_eq!((cause(&answer), answer.exit), (Some(code), Some(exit)), "{answer}");
        assert!(answer.out.contains("nothing points at pod ") && answer.out.contains(why), "{answer}");
        assert!(!fix(&answer).starts_with("create") && !fix(&answer).contains("label the pod"), "{answer}");
        assert!(fix(&answer).contains("an InferencePool of namespace"), "{answer}");
    }
}

/// The container `proxy` has lost its fallback identity to a binding of `vllm` by this discriminator and template.
fn lost(discriminator: &str, template: &str) -> Dump {
    let dump = h()
        .edit("binding.yaml", "{type: ContainerName, value: vllm}", discriminator)
        .edit("binding.yaml", "spec:", &format!("spec:{template}"))
        .edit(
            "pod.yaml",
            "status: {phase: Running}",
            "status:
  phase: Running
  containerStatuses: [{name: vllm, image: 'r/vllm:v1', imageID: 'r/vllm@sha256:0'}]
  initContainerStatuses: [{name: proxy, image: 'r/proxy:v1', imageID: 'r/proxy@sha256:1'}]",
        )
        .with("default.yaml", FALLBACK)
        .without("output.yaml");
    let output = dump.kleym("render --instance default");
    dump.with("output.yaml", &output.out)
}

/// What a binding of `proxy` is told when it is really written, by name or by image, or for the whole pool.
fn written(dump: Dump, spec: &str) -> Answer {
    let binding = BINDING
        .replace("name: chat, namespace", "name: zz-new, namespace")
        .replace("uid-of-chat", "uid-of-new")
        .replace("2026-11-01", "2026-11-09")
        .replace("{name: chat}", "{name: batch}")
        .replace("  containerDiscriminator: {type: ContainerName, value: vllm}", spec);
    let objective = OBJECTIVE.replace("name: chat", "name: batch");
    dump.with("new.yaml", &binding).with("batch.yaml", &objective).kleym("explain binding/zz-new")
}

#[test]
fn a_binding_that_is_advised_for_a_container_would_not_be_refused() {
    let by_name = "  containerDiscriminator: {type: ContainerName, value: proxy}";
    let by_image = "  containerDiscriminator: {type: ContainerImage, value: 'r/proxy:v1'}";
    let by_pool = "  mode: PoolOnly";
    let image = "{type: ContainerImage, value: 'r/vllm:v1'}";
    let name = "{type: ContainerName, value: vllm}";
    let digest = "{type: ContainerImage, value: 'r/vllm@sha256:0'}";
    let refused = |spec: &str, dump: Dump| cause(&written(dump, spec)) == Some("KLM4001");

    // By name beside a name, and for the pool: everything is open.
    let plain = || lost(name, "");
    assert!(!refused(by_name, plain()) && !refused(by_pool, plain()));
    let answer = plain().kleym("explain pod/vllm-0 -c proxy");
    assert_eq!(cause(&answer), Some("KLM6101"), "{answer}");
    assert!(fix(&answer).starts_with("bind `proxy` too: by a binding of its own with `containerDiscriminator` for it, or by one with `mode: PoolOnly`"), "{answer}");

    // By image nothing proves a name apart, but another image.
    let plain = || lost(image, "");
    assert!(refused(by_name, plain()) && !refused(by_image, plain()));
    for answer in [plain().kleym("explain pod/vllm-0 -c proxy"), plain().kleym("status")] {
        let told = format!("{}{}", answer.out, answer.err);
        assert!(told.contains("`containerDiscriminator` of type `ContainerImage`"), "{answer}");
    }

    // By digest nothing does.
    let plain = || lost(digest, "");
    assert!(refused(by_name, plain()) && refused(by_image, plain()) && !refused(by_pool, plain()));
    let answer = plain().kleym("explain pod/vllm-0 -c proxy");
    assert!(
        fix(&answer).contains("by a binding with `mode: PoolOnly`")
            && fix(&answer).contains("one of its own would be refused because of `llm/chat` (KLM4001)"),
        "{answer}"
    );

    // A binding of the pool with an ID of its own that is narrowed to one container.
    let narrowed = || {
        h().edit(
            "binding.yaml",
            "  containerDiscriminator: {type: ContainerName, value: vllm}",
            "  mode: PoolOnly\n  spiffeIDTemplate: spiffe://example.org/ns/llm/own",
        )
        .edit(
            "binding.yaml",
            "'k8s:sa:llama'",
            "'k8s:sa:llama', 'k8s:pod-image-count:1', 'k8s:container-image:r/vllm@sha256:0'",
        )
        .without("output.yaml")
    };
    let dump = narrowed().with("default.yaml", FALLBACK).edit(
        "pod.yaml",
        "status: {phase: Running}",
        "status: {phase: Running, containerStatuses: [{name: vllm, image: 'r/vllm:v1', imageID: 'r/vllm@sha256:0'}], initContainerStatuses: [{name: proxy, image: 'r/proxy:v1', imageID: 'r/proxy@sha256:1'}]}",
    );
    let output = dump.kleym("render --instance default");
    let dump = dump.with("output.yaml", &output.out);
    let answer = dump.kleym("explain pod/vllm-0 -c proxy");
    assert_eq!(cause(&answer), Some("KLM6101"), "{answer}");
    assert!(
        fix(&answer).contains("one with `mode: PoolOnly` would be refused because of `llm/chat` (KLM4001)"),
        "{answer}"
    );
    assert!(refused(by_pool, narrowed()) && !refused(by_name, narrowed()));
}

#[test]
fn a_fallback_identity_of_which_nobody_knows_whether_it_is_given_is_not_said_to_be_lost() {
    let dump = || {
        h().with("default.yaml", &FALLBACK.replace("  className: spire-spire\n", "")).without("manager.yaml")
    };
    let unknown = "the fallback ClusterSPIFFEID `spire-default` has no class, and nobody could read whether spire-controller-manager watches such";
    for command in ["status", "lint", "explain binding/chat", "explain pod/vllm-0"] {
        let answer = dump().kleym(command);
        let told = format!("{}{}", answer.out, answer.err);
        assert!(!told.contains("KLM6101"), "{answer}");
        assert!(told.contains("info[KLM6106]") && told.contains(unknown), "{answer}");
    }
    let proxy = dump().kleym("explain pod/vllm-0 -c proxy");
    assert_eq!(cause(&proxy), Some("KLM2111"), "{proxy}");
    assert!(proxy.out.contains(&format!("note   {unknown}; if so, `llm/chat` takes")), "{proxy}");
    // Said by a flag it is certain, one way or the other.
    let yes = dump().kleym(
        "explain pod/vllm-0 --scm-class-name spire-spire --scm-watch-classless --scm-ignore-namespaces x",
    );
    assert!(yes.out.contains("KLM6101") && !yes.err.contains(unknown), "{yes}");
    let no = dump().kleym("explain pod/vllm-0 --scm-class-name spire-spire --scm-ignore-namespaces x");
    assert!(!no.out.contains("KLM6101") && !no.err.contains(unknown), "{no}");
}

/// NOW and AFTER-REPAIR of each container.
fn table(answer: &Answer) -> Vec<Vec<&str>> {
    let lines = answer.out.lines().skip_while(|line| !line.starts_with("CONTAINER"));
    lines.take(3).map(|line| line.split_whitespace().collect()).collect()
}

#[test]
fn a_repair_brings_only_what_spire_controller_manager_looks_at() {
    let id = "spiffe://example.org/ns/llm/objective/chat";
    let fallback = "spiffe://example.org/ns/llm/sa/llama";
    let missing = || h().without("output.yaml").with("default.yaml", FALLBACK);
    let answer = missing().explain();
    assert_eq!(
        table(&answer),
        [
            vec!["CONTAINER", "KIND", "NOW", "AFTER-REPAIR"],
            vec!["vllm", "container", fallback, id],
            vec!["proxy", "sidecar", fallback, "<none>"],
        ],
        "{answer}"
    );
    // An object of a class that nobody watches changes nothing; nor does an ID of another trust domain.
    for (from, to) in [
        ("className: spire-spire", "className: spire-prod"),
        ("trustDomain: example.org", "trustDomain: prod.example.org"),
    ] {
        let fallback = FALLBACK.replace("spire-spire", "spire-prod");
        let fallback = if from.starts_with("class") { &fallback } else { FALLBACK };
        let dump = h().without("output.yaml").with("default.yaml", fallback).edit("manager.yaml", from, to);
        let answer = dump.explain();
        assert_eq!(cause(&answer), Some("KLM5010"), "{answer}");
        assert!(!answer.out.contains(id), "{answer}");
    }
}

#[test]
fn the_output_of_a_refused_binding_that_is_still_there_is_an_error_of_its_own() {
    let dump = rival();
    for command in ["lint", "status", "inspect binding/chat", "explain binding/chat", "explain pod/vllm-0"] {
        let answer = dump.kleym(command);
        let told = format!("{}{}", answer.out, answer.err);
        assert_eq!(answer.exit, Some(2), "{answer}");
        assert!(told.contains("error[KLM5013]: the output `kleym-llm-chat-"), "{answer}");
        assert!(told.contains("is still there and grants `spiffe://example.org/ns/llm/objective/chat`, though the binding is refused (IdentityCollision)"), "{answer}");
    }
    // Once it is gone there is nothing to say; and what somebody else put there is not ours to withdraw.
    let gone = rival().without("output.yaml").kleym("lint");
    assert!(!format!("{gone}").contains("KLM5013"), "{gone}");
    let foreign = rival()
        .edit("output.yaml", "kleym.sonda.red/managed-by: kleym", "app: other")
        .edit("output.yaml", "kleym.sonda.red/binding-uid: uid-of-chat", "app: other")
        .kleym("lint");
    assert!(!format!("{foreign}").contains("KLM5013"), "{foreign}");
    let orphan = rival()
        .edit(
            "output.yaml",
            "kleym.sonda.red/binding-uid: uid-of-chat",
            "kleym.sonda.red/binding-uid: uid-of-an-earlier-one",
        )
        .kleym("lint");
    assert!(format!("{orphan}").contains("KLM5012"), "{orphan}");
}

#[test]
fn pools_that_select_no_label_of_the_pod_are_no_reason_to_label_it() {
    let other = POOL.replace("name: llama", "name: bge").replace("app: vllm", "app: bge");
    let answer = h().edit("pod.yaml", "{app: vllm}", "{team: search}").with("bge.yaml", &other).explain();
    assert!(fix(&answer).starts_with("if it serves a model, label the pod"), "{answer}");
}

#[test]
fn a_container_that_has_its_identity_in_other_pods_is_not_told_to_be_bound_once_more() {
    let status = "status: {phase: Running, containerStatuses: [{name: vllm, image: 'r/vllm:latest', imageID: 'r/vllm@sha256:0'}], initContainerStatuses: [{name: proxy, image: 'r/proxy:v1', imageID: 'r/proxy@sha256:1'}]}";
    let second = POD.replace("vllm-0", "vllm-1").replace("status: {phase: Running}", status);
    let dump = lost("{type: ContainerImage, value: 'r/vllm:v1'}", "").with("second.yaml", &second);
    let lint = dump.kleym("lint");
    for said in [
        "and leaves a container without any: `proxy`, and in pod `vllm-1` `vllm` too, which it is for",
        "`llm/chat` gives container `vllm` its identity in other pods and not in `vllm-1`: correct that first, as `kleym explain pod/vllm-1 -n llm` says",
    ] {
        assert!(lint.out.contains(said), "{said}: {lint}");
    }
    assert!(!lint.out.contains("be no fallback"), "{lint}");
}
