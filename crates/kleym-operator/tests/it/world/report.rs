//! What a binding's status says, and what it should say: whole, transition times aside.

use serde_json::{Value, json};

/// A text that must be one.
pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("not a text: {value}"))
}

/// Status and reason of the condition `Ready`.
pub(crate) fn ready(binding: &Value) -> (&str, &str) {
    let conditions = binding["status"]["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
    let ready = conditions.iter().find(|condition| condition["type"] == "Ready");
    ready.map_or(("", ""), |ready| (text(&ready["status"]), text(&ready["reason"])))
}

/// A binding's status; each condition must have a transition time, which is left out.
pub(crate) fn status_of(binding: &Value) -> Value {
    let mut status = binding["status"].clone();
    for condition in status["conditions"].as_array_mut().unwrap() {
        let since = condition.as_object_mut().unwrap().remove("lastTransitionTime");
        text(&since.unwrap()).parse::<jiff::Timestamp>().unwrap();
    }
    status
}

/// Which of the kstatus conditions a refusal has.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kstatus {
    /// It may pass by itself.
    Reconciling,
    /// Somebody has to change something.
    Stalled,
}

const FAILURES: [&str; 4] = ["InvalidRef", "UnsafeSelector", "Conflict", "RenderFailure"];

fn condition(kind: &str, status: &str, reason: &str, message: &str) -> Value {
    json!({"type": kind, "status": status, "reason": reason, "message": message})
}

/// Puts the generation in, in the place the API server keeps it.
fn at(generation: i64, conditions: Vec<Value>) -> Value {
    let with = |mut condition: Value| {
        condition["observedGeneration"] = json!(generation);
        condition
    };
    conditions.into_iter().map(with).collect::<Vec<_>>().into()
}

/// The conditions of success.
pub(crate) fn granted(generation: i64, message: &str) -> Value {
    let mut conditions = vec![condition("Ready", "True", "Reconciled", message)];
    conditions.extend(FAILURES.map(|kind| condition(kind, "False", "Resolved", "")));
    at(generation, conditions)
}

/// The conditions of a refusal.
pub(crate) fn refused(generation: i64, kind: &str, reason: &str, message: &str, kstatus: Kstatus) -> Value {
    assert!(FAILURES.contains(&kind), "{kind}");
    let mut conditions = vec![condition("Ready", "False", reason, message)];
    conditions.extend(FAILURES.map(|failure| {
        if failure == kind {
            condition(failure, "True", reason, message)
        } else {
            condition(failure, "False", "Resolved", "")
        }
    }));
    let last = match kstatus {
        Kstatus::Reconciling => "Reconciling",
        Kstatus::Stalled => "Stalled",
    };
    conditions.push(condition(last, "True", reason, message));
    at(generation, conditions)
}

/// The conditions of a binding whose kinds are not known yet.
pub(crate) fn undecided(generation: i64, message: &str) -> Value {
    let mut conditions = vec![condition("Ready", "Unknown", "Initializing", message)];
    conditions.extend(FAILURES.map(|kind| condition(kind, "Unknown", "Initializing", message)));
    conditions.push(condition("Reconciling", "True", "Initializing", message));
    at(generation, conditions)
}

/// The conditions of a binding that waits for something, or keeps its object waiting.
pub(crate) fn waiting(generation: i64, message: &str) -> Value {
    let mut conditions = vec![condition("Ready", "Unknown", "Initializing", message)];
    conditions.extend(FAILURES.map(|kind| condition(kind, "False", "Resolved", "")));
    conditions.push(condition("Reconciling", "True", "Initializing", message));
    at(generation, conditions)
}

/// A status without a grant: these conditions, and the configuration of an operator with defaults and this instance.
pub(crate) fn resolved(generation: i64, instance: &str, conditions: Value) -> Value {
    let mut status = json!({
        "observedGeneration": generation,
        "trustDomain": "kleym.sonda.red",
        "instance": instance,
    });
    status["conditions"] = conditions;
    status
}
