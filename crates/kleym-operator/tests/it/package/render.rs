//! What is rendered: kustomize and Helm say the same, and every value means what it should.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use kleym_operator::metrics::Certificate;
use kleym_operator::settings::{Flags, LogFormat};
use serde_json::{Map, Value, json};

use super::{as_text, chart, objects, printed, root, tool};

/// Labels that say who manages an object, not what it is.
const OF_HELM: [&str; 3] = ["helm.sh/chart", "app.kubernetes.io/managed-by", "app.kubernetes.io/version"];

/// Objects by kind, namespace and name, without what tells only which tool rendered them.
fn compared(text: &str) -> BTreeMap<String, Value> {
    let mut all = BTreeMap::new();
    for mut object in objects(text) {
        let hook = object.pointer("/metadata/annotations/helm.sh~1hook").is_some();
        // The namespace is Helm's own business (`--create-namespace`), and so are hooks and what it keeps.
        if hook || object["kind"] == "Namespace" {
            continue;
        }
        without_labels_of_helm(&mut object);
        let metadata = object["metadata"].as_object_mut().unwrap();
        if let Some(Value::Object(annotations)) = metadata.get_mut("annotations") {
            annotations.remove("helm.sh/resource-policy");
            if annotations.is_empty() {
                metadata.remove("annotations");
            }
        }
        if object["kind"] == "CustomResourceDefinition" {
            object["metadata"].as_object_mut().unwrap().remove("labels");
        }
        // Variables have names, so their order says nothing. Two that every user sets are left out of the manifests; the
        // chart sets them in any case, here to the defaults.
        if let Some(Value::Array(variables)) = object.pointer_mut("/spec/template/spec/containers/0/env") {
            let defaults =
                [("KLEYM_TRUST_DOMAIN", "kleym.sonda.red"), ("KLEYM_CLUSTERSPIFFEID_CLASS_NAME", "")];
            variables.retain(|variable| {
                !defaults.contains(&(as_text(&variable["name"]), as_text(&variable["value"])))
            });
            variables.sort_by_key(|variable| as_text(&variable["name"]).to_owned());
        }
        let of = |field: &str| as_text(&object["metadata"][field]).to_owned();
        let key = format!("{} {}/{}", as_text(&object["kind"]), of("namespace"), of("name"));
        assert_eq!(all.insert(key.clone(), object), None, "{key} twice");
    }
    all
}

fn without_labels_of_helm(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            if let Some(Value::Object(labels)) = fields.get_mut("labels") {
                labels.retain(|label, _| !OF_HELM.contains(&label.as_str()));
            }
            fields.values_mut().for_each(without_labels_of_helm);
        }
        Value::Array(items) => items.iter_mut().for_each(without_labels_of_helm),
        _ => {}
    }
}

fn assert_same(kustomize: &str, helm: &str) {
    let (kustomize, helm) = (compared(kustomize), compared(helm));
    assert_eq!(kustomize.keys().collect::<Vec<_>>(), helm.keys().collect::<Vec<_>>());
    for (key, object) in &kustomize {
        assert_eq!(*object, helm[key], "{key}");
    }
}

#[test]
fn the_chart_says_what_the_manifests_say() {
    let kustomize = printed("kustomize", &["build", "config/default"], "");
    assert!(compared(&kustomize).len() >= 12);
    assert_same(&kustomize, &chart(&["--set=useDefaultTrustDomain=true"]));
}

#[test]
fn install_yaml_is_what_kustomize_makes_of_the_manifests() {
    let kustomize = printed("kustomize", &["build", "config/default"], "");
    let install = std::fs::read_to_string(root().join("install.yaml")).unwrap();
    assert_same(&kustomize, &install);
    assert_eq!(objects(&kustomize).len(), objects(&install).len());
}

/// The manifests with components, in an overlay as a user has it.
fn overlay(components: &[&str]) -> String {
    let mut text = "resources: [../../../config/default]\ncomponents:\n".to_owned();
    for component in components {
        text.push_str(&format!("- ../../../config/components/{component}\n"));
    }
    built(&text)
}

/// What a kustomization makes that lies three folders below the workspace's.
fn built(kustomization: &str) -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let folder = format!("target/package-overlay/{}", NEXT.fetch_add(1, Ordering::Relaxed));
    std::fs::create_dir_all(root().join(&folder)).unwrap();
    std::fs::write(root().join(&folder).join("kustomization.yaml"), kustomization).unwrap();
    printed("kustomize", &["build", &folder], "")
}

#[test]
fn with_components_the_chart_says_what_the_manifests_say() {
    let monitored = chart(&["--values=charts/kleym/ci/monitored-values.yaml"]);
    assert_same(&overlay(&["monitoring", "policy"]), &monitored);
    let secure = "--set=useDefaultTrustDomain=true,metrics.secure=true";
    assert_same(&overlay(&["protected-metrics"]), &chart(&[secure]));
    let watched = "--set=serviceMonitor.enabled=true,prometheusRule.enabled=true,dashboard.enabled=true";
    assert_same(&overlay(&["protected-monitoring"]), &chart(&[secure, watched]));
}

#[test]
fn components_can_be_put_together_in_every_way() {
    let base = compared(&printed("kustomize", &["build", "config/default"], ""));
    let policies = compared(&overlay(&["policy"])).len() - base.len();
    assert!(policies > 0);
    for component in ["monitoring", "protected-metrics", "protected-monitoring"] {
        let alone = compared(&overlay(&[component]));
        assert!(alone.len() > base.len(), "{component}");
        let both = compared(&overlay(&[component, "policy"]));
        assert_eq!(both.len(), alone.len() + policies, "{component}");
        assert_eq!(both, compared(&overlay(&["policy", component])), "{component}");
    }
}

#[test]
fn the_samples_of_overlays_render() {
    for sample in ["examples/kustomize", "examples/gitops/flux", "examples/gitops/argocd"] {
        assert!(!objects(&printed("kustomize", &["build", sample], "")).is_empty(), "{sample}");
    }
}

/// The accounts that a rendered policy lets through, as its expression puts them together.
fn account_of(policy: &Value) -> Option<String> {
    let expression = as_text(policy.pointer("/spec/matchConditions/0/expression")?);
    let quoted: Vec<&str> = expression.split('\'').skip(1).step_by(2).collect();
    Some(quoted.concat())
}

#[test]
fn in_another_namespace_and_with_a_prefix_the_sample_overlay_names_the_operator_s_account_everywhere() {
    let sample = std::fs::read_to_string(root().join("examples/kustomize/kustomization.yaml")).unwrap();
    let sample = sample.replace("- ../../", "- ../../../");
    for (more, namespace, name) in [
        ("", "kleym-system", "kleym-operator"),
        ("namespace: identity\n", "identity", "kleym-operator"),
        (
            "namespace: identity\nnamePrefix: acme-\nnameSuffix: -blue\n",
            "identity",
            "acme-kleym-operator-blue",
        ),
    ] {
        let text = built(&format!("{more}{sample}"));
        let all = objects(&text);
        let of_kind =
            |kind: &str| all.iter().filter(move |object| object["kind"] == kind).collect::<Vec<_>>();
        let deployment = of_kind("Deployment")[0];
        assert_eq!(deployment["metadata"]["namespace"], namespace);
        assert_eq!(deployment["spec"]["template"]["spec"]["serviceAccountName"], name);
        let accounts: Vec<String> =
            of_kind("ValidatingAdmissionPolicy").into_iter().filter_map(account_of).collect();
        assert_eq!(accounts, vec![format!("system:serviceaccount:{namespace}:{name}"); 3], "{more}");
        let policies: BTreeSet<&str> = of_kind("ValidatingAdmissionPolicy")
            .iter()
            .map(|one| as_text(&one["metadata"]["name"]))
            .collect();
        let bound: BTreeSet<&str> = of_kind("ValidatingAdmissionPolicyBinding")
            .iter()
            .map(|one| as_text(&one["spec"]["policyName"]))
            .collect();
        assert_eq!(policies, bound, "{more}");
        let absent = format!("absent(kleym_build_info{{namespace=\"{namespace}\"}})");
        assert!(text.contains(&absent), "{more}");
        assert_eq!(text.contains("kleym-system"), namespace == "kleym-system", "{more}");
    }
}

/// What the chart says instead of rendering.
fn refused(arguments: &[&str]) -> String {
    let all = [&["template", "kleym", "charts/kleym", "--kube-version=1.36"], arguments].concat();
    let output = tool("helm", &all, "");
    assert!(!output.status.success(), "{arguments:?}");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn the_chart_refuses_what_would_not_work_and_says_what_to_do() {
    let domain = "--set=trustDomain=example.org";
    for (arguments, expected) in [
        (vec![], "trustDomain: set it to the trust domain of your SPIRE (--set trustDomain=example.org)"),
        (
            vec![domain, "--set=leaderElection.enabled=false"],
            "replicas: more than one needs leaderElection.enabled",
        ),
        (vec![domain, "--set=metrics.port=8081"], "metrics.port, health.port: must differ"),
        (vec![domain, "--set=podMonitor.enabled=true,serviceMonitor.enabled=true"], "enable one of them"),
        (vec![domain, "--set=podMonitor.enabled=true,metrics.enabled=false"], "need metrics.enabled"),
        (
            vec![domain, "--set=podMonitor.enabled=true,metrics.secure=true"],
            "which only a serviceMonitor can send",
        ),
        (vec![domain, "--set=serviceAccount.create=false"], "serviceAccount.name: name the account to use"),
        (vec![domain, "--set=trustdomain=x"], "trustdomain"),
        (vec!["--set=trustDomain=Example.org"], "trustDomain"),
        (vec![domain, "--set=log.format=xml"], "format"),
        (vec![domain, "--set=fullnameOverride=A_B"], "fullnameOverride"),
        (vec![domain, "--set-json=pathGrants=[\"team\"]"], "pathGrants"),
        // A comma would be the start of another grant.
        (vec![domain, "--set-json=pathGrants=[\"team=/a,other=/b\"]"], "pathGrants"),
        (vec![domain, "--set-json=watchNamespaces=[\"team\",\"team\"]"], "watchNamespaces"),
        // A rule without ports lets everything out.
        (vec![domain, "--set-json=networkPolicy.apiServerPorts=[]"], "apiServerPorts"),
        (
            vec![domain, "--set-json=extraEnv=[{\"name\":\"KLEYM_TRUST_DOMAIN\",\"value\":\"x\"}]"],
            "extraEnv: KLEYM_TRUST_DOMAIN is there already",
        ),
        (
            vec![
                domain,
                "--set-json=extraEnv=[{\"name\":\"A\",\"value\":\"1\"},{\"name\":\"A\",\"value\":\"2\"}]",
            ],
            "extraEnv: A is there already",
        ),
        // What would stop the operator's start is known before a pod runs.
        (vec!["--set=trustDomain=-"], "trustDomain"),
        (
            vec![domain, "--set-json=pathGrants=[\"a=/ns/x\"]"],
            "pathGrants: `a=/ns/x` cannot be granted: paths below /ns",
        ),
        (vec![domain, "--set-json=pathGrants=[\"a=/NS\"]"], "pathGrants: `a=/NS` cannot be granted"),
        (
            vec![domain, "--set-json=pathGrants=[\"a=/SPIREx/y\"]"],
            "pathGrants: `a=/SPIREx/y` cannot be granted",
        ),
        (
            vec![domain, "--set-json=pathGrants=[\"a=/x/../y\"]"],
            "pathGrants: `a=/x/../y` has a segment `.` or `..`",
        ),
        (
            vec![domain, "--set-json=pathGrants=[\"a=/models\",\"b=/Models/b\"]"],
            "pathGrants: `b=/Models/b` lies in `a=/models`, but every path belongs to one namespace",
        ),
        (vec![domain, "--set=log.level=warning"], "log.level: `warning` is no level; use error, warn, info,"),
        (
            vec![domain, "--set=log.level=info\\,kleym_operator=debgu"],
            "log.level: `kleym_operator=debgu` ends in no level",
        ),
        (vec![domain, "--set=image.tag=v1 "], "image.tag: `v1 ` is no tag"),
        (vec![domain, "--set=image.repository=ghcr.io/x/y:v1"], "has a tag; put it into image.tag"),
        (vec![domain, "--set=image.repository=localhost:5000"], "has a tag; put it into image.tag"),
        (
            vec![domain, "--set=image.repository=ghcr.io/x/y@sha256:00"],
            "has a digest; put it into image.digest",
        ),
        (vec![domain, "--set=image.repository=https://ghcr.io/x/y"], "has a scheme; begin with the registry"),
        (
            vec![domain, "--set=image.repository=ghcr.io/x y"],
            "image.repository: `ghcr.io/x y` is no name of an image",
        ),
        // Labels by which the chart's selectors find pods, and by which the cluster puts roles together.
        (
            vec![domain, "--set-json=commonLabels={\"app.kubernetes.io/name\":\"x\"}"],
            "commonLabels: `app.kubernetes.io/name` is set by the chart, which finds its pods and objects by it; leave it out",
        ),
        (
            vec![domain, "--set-json=podLabels={\"app.kubernetes.io/instance\":\"x\"}"],
            "podLabels: `app.kubernetes.io/instance` is set by the chart",
        ),
        (
            vec![domain, "--set-json=podLabels={\"app.kubernetes.io/component\":\"x\"}"],
            "podLabels: `app.kubernetes.io/component` is set by the chart",
        ),
        (
            vec![
                domain,
                "--set-json=commonLabels={\"rbac.authorization.k8s.io/aggregate-to-edit\":\"true\"}",
            ],
            "would make the operator's rights part of other roles; leave it out",
        ),
        (
            vec![domain, "--set=serviceAccount.name=A_b"],
            "serviceAccount.name: `A_b` is no name of a ServiceAccount",
        ),
        (vec![domain, "--set=serviceAccount.name=a..b"], "serviceAccount.name: `a..b` is no name"),
        (vec![domain, "--set=podDisruptionBudget.maxUnavailable=most"], "maxUnavailable"),
        (vec![domain, "--set=podDisruptionBudget.maxUnavailable=101%"], "maxUnavailable"),
        (vec![domain, "--set=podDisruptionBudget.maxUnavailable=-1"], "maxUnavailable"),
    ] {
        let said = refused(&arguments);
        assert!(said.contains(expected), "{arguments:?}: {said}");
    }
    // A name that Helm takes for a release, and nobody for a Service.
    let release = |name: &'static str, more: &[&str]| {
        let all = ["template", name, "charts/kleym", "--kube-version=1.36", domain];
        tool("helm", &[&all[..], more].concat(), "")
    };
    let monitored = "--set=serviceMonitor.enabled=true";
    for name in ["models.prod", "7th"] {
        assert!(release(name, &[]).status.success());
        let output = release(name, &[monitored]);
        let said = String::from_utf8(output.stderr).unwrap();
        let expected =
            format!("a Service cannot be called `{name}-kleym-operator-metrics`, after the release `{name}`");
        assert!(!output.status.success() && said.contains(&expected), "{said}");
        assert!(release(name, &[monitored, "--set=fullnameOverride=models"]).status.success());
    }
}

#[test]
fn the_chart_takes_what_is_unusual_and_right() {
    for more in [
        "--set-json=pathGrants=[\"a=/models/a\",\"a=/models\",\"b=/modelsb\",\"c=/nsx/spire\"]",
        "--set=log.level=INFO",
        "--set=log.level=info\\,kleym_operator=debug\\,hyper=off\\,kube[request{verb=\"list\"}]=trace",
        "--set=image.repository=localhost:5000/kleym",
        "--set=image.repository=registry.example.org:443/mirror/ghcr.io/sonda-red/kleym-operator",
        "--set=image.repository=kleym-operator",
        "--set-string=image.tag=1",
        "--set=podDisruptionBudget.maxUnavailable=50%",
        "--set=podDisruptionBudget.maxUnavailable=0",
        "--set=serviceAccount.name=team.kleym",
    ] {
        chart(&["--set=trustDomain=example.org", more]);
    }
}

#[test]
fn a_label_that_several_values_give_stands_once_and_the_nearest_wins() {
    let text = chart(&[
        "--set=useDefaultTrustDomain=true,podMonitor.enabled=true,prometheusRule.enabled=true,dashboard.enabled=true",
        "--set-json=commonLabels={\"release\":\"all\",\"grafana_dashboard\":\"0\"}",
        "--set=podLabels.release=pods,podMonitor.labels.release=monitors,prometheusRule.labels.release=rules",
        "--set-json=podAnnotations={\"kubectl.kubernetes.io/default-container\":\"mine\"}",
    ]);
    // The parser refuses a key that stands twice.
    let all = objects(&text);
    let of = |kind: &str, pointer: &str| {
        let object = all.iter().find(|object| object["kind"] == kind).unwrap();
        object.pointer(pointer).cloned().unwrap_or_default()
    };
    assert_eq!(of("Deployment", "/metadata/labels/release"), "all");
    assert_eq!(of("Deployment", "/spec/template/metadata/labels/release"), "pods");
    assert_eq!(of("PodMonitor", "/metadata/labels/release"), "monitors");
    assert_eq!(of("PrometheusRule", "/metadata/labels/release"), "rules");
    assert_eq!(of("ConfigMap", "/metadata/labels/grafana_dashboard"), "1");
    let annotations = of("Deployment", "/spec/template/metadata/annotations");
    assert_eq!(annotations, json!({"kubectl.kubernetes.io/default-container": "mine"}));
}

/// The operator's Deployment in a rendered text.
fn deployment(text: &str) -> Value {
    objects(text).into_iter().find(|object| object["kind"] == "Deployment").unwrap()
}

/// The variables of the operator's container.
fn environment(deployment: &Value) -> Map<String, Value> {
    let variables =
        deployment.pointer("/spec/template/spec/containers/0/env").and_then(Value::as_array).unwrap();
    variables.iter().map(|one| (as_text(&one["name"]).to_owned(), one["value"].clone())).collect()
}

#[test]
fn every_value_reaches_the_operator_and_means_what_it_says() {
    let text =
        chart(&["--values=charts/kleym/ci/everything-values.yaml", "--set=extraArgs={--log-level=warn}"]);
    let deployment = deployment(&text);
    let variables = environment(&deployment);
    let find = |name: &str| variables.get(name).map(|value| OsString::from(as_text(value)));
    let configuration = Flags::default().resolve(&find).unwrap();
    let settings = &configuration.settings;
    assert_eq!(settings.trust_domain.as_str(), "example.org");
    assert_eq!(settings.class_name.as_ref().unwrap().as_str(), "spire-server-spire");
    assert_eq!(settings.instance.as_str(), "blue");
    assert_eq!(settings.path_grants.iter().count(), 2);
    let namespaces: Vec<&str> = configuration.namespaces.iter().map(|one| one.as_str()).collect();
    assert_eq!(namespaces, ["team-a", "team-b"]);
    assert!(configuration.allow_configuration_change && configuration.leader_elect);
    assert_eq!(configuration.metrics_address.unwrap().port(), 9090);
    assert_eq!(configuration.health_address.unwrap().port(), 9091);
    let folder = PathBuf::from("/etc/kleym/metrics-certificate");
    let files = Certificate::Files { certificate: folder.join("cert.pem"), key: folder.join("key.pem") };
    assert_eq!(configuration.metrics_certificate, Some(files));
    assert_eq!(configuration.kubeconfig, Some("/etc/kleym/kubeconfig/config".into()));
    assert_eq!(configuration.log_format, LogFormat::Text);
    assert_eq!(configuration.log_filter, "info,kleym_operator=debug");
    assert_eq!(deployment["spec"]["template"]["spec"]["containers"][0]["args"][0], "--log-level=warn");
    // The uninstall check asks about the operator that runs: with the same flags and variables.
    let check = objects(&text).into_iter().find(|object| object["kind"] == "Job").unwrap();
    let asked = &check["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(asked["args"], json!(["--log-level=warn", "uninstall-check"]));
    assert_eq!(asked["env"], deployment["spec"]["template"]["spec"]["containers"][0]["env"]);

    // With namespaces, the operator's rights over bindings, objectives and pools are given in these only.
    let watched: Vec<(String, String)> = objects(&text)
        .iter()
        .filter(|object| object["roleRef"]["name"] == "kleym-operator-watched")
        .map(|object| {
            (as_text(&object["kind"]).to_owned(), as_text(&object["metadata"]["namespace"]).to_owned())
        })
        .collect();
    let expected = [("RoleBinding", "team-a"), ("RoleBinding", "team-b")];
    assert_eq!(watched, expected.map(|(kind, namespace)| (kind.to_owned(), namespace.to_owned())));
    // The policies know both accounts, in both places.
    let operators = "in ['system:serviceaccount:' + 'kleym-system' + ':' + 'kleym-operator', 'system:serviceaccount:other:kleym-operator']";
    assert_eq!(text.matches(operators).count(), 3);
    for name in ["kleym-more", "as-text"] {
        assert!(objects(&text).iter().any(|object| object["metadata"]["name"] == name), "{name}");
    }
    assert!(!text.contains("helm.sh/resource-policy"));
}

#[test]
fn a_service_monitor_verifies_the_certificate_it_is_given() {
    let values = "--set=useDefaultTrustDomain=true,metrics.secure=true,serviceMonitor.enabled=true";
    let tls = |more: &str| {
        let text = chart(&[values, "--show-only=templates/monitoring.yaml", more]);
        let monitor = objects(&text).into_iter().find(|object| object["kind"] == "ServiceMonitor").unwrap();
        monitor["spec"]["endpoints"][0]["tlsConfig"].clone()
    };
    let any = json!({"insecureSkipVerify": true});
    assert_eq!(tls("--set=metrics.certificate.secretName="), any);
    let ours = json!({
        "serverName": "kleym-operator-metrics.kleym-system.svc",
        "ca": {"secret": {"name": "tls", "key": "ca.crt"}},
    });
    assert_eq!(tls("--set=metrics.certificate.secretName=tls"), ours);
    assert_eq!(tls("--set=serviceMonitor.tlsConfig.serverName=x"), json!({"serverName": "x"}));
}

#[test]
fn the_alert_that_nothing_runs_asks_for_the_namespace_of_the_release() {
    let all = ["template", "kleym", "charts/kleym", "--namespace=identity", "--kube-version=1.36"];
    let more = ["--set=useDefaultTrustDomain=true,prometheusRule.enabled=true"];
    let text = printed("helm", &[&all[..], &more].concat(), "");
    assert!(text.contains("absent(kleym_build_info{namespace=\"identity\"})"), "{text}");
    assert!(!text.contains("kleym-system"), "{text}");
}

#[test]
fn names_follow_the_release_and_what_is_turned_off_is_not_there() {
    let all = ["template", "prod", "charts/kleym", "--namespace=identity", "--kube-version=1.36"];
    let more = [
        "--set=useDefaultTrustDomain=true,crds.enabled=false,rbac.create=false,networkPolicy.enabled=false",
        "--set=podDisruptionBudget.enabled=false,uninstallCheck.enabled=false,metrics.enabled=false",
    ];
    let text = printed("helm", &[&all[..], &more].concat(), "");
    let names: Vec<String> = objects(&text)
        .iter()
        .map(|one| format!("{} {}", as_text(&one["kind"]), as_text(&one["metadata"]["name"])))
        .collect();
    assert_eq!(names, ["ServiceAccount prod-kleym-operator", "Deployment prod-kleym-operator"]);
    assert!(!environment(&deployment(&text)).contains_key("KLEYM_METRICS_BIND_ADDRESS"));
}
