//! What an API server may answer. An input is JSON; what is no JSON never comes further than its parser.

use std::collections::BTreeMap;

use kleym_api::decode;
use kleym_api::encode::{StatusDigest, StatusSeen, cluster_spiffe_id};
use kleym_core::fact::{Change, Fact, FactKey};
use kleym_core::index::{Index, Verdict};
use kleym_core::kind::{Kind, ObjectiveGroup, PoolGroup};
use kleym_core::name::{BindingKey, Namespace};
use kleym_core::output::WantedOutput;
use kleym_core::settings::{Settings, TypedSettings};
use serde_json::{Value, json};

use crate::assert_presentable;

const OBJECTIVE: Kind = Kind::Objective(ObjectiveGroup::LlmD);
const POOL: Kind = Kind::Pool(PoolGroup::Inference);

fn settings() -> Settings {
    let typed = TypedSettings { trust_domain: None, class_name: None, instance: None, path_grants: &[] };
    Settings::given(typed, &|_| None).expect("the defaults are good")
}

/// An index in which every kind was listed and is empty.
fn listed() -> Index {
    let mut index = Index::new(settings());
    for kind in Kind::ALL.into_iter().filter(|kind| *kind != Kind::Output) {
        index.apply(Change::Listed(kind, Vec::new()));
    }
    index
}

fn home() -> Namespace {
    Namespace::parse("llm").expect("it is a valid name")
}

fn object(kind: Kind, name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": kind.api_version(), "kind": kind.kind(),
        "metadata": {"namespace": "llm", "name": name}, "spec": spec,
    })
}

/// A binding, an objective and a pool that belong together.
fn good() -> BTreeMap<Kind, Value> {
    let binding = json!({
        "targetRef": {"name": "chat"}, "selectorSource": "DerivedFromPool", "mode": "PerObjective",
        "containerDiscriminator": {"type": "ContainerName", "value": "vllm"},
        "workloadSelectorTemplates": ["k8s:ns:{{ .Namespace }}", "k8s:sa:server"],
    });
    BTreeMap::from([
        (Kind::Binding, object(Kind::Binding, "chat", &binding)),
        (OBJECTIVE, object(OBJECTIVE, "chat", &json!({"poolRef": {"name": "llama"}}))),
        (POOL, object(POOL, "llama", &json!({"selector": {"matchLabels": {"app": "vllm"}}}))),
    ])
}

/// An index that holds these.
fn listed_good() -> Index {
    let mut index = listed();
    for (kind, value) in good() {
        index.apply(Change::Put(decode::fact_in(kind, &value, &home()).expect("it is good")));
    }
    index
}

fn bindings(index: &Index) -> Vec<BindingKey> {
    index.bindings().map(|binding| binding.key.clone()).collect()
}

/// What must hold of every verdict: a refusal can be shown, an identity stays inside its namespace and is no template.
fn judge(index: &Index, key: &BindingKey) {
    match index.verdict(key).verdict {
        Verdict::Refused(refusal) => {
            assert_presentable(&refusal.message());
            if let Some(hint) = refusal.hint() {
                assert_presentable(&hint);
            }
        }
        Verdict::Wanted(identity) => {
            let wanted = WantedOutput::of(index.settings(), key, None, &identity);
            let written = serde_json::to_value(cluster_spiffe_id(&wanted)).expect("an output can be written");
            let spec = &written["spec"];
            assert!(!spec.to_string().contains("{{"), "{spec}");
            let pin = json!({"matchLabels": {"kubernetes.io/metadata.name": key.namespace.as_str()}});
            assert_eq!(spec["namespaceSelector"], pin);
            let inside = format!("spiffe://kleym.sonda.red/ns/{}/", key.namespace);
            assert!(spec["spiffeIDTemplate"].as_str().is_some_and(|id| id.starts_with(&inside)), "{spec}");
        }
        Verdict::Gone | Verdict::Deleting => {}
        Verdict::Waiting(troubles) => panic!("everything was listed, and yet it waits for {troubles:?}"),
    }
}

/// A good binding, objective and pool, one of them replaced; every binding there is then is judged.
fn among_good(kind: Kind, data: &[u8]) {
    let Ok(value) = serde_json::from_slice::<Value>(data) else { return };
    let Ok(fact) = decode::fact_in(kind, &value, &home()) else { return };
    // Fields are fuzzed, names seldom: a spec alone is looked at in its place, too.
    let spec =
        decode::fact_in(kind, &object(kind, if kind == POOL { "llama" } else { "chat" }, &value), &home());
    for fact in [Ok(fact), spec].into_iter().flatten() {
        let mut index = listed_good();
        index.apply(Change::Put(fact));
        for key in bindings(&index) {
            judge(&index, &key);
        }
    }
}

/// Any binding is refused presentably or rendered safely.
pub fn binding(data: &[u8]) {
    among_good(Kind::Binding, data);
}

/// Any objective makes its bindings refused presentably or rendered safely.
pub fn objective(data: &[u8]) {
    among_good(OBJECTIVE, data);
}

/// Any pool, in the shape of either group, makes its bindings refused presentably or rendered safely.
pub fn pool(data: &[u8]) {
    among_good(POOL, data);
    among_good(Kind::Pool(PoolGroup::InferenceX), data);
}

/// Any ClusterSPIFFEID is ours or not, and what drifted can be said.
pub fn output(data: &[u8]) {
    let Ok(value) = serde_json::from_slice::<Value>(data) else { return };
    let Ok(live) = decode::output(&value) else { return };
    let settings = settings();
    let index = listed_good();
    for key in &bindings(&index) {
        let Verdict::Wanted(identity) = index.verdict(key).verdict else { panic!("the good one is refused") };
        let wanted = WantedOutput::of(&settings, key, None, &identity);
        // An output that grants more than is wanted differs from it.
        assert!(!live.grants_more_than(&wanted) || !live.drift(&wanted).is_empty());
    }
    if let Some((binding, _)) = live.proven_binding(&settings) {
        assert!(live.name.as_str().ends_with(|c: char| c.is_ascii_hexdigit()), "{binding}");
    }
    // Made to select nothing, it grants nothing to anybody.
    let neutral = live.neutralised();
    let mut written = serde_json::to_value(cluster_spiffe_id(&neutral)).expect("an output can be written");
    written["metadata"]["uid"] = json!("u");
    written["metadata"]["resourceVersion"] = json!("1");
    assert!(decode::output(&written).is_ok_and(|neutral| neutral.selects_nothing()), "{written}");
}

/// Any status is read, and the same text has the same digest.
pub fn status(data: &[u8]) {
    let Ok(value) = serde_json::from_slice::<Value>(data) else { return };
    let seen = StatusSeen::read(Some(&value));
    assert!(seen.digest == StatusDigest::of(&value));
}

/// Pods, nodes, namespaces, foreign ClusterSPIFFEIDs and the settings of spire-controller-manager have an answer.
pub fn spire(data: &[u8]) {
    let Ok(value) = serde_json::from_slice::<Value>(data) else { return };
    let Ok(registration) = decode::registration(&value) else { return };
    let pod = decode::pod(&value, Some(&home()));
    let space = decode::space(&value, true);
    let node = decode::node(&value);
    if let (Ok(pod), Some(pods)) = (&pod, registration.pods.as_ref()) {
        pods.matches(&pod.labels, true);
    }
    if let (Ok(space), Some(namespaces)) = (&space, registration.namespaces.as_ref()) {
        namespaces.matches(&space.labels, true);
    }
    drop(node);
    if let Some(manager) = decode::manager(&value) {
        manager.watches(&registration);
        manager.ignores("llm");
    }
}

/// Lines of JSON, each an object: whatever the order in which they come, the verdicts are the same, and every verdict that
/// differs from the one before was told to be dirty.
pub fn history(data: &[u8]) {
    let mut facts: BTreeMap<FactKey, Fact> = BTreeMap::new();
    let mut index = listed();
    for line in data.split(|byte| *byte == b'\n').take(64) {
        let Ok(value) = serde_json::from_slice::<Value>(line) else { continue };
        let Some(kind) = decode::kind(&value) else { continue };
        let Ok(fact) = decode::fact_in(kind, &value, &home()) else { continue };
        let before: Vec<_> = index.bindings().map(|b| (b.key.clone(), index.verdict(&b.key))).collect();
        let dirty = index.apply(Change::Put(fact.clone()));
        for (key, verdict) in before {
            assert!(dirty.contains(&key) || index.verdict(&key) == verdict, "{key} changed unnoticed");
        }
        facts.insert(fact.key(), fact);
    }
    let mut backwards = listed();
    for fact in facts.into_values().rev() {
        backwards.apply(Change::Put(fact));
    }
    for key in bindings(&index) {
        judge(&index, &key);
        assert_eq!(index.verdict(&key), backwards.verdict(&key));
    }
}
