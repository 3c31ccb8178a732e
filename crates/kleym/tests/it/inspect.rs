//! `kleym inspect`: one binding from every side.

use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::live::Cluster;
use crate::manifests::{ENOUGH, GOAL, LLAMA, VLLM, binding, chat, file, good, homeless};
use crate::run::{Folder, at_the_root};

/// A pod of the pool.
fn pod(name: &str, labels: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata:\n  name: {name}\n  labels: {{{labels}}}\nspec:\n  serviceAccountName: server\n  containers: [{{name: vllm, image: vllm}}]\n"
    )
}

#[test]
fn files_are_enough_and_pods_in_them_count() {
    let folder = Folder::with(&[(
        "x.yaml",
        &file([good().as_str(), &pod("p", "app: llama"), &pod("other", "app: x")]),
    )]);
    assert_snapshot!(folder.kleym("inspect binding/chat -f x.yaml -n llm"));
}

#[test]
fn peers_are_shown_with_what_proves_them_apart() {
    assert_snapshot!(at_the_root("inspect binding chat -f examples/quickstart -f examples/conflict"));
}

#[test]
fn a_drifted_output_is_shown_value_by_value() {
    let broken = crate::explain::all_broken();
    let (_, dump) = broken.into_iter().find(|(name, _)| *name == "the_output_was_edited").unwrap();
    let dump = dump
        .edit("output.yaml", "      app: vllm", "      app: vllm\n      pod-template-hash: 6c4f8d7b5c")
        .edit("output.yaml", "hint: llm/chat", "hint: llm/other");
    assert_snapshot!("drifted", dump.kleym("inspect binding/chat"));
    let report: Value = serde_json::from_str(&dump.kleym("inspect binding/chat -o json").out).unwrap();
    let expected = json!([
        {"field": "spec.podSelector", "found": ["pod-template-hash: 6c4f8d7b5c"]},
        {"field": "spec.fallback", "found": ["true"], "wanted": ["false"]},
        {"field": "spec.hint", "found": ["llm/other"], "wanted": ["llm/chat"]},
        {"field": "spec (fields Kleym never writes)", "found": ["admin"]},
    ]);
    assert_eq!(report["output"]["differences"], expected);
}

#[test]
fn a_binding_that_is_not_there_is_not_found_and_another_kind_is_wrong_usage() {
    let folder = Folder::with(&[("x.yaml", &good())]);
    assert_snapshot!("not_found", folder.kleym("inspect binding none -f x.yaml -n llm"));
    assert_snapshot!("no_binding", folder.kleym("inspect pod chat -f x.yaml"));
    for same in ["iib/chat", "bindings chat", "inferenceidentitybinding.kleym.sonda.red/chat"] {
        assert_eq!(folder.kleym(&format!("inspect {same} -f x.yaml")).exit, Some(0), "{same}");
    }
}

#[tokio::test]
async fn what_was_declared_reported_and_written_stand_side_by_side() {
    let second = binding("second", &ENOUGH, &VLLM.replace("vllm", "proxy"));
    let objects = homeless(&[&chat(), &second, GOAL, LLAMA]);
    let cluster = Cluster::with("inspect-all", &objects).await;
    cluster.apply("apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: server}\n").await;
    cluster.apply(&pod("vllm-1", "app: llama")).await;
    let live: Value = serde_json::from_str(&cluster.silent("inspect binding chat -o json").out).unwrap();
    assert_eq!(live["output"]["state"], "Missing");
    // The output as an operator would write it, but for one selector, and with what SPIRE counted.
    let dump = cluster.dump("chat").await;
    cluster.folder.put("dump.json", dump.to_string().as_bytes());
    cluster.folder.put("rest.yaml", objects.split_once("---\n").unwrap().1.as_bytes());
    let rendered = cluster.folder.kleym("render -f dump.json -f rest.yaml -n inspect-all -o json");
    let rendered: Value = serde_json::from_str(&rendered.out).unwrap();
    let mut output = rendered["items"][0].clone();
    output["spec"]["workloadSelectorTemplates"].as_array_mut().unwrap().pop();
    cluster.apply(&output.to_string()).await;
    cluster
        .counted(output["metadata"]["name"].as_str().unwrap(), json!({"podsSelected": 1, "entriesToSet": 1}))
        .await;
    assert_snapshot!(cluster.silent("inspect binding chat"));
    let calls = cluster.calls().await;
    assert!(calls.iter().all(|call| call.starts_with("list ")), "{calls:?}");
}
