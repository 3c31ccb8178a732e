//! The page of the binding's fields, from the schema that is installed in clusters: a field that is added there is here.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSON, JSONSchemaProps, JSONSchemaPropsOrArray,
};
use kleym_api::binding;

use super::{cell, table};

const INTRO: &str = "\
# API: InferenceIdentityBinding

| | |
| --- | --- |
| group and version | `kleym.sonda.red/v1alpha1` |
| kind | `InferenceIdentityBinding`, namespaced |
| plural, short name, category | `inferenceidentitybindings`, `iib`, `kleym` |
| definition | `config/crd/kleym.sonda.red_inferenceidentitybindings.yaml` |

The same texts are printed by `kubectl explain iib.spec` and `kubectl explain iib.status`. What the fields mean for the
identity is said in the [Operator Spec](operator-spec.md), the conditions in [Conditions](conditions.md).

The API server checks the types, bounds and rules below. The operator and the command line check all of it again, because
a definition can be older than the program and a stored object older than a rule. What the schema would refuse is then a
refusal with a reason.
";

const EXTERNAL: &str = "\
## External objects

Kleym reads these and writes none of them, but for ClusterSPIFFEID.

| kind | group and version | what is read |
| --- | --- | --- |
| InferenceObjective | `llm-d.ai/v1alpha2`, `inference.networking.x-k8s.io/v1alpha2`, `inference.networking.k8s.io/v1` | `spec.poolRef` |
| InferencePool | `inference.networking.k8s.io/v1`, `inference.networking.x-k8s.io/v1alpha2` | `spec.selector` |
| ClusterSPIFFEID | `spire.spiffe.io/v1alpha1` | everything; see [Managed Resources](managed-resources.md) |
| CustomResourceDefinition | `apiextensions.k8s.io/v1` | which of the above are served |

[GAIE Compatibility](gaie-compatibility.md) says which of them may be absent, and what happens when they appear or go.
";

pub(super) fn page() -> String {
    let definition = binding::definition();
    let mut text = INTRO.to_owned();
    for version in &definition.spec.versions {
        let root = version.schema.as_ref().and_then(|schema| schema.open_api_v3_schema.as_ref());
        let root = root.expect("the definition has a schema");
        for part in ["spec", "status"] {
            let schema = root.properties.as_ref().and_then(|fields| fields.get(part));
            describe(part, schema.expect("the binding has a spec and a status"), &mut text);
        }
        let columns = version.additional_printer_columns.iter().flatten().map(|column| {
            let wide = column.priority.unwrap_or(0) > 0;
            let title = column.name.to_ascii_uppercase();
            let path = format!("`{}`", column.json_path);
            [title, if wide { "`-o wide`".to_owned() } else { String::new() }, cell(&path)]
        });
        text.push_str("\n## Columns\n\nWhat `kubectl get iib` prints.\n\n");
        text.push_str(&table(["column", "only with", "from"], columns));
        let selectable: Vec<String> = version
            .selectable_fields
            .iter()
            .flatten()
            .map(|field| format!("`{}`", field.json_path))
            .collect();
        text.push_str(&format!("\nFields for `--field-selector`: {}.\n\n", selectable.join(", ")));
    }
    text.push_str(EXTERNAL);
    text
}

fn describe(path: &str, schema: &JSONSchemaProps, text: &mut String) {
    text.push_str(&format!("\n## {path}\n\n{}\n\n", cell(schema.description.as_deref().unwrap_or_default())));
    let required = schema.required.clone().unwrap_or_default();
    let fields: Vec<(&String, &JSONSchemaProps)> = schema.properties.iter().flatten().collect();
    let rows = fields.iter().map(|(name, field)| {
        let must = if required.contains(*name) { "yes" } else { "no" };
        let bounds = bounds(field);
        [
            format!("`{name}`"),
            type_of(field),
            must.to_owned(),
            bounds,
            cell(field.description.as_deref().unwrap_or_default()),
        ]
    });
    text.push_str(&table(["field", "type", "required", "bounds", "meaning"], rows));
    let rules: Vec<[String; 2]> = schema
        .x_kubernetes_validations
        .iter()
        .flatten()
        .map(|rule| {
            let at = rule.field_path.as_deref().unwrap_or_default();
            [format!("`{path}{at}`"), cell(rule.message.as_deref().unwrap_or_default())]
        })
        .collect();
    if !rules.is_empty() {
        text.push_str("\nRules between fields, each with the message that the API server answers with:\n\n");
        text.push_str(&table(["field", "message"], rules));
    }
    for (name, field) in fields {
        let (inner, path) = match &field.items {
            Some(JSONSchemaPropsOrArray::Schema(items)) => (&**items, format!("{path}.{name}[]")),
            _ => (field, format!("{path}.{name}")),
        };
        if inner.properties.is_some() {
            describe(&path, inner, text);
        }
    }
}

fn type_of(schema: &JSONSchemaProps) -> String {
    let name = schema.type_.clone().unwrap_or_default();
    match &schema.items {
        Some(JSONSchemaPropsOrArray::Schema(items)) => {
            let kind = match schema.x_kubernetes_list_type.as_deref() {
                Some("set") => "set",
                Some("map") => "list by `type`",
                _ => "list",
            };
            format!("{kind} of {}s", items.type_.as_deref().unwrap_or("value"))
        }
        _ => name,
    }
}

fn bounds(schema: &JSONSchemaProps) -> String {
    let mut bounds = Vec::new();
    if let Some(JSON(default)) = &schema.default {
        bounds.push(format!("default `{}`", default.to_string().trim_matches('"')));
    }
    let values: Vec<String> = schema
        .enum_
        .iter()
        .flatten()
        .map(|JSON(value)| format!("`{}`", value.as_str().unwrap_or_default()))
        .collect();
    if !values.is_empty() {
        bounds.push(format!("one of {}", values.join(", ")));
    }
    bounds.extend(range(schema.min_length, schema.max_length, "characters"));
    bounds.extend(range(schema.min_items, schema.max_items, "entries"));
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &schema.items {
        bounds.extend(range(items.min_length, items.max_length, "characters each"));
    }
    if let Some(minimum) = schema.minimum {
        bounds.push(format!("at least {minimum}"));
    }
    if let Some(pattern) = &schema.pattern {
        bounds.push(format!("pattern `{}`", pattern.replace('|', "\\|")));
    }
    bounds.join("; ")
}

fn range(min: Option<i64>, max: Option<i64>, of: &str) -> Option<String> {
    match (min, max) {
        (Some(min), Some(max)) => Some(format!("{min} to {max} {of}")),
        (None, Some(max)) => Some(format!("at most {max} {of}")),
        (Some(min), None) => Some(format!("at least {min} {of}")),
        (None, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_of_the_schema_has_a_row() {
        fn names(schema: &JSONSchemaProps, found: &mut Vec<String>) {
            for (name, field) in schema.properties.iter().flatten() {
                found.push(name.clone());
                names(field, found);
                if let Some(JSONSchemaPropsOrArray::Schema(items)) = &field.items {
                    names(items, found);
                }
            }
        }
        let (page, definition, mut found) = (page(), binding::definition(), Vec::new());
        let version = &definition.spec.versions[0];
        let root = version.schema.as_ref().unwrap().open_api_v3_schema.as_ref().unwrap();
        let root = root.properties.as_ref().unwrap();
        names(&root["spec"], &mut found);
        names(&root["status"], &mut found);
        assert!(found.len() > 30, "{found:?}");
        for name in found {
            assert!(page.contains(&format!("\n| `{name}` |")), "{name}");
        }
    }
}
