//! The same facts give the same verdicts: for every case in `tests/corpus` the offline render, the live inspect and the
//! operator's status agree on every condition, reason, message, name, SPIFFE ID and selector.
//!
//! A case is a file of objects that name no namespace; its first line says the reason of `Ready` of each binding. All
//! cases run in one control plane, with definitions that take anything, before one operator.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, ensure};
use kleym_api::resource::api_resource;
use kleym_core::kind::Kind;
use kleym_operator::run;
use kleym_operator::settings::Flags;
use kleym_testenv::{ControlPlane, Options, apply_yaml, eventually};
use kube::api::{Api, DynamicObject, ListParams};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::live::permissive;
use crate::run::Folder;

/// How long everything may take to be decided and reported.
const SOON: Duration = Duration::from_secs(90);

struct Case {
    /// The file's name, which is the namespace, too.
    name: String,
    /// The reason of `Ready`, by binding.
    expected: BTreeMap<String, String>,
    /// The objects.
    text: String,
}

fn cases() -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let mut paths: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let case = |path: &PathBuf| {
        let text = fs::read_to_string(path).unwrap();
        let first = text.lines().next().unwrap().trim_start_matches("# ");
        let one =
            |pair: &str| pair.trim().split_once(": ").map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
        let expected = first.split(',').map(one).collect();
        Case { name: path.file_stem().unwrap().to_str().unwrap().to_owned(), expected, text }
    };
    paths.iter().map(case).collect()
}

/// Every object of a kind, as the API server has it.
async fn all(plane: &ControlPlane, kind: Kind) -> Vec<Value> {
    let api: Api<DynamicObject> = Api::all_with(plane.client().unwrap(), &api_resource(kind));
    let list = api.list(&ListParams::default()).await.unwrap();
    list.items
        .iter()
        .map(|object| {
            let mut object = serde_json::to_value(object).unwrap();
            object["apiVersion"] = kind.api_version().into();
            object["kind"] = kind.kind().into();
            object
        })
        .collect()
}

/// Type, status, reason and message of every condition: what the two sides must agree on.
fn conditions(list: &Value) -> Vec<[String; 4]> {
    let conditions = list.as_array().cloned().unwrap_or_default();
    let field = |one: &Value, name: &str| one[name].as_str().unwrap_or_default().to_owned();
    conditions
        .iter()
        .map(|one| ["type", "status", "reason", "message"].map(|name| field(one, name)))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_offline_render_the_live_inspect_and_the_status_agree_on_every_case() {
    let cases = cases();
    assert!(cases.len() >= 60, "{} cases", cases.len());
    let plane = ControlPlane::start(Options::default()).await.unwrap();
    let client = plane.client().unwrap();
    apply_yaml(&client, &json!({"kind": "List", "items": Kind::ALL.map(permissive)}).to_string())
        .await
        .unwrap();
    let kubeconfig = plane.kubeconfig().unwrap();
    let mut operators = JoinSet::new();
    let flags = Flags {
        kubeconfig: Some(kubeconfig.display().to_string()),
        trust_domain: Some("example.org".to_owned()),
        class_name: Some("spire-spire".to_owned()),
        health_probe_bind_address: Some("0".to_owned()),
        ..Flags::default()
    };
    let configuration = flags.resolve(&|_| None).unwrap();

    let mut creating = JoinSet::new();
    for case in &cases {
        let named =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": case.name}}).to_string();
        let mut config = plane.config().unwrap();
        config.default_namespace.clone_from(&case.name);
        let (client, text) = (kube::Client::try_from(config).unwrap(), case.text.clone());
        creating.spawn(async move {
            apply_yaml(&client, &named).await?;
            apply_yaml(&client, &text).await
        });
        if creating.len() > 8 {
            creating.join_next().await.unwrap().unwrap().unwrap();
        }
    }
    while let Some(created) = creating.join_next().await {
        created.unwrap().unwrap();
    }
    operators.spawn(run::run(configuration));

    let bindings: Api<DynamicObject> = Api::all_with(client.clone(), &api_resource(Kind::Binding));
    eventually("every binding is decided as its case says", SOON, || async {
        let list = bindings.list(&ListParams::default()).await?;
        let mut reasons: BTreeMap<(String, String), String> = BTreeMap::new();
        for binding in &list.items {
            let key = (
                binding.metadata.namespace.clone().unwrap_or_default(),
                binding.metadata.name.clone().unwrap_or_default(),
            );
            let ready =
                conditions(&binding.data["status"]["conditions"]).into_iter().find(|one| one[0] == "Ready");
            let [_, _, reason, message] = ready.with_context(|| format!("{key:?} has no status"))?;
            ensure!(reason != "Initializing", "{key:?}: {message}");
            reasons.insert(key, reason);
        }
        let expected: BTreeMap<_, _> = cases
            .iter()
            .flat_map(|case| {
                case.expected.iter().map(|(name, reason)| ((case.name.clone(), name.clone()), reason.clone()))
            })
            .collect();
        let wrong: Vec<_> = expected
            .iter()
            .filter(|(key, reason)| reasons.get(key) != Some(reason))
            .map(|(key, reason)| (key, reason, reasons.get(key)))
            .collect();
        ensure!(wrong.is_empty(), "wanted and found: {wrong:?}");
        ensure!(reasons.len() == expected.len(), "there are other bindings");
        Ok(())
    })
    .await
    .unwrap();

    // The same facts offline: everything as it was read, without what the operator made of it.
    let mut dumps: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    let mut live: BTreeMap<(String, String), Value> = BTreeMap::new();
    for kind in Kind::ALL.into_iter().filter(|kind| *kind != Kind::Output) {
        for mut object in all(&plane, kind).await {
            let text = |field: &str| object["metadata"][field].as_str().unwrap().to_owned();
            let (namespace, name) = (text("namespace"), text("name"));
            if kind == Kind::Binding {
                live.insert((namespace.clone(), name), object["status"].take());
            }
            dumps.entry(namespace).or_default().push(object);
        }
    }
    let outputs: BTreeMap<String, Value> = all(&plane, Kind::Output)
        .await
        .into_iter()
        .map(|output| (output["metadata"]["name"].as_str().unwrap().to_owned(), output))
        .collect();

    let folder = Folder::new();
    let settings = "--trust-domain example.org --clusterspiffeid-class-name spire-spire";
    let mut rendered_at_all = 0;
    for case in &cases {
        let file = format!("{}.json", case.name);
        let dump = json!({"apiVersion": "v1", "kind": "List", "items": dumps[&case.name]});
        folder.put(&file, dump.to_string().as_bytes());
        let rendered = folder.kleym(&format!("render -f {file} -o json {settings}"));
        let rendered: Value = serde_json::from_str(&rendered.out).unwrap_or_else(|_| panic!("{rendered}"));
        let rendered = if rendered["kind"] == "List" {
            rendered["items"].as_array().unwrap().clone()
        } else {
            vec![rendered]
        };
        for name in case.expected.keys() {
            let what = format!("{}/{name}", case.name);
            let status = &live[&(case.name.clone(), name.clone())];
            let ask = |source: &str| {
                let answer =
                    folder.kleym(&format!("inspect binding {name} -n {} -o json {source}", case.name));
                serde_json::from_str::<Value>(&answer.out).unwrap_or_else(|_| panic!("{answer}"))
            };
            let offline = ask(&format!("-f {file} {settings}"));
            // Settings are not given here: they come from the status.
            let online = ask(&format!("--kubeconfig {}", kubeconfig.display()));
            assert_eq!(offline["engine"], online["engine"], "{what}");
            assert_eq!(
                conditions(&offline["engine"]["conditions"]),
                conditions(&status["conditions"]),
                "{what}"
            );
            let output = online["output"]["name"].as_str().unwrap();
            let rendered = rendered.iter().find(|object| object["metadata"]["name"] == output);
            match (case.expected[name].as_str(), rendered) {
                ("Reconciled", Some(rendered)) => {
                    rendered_at_all += 1;
                    let live = &outputs[output];
                    assert_eq!(rendered["spec"], live["spec"], "{what}");
                    for field in ["labels", "annotations"] {
                        assert_eq!(rendered["metadata"][field], live["metadata"][field], "{what}");
                    }
                    assert_eq!(online["output"]["state"], "InSync", "{what}");
                    assert_eq!(status["renderedClusterSPIFFEID"]["name"], output, "{what}");
                    assert_eq!(
                        status["computedSpiffeIDs"][0]["spiffeID"], offline["engine"]["spiffeID"],
                        "{what}"
                    );
                    assert_eq!(
                        status["renderedSelectors"][0]["selectors"], offline["engine"]["selectors"],
                        "{what}"
                    );
                    let fingerprint = &status["renderedClusterSPIFFEID"]["selectorFingerprint"];
                    assert_eq!(fingerprint, &offline["engine"]["selectorFingerprint"], "{what}");
                    assert_eq!(rendered["spec"]["spiffeIDTemplate"], offline["engine"]["spiffeID"], "{what}");
                }
                ("Reconciled", None) => panic!("{what} is granted and not rendered"),
                (_, Some(rendered)) => panic!("{what} is refused and rendered: {rendered}"),
                (_, None) => {
                    assert!(!outputs.contains_key(output), "{what}");
                    assert_eq!(online["output"]["state"], "None", "{what}");
                }
            }
        }
    }
    assert_eq!(outputs.len(), rendered_at_all);
    operators.shutdown().await;
}
