//! Who comes first, and what a binding that comes later is told.

use kleym_core::fact::{Change, FactKey};
use kleym_core::index::{Index, Verdict};
use kleym_core::kind::Kind;
use kleym_core::refusal::{Reason, Refusal};
use kleym_core::relation::{Cause, Conflict, MAX_PEERS};

use crate::random::furniture;
use crate::world::{Declared, assert_presentable, binding, key, name, ns, reason, serving, wanted};

/// A binding on the one container everybody here wants, under an ID of its own.
fn claim(text: &str) -> Declared {
    binding(text).id("spiffe://example.org/ns/{{ .Namespace }}/{{ .BindingName }}")
}

fn conflict(index: &Index, binding: &str) -> Conflict {
    match index.verdict(&key("llm", binding)).verdict {
        Verdict::Refused(Refusal::Conflict(conflict)) => conflict,
        other => panic!("{binding} is not outranked: {other:?}"),
    }
}

fn gone(index: &mut Index, binding: &str) {
    index.apply(Change::Gone(FactKey { kind: Kind::Binding, namespace: ns("llm"), name: name(binding) }));
}

#[test]
fn the_oldest_keeps_it() {
    let index = serving(&[claim("a").created(200), claim("z").created(100)]);
    assert!(wanted(&index, "z").is_some());
    assert_eq!(reason(&index, "a"), Some(Reason::IdentityCollision));
}

#[test]
fn within_one_second_the_name_decides() {
    let index = serving(&[claim("b"), claim("a"), claim("c")]);
    assert!(wanted(&index, "a").is_some());
    assert_eq!(conflict(&index, "b").foremost.name, name("a"));
    assert_eq!(conflict(&index, "c").count, 2);
}

#[test]
fn without_a_timestamp_a_binding_is_the_newest() {
    let index = serving(&[claim("a").created(None), claim("b").created(i64::MAX), claim("c").created(None)]);
    assert!(wanted(&index, "b").is_some());
    assert_eq!(conflict(&index, "a").count, 1);
    assert_eq!(conflict(&index, "c").count, 2);
}

#[test]
fn a_time_before_1970_is_older_than_one_after() {
    let index = serving(&[claim("a").created(0), claim("b").created(-1)]);
    assert!(wanted(&index, "b").is_some() && wanted(&index, "a").is_none());
}

#[test]
fn conflicts_are_listed_by_precedence_at_most_sixteen_with_their_number() {
    let crowd: Vec<Declared> = (0..40).map(|n| claim(&format!("b{n:02}")).created(1000 - n)).collect();
    let mut index = serving(&crowd);
    let last = conflict(&index, "b00");
    assert_eq!((last.count, last.peers.len()), (39, MAX_PEERS));
    let names: Vec<String> = last.peers.iter().map(|peer| peer.name.to_string()).collect();
    let expected: Vec<String> = (24..40).rev().map(|n| format!("b{n:02}")).collect();
    assert_eq!(names, expected);
    let message = Refusal::Conflict(last).message();
    assert!(message.contains("`b39` (and 38 more bindings) comes first"), "{message}");
    assert_eq!(conflict(&index, "b38").count, 1);
    // The next in line recovers by itself.
    gone(&mut index, "b39");
    assert!(wanted(&index, "b38").is_some());
    assert_eq!(conflict(&index, "b00").count, 38);
}

#[test]
fn a_collision_is_reported_before_a_duplicate_even_where_the_duplicate_comes_first() {
    let shared = "spiffe://example.org/ns/llm/shared";
    let mut index = serving(&[
        // The same ID for the pool: layering, so no collision, but a duplicate.
        binding("duplicate").pool_only().id(shared).created(1),
        claim("collision").created(2),
        binding("late").id(shared).created(3),
    ]);
    let late = conflict(&index, "late");
    let causes: Vec<(String, Cause)> =
        late.peers.iter().map(|peer| (peer.name.to_string(), peer.cause)).collect();
    assert_eq!(
        causes,
        [
            ("duplicate".to_owned(), Cause::DuplicateSpiffeId),
            ("collision".to_owned(), Cause::IdentityCollision)
        ]
    );
    assert_eq!((late.cause(), late.foremost.name.as_str()), (Cause::IdentityCollision, "collision"));
    gone(&mut index, "collision");
    assert_eq!(reason(&index, "late"), Some(Reason::DuplicateSpiffeId));
}

#[test]
fn the_foremost_collision_is_found_beyond_the_sixteen_that_are_listed() {
    let shared = "spiffe://example.org/ns/llm/shared";
    let mut crowd: Vec<Declared> =
        (0..20).map(|n| binding(&format!("d{n:02}")).pool_only().id(shared).created(n)).collect();
    crowd.push(claim("collision").created(50));
    crowd.push(binding("late").id(shared).created(60));
    let late = conflict(&serving(&crowd), "late");
    assert_eq!((late.count, late.peers.len(), late.cause()), (21, MAX_PEERS, Cause::IdentityCollision));
    assert!(late.peers.iter().all(|peer| peer.cause == Cause::DuplicateSpiffeId));
    assert_eq!(late.foremost.name, name("collision"));
}

#[test]
fn a_refused_peer_that_can_be_rendered_outranks_all_the_same() {
    // `b` loses to `a`; `c` would not meet `a` at all, and still waits for `b`: a local rule, without chains.
    let index = serving(&[
        claim("a").template("k8s:node-name:n1").created(1),
        claim("b").created(2),
        claim("c").template("k8s:node-name:n2").created(3),
    ]);
    assert!(wanted(&index, "a").is_some());
    assert_eq!(conflict(&index, "b").foremost.name, name("a"));
    let c = conflict(&index, "c");
    assert_eq!((c.count, &c.foremost.name), (1, &name("b")));
}

#[test]
fn a_peer_that_cannot_be_rendered_competes_with_nobody() {
    let mut index = serving(&[claim("a").template("k8s:pod-uid:x").created(1), claim("b").created(2)]);
    assert!(wanted(&index, "b").is_some());
    let dirty = index.apply(claim("a").created(1).put());
    assert_eq!(dirty, [key("llm", "a"), key("llm", "b")].into());
    assert_eq!(reason(&index, "b"), Some(Reason::IdentityCollision));
}

#[test]
fn a_deleting_binding_competes_until_its_finalizer_is_gone() {
    let mut index = serving(&[claim("a").created(1).deleting(true), claim("b").created(2)]);
    assert_eq!(index.verdict(&key("llm", "a")).verdict, Verdict::Deleting);
    assert_eq!(reason(&index, "b"), Some(Reason::IdentityCollision));
    let dirty = index.apply(claim("a").created(1).deleting(false).put());
    assert!(dirty.contains(&key("llm", "b")));
    assert!(wanted(&index, "b").is_some());
}

#[test]
fn bindings_of_different_namespaces_never_meet() {
    let mut elsewhere = claim("b").created(1);
    elsewhere.0.key.namespace = ns("web");
    let mut index = serving(&[elsewhere, claim("a").created(2)]);
    for change in furniture("web", true, true) {
        index.apply(change);
    }
    for key in [key("web", "b"), key("llm", "a")] {
        assert!(matches!(index.verdict(&key).verdict, Verdict::Wanted(_)), "{key}");
    }
}

#[test]
fn the_message_says_which_peer_which_overlap_and_what_would_prove_the_two_apart() {
    let index = serving(&[claim("a").created(1), claim("b").created(2)]);
    assert_eq!(
        Refusal::Conflict(conflict(&index, "b")).message(),
        "InferenceIdentityBinding `a` comes first and claims `spiffe://example.org/ns/llm/a` for workloads this binding claims too: \
         nothing proves the two apart, both select `k8s:container-name:vllm`, `k8s:pod-label:app:llama` and `k8s:sa:server`; \
         if they are different containers, correct the container name of one (in mode PerObjective, \
         spec.containerDiscriminator); otherwise tell them apart by service account, pod label, node or pod name; if they are the same, keep one binding"
    );
}

#[test]
fn verdicts_and_messages_do_not_depend_on_the_order_of_arrival() {
    let crowd: Vec<Declared> = (0..30)
        .map(|n| {
            let claim = claim(&format!("b{n:02}")).created(n % 4);
            if n % 3 == 0 { claim.template("k8s:node-name:n1") } else { claim }
        })
        .collect();
    let text = |index: &Index| -> Vec<String> {
        index.bindings().map(|binding| format!("{:?}", index.verdict(&binding.key))).collect()
    };
    let expected = serving(&crowd);
    let mut order: Vec<usize> = (0..crowd.len()).collect();
    for round in 0..50 {
        // Every rotation and stride of the list, so that each comes before and after each.
        order.rotate_left(7);
        order.swap(round % 30, (round * 11 + 3) % 30);
        let arrived: Vec<Declared> = order.iter().map(|place| crowd[*place].clone()).collect();
        let index = serving(&arrived);
        assert_eq!(text(&index), text(&expected));
        assert_eq!(format!("{index:?}"), format!("{expected:?}"));
    }
}

#[test]
fn a_thousand_that_claim_one_container_are_told_in_bounded_words() {
    let crowd: Vec<Declared> = (0..1000).map(|n| claim(&format!("b{n:04}")).created(n)).collect();
    let mut index = serving(&crowd);
    assert!(wanted(&index, "b0000").is_some());
    let last = conflict(&index, "b0999");
    assert_eq!((last.count, last.peers.len()), (999, MAX_PEERS));
    assert_presentable(&Refusal::Conflict(last).message());
    assert_eq!(index.apply(claim("c").created(None).put()), [key("llm", "c")].into());
}
