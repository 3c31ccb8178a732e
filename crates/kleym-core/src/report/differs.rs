//! In what a live output differs from the wanted one, value by value.

use std::collections::BTreeSet;
use std::fmt;

use crate::output::{LabelSelector, LiveOutput, OUR_ANNOTATIONS, OUR_LABELS, Pairs, WantedOutput};

/// More are counted, not shown.
const SHOWN: usize = 5;

/// What differs in a field. The same items in another order, or more than once, differ in nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The field, as [`LiveOutput::drift`] names it.
    pub field: &'static str,
    /// What was found there and is not wanted.
    pub found: BTreeSet<String>,
    /// What is wanted and was not found.
    pub wanted: BTreeSet<String>,
}

impl Difference {
    /// What differs in a field that [`LiveOutput::drift`] names.
    pub fn of(field: &'static str, live: &LiveOutput, wanted: &WantedOutput) -> Self {
        let (found, want) = (&live.spec, &wanted.spec);
        let (found, wanted) = match field {
            "spec.spiffeIDTemplate" => (one(Some(&*found.spiffe_id)), one(Some(&*want.spiffe_id))),
            "spec.namespaceSelector" => {
                (selector(found.namespace_selector.as_ref()), selector(want.namespace_selector.as_ref()))
            }
            "spec.podSelector" => {
                (selector(found.pod_selector.as_ref()), selector(want.pod_selector.as_ref()))
            }
            "spec.workloadSelectorTemplates" => (texts(&found.selectors), texts(&want.selectors)),
            "spec.className" => (one(found.class_name.as_deref()), one(want.class_name.as_deref())),
            "spec.fallback" => (one(found.fallback), one(want.fallback)),
            "spec.hint" => (one(found.hint.as_deref()), one(want.hint.as_deref())),
            "metadata.labels" => (ours(&live.labels, &OUR_LABELS), pairs(&wanted.labels)),
            "metadata.annotations" => (ours(&live.annotations, &OUR_ANNOTATIONS), pairs(&wanted.annotations)),
            "metadata.ownerReferences" => (one(Some("ownerReferences")), BTreeSet::new()),
            _ => (texts(&found.unwanted), BTreeSet::new()),
        };
        Self {
            field,
            found: found.difference(&wanted).cloned().collect(),
            wanted: wanted.difference(&found).cloned().collect(),
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.found.is_empty(), self.wanted.is_empty()) {
            (true, true) => f.write_str("the same, in another order"),
            (true, false) => write!(f, "lacks {}", some(&self.wanted)),
            (false, true) => write!(f, "{}, which is not wanted", some(&self.found)),
            (false, false) => write!(f, "{}, wanted {}", some(&self.found), some(&self.wanted)),
        }
    }
}

/// The first of them.
fn some(all: &BTreeSet<String>) -> String {
    let shown: Vec<&str> = all.iter().take(SHOWN).map(String::as_str).collect();
    match all.len().saturating_sub(SHOWN) {
        0 => shown.join(", "),
        more => format!("{}, and {more} more", shown.join(", ")),
    }
}

fn one(value: Option<impl ToString>) -> BTreeSet<String> {
    value.map(|value| value.to_string()).into_iter().collect()
}

fn texts(values: &[Box<str>]) -> BTreeSet<String> {
    values.iter().map(ToString::to_string).collect()
}

fn pairs(values: &Pairs) -> BTreeSet<String> {
    values.iter().map(|(key, value)| format!("{key}: {value}")).collect()
}

/// Foreign labels and annotations may stay, so they are no difference.
fn ours(values: &Pairs, keys: &[&str]) -> BTreeSet<String> {
    let of_ours = values.iter().filter(|(key, _)| keys.contains(&&***key));
    of_ours.map(|(key, value)| format!("{key}: {value}")).collect()
}

fn selector(selector: Option<&LabelSelector>) -> BTreeSet<String> {
    let Some(LabelSelector { match_labels, others }) = selector else {
        return ["no selector".to_owned()].into();
    };
    let mut all = pairs(match_labels);
    if *others {
        all.insert("matchExpressions".to_owned());
    }
    all
}
