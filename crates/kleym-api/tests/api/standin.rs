//! The stand-ins for foreign definitions, compared with the real ones where these are at hand.

use std::path::Path;

use kleym_api::standin;
use kleym_core::kind::{Kind, ObjectiveGroup};
use serde_json::Value;

/// A definition without what a stand-in need not share: texts for people, annotations, state.
fn bare(mut definition: Value) -> Value {
    let fields = definition.as_object_mut().unwrap();
    fields.remove("status");
    fields["metadata"].as_object_mut().unwrap().remove("annotations");
    for version in definition["spec"]["versions"].as_array_mut().unwrap() {
        strip(&mut version["schema"]["openAPIV3Schema"]);
    }
    definition
}

/// Takes the texts out of a schema; a property that happens to be called `description` stays.
fn strip(schema: &mut Value) {
    let Some(fields) = schema.as_object_mut() else { return };
    fields.remove("description");
    if let Some(rules) = fields.get_mut("x-kubernetes-validations") {
        for rule in rules.as_array_mut().unwrap() {
            rule.as_object_mut().unwrap().remove("message");
        }
    }
    if let Some(properties) = fields.get_mut("properties") {
        properties.as_object_mut().unwrap().values_mut().for_each(strip);
    }
    for key in ["items", "additionalProperties"] {
        if let Some(inner) = fields.get_mut(key) {
            strip(inner);
        }
    }
    // Written as a whole number there, held as floating point here.
    for key in ["minimum", "maximum"] {
        if let Some(bound) = fields.get_mut(key) {
            *bound = bound.as_f64().unwrap().into();
        }
    }
}

fn standin_of(kind: Kind) -> Value {
    serde_json::to_value(standin::definition(kind).unwrap()).unwrap()
}

#[test]
fn every_foreign_kind_has_a_stand_in_that_serves_the_version_we_use() {
    for kind in standin::kinds() {
        let definition = standin::definition(kind).unwrap();
        assert_eq!(definition.metadata.name, Some(kind.crd_name()));
        assert_eq!(definition.spec.group, kind.group());
        assert_eq!(definition.spec.names.kind, kind.kind());
        assert_eq!(definition.spec.names.plural, kind.plural());
        assert_eq!(definition.spec.scope == "Namespaced", kind.namespaced(), "{kind}");
        let versions: Vec<_> = definition.spec.versions.iter().map(|version| &version.name).collect();
        assert_eq!(versions, [kind.version()], "{kind}");
    }
    assert_eq!(standin::definition(Kind::Binding), None);
}

#[test]
fn a_stand_in_has_the_schema_of_the_real_definition() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/crds");
    if !folder.is_dir() {
        eprintln!("not compared: there are no real definitions in `../shared/crds`");
        return;
    }
    for kind in standin::kinds().filter(|kind| standin::is_shipped(*kind)) {
        let project = if kind == Kind::Output { "spire" } else { "gaie" };
        let file = folder.join(project).join(format!("{}_{}.yaml", kind.group(), kind.plural()));
        let text =
            std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let real: Value = serde_saphyr::from_str(&text).unwrap();
        let (real, standin) = (bare(real), bare(standin_of(kind)));
        assert!(real == standin, "{kind}\nreal: {real:#}\nstand-in: {standin:#}");
    }
}

#[test]
fn the_objective_that_nobody_ships_is_the_objective_of_the_other_groups() {
    let schema = |kind: Kind| standin_of(kind)["spec"]["versions"][0]["schema"].clone();
    let shipped = Kind::Objective(ObjectiveGroup::LlmD);
    let unshipped = Kind::Objective(ObjectiveGroup::Inference);
    assert!(standin::is_shipped(shipped) && !standin::is_shipped(unshipped));
    assert_eq!(unshipped.api_version(), "inference.networking.k8s.io/v1");
    assert_eq!(schema(unshipped), schema(shipped));
}

#[test]
fn a_stand_in_holds_no_text_of_others() {
    fn check(value: &Value) {
        match value {
            Value::Object(fields) => fields.iter().for_each(|(key, value)| {
                assert_ne!(key, "description");
                check(value);
            }),
            Value::Array(items) => items.iter().for_each(check),
            _ => {}
        }
    }
    standin::kinds().for_each(|kind| check(&standin_of(kind)));
}
