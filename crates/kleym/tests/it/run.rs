//! Runs the binary in a folder of its own and shows what it answered.

use std::fmt;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

/// A folder that one test has for itself.
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// An empty folder.
    pub(crate) fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}-{number}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// A folder with these files.
    pub(crate) fn with(files: &[(&str, &str)]) -> Self {
        let folder = Self::new();
        for (name, text) in files {
            folder.put(name, text.as_bytes());
        }
        folder
    }

    /// Puts a file into it.
    pub(crate) fn put(&self, name: &str, bytes: &[u8]) {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    /// Its path.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Runs `kleym` in it.
    pub(crate) fn kleym(&self, arguments: &str) -> Answer {
        self.run(arguments, &[], b"")
    }

    /// Runs `kleym` in it with variables and standard input.
    pub(crate) fn run(&self, arguments: &str, variables: &[(&str, &str)], input: &[u8]) -> Answer {
        run(&self.0, arguments, variables, input)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

/// Runs `kleym` at the root of the repository, where the examples are.
pub(crate) fn at_the_root(arguments: &str) -> Answer {
    run(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."), arguments, &[], b"")
}

/// The binary, with nothing of this process's environment.
pub(crate) fn command(folder: &Path, arguments: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kleym"));
    command.current_dir(folder).env_clear().args(arguments.split_whitespace());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn run(folder: &Path, arguments: &str, variables: &[(&str, &str)], input: &[u8]) -> Answer {
    let mut child = command(folder, arguments).envs(variables.iter().copied()).spawn().unwrap();
    // A program that does not read its input may be gone before it is written.
    drop(child.stdin.take().unwrap().write_all(input));
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    let variables: String = variables.iter().map(|(name, value)| format!("{name}={value:?} ")).collect();
    Answer {
        asked: format!("{variables}kleym {arguments}"),
        exit: status.code(),
        out: String::from_utf8(stdout).unwrap(),
        err: String::from_utf8(stderr).unwrap(),
    }
}

/// What the binary answered.
pub(crate) struct Answer {
    asked: String,
    /// The exit code; none when a signal ended it.
    pub(crate) exit: Option<i32>,
    /// stdout
    pub(crate) out: String,
    /// stderr
    pub(crate) err: String,
}

impl Answer {
    /// The same, with every text changed.
    pub(crate) fn masked(self, mask: &dyn Fn(&str) -> String) -> Self {
        let Self { asked, exit, out, err } = self;
        Self { asked: mask(&asked), exit, out: mask(&out), err: mask(&err) }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { asked, exit, out, err } = self;
        let exit = exit.map_or_else(|| "signal".to_owned(), |code| code.to_string());
        write!(f, "$ {asked}\n[exit {exit}]")?;
        for (name, text) in [("stdout", out), ("stderr", err)] {
            if !text.is_empty() {
                write!(f, "\n--- {name}\n{}", text.trim_end_matches('\n'))?;
            }
        }
        Ok(())
    }
}
