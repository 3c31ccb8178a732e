//! A naive model of the engine, written from the contract alone: it keeps every fact in one map and recomputes every
//! verdict from all of them after every change, with nothing indexed. What a single identity must obey is in
//! `obligations`.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};

use kleym_core::fact::{
    Availability, Binding, BindingSpec, Change, DiscriminatorType, Fact, FactKey, Known, Mode, Objective,
    Pool, SpecField, Target,
};
use kleym_core::index::{Decision, Verdict};
use kleym_core::kind::{Kind, ObjectiveGroup, PoolGroup};
use kleym_core::name::{BindingKey, Namespace, ObjectName};
use kleym_core::refusal::{Reason, Refusal};
use kleym_core::render::{Identity, Subject};

use crate::obligations;
use crate::world::TRUST_DOMAIN;

/// An identity in plain data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plain {
    pub(crate) mode: Mode,
    pub(crate) subject: (&'static str, String),
    pub(crate) pool: PlainPool,
    pub(crate) id: String,
    pub(crate) items: Vec<String>,
}

/// A pool's name and labels: what makes two pools of one namespace the same.
pub(crate) type PlainPool = (String, BTreeMap<String, String>);

/// A verdict in plain data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    Gone,
    Deleting,
    Waiting,
    Refused(Reason),
    /// Reason, at most 16 peers by precedence with the cause and the identity of each, and their number.
    Outranked(Reason, Vec<(String, Reason, String)>, usize),
    Wanted(Plain),
}

impl From<&Identity> for Plain {
    fn from(identity: &Identity) -> Self {
        let labels = identity.pool.labels.iter();
        Self {
            mode: identity.mode,
            subject: match &identity.subject {
                Subject::Objective(name) => ("objective", name.to_string()),
                Subject::Pool(name) => ("pool", name.to_string()),
            },
            pool: (
                identity.pool.name.to_string(),
                labels.map(|(k, v)| (k.as_str().to_owned(), v.as_str().to_owned())).collect(),
            ),
            id: identity.spiffe_id.to_string(),
            items: identity.selectors.texts().map(str::to_owned).collect(),
        }
    }
}

impl From<&Verdict> for Answer {
    fn from(verdict: &Verdict) -> Self {
        match verdict {
            Verdict::Gone => Answer::Gone,
            Verdict::Deleting => Answer::Deleting,
            Verdict::Waiting(_) => Answer::Waiting,
            Verdict::Refused(Refusal::Conflict(conflict)) => {
                let peers = conflict.peers.iter();
                let peers = peers
                    .map(|peer| (peer.name.to_string(), peer.cause.reason(), peer.spiffe_id.to_string()));
                Answer::Outranked(conflict.cause().reason(), peers.collect(), conflict.count)
            }
            Verdict::Refused(refusal) => Answer::Refused(refusal.reason()),
            Verdict::Wanted(identity) => Answer::Wanted(Plain::from(&**identity)),
        }
    }
}

/// Why there is no identity.
#[derive(Debug, Clone, PartialEq, Eq)]
enum No {
    Waiting,
    Because(Reason),
}

/// Kinds that were looked at.
type Consulted = BTreeSet<Kind>;

/// What every binding's own declaration leads to.
type Rendered = BTreeMap<BindingKey, (Result<Plain, No>, Consulted)>;

/// Everything that was declared.
#[derive(Debug, Clone, Default)]
pub(crate) struct Naive {
    pub(crate) facts: BTreeMap<FactKey, Fact>,
    availability: BTreeMap<Kind, Availability>,
    /// Where a kind is known otherwise than as a whole.
    apart: BTreeMap<(Kind, Namespace), Availability>,
    /// What every binding's own declaration leads to, and what was looked at for it; until the next change.
    rendered: OnceCell<Rendered>,
}

impl Naive {
    pub(crate) fn apply(&mut self, change: &Change) {
        self.rendered = OnceCell::new();
        match change {
            Change::Put(fact) => {
                self.facts.insert(fact.key(), fact.clone());
            }
            Change::Gone(key) => {
                self.facts.remove(key);
            }
            Change::Listed(kind, facts) => {
                self.facts.retain(|key, _| key.kind != *kind);
                self.list(facts, |key| key.kind == *kind);
                self.everywhere(*kind, Availability::LISTED);
            }
            Change::ListedIn(kind, namespace, facts) => {
                self.facts.retain(|key, _| key.kind != *kind || key.namespace != *namespace);
                self.list(facts, |key| key.kind == *kind && key.namespace == *namespace);
                self.apart.insert((*kind, namespace.clone()), Availability::LISTED);
            }
            Change::Absent(kind) => {
                self.facts.retain(|key, _| key.kind != *kind);
                self.everywhere(*kind, Availability::ABSENT);
            }
            Change::Trouble(kind, trouble) => {
                let known = self.available(*kind).known;
                self.availability.insert(*kind, Availability { known, trouble: *trouble });
                self.apart
                    .iter_mut()
                    .filter(|((of, _), _)| of == kind)
                    .for_each(|(_, a)| a.trouble = *trouble);
            }
            Change::TroubleIn(kind, namespace, trouble) => {
                let known = self.available_in(*kind, namespace).known;
                self.apart.insert((*kind, namespace.clone()), Availability { known, trouble: *trouble });
            }
        }
    }

    fn list(&mut self, facts: &[Fact], belongs: impl Fn(&FactKey) -> bool) {
        let listed = facts.iter().map(|fact| (fact.key(), fact.clone()));
        self.facts.extend(listed.filter(|(key, _)| belongs(key)));
    }

    fn everywhere(&mut self, kind: Kind, availability: Availability) {
        self.availability.insert(kind, availability);
        self.apart.retain(|(of, _), _| *of != kind);
    }

    /// Where a kind is known otherwise than as a whole.
    pub(crate) fn apart(&self) -> impl Iterator<Item = (Kind, &Namespace, Availability)> {
        self.apart.iter().map(|((kind, namespace), availability)| (*kind, namespace, *availability))
    }

    pub(crate) fn available_in(&self, kind: Kind, namespace: &Namespace) -> Availability {
        let apart = self.apart.get(&(kind, namespace.clone()));
        apart.copied().unwrap_or_else(|| self.available(kind))
    }

    pub(crate) fn available(&self, kind: Kind) -> Availability {
        self.availability.get(&kind).copied().unwrap_or(Availability::STARTING)
    }

    pub(crate) fn binding(&self, key: &BindingKey) -> Option<&Binding> {
        match self.facts.get(&fact_key(Kind::Binding, key, &key.name))? {
            Fact::Binding(binding) => Some(binding),
            _ => None,
        }
    }

    pub(crate) fn bindings(&self) -> impl Iterator<Item = &Binding> {
        self.facts.values().filter_map(|fact| match fact {
            Fact::Binding(binding) => Some(&**binding),
            _ => None,
        })
    }

    /// What a binding is to become.
    pub(crate) fn answer(&self, key: &BindingKey) -> Answer {
        let Some(binding) = self.binding(key) else { return Answer::Gone };
        if binding.deleting {
            return Answer::Deleting;
        }
        let rendered = self.rendered();
        let own = match &rendered[key].0 {
            Ok(own) => own,
            Err(No::Waiting) => return Answer::Waiting,
            Err(No::Because(reason)) => return Answer::Refused(*reason),
        };
        let mut first: Vec<&Binding> =
            self.bindings().filter(|peer| peer.key.namespace == key.namespace && peer.key != *key).collect();
        first.retain(|peer| place(peer) < place(binding) && (!peer.deleting || peer.finalizer));
        first.sort_by_key(|peer| place(peer));
        let mut peers = Vec::new();
        for peer in first {
            if let Ok(theirs) = &rendered[&peer.key].0
                && let Some(cause) = conflict(own, theirs)
            {
                peers.push((peer.key.name.to_string(), cause, theirs.id.clone()));
            }
        }
        if peers.is_empty() {
            return Answer::Wanted(own.clone());
        }
        let count = peers.len();
        let collides = peers.iter().any(|(_, cause, _)| *cause == Reason::IdentityCollision);
        peers.truncate(16);
        let reason = if collides { Reason::IdentityCollision } else { Reason::DuplicateSpiffeId };
        Answer::Outranked(reason, peers, count)
    }

    /// Compares a decision of the engine with this model.
    pub(crate) fn assert_agrees(&self, key: &BindingKey, decision: &Decision) {
        let expected = self.answer(key);
        assert_eq!(Answer::from(&decision.verdict), expected, "{key}");
        let nothing = Consulted::new();
        let own = self.rendered().get(key);
        let consulted = own.map_or(&nothing, |(_, consulted)| consulted);
        if let Verdict::Waiting(kinds) = &decision.verdict {
            assert!(!kinds.is_empty(), "{key} waits for nothing");
            for kind in kinds.keys() {
                assert!(
                    consulted.contains(kind)
                        && self.available_in(*kind, &key.namespace).known == Known::Nothing,
                    "{key} waits for {kind}"
                );
            }
        } else if own.is_none_or(|(own, _)| *own != Err(No::Waiting)) {
            let trouble = |kind: &Kind| {
                self.available_in(*kind, &key.namespace).trouble.map(|trouble| (*kind, trouble))
            };
            let troubled: BTreeMap<_, _> = consulted.iter().filter_map(trouble).collect();
            assert_eq!(decision.held, troubled, "{key}");
        }
    }

    fn rendered(&self) -> &Rendered {
        self.rendered.get_or_init(|| {
            let rendered = |binding: &Binding| {
                let mut consulted = Consulted::new();
                let identity = self.identity(binding, &mut consulted);
                (binding.key.clone(), (identity, consulted))
            };
            self.bindings().map(rendered).collect()
        })
    }

    /// What a binding's own declaration leads to.
    fn identity(&self, binding: &Binding, consulted: &mut Consulted) -> Result<Plain, No> {
        let spec = match &binding.spec {
            Ok(spec) => spec,
            Err(error) => return Err(No::Because(reason_of_field(error.field))),
        };
        let (objective, pool) = match &spec.target {
            Target::Objective { name, group } => {
                (Some(name.to_string()), self.by_objective(binding, name, *group, consulted)?)
            }
            Target::Pool { name, group } => (None, self.by_pool(binding, name, *group, consulted)?),
        };
        render(&binding.key, spec, objective.as_deref(), pool).map_err(No::Because)
    }

    fn by_objective(
        &self,
        binding: &Binding,
        name: &ObjectName,
        pinned: Option<ObjectiveGroup>,
        consulted: &mut Consulted,
    ) -> Result<PlainPool, No> {
        let groups: Vec<ObjectiveGroup> =
            ObjectiveGroup::ALL.into_iter().filter(|group| pinned.is_none_or(|pin| pin == *group)).collect();
        let kinds: Vec<Kind> = groups.into_iter().map(Kind::Objective).collect();
        let served = self.served(&binding.key.namespace, &kinds, consulted)?;
        if served.is_empty() {
            return Err(No::Because(Reason::InferenceObjectiveCrdMissing));
        }
        let hits: Vec<&Objective> = served
            .iter()
            .filter_map(|kind| match self.facts.get(&fact_key(*kind, &binding.key, name)) {
                Some(Fact::Objective(objective)) if !objective.deleting => Some(objective),
                _ => None,
            })
            .collect();
        if hits.is_empty() {
            return Err(No::Because(Reason::TargetObjectiveNotFound));
        }
        // One hit, or several that say the same, lead wherever the first leads.
        if hits.len() == 1 || hits.iter().all(|hit| hit.pool_ref.is_ok() && hit.pool_ref == hits[0].pool_ref)
        {
            return self.follow(binding, hits[0], consulted);
        }
        // Otherwise all of them must lead to the same pool; a malformed one disagrees with every other.
        let mut ends = Vec::new();
        for hit in hits {
            match self.follow(binding, hit, consulted) {
                Err(No::Waiting) => return Err(No::Waiting),
                end => ends.push(end),
            }
        }
        if ends[0].is_ok() && ends.iter().all(|end| *end == ends[0]) {
            return ends.swap_remove(0);
        }
        Err(No::Because(Reason::AmbiguousTargetRef))
    }

    fn follow(
        &self,
        binding: &Binding,
        objective: &Objective,
        consulted: &mut Consulted,
    ) -> Result<PlainPool, No> {
        let Ok(pool_ref) = &objective.pool_ref else { return Err(No::Because(Reason::InvalidPoolRef)) };
        let mut installed = false;
        // The named group; for an empty one, the first that has it in the order of preference.
        for group in PoolGroup::ALL.into_iter().filter(|group| pool_ref.group.is_none_or(|g| g == *group)) {
            let kind = Kind::Pool(group);
            if self.served(&binding.key.namespace, &[kind], consulted)?.is_empty() {
                continue;
            }
            installed = true;
            if let Some(pool) = self.pool(kind, binding, &pool_ref.name) {
                return plain_pool(pool);
            }
        }
        let reason = if installed { Reason::TargetPoolNotFound } else { Reason::InferencePoolCrdMissing };
        Err(No::Because(reason))
    }

    fn by_pool(
        &self,
        binding: &Binding,
        name: &ObjectName,
        pinned: Option<PoolGroup>,
        consulted: &mut Consulted,
    ) -> Result<PlainPool, No> {
        let groups = PoolGroup::ALL.into_iter().filter(|group| pinned.is_none_or(|pin| pin == *group));
        let kinds: Vec<Kind> = groups.map(Kind::Pool).collect();
        let served = self.served(&binding.key.namespace, &kinds, consulted)?;
        if served.is_empty() {
            return Err(No::Because(Reason::InferencePoolCrdMissing));
        }
        let hits: Vec<&Pool> = served.iter().filter_map(|kind| self.pool(*kind, binding, name)).collect();
        match hits.as_slice() {
            [] => Err(No::Because(Reason::TargetPoolNotFound)),
            [only] => plain_pool(only),
            [first, others @ ..] => {
                if first.labels.is_ok() && others.iter().all(|other| other.labels == first.labels) {
                    plain_pool(first)
                } else {
                    Err(No::Because(Reason::AmbiguousTargetRef))
                }
            }
        }
    }

    fn pool(&self, kind: Kind, binding: &Binding, name: &ObjectName) -> Option<&Pool> {
        match self.facts.get(&fact_key(kind, &binding.key, name)) {
            Some(Fact::Pool(pool)) if !pool.deleting => Some(pool),
            _ => None,
        }
    }

    /// Those of the kinds that are installed; waits when nothing was proved of one.
    fn served(
        &self,
        namespace: &Namespace,
        kinds: &[Kind],
        consulted: &mut Consulted,
    ) -> Result<Vec<Kind>, No> {
        consulted.extend(kinds);
        let known = |kind: &Kind| self.available_in(*kind, namespace).known;
        if kinds.iter().any(|kind| known(kind) == Known::Nothing) {
            return Err(No::Waiting);
        }
        Ok(kinds.iter().copied().filter(|kind| known(kind) == Known::Listed).collect())
    }
}

fn fact_key(kind: Kind, beside: &BindingKey, name: &ObjectName) -> FactKey {
    FactKey { kind, namespace: beside.namespace.clone(), name: name.clone() }
}

/// The oldest first; without a timestamp the newest; then by name.
fn place(binding: &Binding) -> (i64, String) {
    (binding.created.unwrap_or(i64::MAX), binding.key.name.to_string())
}

fn plain_pool(pool: &Pool) -> Result<PlainPool, No> {
    match &pool.labels {
        Err(_) => Err(No::Because(Reason::InvalidPoolSelector)),
        Ok(labels) => {
            let labels = labels.iter().map(|(k, v)| (k.as_str().to_owned(), v.as_str().to_owned()));
            Ok((pool.name.to_string(), labels.collect()))
        }
    }
}

fn reason_of_field(field: SpecField) -> Reason {
    match field {
        SpecField::Mode => Reason::UnsupportedMode,
        SpecField::Discriminator | SpecField::DiscriminatorType | SpecField::DiscriminatorValue => {
            Reason::InvalidContainerDiscriminator
        }
        SpecField::SelectorTemplates | SpecField::SelectorTemplate(_) => Reason::SelectorTemplateRenderFailed,
        SpecField::SelectorSource => Reason::UnsafeSelector,
        SpecField::SpiffeIdTemplate => Reason::SpiffeIdRenderFailed,
        _ => Reason::InvalidPoolRef,
    }
}

/// Mode and discriminator, selector templates, selector proof, SPIFFE ID, in this order.
fn render(
    key: &BindingKey,
    spec: &BindingSpec,
    objective: Option<&str>,
    pool: PlainPool,
) -> Result<Plain, Reason> {
    let mut items: Vec<String> = Vec::new();
    match (spec.mode, &spec.discriminator, objective) {
        (Mode::PerObjective, _, None) => return Err(Reason::UnsupportedMode),
        (Mode::PerObjective, None, _) => return Err(Reason::MissingContainerDiscriminator),
        (Mode::PoolOnly, Some(_), _) => return Err(Reason::InvalidContainerDiscriminator),
        (Mode::PoolOnly, None, _) => {}
        (Mode::PerObjective, Some(discriminator), _) => {
            let head = match discriminator.kind {
                DiscriminatorType::ContainerName => "container-name",
                DiscriminatorType::ContainerImage => "container-image",
            };
            let item = format!("k8s:{head}:{}", discriminator.value);
            obligations::item(&item).map_err(|_| Reason::InvalidContainerDiscriminator)?;
            items.push(item);
        }
    }
    let values = |placeholder: &str| -> Option<String> {
        let discriminator = spec.discriminator.as_ref();
        match placeholder {
            ".Namespace" => Some(key.namespace.to_string()),
            ".BindingName" => Some(key.name.to_string()),
            ".ObjectiveName" => objective.map(str::to_owned),
            ".PoolName" => Some(pool.0.clone()),
            ".Mode" => Some(if spec.mode == Mode::PoolOnly { "PoolOnly" } else { "PerObjective" }.to_owned()),
            ".ContainerDiscriminatorType" => discriminator.map(|d| format!("{:?}", d.kind)),
            ".ContainerDiscriminatorValue" => discriminator.map(|d| d.value.to_string()),
            ".TrustDomain" => Some(TRUST_DOMAIN.to_owned()),
            _ => None,
        }
    };
    for source in spec.selector_templates.iter() {
        items.push(obligations::fill(source, &values).ok_or(Reason::SelectorTemplateRenderFailed)?);
    }
    items.extend(pool.1.iter().map(|(key, value)| format!("k8s:pod-label:{key}:{value}")));
    items.sort();
    items.dedup();
    let account =
        obligations::set(&items, key.namespace.as_str(), &pool.1).map_err(|_| Reason::UnsafeSelector)?;
    let subject = match (spec.mode, objective) {
        (Mode::PerObjective, Some(objective)) => ("objective", objective.to_owned()),
        _ => ("pool", pool.0.clone()),
    };
    let id = match &spec.spiffe_id_template {
        Some(source) => obligations::fill(source, &values).ok_or(Reason::SpiffeIdRenderFailed)?,
        None => format!("spiffe://{TRUST_DOMAIN}/ns/{}/{}/{}", key.namespace, subject.0, subject.1),
    };
    obligations::spiffe_id(&id, key.namespace.as_str(), &account, &subject, &pool.0)
        .map_err(|_| Reason::InvalidSpiffeId)?;
    Ok(Plain { mode: spec.mode, subject, pool, id, items })
}

/// Why two identities of one namespace cannot both be held.
pub(crate) fn conflict(a: &Plain, b: &Plain) -> Option<Reason> {
    let compete = a.mode == b.mode || a.pool != b.pool;
    if compete && a.id != b.id && !disjoint(a, b) {
        return Some(Reason::IdentityCollision);
    }
    let same_subject = a.subject == b.subject && a.pool == b.pool;
    (a.id.to_lowercase() == b.id.to_lowercase() && !same_subject).then_some(Reason::DuplicateSpiffeId)
}

/// Whether a key that may prove it has different values in both sets.
pub(crate) fn disjoint(a: &Plain, b: &Plain) -> bool {
    let apart = |x: &str, y: &str| {
        let (x, y) = (proof(x), proof(y));
        matches!((x, y), (Some((key, value)), Some((other, theirs))) if key == other && value != theirs)
    };
    a.items.iter().any(|x| b.items.iter().any(|y| apart(x, y)))
}

/// Key and value of an item that can prove disjointness.
fn proof(item: &str) -> Option<(String, &str)> {
    let parts: Vec<&str> = item.splitn(3, ':').collect();
    let [kind, key, value] = parts.as_slice() else { return None };
    match (*kind, *key) {
        ("k8s", "sa" | "container-name" | "node-name" | "pod-name") => Some(((*key).to_owned(), value)),
        ("k8s", "pod-label") => {
            let (label, value) = value.split_once(':')?;
            Some((format!("pod-label {label}"), value))
        }
        ("k8s", "container-image") => {
            let last = value.split('/').next_back()?;
            let (name, tag) = last.split_once(':')?;
            let tagged = !value.contains('@') && name != "sha256" && !name.is_empty() && !tag.is_empty();
            tagged.then(|| ((*key).to_owned(), *value))
        }
        _ => None,
    }
}
