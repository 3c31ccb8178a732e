//! `kleym render`: what it prints and what it says.

use std::io::Read;

use insta::assert_snapshot;
use serde_json::Value;

use crate::manifests::{ENOUGH, GOAL, LLAMA, VLLM, binding, chat, file, good};
use crate::run::{Folder, at_the_root, command};

#[test]
fn the_quick_start_renders_without_a_finding() {
    assert_snapshot!(at_the_root("render -f examples/quickstart"));
}

#[test]
fn of_two_that_claim_one_container_the_first_keeps_it() {
    assert_snapshot!(at_the_root("render -f examples/quickstart -f examples/conflict"));
}

#[test]
fn one_object_is_printed_by_itself_in_json() {
    let folder = Folder::with(&[("good.yaml", &good())]);
    assert_snapshot!(folder.kleym("render -f good.yaml -o json"));
}

#[test]
fn several_objects_are_a_list_in_json_and_say_the_same_as_in_yaml() {
    let json: Value =
        serde_json::from_str(&at_the_root("render -f examples/quickstart -o json").out).unwrap();
    let yaml: Vec<Value> =
        serde_saphyr::from_multiple(&at_the_root("render -f examples/quickstart").out).unwrap();
    assert_eq!(json["kind"], "List");
    assert_eq!(json["apiVersion"], "v1");
    assert_eq!(json["items"], Value::Array(yaml));
}

#[test]
fn no_object_is_nothing_in_yaml_and_an_empty_list_in_json() {
    let folder = Folder::with(&[("none.yaml", GOAL)]);
    let yaml = folder.kleym("render -f none.yaml");
    assert_eq!((yaml.exit, yaml.out.as_str()), (Some(0), ""));
    let json: Value = serde_json::from_str(&folder.kleym("render -f none.yaml -o json").out).unwrap();
    assert_eq!(json, serde_json::json!({ "apiVersion": "v1", "kind": "List", "items": [] }));
}

#[test]
fn a_uid_becomes_an_annotation_and_age_decides_who_comes_first() {
    let of_a_cluster = |text: String, uid: &str, created: &str| {
        text.replace(
            "  namespace: llm\n",
            &format!("  namespace: llm\n  uid: {uid}\n  creationTimestamp: {created}\n"),
        )
    };
    let younger = of_a_cluster(binding("a", &ENOUGH, VLLM), "uid-a", "2026-05-02T00:00:00Z");
    let template = "  spiffeIDTemplate: spiffe://{{ .TrustDomain }}/ns/llm/oldest\n";
    let older =
        of_a_cluster(binding("b", &ENOUGH, &format!("{VLLM}{template}")), "uid-b", "2026-05-01T00:00:00Z");
    let folder = Folder::with(&[("dump.yaml", &file([younger.as_str(), &older, GOAL, LLAMA]))]);
    assert_snapshot!(folder.kleym("render -f dump.yaml"));
}

#[test]
fn the_order_of_files_changes_nothing_on_stdout() {
    let (chat, other) = (chat(), binding("other", &ENOUGH, "  mode: PoolOnly\n"));
    let files = [("a.yaml", chat.as_str()), ("b.yaml", GOAL), ("c.yaml", LLAMA), ("d.yaml", other.as_str())];
    let folder = Folder::with(&files);
    let forth = folder.kleym("render -f a.yaml -f b.yaml -f c.yaml -f d.yaml");
    let back = folder.kleym("render -f d.yaml -f c.yaml -f b.yaml -f a.yaml");
    assert_eq!((forth.exit, &forth.out), (Some(0), &back.out));
    assert_eq!(forth.out.matches("kind: ClusterSPIFFEID").count(), 2);
}

#[test]
fn labels_that_look_like_something_else_stay_texts() {
    let odd = ["yes", "on", "1.0", "0x1F", "1e3", "0123", "2001-01-01", "null", "y", "1_000"];
    let labels: String = odd
        .iter()
        .map(|text| format!("      example.org/{text}: {text:?}\n      {text:?}: {text:?}\n"))
        .collect();
    let pool = format!("{LLAMA}{labels}");
    let folder = Folder::with(&[("odd.yaml", &file([chat().as_str(), GOAL, &pool]))]);
    let answer = folder.kleym("render -f odd.yaml");
    assert_eq!(answer.exit, Some(0), "{answer}");
    let object: Value = serde_saphyr::from_str(&answer.out).unwrap();
    let labels = object["spec"]["podSelector"]["matchLabels"].as_object().unwrap();
    assert_eq!(labels.len(), 1 + 2 * odd.len());
    for text in odd {
        assert_eq!(labels[text], text);
        let quoted = format!("\"{text}\": \"{text}\"");
        assert!(answer.out.contains(&quoted), "{quoted} in {}", answer.out);
    }
}

#[test]
fn an_objective_that_is_not_there_is_not_found() {
    let folder = Folder::with(&[("chat.yaml", &file([chat().as_str(), LLAMA]))]);
    assert_snapshot!(folder.kleym("render -f chat.yaml"));
}

#[test]
fn a_pool_that_is_not_there_shows_in_the_objective() {
    let folder = Folder::with(&[("chat.yaml", &file([chat().as_str(), GOAL]))]);
    assert_snapshot!(folder.kleym("render -f chat.yaml"));
}

#[test]
fn unsafe_selectors_are_shown_where_they_are_written() {
    let documents = [
        binding("foreign", &["k8s:ns:other", "k8s:sa:server"], VLLM),
        binding("two-apps", &["k8s:ns:llm", "k8s:sa:server", "k8s:pod-label:app:other"], VLLM),
        binding("no-account", &["k8s:ns:llm"], VLLM),
        binding("unknown", &["k8s:ns:llm", "k8s:sa:{{ .Nope }}"], VLLM),
        binding("uid", &["k8s:ns:llm", "k8s:sa:server", "k8s:pod-uid:1"], VLLM),
        binding("norway", &ENOUGH, &format!("{VLLM}  mode: no\n")),
        binding("undiscriminated", &ENOUGH, ""),
        binding("elsewhere", &ENOUGH, &format!("{VLLM}  spiffeIDTemplate: spiffe://example.org/x\n")),
        GOAL.to_owned(),
        LLAMA.to_owned(),
    ];
    let folder = Folder::with(&[("unsafe.yaml", &file(documents.iter().map(String::as_str)))]);
    assert_snapshot!(folder.kleym("render -f unsafe.yaml"));
}

#[test]
fn fields_that_the_api_server_would_drop_are_said_to_be() {
    let goal = format!("{GOAL}    namespace: other\n");
    let folder = Folder::with(&[("reference.yaml", &file([chat().as_str(), &goal, LLAMA]))]);
    assert_snapshot!("dropped_namespace", folder.kleym("render -f reference.yaml"));
    for (name, sibling) in
        [("dropped_expressions", "matchExpressions: [{key: a}]"), ("dropped_field", "app: llama")]
    {
        let pool = format!("{LLAMA}    {sibling}\n");
        let folder = Folder::with(&[("pool.yaml", &file([chat().as_str(), GOAL, &pool]))]);
        assert_snapshot!(name, folder.kleym("render -f pool.yaml"));
    }
}

#[test]
fn the_shared_service_account_is_a_warning_that_strict_makes_fatal() {
    let shared = binding("chat", &["k8s:ns:llm", "k8s:sa:default"], VLLM);
    let folder = Folder::with(&[("shared.yaml", &file([shared.as_str(), GOAL, LLAMA]))]);
    let answer = folder.kleym("render -f shared.yaml");
    assert_snapshot!(answer);
    let strict = folder.kleym("render -f shared.yaml --strict");
    assert_eq!((strict.exit, &strict.out, &strict.err), (Some(2), &answer.out, &answer.err));
}

#[test]
fn a_binding_that_is_being_deleted_has_no_output() {
    let leaving =
        chat().replace("  namespace: llm\n", "  namespace: llm\n  deletionTimestamp: 2026-05-01T00:00:00Z\n");
    let folder = Folder::with(&[("leaving.yaml", &file([leaving.as_str(), GOAL, LLAMA]))]);
    assert_snapshot!(folder.kleym("render -f leaving.yaml"));
}

#[test]
fn an_object_without_a_namespace_is_in_the_given_one() {
    let homeless = good().replace("  namespace: llm\n", "");
    let folder = Folder::with(&[("homeless.yaml", &homeless)]);
    assert!(folder.kleym("render -f homeless.yaml -n llm").out.contains("/ns/llm/objective/goal"));
    // The template says `llm`, so elsewhere it is refused.
    assert_snapshot!(folder.kleym("render -f homeless.yaml"));
}

#[test]
fn colour_is_only_where_it_is_wanted() {
    let folder = Folder::with(&[("chat.yaml", &chat())]);
    let colours =
        |arguments: &str| folder.kleym(&format!("render -f chat.yaml {arguments}")).err.contains('\u{1b}');
    assert_eq!([colours(""), colours("--color never"), colours("--color always")], [false, false, true]);
    assert!(
        folder.run("render -f chat.yaml --color always", &[("NO_COLOR", "1")], b"").err.contains('\u{1b}')
    );
}

#[test]
fn a_reader_that_leaves_early_is_no_failure() {
    let bindings: String = (0..200).map(|i| binding(&format!("b{i}"), &ENOUGH, VLLM) + "---\n").collect();
    let folder = Folder::with(&[("many.yaml", &(bindings + &file([GOAL, LLAMA])))]);
    let mut child = command(folder.path(), "render -f many.yaml").spawn().unwrap();
    let mut first = [0; 10];
    child.stdout.take().unwrap().read_exact(&mut first).unwrap();
    // stdout is closed from here on, with most of the answer unread.
    let answer = child.wait_with_output().unwrap();
    assert_eq!((answer.status.code(), &first), (Some(0), b"apiVersion"));
}
