//! What holds when nothing happens any more: S5, and S4 without exceptions.

use std::collections::{BTreeMap, BTreeSet};

use kleym_core::output::FINALIZER;
use serde_json::Value;

use super::safety::{apart, is_neutral};
use crate::world::World;

fn condition<'a>(binding: &'a Value, kind: &str) -> &'a str {
    let conditions = binding["status"]["conditions"].as_array();
    let found = conditions.into_iter().flatten().find(|condition| condition["type"] == kind);
    found.and_then(|condition| condition["status"].as_str()).unwrap_or("")
}

/// What an output grants, and for whom.
#[derive(Debug, Clone, Copy)]
pub(super) struct Grant<'a> {
    /// The binding.
    pub(super) binding: &'a str,
    /// Its mode.
    pub(super) mode: &'a str,
    /// Kind and name of what its identity is of.
    pub(super) subject: (&'a str, &'a str),
    /// The pool; none when that cannot be told.
    pub(super) pool: Option<&'a str>,
    /// The output's spec.
    pub(super) spec: &'a Value,
}

impl<'a> Grant<'a> {
    /// `pools` has the pool of each objective.
    fn of(binding: &'a Value, spec: &'a Value, pools: &'a BTreeMap<String, String>) -> Self {
        let text = |value: &'a Value| value.as_str().unwrap_or("");
        let asked = &binding["spec"];
        let target = text(&asked["targetRef"]["name"]);
        let is_pool = asked["targetRef"]["kind"] == "InferencePool";
        let pool = if is_pool { Some(target) } else { pools.get(target).map(String::as_str) };
        let mode = text(&asked["mode"]);
        let subject = match mode {
            "PoolOnly" => ("pool", pool.unwrap_or("")),
            _ => ("objective", target),
        };
        Self { binding: text(&binding["metadata"]["name"]), mode, subject, pool, spec }
    }

    fn id(&self) -> String {
        self.spec["spiffeIDTemplate"].as_str().unwrap_or("").to_lowercase()
    }
}

/// S4 without exceptions: no two outputs give a container two IDs of one mode, or IDs of two modes over different pools, and
/// no ID is of two subjects.
pub(super) fn overlaps(grants: &[Grant<'_>]) -> Vec<String> {
    let mut found = Vec::new();
    for (nth, one) in grants.iter().enumerate() {
        for two in &grants[..nth] {
            let same_id = one.id() == two.id();
            // Where a pool cannot be told nothing is said of two modes.
            let elsewhere = one.pool.zip(two.pool).is_some_and(|(one, two)| one != two);
            let competes = one.mode == two.mode || elsewhere;
            let meet = competes && !same_id && !apart(one.spec, two.spec);
            let shared = same_id && (one.subject != two.subject || elsewhere);
            if meet || shared {
                let (one, two) = (one.binding, two.binding);
                found.push(format!(
                    "S4: the outputs of `{two}` and `{one}` overlap, and nothing happens any more"
                ));
            }
        }
    }
    found
}

/// Checks bindings and outputs of a namespace as they stand, with the pool of each objective; answers the broken rules.
pub(crate) fn settled(
    world: &World,
    bindings: &[Value],
    outputs: &[Value],
    pools: &BTreeMap<String, String>,
) -> Vec<String> {
    let mut found = Vec::new();
    let mut grants = Vec::new();
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
                if !is_neutral(spec) {
                    grants.push(Grant::of(binding, spec, pools));
                }
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
    found.extend(overlaps(&grants));
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
