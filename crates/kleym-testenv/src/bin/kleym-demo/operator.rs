//! The operator as a child process: started with the demo's settings, its log in a file, ended by SIGTERM.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kleym_testenv::{Process, eventually, supervised};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// What the operator and `kleym render` are told alike.
pub(crate) const SETTINGS: [&str; 4] =
    ["--trust-domain", "example.org", "--clusterspiffeid-class-name", "spire-server-spire"];
/// The user that the operator is, so that its calls can be told from the demo's own.
pub(crate) const USER: &str = "kleym-operator";
/// A little longer than the operator gives calls that are under way.
const ENDED_WITHIN: Duration = Duration::from_secs(15);
/// How much of the log is shown when something went wrong.
const LAST_LINES: usize = 20;

/// The running operator; dropping it kills it.
pub(crate) struct Operator {
    process: Mutex<Process>,
    log: PathBuf,
}

impl Operator {
    /// Starts it.
    pub(crate) fn start(kubeconfig: &Path, folder: &Path) -> Result<Self> {
        let log = folder.join("kleym-operator.log");
        let file = File::create(&log).with_context(|| format!("cannot create `{}`", log.display()))?;
        let mut command = supervised(program("kleym-operator")?, None);
        without_settings(&mut command)
            .args(SETTINGS)
            .arg("--kubeconfig")
            .arg(kubeconfig)
            .args(["--health-probe-bind-address", "127.0.0.1:0"])
            .stdout(Stdio::null())
            .stderr(file);
        let process = Mutex::new(Process::start("kleym-operator", &mut command)?);
        Ok(Self { process, log })
    }

    /// Whether it says of itself that it is ready to work.
    pub(crate) async fn is_ready(&self) -> Result<()> {
        let log = std::fs::read_to_string(&self.log)?;
        let said = log.lines().find(|line| line.contains("health probes are answered"));
        let address = said.and_then(|line| line.split("address=").nth(1)).map(str::trim);
        let mut stream = TcpStream::connect(address.context("it has not started")?).await?;
        stream.write_all(b"GET /readyz HTTP/1.0\r\n\r\n").await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        let status = answer.lines().next().unwrap_or_default();
        ensure!(status.split(' ').nth(1) == Some("200"), "it answers `{answer}`");
        Ok(())
    }

    /// How it ended, if it did.
    pub(crate) fn ended(&self) -> Result<Option<ExitStatus>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner).ended()
    }

    /// The last lines of its log.
    pub(crate) fn last_words(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LAST_LINES)..].join("\n")
    }

    /// Asks it to end, and waits until it has.
    pub(crate) async fn stop(self) -> Result<()> {
        let id = self.process.lock().unwrap_or_else(PoisonError::into_inner).id();
        let told = Command::new("sh").args(["-c", r#"kill -TERM "$1""#, "sh", &id.to_string()]).status();
        ensure!(told.context("cannot run `sh`")?.success(), "cannot send SIGTERM to the operator");
        let status = eventually("the operator ends after SIGTERM", ENDED_WITHIN, || {
            let ended = self.ended();
            async move { ended?.context("it is still running") }
        })
        .await?;
        ensure!(status.success(), "the operator ended with {status} after SIGTERM");
        Ok(())
    }
}

/// A program that was built beside this one.
pub(crate) fn program(name: &str) -> Result<PathBuf> {
    let own = std::env::current_exe().context("cannot tell where this program lies")?;
    let path = own.with_file_name(name);
    ensure!(path.is_file(), "`{}` is missing; `make demo` builds it", path.display());
    Ok(path)
}

/// Keeps the caller's own settings of Kleym away from a child.
pub(crate) fn without_settings(command: &mut Command) -> &mut Command {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("KLEYM_") {
            command.env_remove(name);
        }
    }
    command
}
