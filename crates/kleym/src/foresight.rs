//! What the identity map shows of outputs and pods, from what [`Sight`] foresees. Foresees nothing itself.

use std::collections::{BTreeMap, BTreeSet};

use kleym_core::index::Verdict;
use kleym_core::kind::Kind;
use kleym_core::name::BindingKey;
use kleym_core::output::{LiveOutput, Ownership};
use kleym_core::report::Standing;
use kleym_core::spire::{
    ContainerKind, Entry, Fate, NotWatched, Pod, Prediction, Registration, Space, World, predict,
};
use serde_json::Value;

use crate::declared::Declared;
use crate::map::Container;
use crate::map::seen::{self, Displaced, Given, Grant, Seen};
use crate::sight::Sight;
use crate::source::cluster::{Found, Resource};

/// What is declared, and what is seen beside it.
pub(crate) struct Foresight<'a> {
    declared: &'a Declared,
    sight: &'a Sight,
    world: World<'a>,
    /// What each object gives, as it stands there; an output that is yet to be written gives its ID, a literal.
    gives: BTreeMap<String, String>,
}

impl<'a> Foresight<'a> {
    /// Puts the two together.
    pub(crate) fn of(declared: &'a Declared, sight: &'a Sight) -> Self {
        let wanted = declared.wanted().map(|(_, output)| output);
        let wanted = wanted.map(|output| (output.name.to_string(), output.spec.spiffe_id.to_string()));
        let objects = declared.beside(Resource::Kind(Kind::Output)).items().iter();
        let text = |object: &Value, pointer: &str| {
            object.pointer(pointer).and_then(Value::as_str).map(str::to_owned)
        };
        let there = objects.filter_map(|object| {
            Some((text(object, "/metadata/name")?, text(object, "/spec/spiffeIDTemplate")?))
        });
        let gives = wanted.chain(there).collect();
        Self { declared, sight, world: sight.world(), gives }
    }

    /// What the identity map shows of it.
    pub(crate) fn seen(&self) -> Seen {
        let prediction = self.sight.prediction();
        let outputs = prediction.fates.iter().enumerate();
        let mut outputs: Vec<seen::Output> =
            outputs.map(|(by, fate)| self.output(by, fate, prediction)).collect();
        outputs.sort_by(|a, b| a.name.cmp(&b.name));
        let looked = !matches!(self.declared.beside(Resource::Pods), Found::NotAsked | Found::Limited(_));
        let pods = looked.then(|| self.pods_seen(self.world.pods, prediction));
        Seen { outputs, pods }
    }

    fn name(&self, output: usize) -> String {
        self.world.registrations[output].name.to_string()
    }

    fn output(&self, by: usize, fate: &Fate, prediction: &Prediction) -> seen::Output {
        let registration = &self.world.registrations[by];
        let (entries, poison) = (prediction.entries_by(by), &prediction.poison);
        let class_name = registration.class_name.to_string();
        let (binding, mut facts) = self.whose(by);
        let instance = self.sight.scene(self.declared, None).other_instance(by).map(str::to_owned);
        if let Some(instance) = &instance {
            facts = vec![("state", format!("of another instance of Kleym, {instance}"))];
        }
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
            binding,
            instance,
            spiffe_id: self.gives(by),
            class_name: (!class_name.is_empty()).then_some(class_name),
            fallback: registration.fallback,
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
            (0..self.world.registrations.len()).filter(|by| self.world.registrations[*by].fallback).collect();
        let alone: Vec<Registration> =
            fallbacks.iter().map(|by| self.world.registrations[*by].clone()).collect();
        let undisturbed = if prediction.displaced.is_empty() {
            Prediction::default()
        } else {
            predict(World { registrations: &alone, ..self.world })
        };
        let undisturbed = by_pod(&undisturbed);
        let mut displaced: BTreeMap<usize, Vec<(usize, usize)>> = BTreeMap::new();
        for lost in &prediction.displaced {
            displaced.entry(lost.pod).or_default().push((lost.fallback, lost.by));
        }
        let spaces: BTreeMap<&str, &Space> =
            self.world.spaces.iter().map(|space| (space.name.as_str(), space)).collect();

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
                // What can hold no identity has lost none.
                let lost = displaced.get(&number).filter(|_| pod.can_hold(container));
                let lost = lost.into_iter().flatten().flat_map(|(fallback, by)| {
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
        entry.spiffe_id.text().map_or_else(|| self.gives(output), str::to_owned)
    }

    fn gives(&self, output: usize) -> String {
        self.gives.get(&*self.world.registrations[output].name).cloned().unwrap_or_default()
    }

    /// The binding whose output an object is, and what is to be said of it.
    fn whose(&self, by: usize) -> (Option<BindingKey>, Vec<(&'static str, String)>) {
        let scene = self.sight.scene(self.declared, None);
        let Some(binding) = scene.binding_of(by) else {
            let name = &self.world.registrations[by].name;
            let there = scene.outputs.into_iter().flatten().find(|there| there.name.as_str() == &**name);
            return (None, there.map(foreign).unwrap_or_default());
        };
        let key = &binding.key;
        // One that was never stored has no uid, so that nothing proves whose it is.
        let Some((_, ownership)) = scene.whose(binding) else { return (Some(key.clone()), Vec::new()) };
        match ownership {
            Ownership::Ours => {
                let drift = match self.declared.index.verdict(key).verdict {
                    Verdict::Wanted(identity) => match scene.standing(binding, &identity) {
                        Standing::Drifted(_, fields) => fields,
                        _ => Vec::new(),
                    },
                    _ => Vec::new(),
                };
                let facts = drift.into_iter().map(|part| ("drifted", part.to_owned())).collect();
                (Some(key.clone()), facts)
            }
            Ownership::Orphan => (None, vec![("state", format!("an orphan of an earlier binding {key}"))]),
            Ownership::Foreign => {
                (None, vec![("state", format!("foreign, at the name of the output of {key}"))])
            }
        }
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

fn foreign(there: &LiveOutput) -> Vec<(&'static str, String)> {
    if there.wears_our_label() {
        return vec![("state", "wears Kleym's label, and no binding that was read is its".to_owned())];
    }
    Vec::new()
}
