//! YAML text of generated files.

use serde::Serialize;

/// One document with comment lines before it. Keys come in the order in which the value serialises.
pub(crate) fn document(header: &[&str], value: &impl Serialize) -> anyhow::Result<String> {
    let mut text: String = header.iter().map(|line| format!("# {line}\n")).collect();
    text.push_str("---\n");
    text.push_str(serde_saphyr::to_string(value)?.trim_end());
    text.push('\n');
    Ok(text)
}
