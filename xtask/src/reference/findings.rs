//! One page a finding code, and their index. The part above the line is made from the table of codes; what stands below it
//! is written by people and kept as it is.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use anyhow::Context;
use kleym_core::refusal::Reason;
use kleym_core::report::Code;

use super::{cell, table};
use crate::artifact::{Artifact, MARK};

/// Ends the generated part of a page.
const LINE: &str = "<!-- The generated part ends here. -->";

/// What people have to say about every finding.
pub(crate) const SECTIONS: [&str; 4] = ["Cause", "Check", "Fix", "Example"];

/// The groups of codes, by their first digit.
const GROUPS: [(u16, &str); 8] = [
    (1, "References: target, objective, pool"),
    (2, "Selectors, discriminator, pool selector"),
    (3, "Mode and SPIFFE ID"),
    (4, "Conflict and overlap"),
    (5, "Output"),
    (6, "SPIRE and spire-controller-manager"),
    (7, "Service mesh"),
    (9, "Files and the tool itself"),
];

const INTRO: &str = "\
# Findings

Every finding of `kleym` has a stable code, `KLM` and four digits, and a page. A code is never renamed, renumbered or used
again for something else. The first digit is the group; within a group `n0nn` are errors and `n1nn` warnings and remarks.

A finding that repeats the operator's refusal has the words of the condition's message.
";

/// The list of all codes.
pub(super) fn index() -> String {
    let mut text = INTRO.to_owned();
    for (digit, title) in GROUPS {
        let codes: Vec<Code> =
            Code::ALL.iter().copied().filter(|code| code.number() / 1000 == digit).collect();
        if codes.is_empty() {
            continue;
        }
        text.push_str(&format!("\n## {title}\n\n"));
        text.push_str(&table(
            ["code", "severity", "what it says"],
            codes.into_iter().map(|code| {
                [format!("[{code}]({code}.md)"), code.severity().as_str().to_owned(), cell(code.summary())]
            }),
        ));
    }
    text
}

const CONTENTS: &str = "docs/src/SUMMARY.md";
/// How a line of the table of contents begins that is a finding's.
const ENTRY: &str = "  - [KLM";

/// The table of contents, with a line for each code where the first of such lines stands.
pub(super) fn contents(root: &Path) -> anyhow::Result<Artifact> {
    let text =
        fs::read_to_string(root.join(CONTENTS)).with_context(|| format!("cannot read `{CONTENTS}`"))?;
    let content = listed(&text).with_context(|| format!("`{CONTENTS}` has no line of a finding"))?;
    Ok(Artifact { path: CONTENTS.to_owned(), content })
}

fn listed(text: &str) -> Option<String> {
    let (before, rest) = text.split_at(text.find(ENTRY)?);
    let after: String = rest.split_inclusive('\n').skip_while(|line| line.starts_with(ENTRY)).collect();
    let lines: String = Code::ALL.iter().map(|code| format!("  - [{code}](findings/{code}.md)\n")).collect();
    Some(format!("{before}{lines}{after}"))
}

/// The pages of all codes.
pub(super) fn pages(root: &Path) -> anyhow::Result<Vec<Artifact>> {
    Code::ALL.iter().map(|code| page(root, *code)).collect()
}

fn page(root: &Path, code: Code) -> anyhow::Result<Artifact> {
    let path = format!("docs/src/findings/{code}.md");
    let written = match fs::read_to_string(root.join(&path)) {
        Ok(text) => text.split_once(LINE).map(|(_, below)| below.to_owned()),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => return Err(error).with_context(|| format!("cannot read `{path}`")),
    };
    let below = written.unwrap_or_else(|| SECTIONS.map(|title| format!("\n\n## {title}")).concat() + "\n");
    Ok(Artifact { path, content: format!("{}{LINE}{below}", head(code)) })
}

fn head(code: Code) -> String {
    let group = GROUPS.iter().find(|(digit, _)| *digit == code.number() / 1000);
    let mut rows = vec![
        ["severity".to_owned(), code.severity().as_str().to_owned()],
        ["group".to_owned(), group.map_or("", |(_, title)| title).to_owned()],
    ];
    if let Some(reason) = Reason::ALL.iter().find(|reason| Code::of(**reason) == code) {
        let (condition, name) = (reason.condition().as_str(), reason.as_str());
        let anchor = name.to_ascii_lowercase();
        rows.push([
            "condition".to_owned(),
            format!("`{condition}`, reason [`{name}`](../reference/conditions.md#{anchor})"),
        ]);
    }
    format!(
        "<!-- {MARK} from crates/kleym-core/src/report, down to the line. Edit what is below it. -->\n\n# {code}: {}\n\n{}\n",
        cell(code.summary()),
        table(["", ""], rows)
    )
}

/// The sections that a page does not have, or that say nothing.
#[cfg(test)]
fn silent(text: &str) -> Vec<&'static str> {
    let says = |title: &&str| {
        let (_, rest) = text.split_once(&format!("\n## {title}\n")).unwrap_or_default();
        let section = rest.split("\n## ").next().unwrap_or_default();
        section.chars().filter(|c| c.is_alphanumeric()).count() >= 20
    };
    SECTIONS.into_iter().filter(|title| !says(title)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_a_page_that_says_cause_check_fix_and_example() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let mut missing = Vec::new();
        for code in Code::ALL {
            let text =
                fs::read_to_string(root.join(format!("docs/src/findings/{code}.md"))).unwrap_or_default();
            let sections = silent(&text);
            if !sections.is_empty() {
                missing.push(format!("docs/src/findings/{code}.md says nothing under {sections:?}"));
            }
        }
        assert!(missing.is_empty(), "run `cargo xtask generate`, then write:\n{}", missing.join("\n"));
    }

    #[test]
    fn every_code_is_listed_once_in_the_place_of_the_first() {
        let text = listed("- [a](a.md)\n  - [KLM0001](x.md)\n  - [KLM0002](x.md)\n- [b](b.md)\n").unwrap();
        assert!(text.starts_with("- [a](a.md)\n  - [KLM1001](findings/KLM1001.md)\n"));
        assert!(text.ends_with("\n- [b](b.md)\n") && !text.contains("KLM0001"));
        assert_eq!(text.matches(ENTRY).count(), Code::ALL.len());
        assert_eq!(listed(&text).unwrap(), text);
    }

    #[test]
    fn a_page_without_words_is_noticed() {
        let page = "\n## Cause\n\nIt names what nobody has ever declared.\n\n## Check\n\n## Fix\n\nshort\n";
        assert_eq!(silent(page), ["Check", "Fix", "Example"]);
    }

    #[test]
    fn every_code_is_in_a_group() {
        for code in Code::ALL {
            assert!(GROUPS.iter().any(|(digit, _)| *digit == code.number() / 1000), "{code}");
        }
    }
}
