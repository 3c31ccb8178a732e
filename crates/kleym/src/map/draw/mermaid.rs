//! The map as a Mermaid flowchart, for pull requests and pages that render it. Source of the rules of text: Mermaid's
//! syntax reference; a label stands in quotes, and every character with a meaning in it is an entity code, `#35;`.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::text::{ends, heading, middle, shown};
use crate::map::{Column, Edge, Link, Map, State};

/// The most edges that Mermaid draws unless its page allows more (`maxEdges`).
pub(crate) const MOST_EDGES: usize = 500;
/// The most characters that Mermaid reads unless its page allows more (`maxTextSize`).
pub(crate) const MOST_CHARACTERS: usize = 50_000;

/// Characters of a name that are shown.
const MOST_SHOWN: usize = 60;
/// Characters of the name of an output, which says little beyond its binding's, that are shown.
const MOST_OF_OUTPUT: usize = 28;

/// The map.
pub(crate) fn mermaid(map: &Map) -> String {
    let mut out = String::from("flowchart LR\n");
    let mut styles: Vec<(usize, Link)> = Vec::new();
    let mut drawn = 0;
    for (number, region) in map.regions.iter().enumerate() {
        line(&mut out, format_args!("  subgraph r{number}[\"namespace {}\"]", label(&region.namespace)));
        line(&mut out, format_args!("    direction LR"));
        let id = |node: usize| format!("r{number}n{node}");
        for (place, node) in region.nodes.iter().enumerate() {
            let (name, words) = heading(map, region, node);
            let name = if node.column == Column::Output { ends(&name, MOST_OF_OUTPUT, 4) } else { name };
            let mut text = label(&name);
            if !words.is_empty() {
                text = format!("{text}<br/>{}", label(&words));
            }
            for container in &node.containers {
                let role = if container.role.is_empty() { "container" } else { container.role };
                text = format!("{text}<br/>{role} {}", label(&shown(&container.name)));
            }
            let (open, close) = match node.column {
                Column::Identity => ("([", "])"),
                Column::Pods => ("[[", "]]"),
                Column::Pool | Column::Objective | Column::Binding | Column::Output => ("[", "]"),
            };
            let class = node.state.word();
            line(&mut out, format_args!("    {}{open}\"{text}\"{close}:::{class}", id(place)));
        }
        // Containers are lines of their pods here: what several of them have in common is one edge that names them.
        let mut arrows: BTreeMap<(usize, usize, Link, Option<usize>), Vec<String>> = BTreeMap::new();
        for Edge { from, to, link, of, .. } in &region.edges {
            let container = [from, to].into_iter().find_map(|end| {
                let place = end.container?;
                Some(label(&region.nodes[end.node].containers[place].name))
            });
            arrows.entry((from.node, to.node, *link, *of)).or_default().extend(container);
        }
        for ((from, to, link, _), containers) in arrows {
            let word = match link {
                Link::Granted | Link::Nothing => "",
                other => other.word(),
            };
            let words = [word, &containers.join(", ")].join(" ");
            let words = match words.trim() {
                "" => String::new(),
                words => format!("|\"{words}\"|"),
            };
            let arrow = match link {
                Link::Granted | Link::Conflict | Link::Overlap => "-->",
                Link::Displaced | Link::Nothing => "-.->",
            };
            line(&mut out, format_args!("    {} {arrow}{words} {}", id(from), id(to)));
            if link != Link::Granted {
                styles.push((drawn, link));
            }
            drawn += 1;
        }
        line(&mut out, format_args!("  end"));
    }
    for state in [State::Fine, State::Refused, State::Missing, State::Idle, State::Pending, State::Foreign] {
        line(&mut out, format_args!("  classDef {} {}", state.word(), node_style(state)));
    }
    for wanted in Link::ALL {
        let edges: Vec<String> =
            styles.iter().filter(|(_, link)| *link == wanted).map(|(edge, _)| edge.to_string()).collect();
        if !edges.is_empty() {
            line(&mut out, format_args!("  linkStyle {} {}", edges.join(","), edge_style(wanted)));
        }
    }
    out
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = writeln!(out, "{text}");
}

/// Colours that can be read on a light page and on a dark one.
const fn node_style(state: State) -> &'static str {
    match state {
        State::Fine => "stroke:#2f6fde,stroke-width:1.5px",
        State::Refused => "stroke:#d92d20,stroke-width:2px",
        State::Missing => "stroke:#d92d20,stroke-dasharray:4 3",
        State::Idle => "stroke:#98a2b3,color:#98a2b3",
        State::Pending => "stroke:#b7791f,stroke-dasharray:2 2",
        State::Foreign => "stroke:#7a5af8",
    }
}

const fn edge_style(link: Link) -> &'static str {
    match link {
        Link::Granted => "stroke:#2f6fde",
        Link::Conflict | Link::Overlap => "stroke:#d92d20,stroke-width:2.5px",
        Link::Displaced => "stroke:#b7791f,stroke-dasharray:6 4",
        Link::Nothing => "stroke:#98a2b3,stroke-dasharray:2 3",
    }
}

/// Text inside a quoted label: everything but letters, digits and harmless signs as an entity code.
fn label(text: &str) -> String {
    let mut label = String::new();
    for c in middle(&shown(text), MOST_SHOWN).chars() {
        if c.is_alphanumeric()
            || matches!(c, ' ' | '-' | '.' | '/' | ':' | '_' | '=' | ',' | '(' | ')' | '\u{2026}')
        {
            label.push(c);
        } else {
            let _ = write!(label, "#{};", u32::from(c));
        }
    }
    label
}
