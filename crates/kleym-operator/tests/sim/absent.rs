//! Definitions that are gone and come back: what was told of that can be older than what was written since. None of these
//! was found by a seed.

use std::time::Duration;

use kleym_core::fact::Trouble;
use kleym_core::kind::Kind;
use kleym_core::plan::Reply;
use kleym_operator::perform::Answer;
use serde_json::{Value, json};

use crate::by_hand::{Scene, binding, is, output_place};
use crate::feed::Report;
use crate::objects::per_objective;
use crate::server::{Refused, Writer};
use crate::wire::Verb;

#[test]
fn an_absence_that_is_older_than_what_was_written_since_lets_no_binding_go() {
    let mut scene = Scene::new();
    scene.server.put_by_hand(&binding("a"), per_objective("chat", "vllm"));
    scene.rest();
    // The definition goes and comes back. The watch of outputs tells so, and the output is written again, before the news
    // comes that the definition was absent.
    scene.server.remove_definition(Kind::Output);
    scene.server.restore_definition(Kind::Output);
    scene.rest();
    assert!(scene.output("a"));
    scene.tell(Report::Absent(Kind::Output));
    scene.server.delete_by_hand(&binding("a"));
    scene.watch(Kind::Binding);
    scene.deaf();
    assert!(
        scene.server.get(&binding("a")).is_some(),
        "it is let go while its output stands, which was seen"
    );
}

#[test]
fn an_absence_that_is_over_lets_no_binding_go() {
    let mut scene = Scene::new();
    let again = scene.grant("a", per_objective("chat", "vllm"));
    scene.rest();
    scene.server.remove_definition(Kind::Output);
    scene.tell(Report::Absent(Kind::Output));
    scene.rest();
    // The definition is back, with a restored backup, and the list is on its way.
    scene.server.restore_definition(Kind::Output);
    scene.server.answer(&again, Writer::Hand).unwrap();
    scene.server.delete_by_hand(&binding("a"));
    scene.watch(Kind::Binding);
    scene.deaf();
    assert!(scene.server.get(&binding("a")).is_some(), "it is let go while its output stands");
}

#[test]
fn an_orphan_that_came_while_bindings_were_coming_back_is_swept() {
    let mut scene = Scene::new();
    scene.grant("a", per_objective("chat", "vllm"));
    scene.rest();
    scene.strip("a");
    scene.server.remove_definition(Kind::Binding);
    assert!(scene.server.get(&binding("a")).is_none());
    scene.tell(Report::Absent(Kind::Binding));
    // Its output is withdrawn; but that call fails.
    let delete = scene.deaf_until(None, is(Verb::Delete, "a")).expect("a delete");
    scene.server.restore_definition(Kind::Binding);
    scene.tell(Report::Trouble(Kind::Binding, Some(Trouble::Failing)));
    scene.finish(delete, &Err(Refused::Misfortune(503)));
    scene.server.now = Duration::from_secs(60);
    scene.deaf();
    scene.list(Kind::Binding);
    scene.rest();
    scene.server.now = Duration::from_secs(600);
    scene.rest();
    assert!(!scene.output("a"), "an orphan stays for ever");
}

#[test]
fn an_orphan_that_landed_while_bindings_were_coming_back_is_swept() {
    let mut scene = Scene::new();
    let again = scene.grant("a", per_objective("chat", "vllm"));
    scene.rest();
    scene.strip("a");
    scene.server.remove_definition(Kind::Binding);
    scene.tell(Report::Absent(Kind::Binding));
    scene.rest();
    assert!(!scene.output("a"));
    scene.server.restore_definition(Kind::Binding);
    scene.tell(Report::Trouble(Kind::Binding, Some(Trouble::Failing)));
    scene.server.answer(&again, Writer::Late).unwrap();
    scene.watch(Kind::Output);
    scene.deaf();
    scene.list(Kind::Binding);
    scene.rest();
    scene.server.now = Duration::from_secs(600);
    scene.rest();
    assert!(!scene.output("a"), "an orphan stays for ever");
}

#[test]
fn who_takes_over_sweeps_nothing_of_living_bindings() {
    let mut scene = Scene::new();
    scene.server.put_by_hand(&binding("a"), per_objective("chat", "vllm"));
    scene.rest();
    // It was told that bindings have no definition; since then the definition, the binding and its output came, by way of
    // the former leader.
    scene.tell(Report::Absent(Kind::Binding));
    scene.takes_over(1);
    scene.list(Kind::Output);
    scene.tell(Report::Anew(1));
    scene.deaf();
    assert!(scene.output("a"), "the output of a living binding is swept");
}

#[test]
fn what_is_nobodys_is_in_nobodys_way_when_bindings_come_back() {
    let mut scene = Scene::new();
    scene.server.put_by_hand(&binding("a"), per_objective("chat", "vllm"));
    scene.rest();
    scene.strip("a");
    // Without complete proof, and without a binding, it is nobody's.
    scene.server.edit_by_hand(&output_place("a"), |object| {
        object["metadata"]["labels"].as_object_mut().unwrap().shift_remove("kleym.sonda.red/instance");
    });
    scene.watch(Kind::Output);
    scene.server.remove_definition(Kind::Binding);
    scene.tell(Report::Absent(Kind::Binding));
    scene.deaf();
    scene.server.restore_definition(Kind::Binding);
    scene.list(Kind::Binding);
    scene.server.delete_by_hand(&output_place("a"));
    scene.rest();
    assert!(!scene.output("a"));
    scene.server.now = Duration::from_secs(60);
    scene.server.put_by_hand(&binding("b"), per_objective("code", "vllm"));
    scene.rest();
    scene.server.now = Duration::from_secs(600);
    scene.rest();
    assert!(scene.output("b"), "what is gone is in the way for ever");
}

#[test]
fn what_a_definition_dropped_of_a_status_is_written_under_the_next_one() {
    let mut scene = Scene::new();
    scene.server.put_by_hand(&binding("a"), per_objective("chat", "vllm"));
    let write = scene
        .until(|request| {
            request.verb == Verb::ReplaceStatus && request.body["status"].to_string().contains("Reconciled")
        })
        .unwrap();
    // The definition is older: it drops nearly everything.
    scene.server.report(&binding("a"), json!({"observedGeneration": 1}));
    let object = Value::clone(&scene.server.get(&binding("a")).unwrap().value);
    let mut next = scene.reply(write, &Answer { reply: Reply::Done, objects: vec![(Kind::Binding, object)] });
    while let Some(call) = next {
        let response = scene.arrive(&call);
        next = scene.answer(call, &response);
    }
    scene.rest();
    // It is replaced by the present one.
    scene.tell(Report::Redefined(Kind::Binding));
    scene.server.now = Duration::from_secs(600);
    scene.rest();
    let status = scene.server.get(&binding("a")).unwrap().value["status"].to_string();
    assert!(status.contains("Reconciled"), "{status}");
}
