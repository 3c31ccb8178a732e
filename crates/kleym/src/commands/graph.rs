//! `kleym graph`: the identity map.

use kleym_core::report::Severity;
use kleym_core::settings::given::Environment;

use crate::args::{self, Drawing, Format};
use crate::console::Console;
use crate::declared::Told;
use crate::exit::{Exit, Failure};
use crate::foresight::Foresight;
use crate::labels::Labels;
use crate::manager::KnownManager;
use crate::map::{Choice, draw, map};
use crate::output;
use crate::sight::{BESIDE, Sight};
use crate::survey::{Question, Survey};

/// From so many bytes on, a page opens slowly: a browser takes about ten seconds for 10,000 bindings, or 35 MiB.
const HEAVY: usize = 16 * 1024 * 1024;

pub(super) fn run(
    typed: &args::Graph,
    console: &mut Console,
    environment: Environment<'_>,
) -> Result<Exit, Failure> {
    let args::Graph { input, selector, output: drawing, manager, settings } = typed;
    let labels = Labels::of(selector)?;
    let question = Question { input, settings, beside: &BESIDE, id: None };
    let survey = Survey::of(question, environment)?;
    let declared = &survey.declared;

    // What nobody could read of spire-controller-manager is said of a cluster; of files it is no news.
    let known = KnownManager::of(&survey, manager)?;
    let live = survey.cluster.is_some();
    let limits = if live { known.findings.clone() } else { Vec::new() };
    let sight = Sight::of(declared, live, known);
    let seen = Foresight::of(declared, &sight).seen();
    let scope = survey.scope.as_ref();
    let choice = match labels.is_empty() {
        true => Choice::all(scope),
        false => Choice::of(&declared.index, scope, |key| labels.select(declared.labels(key))),
    };
    let map = map(&declared.index, &seen, &choice);
    let text = match drawing {
        Drawing::Mermaid => draw::mermaid(&map),
        Drawing::Dot => draw::dot(&map),
        Drawing::Html => draw::html(&map),
        Drawing::Json => {
            output::report(&mut console.out, Format::Json, draw::report(&map))?;
            String::new()
        }
    };
    console.out.write_all(text.as_bytes())?;
    console.out.flush()?;

    if let Some(remark) = &survey.remark {
        console.remark(remark);
    }
    if console.verbose {
        output::what_was_surveyed(console, &survey);
    }
    if map.regions.is_empty() {
        console.remark("note: there is nothing to draw: nothing was declared where it was looked");
    }
    match drawing {
        Drawing::Mermaid => too_much_for_mermaid(console, &text),
        Drawing::Html if text.len() > HEAVY => {
            let size = text.len() / (1024 * 1024);
            console.remark(&format!(
                "note: the page has {size} MiB, which takes a browser some seconds to open"
            ));
            console.remark("  = help: draw one namespace with -n, or some bindings with -l");
        }
        Drawing::Html | Drawing::Dot | Drawing::Json => {}
    }
    // The map shows what is wrong with bindings; what could not be read at all is not in it.
    let mut told = declared.told(Vec::new(), |_| false);
    told.retain(|told| told.finding.severity() < Severity::Info);
    told.extend(limits.into_iter().map(Told::alone));
    output::tell(console, &declared.files, &told);
    Ok(exit(&told))
}

/// A map is drawn whatever it shows; only a file that cannot be parsed makes it incomplete.
fn exit(told: &[Told]) -> Exit {
    output::exit_of(told, false)
}

/// Mermaid draws nothing at all of what is too much for it, so that is said here.
fn too_much_for_mermaid(console: &mut Console, text: &str) {
    let edges = text.lines().filter(|line| line.contains("-->") || line.contains("-.->")).count();
    let characters = text.chars().count();
    if edges > draw::MOST_EDGES || characters > draw::MOST_CHARACTERS {
        console.remark(&format!(
            "warning: Mermaid draws at most {} edges and reads at most {} characters unless its page allows more; this map has {edges} and {characters}",
            draw::MOST_EDGES,
            draw::MOST_CHARACTERS,
        ));
        console.remark("  = help: use -o html, or draw one namespace with -n or some bindings with -l");
    }
}
