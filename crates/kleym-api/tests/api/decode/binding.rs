//! Every rule of the binding's schema, checked again on what was read.

use kleym_api::{binding, decode};
use kleym_core::fact::{
    Binding, BindingSpec, Discriminator, DiscriminatorType, Fact, Mode, SpecError, SpecField, Target,
    ValueProblem,
};
use kleym_core::kind::{Kind, ObjectiveGroup, PoolGroup};
use kleym_core::name::{BindingKey, Namespace, ObjectName, Uid};
use serde_json::{Value, json};

use super::{object, with};

fn decoded(object: &Value) -> Binding {
    match decode::fact(Kind::Binding, object) {
        Ok(Fact::Binding(binding)) => *binding,
        other => panic!("not a binding: {other:?}"),
    }
}

/// The smallest spec that the schema takes, and its fact.
fn smallest() -> Value {
    json!({
        "targetRef": {"name": "chat"},
        "selectorSource": "DerivedFromPool",
        "workloadSelectorTemplates": ["k8s:sa:vllm"],
    })
}

fn smallest_fact() -> BindingSpec {
    BindingSpec {
        target: Target::Objective { name: ObjectName::parse("chat").unwrap(), group: None },
        mode: Mode::PerObjective,
        discriminator: None,
        selector_templates: ["k8s:sa:vllm".into()].into(),
        spiffe_id_template: None,
    }
}

fn spec(spec: Value) -> Result<BindingSpec, SpecError> {
    decoded(&object("chat", spec)).spec
}

/// What is said of the smallest spec when one part of it is replaced (or, with None, removed).
fn refused(path: &str, value: Option<Value>) -> String {
    let error = spec(with(smallest(), path, value)).expect_err("must be refused");
    format!("{} {}", error.field, error.problem)
}

#[test]
fn a_binding_is_read_whole() {
    let object = json!({
        "apiVersion": "kleym.sonda.red/v1alpha1", "kind": "InferenceIdentityBinding",
        "metadata": {"namespace": "llm", "name": "chat", "uid": "u-1", "generation": 4, "resourceVersion": "9",
            "creationTimestamp": "2026-11-21T03:00:00Z", "deletionTimestamp": "2026-11-22T03:00:00Z",
            "finalizers": ["example.org/other", "kleym.sonda.red/inferenceidentitybinding-finalizer"]},
        "spec": {
            "targetRef": {"group": "llm-d.ai", "kind": "InferenceObjective", "name": "chat-premium"},
            "mode": "PerObjective",
            "containerDiscriminator": {"type": "ContainerImage", "value": "vllm:v1"},
            "workloadSelectorTemplates": ["k8s:sa:vllm", "k8s:ns:{{ .Namespace }}"],
            "selectorSource": "DerivedFromPool",
            "spiffeIDTemplate": "spiffe://{{ .TrustDomain }}/ns/llm/chat",
        },
    });
    assert_eq!(
        decoded(&object),
        Binding {
            key: BindingKey::new(Namespace::parse("llm").unwrap(), ObjectName::parse("chat").unwrap()),
            uid: Some(Uid::parse("u-1").unwrap()),
            created: Some(1_795_230_000),
            generation: Some(4),
            deleting: true,
            finalizer: true,
            spec: Ok(BindingSpec {
                target: Target::Objective {
                    name: ObjectName::parse("chat-premium").unwrap(),
                    group: Some(ObjectiveGroup::LlmD),
                },
                mode: Mode::PerObjective,
                discriminator: Some(Discriminator {
                    kind: DiscriminatorType::ContainerImage,
                    value: "vllm:v1".into(),
                }),
                selector_templates: ["k8s:sa:vllm".into(), "k8s:ns:{{ .Namespace }}".into()].into(),
                spiffe_id_template: Some("spiffe://{{ .TrustDomain }}/ns/llm/chat".into()),
            }),
        }
    );
}

#[test]
fn a_binding_of_a_file_has_no_uid_no_age_and_no_generation() {
    assert_eq!(
        decoded(&object("chat", smallest())),
        Binding {
            key: BindingKey::new(Namespace::parse("llm").unwrap(), ObjectName::parse("chat").unwrap()),
            uid: None,
            created: None,
            generation: None,
            deleting: false,
            finalizer: false,
            spec: Ok(smallest_fact()),
        }
    );
}

#[test]
fn the_age_of_a_binding_is_counted_in_whole_seconds() {
    for (time, created) in [
        (json!("1970-01-01T00:00:01Z"), Some(1)),
        (json!("2026-11-21T04:00:00+01:00"), Some(1_795_230_000)),
        (json!("2026-11-21T03:00:00.999Z"), Some(1_795_230_000)),
        (json!("2026-11-21"), None),
        (json!("03:00"), None),
        (json!(1_795_230_000), None),
        (json!(""), None),
        (json!(null), None),
    ] {
        let object = with(object("chat", smallest()), "metadata.creationTimestamp", Some(time.clone()));
        assert_eq!(decoded(&object).created, created, "{time}");
    }
}

#[test]
fn a_target_may_pin_a_group_that_has_its_kind() {
    let name = || ObjectName::parse("chat").unwrap();
    for (target, fact) in [
        (
            json!({"name": "chat", "kind": null, "group": null}),
            Target::Objective { name: name(), group: None },
        ),
        (
            json!({"name": "chat", "group": "inference.networking.x-k8s.io"}),
            Target::Objective { name: name(), group: Some(ObjectiveGroup::InferenceX) },
        ),
        (
            json!({"name": "chat", "kind": "InferenceObjective", "group": "inference.networking.k8s.io"}),
            Target::Objective { name: name(), group: Some(ObjectiveGroup::Inference) },
        ),
        (json!({"name": "chat", "kind": "InferencePool"}), Target::Pool { name: name(), group: None }),
        (
            json!({"name": "chat", "kind": "InferencePool", "group": "inference.networking.k8s.io"}),
            Target::Pool { name: name(), group: Some(PoolGroup::Inference) },
        ),
        (
            json!({"name": "chat", "kind": "InferencePool", "group": "inference.networking.x-k8s.io"}),
            Target::Pool { name: name(), group: Some(PoolGroup::InferenceX) },
        ),
    ] {
        let read = spec(with(smallest(), "targetRef", Some(target.clone()))).map(|spec| spec.target);
        assert_eq!(read, Ok(fact), "{target}");
    }
}

#[test]
fn an_explicit_null_is_no_value_of_an_optional_field() {
    let nulls = json!({
        "targetRef": {"name": "chat", "kind": null, "group": null},
        "selectorSource": "DerivedFromPool",
        "workloadSelectorTemplates": ["k8s:sa:vllm"],
        "containerDiscriminator": null,
        "spiffeIDTemplate": null,
    });
    assert_eq!(spec(nulls), Ok(smallest_fact()));
}

#[test]
fn the_mode_has_a_default_and_a_null_is_defaulted_as_the_api_server_does() {
    assert_eq!(spec(smallest()).map(|spec| spec.mode), Ok(Mode::PerObjective));
    assert_eq!(
        spec(with(smallest(), "mode", Some(json!("PoolOnly")))).map(|spec| spec.mode),
        Ok(Mode::PoolOnly)
    );
    let null = with(smallest(), "mode", Some(json!(null)));
    assert_eq!(spec(null).map(|spec| spec.mode), Ok(Mode::PerObjective));
}

#[test]
fn fields_that_are_not_in_the_schema_change_nothing() {
    let mut rich = smallest();
    rich["targetRef"]["namespace"] = json!("batch");
    rich["extra"] = json!({"targetRef": {"name": 7}});
    rich["Mode"] = json!("PoolOnly");
    assert_eq!(spec(rich), Ok(smallest_fact()));
}

#[test]
fn a_forged_status_changes_nothing() {
    let honest = object("chat", smallest());
    for status in [
        json!(null),
        json!([]),
        json!({"computedSpiffeIDs": [{"spiffeID": "spiffe://evil/x"}],
        "conditions": "Ready", "trustDomain": "evil", "instance": 3, "observedGeneration": "x"}),
    ] {
        assert_eq!(decoded(&with(honest.clone(), "status", Some(status))), decoded(&honest));
    }
}

#[test]
fn rules_between_fields_are_left_to_the_engine() {
    let read = spec(json!({
        "targetRef": {"name": "chat", "kind": "InferencePool"},
        "selectorSource": "DerivedFromPool",
        "workloadSelectorTemplates": ["k8s:sa:vllm"],
        "mode": "PoolOnly",
        "containerDiscriminator": {"type": "ContainerName", "value": "}}"},
    }));
    assert_eq!(
        read.map(|spec| (spec.mode, spec.discriminator)),
        Ok((
            Mode::PoolOnly,
            Some(Discriminator { kind: DiscriminatorType::ContainerName, value: "}}".into() })
        ))
    );
    assert!(spec(with(smallest(), "targetRef.kind", Some(json!("InferencePool")))).is_ok());
}

#[test]
fn a_required_field_that_is_missing_or_null_is_named() {
    for (path, message) in [
        ("targetRef", "spec.targetRef is required"),
        ("targetRef.name", "spec.targetRef.name is required"),
        ("workloadSelectorTemplates", "spec.workloadSelectorTemplates is required"),
        ("selectorSource", "spec.selectorSource is required"),
    ] {
        assert_eq!(refused(path, None), message);
        assert_eq!(refused(path, Some(json!(null))), message);
    }
    let by_name = json!({"type": "ContainerName", "value": "vllm"});
    for (field, message) in [
        ("type", "spec.containerDiscriminator.type is required"),
        ("value", "spec.containerDiscriminator.value is required"),
    ] {
        assert_eq!(refused("containerDiscriminator", Some(with(by_name.clone(), field, None))), message);
        let null = with(by_name.clone(), field, Some(json!(null)));
        assert_eq!(refused("containerDiscriminator", Some(null)), message);
    }
    for absent in [json!({"metadata": {"namespace": "llm", "name": "chat"}}), object("chat", json!(null))] {
        assert_eq!(
            decoded(&absent).spec,
            Err(SpecError { field: SpecField::Spec, problem: ValueProblem::Missing })
        );
    }
}

#[test]
fn a_field_of_another_type_is_named_with_what_it_is() {
    let types = [
        (json!(true), "a boolean"),
        (json!(7), "a number"),
        (json!("text"), "a string"),
        (json!([]), "a list"),
        (json!({}), "an object"),
    ];
    for (path, field, wanted) in [
        ("targetRef", "spec.targetRef", "an object"),
        ("targetRef.name", "spec.targetRef.name", "a string"),
        ("targetRef.kind", "spec.targetRef.kind", "a string"),
        ("targetRef.group", "spec.targetRef.group", "a string"),
        ("mode", "spec.mode", "a string"),
        ("containerDiscriminator", "spec.containerDiscriminator", "an object"),
        ("containerDiscriminator.type", "spec.containerDiscriminator.type", "a string"),
        ("containerDiscriminator.value", "spec.containerDiscriminator.value", "a string"),
        ("workloadSelectorTemplates", "spec.workloadSelectorTemplates", "a list"),
        ("selectorSource", "spec.selectorSource", "a string"),
        ("spiffeIDTemplate", "spec.spiffeIDTemplate", "a string"),
    ] {
        for (value, found) in types.iter().filter(|(_, found)| *found != wanted) {
            let mut whole = smallest();
            if path.starts_with("containerDiscriminator.") {
                whole["containerDiscriminator"] = json!({"type": "ContainerName", "value": "vllm"});
            }
            let error = spec(with(whole, path, Some(value.clone()))).unwrap_err();
            let message = format!("{} {}", error.field, error.problem);
            assert_eq!(message, format!("{field} must be {wanted}, but is {found}"));
        }
    }
    for (value, found) in types.iter().filter(|(value, _)| !value.is_object()) {
        let error = spec(value.clone()).unwrap_err();
        assert_eq!(
            format!("{} {}", error.field, error.problem),
            format!("spec must be an object, but is {found}")
        );
    }
    for (value, found) in [(json!(null), "null"), (json!(1), "a number"), (json!(["k8s:sa:x"]), "a list")] {
        assert_eq!(
            refused("workloadSelectorTemplates", Some(json!(["k8s:sa:vllm", value]))),
            format!("spec.workloadSelectorTemplates[1] must be a string, but is {found}")
        );
    }
}

#[test]
fn a_value_that_is_not_in_a_closed_list_is_answered_with_the_list() {
    let objective_groups =
        "one of `llm-d.ai`, `inference.networking.x-k8s.io` and `inference.networking.k8s.io`";
    let pool_groups = "one of `inference.networking.k8s.io` and `inference.networking.x-k8s.io`";
    let kinds = "one of `InferenceObjective` and `InferencePool`";
    let modes = "one of `PoolOnly` and `PerObjective`";
    for (path, value, message) in [
        ("targetRef.kind", "Service", format!("spec.targetRef.kind is `Service`, but must be {kinds}")),
        ("targetRef.kind", "", format!("spec.targetRef.kind is ``, but must be {kinds}")),
        (
            "targetRef.kind",
            "inferencepool",
            format!("spec.targetRef.kind is `inferencepool`, but must be {kinds}"),
        ),
        ("targetRef.group", "", format!("spec.targetRef.group is ``, but must be {objective_groups}")),
        (
            "targetRef.group",
            "apps",
            format!("spec.targetRef.group is `apps`, but must be {objective_groups}"),
        ),
        ("mode", "", format!("spec.mode is ``, but must be {modes}")),
        ("mode", "poolonly", format!("spec.mode is `poolonly`, but must be {modes}")),
        ("mode", "PoolOnly ", format!("spec.mode is `PoolOnly `, but must be {modes}")),
        (
            "selectorSource",
            "Everything",
            "spec.selectorSource is `Everything`, but must be `DerivedFromPool`".to_owned(),
        ),
    ] {
        assert_eq!(refused(path, Some(json!(value))), message);
    }
    assert_eq!(
        refused("targetRef", Some(json!({"name": "chat", "kind": "InferencePool", "group": "llm-d.ai"}))),
        format!("spec.targetRef.group is `llm-d.ai`, but must be {pool_groups}")
    );
    assert_eq!(
        refused("containerDiscriminator", Some(json!({"type": "ContainerPort", "value": "80"}))),
        "spec.containerDiscriminator.type is `ContainerPort`, but must be one of `ContainerName` and `ContainerImage`"
    );
    assert_eq!(
        refused("mode", Some(json!("m".repeat(1_000_000)))),
        format!("spec.mode is `{}...`, but must be {modes}", "m".repeat(96))
    );
}

#[test]
fn a_target_name_is_a_dns_1123_subdomain() {
    for good in ["c".repeat(253), "a.b-c.0".to_owned()] {
        assert!(spec(with(smallest(), "targetRef.name", Some(json!(good)))).is_ok(), "{good}");
    }
    for bad in [
        "",
        " ",
        ".",
        "..",
        "A",
        "a b",
        "a/b",
        "a%2f",
        "a\\b",
        "a:b",
        "a?b",
        "a#b",
        "a@b",
        "a\n",
        "a\0",
        "\u{1b}[31m",
        "\u{202e}a",
        "\u{430}",
        "e\u{301}",
        "\u{e9}",
        "\u{1f600}",
        "-a",
        "a-",
        "a..b",
        &"c".repeat(254),
        &"c".repeat(1_000_000),
    ] {
        let message = refused("targetRef.name", Some(json!(bad)));
        assert!(message.starts_with("spec.targetRef.name is `"), "{message}");
        assert!(message.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{message}");
    }
}

#[test]
fn texts_are_counted_in_characters_as_the_api_server_counts_them() {
    for (path, max) in
        [("spiffeIDTemplate", 1024), ("workloadSelectorTemplates", 512), ("containerDiscriminator", 512)]
    {
        let whole = |text: String| match path {
            "workloadSelectorTemplates" => json!([text]),
            "containerDiscriminator" => json!({"type": "ContainerName", "value": text}),
            _ => json!(text),
        };
        let field = match path {
            "workloadSelectorTemplates" => "spec.workloadSelectorTemplates[0]",
            "containerDiscriminator" => "spec.containerDiscriminator.value",
            _ => "spec.spiffeIDTemplate",
        };
        for character in ["a", " ", "\u{e9}", "\u{1f600}"] {
            for length in [1, max] {
                let value = whole(character.repeat(length));
                assert!(spec(with(smallest(), path, Some(value))).is_ok(), "{path} {character} {length}");
            }
            for length in [0, max + 1, 1_000_000] {
                assert_eq!(
                    refused(path, Some(whole(character.repeat(length)))),
                    format!("{field} must have 1 to {max} characters, but has {length}")
                );
            }
        }
    }
}

#[test]
fn the_selector_templates_are_a_set_of_1_to_32() {
    let many = |count: usize| json!((0..count).map(|i| format!("k8s:pod-label:l{i}:x")).collect::<Vec<_>>());
    assert!(spec(with(smallest(), "workloadSelectorTemplates", Some(many(32)))).is_ok());
    for count in [0, 33, 10_000] {
        assert_eq!(
            refused("workloadSelectorTemplates", Some(many(count))),
            format!("spec.workloadSelectorTemplates must have 1 to 32 entries, but has {count}")
        );
    }
    assert_eq!(
        refused("workloadSelectorTemplates", Some(json!(["b", "a", "c", "a", "b"]))),
        "spec.workloadSelectorTemplates holds `a` twice"
    );
    assert_eq!(
        refused("workloadSelectorTemplates", Some(json!(["a", "a", ""]))),
        "spec.workloadSelectorTemplates[2] must have 1 to 512 characters, but has 0"
    );
    assert!(spec(with(smallest(), "workloadSelectorTemplates", Some(json!(["a", "A", "a "])))).is_ok());
}

#[test]
fn of_several_faults_the_first_in_a_fixed_order_is_told() {
    let mut broken = json!({
        "spiffeIDTemplate": "",
        "selectorSource": "x",
        "workloadSelectorTemplates": [],
        "containerDiscriminator": {"value": "", "type": "x"},
        "mode": "x",
        "targetRef": {"group": "x", "kind": "x", "name": "X"},
    });
    for (path, good, told) in [
        ("targetRef.name", json!("chat"), SpecField::TargetName),
        ("targetRef.kind", json!("InferencePool"), SpecField::TargetKind),
        ("targetRef.group", json!("inference.networking.k8s.io"), SpecField::TargetGroup),
        ("mode", json!("PoolOnly"), SpecField::Mode),
        ("containerDiscriminator.type", json!("ContainerName"), SpecField::DiscriminatorType),
        ("containerDiscriminator.value", json!("vllm"), SpecField::DiscriminatorValue),
        ("workloadSelectorTemplates", json!(["a", ""]), SpecField::SelectorTemplates),
        ("workloadSelectorTemplates", json!(["a"]), SpecField::SelectorTemplate(1)),
        ("selectorSource", json!("DerivedFromPool"), SpecField::SelectorSource),
        ("spiffeIDTemplate", json!("x"), SpecField::SpiffeIdTemplate),
    ] {
        assert_eq!(spec(broken.clone()).map_err(|error| error.field), Err(told));
        broken = with(broken, path, Some(good));
    }
    assert!(spec(broken).is_ok());
}

#[test]
fn the_finalizer_is_seen_among_others_and_only_when_it_is_exactly_ours() {
    let ours = "kleym.sonda.red/inferenceidentitybinding-finalizer";
    for (finalizers, seen) in [
        (json!([ours]), true),
        (json!([1, null, "a/b", ours]), true),
        (json!([ours.to_uppercase(), "kleym.sonda.red/other", ""]), false),
        (json!(ours), false),
        (json!({ours: ours}), false),
        (json!(null), false),
    ] {
        let object = with(object("chat", smallest()), "metadata.finalizers", Some(finalizers.clone()));
        assert_eq!(decoded(&object).finalizer, seen, "{finalizers}");
    }
}

/// What the definition says of a field: the closed list, or the bounds.
#[test]
fn the_limits_are_those_of_the_definition() {
    let definition = serde_json::to_value(binding::definition()).unwrap();
    let schema = |path: &str| -> Value {
        let mut at = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
        for step in path.split('.') {
            at = if step == "[]" { &at["items"] } else { &at["properties"][step] };
        }
        at.clone()
    };
    let unknown = |path: &str, mut whole: Value| -> Vec<&'static str> {
        whole = with(whole, path, Some(json!("?")));
        match spec(whole) {
            Err(SpecError { problem: ValueProblem::NotOneOf { allowed, .. }, .. }) => {
                let mut allowed = allowed.to_vec();
                allowed.sort_unstable();
                allowed
            }
            other => panic!("{path}: {other:?}"),
        }
    };
    let whole =
        with(smallest(), "containerDiscriminator", Some(json!({"type": "ContainerName", "value": "vllm"})));
    for path in ["targetRef.kind", "targetRef.group", "mode", "selectorSource", "containerDiscriminator.type"]
    {
        let declared = schema(path)["enum"].clone();
        let mut declared: Vec<&str> = declared.as_array().unwrap().iter().filter_map(Value::as_str).collect();
        declared.sort_unstable();
        assert_eq!(unknown(path, whole.clone()), declared, "{path}");
    }
    let bounds = |path: &str, min: &str, max: &str| {
        let schema = schema(path);
        (schema[min].as_u64().unwrap(), schema[max].as_u64().unwrap())
    };
    assert_eq!(bounds("spiffeIDTemplate", "minLength", "maxLength"), (1, 1024));
    assert_eq!(bounds("workloadSelectorTemplates", "minItems", "maxItems"), (1, 32));
    assert_eq!(bounds("workloadSelectorTemplates.[]", "minLength", "maxLength"), (1, 512));
    assert_eq!(bounds("containerDiscriminator.value", "minLength", "maxLength"), (1, 512));
    assert_eq!(bounds("targetRef.name", "minLength", "maxLength"), (1, 253));
    assert_eq!(schema("mode")["default"], json!(Mode::PerObjective.as_str()));
    assert_eq!(schema("targetRef.kind")["default"], json!("InferenceObjective"));
}
