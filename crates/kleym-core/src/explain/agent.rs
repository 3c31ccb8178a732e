//! SPIRE's agents, as far as their pods were seen: an entry is served by the agent on the pod's node alone.

use std::collections::BTreeSet;

use super::role;
use crate::report::Scene;
use crate::spire::Pod;

/// The pod's node, and those on which agents were seen, when it is none of them. Nothing where no agent was seen at all: then
/// nobody looked where they are.
pub(super) fn only_elsewhere<'a>(scene: &Scene<'a>, pod: &'a Pod) -> Option<(&'a str, BTreeSet<&'a str>)> {
    let agents = scene.world.pods.iter().filter(|pod| is_agent(pod));
    let nodes: BTreeSet<&str> = agents.filter_map(|pod| pod.node_name.as_deref()).collect();
    let node = pod.node_name.as_deref()?;
    (!nodes.is_empty() && !nodes.contains(node)).then_some((node, nodes))
}

/// Whether a pod is one of SPIRE's agent, by the name of its image, and has not ended.
fn is_agent(pod: &Pod) -> bool {
    let mut containers = pod.containers.iter().filter(|one| !one.kind.is_init());
    !pod.phase.ended() && containers.any(|one| role::name(&one.image) == "spire-agent")
}
