//! The reference pages of the book that are made from what the programs are made from, so that none can say something
//! else: conditions, findings, metrics, permissions, flags, commands and the binding's fields. Nothing here decides what is true.

mod api;
mod command_line;
mod conditions;
mod events;
mod findings;
mod metrics;
mod rbac;

use std::path::Path;

use crate::artifact::{Artifact, MARK};

/// Folders of the book that hold generated pages, perhaps beside others.
pub(crate) const FOLDERS: [&str; 2] = ["docs/src/reference", "docs/src/findings"];

/// Every page. What people wrote below the generated part of a page is read from `root`, and stays.
pub(crate) fn pages(root: &Path) -> anyhow::Result<Vec<Artifact>> {
    let mut pages = vec![
        page("reference/api.md", "crates/kleym-api/src/binding", &api::page()),
        page("reference/conditions.md", "crates/kleym-core/src/refusal.rs", &conditions::page()),
        page("reference/events.md", "crates/kleym-core/src/announce.rs", &events::page()),
        page("reference/metrics.md", "crates/kleym-operator/src/metrics/names.rs", &metrics::page()),
        page("reference/rbac.md", "crates/kleym-api/src/rights.rs", &rbac::page()),
        page("reference/operator.md", "crates/kleym-operator/src/settings.rs", &command_line::operator()),
        page("reference/cli.md", "crates/kleym/src/args", &command_line::kleym()),
        page("findings/index.md", "crates/kleym-core/src/report", &findings::index()),
    ];
    pages.extend(findings::pages(root)?);
    pages.push(findings::contents(root)?);
    Ok(pages)
}

fn page(path: &str, source: &str, text: &str) -> Artifact {
    Artifact {
        path: format!("docs/src/{path}"),
        content: format!("<!-- {MARK} from {source}. Do not edit. -->\n\n{}\n", text.trim_end()),
    }
}

/// A table in Markdown.
fn table<const N: usize>(head: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let line = |cells: [String; N]| format!("| {} |\n", cells.join(" | "));
    let mut text = line(head.map(str::to_owned));
    text.push_str(&line(std::array::from_fn(|_| "---".to_owned())));
    rows.into_iter().for_each(|row| text.push_str(&line(row)));
    text
}

/// A text as one line that is safe in a table's cell and holds no tags.
fn cell(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut safe = String::with_capacity(line.len());
    let mut code = false;
    for character in line.chars() {
        match character {
            '`' => {
                code = !code;
                safe.push('`');
            }
            '|' => safe.push_str("\\|"),
            '<' if !code => safe.push_str("&lt;"),
            '>' if !code => safe.push_str("&gt;"),
            other => safe.push(other),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_one_line_without_bars_and_tags() {
        assert_eq!(cell("a |\n <b> `c <d>`"), "a \\| &lt;b&gt; `c <d>`");
    }

    #[test]
    fn a_table_has_a_line_under_its_head() {
        assert_eq!(table(["a", "b"], [["1".into(), "2".into()]]), "| a | b |\n| --- | --- |\n| 1 | 2 |\n");
    }
}
