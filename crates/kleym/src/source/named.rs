//! What `-f` names, as kubectl reads it: paths, several of them between commas, and patterns that no shell has expanded. A
//! path that is there is taken as it is.

use std::fs;
use std::path::{Component, Path, PathBuf};

use kleym_core::text::Quoted;

/// Standard input.
const STDIN: &str = "-";

/// Whether standard input is among the paths.
pub(crate) fn is_stdin_named(typed: &[PathBuf]) -> bool {
    typed.iter().any(|path| parts(path).any(|part| part == Path::new(STDIN)))
}

/// The paths that are meant; one that is not there is left for whoever reads it to tell.
pub(super) fn expanded(typed: &[PathBuf]) -> Result<Vec<PathBuf>, Vec<String>> {
    let (mut paths, mut problems) = (Vec::new(), Vec::new());
    for whole in typed {
        let several = parts(whole).nth(1).is_some();
        for part in parts(whole) {
            if part == Path::new(STDIN) || part.exists() {
                paths.push(part);
                continue;
            }
            let found = matching(&part);
            if !found.is_empty() {
                paths.extend(found);
            } else if several || is_pattern(&part) {
                problems.push(missing(whole, &part, several));
            } else {
                paths.push(part);
            }
        }
    }
    if problems.is_empty() { Ok(paths) } else { Err(problems) }
}

/// The paths between the commas; a path that is there may have commas in its name.
fn parts(whole: &Path) -> impl Iterator<Item = PathBuf> {
    let text = whole.to_str().filter(|_| !whole.exists());
    let parts: Vec<PathBuf> = match text {
        Some(text) => text.split(',').map(PathBuf::from).collect(),
        None => vec![whole.to_owned()],
    };
    parts.into_iter()
}

fn missing(whole: &Path, part: &Path, several: bool) -> String {
    let shown = |path: &Path| Quoted(&path.display().to_string()).to_string();
    let why =
        if is_pattern(part) { "no file or folder matches it" } else { "there is no such file or folder" };
    let cut = match several {
        true => format!(" (a comma separates paths, so {} names several)", shown(whole)),
        false => String::new(),
    };
    format!("{} cannot be read: {why}{cut}", shown(part))
}

fn is_pattern(path: &Path) -> bool {
    path.to_str().is_some_and(|text| text.contains(['*', '?', '[']))
}

/// The paths that match a pattern, by name; each step of the path is matched by itself.
fn matching(pattern: &Path) -> Vec<PathBuf> {
    if !is_pattern(pattern) {
        return Vec::new();
    }
    let mut found = vec![PathBuf::new()];
    for step in pattern.components() {
        let step = match step {
            Component::Normal(step) if is_pattern(Path::new(step)) => step.to_string_lossy(),
            step => {
                found.iter_mut().for_each(|path| path.push(step));
                found.retain(|path| path.exists());
                continue;
            }
        };
        let pattern: Vec<char> = step.chars().collect();
        let mut next = Vec::new();
        for folder in found {
            let here = if folder.as_os_str().is_empty() { Path::new(".") } else { &folder };
            // What cannot be listed holds nothing that could be meant.
            let entries = fs::read_dir(here).into_iter().flatten().flatten();
            let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
            let mut names: Vec<String> =
                names.filter(|name| matches(&pattern, &name.chars().collect::<Vec<char>>())).collect();
            names.sort();
            next.extend(names.into_iter().map(|name| folder.join(name)));
        }
        found = next;
    }
    found
}

/// Whether a name matches: `*` is any text, `?` any character, `[a-c]` one of a set, `[^a-c]` one of no set.
fn matches(pattern: &[char], name: &[char]) -> bool {
    // The last `*`, and how much of the name it has taken: only that one ever has to take more.
    let (mut p, mut n, mut star) = (0, 0, None);
    while n < name.len() {
        let step = match pattern.get(p) {
            Some('*') => {
                star = Some((p, n));
                p += 1;
                continue;
            }
            Some('?') => Some(1),
            Some('[') => set(&pattern[p..], name[n]),
            Some(literal) => (*literal == name[n]).then_some(1),
            None => None,
        };
        match (step, star) {
            (Some(length), _) => (p, n) = (p + length, n + 1),
            (None, Some((at, taken))) => {
                star = Some((at, taken + 1));
                (p, n) = (at + 1, taken + 1);
            }
            (None, None) => return false,
        }
    }
    pattern[p..].iter().all(|rest| *rest == '*')
}

/// The length of a set, when it holds the character; a set without an end holds none.
fn set(pattern: &[char], c: char) -> Option<usize> {
    let end = pattern.iter().skip(2).position(|c| *c == ']')? + 2;
    let (no, items) = match pattern[1] {
        '^' if end > 2 => (true, &pattern[2..end]),
        _ => (false, &pattern[1..end]),
    };
    let mut holds = false;
    let mut at = 0;
    while let Some(first) = items.get(at) {
        match (items.get(at + 1), items.get(at + 2)) {
            (Some('-'), Some(last)) => {
                holds |= (*first..=*last).contains(&c);
                at += 3;
            }
            _ => {
                holds |= *first == c;
                at += 1;
            }
        }
    }
    (holds != no).then_some(end + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_names_as_kubectl_matches_them() {
        let chars = |text: &str| text.chars().collect::<Vec<char>>();
        for (pattern, name, expected) in [
            ("*.yaml", "a.yaml", true),
            ("*.yaml", ".yaml", true),
            ("*.yaml", "a.yml", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-b-b-d", false),
            ("?.yaml", "a.yaml", true),
            ("?.yaml", "ab.yaml", false),
            ("[a-c]?", "b1", true),
            ("[a-c]?", "d1", false),
            ("[^a-c]", "d", true),
            ("[^a-c]", "a", false),
            ("[a", "[a", false),
            ("", "", true),
            ("*", "", true),
        ] {
            assert_eq!(matches(&chars(pattern), &chars(name)), expected, "{pattern} {name}");
        }
    }
}
