//! Findings for people: the code, what is wrong, the line of the file with a mark under what is meant, and what to do.

use std::io::{self, Write};

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Element, Group, Level, Origin, Renderer, Snippet};
use kleym_core::fact::FactKey;
use kleym_core::report::{Place, Severity};

use super::Summary;
use crate::console::Console;
use crate::declared::Told;
use crate::source::{Files, Spot};

/// Lines longer than this are named and not shown.
const LONGEST_LINE: usize = 2_000;

/// Prints the summary and every finding on stderr.
pub(crate) fn findings(console: &mut Console, files: &Files, summary: &Summary, told: &[Told]) {
    console.remark(&summary.line());
    tell(console, files, told);
}

/// Prints findings on stderr. Remarks that nobody can read are no failure.
pub(crate) fn tell(console: &mut Console, files: &Files, told: &[Told]) {
    drop(write(&mut console.err, console.color, files, told));
}

/// Writes findings for people.
pub(crate) fn write(out: &mut dyn Write, color: bool, files: &Files, told: &[Told]) -> io::Result<()> {
    let renderer = if color { Renderer::styled() } else { Renderer::plain() };
    let renderer = renderer.decor_style(DecorStyle::Ascii);
    for told in told {
        writeln!(out, "{}", renderer.render(&groups(files, told)))?;
        if told.at.is_none() && told.finding.place.is_none() {
            // Without a line of a file the renderer would hang these on an empty margin.
            for (word, text) in [("note", &told.finding.note), ("help", &told.finding.hint)] {
                if let Some(text) = text {
                    writeln!(out, " = {word}: {text}")?;
                }
            }
        }
    }
    Ok(())
}

fn groups<'a>(files: &'a Files, told: &'a Told) -> Vec<Group<'a>> {
    let Told { finding, at, also } = told;
    let level = match finding.severity() {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
        Severity::Info => Level::INFO,
    };
    let title = level.primary_title(finding.message.as_str()).id(finding.code.to_string());
    let shown_at = at.as_ref().map(|spot| shown(files, spot));
    // What stands in the cluster has no line; the object and its field have to do.
    let shown_at =
        shown_at.or_else(|| finding.place.as_ref().map(|place| Origin::path(in_cluster(place)).into()));
    let placed = shown_at.is_some();
    let mut first = Group::with_title(title).elements(shown_at);
    if let Some(note) = finding.note.as_ref().filter(|_| placed) {
        first = first.element(Level::NOTE.message(note.as_str()));
    }
    if let Some(hint) = finding.hint.as_ref().filter(|_| placed) {
        first = first.element(Level::HELP.message(hint.as_str()));
    }
    let others = also.iter().map(|(what, spot)| {
        Group::with_title(Level::NOTE.secondary_title(what.as_str())).element(shown(files, spot))
    });
    std::iter::once(first).chain(others).collect()
}

/// An object of the cluster, and the field of it: `inferencepool/llama -n llm: spec.selector`.
fn in_cluster(place: &Place) -> String {
    let FactKey { kind, namespace, name } = &place.object;
    let object = format!("{}/{name} -n {namespace}", kind.kind().to_ascii_lowercase());
    match place.field.to_string() {
        field if field.is_empty() => object,
        field => format!("{object}: {field}"),
    }
}

/// The line that a spot is in, with a mark under as much of the spot as stands in that line.
fn shown<'a>(files: &'a Files, spot: &Spot) -> Element<'a> {
    let file = files.get(spot.file);
    if file.text.is_empty() {
        return Origin::path(file.name.as_str()).into();
    }
    let (number, line) = file.line_of(spot.range.start);
    let start = spot.range.start.clamp(line.start, line.end) - line.start;
    let end = spot.range.end.clamp(line.start, line.end) - line.start;
    let text = &file.text[line];
    if text.len() > LONGEST_LINE {
        let column = text[..start].chars().count() + 1;
        return Origin::path(file.name.as_str()).line(number).char_column(column).into();
    }
    let (before, marked, after) = (&text[..start], &text[start..end.max(start)], &text[end.max(start)..]);
    let [before, marked, after] = [before, marked, after].map(harmless);
    let start = before.len();
    let end = start + marked.len();
    let text = before + &marked + &after;
    let mark = AnnotationKind::Primary.span(start..end);
    Snippet::source(text).line_start(number).path(file.name.as_str()).annotation(mark).into()
}

/// Text of a file as it may go to a terminal. The renderer shows the control characters of ASCII as symbols; those beyond
/// it, which some terminals obey as well, are replaced here.
fn harmless(text: &str) -> String {
    text.chars()
        .map(|c| if ('\u{80}'..='\u{9f}').contains(&c) { char::REPLACEMENT_CHARACTER } else { c })
        .collect()
}
