//! Where no binding of a namespace has a status: nothing that is said rests on a trust domain that nobody uses, unless that
//! is said, too.

use kleym_api::resource::api_resource;
use kleym_core::kind::Kind;
use kleym_testenv::apply_yaml;
use kube::Client;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use serde_json::{Value, json};

use crate::live::bare;
use crate::run::Folder;

/// What is declared in a namespace.
fn declared(namespace: &str) -> [Value; 3] {
    let meta = |name: &str| json!({"name": name, "namespace": namespace});
    [
        json!({
            "apiVersion": "kleym.sonda.red/v1alpha1", "kind": "InferenceIdentityBinding", "metadata": meta("chat"),
            "spec": {
                "targetRef": {"name": "goal"}, "selectorSource": "DerivedFromPool",
                "workloadSelectorTemplates": [format!("k8s:ns:{namespace}"), "k8s:sa:server"],
                "containerDiscriminator": {"type": "ContainerName", "value": "vllm"},
            },
        }),
        json!({"apiVersion": "llm-d.ai/v1alpha2", "kind": "InferenceObjective", "metadata": meta("goal"),
            "spec": {"poolRef": {"name": "llama"}}}),
        json!({"apiVersion": "inference.networking.k8s.io/v1", "kind": "InferencePool", "metadata": meta("llama"),
            "spec": {"selector": {"matchLabels": {"app": "llama"}}, "targetPorts": [{"number": 8000}],
                "endpointPickerRef": {"name": "picker", "port": {"number": 9002}}}}),
    ]
}

fn pod(namespace: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "vllm-0", "namespace": namespace, "uid": format!("pod-{namespace}"),
            "labels": {"app": "llama"}},
        "spec": {"serviceAccountName": "server", "nodeName": "n1", "containers": [{"name": "vllm", "image": "vllm"}]},
        "status": {"phase": "Running"}})
}

/// The output that an operator of this trust domain and class writes for the binding of a namespace.
fn output(namespace: &str, trust_domain: &str, class: &str) -> Value {
    let list = json!({"apiVersion": "v1", "kind": "List", "items": declared(namespace)}).to_string();
    let flags = format!("--trust-domain {trust_domain} --clusterspiffeid-class-name {class}");
    let rendered = Folder::with(&[("x.yaml", &list)]).kleym(&format!("render -f . -o json {flags}"));
    let output: Value = serde_json::from_str(&rendered.out).unwrap();
    let mut output = output.pointer("/items/0").cloned().unwrap_or(output);
    output["metadata"]["annotations"]["kleym.sonda.red/binding-uid"] = json!("uid-of-one-that-went");
    output
}

fn deployment(name: &str, arguments: &[&str]) -> Value {
    let labels = json!({"app.kubernetes.io/name": "kleym", "app.kubernetes.io/component": "operator"});
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": name, "namespace": "default", "labels": labels},
        "spec": {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels},
            "spec": {"containers": [{"name": "operator", "image": "kleym-operator", "args": arguments}]}}},
    })
}

fn dump(objects: impl IntoIterator<Item = Value>) -> Folder {
    let items: Vec<Value> = objects.into_iter().collect();
    Folder::with(&[("dump.json", &json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string())])
}

#[test]
fn an_output_that_is_left_is_found_whatever_its_trust_domain_is() {
    let folder = dump([pod("llm"), output("llm", "example.org", "spire")]);
    let id = "spiffe://example.org/ns/llm/objective/goal";
    for asked in [format!("explain {id}"), "explain pod/vllm-0".to_owned()] {
        let answer = folder.kleym(&format!("{asked} -f dump.json -n llm"));
        assert!(answer.out.contains(id) && answer.exit != Some(3), "{answer}");
        assert!(!answer.out.contains("kleym.sonda.red/ns"), "{answer}");
    }
    // Of two that do not agree, and have no pods, each is found.
    let other = output("web", "example.net", "spire");
    let folder = dump([output("llm", "example.org", "spire"), other]);
    for id in [id, "spiffe://example.net/ns/web/objective/goal"] {
        let answer = folder.kleym(&format!("explain {id} -f dump.json"));
        assert_eq!(answer.exit, Some(0), "{answer}");
        assert!(answer.out.contains("that was not read; no pod that was read has it"), "{answer}");
    }
}

#[test]
fn a_deployment_in_files_says_what_the_operator_is_started_with() {
    let deployment = deployment("kleym", &["--trust-domain=example.org"]);
    let objects: Vec<Value> = declared("llm").into_iter().chain([pod("llm"), deployment]).collect();
    let answer = dump(objects).kleym("inspect binding chat -n llm -f dump.json");
    assert!(answer.out.contains("spiffe://example.org/ns/llm/objective/goal"), "{answer}");
    let says = "settings, for no binding of namespace `llm` has a status: trust domain `example.org`";
    assert!(answer.err.contains(says), "{answer}");
}

/// A cluster in which namespace `llm` has an operator that reports `example.org`, and `audio` has none that does.
struct World {
    _plane: kleym_testenv::ControlPlane,
    client: Client,
    folder: Folder,
    kubeconfig: String,
}

impl World {
    async fn new() -> Self {
        let plane = bare(&Kind::ALL).await;
        let client = plane.client().unwrap();
        for name in ["llm", "audio"] {
            let space = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
            apply_yaml(&client, &space.to_string()).await.unwrap();
            for object in declared(name) {
                apply_yaml(&client, &object.to_string()).await.unwrap();
            }
        }
        let kubeconfig = plane.kubeconfig().unwrap().display().to_string();
        Self { _plane: plane, client, folder: Folder::new(), kubeconfig }
    }

    async fn report(&self, namespace: &str, status: Value) {
        let bindings: Api<DynamicObject> =
            Api::namespaced_with(self.client.clone(), namespace, &api_resource(Kind::Binding));
        let patch = Patch::Merge(json!({ "status": status }));
        bindings.patch_status("chat", &PatchParams::default(), &patch).await.unwrap();
    }

    fn kleym(&self, arguments: &str) -> crate::run::Answer {
        self.folder.kleym(&format!("{arguments} --kubeconfig {}", self.kubeconfig))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_trust_domain_is_made_up_for_a_namespace_that_nobody_reports_on() {
    let world = World::new().await;
    let nobody = "warning[KLM9104]: nobody says which trust domain kleym-operator has";
    for asked in ["inspect binding chat", "status", "explain binding/chat", "check"] {
        let answer = world.kleym(&format!("{asked} -n audio"));
        let said = format!("{}{}", answer.out, answer.err).replace("warn  KLM9104 ", "warning[KLM9104]: ");
        assert!(said.contains(&format!("{nobody} (")), "{answer}");
        assert!(said.contains("so `kleym.sonda.red` is assumed"), "{answer}");
        let given = world.kleym(&format!("{asked} -n audio --trust-domain example.org"));
        assert!(!given.err.contains("nobody says") && !given.out.contains("nobody says"), "{given}");
    }
    // What is asked for says what it is asked of.
    let id = "spiffe://example.org/ns/audio/objective/goal";
    let answer = world.kleym(&format!("explain {id}"));
    assert!(answer.out.contains("binding/chat   audio"), "{answer}");
    assert!(
        answer.err.contains("so `example.org` is taken, as in the SPIFFE ID that is asked for"),
        "{answer}"
    );
    let data = world.kleym(&format!("explain {id} -o json"));
    assert!(data.out.contains("nobody says which trust domain"), "{data}");
    let not_there = world.kleym("explain spiffe://example.org/ns/audio/objective/other");
    assert_eq!(not_there.exit, Some(3), "{not_there}");
    assert!(not_there.err.contains("nobody says which trust domain"), "{not_there}");

    // An ID into which SCM is yet to fill a trust domain is no fact either.
    let apply = async |object: Value| apply_yaml(&world.client, &object.to_string()).await.unwrap();
    apply(json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "server", "namespace": "audio"}}))
        .await;
    apply(json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}})).await;
    let mut running = pod("audio");
    running.as_object_mut().unwrap().remove("status");
    running["metadata"].as_object_mut().unwrap().remove("uid");
    apply(running).await;
    apply(json!({"apiVersion": "spire.spiffe.io/v1alpha1", "kind": "ClusterSPIFFEID", "metadata": {"name": "default"},
        "spec": {"className": "spire", "fallback": true,
            "spiffeIDTemplate": "spiffe://{{ .TrustDomain }}/ns/{{ .PodMeta.Namespace }}/sa/{{ .PodSpec.ServiceAccountName }}"}}))
        .await;
    let scm = "--scm-class-name spire --scm-ignore-namespaces x";
    let sure = "spiffe://kleym.sonda.red/ns/audio/sa/server";
    let answer = world.kleym(&format!("explain pod/vllm-0 -n audio {scm}"));
    assert!(answer.out.contains(&format!("{sure}   default (maybe)\n")), "{answer}");
    let given = world.kleym(&format!("explain pod/vllm-0 -n audio {scm} --trust-domain kleym.sonda.red"));
    assert!(given.out.contains(&format!("{sure}   default\n")), "{given}");

    // An output that an operator left.
    apply_yaml(&world.client, &output("gone", "left.example", "spire").to_string()).await.unwrap();
    let answer = world.kleym("inspect binding chat -n audio");
    let says = "settings, for no binding of namespace `audio` has a status: trust domain `left.example`, class `spire` as the outputs of Kleym have them";
    assert!(answer.err.contains(says), "{answer}");

    // Operators elsewhere.
    let status = json!({"observedGeneration": 1, "trustDomain": "example.org", "instance": "default"});
    world.report("llm", status).await;
    for asked in ["inspect binding chat -n audio -o json", "status -n audio -o json"] {
        let answer = world.kleym(asked);
        assert!(answer.out.contains("\"trustDomain\": \"example.org\""), "{answer}");
        assert!(!answer.err.contains("nobody says"), "{answer}");
        let says =
            "trust domain `example.org`, class none as the status of 1 binding in other namespaces reports";
        assert!(answer.err.contains(says), "{answer}");
    }

    // The Deployment says it best.
    let started = deployment("kleym", &["--trust-domain=example.com", "--path-grant=audio=/sound"]);
    apply_yaml(&world.client, &started.to_string()).await.unwrap();
    let answer = world.kleym("inspect binding chat -n audio");
    assert!(answer.out.contains("spiffe://example.com/ns/audio/objective/goal"), "{answer}");
    assert!(answer.err.contains("as Deployment default/kleym has them"), "{answer}");
    assert!(answer.err.contains("path grants `audio=/sound`"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_operator_works_on_is_said() {
    let world = World::new().await;
    let apply = async |object: &Value| apply_yaml(&world.client, &object.to_string()).await.unwrap();
    apply(&deployment(
        "kleym",
        &["--trust-domain", "example.org", "--watch-namespace=llm", "--watch-namespace", "other"],
    ))
    .await;
    let status = json!({"observedGeneration": 1, "trustDomain": "example.org", "instance": "default"});
    world.report("llm", status.clone()).await;
    let says = "no operator works in namespace `audio`, which has bindings: --watch-namespace of Deployment default/kleym watches `llm` and `other`";
    let does = "add audio to --watch-namespace (KLEYM_WATCH_NAMESPACE) of Deployment default/kleym";
    for asked in ["check", "check -n audio", "status -n audio", "status -A", "inspect binding chat -n audio"]
    {
        let answer = world.kleym(asked);
        let said = format!("{}{}", answer.out, answer.err);
        assert!(said.contains(says) && said.contains(does) && said.contains("KLM9201"), "{answer}");
    }
    let watched = world.kleym("status -n llm");
    assert!(!watched.err.contains("no operator works"), "{watched}");
    let answer = world.kleym("explain binding/chat -n audio");
    assert!(answer.err.contains(says), "{answer}");
    // The same, as a list in the variable; and where that stands elsewhere nothing is known.
    let mut by_variable = deployment("kleym", &["--trust-domain", "example.org"]);
    let env = &mut by_variable["spec"]["template"]["spec"]["containers"][0];
    env["env"] = json!([{"name": "KLEYM_WATCH_NAMESPACE", "value": "llm,other"}]);
    let folder = dump(declared("audio").into_iter().chain([by_variable.clone()]));
    let answer = folder.kleym("status -f dump.json");
    assert!(answer.err.contains(says), "{answer}");
    by_variable["spec"]["template"]["spec"]["containers"][0]["env"] = json!([{"name": "KLEYM_WATCH_NAMESPACE",
        "valueFrom": {"configMapKeyRef": {"name": "kleym", "key": "watched"}}}]);
    let answer = dump(declared("audio").into_iter().chain([by_variable])).kleym("status -f dump.json");
    assert!(!answer.err.contains("no operator works"), "{answer}");

    // What another instance left, whether its bindings live or not.
    let mut left = output("llm", "example.org", "spire").to_string();
    left = left.replace("\"kleym.sonda.red/instance\":\"default\"", "\"kleym.sonda.red/instance\":\"old\"");
    let mut left: Value = serde_json::from_str(&left).unwrap();
    left["metadata"]["name"] = json!("kleym-llm-chat-old");
    apply(&left).await;
    let says = "1 output of the instance `old`, which no operator has (no Deployment and no status says it), is a grant that nobody changes or takes away: `kleym-llm-chat-old`";
    let does =
        "`kubectl delete clusterspiffeids -l kleym.sonda.red/managed-by=kleym,kleym.sonda.red/instance=old`";
    for asked in ["check", "check -n llm"] {
        let answer = world.kleym(asked);
        assert!(answer.out.contains(says) && answer.out.contains(does), "{answer}");
        assert!(answer.out.contains("FAIL  KLM5012"), "{answer}");
    }
    // What is broken comes before what is only odd, in every group.
    let check = world.kleym("check");
    let identities =
        check.out.split("\nidentities\n").nth(1).unwrap().split("\npermissions\n").next().unwrap();
    let marks = identities.lines().filter_map(|line| line.get(2..6)).filter(|mark| !mark.trim().is_empty());
    let marks: Vec<&str> = marks.filter(|mark| ["FAIL", "warn"].contains(mark)).collect();
    assert!(marks.contains(&"FAIL") && marks.contains(&"warn"), "{check}");
    assert!(marks.is_sorted(), "{check}");
    let elsewhere = world.kleym("check -n audio");
    assert!(!elsewhere.out.contains("instance `old`"), "{elsewhere}");

    // Path grants that the operator would not start with.
    let mut with_grant = status;
    with_grant["pathGrants"] = json!(["/blue"]);
    world.report("llm", with_grant).await;
    let answer = world.kleym("status -n audio --path-grant audio=/blue/x");
    let says = "warning[KLM9104]: the operator would refuse to start with what is given here: path grants `audio=/blue/x` and `llm=/blue` overlap";
    assert!(answer.err.contains(says), "{answer}");
    let answer = world.kleym("status -A --path-grant audio=/green");
    let says = "warning[KLM9104]: the path grants of namespace `llm` are none here, but the operator's are `/blue`, as the status of its bindings reports";
    assert!(answer.err.contains(says), "{answer}");
    let same = world.kleym("status -n llm --path-grant llm=/blue");
    assert!(!same.err.contains("path grants of namespace"), "{same}");
}
