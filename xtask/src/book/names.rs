//! What pages name: tests, findings and files. A threat model that names a test is worth as much as the test is there.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::Context;
use kleym_core::announce::Occasion;
use kleym_core::refusal::Reason;
use kleym_core::report::Code;
use kleym_operator::metrics::names;

use super::{Page, Pages};

/// Pages that must speak of every member of a vocabulary.
const BY_REASON: &str = "docs/src/operate/troubleshooting.md";
const BY_STAGE: &str = "docs/src/reference/operator-spec.md";
const BY_EVENT: &str = "docs/src/reference/events.md";
/// Where alerts are, and the page that their `runbook_url`s lead to.
const ALERTS: &str = "config/components/monitoring/rules.yaml";
const RUNBOOKS: &str = "docs/src/operate/runbooks.md";

/// Top folders whose files are named in pages.
const FOLDERS: [&str; 8] =
    ["crates/", "config/", "charts/", "docs/", "examples/", "xtask/", "tools/", ".ci/"];

/// Everything that is named and not there.
pub(super) fn check(root: &Path, pages: &Pages) -> anyhow::Result<Vec<String>> {
    let functions = functions(root)?;
    let mut findings = Vec::new();
    for (path, page) in pages {
        for code in &page.codes {
            let wrong = |why: &str| format!("{path}:{}: `{}` {why}", code.line, code.what);
            if looks_like_a_test(&code.what)
                && !functions.contains(&code.what)
                && !names::ALL.iter().any(|family| family.name == code.what)
            {
                findings.push(wrong("is no test and no metric"));
            }
            if looks_like_a_file(&code.what) && !root.join(&code.what).exists() {
                findings.push(wrong("is no file of this repository"));
            }
        }
        let texts = page.codes.iter().chain(&page.words);
        for text in texts.filter(|text| text.what.contains("KLM")) {
            for unknown in unknown_codes(&text.what) {
                findings.push(format!("{path}:{}: {unknown} is no finding", text.line));
            }
        }
    }
    let says = |path: &str, word: &str| {
        pages.get(path).is_some_and(|page: &Page| {
            page.codes.iter().any(|code| code.what == word) || page.words.iter().any(|text| text.what == word)
        })
    };
    let reasons =
        Reason::ALL.iter().flat_map(|reason| [BY_REASON, BY_STAGE].map(|page| (page, reason.as_str())));
    let events = Occasion::ALL.iter().map(|occasion| (BY_EVENT, occasion.as_str()));
    findings.extend(
        reasons
            .chain(events)
            .filter(|(path, word)| !says(path, word))
            .map(|(path, word)| format!("{path}: says nothing of `{word}`")),
    );
    let rules = fs::read_to_string(root.join(ALERTS)).with_context(|| format!("cannot read `{ALERTS}`"))?;
    let alerts: BTreeSet<String> = rules
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "))
        .map(str::to_lowercase)
        .collect();
    let anchors: BTreeSet<String> = pages
        .get(RUNBOOKS)
        .map(|page| page.anchors.iter().filter(|anchor| anchor.starts_with("kleym")).cloned().collect())
        .unwrap_or_default();
    for alert in alerts.symmetric_difference(&anchors) {
        findings.push(format!("{RUNBOOKS}: alert and runbook `{alert}` do not come together"));
    }
    Ok(findings)
}

/// Names of tests are sentences: at least five words.
fn looks_like_a_test(text: &str) -> bool {
    text.matches('_').count() >= 4
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

fn looks_like_a_file(text: &str) -> bool {
    FOLDERS.iter().any(|folder| text.starts_with(folder))
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c))
}

fn unknown_codes(text: &str) -> Vec<String> {
    let numbers = text.match_indices("KLM").map(|(at, _)| text[at..].chars().take(7).collect::<String>());
    numbers
        .filter(|code| code.len() == 7 && code[3..].chars().all(|c| c.is_ascii_digit()))
        .filter(|code| Code::parse(code).is_none())
        .collect()
}

/// The names of all functions of the workspace.
fn functions(root: &Path) -> anyhow::Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    for folder in ["crates", "xtask"] {
        collect(&root.join(folder), &mut found)?;
    }
    Ok(found)
}

fn collect(folder: &Path, found: &mut BTreeSet<String>) -> anyhow::Result<()> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot list `{}`", folder.display()))?;
    for entry in entries {
        let path = entry.with_context(|| format!("cannot list `{}`", folder.display()))?.path();
        if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
            collect(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text =
                fs::read_to_string(&path).with_context(|| format!("cannot read `{}`", path.display()))?;
            let names = text.split("fn ").skip(1).filter_map(|rest| rest.split(['(', '<']).next());
            found.extend(names.map(|name| name.trim().to_owned()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_findings_and_files_that_are_not_there_are_found() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let text = "`tests_findings_and_files_that_are_not_there_are_found` `no_such_test_anywhere_at_all` \
                    `crates/kleym-core` `crates/none` `kleym_identity_binding_outcomes_total` KLM1001 KLM8999\n";
        let mut found = check(root, &Pages::from([("a.md".to_owned(), Page::parse(text))])).unwrap();
        found.retain(|finding| finding.starts_with("a.md"));
        // The name of the missing test stands in this file, but as no function.
        assert_eq!(
            found,
            [
                "a.md:1: `no_such_test_anywhere_at_all` is no test and no metric",
                "a.md:1: `crates/none` is no file of this repository",
                "a.md:1: KLM8999 is no finding",
            ]
        );
    }
}
