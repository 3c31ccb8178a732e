//! Fields of a written binding that its schema does not have. kubectl refuses them by default; what other clients send,
//! the API server drops, and the binding means something else than was written. Decides nothing about the binding.

use std::sync::LazyLock;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::JSONSchemaProps;
use kleym_core::report::FieldPath;
use serde_json::Value;

use super::definition;

/// The most that are told of one object.
const MOST: usize = 16;

/// A field that the schema does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownField {
    /// Where it stands.
    pub path: FieldPath,
    /// Its name.
    pub name: String,
    /// The fields that may stand there, sorted.
    pub known: Vec<&'static str>,
}

/// The fields of a binding's `spec`, and beside it, that its schema does not have; at most 16, in the order in which they
/// are written. What is of another type than the schema wants is for the decoder to refuse, and is not looked into.
pub fn unknown_fields(object: &Value) -> Vec<UnknownField> {
    let mut found = Vec::new();
    look(&SCHEMA, object, &FieldPath::default(), &mut found);
    found
}

static SCHEMA: LazyLock<JSONSchemaProps> = LazyLock::new(|| {
    let version = definition().spec.versions.into_iter().next();
    let schema = version.and_then(|version| version.schema?.open_api_v3_schema).unwrap_or_default();
    let object = JSONSchemaProps::default;
    let mut root = schema;
    let fields = root.properties.get_or_insert_default();
    for everywhere in ["apiVersion", "kind", "metadata", "status"] {
        // Kubernetes' own, and what only the operator writes: nothing below them is looked at.
        fields.insert(everywhere.to_owned(), object());
    }
    root
});

fn look(schema: &'static JSONSchemaProps, value: &Value, at: &FieldPath, found: &mut Vec<UnknownField>) {
    let (Some(known), Value::Object(fields)) = (&schema.properties, value) else { return };
    for (name, value) in fields {
        if found.len() == MOST {
            return;
        }
        let path = at.clone().field(name);
        match known.get(name) {
            Some(schema) => look(schema, value, &path, found),
            None => {
                let known = known.keys().map(String::as_str).collect();
                found.push(UnknownField { path, name: name.clone(), known });
            }
        }
    }
}
