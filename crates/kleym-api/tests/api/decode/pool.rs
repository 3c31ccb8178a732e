//! Of a pool only `spec.selector` is read, in the shape that its group has.

use kleym_api::decode;
use kleym_core::fact::{Fact, Pool, PoolSelectorError};
use kleym_core::kind::{Kind, PoolGroup};
use kleym_core::label::{LabelKey, LabelValue, Labels};
use kleym_core::name::{Namespace, ObjectName};
use serde_json::{Map, Value, json};

use super::object;

fn pool(group: PoolGroup, object: &Value) -> Pool {
    match decode::fact(Kind::Pool(group), object) {
        Ok(Fact::Pool(pool)) => pool,
        other => panic!("not a pool: {other:?}"),
    }
}

/// The labels of a pool with this selector.
fn labels(group: PoolGroup, selector: &Value) -> Result<Labels, PoolSelectorError> {
    let pool = pool(group, &object("llama", json!({"selector": selector})));
    pool.labels.map(|labels| (*labels).clone())
}

fn refused(group: PoolGroup, selector: &Value) -> String {
    labels(group, selector).expect_err("must be refused").to_string()
}

fn these(entries: &[(&str, &str)]) -> Labels {
    entries
        .iter()
        .map(|(key, value)| (LabelKey::parse(key).unwrap(), LabelValue::parse(value).unwrap()))
        .collect()
}

const V1: PoolGroup = PoolGroup::Inference;
const X: PoolGroup = PoolGroup::InferenceX;

#[test]
fn both_shapes_of_a_selector_are_normalised_to_the_same_labels() {
    let app = these(&[("app", "vllm"), ("llm-d.ai/role", "decode")]);
    for (group, selector) in [
        (V1, json!({"matchLabels": {"app": "vllm", "llm-d.ai/role": "decode"}})),
        (V1, json!({"matchLabels": {"llm-d.ai/role": "decode", "app": "vllm"}, "matchExpressions": []})),
        (V1, json!({"matchLabels": {"llm-d.ai/role": "decode", "app": "vllm"}, "matchExpressions": null})),
        (X, json!({"app": "vllm", "llm-d.ai/role": "decode"})),
        (X, json!({"llm-d.ai/role": "decode", "app": "vllm"})),
    ] {
        assert_eq!(labels(group, &selector), Ok(app.clone()), "{group}: {selector}");
    }
}

#[test]
fn a_pool_is_its_selector_and_nothing_else() {
    let rich = json!({
        "apiVersion": "inference.networking.k8s.io/v1", "kind": "InferencePool",
        "metadata": {"namespace": "llm", "name": "llama", "uid": "u", "annotations": {"a": "b"}},
        "spec": {"selector": {"matchLabels": {"app": "vllm"}}, "targetPorts": 7, "extensionRef": null},
        "status": {"parents": "forged", "selector": {"matchLabels": {"app": "other"}}},
    });
    assert_eq!(
        decode::fact(Kind::Pool(V1), &rich),
        Ok(Fact::Pool(Pool {
            group: V1,
            namespace: Namespace::parse("llm").unwrap(),
            name: ObjectName::parse("llama").unwrap(),
            deleting: false,
            labels: Ok(these(&[("app", "vllm")]).into()),
        }))
    );
}

#[test]
fn in_the_flat_shape_a_label_may_be_called_like_a_field_of_the_other() {
    assert_eq!(labels(X, &json!({"matchLabels": "yes"})), Ok(these(&[("matchLabels", "yes")])));
    assert_eq!(labels(X, &json!({"matchExpressions": "no"})), Ok(these(&[("matchExpressions", "no")])));
}

#[test]
fn a_missing_or_empty_selector_is_refused_in_both_groups() {
    let everything = "the selector has no labels and would match every pod";
    for group in PoolGroup::ALL {
        for (spec, message) in [
            (json!(null), "`spec` is required"),
            (json!("x"), "`spec` must be an object, but is a string"),
            (json!({}), "`spec.selector` is required"),
            (json!({"selector": null}), "`spec.selector` is required"),
            (json!({"selector": []}), "`spec.selector` must be an object, but is a list"),
            (json!({"selector": [{"app": "vllm"}]}), "`spec.selector` must be an object, but is a list"),
            (json!({"selector": "app=vllm"}), "`spec.selector` must be an object, but is a string"),
            (json!({"selector": 1}), "`spec.selector` must be an object, but is a number"),
            (json!({"selector": true}), "`spec.selector` must be an object, but is a boolean"),
        ] {
            let error = pool(group, &object("llama", spec)).labels.unwrap_err();
            assert_eq!(error.to_string(), message, "{group}");
        }
        let bare = json!({"metadata": {"namespace": "llm", "name": "llama"}});
        assert_eq!(pool(group, &bare).labels.unwrap_err().to_string(), "`spec` is required");
    }
    assert_eq!(refused(X, &json!({})), everything);
    assert_eq!(refused(V1, &json!({"matchLabels": {}})), everything);
    assert_eq!(refused(V1, &json!({})), "`spec.selector.matchLabels` is required");
    assert_eq!(refused(V1, &json!({"matchLabels": null})), "`spec.selector.matchLabels` is required");
}

#[test]
fn beside_match_labels_nothing_is_allowed() {
    let expressions =
        "spec.selector.matchExpressions is not supported; express the pool with matchLabels alone";
    let unknown =
        |field: &str| format!("spec.selector has the unknown field `{field}`; only matchLabels is supported");
    for (selector, message) in [
        (json!({"matchExpressions": [{"key": "app", "operator": "Exists"}]}), expressions.to_owned()),
        (json!({"matchLabels": {"app": "vllm"}, "matchExpressions": [{}]}), expressions.to_owned()),
        (json!({"matchLabels": {"app": "vllm"}, "matchExpressions": [null]}), expressions.to_owned()),
        (
            json!({"matchLabels": {"app": "vllm"}, "matchExpressions": {}}),
            "`spec.selector.matchExpressions` must be a list, but is an object".to_owned(),
        ),
        (
            json!({"matchLabels": {"app": "vllm"}, "matchExpressions": "x"}),
            "`spec.selector.matchExpressions` must be a list, but is a string".to_owned(),
        ),
        (json!({"app": "vllm"}), unknown("app")),
        (json!({"matchLabels": {"app": "vllm"}, "app": "vllm"}), unknown("app")),
        (json!({"matchLabels": {"app": "vllm"}, "z": null, "b": [], "y": 1}), unknown("b")),
        (json!({"matchLabels": {"app": "vllm"}, "matchlabels": {}}), unknown("matchlabels")),
        (json!({"matchLabels": {"app": "vllm"}, "\u{202e}": 1}), unknown("\\u{202e}")),
        (json!({"matchLabels": {}, "f".repeat(1_000_000): 1}), unknown(&format!("{}...", "f".repeat(96)))),
    ] {
        assert_eq!(refused(V1, &selector), message);
    }
}

#[test]
fn a_value_that_is_no_string_is_refused_with_its_path() {
    for (value, found) in [
        (json!(null), "null"),
        (json!(1), "a number"),
        (json!(1.5), "a number"),
        (json!(true), "a boolean"),
        (json!(["vllm"]), "a list"),
        (json!({"app": "vllm"}), "an object"),
    ] {
        assert_eq!(
            refused(V1, &json!({"matchLabels": {"app": value}})),
            format!("`spec.selector.matchLabels.app` must be a string, but is {found}")
        );
        assert_eq!(
            refused(X, &json!({"app": value})),
            format!("`spec.selector.app` must be a string, but is {found}")
        );
    }
    for (match_labels, found) in [(json!([]), "a list"), (json!("app"), "a string"), (json!(0), "a number")] {
        assert_eq!(
            refused(V1, &json!({"matchLabels": match_labels})),
            format!("`spec.selector.matchLabels` must be an object, but is {found}")
        );
    }
}

#[test]
fn a_selector_of_both_shapes_is_refused_in_both_groups() {
    let mixed = json!({"app": "vllm", "matchLabels": {"app": "vllm"}});
    assert_eq!(refused(X, &mixed), "`spec.selector.matchLabels` must be a string, but is an object");
    assert_eq!(
        refused(V1, &mixed),
        "spec.selector has the unknown field `app`; only matchLabels is supported"
    );
}

#[test]
fn keys_and_values_that_are_no_labels_are_refused_in_both_groups() {
    let long = "v".repeat(64);
    let huge = "v".repeat(1_000_000);
    let cut = format!("{}...", "v".repeat(96));
    let characters =
        "is malformed: allowed are letters, digits, `-`, `_` and `.`, with a letter or digit at both ends";
    let item = format!("{}/{}", "p".repeat(190), "k".repeat(63));
    for (key, value, message) in [
        ("", "x", "the label key `` is empty".to_owned()),
        (" app", "x", "the label key ` app` starts or ends with white space".to_owned()),
        ("a/b/c", "x", "the label key `a/b/c` has a prefix that is not a DNS subdomain".to_owned()),
        ("A/b", "x", "the label key `A/b` has a prefix that is not a DNS subdomain".to_owned()),
        ("app:x", "x", format!("the label key `app:x` {characters}")),
        ("\u{430}pp", "x", format!("the label key `\\u{{430}}pp` {characters}")),
        (&long, "x", format!("the label key `{long}` is longer than 63 characters")),
        (&huge, "x", format!("the label key `{cut}` is longer than 63 characters")),
        ("app", "", "the value `` of the label `app` is empty".to_owned()),
        ("app", " ", "the value ` ` of the label `app` starts or ends with white space".to_owned()),
        ("app", "x\n", "the value `x\\n` of the label `app` starts or ends with white space".to_owned()),
        (
            "app",
            "{{.TrustDomain}}",
            format!("the value `{{{{.TrustDomain}}}}` of the label `app` {characters}"),
        ),
        ("app", "e\u{301}", format!("the value `e\\u{{301}}` of the label `app` {characters}")),
        ("app", "a\0b", format!("the value `a\\u{{0}}b` of the label `app` {characters}")),
        ("app", &long, format!("the value `{long}` of the label `app` is longer than 63 characters")),
        ("app", &huge, format!("the value `{cut}` of the label `app` is longer than 63 characters")),
        (
            &item,
            &"v".repeat(63),
            format!(
                "the selector item of the label `{}...` has 332 bytes; SPIRE's databases hold at most 255",
                &item[..96]
            ),
        ),
    ] {
        assert_eq!(refused(X, &json!({key: value})), message);
        assert_eq!(refused(V1, &json!({"matchLabels": {key: value}})), message);
    }
}

#[test]
fn what_is_kept_of_a_megabyte_is_what_a_message_can_show() {
    let huge = "v".repeat(1_000_000);
    let kept = "v".repeat(128);
    for selector in [json!({&huge: "x"}), json!({&huge: 1}), json!({"app": huge})] {
        let debug = format!("{:?}", labels(X, &selector).unwrap_err());
        assert!(debug.contains(&kept) && debug.len() < 300, "{}", debug.len());
    }
}

#[test]
fn a_selector_has_at_most_64_labels() {
    let many = |count: usize| -> Value {
        (0..count).map(|i| (format!("label-{i}"), json!("x"))).collect::<Map<_, _>>().into()
    };
    assert_eq!(labels(X, &many(64)).map(|labels| labels.len()), Ok(64));
    for count in [65, 1000] {
        let message = format!("the selector has {count} labels; at most 64 are supported");
        assert_eq!(refused(X, &many(count)), message);
        assert_eq!(refused(V1, &json!({"matchLabels": many(count)})), message);
    }
}

#[test]
fn the_fault_that_is_told_is_the_first_by_key_whatever_the_order_in_the_file() {
    let selector = json!({"z": 1, "m": null, "b": [], "a": "fine"});
    let labels = json!({"z": "", "m": " ", "b": "-", "a": "fine"});
    for (selector, told) in [(selector, "`spec.selector.b`"), (labels, "the value `-` of the label `b`")] {
        for selector in [super::reversed(&selector), selector] {
            let message = refused(X, &selector);
            assert!(message.starts_with(told), "{message}");
        }
    }
}
