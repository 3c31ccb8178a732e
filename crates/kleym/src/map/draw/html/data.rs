//! What the script needs: of each node its facts, of each edge its ends. Short names, because there are many.

use serde::Serialize;

use super::super::text::{heading, shown};
use crate::map::{Map, Region};

#[derive(Serialize)]
struct Data {
    regions: Vec<RegionData>,
}

#[derive(Serialize)]
struct RegionData {
    /// Namespace.
    n: String,
    nodes: Vec<NodeData>,
    edges: Vec<EdgeData>,
}

#[derive(Serialize)]
struct NodeData {
    /// Column.
    c: &'static str,
    /// Whole name.
    t: String,
    /// Words below it.
    l: String,
    /// State.
    s: &'static str,
    /// Facts.
    f: Vec<(&'static str, String)>,
    /// Containers: name, role, image.
    k: Vec<(String, &'static str, String)>,
}

/// From node and container, to node and container, link, the output that it is of, why; -1 for none.
type EdgeData = (i64, i64, i64, i64, &'static str, i64, String);

pub(super) fn data(map: &Map) -> String {
    let data = Data { regions: map.regions.iter().map(|region| of_region(map, region)).collect() };
    // Strings and numbers alone: there is nothing that cannot be written.
    serde_json::to_string(&data).unwrap_or_default()
}

fn of_region(map: &Map, region: &Region) -> RegionData {
    let nodes = region.nodes.iter().map(|node| NodeData {
        c: node.column.word(),
        t: shown(&node.name),
        l: heading(map, region, node).1,
        s: node.state.word(),
        f: node.facts.iter().map(|(what, value)| (*what, shown(value))).collect(),
        k: node
            .containers
            .iter()
            .map(|container| (shown(&container.name), container.role, shown(&container.image)))
            .collect(),
    });
    let number = |number: Option<usize>| number.and_then(|number| i64::try_from(number).ok()).unwrap_or(-1);
    let edges = region.edges.iter().map(|edge| {
        (
            number(Some(edge.from.node)),
            number(edge.from.container),
            number(Some(edge.to.node)),
            number(edge.to.container),
            edge.link.word(),
            number(edge.of),
            shown(&edge.why),
        )
    });
    RegionData { n: shown(&region.namespace), nodes: nodes.collect(), edges: edges.collect() }
}
