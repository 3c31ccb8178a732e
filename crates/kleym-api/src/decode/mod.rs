//! From the wire to facts: one JSON object in, one [`Fact`] or [`LiveOutput`] out.
//!
//! # Guarantees
//! Total: every JSON value has an answer. An object with a usable identity is always a fact; whatever else is wrong
//! with it stands inside the fact, as a value. So one odd object never hides a list, and replaces what was known
//! of it before. The same object gives the same answer whatever the order of its fields.
//!
//! # Assumptions
//! The caller knows which kind the object is of, from where it came or from [`kind`]; a list's items need not repeat
//! it.
//!
//! # Caveats
//! Nothing here compares a field with another one (a discriminator with the mode, say): that is the engine's work.
//! `status` is never read but for the counts of a ClusterSPIFFEID. Text that is only quoted in messages is kept cut.

mod binding;
mod duration;
mod inference;
mod manager;
mod meta;
mod output;
mod registration;
mod running;
mod socket;
mod value;

use std::fmt;

use kleym_core::fact::{Fact, FactKey, ValueProblem};
use kleym_core::kind::Kind;
use kleym_core::name::{NameError, Namespace, ObjectName, Uid};
use kleym_core::output::LiveOutput;
use kleym_core::plan::LiveBinding;
use serde_json::Value;

pub use self::manager::{IGNORED_BY_DEFAULT, MANAGER_KIND, manager};
pub use self::meta::Meta;
pub use self::registration::registration;
pub use self::running::{node, pod, space};
use self::value::{excerpt, optional, required_string, type_name, wrong_type};

/// Why an object is no fact: it cannot be told which one it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DecodeError {
    /// Not a JSON object at all.
    NotAnObject {
        /// What it is: `a list`.
        found: &'static str,
    },
    /// A field without which the object cannot be known again.
    Field {
        /// `metadata.name`
        field: &'static str,
        /// What is wrong with it.
        problem: ValueProblem,
    },
    /// No facts are made of this kind.
    NoFacts(Kind),
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DecodeError::NotAnObject { found } => write!(f, "must be an object, but is {found}"),
            DecodeError::Field { field, problem } => write!(f, "`{field}` {problem}"),
            DecodeError::NoFacts(kind) => write!(f, "{kind} is read as an output, not as a fact"),
        }
    }
}

impl std::error::Error for DecodeError {}

/// The kind of an object by its `apiVersion` and `kind`; None when Kleym does not read such objects.
pub fn kind(object: &Value) -> Option<Kind> {
    let (group, version) = object.get("apiVersion")?.as_str()?.split_once('/')?;
    Kind::find(group, version, object.get("kind")?.as_str()?)
}

/// Decodes a binding, an objective or a pool.
///
/// # Errors
/// Only when the object has no namespace and name that are valid, or the kind is not one of the three.
pub fn fact(kind: Kind, object: &Value) -> Result<Fact, DecodeError> {
    let namespace = namespace(object, None)?;
    fact_at(kind, object, namespace)
}

/// Like [`fact`]; an object that names no namespace is in `home`, as `kubectl apply` puts it there.
///
/// # Errors
/// Only when the object's namespace or name is not valid, or the kind has no facts.
pub fn fact_in(kind: Kind, object: &Value, home: &Namespace) -> Result<Fact, DecodeError> {
    let namespace = namespace(object, Some(home))?;
    fact_at(kind, object, namespace)
}

fn fact_at(kind: Kind, object: &Value, namespace: Namespace) -> Result<Fact, DecodeError> {
    let name = name(object)?;
    match kind {
        Kind::Binding => Ok(Fact::Binding(Box::new(binding::binding(object, namespace, name)))),
        Kind::Objective(group) => Ok(Fact::Objective(inference::objective(group, object, namespace, name))),
        Kind::Pool(group) => Ok(Fact::Pool(inference::pool(group, object, namespace, name))),
        Kind::Output => Err(DecodeError::NoFacts(kind)),
    }
}

/// Which object it is, and nothing else: enough when it was deleted.
///
/// # Errors
/// When the object has no namespace and name that are valid.
pub fn key(kind: Kind, object: &Value) -> Result<FactKey, DecodeError> {
    Ok(FactKey { kind, namespace: namespace(object, None)?, name: name(object)? })
}

/// The object's name: which one it is, when it is in no namespace.
///
/// # Errors
/// When there is none that is valid.
pub fn name(object: &Value) -> Result<ObjectName, DecodeError> {
    identity(metadata(object)?, "metadata.name", "name", ObjectName::parse)
}

/// Decodes a ClusterSPIFFEID that stands in the cluster, whoever wrote it.
///
/// # Errors
/// When it has no name, uid or resourceVersion: the API server gives every object these, and no write is safe without.
pub fn output(object: &Value) -> Result<LiveOutput, DecodeError> {
    output::output(object)
}

/// What the protocol of writes needs of a binding that stands in the cluster, beside its fact.
///
/// # Errors
/// When it has no uid or resourceVersion: no write to it could be bound to what was seen.
pub fn live_binding(object: &Value) -> Result<LiveBinding, DecodeError> {
    let meta = Meta::of(object);
    Ok(LiveBinding {
        uid: uid(object)?,
        resource_version: resource_version(object)?,
        generation: meta.generation(),
        finalizers: meta.finalizers().collect(),
    })
}

fn uid(object: &Value) -> Result<Uid, DecodeError> {
    identity(metadata(object)?, "metadata.uid", "uid", Uid::parse)
}

/// Opaque; an empty one is none, because in a write it would mean any.
fn resource_version(object: &Value) -> Result<Box<str>, DecodeError> {
    let version = required_string(metadata(object)?.get("resourceVersion"))
        .and_then(|version| if version.is_empty() { Err(ValueProblem::Missing) } else { Ok(version.into()) });
    version.map_err(|problem| DecodeError::Field { field: "metadata.resourceVersion", problem })
}

/// `metadata`, which every object must have.
fn metadata(object: &Value) -> Result<&Value, DecodeError> {
    let Value::Object(fields) = object else {
        return Err(DecodeError::NotAnObject { found: type_name(object) });
    };
    match optional(fields.get("metadata")) {
        Some(metadata @ Value::Object(_)) => Ok(metadata),
        Some(other) => Err(wrong_type("an object", other)),
        None => Err(ValueProblem::Missing),
    }
    .map_err(|problem| DecodeError::Field { field: "metadata", problem })
}

/// The namespace; an empty one is none, as everywhere in Kubernetes.
fn namespace(object: &Value, home: Option<&Namespace>) -> Result<Namespace, DecodeError> {
    let metadata = metadata(object)?;
    match (optional(metadata.get("namespace")), home) {
        (None, Some(home)) => Ok(home.clone()),
        (Some(Value::String(text)), Some(home)) if text.is_empty() => Ok(home.clone()),
        _ => identity(metadata, "metadata.namespace", "namespace", Namespace::parse),
    }
}

/// The name of a Namespace object.
fn namespace_name(object: &Value) -> Result<Namespace, DecodeError> {
    identity(metadata(object)?, "metadata.name", "name", Namespace::parse)
}

/// One field of `metadata` that tells which object it is.
fn identity<T>(
    metadata: &Value,
    path: &'static str,
    field: &str,
    parse: impl FnOnce(&str) -> Result<T, NameError>,
) -> Result<T, DecodeError> {
    required_string(metadata.get(field))
        .and_then(|text| parse(text).map_err(|error| ValueProblem::Name { found: excerpt(text), error }))
        .map_err(|problem| DecodeError::Field { field: path, problem })
}
