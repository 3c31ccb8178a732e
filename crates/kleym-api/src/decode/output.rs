//! ClusterSPIFFEID as it stands in the cluster, whoever wrote it. Anybody may have put anything there: what Kleym never
//! writes is named, not read, and nothing in a spec can make the object invisible.

use kleym_core::output::{LabelSelector, LiveOutput, OutputSpec, OutputStats, Pairs};
use serde_json::{Map, Value};

use super::meta::Meta;
use super::value::{excerpt, optional};
use super::{DecodeError, name, resource_version, uid};
use crate::cluster_spiffe_id::SpireStats;

/// The live object, or why no write to it could be bound to what was seen.
pub(super) fn output(object: &Value) -> Result<LiveOutput, DecodeError> {
    let meta = Meta::of(object);
    Ok(LiveOutput {
        name: name(object)?,
        uid: uid(object)?,
        resource_version: resource_version(object)?,
        created: meta.created(),
        deleting: meta.deleting(),
        finalizers: meta.finalizers().map(Into::into).collect(),
        owned: !meta.owner_references().is_empty(),
        labels: meta.labels(),
        annotations: meta.annotations(),
        spec: spec(object.get("spec")),
        stats: SpireStats::read(object).map(stats),
    })
}

/// Field by field; a field that Kleym writes and that is of another type counts as absent and is named as unwanted.
fn spec(spec: Option<&Value>) -> OutputSpec {
    let fields = match optional(spec) {
        None => return OutputSpec::default(),
        Some(Value::Object(fields)) => fields,
        Some(_) => return OutputSpec { unwanted: Box::new(["spec".into()]), ..OutputSpec::default() },
    };
    let mut read = OutputSpec::default();
    let mut unwanted: Vec<Box<str>> = Vec::new();
    for (field, value) in fields.iter().filter(|(_, value)| !value.is_null()) {
        let expected = match field.as_str() {
            "spiffeIDTemplate" => take(&mut read.spiffe_id, value.as_str().map(Into::into)),
            "namespaceSelector" => {
                take(&mut read.namespace_selector, value.as_object().map(selector).map(Some))
            }
            "podSelector" => take(&mut read.pod_selector, value.as_object().map(selector).map(Some)),
            "workloadSelectorTemplates" => take(&mut read.selectors, strings(value)),
            "className" => take(&mut read.class_name, value.as_str().map(Into::into).map(Some)),
            "fallback" => take(&mut read.fallback, value.as_bool().map(Some)),
            "hint" => take(&mut read.hint, value.as_str().map(Into::into).map(Some)),
            _ => is_unset(value),
        };
        if !expected {
            unwanted.push(excerpt(field));
        }
    }
    unwanted.sort_unstable();
    read.unwanted = unwanted.into();
    read
}

/// What SPIRE's own types cannot tell from an absent field: they leave it out when they write the object back.
fn is_unset(value: &Value) -> bool {
    match value {
        Value::Bool(set) => !set,
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

/// Puts a value where it belongs; answers whether there was one.
fn take<T>(place: &mut T, value: Option<T>) -> bool {
    value.map(|value| *place = value).is_some()
}

fn strings(value: &Value) -> Option<Box<[Box<str>]>> {
    value.as_array()?.iter().map(|item| Some(item.as_str()?.into())).collect()
}

fn selector(fields: &Map<String, Value>) -> LabelSelector {
    let mut match_labels = Pairs::new();
    let mut others = false;
    for (field, value) in fields.iter().filter(|(_, value)| !value.is_null()) {
        match (field.as_str(), value) {
            ("matchLabels", Value::Object(labels)) => {
                for (key, value) in labels {
                    match value.as_str() {
                        Some(value) => drop(match_labels.insert(key.as_str().into(), value.into())),
                        None => others = true,
                    }
                }
            }
            ("matchExpressions", Value::Array(expressions)) if expressions.is_empty() => {}
            _ => others = true,
        }
    }
    LabelSelector { match_labels, others }
}

fn stats(read: SpireStats) -> OutputStats {
    let SpireStats {
        namespaces_selected: _,
        namespaces_ignored,
        pods_selected,
        pod_entry_render_failures,
        entries_masked,
        entries_to_set,
        entry_failures,
    } = read;
    OutputStats {
        pods_selected,
        entries_to_set,
        entry_failures,
        entries_masked,
        pod_entry_render_failures,
        namespaces_ignored,
    }
}
