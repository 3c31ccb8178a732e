//! The objective: the target's, else those that lead to the pod's pools.

use super::super::chain::{Evidence, Link, LinkKind};
use super::Subject;
use crate::refusal::Refusal;

impl Subject<'_> {
    pub(super) fn objective(&self) -> Link {
        let kind = LinkKind::Objective;
        if let Some(resolved) = self.resolution() {
            return match &resolved.objective {
                Some((name, group)) => {
                    let says = format!(
                        "{name} ({}/{}) -> pool {}",
                        group.as_str(),
                        group.version(),
                        resolved.pool.name
                    );
                    let object = format!("InferenceObjective {}/{name}", self.namespace());
                    Link::holds(kind, says).read([Evidence::new(
                        object,
                        "spec.poolRef.name",
                        resolved.pool.name.as_str(),
                    )])
                }
                None => Link::holds(kind, "none: the binding targets the pool itself"),
            };
        }
        if let (Some(refusal), Some(binding)) = (self.refusal(), self.binding) {
            let of_objective = match refusal {
                Refusal::ObjectiveNotFound { .. }
                | Refusal::ObjectiveCrdMissing(_)
                | Refusal::PoolRef { .. } => true,
                Refusal::Ambiguous { kind, .. } => *kind == "InferenceObjective",
                _ => false,
            };
            if of_objective {
                return self.refused(kind, binding, refusal);
            }
        }
        // Without a binding: what leads to the pod's pools.
        let own = self.pod.map(|(_, pod)| self.own_pools(pod)).unwrap_or_default();
        let leading: Vec<String> = self
            .scene
            .index
            .objectives()
            .filter(|objective| objective.namespace == *self.namespace())
            .filter(|objective| {
                let to = objective.pool_ref.as_ref();
                to.is_ok_and(|to| own.iter().any(|pool| pool.name == to.name))
            })
            .map(|objective| objective.name.to_string())
            .collect();
        if leading.is_empty() {
            Link::unseen(kind, "none leads to this pool")
        } else {
            Link::holds(kind, leading.join(", "))
        }
    }
}
