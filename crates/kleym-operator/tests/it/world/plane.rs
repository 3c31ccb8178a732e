//! Control planes with the definitions and the rights an operator finds in a cluster.

use std::ops::Deref;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::ensure;
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kleym_api::rights::{OPERATOR, Reach, Right};
use kleym_api::{binding, standin};
use kleym_core::kind::Kind;
use kleym_testenv::{AuditLevel, ControlPlane, Options, apply_yaml, eventually};
use kube::api::{DeleteParams, ObjectMeta, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use super::SOON;
use super::recorder::{Place, Recorder, Version};

/// The group that holds every operator of these tests.
pub(super) const OPERATORS: &str = "kleym-operators";

/// The ClusterRole of these rights, bound to a subject (`Group` or `User`); both objects are named after it.
fn role(rights: &[(Right, Vec<&str>)], kind: &str, subject: &str) -> Vec<Value> {
    let api = "rbac.authorization.k8s.io";
    let kept = rights.iter().filter(|(_, verbs)| !verbs.is_empty());
    let rules: Vec<Value> = kept.map(|(right, verbs)| rule(right, verbs)).collect();
    let (version, metadata) = (format!("{api}/v1"), json!({ "name": subject }));
    let reference = json!({"apiGroup": api, "kind": "ClusterRole", "name": subject});
    let subjects = json!([{"apiGroup": api, "kind": kind, "name": subject}]);
    vec![
        json!({"apiVersion": version, "kind": "ClusterRole", "metadata": metadata, "rules": rules}),
        json!({
            "apiVersion": version,
            "kind": "ClusterRoleBinding",
            "metadata": metadata,
            "roleRef": reference,
            "subjects": subjects,
        }),
    ]
}

/// What an operator may do in the namespace where the tests' operators have their leases.
fn own_role() -> Vec<Value> {
    let own = OPERATOR.iter().filter(|right| right.reach == Reach::Own);
    let rules: Vec<Value> = own.map(|right| rule(right, right.verbs)).collect();
    role_in_default("kleym-operator", &rules, ("Group", OPERATORS))
}

/// The Role of these rules in that namespace, bound to a subject.
fn role_in_default(name: &str, rules: &[Value], (kind, subject): (&str, &str)) -> Vec<Value> {
    let api = "rbac.authorization.k8s.io";
    let (version, metadata) = (format!("{api}/v1"), json!({"name": name, "namespace": "default"}));
    let reference = json!({"apiGroup": api, "kind": "Role", "name": name});
    let subjects = json!([{"apiGroup": api, "kind": kind, "name": subject}]);
    vec![
        json!({"apiVersion": version, "kind": "Role", "metadata": metadata, "rules": rules}),
        json!({
            "apiVersion": version,
            "kind": "RoleBinding",
            "metadata": metadata,
            "roleRef": reference,
            "subjects": subjects,
        }),
    ]
}

fn rule(right: &Right, verbs: &[&str]) -> Value {
    json!({"apiGroups": right.groups, "resources": [right.resource], "verbs": verbs})
}

/// What an operator may do outside its own namespace.
fn elsewhere() -> impl Iterator<Item = &'static Right> {
    OPERATOR.iter().filter(|right| right.reach != Reach::Own)
}

/// A control plane, and who remembers what happened on it.
#[derive(Clone)]
pub(crate) struct Plane {
    // Ended before what it watches.
    recorder: Arc<Recorder>,
    control: Control,
}

/// The shared control plane, or one of a test's own that ends with it.
#[derive(Clone)]
enum Control {
    /// The one that all tests share.
    Shared(&'static ControlPlane),
    /// One that only this test uses.
    Own(Arc<ControlPlane>),
}

impl Deref for Plane {
    type Target = ControlPlane;

    fn deref(&self) -> &ControlPlane {
        match &self.control {
            Control::Shared(plane) => plane,
            Control::Own(plane) => plane,
        }
    }
}

/// Who remembers what happened on the shared control plane, once that is prepared.
static SHARED: OnceCell<Arc<Recorder>> = OnceCell::const_new();

impl Plane {
    /// The shared control plane, with every definition installed.
    pub(crate) async fn shared() -> Self {
        let plane = ControlPlane::shared().await.unwrap();
        let prepared = async {
            prepare(plane, &Kind::ALL).await;
            Recorder::start(plane.config().unwrap())
        };
        let recorder = SHARED.get_or_init(|| prepared).await;
        Self { recorder: Arc::clone(recorder), control: Control::Shared(plane) }
    }

    /// A control plane of one's own, with these definitions.
    pub(crate) async fn own(kinds: &[Kind]) -> Self {
        // The checker reads the bodies of requests.
        let options = Options { audit_level: AuditLevel::Request, ..Options::default() };
        let plane = ControlPlane::start(options).await.unwrap();
        prepare(&plane, kinds).await;
        let recorder = Recorder::start(plane.config().unwrap());
        Self { recorder, control: Control::Own(Arc::new(plane)) }
    }

    /// Whether only one test uses it.
    pub(crate) fn is_own(&self) -> bool {
        matches!(self.control, Control::Own(_))
    }

    /// Every version of some objects of these kinds so far, by revision.
    pub(crate) async fn versions(&self, kinds: &[Kind], of: impl Fn(Place<'_>) -> bool) -> Vec<Version> {
        self.recorder.versions(kinds, of).await
    }

    /// Forgets versions that nobody will ask for again.
    pub(crate) fn forget(&self, of: impl Fn(Place<'_>) -> bool) {
        self.recorder.forget(of);
    }

    /// Creates a namespace of exactly this name.
    pub(crate) async fn namespace_named(&self, name: &str) {
        let metadata = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
        let namespace = Namespace { metadata, ..Namespace::default() };
        Api::all(self.client().unwrap()).create(&PostParams::default(), &namespace).await.unwrap();
    }

    /// A kubeconfig of a user with an operator's rights.
    pub(crate) fn operator_kubeconfig(&self, user: &str) -> PathBuf {
        self.kubeconfig_as(user, &[OPERATORS]).unwrap()
    }

    /// Gives a user an operator's rights but for some verbs of a resource, and waits until that is so.
    pub(crate) async fn grant_all_but(&self, user: &str, resource: &str, verbs: &[&str]) {
        let without = |right: &Right| -> Vec<&str> {
            let kept = right.verbs.iter().filter(|verb| right.resource != resource || !verbs.contains(verb));
            kept.copied().collect()
        };
        let rights: Vec<_> = elsewhere().map(|right| (*right, without(right))).collect();
        apply_all(&self.client().unwrap(), role(&rights, "User", user)).await;
        // A right that is given in any case.
        let given = match resource {
            "events" => ("apiextensions.k8s.io", "customresourcedefinitions", "list"),
            _ => ("events.k8s.io", "events", "create"),
        };
        wait_until(self.client_as(user, &[]).unwrap(), given, true).await;
    }

    /// Gives a user an operator's rights in the namespace where the leases are.
    pub(crate) async fn grant_lease(&self, user: &str) {
        let api = "rbac.authorization.k8s.io";
        let binding = json!({
            "apiVersion": format!("{api}/v1"),
            "kind": "RoleBinding",
            "metadata": {"name": user, "namespace": "default"},
            "roleRef": {"apiGroup": api, "kind": "Role", "name": "kleym-operator"},
            "subjects": [{"apiGroup": api, "kind": "User", "name": user}],
        });
        apply_all(&self.client().unwrap(), vec![binding]).await;
    }

    /// Gives a user an operator's rights but for one verb in the namespace where the leases are.
    pub(crate) async fn grant_lease_but(&self, user: &str, verb: &str) {
        let without = |right: &Right| -> Value {
            let kept: Vec<&str> = right.verbs.iter().copied().filter(|one| *one != verb).collect();
            rule(right, &kept)
        };
        let own = OPERATOR.iter().filter(|right| right.reach == Reach::Own);
        let rules: Vec<Value> = own.map(without).collect();
        let (name, subject) = (format!("{user}-without-{verb}"), ("User", user));
        apply_all(&self.client().unwrap(), role_in_default(&name, &rules, subject)).await;
    }
}

async fn prepare(plane: &ControlPlane, kinds: &[Kind]) {
    let client = plane.client().unwrap();
    apply_all(&client, own_role()).await;
    let all: Vec<_> = elsewhere().map(|right| (*right, right.verbs.to_vec())).collect();
    apply_all(&client, role(&all, "Group", OPERATORS)).await;
    install(&client, kinds).await;
    let probe = plane.client_as("rights-probe", &[OPERATORS]).unwrap();
    wait_until(probe, ("events.k8s.io", "events", "create"), true).await;
}

/// Waits until a user may, or may not, do something: an API group, a resource of it, and a verb.
pub(super) async fn wait_until(user: Client, (group, resource, verb): (&str, &str, &str), allowed: bool) {
    let attributes = ResourceAttributes {
        group: Some(group.to_owned()),
        resource: Some(resource.to_owned()),
        verb: Some(verb.to_owned()),
        ..ResourceAttributes::default()
    };
    let spec = SelfSubjectAccessReviewSpec { resource_attributes: Some(attributes), ..Default::default() };
    let question = SelfSubjectAccessReview { spec, ..SelfSubjectAccessReview::default() };
    let reviews = Api::<SelfSubjectAccessReview>::all(user);
    eventually(&format!("operators may {verb} {resource}: {allowed}"), SOON, || async {
        let answer = reviews.create(&PostParams::default(), &question).await?;
        ensure!(answer.status.is_some_and(|status| status.allowed == allowed), "not yet");
        Ok(())
    })
    .await
    .unwrap();
}

/// The definition of a kind, as JSON.
pub(crate) fn definition(kind: Kind) -> Value {
    let definition = standin::definition(kind).unwrap_or_else(binding::definition);
    serde_json::to_value(definition).unwrap()
}

/// The definition of a kind without any rule: every object of any shape is taken, and kept as it is.
pub(crate) fn permissive(kind: Kind) -> Value {
    let mut definition = definition(kind);
    let anything = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let version = &mut definition["spec"]["versions"][0];
    version["schema"]["openAPIV3Schema"] = anything;
    version.as_object_mut().unwrap().remove("selectableFields");
    definition
}

/// Installs the definitions of kinds, or brings them back to what they should be, and waits until they are served.
pub(crate) async fn install(client: &Client, kinds: &[Kind]) {
    install_as(client, kinds.iter().map(|kind| definition(*kind)).collect()).await;
}

/// Installs definitions as they are given, and waits until they are served.
pub(crate) async fn install_as(client: &Client, definitions: Vec<Value>) {
    apply_all(client, definitions).await;
}

async fn apply_all(client: &Client, objects: Vec<Value>) {
    let list = json!({"kind": "List", "items": objects});
    apply_yaml(client, &list.to_string()).await.unwrap();
}

/// Removes the definition of a kind, with all its objects, and waits until it is gone.
pub(crate) async fn remove(client: &Client, kind: Kind) {
    doom(client, kind).await;
    removed(client, kind).await;
}

/// Asks for the definition of a kind to be removed, with all its objects.
pub(crate) async fn doom(client: &Client, kind: Kind) {
    let definitions = Api::<CustomResourceDefinition>::all(client.clone());
    definitions.delete(&kind.crd_name(), &DeleteParams::default()).await.unwrap();
}

/// Waits until the definition of a kind that was to be removed is gone; answers whether it is not back already.
pub(crate) async fn removed(client: &Client, kind: Kind) -> bool {
    let definitions = Api::<CustomResourceDefinition>::all(client.clone());
    let name = kind.crd_name();
    let what = format!("the definition `{name}` is gone");
    let gone = eventually(&what, SOON, || async {
        let Some(definition) = definitions.get_opt(&name).await? else { return Ok(true) };
        ensure!(definition.metadata.deletion_timestamp.is_none(), "it is still there");
        Ok(false)
    });
    gone.await.unwrap()
}
