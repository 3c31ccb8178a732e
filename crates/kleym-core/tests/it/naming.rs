//! What is derived from names is valid and tells every two bindings apart, whatever they are called.

use std::collections::BTreeMap;

use kleym_core::name::{BindingKey, ObjectName, binding_name_label, check_label_value, hint, output_name};
use proptest::prelude::{Strategy, prop_oneof, proptest};
use proptest::sample::select;

use crate::obligations::{label_part, subdomain};
use crate::world::{binding, cases, key};

/// Cuts a text to a length and makes its end a letter, so that a valid name stays one.
fn fitted(text: &str, length: usize) -> String {
    let mut text = text.repeat(length / text.len() + 1);
    text.truncate(length);
    if !text.ends_with(|c: char| c.is_ascii_alphanumeric()) {
        text.pop();
        // After a dot a part begins anew, so any letter may follow; before one, any may stand.
        text.push('z');
    }
    text
}

/// Namespaces and names, often of a length at which something is cut, of few characters so that prefixes are shared.
fn key_text() -> impl Strategy<Value = (String, String)> {
    let namespace = prop_oneof![
        3 => "[ab](-?[ab]){0,4}",
        1 => ("[ab]-?[ab]", select(&[1_usize, 62, 63])).prop_map(|(text, length)| fitted(&text, length)),
    ];
    let name = prop_oneof![
        3 => "[ab]([-.]?[ab]){0,4}",
        2 => ("[ab]([-.]?[ab]){1,3}", select(&[45_usize, 46, 47, 63, 64, 150, 191, 192, 213, 220, 252, 253]))
            .prop_map(|(text, length)| fitted(&text, length)),
    ];
    (namespace, name)
}

proptest! {
    #![proptest_config(cases(4000))]

    #[test]
    fn derived_names_are_valid(
        (namespace, binding) in key_text(),
        instance in "[A-Za-z0-9]([-_.A-Za-z0-9]{0,61}[A-Za-z0-9])?",
    ) {
        let key = key(&namespace, &binding);
        let output = output_name(&instance, &key);
        assert!(subdomain(output.as_str()), "{output}");
        assert_eq!(ObjectName::parse(output.as_str()), Ok(output));
        let label = binding_name_label(&key.name);
        assert!(label_part(&label) && check_label_value(&label).is_ok(), "{label}");
        assert!(hint(&key).len() <= 255);
    }

    #[test]
    fn derived_names_tell_any_two_bindings_and_instances_apart(
        keys in proptest::collection::vec(key_text(), 2..20),
        instances in [select(&["default", "a", "b"]), select(&["default", "a", "b"])],
    ) {
        let mut outputs: BTreeMap<String, (&str, BindingKey)> = BTreeMap::new();
        let mut hints: BTreeMap<String, BindingKey> = BTreeMap::new();
        let mut labels: BTreeMap<String, ObjectName> = BTreeMap::new();
        for (namespace, binding) in &keys {
            let key = key(namespace, binding);
            for instance in instances {
                let output = output_name(instance, &key).to_string();
                let was = outputs.insert(output, (instance, key.clone()));
                assert!(was.is_none_or(|was| was == (instance, key.clone())), "{key}");
            }
            assert!(hints.insert(hint(&key), key.clone()).is_none_or(|was| was == key), "{key}");
            let label = binding_name_label(&key.name);
            assert!(labels.insert(label, key.name.clone()).is_none_or(|was| was == key.name), "{key}");
        }
    }

    /// Default SPIFFE IDs are injective over namespace, mode and subject.
    #[test]
    fn default_ids_tell_any_two_subjects_apart(
        keys in proptest::collection::vec(key_text(), 2..10),
        per_objective in proptest::collection::vec(proptest::bool::ANY, 10),
    ) {
        let mut ids = BTreeMap::new();
        for ((namespace, subject), per_objective) in keys.iter().zip(per_objective) {
            let mut declared = binding("b");
            declared.0.key = key(namespace, "b");
            // Pools in PoolOnly, objectives in PerObjective.
            declared = if per_objective { declared.objective(subject) } else { declared.pool_only() };
            let of = (namespace.clone(), per_objective, subject.clone());
            let pool = if per_objective { "llama" } else { subject };
            let Ok(identity) = declared.render_in(pool, &[("app", "llama")]) else {
                assert!(subject.len() + namespace.len() > 200, "a default ID fails for its length alone");
                continue;
            };
            let id = identity.spiffe_id.as_str().to_lowercase();
            assert!(ids.insert(id, of.clone()).is_none_or(|was| was == of), "{of:?}");
        }
    }
}
