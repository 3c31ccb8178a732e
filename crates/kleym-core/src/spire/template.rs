//! A strict reader for the few Go templates whose meaning is plain: literal text, the fields that ClusterSPIFFEIDs are made
//! of, and `index` of a label. Everything else (functions, pipes, conditions, trim marks, comments) is opaque: its result is
//! unknown, never guessed.
//!
//! Source: Go's text/template without functions or options, over `TrustDomain ClusterName ClusterDomain PodMeta PodSpec
//! NodeMeta NodeSpec` (`scm: pkg/spireentry/entries.go, templateData`).

use super::fact::{Node, Pod};
use crate::output::Pairs;

/// A template, read once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Template {
    /// Its meaning is plain.
    Plain(Box<[Part]>),
    /// Go may do with it what it likes.
    Opaque,
    /// Go cannot parse it: a `{{` that nothing closes.
    Broken,
}

/// A part of a plain template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// Text as it is.
    Text(Box<str>),
    /// A value.
    Value(Field),
}

/// A value that is put in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Field {
    /// `.TrustDomain`
    TrustDomain,
    /// `.ClusterName`
    ClusterName,
    /// `.ClusterDomain`
    ClusterDomain,
    /// `.PodMeta.Namespace`
    PodNamespace,
    /// `.PodMeta.Name`
    PodName,
    /// `.PodMeta.UID`
    PodUid,
    /// `.PodSpec.ServiceAccountName`
    ServiceAccount,
    /// `.PodSpec.NodeName`
    PodNodeName,
    /// `.NodeMeta.Name`
    NodeName,
    /// `.NodeMeta.UID`
    NodeUid,
    /// `index .PodMeta.Labels "key"`, or `.PodMeta.Labels.key`
    PodLabel(Label),
    /// `index .NodeMeta.Labels "key"`, or `.NodeMeta.Labels.key`
    NodeLabel(Label),
}

/// A label that is put in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    key: Box<str>,
    /// What a missing key prints: `index` gives the empty text, a field of a map `<no value>` (Go's text/template).
    missing: &'static str,
}

/// What a template gives for one pod.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rendered {
    /// This text.
    Text(Box<str>),
    /// It cannot be told.
    Unknown,
}

impl Rendered {
    /// The text, when it is known.
    pub fn text(&self) -> Option<&str> {
        match self {
            Rendered::Text(text) => Some(text),
            Rendered::Unknown => None,
        }
    }
}

/// What a template is rendered over. What is None is not known.
#[derive(Debug, Clone, Copy)]
pub struct Data<'a> {
    /// SCM's trust domain.
    pub trust_domain: Option<&'a str>,
    /// SCM's cluster name.
    pub cluster_name: Option<&'a str>,
    /// SCM's cluster domain.
    pub cluster_domain: Option<&'a str>,
    /// The pod; none for a parent ID.
    pub pod: Option<&'a Pod>,
    /// The pod's node.
    pub node: Option<&'a Node>,
}

impl Template {
    /// Reads a template.
    pub fn parse(text: &str) -> Self {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{") {
            if !before.is_empty() {
                parts.push(Part::Text(before.into()));
            }
            // Where nothing closes an action at all, Go stops with "unclosed action", whatever stands in it.
            let Some((action, after)) = after.split_once("}}") else { return Template::Broken };
            match Field::parse(action) {
                Some(field) => parts.push(Part::Value(field)),
                None => return Template::Opaque,
            }
            rest = after;
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.into()));
        }
        Template::Plain(parts.into())
    }

    /// The template that is this text and nothing else, when it holds no action.
    pub fn literal(&self) -> Option<&str> {
        match self {
            Template::Plain(parts) => match &**parts {
                [] => Some(""),
                [Part::Text(text)] => Some(text),
                _ => None,
            },
            Template::Opaque | Template::Broken => None,
        }
    }

    /// What it gives.
    pub fn render(&self, data: Data<'_>) -> Rendered {
        let Template::Plain(parts) = self else { return Rendered::Unknown };
        let mut text = String::new();
        for part in parts {
            match part {
                Part::Text(literal) => text.push_str(literal),
                Part::Value(field) => match field.value(data) {
                    Some(value) => text.push_str(value),
                    None => return Rendered::Unknown,
                },
            }
        }
        Rendered::Text(text.into())
    }
}

impl Field {
    fn parse(action: &str) -> Option<Self> {
        let blank = |c: char| matches!(c, ' ' | '\t' | '\r' | '\n');
        let action = action.trim_matches(blank);
        if let Some(arguments) = action.strip_prefix("index") {
            let (map, key) = arguments.strip_prefix(blank)?.trim_start_matches(blank).split_once(blank)?;
            let key = key.trim_matches(blank);
            let quoted = |mark: char| key.strip_prefix(mark)?.strip_suffix(mark);
            let key = quoted('"').or_else(|| quoted('`'))?;
            let plain = !key.is_empty()
                && key.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'"' | b'`' | b'\\'));
            let label = Label { key: key.into(), missing: "" };
            return match map {
                ".PodMeta.Labels" if plain => Some(Field::PodLabel(label)),
                ".NodeMeta.Labels" if plain => Some(Field::NodeLabel(label)),
                _ => None,
            };
        }
        let of_map = |prefix: &str| {
            let key = action.strip_prefix(prefix)?;
            let name = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
            let starts = key.bytes().next().is_some_and(|b| !b.is_ascii_digit());
            (starts && key.bytes().all(name)).then(|| Label { key: key.into(), missing: "<no value>" })
        };
        Some(match action {
            ".TrustDomain" => Field::TrustDomain,
            ".ClusterName" => Field::ClusterName,
            ".ClusterDomain" => Field::ClusterDomain,
            ".PodMeta.Namespace" => Field::PodNamespace,
            ".PodMeta.Name" => Field::PodName,
            ".PodMeta.UID" => Field::PodUid,
            ".PodSpec.ServiceAccountName" => Field::ServiceAccount,
            ".PodSpec.NodeName" => Field::PodNodeName,
            ".NodeMeta.Name" => Field::NodeName,
            ".NodeMeta.UID" => Field::NodeUid,
            _ => {
                return of_map(".PodMeta.Labels.")
                    .map(Field::PodLabel)
                    .or_else(|| of_map(".NodeMeta.Labels.").map(Field::NodeLabel));
            }
        })
    }

    fn value<'a>(&'a self, data: Data<'a>) -> Option<&'a str> {
        let label = |label: &'a Label, labels: &'a Pairs| {
            labels.get(&label.key).map_or(label.missing, |value| &**value)
        };
        match self {
            Field::TrustDomain => data.trust_domain,
            Field::ClusterName => data.cluster_name,
            Field::ClusterDomain => data.cluster_domain,
            Field::PodNamespace => Some(data.pod?.namespace.as_str()),
            Field::PodName => Some(data.pod?.name.as_str()),
            Field::PodUid => Some(data.pod?.uid.as_ref()?.as_str()),
            Field::ServiceAccount => Some(&data.pod?.service_account),
            Field::PodNodeName => data.pod?.node_name.as_deref(),
            Field::NodeName => Some(&data.node?.name),
            Field::NodeUid => Some(data.node?.uid.as_ref()?.as_str()),
            Field::PodLabel(key) => Some(label(key, &data.pod?.labels)),
            Field::NodeLabel(key) => Some(label(key, &data.node?.labels)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(template: &str) -> Rendered {
        let node = Node {
            name: "gpu-14".into(),
            uid: None,
            labels: [("zone".into(), "a".into())].into(),
            taints: Box::default(),
        };
        let data = Data {
            trust_domain: Some("example.org"),
            cluster_name: Some("prod"),
            cluster_domain: None,
            pod: None,
            node: Some(&node),
        };
        Template::parse(template).render(data)
    }

    fn text(text: &str) -> Rendered {
        Rendered::Text(text.into())
    }

    #[test]
    fn plain_fields_are_put_in() {
        for (template, result) in [
            ("spiffe://{{ .TrustDomain }}/x", "spiffe://example.org/x"),
            ("{{.ClusterName}}{{\n.TrustDomain\t}}", "prodexample.org"),
            ("{{ index .NodeMeta.Labels \"zone\" }}", "a"),
            ("{{ index .NodeMeta.Labels `zone` }}", "a"),
            ("{{ .NodeMeta.Labels.zone }}", "a"),
            ("[{{ index .NodeMeta.Labels \"topology.kubernetes.io/zone\" }}]", "[]"),
            ("{{ .NodeMeta.Labels.rack }}", "<no value>"),
            ("a}}b", "a}}b"),
            ("{{ .NodeMeta.Name }}", "gpu-14"),
        ] {
            assert_eq!(render(template), text(result), "{template}");
        }
    }

    #[test]
    fn everything_else_is_unknown() {
        for template in [
            "{{ .ClusterDomain }}",
            "{{ .NodeMeta.UID }}",
            "{{ .PodMeta.Name }}",
            "{{- .TrustDomain -}}",
            "{{ .TrustDomain | printf \"%s\" }}",
            "{{ if true }}x{{ end }}",
            "{{/* x */}}",
            "{{ index .NodeMeta.Labels \"a\\\"b\" }}",
            "{{ index .NodeMeta.Labels \"a}}b\" }}",
            "{{ index .NodeMeta.Annotations \"a\" }}",
            "{{ .NodeMeta.Labels.a-b }}",
            "{{ .PodMeta.Labels.a.b }}",
            "{{ }}",
            "{{ .trustDomain }}",
            "{{",
        ] {
            assert_eq!(render(template), Rendered::Unknown, "{template}");
        }
    }

    #[test]
    fn an_action_that_nothing_closes_is_broken() {
        assert_eq!(Template::parse("a{{ .TrustDomain }b"), Template::Broken);
        assert_eq!(Template::parse("a}}{{x}}").literal(), None);
        assert_eq!(Template::parse("spiffe://a/b").literal(), Some("spiffe://a/b"));
    }
}
