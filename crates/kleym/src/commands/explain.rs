//! `kleym explain`: the chain from a pod's labels to SPIRE, for a pod, a binding or a SPIFFE ID, up to the first link that
//! is broken. What is said comes from the engine (`kleym_core::explain`); here it is asked for and printed.

use std::io::{self, Write};

use kleym_api::decode;
use kleym_core::explain::{self, Chain, Claim, Deletion, Explanation, Given, Left, Mark};
use kleym_core::fact::Binding;
use kleym_core::index::{Index, Verdict};
use kleym_core::name::BindingKey;
use kleym_core::refusal::Refusal;
use kleym_core::render;
use kleym_core::report::{Code, Finding};
use kleym_core::settings::given::Environment;
use kleym_core::spire::Answer;
use kleym_core::text::Quoted;
use serde_json::Value;

use crate::args::{self, Scope};
use crate::console::Console;
use crate::declared::Told;
use crate::exit::{Exit, Failure};
use crate::manager::KnownManager;
use crate::output::{self, Table};
use crate::reports::ExplainReport;
use crate::sight::{BESIDE, Sight, reported};
use crate::source::cluster::{Found, Resource};
use crate::survey::{Question, Survey};

/// What is explained.
#[derive(Debug, PartialEq, Eq)]
enum Subject {
    Pod(String),
    Binding(String),
    Id(String),
}

impl Subject {
    fn parse(text: &str) -> Result<Self, Failure> {
        let wrong = || {
            Failure::Unusable {
            problems: vec![format!("{} is nothing that can be explained", Quoted(text))],
            hint: Some("write pod/NAME, binding/NAME or a SPIFFE ID such as spiffe://example.org/ns/llm/objective/chat".to_owned()),
        }
        };
        if text.starts_with("spiffe://") {
            return Ok(Subject::Id(text.to_owned()));
        }
        let (kind, name) = text.split_once('/').ok_or_else(wrong)?;
        if name.is_empty() || name.contains('/') {
            return Err(wrong());
        }
        match kind {
            "pod" | "pods" | "po" => Ok(Subject::Pod(name.to_owned())),
            "binding"
            | "bindings"
            | "iib"
            | "inferenceidentitybinding"
            | "inferenceidentitybindings"
            | "inferenceidentitybinding.kleym.sonda.red"
            | "inferenceidentitybindings.kleym.sonda.red" => Ok(Subject::Binding(name.to_owned())),
            _ => Err(wrong()),
        }
    }

    /// Where it is looked for: a SPIFFE ID of Kleym's usual form says which namespace it belongs to.
    fn scope(&self, typed: &Scope) -> Scope {
        let Subject::Id(id) = self else { return typed.clone() };
        if typed.all_namespaces || typed.namespace.is_some() {
            return typed.clone();
        }
        let mut segments = id.trim_start_matches("spiffe://").split('/').skip(1);
        match (segments.next(), segments.next()) {
            (Some("ns"), Some(namespace)) => {
                Scope { namespace: Some(namespace.to_owned()), all_namespaces: false }
            }
            _ => Scope { namespace: None, all_namespaces: true },
        }
    }
}

/// An answer, whatever it is about.
struct Answered {
    title: String,
    /// What is to be typed to ask the same again.
    again: String,
    explanation: Explanation,
}

pub(super) fn run(
    typed: &args::Explain,
    console: &mut Console,
    environment: Environment<'_>,
) -> Result<Exit, Failure> {
    let args::Explain { what, container, input, output: format, manager, settings } = typed;
    let subject = Subject::parse(what)?;
    let input = args::Input { scope: subject.scope(&input.scope), ..input.clone() };
    let question = Question { input: &input, settings, beside: &BESIDE };
    let survey = Survey::of(question, environment)?;
    let known = KnownManager::of(&survey, manager)?;
    let sight = Sight::of(&survey.declared, survey.cluster.is_some(), known);
    let scene = sight.scene(&survey.declared, survey.scope.as_ref());
    let status = |key: &BindingKey| survey.declared.status(key).and_then(reported);
    let deletion = |key: &BindingKey| survey.declared.as_written(key).and_then(deletion);
    let question = explain::Question {
        scene,
        status: &status,
        deletion: &deletion,
        manager_at: sight.manager_at.as_deref(),
        container: container.as_deref(),
    };
    if let (Subject::Pod(_), Found::Limited(limit)) = (&subject, survey.declared.beside(Resource::Pods)) {
        return Err(Failure::Unusable { problems: vec![limit.message()], hint: Some(limit.hint()) });
    }
    let answered = match &subject {
        Subject::Pod(name) => of_pod(&question, &survey, name),
        Subject::Binding(name) => of_binding(&question, &survey, name),
        Subject::Id(id) => of_id(&question, id),
    };
    let Answered { title, again, explanation } = match answered {
        Ok(answered) => answered,
        Err(message) => {
            console.remark(&format!("error: {message}"));
            if input.scope.namespace.is_none() && survey.scope.is_some() {
                console.remark("  = help: name another namespace with -n, or look in all of them with -A");
            }
            told(console, &survey, &sight, &[]);
            return Ok(Exit::NotFound);
        }
    };
    match format {
        None => print(&mut console.out, &again, &title, &explanation, Marks::of(environment))?,
        Some(format) => {
            output::report(&mut console.out, *format, ExplainReport::of(what, &explanation))?;
        }
    }
    console.out.flush()?;
    if let Some(remark) = &survey.remark {
        console.remark(remark);
    }
    let unreadable = told(console, &survey, &sight, &explanation.findings);
    let broken = explanation.chains.iter().any(|chain| chain.broken().is_some());
    Ok(if broken || unreadable { Exit::Findings } else { Exit::Fine })
}

/// Says what is to be said beside the chain; answers whether a file could not be parsed.
fn told(console: &mut Console, survey: &Survey, sight: &Sight, findings: &[Finding]) -> bool {
    let mut all = survey.declared.told(Vec::new(), |_| false);
    let unreadable = all.iter().any(|told| told.finding.code == Code::Unparsable);
    all.extend(sight.findings.iter().chain(findings).cloned().map(Told::alone));
    output::tell(console, &survey.declared.files, &all);
    unreadable
}

/// What the metadata of a binding says of its deletion.
fn deletion(binding: &Value) -> Option<Deletion> {
    let meta = decode::Meta::of(binding);
    let timestamp = binding.pointer("/metadata/deletionTimestamp").filter(|_| meta.deleting())?;
    Some(Deletion {
        timestamp: timestamp.as_str().unwrap_or_default().to_owned(),
        finalizers: meta.finalizers().map(str::to_owned).collect(),
    })
}

fn of_pod(question: &explain::Question<'_>, survey: &Survey, name: &str) -> Result<Answered, String> {
    let pods = question.scene.world.pods;
    let mut found = pods.iter().enumerate().filter(|(_, pod)| {
        pod.name.as_str() == name && survey.scope.as_ref().is_none_or(|scope| *scope == pod.namespace)
    });
    let Some((index, pod)) = found.next() else {
        return Err(format!("there is no pod {}{}", Quoted(name), place(survey)));
    };
    if let Some(container) = question.container
        && !pod.containers.iter().any(|one| *one.name == *container)
    {
        return Err(format!("pod {} has no container {}", Quoted(name), Quoted(container)));
    }
    let containers: Vec<&str> = pod.containers.iter().map(|container| &*container.name).collect();
    let on = pod.node_name.as_deref().map(|node| format!(" on {node}")).unwrap_or_default();
    let deleting = if pod.deleting { ", terminating" } else { "" };
    let title = format!(
        "pod/{}   {}   {}{on}{deleting}   containers {}",
        pod.name,
        pod.namespace,
        pod.phase.as_str(),
        if containers.is_empty() { output::NONE.to_owned() } else { containers.join(", ") }
    );
    let again = format!("pod/{} -n {}", pod.name, pod.namespace);
    Ok(Answered { title, again, explanation: explain::pod(question, index) })
}

/// Where it was looked.
fn place(survey: &Survey) -> String {
    survey.scope.as_ref().map(|scope| format!(" in namespace `{scope}`")).unwrap_or_default()
}

fn of_binding(question: &explain::Question<'_>, survey: &Survey, name: &str) -> Result<Answered, String> {
    let mut bindings = question.scene.index.bindings();
    let found = bindings.find(|binding| binding.key.name.as_str() == name && survey.covers(&binding.key));
    let binding = found
        .ok_or_else(|| format!("there is no InferenceIdentityBinding {}{}", Quoted(name), place(survey)))?;
    Ok(through(question, binding))
}

fn through(question: &explain::Question<'_>, binding: &Binding) -> Answered {
    let chain = explain::binding(question, binding);
    let id = chain.spiffe_id.as_deref().map(|id| format!("   {id}")).unwrap_or_default();
    let title = format!("binding/{}   {}{id}", binding.key.name, binding.key.namespace);
    let findings = kleym_core::report::neighbours(&question.scene, binding);
    let again = format!("binding/{} -n {}", binding.key.name, binding.key.namespace);
    Answered {
        title,
        again,
        explanation: Explanation { chains: vec![chain], findings, ..Explanation::default() },
    }
}

/// The binding that has the ID; else one that would have it; else whoever else gives it.
fn of_id(question: &explain::Question<'_>, id: &str) -> Result<Answered, String> {
    let scene = &question.scene;
    let has = |binding: &&Binding| match &scene.index.verdict(&binding.key).verdict {
        Verdict::Wanted(identity) => identity.spiffe_id.as_str() == id,
        _ => false,
    };
    let would_have = |binding: &&Binding| match &scene.index.verdict(&binding.key).verdict {
        Verdict::Refused(Refusal::Conflict(conflict)) => conflict.spiffe_id.as_str() == id,
        _ => false,
    };
    let binding = scene.index.bindings().find(has).or_else(|| scene.index.bindings().find(would_have));
    if let Some(binding) = binding {
        return Ok(through(question, binding));
    }
    let entries: Vec<_> =
        scene.prediction.entries.iter().filter(|entry| entry.spiffe_id.text() == Some(id)).collect();
    let Some(first) = entries.iter().find(|entry| scene.binding_of(entry.by).is_none()) else {
        return of_asked(question, id, entries.first().map(|entry| entry.by));
    };
    let object = &scene.object(first.by).name;
    let title = format!("{id}   given by ClusterSPIFFEID {object}, which is not of a binding that was read");
    let given = entries.iter().flat_map(|entry| {
        let pod = &scene.world.pods[entry.pod];
        pod.containers.iter().filter_map(move |container| {
            let answer = entry.matches(pod, container, scene.world.space(pod)).and(entry.certain);
            answer.possible().then(|| Given {
                container: format!("{}/{}", pod.path(), container.name).into(),
                kind: container.kind.as_str(),
                identities: [(id.into(), scene.object(entry.by).name.clone(), answer)].into(),
            })
        })
    });
    Ok(Answered {
        title,
        again: id.to_owned(),
        explanation: Explanation { given: given.collect(), ..Explanation::default() },
    })
}

/// A binding that is to have no such identity: its output gives it still, or it asks for it.
fn of_asked(question: &explain::Question<'_>, id: &str, by: Option<usize>) -> Result<Answered, String> {
    let scene = &question.scene;
    let asks = |binding: &&Binding| asked_for(scene.index, binding).is_some_and(|asked| asked == id);
    let still = by.and_then(|by| Some((&scene.object(by).name, scene.binding_of(by)?)));
    let (title, binding) = match still {
        Some((object, binding)) => (format!("given by ClusterSPIFFEID {object}, the output of"), binding),
        None => match scene.index.bindings().find(asks) {
            Some(binding) => ("given by nothing that was read; asked for by".to_owned(), binding),
            None => return Err(format!("nothing that was read gives anybody {}, or would", Quoted(id))),
        },
    };
    let BindingKey { namespace, name } = &binding.key;
    let title = format!("{id}   {title} binding/{name} of namespace {namespace}");
    Ok(Answered { title, ..through(question, binding) })
}

/// The SPIFFE ID that a binding asks for, whatever stands in its way.
fn asked_for(index: &Index, binding: &Binding) -> Option<String> {
    let spec = binding.spec.as_ref().ok()?;
    let resolved = index.resolved(&binding.key).and_then(Result::ok);
    render::asked_for(index.settings(), &binding.key, spec, resolved.as_ref())
}

/// How marks look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Marks {
    Ascii,
    Unicode,
}

impl Marks {
    /// Signs for a terminal that speaks UTF-8, words for everything else.
    fn of(environment: Environment<'_>) -> Self {
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
            (Marks::Unicode, Mark::Unseen) => "?",
            (Marks::Unicode, Mark::Skipped) => "-",
        }
    }
}

fn print(
    out: &mut dyn Write,
    again: &str,
    title: &str,
    explanation: &Explanation,
    marks: Marks,
) -> io::Result<()> {
    let Explanation { chains, given, left, claims, findings: _ } = explanation;
    writeln!(out, "{title}")?;
    for chain in chains {
        links(out, chain, marks)?;
    }
    if !given.is_empty() {
        containers(given).print(out)?;
    }
    for chain in chains {
        cause(out, chain)?;
    }
    for Left { container, why } in left {
        writeln!(out, "none   container `{container}` has no identity: {} {}", why.code, why.message)?;
        writeln!(out, "       see `kleym explain {again} -c {container}`")?;
    }
    for Claim { binding, why } in claims {
        let how = if why.code == Code::BindingDeleting { "being deleted" } else { "refused" };
        writeln!(
            out,
            "also   claims this pod: `{}`, {how} {}, see `kleym explain binding/{} -n {}`",
            binding.name, why.code, binding.name, binding.namespace
        )?;
    }
    Ok(())
}

fn links(out: &mut dyn Write, chain: &Chain, marks: Marks) -> io::Result<()> {
    for (place, link) in chain.links.iter().enumerate() {
        let says = match &link.finding {
            Some(finding) => finding.code.summary(),
            None => link.says.as_str(),
        };
        let (number, mark, kind) = (place + 1, marks.mark(link.mark), link.kind.as_str());
        writeln!(out, "{number:2} {mark:<4} {kind:<16} {says}")?;
    }
    if let Some(id) = chain.spiffe_id.as_deref().filter(|_| chain.broken().is_none()) {
        writeln!(out, "   = {id}")?;
    }
    Ok(())
}

fn containers(given: &[Given]) -> Table {
    let mut table = Table::new(&["CONTAINER", "KIND", "SPIFFE-ID", "FROM"]);
    for one in given {
        let row = |id: &str, from: &str| [&*one.container, one.kind, id, from].map(str::to_owned);
        if one.identities.is_empty() {
            table.row(row("", ""));
        }
        for (id, from, answer) in &one.identities {
            let from = if *answer == Answer::Yes { from.to_string() } else { format!("{from} (maybe)") };
            table.row(row(id, &from));
        }
    }
    table
}

/// The broken link: cause, evidence, fix.
fn cause(out: &mut dyn Write, chain: &Chain) -> io::Result<()> {
    let Some(link) = chain.broken() else { return Ok(()) };
    let Some(finding) = &link.finding else { return Ok(()) };
    writeln!(out, "cause  {} {}", finding.code, finding.message)?;
    for (place, read) in link.evidence.iter().enumerate() {
        let word = if place == 0 { "read" } else { "" };
        writeln!(out, "{word:<6} {}: {} = {}", read.object, read.field, read.value)?;
    }
    if let Some(note) = &finding.note {
        writeln!(out, "note   {note}")?;
    }
    if let Some(hint) = &finding.hint {
        writeln!(out, "fix    {hint}")?;
    }
    writeln!(out, "see    {}", finding.code.page())
}
