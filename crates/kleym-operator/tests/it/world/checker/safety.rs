//! What holds at every revision, told from objects and calls: S1 here, S2 to S4 each in its own file.

use std::collections::{BTreeMap, BTreeSet};

use kleym_core::kind::Kind;
use kleym_core::output::FINALIZER;
use serde_json::Value;

use super::states::States;
use super::{BINDINGS, Evidence, apart, foreign, rendered};
use crate::world::recorder::Version;

pub(super) fn violations(evidence: &Evidence<'_>) -> Vec<String> {
    let (history, states) = (History::of(evidence), States::of(evidence.versions));
    let mut found = history.finalizers();
    found.extend(foreign::violations(evidence));
    found.extend(rendered::violations(evidence, &states));
    found.extend(apart::violations(&history, &states));
    found
}

/// The bindings of the namespace and their outputs.
pub(super) struct History<'a> {
    /// Where it is read from.
    pub(super) evidence: &'a Evidence<'a>,
    bindings: Vec<&'a Version>,
    /// Every version of the outputs.
    pub(super) outputs: Vec<&'a Version>,
    /// Uids of outputs that somebody else wrote.
    pub(super) touched: BTreeSet<&'a str>,
}

fn holds_finalizer(object: &Value) -> bool {
    let finalizers = object["metadata"]["finalizers"].as_array();
    finalizers.into_iter().flatten().any(|finalizer| finalizer == FINALIZER)
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
        let names: BTreeSet<&str> = bindings.iter().map(|version| version.text("/metadata/name")).collect();
        let own: BTreeSet<String> = names.into_iter().filter_map(|name| evidence.output_of(name)).collect();
        let outputs: Vec<&Version> =
            of_kind(Kind::Output).filter(|version| own.contains(version.text("/metadata/name"))).collect();
        let others = |version: &&&Version| {
            let managers = version.object["metadata"]["managedFields"].as_array();
            managers
                .into_iter()
                .flatten()
                .any(|entry| entry["manager"] != "kleym-operator" && entry["subresource"] != "status")
        };
        let touched = outputs.iter().filter(others).map(|version| version.uid()).collect();
        Self { evidence, bindings, outputs, touched }
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
