//! Where a finding shows: which object, and which field of it. A pure statement about declared objects; nothing here
//! knows files or lines.

use std::fmt;

use super::finding::binding_key;
use crate::fact::{Binding, FactKey, PoolRefError, PoolSelectorError, SpecField};
use crate::index::Index;
use crate::kind::{Kind, ObjectiveGroup, PoolGroup};
use crate::name::ObjectName;
use crate::refusal::Refusal;
use crate::relation::Cause;
use crate::selector::SetError;

/// One step into an object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// The value of a field.
    Field(Box<str>),
    /// The name of a field itself; always the last step.
    Key(Box<str>),
    /// An entry of a list, from 0.
    Item(usize),
}

/// The way from an object to one of its fields.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct FieldPath(Vec<Step>);

impl FieldPath {
    /// The path of nested fields: `spec.targetRef.name`.
    pub fn of<'a>(fields: impl IntoIterator<Item = &'a str>) -> Self {
        Self(fields.into_iter().map(|field| Step::Field(field.into())).collect())
    }

    /// The field of that dotted path; no field name in it holds a dot.
    pub fn dotted(path: &str) -> Self {
        Self::of(path.split('.'))
    }

    /// `metadata.name`
    pub fn name() -> Self {
        Self::dotted("metadata.name")
    }

    /// `spec.targetRef.name`
    pub(super) fn target() -> Self {
        Self::dotted("spec.targetRef.name")
    }

    /// One step further, to a field.
    #[must_use]
    pub fn field(mut self, name: &str) -> Self {
        self.0.push(Step::Field(name.into()));
        self
    }

    /// One step further, to the name of a field itself.
    #[must_use]
    pub fn key(mut self, name: &str) -> Self {
        self.0.push(Step::Key(name.into()));
        self
    }

    /// One step further, to an entry of a list.
    #[must_use]
    pub fn item(mut self, index: usize) -> Self {
        self.0.push(Step::Item(index));
        self
    }

    /// This path, continued by another one.
    #[must_use]
    pub fn join(mut self, further: &FieldPath) -> Self {
        self.0.extend(further.0.iter().cloned());
        self
    }

    /// The steps, from the object on.
    pub fn steps(&self) -> &[Step] {
        &self.0
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, step) in self.0.iter().enumerate() {
            match step {
                Step::Item(item) => write!(f, "[{item}]")?,
                Step::Field(name) | Step::Key(name) => {
                    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
                    if name.is_empty() || !name.chars().all(plain) {
                        write!(f, "[{name:?}]")?;
                    } else if index == 0 {
                        f.write_str(name)?;
                    } else {
                        write!(f, ".{name}")?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// A field of an object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Which object.
    pub object: FactKey,
    /// Which field; where the object does not have it, the nearest one around it is meant.
    pub field: FieldPath,
}

const TEMPLATES: &str = "spec.workloadSelectorTemplates";

/// The template that says this item literally, else the whole list.
pub(super) fn of_item(binding: &Binding, item: &str) -> FieldPath {
    let templates = FieldPath::dotted(TEMPLATES);
    let spec = binding.spec.as_ref().ok();
    let index = spec.and_then(|spec| spec.selector_templates.iter().position(|text| &**text == item));
    match index {
        Some(index) => templates.item(index),
        None => templates,
    }
}

/// The field that a selector item comes from: the discriminator, the template that says it, else all templates.
pub fn selector_field(binding: &Binding, item: &str) -> FieldPath {
    let discriminator = binding.spec.as_ref().ok().and_then(|spec| spec.discriminator.as_ref());
    let own = discriminator.map(|named| format!("{}:{}", named.kind.selector_key(), named.value));
    if own.is_some_and(|own| own == item) {
        FieldPath::dotted("spec.containerDiscriminator.value")
    } else {
        of_item(binding, item)
    }
}

/// Where a refusal shows.
pub(super) fn of_refusal(index: &Index, binding: &Binding, refusal: &Refusal) -> Place {
    let of_binding = |field: FieldPath| Place { object: binding_key(&binding.key), field };
    let elsewhere = |kind: Kind, name: &ObjectName, field: FieldPath| Place {
        object: FactKey { kind, namespace: binding.key.namespace.clone(), name: name.clone() },
        field,
    };
    match refusal {
        Refusal::Spec(error) => of_binding(of_spec(error.field)),
        Refusal::ObjectiveNotFound { .. } => of_binding(FieldPath::target()),
        Refusal::PoolNotFound { name, objective: Some(objective), .. } => {
            let points_there = |group: &ObjectiveGroup| {
                let found = index.objective(&binding.key.namespace, objective, *group);
                found.and_then(|o| o.pool_ref.as_ref().ok()).is_some_and(|pool_ref| pool_ref.name == *name)
            };
            match ObjectiveGroup::ALL.into_iter().find(points_there) {
                Some(group) => {
                    elsewhere(Kind::Objective(group), objective, FieldPath::dotted("spec.poolRef.name"))
                }
                None => of_binding(FieldPath::target()),
            }
        }
        Refusal::PoolNotFound { objective: None, .. } => of_binding(FieldPath::target()),
        Refusal::PoolRef { group, objective, error } => {
            elsewhere(Kind::Objective(*group), objective, of_pool_ref(error))
        }
        Refusal::Ambiguous { .. } => of_binding(FieldPath::target()),
        Refusal::ObjectiveCrdMissing(_) | Refusal::PoolCrdMissing(_) => of_binding(FieldPath::target()),
        Refusal::PoolSelector { group, pool, error } => {
            elsewhere(Kind::Pool(*group), pool, of_pool_selector(*group, error))
        }
        Refusal::PoolTargetPerObjective => of_binding(FieldPath::dotted("spec.targetRef.kind")),
        Refusal::MissingDiscriminator => of_binding(FieldPath::dotted("spec.mode")),
        Refusal::DiscriminatorInPoolOnly => of_binding(FieldPath::dotted("spec.containerDiscriminator")),
        Refusal::Discriminator { .. } => of_binding(FieldPath::dotted("spec.containerDiscriminator.value")),
        Refusal::SelectorTemplate { index, .. } | Refusal::SelectorItem { index, .. } => {
            of_binding(FieldPath::dotted(TEMPLATES).item(*index))
        }
        Refusal::SelectorSet(error) => of_binding(match error {
            SetError::NoNamespace(_) | SetError::NoServiceAccount => FieldPath::dotted(TEMPLATES),
            SetError::ForeignNamespace { item, .. } => of_item(binding, item),
            // The first may come from the pool or the discriminator; then the second is shown.
            SetError::TwoValues(first, second) | SetError::CaseTwins(first, second) => {
                let of_first = of_item(binding, first);
                if of_first.steps().len() > 2 { of_first } else { of_item(binding, second) }
            }
        }),
        Refusal::SpiffeIdTemplate(_) | Refusal::SpiffeId { .. } => {
            of_binding(FieldPath::dotted("spec.spiffeIDTemplate"))
        }
        Refusal::Conflict(conflict) => of_binding(match conflict.cause() {
            Cause::IdentityCollision => FieldPath::name(),
            Cause::DuplicateSpiffeId => FieldPath::dotted("spec.spiffeIDTemplate"),
        }),
        Refusal::OutputCrdMissing | Refusal::OutputForeign { .. } | Refusal::OutputWrite { .. } => {
            of_binding(FieldPath::name())
        }
        Refusal::FinalizerWrite { .. } => of_binding(FieldPath::name()),
    }
}

fn of_spec(field: SpecField) -> FieldPath {
    match field {
        SpecField::SelectorTemplate(index) => FieldPath::dotted(TEMPLATES).item(index),
        field => FieldPath::dotted(&field.to_string()),
    }
}

fn of_pool_ref(error: &PoolRefError) -> FieldPath {
    FieldPath::dotted(match error {
        PoolRefError::Field { field, .. } => field,
        PoolRefError::OtherNamespace(_) => "spec.poolRef.namespace",
        PoolRefError::UnknownKind(_) => "spec.poolRef.kind",
        PoolRefError::UnknownGroup(_) => "spec.poolRef.group",
    })
}

fn of_pool_selector(group: PoolGroup, error: &PoolSelectorError) -> FieldPath {
    let selector = FieldPath::dotted("spec.selector");
    let labels = match group {
        PoolGroup::Inference => selector.clone().field("matchLabels"),
        PoolGroup::InferenceX => selector.clone(),
    };
    match error {
        PoolSelectorError::Field { field, .. } => {
            // Behind the path of the labels stands a label's key, dots and all.
            match field.strip_prefix(labels.to_string().as_str()).and_then(|rest| rest.strip_prefix('.')) {
                Some(key) => labels.field(key),
                None => FieldPath::dotted(field),
            }
        }
        PoolSelectorError::Empty | PoolSelectorError::TooMany(_) => labels,
        PoolSelectorError::MatchExpressions => selector.key("matchExpressions"),
        PoolSelectorError::UnknownField(name) => selector.key(name),
        PoolSelectorError::Key { key, .. } | PoolSelectorError::Item { key, .. } => labels.key(key),
        PoolSelectorError::Value { key, .. } => labels.field(key),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_reads_like_the_field_it_leads_to() {
        let path = FieldPath::dotted("spec.workloadSelectorTemplates").item(1);
        assert_eq!(path.to_string(), "spec.workloadSelectorTemplates[1]");
        let path = FieldPath::dotted("spec.selector.matchLabels").key("llm-d.ai/model");
        assert_eq!(path.to_string(), "spec.selector.matchLabels[\"llm-d.ai/model\"]");
    }

    #[test]
    fn a_label_key_with_dots_stays_one_step() {
        let problem = crate::fact::ValueProblem::Missing;
        let error = PoolSelectorError::Field { field: "spec.selector.matchLabels.a.b/c".into(), problem };
        assert_eq!(
            of_pool_selector(PoolGroup::Inference, &error),
            FieldPath::dotted("spec.selector.matchLabels").field("a.b/c")
        );
    }
}
