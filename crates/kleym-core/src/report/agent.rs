//! SPIRE's agents, as far as their pods were seen: an entry is served by the agent on the pod's node alone.

use std::collections::BTreeSet;

use super::code::Code;
use super::finding::Finding;
use super::live::about;
use super::scene::Scene;
use crate::fact::Binding;
use crate::spire::{Node, Pod, Taint};
use crate::text::{Quoted, quoted_list};

/// The most nodes that are named.
const SHOWN: usize = 5;

/// Of so many nodes, agents on all but one show that no agent was left out.
const ENOUGH: usize = 3;

/// Agents that are on other nodes than a pod's.
#[derive(Debug)]
pub struct Elsewhere<'a> {
    /// The pod.
    pub pod: &'a Pod,
    /// Its node.
    pub node: &'a str,
    /// Where they are.
    nodes: BTreeSet<&'a str>,
    /// One of them.
    pub agent: &'a Pod,
    /// The node's taints; none where it was not read.
    pub taints: &'a [Taint],
    /// Those that keep the agent off.
    untolerated: Vec<&'a Taint>,
    /// The labels that the agent wants of a node and this one lacks.
    unmet: Vec<String>,
    /// Whether all agents were seen that there are.
    complete: bool,
}

/// The agents that were seen.
#[derive(Debug)]
pub struct Agents<'a> {
    all: Vec<&'a Pod>,
    nodes: BTreeSet<&'a str>,
    scene: Scene<'a>,
}

impl<'a> Agents<'a> {
    /// All of them.
    pub fn of(scene: &Scene<'a>) -> Self {
        let all: Vec<&Pod> = scene.places.agents.iter().map(|place| &scene.world.pods[*place]).collect();
        let nodes = all.iter().filter_map(|pod| pod.node_name.as_deref()).collect();
        Self { all, nodes, scene: *scene }
    }

    /// Why none is on a pod's node, when some are on others. Nothing where none was seen at all, or files stand for what is
    /// yet to be: then nobody looked where they are.
    pub fn only_elsewhere(&self, pod: &'a Pod) -> Option<Elsewhere<'a>> {
        let node = pod.node_name.as_deref()?;
        if self.nodes.contains(node) || !self.scene.pods_complete {
            return None;
        }
        let read = self.scene.world.nodes.unwrap_or_default().iter().find(|one| *one.name == *node);
        let taints = read.map(|node| &*node.taints).unwrap_or_default();
        // Of several DaemonSets the one that is nearest to being there.
        let each = self.all.iter().map(|agent| {
            let unmet = read.map(|node| unmet(agent, node)).unwrap_or_default();
            (*agent, untolerated(agent, taints), unmet)
        });
        let (agent, untolerated, unmet) =
            each.min_by_key(|(_, untolerated, unmet)| untolerated.len() + unmet.len())?;
        let nodes = self.nodes.iter().copied().take(SHOWN).collect();
        let complete = self.scene.agents_complete || self.everywhere_else(node);
        Some(Elsewhere { pod, node, nodes, agent, taints, untolerated, unmet, complete })
    }

    /// The agent on a pod's node, where every one that is there is known not to be ready.
    pub fn unready(&self, pod: &Pod) -> Option<&'a Pod> {
        let node = pod.node_name.as_deref()?;
        let mut there = self.all.iter().copied().filter(|agent| agent.node_name.as_deref() == Some(node));
        let first = there.next().filter(|agent| agent.ready == Some(false))?;
        there.all(|agent| agent.ready == Some(false)).then_some(first)
    }

    /// Whether one was seen on every other node that is known, and there are several: then nobody left the rest out.
    fn everywhere_else(&self, node: &str) -> bool {
        let nodes = self.scene.world.nodes.unwrap_or_default();
        let mut others = nodes.iter().filter(|one| *one.name != *node);
        nodes.len() >= ENOUGH && others.all(|one| self.nodes.contains(&*one.name))
    }

    /// Of the pods that an object gives an entry: the first that nobody serves, and how many more there are.
    pub fn unserved(&self, place: usize) -> Option<(Elsewhere<'a>, String)> {
        if self.all.is_empty() {
            return None;
        }
        let pods = self.scene.prediction.entries_by(place).iter();
        let pods = pods.map(|entry| &self.scene.world.pods[entry.pod]).filter(|pod| !pod.phase.ended());
        let mut without: Vec<Elsewhere<'a>> = pods.filter_map(|pod| self.only_elsewhere(pod)).collect();
        // What is known comes before what is only not seen.
        without.sort_by_key(|elsewhere| (!elsewhere.is_certain(), !elsewhere.is_known()));
        let more = without.len().saturating_sub(1);
        let first = without.into_iter().next()?;
        let message = match more {
            0 => first.message(),
            more => format!("{}; and so it is with {more} more of the pods", first.message()),
        };
        Some((first, message))
    }
}

/// That pods which have an entry have nobody on their node who gives out its SVID.
pub(super) fn unserved(scene: &Scene<'_>, binding: &Binding) -> Option<Finding> {
    let (place, _) = scene.fate(&binding.key)?;
    let (first, message) = Agents::of(scene).unserved(place).filter(|(first, _)| first.is_known())?;
    Some(about(Code::AgentMissing, binding, message).hint(first.hint()).with_pods([first.pod]))
}

fn untolerated<'a>(agent: &Pod, taints: &'a [Taint]) -> Vec<&'a Taint> {
    let tolerated = |taint: &Taint| agent.tolerations.iter().any(|one| one.tolerates(taint));
    taints.iter().filter(|taint| taint.keeps_off() && !tolerated(taint)).collect()
}

/// The labels of a node that an agent's `nodeSelector` wants and it lacks.
fn unmet(agent: &Pod, node: &Node) -> Vec<String> {
    let wanted = agent.node_selector.iter().map(|(key, value)| (&**key, &**value));
    let lacks = |(key, value): &(&str, &str)| node.labels.get(*key).is_none_or(|own| **own != **value);
    wanted.filter(lacks).map(|(key, value)| format!("{key}={value}")).collect()
}

impl Elsewhere<'_> {
    /// Whether it is known why there is none, so that there is none for certain.
    pub fn is_certain(&self) -> bool {
        !self.untolerated.is_empty() || !self.unmet.is_empty()
    }

    /// Whether there is none for certain. A dump of some namespaces alone may have left agents out.
    pub fn is_known(&self) -> bool {
        self.is_certain() || self.complete
    }

    /// The labels that the node lacks; none where its taints are what keeps the agent off.
    pub fn unmet(&self) -> &[String] {
        if self.untolerated.is_empty() { &self.unmet } else { &[] }
    }

    /// Who starts the agents.
    fn of_agents(&self) -> String {
        let Pod { namespace, owners, .. } = self.agent;
        match owners.iter().find(|owner| &*owner.kind == "DaemonSet") {
            Some(owner) => format!("DaemonSet {}", Quoted(&format!("{namespace}/{}", owner.name))),
            None => format!("pod {}", Quoted(&self.agent.path())),
        }
    }

    fn lacking(&self) -> String {
        let taints: Vec<String> = self.untolerated.iter().map(ToString::to_string).collect();
        quoted_list(taints.iter().map(String::as_str))
    }

    /// What is wrong.
    pub fn message(&self) -> String {
        let of_pod = format!("node {} of pod `{}`", Quoted(self.node), self.pod.name);
        if !self.unmet().is_empty() {
            return format!(
                "no agent of SPIRE is on {of_pod}, for {} wants the label {} of a node (`nodeSelector`), which it lacks: the entry is there, and nobody on the node gives out the SVID",
                self.of_agents(),
                quoted_list(self.unmet.iter().map(String::as_str))
            );
        }
        if self.is_certain() {
            return format!(
                "no agent of SPIRE is on {of_pod}, for {} does not tolerate its taint {}: the entry is there, and nobody on the node gives out the SVID",
                self.of_agents(),
                self.lacking()
            );
        }
        let nodes = quoted_list(self.nodes.iter().copied());
        match self.complete {
            true => format!(
                "no pod of SPIRE's agent is on {of_pod}, only on {nodes}, and without one there is no SVID"
            ),
            false => format!(
                "no pod of SPIRE's agent was seen on {of_pod}, only on {nodes}; whether all of them are in the files is not known"
            ),
        }
    }

    /// What to do.
    pub fn hint(&self) -> String {
        let agents = self.of_agents();
        if !self.unmet().is_empty() {
            return format!(
                "label node {} ({}), or take that out of `spec.template.spec.nodeSelector` of {agents}",
                Quoted(self.node),
                self.unmet.join(",")
            );
        }
        if self.is_certain() {
            let several = self.untolerated.len() > 1;
            let what = if several { "tolerations" } else { "a toleration" };
            return format!(
                "add {what} for {} to {agents} (`spec.template.spec.tolerations`)",
                self.lacking()
            );
        }
        format!(
            "see why {agents} has no pod on node {}: compare `spec.taints` and the labels of the node with `tolerations`, `nodeSelector` and `affinity` of its pods",
            Quoted(self.node)
        )
    }
}

/// Whether a pod is one of SPIRE's agent, by the name of its image, that is on a node and has not ended.
pub(super) fn is_agent(pod: &Pod) -> bool {
    let mut containers = pod.containers.iter().filter(|one| !one.kind.is_init());
    !pod.phase.ended()
        && pod.node_name.is_some()
        && containers.any(|one| image_name(&one.image) == "spire-agent")
}

/// The name of an image, without registry, path, tag and digest.
pub fn image_name(image: &str) -> &str {
    let name = image.split('@').next().unwrap_or_default().rsplit('/').next().unwrap_or_default();
    name.split(':').next().unwrap_or_default()
}
