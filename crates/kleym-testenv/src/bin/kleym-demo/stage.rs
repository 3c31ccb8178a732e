//! Where the demo takes place: a control plane of its own with the definitions installed, the operator beside it, and
//! the questions that the acts ask of both.

use std::fmt::Display;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use kleym_testenv::{Audit, ControlPlane, Mark, Options, apply_manifests, eventually};
use kube::api::{ApiResource, DynamicObject, GroupVersionKind};
use kube::discovery::pinned_kind;
use kube::{Api, Client, ResourceExt};

use crate::operator::{Operator, SETTINGS, USER};
use crate::screen::Screen;

/// How long anything may take before the demo has failed.
const DEADLINE: Duration = Duration::from_secs(30);
/// The API server holds every create of a kind that was installed less than this ago, which would look as if the
/// operator were slow.
const FRESH: Duration = Duration::from_secs(2);
/// The verbs by which the cluster is changed.
const WRITES: [&str; 4] = ["create", "update", "patch", "delete"];
/// The stand-in that has no original: nobody ships this kind, so a cluster would not have it.
const NEVER_SHIPPED: &str = "inference.networking.k8s.io_inferenceobjectives.yaml";

/// Everything that runs.
pub(crate) struct Stage {
    // Dropped in this order: the operator, then what it talks to.
    operator: Operator,
    control_plane: ControlPlane,
    audit: Audit,
    client: Client,
    root: PathBuf,
    /// How to speak.
    pub(crate) screen: Screen,
    bindings: ApiResource,
    outputs: ApiResource,
}

impl Stage {
    /// Starts the control plane, installs the definitions and starts the operator.
    pub(crate) async fn set_up(screen: &Screen, root: PathBuf) -> Result<Self> {
        screen.heading("Kleym: who the pods behind an InferenceObjective are");
        let started = Instant::now();
        let control_plane = ControlPlane::start(Options::default()).await?;
        let client = control_plane.client()?;
        let took = started.elapsed().as_secs_f64();
        screen.pair(
            "control plane",
            &format!("etcd and kube-apiserver at {}, ready in {took:.1} s", control_plane.url()),
        );
        let mut definitions = apply_manifests(&client, &root.join("config/crd")).await?;
        for file in manifests(&root.join("config/standins"))? {
            if !file.ends_with(NEVER_SHIPPED) {
                definitions.extend(apply_manifests(&client, &file).await?);
            }
        }
        let installed = tokio::time::Instant::now();
        for (number, definition) in definitions.iter().enumerate() {
            screen.pair(if number == 0 { "definitions" } else { "" }, &definition.name_any());
        }
        let resource = async |group: &str, version: &str, kind: &str| -> Result<ApiResource> {
            let kind = GroupVersionKind::gvk(group, version, kind);
            Ok(pinned_kind(&client, &kind).await?.0)
        };
        let bindings = resource("kleym.sonda.red", "v1alpha1", "InferenceIdentityBinding").await?;
        let outputs = resource("spire.spiffe.io", "v1alpha1", "ClusterSPIFFEID").await?;
        // A user of its own, with every right for now, so that its calls can be counted.
        let kubeconfig = control_plane.kubeconfig_as(USER, &["system:masters"])?;
        screen.pair("operator", &format!("kleym-operator {}", SETTINGS.join(" ")));
        let started = Instant::now();
        let operator = Operator::start(&kubeconfig, control_plane.folder())?;
        let audit = control_plane.audit()?;
        let stage = Self { operator, control_plane, audit, client, root, screen: *screen, bindings, outputs };
        stage.until("the operator is ready", || stage.operator.is_ready()).await.inspect_err(|_| {
            stage.show_operator_log();
        })?;
        screen.pair("", &format!("ready after {}", after(started)));
        tokio::time::sleep_until(installed + FRESH).await;
        Ok(stage)
    }

    /// Ends the operator, then the control plane, whose folder goes with it.
    pub(crate) async fn take_down(self) -> Result<()> {
        let Self { operator, control_plane, screen, .. } = self;
        let stopped = operator.stop().await;
        drop(control_plane);
        stopped?;
        screen.gap();
        screen.quiet("The operator ended in order after SIGTERM; the control plane and its files are gone.");
        Ok(())
    }

    /// The checkout.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The environment's folder, with the logs.
    pub(crate) fn folder(&self) -> &Path {
        self.control_plane.folder()
    }

    /// The administrator's kubeconfig.
    pub(crate) fn kubeconfig(&self) -> Result<PathBuf> {
        self.control_plane.kubeconfig()
    }

    /// Prints the end of the operator's log on standard error.
    pub(crate) fn show_operator_log(&self) {
        eprintln!("\nthe operator's last words:\n{}\n", self.operator.last_words());
    }

    /// Applies the manifests of a folder of the checkout.
    pub(crate) async fn apply(&self, folder: &str) -> Result<Vec<DynamicObject>> {
        self.screen.quiet(&format!("$ kubectl apply -f {folder}"));
        apply_manifests(&self.client, &self.root.join(folder)).await
    }

    /// All bindings of a namespace.
    pub(crate) fn bindings(&self, namespace: &str) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), namespace, &self.bindings)
    }

    /// All outputs.
    pub(crate) fn outputs(&self) -> Api<DynamicObject> {
        Api::all_with(self.client.clone(), &self.outputs)
    }

    /// The objects of the kind and namespace of this one.
    pub(crate) async fn beside(&self, object: &DynamicObject) -> Result<Api<DynamicObject>> {
        let types = object.types.as_ref().context("an object without a kind")?;
        let (resource, _) = pinned_kind(&self.client, &GroupVersionKind::try_from(types)?).await?;
        let namespace = object.namespace().context("an object without a namespace")?;
        Ok(Api::namespaced_with(self.client.clone(), &namespace, &resource))
    }

    /// Waits until an attempt succeeds; ends at once when the operator does.
    pub(crate) async fn until<T, F, Fut>(&self, what: &str, attempt: F) -> Result<T>
    where
        F: Fn() -> Fut,
        Fut: Future<Output = Result<T>>,
    {
        eventually(what, DEADLINE, || async {
            if let Some(status) = self.operator.ended()? {
                return Ok(Err(anyhow!("the operator ended by itself with {status}")));
            }
            attempt().await.map(Ok)
        })
        .await?
    }

    /// Waits until an object is as it should be, and gives it.
    pub(crate) async fn until_is(
        &self,
        what: &str,
        api: &Api<DynamicObject>,
        name: &str,
        is_as_wanted: impl Fn(&DynamicObject) -> bool,
    ) -> Result<DynamicObject> {
        self.until(what, || async {
            let found = api.get(name).await?;
            let status = found.data.get("status").cloned().unwrap_or_default();
            ensure!(is_as_wanted(&found), "its status is {status}");
            Ok(found)
        })
        .await
    }

    /// Waits until there is no such object.
    pub(crate) async fn until_gone(&self, what: &str, api: &Api<DynamicObject>, name: &str) -> Result<()> {
        self.until(what, || async {
            let found = api.get_opt(name).await?;
            ensure!(found.is_none(), "it is still there");
            Ok(())
        })
        .await
    }

    /// A place in the audit log.
    pub(crate) async fn mark(&self) -> Result<Mark> {
        self.audit.mark().await
    }

    /// What the operator changed since then, counted: `create clusterspiffeids 2`.
    pub(crate) async fn writes_since(&self, mark: Mark) -> Result<String> {
        let calls = self.audit.calls_since(mark).await?;
        let mut counted: Vec<(String, usize)> = Vec::new();
        let own = calls.iter().filter(|call| call.user == USER && WRITES.contains(&call.verb.as_str()));
        for call in own {
            let target = call.target();
            let resource = target.split_once('/').map_or(target.as_str(), |(_, resource)| resource);
            let words = format!("{} {resource}", call.verb);
            match counted.iter_mut().find(|(known, _)| *known == words) {
                Some((_, count)) => *count += 1,
                None => counted.push((words, 1)),
            }
        }
        let words: Vec<String> = counted.iter().map(|(words, count)| format!("{words} ({count})")).collect();
        Ok(if words.is_empty() { "none".to_owned() } else { words.join(", ") })
    }
}

/// How long something took, for people.
pub(crate) fn after(started: Instant) -> impl Display {
    let millis = started.elapsed().as_millis();
    if millis < 1000 {
        format!("{millis} ms")
    } else {
        format!("{}.{} s", millis / 1000, millis % 1000 / 100)
    }
}

/// The files of a folder, by name.
fn manifests(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("cannot list `{}`", folder.display()))?;
    let mut files: Vec<PathBuf> = entries.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    files.sort();
    Ok(files)
}
