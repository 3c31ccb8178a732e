//! An answer for people.

use std::io::{self, Write};

use kleym_core::explain::{Chain, Claim, Explanation, Given, Left, Mark};
use kleym_core::report::{Code, Finding, Severity};
use kleym_core::settings::given::Environment;
use kleym_core::spire::Answer;

use super::again::Again;
use super::subject::Answered;
use crate::output::{Table, harmless};

/// How marks look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Marks {
    /// Words.
    Ascii,
    /// Signs.
    Unicode,
}

impl Marks {
    /// Signs for a terminal that speaks UTF-8, words for everything else.
    pub(super) fn of(environment: Environment<'_>) -> Self {
        let text = |name: &str| {
            environment(name).and_then(|value| value.into_string().ok()).filter(|v| !v.is_empty())
        };
        let locale = text("LC_ALL").or_else(|| text("LC_CTYPE")).or_else(|| text("LANG")).unwrap_or_default();
        let utf_8 = locale.to_ascii_lowercase().replace('-', "").contains("utf8");
        let dumb = text("TERM").is_none_or(|term| term == "dumb");
        if utf_8 && !dumb && io::IsTerminal::is_terminal(&io::stdout()) {
            Marks::Unicode
        } else {
            Marks::Ascii
        }
    }

    fn mark(self, mark: Mark) -> &'static str {
        match (self, mark) {
            (Marks::Ascii, mark) => mark.as_str(),
            (Marks::Unicode, Mark::Holds) => "\u{2713}",
            (Marks::Unicode, Mark::Broken) => "\u{2717}",
            (Marks::Unicode, Mark::Waits) => "\u{2026}",
            (Marks::Unicode, Mark::Unseen) => "?",
            (Marks::Unicode, Mark::Apart | Mark::Skipped) => "-",
        }
    }
}

/// What a container is said to have when nobody could see what it has.
const UNKNOWN: &str = "<unknown>";

/// Where a chain that holds ends.
const END: &str = "end    the registration ends here; the socket in the container, and the workload itself, are not looked at";

/// Prints an answer.
pub(super) fn print(out: &mut dyn Write, answered: &Answered, again: &Again, marks: Marks) -> io::Result<()> {
    let Answered { title, again: what, explanation } = answered;
    let Explanation { chains, given, left, claims, findings, socket_untold } = explanation;
    writeln!(out, "{}", harmless(title))?;
    for chain in chains {
        links(out, chain, marks)?;
    }
    if !given.is_empty() {
        containers(given).print(out)?;
    }
    if *socket_untold {
        writeln!(out, "{END}")?;
    }
    for chain in chains {
        cause(out, chain)?;
    }
    for Left { container, why } in left {
        let container = harmless(container);
        writeln!(out, "none   container `{container}` has no identity: {} {}", why.code, why.message)?;
        writeln!(out, "       see {}", again.explain(&format!("{what} -c {container}")))?;
    }
    for Claim { binding, why } in claims {
        let how = if why.code == Code::BindingDeleting { "being deleted" } else { "refused" };
        let see = again.explain(&format!("binding/{} -n {}", binding.name, binding.namespace));
        // What the pod has is another binding's, and that may be wrong however well its chain holds.
        let word = if why.severity() == Severity::Error { "!" } else { "also" };
        writeln!(out, "{word:<6} claims this pod: `{}`, {how} {}, see {see}", binding.name, why.code)?;
        if let Some(note) = &why.note {
            writeln!(out, "note   {}", harmless(note))?;
        }
        if let Some(hint) = why.hint.as_ref().filter(|_| why.code == Code::IdentityCollision) {
            writeln!(out, "fix    {}", harmless(hint))?;
        }
    }
    // Nothing of the chain is broken by it, and yet a workload may present another identity, or none.
    let beside = |finding: &&Finding| {
        matches!(
            finding.code,
            Code::ForeignIdentity
                | Code::MeshIdentityReplaced
                | Code::PodNotInPool
                | Code::AccountNotUsed
                | Code::NoSuchContainer
                | Code::NothingMatches
        )
    };
    for finding in findings.iter().filter(beside) {
        writeln!(out, "note   {} {}", finding.code, harmless(&finding.message))?;
        if let Some(note) = &finding.note {
            writeln!(out, "       {}", harmless(note))?;
        }
        if let Some(hint) = &finding.hint {
            writeln!(out, "fix    {}", harmless(hint))?;
        }
    }
    Ok(())
}

fn links(out: &mut dyn Write, chain: &Chain, marks: Marks) -> io::Result<()> {
    let skipped = chain.links.iter().filter(|link| link.mark == Mark::Skipped).count();
    for (place, link) in chain.links.iter().enumerate() {
        let (number, mark, kind) = (place + 1, marks.mark(link.mark), link.kind.as_str());
        // They are the last ones, and each says the same.
        if link.mark == Mark::Skipped && skipped > 1 {
            writeln!(out, "{number:2}-{} {mark}  {}", chain.links.len(), harmless(&link.says))?;
            break;
        }
        let says = match &link.finding {
            Some(finding) => finding.code.summary(),
            None => link.says.as_str(),
        };
        writeln!(out, "{number:2} {mark:<4} {kind:<16} {}", harmless(says))?;
    }
    if let Some(id) = chain.spiffe_id.as_deref().filter(|_| chain.end().is_none()) {
        writeln!(out, "   = {id}")?;
    }
    Ok(())
}

fn containers(given: &[Given]) -> Table {
    let changes = |one: &Given| {
        let now = one.identities.iter().map(|(id, ..)| id);
        one.repaired.as_ref().is_some_and(|repaired| !now.eq(repaired.iter().map(|(id, _)| id)))
    };
    if given.iter().any(changes) {
        return now_and_repaired(given);
    }
    let mut table = Table::new(&["CONTAINER", "KIND", "SPIFFE-ID", "FROM"]);
    for one in given {
        let row = |id: &str, from: &str| [&*one.container, one.kind, id, from].map(harmless);
        if one.identities.is_empty() {
            let nothing = if one.incomplete { UNKNOWN } else { "" };
            table.row(row(nothing, nothing));
        }
        for (id, from, answer) in &one.identities {
            let from = if *answer == Answer::Yes { from.to_string() } else { format!("{from} (maybe)") };
            table.row(row(id, &from));
        }
    }
    table
}

/// What is there, beside what will be there once the outputs are as they should be.
fn now_and_repaired(given: &[Given]) -> Table {
    let mut table = Table::new(&["CONTAINER", "KIND", "NOW", "AFTER-REPAIR"]);
    for one in given {
        let said = |id: &str, answer: Answer| match answer {
            Answer::Yes => id.to_owned(),
            _ => format!("{id} (maybe)"),
        };
        let of_now = |id: &str| one.identities.iter().any(|(now, ..)| **now == *id);
        let stays = |id: &str| of_now(id) && one.repaired.iter().flatten().any(|(then, _)| **then == *id);
        // What stays is in one row, before what goes and comes.
        let mut now: Vec<(bool, String)> =
            one.identities.iter().map(|(id, _, answer)| (!stays(id), said(id, *answer))).collect();
        let repaired = one.repaired.iter().flatten().map(|(id, answer)| (!stays(id), said(id, *answer)));
        let mut repaired: Vec<(bool, String)> = repaired.collect();
        now.sort();
        repaired.sort();
        let [now, repaired] =
            [now, repaired].map(|ids| ids.into_iter().map(|(_, id)| id).collect::<Vec<_>>());
        for place in 0..now.len().max(repaired.len()).max(1) {
            let at = |ids: &[String]| ids.get(place).map(|id| harmless(id)).unwrap_or_default();
            table.row([harmless(&one.container), harmless(one.kind), at(&now), at(&repaired)]);
        }
    }
    table
}

/// The link at which a chain ends: cause, evidence, fix.
fn cause(out: &mut dyn Write, chain: &Chain) -> io::Result<()> {
    let Some(link) = chain.end() else { return Ok(()) };
    let Some(finding) = &link.finding else { return Ok(()) };
    writeln!(out, "cause  {} {}", finding.code, harmless(&finding.message))?;
    for (place, read) in link.evidence.iter().enumerate() {
        let word = if place == 0 { "read" } else { "" };
        writeln!(
            out,
            "{word:<6} {}: {} = {}",
            harmless(&read.object),
            harmless(&read.field),
            harmless(&read.value)
        )?;
    }
    if let Some(note) = &finding.note {
        writeln!(out, "note   {}", harmless(note))?;
    }
    if let Some(hint) = &finding.hint {
        writeln!(out, "fix    {}", harmless(hint))?;
    }
    // The page is in the program too, for who has no network at hand.
    writeln!(out, "see    `kleym explain {}`, or {}", finding.code, finding.code.page())
}
