//! How untrusted text is shown to people: quoted, bounded and without a character that could disturb a terminal
//! or a log line. Nothing here changes a value that is used for anything but display.

use std::fmt;

/// The most bytes a condition message may have.
pub const MAX_MESSAGE_BYTES: usize = 1024;

/// Characters of a value that are shown before it is cut.
const SHOWN: usize = 96;

/// A value from outside, to be shown in backticks: printable ASCII as it is, everything else escaped
/// (`\n`, `\u{202e}`), cut after 96 characters.
#[derive(Debug, Clone, Copy)]
pub struct Quoted<'a>(pub &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`")?;
        for (shown, c) in self.0.chars().enumerate() {
            if shown == SHOWN {
                f.write_str("...")?;
                break;
            }
            match c {
                '`' => f.write_str("\\`")?,
                ' '..='~' => write!(f, "{c}")?,
                _ => write!(f, "{}", c.escape_default())?,
            }
        }
        f.write_str("`")
    }
}

/// A list of quoted values: `` `a`, `b` and `c` ``, with at most eight shown and the rest counted.
pub fn quoted_list<'a>(values: impl IntoIterator<Item = &'a str>) -> String {
    const MOST: usize = 8;
    let values: Vec<&str> = values.into_iter().collect();
    let mut parts: Vec<String> = values.iter().take(MOST).map(|v| Quoted(v).to_string()).collect();
    if values.len() > MOST {
        parts.push(format!("{} more", values.len() - MOST));
    }
    let last = parts.pop();
    match (parts.is_empty(), last) {
        (_, None) => String::new(),
        (true, Some(only)) => only,
        (false, Some(last)) => format!("{} and {last}", parts.join(", ")),
    }
}

/// Cuts a message to [`MAX_MESSAGE_BYTES`] at a character boundary; a cut message ends in `...`.
pub fn bounded(message: String) -> String {
    cut_to(message, MAX_MESSAGE_BYTES)
}

/// The same for another limit, of at least three bytes.
pub(crate) fn cut_to(mut message: String, max: usize) -> String {
    if message.len() > max {
        let end = cut(&message, max - 3).len();
        message.truncate(end);
        message.push_str("...");
    }
    message
}

/// Cuts a string to at most `max` bytes at a character boundary.
pub(crate) fn cut(text: &str, max: usize) -> &str {
    let mut end = max.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quoted_value_cannot_disturb_a_terminal() {
        assert_eq!(Quoted("a\u{1b}[31m\n\u{202e}b`").to_string(), r"`a\u{1b}[31m\n\u{202e}b\``");
    }

    #[test]
    fn a_quoted_value_is_bounded() {
        assert_eq!(Quoted(&"x".repeat(1_000_000)).to_string().len(), SHOWN + 5);
    }

    #[test]
    fn a_list_counts_what_it_does_not_show() {
        assert_eq!(quoted_list(["a"]), "`a`");
        assert_eq!(quoted_list(["a", "b", "c"]), "`a`, `b` and `c`");
        assert!(quoted_list((0..20).map(|_| "x")).ends_with("and 12 more"));
    }

    #[test]
    fn a_message_is_cut_at_a_character_boundary() {
        let message = bounded("\u{e9}".repeat(2000));
        assert!(message.len() <= MAX_MESSAGE_BYTES && message.ends_with("..."));
    }
}
