//! S4 at every revision: no two outputs that stand together overlap as the contract forbids. Only what the operator alone
//! wrote; what a test lets land late may overlap until it is swept.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kleym_core::render::Identity;

use super::rules::{Claim, is_neutral, items, overlap_in_passing};
use super::safety::History;
use super::states::States;
use super::{annotation, key_of};
use crate::world::recorder::Version;

/// An output that grants something, and the identities that its words can be of: a binding may come to another one that
/// needs no other words. None where no state is known that they are of.
struct Granted<'a> {
    name: &'a str,
    uid: &'a str,
    id: &'a str,
    items: Vec<String>,
    of: Vec<Option<Arc<Identity>>>,
}

impl Granted<'_> {
    fn claim<'b>(&'b self, of: Option<&'b Identity>) -> Claim<'b> {
        Claim { id: self.id, items: &self.items, of }
    }
}

pub(super) fn violations(history: &History<'_>, states: &States<'_>) -> Vec<String> {
    let mut standing: BTreeMap<&str, Granted<'_>> = BTreeMap::new();
    let mut found = BTreeSet::new();
    // Of an operator that a test started by itself the settings are not known, and so no identities.
    if history.evidence.settings.is_empty() {
        return Vec::new();
    }
    for version in &history.outputs {
        standing.remove(version.uid());
        if version.gone || history.touched.contains(version.uid()) || is_neutral(&version.object) {
            continue;
        }
        let granted = granted(history, states, version);
        for other in standing.values().filter(|other| other.name != granted.name) {
            if overlap(&granted, other) && !excused(history, &granted) && !excused(history, other) {
                let (name, beside) = (granted.name, other.name);
                found.insert(format!("S4: `{name}` and `{beside}` overlap at {}", version.revision));
            }
        }
        standing.insert(version.uid(), granted);
    }
    found.into_iter().collect()
}

fn granted<'a>(history: &History<'a>, states: &States<'_>, version: &'a Version) -> Granted<'a> {
    let uid = annotation(&version.object, "kleym.sonda.red/binding-uid").unwrap_or("");
    let key = key_of(&version.object);
    let spec = &version.object["spec"];
    let mut of = Vec::new();
    for (nth, (_, settings)) in history.evidence.settings.iter().enumerate() {
        let known = history.evidence.settings[..nth].iter().any(|(_, before)| before == settings);
        if let Some(key) = key.as_ref().filter(|_| !known) {
            let renders = states.renders(settings, key, uid);
            let alike = renders.iter().filter(|rendered| rendered.output["spec"] == *spec);
            of.extend(alike.map(|rendered| Some(Arc::clone(&rendered.identity))));
        }
    }
    if of.is_empty() {
        of.push(None);
    }
    Granted {
        name: version.text("/metadata/name"),
        uid: version.uid(),
        id: version.text("/spec/spiffeIDTemplate"),
        items: items(&version.object),
        of,
    }
}

/// Whether two overlap whatever identities they are of. What is not known of one counts against it.
fn overlap(one: &Granted<'_>, two: &Granted<'_>) -> bool {
    one.of
        .iter()
        .all(|a| two.of.iter().all(|b| overlap_in_passing(one.claim(a.as_deref()), two.claim(b.as_deref()))))
}

/// Whether it is one that a test lets land late, and it was swept.
fn excused(history: &History<'_>, granted: &Granted<'_>) -> bool {
    let swept = || history.outputs.iter().any(|version| version.gone && version.uid() == granted.uid);
    history.evidence.displaced.iter().any(|name| name == granted.name) && swept()
}
