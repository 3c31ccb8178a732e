//! Commands in pages: `kleym` and `kleym-operator` are called with flags that exist, `make` with a target that exists, and
//! files of this repository are there. What other programs are called with is theirs to check.

use std::fs;
use std::path::Path;

use anyhow::Context;
use clap::CommandFactory;
use clap::error::ErrorKind;

use super::Pages;

/// Where targets of `make` are.
const MAKEFILES: [&str; 2] = ["Makefile", "tools/package/targets.mk"];
/// Words that begin like this are files of this repository.
const FOLDERS: [&str; 5] = ["crates/", "config/", "charts/", "docs/", "examples/"];

/// Everything that would not work as it stands.
pub(super) fn check(root: &Path, pages: &Pages) -> anyhow::Result<Vec<String>> {
    let mut makefile = String::new();
    for part in MAKEFILES {
        makefile += &fs::read_to_string(root.join(part)).with_context(|| format!("cannot read `{part}`"))?;
    }
    let mut findings = Vec::new();
    for (path, page) in pages {
        for fence in page.fences.iter().filter(|fence| fence.what.language == "console") {
            for (offset, line) in typed(&fence.what.text) {
                for command in split(&line) {
                    if let Some(why) = wrong(root, &makefile, &command) {
                        findings.push(format!("{path}:{}: {why}", fence.line + 1 + offset));
                    }
                }
            }
        }
    }
    Ok(findings)
}

/// The lines that are typed, with their continuations, each with its offset.
fn typed(text: &str) -> Vec<(usize, String)> {
    let mut lines = text.lines().enumerate();
    let mut found = Vec::new();
    while let Some((offset, line)) = lines.next() {
        let Some(command) = line.strip_prefix("$ ") else { continue };
        let mut command = command.to_owned();
        while let Some(start) = command.strip_suffix('\\') {
            command = format!("{start} {}", lines.next().map_or("", |(_, line)| line).trim());
        }
        found.push((offset, command));
    }
    found
}

/// The commands of a line, each as its words. Knows quotes, comments, pipes, redirections and assignments before the
/// command, and nothing else of a shell.
fn split(line: &str) -> Vec<Vec<String>> {
    let (mut commands, mut words) = (Vec::new(), Vec::new());
    let (mut word, mut started, mut quote): (String, bool, Option<char>) = (String::new(), false, None);
    for character in line.chars().chain([' ']) {
        match (quote, character) {
            (Some(open), close) if open == close => quote = None,
            (Some(_), other) => word.push(other),
            (None, '\'' | '"') => {
                (quote, started) = (Some(character), true);
            }
            (None, '#') if !started && word.is_empty() => break,
            (None, ' ' | '|' | ';' | '&') => {
                if started || !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                started = false;
                if character != ' ' {
                    commands.push(std::mem::take(&mut words));
                }
            }
            (None, other) => word.push(other),
        }
    }
    if started || !word.is_empty() {
        words.push(word);
    }
    commands.push(words);
    let mut redirected = false;
    for words in &mut commands {
        words.retain(|word| {
            let this = std::mem::take(&mut redirected);
            redirected = matches!(word.as_str(), ">" | ">>" | "<" | "2>");
            !this && !redirected && !word.starts_with(['>', '<']) && !word.starts_with("2>")
        });
        let assignments = words.iter().take_while(|word| is_assignment(word)).count();
        words.drain(..assignments);
    }
    commands.retain(|words| !words.is_empty());
    commands
}

fn is_assignment(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| {
        !name.is_empty() && name.chars().all(|c| c.is_ascii_uppercase() || c == '_' || c.is_ascii_digit())
    })
}

fn wrong(root: &Path, makefile: &str, words: &[String]) -> Option<String> {
    let missing = words.iter().find(|word| {
        let word = word.trim_start_matches("./");
        FOLDERS.iter().any(|folder| word.starts_with(folder)) && !root.join(word).exists()
    });
    if let Some(word) = missing {
        return Some(format!("`{word}` is no file of this repository"));
    }
    match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["kubectl", "kleym", rest @ ..] | ["kleym", rest @ ..] => unparsable(kleym::command_line(), rest),
        ["kleym-operator", rest @ ..] => unparsable(kleym_operator::settings::Flags::command(), rest),
        ["make", targets @ ..] => {
            let known = |target: &str| makefile.lines().any(|line| line.starts_with(&format!("{target}:")));
            let unknown = targets.iter().find(|target| !target.contains('=') && !known(target))?;
            Some(format!("`make {unknown}` is no target"))
        }
        _ => None,
    }
}

fn unparsable(command: clap::Command, arguments: &[&str]) -> Option<String> {
    let name = command.get_name().to_owned();
    match command.try_get_matches_from(std::iter::once(name.as_str()).chain(arguments.iter().copied())) {
        Ok(_) => None,
        Err(answer) => match answer.kind() {
            ErrorKind::DisplayHelp
            | ErrorKind::DisplayVersion
            | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => None,
            _ => {
                let said = answer.render().to_string();
                let line = said.lines().next().unwrap_or_default().to_owned();
                Some(format!("`{name} {}`: {line}", arguments.join(" ")))
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::super::Page;
    use super::*;

    #[test]
    fn a_line_is_split_as_a_shell_would() {
        assert_eq!(
            split("A=b make 'x y' > out.txt 2>&1 | kleym render -f - # why"),
            [vec!["make", "x y"], vec!["kleym", "render", "-f", "-"]]
        );
    }

    #[test]
    fn commands_that_do_not_exist_are_found() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let text = "```console\n$ make test && make tset\n$ kleym render -f examples/quickstart/ --no-such-flag\n\
                    $ kleym render -f examples/none/\n$ kleym-operator --trust-domain example.org \\\n    --clas x\n\
                    $ kleym --help\nmake this is output\n```\n";
        let found = check(root, &Pages::from([("a.md".to_owned(), Page::parse(text))])).unwrap();
        let starts: Vec<&str> = found.iter().map(|line| line.split(": ").next().unwrap()).collect();
        assert_eq!(starts, ["a.md:2", "a.md:3", "a.md:4", "a.md:5"], "{found:#?}");
        assert!(found[0].contains("`make tset`") && found[1].contains("--no-such-flag"), "{found:#?}");
    }
}
