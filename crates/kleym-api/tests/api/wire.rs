//! What we write: every field the definitions know can be written, and nothing that is absent is.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, Time};
use kleym_api::binding::{
    self, ComputedSpiffeId, Condition, ConditionStatus, ConflictCause, ConflictingBinding,
    ContainerDiscriminator, ContainerDiscriminatorType, InferenceIdentityBinding,
    InferenceIdentityBindingSpec, InferenceIdentityBindingStatus, Mode, RenderedClusterSpiffeId,
    RenderedSelectors, SelectorSource, TargetGroup, TargetKind, TargetRef,
};
use kleym_api::cluster_spiffe_id::{ClusterSpiffeId, ClusterSpiffeIdSpec, SpireStats};
use kleym_api::standin;
use kleym_core::kind::Kind;
use kube::Resource;
use serde_json::{Value, json};

/// The paths of all fields in an object, list items as `[]`.
fn fields_of_value(path: &str, value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                found.insert(format!("{path}.{name}"));
                fields_of_value(&format!("{path}.{name}"), value, found);
            }
        }
        Value::Array(items) => {
            items.iter().for_each(|item| fields_of_value(&format!("{path}[]"), item, found));
        }
        _ => {}
    }
}

/// The paths of all fields in a schema, list items as `[]`; maps have no fields of their own.
fn fields_of_schema(path: &str, schema: &Value, found: &mut BTreeSet<String>) {
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        found.insert(format!("{path}.{name}"));
        fields_of_schema(&format!("{path}.{name}"), property, found);
    }
    if schema.get("items").is_some() {
        fields_of_schema(&format!("{path}[]"), &schema["items"], found);
    }
}

fn check_fields(value: &Value, schema: &Value) {
    let (mut written, mut known) = (BTreeSet::new(), BTreeSet::new());
    fields_of_value("", value, &mut written);
    fields_of_schema("", schema, &mut known);
    assert_eq!(written, known);
}

fn root_schema(definition: &impl serde::Serialize) -> Value {
    let definition = serde_json::to_value(definition).unwrap();
    definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone()
}

fn full_spec() -> InferenceIdentityBindingSpec {
    InferenceIdentityBindingSpec {
        target_ref: TargetRef {
            group: Some(TargetGroup::LlmD),
            kind: TargetKind::InferenceObjective,
            name: "chat".to_owned(),
        },
        spiffe_id_template: Some("spiffe://example.org/ns/llm/model/chat".to_owned()),
        selector_source: SelectorSource::DerivedFromPool,
        workload_selector_templates: vec!["k8s:ns:llm".to_owned(), "k8s:sa:server".to_owned()],
        mode: Mode::PerObjective,
        container_discriminator: Some(ContainerDiscriminator {
            type_: ContainerDiscriminatorType::ContainerName,
            value: "vllm".to_owned(),
        }),
    }
}

fn full_status() -> InferenceIdentityBindingStatus {
    let spiffe_id = || "spiffe://example.org/ns/llm/model/chat".to_owned();
    InferenceIdentityBindingStatus {
        observed_generation: Some(3),
        conditions: vec![Condition {
            type_: "Ready".to_owned(),
            status: ConditionStatus::True,
            observed_generation: Some(3),
            last_transition_time: Time("2026-11-21T03:00:00Z".parse().unwrap()),
            reason: "Reconciled".to_owned(),
            message: "granted".to_owned(),
        }],
        computed_spiffe_ids: vec![ComputedSpiffeId { mode: Mode::PerObjective, spiffe_id: spiffe_id() }],
        rendered_selectors: vec![RenderedSelectors {
            spiffe_id: spiffe_id(),
            selectors: vec!["k8s:ns:llm".to_owned()],
        }],
        rendered_cluster_spiffe_id: Some(RenderedClusterSpiffeId {
            name: "kleym-llm-chat".to_owned(),
            uid: "u-1".to_owned(),
            spiffe_id: spiffe_id(),
            selector_fingerprint: "sha256:00".to_owned(),
            observed_generation: 3,
        }),
        conflicts: vec![ConflictingBinding {
            binding_name: "older".to_owned(),
            cause: ConflictCause::DuplicateSpiffeId,
            spiffe_id: spiffe_id(),
        }],
        conflict_count: Some(1),
        trust_domain: Some("example.org".to_owned()),
        cluster_spiffe_id_class_name: Some("spire".to_owned()),
        instance: Some("default".to_owned()),
        path_grants: vec!["/teams/llm".to_owned()],
    }
}

#[test]
fn a_full_binding_writes_exactly_the_fields_of_its_definition() {
    let value = json!({"spec": full_spec(), "status": full_status()});
    check_fields(&value, &root_schema(&binding::definition()));
}

#[test]
fn a_full_status_is_written_as_the_contract_spells_it() {
    assert_eq!(
        serde_json::to_value(full_status()).unwrap(),
        json!({
            "observedGeneration": 3,
            "conditions": [{
                "type": "Ready",
                "status": "True",
                "observedGeneration": 3,
                "lastTransitionTime": "2026-11-21T03:00:00Z",
                "reason": "Reconciled",
                "message": "granted",
            }],
            "computedSpiffeIDs": [
                {"mode": "PerObjective", "spiffeID": "spiffe://example.org/ns/llm/model/chat"},
            ],
            "renderedSelectors": [
                {"spiffeID": "spiffe://example.org/ns/llm/model/chat", "selectors": ["k8s:ns:llm"]},
            ],
            "renderedClusterSPIFFEID": {
                "name": "kleym-llm-chat",
                "uid": "u-1",
                "spiffeID": "spiffe://example.org/ns/llm/model/chat",
                "selectorFingerprint": "sha256:00",
                "observedGeneration": 3,
            },
            "conflicts": [{
                "bindingName": "older",
                "cause": "DuplicateSPIFFEID",
                "spiffeID": "spiffe://example.org/ns/llm/model/chat",
            }],
            "conflictCount": 1,
            "trustDomain": "example.org",
            "clusterSPIFFEIDClassName": "spire",
            "instance": "default",
            "pathGrants": ["/teams/llm"],
        })
    );
}

#[test]
fn what_is_absent_is_not_written() {
    let status = InferenceIdentityBindingStatus::default();
    assert_eq!(serde_json::to_value(status).unwrap(), json!({}));
    let mut spec = full_spec();
    spec.target_ref.group = None;
    spec.spiffe_id_template = None;
    spec.container_discriminator = None;
    assert_eq!(
        serde_json::to_value(spec).unwrap(),
        json!({
            "targetRef": {"kind": "InferenceObjective", "name": "chat"},
            "selectorSource": "DerivedFromPool",
            "workloadSelectorTemplates": ["k8s:ns:llm", "k8s:sa:server"],
            "mode": "PerObjective",
        })
    );
}

#[test]
fn a_binding_says_what_it_is() {
    let mut object = InferenceIdentityBinding::new("chat", full_spec());
    object.metadata.namespace = Some("llm".to_owned());
    let value = serde_json::to_value(&object).unwrap();
    assert_eq!(
        (&value["apiVersion"], &value["kind"], &value["metadata"]),
        (
            &json!("kleym.sonda.red/v1alpha1"),
            &json!("InferenceIdentityBinding"),
            &json!({"name": "chat", "namespace": "llm"})
        )
    );
}

#[test]
fn a_full_clusterspiffeid_writes_exactly_the_fields_of_the_foreign_definition() {
    let selector = LabelSelector {
        match_labels: Some(BTreeMap::from([("app".to_owned(), "chat".to_owned())])),
        match_expressions: None,
    };
    let spec = ClusterSpiffeIdSpec {
        spiffe_id_template: "spiffe://example.org/a".to_owned(),
        namespace_selector: Some(selector.clone()),
        pod_selector: Some(selector),
        workload_selector_templates: vec!["k8s:ns:llm".to_owned()],
        dns_name_templates: vec!["a.example".to_owned()],
        auto_populate_dns_names: Some(false),
        ttl: Some("1h".to_owned()),
        jwt_ttl: Some("5m".to_owned()),
        federates_with: vec!["example.net".to_owned()],
        admin: Some(false),
        downstream: Some(false),
        class_name: Some("spire".to_owned()),
        fallback: Some(false),
        hint: Some("llm/chat".to_owned()),
    };
    let mut schema = root_schema(&standin::definition(Kind::Output).unwrap())["properties"]["spec"].clone();
    let mut value = serde_json::to_value(spec).unwrap();
    for selector in ["namespaceSelector", "podSelector"] {
        assert_eq!(value[selector], json!({"matchLabels": {"app": "chat"}}));
        value[selector] = json!({});
        schema["properties"][selector] = json!({"type": "object"});
    }
    check_fields(&value, &schema);
}

#[test]
fn a_clusterspiffeid_says_what_it_is_and_leaves_out_what_is_absent() {
    let mut object = ClusterSpiffeId {
        spec: ClusterSpiffeIdSpec {
            spiffe_id_template: "spiffe://example.org/a".to_owned(),
            fallback: Some(false),
            ..ClusterSpiffeIdSpec::default()
        },
        ..ClusterSpiffeId::default()
    };
    object.metadata.name = Some("kleym-a".to_owned());
    assert_eq!(
        serde_json::to_value(&object).unwrap(),
        json!({
            "apiVersion": "spire.spiffe.io/v1alpha1",
            "kind": "ClusterSPIFFEID",
            "metadata": {"name": "kleym-a"},
            "spec": {"spiffeIDTemplate": "spiffe://example.org/a", "fallback": false},
        })
    );
}

#[test]
fn the_types_are_the_kinds_of_the_engine() {
    fn check<K: Resource<DynamicType = ()>>(kind: Kind) {
        assert_eq!(
            [K::group(&()), K::version(&()), K::kind(&()), K::plural(&()), K::api_version(&())],
            [kind.group(), kind.version(), kind.kind(), kind.plural(), &kind.api_version()]
        );
    }
    check::<InferenceIdentityBinding>(Kind::Binding);
    check::<ClusterSpiffeId>(Kind::Output);
}

#[test]
fn stats_are_read_whatever_stands_in_them() {
    let counts = json!({
        "namespacesSelected": 1,
        "namespacesIgnored": 2,
        "podsSelected": 3,
        "podEntryRenderFailures": 4,
        "entriesMasked": 5,
        "entriesToSet": 6,
        "entryFailures": 7,
    });
    assert_eq!(
        SpireStats::read(&json!({"status": {"stats": counts}})),
        Some(SpireStats {
            namespaces_selected: 1,
            namespaces_ignored: 2,
            pods_selected: 3,
            pod_entry_render_failures: 4,
            entries_masked: 5,
            entries_to_set: 6,
            entry_failures: 7,
        })
    );
    let odd =
        json!({"status": {"stats": {"entriesToSet": 2, "podsSelected": "many", "entryFailures": null}}});
    assert_eq!(SpireStats::read(&odd), Some(SpireStats { entries_to_set: 2, ..SpireStats::default() }));
}

#[test]
fn no_stats_at_all_are_told_from_stats_of_nothing() {
    for nothing in
        [json!({}), json!({"status": null}), json!({"status": {}}), json!({"status": {"stats": []}})]
    {
        assert_eq!(SpireStats::read(&nothing), None, "{nothing}");
    }
    assert_eq!(SpireStats::read(&json!({"status": {"stats": {}}})), Some(SpireStats::default()));
}
