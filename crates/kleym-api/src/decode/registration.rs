//! A ClusterSPIFFEID as spire-controller-manager reads it, whoever wrote it: every field that it acts on, and what it would
//! stumble over.

use kleym_core::output::LABEL_CLASS_NAME;
use kleym_core::spiffe::TrustDomain;
use kleym_core::spire::{LabelRule, Operator, Problem, Registration, RuleError, Selector};
use serde_json::Value;

use super::meta::Meta;
use super::value::{excerpt, optional};
use super::{DecodeError, duration, name};

/// Decodes a ClusterSPIFFEID.
///
/// # Errors
/// Only when it has no valid name.
pub fn registration(object: &Value) -> Result<Registration, DecodeError> {
    let meta = Meta::of(object);
    let spec = object.get("spec");
    let field = |field: &str| optional(spec?.get(field));
    let text = |name: &str| field(name).and_then(Value::as_str).unwrap_or_default();
    let texts = |name: &str| {
        let items = field(name).and_then(Value::as_array).into_iter().flatten();
        items.filter_map(Value::as_str)
    };
    let mut read = Registration::of_templates(text("spiffeIDTemplate"), texts("workloadSelectorTemplates"));
    let broken_names = Registration::of_templates("-", texts("dnsNameTemplates")).problem;
    let namespaces = field("namespaceSelector").map(selector).transpose();
    let pods = field("podSelector").map(selector).transpose();
    let federation = texts("federatesWith").find(|name| !is_trust_domain(name));
    let durations = ["ttl", "jwtTtl"].into_iter().filter_map(|name| Some((name, field(name)?)));
    let poison = durations.into_iter().find(|(_, value)| !is_duration(value));
    let problems = [
        poison.map(|(name, value)| Problem::Poison {
            field: format!("spec.{name}").into(),
            value: value.as_str().map_or_else(|| excerpt(&value.to_string()), excerpt),
        }),
        read.problem.take(),
        namespaces.as_ref().err().cloned().map(Problem::Selector),
        pods.as_ref().err().cloned().map(Problem::Selector),
        federation.map(|name| Problem::Federation(excerpt(name))),
        broken_names,
    ];
    Ok(Registration {
        name: name(object)?.as_str().into(),
        uid: meta.uid(),
        created: meta.created(),
        // Terminating, whenever that is to be over.
        deletion: meta.deleting().then(|| meta.deletion().unwrap_or(i64::MAX)),
        class_name: text("className").into(),
        class_label: meta.label(LABEL_CLASS_NAME).map(Into::into),
        fallback: field("fallback").and_then(Value::as_bool).unwrap_or_default(),
        hint: text("hint").into(),
        namespaces: namespaces.ok().flatten(),
        pods: pods.ok().flatten(),
        problem: problems.into_iter().flatten().next(),
        ..read
    })
}

fn is_duration(value: &Value) -> bool {
    value.as_str().is_some_and(duration::is_go_duration)
}

/// A name, or the ID of the domain itself (go-spiffe's `TrustDomainFromString`).
fn is_trust_domain(text: &str) -> bool {
    let name = text.strip_prefix("spiffe://").map_or(text, |rest| rest.split('/').next().unwrap_or_default());
    TrustDomain::parse(name).is_ok()
}

fn selector(value: &Value) -> Result<Selector, RuleError> {
    let wrong = |field: &str| RuleError::Type(field.into());
    let labels = match optional(value.get("matchLabels")) {
        None => Vec::new(),
        Some(Value::Object(labels)) => labels.iter().collect(),
        Some(_) => return Err(wrong("matchLabels")),
    };
    let labels = labels.into_iter().map(|(key, value)| {
        let value = value.as_str().ok_or_else(|| wrong(key))?;
        LabelRule::new(key, Operator::In, [value])
    });
    let expressions = match optional(value.get("matchExpressions")) {
        None => &[][..],
        Some(Value::Array(expressions)) => expressions,
        Some(_) => return Err(wrong("matchExpressions")),
    };
    let expressions = expressions.iter().map(|expression| {
        let text = |field: &str| optional(expression.get(field)).and_then(Value::as_str).unwrap_or_default();
        let values = optional(expression.get("values")).and_then(Value::as_array).into_iter().flatten();
        let operator = text("operator");
        let operator = Operator::parse(operator).ok_or_else(|| RuleError::Operator(excerpt(operator)))?;
        LabelRule::new(text("key"), operator, values.filter_map(Value::as_str))
    });
    Ok(Selector::new(labels.chain(expressions).collect::<Result<Vec<_>, _>>()?))
}
