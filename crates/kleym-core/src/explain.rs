//! Why a workload has its identity, or has none: the chain from a pod's labels to SPIRE, link by link, up to the first that
//! is broken. Repeats what the engine and the model of SPIRE say; decides nothing of its own.

mod chain;
mod differs;
mod ending;
mod links;

use std::cmp::Reverse;
use std::collections::BTreeSet;

use crate::fact::Binding;
use crate::name::BindingKey;
use crate::relation::Precedence;
use crate::report::{Finding, Reported, Scene};
use crate::spire::{Answer, ContainerKind};

pub use self::chain::{Chain, Evidence, Link, LinkKind, Mark};
pub use self::ending::Deletion;

/// What is asked, beside the scene.
#[derive(Clone, Copy)]
pub struct Question<'a> {
    /// Everything that can be seen.
    pub scene: Scene<'a>,
    /// What the status of a binding reports, if there is one.
    pub status: &'a dyn Fn(&BindingKey) -> Option<Reported>,
    /// What a binding's metadata says of its deletion, when it is being deleted.
    pub deletion: &'a dyn Fn(&BindingKey) -> Option<Deletion>,
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

/// A container that is given nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    /// The container.
    pub container: Box<str>,
    /// Why.
    pub why: Finding,
}

/// A binding that would give the pod an identity, and gives none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The binding.
    pub binding: BindingKey,
    /// Why it gives none.
    pub why: Finding,
}

/// The answer for a pod.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Explanation {
    /// The chains that hold, or the one that leads furthest.
    pub chains: Vec<Chain>,
    /// What each container is given by everybody.
    pub given: Vec<Given>,
    /// The containers that run on and are given nothing, though a chain of the pod holds.
    pub left: Vec<Left>,
    /// The bindings without a chain here that would give this pod an identity.
    pub claims: Vec<Claim>,
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
    let mut rest: Vec<Chain> = Vec::new();
    let holds = chains.iter().any(|chain| chain.broken().is_none());
    if holds {
        rest.extend(chains.extract_if(.., |chain| chain.broken().is_some()));
    } else {
        chains.sort_by_key(|chain| Reverse(chain.depth()));
        rest.extend(chains.drain(1.min(chains.len())..));
    }
    let claims = rest.iter().filter_map(|chain| claim(scene, chain)).collect();
    let given = scene.world.pods[pod]
        .containers
        .iter()
        .filter(|container| question.container.is_none_or(|only| *container.name == *only));
    let given: Vec<Given> = given
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
    // Of one container that was asked for, the chain itself speaks.
    let left = if holds && question.container.is_none() { left(question, pod, &given) } else { Vec::new() };
    Explanation { chains, given, left, claims, findings }
}

/// What a chain that is not shown would have given: its binding selects the pod, and is itself what is wrong.
fn claim(scene: &Scene<'_>, chain: &Chain) -> Option<Claim> {
    let binding = chain.binding.as_ref()?;
    let broken = chain.broken().filter(|link| link.kind == LinkKind::Binding)?;
    scene.index.resolved(binding)?.ok()?;
    Some(Claim { binding: binding.clone(), why: broken.finding.clone()? })
}

/// Why containers are given nothing; one that ends needs nothing.
fn left(question: &Question<'_>, index: usize, given: &[Given]) -> Vec<Left> {
    let pod = &question.scene.world.pods[index];
    let stays = |name: &str| {
        let container = pod.containers.iter().find(|container| *container.name == *name);
        container.is_some_and(|container| container.kind != ContainerKind::Init)
    };
    let without = given.iter().filter(|one| one.identities.is_empty() && stays(&one.container));
    let why = without.filter_map(|one| {
        let asked = Question { container: Some(&one.container), ..*question };
        let answer = self::pod(&asked, index);
        let why = answer.chains.first()?.broken()?.finding.clone()?;
        Some(Left { container: one.container.clone(), why })
    });
    why.collect()
}
