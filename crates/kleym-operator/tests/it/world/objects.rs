//! Objects as people write them: pools, objectives and bindings, with one line for each difference.

use kleym_core::kind::{Kind, ObjectiveGroup, PoolGroup};
use kube::api::{DynamicObject, ObjectMeta, TypeMeta};
use serde_json::{Map, Value, json};

/// An object that is not in the cluster yet.
#[derive(Debug, Clone)]
pub(crate) struct Object {
    kind: Kind,
    name: String,
    data: Value,
}

impl Object {
    /// An object of a kind with this spec.
    pub(crate) fn new(kind: Kind, name: &str, spec: Value) -> Self {
        let mut data = json!({});
        data["spec"] = spec;
        Self { kind, name: name.to_owned(), data }
    }

    /// The object's name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The same object with another value at a path; what is missing on the way is made, and `~1` is a slash.
    pub(crate) fn with(mut self, path: &str, value: Value) -> Self {
        put(&mut self.data, path, value);
        self
    }

    /// The same object without what is at a path.
    pub(crate) fn without(mut self, path: &str) -> Self {
        let (parent, last) = path.rsplit_once('/').unwrap();
        self.data.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(last).unwrap();
        self
    }

    /// As the client takes it.
    pub(crate) fn into_dynamic(self) -> (Kind, DynamicObject) {
        let types = TypeMeta { api_version: self.kind.api_version(), kind: self.kind.kind().to_owned() };
        let mut data = self.data;
        let metadata = data.as_object_mut().unwrap().remove("metadata").unwrap_or_else(|| json!({}));
        let metadata: ObjectMeta = serde_json::from_value(metadata).unwrap();
        let metadata = ObjectMeta { name: Some(self.name), ..metadata };
        (self.kind, DynamicObject { types: Some(types), metadata, data })
    }
}

/// Puts a value at a path such as `/spec/mode`; objects that are missing on the way are made.
fn put(object: &mut Value, path: &str, value: Value) {
    let mut place = object;
    for step in path.strip_prefix('/').unwrap().split('/').map(|step| step.replace("~1", "/")) {
        if !place.is_object() {
            *place = Value::Object(Map::new());
        }
        place = place.as_object_mut().unwrap().entry(step).or_insert(Value::Null);
    }
    *place = value;
}

fn labels(of: &[(&str, &str)]) -> Value {
    of.iter().map(|(key, value)| ((*key).to_owned(), json!(value))).collect::<Map<_, _>>().into()
}

/// An `inference.networking.k8s.io` pool.
pub(crate) fn pool(name: &str, selects: &[(&str, &str)]) -> Object {
    let spec = json!({"selector": {"matchLabels": labels(selects)}, "targetPorts": [{"number": 8000}]});
    Object::new(Kind::Pool(PoolGroup::Inference), name, spec)
}

/// An `inference.networking.x-k8s.io` pool.
pub(crate) fn pool_x(name: &str, selects: &[(&str, &str)]) -> Object {
    let picker = json!({"name": "picker"});
    let spec = json!({"selector": labels(selects), "targetPortNumber": 8000, "extensionRef": picker});
    Object::new(Kind::Pool(PoolGroup::InferenceX), name, spec)
}

/// An `llm-d.ai` objective on an `inference.networking.k8s.io` pool.
pub(crate) fn objective(name: &str, pool: &str) -> Object {
    objective_of(ObjectiveGroup::LlmD, name, pool)
}

/// An objective of a group on an `inference.networking.k8s.io` pool.
pub(crate) fn objective_of(group: ObjectiveGroup, name: &str, pool: &str) -> Object {
    Object::new(Kind::Objective(group), name, json!({"poolRef": {"name": pool}, "priority": 1}))
}

fn binding(name: &str, target: &str) -> Object {
    let templates = json!(["k8s:ns:{{ .Namespace }}", "k8s:sa:model-server"]);
    let spec = json!({
        "targetRef": {"name": target},
        "selectorSource": "DerivedFromPool",
        "workloadSelectorTemplates": templates,
    });
    Object::new(Kind::Binding, name, spec)
}

/// A binding of the pool behind an objective.
pub(crate) fn pool_only(name: &str, objective: &str) -> Object {
    binding(name, objective).with("/spec/mode", json!("PoolOnly"))
}

/// A binding of an objective, served by the container of this name.
pub(crate) fn per_objective(name: &str, objective: &str, container: &str) -> Object {
    let discriminator = json!({"type": "ContainerName", "value": container});
    binding(name, objective).with("/spec/containerDiscriminator", discriminator)
}
