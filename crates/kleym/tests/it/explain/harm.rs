//! No advice does harm: none that the operator's brake stops, and none that takes an identity from somebody else.

use super::advice::fix;
use super::{Dump, FALLBACK, POD, cause, h};

/// The Deployment of the operator, with the environment of its container.
fn operator(status: &str, environment: &str) -> String {
    format!(
        "apiVersion: apps/v1
kind: Deployment
metadata:
  name: kleym
  namespace: kleym-system
  labels: {{app.kubernetes.io/name: kleym, app.kubernetes.io/component: operator}}
spec:
  selector: {{matchLabels: {{app: kleym}}}}
  template: {{spec: {{containers: [{{name: operator, env: [{environment}]}}]}}}}
status: {status}
"
    )
}

const BY_VARIABLES: &str = "{name: KLEYM_CLUSTERSPIFFEID_CLASS_NAME, value: spire-spire}, {name: KLEYM_TRUST_DOMAIN, value: example.org}";

#[test]
fn a_setting_that_the_brake_stops_is_advised_with_how_to_start_all_the_same_and_with_the_other_side() {
    let class = || h().edit("manager.yaml", "className: spire-spire", "className: spire-prod");
    let domain = || h().edit("manager.yaml", "trustDomain: example.org", "trustDomain: prod.example.org");
    for (dump, code, flag, variable, carries, back) in [
        (
            class as fn() -> Dump,
            "KLM6001",
            "--clusterspiffeid-class-name=spire-prod",
            "KLEYM_CLUSTERSPIFFEID_CLASS_NAME=spire-prod",
            "`spire-spire`",
            "`className: spire-spire`",
        ),
        (
            domain,
            "KLM6003",
            "--trust-domain=prod.example.org",
            "KLEYM_TRUST_DOMAIN=prod.example.org",
            "`example.org`",
            "`trustDomain: example.org`",
        ),
    ] {
        let once = format!(
            ", once with --allow-configuration-change, for it refuses to start otherwise: 1 issued output carries {carries}; or give spire-controller-manager its {back} back"
        );
        let answer = dump().explain();
        assert_eq!(cause(&answer), Some(code), "{answer}");
        assert_eq!(fix(&answer), format!("start kleym-operator with {flag}{once}"), "{answer}");
        // The variable is named where it is that which the Deployment sets.
        let answer = dump().with("operator.yaml", &operator("{readyReplicas: 1}", BY_VARIABLES)).explain();
        let said = format!("start kleym-operator (Deployment `kleym-system/kleym`) with {variable}{once}");
        assert_eq!(fix(&answer), said, "{answer}");
        // What was never issued, no brake keeps.
        let answer = dump().edit("output.yaml", "entriesToSet: 1", "entriesToSet: 0").explain();
        assert_eq!(fix(&answer), format!("start kleym-operator with {flag}"), "{answer}");
    }
}

#[test]
fn a_foreign_object_is_made_a_fallback_only_where_nobody_loses_by_it() {
    let foreign =
        FALLBACK.replace("fallback: true", "fallback: false\n  podSelector: {matchLabels: {app: vllm}}");
    // `proxy` has no other identity, and a fallback would give the pod none.
    let answer = h().with("foreign.yaml", &foreign).explain();
    assert_eq!(answer.exit, Some(0), "{answer}");
    assert!(!format!("{answer}").contains("make it a fallback"), "{answer}");
    for said in [
        "note   KLM4111 ClusterSPIFFEID `spire-default`, which is not Kleym's, gives container `vllm` of pod `vllm-0`",
        "ClusterSPIFFEID spire-default: spec.podSelector = app=vllm, spec.namespaceSelector = <none>, spec.workloadSelectorTemplates = <none>, metadata.creationTimestamp = 2026-10-01T08:00:00Z",
        "fix    set `spec.workloadSelectorTemplates: ['k8s:container-name:proxy']` in ClusterSPIFFEID `spire-default`, if it is meant for that container: it has none, so every container gets its identity",
    ] {
        assert!(answer.out.contains(said), "{said}: {answer}");
    }
    // Of several others nobody can say which it is meant for.
    let third = "containers: [{name: metrics, image: 'r/metrics:v1'}, ";
    let several = h().edit("pod.yaml", "containers: [", third).with("foreign.yaml", &foreign).explain();
    let said = "set `k8s:container-name:<container>` in `spec.workloadSelectorTemplates` of ClusterSPIFFEID `spire-default` for the container that needs it (beside `vllm` it reaches `metrics` and `proxy`)";
    assert!(several.out.contains(said), "{several}");
    // In another pod of the pool it may be that somebody would lose.
    let alone = "  initContainers: [{name: proxy, image: 'r/proxy:v1', restartPolicy: Always}]\n";
    let offered = "narrow its `spec.podSelector` or `spec.namespaceSelector`; or make it a fallback";
    let one = h().edit("pod.yaml", alone, "").with("foreign.yaml", &foreign);
    assert!(one.explain().out.contains(offered), "{}", one.explain());
    let two = one.with("second.yaml", &POD.replace("vllm-0", "vllm-1"));
    assert!(!two.explain().out.contains("make it a fallback"), "{}", two.explain());
    // One that serves that container alone is what is to be narrowed.
    let narrow =
        foreign.replace("spec:\n", "spec:\n  workloadSelectorTemplates: ['k8s:container-name:vllm']\n");
    let answer = h().with("foreign.yaml", &narrow).explain();
    assert!(
        answer.out.contains(
            "narrow its `spec.workloadSelectorTemplates`, which container `vllm` matches, or its `spec.podSelector`; or make it a fallback"
        ),
        "{answer}"
    );
}

/// A pod of the operator that does not start.
const CRASHING: &str = "apiVersion: v1
kind: Pod
metadata: {name: kleym-7, namespace: kleym-system, uid: uid-of-kleym-7, labels: {app: kleym}}
spec: {nodeName: gpu-14, containers: [{name: operator, image: 'r/kleym-operator:v1'}]}
status:
  phase: Running
  containerStatuses:
  - name: operator
    ready: false
    restartCount: 127
    state: {waiting: {reason: CrashLoopBackOff}}
    lastState:
      terminated:
        message: |
          {\"level\":\"INFO\",\"message\":\"starting\"}
          {\"level\":\"ERROR\",\"message\":\"the configuration does not fit\"}
";

/// A binding that nobody has decided, beside one that has its output.
fn undecided(environment: &str) -> Dump {
    let status = "\nstatus: {observedGeneration: -1}\n";
    let binding = super::BINDING.replace("name: chat, namespace", "name: new, namespace");
    let binding = binding.replace("uid-of-chat", "uid-of-new").replace("{name: chat}", "{name: new}");
    let binding = binding.trim_end().replace("value: vllm", "value: proxy") + status;
    h().with("new.yaml", &binding)
        .with("new-objective.yaml", &super::OBJECTIVE.replace("name: chat", "name: new"))
        .with("operator.yaml", &operator("{replicas: 1}", environment))
}

#[test]
fn an_operator_that_does_not_start_is_told_with_its_pod_and_the_setting_that_stops_it() {
    let lost = "{name: KLEYM_CLUSTERSPIFFEID_CLASS_NAME}, {name: KLEYM_TRUST_DOMAIN, value: example.org}";
    let answer = undecided(lost).with("crashing.yaml", CRASHING).kleym("explain binding/new");
    assert_eq!(cause(&answer), Some("KLM5010"), "{answer}");
    assert!(answer.out.contains("new   no status yet: no operator has decided it"), "{answer}");
    for said in [
        "Deployment kleym-system/kleym: status.readyReplicas = 0\n",
        "Pod kleym-system/kleym-7: status.containerStatuses[].state.waiting.reason = CrashLoopBackOff, 127 restarts\n",
        "Pod kleym-system/kleym-7: status.containerStatuses[].lastState.terminated.message = the configuration does not fit\n",
    ] {
        assert!(answer.out.contains(said), "{said}: {answer}");
    }
    assert_eq!(
        fix(&answer),
        "no replica of kleym-operator is ready (CrashLoopBackOff): KLEYM_CLUSTERSPIFFEID_CLASS_NAME is not set, but 1 issued output carries `spire-spire`, so it refuses to start: set KLEYM_CLUSTERSPIFFEID_CLASS_NAME=spire-spire in Deployment `kleym-system/kleym` (--allow-configuration-change would move those identities); see pod `kleym-system/kleym-7`",
        "{answer}"
    );
    // Settings that fit are not what stops it.
    let answer = undecided(BY_VARIABLES).with("crashing.yaml", CRASHING).kleym("explain binding/new");
    assert_eq!(
        fix(&answer),
        "no replica of kleym-operator is ready (CrashLoopBackOff): see the log of pod `kleym-system/kleym-7`, of its last start"
    );
    // A pod of somebody else says nothing.
    let other = CRASHING.replace("{app: kleym}", "{app: other}");
    let answer = undecided(BY_VARIABLES).with("crashing.yaml", &other).kleym("explain binding/new");
    assert!(!answer.out.contains("kleym-7"), "{answer}");
}

#[test]
fn of_two_that_collide_the_one_that_was_edited_is_told_where_generations_and_times_show_it() {
    let status = |generation: i64, since: &str| {
        format!(
            "value: vllm}}
status:
  observedGeneration: {generation}
  conditions:
  - {{type: Ready, status: 'False', reason: IdentityCollision, message: taken, observedGeneration: {generation}, lastTransitionTime: '{since}'}}"
        )
    };
    let both = |own: i64, theirs: i64, since: &str| {
        super::rival()
            .edit("binding.yaml", "generation: 3", &format!("generation: {own}"))
            .edit("binding.yaml", "value: vllm}", &status(own, since))
            .edit("rival.yaml", "generation: 3", &format!("generation: {theirs}"))
            .kleym("explain binding/chat")
    };
    let long_after = "2026-11-25T17:28:04Z";
    for (own, theirs, edited) in [(1, 2, "`llm/rival`"), (2, 1, "`llm/chat`")] {
        let answer = both(own, theirs, long_after);
        assert_eq!(cause(&answer), Some("KLM4001"), "{answer}");
        let said = format!("note   {edited} was edited since it was created (generation 2)");
        assert!(answer.out.contains(&said) && answer.out.contains(long_after), "{said}: {answer}");
    }
    // A pod of the one that holds is told so too.
    let holds = super::rival()
        .edit("binding.yaml", "generation: 3", "generation: 1")
        .edit("binding.yaml", "value: vllm}", &status(1, long_after))
        .edit("rival.yaml", "generation: 3", "generation: 2")
        .without("output.yaml");
    let output = holds.kleym("render --instance default");
    let holds = holds.with("output.yaml", &output.out);
    let answer = holds.explain();
    assert_eq!((cause(&answer), answer.exit), (None, Some(2)), "{answer}");
    let said = "`kleym explain binding/chat -n llm -f dump --trust-domain example.org --clusterspiffeid-class-name spire-spire`\nnote   `llm/rival` was edited since it was created (generation 2)";
    assert!(answer.out.contains(said), "{answer}");
    // What it left without may be what it was for.
    let answer = holds.with("default.yaml", FALLBACK).kleym("explain pod/vllm-0 -c proxy");
    assert_eq!(cause(&answer), Some("KLM6101"), "{answer}");
    let first = "`llm/rival` was edited: see first whether it was for this container, and take the edit back if so; else bind `proxy` too";
    assert!(fix(&answer).starts_with(first), "{answer}");
    // Both were edited, or the younger collided as soon as it came: nothing is shown.
    for answer in [both(2, 2, long_after), both(1, 2, "2026-11-01T08:00:01Z")] {
        assert!(!answer.out.contains("was edited"), "{answer}");
    }
}
