//! Label selectors as they are typed after `-l`, with kubectl's grammar.

use kleym_core::label::{LabelKey, LabelValue};
use kleym_core::output::Pairs;
use kleym_core::text::Quoted;

use crate::args;
use crate::exit::Failure;

/// A label selector: every requirement must hold.
#[derive(Debug, Default)]
pub(crate) struct Labels(Vec<Requirement>);

#[derive(Debug, PartialEq, Eq)]
enum Requirement {
    In(Box<str>, Vec<Box<str>>),
    NotIn(Box<str>, Vec<Box<str>>),
    Exists(Box<str>),
    Missing(Box<str>),
}

impl Labels {
    /// What was typed.
    ///
    /// # Errors
    /// Which part is no requirement.
    pub(crate) fn of(typed: &args::Selector) -> Result<Self, Failure> {
        typed.selector.as_deref().map_or_else(|| Ok(Self::default()), Self::parse)
    }

    /// Whether it selects whatever labels there are.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn parse(text: &str) -> Result<Self, Failure> {
        let requirements = parts(text).into_iter().filter(|part| !part.is_empty()).map(|part| {
            requirement(part).ok_or_else(|| {
                let what = format!("--selector: {} is no requirement", Quoted(part));
                let hint =
                    "write `key=value`, `key!=value`, `key in (a,b)`, `key notin (a,b)`, `key` or `!key`";
                Failure::Unusable { problems: vec![what], hint: Some(hint.to_owned()) }
            })
        });
        requirements.collect::<Result<_, _>>().map(Self)
    }

    /// Whether it selects something that has these labels.
    pub(crate) fn select(&self, labels: Option<&Pairs>) -> bool {
        let value = |key: &str| labels.and_then(|labels| labels.get(key));
        self.0.iter().all(|requirement| match requirement {
            Requirement::In(key, values) => value(key).is_some_and(|value| values.contains(value)),
            Requirement::NotIn(key, values) => value(key).is_none_or(|value| !values.contains(value)),
            Requirement::Exists(key) => value(key).is_some(),
            Requirement::Missing(key) => value(key).is_none(),
        })
    }
}

/// Cut at the commas that are not in brackets.
fn parts(text: &str) -> Vec<&str> {
    let mut depth = 0_usize;
    let cut = |c: char| {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0
    };
    text.split(cut).map(str::trim).collect()
}

fn requirement(part: &str) -> Option<Requirement> {
    if let Some(key) = part.strip_prefix('!') {
        return Some(Requirement::Missing(checked_key(key)?));
    }
    let one = |value: &str| Some(vec![checked_value(value)?]);
    if let Some((key, value)) = part.split_once("!=") {
        return Some(Requirement::NotIn(checked_key(key)?, one(value)?));
    }
    if let Some((key, value)) = part.split_once("==").or_else(|| part.split_once('=')) {
        return Some(Requirement::In(checked_key(key)?, one(value)?));
    }
    if let Some((head, values)) = part.strip_suffix(')').and_then(|part| part.split_once('(')) {
        let values = values.split(',').map(checked_value).collect::<Option<Vec<_>>>()?;
        let mut words = head.split_whitespace();
        let key = checked_key(words.next()?)?;
        return match (words.next(), words.next()) {
            (Some("in"), None) => Some(Requirement::In(key, values)),
            (Some("notin"), None) => Some(Requirement::NotIn(key, values)),
            _ => None,
        };
    }
    Some(Requirement::Exists(checked_key(part)?))
}

fn checked_key(text: &str) -> Option<Box<str>> {
    LabelKey::parse(text.trim()).ok().map(|_| text.trim().into())
}

/// The empty value is one of Kubernetes' label values, too.
fn checked_value(text: &str) -> Option<Box<str>> {
    let text = text.trim();
    (text.is_empty() || LabelValue::parse(text).is_ok()).then(|| text.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selects(selector: &str, labels: &[(&str, &str)]) -> bool {
        let labels: Pairs = labels.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
        Labels::parse(selector).unwrap().select(Some(&labels))
    }

    #[test]
    fn every_form_of_a_requirement_is_understood() {
        let labels = [("team", "search"), ("example.org/tier", "")];
        for yes in [
            "",
            "team=search",
            "team==search,team!=ads",
            "team in (ads, search)",
            "team notin (ads)",
            "example.org/tier",
            "!gone",
            "gone!=x",
            "example.org/tier=",
        ] {
            assert!(selects(yes, &labels), "{yes}");
        }
        for no in ["team=ads", "team!=search", "team in (ads)", "team notin (search,ads)", "gone", "!team"] {
            assert!(!selects(no, &labels), "{no}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for bad in
            ["a b", "=x", "team in x", "team in (x", "team=a=b", "!", "a/b/c=d", "team=\u{e4}", "t x (a)"]
        {
            assert!(Labels::parse(bad).is_err(), "{bad}");
        }
    }
}
