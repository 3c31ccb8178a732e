//! The map as JSON, for programs: `kind: IdentityMap` of `cli.kleym.sonda.red/v1alpha1`. Texts are as they were declared.
//! Fields are added, never renamed or taken away.

use serde::Serialize;

use crate::map::{Column, Edge, End, Link, Map, Meeting, Node, Region, State};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct IdentityMap<'a> {
    api_version: &'static str,
    kind: &'static str,
    trust_domain: &'a str,
    class_name: Option<&'a str>,
    /// Whether pods were looked at.
    pods_known: bool,
    namespaces: Vec<NamespaceMap<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct NamespaceMap<'a> {
    namespace: &'a str,
    nodes: Vec<NodeEntry<'a>>,
    edges: Vec<EdgeEntry<'a>>,
    overlap: OverlapEntry<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct NodeEntry<'a> {
    id: String,
    column: &'static str,
    name: &'a str,
    state: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    summary: &'a str,
    #[serde(skip_serializing_if = "is_none")]
    pods: usize,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    containers: Vec<ContainerEntry<'a>>,
    facts: Vec<FactEntry<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ContainerEntry<'a> {
    name: &'a str,
    role: &'static str,
    image: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct FactEntry<'a> {
    what: &'static str,
    value: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct EdgeEntry<'a> {
    link: &'static str,
    from: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    from_container: Option<&'a str>,
    to: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    to_container: Option<&'a str>,
    /// Of a container's edges: the output that they are of.
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<String>,
    #[serde(skip_serializing_if = "str::is_empty")]
    why: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OverlapEntry<'a> {
    /// By precedence.
    bindings: &'a [String],
    /// Bindings that claim no identity.
    without_identity: &'a [String],
    /// Whether every pair is listed; otherwise those that are disjoint are not.
    complete: bool,
    /// Whether there are more pairs than are listed.
    cut: bool,
    pairs: Vec<PairEntry<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PairEntry<'a> {
    first: &'a str,
    second: &'a str,
    relation: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_value: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    second_value: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    held_by: Option<&'a str>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn is_none(count: &usize) -> bool {
    *count == 0
}

/// The map.
///
/// # Errors
/// None that is known: there is no map of other keys than texts in it.
pub(crate) fn json(map: &Map) -> serde_json::Result<String> {
    let report = IdentityMap {
        api_version: "cli.kleym.sonda.red/v1alpha1",
        kind: "IdentityMap",
        trust_domain: &map.trust_domain,
        class_name: map.class_name.as_deref(),
        pods_known: map.pods_known,
        namespaces: map.regions.iter().map(namespace).collect(),
    };
    let mut text = serde_json::to_string_pretty(&report)?;
    text.push('\n');
    Ok(text)
}

fn namespace(region: &Region) -> NamespaceMap<'_> {
    let ids = ids(region);
    let nodes = region.nodes.iter().zip(&ids).map(|(node, id)| {
        let Node { column, name, line, state, facts, containers, pods } = node;
        NodeEntry {
            id: id.clone(),
            column: Column::word(*column),
            name,
            state: State::word(*state),
            summary: line,
            pods: *pods,
            containers: containers
                .iter()
                .map(|container| ContainerEntry {
                    name: &container.name,
                    role: if container.role.is_empty() { "container" } else { container.role },
                    image: &container.image,
                })
                .collect(),
            facts: facts.iter().map(|(what, value)| FactEntry { what, value }).collect(),
        }
    });
    let container = |end: &End| Some(region.nodes[end.node].containers[end.container?].name.as_str());
    let edges = region.edges.iter().map(|Edge { from, to, link, of, why }| EdgeEntry {
        link: Link::word(*link),
        from: ids[from.node].clone(),
        from_container: container(from),
        to: ids[to.node].clone(),
        to_container: container(to),
        output: of.map(|output| ids[output].clone()),
        why,
    });
    NamespaceMap {
        namespace: &region.namespace,
        nodes: nodes.collect(),
        edges: edges.collect(),
        overlap: overlap(region),
    }
}

/// What nodes are called in edges: column and number, `binding-2`.
fn ids(region: &Region) -> Vec<String> {
    let mut number = 0;
    let mut last = None;
    let ids = region.nodes.iter().map(|node| {
        number = if last == Some(node.column) { number + 1 } else { 1 };
        last = Some(node.column);
        format!("{}-{number}", node.column.word())
    });
    ids.collect()
}

fn overlap(region: &Region) -> OverlapEntry<'_> {
    let matrix = &region.matrix;
    let pairs = matrix.pairs.iter().map(|pair| {
        let (first, second) = (matrix.bindings[pair.first].as_str(), matrix.bindings[pair.second].as_str());
        let mut entry = PairEntry {
            first,
            second,
            relation: pair.meeting.word(),
            key: None,
            first_value: None,
            second_value: None,
            cause: None,
            held_by: None,
        };
        match &pair.meeting {
            Meeting::Disjoint { slot, first, second } => {
                entry.key = Some(slot);
                entry.first_value = Some(first);
                entry.second_value = Some(second);
            }
            Meeting::Conflict { cause, held } => {
                entry.cause = Some(cause.reason().as_str());
                entry.held_by = held.then_some(first);
            }
            Meeting::Layered | Meeting::SameIdentity => {}
        }
        entry
    });
    OverlapEntry {
        bindings: &matrix.bindings,
        without_identity: &matrix.without,
        complete: matrix.complete,
        cut: matrix.cut,
        pairs: pairs.collect(),
    }
}
