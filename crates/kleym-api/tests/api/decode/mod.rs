//! What we read: every wrong shape is a value with a message, and an object is lost only when it cannot be named.

mod binding;
mod identity;
mod objective;
mod output;
mod pool;
mod properties;
mod running;

use serde_json::{Value, json};

/// An object of namespace `llm` with a name and a spec.
fn object(name: &str, spec: Value) -> Value {
    let mut object = json!({"metadata": {"namespace": "llm", "name": name}});
    object["spec"] = spec;
    object
}

/// The value with one part of it replaced or, without a replacement, removed. The path is `spec.targetRef.name`.
fn with(mut value: Value, path: &str, replacement: Option<Value>) -> Value {
    let (parents, last) = path.rsplit_once('.').unwrap_or(("", path));
    let mut parent = &mut value;
    for step in parents.split('.').filter(|step| !step.is_empty()) {
        parent = &mut parent[step];
    }
    let fields = parent.as_object_mut().expect("the parent of a replaced part is an object");
    match replacement {
        Some(replacement) => drop(fields.insert(last.to_owned(), replacement)),
        None => drop(fields.remove(last)),
    }
    value
}

/// The same value with the fields of every object in reverse order.
fn reversed(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            fields.iter().rev().map(|(key, value)| (key.clone(), reversed(value))).collect()
        }
        Value::Array(items) => items.iter().map(reversed).collect(),
        other => other.clone(),
    }
}
