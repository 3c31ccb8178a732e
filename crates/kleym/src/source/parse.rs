//! Text to JSON values: YAML 1.1 as kubectl reads it, or JSON, one value at a time. Everything that could be read in two
//! ways (duplicate keys) or that grows out of proportion (aliases, nesting) is an error with its place.

use std::cell::Cell;
use std::fmt;
use std::ops::Range;

use kleym_core::text::Quoted;
use serde::de::{Deserialize, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use serde_saphyr::budget::BudgetBreach;
use serde_saphyr::{DefaultMessageFormatter, Error, MessageFormatter};

use super::split::stretches;
use super::{File, FileId, MAX_FILE_BYTES};

/// How deep values may be nested; the same for YAML and JSON.
const MAX_DEPTH: usize = 128;
/// How many values the aliases of one document may stand for.
const MAX_ALIASED: usize = 100_000;
/// How much may stand in one document: a value counts once, an entry of a mapping twice, a mapping itself six times, as
/// much as they take in memory. Enough for a list of ten thousand objects.
const MAX_WEIGHT: usize = 1_500_000;
/// How many documents may stand in one file.
const MAX_DOCUMENTS: usize = 400_000;

thread_local! {
    /// The weight of the document that is being parsed: serde hands no state down to the values of a document.
    static WEIGHT: Cell<usize> = const { Cell::new(0) };
}

/// Counts something of a document.
fn weigh<E: serde::de::Error>(weight: usize) -> Result<(), E> {
    let all = WEIGHT.get() + weight;
    WEIGHT.set(all);
    if all > MAX_WEIGHT { Err(E::custom(TOO_MANY)) } else { Ok(()) }
}

const TOO_MANY: &str = "more values stand in the document than can be read";

/// One value that stands in a file.
#[derive(Debug)]
pub(crate) struct Document {
    /// In which file.
    pub(crate) file: FileId,
    /// The text it was parsed from, in bytes; other documents may stand in it too.
    pub(crate) stretch: Range<usize>,
    /// Which of the documents in that text, from 0.
    pub(crate) index: usize,
    /// The value.
    pub(crate) value: Value,
}

/// Why text cannot be parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    /// What is wrong.
    pub(crate) message: String,
    /// What to do, where that is not said already.
    pub(crate) hint: Option<String>,
    /// Where, in bytes of the file.
    pub(crate) range: Range<usize>,
}

impl Problem {
    fn at(mut self, start: usize) -> Self {
        self.range = self.range.start + start..self.range.end + start;
        self
    }
}

/// Parses a file: hands on every document that can be read, one at a time, and answers why the others cannot.
pub(crate) fn documents(id: FileId, file: &File, mut each: impl FnMut(Document)) -> Vec<Problem> {
    if let Some(problem) = &file.problem {
        return vec![problem.clone()];
    }
    let text = file.text.as_str();
    let document = |stretch, index, value| Document { file: id, stretch, index, value };
    // What looks like JSON at its beginning may still be YAML; nothing is handed on before that is clear.
    if text.trim_start().starts_with(['{', '[']) && (file.name.ends_with(".json") || is_json(text)) {
        return json(text, |range, value| each(document(range, 0, value))).err().into_iter().collect();
    }
    let mut problems = Vec::new();
    let stretches = stretches(text);
    if let Some(beyond) = stretches.get(MAX_DOCUMENTS) {
        let range = on_characters(text, beyond.start..beyond.start);
        return vec![too_many_documents(range)];
    }
    for stretch in stretches {
        WEIGHT.set(0);
        match yaml(&text[stretch.clone()]) {
            Ok(values) => {
                for (index, Strict(value)) in values.into_iter().enumerate() {
                    each(document(stretch.clone(), index, value));
                }
            }
            Err(problem) => problems.push(problem.at(stretch.start)),
        }
    }
    problems
}

/// Whether a text is JSON and nothing else; keeps nothing of it.
fn is_json(text: &str) -> bool {
    serde_json::Deserializer::from_str(text).into_iter::<IgnoredAny>().all(|value| value.is_ok())
}

fn too_many_documents(range: Range<usize>) -> Problem {
    let message = format!("the file holds more than {MAX_DOCUMENTS} documents");
    Problem { message, hint: Some("split it".to_owned()), range }
}

/// Every document of a YAML text; empty ones are left out.
pub(super) fn yaml<'de, T: Deserialize<'de>>(text: &'de str) -> Result<Vec<T>, Problem> {
    let options = serde_saphyr::options! {
        with_snippet: false,
        emit_comments: false,
        // `0123` is a number to kubectl, so it must not pass as a text here.
        legacy_octal_numbers: true,
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: MAX_ALIASED },
        // The size of the file bounds everything that is written out; what is not, is bounded here.
        budget: serde_saphyr::budget! {
            max_depth: MAX_DEPTH,
            flow_nesting_limit: MAX_DEPTH,
            max_events: 2 * MAX_FILE_BYTES,
            max_nodes: 2 * MAX_FILE_BYTES,
            max_documents: MAX_FILE_BYTES,
            max_total_scalar_bytes: 2 * MAX_FILE_BYTES,
            max_total_comment_bytes: 2 * MAX_FILE_BYTES,
            max_buffered_comment_events: MAX_FILE_BYTES,
        },
    };
    serde_saphyr::from_multiple_with_options(text, options).map_err(|error| yaml_problem(text, &error))
}

/// What the parser says of a text, in words of YAML and with its place.
pub(crate) fn yaml_problem(text: &str, error: &Error) -> Problem {
    let (message, hint) = yaml_words(error);
    let location = error.location().filter(|location| location.line() > 0);
    let start = location.map_or(0, |location| match location.span().byte_offset() {
        Some(offset) => usize::try_from(offset).unwrap_or(0).min(text.len()),
        None => offset_of(text, location.line(), location.column()),
    });
    let length = location.and_then(|location| location.span().byte_len()).unwrap_or(0);
    let end = start.saturating_add(usize::try_from(length).unwrap_or(0));
    let range = on_characters(text, start..end);
    let line = text[..range.end].rsplit('\n').next().unwrap_or_default();
    let hint = if line.contains("{{") { Some(TEMPLATE) } else { hint };
    Problem { message: format!("cannot be read as YAML: {message}"), hint: hint.map(str::to_owned), range }
}

/// What to do about braces that YAML takes for a mapping.
const TEMPLATE: &str =
    "quote what begins with `{{`; a chart's template is rendered first, as with `helm template`";

/// Errors in words of YAML, where the parser speaks of its own types and options.
fn yaml_words(error: &Error) -> (String, Option<&'static str>) {
    const TOO_MUCH: &str = "write it out without aliases, or split it";
    match error.without_snippet() {
        Error::AliasError { error, .. } => yaml_words(error),
        Error::DuplicateMappingKey { key: Some(key), .. } => {
            (format!("the key {} is written twice", Quoted(key)), Some("remove one of them"))
        }
        Error::DuplicateMappingKey { key: None, .. } => {
            ("a key is written twice".to_owned(), Some("remove one of them"))
        }
        Error::SerdeInvalidType { expected, .. } if expected == A_KEY => {
            ("a key is not a text".to_owned(), Some("quote it"))
        }
        Error::NonFiniteFloat { value, .. } => {
            (format!("{} is no number that JSON can hold", Quoted(value)), Some("quote it"))
        }
        Error::UnknownAnchor { .. } => ("the alias has no anchor in this document".to_owned(), None),
        Error::RecursiveReferencesRequireWeakTypes { .. } => ("the alias stands for itself".to_owned(), None),
        Error::AliasReplayLimitExceeded { .. }
        | Error::AliasReplayCounterOverflow { .. }
        | Error::AliasExpansionLimitExceeded { .. }
        | Error::AliasReplayStackDepthExceeded { .. } => {
            (format!("the aliases of the document stand for more than {MAX_ALIASED} values"), Some(TOO_MUCH))
        }
        Error::Budget { breach: BudgetBreach::Depth { .. }, .. } => (too_deep(), None),
        Error::Budget { .. } => {
            ("the document is too large or uses too many aliases".to_owned(), Some(TOO_MUCH))
        }
        other => {
            let words = DefaultMessageFormatter.format_message(other);
            if words.contains(TOO_DEEP) {
                return (too_deep(), None);
            }
            if words.contains(TOO_MANY) {
                return (TOO_MANY.to_owned(), Some("split it"));
            }
            let hint = words.contains("tab").then_some("indent with spaces");
            (plain(&words), hint)
        }
    }
}

/// How both parsers call it when their own limit is met first.
const TOO_DEEP: &str = "recursion limit exceeded";

fn too_deep() -> String {
    format!("the document is nested deeper than {MAX_DEPTH} levels")
}

/// The text of a dependency as it may go to a terminal: one line, without control characters.
fn plain(words: &str) -> String {
    words.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// The byte of a line and a column, both from 1, the column in characters.
fn offset_of(text: &str, line: u64, column: u64) -> usize {
    let index = |number: u64| usize::try_from(number.saturating_sub(1)).unwrap_or(usize::MAX);
    let start: usize = text.split_inclusive('\n').take(index(line)).map(str::len).sum();
    let line = text[start..].split_inclusive('\n').next().unwrap_or_default();
    start + line.char_indices().nth(index(column)).map_or(line.len(), |(at, _)| at)
}

/// Whole characters, at least one where there is one.
fn on_characters(text: &str, range: Range<usize>) -> Range<usize> {
    let boundary = |mut at: usize| {
        at = at.min(text.len());
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        at
    };
    let start = boundary(range.start);
    let end = boundary(range.end);
    let first = text[start..].chars().next().map_or(start, |c| start + c.len_utf8());
    start..end.max(first)
}

/// JSON values that stand one after another, each with the text it was read from.
fn json(text: &str, mut each: impl FnMut(Range<usize>, Value)) -> Result<(), Problem> {
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<Strict>();
    for _ in 0..=MAX_DOCUMENTS {
        let start = values.byte_offset();
        let blank = text[start..].len() - text[start..].trim_start().len();
        WEIGHT.set(0);
        match values.next() {
            None => return Ok(()),
            Some(Ok(Strict(value))) => each(start + blank..values.byte_offset(), value),
            Some(Err(error)) => return Err(json_problem(text, &error)),
        }
    }
    let at = values.byte_offset();
    Err(too_many_documents(on_characters(text, at..at)))
}

fn json_problem(text: &str, error: &serde_json::Error) -> Problem {
    let (line, column) = (error.line(), error.column());
    let suffix = format!(" at line {line} column {column}");
    let words = error.to_string();
    let words = plain(words.strip_suffix(&suffix).unwrap_or(&words));
    let words = if words == TOO_DEEP { too_deep() } else { words };
    // Columns are bytes here, and 0 stands before the first of them.
    let start: usize = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    let at = start + column.saturating_sub(1);
    let hint = (words == TOO_MANY).then(|| "split it".to_owned());
    let message = format!("cannot be read as JSON: {words}");
    Problem { message, hint, range: on_characters(text, at..at) }
}

/// The key of a mapping as kubectl makes it a JSON key: what YAML takes for a number or a truth value is written out as
/// such, so that `on` becomes `true` here as it does there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Key(pub(super) String);

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(KeyVisitor).map(Key)
    }
}

/// What is expected of a key, in the parser's error.
const A_KEY: &str = "a key";

struct KeyVisitor;

impl Visitor<'_> for KeyVisitor {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(A_KEY)
    }

    fn visit_bool<E>(self, value: bool) -> Result<String, E> {
        Ok(value.to_string())
    }

    fn visit_i64<E>(self, value: i64) -> Result<String, E> {
        Ok(value.to_string())
    }

    fn visit_u64<E>(self, value: u64) -> Result<String, E> {
        Ok(value.to_string())
    }

    fn visit_f64<E>(self, value: f64) -> Result<String, E> {
        Ok(value.to_string())
    }

    fn visit_str<E>(self, value: &str) -> Result<String, E> {
        Ok(value.to_owned())
    }

    fn visit_string<E>(self, value: String) -> Result<String, E> {
        Ok(value)
    }
}

/// A JSON value in which no object has a key twice.
struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        weigh(1)?;
        deserializer.deserialize_any(StrictVisitor).map(Strict)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Strict(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        weigh(5)?;
        while let Some(Key(key)) = entries.next_key()? {
            weigh(1)?;
            if object.contains_key(&key) {
                return Err(A::Error::custom(format_args!("the key {} is written twice", Quoted(&key))));
            }
            let Strict(value) = entries.next_value()?;
            object.insert(key, value);
        }
        Ok(Value::Object(object))
    }
}
