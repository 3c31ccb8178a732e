//! What the API server sends, read without holding more of it than is needed: of a list one object at a time, and of an
//! object everything but `metadata.managedFields`, which nobody reads and which are the larger half of it.
//!
//! A list is walked here instead of with `serde_json::value::RawValue`: with that feature on, every JSON object that has
//! one certain key is read as the text in it, wherever it stands, and a tenant could write labels that Kleym reads as
//! others than the API server does. `deny.toml` keeps the feature off, for the dependencies' sake too.

use std::fmt;

use serde::Deserialize;
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor,
};
use serde_json::{Error, Map, Result, Value};

/// A page of a list, whose objects are still text.
#[derive(Debug)]
pub(super) struct Page<'a> {
    kind: String,
    metadata: ListMeta,
    /// A list.
    items: &'a [u8],
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ListMeta {
    resource_version: String,
    r#continue: String,
}

impl<'a> Page<'a> {
    /// Reads a page.
    ///
    /// # Errors
    /// When it is no list.
    pub(super) fn read(body: &'a [u8]) -> Result<Self> {
        let mut kind = String::new();
        let mut metadata = ListMeta::default();
        let mut items = None;
        let mut text = Text { rest: body };
        text.expect(b'{')?;
        loop {
            let field: String = text.value()?;
            text.expect(b':')?;
            match field.as_str() {
                "kind" => kind = text.value()?,
                "metadata" => metadata = text.value()?,
                "items" => items = Some(text.skip()?),
                _ => drop(text.skip()?),
            }
            if !text.goes_on_with(b',') {
                break;
            }
        }
        text.expect(b'}')?;
        match items {
            Some(items @ [b'[', ..]) => Ok(Self { kind, metadata, items }),
            // An empty list of metadata is written so.
            Some(b"null") => Ok(Self { kind, metadata, items: b"[]" }),
            _ => Err(Error::custom("there are no items")),
        }
    }

    /// What it calls itself.
    pub(super) fn kind(&self) -> &str {
        &self.kind
    }

    /// Its resourceVersion; empty when it has none.
    pub(super) fn version(&self) -> &str {
        &self.metadata.resource_version
    }

    /// Where the next page begins; empty when this is the last one.
    pub(super) fn next(&self) -> &str {
        &self.metadata.r#continue
    }

    /// Its objects; an error for what is none.
    pub(super) fn objects(&self) -> impl Iterator<Item = Result<Lean>> {
        let mut items = Text { rest: self.items };
        let mut mark = b'[';
        std::iter::from_fn(move || {
            if !items.goes_on_with(mark) || items.goes_on_with(b']') {
                return None;
            }
            mark = b',';
            let item = items.skip().ok()?;
            Some(Text { rest: item }.value())
        })
    }
}

/// JSON that is read value by value.
struct Text<'a> {
    rest: &'a [u8],
}

impl<'a> Text<'a> {
    /// The value that begins here.
    fn value<T: DeserializeOwned>(&mut self) -> Result<T> {
        let mut values = serde_json::Deserializer::from_slice(self.rest).into_iter();
        let value = values.next().unwrap_or_else(|| Err(Error::custom("it ends too early")))?;
        self.rest = &self.rest[values.byte_offset()..];
        Ok(value)
    }

    /// The value that begins here, as it is written.
    fn skip(&mut self) -> Result<&'a [u8]> {
        self.rest = self.rest.trim_ascii_start();
        let before = self.rest;
        self.value::<IgnoredAny>()?;
        Ok(&before[..before.len() - self.rest.len()])
    }

    /// Whether this mark comes next; then it is read.
    fn goes_on_with(&mut self, mark: u8) -> bool {
        match self.rest.trim_ascii_start() {
            [next, rest @ ..] if *next == mark => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    fn expect(&mut self, mark: u8) -> Result<()> {
        if self.goes_on_with(mark) {
            return Ok(());
        }
        Err(Error::custom(format_args!("`{}` is missing", char::from(mark))))
    }
}

/// An object without its `metadata.managedFields`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Lean(pub(super) Value);

impl<'de> Deserialize<'de> for Lean {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        Fields::OfTheObject.deserialize(deserializer).map(Self)
    }
}

/// Whose fields are read.
#[derive(Debug, Clone, Copy)]
enum Fields {
    OfTheObject,
    OfItsMetadata,
}

impl<'de> DeserializeSeed<'de> for Fields {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> std::result::Result<Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Fields {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Fields::OfTheObject => "an object",
            Fields::OfItsMetadata => "the metadata of an object",
        })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Value, A::Error> {
        let mut fields = Map::new();
        while let Some(field) = map.next_key::<String>()? {
            let value = match (self, field.as_str()) {
                (Fields::OfTheObject, "metadata") => map.next_value_seed(Fields::OfItsMetadata)?,
                (Fields::OfItsMetadata, "managedFields") => {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
                _ => map.next_value()?,
            };
            fields.insert(field, value);
        }
        Ok(Value::Object(fields))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn objects(page: &Value) -> Vec<Option<Value>> {
        let body = page.to_string();
        let page = Page::read(body.as_bytes()).unwrap();
        page.objects().map(|object| object.ok().map(|Lean(object)| object)).collect()
    }

    #[test]
    fn of_an_object_everything_is_read_but_its_managed_fields() {
        let other = json!({"managedFields": 1, "metadata": {"managedFields": 2}});
        let full = json!({"kind": "K", "metadata": {"name": "a", "managedFields": [{"manager": "m"}]}, "spec": other});
        let lean = json!({"kind": "K", "metadata": {"name": "a"}, "spec": other});
        assert_eq!(objects(&json!({"items": [full, {}]})), [Some(lean), Some(json!({}))]);
    }

    #[test]
    fn no_key_makes_a_value_another_one() {
        for key in ["$serde_json::private::RawValue", "$serde_json::private::Number"] {
            let text = format!(r#"{{"items": [{{"labels": {{"{key}": "7"}}}}]}}"#);
            let page = Page::read(text.as_bytes()).unwrap();
            let Lean(object) = page.objects().next().unwrap().unwrap();
            assert_eq!(object["labels"][key], "7");
        }
    }

    #[test]
    fn what_is_no_object_spoils_no_other() {
        let page = json!({"items": [1, {"metadata": null}, {"metadata": {}}]});
        assert_eq!(objects(&page), [None, None, Some(json!({"metadata": {}}))]);
    }

    #[test]
    fn a_list_tells_its_kind_its_version_and_where_it_goes_on() {
        let page = br#"{"kind": "L", "metadata": {"resourceVersion": "7", "continue": "c"}, "items": null}"#;
        let page = Page::read(page).unwrap();
        assert_eq!((page.kind(), page.version(), page.next()), ("L", "7", "c"));
        assert_eq!(page.objects().count(), 0);
        let bare = Page::read(br#"{"items": []}"#).unwrap();
        assert_eq!((bare.kind(), bare.version(), bare.next()), ("", "", ""));
    }

    #[test]
    fn what_has_no_items_is_no_list() {
        for text in
            ["{}", "[]", "null", "<html>", r#"{"items": {}}"#, r#"{"items": [{]}"#, r#"{"items": [{}"#]
        {
            assert!(Page::read(text.as_bytes()).is_err(), "{text}");
        }
    }
}
