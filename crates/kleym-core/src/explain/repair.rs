//! What a pod's containers will be given when the outputs are as their bindings want them: what SCM would make of those, by
//! its class and trust domain too.

use std::collections::{BTreeMap, BTreeSet};

use super::Question;
use crate::index::Verdict;
use crate::output::WantedOutput;
use crate::report::Standing;
use crate::spire::{Answer, Container, Pod, Prediction, Registration, World, predict};

/// A pod in a cluster in which the outputs of its namespace's bindings are repaired.
pub(super) struct Repair<'a> {
    pod: &'a Pod,
    registrations: Vec<Registration>,
    prediction: Prediction,
}

impl<'a> Repair<'a> {
    /// Nothing where no output that speaks of the pod, or should, is to be repaired, or where one is to go.
    pub(super) fn of(question: &Question<'a>, index: usize) -> Option<Self> {
        let scene = &question.scene;
        let pod = &scene.world.pods[index];
        let gives = |place: usize| scene.prediction.entries_by(place).iter().any(|entry| entry.pod == index);
        // What stands at a place then.
        let mut then: BTreeMap<usize, Registration> = BTreeMap::new();
        let mut new: Vec<Registration> = Vec::new();
        let mut speaks = false;
        scene.outputs?;
        for binding in scene.index.bindings_of(&pod.namespace) {
            let place = scene.fate(&binding.key).map(|(place, _)| place);
            match scene.index.verdict(&binding.key).verdict {
                Verdict::Wanted(identity) => {
                    if let Standing::Unknown | Standing::InSync(_) | Standing::Foreign(_) =
                        scene.standing(binding, &identity)
                    {
                        continue;
                    }
                    let wanted = WantedOutput::of(
                        scene.index.settings_in(&pod.namespace),
                        &binding.key,
                        binding.uid.as_ref(),
                        &identity,
                    );
                    let selected = scene.selected(&binding.key, &identity);
                    speaks |= place.is_some_and(gives) || selected.iter().any(|one| std::ptr::eq(*one, pod));
                    let mut wanted = Registration::wanted(&wanted);
                    match place {
                        Some(place) => {
                            wanted.created = scene.object(place).created;
                            then.insert(place, wanted);
                        }
                        None => new.push(wanted),
                    }
                }
                // What goes is no repair: what the pod is given once the binding is mended is another question.
                Verdict::Refused(_) | Verdict::Deleting if place.is_some_and(gives) => return None,
                Verdict::Refused(_) | Verdict::Deleting => {}
                Verdict::Waiting(_) | Verdict::Gone => {}
            }
        }
        if !speaks {
            return None;
        }
        let stay = scene.world.registrations.iter().enumerate();
        let mut registrations: Vec<Registration> =
            stay.map(|(place, object)| then.remove(&place).unwrap_or_else(|| object.clone())).collect();
        registrations.extend(new);
        let pods = std::slice::from_ref(pod);
        let prediction = predict(World { registrations: &registrations, pods, ..scene.world });
        Some(Self { pod, registrations, prediction })
    }

    /// The SPIFFE IDs of a container then, and how certain each is.
    pub(super) fn gives(
        &self,
        question: &Question<'_>,
        container: &Container,
    ) -> BTreeSet<(Box<str>, Answer)> {
        let pods = std::slice::from_ref(self.pod);
        let world = World { registrations: &self.registrations, pods, ..question.scene.world };
        let given = self.prediction.identities(world, 0, container);
        given.filter_map(|(entry, answer)| Some((entry.spiffe_id.text()?.into(), answer))).collect()
    }
}
