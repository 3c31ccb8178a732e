//! A ClusterSPIFFEID as SCM reads it, whoever wrote it.

use std::fmt;

use super::labels::{RuleError, Selector};
use super::template::Template;
use crate::name::Uid;
use crate::output::{LABEL_CLASS_NAME, LabelSelector, WantedOutput};
use crate::text::Quoted;

/// A ClusterSPIFFEID.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    /// Its name.
    pub name: Box<str>,
    /// Its uid; files have none.
    pub uid: Option<Uid>,
    /// `metadata.creationTimestamp` in seconds since 1970; what has none is newest.
    pub created: Option<i64>,
    /// `metadata.deletionTimestamp` in seconds since 1970; SCM processes terminating objects like others.
    pub deletion: Option<i64>,
    /// `spec.className`; empty for none.
    pub class_name: Box<str>,
    /// The label `spire.spiffe.io/class-name`.
    pub class_label: Option<Box<str>>,
    /// `spec.fallback`
    pub fallback: bool,
    /// `spec.hint`
    pub hint: Box<str>,
    /// `spec.namespaceSelector`; None selects every namespace, and so does an empty one.
    pub namespaces: Option<Selector>,
    /// `spec.podSelector`; None selects every pod, and so does an empty one.
    pub pods: Option<Selector>,
    /// `spec.spiffeIDTemplate`
    pub spiffe_id: Template,
    /// `spec.workloadSelectorTemplates`
    pub selectors: Box<[Template]>,
    /// Why SCM cannot use it.
    pub problem: Option<Problem>,
}

/// Why SCM cannot use an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// SCM cannot decode the object, and with it the whole list: it stops syncing everything (scm issue 282).
    Poison {
        /// `spec.ttl`
        field: Box<str>,
        /// What stands there.
        value: Box<str>,
    },
    /// The ID template is empty (`scm: ParseClusterSPIFFEIDSpec`).
    NoTemplate,
    /// A template that Go cannot parse.
    BrokenTemplate,
    /// A label selector that is none.
    Selector(RuleError),
    /// A name in `federatesWith` that is no trust domain.
    Federation(Box<str>),
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::Poison { field, value: _ } => {
                write!(f, "{} cannot be decoded by spire-controller-manager", Quoted(field))
            }
            Problem::NoTemplate => f.write_str("`spec.spiffeIDTemplate` is empty"),
            Problem::BrokenTemplate => f.write_str("a template has a `{{` that nothing closes"),
            Problem::Selector(error) => write!(f, "{error}"),
            Problem::Federation(name) => {
                write!(f, "{} in `spec.federatesWith` is no trust domain", Quoted(name))
            }
        }
    }
}

impl Default for Registration {
    fn default() -> Self {
        Self {
            name: Box::default(),
            uid: None,
            created: None,
            deletion: None,
            class_name: Box::default(),
            class_label: None,
            fallback: false,
            hint: Box::default(),
            namespaces: None,
            pods: None,
            spiffe_id: Template::Plain(Box::default()),
            selectors: Box::default(),
            problem: None,
        }
    }
}

impl Registration {
    /// An object with these templates, and the problem that they have.
    pub fn of_templates<'a>(spiffe_id: &str, selectors: impl IntoIterator<Item = &'a str>) -> Self {
        let id = Template::parse(spiffe_id);
        let selectors: Box<[Template]> = selectors.into_iter().map(Template::parse).collect();
        let broken = id == Template::Broken || selectors.contains(&Template::Broken);
        let problem = if spiffe_id.is_empty() {
            Some(Problem::NoTemplate)
        } else {
            broken.then_some(Problem::BrokenTemplate)
        };
        Self { spiffe_id: id, selectors, problem, ..Self::default() }
    }

    /// An output as Kleym would write it.
    pub fn wanted(output: &WantedOutput) -> Self {
        let spec = &output.spec;
        let mut object = Self::of_templates(&spec.spiffe_id, spec.selectors.iter().map(|item| &**item));
        object.name = output.name.as_str().into();
        object.class_name = spec.class_name.clone().unwrap_or_default();
        object.class_label = output.labels.get(LABEL_CLASS_NAME).cloned();
        object.fallback = spec.fallback.unwrap_or_default();
        object.hint = spec.hint.clone().unwrap_or_default();
        let mut selector = |selector: &Option<LabelSelector>| {
            let labels = selector.as_ref()?.match_labels.iter().map(|(key, value)| (&**key, &**value));
            match Selector::labels(labels) {
                Ok(selector) => Some(selector),
                Err(error) => {
                    object.problem = Some(Problem::Selector(error));
                    None
                }
            }
        };
        object.namespaces = selector(&spec.namespace_selector);
        object.pods = selector(&spec.pod_selector);
        object
    }

    /// Where it comes among objects whose entries are the same: the oldest first, then one that is not being deleted,
    /// then the one that is deleted last, then the lowest uid (`scm: objectCmp`).
    pub(super) fn precedence(&self) -> impl Ord {
        let created = self.created.unwrap_or(i64::MAX);
        let deletion = self.deletion.map(std::cmp::Reverse);
        (created, deletion, self.uid.clone(), self.name.clone())
    }
}
