//! Where everything of a region stands in its picture: six columns, and in them an order and a height for each node with
//! few crossings and short edges. A layered drawing: parts that are not connected stand below each other; within a part,
//! nodes are ordered by the mean of their neighbours, and placed as near to it as the nodes above and below allow
//! (isotonic regression, by pooling neighbours that would overlap).
//!
//! Everything is whole numbers of the picture's units and depends on the region alone.

use std::collections::BTreeMap;

use crate::map::{Column, Edge, End, Link, Region, State};

/// The width of every picture.
pub(super) const WIDTH: i32 = 1440;
/// Left edge and width of each column.
pub(super) const COLUMNS: [(i32, i32); 6] =
    [(1, 152), (205, 165), (424, 185), (663, 178), (903, 226), (1187, 252)];
/// The height of a node without containers.
pub(super) const NODE: i32 = 44;
/// The height of one container in its node.
pub(super) const CONTAINER: i32 = 22;
/// The space below the last container.
pub(super) const FOOT: i32 = 5;
/// The least space between two nodes of a column.
const GAP: i32 = 10;
/// The height that an edge takes in a column that it passes.
const LANE: i32 = 6;
/// The space between two parts.
const PART: i32 = 22;
const TOP: i32 = 6;

/// A picture's places.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Layout {
    /// The height of the picture.
    pub(super) height: i32,
    /// The upper edge of each node.
    pub(super) tops: Vec<i32>,
    /// For each edge, its way: from point to point, left to right.
    pub(super) ways: Vec<Vec<(i32, i32)>>,
}

/// Whether an edge has no say in where its ends stand: those of foreign outputs, which reach every pod of a cluster and
/// would pull together what has nothing to do with each other.
pub(super) fn is_aside(region: &Region, edge: &Edge) -> bool {
    let from = &region.nodes[edge.from.node];
    from.column == Column::Output && from.state == State::Foreign && edge.to.container.is_some()
}

/// The height of a node with so many containers.
pub(super) fn height(containers: usize) -> i32 {
    let rows = i32::try_from(containers).unwrap_or(i32::MAX / 64);
    if rows == 0 { NODE } else { NODE + rows * CONTAINER + FOOT }
}

/// Something that takes room in a column: a node, or an edge that passes.
#[derive(Debug)]
struct Item {
    column: usize,
    height: i32,
    /// The middle.
    at: f64,
    part: usize,
}

/// One step of an edge, between items of neighbouring columns, and how far below each one's upper edge it touches.
#[derive(Debug)]
struct Step {
    left: (usize, f64),
    right: (usize, f64),
}

/// Places everything.
pub(super) fn layout(region: &Region) -> Layout {
    let mut items: Vec<Item> = region
        .nodes
        .iter()
        .map(|node| Item {
            column: place(node.column),
            height: height(node.containers.len()),
            at: 0.0,
            part: 0,
        })
        .collect();
    let mut steps = Vec::new();
    // Edges between the same two nodes that pass a column share the lane there.
    let mut lanes: BTreeMap<(usize, usize, usize), usize> = BTreeMap::new();
    let mut passes: Vec<Vec<usize>> = Vec::with_capacity(region.edges.len());
    for edge in &region.edges {
        let (from, to) = (edge.from.node, edge.to.node);
        let mut stops = vec![from];
        for column in items[from].column + 1..items[to].column {
            let lane = *lanes.entry((from, to, column)).or_insert_with(|| {
                items.push(Item { column, height: LANE, at: 0.0, part: 0 });
                items.len() - 1
            });
            stops.push(lane);
        }
        stops.push(to);
        if edge.link != Link::Conflict && !is_aside(region, edge) {
            for pair in stops.windows(2) {
                let touch = |item: usize, end: End| match (item == end.node, end.container) {
                    (true, Some(container)) => f64::from(port(container)),
                    _ => f64::from(items[item].height.min(NODE)) / 2.0,
                };
                let left = (pair[0], touch(pair[0], edge.from));
                let right = (pair[1], touch(pair[1], edge.to));
                steps.push(Step { left, right });
            }
        }
        passes.push(stops[1..stops.len() - 1].to_vec());
    }
    let parts = parts(&mut items, region, &steps);

    let mut members: Vec<Columns> = vec![Columns::default(); parts];
    for (number, item) in items.iter().enumerate() {
        members[item.part][item.column].push(number);
    }
    let mut connections: Vec<Vec<&Step>> = vec![Vec::new(); parts];
    for step in &steps {
        connections[items[step.left.0].part].push(step);
    }
    let mut top = f64::from(TOP);
    for (columns, steps) in members.into_iter().zip(&connections) {
        top = arrange(&mut items, columns, steps, top) + f64::from(PART);
    }
    let bottom = if parts == 0 { TOP } else { whole(top) - PART + TOP };

    let tops: Vec<i32> = items.iter().map(|item| whole(item.at - f64::from(item.height) / 2.0)).collect();
    let ways = region.edges.iter().zip(&passes).map(|(edge, passes)| {
        let touch = |end: End| tops[end.node] + end.container.map_or(NODE / 2, port);
        let (from, to) = (region.nodes[edge.from.node].column, region.nodes[edge.to.node].column);
        let right = |column: usize| COLUMNS[column].0 + COLUMNS[column].1;
        let mut way = vec![(right(place(from)), touch(edge.from))];
        for lane in passes {
            let (left, width) = COLUMNS[items[*lane].column];
            let middle = tops[*lane] + LANE / 2;
            way.extend([(left, middle), (left + width, middle)]);
        }
        let end = if edge.link == Link::Conflict { right(place(to)) } else { COLUMNS[place(to)].0 };
        way.push((end, touch(edge.to)));
        way
    });
    let ways = ways.collect();
    Layout { height: bottom, tops: tops[..region.nodes.len()].to_vec(), ways }
}

const fn place(column: Column) -> usize {
    column as usize
}

/// How far below its node's upper edge a container's middle is.
fn port(container: usize) -> i32 {
    height(container) - if container == 0 { 0 } else { FOOT } + CONTAINER / 2
}

#[expect(clippy::cast_possible_truncation, reason = "a picture is not two thousand million units high")]
fn whole(number: f64) -> i32 {
    number.round() as i32
}

/// Numbers the parts that are connected, by their first node; answers how many there are.
fn parts(items: &mut [Item], region: &Region, steps: &[Step]) -> usize {
    let mut beside: Vec<Vec<usize>> = vec![Vec::new(); items.len()];
    let conflicts = region.edges.iter().filter(|edge| edge.link == Link::Conflict);
    let joined = steps
        .iter()
        .map(|step| (step.left.0, step.right.0))
        .chain(conflicts.map(|edge| (edge.from.node, edge.to.node)));
    for (one, other) in joined {
        beside[one].push(other);
        beside[other].push(one);
    }
    let mut part_of = vec![usize::MAX; items.len()];
    let mut count = 0;
    for start in 0..items.len() {
        if part_of[start] != usize::MAX {
            continue;
        }
        let mut waiting = vec![start];
        while let Some(item) = waiting.pop() {
            if part_of[item] == usize::MAX {
                part_of[item] = count;
                waiting.extend(&beside[item]);
            }
        }
        count += 1;
    }
    for (item, part) in items.iter_mut().zip(part_of) {
        item.part = part;
    }
    count
}

/// The items of a part, by column.
type Columns = [Vec<usize>; COLUMNS.len()];

/// Orders and places the items of one part below `top`; answers where it ends.
fn arrange(items: &mut [Item], mut columns: Columns, steps: &[&Step], top: f64) -> f64 {
    const SWEEPS: usize = 8;
    // For each item: its neighbours to the left and to the right, and how much lower they touch than it does.
    let mut left: BTreeMap<usize, Vec<(usize, f64)>> = BTreeMap::new();
    let mut right: BTreeMap<usize, Vec<(usize, f64)>> = BTreeMap::new();
    for Step { left: (one, a), right: (other, b) } in steps.iter().copied() {
        let half = |item: usize| f64::from(items[item].height) / 2.0;
        let offset = (a - half(*one)) - (b - half(*other));
        left.entry(*other).or_default().push((*one, offset));
        right.entry(*one).or_default().push((*other, -offset));
    }
    for column in &columns {
        let wishes = column.iter().map(|item| (*item, 0.0)).collect();
        put(items, wishes);
    }
    for sweep in 0..SWEEPS {
        let (order, sides): (Vec<usize>, Vec<_>) = if sweep + 1 == SWEEPS {
            ((0..columns.len()).collect(), vec![&left, &right])
        } else if sweep % 2 == 0 {
            ((0..columns.len()).collect(), vec![&left])
        } else {
            ((0..columns.len()).rev().collect(), vec![&right])
        };
        for column in order {
            let mut wishes: Vec<(usize, f64)> = columns[column]
                .iter()
                .map(|item| {
                    let near: Vec<f64> = sides
                        .iter()
                        .filter_map(|side| side.get(item))
                        .flatten()
                        .map(|(other, offset)| items[*other].at + offset)
                        .collect();
                    #[expect(clippy::cast_precision_loss, reason = "a node has no 2^52 neighbours")]
                    let wish = if near.is_empty() {
                        items[*item].at
                    } else {
                        near.iter().sum::<f64>() / near.len() as f64
                    };
                    (*item, wish)
                })
                .collect();
            // Stable, so that equal wishes keep the order of the names.
            wishes.sort_by(|(_, a), (_, b)| a.total_cmp(b));
            columns[column] = wishes.iter().map(|(item, _)| *item).collect();
            put(items, wishes);
        }
    }
    let members = || columns.iter().flatten();
    let upper = |item: &usize| items[*item].at - f64::from(items[*item].height) / 2.0;
    let shift = top - members().map(upper).fold(f64::INFINITY, f64::min);
    for column in &columns {
        for item in column {
            items[*item].at += shift;
        }
    }
    let lower = |item: &usize| items[*item].at + f64::from(items[*item].height) / 2.0;
    columns.iter().flatten().map(lower).fold(top, f64::max)
}

/// Puts the items of a column, in this order, as near to their wishes as may be without touching each other: the sum of
/// the squares of what they are moved is the least possible.
fn put(items: &mut [Item], wishes: Vec<(usize, f64)>) {
    struct Block {
        /// The mean of what its members wish for the block's first member.
        at: f64,
        weight: f64,
        members: Vec<(usize, f64)>,
    }
    let mut blocks: Vec<Block> = Vec::new();
    let mut below = 0.0;
    let mut previous = 0;
    for (item, wish) in wishes {
        let height = items[item].height;
        below += f64::from(previous) / 2.0 + f64::from(height) / 2.0 + f64::from(GAP);
        previous = height;
        // Measured as if every member stood where the first one of the column stands.
        blocks.push(Block { at: wish - below, weight: 1.0, members: vec![(item, below)] });
        while let [.., upper, lower] = blocks.as_mut_slice()
            && lower.at < upper.at
        {
            let weight = upper.weight + lower.weight;
            upper.at = (upper.at * upper.weight + lower.at * lower.weight) / weight;
            upper.weight = weight;
            upper.members.append(&mut lower.members);
            blocks.pop();
        }
    }
    for block in blocks {
        for (item, below) in block.members {
            items[item].at = block.at + below;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::map::{Matrix, Node};

    fn region(nodes: &[(Column, &str)], edges: &[(usize, usize)]) -> Region {
        Region {
            namespace: "llm".to_owned(),
            nodes: nodes.iter().map(|(column, name)| Node::new(*column, *name, State::Fine)).collect(),
            edges: edges
                .iter()
                .map(|(from, to)| Edge {
                    from: End::node(*from),
                    to: End::node(*to),
                    link: Link::Granted,
                    of: None,
                    why: String::new(),
                })
                .collect(),
            matrix: Matrix::default(),
        }
    }

    /// A region with pseudo-random edges.
    fn any(seed: u64) -> Region {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut next = |below: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            usize::try_from(state % below as u64).unwrap()
        };
        let names: Vec<String> = (0..24).map(|number| format!("n{number}")).collect();
        let mut nodes: Vec<(Column, &str)> =
            names.iter().map(|name| (Column::ALL[next(6)], name.as_str())).collect();
        nodes.sort();
        let mut edges = Vec::new();
        for _ in 0..30 {
            let (one, other) = (next(24), next(24));
            if nodes[one].0 < nodes[other].0 {
                edges.push((one, other));
            }
        }
        region(&nodes, &edges)
    }

    #[test]
    fn no_two_nodes_of_a_column_touch_and_all_are_in_the_picture() {
        for seed in 1..200 {
            let region = any(seed);
            let layout = layout(&region);
            for (one, node) in region.nodes.iter().enumerate() {
                assert!(layout.tops[one] >= 0 && layout.tops[one] + NODE <= layout.height, "{seed}");
                for (other, beside) in region.nodes.iter().enumerate().skip(one + 1) {
                    let apart = (layout.tops[one] - layout.tops[other]).abs();
                    assert!(node.column != beside.column || apart >= NODE + GAP - 1, "{seed}");
                }
            }
        }
    }

    #[test]
    fn a_chain_is_a_straight_line() {
        let nodes = Column::ALL.map(|column| (column, "x"));
        let layout = layout(&region(&nodes, &[(0, 1), (1, 2), (2, 3), (3, 4), (4, 5)]));
        assert_eq!(layout.tops, [TOP; 6]);
        assert_eq!(layout.height, TOP + NODE + TOP);
    }

    #[test]
    fn an_edge_goes_around_what_stands_in_a_column_that_it_passes() {
        let nodes = [(Column::Pool, "a"), (Column::Objective, "b"), (Column::Binding, "c")];
        let layout = layout(&region(&nodes, &[(0, 1), (1, 2), (0, 2)]));
        let way = &layout.ways[2];
        let (top, bottom) = (layout.tops[1], layout.tops[1] + NODE);
        assert_eq!(way.len(), 4);
        assert!(way[1].1 < top || way[1].1 > bottom, "{way:?} meets {top}..{bottom}");
    }

    #[test]
    fn the_same_region_is_placed_the_same() {
        assert_eq!(layout(&any(7)), layout(&any(7)));
    }
}
