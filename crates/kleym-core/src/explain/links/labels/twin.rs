//! Two pools of one name, in the two API groups: a binding leads to one of them, and the pods are in the other.

use super::super::super::chain::{Evidence, Link, LinkKind};
use super::super::super::read;
use super::{Distance, Subject, number, pool_object, shown};
use crate::fact::{Objective, Pool};
use crate::kind::PoolGroup;
use crate::report::{Code, Finding};
use crate::resolve::Resolved;
use crate::spire::Pod;

/// Who names the pool that a binding leads to.
struct Leader<'a> {
    /// The objective; none where the binding does so itself.
    objective: Option<&'a Objective>,
}

impl Leader<'_> {
    /// `objective `chat``
    fn name(&self) -> String {
        match self.objective {
            Some(objective) => format!("objective `{}`", objective.name),
            None => "the binding".to_owned(),
        }
    }

    /// How it is made to lead to another group.
    fn pin(&self, group: PoolGroup) -> String {
        match self.objective {
            Some(objective) => {
                format!("set `spec.poolRef.group` of InferenceObjective `{}` to `{group}`", objective.name)
            }
            None => format!("set `spec.targetRef.group` of the binding to `{group}`"),
        }
    }
}

/// What stands in the selector of one of two pools of a name.
fn selector(pool: &Pool) -> Option<Evidence> {
    let labels = pool.labels.as_ref().ok()?;
    let object = format!("{} ({})", pool_object(pool), pool.group);
    Some(Evidence::new(object, "spec.selector", shown(labels)))
}

impl<'a> Subject<'a> {
    fn leader(&self, resolved: &Resolved) -> Leader<'a> {
        let named = resolved.objective.as_ref();
        let objective =
            named.and_then(|(name, group)| self.scene.index.objective(self.namespace(), name, *group));
        Leader { objective }
    }

    /// The pool that has only its name in common with the one that the binding leads to.
    pub(super) fn namesake(&self, resolved: &Resolved) -> Option<&'a Pool> {
        let differs = |pool: &Pool| pool.labels.as_ref().is_ok_and(|labels| *labels != resolved.pool.labels);
        self.pools().find(|pool| {
            pool.name == resolved.pool.name && pool.group != resolved.pool_group && differs(pool)
        })
    }

    /// Both selectors, and where the objective leads.
    fn read_of_both(&self, resolved: &Resolved, twin: &Pool) -> Vec<Evidence> {
        let own = self.scene.index.pool(self.namespace(), &resolved.pool.name, resolved.pool_group);
        let both = own.into_iter().chain([twin]).filter_map(selector);
        both.chain(self.leader(resolved).objective.map(read::pool_ref)).collect()
    }

    /// Which of the two it is that selects, and which is led to.
    fn note_of_twins(&self, resolved: &Resolved, twin: &Pool, selects: &str) -> String {
        format!(
            "there are two pools `{}`: that of `{}` selects {selects}, but {} leads to that of `{}` ({})",
            resolved.pool.name,
            twin.group,
            self.leader(resolved).name(),
            resolved.pool_group,
            Code::PoolPair
        )
    }

    /// How the binding comes to lead to the pool in which pods are; or the two pools to mean the same, where that takes
    /// nobody out of one.
    fn to_the_twin(&self, resolved: &Resolved, twin: &Pool) -> String {
        let pin = self.leader(resolved).pin(twin.group);
        let group = resolved.pool_group;
        match self.pods_in(&resolved.pool.labels).len() {
            0 => {
                format!("{pin}, or give pool `{}` of `{group}` the selector of the other", resolved.pool.name)
            }
            there => format!(
                "{pin}; the binding then no longer speaks of the {} in that of `{group}`",
                number(there, "pod", "pods")
            ),
        }
    }

    /// A pod that is in the other pool of the name.
    pub(super) fn in_the_twin(
        &self,
        pod: &Pod,
        resolved: &Resolved,
        distance: &Distance<'_>,
        twin: &Pool,
        own: Evidence,
    ) -> Link {
        let message = format!(
            "pod `{}` is not in pool `{}` of `{}`: {}",
            pod.name,
            resolved.pool.name,
            resolved.pool_group,
            distance.in_words()
        );
        let mut finding = self.pod_finding(Code::PodNotInPool, message, self.to_the_twin(resolved, twin));
        finding.note = Some(self.note_of_twins(resolved, twin, "the pod"));
        Link::ends(LinkKind::Labels, finding).read([own]).read(self.read_of_both(resolved, twin))
    }

    /// What is said of a binding whose pool has no pod, while the other pool of the name may have some.
    pub(super) fn of_the_twin(
        &self,
        mut finding: Finding,
        resolved: &Resolved,
        twin: &Pool,
    ) -> (Finding, Vec<Evidence>) {
        let there = twin.labels.as_ref().map_or(0, |labels| self.pods_in(labels).len());
        if there > 0 {
            finding.hint = Some(self.to_the_twin(resolved, twin));
            finding.note = Some(self.note_of_twins(resolved, twin, &number(there, "pod", "pods")));
        } else {
            finding.note = Some(format!(
                "there are two pools `{}`, and that of `{}` selects none either ({})",
                resolved.pool.name,
                twin.group,
                Code::PoolPair
            ));
        }
        (finding, self.read_of_both(resolved, twin))
    }
}
