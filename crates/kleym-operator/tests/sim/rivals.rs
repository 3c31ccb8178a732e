//! Somebody who undoes what the operator writes, again and again, as fast as he can.

use std::time::Duration;

use kleym_core::kind::Kind;
use serde_json::{Value, json};

use crate::by_hand::{NAMESPACE, Scene, binding};
use crate::deed::{self, Deed, Meddling};
use crate::objects::{output_of, per_objective};
use crate::server::{Place, Stored};
use crate::wire::{Request, Verb};

/// How often something is done again at once.
const AT_ONCE: usize = 20;
/// In half a minute: those, and then after 0.25, 0.5, 1, 2, 4 and 8 seconds.
const IN_HALF_A_MINUTE: usize = AT_ONCE + 6;

/// A binding that is granted.
fn granted() -> Scene {
    let mut scene = Scene::new();
    scene.server.put_by_hand(&binding("a"), per_objective("chat", "vllm"));
    scene.rest();
    scene
}

fn place() -> Place {
    Place::output(&output_of(NAMESPACE, "a"))
}

fn output(scene: &Scene) -> Option<&Stored> {
    scene.server.get(&place())
}

/// Has somebody do this for half a minute, whenever the operator has done what it wants; gives what the operator did.
fn fight(scene: &mut Scene, undo: impl Fn(&mut Scene), check: impl Fn(&Scene)) -> Vec<Verb> {
    let mut done = Vec::new();
    let until = scene.server.now + Duration::from_secs(30);
    while scene.server.now < until {
        undo(scene);
        for kind in Kind::ALL {
            scene.watch(kind);
        }
        while let Some(call) = scene.next() {
            let mut next = Some(call);
            while let Some(call) = next {
                let request = Request::of(&call);
                if request.verb.writes() {
                    done.push(request.verb);
                }
                let response = scene.arrive(&call);
                next = scene.answer(call, &response);
            }
        }
        check(scene);
        scene.server.now += Duration::from_millis(10);
    }
    done
}

fn count(done: &[Verb], verb: Verb) -> usize {
    done.iter().filter(|other| **other == verb).count()
}

fn edit_hint(scene: &mut Scene) {
    scene.server.edit_by_hand(&place(), |object| object["spec"]["hint"] = json!("somebody's"));
}

fn message(scene: &Scene) -> String {
    let status = &scene.server.get(&binding("a")).unwrap().value["status"];
    status.pointer("/conditions/0/message").and_then(Value::as_str).unwrap().to_owned()
}

/// How the status begins while a pause lasts.
fn blames() -> String {
    format!("somebody changes or deletes ClusterSPIFFEID `{}` again and again: ", place().name)
}

/// Whoever stops leaves everything as it is to be.
fn is_put_right(scene: &mut Scene) {
    scene.server.now += Duration::from_secs(60);
    scene.rest();
    let spec = &output(scene).unwrap().value["spec"];
    assert_eq!((&spec["hint"], spec.get("admin")), (&json!("llm/a"), None));
    assert!(message(scene).contains("grants `spiffe://"), "{}", message(scene));
    let finalizers = scene.server.get(&binding("a")).unwrap().finalizers().count();
    assert_eq!(finalizers, 1);
}

#[test]
fn an_output_that_somebody_edits_all_the_time_is_put_right_ever_more_rarely_and_the_status_says_so() {
    let mut scene = granted();
    let done = fight(&mut scene, edit_hint, |_| {});
    assert_eq!(count(&done, Verb::Replace), IN_HALF_A_MINUTE);
    assert_eq!(count(&done, Verb::Create) + count(&done, Verb::Delete), 0);
    assert!(message(&scene).starts_with(&blames()), "{}", message(&scene));
    is_put_right(&mut scene);
}

#[test]
fn a_change_a_withdrawal_and_every_other_binding_wait_for_no_fight() {
    let mut scene = granted();
    fight(&mut scene, edit_hint, |_| {});
    scene.server.put_by_hand(&binding("b"), per_objective("code", "router"));
    scene.rest();
    assert!(scene.output("b"));
    scene.server.put_by_hand(&binding("a"), per_objective("chat", "decode"));
    scene.rest();
    let output = output(&scene).unwrap().value.to_string();
    assert!(output.contains("k8s:container-name:decode") && output.contains("llm/a"), "{output}");
    fight(&mut scene, edit_hint, |_| {});
    scene.server.delete_by_hand(&binding("a"));
    scene.rest();
    assert!(!scene.output("a") && scene.server.get(&binding("a")).is_none());
}

#[test]
fn an_output_that_somebody_deletes_all_the_time_is_created_ever_more_rarely_and_the_status_says_so() {
    let mut scene = granted();
    let undo = |scene: &mut Scene| {
        scene.server.delete_by_hand(&place());
    };
    let done = fight(&mut scene, undo, |_| {});
    assert_eq!(count(&done, Verb::Create), IN_HALF_A_MINUTE);
    assert!(message(&scene).starts_with(&blames()), "{}", message(&scene));
    is_put_right(&mut scene);
}

#[test]
fn an_output_that_somebody_widens_all_the_time_is_never_left_wide() {
    let mut scene = granted();
    let undo = |scene: &mut Scene| {
        deed::to_server(&mut scene.server, &Deed::Meddle(NAMESPACE, "a", Meddling::Admin));
    };
    let narrow = |scene: &Scene| {
        let wide = output(scene).is_some_and(|output| output.value["spec"].get("admin").is_some());
        assert!(!wide, "it stays wide at {:?}", scene.server.now);
    };
    let done = fight(&mut scene, undo, narrow);
    assert_eq!(count(&done, Verb::Replace), AT_ONCE);
    assert_eq!(count(&done, Verb::Create), IN_HALF_A_MINUTE - AT_ONCE);
    assert_eq!(count(&done, Verb::Delete), IN_HALF_A_MINUTE - AT_ONCE + 1);
    is_put_right(&mut scene);
}

#[test]
fn a_binding_that_is_deleted_and_created_all_the_time_is_granted_at_once_each_time() {
    let mut scene = granted();
    for _ in 0..2 * AT_ONCE {
        scene.server.delete_by_hand(&binding("a"));
        scene.rest();
        assert!(!scene.output("a"));
        scene.server.put_by_hand(&binding("a"), per_objective("chat", "vllm"));
        scene.rest();
        assert!(scene.output("a"));
        scene.server.now += Duration::from_millis(10);
    }
}

#[test]
fn a_finalizer_that_somebody_takes_off_all_the_time_is_put_back_ever_more_rarely() {
    let mut scene = granted();
    let undo = |scene: &mut Scene| {
        deed::to_server(&mut scene.server, &Deed::Strip(binding("a")));
    };
    let done = fight(&mut scene, undo, |_| {});
    assert_eq!(done, vec![Verb::PatchFinalizers; IN_HALF_A_MINUTE]);
    is_put_right(&mut scene);
}
