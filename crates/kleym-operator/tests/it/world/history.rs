//! Every state that the outputs of a namespace went through, from the watch cache of the API server.

use std::collections::BTreeMap;

use futures::TryStreamExt;
use kleym_core::kind::Kind;
use kube::api::{ListParams, WatchEvent, WatchParams};
use serde_json::Value;

use super::{World, value};

/// The outputs of a namespace at a revision.
pub(crate) struct Beginning {
    revision: String,
    outputs: BTreeMap<String, Value>,
}

impl World {
    /// The outputs of this namespace as they are now.
    pub(crate) async fn beginning(&self) -> Beginning {
        let list = self.api(Kind::Output).list(&ListParams::default()).await.unwrap();
        let revision = list.metadata.resource_version.clone().unwrap();
        let named = |object: Value| (object["metadata"]["name"].to_string(), object);
        let outputs = list.iter().map(value).filter(|output| self.holds(output)).map(named).collect();
        Beginning { revision, outputs }
    }

    /// Every state of the outputs of this namespace from then until now, each as the outputs that live in it.
    pub(crate) async fn states_since(&self, beginning: Beginning) -> Vec<Vec<Value>> {
        let Beginning { revision, mut outputs } = beginning;
        // The shortest watch there is: what happened before comes at once.
        let parameters = WatchParams::default().timeout(1);
        let events = self.api(Kind::Output).watch(&parameters, &revision).await.unwrap();
        let events: Vec<_> = events.try_collect().await.unwrap();
        let mut states = vec![outputs.values().cloned().collect()];
        for event in events {
            let (object, lives) = match event {
                WatchEvent::Added(object) | WatchEvent::Modified(object) => (value(&object), true),
                WatchEvent::Deleted(object) => (value(&object), false),
                WatchEvent::Bookmark(_) => continue,
                WatchEvent::Error(status) => panic!("{status:?}"),
            };
            if !self.holds(&object) {
                continue;
            }
            let name = object["metadata"]["name"].to_string();
            if lives {
                outputs.insert(name, object)
            } else {
                outputs.remove(&name)
            };
            states.push(outputs.values().cloned().collect());
        }
        states
    }

    /// Whether an output is of this namespace and this instance.
    fn holds(&self, output: &Value) -> bool {
        let labels = &output["metadata"]["labels"];
        labels["kleym.sonda.red/instance"] == self.instance
            && labels["kleym.sonda.red/binding-namespace"] == self.namespace
    }
}
