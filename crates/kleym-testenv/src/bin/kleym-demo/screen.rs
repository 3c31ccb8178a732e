//! How the demo speaks: headings, aligned pairs and wrapped text on standard output; plain when that is no terminal,
//! or when `NO_COLOR` is set.

use std::io::{IsTerminal, Write};

/// Columns that text is wrapped to.
const WIDTH: usize = 100;
/// The indentation of everything that is no heading.
const INDENT: usize = 3;
/// The columns of a label, the blank behind it included.
const LABEL: usize = 18;

/// What a piece of text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    /// A heading.
    Heading,
    /// Something went as it should.
    Good,
    /// Something was refused, or goes away.
    Bad,
    /// Beside the point: commands, explanations.
    Quiet,
    /// Everything else.
    Plain,
}

/// Standard output, for people.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Screen {
    colour: bool,
}

impl Screen {
    /// The screen of this process.
    pub(crate) fn of_process() -> Self {
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|value| value == "dumb");
        Self { colour: std::io::stdout().is_terminal() && !set("NO_COLOR") && !dumb }
    }

    fn paint(self, tone: Tone, text: &str) -> String {
        let code = match tone {
            Tone::Heading => "1",
            Tone::Good => "32",
            Tone::Bad => "31",
            Tone::Quiet => "2",
            Tone::Plain => return text.to_owned(),
        };
        if self.colour { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    /// The start of a part.
    pub(crate) fn heading(self, title: &str) {
        print(&format!("\n{}\n", self.paint(Tone::Heading, &format!("== {title}"))));
    }

    /// A line, or several.
    pub(crate) fn line(self, text: &str) {
        self.say(Tone::Plain, text);
    }

    /// Explaining text.
    pub(crate) fn quiet(self, text: &str) {
        self.say(Tone::Quiet, text);
    }

    /// Text in a tone, wrapped.
    pub(crate) fn say(self, tone: Tone, text: &str) {
        for line in wrap(text, WIDTH - INDENT) {
            print(&format!("{:INDENT$}{}", "", self.paint(tone, &line)));
        }
    }

    /// A label and what belongs to it, wrapped beside the label.
    pub(crate) fn pair(self, label: &str, value: &str) {
        self.pair_in(Tone::Plain, label, value);
    }

    /// A label and what belongs to it in a tone.
    pub(crate) fn pair_in(self, tone: Tone, label: &str, value: &str) {
        let width = LABEL.saturating_sub(1);
        let label = format!("{label:width$} ");
        let indent = label.chars().count();
        for (number, line) in wrap(value, WIDTH - INDENT - indent).iter().enumerate() {
            let before = if number == 0 { self.paint(Tone::Quiet, &label) } else { " ".repeat(indent) };
            print(&format!("{:INDENT$}{before}{}", "", self.paint(tone, line)));
        }
    }

    /// A text that keeps its lines.
    pub(crate) fn verbatim(self, text: &str) {
        for line in text.lines() {
            print(&format!("{:indent$}{line}", "", indent = INDENT + 2));
        }
    }

    /// An empty line.
    pub(crate) fn gap(self) {
        print("");
    }
}

/// One line. When nobody reads any more, nobody misses it, and the demo still has to clean up.
fn print(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// Breaks a text at blanks; a word that is longer than a line gets a line of its own.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last_mut().expect("there is always a last line");
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > width {
            lines.push(word.to_owned());
        } else {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_broken_at_blanks_and_a_long_word_stays_whole() {
        assert_eq!(wrap("one two three", 8), ["one two", "three"]);
        assert_eq!(wrap("a spiffe://example.org/long b", 8), ["a", "spiffe://example.org/long", "b"]);
        assert_eq!(wrap("", 8), [""]);
    }

    #[test]
    fn without_colour_no_escape_sequence_is_written() {
        assert_eq!(Screen { colour: false }.paint(Tone::Bad, "no"), "no");
        assert_eq!(Screen { colour: true }.paint(Tone::Bad, "no"), "\u{1b}[31mno\u{1b}[0m");
    }
}
