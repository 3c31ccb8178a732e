//! What holds when nothing happens any more: S5, and S4 without exceptions.

use std::collections::{BTreeMap, BTreeSet};

use kleym_core::output::FINALIZER;
use serde_json::Value;

use crate::world::World;

fn condition<'a>(binding: &'a Value, kind: &str) -> &'a str {
    let conditions = binding["status"]["conditions"].as_array();
    let found = conditions.into_iter().flatten().find(|condition| condition["type"] == kind);
    found.and_then(|condition| condition["status"].as_str()).unwrap_or("")
}

/// Checks bindings and outputs of a namespace as they stand; answers the broken rules.
pub(crate) fn settled(world: &World, bindings: &[Value], outputs: &[Value]) -> Vec<String> {
    let mut found = Vec::new();
    let by_name: BTreeMap<&str, &Value> =
        outputs.iter().filter_map(|output| Some((output["metadata"]["name"].as_str()?, output))).collect();
    let mut wanted = BTreeSet::new();
    for binding in bindings {
        let name = binding["metadata"]["name"].as_str().unwrap_or("");
        let output = by_name.get(world.output_name(name).as_str()).copied();
        let uid = &binding["metadata"]["uid"];
        let ours =
            output.filter(|output| output["metadata"]["annotations"]["kleym.sonda.red/binding-uid"] == *uid);
        if binding["metadata"].get("deletionTimestamp").is_some_and(|time| !time.is_null()) {
            found.push(format!("L1: `{name}` is never let go"));
        }
        if binding["status"]["observedGeneration"] != binding["metadata"]["generation"] {
            found.push(format!("S5: the status of `{name}` speaks of another generation"));
        }
        match condition(binding, "Ready") {
            "True" => {
                let said = &binding["status"]["renderedClusterSPIFFEID"];
                let Some(output) = ours else {
                    found.push(format!("S5: `{name}` is Ready without an output"));
                    continue;
                };
                wanted.insert(world.output_name(name));
                let spec = &output["spec"];
                let same = said["uid"] == output["metadata"]["uid"]
                    && said["spiffeID"] == spec["spiffeIDTemplate"]
                    && binding["status"]["renderedSelectors"][0]["selectors"]
                        == spec["workloadSelectorTemplates"];
                if !same {
                    found.push(format!("S5: `{name}` says {said}, but its output is {spec}"));
                }
                let finalizers = binding["metadata"]["finalizers"].as_array();
                if !finalizers.into_iter().flatten().any(|finalizer| finalizer == FINALIZER) {
                    found.push(format!("S5: `{name}` has an output and no finalizer"));
                }
            }
            "False" if ours.is_some() => found.push(format!("S5: `{name}` is refused and has an output")),
            _ => {}
        }
        if condition(binding, "Conflict") == "True" {
            let created = |binding: &Value| {
                let text = |field: &str| binding["metadata"][field].as_str().unwrap_or("").to_owned();
                (text("creationTimestamp"), text("name"))
            };
            if !bindings.iter().any(|peer| created(peer) < created(binding)) {
                found.push(format!("S5: `{name}` is in conflict and nobody is older"));
            }
        }
    }
    let ours = |output: &&Value| output["metadata"]["labels"]["kleym.sonda.red/instance"] == *world.instance;
    for output in outputs.iter().filter(ours) {
        let name = output["metadata"]["name"].as_str().unwrap_or("");
        let namespace = &output["metadata"]["labels"]["kleym.sonda.red/binding-namespace"];
        if *namespace == *world.namespace && !wanted.contains(name) {
            found.push(format!("S5: nobody asks for `{name}`"));
        }
    }
    found
}
