//! Kleym as it is installed: `install.yaml` and the admission policies on a real API server, and the operator with the
//! rights of its ServiceAccount, no more.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Pod, ServiceAccount};
use kleym_api::resource::api_resource;
use kleym_core::kind::Kind;
use kleym_operator::settings::Flags;
use kleym_testenv::{Mark, apply_yaml, eventually};
use kube::Api;
use kube::api::{DeleteParams, DynamicObject, ObjectMeta, Patch, PatchParams, PostParams};
use kube::config::Kubeconfig;
use serde_json::{Value, json};

use crate::world::{
    OBJECTIVE, Object, Operator, SOON, World, objective, per_objective, pool, refused_start as run_to_end,
    remove,
};

const INSTALL: &str = include_str!("../../../../install.yaml");
const POLICIES: &str = include_str!("../../../../config/components/policy/policies.yaml");
pub(crate) const NAMESPACE: &str = "kleym-system";
const ACCOUNT: &str = "kleym-operator";
pub(crate) const USER: &str = "system:serviceaccount:kleym-system:kleym-operator";

/// A cluster with Kleym installed, and no operator that runs yet.
pub(crate) struct Installed {
    /// Where.
    pub(crate) world: World,
}

impl Installed {
    async fn new(name: &str, more: &str) -> Self {
        let mut world = World::with_only(name, &Kind::ALL).await;
        world.instance = "default".to_owned();
        apply_yaml(&world.client, INSTALL).await.unwrap();
        if !more.is_empty() {
            apply_yaml(&world.client, more).await.unwrap();
        }
        Self::around(world)
    }

    /// A cluster in which somebody has installed Kleym.
    pub(crate) fn around(mut world: World) -> Self {
        world.user = USER.to_owned();
        // Some of the account's calls are the tests' own.
        world.excuse("wire: the user agent is ``");
        Self { world }
    }

    /// The calls of the operator's account since a mark that the API server forbade.
    pub(crate) async fn refused_calls(&self, since: Mark) -> Vec<String> {
        self.world.at_rest().await;
        let calls = self.world.all_calls(since).await;
        let own: Vec<_> = calls.iter().filter(|call| call.user == USER).collect();
        assert!(!own.is_empty());
        own.iter().filter(|call| call.code == 403).map(|call| format!("{} {}", call.verb, call.uri)).collect()
    }

    async fn deployment(&self) -> Deployment {
        Api::namespaced(self.world.client.clone(), NAMESPACE).get("kleym-operator").await.unwrap()
    }

    /// A token of an account in the operator's namespace.
    pub(crate) async fn token(&self, account: &str, spec: TokenRequestSpec) -> String {
        let accounts = Api::<ServiceAccount>::namespaced(self.world.client.clone(), NAMESPACE);
        let request = TokenRequest { spec, ..TokenRequest::default() };
        let answer = accounts.create_token_request(account, &PostParams::default(), &request).await.unwrap();
        answer.status.unwrap().token
    }

    /// A kubeconfig with a token of the operator's account.
    pub(crate) async fn kubeconfig(&self) -> PathBuf {
        let spec = TokenRequestSpec { expiration_seconds: Some(600), ..TokenRequestSpec::default() };
        let token = self.token(ACCOUNT, spec).await;
        let mut config = Kubeconfig::read_from(self.world.kubeconfig_as("nobody", &[]).unwrap()).unwrap();
        let user = config.auth_infos[0].auth_info.as_mut().unwrap();
        *user = serde_json::from_value(json!({ "token": token })).unwrap();
        config.contexts[0].context.as_mut().unwrap().namespace = Some(NAMESPACE.to_owned());
        let path = self.world.folder().join("account.kubeconfig");
        std::fs::write(&path, serde_json::to_string(&config).unwrap()).unwrap();
        path
    }

    /// The operator with the settings of the Deployment, but for its listeners, which the test needs elsewhere.
    pub(crate) async fn operator(&self, kubeconfig: &Path) -> Operator {
        let containers = self.deployment().await.spec.unwrap().template.spec.unwrap().containers;
        let mut flags = Vec::new();
        for variable in containers[0].env.clone().unwrap() {
            let flag = variable.name.strip_prefix("KLEYM_").unwrap().to_lowercase().replace('_', "-");
            let value = variable.value.unwrap_or_default();
            if !flag.ends_with("-bind-address") && !flag.starts_with("log-") && !value.is_empty() {
                flags.push(format!("--{flag}={value}"));
            }
        }
        assert!(flags.contains(&"--leader-elect=true".to_owned()), "{flags:?}");
        flags.push("--metrics-bind-address=127.0.0.1:0".to_owned());
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        self.world.operator_of(kubeconfig, &flags).await
    }

    /// Waits until the policies are enforced: the API server compiles them a moment after they were written.
    pub(crate) async fn fenced(&self) {
        let outputs = self.world.api(Kind::Output);
        let foreign = output("probe", &[("kleym.sonda.red/managed-by", "kleym")], json!({}));
        let parameters = PostParams { dry_run: true, ..PostParams::default() };
        eventually("the policies are enforced", SOON, || async {
            let answer = outputs.create(&parameters, &foreign).await;
            ensure!(answer.is_err(), "anybody may still write what wears our label");
            Ok(())
        })
        .await
        .unwrap();
    }
}

/// A ClusterSPIFFEID with these labels and this spec, but for the field that it must have.
pub(crate) fn output(name: &str, labels: &[(&str, &str)], spec: Value) -> DynamicObject {
    let (_, mut object) = Object::new(Kind::Output, name, spec).into_dynamic();
    object.data["spec"]["spiffeIDTemplate"] = json!("spiffe://kleym.sonda.red/ns/x/pool/y");
    let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    object.metadata.labels = Some(labels.collect());
    object
}

/// What the API server says to a write: nothing when it takes it.
fn said<T>(answer: Result<T, kube::Error>) -> Option<String> {
    match answer {
        Ok(_) => None,
        Err(kube::Error::Api(status)) => Some(status.message),
        Err(error) => panic!("{error}"),
    }
}

/// Everything a binding meets in its life.
pub(crate) async fn lifecycle(installed: &Installed) {
    let world = &installed.world;
    let as_operator = world.client_as(USER, &[]).unwrap();
    world.create_all([pool("llama", &[("app", "vllm")]), objective("chat", "llama")]).await;
    world.create(per_objective("chat", "chat", "vllm")).await;
    world.ready("chat").await;
    let granted = world.output("chat").await;

    // A change is a replace, a refusal is a withdrawal, and what was refused recovers.
    let discriminator = json!({"spec": {"containerDiscriminator": {"value": "sglang"}}});
    world.edit(Kind::Binding, "chat", discriminator).await;
    let name = world.output_name("chat");
    world
        .until("the output follows", Kind::Output, &name, |output| {
            let output = output.context("it is gone")?;
            ensure!(output["metadata"]["uid"] == granted["metadata"]["uid"], "it is another object");
            ensure!(output["spec"] != granted["spec"], "not yet");
            Ok(())
        })
        .await;
    let id = json!("spiffe://kleym.sonda.red/ns/{{ .Namespace }}/second");
    world.create(per_objective("second", "chat", "sglang").with("/spec/spiffeIDTemplate", id)).await;
    world.refused("second", "IdentityCollision").await;
    world.delete(OBJECTIVE, "chat").await;
    world.refused("chat", "TargetObjectiveNotFound").await;
    world.gone(Kind::Output, &name).await;
    world.create(objective("chat", "llama")).await;
    world.ready("chat").await;

    // An output that a foreign finalizer holds is made to select nothing.
    let outputs = Api::<DynamicObject>::all_with(as_operator, &api_resource(Kind::Output));
    let mut held = outputs.get(&name).await.unwrap();
    held.metadata.finalizers = Some(vec!["example.com/hold".to_owned()]);
    outputs.replace(&name, &PostParams::default(), &held).await.unwrap();
    world.delete(Kind::Binding, "second").await;
    world.delete(Kind::Binding, "chat").await;
    world
        .until("the output selects nothing", Kind::Output, &name, |output| {
            let selector = &output.context("it is gone")?["spec"]["namespaceSelector"]["matchLabels"];
            ensure!(selector["kubernetes.io/metadata.name"] == "withdrawn.kleym.sonda.red", "{selector}");
            Ok(())
        })
        .await;
    world.edit(Kind::Output, &name, json!({"metadata": {"finalizers": null}})).await;
    for binding in ["chat", "second"] {
        world.gone(Kind::Binding, binding).await;
    }
    world.gone(Kind::Output, &name).await;
}

#[tokio::test]
async fn with_the_rights_of_its_account_and_behind_the_policies_the_operator_does_all_its_work() {
    let installed = Installed::new("installed", POLICIES).await;
    let world = &installed.world;
    installed.fenced().await;
    let kubeconfig = installed.kubeconfig().await;
    let mark = world.mark().await;
    let operator = installed.operator(&kubeconfig).await;
    operator.says("leading lease").await;
    lifecycle(&installed).await;
    assert_eq!(installed.refused_calls(mark).await, Vec::<String>::new());
    operator.terminate().await;
}

#[tokio::test]
async fn an_uninstall_is_refused_while_anything_is_left_that_only_the_operator_cleans_up() {
    let installed = Installed::new("uninstall", "").await;
    let world = &installed.world;
    let kubeconfig = installed.kubeconfig().await;
    let check = |more: &[&str]| {
        let kubeconfig = format!("--kubeconfig={}", kubeconfig.display());
        let flags: Vec<&str> =
            [kubeconfig.as_str()].iter().chain(more).chain(&["uninstall-check"]).copied().collect();
        let output = run_to_end(&flags, &[]);
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    assert_eq!(check(&[]), (Some(0), String::new()));

    let operator = world.operator_of(&kubeconfig, &[]).await;
    world.create_all([pool("llama", &[("app", "vllm")]), objective("chat", "llama")]).await;
    world.create(per_objective("chat", "chat", "vllm")).await;
    world.ready("chat").await;
    let (code, said) = check(&[]);
    assert_eq!(code, Some(1), "{said}");
    for words in [
        "kleym-operator: not to be uninstalled now: 1 binding has still to be cleaned up",
        &format!("\n  {}/chat\n", world.namespace),
        "kubectl delete inferenceidentitybindings.kleym.sonda.red --all --all-namespaces --wait",
        &format!("\n  {}\n", world.output_name("chat")),
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    // What another instance granted is not in the way of this one; what this one granted while it watched more is.
    assert_eq!(check(&["--instance=another", "--watch-namespace=default"]).0, Some(0));
    let (code, said) = check(&["--watch-namespace=default"]);
    assert_eq!(code, Some(1), "{said}");
    let named = format!("in namespaces that it does not watch:\n  {}\n", world.output_name("chat"));
    assert!(said.contains("1 identity is still granted by this operator") && said.contains(&named), "{said}");

    world.delete(Kind::Binding, "chat").await;
    world.gone(Kind::Binding, "chat").await;
    operator.terminate().await;
    assert_eq!(check(&[]), (Some(0), String::new()));
    remove(&world.client, Kind::Output).await;
    assert_eq!(check(&[]), (Some(0), String::new()));
    let (code, said) = check(&["--kubeconfig=/nowhere"]);
    assert!(code != Some(0) && said.contains("kubeconfig"), "{said}");
}

#[tokio::test]
async fn the_pods_pass_pod_security_restricted_and_the_settings_mean_something() {
    let installed = Installed::new("secured", "").await;
    let template = installed.deployment().await.spec.unwrap().template;
    let variables = template.spec.as_ref().unwrap().containers[0].env.clone().unwrap();
    let find = |name: &str| {
        let variable = variables.iter().find(|variable| variable.name == name)?;
        Some(OsString::from(variable.value.clone().unwrap_or_default()))
    };
    let configuration = Flags::default().resolve(&find).unwrap();
    assert!(configuration.leader_elect && configuration.metrics_address.is_some());

    // The namespace enforces the standard, so that a pod that is taken passes it.
    let pods = Api::<Pod>::namespaced(installed.world.client.clone(), NAMESPACE);
    let pod = |spec| Pod {
        metadata: ObjectMeta { name: Some("probe".to_owned()), ..ObjectMeta::default() },
        spec: Some(spec),
        status: None,
    };
    let parameters = PostParams { dry_run: true, ..PostParams::default() };
    let spec = template.spec.unwrap();
    assert_eq!(said(pods.create(&parameters, &pod(spec.clone())).await), None);
    let mut loose = spec;
    loose.containers[0].security_context = None;
    let refusal = said(pods.create(&parameters, &pod(loose)).await).unwrap();
    assert!(refusal.contains("violates PodSecurity \"restricted:latest\""), "{refusal}");
}

#[tokio::test]
async fn the_policies_deny_what_they_should_and_nothing_else() {
    let installed = Installed::new("fenced", POLICIES).await;
    let world = &installed.world;
    // The test makes the account's calls itself.
    world.excuse("wire");
    installed.fenced().await;
    let operator = world.client_as(USER, &[]).unwrap();
    let resource = api_resource(Kind::Output);
    let as_operator = Api::<DynamicObject>::all_with(operator.clone(), &resource);
    let as_admin = world.api(Kind::Output);
    let post = PostParams::default();

    // What the operator writes is taken; each thing that it must not write is not.
    let good = || {
        let pods = json!({"matchLabels": {"app": "vllm"}});
        let items = json!(["k8s:ns:team", "k8s:pod-label:app:vllm"]);
        let spec = json!({
            "namespaceSelector": namespace_selector("team"),
            "podSelector": pods,
            "workloadSelectorTemplates": items,
            "fallback": false,
        });
        let mut object = proven("good", spec);
        set(&mut object, "spiffeIDTemplate", json!("spiffe://kleym.sonda.red/ns/team/objective/chat"));
        object
    };
    assert_eq!(said(as_operator.create(&post, &good()).await), None);
    let bad = |change: &dyn Fn(&mut DynamicObject)| {
        let mut object = good();
        object.metadata.name = Some("bad".to_owned());
        change(&mut object);
        object
    };
    let proof = "carry its proof";
    let namespace = "selects exactly the namespace of its binding";
    let more = "no admin, downstream, federatesWith or DNS names";
    let pods = "by their labels, never every pod";
    let literal = "is literal";
    let id = "no SPIFFE ID of another namespace";
    let lifetime = "no fallback and sets no lifetime";
    let named = |id: &str| {
        let id = json!(id);
        bad(&|object| set(object, "spiffeIDTemplate", id.clone()))
    };
    let cases = [
        (bad(&|object| object.metadata.labels = None), proof),
        (bad(&|object| object.metadata.annotations = None), proof),
        (without_label(bad(&|_| {}), "kleym.sonda.red/instance"), proof),
        (without_label(bad(&|_| {}), "kleym.sonda.red/binding-name"), proof),
        (bad(&|object| label(object, "kleym.sonda.red/binding-namespace", "other")), proof),
        (bad(&|object| label(object, "kleym.sonda.red/managed-by", "me")), proof),
        (bad(&|object| set(object, "namespaceSelector", Value::Null)), namespace),
        (bad(&|object| set(object, "namespaceSelector", namespace_selector("other"))), namespace),
        (bad(&|object| set(object, "namespaceSelector", namespace_selector("te"))), namespace),
        (
            bad(&|object| {
                set(
                    object,
                    "namespaceSelector",
                    json!({"matchLabels": {"kubernetes.io/metadata.name": "team"},
                    "matchExpressions": [{"key": "a", "operator": "Exists"}]}),
                );
            }),
            namespace,
        ),
        (bad(&|object| set(object, "admin", json!(true))), more),
        (bad(&|object| set(object, "downstream", json!(true))), more),
        (bad(&|object| set(object, "federatesWith", json!(["other.example"]))), more),
        (bad(&|object| set(object, "dnsNameTemplates", json!(["a"]))), more),
        (bad(&|object| set(object, "autoPopulateDNSNames", json!(true))), more),
        (bad(&|object| set(object, "podSelector", Value::Null)), pods),
        (bad(&|object| set(object, "podSelector", json!({}))), pods),
        (bad(&|object| set(object, "podSelector", json!({"matchLabels": {}}))), pods),
        (
            bad(&|object| {
                set(object, "podSelector", json!({"matchExpressions": [{"key": "a", "operator": "Exists"}]}));
            }),
            pods,
        ),
        (named("spiffe://kleym.sonda.red/ns/team/{{ .PodMeta.Name }}"), literal),
        (bad(&|object| set(object, "workloadSelectorTemplates", json!(["k8s:sa:{{ .PodSpec }}"]))), literal),
        (named("spiffe://kleym.sonda.red/ns/kube-system/sa/default"), id),
        (named("spiffe://kleym.sonda.red/ns/tea/objective/chat"), id),
        (named("spiffe://kleym.sonda.red/ns/team-b/objective/chat"), id),
        (named("spiffe://kleym.sonda.red/NS/team/objective/chat"), id),
        (named("spiffe://kleym.sonda.red/ns"), id),
        (named("spiffe://kleym.sonda.red"), id),
        (named("spiffe://kleym.sonda.red/spire/server"), id),
        (named("/ns/team/x/y"), id),
        (bad(&|object| set(object, "fallback", json!(true))), lifetime),
        (bad(&|object| set(object, "ttl", json!("8760h"))), lifetime),
        (bad(&|object| set(object, "jwtTtl", json!("8760h"))), lifetime),
    ];
    for (object, expected) in &cases {
        let refusal = said(as_operator.create(&post, object).await).unwrap_or_default();
        assert!(refusal.contains(expected), "{object:?}: {refusal}");
        let mut update = as_operator.get("good").await.unwrap();
        update.metadata.labels.clone_from(&object.metadata.labels);
        update.metadata.annotations.clone_from(&object.metadata.annotations);
        update.data = object.data.clone();
        let refusal = said(as_operator.replace("good", &post, &update).await).unwrap_or_default();
        assert!(refusal.contains(expected), "{object:?}: {refusal}");
    }
    let dry_run = PostParams { dry_run: true, ..post.clone() };
    // What lies outside of `/ns/` an administrator granted.
    for granted in ["spiffe://kleym.sonda.red/models/a/chat", "spiffe://kleym.sonda.red/nsx/chat"] {
        assert_eq!(said(as_operator.create(&dry_run, &named(granted)).await), None);
    }
    // Making an output select nothing needs no proof, whatever else somebody wrote into it: it is a withdrawal.
    let mut nothing = as_operator.get("good").await.unwrap();
    nothing.metadata.labels = None;
    set(&mut nothing, "podSelector", Value::Null);
    set(&mut nothing, "spiffeIDTemplate", json!("spiffe://kleym.sonda.red/ns/other/{{ .PodMeta.Name }}"));
    set(&mut nothing, "workloadSelectorTemplates", json!(["k8s:sa:{{ .PodSpec }}"]));
    set(&mut nothing, "namespaceSelector", namespace_selector("withdrawn.kleym.sonda.red"));
    assert_eq!(said(as_operator.replace("good", &dry_run, &nothing).await), None);

    // Nobody else writes what wears our label, old or new; what does not is theirs.
    let refusal = "only the Kleym operator writes ClusterSPIFFEIDs with the label";
    let denied = |answer: Option<String>| {
        let answer = answer.unwrap_or_default();
        assert!(answer.contains(refusal), "{answer}");
    };
    denied(said(as_admin.create(&post, &bad(&|_| {})).await));
    let theirs = output("theirs", &[("kleym.sonda.red/instance", "x")], json!({}));
    assert_eq!(said(as_admin.create(&post, &theirs).await), None);
    let patched = |name: &'static str, patch: Value| {
        let as_admin = as_admin.clone();
        async move { said(as_admin.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await) }
    };
    assert_eq!(patched("theirs", json!({"spec": {"admin": true}})).await, None);
    denied(patched("theirs", json!({"metadata": {"labels": {"kleym.sonda.red/managed-by": "kleym"}}})).await);
    denied(patched("good", json!({"spec": {"admin": true}})).await);
    denied(patched("good", json!({"metadata": {"labels": {"kleym.sonda.red/managed-by": null}}})).await);
    denied(patched("good", json!({"metadata": {"annotations": {"kleym.sonda.red/binding-uid": "x"}}})).await);
    denied(patched("good", json!({"metadata": {"finalizers": ["example.com/hold"]}})).await);
    // Taking a finalizer off, the status, and deleting stay free.
    let mut held = as_operator.get("good").await.unwrap();
    held.metadata.finalizers = Some(vec!["example.com/hold".to_owned()]);
    assert_eq!(said(as_operator.replace("good", &post, &held).await), None);
    assert_eq!(patched("good", json!({"metadata": {"finalizers": null}})).await, None);
    let status = Patch::Merge(json!({"status": {"stats": {"podsSelected": 1}}}));
    assert_eq!(said(as_admin.patch_status("good", &PatchParams::default(), &status).await), None);
    assert_eq!(said(as_admin.delete("good", &DeleteParams::default()).await), None);
    assert_eq!(said(as_operator.delete("theirs", &DeleteParams::default()).await), None);

    // Only the operator writes the status of a binding; whoever may writes its spec, under a name that can be read.
    let binding = per_objective("chat", "chat", "vllm");
    world.create(binding.clone()).await;
    let status = Patch::Merge(json!({"status": {"observedGeneration": 7}}));
    let answer = world.api(Kind::Binding).patch_status("chat", &PatchParams::default(), &status).await;
    assert!(said(answer).unwrap_or_default().contains("only the Kleym operator writes the status"));
    let answer = world.try_create(per_objective(&"x".repeat(64), "chat", "vllm")).await;
    assert!(answer.unwrap_err().contains("at most 63 characters"));
    world.create(per_objective(&"x".repeat(63), "chat", "vllm")).await;
    world.edit(Kind::Binding, "chat", json!({"spec": {"containerDiscriminator": {"value": "b"}}})).await;
    world.delete(Kind::Binding, "chat").await;
}

/// An output with the proof of a binding `team/chat`.
fn proven(name: &str, spec: Value) -> DynamicObject {
    let labels = [
        ("managed-by", "kleym"),
        ("instance", "default"),
        ("binding-namespace", "team"),
        ("binding-name", "chat"),
    ];
    let mut object = output(name, &[], spec);
    for (key, value) in labels {
        label(&mut object, &format!("kleym.sonda.red/{key}"), value);
    }
    let annotations = [("binding", "team/chat"), ("binding-uid", "u")];
    let annotations = annotations.map(|(key, value)| (format!("kleym.sonda.red/{key}"), value.to_owned()));
    object.metadata.annotations = Some(annotations.into());
    object
}

fn namespace_selector(namespace: &str) -> Value {
    json!({"matchLabels": {"kubernetes.io/metadata.name": namespace}})
}

fn label(object: &mut DynamicObject, key: &str, value: &str) {
    object.metadata.labels.get_or_insert_default().insert(key.to_owned(), value.to_owned());
}

fn without_label(mut object: DynamicObject, key: &str) -> DynamicObject {
    object.metadata.labels.as_mut().unwrap().remove(key).unwrap();
    object
}

fn set(object: &mut DynamicObject, field: &str, value: Value) {
    object.data["spec"][field] = value;
}
