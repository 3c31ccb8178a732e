//! Facts: what was declared, decoded from the wire once. A fact is valid or says why it is not; broken input is never
//! skipped, it replaces what was there before.
//!
//! Facts carry nothing that changes without changing a decision (no resourceVersion, no managed fields), so equal
//! facts cost nothing.

use std::fmt;
use std::sync::Arc;

use crate::kind::{Kind, ObjectiveGroup, PoolGroup};
use crate::label::{LabelError, LabelKey, LabelValue, Labels};
use crate::name::{BindingKey, NameError, Namespace, ObjectName, Uid};
use crate::selector::{Item, ItemError};
use crate::text::{Quoted, quoted_list};

/// Which subject a binding's identity is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mode {
    /// The identity is the pool's.
    PoolOnly,
    /// The identity is the objective's, in one container of the pool's pods.
    PerObjective,
}

impl Mode {
    /// The value of `spec.mode`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Mode::PoolOnly => "PoolOnly",
            Mode::PerObjective => "PerObjective",
        }
    }
}

/// What a binding names, with the group it pins, if any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// An InferenceObjective.
    Objective {
        /// Its name.
        name: ObjectName,
        /// `targetRef.group`.
        group: Option<ObjectiveGroup>,
    },
    /// An InferencePool, only in PoolOnly.
    Pool {
        /// Its name.
        name: ObjectName,
        /// `targetRef.group`.
        group: Option<PoolGroup>,
    },
}

/// How a container is told from its neighbours in the pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiscriminatorType {
    /// `k8s:container-name`
    ContainerName,
    /// `k8s:container-image`
    ContainerImage,
}

impl DiscriminatorType {
    /// The value of `spec.containerDiscriminator.type`.
    pub const fn as_str(self) -> &'static str {
        match self {
            DiscriminatorType::ContainerName => "ContainerName",
            DiscriminatorType::ContainerImage => "ContainerImage",
        }
    }

    /// The selector key it becomes.
    pub const fn selector_key(self) -> &'static str {
        match self {
            DiscriminatorType::ContainerName => "k8s:container-name",
            DiscriminatorType::ContainerImage => "k8s:container-image",
        }
    }
}

/// `spec.containerDiscriminator`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Discriminator {
    /// By what.
    pub kind: DiscriminatorType,
    /// 1 to 512 characters, not yet proved to be a selector value.
    pub value: Box<str>,
}

/// A binding's spec, field by field as its schema demands. Templates are still source text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BindingSpec {
    /// `spec.targetRef`
    pub target: Target,
    /// `spec.mode`
    pub mode: Mode,
    /// `spec.containerDiscriminator`
    pub discriminator: Option<Discriminator>,
    /// `spec.workloadSelectorTemplates`: 1 to 32 strings of 1 to 512 characters.
    pub selector_templates: Arc<[Box<str>]>,
    /// `spec.spiffeIDTemplate`: 1 to 1024 characters.
    pub spiffe_id_template: Option<Box<str>>,
}

/// An InferenceIdentityBinding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    /// Namespace and name.
    pub key: BindingKey,
    /// Absent in files that carry none.
    pub uid: Option<Uid>,
    /// `metadata.creationTimestamp` in seconds since 1970; absent (as in files) is newest.
    pub created: Option<i64>,
    /// `metadata.generation`.
    pub generation: Option<i64>,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// Whether it carries Kleym's finalizer: while it does, an output may exist.
    pub finalizer: bool,
    /// The spec, or the first field that is not what the schema demands.
    pub spec: Result<BindingSpec, SpecError>,
}

/// A field of a binding's spec.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpecField {
    /// `spec`
    Spec,
    /// `spec.targetRef`
    TargetRef,
    /// `spec.targetRef.name`
    TargetName,
    /// `spec.targetRef.kind`
    TargetKind,
    /// `spec.targetRef.group`
    TargetGroup,
    /// `spec.mode`
    Mode,
    /// `spec.containerDiscriminator`
    Discriminator,
    /// `spec.containerDiscriminator.type`
    DiscriminatorType,
    /// `spec.containerDiscriminator.value`
    DiscriminatorValue,
    /// `spec.workloadSelectorTemplates`
    SelectorTemplates,
    /// `spec.workloadSelectorTemplates[i]`
    SelectorTemplate(usize),
    /// `spec.selectorSource`
    SelectorSource,
    /// `spec.spiffeIDTemplate`
    SpiffeIdTemplate,
}

impl fmt::Display for SpecField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SpecField::Spec => "spec",
            SpecField::TargetRef => "spec.targetRef",
            SpecField::TargetName => "spec.targetRef.name",
            SpecField::TargetKind => "spec.targetRef.kind",
            SpecField::TargetGroup => "spec.targetRef.group",
            SpecField::Mode => "spec.mode",
            SpecField::Discriminator => "spec.containerDiscriminator",
            SpecField::DiscriminatorType => "spec.containerDiscriminator.type",
            SpecField::DiscriminatorValue => "spec.containerDiscriminator.value",
            SpecField::SelectorTemplates => "spec.workloadSelectorTemplates",
            SpecField::SelectorTemplate(index) => {
                return write!(f, "spec.workloadSelectorTemplates[{index}]");
            }
            SpecField::SelectorSource => "spec.selectorSource",
            SpecField::SpiffeIdTemplate => "spec.spiffeIDTemplate",
        })
    }
}

/// What is wrong with one value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ValueProblem {
    /// Required and not there (or null).
    Missing,
    /// Of another JSON type.
    WrongType {
        /// What it should be: `a string`.
        wanted: &'static str,
        /// What it is: `a number`.
        found: &'static str,
    },
    /// Too few or too many characters or entries.
    Length {
        /// What is counted: `characters`.
        unit: &'static str,
        /// The least.
        min: usize,
        /// The most.
        max: usize,
        /// How many there are.
        found: usize,
    },
    /// Not one of a closed list.
    NotOneOf {
        /// As written.
        found: Box<str>,
        /// The list.
        allowed: &'static [&'static str],
    },
    /// Not a name.
    Name {
        /// As written.
        found: Box<str>,
        /// The rule broken.
        error: NameError,
    },
    /// Written twice in a list that is a set.
    Duplicate(Box<str>),
}

impl fmt::Display for ValueProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ValueProblem::Missing => f.write_str("is required"),
            ValueProblem::WrongType { wanted, found } => write!(f, "must be {wanted}, but is {found}"),
            ValueProblem::Length { unit, min, max, found } => {
                write!(f, "must have {min} to {max} {unit}, but has {found}")
            }
            ValueProblem::NotOneOf { found, allowed: [only] } => {
                write!(f, "is {}, but must be `{only}`", Quoted(found))
            }
            ValueProblem::NotOneOf { found, allowed } => {
                write!(f, "is {}, but must be one of {}", Quoted(found), quoted_list(allowed.iter().copied()))
            }
            ValueProblem::Name { found, error } => write!(f, "is {}, which {error}", Quoted(found)),
            ValueProblem::Duplicate(found) => write!(f, "holds {} twice", Quoted(found)),
        }
    }
}

/// The first field of a binding's spec that its schema would refuse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpecError {
    /// Where.
    pub field: SpecField,
    /// What.
    pub problem: ValueProblem,
}

/// Where an objective points: always a pool of its own namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolRef {
    /// The pool's group; `None` for the empty group, which means: by preference.
    pub group: Option<PoolGroup>,
    /// The pool's name.
    pub name: ObjectName,
}

/// Why an objective points nowhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PoolRefError {
    /// A field that cannot be read.
    Field {
        /// `spec.poolRef.name`
        field: &'static str,
        /// What is wrong.
        problem: ValueProblem,
    },
    /// A pool of another namespace.
    OtherNamespace(Box<str>),
    /// Another kind than InferencePool.
    UnknownKind(Box<str>),
    /// A group that has no InferencePools Kleym reads.
    UnknownGroup(Box<str>),
}

impl fmt::Display for PoolRefError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PoolRefError::Field { field, problem } => write!(f, "{field} {problem}"),
            PoolRefError::OtherNamespace(found) => {
                write!(
                    f,
                    "spec.poolRef.namespace is {}, but a pool must be in the objective's namespace",
                    Quoted(found)
                )
            }
            PoolRefError::UnknownKind(found) => {
                write!(f, "spec.poolRef.kind is {}, but must be `InferencePool`", Quoted(found))
            }
            PoolRefError::UnknownGroup(found) => {
                let known = quoted_list(PoolGroup::ALL.map(PoolGroup::as_str));
                write!(f, "spec.poolRef.group is {}, but must be one of {known}", Quoted(found))
            }
        }
    }
}

/// An InferenceObjective: only `spec.poolRef` is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Objective {
    /// The API group it was read from.
    pub group: ObjectiveGroup,
    /// Its namespace.
    pub namespace: Namespace,
    /// Its name.
    pub name: ObjectName,
    /// Whether it is being deleted; it then counts as not found.
    pub deleting: bool,
    /// Where it points.
    pub pool_ref: Result<PoolRef, PoolRefError>,
}

/// The most labels of a pool selector.
pub const MAX_POOL_LABELS: usize = 64;

/// Why a pool's selector is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PoolSelectorError {
    /// A part that is missing or of another type; `field` is its path in the pool.
    Field {
        /// `spec.selector.matchLabels`
        field: Box<str>,
        /// What is wrong.
        problem: ValueProblem,
    },
    /// No labels: reference pickers would match every pod of the namespace.
    Empty,
    /// `matchExpressions` with entries.
    MatchExpressions,
    /// A sibling of matchLabels that is not known.
    UnknownField(Box<str>),
    /// More labels than 64.
    TooMany(usize),
    /// A key that is no label key.
    Key {
        /// As written.
        key: Box<str>,
        /// The rule broken.
        error: LabelError,
    },
    /// A value that is no label value, or empty.
    Value {
        /// Of which key.
        key: Box<str>,
        /// As written.
        value: Box<str>,
        /// The rule broken.
        error: LabelError,
    },
    /// A label whose selector item breaks a rule of items, such as the length.
    Item {
        /// Of which key.
        key: Box<str>,
        /// The rule broken.
        error: ItemError,
    },
}

impl fmt::Display for PoolSelectorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PoolSelectorError::Field { field, problem } => write!(f, "{} {problem}", Quoted(field)),
            PoolSelectorError::Empty => f.write_str("the selector has no labels and would match every pod"),
            PoolSelectorError::MatchExpressions => f.write_str(
                "spec.selector.matchExpressions is not supported; express the pool with matchLabels alone",
            ),
            PoolSelectorError::UnknownField(found) => {
                write!(
                    f,
                    "spec.selector has the unknown field {}; only matchLabels is supported",
                    Quoted(found)
                )
            }
            PoolSelectorError::TooMany(found) => {
                write!(f, "the selector has {found} labels; at most {MAX_POOL_LABELS} are supported")
            }
            PoolSelectorError::Key { key, error } => write!(f, "the label key {} {error}", Quoted(key)),
            PoolSelectorError::Value { key, value, error } => {
                write!(f, "the value {} of the label {} {error}", Quoted(value), Quoted(key))
            }
            PoolSelectorError::Item { key, error } => {
                write!(f, "the selector item of the label {} {error}", Quoted(key))
            }
        }
    }
}

/// Normalises a pool's labels, whatever the group they came from.
///
/// # Errors
/// Names the first key (in byte order) that breaks a rule.
pub fn pool_labels<'a>(
    entries: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Result<Arc<Labels>, PoolSelectorError> {
    let mut entries: Vec<(&str, &str)> = entries.into_iter().collect();
    entries.sort_unstable();
    if entries.is_empty() {
        return Err(PoolSelectorError::Empty);
    }
    if entries.len() > MAX_POOL_LABELS {
        return Err(PoolSelectorError::TooMany(entries.len()));
    }
    let mut labels = Labels::new();
    for (key, value) in entries {
        let parsed =
            LabelKey::parse(key).map_err(|error| PoolSelectorError::Key { key: key.into(), error })?;
        let text = LabelValue::parse(value).map_err(|error| PoolSelectorError::Value {
            key: key.into(),
            value: value.into(),
            error,
        })?;
        Item::parse(&format!("k8s:pod-label:{key}:{value}"))
            .map_err(|error| PoolSelectorError::Item { key: key.into(), error })?;
        labels.insert(parsed, text);
    }
    Ok(Arc::new(labels))
}

/// An InferencePool: only `spec.selector` is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    /// The API group it was read from.
    pub group: PoolGroup,
    /// Its namespace.
    pub namespace: Namespace,
    /// Its name.
    pub name: ObjectName,
    /// Whether it is being deleted; it then counts as not found.
    pub deleting: bool,
    /// The normalised labels.
    pub labels: Result<Arc<Labels>, PoolSelectorError>,
}

/// Why a kind cannot be read at the moment. None of these proves that anything is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trouble {
    /// Not listed yet.
    Starting,
    /// The CustomResourceDefinition is there and does not serve the version Kleym reads.
    NotServed,
    /// The API server refuses the list or watch (401, 403).
    Forbidden,
    /// Lists, watches or discovery fail for another reason.
    Failing,
}

impl Trouble {
    /// What to say of the kind.
    pub const fn as_str(self) -> &'static str {
        match self {
            Trouble::Starting => "not listed yet",
            Trouble::NotServed => "not served in the version Kleym reads",
            Trouble::Forbidden => "not readable with the operator's permissions",
            Trouble::Failing => "not answering",
        }
    }
}

/// What was last proved of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// Nothing yet.
    Nothing,
    /// That its CustomResourceDefinition does not exist.
    Absent,
    /// Its objects: a complete list was seen.
    Listed,
}

/// How well a kind is known: what was last proved, and what is wrong now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Availability {
    /// What was last proved.
    pub known: Known,
    /// What is wrong now, if anything. The last proof is held meanwhile.
    pub trouble: Option<Trouble>,
}

impl Availability {
    /// Nothing proved yet.
    pub const STARTING: Self = Self { known: Known::Nothing, trouble: Some(Trouble::Starting) };
    /// Proved not to exist.
    pub const ABSENT: Self = Self { known: Known::Absent, trouble: None };
    /// A complete list was seen and the watch goes on.
    pub const LISTED: Self = Self { known: Known::Listed, trouble: None };
}

/// One object that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact {
    /// A binding.
    Binding(Box<Binding>),
    /// An objective.
    Objective(Objective),
    /// A pool.
    Pool(Pool),
}

/// Which object a fact is of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct FactKey {
    /// Its kind, group included.
    pub kind: Kind,
    /// Its namespace.
    pub namespace: Namespace,
    /// Its name.
    pub name: ObjectName,
}

impl Fact {
    /// Its object's namespace.
    pub(crate) fn namespace_mut(&mut self) -> &mut Namespace {
        match self {
            Fact::Binding(binding) => &mut binding.key.namespace,
            Fact::Objective(objective) => &mut objective.namespace,
            Fact::Pool(pool) => &mut pool.namespace,
        }
    }

    /// Which object it is of.
    pub fn key(&self) -> FactKey {
        match self {
            Fact::Binding(b) => {
                FactKey { kind: Kind::Binding, namespace: b.key.namespace.clone(), name: b.key.name.clone() }
            }
            Fact::Objective(o) => FactKey {
                kind: Kind::Objective(o.group),
                namespace: o.namespace.clone(),
                name: o.name.clone(),
            },
            Fact::Pool(p) => {
                FactKey { kind: Kind::Pool(p.group), namespace: p.namespace.clone(), name: p.name.clone() }
            }
        }
    }
}

/// One thing that happened to what was declared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// An object is now like this.
    Put(Fact),
    /// An object is gone.
    Gone(FactKey),
    /// The objects of a kind are exactly these: a finished list. The kind is `Listed` from here on.
    Listed(Kind, Vec<Fact>),
    /// The objects of a kind in one namespace are exactly these: one of several lists that a kind is read by. It is `Listed`
    /// there from here on; what is known of it elsewhere stays.
    ListedIn(Kind, Namespace, Vec<Fact>),
    /// A kind is proved not to exist: its objects are gone with it.
    Absent(Kind),
    /// Something is wrong with a kind, or (`None`) no longer; what was proved stays.
    Trouble(Kind, Option<Trouble>),
    /// The same in one namespace alone.
    TroubleIn(Kind, Namespace, Option<Trouble>),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_selector_names_its_offender() {
        let text = |entries: &[(&str, &str)]| pool_labels(entries.iter().copied()).unwrap_err().to_string();
        assert!(text(&[]).contains("would match every pod"));
        assert!(text(&[("a/b/c", "x")]).contains("`a/b/c`"));
        assert!(text(&[("app", "")]).contains("of the label `app` is empty"));
        assert!(text(&[("app", " x")]).contains("white space"));
        let long = format!("{}/{}", "a".repeat(253), "b");
        assert!(text(&[(&long, "x")]).contains("255"));
        let many: Vec<(String, String)> = (0..65).map(|i| (format!("l{i}"), "x".to_owned())).collect();
        assert!(pool_labels(many.iter().map(|(k, v)| (k.as_str(), v.as_str()))).is_err());
    }
}
