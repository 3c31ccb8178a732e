//! Which containers gain and lose which SPIFFE ID, when both sides have been carried out: what SPIRE will make of the
//! outputs that are wanted before and after, beside everybody else's.
//!
//! It is assumed that spire-controller-manager watches the configured class and no other, and ignores no namespace;
//! whether it does is for `check` and `explain` to say. A pod that is on no node yet counts as if it were on one.

use std::collections::{BTreeMap, BTreeSet};

use kleym_api::decode;
use kleym_api::decode::Meta;
use kleym_api::encode::cluster_spiffe_id;
use kleym_core::index::Verdict;
use kleym_core::kind::Kind;
use kleym_core::output::{LABEL_MANAGED_BY, MANAGED_BY, WantedOutput};
use kleym_core::spire::{Answer, Class, Manager, Pod, Registration, Space, World, predict};
use serde_json::Value;

use crate::declared::Declared;
use crate::reports::{DiffSummary, WorkloadChange};
use crate::source::cluster::{Found, Resource};

/// What must be read for it.
pub(super) const NEEDS: &[Resource] = &[Resource::Kind(Kind::Output), Resource::Pods, Resource::Namespaces];

/// A container: namespace, pod and name.
type Workload = (String, String, String);

/// The SPIFFE IDs of each container, and how certain each is.
type Identities = BTreeMap<Workload, BTreeMap<String, Answer>>;

/// The containers whose identities differ; `None` when there are no pods to look at.
pub(super) fn of(before: &Declared, after: &Declared) -> Option<Vec<WorkloadChange>> {
    let looked_at = [after, before].into_iter().map(|side| side.beside(Resource::Pods));
    let Found::All(pods) = looked_at.into_iter().find(|pods| matches!(pods, Found::All(_)))? else {
        return None;
    };
    let pods: Vec<Pod> = pods.iter().filter_map(pod).collect();
    let (was, is) = (identities(before, &pods), identities(after, &pods));
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

/// A pod that runs or will run.
fn pod(object: &Value) -> Option<Pod> {
    let mut pod = decode::pod(object, None).ok().filter(|pod| !pod.phase.ended() && !pod.deleting)?;
    pod.node_name.get_or_insert_with(|| "some node".into());
    Some(pod)
}

/// What SPIRE will make of the outputs that one side wants.
fn identities(side: &Declared, pods: &[Pod]) -> Identities {
    let registrations: Vec<Registration> =
        foreign(side).chain(wanted(side)).filter_map(|object| decode::registration(&object).ok()).collect();
    let settings = side.index.settings();
    let name = settings.class_name.as_ref().map(|class| class.as_str().into()).unwrap_or_default();
    let manager = Manager {
        class: Some(Class { name, classless: settings.class_name.is_none(), by_label: false }),
        ignored: Some(Vec::new()),
        trust_domain: Some(settings.trust_domain.to_string().into()),
        ..Manager::default()
    };
    let spaces = side.beside(Resource::Namespaces).items();
    let spaces: Vec<Space> = spaces.iter().filter_map(|space| decode::space(space, true).ok()).collect();
    let world =
        World { manager: &manager, registrations: &registrations, pods, nodes: None, spaces: &spaces };
    let prediction = predict(world);
    let mut found = Identities::new();
    for (index, pod) in pods.iter().enumerate() {
        for container in &pod.containers {
            let workload = (pod.namespace.to_string(), pod.name.to_string(), container.name.to_string());
            for (entry, answer) in prediction.identities(world, index, container) {
                let Some(id) = entry.spiffe_id.text() else { continue };
                let known = found.entry(workload.clone()).or_default().entry(id.to_owned()).or_insert(answer);
                *known = known.or(answer);
            }
        }
    }
    found
}

/// Everybody else's ClusterSPIFFEIDs.
fn foreign(side: &Declared) -> impl Iterator<Item = Value> {
    let outputs = side.beside(Resource::Kind(Kind::Output)).items().iter();
    outputs.filter(|output| Meta::of(output).label(LABEL_MANAGED_BY) != Some(MANAGED_BY)).cloned()
}

/// The outputs that the bindings of one side are to have.
fn wanted(side: &Declared) -> impl Iterator<Item = Value> {
    let index = &side.index;
    index.bindings().filter_map(|binding| match index.verdict(&binding.key).verdict {
        Verdict::Wanted(identity) => {
            let output = WantedOutput::of(index.settings(), &binding.key, binding.uid.as_ref(), &identity);
            serde_json::to_value(cluster_spiffe_id(&output)).ok()
        }
        Verdict::Gone | Verdict::Deleting | Verdict::Waiting(_) | Verdict::Refused(_) => None,
    })
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
