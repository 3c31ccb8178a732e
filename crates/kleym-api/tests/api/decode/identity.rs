//! Which object it is: the only thing without which there is no fact.

use kleym_api::decode::{self, Meta};
use kleym_core::fact::{Fact, FactKey};
use kleym_core::kind::{Kind, ObjectiveGroup, PoolGroup};
use kleym_core::name::{Namespace, ObjectName, Uid};
use kleym_core::plan::LiveBinding;
use serde_json::{Value, json};

fn refused(object: &Value) -> String {
    let error = decode::fact(Kind::Binding, object).expect_err("must be refused");
    assert_eq!(decode::key(Kind::Binding, object), Err(error.clone()));
    error.to_string()
}

#[test]
fn an_object_that_cannot_be_named_is_no_fact() {
    let label = "is not a DNS-1123 label (lower-case letters, digits and `-`, starting and ending with a letter or digit)";
    for (object, message) in [
        (json!(null), "must be an object, but is null".to_owned()),
        (json!([]), "must be an object, but is a list".to_owned()),
        (json!("x"), "must be an object, but is a string".to_owned()),
        (json!(1), "must be an object, but is a number".to_owned()),
        (json!(true), "must be an object, but is a boolean".to_owned()),
        (json!({}), "`metadata` is required".to_owned()),
        (json!({"metadata": null}), "`metadata` is required".to_owned()),
        (json!({"metadata": []}), "`metadata` must be an object, but is a list".to_owned()),
        (json!({"metadata": {}}), "`metadata.namespace` is required".to_owned()),
        (
            json!({"metadata": {"namespace": null, "name": "a"}}),
            "`metadata.namespace` is required".to_owned(),
        ),
        (
            json!({"metadata": {"namespace": "", "name": "a"}}),
            "`metadata.namespace` is ``, which is empty".to_owned(),
        ),
        (
            json!({"metadata": {"namespace": "A", "name": "a"}}),
            format!("`metadata.namespace` is `A`, which {label}"),
        ),
        (
            json!({"metadata": {"namespace": "a.b", "name": "a"}}),
            format!("`metadata.namespace` is `a.b`, which {label}"),
        ),
        (
            json!({"metadata": {"namespace": "n".repeat(64), "name": "a"}}),
            format!("`metadata.namespace` is `{}`, which is longer than 63 bytes", "n".repeat(64)),
        ),
        (json!({"metadata": {"namespace": "llm"}}), "`metadata.name` is required".to_owned()),
        (
            json!({"metadata": {"namespace": "llm", "generateName": "a-"}}),
            "`metadata.name` is required".to_owned(),
        ),
        (
            json!({"metadata": {"namespace": "llm", "name": 7}}),
            "`metadata.name` must be a string, but is a number".to_owned(),
        ),
        (
            json!({"metadata": {"namespace": "llm", "name": "a".repeat(1_000_000)}}),
            format!("`metadata.name` is `{}...`, which is longer than 253 bytes", "a".repeat(96)),
        ),
    ] {
        assert_eq!(refused(&object), message);
    }
}

#[test]
fn an_object_of_a_file_may_leave_its_namespace_out() {
    let home = Namespace::parse("llm").unwrap();
    for namespace in [json!(null), json!(""), json!("llm")] {
        let object = json!({"metadata": {"namespace": namespace, "name": "chat"}});
        let fact = decode::fact_in(Kind::Binding, &object, &home).unwrap();
        assert_eq!(fact.key().namespace, home, "{namespace}");
    }
    let elsewhere = json!({"metadata": {"namespace": "batch", "name": "chat"}});
    let fact = decode::fact_in(Kind::Binding, &elsewhere, &home).unwrap();
    assert_eq!(fact.key().namespace, Namespace::parse("batch").unwrap());
    let odd = json!({"metadata": {"namespace": 3, "name": "chat"}});
    assert_eq!(
        decode::fact_in(Kind::Binding, &odd, &home).unwrap_err().to_string(),
        "`metadata.namespace` must be a string, but is a number"
    );
}

#[test]
fn a_deleted_object_needs_nothing_but_its_name() {
    let object = json!({"metadata": {"namespace": "llm", "name": "chat"}});
    for kind in Kind::ALL.into_iter().filter(|kind| kind.namespaced()) {
        let key = FactKey {
            kind,
            namespace: Namespace::parse("llm").unwrap(),
            name: ObjectName::parse("chat").unwrap(),
        };
        assert_eq!(decode::key(kind, &object), Ok(key.clone()));
        assert_eq!(decode::fact(kind, &object).map(|fact| fact.key()), Ok(key), "the fact has the same key");
    }
    assert_eq!(decode::name(&json!({"metadata": {"name": "chat"}})), Ok(ObjectName::parse("chat").unwrap()));
}

#[test]
fn an_output_is_no_fact() {
    let object = json!({"metadata": {"namespace": "llm", "name": "chat"}});
    assert_eq!(
        decode::fact(Kind::Output, &object).unwrap_err().to_string(),
        "ClusterSPIFFEID (spire.spiffe.io/v1alpha1) is read as an output, not as a fact"
    );
}

#[test]
fn the_kind_of_a_document_is_told_by_its_api_version_and_kind() {
    for kind in Kind::ALL {
        let object = json!({"apiVersion": kind.api_version(), "kind": kind.kind()});
        assert_eq!(decode::kind(&object), Some(kind));
    }
    for other in [
        json!({}),
        json!([]),
        json!({"apiVersion": "v1", "kind": "Pod"}),
        json!({"apiVersion": "inference.networking.x-k8s.io/v1alpha1", "kind": "InferencePool"}),
        json!({"apiVersion": "llm-d.ai/v1alpha2", "kind": "InferencePool"}),
        json!({"apiVersion": "llm-d.ai/v1alpha2/", "kind": "InferenceObjective"}),
        json!({"apiVersion": 1, "kind": "InferencePool"}),
        json!({"apiVersion": "inference.networking.k8s.io/v1", "kind": null}),
    ] {
        assert_eq!(decode::kind(&other), None, "{other}");
    }
}

#[test]
fn metadata_is_read_as_it_is_written() {
    let object = json!({"metadata": {
        "namespace": "llm", "name": "chat", "uid": "u-1", "resourceVersion": "41", "generation": 3,
        "creationTimestamp": "2026-11-21T03:00:00Z", "deletionTimestamp": "2026-11-21T03:00:01Z",
        "finalizers": ["a/b", "c/d"], "labels": {"app": "x"}, "annotations": {"note": "y"},
        "ownerReferences": [{"kind": "Chat"}],
    }});
    let meta = Meta::of(&object);
    assert_eq!((meta.namespace(), meta.name()), (Some("llm"), Some("chat")));
    assert_eq!((meta.uid(), meta.resource_version()), (Some(Uid::parse("u-1").unwrap()), Some("41")));
    assert_eq!((meta.generation(), meta.created()), (Some(3), Some(1_795_230_000)));
    assert_eq!((meta.deleting(), meta.deletion()), (true, Some(1_795_230_001)));
    assert_eq!(meta.finalizers().collect::<Vec<_>>(), ["a/b", "c/d"]);
    assert_eq!((meta.label("app"), meta.label("other")), (Some("x"), None));
    assert_eq!((meta.annotation("note"), meta.annotation("other")), (Some("y"), None));
    assert_eq!(meta.labels(), [("app".into(), "x".into())].into());
    assert_eq!(meta.annotations(), [("note".into(), "y".into())].into());
    assert_eq!(meta.owner_references(), [json!({"kind": "Chat"})]);
}

#[test]
fn metadata_of_another_type_is_as_if_it_were_not_there() {
    for metadata in [
        json!(null),
        json!("x"),
        json!([]),
        json!({}),
        json!({"uid": 1, "resourceVersion": 41, "generation": "3", "creationTimestamp": 5, "finalizers": {"a": 1},
            "labels": ["app"], "annotations": "x", "ownerReferences": {"kind": "Chat"}, "deletionTimestamp": null}),
        json!({"uid": "", "resourceVersion": "", "generation": 3.5, "creationTimestamp": "yesterday",
            "finalizers": [null, 1], "labels": {"app": 1}, "annotations": {"note": null}, "ownerReferences": []}),
        json!({"uid": "u".repeat(129), "generation": 1e30, "creationTimestamp": "9".repeat(1_000_000)}),
        json!({"uid": "u\n", "creationTimestamp": "2026-13-41T25:00:00Z"}),
    ] {
        let object = json!({"metadata": metadata});
        let meta = Meta::of(&object);
        assert_eq!(
            (meta.uid(), meta.resource_version(), meta.generation()),
            (None, None, None),
            "{object:.200}"
        );
        assert_eq!((meta.created(), meta.deleting(), meta.deletion()), (None, false, None));
        assert_eq!((meta.finalizers().count(), meta.owner_references().len()), (0, 0));
        assert_eq!((meta.label("app"), meta.annotation("note")), (None, None));
        assert!(meta.labels().is_empty() && meta.annotations().is_empty());
    }
}

#[test]
fn an_unreadable_deletion_timestamp_is_a_deletion_all_the_same() {
    for odd in [json!(""), json!("soon"), json!(0), json!({}), json!([])] {
        let object = json!({"metadata": {"namespace": "llm", "name": "chat", "deletionTimestamp": odd}});
        for kind in Kind::ALL.into_iter().filter(|kind| kind.namespaced()) {
            let deleting = match decode::fact(kind, &object).unwrap() {
                Fact::Binding(binding) => binding.deleting,
                Fact::Objective(objective) => objective.deleting,
                Fact::Pool(pool) => pool.deleting,
            };
            assert!(deleting, "{kind} with {odd}");
        }
        assert_eq!(Meta::of(&object).deletion(), None);
    }
}

#[test]
fn a_live_binding_has_a_uid_and_a_resource_version_to_bind_writes_to() {
    let object = json!({"metadata": {"namespace": "llm", "name": "chat", "uid": "u-1", "resourceVersion": "r41",
        "generation": 3, "finalizers": ["a/b", "c/d"]}});
    assert_eq!(
        decode::live_binding(&object),
        Ok(LiveBinding {
            uid: Uid::parse("u-1").unwrap(),
            resource_version: "r41".into(),
            generation: Some(3),
            finalizers: ["a/b", "c/d"].into_iter().collect(),
        })
    );
    for (field, value, message) in [
        ("metadata.uid", json!(null), "`metadata.uid` is required"),
        ("metadata.uid", json!(""), "`metadata.uid` is ``, which is empty"),
        ("metadata.uid", json!("a b"), "`metadata.uid` is `a b`, which is not printable ASCII"),
        ("metadata.resourceVersion", json!(null), "`metadata.resourceVersion` is required"),
        ("metadata.resourceVersion", json!(""), "`metadata.resourceVersion` is required"),
        (
            "metadata.resourceVersion",
            json!(41),
            "`metadata.resourceVersion` must be a string, but is a number",
        ),
    ] {
        let odd = super::with(object.clone(), field, Some(value));
        assert_eq!(decode::live_binding(&odd).unwrap_err().to_string(), message);
    }
}

#[test]
fn the_group_of_a_fact_is_the_one_it_was_read_from() {
    let object = json!({"metadata": {"namespace": "llm", "name": "chat"}});
    let of = |kind| decode::fact(kind, &object).unwrap();
    assert!(matches!(
        of(Kind::Objective(ObjectiveGroup::InferenceX)),
        Fact::Objective(objective) if objective.group == ObjectiveGroup::InferenceX
    ));
    assert!(
        matches!(of(Kind::Pool(PoolGroup::InferenceX)), Fact::Pool(pool) if pool.group == PoolGroup::InferenceX)
    );
}
