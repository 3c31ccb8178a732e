//! SPIRE Server and spire-controller-manager for real: what they make of our outputs and of other people's
//! ClusterSPIFFEIDs is what `kleym_core::spire` foresees, entry by entry and count by count. Nodes and pods are plain
//! objects; no kubelet is needed.
//!
//! Runs when `KLEYM_SPIRE_ASSETS` names a folder with `spire-server` and `spire-controller-manager`; else it says so and is
//! skipped.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kleym_api::decode;
use kleym_core::kind::Kind;
use kleym_core::spire::{Manager, Node, Pod, Prediction, Registration, Space, World as Scene, predict};
use kleym_testenv::{Process, apply_yaml, eventually, supervised};
use kube::api::{Api, ApiResource, DynamicObject, ListParams};
use serde_json::{Value, json};

use crate::world::{World, objective, per_objective, pool, pool_only};

/// SCM makes a pass every two seconds at least.
const SOON: Duration = Duration::from_secs(60);

const CONFIGURATION: &str = "
apiVersion: spire.spiffe.io/v1alpha1
kind: ControllerManagerConfig
clusterName: test
clusterDomain: cluster.local
trustDomain: example.org
className: watched
watchClassless: false
ignoreNamespaces: [kube-system, ignored]
gcInterval: 1000000000
metrics: {bindAddress: '0'}
reconcile: {clusterSPIFFEIDs: true}
";

/// Both programs, with a folder of their own.
struct Spire {
    // Dropped in this order.
    _manager: Process,
    _server: Process,
    program: PathBuf,
    socket: PathBuf,
    _folder: Folder,
}

struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

impl Spire {
    async fn start(assets: &Path, kubeconfig: &Path) -> Self {
        // The path of a Unix socket is short.
        let folder = Folder(std::env::temp_dir().join(format!("kleym-spire-{}", std::process::id())));
        fs::create_dir_all(folder.0.join("data")).unwrap();
        let (socket, program) = (folder.0.join("api.sock"), assets.join("spire-server"));
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let (path, shown) = (folder.0.display(), socket.display());
        let configuration = format!(
            r#"server {{
  bind_address = "127.0.0.1"
  bind_port = "{port}"
  trust_domain = "example.org"
  data_dir = "{path}/data"
  socket_path = "{shown}"
  log_level = "WARN"
}}
plugins {{
  DataStore "sql" {{ plugin_data {{ database_type = "sqlite3" connection_string = "{path}/data/datastore.sqlite3" }} }}
  KeyManager "memory" {{ plugin_data {{}} }}
  NodeAttestor "join_token" {{ plugin_data {{}} }}
}}
"#
        );
        fs::write(folder.0.join("server.conf"), configuration).unwrap();
        let manager_file = format!("{CONFIGURATION}spireServerSocketPath: {shown}\n");
        fs::write(folder.0.join("manager.yaml"), manager_file).unwrap();
        let log = |name: &str| fs::File::create(folder.0.join(name)).unwrap();

        let mut server = supervised(&program, None);
        server.args(["run", "-config"]).arg(folder.0.join("server.conf"));
        server.stdout(log("server.log")).stderr(log("server.err"));
        let server = Process::start("spire-server", &mut server).unwrap();
        eventually("SPIRE Server is healthy", SOON, || async {
            let answer = Command::new(&program).args(["healthcheck", "-socketPath"]).arg(&socket).output()?;
            ensure!(answer.status.success(), "{}", String::from_utf8_lossy(&answer.stderr));
            anyhow::Ok(())
        })
        .await
        .unwrap();

        let mut manager = supervised(assets.join("spire-controller-manager"), None);
        manager.arg("--config").arg(folder.0.join("manager.yaml"));
        manager.env("ENABLE_WEBHOOKS", "false").env("KUBECONFIG", kubeconfig);
        manager.stdout(log("manager.log")).stderr(log("manager.err"));
        let manager = Process::start("spire-controller-manager", &mut manager).unwrap();
        Self { _manager: manager, _server: server, program, socket, _folder: folder }
    }

    /// Every entry but those that SCM makes to find out what the server can do.
    fn entries(&self) -> Result<BTreeSet<Entry>> {
        let mut command = Command::new(&self.program);
        command.args(["entry", "show", "-output", "json", "-socketPath"]).arg(&self.socket);
        let answer = command.output()?;
        ensure!(answer.status.success(), "{}", String::from_utf8_lossy(&answer.stderr));
        let answer: Value = serde_json::from_slice(&answer.stdout)?;
        let entries = answer["entries"].as_array().context("no entries")?;
        let id = |value: &Value| {
            let text = |field: &str| value[field].as_str().unwrap_or_default().to_owned();
            format!("spiffe://{}{}", text("trust_domain"), text("path"))
        };
        let of = |entry: &Value| Entry {
            id: id(&entry["spiffe_id"]),
            parent: id(&entry["parent_id"]),
            selectors: entry["selectors"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|s| {
                    format!("{}:{}", s["type"].as_str().unwrap_or("?"), s["value"].as_str().unwrap_or("?"))
                })
                .collect(),
            hint: entry["hint"].as_str().unwrap_or_default().to_owned(),
        };
        Ok(entries.iter().map(of).filter(|entry| !entry.id.contains("/spire-controller-manager/")).collect())
    }
}

/// An entry in plain data.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    id: String,
    parent: String,
    selectors: BTreeSet<String>,
    hint: String,
}

/// Everything in the cluster, decoded.
struct Seen {
    registrations: Vec<Registration>,
    stats: Vec<Value>,
    pods: Vec<Pod>,
    nodes: Vec<Node>,
    spaces: Vec<Space>,
    manager: Manager,
}

impl Seen {
    async fn of(world: &World) -> Self {
        let list = |group: &str, version: &str, kind: &str, plural: &str| {
            let resource = ApiResource {
                group: group.to_owned(),
                version: version.to_owned(),
                api_version: if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") },
                kind: kind.to_owned(),
                plural: plural.to_owned(),
            };
            let api: Api<DynamicObject> = Api::all_with(world.client.clone(), &resource);
            async move {
                let objects = api.list(&ListParams::default()).await.unwrap();
                objects
                    .items
                    .iter()
                    .map(|object| serde_json::to_value(object).unwrap())
                    .collect::<Vec<Value>>()
            }
        };
        let outputs = list("spire.spiffe.io", "v1alpha1", "ClusterSPIFFEID", "clusterspiffeids").await;
        let pods = list("", "v1", "Pod", "pods").await;
        let nodes = list("", "v1", "Node", "nodes").await;
        let spaces = list("", "v1", "Namespace", "namespaces").await;
        let file: Value = serde_saphyr::from_str(CONFIGURATION).unwrap();
        Self {
            registrations: outputs.iter().map(|object| decode::registration(object).unwrap()).collect(),
            stats: outputs.iter().map(|object| object["status"]["stats"].clone()).collect(),
            pods: pods.iter().map(|object| decode::pod(object, None).unwrap()).collect(),
            nodes: nodes.iter().map(|object| decode::node(object).unwrap()).collect(),
            spaces: spaces.iter().map(|object| decode::space(object, true).unwrap()).collect(),
            manager: decode::manager(&file).unwrap(),
        }
    }

    fn foresee(&self) -> Prediction {
        predict(Scene {
            manager: &self.manager,
            others: &[],
            registrations: &self.registrations,
            pods: &self.pods,
            nodes: Some(&self.nodes),
            spaces: &self.spaces,
        })
    }

    fn entries(&self, foreseen: &Prediction) -> BTreeSet<Entry> {
        let kept =
            foreseen.entries.iter().filter(|entry| entry.masked_by.is_none() && entry.refused.is_none());
        kept.map(|entry| {
            assert!(entry.certain.certain(), "everything is known here: {entry:?}");
            let uid = self.pods[entry.pod].uid.as_ref().unwrap();
            let rendered = entry.selectors.iter().map(|item| item.text().unwrap().to_owned());
            Entry {
                id: entry.spiffe_id.text().unwrap().to_owned(),
                parent: entry.parent.text().unwrap().to_owned(),
                selectors: rendered.chain([format!("k8s:pod-uid:{uid}")]).collect(),
                hint: self.registrations[entry.by].hint.to_string(),
            }
        })
        .collect()
    }

    /// What SCM is to report of each object, by name; none for one that it does not look at.
    fn counts(&self, foreseen: &Prediction) -> BTreeMap<String, Option<[usize; 7]>> {
        let each = self.registrations.iter().zip(&foreseen.fates).enumerate();
        each.map(|(place, (object, fate))| {
            let refused =
                foreseen.entries.iter().filter(|entry| entry.by == place && entry.refused.is_some());
            let stats = fate.stats.unwrap();
            let counts = [
                stats.namespaces_selected,
                stats.namespaces_ignored,
                stats.pods_selected,
                stats.render_failures,
                stats.entries_masked,
                stats.entries_to_set,
                refused.count(),
            ];
            // What is all zero is not written.
            let written = fate.watched.certain() && counts.iter().any(|count| *count > 0);
            (object.name.to_string(), written.then_some(counts))
        })
        .collect()
    }

    fn reported(&self) -> BTreeMap<String, Option<[usize; 7]>> {
        const FIELDS: [&str; 7] = [
            "namespacesSelected",
            "namespacesIgnored",
            "podsSelected",
            "podEntryRenderFailures",
            "entriesMasked",
            "entriesToSet",
            "entryFailures",
        ];
        let each = self.registrations.iter().zip(&self.stats);
        each.map(|(object, stats)| {
            let count = |field: &str| usize::try_from(stats[field].as_u64().unwrap_or_default()).unwrap();
            (object.name.to_string(), stats.is_object().then(|| FIELDS.map(count)))
        })
        .collect()
    }
}

/// Waits until SPIRE and SCM show exactly what is foreseen.
async fn agree(world: &World, spire: &Spire, at_least: usize) -> BTreeSet<Entry> {
    eventually("SPIRE has the entries that are foreseen, and SCM reports them", SOON, || async {
        let seen = Seen::of(world).await;
        let foreseen = seen.foresee();
        let (wanted, there) = (seen.entries(&foreseen), spire.entries()?);
        let missing: Vec<_> = wanted.difference(&there).collect();
        let more: Vec<_> = there.difference(&wanted).collect();
        ensure!(missing.is_empty() && more.is_empty(), "missing {missing:#?}, not foreseen {more:#?}");
        ensure!(there.len() >= at_least, "only {} entries", there.len());
        let (counted, reported) = (seen.counts(&foreseen), seen.reported());
        ensure!(counted == reported, "foreseen {counted:#?}, reported {reported:#?}");
        Ok(there)
    })
    .await
    .unwrap()
}

fn pod(namespace: &str, name: &str, account: &str, node: &str, labels: &str) -> String {
    let node = if node.is_empty() { String::new() } else { format!("  nodeName: {node}\n") };
    format!(
        "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: {namespace}, labels: {{{labels}}}}}\nspec:\n  serviceAccountName: {account}\n{node}  containers:\n  - {{name: vllm, image: 'r/vllm:v1'}}\n  - {{name: proxy, image: 'r/proxy:v1'}}\n"
    )
}

fn foreign(name: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: spire.spiffe.io/v1alpha1\nkind: ClusterSPIFFEID\nmetadata: {{name: {name}, labels: {{spire.spiffe.io/class-name: watched}}}}\nspec: {{{spec}}}\n"
    )
}

/// Objects of other people, each with a habit of its own.
fn others(namespace: &str) -> String {
    let here = format!("namespaceSelector: {{matchLabels: {{kubernetes.io/metadata.name: {namespace}}}}}");
    let sa = "spiffeIDTemplate: 'spiffe://{{ .TrustDomain }}/ns/{{ .PodMeta.Namespace }}/sa/{{ .PodSpec.ServiceAccountName }}'";
    [
        ("default", format!("className: watched, fallback: true, hint: default, {sa}")),
        ("classless", sa.to_owned()),
        ("other-class", format!("className: other, {sa}")),
        ("by-expression", "className: watched, podSelector: {matchExpressions: [{key: app, operator: NotIn, values: [vllm]}, {key: tier, operator: Exists}]}, spiffeIDTemplate: 'spiffe://example.org/tier/{{ index .PodMeta.Labels \"tier\" }}/{{ .NodeMeta.Name }}/{{ .ClusterName }}'".to_owned()),
        ("missing-label", format!("className: watched, {here}, spiffeIDTemplate: 'spiffe://example.org/rack/{{{{ .PodMeta.Labels.rack }}}}'")),
        ("empty-label", format!("className: watched, {here}, spiffeIDTemplate: 'spiffe://example.org/rack/{{{{ index .PodMeta.Labels \"rack\" }}}}'")),
        ("other-domain", format!("className: watched, {here}, spiffeIDTemplate: 'spiffe://example.net/x'")),
        ("reserved", format!("className: watched, {here}, spiffeIDTemplate: 'spiffe://example.org/spire/x'")),
        ("twice", format!("className: watched, {here}, spiffeIDTemplate: 'spiffe://example.org/twice', workloadSelectorTemplates: ['k8s:ns:a', 'k8s:ns:a']")),
        ("no-selector", format!("className: watched, {here}, spiffeIDTemplate: 'spiffe://example.org/none', workloadSelectorTemplates: ['nothing']")),
        ("broken", format!("className: watched, {here}, spiffeIDTemplate: 'spiffe://example.org/{{{{ .PodMeta.Name'")),
        ("same-1", format!("className: watched, {here}, spiffeIDTemplate: 'spiffe://example.org/same', workloadSelectorTemplates: ['k8s:sa:a', 'k8s:ns:b'], hint: one")),
        ("same-2", format!("className: watched, {here}, spiffeIDTemplate: 'spiffe://example.org/same', workloadSelectorTemplates: ['k8s:ns:b', 'k8s:sa:a'], hint: two")),
    ]
    .iter()
    .map(|(name, spec)| foreign(name, spec))
    .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn spire_makes_the_entries_that_are_foreseen() {
    let Some(assets) = std::env::var_os("KLEYM_SPIRE_ASSETS") else {
        println!(
            "skipped: KLEYM_SPIRE_ASSETS names no folder with spire-server and spire-controller-manager"
        );
        return;
    };
    let world = World::with_only("spire", &Kind::ALL).await;
    let namespace = world.namespace.clone();
    let client = world.client.clone();
    let mut objects = String::new();
    for node in ["n1", "n2"] {
        objects += &format!("---\napiVersion: v1\nkind: Node\nmetadata: {{name: {node}}}\n");
    }
    for space in ["web", "x-ignored-y"] {
        objects += &format!("---\napiVersion: v1\nkind: Namespace\nmetadata: {{name: {space}}}\n");
    }
    objects += &pod(&namespace, "vllm-0", "model-server", "n1", "app: vllm, tier: a");
    objects += &pod(&namespace, "vllm-1", "default", "n2", "app: vllm");
    objects += &pod(&namespace, "vllm-pending", "model-server", "", "app: vllm");
    objects += &pod(&namespace, "lost", "model-server", "no-such-node", "app: other, tier: b");
    objects += &pod("web", "web-0", "model-server", "n2", "app: vllm");
    objects += &pod("web", "web-1", "web", "n1", "app: web, tier: b");
    objects += &pod("x-ignored-y", "vllm-0", "model-server", "n1", "app: vllm, tier: a");
    objects += &others(&namespace);
    apply_yaml(&client, &objects).await.unwrap();
    world.create_all([pool("llama", &[("app", "vllm")]), objective("chat", "llama")]).await;
    world.create_all([per_objective("chat", "chat", "vllm"), pool_only("pool", "chat")]).await;
    let flags = ["--trust-domain", "example.org", "--clusterspiffeid-class-name", "watched"];
    let _operator = world.operator_with(&flags).await;

    let spire =
        Spire::start(Path::new(&assets), &world.kubeconfig_as("scm", &["system:masters"]).unwrap()).await;
    let entries = agree(&world, &spire, 8).await;
    let ours = format!("spiffe://example.org/ns/{namespace}/objective/chat");
    assert_eq!(entries.iter().filter(|entry| entry.id == ours).count(), 2, "vllm-0 and vllm-1: {entries:#?}");
    let fallback = format!("spiffe://example.org/ns/{namespace}/sa/");
    assert!(!entries.iter().any(|entry| entry.id.starts_with(&fallback)), "displaced: {entries:#?}");
    println!("{} entries as foreseen", entries.len());

    // A pod is relabelled, a binding goes, and what stood in the fallback's way goes: it comes back.
    world.delete(Kind::Binding, "pool").await;
    let relabelled = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "vllm-1", "namespace": namespace, "labels": {"app": "other"}}});
    apply_pod_labels(&client, &namespace, "vllm-1", &relabelled).await;
    for name in ["same-1", "same-2", "reserved", "twice"] {
        world.delete(Kind::Output, name).await;
    }
    let entries = agree(&world, &spire, 4).await;
    assert_eq!(entries.iter().filter(|entry| entry.id == ours).count(), 1, "{entries:#?}");
    assert!(entries.iter().any(|entry| entry.id.starts_with(&fallback)), "back again: {entries:#?}");
    println!("{} entries as foreseen", entries.len());
}

async fn apply_pod_labels(client: &kube::Client, namespace: &str, name: &str, patch: &Value) {
    let pods: Api<k8s_openapi::api::core::v1::Pod> = Api::namespaced(client.clone(), namespace);
    let parameters = kube::api::PatchParams::default();
    pods.patch(name, &parameters, &kube::api::Patch::Merge(patch)).await.unwrap();
}
