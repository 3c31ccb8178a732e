//! A grant that is to go and cannot be withdrawn: what the status says of it, and when.

use std::time::Duration;

use kleym_core::kind::{Kind, ObjectiveGroup};
use serde_json::json;

use crate::by_hand::{NAMESPACE, Scene, binding, is, output_place};
use crate::objects::per_objective;
use crate::server::{Place, Refused};
use crate::wire::{Request, Verb};

const STANDS: &str = "still grants `spiffe://example.org/ns/llm/objective/chat`, because ";

/// A binding that is granted, and is to lose it.
fn to_be_withdrawn(deleted: bool) -> Scene {
    let mut scene = Scene::new();
    scene.server.put_by_hand(&binding("a"), per_objective("chat", "vllm"));
    scene.rest();
    if deleted {
        scene.server.delete_by_hand(&binding("a"));
    } else {
        let objective = Kind::Objective(ObjectiveGroup::LlmD);
        scene.server.delete_by_hand(&Place::new(objective, NAMESPACE, "chat"));
    }
    scene
}

/// Has every delete of the output fail like this, for a while.
fn deny(scene: &mut Scene, code: u16, span: Duration) {
    let until = scene.server.now + span;
    while scene.server.now < until {
        while let Some(call) = scene.until(is(Verb::Delete, "a")) {
            scene.finish(call, &Err(Refused::Misfortune(code)));
        }
        scene.server.now += Duration::from_millis(50);
    }
}

fn says(scene: &Scene) -> String {
    let status = &scene.server.get(&binding("a")).unwrap().value["status"];
    status.pointer("/conditions/0/message").unwrap().as_str().unwrap().to_owned()
}

#[test]
fn a_grant_that_stands_against_a_missing_permission_is_told_soon() {
    for deleted in [false, true] {
        let mut scene = to_be_withdrawn(deleted);
        deny(&mut scene, 403, Duration::from_secs(3));
        let message = says(&scene);
        let why = format!("{STANDS}it may not be deleted with the operator's permissions");
        assert!(message.contains(&why), "{message}");
        scene.server.now += Duration::from_secs(10);
        scene.rest();
        assert!(!scene.output("a"));
        assert!(deleted || !says(&scene).contains("still grants"));
        assert_eq!(scene.server.get(&binding("a")).is_none(), deleted);
    }
}

#[test]
fn a_hiccup_is_not_worth_a_word_and_what_lasts_is() {
    for deleted in [false, true] {
        let mut scene = to_be_withdrawn(deleted);
        deny(&mut scene, 503, Duration::from_secs(4));
        assert!(!says(&scene).contains("still grants"), "{}", says(&scene));
        deny(&mut scene, 503, Duration::from_secs(8));
        let version = scene.server.get(&binding("a")).unwrap().version;
        assert!(says(&scene).contains(STANDS), "{}", says(&scene));
        deny(&mut scene, 503, Duration::from_secs(60));
        assert_eq!(scene.server.get(&binding("a")).unwrap().version, version, "it is told once");
    }
}

/// Bindings that are granted, the older one first, with outputs that a foreign finalizer keeps.
fn kept(names: &[&str]) -> Scene {
    let mut scene = Scene::new();
    for (name, (objective, container)) in names.iter().zip([("chat", "vllm"), ("code", "router")]) {
        scene.server.put_by_hand(&binding(name), per_objective(objective, container));
        scene.rest();
        scene.server.edit_by_hand(&output_place(name), |object| {
            object["metadata"]["finalizers"] = json!(["example.com/keep"]);
        });
        scene.rest();
    }
    scene
}

/// An orphan that a foreign finalizer keeps.
pub(crate) fn orphaned() -> Scene {
    let mut scene = kept(&["a"]);
    scene.server.edit_by_hand(&binding("a"), |object| object["metadata"]["finalizers"] = json!([]));
    scene.server.delete_by_hand(&binding("a"));
    scene
}

/// Has everything happen that the operator wants, for a while, and each replace of an output come too late, because somebody has
/// just changed it. Answers whether it was deleted.
fn outrun(scene: &mut Scene, name: &'static str) -> bool {
    let output = output_place(name);
    let (mut next, mut edits) = (None, 0);
    let end = scene.server.now + Duration::from_secs(20);
    while scene.server.now < end {
        for kind in Kind::ALL {
            scene.watch(kind);
        }
        let Some(call) = next.take().or_else(|| scene.next()) else {
            scene.server.now += Duration::from_millis(100);
            continue;
        };
        if is(Verb::Replace, name)(&Request::of(&call)) {
            scene.server.now += Duration::from_millis(20);
            edits += 1;
            scene.server.edit_by_hand(&output, |object| {
                object["metadata"]["annotations"]["example.com/edits"] = json!(edits.to_string());
            });
        }
        let response = scene.arrive(&call);
        next = scene.answer(call, &response);
    }
    assert!(edits > 0, "nothing was tried");
    scene.server.get(&output).unwrap().value["metadata"].get("deletionTimestamp").is_some()
}

#[test]
fn what_somebody_changes_before_each_write_and_a_finalizer_keeps_is_deleted_all_the_same() {
    let mut refused = kept(&["a"]);
    refused.server.delete_by_hand(&Place::new(Kind::Objective(ObjectiveGroup::LlmD), NAMESPACE, "chat"));
    assert!(outrun(&mut refused, "a"), "the output of a refused binding still grants");

    assert!(outrun(&mut orphaned(), "a"), "an orphan still grants");

    let mut wanted = kept(&["a", "b"]);
    wanted.server.put_by_hand(&binding("b"), per_objective("code", "other"));
    wanted.server.put_by_hand(&binding("a"), per_objective("chat", "router"));
    assert!(outrun(&mut wanted, "b"), "what stands against an older one still grants");
}
