//! `kleym diff`: what a change does, against files and against a cluster.

use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::live::Cluster;
use crate::manifests::{ENOUGH, GOAL, LLAMA, VLLM, binding, chat, file, good, homeless};
use crate::run::Folder;

/// A folder `main` with one good binding, and a folder `pr` with these documents.
fn change(documents: &[&str]) -> Folder {
    Folder::with(&[("main/x.yaml", &good()), ("pr/x.yaml", &file(documents.iter().copied()))])
}

#[tokio::test(flavor = "multi_thread")]
async fn verbose_says_which_lists_a_cluster_was_asked_for_and_what_came() {
    let cluster = Cluster::with("verbose-live", "").await;
    cluster.settled().await;
    cluster.folder.put("x.yaml", good().as_bytes());
    for (command, kinds) in [("status -v", 5), ("graph -v", 9), ("diff -f x.yaml -v", 9)] {
        let before = cluster.calls().await.len();
        let answer = cluster.kleym(command);
        let calls = cluster.calls().await.len() - before;
        let mut lines = answer.err.lines().skip_while(|line| !line.starts_with("read of "));
        assert_eq!(
            lines.next(),
            Some(format!("read of https://SERVER, by {calls} requests:").as_str()),
            "{answer}"
        );
        let lists: Vec<&str> = lines.take_while(|line| line.starts_with("  ")).collect();
        assert!(lists.len() >= kinds, "{answer}");
        assert!(
            lists.iter().any(|line| line.starts_with("  inferenceidentitybindings.kleym.sonda.red in ")),
            "{answer}"
        );
        assert!(!answer.err.contains("read 0 documents"), "{answer}");
    }
}

#[test]
fn nothing_that_changes_is_success() {
    assert_snapshot!(change(&[&chat(), GOAL, LLAMA]).kleym("diff --from main -f pr"));
}

#[test]
fn what_appears_changes_and_goes_is_one_line_each() {
    let narrower = binding("chat", &["k8s:ns:llm", "k8s:sa:server", "k8s:pod-label:tier:gold"], VLLM);
    let batch = binding("batch", &ENOUGH, &VLLM.replace("vllm", "batch"));
    let folder = change(&[&narrower, &batch, GOAL, LLAMA]);
    assert_snapshot!(folder.kleym("diff --from main -f pr"));
    assert_snapshot!("back", folder.kleym("diff --from pr -f main"));
    assert_snapshot!("as_markdown", folder.kleym("diff --from main -f pr -o markdown"));
    assert_snapshot!("as_json", folder.kleym("diff --from main -f pr -o json"));
}

#[test]
fn an_error_that_the_change_introduces_outranks_the_difference() {
    let batch =
        binding("later", &ENOUGH, &format!("{VLLM}  spiffeIDTemplate: spiffe://kleym.sonda.red/ns/llm/x\n"));
    assert_snapshot!(change(&[&chat(), &batch, GOAL, LLAMA]).kleym("diff --from main -f pr"));
}

#[test]
fn an_error_that_was_there_before_is_none_of_the_change_and_one_that_goes_is_mended() {
    let broken = binding("broken", &["k8s:ns:llm"], VLLM);
    let folder = Folder::with(&[
        ("main/x.yaml", &file([chat().as_str(), &broken, GOAL, LLAMA])),
        ("same/x.yaml", &file([chat().as_str(), &broken, GOAL, LLAMA])),
        ("mended/x.yaml", &good()),
    ]);
    assert_eq!(folder.kleym("diff --from main -f same").exit, Some(0));
    assert_snapshot!(folder.kleym("diff --from main -f mended"));
}

#[test]
fn a_file_that_cannot_be_parsed_is_an_introduced_error() {
    let folder = change(&["a: [\n"]);
    assert_eq!(folder.kleym("diff --from main -f pr").exit, Some(2));
}

/// A pod with these labels that runs the model server.
fn pod(name: &str, labels: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: llm, labels: {{{labels}}}}}\nspec:\n  serviceAccountName: server\n  containers: [{{name: vllm, image: vllm}}]\n"
    )
}

/// What a change from these documents to those does, each beside a good binding.
fn beside_good(before: &[&str], after: &[&str]) -> Folder {
    let with = |documents: &[&str]| {
        let good = good();
        file([good.as_str()].into_iter().chain(documents.iter().copied()))
    };
    Folder::with(&[("main/x.yaml", &with(before)), ("pr/x.yaml", &with(after))])
}

#[test]
fn a_pod_that_changes_gains_and_loses_too() {
    let (is, was) = (pod("one", "app: llama"), pod("one", "app: other"));
    assert_snapshot!("a_changed_pod", beside_good(&[&was], &[&is]).kleym("diff --from main -f pr"));
    let back = beside_good(&[&is], &[&was]).kleym("diff --from main -f pr");
    assert!(back.out.contains("one   vllm        -       spiffe://") && back.exit == Some(1), "{back}");
    let appears = beside_good(&[&is], &[&is, &pod("two", "app: llama")]).kleym("diff --from main -f pr");
    assert!(
        appears.out.contains("two   vllm        spiffe://") && !appears.out.contains("one "),
        "{appears}"
    );
    // A folder without pods does not say that there are none.
    assert_eq!(beside_good(&[&is], &[]).kleym("diff --from main -f pr").exit, Some(0));
}

/// The operator's Deployment, with these arguments.
fn operator(arguments: &str) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: kleym-operator\n  namespace: kleym-system\n  labels: {{app.kubernetes.io/name: kleym, app.kubernetes.io/component: operator}}\nspec:\n  template:\n    spec:\n      containers: [{{name: operator, args: [{arguments}], env: [{{name: KLEYM_INSTANCE, value: east}}]}}]\n"
    )
}

#[test]
fn a_changed_flag_of_the_operator_changes_every_identity() {
    let (was, is) = (operator("--trust-domain=a.example"), operator("--trust-domain, b.example"));
    let folder = beside_good(&[&was, &pod("one", "app: llama")], &[&is, &pod("one", "app: llama")]);
    assert_snapshot!("a_changed_operator", folder.kleym("diff --from main -f pr"));
    let data = folder.kleym("diff --from main -f pr -o json");
    assert_eq!(crate::schemas::kind_of_valid(&data), "DiffReport");
    let data: Value = serde_json::from_str(&data.out).unwrap();
    assert_eq!(data["settings"]["instance"], "east");
    // What is given counts on both sides.
    let given = folder.kleym("diff --from main -f pr --trust-domain c.example");
    assert_eq!((given.exit, given.out.as_str()), (Some(0), ""), "{given}");
    // The operator is not gone because its Deployment lies elsewhere.
    assert_eq!(beside_good(&[&was], &[]).kleym("diff --from main -f pr").exit, Some(0));
}

#[test]
fn changed_settings_of_spire_controller_manager_take_identities_away() {
    let manager = |class: &str| {
        format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: scm, namespace: spire}}\ndata:\n  config.yaml: |\n    kind: ControllerManagerConfig\n    className: {class}\n    watchClassless: {}\n",
            class == "spire"
        )
    };
    let pod = pod("one", "app: llama");
    let folder = beside_good(&[&manager("spire"), &pod], &[&manager("other"), &pod]);
    assert_snapshot!("a_changed_manager", folder.kleym("diff --from main -f pr"));
}

#[tokio::test]
async fn files_are_laid_over_the_cluster_and_who_is_live_keeps_age_and_uid() {
    let cluster = Cluster::with("diff-overlay", &homeless(&[&chat(), GOAL, LLAMA])).await;
    // By name `a` would come first; it is not live, so it comes last.
    let newcomer = binding(
        "a",
        &ENOUGH,
        &format!("{VLLM}  spiffeIDTemplate: spiffe://kleym.sonda.red/ns/{{{{ .Namespace }}}}/x\n"),
    );
    let edited = binding("chat", &["k8s:ns:llm", "k8s:sa:server", "k8s:pod-label:tier:gold"], VLLM)
        .replace("metadata:\n", "metadata:\n  uid: forged\n  creationTimestamp: 2030-01-01T00:00:00Z\n");
    cluster.folder.put("pr/a.yaml", homeless(&[&newcomer]).as_bytes());
    cluster.folder.put("pr/chat.yaml", homeless(&[&edited]).as_bytes());
    assert_snapshot!(cluster.silent("diff -f pr"));
    cluster.folder.put("same/x.yaml", homeless(&[&chat(), GOAL]).as_bytes());
    let same: Value = serde_json::from_str(&cluster.silent("diff -f same -o json").out).unwrap();
    assert_eq!((&same["bindings"], &same["summary"]["introduced"]), (&Value::Array(Vec::new()), &0.into()));
    // An applied Deployment leaves what it does not speak of as it was set.
    cluster
        .report("chat", json!({"observedGeneration": 1, "trustDomain": "example.org", "instance": "default"}))
        .await;
    let operator = operator("").replace(", env: [{name: KLEYM_INSTANCE, value: east}]", "");
    cluster.folder.put("operator/x.yaml", file([homeless(&[&chat()]).as_str(), &operator]).as_bytes());
    let answer = cluster.kleym("diff -f operator");
    assert_eq!((answer.exit, answer.out.as_str()), (Some(0), ""), "{answer}");
    let calls = cluster.calls().await;
    assert!(calls.iter().all(|call| call.starts_with("list ")), "{calls:?}");
}

#[tokio::test]
async fn who_gains_and_who_loses_is_said_by_pod_and_container() {
    let cluster = Cluster::with("diff-impact", &homeless(&[&chat(), GOAL, LLAMA])).await;
    cluster.apply("apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: server}\n").await;
    for (name, tier) in [("vllm-1", "gold"), ("vllm-2", "none")] {
        let pod = format!(
            "apiVersion: v1\nkind: Pod\nmetadata:\n  name: {name}\n  labels: {{app: llama, tier: {tier}}}\nspec:\n  serviceAccountName: server\n  containers: [{{name: vllm, image: vllm}}, {{name: batch, image: batch}}]\n"
        );
        cluster.apply(&pod).await;
    }
    let narrower = binding("chat", &["k8s:ns:llm", "k8s:sa:server", "k8s:pod-label:tier:gold"], VLLM);
    let batch = binding("batch", &ENOUGH, &VLLM.replace("vllm", "batch"));
    cluster.folder.put("pr/x.yaml", homeless(&[&narrower, &batch, GOAL]).as_bytes());
    assert_snapshot!(cluster.silent("diff -f pr"));
    // A pod that is relabelled by the files loses what it has, though no binding changes.
    let relabelled = "apiVersion: v1\nkind: Pod\nmetadata: {name: vllm-1, labels: {app: other}}\nspec:\n  serviceAccountName: server\n  containers: [{name: vllm, image: vllm}]\n";
    cluster.folder.put("pod/x.yaml", relabelled.as_bytes());
    let answer = cluster.silent("diff -f pod");
    let lines: Vec<&str> = answer.out.lines().skip(1).collect();
    let id = "spiffe://kleym.sonda.red/ns/diff-impact/objective/goal";
    assert_eq!(lines, [format!("vllm-1   vllm        -       {id}")], "{answer}");
}

#[test]
fn a_conflict_that_was_there_before_is_not_introduced_by_another_label() {
    let later =
        binding("later", &ENOUGH, &format!("{VLLM}  spiffeIDTemplate: spiffe://kleym.sonda.red/ns/llm/x\n"));
    let pool = LLAMA.replace("app: llama", "app: llama-2");
    let folder = Folder::with(&[
        ("main/x.yaml", &file([chat().as_str(), &later, GOAL, LLAMA])),
        ("pr/x.yaml", &file([chat().as_str(), &later, GOAL, &pool])),
    ]);
    let answer = folder.kleym("diff --from main -f pr");
    assert!(answer.err.contains("findings: 0 introduced, 0 mended, 2 unchanged"), "{answer}");
    assert_eq!(answer.exit, Some(1), "{answer}");
}

#[tokio::test]
async fn what_may_not_be_read_is_said_and_no_identity_is_said_to_stay() {
    let cluster = Cluster::of(&[], "diff-limited", &homeless(&[&chat(), GOAL, LLAMA])).await;
    let some =
        [("kleym.sonda.red", "inferenceidentitybindings"), ("llm-d.ai", "inferenceobjectives"), ("", "pods")];
    cluster.allow_to_list(&some).await;
    let other = binding("chat", &["k8s:ns:llm", "k8s:sa:other"], VLLM);
    cluster.folder.put("pr/x.yaml", homeless(&[&other]).as_bytes());
    assert_snapshot!("diff_limited", cluster.silent("diff -f pr"));
    let markdown = cluster.silent("diff -f pr -o markdown");
    assert!(markdown.out.contains("KLM9102") && markdown.out.contains("is not known"), "{markdown}");
    // Nor is what could not be seen said to be none.
    let pod = "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: server}\n---\napiVersion: v1\nkind: Pod\nmetadata: {name: vllm-1, labels: {app: llama}}\nspec:\n  serviceAccountName: server\n  containers: [{name: vllm, image: vllm}]\n";
    cluster.apply(pod).await;
    cluster.report("chat", json!({"observedGeneration": 1, "conditions": [{"type": "Ready", "status": "True", "reason": "Reconciled", "message": "m", "lastTransitionTime": "2026-11-01T08:00:00Z"}]})).await;
    assert_snapshot!("explain_limited", cluster.silent("explain pod/vllm-1"));
    let data = cluster.silent("explain pod/vllm-1 -o json");
    assert_eq!(crate::schemas::kind_of_valid(&data), "ExplainReport");
    let data: Value = serde_json::from_str(&data.out).unwrap();
    assert_eq!(data["containers"][0]["incomplete"], true, "{data}");
}
