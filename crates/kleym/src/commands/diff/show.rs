//! A difference for people, and as Markdown.

use std::io::{self, Write};

use crate::output::{NONE, Table, counted, lint};
use crate::reports::{
    BindingChange, ChangeName, DiffReport, DiffSummary, FindingEntry, IdentitySide, SettingChange,
    VerdictName, WorkloadChange,
};

/// Prints the bindings, and then the containers.
pub(super) fn text(out: &mut dyn Write, report: &DiffReport) -> io::Result<()> {
    let mut table = Table::bare();
    for change in &report.setting_changes {
        let SettingChange { of, setting, before, after } = change;
        let name = format!("~ setting {of}");
        table.row([name, format!("{setting} {}", said(after)), format!("was {}", said(before))]);
    }
    for change in &report.bindings {
        let name = format!("{} binding {}/{}", mark(change.change), change.namespace, change.name);
        table.row([name, becomes(change), details(change)]);
    }
    table.print(out)?;
    let workloads = report.workloads.as_deref().unwrap_or_default();
    if workloads.is_empty() {
        return Ok(());
    }
    let one_namespace = workloads.iter().all(|one| one.namespace == workloads[0].namespace);
    let mut titles = vec!["POD", "CONTAINER", "GAINS", "LOSES"];
    if !one_namespace {
        titles.insert(0, "NAMESPACE");
    }
    let mut table = Table::new(&titles);
    for WorkloadChange { namespace, pod, container, gains, loses, certain } in workloads {
        let doubt = if *certain { "" } else { " (?)" };
        let said = |ids: &[String]| match ids {
            [] => "-".to_owned(),
            ids => format!("{}{doubt}", ids.join(",")),
        };
        let mut cells = vec![pod.clone(), container.clone(), said(gains), said(loses)];
        if !one_namespace {
            cells.insert(0, namespace.clone());
        }
        table.row(cells);
    }
    table.print(out)
}

/// Prints tables.
pub(super) fn markdown(
    out: &mut dyn Write,
    report: &DiffReport,
    unread: &[FindingEntry],
    undecided: usize,
) -> io::Result<()> {
    writeln!(out, "**kleym diff**: {}", in_words(&report.summary))?;
    if let Some(doubt) = doubt(undecided) {
        writeln!(out, "\n{doubt}")?;
    }
    if !report.setting_changes.is_empty() {
        writeln!(out, "\n| Of | Setting | Before | After |\n| --- | --- | --- | --- |")?;
        for SettingChange { of, setting, before, after } in &report.setting_changes {
            let (before, after) = (lint::cell(said(before)), lint::cell(said(after)));
            writeln!(out, "| {of} | {setting} | {before} | {after} |")?;
        }
    }
    if !report.bindings.is_empty() {
        writeln!(out, "\n| | Binding | Identity | Details |\n| --- | --- | --- | --- |")?;
        for change in &report.bindings {
            writeln!(
                out,
                "| {} | `{}/{}` | {} | {} |",
                mark(change.change),
                change.namespace,
                change.name,
                lint::cell(&becomes(change)),
                lint::cell(&details(change))
            )?;
        }
    }
    let workloads = report.workloads.as_deref().unwrap_or_default();
    if !workloads.is_empty() {
        writeln!(out, "\n| Pod | Container | Gains | Loses |\n| --- | --- | --- | --- |")?;
        for WorkloadChange { namespace, pod, container, gains, loses, certain } in workloads {
            let doubt = if *certain { "" } else { " (?)" };
            let gains = lint::cell(&gains.join(", "));
            let loses = lint::cell(&loses.join(", "));
            writeln!(out, "| {namespace}/{pod} | {container}{doubt} | {gains} | {loses} |")?;
        }
    }
    let findings: Vec<FindingEntry> = report.findings.introduced.iter().chain(unread).cloned().collect();
    if !findings.is_empty() {
        writeln!(out)?;
        lint::findings_table(out, &findings)?;
    }
    Ok(())
}

/// What the numbers leave out when there are bindings that are not decided on either side.
pub(super) fn doubt(undecided: usize) -> Option<String> {
    let bindings = match undecided {
        0 => return None,
        1 => "1 binding is not decided, with the change or without it".to_owned(),
        number => format!("{number} bindings are not decided, with the change or without it"),
    };
    Some(format!("{bindings}: who would gain or lose their identities is not known"))
}

fn said(value: &Option<String>) -> &str {
    value.as_deref().unwrap_or(NONE)
}

fn mark(change: ChangeName) -> &'static str {
    match change {
        ChangeName::Appears => "+",
        ChangeName::Changes => "~",
        ChangeName::Goes => "-",
    }
}

fn side(side: &IdentitySide) -> String {
    match (side.verdict, &side.spiffe_id, &side.reason) {
        (_, Some(id), _) => id.clone(),
        (VerdictName::Refused, _, Some(reason)) => format!("refused: {reason}"),
        (VerdictName::Deleting, ..) => "being deleted".to_owned(),
        _ => "undecided".to_owned(),
    }
}

/// How the binding stands in the end.
fn becomes(change: &BindingChange) -> String {
    let end = change.after.as_ref().or(change.before.as_ref());
    end.map(side).unwrap_or_default()
}

fn details(change: &BindingChange) -> String {
    let (Some(before), Some(after)) = (&change.before, &change.after) else { return "-".to_owned() };
    if before == after && before.verdict == VerdictName::Undecided {
        return "its identity is not known".to_owned();
    }
    let mut parts = Vec::new();
    if before != after {
        parts.push(format!("was {}", side(before)));
    }
    if before.spiffe_id.is_some() && after.spiffe_id.is_some() {
        let count = |sign: char, items: &[String]| match items.len() {
            0 => None,
            number => Some(format!("{sign}{number}")),
        };
        let selectors: Vec<String> =
            [count('+', &change.selectors_added), count('-', &change.selectors_removed)]
                .into_iter()
                .flatten()
                .collect();
        if !selectors.is_empty() {
            parts.push(format!("selectors {}", selectors.join(" ")));
        }
    }
    if parts.is_empty() { "same identity".to_owned() } else { parts.join(", ") }
}

/// The numbers in one line.
pub(super) fn in_words(summary: &DiffSummary) -> String {
    let DiffSummary { appear, change, go, pods_gain, pods_lose, introduced, mended, unchanged } = summary;
    format!(
        "bindings: {appear} new, {change} changed, {go} gone; {}, {pods_lose} lose; findings: {introduced} introduced, {mended} mended, {unchanged} unchanged",
        counted(*pods_gain, "pod gains", "pods gain")
    )
}
