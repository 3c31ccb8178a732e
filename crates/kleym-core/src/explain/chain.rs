//! A chain and its links.

use crate::name::BindingKey;
use crate::report::Finding;

/// A link of the chain, in its order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LinkKind {
    /// The pod's labels: does a pool select it.
    Labels,
    /// The pod's service account.
    ServiceAccount,
    /// The pool.
    Pool,
    /// The objective.
    Objective,
    /// The binding.
    Binding,
    /// The container that the selectors match.
    Container,
    /// The output.
    Output,
    /// The output's class.
    Class,
    /// What spire-controller-manager makes of it.
    Manager,
}

impl LinkKind {
    /// All of them, in order.
    pub const ALL: [LinkKind; 9] = [
        LinkKind::Labels,
        LinkKind::ServiceAccount,
        LinkKind::Pool,
        LinkKind::Objective,
        LinkKind::Binding,
        LinkKind::Container,
        LinkKind::Output,
        LinkKind::Class,
        LinkKind::Manager,
    ];

    /// What it is called.
    pub const fn as_str(self) -> &'static str {
        match self {
            LinkKind::Labels => "labels",
            LinkKind::ServiceAccount => "service account",
            LinkKind::Pool => "pool",
            LinkKind::Objective => "objective",
            LinkKind::Binding => "binding",
            LinkKind::Container => "container",
            LinkKind::Output => "output",
            LinkKind::Class => "class",
            LinkKind::Manager => "SCM",
        }
    }
}

/// How a link stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// It holds.
    Holds,
    /// It is broken: the first and only one.
    Broken,
    /// It could not be seen.
    Unseen,
    /// It was not looked at: one before it is broken.
    Skipped,
}

impl Mark {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Mark::Holds => "ok",
            Mark::Broken => "FAIL",
            Mark::Unseen => "?",
            Mark::Skipped => "-",
        }
    }
}

/// Something that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    /// `Pod llm/vllm-0`
    pub object: String,
    /// `metadata.labels`
    pub field: String,
    /// What stands there.
    pub value: String,
}

impl Evidence {
    /// What stands in a field of an object.
    pub fn new(object: impl Into<String>, field: impl Into<String>, value: impl Into<String>) -> Self {
        Self { object: object.into(), field: field.into(), value: value.into() }
    }
}

/// One link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Which.
    pub kind: LinkKind,
    /// How it stands.
    pub mark: Mark,
    /// In a few words.
    pub says: String,
    /// What was read for it.
    pub evidence: Vec<Evidence>,
    /// Why it is broken.
    pub finding: Option<Finding>,
}

impl Link {
    pub(super) fn holds(kind: LinkKind, says: impl Into<String>) -> Self {
        Self { kind, mark: Mark::Holds, says: says.into(), evidence: Vec::new(), finding: None }
    }

    pub(super) fn unseen(kind: LinkKind, says: impl Into<String>) -> Self {
        Self { mark: Mark::Unseen, ..Self::holds(kind, says) }
    }

    pub(super) fn broken(kind: LinkKind, finding: Finding) -> Self {
        Self { mark: Mark::Broken, finding: Some(finding.clone()), ..Self::holds(kind, finding.message) }
    }

    pub(super) fn read(mut self, evidence: impl IntoIterator<Item = Evidence>) -> Self {
        self.evidence.extend(evidence);
        self
    }
}

/// The links in their order; after a broken one the others are skipped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    /// The binding it goes through.
    pub binding: Option<BindingKey>,
    /// The SPIFFE ID at its end, as far as it is known.
    pub spiffe_id: Option<String>,
    /// Every link.
    pub links: Vec<Link>,
}

impl Chain {
    pub(super) fn of(binding: Option<BindingKey>, links: impl Iterator<Item = Link>) -> Self {
        let mut found: Vec<Link> = Vec::new();
        let mut broken: Option<usize> = None;
        for (place, mut link) in links.enumerate() {
            if let Some(broken) = broken {
                link = Link {
                    mark: Mark::Skipped,
                    ..Link::holds(link.kind, format!("not looked at: {} failed", broken + 1))
                };
            } else if link.mark == Mark::Broken {
                broken = Some(place);
            }
            found.push(link);
        }
        Self { binding, spiffe_id: None, links: found }
    }

    /// The first broken link.
    pub fn broken(&self) -> Option<&Link> {
        self.links.iter().find(|link| link.mark == Mark::Broken)
    }

    /// How far it leads. One that breaks at the container speaks of the pod's pool, but perhaps of another container on
    /// purpose, so one whose binding is refused comes before it.
    pub fn depth(&self) -> usize {
        match self.broken().map(|link| link.kind) {
            None => LinkKind::ALL.len() + 1,
            Some(LinkKind::Container) => LinkKind::Binding as usize,
            Some(kind) if kind >= LinkKind::Binding => kind as usize + 1,
            Some(kind) => kind as usize,
        }
    }

    /// Whether it breaks where the pod is told from others: the binding does not speak of this pod.
    pub(super) fn is_elsewhere(&self) -> bool {
        self.broken().is_some_and(|link| link.kind == LinkKind::Labels)
    }
}
