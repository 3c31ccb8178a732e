//! `kleym diff`: what files would change, laid over a cluster or against other files.

mod impact;
mod show;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

use kleym_core::index::Verdict;
use kleym_core::name::{BindingKey, output_name};
use kleym_core::report::{self, Code, Reference, Severity};
use kleym_core::settings::given::Environment;

use crate::args::{self, DiffFormat, Format};
use crate::console::Console;
use crate::declared::{Declared, Told};
use crate::exit::{Exit, Failure};
use crate::output;
use crate::reports::{
    BindingChange, ChangeName, DiffReport, DiffSummary, FindingChanges, FindingEntry, IdentitySide,
    SettingsInUse, VerdictName,
};
use crate::sides::{Side, Sides};
use crate::sight::Sight;
use crate::source::{Files, is_stdin_named};
use crate::survey::{Question, namespace};

pub(super) fn run(
    typed: &args::Diff,
    console: &mut Console,
    environment: Environment<'_>,
) -> Result<Exit, Failure> {
    let sides = both_sides(typed, environment)?;
    let settings = sides.settings();
    let foreseen = impact::foreseen(&sides);
    let workloads = impact::of(&foreseen);
    let Sides {
        before: Side { declared: before, .. },
        after: Side { declared: after, .. },
        scope,
        remark,
        cluster,
    } = &sides;
    let covered = |key: &BindingKey| scope.is_empty() || scope.contains(&key.namespace);
    let bindings = changes(before, after, covered);
    // What there is to say when both have been carried out: how outputs stand until then is no business of the change.
    let all =
        |side: &Declared, sight: &Sight| side.told(report::everything(&sight.scene(side, None)), covered);
    let [was, is] = &foreseen;
    let (introduced, mended, unchanged) = sorted(all(before, was), all(after, is));
    let entries = |side: &Declared, told: &[Told]| FindingEntry::all(&side.files, told);
    // It was so before, and yet nobody is to take silence on what could not be read for `nothing changes`.
    let unread: Vec<Told> = unchanged.iter().filter(|told| is_unread(told)).cloned().collect();
    let undecided = unchanged.iter().filter(|told| told.finding.code == Code::Undecided).count();
    let mut summary = DiffSummary {
        introduced: introduced.len(),
        mended: mended.len(),
        unchanged: unchanged.len(),
        ..impact::summary(workloads.as_deref().unwrap_or_default())
    };
    for change in &bindings {
        *match change.change {
            ChangeName::Appears => &mut summary.appear,
            ChangeName::Changes => &mut summary.change,
            ChangeName::Goes => &mut summary.go,
        } += 1;
    }
    let report = DiffReport {
        summary,
        settings: SettingsInUse::of(&after.index),
        setting_changes: settings,
        findings: FindingChanges {
            introduced: entries(after, &introduced),
            mended: entries(before, &mended),
            unchanged: entries(after, &unchanged),
        },
        bindings,
        workloads,
    };
    let differs = !report.bindings.is_empty()
        || !report.setting_changes.is_empty()
        || report.workloads.as_ref().is_some_and(|workloads| !workloads.is_empty())
        || summary.introduced + summary.mended > 0;
    let fatal = introduced.iter().any(|told| told.finding.severity() == Severity::Error);

    match typed.output {
        DiffFormat::Text => show::text(&mut console.out, &report)?,
        DiffFormat::Markdown => {
            show::markdown(&mut console.out, &report, &entries(after, &unread), undecided)?;
        }
        DiffFormat::Json => output::report(&mut console.out, Format::Json, report)?,
        DiffFormat::Yaml => output::report(&mut console.out, Format::Yaml, report)?,
    }
    console.out.flush()?;
    if let Some(remark) = remark {
        console.remark(remark);
    }
    if console.verbose {
        output::what_was_read(console, after);
        if let Some(cluster) = cluster {
            output::what_was_asked(console, cluster);
        }
    }
    console.remark(&show::in_words(&summary));
    if let Some(doubt) = show::doubt(undecided) {
        console.remark(&doubt);
    }
    output::tell(console, &after.files, &introduced);
    output::tell(console, &after.files, &unread);
    Ok(match (fatal, differs) {
        (true, _) => Exit::Findings,
        (false, true) => Exit::Differs,
        (false, false) => Exit::Fine,
    })
}

fn both_sides(typed: &args::Diff, environment: Environment<'_>) -> Result<Sides, Failure> {
    let args::Diff { filename, from, recursive, scope, output: _, connection, settings } = typed;
    if is_stdin_named(filename) && is_stdin_named(from) {
        return Err(Failure::Unusable {
            problems: vec!["standard input can be read once, but -f and --from both name it".to_owned()],
            hint: Some("write one of the two into a file".to_owned()),
        });
    }
    if from.is_empty() {
        let input = args::Input {
            filename: filename.clone(),
            recursive: *recursive,
            scope: args::Scope { namespace: scope.namespace.clone(), all_namespaces: scope.all_namespaces },
            connection: connection.clone(),
        };
        let question = Question { input: &input, settings, beside: impact::NEEDS, id: None };
        return Sides::over_cluster(question, environment);
    }
    let home = namespace(scope.namespace.as_deref().unwrap_or("default"))?;
    let files = [Files::read(from, *recursive)?, Files::read(filename, *recursive)?];
    Sides::of_files(files, &home, settings, environment)
}

/// What a finding is known by: what it says, not where it stands. A conflict is known by who is in it: with another pool
/// label both select something else, and nobody is refused who was not before.
fn known_by(told: &Told) -> (Code, String) {
    let finding = &told.finding;
    let what = match finding.code {
        Code::IdentityCollision | Code::DuplicateSpiffeId => {
            let named = |one: &Reference| format!("{} {:?} {}", one.kind, one.namespace, one.name);
            finding.references.iter().map(named).collect::<Vec<_>>().join(", ")
        }
        _ => finding.message.clone(),
    };
    (finding.code, what)
}

/// Whether a finding says that something could not be read, so that not all is known that would change.
fn is_unread(told: &Told) -> bool {
    matches!(told.finding.code, Code::LimitedByRbac | Code::Unreadable)
}

/// Which findings are new, which are gone, and which stay.
fn sorted(before: Vec<Told>, after: Vec<Told>) -> (Vec<Told>, Vec<Told>, Vec<Told>) {
    let key = known_by;
    let mut gone: BTreeMap<_, Vec<Told>> = BTreeMap::new();
    for told in before {
        gone.entry(key(&told)).or_default().push(told);
    }
    let (mut introduced, mut unchanged) = (Vec::new(), Vec::new());
    for told in after {
        match gone.get_mut(&key(&told)).and_then(Vec::pop) {
            Some(_) => unchanged.push(told),
            None => introduced.push(told),
        }
    }
    let mut mended: Vec<Told> = gone.into_values().flatten().collect();
    mended.sort_by_key(|told| told.finding.severity());
    (introduced, mended, unchanged)
}

/// The bindings that appear, change or go.
fn changes(before: &Declared, after: &Declared, covered: impl Fn(&BindingKey) -> bool) -> Vec<BindingChange> {
    let keys: BTreeSet<&BindingKey> =
        before.index.bindings().chain(after.index.bindings()).map(|binding| &binding.key).collect();
    keys.into_iter().filter(|key| covered(key)).filter_map(|key| change(before, after, key)).collect()
}

fn change(before: &Declared, after: &Declared, key: &BindingKey) -> Option<BindingChange> {
    let was = before.index.binding(key);
    let is = after.index.binding(key);
    let (old, new) = (side(before, key), side(after, key));
    let (old_set, new_set) = (selectors(before, key), selectors(after, key));
    let change = match (was, is) {
        (None, None) => return None,
        (None, Some(_)) => ChangeName::Appears,
        (Some(_), None) => ChangeName::Goes,
        (Some(was), Some(is)) => {
            if was.spec == is.spec && old == new && old_set == new_set {
                return None;
            }
            ChangeName::Changes
        }
    };
    let less = |a: &BTreeSet<String>, b: &BTreeSet<String>| a.difference(b).cloned().collect();
    Some(BindingChange {
        change,
        namespace: key.namespace.to_string(),
        name: key.name.to_string(),
        before: was.and(old),
        after: is.and(new),
        selectors_added: less(&new_set, &old_set),
        selectors_removed: less(&old_set, &new_set),
    })
}

fn side(declared: &Declared, key: &BindingKey) -> Option<IdentitySide> {
    let (verdict, reason, spiffe_id) = match declared.index.verdict(key).verdict {
        Verdict::Gone => return None,
        Verdict::Deleting => (VerdictName::Deleting, None, None),
        Verdict::Waiting(_) => (VerdictName::Undecided, None, None),
        Verdict::Refused(refusal) => (VerdictName::Refused, Some(refusal.reason().as_str().to_owned()), None),
        Verdict::Wanted(identity) => (VerdictName::Wanted, None, Some(identity.spiffe_id.to_string())),
    };
    let instance = declared.index.settings_in(&key.namespace).instance.as_str();
    let output = spiffe_id.is_some().then(|| output_name(instance, key).to_string());
    Some(IdentitySide { verdict, reason, spiffe_id, output })
}

/// The selectors of the identity that a binding is to have.
fn selectors(declared: &Declared, key: &BindingKey) -> BTreeSet<String> {
    match declared.index.verdict(key).verdict {
        Verdict::Wanted(identity) => identity.selectors.texts().map(str::to_owned).collect(),
        Verdict::Gone | Verdict::Deleting | Verdict::Waiting(_) | Verdict::Refused(_) => BTreeSet::new(),
    }
}
