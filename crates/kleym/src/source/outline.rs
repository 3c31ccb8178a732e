//! Where the fields of a document stand in its text. Documents are parsed again for this, only when a finding needs it:
//! most never do.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use kleym_core::report::{FieldPath, Step};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Location, Spanned};

use super::parse::{Key, yaml};
use super::{Document, FileId, Files, Spot};

/// How many outlines are kept: an outline takes far more memory than its text, and findings come in the order of documents.
const MOST: usize = 256;

/// The outlines that were needed last.
#[derive(Debug, Default)]
pub(crate) struct Outlines(BTreeMap<(FileId, usize), Vec<Node>>);

impl Outlines {
    /// Where a field of a document stands; where it has no such field, the nearest one around it.
    pub(crate) fn spot(
        &mut self,
        files: &Files,
        file: FileId,
        stretch: &Range<usize>,
        index: usize,
        path: &FieldPath,
    ) -> Spot {
        let text = &files.get(file).text[stretch.clone()];
        // JSON is YAML as well; should a text be the one and not the other, its first character has to do.
        if self.0.len() >= MOST {
            self.0.clear();
        }
        let nodes = self.0.entry((file, stretch.start)).or_insert_with(|| yaml(text).unwrap_or_default());
        let blank = text.len() - text.trim_start().len();
        let range = match nodes.get(index) {
            Some(node) => node.find(path).unwrap_or(blank..blank + 1),
            None => blank..blank + 1,
        };
        let range = range.start.min(text.len())..range.end.min(text.len());
        Spot { file, range: range.start + stretch.start..range.end + stretch.start }
    }
}

impl Document {
    /// Where it begins, behind its marker and comments. Asks no outline: what is no object may be anything, and large.
    pub(crate) fn beginning(&self, files: &Files) -> Spot {
        let text = &files.get(self.file).text[self.stretch.clone()];
        let mut start = 0;
        for line in text.split_inclusive('\n') {
            let rest = line.strip_prefix("---").unwrap_or(line);
            let rest = rest.trim_start();
            if !rest.is_empty() && !rest.starts_with('#') {
                start += line.len() - rest.len();
                break;
            }
            start += line.len();
        }
        let length = text[start..].chars().next().map_or(0, char::len_utf8);
        let start = self.stretch.start + start;
        Spot { file: self.file, range: start..start + length }
    }

    /// Where a field stands.
    pub(crate) fn spot(&self, outlines: &mut Outlines, files: &Files, path: &FieldPath) -> Spot {
        outlines.spot(files, self.file, &self.stretch, self.index, path)
    }
}

/// A value's place and those of what is in it.
#[derive(Debug)]
struct Node {
    range: Option<Range<usize>>,
    inside: Inside,
}

#[derive(Debug)]
enum Inside {
    Scalar,
    List(Vec<Node>),
    Fields(Vec<(Spanned<Key>, Node)>),
}

impl Node {
    /// The extent of the value that the path leads to. A value with others in it has none that could be shown in a line,
    /// so its key is shown instead.
    fn find(&self, path: &FieldPath) -> Option<Range<usize>> {
        let mut node = self;
        let mut best = self.first_key().or_else(|| self.range.clone());
        for step in path.steps() {
            let (next, own) = match (step, &node.inside) {
                (Step::Field(name), Inside::Fields(fields)) => {
                    let Some((key, value)) = fields.iter().find(|(key, _)| key.value.0 == **name) else {
                        break;
                    };
                    (value, range_of(&key.referenced))
                }
                (Step::Key(name), Inside::Fields(fields)) => {
                    let Some((key, _)) = fields.iter().find(|(key, _)| key.value.0 == **name) else { break };
                    return range_of(&key.referenced).or(best);
                }
                (Step::Item(index), Inside::List(items)) => {
                    let Some(item) = items.get(*index) else { break };
                    (item, item.first_key())
                }
                _ => break,
            };
            node = next;
            best = match node.inside {
                Inside::Scalar => node.range.clone().filter(|range| !range.is_empty()).or(own),
                Inside::List(_) | Inside::Fields(_) => own.or_else(|| node.range.clone()),
            }
            .or(best);
        }
        best
    }

    fn first_key(&self) -> Option<Range<usize>> {
        match &self.inside {
            Inside::Fields(fields) => range_of(&fields.first()?.0.referenced),
            Inside::Scalar | Inside::List(_) => None,
        }
    }
}

fn range_of(location: &Location) -> Option<Range<usize>> {
    let start = usize::try_from(location.span().byte_offset()?).ok()?;
    let length = usize::try_from(location.span().byte_len()?).ok()?;
    Some(start..start.checked_add(length)?)
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Inside>::deserialize(deserializer)?;
        Ok(Self { range: range_of(&spanned.referenced), inside: spanned.value })
    }
}

impl<'de> Deserialize<'de> for Inside {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(InsideVisitor)
    }
}

struct InsideVisitor;

impl<'de> Visitor<'de> for InsideVisitor {
    type Value = Inside;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<Inside, E> {
        Ok(Inside::Scalar)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Inside, E> {
        Ok(Inside::Scalar)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Inside, E> {
        Ok(Inside::Scalar)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Inside, E> {
        Ok(Inside::Scalar)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Inside, E> {
        Ok(Inside::Scalar)
    }

    fn visit_str<E>(self, _: &str) -> Result<Inside, E> {
        Ok(Inside::Scalar)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Inside, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Inside::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Inside, A::Error> {
        let mut fields = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            fields.push(entry);
        }
        Ok(Inside::Fields(fields))
    }
}
