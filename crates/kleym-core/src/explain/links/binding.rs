//! The binding: what the engine decides of it, and what its status reports.

use super::super::chain::{Evidence, Link, LinkKind};
use super::super::{ending, read};
use super::{Subject, shown};
use crate::index::Verdict;
use crate::report::Code;
use crate::spire::Pod;
use crate::text::quoted_list;

impl Subject<'_> {
    pub(super) fn binding(&self) -> Link {
        let kind = LinkKind::Binding;
        let Some(binding) = self.binding else {
            let Some((_, pod)) = self.pod else { return Link::unseen(kind, "none") };
            return self.no_binding(pod);
        };
        let object = format!("InferenceIdentityBinding {}", binding.key);
        let status = (self.question.status)(&binding.key);
        let seen = status.as_ref().map(|status| {
            Evidence::new(
                object.clone(),
                "status.conditions[Ready]",
                format!("{} {}", status.ready, status.reason),
            )
        });
        let undecided = self.scene.statuses.get(&binding.key).is_some_and(Option::is_none);
        let says = || match &status {
            Some(status) => {
                let generations = match (status.observed, binding.generation) {
                    (Some(observed), Some(generation)) => format!(", generation {observed} of {generation}"),
                    _ => String::new(),
                };
                format!("{}   Ready={} {}{generations}", binding.key.name, status.ready, status.reason)
            }
            None if undecided => format!("{}   no status yet: no operator has decided it", binding.key.name),
            None => format!("{}   nothing is wrong with it", binding.key.name),
        };
        match &self.verdict {
            // What a status says of another generation it does not say of this one.
            Verdict::Wanted(_) if status.as_ref().is_some_and(|one| one.observed < binding.generation) => {
                let says = format!("{}, so it is stale ({})", says(), Code::StatusStale);
                Link::unseen(kind, says).read(seen)
            }
            Verdict::Wanted(_) => Link::holds(kind, says()).read(seen),
            Verdict::Refused(refusal) => self.refused(kind, binding, refusal).read(seen),
            Verdict::Deleting => ending::link(self.question, binding),
            Verdict::Waiting(kinds) => {
                let kinds = quoted_list(kinds.keys().map(|kind| kind.kind()));
                Link::unseen(kind, format!("{}   not decided: {kinds} could not be read", binding.key.name))
                    .read(seen)
            }
            Verdict::Gone => Link::unseen(kind, "gone"),
        }
    }

    /// Nothing speaks of what a pod serves, or of the one container that is asked for.
    fn no_binding(&self, pod: &Pod) -> Link {
        let namespace = &pod.namespace;
        let pools = self.own_pools(pod);
        let (message, hint) = match self.question.container {
            Some(container) => (
                format!(
                    "no InferenceIdentityBinding of namespace `{namespace}` speaks of container `{container}` of pod `{}`",
                    pod.name
                ),
                format!(
                    "create one with `containerDiscriminator` for `{container}`, or one with `mode: PoolOnly`, which gives every container of the pool's pods an identity"
                ),
            ),
            None => {
                let pool =
                    pools.first().map(|pool| format!(" or of pool `{}`", pool.name)).unwrap_or_default();
                (
                    format!(
                        "no InferenceIdentityBinding of namespace `{namespace}` speaks of an objective{pool} that pod `{}` serves",
                        pod.name
                    ),
                    "create an InferenceIdentityBinding for the objective or the pool".to_owned(),
                )
            }
        };
        let selectors = pools.iter().filter_map(|pool| {
            let labels = shown(pool.labels.as_ref().ok()?);
            Some(Evidence::new(format!("InferencePool {namespace}/{}", pool.name), "spec.selector", labels))
        });
        let selectors: Vec<Evidence> = selectors.collect();
        Link::ends(LinkKind::Binding, self.pod_finding(Code::NoBinding, message, hint))
            .read(selectors)
            .read([read::bindings(self.scene.index, namespace)])
    }
}
