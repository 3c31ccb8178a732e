//! Fields of a written binding that its schema does not have. kubectl refuses them by default; what other clients send,
//! the API server drops, and the binding means something else than was written. Decides nothing about the binding.

use std::sync::LazyLock;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::JSONSchemaProps;
use kleym_core::report::FieldPath;
use serde_json::Value;

use super::definition;

/// The most that are told of one object.
const MOST: usize = 16;

/// The fields of every object's metadata; nothing below them is looked at.
const METADATA: [&str; 15] = [
    "annotations",
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "finalizers",
    "generateName",
    "generation",
    "labels",
    "managedFields",
    "name",
    "namespace",
    "ownerReferences",
    "resourceVersion",
    "selfLink",
    "uid",
];

/// A field that the schema does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownField {
    /// Where its name stands.
    pub path: FieldPath,
    /// Its name.
    pub name: String,
    /// The fields that may stand there, sorted.
    pub known: Vec<&'static str>,
}

/// The fields of a binding's `spec` and `metadata`, and beside them, that its schema does not have; at most 16, in the order in which they
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
    for everywhere in ["apiVersion", "kind", "status"] {
        // Kubernetes' own, and what only the operator writes: nothing below them is looked at.
        fields.insert(everywhere.to_owned(), object());
    }
    let metadata = METADATA.into_iter().map(|field| (field.to_owned(), object())).collect();
    fields.insert("metadata".to_owned(), JSONSchemaProps { properties: Some(metadata), ..object() });
    root
});

fn look(schema: &'static JSONSchemaProps, value: &Value, at: &FieldPath, found: &mut Vec<UnknownField>) {
    let (Some(known), Value::Object(fields)) = (&schema.properties, value) else { return };
    for (name, value) in fields {
        if found.len() == MOST {
            return;
        }
        match known.get(name) {
            Some(schema) => look(schema, value, &at.clone().field(name), found),
            None => {
                let path = at.clone().key(name);
                let known = known.keys().map(String::as_str).collect();
                found.push(UnknownField { path, name: name.clone(), known });
            }
        }
    }
}
