//! Outputs that the API server takes in one way and not in another, or takes and changes.

use std::time::Duration;

use kleym_core::fact::Trouble;
use kleym_core::kind::{Kind, PoolGroup};
use kleym_core::plan::Reply;
use kleym_operator::perform::{Answer, Call};
use serde_json::{Value, json};

use crate::by_hand::{Scene, binding, is, output_place};
use crate::feed::Report;
use crate::objects::{in_account, per_objective};
use crate::server::Refused;
use crate::undeletable::orphaned;
use crate::wire::{Request, Verb};

fn status(scene: &Scene) -> String {
    scene.server.get(&binding("a")).unwrap().value["status"].to_string()
}

/// Gives the output as it stands as the answer to a write of it; answers the next call of its turn.
fn answer_as_stored(scene: &mut Scene, call: Call) -> Option<Call> {
    let stored = Value::clone(&scene.server.get(&output_place("a")).unwrap().value);
    scene.reply(call, &Answer { reply: Reply::Done, objects: vec![(Kind::Output, stored)] })
}

/// Has everything happen that the operator wants, for a while, under a definition whose defaults set this field of every
/// output. Answers how often outputs were written.
fn with_default(scene: &mut Scene, field: &str, value: &Value) -> usize {
    let (mut next, mut writes) = (None, 0);
    for _ in 1..60 {
        scene.server.now += Duration::from_secs(1);
        for kind in Kind::ALL {
            scene.watch(kind);
        }
        while let Some(call) = next.take().or_else(|| scene.next()) {
            let request = Request::of(&call);
            let writes_output =
                request.kind == Kind::Output && matches!(request.verb, Verb::Create | Verb::Replace);
            let response = scene.arrive(&call);
            next = if writes_output && response.is_ok() {
                writes += 1;
                scene.server.edit_by_hand(&output_place("a"), |object| object["spec"][field] = value.clone());
                answer_as_stored(scene, call)
            } else {
                scene.answer(call, &response)
            };
        }
    }
    writes
}

#[test]
fn what_goes_because_its_replacement_is_rejected_is_created_again() {
    let mut scene = Scene::new();
    scene.server.put_by_hand(&binding("a"), per_objective("chat", "router"));
    scene.rest();
    scene.server.put_by_hand(&binding("a"), per_objective("chat", "vllm"));
    let replace = scene.until(is(Verb::Replace, "a")).unwrap();
    scene.finish(replace, &Err(Refused::Misfortune(422)));
    scene.rest();
    let output = scene.server.get(&output_place("a")).expect("it is not created again");
    assert!(output.value["spec"].to_string().contains("k8s:container-name:vllm"));
    assert!(status(&scene).contains("Reconciled"), "{}", status(&scene));
}

#[test]
fn what_can_be_neither_replaced_nor_created_is_tried_once_each() {
    let mut scene = Scene::new();
    scene.server.put_by_hand(&binding("a"), per_objective("chat", "router"));
    scene.rest();
    scene.server.put_by_hand(&binding("a"), per_objective("chat", "vllm"));
    let replace = scene.until(is(Verb::Replace, "a")).unwrap();
    scene.finish(replace, &Err(Refused::Misfortune(422)));
    let create = scene.until(is(Verb::Create, "a")).unwrap();
    scene.finish(create, &Err(Refused::Misfortune(422)));
    for minute in 1..10 {
        scene.server.now = Duration::from_secs(minute * 60);
        assert!(scene.until(is(Verb::Create, "a")).is_none(), "it is tried again");
    }
    assert!(!scene.output("a"));
}

#[test]
fn what_a_definition_sets_by_itself_is_told_and_not_fought_over() {
    let mut scene = Scene::new();
    scene.server.put_by_hand(&binding("a"), per_objective("chat", "vllm"));
    let writes = with_default(&mut scene, "zone", &json!("x"));
    assert_eq!(writes, 2);
    assert!(scene.output("a"), "an identity that is as it is to be is taken away");
    assert!(status(&scene).contains("is not stored as Kleym writes it"), "{}", status(&scene));
    // It stays so, and who deletes it does not cost the identity.
    scene.server.delete_by_hand(&output_place("a"));
    assert_eq!(with_default(&mut scene, "zone", &json!("x")), 1);
    assert!(scene.output("a"));
}

#[test]
fn what_a_definition_makes_too_wide_is_taken_away_and_not_made_again() {
    let mut scene = Scene::new();
    scene.server.put_by_hand(&binding("a"), per_objective("chat", "vllm"));
    let writes = with_default(&mut scene, "admin", &json!(true));
    assert_eq!(writes, 1);
    assert!(!scene.output("a"), "it grants more than is wanted");
    assert!(status(&scene).contains("does not stay, because it would grant more"), "{}", status(&scene));
    // That its inputs cannot be read for a while changes nothing of that.
    let pools = Kind::Pool(PoolGroup::Inference);
    scene.tell(Report::Trouble(pools, Some(Trouble::Failing)));
    assert_eq!(with_default(&mut scene, "admin", &json!(true)), 0);
    scene.tell(Report::Trouble(pools, None));
    assert_eq!(with_default(&mut scene, "admin", &json!(true)), 0);
    // Another identity might be stored as it is.
    scene.server.put_by_hand(&binding("a"), per_objective("chat", "other"));
    assert_eq!(with_default(&mut scene, "admin", &json!(true)), 1);
    assert!(!scene.output("a"));
}

/// Has everything happen that the operator wants, for half a minute, while a policy sets the namespaceSelector back of every
/// output that is replaced, and another annotation each time. Answers how often one was.
fn set_back(scene: &mut Scene, deletes: Option<Refused>) -> usize {
    let selector = scene.server.get(&output_place("a")).unwrap().value["spec"]["namespaceSelector"].clone();
    let (mut next, mut writes) = (None, 0);
    for _ in 0..300 {
        scene.server.now += Duration::from_millis(100);
        for kind in Kind::ALL {
            scene.watch(kind);
        }
        for calls in 0.. {
            assert!(calls < 100, "it goes on without a pause");
            let Some(call) = next.take().or_else(|| scene.next()) else { break };
            let request = Request::of(&call);
            let replaces = request.kind == Kind::Output && request.verb == Verb::Replace;
            let denied = deletes.filter(|_| is(Verb::Delete, "a")(&request));
            let response = denied.map_or_else(|| scene.arrive(&call), Err);
            next = if replaces && response.is_ok() {
                writes += 1;
                scene.server.edit_by_hand(&output_place("a"), |object| {
                    object["spec"]["namespaceSelector"] = selector.clone();
                    object["metadata"]["annotations"]["example.com/writes"] = json!(writes.to_string());
                });
                // The watch is faster than the answer, which is one with it.
                scene.watch(Kind::Output);
                answer_as_stored(scene, call)
            } else {
                scene.answer(call, &response)
            };
        }
    }
    writes
}

#[test]
fn what_a_policy_keeps_from_selecting_nothing_is_deleted_all_the_same_and_said_to_grant() {
    for deletes in [None, Some(Refused::Misfortune(403))] {
        let mut scene = Scene::new();
        scene.server.put_by_hand(&binding("a"), per_objective("chat", "vllm"));
        scene.rest();
        let output = output_place("a");
        scene.server.edit_by_hand(&output, |object| {
            object["metadata"]["finalizers"] = json!(["example.com/keep"]);
        });
        scene.server.put_by_hand(&binding("a"), in_account(per_objective("chat", "vllm"), "not a name"));
        let writes = set_back(&mut scene, deletes);
        assert!((3..=14).contains(&writes), "{writes} in half a minute");
        let deleting =
            scene.server.get(&output).unwrap().value["metadata"].get("deletionTimestamp").is_some();
        assert_eq!(deleting, deletes.is_none(), "nothing holds a deletion up");
        let says = status(&scene);
        let why = if deleting { "does not let it be changed" } else { "may not be deleted" };
        assert!(says.contains("still grants") && says.contains(why), "{says}");
        assert_eq!(says.contains("whoever set its finalizers `example.com/keep` must remove them"), deleting);
        // Whoever ends that leaves the rest to the operator.
        scene.server.now += Duration::from_secs(10);
        scene.rest();
        let stored = scene.server.get(&output).unwrap();
        assert!(!stored.value["spec"]["namespaceSelector"].to_string().contains("\"llm\""));
        assert!(!status(&scene).contains("still grants"), "{}", status(&scene));
    }
}

#[test]
fn an_orphan_that_a_policy_keeps_from_selecting_nothing_is_not_written_without_a_pause() {
    let mut scene = orphaned();
    let writes = set_back(&mut scene, Some(Refused::Misfortune(403)));
    assert!((3..=14).contains(&writes), "{writes} in half a minute");
}

#[test]
fn a_status_that_a_policy_changes_is_written_again_ever_more_rarely_until_it_stands() {
    let mut scene = Scene::new();
    scene.server.put_by_hand(&binding("a"), per_objective("chat", "vllm"));
    let (mut next, mut writes) = (None, 0);
    for second in 1..=240 {
        scene.server.now = Duration::from_secs(second);
        let policy = second <= 120;
        for kind in Kind::ALL {
            scene.watch(kind);
        }
        while let Some(call) = next.take().or_else(|| scene.next()) {
            let request = Request::of(&call);
            let response = scene.arrive(&call);
            next = if request.verb == Verb::ReplaceStatus && response.is_ok() && policy {
                writes += 1;
                let mut status = request.body["status"].clone();
                // Another one each time, so that each answer is news.
                status["trustDomain"] = json!(format!("evil{writes}.org"));
                scene.server.report(&binding("a"), status);
                let stored = Value::clone(&scene.server.get(&binding("a")).unwrap().value);
                scene.reply(call, &Answer { reply: Reply::Done, objects: vec![(Kind::Binding, stored)] })
            } else {
                scene.answer(call, &response)
            };
        }
    }
    assert!((3..=16).contains(&writes), "{writes} in two minutes");
    assert!(!status(&scene).contains("evil"), "{}", status(&scene));
    assert!(status(&scene).contains("Reconciled"), "{}", status(&scene));
}
