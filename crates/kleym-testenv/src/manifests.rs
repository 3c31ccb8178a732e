//! Putting YAML into an environment: server-side apply of any kind the API server serves, custom resource
//! definitions first. It never deletes anything.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams};
use kube::discovery::{ApiCapabilities, Scope, pinned_kind};
use kube::{Api, Client};
use serde_json::Value;

use crate::eventually::eventually;

const FIELD_MANAGER: &str = "kleym-testenv";
const SERVED_WITHIN: Duration = Duration::from_secs(30);
const CRD_KIND: &str = "CustomResourceDefinition";

/// Server-side applies every document of a YAML text, and gives the objects as the API server stored them.
///
/// Definitions are applied first and waited for, then namespaces, then the rest in the text's order; empty
/// documents are skipped and `List`s opened. Objects that name no namespace go to the client's default one.
pub async fn apply_yaml(client: &Client, text: &str) -> Result<Vec<DynamicObject>> {
    apply(client, documents(text)?).await
}

/// Applies a YAML or JSON file, or all `*.yaml`, `*.yml` and `*.json` files directly in a folder, by name.
pub async fn apply_manifests(client: &Client, path: &Path) -> Result<Vec<DynamicObject>> {
    let mut files = vec![path.to_owned()];
    if path.is_dir() {
        let entries = std::fs::read_dir(path).and_then(Iterator::collect::<std::io::Result<Vec<_>>>);
        let entries = entries.with_context(|| format!("cannot list `{}`", path.display()))?;
        files = entries.into_iter().map(|entry| entry.path()).collect();
        files.retain(|file| {
            file.extension().is_some_and(|end| end == "yaml" || end == "yml" || end == "json")
        });
        files.sort();
        ensure!(!files.is_empty(), "no manifest in `{}`", path.display());
    }
    let mut all = Vec::new();
    for file in files {
        let text =
            std::fs::read_to_string(&file).with_context(|| format!("cannot read `{}`", file.display()))?;
        all.extend(documents(&text).with_context(|| format!("in `{}`", file.display()))?);
    }
    apply(client, all).await
}

/// Waits until a custom resource definition is established and every version it serves can be discovered and
/// listed: an object of the kind can be created the moment this returns.
pub async fn wait_for_crd(client: &Client, name: &str) -> Result<()> {
    let definitions = Api::<CustomResourceDefinition>::all(client.clone());
    eventually(&format!("the definition `{name}` is served"), SERVED_WITHIN, || async {
        let definition = definitions.get(name).await?;
        let conditions = definition.status.and_then(|status| status.conditions).unwrap_or_default();
        let established = conditions.iter().any(|one| one.type_ == "Established" && one.status == "True");
        ensure!(established, "its conditions are {conditions:?}");
        let spec = definition.spec;
        for version in spec.versions.iter().filter(|version| version.served) {
            let gvk = GroupVersionKind::gvk(&spec.group, &version.name, &spec.names.kind);
            let (resource, _) = pinned_kind(client, &gvk).await?;
            let objects = Api::<DynamicObject>::all_with(client.clone(), &resource);
            objects.list(&ListParams::default().limit(1)).await?;
        }
        Ok(())
    })
    .await
}

fn documents(text: &str) -> Result<Vec<DynamicObject>> {
    let mut objects = Vec::new();
    for document in serde_saphyr::from_multiple::<Value>(text).context("not readable as YAML")? {
        match document {
            Value::Null => {}
            Value::Object(mut fields) if fields.get("kind").is_some_and(|kind| kind == "List") => {
                let Some(Value::Array(items)) = fields.remove("items") else {
                    bail!("a `List` without `items`");
                };
                for item in items {
                    objects.push(serde_json::from_value(item).context("not a Kubernetes object")?);
                }
            }
            // Instructions for kustomize, which no API server knows.
            document if is_for_kustomize(&document) => {}
            document => objects.push(serde_json::from_value(document).context("not a Kubernetes object")?),
        }
    }
    Ok(objects)
}

fn is_for_kustomize(document: &Value) -> bool {
    let group = document.get("apiVersion").and_then(Value::as_str);
    group.is_some_and(|version| version.starts_with("kustomize.config.k8s.io/"))
}

async fn apply(client: &Client, mut objects: Vec<DynamicObject>) -> Result<Vec<DynamicObject>> {
    let kind = |object: &DynamicObject| object.types.as_ref().map(|types| types.kind.clone());
    objects.sort_by_key(|object| match kind(object).as_deref() {
        Some(CRD_KIND) => 0,
        Some("Namespace") => 1,
        _ => 2,
    });
    let mut known = BTreeMap::new();
    let mut waiting: Vec<String> = Vec::new();
    let mut applied = Vec::new();
    for object in objects {
        if kind(&object).as_deref() != Some(CRD_KIND) {
            for name in waiting.drain(..) {
                wait_for_crd(client, &name).await?;
            }
        }
        let object = apply_one(client, &mut known, &object).await?;
        if kind(&object).as_deref() == Some(CRD_KIND) {
            waiting.extend(object.metadata.name.clone());
        }
        applied.push(object);
    }
    for name in waiting {
        wait_for_crd(client, &name).await?;
    }
    Ok(applied)
}

async fn apply_one(
    client: &Client,
    known: &mut BTreeMap<(String, String), (ApiResource, ApiCapabilities)>,
    object: &DynamicObject,
) -> Result<DynamicObject> {
    let types = object.types.as_ref().context("an object without `apiVersion` and `kind`")?;
    let name = object.metadata.name.as_deref();
    let name = name.with_context(|| format!("a `{}` without `metadata.name`", types.kind))?;
    let key = (types.api_version.clone(), types.kind.clone());
    if !known.contains_key(&key) {
        let gvk = GroupVersionKind::try_from(types)?;
        let found = pinned_kind(client, &gvk).await;
        let found = found.with_context(|| format!("`{}` of `{}` is not served", key.1, key.0))?;
        known.insert(key.clone(), found);
    }
    let (resource, capabilities) = &known[&key];
    let api: Api<DynamicObject> = match (&capabilities.scope, &object.metadata.namespace) {
        (Scope::Cluster, _) => Api::all_with(client.clone(), resource),
        (Scope::Namespaced, Some(namespace)) => Api::namespaced_with(client.clone(), namespace, resource),
        (Scope::Namespaced, None) => Api::default_namespaced_with(client.clone(), resource),
    };
    let parameters = PatchParams::apply(FIELD_MANAGER).force();
    api.patch(name, &parameters, &Patch::Apply(object))
        .await
        .map_err(|error| anyhow!(error).context(format!("cannot apply the {} `{name}`", types.kind)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_for_kustomize_is_not_for_the_api_server() {
        let text = "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n---\napiVersion: v1\nkind: Namespace\nmetadata: {name: llm}\n";
        let names: Vec<_> = documents(text).unwrap().into_iter().map(|object| object.metadata.name).collect();
        assert_eq!(names, [Some("llm".to_owned())]);
    }
}
