//! InferenceObjective and InferencePool to fact: of an objective only `spec.poolRef` is read, of a pool only
//! `spec.selector`. The shape of a selector is decided by the group, never guessed from the object.

use std::sync::Arc;

use kleym_core::fact::{
    Objective, Pool, PoolRef, PoolRefError, PoolSelectorError, ValueProblem, pool_labels,
};
use kleym_core::kind::{Kind, ObjectiveGroup, PoolGroup};
use kleym_core::label::Labels;
use kleym_core::name::{Namespace, ObjectName};
use serde_json::{Map, Value};

use super::binding::object_name;
use super::meta::Meta;
use super::value::{excerpt, optional, optional_string, required_object, string, wrong_type};

const POOL: &str = Kind::Pool(PoolGroup::Inference).kind();

/// The fact of an objective whose identity is known.
pub(super) fn objective(
    group: ObjectiveGroup,
    object: &Value,
    namespace: Namespace,
    name: ObjectName,
) -> Objective {
    let pool_ref = pool_ref(object, &namespace);
    Objective { group, namespace, name, deleting: Meta::of(object).deleting(), pool_ref }
}

/// Of several faults the first is told in the order: name, kind, group, namespace.
fn pool_ref(object: &Value, namespace: &Namespace) -> Result<PoolRef, PoolRefError> {
    fn of(field: &'static str) -> impl FnOnce(ValueProblem) -> PoolRefError {
        move |problem| PoolRefError::Field { field, problem }
    }
    let spec = required_object(object.get("spec")).map_err(of("spec"))?;
    let reference = required_object(spec.get("poolRef")).map_err(of("spec.poolRef"))?;
    let name = object_name(reference.get("name")).map_err(of("spec.poolRef.name"))?;
    match optional_string(reference.get("kind")).map_err(of("spec.poolRef.kind"))? {
        None | Some(POOL) => {}
        Some(other) => return Err(PoolRefError::UnknownKind(excerpt(other))),
    }
    let group = match optional_string(reference.get("group")).map_err(of("spec.poolRef.group"))? {
        None => Some(PoolGroup::Inference),
        Some("") => None,
        Some(text) => {
            let group = PoolGroup::parse(text);
            Some(group.ok_or_else(|| PoolRefError::UnknownGroup(excerpt(text)))?)
        }
    };
    match optional_string(reference.get("namespace")).map_err(of("spec.poolRef.namespace"))? {
        Some(other) if other != namespace.as_str() => Err(PoolRefError::OtherNamespace(excerpt(other))),
        _ => Ok(PoolRef { group, name }),
    }
}

/// The fact of a pool whose identity is known.
pub(super) fn pool(group: PoolGroup, object: &Value, namespace: Namespace, name: ObjectName) -> Pool {
    Pool { group, namespace, name, deleting: Meta::of(object).deleting(), labels: labels(group, object) }
}

/// Turns what is wrong with a value into what is wrong with a part of the selector.
fn of(field: impl Into<Box<str>>) -> impl FnOnce(ValueProblem) -> PoolSelectorError {
    move |problem| PoolSelectorError::Field { field: field.into(), problem }
}

fn labels(group: PoolGroup, object: &Value) -> Result<Arc<Labels>, PoolSelectorError> {
    let spec = required_object(object.get("spec")).map_err(of("spec"))?;
    let selector = required_object(spec.get("selector")).map_err(of("spec.selector"))?;
    match group {
        PoolGroup::Inference => {
            let match_labels = only_match_labels(selector)?;
            flat(match_labels, "spec.selector.matchLabels")
        }
        PoolGroup::InferenceX => flat(selector, "spec.selector"),
    }
}

/// `matchLabels` of a label selector that has nothing beside them. What stands beside is told before what is missing:
/// a selector of the other group's shape is better described so.
fn only_match_labels(selector: &Map<String, Value>) -> Result<&Map<String, Value>, PoolSelectorError> {
    match optional(selector.get("matchExpressions")) {
        None => {}
        Some(Value::Array(expressions)) if expressions.is_empty() => {}
        Some(Value::Array(_)) => return Err(PoolSelectorError::MatchExpressions),
        Some(other) => return Err(of("spec.selector.matchExpressions")(wrong_type("a list", other))),
    }
    let unknown = selector.keys().filter(|key| !matches!(key.as_str(), "matchLabels" | "matchExpressions"));
    if let Some(first) = unknown.min() {
        return Err(PoolSelectorError::UnknownField(excerpt(first)));
    }
    required_object(selector.get("matchLabels")).map_err(of("spec.selector.matchLabels"))
}

/// Labels of a flat map of strings. Of several values that are no strings the one with the first key is told.
fn flat(entries: &Map<String, Value>, path: &str) -> Result<Arc<Labels>, PoolSelectorError> {
    if let Some((key, value)) =
        entries.iter().filter(|(_, value)| !value.is_string()).min_by_key(|(key, _)| *key)
    {
        let path = format!("{path}.{}", excerpt(key));
        string(value).map_err(of(path))?;
    }
    pool_labels(entries.iter().filter_map(|(key, value)| Some((key.as_str(), value.as_str()?)))).map_err(cut)
}

/// Keeps of an error only what its message shows: a label can have a megabyte.
fn cut(error: PoolSelectorError) -> PoolSelectorError {
    match error {
        PoolSelectorError::Key { key, error } => PoolSelectorError::Key { key: excerpt(&key), error },
        PoolSelectorError::Value { key, value, error } => {
            PoolSelectorError::Value { key: excerpt(&key), value: excerpt(&value), error }
        }
        PoolSelectorError::Item { key, error } => PoolSelectorError::Item { key: excerpt(&key), error },
        error @ (PoolSelectorError::Field { .. }
        | PoolSelectorError::Empty
        | PoolSelectorError::MatchExpressions
        | PoolSelectorError::UnknownField(_)
        | PoolSelectorError::TooMany(_)) => error,
    }
}
