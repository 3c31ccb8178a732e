//! Somebody who writes a status over again and again.

use std::time::Duration;

use kleym_core::kind::Kind;
use serde_json::json;

use crate::by_hand::{Scene, binding};
use crate::objects::per_objective;
use crate::wire::{Request, Verb};

#[test]
fn a_status_that_somebody_overwrites_all_the_time_is_rewritten_ever_more_rarely() {
    let mut scene = Scene::new();
    let place = binding("a");
    scene.server.put_by_hand(&place, per_objective("chat", "vllm"));
    scene.rest();
    let mut rewrites = 0;
    for turn in 0..3_000 {
        let mut status = scene.server.get(&place).unwrap().value["status"].clone();
        status["conflictCount"] = json!(turn + 1);
        scene.server.report(&place, status);
        scene.watch(Kind::Binding);
        while let Some(call) = scene.next() {
            assert_eq!(Request::of(&call).verb, Verb::ReplaceStatus, "nothing but the status is touched");
            let response = scene.arrive(&call);
            scene.finish(call, &response);
            rewrites += 1;
        }
        scene.server.now += Duration::from_millis(10);
    }
    // At once, and then after 0.25, 0.5, 1, 2, 4, 8 seconds; the next would come after 16 more.
    assert_eq!(rewrites, 7, "in thirty seconds");
    // Whoever stops leaves the right status behind.
    scene.server.now += Duration::from_secs(60);
    scene.rest();
    let status = &scene.server.get(&place).unwrap().value["status"];
    assert!(status.get("conflictCount").is_none() && status["conditions"].is_array(), "{status}");
}
