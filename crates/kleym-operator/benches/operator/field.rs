//! A control plane of a figure's own, with every definition installed, and what is asked of it.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Namespace;
use kleym_api::resource::api_resource;
use kleym_api::{binding, standin};
use kleym_core::kind::Kind;
use kleym_core::name::{BindingKey, ObjectName, output_name};
use kleym_testenv::{Audit, Call, ControlPlane, Mark, Options, apply_yaml, eventually};
use kube::api::{DynamicObject, ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};

use crate::world::{Object, Operator, SOON, start};

/// The user behind every operator here.
const OPERATOR: &str = "operator";
/// The operator's instance.
pub(crate) const INSTANCE: &str = "bench";
const LEASES: &str = "coordination.k8s.io/leases";
/// How many objects are written at once where only the result matters.
const WRITES_AT_ONCE: usize = 48;
/// How long nothing must happen to believe that nothing more will.
const QUIET: Duration = Duration::from_millis(500);
/// How long anything here may take: machines differ.
pub(crate) const LONG: Duration = Duration::from_secs(600);

/// A control plane.
pub(crate) struct Field {
    /// A client of the administrator.
    pub(crate) client: Client,
    audit: Audit,
    kubeconfig: PathBuf,
    /// Ends with this, after everything above.
    _plane: ControlPlane,
}

/// What the operator asked for, leases apart.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    /// Creates, updates, patches and deletes, events apart.
    pub(crate) writes: Vec<Call>,
    /// Calls for events.
    pub(crate) events: usize,
    /// Everything else but watches.
    pub(crate) reads: Vec<Call>,
}

impl Asked {
    /// How many reads are about one object.
    pub(crate) fn reads_of_one(&self) -> usize {
        self.reads.iter().filter(|call| !call.name.is_empty() || call.uri.contains("fieldSelector")).count()
    }
}

impl Field {
    /// Starts one.
    pub(crate) async fn new() -> Result<Self> {
        let plane = ControlPlane::start(Options::default()).await?;
        let client = plane.client()?;
        let definitions: Vec<Value> = Kind::ALL
            .into_iter()
            .map(|kind| serde_json::to_value(standin::definition(kind).unwrap_or_else(binding::definition)))
            .collect::<Result<_, _>>()?;
        apply_yaml(&client, &json!({"kind": "List", "items": definitions}).to_string()).await?;
        // What it may do is the tests' matter.
        let kubeconfig = plane.kubeconfig_as(OPERATOR, &["system:masters"])?;
        let audit = plane.audit()?;
        Ok(Self { client, audit, kubeconfig, _plane: plane })
    }

    /// Starts an operator for all namespaces, and waits until it is ready.
    pub(crate) async fn operator(&self, flags: &[&str]) -> Result<Operator> {
        let operator = self.start(flags).await;
        eventually("the operator is ready", LONG, || async {
            let (code, body) = operator.probe("/readyz").await;
            ensure!(code == 200, "{body}");
            Ok(())
        })
        .await?;
        Ok(operator)
    }

    /// Starts an operator for all namespaces; it need not be ready yet.
    pub(crate) async fn start(&self, flags: &[&str]) -> Operator {
        let flags = [&["--log-level=info", "--metrics-bind-address=127.0.0.1:0"], flags].concat();
        start(&self.kubeconfig, None, INSTANCE, &flags).await
    }

    /// The objects of a kind in a namespace, or all of them.
    pub(crate) fn api(&self, kind: Kind, namespace: Option<&str>) -> Api<DynamicObject> {
        let resource = api_resource(kind);
        match namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &resource),
            None => Api::all_with(self.client.clone(), &resource),
        }
    }

    /// Creates namespaces, many at once.
    pub(crate) async fn namespaces(&self, names: impl IntoIterator<Item = String>) -> Result<()> {
        let api = Api::<Namespace>::all(self.client.clone());
        let create = |name: String| {
            let api = &api;
            async move {
                let metadata = ObjectMeta { name: Some(name), ..ObjectMeta::default() };
                let namespace = Namespace { metadata, ..Namespace::default() };
                api.create(&PostParams::default(), &namespace).await
            }
        };
        let created = stream::iter(names).map(create).buffer_unordered(WRITES_AT_ONCE);
        created.try_for_each(async |_| Ok(())).await.context("cannot create a namespace")
    }

    /// Creates an object.
    pub(crate) async fn create(&self, namespace: &str, object: Object) -> Result<Value> {
        let (kind, object) = object.into_dynamic();
        let created = self.api(kind, Some(namespace)).create(&PostParams::default(), &object).await;
        Ok(serde_json::to_value(created.with_context(|| format!("cannot create a {kind}"))?)?)
    }

    /// Creates objects, many at once; gives them in no order.
    pub(crate) async fn create_all(&self, objects: Vec<(String, Object)>) -> Result<Vec<Value>> {
        let created = stream::iter(objects)
            .map(async |(namespace, object)| self.create(&namespace, object).await)
            .buffer_unordered(WRITES_AT_ONCE);
        created.try_collect().await
    }

    /// Merge-patches an object.
    pub(crate) async fn edit(
        &self,
        kind: Kind,
        namespace: Option<&str>,
        name: &str,
        patch: &Value,
    ) -> Result<()> {
        let patched =
            self.api(kind, namespace).patch(name, &PatchParams::default(), &Patch::Merge(patch)).await;
        patched.map(|_| ()).with_context(|| format!("cannot edit the {kind} `{name}`"))
    }

    /// An object that must be there.
    pub(crate) async fn get(&self, kind: Kind, namespace: Option<&str>, name: &str) -> Result<Value> {
        Ok(serde_json::to_value(self.api(kind, namespace).get(name).await?)?)
    }

    /// Waits until a binding is Ready as it stands.
    pub(crate) async fn ready(&self, namespace: &str, name: &str) -> Result<Value> {
        let look = || async {
            let binding = self.get(Kind::Binding, Some(namespace), name).await?;
            let status = &binding["status"];
            ensure!(status["observedGeneration"] == binding["metadata"]["generation"], "{status}");
            ensure!(is_ready(&binding), "{status}");
            Ok(binding)
        };
        eventually(&format!("`{name}` is Ready"), LONG, look).await
    }

    /// Waits until a binding is refused as it stands.
    pub(crate) async fn refused(&self, namespace: &str, name: &str) -> Result<()> {
        let look = || async {
            let binding = self.get(Kind::Binding, Some(namespace), name).await?;
            let status = &binding["status"];
            ensure!(status["observedGeneration"] == binding["metadata"]["generation"], "{status}");
            ensure!(!is_ready(&binding), "{status}");
            Ok(())
        };
        eventually(&format!("`{name}` is refused"), LONG, look).await
    }

    /// Waits until a leader renews its lease.
    pub(crate) async fn renewed(&self) -> Result<()> {
        let renewal = |call: &Call| {
            call.user == OPERATOR && call.resource == LEASES && call.verb == "update" && call.code < 300
        };
        let mark = self.mark().await?;
        self.audit.wait_for("the lease is renewed", mark, SOON, |calls| calls.iter().any(renewal)).await?;
        Ok(())
    }

    /// This place in the audit log.
    pub(crate) async fn mark(&self) -> Result<Mark> {
        self.audit.mark().await
    }

    /// Waits until the operator has asked nothing for a while, events apart: of outputs that SPIRE leaves alone, as there
    /// is none here, it tells for a long time, some a second. Gives that place in the audit log.
    pub(crate) async fn at_rest(&self) -> Result<Mark> {
        self.audit.wait_until_quiet(QUIET, LONG, |call| counts(call) && !is_event(call)).await
    }

    /// What the operator asked for since then, once it is at rest.
    pub(crate) async fn asked(&self, since: Mark) -> Result<Asked> {
        self.at_rest().await?;
        let mut asked = Asked::default();
        for call in self.audit.calls_since(since).await?.into_iter().filter(counts) {
            match call.verb.as_str() {
                "watch" => {}
                _ if is_event(&call) => asked.events += 1,
                "get" | "list" => asked.reads.push(call),
                _ => asked.writes.push(call),
            }
        }
        Ok(asked)
    }

    /// Waits until so many writes of the operator to a resource were accepted since then. Answers when its first write of any
    /// resource came and when the last of these was answered.
    pub(crate) async fn written(
        &self,
        since: Mark,
        target: &str,
        number: usize,
    ) -> Result<(Timestamp, Timestamp)> {
        let (mut from, mut seen) = (since, 0);
        let (mut first, mut last) = (Timestamp::MAX, Timestamp::MIN);
        let began = Instant::now();
        while seen < number {
            ensure!(began.elapsed() < LONG, "only {seen} of {number} writes of {target} within {LONG:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
            for call in self.audit.next_since(&mut from) {
                if counts(&call) && !matches!(call.verb.as_str(), "get" | "list" | "watch") {
                    first = first.min(call.received);
                    if call.target() == target && call.code < 300 {
                        seen += 1;
                        last = last.max(call.answered);
                    }
                }
            }
        }
        Ok((first, last))
    }
}

/// Whether the operator made this call; its lease apart, which it renews at rest too.
fn counts(call: &Call) -> bool {
    call.user == OPERATOR && call.resource != LEASES
}

fn is_event(call: &Call) -> bool {
    call.resource == "events.k8s.io/events"
}

/// Whether a binding is Ready.
pub(crate) fn is_ready(binding: &Value) -> bool {
    let conditions = binding["status"]["conditions"].as_array();
    let ready = conditions.and_then(|all| all.iter().find(|condition| condition["type"] == "Ready"));
    ready.is_some_and(|condition| condition["status"] == "True")
}

/// The name of a binding's output.
pub(crate) fn output_of(namespace: &str, name: &str) -> Result<String> {
    let namespace =
        kleym_core::name::Namespace::parse(namespace).map_err(|_| anyhow::anyhow!("`{namespace}`"))?;
    let name = ObjectName::parse(name).map_err(|_| anyhow::anyhow!("`{name}`"))?;
    Ok(output_name(INSTANCE, &BindingKey::new(namespace, name)).to_string())
}
