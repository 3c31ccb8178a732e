//! The overlap matrix of a namespace: of every two bindings, which key proves them disjoint, or who holds the identity, or
//! that they do not compete. The engine's relation, asked for every pair; in a crowded namespace only for those pairs that
//! are not disjoint.

use std::collections::BTreeMap;

use kleym_core::fact::Binding;
use kleym_core::index::{Index, Verdict};
use kleym_core::name::ObjectName;
use kleym_core::relation::{Apart, Cause, Precedence, Relation, relate};
use kleym_core::render::Identity;

/// The most bindings of a namespace of which every pair is listed.
pub(crate) const MOST_BINDINGS: usize = 60;
/// The most pairs that are listed of a more crowded namespace.
pub(crate) const MOST_PAIRS: usize = 2_000;

/// Every two bindings of a namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Matrix {
    /// The bindings that claim an identity, by precedence.
    pub(crate) bindings: Vec<String>,
    /// Those that claim none, and so meet nobody.
    pub(crate) without: Vec<String>,
    /// What is listed, by precedence of the first, then of the second.
    pub(crate) pairs: Vec<Pair>,
    /// Whether every pair is listed. Otherwise those that are disjoint are not.
    pub(crate) complete: bool,
    /// Whether there are more pairs to list than were listed.
    pub(crate) cut: bool,
}

/// Two bindings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pair {
    /// The one that comes first: where it stands among the bindings.
    pub(crate) first: usize,
    /// The other.
    pub(crate) second: usize,
    /// How they stand to each other.
    pub(crate) meeting: Meeting,
}

/// How two bindings stand to each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Meeting {
    /// No workload can match both: this key has different values.
    Disjoint {
        /// `k8s:container-name`
        slot: String,
        /// The value in the first.
        first: String,
        /// The value in the second.
        second: String,
    },
    /// PoolOnly beside PerObjective on one pool: a workload may have both.
    Layered,
    /// Two selector sets of one identity.
    SameIdentity,
    /// Both cannot be; the first keeps it.
    Conflict {
        /// Why.
        cause: Cause,
        /// Whether the first holds what it claims; it may itself be refused.
        held: bool,
    },
}

impl Meeting {
    /// Every word there is for one.
    pub(crate) const WORDS: [&str; 4] = ["disjoint", "layered", "same", "conflict"];

    /// One word for it.
    pub(crate) const fn word(&self) -> &'static str {
        match self {
            Meeting::Disjoint { .. } => "disjoint",
            Meeting::Layered => "layered",
            Meeting::SameIdentity => "same",
            Meeting::Conflict { .. } => "conflict",
        }
    }

    /// In a sentence about these two.
    pub(crate) fn sentence(&self, first: &str, second: &str) -> String {
        match self {
            Meeting::Disjoint { slot, first: one, second: other } => {
                format!(
                    "disjoint: {slot} is {one} in {first} and {other} in {second}, so no workload matches both"
                )
            }
            Meeting::Layered => format!(
                "they do not compete: {first} and {second} are of one pool, one PoolOnly and one PerObjective, so a workload may have both"
            ),
            Meeting::SameIdentity => {
                format!("one SPIFFE ID of one subject: {first} and {second} are two selector sets of it")
            }
            Meeting::Conflict { cause, held } => {
                let what = match cause {
                    Cause::IdentityCollision => "nothing proves their workloads apart",
                    Cause::DuplicateSpiffeId => "they have one SPIFFE ID for different subjects",
                };
                let holds =
                    if *held { "comes first and holds it" } else { "comes first, and is refused itself" };
                format!("conflict: {what}; {first} {holds}, {second} is refused")
            }
        }
    }
}

/// The matrix of the bindings of one namespace.
pub(super) fn matrix(index: &Index, bindings: &[&Binding]) -> Matrix {
    let mut claiming: Vec<(Precedence, &Binding, &Identity)> = Vec::new();
    let mut without = Vec::new();
    for binding in bindings {
        // One that is being deleted claims until its finalizer, and with it its output, is gone.
        let claims = !binding.deleting || binding.finalizer;
        match index.identity(&binding.key).filter(|_| claims) {
            Some(identity) => claiming.push((Precedence::of(binding), binding, identity)),
            None => without.push(binding.key.name.to_string()),
        }
    }
    claiming.sort_by(|(a, ..), (b, ..)| a.cmp(b));
    without.sort();

    let complete = claiming.len() <= MOST_BINDINGS;
    let places: BTreeMap<&ObjectName, usize> =
        claiming.iter().enumerate().map(|(place, (_, binding, _))| (&binding.key.name, place)).collect();
    let mut pairs = Vec::new();
    let mut cut = false;
    'all: for (first, (_, binding, identity)) in claiming.iter().enumerate() {
        let others: Vec<usize> = if complete {
            (first + 1..claiming.len()).collect()
        } else {
            let near =
                index.neighbours(&binding.key).into_iter().filter_map(|name| places.get(name).copied());
            let mut near: Vec<usize> = near.filter(|second| *second > first).collect();
            near.sort_unstable();
            near
        };
        let mut held = None;
        for second in others {
            let meeting = match relate(identity, claiming[second].2) {
                Relation::Disjoint(_) if !complete => continue,
                Relation::Disjoint(Apart { first, second }) => Meeting::Disjoint {
                    slot: first.slot().to_owned(),
                    first: first.value().to_owned(),
                    second: second.value().to_owned(),
                },
                Relation::Layered => Meeting::Layered,
                Relation::SameIdentity => Meeting::SameIdentity,
                Relation::Conflict(cause) => {
                    let held = *held.get_or_insert_with(|| {
                        matches!(index.verdict(&binding.key).verdict, Verdict::Wanted(_) | Verdict::Deleting)
                    });
                    Meeting::Conflict { cause, held }
                }
            };
            if !complete && pairs.len() >= MOST_PAIRS {
                cut = true;
                break 'all;
            }
            pairs.push(Pair { first, second, meeting });
        }
    }
    let bindings = claiming.iter().map(|(_, binding, _)| binding.key.name.to_string()).collect();
    Matrix { bindings, without, pairs, complete, cut }
}
