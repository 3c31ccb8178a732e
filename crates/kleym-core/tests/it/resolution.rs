//! From a binding to its pool: groups, pins, ambiguity, absence and uncertainty, and which failure is reported first.

use kleym_core::fact::{
    Change, Fact, FactKey, Mode, Objective, PoolRef, PoolRefError, SpecError, SpecField, Trouble,
    ValueProblem,
};
use kleym_core::index::{Index, Verdict};
use kleym_core::kind::{Kind, ObjectiveGroup, PoolGroup};
use kleym_core::refusal::{Reason, Refusal};
use kleym_core::resolve::Troubles;

use crate::world::{
    Declared, assert_presentable, binding, key, listed, name, ns, objective, pool, put_objective, put_pool,
    reason, serving, settings, wanted,
};

fn refusal(index: &Index, binding: &str) -> Refusal {
    match index.verdict(&key("llm", binding)).verdict {
        Verdict::Refused(refusal) => refusal,
        other => panic!("{binding} is not refused: {other:?}"),
    }
}

/// The objective `chat` of a group, pointing to pool `llama` of a group.
fn chat(group: ObjectiveGroup, pool: Option<PoolGroup>) -> Objective {
    Objective {
        group,
        pool_ref: Ok(PoolRef { group: pool, name: name("llama") }),
        ..objective("chat", "llama")
    }
}

fn put_pool_of(index: &mut Index, group: PoolGroup, labels: &[(&str, &str)]) {
    let mut pool = pool("llama", labels);
    pool.group = group;
    index.apply(put_pool(&pool));
}

const LLAMA: &[(&str, &str)] = &[("app", "llama")];

#[test]
fn one_hit_wins_whatever_its_group() {
    for group in ObjectiveGroup::ALL {
        let mut index = listed();
        put_pool_of(&mut index, PoolGroup::Inference, LLAMA);
        index.apply(put_objective(&chat(group, Some(PoolGroup::Inference))));
        index.apply(binding("b").put());
        assert!(wanted(&index, "b").is_some(), "{group}");
    }
}

#[test]
fn several_hits_that_lead_to_the_same_pool_count_as_one() {
    let mut index = listed();
    for group in PoolGroup::ALL {
        put_pool_of(&mut index, group, LLAMA);
    }
    index.apply(binding("b").put());
    for (group, pool) in
        ObjectiveGroup::ALL.into_iter().zip([Some(PoolGroup::InferenceX), None, Some(PoolGroup::Inference)])
    {
        index.apply(put_objective(&chat(group, pool)));
        let identity = wanted(&index, "b").unwrap();
        assert_eq!(identity.spiffe_id.as_str(), "spiffe://example.org/ns/llm/objective/chat", "{group}");
    }
}

#[test]
fn several_hits_that_disagree_are_refused_until_one_is_pinned() {
    let mut index = serving(&[binding("b"), binding("pinned").pinned(ObjectiveGroup::LlmD)]);
    let other = Objective { group: ObjectiveGroup::InferenceX, ..objective("chat", "mistral") };
    index.apply(put_objective(&other));
    index.apply(put_pool(&pool("mistral", LLAMA)));
    assert_eq!(
        refusal(&index, "b").message(),
        "several objects of kind InferenceObjective are called `chat` and disagree: \
         llm-d.ai leads to pool `llama` (inference.networking.k8s.io), \
         inference.networking.x-k8s.io leads to pool `mistral` (inference.networking.k8s.io); \
         pin one with spec.targetRef.group or remove the others"
    );
    assert_eq!(reason(&index, "b"), Some(Reason::AmbiguousTargetRef));
    assert!(wanted(&index, "pinned").is_some());
}

#[test]
fn one_name_with_two_selectors_is_two_pools() {
    let mut index = serving(&[binding("b")]);
    put_pool_of(&mut index, PoolGroup::InferenceX, &[("app", "other")]);
    index.apply(put_objective(&chat(ObjectiveGroup::InferenceX, Some(PoolGroup::InferenceX))));
    assert_eq!(reason(&index, "b"), Some(Reason::AmbiguousTargetRef));
    put_pool_of(&mut index, PoolGroup::InferenceX, LLAMA);
    assert!(wanted(&index, "b").is_some());
}

#[test]
fn a_malformed_hit_disagrees_with_every_other_and_alone_is_an_invalid_reference() {
    let malformed =
        |group| Objective { pool_ref: Err(PoolRefError::OtherNamespace("web".into())), ..chat(group, None) };
    let mut index = serving(&[binding("b")]);
    index.apply(put_objective(&malformed(ObjectiveGroup::InferenceX)));
    assert_eq!(reason(&index, "b"), Some(Reason::AmbiguousTargetRef));
    index.apply(put_objective(&malformed(ObjectiveGroup::LlmD)));
    assert_eq!(reason(&index, "b"), Some(Reason::AmbiguousTargetRef), "even with its like");
    let gone = FactKey {
        kind: Kind::Objective(ObjectiveGroup::InferenceX),
        namespace: ns("llm"),
        name: name("chat"),
    };
    index.apply(Change::Gone(gone));
    assert_eq!(
        refusal(&index, "b").message(),
        "InferenceObjective `chat` (llm-d.ai) points to no pool: spec.poolRef.namespace is `web`, \
         but a pool must be in the objective's namespace; correct the objective"
    );
}

#[test]
fn the_pool_is_looked_up_in_the_group_the_objective_names() {
    let mut index = listed();
    index.apply(put_objective(&chat(ObjectiveGroup::LlmD, Some(PoolGroup::InferenceX))));
    index.apply(binding("b").put());
    put_pool_of(&mut index, PoolGroup::Inference, LLAMA);
    assert_eq!(reason(&index, "b"), Some(Reason::TargetPoolNotFound));
    put_pool_of(&mut index, PoolGroup::InferenceX, &[("app", "x")]);
    assert_eq!(wanted(&index, "b").unwrap().selectors.pod_labels().collect::<Vec<_>>(), [("app", "x")]);
}

#[test]
fn an_empty_pool_group_means_the_order_of_preference() {
    let mut index = listed();
    index.apply(put_objective(&chat(ObjectiveGroup::LlmD, None)));
    index.apply(binding("b").put());
    let labels = |index: &Index| wanted(index, "b").unwrap().pool.labels.values().next().unwrap().clone();
    put_pool_of(&mut index, PoolGroup::InferenceX, &[("app", "x")]);
    assert_eq!(labels(&index).as_str(), "x");
    put_pool_of(&mut index, PoolGroup::Inference, &[("app", "k")]);
    assert_eq!(labels(&index).as_str(), "k");
    let mut deleting = pool("llama", &[("app", "k")]);
    deleting.deleting = true;
    index.apply(put_pool(&deleting));
    assert_eq!(labels(&index).as_str(), "x", "a pool that is being deleted counts as not found");
}

#[test]
fn a_target_or_pool_that_is_being_deleted_counts_as_not_found() {
    let mut index = serving(&[binding("b")]);
    let mut going = pool("llama", LLAMA);
    going.deleting = true;
    index.apply(put_pool(&going));
    assert_eq!(
        refusal(&index, "b").message(),
        "InferencePool `llama` of inference.networking.k8s.io, named by InferenceObjective `chat`, is being deleted \
         in namespace `llm`; create it again or point elsewhere"
    );
    let mut going = objective("chat", "llama");
    going.deleting = true;
    index.apply(put_objective(&going));
    assert_eq!(
        refusal(&index, "b").message(),
        "InferenceObjective `chat` is being deleted in namespace `llm`; create it again or point elsewhere"
    );
    // One that is still there in another group is not ambiguous beside it.
    put_pool_of(&mut index, PoolGroup::InferenceX, LLAMA);
    index.apply(put_objective(&chat(ObjectiveGroup::InferenceX, Some(PoolGroup::InferenceX))));
    assert!(wanted(&index, "b").is_some());
}

#[test]
fn only_the_bindings_own_namespace_is_looked_at() {
    let mut index = listed();
    index.apply(put_objective(&Objective { namespace: ns("web"), ..objective("chat", "llama") }));
    index.apply(put_pool(&pool("llama", LLAMA)));
    index.apply(binding("b").put());
    assert_eq!(reason(&index, "b"), Some(Reason::TargetObjectiveNotFound));
}

#[test]
fn two_pools_of_one_name_over_the_same_pods_are_one_target() {
    let of_pool = |text: &str, pin| binding(text).of_pool("llama", pin);
    let mut index = listed();
    for declared in [of_pool("b", None), of_pool("pinned", Some(PoolGroup::InferenceX))] {
        index.apply(declared.put());
    }
    for group in PoolGroup::ALL {
        put_pool_of(&mut index, group, LLAMA);
    }
    let identity = wanted(&index, "b").unwrap();
    assert_eq!(identity.spiffe_id.as_str(), "spiffe://example.org/ns/llm/pool/llama");
    assert_eq!(wanted(&index, "pinned"), Some(identity), "the group is no part of an identity");
    put_pool_of(&mut index, PoolGroup::InferenceX, &[("app", "x")]);
    assert_eq!(reason(&index, "b"), Some(Reason::AmbiguousTargetRef));
    assert!(wanted(&index, "pinned").is_some());
    put_pool_of(&mut index, PoolGroup::Inference, &[]);
    put_pool_of(&mut index, PoolGroup::InferenceX, &[]);
    assert_eq!(reason(&index, "b"), Some(Reason::AmbiguousTargetRef), "malformed ones agree with nothing");
    assert_eq!(reason(&index, "pinned"), Some(Reason::InvalidPoolSelector));
}

#[test]
fn a_missing_crd_is_named_with_its_group_where_one_is_pinned() {
    let mut index = serving(&[
        binding("b"),
        binding("pinned").pinned(ObjectiveGroup::Inference),
        binding("pool").of_pool("llama", Some(PoolGroup::InferenceX)),
    ]);
    for group in ObjectiveGroup::ALL {
        index.apply(Change::Absent(Kind::Objective(group)));
    }
    index.apply(Change::Absent(Kind::Pool(PoolGroup::InferenceX)));
    for binding in ["b", "pinned"] {
        assert_eq!(reason(&index, binding), Some(Reason::InferenceObjectiveCrdMissing), "{binding}");
    }
    assert_eq!(reason(&index, "pool"), Some(Reason::InferencePoolCrdMissing));
    assert!(refusal(&index, "pinned").message().contains("inferenceobjectives.inference.networking.k8s.io"));
    assert!(refusal(&index, "pool").message().contains("inferencepools.inference.networking.x-k8s.io"));
    // Back, and empty: not missing any more.
    index.apply(Change::Listed(Kind::Objective(ObjectiveGroup::LlmD), Vec::new()));
    assert_eq!(reason(&index, "b"), Some(Reason::TargetObjectiveNotFound));
    assert_eq!(reason(&index, "pinned"), Some(Reason::InferenceObjectiveCrdMissing));
    index.apply(put_objective(&chat(ObjectiveGroup::LlmD, Some(PoolGroup::InferenceX))));
    assert_eq!(reason(&index, "b"), Some(Reason::InferencePoolCrdMissing));
}

#[test]
fn a_binding_waits_only_for_the_kinds_that_its_own_resolution_needs() {
    let mut index = Index::new(settings());
    let waits = |index: &Index, binding: &str| match index.verdict(&key("llm", binding)).verdict {
        Verdict::Waiting(kinds) => kinds.into_keys().collect(),
        _ => Vec::new(),
    };
    for declared in [
        binding("b"),
        binding("pinned").pinned(ObjectiveGroup::InferenceX),
        binding("pool").of_pool("llama", Some(PoolGroup::Inference)),
    ] {
        index.apply(declared.put());
    }
    let pools = Kind::Pool(PoolGroup::Inference);
    assert_eq!(waits(&index, "b"), ObjectiveGroup::ALL.map(Kind::Objective));
    assert_eq!(waits(&index, "pinned"), [Kind::Objective(ObjectiveGroup::InferenceX)]);
    assert_eq!(waits(&index, "pool"), [pools]);
    let one = Fact::Objective(chat(ObjectiveGroup::InferenceX, Some(PoolGroup::Inference)));
    index.apply(Change::Listed(Kind::Objective(ObjectiveGroup::InferenceX), vec![one]));
    assert_eq!(waits(&index, "pinned"), [pools]);
    index.apply(Change::Listed(pools, vec![Fact::Pool(pool("llama", LLAMA))]));
    assert!(wanted(&index, "pinned").is_some() && wanted(&index, "pool").is_some());
    // The unpinned one cannot know yet whether the other groups disagree.
    let still = [ObjectiveGroup::LlmD, ObjectiveGroup::Inference].map(Kind::Objective);
    assert_eq!(waits(&index, "b"), still);
    still.into_iter().for_each(|kind| drop(index.apply(Change::Absent(kind))));
    assert!(wanted(&index, "b").is_some());
}

#[test]
fn while_a_kind_is_in_trouble_the_last_verdict_is_held() {
    let mut index =
        serving(&[binding("b"), binding("pool").of_pool("llama", None).id("spiffe://example.org/team-a/x")]);
    let before = index.verdict(&key("llm", "b")).verdict;
    let kind = Kind::Objective(ObjectiveGroup::Inference);
    let dirty = index.apply(Change::Trouble(kind, Some(Trouble::Forbidden)));
    assert!(dirty.contains(&key("llm", "b")));
    let held = index.verdict(&key("llm", "b"));
    assert_eq!((held.verdict, held.held), (before, Troubles::from([(kind, Trouble::Forbidden)])));
    assert_eq!(index.verdict(&key("llm", "pool")).held, Troubles::new(), "it needs no objectives");
    assert_eq!(index.apply(Change::Trouble(kind, None)), [key("llm", "b")].into());
    assert_eq!(index.verdict(&key("llm", "b")).held, Troubles::new());
}

#[test]
fn a_kind_in_trouble_before_its_first_list_decides_nothing() {
    let mut index = serving(&[binding("b")]);
    let kind = Kind::Objective(ObjectiveGroup::Inference);
    let mut fresh = Index::new(settings());
    for other in Kind::ALL.into_iter().filter(|other| *other != kind) {
        fresh.apply(Change::Listed(other, Vec::new()));
    }
    fresh.apply(Change::Trouble(kind, Some(Trouble::NotServed)));
    fresh.apply(binding("b").put());
    assert_eq!(
        fresh.verdict(&key("llm", "b")).verdict,
        Verdict::Waiting(Troubles::from([(kind, Trouble::NotServed)]))
    );
    index.apply(Change::Trouble(kind, Some(Trouble::NotServed)));
    assert!(wanted(&index, "b").is_some(), "where a list was seen before, its facts are held");
}

#[test]
fn one_malformed_object_affects_only_the_bindings_that_refer_to_it() {
    let mut index = serving(&[binding("good"), binding("bad").objective("code").container("proxy")]);
    index.apply(put_objective(&objective("code", "mistral")));
    let dirty = index.apply(put_pool(&pool("mistral", &[("a/b/c", "x")])));
    assert_eq!(dirty, [key("llm", "bad")].into());
    assert_eq!(reason(&index, "bad"), Some(Reason::InvalidPoolSelector));
    assert!(refusal(&index, "bad").message().contains("`a/b/c`"));
    assert!(wanted(&index, "good").is_some());
}

#[test]
fn a_field_that_todays_schema_would_refuse_is_a_refusal_with_its_own_reason() {
    for (field, expected) in [
        (SpecField::Spec, Reason::InvalidPoolRef),
        (SpecField::TargetRef, Reason::InvalidPoolRef),
        (SpecField::TargetName, Reason::InvalidPoolRef),
        (SpecField::TargetKind, Reason::InvalidPoolRef),
        (SpecField::TargetGroup, Reason::InvalidPoolRef),
        (SpecField::Mode, Reason::UnsupportedMode),
        (SpecField::Discriminator, Reason::InvalidContainerDiscriminator),
        (SpecField::DiscriminatorType, Reason::InvalidContainerDiscriminator),
        (SpecField::DiscriminatorValue, Reason::InvalidContainerDiscriminator),
        (SpecField::SelectorTemplates, Reason::SelectorTemplateRenderFailed),
        (SpecField::SelectorTemplate(31), Reason::SelectorTemplateRenderFailed),
        (SpecField::SelectorSource, Reason::UnsafeSelector),
        (SpecField::SpiffeIdTemplate, Reason::SpiffeIdRenderFailed),
    ] {
        let mut declared = binding("b");
        declared.0.spec = Err(SpecError { field, problem: ValueProblem::Missing });
        let index = serving(&[declared]);
        assert_eq!(reason(&index, "b"), Some(expected), "{field}");
        let message = refusal(&index, "b").message();
        assert_eq!(message, format!("{field} is required; add it to the binding"));
        assert_presentable(&message);
    }
}

/// A binding with everything wrong, put right stage by stage: the first failure is the one that is reported.
#[test]
fn the_first_failure_in_the_order_of_the_stages_is_reported() {
    let bare = || binding("b").templates([]).id("{{ .Nothing }}");
    let spec = |declared: &mut Declared, discriminator: bool| {
        let spec = declared.0.spec.as_mut().unwrap();
        spec.mode = Mode::PerObjective;
        if !discriminator {
            spec.discriminator = None;
        }
    };
    let mut index = listed();
    index.apply(binding("first").created(1).put());
    let expect = |index: &mut Index, declared: &Declared, expected: Option<Reason>| {
        index.apply(declared.put());
        assert_eq!(reason(index, "b"), expected);
    };

    let mut wrong = bare().template("{{").template("k8s:ns:web");
    spec(&mut wrong, false);
    expect(&mut index, &wrong, Some(Reason::TargetObjectiveNotFound));
    index.apply(put_objective(&objective("chat", "llama")));
    expect(&mut index, &wrong, Some(Reason::TargetPoolNotFound));
    index.apply(put_pool(&pool("llama", &[])));
    expect(&mut index, &wrong, Some(Reason::InvalidPoolSelector));
    index.apply(put_pool(&pool("llama", LLAMA)));
    expect(&mut index, &wrong, Some(Reason::MissingContainerDiscriminator));
    expect(&mut index, &wrong.container("a b"), Some(Reason::InvalidContainerDiscriminator));
    // A template that renders to an unsafe item stands before one that does not render: rendering comes first.
    let wrong = bare().template("k8s:ns:web").template("{{").container("vllm");
    expect(&mut index, &wrong, Some(Reason::SelectorTemplateRenderFailed));
    expect(&mut index, &bare().template("k8s:ns:web"), Some(Reason::UnsafeSelector));
    expect(&mut index, &bare().template("k8s:ns:llm"), Some(Reason::UnsafeSelector));
    let good = binding("b").created(2);
    expect(&mut index, &good.clone().id("{{ .Nothing }}"), Some(Reason::SpiffeIdRenderFailed));
    expect(&mut index, &good.clone().id("spiffe://example.org/x"), Some(Reason::InvalidSpiffeId));
    let other = "spiffe://example.org/ns/llm/{{ .BindingName }}";
    expect(&mut index, &good.clone().id(other), Some(Reason::IdentityCollision));
    expect(&mut index, &good, None);
    assert!(wanted(&index, "b").is_some());
}

#[test]
fn an_unsupported_mode_is_found_after_resolution() {
    let mut declared = binding("b").of_pool("llama", None);
    declared.0.spec.as_mut().unwrap().mode = Mode::PerObjective;
    let mut index = listed();
    index.apply(declared.put());
    assert_eq!(reason(&index, "b"), Some(Reason::TargetPoolNotFound));
    index.apply(put_pool(&pool("llama", LLAMA)));
    assert_eq!(reason(&index, "b"), Some(Reason::UnsupportedMode));
    let mut declared = binding("c").pool_only();
    declared = declared.container("vllm");
    let index = serving(&[declared]);
    assert_eq!(reason(&index, "c"), Some(Reason::InvalidContainerDiscriminator));
}
