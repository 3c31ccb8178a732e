//! Why a workload has its identity, or has none: the chain from a pod's labels to SPIRE, link by link, up to the first that
//! is broken. Repeats what the engine and the model of SPIRE say; decides nothing of its own.

mod chain;
mod links;

use std::cmp::Reverse;
use std::collections::BTreeSet;

use crate::fact::Binding;
use crate::name::BindingKey;
use crate::relation::Precedence;
use crate::report::{Finding, Scene};
use crate::spire::Answer;

pub use self::chain::{Chain, Evidence, Link, LinkKind, Mark, Reported};

/// What is asked, beside the scene.
pub struct Question<'a> {
    /// Everything that can be seen.
    pub scene: Scene<'a>,
    /// What the status of a binding reports, if there is one.
    pub status: &'a dyn Fn(&BindingKey) -> Option<Reported>,
    /// Where SCM's settings were read.
    pub manager_at: Option<&'a str>,
    /// Only this container of the pod.
    pub container: Option<&'a str>,
}

/// What a container is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    /// The container.
    pub container: Box<str>,
    /// What kind: `container`, `init container`, `sidecar`.
    pub kind: &'static str,
    /// Its SPIFFE IDs with the objects that give them, and how certain that is; sorted.
    pub identities: BTreeSet<(Box<str>, Box<str>, Answer)>,
}

/// The answer for a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The chains that hold, or the one that leads furthest.
    pub chains: Vec<Chain>,
    /// What each container is given by everybody.
    pub given: Vec<Given>,
    /// What else there is to say about the bindings of these chains.
    pub findings: Vec<Finding>,
}

/// The chain of a binding.
pub fn binding(question: &Question<'_>, binding: &Binding) -> Chain {
    links::chain(question, None, Some(binding))
}

/// The chains of a pod: all that hold; else the one that is broken last, and of those the one that comes first.
pub fn pod(question: &Question<'_>, pod: usize) -> Explanation {
    let scene = &question.scene;
    let namespace = &scene.world.pods[pod].namespace;
    let bindings = scene.index.bindings().filter(|binding| binding.key.namespace == *namespace);
    let mut bindings: Vec<&Binding> = bindings.collect();
    bindings.sort_by_key(|binding| Precedence::of(binding));
    let mut chains: Vec<Chain> =
        bindings.iter().map(|binding| links::chain(question, Some(pod), Some(binding))).collect();
    if chains.iter().all(Chain::is_elsewhere) {
        // No binding speaks of this pod: what is there without one is the answer.
        chains.push(links::chain(question, Some(pod), None));
    }
    if chains.iter().any(|chain| chain.broken().is_none()) {
        chains.retain(|chain| chain.broken().is_none());
    } else {
        chains.sort_by_key(|chain| Reverse(chain.depth()));
        chains.truncate(1);
    }
    let given = scene.world.pods[pod]
        .containers
        .iter()
        .filter(|container| question.container.is_none_or(|only| *container.name == *only));
    let given = given
        .map(|container| Given {
            container: container.name.clone(),
            kind: container.kind.as_str(),
            identities: scene
                .given(pod, container)
                .filter_map(|(entry, answer)| {
                    let id = entry.spiffe_id.text()?.into();
                    Some((id, scene.object(entry.by).name.clone(), answer))
                })
                .collect(),
        })
        .collect();
    let mut findings = Vec::new();
    for chain in &chains {
        let Some(binding) = chain.binding.as_ref().and_then(|key| scene.index.binding(key)) else { continue };
        findings.extend(crate::report::neighbours(scene, binding));
    }
    Explanation { chains, given, findings }
}
