//! What cannot be read, and why. Never a proof that anything is absent (contract, section 3).

use kleym_core::fact::Trouble;
use kleym_core::name::Namespace;
use kleym_core::report::{Code, Finding, Reference};
use kleym_core::text::Quoted;

use super::{Collection, Resource};
use crate::exit::Failure;

/// Why a collection cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Why {
    /// 401: the API server does not know who asks.
    Unauthorized,
    /// 403
    Forbidden,
    /// 404: the group, the version or the resource is not served.
    NotServed,
    /// No answer, or one that cannot be used: what happened.
    Failing(String),
}

/// A collection that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Limit {
    /// Of what.
    pub(crate) resource: Resource,
    /// In which namespace; `None` for all of them.
    pub(crate) namespace: Option<Namespace>,
    /// Why.
    pub(crate) why: Why,
}

impl Limit {
    pub(super) fn new(collection: &Collection, why: Why) -> Self {
        Self { resource: collection.resource, namespace: collection.namespace.clone(), why }
    }

    /// What the engine is told of the kind.
    pub(crate) fn trouble(&self) -> Trouble {
        match self.why {
            Why::Unauthorized | Why::Forbidden => Trouble::Forbidden,
            Why::NotServed => Trouble::NotServed,
            Why::Failing(_) => Trouble::Failing,
        }
    }

    fn what(&self) -> String {
        let name = self.resource.name();
        match (&self.namespace, self.resource.namespaced()) {
            (Some(namespace), _) => format!("`{name}` in namespace `{namespace}`"),
            (None, true) => format!("`{name}` in all namespaces"),
            (None, false) => format!("`{name}`"),
        }
    }

    /// What is wrong, in one line.
    pub(crate) fn message(&self) -> String {
        let what = self.what();
        match &self.why {
            Why::Unauthorized => {
                format!("{what} cannot be listed: the API server does not accept the credentials")
            }
            Why::Forbidden => format!("{what} cannot be listed: the verb `list` is not permitted"),
            Why::NotServed => {
                format!("{what} cannot be listed: not served, and not proved to be absent either")
            }
            Why::Failing(words) => format!("{what} cannot be listed: {words}"),
        }
    }

    /// What to do about it.
    pub(crate) fn hint(&self) -> String {
        match &self.why {
            Why::Unauthorized => "log in again, or choose another context with --context".to_owned(),
            Why::Forbidden => {
                let group = match self.resource.group() {
                    "" => "the core API group".to_owned(),
                    group => format!("the API group {}", Quoted(group)),
                };
                let (plural, scope) = (
                    self.resource.plural(),
                    match &self.namespace {
                        // Its namespace is not the one that -n names.
                        Some(namespace) if self.resource == Resource::ConfigMaps => {
                            format!("in namespace `{namespace}`, or name another with --scm-namespace")
                        }
                        Some(namespace) => format!("in namespace `{namespace}`, or look elsewhere with -n"),
                        None if self.resource.namespaced() => {
                            "in all namespaces, or name one with -n".to_owned()
                        }
                        None => "by a ClusterRole".to_owned(),
                    },
                );
                format!("ask for the verb `list` on `{plural}` of {group} {scope}")
            }
            Why::NotServed => match self.resource.definition() {
                Some(name) => format!(
                    "see whether `kubectl get crd {name}` serves {}, or get the right to list CustomResourceDefinitions so that absence can be proved",
                    Quoted(self.resource.version())
                ),
                None => "see whether the API server is healthy: kubectl get --raw /readyz".to_owned(),
            },
            Why::Failing(_) => "try again; what depends on it is not decided here".to_owned(),
        }
    }

    /// It as a finding: the rest of the answer is still given.
    pub(crate) fn finding(&self) -> Finding {
        let code = match self.why {
            Why::Unauthorized | Why::Forbidden => Code::LimitedByRbac,
            Why::NotServed | Why::Failing(_) => Code::Unreadable,
        };
        let mut finding = Finding::new(code, self.message());
        finding.hint = Some(self.hint());
        finding.references = vec![Reference {
            kind: self.resource.kind(),
            namespace: self.namespace.as_ref().map(|namespace| namespace.as_str().into()),
            name: "*".into(),
        }];
        finding
    }

    /// It as the end of a command that is nothing without the collection.
    pub(crate) fn failure(&self, server: &str) -> Failure {
        let hint = match &self.why {
            Why::Failing(_) => {
                "see that the API server answers (`kubectl get --raw /readyz`), or choose another context with --context".to_owned()
            }
            _ => self.hint(),
        };
        Failure::Unusable { problems: vec![format!("{server}: {}", self.message())], hint: Some(hint) }
    }
}
