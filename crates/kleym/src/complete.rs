//! Completion: of flags and values by clap's engine, of names by what is in the cluster. A shell's script calls this
//! program with the variable `COMPLETE`; kubectl calls `kubectl_complete-kleym`, which calls `kleym __complete`.
//!
//! Whatever fails while a person is typing offers nothing and says nothing.

use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::time::Duration;

use clap::Command;
use clap_complete::engine::{CompletionCandidate, complete};
use clap_complete::env::Shells;
use kleym_api::decode::Meta;
use kleym_core::kind::Kind;
use kleym_core::name::Namespace;
use kleym_core::settings::given::Environment;

use crate::args::{Connection, Deadline};
use crate::exit::Failure;
use crate::source::cluster::{Cluster, Collection, Resource};

/// How long somebody who types waits for names.
const PATIENCE: Duration = Duration::from_secs(3);

/// By which variable a shell's script asks, and in which shell's form.
pub(crate) const VARIABLE: &str = "COMPLETE";

/// Answers a shell's script; false when nobody asked.
///
/// # Errors
/// When the answer cannot be written, or the shell is unknown.
pub(crate) fn answer(
    command: Command,
    arguments: &[OsString],
    environment: Environment<'_>,
) -> Result<bool, Failure> {
    let Some(shell) = environment(VARIABLE).filter(|shell| !shell.is_empty()) else { return Ok(false) };
    let shells = Shells::builtins();
    let shell = shell.to_str().and_then(|shell| shells.completer(shell));
    let Some(shell) = shell else {
        return Err(Failure::unusable(format!("{VARIABLE} names no shell that can be completed for")));
    };
    let typed = arguments.iter().position(|word| word == "--").map(|at| arguments[at + 1..].to_vec());
    let mut command = command;
    let mut answer = Vec::new();
    shell.write_complete(&mut command, typed.unwrap_or_default(), here().as_deref(), &mut answer)?;
    io::stdout().write_all(&answer)?;
    Ok(true)
}

/// Answers kubectl in the form of its own completion: a candidate a line, with what it is behind a tab, and at the end what
/// the shell is to do (4: no file names).
///
/// # Errors
/// When the answer cannot be written.
pub(crate) fn for_kubectl(out: &mut dyn Write, mut command: Command, words: &[OsString]) -> io::Result<()> {
    let mut typed = vec![OsString::from("kleym")];
    typed.extend(words.iter().cloned());
    if typed.len() == 1 {
        typed.push(OsString::new());
    }
    let last = typed.len() - 1;
    let candidates = complete(&mut command, typed, last, here().as_deref()).unwrap_or_default();
    for candidate in candidates {
        let help = candidate.get_help().map(|help| format!("\t{help}")).unwrap_or_default();
        writeln!(
            out,
            "{}{}",
            candidate.get_value().to_string_lossy(),
            help.lines().next().unwrap_or_default()
        )?;
    }
    writeln!(out, ":4")
}

fn here() -> Option<std::path::PathBuf> {
    std::env::current_dir().ok()
}

/// What was typed so far, as far as it says which cluster is meant.
struct Typed(Vec<String>);

impl Typed {
    fn now() -> Self {
        Self(std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect())
    }

    /// The value of a flag: `--flag value`, `--flag=value`, `-f value` or `-fvalue`.
    fn value(&self, names: &[&str]) -> Option<String> {
        let mut words = self.0.iter().peekable();
        while let Some(word) = words.next() {
            for name in names {
                if word == name {
                    return words.peek().map(|value| (*value).clone());
                }
                let attached = word.strip_prefix(name).map(|rest| rest.strip_prefix('=').unwrap_or(rest));
                let long = name.starts_with("--");
                match attached {
                    Some(value) if !value.is_empty() && (!long || word.contains('=')) => {
                        return Some(value.to_owned());
                    }
                    _ => {}
                }
            }
        }
        None
    }

    fn connection(&self) -> Connection {
        Connection {
            kubeconfig: self.value(&["--kubeconfig"]).map(Into::into),
            context: self.value(&["--context"]),
            impersonate: self.value(&["--as"]),
            impersonate_groups: Vec::new(),
            request_timeout: Deadline(Some(PATIENCE)),
        }
    }

    fn connect(&self) -> Option<Cluster> {
        Cluster::connect(&self.connection(), &|name| std::env::var_os(name)).ok()
    }

    /// The names of the objects of a resource, in the namespace that is meant.
    fn names(&self, resource: Resource) -> Vec<String> {
        let Some(cluster) = self.connect() else { return Vec::new() };
        let namespace = match self.value(&["-n", "--namespace"]) {
            Some(typed) => Namespace::parse(&typed).ok(),
            None => Some(cluster.namespace().clone()),
        };
        let mut collection = Collection::of(resource, namespace.as_ref());
        collection.metadata_only = true;
        let found = cluster.lists(&[collection]);
        let items = found.iter().flat_map(|found| found.items());
        items.filter_map(|item| Meta::of(item).name().map(str::to_owned)).collect()
    }
}

fn candidates(values: impl IntoIterator<Item = String>, current: &OsStr) -> Vec<CompletionCandidate> {
    let current = current.to_string_lossy();
    values.into_iter().filter(|value| value.starts_with(&*current)).map(CompletionCandidate::new).collect()
}

/// Names of namespaces.
pub(crate) fn namespaces(current: &OsStr) -> Vec<CompletionCandidate> {
    candidates(Typed::now().names(Resource::Namespaces), current)
}

/// Names of contexts.
pub(crate) fn contexts(current: &OsStr) -> Vec<CompletionCandidate> {
    let typed = Typed::now();
    let names = Cluster::contexts(&typed.connection(), &|name| std::env::var_os(name)).unwrap_or_default();
    candidates(names, current)
}

/// The words for a binding.
const BINDING: [&str; 3] = ["binding", "iib", "inferenceidentitybinding"];
/// The words for a pod.
const POD: [&str; 2] = ["pod", "po"];

/// The words `TYPE NAME` or `TYPE/NAME`, of one of these types; each with its words, of which the first is offered.
fn objects(current: &OsStr, types: &[(&[&str], Resource)]) -> Vec<CompletionCandidate> {
    let typed = Typed::now();
    let word = current.to_string_lossy();
    let of =
        |said: &dyn Fn(&str) -> bool| types.iter().find(|(words, _)| words.iter().any(|word| said(word)));
    match word.split_once('/') {
        Some((kind, _)) => match of(&|word| word == kind) {
            Some((_, resource)) => {
                candidates(typed.names(*resource).into_iter().map(|name| format!("{kind}/{name}")), current)
            }
            None => Vec::new(),
        },
        None => match of(&|word| typed.0.iter().any(|typed| typed == word)) {
            Some((_, resource)) => candidates(typed.names(*resource), current),
            None => {
                let first = types.iter().filter_map(|(words, _)| words.first());
                candidates(first.flat_map(|word| [(*word).to_owned(), format!("{word}/")]), current)
            }
        },
    }
}

/// The words `binding NAME` or `binding/NAME`.
pub(crate) fn bindings(current: &OsStr) -> Vec<CompletionCandidate> {
    objects(current, &[(&BINDING, Resource::Kind(Kind::Binding))])
}

/// The words `pod NAME`, `binding NAME`, or the same with a slash.
pub(crate) fn explained(current: &OsStr) -> Vec<CompletionCandidate> {
    objects(current, &[(&POD, Resource::Pods), (&BINDING, Resource::Kind(Kind::Binding))])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_is_found_in_each_of_its_forms() {
        let value =
            |words: &str| Typed(words.split(' ').map(str::to_owned).collect()).value(&["-n", "--namespace"]);
        for words in ["x -n llm", "x -nllm", "x -n=llm", "x --namespace llm y", "x --namespace=llm"] {
            assert_eq!(value(words).as_deref(), Some("llm"), "{words}");
        }
        for words in ["x", "x -n", "x --namespaces llm", "x --name llm"] {
            assert_eq!(value(words), None, "{words}");
        }
    }
}
