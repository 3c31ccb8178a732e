//! What the pages promise, checked over their Markdown sources, without any tool: every link and anchor leads somewhere,
//! every page is in the table of contents, and what a page names (a test, a finding, a file, a command with its flags)
//! exists. Nothing here writes.

mod commands;
mod links;
mod names;
mod page;
pub(crate) mod site;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::Context;

pub(crate) use page::Page;

/// Where the book's pages lie.
pub(crate) const SOURCE: &str = "docs/src";
/// Folders beside the book whose `README.md`s are read by people too.
const BESIDE: [&str; 4] = [".", "examples", "charts", "config"];
/// Pages at the top of the repository.
const SUFFIX: &str = ".md";

/// All pages, by their path from the workspace's root.
pub(crate) type Pages = BTreeMap<String, Page>;

/// Everything that is wrong with the pages, one line each.
pub(crate) fn check(root: &Path) -> anyhow::Result<Vec<String>> {
    let pages = read(root)?;
    let mut findings = links::check(root, &pages);
    findings.extend(names::check(root, &pages)?);
    findings.extend(commands::check(root, &pages)?);
    findings.sort();
    Ok(findings)
}

/// Reads every page.
pub(crate) fn read(root: &Path) -> anyhow::Result<Pages> {
    let mut pages = Pages::new();
    gather(root, SOURCE, &mut pages)?;
    for folder in BESIDE {
        match folder {
            "." => flat(root, "", &mut pages)?,
            _ => gather(root, folder, &mut pages)?,
        }
    }
    Ok(pages)
}

fn gather(root: &Path, folder: &str, pages: &mut Pages) -> anyhow::Result<()> {
    if !root.join(folder).is_dir() {
        return Ok(());
    }
    flat(root, folder, pages)?;
    for name in names_in(root, folder)? {
        let path = format!("{folder}/{name}");
        if root.join(&path).is_dir() {
            gather(root, &path, pages)?;
        }
    }
    Ok(())
}

fn flat(root: &Path, folder: &str, pages: &mut Pages) -> anyhow::Result<()> {
    for name in names_in(root, folder)? {
        let path = if folder.is_empty() { name } else { format!("{folder}/{name}") };
        if path.ends_with(SUFFIX) && root.join(&path).is_file() {
            let text =
                fs::read_to_string(root.join(&path)).with_context(|| format!("cannot read `{path}`"))?;
            pages.insert(path, Page::parse(&text));
        }
    }
    Ok(())
}

fn names_in(root: &Path, folder: &str) -> anyhow::Result<Vec<String>> {
    let entries = fs::read_dir(root.join(folder)).with_context(|| format!("cannot list `{folder}`"))?;
    let mut names = Vec::new();
    for entry in entries {
        let name = entry.with_context(|| format!("cannot list `{folder}`"))?.file_name();
        names.push(name.to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

/// The path that a link in a page means, from where the page's own path begins.
fn beside(page: &str, link: &str) -> String {
    let mut parts: Vec<&str> = page.split('/').collect();
    parts.pop();
    for part in link.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_page_promises_what_is_not_there() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        assert_eq!(check(root).unwrap(), Vec::<String>::new());
    }
}
