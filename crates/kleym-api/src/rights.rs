//! What Kleym's accounts may do in a cluster: one closed list, from which the roles of the manifests and of the chart are
//! generated, and which the operator's tests give their operators, so that a verb that is missing here fails a test.
//!
//! Holds only verbs that are used. Grants nothing by itself.

use kleym_core::kind::{Kind, ObjectiveGroup, PoolGroup};

/// Where a right holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reach {
    /// In the whole cluster, whatever the operator watches.
    Cluster,
    /// In the namespaces that the operator watches.
    Watched,
    /// In the operator's own namespace.
    Own,
}

/// A rule of a role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Right {
    /// The API groups.
    pub groups: &'static [&'static str],
    /// The resource, with its subresource.
    pub resource: &'static str,
    /// The verbs.
    pub verbs: &'static [&'static str],
    /// Where it holds.
    pub reach: Reach,
    /// What it is for.
    pub purpose: &'static str,
}

const READ: &[&str] = &["get", "list", "watch"];
const BINDINGS: &str = Kind::Binding.plural();
const OURS: &[&str] = &[Kind::Binding.group()];

/// What the operator may do.
pub const OPERATOR: [Right; 8] = [
    Right {
        groups: &[Kind::Output.group()],
        resource: Kind::Output.plural(),
        verbs: &["get", "list", "watch", "create", "update", "delete"],
        reach: Reach::Cluster,
        purpose: "the outputs, which have no namespace",
    },
    Right {
        groups: &["apiextensions.k8s.io"],
        resource: "customresourcedefinitions",
        verbs: READ,
        reach: Reach::Cluster,
        purpose: "which kinds there are: only an empty list of definitions proves that one is absent",
    },
    Right {
        groups: &["events.k8s.io"],
        resource: "events",
        verbs: &["create", "patch"],
        reach: Reach::Cluster,
        purpose: "what happens to bindings, and to outputs, whose events lie in `default`",
    },
    Right {
        groups: OURS,
        resource: BINDINGS,
        verbs: &["get", "list", "watch", "patch"],
        reach: Reach::Watched,
        purpose: "the bindings; only their finalizer is patched",
    },
    Right {
        groups: OURS,
        resource: "inferenceidentitybindings/status",
        verbs: &["update"],
        reach: Reach::Watched,
        purpose: "the report",
    },
    Right {
        groups: &[
            ObjectiveGroup::LlmD.as_str(),
            ObjectiveGroup::InferenceX.as_str(),
            ObjectiveGroup::Inference.as_str(),
        ],
        resource: Kind::Objective(ObjectiveGroup::LlmD).plural(),
        verbs: READ,
        reach: Reach::Watched,
        purpose: "what bindings name",
    },
    Right {
        groups: &[PoolGroup::Inference.as_str(), PoolGroup::InferenceX.as_str()],
        resource: Kind::Pool(PoolGroup::Inference).plural(),
        verbs: READ,
        reach: Reach::Watched,
        purpose: "what objectives name",
    },
    Right {
        groups: &["coordination.k8s.io"],
        resource: "leases",
        verbs: &["get", "watch", "create", "update"],
        reach: Reach::Own,
        purpose: "the leader election",
    },
];

/// What the operator may do besides when its metrics are protected: ask who a reader is, and what a reader may do.
pub const PROTECTED_METRICS: [Right; 2] = [
    Right {
        groups: &["authentication.k8s.io"],
        resource: "tokenreviews",
        verbs: &["create"],
        reach: Reach::Cluster,
        purpose: "who a reader of the metrics is",
    },
    Right {
        groups: &["authorization.k8s.io"],
        resource: "subjectaccessreviews",
        verbs: &["create"],
        reach: Reach::Cluster,
        purpose: "whether a reader may read them",
    },
];

/// What whoever may view a namespace may view of Kleym.
pub const VIEW: [Right; 1] = [Right {
    groups: OURS,
    resource: BINDINGS,
    verbs: READ,
    reach: Reach::Watched,
    purpose: "bindings and what they stand with",
}];

/// What whoever decides over a namespace's identities may do. To write a binding is to decide who pods are, so this is
/// never part of a role that people already have.
pub const EDIT: [Right; 1] = [Right {
    groups: OURS,
    resource: BINDINGS,
    verbs: &["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"],
    reach: Reach::Watched,
    purpose: "bindings, which decide who pods are",
}];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_operator_may_read_every_kind_it_watches_and_no_other_of_these_resources() {
        let mut kinds: Vec<(&str, &str)> =
            Kind::ALL.into_iter().map(|kind| (kind.group(), kind.plural())).collect();
        let reads = |right: &&Right| READ.iter().all(|verb| right.verbs.contains(verb));
        let mut rights: Vec<(&str, &str)> = OPERATOR
            .iter()
            .filter(reads)
            .flat_map(|right| right.groups.iter().map(|group| (*group, right.resource)))
            .filter(|right| *right != ("apiextensions.k8s.io", "customresourcedefinitions"))
            .collect();
        kinds.sort_unstable();
        rights.sort_unstable();
        assert_eq!(rights, kinds);
    }

    #[test]
    fn kinds_with_a_namespace_are_read_where_the_operator_watches_and_the_others_everywhere() {
        for right in OPERATOR {
            for kind in Kind::ALL.into_iter().filter(|kind| kind.plural() == right.resource) {
                let reach = if kind.namespaced() { Reach::Watched } else { Reach::Cluster };
                assert_eq!(right.reach, reach, "{kind}");
            }
        }
    }

    #[test]
    fn no_right_is_a_wildcard_and_nothing_may_escalate() {
        for right in OPERATOR.iter().chain(&PROTECTED_METRICS).chain(&VIEW).chain(&EDIT) {
            for word in right.groups.iter().chain(right.verbs).chain([&right.resource]) {
                assert!(!["*", "escalate", "bind", "impersonate"].contains(word), "{right:?}");
            }
        }
    }
}
