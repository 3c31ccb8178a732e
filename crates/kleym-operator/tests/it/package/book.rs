//! The commands of the book that ask a cluster, typed as they stand there: `kubectl` of the pinned version, `kleym` and the
//! operator on a real API server, page by page. A block marked `live` must succeed, and give the answer that it shows. Of a
//! block marked `cluster` something is not there (a kubelet, SPIRE, the network), so it may fail, but not for what was typed.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::ensure;
use kleym_core::kind::Kind;
use kleym_testenv::pages::{Fence, fences, is_shown};
use kleym_testenv::{ControlPlane, Options, Process, apply_yaml, eventually, supervised};
use serde_json::{Value, json};

use super::{objects, root};
use crate::world::{SOON, definition, program};

/// What a program says that does not understand what was typed.
const MISTYPED: [&str; 9] = [
    "unknown flag",
    "unknown shorthand flag",
    "unknown command",
    "unexpected argument",
    "doesn't have a resource type",
    "must specify",
    "error: invalid",
    "error parsing",
    "command not found",
];

/// Seconds for a line that ends by itself: long, because the machine may be busy.
const LONG: &str = "120";
/// Seconds for one that waits for what is not there.
const SHORT: &str = "15";

/// A cluster in which the quick start was done.
struct Stage {
    plane: ControlPlane,
    kubeconfig: PathBuf,
    folder: PathBuf,
    path: String,
    operator: Option<Process>,
}

impl Stage {
    /// An API server with the definitions of others, and nothing of Kleym's.
    async fn bare() -> Self {
        let plane = ControlPlane::start(Options::default()).await.unwrap();
        let client = plane.client().unwrap();
        for kind in Kind::ALL.into_iter().filter(|kind| *kind != Kind::Binding) {
            apply_yaml(&client, &definition(kind).to_string()).await.unwrap();
        }
        let kubeconfig = plane.kubeconfig().unwrap();
        let tools = std::env::var("KLEYM_TOOLS").expect("`make package-check` sets KLEYM_TOOLS");
        // Both programs lie in one folder.
        let programs = PathBuf::from(program()).parent().unwrap().to_owned();
        assert!(programs.join("kleym").exists(), "`kleym` is not built in {}", programs.display());
        let path = format!("{}:{tools}:{}", programs.display(), std::env::var("PATH").unwrap());
        let folder = plane.folder().join("typed");
        std::fs::create_dir(&folder).unwrap();
        for name in ["charts", "config", "examples", "install.yaml"] {
            symlink(root().join(name), folder.join(name)).unwrap();
        }
        Self { plane, kubeconfig, folder, path, operator: None }
    }

    /// The same with Kleym, an operator that runs, and everything in `examples/cluster` and `examples/quickstart`.
    async fn healthy() -> Self {
        let mut stage = Self::bare().await;
        stage.set().await;
        let mut command = supervised(program(), None);
        command.arg("--kubeconfig").arg(&stage.kubeconfig).stderr(Stdio::null());
        command.args(["--trust-domain=example.org", "--clusterspiffeid-class-name=spire-server-spire"]);
        command.arg("--health-probe-bind-address=127.0.0.1:0");
        stage.operator = Some(Process::start("kleym-operator", &mut command).unwrap());
        stage
    }

    /// Puts back what a page may have removed.
    async fn set(&self) {
        let client = self.plane.client().unwrap();
        apply_yaml(&client, &definition(Kind::Binding).to_string()).await.unwrap();
        for (name, namespaced) in [("llm", true), ("spire-server", false)] {
            let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
            apply_yaml(&client, &namespace.to_string()).await.unwrap();
            if namespaced {
                let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "llama", "namespace": name}});
                apply_yaml(&client, &account.to_string()).await.unwrap();
            }
        }
        for file in ["node", "pod", "manager"] {
            let text = std::fs::read_to_string(root().join(format!("examples/cluster/{file}.yaml"))).unwrap();
            for mut object in objects(&text) {
                // The API server gives it.
                object["metadata"].as_object_mut().unwrap().remove("uid");
                self.apply(object).await;
            }
        }
        self.typed("kubectl apply -f examples/quickstart/ >/dev/null").succeeded("the quick start");
    }

    /// Waits until the operator has granted what the quick start asks for, and says of it what spire-controller-manager would.
    async fn granted(&self) {
        self.set().await;
        eventually("the quick start is Ready", SOON, || async {
            let said =
                self.typed("kubectl get iib -n llm -o jsonpath='{.items[*].status.conditions[0].status}'");
            ensure!(said.out == "True True", "{}", said.out);
            Ok(())
        })
        .await
        .unwrap();
        let outputs = self.typed("kubectl get clusterspiffeids -l kleym.sonda.red/managed-by=kleym -o name");
        for output in outputs.out.lines() {
            self.report(
                output,
                &json!({"stats": {"namespacesSelected": 1, "podsSelected": 1, "entriesToSet": 1}}),
            );
        }
    }

    /// Applies an object with its status, which is written apart.
    async fn apply(&self, mut object: Value) {
        let status = object.as_object_mut().unwrap().remove("status");
        apply_yaml(&self.plane.client().unwrap(), &object.to_string()).await.unwrap();
        if let Some(status) = status {
            let text = |pointer| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
            self.report(&format!("{}/{}", text("/kind").to_lowercase(), text("/metadata/name")), &status);
        }
    }

    fn report(&self, object: &str, status: &Value) {
        let patch = json!({ "status": status });
        self.typed(&format!(
            "kubectl patch {object} -n llm --subresource=status --type=merge -p '{patch}' >/dev/null"
        ))
        .succeeded(object);
    }

    /// Types a line into a shell, in a folder that holds what the repository holds, so that a line may write files. What
    /// never ends by itself is ended.
    fn typed(&self, line: &str) -> Said {
        self.typed_for(LONG, line)
    }

    /// The same, for so many seconds at most.
    fn typed_for(&self, seconds: &str, line: &str) -> Said {
        let output = Command::new("timeout")
            .args([seconds, "bash", "-c", &format!("set -o pipefail\n{line}")])
            .current_dir(&self.folder)
            .env("PATH", &self.path)
            .env("KUBECONFIG", &self.kubeconfig)
            .env("HOME", self.plane.folder())
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        Said {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// What came of a line.
struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Said {
    fn succeeded(&self, what: &str) {
        assert_eq!(self.code, Some(0), "{what}: {}{}", self.out, self.err);
    }

    /// What is wrong with it, for a fence of this kind.
    fn wrong(&self, fence: &Fence, answer: &str, kleym: bool) -> Option<String> {
        let said = format!("{}{}", self.out, self.err);
        if let Some(mistyped) = MISTYPED.iter().find(|words| self.err.contains(**words)) {
            return Some(format!("`{mistyped}`\n{said}"));
        }
        if fence.is("cluster") {
            return None;
        }
        // Findings are an answer of `kleym`.
        if self.code != Some(0) && !(kleym && matches!(self.code, Some(1 | 2))) {
            return Some(format!("code {:?}\n{said}", self.code));
        }
        (!answer.is_empty() && !is_shown(answer, &said)).then(|| format!("another answer\n{said}"))
    }
}

/// Pages with something to type, in the order of their names, and this at the end: it takes everything away.
const LAST: &str = "docs/src/operate/uninstall.md";

fn pages() -> Vec<Vec<Fence>> {
    let mut all: Vec<Fence> = ["docs/src", "examples"]
        .iter()
        .flat_map(|folder| fences(Path::new(&root()), folder).unwrap())
        .collect();
    let typed = |fence: &Fence| fence.is("live") || fence.is("cluster");
    let pages: Vec<String> =
        all.iter().filter(|fence| typed(fence)).map(|fence| fence.page.clone()).collect();
    all.retain(|fence| pages.contains(&fence.page) && (typed(fence) || fence.is("applied")));
    all.sort_by_key(|fence| fence.page == LAST);
    all.chunk_by(|one, next| one.page == next.page).map(<[Fence]>::to_vec).collect()
}

#[tokio::test]
async fn what_the_book_says_to_type_can_be_typed() {
    let (mut wrong, mut seen) = (Vec::new(), 0);
    let healthy = Stage::healthy().await;
    for page in pages() {
        healthy.granted().await;
        for fence in &page {
            if fence.is("applied") {
                for object in objects(&fence.text) {
                    healthy.apply(object).await;
                }
                continue;
            }
            if fence.is("again") {
                healthy.granted().await;
            }
            let bare = if fence.is("bare") { Some(Stage::bare().await) } else { None };
            let stage = bare.as_ref().unwrap_or(&healthy);
            for shown in fence.commands().unwrap() {
                seen += 1;
                let said = stage.typed_for(if fence.is("cluster") { SHORT } else { LONG }, &shown.command);
                let kleym = shown.command.starts_with("kleym ");
                if let Some(why) = said.wrong(fence, &shown.answer, kleym) {
                    wrong.push(format!("{}: `{}`: {why}", fence.place(), shown.command));
                }
            }
        }
        for fence in page.iter().filter(|fence| fence.is("applied")) {
            let path = healthy.folder.join("applied.yaml");
            std::fs::write(&path, &fence.text).unwrap();
            healthy
                .typed("kubectl delete --wait=false --ignore-not-found -f applied.yaml")
                .succeeded(&fence.place());
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(seen > 60, "only {seen} commands were found");
}
