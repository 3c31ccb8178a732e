//! Exit codes, and the one place that picks them.

use std::any::Any;
use std::io::{self, Write};
use std::panic::{self, AssertUnwindSafe};
use std::process::ExitCode;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Nothing to complain of.
    Fine = 0,
    /// What was compared differs; of `diff` alone.
    Differs = 1,
    /// There are error findings, or warnings with `--strict`.
    Findings = 2,
    /// What was named is not there.
    NotFound = 3,
    /// It was called wrongly, or what it needs cannot be read or written.
    Unusable = 4,
    /// A bug.
    Internal = 5,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}

/// Why a command could not be done.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It was called wrongly, or an input cannot be read: what, and what to do.
    Unusable {
        /// What is wrong; one line each.
        problems: Vec<String>,
        /// What to do.
        hint: Option<String>,
    },
    /// Its answer cannot be written.
    Output(io::Error),
    /// An invariant of its own is broken.
    Internal(String),
}

impl Failure {
    /// One thing that is wrong with the call.
    pub(crate) fn unusable(problem: impl Into<String>) -> Self {
        Failure::Unusable { problems: vec![problem.into()], hint: None }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Failure::Output(error)
    }
}

/// Runs a command; a failure is told on stderr, and a panic as the bug that it is.
pub(crate) fn guarded(command: impl FnOnce() -> Result<Exit, Failure>) -> Exit {
    // Where it happened is told below, with the rest; the default hook would print a trace first.
    panic::set_hook(Box::new(|place| {
        let place = place.location().map(ToString::to_string).unwrap_or_default();
        tell(&format!("internal error at {place}"));
    }));
    match panic::catch_unwind(AssertUnwindSafe(command)) {
        Ok(Ok(exit)) => exit,
        Ok(Err(failure)) => told(failure),
        Err(panic) => told(Failure::Internal(words(panic.as_ref()))),
    }
}

fn told(failure: Failure) -> Exit {
    match failure {
        // Whoever read our answer has seen enough.
        Failure::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Fine,
        Failure::Output(error) => {
            tell(&format!("error: the answer cannot be written: {}", in_words(&error)));
            Exit::Unusable
        }
        Failure::Unusable { problems, hint } => {
            for problem in problems {
                tell(&format!("error: {problem}"));
            }
            if let Some(hint) = hint {
                tell(&format!("  = help: {hint}"));
            }
            Exit::Unusable
        }
        Failure::Internal(what) => {
            tell(&format!("error: {what}"));
            let version = env!("CARGO_PKG_VERSION");
            tell(&format!("  = note: this is a bug in kleym {version}, please report it with what you ran"));
            Exit::Internal
        }
    }
}

/// An I/O error in words, without the number that std adds.
pub(crate) fn in_words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such file or folder".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => {
            let text = error.to_string();
            let text = text.split(" (os error").next().unwrap_or_default();
            let mut letters = text.chars();
            letters.next().map(|first| first.to_lowercase().chain(letters).collect()).unwrap_or_default()
        }
    }
}

/// A line on stderr; when even that is gone, nobody is listening.
fn tell(line: &str) {
    drop(writeln!(io::stderr(), "{line}"));
}

fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("it panicked").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_internal_error() {
        assert_eq!(guarded(|| panic!("an invariant is broken")), Exit::Internal);
    }

    #[test]
    fn a_broken_pipe_is_success_and_a_full_disk_is_not() {
        let fails = |kind: io::ErrorKind| guarded(move || Err(Failure::from(io::Error::from(kind))));
        assert_eq!(fails(io::ErrorKind::BrokenPipe), Exit::Fine);
        assert_eq!(fails(io::ErrorKind::StorageFull), Exit::Unusable);
    }
}
