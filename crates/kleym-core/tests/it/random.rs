//! Random facts and changes over a small space of names, so that collisions, ambiguities and edits of the same object
//! are frequent.

use kleym_core::fact::{
    Binding, BindingSpec, Change, Discriminator, DiscriminatorType, Fact, FactKey, Mode, Objective, Pool,
    PoolRef, PoolRefError, SpecError, SpecField, Target, Trouble, ValueProblem, pool_labels,
};
use kleym_core::kind::{Kind, ObjectiveGroup, PoolGroup};
use kleym_core::name::Uid;
use proptest::option;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::sample::select;

use crate::naive::Naive;
use crate::world::{self, key, name, ns};

pub(crate) const NAMESPACES: [&str; 2] = ["llm", "web"];
pub(crate) const BINDINGS: [&str; 5] = ["a", "b", "c", "d", "e"];
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

/// Selector templates that narrow an identity and can be proved.
pub(crate) fn narrowing() -> impl Strategy<Value = &'static str> {
    select(&[
        "k8s:container-name:vllm",
        "k8s:container-name:proxy",
        "k8s:container-image:r:5000/vllm:v1",
        "k8s:container-image:r:5000/vllm:v2",
        "k8s:container-image:r:5000/vllm@sha256:aa",
        "k8s:pod-label:tier:a",
        "k8s:pod-label:tier:b",
        "k8s:node-name:n1",
        "k8s:node-name:n2",
        "k8s:pod-name:p1",
        "k8s:pod-image-count:2",
        "k8s:ns-label:team:{{ .Namespace }}",
        "unix:uid:0",
    ])
}

fn template() -> impl Strategy<Value = &'static str> {
    let bad = select(&[
        "k8s:pod-label:app:{{ .PoolName }}",
        "k8s:sa:{{ .ObjectiveName }}",
        "k8s:pod-uid:x",
        "k8s:ns:web",
        "k8s:pod-label:Tier:a",
        "{{ .Nothing }}",
    ]);
    prop_oneof![9 => narrowing(), 1 => bad]
}

/// SPIFFE ID templates that a binding may have, some of them in common with others.
fn proper_id() -> impl Strategy<Value = &'static str> {
    let shared = select(&[
        "spiffe://{{ .TrustDomain }}/ns/{{ .Namespace }}/shared",
        "spiffe://{{ .TrustDomain }}/ns/{{ .Namespace }}/Shared",
    ]);
    let own = select(&[
        "spiffe://{{ .TrustDomain }}/ns/{{ .Namespace }}/{{ .BindingName }}",
        "spiffe://{{ .TrustDomain }}/ns/{{ .Namespace }}/pool/{{ .PoolName }}/x",
        "spiffe://{{ .TrustDomain }}/ns/{{ .Namespace }}/{{ .Mode }}",
    ]);
    prop_oneof![shared, own]
}

fn id_template() -> impl Strategy<Value = &'static str> {
    let risky = select(&[
        "spiffe://{{ .TrustDomain }}/ns/{{ .Namespace }}/pool/{{ .PoolName }}",
        "spiffe://{{ .TrustDomain }}/ns/{{ .Namespace }}/objective/chat",
        "spiffe://{{ .TrustDomain }}/ns/{{ .Namespace }}/sa/server",
        "spiffe://example.org/team-a/x",
        "spiffe://example.org/Team-A/X",
        "spiffe://example.org/team-b/web/{{ .PoolName }}",
        "spiffe://example.net/ns/llm/x",
        "{{ .Mode",
    ]);
    prop_oneof![4 => proper_id(), 1 => risky]
}

fn templates() -> impl Strategy<Value = Box<[Box<str>]>> {
    let account =
        prop_oneof![12 => Just("k8s:sa:server"), 3 => Just("k8s:sa:other"), 1 => Just("unix:uid:1")];
    let extra = prop_oneof![
        3 => Just(Vec::new()).boxed(),
        2 => proptest::collection::vec(template(), 1..3).boxed(),
    ];
    (account, extra).prop_map(|(account, extra)| {
        ["k8s:ns:{{ .Namespace }}", account].into_iter().chain(extra).map(Into::into).collect()
    })
}

fn discriminator() -> impl Strategy<Value = Discriminator> {
    let names = select(&["vllm", "proxy"]).prop_map(|value| (DiscriminatorType::ContainerName, value));
    let images = select(&["r:5000/vllm:v1", "r:5000/vllm:v2", "r:5000/vllm@sha256:aa", "sha256:bb", ""]);
    let images = images.prop_map(|value| (DiscriminatorType::ContainerImage, value));
    prop_oneof![2 => names, 1 => images].prop_map(|(kind, value)| Discriminator { kind, value: value.into() })
}

fn target() -> impl Strategy<Value = Target> {
    let pin = || option::weighted(0.2, select(&ObjectiveGroup::ALL));
    let objective =
        (select(&OBJECTIVES), pin()).prop_map(|(o, group)| Target::Objective { name: name(o), group });
    let pin = option::weighted(0.3, select(&PoolGroup::ALL));
    let pool = (select(&POOLS), pin).prop_map(|(p, group)| Target::Pool { name: name(p), group });
    prop_oneof![7 => objective, 1 => pool]
}

fn spec() -> impl Strategy<Value = BindingSpec> {
    let shape = prop_oneof![
        4 => (Just(Mode::PerObjective), discriminator().prop_map(Some)).boxed(),
        4 => Just((Mode::PoolOnly, None)).boxed(),
        1 => prop_oneof![
            Just((Mode::PerObjective, None)),
            (Just(Mode::PoolOnly), discriminator().prop_map(Some)),
        ].boxed(),
    ];
    (target(), shape, templates(), option::weighted(0.4, id_template())).prop_map(
        |(target, (mode, discriminator), selector_templates, id)| BindingSpec {
            target,
            mode,
            discriminator,
            selector_templates: selector_templates.into(),
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

/// Most of what happens, happens in one namespace.
fn namespace() -> impl Strategy<Value = &'static str> {
    prop_oneof![4 => Just("llm"), 1 => Just("web")]
}

fn rarely() -> impl Strategy<Value = bool> {
    prop_oneof![15 => Just(false), 1 => Just(true)]
}

pub(crate) fn binding() -> impl Strategy<Value = Binding> {
    let spec = prop_oneof![15 => spec().prop_map(Ok), 1 => spec_error().prop_map(Err)];
    let flags = (any::<bool>(), rarely());
    (namespace(), select(&BINDINGS), created(), flags, spec).prop_map(
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

/// Names of bindings in a crowd.
pub(crate) const CROWD: [&str; 12] =
    ["m00", "m01", "m02", "m03", "m04", "m05", "m06", "m07", "m08", "m09", "m10", "m11"];

/// A binding that can nearly always be rendered in a furnished namespace, so that peers are what decides.
pub(crate) fn member() -> impl Strategy<Value = Binding> {
    let account = prop_oneof![6 => Just("k8s:sa:server"), 1 => Just("k8s:sa:other")];
    let templates = (account, proptest::collection::vec(narrowing(), 0..3));
    let shape = prop_oneof![
        3 => discriminator().prop_map(|discriminator| (Mode::PerObjective, Some(discriminator))),
        2 => Just((Mode::PoolOnly, None)),
    ];
    let id = option::weighted(0.5, proper_id());
    let life = (created(), any::<bool>(), rarely());
    (select(&CROWD), select(&OBJECTIVES), shape, templates, id, life).prop_map(
        |(
            binding,
            objective,
            (mode, discriminator),
            (account, extra),
            id,
            (created, finalizer, deleting),
        )| {
            let first = ["k8s:ns:{{ .Namespace }}", account];
            Binding {
                key: key("llm", binding),
                uid: None,
                created,
                generation: None,
                deleting,
                finalizer,
                spec: Ok(BindingSpec {
                    target: Target::Objective { name: name(objective), group: None },
                    mode,
                    discriminator,
                    selector_templates: first.into_iter().chain(extra).map(Into::into).collect(),
                    spiffe_id_template: id.map(Into::into),
                }),
            }
        },
    )
}

pub(crate) fn objective() -> impl Strategy<Value = Objective> {
    let group = option::weighted(0.6, select(&PoolGroup::ALL));
    let good = (group, select(&POOLS)).prop_map(|(group, pool)| Ok(PoolRef { group, name: name(pool) }));
    let bad = Just(Err(PoolRefError::UnknownKind("Service".into())));
    let groups = prop_oneof![5 => Just(ObjectiveGroup::LlmD), 2 => select(&ObjectiveGroup::ALL)];
    (groups, namespace(), select(&OBJECTIVES), rarely(), prop_oneof![12 => good, 1 => bad]).prop_map(
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
    type Entries = &'static [(&'static str, &'static str)];
    let good: [Entries; 3] = [&[("app", "llama")], &[("app", "llama"), ("tier", "a")], &[("app", "mistral")]];
    let bad: [Entries; 2] = [&[("app", "")], &[]];
    let labels = prop_oneof![12 => select(good.to_vec()), 1 => select(bad.to_vec())];
    (select(&PoolGroup::ALL), namespace(), select(&POOLS), rarely(), labels).prop_map(
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
        8 => binding().prop_map(|binding| Fact::Binding(Box::new(binding))),
        2 => objective().prop_map(Fact::Objective),
        2 => pool().prop_map(Fact::Pool),
    ]
}

fn trouble() -> impl Strategy<Value = Option<Trouble>> {
    select(&[None, Some(Trouble::NotServed), Some(Trouble::Forbidden), Some(Trouble::Failing)])
}

fn gone() -> impl Strategy<Value = FactKey> {
    let bindings = select(&BINDINGS).prop_map(|name| (Kind::Binding, name));
    let objectives = (select(&ObjectiveGroup::ALL), select(&OBJECTIVES));
    let objectives = objectives.prop_map(|(group, name)| (Kind::Objective(group), name));
    let pools = (select(&PoolGroup::ALL), select(&POOLS)).prop_map(|(group, name)| (Kind::Pool(group), name));
    (namespace(), prop_oneof![4 => bindings, 1 => objectives, 1 => pools])
        .prop_map(|(namespace, (kind, text))| FactKey { kind, namespace: ns(namespace), name: name(text) })
}

fn edit() -> impl Strategy<Value = Edit> {
    prop_oneof![
        4 => created().prop_map(Edit::Created),
        1 => Just(Edit::Deleting),
        4 => any::<bool>().prop_map(Edit::Finalizer),
        2 => (1_i64..4).prop_map(Edit::Generation),
        2 => select(&["u1", "u2"]).prop_map(Edit::Uid),
        6 => template().prop_map(Edit::Template),
        6 => option::of(id_template()).prop_map(Edit::Id),
        1 => spec_error().prop_map(Edit::Spec),
    ]
}

/// One step, uneventful ones less often than others.
pub(crate) fn step() -> impl Strategy<Value = Step> {
    let facts = || proptest::collection::vec(fact(), 0..12);
    // A list may hold what does not belong into it; that says nothing.
    let listed = (select(&Kind::ALL), facts()).prop_map(|(kind, facts)| Change::Listed(kind, facts));
    let listed_in = (select(&Kind::ALL), namespace(), facts())
        .prop_map(|(kind, namespace, facts)| Change::ListedIn(kind, ns(namespace), facts));
    prop_oneof![
        24 => fact().prop_map(|fact| Step::Change(Change::Put(fact))),
        8 => gone().prop_map(|key| Step::Change(Change::Gone(key))),
        12 => (namespace(), select(&BINDINGS), edit()).prop_map(|(n, b, edit)| Step::Edit(n, b, edit)),
        1 => listed.prop_map(Step::Change),
        1 => listed_in.prop_map(Step::Change),
        1 => select(&Kind::ALL).prop_map(|kind| Step::Change(Change::Absent(kind))),
        2 => (select(&Kind::ALL), trouble()).prop_map(|(kind, trouble)| {
            Step::Change(Change::Trouble(kind, trouble))
        }),
        1 => (select(&Kind::ALL), namespace(), trouble()).prop_map(|(kind, namespace, trouble)| {
            Step::Change(Change::TroubleIn(kind, ns(namespace), trouble))
        }),
    ]
}

/// Two objectives with their pools, or with one, or with two of the same labels.
pub(crate) fn furniture(namespace: &str, one_pool: bool, same_labels: bool) -> [Change; 4] {
    let objective = |objective: &str, pool: &str| {
        world::put_objective(&Objective { namespace: ns(namespace), ..world::objective(objective, pool) })
    };
    let pool = |pool: &str, app: &str| {
        world::put_pool(&Pool { namespace: ns(namespace), ..world::pool(pool, &[("app", app)]) })
    };
    [
        objective("chat", "llama"),
        objective("code", if one_pool { "llama" } else { "mistral" }),
        pool("llama", "llama"),
        pool("mistral", if same_labels { "llama" } else { "mistral" }),
    ]
}

/// How a history begins: mostly with every kind listed, and with objectives that lead to pools.
pub(crate) fn beginning() -> impl Strategy<Value = Vec<Change>> {
    let kinds = prop_oneof![
        6 => Just(Kind::ALL.to_vec()),
        1 => proptest::sample::subsequence(Kind::ALL.to_vec(), 0..=Kind::ALL.len()),
    ];
    let furnished = prop_oneof![7 => Just(true), 1 => Just(false)];
    let bindings = proptest::collection::vec(binding(), 0..8);
    let pools = (any::<bool>(), any::<bool>());
    (kinds, furnished, pools, bindings).prop_map(|(kinds, furnished, (one_pool, same_labels), bindings)| {
        let mut changes: Vec<Change> =
            kinds.into_iter().map(|kind| Change::Listed(kind, Vec::new())).collect();
        for namespace in NAMESPACES.into_iter().filter(|_| furnished) {
            changes.extend(furniture(namespace, one_pool, same_labels));
        }
        changes.extend(bindings.into_iter().map(|binding| Change::Put(Fact::Binding(Box::new(binding)))));
        changes
    })
}
