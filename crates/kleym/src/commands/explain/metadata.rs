//! What the metadata of objects tells beside what the engine reads: who holds one that is being deleted, who made one, and
//! what the installed definition of ClusterSPIFFEID can hold. Reads; decides nothing.

use jiff::Timestamp;
use kleym_api::decode;
use kleym_core::explain::{Definition, Deletion, Finalizer, Made};
use kleym_core::kind::Kind;
use serde_json::Value;

use crate::source::cluster::{Collection, Found, Resource};
use crate::survey::Survey;

/// How long after a deletion was asked for a finalizer is one that nobody works on, in seconds.
const LONG: i64 = 120;

/// What the metadata of an object says of its deletion.
pub(super) fn deletion(object: &Value, now: i64) -> Option<Deletion> {
    let meta = decode::Meta::of(object);
    let timestamp = object.pointer("/metadata/deletionTimestamp").filter(|_| meta.deleting())?;
    let timestamp = timestamp.as_str().unwrap_or_default().to_owned();
    let asked = timestamp.parse::<Timestamp>().ok();
    Some(Deletion {
        long_ago: asked.is_some_and(|asked| now.saturating_sub(asked.as_second()) > LONG),
        finalizers: meta.finalizers().map(|name| finalizer(object, name)).collect(),
        timestamp,
    })
}

/// A finalizer, with who set it.
fn finalizer(object: &Value, name: &str) -> Finalizer {
    let entries = object.pointer("/metadata/managedFields").and_then(Value::as_array);
    let set = |entry: &&Value| {
        let fields = entry.pointer("/fieldsV1/f:metadata/f:finalizers");
        fields.is_some_and(|fields| fields.get(format!("v:\"{name}\"")).is_some())
    };
    let entry = entries.into_iter().flatten().find(set);
    let text = |field: &str| Some(entry?.get(field)?.as_str()?.to_owned());
    Finalizer { name: name.to_owned(), manager: text("manager"), time: text("time") }
}

/// What `kubectl apply` keeps, which says nothing that the object does not.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Who made an object: whoever wrote its spec comes first.
pub(super) fn made(object: &Value) -> Made {
    let meta = decode::Meta::of(object);
    let text = |value: &Value, field: &str| value.get(field).and_then(Value::as_str).map(str::to_owned);
    let entries = object.pointer("/metadata/managedFields").and_then(Value::as_array);
    let mut entries: Vec<&Value> = entries.into_iter().flatten().collect();
    entries.retain(|entry| entry.get("subresource").is_none());
    entries.sort_by_key(|entry| entry.pointer("/fieldsV1/f:spec").is_none());
    let managers =
        entries.into_iter().filter_map(|entry| Some((text(entry, "manager")?, text(entry, "time"))));
    let foreign = |key: &str| !key.starts_with("kleym.sonda.red/") && key != LAST_APPLIED;
    let annotations = meta.annotations();
    let annotations = annotations.iter().filter(|(key, _)| foreign(key));
    Made {
        created: object.pointer("/metadata/creationTimestamp").and_then(Value::as_str).map(str::to_owned),
        managers: managers.collect(),
        annotations: annotations.map(|(key, value)| (key.to_string(), value.to_string())).collect(),
        finalizers: meta.finalizers().map(|name| finalizer(object, name)).collect(),
    }
}

/// The fields of `spec` that Kleym writes.
const WRITTEN: [&str; 7] = [
    "spiffeIDTemplate",
    "namespaceSelector",
    "podSelector",
    "workloadSelectorTemplates",
    "className",
    "fallback",
    "hint",
];

/// What the definition of ClusterSPIFFEID lacks, in the files or the cluster; none where it was not read.
pub(super) fn definition(survey: &Survey) -> Option<Definition> {
    let of_files = survey.declared.beside(Resource::Definitions);
    let of_cluster =
        survey.cluster.as_ref().map(|cluster| cluster.lists(&[Collection::of(Resource::Definitions, None)]));
    let found = of_cluster.as_ref().and_then(|lists| lists.first()).unwrap_or(of_files);
    lacking(found)
}

fn lacking(found: &Found) -> Option<Definition> {
    let name = Kind::Output.crd_name();
    let definition = found.items().iter().find(|one| decode::Meta::of(one).name() == Some(name.as_str()))?;
    let versions = definition.pointer("/spec/versions")?.as_array()?;
    let version = Kind::Output.version();
    let version = versions.iter().find(|one| one.get("name").and_then(Value::as_str) == Some(version))?;
    let spec = version.pointer("/schema/openAPIV3Schema/properties/spec")?;
    let kept = spec.get("x-kubernetes-preserve-unknown-fields").and_then(Value::as_bool) == Some(true);
    let properties = spec.get("properties")?.as_object()?;
    let lacks = WRITTEN.into_iter().filter(|field| !kept && !properties.contains_key(*field));
    let chart = decode::Meta::of(definition).annotation("helm.sh/chart");
    let chart = chart.or_else(|| decode::Meta::of(definition).label("helm.sh/chart"));
    Some(Definition {
        lacks: lacks.map(|field| format!("spec.{field}")).collect(),
        chart: chart.map(str::to_owned),
        name,
    })
}
