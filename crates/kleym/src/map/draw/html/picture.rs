//! One region as SVG: nodes as cards in six columns, edges as curves between them. Names are in letters of one width, so
//! that how much of one fits is known without measuring.

use std::collections::BTreeSet;

use super::super::layout::{self, COLUMNS, CONTAINER, Layout, NODE, WIDTH, layout};
use super::super::text::{ends, heading, middle, shown};
use super::{Page, counted, headings, text};
use crate::map::{Column, Edge, End, Link, Map, Numbers, Region};

/// Width of a letter of a name, and of one of the words below it, in tenths of a unit.
const LETTER: i32 = 73;
const SMALL_LETTER: i32 = 58;
/// A difference in height that looks like none: the line stays straight.
const SAME_LEVEL: i32 = 4;
/// Space left and right of a node's text.
const MARGIN: i32 = 12;

pub(super) fn region(page: &mut Page, map: &Map, number: usize, region: &Region) {
    let Numbers { bindings, identities, pods, .. } = region.numbers();
    let mut words =
        vec![counted(bindings, "binding", "bindings"), counted(identities, "identity", "identities")];
    if map.pods_known {
        words.push(counted(pods, "pod", "pods"));
    }
    let words = words.join(" \u{b7} ");
    page.put(format_args!(
        "<section class=\"region\" id=\"r{number}\" aria-labelledby=\"r{number}-name\"><div class=\"bar\"><h2 id=\"r{number}-name\"><span>namespace</span> {}</h2><p>{words}</p></div>\n\
         <div class=\"scroll\"><div class=\"plane\">\n",
        text(&region.namespace)
    ));
    headings(page);
    let layout = layout(region);
    page.put(format_args!(
        "<svg class=\"picture\" viewBox=\"0 0 {WIDTH} {}\" role=\"group\" aria-label=\"Map of namespace {}; the table below says the same\">\n",
        layout.height,
        text(&region.namespace)
    ));
    edges(page, number, region, &layout);
    let with = region.containers(|link| matches!(link, Link::Granted | Link::Overlap));
    for (place, top) in layout.tops.iter().enumerate() {
        card(page, map, region, (number, place), *top, &with);
    }
    page.put("</svg>\n</div></div></section>\n");
}

/// What is more serious is drawn later, above the rest.
fn edges(page: &mut Page, number: usize, region: &Region, layout: &Layout) {
    page.put("<g class=\"edges\" aria-hidden=\"true\">\n");
    for link in [Link::Nothing, Link::Granted, Link::Displaced, Link::Overlap, Link::Conflict] {
        for (place, edge) in region.edges.iter().enumerate().filter(|(_, edge)| edge.link == link) {
            let way = curve(edge, &layout.ways[place]);
            let faint = if layout::is_aside(region, edge) { " aside" } else { "" };
            page.put(format_args!(
                "<path id=\"r{number}e{place}\" class=\"edge {}{faint}\" d=\"{way}\"/>\n",
                link.word()
            ));
        }
    }
    page.put("</g>\n");
}

fn curve(edge: &Edge, way: &[(i32, i32)]) -> String {
    let [(x, y), rest @ ..] = way else { return String::new() };
    let mut path = format!("M{x} {y}");
    let (mut from, mut level) = (*x, *y);
    for (to, height) in rest {
        if edge.link == Link::Conflict {
            // A bow to the right of the column, with an arrow at the one that holds it.
            let bow = 26 + (height - level).abs().min(160) / 10;
            let edge_of = to + 2;
            path.push_str(&format!(
                "C{} {level} {} {height} {edge_of} {height}M{} {}L{edge_of} {height}L{} {}",
                from + bow,
                to + bow,
                to + 9,
                height - 5,
                to + 9,
                height + 5
            ));
        } else if (level - height).abs() <= SAME_LEVEL {
            path.push_str(&format!("H{to}"));
            from = *to;
            continue;
        } else {
            let half = (to - from) / 2;
            path.push_str(&format!("C{} {level} {} {height} {to} {height}", from + half, to - half));
        }
        (from, level) = (*to, *height);
    }
    path
}

fn card(
    page: &mut Page,
    map: &Map,
    region: &Region,
    (number, place): (usize, usize),
    top: i32,
    with: &BTreeSet<End>,
) {
    let node = &region.nodes[place];
    let (left, width) = COLUMNS[node.column as usize];
    let height = layout::height(node.containers.len());
    let (name, line) = heading(map, region, node);
    let (column, state) = (node.column.word(), node.state.word());
    let said = match node.column {
        Column::Pods => {
            format!("{name}, {line}, {}", counted(node.containers.len(), "container", "containers"))
        }
        _ if line.is_empty() => name.clone(),
        _ => format!("{name}, {line}"),
    };
    page.put(format_args!(
        "<g id=\"r{number}n{place}\" class=\"node {column} {state}\" transform=\"translate({left} {top})\" role=\"button\" tabindex=\"-1\" aria-pressed=\"false\" aria-label=\"{column} {}, {state}\">",
        text(&said)
    ));
    page.put(format_args!("<title>{}</title>", text(&node.name)));
    page.put(format_args!("<rect class=\"card\" width=\"{width}\" height=\"{height}\" rx=\"7\"/>"));
    let room = usize::try_from((width - 2 * MARGIN) * 10 / LETTER).unwrap_or(1);
    let small_room = usize::try_from((width - 2 * MARGIN) * 10 / SMALL_LETTER).unwrap_or(1);
    let baseline = if line.is_empty() { NODE / 2 + 4 } else { 19 };
    page.put(format_args!(
        "<text class=\"name\" x=\"{MARGIN}\" y=\"{baseline}\">{}</text>",
        text(&ends(&name, room, if node.column == Column::Output { 4 } else { room / 2 - 1 }))
    ));
    if !line.is_empty() {
        page.put(format_args!(
            "<text class=\"line\" x=\"{MARGIN}\" y=\"34\">{}</text>",
            text(&middle(&line, small_room))
        ));
    }
    for (row, container) in node.containers.iter().enumerate() {
        let middle_of = NODE + i32::try_from(row).unwrap_or(0) * CONTAINER + CONTAINER / 2;
        let has = with.contains(&End { node: place, container: Some(row) });
        page.put(format_args!(
            "<path class=\"rule\" d=\"M0 {}H{width}\"/><circle class=\"{}\" cx=\"{MARGIN}\" cy=\"{middle_of}\" r=\"3\"/>",
            middle_of - CONTAINER / 2,
            if has { "has" } else { "has-not" }
        ));
        let name = shown(&container.name);
        let role = container.role;
        let role_room = if role.is_empty() { 0 } else { role.len() + 2 };
        page.put(format_args!(
            "<text class=\"container\" x=\"{}\" y=\"{}\">{}</text>",
            MARGIN + 10,
            middle_of + 4,
            text(&middle(&name, room.saturating_sub(2 + role_room).max(8)))
        ));
        if !role.is_empty() {
            page.put(format_args!(
                "<text class=\"role\" x=\"{}\" y=\"{}\">{role}</text>",
                width - MARGIN,
                middle_of + 4
            ));
        }
    }
    page.put("</g>\n");
}
