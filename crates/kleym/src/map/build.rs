//! From what the engine decided and what was seen to the map. Reads verdicts and makes none.

use std::collections::{BTreeMap, BTreeSet};

use kleym_core::fact::{Binding, Objective, Pool, Target};
use kleym_core::index::{Index, Verdict};
use kleym_core::kind::{ObjectiveGroup, PoolGroup};
use kleym_core::label::Labels;
use kleym_core::name::{ObjectName, output_name};
use kleym_core::refusal::Refusal;
use kleym_core::relation::compete;
use kleym_core::resolve::Resolved;

use super::choice::Choice;
use super::fold::fold;
use super::matrix::matrix;
use super::seen::{Grant, Output, Pod, Seen};
use super::{Column, Edge, End, Link, Map, Node, Region, State};

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
    Map {
        trust_domain: index.settings().trust_domain.to_string(),
        class_name: index.settings().class_name.as_ref().map(|class| class.as_str().to_owned()),
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

    fn pool(&mut self, pool: &Pool) {
        let (selector, state) = match &pool.labels {
            Ok(labels) => (in_words(labels), State::Idle),
            Err(error) => (error.to_string(), State::Refused),
        };
        let key = Key::Pool(pool.name.to_string(), selector.clone());
        let what = if pool.labels.is_ok() { "selects pods with" } else { "refused" };
        let node = self.node(key, || {
            Node::new(Column::Pool, pool.name.as_str(), state).line(selector.clone()).fact(what, selector)
        });
        let group = format!("{}/{}", pool.group.as_str(), pool.group.version());
        self.nodes[node].facts.push(("served in", group));
        if pool.deleting {
            self.nodes[node].state = State::Pending;
            self.nodes[node].facts.push(("state", "being deleted; counts as not found".to_owned()));
        }
        self.pools.insert((pool.name.clone(), pool.group), node);
    }

    fn objective(&mut self, objective: &Objective) {
        let points = match &objective.pool_ref {
            Ok(to) => match to.group {
                Some(group) => format!("{} ({group})", to.name),
                None => to.name.to_string(),
            },
            Err(error) => error.to_string(),
        };
        let state = if objective.pool_ref.is_ok() { State::Idle } else { State::Refused };
        let key = Key::Objective(objective.name.to_string(), points.clone());
        let node = self.node(key, || {
            let node = Node::new(Column::Objective, objective.name.as_str(), state);
            let line = objective.pool_ref.as_ref().map_or(points.clone(), |to| format!("pool {}", to.name));
            node.line(line).fact("points to pool", points)
        });
        let group = format!("{}/{}", objective.group.as_str(), objective.group.version());
        self.nodes[node].facts.push(("served in", group));
        if objective.deleting {
            self.nodes[node].state = State::Pending;
            self.nodes[node].facts.push(("state", "being deleted; counts as not found".to_owned()));
        }
        self.objectives.insert((objective.name.clone(), objective.group), node);
        if let Ok(to) = &objective.pool_ref {
            let groups = to.group.map_or(PoolGroup::ALL.to_vec(), |group| vec![group]);
            let found = groups.iter().find_map(|group| self.pools.get(&(to.name.clone(), *group)).copied());
            let pool = found.unwrap_or_else(|| self.missing_pool(&to.name));
            self.pool_of.insert(node, pool);
            self.between(pool, node, Link::Nothing, "no binding makes an identity of it");
        }
    }

    fn missing_pool(&mut self, name: &ObjectName) -> usize {
        self.node(Key::Pool(name.to_string(), String::new()), || {
            Node::new(Column::Pool, name.as_str(), State::Missing)
                .line("not found")
                .fact("state", "named by another object, and not there")
        })
    }

    fn output(&mut self, output: &Output) -> usize {
        self.node(Key::Output(output.name.clone()), || {
            let ours = output.binding.is_some();
            let state = match (&output.ignored, ours) {
                (Some(_), _) => State::Idle,
                (None, true) => State::Fine,
                (None, false) => State::Foreign,
            };
            let class =
                output.class_name.as_ref().map_or("no class".to_owned(), |class| format!("class {class}"));
            let line = match (ours, output.fallback) {
                (true, _) => class,
                (false, true) => "foreign, fallback".to_owned(),
                (false, false) => "foreign".to_owned(),
            };
            let mut node = Node::new(Column::Output, output.name.as_str(), state)
                .line(line)
                .fact("gives", output.spiffe_id.as_str())
                .fact("class", output.class_name.as_deref().unwrap_or("none"));
            if output.fallback {
                node = node.fact("fallback", "only pods that no other output gives an entry");
            }
            node.facts.extend(output.facts.iter().cloned());
            if let Some(ignored) = &output.ignored {
                node = node.fact("ignored", ignored.as_str());
            }
            node
        })
    }

    fn binding(&mut self, binding: &Binding) {
        let verdict = self.index.verdict(&binding.key).verdict;
        let (state, line) = match &verdict {
            Verdict::Wanted(_) => (State::Fine, String::new()),
            Verdict::Refused(refusal) => (State::Refused, refusal.reason().as_str().to_owned()),
            Verdict::Waiting(_) => (State::Pending, "not decided yet".to_owned()),
            Verdict::Deleting | Verdict::Gone => (State::Pending, "being deleted".to_owned()),
        };
        let mut node = Node::new(Column::Binding, binding.key.name.as_str(), state);
        match &binding.spec {
            Ok(spec) => {
                node.line = if line.is_empty() { spec.mode.as_str().to_owned() } else { line };
                let target = match &spec.target {
                    Target::Objective { name, .. } => format!("InferenceObjective {name}"),
                    Target::Pool { name, .. } => format!("InferencePool {name}"),
                };
                node = node.fact("mode", spec.mode.as_str()).fact("target", target);
            }
            Err(_) => node.line = line,
        }
        match &verdict {
            Verdict::Refused(refusal) => {
                node = node.fact("refused", refusal.reason().as_str()).fact("why", refusal.what());
                if let Some(hint) = refusal.hint() {
                    node = node.fact("what to do", hint);
                }
            }
            Verdict::Waiting(kinds) => {
                for (kind, trouble) in kinds {
                    node = node.fact("waits for", format!("{}: {}", kind.crd_name(), trouble.as_str()));
                }
            }
            Verdict::Deleting => node = node.fact("state", "being deleted; its output goes first"),
            Verdict::Wanted(_) | Verdict::Gone => {}
        }
        if let Some(identity) = self.index.identity(&binding.key) {
            let what = if state == State::Fine { "SPIFFE ID" } else { "would be" };
            node = node.fact(what, identity.spiffe_id.as_str());
            for item in identity.selectors.texts() {
                node = node.fact("selectors", item);
            }
        }
        let here = self.node(Key::Binding(binding.key.name.to_string()), || node);

        let granted = state == State::Fine;
        let link = if granted { Link::Granted } else { Link::Nothing };
        self.target(binding, here, link);
        self.own_output(binding, here, &verdict);
    }

    /// What the binding is of: everything to the left of it.
    fn target(&mut self, binding: &Binding, here: usize, link: Link) {
        let Ok(spec) = &binding.spec else { return };
        let refused = "the binding is refused";
        let why = if link == Link::Granted { "" } else { refused };
        let resolved = self.index.resolved(&binding.key);
        if let Some(Ok(Resolved { objective, pool, pool_group })) = &resolved
            && let Some(pool) = self.pools.get(&(pool.name.clone(), *pool_group)).copied()
        {
            let through = objective.as_ref().and_then(|key| self.objectives.get(key).copied());
            match through {
                Some(objective) => {
                    self.between(pool, objective, link, why);
                    self.between(objective, here, link, why);
                }
                None => self.between(pool, here, link, why),
            }
            if link == Link::Granted {
                for node in [Some(pool), through].into_iter().flatten() {
                    if self.nodes[node].state == State::Idle {
                        self.nodes[node].state = State::Fine;
                    }
                }
            }
            return;
        }
        match &spec.target {
            Target::Objective { name, group } => {
                let groups = group.map_or(ObjectiveGroup::ALL.to_vec(), |group| vec![group]);
                let mut found: BTreeSet<usize> = groups
                    .iter()
                    .filter_map(|group| self.objectives.get(&(name.clone(), *group)).copied())
                    .collect();
                if found.is_empty() {
                    found.insert(self.node(Key::Objective(name.to_string(), String::new()), || {
                        Node::new(Column::Objective, name.as_str(), State::Missing)
                            .line("not found")
                            .fact("state", "named by a binding, and not there")
                    }));
                }
                for objective in found {
                    self.between(objective, here, Link::Nothing, refused);
                    // Whatever leads to it leads no further either.
                    if let Some(pool) = self.pool_of.get(&objective).copied() {
                        self.between(pool, objective, Link::Nothing, refused);
                    }
                }
            }
            Target::Pool { name, group } => {
                let groups = group.map_or(PoolGroup::ALL.to_vec(), |group| vec![group]);
                let mut found: BTreeSet<usize> = groups
                    .iter()
                    .filter_map(|group| self.pools.get(&(name.clone(), *group)).copied())
                    .collect();
                if found.is_empty() {
                    found.insert(self.missing_pool(name));
                }
                for pool in found {
                    self.between(pool, here, Link::Nothing, refused);
                }
            }
        }
    }

    /// From the binding to its output.
    fn own_output(&mut self, binding: &Binding, here: usize, verdict: &Verdict) {
        let name = output_name(self.index.settings().instance.as_str(), &binding.key).to_string();
        let there = self.keys.get(&Key::Output(name.clone())).copied();
        match (there, verdict) {
            (Some(output), Verdict::Wanted(_)) => self.between(here, output, Link::Granted, ""),
            (Some(output), _) => {
                self.between(here, output, Link::Nothing, "it has no right to this output any more")
            }
            (None, Verdict::Wanted(identity)) => {
                let output = self.node(Key::Output(name.clone()), || {
                    Node::new(Column::Output, name, State::Missing)
                        .line("not there")
                        .fact("state", "wanted, and not in the cluster")
                        .fact("would give", identity.spiffe_id.as_str())
                });
                self.between(here, output, Link::Nothing, "the output is not there");
            }
            (None, _) => {}
        }
    }

    /// From a refused binding to those that hold what it claims.
    fn conflicts(&mut self, binding: &Binding) {
        let Verdict::Refused(Refusal::Conflict(conflict)) = self.index.verdict(&binding.key).verdict else {
            return;
        };
        let Some(here) = self.keys.get(&Key::Binding(binding.key.name.to_string())).copied() else { return };
        for peer in &conflict.peers {
            if let Some(there) = self.keys.get(&Key::Binding(peer.name.to_string())).copied() {
                let why = format!(
                    "{}: {} comes first and claims {}",
                    peer.cause.reason().as_str(),
                    peer.name,
                    peer.spiffe_id
                );
                self.between(here, there, Link::Conflict, why);
            }
        }
    }

    fn pods(&mut self, pods: &[&Pod]) {
        for (number, group) in fold(pods.iter().copied()).into_iter().enumerate() {
            let Pod { service_account, labels, selected_by, containers, .. } = &group.like;
            let count = group.pods.len();
            let mut node = Node::new(Column::Pods, group.name.as_str(), State::Idle);
            node.pods = count;
            let many = if count == 1 { "1 pod".to_owned() } else { format!("{count} pods") };
            node.line = if group.owner.is_empty() { many } else { format!("{many} of {}", group.owner) };
            node = node.fact("service account", service_account.as_str());
            for (key, value) in labels.iter().filter(|(key, _)| key != "pod-template-hash") {
                node = node.fact("labels", format!("{key}={value}"));
            }
            const SHOWN: usize = 20;
            for pod in group.pods.iter().take(SHOWN) {
                node = node.fact("pods", pod.as_str());
            }
            if count > SHOWN {
                node = node.fact("pods", format!("and {} more", count - SHOWN));
            }
            node.containers = containers.iter().map(|given| given.container.clone()).collect();
            if containers.iter().any(|given| !given.granted.is_empty()) {
                node.state = State::Fine;
            }
            let here = self.node(Key::Pods(number), || node);
            let mut matched: BTreeSet<&str> = BTreeSet::new();
            for (container, given) in containers.iter().enumerate() {
                let end = End { node: here, container: Some(container) };
                for grant in &given.granted {
                    matched.insert(&grant.output);
                    let overlap = given.granted.iter().find(|other| self.excludes(grant, other));
                    self.grant(end, grant, overlap);
                }
                for lost in &given.displaced {
                    matched.insert(&lost.output);
                    let output = self.any_output(&lost.output);
                    let identity = self.identity(&lost.spiffe_id, State::Idle);
                    let by: Vec<String> = lost.by.iter().map(|by| self.in_words(by)).collect();
                    let why =
                        format!("{} stands aside, because {} serves the pod", lost.output, by.join(", "));
                    self.edge(end, End::node(identity), Some(output), Link::Displaced, why.clone());
                    self.edge(End::node(output), end, Some(output), Link::Displaced, why);
                }
            }
            for output in selected_by.iter().filter(|output| !matched.contains(output.as_str())) {
                let output = self.any_output(output);
                let why = "selects these pods, and none of their containers";
                self.between(output, here, Link::Nothing, why);
            }
        }
    }

    fn grant(&mut self, container: End, grant: &Grant, overlap: Option<&Grant>) {
        let output = self.any_output(&grant.output);
        let foreign = self.nodes[output].state == State::Foreign;
        let identity = self.identity(&grant.spiffe_id, if foreign { State::Foreign } else { State::Fine });
        let (link, why) = match overlap {
            None if grant.certain => (Link::Granted, String::new()),
            None => (Link::Granted, "as far as can be told from what was read".to_owned()),
            Some(other) => {
                let why = format!(
                    "{} gives {}, although {} gives the same container {}",
                    self.in_words(&grant.output),
                    grant.spiffe_id,
                    self.in_words(&other.output),
                    other.spiffe_id
                );
                (Link::Overlap, why)
            }
        };
        self.edge(End::node(output), container, Some(output), link, why.clone());
        self.edge(container, End::node(identity), Some(output), link, why);
    }

    /// Whether a container should not have both: another ID, and not two bindings that may be layered. Of a foreign
    /// output and one of Kleym's the foreign one is marked.
    fn excludes(&self, grant: &Grant, other: &Grant) -> bool {
        if grant.spiffe_id == other.spiffe_id {
            return false;
        }
        let identity = |grant: &Grant| {
            let binding = self.outputs.get(grant.output.as_str())?.binding.as_ref()?;
            let identity = self.index.identity(binding)?;
            (identity.spiffe_id.as_str() == grant.spiffe_id).then_some(identity)
        };
        match (identity(grant), identity(other)) {
            (Some(own), Some(other)) => compete(own, other),
            (Some(_), None) => false,
            (None, _) => true,
        }
    }

    /// An output, named after its binding when it has one.
    fn in_words(&self, output: &str) -> String {
        let binding = self.outputs.get(output).and_then(|output| output.binding.as_ref());
        binding.map_or_else(|| output.to_owned(), |binding| format!("binding {}", binding.name))
    }

    fn any_output(&mut self, name: &str) -> usize {
        match self.outputs.get(name).copied() {
            Some(output) => self.output(output),
            None => {
                self.node(Key::Output(name.to_owned()), || Node::new(Column::Output, name, State::Foreign))
            }
        }
    }

    fn identity(&mut self, spiffe_id: &str, state: State) -> usize {
        let node = self.node(Key::Identity(spiffe_id.to_owned()), || {
            Node::new(Column::Identity, spiffe_id, state).fact("SPIFFE ID", spiffe_id)
        });
        if state == State::Fine || self.nodes[node].state == State::Idle {
            self.nodes[node].state = state;
        }
        node
    }

    /// Outputs that give no container anything: where nobody looked for pods they are taken at their word, otherwise they
    /// match nothing.
    fn without_pods(&mut self) {
        let giving: BTreeSet<usize> = self
            .edges
            .iter()
            .filter(|(_, (link, _))| matches!(link, Link::Granted | Link::Overlap | Link::Displaced))
            .filter_map(|((_, _, of), _)| *of)
            .collect();
        let selecting: BTreeSet<usize> = self
            .edges
            .keys()
            .filter(|(_, to, _)| self.nodes[to.node].column == Column::Pods)
            .map(|(from, ..)| from.node)
            .collect();
        let outputs: Vec<(usize, String)> = self
            .keys
            .iter()
            .filter_map(|(key, node)| match key {
                Key::Output(name) if !giving.contains(node) => Some((*node, name.clone())),
                _ => None,
            })
            .collect();
        for (node, name) in outputs {
            let Some(output) = self.outputs.get(name.as_str()).copied() else { continue };
            if output.binding.is_none() {
                continue;
            }
            let (link, state, why) = match &output.ignored {
                Some(why) => (Link::Nothing, State::Idle, why.clone()),
                None if self.pods_known => {
                    let why = if selecting.contains(&node) {
                        "no container of its pods matches its selectors"
                    } else {
                        "it selects no pod"
                    };
                    (Link::Nothing, State::Idle, why.to_owned())
                }
                None => (Link::Granted, State::Fine, String::new()),
            };
            let identity = self.identity(&output.spiffe_id, state);
            self.between(node, identity, link, why);
        }
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

fn in_words(labels: &Labels) -> String {
    let labels: Vec<String> =
        labels.iter().map(|(key, value)| format!("{}={}", key.as_str(), value.as_str())).collect();
    labels.join(", ")
}
