//! Builders for facts and settings, so that a test says only what it is about.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use kleym_core::fact::{
    Binding, BindingSpec, Change, Discriminator, DiscriminatorType, Fact, Mode, Objective, Pool, PoolRef,
    Target, pool_labels,
};
use kleym_core::index::{Index, Verdict};
use kleym_core::kind::{Kind, ObjectiveGroup, PoolGroup};
use kleym_core::name::{BindingKey, Instance, Namespace, ObjectName};
use kleym_core::refusal::{Reason, Refusal};
use kleym_core::render::{Identity, render};
use kleym_core::resolve::{Resolved, ResolvedPool};
use kleym_core::settings::Settings;
use kleym_core::spiffe::{PathGrants, TrustDomain};
use proptest::test_runner::Config;

/// The trust domain of every test.
pub(crate) const TRUST_DOMAIN: &str = "example.org";
/// The path grants of every test, as namespace and prefix.
pub(crate) const GRANTS: [(&str, &str); 3] = [("llm", "/team-a"), ("llm", "/Team-C"), ("web", "/team-b/web")];

pub(crate) fn settings() -> Settings {
    let grants: Vec<String> =
        GRANTS.iter().map(|(namespace, prefix)| format!("{namespace}={prefix}")).collect();
    Settings {
        trust_domain: TrustDomain::parse(TRUST_DOMAIN).unwrap(),
        class_name: None,
        instance: Instance::parse("default").unwrap(),
        path_grants: PathGrants::parse(grants.iter().map(String::as_str)).unwrap(),
    }
}

/// A proptest configuration with this many cases at proptest's default of 256; `PROPTEST_CASES` scales all alike.
pub(crate) fn cases(count: u32) -> Config {
    let scaled = u64::from(count) * u64::from(Config::default().cases) / 256;
    Config {
        cases: u32::try_from(scaled.max(1)).unwrap(),
        failure_persistence: None,
        max_shrink_iters: 100_000,
        ..Config::default()
    }
}

pub(crate) fn ns(text: &str) -> Namespace {
    Namespace::parse(text).unwrap()
}

pub(crate) fn name(text: &str) -> ObjectName {
    ObjectName::parse(text).unwrap()
}

pub(crate) fn key(namespace: &str, binding: &str) -> BindingKey {
    BindingKey::new(ns(namespace), name(binding))
}

/// A binding under construction, in namespace `llm`.
#[derive(Debug, Clone)]
pub(crate) struct Declared(pub(crate) Binding);

/// A PerObjective binding on objective `chat` with container `vllm`, created at second 100.
pub(crate) fn binding(binding: &str) -> Declared {
    Declared(Binding {
        key: key("llm", binding),
        uid: None,
        created: Some(100),
        generation: Some(1),
        deleting: false,
        finalizer: false,
        spec: Ok(BindingSpec {
            target: Target::Objective { name: name("chat"), group: None },
            mode: Mode::PerObjective,
            discriminator: Some(Discriminator {
                kind: DiscriminatorType::ContainerName,
                value: "vllm".into(),
            }),
            selector_templates: ["k8s:ns:{{ .Namespace }}", "k8s:sa:server"].map(Into::into).into(),
            spiffe_id_template: None,
        }),
    })
}

impl Declared {
    fn spec(mut self, change: impl FnOnce(&mut BindingSpec)) -> Self {
        change(self.0.spec.as_mut().unwrap());
        self
    }

    pub(crate) fn created(mut self, created: impl Into<Option<i64>>) -> Self {
        self.0.created = created.into();
        self
    }

    pub(crate) fn deleting(mut self, finalizer: bool) -> Self {
        self.0.deleting = true;
        self.0.finalizer = finalizer;
        self
    }

    pub(crate) fn objective(self, objective: &str) -> Self {
        self.spec(|spec| spec.target = Target::Objective { name: name(objective), group: None })
    }

    pub(crate) fn pinned(self, pin: ObjectiveGroup) -> Self {
        self.spec(|spec| {
            if let Target::Objective { group, .. } = &mut spec.target {
                *group = Some(pin);
            }
        })
    }

    /// PoolOnly on a pool, without an objective.
    pub(crate) fn of_pool(self, pool: &str, pin: Option<PoolGroup>) -> Self {
        self.pool_only().spec(|spec| spec.target = Target::Pool { name: name(pool), group: pin })
    }

    pub(crate) fn pool_only(self) -> Self {
        self.spec(|spec| {
            spec.mode = Mode::PoolOnly;
            spec.discriminator = None;
        })
    }

    pub(crate) fn container(self, value: &str) -> Self {
        self.discriminator(DiscriminatorType::ContainerName, value)
    }

    pub(crate) fn discriminator(self, kind: DiscriminatorType, value: &str) -> Self {
        self.spec(|spec| spec.discriminator = Some(Discriminator { kind, value: value.into() }))
    }

    pub(crate) fn templates<'a>(self, templates: impl IntoIterator<Item = &'a str>) -> Self {
        self.spec(|spec| spec.selector_templates = templates.into_iter().map(Into::into).collect())
    }

    /// Adds a selector template.
    pub(crate) fn template(self, template: &str) -> Self {
        self.spec(|spec| {
            let mut templates = spec.selector_templates.to_vec();
            templates.push(template.into());
            spec.selector_templates = templates.into();
        })
    }

    pub(crate) fn id(self, template: &str) -> Self {
        self.spec(|spec| spec.spiffe_id_template = Some(template.into()))
    }

    pub(crate) fn put(&self) -> Change {
        Change::Put(Fact::Binding(Box::new(self.0.clone())))
    }

    /// Renders the binding on a pool with these labels.
    pub(crate) fn render_in(&self, pool: &str, labels: &[(&str, &str)]) -> Result<Identity, Refusal> {
        let spec = self.0.spec.as_ref().unwrap();
        let objective = match &spec.target {
            Target::Objective { name, .. } => Some((name.clone(), ObjectiveGroup::LlmD)),
            Target::Pool { .. } => None,
        };
        let pool = ResolvedPool { name: name(pool), labels: pool_labels(labels.iter().copied()).unwrap() };
        let resolved = Resolved { objective, pool, pool_group: PoolGroup::Inference };
        render(&settings(), &self.0.key, spec, &resolved)
    }

    /// Renders the binding on the pool `llama` with these labels.
    pub(crate) fn render_on(&self, labels: &[(&str, &str)]) -> Result<Identity, Refusal> {
        self.render_in("llama", labels)
    }

    /// Renders the binding on the pool `llama` with the label `app: llama`.
    pub(crate) fn render(&self) -> Result<Identity, Refusal> {
        self.render_on(&[("app", "llama")])
    }
}

/// An objective of llm-d.ai in namespace `llm` that points to a pool in the preferred group.
pub(crate) fn objective(objective: &str, pool: &str) -> Objective {
    Objective {
        group: ObjectiveGroup::LlmD,
        namespace: ns("llm"),
        name: name(objective),
        deleting: false,
        pool_ref: Ok(PoolRef { group: Some(PoolGroup::Inference), name: name(pool) }),
    }
}

/// A pool of the preferred group in namespace `llm`.
pub(crate) fn pool(pool: &str, labels: &[(&str, &str)]) -> Pool {
    Pool {
        group: PoolGroup::Inference,
        namespace: ns("llm"),
        name: name(pool),
        deleting: false,
        labels: pool_labels(labels.iter().copied()),
    }
}

pub(crate) fn put_objective(objective: &Objective) -> Change {
    Change::Put(Fact::Objective(objective.clone()))
}

pub(crate) fn put_pool(pool: &Pool) -> Change {
    Change::Put(Fact::Pool(pool.clone()))
}

/// An index in which every kind is installed and empty.
pub(crate) fn listed() -> Index {
    let mut index = Index::new(settings());
    for kind in Kind::ALL {
        index.apply(Change::Listed(kind, Vec::new()));
    }
    index
}

/// An index with the objective `chat`, its pool `llama` (`app: llama`), and these bindings.
pub(crate) fn serving(bindings: &[Declared]) -> Index {
    let mut index = listed();
    index.apply(put_pool(&pool("llama", &[("app", "llama")])));
    index.apply(put_objective(&objective("chat", "llama")));
    for binding in bindings {
        index.apply(binding.put());
    }
    index
}

/// The reason a binding of namespace `llm` is refused for.
pub(crate) fn reason(index: &Index, binding: &str) -> Option<Reason> {
    match index.verdict(&key("llm", binding)).verdict {
        Verdict::Refused(refusal) => Some(refusal.reason()),
        _ => None,
    }
}

/// The identity a binding of namespace `llm` is to have.
pub(crate) fn wanted(index: &Index, binding: &str) -> Option<Arc<Identity>> {
    match index.verdict(&key("llm", binding)).verdict {
        Verdict::Wanted(identity) => Some(identity),
        _ => None,
    }
}

/// Checks what every message must be: bounded, printable ASCII, one line, not empty.
pub(crate) fn assert_presentable(message: &str) {
    assert!(!message.is_empty() && message.len() <= 1024, "{} bytes: {message}", message.len());
    assert!(message.bytes().all(|b| (0x20..=0x7e).contains(&b)), "{message:?}");
}

/// A small world of workloads as SPIRE's `k8s` attestor sees them: every combination of namespace, service account, two
/// pod labels, container name, tagged and digest image reference, node and pod name.
pub(crate) struct Population {
    size: usize,
    /// Which workloads hold a selector, one bit each.
    holders: BTreeMap<&'static str, Matching>,
}

/// What a workload of the population may hold, one of each line. The last lines are held by all of them, so that they
/// tell nothing apart.
const CHOICES: [&[&str]; 12] = [
    &["k8s:ns:llm", "k8s:ns:web"],
    &["k8s:sa:server", "k8s:sa:other"],
    &["", "k8s:pod-label:app:llama", "k8s:pod-label:app:mistral"],
    &["", "k8s:pod-label:tier:a", "k8s:pod-label:tier:b"],
    &["", "k8s:container-name:vllm", "k8s:container-name:proxy"],
    &["", "k8s:container-image:r:5000/vllm:v1", "k8s:container-image:r:5000/vllm:v2"],
    &["", "k8s:container-image:r:5000/vllm@sha256:aa", "k8s:container-image:sha256:bb"],
    &["k8s:node-name:n1", "k8s:node-name:n2"],
    &["k8s:pod-name:p1", "k8s:pod-name:p2"],
    &["k8s:pod-image-count:2"],
    &["k8s:ns-label:team:llm"],
    &["unix:uid:0"],
];

/// Which workloads of a population match: one bit each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Matching(Vec<u64>);

/// The small world.
pub(crate) static POPULATION: LazyLock<Population> = LazyLock::new(Population::new);

impl Population {
    fn new() -> Self {
        let size = CHOICES.iter().map(|values| values.len()).product();
        let mut holders = BTreeMap::new();
        let mut stride = 1;
        for values in CHOICES {
            for (place, value) in values.iter().enumerate() {
                let mut bits = vec![0; size / 64 + 1];
                for workload in (0..size).filter(|workload| workload / stride % values.len() == place) {
                    bits[workload / 64] |= 1_u64 << (workload % 64);
                }
                holders.insert(*value, Matching(bits));
            }
            stride *= values.len();
        }
        holders.remove("");
        Self { size, holders }
    }

    /// The workloads that hold every one of these selectors.
    pub(crate) fn matching<'a>(&self, items: impl IntoIterator<Item = &'a str>) -> Matching {
        let mut all = vec![0; self.size / 64 + 1];
        for workload in 0..self.size {
            all[workload / 64] |= 1_u64 << (workload % 64);
        }
        for item in items {
            match self.holders.get(item) {
                Some(Matching(bits)) => all.iter_mut().zip(bits).for_each(|(word, bits)| *word &= bits),
                None => all.fill(0),
            }
        }
        Matching(all)
    }

    pub(crate) fn of(&self, identity: &Identity) -> Matching {
        self.matching(identity.selectors.texts())
    }
}

impl Matching {
    /// Whether no workload matches both.
    pub(crate) fn is_apart_from(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).all(|(a, b)| a & b == 0)
    }

    /// Whether every workload that matches this one matches the other.
    pub(crate) fn is_within(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).all(|(a, b)| a & !b == 0)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }
}
