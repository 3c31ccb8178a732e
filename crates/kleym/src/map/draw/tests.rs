//! Every drawing of a map whose every text is hostile, and the shape of the page.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use super::{dot, html, mermaid, report};
use crate::map::{Column, Container, Edge, End, Link, Map, Matrix, Meeting, Node, Pair, Region, State};

const HOSTILE: [&str; 14] = [
    "\"><script>alert(1)</script>",
    "' onmouseover='alert(1)",
    "</script><script>alert(1)</script>",
    "</style></title><img src=x onerror=alert(1)>",
    "`code` ${alert(1)}",
    "]]><!-- --> <![CDATA[",
    "100% %3Cscript%3E %s",
    "line\none\r\ntwo\u{2028}three",
    "\u{202e}evil\u{202c} \u{2066}\u{200b}\u{feff}",
    "\u{0}\u{1b}[31m\u{7f}\u{85}",
    "end; subgraph x[\"y\"] --> z #quot; #35; %%{init: {}}%%",
    "a\\\"b\\l\\N\\G } -> { \"c\" [URL=\"javascript:alert(1)\"]",
    "javascript:alert(1)",
    "&lt;b&gt; &#60; &amp;",
];

/// A map with this text wherever there can be one.
fn hostile(text: &str) -> Map {
    let node = |column: Column, state: State| {
        let mut node = Node::new(column, text, state).line(text).fact("why", text);
        if column == Column::Pods {
            node.containers =
                vec![Container { name: text.to_owned(), role: "sidecar", image: text.to_owned() }];
            node.pods = 3;
        }
        node
    };
    let states = [State::Fine, State::Idle, State::Refused, State::Foreign, State::Fine, State::Missing];
    let nodes = Column::ALL.into_iter().zip(states).map(|(column, state)| node(column, state)).collect();
    let ends = [(0, 1), (1, 2), (2, 3), (3, 4), (4, 5)];
    let edges = ends.into_iter().zip(Link::ALL).map(|((from, to), link)| Edge {
        from: End { node: from, container: (from == 4).then_some(0) },
        to: End { node: to, container: (to == 4).then_some(0) },
        link,
        of: (from >= 3).then_some(3),
        why: text.to_owned(),
    });
    let disjoint =
        Meeting::Disjoint { slot: text.to_owned(), first: text.to_owned(), second: text.to_owned() };
    let pair = |first, second, meeting| Pair { first, second, meeting };
    let matrix = Matrix {
        bindings: vec![text.to_owned(); 3],
        without: vec![text.to_owned()],
        pairs: vec![pair(0, 1, disjoint), pair(0, 2, Meeting::Layered), pair(1, 2, Meeting::SameIdentity)],
        complete: true,
        cut: false,
    };
    Map {
        trust_domain: text.to_owned(),
        class_name: Some(text.to_owned()),
        pods_known: true,
        regions: vec![Region { namespace: text.to_owned(), nodes, edges: edges.collect(), matrix }],
    }
}

/// The same map with a harmless text.
fn harmless() -> Map {
    hostile("harmless")
}

/// What a page is made of: tags, each with its attributes, in their order; and the text between them.
#[derive(Debug, PartialEq)]
struct Tag {
    name: String,
    attributes: BTreeMap<String, String>,
}

/// Reads a page as strictly as no browser does: every attribute quoted, every element closed, no stray `<` or `&`.
fn read(page: &str) -> Vec<Tag> {
    const VOID: [&str; 3] = ["meta", "input", "wbr"];
    const RAW: [&str; 2] = ["script", "style"];
    let mut rest = page.strip_prefix("<!doctype html>").unwrap();
    let mut open: Vec<String> = Vec::new();
    let mut tags = Vec::new();
    while let Some(start) = rest.find('<') {
        let (text, tag) = rest.split_at(start);
        assert_entities(text);
        assert!(!text.contains('>'), "{text}");
        if let Some(closing) = tag.strip_prefix("</") {
            let (name, after) = closing.split_once('>').unwrap();
            assert_eq!(open.pop().as_deref(), Some(name));
            rest = after;
            continue;
        }
        let (tag, after) = read_tag(&tag[1..]);
        rest = after;
        let closed = rest.starts_with("\u{0}");
        assert!(!closed);
        if RAW.contains(&tag.name.as_str()) {
            let end = rest.find(&format!("</{}", tag.name)).unwrap();
            let mut tag = tag;
            tag.attributes.insert("(content)".to_owned(), rest[..end].to_owned());
            rest = rest[end..].split_once('>').unwrap().1;
            tags.push(tag);
            continue;
        }
        if !VOID.contains(&tag.name.as_str()) && !tag.attributes.contains_key("(closed)") {
            open.push(tag.name.clone());
        }
        tags.push(tag);
    }
    assert_eq!(open, [""; 0]);
    tags
}

fn read_tag(text: &str) -> (Tag, &str) {
    let end = text.find([' ', '>', '/']).unwrap();
    let (name, mut rest) = text.split_at(end);
    assert!(name.bytes().all(|b| b.is_ascii_alphanumeric()) && !name.is_empty(), "{text:.80}");
    let mut attributes = BTreeMap::new();
    loop {
        rest = rest.trim_start();
        if let Some(after) = rest.strip_prefix("/>") {
            attributes.insert("(closed)".to_owned(), String::new());
            return (Tag { name: name.to_owned(), attributes }, after);
        }
        if let Some(after) = rest.strip_prefix('>') {
            return (Tag { name: name.to_owned(), attributes }, after);
        }
        let end = rest.find(|c: char| !c.is_ascii_alphabetic() && c != '-' && !c.is_ascii_digit()).unwrap();
        let key = &rest[..end];
        assert!(!key.is_empty(), "{rest:.80}");
        rest = &rest[end..];
        let value = match rest.strip_prefix("=\"") {
            Some(quoted) => {
                let (value, after) = quoted.split_once('"').unwrap();
                rest = after;
                value
            }
            None => "",
        };
        assert!(!value.contains(['<', '>']), "{key}={value}");
        assert_entities(value);
        assert!(attributes.insert(key.to_owned(), value.to_owned()).is_none(), "{key} twice");
    }
}

/// Every `&` begins one of the references that we write.
fn assert_entities(text: &str) {
    for part in text.split('&').skip(1) {
        let known = ["amp;", "lt;", "gt;", "quot;", "#39;", "#96;"];
        assert!(known.iter().any(|entity| part.starts_with(entity)), "&{part:.40}");
    }
}

#[test]
fn a_page_of_hostile_texts_has_exactly_the_elements_of_a_harmless_one() {
    let shape = |map: &Map| -> Vec<(String, Vec<String>)> {
        let tags = read(&html(map)).into_iter();
        // A text decides over three elements: what a sentence sets apart with backticks, the second line of a SPIFFE ID, and
        // where a long name may be broken.
        tags.filter(|tag| !["code", "text", "wbr"].contains(&tag.name.as_str()))
            .map(|tag| (tag.name, tag.attributes.into_keys().collect()))
            .collect()
    };
    let harmless = shape(&harmless());
    for text in HOSTILE {
        assert_eq!(shape(&hostile(text)), harmless, "{text:?}");
    }
}

#[test]
fn no_drawing_holds_a_character_that_is_not_seen() {
    for text in HOSTILE {
        let map = hostile(text);
        for drawing in [mermaid(&map), dot(&map), html(&map)] {
            let unseen = |c: &char| {
                c.is_control() && *c != '\n'
                    || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
            };
            assert_eq!(drawing.chars().find(unseen), None, "{text:?}");
        }
    }
}

#[test]
fn the_page_allows_its_own_style_and_script_and_nothing_else() {
    let tags = read(&html(&harmless()));
    let policy = tags.iter().find_map(|tag| {
        let about = tag.attributes.get("http-equiv")?;
        (about == "Content-Security-Policy").then(|| tag.attributes["content"].clone())
    });
    let digest = |name: &str| {
        let content: Vec<&String> = tags
            .iter()
            .filter(|tag| tag.name == name && !tag.attributes.contains_key("type"))
            .map(|tag| &tag.attributes["(content)"])
            .collect();
        assert_eq!(content.len(), 1);
        format!("'sha256-{}'", STANDARD.encode(Sha256::digest(content[0])))
    };
    assert_eq!(
        policy.unwrap(),
        format!(
            "default-src 'none'; script-src {}; style-src {}; base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
            digest("script"),
            digest("style")
        )
    );
}

#[test]
fn the_page_asks_for_nothing_and_has_no_script_or_style_in_an_attribute() {
    for tag in read(&html(&harmless())) {
        for (name, value) in &tag.attributes {
            assert!(!name.starts_with("on") && name != "style" && name != "src", "{tag:?}");
            assert!(name != "href" || value.starts_with('#'), "{tag:?}");
        }
        let loads =
            ["link", "img", "iframe", "object", "embed", "base", "form", "use", "image", "foreignObject"];
        assert!(!loads.contains(&tag.name.as_str()), "{tag:?}");
    }
    for asset in [include_str!("html/page.css"), include_str!("html/page.js")] {
        for word in ["http:", "https:", "url(", "@import", "fetch(", "XMLHttpRequest", "innerHTML", "eval("] {
            assert!(!asset.contains(word), "{word}");
        }
    }
}

#[test]
fn every_link_of_the_page_leads_somewhere_and_no_two_elements_have_one_id() {
    let tags = read(&html(&harmless()));
    let mut ids = BTreeSet::new();
    for tag in &tags {
        if let Some(id) = tag.attributes.get("id") {
            assert!(ids.insert(id.as_str()), "{id}");
        }
    }
    for tag in &tags {
        for name in ["href", "aria-labelledby", "aria-controls"] {
            if let Some(to) = tag.attributes.get(name) {
                assert!(ids.contains(to.trim_start_matches('#')), "{tag:?}");
            }
        }
    }
}

#[test]
fn the_data_of_the_page_are_the_texts_as_they_are_shown() {
    for text in HOSTILE {
        let tags = read(&html(&hostile(text)));
        let data = tags.iter().find(|tag| tag.attributes.get("id").is_some_and(|id| id == "data")).unwrap();
        let data: serde_json::Value = serde_json::from_str(&data.attributes["(content)"]).unwrap();
        assert_eq!(data["regions"][0]["nodes"][0]["t"], super::text::shown(text));
        assert_eq!(data["regions"][0]["edges"].as_array().unwrap().len(), 5);
    }
}

#[test]
fn the_json_of_hostile_texts_holds_them_as_they_are() {
    for text in HOSTILE {
        let answer = crate::reports::Report::of(report(&hostile(text)));
        let answer = serde_json::to_value(answer).unwrap();
        assert_eq!(answer["namespaces"][0]["nodes"][4]["containers"][0]["image"], text);
    }
}

/// A label of Mermaid ends with the next quote, so within the lines' own quotes there is no sign with a meaning but those
/// of entity codes and of line ends.
#[test]
fn a_mermaid_label_holds_nothing_that_could_end_it() {
    let lines = |map: &Map| mermaid(map).lines().count();
    for text in HOSTILE {
        let map = hostile(text);
        assert_eq!(lines(&map), lines(&harmless()), "{text:?}");
        for line in mermaid(&map).lines() {
            let quotes = line.matches('"').count();
            assert!(quotes == 0 || quotes == 2, "{line}");
            let Some(label) = line.split('"').nth(1) else { continue };
            let label = label.replace("<br/>", "");
            assert!(
                !label.contains(['<', '>', '`', '{', '}', '[', ']', '|', '&', '%', '\\', '\'']),
                "{line}"
            );
            for (place, _) in label.match_indices('#') {
                let code: String = label[place + 1..].chars().take_while(|c| *c != ';').collect();
                assert!(!code.is_empty() && code.bytes().all(|b| b.is_ascii_digit()), "{line}");
            }
        }
    }
}

/// Every label and tooltip of DOT is an HTML-like one: outside of these there is no text of ours, inside there is no sign
/// with a meaning.
#[test]
fn a_dot_label_holds_nothing_that_could_end_it() {
    let skeleton = |map: &Map| -> String {
        let drawing = dot(map);
        let mut skeleton = String::new();
        let mut depth = 0;
        for c in drawing.replace("->", "--").chars() {
            match c {
                '<' => depth += 1,
                '>' => depth -= 1,
                c if depth == 0 => skeleton.push(c),
                _ => {}
            }
            assert!(depth >= 0);
        }
        assert_eq!(depth, 0);
        skeleton
    };
    let harmless = skeleton(&harmless());
    for text in HOSTILE {
        assert_eq!(skeleton(&hostile(text)), harmless, "{text:?}");
    }
}
