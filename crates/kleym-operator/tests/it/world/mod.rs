//! One test's world: a namespace nobody else has, an operator for it alone, and everything a test asks of the two.
//!
//! Each world has an operator user, an instance name and a namespace of its own, so that tests share a control plane
//! without meeting, and the audit log tells their calls apart. Nothing in here waits for a fixed time.

mod calls;
mod checked;
pub(crate) mod checker;
mod history;
mod objects;
mod operator;
mod plane;
mod policy;
mod recorder;
mod report;
mod snapshot;

use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow, ensure};
use kleym_api::resource::api_resource;
use kleym_core::kind::Kind;
use kleym_core::name::{BindingKey, Namespace, ObjectName, output_name};
use kleym_core::settings::Settings;
use kleym_testenv::proxy::Proxy;
use kleym_testenv::{Audit, ControlPlane, eventually};
use kube::api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::Value;

pub(crate) use objects::{Object, objective, objective_of, per_objective, pool, pool_only, pool_x};
use operator::Log;
#[cfg(feature = "package")]
pub(crate) use operator::program;
pub(crate) use operator::{Operator, refused_start, unheard};
pub(crate) use plane::{Plane, definition, doom, install, install_as, permissive, remove, removed};
pub(crate) use report::{Kstatus, granted, ready, refused, resolved, status_of, text, undecided, waiting};

/// How long anything may take that is expected to happen: long, because the machine may be busy.
pub(crate) const SOON: Duration = Duration::from_secs(30);
/// How long nothing must happen for a test to believe that nothing more will.
pub(crate) const AT_REST: Duration = Duration::from_millis(400);

/// Kind InferencePool as GAIE ships it today.
pub(crate) const POOL: Kind = Kind::Pool(kleym_core::kind::PoolGroup::Inference);
/// Kind InferencePool of GAIE up to 1.4.
pub(crate) const POOL_X: Kind = Kind::Pool(kleym_core::kind::PoolGroup::InferenceX);
/// Kind InferenceObjective of llm-d.
pub(crate) const OBJECTIVE: Kind = Kind::Objective(kleym_core::kind::ObjectiveGroup::LlmD);
/// Kind InferenceObjective of GAIE up to 1.5.
pub(crate) const OBJECTIVE_X: Kind = Kind::Objective(kleym_core::kind::ObjectiveGroup::InferenceX);

/// One test's world.
pub(crate) struct World {
    /// A client of the administrator.
    pub(crate) client: Client,
    /// The namespace.
    pub(crate) namespace: String,
    /// The operator's instance name.
    pub(crate) instance: String,
    /// The operator's user.
    pub(crate) user: String,
    audit: Audit,
    began: kleym_testenv::Mark,
    /// Rules that the test breaks on purpose.
    excused: std::sync::Mutex<Vec<&'static str>>,
    /// Outputs that may overlap others for a moment, because a write of theirs lands late.
    displaced: std::sync::Mutex<Vec<String>>,
    /// The settings of each operator, and when it began.
    settings: Arc<std::sync::Mutex<Vec<(jiff::Timestamp, Settings)>>>,
    /// What the operators said, one after the other.
    logs: std::sync::Mutex<Vec<Log>>,
    /// Whether all that it did was checked already.
    checked: bool,
    // Last, so that it outlives everything above.
    plane: Plane,
}

impl World {
    /// A world on the control plane that all tests share, with every definition installed.
    pub(crate) async fn new(name: &str) -> Self {
        let plane = Plane::shared().await;
        let namespace = plane.namespace(name).await.unwrap();
        Self::of(plane, namespace).await
    }

    /// A world on the shared control plane whose namespace and instance have exactly these names.
    pub(crate) async fn named(namespace: &str, instance: &str) -> Self {
        let plane = Plane::shared().await;
        plane.namespace_named(namespace).await;
        let mut world = Self::of(plane, namespace.to_owned()).await;
        world.instance = instance.to_owned();
        world
    }

    /// A world on a control plane of its own, with these definitions installed and no others.
    pub(crate) async fn with_only(name: &str, kinds: &[Kind]) -> Self {
        let plane = Plane::own(kinds).await;
        let namespace = plane.namespace(name).await.unwrap();
        Self::of(plane, namespace).await
    }

    /// Another world on the same control plane, with an operator of its own.
    pub(crate) async fn beside(&self, name: &str) -> Self {
        let namespace = self.namespace(name).await.unwrap();
        Self::of(self.plane.clone(), namespace).await
    }

    async fn of(plane: Plane, namespace: String) -> Self {
        let (client, audit) = (plane.client().unwrap(), plane.audit().unwrap());
        let user = format!("operator-of-{namespace}");
        let began = audit.mark().await.unwrap();
        Self {
            client,
            instance: namespace.clone(),
            namespace,
            user,
            audit,
            began,
            excused: std::sync::Mutex::default(),
            displaced: std::sync::Mutex::default(),
            settings: Arc::default(),
            logs: std::sync::Mutex::default(),
            checked: false,
            plane,
        }
    }

    /// Starts an operator for this world and waits until it is ready.
    pub(crate) async fn operator(&self) -> Operator {
        self.operator_with(&[]).await
    }

    /// Starts an operator for this world with further flags and waits until it is ready.
    pub(crate) async fn operator_with(&self, flags: &[&str]) -> Operator {
        let operator = self.start_operator(flags).await;
        operator.ready().await;
        operator
    }

    /// Starts an operator for this world; it need not become ready.
    pub(crate) async fn start_operator(&self, flags: &[&str]) -> Operator {
        let kubeconfig = self.plane.operator_kubeconfig(&self.user);
        self.started(&kubeconfig, Some(&self.namespace), flags).await
    }

    /// Starts an operator for every namespace of the control plane, and waits until it is ready. Not for the shared
    /// control plane, where it would serve the bindings of other tests.
    pub(crate) async fn operator_everywhere(&self) -> Operator {
        assert!(self.plane.is_own());
        let kubeconfig = self.plane.operator_kubeconfig(&self.user);
        let operator = self.started(&kubeconfig, None, &[]).await;
        operator.ready().await;
        operator
    }

    /// Starts an operator for every namespace of the control plane with a kubeconfig and flags of the test's own, and waits
    /// until it is ready. Not for the shared control plane, where it would serve the bindings of other tests.
    pub(crate) async fn operator_of(&self, kubeconfig: &Path, flags: &[&str]) -> Operator {
        assert!(self.plane.is_own());
        let operator = self.started(kubeconfig, None, flags).await;
        operator.ready().await;
        operator
    }

    /// Another namespace, with the same operator's user and instance.
    pub(crate) async fn neighbour(&self, name: &str) -> Self {
        let mut world = self.beside(name).await;
        world.instance.clone_from(&self.instance);
        world.user.clone_from(&self.user);
        world.settings = Arc::clone(&self.settings);
        world
    }

    /// Starts an operator that has every right but these; it need not become ready.
    pub(crate) async fn start_operator_without(&self, resource: &str, verbs: &[&str]) -> Operator {
        self.revoke(resource, verbs).await;
        let kubeconfig = self.kubeconfig_as(&self.user, &[]).unwrap();
        self.started(&kubeconfig, Some(&self.namespace), &[]).await
    }

    /// Starts an operator that takes part in the leader election and may not touch its lease.
    pub(crate) async fn start_elector_without_lease(&self) -> Operator {
        self.plane.grant_all_but(&self.user, "", &[]).await;
        let kubeconfig = self.kubeconfig_as(&self.user, &[]).unwrap();
        self.started(&kubeconfig, Some(&self.namespace), &["--leader-elect"]).await
    }

    /// Starts an operator that takes part in the leader election and may do everything with its lease but this.
    pub(crate) async fn start_elector_without(&self, verb: &str) -> Operator {
        self.plane.grant_lease_but(&self.user, verb).await;
        self.start_elector_without_lease().await
    }

    /// Gives the operator the rights to its lease.
    pub(crate) async fn give_lease_rights(&self) {
        self.plane.grant_lease(&self.user).await;
    }

    /// Gives the operator that was started without some rights all of them.
    pub(crate) async fn give_all_rights(&self) {
        self.plane.grant_all_but(&self.user, "", &[]).await;
    }

    /// Starts an operator whose settings are known and whose words are listened to.
    async fn started(&self, kubeconfig: &Path, namespace: Option<&str>, flags: &[&str]) -> Operator {
        if let Some(settings) = checked::settings_of(&self.instance, flags) {
            self.settings.lock().unwrap().push((jiff::Timestamp::now(), settings));
        }
        let operator = Operator::start(kubeconfig, namespace, &self.instance, flags).await;
        self.logs.lock().unwrap().push(operator.words());
        operator
    }

    /// The objects of a kind: in the namespace, or all where the kind has none.
    pub(crate) fn api(&self, kind: Kind) -> Api<DynamicObject> {
        let resource = api_resource(kind);
        if kind.namespaced() {
            Api::namespaced_with(self.client.clone(), &self.namespace, &resource)
        } else {
            Api::all_with(self.client.clone(), &resource)
        }
    }

    /// Creates an object; it must be taken.
    pub(crate) async fn create(&self, object: Object) -> Value {
        let name = object.name().to_owned();
        self.try_create(object).await.unwrap_or_else(|error| panic!("cannot create `{name}`: {error}"))
    }

    /// Creates several objects, in order.
    pub(crate) async fn create_all(&self, objects: impl IntoIterator<Item = Object>) {
        for object in objects {
            self.create(object).await;
        }
    }

    /// Creates an object, or gives the API server's words on why not.
    pub(crate) async fn try_create(&self, object: Object) -> Result<Value, String> {
        let (kind, object) = object.into_dynamic();
        match self.api(kind).create(&PostParams::default(), &object).await {
            Ok(created) => Ok(value(&created)),
            Err(kube::Error::Api(status)) => Err(status.message),
            Err(error) => panic!("{error}"),
        }
    }

    /// Merge-patches an object.
    pub(crate) async fn edit(&self, kind: Kind, name: &str, patch: Value) -> Value {
        let parameters = PatchParams::default();
        value(&self.api(kind).patch(name, &parameters, &Patch::Merge(patch)).await.unwrap())
    }

    /// Changes an object by a JSON patch.
    pub(crate) async fn json_patch(&self, kind: Kind, name: &str, operations: Value) -> Value {
        let operations = serde_json::from_value(operations).unwrap();
        let patch = Patch::Json::<()>(operations);
        value(&self.api(kind).patch(name, &PatchParams::default(), &patch).await.unwrap())
    }

    /// Merge-patches an object's status.
    pub(crate) async fn edit_status(&self, kind: Kind, name: &str, patch: Value) -> Value {
        let parameters = PatchParams::default();
        value(&self.api(kind).patch_status(name, &parameters, &Patch::Merge(patch)).await.unwrap())
    }

    /// Asks for an object to be deleted.
    pub(crate) async fn delete(&self, kind: Kind, name: &str) {
        self.api(kind).delete(name, &DeleteParams::default()).await.unwrap();
    }

    /// An object as it stands.
    pub(crate) async fn find(&self, kind: Kind, name: &str) -> Option<Value> {
        self.api(kind).get_opt(name).await.unwrap().as_ref().map(value)
    }

    /// An object that must be there.
    pub(crate) async fn get(&self, kind: Kind, name: &str) -> Value {
        self.find(kind, name).await.unwrap_or_else(|| panic!("there is no {kind} `{name}`"))
    }

    /// A binding that must be there.
    pub(crate) async fn binding(&self, name: &str) -> Value {
        self.get(Kind::Binding, name).await
    }

    /// The name of a binding's output.
    pub(crate) fn output_name(&self, binding: &str) -> String {
        let namespace = Namespace::parse(&self.namespace).unwrap();
        let key = BindingKey::new(namespace, ObjectName::parse(binding).unwrap());
        output_name(&self.instance, &key).to_string()
    }

    /// What a message says of an output that stands although it could not be replaced.
    pub(crate) fn meanwhile(&self, output: &Value) -> String {
        let (name, id) = (text(&output["metadata"]["name"]), text(&output["spec"]["spiffeIDTemplate"]));
        format!("; meanwhile ClusterSPIFFEID `{name}` grants `{id}` as before")
    }

    /// What stands at the name of a binding's output.
    pub(crate) async fn find_output(&self, binding: &str) -> Option<Value> {
        self.find(Kind::Output, &self.output_name(binding)).await
    }

    /// A binding's output, which must be there.
    pub(crate) async fn output(&self, binding: &str) -> Value {
        self.find_output(binding).await.unwrap_or_else(|| panic!("`{binding}` has no output"))
    }

    /// The names of the bindings of this namespace that have an output, whoever made it.
    pub(crate) async fn granted(&self) -> Vec<String> {
        let outputs = self.api(Kind::Output).list(&ListParams::default()).await.unwrap();
        let outputs: Vec<String> = outputs.into_iter().filter_map(|output| output.metadata.name).collect();
        let bindings = self.api(Kind::Binding).list(&ListParams::default()).await.unwrap();
        let names = bindings.into_iter().filter_map(|binding| binding.metadata.name);
        names.filter(|name| outputs.contains(&self.output_name(name))).collect()
    }

    /// Waits until a condition holds for an object, or for its absence, and gives what the condition gives.
    pub(crate) async fn until<T>(
        &self,
        what: &str,
        kind: Kind,
        name: &str,
        condition: impl Fn(Option<&Value>) -> anyhow::Result<T>,
    ) -> T {
        let api = self.api(kind);
        let look = || async {
            let found = api.get_opt(name).await?;
            condition(found.as_ref().map(value).as_ref())
        };
        eventually(what, SOON, look).await.unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// Waits until an object is gone.
    pub(crate) async fn gone(&self, kind: Kind, name: &str) {
        let what = format!("the {kind} `{name}` is gone");
        self.until(&what, kind, name, |found| match found {
            None => Ok(()),
            Some(object) => Err(anyhow!("{object}")),
        })
        .await;
    }

    /// Waits until a binding's status speaks of its spec and fulfils a condition; gives the binding.
    pub(crate) async fn reported(
        &self,
        what: &str,
        name: &str,
        condition: impl Fn(&Value) -> anyhow::Result<()>,
    ) -> Value {
        self.until(what, Kind::Binding, name, |found| {
            let binding = found.context("it is not there")?;
            let status = &binding["status"];
            ensure!(status["observedGeneration"] == binding["metadata"]["generation"], "{status}");
            condition(binding).with_context(|| status.to_string())?;
            Ok(binding.clone())
        })
        .await
    }

    /// What most tests begin with: a pool `llama`, an objective `chat` of it, and a binding `chat` that is Ready.
    pub(crate) async fn with_chat(&self) {
        self.create_all([pool("llama", &[("app", "vllm")]), objective("chat", "llama")]).await;
        self.create(per_objective("chat", "chat", "vllm")).await;
        self.ready("chat").await;
    }

    /// Waits until a binding is Ready; gives it.
    pub(crate) async fn ready(&self, name: &str) -> Value {
        let what = format!("`{name}` is Ready");
        self.reported(&what, name, |binding| {
            ensure!(ready(binding) == ("True", "Reconciled"), "it is not Ready");
            Ok(())
        })
        .await
    }

    /// Waits until a binding is refused for a reason; gives it.
    pub(crate) async fn refused(&self, name: &str, reason: &str) -> Value {
        let what = format!("`{name}` is refused with {reason}");
        self.reported(&what, name, |binding| {
            ensure!(ready(binding) == ("False", reason), "it is not refused with {reason}");
            Ok(())
        })
        .await
    }

    /// Waits until the clock shows a later second than a time of the API server: times of objects and conditions have
    /// no parts of a second.
    pub(crate) async fn second_after(&self, time: &Value) {
        let time: jiff::Timestamp = text(time).parse().unwrap();
        eventually("the next second begins", SOON, || async move {
            ensure!(jiff::Timestamp::now().as_second() > time.as_second(), "not yet");
            Ok(())
        })
        .await
        .unwrap();
    }
}

impl Deref for World {
    type Target = ControlPlane;

    fn deref(&self) -> &ControlPlane {
        &self.plane
    }
}

impl World {
    /// A world in which the test itself makes the operator's calls, with a client of its own.
    pub(crate) async fn in_process(name: &str) -> Self {
        let world = Self::new(name).await;
        world.excuse("wire");
        world
    }

    /// A proxy whose operator has its rights by itself and not as a member of a group, so that one can be taken away.
    pub(crate) async fn proxy_alone(&self) -> Proxy {
        self.give_all_rights().await;
        Proxy::start(self.plane.config_as(&self.user, &[]).unwrap()).await.unwrap()
    }

    /// Takes some rights away from the operator that has its rights by itself.
    pub(crate) async fn revoke(&self, resource: &str, verbs: &[&str]) {
        self.plane.grant_all_but(&self.user, resource, verbs).await;
    }

    /// Waits until the operator that has its rights by itself may no longer do this with a kind.
    pub(crate) async fn may_not(&self, verb: &str, kind: Kind) {
        let user = self.plane.client_as(&self.user, &[]).unwrap();
        plane::wait_until(user, (kind.group(), kind.plural(), verb), false).await;
    }

    /// A proxy between this world's operator and the API server.
    pub(crate) async fn proxy(&self) -> Proxy {
        let config = self.plane.config_as(&self.user, &[plane::OPERATORS]).unwrap();
        Proxy::start(config).await.unwrap()
    }

    /// Starts an operator behind a proxy; it need not become ready.
    pub(crate) async fn start_operator_by(&self, proxy: &Proxy, flags: &[&str]) -> Operator {
        let kubeconfig = proxy.kubeconfig(self.plane.folder()).unwrap();
        self.started(&kubeconfig, Some(&self.namespace), flags).await
    }

    /// Starts an operator behind a proxy and waits until it is ready.
    pub(crate) async fn operator_by(&self, proxy: &Proxy) -> Operator {
        let operator = self.start_operator_by(proxy, &[]).await;
        operator.ready().await;
        operator
    }
}

fn value(object: &DynamicObject) -> Value {
    serde_json::to_value(object).unwrap()
}
