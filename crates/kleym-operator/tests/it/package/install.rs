//! Every way of installing, on a real API server: taken by server-side apply without a warning, valid by the published
//! schemas, and enough for the operator to do its work with the rights it gives.

use std::process::Command;

use anyhow::ensure;
use k8s_openapi::api::core::v1::Namespace;
use kleym_api::resource::api_resource;
use kleym_core::kind::Kind;
use kleym_testenv::{ControlPlane, Options, apply_yaml, eventually};
use kube::api::{DynamicObject, PostParams};
use serde_json::{Value, json};

use super::{as_text, chart, objects, printed, root, schemas, tool, tool_path};
use crate::installed::{Installed, output};
use crate::world::{SOON, World, definition, objective, per_objective, pool, text};

/// Applies a text as a user does; there must be nothing to complain of.
pub(super) fn apply(plane: &ControlPlane, text: &str) -> String {
    let kubeconfig = plane.kubeconfig().unwrap();
    let kubeconfig = format!("--kubeconfig={}", kubeconfig.display());
    printed("kubectl", &[&kubeconfig, "apply", "--server-side", "--filename=-"], text)
}

/// What is rendered without any kind that a plain cluster does not have.
fn ways() -> [(&'static str, String); 5] {
    let file = |path: &str| std::fs::read_to_string(root().join(path)).unwrap();
    let everything = "--values=charts/kleym/ci/everything-values.yaml";
    [
        ("config/default", printed("kustomize", &["build", "config/default"], "")),
        ("install.yaml", file("install.yaml")),
        ("the policies", file("config/components/policy/policies.yaml")),
        ("the chart", chart(&["--set=useDefaultTrustDomain=true", "--no-hooks"])),
        ("the chart with everything", chart(&[everything, "--set=replicas=1"])),
    ]
}

/// Kinds of the Prometheus operator, which publishes its schemas elsewhere.
const FOREIGN: &str = "--skip=PodMonitor,ServiceMonitor,PrometheusRule";

#[tokio::test]
async fn every_way_of_installing_is_valid_and_taken_without_a_warning() {
    let plane = ControlPlane::start(Options::default()).await.unwrap();
    let client = plane.client().unwrap();
    for namespace in ["team-a", "team-b", "team"] {
        let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
        apply_yaml(&client, &object.to_string()).await.unwrap();
    }
    for (way, rendered) in ways() {
        let applied = apply(&plane, &rendered);
        assert_eq!(applied.lines().count(), objects(&rendered).len(), "{way}: {applied}");
    }
    // Kinds of others, so that samples can be tried.
    for kind in Kind::ALL {
        apply_yaml(&client, &definition(kind).to_string()).await.unwrap();
    }
    let mut all: Vec<(String, String)> = ways().map(|(way, text)| (way.to_owned(), text)).to_vec();
    all.push(("the monitored chart".to_owned(), chart(&["--values=charts/kleym/ci/monitored-values.yaml"])));
    for sample in ["quota.yaml", "team.yaml"] {
        let text = std::fs::read_to_string(root().join("examples/install").join(sample)).unwrap();
        apply(&plane, &text);
        all.push((sample.to_owned(), text));
    }
    let pattern = format!("--schema-location={}", schemas::write(&plane).await);
    for (way, rendered) in all {
        let summary = printed(
            "kubeconform",
            &["-strict", "-summary", "-output=json", &pattern, FOREIGN, "-"],
            &rendered,
        );
        let summary: Value = serde_json::from_str(&summary).unwrap();
        let counted = &summary["summary"];
        assert_eq!([&counted["invalid"], &counted["errors"]], [0, 0], "{way}: {summary}");
        assert!(counted["valid"].as_u64().unwrap() > 0, "{way}: {summary}");
    }
    // The schemas refuse what is wrong.
    let wrong = "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: x}\nautomountToken: false\n";
    assert!(!tool("kubeconform", &["-strict", &pattern, "-"], wrong).status.success());
}

#[tokio::test]
async fn install_yaml_can_be_applied_again_and_leaves_what_kubectl_set() {
    let plane = ControlPlane::start(Options::default()).await.unwrap();
    let install = std::fs::read_to_string(root().join("install.yaml")).unwrap();
    let kubeconfig = format!("--kubeconfig={}", plane.kubeconfig().unwrap().display());
    let kubectl = |arguments: &[&str]| {
        let all = [&[kubeconfig.as_str(), "--namespace=kleym-system"], arguments].concat();
        printed("kubectl", &all, "")
    };
    apply(&plane, &install);
    let settings = ["KLEYM_TRUST_DOMAIN=example.org", "KLEYM_CLUSTERSPIFFEID_CLASS_NAME=spire-server-spire"];
    kubectl(&[&["set", "env", "deployment/kleym-operator"], &settings[..]].concat());
    apply(&plane, &install);
    let variables = kubectl(&["set", "env", "deployment/kleym-operator", "--list"]);
    for setting in settings {
        assert!(variables.lines().any(|line| line == setting), "{variables}");
    }
}

#[tokio::test]
async fn a_release_that_serves_some_namespaces_works_with_rights_in_these_only() {
    let mut world = World::with_only("scoped", &Kind::ALL).await;
    let namespace = world.namespace.clone();
    let watched = format!("--set=watchNamespaces={{{namespace}}},admissionPolicies.enabled=true");
    let rendered = chart(&["--set=useDefaultTrustDomain=true", "--no-hooks", &watched]);
    apply_yaml(&world.client, "{apiVersion: v1, kind: Namespace, metadata: {name: kleym-system}}")
        .await
        .unwrap();
    apply(&world, &rendered);
    world.instance = "default".to_owned();
    Installed::around(world).does_all_its_work().await;
}

/// What a user does who follows the chart and its notes, and nothing else.
#[tokio::test]
async fn who_installs_with_helm_and_follows_the_notes_ends_with_a_ready_binding() {
    let mut world = World::with_only("notes", &Kind::ALL).await;
    let team = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team"}});
    apply_yaml(&world.client, &team.to_string()).await.unwrap();
    // The definition is there for the tests; a release takes over only what is its own.
    let kubeconfig = format!("--kubeconfig={}", world.kubeconfig().unwrap().display());
    let values = "--set=useDefaultTrustDomain=true,watchNamespaces={team},crds.enabled=false";
    let chart = ["install", "kleym", "charts/kleym", "--namespace=kleym-system", "--create-namespace"];
    let release = printed("helm", &[&chart[..], &[&kubeconfig, values, "--output=json"]].concat(), "");
    let release: Value = serde_json::from_str(&release).unwrap();
    let notes = as_text(&release["info"]["notes"]);
    let begin = notes.find("\nkubectl apply").unwrap();
    let (command, _) = notes[begin..].split_once("\nEOF\n").unwrap();
    let secure = notes.lines().find(|line| line.trim_start().starts_with("kubectl label")).unwrap();

    world.namespace = "team".to_owned();
    world.instance = "default".to_owned();
    world.create_all([pool("llama", &[("app", "vllm")]), objective("chat", "llama")]).await;
    // As somebody who copies it into a shell.
    let shell = Command::new("sh")
        .args(["-euc", &format!("{secure}\n{command}\nEOF\n")])
        .env("PATH", format!("{}:/usr/bin:/bin", tool_path("").display()))
        .env("KUBECONFIG", world.kubeconfig().unwrap())
        .output()
        .unwrap();
    assert!(shell.status.success() && shell.stderr.is_empty(), "{shell:?}");
    let namespaces = kube::Api::<Namespace>::all(world.client.clone());
    let labels = namespaces.get("kleym-system").await.unwrap().metadata.labels.unwrap();
    assert_eq!(labels["pod-security.kubernetes.io/enforce"], "restricted");
    let installed = Installed::around(world);
    let kubeconfig = installed.kubeconfig().await;
    let operator = installed.operator(&kubeconfig).await;
    let binding = installed.world.ready("chat").await;
    assert_eq!(
        text(&binding["status"]["computedSpiffeIDs"][0]["spiffeID"]),
        "spiffe://kleym.sonda.red/ns/team/objective/chat"
    );
    operator.terminate().await;
}

/// The definition stays when a release goes, with every binding, and Helm notes in it whose it was.
#[tokio::test]
async fn another_release_takes_over_the_definition_that_the_last_one_left_as_the_book_says() {
    let plane = ControlPlane::start(Options::default()).await.unwrap();
    let kubeconfig = format!("--kubeconfig={}", plane.kubeconfig().unwrap().display());
    let helm = |arguments: &[&str]| {
        let output = tool("helm", &[arguments, &[kubeconfig.as_str()]].concat(), "");
        (output.status.success(), String::from_utf8(output.stderr).unwrap())
    };
    let install = |name: &str, namespace: &str, more: &[&str]| {
        let namespace = format!("--namespace={namespace}");
        let values = "--set=useDefaultTrustDomain=true,admissionPolicies.enabled=true";
        let all = ["install", name, "charts/kleym", namespace.as_str(), "--create-namespace", values];
        helm(&[&all[..], more].concat())
    };
    let uninstall = |name: &str, namespace: &str| {
        let (done, said) = helm(&["uninstall", name, "--no-hooks", &format!("--namespace={namespace}")]);
        assert!(done, "{said}");
    };
    let taken = |answer: (bool, String)| assert!(answer.0, "{}", answer.1);

    taken(install("kleym", "kleym-system", &[]));
    let (_, binding) = per_objective("chat", "chat", "vllm").into_dynamic();
    let bindings = kube::Api::<DynamicObject>::namespaced_with(
        plane.client().unwrap(),
        "default",
        &api_resource(Kind::Binding),
    );
    let created = eventually("bindings are taken", SOON, || async {
        bindings.create(&PostParams::default(), &binding).await
    });
    let created = created.await.unwrap();
    // The same again takes up what it left.
    uninstall("kleym", "kleym-system");
    taken(install("kleym", "kleym-system", &[]));
    uninstall("kleym", "kleym-system");

    for (name, namespace) in [("kleym", "identity"), ("models", "kleym-system")] {
        let (done, said) = install(name, namespace, &[]);
        assert!(!done && said.contains("invalid ownership metadata"), "{said}");
        assert!(said.contains("inferenceidentitybindings.kleym.sonda.red"), "{said}");
    }
    taken(install("models", "identity", &["--take-ownership"]));
    uninstall("models", "identity");

    let owner = ["meta.helm.sh/release-name=kleym", "meta.helm.sh/release-namespace=identity"];
    let definition = ["annotate", "--overwrite", "crd", "inferenceidentitybindings.kleym.sonda.red"];
    printed("kubectl", &[&definition[..], &owner, &[&kubeconfig]].concat(), "");
    taken(install("kleym", "identity", &[]));
    uninstall("kleym", "identity");
    // As after `kubectl apply`, which does not say that it is Helm's.
    let label = |label: &str| printed("kubectl", &["label", "crd", definition[3], label, &kubeconfig], "");
    label("app.kubernetes.io/managed-by-");
    assert!(!install("kleym", "identity", &[]).0);
    label("app.kubernetes.io/managed-by=Helm");
    taken(install("kleym", "identity", &[]));
    // A release that leaves the definition alone needs neither.
    taken(install(
        "blue",
        "blue",
        &["--set=crds.enabled=false,admissionPolicies.enabled=false,instance=blue"],
    ));
    assert_eq!(bindings.get("chat").await.unwrap().metadata.uid, created.metadata.uid);
}

#[tokio::test]
async fn every_pod_of_the_chart_passes_pod_security_restricted() {
    let plane = ControlPlane::start(Options::default()).await.unwrap();
    let client = plane.client().unwrap();
    let restricted = json!({"pod-security.kubernetes.io/enforce": "restricted"});
    let metadata = json!({"name": "kleym-system", "labels": restricted});
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata});
    apply_yaml(&client, &namespace.to_string()).await.unwrap();
    let everything = "--values=charts/kleym/ci/everything-values.yaml";
    let mut tried = 0;
    for rendered in
        [chart(&["--set=useDefaultTrustDomain=true"]), chart(&[everything, "--set=priorityClassName="])]
    {
        for object in objects(&rendered) {
            if object["kind"] == "ServiceAccount" {
                apply_yaml(&client, &object.to_string()).await.unwrap();
            }
            if let Some(spec) = object.pointer("/spec/template/spec") {
                let name = format!("probe-{tried}");
                let mut pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "kleym-system"}});
                pod["spec"] = spec.clone();
                pod["spec"]["restartPolicy"] = json!("Never");
                apply(&plane, &pod.to_string());
                tried += 1;
            }
        }
    }
    // The operator and the uninstall check, twice.
    assert_eq!(tried, 4);
}

#[tokio::test]
async fn the_chart_s_policies_deny_what_the_manifests_policies_deny() {
    let world = World::with_only("chart-policies", &Kind::ALL).await;
    let rendered = chart(&[
        "--set=useDefaultTrustDomain=true,admissionPolicies.enabled=true",
        "--show-only=templates/admission_policies.yaml",
    ]);
    apply(&world, &rendered);
    let outputs = world.api(Kind::Output);
    let foreign: DynamicObject = output("probe", &[("kleym.sonda.red/managed-by", "kleym")], json!({}));
    let parameters = PostParams { dry_run: true, ..PostParams::default() };
    eventually("the policies are enforced", SOON, || async {
        let answer = outputs.create(&parameters, &foreign).await;
        ensure!(
            answer.is_err_and(|error| error.to_string().contains("only the Kleym operator writes")),
            "not yet"
        );
        Ok(())
    })
    .await
    .unwrap();
}
