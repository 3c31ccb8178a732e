//! The two programs, `etcd` and `kube-apiserver`: where they come from.
//!
//! In this order: the folder that `KUBEBUILDER_ASSETS` names; the user's cache, one folder for each set of
//! versions; a build from the Go modules pinned in `tools/controlplane/`, when `go` is on the PATH; a download
//! whose SHA-512 is pinned here. Whatever had to be made is put into the cache in one rename, under a lock, so
//! any number of processes may ask at once and the work is done once. Nothing is ever written to the checkout.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::fs::{self, File, TryLockError};
use std::io::{BufRead, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use sha2::{Digest, Sha512};

use crate::process::{Process, supervised};

const GO_MODULES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tools/controlplane");
const GO_MOD: &str = include_str!("../../../tools/controlplane/go.mod");
const APISERVER_MODULE: &str = "k8s.io/kubernetes";
const ETCD_MODULE: &str = "go.etcd.io/etcd/server/v3";
const NAMES: [&str; 2] = ["etcd", "kube-apiserver"];
const PROGRESS_EVERY: Duration = Duration::from_secs(15);

/// The archives of the Kubernetes project for machines without Go. They hold the newest patch release that is
/// published in this form, which can be one behind the modules, and the etcd of that release.
const ARCHIVE_VERSION: &str = "v1.36.2";
const ARCHIVES: &str = "https://github.com/kubernetes-sigs/controller-tools/releases/download";
const ARCHIVE_SHA512: [(&str, &str); 4] = [
    (
        "linux-amd64",
        "ea743186c8a799f5cf8faf16969f86189d003cb7d130e0ac4b58789f1e5748dcf30ebe91c837a10d5ac415383da3e10b9e64d65785c938c23e739781cfb76f08",
    ),
    (
        "linux-arm64",
        "2d72ee985a8e262a3c57dc9f7f0fd891f6a8c7bf7ebaa2db6dc6d8eac8ae28181afe51c1f368b67756cdb40b10de9b205609e1726e5f27f7c6d824dd9c6649ac",
    ),
    (
        "darwin-amd64",
        "b4fe9f973cd1992e3880f8b230ed32c0c243b83371591e3e3315f4404df2cdbef8ee94eeb9bb245b7e5feb987d5c4a76c43e0877654ab73f00d7bbc2b9984514",
    ),
    (
        "darwin-arm64",
        "9278f9e5af556b2f1f2d139769c1f0d717c7b4426917fdebdba898bcb725a916e4910d6160886194ff9be9589ea7c5c32c2b8ae0754703874b7c8ba8ddfc41ce",
    ),
];

/// Where the programs came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The folder that `KUBEBUILDER_ASSETS` names; any version.
    Given,
    /// Built from the pinned Go modules, now or earlier.
    Built,
    /// The pinned archive, downloaded now or earlier.
    Downloaded,
}

/// A folder that holds `etcd` and `kube-apiserver`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assets {
    /// The folder.
    pub folder: PathBuf,
    /// Where its content came from.
    pub origin: Origin,
}

impl Assets {
    /// Finds the programs, making them first if need be. Takes minutes the first time, and says so on stderr.
    pub fn ensure() -> Result<Self> {
        if let Some(folder) = variable("KUBEBUILDER_ASSETS") {
            let folder = PathBuf::from(folder);
            let missing: Vec<_> = NAMES.into_iter().filter(|name| !folder.join(name).is_file()).collect();
            ensure!(
                missing.is_empty(),
                "`KUBEBUILDER_ASSETS` names `{}`, which has no `{}`; put it there or unset the variable",
                folder.display(),
                missing.join("` and no `")
            );
            return Ok(Self { folder, origin: Origin::Given });
        }
        let cache = cache_folder()?;
        let built = cache.join(format!(
            "kube-apiserver-{}-etcd-{}-{}",
            apiserver_version(),
            etcd_version(),
            platform()
        ));
        if complete(&built) {
            return Ok(Self { folder: built, origin: Origin::Built });
        }
        if let Some(go) = on_path("go") {
            made_once(&cache, &built, |scratch| build(&go, scratch))?;
            return Ok(Self { folder: built, origin: Origin::Built });
        }
        let downloaded = cache.join(format!("envtest-{ARCHIVE_VERSION}-{}", platform()));
        if !complete(&downloaded) {
            made_once(&cache, &downloaded, download)?;
        }
        Ok(Self { folder: downloaded, origin: Origin::Downloaded })
    }

    /// The path of `etcd`.
    pub fn etcd(&self) -> PathBuf {
        self.folder.join("etcd")
    }

    /// The path of `kube-apiserver`.
    pub fn apiserver(&self) -> PathBuf {
        self.folder.join("kube-apiserver")
    }
}

/// The Kubernetes version that the pinned modules build, such as `v1.36.3`.
pub fn apiserver_version() -> &'static str {
    pinned(APISERVER_MODULE)
}

/// The etcd version that the pinned modules build, such as `v3.6.16`.
pub fn etcd_version() -> &'static str {
    pinned(ETCD_MODULE)
}

/// The version that `go.mod` requires of a module: the one place where versions are written down.
fn pinned(module: &str) -> &'static str {
    let mut requirements = GO_MOD.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        (words.next() == Some(module)).then(|| words.next()).flatten()
    });
    requirements.next().expect("go.mod requires both modules, which a test checks")
}

fn variable(name: &str) -> Option<OsString> {
    env::var_os(name).filter(|value| !value.is_empty())
}

fn cache_folder() -> Result<PathBuf> {
    let base = match variable("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute()) {
        Some(base) => base,
        None => PathBuf::from(variable("HOME").context(
            "no folder for the control plane's programs: set `XDG_CACHE_HOME`, `HOME` or `KUBEBUILDER_ASSETS`",
        )?)
        .join(".cache"),
    };
    Ok(base.join("kleym/controlplane"))
}

/// The operating system and processor, in Go's words.
fn platform() -> String {
    let system = if env::consts::OS == "macos" { "darwin" } else { env::consts::OS };
    let processor = match env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    format!("{system}-{processor}")
}

fn complete(folder: &Path) -> bool {
    NAMES.iter().all(|name| folder.join(name).is_file())
}

fn on_path(program: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?).map(|folder| folder.join(program)).find(|path| path.is_file())
}

/// Speaks past the test harness, which would keep the words to itself until the test has failed.
fn say(words: &str) {
    // Nobody reads stderr: then nobody misses the words.
    let _ = writeln!(std::io::stderr(), "kleym-testenv: {words}");
}

/// Runs `make` in a scratch folder and renames that to `target`, unless another process already has.
fn made_once(cache: &Path, target: &Path, make: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    fs::create_dir_all(cache).with_context(|| format!("cannot create `{}`", cache.display()))?;
    let lock_path = cache.join("lock");
    let lock =
        File::create(&lock_path).with_context(|| format!("cannot create `{}`", lock_path.display()))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            say("another process is making the control plane's programs; waiting for it");
            lock.lock().with_context(|| format!("cannot lock `{}`", lock_path.display()))?;
        }
        Err(TryLockError::Error(error)) => {
            return Err(error).with_context(|| format!("cannot lock `{}`", lock_path.display()));
        }
    }
    if complete(target) {
        return Ok(());
    }
    // Only the holder of the lock has a scratch folder, so any other is what a killed process left.
    for entry in fs::read_dir(cache)?.flatten() {
        if entry.file_name().to_string_lossy().starts_with("scratch-") {
            fs::remove_dir_all(entry.path())
                .with_context(|| format!("cannot remove `{}`", entry.path().display()))?;
        }
    }
    let scratch = cache.join(format!("scratch-{}", std::process::id()));
    fs::create_dir(&scratch).with_context(|| format!("cannot create `{}`", scratch.display()))?;
    let made = make(&scratch).and_then(|()| {
        ensure!(complete(&scratch), "`{}` lacks a program after all", scratch.display());
        if target.exists() {
            fs::remove_dir_all(target)?;
        }
        fs::rename(&scratch, target).with_context(|| format!("cannot create `{}`", target.display()))
    });
    if made.is_err() {
        // The failure is the news; what is left over goes at the next attempt.
        let _ = fs::remove_dir_all(&scratch);
    } else {
        say(&format!("the control plane's programs are in `{}`", target.display()));
    }
    made
}

fn build(go: &Path, scratch: &Path) -> Result<()> {
    let (apiserver, etcd) = (apiserver_version(), etcd_version());
    say(&format!(
        "building kube-apiserver {apiserver} and etcd {etcd} with `{}`; about four minutes on two cores, once",
        go.display()
    ));
    let mut numbers = apiserver.trim_start_matches('v').split('.');
    let (major, minor) = (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default());
    let stamp = "-X k8s.io/component-base/version";
    let stamps = format!(
        "{stamp}.gitVersion={apiserver} {stamp}.gitMajor={major} {stamp}.gitMinor={minor} {stamp}.gitTreeState=clean"
    );
    build_one(go, scratch, "etcd", ETCD_MODULE, "")?;
    build_one(go, scratch, "kube-apiserver", &format!("{APISERVER_MODULE}/cmd/kube-apiserver"), &stamps)
}

fn build_one(go: &Path, scratch: &Path, name: &str, package: &str, stamps: &str) -> Result<()> {
    let mut command = supervised(go, None);
    command
        .args(["build", "-C", GO_MODULES, "-mod=readonly", "-trimpath", "-buildvcs=false", "-v"])
        .args(["-ldflags", &format!("-s -w {stamps}"), "-o"])
        .arg(scratch.join(name))
        .arg(package)
        .env("CGO_ENABLED", "0")
        .env("GOWORK", "off")
        .env_remove("GOOS")
        .env_remove("GOARCH")
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let started = Instant::now();
    let mut process = Process::start("go build", &mut command)?;
    let stderr = process.take_stderr().context("`go build` has no stderr")?;
    let (mut packages, mut complaints, mut said) = (0_usize, Vec::new(), started);
    for line in BufReader::new(stderr).lines() {
        let line = line.context("cannot read what `go build` says")?;
        // A package that was compiled is one word; everything that needs telling is more.
        if line.contains(' ') {
            complaints.push(line);
        } else {
            packages += 1;
        }
        if said.elapsed() >= PROGRESS_EVERY {
            said = Instant::now();
            say(&format!("building {name}: {packages} packages in {} s", started.elapsed().as_secs()));
        }
    }
    if process.wait()?.success() {
        say(&format!("built {name} in {} s", started.elapsed().as_secs()));
        return Ok(());
    }
    let last = complaints.len().saturating_sub(20);
    bail!("`go build {package}` failed in `{GO_MODULES}`:\n{}", complaints[last..].join("\n"))
}

fn download(scratch: &Path) -> Result<()> {
    let platform = platform();
    let Some((_, sha512)) = ARCHIVE_SHA512.iter().find(|(known, _)| *known == platform) else {
        bail!(
            "no control plane for `{platform}`: install Go to have it built, or set `KUBEBUILDER_ASSETS` to a \
             folder with `etcd` and `kube-apiserver`"
        );
    };
    let curl = on_path("curl").context(
        "no control plane: neither `go` (to build it) nor `curl` (to download it) is on the PATH; install one \
         of them, or set `KUBEBUILDER_ASSETS` to a folder with `etcd` and `kube-apiserver`",
    )?;
    let url = format!("{ARCHIVES}/envtest-{ARCHIVE_VERSION}/envtest-{ARCHIVE_VERSION}-{platform}.tar.gz");
    let archive = scratch.join("archive.tar.gz");
    say(&format!("`go` is not on the PATH; downloading {url}"));
    run(&curl, ["--fail", "--location", "--retry", "3", "--proto", "=https", &url, "--output"], &archive)?;
    unpack(&archive, sha512, scratch)?;
    Ok(fs::remove_file(&archive)?)
}

/// Unpacks the programs from an archive, whose content must have the SHA-512 given.
fn unpack(archive: &Path, sha512: &str, into: &Path) -> Result<()> {
    let content = fs::read(archive).with_context(|| format!("cannot read `{}`", archive.display()))?;
    let found = Sha512::digest(&content).iter().fold(String::new(), |mut text, byte| {
        // Writing to a `String` cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    });
    ensure!(
        found == sha512,
        "`{}` has the SHA-512 `{found}`, not `{sha512}`; it was not used",
        archive.display()
    );
    let tar = on_path("tar").context("cannot unpack the control plane: `tar` is not on the PATH")?;
    let into = into.as_os_str().to_owned();
    run(&tar, [OsStr::new("-C"), &into, OsStr::new("--strip-components=2"), OsStr::new("-xzf")], archive)
}

fn run<A: AsRef<OsStr>>(program: &Path, arguments: impl IntoIterator<Item = A>, file: &Path) -> Result<()> {
    let mut command = supervised(program, None);
    let status = Process::start("helper", command.args(arguments).arg(file))?.wait()?;
    ensure!(status.success(), "`{}` failed with {status}", program.display());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_versions_are_those_that_the_go_modules_pin() {
        assert_eq!((apiserver_version(), etcd_version()), ("v1.36.3", "v3.6.16"));
    }

    #[test]
    fn an_archive_is_unpacked_only_when_its_digest_is_the_pinned_one() {
        let folder = env::temp_dir().join(format!("kleym-testenv-unpack-{}", std::process::id()));
        let inner = folder.join("in/controller-tools/envtest");
        let out = folder.join("out");
        fs::create_dir_all(&inner).unwrap();
        fs::create_dir_all(&out).unwrap();
        for name in NAMES {
            fs::write(inner.join(name), name).unwrap();
        }
        let archive = folder.join("archive.tar.gz");
        let tar = on_path("tar").unwrap();
        let source = folder.join("in");
        run(
            &tar,
            [OsStr::new("-C"), source.as_os_str(), OsStr::new("controller-tools"), OsStr::new("-czf")],
            &archive,
        )
        .unwrap();

        let refusal = unpack(&archive, "00", &out).unwrap_err().to_string();
        assert!(refusal.ends_with("not `00`; it was not used"), "{refusal}");
        assert!(!complete(&out));

        let digest = refusal.split('`').nth(3).unwrap();
        unpack(&archive, digest, &out).unwrap();
        assert_eq!(NAMES.map(|name| fs::read_to_string(out.join(name)).unwrap()), NAMES);
        fs::remove_dir_all(folder).unwrap();
    }
}
