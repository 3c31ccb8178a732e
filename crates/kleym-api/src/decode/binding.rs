//! InferenceIdentityBinding to fact: every rule of its schema again, because a CRD can be older than the program and a
//! file has seen none.
//!
//! Of a spec with several faults the first in the order of [`SpecField`] that its fields are read in is told: target,
//! mode, discriminator, selector templates, selector source, SPIFFE ID template.

use std::sync::Arc;

use kleym_core::fact::{
    Binding, BindingSpec, Discriminator, DiscriminatorType, Mode, SpecError, SpecField, Target, ValueProblem,
};
use kleym_core::kind::{Kind, ObjectiveGroup, PoolGroup};
use kleym_core::name::{BindingKey, Namespace, ObjectName};
use kleym_core::output::FINALIZER;
use serde_json::{Map, Value};

use super::meta::Meta;
use super::value::{
    excerpt, not_one_of, optional_object, optional_string, required_list, required_object, required_string,
    string, within,
};

/// The most characters of `spec.spiffeIDTemplate`.
const MAX_SPIFFE_ID_TEMPLATE: usize = 1024;
/// The most entries of `spec.workloadSelectorTemplates`.
const MAX_SELECTOR_TEMPLATES: usize = 32;
/// The most characters of one of them.
const MAX_SELECTOR_TEMPLATE: usize = 512;
/// The most characters of `spec.containerDiscriminator.value`.
const MAX_DISCRIMINATOR_VALUE: usize = 512;

const OBJECTIVE: &str = Kind::Objective(ObjectiveGroup::LlmD).kind();
const POOL: &str = Kind::Pool(PoolGroup::Inference).kind();
const TARGET_KINDS: &[&str] = &[OBJECTIVE, POOL];
const OBJECTIVE_GROUPS: &[&str] =
    &[ObjectiveGroup::ALL[0].as_str(), ObjectiveGroup::ALL[1].as_str(), ObjectiveGroup::ALL[2].as_str()];
const POOL_GROUPS: &[&str] = &[PoolGroup::ALL[0].as_str(), PoolGroup::ALL[1].as_str()];
const MODES: &[&str] = &[Mode::PoolOnly.as_str(), Mode::PerObjective.as_str()];
const DISCRIMINATOR_TYPES: &[&str] =
    &[DiscriminatorType::ContainerName.as_str(), DiscriminatorType::ContainerImage.as_str()];
const SELECTOR_SOURCES: &[&str] = &["DerivedFromPool"];

/// The fact of a binding whose identity is known.
pub(super) fn binding(object: &Value, namespace: Namespace, name: ObjectName) -> Binding {
    let meta = Meta::of(object);
    Binding {
        key: BindingKey::new(namespace, name),
        uid: meta.uid(),
        created: meta.created(),
        generation: meta.generation(),
        deleting: meta.deleting(),
        finalizer: meta.finalizers().any(|finalizer| finalizer == FINALIZER),
        spec: spec(object),
    }
}

/// Turns what is wrong with a value into what is wrong with a field.
fn of(field: SpecField) -> impl FnOnce(ValueProblem) -> SpecError {
    move |problem| SpecError { field, problem }
}

fn spec(object: &Value) -> Result<BindingSpec, SpecError> {
    let spec = required_object(object.get("spec")).map_err(of(SpecField::Spec))?;
    let target = target(spec)?;
    let mode = mode(spec).map_err(of(SpecField::Mode))?;
    let discriminator = discriminator(spec)?;
    let selector_templates = selector_templates(spec)?;
    selector_source(spec).map_err(of(SpecField::SelectorSource))?;
    let spiffe_id_template = spiffe_id_template(spec).map_err(of(SpecField::SpiffeIdTemplate))?;
    Ok(BindingSpec { target, mode, discriminator, selector_templates, spiffe_id_template })
}

fn target(spec: &Map<String, Value>) -> Result<Target, SpecError> {
    let target = required_object(spec.get("targetRef")).map_err(of(SpecField::TargetRef))?;
    let name = object_name(target.get("name")).map_err(of(SpecField::TargetName))?;
    let is_pool = match optional_string(target.get("kind")).map_err(of(SpecField::TargetKind))? {
        None | Some(OBJECTIVE) => false,
        Some(POOL) => true,
        Some(other) => return Err(of(SpecField::TargetKind)(not_one_of(other, TARGET_KINDS))),
    };
    let group = optional_string(target.get("group")).map_err(of(SpecField::TargetGroup))?;
    if is_pool {
        let group = pinned(group, PoolGroup::parse, POOL_GROUPS).map_err(of(SpecField::TargetGroup))?;
        Ok(Target::Pool { name, group })
    } else {
        let group =
            pinned(group, ObjectiveGroup::parse, OBJECTIVE_GROUPS).map_err(of(SpecField::TargetGroup))?;
        Ok(Target::Objective { name, group })
    }
}

/// The name of an object that another one refers to.
pub(super) fn object_name(value: Option<&Value>) -> Result<ObjectName, ValueProblem> {
    let text = required_string(value)?;
    ObjectName::parse(text).map_err(|error| ValueProblem::Name { found: excerpt(text), error })
}

/// The group that a target pins, which must be one that has its kind.
fn pinned<G>(
    text: Option<&str>,
    parse: impl FnOnce(&str) -> Option<G>,
    allowed: &'static [&'static str],
) -> Result<Option<G>, ValueProblem> {
    text.map(|text| parse(text).ok_or_else(|| not_one_of(text, allowed))).transpose()
}

/// Absent, and so null: the API server drops a null of a field that is not nullable, and then defaults it.
fn mode(spec: &Map<String, Value>) -> Result<Mode, ValueProblem> {
    let Some(text) = optional_string(spec.get("mode"))? else {
        return Ok(Mode::PerObjective);
    };
    [Mode::PoolOnly, Mode::PerObjective]
        .into_iter()
        .find(|mode| mode.as_str() == text)
        .ok_or_else(|| not_one_of(text, MODES))
}

fn discriminator(spec: &Map<String, Value>) -> Result<Option<Discriminator>, SpecError> {
    let field = optional_object(spec.get("containerDiscriminator")).map_err(of(SpecField::Discriminator))?;
    let Some(discriminator) = field else {
        return Ok(None);
    };
    let kind = discriminator_type(discriminator.get("type")).map_err(of(SpecField::DiscriminatorType))?;
    let value = required_string(discriminator.get("value"))
        .and_then(|value| within(value, MAX_DISCRIMINATOR_VALUE))
        .map_err(of(SpecField::DiscriminatorValue))?;
    Ok(Some(Discriminator { kind, value: value.into() }))
}

fn discriminator_type(value: Option<&Value>) -> Result<DiscriminatorType, ValueProblem> {
    let text = required_string(value)?;
    [DiscriminatorType::ContainerName, DiscriminatorType::ContainerImage]
        .into_iter()
        .find(|kind| kind.as_str() == text)
        .ok_or_else(|| not_one_of(text, DISCRIMINATOR_TYPES))
}

/// First their number, then each by itself, then that no two are equal.
fn selector_templates(spec: &Map<String, Value>) -> Result<Arc<[Box<str>]>, SpecError> {
    let whole = SpecField::SelectorTemplates;
    let items = required_list(spec.get("workloadSelectorTemplates")).map_err(of(whole))?;
    if !(1..=MAX_SELECTOR_TEMPLATES).contains(&items.len()) {
        let (max, found) = (MAX_SELECTOR_TEMPLATES, items.len());
        let problem = ValueProblem::Length { unit: "entries", min: 1, max, found };
        return Err(of(whole)(problem));
    }
    let mut templates: Vec<Box<str>> = Vec::with_capacity(items.len());
    for (index, item) in items.iter().enumerate() {
        let template = string(item)
            .and_then(|text| within(text, MAX_SELECTOR_TEMPLATE))
            .map_err(of(SpecField::SelectorTemplate(index)))?;
        templates.push(template.into());
    }
    for (index, template) in templates.iter().enumerate() {
        if templates[..index].contains(template) {
            return Err(of(whole)(ValueProblem::Duplicate(excerpt(template))));
        }
    }
    Ok(templates.into())
}

fn selector_source(spec: &Map<String, Value>) -> Result<(), ValueProblem> {
    let text = required_string(spec.get("selectorSource"))?;
    if SELECTOR_SOURCES.contains(&text) { Ok(()) } else { Err(not_one_of(text, SELECTOR_SOURCES)) }
}

fn spiffe_id_template(spec: &Map<String, Value>) -> Result<Option<Box<str>>, ValueProblem> {
    let text = optional_string(spec.get("spiffeIDTemplate"))?;
    Ok(text.map(|text| within(text, MAX_SPIFFE_ID_TEMPLATE)).transpose()?.map(Into::into))
}
