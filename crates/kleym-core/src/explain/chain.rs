//! A chain and its links.

use crate::name::BindingKey;
use crate::report::{Code, Finding, Severity};

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
    /// It is broken: the chain ends here.
    Broken,
    /// Nothing is wrong, and the chain ends here all the same, for now: what comes after it waits for something.
    Waits,
    /// Nothing is wrong, and the chain ends here for good: it is not meant to lead further.
    Apart,
    /// It could not be seen.
    Unseen,
    /// It was not looked at: the chain ends before it.
    Skipped,
}

impl Mark {
    /// Whether a chain leads no further.
    const fn ends(self) -> bool {
        matches!(self, Mark::Broken | Mark::Waits | Mark::Apart)
    }

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Mark::Holds => "ok",
            Mark::Broken => "FAIL",
            Mark::Waits => "wait",
            Mark::Unseen => "?",
            Mark::Apart | Mark::Skipped => "-",
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
    /// Why the chain ends here.
    pub finding: Option<Finding>,
}

impl Link {
    pub(super) fn holds(kind: LinkKind, says: impl Into<String>) -> Self {
        Self { kind, mark: Mark::Holds, says: says.into(), evidence: Vec::new(), finding: None }
    }

    pub(super) fn unseen(kind: LinkKind, says: impl Into<String>) -> Self {
        Self { mark: Mark::Unseen, ..Self::holds(kind, says) }
    }

    /// The link at which a chain ends. What is merely worth knowing breaks nothing.
    pub(super) fn ends(kind: LinkKind, finding: Finding) -> Self {
        let mark = match finding.severity() {
            Severity::Error | Severity::Warning => Mark::Broken,
            Severity::Info if finding.code == Code::OutsideOnPurpose => Mark::Apart,
            Severity::Info => Mark::Waits,
        };
        Self { mark, finding: Some(finding.clone()), ..Self::holds(kind, finding.message) }
    }

    pub(super) fn read(mut self, evidence: impl IntoIterator<Item = Evidence>) -> Self {
        self.evidence.extend(evidence);
        self
    }
}

/// The links in their order; after the one at which it ends the others are skipped.
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
        let mut end: Option<(usize, Mark)> = None;
        for (place, mut link) in links.enumerate() {
            if let Some((end, mark)) = end {
                let why = match mark {
                    Mark::Waits => "waits",
                    Mark::Apart => "is where it ends",
                    _ => "failed",
                };
                link = Link {
                    mark: Mark::Skipped,
                    ..Link::holds(link.kind, format!("not looked at: {} {why}", end + 1))
                };
            } else if link.mark.ends() {
                end = Some((place, link.mark));
            }
            found.push(link);
        }
        Self { binding, spiffe_id: None, links: found }
    }

    /// The link at which it ends, when it does not lead to SPIRE.
    pub fn end(&self) -> Option<&Link> {
        self.links.iter().find(|link| link.mark.ends())
    }

    /// Whether a link of it is broken.
    pub fn is_broken(&self) -> bool {
        self.end().is_some_and(|link| link.mark == Mark::Broken)
    }

    /// How far it leads; of two that lead as far, the one that took a fallback identity away comes first. One that ends
    /// at the container speaks of the pod's pool, but perhaps of another container on purpose, so one whose binding is
    /// refused comes before it.
    pub(super) fn depth(&self) -> (usize, bool) {
        let Some(end) = self.end() else { return (LinkKind::ALL.len() + 1, false) };
        let displaces = end.finding.as_ref().is_some_and(|why| why.code == Code::FallbackDisplaced);
        let depth = match end.kind {
            LinkKind::Container => LinkKind::Binding as usize,
            kind if kind >= LinkKind::Binding => kind as usize + 1,
            kind => kind as usize,
        };
        (depth, displaces)
    }

    /// Whether it ends where the pod is told from others: the binding does not speak of this pod.
    pub(super) fn is_elsewhere(&self) -> bool {
        self.end().is_some_and(|link| link.kind == LinkKind::Labels)
    }
}
