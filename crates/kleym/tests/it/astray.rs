//! What was meant for Kleym and is not read: misspelt kinds, Lists of nothing, metadata that no API server writes, files that
//! a folder does not count. Nothing of it is silent.

use crate::manifests::{ENOUGH, GOAL, LLAMA, VLLM, binding, chat, file, good};
use crate::run::{Answer, Folder};

/// What is said of one file beside objects that are fine; the file is the second of two.
fn beside_good(text: &str) -> Answer {
    Folder::with(&[("a.yaml", &good()), ("b.yaml", text)]).kleym("lint -f .")
}

#[test]
fn a_kind_or_group_that_does_not_exist_is_an_error_that_says_what_to_write() {
    let named = "metadata:\n  name: chat\n";
    for (head, line, hint) in [
        (
            "apiVersion: kleym.sonda.red/v1alpha1\nkind: InferenceIdentityBindng\n",
            "b.yaml:2:7",
            "kind: InferenceIdentityBinding",
        ),
        (
            "apiVersion: kleym.sonda.red/v1alpha1\nkind: inferenceidentitybinding\n",
            "b.yaml:2:7",
            "kind: InferenceIdentityBinding",
        ),
        ("apiVersion: kleym.sonda.red/v1\nkind: Policy\n", "b.yaml:2:7", "kind: InferenceIdentityBinding"),
        (
            "apiVersion: kleym.sonda.rd/v1alpha1\nkind: InferenceIdentityBinding\n",
            "b.yaml:1:13",
            "apiVersion: kleym.sonda.red/v1alpha1",
        ),
        ("kind: InferenceIdentityBinding\n", "b.yaml:1:1", "apiVersion: kleym.sonda.red/v1alpha1"),
        ("apiVersion: llm-d.ai/v1alpha2\n", "b.yaml:1:1", "kind: InferenceObjective"),
        (
            "apiVersion: llm-d.ai/v1alpha2\nkind: InferenceObjectiv\n",
            "b.yaml:2:7",
            "kind: InferenceObjective",
        ),
        (
            "apiVersion: inference.networking.k8s.io/v1\nkind: InferencePools\n",
            "b.yaml:2:7",
            "kind: InferencePool",
        ),
        (
            "apiVersion: inference.networking.k8s.oi/v1\nkind: InferencePool\n",
            "b.yaml:1:13",
            "apiVersion: inference.networking.k8s.io/v1",
        ),
        (
            "apiVersion: inference.networking.x-k8.io/v1alpha2\nkind: InferenceObjective\n",
            "b.yaml:1:13",
            "apiVersion: inference.networking.x-k8s.io/v1alpha2",
        ),
        (
            "apiVersion: llmd.ai/v1alpha2\nkind: inferenceobjective\n",
            "b.yaml:1:13",
            "apiVersion: llm-d.ai/v1alpha2",
        ),
        (
            "apiVersion: kleym.sonda.red/v1beta1\nkind: InferenceIdentityBinding\n",
            "b.yaml:1:13",
            "apiVersion: kleym.sonda.red/v1alpha1",
        ),
        (
            "apiVersion: spire.spiffe.io/v1alpha1\nkind: ClusterSPIFFEId\n",
            "b.yaml:2:7",
            "kind: ClusterSPIFFEID",
        ),
        (
            "apiVersion: spire.spifee.io/v1alpha1\nkind: ClusterSPIFFEID\n",
            "b.yaml:1:13",
            "apiVersion: spire.spiffe.io/v1alpha1",
        ),
    ] {
        let answer = beside_good(&format!("{head}{named}"));
        assert_eq!(answer.exit, Some(2), "{answer}");
        assert!(answer.out.contains("error[KLM9005]") && answer.out.contains(line), "{head}: {answer}");
        assert!(answer.out.contains(&format!("= help: write `{hint}`")), "{head}: {answer}");
    }
}

#[test]
fn other_kinds_of_the_same_groups_are_none_of_kleyms_business() {
    for head in [
        "apiVersion: inference.networking.x-k8s.io/v1alpha1\nkind: InferencePoolImport\n",
        "apiVersion: llm-d.ai/v1alpha2\nkind: InferenceModelRewrite\n",
        "apiVersion: example.org/v1\nkind: Pool\n",
        "apiVersion: spire.spiffe.io/v1alpha1\nkind: ClusterStaticEntry\n",
        "apiVersion: spire.spiffe.io/v1alpha1\nkind: ClusterFederatedTrustDomain\n",
        "apiVersion: llm-d.io/v1\nkind: Router\n",
        "kind: values\n",
    ] {
        let answer = beside_good(&format!("{head}metadata: {{name: x}}\n"));
        assert_eq!((answer.exit, answer.out.as_str()), (Some(0), ""), "{head}: {answer}");
    }
}

#[test]
fn a_document_that_is_no_object_is_a_warning_one_for_each_file() {
    for (text, name, says) in [
        ("[{\"kind\": \"Pod\"}]", "b.json", "the document is a list, and no object"),
        ("- kind: Pod\n", "b.yaml", "the document is a list, and no object"),
        ("just a text\n", "b.yaml", "the document is a text, and no object"),
        ("7\n---\n8\n---\ntrue\n", "b.yaml", "the document is a number, and no object"),
    ] {
        let folder = Folder::with(&[("a.yaml", &good()), (name, text)]);
        let answer = folder.kleym("lint -f .");
        assert_eq!(answer.exit, Some(0), "{answer}");
        assert_eq!(answer.out.matches("warning[KLM9109]").count(), 1, "{answer}");
        assert!(answer.out.contains(says) && answer.out.contains(&format!("{name}:1:1")), "{answer}");
        assert_eq!(answer.out.contains("so are 2 more of this file"), text.starts_with('7'), "{answer}");
        assert_eq!(folder.kleym("lint -f . --strict").exit, Some(2));
    }
    for text in ["", "# nothing\n---\n", "null\n", "values: of a chart\n"] {
        assert_eq!(beside_good(text).out, "", "{text}");
    }
}

#[test]
fn of_a_list_every_item_counts_or_is_told() {
    let list = |items: &str| format!("apiVersion: v1\nkind: List\n{items}");
    for (items, line, why) in [
        ("items:\n- metadata: {name: chat}\n", "b.yaml:4:3", "item 1 of the List has no `kind`"),
        ("items:\n- kind: Pod\n- 7\n", "b.yaml:4:3", "item 1 of the List has no `apiVersion`"),
        ("items:\n- 7\n", "b.yaml:4:3", "item 1 of the List is no object"),
        ("items: {a: 1}\n", "b.yaml:3:1", "the List has `items` that are no list"),
        ("", "b.yaml:2:7", "the List has no `items`"),
    ] {
        let answer = beside_good(&list(items));
        assert_eq!(answer.exit, Some(2), "{answer}");
        assert!(answer.out.contains(&format!("error[KLM9004]: {why}")), "{items}: {answer}");
        assert!(answer.out.contains(line), "{items}: {answer}");
    }
    assert_eq!(beside_good(&list("items: []\n")).exit, Some(0));
}

#[test]
fn metadata_that_no_api_server_writes_is_a_warning() {
    let odd =
        chat().replace("  name: chat\n", "  name: chat\n  uid: 'not one'\n  creationTimestamp: yesterday\n");
    let folder = Folder::with(&[("a.yaml", &file([odd.as_str(), GOAL, LLAMA]))]);
    let answer = folder.kleym("lint -f .");
    assert_eq!(answer.exit, Some(0), "{answer}");
    assert_eq!(answer.out.matches("warning[KLM9107]").count(), 2, "{answer}");
    assert!(answer.out.contains("a.yaml:5:8") && answer.out.contains("a.yaml:6:22"), "{answer}");
    assert_eq!(folder.kleym("lint -f . --strict").exit, Some(2));
    // What `kubectl create --dry-run -o yaml` prints is fine.
    let usual = chat().replace("  name: chat\n", "  name: chat\n  creationTimestamp: null\n");
    let folder = Folder::with(&[("a.yaml", &file([usual.as_str(), GOAL, LLAMA]))]);
    assert_eq!(folder.kleym("lint -f .").out, "");
}

#[test]
fn a_file_whose_ending_is_not_in_lower_case_is_told() {
    let folder = Folder::with(&[("all/good.yaml", &good()), ("all/UP.YAML", &chat()), ("up/UP.YML", "")]);
    let answer = folder.kleym("render -f all -v");
    assert_eq!(answer.exit, Some(0), "{answer}");
    assert!(answer.err.contains("warning[KLM9108]: `all/UP.YAML` is not read"), "{answer}");
    assert!(answer.err.contains("3 documents in 1 file\n"), "{answer}");
    let only = folder.kleym("render -f up");
    assert_eq!(only.exit, Some(4), "{only}");
    assert!(only.err.contains("endings count only in lower case"), "{only}");
    // What is named is read, whatever it is called.
    assert_eq!(folder.kleym("render -f all -f all/UP.YAML").exit, Some(2));
}

#[test]
fn only_bindings_with_the_labels_count() {
    let labelled = |name: &str, team: &str, more: &str| {
        binding(name, &ENOUGH, &VLLM.replace("vllm", name)).replace(
            "  namespace: llm\nspec",
            &format!("  namespace: llm\n  labels: {{team: {team}}}\n{more}spec"),
        )
    };
    let text = [
        labelled("search", "search", ""),
        labelled("ads", "ads", "").replace("k8s:sa:server", "k8s:sa:default"),
        GOAL.to_owned(),
        LLAMA.to_owned(),
    ];
    let folder = Folder::with(&[("x.yaml", &file(text.iter().map(String::as_str)))]);
    let render = folder.kleym("render -f . -l team=search");
    assert!(render.out.contains("kleym-llm-search-") && !render.out.contains("kleym-llm-ads-"), "{render}");
    assert_eq!(render.err, "1 binding, 1 identity, 0 errors, 0 warnings\n");
    let lint = folder.kleym("lint -f . -l team=search");
    assert_eq!((lint.out.as_str(), folder.kleym("lint -f .").out.matches("KLM2101").count()), ("", 1));
    let graph = folder.kleym("graph -f . -l team=search -o json");
    let map: serde_json::Value = serde_json::from_str(&graph.out).unwrap();
    let names: Vec<&str> = map["namespaces"][0]["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|node| node["name"].as_str().unwrap())
        .collect();
    assert!(names.contains(&"search") && names.contains(&"llama") && names.contains(&"goal"), "{names:?}");
    assert!(!names.contains(&"ads"), "{names:?}");
    assert_eq!(folder.kleym("graph -f . -l team=").exit, Some(0));
    assert_eq!(folder.kleym("graph -f . -l a=b=c").exit, Some(4));
}

#[test]
fn lint_says_the_numbers_first_as_render_does() {
    let shared = binding("chat", &["k8s:ns:llm", "k8s:sa:default"], VLLM);
    let folder = Folder::with(&[("x.yaml", &file([shared.as_str(), GOAL, LLAMA]))]);
    let program = env!("CARGO_BIN_EXE_kleym");
    for command in ["lint", "render"] {
        let output = std::process::Command::new("sh")
            .args(["-c", &format!("{program} {command} -f . 2>&1")])
            .current_dir(folder.path())
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let place = |what: &str| text.find(what).unwrap_or_else(|| panic!("{what} in {text}"));
        assert!(place("1 binding, 1 identity") < place("warning[KLM2101]"), "{command}: {text}");
    }
}

#[test]
fn pods_in_the_files_are_looked_at_by_lint_too() {
    let pod = |account: &str| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: p, namespace: llm, labels: {{app: llama}}}}\nspec:\n  serviceAccountName: {account}\n  containers: [{{name: vllm, image: x}}]\n"
        )
    };
    let with = |pod: String| Folder::with(&[("x.yaml", &good()), ("p.yaml", &pod)]).kleym("lint -f .");
    assert_eq!(with(pod("server")).out, "");
    let answer = with(pod("other"));
    assert!(answer.out.contains("warning[KLM2110]") && answer.out.contains("x.yaml:12:7"), "{answer}");
    // No pod of the pool need be there.
    assert_eq!(with(pod("server").replace("app: llama", "app: x")).out, "");
}
