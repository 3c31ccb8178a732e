//! `kleym check` and `kleym explain` in a cluster: what is read, what is said, and what happens without permissions.

use serde_json::json;

use crate::live::Cluster;
use crate::run::Folder;
use crate::schemas::kind_of_valid;

/// Settings of spire-controller-manager, in a namespace of the test.
const MANAGER: &str = "apiVersion: v1
kind: ConfigMap
metadata: {name: scm}
data:
  config.yaml: |
    kind: ControllerManagerConfig
    trustDomain: example.org
    className: watched
    ignoreNamespaces: [kube-system]
";

const DECLARED: &str = "apiVersion: kleym.sonda.red/v1alpha1
kind: InferenceIdentityBinding
metadata: {name: chat}
spec:
  targetRef: {name: chat}
  selectorSource: DerivedFromPool
  workloadSelectorTemplates: ['k8s:ns:{{ .Namespace }}', 'k8s:sa:llama']
  containerDiscriminator: {type: ContainerName, value: vllm}
---
apiVersion: llm-d.ai/v1alpha2
kind: InferenceObjective
metadata: {name: chat}
spec: {poolRef: {name: llama}}
---
apiVersion: inference.networking.k8s.io/v1
kind: InferencePool
metadata: {name: llama}
spec:
  selector: {matchLabels: {app: vllm}}
  targetPorts: [{number: 8000}]
---
apiVersion: v1
kind: Pod
metadata: {name: vllm-0, labels: {app: vllm}}
spec:
  serviceAccountName: llama
  containers: [{name: vllm, image: 'r/vllm:v1'}]
";

const FLAGS: &str = "--trust-domain example.org --clusterspiffeid-class-name watched --instance of-the-check";

/// A cluster whose output was written by hand as the operator would.
async fn written(namespace: &str) -> Cluster {
    let cluster = Cluster::with(namespace, &format!("{DECLARED}---\n{MANAGER}")).await;
    cluster.settled().await;
    let declared = DECLARED.replace("metadata: {name", &format!("metadata: {{namespace: {namespace}, name"));
    let uid = cluster.uid("chat").await;
    let declared = declared
        .replace("name: chat}\nspec:\n  targetRef", &format!("name: chat, uid: {uid}}}\nspec:\n  targetRef"));
    let rendered = Folder::with(&[("all.yaml", &declared)]).kleym(&format!("render -f . {FLAGS}"));
    cluster.apply(&rendered.out).await;
    cluster
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_of_a_cluster_is_explained_from_one_list_a_kind() {
    let namespace = "explain-live";
    let cluster = written(namespace).await;
    let before = cluster.calls().await.len();
    let answer = cluster.kleym(&format!("explain pod/vllm-0 --scm-namespace {namespace} {FLAGS}"));
    // Nothing has been reported on the output, because nobody watches it here; the pod is on no node, and that is no fault.
    assert_eq!(answer.exit, Some(0), "{answer}");
    assert!(answer.out.contains("cause  KLM6105"), "{answer}");
    assert!(answer.out.contains("8 ok   class            watched"), "{answer}");
    let calls = cluster.calls().await.split_off(before);
    assert!(calls.iter().all(|call| call.starts_with("list ")), "{calls:?}");
    let twice = calls.iter().filter(|call| calls.iter().filter(|other| other == call).count() > 1).count();
    assert_eq!(twice, 0, "{calls:?}");

    let wrong = FLAGS.replace("class-name watched", "class-name other");
    let answer = cluster.kleym(&format!("explain binding/chat --scm-namespace {namespace} {wrong}"));
    assert!(answer.out.contains("cause  KLM5011"), "the settings are not those of the output: {answer}");
    let manager = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "scm"},
        "data": {"config.yaml": "kind: ControllerManagerConfig\ntrustDomain: example.org\nclassName: other\n"}});
    cluster.apply(&manager.to_string()).await;
    let answer = cluster.kleym(&format!("explain binding/chat --scm-namespace {namespace} {FLAGS}"));
    assert!(answer.out.contains("cause  KLM6001"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_says_what_is_right_and_what_is_not() {
    let namespace = "check-live";
    let cluster = written(namespace).await;
    let answer = cluster.kleym(&format!("check --scm-namespace {namespace} {FLAGS}"));
    insta::assert_snapshot!("check_live", answer);
    let data = cluster.kleym(&format!("check -o json --scm-namespace {namespace} {FLAGS}"));
    assert_eq!(kind_of_valid(&data), "CheckReport");
    // What a pattern ignores that cannot be read is not known.
    let unread = cluster.kleym(&format!("check --scm-ignore-namespaces ibm-[ {FLAGS}"));
    assert!(!unread.out.contains("it ignores no namespace"), "{unread}");
    let says = "info  KLM6106 `ibm-[` in `ignoreNamespaces` is no expression that can be read here";
    assert!(unread.out.contains(says), "{unread}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_permissions_a_check_names_verb_and_resource_and_goes_on() {
    let cluster = Cluster::of(&["kleym-nobody"], "check-nobody", DECLARED).await;
    let answer = cluster.kleym(&format!("check {FLAGS}"));
    for resource in
        ["pods", "nodes", "namespaces", "clusterspiffeids", "deployments", "customresourcedefinitions"]
    {
        assert!(answer.out.contains(&format!("`{resource}")), "{resource}: {answer}");
    }
    assert!(answer.out.contains("KLM9102"), "{answer}");
    // Nothing at all may be read: that is no health.
    assert_eq!(answer.exit, Some(4), "{answer}");
    assert!(!answer.out.contains("  ok  "), "{answer}");
    assert!(answer.err.contains("nothing could be read"), "{answer}");
}

/// A server that gives every call the same answer, as long as the tests run.
fn always(status: &'static str, body: &'static str) -> String {
    use std::io::{Read, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            let mut asked = [0; 4096];
            // A call that broke off is for the caller to tell.
            drop(stream.read(&mut asked));
            let length = body.len();
            drop(write!(
                stream,
                "HTTP/1.1 {status}\r\nContent-Type: text/html\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
            ));
        }
    });
    format!("http://{address}")
}

/// A server that answers every list with more than anybody reads, and every page of one object with an empty list.
fn too_much() -> (String, std::sync::Arc<std::sync::Mutex<Vec<String>>>) {
    use std::io::{BufRead, BufReader, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let asked = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let noted = std::sync::Arc::clone(&asked);
    let answer = move |stream: std::net::TcpStream| -> std::io::Result<()> {
        let mut reader = BufReader::new(stream.try_clone()?);
        let mut head = String::new();
        reader.read_line(&mut head)?;
        let mut line = String::new();
        while reader.read_line(&mut line)? > 2 {
            line.clear();
        }
        noted.lock().unwrap().push(head.clone());
        let mut stream = stream;
        let mut send = |length: usize| {
            write!(
                stream,
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
            )?;
            stream.try_clone()
        };
        let small = br#"{"kind":"List","metadata":{},"items":[]}"#;
        if head.contains("limit=1 ") || head.contains("limit=1&") {
            return send(small.len())?.write_all(small);
        }
        let mut stream = send(64 << 20)?;
        let piece = vec![b' '; 1 << 20];
        for _ in 0..64 {
            stream.write_all(&piece)?;
        }
        Ok(())
    };
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // That nobody reads on is what is wanted.
            drop(answer(stream));
        }
    });
    (format!("http://{address}"), asked)
}

#[test]
fn an_answer_that_is_too_large_is_asked_for_again_in_smaller_pages_and_not_read_else() {
    let (server, asked) = too_much();
    let folder = Folder::with(&[("k", &kubeconfig(&server))]);
    // Every page that could be smaller is asked for again, down to one object; so the command has its answer.
    let answer = folder.kleym("status --kubeconfig k");
    assert_eq!((answer.exit, answer.out.lines().count()), (Some(0), 1), "{answer}");
    let of_bindings = || {
        let asked = asked.lock().unwrap();
        let limits = asked.iter().filter(|head| head.contains("/inferenceidentitybindings?"));
        limits
            .map(|head| head.split("limit=").nth(1).unwrap().split([' ', '&']).next().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(of_bindings(), ["500", "63", "8", "1"]);

    // Where even that is too large, the error says so. `check` asks for leases of no operator, and for definitions.
    let server = always("200 OK", Box::leak(" ".repeat(17 << 20).into_boxed_str()));
    let folder = Folder::with(&[("k", &kubeconfig(&server))]);
    let answer = folder.kleym("status --kubeconfig k");
    assert_eq!(answer.exit, Some(4), "{answer}");
    assert!(answer.err.contains("the answer is larger than 16 MiB and was not read"), "{answer}");
}

/// A kubeconfig for a server of a test.
fn kubeconfig(server: &str) -> String {
    json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "k", "cluster": {"server": server}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
    })
    .to_string()
}

#[test]
fn a_check_that_could_read_nothing_is_no_success() {
    let html = "<html>a proxy</html>";
    for server in [
        "http://127.0.0.1:1".to_owned(),
        always("401 Unauthorized", html),
        always("403 Forbidden", html),
        always("404 Not Found", html),
        always("500 Internal Server Error", html),
        always("200 OK", html),
    ] {
        let folder = Folder::with(&[("k", &kubeconfig(&server))]);
        let answer = folder.kleym("check --kubeconfig k");
        assert_eq!(answer.exit, Some(4), "{answer}");
        assert!(!answer.out.contains("  ok  "), "{answer}");
        assert!(!answer.err.contains("-f"), "{answer}");
        assert_eq!(answer.err.matches("error: ").count(), 1, "{answer}");
    }
}

#[test]
fn a_check_is_of_a_cluster_and_advises_no_files() {
    let none = Folder::new().kleym("check");
    assert_eq!(none.exit, Some(4), "{none}");
    assert!(none.err.ends_with("  = help: name a kubeconfig with --kubeconfig or KUBECONFIG\n"), "{none}");
    let away = Folder::with(&[("k", &kubeconfig("http://127.0.0.1:1"))]).kleym("check --kubeconfig k");
    let help = "  = help: see that the API server answers (`kubectl get --raw /readyz`), or choose another context with --context\n";
    assert!(away.err.ends_with(help), "{away}");
}

/// An operator's Deployment that is ready, with these arguments.
async fn deployed(client: &kube::Client, arguments: &[&str]) {
    use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams};
    let labels = json!({"app.kubernetes.io/name": "kleym", "app.kubernetes.io/component": "operator"});
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "kleym-operator", "namespace": "kleym-system", "labels": labels},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "operator", "image": "kleym-operator", "args": arguments}]},
            },
        },
    });
    kleym_testenv::apply_yaml(client, &deployment.to_string()).await.unwrap();
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("apps", "v1", "Deployment"));
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), "kleym-system", &resource);
    let ready = json!({"status": {"replicas": 1, "readyReplicas": 1}});
    api.patch_status("kleym-operator", &PatchParams::default(), &Patch::Merge(ready)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_settings_of_the_deployment_are_compared_with_what_bindings_report() {
    use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams};
    let plane = crate::live::bare(&kleym_core::kind::Kind::ALL).await;
    let client = plane.client().unwrap();
    for namespace in ["llm", "kleym-system"] {
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
        kleym_testenv::apply_yaml(&client, &namespace.to_string()).await.unwrap();
    }
    deployed(&client, &["--trust-domain=example.org", "--clusterspiffeid-class-name", "spire"]).await;
    let folder = Folder::new();
    let kubeconfig = plane.kubeconfig().unwrap();
    let check = |flags: &str| folder.kleym(&format!("check --kubeconfig {} {flags}", kubeconfig.display()));

    // No binding has reported anything: the Deployment says what it will be.
    let answer = check("--scm-class-name spire --scm-ignore-namespaces x");
    let source = "settings, for no binding has a status: trust domain `example.org`, class `spire` as Deployment kleym-system/kleym-operator has them";
    assert!(answer.err.contains(source) && !answer.out.contains("KLM9104"), "{answer}");
    assert!(answer.out.contains("it watches class `spire`"), "{answer}");

    let declared = DECLARED.replace("metadata: {name", "metadata: {namespace: llm, name");
    let (bindings, _) = declared.split_once("---\napiVersion: v1\n").unwrap();
    kleym_testenv::apply_yaml(&client, bindings).await.unwrap();
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(
        "kleym.sonda.red",
        "v1alpha1",
        "InferenceIdentityBinding",
    ));
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), "llm", &resource);
    let report = |trust_domain: &str, class: &str| {
        json!({"status": {"observedGeneration": 1, "trustDomain": trust_domain,
            "clusterSPIFFEIDClassName": class, "instance": "default"}})
    };
    let write = async |status| {
        api.patch_status("chat", &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
    };
    write(report("example.org", "spire")).await;
    let answer = check("");
    assert!(!answer.out.contains("KLM9104") && answer.err.contains("as the status of 1 binding"), "{answer}");

    write(report("old.example.org", "spire")).await;
    let answer = check("");
    let says = "Deployment kleym-system/kleym-operator has the trust domain `example.org`, but `old.example.org` is what the bindings' status reports";
    assert!(answer.out.contains(&format!("warn  KLM9104 {says}")), "{answer}");
    assert_eq!(answer.out.matches("KLM9104").count(), 2, "{answer}");

    write(report("example.org", "spire")).await;
    let answer = check("--clusterspiffeid-class-name other");
    assert!(answer.out.contains("has the class `spire`, but `other` is given here"), "{answer}");
}
