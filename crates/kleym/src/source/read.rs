//! Paths to files: as kubectl reads `-f`. A folder is read for its .yaml, .yml and .json files, with `-R` its sub-folders
//! too; `-` is standard input; anything else is read whatever it is called.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use kleym_core::text::Quoted;

use super::named::expanded;
use super::{File, Files, MAX_FILE_BYTES, Problem};
use crate::exit::{Failure, in_words};

const EXTENSIONS: [&str; 3] = ["json", "yaml", "yml"];

impl Files {
    /// Reads every file that `-f` names, each once.
    ///
    /// # Errors
    /// Every path that cannot be read: an answer from half of the objects would be wrong.
    pub(crate) fn read(typed: &[PathBuf], recursive: bool) -> Result<Self, Failure> {
        let paths = expanded(typed).map_err(|problems| Failure::Unusable { problems, hint: None })?;
        let mut reader = Reader { recursive, files: Vec::new(), seen: BTreeSet::new(), problems: Vec::new() };
        paths.iter().for_each(|path| reader.path(path));
        reader.done()
    }
}

impl Files {
    /// Reads one file, whatever characters are in its name.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(super) fn one(path: &Path) -> Result<Self, Failure> {
        let mut reader =
            Reader { recursive: false, files: Vec::new(), seen: BTreeSet::new(), problems: Vec::new() };
        reader.file(path);
        reader.done()
    }

    /// One file with this content.
    #[cfg(fuzzing)]
    pub(crate) fn of_one(name: &str, content: &[u8]) -> Self {
        let mut reader =
            Reader { recursive: false, files: Vec::new(), seen: BTreeSet::new(), problems: Vec::new() };
        reader.take(name, None, content);
        Files(reader.files)
    }
}

struct Reader {
    recursive: bool,
    files: Vec<File>,
    seen: BTreeSet<PathBuf>,
    problems: Vec<String>,
}

impl Reader {
    fn done(self) -> Result<Files, Failure> {
        if self.problems.is_empty() {
            Ok(Files(self.files))
        } else {
            Err(Failure::Unusable { problems: self.problems, hint: None })
        }
    }

    fn path(&mut self, path: &Path) {
        if path == Path::new("-") {
            if self.seen.insert(path.to_owned()) {
                self.take("<stdin>", None, io::stdin().lock());
            }
            return;
        }
        match fs::metadata(path) {
            Err(error) => self.unreadable(path, &error),
            Ok(metadata) if metadata.is_dir() => {
                let problems = self.problems.len();
                if self.folder(path) == 0 && self.problems.len() == problems {
                    let more = match self.files.iter().any(|file| file.skipped) {
                        true => "; endings count only in lower case, as for kubectl",
                        false if self.recursive => "",
                        false => "; with -R its sub-folders are read too",
                    };
                    let path = shown(path);
                    self.problems.push(format!("folder {path} holds no .yaml, .yml or .json file{more}"));
                }
            }
            Ok(_) => self.file(path),
        }
    }

    /// The files of a folder by name, then its sub-folders. Links to files are followed, links to folders are not, so
    /// that no loop is walked. Answers how many files there were.
    fn folder(&mut self, path: &Path) -> usize {
        let entries = fs::read_dir(path).and_then(|entries| entries.collect::<Result<Vec<_>, _>>());
        let mut entries = match entries {
            Ok(entries) => entries,
            Err(error) => {
                self.unreadable(path, &error);
                return 0;
            }
        };
        entries.sort_by_key(fs::DirEntry::file_name);
        let mut folders = Vec::new();
        let mut files = 0;
        for entry in entries {
            let path = entry.path();
            match entry.file_type() {
                Err(error) => self.unreadable(&path, &error),
                Ok(kind) if kind.is_dir() => folders.push(path),
                Ok(_) if !is_manifest(&path) => self.skip(&path),
                Ok(kind) if kind.is_file() => {
                    files += 1;
                    self.file(&path);
                }
                // Pipes and devices that happen to have the right name are not read; a link that leads nowhere is told.
                Ok(_) => match fs::metadata(&path) {
                    Ok(target) if target.is_file() => {
                        files += 1;
                        self.file(&path);
                    }
                    Ok(_) => {}
                    Err(error) => self.unreadable(&path, &error),
                },
            }
        }
        if self.recursive {
            for folder in folders {
                files += self.folder(&folder);
            }
        }
        files
    }

    /// Leaves a file alone; one whose name says that it was not meant to be is told.
    fn skip(&mut self, path: &Path) {
        let ending = path.extension().and_then(|ending| ending.to_str()).map(str::to_ascii_lowercase);
        if ending.is_some_and(|ending| EXTENSIONS.contains(&ending.as_str())) {
            let name = path.display().to_string().chars().flat_map(printable).collect();
            let path = Some(path.to_owned());
            self.files.push(File { skipped: true, path, ..File::new(name, String::new(), None) });
        }
    }

    fn file(&mut self, path: &Path) {
        let same = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        if !self.seen.insert(same) {
            return;
        }
        match fs::File::open(path) {
            Ok(file) => self.take(&path.display().to_string(), Some(path), file),
            Err(error) => self.unreadable(path, &error),
        }
    }

    /// Takes what stands in a file. What cannot be used is kept with why, so that it becomes a finding.
    fn take(&mut self, name: &str, path: Option<&Path>, input: impl Read) {
        let name: String = name.chars().flat_map(printable).collect();
        let mut bytes = Vec::new();
        // One byte more than allowed tells a file that is too large, whatever its metadata says.
        if let Err(error) = input.take(MAX_FILE_BYTES as u64 + 1).read_to_end(&mut bytes) {
            self.problems.push(format!("{} cannot be read: {}", Quoted(&name), in_words(&error)));
            return;
        }
        let file = if bytes.len() > MAX_FILE_BYTES {
            let message = format!("the file is larger than {} MiB", MAX_FILE_BYTES / (1024 * 1024));
            let hint = Some("split it".to_owned());
            File::new(name, String::new(), Some(Problem { message, hint, range: 0..0 }))
        } else {
            match String::from_utf8(bytes) {
                // A byte order mark is no part of the text.
                Ok(text) => match text.strip_prefix('\u{feff}') {
                    Some(rest) => File::new(name, rest.to_owned(), None),
                    None => File::new(name, text, None),
                },
                Err(error) => not_utf_8(name, &error),
            }
        };
        self.files.push(File { path: path.map(Path::to_owned), ..file });
    }

    fn unreadable(&mut self, path: &Path, error: &io::Error) {
        let url =
            ["http://", "https://"].into_iter().any(|scheme| path.to_string_lossy().starts_with(scheme));
        let why = match url {
            true => "it is no file; fetch it, and give it to `-f -`".to_owned(),
            false => in_words(error),
        };
        self.problems.push(format!("{} cannot be read: {why}", shown(path)));
    }
}

/// A file with bytes that are no text. Up to the first of them the replaced text has the same offsets.
fn not_utf_8(name: String, error: &std::string::FromUtf8Error) -> File {
    let at = error.utf8_error().valid_up_to();
    let message = match error.as_bytes() {
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => "the file is UTF-16".to_owned(),
        bytes => format!("byte 0x{:02x} is not valid UTF-8", bytes[at]),
    };
    let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
    let range = at..at + char::REPLACEMENT_CHARACTER.len_utf8();
    let hint = Some("save the file as UTF-8".to_owned());
    File::new(name, text, Some(Problem { message, hint, range }))
}

fn is_manifest(path: &Path) -> bool {
    path.extension().and_then(|extension| extension.to_str()).is_some_and(|e| EXTENSIONS.contains(&e))
}

/// A path in a message.
fn shown(path: &Path) -> String {
    Quoted(&path.display().to_string()).to_string()
}

/// A character of a file name as it may go to a terminal.
fn printable(c: char) -> impl Iterator<Item = char> {
    let escaped = c.is_control().then(|| c.escape_default());
    let plain = escaped.is_none().then_some(c);
    escaped.into_iter().flatten().chain(plain)
}
