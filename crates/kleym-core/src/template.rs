//! Strict placeholder templates: `{{ .Namespace }}` and seven others, with Go's trim dashes, and nothing else.
//!
//! On purpose no template language: spire-controller-manager executes the strings it receives over live cluster
//! data, and a full engine in the operator would let one binding exhaust its memory. One pass; what was substituted
//! is never scanned again.

use std::fmt;

use crate::text::{Quoted, quoted_list};

/// A placeholder of the closed list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Placeholder {
    /// `.Namespace`: the binding's namespace.
    Namespace,
    /// `.BindingName`
    BindingName,
    /// `.ObjectiveName`: the objective's name; no value when the target is a pool.
    ObjectiveName,
    /// `.PoolName`: the resolved pool's name.
    PoolName,
    /// `.Mode`: `PoolOnly` or `PerObjective`.
    Mode,
    /// `.ContainerDiscriminatorType`: no value in PoolOnly.
    ContainerDiscriminatorType,
    /// `.ContainerDiscriminatorValue`: no value in PoolOnly.
    ContainerDiscriminatorValue,
    /// `.TrustDomain`: the configured trust domain.
    TrustDomain,
}

impl Placeholder {
    /// All of them, in the order in which messages list them.
    pub const ALL: [Placeholder; 8] = [
        Placeholder::Namespace,
        Placeholder::BindingName,
        Placeholder::ObjectiveName,
        Placeholder::PoolName,
        Placeholder::Mode,
        Placeholder::ContainerDiscriminatorType,
        Placeholder::ContainerDiscriminatorValue,
        Placeholder::TrustDomain,
    ];

    /// The placeholder as it stands in a template, with its dot.
    pub const fn as_str(self) -> &'static str {
        match self {
            Placeholder::Namespace => ".Namespace",
            Placeholder::BindingName => ".BindingName",
            Placeholder::ObjectiveName => ".ObjectiveName",
            Placeholder::PoolName => ".PoolName",
            Placeholder::Mode => ".Mode",
            Placeholder::ContainerDiscriminatorType => ".ContainerDiscriminatorType",
            Placeholder::ContainerDiscriminatorValue => ".ContainerDiscriminatorValue",
            Placeholder::TrustDomain => ".TrustDomain",
        }
    }
}

/// Why a template cannot be parsed or rendered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TemplateError {
    /// `{{` without `}}`.
    Unclosed,
    /// `}}` without `{{`.
    Unopened,
    /// Something between `{{` and `}}` that is not one placeholder of the list.
    NoPlaceholder(String),
    /// A known placeholder that has no value here.
    NoValue(Placeholder),
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TemplateError::Unclosed => f.write_str("has a `{{` that is not closed by `}}`"),
            TemplateError::Unopened => f.write_str("has a `}}` without a `{{` before it"),
            TemplateError::NoPlaceholder(found) => {
                let known = quoted_list(Placeholder::ALL.map(Placeholder::as_str));
                write!(f, "holds {}, which is no placeholder; the known ones are {known}", Quoted(found))
            }
            TemplateError::NoValue(placeholder) => {
                let why = match placeholder {
                    Placeholder::ObjectiveName => "the target is a pool",
                    _ => "the mode is PoolOnly",
                };
                let known = quoted_list(Placeholder::ALL.map(Placeholder::as_str));
                write!(
                    f,
                    "uses `{}`, which has no value here because {why}; the known placeholders are {known}",
                    placeholder.as_str()
                )
            }
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Part<'a> {
    Literal(&'a str),
    Placeholder(Placeholder),
}

/// A parsed template, borrowing its source.
#[derive(Debug, PartialEq, Eq)]
pub struct Template<'a>(Vec<Part<'a>>);

/// What Go's template lexer calls space.
const SPACE: [char; 4] = [' ', '\t', '\r', '\n'];

impl<'a> Template<'a> {
    /// Parses a template.
    ///
    /// # Errors
    /// A lone `{{` or `}}`, or an action that is not one placeholder of the closed list.
    pub fn parse(source: &'a str) -> Result<Self, TemplateError> {
        let mut parts = Vec::new();
        let mut rest = source;
        let mut trim_start = false;
        loop {
            let (literal, action) = match rest.split_once("{{") {
                None => (rest, None),
                Some((literal, after)) => {
                    (literal, Some(after.split_once("}}").ok_or(TemplateError::Unclosed)?))
                }
            };
            if literal.contains("}}") {
                return Err(TemplateError::Unopened);
            }
            let mut literal = if trim_start { literal.trim_start_matches(SPACE) } else { literal };
            let Some((inside, after)) = action else {
                parts.push(Part::Literal(literal));
                return Ok(Self(parts));
            };
            let (inside, trims_left, trims_right) = without_trim_dashes(inside);
            if trims_left {
                literal = literal.trim_end_matches(SPACE);
            }
            let word = inside.trim_matches(SPACE);
            let placeholder = Placeholder::ALL.into_iter().find(|p| p.as_str() == word);
            parts.push(Part::Literal(literal));
            parts.push(Part::Placeholder(
                placeholder.ok_or_else(|| TemplateError::NoPlaceholder(word.to_owned()))?,
            ));
            trim_start = trims_right;
            rest = after;
        }
    }

    /// Renders the template in one pass.
    ///
    /// # Errors
    /// A placeholder for which `values` has none.
    pub fn render<'v>(
        &self,
        values: impl Fn(Placeholder) -> Option<&'v str>,
    ) -> Result<String, TemplateError> {
        let mut text = String::new();
        for part in &self.0 {
            match part {
                Part::Literal(literal) => text.push_str(literal),
                Part::Placeholder(p) => text.push_str(values(*p).ok_or(TemplateError::NoValue(*p))?),
            }
        }
        Ok(text)
    }
}

/// Takes Go's trim markers off an action: `{{- ` and ` -}}`, each only with a blank beside the dash.
fn without_trim_dashes(inside: &str) -> (&str, bool, bool) {
    let (inside, left) = match inside.strip_prefix('-') {
        Some(after) if after.starts_with(SPACE) => (after, true),
        _ => (inside, false),
    };
    let (inside, right) = match inside.strip_suffix('-') {
        Some(before) if before.ends_with(SPACE) => (before, true),
        _ => (inside, false),
    };
    (inside, left, right)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(source: &str) -> Result<String, TemplateError> {
        Template::parse(source)?.render(|p| match p {
            Placeholder::Namespace => Some("llm"),
            Placeholder::PoolName => Some("llama"),
            Placeholder::BindingName => Some("{{.PoolName}}"),
            _ => None,
        })
    }

    #[test]
    fn placeholders_are_replaced_and_blanks_allowed() {
        for source in ["{{.Namespace}}", "{{ .Namespace }}", "{{\t.Namespace\n}}"] {
            assert_eq!(render(source), Ok("llm".into()), "{source}");
        }
        assert_eq!(render("k8s:ns:{{ .Namespace }}/{{.PoolName}}!"), Ok("k8s:ns:llm/llama!".into()));
        assert_eq!(render(""), Ok(String::new()));
    }

    #[test]
    fn what_was_substituted_is_never_scanned_again() {
        assert_eq!(render("{{.BindingName}}"), Ok("{{.PoolName}}".into()));
    }

    #[test]
    fn trim_dashes_mean_what_they_mean_in_go() {
        assert_eq!(render("a \n {{- .Namespace -}} \t b"), Ok("allmb".into()));
        assert_eq!(render("a {{- .Namespace }} b"), Ok("allm b".into()));
        assert_eq!(render("{{ .Namespace -}}   {{- .PoolName }}"), Ok("llmllama".into()));
        for source in ["{{-.Namespace}}", "{{.Namespace-}}", "{{-.Namespace-}}", "{{- -}}", "{{ - }}"] {
            assert!(matches!(render(source), Err(TemplateError::NoPlaceholder(_))), "{source}");
        }
    }

    #[test]
    fn lone_braces_are_refused() {
        for (source, error) in [
            ("{{", TemplateError::Unclosed),
            ("{{ .Namespace", TemplateError::Unclosed),
            ("{{-", TemplateError::Unclosed),
            ("}}", TemplateError::Unopened),
            ("{{ .Namespace }}}}", TemplateError::Unopened),
            ("a}} {{ .Namespace }}", TemplateError::Unopened),
        ] {
            assert_eq!(render(source), Err(error), "{source}");
        }
    }

    #[test]
    fn there_are_no_functions_pipes_comments_or_nesting() {
        for source in [
            "{{}}",
            "{{ }}",
            "{{.}}",
            "{{.namespace}}",
            "{{.Namespace.Name}}",
            "{{.Namespace | printf}}",
            "{{printf \"%d\" 1}}",
            "{{/* comment */}}",
            "{{if .Mode}}",
            "{{ {{.Namespace}} }}",
            "{{ .Namespace .PoolName }}",
            "{{ .Unknown }}",
            "{{{.Namespace}}}",
        ] {
            assert!(matches!(render(source), Err(TemplateError::NoPlaceholder(_))), "{source}");
        }
    }

    #[test]
    fn a_placeholder_without_a_value_is_an_error_that_lists_the_known_ones() {
        let error = render("{{ .ContainerDiscriminatorValue }}").unwrap_err();
        assert_eq!(error, TemplateError::NoValue(Placeholder::ContainerDiscriminatorValue));
        assert!(error.to_string().contains("`.TrustDomain`"), "{error}");
    }

    #[test]
    fn a_million_placeholders_take_one_pass() {
        let source = "{{.Namespace}}".repeat(1_000_000);
        assert_eq!(render(&source).unwrap().len(), 3_000_000);
    }
}
