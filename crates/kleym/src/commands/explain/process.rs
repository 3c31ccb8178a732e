//! spire-controller-manager (SCM) as it runs: the pods that have its configuration mounted, since when they run it, and when that
//! was last written. Reads; decides nothing.

use std::collections::BTreeSet;

use jiff::Timestamp;
use kleym_api::decode;
use kleym_core::explain::{Process, Started};
use kleym_core::name::Namespace;
use kleym_core::report::image_name;
use kleym_core::spire::Manager;
use serde_json::Value;

use crate::source::cluster::{Collection, Resource};
use crate::survey::Survey;

/// The name of SCM's image.
const IMAGE: &str = "spire-controller-manager";

/// What files or the cluster tell of an SCM whose settings were read in a ConfigMap.
pub(super) fn process(survey: &Survey, manager: &Manager) -> Option<Process> {
    let (namespace, name) = manager.at.as_deref()?.strip_prefix("ConfigMap ")?.split_once('/')?;
    match &survey.cluster {
        None => {
            let [maps, pods] = [Resource::ConfigMaps, Resource::Pods]
                .map(|resource| survey.declared.beside(resource).items());
            of(namespace, name, maps, pods)
        }
        Some(cluster) => {
            let space = Namespace::parse(namespace).ok()?;
            let lists = cluster.lists(
                &[Resource::ConfigMaps, Resource::Pods]
                    .map(|resource| Collection::of(resource, Some(&space))),
            );
            let [maps, pods] = lists.as_slice() else { return None };
            of(namespace, name, maps.items(), pods.items())
        }
    }
}

fn of(namespace: &str, name: &str, maps: &[Value], pods: &[Value]) -> Option<Process> {
    let here = |object: &Value| decode::Meta::of(object).namespace() == Some(namespace);
    let map = maps.iter().find(|map| here(map) && decode::Meta::of(map).name() == Some(name))?;
    let started: Vec<Started> =
        pods.iter().filter(|pod| here(pod)).filter_map(|pod| started(pod, name)).collect();
    let written = written(map);
    let time = |text: &str| text.parse::<Timestamp>().ok();
    let since: Option<Vec<Timestamp>> =
        started.iter().map(|one| one.since.as_deref().and_then(time)).collect();
    let outdated =
        since.zip(written.as_ref().and_then(|(text, _)| time(text))).and_then(|(since, written)| {
            let older = since.iter().filter(|since| **since < written).count();
            match (since.len(), older) {
                (0, _) => None,
                (_, 0) => Some(false),
                (all, older) => (all == older).then_some(true),
            }
        });
    Some(Process { started, written, source: source(map), outdated })
}

/// When a ConfigMap's data were last written, and by whom.
fn written(map: &Value) -> Option<(String, Option<String>)> {
    let entries = map.pointer("/metadata/managedFields").and_then(Value::as_array);
    // Who has written labels alone has changed no setting.
    let of_data = |entry: &&Value| {
        let fields = entry.get("fieldsV1");
        fields.is_none_or(|fields| fields.get("f:data").is_some() || fields.get("f:binaryData").is_some())
    };
    let times = entries.into_iter().flatten().filter(of_data).filter_map(|entry| {
        let text = entry.get("time")?.as_str()?;
        let by = entry.get("manager").and_then(Value::as_str).map(str::to_owned);
        Some((text.parse::<Timestamp>().ok()?, (text.to_owned(), by)))
    });
    times.max_by_key(|(time, _)| *time).map(|(_, written)| written)
}

/// What a ConfigMap says that it is made from.
fn source(map: &Value) -> Option<String> {
    let meta = decode::Meta::of(map);
    let release = meta.annotation("meta.helm.sh/release-name");
    let quoted = kleym_core::text::Quoted;
    match (release, meta.annotation("meta.helm.sh/release-namespace")) {
        (Some(release), Some(space)) => {
            Some(format!("its source, Helm release {} of namespace {},", quoted(release), quoted(space)))
        }
        (Some(release), None) => Some(format!("its source, Helm release {},", quoted(release))),
        (None, _) => None,
    }
}

/// The container of a pod that has a ConfigMap mounted, if it runs or will.
fn started(pod: &Value, config: &str) -> Option<Started> {
    let list = |from: &'_ Value, pointer: &str| -> Vec<Value> {
        from.pointer(pointer).and_then(Value::as_array).cloned().unwrap_or_default()
    };
    let text = |from: &Value, pointer: &str| from.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    let meta = decode::Meta::of(pod);
    let ended = matches!(text(pod, "/status/phase").as_deref(), Some("Succeeded" | "Failed"));
    if ended || meta.deleting() {
        return None;
    }
    let holds = |volume: &Value| {
        let projected = list(volume, "/projected/sources");
        let named = |from: &Value| text(from, "/configMap/name").as_deref() == Some(config);
        named(volume) || projected.iter().any(named)
    };
    let volumes: BTreeSet<String> = list(pod, "/spec/volumes")
        .iter()
        .filter(|volume| holds(volume))
        .filter_map(|volume| text(volume, "/name"))
        .collect();
    let containers = list(pod, "/spec/containers");
    let mounts = |one: &&Value| {
        let mounts = list(one, "/volumeMounts");
        mounts.iter().filter_map(|mount| text(mount, "/name")).any(|name| volumes.contains(&name))
    };
    let mounting: Vec<&Value> = containers.iter().filter(mounts).collect();
    let is = |one: &&&Value| text(one, "/image").is_some_and(|image| image_name(&image) == IMAGE);
    let container = text(mounting.iter().find(is).or(mounting.first())?, "/name")?;
    let statuses = list(pod, "/status/containerStatuses");
    let status = statuses.iter().find(|one| text(one, "/name").as_deref() == Some(&container));
    let names = containers.iter().filter_map(|one| text(one, "/name"));
    Some(Started {
        namespace: meta.namespace()?.to_owned(),
        pod: meta.name()?.to_owned(),
        since: status.and_then(|status| text(status, "/state/running/startedAt")),
        workload: workload(pod),
        beside: names.filter(|name| *name != container).collect(),
        container,
    })
}

/// What made a pod; of a ReplicaSet the Deployment, as far as its name tells.
fn workload(pod: &Value) -> Option<(String, String)> {
    let meta = decode::Meta::of(pod);
    let owner = meta
        .owner_references()
        .iter()
        .find(|owner| owner.get("controller").and_then(Value::as_bool) == Some(true))?;
    let text = |field: &str| owner.get(field).and_then(Value::as_str);
    let (kind, name) = (text("kind")?, text("name")?);
    let hash = meta.label("pod-template-hash").filter(|_| kind == "ReplicaSet");
    let of_deployment = hash.and_then(|hash| name.strip_suffix(hash)?.strip_suffix('-'));
    Some(match of_deployment {
        Some(deployment) => ("Deployment".to_owned(), deployment.to_owned()),
        None => (kind.to_owned(), name.to_owned()),
    })
}
