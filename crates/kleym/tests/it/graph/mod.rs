//! `kleym graph`: what is drawn, in each language, and what a browser makes of it.

mod browser;
mod chromium;
mod fleet;
mod live;

use insta::assert_snapshot;
use serde_json::Value;

use self::fleet::{binding, fleet, pool};
use crate::run::{Folder, at_the_root};

const EXAMPLES: &str = "graph -f examples/quickstart -f examples/conflict";

#[test]
fn a_map_is_a_mermaid_flowchart() {
    assert_snapshot!(at_the_root(EXAMPLES));
}

#[test]
fn a_map_is_a_dot_graph() {
    assert_snapshot!(at_the_root(&format!("{EXAMPLES} -o dot")));
}

#[test]
fn a_map_is_a_report_in_json() {
    assert_snapshot!(at_the_root(&format!("{EXAMPLES} -o json")));
}

/// The example that has everything in it, pods included.
const EVERYTHING: &str = "graph -f examples/map --clusterspiffeid-class-name spire-spire";

#[test]
fn a_map_with_pods_shows_who_has_what_and_what_is_lost() {
    assert_snapshot!(at_the_root(EVERYTHING));
}

/// The edges of the example that are not simply granted: what, from, to, and why.
#[test]
fn every_kind_of_edge_says_why_it_is_there() {
    let answer = at_the_root(&format!("{EVERYTHING} -o json"));
    let map: Value = serde_json::from_str(&answer.out).unwrap();
    let region = &map["namespaces"][0];
    let name = |id: &Value| {
        let node = region["nodes"].as_array().unwrap().iter().find(|node| node["id"] == *id).unwrap();
        format!("{} {}", node["column"].as_str().unwrap(), node["name"].as_str().unwrap())
    };
    let container = |edge: &Value, end: &str| {
        edge[end].as_str().map(|container| format!("/{container}")).unwrap_or_default()
    };
    let edges: Vec<String> = region["edges"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|edge| edge["link"] != "granted")
        .map(|edge| {
            format!(
                "{}: {}{} -> {}{}: {}",
                edge["link"].as_str().unwrap(),
                name(&edge["from"]),
                container(edge, "fromContainer"),
                name(&edge["to"]),
                container(edge, "toContainer"),
                edge["why"].as_str().unwrap_or_default()
            )
        })
        .collect();
    assert_snapshot!(edges.join("\n"));
}

#[test]
fn a_map_is_drawn_the_same_whatever_the_order_of_the_documents() {
    let world = fleet(120);
    let mut documents: Vec<&str> = world.split("---\n").collect();
    let folder = Folder::with(&[("world.yaml", &world)]);
    documents.reverse();
    folder.put("reversed.yaml", documents.join("---\n").as_bytes());
    for format in ["mermaid", "dot", "html", "json"] {
        let drawn = |file: &str| folder.kleym(&format!("graph -f {file} -o {format}")).out;
        assert_eq!(drawn("world.yaml"), drawn("reversed.yaml"), "{format}");
    }
}

#[test]
fn only_the_chosen_namespace_is_drawn() {
    let folder = Folder::with(&[("world.yaml", &fleet(80))]);
    let map: Value =
        serde_json::from_str(&folder.kleym("graph -f world.yaml -n search -o json").out).unwrap();
    let names: Vec<&Value> =
        map["namespaces"].as_array().unwrap().iter().map(|region| &region["namespace"]).collect();
    assert_eq!(names, ["search"]);
}

#[test]
fn nothing_declared_is_an_empty_map() {
    let folder = Folder::with(&[("none.yaml", "")]);
    assert_snapshot!(folder.kleym("graph -f none.yaml"));
    let html = folder.kleym("graph -f none.yaml -o html");
    assert_eq!(html.exit, Some(0));
    assert!(html.out.contains("Nothing is declared here"));
}

#[test]
fn what_mermaid_would_not_draw_is_said() {
    let folder = Folder::with(&[("world.yaml", &fleet(500))]);
    let answer = folder.kleym("graph -f world.yaml");
    assert_eq!(answer.exit, Some(0));
    assert!(answer.err.starts_with("warning: Mermaid draws at most 500 edges"), "{}", answer.err);
}

#[test]
fn a_file_that_cannot_be_parsed_is_said_and_the_rest_is_drawn() {
    let folder = Folder::with(&[("world.yaml", &fleet(5)), ("broken.yaml", "a: [")]);
    let answer = folder.kleym("graph -f . -o json");
    assert_eq!(answer.exit, Some(2));
    assert!(answer.err.contains("error[KLM9001]") && answer.err.contains("broken.yaml:1"), "{}", answer.err);
    let map: Value = serde_json::from_str(&answer.out).unwrap();
    assert_eq!(map["namespaces"][0]["namespace"], "llm");
}

#[test]
fn in_a_crowded_namespace_only_pairs_that_are_not_disjoint_are_listed() {
    let mut documents = vec![pool("llm", "llama", &["chat"])];
    for number in 0..70 {
        documents.push(binding(
            "llm",
            &format!("b{number:02}"),
            "chat",
            "llama",
            Some(&format!("c{number}")),
        ));
    }
    documents.push(
        binding("llm", "late", "chat", "llama", Some("c7"))
            .replace("targetRef", "spiffeIDTemplate: spiffe://kleym.sonda.red/ns/llm/other\n  targetRef"),
    );
    let folder = Folder::with(&[("crowd.yaml", &documents.join("---\n"))]);
    let map: Value = serde_json::from_str(&folder.kleym("graph -f crowd.yaml -o json").out).unwrap();
    let overlap = &map["namespaces"][0]["overlap"];
    assert_eq!(overlap["complete"], false);
    let pairs = overlap["pairs"].as_array().unwrap();
    let conflicts: Vec<&Value> = pairs.iter().filter(|pair| pair["relation"] == "conflict").collect();
    assert_eq!(conflicts.len(), 1);
    assert_eq!((&conflicts[0]["first"], &conflicts[0]["second"]), (&"b07".into(), &"late".into()));
    assert_eq!(pairs.iter().filter(|pair| pair["relation"] == "disjoint").count(), 0);
}

#[test]
fn files_with_an_output_of_kleyms_are_drawn_as_a_cluster_that_is_there() {
    let output = "\
apiVersion: spire.spiffe.io/v1alpha1
kind: ClusterSPIFFEID
metadata:
  name: left-over
  labels: {kleym.sonda.red/managed-by: kleym}
spec:
  spiffeIDTemplate: spiffe://kleym.sonda.red/ns/llm/left-over
";
    let folder = Folder::with(&[
        ("world.yaml", &fleet(5)),
        ("dump/world.yaml", &fleet(5)),
        ("dump/output.yaml", output),
    ]);
    let missing = |path: &str| {
        let map: Value =
            serde_json::from_str(&folder.kleym(&format!("graph -f {path} -o json")).out).unwrap();
        let nodes = map["namespaces"][0]["nodes"].as_array().unwrap();
        nodes.iter().filter(|node| node["column"] == "output" && node["state"] == "missing").count()
    };
    assert_eq!((missing("world.yaml"), missing("dump")), (0, 2));
}

#[test]
fn what_spire_controller_manager_does_not_watch_is_drawn_as_nothing() {
    let folder = Folder::with(&[("world.yaml", &fleet(5))]);
    let drawn = |flags: &str| {
        let answer =
            folder.kleym(&format!("graph -f world.yaml -o json --clusterspiffeid-class-name ours {flags}"));
        let map: Value = serde_json::from_str(&answer.out).unwrap();
        let edges = map["namespaces"][0]["edges"].as_array().unwrap().clone();
        let last = edges.into_iter().filter(|edge| edge["to"].as_str().unwrap().starts_with("identity"));
        last.map(|edge| {
            format!("{}: {}", edge["link"].as_str().unwrap(), edge["why"].as_str().unwrap_or_default())
        })
        .collect::<Vec<String>>()
    };
    assert!(drawn("").iter().all(|edge| edge == "granted: "), "{:?}", drawn(""));
    let other = drawn("--scm-class-name spire-spire --scm-ignore-namespaces kube-system");
    let nothing = "nothing: spire-controller-manager does not watch its class";
    assert_eq!(other.iter().filter(|edge| *edge == nothing).count(), 2, "{other:?}");
}

#[test]
fn of_pools_of_one_name_in_two_groups_each_says_its_group() {
    let twin = |app: &str| {
        format!(
            "apiVersion: inference.networking.x-k8s.io/v1alpha2\nkind: InferencePool\nmetadata: {{name: llama, namespace: llm}}\nspec:\n  selector: {{app: {app}}}\n"
        )
    };
    let here = "apiVersion: inference.networking.k8s.io/v1\nkind: InferencePool\nmetadata: {name: llama, namespace: llm}\nspec:\n  selector: {matchLabels: {app: one}}\n";
    let lines = |documents: &[&str]| -> Vec<String> {
        let folder = Folder::with(&[("x.yaml", &documents.join("---\n"))]);
        let map: Value = serde_json::from_str(&folder.kleym("graph -f x.yaml -o json").out).unwrap();
        let nodes = map["namespaces"][0]["nodes"].as_array().unwrap();
        nodes.iter().map(|node| node["summary"].as_str().unwrap().to_owned()).collect()
    };
    let [x, own] = ["inference.networking.x-k8s.io", "inference.networking.k8s.io"];
    assert_eq!(lines(&[here, &twin("two")]), [format!("app=one; in {own}"), format!("app=two; in {x}")]);
    // Those that select the same are one pool.
    assert_eq!(lines(&[here, &twin("one")]), [format!("app=one; in {own} and {x}")]);
    assert_eq!(lines(&[here]), ["app=one"]);

    let folder = Folder::with(&[("x.yaml", &[here, &twin("two")].join("---\n"))]);
    let page = folder.kleym("graph -f x.yaml -o html").out;
    assert!(page.contains(&format!("<small>{x}/v1alpha2</small>")), "{page}");
}

#[test]
fn map_and_explanation_of_the_same_files_say_the_same() {
    let container = "vllm           container        spiffe://kleym.sonda.red/ns/inference/objective/chat";
    let answer = at_the_root(
        "explain pod/llama-70b-6d5f8c-4kx9z -n inference -f examples/map --clusterspiffeid-class-name spire-spire",
    );
    assert!(answer.out.contains(container), "{answer}");
    assert!(answer.out.contains("metrics        container        <none>"), "{answer}");
}
