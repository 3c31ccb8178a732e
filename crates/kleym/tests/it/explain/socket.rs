//! An entry is no SVID for a container that does not reach the Workload API.

use super::advice::fix;
use super::{Dump, cause, h};

const VOLUME: &str =
    "  volumes: [{name: spiffe-workload-api, csi: {driver: csi.spiffe.io, readOnly: true}}]\n";
const MOUNT: &str =
    "volumeMounts: [{name: spiffe-workload-api, mountPath: /spiffe-workload-api, readOnly: true}]";
const END: &str = "end    the registration ends here; the socket in the container, and the workload itself, are not looked at\n";

/// The pod with what its two containers have beside name and image.
fn mounts(vllm: &str, proxy: &str, volume: &str) -> Dump {
    let more = |text: &str| if text.is_empty() { String::new() } else { format!(", {text}") };
    h().edit("pod.yaml", "image: 'r/vllm:v1'", &format!("image: 'r/vllm:v1'{}", more(vllm)))
        .edit("pod.yaml", "image: 'r/proxy:v1'", &format!("image: 'r/proxy:v1'{}", more(proxy)))
        .edit("pod.yaml", "status:", &format!("{volume}status:"))
}

#[test]
fn a_container_that_does_not_mount_the_socket_is_told_with_who_does() {
    let dump = mounts("volumeMounts: [{name: model-cache, mountPath: /models}]", MOUNT, VOLUME);
    let answer = dump.explain();
    assert_eq!((cause(&answer), answer.exit), (Some("KLM6108"), Some(2)), "{answer}");
    insta::assert_snapshot!(answer);
    let data = dump.kleym("explain pod/vllm-0 -o json");
    assert!(!data.out.contains("\"certain\": true"), "{data}");
    // Followed, it holds; and where the socket is mounted nothing is said of what was not looked at.
    let mended = mounts(MOUNT, MOUNT, VOLUME).explain();
    assert_eq!((cause(&mended), mended.exit), (None, Some(0)), "{mended}");
    assert!(!mended.out.contains(END), "{mended}");
}

#[test]
fn that_another_container_has_its_identity_hides_no_missing_mount() {
    let second = super::BINDING
        .replace("name: chat, namespace", "name: proxy, namespace")
        .replace("uid-of-chat", "uid-of-proxy")
        .replace("{name: chat}", "{name: proxy}")
        .replace("value: vllm", "value: proxy");
    let dump = mounts("", MOUNT, VOLUME)
        .with("second.yaml", &second)
        .with("its.yaml", &super::OBJECTIVE.replace("name: chat", "name: proxy"))
        .without("output.yaml");
    let output = dump.kleym("render --instance default");
    let answer = dump.with("output.yaml", &output.out).explain();
    assert_eq!((cause(&answer), answer.exit), (Some("KLM6108"), Some(2)), "{answer}");
    assert!(answer.out.contains("   = spiffe://example.org/ns/llm/objective/proxy\n"), "{answer}");
}

#[test]
fn a_socket_that_only_the_environment_names_is_missed_too() {
    let env = "env: [{name: SPIFFE_ENDPOINT_SOCKET, value: 'unix:///run/spire/sockets/agent.sock'}]";
    let answer = mounts(env, "", "").explain();
    assert_eq!(cause(&answer), Some("KLM6108"), "{answer}");
    assert_eq!(
        fix(&answer),
        "add a volume of the CSI driver `csi.spiffe.io` of the pod, and mount it at `/run/spire/sockets` in container `vllm`; nothing is wrong with the binding, nor with SPIRE",
        "{answer}"
    );
    // What another volume may hold is not known to be missing.
    let held = format!("{env}, volumeMounts: [{{name: s, mountPath: /run/spire/sockets}}]");
    let answer = mounts(&held, "", "").explain();
    assert_eq!((cause(&answer), answer.exit), (None, Some(0)), "{answer}");
}

#[test]
fn where_nothing_speaks_of_a_socket_it_is_said_where_the_chain_ends() {
    let answer = h().explain();
    assert_eq!((cause(&answer), answer.exit), (None, Some(0)), "{answer}");
    assert!(answer.out.contains(END), "{answer}");
}

#[test]
fn of_an_identity_of_all_containers_one_that_mounts_the_socket_is_enough() {
    let dump = mounts(MOUNT, "", VOLUME)
        .edit(
            "binding.yaml",
            "  containerDiscriminator: {type: ContainerName, value: vllm}",
            "  mode: PoolOnly",
        )
        .without("output.yaml");
    let output = dump.kleym("render --instance default");
    let answer = dump.with("output.yaml", &output.out).explain();
    assert_eq!((cause(&answer), answer.exit), (None, Some(0)), "{answer}");
}
