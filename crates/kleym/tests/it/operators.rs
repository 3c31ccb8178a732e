//! Two operators in one cluster, each with an instance name, a trust domain, a class, namespaces and a SPIRE of its own: what
//! is said of a binding rests on the settings of the operator of its namespace.

use kleym_api::resource::api_resource;
use kleym_core::kind::Kind;
use kleym_testenv::{ControlPlane, apply_yaml};
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use serde_json::{Value, json};

use crate::live::bare;
use crate::run::{Answer, Folder};

/// An operator: instance, which is the namespace too, and trust domain. Its class is named like its instance.
const EAST: (&str, &str) = ("east", "east.example.org");
const WEST: (&str, &str) = ("west", "west.example.org");

fn flags((instance, trust_domain): (&str, &str)) -> String {
    format!("--instance {instance} --trust-domain {trust_domain} --clusterspiffeid-class-name {instance}")
}

/// What is declared in the namespace of an operator, and its pod.
fn declared((namespace, _): (&str, &str)) -> Vec<Value> {
    let meta = |name: &str| json!({"name": name, "namespace": namespace});
    vec![
        json!({
            "apiVersion": "kleym.sonda.red/v1alpha1", "kind": "InferenceIdentityBinding",
            "metadata": {"name": "chat", "namespace": namespace, "uid": format!("uid-{namespace}"), "generation": 1,
                "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {
                "targetRef": {"name": "goal"}, "selectorSource": "DerivedFromPool",
                "workloadSelectorTemplates": [format!("k8s:ns:{namespace}"), "k8s:sa:server"],
                "containerDiscriminator": {"type": "ContainerName", "value": "vllm"},
            },
        }),
        json!({"apiVersion": "llm-d.ai/v1alpha2", "kind": "InferenceObjective", "metadata": meta("goal"),
            "spec": {"poolRef": {"name": "llama"}}}),
        json!({"apiVersion": "inference.networking.k8s.io/v1", "kind": "InferencePool", "metadata": meta("llama"),
            "spec": {"selector": {"matchLabels": {"app": "llama"}}}}),
        json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "vllm-0", "namespace": namespace, "uid": format!("pod-{namespace}"),
                "labels": {"app": "llama"}},
            "spec": {"serviceAccountName": "server", "nodeName": "n1",
                "containers": [{"name": "vllm", "image": "vllm"}]},
            "status": {"phase": "Running"}}),
    ]
}

/// Everything that a cluster holds of an operator that has done its work: binding with its status, output, pod, SPIRE.
fn done(operator: (&str, &str)) -> Vec<Value> {
    done_for(operator, &format!("uid-{}", operator.0))
}

/// The same, of a binding with this uid.
fn done_for(operator: (&str, &str), uid: &str) -> Vec<Value> {
    let (instance, trust_domain) = operator;
    let mut all = declared(operator);
    all[0]["metadata"]["uid"] = json!(uid);
    let list = json!({"apiVersion": "v1", "kind": "List", "items": all}).to_string();
    let rendered =
        Folder::with(&[("x.yaml", &list)]).kleym(&format!("render -f . -o json {}", flags(operator)));
    let mut output: Value = serde_json::from_str(&rendered.out).unwrap();
    if let Some(only) = output.pointer("/items/0").cloned() {
        output = only;
    }
    output["metadata"]["uid"] = json!(format!("output-{instance}"));
    output["metadata"]["resourceVersion"] = json!("1");
    output["status"] = json!({"stats": {"podsSelected": 1, "entriesToSet": 1}});
    let id = format!("spiffe://{trust_domain}/ns/{instance}/objective/goal");
    all[0]["status"] = json!({
        "observedGeneration": 1, "trustDomain": trust_domain, "clusterSPIFFEIDClassName": instance,
        "instance": instance,
        "computedSpiffeIDs": [{"mode": "PerObjective", "spiffeID": id}],
        "conditions": [{"type": "Ready", "status": "True", "reason": "Reconciled", "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": 1}],
    });
    all.push(output);
    all.push(json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "scm", "namespace": format!("spire-{instance}")},
        "data": {"config.yaml": format!(
            "kind: ControllerManagerConfig\ntrustDomain: {trust_domain}\nclassName: {instance}\nignoreNamespaces: [kube-system]\n"
        )},
    }));
    all
}

fn dump(objects: impl IntoIterator<Item = Value>) -> Folder {
    let items: Vec<Value> = objects.into_iter().collect();
    Folder::with(&[("dump.json", &json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string())])
}

/// Both operators have done their work.
fn both() -> Vec<Value> {
    done(EAST).into_iter().chain(done(WEST)).collect()
}

/// That of the command nothing is said but where its settings come from.
fn nothing_is_wrong(answer: &Answer) {
    assert_eq!(answer.exit, Some(0), "{answer}");
    for alarm in ["error", "warning["] {
        assert!(!answer.err.replace("0 errors, 0 warnings", "").contains(alarm), "{alarm}: {answer}");
    }
    assert!(!answer.err.contains("KLM9104"), "{answer}");
}

#[test]
fn of_the_bindings_of_two_operators_each_is_judged_by_the_settings_of_its_own() {
    let folder = dump(both());
    let status = folder.kleym("status -f dump.json -A -o wide");
    nothing_is_wrong(&status);
    let source = "settings as the status of 2 bindings reports: in namespace `east` trust domain `east.example.org`, class `east`, instance `east`; in namespace `west` trust domain `west.example.org`, class `west`, instance `west`";
    assert!(status.err.contains(source), "{status}");

    for (namespace, trust_domain) in [EAST, WEST] {
        let id = format!("spiffe://{trust_domain}/ns/{namespace}/objective/goal");
        assert!(status.out.contains(&id), "{status}");
        for command in ["inspect binding chat", "explain binding/chat", "explain pod/vllm-0"] {
            let answer = folder.kleym(&format!("{command} -n {namespace} -f dump.json"));
            nothing_is_wrong(&answer);
            assert!(answer.out.contains(&id), "{answer}");
            assert!(!answer.out.contains("KLM"), "{answer}");
        }
        let inspect = folder.kleym(&format!("inspect binding chat -n {namespace} -f dump.json -o json"));
        let inspect: Value = serde_json::from_str(&inspect.out).unwrap();
        assert_eq!(inspect["output"]["state"], "InSync", "{inspect}");
        assert_eq!(inspect["settings"]["instance"], namespace);
    }
}

#[test]
fn data_say_which_settings_hold_where() {
    let report = dump(both()).kleym("status -f dump.json -A -o json");
    assert_eq!(crate::schemas::kind_of_valid(&report), "StatusReport");
    let report: Value = serde_json::from_str(&report.out).unwrap();
    assert_eq!(
        report["settings"],
        json!({"trustDomain": "east.example.org", "className": "east", "instance": "east", "others": [
            {"namespaces": ["west"], "trustDomain": "west.example.org", "className": "west", "instance": "west"},
        ]})
    );
}

/// Both operators in a cluster, with their Deployments.
async fn cluster() -> (ControlPlane, Folder, String) {
    let plane = bare(&Kind::ALL).await;
    let client = plane.client().unwrap();
    let apply = async |object: &Value| apply_yaml(&client, &object.to_string()).await.unwrap();
    for name in ["east", "west", "spire-east", "spire-west", "kleym-system"] {
        apply(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})).await;
    }
    let given = |object: &Value| {
        let mut object = object.clone();
        let object_of = object.as_object_mut().unwrap();
        object_of.remove("status");
        let metadata = object_of["metadata"].as_object_mut().unwrap();
        for field in ["uid", "resourceVersion", "generation", "creationTimestamp"] {
            metadata.remove(field);
        }
        if object["kind"] == "InferencePool" {
            object["spec"]["targetPorts"] = json!([{"number": 8000}]);
            object["spec"]["endpointPickerRef"] = json!({"name": "picker", "port": {"number": 9002}});
        }
        object
    };
    for operator in [EAST, WEST] {
        let (instance, trust_domain) = operator;
        let without_pods = |object: &&Value| object["kind"] != "Pod";
        for object in declared(operator).iter().filter(without_pods) {
            apply(&given(object)).await;
        }
        let bindings: Api<DynamicObject> =
            Api::namespaced_with(client.clone(), instance, &api_resource(Kind::Binding));
        let uid = bindings.get("chat").await.unwrap().metadata.uid.unwrap();
        let all = done_for(operator, &uid);
        for object in all.iter().filter(without_pods) {
            apply(&given(object)).await;
        }
        let outputs: Api<DynamicObject> = Api::all_with(client.clone(), &api_resource(Kind::Output));
        let output = all.iter().find(|object| object["kind"] == "ClusterSPIFFEID").unwrap();
        let (parameters, name) = (PatchParams::default(), output["metadata"]["name"].as_str().unwrap());
        let status = |of: &Value| Patch::Merge(json!({"status": of["status"]}));
        bindings.patch_status("chat", &parameters, &status(&all[0])).await.unwrap();
        outputs.patch_status(name, &parameters, &status(output)).await.unwrap();
        let labels = json!({"app.kubernetes.io/name": "kleym", "app.kubernetes.io/component": "operator"});
        let arguments = [
            format!("--instance={instance}"),
            format!("--trust-domain={trust_domain}"),
            format!("--clusterspiffeid-class-name={instance}"),
            format!("--watch-namespace={instance}"),
        ];
        let pod = json!({"metadata": {"labels": labels}, "spec": {"containers": [
            {"name": "operator", "image": "kleym-operator", "args": arguments},
        ]}});
        apply(&json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": format!("kleym-{instance}"), "namespace": "kleym-system", "labels": labels},
            "spec": {"selector": {"matchLabels": labels}, "template": pod},
        }))
        .await;
    }
    let kubeconfig = plane.kubeconfig().unwrap().display().to_string();
    (plane, Folder::new(), kubeconfig)
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_cluster_every_command_looks_at_both_operators() {
    let (_plane, folder, kubeconfig) = cluster().await;
    let ask = |arguments: &str| folder.kleym(&format!("{arguments} --kubeconfig {kubeconfig}"));
    // Settings that differ, outputs that drift or are missing, classes and trust domains that nobody serves.
    let false_alarms =
        ["KLM9104", "KLM5010", "KLM5011", "KLM5012", "KLM6001", "KLM6003", "KLM4111", ":::foreign"];
    let asked = [
        "check",
        "status -A",
        "graph -A",
        "inspect binding chat -n west",
        "explain binding/chat -n east",
        "explain spiffe://west.example.org/ns/west/objective/goal",
    ];
    for arguments in asked {
        let answer = ask(arguments);
        for alarm in false_alarms {
            assert!(!answer.out.contains(alarm) && !answer.err.contains(alarm), "{alarm}: {answer}");
        }
    }
    let check = ask("check");
    for (instance, trust_domain) in [EAST, WEST] {
        let says = format!(
            "that of ConfigMap spire-{instance}/scm serves trust domain {trust_domain}, and so do outputs of the instance `{instance}`"
        );
        assert!(check.out.contains(&says), "{check}");
    }
    folder.put("pr/x.yaml", "apiVersion: llm-d.ai/v1alpha2\nkind: InferenceObjective\nmetadata: {name: goal, namespace: west}\nspec: {poolRef: {name: nowhere}}\n".as_bytes());
    let diff = ask("diff -f pr");
    assert!(diff.out.contains("west/chat") && !diff.out.contains("kleym.sonda.red"), "{diff}");
}

#[test]
fn what_is_given_by_flags_holds_for_all_operators() {
    let answer = dump(both()).kleym(&format!("status -f dump.json -A -o json {}", flags(WEST)));
    let report: Value = serde_json::from_str(&answer.out).unwrap();
    assert_eq!(
        report["settings"],
        json!({"trustDomain": "west.example.org", "className": "west", "instance": "west"})
    );
    let says = "the trust domain given here is `west.example.org`, but the operator's is `east.example.org`, as the status of 1 binding reports";
    assert!(answer.err.contains(says), "{answer}");
}

#[test]
fn the_map_shows_the_outputs_of_both_as_their_bindings_and_none_as_foreign() {
    let answer = dump(both()).kleym("graph -f dump.json -o json");
    nothing_is_wrong(&answer);
    let map: Value = serde_json::from_str(&answer.out).unwrap();
    assert_eq!(map["trustDomain"], "east.example.org, west.example.org");
    let nodes =
        map["namespaces"].as_array().unwrap().iter().flat_map(|space| space["nodes"].as_array().unwrap());
    let outputs: Vec<&Value> = nodes.filter(|node| node["column"] == "output").collect();
    let states: Vec<&Value> = outputs.iter().map(|node| &node["state"]).collect();
    assert_eq!(states, ["fine", "fine"], "{map}");
}

#[test]
fn an_output_of_another_instance_is_shown_as_that() {
    // What an earlier operator left in the namespace of another one.
    let mut objects = both();
    let left = objects.iter().find(|object| object["metadata"]["uid"] == "output-west").unwrap().clone();
    let mut left = left.to_string().replace("west.example.org/ns/west", "east.example.org/ns/west");
    left = left
        .replace("\"west\"", "\"east\"")
        .replace("west/chat", "east/chat")
        .replace("k8s:ns:west", "k8s:ns:east");
    left = left.replace("kleym-west-chat", "kleym-old-chat").replace("output-west", "output-old");
    let mut left: Value = serde_json::from_str(&left).unwrap();
    left["metadata"]["labels"]["kleym.sonda.red/instance"] = json!("old");
    objects.push(left);
    let folder = dump(objects);
    let map = folder.kleym("graph -f dump.json");
    assert!(map.out.contains("of Kleym instance old"), "{map}");
    assert!(!map.out.contains("foreign\""), "{map}");
    let explained = folder.kleym("explain pod/vllm-0 -n east -f dump.json");
    let inspected = folder.kleym("inspect binding chat -n east -f dump.json");
    let says = "which is of another instance of Kleym, `old`";
    assert!(inspected.err.contains(says), "{inspected}");
    assert!(!explained.out.contains("not Kleym's"), "{explained}");
}

#[test]
fn a_change_in_one_namespace_is_compared_by_the_settings_of_its_operator() {
    let mut after = both();
    after[0]["spec"]["workloadSelectorTemplates"] =
        json!(["k8s:ns:east", "k8s:sa:server", "k8s:pod-label:tier:gold"]);
    let folder = dump(both());
    let list = json!({"apiVersion": "v1", "kind": "List", "items": after}).to_string();
    folder.put("pr/x.json", list.as_bytes());
    let answer = folder.kleym("diff --from dump.json -f pr");
    assert!(answer.out.contains("spiffe://east.example.org/ns/east/objective/goal"), "{answer}");
    assert!(!answer.out.contains("west"), "{answer}");
    assert!(!answer.err.contains("KLM9104"), "{answer}");
}

/// The status of the binding of a namespace, changed.
fn reporting(mut objects: Vec<Value>, namespace: &str, field: &str, value: Value) -> Vec<Value> {
    let binding = objects.iter_mut().find(|object| object["metadata"]["uid"] == format!("uid-{namespace}"));
    binding.unwrap()["status"][field] = value;
    objects
}

/// A second binding in the namespace, of the same pool but another container, with the same status.
fn second(objects: &[Value], namespace: &str) -> Value {
    let uid = format!("uid-{namespace}");
    let mut second = objects.iter().find(|object| object["metadata"]["uid"] == *uid).unwrap().clone();
    second["metadata"]["name"] = json!("second");
    second["metadata"]["uid"] = json!("uid-second");
    second["spec"]["containerDiscriminator"]["value"] = json!("other");
    second
}

#[test]
fn a_dispute_in_one_namespace_is_a_finding_and_takes_nothing_else_with_it() {
    let mut objects = both();
    let mut second = second(&objects, "east");
    second["status"]["trustDomain"] = json!("forged.example.org");
    objects.push(second);
    let folder = dump(objects);
    let answer = folder.kleym("status -f dump.json -A -o json");
    let says = "warning[KLM9104]: the status of bindings in namespace `east` reports settings that do not agree: trust domain `east.example.org` and `forged.example.org`";
    assert!(answer.err.contains(says), "{answer}");
    let report: Value = serde_json::from_str(&answer.out).unwrap();
    // The trust domain is what it is without any report; class and instance, on which all agree, stay.
    let settings = json!({"trustDomain": "kleym.sonda.red", "className": "east", "instance": "east", "others": [
        {"namespaces": ["west"], "trustDomain": "west.example.org", "className": "west", "instance": "west"},
    ]});
    assert_eq!(report["settings"], settings);
    // The advice mends it, as far as it can be mended here.
    let advice = "trust domain `kleym.sonda.red` is taken, unless --trust-domain says otherwise";
    assert!(answer.err.contains(advice), "{answer}");
    let mended =
        folder.kleym("inspect binding chat -n east -f dump.json --trust-domain east.example.org -o json");
    let report: Value = serde_json::from_str(&mended.out).unwrap();
    assert_eq!(report["output"]["state"], "InSync", "{mended}");
}

#[test]
fn one_instance_with_two_settings_is_a_finding() {
    let objects = reporting(both(), "west", "instance", json!("east"));
    let answer = dump(objects).kleym("status -f dump.json -A");
    let says = "warning[KLM9104]: the status of bindings reports the instance `east` with different settings: trust domain `east.example.org` and class `east` in namespace `east`; trust domain `west.example.org` and class `west` in namespace `west`";
    assert!(answer.err.contains(says), "{answer}");
}

#[test]
fn a_path_belongs_to_one_namespace_whatever_is_reported() {
    let claims = |objects, namespace: &str| reporting(objects, namespace, "pathGrants", json!(["/team"]));
    // In two trust domains there are two such paths.
    let apart = dump(claims(claims(both(), "east"), "west")).kleym("status -f dump.json -A");
    nothing_is_wrong(&apart);
    let one = |objects| reporting(objects, "west", "trustDomain", json!("east.example.org"));
    let answer = dump(one(claims(claims(both(), "east"), "west"))).kleym("status -f dump.json -A");
    let says = "warning[KLM9104]: the path grants that the bindings' status reports cannot all be true, so none is taken: path grants `east=/team` and `west=/team` overlap";
    assert!(answer.err.contains(says), "{answer}");
}

#[test]
fn of_a_namespace_that_nobody_reports_on_it_is_said_what_is_taken() {
    let mut objects = both();
    objects.extend(declared(("fresh", "")));
    let answer = dump(objects).kleym("status -f dump.json -A");
    let says = "warning[KLM9104]: no binding in namespace `fresh` has a status, and operators elsewhere have different settings, so trust domain `kleym.sonda.red`, class none, instance `default` is taken there";
    assert!(answer.err.contains(says), "{answer}");
    let advice = "-n fresh --trust-domain, --clusterspiffeid-class-name, --instance";
    assert!(answer.err.contains(advice), "{answer}");
}

#[test]
fn a_binding_that_is_being_deleted_waits_for_its_output_to_go() {
    let mut objects = both();
    objects[0]["metadata"]["deletionTimestamp"] = json!("2026-02-01T00:00:00Z");
    objects[0]["metadata"]["finalizers"] = json!(["kleym.sonda.red/inferenceidentitybinding-finalizer"]);
    let answer = dump(objects).kleym("status -f dump.json -A -o json");
    let report: Value = serde_json::from_str(&answer.out).unwrap();
    let row = &report["bindings"][0];
    assert_eq!((&row["ready"], &row["reason"]), (&json!("Unknown"), &json!("Initializing")), "{row}");
}
