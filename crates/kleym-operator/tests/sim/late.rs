//! Answers that come when a watch has told more than they know. Each of these was found by a seed.

use std::time::Duration;

use kleym_core::kind::Kind;
use kleym_core::output::FINALIZER;

use crate::by_hand::{NAMESPACE, Scene, binding, is};
use crate::feed::Report;
use crate::objects::{in_account, output_of, per_objective};
use crate::server::{Place, Refused, Writer};
use crate::wire::{Request, Verb};

#[test]
fn a_look_that_found_nothing_says_nothing_of_what_was_seen_since() {
    let mut scene = Scene::new();
    scene.server.put_by_hand(&binding("a"), per_objective("chat", "vllm"));
    let create = scene.until(is(Verb::Create, "a")).unwrap();
    let late = Request::of(&create);
    let response = scene.arrive(&create);
    scene.finish(create, &response);
    scene.server.put_by_hand(&binding("a"), in_account(per_objective("chat", "vllm"), "not a name"));
    let look = scene.until(is(Verb::List, "a")).unwrap();
    let response = scene.arrive(&look);
    // The request of an operator that died, which lands now.
    scene.server.answer(&late, Writer::Late).unwrap();
    scene.watch(Kind::Output);
    scene.finish(look, &response);
    scene.rest();
    assert!(!scene.output("a"), "the output of a binding that is refused stays");
}

#[test]
fn an_answer_brings_nothing_back_that_a_list_made_since_does_not_hold() {
    let mut scene = Scene::new();
    scene.server.put_by_hand(&binding("a"), per_objective("chat", "vllm"));
    let create = scene.until(is(Verb::Create, "a")).unwrap();
    let response = scene.arrive(&create);
    scene.server.remove_definition(Kind::Output);
    scene.server.restore_definition(Kind::Output);
    scene.list(Kind::Output);
    scene.finish(create, &response);
    scene.rest();
    assert!(scene.output("a"), "an output that is gone is believed to be there");
}

#[test]
fn an_answer_brings_nothing_back_while_outputs_have_no_definition() {
    let mut scene = Scene::new();
    scene.server.put_by_hand(&binding("a"), per_objective("chat", "vllm"));
    let create = scene.until(is(Verb::Create, "a")).unwrap();
    let response = scene.arrive(&create);
    scene.server.remove_definition(Kind::Output);
    scene.tell(Report::Absent(Kind::Output));
    scene.server.put_by_hand(&binding("a"), in_account(per_objective("chat", "vllm"), "not a name"));
    scene.watch(Kind::Binding);
    let mut next = scene.answer(create, &response);
    while let Some(call) = next {
        assert_eq!(Request::of(&call).kind, Kind::Binding, "an output is asked for where there can be none");
        let response = scene.arrive(&call);
        next = scene.answer(call, &response);
    }
}

#[test]
fn what_lost_its_proof_is_in_nobodys_way_when_its_binding_is_gone() {
    let mut scene = Scene::new();
    scene.server.put_by_hand(&binding("a"), per_objective("chat", "vllm"));
    scene.rest();
    scene.server.now = Duration::from_secs(2);
    scene.server.put_by_hand(&binding("b"), per_objective("code", "vllm"));
    scene.rest();
    assert!(!scene.output("b"), "two have one container");
    scene.server.edit_by_hand(&binding("a"), |object| {
        object["metadata"]["finalizers"].as_array_mut().unwrap().retain(|finalizer| finalizer != FINALIZER);
    });
    scene.server.delete_by_hand(&binding("a"));
    let delete = scene.until(is(Verb::Delete, "a")).unwrap();
    scene.server.edit_by_hand(&Place::output(&output_of(NAMESPACE, "a")), |object| {
        object["metadata"]["labels"].as_object_mut().unwrap().shift_remove("kleym.sonda.red/managed-by");
    });
    scene.watch(Kind::Output);
    let response = scene.arrive(&delete);
    scene.finish(delete, &response);
    scene.server.now += Duration::from_secs(2);
    scene.rest();
    assert!(scene.output("b"), "an output that is gone is in the way");
}

#[test]
fn a_write_that_was_made_and_said_to_be_rejected_is_made_again_when_somebody_undoes_it() {
    let mut scene = Scene::new();
    scene.server.put_by_hand(&binding("a"), per_objective("chat", "vllm"));
    let create = scene.until(is(Verb::Create, "a")).unwrap();
    scene.arrive(&create).unwrap();
    scene.watch(Kind::Output);
    scene.finish(create, &Err(Refused::Misfortune(422)));
    scene.rest();
    scene.server.delete_by_hand(&Place::output(&output_of(NAMESPACE, "a")));
    scene.rest();
    assert!(scene.output("a"), "what stood is still taken for rejected");
}
