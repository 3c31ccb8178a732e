//! The pages of the book, done as a reader would do them: manifests give the findings that are said of them, and answers
//! that are shown are answers that come.
//!
//! In the info string of a fence, after the language, stand `finds=<codes>` (separated by `+`, or `none`),
//! `beside=quickstart` (the example stands beside the quick start's pool and objective), and `runs` on a `console` fence whose
//! commands are run from the top of the repository; a line `...` in it stands for any lines.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::run::command;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Runs `kleym` at the top of the repository; both of its answers, standard output first.
fn kleym(arguments: &str, input: &str) -> (String, String) {
    let mut child = command(&root(), arguments).spawn().unwrap();
    drop(child.stdin.take().unwrap().write_all(input.as_bytes()));
    let output = child.wait_with_output().unwrap();
    (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
}

struct Fence {
    place: String,
    language: String,
    marks: Vec<String>,
    text: String,
}

impl Fence {
    fn mark(&self, name: &str) -> Option<&str> {
        self.marks.iter().find_map(|mark| mark.strip_prefix(name)?.strip_prefix('='))
    }
}

/// Every fenced block of every page.
fn fences() -> Vec<Fence> {
    let (mut folders, mut found) = (vec![root().join("docs/src")], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                let page = path.strip_prefix(root()).unwrap().display().to_string();
                found.extend(fences_of(&page, &fs::read_to_string(&path).unwrap()));
            }
        }
    }
    found
}

fn fences_of(page: &str, text: &str) -> Vec<Fence> {
    let mut found = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        let indent = line.len() - line.trim_start().len();
        let Some(info) = line.trim_start().strip_prefix("```") else { continue };
        let mut words = info.split_whitespace().map(str::to_owned);
        let language = words.next().unwrap_or_default();
        let mut text = String::new();
        for (_, line) in lines.by_ref().take_while(|(_, line)| line.trim() != "```") {
            text.push_str(line.get(indent..).unwrap_or_default());
            text.push('\n');
        }
        found.push(Fence { place: format!("{page}:{}", number + 1), language, marks: words.collect(), text });
    }
    found
}

#[test]
fn every_manifest_in_the_book_gives_the_findings_that_are_said_of_it() {
    let (mut wrong, mut seen) = (Vec::new(), 0);
    for fence in fences() {
        let declares = fence.text.contains("kind: Inference");
        if fence.language != "yaml" || !(declares || fence.mark("finds").is_some()) {
            continue;
        }
        seen += 1;
        let expected: BTreeSet<&str> = match fence.mark("finds") {
            None | Some("none") => BTreeSet::new(),
            Some(codes) => codes.split('+').collect(),
        };
        let beside = match fence.mark("beside") {
            None => "",
            Some("quickstart") => "-f examples/quickstart/inference.yaml",
            Some(other) => panic!("{}: beside={other} is not known", fence.place),
        };
        let (said, _) = kleym(&format!("lint -f - {beside}"), &fence.text);
        let found: BTreeSet<&str> =
            said.match_indices("[KLM").filter_map(|(at, _)| said.get(at + 1..at + 8)).collect();
        if found != expected {
            wrong.push(format!("{}: {found:?} instead of {expected:?}\n{said}", fence.place));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(seen > 25, "only {seen} manifests were found");
}

#[test]
fn every_answer_in_the_book_is_the_one_that_comes() {
    let (mut wrong, mut seen) = (Vec::new(), 0);
    for fence in fences().iter().filter(|fence| fence.marks.iter().any(|mark| mark == "runs")) {
        let lines: Vec<&str> = fence.text.lines().collect();
        let commands: Vec<usize> = (0..lines.len()).filter(|at| lines[*at].starts_with("$ ")).collect();
        assert!(commands.first() == Some(&0), "{} does not begin with a command", fence.place);
        for (index, at) in commands.iter().enumerate() {
            seen += 1;
            let end = commands.get(index + 1).copied().unwrap_or(lines.len());
            let Some(arguments) = lines[*at].strip_prefix("$ kleym ") else {
                panic!("{}: only `kleym` is run, not `{}`", fence.place, lines[*at])
            };
            let (out, err) = kleym(arguments, "");
            let said = format!("{out}{err}");
            if !matches(&lines[at + 1..end].join("\n"), &said) {
                wrong.push(format!("{}: `{}` answers\n{said}", fence.place, lines[*at]));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(seen > 0, "no answer was found");
}

/// Whether a text is what was expected, where a line `...` stands for any lines, none included.
fn matches(expected: &str, said: &str) -> bool {
    fn lines_match(expected: &[&str], said: &[&str]) -> bool {
        match expected {
            [] => said.is_empty(),
            ["...", rest @ ..] => (0..=said.len()).any(|skipped| lines_match(rest, &said[skipped..])),
            [line, rest @ ..] => said.first() == Some(line) && lines_match(rest, &said[1..]),
        }
    }
    let expected: Vec<&str> = expected.trim_end().lines().collect();
    lines_match(&expected, &said.trim_end().lines().collect::<Vec<_>>())
}

#[test]
fn dots_stand_for_any_lines_and_nothing_else_does() {
    assert!(matches("a\nb", "a\nb\n"));
    assert!(!matches("a\nb", "a\nb\nc"));
    assert!(matches("a\n...\nd", "a\nb\nc\nd"));
    assert!(matches("a\n...", "a\nb"));
    assert!(!matches("a\n...\nd", "b\nd"));
    assert!(!matches("a\n...\nd", "a\nd\ne"));
    assert!(matches("...\nb", "a\nb") && matches("...", ""));
}
