//! The image in its pods: the operator with the account that is mounted, through a renewal of its token, and the check that
//! the chart runs before an uninstall.

use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, ensure};
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec};
use k8s_openapi::api::batch::v1::Job;
use kleym_core::kind::Kind;
use kleym_testenv::{apply_yaml, eventually};
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use super::pod::Pod;
use crate::installed::{Installed, NAMESPACE, USER, lifecycle};
use crate::package::install::apply;
use crate::package::{chart, printed, root, tool_path};
use crate::world::{SOON, World, objective, per_objective, pool};

/// A token is read from its file again within a minute.
const READ_AGAIN: Duration = Duration::from_secs(120);

/// A cluster with the namespace of the operator, whose pods must pass Pod Security `restricted`.
async fn cluster(name: &str) -> World {
    let mut world = World::with_only(name, &Kind::ALL).await;
    let labels = json!({"pod-security.kubernetes.io/enforce": "restricted"});
    let metadata = json!({"name": NAMESPACE, "labels": labels});
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata});
    apply_yaml(&world.client, &namespace.to_string()).await.unwrap();
    world.instance = "default".to_owned();
    world
}

#[tokio::test]
async fn in_its_pod_the_operator_works_with_the_mounted_account_and_takes_up_each_new_token() {
    let world = cluster("pod").await;
    let rendered = chart(&["--set=useDefaultTrustDomain=true", "--no-hooks"]);
    apply(&world, &rendered);
    let installed = Installed::around(world);
    let world = &installed.world;
    let pod = Pod::of(&installed, &rendered, "Deployment");
    let old = pod.renew("first").await;
    let mark = world.mark().await;
    let operator = pod.operator().await;
    operator.says("leading lease").await;
    let leases =
        Api::<k8s_openapi::api::coordination::v1::Lease>::namespaced(world.client.clone(), NAMESPACE);
    leases.get("kleym-operator-default").await.unwrap();

    // The next token is used before the last one ends, and nobody notices.
    pod.renew("second").await;
    let audit = world.audit().unwrap();
    let credentials = |calls: &[kleym_testenv::Call]| {
        let own = calls.iter().filter(|call| call.user == USER && !call.credential.is_empty());
        own.map(|call| call.credential.clone()).collect::<std::collections::BTreeSet<_>>().len()
    };
    audit.wait_for("the new token is used", mark, READ_AGAIN, |calls| credentials(calls) == 2).await.unwrap();
    pod.revoke("first").await;
    let reviews = Api::<TokenReview>::all(world.client.clone());
    let spec = TokenReviewSpec { token: Some(old), audiences: None };
    let review = TokenReview { spec, ..TokenReview::default() };
    eventually("the old token is worth nothing", SOON, || async {
        let answer = reviews.create(&PostParams::default(), &review).await?;
        let status = answer.status.context("no status")?;
        ensure!(status.authenticated != Some(true), "it still is");
        Ok(())
    })
    .await
    .unwrap();
    lifecycle(&installed).await;
    let calls = audit.calls_since(mark).await.unwrap();
    let refused: Vec<String> = calls
        .iter()
        .filter(|call| [401, 403].contains(&call.code))
        .map(|call| format!("{} {} {} {}", call.code, call.user, call.verb, call.uri))
        .collect();
    assert_eq!(refused, Vec::<String>::new());
    assert_eq!(operator.said("leading lease").len(), 1, "{}", operator.log());
    operator.terminate().await;
}

/// Plays the controller and the kubelet for the chart's Job: runs its pod and says how that ended. Gives what it said.
async fn run_job(installed: &Installed, name: &str) -> (Option<i32>, String) {
    let jobs = Api::<Job>::namespaced(installed.world.client.clone(), NAMESPACE);
    let job = eventually("Helm creates the job", SOON, || async {
        let job = jobs.get("kleym-uninstall-check").await?;
        ensure!(job.status.as_ref().is_none_or(|status| status.start_time.is_none()), "it is the last one");
        Ok(job)
    });
    let mut job = serde_json::to_value(job.await.unwrap()).unwrap();
    job["apiVersion"] = json!("batch/v1");
    job["kind"] = json!("Job");
    let pod = Pod::of(installed, &job.to_string(), "Job");
    pod.renew(name).await;
    let output = pod.run();
    let now = jiff::Timestamp::now().to_string();
    let status = if output.status.success() {
        let conditions = ["SuccessCriteriaMet", "Complete"].map(|kind| condition(kind, &now));
        json!({"startTime": now, "completionTime": now, "succeeded": 1, "conditions": conditions})
    } else {
        let conditions = ["FailureTarget", "Failed"].map(|kind| condition(kind, &now));
        json!({"startTime": now, "failed": 1, "conditions": conditions})
    };
    let patch = Patch::Merge(json!({ "status": status }));
    jobs.patch_status("kleym-uninstall-check", &PatchParams::default(), &patch).await.unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

fn condition(kind: &str, now: &str) -> Value {
    json!({"type": kind, "status": "True", "lastProbeTime": now, "lastTransitionTime": now})
}

#[tokio::test]
async fn helm_uninstalls_only_when_nothing_is_left_that_needs_the_operator() {
    let world = cluster("helm-uninstall").await;
    let namespace = world.namespace.clone();
    let kubeconfig = format!("--kubeconfig={}", world.kubeconfig().unwrap().display());
    let values = format!(
        "--set=useDefaultTrustDomain=true,crds.enabled=false,metrics.secure=true,watchNamespaces={{{namespace}}}"
    );
    let release = ["install", "kleym", "charts/kleym", "--namespace=kleym-system"];
    printed("helm", &[&release[..], &[&kubeconfig, &values]].concat(), "");
    let installed = Installed::around(world);
    let world = &installed.world;
    let manifest =
        printed("helm", &["get", "manifest", "kleym", "--namespace=kleym-system", &kubeconfig], "");
    let mark = world.mark().await;
    let pod = Pod::of(&installed, &manifest, "Deployment");
    pod.renew("operator").await;
    let operator = pod.operator().await;
    world.create_all([pool("llama", &[("app", "vllm")]), objective("chat", "llama")]).await;
    world.create(per_objective("chat", "chat", "vllm")).await;
    world.ready("chat").await;

    let uninstall = || {
        Command::new(tool_path("helm"))
            .args(["uninstall", "kleym", "--namespace=kleym-system", "--timeout=60s", &kubeconfig])
            .current_dir(root())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    };
    let helm = uninstall();
    let (code, said) = run_job(&installed, "check-one").await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("1 binding has still to be cleaned up"), "{said}");
    assert!(said.contains(&format!("{namespace}/chat")), "{said}");
    let output = helm.wait_with_output().unwrap();
    assert!(!output.status.success(), "{output:?}");
    let deployments =
        Api::<k8s_openapi::api::apps::v1::Deployment>::namespaced(world.client.clone(), NAMESPACE);
    assert!(deployments.get_opt("kleym-operator").await.unwrap().is_some());

    world.delete(Kind::Binding, "chat").await;
    world.gone(Kind::Binding, "chat").await;
    let helm = uninstall();
    let (code, said) = run_job(&installed, "check-two").await;
    assert_eq!((code, said.as_str()), (Some(0), ""));
    let output = helm.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(deployments.get_opt("kleym-operator").await.unwrap().is_none());
    // The operator has lost its rights by now; before, none was missing.
    let calls = world.calls_so_far(mark);
    let refused =
        calls.iter().filter(|call| call.code == 403 && call.uri.contains("customresourcedefinitions"));
    assert_eq!(refused.count(), 0);
    drop(operator);
}
