//! Which containers a set of selectors matches: all of them must be among what the agent finds out about the container's
//! process (`spire: pkg/agent/plugin/workloadattestor/k8s/k8s.go`, an entry matches when its selectors are a subset).
//!
//! Regular containers, init containers and native sidecars are found alike (`lookUpContainerInPod` looks through
//! `containerStatuses`, then `initContainerStatuses`).

use super::answer::Answer;
use super::fact::{Container, Pod, Space};

/// Whether a container holds every one of these selectors, given as `type:value`.
pub fn set_matches<'a>(
    items: impl IntoIterator<Item = &'a str>,
    pod: &Pod,
    container: &Container,
    space: Option<&Space>,
) -> Answer {
    let each = items.into_iter().map(|item| item_matches(item, pod, container, space));
    each.fold(Answer::Yes, Answer::and)
}

/// Whether a container holds one selector.
///
/// Sources: `getSelectorValuesFromPodInfo`, `getSelectorValuesFromWorkloadContainerStatus`,
/// `getSelectorValuesFromNamespaceLabels`. What comes from elsewhere (the `unix` attestor, signatures, selectors of other
/// attestors) cannot be told from a pod.
pub fn item_matches(item: &str, pod: &Pod, container: &Container, space: Option<&Space>) -> Answer {
    let Some((key, value)) = item.strip_prefix("k8s:").and_then(|rest| rest.split_once(':')) else {
        return Answer::Unknown;
    };
    match key {
        "ns" => Answer::from(pod.namespace.as_str() == value),
        "sa" => Answer::from(*pod.service_account == *value),
        "pod-name" => Answer::from(pod.name.as_str() == value),
        "pod-uid" => pod.uid.as_ref().map_or(Answer::Unknown, |uid| Answer::from(uid.as_str() == value)),
        // A pod that is not scheduled yet may come to any node.
        "node-name" => pod.node_name.as_deref().map_or(Answer::Unknown, |node| Answer::from(node == value)),
        "pod-label" => label(value, |key| pod.labels.get(key).map(|value| &**value)).into(),
        "ns-label" => namespace_label(value, space),
        "container-name" => Answer::from(*container.name == *value),
        "container-image" => image(container, value),
        "pod-image" => any_image(pod, false, value),
        "pod-init-image" => any_image(pod, true, value),
        "pod-image-count" => count(pod, false, value),
        "pod-init-image-count" => count(pod, true, value),
        "pod-owner" => Answer::from(pod.owners.iter().any(|owner| pair(value, &owner.kind, &owner.name))),
        "pod-owner-uid" => Answer::from(pod.owners.iter().any(|owner| pair(value, &owner.kind, &owner.uid))),
        _ => Answer::Unknown,
    }
}

fn pair(text: &str, first: &str, second: &str) -> bool {
    text.strip_prefix(first).and_then(|rest| rest.strip_prefix(':')) == Some(second)
}

/// Label keys and values hold no colon, so the first one separates them.
fn label<'a>(text: &str, find: impl FnOnce(&str) -> Option<&'a str>) -> bool {
    text.split_once(':').is_some_and(|(key, value)| find(key) == Some(value))
}

/// Labels of the namespace are found only where the agent was told to look for them (`enable_namespace_labels`), so even
/// one that is there is not certain.
fn namespace_label(text: &str, space: Option<&Space>) -> Answer {
    let Some(space) = space else { return Answer::Unknown };
    let there = label(text, |key| space.labels.get(key).map(|value| &**value));
    let known = space.complete || text.split_once(':').is_some_and(|(key, _)| space.labels.contains_key(key));
    if there || !known { Answer::Unknown } else { Answer::No }
}

/// What the kubelet reports: the reference with a tag, and the digest (`getPodImageIdentifiers`). Before it does, nothing
/// is known: it may report another tag of the same digest.
fn image(container: &Container, reference: &str) -> Answer {
    match &container.running {
        Some(running) => Answer::from(*running.image == *reference || *running.id == *reference),
        None => Answer::Unknown,
    }
}

fn any_image(pod: &Pod, init: bool, reference: &str) -> Answer {
    pod.of(init).map(|container| image(container, reference)).fold(Answer::No, Answer::or)
}

/// The number of statuses, which is that of the containers once the kubelet has reported them.
fn count(pod: &Pod, init: bool, number: &str) -> Answer {
    let containers = pod.of(init).count();
    let reported = pod.of(init).filter(|container| container.running.is_some()).count();
    if reported < containers && number.parse::<usize>().is_ok_and(|number| number <= containers) {
        return Answer::Unknown;
    }
    Answer::from(containers.to_string() == number)
}
