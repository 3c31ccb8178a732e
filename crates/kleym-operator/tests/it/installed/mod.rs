//! Kleym as it is installed: `install.yaml` and the admission policies on a real API server, and the operator with the
//! rights of its ServiceAccount, no more.

mod policies;
mod uninstall;

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
use kube::api::{DynamicObject, ObjectMeta, PostParams};
use kube::config::Kubeconfig;
use serde_json::{Value, json};

use crate::world::{OBJECTIVE, Object, Operator, SOON, World, objective, per_objective};

const INSTALL: &str = include_str!("../../../../../install.yaml");
const POLICIES: &str = include_str!("../../../../../config/components/policy/policies.yaml");
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

    /// Behind its policies and with the rights of its account, the operator meets everything, and nothing is forbidden it.
    pub(crate) async fn does_all_its_work(&self) {
        self.fenced().await;
        let kubeconfig = self.kubeconfig().await;
        let mark = self.world.mark().await;
        let operator = self.operator(&kubeconfig).await;
        operator.says("leading lease").await;
        lifecycle(self).await;
        assert_eq!(self.refused_calls(mark).await, Vec::<String>::new());
        operator.terminate().await;
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
    world.with_chat().await;
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
    installed.does_all_its_work().await;
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
