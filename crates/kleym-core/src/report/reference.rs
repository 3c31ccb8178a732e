//! What there is to say about the objects that bindings refer to: names that stand in more than one API group, and
//! objects that nobody reads any more. Repeats no verdict and makes none.

use super::code::Code;
use super::finding::{Finding, binding_key};
use super::place::FieldPath;
use crate::fact::{Binding, FactKey, Known, Objective, Target};
use crate::index::Index;
use crate::kind::{Kind, ObjectiveGroup, PoolGroup};
use crate::name::ObjectName;
use crate::text::quoted_list;

/// Everything there is to say about what the bindings of an index refer to. In a cluster a kind that was listed is
/// installed; of files that is not known, so there it counts as installed when an object of it is declared.
pub fn references(index: &Index, in_cluster: bool) -> Vec<Finding> {
    let llm_d = Kind::Objective(ObjectiveGroup::LlmD);
    let llm_d_is_read = if in_cluster {
        index.availability(llm_d).known == Known::Listed
    } else {
        index.objectives().any(|objective| objective.group == ObjectiveGroup::LlmD)
    };
    index.bindings().flat_map(|binding| of_binding(index, binding, llm_d_is_read)).collect()
}

fn of_binding(index: &Index, binding: &Binding, llm_d_is_read: bool) -> Vec<Finding> {
    let Ok(spec) = &binding.spec else { return Vec::new() };
    let mut found = Vec::new();
    let (name, pinned) = match &spec.target {
        Target::Objective { name, group } => (name, *group),
        Target::Pool { name, group } => {
            found.extend(group.is_none().then(|| pool_pair(index, binding, name)).flatten());
            return found;
        }
    };
    let objective = |group: ObjectiveGroup| {
        index.objective(&binding.key.namespace, name, group).filter(|objective| !objective.deleting)
    };
    let hits: Vec<&Objective> = ObjectiveGroup::ALL.into_iter().filter_map(objective).collect();
    if pinned.is_none() && hits.len() > 1 {
        found.push(served_twice(binding, name, &hits));
    }
    let read = hits.iter().find(|hit| pinned.is_none_or(|group| hit.group == group));
    let Some(read) = read else { return found };
    if read.group == ObjectiveGroup::InferenceX && llm_d_is_read {
        let new = hits.iter().find(|hit| hit.group == ObjectiveGroup::LlmD).copied();
        found.push(not_read(binding, read, new, pinned.is_some()));
    }
    if let Ok(pool_ref) = &read.pool_ref
        && pool_ref.group.is_none()
    {
        found.extend(pool_pair(index, binding, &pool_ref.name));
    }
    found
}

fn object(binding: &Binding, kind: Kind, name: &ObjectName) -> FactKey {
    FactKey { kind, namespace: binding.key.namespace.clone(), name: name.clone() }
}

fn served_twice(binding: &Binding, name: &ObjectName, hits: &[&Objective]) -> Finding {
    let key = binding_key(&binding.key);
    let groups = quoted_list(hits.iter().map(|hit| hit.group.as_str()));
    // Nothing is wrong with it as long as all lead to one pool; which of them counts is worth knowing all the same.
    let pools: Option<Vec<&ObjectName>> =
        hits.iter().map(|hit| hit.pool_ref.as_ref().ok().map(|pool_ref| &pool_ref.name)).collect();
    let today = match (pools.as_deref(), hits.first()) {
        (Some([pool, others @ ..]), Some(first)) if others.iter().all(|other| other == pool) => {
            format!(" (today all lead to pool `{pool}`, and that of `{}` counts)", first.group)
        }
        _ => String::new(),
    };
    let message = format!(
        "`{}` names InferenceObjective `{name}`, which exists in {groups}{today}; whoever edits one of them may change the identity or have it refused",
        binding.key
    );
    let finding = Finding::new(Code::ObjectiveInTwoGroups, message)
        .about(&key)
        .hint("keep the one that the router reads, or pin the group with spec.targetRef.group")
        .at(key, FieldPath::target());
    hits.iter().fold(finding, |finding, hit| {
        finding.related("one of them", object(binding, Kind::Objective(hit.group), name))
    })
}

/// The router of llm-d reads `llm-d.ai` and ignores the older group when both are installed.
fn not_read(binding: &Binding, objective: &Objective, new: Option<&Objective>, pinned: bool) -> Finding {
    let key = binding_key(&binding.key);
    let own = object(binding, Kind::Objective(objective.group), &objective.name);
    let message = format!(
        "InferenceObjective `{}/{}` is kept in `{}`, which the router does not read where `{}` is installed",
        binding.key.namespace,
        objective.name,
        objective.group,
        ObjectiveGroup::LlmD
    );
    let group = ObjectiveGroup::LlmD;
    let pool = |of: &Objective| of.pool_ref.as_ref().ok().map(|to| to.name.clone());
    let hint = match (new, pinned) {
        (Some(new), _)
            if let (Some(old_pool), Some(new_pool)) = (pool(objective), pool(new))
                && old_pool != new_pool =>
        {
            format!(
                "the one of that name in `{group}` leads to pool `{new_pool}`, not to `{old_pool}`: set `spec.targetRef.group: {group}` in `{}` when the identity is to go to the pods of `{new_pool}`, and remove the old objective after that, for before that it withdraws the identity",
                binding.key
            )
        }
        (Some(_), _) => format!(
            "set `spec.targetRef.group: {group}` in `{}`, and then remove the old one, for before that it withdraws the identity",
            binding.key
        ),
        (None, true) => format!(
            "create it again in `{group}`, then set `spec.targetRef.group: {group}` in `{}`, and only then remove the old one",
            binding.key
        ),
        (None, false) => format!("create it again in `{group}`, and then remove the old one"),
    };
    Finding::new(Code::ObjectiveNotRead, message)
        .about(&key)
        .about(&own)
        .hint(hint)
        .at(own, FieldPath::dotted("apiVersion"))
}

/// A pool that is looked up without a group and stands in both: KServe makes such pairs.
fn pool_pair(index: &Index, binding: &Binding, name: &ObjectName) -> Option<Finding> {
    let pool =
        |group: PoolGroup| index.pool(&binding.key.namespace, name, group).filter(|pool| !pool.deleting);
    let [first, second] = PoolGroup::ALL.map(pool);
    let (first, second) = (first?, second?);
    let key = binding_key(&binding.key);
    let same = first.labels.is_ok() && first.labels == second.labels;
    let message = format!(
        "InferencePool `{}/{name}` exists in `{}` and in `{}`, with {}",
        binding.key.namespace,
        first.group,
        second.group,
        if same { "the same selector" } else { "different selectors" }
    );
    let finding = Finding::new(Code::PoolPair, message).about(&key).at(key, FieldPath::target());
    let finding = finding.related("the one that counts", object(binding, Kind::Pool(first.group), name));
    Some(finding.related("the other one", object(binding, Kind::Pool(second.group), name)))
}
