//! What Markdown pages show, for tests that do what they say: fenced blocks with the marks in their info strings, the
//! commands in them, and the answers that are shown. Runs nothing, and knows nothing of what is in the pages.

use std::fs;
use std::path::Path;

use anyhow::{Context, ensure};

/// A fenced block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fence {
    /// The page, from the folder where the repository lies.
    pub page: String,
    /// Its line, from 1.
    pub line: usize,
    /// The first word of the info string, such as `yaml`.
    pub language: String,
    /// The other words: marks, which say what a test does with the block.
    pub marks: Vec<String>,
    /// What it holds, without the indent of the fence.
    pub text: String,
}

/// A command of a block, and the answer that is shown for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// The line after `$ `, with its continuations.
    pub command: String,
    /// The lines up to the next command; empty when no answer is shown.
    pub answer: String,
}

impl Fence {
    /// Page and line, for messages.
    pub fn place(&self) -> String {
        format!("{}:{}", self.page, self.line)
    }

    /// Whether a mark stands there.
    pub fn is(&self, mark: &str) -> bool {
        self.marks.iter().any(|known| known == mark)
    }

    /// The value of a mark `name=value`.
    pub fn mark(&self, name: &str) -> Option<&str> {
        self.marks.iter().find_map(|mark| mark.strip_prefix(name)?.strip_prefix('='))
    }

    /// The commands, in order.
    ///
    /// # Errors
    /// The block does not begin with a command.
    pub fn commands(&self) -> anyhow::Result<Vec<Shown>> {
        let mut found: Vec<Shown> = Vec::new();
        let mut lines = self.text.lines();
        while let Some(line) = lines.next() {
            if let Some(start) = line.strip_prefix("$ ") {
                let mut command = start.to_owned();
                while let Some(start) = command.strip_suffix('\\') {
                    command = format!("{start}{}", lines.next().unwrap_or_default().trim_start());
                }
                found.push(Shown { command, answer: String::new() });
            } else {
                let last =
                    found.last_mut().with_context(|| format!("{} begins with no command", self.place()))?;
                last.answer.push_str(line);
                last.answer.push('\n');
            }
        }
        ensure!(!found.is_empty(), "{} has no command", self.place());
        Ok(found)
    }
}

/// Every fenced block of the pages in a folder and the folders in it, page by page.
///
/// # Errors
/// A folder or page cannot be read.
pub fn fences(root: &Path, folder: &str) -> anyhow::Result<Vec<Fence>> {
    let path = root.join(folder);
    let entries = fs::read_dir(&path).with_context(|| format!("cannot list `{}`", path.display()))?;
    let mut names = entries
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<std::io::Result<Vec<String>>>()?;
    names.sort();
    let mut found = Vec::new();
    for name in names {
        let page = format!("{folder}/{name}");
        if root.join(&page).is_dir() {
            found.extend(fences(root, &page)?);
        } else if name.ends_with(".md") {
            let text =
                fs::read_to_string(root.join(&page)).with_context(|| format!("cannot read `{page}`"))?;
            found.extend(fences_of(&page, &text));
        }
    }
    Ok(found)
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
        found.push(Fence { page: page.to_owned(), line: number + 1, language, marks: words.collect(), text });
    }
    found
}

/// Whether an answer is the one that is shown, where a line `...` stands for any lines, none included.
pub fn is_shown(shown: &str, answer: &str) -> bool {
    fn lines_match(shown: &[&str], answer: &[&str]) -> bool {
        match shown {
            [] => answer.is_empty(),
            ["...", rest @ ..] => (0..=answer.len()).any(|skipped| lines_match(rest, &answer[skipped..])),
            [line, rest @ ..] => {
                answer.first().map(|line| line.trim_end()) == Some(line.trim_end())
                    && lines_match(rest, &answer[1..])
            }
        }
    }
    let shown: Vec<&str> = shown.trim_end().lines().collect();
    lines_match(&shown, &answer.trim_end().lines().collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_its_fences_with_their_marks() {
        let text = "# A\n\n```yaml finds=KLM1001 beside=quickstart\na: b\n```\n\n- x\n\n  ```console runs\n  $ one \\\n    two\n  answer\n  $ three\n  ```\n";
        let [yaml, console] = &fences_of("a.md", text)[..] else { panic!("not two fences") };
        assert_eq!((yaml.mark("finds"), yaml.mark("find"), yaml.is("runs")), (Some("KLM1001"), None, false));
        assert_eq!(yaml.text, "a: b\n");
        assert_eq!((console.place().as_str(), console.is("runs")), ("a.md:9", true));
        let shown =
            |command: &str, answer: &str| Shown { command: command.to_owned(), answer: answer.to_owned() };
        assert_eq!(console.commands().unwrap(), [shown("one two", "answer\n"), shown("three", "")]);
        assert!(yaml.commands().is_err());
    }

    #[test]
    fn dots_stand_for_any_lines_and_nothing_else_does() {
        assert!(is_shown("a\nb", "a\nb\n"));
        assert!(!is_shown("a\nb", "a\nb\nc"));
        assert!(is_shown("a\n...\nd", "a\nb\nc\nd"));
        assert!(is_shown("a\n...", "a\nb"));
        assert!(!is_shown("a\n...\nd", "b\nd"));
        assert!(!is_shown("a\n...\nd", "a\nd\ne"));
        assert!(is_shown("...\nb", "a\nb") && is_shown("...", ""));
    }
}
