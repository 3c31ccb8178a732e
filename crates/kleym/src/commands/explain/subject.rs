//! What is explained: as it was typed, and as it is found among what was read.

use std::collections::BTreeSet;
use std::fmt;

use kleym_core::explain::{self, Explanation, Given};
use kleym_core::fact::Binding;
use kleym_core::index::{Index, Verdict};
use kleym_core::name::{BindingKey, Namespace};
use kleym_core::output::LiveOutput;
use kleym_core::refusal::Refusal;
use kleym_core::render;
use kleym_core::report::Scene;
use kleym_core::spiffe::{self, TrustDomain};
use kleym_core::spire::{Pod, Registration};
use kleym_core::text::{Quoted, quoted_list};

use crate::args::Scope;
use crate::exit::Failure;
use crate::output;
use crate::survey::Survey;

/// What is explained.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Subject {
    /// A pod of this name.
    Pod(String),
    /// A binding of this name.
    Binding(String),
    /// A SPIFFE ID.
    Id(String),
}

/// An answer, whatever it is about.
pub(super) struct Answered {
    /// What stands above it.
    pub(super) title: String,
    /// What is to be typed to ask the same again.
    pub(super) again: String,
    /// The answer.
    pub(super) explanation: Explanation,
}

/// Why there is no answer.
pub(super) enum Unanswered {
    /// It is not there: in words, and where something like it is.
    NotThere {
        /// What is not there.
        message: String,
        /// What is.
        help: Option<String>,
    },
    /// It cannot be told which is meant.
    Several(Failure),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Subject::Pod(name) => write!(f, "pod/{name}"),
            Subject::Binding(name) => write!(f, "binding/{name}"),
            Subject::Id(id) => f.write_str(id),
        }
    }
}

impl Subject {
    /// Reads `TYPE/NAME`, `TYPE NAME` or a SPIFFE ID.
    ///
    /// # Errors
    /// It is none of these, or a SPIFFE ID of no trust domain.
    pub(super) fn parse(what: &str, name: Option<&str>) -> Result<Self, Failure> {
        let typed = match name {
            Some(name) => format!("{what} {name}"),
            None => what.to_owned(),
        };
        let wrong = || Failure::Unusable {
            problems: vec![format!("{} is nothing that can be explained", Quoted(&typed))],
            hint: Some(format!("write pod/NAME, binding/NAME or a SPIFFE ID such as {EXAMPLE}")),
        };
        let (kind, name) = match name {
            None if what.to_ascii_lowercase().starts_with("spiffe:") => return Self::id(what),
            None => what.split_once('/').ok_or_else(wrong)?,
            Some(name) => (what, name),
        };
        // As kubectl writes it in some of its columns, but reads it nowhere.
        if let Some((namespace, only)) = name.split_once('/')
            && !namespace.is_empty()
            && !only.is_empty()
            && !only.contains('/')
        {
            return Err(Failure::Unusable {
                problems: vec![format!("{} is nothing that can be explained", Quoted(&typed))],
                hint: Some(format!("name the namespace with -n: {kind}/{only} -n {namespace}")),
            });
        }
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

    /// A SPIFFE ID, as far as it has a trust domain. A path that is none may still be what a binding asks for, and is refused.
    fn id(text: &str) -> Result<Self, Failure> {
        let domain = text.strip_prefix("spiffe://").map(|rest| rest.split('/').next().unwrap_or_default());
        match domain.map(TrustDomain::parse) {
            Some(Ok(_)) => Ok(Subject::Id(text.to_owned())),
            _ => Err(malformed(text)),
        }
    }

    /// What is wrong with what was typed, once it is not found.
    pub(super) fn problem(&self) -> Option<Failure> {
        match self {
            Subject::Id(id) => spiffe::well_formed(id).is_err().then(|| malformed(id)),
            Subject::Pod(_) | Subject::Binding(_) => None,
        }
    }

    /// The SPIFFE ID that it is.
    pub(super) fn id_text(&self) -> Option<&str> {
        match self {
            Subject::Id(id) => Some(id),
            Subject::Pod(_) | Subject::Binding(_) => None,
        }
    }

    /// Where it is looked for: a SPIFFE ID of Kleym's usual form says which namespace it belongs to.
    pub(super) fn scope(&self, typed: &Scope) -> Scope {
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

    /// Finds it and explains it.
    ///
    /// # Errors
    /// It is not there, or there are several.
    pub(super) fn answer(
        &self,
        question: &explain::Question<'_>,
        survey: &Survey,
    ) -> Result<Answered, Unanswered> {
        match self {
            Subject::Pod(name) => of_pod(question, survey, name),
            Subject::Binding(name) => of_binding(question, survey, name),
            Subject::Id(id) => of_id(question, id),
        }
    }
}

/// A SPIFFE ID as it should look.
const EXAMPLE: &str = "spiffe://example.org/ns/llm/objective/chat";

/// A text that nobody can have as SPIFFE ID.
fn malformed(text: &str) -> Failure {
    let domain = text.strip_prefix("spiffe://").map(|rest| rest.split('/').next().unwrap_or_default());
    let why = match (domain, spiffe::well_formed(text)) {
        (Some(""), _) => "has no trust domain".to_owned(),
        (Some(domain), _) if TrustDomain::parse(domain).is_err() => {
            let why = TrustDomain::parse(domain).err().unwrap_or_default();
            format!("is no SPIFFE ID: its trust domain {} {why}", Quoted(domain))
        }
        (_, Err(error)) => error.to_string(),
        (_, Ok(())) => "is no SPIFFE ID".to_owned(),
    };
    Failure::Unusable {
        problems: vec![format!("{} {why}", Quoted(text))],
        hint: Some(format!("write the whole of it, such as {EXAMPLE}")),
    }
}

/// The only one of a name; where several namespaces have one, it has to be said which is meant.
fn only<T>(
    kind: &str,
    name: &str,
    found: impl Iterator<Item = T>,
    namespace: impl Fn(&T) -> Namespace,
) -> Result<Option<T>, Unanswered> {
    let mut found: Vec<T> = found.collect();
    let mut namespaces: Vec<String> = found.iter().map(|one| namespace(one).to_string()).collect();
    namespaces.sort_unstable();
    namespaces.dedup();
    if namespaces.len() > 1 {
        let wherein = quoted_list(namespaces.iter().map(String::as_str));
        return Err(Unanswered::Several(Failure::Unusable {
            problems: vec![format!("there is a {kind} {} in each of the namespaces {wherein}", Quoted(name))],
            hint: Some(format!("say which is meant, such as -n {}", namespaces[0])),
        }));
    }
    Ok(if found.is_empty() { None } else { Some(found.swap_remove(0)) })
}

fn of_pod(question: &explain::Question<'_>, survey: &Survey, name: &str) -> Result<Answered, Unanswered> {
    let pods = question.scene.world.pods.iter().enumerate();
    let found = pods.filter(|(_, pod)| {
        pod.name.as_str() == name && survey.scope.as_ref().is_none_or(|scope| *scope == pod.namespace)
    });
    let Some((index, pod)) = only("pod", name, found, |(_, pod)| pod.namespace.clone())? else {
        let others = question.scene.world.pods.iter().filter(|pod| pod.name.as_str() == name);
        return Err(Unanswered::NotThere {
            message: format!("there is no pod {}{}", Quoted(name), place(survey)),
            help: there_is(others.map(|pod| &pod.namespace)),
        });
    };
    if let Some(container) = question.container
        && !pod.containers.iter().any(|one| *one.name == *container)
    {
        let there = quoted_list(pod.containers.iter().map(|one| &*one.name));
        let why = format!("pod {} has no container {}, but {there}", Quoted(name), Quoted(container));
        return Err(Unanswered::NotThere { message: why, help: None });
    }
    let again = format!("pod/{} -n {}", pod.name, pod.namespace);
    Ok(Answered { title: title(pod), again, explanation: explain::pod(question, index) })
}

fn title(pod: &Pod) -> String {
    let containers: Vec<&str> = pod.containers.iter().map(|container| &*container.name).collect();
    let on = pod.node_name.as_deref().map(|node| format!(" on {node}")).unwrap_or_default();
    let deleting = if pod.deleting { ", terminating" } else { "" };
    format!(
        "pod/{}   {}   {}{on}{deleting}   containers {}",
        pod.name,
        pod.namespace,
        pod.phase.as_str(),
        if containers.is_empty() { output::NONE.to_owned() } else { containers.join(", ") }
    )
}

/// Where it was looked.
fn place(survey: &Survey) -> String {
    survey.scope.as_ref().map(|scope| format!(" in namespace `{scope}`")).unwrap_or_default()
}

fn of_binding(question: &explain::Question<'_>, survey: &Survey, name: &str) -> Result<Answered, Unanswered> {
    let bindings = question.scene.index.bindings();
    let found = bindings.filter(|binding| binding.key.name.as_str() == name && survey.covers(&binding.key));
    match only("binding", name, found, |binding| binding.key.namespace.clone())? {
        Some(binding) => match of_no_pod(question, &binding.key.namespace) {
            Some(message) => Err(Unanswered::NotThere { message, help: None }),
            None => Ok(through(question, binding)),
        },
        None => {
            let others = question.scene.index.bindings().filter(|other| other.key.name.as_str() == name);
            Err(Unanswered::NotThere {
                message: format!("there is no InferenceIdentityBinding {}{}", Quoted(name), place(survey)),
                help: there_is(others.map(|other| &other.key.namespace)),
            })
        }
    }
}

/// That the container which is asked for is none of any pod there: nobody is to be told to give an identity to it.
fn of_no_pod(question: &explain::Question<'_>, namespace: &Namespace) -> Option<String> {
    let container = question.container.filter(|_| question.scene.pods_known)?;
    let mut pods = question.scene.world.pods.iter().filter(|pod| pod.namespace == *namespace).peekable();
    pods.peek()?;
    let has = |pod: &Pod| pod.containers.iter().any(|one| *one.name == *container);
    (!pods.any(has))
        .then(|| format!("no pod of namespace `{namespace}` has a container {}", Quoted(container)))
}

fn through(question: &explain::Question<'_>, binding: &Binding) -> Answered {
    let explanation = explain::binding(question, binding);
    let id = explanation.chains.first().and_then(|chain| chain.spiffe_id.as_deref());
    let id = id.map(|id| format!("   {id}")).unwrap_or_default();
    let title = format!("binding/{}   {}{id}", binding.key.name, binding.key.namespace);
    let again = format!("binding/{} -n {}", binding.key.name, binding.key.namespace);
    Answered { title, again, explanation }
}

/// The binding that has the ID; else one that would have it; else whoever else gives it.
fn of_id(question: &explain::Question<'_>, id: &str) -> Result<Answered, Unanswered> {
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
                incomplete: false,
                repaired: None,
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
fn of_asked(question: &explain::Question<'_>, id: &str, by: Option<usize>) -> Result<Answered, Unanswered> {
    let scene = &question.scene;
    let asks = |binding: &&Binding| asked_for(scene.index, binding).is_some_and(|asked| asked == id);
    let still = by.and_then(|by| Some((&scene.object(by).name, scene.binding_of(by)?)));
    let (title, binding) = match still {
        Some((object, binding)) => (format!("given by ClusterSPIFFEID {object}, the output of"), binding),
        None => match scene.index.bindings().find(asks) {
            Some(binding) => ("given by nothing that was read; asked for by".to_owned(), binding),
            None => {
                // An output that nobody answers for is found whatever SCM makes of it: of its trust domain, its class, its pods.
                let mut objects = scene.world.registrations.iter();
                if let Some(object) = objects.find(|object| object.spiffe_id.literal() == Some(id)) {
                    return Ok(asked_by_object(scene, id, object));
                }
                let message = format!("nothing that was read gives anybody {}, or would", Quoted(id));
                return Err(Unanswered::NotThere { message, help: nearest(scene.index, id) });
            }
        },
    };
    let BindingKey { namespace, name } = &binding.key;
    let title = format!("{id}   {title} binding/{name} of namespace {namespace}");
    Ok(Answered { title, ..through(question, binding) })
}

/// A ClusterSPIFFEID of no binding that asks for the ID, though no pod that was read has it from that.
fn asked_by_object(scene: &Scene<'_>, id: &str, object: &Registration) -> Answered {
    let output = scene.outputs.into_iter().flatten().find(|output| output.name.as_str() == &*object.name);
    let left = output.filter(|output| output.wears_our_label()).and_then(LiveOutput::of_binding);
    let whose = left.map_or_else(
        || "which is not of a binding that was read".to_owned(),
        |binding| format!("the output of a binding `{binding}` that was not read"),
    );
    Answered {
        title: format!(
            "{id}   granted by ClusterSPIFFEID {}, {whose}; no pod that was read has it",
            object.name
        ),
        again: id.to_owned(),
        explanation: Explanation::default(),
    }
}

/// In which namespaces there is one of the name, where there is none in the one that was asked.
fn there_is<'a>(namespaces: impl Iterator<Item = &'a Namespace>) -> Option<String> {
    let names: BTreeSet<&str> = namespaces.map(Namespace::as_str).collect();
    let first = names.first()?;
    Some(format!("there is one in namespace {}: name it with -n {first}", quoted_list(names.iter().copied())))
}

/// How many IDs are named that are like one that nobody has.
const ALIKE: usize = 3;

/// The IDs of bindings that have most in common with one that nobody has: all but a segment or two, such as the trust domain
/// or the namespace.
fn nearest(index: &Index, id: &str) -> Option<String> {
    let segments: Vec<&str> = id.split('/').skip(2).collect();
    let common = |other: &str| {
        let other: Vec<&str> = other.split('/').skip(2).collect();
        let same = other.iter().zip(&segments).filter(|(a, b)| a == b).count();
        (other.len() == segments.len() && same > 0 && same + 2 >= segments.len()).then_some(same)
    };
    let asked = index.bindings().filter_map(|binding| {
        let asked = asked_for(index, binding)?;
        Some((
            common(&asked)?,
            format!(
                "{} of binding/{} of namespace {}",
                Quoted(&asked),
                binding.key.name,
                binding.key.namespace
            ),
        ))
    });
    let asked: Vec<(usize, String)> = asked.collect();
    let most = asked.iter().map(|(same, _)| *same).max()?;
    let alike = asked.into_iter().filter(|(same, _)| *same == most).map(|(_, words)| words);
    let alike: Vec<String> = alike.take(ALIKE).collect();
    Some(format!("the nearest to it: {}", alike.join("; ")))
}

/// The SPIFFE ID that a binding asks for, whatever stands in its way.
fn asked_for(index: &Index, binding: &Binding) -> Option<String> {
    let spec = binding.spec.as_ref().ok()?;
    let resolved = index.resolved(&binding.key).and_then(Result::ok);
    render::asked_for(index.settings_in(&binding.key.namespace), &binding.key, spec, resolved.as_ref())
}
