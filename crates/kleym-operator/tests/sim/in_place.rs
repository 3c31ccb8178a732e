//! A change of labels is one replace in place, for several bindings of one subject too.

use kleym_core::kind::{Kind, PoolGroup};

use crate::by_hand::{NAMESPACE, Scene, binding};
use crate::objects::{output_of, per_objective, pool};
use crate::server::Place;

const POOLS: Kind = Kind::Pool(PoolGroup::Inference);
const CONTAINERS: [&str; 3] = ["decode", "prefill", "router"];

/// Three bindings of one objective, so of one SPIFFE ID, each for a container of its own; all granted.
fn granted() -> Scene {
    let mut scene = Scene::new();
    for container in CONTAINERS {
        scene.server.put_by_hand(&binding(container), per_objective("chat", container));
    }
    scene.rest();
    scene
}

fn relabel(scene: &mut Scene, label: &str) {
    scene.server.put_by_hand(&Place::new(POOLS, NAMESPACE, "llama"), pool(&[("app", label)]));
}

/// The uids of the outputs: another one is another object, with a moment without identity before it.
fn uids(scene: &Scene) -> Vec<String> {
    let uid = |container: &str| {
        let output = scene.server.get(&Place::output(&output_of(NAMESPACE, container))).unwrap();
        output.value["metadata"]["uid"].to_string()
    };
    CONTAINERS.map(uid).into()
}

#[test]
fn a_pool_that_is_relabelled_while_no_operator_runs_costs_no_identity() {
    let mut scene = granted();
    let before = uids(&scene);
    relabel(&mut scene, "sglang");
    scene.restart();
    scene.rest();
    assert_eq!(uids(&scene), before);
}

#[test]
fn a_pool_that_is_relabelled_again_before_all_outputs_have_followed_costs_no_identity() {
    let mut scene = granted();
    let before = uids(&scene);
    relabel(&mut scene, "sglang");
    // The outputs are replaced, and before that is confirmed the pool changes again.
    scene.watch(POOLS);
    let first = scene.next().unwrap();
    let second = scene.next().unwrap();
    let answers = [scene.arrive(&first), scene.arrive(&second)];
    relabel(&mut scene, "vllm-2");
    scene.watch(POOLS);
    let [of_first, of_second] = &answers;
    scene.finish(first, of_first);
    scene.finish(second, of_second);
    scene.rest();
    assert_eq!(uids(&scene), before);
}
