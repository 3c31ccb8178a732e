//! The DaemonSets of SPIRE's agent in files: whether all of their pods are there too. Reads; decides nothing.

use kleym_api::decode;
use kleym_core::report::image_name;
use kleym_core::spire::Pod;
use serde_json::Value;

/// The name of the image of SPIRE's agent.
const AGENT: &str = "spire-agent";

/// Whether a DaemonSet starts agents.
pub(crate) fn starts_agents(set: &Value) -> bool {
    let containers = set.pointer("/spec/template/spec/containers").and_then(Value::as_array);
    let mut images = containers.into_iter().flatten().filter_map(|one| one.get("image")?.as_str());
    images.any(|image| image_name(image) == AGENT)
}

/// Whether every pod that these DaemonSets report to have started is among the pods: then no agent is missing there.
pub(crate) fn are_all_there(sets: &[Value], pods: &[Pod]) -> bool {
    let complete = |set: &Value| {
        let meta = decode::Meta::of(set);
        let (Some(namespace), Some(name)) = (meta.namespace(), meta.name()) else { return false };
        let number = |field: &str| set.pointer(&format!("/status/{field}")).and_then(Value::as_u64);
        let Some(scheduled) = number("currentNumberScheduled") else { return false };
        let reported = scheduled + number("numberMisscheduled").unwrap_or(0);
        let is = |pod: &&Pod| {
            let owned = || pod.owners.iter().any(|owner| &*owner.kind == "DaemonSet" && *owner.name == *name);
            pod.namespace.as_str() == namespace && pod.node_name.is_some() && !pod.phase.ended() && owned()
        };
        pods.iter().filter(is).count() as u64 >= reported
    };
    !sets.is_empty() && sets.iter().all(complete)
}
