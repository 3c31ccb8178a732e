//! What `kleym render` makes of the files alone, without a cluster.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use kube::api::DynamicObject;
use serde_json::Value;

use crate::operator::{SETTINGS, program, without_settings};

/// What the command line answered.
pub(crate) struct Rendered {
    /// The command as a person would type it.
    pub(crate) command: String,
    /// The outputs, as it wrote them on standard output.
    pub(crate) outputs: Vec<DynamicObject>,
    /// What it said on standard error.
    pub(crate) findings: String,
}

/// Renders a folder of the checkout with the operator's settings.
pub(crate) fn render(root: &Path, folder: &str) -> Result<Rendered> {
    let mut command = Command::new(program("kleym")?);
    let arguments = ["render", "-f", folder];
    without_settings(&mut command).args(arguments).args(SETTINGS).current_dir(root);
    let output = command.output().context("cannot run `kleym`")?;
    let findings = String::from_utf8_lossy(&output.stderr).trim_end().to_owned();
    let shown = format!("kleym {} {}", arguments.join(" "), SETTINGS.join(" "));
    ensure!(output.status.success(), "`{shown}` ended with {}:\n{findings}", output.status);
    let text = String::from_utf8(output.stdout).with_context(|| format!("`{shown}` wrote no UTF-8"))?;
    let documents = serde_saphyr::from_multiple::<Value>(&text);
    let outputs = documents
        .with_context(|| format!("`{shown}` wrote no YAML"))?
        .into_iter()
        .filter(|document| !document.is_null())
        .map(|document| serde_json::from_value(document).context("not a Kubernetes object"))
        .collect::<Result<_>>()?;
    Ok(Rendered { command: shown, outputs, findings })
}
