//! S3: what is written is, to the last field, what the engine makes of a state that was, by the settings of an operator in
//! force; or, for what a finalizer keeps, the spec that selects nothing. And, read once more without the engine: no template,
//! within its namespace, nothing that widens it.

use std::time::Duration;

use kleym_api::{decode, encode};
use kleym_core::settings::Settings;
use kleym_testenv::Call;
use serde_json::Value;

use super::rules::{is_neutral, items};
use super::states::States;
use super::{Evidence, annotation, key_of, written_over};

/// How long a call of an operator may be on its way after the next one was started.
const LATE: Duration = Duration::from_secs(15);
/// What a spec never has.
const WIDENS: [&str; 7] =
    ["admin", "downstream", "dnsNameTemplates", "autoPopulateDNSNames", "federatesWith", "ttl", "jwtTtl"];

pub(super) fn violations(evidence: &Evidence<'_>, states: &States<'_>) -> Vec<String> {
    let mut found = Vec::new();
    for call in evidence.writes().filter(|call| call.verb != "delete") {
        let Some(body) = &call.request else { continue };
        let what = if is_neutral(body) {
            neutral(evidence, call, body)
        } else {
            let mut all = literal(body);
            all.extend(rendered(evidence, states, call, body));
            all.extend(reclassed(evidence, call, body));
            all
        };
        found.extend(what.iter().map(|what| format!("S3: `{}` {what}: {}", call.name, body["spec"])));
    }
    found
}

/// What a body says without the engine: pinned to the namespace of its binding, and nothing but literals.
fn literal(body: &Value) -> Vec<&'static str> {
    let spec = &body["spec"];
    let key = key_of(body);
    let namespace = key.as_ref().map_or("", |key| key.namespace.as_str());
    let mut found = Vec::new();
    let pin = &spec["namespaceSelector"]["matchLabels"];
    if *pin != serde_json::json!({"kubernetes.io/metadata.name": namespace}) {
        found.push("is not pinned to its namespace");
    }
    if !items(body).contains(&format!("k8s:ns:{namespace}")) {
        found.push("selects no namespace");
    }
    let id = spec["spiffeIDTemplate"].as_str().unwrap_or("").to_lowercase();
    let path = id.strip_prefix("spiffe://").and_then(|rest| rest.split_once('/')).map(|(_, path)| path);
    let own =
        path.is_some_and(|path| !path.starts_with("ns/") || path.starts_with(&format!("ns/{namespace}/")));
    if !own {
        found.push("has the SPIFFE ID of another namespace");
    }
    let texts = [&spec["spiffeIDTemplate"], &spec["workloadSelectorTemplates"], &spec["hint"]];
    if texts.iter().any(|text| text.to_string().contains(['{', '}'])) {
        found.push("holds braces");
    }
    found.extend(WIDENS.into_iter().filter(|widens| spec.get(widens).is_some()));
    found
}

/// The settings that a call can have been decided by: those of the operator that was started
/// last before it, and of one before that whose call was still on its way.
fn in_force<'a>(evidence: &'a Evidence<'_>, call: &Call) -> Vec<&'a Settings> {
    let mut found = Vec::new();
    for (nth, (since, settings)) in evidence.settings.iter().enumerate() {
        let next = evidence.settings.get(nth + 1).map(|(next, _)| *next);
        if *since <= call.answered && next.is_none_or(|next| next + LATE >= call.received) {
            found.push(settings);
        }
    }
    found
}

fn rendered(evidence: &Evidence<'_>, states: &States<'_>, call: &Call, body: &Value) -> Option<&'static str> {
    // Of an operator that a test started by itself the settings are not known.
    if evidence.settings.is_empty() {
        return None;
    }
    let key = key_of(body)?;
    let uid = annotation(body, "kleym.sonda.red/binding-uid").unwrap_or("");
    let is_of = |wanted: &Value| {
        let metadata = |field: &str| {
            let all = wanted["metadata"][field].as_object().into_iter().flatten();
            let ours = all.into_iter().all(|(key, value)| body["metadata"][field].get(key) == Some(value));
            // Nothing of ours beside it, such as the label of a class that is no longer.
            let more = body["metadata"][field].as_object().into_iter().flatten().any(|(key, _)| {
                let ours = key.starts_with("kleym.sonda.red/") || key == "spire.spiffe.io/class-name";
                ours && wanted["metadata"][field].get(key).is_none()
            });
            ours && !more
        };
        body["spec"] == wanted["spec"] && metadata("labels") && metadata("annotations")
    };
    let mut in_force = in_force(evidence, call).into_iter();
    let known = in_force
        .any(|settings| states.renders(settings, &key, uid).iter().any(|rendered| is_of(&rendered.output)));
    (!known).then_some("is not what any state asks for")
}

/// A class is not changed in place.
fn reclassed(evidence: &Evidence<'_>, call: &Call, body: &Value) -> Option<&'static str> {
    let before = written_over(evidence, call)?;
    (before.object["spec"].get("className") != body["spec"].get("className"))
        .then_some("changes its class in place")
}

/// Only what a finalizer of somebody else keeps is written so, and it is otherwise left as it is.
fn neutral(evidence: &Evidence<'_>, call: &Call, body: &Value) -> Vec<&'static str> {
    if call.verb != "update" {
        return vec!["is created and selects nothing"];
    }
    let Some(before) = written_over(evidence, call) else { return Vec::new() };
    let metadata = &before.object["metadata"];
    let kept = metadata["finalizers"].as_array().is_some_and(|all| !all.is_empty());
    if !kept && metadata.get("deletionTimestamp").is_none() {
        return vec!["selects nothing, and nothing keeps it"];
    }
    let Ok(live) = decode::output(&before.object) else { return Vec::new() };
    let wanted = serde_json::to_value(encode::replacement(&live.neutralised(), &live)).unwrap();
    if body["spec"] == wanted["spec"] { Vec::new() } else { vec!["selects nothing, and is not what it was"] }
}
