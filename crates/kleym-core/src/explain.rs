//! Why a workload has its identity, or has none: the chain from a pod's labels to SPIRE, link by link, up to the first that
//! is broken. Repeats what the engine and the model of SPIRE say; decides nothing of its own.

mod agent;
mod chain;
mod differs;
mod ending;
mod links;
mod operator;
mod process;
mod read;
mod repair;
mod role;

use std::cmp::Reverse;
use std::collections::BTreeSet;

use crate::fact::Binding;
use crate::index::Verdict;
use crate::name::{BindingKey, ObjectName};
use crate::relation::Precedence;
use crate::report::{Agents, Code, Finding, Only, Reported, Scene};
use crate::spire::{Access, Answer, Container, Entry, Manager};

pub use self::chain::{Chain, Evidence, Link, LinkKind, Mark};
pub use self::ending::{Deletion, Finalizer};
pub use self::operator::{Configured, Operator, OperatorPod};
pub use self::process::{Process, Started};

/// What is asked, beside the scene.
#[derive(Clone, Copy)]
pub struct Question<'a> {
    /// Everything that can be seen.
    pub scene: Scene<'a>,
    /// What the status of a binding reports, if there is one.
    pub status: &'a dyn Fn(&BindingKey) -> Option<Reported>,
    /// What a binding's metadata says of its deletion, when it is being deleted.
    pub deletion: &'a dyn Fn(&BindingKey) -> Option<Deletion>,
    /// The same of an output's metadata.
    pub output_deletion: &'a dyn Fn(&ObjectName) -> Option<Deletion>,
    /// Who made an object of that name, and who holds it.
    pub made: &'a dyn Fn(&ObjectName) -> Option<Made>,
    /// What the installed definition of ClusterSPIFFEID cannot hold of what Kleym writes. Asked only when an output could not be
    /// written.
    pub definition: &'a dyn Fn() -> Option<Definition>,
    /// Whether a cluster was asked; else files were read, and no command can ask them again.
    pub live: bool,
    /// How a time in seconds since 1970 is written.
    pub time: fn(i64) -> String,
    /// The Deployments of operators that can be seen. Asked only when an output is not as it should be.
    pub operators: &'a dyn Fn() -> Vec<Operator>,
    /// What is seen of an SCM that runs. Asked only when it does not do what its configuration says.
    pub process: &'a dyn Fn(&Manager) -> Option<Process>,
    /// Where a setting of SCM, by its name, was read.
    pub manager_at: &'a dyn Fn(&Manager, &str) -> String,
    /// Only this container of the pod.
    pub container: Option<&'a str>,
}

/// Who made an object, as its metadata tells.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Made {
    /// `metadata.creationTimestamp`, as it is written.
    pub created: Option<String>,
    /// Each manager of `metadata.managedFields`, and when it wrote last.
    pub managers: Vec<(String, Option<String>)>,
    /// Its annotations, but for Kleym's.
    pub annotations: Vec<(String, String)>,
    /// `metadata.finalizers`
    pub finalizers: Vec<Finalizer>,
}

/// An installed definition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Definition {
    /// Its name.
    pub name: String,
    /// The chart that it says it is from.
    pub chart: Option<String>,
    /// The fields that Kleym writes and that it has not.
    pub lacks: Vec<String>,
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
    /// Whether it may be given more than that, for the objects that give identities could not be read.
    pub incomplete: bool,
    /// Its SPIFFE IDs once the outputs are as their bindings want them, and how certain each is; none where nothing is to be
    /// repaired.
    pub repaired: Option<BTreeSet<(Box<str>, Answer)>>,
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
    /// The containers that are given nothing, though they could hold an identity and a chain of the pod holds.
    pub left: Vec<Left>,
    /// The bindings without a chain here that would give this pod an identity.
    pub claims: Vec<Claim>,
    /// What else there is to say about the bindings of these chains.
    pub findings: Vec<Finding>,
    /// Whether it is not known that a container which holds an identity reaches the Workload API.
    pub socket_untold: bool,
}

/// The chain of a binding.
pub fn binding(question: &Question<'_>, binding: &Binding) -> Explanation {
    let chains = vec![links::chain(question, None, Some(binding))];
    let mut findings = beside(question, &chains, None);
    findings.extend(links::left_out(question, binding, &chains[0]));
    if let Some((unfit, pods)) = unfit(question, binding, &chains[0]) {
        // What they lost is told with why they have nothing instead.
        let of_others = |finding: &Finding| {
            let mut of = finding.references.iter().filter(|one| one.kind == "Pod");
            of.any(|one| !pods.contains(&&*one.name))
        };
        findings.retain(|finding| finding.code != Code::FallbackDisplaced || of_others(finding));
        findings.push(unfit);
    }
    Explanation { chains, findings, ..Explanation::default() }
}

/// Of a binding whose chain holds: why some of its pods get nothing of it, by the first of them; and which those are.
fn unfit<'a>(
    question: &Question<'a>,
    binding: &Binding,
    chain: &Chain,
) -> Option<(Finding, BTreeSet<&'a str>)> {
    let scene = &question.scene;
    let Verdict::Wanted(identity) = scene.index.verdict(&binding.key).verdict else { return None };
    if chain.end().is_some() {
        return None;
    }
    let mut first = None;
    let mut pods = BTreeSet::new();
    for pod in scene.selected(&binding.key, &identity) {
        let Some(place) = scene.world.pods.iter().position(|one| std::ptr::eq(one, pod)) else { continue };
        if pod.phase.ended() || pod.deleting {
            continue;
        }
        let of_pod = links::chain(question, Some(place), Some(binding));
        let end =
            of_pod.end().filter(|end| matches!(end.kind, LinkKind::ServiceAccount | LinkKind::Container));
        if let Some(finding) = end.and_then(|end| end.finding.clone()) {
            pods.insert(pod.name.as_str());
            first.get_or_insert(finding);
        }
    }
    let mut finding = first?;
    let more = pods.len() - 1;
    if more > 0 {
        finding.message = format!("{}; and so it is with {more} more of the pods", finding.message);
    }
    Some((finding, pods))
}

/// The chains of a pod: all that hold; else the one that ends last, and of those the one that comes first.
pub fn pod(question: &Question<'_>, pod: usize) -> Explanation {
    let scene = &question.scene;
    let namespace = &scene.world.pods[pod].namespace;
    let bindings = scene.index.bindings().filter(|binding| binding.key.namespace == *namespace);
    let mut bindings: Vec<&Binding> = bindings.collect();
    bindings.sort_by_key(|binding| Precedence::of(binding));
    let chains = bindings.iter().map(|binding| (*binding, links::chain(question, Some(pod), Some(binding))));
    // What is wrong with the binding of another container says nothing of the one that is asked for.
    let chains = chains.filter(|(binding, chain)| {
        let reaches = chain.end().is_none_or(|end| end.kind >= LinkKind::Container);
        reaches || !links::is_of_another_container(question, pod, binding)
    });
    let mut chains: Vec<Chain> = chains.map(|(_, chain)| chain).collect();
    if chains.iter().all(Chain::is_elsewhere) {
        // No binding speaks of this pod: what is there without one is the answer. One that leads to another pool of the name
        // that the pod's own has was meant for it, and one whose output gives it an identity still was before.
        let is = |speaks: fn(&Question<'_>, usize, &Binding) -> bool| {
            chains.iter().position(|chain| {
                let binding = chain.binding.as_ref().and_then(|key| scene.index.binding(key));
                binding.is_some_and(|binding| speaks(question, pod, binding))
            })
        };
        let meant = is(links::leads_to_a_twin).or_else(|| is(links::still_gives));
        let chain = match meant {
            Some(place) => chains.swap_remove(place),
            None => links::chain(question, Some(pod), None),
        };
        chains = vec![chain];
    }
    let mut rest: Vec<Chain> = Vec::new();
    let holds = chains.iter().any(|chain| chain.end().is_none());
    if holds {
        // An entry that its container does not come to is no reason to be silent because another container has its own.
        let is_told = |chain: &Chain| {
            let finding = chain.end().and_then(|end| end.finding.as_ref());
            finding.is_none_or(|finding| finding.code == Code::SocketNotMounted)
        };
        rest.extend(chains.extract_if(.., |chain| !is_told(chain)));
    } else {
        chains.sort_by_key(|chain| {
            Reverse((is_meant(question, pod, chain), chain.depth(), speaks_of_a_container(scene, chain)))
        });
        rest.extend(chains.drain(1.min(chains.len())..));
        if let Some(chain) = chains.first_mut() {
            say_what_took_the_fallback(chain, &rest);
        }
    }
    let claims = rest.iter().filter_map(|chain| claim(scene, chain)).collect();
    let still = rest.iter().filter_map(|chain| {
        let binding = scene.index.binding(chain.binding.as_ref()?)?;
        let (place, _) = scene.fate(&binding.key)?;
        let gives = scene.prediction.entries_by(place).iter().any(|entry| entry.pod == pod);
        crate::report::still_there(scene, binding).filter(|_| gives)
    });
    let still: Vec<Finding> = still.collect();
    let given = given(question, pod);
    // Of one container that was asked for, the chain itself speaks.
    let left = if holds && question.container.is_none() { left(question, pod, &given) } else { Vec::new() };
    let mut findings = beside(question, &chains, Some(Only { pod, container: question.container }));
    findings.extend(still);
    for chain in &mut chains {
        let binding = chain.binding.as_ref().and_then(|key| scene.index.binding(key));
        let Some(binding) = binding.filter(|binding| read::took_by_an_edit(question, binding)) else {
            continue;
        };
        let of_links = chain.links.iter_mut().filter_map(|link| link.finding.as_mut());
        of_links.chain(findings.iter_mut()).for_each(|finding| first_the_edit(finding, binding));
    }
    let holding = || given.iter().filter(|one| !one.identities.is_empty());
    let containers = || scene.world.pods[pod].containers.iter();
    let untold = |one: &Given| {
        containers().any(|container| container.name == one.container && container.access == Access::Untold)
    };
    let socket_untold = holds && holding().next().is_some() && holding().all(untold);
    Explanation { chains, given, left, claims, findings, socket_untold }
}

/// Whether a chain is of a binding that is meant for what is asked for: why that one gives a container nothing is the cause,
/// and that the binding of another container took its fallback identity away is only why nothing is in its place.
fn is_meant(question: &Question<'_>, pod: usize, chain: &Chain) -> bool {
    let binding = chain.binding.as_ref().and_then(|key| question.scene.index.binding(key));
    let of_another = binding.is_some_and(|binding| links::is_of_another_container(question, pod, binding));
    !chain.is_elsewhere() && !of_another
}

/// Whether a chain is of a binding of one objective in one container; of two that lead as far, that is more to the point
/// than one over all the pods of a pool.
fn speaks_of_a_container(scene: &Scene<'_>, chain: &Chain) -> bool {
    let binding = chain.binding.as_ref().and_then(|key| scene.index.binding(key));
    let spec = binding.and_then(|binding| binding.spec.as_ref().ok());
    spec.is_some_and(|spec| spec.discriminator.is_some())
}

/// What was left without an identity by an edit may be what the binding was for before.
fn first_the_edit(finding: &mut Finding, binding: &Binding) {
    let displaced = finding.code == Code::FallbackDisplaced;
    if let Some(hint) = finding.hint.as_mut().filter(|_| displaced) {
        let key = &binding.key;
        *hint = format!(
            "`{key}` was edited: see first whether it was for this container, and take the edit back if so; else {hint}"
        );
    }
}

/// Of a container that has not even its fallback identity: which binding took that.
fn say_what_took_the_fallback(chain: &mut Chain, rest: &[Chain]) {
    let displaces = |chain: &&Chain| {
        let finding = chain.end().and_then(|link| link.finding.as_ref());
        finding.is_some_and(|finding| finding.code == Code::FallbackDisplaced)
    };
    if displaces(&&*chain) {
        return;
    }
    let Some(by) = rest.iter().find(displaces).and_then(|chain| chain.binding.as_ref()) else { return };
    let finding = chain.links.iter_mut().find_map(|link| link.finding.as_mut());
    if let Some(finding) = finding.filter(|finding| finding.note.is_none()) {
        let code = Code::FallbackDisplaced;
        finding.note = Some(format!(
            "`{by}` takes the fallback identity of the whole pod away, so nothing is in its place ({code})"
        ));
    }
}

/// What each container of a pod is given.
fn given(question: &Question<'_>, pod: usize) -> Vec<Given> {
    let scene = &question.scene;
    let containers = scene.world.pods[pod].containers.iter();
    let containers =
        containers.filter(|container| question.container.is_none_or(|only| *container.name == *only));
    // Of a pod that has ended nothing runs that could hold one, though its entries stay.
    let ended = scene.world.pods[pod].phase.ended();
    // Without an agent on its node an entry is no SVID.
    let agents = Agents::of(scene);
    let served = match agents.only_elsewhere(&scene.world.pods[pod]) {
        Some(elsewhere) if elsewhere.is_known() => Answer::No,
        Some(_) => Answer::Unknown,
        None if agents.unready(&scene.world.pods[pod]).is_some() => Answer::Unknown,
        None => Answer::Yes,
    };
    let repairs = if ended { None } else { repair::Repair::of(question, pod) };
    let given = containers.map(|container| Given {
        container: container.name.clone(),
        kind: container.kind.as_str(),
        identities: scene
            .given(pod, container)
            .filter(|_| !ended && served.possible())
            .filter_map(|(entry, answer)| {
                let id = entry.spiffe_id.text()?.into();
                let answer = answer.and(scene.picked_up(entry.by)).and(served).and(reaches(container));
                let answer = answer.and(handed_out(scene, pod, container, entry));
                Some((id, scene.object(entry.by).name.clone(), answer))
            })
            .collect(),
        incomplete: !ended && scene.in_cluster && scene.outputs.is_none() && !scene.no_output_kind,
        repaired: repairs.as_ref().map(|repair| {
            let gives = repair.gives(question, container).into_iter().filter(|_| served.possible());
            gives.map(|(id, answer)| (id, answer.and(served).and(scene.assumed()))).collect()
        }),
    });
    given.collect()
}

/// Whether SPIRE's agent hands an identity out: of those that share a hint it hands out one.
fn handed_out(scene: &Scene<'_>, pod: usize, container: &Container, entry: &Entry) -> Answer {
    let hint = &scene.object(entry.by).hint;
    let hides = |other: &Entry| {
        other.spiffe_id.text() != entry.spiffe_id.text() && scene.object(other.by).hint == *hint
    };
    let alone = hint.is_empty() || !scene.given(pod, container).any(|(other, _)| hides(other));
    if alone { Answer::Yes } else { Answer::Unknown }
}

/// Whether a container comes to what is registered for it: one without the socket does not.
fn reaches(container: &Container) -> Answer {
    if matches!(container.access, Access::Missing { .. }) { Answer::Unknown } else { Answer::Yes }
}

/// What else there is to say about the bindings of chains, and of the pod that is asked about alone. That a fallback identity is gone is worth a word where the chain
/// holds; elsewhere the cause comes first, and what to do about it is another thing.
fn beside(question: &Question<'_>, chains: &[Chain], only: Option<Only<'_>>) -> Vec<Finding> {
    let scene = &question.scene;
    let mut findings = Vec::new();
    for chain in chains {
        let Some(binding) = chain.binding.as_ref().and_then(|key| scene.index.binding(key)) else { continue };
        let mut of_it = crate::report::neighbours(scene, binding, only);
        of_it.retain(|finding| chain.end().is_none() || finding.code != Code::FallbackDisplaced);
        for finding in of_it.iter_mut().filter(|finding| finding.code == Code::ForeignIdentity) {
            finding.note = read::of_object(question, finding);
        }
        // What the chain ends with is not said twice.
        let ends = chain.end().and_then(|end| end.finding.as_ref()).map(|finding| finding.code);
        of_it.retain(|finding| finding.code != Code::SharedHint || ends != Some(Code::SharedHint));
        findings.extend(of_it);
        findings.extend(crate::report::still_there(scene, binding));
    }
    findings
}

/// What a chain that is not shown would have given: its binding selects the pod, and is itself what is wrong.
fn claim(scene: &Scene<'_>, chain: &Chain) -> Option<Claim> {
    let binding = chain.binding.as_ref()?;
    let end = chain.end().filter(|link| link.kind == LinkKind::Binding)?;
    scene.index.resolved(binding)?.ok()?;
    Some(Claim { binding: binding.clone(), why: end.finding.clone()? })
}

/// Why containers are given nothing that could hold an identity.
fn left(question: &Question<'_>, index: usize, given: &[Given]) -> Vec<Left> {
    let pod = &question.scene.world.pods[index];
    let holding = pod.containers.iter().filter(|container| pod.can_hold(container));
    let without = holding.filter(|container| {
        let none = |one: &Given| one.identities.is_empty() && !one.incomplete;
        given.iter().any(|one| one.container == container.name && none(one))
    });
    let why = without.filter_map(|container| {
        let asked = Question { container: Some(&container.name), ..*question };
        let answer = self::pod(&asked, index);
        let why = answer.chains.first()?.end()?.finding.clone()?;
        Some(Left { container: container.name.clone(), why })
    });
    why.collect()
}
