//! The built site: every link in it leads to a page and anchor of it, nothing is loaded from elsewhere, the search index is
//! there, and each finding stands at the address that `kleym` prints.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, ensure};
use kleym_core::report::Code;

use super::beside;

/// Everything that is wrong with the site in this folder.
pub(crate) fn check(site: &Path) -> anyhow::Result<Vec<String>> {
    let (mut pages, mut others) = (BTreeMap::new(), BTreeSet::new());
    gather(site, "", &mut pages, &mut others)?;
    ensure!(!pages.is_empty(), "`{}` holds no pages: build the book first", site.display());
    let mut findings = Vec::new();
    for (path, html) in &pages {
        for (attribute, value) in attributes(html) {
            if value.starts_with("http://") || value.starts_with("https://") || value.starts_with("//") {
                if attribute == "src" || html.contains(&format!("<link rel=\"stylesheet\" href=\"{value}\""))
                {
                    findings.push(format!("{path}: loads `{value}` from elsewhere"));
                }
                continue;
            }
            if value.starts_with("mailto:") || value.starts_with("data:") || attribute == "id" {
                continue;
            }
            let (file, anchor) = value.split_once('#').unwrap_or((value, ""));
            let target = if file.is_empty() { path.clone() } else { beside(path, file) };
            match pages.get(&target) {
                None if others.contains(&target) || target.is_empty() => {}
                None => findings.push(format!("{path}: `{value}` leads nowhere")),
                Some(html) if anchor.is_empty() || has_id(html, anchor) => {}
                Some(_) => findings.push(format!("{path}: `{value}` names no anchor")),
            }
        }
    }
    for code in Code::ALL {
        if !pages.contains_key(&format!("findings/{code}.html")) {
            findings.push(format!("findings/{code}.html: missing"));
        }
    }
    for part in ["searchindex", "mermaid"] {
        if !others.iter().any(|file| file.starts_with(part) && file.ends_with(".js")) {
            findings.push(format!("{part}: the script is missing"));
        }
    }
    findings.sort();
    findings.dedup();
    Ok(findings)
}

fn gather(
    site: &Path,
    folder: &str,
    pages: &mut BTreeMap<String, String>,
    others: &mut BTreeSet<String>,
) -> anyhow::Result<()> {
    let path = site.join(folder);
    let entries = fs::read_dir(&path).with_context(|| format!("cannot list `{}`", path.display()))?;
    for entry in entries {
        let entry = entry.with_context(|| format!("cannot list `{}`", path.display()))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let name = if folder.is_empty() { name } else { format!("{folder}/{name}") };
        if entry.path().is_dir() {
            gather(site, &name, pages, others)?;
        } else if name.ends_with(".html") {
            let html = fs::read_to_string(entry.path()).with_context(|| format!("cannot read `{name}`"))?;
            // The page of all pages has anchors of its own, and 404 is shown at any address.
            if name != "print.html" && name != "404.html" {
                pages.insert(name, html);
            } else {
                others.insert(name);
            }
        } else {
            others.insert(name);
        }
    }
    Ok(())
}

fn attributes(html: &str) -> Vec<(&'static str, &str)> {
    let of = |name: &'static str, start: &'static str| {
        html.match_indices(start).filter_map(move |(at, _)| {
            let (value, _) = html[at + start.len()..].split_once('"')?;
            Some((name, value))
        })
    };
    of("href", " href=\"").chain(of("src", " src=\"")).collect()
}

fn has_id(html: &str, anchor: &str) -> bool {
    html.contains(&format!(" id=\"{anchor}\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dead_links_and_foreign_scripts_of_a_site_are_found() {
        let site = std::env::temp_dir().join(format!("kleym-site-{}", std::process::id()));
        fs::create_dir_all(site.join("findings")).unwrap();
        for code in Code::ALL {
            fs::write(site.join(format!("findings/{code}.html")), "<h1 id=\"x\"></h1>").unwrap();
        }
        fs::write(site.join("searchindex-1.js"), "").unwrap();
        fs::write(site.join("mermaid.min.js"), "").unwrap();
        let page = "<a href=\"findings/KLM1001.html#x\"> <a href=\"findings/KLM1001.html#y\"> <a href=\"no.html\"> \
                    <a href=\"https://a.example\"> <script src=\"https://b.example/c.js\">";
        fs::write(site.join("index.html"), page).unwrap();
        assert_eq!(
            check(&site).unwrap(),
            [
                "index.html: `findings/KLM1001.html#y` names no anchor",
                "index.html: `no.html` leads nowhere",
                "index.html: loads `https://b.example/c.js` from elsewhere",
            ]
        );
        fs::remove_dir_all(&site).unwrap();
    }
}
