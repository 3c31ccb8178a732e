//! `kleym lint`: what is wrong with the bindings in files, in a format for people or for tools.

use std::io::Write;

use kleym_core::index::Verdict;
use kleym_core::report::Severity;
use kleym_core::settings::given::Environment;

use crate::args::{self, Format, LintFormat};
use crate::console::Console;
use crate::declared::{Declared, Told};
use crate::exit::{Exit, Failure};
use crate::output::{self, Summary, lint};
use crate::reports::{FindingEntry, LintReport, LintSummary, SettingsInUse};
use crate::settings::settings;
use crate::source::Files;
use crate::survey::namespace;

pub(super) fn run(
    typed: &args::Lint,
    console: &mut Console,
    environment: Environment<'_>,
) -> Result<Exit, Failure> {
    let args::Lint { source, settings: flags, strictness, output: format } = typed;
    let settings = settings(flags, environment)?;
    let home = namespace(&source.namespace)?;
    let files = Files::read(&source.filename, source.recursive)?;
    let declared = Declared::read(files, &home, settings);
    let told = declared.told();
    let files = &declared.files;
    let entries = || FindingEntry::all(files, &told);
    let summary = summary(&declared, &told);
    let report =
        |findings| LintReport { summary, settings: SettingsInUse::from(declared.index.settings()), findings };
    match format {
        LintFormat::Text => output::write(&mut console.out, console.color_out, files, &told)?,
        LintFormat::Json => output::report(&mut console.out, Format::Json, report(entries()))?,
        LintFormat::Yaml => output::report(&mut console.out, Format::Yaml, report(entries()))?,
        LintFormat::Markdown => lint::markdown(&mut console.out, &summary, &entries())?,
        LintFormat::Github => lint::github(&mut console.out, &entries())?,
        LintFormat::Sarif => lint::sarif(&mut console.out, files, &told)?,
        LintFormat::Junit => {
            let keys = declared.index.bindings().map(|binding| &binding.key);
            let names: Vec<_> = keys.map(|key| (key.namespace.to_string(), key.name.to_string())).collect();
            lint::junit(&mut console.out, &names, &entries(), strictness.strict)?;
        }
    }
    console.out.flush()?;
    if console.verbose {
        output::what_was_read(console, &declared);
    }
    console.remark(&Summary::of(summary.bindings, summary.identities, &told).line());
    Ok(output::exit_of(&told, strictness.strict))
}

fn summary(declared: &Declared, told: &[Told]) -> LintSummary {
    let count = |severity| told.iter().filter(|told| told.finding.severity() == severity).count();
    let index = &declared.index;
    let wanted = |verdict: &Verdict| matches!(verdict, Verdict::Wanted(_));
    LintSummary {
        bindings: index.bindings().count(),
        identities: index.bindings().filter(|binding| wanted(&index.verdict(&binding.key).verdict)).count(),
        errors: count(Severity::Error),
        warnings: count(Severity::Warning),
        infos: count(Severity::Info),
    }
}
