//! What was read for it that no agent of SPIRE is on a pod's node.

use super::chain::Evidence;
use crate::report::Elsewhere;

/// The two nodes, and what keeps the agent off the pod's.
pub(super) fn read(elsewhere: &Elsewhere<'_>) -> Vec<Evidence> {
    let Elsewhere { pod, node, agent, taints, .. } = elsewhere;
    let list = |texts: Vec<String>| if texts.is_empty() { "<none>".to_owned() } else { texts.join(", ") };
    let mut read = vec![Evidence::new(format!("Pod {}", pod.path()), "spec.nodeName", *node)];
    if !taints.is_empty() {
        let taints = taints.iter().map(ToString::to_string).collect();
        read.push(Evidence::new(format!("Node {node}"), "spec.taints", list(taints)));
    }
    let of_agent = format!("Pod {}", agent.path());
    read.push(Evidence::new(&*of_agent, "spec.nodeName", agent.node_name.as_deref().unwrap_or_default()));
    if !elsewhere.unmet().is_empty() {
        let wants = agent.node_selector.iter().map(|(key, value)| format!("{key}={value}")).collect();
        read.push(Evidence::new(of_agent, "spec.nodeSelector", list(wants)));
    } else if elsewhere.is_certain() {
        let tolerations = agent.tolerations.iter().map(ToString::to_string).collect();
        read.push(Evidence::new(of_agent, "spec.tolerations", list(tolerations)));
    }
    read
}
