//! What spire-controller-manager makes of the output.

use super::super::chain::{Evidence, Link, LinkKind};
use super::{Subject, number, pod_object};
use crate::report::{Code, poison, reported, watched};
use crate::spire::Why;
use crate::text::Quoted;

impl Subject<'_> {
    pub(super) fn manager_read(&self, field: &str, value: String) -> Evidence {
        Evidence::new(self.question.manager_at.unwrap_or("spire-controller-manager's flags"), field, value)
    }

    pub(super) fn manager(&self) -> Link {
        let kind = LinkKind::Manager;
        let (Some(binding), Some((place, _))) =
            (self.binding, self.binding.and_then(|b| self.scene.fate(&b.key)))
        else {
            return Link::unseen(kind, "no output to look at");
        };
        if let Some(finding) = poison(self.scene) {
            return Link::broken(kind, finding);
        }
        let manager = self.scene.world.manager;
        if let Some(finding) =
            watched(self.scene, binding).into_iter().find(|finding| finding.code != Code::ClassNotWatched)
        {
            let read = match finding.code {
                Code::NamespaceIgnored => {
                    let patterns = manager.ignored.iter().flatten().map(|pattern| pattern.pattern());
                    self.manager_read("ignoreNamespaces", patterns.collect::<Vec<_>>().join(", "))
                }
                _ => self.manager_read(
                    "trustDomain",
                    manager.trust_domain.as_deref().unwrap_or_default().to_owned(),
                ),
            };
            return Link::broken(kind, finding).read([read]);
        }
        let object = format!("ClusterSPIFFEID {}", self.scene.object(place).name);
        if let Some(finding) = reported(self.scene, binding).filter(|f| f.code == Code::EntryFailures) {
            let stats = self.scene.output(&binding.key).and_then(|live| live.stats);
            let failures = stats.map_or(0, |stats| stats.entry_failures);
            return Link::broken(kind, finding).read([Evidence::new(
                object,
                "status.stats.entryFailures",
                failures.to_string(),
            )]);
        }
        let stats = self.scene.output(&binding.key).and_then(|live| live.stats).map(|stats| {
            format!(
                "; last reported: {} selected, {} to set",
                number(usize::try_from(stats.pods_selected).unwrap_or(0), "pod", "pods"),
                stats.entries_to_set
            )
        });
        let stats = stats.unwrap_or_default();
        let Some((index, pod)) = self.pod else {
            let entries = self.scene.prediction.entries_by(place).len();
            return Link::holds(kind, format!("{} foreseen{stats}", number(entries, "entry", "entries")));
        };
        let failure = self.scene.prediction.failures_by(place).iter().find(|failure| failure.pod == index);
        if let Some(failure) = failure {
            let (code, message, hint) = match &failure.why {
                Why::Unscheduled => (
                    Code::PodsPending,
                    format!("pod `{}` is on no node yet, so there is no entry for it", pod.name),
                    format!(
                        "see why it is not scheduled: `kubectl describe pod {} -n {}`",
                        pod.name, pod.namespace
                    ),
                ),
                Why::NoNode(node) => (
                    Code::EntryNotRendered,
                    format!(
                        "the node {} of pod `{}` does not exist, so no agent can serve it",
                        Quoted(node),
                        pod.name
                    ),
                    "see `kubectl get nodes`".to_owned(),
                ),
                Why::NoSpiffeId(text) | Why::TrustDomain(text) | Why::NoSelector(text) => (
                    Code::EntryNotRendered,
                    format!("spire-controller-manager cannot use {}", Quoted(text)),
                    "see the log of spire-controller-manager".to_owned(),
                ),
            };
            let node = pod.node_name.as_deref().unwrap_or("<none>");
            return Link::broken(kind, self.pod_finding(code, message, hint)).read([Evidence::new(
                pod_object(pod),
                "spec.nodeName",
                node,
            )]);
        }
        let entry = self.scene.prediction.entries_by(place).iter().find(|entry| entry.pod == index);
        match entry {
            Some(entry) => match entry.masked_by {
                Some(by) => Link::holds(
                    kind,
                    format!(
                        "the same entry is made by the older {}{stats}",
                        Quoted(&self.scene.object(by).name)
                    ),
                ),
                None => Link::holds(kind, format!("an entry for this pod is foreseen{stats}")),
            },
            None => {
                let object = self.scene.object(place);
                let message = format!(
                    "spire-controller-manager makes no entry for pod `{}` from {}: it does not select it",
                    pod.name,
                    Quoted(&object.name)
                );
                Link::broken(
                    kind,
                    self.pod_finding(
                        Code::NoPodSelected,
                        message,
                        "compare the pod's labels with `spec.podSelector` of the output".to_owned(),
                    ),
                )
            }
        }
    }
}
