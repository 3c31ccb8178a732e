//! `kleym status`: one row a binding. From a cluster, and from files that hold statuses because they were made of one, the
//! row says what the operator reported, and where the engine comes to another verdict, that is a finding; of a binding in a
//! file without a status it says what the engine decides.

use std::io::{self, Write};
use std::ops::ControlFlow;

use jiff::Timestamp;
use kleym_api::decode;
use kleym_core::fact::Fact;
use kleym_core::kind::Kind;
use kleym_core::name::{BindingKey, Namespace};
use kleym_core::report::{self, Code, Finding, Severity};
use kleym_core::settings::given::Environment;
use kleym_core::status::Truth;
use kleym_core::text::quoted_list;

use crate::args::{self, Format, View};
use crate::console::Console;
use crate::declared::{Declared, Told};
use crate::exit::{Exit, Failure};
use crate::labels::Labels;
use crate::manager::KnownManager;
use crate::output::{self, Table, age, counted};
use crate::reports::{BindingRow, FindingEntry, SettingsInUse, StatusReport, StatusSummary};
use crate::rows::{reported, row};
use crate::sight::Sight;
use crate::source::cluster::{Collection, Resource, Seen};
use crate::survey::{Question, Survey};

pub(super) fn run(
    typed: &args::Status,
    console: &mut Console,
    environment: Environment<'_>,
) -> Result<Exit, Failure> {
    let args::Status { input, selector, watch, output: view, strictness, settings } = typed;
    let labels = Labels::of(selector)?;
    let question = Question { input, settings, beside: &[Resource::Deployments], id: None };
    let survey = Survey::of(question, environment)?;
    let declared = &survey.declared;

    let chosen = |key: &BindingKey| survey.covers(key) && labels.select(declared.labels(key));
    let rows: Vec<BindingRow> = declared
        .index
        .bindings()
        .filter(|binding| chosen(&binding.key))
        .map(|binding| row(declared, binding))
        .collect();
    // Of a cluster nothing is read but declarations and what bindings report: `check` and `inspect` look at the rest.
    let live = survey.cluster.is_some();
    let known = if live {
        KnownManager::default()
    } else {
        KnownManager::in_files(&args::Manager::default(), declared)
    };
    let sight = Sight::of(declared, live, known);
    let mut found = report::everything(&sight.scene(declared, survey.scope.as_ref()));
    found.retain(|finding| finding.about_binding().is_none_or(|key| chosen(&key)));
    let told = declared.told(together(found, declared), chosen);

    let namespaced = survey.scope.is_none();
    // What `--watch` adds stands below the same titles.
    let mut widths = Vec::new();
    match view {
        None => table(&rows, namespaced, false).print_below(&mut console.out, &mut widths)?,
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
        output::what_was_surveyed(console, &survey);
    }
    console.remark(&in_words(&rows, &told, survey.scope.as_ref()));
    output::tell(console, &declared.files, &told);
    if *watch {
        follow(&survey, &labels, namespaced, widths, console)?;
    }
    Ok(output::exit_of(&told, strictness.strict))
}

/// Where many bindings have no status yet, no operator works there: that is one thing to say, and not one a binding.
fn together(found: Vec<Finding>, declared: &Declared) -> Vec<Finding> {
    let silent = |finding: &Finding| {
        let about = finding.about_binding().filter(|_| finding.code == Code::StatusStale);
        about.is_some_and(|key| declared.status(&key).and_then(crate::sight::reported).is_none())
    };
    if found.iter().filter(|finding| silent(finding)).count() < 2 {
        return found;
    }
    let (of_all, mut rest): (Vec<Finding>, Vec<Finding>) = found.into_iter().partition(silent);
    let keys: Vec<String> =
        of_all.iter().filter_map(Finding::about_binding).map(|key| key.to_string()).collect();
    let message = format!(
        "{} bindings have no status yet: {}",
        keys.len(),
        quoted_list(keys.iter().map(String::as_str))
    );
    let mut all = Finding::new(Code::StatusStale, message).hint(
        "see that kleym-operator is installed, runs, leads, and watches these namespaces (`kleym check`)",
    );
    all.place = of_all.first().and_then(|first| first.place.clone());
    all.references = of_all.into_iter().flat_map(|finding| finding.references).collect();
    rest.push(all);
    rest
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
    let BindingRow {
        namespace,
        name,
        target,
        mode,
        ready,
        reason,
        spiffe_id,
        output,
        created,
        creation_timestamp: _,
    } = row;
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

fn in_words(rows: &[BindingRow], told: &[Told], scope: Option<&Namespace>) -> String {
    let StatusSummary { bindings, ready, refused, undecided } = summary(rows);
    // Nothing of a row says where it was looked, when there is none.
    let place = scope.filter(|_| rows.is_empty()).map(|scope| format!(" in namespace `{scope}`"));
    let mut parts = vec![
        counted(bindings, "binding", "bindings") + &place.unwrap_or_default(),
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
        settings: SettingsInUse::of(&declared.index),
        findings: FindingEntry::all(&declared.files, told),
        bindings,
    }
}

/// Goes on printing the rows of bindings that change, as kubectl does.
fn follow(
    survey: &Survey,
    labels: &Labels,
    namespaced: bool,
    mut widths: Vec<usize>,
    console: &mut Console,
) -> Result<(), Failure> {
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
        let mut line = Table::bare();
        line.row(cells(&row, namespaced, false, Timestamp::now().as_second()));
        let printed = line.print_below(&mut console.out, &mut widths).and_then(|()| console.out.flush());
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
