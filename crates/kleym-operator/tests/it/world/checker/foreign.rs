//! S2: what is changed or deleted is ours by its own proofs, and stands at the name of its binding; what others put on it
//! stays.

use std::time::Duration;

use jiff::Timestamp;
use kleym_core::kind::Kind;
use kleym_core::name::{BindingKey, output_name};
use kleym_core::output::FINALIZER;
use kleym_testenv::Call;
use serde_json::Value;

use super::rules::{Proofs, Whose};
use super::{Evidence, key_of, written_over};
use crate::world::recorder::Version;

/// How long before a write arrives the operator may have looked at what it writes to.
const LOOKED: Duration = Duration::from_secs(2);
/// How long a version may stand until the recorder has heard of it.
const HEARD: Duration = Duration::from_secs(3);
/// How long before a write arrives its binding may have gone.
const DECIDED: Duration = Duration::from_secs(10);

pub(super) fn violations(evidence: &Evidence<'_>) -> Vec<String> {
    let mut found = Vec::new();
    for call in evidence.writes() {
        let mut broken = |what: String| found.push(format!("S2: {what}: `{}`", call.name));
        if let Some(body) = call.request.as_ref().filter(|_| call.verb != "delete")
            && !key_of(body).is_some_and(|key| own_name(evidence, &key, &call.name))
        {
            broken(format!("{} at a name that is not of its binding", call.verb));
        }
        if call.code >= 300 || call.verb == "create" {
            continue;
        }
        if !ours(evidence, call) {
            broken(format!("{} of a foreign object", call.verb));
        }
        if let Some((body, before)) = call.request.as_ref().zip(written_over(evidence, call)) {
            lost(&before.object, body).into_iter().for_each(&mut broken);
        }
    }
    found
}

/// Whether an operator's output for a binding has this name. Of an operator of unknown settings nothing is said.
fn own_name(evidence: &Evidence<'_>, key: &BindingKey, name: &str) -> bool {
    evidence.settings.is_empty()
        || evidence
            .settings
            .iter()
            .any(|(_, settings)| output_name(settings.instance.as_str(), key).as_str() == name)
}

/// Whether the write met a version that was ours, or one that had been until a moment before. What was never recorded
/// cannot be judged.
fn ours(evidence: &Evidence<'_>, call: &Call) -> bool {
    if let Some(before) = written_over(evidence, call) {
        return is_ours(evidence, before, call.received);
    }
    let body = call.request.as_ref().unwrap_or(&Value::Null);
    let uid = body.pointer("/metadata/uid").or(body.pointer("/preconditions/uid")).and_then(Value::as_str);
    let mut versions = evidence
        .versions
        .iter()
        .filter(|version| version.kind == Kind::Output && version.text("/metadata/name") == call.name)
        .filter(|version| uid.is_none_or(|uid| uid == version.uid()))
        .peekable();
    let mut met = Vec::new();
    while let Some(version) = versions.next() {
        let until = versions.peek().map(|next| next.seen);
        let begun = version.seen <= call.answered + HEARD;
        if !version.gone && begun && until.is_none_or(|until| until + LOOKED >= call.received) {
            met.push(version);
        }
    }
    // Without a uid it can have met any of them.
    met.is_empty()
        || match uid {
            Some(_) => met.iter().any(|version| is_ours(evidence, version, call.received)),
            None => met.iter().all(|version| is_ours(evidence, version, call.received)),
        }
}

/// Whether an output was ours for some binding that lived a moment before, or for one that had lived.
fn is_ours(evidence: &Evidence<'_>, output: &Version, at: Timestamp) -> bool {
    let name = output.text("/metadata/name");
    let proofs = Proofs::of(&output.object);
    let bindings = || evidence.versions.iter().filter(|version| version.kind == Kind::Binding);
    let lived = |version: &&Version| {
        let gone = bindings().find(|other| other.gone && other.uid() == version.uid());
        gone.is_none_or(|gone| gone.seen + DECIDED >= at)
    };
    let instances = evidence.settings.iter().map(|(_, settings)| settings.instance.as_str());
    instances.chain([evidence.instance]).any(|instance| proofs.complete(instance, name).is_some())
        || bindings()
            .filter(|binding| key_at(binding).is_some_and(|key| own_name(evidence, &key, name)))
            .filter(lived)
            .any(|binding| {
                key_at(binding).is_some_and(|key| proofs.whose(&key, binding.uid()) != Whose::Foreign)
            })
}

fn key_at(binding: &Version) -> Option<BindingKey> {
    super::key(&format!("{}/{}", binding.text("/metadata/namespace"), binding.text("/metadata/name")))
}

/// What a replace takes away that others put there.
fn lost(before: &Value, body: &Value) -> Vec<String> {
    let ours = |key: &str| key.starts_with("kleym.sonda.red/") || key.starts_with("spire.spiffe.io/");
    let mut lost = Vec::new();
    for field in ["labels", "annotations"] {
        for (key, value) in before["metadata"][field].as_object().into_iter().flatten() {
            if !ours(key) && body["metadata"][field].get(key) != Some(value) {
                lost.push(format!("loses {field} `{key}`"));
            }
        }
    }
    let finalizers = |object: &Value| -> Vec<String> {
        let all = object["metadata"]["finalizers"].as_array().into_iter().flatten();
        all.filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let kept = finalizers(body);
    let gone = finalizers(before).into_iter().filter(|one| one != FINALIZER && !kept.contains(one));
    lost.extend(gone.map(|finalizer| format!("loses the finalizer `{finalizer}`")));
    lost
}
