//! The test control plane, tested: it serves, it authorises, it counts, and nothing of it is left behind.
#![expect(clippy::unwrap_used, reason = "helpers of tests are tests too")]

mod proxy;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::ensure;
use k8s_openapi::api::authentication::v1::{SelfSubjectReview, TokenRequest, UserInfo};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod, ServiceAccount};
use kleym_testenv::assets::{Origin, apiserver_version};
use kleym_testenv::{AuditLevel, ControlPlane, Options, apply_manifests, apply_yaml, eventually, tally};
use kube::api::{
    ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, ObjectMeta, Patch, PatchParams,
    PostParams, WatchParams,
};
use kube::config::AuthInfo;
use kube::{Api, Client};
use serde_json::json;
use tokio::task::JoinSet;

const SOON: Duration = Duration::from_secs(10);
const BINARY: &str = env!("CARGO_BIN_EXE_kleym-testenv");

fn config_map(name: &str) -> ConfigMap {
    ConfigMap {
        metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
        ..ConfigMap::default()
    }
}

fn counts<const N: usize>(expected: [(&str, usize); N]) -> BTreeMap<String, usize> {
    expected.map(|(call, count)| (call.to_owned(), count)).into()
}

/// Waits until no process of these groups is left; a child of ours leads a group with its watcher.
async fn gone(leaders: &[u32]) {
    for leader in leaders {
        eventually(&format!("process group {leader} is gone"), SOON, || async {
            let probe = format!("kill -0 -- -{leader}");
            let alive = Command::new("sh").args(["-c", &probe]).stderr(Stdio::null()).status()?.success();
            ensure!(!alive, "something of it runs");
            Ok(())
        })
        .await
        .unwrap();
    }
}

/// A folder of one test, removed at its end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("kleym-testenv-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

#[tokio::test]
async fn an_environment_serves_the_version_of_its_program() {
    let control_plane = ControlPlane::shared().await.unwrap();
    let assets = control_plane.assets();
    let program = Command::new(assets.apiserver()).arg("--version").output().unwrap();
    let program = String::from_utf8(program.stdout).unwrap().trim().replace("Kubernetes ", "");
    let served = control_plane.client().unwrap().apiserver_version().await.unwrap();
    assert_eq!(served.git_version, program);
    if assets.origin == Origin::Built {
        assert_eq!(served.git_version, apiserver_version());
    }
}

#[tokio::test]
async fn a_user_may_do_what_a_role_says_and_nothing_else() {
    let control_plane = ControlPlane::shared().await.unwrap();
    let namespace = control_plane.namespace("roles").await.unwrap();
    let reader = control_plane.client_as("reader", &[]).unwrap();
    let maps = Api::<ConfigMap>::namespaced(reader, &namespace);
    let refusal = |error: kube::Error| match error {
        kube::Error::Api(status) => (status.code, status.message),
        other => panic!("{other}"),
    };
    let message = |verb: &str| {
        format!(
            "configmaps is forbidden: User \"reader\" cannot {verb} resource \"configmaps\" in API group \"\" \
             in the namespace \"{namespace}\""
        )
    };
    let listed = maps.list(&ListParams::default()).await.unwrap_err();
    assert_eq!(refusal(listed), (403, message("list")));

    let role = format!(
        "
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {{name: reader, namespace: {namespace}}}
rules: [{{apiGroups: [\"\"], resources: [configmaps], verbs: [list]}}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {{name: reader, namespace: {namespace}}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: reader}}
subjects: [{{apiGroup: rbac.authorization.k8s.io, kind: User, name: reader}}]
"
    );
    apply_yaml(&control_plane.client().unwrap(), &role).await.unwrap();
    let everything = ListParams::default();
    let listed = eventually("the role is in force", SOON, || maps.list(&everything)).await;
    assert_eq!(listed.unwrap().items, []);
    let created = maps.create(&PostParams::default(), &config_map("one")).await.unwrap_err();
    assert_eq!(refusal(created), (403, message("create")));
}

#[tokio::test]
async fn a_user_is_known_by_name_and_groups() {
    let control_plane = ControlPlane::shared().await.unwrap();
    let user = "system:serviceaccount:team:runner";
    let groups = ["system:serviceaccounts", "system:serviceaccounts:team"];
    let client = control_plane.client_as(user, &groups).unwrap();
    let review =
        Api::all(client).create(&PostParams::default(), &SelfSubjectReview::default()).await.unwrap();
    let known = review.status.and_then(|status| status.user_info).unwrap_or_default();
    let expected = [&groups[..], &["system:authenticated"]].concat();
    assert_eq!(
        (known.username.as_deref(), known.groups.unwrap_or_default()),
        (Some(user), expected.iter().map(ToString::to_string).collect())
    );

    let refusal = control_plane.kubeconfig_as("many", &["a", "b", "c"]).unwrap_err();
    assert_eq!(
        refusal.to_string(),
        "user `many` has 3 groups, but a certificate of this environment holds at most two"
    );
}

#[tokio::test]
async fn a_service_account_token_is_issued_and_accepted() {
    let control_plane = ControlPlane::shared().await.unwrap();
    let namespace = control_plane.namespace("tokens").await.unwrap();
    let accounts = Api::<ServiceAccount>::namespaced(control_plane.client().unwrap(), &namespace);
    let metadata = ObjectMeta { name: Some("runner".into()), ..ObjectMeta::default() };
    let account = ServiceAccount { metadata, ..ServiceAccount::default() };
    accounts.create(&PostParams::default(), &account).await.unwrap();
    let request = TokenRequest::default();
    let issued = accounts.create_token_request("runner", &PostParams::default(), &request).await.unwrap();

    let mut config = control_plane.config().unwrap();
    config.auth_info = AuthInfo { token: Some(issued.status.unwrap().token.into()), ..AuthInfo::default() };
    let client = Client::try_from(config).unwrap();
    let review =
        Api::all(client).create(&PostParams::default(), &SelfSubjectReview::default()).await.unwrap();
    let UserInfo { username, .. } = review.status.unwrap().user_info.unwrap();
    assert_eq!(username, Some(format!("system:serviceaccount:{namespace}:runner")));
}

#[tokio::test]
async fn a_pod_can_be_created_without_its_service_account() {
    let control_plane = ControlPlane::shared().await.unwrap();
    let namespace = control_plane.namespace("pods").await.unwrap();
    let pod: Pod = serde_json::from_value(json!({
        "metadata": {"name": "one"},
        "spec": {"serviceAccountName": "nobody", "containers": [{"name": "main", "image": "example/main:1"}]},
    }))
    .unwrap();
    let pods = Api::<Pod>::namespaced(control_plane.client().unwrap(), &namespace);
    let created = pods.create(&PostParams::default(), &pod).await.unwrap();
    assert_eq!(created.spec.unwrap().service_account_name.as_deref(), Some("nobody"));
}

#[tokio::test]
async fn the_audit_log_counts_every_call_exactly_once() {
    let control_plane = ControlPlane::shared().await.unwrap();
    let namespace = control_plane.namespace("count").await.unwrap();
    let audit = control_plane.audit().unwrap();
    let mark = audit.mark().await.unwrap();

    let client = control_plane.client_as("counted", &["system:masters"]).unwrap();
    let maps = Api::<ConfigMap>::namespaced(client.clone(), &namespace);
    let mut creates = JoinSet::new();
    for number in 0..50 {
        let maps = maps.clone();
        creates.spawn(async move {
            maps.create(&PostParams::default(), &config_map(&format!("map-{number}"))).await.unwrap();
        });
    }
    creates.join_all().await;
    let first = maps.get("map-0").await.unwrap();
    maps.replace("map-0", &PostParams::default(), &first).await.unwrap();
    let change = Patch::Merge(json!({"data": {"key": "value"}}));
    maps.patch("map-1", &PatchParams::default(), &change).await.unwrap();
    maps.delete("map-2", &DeleteParams::default()).await.unwrap();
    assert!(maps.get_opt("map-2").await.unwrap().is_none());
    let namespaces = Api::<Namespace>::all(client.clone());
    let change = Patch::Merge(json!({"status": {"phase": "Active"}}));
    namespaces.patch_status(&namespace, &PatchParams::default(), &change).await.unwrap();
    // A watch counts while it is still open, and not again when it ends.
    let open = maps.watch(&WatchParams::default(), "0").await.unwrap();
    let opened = audit
        .wait_for("the watch is open", mark, SOON, |calls| calls.iter().any(|call| call.verb == "watch"))
        .await
        .unwrap();
    drop(open);
    // One that is refused has an end only, and counts too.
    assert!(maps.watch(&WatchParams::default().labels("!"), "0").await.is_err());

    let of_the_user = |call: &&kleym_testenv::Call| call.user == "counted";
    let expected = [
        ("counted create configmaps", 50),
        ("counted delete configmaps", 1),
        ("counted get configmaps", 2),
        ("counted patch configmaps", 1),
        ("counted patch namespaces/status", 1),
        ("counted update configmaps", 1),
        ("counted watch configmaps", 1),
    ];
    assert_eq!(tally(opened.iter().filter(of_the_user)), counts(expected));

    let end =
        audit.wait_until_quiet(Duration::from_millis(50), SOON, |call| call.user == "counted").await.unwrap();
    assert!(end > mark);
    let calls: Vec<_> =
        audit.calls_since(mark).await.unwrap().into_iter().filter(|call| call.user == "counted").collect();
    assert_eq!(
        tally(&calls),
        counts(expected.map(|(call, count)| (call, if call.contains("watch") { 2 } else { count })))
    );
    let missed = calls.iter().find(|call| call.code == 404).unwrap();
    assert_eq!(
        (missed.verb.as_str(), missed.target(), &missed.namespace, missed.name.as_str(), &missed.request),
        ("get", "configmaps".to_owned(), &namespace, "map-2", &None)
    );
    assert!(missed.received <= missed.answered);
    let watches: Vec<_> = calls.iter().filter(|call| call.verb == "watch").map(|call| call.code).collect();
    assert_eq!(watches, [200, 400]);
    let created: Vec<_> = calls.iter().filter(|call| call.verb == "create").collect();
    assert!(created.iter().all(|call| call.code == 201 && call.name.starts_with("map-")));
}

#[tokio::test]
async fn a_log_that_is_not_quiet_says_which_calls_came() {
    let control_plane = ControlPlane::shared().await.unwrap();
    let audit = control_plane.audit().unwrap();
    let client = control_plane.client_as("restless", &[]).unwrap();
    let mut noise = JoinSet::new();
    noise.spawn(async move {
        loop {
            client.apiserver_version().await.unwrap();
        }
    });
    let failure = audit
        .wait_until_quiet(Duration::from_secs(5), Duration::from_millis(50), |call| call.user == "restless")
        .await
        .unwrap_err();
    let expected = "not quiet for 5s within 50ms; the last calls were {\"restless get /version\": ";
    assert!(failure.to_string().starts_with(expected), "{failure}");
}

#[tokio::test]
async fn two_environments_side_by_side_know_nothing_of_each_other() {
    let with_bodies = Options { audit_level: AuditLevel::RequestResponse, ..Options::default() };
    let (one, other) =
        tokio::join!(ControlPlane::start(with_bodies), ControlPlane::start(Options::default()));
    let (one, other) = (one.unwrap(), other.unwrap());
    let start = one.audit().unwrap().mark().await.unwrap();
    let mark = other.audit().unwrap().mark().await.unwrap();
    let maps = Api::<ConfigMap>::default_namespaced(one.client().unwrap());
    maps.create(&PostParams::default(), &config_map("here")).await.unwrap();

    assert_ne!(one.url(), other.url());
    let others = Api::<ConfigMap>::default_namespaced(other.client().unwrap());
    assert!(others.get_opt("here").await.unwrap().is_none());
    let calls = other.audit().unwrap().calls_since(mark).await.unwrap();
    assert_eq!(tally(&calls), counts([("admin get configmaps", 1)]));
    // A certificate of one is nothing to the other.
    let mut config = one.config().unwrap();
    config.cluster_url = other.url().parse().unwrap();
    assert!(Client::try_from(config).unwrap().apiserver_version().await.is_err());

    let calls = one.audit().unwrap().calls_since(start).await.unwrap();
    let create = calls.iter().find(|call| call.name == "here").unwrap();
    let name = |body: &Option<serde_json::Value>| body.as_ref().unwrap()["metadata"]["name"].clone();
    assert_eq!((name(&create.request), name(&create.response)), (json!("here"), json!("here")));
}

#[tokio::test]
async fn an_api_server_comes_back_on_its_port_with_its_objects_and_its_log() {
    let control_plane = ControlPlane::start(Options::default()).await.unwrap();
    let audit = control_plane.audit().unwrap();
    let client = control_plane.client_as("constant", &["system:masters"]).unwrap();
    let maps = Api::<ConfigMap>::default_namespaced(client);
    let mark = audit.mark().await.unwrap();
    maps.create(&PostParams::default(), &config_map("kept")).await.unwrap();

    control_plane.stop_apiserver();
    assert!(maps.get("kept").await.is_err());
    control_plane.stop_etcd();
    assert_eq!(control_plane.process_ids(), Vec::<u32>::new());
    control_plane.start_etcd().await.unwrap();
    control_plane.start_apiserver().await.unwrap();

    assert_eq!(maps.get("kept").await.unwrap().metadata.name.as_deref(), Some("kept"));
    let calls = audit.calls_since(mark).await.unwrap();
    let own = calls.iter().filter(|call| call.user == "constant");
    assert_eq!(tally(own), counts([("constant create configmaps", 1), ("constant get configmaps", 1)]));
}

#[tokio::test]
async fn a_program_that_ends_at_once_is_quoted() {
    let options = Options { apiserver_flags: vec!["--no-such-flag".into()], ..Options::default() };
    let failure = ControlPlane::start(options).await.err().unwrap();
    assert_eq!(
        format!("{failure:#}"),
        "cannot start the control plane; `kube-apiserver.log` ends with:\n\
         Error: unknown flag: --no-such-flag: the process ended at once"
    );
}

#[tokio::test]
async fn nothing_is_left_after_a_drop() {
    let control_plane = ControlPlane::start(Options::default()).await.unwrap();
    let (processes, folder) = (control_plane.process_ids(), control_plane.folder().to_owned());
    assert_eq!((processes.len(), folder.is_dir()), (2, true));
    drop(control_plane);
    gone(&processes).await;
    assert!(!folder.exists());
}

#[tokio::test]
async fn nothing_is_left_after_a_panic() {
    let (tell, told) = tokio::sync::oneshot::channel();
    let outcome = tokio::spawn(async {
        let control_plane = ControlPlane::start(Options::default()).await.unwrap();
        tell.send((control_plane.process_ids(), control_plane.folder().to_owned())).unwrap();
        panic!("on purpose");
    })
    .await;
    assert!(outcome.unwrap_err().is_panic());
    let (processes, folder) = told.await.unwrap();
    gone(&processes).await;
    assert!(!folder.exists());
}

/// Starts `up` with further arguments, ends it with a signal, and expects that nothing is left.
async fn up_and_signal(signal: &str, arguments: &[&str]) -> Option<i32> {
    let mut up = Command::new(BINARY)
        .arg("up")
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let said = BufReader::new(up.stderr.take().unwrap()).lines().map(Result::unwrap);
    let said = said.take_while(|line| !line.starts_with("the API server listens"));
    assert_eq!(said.last(), None);
    let mut output = BufReader::new(up.stdout.take().unwrap()).lines().map(Result::unwrap);
    let kubeconfig = PathBuf::from(output.next().unwrap());
    let folder = kubeconfig.parent().unwrap().to_owned();
    let leaders = leaders_of_children(up.id());
    assert_eq!(leaders.len(), 2);
    let kill = Command::new("kill").args([signal, &up.id().to_string()]).status().unwrap();
    assert!(kill.success());
    let status = up.wait().unwrap();
    gone(&leaders).await;
    eventually("the folder is gone", SOON, || async {
        ensure!(!folder.exists(), "`{}` is there", folder.display());
        Ok(())
    })
    .await
    .unwrap();
    status.code()
}

fn leaders_of_children(parent: u32) -> Vec<u32> {
    let listed = Command::new("ps").args(["-A", "-o", "pid=,ppid="]).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    let pairs = listed.lines().map(|line| {
        let mut numbers = line.split_whitespace().map(|number| number.parse::<u32>().unwrap());
        (numbers.next().unwrap(), numbers.next().unwrap())
    });
    pairs.filter(|(_, of)| *of == parent).map(|(process, _)| process).collect()
}

#[tokio::test]
async fn nothing_is_left_after_a_kill_that_cannot_be_caught() {
    assert_eq!(up_and_signal("-KILL", &[]).await, None);
}

#[tokio::test]
async fn the_command_ends_in_order_on_sigterm() {
    assert_eq!(up_and_signal("-TERM", &["--user", "someone"]).await, Some(0));
}

const WIDGETS: &str = "
apiVersion: v1
kind: List
items:
- apiVersion: example.org/v1
  kind: Widget
  metadata: {name: one}
  spec: {size: 3}
- apiVersion: v1
  kind: ConfigMap
  metadata: {name: beside, namespace: widgets}
---
# Nothing in this one.
---
apiVersion: v1
kind: Namespace
metadata: {name: widgets}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.example.org}
spec:
  group: example.org
  scope: Cluster
  names: {kind: Widget, plural: widgets}
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema:
        type: object
        properties: {spec: {type: object, properties: {size: {type: integer}}}}
";

#[tokio::test]
async fn definitions_are_served_before_their_objects_are_applied() {
    let control_plane = ControlPlane::shared().await.unwrap();
    let client = control_plane.client().unwrap();
    let scratch = Scratch::new("manifests");
    fs::write(scratch.0.join("widgets.yaml"), WIDGETS).unwrap();
    fs::write(scratch.0.join("README.md"), "not a manifest").unwrap();
    let names = |objects: Vec<DynamicObject>| -> Vec<_> {
        objects.into_iter().filter_map(|object| object.metadata.name).collect()
    };
    let applied = apply_manifests(&client, &scratch.0).await.unwrap();
    let expected = ["widgets.example.org", "widgets", "one", "beside"];
    assert_eq!(names(applied), expected);
    // Applying once more is no change and no error.
    let applied = apply_manifests(&client, &scratch.0.join("widgets.yaml")).await.unwrap();
    assert_eq!(names(applied), expected);

    let widget = ApiResource::from_gvk(&GroupVersionKind::gvk("example.org", "v1", "Widget"));
    let widget = Api::<DynamicObject>::all_with(client, &widget).get("one").await.unwrap();
    assert_eq!((&widget.data["spec"], widget.metadata.generation), (&json!({"size": 3}), Some(1)));
}

#[tokio::test]
async fn a_manifest_that_cannot_be_applied_says_why() {
    let client = ControlPlane::shared().await.unwrap().client().unwrap();
    let failure = async |text: &str| format!("{:#}", apply_yaml(&client, text).await.unwrap_err());
    assert_eq!(failure("metadata: {name: x}").await, "an object without `apiVersion` and `kind`");
    assert_eq!(failure("apiVersion: v1\nkind: ConfigMap").await, "a `ConfigMap` without `metadata.name`");
    let unknown = failure("apiVersion: no.example/v1\nkind: Thing\nmetadata: {name: x}").await;
    assert!(unknown.starts_with("`Thing` of `no.example/v1` is not served: "), "{unknown}");
}

fn assets_command(scratch: &Path) -> Command {
    let mut command = Command::new(BINARY);
    command.arg("assets").env_remove("KUBEBUILDER_ASSETS").env("XDG_CACHE_HOME", scratch.join("cache"));
    command.env("PATH", scratch.join("bin")).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

#[test]
fn a_given_folder_without_the_programs_is_an_error() {
    let scratch = Scratch::new("given");
    fs::write(scratch.0.join("etcd"), "").unwrap();
    let output = assets_command(&scratch.0).env("KUBEBUILDER_ASSETS", &scratch.0).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    let expected = format!(
        "kleym-testenv: `KUBEBUILDER_ASSETS` names `{}`, which has no `kube-apiserver`; put it there or unset \
         the variable\n",
        scratch.0.display()
    );
    assert_eq!((output.status.code(), said), (Some(1), expected));
}

#[test]
fn a_machine_with_neither_go_nor_curl_is_told_what_to_do() {
    let scratch = Scratch::new("bare");
    let output = assets_command(&scratch.0).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    let expected = "kleym-testenv: no control plane: neither `go` (to build it) nor `curl` (to download it) is on \
                    the PATH; install one of them, or set `KUBEBUILDER_ASSETS` to a folder with `etcd` and \
                    `kube-apiserver`\n";
    assert_eq!((output.status.code(), said.as_str()), (Some(1), expected));
}

/// A stand-in for `go` that writes what it is asked to, and a line about it.
fn stand_in_for_go(scratch: &Path, body: &str) {
    let bin = scratch.join("bin");
    fs::create_dir_all(&bin).unwrap();
    fs::write(bin.join("go"), format!("#!/bin/sh\n{body}\n")).unwrap();
    fs::set_permissions(bin.join("go"), fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn programs_that_are_asked_for_at_once_are_built_once() {
    let scratch = Scratch::new("once");
    let log = scratch.0.join("log");
    let body = format!(
        "while [ \"$1\" != -o ]; do shift; done; echo \"$3\" >>'{}'; echo made >\"$2\"; echo some/package >&2",
        log.display()
    );
    stand_in_for_go(&scratch.0, &body);
    let asking: Vec<_> = (0..4).map(|_| assets_command(&scratch.0).spawn().unwrap()).collect();
    let answers: Vec<_> = asking.into_iter().map(|child| child.wait_with_output().unwrap()).collect();
    let folder = answers[0].stdout.clone();
    assert!(answers.iter().all(|answer| answer.status.success() && answer.stdout == folder), "{answers:?}");
    assert_eq!(
        fs::read_to_string(log).unwrap(),
        "go.etcd.io/etcd/server/v3\nk8s.io/kubernetes/cmd/kube-apiserver\n"
    );
    let folder = PathBuf::from(String::from_utf8(folder).unwrap().trim());
    assert!(folder.starts_with(scratch.0.join("cache/kleym/controlplane")), "{}", folder.display());
    assert_eq!(fs::read_to_string(folder.join("kube-apiserver")).unwrap(), "made\n");
}

#[test]
fn a_build_that_fails_shows_what_go_said_and_leaves_nothing() {
    let scratch = Scratch::new("failing");
    stand_in_for_go(&scratch.0, "echo 'cannot find module for path' >&2; exit 1");
    let output = assets_command(&scratch.0).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(said.ends_with(":\ncannot find module for path\n"), "{said}");
    let left: Vec<_> = fs::read_dir(scratch.0.join("cache/kleym/controlplane"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left, ["lock"]);
}
