//! Of entries that share a hint SPIRE's agent hands out one.

use super::{Dump, FALLBACK, cause, h};

/// An object of somebody's for the same container, with a hint.
fn with_hint(hint: &str) -> Dump {
    let foreign = FALLBACK
        .replace("fallback: true", "podSelector: {matchLabels: {app: vllm}}\n  workloadSelectorTemplates: ['k8s:container-name:vllm']")
        .replace("hint: default", &format!("hint: {hint}"))
        .replace("spire-default", "interim")
        .replace(
            "spiffe://{{ .TrustDomain }}/ns/{{ .PodMeta.Namespace }}/sa/{{ .PodSpec.ServiceAccountName }}",
            "spiffe://example.org/interim/chat",
        );
    h().with("foreign.yaml", &foreign)
}

#[test]
fn an_object_with_the_hint_of_an_output_hides_its_identity() {
    let answer = with_hint("llm/chat").explain();
    assert_eq!((cause(&answer), answer.exit), (Some("KLM4112"), Some(2)), "{answer}");
    insta::assert_snapshot!("an_object_with_the_hint_of_an_output", answer);
    // Whoever reviews the files sees it too.
    let lint = with_hint("llm/chat").kleym("lint");
    assert!(lint.out.contains("KLM4112"), "{lint}");
}

#[test]
fn an_object_with_another_hint_or_none_stands_beside_it() {
    for hint in ["default", "''"] {
        let answer = with_hint(hint).explain();
        assert_eq!((cause(&answer), answer.exit), (None, Some(0)), "{answer}");
        assert!(answer.out.contains("note   KLM4111 "), "{answer}");
        assert!(!answer.out.contains("(maybe)"), "{answer}");
    }
}
