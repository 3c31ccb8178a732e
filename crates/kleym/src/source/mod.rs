//! Where objects come from. Files: read whole, cut into documents, parsed, and located again for findings; knows YAML and
//! JSON, and nothing of Kubernetes kinds. A cluster: [`cluster`].

pub(crate) mod cluster;
mod named;
mod outline;
mod parse;
mod read;
mod split;

use std::cell::OnceCell;
use std::ops::Range;
use std::path::PathBuf;

pub(crate) use self::named::is_stdin_named;
pub(crate) use self::outline::Outlines;
pub(crate) use self::parse::{Document, Problem, documents, yaml_problem};

/// The most bytes of one file: far more than any set of objects needs.
pub(crate) const MAX_FILE_BYTES: usize = 64 * 1024 * 1024;

/// One file.
#[derive(Debug, Clone)]
pub(crate) struct File {
    /// What it is called in messages.
    pub(crate) name: String,
    /// Where it is; nowhere when it is standard input.
    pub(crate) path: Option<PathBuf>,
    /// What stands in it; empty when that could not be used.
    pub(crate) text: String,
    /// Why it could not be used.
    pub(crate) problem: Option<Problem>,
    /// Whether it was left alone because of its name.
    skipped: bool,
    lines: OnceCell<Vec<usize>>,
}

/// Which file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct FileId(pub(crate) usize);

/// All files, in the order in which they were read.
#[derive(Debug, Default, Clone)]
pub(crate) struct Files(Vec<File>);

/// Some text of a file, in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Spot {
    /// Which file.
    pub(crate) file: FileId,
    /// From where to where.
    pub(crate) range: Range<usize>,
}

impl Files {
    /// Every file.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (FileId, &File)> {
        self.0.iter().enumerate().map(|(index, file)| (FileId(index), file))
    }

    /// That file.
    pub(crate) fn get(&self, id: FileId) -> &File {
        &self.0[id.0]
    }

    /// How many were read.
    pub(crate) fn len(&self) -> usize {
        self.0.iter().filter(|file| !file.skipped).count()
    }

    /// The files that were left alone because of their names.
    pub(crate) fn not_read(&self) -> impl Iterator<Item = (FileId, &str)> {
        self.iter().filter(|(_, file)| file.skipped).map(|(id, file)| (id, file.name.as_str()))
    }
}

impl File {
    /// A file with its text.
    fn new(name: String, text: String, problem: Option<Problem>) -> Self {
        Self { name, path: None, text, problem, skipped: false, lines: OnceCell::new() }
    }

    /// Line and column, both from 1, the column in characters.
    pub(crate) fn position(&self, offset: usize) -> (usize, usize) {
        let (line, extent) = self.line_of(offset);
        let before = self.text.get(extent.start..offset.clamp(extent.start, extent.end));
        (line, before.map_or(0, |text| text.chars().count()) + 1)
    }

    /// The number, from 1, and the extent of the line that holds a byte; the line's end is not part of it.
    pub(crate) fn line_of(&self, offset: usize) -> (usize, Range<usize>) {
        let starts = self.lines.get_or_init(|| {
            let after =
                self.text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
            std::iter::once(0).chain(after).collect()
        });
        let number = starts.partition_point(|start| *start <= offset).max(1);
        let start = starts[number - 1];
        let end = starts.get(number).map_or(self.text.len(), |next| next - 1);
        let end = if end > start && self.text.as_bytes()[end - 1] == b'\r' { end - 1 } else { end };
        (number, start..end)
    }
}
