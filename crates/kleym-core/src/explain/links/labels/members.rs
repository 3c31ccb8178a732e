//! Who is in a pool now, and who of the same workload is not: nothing is advised that takes out those that are in it.

use std::collections::BTreeMap;

use super::super::super::chain::Chain;
use super::super::super::role;
use super::{Distance, Subject, in_its_template, number, selects};
use crate::fact::Pool;
use crate::label::Labels;
use crate::report::{Code, Finding, Reference, binding_key};
use crate::spire::Pod;
use crate::text::{Quoted, quoted_list};

/// The label by which the pods of a LeaderWorkerSet are known. Between it and them stand StatefulSets of its making, those of
/// the workers owned by their leader.
const LEADER_WORKER_SET: &str = "leaderworkerset.sigs.k8s.io/name";

/// What a pod was made by, as far up as its own metadata tells: the Deployment behind a ReplicaSet, a LeaderWorkerSet, else
/// its owner. Kind and name.
pub(in crate::explain::links) fn workload(pod: &Pod) -> Option<(&str, &str)> {
    if let Some(name) = pod.labels.get(LEADER_WORKER_SET) {
        return Some(("LeaderWorkerSet", name));
    }
    let owner = pod.owners.first()?;
    let hash = pod.labels.get("pod-template-hash");
    let of_deployment = hash.and_then(|hash| owner.name.strip_suffix(&**hash)?.strip_suffix('-'));
    match of_deployment.filter(|name| &*owner.kind == "ReplicaSet" && !name.is_empty()) {
        Some(name) => Some(("Deployment", name)),
        None => Some((&owner.kind, &owner.name)),
    }
}

/// A workload, as it is written: `Deployment `llama``.
pub(in crate::explain::links) fn in_words(workload: (&str, &str)) -> String {
    match workload {
        ("Deployment", name) => format!("Deployment {}", Quoted(name)),
        (kind, name) => format!("{} {}", Quoted(kind), Quoted(name)),
    }
}

impl<'a> Subject<'a> {
    /// How a pod comes into a pool that does not select it; `its` is whose selector it is: `the pool's selector`.
    pub(super) fn way_into(&self, pod: &Pod, distance: &Distance<'_>, its: &str) -> String {
        let label = format!(
            "label the pod{} ({}; the pool's requests go to it then)",
            in_its_template(pod),
            distance.needed()
        );
        let members = self.pods_in(distance.labels);
        let written = distance.written();
        if !written.is_empty() {
            return self.past_what_is_written(pod, distance, &members, &quoted_list(written), its);
        }
        if members.is_empty() {
            return format!("{label}, or correct {its}");
        }
        let (those, are) = match members.len() {
            1 => ("pod".to_owned(), "is"),
            several => (format!("{several} pods"), "are"),
        };
        match self.wider(pod, distance, &members) {
            Some(keys) => format!(
                "{label}, or take {keys} out of {its}, which keeps the {those} that {are} in the pool now"
            ),
            None => format!(
                "{label}; {its} is to stay as it is, for {} {are} in the pool by it",
                number(members.len(), "pod", "pods")
            ),
        }
    }

    /// Whether pods of the workload of this one have these labels.
    pub(super) fn has_siblings(&self, pod: &Pod, labels: &Labels) -> bool {
        workload(pod).is_some() && self.pods_in(labels).into_iter().any(|one| workload(one) == workload(pod))
    }

    /// The keys without which a pool's selector takes a pod in and nobody else but its siblings, and meets no other pool.
    pub(super) fn wider(&self, pod: &Pod, distance: &Distance<'_>, members: &[&Pod]) -> Option<String> {
        let has = |key: &str, value: &str| pod.labels.get(key).is_some_and(|own| **own == *value);
        let all = || distance.labels.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        let shared: Vec<(&str, &str)> = all().filter(|(key, value)| has(key, value)).collect();
        if shared.is_empty() {
            return None;
        }
        let others = self.pools().filter(|pool| !std::ptr::eq(*pool, distance.pool));
        let mut apart = others.map(|pool| {
            let labels = pool.labels.as_ref().ok()?;
            let differs = |(key, value): &(&str, &str)| {
                labels.iter().any(|(other, theirs)| other.as_str() == *key && theirs.as_str() != *value)
            };
            shared.iter().any(differs).then_some(())
        });
        if apart.any(|apart| apart.is_none()) {
            return None;
        }
        let meant = |one: &Pod| {
            std::ptr::eq(one, pod)
                || members.iter().any(|member| std::ptr::eq(*member, one))
                || workload(one).is_some() && workload(one) == workload(pod)
        };
        let there = self.scene.world.pods.iter();
        let mut taken = there.filter(|one| {
            let labelled =
                shared.iter().all(|(key, value)| one.labels.get(*key).is_some_and(|own| **own == **value));
            one.namespace == pod.namespace && !one.phase.ended() && labelled
        });
        if taken.any(|one| !meant(one)) {
            return None;
        }
        let keys: Vec<&str> = all().filter(|(key, value)| !has(key, value)).map(|(key, _)| key).collect();
        Some(quoted_list(keys))
    }

    /// Of a pool that has no pod: the one of its namespace that is meant most likely, in no pool, by the binding's service
    /// account or by labels that it has in common.
    pub(super) fn nearest_pod(&self, pool: &'a Pool, labels: &'a Labels) -> Option<(&'a Pod, Distance<'a>)> {
        let account = self.identity().map(|identity| identity.selectors.service_account());
        let account = account.filter(|account| *account != "default");
        let there = self.scene.world.pods.iter();
        let free = there.filter(|pod| {
            let there = pod.namespace == *self.namespace() && !pod.phase.ended() && !pod.deleting;
            there && role::of(pod).is_none() && self.own_pools(pod).is_empty()
        });
        let near = free.filter_map(|pod| {
            let distance = Distance::of(pod, pool, labels);
            let of_account = account.is_some_and(|account| *account == *pod.service_account);
            (of_account || !distance.shared.is_empty()).then_some((pod, of_account, distance))
        });
        let nearest = near.min_by_key(|(_, of_account, distance)| (!of_account, distance.order()));
        nearest.map(|(pod, _, distance)| (pod, distance))
    }

    /// Of a binding whose chain holds: the pods of a workload that are in no pool, where others of it are in the binding's.
    pub(in crate::explain) fn left_out(&self, chain: &Chain) -> Option<Finding> {
        let (binding, resolved) = self.binding.zip(self.resolution()).filter(|_| chain.end().is_none())?;
        let (name, labels) = (&resolved.pool.name, &resolved.pool.labels);
        let pool = self.scene.index.pool(self.namespace(), name, resolved.pool_group)?;
        let mut inside: BTreeMap<(&str, &str), usize> = BTreeMap::new();
        for member in self.pods_in(labels) {
            if let Some(workload) = workload(member) {
                *inside.entry(workload).or_default() += 1;
            }
        }
        let there = self.scene.world.pods.iter();
        let outside = there.filter(|pod| {
            pod.namespace == binding.key.namespace
                && !pod.phase.ended()
                && !pod.deleting
                && !selects(labels, pod)
        });
        let mut outside: Vec<&'a Pod> = outside
            .filter(|pod| workload(pod).is_some_and(|workload| inside.contains_key(&workload)))
            .filter(|pod| self.own_pools(pod).is_empty())
            .collect();
        let first = *outside.first()?;
        let of = workload(first)?;
        outside.retain(|pod| workload(pod) == Some(of));
        let distance = Distance::of(first, pool, labels);
        // What a controller has told apart is no rollout that forgot a label.
        if !distance.written().is_empty() {
            return None;
        }
        let siblings = inside.get(&of).copied().unwrap_or_default();
        let message = format!(
            "{} {} of {} {} not in pool `{name}`, though {} of it {}: {}",
            if outside.len() == 1 { "pod" } else { "pods" },
            quoted_list(outside.iter().map(|pod| pod.name.as_str())),
            in_words(of),
            if outside.len() == 1 { "is" } else { "are" },
            number(siblings, "pod", "pods"),
            if siblings == 1 { "is" } else { "are" },
            distance.in_words()
        );
        let hint = format!(
            "if those outside are the newer ones, label the pods{} ({}); if they are the older ones, they go with the rollout",
            in_its_template(first),
            distance.needed()
        );
        let mut finding =
            Finding::new(Code::PodNotInPool, message).about(&binding_key(&binding.key)).hint(hint);
        finding.references.extend(outside.into_iter().map(|pod| Reference {
            kind: "Pod",
            namespace: Some(pod.namespace.as_str().into()),
            name: pod.name.as_str().into(),
        }));
        Some(finding)
    }

    /// That the selector of one of these pools may be wrong instead: nothing where pods are in them by it.
    pub(super) fn or_correct<'d>(&self, mut pools: impl Iterator<Item = &'d Distance<'d>>) -> &'static str {
        let all_empty = pools.all(|pool| self.pods_in(pool.labels).is_empty());
        if all_empty { ", or correct that pool's selector" } else { "" }
    }
}
