//! YAML text of generated files: long texts folded, whole numbers without a fraction, keys in the order in which the
//! value serialises. What is written is read back and compared, so no shape can change on the way.

use anyhow::{Context, ensure};
use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Serialize, Serializer};
use serde_json::{Number, Value};
use serde_saphyr::FoldStr;

/// Texts that are longer than this, and have a blank to break at, are folded.
const WIDTH: usize = 80;

/// One document with comment lines before it.
pub(crate) fn document(header: &[&str], value: &impl Serialize) -> anyhow::Result<String> {
    let mut value = serde_json::to_value(value)?;
    make_whole(&mut value);
    let mut text: String = header.iter().map(|line| format!("# {line}\n")).collect();
    text.push_str("---\n");
    // The serialiser ends folded texts with a line break that they do not have; `>-` takes it away.
    text.push_str(serde_saphyr::to_string(&Layout(&value))?.replace(" >\n", " >-\n").trim_end());
    text.push('\n');
    let read: Value = serde_saphyr::from_str(&text).context("the generated YAML cannot be read")?;
    ensure!(read == value, "the generated YAML does not say what it was made from");
    Ok(text)
}

/// Turns numbers such as `1.0`, which schemas hold as floating point, into `1`.
fn make_whole(value: &mut Value) {
    match value {
        Value::Number(number) => {
            // Far below the range where floating point skips whole numbers.
            if let Some(float) = number.as_f64().filter(|float| float.fract() == 0.0 && float.abs() < 1e15) {
                #[expect(clippy::cast_possible_truncation, reason = "it is whole and small")]
                let whole = float as i64;
                *number = Number::from(whole);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(make_whole),
        Value::Object(fields) => fields.values_mut().for_each(make_whole),
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}

/// A value with its long texts folded.
struct Layout<'a>(&'a Value);

impl Serialize for Layout<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::String(text) if text.len() > WIDTH && text.contains(' ') => {
                FoldStr(text).serialize(serializer)
            }
            Value::Array(items) => {
                let mut sequence = serializer.serialize_seq(Some(items.len()))?;
                for item in items {
                    sequence.serialize_element(&Layout(item))?;
                }
                sequence.end()
            }
            Value::Object(fields) => {
                let mut map = serializer.serialize_map(Some(fields.len()))?;
                for (key, value) in fields {
                    map.serialize_entry(key, &Layout(value))?;
                }
                map.end()
            }
            other => other.serialize(serializer),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_long_text_is_folded_and_stays_itself() {
        let long = "What: \"it\" is # for. ".repeat(6).trim_end().to_owned();
        let text =
            document(&["first", "second"], &json!({"minimum": -1.0, "long": [long], "yes": "no"})).unwrap();
        assert_eq!(
            text,
            "# first\n# second\n---\nminimum: -1\nlong:\n- >-\n  What: \"it\" is # for. What: \"it\" is # for. What: \
             \"it\" is # for. What: \"it\" is #\n  for. What: \"it\" is # for. What: \"it\" is # for.\n\"yes\": \"no\"\n"
        );
    }
}
