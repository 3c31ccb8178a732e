//! Commands in pages: every block says which test runs it, `kleym` and `kleym-operator` are called with flags that exist,
//! `make` with a target that exists, and files of this repository are there. What other programs are called with is theirs to
//! check, and they do where a block is run.

use std::fs;
use std::path::Path;

use anyhow::Context;
use clap::CommandFactory;
use clap::error::ErrorKind;

use super::Pages;
use super::page::Fence;

/// Where targets of `make` are.
const MAKEFILES: [&str; 2] = ["Makefile", "tools/package/targets.mk"];
/// Words that begin like this are files of this repository.
const FOLDERS: [&str; 5] = ["crates/", "config/", "charts/", "docs/", "examples/"];

/// Where the programs' own help is.
const GENERATED: &str = "docs/src/reference/";
/// Pages whose blocks must say what becomes of them.
const RUN: [&str; 2] = ["docs/src/", "examples/"];
/// What a block of commands is marked with, and the programs it may call: `runs` is run from files by the tests of `kleym`,
/// `live` and `cluster` on a real API server by `make package-check`, `build` is what contributors call.
const CALLED: [(&str, &[&str]); 4] = [
    ("runs", &["kleym"]),
    ("live", &["kubectl", "helm", "kleym", "kleym-operator"]),
    ("cluster", &["kubectl", "helm", "kustomize", "kleym", "kleym-operator"]),
    ("build", &["make", "cargo", "git", "kleym-operator", "diff"]),
];
/// What a manifest is marked with: it is linted, is part of a cluster that is asked, is applied to one, or is no manifest of
/// Kubernetes.
const MANIFEST: [&str; 4] = ["finds", "in", "applied", "foreign"];

/// What is wrong with the marks of a block.
fn unmarked(fence: &Fence) -> Option<String> {
    let name = |mark: &String| mark.split('=').next().unwrap_or_default().to_owned();
    let marks: Vec<String> = fence.marks.iter().map(name).collect();
    if fence.language == "yaml" {
        let marked = marks.iter().any(|mark| MANIFEST.contains(&mark.as_str()));
        return (!marked && !fence.text.contains("kind: Inference"))
            .then(|| format!("a `yaml` block is marked with none of {MANIFEST:?}"));
    }
    let found: Vec<_> = CALLED.iter().filter(|(mark, _)| marks.iter().any(|known| known == mark)).collect();
    let [(mark, programs)] = found[..] else {
        return Some(format!("a `console` block is marked with one of {:?}", CALLED.map(|(mark, _)| mark)));
    };
    let called = typed(&fence.text, "$ ").into_iter().filter_map(|(_, line)| split(&line).into_iter().next());
    called
        .filter_map(|words| words.into_iter().next())
        .find(|program| !programs.contains(&program.as_str()))
        .map(|program| format!("`{program}` is not called in a block marked `{mark}`"))
}

/// Everything that would not work as it stands.
pub(super) fn check(root: &Path, pages: &Pages) -> anyhow::Result<Vec<String>> {
    let mut makefile = String::new();
    for part in MAKEFILES {
        makefile += &fs::read_to_string(root.join(part)).with_context(|| format!("cannot read `{part}`"))?;
    }
    let mut findings = Vec::new();
    for (path, page) in pages {
        let run = RUN.iter().any(|folder| path.starts_with(folder));
        for fence in page.fences.iter().filter(|_| run) {
            if ["console", "yaml"].contains(&fence.what.language.as_str()) {
                findings.extend(unmarked(&fence.what).map(|why| format!("{path}:{}: {why}", fence.line)));
            }
        }
        for code in &page.codes {
            for command in split(&code.what) {
                if let Some(why) = wrong(root, &makefile, &command, true) {
                    findings.push(format!("{path}:{}: {why}", code.line));
                }
            }
        }
        for fence in &page.fences {
            let prompt = match fence.what.language.as_str() {
                "console" => "$ ",
                // Examples in the pages that are made from the programs' own help.
                "text" if path.starts_with(GENERATED) => "  ",
                _ => continue,
            };
            for (offset, line) in typed(&fence.what.text, prompt) {
                for command in split(&line) {
                    if let Some(why) = wrong(root, &makefile, &command, false) {
                        findings.push(format!("{path}:{}: {why}", fence.line + 1 + offset));
                    }
                }
            }
        }
    }
    Ok(findings)
}

/// The lines that are typed after a prompt, with their continuations, each with its offset.
fn typed(text: &str, prompt: &str) -> Vec<(usize, String)> {
    let mut lines = text.lines().enumerate();
    let mut found = Vec::new();
    while let Some((offset, line)) = lines.next() {
        let Some(command) = line.strip_prefix(prompt) else { continue };
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

/// What is wrong with a command; one that is only spoken of need not be complete.
fn wrong(root: &Path, makefile: &str, words: &[String], spoken_of: bool) -> Option<String> {
    let missing = words.iter().find(|word| {
        let word = word.trim_start_matches("./");
        FOLDERS.iter().any(|folder| word.starts_with(folder)) && !root.join(word).exists()
    });
    if let Some(word) = missing {
        return Some(format!("`{word}` is no file of this repository"));
    }
    match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["kubectl", "kleym", rest @ ..] | ["kleym", rest @ ..] => {
            unparsable(kleym::command_line(), rest, spoken_of)
        }
        ["kleym-operator", rest @ ..] => {
            unparsable(kleym_operator::settings::Flags::command(), rest, spoken_of)
        }
        ["make", targets @ ..] => {
            let known = |target: &str| makefile.lines().any(|line| line.starts_with(&format!("{target}:")));
            let unknown = targets.iter().find(|target| !target.contains('=') && !known(target))?;
            Some(format!("`make {unknown}` is no target"))
        }
        _ => None,
    }
}

fn unparsable(command: clap::Command, arguments: &[&str], spoken_of: bool) -> Option<String> {
    let name = command.get_name().to_owned();
    match command.try_get_matches_from(std::iter::once(name.as_str()).chain(arguments.iter().copied())) {
        Ok(_) => None,
        Err(answer) => match answer.kind() {
            ErrorKind::DisplayHelp
            | ErrorKind::DisplayVersion
            | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => None,
            ErrorKind::MissingRequiredArgument if spoken_of => None,
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
    fn a_block_that_no_test_runs_is_found() {
        let why = |text: &str| unmarked(&Page::parse(text).fences[0].what);
        for good in [
            "```console runs\n$ kleym version\n```\n",
            "```console live again\n$ kubectl get iib | grep x\n```\n",
            "```console build\n$ KEEP=1 make demo\n```\n",
            "```yaml finds=none\na: b\n```\n",
            "```yaml\nkind: InferencePool\n```\n",
        ] {
            assert_eq!(why(good), None, "{good}");
        }
        for (bad, expected) in [
            ("```console\n$ make test\n```\n", "is marked with one of"),
            ("```console runs live\n$ kleym version\n```\n", "is marked with one of"),
            (
                "```console runs\n$ kubectl get pods\n```\n",
                "`kubectl` is not called in a block marked `runs`",
            ),
            ("```yaml\nkind: Pod\n```\n", "is marked with none of"),
        ] {
            assert!(why(bad).is_some_and(|why| why.contains(expected)), "{bad}");
        }
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
        let text = "`kleym render` `kleym rendre` `make tset` `kleym explain pod/NAME` `config.yaml`\n";
        let found = check(root, &Pages::from([("a.md".to_owned(), Page::parse(text))])).unwrap();
        assert!(found.len() == 2 && found[0].contains("rendre") && found[1].contains("tset"), "{found:#?}");
    }
}
