//! A namespace in which everything changes at once, and its neighbours.

use kleym_core::kind::{Kind, ObjectiveGroup, PoolGroup};

use crate::by_hand::{NAMESPACE, QUIET, Scene, binding};
use crate::objects::{in_account, objective, per_objective, pool};
use crate::server::Place;

#[test]
fn a_quiet_namespace_has_its_turn_before_a_crowd_has_had_all_of_its_own() {
    let mut scene = Scene::new();
    let llama = |namespace| Place::new(Kind::Pool(PoolGroup::Inference), namespace, "llama");
    let chat = Place::new(Kind::Objective(ObjectiveGroup::LlmD), QUIET, "chat");
    let quiet = Place::new(Kind::Binding, QUIET, "chat");
    scene.server.put_by_hand(&llama(QUIET), pool(&[("app", "vllm")]));
    scene.server.put_by_hand(&chat, objective("llama"));
    scene.server.put_by_hand(&quiet, per_objective("chat", "vllm"));
    for number in 0..200 {
        // All of one container: the oldest has it, the others are refused and stay so.
        scene.server.put_by_hand(&binding(&format!("b{number:03}")), per_objective("chat", "vllm"));
    }
    scene.rest();
    scene.server.put_by_hand(&llama(NAMESPACE), pool(&[("app", "sglang")]));
    scene.watch(Kind::Pool(PoolGroup::Inference));
    scene.server.put_by_hand(&quiet, in_account(per_objective("chat", "vllm"), "not a name"));
    scene.watch(Kind::Binding);
    let first: Vec<String> =
        std::iter::from_fn(|| scene.look()).map(|call| call.key.to_string()).take(2).collect();
    assert_eq!(first, ["llm/b000", "quiet/chat"]);
}
