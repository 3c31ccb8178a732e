//! What holds at every revision: S1 to S4 of what an output may be, told from objects and calls alone.

use std::collections::{BTreeMap, BTreeSet};

use kleym_core::kind::Kind;
use kleym_core::output::FINALIZER;
use kleym_testenv::Call;
use serde_json::Value;

use super::Evidence;
use crate::world::recorder::Version;

const OUTPUTS: &str = "spire.spiffe.io/clusterspiffeids";
const BINDINGS: &str = "kleym.sonda.red/inferenceidentitybindings";

pub(super) fn violations(evidence: &Evidence<'_>) -> Vec<String> {
    let world = History::of(evidence);
    let mut found = world.finalizers();
    found.extend(world.foreign());
    found.extend(world.literal());
    found.extend(world.overlaps());
    found
}

struct History<'a> {
    evidence: &'a Evidence<'a>,
    bindings: Vec<&'a Version>,
    outputs: Vec<&'a Version>,
    /// Name and uids of the binding that an output of this name is for.
    owners: BTreeMap<String, (&'a str, BTreeSet<&'a str>)>,
    /// Uids of outputs that somebody else wrote.
    touched: BTreeSet<&'a str>,
}

fn holds_finalizer(object: &Value) -> bool {
    let finalizers = object["metadata"]["finalizers"].as_array();
    finalizers.into_iter().flatten().any(|finalizer| finalizer == FINALIZER)
}

/// Whether an output selects no namespace that can exist.
pub(super) fn is_neutral(spec: &Value) -> bool {
    let pin = &spec["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"];
    pin.as_str().is_some_and(|namespace| namespace.contains('.'))
}

fn items(spec: &Value) -> impl Iterator<Item = &str> {
    spec["workloadSelectorTemplates"].as_array().into_iter().flatten().filter_map(Value::as_str)
}

impl<'a> History<'a> {
    fn of(evidence: &'a Evidence<'a>) -> Self {
        let of_kind = |kind: Kind| evidence.versions.iter().filter(move |version| version.kind == kind);
        let bindings: Vec<&Version> = of_kind(Kind::Binding)
            .filter(|version| version.text("/metadata/namespace") == evidence.namespace)
            .collect();
        let mut owners = BTreeMap::new();
        for version in &bindings {
            let name = version.text("/metadata/name");
            if let Some(output) = evidence.output_of(name) {
                owners.entry(output).or_insert((name, BTreeSet::new())).1.insert(version.uid());
            }
        }
        let outputs: Vec<&Version> = of_kind(Kind::Output)
            .filter(|version| owners.contains_key(version.text("/metadata/name")))
            .collect();
        let others = |version: &&&Version| {
            let managers = version.object["metadata"]["managedFields"].as_array();
            managers
                .into_iter()
                .flatten()
                .any(|entry| entry["manager"] != "kleym-operator" && entry["subresource"] != "status")
        };
        let touched = outputs.iter().filter(others).map(|version| version.uid()).collect();
        Self { evidence, bindings, outputs, owners, touched }
    }

    /// The calls of the operator on outputs of this namespace that went well, or may have.
    fn writes(&self) -> impl Iterator<Item = &Call> {
        let mine = |call: &&Call| call.resource == OUTPUTS && self.owners.contains_key(&call.name);
        self.evidence.made().filter(mine)
    }

    /// Outputs as they stand at a revision, by uid.
    fn standing(&self, at: u64) -> Vec<&'a Version> {
        let mut standing = BTreeMap::new();
        for version in self.outputs.iter().take_while(|version| version.revision <= at) {
            if version.gone {
                standing.remove(version.uid());
            } else {
                standing.insert(version.uid(), *version);
            }
        }
        standing.into_values().collect()
    }

    /// S1: the operator takes its finalizer away only when no output with that binding's uid is there.
    fn finalizers(&self) -> Vec<String> {
        let by_hand = |name: &str| {
            self.evidence.calls.iter().any(|call| {
                let writes = ["update", "patch"].contains(&call.verb.as_str());
                let text =
                    || call.request.as_ref().is_some_and(|body| body.to_string().contains("finalizers"));
                call.user != self.evidence.user
                    && call.resource == BINDINGS
                    && call.name == name
                    && writes
                    && (call.namespace == self.evidence.namespace)
                    && text()
            })
        };
        let mut held: BTreeSet<&str> = BTreeSet::new();
        let mut found = Vec::new();
        for version in &self.bindings {
            let (name, uid) = (version.text("/metadata/name"), version.uid());
            if !version.gone && holds_finalizer(&version.object) {
                held.insert(uid);
                continue;
            }
            if !held.remove(uid) || by_hand(name) {
                continue;
            }
            let with_uid = |output: &&Version| {
                output.object["metadata"]["annotations"]["kleym.sonda.red/binding-uid"] == uid
            };
            let left = self.standing(version.revision).into_iter().filter(with_uid);
            for output in left.filter(|output| !self.touched.contains(output.uid())) {
                let output = output.text("/metadata/name");
                found.push(format!("S1: the finalizer of `{name}` went while `{output}` was there"));
            }
        }
        found
    }

    /// S2: what is updated or deleted was, in some version, ours by two of three proofs.
    fn foreign(&self) -> Vec<String> {
        let mut found = Vec::new();
        for call in self.writes().filter(|call| call.code < 300) {
            let body = call.request.as_ref().unwrap_or(&Value::Null);
            let uid = match call.verb.as_str() {
                "update" => body.pointer("/metadata/uid"),
                "delete" => body.pointer("/preconditions/uid"),
                _ => continue,
            };
            let Some(uid) = uid.and_then(Value::as_str) else { continue };
            let mut versions = self.outputs.iter().filter(|version| version.uid() == uid).peekable();
            // What was never seen in any version cannot be judged.
            if versions.peek().is_some() && !versions.any(|version| self.is_ours(version)) {
                found.push(format!("S2: {} of the foreign object `{}`", call.verb, call.name));
            }
        }
        found
    }

    fn is_ours(&self, output: &Version) -> bool {
        let Some((binding, uids)) = self.owners.get(output.text("/metadata/name")) else { return false };
        let metadata = &output.object["metadata"];
        let annotation = |key: &str| metadata["annotations"][key].as_str();
        let proofs = [
            metadata["labels"]["kleym.sonda.red/managed-by"] == "kleym",
            annotation("kleym.sonda.red/binding") == Some(&format!("{}/{binding}", self.evidence.namespace)),
            annotation("kleym.sonda.red/binding-uid").is_some_and(|uid| uids.contains(uid)),
        ];
        let orphan = annotation("kleym.sonda.red/binding-uid").is_some_and(|uid| !uids.contains(uid));
        proofs.into_iter().filter(|proof| *proof).count() >= 2 || (orphan && proofs[0] && proofs[1])
    }

    /// S3: what is written says what it says: no template, within its namespace, nothing that widens it.
    fn literal(&self) -> Vec<String> {
        let namespace = self.evidence.namespace;
        let mut found = Vec::new();
        for call in self.writes().filter(|call| ["create", "update"].contains(&call.verb.as_str())) {
            let Some(spec) = call.request.as_ref().map(|body| &body["spec"]) else { continue };
            if is_neutral(spec) {
                continue;
            }
            let mut broken = |what: &str| found.push(format!("S3: `{}` {what}: {spec}", call.name));
            let pin = &spec["namespaceSelector"]["matchLabels"];
            if *pin != serde_json::json!({"kubernetes.io/metadata.name": namespace}) {
                broken("is not pinned to its namespace");
            }
            if !items(spec).any(|item| item == format!("k8s:ns:{namespace}")) {
                broken("selects no namespace");
            }
            let id = spec["spiffeIDTemplate"].as_str().unwrap_or("").to_lowercase();
            let path =
                id.strip_prefix("spiffe://").and_then(|rest| rest.split_once('/')).map(|(_, path)| path);
            let own = path.is_some_and(|path| {
                !path.starts_with("ns/") || path.starts_with(&format!("ns/{namespace}/"))
            });
            if !own {
                broken("has the SPIFFE ID of another namespace");
            }
            let texts = [&spec["spiffeIDTemplate"], &spec["workloadSelectorTemplates"], &spec["hint"]];
            if texts.iter().any(|text| text.to_string().contains(['{', '}'])) {
                broken("holds braces");
            }
            for widens in [
                "admin",
                "downstream",
                "dnsNameTemplates",
                "autoPopulateDNSNames",
                "federatesWith",
                "ttl",
                "jwtTtl",
            ] {
                if spec.get(widens).is_some() {
                    broken(widens);
                }
            }
        }
        found
    }

    /// S4: at no revision are there two outputs of one mode that a container can match together, or one SPIFFE ID for
    /// two objectives. Only what the operator alone wrote, for bindings that always had one mode and target.
    fn overlaps(&self) -> Vec<String> {
        let kinds = self.kinds();
        let grants = |version: &&'a Version| {
            !self.touched.contains(version.uid()) && !is_neutral(&version.object["spec"])
        };
        let mut standing: BTreeMap<&str, &Version> = BTreeMap::new();
        let mut found = BTreeSet::new();
        for version in &self.outputs {
            standing.remove(version.uid());
            if version.gone || !grants(version) {
                continue;
            }
            let name = version.text("/metadata/name");
            for other in standing.values() {
                let beside = other.text("/metadata/name");
                let (Some(one), Some(two)) = (kinds.get(name), kinds.get(beside)) else { continue };
                let id = |version: &Version| version.text("/spec/spiffeIDTemplate").to_lowercase();
                let (ours, theirs) = (&version.object["spec"], &other.object["spec"]);
                let meet = one.0 == two.0 && id(version) != id(other) && !apart(ours, theirs);
                let shared = id(version) == id(other) && one.0 == "PerObjective" && one != two;
                if name != beside && (meet || shared) {
                    found.insert(format!("S4: `{name}` and `{beside}` overlap at {}", version.revision));
                }
            }
            standing.insert(version.uid(), version);
        }
        found.into_iter().collect()
    }

    /// Mode and target of the bindings that never had others, by the name of their output.
    fn kinds(&self) -> BTreeMap<String, (&'a str, &'a str)> {
        let mut all: BTreeMap<&str, BTreeSet<(&str, &str)>> = BTreeMap::new();
        for version in &self.bindings {
            let kind = (version.text("/spec/mode"), version.text("/spec/targetRef/name"));
            all.entry(version.text("/metadata/name")).or_default().insert(kind);
        }
        let single = |(name, kinds): (&str, BTreeSet<(&'a str, &'a str)>)| {
            let kind = kinds.first().copied().filter(|_| kinds.len() == 1)?;
            Some((self.evidence.output_of(name)?, kind))
        };
        all.into_iter().filter_map(single).collect()
    }
}

/// Whether a key that a container has one value of has different ones in both.
pub(super) fn apart(one: &Value, two: &Value) -> bool {
    items(one).filter_map(single).any(|(key, value)| {
        items(two).filter_map(single).any(|(other, theirs)| key == other && value != theirs)
    })
}

/// Key and value of an item that can prove two sets disjoint.
fn single(item: &str) -> Option<(String, &str)> {
    let rest = item.strip_prefix("k8s:")?;
    if let Some((label, value)) = rest.strip_prefix("pod-label:").and_then(|rest| rest.split_once(':')) {
        return Some((format!("pod-label:{label}"), value));
    }
    let (key, value) = rest.split_once(':')?;
    let plain = ["sa", "container-name", "node-name", "pod-name"].contains(&key);
    let tagged = key == "container-image"
        && value.rsplit('/').next().is_some_and(|last| last.contains(':'))
        && !value.contains('@')
        && !value.starts_with("sha256:");
    (plain || tagged).then(|| (key.to_owned(), value))
}
