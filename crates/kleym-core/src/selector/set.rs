//! The canonical selector set of an identity: de-duplicated, sorted bytewise, and proved to stay inside one
//! namespace and one service account. A value of [`SelectorSet`] is that proof.

use std::fmt;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::{Item, ItemKey};
use crate::name::{Namespace, feed_length_prefixed, hex};
use crate::text::Quoted;

/// Why a set of valid items is no safe selector set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SetError {
    /// No `k8s:ns` item; holds the line to add.
    NoNamespace(String),
    /// A `k8s:ns` item of another namespace.
    ForeignNamespace {
        /// The item.
        item: String,
        /// The item that would be right.
        wanted: String,
    },
    /// No `k8s:sa` item.
    NoServiceAccount,
    /// Two values for a slot that holds one per workload: the set could never match.
    TwoValues(String, String),
    /// Two items that are equal when case is ignored (they collide in some of SPIRE's databases).
    CaseTwins(String, String),
}

impl fmt::Display for SetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SetError::NoNamespace(line) => {
                write!(f, "no selector names the namespace; add {} to spec.workloadSelectorTemplates", Quoted(line))
            }
            SetError::ForeignNamespace { item, wanted } => write!(
                f,
                "selector {} names a namespace other than the binding's; only {} may stand there, so correct or remove it",
                Quoted(item),
                Quoted(wanted)
            ),
            SetError::NoServiceAccount => f.write_str(
                "no selector names the service account; add `k8s:sa:<service account of the pods>` to spec.workloadSelectorTemplates",
            ),
            SetError::TwoValues(a, b) => write!(
                f,
                "selectors {} and {} exclude each other, so no workload could ever match; remove one",
                Quoted(a),
                Quoted(b)
            ),
            SetError::CaseTwins(a, b) => write!(
                f,
                "selectors {} and {} differ only in case, which some SPIRE databases cannot tell apart; remove one",
                Quoted(a),
                Quoted(b)
            ),
        }
    }
}

/// A canonical, proved set of selector items.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SelectorSet(Arc<[Item]>);

impl SelectorSet {
    /// De-duplicates and sorts the items and proves the set: exactly one `k8s:ns`, the binding's; exactly one
    /// `k8s:sa`; no two values for a single-valued slot; no two items equal but for case.
    ///
    /// # Errors
    /// Names the offending items, or the line that is missing.
    pub fn prove(mut items: Vec<Item>, namespace: &Namespace) -> Result<Self, SetError> {
        items.sort();
        items.dedup();
        let wanted = format!("k8s:ns:{namespace}");
        if let Some(item) = items.iter().find(|i| i.key() == ItemKey::Namespace && i.as_str() != wanted) {
            return Err(SetError::ForeignNamespace { item: item.to_string(), wanted });
        }
        if !items.iter().any(|i| i.key() == ItemKey::Namespace) {
            return Err(SetError::NoNamespace(wanted));
        }
        if !items.iter().any(|i| i.key() == ItemKey::ServiceAccount) {
            return Err(SetError::NoServiceAccount);
        }
        // Items of one slot share its prefix, so they stand side by side.
        let by_slot: Vec<&Item> = items.iter().filter(|i| i.single_valued()).collect();
        if let Some(pair) = by_slot.windows(2).find(|pair| pair[0].slot() == pair[1].slot()) {
            return Err(SetError::TwoValues(pair[0].to_string(), pair[1].to_string()));
        }
        let mut folded: Vec<(String, &Item)> =
            items.iter().map(|i| (i.as_str().to_ascii_lowercase(), i)).collect();
        folded.sort();
        if let Some(pair) = folded.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            return Err(SetError::CaseTwins(pair[0].1.to_string(), pair[1].1.to_string()));
        }
        Ok(Self(items.into()))
    }

    /// The items, sorted bytewise.
    pub fn items(&self) -> &[Item] {
        &self.0
    }

    /// Keeps once what these items, sorted too, have in common with the set.
    pub(crate) fn share(&mut self, others: &Arc<[Item]>) {
        share(&mut self.0, others);
    }

    /// The items, to be kept by others too.
    pub(crate) fn shared(&self) -> &Arc<[Item]> {
        &self.0
    }

    /// The items as text, sorted bytewise.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(Item::as_str)
    }

    /// The service account every workload of the set runs under.
    pub fn service_account(&self) -> &str {
        self.0.iter().find(|i| i.key() == ItemKey::ServiceAccount).map_or("", Item::value)
    }

    /// Every `pod-label` item as key and value: what the output's `podSelector` matches.
    pub fn pod_labels(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().filter_map(Item::pod_label)
    }

    /// `sha256:<hex>` over the length-prefixed items.
    pub fn fingerprint(&self) -> String {
        let mut digest = Sha256::new();
        for item in &*self.0 {
            feed_length_prefixed(&mut digest, item.as_str());
        }
        format!("sha256:{}", hex(&digest.finalize()))
    }
}

/// Keeps once what two sorted lists of items have in common, in the first of them.
pub(crate) fn share(items: &mut Arc<[Item]>, others: &Arc<[Item]>) {
    if items == others {
        *items = Arc::clone(others);
        return;
    }
    for item in Arc::get_mut(items).into_iter().flatten() {
        if let Ok(at) = others.binary_search(item) {
            item.clone_from(&others[at]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prove(items: &[&str]) -> Result<SelectorSet, SetError> {
        let items = items.iter().map(|i| Item::parse(i).unwrap()).collect();
        SelectorSet::prove(items, &Namespace::parse("llm").unwrap())
    }

    #[test]
    fn a_set_is_sorted_and_free_of_duplicates() {
        let set = prove(&["k8s:sa:llama", "k8s:ns:llm", "k8s:sa:llama", "k8s:container-name:vllm"]).unwrap();
        assert_eq!(
            set.texts().collect::<Vec<_>>(),
            ["k8s:container-name:vllm", "k8s:ns:llm", "k8s:sa:llama"]
        );
        assert_eq!(set.service_account(), "llama");
    }

    #[test]
    fn a_missing_item_is_answered_with_the_line_to_add() {
        let error = prove(&["k8s:sa:llama"]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "no selector names the namespace; add `k8s:ns:llm` to spec.workloadSelectorTemplates"
        );
        assert_eq!(prove(&["k8s:ns:llm"]), Err(SetError::NoServiceAccount));
    }

    #[test]
    fn a_foreign_namespace_is_refused_even_beside_the_right_one() {
        assert_eq!(
            prove(&["k8s:ns:llm", "k8s:ns:other", "k8s:sa:a"]),
            Err(SetError::ForeignNamespace { item: "k8s:ns:other".into(), wanted: "k8s:ns:llm".into() })
        );
    }

    #[test]
    fn two_values_for_one_slot_are_refused_wherever_they_sort() {
        for (a, b) in [
            ("k8s:sa:a", "k8s:sa:b"),
            ("k8s:container-name:a", "k8s:container-name:b"),
            ("k8s:pod-label:app:a", "k8s:pod-label:app:b"),
            ("k8s:pod-image-count:1", "k8s:pod-image-count:2"),
            ("k8s:ns-label:team:a", "k8s:ns-label:team:b"),
        ] {
            assert_eq!(
                prove(&["k8s:ns:llm", "k8s:sa:a", b, "k8s:pod-label:app-x:y", a]),
                Err(SetError::TwoValues(a.into(), b.into()))
            );
        }
        assert!(prove(&["k8s:ns:llm", "k8s:sa:a", "k8s:pod-owner:Job:a", "k8s:pod-owner:Job:b"]).is_ok());
    }

    #[test]
    fn items_that_differ_only_in_case_are_refused() {
        assert!(matches!(
            prove(&["k8s:ns:llm", "k8s:sa:a", "k8s:container-image:x/A", "k8s:container-image:x/a"]),
            Err(SetError::CaseTwins(_, _))
        ));
    }

    #[test]
    fn the_fingerprint_tells_where_items_end() {
        let a = prove(&["k8s:ns:llm", "k8s:sa:a", "unix:path:/ab"]).unwrap();
        let b = prove(&["k8s:ns:llm", "k8s:sa:a", "unix:path:/a"]).unwrap();
        assert_ne!(a.fingerprint(), b.fingerprint());
        assert!(a.fingerprint().starts_with("sha256:") && a.fingerprint().len() == 71);
    }
}
