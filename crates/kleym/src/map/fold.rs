//! Replicas folded: pods that are alike, and are given the same, are one group. Pods that are given different things are
//! never one group, however alike they look.

use std::collections::BTreeMap;

use super::seen::{Given, Pod};

/// Labels that tell replicas of one template apart.
const OF_ONE_REPLICA: [&str; 6] = [
    "apps.kubernetes.io/pod-index",
    "batch.kubernetes.io/job-completion-index",
    "controller-revision-hash",
    "leaderworkerset.sigs.k8s.io/worker-index",
    "pod-template-hash",
    "statefulset.kubernetes.io/pod-name",
];

/// Pods that are alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Group {
    /// What they are called together.
    pub(super) name: String,
    /// What owns them: a kind, empty when nothing does.
    pub(super) owner: String,
    /// Their names.
    pub(super) pods: Vec<String>,
    /// What each of them is and is given; the name is the first one's.
    pub(super) like: Pod,
}

/// What makes pods replicas of each other.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Likeness<'a> {
    name: &'a str,
    owner: &'a str,
    service_account: &'a str,
    labels: Vec<(&'a str, &'a str)>,
    selected_by: &'a [String],
    containers: &'a [Given],
}

/// Folds the pods of one namespace.
pub(super) fn fold<'a>(pods: impl IntoIterator<Item = &'a Pod>) -> Vec<Group> {
    let mut groups: BTreeMap<Likeness<'_>, Vec<&Pod>> = BTreeMap::new();
    for pod in pods {
        groups.entry(likeness(pod)).or_default().push(pod);
    }
    let folded = groups.into_iter().map(|(likeness, mut pods)| {
        pods.sort();
        Group {
            name: likeness.name.to_owned(),
            owner: likeness.owner.to_owned(),
            pods: pods.iter().map(|pod| pod.name.clone()).collect(),
            like: pods[0].clone(),
        }
    });
    folded.collect()
}

fn likeness(pod: &Pod) -> Likeness<'_> {
    let (owner, name) = match &pod.owner {
        Some((kind, name)) => (kind.as_str(), without_hash(pod, name)),
        None => ("", pod.name.as_str()),
    };
    let labels = pod.labels.iter().filter(|(key, _)| !OF_ONE_REPLICA.contains(&key.as_str()));
    Likeness {
        name,
        owner,
        service_account: &pod.service_account,
        labels: labels.map(|(key, value)| (key.as_str(), value.as_str())).collect(),
        selected_by: &pod.selected_by,
        containers: &pod.containers,
    }
}

/// A ReplicaSet is called after its Deployment, with the hash of the pods' template behind it; the pods carry that hash
/// as a label. Without it a roll-out does not fall into two.
fn without_hash<'a>(pod: &Pod, owner: &'a str) -> &'a str {
    let hash = pod.labels.iter().find(|(key, _)| key == "pod-template-hash");
    let short = hash.and_then(|(_, hash)| owner.strip_suffix(hash.as_str())?.strip_suffix('-'));
    short.filter(|short| !short.is_empty()).unwrap_or(owner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::map::Container;
    use crate::map::seen::Grant;

    fn replica(name: &str, hash: &str, spiffe_id: &str) -> Pod {
        let container = Container { name: "vllm".to_owned(), role: "", image: "registry/vllm:1".to_owned() };
        let grant = Grant { output: "output".to_owned(), spiffe_id: spiffe_id.to_owned(), certain: true };
        Pod {
            namespace: "llm".to_owned(),
            name: name.to_owned(),
            owner: Some(("ReplicaSet".to_owned(), format!("llama-{hash}"))),
            service_account: "llama".to_owned(),
            labels: vec![
                ("app".to_owned(), "llama".to_owned()),
                ("pod-template-hash".to_owned(), hash.to_owned()),
            ],
            selected_by: vec!["output".to_owned()],
            containers: vec![Given { container, granted: vec![grant], displaced: Vec::new() }],
        }
    }

    #[test]
    fn replicas_are_one_group_even_in_the_middle_of_a_roll_out() {
        let pods =
            [replica("llama-1-b", "1", "a"), replica("llama-2-a", "2", "a"), replica("llama-1-a", "1", "a")];
        let groups = fold(&pods);
        assert_eq!(groups.len(), 1);
        assert_eq!(groups[0].name, "llama");
        assert_eq!(groups[0].pods, ["llama-1-a", "llama-1-b", "llama-2-a"]);
    }

    #[test]
    fn replicas_that_are_given_different_identities_are_never_one_group() {
        let pods = [replica("llama-1-a", "1", "a"), replica("llama-1-b", "1", "b")];
        assert_eq!(fold(&pods).len(), 2);
    }

    #[test]
    fn the_order_of_the_pods_does_not_matter() {
        let mut pods =
            [replica("llama-1-a", "1", "a"), replica("llama-1-b", "1", "b"), replica("llama-2-a", "2", "a")];
        let groups = fold(&pods);
        pods.reverse();
        assert_eq!(fold(&pods), groups);
    }
}
