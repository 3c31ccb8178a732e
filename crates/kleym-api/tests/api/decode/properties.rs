//! Whatever stands wherever: nothing panics, nothing is lost that has a name, and what is said can be printed.

use kleym_api::decode;
use kleym_core::fact::Fact;
use kleym_core::kind::{Kind, ObjectiveGroup, PoolGroup};
use kleym_core::output::FINALIZER;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::{object, reversed};

/// One good object of each kind, in the order of [`Kind::ALL`].
fn good(kind: Kind) -> Value {
    match kind {
        Kind::Binding => object(
            "chat",
            json!({
                "targetRef": {"group": "llm-d.ai", "kind": "InferenceObjective", "name": "chat"},
                "mode": "PerObjective",
                "containerDiscriminator": {"type": "ContainerName", "value": "vllm"},
                "workloadSelectorTemplates": ["k8s:sa:vllm", "k8s:ns:llm"],
                "selectorSource": "DerivedFromPool",
                "spiffeIDTemplate": "spiffe://example.org/ns/llm/chat",
            }),
        ),
        Kind::Objective(_) => object(
            "chat",
            json!({"poolRef": {"group": "", "kind": "InferencePool", "name": "llama", "namespace": "llm"}}),
        ),
        Kind::Pool(PoolGroup::Inference) => object(
            "llama",
            json!({"selector": {"matchLabels": {"app": "vllm", "a/b": "c"}, "matchExpressions": []}}),
        ),
        Kind::Pool(PoolGroup::InferenceX) => {
            object("llama", json!({"selector": {"app": "vllm", "a/b": "c"}}))
        }
        Kind::Output => json!({
            "metadata": {"name": "kleym-llm-chat", "uid": "u-1", "resourceVersion": "7", "labels": {"a": "b"}},
            "spec": {
                "spiffeIDTemplate": "spiffe://example.org/ns/llm/chat",
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "llm"}},
                "podSelector": {"matchLabels": {"app": "vllm"}},
                "workloadSelectorTemplates": ["k8s:ns:llm", "k8s:sa:vllm"],
                "className": "spire", "fallback": false, "hint": "llm/chat",
            },
            "status": {"stats": {"podsSelected": 4}},
        }),
    }
}

/// Texts that mean something somewhere, and any others.
fn text() -> impl Strategy<Value = String> {
    let meaning = [
        "",
        " ",
        "llm",
        "chat",
        "a/b/c",
        "PoolOnly",
        "InferencePool",
        "inference.networking.k8s.io",
        FINALIZER,
        "2026-11-21T03:00:00Z",
        "{{ .Namespace }}",
        "k8s:ns:llm",
        "\u{202e}\u{1b}[31m\0",
        "..",
        "metadata",
        "spec",
        "selector",
        "matchLabels",
        "matchExpressions",
        "poolRef",
        "targetRef",
        "name",
        "namespace",
        "group",
        "kind",
        "mode",
        "uid",
        "resourceVersion",
        "status",
        "stats",
    ];
    prop_oneof![
        3 => proptest::sample::select(meaning.to_vec()).prop_map(str::to_owned),
        1 => any::<String>(),
        1 => (any::<char>(), 0_usize..2000).prop_map(|(c, count)| std::iter::repeat_n(c, count).collect()),
    ]
}

fn anything() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 64, 8, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
            proptest::collection::vec((text(), inner), 0..8)
                .prop_map(|entries| Value::Object(entries.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

/// Puts a value in some place of another one: the path is followed as far as it leads.
fn replace(value: &mut Value, path: &[usize], replacement: Value) {
    let Some((first, rest)) = path.split_first() else {
        *value = replacement;
        return;
    };
    let child = match value {
        Value::Object(fields) if !fields.is_empty() => {
            let index = first % fields.len();
            fields.values_mut().nth(index)
        }
        Value::Array(items) if !items.is_empty() => {
            let index = first % items.len();
            items.get_mut(index)
        }
        _ => None,
    };
    match child {
        Some(child) => replace(child, rest, replacement),
        None => *value = replacement,
    }
}

/// What a fact complains of, if anything.
fn complaint(fact: &Fact) -> Option<String> {
    match fact {
        Fact::Binding(binding) => {
            binding.spec.as_ref().err().map(|error| format!("{} {}", error.field, error.problem))
        }
        Fact::Objective(objective) => objective.pool_ref.as_ref().err().map(ToString::to_string),
        Fact::Pool(pool) => pool.labels.as_ref().err().map(ToString::to_string),
    }
}

fn is_printable(message: &str) -> bool {
    !message.is_empty() && message.len() < 2048 && message.bytes().all(|byte| matches!(byte, b' '..=b'~'))
}

/// Decodes an object as every kind there is, and checks what holds for all of them.
fn check(object: &Value) -> Result<(), TestCaseError> {
    let other_order = reversed(object);
    for kind in Kind::ALL {
        let fact = decode::fact(kind, object);
        prop_assert_eq!(&fact, &decode::fact(kind, &other_order), "the order of fields decides nothing");
        match &fact {
            Ok(fact) => {
                prop_assert_eq!(Ok(fact.key()), decode::key(kind, object));
                let complaint = complaint(fact);
                prop_assert!(complaint.as_deref().is_none_or(is_printable), "{complaint:?}");
                let size = format!("{fact:?}").len();
                prop_assert!(
                    complaint.is_none() || size < 8192,
                    "an invalid fact is small, not {size} bytes"
                );
            }
            Err(error) => prop_assert!(is_printable(&error.to_string()), "{error}"),
        }
    }
    let output = decode::output(object);
    prop_assert_eq!(&output, &decode::output(&other_order), "the order of fields decides nothing");
    if let Err(error) = &output {
        prop_assert!(is_printable(&error.to_string()), "{error}");
    }
    if let Err(error) = decode::live_binding(object) {
        prop_assert!(is_printable(&error.to_string()), "{error}");
    }
    let _ = decode::kind(object);
    for error in [
        decode::pod(object, None).err(),
        decode::node(object).err(),
        decode::space(object, true).err(),
        decode::registration(object).err(),
    ] {
        prop_assert!(error.is_none_or(|error| is_printable(&error.to_string())));
    }
    if let Ok(Some(problem)) = decode::registration(object).map(|object| object.problem) {
        prop_assert!(is_printable(&problem.to_string()), "{problem}");
    }
    let _ = decode::manager(object);
    Ok(())
}

proptest! {
    #[test]
    fn any_json_at_all_has_an_answer(object in anything()) {
        check(&object)?;
    }

    #[test]
    fn anything_in_any_place_of_a_good_object_has_an_answer(
        kind in proptest::sample::select(Kind::ALL.to_vec()),
        faults in proptest::collection::vec((proptest::collection::vec(any::<usize>(), 0..5), anything()), 1..4),
    ) {
        let mut object = good(kind);
        for (path, replacement) in faults {
            replace(&mut object, &path, replacement);
        }
        check(&object)?;
    }

    #[test]
    fn an_object_that_can_be_named_is_never_lost(
        kind in proptest::sample::select(Kind::ALL.to_vec()),
        spec in anything(),
        status in anything(),
        path in proptest::collection::vec(any::<usize>(), 0..4),
    ) {
        let mut object = good(kind);
        replace(&mut object["spec"], &path, spec);
        object["status"] = status;
        if kind == Kind::Output {
            let live = decode::output(&object);
            prop_assert!(live.is_ok(), "{live:?}");
            prop_assert!(decode::registration(&object).is_ok());
        } else {
            let fact = decode::fact(kind, &object);
            prop_assert!(decode::pod(&object, None).is_ok());
            prop_assert!(fact.is_ok(), "{fact:?}");
            object["status"] = Value::Null;
            prop_assert_eq!(decode::fact(kind, &object), fact, "a status decides nothing");
        }
    }
}

#[test]
fn a_good_object_of_every_kind_is_without_complaint() {
    for kind in Kind::ALL {
        if kind == Kind::Output {
            assert!(decode::output(&good(kind)).unwrap().spec.unwanted.is_empty());
        } else {
            assert_eq!(complaint(&decode::fact(kind, &good(kind)).unwrap()), None, "{kind}");
        }
    }
    assert_ne!(good(Kind::Objective(ObjectiveGroup::LlmD)), good(Kind::Pool(PoolGroup::Inference)));
}
