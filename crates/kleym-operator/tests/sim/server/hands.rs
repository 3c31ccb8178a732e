//! What people and other programs do: writes like any others, made of what stands there at that moment. They reach a
//! kind although its version that we read is not served.

use kleym_core::kind::Kind;
use serde_json::{Value, json};

use super::{Place, Server, Writer};

impl Server {
    /// Deletes an object. Answers whether it was there.
    pub(crate) fn delete_by_hand(&mut self, place: &Place) -> bool {
        self.delete_if(place, &Value::Null).is_ok()
    }

    /// Creates an object with this spec, or edits the one that is there.
    pub(crate) fn put_by_hand(&mut self, place: &Place, spec: Value) {
        if self.objects.contains_key(place) {
            self.edit_by_hand(place, |object| object["spec"] = spec);
        } else {
            self.create_by_hand(place, json!({"metadata": {}, "spec": spec}));
        }
    }

    /// Creates an object, when there is none; the metadata's name and namespace are seen to.
    pub(crate) fn create_by_hand(&mut self, place: &Place, mut object: Value) {
        object["metadata"]["name"] = json!(place.name);
        if place.kind != Kind::Output {
            object["metadata"]["namespace"] = json!(place.namespace);
        }
        // Who cannot create it leaves it be.
        let _ = self.create(place, &object, Writer::Hand, false);
    }

    /// Changes an object. Answers whether it was there.
    pub(crate) fn edit_by_hand(&mut self, place: &Place, change: impl FnOnce(&mut Value)) -> bool {
        let Some(stored) = self.objects.get(place) else { return false };
        let mut value = Value::clone(&stored.value);
        change(&mut value);
        self.replace(place, value, Writer::Hand).is_ok()
    }

    /// Changes an object's status; who wrote the object stays.
    pub(crate) fn report(&mut self, place: &Place, status: Value) {
        let Some(stored) = self.objects.get(place) else { return };
        let mut value = Value::clone(&stored.value);
        value["status"] = status;
        self.update(place, value, None);
    }
}
