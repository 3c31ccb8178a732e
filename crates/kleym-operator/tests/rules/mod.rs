//! Rules of the contract's sections 7 and 9, read from objects as they stand on the wire; told a second time, from the
//! contract alone. What the simulator and the tests on a real API server are checked by.

use kleym_core::name::{BindingKey, Namespace, ObjectName, output_name};
use kleym_core::render::Identity;
use serde_json::Value;

/// The proofs that an output carries.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Proofs<'a> {
    managed: bool,
    instance: Option<&'a str>,
    /// `<namespace>/<name>`
    pub(crate) binding: Option<&'a str>,
    /// The uid of the binding.
    pub(crate) uid: Option<&'a str>,
}

/// Whose an output at a binding's own name is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whose {
    /// The binding's.
    Ours,
    /// A former incarnation's.
    Orphan,
    /// Somebody else's.
    Foreign,
}

impl<'a> Proofs<'a> {
    /// Reads them.
    pub(crate) fn of(output: &'a Value) -> Self {
        let metadata = &output["metadata"];
        let label = |key: &str| metadata["labels"][key].as_str();
        let annotation = |key: &str| metadata["annotations"][key].as_str();
        Self {
            managed: label("kleym.sonda.red/managed-by") == Some("kleym"),
            instance: label("kleym.sonda.red/instance"),
            binding: annotation("kleym.sonda.red/binding"),
            uid: annotation("kleym.sonda.red/binding-uid"),
        }
    }

    /// Whose it is at the name of a living binding.
    pub(crate) fn whose(&self, key: &BindingKey, uid: &str) -> Whose {
        let named = self.binding == Some(key.to_string().as_str());
        match self.uid {
            Some(other) if other != uid => {
                if self.managed && named {
                    Whose::Orphan
                } else {
                    Whose::Foreign
                }
            }
            Some(_) if self.managed || named => Whose::Ours,
            None if self.managed && named => Whose::Ours,
            _ => Whose::Foreign,
        }
    }

    /// Namespace and name of the binding that it provably was written for, by an operator of this instance.
    pub(crate) fn complete(&self, instance: &str, name: &str) -> Option<(&'a str, &'a str)> {
        let (namespace, binding) = self.binding?.split_once('/')?;
        let key = BindingKey::new(Namespace::parse(namespace).ok()?, ObjectName::parse(binding).ok()?);
        let complete = self.managed && self.instance == Some(instance) && self.uid.is_some();
        (complete && output_name(instance, &key).to_string() == name).then_some((namespace, binding))
    }
}

/// Whether an output selects no namespace that can exist.
pub(crate) fn is_neutral(output: &Value) -> bool {
    let pin = &output["spec"]["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"];
    pin.as_str().is_some_and(|namespace| namespace.contains('.'))
}

/// What an output or an identity claims: SPIFFE ID and selectors, and the identity that it is of, when that is known.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Claim<'a> {
    /// The SPIFFE ID.
    pub(crate) id: &'a str,
    /// The selectors.
    pub(crate) items: &'a [String],
    /// What it is of.
    pub(crate) of: Option<&'a Identity>,
}

/// The selectors of an output.
pub(crate) fn items(output: &Value) -> Vec<String> {
    let list = output["spec"]["workloadSelectorTemplates"].as_array();
    list.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// Whether two claims of one namespace cannot both stand for long. What is not known of a claim counts against it.
pub(crate) fn overlap(a: Claim<'_>, b: Claim<'_>) -> bool {
    let moved = a.of.zip(b.of).is_some_and(|(a, b)| {
        a.subject == b.subject && (a.pool.name != b.pool.name || a.pool.labels != b.pool.labels)
    });
    overlap_in_passing(a, b) || (moved && a.id.eq_ignore_ascii_case(b.id))
}

/// Whether two claims of one namespace cannot both stand for a moment. A subject that is moved to another pool keeps its
/// name and its SPIFFE ID; its bindings may be rewritten one after another.
pub(crate) fn overlap_in_passing(a: Claim<'_>, b: Claim<'_>) -> bool {
    let of = || Some((a.of?, b.of?));
    if a.id.eq_ignore_ascii_case(b.id) && of().is_none_or(|(a, b)| a.subject != b.subject) {
        return true;
    }
    let compete = of().is_none_or(|(a, b)| {
        a.mode == b.mode || a.pool.name != b.pool.name || a.pool.labels != b.pool.labels
    });
    compete && a.id != b.id && !apart(a.items, b.items)
}

/// Whether a key that proves two sets disjoint has different values in them.
pub(crate) fn apart(a: &[String], b: &[String]) -> bool {
    a.iter().filter_map(|item| proving(item)).any(|(key, value)| {
        b.iter().filter_map(|item| proving(item)).any(|(other, theirs)| key == other && value != theirs)
    })
}

/// Key and value of an item that can prove disjointness.
fn proving(item: &str) -> Option<(&str, &str)> {
    let rest = item.strip_prefix("k8s:")?;
    if let Some(label) = rest.strip_prefix("pod-label:") {
        let at = item.len() - label.len() + label.find(':')?;
        return Some((&item[..at], &item[at + 1..]));
    }
    let (key, value) = rest.split_once(':')?;
    match key {
        "sa" | "container-name" | "node-name" | "pod-name" => Some((key, value)),
        "container-image" => {
            let (name, tag) = value.rsplit('/').next()?.split_once(':')?;
            (!value.contains('@') && name != "sha256" && !tag.is_empty()).then_some((key, value))
        }
        _ => None,
    }
}
