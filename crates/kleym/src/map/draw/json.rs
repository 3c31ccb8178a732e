//! The map as a report, for programs.

use crate::map::{Edge, End, Map, Meeting, Node, Region};
use crate::reports::{
    IdentityMap, MapContainer, MapEdge, MapFact, MapNode, MapOverlap, MapPair, NamespaceMap,
};

/// The map as a report.
pub(crate) fn report(map: &Map) -> IdentityMap {
    IdentityMap {
        trust_domain: map.trust_domain.clone(),
        class_name: map.class_name.clone(),
        pods_known: map.pods_known,
        namespaces: map.regions.iter().map(namespace).collect(),
    }
}

fn namespace(region: &Region) -> NamespaceMap {
    let ids = ids(region);
    let nodes = region.nodes.iter().zip(&ids).map(|(node, id)| {
        let Node { column, name, line, state, facts, containers, pods } = node;
        MapNode {
            id: id.clone(),
            column: column.word(),
            name: name.clone(),
            state: state.word(),
            summary: line.clone(),
            pods: *pods,
            containers: containers
                .iter()
                .map(|container| MapContainer {
                    name: container.name.clone(),
                    role: if container.role.is_empty() { "container" } else { container.role },
                    image: container.image.clone(),
                })
                .collect(),
            facts: facts.iter().map(|(what, value)| MapFact { what, value: value.clone() }).collect(),
        }
    });
    let container = |end: &End| Some(region.nodes[end.node].containers[end.container?].name.clone());
    let edges = region.edges.iter().map(|Edge { from, to, link, of, why }| MapEdge {
        link: link.word(),
        from: ids[from.node].clone(),
        from_container: container(from),
        to: ids[to.node].clone(),
        to_container: container(to),
        output: of.map(|output| ids[output].clone()),
        why: why.clone(),
    });
    NamespaceMap {
        namespace: region.namespace.clone(),
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

fn overlap(region: &Region) -> MapOverlap {
    let matrix = &region.matrix;
    let pairs = matrix.pairs.iter().map(|pair| {
        let (first, second) = (matrix.bindings[pair.first].as_str(), matrix.bindings[pair.second].as_str());
        let mut entry = MapPair {
            first: first.to_owned(),
            second: second.to_owned(),
            relation: pair.meeting.word(),
            key: None,
            first_value: None,
            second_value: None,
            cause: None,
            held_by: None,
        };
        match &pair.meeting {
            Meeting::Disjoint { slot, first, second } => {
                entry.key = Some(slot.to_string());
                entry.first_value = Some(first.to_string());
                entry.second_value = Some(second.to_string());
            }
            Meeting::Conflict { cause, held } => {
                entry.cause = Some(cause.reason().as_str());
                entry.held_by = held.then(|| entry.first.clone());
            }
            Meeting::Layered | Meeting::SameIdentity => {}
        }
        entry
    });
    MapOverlap {
        bindings: matrix.bindings.clone(),
        without_identity: matrix.without.clone(),
        complete: matrix.complete,
        cut: matrix.cut,
        pairs: pairs.collect(),
    }
}
