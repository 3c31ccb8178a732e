//! What spire-controller-manager and SPIRE will make of what is declared: collects outputs, pods, nodes and namespaces from
//! wherever they were read, and asks `kleym_core::spire`. Foresees nothing itself.
//!
//! In files, bindings have the outputs that the operator would write; in a cluster, and in files that come from one, only
//! what is there counts.

use std::collections::{BTreeMap, BTreeSet};

use kleym_api::decode;
use kleym_core::index::Verdict;
use kleym_core::kind::Kind;
use kleym_core::name::{BindingKey, ObjectName, output_name};
use kleym_core::output::{LiveOutput, Ownership, WantedOutput};
use kleym_core::settings::Settings;
use kleym_core::spire::{
    Class, ContainerKind, Entry, Fate, Manager, Node, NotWatched, Pod, Prediction, Registration, Space,
    World, predict,
};
use serde_json::Value;

use crate::declared::Declared;
use crate::map::Container;
use crate::map::seen::{self, Displaced, Given, Grant, Seen};
use crate::sight::comes_from_a_cluster;
use crate::source::cluster::{Found, Resource};

/// A ClusterSPIFFEID, and whose it is.
#[derive(Debug)]
struct Known {
    registration: Registration,
    /// The binding it is of; none for a foreign one.
    binding: Option<BindingKey>,
    /// What it gives, as it stands there.
    gives: String,
    /// What is to be said of it.
    facts: Vec<(&'static str, String)>,
}

/// Everything that SPIRE will look at.
#[derive(Debug)]
pub(crate) struct Foresight {
    known: Vec<Known>,
    registrations: Vec<Registration>,
    pods: Option<Vec<Pod>>,
    nodes: Option<Vec<Node>>,
    spaces: Vec<Space>,
    manager: Manager,
}

/// The settings of spire-controller-manager; where nobody could read them, it is taken to watch the class that Kleym writes
/// and objects without a class, to ignore no namespace, and to have Kleym's trust domain.
pub(crate) fn completed(manager: Manager, settings: &Settings) -> Manager {
    let name = settings.class_name.as_ref().map(|class| class.as_str().into()).unwrap_or_default();
    Manager {
        class: manager.class.or(Some(Class { name, classless: true, by_label: false })),
        ignored: manager.ignored.or_else(|| Some(Vec::new())),
        trust_domain: manager.trust_domain.or_else(|| Some(settings.trust_domain.as_str().into())),
        ..manager
    }
}

impl Foresight {
    /// Collects it; `live` says whether a cluster was read.
    pub(crate) fn of(declared: &Declared, live: bool, manager: Manager) -> Self {
        let known = outputs(declared, live);
        let pods = all(declared.beside(Resource::Pods), |object| decode::pod(object, None));
        let nodes = all(declared.beside(Resource::Nodes), decode::node);
        let spaces = all(declared.beside(Resource::Namespaces), |object| decode::space(object, live));
        Self {
            registrations: known.iter().map(|known| known.registration.clone()).collect(),
            known,
            pods,
            nodes,
            spaces: spaces.unwrap_or_default(),
            manager,
        }
    }

    /// What `kleym_core::spire` looks at.
    pub(crate) fn world(&self) -> World<'_> {
        World {
            manager: &self.manager,
            registrations: &self.registrations,
            pods: self.pods.as_deref().unwrap_or_default(),
            nodes: self.nodes.as_deref(),
            spaces: &self.spaces,
        }
    }

    /// What the identity map shows of it.
    pub(crate) fn seen(&self) -> Seen {
        let world = self.world();
        let prediction = predict(world);
        let mut entries: BTreeMap<usize, Vec<&Entry>> = BTreeMap::new();
        for entry in &prediction.entries {
            entries.entry(entry.by).or_default().push(entry);
        }
        let outputs = self.known.iter().zip(&prediction.fates).enumerate().map(|(by, (known, fate))| {
            let own = entries.get(&by).map(Vec::as_slice).unwrap_or_default();
            self.output(by, known, fate, own, &prediction.poison)
        });
        let outputs = outputs.collect();
        let pods = self.pods.as_ref().map(|pods| self.pods_seen(pods, &prediction));
        Seen { outputs, pods }
    }

    fn name(&self, output: usize) -> String {
        self.registrations[output].name.to_string()
    }

    fn output(
        &self,
        by: usize,
        known: &Known,
        fate: &Fate,
        entries: &[&Entry],
        poison: &[usize],
    ) -> seen::Output {
        let class_name = known.registration.class_name.to_string();
        let mut facts = known.facts.clone();
        if let Some(refusal) = entries.iter().find_map(|entry| entry.refused) {
            facts.push(("SPIRE refuses", refusal.to_string()));
        }
        let masks: BTreeSet<usize> = entries.iter().filter_map(|entry| entry.masked_by).collect();
        facts.extend(masks.into_iter().map(|other| ("masked by", self.name(other))));
        if !poison.is_empty() {
            let names: Vec<String> = poison.iter().map(|poison| self.name(*poison)).collect();
            let why = format!(
                "spire-controller-manager cannot decode {} and synchronises nothing",
                names.join(", ")
            );
            facts.push(("state", why));
        }
        seen::Output {
            name: self.name(by),
            binding: known.binding.clone(),
            spiffe_id: known.gives.clone(),
            class_name: (!class_name.is_empty()).then_some(class_name),
            fallback: known.registration.fallback,
            facts,
            ignored: ignored(fate),
        }
    }

    fn pods_seen(&self, pods: &[Pod], prediction: &Prediction) -> Vec<seen::Pod> {
        let mut selected_by: BTreeMap<usize, Vec<String>> = BTreeMap::new();
        for (by, fate) in prediction.fates.iter().enumerate() {
            for pod in fate.selects.iter().filter(|(_, answer)| answer.possible()).map(|(pod, _)| *pod) {
                selected_by.entry(pod).or_default().push(self.name(by));
            }
        }
        let entries = by_pod(prediction);
        // What fallback objects would give, were they alone: that is what a displaced one no longer gives.
        let fallbacks: Vec<usize> =
            (0..self.registrations.len()).filter(|by| self.registrations[*by].fallback).collect();
        let alone: Vec<Registration> = fallbacks.iter().map(|by| self.registrations[*by].clone()).collect();
        let undisturbed = if prediction.displaced.is_empty() {
            Prediction::default()
        } else {
            predict(World { registrations: &alone, ..self.world() })
        };
        let undisturbed = by_pod(&undisturbed);
        let mut displaced: BTreeMap<usize, Vec<(usize, usize)>> = BTreeMap::new();
        for lost in &prediction.displaced {
            displaced.entry(lost.pod).or_default().push((lost.fallback, lost.by));
        }
        let spaces: BTreeMap<&str, &Space> =
            self.spaces.iter().map(|space| (space.name.as_str(), space)).collect();

        let seen = pods.iter().enumerate().map(|(number, pod)| {
            let space = spaces.get(pod.namespace.as_str()).copied();
            let containers = pod.containers.iter().map(|container| {
                let reaches = |entry: &&Entry| entry.matches(pod, container, space).possible();
                let own = entries.get(&number).into_iter().flatten().copied();
                let granted = own.filter(reaches).map(|entry| Grant {
                    output: self.name(entry.by),
                    spiffe_id: self.spiffe_id(entry, entry.by),
                    certain: entry.matches(pod, container, space).and(entry.certain).certain(),
                });
                let lost = displaced.get(&number).into_iter().flatten().flat_map(|(fallback, by)| {
                    let would = undisturbed.get(&number).into_iter().flatten().copied();
                    let would = would.filter(|entry| fallbacks[entry.by] == *fallback).filter(reaches);
                    would.map(|entry| Displaced {
                        output: self.name(*fallback),
                        spiffe_id: self.spiffe_id(entry, *fallback),
                        by: vec![self.name(*by)],
                    })
                });
                let mut given = Given {
                    container: Container {
                        name: container.name.to_string(),
                        role: match container.kind {
                            ContainerKind::Regular => "",
                            ContainerKind::Init => "init",
                            ContainerKind::Sidecar => "sidecar",
                        },
                        image: container.image.to_string(),
                    },
                    granted: granted.collect(),
                    displaced: lost.collect(),
                };
                given.granted.sort();
                given.displaced.sort();
                given
            });
            let mut selected_by = selected_by.get(&number).cloned().unwrap_or_default();
            selected_by.sort();
            seen::Pod {
                namespace: pod.namespace.to_string(),
                name: pod.name.to_string(),
                owner: pod.owners.first().map(|owner| (owner.kind.to_string(), owner.name.to_string())),
                service_account: pod.service_account.to_string(),
                labels: pod.labels.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect(),
                selected_by,
                containers: containers.collect(),
            }
        });
        seen.collect()
    }

    /// What an entry gives; where that cannot be told, the template.
    fn spiffe_id(&self, entry: &Entry, output: usize) -> String {
        entry.spiffe_id.text().map_or_else(|| self.known[output].gives.clone(), str::to_owned)
    }
}

/// The entries that will be made, by pod.
fn by_pod(prediction: &Prediction) -> BTreeMap<usize, Vec<&Entry>> {
    let mut entries: BTreeMap<usize, Vec<&Entry>> = BTreeMap::new();
    let made = prediction.entries.iter().filter(|entry| entry.masked_by.is_none() && entry.refused.is_none());
    for entry in made {
        entries.entry(entry.pod).or_default().push(entry);
    }
    entries
}

/// Why spire-controller-manager makes nothing of an object, if that is certain.
fn ignored(fate: &Fate) -> Option<String> {
    if let Some(problem) = &fate.problem {
        return Some(problem.to_string());
    }
    if !fate.watched.possible() {
        let why = match fate.not_watched {
            Some(NotWatched::OtherClass) => "spire-controller-manager does not watch its class",
            Some(NotWatched::Classless) => {
                "it has no class, and spire-controller-manager does not watch such objects"
            }
            Some(NotWatched::NoLabel) => "it lacks the label by which spire-controller-manager filters",
            None => "spire-controller-manager does not watch it",
        };
        return Some(why.to_owned());
    }
    let (namespace, pattern) = fate.ignored.first().filter(|_| fate.selects.is_empty())?;
    Some(format!(
        "spire-controller-manager ignores the namespace {namespace}, because of the pattern {pattern}"
    ))
}

/// Every object that can be read; none when nobody looked, or it could not be read.
fn all<T, E>(found: &Found, read: impl Fn(&Value) -> Result<T, E>) -> Option<Vec<T>> {
    match found {
        // An object without a name is said by whoever read it.
        Found::All(objects) => Some(objects.iter().filter_map(|object| read(object).ok()).collect()),
        Found::Absent => Some(Vec::new()),
        Found::NotAsked | Found::Limited(_) => None,
    }
}

/// The outputs, by name.
fn outputs(declared: &Declared, live: bool) -> Vec<Known> {
    let index = &declared.index;
    let found = declared.beside(Resource::Kind(Kind::Output));
    let mut wanted: BTreeMap<ObjectName, (BindingKey, Option<WantedOutput>)> = BTreeMap::new();
    for binding in index.bindings() {
        let output = match index.verdict(&binding.key).verdict {
            Verdict::Wanted(identity) => {
                Some(WantedOutput::of(index.settings(), &binding.key, binding.uid.as_ref(), &identity))
            }
            Verdict::Gone | Verdict::Deleting | Verdict::Waiting(_) | Verdict::Refused(_) => None,
        };
        let name = output_name(index.settings().instance.as_str(), &binding.key);
        wanted.insert(name, (binding.key.clone(), output));
    }
    let mut known: BTreeMap<ObjectName, Known> = BTreeMap::new();
    for object in found.items() {
        let Ok(registration) = decode::registration(object) else { continue };
        let Ok(name) = ObjectName::parse(&registration.name) else { continue };
        // One that was never stored has no uid, so that nothing proves whose it is.
        let there = decode::output(object).ok();
        let (binding, facts) = match (wanted.get(&name), &there) {
            (Some((key, output)), Some(there)) => whose(declared, key, output.as_ref(), there),
            (_, Some(there)) => (None, foreign(there)),
            (Some((key, _)), None) => (Some(key.clone()), Vec::new()),
            (None, None) => (None, Vec::new()),
        };
        let gives = object.pointer("/spec/spiffeIDTemplate").and_then(Value::as_str).unwrap_or_default();
        known.insert(name, Known { registration, binding, gives: gives.to_owned(), facts });
    }
    let as_it_is = live || found.items().iter().any(comes_from_a_cluster);
    let assumed = !as_it_is || matches!(found, Found::Limited(_) | Found::NotAsked);
    for (name, (binding, output)) in wanted {
        if let (true, Some(output), false) = (assumed, output, known.contains_key(&name)) {
            let gives = output.spec.spiffe_id.to_string();
            let registration = Registration::wanted(&output);
            known.insert(name, Known { registration, binding: Some(binding), gives, facts: Vec::new() });
        }
    }
    known.into_values().collect()
}

/// Whose an object at a binding's output name is, and how it differs from what is wanted.
fn whose(
    declared: &Declared,
    key: &BindingKey,
    wanted: Option<&WantedOutput>,
    there: &LiveOutput,
) -> (Option<BindingKey>, Vec<(&'static str, String)>) {
    let uid = declared.index.binding(key).and_then(|binding| binding.uid.as_ref());
    let ownership = match uid {
        Some(uid) => there.ownership_at_own_name(key, uid),
        // A file has no uid to compare; the label has to do.
        None if there.wears_our_label() => Ownership::Ours,
        None => Ownership::Foreign,
    };
    match ownership {
        Ownership::Ours => {
            let drift = wanted.map(|wanted| there.drift(wanted)).unwrap_or_default();
            (Some(key.clone()), drift.into_iter().map(|part| ("drifted", part.to_owned())).collect())
        }
        Ownership::Orphan => (None, vec![("state", format!("an orphan of an earlier binding {key}"))]),
        Ownership::Foreign => (None, vec![("state", format!("foreign, at the name of the output of {key}"))]),
    }
}

fn foreign(there: &LiveOutput) -> Vec<(&'static str, String)> {
    if there.wears_our_label() {
        return vec![("state", "wears Kleym's label, and no binding that was read is its".to_owned())];
    }
    Vec::new()
}
