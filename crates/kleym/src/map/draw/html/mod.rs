//! The map as one HTML file: no network, no build step, nothing beside it. The picture is drawn here, as SVG; the script
//! only searches, points out and switches tabs, so the file says everything without it.
//!
//! Guarantees: every text goes through [`text`] or [`island`], whatever stands in it; the page's own policy allows nothing
//! but this style and this script, by their digests.

mod data;
mod overlap;
mod picture;
mod table;

use std::fmt::{self, Display, Write};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use super::text::shown;
use crate::map::{Column, Link, Map, Numbers, attention};

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");
/// The points that need attention of one namespace that are shown at once.
const SHOWN_AT_ONCE: usize = 5;

/// The map.
pub(crate) fn html(map: &Map) -> String {
    let mut page = Page(String::new());
    page.put(format_args!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta http-equiv=\"Content-Security-Policy\" content=\"{}\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<meta name=\"referrer\" content=\"no-referrer\">\n\
         <meta name=\"generator\" content=\"kleym {}\">\n<title>Identity map \u{b7} {}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n",
        policy(),
        env!("CARGO_PKG_VERSION"),
        text(&map.trust_domain),
    ));
    page.put("<a class=\"skip\" href=\"#table\">Skip to the table</a>\n");
    header(&mut page, map);
    page.put("<main>\n");
    page.put("<section id=\"map\" role=\"tabpanel\" aria-labelledby=\"tab-map\" tabindex=\"-1\">\n");
    points(&mut page, map);
    legend(&mut page);
    if map.regions.is_empty() {
        page.put("<p class=\"empty\">Nothing is declared here: no binding, no objective, no pool.</p>\n");
    }
    for (number, region) in map.regions.iter().enumerate() {
        picture::region(&mut page, map, number, region);
    }
    table::table(&mut page, map);
    page.put("</section>\n<section id=\"overlap\" role=\"tabpanel\" aria-labelledby=\"tab-overlap\" tabindex=\"-1\">\n");
    overlap::overlap(&mut page, map);
    page.put("</section>\n</main>\n");
    page.put("<aside id=\"detail\" aria-label=\"Details\" hidden><button type=\"button\" id=\"close\" aria-label=\"Close details\">\u{2715}</button><div id=\"detail-body\"></div></aside>\n");
    page.put("<p id=\"said\" class=\"unseen\" role=\"status\"></p>\n");
    page.put("<noscript><p class=\"empty\">Search, highlighting and the tabs need the script of this page; everything it shows is here without it.</p></noscript>\n");
    page.put(format_args!(
        "<script type=\"application/json\" id=\"data\">{}</script>\n",
        island(&data::data(map))
    ));
    page.put(format_args!("<script>{SCRIPT}</script>\n</body>\n</html>\n"));
    page.0
}

/// What is written so far.
struct Page(String);

impl Page {
    fn put(&mut self, text: impl Display) {
        // Writing to a string cannot fail.
        let _ = write!(self.0, "{text}");
    }
}

/// What the page may do: apply this style and run this script. No network, no frame, no form, no other script.
fn policy() -> String {
    let digest = |text: &str| STANDARD.encode(Sha256::digest(text.as_bytes()));
    format!(
        "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
        digest(SCRIPT),
        digest(STYLE)
    )
}

/// Text in an element or in a quoted attribute.
struct Escaped(String);

/// Text as it may stand in an element or in a quoted attribute.
fn text(text: &str) -> Escaped {
    Escaped(shown(text))
}

impl Display for Escaped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                '`' => f.write_str("&#96;")?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

/// A sentence, with what stands in backticks set as code.
fn prose(sentence: &str) -> String {
    let mut prose = String::new();
    for (place, part) in sentence.split('`').enumerate() {
        let part = text(part);
        let _ = if place % 2 == 0 { write!(prose, "{part}") } else { write!(prose, "<code>{part}</code>") };
    }
    prose
}

/// JSON as it may stand in a script element: no `<` can end it, no `-->` can open anything.
fn island(json: &str) -> String {
    let mut island = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            '<' => island.push_str("\\u003c"),
            '>' => island.push_str("\\u003e"),
            '&' => island.push_str("\\u0026"),
            '\u{2028}' => island.push_str("\\u2028"),
            '\u{2029}' => island.push_str("\\u2029"),
            c => island.push(c),
        }
    }
    island
}

/// `1 binding`, `2 bindings`.
fn counted(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

fn header(page: &mut Page, map: &Map) {
    let class =
        map.class_name.as_deref().map(|class| format!(" \u{b7} class {}", text(class))).unwrap_or_default();
    page.put(format_args!(
        "<header>\n<div class=\"top\">\n<div class=\"title\"><h1>Identity map</h1><p>trust domain <b>{}</b>{class} \u{b7} {}</p></div>\n",
        text(&map.trust_domain),
        counted(map.regions.len(), "namespace", "namespaces"),
    ));
    page.put("<button type=\"button\" id=\"theme\" aria-pressed=\"false\" aria-label=\"Dark colours\" title=\"Light or dark\"><span aria-hidden=\"true\">\u{25d0}</span></button>\n</div>\n");
    let Numbers {
        bindings,
        refused,
        identities,
        pods,
        groups,
        conflicts,
        overlaps,
        displaced,
        bare,
        unmatched,
    } = map.numbers();
    page.put("<ul class=\"numbers\" aria-label=\"In numbers\">\n");
    let number = |page: &mut Page, class: &str, number: usize, words: &str, more: &str| {
        let quiet = if number == 0 { " zero" } else { "" };
        let more = if more.is_empty() { String::new() } else { format!(" <small>{more}</small>") };
        page.put(format_args!("<li class=\"{class}{quiet}\"><b>{number}</b> {words}{more}</li>\n"));
    };
    let of = if refused == 0 { String::new() } else { format!("{refused} refused") };
    number(page, "plain", bindings, if bindings == 1 { "binding" } else { "bindings" }, &of);
    number(
        page,
        "plain",
        identities,
        if identities == 1 { "identity granted" } else { "identities granted" },
        "",
    );
    if map.pods_known {
        let folded = format!("in {}", counted(groups, "group", "groups"));
        number(
            page,
            "plain",
            pods,
            if pods == 1 { "pod" } else { "pods" },
            if groups < pods { &folded } else { "" },
        );
    } else {
        page.put("<li class=\"plain zero\">pods not looked at</li>\n");
    }
    number(page, "bad", conflicts, if conflicts == 1 { "conflict" } else { "conflicts" }, "");
    number(page, "bad", overlaps, if overlaps == 1 { "overlap" } else { "overlaps" }, "");
    let none = if bare == 0 { String::new() } else { format!("{bare} left with none") };
    let lost = if displaced == 1 { "fallback displaced" } else { "fallbacks displaced" };
    number(page, if bare == 0 { "plain" } else { "warn" }, displaced, lost, &none);
    number(
        page,
        "none",
        unmatched,
        if unmatched == 1 { "output matches nothing" } else { "outputs match nothing" },
        "",
    );
    page.put("</ul>\n");
    page.put("</header>\n");
    page.put(
        "<div class=\"strip\"><div class=\"tabs\" role=\"tablist\" aria-label=\"Views\">\
         <button type=\"button\" role=\"tab\" id=\"tab-map\" aria-controls=\"map\" aria-selected=\"true\">Map</button>\
         <button type=\"button\" role=\"tab\" id=\"tab-overlap\" aria-controls=\"overlap\" aria-selected=\"false\" tabindex=\"-1\">Overlap</button></div>\
         <label class=\"search\"><span class=\"unseen\">Search names, labels, images and SPIFFE IDs</span>\
         <input id=\"search\" type=\"search\" placeholder=\"Search names, labels, SPIFFE IDs\" autocomplete=\"off\" spellcheck=\"false\" aria-keyshortcuts=\"/\"><kbd aria-hidden=\"true\">/</kbd></label></div>\n",
    );
}

/// What needs attention, each with a link to where the picture shows it.
fn points(page: &mut Page, map: &Map) {
    let mut all = Vec::new();
    for (number, region) in map.regions.iter().enumerate() {
        all.extend(attention(region).into_iter().map(|attention| (number, region, attention)));
    }
    if all.is_empty() {
        return;
    }
    page.put(
        "<section class=\"points\" aria-labelledby=\"points\"><h2 id=\"points\">Needs attention</h2>\n<ul>\n",
    );
    let count = all.len();
    for (place, (number, region, attention)) in all.into_iter().enumerate() {
        if place == SHOWN_AT_ONCE {
            page.put(format_args!(
                "</ul>\n<details><summary>{} more</summary>\n<ul>\n",
                count - SHOWN_AT_ONCE
            ));
        }
        let class = attention.link.map_or("refused", Link::word);
        page.put(format_args!(
            "<li class=\"{class}\"><a href=\"#r{number}n{}\"><b>{}</b> <span class=\"where\">{}</span></a> <span>{}</span></li>\n",
            attention.node,
            attention.word,
            text(&region.namespace),
            prose(&attention.what),
        ));
    }
    page.put(if count > SHOWN_AT_ONCE { "</ul>\n</details></section>\n" } else { "</ul></section>\n" });
}

fn legend(page: &mut Page) {
    page.put("<div class=\"key\" role=\"note\" aria-label=\"What the lines mean\">");
    for link in [Link::Granted, Link::Conflict, Link::Displaced, Link::Nothing] {
        let meaning = match link {
            Link::Conflict => "conflict or overlap",
            other => other.meaning(),
        };
        page.put(format_args!(
            "<span><svg width=\"34\" height=\"10\" aria-hidden=\"true\"><path class=\"edge {}\" d=\"M1 5H33\"/></svg>{meaning}</span>",
            link.word()
        ));
    }
    page.put("<span class=\"keys\"><kbd>/</kbd> search <kbd>\u{2190}\u{2191}\u{2193}\u{2192}</kbd> walk <kbd>Enter</kbd> details <kbd>Esc</kbd> clear</span></div>\n");
}

/// What the columns are called, above each picture.
fn headings(page: &mut Page) {
    page.put("<div class=\"heads\" aria-hidden=\"true\">");
    for column in Column::ALL {
        page.put(format_args!("<span class=\"h-{}\">{}</span>", column.word(), column.title()));
    }
    page.put("</div>\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_can_leave_the_place_where_it_stands() {
        let hostile = "</script><svg onload=\"x\">'`&\u{202e}\u{2028}\n]]>-->";
        assert_eq!(
            text(hostile).to_string(),
            r"&lt;/script&gt;&lt;svg onload=&quot;x&quot;&gt;&#39;&#96;&amp;\u{202e}\u{2028}\n]]&gt;--&gt;"
        );
        let island = island(&serde_json::to_string(hostile).unwrap());
        assert!(!island.contains(['<', '>', '&']), "{island}");
        assert_eq!(serde_json::from_str::<String>(&island).unwrap(), hostile);
    }
}
