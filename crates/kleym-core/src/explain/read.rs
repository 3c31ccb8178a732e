//! What was read for a refusal: the fields that it comes from, with what stands in them. The words of the refusal are its
//! own; here is what they rest on.

use super::Question;
use super::chain::Evidence;
use super::links::shown;
use crate::fact::{
    Binding, Objective, Pool, PoolRefError, PoolSelectorError, SpecError, Target, ValueProblem,
};
use crate::index::{Index, Verdict};
use crate::kind::{Kind, ObjectiveGroup, PoolGroup};
use crate::name::{BindingKey, ObjectName};
use crate::output::FINALIZER;
use crate::refusal::Refusal;
use crate::relation::{Cause, Conflict};
use crate::report::Finding;
use crate::selector::SetError;
use crate::spire::Selector;

const NONE: &str = "<none>";
/// The most names that are listed.
const NAMES: usize = 5;

/// What a refusal of a binding rests on.
pub(super) fn of_refusal(question: &Question<'_>, binding: &Binding, refusal: &Refusal) -> Vec<Evidence> {
    let reader = Reader { question, index: question.scene.index, binding };
    match refusal {
        Refusal::Spec(SpecError { field, problem }) => {
            vec![reader.own(field.to_string(), of_problem(problem))]
        }
        Refusal::ObjectiveNotFound { name, .. } => reader.no_objective(name),
        Refusal::PoolNotFound { name, objective, .. } => reader.no_pool(name, objective.as_ref()),
        Refusal::PoolRef { group, objective, error } => {
            let object = format!("InferenceObjective {}/{objective} ({group})", binding.key.namespace);
            let (field, value) = of_pool_ref_error(error);
            vec![Evidence::new(object, field, value)]
        }
        Refusal::Ambiguous { name, .. } => reader.ambiguous(name),
        Refusal::ObjectiveCrdMissing(group) => {
            let groups = group.map_or(ObjectiveGroup::ALL.to_vec(), |group| vec![group]);
            groups.into_iter().map(|group| no_definition(Kind::Objective(group))).collect()
        }
        Refusal::PoolCrdMissing(group) => {
            let groups = group.map_or(PoolGroup::ALL.to_vec(), |group| vec![group]);
            groups.into_iter().map(|group| no_definition(Kind::Pool(group))).collect()
        }
        Refusal::PoolSelector { group, pool, error } => {
            let object = format!("InferencePool {}/{pool} ({group})", binding.key.namespace);
            let (field, value) = of_pool_selector(error);
            vec![Evidence::new(object, field, value)]
        }
        Refusal::PoolTargetPerObjective => {
            vec![reader.own("spec.targetRef.kind", "InferencePool"), reader.mode()]
        }
        Refusal::MissingDiscriminator => vec![reader.mode(), reader.own("spec.containerDiscriminator", NONE)],
        Refusal::DiscriminatorInPoolOnly | Refusal::Discriminator { .. } => {
            vec![reader.mode(), reader.discriminator()]
        }
        Refusal::SelectorTemplate { index, .. } => vec![reader.template(*index)],
        Refusal::SelectorItem { index, rendered, .. } => {
            let written = reader.template(*index);
            let differs = written.value != **rendered;
            let becomes =
                Evidence { value: format!("{} (becomes {rendered})", written.value), ..written.clone() };
            vec![if differs { becomes } else { written }]
        }
        Refusal::SelectorSet(SetError::TwoValues(..) | SetError::CaseTwins(..)) => {
            std::iter::once(reader.templates()).chain(reader.pool_selector()).collect()
        }
        Refusal::SelectorSet(_) => vec![reader.templates()],
        Refusal::SpiffeIdTemplate(_) => vec![reader.id_template()],
        Refusal::SpiffeId { rendered, .. } => {
            let written = reader.id_template();
            let becomes = (written.value != **rendered).then(|| reader.own("SPIFFE ID", &**rendered));
            std::iter::once(written).chain(becomes).collect()
        }
        Refusal::Conflict(conflict) => reader.conflict(conflict),
        Refusal::OutputCrdMissing => vec![no_definition(Kind::Output)],
        Refusal::FinalizerWrite { .. } => {
            vec![reader.own("metadata.finalizers", if binding.finalizer { FINALIZER } else { NONE })]
        }
        Refusal::OutputForeign { name } | Refusal::OutputWrite { name, .. } => {
            vec![Evidence::new(format!("ClusterSPIFFEID {name}"), "metadata.name", name.as_str())]
        }
    }
}

/// How long after the younger of two bindings came a collision is none that it brought along, in seconds.
const SETTLED: i64 = 60;

/// Which of two bindings was changed before they collided, where generations and times tell; and in words.
pub(super) fn edited(
    question: &Question<'_>,
    binding: &Binding,
    conflict: &Conflict,
) -> Option<(BindingKey, String)> {
    let peer = BindingKey::new(binding.key.namespace.clone(), conflict.foremost.name.clone());
    let peer = question.scene.index.binding(&peer)?;
    let (changed, other) = match (binding.generation?, peer.generation?) {
        (1, theirs) if theirs > 1 => (peer, binding),
        (own, 1) if own > 1 => (binding, peer),
        _ => return None,
    };
    let status = (question.status)(&binding.key)?;
    let since = status.since.filter(|_| status.ready == "False" && status.observed == binding.generation)?;
    // As Kubernetes writes times, their order is that of the texts.
    let settled = |one: &Binding| one.created.is_some_and(|time| (question.time)(time + SETTLED) < since);
    let words = || {
        format!(
            "`{}` was edited since it was created (generation {}) and `{}` never was; that they collide is reported since {since}, long after both were created: if the edit of `{}` was not meant, take it back",
            changed.key,
            changed.generation.unwrap_or_default(),
            other.key,
            changed.key
        )
    };
    (settled(binding) && settled(peer)).then(|| (changed.key.clone(), words()))
}

/// Whether a binding was edited, and has taken from another one since what that had.
pub(super) fn took_by_an_edit(question: &Question<'_>, binding: &Binding) -> bool {
    let index = question.scene.index;
    let mut others = index.bindings_of(&binding.key.namespace).filter(|other| other.key != binding.key);
    others.any(|other| match index.verdict(&other.key).verdict {
        Verdict::Refused(Refusal::Conflict(conflict)) => {
            edited(question, other, &conflict).is_some_and(|(changed, _)| changed == binding.key)
        }
        _ => false,
    })
}

/// What was read of the ClusterSPIFFEID that a finding speaks of: whom it selects, and since when.
pub(super) fn of_object(question: &Question<'_>, finding: &Finding) -> Option<String> {
    let named = finding.references.iter().find(|one| one.kind == "ClusterSPIFFEID")?;
    let object = question.scene.world.registrations.iter().find(|object| object.name == named.name)?;
    let selector = |selector: &Option<Selector>| {
        let shown = selector.as_ref().map(ToString::to_string).unwrap_or_default();
        if shown.is_empty() { NONE.to_owned() } else { shown }
    };
    let templates = match object.selectors.len() {
        0 => NONE.to_owned(),
        number => format!("{number} of them"),
    };
    let created =
        object.created.map(|time| format!(", metadata.creationTimestamp = {}", (question.time)(time)));
    Some(format!(
        "ClusterSPIFFEID {}: spec.podSelector = {}, spec.namespaceSelector = {}, spec.workloadSelectorTemplates = {templates}{}",
        object.name,
        selector(&object.pods),
        selector(&object.namespaces),
        created.unwrap_or_default()
    ))
}

/// The bindings of a namespace, and what each is of.
pub(super) fn bindings(index: &Index, namespace: &crate::name::Namespace) -> Evidence {
    let there = index.bindings().filter(|binding| binding.key.namespace == *namespace);
    let each = there.map(|binding| match binding.spec.as_ref().map(|spec| &spec.target) {
        Ok(Target::Objective { name, .. }) => format!("{} -> objective {name}", binding.key.name),
        Ok(Target::Pool { name, .. }) => format!("{} -> pool {name}", binding.key.name),
        Err(_) => format!("{} (malformed)", binding.key.name),
    });
    listed(format!("namespace {namespace}"), "InferenceIdentityBindings", each)
}

struct Reader<'a> {
    question: &'a Question<'a>,
    index: &'a Index,
    binding: &'a Binding,
}

impl Reader<'_> {
    fn own(&self, field: impl Into<String>, value: impl Into<String>) -> Evidence {
        Evidence::new(format!("InferenceIdentityBinding {}", self.binding.key), field, value)
    }

    fn target_group(&self) -> Option<Evidence> {
        let group = match &self.binding.spec.as_ref().ok()?.target {
            Target::Objective { group, .. } => group.map(ObjectiveGroup::as_str),
            Target::Pool { group, .. } => group.map(PoolGroup::as_str),
        };
        Some(self.own("spec.targetRef.group", group?))
    }

    fn objectives(&self, name: &ObjectName) -> impl Iterator<Item = &Objective> {
        let namespace = &self.binding.key.namespace;
        ObjectiveGroup::ALL.into_iter().filter_map(move |group| self.index.objective(namespace, name, group))
    }

    fn pools(&self, name: &ObjectName) -> impl Iterator<Item = &Pool> {
        let namespace = &self.binding.key.namespace;
        PoolGroup::ALL.into_iter().filter_map(move |group| self.index.pool(namespace, name, group))
    }

    fn no_objective(&self, name: &ObjectName) -> Vec<Evidence> {
        let others = self.index.objectives().filter(|one| one.namespace == self.binding.key.namespace);
        let others = others.map(|objective| format!("{} ({})", objective.name, objective.group));
        let there = self.objectives(name).map(objective_there).collect();
        self.not_there(self.target(name), there, "InferenceObjectives", others)
    }

    fn no_pool(&self, name: &ObjectName, objective: Option<&ObjectName>) -> Vec<Evidence> {
        let asked = match objective {
            Some(objective) => {
                let leads = |one: &&Objective| one.pool_ref.as_ref().is_ok_and(|pool| pool.name == *name);
                self.objectives(objective).filter(leads).map(pool_ref).collect()
            }
            None => self.target(name),
        };
        let others = self.index.pools().filter(|one| one.namespace == self.binding.key.namespace);
        let others = others.map(|pool| format!("{} ({})", pool.name, pool.group));
        let there = self.pools(name).map(pool_there).collect();
        self.not_there(asked, there, "InferencePools", others)
    }

    /// What the binding itself asks for.
    fn target(&self, name: &ObjectName) -> Vec<Evidence> {
        std::iter::once(self.own("spec.targetRef.name", name.as_str())).chain(self.target_group()).collect()
    }

    /// What was asked for, and what there is of the name in any group; when there is nothing, what other names there are.
    fn not_there(
        &self,
        mut read: Vec<Evidence>,
        of_name: Vec<Evidence>,
        kind: &str,
        others: impl Iterator<Item = String>,
    ) -> Vec<Evidence> {
        if of_name.is_empty() {
            read.push(listed(format!("namespace {}", self.binding.key.namespace), kind, others));
        }
        read.extend(of_name);
        read
    }

    /// Where each of several objects of one name leads.
    fn ambiguous(&self, name: &ObjectName) -> Vec<Evidence> {
        let of_pool = self.binding.spec.as_ref().is_ok_and(|spec| matches!(spec.target, Target::Pool { .. }));
        let mut read = vec![self.own("spec.targetRef.group", NONE)];
        if of_pool {
            let pools = self.pools(name).filter(|pool| !pool.deleting);
            read.extend(pools.map(|pool| {
                let value = match &pool.labels {
                    Ok(labels) => shown(labels),
                    Err(error) => of_pool_selector(error).1,
                };
                Evidence::new(pool_object(pool), "spec.selector", value)
            }));
        } else {
            read.extend(self.objectives(name).filter(|objective| !objective.deleting).map(pool_ref));
        }
        read
    }

    fn mode(&self) -> Evidence {
        let mode = self.binding.spec.as_ref().map_or(NONE, |spec| spec.mode.as_str());
        self.own("spec.mode", mode)
    }

    fn discriminator(&self) -> Evidence {
        let named = self.binding.spec.as_ref().ok().and_then(|spec| spec.discriminator.as_ref());
        let value = named.map_or(NONE.to_owned(), |named| format!("{} {}", named.kind.as_str(), named.value));
        self.own("spec.containerDiscriminator", value)
    }

    fn template(&self, index: usize) -> Evidence {
        let spec = self.binding.spec.as_ref().ok();
        let text = spec.and_then(|spec| spec.selector_templates.get(index)).map_or(NONE, |text| &**text);
        self.own(format!("spec.workloadSelectorTemplates[{index}]"), text)
    }

    fn templates(&self) -> Evidence {
        let spec = self.binding.spec.as_ref().ok();
        let texts = spec.into_iter().flat_map(|spec| &*spec.selector_templates).map(ToString::to_string);
        let all: Vec<String> = texts.collect();
        self.own("spec.workloadSelectorTemplates", all.join(", "))
    }

    /// What the pool selects by.
    fn pool_selector(&self) -> Option<Evidence> {
        let resolved = self.index.resolved(&self.binding.key)?.ok()?;
        let object = format!("InferencePool {}/{}", self.binding.key.namespace, resolved.pool.name);
        Some(Evidence::new(object, "spec.selector", shown(&resolved.pool.labels)))
    }

    fn id_template(&self) -> Evidence {
        id_template(self.binding)
    }

    /// Who came when, and what both claim.
    fn conflict(&self, conflict: &Conflict) -> Vec<Evidence> {
        let peer = BindingKey::new(self.binding.key.namespace.clone(), conflict.foremost.name.clone());
        let peer = self.index.binding(&peer);
        let both = || peer.into_iter().chain([self.binding]);
        let created = |binding: &Binding| {
            let time = binding.created.map_or_else(|| NONE.to_owned(), self.question.time);
            Evidence::new(binding_object(&binding.key), "metadata.creationTimestamp", time)
        };
        let mut read: Vec<Evidence> = both().map(created).collect();
        match conflict.foremost.cause {
            Cause::IdentityCollision => read.extend(both().map(|binding| {
                let identity = self.index.identity(&binding.key);
                let items: Vec<&str> =
                    identity.iter().flat_map(|identity| identity.selectors.texts()).collect();
                let items = if items.is_empty() { NONE.to_owned() } else { items.join(", ") };
                Evidence::new(binding_object(&binding.key), "selectors", items)
            })),
            Cause::DuplicateSpiffeId => read.extend(both().map(id_template)),
        }
        read
    }
}

fn binding_object(key: &BindingKey) -> String {
    format!("InferenceIdentityBinding {key}")
}

fn objective_object(objective: &Objective) -> String {
    format!("InferenceObjective {}/{} ({})", objective.namespace, objective.name, objective.group)
}

fn pool_object(pool: &Pool) -> String {
    format!("InferencePool {}/{} ({})", pool.namespace, pool.name, pool.group)
}

/// An object that is there, and perhaps on its way out.
fn there(object: String, name: &ObjectName, deleting: bool) -> Evidence {
    match deleting {
        true => Evidence::new(object, "metadata.deletionTimestamp", "set"),
        false => Evidence::new(object, "metadata.name", name.as_str()),
    }
}

fn objective_there(objective: &Objective) -> Evidence {
    there(objective_object(objective), &objective.name, objective.deleting)
}

fn pool_there(pool: &Pool) -> Evidence {
    there(pool_object(pool), &pool.name, pool.deleting)
}

/// Where an objective leads.
pub(super) fn pool_ref(objective: &Objective) -> Evidence {
    match &objective.pool_ref {
        Ok(to) => {
            let group = match to.group {
                // What an objective means that names no group.
                Some(PoolGroup::Inference) => format!("{}, the default", PoolGroup::Inference),
                Some(group) => group.to_string(),
                None => "any".to_owned(),
            };
            Evidence::new(objective_object(objective), "spec.poolRef", format!("{} (group {group})", to.name))
        }
        Err(error) => {
            let (field, value) = of_pool_ref_error(error);
            Evidence::new(objective_object(objective), field, value)
        }
    }
}

fn id_template(binding: &Binding) -> Evidence {
    let spec = binding.spec.as_ref().ok();
    let text = spec.and_then(|spec| spec.spiffe_id_template.as_deref()).unwrap_or(NONE);
    Evidence::new(binding_object(&binding.key), "spec.spiffeIDTemplate", text)
}

fn no_definition(kind: Kind) -> Evidence {
    Evidence::new(format!("CustomResourceDefinition {}", kind.crd_name()), "metadata.name", "<not found>")
}

fn listed(object: String, field: &str, names: impl Iterator<Item = String>) -> Evidence {
    let names: Vec<String> = names.collect();
    let mut shown: Vec<String> = names.iter().take(NAMES).cloned().collect();
    if names.len() > NAMES {
        shown.push(format!("{} more", names.len() - NAMES));
    }
    let value = if shown.is_empty() { NONE.to_owned() } else { shown.join(", ") };
    Evidence::new(object, field, value)
}

/// What stands in a field, as far as a problem with it tells.
fn of_problem(problem: &ValueProblem) -> String {
    match problem {
        ValueProblem::Missing => NONE.to_owned(),
        ValueProblem::WrongType { found, .. } => (*found).to_owned(),
        ValueProblem::Length { unit, found, .. } => format!("{found} {unit}"),
        ValueProblem::NotOneOf { found, .. } | ValueProblem::Name { found, .. } => found.to_string(),
        ValueProblem::Duplicate(found) => format!("{found}, twice"),
    }
}

fn of_pool_ref_error(error: &PoolRefError) -> (&'static str, String) {
    match error {
        PoolRefError::Field { field, problem } => (field, of_problem(problem)),
        PoolRefError::OtherNamespace(found) => ("spec.poolRef.namespace", found.to_string()),
        PoolRefError::UnknownKind(found) => ("spec.poolRef.kind", found.to_string()),
        PoolRefError::UnknownGroup(found) => ("spec.poolRef.group", found.to_string()),
    }
}

fn of_pool_selector(error: &PoolSelectorError) -> (String, String) {
    let selector = || "spec.selector".to_owned();
    match error {
        PoolSelectorError::Field { field, problem } => (field.to_string(), of_problem(problem)),
        PoolSelectorError::Empty => (selector(), "no labels".to_owned()),
        PoolSelectorError::MatchExpressions => {
            (format!("{}.matchExpressions", selector()), "not empty".to_owned())
        }
        PoolSelectorError::UnknownField(name) => (selector(), format!("the field {name}")),
        PoolSelectorError::TooMany(found) => (selector(), format!("{found} labels")),
        PoolSelectorError::Key { key, .. } | PoolSelectorError::Item { key, .. } => {
            (selector(), format!("the label {key}"))
        }
        PoolSelectorError::Value { key, value, .. } => (selector(), format!("{key}: {value}")),
    }
}
