//! One pass of SCM over everything, as `scm: pkg/spireentry/reconciler.go` makes it (`reconcile`,
//! `addClusterSPIFFEIDEntriesState`), and which containers the entries then match.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use super::answer::Answer;
use super::fact::{Container, Node, Pod, Space};
use super::manager::{Manager, NotWatched};
use super::registration::{Problem, Registration};
use super::server::{ServerRefusal, refusal};
use super::template::{Data, Rendered, Template};
use super::workload::set_matches;
use crate::output::LABEL_NAMESPACE_NAME;
use crate::relation::disjoint_items;
use crate::selector::Item;

/// SCM's own parent ID (`scm: defaultParentIDTemplate`).
const PARENT: &str =
    "spiffe://{{ .TrustDomain }}/spire/agent/k8s_psat/{{ .ClusterName }}/{{ .NodeMeta.UID }}";

/// Everything SCM looks at. What could not be read is None.
#[derive(Debug, Clone, Copy)]
pub struct World<'a> {
    /// SCM's settings.
    pub manager: &'a Manager,
    /// Those of the other SCMs, where several work in one cluster, each with a SPIRE server of its own.
    pub others: &'a [Manager],
    /// Every ClusterSPIFFEID.
    pub registrations: &'a [Registration],
    /// Every pod.
    pub pods: &'a [Pod],
    /// Every node.
    pub nodes: Option<&'a [Node]>,
    /// Every namespace; those that are not here are known by their name alone.
    pub spaces: &'a [Space],
}

/// What will come of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Prediction {
    /// Objects that SCM cannot decode: while there is one, it synchronises nothing at all.
    pub poison: Vec<usize>,
    /// What becomes of each object, in their order.
    pub fates: Vec<Fate>,
    /// What SCM will ask SPIRE Server for, by object, then by pod.
    pub entries: Vec<Entry>,
    /// Pods for which an object gives no entry although it selects them.
    pub failures: Vec<Failure>,
    /// Pods that a fallback object selects and does not serve.
    pub displaced: Vec<Displaced>,
    /// The same, where it is not known whether the fallback object selects the pod at all: of which classes SCM watches, say.
    pub maybe_displaced: Vec<Displaced>,
    /// The places of a pod's entries.
    of_pod: BTreeMap<usize, Vec<usize>>,
    /// The places of what an object displaces.
    displaced_by: BTreeMap<usize, Vec<usize>>,
}

/// What becomes of one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fate {
    /// Whether SCM looks at it.
    pub watched: Answer,
    /// Why not.
    pub not_watched: Option<NotWatched>,
    /// Why SCM can do nothing with it.
    pub problem: Option<Problem>,
    /// What SCM would count; None when something in it cannot be told.
    pub stats: Option<Stats>,
    /// The pods it selects, in namespaces that are not ignored, and how certain that is.
    pub selects: BTreeMap<usize, Answer>,
    /// Namespaces that it selects and SCM ignores: the name, and the pattern that does it.
    pub ignored: Vec<(Box<str>, Box<str>)>,
}

/// `status.stats`, but for `entryFailures`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// `namespacesSelected`: ignored ones included.
    pub namespaces_selected: usize,
    /// `namespacesIgnored`
    pub namespaces_ignored: usize,
    /// `podsSelected`
    pub pods_selected: usize,
    /// `podEntryRenderFailures`
    pub render_failures: usize,
    /// `entriesMasked`
    pub entries_masked: usize,
    /// `entriesToSet`
    pub entries_to_set: usize,
}

/// An entry that SCM asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// By which object.
    pub by: usize,
    /// For which pod; its uid is the first selector of the entry and is left out of `selectors`.
    pub pod: usize,
    /// The SPIFFE ID.
    pub spiffe_id: Rendered,
    /// The agent that serves it.
    pub parent: Rendered,
    /// The rendered selectors, in their order.
    pub selectors: Box<[Rendered]>,
    /// Whether it is certain that SCM asks for it.
    pub certain: Answer,
    /// The object whose entry is the same and comes first: then this one is not made.
    pub masked_by: Option<usize>,
    /// Why SPIRE Server will refuse it.
    pub refused: Option<ServerRefusal>,
}

/// A pod that gets no entry from an object that selects it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// By which object.
    pub by: usize,
    /// For which pod.
    pub pod: usize,
    /// Why.
    pub why: Why,
}

/// Why no entry can be rendered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// The pod is on no node yet. Some versions of SCM count that as a failure and some do not; it is none.
    Unscheduled,
    /// The pod's node is not there.
    NoNode(Box<str>),
    /// The text is no SPIFFE ID.
    NoSpiffeId(Box<str>),
    /// The ID is of another trust domain than SCM's (`scm: renderSPIFFEID`).
    TrustDomain(Box<str>),
    /// A selector is not `type:value` (`scm: parseSelector`).
    NoSelector(Box<str>),
}

/// A pod that lost its fallback identity: a non-fallback object gave it an entry, whatever containers that matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Displaced {
    /// The fallback object.
    pub fallback: usize,
    /// The pod.
    pub pod: usize,
    /// The object that displaces it: the first that does.
    pub by: usize,
}

/// What SCM will do.
///
/// # Guarantees
/// Total and deterministic; whatever is unknown in `world` makes an answer unknown, not wrong.
pub fn predict(world: World<'_>) -> Prediction {
    let mut pass = Pass::new(world);
    let poison = world.registrations.iter().enumerate();
    pass.prediction.poison = poison
        .filter(|(_, object)| {
            matches!(object.problem, Some(Problem::Poison { .. }))
                && world.managers().any(|manager| manager.watches(object).0.possible())
        })
        .map(|(index, _)| index)
        .collect();
    for manager in world.managers() {
        pass.begin(manager);
        // Fallback objects come last (`addClusterSPIFFEIDEntriesState`).
        for fallback in [false, true] {
            for (index, object) in world.registrations.iter().enumerate() {
                if object.fallback == fallback && std::ptr::eq(world.manager_of(object), manager) {
                    pass.object(index, object);
                }
            }
        }
    }
    pass.finish()
}

struct Pass<'a> {
    world: World<'a>,
    manager: &'a Manager,
    parent: Template,
    spaces: BTreeMap<&'a str, Space>,
    pods: BTreeMap<&'a str, Vec<usize>>,
    nodes: Option<BTreeMap<&'a str, &'a Node>>,
    /// Pods that a non-fallback object serves, the first that does, and how certain that is.
    served: BTreeMap<usize, (Answer, usize)>,
    fates: BTreeMap<usize, Fate>,
    prediction: Prediction,
}

impl<'a> Pass<'a> {
    fn new(world: World<'a>) -> Self {
        let mut spaces: BTreeMap<&str, Space> =
            world.spaces.iter().map(|space| (space.name.as_str(), space.clone())).collect();
        let mut pods: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (index, pod) in world.pods.iter().enumerate() {
            pods.entry(pod.namespace.as_str()).or_default().push(index);
            spaces.entry(pod.namespace.as_str()).or_insert_with(|| Space::named(pod.namespace.clone()));
        }
        let by_name = |nodes: &'a [Node]| nodes.iter().map(|node| (&*node.name, node)).collect();
        Self {
            world,
            manager: world.manager,
            parent: Template::parse(PARENT),
            spaces,
            pods,
            nodes: world.nodes.map(by_name),
            served: BTreeMap::new(),
            fates: BTreeMap::new(),
            prediction: Prediction::default(),
        }
    }

    /// Begins the pass of one SCM: none knows what another has served.
    fn begin(&mut self, manager: &'a Manager) {
        self.manager = manager;
        self.parent = manager.parent_id.clone().unwrap_or_else(|| Template::parse(PARENT));
        self.served.clear();
    }

    fn object(&mut self, index: usize, object: &Registration) {
        let (watched, not_watched) = self.manager.watches(object);
        let mut fate = Fate {
            watched,
            not_watched,
            problem: object.problem.clone(),
            stats: None,
            selects: BTreeMap::new(),
            ignored: Vec::new(),
        };
        if watched.possible() && object.problem.is_none() {
            let mut stats = Counts { stats: Stats::default(), exact: watched.certain() };
            let pinned =
                object.namespaces.as_ref().and_then(|selector| selector.pinned(LABEL_NAMESPACE_NAME));
            let names: Vec<&str> = match pinned {
                Some(names) => names
                    .iter()
                    .filter_map(|name| self.spaces.get_key_value(&**name))
                    .map(|(name, _)| *name)
                    .collect(),
                None => self.spaces.keys().copied().collect(),
            };
            for name in names {
                self.space(index, object, name, &mut fate, &mut stats);
            }
            fate.stats = stats.exact.then_some(stats.stats);
        } else {
            fate.stats = (!watched.possible() || fate.problem.is_some()).then(Stats::default);
        }
        self.fates.insert(index, fate);
    }

    fn space(
        &mut self,
        index: usize,
        object: &Registration,
        name: &str,
        fate: &mut Fate,
        counts: &mut Counts,
    ) {
        let space = &self.spaces[name];
        let selected = object
            .namespaces
            .as_ref()
            .map_or(Answer::Yes, |selector| selector.matches(&space.labels, space.complete));
        counts.note(selected, |stats| &mut stats.namespaces_selected);
        if !selected.possible() {
            return;
        }
        let (ignored, pattern) = self.manager.ignores(name);
        counts.note(selected.and(ignored), |stats| &mut stats.namespaces_ignored);
        if ignored.certain() {
            fate.ignored.extend(pattern.map(|pattern| (name.into(), pattern.pattern().into())));
            return;
        }
        if !self.manager.reads(name) {
            return;
        }
        let certain = fate.watched.and(selected).and(match ignored {
            Answer::No => Answer::Yes,
            Answer::Unknown | Answer::Yes => Answer::Unknown,
        });
        for pod in self.pods.get(name).cloned().unwrap_or_default() {
            let labels = &self.world.pods[pod].labels;
            let chosen = object.pods.as_ref().map_or(Answer::Yes, |selector| selector.matches(labels, true));
            if chosen.possible() {
                counts.note(certain, |stats| &mut stats.pods_selected);
                fate.selects.insert(pod, certain.and(chosen));
                self.pod(index, object, pod, certain.and(chosen), counts);
            }
        }
    }

    fn pod(&mut self, by: usize, object: &Registration, pod: usize, selected: Answer, counts: &mut Counts) {
        let mut certain = selected;
        if object.fallback {
            match self.served.get(&pod) {
                Some((Answer::Yes, first)) if selected.possible() => {
                    let displaced = Displaced { fallback: by, pod, by: *first };
                    let known = if selected.certain() {
                        &mut self.prediction.displaced
                    } else {
                        &mut self.prediction.maybe_displaced
                    };
                    known.push(displaced);
                    return;
                }
                Some((Answer::Unknown, _)) => certain = certain.and(Answer::Unknown),
                _ => {}
            }
        }
        match self.entry(by, object, pod, certain) {
            Ok(entry) => {
                if !object.fallback {
                    let served = self.served.entry(pod).or_insert((entry.certain, by));
                    if entry.certain > served.0 {
                        *served = (entry.certain, by);
                    }
                }
                counts.exact &= entry.certain.certain();
                self.prediction.entries.push(entry);
            }
            Err(why) => {
                counts.note(certain, |stats| &mut stats.render_failures);
                self.prediction.failures.push(Failure { by, pod, why });
            }
        }
    }

    /// `scm: renderPodEntry`.
    fn entry(&self, by: usize, object: &Registration, index: usize, selected: Answer) -> Result<Entry, Why> {
        let Manager { trust_domain, cluster_name, cluster_domain, .. } = self.manager;
        let pod = &self.world.pods[index];
        let node_name = pod.node_name.as_deref().ok_or(Why::Unscheduled)?;
        let node = match &self.nodes {
            Some(nodes) => Some(*nodes.get(node_name).ok_or_else(|| Why::NoNode(node_name.into()))?),
            None => None,
        };
        let data = Data {
            trust_domain: trust_domain.as_deref(),
            cluster_name: cluster_name.as_deref(),
            cluster_domain: cluster_domain.as_deref(),
            pod: Some(pod),
            node,
        };
        let parent = self.parent.render(Data { pod: None, ..data });
        let spiffe_id = object.spiffe_id.render(data);
        if let Rendered::Text(text) = &spiffe_id {
            checked(text, trust_domain.as_deref())?;
        }
        let selectors: Box<[Rendered]> = object.selectors.iter().map(|item| item.render(data)).collect();
        let texts: Option<Vec<&str>> = selectors.iter().map(Rendered::text).collect();
        for text in selectors.iter().filter_map(Rendered::text) {
            let (kind, value) = text.split_once(':').unwrap_or_default();
            if kind.is_empty() || value.is_empty() {
                return Err(Why::NoSelector(text.into()));
            }
        }
        let known = spiffe_id.text().is_some() && texts.is_some();
        let uid = pod.uid.as_ref().map(|uid| uid.as_str());
        let refused = match (spiffe_id.text(), &texts) {
            (Some(id), Some(texts)) => refusal(id, texts, uid, &object.hint),
            _ => None,
        };
        // What cannot be rendered here may fail to render there.
        let certain = if known { selected } else { selected.and(Answer::Unknown) };
        Ok(Entry { by, pod: index, spiffe_id, parent, selectors, certain, masked_by: None, refused })
    }

    fn finish(mut self) -> Prediction {
        self.mask();
        let mut masked: BTreeMap<usize, (usize, usize)> = BTreeMap::new();
        for entry in &self.prediction.entries {
            let (set, hidden) = masked.entry(entry.by).or_default();
            *(if entry.masked_by.is_some() { hidden } else { set }) += 1;
        }
        for (index, fate) in &mut self.fates {
            if let (Some(stats), Some((set, hidden))) = (&mut fate.stats, masked.get(index)) {
                stats.entries_to_set = *set;
                stats.entries_masked = *hidden;
            }
        }
        self.prediction.fates = self.fates.into_values().collect();
        self.prediction.entries.sort_by_key(|entry| (entry.by, entry.pod));
        self.prediction.failures.sort_by_key(|failure| (failure.by, failure.pod));
        self.prediction.displaced.sort_by_key(|displaced| (displaced.fallback, displaced.pod));
        self.prediction.maybe_displaced.sort_by_key(|displaced| (displaced.by, displaced.pod));
        for (place, entry) in self.prediction.entries.iter().enumerate() {
            self.prediction.of_pod.entry(entry.pod).or_default().push(place);
        }
        for (place, displaced) in self.prediction.displaced.iter().enumerate() {
            self.prediction.displaced_by.entry(displaced.by).or_default().push(place);
        }
        if !self.prediction.poison.is_empty() {
            for entry in &mut self.prediction.entries {
                entry.certain = entry.certain.and(Answer::Unknown);
            }
        }
        self.prediction
    }

    /// Entries with the same ID, parent and selectors are one; the object that comes first has it (`scm: makeEntryKey`,
    /// which joins type and value without separators, and `objectCmp`).
    fn mask(&mut self) {
        let entries = &mut self.prediction.entries;
        let mut same: BTreeMap<(usize, Box<str>, String), Vec<usize>> = BTreeMap::new();
        for (index, entry) in entries.iter().enumerate() {
            if let Some(key) = key(entry) {
                same.entry(key).or_default().push(index);
            }
        }
        let objects = self.world.registrations;
        for mut group in same.into_values().filter(|group| group.len() > 1) {
            let by = |entry: &usize| objects[entries[*entry].by].precedence();
            group.sort_by(|a, b| by(a).partial_cmp(&by(b)).unwrap_or(Ordering::Equal));
            let first = group[0];
            for later in &group[1..] {
                if entries[first].certain.certain() {
                    entries[*later].masked_by = Some(entries[first].by);
                } else {
                    entries[*later].certain = entries[*later].certain.and(Answer::Unknown);
                }
            }
        }
    }
}

fn key(entry: &Entry) -> Option<(usize, Box<str>, String)> {
    let mut items: Vec<(&str, &str)> =
        entry.selectors.iter().map(|item| item.text()?.split_once(':')).collect::<Option<_>>()?;
    items.sort_unstable();
    let joined = items.into_iter().flat_map(|(kind, value)| [kind, value]).collect();
    Some((entry.pod, entry.spiffe_id.text()?.into(), joined))
}

/// `scm: renderSPIFFEID`: the text is a SPIFFE ID as it stands, and of SCM's trust domain.
fn checked(text: &str, trust_domain: Option<&str>) -> Result<(), Why> {
    let id = ::spiffe::SpiffeId::new(text).ok().filter(|id| id.to_string() == text);
    let Some(id) = id else { return Err(Why::NoSpiffeId(text.into())) };
    let found = id.trust_domain_name();
    if trust_domain.is_some_and(|wanted| wanted != found) {
        return Err(Why::TrustDomain(found.into()));
    }
    Ok(())
}

/// Counting, as long as everything counted is certain.
struct Counts {
    stats: Stats,
    exact: bool,
}

impl Counts {
    fn note(&mut self, happened: Answer, which: impl FnOnce(&mut Stats) -> &mut usize) {
        match happened {
            Answer::Yes => *which(&mut self.stats) += 1,
            Answer::Unknown => self.exact = false,
            Answer::No => {}
        }
    }
}

/// What lies between in a list that is sorted by object.
fn stretch<T>(sorted: &[T], by: usize, of: impl Fn(&T) -> usize) -> &[T] {
    let start = sorted.partition_point(|one| of(one) < by);
    let length = sorted[start..].partition_point(|one| of(one) == by);
    &sorted[start..start + length]
}

impl Prediction {
    /// What SCM will ask for by one object, by pod.
    pub fn entries_by(&self, by: usize) -> &[Entry] {
        stretch(&self.entries, by, |entry| entry.by)
    }

    /// The pods for which one object gives no entry although it selects them.
    pub fn failures_by(&self, by: usize) -> &[Failure] {
        stretch(&self.failures, by, |failure| failure.by)
    }

    /// What one object displaces.
    pub fn displaced_by(&self, by: usize) -> impl Iterator<Item = &Displaced> {
        self.displaced_by.get(&by).into_iter().flatten().map(|place| &self.displaced[*place])
    }

    /// What one object displaces if that is there to be displaced.
    pub fn maybe_displaced_by(&self, by: usize) -> &[Displaced] {
        stretch(&self.maybe_displaced, by, |displaced| displaced.by)
    }

    /// The entries for a pod that will be made.
    pub fn entries_of(&self, pod: usize) -> impl Iterator<Item = &Entry> {
        let places = self.of_pod.get(&pod).into_iter().flatten();
        places
            .map(|place| &self.entries[*place])
            .filter(|entry| entry.masked_by.is_none() && entry.refused.is_none())
    }

    /// The entries that match a container of a pod, and how certain that is: of the match and of the entry.
    pub fn identities<'a>(
        &'a self,
        world: World<'a>,
        pod: usize,
        container: &'a Container,
    ) -> impl Iterator<Item = (&'a Entry, Answer)> {
        let space = world.space(&world.pods[pod]);
        self.entries_of(pod).filter_map(move |entry| {
            let matches = entry.matches(&world.pods[pod], container, space);
            let answer = matches.and(entry.certain);
            answer.possible().then_some((entry, answer))
        })
    }

    /// The containers of a pod that no entry matches, for certain.
    pub fn left_alone<'a>(&'a self, world: World<'a>, pod: usize) -> impl Iterator<Item = &'a Container> {
        let containers = world.pods[pod].containers.iter();
        containers.filter(move |container| self.identities(world, pod, container).next().is_none())
    }

    /// The different SPIFFE IDs that may reach one container at the same time, when there are several. Two entries that
    /// nothing lets match one workload (two tags of an image, before the kubelet has reported either) are not.
    pub fn several<'a>(
        &'a self,
        world: World<'a>,
        pod: usize,
        container: &'a Container,
    ) -> Option<BTreeSet<&'a str>> {
        let reaching: Vec<(&str, Vec<Item>)> = self
            .identities(world, pod, container)
            .filter_map(|(entry, _)| Some((entry.spiffe_id.text()?, entry.items())))
            .collect();
        let mut together = BTreeSet::new();
        for (place, (id, items)) in reaching.iter().enumerate() {
            for (other, theirs) in &reaching[place + 1..] {
                if id != other && !disjoint_items(items, theirs) {
                    together.extend([*id, *other]);
                }
            }
        }
        (!together.is_empty()).then_some(together)
    }
}

impl<'a> World<'a> {
    /// Every SCM.
    pub fn managers(&self) -> impl Iterator<Item = &'a Manager> {
        std::iter::once(self.manager).chain(self.others)
    }

    /// The SCM that looks at an object; of several that do, one of the trust domain of its ID. Where none does, the first.
    pub fn manager_of(&self, object: &Registration) -> &'a Manager {
        if self.others.is_empty() {
            return self.manager;
        }
        let id = object.spiffe_id.literal();
        let domain = id.and_then(|id| id.strip_prefix("spiffe://")?.split('/').next());
        let fits = |manager: &Manager| (manager.watches(object).0, manager.trust_domain.as_deref() == domain);
        let better = |best: &'a Manager, next: &'a Manager| if fits(next) > fits(best) { next } else { best };
        self.managers().fold(self.manager, better)
    }

    /// A pod's namespace, where its labels could be read. Quick when the namespaces are in order, as an API server lists
    /// them, and right when they are not.
    pub fn space(&self, pod: &Pod) -> Option<&'a Space> {
        match self.spaces.binary_search_by(|space| space.name.cmp(&pod.namespace)) {
            Ok(place) => self.spaces.get(place),
            Err(_) => self.spaces.iter().find(|space| space.name == pod.namespace),
        }
    }
}

impl Entry {
    /// The selectors that can be read, sorted.
    fn items(&self) -> Vec<Item> {
        let mut items: Vec<Item> =
            self.selectors.iter().filter_map(|item| Item::parse(item.text()?).ok()).collect();
        items.sort();
        items
    }

    /// Whether it matches a container of its pod.
    pub fn matches(&self, pod: &Pod, container: &Container, space: Option<&Space>) -> Answer {
        let unknown = self.selectors.iter().any(|item| item.text().is_none());
        let known = self.selectors.iter().filter_map(Rendered::text);
        let answer = set_matches(known, pod, container, space);
        if unknown { answer.and(Answer::Unknown) } else { answer }
    }
}
