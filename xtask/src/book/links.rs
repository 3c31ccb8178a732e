//! Links between pages: each leads to a file that is there, and each anchor to a heading of it. A page of the book links
//! only to pages of the book, because nothing else is on the site; and each of them is in the table of contents.

use std::collections::BTreeSet;
use std::path::Path;

use super::{Pages, SOURCE, beside};

const CONTENTS: &str = "docs/src/SUMMARY.md";

/// Everything that leads nowhere.
pub(super) fn check(root: &Path, pages: &Pages) -> Vec<String> {
    let mut findings = Vec::new();
    let mut listed = BTreeSet::new();
    for (path, page) in pages {
        for link in &page.links {
            let wrong = |why: &str| format!("{path}:{}: the link `{}` {why}", link.line, link.what);
            if link.what.contains("://") || link.what.starts_with("mailto:") {
                continue;
            }
            let (file, anchor) = match link.what.split_once('#') {
                Some((file, anchor)) => (file, Some(anchor)),
                None => (link.what.as_str(), None),
            };
            let target = if file.is_empty() { path.clone() } else { beside(path, file) };
            if path == CONTENTS {
                listed.insert(target.clone());
            }
            let in_book = |path: &str| path.starts_with(&format!("{SOURCE}/"));
            if !root.join(&target).exists() {
                findings.push(wrong("leads to no file"));
            } else if in_book(path) && !in_book(&target) {
                findings.push(wrong("leaves the book; name the file in backticks instead"));
            } else if let Some(anchor) = anchor {
                match pages.get(&target) {
                    Some(page) if page.anchors.iter().any(|known| known == anchor) => {}
                    Some(_) => findings.push(wrong("names no heading of that page")),
                    None => findings.push(wrong("names an anchor of a file that is no page")),
                }
            }
        }
    }
    let book = pages.keys().filter(|path| path.starts_with(&format!("{SOURCE}/")) && *path != CONTENTS);
    findings.extend(
        book.filter(|path| !listed.contains(*path)).map(|path| format!("{path}: is not in {CONTENTS}")),
    );
    findings
}

#[cfg(test)]
mod tests {
    use super::super::Page;
    use super::*;

    #[test]
    fn dead_links_anchors_and_unlisted_pages_are_found() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let pages = Pages::from(
            [
                ("docs/src/SUMMARY.md", "[a](README.md)\n"),
                (
                    "docs/src/README.md",
                    "# A\n\n[own](#a) [dead](#b) [gone](no-such-page.md)\n[out](../../README.md)\n",
                ),
                ("docs/src/lost.md", "# Lost\n"),
            ]
            .map(|(path, text)| (path.to_owned(), Page::parse(text))),
        );
        assert_eq!(
            check(root, &pages),
            [
                "docs/src/README.md:3: the link `#b` names no heading of that page",
                "docs/src/README.md:3: the link `no-such-page.md` leads to no file",
                "docs/src/README.md:4: the link `../../README.md` leaves the book; name the file in backticks instead",
                "docs/src/lost.md: is not in docs/src/SUMMARY.md",
            ]
        );
    }
}
