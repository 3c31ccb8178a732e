//! Stand-ins for InferencePool of both groups and InferenceObjective of all three.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kleym_core::kind::{Kind, ObjectiveGroup, PoolGroup};
use serde_json::{Value, json};

use super::{assemble, object, root};

const SUBDOMAIN: &str = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";
const LABEL_VALUE: &str = "^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$";

/// `inference.networking.k8s.io/v1` InferencePool.
pub(super) fn pool() -> CustomResourceDefinition {
    let port = object(&["number"], json!({"number": port_number()}));
    let mut target_ports = json!({
        "type": "array",
        "items": port,
        "minItems": 1,
        "maxItems": 8,
        "x-kubernetes-list-type": "atomic",
    });
    target_ports["x-kubernetes-validations"] = json!([{
        "message": "give every port once",
        "rule": "self.all(p1, self.exists_one(p2, p1.number==p2.number))",
    }]);
    let mut picker = object(
        &["name"],
        json!({
            "failureMode": failure_mode(),
            "group": group_with_floor(""),
            "kind": kind_name("Service"),
            "name": name(),
            "port": object(&["number"], json!({"number": port_number()})),
        }),
    );
    picker["x-kubernetes-validations"] = json!([{
        "message": "a Service needs a port",
        "rule": "self.kind != 'Service' || has(self.port)",
    }]);
    let mut match_labels = label_map();
    match_labels["minProperties"] = json!(1);
    match_labels["maxProperties"] = json!(64);
    let spec = object(
        &["selector", "targetPorts"],
        json!({
            "appProtocol": {"type": "string", "default": "http", "enum": ["http", "kubernetes.io/h2c"]},
            "endpointPickerRef": picker,
            "selector": object(&["matchLabels"], json!({"matchLabels": match_labels})),
            "targetPorts": target_ports,
        }),
    );
    let controller_name = json!({
        "type": "string",
        "minLength": 1,
        "maxLength": 253,
        "pattern":
            r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*\/[A-Za-z0-9\/\-._~%!$&'()*+,;=:]+$",
    });
    let parent = object(
        &["parentRef"],
        json!({
            "conditions": conditions(None),
            "controllerName": controller_name,
            "parentRef": parent_ref(group_with_floor("gateway.networking.k8s.io")),
        }),
    );
    let parents =
        json!({"type": "array", "items": parent, "maxItems": 32, "x-kubernetes-list-type": "atomic"});
    let schema = root(&["spec"], spec, object(&[], json!({"parents": parents})));
    assemble(Kind::Pool(PoolGroup::Inference), &["infpool"], &Value::Null, schema)
}

/// `inference.networking.x-k8s.io/v1alpha2` InferencePool.
pub(super) fn pool_x() -> CustomResourceDefinition {
    let extension = object(
        &["name"],
        json!({
            "failureMode": failure_mode(),
            "group": group(""),
            "kind": kind_name("Service"),
            "name": name(),
            "portNumber": port_number(),
        }),
    );
    let spec = object(
        &["extensionRef", "selector", "targetPortNumber"],
        json!({
            "extensionRef": extension,
            "selector": label_map(),
            "targetPortNumber": port_number(),
        }),
    );
    let parent = object(
        &["parentRef"],
        json!({
            "conditions": conditions(Some("Accepted")),
            "parentRef": parent_ref(group("gateway.networking.k8s.io")),
        }),
    );
    let mut status = object(&[], json!({"parent": {"type": "array", "items": parent, "maxItems": 32}}));
    status["default"] = json!({"parent": [{
        "conditions": [pending("Accepted")],
        "parentRef": {"kind": "Status", "name": "default"},
    }]});
    assemble(Kind::Pool(PoolGroup::InferenceX), &["xinfpool"], &Value::Null, root(&[], spec, status))
}

/// InferenceObjective of a group.
pub(super) fn objective(of: ObjectiveGroup) -> CustomResourceDefinition {
    let pool_ref = object(
        &["name"],
        json!({
            "group": group("inference.networking.k8s.io"),
            "kind": kind_name("InferencePool"),
            "name": name(),
        }),
    );
    let priority = match of {
        ObjectiveGroup::InferenceX => json!({"type": "integer"}),
        ObjectiveGroup::LlmD | ObjectiveGroup::Inference => json!({"type": "integer", "format": "int32"}),
    };
    let spec = object(&["poolRef"], json!({"poolRef": pool_ref, "priority": priority}));
    let status = object(&[], json!({"conditions": conditions(Some("Ready"))}));
    let columns = json!([
        {"name": "Inference Pool", "type": "string", "jsonPath": ".spec.poolRef.name"},
        {"name": "Priority", "type": "string", "jsonPath": ".spec.priority"},
        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
    ]);
    assemble(Kind::Objective(of), &[], &columns, root(&[], spec, status))
}

fn label_map() -> Value {
    let value = json!({"type": "string", "minLength": 0, "maxLength": 63, "pattern": LABEL_VALUE});
    json!({"type": "object", "additionalProperties": value})
}

fn failure_mode() -> Value {
    json!({"type": "string", "default": "FailClose", "enum": ["FailOpen", "FailClose"]})
}

fn port_number() -> Value {
    json!({"type": "integer", "format": "int32", "minimum": 1, "maximum": 65535})
}

fn name() -> Value {
    json!({"type": "string", "minLength": 1, "maxLength": 253})
}

fn kind_name(default: &str) -> Value {
    json!({
        "type": "string",
        "default": default,
        "minLength": 1,
        "maxLength": 63,
        "pattern": "^[a-zA-Z]([-a-zA-Z0-9]*[a-zA-Z0-9])?$",
    })
}

/// An API group that may be empty.
fn group(default: &str) -> Value {
    json!({"type": "string", "default": default, "maxLength": 253, "pattern": format!("^$|{SUBDOMAIN}")})
}

/// The same, with the lower bound of 0 that only the v1 pool spells out.
fn group_with_floor(default: &str) -> Value {
    let mut group = group(default);
    group["minLength"] = json!(0);
    group
}

fn parent_ref(group: Value) -> Value {
    let label = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";
    let mut properties = json!({
        "kind": kind_name("Gateway"),
        "name": name(),
        "namespace": {"type": "string", "minLength": 1, "maxLength": 63, "pattern": label},
    });
    properties["group"] = group;
    object(&["name"], properties)
}

/// The condition that a status starts with.
fn pending(condition: &str) -> Value {
    json!({
        "type": condition,
        "status": "Unknown",
        "reason": "Pending",
        "message": "Waiting for controller",
        "lastTransitionTime": "1970-01-01T00:00:00Z",
    })
}

/// A list of conditions, by type, that starts with a pending one if a type is given.
fn conditions(starts_with: Option<&str>) -> Value {
    let condition = object(
        &["lastTransitionTime", "message", "reason", "status", "type"],
        json!({
            "lastTransitionTime": {"type": "string", "format": "date-time"},
            "message": {"type": "string", "maxLength": 32768},
            "observedGeneration": {"type": "integer", "format": "int64", "minimum": 0},
            "reason": {
                "type": "string",
                "minLength": 1,
                "maxLength": 1024,
                "pattern": "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$",
            },
            "status": {"type": "string", "enum": ["True", "False", "Unknown"]},
            "type": {
                "type": "string",
                "maxLength": 316,
                "pattern":
                    r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$",
            },
        }),
    );
    let mut list = json!({
        "type": "array",
        "items": condition,
        "maxItems": 8,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
    });
    if let Some(condition) = starts_with {
        list["default"] = json!([pending(condition)]);
    }
    list
}
