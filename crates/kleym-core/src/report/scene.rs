//! Everything that findings about pods, live outputs and SPIRE are read from, in one place. Gathers; decides nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use super::agent::is_agent;
use crate::fact::Binding;
use crate::index::{Index, Verdict};
use crate::label::Labels;
use crate::name::{BindingKey, Namespace, ObjectName, output_name};
use crate::output::{LABEL_BINDING_NAMESPACE, LiveOutput, Ownership, WantedOutput};
use crate::render::Identity;
use crate::spire::{Answer, Entry, Fate, Pod, Prediction, Registration, World};

/// What the status of a binding says: of the condition Ready, and of which generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reported {
    /// Of the condition Ready.
    pub ready: String,
    /// Of the condition Ready.
    pub reason: String,
    /// Of the condition Ready.
    pub message: String,
    /// `status.observedGeneration`
    pub observed: Option<i64>,
    /// `lastTransitionTime` of the condition Ready, as it is written.
    pub since: Option<String>,
}

/// The bindings that are in a cluster, and what their status says; nothing when nobody has reported yet.
pub type Statuses = BTreeMap<BindingKey, Option<Reported>>;

/// What can be seen of a cluster, or of files that stand for one.
#[derive(Debug, Clone, Copy)]
pub struct Scene<'a> {
    /// What is declared.
    pub index: &'a Index,
    /// Whether this is a cluster, and not files: then every kind that was listed is installed.
    pub in_cluster: bool,
    /// What the bindings' status says.
    pub statuses: &'a Statuses,
    /// The namespace that was read; `None` when all were.
    pub scope: Option<&'a Namespace>,
    /// The time, in seconds since 1970; None for files, which are of any time.
    pub now: Option<i64>,
    /// The live outputs; None when they could not be read, or when there is no cluster to hold any.
    pub outputs: Option<&'a [LiveOutput]>,
    /// Whether their CustomResourceDefinition is proved not to be installed.
    pub no_output_kind: bool,
    /// Whether the pods could be read.
    pub pods_known: bool,
    /// Whether the pods are a cluster's, so that one that is not among them does not exist. Files may hold one pod and leave
    /// the others to controllers.
    pub pods_complete: bool,
    /// Whether every pod of SPIRE's agent that there is is among them, so that one that is not seen on a node is not there.
    pub agents_complete: bool,
    /// What SCM looks at.
    pub world: World<'a>,
    /// What will come of that.
    pub prediction: &'a Prediction,
    /// Which object is whose.
    pub places: &'a Places,
}

/// Which object is whose output: by the name alone, so it may be a foreign one that stands there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Places {
    of_binding: BTreeMap<BindingKey, usize>,
    of_object: BTreeMap<usize, BindingKey>,
    live: BTreeMap<ObjectName, usize>,
    /// By namespace and by each of their labels.
    pods: BTreeMap<Namespace, BTreeMap<Label, Vec<usize>>>,
    /// The objects that alone serve a container of a pod for which others have entries too; looked for when asked.
    alone: OnceLock<BTreeSet<usize>>,
    /// The pods of SPIRE's agent.
    pub(super) agents: Vec<usize>,
}

/// Key and value.
type Label = (Box<str>, Box<str>);

impl Places {
    /// Looks every binding's output up once, and every namespace's pods.
    pub fn of(index: &Index, registrations: &[Registration], outputs: &[LiveOutput], pods: &[Pod]) -> Self {
        let by_name: BTreeMap<&str, usize> =
            registrations.iter().enumerate().map(|(place, object)| (&*object.name, place)).collect();
        let live = outputs.iter().enumerate().map(|(place, output)| (output.name.clone(), place));
        let mut places = Self { live: live.collect(), ..Self::default() };
        for (place, pod) in pods.iter().enumerate() {
            if is_agent(pod) {
                places.agents.push(place);
            }
            let of_namespace = places.pods.entry(pod.namespace.clone()).or_default();
            for (key, value) in &pod.labels {
                of_namespace.entry((key.clone(), value.clone())).or_default().push(place);
            }
        }
        for binding in index.bindings() {
            let name = output_name(index.settings_in(&binding.key.namespace).instance.as_str(), &binding.key);
            if let Some(place) = by_name.get(name.as_str()) {
                places.of_binding.insert(binding.key.clone(), *place);
                places.of_object.insert(*place, binding.key.clone());
            }
        }
        places
    }
}

/// How a binding's output stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing<'a> {
    /// Outputs could not be read.
    Unknown,
    /// There is none.
    Missing,
    /// Something at its name that is not this binding's.
    Foreign(&'a LiveOutput),
    /// What an earlier binding of this name left.
    Orphan(&'a LiveOutput),
    /// It differs, in these fields.
    Drifted(&'a LiveOutput, Vec<&'static str>),
    /// It is as it should be.
    InSync(&'a LiveOutput),
}

impl<'a> Scene<'a> {
    /// The name of a binding's output.
    pub fn output_name(&self, binding: &BindingKey) -> ObjectName {
        output_name(self.index.settings_in(&binding.namespace).instance.as_str(), binding)
    }

    /// The live object at the name of a binding's output.
    pub fn output(&self, binding: &BindingKey) -> Option<&'a LiveOutput> {
        let place = self.places.live.get(&self.output_name(binding))?;
        self.outputs?.get(*place)
    }

    /// The live object at the name of a binding's output, and whose it is. A binding of a file may have no uid that could
    /// be compared; then the label has to do.
    pub fn whose(&self, binding: &Binding) -> Option<(&'a LiveOutput, Ownership)> {
        let live = self.output(&binding.key)?;
        let ownership = match &binding.uid {
            Some(uid) => live.ownership_at_own_name(&binding.key, uid),
            None if live.wears_our_label() => Ownership::Ours,
            None => Ownership::Foreign,
        };
        Some((live, ownership))
    }

    /// How the output of a binding that is to have one stands.
    pub fn standing(&self, binding: &Binding, identity: &Identity) -> Standing<'a> {
        if self.outputs.is_none() {
            return Standing::Unknown;
        }
        let Some((live, ownership)) = self.whose(binding) else { return Standing::Missing };
        match ownership {
            Ownership::Foreign => Standing::Foreign(live),
            Ownership::Orphan => Standing::Orphan(live),
            Ownership::Ours => match live.drift(&self.wanted_output(binding, identity, live)) {
                fields if fields.is_empty() => Standing::InSync(live),
                fields => Standing::Drifted(live, fields),
            },
        }
    }

    /// What the live output of a binding is to be.
    pub fn wanted_output(&self, binding: &Binding, identity: &Identity, live: &LiveOutput) -> WantedOutput {
        // Without its own uid the binding cannot say which the annotation should hold.
        let settings = self.index.settings_in(&binding.key.namespace);
        let theirs = live.proven_binding(settings).map(|(_, uid)| uid);
        let uid = binding.uid.as_ref().or(theirs.as_ref());
        WantedOutput::of(settings, &binding.key, uid, identity)
    }

    /// Which other instance of Kleym an object says it is of: one that is not the operator of the namespace it names.
    pub fn other_instance(&self, place: usize) -> Option<&'a str> {
        let name = ObjectName::parse(&self.object(place).name).ok()?;
        let live = self.outputs?.get(*self.places.live.get(&name)?)?;
        let namespace =
            live.labels.get(LABEL_BINDING_NAMESPACE).and_then(|name| Namespace::parse(name).ok())?;
        let own = self.index.settings_in(&namespace).instance.as_str();
        live.instance().filter(|instance| *instance != own && self.binding_of(place).is_none())
    }

    /// The object of that place.
    pub fn object(&self, place: usize) -> &'a Registration {
        &self.world.registrations[place]
    }

    /// What becomes of the output of a binding.
    pub fn fate(&self, binding: &BindingKey) -> Option<(usize, &'a Fate)> {
        let place = *self.places.of_binding.get(binding)?;
        Some((place, self.prediction.fates.get(place)?))
    }

    /// The pods with the labels that an identity selects, in the namespace of its binding; whether anybody has written its
    /// output, and whether SCM watches that, is another question.
    pub fn selected(&self, binding: &BindingKey, identity: &Identity) -> Vec<&'a Pod> {
        let Some(pods) = self.places.pods.get(&binding.namespace) else { return Vec::new() };
        let labels = identity.selectors.pod_labels();
        let of_label = labels.map(|(key, value)| {
            pods.get(&(Box::from(key), Box::from(value))).map(Vec::as_slice).unwrap_or_default()
        });
        // The fewest have to be looked at.
        let Some(fewest) = of_label.min_by_key(|pods| pods.len()) else { return Vec::new() };
        let has = |pod: &&'a Pod| {
            let mut labels = identity.selectors.pod_labels();
            labels.all(|(key, value)| pod.labels.get(key).is_some_and(|own| **own == *value))
        };
        fewest.iter().map(|pod| &self.world.pods[*pod]).filter(has).collect()
    }

    /// The pods of a namespace with these labels that have not ended.
    pub fn pods_with(&self, namespace: &Namespace, labels: &Labels) -> Vec<&'a Pod> {
        let of_label = labels.iter().next().and_then(|(key, value)| {
            self.places.pods.get(namespace)?.get(&(Box::from(key.as_str()), Box::from(value.as_str())))
        });
        let has = |pod: &&'a Pod| {
            let mut labels = labels.iter();
            labels
                .all(|(key, value)| pod.labels.get(key.as_str()).is_some_and(|own| **own == *value.as_str()))
        };
        let pods = of_label.into_iter().flatten().map(|place| &self.world.pods[*place]);
        pods.filter(|pod| !pod.phase.ended()).filter(has).collect()
    }

    /// Whether SCM looks at an object and makes entries of it for certain: not only as far as its settings are assumed, and
    /// not against what it reports.
    pub fn picked_up(&self, place: usize) -> Answer {
        let reported = || {
            let binding = self.places.of_object.get(&place)?;
            self.output(binding)?.stats
        };
        let assumed = self.world.manager_of(self.object(place)).assumed;
        match reported() {
            None if assumed.class || assumed.ignored => Answer::Unknown,
            // What SCM reports may be older than what was read, but it is no proof of an entry.
            Some(stats) if stats.entries_to_set == 0 && stats.entries_masked == 0 => Answer::Unknown,
            _ => Answer::Yes,
        }
    }

    /// How certain anything is that rests on what the settings of SCM are alone.
    pub fn assumed(&self) -> Answer {
        let assumed = self.world.managers().any(|manager| manager.assumed.class || manager.assumed.ignored);
        if assumed { Answer::Unknown } else { Answer::Yes }
    }

    /// The binding whose output an object is.
    pub fn binding_of(&self, place: usize) -> Option<&'a Binding> {
        self.index.binding(self.places.of_object.get(&place)?)
    }

    /// The binding whose output an object of that name is.
    pub fn binding_of_name(&self, name: &str) -> Option<&'a Binding> {
        let place = self.world.registrations.iter().position(|object| *object.name == *name)?;
        self.binding_of(place)
    }

    /// What a container is given: each entry, and how certain that is.
    pub fn given(
        &self,
        pod: usize,
        container: &'a crate::spire::Container,
    ) -> impl Iterator<Item = (&'a Entry, Answer)> {
        self.prediction.identities(self.world, pod, container)
    }

    /// Whether an object alone serves a container of a pod for which others have entries too. As a fallback it would not.
    pub fn serves_alone(&self, place: usize) -> bool {
        let alone = || {
            let mut alone = BTreeSet::new();
            for (index, pod) in self.world.pods.iter().enumerate() {
                let of_pod: BTreeSet<usize> =
                    self.prediction.entries_of(index).map(|entry| entry.by).collect();
                for container in pod.containers.iter().filter(|one| of_pod.len() > 1 && pod.can_hold(one)) {
                    let given: Vec<(usize, Answer)> =
                        self.given(index, container).map(|(entry, answer)| (entry.by, answer)).collect();
                    let by_another = |by: usize| {
                        given.iter().any(|(other, answer)| *other != by && *answer == Answer::Yes)
                    };
                    alone.extend(given.iter().map(|(by, _)| *by).filter(|by| !by_another(*by)));
                }
            }
            alone
        };
        self.places.alone.get_or_init(alone).contains(&place)
    }

    /// The bindings that are to have an identity.
    pub fn wanted(&self) -> impl Iterator<Item = (&'a Binding, std::sync::Arc<Identity>)> {
        self.index.bindings().filter_map(|binding| match self.index.verdict(&binding.key).verdict {
            Verdict::Wanted(identity) => Some((binding, identity)),
            _ => None,
        })
    }
}
