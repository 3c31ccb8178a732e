//! Annotations of a workflow on GitHub: one line a finding, which shows beside the line of the file.

use std::io::{self, Write};

use crate::reports::{FindingEntry, SeverityName};

/// Prints every finding as a workflow command.
pub(crate) fn github(out: &mut dyn Write, findings: &[FindingEntry]) -> io::Result<()> {
    for finding in findings {
        let command = match finding.severity {
            SeverityName::Error => "error",
            SeverityName::Warning => "warning",
            SeverityName::Info => "notice",
        };
        let mut properties = Vec::new();
        if let Some(place) = &finding.place {
            properties.push(format!("file={}", property(&place.file)));
            properties.push(format!("line={},endLine={}", place.line, place.end_line));
            // Columns mean something only within one line.
            if place.line == place.end_line {
                properties.push(format!("col={},endColumn={}", place.column, place.end_column));
            }
        }
        properties.push(format!("title={}", property(&finding.code)));
        let mut text = finding.message.clone();
        for (word, more) in [("note", &finding.note), ("help", &finding.hint)] {
            if let Some(more) = more {
                text.push_str(&format!("\n{word}: {more}"));
            }
        }
        text.push_str(&format!("\n{}", finding.page));
        writeln!(out, "::{command} {}::{}", properties.join(","), data(&text))?;
    }
    Ok(())
}

/// Text behind the second pair of colons.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// Text of a property, which ends at a comma or a colon.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_text_ends_it() {
        assert_eq!(property("a,b:c%\nd"), "a%2Cb%3Ac%25%0Ad");
        assert_eq!(data("50% ::error::\r\n"), "50%25 ::error::%0D%0A");
    }
}
