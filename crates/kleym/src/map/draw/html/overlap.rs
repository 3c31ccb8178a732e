//! The second tab: for every two bindings of a namespace, why no workload can have both identities, or who holds it, or that
//! they do not compete.

use std::collections::BTreeMap;

use super::{Page, counted, text};
use crate::map::{Map, Matrix, Meeting, Pair, Region};

/// Up to so many bindings, a cell has room for the key that differs; beyond, for a sign.
const ROOMY: usize = 9;

pub(super) fn overlap(page: &mut Page, map: &Map) {
    page.put("<p class=\"intro\">Of every two bindings of a namespace: which selector key has different values, so that no workload can match both; or who holds the identity; or that the two do not compete. The older binding comes first.</p>\n");
    page.put("<div class=\"key\" role=\"note\" aria-label=\"What the cells mean\">");
    for (class, words) in [
        ("disjoint", "disjoint: the key that differs (sa, container name, image, pod label, node, pod)"),
        ("layered", "do not compete: a workload may have both"),
        ("same", "one identity, two selector sets"),
        ("conflict", "conflict: the first keeps it"),
    ] {
        page.put(format_args!(
            "<span><i class=\"cell {class}\" aria-hidden=\"true\">{}</i>{words}</span>",
            sign(class)
        ));
    }
    page.put("</div>\n");
    let mut any = false;
    for (number, region) in map.regions.iter().enumerate() {
        let matrix = &region.matrix;
        if matrix.bindings.len() + matrix.without.len() > 0 {
            of_region(page, number, region);
            any = true;
        }
    }
    if !any {
        page.put("<p class=\"empty\">There is no binding.</p>\n");
    }
}

fn of_region(page: &mut Page, number: usize, region: &Region) {
    let matrix = &region.matrix;
    let count = matrix.bindings.len();
    page.put(format_args!(
        "<section class=\"region overlap\" aria-labelledby=\"o{number}-name\"><div class=\"bar\"><h2 id=\"o{number}-name\"><span>namespace</span> {}</h2><p>{}</p></div>\n",
        text(&region.namespace),
        summary(matrix)
    ));
    if !matrix.without.is_empty() {
        let names: Vec<String> =
            matrix.without.iter().map(|name| format!("<code>{}</code>", text(name))).collect();
        page.put(format_args!(
            "<p class=\"note\">Without an identity to compare: {}.</p>\n",
            names.join(", ")
        ));
    }
    if count >= 2 && matrix.complete {
        grid(page, number, region);
    } else if count >= 2 {
        page.put("<p class=\"note\">There are too many bindings for a matrix. Every pair that is not proved disjoint is listed; all others are disjoint.</p>\n");
    }
    list(page, matrix);
    page.put("</section>\n");
}

fn summary(matrix: &Matrix) -> String {
    let count = matrix.bindings.len();
    let all = count * count.saturating_sub(1) / 2;
    let mut by_word: BTreeMap<&str, usize> = BTreeMap::new();
    for pair in &matrix.pairs {
        *by_word.entry(pair.meeting.word()).or_default() += 1;
    }
    if !matrix.complete && !matrix.cut {
        by_word.insert("disjoint", all - matrix.pairs.len());
    }
    let mut parts = vec![counted(count, "binding", "bindings"), counted(all, "pair", "pairs")];
    for (word, words) in [
        ("disjoint", "disjoint"),
        ("layered", "layered"),
        ("same", "of one identity"),
        ("conflict", "in conflict"),
    ] {
        if let Some(number) = by_word.get(word) {
            parts.push(format!("{number} {words}"));
        }
    }
    parts.join(" \u{b7} ")
}

/// The lower triangle: a column for every binding but the last.
fn grid(page: &mut Page, number: usize, region: &Region) {
    let matrix = &region.matrix;
    let count = matrix.bindings.len();
    let by_place: BTreeMap<(usize, usize), &Pair> =
        matrix.pairs.iter().map(|pair| ((pair.second, pair.first), pair)).collect();
    let roomy = count <= ROOMY;
    page.put(format_args!(
        "<div class=\"scroll\"><table class=\"matrix{}\" id=\"o{number}\"><caption class=\"unseen\">Overlap of the bindings of namespace {}</caption>\n<thead><tr><td></td>",
        if roomy { " roomy" } else { "" },
        text(&region.namespace)
    ));
    for (column, binding) in matrix.bindings.iter().take(count - 1).enumerate() {
        let name = text(binding);
        if roomy {
            page.put(format_args!("<th scope=\"col\">{name}</th>"));
        } else {
            page.put(format_args!(
                "<th scope=\"col\" title=\"{name}\" aria-label=\"{name}\">{}</th>",
                column + 1
            ));
        }
    }
    page.put("</tr></thead>\n<tbody>\n");
    for (row, binding) in matrix.bindings.iter().enumerate().skip(usize::from(roomy)) {
        let place = if roomy { String::new() } else { format!("<span class=\"place\">{}</span> ", row + 1) };
        page.put(format_args!("<tr><th scope=\"row\">{place}{}</th>", text(binding)));
        for column in 0..count - 1 {
            match by_place.get(&(row, column)) {
                Some(pair) => cell(page, matrix, pair, roomy),
                None => page.put("<td class=\"void\"></td>"),
            }
        }
        page.put("</tr>\n");
    }
    if !roomy {
        page.put("</tbody></table></div>\n<p class=\"note\">The numbers above are those of the rows.</p>\n");
    } else {
        page.put("</tbody></table></div>\n");
    }
}

fn cell(page: &mut Page, matrix: &Matrix, pair: &Pair, roomy: bool) {
    let (first, second) = (&matrix.bindings[pair.first], &matrix.bindings[pair.second]);
    let word = pair.meeting.word();
    let sentence = pair.meeting.sentence(first, second);
    let shown = match (&pair.meeting, roomy) {
        (Meeting::Disjoint { slot, .. }, true) => text(slot.strip_prefix("k8s:").unwrap_or(slot)).to_string(),
        (Meeting::Disjoint { slot, .. }, false) => short(slot).to_owned(),
        (Meeting::Layered, true) => "do not compete".to_owned(),
        (Meeting::SameIdentity, true) => "one identity".to_owned(),
        (Meeting::Conflict { held: true, .. }, true) => format!("{} holds it", text(first)),
        (Meeting::Conflict { held: false, .. }, true) => format!("{} comes first", text(first)),
        (_, false) => sign(word).to_owned(),
    };
    page.put(format_args!(
        "<td><button type=\"button\" class=\"cell {word}\" tabindex=\"-1\" aria-label=\"{} and {}: {}\">{shown}</button></td>",
        text(first),
        text(second),
        text(&sentence)
    ));
}

fn sign(word: &str) -> &'static str {
    match word {
        "layered" => "\u{2261}",
        "same" => "=",
        "conflict" => "\u{2715}",
        _ => "key",
    }
}

/// A key in a word that fits a small cell.
fn short(slot: &str) -> &'static str {
    match slot {
        "k8s:sa" => "sa",
        "k8s:container-name" => "name",
        "k8s:container-image" => "image",
        "k8s:node-name" => "node",
        "k8s:pod-name" => "pod",
        _ => "label",
    }
}

/// Every pair that is not disjoint, in sentences; of a matrix, these are the cells that somebody will ask about.
fn list(page: &mut Page, matrix: &Matrix) {
    let told: Vec<&Pair> =
        matrix.pairs.iter().filter(|pair| !matches!(pair.meeting, Meeting::Disjoint { .. })).collect();
    if told.is_empty() {
        return;
    }
    page.put("<table class=\"pairs\"><caption>Pairs that are not proved disjoint</caption><thead><tr><th scope=\"col\">First</th><th scope=\"col\">Second</th><th scope=\"col\">Why</th></tr></thead>\n<tbody>\n");
    for pair in told {
        let (first, second) = (&matrix.bindings[pair.first], &matrix.bindings[pair.second]);
        page.put(format_args!(
            "<tr class=\"{}\"><td>{}</td><td>{}</td><td>{}</td></tr>\n",
            pair.meeting.word(),
            text(first),
            text(second),
            text(&pair.meeting.sentence(first, second))
        ));
    }
    page.put("</tbody></table>\n");
    if matrix.cut {
        page.put(format_args!(
            "<p class=\"note\">There are more than {} such pairs; the rest is not listed.</p>\n",
            matrix.pairs.len()
        ));
    }
}
