//! Clusters for tests: namespaces of one control plane, with every definition installed, and the binary run against
//! them. Objects are created, and a status is written, by the test itself: no operator runs here.

use std::path::PathBuf;
use std::time::Duration;

use kleym_api::resource::api_resource;
use kleym_api::{binding, standin};
use kleym_core::kind::Kind;
use kleym_testenv::{Audit, ControlPlane, Mark, Options, apply_yaml, eventually};
use kube::Client;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::run::{Answer, Folder};

static PREPARED: OnceCell<()> = OnceCell::const_new();

/// A namespace of the cluster that all tests share.
pub(crate) struct Cluster {
    plane: &'static ControlPlane,
    client: Client,
    /// The namespace that the test has for itself.
    pub(crate) namespace: String,
    /// A folder that the test has for itself, in which the binary runs.
    pub(crate) folder: Folder,
    kubeconfig: PathBuf,
    user: String,
    audit: Audit,
    began: Mark,
}

/// The definitions of kinds, as one List.
pub(crate) fn definitions(kinds: &[Kind]) -> String {
    let items: Vec<Value> = kinds
        .iter()
        .map(|kind| standin::definition(*kind).unwrap_or_else(binding::definition))
        .map(|definition| serde_json::to_value(definition).unwrap())
        .collect();
    json!({"kind": "List", "items": items}).to_string()
}

/// The definition of a kind without any rule: every object of any shape is taken, and kept as it is.
pub(crate) fn permissive(kind: Kind) -> Value {
    let definition = standin::definition(kind).unwrap_or_else(binding::definition);
    let mut definition = serde_json::to_value(definition).unwrap();
    let version = &mut definition["spec"]["versions"][0];
    version["schema"]["openAPIV3Schema"] =
        json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    version.as_object_mut().unwrap().remove("selectableFields");
    definition
}

/// What a reader of everything may do.
const RIGHTS: &str = "
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: kleym-readers}
rules:
- apiGroups: [kleym.sonda.red, llm-d.ai, inference.networking.x-k8s.io, inference.networking.k8s.io, spire.spiffe.io]
  resources: ['*']
  verbs: [get, list, watch]
- apiGroups: ['']
  resources: [pods, nodes, namespaces, configmaps]
  verbs: [get, list, watch]
- apiGroups: [apiextensions.k8s.io]
  resources: [customresourcedefinitions]
  verbs: [get, list, watch]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: kleym-readers}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: kleym-readers}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: Group, name: kleym-readers}]
";

/// The settings that an operator has without flags.
const DEFAULTS: &str = " --trust-domain kleym.sonda.red --clusterspiffeid-class-name= --instance default";

impl Cluster {
    /// A namespace of a name that no other test has, with these objects in it; they name none. The user may read
    /// everything.
    pub(crate) async fn with(namespace: &str, objects: &str) -> Self {
        Self::of(&["kleym-readers"], namespace, objects).await
    }

    /// The same, for a user of these groups.
    pub(crate) async fn of(groups: &[&str], namespace: &str, objects: &str) -> Self {
        let plane = ControlPlane::shared().await.unwrap();
        PREPARED
            .get_or_init(|| async {
                let client = plane.client().unwrap();
                apply_yaml(&client, RIGHTS).await.unwrap();
                apply_yaml(&client, &definitions(&Kind::ALL)).await.unwrap();
            })
            .await;
        let named = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
        apply_yaml(&plane.client().unwrap(), &named.to_string()).await.unwrap();
        let namespace = namespace.to_owned();
        let user = format!("reader-of-{namespace}");
        let mut config = plane.config().unwrap();
        config.default_namespace.clone_from(&namespace);
        let client = Client::try_from(config).unwrap();
        let (audit, kubeconfig) = (plane.audit().unwrap(), plane.kubeconfig_as(&user, groups).unwrap());
        let began = audit.mark().await.unwrap();
        let folder = Folder::new();
        let cluster = Self { plane, client, namespace, folder, kubeconfig, user, audit, began };
        cluster.apply(objects).await;
        cluster
    }

    /// Creates or changes objects.
    pub(crate) async fn apply(&self, objects: &str) {
        apply_yaml(&self.client, objects).await.unwrap();
    }

    /// Lets the reader list these resources of its namespace, each after its API group, bindings among them; and waits until
    /// the API server does.
    pub(crate) async fn allow_to_list(&self, resources: &[(&str, &str)]) {
        let rules = resources.iter().map(
            |(group, resource)| json!({"apiGroups": [group], "resources": [resource], "verbs": ["list"]}),
        );
        let rbac = "rbac.authorization.k8s.io";
        let (version, metadata) = (format!("{rbac}/v1"), json!({"name": "some"}));
        let role = json!({"apiVersion": version, "kind": "Role", "metadata": metadata, "rules": rules.collect::<Value>()});
        let given = json!({
            "apiVersion": version, "kind": "RoleBinding", "metadata": metadata,
            "roleRef": {"apiGroup": rbac, "kind": "Role", "name": "some"},
            "subjects": [{"apiGroup": rbac, "kind": "User", "name": self.user}],
        });
        self.apply(&format!("{role}\n---\n{given}")).await;
        self.settled().await;
    }

    /// Waits until the API server lets the reader list bindings of the namespace.
    pub(crate) async fn settled(&self) {
        eventually("the reader has its rights", Duration::from_secs(30), || async {
            let answer = self.kleym("status");
            anyhow::ensure!(answer.exit != Some(4), "{answer}");
            Ok(())
        })
        .await
        .unwrap();
    }

    fn api(&self, kind: Kind) -> Api<DynamicObject> {
        let resource = api_resource(kind);
        match kind {
            Kind::Output => Api::all_with(self.client.clone(), &resource),
            _ => Api::default_namespaced_with(self.client.clone(), &resource),
        }
    }

    /// The uid of a binding.
    pub(crate) async fn uid(&self, name: &str) -> String {
        self.api(Kind::Binding).get(name).await.unwrap().metadata.uid.unwrap()
    }

    /// Writes the status of a binding, as an operator would.
    pub(crate) async fn report(&self, name: &str, status: Value) {
        let patch = Patch::Merge(json!({ "status": status }));
        self.api(Kind::Binding).patch_status(name, &PatchParams::default(), &patch).await.unwrap();
    }

    /// Writes the counts of an output, as spire-controller-manager would.
    pub(crate) async fn counted(&self, name: &str, stats: Value) {
        let patch = Patch::Merge(json!({ "status": { "stats": stats } }));
        self.api(Kind::Output).patch_status(name, &PatchParams::default(), &patch).await.unwrap();
    }

    /// A binding as the API server has it.
    pub(crate) async fn dump(&self, name: &str) -> Value {
        serde_json::to_value(self.api(Kind::Binding).get(name).await.unwrap()).unwrap()
    }

    /// Where the kubeconfig of the reader is.
    pub(crate) fn kubeconfig(&self) -> String {
        self.kubeconfig.display().to_string()
    }

    /// Runs `kleym` as the reader, in the namespace. What differs from run to run is masked in the answer.
    pub(crate) fn kleym(&self, arguments: &str) -> Answer {
        self.kleym_in(&self.namespace, arguments)
    }

    /// The same, where no binding of the namespace has a status: what other tests put into the cluster is not to count.
    pub(crate) fn silent(&self, arguments: &str) -> Answer {
        let answer = self.kleym(&format!("{arguments}{DEFAULTS}"));
        answer.masked(&|text| text.replace(DEFAULTS, ""))
    }

    /// The same, with another namespace or none.
    pub(crate) fn kleym_in(&self, namespace: &str, arguments: &str) -> Answer {
        let scope = if namespace.is_empty() { String::new() } else { format!(" -n {namespace}") };
        let asked = format!("{arguments}{scope} --kubeconfig {}", self.kubeconfig.display());
        self.masked(self.folder.run(&asked, &[], b""))
    }

    fn masked(&self, answer: Answer) -> Answer {
        let kubeconfig = self.kubeconfig.display().to_string();
        let url = self.plane.url();
        answer.masked(&|text| {
            ages(&text.replace(&format!(" --kubeconfig {kubeconfig}"), "").replace(&url, "https://SERVER"))
        })
    }

    /// Every call of the reader so far: verb, resource, and whether it named one object.
    pub(crate) async fn calls(&self) -> Vec<String> {
        let calls = self.audit.calls_since(self.began).await.unwrap();
        let own = calls.into_iter().filter(|call| call.user == self.user);
        own.map(|call| format!("{} {}", call.verb, call.target())).collect()
    }
}

/// Ages at the end of a line, masked.
pub(crate) fn ages(text: &str) -> String {
    let line = |line: &str| match line.rsplit_once("   ") {
        Some((rest, age))
            if age.ends_with('s') && age[..age.len() - 1].bytes().all(|b| b.is_ascii_digit()) =>
        {
            format!("{rest}   AGE")
        }
        _ => line.to_owned(),
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// A control plane of one's own, with these definitions and nothing else.
pub(crate) async fn bare(kinds: &[Kind]) -> ControlPlane {
    let plane = ControlPlane::start(Options::default()).await.unwrap();
    apply_yaml(&plane.client().unwrap(), &definitions(kinds)).await.unwrap();
    plane
}
