//! One environment: an etcd and an API server of its own, with users, RBAC and an audit log.
//!
//! The two talk over a Unix socket in the environment's folder; only the API server listens on a port, on
//! loopback. Nothing here touches a cluster or a kubeconfig that was there before.

use std::fs::{self, DirBuilder, File};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{ListParams, ObjectMeta, PostParams};
use kube::config::AuthInfo;
use kube::{Api, Client, Config};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::OnceCell;

use crate::assets::Assets;
use crate::audit::{Audit, AuditLevel, Recorder};
use crate::certificates::{Authority, UserFiles};
use crate::eventually::eventually;
use crate::process::{Process, supervised};

/// The name of the user behind [`ControlPlane::client`].
const ADMIN: &str = "admin";
const ADMIN_GROUP: &str = "system:masters";
/// A Unix socket in etcd's words: a host and a port that together are the name of the file.
const ETCD_SOCKET: &str = "etcd.sock:0";
const STARTED_WITHIN: Duration = Duration::from_secs(60);
const PORT_ATTEMPTS: usize = 10;
/// Below the range from which the kernel picks the ports of outgoing connections, so that nobody's connection
/// takes the port while the API server is stopped.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// How an environment is made.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// How much the audit log holds of each call.
    pub audit_level: AuditLevel,
    /// Further flags for `kube-apiserver`; where one is given twice, the last wins.
    pub apiserver_flags: Vec<String>,
    /// The environment's folder, which is kept, and may hold the etcd data of an earlier environment. Without
    /// it, a folder that is removed at the end. Relative paths are taken from the working directory.
    pub folder: Option<PathBuf>,
}

/// A running environment. Dropping it ends both processes and removes the folder, unless one was given.
pub struct ControlPlane {
    // Dropped in this order: the API server, its etcd, then the folder.
    apiserver: Mutex<Option<Process>>,
    etcd: Mutex<Option<Process>>,
    recorder: Arc<Recorder>,
    authority: Authority,
    admin: UserFiles,
    assets: Assets,
    options: Options,
    port: u16,
    folder: Folder,
}

static SHARED: OnceCell<ControlPlane> = OnceCell::const_new();

impl ControlPlane {
    /// Starts an environment and waits until it is ready.
    pub async fn start(options: Options) -> Result<Self> {
        let assets = tokio::task::spawn_blocking(Assets::ensure).await??;
        let folder = Folder::create(options.folder.as_deref())?;
        let authority = Authority::create(&folder.path)?;
        let admin = authority.issue(ADMIN, &[ADMIN_GROUP])?;
        fs::write(folder.path.join("audit-policy.yaml"), options.audit_level.policy())?;
        let mut control_plane = Self {
            apiserver: Mutex::default(),
            etcd: Mutex::default(),
            recorder: Recorder::new(),
            authority,
            admin,
            assets,
            options,
            port: 0,
            folder,
        };
        control_plane.start_etcd().await?;
        for _ in 0..PORT_ATTEMPTS {
            control_plane.port = free_port()?;
            match control_plane.start_apiserver().await {
                Ok(()) => return Ok(control_plane),
                Err(error) if error.downcast_ref::<PortTaken>().is_some() => {}
                Err(error) => return Err(error),
            }
        }
        bail!("no free port for the API server after {PORT_ATTEMPTS} attempts")
    }

    /// The environment that all tests of one program share, started by whoever asks first; it ends with the
    /// program. Tests keep apart by [`ControlPlane::namespace`]. Its audit log has the bodies of requests.
    pub async fn shared() -> Result<&'static Self> {
        let options = || Options { audit_level: AuditLevel::Request, ..Options::default() };
        SHARED.get_or_try_init(|| Self::start(options())).await
    }

    /// A new client of user `admin` in the group `system:masters`. Like every client it belongs to the runtime
    /// it is made in, so each test asks for its own.
    pub fn client(&self) -> Result<Client> {
        Ok(Client::try_from(self.config()?)?)
    }

    /// A new client of another user, to whom RBAC applies. At most two groups besides `system:authenticated`.
    ///
    /// A service account is the user `system:serviceaccount:<namespace>:<name>` in the groups
    /// `system:serviceaccounts` and `system:serviceaccounts:<namespace>`.
    pub fn client_as(&self, user: &str, groups: &[&str]) -> Result<Client> {
        Ok(Client::try_from(self.config_as(user, groups)?)?)
    }

    /// The configuration behind [`ControlPlane::client`].
    pub fn config(&self) -> Result<Config> {
        self.config_of(&self.admin)
    }

    /// The configuration behind [`ControlPlane::client_as`].
    pub fn config_as(&self, user: &str, groups: &[&str]) -> Result<Config> {
        self.config_of(&self.authority.issue(user, groups)?)
    }

    fn config_of(&self, files: &UserFiles) -> Result<Config> {
        let mut config = Config::new(self.url().parse().context("the API server's URL")?);
        config.root_cert = Some(vec![self.authority.certificate()]);
        config.auth_info = AuthInfo {
            client_certificate: Some(files.certificate.to_string_lossy().into_owned()),
            client_key: Some(files.key.to_string_lossy().into_owned()),
            ..AuthInfo::default()
        };
        Ok(config)
    }

    /// Writes a kubeconfig for the administrator into the environment's folder.
    pub fn kubeconfig(&self) -> Result<PathBuf> {
        self.write_kubeconfig(ADMIN, &self.admin)
    }

    /// Writes a kubeconfig for another user, with a certificate of its own; see [`ControlPlane::client_as`].
    pub fn kubeconfig_as(&self, user: &str, groups: &[&str]) -> Result<PathBuf> {
        self.write_kubeconfig(user, &self.authority.issue(user, groups)?)
    }

    fn write_kubeconfig(&self, user: &str, files: &UserFiles) -> Result<PathBuf> {
        let name = "kleym-testenv";
        // Every JSON text is a YAML text.
        let content = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": name,
            "clusters": [{"name": name, "cluster": {
                "server": self.url(), "certificate-authority": self.folder.path.join("ca.crt"),
            }}],
            "users": [{"name": user, "user": {
                "client-certificate": files.certificate, "client-key": files.key,
            }}],
            "contexts": [{"name": name, "context": {"cluster": name, "user": user, "namespace": "default"}}],
        });
        fs::write(&files.kubeconfig, format!("{content:#}\n"))
            .with_context(|| format!("cannot write `{}`", files.kubeconfig.display()))?;
        Ok(files.kubeconfig.clone())
    }

    /// Where the API server listens, such as `https://127.0.0.1:23456`; the same over restarts.
    pub fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    /// The environment's folder: `ca.crt`, `audit.log`, `etcd.log`, `kube-apiserver.log`, `etcd/`.
    pub fn folder(&self) -> &Path {
        &self.folder.path
    }

    /// The programs in use.
    pub fn assets(&self) -> &Assets {
        &self.assets
    }

    /// The audit log, over all restarts of the API server.
    pub fn audit(&self) -> Result<Audit> {
        Ok(Audit::new(Arc::clone(&self.recorder), self.config()?))
    }

    /// Creates a namespace that nobody else has, named `<prefix>-<random>`.
    pub async fn namespace(&self, prefix: &str) -> Result<String> {
        let metadata = ObjectMeta { generate_name: Some(format!("{prefix}-")), ..ObjectMeta::default() };
        let namespace = Namespace { metadata, ..Namespace::default() };
        let created = Api::all(self.client()?).create(&PostParams::default(), &namespace).await?;
        created.metadata.name.context("a namespace was created without a name")
    }

    /// The process ids of etcd and the API server, as far as they run.
    pub fn process_ids(&self) -> Vec<u32> {
        let id = |process: &Mutex<Option<Process>>| lock(process).as_ref().map(Process::id);
        [id(&self.etcd), id(&self.apiserver)].into_iter().flatten().collect()
    }

    /// Kills the API server, as a crash would. Does nothing when it is stopped.
    pub fn stop_apiserver(&self) {
        lock(&self.apiserver).take();
    }

    /// Kills etcd, as a crash would; what it has acknowledged stays in the folder `etcd`.
    pub fn stop_etcd(&self) {
        lock(&self.etcd).take();
    }

    /// Starts etcd on the data it has, if it is stopped.
    pub async fn start_etcd(&self) -> Result<()> {
        let socket = self.folder.path.join(ETCD_SOCKET);
        {
            let mut etcd = lock(&self.etcd);
            if etcd.is_some() {
                return Ok(());
            }
            // A killed etcd leaves its socket behind.
            let _ = fs::remove_file(&socket);
            let url = format!("unix://{ETCD_SOCKET}");
            let mut command = supervised(self.assets.etcd(), self.folder.removed_at_end());
            command
                .args(["--name=kleym-testenv", "--data-dir=etcd", "--unsafe-no-fsync", "--log-level=warn"])
                .arg(format!("--listen-client-urls={url}"))
                .arg(format!("--advertise-client-urls={url}"))
                .args(["--listen-peer-urls=http://127.0.0.1:0", "--quota-backend-bytes=8589934592"])
                .current_dir(&self.folder.path)
                .stdout(Stdio::null())
                .stderr(self.folder.append("etcd.log")?);
            *etcd = Some(Process::start("etcd", &mut command)?);
        }
        let listening = eventually("etcd listens", STARTED_WITHIN, || async {
            if ended(&self.etcd)? {
                return Ok(false);
            }
            ensure!(socket.exists(), "its socket is not there yet");
            Ok(true)
        });
        self.explain("etcd.log", &self.etcd, listening.await).map(|_| ())
    }

    /// Has etcd forget what was before a revision. An API server does so every five minutes; one that runs may still know
    /// more, from its memory.
    pub async fn compact_etcd(&self, revision: u64) -> Result<()> {
        let body = json!({"revision": revision.to_string(), "physical": true}).to_string();
        let request = format!(
            "POST /v3/kv/compaction HTTP/1.1\r\nHost: etcd\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let socket = self.folder.path.join(ETCD_SOCKET);
        let mut stream = UnixStream::connect(socket).await.context("etcd cannot be reached")?;
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        ensure!(
            answer.starts_with("HTTP/1.1 200 "),
            "etcd does not forget what was before {revision}: {answer}"
        );
        Ok(())
    }

    /// Starts the API server on the port it had, if it is stopped, and waits until it is ready.
    pub async fn start_apiserver(&self) -> Result<()> {
        {
            let mut apiserver = lock(&self.apiserver);
            if apiserver.is_some() {
                return Ok(());
            }
            let mut process = Process::start("kube-apiserver", &mut self.apiserver_command()?)?;
            let events = process.take_stdout().context("`kube-apiserver` has no standard output")?;
            self.recorder.read(events, self.folder.append("audit.log")?)?;
            *apiserver = Some(process);
        }
        let client = self.client()?;
        let ready = eventually("the API server is ready", STARTED_WITHIN, || async {
            if ended(&self.apiserver)? {
                return Ok(false);
            }
            get_text(&client, "/readyz").await?;
            // The API server makes this one itself, soon after it is ready.
            Api::<Namespace>::all(client.clone()).get("default").await?;
            Ok::<_, anyhow::Error>(true)
        });
        self.explain("kube-apiserver.log", &self.apiserver, ready.await)
    }

    fn apiserver_command(&self) -> Result<std::process::Command> {
        let mut command = supervised(self.assets.apiserver(), self.folder.removed_at_end());
        command
            .arg(format!("--etcd-servers=unix://{ETCD_SOCKET}"))
            .args(["--bind-address=127.0.0.1", &format!("--secure-port={}", self.port)])
            .args(["--tls-cert-file=server.crt", "--tls-private-key-file=server.key"])
            .args(["--client-ca-file=ca.crt", "--authorization-mode=RBAC"])
            .args(["--service-account-issuer=https://kubernetes.default.svc"])
            .args(["--service-account-key-file=service-accounts.pub"])
            .args(["--service-account-signing-key-file=service-accounts.key"])
            // Nobody makes the accounts that this plugin would wait for.
            .args(["--disable-admission-plugins=ServiceAccount"])
            .args(["--audit-policy-file=audit-policy.yaml", "--audit-log-path=-"])
            .args(["--audit-log-mode=blocking"])
            // There is one API server and no traffic to be fair to; both would only cost time and calls.
            .args(["--endpoint-reconciler-type=none", "--enable-priority-and-fairness=false"])
            .args(["--service-cluster-ip-range=10.0.0.0/24", "--profiling=false"])
            .args(&self.options.apiserver_flags)
            .current_dir(&self.folder.path)
            .stdout(Stdio::piped())
            .stderr(self.folder.append("kube-apiserver.log")?);
        Ok(command)
    }

    /// Turns a start that did not succeed into an error that shows what the process said.
    fn explain(&self, log: &str, process: &Mutex<Option<Process>>, started: Result<bool>) -> Result<()> {
        let failure = match started {
            Ok(true) => return Ok(()),
            Ok(false) => anyhow!("the process ended at once"),
            Err(error) => error,
        };
        lock(process).take();
        let text = fs::read_to_string(self.folder.path.join(log)).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        let end = lines[lines.len().saturating_sub(20)..].join("\n");
        if end.contains("address already in use") {
            return Err(PortTaken.into());
        }
        Err(failure.context(format!("cannot start the control plane; `{log}` ends with:\n{end}")))
    }
}

/// Asks the API server for a path that is no resource.
pub(crate) async fn get_text(client: &Client, path: &str) -> Result<String> {
    let mut request = kube::core::Request::new(path).list(&ListParams::default())?;
    *request.uri_mut() = path.parse().with_context(|| format!("`{path}` is no path"))?;
    Ok(client.request_text(request).await?)
}

#[derive(Debug, thiserror::Error)]
#[error("the API server's port was taken by another process")]
struct PortTaken;

fn lock(process: &Mutex<Option<Process>>) -> std::sync::MutexGuard<'_, Option<Process>> {
    // A process is either there or not, whatever panicked meanwhile.
    process.lock().unwrap_or_else(PoisonError::into_inner)
}

fn ended(process: &Mutex<Option<Process>>) -> Result<bool> {
    match lock(process).as_mut() {
        Some(process) => Ok(process.ended()?.is_some()),
        None => Ok(true),
    }
}

/// A random number without a dependency: every `RandomState` has keys of its own.
fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// A port that was free a moment ago; whoever uses it has to expect that it no longer is.
fn free_port() -> Result<u16> {
    let count = u64::from(PORTS.end - PORTS.start);
    for _ in 0..PORT_ATTEMPTS * 10 {
        let offset = u16::try_from(random() % count).unwrap_or_default();
        let port = PORTS.start + offset;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no free port on loopback between {} and {}", PORTS.start, PORTS.end)
}

/// The environment's folder.
struct Folder {
    path: PathBuf,
    keep: bool,
}

impl Folder {
    fn create(given: Option<&Path>) -> Result<Self> {
        let path = match given {
            Some(path) => std::path::absolute(path)?,
            None => std::env::temp_dir().join(format!("kleym-testenv-{:016x}", random())),
        };
        DirBuilder::new()
            .recursive(given.is_some())
            .mode(0o700)
            .create(&path)
            .with_context(|| format!("cannot create `{}`", path.display()))?;
        Ok(Self { path, keep: given.is_some() })
    }

    fn removed_at_end(&self) -> Option<&Path> {
        (!self.keep).then_some(self.path.as_path())
    }

    fn append(&self, name: &str) -> Result<File> {
        let path = self.path.join(name);
        let file = File::options().create(true).append(true).open(&path);
        file.with_context(|| format!("cannot open `{}`", path.display()))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.keep
            && let Err(error) = fs::remove_dir_all(&self.path)
        {
            eprintln!("kleym-testenv: cannot remove `{}`: {error}", self.path.display());
        }
    }
}
