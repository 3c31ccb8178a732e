//! How one binding stands, in short: what its status reports, when it is live or stands in a file that was made of a
//! cluster; else what the engine decides.

use jiff::Timestamp;
use kleym_core::fact::{Binding, Target};
use kleym_core::index::Verdict;
use kleym_core::name::output_name;
use kleym_core::status::{REASON_INITIALIZING, Truth, conditions_of};
use serde_json::Value;

use crate::declared::Declared;
use crate::reports::BindingRow;

/// What a status says of a condition: status and reason.
pub(crate) fn condition<'a>(status: &'a Value, kind: &str) -> Option<(&'a str, &'a str)> {
    let conditions = status.get("conditions")?.as_array()?;
    let found = conditions.iter().find(|one| one.get("type").and_then(Value::as_str) == Some(kind))?;
    Some((found.get("status")?.as_str()?, found.get("reason")?.as_str()?))
}

/// The row of a binding: what its status reports, when it is live or a file holds its status; else what the engine decides.
/// Where the two differ, that is a finding.
pub(crate) fn row(declared: &Declared, binding: &Binding) -> BindingRow {
    let key = &binding.key;
    // What is being deleted waits for that, whatever was said of it before.
    let dumped = || declared.as_written(key).filter(|_| declared.status(key).is_some() && !binding.deleting);
    match declared.live.get(key).or_else(dumped) {
        Some(written) => reported(binding, written),
        None => decided(declared, binding),
    }
}

fn declared_row(binding: &Binding) -> BindingRow {
    let spec = binding.spec.as_ref().ok();
    let target = spec.map(|spec| match &spec.target {
        Target::Objective { name, .. } => format!("InferenceObjective/{name}"),
        Target::Pool { name, .. } => format!("InferencePool/{name}"),
    });
    BindingRow {
        namespace: binding.key.namespace.to_string(),
        name: binding.key.name.to_string(),
        target,
        mode: spec.map(|spec| spec.mode.as_str().to_owned()),
        ready: Truth::Unknown.as_str().to_owned(),
        reason: None,
        spiffe_id: None,
        output: None,
        created: binding.created,
        // One that no calendar has was not read either.
        creation_timestamp: binding
            .created
            .and_then(|at| Timestamp::from_second(at).ok())
            .map(|at| at.to_string()),
    }
}

/// The row of a binding that has a status, or should have.
pub(crate) fn reported(binding: &Binding, live: &Value) -> BindingRow {
    let text = |pointer: &str| live.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    let mut row = declared_row(binding);
    let said = live.get("status").unwrap_or(&Value::Null);
    if let Some((status, reason)) = condition(said, "Ready") {
        row.ready = status.to_owned();
        row.reason = Some(reason.to_owned());
    }
    row.spiffe_id = text("/status/computedSpiffeIDs/0/spiffeID");
    row.output = text("/status/renderedClusterSPIFFEID/name");
    row
}

fn decided(declared: &Declared, binding: &Binding) -> BindingRow {
    let mut row = declared_row(binding);
    let settings = declared.index.settings_in(&binding.key.namespace);
    let ready = |row: &mut BindingRow, refusal: Option<&_>| {
        if let Some(condition) = conditions_of(refusal).first() {
            row.ready = condition.status.as_str().to_owned();
            row.reason = Some(condition.reason.to_owned());
        }
    };
    match declared.index.verdict(&binding.key).verdict {
        Verdict::Wanted(identity) => {
            ready(&mut row, None);
            row.spiffe_id = Some(identity.spiffe_id.to_string());
            row.output = Some(output_name(settings.instance.as_str(), &binding.key).to_string());
        }
        Verdict::Refused(refusal) => ready(&mut row, Some(&refusal)),
        // Deleting, it waits for its output to be gone (contract, section 8).
        Verdict::Waiting(_) | Verdict::Deleting => row.reason = Some(REASON_INITIALIZING.to_owned()),
        Verdict::Gone => {}
    }
    row
}
