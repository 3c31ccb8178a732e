//! What there is beside declarations: pods, nodes, namespaces, every ClusterSPIFFEID, and SCM's settings; and what SCM will
//! make of it. The one place that collects this, for every command; one odd object spoils nothing.

use std::collections::BTreeSet;

use jiff::Timestamp;
use kleym_api::decode;
use kleym_core::kind::Kind;
use kleym_core::name::Namespace;
use kleym_core::output::{LABEL_MANAGED_BY, LiveOutput, MANAGED_BY};
use kleym_core::report::{Finding, Places, Reported, Scene, Statuses};
use kleym_core::spire::{Manager, Node, Pod, Prediction, Registration, Space, World, predict};
use serde_json::Value;

use crate::agents::are_all_there;
use crate::declared::Declared;
use crate::manager::KnownManager;
use crate::source::cluster::{Found, Resource};

/// What is read for it, beside what the engine reads.
pub(crate) const BESIDE: [Resource; 4] =
    [Resource::Kind(Kind::Output), Resource::Pods, Resource::Nodes, Resource::Namespaces];

/// The same, and the Deployments of Kleym's operators.
pub(crate) const BESIDE_AND_OPERATORS: [Resource; 5] =
    [BESIDE[0], BESIDE[1], BESIDE[2], BESIDE[3], Resource::Deployments];

/// Everything that is seen.
#[derive(Debug)]
pub(crate) struct Sight {
    registrations: Vec<Registration>,
    outputs: Option<Vec<LiveOutput>>,
    no_output_kind: bool,
    statuses: Statuses,
    /// Every pod.
    pub(crate) pods: Vec<Pod>,
    /// Whether they could be read.
    pub(crate) pods_known: bool,
    pods_complete: bool,
    agents_complete: bool,
    nodes: Option<Vec<Node>>,
    spaces: Vec<Space>,
    /// Never empty.
    managers: Vec<Manager>,
    prediction: Prediction,
    places: Places,
    /// What is to be said of the reading.
    pub(crate) findings: Vec<Finding>,
}

impl Sight {
    /// Decodes what was read, and foresees what SCM will make of it; `live` says whether a cluster was read. Settings of SCM
    /// that nobody could read are taken to fit what Kleym writes ([`Manager::fitting`]), for every command alike.
    pub(crate) fn of(declared: &Declared, live: bool, known: KnownManager) -> Self {
        let found = declared.beside(Resource::Kind(Kind::Output));
        let objects = found.items();
        let no_output_kind = matches!(found, Found::Absent);
        let mut registrations = all(objects, decode::registration);
        // Files stand for what is yet to be, until one of their outputs comes from a cluster: then they are that cluster.
        let as_it_is = live || objects.iter().any(comes_from_a_cluster);
        let outputs: Option<Vec<LiveOutput>> = (matches!(found, Found::All(_)) && as_it_is || no_output_kind)
            .then(|| objects.iter().filter_map(|object| as_live(object, live)).collect());
        if outputs.is_none() {
            // A rendered output that stands in a file already is the one that would be written.
            let there: BTreeSet<Box<str>> = registrations.iter().map(|object| object.name.clone()).collect();
            let wanted = declared.wanted().map(|(_, output)| output);
            let wanted = wanted.filter(|output| !there.contains(output.name.as_str()));
            registrations.extend(wanted.map(|output| Registration::wanted(&output)));
        }
        let found = declared.beside(Resource::Pods);
        let nodes = declared.beside(Resource::Nodes);
        let pods = all(found.items(), |object| decode::pod(object, None));
        let sets = declared.beside(Resource::DaemonSets).items();
        Self {
            registrations,
            outputs,
            no_output_kind,
            statuses: statuses(declared),
            pods_known: matches!(found, Found::All(_)),
            pods_complete: live || found.items().iter().any(was_in_a_cluster),
            agents_complete: live || are_all_there(sets, &pods),
            pods,
            nodes: matches!(nodes, Found::All(_)).then(|| all(nodes.items(), decode::node)),
            spaces: spaces(declared, live),
            managers: fitting(known.managers, declared),
            prediction: Prediction::default(),
            places: Places::default(),
            findings: known.findings,
        }
        .foreseen(declared)
    }

    /// What there will be when everything that is wanted has been written and nothing else of Kleym's is there, for pods that
    /// run or will run: one that is on no node yet counts as if it were on one. What is not known of SCM is taken to fit.
    pub(crate) fn planned(declared: &Declared, pods: Option<&Found>, managers: Vec<Manager>) -> Self {
        let there = pods.map(Found::items).unwrap_or_default();
        let pods_complete = declared.in_cluster || there.iter().any(was_in_a_cluster);
        let mut planned = all(there, |object| decode::pod(object, None));
        planned.retain(|pod| !pod.phase.ended() && !pod.deleting);
        for pod in &mut planned {
            pod.node_name.get_or_insert_with(|| "some node".into());
        }
        let others = declared.beside(Resource::Kind(Kind::Output)).items().iter();
        let others =
            others.filter(|output| decode::Meta::of(output).label(LABEL_MANAGED_BY) != Some(MANAGED_BY));
        let mut registrations: Vec<Registration> =
            others.filter_map(|object| decode::registration(object).ok()).collect();
        registrations.extend(declared.wanted().map(|(_, output)| Registration::wanted(&output)));
        let sight = Self {
            registrations,
            outputs: None,
            no_output_kind: false,
            statuses: Statuses::new(),
            pods: planned,
            pods_known: pods.is_some(),
            pods_complete,
            agents_complete: declared.in_cluster,
            nodes: None,
            spaces: spaces(declared, true),
            managers: fitting(managers, declared),
            prediction: Prediction::default(),
            places: Places::default(),
            findings: Vec::new(),
        };
        sight.foreseen(declared)
    }

    fn foreseen(mut self, declared: &Declared) -> Self {
        self.prediction = predict(self.world());
        let outputs = self.outputs.as_deref().unwrap_or_default();
        self.places = Places::of(&declared.index, &self.registrations, outputs, &self.pods);
        self
    }

    /// What SCM looks at.
    pub(crate) fn world(&self) -> World<'_> {
        let (manager, others) = self.managers.split_first().expect("there is always one");
        World {
            manager,
            others,
            registrations: &self.registrations,
            pods: &self.pods,
            nodes: self.nodes.as_deref(),
            spaces: &self.spaces,
        }
    }

    /// What will come of it.
    pub(crate) fn prediction(&self) -> &Prediction {
        &self.prediction
    }

    /// It, with what is declared; `scope` is the only namespace that was read, if there is one.
    pub(crate) fn scene<'a>(&'a self, declared: &'a Declared, scope: Option<&'a Namespace>) -> Scene<'a> {
        Scene {
            index: &declared.index,
            in_cluster: declared.in_cluster,
            statuses: &self.statuses,
            scope,
            now: declared.in_cluster.then(|| Timestamp::now().as_second()),
            outputs: self.outputs.as_deref(),
            no_output_kind: self.no_output_kind,
            pods_known: self.pods_known,
            pods_complete: self.pods_complete,
            agents_complete: self.agents_complete,
            world: self.world(),
            prediction: &self.prediction,
            places: &self.places,
        }
    }
}

/// What is not known of SCM is taken to fit every operator that has bindings here.
fn fitting(mut known: Vec<Manager>, declared: &Declared) -> Vec<Manager> {
    if known.is_empty() {
        known.push(Manager::default());
    }
    Manager::all_fitting(known, &declared.index.settings_in_use())
}

/// Every object that can be read; of one that cannot, whoever read it has said so.
fn all<T, E>(objects: &[Value], read: impl Fn(&Value) -> Result<T, E>) -> Vec<T> {
    objects.iter().filter_map(|object| read(object).ok()).collect()
}

fn spaces(declared: &Declared, live: bool) -> Vec<Space> {
    all(declared.beside(Resource::Namespaces).items(), |object| decode::space(object, live))
}

/// Whether a ClusterSPIFFEID was read from a cluster: an API server gave it a uid, somebody a status, or an operator of
/// Kleym wrote it. One without all that is somebody's manifest.
fn comes_from_a_cluster(object: &Value) -> bool {
    let meta = decode::Meta::of(object);
    let ours = meta.labels().get(LABEL_MANAGED_BY).is_some_and(|by| **by == *MANAGED_BY);
    ours || was_in_a_cluster(object)
}

/// Whether an API server gave an object a uid, or somebody a status.
fn was_in_a_cluster(object: &Value) -> bool {
    decode::Meta::of(object).uid().is_some() || object.get("status").is_some_and(|status| !status.is_null())
}

/// What the status of each binding says; of files, of those that have one.
fn statuses(declared: &Declared) -> Statuses {
    let keys = declared.index.bindings().map(|binding| &binding.key);
    let says = keys.filter_map(|key| match declared.status(key) {
        Some(status) => Some((key.clone(), reported(status))),
        None => declared.live.contains_key(key).then(|| (key.clone(), None)),
    });
    says.collect()
}

/// What a status says of the condition Ready.
pub(crate) fn reported(status: &Value) -> Option<Reported> {
    let conditions = status.get("conditions")?.as_array()?;
    let ready = conditions.iter().find(|one| one.get("type").and_then(Value::as_str) == Some("Ready"))?;
    let text = |field: &str| ready.get(field).and_then(Value::as_str).map(str::to_owned);
    Some(Reported {
        ready: text("status")?,
        reason: text("reason")?,
        message: text("message").unwrap_or_default(),
        observed: status.get("observedGeneration").and_then(Value::as_i64),
        since: text("lastTransitionTime"),
    })
}

/// An output as it is live; one in a file may lack what the API server gives it.
fn as_live(object: &Value, live: bool) -> Option<LiveOutput> {
    if live {
        return decode::output(object).ok();
    }
    let mut object = object.clone();
    let metadata = object.get_mut("metadata")?.as_object_mut()?;
    for field in ["uid", "resourceVersion"] {
        metadata.entry(field).or_insert_with(|| "file".into());
    }
    decode::output(&object).ok()
}
