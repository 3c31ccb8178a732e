//! What keeps a deleted binding, or its output: who holds it, since when, and whether that is only a matter of a moment.

use jiff::Timestamp;

use super::advice::fix;
use super::{BINDING, Dump, FALLBACK, cause, h};
use crate::run::Answer;

const OWN: &str = "kleym.sonda.red/inferenceidentitybinding-finalizer";

/// What the operator says of such a binding.
const STATUS: &str = "status:
  observedGeneration: 3
  conditions:
  - {type: Ready, status: Unknown, reason: Initializing, observedGeneration: 3, message: 'the former ClusterSPIFFEID is kept by `vault.example/retain`'}
";

/// A binding that is being deleted since then, and its output, which somebody else holds.
fn held(since: &str, namespace: &str) -> Dump {
    let ends = format!("generation: 3, deletionTimestamp: '{since}', finalizers: [{OWN}]");
    let output = format!(
        "metadata:
  uid: uid-of-output
  deletionTimestamp: '{since}'
  finalizers: [vault.example/retain]
  managedFields:
  - manager: kleym-operator
    time: '{since}'
    fieldsV1: {{f:spec: {{}}}}
  - manager: vault-controller
    time: '2024-10-30T01:00:04Z'
    fieldsV1: {{f:metadata: {{f:finalizers: {{.: {{}}, 'v:\"vault.example/retain\"': {{}}}}}}}}
"
    );
    h().edit("binding.yaml", "generation: 3", &ends)
        .edit("binding.yaml", "value: vllm}\n", &format!("value: vllm}}\n{STATUS}"))
        .edit("output.yaml", "metadata:\n", &output)
        .edit(
            "output.yaml",
            "kubernetes.io/metadata.name: llm",
            &format!("kubernetes.io/metadata.name: {namespace}"),
        )
        .with("default.yaml", FALLBACK)
}

const LONG_AGO: &str = "2024-11-26T14:02:10Z";

#[test]
fn an_output_that_somebody_elses_finalizer_keeps_is_told_with_who_set_it_and_the_one_thing_to_do() {
    let answer = held(LONG_AGO, "withdrawn.kleym.sonda.red").explain();
    assert_eq!((cause(&answer), answer.exit), (Some("KLM5014"), Some(2)), "{answer}");
    insta::assert_snapshot!(answer);
}

#[test]
fn an_output_that_is_held_and_not_yet_withdrawn_grants_still() {
    let answer = held(LONG_AGO, "llm").explain();
    assert_eq!(cause(&answer), Some("KLM5014"), "{answer}");
    assert!(
        answer.out.contains("; it still grants `spiffe://example.org/ns/llm/objective/chat`\n"),
        "{answer}"
    );
}

#[test]
fn within_two_minutes_it_is_only_waited_for() {
    let now = Timestamp::now().to_string();
    let answer = held(&now, "withdrawn.kleym.sonda.red").explain();
    assert_eq!((cause(&answer), answer.exit), (Some("KLM5101"), Some(0)), "{answer}");
    assert!(answer.out.contains("\n 5 wait binding "), "{answer}");
    assert!(fix(&answer).contains("`kubectl patch clusterspiffeid "), "{answer}");
}

#[test]
fn other_outputs_that_carry_the_finalizer_are_counted() {
    let other = |name: &str| {
        format!(
            "apiVersion: spire.spiffe.io/v1alpha1
kind: ClusterSPIFFEID
metadata:
  name: {name}
  uid: uid-of-{name}
  labels: {{kleym.sonda.red/managed-by: kleym, kleym.sonda.red/instance: default}}
  finalizers: [vault.example/retain]
spec: {{spiffeIDTemplate: 'spiffe://example.org/ns/a/objective/b', className: spire-spire, podSelector: {{matchLabels: {{a: b}}}}}}
"
        )
    };
    let one = held(LONG_AGO, "withdrawn.kleym.sonda.red").with("a.yaml", &other("a"));
    assert!(one.explain().out.contains("note   another output carries it too"), "{}", one.explain());
    let two = one.with("b.yaml", &other("b"));
    assert!(two.explain().out.contains("note   2 other outputs carry it too"), "{}", two.explain());
}

#[test]
fn what_no_api_server_would_take_for_a_finalizer_goes_into_no_command() {
    let ends = format!("generation: 3, deletionTimestamp: '{LONG_AGO}', finalizers: ['a b; reboot']");
    let binding = BINDING.replace("generation: 3", &ends);
    let answer = h().without("binding.yaml").with("binding.yaml", &binding).without("output.yaml").explain();
    assert_eq!(cause(&answer), Some("KLM5014"), "{answer}");
    assert!(!answer.out.contains("kubectl"), "{answer}");
}

/// The lines of what was read.
fn read_lines(answer: &Answer) -> Vec<&str> {
    let lines = answer.out.lines().skip_while(|line| !line.starts_with("read "));
    lines.take_while(|line| line.starts_with("read ") || line.starts_with("   ")).collect()
}

#[test]
fn what_the_status_says_of_a_binding_that_is_not_ready_is_shown_where_the_chain_does_not_say_it() {
    let status = STATUS.replace("Unknown, reason: Initializing", "'False', reason: ManagedOutputConflict");
    let dump = h().edit("binding.yaml", "value: vllm}\n", &format!("value: vllm}}\n{status}"));
    let answer = dump.without("output.yaml").with("default.yaml", FALLBACK).explain();
    assert_eq!(cause(&answer), Some("KLM5010"), "{answer}");
    let said = "InferenceIdentityBinding llm/chat: status.conditions[Ready].message = the former ClusterSPIFFEID is kept by `vault.example/retain`";
    assert!(read_lines(&answer).iter().any(|line| line.ends_with(said)), "{answer}");
}

/// The binding is being deleted, and its output, which nobody deletes yet, carries a finalizer of somebody else. The operator
/// watches other namespaces.
fn waits_for_the_operator(more: &str) -> Dump {
    let ends = format!("generation: 3, deletionTimestamp: '{LONG_AGO}', finalizers: [{OWN}{more}]");
    let kept = "metadata:
  uid: uid-of-output
  finalizers: [mesh.example/propagated]
  managedFields:
  - manager: mesh-propagator
    time: '2024-10-30T01:00:04Z'
    fieldsV1: {f:metadata: {f:finalizers: {.: {}, 'v:\"mesh.example/propagated\"': {}}}}
";
    let operator = "apiVersion: apps/v1
kind: Deployment
metadata: {name: kleym, namespace: kleym-system, labels: {app.kubernetes.io/name: kleym, app.kubernetes.io/component: operator}}
spec: {replicas: 1, template: {spec: {containers: [{name: operator, args: [--watch-namespace=web]}]}}}
status: {readyReplicas: 1}
";
    h().edit("binding.yaml", "generation: 3", &ends)
        .edit("output.yaml", "metadata:\n", kept)
        .with("operator.yaml", operator)
}

/// The line that begins with `note`.
fn note(answer: &Answer) -> &str {
    answer.out.lines().find_map(|line| line.strip_prefix("note   ")).unwrap_or_default()
}

#[test]
fn a_finalizer_on_an_output_that_nobody_deletes_yet_is_told_behind_the_first_cause() {
    let behind = |answer: &Answer| {
        let name = answer.out.split("output `").nth(1).and_then(|rest| rest.split('`').next()).unwrap();
        format!(
            "behind it: ClusterSPIFFEID `{name}` has finalizer `mesh.example/propagated` (set by `mesh-propagator` at 2024-10-30T01:00:04Z), which is not Kleym's: its owner must release it"
        )
    };
    for asked in ["explain pod/vllm-0", "explain binding/chat"] {
        let answer = waits_for_the_operator("").kleym(asked);
        assert_eq!((cause(&answer), answer.exit), (Some("KLM5101"), Some(0)), "{answer}");
        assert!(fix(&answer).starts_with("kleym-operator does not work in namespace `llm`"), "{answer}");
        assert_eq!(note(&answer), behind(&answer), "{answer}");
        let read = "metadata.finalizers = mesh.example/propagated (not Kleym's; set by mesh-propagator at 2024-10-30T01:00:04Z)";
        assert!(read_lines(&answer).iter().any(|line| line.ends_with(read)), "{answer}");
    }
    // While the operator works, too: it has not come to the output yet.
    let works = waits_for_the_operator("").edit("operator.yaml", "=web", "=llm").explain();
    assert_eq!((cause(&works), note(&works)), (Some("KLM5101"), behind(&works).as_str()), "{works}");
}

#[test]
fn a_finalizer_on_the_binding_is_behind_what_its_output_waits_for() {
    let answer = waits_for_the_operator(", backup.example/keep").explain();
    assert_eq!(cause(&answer), Some("KLM5101"), "{answer}");
    assert!(fix(&answer).starts_with("kleym-operator does not work in namespace `llm`"), "{answer}");
    assert!(
        note(&answer).ends_with("; behind it: InferenceIdentityBinding `llm/chat` has finalizer `backup.example/keep`, which is not Kleym's: its owner must release it"),
        "{answer}"
    );
    // Where an output is held, that comes first.
    let held = held(LONG_AGO, "withdrawn.kleym.sonda.red")
        .edit("binding.yaml", OWN, &format!("{OWN}, backup.example/keep"))
        .explain();
    assert_eq!(cause(&held), Some("KLM5014"), "{held}");
    assert!(
        note(&held).contains("InferenceIdentityBinding `llm/chat` has finalizer `backup.example/keep`"),
        "{held}"
    );
}
