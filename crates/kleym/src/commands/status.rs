//! `kleym status`: one row a binding. From a cluster the row says what the operator reported, and where the engine comes
//! to another verdict, that is a finding; from files it says what the engine decides.

use std::io::{self, Write};
use std::ops::ControlFlow;

use jiff::Timestamp;
use kleym_api::decode;
use kleym_core::fact::{Binding, Fact, Target};
use kleym_core::index::Verdict;
use kleym_core::kind::Kind;
use kleym_core::name::{BindingKey, output_name};
use kleym_core::report::{Code, FieldPath, Finding, Severity, binding_key};
use kleym_core::settings::Settings;
use kleym_core::settings::given::Environment;
use kleym_core::status::{REASON_INITIALIZING, REASON_RECONCILED, Truth, conditions_of};
use serde_json::Value;

use crate::args::{self, Format, View};
use crate::console::Console;
use crate::declared::{Declared, Told};
use crate::exit::{Exit, Failure};
use crate::labels::Labels;
use crate::output::{self, Table, age, counted};
use crate::reports::{BindingRow, FindingEntry, SettingsInUse, StatusReport, StatusSummary};
use crate::source::cluster::{Collection, Resource, Seen};
use crate::survey::{Question, Survey};

pub(super) fn run(
    typed: &args::Status,
    console: &mut Console,
    environment: Environment<'_>,
) -> Result<Exit, Failure> {
    let args::Status { input, selector, watch, output: view, strictness, settings } = typed;
    let labels = Labels::parse(selector.as_deref())?;
    let question = Question { input, settings, beside: &[], overlay: false };
    let survey = Survey::of(question, environment)?;
    let declared = &survey.declared;

    let chosen = |key: &BindingKey| survey.covers(key) && labels.select(declared.labels(key));
    let rows: Vec<BindingRow> = declared
        .index
        .bindings()
        .filter(|binding| chosen(&binding.key))
        .map(|binding| row(declared, binding))
        .collect();
    let mut told = survey.told(chosen);
    told.extend(stale(declared, chosen).map(|finding| Told { finding, at: None, also: Vec::new() }));
    told.sort_by_key(|told| told.finding.severity());

    let namespaced = survey.scope.is_none();
    match view {
        None => table(&rows, namespaced, false).print(&mut console.out)?,
        Some(View::Wide) => table(&rows, namespaced, true).print(&mut console.out)?,
        Some(View::Name) => names(&mut console.out, &rows)?,
        Some(View::Json) => {
            output::report(&mut console.out, Format::Json, report(declared, rows.clone(), &told))?
        }
        Some(View::Yaml) => {
            output::report(&mut console.out, Format::Yaml, report(declared, rows.clone(), &told))?
        }
    }
    console.out.flush()?;

    if let Some(remark) = &survey.remark {
        console.remark(remark);
    }
    if console.verbose {
        output::what_was_read(console, declared);
    }
    console.remark(&in_words(&rows, &told));
    output::tell(console, &declared.files, &told);
    if *watch {
        follow(&survey, &labels, namespaced, console)?;
    }
    Ok(output::exit_of(&told, strictness.strict))
}

/// What a status says of a condition: status and reason.
fn condition<'a>(binding: &'a Value, kind: &str) -> Option<(&'a str, &'a str)> {
    let conditions = binding.pointer("/status/conditions")?.as_array()?;
    let found = conditions.iter().find(|one| one.get("type").and_then(Value::as_str) == Some(kind))?;
    Some((found.get("status")?.as_str()?, found.get("reason")?.as_str()?))
}

/// The row of a binding: what its status reports, when it is live; else what the engine decides.
fn row(declared: &Declared, binding: &Binding) -> BindingRow {
    match declared.live.get(&binding.key) {
        Some(live) => reported(binding, live),
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
    }
}

fn reported(binding: &Binding, live: &Value) -> BindingRow {
    let text = |pointer: &str| live.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    let mut row = declared_row(binding);
    if let Some((status, reason)) = condition(live, "Ready") {
        row.ready = status.to_owned();
        row.reason = Some(reason.to_owned());
    }
    row.spiffe_id = text("/status/computedSpiffeIDs/0/spiffeID");
    row.output = text("/status/renderedClusterSPIFFEID/name");
    row
}

fn decided(declared: &Declared, binding: &Binding) -> BindingRow {
    let mut row = declared_row(binding);
    let settings: &Settings = declared.index.settings();
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
        Verdict::Waiting(_) => row.reason = Some(REASON_INITIALIZING.to_owned()),
        Verdict::Gone | Verdict::Deleting => {}
    }
    row
}

/// Bindings whose status says something else than the engine. What the engine cannot know (whether an output could be
/// written) is not compared.
fn stale<'a>(
    declared: &'a Declared,
    chosen: impl Fn(&BindingKey) -> bool + 'a,
) -> impl Iterator<Item = Finding> + 'a {
    declared.live.iter().filter(move |(key, _)| chosen(key)).filter_map(move |(key, live)| {
        let decision = declared.index.verdict(key);
        if !decision.held.is_empty() {
            return None;
        }
        let wanted = match &decision.verdict {
            Verdict::Wanted(_) => REASON_RECONCILED,
            Verdict::Refused(refusal) => refusal.reason().as_str(),
            Verdict::Gone | Verdict::Deleting | Verdict::Waiting(_) => return None,
        };
        let object = binding_key(key);
        let finding = |message: String| {
            Finding::new(Code::StatusStale, message)
                .about(&object)
                .at(object.clone(), FieldPath::dotted("status.conditions"))
                .hint("when it stays so: see that kleym-operator runs, leads, and watches this namespace")
        };
        let generation = live.pointer("/metadata/generation").and_then(Value::as_i64);
        let observed = live.pointer("/status/observedGeneration").and_then(Value::as_i64);
        match condition(live, "Ready") {
            None => Some(finding(format!("`{key}` has no status yet; the engine says `{wanted}`"))),
            Some(_) if generation.is_some() && observed < generation => Some(finding(format!(
                "the status of `{key}` speaks of generation {}, but it has generation {}; the engine says `{wanted}`",
                observed.unwrap_or_default(),
                generation.unwrap_or_default()
            ))),
            Some((_, reason)) if reason == wanted || after_the_verdict(reason, &decision.verdict) => None,
            Some((_, reason)) => {
                Some(finding(format!("the status of `{key}` says `{reason}`, the engine says `{wanted}`")))
            }
        }
    })
}

/// Whether a reason only says how the writing of a wanted output goes.
fn after_the_verdict(reason: &str, verdict: &Verdict) -> bool {
    const WRITING: [&str; 4] = [
        REASON_INITIALIZING,
        "ClusterSPIFFEIDCRDMissing",
        "ManagedOutputConflict",
        "ManagedOutputApplyFailed",
    ];
    matches!(verdict, Verdict::Wanted(_)) && WRITING.contains(&reason)
}

fn table(rows: &[BindingRow], namespaced: bool, wide: bool) -> Table {
    let mut titles = vec!["NAME", "TARGET", "MODE", "READY", "REASON"];
    if namespaced {
        titles.insert(0, "NAMESPACE");
    }
    if wide {
        titles.extend(["SPIFFE-ID", "OUTPUT"]);
    }
    titles.push("AGE");
    let mut table = Table::new(&titles);
    let now = Timestamp::now().as_second();
    for row in rows {
        table.row(cells(row, namespaced, wide, now));
    }
    table
}

fn cells(row: &BindingRow, namespaced: bool, wide: bool, now: i64) -> Vec<String> {
    let BindingRow { namespace, name, target, mode, ready, reason, spiffe_id, output, created } = row;
    let said = |text: &Option<String>| text.clone().unwrap_or_default();
    let target = target
        .as_deref()
        .map(|target| target.replace("InferenceObjective/", "").replace("InferencePool/", "pool/"));
    let mut cells = vec![name.clone(), said(&target), said(mode), ready.clone(), said(reason)];
    if namespaced {
        cells.insert(0, namespace.clone());
    }
    if wide {
        cells.extend([said(spiffe_id), said(output)]);
    }
    cells.push(age(*created, now));
    cells
}

fn names(out: &mut dyn Write, rows: &[BindingRow]) -> io::Result<()> {
    for row in rows {
        writeln!(out, "inferenceidentitybinding.{}/{}", Kind::Binding.group(), row.name)?;
    }
    Ok(())
}

fn summary(rows: &[BindingRow]) -> StatusSummary {
    let count = |truth: Truth| rows.iter().filter(|row| row.ready == truth.as_str()).count();
    let (ready, refused) = (count(Truth::True), count(Truth::False));
    StatusSummary { bindings: rows.len(), ready, refused, undecided: rows.len() - ready - refused }
}

fn in_words(rows: &[BindingRow], told: &[Told]) -> String {
    let StatusSummary { bindings, ready, refused, undecided } = summary(rows);
    let mut parts = vec![
        counted(bindings, "binding", "bindings"),
        format!("{ready} ready"),
        format!("{refused} refused"),
    ];
    if undecided > 0 {
        parts.push(format!("{undecided} undecided"));
    }
    let count = |severity| told.iter().filter(|told| told.finding.severity() == severity).count();
    parts.push(counted(count(Severity::Error), "error", "errors"));
    parts.push(counted(count(Severity::Warning), "warning", "warnings"));
    parts.join(", ")
}

fn report(declared: &Declared, bindings: Vec<BindingRow>, told: &[Told]) -> StatusReport {
    StatusReport {
        summary: summary(&bindings),
        settings: SettingsInUse::from(declared.index.settings()),
        findings: FindingEntry::all(&declared.files, told),
        bindings,
    }
}

/// Goes on printing the rows of bindings that change, as kubectl does.
fn follow(survey: &Survey, labels: &Labels, namespaced: bool, console: &mut Console) -> Result<(), Failure> {
    let Some(cluster) = &survey.cluster else { return Ok(()) };
    let mut shown: std::collections::BTreeMap<BindingKey, BindingRow> = survey
        .declared
        .index
        .bindings()
        .map(|binding| (binding.key.clone(), row(&survey.declared, binding)))
        .collect();
    let collection = Collection::of(Resource::Kind(Kind::Binding), survey.scope.as_ref());
    let mut failed = None;
    let ended = cluster.watch(&collection, &mut |seen| {
        let (object, gone) = match seen {
            Seen::Put(object) => (object, false),
            Seen::Gone(object) => (object, true),
        };
        let Ok(Fact::Binding(binding)) = decode::fact(Kind::Binding, &object) else {
            return ControlFlow::Continue(());
        };
        if !labels.select(Some(&decode::Meta::of(&object).labels())) {
            return ControlFlow::Continue(());
        }
        let mut row = reported(&binding, &object);
        if gone {
            shown.remove(&binding.key);
            row.ready = "<deleted>".to_owned();
        } else if shown.insert(binding.key.clone(), row.clone()).as_ref() == Some(&row) {
            return ControlFlow::Continue(());
        }
        let line = cells(&row, namespaced, false, Timestamp::now().as_second());
        let line: Vec<String> = line
            .into_iter()
            .map(|cell| if cell.is_empty() { output::NONE.to_owned() } else { cell })
            .collect();
        let printed = writeln!(console.out, "{}", line.join("   ")).and_then(|()| console.out.flush());
        match printed {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                failed = Some(error);
                ControlFlow::Break(())
            }
        }
    });
    match (failed, ended) {
        (Some(error), _) => Err(error.into()),
        (None, ended) => ended.map_err(|limit| limit.failure(cluster.server())),
    }
}
