//! The real program as a child process: started with flags, asked how it is, stopped or killed.

use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, bail, ensure};
use kleym_testenv::{Process, eventually, supervised};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::SOON;

/// The program under test: this build's, or another that `KLEYM_TEST_OPERATOR` names, such as the released one.
pub(crate) fn program() -> OsString {
    std::env::var_os("KLEYM_TEST_OPERATOR").unwrap_or_else(|| env!("CARGO_BIN_EXE_kleym-operator").into())
}

/// What an operator says, while it says it.
pub(crate) type Log = Arc<Mutex<String>>;

/// A running operator. Dropping it kills it, as a crash would; when the test fails, its log is printed.
pub(crate) struct Operator {
    process: Mutex<Process>,
    log: Log,
    name: String,
}

impl Operator {
    /// Starts an operator of an instance, for one namespace or for all. A flag given here wins over the frame's own.
    pub(super) async fn start(
        kubeconfig: &Path,
        namespace: Option<&str>,
        instance: &str,
        flags: &[&str],
    ) -> Self {
        let mut command = supervised(program(), None);
        command.arg("--kubeconfig").arg(kubeconfig).args(flags);
        command.args(namespace.map(|namespace| format!("--watch-namespace={namespace}")));
        for (flag, value) in [
            ("--instance", instance),
            ("--health-probe-bind-address", "127.0.0.1:0"),
            ("--log-level", "info,kleym_operator=debug"),
        ] {
            let given = |one: &&str| one.split('=').next() == Some(flag);
            if !flags.iter().any(given) {
                command.args([flag, value]);
            }
        }
        without_settings(&mut command);
        Self::run(instance, &mut command)
    }

    /// Starts the operator by a command that [`supervised`] made; the name is for messages.
    pub(crate) fn run(name: &str, command: &mut Command) -> Self {
        let mut process = Process::start("kleym-operator", command.stderr(Stdio::piped())).unwrap();
        let lines = BufReader::new(process.take_stderr().unwrap()).lines();
        let log = Arc::new(Mutex::new(String::new()));
        let kept = Arc::clone(&log);
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let mut log = kept.lock().unwrap_or_else(PoisonError::into_inner);
                log.push_str(&line);
                log.push('\n');
            }
        });
        Self { process: Mutex::new(process), log, name: name.to_owned() }
    }

    /// What it says, also when it is gone.
    pub(super) fn words(&self) -> Log {
        Arc::clone(&self.log)
    }

    /// Everything it said so far.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The lines of its log that hold a text.
    pub(crate) fn said(&self, what: &str) -> Vec<String> {
        self.log().lines().filter(|line| line.contains(what)).map(str::to_owned).collect()
    }

    /// Waits until a line of its log holds a text.
    pub(crate) async fn says(&self, what: &str) {
        eventually(&format!("the operator says `{what}`"), SOON, || async {
            ensure!(!self.said(what).is_empty(), "it has not said so yet");
            Ok(())
        })
        .await
        .unwrap();
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.process.lock().unwrap().id()
    }

    fn ended(&self) -> anyhow::Result<Option<ExitStatus>> {
        self.process.lock().unwrap().ended()
    }

    /// Where its health probes are answered, once it has said so.
    pub(crate) async fn health_address(&self) -> SocketAddr {
        self.address("health probes are answered").await
    }

    /// The page of its metrics, where they are served without TLS.
    pub(crate) async fn metrics(&self) -> anyhow::Result<String> {
        let (code, page) = get(self.address("listening for metrics requests").await, "/metrics").await?;
        ensure!(code == 200, "{code}: {page}");
        Ok(page)
    }

    /// The address in a line of its log.
    async fn address(&self, line: &str) -> SocketAddr {
        let found = eventually("the operator says where it listens", SOON, || async {
            if let Some(status) = self.ended()? {
                bail!("it ended with {status}");
            }
            let said = self.said(line);
            let line = said.first().context("it has not said so yet")?;
            let (_, address) = line.split_once("address=").context("a line without an address")?;
            Ok(address.trim().parse()?)
        });
        found.await.unwrap()
    }

    /// Asks for a path of its health probes: the code and the body.
    pub(crate) async fn probe(&self, path: &str) -> (u16, String) {
        let address = self.health_address().await;
        let answer = get(address, path).await;
        answer.unwrap_or_else(|error| panic!("{path} was not answered: {error:#}"))
    }

    /// Waits until it is ready.
    pub(crate) async fn ready(&self) {
        let address = self.health_address().await;
        eventually("the operator is ready", SOON, || async {
            let (code, body) = get(address, "/readyz").await?;
            ensure!(code == 200, "{code}: {body}");
            Ok(())
        })
        .await
        .unwrap();
    }

    /// Sends a signal such as `TERM`.
    pub(crate) fn signal(&self, signal: &str) {
        let id = self.id().to_string();
        let sent = Command::new("kill").args([&format!("-{signal}"), &id]).status().unwrap();
        assert!(sent.success());
    }

    /// Waits until it ends by itself.
    pub(crate) async fn end(&self) -> ExitStatus {
        let ended =
            eventually("the operator ends", SOON, || async { self.ended()?.context("it is still running") });
        ended.await.unwrap()
    }

    /// Ends it as Kubernetes does, and expects that it ends well.
    pub(crate) async fn terminate(self) {
        self.signal("TERM");
        assert_eq!(self.end().await.code(), Some(0));
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- log of the operator `{}`:\n{}", self.name, self.log());
        }
    }
}

/// The test run's own environment must not decide anything.
fn without_settings(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("KLEYM_") || text == "KUBECONFIG" || text.starts_with("KUBERNETES_") {
            command.env_remove(&name);
        }
    }
}

/// Starts the program with flags and variables that must stop the start, and waits for its end.
pub(crate) fn refused_start(flags: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(program());
    without_settings(&mut command);
    command.args(flags).envs(variables.iter().copied()).stdin(Stdio::null());
    command.output().unwrap()
}

/// Starts the program with flags that must end it, where nobody reads what it says, and waits for its end.
pub(crate) fn unheard(flags: &[&str]) -> ExitStatus {
    let mut command = Command::new(program());
    without_settings(&mut command);
    let closed = || {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        writer
    };
    command.args(flags).stdin(Stdio::null()).stdout(closed()).stderr(closed()).status().unwrap()
}

/// Asks for a path by plain HTTP: the code and the body.
pub(crate) async fn get(address: SocketAddr, path: &str) -> anyhow::Result<(u16, String)> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let (head, body) = answer.split_once("\r\n\r\n").context("not an HTTP answer")?;
    let code = head.split_whitespace().nth(1).context("an answer without a code")?;
    Ok((code.parse()?, body.to_owned()))
}
