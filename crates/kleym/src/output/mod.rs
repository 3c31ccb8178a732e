//! How answers look: objects, tables and reports on stdout, findings for people on stderr. Decides nothing.

mod findings;
pub(crate) mod lint;
mod looked;
mod objects;
mod report;
mod table;

use kleym_core::report::Severity;

pub(crate) use self::findings::{findings, tell, write};
pub(crate) use self::looked::{what_was_asked, what_was_looked_at};
pub(crate) use self::objects::objects;
pub(crate) use self::report::report;
pub(crate) use self::table::{NONE, Table, age, harmless};
use crate::console::Console;
use crate::declared::{Declared, Told};
use crate::exit::Exit;
use crate::survey::Survey;

/// The numbers of an answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Summary {
    bindings: usize,
    identities: usize,
    errors: usize,
    warnings: usize,
    infos: usize,
}

impl Summary {
    /// Counts.
    pub(crate) fn of(bindings: usize, identities: usize, told: &[Told]) -> Self {
        let count = |severity| told.iter().filter(|told| told.finding.severity() == severity).count();
        Self {
            bindings,
            identities,
            errors: count(Severity::Error),
            warnings: count(Severity::Warning),
            infos: count(Severity::Info),
        }
    }

    /// In one line.
    pub(crate) fn line(&self) -> String {
        let mut parts = vec![
            counted(self.bindings, "binding", "bindings"),
            counted(self.identities, "identity", "identities"),
            counted(self.errors, "error", "errors"),
            counted(self.warnings, "warning", "warnings"),
        ];
        if self.infos > 0 {
            parts.push(counted(self.infos, "info", "infos"));
        }
        parts.join(", ")
    }
}

/// The exit code that findings ask for.
pub(crate) fn exit_of(told: &[Told], strict: bool) -> Exit {
    let is = |severity| told.iter().any(|told| told.finding.severity() == severity);
    if is(Severity::Error) || strict && is(Severity::Warning) { Exit::Findings } else { Exit::Fine }
}

/// `1 binding`, `2 bindings`
pub(crate) fn counted(number: usize, one: &str, several: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { several })
}

/// What was read, and what of it was ignored.
pub(crate) fn what_was_read(console: &mut Console, declared: &Declared) {
    what_was_read_beside(console, declared, |_| false);
}

/// What was read of files, or asked of a cluster.
pub(crate) fn what_was_surveyed(console: &mut Console, survey: &Survey) {
    match &survey.cluster {
        Some(cluster) => what_was_asked(console, cluster),
        None => what_was_read(console, &survey.declared),
    }
}

/// The same, by a command that looks at some of what the engine ignores.
fn what_was_read_beside(console: &mut Console, declared: &Declared, looked_at: impl Fn(&str) -> bool) {
    let files = counted(declared.files.len(), "file", "files");
    let documents = counted(declared.documents, "document", "documents");
    console.remark(&format!("read {documents} in {files}"));
    let said = |(what, number): (&Option<String>, &usize)| match what {
        Some(kind) => {
            (!looked_at(kind)).then(|| format!("{} of kind {kind}", counted(*number, "object", "objects")))
        }
        None => Some(counted(
            *number,
            "document that is no Kubernetes object",
            "documents that are no Kubernetes objects",
        )),
    };
    let ignored: Vec<String> = declared.ignored.iter().filter_map(said).collect();
    if !ignored.is_empty() {
        console.remark(&format!("ignored {}", ignored.join(", ")));
    }
}
