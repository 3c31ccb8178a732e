//! The identity map: who can be whom, as a picture. A pure model of what the engine decided and of what SPIRE makes of it;
//! decides nothing, knows no cluster and no file, and is the same whatever it is drawn as.
//!
//! Flow: the engine's [`Index`](kleym_core::index::Index) and what was [`seen`] of outputs and pods become a [`Map`]
//! ([`build`]): one [`Region`] a namespace, because identities never cross one. [`draw`] makes Mermaid, DOT, JSON or one
//! HTML file of it.
//!
//! Guarantees: equal input gives an equal map, whatever the order in which it arrived. Every text in it is as it was
//! declared; each drawing escapes for its own language.

mod build;
mod choice;
pub(crate) mod draw;
mod fold;
mod matrix;
mod rows;
pub(crate) mod seen;

use std::collections::BTreeSet;

pub(crate) use self::build::map;
pub(crate) use self::choice::Choice;
pub(crate) use self::matrix::{Matrix, Meeting, Pair};
pub(crate) use self::rows::{Row, attention, rows};

/// Everything that is drawn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Map {
    /// Of every identity that Kleym computes.
    pub(crate) trust_domain: String,
    /// Of every output that Kleym computes.
    pub(crate) class_name: Option<String>,
    /// Whether pods were looked at; without them nothing is said of who matches.
    pub(crate) pods_known: bool,
    /// By name.
    pub(crate) regions: Vec<Region>,
}

/// One namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Region {
    /// Its name.
    pub(crate) namespace: String,
    /// By column, and in it by name.
    pub(crate) nodes: Vec<Node>,
    /// By what they connect.
    pub(crate) edges: Vec<Edge>,
    /// Every pair of its bindings.
    pub(crate) matrix: Matrix,
}

/// From what is asked, on the left, to what is had, on the right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Column {
    /// An InferencePool; those of one name and selector in several groups are one.
    Pool,
    /// An InferenceObjective.
    Objective,
    /// An InferenceIdentityBinding.
    Binding,
    /// A ClusterSPIFFEID, Kleym's or foreign.
    Output,
    /// Pods that are replicas of each other.
    Pods,
    /// A SPIFFE ID.
    Identity,
}

impl Column {
    /// All of them, from the left.
    pub(crate) const ALL: [Column; 6] =
        [Column::Pool, Column::Objective, Column::Binding, Column::Output, Column::Pods, Column::Identity];

    /// Its heading.
    pub(crate) const fn title(self) -> &'static str {
        match self {
            Column::Pool => "Pool",
            Column::Objective => "Objective",
            Column::Binding => "Binding",
            Column::Output => "Output",
            Column::Pods => "Pods and containers",
            Column::Identity => "SPIFFE ID",
        }
    }

    /// One word for it.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Column::Pool => "pool",
            Column::Objective => "objective",
            Column::Binding => "binding",
            Column::Output => "output",
            Column::Pods => "pods",
            Column::Identity => "identity",
        }
    }
}

/// What the group and version of a pool or objective are called among the facts of its node.
pub(crate) const SERVED_IN: &str = "served in";

/// How an object stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum State {
    /// Part of what is granted.
    Fine,
    /// The engine refuses it.
    Refused,
    /// Named by another object, and not there.
    Missing,
    /// There, and no identity comes of it.
    Idle,
    /// Not decided yet, or on its way out.
    Pending,
    /// Not Kleym's: a ClusterSPIFFEID that somebody else made, or what it gives.
    Foreign,
}

impl State {
    /// All of them.
    pub(crate) const ALL: [State; 6] =
        [State::Fine, State::Refused, State::Missing, State::Idle, State::Pending, State::Foreign];

    /// One word for it.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            State::Fine => "fine",
            State::Refused => "refused",
            State::Missing => "missing",
            State::Idle => "idle",
            State::Pending => "pending",
            State::Foreign => "foreign",
        }
    }
}

/// One object, or several that are alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    /// Which column it stands in.
    pub(crate) column: Column,
    /// What it is called.
    pub(crate) name: String,
    /// A few words more.
    pub(crate) line: String,
    /// How it stands.
    pub(crate) state: State,
    /// What else is known of it: what, and that.
    pub(crate) facts: Vec<(&'static str, String)>,
    /// Of pods: their containers.
    pub(crate) containers: Vec<Container>,
    /// Of pods: how many.
    pub(crate) pods: usize,
}

impl Node {
    /// A node that nothing more is known of.
    pub(crate) fn new(column: Column, name: impl Into<String>, state: State) -> Self {
        Self {
            column,
            name: name.into(),
            line: String::new(),
            state,
            facts: Vec::new(),
            containers: Vec::new(),
            pods: 0,
        }
    }

    /// The node with a fact more.
    pub(crate) fn fact(mut self, what: &'static str, value: impl Into<String>) -> Self {
        self.facts.push((what, value.into()));
        self
    }

    /// The node with these words below its name.
    pub(crate) fn line(mut self, line: impl Into<String>) -> Self {
        self.line = line.into();
        self
    }
}

/// One container of pods.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Container {
    /// Its name.
    pub(crate) name: String,
    /// `init` or `sidecar`; empty for a regular one.
    pub(crate) role: &'static str,
    /// Its image.
    pub(crate) image: String,
}

/// One end of an edge: a node, or one container of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct End {
    /// Which node of the region.
    pub(crate) node: usize,
    /// Which of its containers.
    pub(crate) container: Option<usize>,
}

impl End {
    /// A node as a whole.
    pub(crate) const fn node(node: usize) -> Self {
        Self { node, container: None }
    }
}

/// What an edge says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Link {
    /// It leads to an identity that is granted.
    Granted,
    /// Two bindings claim the same, and the one it comes from is refused for it.
    Conflict,
    /// A container is given identities that exclude each other.
    Overlap,
    /// A fallback identity that pods no longer have, because another output gives one of their containers an identity.
    Displaced,
    /// It leads to no identity.
    Nothing,
}

impl Link {
    /// All of them.
    pub(crate) const ALL: [Link; 5] =
        [Link::Granted, Link::Conflict, Link::Overlap, Link::Displaced, Link::Nothing];

    /// One word for it.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Link::Granted => "granted",
            Link::Conflict => "conflict",
            Link::Overlap => "overlap",
            Link::Displaced => "displaced",
            Link::Nothing => "nothing",
        }
    }

    /// What it means, in a few words.
    pub(crate) const fn meaning(self) -> &'static str {
        match self {
            Link::Granted => "granted",
            Link::Conflict => "conflict: claimed by two, held by one",
            Link::Overlap => "overlap: one container, identities that exclude each other",
            Link::Displaced => "fallback identity displaced",
            Link::Nothing => "matches nothing",
        }
    }
}

/// A connection, from left to right but for conflicts, which stay in their column.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Edge {
    /// Where it starts.
    pub(crate) from: End,
    /// Where it ends.
    pub(crate) to: End,
    /// What it says.
    pub(crate) link: Link,
    /// Of a container's edges: the output (a node of the region) that they are of.
    pub(crate) of: Option<usize>,
    /// Why, in a sentence; empty where there is nothing to explain.
    pub(crate) why: String,
}

/// The numbers of a map or a region.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Numbers {
    /// Bindings.
    pub(crate) bindings: usize,
    /// Bindings that are refused.
    pub(crate) refused: usize,
    /// SPIFFE IDs that are granted.
    pub(crate) identities: usize,
    /// Pods.
    pub(crate) pods: usize,
    /// Groups of pods that are alike.
    pub(crate) groups: usize,
    /// Pairs of bindings in conflict, as far as they are edges.
    pub(crate) conflicts: usize,
    /// Containers with identities that exclude each other.
    pub(crate) overlaps: usize,
    /// Containers that lost a fallback identity.
    pub(crate) displaced: usize,
    /// Those of them that are left without any.
    pub(crate) bare: usize,
    /// Outputs that no container matches.
    pub(crate) unmatched: usize,
}

impl Region {
    /// Counts.
    pub(crate) fn numbers(&self) -> Numbers {
        let nodes = |column: Column| self.nodes.iter().filter(move |node| node.column == column);
        let displaced = self.containers(|link| link == Link::Displaced);
        let with = self.containers(|link| matches!(link, Link::Granted | Link::Overlap));
        let unmatched = self.edges.iter().filter(|edge| edge.link == Link::Nothing);
        let unmatched = unmatched.filter(|edge| {
            self.nodes[edge.from.node].column == Column::Output
                && self.nodes[edge.to.node].column == Column::Identity
        });
        Numbers {
            bindings: nodes(Column::Binding).filter(|node| node.state != State::Missing).count(),
            refused: nodes(Column::Binding).filter(|node| node.state == State::Refused).count(),
            identities: nodes(Column::Identity)
                .filter(|node| matches!(node.state, State::Fine | State::Foreign))
                .count(),
            pods: nodes(Column::Pods).map(|node| node.pods).sum(),
            groups: nodes(Column::Pods).count(),
            conflicts: self.edges.iter().filter(|edge| edge.link == Link::Conflict).count(),
            overlaps: self.containers(|link| link == Link::Overlap).len(),
            displaced: displaced.len(),
            bare: displaced.difference(&with).count(),
            unmatched: unmatched.map(|edge| edge.from).collect::<BTreeSet<End>>().len(),
        }
    }

    /// The containers from which such edges lead.
    pub(crate) fn containers(&self, which: impl Fn(Link) -> bool) -> BTreeSet<End> {
        let edges = self.edges.iter().filter(|edge| edge.from.container.is_some() && which(edge.link));
        edges.map(|edge| edge.from).collect()
    }
}

impl Map {
    /// Counts.
    pub(crate) fn numbers(&self) -> Numbers {
        self.regions.iter().map(Region::numbers).fold(Numbers::default(), |sum, of| Numbers {
            bindings: sum.bindings + of.bindings,
            refused: sum.refused + of.refused,
            identities: sum.identities + of.identities,
            pods: sum.pods + of.pods,
            groups: sum.groups + of.groups,
            conflicts: sum.conflicts + of.conflicts,
            overlaps: sum.overlaps + of.overlaps,
            displaced: sum.displaced + of.displaced,
            bare: sum.bare + of.bare,
            unmatched: sum.unmatched + of.unmatched,
        })
    }
}
