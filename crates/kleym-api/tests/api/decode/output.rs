//! A ClusterSPIFFEID in the cluster may hold anything, and is seen whatever it holds.

use kleym_api::decode;
use kleym_core::name::{ObjectName, Uid};
use kleym_core::output::{LabelSelector, LiveOutput, OutputSpec, OutputStats};
use serde_json::{Value, json};

use super::with;

fn bare() -> Value {
    json!({"metadata": {"name": "kleym-llm-chat", "uid": "u-1", "resourceVersion": "7"}})
}

fn bare_fact() -> LiveOutput {
    LiveOutput {
        name: ObjectName::parse("kleym-llm-chat").unwrap(),
        uid: Uid::parse("u-1").unwrap(),
        resource_version: "7".into(),
        created: None,
        deleting: false,
        finalizers: Box::default(),
        owned: false,
        labels: [].into(),
        annotations: [].into(),
        spec: OutputSpec::default(),
        stats: None,
    }
}

fn spec(spec: Value) -> OutputSpec {
    decode::output(&with(bare(), "spec", Some(spec))).unwrap().spec
}

/// The fields that a spec has beyond what Kleym writes.
fn unwanted(spec: Value) -> Vec<String> {
    self::spec(spec).unwanted.iter().map(ToString::to_string).collect()
}

#[test]
fn an_output_is_read_whole() {
    let object = json!({
        "apiVersion": "spire.spiffe.io/v1alpha1", "kind": "ClusterSPIFFEID",
        "metadata": {
            "name": "kleym-llm-chat", "uid": "u-1", "resourceVersion": "7",
            "creationTimestamp": "2026-11-21T03:00:00Z", "deletionTimestamp": "2026-11-22T03:00:00Z",
            "finalizers": ["example.org/hold"], "ownerReferences": [{}],
            "labels": {"kleym.sonda.red/managed-by": "kleym", "team": "a"},
            "annotations": {"kleym.sonda.red/binding": "llm/chat"},
        },
        "spec": {
            "spiffeIDTemplate": "spiffe://example.org/ns/llm/objective/chat",
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "llm"}},
            "podSelector": {"matchLabels": {"app": "vllm"}, "matchExpressions": []},
            "workloadSelectorTemplates": ["k8s:ns:llm", "k8s:sa:vllm"],
            "className": "spire", "fallback": false, "hint": "llm/chat",
            "ttl": "1h", "admin": true,
        },
        "status": {"stats": {"podsSelected": 4, "entriesToSet": 3, "entryFailures": 2, "entriesMasked": 1,
            "podEntryRenderFailures": 5, "namespacesIgnored": 6, "namespacesSelected": 7}},
    });
    assert_eq!(
        decode::output(&object),
        Ok(LiveOutput {
            created: Some(1_795_230_000),
            deleting: true,
            finalizers: ["example.org/hold".into()].into(),
            owned: true,
            labels: [("kleym.sonda.red/managed-by".into(), "kleym".into()), ("team".into(), "a".into()),]
                .into(),
            annotations: [("kleym.sonda.red/binding".into(), "llm/chat".into())].into(),
            spec: OutputSpec {
                spiffe_id: "spiffe://example.org/ns/llm/objective/chat".into(),
                namespace_selector: Some(LabelSelector {
                    match_labels: [("kubernetes.io/metadata.name".into(), "llm".into())].into(),
                    others: false,
                }),
                pod_selector: Some(LabelSelector {
                    match_labels: [("app".into(), "vllm".into())].into(),
                    others: false,
                }),
                selectors: ["k8s:ns:llm".into(), "k8s:sa:vllm".into()].into(),
                class_name: Some("spire".into()),
                fallback: Some(false),
                hint: Some("llm/chat".into()),
                unwanted: ["admin".into(), "ttl".into()].into(),
            },
            stats: Some(OutputStats {
                pods_selected: 4,
                entries_to_set: 3,
                entry_failures: 2,
                entries_masked: 1,
                pod_entry_render_failures: 5,
                namespaces_ignored: 6,
            }),
            ..bare_fact()
        })
    );
}

#[test]
fn an_output_needs_a_name_a_uid_and_a_resource_version() {
    assert_eq!(decode::output(&bare()), Ok(bare_fact()));
    for (path, value, message) in [
        ("metadata", json!([]), "`metadata` must be an object, but is a list"),
        ("metadata.name", json!(null), "`metadata.name` is required"),
        ("metadata.name", json!(""), "`metadata.name` is ``, which is empty"),
        ("metadata.uid", json!(null), "`metadata.uid` is required"),
        ("metadata.uid", json!(""), "`metadata.uid` is ``, which is empty"),
        ("metadata.resourceVersion", json!(null), "`metadata.resourceVersion` is required"),
        ("metadata.resourceVersion", json!(""), "`metadata.resourceVersion` is required"),
        (
            "metadata.resourceVersion",
            json!(7),
            "`metadata.resourceVersion` must be a string, but is a number",
        ),
    ] {
        assert_eq!(decode::output(&with(bare(), path, Some(value))).unwrap_err().to_string(), message);
    }
    let odd = with(bare(), "metadata.resourceVersion", Some(json!("not a number")));
    assert_eq!(
        decode::output(&odd),
        Ok(LiveOutput { resource_version: "not a number".into(), ..bare_fact() })
    );
}

#[test]
fn a_field_that_kleym_never_writes_is_named_when_it_is_set() {
    for (fields, named) in [
        (json!({}), vec![]),
        (json!({"admin": true}), vec!["admin"]),
        (
            json!({"downstream": true, "autoPopulateDNSNames": true}),
            vec!["autoPopulateDNSNames", "downstream"],
        ),
        (
            json!({"ttl": "1h", "jwtTtl": "", "dnsNameTemplates": ["a"]}),
            vec!["dnsNameTemplates", "jwtTtl", "ttl"],
        ),
        (json!({"federatesWith": ["example.org"], "future": {}}), vec!["federatesWith", "future"]),
        (json!({"admin": false, "downstream": null, "dnsNameTemplates": [], "federatesWith": []}), vec![]),
    ] {
        assert_eq!(unwanted(fields.clone()), named, "{fields}");
    }
}

#[test]
fn a_field_of_an_unexpected_type_is_absent_and_named() {
    for field in [
        "spiffeIDTemplate",
        "namespaceSelector",
        "podSelector",
        "workloadSelectorTemplates",
        "className",
        "fallback",
        "hint",
    ] {
        assert_eq!(
            spec(json!({field: 7})),
            OutputSpec { unwanted: [field.into()].into(), ..OutputSpec::default() }
        );
        assert_eq!(spec(json!({field: null})), OutputSpec::default());
    }
    assert_eq!(
        unwanted(json!({"workloadSelectorTemplates": ["k8s:ns:llm", 1]})),
        ["workloadSelectorTemplates"]
    );
    assert_eq!(unwanted(json!([])), ["spec"]);
    assert_eq!(unwanted(json!("x")), ["spec"]);
    assert_eq!(spec(json!(null)), OutputSpec::default());
}

#[test]
fn a_selector_with_anything_but_match_labels_is_never_taken_for_ours() {
    let selector = |value: Value| spec(json!({"podSelector": value})).pod_selector.unwrap();
    let app = [("app".into(), "vllm".into())];
    for (value, labels, others) in [
        (json!({}), false, false),
        (json!({"matchLabels": null, "matchExpressions": null}), false, false),
        (json!({"matchLabels": {"app": "vllm"}}), true, false),
        (json!({"matchLabels": {"app": "vllm"}, "matchExpressions": []}), true, false),
        (
            json!({"matchLabels": {"app": "vllm"}, "matchExpressions": [{"key": "x", "operator": "Exists"}]}),
            true,
            true,
        ),
        (json!({"matchLabels": {"app": "vllm", "tier": 1}}), true, true),
        (json!({"matchLabels": ["app"]}), false, true),
        (json!({"matchLabels": {"app": "vllm"}, "other": 1}), true, true),
        (json!({"matchExpressions": {}}), false, true),
    ] {
        let match_labels = if labels { app.clone().into() } else { [].into() };
        assert_eq!(selector(value.clone()), LabelSelector { match_labels, others }, "{value}");
    }
}

#[test]
fn counts_of_spire_are_read_without_ever_failing() {
    let stats = |status: Value| decode::output(&with(bare(), "status", Some(status))).unwrap().stats;
    for none in [json!(null), json!([]), json!({}), json!({"stats": null}), json!({"stats": 1})] {
        assert_eq!(stats(none.clone()), None, "{none}");
    }
    assert_eq!(stats(json!({"stats": {}})), Some(OutputStats::default()));
    assert_eq!(
        stats(json!({"stats": {"podsSelected": "4", "entriesToSet": 1e30, "entryFailures": -1}})),
        Some(OutputStats { entry_failures: -1, ..OutputStats::default() })
    );
}
