//! Random facts and changes over a small space of names, so that collisions, ambiguities and edits of the same object
//! are frequent.

use kleym_core::fact::{
    Binding, BindingSpec, Change, Discriminator, DiscriminatorType, Fact, FactKey, Mode, Objective, Pool, PoolRef,
    PoolRefError, SpecError, SpecField, Target, Trouble, ValueProblem, pool_labels,
};
use kleym_core::kind::{Kind, ObjectiveGroup, PoolGroup};
use kleym_core::name::Uid;
use proptest::option;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::sample::select;

use crate::naive::Naive;
use crate::world::{key, name, ns};

pub(crate) const NAMESPACES: [&str; 2] = ["llm", "web"];
const BINDINGS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];
const OBJECTIVES: [&str; 2] = ["chat", "code"];
const POOLS: [&str; 2] = ["llama", "mistral"];

/// A step of a history: a change as it is, or a small edit of a binding that is there.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    Change(Change),
    Edit(&'static str, &'static str, Edit),
}

/// One field of a binding.
#[derive(Debug, Clone)]
pub(crate) enum Edit {
    Created(Option<i64>),
    Deleting,
    Finalizer(bool),
    Generation(i64),
    Uid(&'static str),
    Template(&'static str),
    Id(Option<&'static str>),
    Spec(SpecError),
}

impl Step {
    /// The change this step is in a world as the model knows it.
    pub(crate) fn change(&self, model: &Naive) -> Option<Change> {
        let (namespace, name, edit) = match self {
            Step::Change(change) => return Some(change.clone()),
            Step::Edit(namespace, name, edit) => (namespace, name, edit),
        };
        let mut binding = model.binding(&key(namespace, name))?.clone();
        match edit {
            Edit::Created(created) => binding.created = *created,
            Edit::Deleting => binding.deleting = true,
            Edit::Finalizer(finalizer) => binding.finalizer = *finalizer,
            Edit::Generation(generation) => binding.generation = Some(*generation),
            Edit::Uid(uid) => binding.uid = Uid::parse(uid).ok(),
            Edit::Template(template) => {
                let spec = binding.spec.as_mut().ok()?;
                let mut templates = spec.selector_templates.to_vec();
                templates.pop();
                templates.push((*template).into());
                spec.selector_templates = templates.into();
            }
            Edit::Id(id) => binding.spec.as_mut().ok()?.spiffe_id_template = id.map(Into::into),
            Edit::Spec(error) => binding.spec = Err(error.clone()),
        }
        Some(Change::Put(Fact::Binding(Box::new(binding))))
    }
}

fn template() -> impl Strategy<Value = &'static str> {
    select(&[
        "k8s:container-name:vllm",
        "k8s:container-name:proxy",
        "k8s:container-image:r:5000/vllm:v1",
        "k8s:container-image:r:5000/vllm:v2",
        "k8s:container-image:r:5000/vllm@sha256:aa",
        "k8s:pod-label:tier:a",
        "k8s:pod-label:tier:b",
        "k8s:pod-label:app:{{ .PoolName }}",
        "k8s:node-name:n1",
        "k8s:node-name:n2",
        "k8s:pod-name:p1",
        "k8s:pod-image-count:2",
        "k8s:ns-label:team:{{ .Namespace }}",
        "unix:uid:0",
        "k8s:pod-uid:x",
        "k8s:ns:web",
        "k8s:sa:{{ .ObjectiveName }}",
        "{{ .Nothing }}",
    ])
}

fn id_template() -> impl Strategy<Value = &'static str> {
    select(&[
        "spiffe://{{ .TrustDomain }}/ns/{{ .Namespace }}/shared",
        "spiffe://{{ .TrustDomain }}/ns/{{ .Namespace }}/Shared",
        "spiffe://{{ .TrustDomain }}/ns/{{ .Namespace }}/{{ .BindingName }}",
        "spiffe://{{ .TrustDomain }}/ns/{{ .Namespace }}/pool/{{ .PoolName }}",
        "spiffe://{{ .TrustDomain }}/ns/{{ .Namespace }}/pool/{{ .PoolName }}/x",
        "spiffe://{{ .TrustDomain }}/ns/{{ .Namespace }}/objective/chat",
        "spiffe://{{ .TrustDomain }}/ns/{{ .Namespace }}/sa/server",
        "spiffe://example.org/team-a/x",
        "spiffe://example.org/Team-A/X",
        "spiffe://example.org/team-b/web/{{ .PoolName }}",
        "spiffe://example.net/ns/llm/x",
        "{{ .Mode",
    ])
}

fn templates() -> impl Strategy<Value = Box<[Box<str>]>> {
    let account = prop_oneof![8 => Just("k8s:sa:server"), 2 => Just("k8s:sa:other"), 1 => Just("unix:uid:1")];
    let extra = proptest::collection::vec(template(), 0..3);
    (account, extra).prop_map(|(account, extra)| {
        ["k8s:ns:{{ .Namespace }}", account].into_iter().chain(extra).map(Into::into).collect()
    })
}

fn discriminator() -> impl Strategy<Value = Discriminator> {
    let names = select(&["vllm", "proxy"]).prop_map(|value| (DiscriminatorType::ContainerName, value));
    let images = select(&["r:5000/vllm:v1", "r:5000/vllm:v2", "r:5000/vllm@sha256:aa", "sha256:bb", "a b"]);
    let images = images.prop_map(|value| (DiscriminatorType::ContainerImage, value));
    prop_oneof![2 => names, 1 => images].prop_map(|(kind, value)| Discriminator { kind, value: value.into() })
}

fn target() -> impl Strategy<Value = Target> {
    let pin = || option::weighted(0.2, select(&ObjectiveGroup::ALL));
    let objective =
        (select(&OBJECTIVES), pin()).prop_map(|(o, group)| Target::Objective { name: name(o), group });
    let pin = option::weighted(0.3, select(&PoolGroup::ALL));
    let pool = (select(&POOLS), pin).prop_map(|(p, group)| Target::Pool { name: name(p), group });
    prop_oneof![4 => objective, 1 => pool]
}

fn spec() -> impl Strategy<Value = BindingSpec> {
    let shape = prop_oneof![
        4 => (Just(Mode::PerObjective), discriminator().prop_map(Some)).boxed(),
        4 => Just((Mode::PoolOnly, None)).boxed(),
        1 => Just((Mode::PerObjective, None)).boxed(),
        1 => (Just(Mode::PoolOnly), discriminator().prop_map(Some)).boxed(),
    ];
    (target(), shape, templates(), option::weighted(0.4, id_template())).prop_map(
        |(target, (mode, discriminator), selector_templates, id)| BindingSpec {
            target,
            mode,
            discriminator,
            selector_templates,
            spiffe_id_template: id.map(Into::into),
        },
    )
}

fn spec_error() -> impl Strategy<Value = SpecError> {
    select(&[
        SpecField::TargetName,
        SpecField::TargetKind,
        SpecField::Mode,
        SpecField::DiscriminatorValue,
        SpecField::SelectorTemplates,
        SpecField::SelectorSource,
    ])
    .prop_map(|field| SpecError { field, problem: ValueProblem::Missing })
}

fn created() -> impl Strategy<Value = Option<i64>> {
    prop_oneof![4 => (1_i64..4).prop_map(Some), 1 => Just(None)]
}

pub(crate) fn binding() -> impl Strategy<Value = Binding> {
    let spec = prop_oneof![9 => spec().prop_map(Ok), 1 => spec_error().prop_map(Err)];
    let flags = (any::<bool>(), prop_oneof![8 => Just(false), 1 => Just(true)]);
    (select(&NAMESPACES), select(&BINDINGS), created(), flags, spec).prop_map(
        |(namespace, name, created, (finalizer, deleting), spec)| Binding {
            key: key(namespace, name),
            uid: None,
            created,
            generation: Some(1),
            deleting,
            finalizer,
            spec,
        },
    )
}

pub(crate) fn objective() -> impl Strategy<Value = Objective> {
    let group = option::weighted(0.6, select(&PoolGroup::ALL));
    let good = (group, select(&POOLS)).prop_map(|(group, pool)| Ok(PoolRef { group, name: name(pool) }));
    let bad = Just(Err(PoolRefError::UnknownKind("Service".into())));
    let groups = prop_oneof![3 => Just(ObjectiveGroup::LlmD), 2 => select(&ObjectiveGroup::ALL)];
    let deleting = prop_oneof![8 => Just(false), 1 => Just(true)];
    (groups, select(&NAMESPACES), select(&OBJECTIVES), deleting, prop_oneof![9 => good, 1 => bad]).prop_map(
        |(group, namespace, objective, deleting, pool_ref)| Objective {
            group,
            namespace: ns(namespace),
            name: name(objective),
            deleting,
            pool_ref,
        },
    )
}

pub(crate) fn pool() -> impl Strategy<Value = Pool> {
    let labels: &'static [&'static [(&'static str, &'static str)]] =
        &[&[("app", "llama")], &[("app", "llama"), ("tier", "a")], &[("app", "mistral")], &[("app", "")], &[]];
    let deleting = prop_oneof![8 => Just(false), 1 => Just(true)];
    (select(&PoolGroup::ALL), select(&NAMESPACES), select(&POOLS), deleting, select(labels)).prop_map(
        |(group, namespace, pool, deleting, labels)| Pool {
            group,
            namespace: ns(namespace),
            name: name(pool),
            deleting,
            labels: pool_labels(labels.iter().copied()),
        },
    )
}

pub(crate) fn fact() -> impl Strategy<Value = Fact> {
    prop_oneof![
        4 => binding().prop_map(|binding| Fact::Binding(Box::new(binding))),
        2 => objective().prop_map(Fact::Objective),
        2 => pool().prop_map(Fact::Pool),
    ]
}

fn trouble() -> impl Strategy<Value = Option<Trouble>> {
    select(&[None, Some(Trouble::NotServed), Some(Trouble::Forbidden), Some(Trouble::Failing)])
}

fn gone() -> impl Strategy<Value = FactKey> {
    let names: Vec<&'static str> = BINDINGS.into_iter().chain(OBJECTIVES).chain(POOLS).collect();
    let kind = prop_oneof![2 => Just(Kind::Binding), 3 => select(&Kind::ALL)];
    (kind, select(&NAMESPACES), select(names)).prop_filter_map("no such object", |(kind, namespace, text)| {
        let known: &[&str] = match kind {
            Kind::Binding => &BINDINGS,
            Kind::Objective(_) => &OBJECTIVES,
            Kind::Pool(_) => &POOLS,
            Kind::Output => return None,
        };
        known.contains(&text).then(|| FactKey { kind, namespace: ns(namespace), name: name(text) })
    })
}

fn edit() -> impl Strategy<Value = Edit> {
    prop_oneof![
        created().prop_map(Edit::Created),
        Just(Edit::Deleting),
        any::<bool>().prop_map(Edit::Finalizer),
        (1_i64..4).prop_map(Edit::Generation),
        select(&["u1", "u2"]).prop_map(Edit::Uid),
        template().prop_map(Edit::Template),
        option::of(id_template()).prop_map(Edit::Id),
        spec_error().prop_map(Edit::Spec),
    ]
}

/// One step, uneventful ones less often than others.
pub(crate) fn step() -> impl Strategy<Value = Step> {
    let listed = (select(&Kind::ALL), proptest::collection::vec(fact(), 0..12)).prop_map(|(kind, facts)| {
        Change::Listed(kind, facts.into_iter().filter(|fact| fact.key().kind == kind).collect())
    });
    prop_oneof![
        24 => fact().prop_map(|fact| Step::Change(Change::Put(fact))),
        8 => gone().prop_map(|key| Step::Change(Change::Gone(key))),
        12 => (select(&NAMESPACES), select(&BINDINGS), edit()).prop_map(|(n, b, edit)| Step::Edit(n, b, edit)),
        3 => listed.prop_map(Step::Change),
        1 => select(&Kind::ALL).prop_map(|kind| Step::Change(Change::Absent(kind))),
        2 => (select(&Kind::ALL), trouble()).prop_map(|(kind, trouble)| {
            Step::Change(Change::Trouble(kind, trouble))
        }),
    ]
}

/// How a history begins: mostly with every kind listed, else with some of them unknown.
pub(crate) fn beginning() -> impl Strategy<Value = Vec<Kind>> {
    prop_oneof![
        6 => Just(Kind::ALL.to_vec()),
        1 => proptest::sample::subsequence(Kind::ALL.to_vec(), 0..=Kind::ALL.len()),
    ]
}
