//! Label selectors as the API machinery evaluates them (`LabelSelectorAsSelector` of k8s.io/apimachinery), which is what SCM
//! does with `namespaceSelector` and `podSelector`.

use std::collections::BTreeSet;
use std::fmt;

use super::answer::Answer;
use crate::label::{LabelError, LabelKey, LabelValue};
use crate::output::Pairs;
use crate::text::Quoted;

/// A label selector; without rules it matches everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selector(Vec<LabelRule>);

/// One requirement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelRule {
    /// The label's key.
    pub key: Box<str>,
    /// What must be true of it.
    pub operator: Operator,
    /// Of `In` and `NotIn`.
    pub values: BTreeSet<Box<str>>,
}

/// What a requirement demands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// The label is there with one of the values.
    In,
    /// The label has none of the values, or is not there.
    NotIn,
    /// The label is there.
    Exists,
    /// The label is not there.
    DoesNotExist,
}

impl Operator {
    /// The operator of that name.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "In" => Some(Operator::In),
            "NotIn" => Some(Operator::NotIn),
            "Exists" => Some(Operator::Exists),
            "DoesNotExist" => Some(Operator::DoesNotExist),
            _ => None,
        }
    }
}

/// Why a label selector is none: SCM then skips the whole object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RuleError {
    /// A key that is no label key.
    Key(Box<str>, LabelError),
    /// A value that is no label value.
    Value(Box<str>, LabelError),
    /// An operator that is not known.
    Operator(Box<str>),
    /// `In` or `NotIn` without values, or one of the others with some.
    Values(Box<str>),
    /// A part that is of another type.
    Type(Box<str>),
}

impl fmt::Display for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RuleError::Key(key, error) => write!(f, "the label key {} {error}", Quoted(key)),
            RuleError::Value(value, error) => write!(f, "the label value {} {error}", Quoted(value)),
            RuleError::Operator(found) => write!(f, "the operator {} is not known", Quoted(found)),
            RuleError::Values(key) => {
                write!(f, "the values of the rule for {} do not fit its operator", Quoted(key))
            }
            RuleError::Type(field) => write!(f, "{} is of another type", Quoted(field)),
        }
    }
}

impl LabelRule {
    /// A rule that the API machinery accepts.
    ///
    /// # Errors
    /// Says what it would refuse.
    pub fn new<'a>(
        key: &str,
        operator: Operator,
        values: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, RuleError> {
        LabelKey::parse(key).map_err(|error| RuleError::Key(key.into(), error))?;
        let values: BTreeSet<Box<str>> = values.into_iter().map(Into::into).collect();
        if let Some((value, error)) = values
            .iter()
            .filter(|value| !value.is_empty())
            .find_map(|value| Some((value, LabelValue::parse(value).err()?)))
        {
            return Err(RuleError::Value(value.clone(), error));
        }
        let wants_values = matches!(operator, Operator::In | Operator::NotIn);
        if values.is_empty() == wants_values {
            return Err(RuleError::Values(key.into()));
        }
        Ok(Self { key: key.into(), operator, values })
    }

    fn matches(&self, labels: &Pairs, complete: bool) -> Answer {
        let value = labels.get(&self.key);
        if value.is_none() && !complete {
            return Answer::Unknown;
        }
        let listed = value.is_some_and(|value| self.values.contains(value));
        Answer::from(match self.operator {
            Operator::In => listed,
            Operator::NotIn => !listed,
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
        })
    }
}

impl fmt::Display for LabelRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let values: Vec<&str> = self.values.iter().map(|value| &**value).collect();
        match (self.operator, values.as_slice()) {
            (Operator::In, [value]) => write!(f, "{}={value}", self.key),
            (Operator::In, values) => write!(f, "{} in ({})", self.key, values.join(",")),
            (Operator::NotIn, values) => write!(f, "{} notin ({})", self.key, values.join(",")),
            (Operator::Exists, _) => f.write_str(&self.key),
            (Operator::DoesNotExist, _) => write!(f, "!{}", self.key),
        }
    }
}

/// As kubectl takes it.
impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rules: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&rules.join(","))
    }
}

impl Selector {
    /// All rules must hold.
    pub fn new(rules: impl IntoIterator<Item = LabelRule>) -> Self {
        Self(rules.into_iter().collect())
    }

    /// `matchLabels` alone.
    ///
    /// # Errors
    /// Says what the API machinery would refuse.
    pub fn labels<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self, RuleError> {
        let rules = pairs.into_iter().map(|(key, value)| LabelRule::new(key, Operator::In, [value]));
        Ok(Self(rules.collect::<Result<_, _>>()?))
    }

    /// Whether it matches these labels; `complete` says whether they are all there are.
    pub fn matches(&self, labels: &Pairs, complete: bool) -> Answer {
        self.0.iter().fold(Answer::Yes, |so_far, rule| so_far.and(rule.matches(labels, complete)))
    }

    /// The only values a label may have, when the selector says so.
    pub fn pinned(&self, key: &str) -> Option<&BTreeSet<Box<str>>> {
        let rule = self.0.iter().find(|rule| &*rule.key == key && rule.operator == Operator::In)?;
        Some(&rule.values)
    }

    /// Its rules.
    pub fn rules(&self) -> &[LabelRule] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &str) -> Pairs {
        text.split_whitespace()
            .filter_map(|pair| pair.split_once('='))
            .map(|(k, v)| (k.into(), v.into()))
            .collect()
    }

    fn rule(operator: Operator, values: &[&str]) -> Selector {
        Selector::new([LabelRule::new("app", operator, values.iter().copied()).unwrap()])
    }

    #[test]
    fn operators_mean_what_kubernetes_means() {
        for (operator, values, labels, answer) in [
            (Operator::In, &["a", "b"][..], "app=b", Answer::Yes),
            (Operator::In, &["a"], "app=b", Answer::No),
            (Operator::In, &["a"], "", Answer::No),
            (Operator::NotIn, &["a"], "app=b", Answer::Yes),
            (Operator::NotIn, &["a"], "app=a", Answer::No),
            (Operator::NotIn, &["a"], "", Answer::Yes),
            (Operator::Exists, &[], "app=", Answer::Yes),
            (Operator::Exists, &[], "x=y", Answer::No),
            (Operator::DoesNotExist, &[], "x=y", Answer::Yes),
            (Operator::DoesNotExist, &[], "app=a", Answer::No),
        ] {
            assert_eq!(rule(operator, values).matches(&pairs(labels), true), answer, "{operator:?} {labels}");
        }
    }

    #[test]
    fn an_absent_label_is_unknown_where_not_all_labels_are_known() {
        for operator in [Operator::In, Operator::NotIn] {
            assert_eq!(rule(operator, &["a"]).matches(&pairs("x=y"), false), Answer::Unknown);
            assert_ne!(rule(operator, &["a"]).matches(&pairs("app=a"), false), Answer::Unknown);
        }
    }

    #[test]
    fn a_selector_without_rules_matches_everything() {
        assert_eq!(Selector::default().matches(&Pairs::new(), false), Answer::Yes);
    }

    #[test]
    fn what_the_api_machinery_refuses_is_refused() {
        assert!(LabelRule::new("a/b/c", Operator::Exists, []).is_err());
        assert!(LabelRule::new("app", Operator::In, []).is_err());
        assert!(LabelRule::new("app", Operator::Exists, ["a"]).is_err());
        assert!(LabelRule::new("app", Operator::In, ["a b"]).is_err());
        assert!(LabelRule::new("app", Operator::In, [""]).is_ok());
    }
}
