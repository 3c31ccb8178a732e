//! The map of a live cluster: what is there counts, not what would be; and it costs one list a kind.

use insta::assert_snapshot;
use serde_json::Value;

use super::fleet::pod;
use crate::live::Cluster;
use crate::manifests::{GOAL, LLAMA, chat, homeless};

/// Settings of spire-controller-manager, so that it does not matter which of them other tests put into the cluster.
const SCM: &str =
    "--scm-class-name spire-spire --scm-ignore-namespaces kube-system --scm-watch-classless=true";

#[tokio::test]
async fn in_a_cluster_only_an_output_that_is_there_counts() {
    let cluster = Cluster::with("graph-missing", &homeless(&[&chat(), GOAL, LLAMA])).await;
    cluster.apply(&pod("graph-missing", "llama", 1, &["vllm", "proxy"])).await;
    cluster.settled().await;
    assert_snapshot!(cluster.silent(&format!("graph {SCM}")));
}

#[tokio::test]
async fn the_map_of_a_cluster_costs_one_list_a_kind_and_folds_replicas() {
    let cluster = Cluster::with("graph-live", &homeless(&[&chat(), GOAL, LLAMA])).await;
    for number in 0..3 {
        let pod = pod("graph-live", "llama", number, &["vllm", "proxy"]);
        cluster.apply(&pod.replace("serviceAccountName: llama", "serviceAccountName: server")).await;
    }
    cluster.settled().await;
    let before = cluster.calls().await.len();
    let answer = cluster.silent(&format!("graph -o json {SCM}"));
    assert_eq!(answer.exit, Some(0), "{answer}");
    let calls = cluster.calls().await;
    let mut own = calls[before..].to_vec();
    own.sort();
    // Of ConfigMaps one list for each of a few namespaces where spire-controller-manager may live.
    let maps = own.iter().filter(|call| call.ends_with(" configmaps")).count();
    assert!((1..=8).contains(&maps), "{own:?}");
    own.retain(|call| !call.ends_with(" configmaps"));
    assert_eq!(
        own,
        [
            "list inference.networking.k8s.io/inferenceobjectives",
            "list inference.networking.k8s.io/inferencepools",
            "list inference.networking.x-k8s.io/inferenceobjectives",
            "list inference.networking.x-k8s.io/inferencepools",
            "list kleym.sonda.red/inferenceidentitybindings",
            "list llm-d.ai/inferenceobjectives",
            "list namespaces",
            "list nodes",
            "list pods",
            "list spire.spiffe.io/clusterspiffeids",
        ]
    );
    let map: Value = serde_json::from_str(&answer.out).unwrap();
    assert_eq!(map["podsKnown"], true);
    let nodes = map["namespaces"][0]["nodes"].as_array().unwrap();
    let pods: Vec<&Value> = nodes.iter().filter(|node| node["column"] == "pods").collect();
    assert_eq!((pods.len(), &pods[0]["pods"]), (1, &3.into()));
}
