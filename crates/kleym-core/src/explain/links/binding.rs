//! The binding: what the engine decides of it, and what its status reports.

use super::super::chain::{Evidence, Link, LinkKind};
use super::super::ending;
use super::Subject;
use crate::index::Verdict;
use crate::report::Code;
use crate::text::quoted_list;

impl Subject<'_> {
    pub(super) fn binding(&self) -> Link {
        let kind = LinkKind::Binding;
        let Some(binding) = self.binding else {
            let Some((_, pod)) = self.pod else { return Link::unseen(kind, "none") };
            let pools = self.own_pools(pod);
            let pool = pools.first().map(|pool| format!(" or of pool `{}`", pool.name)).unwrap_or_default();
            let message = format!(
                "no InferenceIdentityBinding of namespace `{}` speaks of an objective{pool} that pod `{}` serves",
                pod.namespace, pod.name
            );
            let hint = "create an InferenceIdentityBinding for the objective or the pool".to_owned();
            return Link::broken(kind, self.pod_finding(Code::NoBinding, message, hint));
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
        let says = || match &status {
            Some(status) => {
                let generations = match (status.observed, binding.generation) {
                    (Some(observed), Some(generation)) => format!(", generation {observed} of {generation}"),
                    _ => String::new(),
                };
                format!("{}   Ready={} {}{generations}", binding.key.name, status.ready, status.reason)
            }
            None => format!("{}   nothing is wrong with it", binding.key.name),
        };
        match &self.verdict {
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
}
