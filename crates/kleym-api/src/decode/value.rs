//! One JSON value at a time: is it there, is it of the type that the schema demands. A null is taken as absent, as the
//! API server takes it where a schema is not nullable.
//!
//! Never panics and never copies a value, but for the few characters of it that a message can show.

use kleym_core::fact::ValueProblem;
use serde_json::{Map, Value};

/// More characters than any message shows of a value (`kleym_core::text::Quoted`), so that a cut value reads the same.
const KEPT: usize = 128;

/// As much of a text as any message can show of it.
pub(super) fn excerpt(text: &str) -> Box<str> {
    match text.char_indices().nth(KEPT) {
        Some((end, _)) => text[..end].into(),
        None => text.into(),
    }
}

/// The JSON type of a value, in words.
pub(super) fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// The problem of a value that is not what was wanted.
pub(super) fn wrong_type(wanted: &'static str, value: &Value) -> ValueProblem {
    ValueProblem::WrongType { wanted, found: type_name(value) }
}

/// A value that may be absent; null is absence.
pub(super) fn optional(value: Option<&Value>) -> Option<&Value> {
    value.filter(|value| !value.is_null())
}

/// A value that must be there.
fn required(value: Option<&Value>) -> Result<&Value, ValueProblem> {
    optional(value).ok_or(ValueProblem::Missing)
}

/// A string that must be there.
pub(super) fn required_string(value: Option<&Value>) -> Result<&str, ValueProblem> {
    string(required(value)?)
}

/// A string that may be absent.
pub(super) fn optional_string(value: Option<&Value>) -> Result<Option<&str>, ValueProblem> {
    optional(value).map(string).transpose()
}

/// An object that must be there.
pub(super) fn required_object(value: Option<&Value>) -> Result<&Map<String, Value>, ValueProblem> {
    object(required(value)?)
}

/// An object that may be absent.
pub(super) fn optional_object(value: Option<&Value>) -> Result<Option<&Map<String, Value>>, ValueProblem> {
    optional(value).map(object).transpose()
}

/// A list that must be there.
pub(super) fn required_list(value: Option<&Value>) -> Result<&[Value], ValueProblem> {
    match required(value)? {
        Value::Array(items) => Ok(items),
        other => Err(wrong_type("a list", other)),
    }
}

/// This value, which must be a string.
pub(super) fn string(value: &Value) -> Result<&str, ValueProblem> {
    value.as_str().ok_or_else(|| wrong_type("a string", value))
}

fn object(value: &Value) -> Result<&Map<String, Value>, ValueProblem> {
    value.as_object().ok_or_else(|| wrong_type("an object", value))
}

/// A text of 1 to `max` characters, counted as the API server counts them: Unicode scalar values.
pub(super) fn within(text: &str, max: usize) -> Result<&str, ValueProblem> {
    match text.chars().count() {
        found if (1..=max).contains(&found) => Ok(text),
        found => Err(ValueProblem::Length { unit: "characters", min: 1, max, found }),
    }
}

/// The problem of a text that is not in a closed list.
pub(super) fn not_one_of(text: &str, allowed: &'static [&'static str]) -> ValueProblem {
    ValueProblem::NotOneOf { found: excerpt(text), allowed }
}

#[cfg(test)]
mod tests {
    use kleym_core::text::Quoted;

    use super::*;

    #[test]
    fn a_cut_value_reads_the_same_in_a_message() {
        for text in ["", "a", &"a".repeat(96), &"a".repeat(97), &"\u{1f600}".repeat(1_000_000)] {
            let cut = excerpt(text);
            assert_eq!(Quoted(&cut).to_string(), Quoted(text).to_string());
            assert!(cut.len() <= 4 * KEPT);
        }
    }
}
