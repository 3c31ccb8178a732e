//! JUnit XML: a test case for each binding, and one for each finding that is about none. Errors are failures, and with
//! `--strict` warnings too; what is no failure stands in the case's output.

use std::collections::BTreeMap;
use std::io::{self, Write};

use crate::reports::{FindingEntry, ObjectReference, SeverityName};

const BINDING: &str = "InferenceIdentityBinding";

/// Prints a test suite; `bindings` are namespaces and names.
pub(crate) fn junit(
    out: &mut dyn Write,
    bindings: &[(String, String)],
    findings: &[FindingEntry],
    strict: bool,
) -> io::Result<()> {
    let mut cases: BTreeMap<(String, String), Vec<&FindingEntry>> =
        bindings.iter().map(|binding| (binding.clone(), Vec::new())).collect();
    for finding in findings {
        let of_binding = finding.objects.first().filter(|object| object.kind == BINDING);
        let key = match (of_binding, &finding.place) {
            (Some(ObjectReference { namespace, name, .. }), _) => {
                (namespace.clone().unwrap_or_default(), name.clone())
            }
            (None, Some(place)) => ("files".to_owned(), place.file.clone()),
            (None, None) => ("files".to_owned(), finding.code.clone()),
        };
        cases.entry(key).or_default().push(finding);
    }
    let fails = |finding: &FindingEntry| match finding.severity {
        SeverityName::Error => true,
        SeverityName::Warning => strict,
        SeverityName::Info => false,
    };
    let failed = cases.values().filter(|findings| findings.iter().any(|finding| fails(finding))).count();
    writeln!(out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>")?;
    writeln!(out, "<testsuites>")?;
    writeln!(
        out,
        "  <testsuite name=\"kleym lint\" tests=\"{}\" failures=\"{failed}\" errors=\"0\" skipped=\"0\">",
        cases.len()
    )?;
    for ((class, name), findings) in &cases {
        write!(out, "    <testcase classname=\"{}\" name=\"{}\"", text(class), text(name))?;
        if findings.is_empty() {
            writeln!(out, "/>")?;
            continue;
        }
        writeln!(out, ">")?;
        for finding in findings.iter().filter(|finding| fails(finding)) {
            writeln!(
                out,
                "      <failure type=\"{}\" message=\"{}\">{}</failure>",
                text(&finding.code),
                text(&finding.message),
                text(&in_words(finding))
            )?;
        }
        let others: Vec<String> =
            findings.iter().filter(|finding| !fails(finding)).map(|finding| in_words(finding)).collect();
        if !others.is_empty() {
            writeln!(out, "      <system-out>{}</system-out>", text(&others.join("\n")))?;
        }
        writeln!(out, "    </testcase>")?;
    }
    writeln!(out, "  </testsuite>\n</testsuites>")
}

fn in_words(finding: &FindingEntry) -> String {
    let place =
        finding.place.as_ref().map(|place| format!("{}:{}:{}: ", place.file, place.line, place.column));
    let mut words = format!("{}{} {}", place.unwrap_or_default(), finding.code, finding.message);
    for more in [&finding.note, &finding.hint].into_iter().flatten() {
        words.push('\n');
        words.push_str(more);
    }
    words.push('\n');
    words.push_str(&finding.page);
    words
}

/// Text of an element or an attribute. Characters that XML 1.0 cannot hold are replaced.
fn text(text: &str) -> String {
    let mut written = String::new();
    for c in text.chars() {
        match c {
            '&' => written.push_str("&amp;"),
            '<' => written.push_str("&lt;"),
            '>' => written.push_str("&gt;"),
            '"' => written.push_str("&quot;"),
            '\n' | '\r' | '\t' => written.push_str(&format!("&#{};", u32::from(c))),
            c if c < ' ' || matches!(c, '\u{7f}'..='\u{9f}' | '\u{fffe}' | '\u{ffff}') => {
                written.push(char::REPLACEMENT_CHARACTER);
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
    fn nothing_in_a_text_ends_it() {
        assert_eq!(text("<a b=\"c\">&\u{1b}\n"), "&lt;a b=&quot;c&quot;&gt;&amp;\u{fffd}&#10;");
    }
}
