//! Findings as a table for a comment on a pull request.

use std::io::{self, Write};

use crate::reports::{FindingEntry, SeverityName};

/// Prints the summary, and a table with a row for each finding.
pub(crate) fn markdown(out: &mut dyn Write, summary: &str, findings: &[FindingEntry]) -> io::Result<()> {
    writeln!(out, "**kleym**: {summary}")?;
    if findings.is_empty() {
        return Ok(());
    }
    writeln!(out)?;
    findings_table(out, findings)
}

/// A table with a row for each finding.
pub(crate) fn findings_table(out: &mut dyn Write, findings: &[FindingEntry]) -> io::Result<()> {
    writeln!(out, "| | Code | Where | What | What to do |\n| --- | --- | --- | --- | --- |")?;
    for finding in findings {
        let severity = match finding.severity {
            SeverityName::Error => "error",
            SeverityName::Warning => "warning",
            SeverityName::Info => "info",
        };
        let place = finding.place.as_ref().map(|place| format!("{}:{}", place.file, place.line));
        writeln!(
            out,
            "| {severity} | [{}]({}) | {} | {} | {} |",
            finding.code,
            finding.page,
            place.map(|place| cell(&place)).unwrap_or_default(),
            cell(&finding.message),
            finding.hint.as_deref().map(cell).unwrap_or_default()
        )?;
    }
    Ok(())
}

/// Text in a cell. What stands between backticks is code to Markdown, in which only a bar still means something; outside
/// of it everything that could become markup, a mention or a link is written as a character reference.
pub(crate) fn cell(text: &str) -> String {
    let mut written = String::new();
    let mut code = false;
    let closed = text.matches('`').count().is_multiple_of(2);
    for c in text.chars() {
        match c {
            '`' if closed => {
                code = !code;
                written.push('`');
            }
            '|' => written.push_str("\\|"),
            '\n' | '\r' => written.push(' '),
            '<' | '>' | '&' | '@' | '#' | '*' | '_' | '[' | ']' | '!' | '\\' | '~' | '`' if !code => {
                written.push_str(&format!("&#{};", u32::from(c)));
            }
            c => written.push(c),
        }
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_stays_text() {
        assert_eq!(cell("`a|b<c>` is <b>@all</b>"), "`a\\|b<c>` is &#60;b&#62;&#64;all&#60;/b&#62;");
        assert_eq!(cell("one ` alone\n"), "one &#96; alone ");
    }
}
