//! Pods, nodes, namespaces, foreign ClusterSPIFFEIDs and the configuration of spire-controller-manager.

use kleym_api::decode;
use kleym_core::name::Namespace;
use kleym_core::spire::{Answer, ContainerKind, NotWatched, Phase, Problem, Registration};
use serde_json::{Value, json};

fn pod() -> Value {
    json!({
        "metadata": {
            "namespace": "llm", "name": "vllm-0", "uid": "u-1", "labels": {"app": "vllm"},
            "ownerReferences": [{"kind": "ReplicaSet", "name": "vllm", "uid": "r-1"}, 7],
        },
        "spec": {
            "serviceAccountName": "llama", "nodeName": "gpu-14",
            "containers": [{"name": "vllm", "image": "r/vllm:v1"}, {"name": "proxy", "image": "r/proxy:v1"}],
            "initContainers": [
                {"name": "fetch", "image": "r/fetch:v1"},
                {"name": "istio-proxy", "image": "r/istio:v1", "restartPolicy": "Always"},
            ],
            "ephemeralContainers": [{"name": "debug", "image": "r/debug"}],
        },
        "status": {
            "phase": "Running",
            "containerStatuses": [
                {"name": "vllm", "image": "r/vllm:v1", "imageID": "r/vllm@sha256:aa"},
                {"name": "proxy", "image": "r/proxy:v1", "imageID": ""},
            ],
        },
    })
}

#[test]
fn a_pod_has_its_containers_by_kind_with_what_the_kubelet_reported() {
    let pod = decode::pod(&pod(), None).expect("a pod");
    let containers: Vec<_> = pod
        .containers
        .iter()
        .map(|c| (&*c.name, c.kind, c.running.as_ref().map(|image| &*image.id)))
        .collect();
    assert_eq!(
        containers,
        [
            ("vllm", ContainerKind::Regular, Some("r/vllm@sha256:aa")),
            ("proxy", ContainerKind::Regular, None),
            ("fetch", ContainerKind::Init, None),
            ("istio-proxy", ContainerKind::Sidecar, None),
        ]
    );
    assert_eq!(
        (&*pod.service_account, pod.node_name.as_deref(), pod.phase),
        ("llama", Some("gpu-14"), Phase::Running)
    );
    assert_eq!(pod.owners.len(), 1);
    assert!(pod.istio);
}

#[test]
fn a_pod_that_says_nothing_is_what_the_api_server_would_make_of_it() {
    let home = Namespace::parse("llm").expect("a namespace");
    let bare = json!({"metadata": {"name": "x"}, "spec": {"containers": "none"}, "status": []});
    let pod = decode::pod(&bare, Some(&home)).expect("a pod");
    assert_eq!(
        (&*pod.service_account, pod.namespace.as_str(), pod.phase),
        ("default", "llm", Phase::Unknown)
    );
    assert!(pod.containers.is_empty() && pod.node_name.is_none() && !pod.istio);
    assert!(decode::pod(&json!({"metadata": {"name": "x"}}), None).is_err());
}

#[test]
fn a_namespace_always_carries_its_name_as_a_label() {
    let space =
        decode::space(&json!({"metadata": {"name": "llm", "labels": {"team": "a"}}}), true).expect("one");
    assert_eq!(space.labels.get("kubernetes.io/metadata.name").map(|name| &**name), Some("llm"));
    assert!(space.complete && space.labels.len() == 2);
    assert!(
        decode::node(&json!({"metadata": {"name": "gpu-14", "uid": "n"}}))
            .is_ok_and(|node| node.uid.is_some())
    );
}

fn registration(spec: Value) -> Registration {
    let mut object =
        json!({"metadata": {"name": "x", "uid": "u", "creationTimestamp": "2026-11-21T03:00:00Z"}});
    object["spec"] = spec;
    decode::registration(&object).expect("a name is enough")
}

#[test]
fn what_spire_controller_manager_stumbles_over_is_named() {
    let id = "spiffe://example.org/x";
    for (spec, problem) in [
        (json!({"spiffeIDTemplate": id}), None),
        (json!({}), Some("is empty")),
        (json!({"spiffeIDTemplate": "{{ .PodMeta.Name"}), Some("nothing closes")),
        (json!({"spiffeIDTemplate": id, "dnsNameTemplates": ["{{"]}), Some("nothing closes")),
        (json!({"spiffeIDTemplate": id, "ttl": "5d"}), Some("`spec.ttl` cannot be decoded")),
        (json!({"spiffeIDTemplate": id, "ttl": "1h", "jwtTtl": 5}), Some("`spec.jwtTtl`")),
        (json!({"spiffeIDTemplate": id, "federatesWith": ["spiffe://other.org/x", "b.org"]}), None),
        (json!({"spiffeIDTemplate": id, "federatesWith": ["A.org"]}), Some("no trust domain")),
        (json!({"spiffeIDTemplate": id, "podSelector": {"matchLabels": {"a/b/c": "x"}}}), Some("`a/b/c`")),
        (
            json!({"spiffeIDTemplate": id, "namespaceSelector": {"matchExpressions": [{"key": "a", "operator": "Is"}]}}),
            Some("`Is`"),
        ),
    ] {
        let found = registration(spec.clone()).problem.map(|problem| problem.to_string());
        match (found, problem) {
            (None, None) => {}
            (Some(found), Some(problem)) if found.contains(problem) => {}
            (found, _) => panic!("{spec}: {found:?}"),
        }
    }
    let poison = registration(json!({"spiffeIDTemplate": "", "ttl": "5d"})).problem;
    assert!(matches!(poison, Some(Problem::Poison { .. })), "one that stops everything is the one to tell");
}

#[test]
fn null_and_empty_selectors_select_everything() {
    for selector in [json!(null), json!({}), json!({"matchLabels": {}, "matchExpressions": null})] {
        let object = registration(json!({"spiffeIDTemplate": "spiffe://a/b", "podSelector": selector}));
        assert!(object.pods.is_none_or(|pods| pods.rules().is_empty()) && object.problem.is_none());
    }
}

#[test]
fn the_configuration_file_says_which_classes_and_namespaces_count() {
    let file = json!({
        "kind": "ControllerManagerConfig", "className": "spire-spire", "trustDomain": "example.org",
        "ignoreNamespaces": ["kube-system", "^openshift-.*"],
    });
    let manager = decode::manager(&file).expect("the file");
    assert_eq!(manager.ignores("my-kube-system-2").0, Answer::Yes);
    assert_eq!(manager.watches(&Registration::default()), (Answer::No, Some(NotWatched::Classless)));
    let bare = decode::manager(&json!({"kind": "ControllerManagerConfig"})).expect("the file");
    assert_eq!(bare.ignores("spire-system").0, Answer::Yes);
    assert_eq!(bare.watches(&Registration::default()).0, Answer::Yes);
    assert!(decode::manager(&json!({"kind": "ConfigMap"})).is_none());
}
