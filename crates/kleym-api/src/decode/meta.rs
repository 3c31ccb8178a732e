//! An object's metadata, read field by field when it is asked for. What is not of its type is as if it were not there:
//! the API server guards these fields itself, and files need not have them.

use jiff::Timestamp;
use kleym_core::name::Uid;
use kleym_core::output::Pairs;
use serde_json::{Map, Value};

use super::value::optional;

/// The metadata of one object. Copies nothing until it is asked, and never fails.
#[derive(Debug, Clone, Copy)]
pub struct Meta<'a>(Option<&'a Map<String, Value>>);

impl<'a> Meta<'a> {
    /// The metadata of an object, empty when it has none.
    pub fn of(object: &'a Value) -> Self {
        Self(object.get("metadata").and_then(Value::as_object))
    }

    fn get(self, field: &str) -> Option<&'a Value> {
        optional(self.0?.get(field))
    }

    fn text(self, field: &str) -> Option<&'a str> {
        self.get(field)?.as_str()
    }

    /// `namespace`, as it is written.
    pub fn namespace(self) -> Option<&'a str> {
        self.text("namespace")
    }

    /// `name`, as it is written.
    pub fn name(self) -> Option<&'a str> {
        self.text("name")
    }

    /// `uid`; None also when it is none that an API server gives.
    pub fn uid(self) -> Option<Uid> {
        Uid::parse(self.text("uid")?).ok()
    }

    /// `resourceVersion`, opaque; None also when it is empty, which in a write would mean any.
    pub fn resource_version(self) -> Option<&'a str> {
        self.text("resourceVersion").filter(|version| !version.is_empty())
    }

    /// `generation`
    pub fn generation(self) -> Option<i64> {
        self.get("generation")?.as_i64()
    }

    /// `creationTimestamp` in seconds since 1970; None also when it is no RFC 3339 time that can be read.
    pub fn created(self) -> Option<i64> {
        self.seconds("creationTimestamp")
    }

    /// Whether the object is being deleted: `deletionTimestamp` is there, readable or not.
    pub fn deleting(self) -> bool {
        self.get("deletionTimestamp").is_some()
    }

    /// `deletionTimestamp` in seconds since 1970: when the object is to be gone.
    pub fn deletion(self) -> Option<i64> {
        self.seconds("deletionTimestamp")
    }

    fn seconds(self, field: &str) -> Option<i64> {
        self.text(field)?.parse().ok().map(Timestamp::as_second)
    }

    /// `finalizers`, in their order.
    pub fn finalizers(self) -> impl Iterator<Item = &'a str> {
        self.get("finalizers").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
    }

    /// One of `labels`.
    pub fn label(self, key: &str) -> Option<&'a str> {
        self.get("labels")?.get(key)?.as_str()
    }

    /// One of `annotations`.
    pub fn annotation(self, key: &str) -> Option<&'a str> {
        self.get("annotations")?.get(key)?.as_str()
    }

    /// All of `labels`.
    pub fn labels(self) -> Pairs {
        self.pairs("labels")
    }

    /// All of `annotations`.
    pub fn annotations(self) -> Pairs {
        self.pairs("annotations")
    }

    fn pairs(self, field: &str) -> Pairs {
        let entries = self.get(field).and_then(Value::as_object).into_iter().flatten();
        entries.filter_map(|(key, value)| Some((key.as_str().into(), value.as_str()?.into()))).collect()
    }

    /// `ownerReferences`, as they are.
    pub fn owner_references(self) -> &'a [Value] {
        self.get("ownerReferences").and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }
}
