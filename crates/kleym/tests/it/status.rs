//! `kleym status`: rows, findings, scope and settings; and what every live command has in common.

use std::io::{BufRead, BufReader};

use insta::assert_snapshot;
use kleym_core::kind::Kind;
use serde_json::{Value, json};

use crate::live::{Cluster, ages, bare};
use crate::manifests::{ENOUGH, GOAL, LLAMA, VLLM, binding, chat, file, homeless};
use crate::run::{Folder, at_the_root, command};

/// What an operator reports of a binding that is Ready.
fn granted(cluster: &Cluster, name: &str) -> Value {
    let id = format!("spiffe://example.org/ns/{}/objective/goal", cluster.namespace);
    json!({
        "observedGeneration": 1,
        "conditions": [ready("True", "Reconciled")],
        "computedSpiffeIDs": [{"mode": "PerObjective", "spiffeID": id}],
        "renderedClusterSPIFFEID": {
            "name": format!("kleym-{name}"), "uid": "u", "spiffeID": id, "observedGeneration": 1,
            "selectorFingerprint": format!("sha256:{}", "0".repeat(64)),
        },
        "trustDomain": "example.org", "clusterSPIFFEIDClassName": "spire-spire", "instance": "default",
    })
}

fn ready(status: &str, reason: &str) -> Value {
    json!({"type": "Ready", "status": status, "reason": reason, "message": "",
        "lastTransitionTime": "2026-05-01T00:00:00Z", "observedGeneration": 1})
}

#[test]
fn files_are_read_like_a_cluster_and_the_row_says_what_the_engine_decides() {
    let answer = at_the_root("status -f examples/quickstart -f examples/conflict -A -o wide");
    assert_snapshot!(answer.masked(&|text| text.replace("<unknown>", "AGE")));
}

#[test]
fn files_that_hold_statuses_are_shown_as_the_operator_reported_and_others_as_the_engine_decides() {
    let with = |name: &str, status: &str| format!("{}status: {status}\n", binding(name, &ENOUGH, VLLM));
    let ready = |status: &str, reason: &str| {
        format!(
            "{{observedGeneration: 1, conditions: [{{type: Ready, status: '{status}', reason: {reason}, message: m, \
             observedGeneration: 1, lastTransitionTime: '2026-05-01T00:00:00Z'}}]}}"
        )
    };
    let occupied = with("occupied", &ready("False", "ManagedOutputConflict"));
    // What the API server gives a new binding, which no operator has seen.
    let unseen = with("unseen", "{observedGeneration: -1}");
    let undeclared = binding("undeclared", &ENOUGH, VLLM);
    let folder = Folder::with(&[("x.yaml", &file([occupied.as_str(), &unseen, &undeclared, GOAL, LLAMA]))]);
    let answer = folder.kleym("status -f x.yaml");
    let rows: Vec<Vec<&str>> = answer.out.lines().map(|line| line.split_whitespace().collect()).collect();
    let said = |name: &str| rows.iter().find(|row| row[1] == name).map(|row| (row[4], row[5])).unwrap();
    assert_eq!(said("occupied"), ("False", "ManagedOutputConflict"), "{answer}");
    assert_eq!(said("unseen"), ("Unknown", "<none>"), "{answer}");
    assert_eq!(said("undeclared"), ("True", "Reconciled"), "{answer}");
    assert!(answer.err.contains("`llm/unseen` has no status yet; the engine says"), "{answer}");
}

#[test]
fn a_report_is_the_same_as_data() {
    let folder =
        Folder::with(&[("x.yaml", &file([chat().as_str(), &binding("none", &ENOUGH, ""), GOAL, LLAMA]))]);
    assert_snapshot!(folder.kleym("status -f x.yaml -o json"));
    let json: Value = serde_json::from_str(&folder.kleym("status -f x.yaml -o json").out).unwrap();
    let yaml: Value = serde_saphyr::from_str(&folder.kleym("status -f x.yaml -o yaml").out).unwrap();
    assert_eq!(json, yaml);
    let names = folder.kleym("status -f x.yaml -o name");
    assert_eq!(
        names.out,
        "inferenceidentitybinding.kleym.sonda.red/chat\ninferenceidentitybinding.kleym.sonda.red/none\n"
    );
}

#[test]
fn the_age_of_a_binding_is_there_as_the_api_server_writes_it() {
    let report = at_the_root("status -f examples/cluster -o json");
    assert_eq!(crate::schemas::kind_of_valid(&report), "StatusReport");
    let report: Value = serde_json::from_str(&report.out).unwrap();
    let row = &report["bindings"][0];
    assert_eq!(row["creationTimestamp"], "2026-11-01T08:00:00Z");
    assert_eq!(row["created"], 1_793_520_000);
}

#[tokio::test]
async fn a_cluster_is_shown_as_the_operator_reports_it_with_its_settings() {
    let cluster = Cluster::with("status-reported", &homeless(&[&chat(), GOAL, LLAMA])).await;
    cluster.report("chat", granted(&cluster, "chat")).await;
    assert_snapshot!(cluster.kleym("status -o wide"));
}

#[tokio::test]
async fn one_paged_list_a_kind_is_all_that_is_asked_and_nothing_is_written() {
    let many: Vec<String> = (0..12).map(|i| binding(&format!("b{i}"), &ENOUGH, VLLM)).collect();
    let mut documents: Vec<&str> = many.iter().map(String::as_str).collect();
    documents.extend([GOAL, LLAMA]);
    let cluster = Cluster::with("status-cost", &homeless(&documents)).await;
    assert_eq!(cluster.silent("status").out.lines().count(), 13);
    let mut calls = cluster.calls().await;
    calls.sort();
    assert_eq!(
        calls,
        [
            "list apps/deployments",
            "list inference.networking.k8s.io/inferenceobjectives",
            "list inference.networking.k8s.io/inferencepools",
            "list inference.networking.x-k8s.io/inferenceobjectives",
            "list inference.networking.x-k8s.io/inferencepools",
            "list kleym.sonda.red/inferenceidentitybindings",
            "list llm-d.ai/inferenceobjectives",
        ]
    );
}

#[tokio::test]
async fn a_status_that_lags_behind_or_contradicts_the_engine_is_a_finding() {
    let other = binding("other", &["k8s:ns:wrong", "k8s:sa:server"], VLLM);
    let cluster = Cluster::with(
        "status-stale",
        &homeless(&[&chat(), &other, &binding("new", &ENOUGH, VLLM), GOAL, LLAMA]),
    )
    .await;
    let mut old = granted(&cluster, "chat");
    old["observedGeneration"] = json!(0);
    cluster.report("chat", old).await;
    cluster.report("other", granted(&cluster, "other")).await;
    assert_snapshot!(cluster.kleym("status"));
}

#[tokio::test]
async fn that_no_operator_works_is_said_once_and_not_once_a_binding() {
    let many: Vec<String> = (0..12)
        .map(|i| binding(&format!("b{i:02}"), &ENOUGH, &VLLM.replace("vllm", &format!("c{i}"))))
        .collect();
    let mut documents: Vec<&str> = many.iter().map(String::as_str).collect();
    documents.extend([GOAL, LLAMA]);
    let cluster = Cluster::with("status-silent", &homeless(&documents)).await;
    let answer = cluster.silent("status");
    assert_eq!(answer.err.matches("KLM9105").count(), 1, "{answer}");
    let says = "12 bindings have no status yet: `status-silent/b00`, `status-silent/b01`";
    assert!(answer.err.contains(says) && answer.err.contains("and 4 more"), "{answer}");
    // One alone is called by its name, as before.
    let one = cluster.silent("inspect binding b00");
    assert!(one.err.contains("`status-silent/b00` has no status yet"), "{one}");
}

#[tokio::test]
async fn settings_are_taken_from_the_status_where_all_agree_and_flags_that_differ_are_a_finding() {
    let second = binding("second", &ENOUGH, VLLM);
    let cluster = Cluster::with("status-settings", &homeless(&[&chat(), &second, GOAL, LLAMA])).await;
    cluster.report("chat", granted(&cluster, "chat")).await;
    assert_snapshot!("given_otherwise", cluster.kleym("status --trust-domain example.com"));
    let mut other = granted(&cluster, "second");
    other["trustDomain"] = json!("example.net");
    cluster.report("second", other).await;
    assert_snapshot!("disagreeing", cluster.kleym("status"));
}

#[tokio::test]
async fn labels_and_namespaces_choose_the_rows_but_not_what_the_engine_sees() {
    let labelled =
        binding("chat", &ENOUGH, VLLM).replace("  name: chat\n", "  name: chat\n  labels: {team: search}\n");
    let second = binding(
        "second",
        &ENOUGH,
        &format!("{VLLM}  spiffeIDTemplate: spiffe://kleym.sonda.red/ns/{{{{ .Namespace }}}}/x\n"),
    );
    let cluster = Cluster::with("status-chosen", &homeless(&[&labelled, &second, GOAL, LLAMA])).await;
    assert_snapshot!("by_labels", cluster.silent("status -l team!=search"));
    let elsewhere = cluster.kleym_in("kube-system", "status");
    assert_eq!((elsewhere.exit, elsewhere.out.lines().count()), (Some(0), 1), "{elsewhere}");
    let all = cluster.kleym_in("", "status -A -l team=search");
    assert!(all.out.starts_with("NAMESPACE ") && all.out.contains("status-chosen   chat"), "{all}");
}

#[tokio::test]
async fn what_may_not_be_read_is_named_and_the_rest_is_answered() {
    let objects = homeless(&[&chat(), GOAL, LLAMA]);
    let cluster = Cluster::of(&[], "status-limited", &objects).await;
    assert_snapshot!("nothing_permitted", cluster.kleym("status"));
    let some = [("kleym.sonda.red", "inferenceidentitybindings"), ("llm-d.ai", "inferenceobjectives")];
    cluster.allow_to_list(&some).await;
    assert_snapshot!("some_permitted", cluster.kleym("status"));
}

/// A group that may list every kind but CustomResourceDefinitions.
const BINDINGS_ONLY: &str = "
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: bindings-only}
rules:
- apiGroups: [kleym.sonda.red, llm-d.ai, inference.networking.x-k8s.io, inference.networking.k8s.io]
  resources: ['*']
  verbs: [list]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: bindings-only}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: bindings-only}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: Group, name: bindings-only}]
";

#[tokio::test]
async fn absence_is_proved_by_an_empty_list_of_definitions_and_nothing_less() {
    let plane = bare(&[Kind::Binding]).await;
    let folder = Folder::new();
    let kubeconfig = plane.kubeconfig().unwrap();
    let objects = homeless(&[&chat()]);
    kleym_testenv::apply_yaml(&plane.client().unwrap(), &objects).await.unwrap();
    kleym_testenv::apply_yaml(&plane.client().unwrap(), BINDINGS_ONLY).await.unwrap();
    let url = plane.url();
    let run = |more: &str| {
        let answer = folder.kleym(&format!("status --kubeconfig {} {more}", kubeconfig.display()));
        answer.masked(&|text| {
            ages(
                &text
                    .replace(&kubeconfig.display().to_string(), "KUBECONFIG")
                    .replace(&url, "https://SERVER"),
            )
        })
    };
    assert_snapshot!("proved", run(""));
    assert_snapshot!("not_proved", run("--as somebody --as-group bindings-only"));
}

#[test]
fn a_cluster_that_cannot_be_reached_is_one_line() {
    let folder = Folder::new();
    let kubeconfig = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
    });
    folder.put("k.json", kubeconfig.to_string().as_bytes());
    assert_snapshot!(folder.kleym("status --kubeconfig k.json"));
}

#[tokio::test]
async fn a_watch_shows_what_changes_and_nothing_else() {
    let second = binding("second", &ENOUGH, VLLM);
    let cluster = Cluster::with("status-watch", &homeless(&[&chat(), &second, GOAL, LLAMA])).await;
    let arguments = format!("status --watch -n status-watch --kubeconfig {}", cluster.kubeconfig());
    let mut child = command(cluster.folder.path(), &arguments).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    // The table comes first, with its titles.
    assert!(lines.next().unwrap().starts_with("NAME "));
    assert_eq!((&mut lines).take(2).filter(|line| line.contains("Unknown")).count(), 2);
    cluster.report("second", granted(&cluster, "second")).await;
    let next = lines.next().unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    // Below the same titles.
    assert!(next.starts_with("second   goal     PerObjective   True      Reconciled   "), "{next}");
}
