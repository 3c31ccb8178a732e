//! The configuration file of spire-controller-manager (`kind: ControllerManagerConfig`), already parsed from its ConfigMap.
//! Unknown keys are ignored, as SCM ignores them.

use kleym_core::spire::{Assumed, Class, Ignored, Manager, Template};
use serde_json::Value;

use super::value::optional;

/// The kind by which the file is known.
pub const MANAGER_KIND: &str = "ControllerManagerConfig";

/// Namespaces that SCM leaves out when its file does not say which (its `cmd/main.go`).
pub const IGNORED_BY_DEFAULT: [&str; 3] = ["kube-system", "kube-public", "spire-system"];

/// Decodes the file; None when it is another one.
pub fn manager(file: &Value) -> Option<Manager> {
    if file.get("kind").and_then(Value::as_str) != Some(MANAGER_KIND) {
        return None;
    }
    let text =
        |field: &str| optional(file.get(field)).and_then(Value::as_str).filter(|text| !text.is_empty());
    let set = |field: &str| file.get(field).and_then(Value::as_bool).unwrap_or_default();
    let ignored = match optional(file.get("ignoreNamespaces")).and_then(Value::as_array) {
        Some(patterns) => patterns.iter().filter_map(Value::as_str).map(Ignored::new).collect(),
        None => IGNORED_BY_DEFAULT.into_iter().map(Ignored::new).collect(),
    };
    Some(Manager {
        class: Some(Class {
            name: text("className").unwrap_or_default().into(),
            classless: set("watchClassless"),
            by_label: set("filterByClassName"),
        }),
        ignored: Some(ignored),
        cached: cached(file),
        trust_domain: text("trustDomain").map(Into::into),
        cluster_name: text("clusterName").map(Into::into),
        cluster_domain: text("clusterDomain").map(Into::into),
        parent_id: text("parentIDTemplate").map(Template::parse),
        at: None,
        assumed: Assumed::default(),
    })
}

/// The namespaces that SCM's cache is restricted to. An empty name stands for all that are not named beside it.
fn cached(file: &Value) -> Option<Vec<Box<str>>> {
    let named = optional(file.get("cacheNamespaces")).and_then(Value::as_object);
    let named = named.into_iter().flat_map(|map| map.keys().map(|name| Box::from(name.as_str())));
    // What came before it.
    let one = optional(file.get("cacheNamespace")).and_then(Value::as_str).filter(|name| !name.is_empty());
    let all: Vec<Box<str>> = named.chain(one.map(Box::from)).collect();
    (!all.is_empty() && all.iter().all(|name| !name.is_empty())).then_some(all)
}
