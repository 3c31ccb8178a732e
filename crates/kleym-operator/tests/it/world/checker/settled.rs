//! What holds when nothing happens any more: S5, and S4 without exceptions.

use std::collections::{BTreeMap, BTreeSet};

use kleym_api::encode;
use kleym_core::index::{Index, Verdict};
use kleym_core::name::{BindingKey, ObjectName, output_name};
use kleym_core::output::{FINALIZER, WantedOutput};
use kleym_core::render::Identity;
use serde_json::Value;

use super::key;
use super::rules::{Claim, is_neutral, overlap};
use super::safety::apart;

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

/// A namespace in which nothing happens any more.
#[derive(Clone, Copy)]
pub(crate) struct End<'a> {
    /// Its name.
    pub(crate) namespace: &'a str,
    /// Its bindings.
    pub(crate) bindings: &'a [Value],
    /// All outputs.
    pub(crate) outputs: &'a [Value],
    /// The pool of each objective.
    pub(crate) pools: &'a BTreeMap<String, String>,
    /// What the engine makes of all that is there, by the settings of the operator that was started last.
    pub(crate) index: &'a Index,
}

/// Checks bindings and outputs of a namespace as they stand; answers the broken rules.
pub(crate) fn settled(end: &End<'_>) -> Vec<String> {
    let mut found = Vec::new();
    let mut grants = Vec::new();
    let by_name: BTreeMap<&str, &Value> = end
        .outputs
        .iter()
        .filter_map(|output| Some((output["metadata"]["name"].as_str()?, output)))
        .collect();
    let instance = end.index.settings().instance.as_str();
    let mut wanted = BTreeSet::new();
    for binding in end.bindings {
        let name = binding["metadata"]["name"].as_str().unwrap_or("");
        let Some(key) = key(&format!("{}/{name}", end.namespace)) else { continue };
        let output_name = output_name(instance, &key).to_string();
        let output = by_name.get(output_name.as_str()).copied();
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
                wanted.insert(output_name);
                let spec = &output["spec"];
                if !is_neutral(output) {
                    grants.push(Grant::of(binding, spec, end.pools));
                }
                let same = said["uid"] == output["metadata"]["uid"]
                    && said["spiffeID"] == spec["spiffeIDTemplate"]
                    && binding["status"]["renderedSelectors"][0]["selectors"]
                        == spec["workloadSelectorTemplates"];
                if !same {
                    found.push(format!("S5: `{name}` says {said}, but its output is {spec}"));
                }
                found.extend(unequal(end.index, &key, output));
                let finalizers = binding["metadata"]["finalizers"].as_array();
                if !finalizers.into_iter().flatten().any(|finalizer| finalizer == FINALIZER) {
                    found.push(format!("S5: `{name}` has an output and no finalizer"));
                }
            }
            "False" if ours.is_some() => found.push(format!("S5: `{name}` is refused and has an output")),
            _ => {}
        }
        if condition(binding, "Conflict") == "True" {
            found.extend(unfounded(end, &key, binding));
        }
    }
    found.extend(overlaps(&grants));
    let ours = |output: &&Value| output["metadata"]["labels"]["kleym.sonda.red/instance"] == *instance;
    for output in end.outputs.iter().filter(ours) {
        let name = output["metadata"]["name"].as_str().unwrap_or("");
        let namespace = &output["metadata"]["labels"]["kleym.sonda.red/binding-namespace"];
        if *namespace == *end.namespace && !wanted.contains(name) {
            found.push(format!("S5: nobody asks for `{name}`"));
        }
    }
    found
}

/// How an output differs from the identity that its binding is to have: in its whole spec, in our labels or annotations.
fn unequal(index: &Index, key: &BindingKey, output: &Value) -> Option<String> {
    let name = &key.name;
    let Verdict::Wanted(identity) = index.verdict(key).verdict else {
        return Some(format!("S5: `{name}` is Ready and must not be"));
    };
    let uid = index.binding(key).and_then(|binding| binding.uid.as_ref());
    let wanted = WantedOutput::of(index.settings(), key, uid, &identity);
    let wanted = serde_json::to_value(encode::cluster_spiffe_id(&wanted)).unwrap();
    let has = |field: &str| {
        let mut all = wanted["metadata"][field].as_object().into_iter().flatten();
        all.all(|(key, value)| output["metadata"][field].get(key) == Some(value))
    };
    let owned = output["metadata"].get("ownerReferences").is_some();
    let same = output["spec"] == wanted["spec"] && has("labels") && has("annotations") && !owned;
    (!same).then(|| format!("S5: the output of `{name}` is {output}, but is to be {wanted}"))
}

/// What is wrong with the peers that a binding in conflict names: each must come first, be renderable, and claim the same.
fn unfounded(end: &End<'_>, key: &BindingKey, binding: &Value) -> Option<String> {
    let name = &key.name;
    let place = |of: &BindingKey| {
        let binding = end.index.binding(of)?;
        Some((binding.created, of.name.to_string()))
    };
    let claim = |identity: &Identity| -> (String, Vec<String>) {
        (identity.spiffe_id.as_str().to_owned(), identity.selectors.texts().map(str::to_owned).collect())
    };
    let conflicts = |peer: &Value| -> Option<bool> {
        let peer_key =
            BindingKey::new(key.namespace.clone(), ObjectName::parse(peer["bindingName"].as_str()?).ok()?);
        let (own, theirs) = (end.index.identity(key)?, end.index.identity(&peer_key)?);
        let ((id, items), (their_id, their_items)) = (claim(own), claim(theirs));
        let one = Claim { id: &id, items: &items, of: Some(&**own) };
        let two = Claim { id: &their_id, items: &their_items, of: Some(&**theirs) };
        let said = peer["spiffeID"] == *their_id;
        Some(place(&peer_key)? < place(key)? && overlap(one, two) && said)
    };
    let peers = binding["status"]["conflicts"].as_array().map(Vec::as_slice).unwrap_or_default();
    let founded = !peers.is_empty() && peers.iter().all(|peer| conflicts(peer) == Some(true));
    (!founded).then(|| format!("S5: `{name}` is in conflict, but not with {peers:?}"))
}
