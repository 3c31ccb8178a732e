//! Objectives of one name in two API groups, of which a binding names one.

use super::evidence::{line, read};
use super::{OBJECTIVE, POOL, cause, h};

#[test]
fn a_binding_that_names_the_group_an_objective_has_left_is_named_with_the_group_to_set() {
    let old = OBJECTIVE
        .replace("llm-d.ai/", "inference.networking.x-k8s.io/")
        .replace("{name: llama}", "{name: old}");
    let old_pool = POOL.replace("name: llama", "name: old").replace("app: vllm", "app: old");
    let dump = h()
        .edit("binding.yaml", "{name: chat}", "{name: chat, group: inference.networking.x-k8s.io}")
        .without("output.yaml")
        .with("old.yaml", &(old + "---\n" + &old_pool));
    let answer = dump.explain();
    assert_eq!((cause(&answer), answer.exit), (Some("KLM2114"), Some(2)), "{answer}");
    assert_eq!(
        line(&answer, "cause"),
        "KLM2114 pod `vllm-0` serves objective `chat` of `llm-d.ai`, and `llm/chat` is of the objective `chat` of `inference.networking.x-k8s.io`, which leads to pool `old`"
    );
    assert_eq!(
        read(&answer),
        [
            "InferenceIdentityBinding llm/chat: spec.targetRef.group = inference.networking.x-k8s.io",
            "InferenceObjective llm/chat (inference.networking.x-k8s.io): spec.poolRef.name = old",
            "InferenceObjective llm/chat (llm-d.ai): spec.poolRef.name = llama",
        ]
    );
    assert!(
        line(&answer, "fix").starts_with("set `spec.targetRef.group: llm-d.ai` in `llm/chat`"),
        "{answer}"
    );
    // The advice on the old objective does not break what this one mends.
    let lint = dump.kleym("lint");
    assert!(lint.out.contains("KLM1103") && lint.out.contains("the one of that name in `llm-d.ai` leads to pool `llama`, not to `old`: set `spec.targetRef.group: llm-d.ai` in `llm/chat`"), "{lint}");
    // What it warns of is so, and what it says helps.
    let group = ", group: inference.networking.x-k8s.io";
    let unpinned = dump.edit("binding.yaml", group, "");
    assert_eq!(cause(&unpinned.explain()), Some("KLM1004"), "{}", unpinned.explain());
    let mended = unpinned.edit("binding.yaml", "{name: chat}", "{name: chat, group: llm-d.ai}");
    let output = mended.kleym("render");
    let mended = mended.with("output.yaml", &output.out).explain();
    assert_eq!((cause(&mended), mended.exit), (None, Some(0)), "{mended}");
}
