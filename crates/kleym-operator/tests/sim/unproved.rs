//! What only seems to have happened, and what a look did not settle. None of these was found by a seed.

use std::time::Duration;

use kleym_core::kind::{Kind, ObjectiveGroup};
use kleym_core::plan::Reply;
use kleym_operator::perform::Answer;
use serde_json::{Value, json};

use crate::by_hand::{NAMESPACE, Scene, binding, is, output_place};
use crate::objects::{objective, per_objective};
use crate::server::{Place, Refused};
use crate::wire::{Request, Verb};

#[test]
fn a_look_that_shows_what_cannot_be_read_proves_nothing() {
    let mut scene = Scene::new();
    scene.server.put_by_hand(&binding("a"), per_objective("chat", "vllm"));
    let create = scene.until(is(Verb::Create, "a")).unwrap();
    scene.arrive(&create).unwrap();
    scene.server.delete_by_hand(&binding("a"));
    scene.watch(Kind::Binding);
    // It was made, and nobody says so.
    let mut next = scene.answer(create, &Err(Refused::Misfortune(504)));
    scene.server.now = Duration::from_secs(30);
    for _ in 0..20 {
        let Some(call) = next.take().or_else(|| scene.next()) else { break };
        let request = Request::of(&call);
        let released = request.verb == Verb::PatchFinalizers
            && !request.body["metadata"]["finalizers"].to_string().contains("kleym");
        assert!(!(released && scene.output("a")), "S1: released while its output stands");
        if request.verb == Verb::List && request.kind == Kind::Output {
            // One object of the name, but without what the API server gives every object.
            let item = json!({"apiVersion": "spire.spiffe.io/v1alpha1", "kind": "ClusterSPIFFEID", "metadata": {"name": request.name}});
            next = scene.reply(call, &Answer { reply: Reply::Done, objects: vec![(Kind::Output, item)] });
            continue;
        }
        let response = scene.arrive(&call);
        next = scene.answer(call, &response);
    }
}

#[test]
fn an_orphan_is_swept_although_its_binding_came_and_went_unseen() {
    let mut scene = Scene::new();
    scene.server.put_by_hand(&binding("a"), per_objective("chat", "vllm"));
    scene.rest();
    let mut old = Value::clone(&scene.server.get(&output_place("a")).unwrap().value);
    scene.server.delete_by_hand(&binding("a"));
    scene.rest();
    assert!(!scene.output("a"));
    // Another binding of the name, and what another replica, or a restored backup, made of it. The watch of bindings has
    // broken.
    scene.server.put_by_hand(&binding("a"), per_objective("chat", "vllm"));
    let uid = scene.server.get(&binding("a")).unwrap().uid.clone();
    old["metadata"]["annotations"]["kleym.sonda.red/binding-uid"] = json!(uid);
    scene.server.create_by_hand(&output_place("a"), old);
    scene.watch(Kind::Output);
    scene.deaf();
    assert!(scene.output("a"));
    scene.server.delete_by_hand(&binding("a"));
    assert!(scene.server.get(&binding("a")).is_none());
    scene.list(Kind::Binding);
    scene.rest();
    scene.server.now = Duration::from_secs(600);
    scene.rest();
    assert!(!scene.output("a"), "an orphan stays for ever");
}

#[test]
fn what_may_be_an_orphan_does_not_go_without_a_look_however_long_looks_fail() {
    let mut scene = Scene::new();
    scene.server.put_by_hand(&binding("a"), per_objective("chat", "router"));
    scene.rest();
    // Another binding takes the place of this one, and another replica grants what it is to have; the watch of bindings is
    // behind.
    let mut old = Value::clone(&scene.server.get(&output_place("a")).unwrap().value);
    scene.strip("a");
    scene.server.delete_by_hand(&binding("a"));
    scene.server.put_by_hand(&binding("a"), per_objective("chat", "vllm"));
    let uid = scene.server.get(&binding("a")).unwrap().uid.clone();
    scene.server.delete_by_hand(&output_place("a"));
    old["metadata"]["annotations"]["kleym.sonda.red/binding-uid"] = json!(uid);
    let items = old["spec"]["workloadSelectorTemplates"].as_array_mut().unwrap();
    items.iter_mut().filter(|item| *item == "k8s:container-name:router").for_each(|item| {
        *item = "k8s:container-name:vllm".into();
    });
    scene.server.create_by_hand(&output_place("a"), old);
    scene.watch(Kind::Output);
    for second in 1..30 {
        scene.server.now = Duration::from_secs(second);
        let mut next = None;
        while let Some(call) = next.take().or_else(|| scene.next()) {
            let request = Request::of(&call);
            assert!(request.verb != Verb::Delete, "what may be a living binding's is deleted");
            let response = match (request.kind, request.verb) {
                (Kind::Binding, _) => Err(Refused::Misfortune(503)),
                _ => scene.arrive(&call),
            };
            next = scene.answer(call, &response);
        }
    }
}

#[test]
fn what_was_deleted_because_it_waits_too_long_is_not_replaced_beside_what_it_waits_for() {
    let mut scene = Scene::new();
    scene.server.put_by_hand(&binding("a"), per_objective("chat", "router"));
    scene.rest();
    scene.server.now = Duration::from_secs(2);
    scene.server.put_by_hand(&binding("b"), per_objective("code", "vllm"));
    scene.rest();
    assert!(scene.output("a") && scene.output("b"));
    scene.server.put_by_hand(&binding("a"), per_objective("chat", "vllm"));
    for second in 3..20 {
        scene.server.now = Duration::from_secs(second);
        for kind in Kind::ALL {
            scene.watch(kind);
        }
        let mut next = None;
        while let Some(call) = next.take().or_else(|| scene.next()) {
            let request = Request::of(&call);
            if is(Verb::Delete, "b")(&request) {
                next = scene.answer(call, &Err(Refused::Misfortune(403)));
            } else if is(Verb::Delete, "a")(&request) {
                // It is said to be done, and is not, yet.
                next = scene.reply(call, &Answer { reply: Reply::Done, objects: Vec::new() });
            } else {
                let response = scene.arrive(&call);
                next = scene.answer(call, &response);
            }
            let grants = |of: &str| {
                scene.server.get(&output_place(of)).is_some_and(|stored| {
                    stored.value["spec"].to_string().contains("k8s:container-name:vllm")
                })
            };
            assert!(!(grants("a") && grants("b")), "S4: two have one container");
        }
    }
}

#[test]
fn what_was_deleted_because_it_grants_too_much_is_looked_for() {
    let mut scene = Scene::new();
    scene.server.put_by_hand(&binding("a"), per_objective("chat", "router"));
    scene.rest();
    scene.server.put_by_hand(&binding("a"), per_objective("chat", "vllm"));
    let replace = scene.until(is(Verb::Replace, "a")).unwrap();
    let mut next = scene.answer(replace, &Err(Refused::Misfortune(422)));
    let mut acknowledged = false;
    for second in 1..60 {
        scene.server.now = Duration::from_secs(second);
        for kind in Kind::ALL {
            scene.watch(kind);
        }
        while let Some(call) = next.take().or_else(|| scene.next()) {
            let request = Request::of(&call);
            if is(Verb::Delete, "a")(&request) && !std::mem::replace(&mut acknowledged, true) {
                next = scene.reply(call, &Answer { reply: Reply::Done, objects: Vec::new() });
                continue;
            }
            let response = match request.verb {
                Verb::Replace | Verb::Create => Err(Refused::Misfortune(422)),
                _ => scene.arrive(&call),
            };
            next = scene.answer(call, &response);
        }
    }
    assert!(!scene.output("a"), "it still grants what it is not to");
}

#[test]
fn a_doubt_about_what_is_nobodys_ends() {
    let mut scene = Scene::new();
    scene.server.put_by_hand(&binding("a"), per_objective("chat", "router"));
    scene.rest();
    scene.server.put_by_hand(&binding("a"), per_objective("chat", "vllm"));
    let replace = scene.until(is(Verb::Replace, "a")).unwrap();
    scene.strip("a");
    scene.server.delete_by_hand(&binding("a"));
    scene.server.edit_by_hand(&output_place("a"), |object| {
        object["metadata"]["labels"].as_object_mut().unwrap().shift_remove("kleym.sonda.red/instance");
    });
    scene.watch(Kind::Binding);
    scene.watch(Kind::Output);
    scene.finish(replace, &Err(Refused::Misfortune(504)));
    scene.server.now = Duration::from_secs(60);
    scene.rest();
    scene.server.delete_by_hand(&output_place("a"));
    scene.rest();
    scene.server.put_by_hand(&binding("b"), per_objective("code", "vllm"));
    scene.rest();
    scene.server.now = Duration::from_secs(600);
    scene.rest();
    assert!(scene.output("b"), "what is gone is in the way for ever");
}

#[test]
fn that_it_cools_down_is_said() {
    let mut scene = Scene::new();
    let chat = Place::new(Kind::Objective(ObjectiveGroup::LlmD), NAMESPACE, "chat");
    scene.server.put_by_hand(&binding("a"), per_objective("chat", "vllm"));
    scene.rest();
    // The target comes and goes.
    for _ in 0..12 {
        scene.server.delete_by_hand(&chat);
        scene.rest();
        scene.server.put_by_hand(&chat, objective("llama"));
        for _ in 0..1000 {
            if scene.output("a") {
                break;
            }
            scene.server.now += Duration::from_millis(100);
            scene.rest();
        }
    }
    scene.server.delete_by_hand(&chat);
    scene.rest();
    scene.server.put_by_hand(&chat, objective("llama"));
    for _ in 0..10 {
        scene.server.now += Duration::from_secs(1);
        scene.rest();
    }
    let status = scene.server.get(&binding("a")).unwrap().value["status"].to_string();
    assert!(status.contains("granted again after a short back-off"), "{status}");
}
