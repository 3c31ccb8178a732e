//! From what the engine decided and what was seen to the map. Reads verdicts and makes none.

mod bindings;
mod named;
mod pods;

use std::collections::{BTreeMap, BTreeSet};

use kleym_core::fact::{Binding, Objective, Pool};
use kleym_core::index::Index;
use kleym_core::kind::{ObjectiveGroup, PoolGroup};
use kleym_core::name::ObjectName;

use super::choice::Choice;
use super::matrix::matrix;
use super::seen::{Output, Pod, Seen};
use super::{Edge, End, Link, Map, Node, Region};

/// The map of what is chosen of an index.
pub(crate) fn map(index: &Index, seen: &Seen, choice: &Choice<'_>) -> Map {
    let mut declared: BTreeMap<String, Declared<'_>> = BTreeMap::new();
    for pool in index.pools().filter(|pool| choice.pool(pool)) {
        declared.entry(pool.namespace.to_string()).or_default().pools.push(pool);
    }
    for objective in index.objectives().filter(|objective| choice.objective(objective)) {
        declared.entry(objective.namespace.to_string()).or_default().objectives.push(objective);
    }
    for binding in index.bindings().filter(|binding| choice.binding(&binding.key)) {
        declared.entry(binding.key.namespace.to_string()).or_default().bindings.push(binding);
    }
    let outputs: BTreeMap<&str, &Output> =
        seen.outputs.iter().map(|output| (output.name.as_str(), output)).collect();
    let mut drawn: BTreeSet<&str> = BTreeSet::new();
    for output in outputs.values() {
        if let Some(binding) = output.binding.as_ref().filter(|binding| choice.binding(binding)) {
            declared.entry(binding.namespace.to_string()).or_default().outputs.push(output);
            drawn.insert(&output.name);
        }
    }
    // Pods that no output selects, in a namespace where nothing is declared, are nobody's business here.
    for pod in seen.pods.iter().flatten().filter(|pod| choice.inside(&pod.namespace)) {
        let concerned =
            !pod.selected_by.is_empty() || pod.containers.iter().any(|given| !given.displaced.is_empty());
        let wanted = match choice.is_narrow() {
            true => pod.selected_by.iter().any(|name| drawn.contains(name.as_str())),
            false => concerned || declared.contains_key(&pod.namespace),
        };
        if wanted {
            declared.entry(pod.namespace.clone()).or_default().pods.push(pod);
        }
    }
    let pods_known = seen.pods.is_some();
    let regions = declared
        .into_iter()
        .map(|(namespace, declared)| Builder::new(index, &outputs, pods_known).region(namespace, &declared));
    let used = index.settings_in_use();
    let trust_domains: BTreeSet<&str> = used.iter().map(|settings| settings.trust_domain.as_str()).collect();
    let classes: BTreeSet<&str> =
        used.iter().filter_map(|settings| settings.class_name.as_ref()).map(|class| class.as_str()).collect();
    Map {
        trust_domain: trust_domains.into_iter().collect::<Vec<_>>().join(", "),
        class_name: (!classes.is_empty()).then(|| classes.into_iter().collect::<Vec<_>>().join(", ")),
        pods_known,
        regions: regions.collect(),
    }
}

/// What there is in one namespace.
#[derive(Default)]
struct Declared<'a> {
    pools: Vec<&'a Pool>,
    objectives: Vec<&'a Objective>,
    bindings: Vec<&'a Binding>,
    outputs: Vec<&'a Output>,
    pods: Vec<&'a Pod>,
}

/// What tells the nodes of a namespace apart.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    /// Name, and selector in words.
    Pool(String, String),
    /// Name, and where it points, in words.
    Objective(String, String),
    Binding(String),
    Output(String),
    /// Which group.
    Pods(usize),
    Identity(String),
}

struct Builder<'a> {
    index: &'a Index,
    outputs: &'a BTreeMap<&'a str, &'a Output>,
    pods_known: bool,
    nodes: Vec<Node>,
    keys: BTreeMap<Key, usize>,
    pools: BTreeMap<(ObjectName, PoolGroup), usize>,
    objectives: BTreeMap<(ObjectName, ObjectiveGroup), usize>,
    /// The pool that an objective's node points at.
    pool_of: BTreeMap<usize, usize>,
    /// The most telling edge of each kind between two ends; of a container's, for each output.
    edges: BTreeMap<(End, End, Option<usize>), (Link, String)>,
}

impl<'a> Builder<'a> {
    fn new(index: &'a Index, outputs: &'a BTreeMap<&'a str, &'a Output>, pods_known: bool) -> Self {
        Self {
            index,
            outputs,
            pods_known,
            nodes: Vec::new(),
            keys: BTreeMap::new(),
            pools: BTreeMap::new(),
            objectives: BTreeMap::new(),
            pool_of: BTreeMap::new(),
            edges: BTreeMap::new(),
        }
    }

    fn region(mut self, namespace: String, declared: &Declared<'a>) -> Region {
        for pool in &declared.pools {
            self.pool(pool);
        }
        self.twins(&declared.pools);
        for objective in &declared.objectives {
            self.objective(objective);
        }
        for output in &declared.outputs {
            self.output(output);
        }
        for binding in &declared.bindings {
            self.binding(binding);
        }
        for binding in &declared.bindings {
            self.conflicts(binding);
        }
        self.pods(&declared.pods);
        self.without_pods();
        let matrix = matrix(self.index, &declared.bindings);
        let (nodes, edges) = self.in_order();
        Region { namespace, nodes, edges, matrix }
    }

    /// The node of that key, made when it is not there yet.
    fn node(&mut self, key: Key, make: impl FnOnce() -> Node) -> usize {
        if let Some(node) = self.keys.get(&key) {
            return *node;
        }
        let node = self.nodes.len();
        self.nodes.push(make());
        self.keys.insert(key, node);
        node
    }

    /// Adds an edge. Of several between the same ends the first kind in the order of [`Link`] counts, and of one kind the
    /// last.
    fn edge(&mut self, from: End, to: End, of: Option<usize>, link: Link, why: impl Into<String>) {
        let why = why.into();
        match self.edges.get_mut(&(from, to, of)) {
            Some(there) if there.0 < link => {}
            Some(there) => *there = (link, why),
            None => {
                self.edges.insert((from, to, of), (link, why));
            }
        }
    }

    fn between(&mut self, from: usize, to: usize, link: Link, why: impl Into<String>) {
        self.edge(End::node(from), End::node(to), None, link, why);
    }

    /// Nodes by column and name, and the edges between their new places.
    fn in_order(self) -> (Vec<Node>, Vec<Edge>) {
        let mut order: Vec<(usize, Node)> = self.nodes.into_iter().enumerate().collect();
        order.sort_by(|(_, a), (_, b)| {
            (a.column, &a.name, &a.line, &a.facts, &a.containers).cmp(&(
                b.column,
                &b.name,
                &b.line,
                &b.facts,
                &b.containers,
            ))
        });
        let mut place = vec![0; order.len()];
        for (new, (old, _)) in order.iter().enumerate() {
            place[*old] = new;
        }
        let moved = |end: End| End { node: place[end.node], container: end.container };
        let mut edges: Vec<Edge> = self
            .edges
            .into_iter()
            .map(|((from, to, of), (link, why))| Edge {
                from: moved(from),
                to: moved(to),
                link,
                of: of.map(|output| place[output]),
                why,
            })
            .collect();
        edges.sort();
        (order.into_iter().map(|(_, node)| node).collect(), edges)
    }
}
