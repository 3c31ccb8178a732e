//! `kleym lint`: what is wrong with the bindings in files, in a format for people or for tools.

use std::io::Write;

use kleym_core::fact::Binding;
use kleym_core::index::Verdict;
use kleym_core::name::BindingKey;
use kleym_core::report::{self, Severity};
use kleym_core::settings::given::Environment;

use crate::args::{self, Format, LintFormat};
use crate::console::Console;
use crate::declared::{Declared, Told};
use crate::exit::{Exit, Failure};
use crate::labels::Labels;
use crate::manager::KnownManager;
use crate::output::{self, Summary, lint};
use crate::reports::{FindingEntry, LintReport, LintSummary, SettingsInUse};
use crate::sight::Sight;
use crate::survey::Survey;

pub(super) fn run(
    typed: &args::Lint,
    console: &mut Console,
    environment: Environment<'_>,
) -> Result<Exit, Failure> {
    let args::Lint { source, selector, settings: flags, manager, strictness, output: format } = typed;
    let labels = Labels::of(selector)?;
    let survey = Survey::of_source(source, flags, environment)?;
    let declared = &survey.declared;
    let chosen = |key: &BindingKey| labels.select(declared.labels(key));
    let sight = Sight::of(declared, false, KnownManager::in_files(manager, declared));
    let told = declared.told(report::everything(&sight.scene(declared, None)), chosen);
    let files = &declared.files;
    let entries = || FindingEntry::all(files, &told);
    let summary = summary(declared, chosen, &told);
    let line = Summary::of(summary.bindings, summary.identities, &told).line();
    if let Some(remark) = &survey.remark {
        console.remark(remark);
    }
    if console.verbose {
        output::what_was_read(console, declared);
    }
    // As `render` does: first the numbers, then what they are of. Both go to one terminal, so they go in that order.
    console.remark(&line);
    drop(console.err.flush());
    let report = |findings| LintReport { summary, settings: SettingsInUse::of(&declared.index), findings };
    match format {
        LintFormat::Text => output::write(&mut console.out, console.color_out, files, &told)?,
        LintFormat::Json => output::report(&mut console.out, Format::Json, report(entries()))?,
        LintFormat::Yaml => output::report(&mut console.out, Format::Yaml, report(entries()))?,
        LintFormat::Markdown => lint::markdown(&mut console.out, &line, &entries())?,
        LintFormat::Github => lint::github(&mut console.out, &entries())?,
        LintFormat::Sarif => lint::sarif(&mut console.out, files, &told)?,
        LintFormat::Junit => {
            let keys = declared.index.bindings().map(|binding| &binding.key).filter(|key| chosen(key));
            let names: Vec<_> = keys.map(|key| (key.namespace.to_string(), key.name.to_string())).collect();
            lint::junit(&mut console.out, &names, &entries(), strictness.strict)?;
        }
    }
    console.out.flush()?;
    Ok(output::exit_of(&told, strictness.strict))
}

fn summary(declared: &Declared, chosen: impl Fn(&BindingKey) -> bool, told: &[Told]) -> LintSummary {
    let count = |severity| told.iter().filter(|told| told.finding.severity() == severity).count();
    let bindings = || declared.index.bindings().filter(|binding| chosen(&binding.key));
    let wanted =
        |binding: &&Binding| matches!(declared.index.verdict(&binding.key).verdict, Verdict::Wanted(_));
    LintSummary {
        bindings: bindings().count(),
        identities: bindings().filter(wanted).count(),
        errors: count(Severity::Error),
        warnings: count(Severity::Warning),
        infos: count(Severity::Info),
    }
}
