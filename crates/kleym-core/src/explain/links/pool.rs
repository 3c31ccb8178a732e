//! The pool: the one that the target leads to, else the pod's own.

use super::super::chain::{Evidence, Link, LinkKind};
use super::{Subject, number, shown};
use crate::refusal::Refusal;

impl Subject<'_> {
    pub(super) fn pool(&self) -> Link {
        let kind = LinkKind::Pool;
        let object = |name: &str| format!("InferencePool {}/{name}", self.namespace());
        if let Some(resolved) = self.resolution() {
            let pods = self.pods_in(&resolved.pool.labels).len();
            let group = resolved.pool_group;
            let counted = if self.scene.pods_known {
                format!(", {}", number(pods, "pod", "pods"))
            } else {
                String::new()
            };
            let says = format!("{} ({}/{}){counted}", resolved.pool.name, group.as_str(), group.version());
            return Link::holds(kind, says).read([Evidence::new(
                object(resolved.pool.name.as_str()),
                "spec.selector",
                shown(&resolved.pool.labels),
            )]);
        }
        if let (Some(refusal), Some(binding)) = (self.refusal(), self.binding) {
            let of_pool = match refusal {
                Refusal::PoolNotFound { .. } | Refusal::PoolCrdMissing(_) | Refusal::PoolSelector { .. } => {
                    true
                }
                Refusal::Ambiguous { kind, .. } => *kind == "InferencePool",
                _ => false,
            };
            if of_pool {
                return self.refused(kind, binding, refusal);
            }
        }
        let own = self.pod.map(|(_, pod)| self.own_pools(pod)).unwrap_or_default();
        match own.first() {
            Some(pool) => {
                Link::holds(kind, format!("{} ({}/{})", pool.name, pool.group, pool.group.version()))
                    .read([Evidence::new(object(pool.name.as_str()), "metadata.name", pool.name.as_str())])
            }
            None if self.leads_apart() => Link::unseen(kind, "the target leads to several"),
            None => Link::unseen(kind, "the target leads to none"),
        }
    }
}
