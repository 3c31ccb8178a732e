//! Which containers gain and lose which SPIFFE ID, when both sides have been carried out: what SPIRE will make of the
//! outputs that are wanted before and after, beside everybody else's, for the pods of each side.
//!
//! Where the settings of spire-controller-manager are not known, they are taken to fit ([`kleym_core::spire::Manager::fitting`]).
//! A pod that is on no node yet counts as if it were on one.

use std::collections::{BTreeMap, BTreeSet};

use kleym_core::kind::Kind;
use kleym_core::spire::Answer;

use crate::reports::{DiffSummary, WorkloadChange};
use crate::sides::{Side, Sides};
use crate::sight::Sight;
use crate::source::cluster::{Found, Resource};

/// What must be read for it.
pub(super) const NEEDS: &[Resource] = &[Resource::Kind(Kind::Output), Resource::Pods, Resource::Namespaces];

/// A container: namespace, pod and name.
type Workload = (String, String, String);

/// The SPIFFE IDs of each container, and how certain each is.
type Identities = BTreeMap<Workload, BTreeMap<String, Answer>>;

/// The pods of a side, when there are any to look at.
fn pods(side: &Side) -> Option<&Found> {
    Some(side.declared.beside(Resource::Pods)).filter(|pods| matches!(pods, Found::All(_)))
}

/// What is foreseen of both sides. Where one has no pods at all, those of the other are its own.
pub(super) fn foreseen(sides: &Sides) -> [Sight; 2] {
    let (was, is) = (pods(&sides.before), pods(&sides.after));
    let sight = |side: &Side, pods| Sight::planned(&side.declared, pods, side.managers.clone());
    [sight(&sides.before, was.or(is)), sight(&sides.after, is.or(was))]
}

/// The containers whose identities differ; `None` when there are no pods to look at.
pub(super) fn of([before, after]: &[Sight; 2]) -> Option<Vec<WorkloadChange>> {
    if !before.pods_known {
        return None;
    }
    let (was, is) = (identities(before), identities(after));
    let workloads: BTreeSet<&Workload> = was.keys().chain(is.keys()).collect();
    let none = BTreeMap::new();
    let changes = workloads.into_iter().filter_map(|workload| {
        let (old, new) = (was.get(workload).unwrap_or(&none), is.get(workload).unwrap_or(&none));
        let less = |a: &BTreeMap<String, Answer>, b: &BTreeMap<String, Answer>| -> Vec<String> {
            a.keys().filter(|id| !b.contains_key(*id)).cloned().collect()
        };
        let (gains, loses) = (less(new, old), less(old, new));
        let certain = gains.iter().all(|id| new[id].certain()) && loses.iter().all(|id| old[id].certain());
        let (namespace, pod, container) = workload.clone();
        (!gains.is_empty() || !loses.is_empty()).then_some(WorkloadChange {
            namespace,
            pod,
            container,
            gains,
            loses,
            certain,
        })
    });
    Some(changes.collect())
}

/// What SPIRE will make of the outputs that one side wants.
fn identities(sight: &Sight) -> Identities {
    let world = sight.world();
    let mut found = Identities::new();
    for (index, pod) in world.pods.iter().enumerate() {
        for container in &pod.containers {
            let workload = (pod.namespace.to_string(), pod.name.to_string(), container.name.to_string());
            for (entry, answer) in sight.prediction().identities(world, index, container) {
                let Some(id) = entry.spiffe_id.text() else { continue };
                let known = found.entry(workload.clone()).or_default().entry(id.to_owned()).or_insert(answer);
                *known = known.or(answer);
            }
        }
    }
    found
}

/// The numbers of pods.
pub(super) fn summary(workloads: &[WorkloadChange]) -> DiffSummary {
    let pods = |changes: fn(&WorkloadChange) -> bool| {
        let pods: BTreeSet<_> =
            workloads.iter().filter(|one| changes(one)).map(|one| (&one.namespace, &one.pod)).collect();
        pods.len()
    };
    DiffSummary {
        pods_gain: pods(|one| !one.gains.is_empty()),
        pods_lose: pods(|one| !one.loses.is_empty()),
        ..DiffSummary::default()
    }
}
