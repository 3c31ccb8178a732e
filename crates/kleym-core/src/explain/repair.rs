//! What a pod's containers will be given when the outputs are as their bindings want them.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Question;
use crate::fact::Binding;
use crate::index::Verdict;
use crate::render::Identity;
use crate::report::Standing;
use crate::spire::{Answer, Container, set_matches};

/// The outputs that the operator would repair.
pub(super) struct Repair {
    /// What their bindings want.
    wanted: Vec<Arc<Identity>>,
    /// The objects that are there in their place.
    now: BTreeSet<usize>,
}

impl Repair {
    /// The outputs that speak of a pod and are not as they should be. Nothing where SCM would make no entry of them, or where
    /// one of them, or one that nobody wants, is to let go of the pod, so that its fallback identity may come back.
    pub(super) fn of(question: &Question<'_>, index: usize) -> Option<Self> {
        let scene = &question.scene;
        let pod = &scene.world.pods[index];
        let mut repair = Self { wanted: Vec::new(), now: BTreeSet::new() };
        if scene.world.managers().all(|manager| manager.ignores(pod.namespace.as_str()).0 == Answer::Yes) {
            return None;
        }
        // One that is to go may bring a fallback identity back.
        let goes = |binding: &Binding| {
            let wanted = matches!(scene.index.verdict(&binding.key).verdict, Verdict::Wanted(_));
            let place = scene.fate(&binding.key).map(|(place, _)| place).filter(|_| !wanted);
            place.is_some_and(|place| {
                scene.prediction.entries_by(place).iter().any(|entry| entry.pod == index)
            })
        };
        if scene.index.bindings().filter(|binding| binding.key.namespace == pod.namespace).any(goes) {
            return None;
        }
        for (binding, identity) in scene.wanted() {
            let odd = matches!(scene.standing(binding, &identity), Standing::Missing | Standing::Drifted(..));
            if !odd || binding.key.namespace != pod.namespace {
                continue;
            }
            let selected = scene.selected(&binding.key, &identity);
            if !selected.iter().any(|one| std::ptr::eq(*one, pod)) {
                return None;
            }
            repair.now.extend(scene.fate(&binding.key).map(|(place, _)| place));
            repair.wanted.push(identity);
        }
        (!repair.wanted.is_empty()).then_some(repair)
    }

    /// The SPIFFE IDs of a container then. An output that selects the pod takes the fallback identities of all containers away.
    pub(super) fn gives(
        &self,
        question: &Question<'_>,
        pod: usize,
        container: &Container,
    ) -> BTreeSet<Box<str>> {
        let scene = &question.scene;
        let stay = scene
            .given(pod, container)
            .filter(|(entry, _)| !self.now.contains(&entry.by) && !scene.object(entry.by).fallback);
        let stay = stay.filter_map(|(entry, _)| entry.spiffe_id.text().map(Box::from));
        let pod = &scene.world.pods[pod];
        let space = scene.world.space(pod);
        let come = self
            .wanted
            .iter()
            .filter(|identity| set_matches(identity.selectors.texts(), pod, container, space).possible())
            .map(|identity| Box::from(identity.spiffe_id.as_str()));
        stay.chain(come).collect()
    }
}
