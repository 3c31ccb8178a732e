//! Answers that come when a watch has told more than they know. Each of these was found by a seed.

use std::time::Duration;

use kleym_core::fact::Trouble;
use kleym_core::kind::Kind;
use kleym_core::output::FINALIZER;

use crate::by_hand::{Scene, binding, is, output_place};
use crate::feed::Report;
use crate::objects::{in_account, per_objective};
use crate::server::{Refused, Writer};
use crate::wire::{Request, Verb};

#[test]
fn a_look_that_found_nothing_says_nothing_of_what_was_seen_since() {
    let mut scene = Scene::new();
    let late = scene.grant("a", per_objective("chat", "vllm"));
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
fn an_event_that_is_older_than_what_a_look_showed_takes_nothing_away() {
    let mut scene = Scene::new();
    let again = scene.grant("a", per_objective("chat", "vllm"));
    scene.server.now = Duration::from_secs(2);
    scene.server.put_by_hand(&binding("b"), per_objective("code", "router"));
    scene.rest();
    scene.server.put_by_hand(&binding("a"), per_objective("chat", "sidecar"));
    scene.server.put_by_hand(&binding("b"), per_objective("code", "vllm"));
    let replace = scene.until(is(Verb::Replace, "a")).unwrap();
    // Somebody deletes the output, and somebody puts the former one back; twice, before the watch tells of it.
    let output = output_place("a");
    scene.server.delete_by_hand(&output);
    scene.server.answer(&again, Writer::Late).unwrap();
    scene.server.delete_by_hand(&output);
    let gone = scene.server.version();
    scene.server.answer(&again, Writer::Late).unwrap();
    let response = scene.arrive(&replace);
    let next = scene.answer(replace, &response);
    let replace = scene.deaf_until(next, is(Verb::Replace, "a")).expect("what was put back is replaced");
    scene.watch_until(Kind::Output, gone);
    assert!(scene.deaf_until(None, is(Verb::Replace, "b")).is_none(), "two have one container");
    let response = scene.arrive(&replace);
    scene.finish(replace, &response);
    scene.server.now = Duration::from_secs(4);
    scene.rest();
    let granted = scene.server.get(&output_place("b")).unwrap();
    assert!(granted.value["spec"].to_string().contains("k8s:container-name:vllm"));
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
    scene.server.edit_by_hand(&output_place("a"), |object| {
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
    scene.server.delete_by_hand(&output_place("a"));
    scene.rest();
    assert!(scene.output("a"), "what stood is still taken for rejected");
}

#[test]
fn who_takes_over_begins_nothing_before_outputs_were_listed_anew() {
    let mut scene = Scene::new();
    scene.server.put_by_hand(&binding("a"), per_objective("chat", "vllm"));
    scene.watch(Kind::Binding);
    scene.takes_over(2);
    assert!(scene.next().is_none());
    // A list that was begun before tells nothing.
    scene.list(Kind::Output);
    scene.tell(Report::Anew(1));
    assert!(scene.next().is_none());
    scene.list(Kind::Output);
    scene.tell(Report::Anew(2));
    assert!(scene.next().is_some());
}

#[test]
fn who_takes_over_takes_away_what_is_to_go_after_ten_seconds_without_a_list() {
    let mut scene = Scene::new();
    scene.server.put_by_hand(&binding("a"), per_objective("chat", "vllm"));
    scene.rest();
    scene.server.put_by_hand(&binding("a"), in_account(per_objective("chat", "vllm"), "not a name"));
    scene.watch(Kind::Binding);
    scene.takes_over(1);
    assert!(scene.next().is_none());
    scene.server.now = Duration::from_secs(10);
    scene.deaf();
    assert!(!scene.output("a"));
}

#[test]
fn who_takes_over_and_cannot_look_says_of_what_it_deleted_that_this_is_not_proved() {
    for unsafe_now in [true, false] {
        let mut scene = Scene::new();
        scene.grant("a", per_objective("chat", "vllm"));
        scene.rest();
        if unsafe_now {
            let unsafe_spec = in_account(per_objective("chat", "vllm"), "not a name");
            scene.server.put_by_hand(&binding("a"), unsafe_spec);
        } else {
            scene.server.delete_by_hand(&binding("a"));
        }
        scene.watch(Kind::Binding);
        scene.takes_over(1);
        let mut next = None;
        for second in 10..40 {
            scene.server.now = Duration::from_secs(second);
            while let Some(call) = next.take().or_else(|| scene.next()) {
                let looks = Request::of(&call).verb == Verb::List;
                let response = if looks { Err(Refused::Misfortune(500)) } else { scene.arrive(&call) };
                next = scene.answer(call, &response);
            }
        }
        assert!(!scene.output("a"));
        let status = scene.server.get(&binding("a")).unwrap().value["status"].to_string();
        assert!(status.contains("cannot be looked up") && !status.contains("still grants"), "{status}");
        // Who reads only whether it is Ready has to know that, too.
        assert_eq!(status.matches("; it is to be gone, because ").count(), if unsafe_now { 2 } else { 0 });
    }
}

#[test]
fn who_takes_over_lets_no_binding_go_before_outputs_were_proved_absent_anew() {
    let mut scene = Scene::new();
    scene.server.put_by_hand(&binding("a"), per_objective("chat", "vllm"));
    scene.rest();
    scene.server.delete_by_hand(&binding("a"));
    scene.watch(Kind::Binding);
    scene.server.remove_definition(Kind::Output);
    scene.tell(Report::Absent(Kind::Output));
    scene.takes_over(1);
    assert!(scene.next().is_none());
    scene.tell(Report::Anew(1));
    scene.rest();
    assert!(scene.server.get(&binding("a")).is_none());
}

#[test]
fn who_takes_over_grants_nothing_beside_what_the_former_leader_wrote_last() {
    let mut scene = Scene::new();
    scene.server.put_by_hand(&binding("a"), per_objective("chat", "router"));
    scene.rest();
    scene.server.now = Duration::from_secs(2);
    scene.server.put_by_hand(&binding("b"), per_objective("code", "vllm"));
    scene.rest();
    assert!(scene.output("a") && scene.output("b"));
    // The older one is edited into the way of the younger, and another replica sees to it. This one has heard that the
    // output of the younger is gone, and nothing else.
    scene.server.put_by_hand(&binding("a"), per_objective("chat", "vllm"));
    scene.server.delete_by_hand(&output_place("b"));
    scene.watch(Kind::Output);
    scene.server.edit_by_hand(&output_place("a"), |object| {
        let items = object["spec"]["workloadSelectorTemplates"].as_array_mut().unwrap();
        items.iter_mut().filter(|item| *item == "k8s:container-name:router").for_each(|item| {
            *item = "k8s:container-name:vllm".into();
        });
    });
    scene.takes_over(1);
    assert!(scene.next().is_none());
    scene.list(Kind::Output);
    scene.tell(Report::Anew(1));
    // It knows the edit no sooner than its watch tells; until then the former claim of the older one may be put back first.
    let mut next = scene.next();
    for _ in 0..20 {
        let Some(call) = next else { return };
        let older = scene.server.get(&output_place("a")).unwrap();
        let beside = older.value["spec"].to_string().contains("k8s:container-name:vllm");
        assert!(!beside || !is(Verb::Create, "b")(&Request::of(&call)), "two have one container");
        let response = scene.arrive(&call);
        next = scene.answer(call, &response).or_else(|| scene.next());
    }
    panic!("it never rests");
}

#[test]
fn a_binding_stays_while_a_write_was_answered_although_outputs_seem_to_have_no_definition() {
    let mut scene = Scene::new();
    scene.server.put_by_hand(&binding("a"), per_objective("chat", "vllm"));
    let create = scene.until(is(Verb::Create, "a")).unwrap();
    scene.server.delete_by_hand(&binding("a"));
    scene.watch(Kind::Binding);
    scene.server.remove_definition(Kind::Output);
    scene.tell(Report::Absent(Kind::Output));
    // The definition is back before anybody has told so, and the create arrives after that.
    scene.server.restore_definition(Kind::Output);
    let response = scene.arrive(&create);
    scene.finish(create, &response);
    assert!(scene.server.get(&binding("a")).is_some() && scene.output("a"), "its output is left behind");
    scene.list(Kind::Output);
    scene.server.now = Duration::from_secs(2);
    scene.rest();
    assert!(scene.server.get(&binding("a")).is_none() && !scene.output("a"));
}

#[test]
fn what_a_definition_did_not_take_is_tried_again_under_the_one_that_comes_after_it() {
    let mut scene = Scene::new();
    scene.server.put_by_hand(&binding("a"), per_objective("chat", "vllm"));
    let create = scene.until(is(Verb::Create, "a")).unwrap();
    scene.finish(create, &Err(Refused::Misfortune(422)));
    scene.rest();
    assert!(!scene.output("a"));
    scene.server.remove_definition(Kind::Output);
    scene.tell(Report::Absent(Kind::Output));
    scene.server.restore_definition(Kind::Output);
    scene.server.now = Duration::from_secs(2);
    scene.list(Kind::Output);
    scene.rest();
    assert!(scene.output("a"), "it is not tried again");
}

#[test]
fn who_takes_over_grants_nothing_while_outputs_cannot_be_listed() {
    let mut scene = Scene::new();
    scene.server.put_by_hand(&binding("a"), per_objective("chat", "router"));
    scene.rest();
    scene.server.now = Duration::from_secs(2);
    scene.server.put_by_hand(&binding("b"), per_objective("code", "vllm"));
    scene.rest();
    scene.server.put_by_hand(&binding("a"), per_objective("chat", "vllm"));
    scene.server.delete_by_hand(&output_place("b"));
    scene.watch(Kind::Output);
    scene.server.edit_by_hand(&output_place("a"), |object| {
        let items = object["spec"]["workloadSelectorTemplates"].as_array_mut().unwrap();
        items.iter_mut().filter(|item| *item == "k8s:container-name:router").for_each(|item| {
            *item = "k8s:container-name:vllm".into();
        });
    });
    scene.tell(Report::Trouble(Kind::Output, Some(Trouble::Failing)));
    scene.takes_over(1);
    assert!(scene.next().is_none());
    scene.server.now = Duration::from_secs(13);
    let beside = |scene: &Scene| {
        let older = scene.server.get(&output_place("a")).unwrap();
        older.value["spec"].to_string().contains("k8s:container-name:vllm") && scene.output("b")
    };
    for _ in 0..30 {
        scene.deaf();
        assert!(!beside(&scene), "two have one container");
        scene.server.now += Duration::from_secs(1);
    }
    let status = |scene: &Scene| scene.server.get(&binding("b")).unwrap().value["status"].to_string();
    assert!(status(&scene).contains("as soon as this operator, which has taken over"), "{}", status(&scene));
    scene.list(Kind::Output);
    scene.tell(Report::Trouble(Kind::Output, None));
    scene.tell(Report::Anew(1));
    scene.rest();
    assert!(!beside(&scene) && status(&scene).contains("IdentityCollision"), "{}", status(&scene));
}
