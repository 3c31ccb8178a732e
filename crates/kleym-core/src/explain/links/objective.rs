//! The objective: the target's, else those that lead to the pod's pools.

use super::super::chain::{Evidence, Link, LinkKind};
use super::Subject;
use crate::fact::{Binding, Objective, Pool, Target};
use crate::refusal::Refusal;
use crate::report::Code;
use crate::resolve::Resolved;
use crate::spire::Pod;

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

    /// A binding of an objective of the same name as one that leads to the pod's pool, in another group: a router that reads
    /// the one group and a binding that names the other come apart without anybody touching the binding.
    pub(super) fn left_behind(&self, pod: &Pod, pools: &[&Pool]) -> Option<Link> {
        let namespace = self.namespace();
        let here: Vec<&Objective> = self
            .scene
            .index
            .objectives()
            .filter(|one| {
                let leads = |pool: &&Pool| one.pool_ref.as_ref().is_ok_and(|to| to.name == pool.name);
                one.namespace == *namespace && !one.deleting && pools.iter().any(leads)
            })
            .collect();
        let bindings = self.scene.index.bindings().filter(|binding| binding.key.namespace == *namespace);
        let (binding, resolved, objective) = bindings.into_iter().find_map(|binding| {
            let Ok(Target::Objective { name, group: Some(pinned) }) =
                binding.spec.as_ref().map(|spec| &spec.target)
            else {
                return None;
            };
            let resolved = self.scene.index.resolved(&binding.key)?.ok()?;
            let objective = here.iter().find(|one| one.name == *name && one.group != *pinned)?;
            Some((binding, resolved, *objective))
        })?;
        let pinned = resolved.objective.as_ref()?.1;
        let (key, name) = (&binding.key, &objective.name);
        let (old, own) = (&resolved.pool.name, &objective.pool_ref.as_ref().ok()?.name);
        let message = format!(
            "pod `{}` serves objective `{name}` of `{}`, and `{key}` is of the objective `{name}` of `{}`, which leads to pool `{old}`",
            pod.name,
            objective.group.as_str(),
            pinned.as_str(),
        );
        let hint = format!(
            "set `spec.targetRef.group: {}` in `{key}`, if its identity is to move from the pods of pool `{old}` to those of `{own}`, which one step does; take the objective of `{}` away after that; neither that first, nor the group taken out of the binding, will do: both withdraw the identity from everybody",
            objective.group.as_str(),
            pinned.as_str(),
        );
        let finding =
            self.pod_finding(Code::NoBinding, message, hint).about(&crate::report::binding_key(key));
        Some(Link::ends(LinkKind::Binding, finding).read(two_objectives(binding, &resolved, objective)))
    }
}

/// Where each of two objectives of one name leads, and which of them a binding is of.
fn two_objectives(binding: &Binding, resolved: &Resolved, other: &Objective) -> Vec<Evidence> {
    let key = &binding.key;
    let leads = |group: &str, pool: &str| {
        let object = format!("InferenceObjective {}/{} ({group})", key.namespace, other.name);
        Evidence::new(object, "spec.poolRef.name", pool)
    };
    let own = resolved.objective.as_ref().map(|(_, group)| group.as_str());
    let binding = format!("InferenceIdentityBinding {key}");
    let mut read = vec![Evidence::new(binding, "spec.targetRef.group", own.unwrap_or("<none>"))];
    read.extend(own.map(|group| leads(group, resolved.pool.name.as_str())));
    read.extend(other.pool_ref.as_ref().ok().map(|to| leads(other.group.as_str(), to.name.as_str())));
    read
}
