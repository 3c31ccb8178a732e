//! Pods, nodes and namespaces, as far as identities depend on them. What is of another type counts as absent: the API
//! server guards these kinds itself, and in files a wrong field must not hide the pod.

use kleym_core::name::Namespace;
use kleym_core::output::Pairs;
use kleym_core::spire::{Container, ContainerKind, Image, Node, Owner, Phase, Pod, Space, Taint, Toleration};
use serde_json::Value;

use super::meta::Meta;
use super::socket;
use super::value::optional;
use super::{DecodeError, name, namespace, namespace_name};

/// What Istio's injector leaves on a pod it changed.
const ISTIO_STATUS: &str = "sidecar.istio.io/status";
/// The container that Istio injects, regular or as a native sidecar.
const ISTIO_PROXY: &str = "istio-proxy";
/// The service account of a pod that names none; the API server fills it in.
const DEFAULT_SERVICE_ACCOUNT: &str = "default";

/// Decodes a pod; one that names no namespace is in `home`, if there is one.
///
/// # Errors
/// Only when it has no namespace and name that are valid.
pub fn pod(object: &Value, home: Option<&Namespace>) -> Result<Pod, DecodeError> {
    let meta = Meta::of(object);
    let spec = object.get("spec");
    let status = object.get("status");
    let text = |field: &str| spec?.get(field)?.as_str().filter(|text| !text.is_empty());
    let statuses = ["containerStatuses", "initContainerStatuses"].map(|field| list(status, field));
    let container = |value: &Value, init: bool| {
        let name = value.get("name")?.as_str()?;
        let always = value.get("restartPolicy").and_then(Value::as_str) == Some("Always");
        let reported = statuses[usize::from(init)].iter();
        let reported = reported.filter(|status| status.get("name").and_then(Value::as_str) == Some(name));
        Some(Container {
            name: name.into(),
            kind: match (init, always) {
                (false, _) => ContainerKind::Regular,
                (true, false) => ContainerKind::Init,
                (true, true) => ContainerKind::Sidecar,
            },
            image: value.get("image").and_then(Value::as_str).unwrap_or_default().into(),
            running: reported.filter_map(image).next(),
            access: socket::access(spec, value),
        })
    };
    let regular = list(spec, "containers").iter().filter_map(|value| container(value, false));
    let init = list(spec, "initContainers").iter().filter_map(|value| container(value, true));
    let containers: Box<[Container]> = regular.chain(init).collect();
    let injected = containers.iter().any(|container| &*container.name == ISTIO_PROXY);
    Ok(Pod {
        namespace: namespace(object, home)?,
        name: name(object)?,
        uid: meta.uid(),
        labels: meta.labels(),
        service_account: text("serviceAccountName")
            .or_else(|| text("serviceAccount"))
            .unwrap_or(DEFAULT_SERVICE_ACCOUNT)
            .into(),
        node_name: text("nodeName").map(Into::into),
        phase: match status.and_then(|status| status.get("phase")).and_then(Value::as_str) {
            Some("Pending") => Phase::Pending,
            Some("Running") => Phase::Running,
            Some("Succeeded") => Phase::Succeeded,
            Some("Failed") => Phase::Failed,
            _ => Phase::Unknown,
        },
        deleting: meta.deleting(),
        owners: meta.owner_references().iter().filter_map(owner).collect(),
        containers,
        istio: injected || meta.annotation(ISTIO_STATUS).is_some(),
        tolerations: list(spec, "tolerations").iter().map(toleration).collect(),
        ready: list(status, "conditions")
            .iter()
            .find(|one| text_of(one, "type") == "Ready".into())
            .and_then(ready),
        node_selector: pairs(spec.and_then(|spec| spec.get("nodeSelector"))),
    })
}

/// Decodes a node.
///
/// # Errors
/// Only when it has no valid name.
pub fn node(object: &Value) -> Result<Node, DecodeError> {
    let meta = Meta::of(object);
    let taints = list(object.get("spec"), "taints").iter().map(taint).collect();
    Ok(Node { name: name(object)?.as_str().into(), uid: meta.uid(), labels: meta.labels(), taints })
}

/// Decodes a namespace; `complete` says whether all its labels are there, as in a cluster and not in a file.
///
/// # Errors
/// Only when it has no valid name.
pub fn space(object: &Value, complete: bool) -> Result<Space, DecodeError> {
    let mut space = Space::named(namespace_name(object)?);
    space.labels.extend(Meta::of(object).labels());
    space.complete = complete;
    Ok(space)
}

fn list<'a>(parent: Option<&'a Value>, field: &str) -> &'a [Value] {
    parent.and_then(|parent| parent.get(field)).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// Whether a condition is True; nothing where it says neither.
fn ready(condition: &Value) -> Option<bool> {
    match condition.get("status").and_then(Value::as_str) {
        Some("True") => Some(true),
        Some("False") => Some(false),
        _ => None,
    }
}

/// The texts of a map, by key.
fn pairs(map: Option<&Value>) -> Pairs {
    let all = map.and_then(Value::as_object).into_iter().flatten();
    all.filter_map(|(key, value)| Some((key.as_str().into(), value.as_str()?.into()))).collect()
}

/// What the kubelet found out. Before the image is there it repeats what was asked for and has no ID: that is no report.
fn image(status: &Value) -> Option<Image> {
    let text = |field: &str| status.get(field).and_then(Value::as_str);
    let id = text("imageID").filter(|id| !id.is_empty())?;
    Some(Image { image: text("image").unwrap_or_default().into(), id: id.into() })
}

fn text_of(value: &Value, field: &str) -> Box<str> {
    value.get(field).and_then(Value::as_str).unwrap_or_default().into()
}

fn taint(value: &Value) -> Taint {
    let text = |field| text_of(value, field);
    Taint { key: text("key"), value: text("value"), effect: text("effect") }
}

fn toleration(value: &Value) -> Toleration {
    let text = |field| text_of(value, field);
    let any_value = &*text("operator") == "Exists";
    Toleration { key: text("key"), any_value, value: text("value"), effect: text("effect") }
}

fn owner(reference: &Value) -> Option<Owner> {
    let text = |field: &str| optional(reference.get(field))?.as_str();
    Some(Owner {
        kind: text("kind")?.into(),
        name: text("name")?.into(),
        uid: text("uid").unwrap_or_default().into(),
    })
}
