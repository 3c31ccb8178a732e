//! Schemas for kubeconform, from what the test's API server publishes: the same version everywhere, nothing from elsewhere.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use http::Request;
use kleym_testenv::{ControlPlane, eventually};
use serde_json::{Value, json};

use super::root;

/// Writes one schema for each kind the API server knows; gives the pattern that kubeconform finds them by.
pub(super) async fn write(plane: &ControlPlane) -> String {
    let client = plane.client().unwrap();
    // The API server gathers this document anew after every change of a definition, and answers 200 without a body
    // where a part is not there yet.
    let get = async |path: String| {
        let published = format!("the API server publishes {path}");
        let attempt = || client.request::<Value>(Request::get(&path).body(Vec::new()).unwrap());
        eventually(&published, Duration::from_secs(30), attempt).await.unwrap()
    };
    let folder: PathBuf = root().join("target/package-schemas");
    let groups = get("/openapi/v3".to_owned()).await;
    for (path, group) in groups["paths"].as_object().unwrap() {
        if !path.starts_with("api") {
            continue;
        }
        // The address carries a checksum of what it names, which may be replaced by now.
        let address = group["serverRelativeURL"].as_str().unwrap();
        let mut document = get(address.split('?').next().unwrap().to_owned()).await;
        let schemas = document["components"]["schemas"].as_object_mut().unwrap();
        for schema in schemas.values_mut() {
            close(schema);
        }
        let kinds: Vec<(String, Value)> = schemas
            .iter()
            .flat_map(|(name, schema)| {
                let kinds = schema["x-kubernetes-group-version-kind"].as_array().cloned().unwrap_or_default();
                kinds.into_iter().map(|kind| (name.clone(), kind)).collect::<Vec<_>>()
            })
            .collect();
        for (name, kind) in kinds {
            let of = |field: &str| kind[field].as_str().unwrap().to_owned();
            // kubeconform names the core group by its version.
            let group = if of("group").is_empty() { of("version") } else { of("group") };
            let file =
                folder.join(&group).join(format!("{}_{}.json", of("kind").to_lowercase(), of("version")));
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            let schema = json!({
                "$ref": format!("#/components/schemas/{name}"), "components": document["components"],
            });
            fs::write(file, schema.to_string()).unwrap();
        }
    }
    format!("{}/{{{{.Group}}}}/{{{{.ResourceKind}}}}_{{{{.ResourceAPIVersion}}}}.json", folder.display())
}

/// Fields that a schema does not name are mistakes, except where it says that anything goes; what is optional may be null.
fn close(schema: &mut Value) {
    let Value::Object(fields) = schema else { return };
    if fields.get("x-kubernetes-int-or-string") == Some(&json!(true))
        || fields.get("format") == Some(&json!("int-or-string"))
    {
        fields.remove("type");
        fields.remove("format");
    }
    let open = fields.get("x-kubernetes-preserve-unknown-fields") == Some(&json!(true));
    if fields.contains_key("properties") && !fields.contains_key("additionalProperties") && !open {
        fields.insert("additionalProperties".to_owned(), json!(false));
    }
    for (key, value) in fields.iter_mut() {
        match key.as_str() {
            "properties" => value.as_object_mut().unwrap().values_mut().for_each(close),
            "items" | "additionalProperties" => close(value),
            _ => {}
        }
    }
}
