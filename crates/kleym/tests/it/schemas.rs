//! What is answered as JSON keeps the schema that is published for it, and names no field that the schema does not.
//!
//! The few keywords that our schemas use are judged here: a validator for all of them would bring two dozen crates. A
//! keyword that is not known here fails the test.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::run::{Answer, at_the_root};

/// What is wrong with the answer by the schema of its kind.
fn faults(answer: &Value) -> Vec<String> {
    let schemas = kleym::reports::schemas();
    let Some((_, schema)) = schemas.into_iter().find(|(kind, _)| answer["kind"] == *kind) else {
        return vec![format!("no schema for {}", answer["kind"])];
    };
    let mut faults = Vec::new();
    judge(schema.as_value(), schema.as_value(), answer, "", &mut faults);
    faults
}

/// Asserts that the answer keeps the schema of its kind, and says which kind that is.
pub(crate) fn kind_of_valid(answer: &Answer) -> String {
    let report: Value = serde_json::from_str(&answer.out).unwrap();
    assert_eq!(faults(&report), Vec::<String>::new(), "{answer}");
    report["kind"].as_str().unwrap().to_owned()
}

fn judge(root: &Value, schema: &Value, value: &Value, at: &str, faults: &mut Vec<String>) {
    for (keyword, rule) in schema.as_object().unwrap() {
        let kept = match keyword.as_str() {
            "$ref" => {
                let target = root.pointer(rule.as_str().unwrap().trim_start_matches('#')).unwrap();
                judge(root, target, value, at, faults);
                true
            }
            "type" => {
                rule == kind(value) || rule.as_array().is_some_and(|all| all.contains(&json!(kind(value))))
            }
            "const" => rule == value,
            "enum" => rule.as_array().unwrap().contains(value),
            "minimum" => value.as_i64().is_none_or(|number| number >= rule.as_i64().unwrap()),
            "minLength" => value.as_str().is_none_or(|text| text.len() as u64 >= rule.as_u64().unwrap()),
            "minItems" => value.as_array().is_none_or(|items| items.len() as u64 >= rule.as_u64().unwrap()),
            "maxItems" => value.as_array().is_none_or(|items| items.len() as u64 <= rule.as_u64().unwrap()),
            "anyOf" => fitting(root, rule, value) >= 1,
            "oneOf" => fitting(root, rule, value) == 1,
            "required" => {
                let fields = rule.as_array().unwrap();
                fields.iter().all(|field| value.get(field.as_str().unwrap()).is_some())
            }
            "properties" => {
                for (name, field) in value.as_object().into_iter().flatten() {
                    match rule.get(name) {
                        Some(schema) => judge(root, schema, field, &format!("{at}/{name}"), faults),
                        None => faults.push(format!("{at}/{name} is not in the schema")),
                    }
                }
                true
            }
            "items" => {
                for (number, item) in value.as_array().into_iter().flatten().enumerate() {
                    judge(root, rule, item, &format!("{at}/{number}"), faults);
                }
                true
            }
            "$schema" | "$defs" | "title" | "description" | "format" => true,
            other => panic!("keyword {other} is not judged here"),
        };
        if !kept {
            faults.push(format!("{at}: {keyword} {rule}: {value}"));
        }
    }
}

/// How many of the schemas the value fits.
fn fitting(root: &Value, schemas: &Value, value: &Value) -> usize {
    let fits = |schema: &&Value| {
        let mut faults = Vec::new();
        judge(root, schema, value, "", &mut faults);
        faults.is_empty()
    };
    schemas.as_array().unwrap().iter().filter(fits).count()
}

/// The name that JSON Schema has for the type of a value.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

const MAP: &str = "graph -f examples/map --clusterspiffeid-class-name spire-spire -o json";

#[test]
fn every_report_keeps_its_schema() {
    let asked = [
        MAP,
        "graph -f examples/quickstart -f examples/conflict -o json",
        "lint -f examples/quickstart -f examples/conflict -o json",
        "lint -f examples/quickstart --trust-domain example.org -o json",
        "status -f examples/quickstart -f examples/conflict -A -o json",
        "diff --from examples/quickstart -f examples/map -o json",
        "diff --from examples/quickstart -f examples/quickstart -o json",
        "explain pod/vllm-0 -n llm -f examples/cluster -o json",
        "explain binding/chat -n llm -f examples/quickstart -o json",
        "inspect binding chat -n llm -f examples/quickstart -o json",
        "inspect binding nightly -n llm -f examples/quickstart -f examples/conflict -o json",
    ];
    let mut seen: BTreeSet<String> =
        asked.iter().map(|command| kind_of_valid(&at_the_root(command))).collect();
    // `check` answers of a cluster only; its test asks the same.
    seen.insert("CheckReport".to_owned());
    let published = kleym::reports::schemas().into_iter().map(|(kind, _)| kind.to_owned());
    assert_eq!(seen, published.collect());
}

#[test]
fn what_does_not_keep_a_schema_is_noticed() {
    let map: Value = serde_json::from_str(&at_the_root(MAP).out).unwrap();
    let spoilt = |pointer: &str, value: Value| {
        let mut map = map.clone();
        *map.pointer_mut(pointer).unwrap() = value;
        faults(&map).len()
    };
    assert_eq!(faults(&map).len(), 0);
    assert_eq!(spoilt("/kind", json!("Other")), 1);
    assert_eq!(spoilt("/podsKnown", json!("yes")), 1);
    assert_eq!(spoilt("/namespaces/0/nodes/0/state", json!("odd")), 1);
    assert_eq!(spoilt("/namespaces/0/overlap/pairs/0", json!({"first": "a", "second": "b"})), 1);
    assert_eq!(spoilt("/namespaces/0/nodes/0/facts", json!([{"what": "a", "value": "b", "more": 1}])), 1);
}
