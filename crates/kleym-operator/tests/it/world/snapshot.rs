//! Bindings and outputs as they stand, without what differs from run to run, so that two runs can be compared.

use kleym_core::kind::Kind;
use kube::api::ListParams;
use serde_json::{Value, json};

use super::{World, value};

/// What is drawn, counted or timed anew in every run.
const DIFFERENT: [&str; 7] = [
    "uid",
    "resourceVersion",
    "creationTimestamp",
    "generation",
    "observedGeneration",
    "lastTransitionTime",
    "managedFields",
];

impl World {
    /// The whole state, masked.
    pub(crate) async fn snapshot(&self) -> String {
        let mut bindings = self.all(Kind::Binding).await;
        let names: Vec<String> = bindings.iter().map(|object| name_of(object).to_owned()).collect();
        let mut outputs = self.all(Kind::Output).await;
        let of_this_world = |output: &Value| {
            let label = &output["metadata"]["labels"]["kleym.sonda.red/binding-namespace"];
            let named = |name: &String| self.output_name(name) == name_of(output);
            *label == *self.namespace || names.iter().any(named)
        };
        outputs.retain(of_this_world);
        for object in bindings.iter_mut().chain(&mut outputs) {
            mask(object);
        }
        // A finalizer without an output may stay until its binding is deleted.
        for binding in &mut bindings {
            binding["metadata"].as_object_mut().unwrap().remove("finalizers");
        }
        let mut text = format!("{:#}", json!({"bindings": bindings, "outputs": outputs}));
        for name in &names {
            text = text.replace(&self.output_name(name), &format!("output-of-{name}"));
        }
        text.replace(&self.namespace, "<namespace>")
    }

    /// Every object of a kind, in the namespace or everywhere.
    pub(crate) async fn all(&self, kind: Kind) -> Vec<Value> {
        let list = self.api(kind).list(&ListParams::default()).await.unwrap();
        list.iter().map(value).collect()
    }
}

fn name_of(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or("")
}

fn mask(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for different in
                DIFFERENT.into_iter().chain(["selectorFingerprint", "kleym.sonda.red/binding-uid"])
            {
                fields.remove(different);
            }
            fields.values_mut().for_each(mask);
        }
        Value::Array(items) => items.iter_mut().for_each(mask),
        _ => {}
    }
}
