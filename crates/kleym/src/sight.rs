//! What there is beside declarations: pods, nodes, namespaces, every ClusterSPIFFEID, and SCM's settings; and what SCM will
//! make of it. Read from what a [`Survey`] brought; one odd object spoils nothing.

use std::collections::BTreeSet;

use kleym_api::decode;
use kleym_core::kind::Kind;
use kleym_core::output::{LABEL_MANAGED_BY, LiveOutput, MANAGED_BY, WantedOutput};
use kleym_core::report::{Finding, Places, Scene};
use kleym_core::spire::{Manager, Node, Pod, Prediction, Registration, Space, World, predict};
use serde_json::Value;

use crate::args;
use crate::exit::Failure;
use crate::manager::{self, Known};
use crate::source::cluster::{Found, Resource};
use crate::survey::Survey;

/// What is read for it, beside what the engine reads.
pub(crate) const BESIDE: [Resource; 4] =
    [Resource::Kind(Kind::Output), Resource::Pods, Resource::Nodes, Resource::Namespaces];

/// Everything that is seen.
#[derive(Debug)]
pub(crate) struct Sight {
    registrations: Vec<Registration>,
    outputs: Option<Vec<LiveOutput>>,
    no_output_kind: bool,
    /// Every pod.
    pub(crate) pods: Vec<Pod>,
    pods_known: bool,
    nodes: Option<Vec<Node>>,
    spaces: Vec<Space>,
    manager: Manager,
    /// Where SCM's settings were read.
    pub(crate) manager_at: Option<String>,
    prediction: Prediction,
    places: Places,
    /// What is to be said of the reading.
    pub(crate) findings: Vec<Finding>,
}

impl Sight {
    /// Decodes what was read, and foresees what SCM will make of it.
    ///
    /// # Errors
    /// Flags that cannot be used.
    pub(crate) fn of(survey: &Survey, typed: &args::Manager) -> Result<Self, Failure> {
        let declared = &survey.declared;
        let items = |resource: Resource| declared.beside(resource).items();
        let listed = |resource: Resource| matches!(declared.beside(resource), Found::All(_));
        let live = survey.cluster.is_some();

        let spaces: Vec<Space> = items(Resource::Namespaces)
            .iter()
            .filter_map(|object| decode::space(object, live).ok())
            .collect();
        let Known { manager, at: manager_at, findings } = match &survey.cluster {
            Some(cluster) => {
                manager::in_cluster(typed, cluster, spaces.iter().map(|space| space.name.as_str()))?
            }
            None => manager::in_files(typed, items(Resource::ConfigMaps)),
        };

        let objects = items(Resource::Kind(Kind::Output));
        let no_output_kind = matches!(declared.beside(Resource::Kind(Kind::Output)), Found::Absent);
        let mut registrations: Vec<Registration> =
            objects.iter().filter_map(|object| decode::registration(object).ok()).collect();
        // Files stand for what is yet to be, until one of their outputs comes from a cluster: then they are that cluster.
        let as_it_is = live || objects.iter().any(comes_from_a_cluster);
        let outputs: Option<Vec<LiveOutput>> = (listed(Resource::Kind(Kind::Output)) && as_it_is
            || no_output_kind)
            .then(|| objects.iter().filter_map(|object| as_live(object, live)).collect());
        if outputs.is_none() {
            // A rendered output that stands in a file already is the one that would be written.
            let there: BTreeSet<Box<str>> = registrations.iter().map(|object| object.name.clone()).collect();
            for binding in declared.index.bindings() {
                if let kleym_core::index::Verdict::Wanted(identity) =
                    declared.index.verdict(&binding.key).verdict
                {
                    let wanted = WantedOutput::of(
                        declared.index.settings(),
                        &binding.key,
                        binding.uid.as_ref(),
                        &identity,
                    );
                    if !there.contains(wanted.name.as_str()) {
                        registrations.push(Registration::wanted(&wanted));
                    }
                }
            }
        }
        let nodes = listed(Resource::Nodes)
            .then(|| items(Resource::Nodes).iter().filter_map(|object| decode::node(object).ok()).collect());
        let mut sight = Self {
            registrations,
            outputs,
            no_output_kind,
            pods: items(Resource::Pods).iter().filter_map(|object| decode::pod(object, None).ok()).collect(),
            pods_known: listed(Resource::Pods),
            nodes,
            spaces,
            manager,
            manager_at,
            prediction: Prediction::default(),
            places: Places::default(),
            findings,
        };
        sight.prediction = predict(sight.world());
        let outputs = sight.outputs.as_deref().unwrap_or_default();
        sight.places = Places::of(&declared.index, &sight.registrations, outputs);
        Ok(sight)
    }

    fn world(&self) -> World<'_> {
        World {
            manager: &self.manager,
            registrations: &self.registrations,
            pods: &self.pods,
            nodes: self.nodes.as_deref(),
            spaces: &self.spaces,
        }
    }

    /// It, with what is declared.
    pub(crate) fn scene<'a>(&'a self, survey: &'a Survey) -> Scene<'a> {
        Scene {
            index: &survey.declared.index,
            scope: survey.scope.as_ref(),
            outputs: self.outputs.as_deref(),
            no_output_kind: self.no_output_kind,
            pods_known: self.pods_known,
            world: self.world(),
            prediction: &self.prediction,
            places: &self.places,
        }
    }
}

/// Whether a ClusterSPIFFEID was read from a cluster: an API server gave it a uid, somebody a status, or an operator of
/// Kleym wrote it. One without all that is somebody's manifest.
pub(crate) fn comes_from_a_cluster(object: &Value) -> bool {
    let meta = decode::Meta::of(object);
    let ours = meta.labels().get(LABEL_MANAGED_BY).is_some_and(|by| **by == *MANAGED_BY);
    ours || meta.uid().is_some() || object.get("status").is_some_and(|status| !status.is_null())
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
