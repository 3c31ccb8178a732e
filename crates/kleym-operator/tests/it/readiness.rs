//! From a binding to its output, in both modes: the output, and what the status says of it, to the last field.

use kleym_core::kind::Kind;
use serde_json::{Value, json};

use crate::world::{World, granted, objective, per_objective, pool, pool_only, status_of};

/// Everything of an output but what the API server gives.
fn written(mut output: Value) -> Value {
    let metadata = output["metadata"].as_object_mut().unwrap();
    for field in ["uid", "resourceVersion", "creationTimestamp", "generation", "managedFields"] {
        metadata.remove(field).unwrap();
    }
    output
}

#[tokio::test]
async fn a_binding_in_either_mode_becomes_ready_with_exactly_the_output_of_the_contract() {
    let world = World::named("llm", "default").await;
    let _operator = world.operator().await;
    let labels = [("app", "vllm"), ("example.com/model", "llama")];
    world.create_all([pool("llama", &labels), objective("chat-premium", "llama")]).await;
    let chat = world.create(per_objective("chat", "chat-premium", "vllm")).await;
    let servers = world.create(pool_only("servers", "chat-premium")).await;
    let (chat_ready, servers_ready) = (world.ready("chat").await, world.ready("servers").await);

    let chat_name = "kleym-llm-chat-0209df3f4b3cf337565dc75f8ceb90b8";
    let chat_id = "spiffe://kleym.sonda.red/ns/llm/objective/chat-premium";
    let chat_selectors = json!([
        "k8s:container-name:vllm",
        "k8s:ns:llm",
        "k8s:pod-label:app:vllm",
        "k8s:pod-label:example.com/model:llama",
        "k8s:sa:model-server",
    ]);
    let output = world.get(Kind::Output, chat_name).await;
    assert_eq!(
        written(output.clone()),
        json!({
            "apiVersion": "spire.spiffe.io/v1alpha1",
            "kind": "ClusterSPIFFEID",
            "metadata": {
                "name": chat_name,
                "labels": {
                    "kleym.sonda.red/managed-by": "kleym",
                    "kleym.sonda.red/instance": "default",
                    "kleym.sonda.red/binding-namespace": "llm",
                    "kleym.sonda.red/binding-name": "chat",
                },
                "annotations": {
                    "kleym.sonda.red/binding": "llm/chat",
                    "kleym.sonda.red/binding-uid": chat["metadata"]["uid"],
                },
            },
            "spec": {
                "spiffeIDTemplate": chat_id,
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "llm"}},
                "podSelector": {"matchLabels": {"app": "vllm", "example.com/model": "llama"}},
                "workloadSelectorTemplates": chat_selectors,
                "fallback": false,
                "hint": "llm/chat",
            },
        })
    );
    let message = format!("ClusterSPIFFEID `{chat_name}` grants `{chat_id}`");
    assert_eq!(
        status_of(&chat_ready),
        json!({
            "observedGeneration": 1,
            "conditions": granted(1, &message),
            "computedSpiffeIDs": [{"mode": "PerObjective", "spiffeID": chat_id}],
            "renderedSelectors": [{"spiffeID": chat_id, "selectors": chat_selectors}],
            "renderedClusterSPIFFEID": {
                "name": chat_name,
                "uid": output["metadata"]["uid"],
                "spiffeID": chat_id,
                "selectorFingerprint":
                    "sha256:9d065e5d43756b2cd056a8d338d7d7fa0031cde2b0e27c00e7390ad489488a00",
                "observedGeneration": 1,
            },
            "trustDomain": "kleym.sonda.red",
            "instance": "default",
        })
    );
    assert_eq!(
        chat_ready["metadata"]["finalizers"],
        json!(["kleym.sonda.red/inferenceidentitybinding-finalizer"])
    );

    let servers_name = "kleym-llm-servers-3e6b2fb7424e74f35e5932cddb657355";
    let servers_id = "spiffe://kleym.sonda.red/ns/llm/pool/llama";
    let servers_selectors = json!([
        "k8s:ns:llm",
        "k8s:pod-label:app:vllm",
        "k8s:pod-label:example.com/model:llama",
        "k8s:sa:model-server",
    ]);
    let output = world.get(Kind::Output, servers_name).await;
    assert_eq!(
        written(output.clone()),
        json!({
            "apiVersion": "spire.spiffe.io/v1alpha1",
            "kind": "ClusterSPIFFEID",
            "metadata": {
                "name": servers_name,
                "labels": {
                    "kleym.sonda.red/managed-by": "kleym",
                    "kleym.sonda.red/instance": "default",
                    "kleym.sonda.red/binding-namespace": "llm",
                    "kleym.sonda.red/binding-name": "servers",
                },
                "annotations": {
                    "kleym.sonda.red/binding": "llm/servers",
                    "kleym.sonda.red/binding-uid": servers["metadata"]["uid"],
                },
            },
            "spec": {
                "spiffeIDTemplate": servers_id,
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "llm"}},
                "podSelector": {"matchLabels": {"app": "vllm", "example.com/model": "llama"}},
                "workloadSelectorTemplates": servers_selectors,
                "fallback": false,
                "hint": "llm/servers",
            },
        })
    );
    let message = format!("ClusterSPIFFEID `{servers_name}` grants `{servers_id}`");
    assert_eq!(
        status_of(&servers_ready),
        json!({
            "observedGeneration": 1,
            "conditions": granted(1, &message),
            "computedSpiffeIDs": [{"mode": "PoolOnly", "spiffeID": servers_id}],
            "renderedSelectors": [{"spiffeID": servers_id, "selectors": servers_selectors}],
            "renderedClusterSPIFFEID": {
                "name": servers_name,
                "uid": output["metadata"]["uid"],
                "spiffeID": servers_id,
                "selectorFingerprint":
                    "sha256:a99eac44cb40d2ec85971bc879e59be6b4e94836d94f297e35a88bb139793478",
                "observedGeneration": 1,
            },
            "trustDomain": "kleym.sonda.red",
            "instance": "default",
        })
    );
}

#[tokio::test]
async fn the_configuration_of_the_operator_is_in_the_output_and_in_the_status() {
    let world = World::named("classy", "blue").await;
    let flags = [
        "--trust-domain=example.org",
        "--clusterspiffeid-class-name=spire-server-spire",
        "--path-grant=classy=/teams/classy",
        "--path-grant=elsewhere=/teams/elsewhere",
        "--path-grant=classy=/legacy",
    ];
    let _operator = world.operator_with(&flags).await;
    world.create_all([pool("llama", &[("app", "vllm")]), objective("chat", "llama")]).await;
    let templates = json!(["k8s:ns:{{ .Namespace }}", "k8s:sa:model-server", "k8s:pod-label:tier:gold"]);
    let binding = pool_only("chat", "chat")
        .with("/spec/workloadSelectorTemplates", templates)
        .with("/spec/spiffeIDTemplate", json!("spiffe://{{ .TrustDomain }}/teams/classy/{{- .PoolName }}"));
    world.create(binding).await;
    let ready = world.ready("chat").await;
    let output = world.output("chat").await;
    let id = "spiffe://example.org/teams/classy/llama";
    let selectors =
        json!(["k8s:ns:classy", "k8s:pod-label:app:vllm", "k8s:pod-label:tier:gold", "k8s:sa:model-server"]);
    let name = "kleym-classy-chat-f836ea36d7a56557efb788f40a24df5d";
    assert_eq!(
        output["spec"],
        json!({
            "spiffeIDTemplate": id,
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "classy"}},
            "podSelector": {"matchLabels": {"app": "vllm", "tier": "gold"}},
            "workloadSelectorTemplates": selectors,
            "className": "spire-server-spire",
            "fallback": false,
            "hint": "classy/chat",
        })
    );
    assert_eq!(
        output["metadata"]["labels"],
        json!({
            "kleym.sonda.red/managed-by": "kleym",
            "kleym.sonda.red/instance": "blue",
            "kleym.sonda.red/binding-namespace": "classy",
            "kleym.sonda.red/binding-name": "chat",
            "spire.spiffe.io/class-name": "spire-server-spire",
        })
    );
    assert_eq!(
        status_of(&ready),
        json!({
            "observedGeneration": 1,
            "conditions": granted(1, &format!("ClusterSPIFFEID `{name}` grants `{id}`")),
            "computedSpiffeIDs": [{"mode": "PoolOnly", "spiffeID": id}],
            "renderedSelectors": [{"spiffeID": id, "selectors": selectors}],
            "renderedClusterSPIFFEID": {
                "name": name,
                "uid": output["metadata"]["uid"],
                "spiffeID": id,
                "selectorFingerprint":
                    "sha256:145847d5440db72773df4a659c1de715dbf9009f6d38b0d27a318da86427d99c",
                "observedGeneration": 1,
            },
            "trustDomain": "example.org",
            "clusterSPIFFEIDClassName": "spire-server-spire",
            "instance": "blue",
            "pathGrants": ["/legacy", "/teams/classy"],
        })
    );
}

#[tokio::test]
async fn bindings_with_the_longest_names_become_ready_and_can_be_deleted() {
    let world = World::new("long").await;
    let _operator = world.operator().await;
    world.create_all([pool("llama", &[("app", "vllm")]), objective("chat", "llama")]).await;
    let names = ["n".repeat(64), format!("{}.{}", "a".repeat(200), "b".repeat(52))];
    for (name, container) in names.iter().zip(["one", "two"]) {
        world.create(per_objective(name, "chat", container)).await;
    }
    for name in &names {
        world.ready(name).await;
        let output = world.output(name).await;
        let label = output["metadata"]["labels"]["kleym.sonda.red/binding-name"].as_str().unwrap();
        assert_eq!((label.len(), label.as_bytes()[46]), (63, b'_'));
        let hint = output["spec"]["hint"].as_str().unwrap();
        assert!(hint.len() <= 255 && hint.starts_with(&format!("{}/", world.namespace)), "{hint}");
        let annotation = &output["metadata"]["annotations"]["kleym.sonda.red/binding"];
        assert_eq!(*annotation, format!("{}/{name}", world.namespace));
    }
    for name in &names {
        world.delete(Kind::Binding, name).await;
        world.gone(Kind::Binding, name).await;
        assert_eq!(world.find_output(name).await, None);
    }
}
