//! Two identities of one namespace against a small world of workloads, by brute force: whatever is called disjoint is,
//! and nothing a binding can write makes it match more.

use kleym_core::fact::DiscriminatorType;
use kleym_core::relation::{Cause, compete, conflict, disjoint};
use kleym_core::render::Identity;
use proptest::collection::vec;
use proptest::prelude::{any, proptest};
use proptest::sample::select;

use crate::naive::{self, Plain};
use crate::random::narrowing;
use crate::world::{Declared, POPULATION, binding, cases};

const ITEMS: [&[&str]; 7] = [
    &["k8s:sa:server", "k8s:sa:other"],
    &["", "k8s:container-name:vllm", "k8s:container-name:proxy"],
    &["", "k8s:container-image:r:5000/vllm:v1", "k8s:container-image:r:5000/vllm:v2"],
    &["", "k8s:container-image:r:5000/vllm@sha256:aa"],
    &["", "k8s:pod-label:tier:a", "k8s:pod-label:tier:b"],
    &["", "k8s:node-name:n1", "k8s:node-name:n2"],
    &["", "k8s:pod-name:p2"],
];

/// Every combination of one choice from each line.
fn combinations(lines: &[&[&'static str]]) -> Vec<Vec<&'static str>> {
    lines.iter().fold(vec![Vec::new()], |all, line| {
        all.iter().flat_map(|so_far| line.iter().map(move |one| [&so_far[..], &[*one]].concat())).collect()
    })
}

fn pool_only(items: &[&str], id: &str) -> Identity {
    let items = items.iter().filter(|item| !item.is_empty()).copied();
    let templates = ["k8s:ns:llm"].into_iter().chain(items);
    binding("b").pool_only().templates(templates).id(id).render().unwrap()
}

#[test]
fn what_is_disjoint_matches_no_workload_in_common_and_what_is_not_can() {
    // All seven lines at once would be a million pairs; each half has the account, the container and the tags.
    let halves = [&ITEMS[..5], &[ITEMS[0], ITEMS[1], ITEMS[2], ITEMS[4], ITEMS[5], ITEMS[6]][..]];
    let mut pairs = 0;
    for lines in halves {
        let all: Vec<_> = combinations(lines)
            .iter()
            .map(|items| {
                let identity = pool_only(items, "spiffe://example.org/ns/llm/x");
                let matching = POPULATION.of(&identity);
                assert!(!matching.is_empty(), "{items:?}");
                (Plain::from(&identity), identity, matching)
            })
            .collect();
        for (plain, a, in_a) in &all {
            for (theirs, b, in_b) in &all {
                let apart = disjoint(a, b).is_some();
                assert_eq!(apart, in_a.is_apart_from(in_b), "{plain:?} {theirs:?}");
                assert_eq!(apart, naive::disjoint(plain, theirs));
                pairs += 1;
            }
        }
    }
    assert_eq!(pairs, 108 * 108 + 324 * 324);
}

#[test]
fn the_proof_of_disjointness_names_one_item_of_each_set_in_one_slot() {
    let a = pool_only(&["k8s:sa:server", "k8s:pod-label:tier:a"], "spiffe://example.org/ns/llm/a");
    let b = pool_only(&["k8s:sa:server", "k8s:pod-label:tier:b"], "spiffe://example.org/ns/llm/b");
    let proof = disjoint(&a, &b).unwrap();
    assert_eq!(
        (proof.first.as_str(), proof.second.as_str()),
        ("k8s:pod-label:tier:a", "k8s:pod-label:tier:b")
    );
}

#[test]
fn nothing_outside_the_list_proves_two_identities_apart() {
    for (one, other) in [
        ("k8s:ns-label:team:a", "k8s:ns-label:team:b"),
        ("k8s:pod-image-count:1", "k8s:pod-image-count:2"),
        ("k8s:pod-init-image-count:0", "k8s:pod-init-image-count:1"),
        ("k8s:pod-owner:ReplicaSet:a", "k8s:pod-owner:ReplicaSet:b"),
        ("k8s:pod-owner-uid:ReplicaSet:a", "k8s:pod-owner-uid:ReplicaSet:b"),
        ("k8s:pod-image:vllm:v1", "k8s:pod-image:vllm:v2"),
        ("k8s:pod-init-image:vllm:v1", "k8s:pod-init-image:vllm:v2"),
        ("k8s:image-signature-subject:a", "k8s:image-signature-subject:b"),
        ("k8s:image-signature:a", "k8s:image-signature:b"),
        ("k8s:image-attestations:a", "k8s:image-attestations:b"),
        ("k8s:container-image:vllm@sha256:aa", "k8s:container-image:vllm@sha256:bb"),
        ("k8s:container-image:sha256:aa", "k8s:container-image:sha256:bb"),
        ("k8s:container-image:vllm:v1@sha256:aa", "k8s:container-image:vllm:v2@sha256:aa"),
        ("k8s:container-image:vllm", "k8s:container-image:proxy"),
        ("k8s:container-image:r:5000/vllm", "k8s:container-image:r:5001/vllm"),
        ("k8s:container-image:vllm:v1", "k8s:container-image:vllm@sha256:bb"),
        ("unix:uid:1", "unix:uid:2"),
        ("unix:path:/a", "unix:path:/b"),
    ] {
        let a = pool_only(&["k8s:sa:server", one], "spiffe://example.org/ns/llm/a");
        let b = pool_only(&["k8s:sa:server", other], "spiffe://example.org/ns/llm/b");
        assert_eq!(disjoint(&a, &b), None, "{one} {other}");
        assert_eq!(conflict(&a, &b), Some(Cause::IdentityCollision), "{one} {other}");
    }
}

#[test]
fn each_key_of_the_list_proves_two_identities_apart() {
    for (one, other) in [
        ("k8s:sa:server", "k8s:sa:other"),
        ("k8s:container-name:a", "k8s:container-name:b"),
        ("k8s:node-name:a", "k8s:node-name:b"),
        ("k8s:pod-name:a", "k8s:pod-name:ab"),
        ("k8s:pod-label:x/tier:a", "k8s:pod-label:x/tier:b"),
        ("k8s:container-image:vllm:v1", "k8s:container-image:vllm:v2"),
        ("k8s:container-image:r:5000/a/vllm:v1", "k8s:container-image:proxy:v1"),
    ] {
        let account = if one.starts_with("k8s:sa:") { "" } else { "k8s:sa:server" };
        let a = pool_only(&[account, one], "spiffe://example.org/ns/llm/a");
        let b = pool_only(&[account, other], "spiffe://example.org/ns/llm/b");
        assert!(disjoint(&a, &b).is_some() && conflict(&a, &b).is_none(), "{one} {other}");
    }
}

#[test]
fn a_label_is_compared_with_the_same_label_only() {
    let a = pool_only(&["k8s:sa:server", "k8s:pod-label:tier:a"], "spiffe://example.org/ns/llm/a");
    let b = pool_only(&["k8s:sa:server", "k8s:pod-label:tier-x:b"], "spiffe://example.org/ns/llm/b");
    assert_eq!(disjoint(&a, &b), None);
}

#[test]
fn modes_compete_only_on_pools_that_are_not_the_same() {
    let labels = [("app", "llama")];
    let pool_only = binding("a").pool_only().render_on(&labels).unwrap();
    let per_objective = binding("b").render_on(&labels).unwrap();
    assert!(!compete(&pool_only, &per_objective) && conflict(&pool_only, &per_objective).is_none());
    let elsewhere = binding("c").render_on(&[("app", "llama"), ("tier", "a")]).unwrap();
    assert!(compete(&pool_only, &elsewhere));
    assert_eq!(conflict(&pool_only, &elsewhere), Some(Cause::IdentityCollision));
    assert!(compete(&per_objective, &elsewhere));
}

#[test]
fn one_id_for_two_subjects_is_a_duplicate_even_where_nothing_competes() {
    let id = |id: &str| format!("spiffe://example.org/ns/llm/{id}");
    let pool_only = binding("a").pool_only().id(&id("x")).render().unwrap();
    let per_objective = binding("b").id(&id("X")).render().unwrap();
    assert_eq!(conflict(&pool_only, &per_objective), Some(Cause::DuplicateSpiffeId));
    let other = binding("c").objective("code").container("proxy").id(&id("x")).render().unwrap();
    let same = binding("d").container("vllm").id(&id("x")).render().unwrap();
    assert!(disjoint(&other, &same).is_some());
    assert_eq!(conflict(&other, &same), Some(Cause::DuplicateSpiffeId));
}

#[test]
fn one_subject_may_have_several_bindings_with_one_id() {
    let a = binding("a").render().unwrap();
    let b = binding("b").template("k8s:node-name:n1").render().unwrap();
    assert_eq!((&a.spiffe_id, conflict(&a, &b)), (&b.spiffe_id, None));
}

#[test]
fn ids_that_differ_in_case_alone_are_two_ids_to_one_workload() {
    let id = |id: &str| format!("spiffe://example.org/ns/llm/{id}");
    let a = binding("a").id(&id("x")).render().unwrap();
    let b = binding("b").id(&id("X")).render().unwrap();
    assert_eq!(conflict(&a, &b), Some(Cause::IdentityCollision));
}

/// A binding with a random mode, objective, labels and items; nothing when it cannot be rendered.
fn rendered(
    (per_objective, objective): (Option<bool>, &str),
    labels: &[(&str, &str)],
    items: &[&str],
    id: Option<&str>,
) -> Option<(Declared, Identity)> {
    let mut declared = binding("b").objective(objective);
    declared = match per_objective {
        None => declared.pool_only(),
        Some(true) => declared.container("vllm"),
        Some(false) => declared.discriminator(DiscriminatorType::ContainerImage, "r:5000/vllm@sha256:aa"),
    };
    declared = items.iter().fold(declared, |declared, item| declared.template(item));
    if let Some(id) = id {
        declared = declared.id(id);
    }
    let identity = declared.render_on(labels).ok()?;
    Some((declared, identity))
}

const LABELS: [&[(&str, &str)]; 3] =
    [&[("app", "llama")], &[("app", "llama"), ("tier", "a")], &[("app", "mistral")]];
const IDS: [Option<&str>; 4] = [
    None,
    Some("spiffe://example.org/ns/llm/shared"),
    Some("spiffe://example.org/ns/llm/Shared"),
    Some("spiffe://example.org/ns/llm/{{ .PoolName }}"),
];

proptest! {
    #![proptest_config(cases(3000))]

    #[test]
    fn the_relation_is_symmetric_and_what_the_contract_says(
        modes in [any::<Option<bool>>(), any::<Option<bool>>()],
        objectives in [select(&["chat", "code"]), select(&["chat", "code"])],
        labels in [select(&LABELS), select(&LABELS)],
        items in [vec(narrowing(), 0..4), vec(narrowing(), 0..4)],
        ids in [select(&IDS), select(&IDS)],
    ) {
        let one = |n: usize| rendered((modes[n], objectives[n]), labels[n], &items[n], ids[n]);
        if let (Some((_, a)), Some((_, b))) = (one(0), one(1)) {
            assert_eq!(disjoint(&a, &b).is_some(), disjoint(&b, &a).is_some());
            assert_eq!(compete(&a, &b), compete(&b, &a));
            assert_eq!(conflict(&a, &b), conflict(&b, &a));
            assert_eq!(conflict(&a, &a.clone()), None, "no identity conflicts with itself");
            let plain = (Plain::from(&a), Plain::from(&b));
            assert_eq!(conflict(&a, &b).map(Cause::reason), naive::conflict(&plain.0, &plain.1));
            if disjoint(&a, &b).is_some() {
                assert!(POPULATION.of(&a).is_apart_from(&POPULATION.of(&b)));
            }
        }
    }

    #[test]
    fn an_identity_stays_inside_its_namespace_account_pool_and_container(
        mode in any::<Option<bool>>(),
        labels in select(&LABELS),
        items in vec(narrowing(), 0..4),
        further in narrowing(),
    ) {
        if let Some((declared, identity)) = rendered((mode, "chat"), labels, &items, None) {
            let matching = POPULATION.of(&identity);
            let container = match mode {
                None => "k8s:ns:llm",
                Some(true) => "k8s:container-name:vllm",
                Some(false) => "k8s:container-image:r:5000/vllm@sha256:aa",
            };
            for bound in ["k8s:ns:llm", "k8s:sa:server", container] {
                assert!(matching.is_within(&POPULATION.matching([bound])), "{bound}");
            }
            for (key, value) in labels {
                let bound = format!("k8s:pod-label:{key}:{value}");
                assert!(matching.is_within(&POPULATION.matching([bound.as_str()])), "{bound}");
            }
            if let Ok(narrower) = declared.template(further).render_on(labels) {
                assert!(POPULATION.of(&narrower).is_within(&matching), "{further} widens");
            }
        }
    }
}
