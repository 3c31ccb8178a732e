//! Text from outside, made fit to be shown: what is invisible, or moves its neighbours, is spelled out. Every drawing passes
//! its texts through here before it escapes them.

use std::fmt::Write;

use crate::map::{Map, Node, Region};

/// The text with everything that is not seen, or that changes how its neighbours are seen, spelled out: control
/// characters, line ends, marks of writing direction and other formatting characters of Unicode.
pub(super) fn shown(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if is_unseen(c) {
            // Writing to a string cannot fail.
            let _ = write!(shown, "{}", c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// Control and format characters (Unicode's Cc and Cf), separators of lines and paragraphs, fillers that look like
/// nothing, and private or unassigned planes that no name needs.
fn is_unseen(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{600}'..='\u{605}' | '\u{6dd}' | '\u{70f}' | '\u{890}'..='\u{891}'
            | '\u{8e2}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
            | '\u{e000}'..='\u{f8ff}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
            | '\u{110bd}' | '\u{110cd}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{10ffff}')
}

/// The text, with its middle left out when it has more than so many characters.
pub(super) fn middle(text: &str, most: usize) -> String {
    ends(text, most, most.saturating_sub(1) / 2)
}

/// The text; when it has more than so many characters, as much of its start as fits before so many of its end.
pub(super) fn ends(text: &str, most: usize, tail: usize) -> String {
    let count = text.chars().count();
    if count <= most {
        return text.to_owned();
    }
    let head = most.saturating_sub(1).saturating_sub(tail);
    let start: String = text.chars().take(head).collect();
    let end: String = text.chars().skip(count - tail.min(count)).collect();
    format!("{start}\u{2026}{end}")
}

/// What a node is called in a picture: the heading, and the words below it.
pub(super) fn heading(map: &Map, region: &Region, node: &Node) -> (String, String) {
    use crate::map::Column;
    if node.column == Column::Identity {
        let (start, path) = split_id(&node.name, &region.namespace);
        if path.is_empty() {
            return (shown(start), String::new());
        }
        return (shown(path), shown(start));
    }
    let _ = map;
    (shown(&node.name), shown(&node.line))
}

/// A SPIFFE ID in two: what its namespace has in common, and what is its own.
fn split_id<'a>(spiffe_id: &'a str, namespace: &str) -> (&'a str, &'a str) {
    let after_scheme = if spiffe_id.starts_with("spiffe://") { "spiffe://".len() } else { 0 };
    let Some(path) = spiffe_id[after_scheme..].find('/').map(|at| at + after_scheme) else {
        return (spiffe_id, "");
    };
    let common = format!("/ns/{namespace}/");
    if spiffe_id[path..].starts_with(&common) && spiffe_id.len() > path + common.len() {
        let at = path + common.len();
        return (&spiffe_id[..at - 1], &spiffe_id[at..]);
    }
    (&spiffe_id[..path], &spiffe_id[path..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_seen_is_spelled_out() {
        assert_eq!(shown("a\nb\u{202e}c\0\u{feff}"), r"a\nb\u{202e}c\u{0}\u{feff}");
        assert_eq!(shown("caf\u{e9} \u{5d0} `\"<"), "caf\u{e9} \u{5d0} `\"<");
    }

    #[test]
    fn a_long_text_keeps_its_start_and_its_end() {
        assert_eq!(middle("abcdefghij", 10), "abcdefghij");
        assert_eq!(middle("abcdefghijk", 5), "ab\u{2026}jk");
    }

    #[test]
    fn a_spiffe_id_is_split_behind_its_namespace() {
        let split = |text| split_id(text, "llm");
        assert_eq!(split("spiffe://a.b/ns/llm/objective/chat"), ("spiffe://a.b/ns/llm", "objective/chat"));
        assert_eq!(split("spiffe://a.b/ns/llmx/pool/a"), ("spiffe://a.b", "/ns/llmx/pool/a"));
        assert_eq!(split("spiffe://a.b/ns/llm/"), ("spiffe://a.b", "/ns/llm/"));
        assert_eq!(split("anything"), ("anything", ""));
    }
}
