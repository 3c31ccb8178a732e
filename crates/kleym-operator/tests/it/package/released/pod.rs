//! A pod as a kubelet runs it, as far as Kleym can tell: the container's own arguments, variables and mounts, in the image's
//! own file system, which is read-only, with a token of its ServiceAccount that is replaced in place. Of the machine it has
//! the network and `/proc`. Needs Linux, and leave to make a user namespace.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequestSpec};
use k8s_openapi::api::core::v1::Pod as Object;
use kleym_testenv::supervised;
use kube::api::{DeleteParams, PostParams};
use kube::config::Kubeconfig;
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use crate::installed::{Installed, NAMESPACE};
use crate::package::{as_text, objects};
use crate::world::Operator;

/// `$1` is the image's file system, `$2` the folder to mount at `$3`; the rest is the program with its arguments.
const CONTAINER: &str = r#"
set -e
root=$1; volume=$2; where=$3; shift 3
mount --bind "$root" "$root"
mkdir -p "$root/proc" "$root$where"
mount --rbind /proc "$root/proc"
mount --bind "$volume" "$root$where"
mount -o remount,bind,ro,nosuid,nodev "$root"
exec chroot "$root" "$@"
"#;

/// Listeners and log lines that tests can read; everything else is as it was rendered.
const READABLE: [&str; 3] =
    ["--health-probe-bind-address=127.0.0.1:0", "--metrics-bind-address=127.0.0.1:0", "--log-format=text"];

/// One pod of a rendered text.
pub(super) struct Pod<'a> {
    installed: &'a Installed,
    template: Value,
    /// How the image is configured.
    configuration: Value,
    folder: PathBuf,
}

impl<'a> Pod<'a> {
    /// The pod of the object of this kind (`Deployment`, `Job`) in a rendered text.
    pub(super) fn of(installed: &'a Installed, rendered: &str, kind: &str) -> Self {
        let object = objects(rendered).into_iter().find(|object| object["kind"] == kind).unwrap();
        let mut template = object["spec"]["template"].clone();
        template["metadata"]["namespace"] = json!(NAMESPACE);
        let folder = installed.world.folder().join(format!("pod-of-{kind}"));
        let configuration = unpack(&folder);
        Self { installed, template, configuration, folder }
    }

    /// Makes a pod of this name of it for the API server, and gives the running one a token that is bound to that, in one
    /// step as a kubelet does.
    pub(super) async fn renew(&self, name: &str) -> String {
        let client = self.installed.world.client.clone();
        let mut pod: Object = serde_json::from_value(self.template.clone()).unwrap();
        pod.metadata.name = Some(name.to_owned());
        let pod = Api::namespaced(client, NAMESPACE).create(&PostParams::default(), &pod).await.unwrap();
        let spec = TokenRequestSpec {
            expiration_seconds: self.source("serviceAccountToken")["expirationSeconds"].as_i64(),
            bound_object_ref: Some(BoundObjectReference {
                api_version: Some("v1".to_owned()),
                kind: Some("Pod".to_owned()),
                name: pod.metadata.name.clone(),
                uid: pod.uid(),
            }),
            ..TokenRequestSpec::default()
        };
        let token = self.installed.token(as_text(&self.template["spec"]["serviceAccountName"]), spec).await;
        self.project(name, &token);
        token
    }

    /// Takes the pod of this name away from the API server, and with it the token that is bound to it.
    pub(super) async fn revoke(&self, name: &str) {
        let pods = Api::<Object>::namespaced(self.installed.world.client.clone(), NAMESPACE);
        pods.delete(name, &DeleteParams::default()).await.unwrap();
    }

    /// Starts the operator in it, and waits until it is ready.
    pub(super) async fn operator(&self) -> Operator {
        let mut command = supervised("unshare", None);
        self.contain(&mut command, &READABLE);
        let operator = Operator::run("pod", &mut command);
        operator.ready().await;
        operator
    }

    /// Runs its program to the end.
    pub(super) fn run(&self) -> Output {
        let mut command = Command::new("unshare");
        self.contain(&mut command, &[]);
        command.stdin(Stdio::null()).output().unwrap()
    }

    fn container(&self) -> &Value {
        &self.template["spec"]["containers"][0]
    }

    /// The source of this type in the projected volume, the only one.
    fn source(&self, of: &str) -> &Value {
        let [volume] = self.template["spec"]["volumes"].as_array().unwrap().as_slice() else {
            panic!("{}", self.template["spec"]["volumes"])
        };
        let sources = volume["projected"]["sources"].as_array().unwrap();
        sources.iter().find_map(|source| source.get(of)).unwrap()
    }

    fn contain(&self, command: &mut Command, more: &[&str]) {
        let container = self.container();
        let [mount] = container["volumeMounts"].as_array().unwrap().as_slice() else {
            panic!("{}", container["volumeMounts"])
        };
        command.args(["--map-root-user", "--mount", "--", "sh", "-c", CONTAINER, "container"]);
        command.args([self.folder.join("root"), self.folder.join("volume")]);
        command.arg(as_text(&mount["mountPath"]));
        let texts = |value: &Value| -> Vec<String> {
            value.as_array().into_iter().flatten().map(|text| as_text(text).to_owned()).collect()
        };
        command.args(texts(&self.configuration["config"]["Entrypoint"]));
        command.args(texts(&container["args"])).args(more);

        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        for variable in container["env"].as_array().unwrap() {
            command.env(as_text(&variable["name"]), as_text(&variable["value"]));
        }
        let server = self.installed.world.url();
        let (host, port) = server.trim_start_matches("https://").split_once(':').unwrap();
        command.env("KUBERNETES_SERVICE_HOST", host).env("KUBERNETES_SERVICE_PORT", port);
    }

    /// Writes the projected volume, whose files change all at once: they are links through `..data`.
    fn project(&self, version: &str, token: &str) {
        let volume = self.folder.join("volume");
        let version = format!("..{version}");
        std::fs::create_dir_all(volume.join(&version)).unwrap();
        let kubeconfig = Kubeconfig::read_from(self.installed.world.kubeconfig().unwrap()).unwrap();
        let authority = kubeconfig.clusters[0].cluster.as_ref().unwrap().certificate_authority.clone();
        let authority = std::fs::read_to_string(authority.unwrap()).unwrap();
        let metadata = &self.source("downwardAPI")["items"][0];
        assert_eq!(metadata["fieldRef"]["fieldPath"], "metadata.namespace");
        for (path, content) in [
            (&self.source("serviceAccountToken")["path"], token),
            (&self.source("configMap")["items"][0]["path"], &authority),
            (&metadata["path"], NAMESPACE),
        ] {
            std::fs::write(volume.join(&version).join(as_text(path)), content).unwrap();
            let link = volume.join(as_text(path));
            if !link.is_symlink() {
                std::os::unix::fs::symlink(Path::new("..data").join(as_text(path)), link).unwrap();
            }
        }
        std::os::unix::fs::symlink(version, volume.join("..next")).unwrap();
        std::fs::rename(volume.join("..next"), volume.join("..data")).unwrap();
    }
}

/// Unpacks the image that `KLEYM_IMAGE` names: as it is, and its file system into `root`. Gives its configuration.
fn unpack(folder: &Path) -> Value {
    let image = std::env::var_os("KLEYM_IMAGE").expect("`make package-test` sets KLEYM_IMAGE");
    for folder in [folder.join("image"), folder.join("root"), folder.join("volume")] {
        std::fs::create_dir_all(folder).unwrap();
    }
    let tar = |archive: &Path, flags: &str, into: &str| {
        let status = Command::new("tar").arg(flags).arg(archive).arg("-C").arg(folder.join(into)).status();
        assert!(status.unwrap().success(), "{}", archive.display());
    };
    tar(Path::new(&image), "-xf", "image");
    let blob = |descriptor: &Value| {
        folder.join("image/blobs").join(as_text(&descriptor["digest"]).replace(':', "/"))
    };
    let read = |path: PathBuf| serde_json::from_slice::<Value>(&std::fs::read(path).unwrap()).unwrap();
    let top = read(folder.join("image/index.json"));
    let index = read(blob(&top["manifests"][0]));
    let [manifest] = index["manifests"].as_array().unwrap().as_slice() else { panic!("{index}") };
    let manifest = read(blob(manifest));
    for layer in manifest["layers"].as_array().unwrap() {
        tar(&blob(layer), "-xzf", "root");
    }
    read(blob(&manifest["config"]))
}
