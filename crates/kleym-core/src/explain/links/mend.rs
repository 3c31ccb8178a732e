//! What to do about a refusal: what is there that was meant most likely, and which field to correct.

use super::{Subject, selects};
use crate::fact::{Binding, Objective, Pool};
use crate::kind::ObjectiveGroup;
use crate::name::ObjectName;
use crate::refusal::Refusal;
use crate::report::{Finding, account_of_pods};
use crate::selector::SetError;
use crate::spiffe::SpiffeIdError;
use crate::text::Quoted;

/// How many slips a name may have and still be meant.
const SLIPS: usize = 3;

impl Subject<'_> {
    /// A better fix than the refusal's own, where what else is there shows one; one at all, where it has none.
    pub(super) fn mended(&self, binding: &Binding, refusal: &Refusal, finding: &Finding) -> Option<String> {
        // What is there in another group was told already.
        if finding.related.is_empty() || matches!(refusal, Refusal::Ambiguous { .. }) {
            let better = match refusal {
                Refusal::ObjectiveNotFound { name, deleting: false, .. } => {
                    self.other_objective(binding, name)
                }
                Refusal::PoolNotFound { name, objective, deleting: false, .. } => {
                    self.other_pool(binding, name, objective.as_ref())
                }
                Refusal::Ambiguous { kind: "InferenceObjective", name, .. } => self.one_of(binding, name),
                Refusal::SelectorSet(error) => self.lacking(binding, error),
                _ => None,
            };
            if better.is_some() {
                return better;
            }
        }
        finding.hint.clone().or_else(|| {
            let place = finding.place.as_ref()?;
            let object = &place.object;
            Some(format!(
                "correct `{}` of {} `{}/{}`",
                place.field,
                object.kind.kind(),
                object.namespace,
                object.name
            ))
        })
    }

    /// That it is not known which paths are granted, where nobody reports them.
    pub(super) fn note_of_grants(&self, binding: &Binding, refusal: &Refusal) -> Option<String> {
        let Refusal::SpiffeId { error: SpiffeIdError::OutsideNamespace { granted, .. }, rendered, .. } =
            refusal
        else {
            return None;
        };
        // What is below `/ns/` is of a namespace, and granted to no other.
        let path = rendered.strip_prefix("spiffe://").and_then(|rest| rest.split_once('/'));
        path.filter(|(_, path)| !path.starts_with("ns/"))?;
        let namespace = &binding.key.namespace;
        let mut all = self.scene.index.bindings_of(namespace);
        let reported = all.any(|one| (self.question.status)(&one.key).is_some());
        (granted.is_empty() && !reported).then(|| {
            format!(
                "no binding of namespace `{namespace}` has a status, so which paths its operator grants is not known here: give them with --path-grant"
            )
        })
    }

    /// The selector that is to be there.
    fn lacking(&self, binding: &Binding, error: &SetError) -> Option<String> {
        let templates = format!("`spec.workloadSelectorTemplates` of `{}`", binding.key);
        match error {
            SetError::NoNamespace(line) => Some(format!("add {} to {templates}", Quoted(line))),
            SetError::ForeignNamespace { item, wanted } => {
                Some(format!("write {} instead of {} in {templates}", Quoted(wanted), Quoted(item)))
            }
            SetError::NoServiceAccount => {
                let (account, who) = match self.pod {
                    Some((_, pod)) => (&*pod.service_account, "this pod runs"),
                    None => (account_of_pods(self.scene, binding)?, "the pool's pods run"),
                };
                let item = format!("k8s:sa:{account}");
                Some(format!("add {} to {templates}, for {who} as that", Quoted(&item)))
            }
            SetError::TwoValues(..) | SetError::CaseTwins(..) => None,
        }
    }

    fn other_objective(&self, binding: &Binding, name: &ObjectName) -> Option<String> {
        let there = self.scene.index.objectives();
        let there = there.filter(|one| one.namespace == *self.namespace() && !one.deleting);
        let there: Vec<&Objective> = there.collect();
        let own = self.pod.map(|(_, pod)| self.own_pools(pod)).unwrap_or_default();
        let leads = |one: &&&Objective| {
            let to = one.pool_ref.as_ref();
            to.is_ok_and(|to| own.iter().any(|pool| pool.name == to.name))
        };
        let mut leading: Vec<&ObjectName> = there.iter().filter(leads).map(|one| &one.name).collect();
        leading.dedup();
        let meant = match leading.as_slice() {
            [only] => *only,
            _ => nearest(name, there.iter().map(|one| &one.name))?,
        };
        Some(format!(
            "set `spec.targetRef.name` of `{}` to `{meant}`, or create InferenceObjective `{name}`",
            binding.key
        ))
    }

    fn other_pool(
        &self,
        binding: &Binding,
        name: &ObjectName,
        objective: Option<&ObjectName>,
    ) -> Option<String> {
        let own = self.pod.map(|(_, pod)| self.own_pools(pod)).unwrap_or_default();
        let meant: &Pool = match own.as_slice() {
            [only] => only,
            _ => {
                let meant = nearest(name, self.pools().map(|pool| &pool.name))?;
                self.pools().find(|pool| pool.name == *meant)?
            }
        };
        let whose = match objective {
            Some(objective) => format!("`spec.poolRef.name` of InferenceObjective `{objective}`"),
            None => format!("`spec.targetRef.name` of `{}`", binding.key),
        };
        Some(format!(
            "set {whose} to `{}` (of {}), or create InferencePool `{name}`",
            meant.name, meant.group
        ))
    }

    /// Of several objectives of a name, the one that leads to a pool with the pod, or with pods at all.
    fn one_of(&self, binding: &Binding, name: &ObjectName) -> Option<String> {
        let index = self.scene.index;
        let leads = |group: &ObjectiveGroup| {
            let objective = index.objective(self.namespace(), name, *group).filter(|one| !one.deleting);
            let Some(to) = objective.and_then(|one| one.pool_ref.as_ref().ok()) else { return false };
            let mut pools = self
                .pools()
                .filter(|pool| pool.name == to.name && to.group.is_none_or(|group| group == pool.group));
            pools.any(|pool| {
                pool.labels.as_ref().is_ok_and(|labels| match self.pod {
                    Some((_, pod)) => selects(labels, pod),
                    None => !self.pods_in(labels).is_empty(),
                })
            })
        };
        let leading: Vec<ObjectiveGroup> = ObjectiveGroup::ALL.into_iter().filter(leads).collect();
        let [only] = leading.as_slice() else { return None };
        let pods = if self.pod.is_some() { "this pod" } else { "pods" };
        Some(format!(
            "set `spec.targetRef.group` of `{}` to `{only}`, whose pool has {pods}, or remove the other InferenceObjective",
            binding.key
        ))
    }
}

/// The one name that was probably meant: the only one, or one that is as near as a slip.
fn nearest<'n>(name: &ObjectName, known: impl Iterator<Item = &'n ObjectName>) -> Option<&'n ObjectName> {
    let mut near: Vec<(usize, &ObjectName)> =
        known.map(|one| (slips(name.as_str(), one.as_str()), one)).collect();
    near.sort_unstable();
    near.dedup();
    match near.as_slice() {
        [(_, only)] => Some(only),
        [(first, meant), (second, _), ..] if first < second && *first <= SLIPS => Some(meant),
        _ => None,
    }
}

/// How many characters differ, are too many or too few.
fn slips(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (at, one) in a.chars().enumerate() {
        let mut before = row[0];
        row[0] = at + 1;
        for (place, other) in b.iter().enumerate() {
            let here = before + usize::from(one != *other);
            before = row[place + 1];
            row[place + 1] = here.min(before + 1).min(row[place] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::slips;

    #[test]
    fn slips_are_counted() {
        for (a, b, number) in
            [("", "", 0), ("chat", "chat", 0), ("chat", "chatt", 1), ("llama", "lama", 1), ("ab", "ba", 2)]
        {
            assert_eq!(slips(a, b), number, "{a} {b}");
        }
    }
}
