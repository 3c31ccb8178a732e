//! What there is to say of the pods that an identity is meant for: whether there are any, and whether its selectors fit them.

use super::agent::unserved;
use super::code::Code;
use super::count::Count;
use super::finding::{Finding, binding_key};
use super::live::{about, names, object_reference};
use super::place;
use super::scene::Scene;
use crate::fact::Binding;
use crate::render::Identity;
use crate::selector::ItemKey;
use crate::spire::{Answer, Container, Pod, Why, item_matches};
use crate::text::{Quoted, quoted_list};

/// Whether the selectors fit the pods there are.
pub fn workloads(scene: &Scene<'_>, binding: &Binding, identity: &Identity) -> Vec<Finding> {
    if !scene.pods_known {
        return Vec::new();
    }
    let mut selected = scene.selected(&binding.key, identity);
    selected.retain(|pod| !pod.phase.ended());
    if selected.is_empty() && !scene.pods_complete {
        return Vec::new();
    }
    if selected.is_empty() {
        let message = format!(
            "no pod of namespace `{}` has the labels that `{}` selects",
            binding.key.namespace, binding.key
        );
        let labels: Vec<String> = identity.selectors.pod_labels().map(|(k, v)| format!("{k}={v}")).collect();
        let hint = format!("see `kubectl get pods -n {} -l {}`", binding.key.namespace, labels.join(","));
        return vec![about(Code::NoPodSelected, binding, message).hint(hint)];
    }
    let mut found = Vec::new();
    let failures = scene.fate(&binding.key).map(|(place, _)| scene.prediction.failures_by(place));
    let unscheduled = failures.unwrap_or_default().iter().filter(|failure| failure.why == Why::Unscheduled);
    // A pod that only stands in a file is on no node.
    let pending = unscheduled.map(|failure| &scene.world.pods[failure.pod]).filter(|_| scene.pods_complete);
    let pending: Vec<&Pod> = pending.collect();
    if !pending.is_empty() {
        let message = format!(
            "{} of `{}` {} not on a node yet, so there is no entry yet",
            names(pending.iter().copied()),
            binding.key,
            if pending.len() == 1 { "is" } else { "are" }
        );
        found.push(about(Code::PodsPending, binding, message).with_pods(pending));
    }
    found.extend(unrendered(scene, binding));
    found.extend(unserved(scene, binding));
    let account = identity.selectors.service_account();
    let with_account: Vec<&Pod> =
        selected.iter().copied().filter(|pod| &*pod.service_account == account).collect();
    if with_account.is_empty() {
        let mut accounts: Vec<&str> = selected.iter().map(|pod| &*pod.service_account).collect();
        accounts.sort_unstable();
        accounts.dedup();
        let message = format!(
            "no pod that `{}` selects runs as service account `{account}`; they run as {}",
            binding.key,
            quoted_list(accounts.iter().copied())
        );
        let item = format!("k8s:sa:{account}");
        let mut finding = about(Code::AccountNotUsed, binding, message)
            .at(binding_key(&binding.key), place::of_item(binding, &item));
        finding.hint = Some(match accounts.as_slice() {
            [only] => format!(
                "name it in the binding: `k8s:sa:{only}`, or set `serviceAccountName: {account}` in the pods"
            ),
            _ => format!("set `serviceAccountName: {account}` in the pods"),
        });
        found.push(finding.with_pods(selected));
    } else {
        found.extend(unmatched(scene, binding, identity, &with_account));
    }
    found
}

/// Pods that are on a node and get no entry all the same.
fn unrendered(scene: &Scene<'_>, binding: &Binding) -> Option<Finding> {
    let (place, _) = scene.fate(&binding.key)?;
    let failures = scene.prediction.failures_by(place).iter();
    // Of a trust domain that is not SCM's is told once, not of every pod.
    let mut failures =
        failures.filter(|failure| !matches!(failure.why, Why::Unscheduled | Why::TrustDomain(_)));
    let first = failures.next()?;
    let (mut message, hint) = no_entry(&scene.world.pods[first.pod], &first.why);
    let more = failures.count();
    if more > 0 {
        message = format!("{message}; and so it is with {more} more of the pods");
    }
    let finding = about(Code::EntryNotRendered, binding, message).hint(hint);
    Some(finding.with(object_reference(&scene.object(place).name)).with_pods([&scene.world.pods[first.pod]]))
}

/// Why a pod gets no entry, and what to do.
pub fn no_entry(pod: &Pod, why: &Why) -> (String, String) {
    match why {
        Why::Unscheduled => (
            format!("pod `{}` is on no node yet, so there is no entry for it", pod.name),
            format!("see why it is not scheduled: `kubectl describe pod {} -n {}`", pod.name, pod.namespace),
        ),
        Why::NoNode(node) => (
            format!(
                "the node {} of pod `{}` does not exist, so no agent can serve it",
                Quoted(node),
                pod.name
            ),
            "see `kubectl get nodes`".to_owned(),
        ),
        Why::NoSpiffeId(text) | Why::TrustDomain(text) | Why::NoSelector(text) => (
            format!("spire-controller-manager cannot use {}", Quoted(text)),
            "see the log of spire-controller-manager".to_owned(),
        ),
    }
}

/// Whether any container of the pods holds an item.
pub fn anyone_holds(scene: &Scene<'_>, item: &str, pods: &[&Pod]) -> Answer {
    let each = pods.iter().flat_map(|pod| pod.containers.iter().map(|container| (*pod, container)));
    each.map(|(pod, container)| holds(scene, item, pod, container, pods)).fold(Answer::No, Answer::or)
}

/// Whether any container of the pods holds all of the items.
pub fn anyone_holds_all(scene: &Scene<'_>, identity: &Identity, pods: &[&Pod]) -> Answer {
    let each = pods.iter().flat_map(|pod| pod.containers.iter().map(|container| (*pod, container)));
    let all = each.map(|(pod, container)| {
        let items = identity.selectors.texts().map(|item| holds(scene, item, pod, container, pods));
        items.fold(Answer::Yes, Answer::and)
    });
    all.fold(Answer::No, Answer::or)
}

/// Whether a container holds an item. What a container that has not started will be reported to run is told by its peers:
/// where others have a report, one counts only when it is written as what is looked for, and no peer is written like it.
fn holds(scene: &Scene<'_>, item: &str, pod: &Pod, container: &Container, peers: &[&Pod]) -> Answer {
    let answer = item_matches(item, pod, container, scene.world.space(pod));
    let Some(image) = item.strip_prefix(IMAGE).filter(|_| answer == Answer::Unknown) else { return answer };
    let mut reported = peers.iter().flat_map(|pod| &pod.containers).filter(|peer| peer.running.is_some());
    if reported.clone().next().is_none() {
        return answer;
    }
    let like_a_peer = reported.any(|peer| peer.image == container.image);
    if like_a_peer || !written_as(&container.image, image) { Answer::No } else { answer }
}

/// Whether an image of a pod's spec may be reported as another one: of the same name, and the same tag where that has one.
fn written_as(written: &str, reported: &str) -> bool {
    let last = |image: &str| image.rsplit('/').next().unwrap_or_default().to_owned();
    let (written, reported) = (last(written), last(reported));
    let name = |image: &str| image.split(['@', ':']).next().unwrap_or_default().to_owned();
    let digest = written.contains('@') || reported.contains('@');
    if digest { name(&written) == name(&reported) } else { written == reported }
}

/// How a selector for the image of a container begins.
const IMAGE: &str = "k8s:container-image:";

/// An item beside the service account that no container of the pods holds.
fn unmatched(scene: &Scene<'_>, binding: &Binding, identity: &Identity, pods: &[&Pod]) -> Option<Finding> {
    let items = identity.selectors.items();
    let item = items.iter().find(|item| {
        item.key() != ItemKey::ServiceAccount && !anyone_holds(scene, item.as_str(), pods).possible()
    })?;
    let there: Vec<&str> = match item.key() {
        ItemKey::ContainerName => pods.iter().flat_map(|pod| &pod.containers).map(|c| &*c.name).collect(),
        ItemKey::ContainerImage => pods
            .iter()
            .flat_map(|pod| &pod.containers)
            .filter_map(|container| container.running.as_ref())
            .flat_map(|image| [&*image.image, &*image.id])
            .collect(),
        _ => Vec::new(),
    };
    let mut there: Vec<&str> = there;
    there.sort_unstable();
    there.dedup();
    let list = match there.as_slice() {
        [] => "none is known".to_owned(),
        there => format!("they are {}", quoted_list(there.iter().copied())),
    };
    let message = match item.key() {
        ItemKey::ContainerName => format!(
            "no container of the pods that `{}` selects is called {}; {list}",
            binding.key,
            Quoted(item.value())
        ),
        _ => {
            let counts = Count::of(item.as_str()).zip(pods.first()).map(|(count, pod)| count.says(pod));
            let are = match counts {
                Some(counts) => format!(": {counts}"),
                None if there.is_empty() => String::new(),
                None => format!("; {list}"),
            };
            format!(
                "no container of the pods that `{}` selects has {}{are}",
                binding.key,
                Quoted(item.as_str())
            )
        }
    };
    let code = match item.key() {
        ItemKey::ContainerName | ItemKey::ContainerImage => Code::NoSuchContainer,
        _ => Code::NothingMatches,
    };
    let field = place::selector_field(binding, item.as_str());
    let finding = about(code, binding, message).at(binding_key(&binding.key), field);
    let count = Count::of(item.as_str()).map(|count| count.hint(binding, identity, pods));
    let hint = count.unwrap_or_else(|| "correct the binding, or the pods".to_owned());
    Some(finding.hint(hint).with_pods(pods.iter().copied()))
}
