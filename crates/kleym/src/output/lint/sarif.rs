//! SARIF 2.1.0, as code scanning reads it: stable rule ids, paths relative to where the command ran, and a fingerprint
//! that a moved line does not change.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::path::{Component, Path};

use kleym_core::report::{Code, Severity};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::declared::Told;
use crate::reports::{FindingEntry, SourcePlace};
use crate::source::{Files, Spot};

/// The schema of the version that is written.
const SCHEMA: &str = "https://json.schemastore.org/sarif-2.1.0.json";
/// The name and version of the fingerprint's recipe.
const FINGERPRINT: &str = "kleym/v1";

/// Prints one run with every finding.
pub(crate) fn sarif(out: &mut dyn Write, files: &Files, told: &[Told]) -> io::Result<()> {
    let codes: BTreeSet<Code> = told.iter().map(|told| told.finding.code).collect();
    let rules: Vec<Code> = codes.into_iter().collect();
    let mut prints = Fingerprints::default();
    let results: Vec<Value> = told.iter().map(|told| result(files, told, &rules, &mut prints)).collect();
    let rules: Vec<Value> = rules.into_iter().map(rule).collect();
    let log = json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "kleym",
                "semanticVersion": env!("CARGO_PKG_VERSION"),
                "informationUri": "https://kleym.sonda.red",
                "rules": rules,
            }},
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    });
    serde_json::to_writer_pretty(&mut *out, &log)?;
    out.write_all(b"\n")
}

fn rule(code: Code) -> Value {
    json!({
        "id": code.to_string(),
        "shortDescription": {"text": code.summary()},
        "helpUri": code.page(),
        "defaultConfiguration": {"level": level(code.severity())},
    })
}

fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Info => "note",
    }
}

fn result(files: &Files, told: &Told, rules: &[Code], prints: &mut Fingerprints) -> Value {
    let Told { finding, at, also } = told;
    let entry = FindingEntry::of(files, told);
    let mut text = entry.message.clone();
    for (word, more) in [("note", &entry.note), ("help", &entry.hint)] {
        if let Some(more) = more {
            text.push_str(&format!("\n{word}: {more}"));
        }
    }
    let mut result = json!({
        "ruleId": entry.code,
        "ruleIndex": rules.iter().position(|code| *code == finding.code),
        "level": level(finding.severity()),
        "message": {"text": text},
        "partialFingerprints": {FINGERPRINT: prints.of(files, told, &entry)},
    });
    if let Some(spot) = at {
        result["locations"] = json!([{"physicalLocation": physical(files, spot)}]);
    }
    if !also.is_empty() {
        let related: Vec<Value> = also
            .iter()
            .enumerate()
            .map(|(id, (what, spot))| {
                json!({"id": id, "message": {"text": what}, "physicalLocation": physical(files, spot)})
            })
            .collect();
        result["relatedLocations"] = related.into();
    }
    result
}

fn physical(files: &Files, spot: &Spot) -> Value {
    let SourcePlace { file: _, line, column, end_line, end_column } = SourcePlace::of(files, spot);
    // An empty region would be an insertion point; code scanning wants something to mark.
    let end_column = if (line, column) == (end_line, end_column) { end_column + 1 } else { end_column };
    json!({
        "artifactLocation": {"uri": uri(files.get(spot.file).path.as_deref())},
        "region": {"startLine": line, "startColumn": column, "endLine": end_line, "endColumn": end_column},
    })
}

/// The path of a file as a URI reference (RFC 3986): relative to where the command runs, unless it lies elsewhere.
fn uri(path: Option<&Path>) -> String {
    let Some(path) = path else { return "stdin".to_owned() };
    let here = std::env::current_dir().ok();
    let relative = here.and_then(|here| path.strip_prefix(here).ok());
    let mut root = "";
    let mut steps = Vec::new();
    for step in relative.unwrap_or(path).components() {
        match step {
            Component::CurDir => {}
            Component::RootDir => root = "file:///",
            step => steps.push(encoded(step.as_os_str().as_encoded_bytes())),
        }
    }
    format!("{root}{}", steps.join("/"))
}

/// A step of a path; what RFC 3986 does not reserve nor forbid stays as it is.
fn encoded(step: &[u8]) -> String {
    let byte = |byte: &u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(*byte).to_string(),
        other => format!("%{other:02X}"),
    };
    step.iter().map(byte).collect()
}

/// What a finding is known by from run to run: its code, its objects and the text of the line, but not the line's number.
#[derive(Default)]
struct Fingerprints(BTreeMap<String, usize>);

impl Fingerprints {
    fn of(&mut self, files: &Files, told: &Told, entry: &FindingEntry) -> String {
        let mut digest = Sha256::new();
        let mut part = |text: &str| {
            digest.update((text.len() as u64).to_be_bytes());
            digest.update(text);
        };
        part(&entry.code);
        for object in &entry.objects {
            part(&object.kind);
            part(object.namespace.as_deref().unwrap_or_default());
            part(&object.name);
        }
        part(entry.field.as_deref().unwrap_or_default());
        if let Some(spot) = &told.at {
            let file = files.get(spot.file);
            part(&uri(file.path.as_deref()));
            let (_, line) = file.line_of(spot.range.start);
            part(file.text.get(line).unwrap_or_default().trim());
        }
        let print: String = digest.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        // The same line twice is two findings.
        let seen = self.0.entry(print.clone()).or_insert(0);
        *seen += 1;
        format!("{print}:{seen}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_becomes_a_reference() {
        let of = |path: &str| uri(Some(Path::new(path)));
        assert_eq!(of("./a b/c#%.yaml"), "a%20b/c%23%25.yaml");
        assert_eq!(of("a/./b\u{1b}[31m.yaml"), "a/b%1B%5B31m.yaml");
        assert_eq!(of("../c:d/\u{e9}.yaml"), "../c%3Ad/%C3%A9.yaml");
        assert_eq!(of("/nowhere/x.yaml"), "file:///nowhere/x.yaml");
        let here = std::env::current_dir().unwrap().join("x.yaml");
        assert_eq!(uri(Some(&here)), "x.yaml");
        assert_eq!(uri(None), "stdin");
    }
}
