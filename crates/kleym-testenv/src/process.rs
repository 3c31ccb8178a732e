//! Child processes that cannot outlive us, however we end: return, panic, exit or SIGKILL.
//!
//! A child is started through a shell that becomes the program (`exec`), after leaving a watcher behind that
//! reads a pipe whose other end only we hold. When we are gone the kernel closes our end and the watcher
//! kills the child; when we end the child ourselves we tell the watcher so. The child gets a process group of
//! its own, so that Ctrl-C in a terminal reaches us only. This module never sends a signal to anything it did
//! not start.

use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

use anyhow::{Context, Result};

/// `$1` is a folder to remove after our death, or empty; the rest is the program with its arguments.
const WATCHER: &str = r#"
remove=$1; shift
exec 3<&0 </dev/null
(
  exec >/dev/null 2>&1
  if ! read -r told <&3; then
    kill -KILL $$
    if [ -n "$remove" ]; then rm -rf -- "$remove" || rm -rf -- "$remove"; fi
  fi
) &
exec 3<&-
exec "$@"
"#;

/// A command that runs `program` and dies with this process; add arguments to it, then [`Process::start`] it.
///
/// Its standard input is taken. When `remove` is given, that folder goes too if this process dies before it
/// has ended the child.
pub fn supervised(program: impl AsRef<OsStr>, remove: Option<&Path>) -> Command {
    let mut command = Command::new("/bin/sh");
    command
        .arg("-c")
        .arg(WATCHER)
        .arg("supervised")
        .arg(remove.map_or(OsStr::new(""), Path::as_os_str))
        .arg(program)
        .process_group(0);
    command
}

/// A running child; dropping it kills it and waits for its end.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
}

impl Process {
    /// Starts a command made by [`supervised`]; `name` is for messages.
    pub fn start(name: &str, command: &mut Command) -> Result<Self> {
        let child =
            command.stdin(Stdio::piped()).spawn().with_context(|| format!("cannot start `{name}`"))?;
        Ok(Self { name: name.to_owned(), child })
    }

    /// The name given at the start.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The process id of the program itself.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The child's standard output, if it was piped and nobody took it yet.
    pub fn take_stdout(&mut self) -> Option<std::process::ChildStdout> {
        self.child.stdout.take()
    }

    /// The child's standard error, if it was piped and nobody took it yet.
    pub fn take_stderr(&mut self) -> Option<std::process::ChildStderr> {
        self.child.stderr.take()
    }

    /// How the child ended, or `None` while it runs.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.child.try_wait().with_context(|| format!("cannot ask how `{}` is", self.name))
    }

    /// Waits until the child ends by itself.
    pub fn wait(&mut self) -> Result<ExitStatus> {
        // `Child::wait` would close the pipe first, which tells the watcher that we are gone.
        let pipe = self.child.stdin.take();
        let status = self.child.wait().with_context(|| format!("cannot wait for `{}`", self.name));
        self.child.stdin = pipe;
        status
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Neither can fail in a way that matters: a child that has ended already is what is wanted.
        let _ = self.child.kill();
        let _ = self.wait();
        if let Some(pipe) = &mut self.child.stdin {
            let _ = pipe.write_all(b"ended\n");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_sees_its_arguments_and_an_empty_standard_input() {
        let mut command = supervised("sh", None);
        command.args(["-c", r#"cat; printf '%s|' "$@""#, "x", "a b", "", "*"]).stdout(Stdio::piped());
        let mut process = Process::start("echo", &mut command).unwrap();
        let output = std::io::read_to_string(process.take_stdout().unwrap()).unwrap();
        assert_eq!((output.as_str(), process.wait().unwrap().code()), ("a b||*|", Some(0)));
    }

    #[test]
    fn a_dropped_child_is_gone() {
        let mut command = supervised("sh", None);
        command.args(["-c", "echo started; exec cat /dev/zero >/dev/null"]).stdout(Stdio::piped());
        let mut process = Process::start("busy", &mut command).unwrap();
        let output = process.take_stdout().unwrap();
        drop(process);
        // Nothing holds the other end any more, or this would wait for ever.
        let output = std::io::read_to_string(output).unwrap();
        assert!(output.is_empty() || output == "started\n", "{output:?}");
    }
}
