//! One finding: what is wrong, which objects it is about, which field shows it, and what to do.

use std::fmt;

use super::code::{Code, Severity};
use super::place::{FieldPath, Place};
use crate::fact::FactKey;
use crate::kind::Kind;
use crate::name::{BindingKey, Namespace, ObjectName};
use crate::text::bounded;

/// An object that a finding speaks of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reference {
    /// `InferencePool`
    pub kind: &'static str,
    /// Its namespace; none for an object that lives in no namespace.
    pub namespace: Option<Box<str>>,
    /// Its name.
    pub name: Box<str>,
}

impl From<&FactKey> for Reference {
    fn from(key: &FactKey) -> Self {
        Self {
            kind: key.kind.kind(),
            namespace: Some(key.namespace.as_str().into()),
            name: key.name.as_str().into(),
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind)?;
        f.write_str(" ")?;
        if let Some(namespace) = &self.namespace {
            write!(f, "{namespace}/")?;
        }
        f.write_str(&self.name)
    }
}

/// Another place that belongs to a finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Related {
    /// What is to be seen there.
    pub what: String,
    /// Where.
    pub place: Place,
}

/// One thing to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What kind of finding.
    pub code: Code,
    /// What is wrong, and with what; one line.
    pub message: String,
    /// Something beside it that is worth knowing.
    pub note: Option<String>,
    /// What to do.
    pub hint: Option<String>,
    /// The objects it speaks of; the first is the one it is about.
    pub references: Vec<Reference>,
    /// The field that shows it.
    pub place: Option<Place>,
    /// Other places that belong to it.
    pub related: Vec<Related>,
}

impl Finding {
    /// A finding with a message and nothing else.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: bounded(message.into()),
            note: None,
            hint: None,
            references: Vec::new(),
            place: None,
            related: Vec::new(),
        }
    }

    /// How much it matters.
    pub fn severity(&self) -> Severity {
        self.code.severity()
    }

    /// The binding that it is about, when it is about one or what is one's.
    pub fn about_binding(&self) -> Option<BindingKey> {
        let first = self.references.iter().find(|reference| reference.kind == Kind::Binding.kind())?;
        let namespace = Namespace::parse(first.namespace.as_deref()?).ok()?;
        Some(BindingKey::new(namespace, ObjectName::parse(&first.name).ok()?))
    }

    /// About an object; the first one said is the one that the finding is about.
    #[must_use]
    pub fn about(mut self, key: &FactKey) -> Self {
        self.references.push(key.into());
        self
    }

    /// With what to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Shown by a field of an object.
    #[must_use]
    pub fn at(mut self, object: FactKey, field: FieldPath) -> Self {
        self.place = Some(Place { object, field });
        self
    }

    pub(super) fn related(mut self, what: &str, object: FactKey) -> Self {
        self.references.push((&object).into());
        let place = Place { object, field: FieldPath::name() };
        self.related.push(Related { what: what.to_owned(), place });
        self
    }
}

/// A binding as an object that a finding speaks of.
pub fn binding_key(key: &BindingKey) -> FactKey {
    FactKey { kind: Kind::Binding, namespace: key.namespace.clone(), name: key.name.clone() }
}
