//! The CustomResourceDefinition of the binding: what kube derives from the types, with everything put right that
//! the derivation cannot express. This is the only place that touches the derived schema.
//!
//! Guarantees: the same text at every call; no `nullable` anywhere; no rule on the root.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSON, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube::CustomResourceExt;
use serde_json::json;

use super::InferenceIdentityBinding;

/// The CustomResourceDefinition of InferenceIdentityBinding, complete and without cluster state.
///
/// Beyond what kube derives:
/// - `nullable` goes. The derivation puts it on every optional field; an explicit null would then be stored and
///   skip the default, instead of being dropped as everywhere else in Kubernetes.
/// - Line breaks inside paragraphs go, so that `kubectl explain` can wrap the text itself.
/// - A new object's status starts at `observedGeneration: -1`, so that tools which compare it with the generation
///   wait for the operator instead of taking the object for settled.
pub fn definition() -> CustomResourceDefinition {
    let mut definition = InferenceIdentityBinding::crd();
    for version in &mut definition.spec.versions {
        let schema = version.schema.as_mut().and_then(|schema| schema.open_api_v3_schema.as_mut());
        let root = schema.expect("kube derives a schema");
        root.title = None;
        visit(root, &mut |schema| {
            schema.nullable = None;
            schema.description = schema.description.as_deref().map(unwrap_lines);
        });
        let status = root.properties.as_mut().and_then(|properties| properties.get_mut("status"));
        status.expect("the binding has a status").default = Some(JSON(json!({"observedGeneration": -1})));
    }
    definition
}

/// Calls `change` on a schema and on every schema below it that the derivation can produce.
fn visit(schema: &mut JSONSchemaProps, change: &mut impl FnMut(&mut JSONSchemaProps)) {
    change(schema);
    for property in schema.properties.iter_mut().flat_map(|properties| properties.values_mut()) {
        visit(property, change);
    }
    match &mut schema.items {
        Some(JSONSchemaPropsOrArray::Schema(items)) => visit(items, change),
        Some(JSONSchemaPropsOrArray::Schemas(items)) => items.iter_mut().for_each(|item| visit(item, change)),
        None => {}
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &mut schema.additional_properties {
        visit(values, change);
    }
}

/// Joins the lines of each paragraph; an empty line stays a paragraph break.
fn unwrap_lines(text: &str) -> String {
    text.split("\n\n")
        .map(|paragraph| paragraph.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect::<Vec<_>>()
        .join("\n\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_a_paragraph_are_joined_and_paragraphs_stay() {
        assert_eq!(unwrap_lines("a\n b\n\nc\n"), "a b\n\nc");
    }
}
