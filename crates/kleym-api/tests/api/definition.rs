//! The binding's CustomResourceDefinition.

use std::collections::BTreeMap;

use kleym_api::binding;
use kleym_core::kind::Kind;
use serde_json::{Value, json};

fn definition() -> Value {
    serde_json::to_value(binding::definition()).unwrap()
}

fn schema() -> Value {
    definition()["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone()
}

/// Every schema at or below one, with its path.
fn schemas(path: &str, schema: &Value, found: &mut BTreeMap<String, Value>) {
    found.insert(path.to_owned(), schema.clone());
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        schemas(&format!("{path}.{name}"), property, found);
    }
    for key in ["items", "additionalProperties"] {
        if schema.get(key).is_some() {
            schemas(&format!("{path}[]"), &schema[key], found);
        }
    }
}

fn all_schemas() -> BTreeMap<String, Value> {
    let mut found = BTreeMap::new();
    schemas("", &schema(), &mut found);
    found
}

fn without_texts(schema: &Value) -> Value {
    match schema {
        Value::Object(fields) => fields
            .iter()
            .filter(|(key, value)| !(key.as_str() == "description" && value.is_string()))
            .map(|(key, value)| (key.clone(), without_texts(value)))
            .collect(),
        Value::Array(items) => items.iter().map(without_texts).collect(),
        other => other.clone(),
    }
}

#[test]
fn the_kind_has_the_names_that_the_contract_gives_it() {
    let definition = definition();
    assert_eq!(definition["metadata"], json!({"name": Kind::Binding.crd_name()}));
    assert_eq!(
        definition["spec"]["names"],
        json!({
            "categories": ["kleym"],
            "kind": "InferenceIdentityBinding",
            "plural": "inferenceidentitybindings",
            "shortNames": ["iib"],
            "singular": "inferenceidentitybinding",
        })
    );
    assert_eq!(
        (&definition["spec"]["group"], &definition["spec"]["scope"]),
        (&json!("kleym.sonda.red"), &json!("Namespaced"))
    );
    let version = &definition["spec"]["versions"][0];
    assert_eq!(definition["spec"]["versions"].as_array().unwrap().len(), 1);
    assert_eq!(
        (&version["name"], &version["served"], &version["storage"], &version["subresources"]),
        (&json!("v1alpha1"), &json!(true), &json!(true), &json!({"status": {}}))
    );
}

#[test]
fn columns_show_target_mode_ready_and_reason_and_wide_the_spiffe_id_and_output() {
    let version = &definition()["spec"]["versions"][0];
    let columns: Vec<_> = version["additionalPrinterColumns"]
        .as_array()
        .unwrap()
        .iter()
        .map(|column| {
            let name = column["name"].as_str().unwrap().to_uppercase();
            (name, column["jsonPath"].as_str().unwrap().to_owned(), column["priority"].as_i64())
        })
        .collect();
    let column = |name: &str, path: &str, priority| (name.to_owned(), path.to_owned(), priority);
    assert_eq!(
        columns,
        [
            column("TARGET", ".spec.targetRef.name", None),
            column("MODE", ".spec.mode", None),
            column("READY", r#".status.conditions[?(@.type=="Ready")].status"#, None),
            column("REASON", r#".status.conditions[?(@.type=="Ready")].reason"#, None),
            column("SPIFFE-ID", ".status.computedSpiffeIDs[0].spiffeID", Some(1)),
            column("OUTPUT", ".status.renderedClusterSPIFFEID.name", Some(1)),
            column("AGE", ".metadata.creationTimestamp", None),
        ]
    );
    assert_eq!(
        version["selectableFields"],
        json!([{"jsonPath": ".spec.targetRef.name"}, {"jsonPath": ".spec.mode"}])
    );
}

#[test]
fn the_spec_has_the_fields_bounds_and_defaults_of_the_contract() {
    let mut spec = without_texts(&schema()["properties"]["spec"]);
    spec.as_object_mut().unwrap().remove("x-kubernetes-validations");
    spec["properties"]["targetRef"].as_object_mut().unwrap().remove("x-kubernetes-validations");
    assert_eq!(
        spec,
        json!({
            "type": "object",
            "required": ["selectorSource", "targetRef", "workloadSelectorTemplates"],
            "properties": {
                "targetRef": {
                    "type": "object",
                    "required": ["name"],
                    "properties": {
                        "name": {
                            "type": "string",
                            "minLength": 1,
                            "maxLength": 253,
                            "pattern": r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
                        },
                        "kind": {
                            "type": "string",
                            "default": "InferenceObjective",
                            "enum": ["InferenceObjective", "InferencePool"],
                        },
                        "group": {
                            "type": "string",
                            "enum": [
                                "llm-d.ai",
                                "inference.networking.x-k8s.io",
                                "inference.networking.k8s.io",
                            ],
                        },
                    },
                },
                "spiffeIDTemplate": {"type": "string", "minLength": 1, "maxLength": 1024},
                "selectorSource": {"type": "string", "enum": ["DerivedFromPool"]},
                "workloadSelectorTemplates": {
                    "type": "array",
                    "x-kubernetes-list-type": "set",
                    "minItems": 1,
                    "maxItems": 32,
                    "items": {"type": "string", "minLength": 1, "maxLength": 512},
                },
                "mode": {
                    "type": "string",
                    "default": "PerObjective",
                    "enum": ["PoolOnly", "PerObjective"],
                },
                "containerDiscriminator": {
                    "type": "object",
                    "required": ["type", "value"],
                    "properties": {
                        "type": {"type": "string", "enum": ["ContainerName", "ContainerImage"]},
                        "value": {"type": "string", "minLength": 1, "maxLength": 512},
                    },
                },
            },
        })
    );
}

#[test]
fn rules_stand_on_the_spec_or_below_and_each_names_its_field_and_says_what_to_do() {
    let mut rules = Vec::new();
    for (path, schema) in all_schemas() {
        for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
            let text = |key: &str| rule[key].as_str().unwrap().to_owned();
            let message = text("message");
            assert!(["add ", "remove ", "set "].iter().any(|verb| message.starts_with(verb)), "{message}");
            rules.push((path.clone(), text("fieldPath"), text("reason")));
        }
    }
    let rule = |path: &str, field: &str, reason: &str| (path.to_owned(), field.to_owned(), reason.to_owned());
    assert_eq!(
        rules,
        [
            rule(".spec", ".containerDiscriminator", "FieldValueForbidden"),
            rule(".spec", ".containerDiscriminator", "FieldValueRequired"),
            rule(".spec", ".mode", "FieldValueInvalid"),
            rule(".spec.targetRef", ".group", "FieldValueInvalid"),
        ]
    );
}

#[test]
fn every_field_is_explained_with_an_example() {
    for (path, schema) in all_schemas() {
        let items = path.ends_with("[]") || path.is_empty();
        match schema["description"].as_str() {
            None => assert!(items && schema["type"] != "object", "`{path}` has no text"),
            Some(text) => {
                assert!(items || text.contains("Example: `"), "`{path}` has no example: {text}");
                assert!(!text.contains('\n'), "`{path}` has a line break in its text: {text}");
            }
        }
    }
}

#[test]
fn nothing_is_nullable() {
    for (path, schema) in all_schemas() {
        assert_eq!(schema.get("nullable"), None, "`{path}`");
    }
}

#[test]
fn every_text_and_list_is_bounded() {
    for (path, schema) in all_schemas() {
        let bounded = match schema["type"].as_str().unwrap() {
            "string" => {
                schema.get("maxLength").is_some()
                    || schema.get("enum").is_some()
                    || schema["format"] == "date-time"
            }
            "array" => schema.get("maxItems").is_some() && schema.get("x-kubernetes-list-type").is_some(),
            "object" => schema.get("additionalProperties").is_none(),
            "integer" => schema["format"] == "int64" && schema.get("minimum").is_some(),
            _ => false,
        };
        assert!(bounded, "`{path}`: {schema}");
    }
}

#[test]
fn a_new_object_starts_with_a_status_that_no_tool_takes_for_settled() {
    let defaults: BTreeMap<_, _> = all_schemas()
        .into_iter()
        .filter_map(|(path, schema)| Some((path, schema.get("default")?.clone())))
        .collect();
    assert_eq!(
        defaults,
        BTreeMap::from([
            (".spec.mode".to_owned(), json!("PerObjective")),
            (".spec.targetRef.kind".to_owned(), json!("InferenceObjective")),
            (".status".to_owned(), json!({"observedGeneration": -1})),
        ])
    );
}

#[test]
fn conditions_are_a_map_by_type() {
    let conditions = &schema()["properties"]["status"]["properties"]["conditions"];
    assert_eq!(
        (&conditions["x-kubernetes-list-type"], &conditions["x-kubernetes-list-map-keys"]),
        (&json!("map"), &json!(["type"]))
    );
}

#[test]
fn the_definition_is_the_same_at_every_call() {
    let text = || serde_json::to_string(&binding::definition()).unwrap();
    assert_eq!(text(), text());
}
