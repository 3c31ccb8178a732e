//! Pods that are in no pool on purpose: endpoint pickers, and the workers of a group whose leader alone serves. Nobody is
//! told to bring them in, nor to set a label that a controller writes.

use super::members::{in_words, workload};
use super::{Distance, Subject, in_its_template};
use crate::report::{Code, Finding};
use crate::spire::Pod;
use crate::text::{Quoted, quoted_list};

/// How the keys of labels start that a controller writes, and nobody else.
const WRITTEN: [&str; 7] = [
    "leaderworkerset.sigs.k8s.io/",
    "apps.kubernetes.io/",
    "statefulset.kubernetes.io/",
    "batch.kubernetes.io/",
    "controller.kubernetes.io/",
    "jobset.sigs.k8s.io/",
    "ray.io/",
];

/// Such keys without a prefix.
const WRITTEN_WHOLE: [&str; 5] = [
    "pod-template-hash",
    "controller-revision-hash",
    "pod-template-generation",
    "controller-uid",
    "job-name",
];

/// The labels that tell the pods of one group apart, and what one of them is: of a value and the workload.
const PLACES: [(&str, &str); 6] = [
    ("leaderworkerset.sigs.k8s.io/worker-index", "worker"),
    ("apps.kubernetes.io/pod-index", "pod"),
    ("statefulset.kubernetes.io/pod-name", "pod"),
    ("batch.kubernetes.io/job-completion-index", "pod"),
    ("jobset.sigs.k8s.io/job-index", "job"),
    ("ray.io/node-type", "node"),
];

pub(in crate::explain::links) fn is_written(key: &str) -> bool {
    WRITTEN.iter().any(|start| key.starts_with(start)) || WRITTEN_WHOLE.contains(&key)
}

/// Key and value of a label that is written as `key=value`.
fn parts(label: &str) -> (&str, &str) {
    label.split_once('=').unwrap_or((label, ""))
}

impl Distance<'_> {
    /// The keys that the pod lacks, or has otherwise, and that a controller writes.
    pub(super) fn written(&self) -> Vec<&str> {
        let wanted = self.others.iter().map(|(_, wanted)| wanted).chain(&self.lacks);
        wanted.map(|label| parts(label).0).filter(|key| is_written(key)).collect()
    }
}

impl<'a> Subject<'a> {
    /// A pod that is in no pool on purpose, with the pool whose selector shows it where that is another than the nearest.
    pub(super) fn on_purpose(
        &self,
        pod: &Pod,
        nearest: &Distance<'a>,
    ) -> Option<(Finding, Option<Distance<'a>>)> {
        if let Some((finding, pool)) = self.picker(pod) {
            return Some((finding, Some(pool)));
        }
        Some((self.of_a_group(pod, nearest)?, None))
    }

    /// The endpoint picker of a pool, by its image, or by the name that charts give it: that of the pool with `-epp`.
    fn picker(&self, pod: &Pod) -> Option<(Finding, Distance<'a>)> {
        let is_named = |name: &str| {
            let own = workload(pod).is_some_and(|(_, own)| own == name);
            own || pod.labels.values().any(|value| **value == *name)
        };
        let pools = self.distinct_pools();
        let pool = pools.into_iter().find(|pool| is_named(&format!("{}-epp", pool.name)))?;
        let message = format!(
            "pod `{}` is the endpoint picker of pool `{}`: it says where requests go and serves none of them, so it is no pod of the pool",
            pod.name, pool.name
        );
        let hint = format!(
            "nothing is to be done: it stays with what it has{}; label it with nothing that the pool selects, for requests would go to it; an identity of its own is given by a ClusterSPIFFEID of an administrator",
            self.what_it_has(pod)
        );
        let finding = self.pod_finding(Code::OutsideOnPurpose, message, hint);
        Some((finding, Distance::of(pod, pool, pool.labels.as_ref().ok()?)))
    }

    /// One of a group of pods, of which the pool selects others by their place in it.
    fn of_a_group(&self, pod: &Pod, nearest: &Distance<'a>) -> Option<Finding> {
        let Distance { others, lacks, labels, pool, .. } = nearest;
        let ([(own, wanted)], []) = (others.as_slice(), lacks.as_slice()) else { return None };
        let (key, value) = parts(own);
        let (_, what) = PLACES.iter().find(|(place, _)| *place == key)?;
        let of = workload(pod)?;
        // That nobody is in it says that the selector is wrong, and not that the others are left out.
        if self.pods_in(labels).is_empty() {
            return None;
        }
        let message = format!(
            "pod `{}` is {what} `{value}` of {}, and pool `{}` selects {} alone: it is left out on purpose",
            pod.name,
            in_words(of),
            pool.name,
            Quoted(wanted)
        );
        let hint = format!(
            "change neither the label, which a controller writes, nor the pool's selector: requests go where both say; let whoever is to trust this pod trust what it has{}; or give such pods an identity of their own: an InferencePool to which no route leads and that selects {} in place of {}, and an InferenceIdentityBinding of that pool with `mode: PoolOnly`",
            self.what_it_has(pod),
            Quoted(own),
            Quoted(wanted)
        );
        Some(self.pod_finding(Code::OutsideOnPurpose, message, hint))
    }

    /// The SPIFFE IDs that a pod has from others, in brackets.
    fn what_it_has(&self, pod: &Pod) -> String {
        let Some((index, _)) = self.pod else { return String::new() };
        let given = pod.containers.iter().flat_map(|container| self.scene.given(index, container));
        let mut ids: Vec<&str> = given.filter_map(|(entry, _)| entry.spiffe_id.text()).collect();
        ids.sort_unstable();
        ids.dedup();
        if ids.is_empty() { String::new() } else { format!(" ({})", quoted_list(ids)) }
    }

    /// What to do where a pod would need a label that a controller writes.
    pub(super) fn past_what_is_written(
        &self,
        pod: &Pod,
        distance: &Distance<'_>,
        members: &[&Pod],
        written: &str,
        its: &str,
    ) -> String {
        let by = if written.contains(", ") || written.contains(" and ") { "labels" } else { "a label" };
        let instead = format!("select by a label{} instead", in_its_template(pod));
        match self.wider(pod, distance, members).filter(|_| !members.is_empty()) {
            Some(keys) => format!(
                "take {keys} out of {its}, which keeps who is in the pool now; requests go to this pod then ({written}: {by} that a controller writes, and nobody else)"
            ),
            None => format!(
                "{its} names {written}, {by} that a controller writes: do not set it on the pod; if the pool is meant for this pod too, {instead}"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_controller_writes_is_known_by_its_key() {
        for key in
            ["pod-template-hash", "leaderworkerset.sigs.k8s.io/worker-index", "apps.kubernetes.io/pod-index"]
        {
            assert!(is_written(key), "{key}");
        }
        for key in ["app", "app.kubernetes.io/name", "llm-d.ai/role", "leaderworkerset"] {
            assert!(!is_written(key), "{key}");
        }
    }
}
