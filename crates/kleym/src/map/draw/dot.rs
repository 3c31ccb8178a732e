//! The map in Graphviz's language. Source of the rules of text: Graphviz's description of the language and of HTML-like
//! labels; every label is such a one, so that text is escaped as XML is.

use std::fmt::Write;

use super::text::{ends, heading, middle, shown};
use crate::map::{Column, Edge, End, Link, Map, Node, Region, State};

/// Characters of a name that are shown; the whole is in the tooltip.
const MOST_SHOWN: usize = 60;
/// Characters of the name of an output, which says little beyond its binding's, that are shown.
const MOST_OF_OUTPUT: usize = 28;

/// The map.
pub(crate) fn dot(map: &Map) -> String {
    let mut out = String::from(
        "digraph kleym {\n  rankdir=LR;\n  newrank=true;\n  fontname=\"Helvetica\";\n  node [shape=plain fontname=\"Helvetica\" fontsize=11];\n  edge [fontname=\"Helvetica\" fontsize=9 arrowsize=0.6];\n",
    );
    for (number, region) in map.regions.iter().enumerate() {
        line(&mut out, format_args!("  subgraph cluster_{number} {{"));
        line(&mut out, format_args!("    label=<namespace <B>{}</B>>;", xml(&region.namespace)));
        line(&mut out, format_args!("    color=\"#98a2b3\"; style=rounded;"));
        for (place, node) in region.nodes.iter().enumerate() {
            let tooltip = xml(&format!("{} {}", node.column.word(), shown(&node.name)));
            let label = label(map, region, node);
            line(&mut out, format_args!("    r{number}n{place} [label=<{label}> tooltip=<{tooltip}>];"));
        }
        for column in Column::ALL {
            let same: Vec<String> = region
                .nodes
                .iter()
                .enumerate()
                .filter(|(_, node)| node.column == column)
                .map(|(place, _)| format!("r{number}n{place}"))
                .collect();
            if same.len() > 1 {
                line(&mut out, format_args!("    {{ rank=same; {}; }}", same.join("; ")));
            }
        }
        for edge in &region.edges {
            line(&mut out, format_args!("    {};", arrow(number, edge)));
        }
        line(&mut out, format_args!("  }}"));
    }
    out.push_str("}\n");
    out
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = writeln!(out, "{text}");
}

/// One table a node: a row with name and words, and a row for each container, which edges can point at.
fn label(map: &Map, region: &Region, node: &Node) -> String {
    let (name, words) = heading(map, region, node);
    let name = match node.column {
        Column::Output => ends(&name, MOST_OF_OUTPUT, 4),
        _ => middle(&name, MOST_SHOWN),
    };
    let (border, style) = match node.state {
        State::Fine => ("#2f6fde", "rounded"),
        State::Refused => ("#d92d20", "rounded"),
        State::Missing => ("#d92d20", "rounded,dashed"),
        State::Idle => ("#98a2b3", "rounded"),
        State::Pending => ("#b7791f", "rounded,dotted"),
        State::Foreign => ("#7a5af8", "rounded"),
    };
    let mut label = format!(
        "<TABLE BORDER=\"1\" CELLBORDER=\"0\" CELLSPACING=\"0\" CELLPADDING=\"4\" COLOR=\"{border}\" STYLE=\"{style}\"><TR><TD ALIGN=\"LEFT\"><B>{}</B>",
        xml(&name)
    );
    if !words.is_empty() {
        label.push_str(&format!(
            "<BR ALIGN=\"LEFT\"/><FONT POINT-SIZE=\"9\">{}</FONT>",
            xml(&middle(&words, MOST_SHOWN))
        ));
    }
    label.push_str("</TD></TR>");
    for (place, container) in node.containers.iter().enumerate() {
        let role = if container.role.is_empty() { "container" } else { container.role };
        let name = xml(&middle(&shown(&container.name), MOST_SHOWN));
        label.push_str(&format!("<TR><TD ALIGN=\"LEFT\" PORT=\"c{place}\">{role} {name}</TD></TR>"));
    }
    label.push_str("</TABLE>");
    label
}

fn arrow(region: usize, Edge { from, to, link, why, .. }: &Edge) -> String {
    let end = |end: &End| match end.container {
        Some(place) => format!("r{region}n{}:c{place}", end.node),
        None => format!("r{region}n{}", end.node),
    };
    let style = match link {
        Link::Granted => "color=\"#2f6fde\"",
        Link::Conflict => {
            "color=\"#d92d20\" penwidth=2 constraint=false label=\"conflict\" fontcolor=\"#d92d20\""
        }
        Link::Overlap => "color=\"#d92d20\" penwidth=2 label=\"overlap\" fontcolor=\"#d92d20\"",
        Link::Displaced => "color=\"#b7791f\" style=dashed label=\"displaced\" fontcolor=\"#b7791f\"",
        Link::Nothing => "color=\"#98a2b3\" style=dotted",
    };
    let tooltip = if why.is_empty() { String::new() } else { format!(" edgetooltip=<{}>", xml(&shown(why))) };
    format!("{} -> {} [{style}{tooltip}]", end(from), end(to))
}

/// Text inside an HTML-like label.
fn xml(text: &str) -> String {
    let mut escaped = String::new();
    for c in shown(text).chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            // Graphviz replaces these escapes in some labels.
            '\\' => escaped.push_str("&#92;"),
            c => escaped.push(c),
        }
    }
    escaped
}
