//! Pods in an Istio mesh: its proxy is to have the identity of the account.

use super::{BINDING, Dump, FALLBACK, cause, h};

const PROXY: &str = "{name: istio-proxy, image: 'r/proxyv2:1', restartPolicy: Always}";

fn in_the_mesh() -> Dump {
    h().edit("pod.yaml", "{name: proxy, image: 'r/proxy:v1', restartPolicy: Always}", PROXY)
        .with("default.yaml", FALLBACK)
}

/// The binding with another spec, and its output as it is rendered.
fn bound(dump: Dump, binding: &str) -> Dump {
    let dump = dump.without("binding.yaml").without("output.yaml").with("binding.yaml", binding);
    let output = dump.kleym("render");
    dump.with("output.yaml", &output.out)
}

fn of_the_whole_pool() -> String {
    BINDING
        .replace("spec:", "spec:\n  mode: PoolOnly")
        .replace("  containerDiscriminator: {type: ContainerName, value: vllm}\n", "")
}

#[test]
fn a_binding_of_the_whole_pod_is_to_keep_the_id_of_the_account() {
    let dump = bound(in_the_mesh(), &of_the_whole_pool());
    let answer = dump.explain();
    for said in [
        "warning[KLM7101]: pod `vllm-0` has Istio's proxy, which authorises on `ns/<namespace>/sa/<service account>`; `llm/chat` replaces that by `spiffe://example.org/ns/llm/pool/llama`, for the proxy too",
        "set `spiffeIDTemplate: spiffe://{{ .TrustDomain }}/ns/{{ .Namespace }}/sa/llama` in `llm/chat`",
        "an identity of the proxy's own BESIDE this one would not do",
    ] {
        assert!(answer.err.contains(said), "{said}: {answer}");
    }
    // Who does so hears no more of it.
    let template = "spec:\n  spiffeIDTemplate: 'spiffe://{{ .TrustDomain }}/ns/{{ .Namespace }}/sa/llama'";
    let mended = bound(in_the_mesh(), &of_the_whole_pool().replace("spec:", template)).explain();
    assert_eq!((cause(&mended), mended.exit), (None, Some(0)), "{mended}");
    assert!(!format!("{mended}").contains("KLM7101"), "{mended}");
}

#[test]
fn a_binding_of_another_container_wants_one_of_the_proxy() {
    let answer = in_the_mesh().explain();
    for said in [
        "`llm/chat` gives another container `spiffe://example.org/ns/llm/objective/chat`, and a fallback identity steps aside for the whole pod, the proxy's too",
        "by a binding of its own, with `containerDiscriminator: {type: ContainerName, value: istio-proxy}` and `spiffeIDTemplate: spiffe://{{ .TrustDomain }}/ns/{{ .Namespace }}/sa/llama`",
    ] {
        assert!(answer.err.contains(said), "{said}: {answer}");
    }
    let own = BINDING
        .replace("name: chat, namespace", "name: proxy, namespace")
        .replace("uid-of-chat", "uid-of-proxy")
        .replace("value: vllm", "value: istio-proxy")
        .replace(
            "spec:",
            "spec:\n  spiffeIDTemplate: 'spiffe://{{ .TrustDomain }}/ns/{{ .Namespace }}/sa/llama'",
        );
    let mended = in_the_mesh().without("output.yaml").with("proxy.yaml", &own);
    let outputs = mended.kleym("render");
    let mended = mended.with("output.yaml", &outputs.out).explain();
    assert!(!format!("{mended}").contains("KLM7101"), "{mended}");
    assert!(
        mended.out.contains("istio-proxy   sidecar     spiffe://example.org/ns/llm/sa/llama"),
        "{mended}"
    );
}
