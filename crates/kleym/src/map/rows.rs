//! The map in words: a row for every identity of every container, for every container without one, and for every binding
//! that nobody gets anything from; and what of it needs somebody's attention.

use std::collections::{BTreeMap, BTreeSet};

use super::{Column, Edge, Link, Region, State};

/// One line of the table: from the pool to the SPIFFE ID. The numbers are nodes of the region.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Row {
    /// One for each way that leads to the binding.
    pub(crate) pools: BTreeSet<usize>,
    /// Likewise.
    pub(crate) objectives: BTreeSet<usize>,
    /// The binding; none for a foreign output.
    pub(crate) binding: Option<usize>,
    /// The output.
    pub(crate) output: Option<usize>,
    /// The pods.
    pub(crate) pods: Option<usize>,
    /// Which of their containers.
    pub(crate) container: Option<usize>,
    /// The SPIFFE ID.
    pub(crate) identity: Option<usize>,
    /// What the last edge says; none where there is no edge.
    pub(crate) link: Option<Link>,
    /// What is to be said.
    pub(crate) why: String,
}

/// Something that needs attention.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Attention {
    /// The word in front.
    pub(crate) word: &'static str,
    /// The edge that shows it in the picture, if one does.
    pub(crate) link: Option<Link>,
    /// The node that it is about.
    pub(crate) node: usize,
    /// In a sentence.
    pub(crate) what: String,
}

/// Who leads to what.
struct Ways<'a> {
    region: &'a Region,
    into: BTreeMap<usize, Vec<&'a Edge>>,
    out_of: BTreeMap<usize, Vec<&'a Edge>>,
}

impl<'a> Ways<'a> {
    fn of(region: &'a Region) -> Self {
        let mut ways = Self { region, into: BTreeMap::new(), out_of: BTreeMap::new() };
        for edge in &region.edges {
            ways.into.entry(edge.to.node).or_default().push(edge);
            ways.out_of.entry(edge.from.node).or_default().push(edge);
        }
        ways
    }

    fn before(&self, node: usize, column: Column) -> impl Iterator<Item = usize> {
        let edges = self.into.get(&node).into_iter().flatten();
        edges.map(|edge| edge.from.node).filter(move |from| self.region.nodes[*from].column == column)
    }

    fn after(&self, node: usize) -> impl Iterator<Item = &'a Edge> {
        self.out_of.get(&node).into_iter().flatten().copied()
    }

    /// What leads to a binding.
    fn to_binding(&self, binding: usize) -> Row {
        let objectives: BTreeSet<usize> = self.before(binding, Column::Objective).collect();
        let mut pools: BTreeSet<usize> = self.before(binding, Column::Pool).collect();
        pools.extend(objectives.iter().flat_map(|objective| self.before(*objective, Column::Pool)));
        Row { pools, objectives, binding: Some(binding), ..Row::default() }
    }

    /// What leads to an output.
    fn to_output(&self, output: usize) -> Row {
        let binding = self.before(output, Column::Binding).next();
        let row = binding.map(|binding| self.to_binding(binding)).unwrap_or_default();
        Row { output: Some(output), ..row }
    }
}

/// The table of a region.
pub(crate) fn rows(region: &Region) -> Vec<Row> {
    let ways = Ways::of(region);
    let with = region.containers(|link| matches!(link, Link::Granted | Link::Overlap));
    let mut rows: BTreeSet<Row> = BTreeSet::new();
    let mut told: BTreeSet<usize> = BTreeSet::new();
    for (number, node) in region.nodes.iter().enumerate() {
        match node.column {
            Column::Pods => {
                let mut told_of = BTreeSet::new();
                for edge in ways.after(number) {
                    let start = edge.of.map(|output| ways.to_output(output)).unwrap_or_default();
                    told.extend(start.binding);
                    told.extend(start.output);
                    told_of.extend(edge.from.container);
                    let bare = edge.link == Link::Displaced && !with.contains(&edge.from);
                    let why = if bare { format!("{}; it has no other", edge.why) } else { edge.why.clone() };
                    rows.insert(Row {
                        pods: Some(number),
                        container: edge.from.container,
                        identity: Some(edge.to.node),
                        link: Some(edge.link),
                        why,
                        ..start
                    });
                }
                for container in (0..node.containers.len()).filter(|container| !told_of.contains(container)) {
                    let why = "no identity".to_owned();
                    rows.insert(Row {
                        pods: Some(number),
                        container: Some(container),
                        why,
                        ..Row::default()
                    });
                }
            }
            Column::Output => {
                for edge in ways.after(number) {
                    if region.nodes[edge.to.node].column == Column::Identity {
                        let start = ways.to_output(number);
                        told.extend(start.binding);
                        told.insert(number);
                        rows.insert(Row {
                            identity: Some(edge.to.node),
                            link: Some(edge.link),
                            why: edge.why.clone(),
                            ..start
                        });
                    }
                }
            }
            Column::Pool | Column::Objective | Column::Binding | Column::Identity => {}
        }
    }
    for (number, node) in region.nodes.iter().enumerate() {
        if told.contains(&number) {
            continue;
        }
        match node.column {
            Column::Binding => {
                let link = ways.after(number).map(|edge| edge.link).find(|link| *link == Link::Conflict);
                let mut output = ways.after(number).map(|edge| edge.to.node);
                let output = output.find(|to| region.nodes[*to].column == Column::Output);
                let why = match node.state {
                    State::Refused => format!("refused: {}", node.line),
                    _ => node.line.clone(),
                };
                let start = ways.to_binding(number);
                rows.insert(Row { output, link: Some(link.unwrap_or(Link::Nothing)), why, ..start });
            }
            Column::Objective if ways.after(number).next().is_none() => {
                let row = Row { objectives: BTreeSet::from([number]), ..Row::default() };
                let pools = ways.before(number, Column::Pool).collect();
                let why = "no binding makes an identity of it".to_owned();
                rows.insert(Row { pools, link: Some(Link::Nothing), why, ..row });
            }
            Column::Pool if ways.after(number).next().is_none() => {
                let row = Row { pools: BTreeSet::from([number]), ..Row::default() };
                let why = "nothing leads to it".to_owned();
                rows.insert(Row { link: Some(Link::Nothing), why, ..row });
            }
            _ => {}
        }
    }
    let mut rows: Vec<Row> = rows.into_iter().collect();
    // Stable: what starts at a pool comes before what only pods have.
    rows.sort_by_key(|row| row.pools.is_empty() && row.objectives.is_empty() && row.binding.is_none());
    rows
}

/// What of a region needs attention, the most serious first.
pub(crate) fn attention(region: &Region) -> Vec<Attention> {
    let mut list: Vec<(usize, Attention)> = Vec::new();
    let fact = |node: usize, what: &str| {
        let facts = &region.nodes[node].facts;
        facts.iter().find(|(known, _)| *known == what).map(|(_, value)| value.as_str())
    };
    let name = |node: usize| region.nodes[node].name.as_str();
    let mut contested: BTreeMap<usize, &str> = BTreeMap::new();
    for edge in region.edges.iter().filter(|edge| edge.link == Link::Conflict) {
        contested.entry(edge.from.node).or_insert(&edge.why);
    }
    for (node, of) in region.nodes.iter().enumerate() {
        match (of.column, of.state) {
            (Column::Binding, State::Refused) => {
                let first = contested.get(&node).copied();
                let link = first.map(|_| Link::Conflict);
                let word = if link.is_some() { "Conflict" } else { "Refused" };
                let why = first.or_else(|| fact(node, "why")).unwrap_or_default();
                let what = format!("binding {} is refused: {why}", of.name);
                list.push((if link.is_some() { 0 } else { 2 }, Attention { word, link, node, what }));
            }
            (Column::Output, State::Missing) => {
                let what = format!("output {} is wanted and not in the cluster", of.name);
                list.push((2, Attention { word: "Missing", link: Some(Link::Nothing), node, what }));
            }
            _ => {}
        }
    }
    let with = region.containers(|link| matches!(link, Link::Granted | Link::Overlap));
    // One for each group of pods and kind, however many containers and identities. A fallback identity that a container
    // lost is worth a word only where it has no other.
    let mut containers: BTreeMap<(usize, Link, &str), BTreeSet<&str>> = BTreeMap::new();
    for edge in &region.edges {
        let Some(container) = edge.from.container else { continue };
        let bare = edge.link == Link::Displaced && !with.contains(&edge.from);
        if edge.link == Link::Overlap || bare {
            let container = region.nodes[edge.from.node].containers[container].name.as_str();
            containers.entry((edge.from.node, edge.link, &edge.why)).or_default().insert(container);
        }
    }
    for ((node, link, why), of) in containers {
        let (word, have) = if of.len() == 1 { ("container", "has") } else { ("containers", "have") };
        let of: Vec<&str> = of.into_iter().collect();
        let of = format!("{word} {} of {}", of.join(", "), name(node));
        let (rank, word, what) = match link {
            Link::Overlap => (1, "Overlap", format!("{of}: {why}")),
            _ => (3, "Left with none", format!("{of} {have} no identity: {why}")),
        };
        list.push((rank, Attention { word, link: Some(link), node, what }));
    }
    for edge in region.edges.iter().filter(|edge| edge.link == Link::Nothing) {
        let (from, to) = (&region.nodes[edge.from.node], &region.nodes[edge.to.node]);
        if from.column == Column::Output && to.column == Column::Identity {
            let what = format!("output {}: {}", from.name, edge.why);
            let node = edge.from.node;
            list.push((4, Attention { word: "Matches nothing", link: Some(Link::Nothing), node, what }));
        }
    }
    list.sort_by_key(|(rank, attention)| (*rank, attention.node));
    list.into_iter().map(|(_, attention)| attention).collect()
}
