//! Cuts YAML text where a document ends, so that a mistake in one document does not hide the others and limits count for
//! each by itself.
//!
//! A line that begins with `---` or `...`, alone or before white space, is never anything but a marker in YAML, so this
//! needs no parser. A stretch may still hold several documents (after `...` a new one needs no marker); parsing it says.

use std::ops::Range;

/// The stretches of a text that can be parsed by themselves, in bytes.
pub(super) fn stretches(text: &str) -> Vec<Range<usize>> {
    let mut stretches = Vec::new();
    let mut start = 0;
    let mut offset = 0;
    // Comments and directives belong to the document after them.
    let mut only_preamble = true;
    for line in text.split_inclusive('\n') {
        if is_marker(line, "---") {
            if !only_preamble {
                stretches.push(start..offset);
                start = offset;
            }
            only_preamble = false;
        } else if is_marker(line, "...") && !only_preamble {
            let end = offset + line.len();
            stretches.push(start..end);
            start = end;
            only_preamble = true;
        } else {
            let line = line.trim_start();
            only_preamble &= line.is_empty() || line.starts_with(['#', '%']);
        }
        offset += line.len();
    }
    if !text[start..].trim().is_empty() {
        stretches.push(start..text.len());
    }
    stretches
}

fn is_marker(line: &str, marker: &str) -> bool {
    line.strip_prefix(marker).is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str) -> Vec<&str> {
        stretches(text).into_iter().map(|range| &text[range]).collect()
    }

    #[test]
    fn a_text_is_cut_before_each_marker() {
        assert_eq!(parts("a: 1\n---\nb: 2\n--- # c\nc: 3"), ["a: 1\n", "---\nb: 2\n", "--- # c\nc: 3"]);
        assert_eq!(parts("---\r\na: 1\r\n---\r\nb: 2\r\n"), ["---\r\na: 1\r\n", "---\r\nb: 2\r\n"]);
        assert_eq!(parts("a: 1\n...\n%YAML 1.2\n---\nb: 2\n"), ["a: 1\n...\n", "%YAML 1.2\n---\nb: 2\n"]);
    }

    #[test]
    fn what_only_looks_like_a_marker_cuts_nothing() {
        for text in ["a: |\n  ---\n  b\n", "---a: 1\n----\n", "a: 1 # ---\n", "# one\n%YAML 1.2\n---\na: 1\n"]
        {
            assert_eq!(parts(text), [text]);
        }
    }

    #[test]
    fn nothing_and_white_space_have_no_documents() {
        assert!(parts("").is_empty());
        assert!(parts(" \n\n").is_empty());
    }
}
