//! Which kubeconfig, as kubectl finds it: `--kubeconfig`, else every file that KUBECONFIG names, merged, else
//! `~/.kube/config`. Each file is first read by the parser that reads manifests too, so that a mistake in it is shown
//! with its line and column, and nothing in it can grow out of proportion.

use std::path::{Path, PathBuf};

use kleym_core::settings::given::Environment;
use kleym_core::text::Quoted;
use kube::config::{Kubeconfig, KubeconfigError};

use super::words::innermost;
use crate::exit::Failure;
use crate::source::{File, Files, Problem, documents, yaml_problem};

/// The configuration, with the files it comes from; `None` when there is no file at all.
pub(super) fn load(
    typed: Option<&Path>,
    environment: Environment<'_>,
) -> Result<Option<Kubeconfig>, Failure> {
    if let Some(path) = typed {
        return read(path).map(Some);
    }
    let named: Vec<PathBuf> = environment("KUBECONFIG")
        .map(|paths| std::env::split_paths(&paths).filter(|path| !path.as_os_str().is_empty()).collect())
        .unwrap_or_default();
    if named.is_empty() {
        let home = environment("HOME").filter(|home| !home.is_empty());
        let usual = home.map(|home| Path::new(&home).join(".kube").join("config"));
        return usual.filter(|path| path.exists()).map(|path| read(&path)).transpose();
    }
    let mut merged: Option<Kubeconfig> = None;
    // Like kubectl: files that are not there are skipped.
    for path in named.iter().filter(|path| path.exists()) {
        let next = read(path)?;
        merged = Some(match merged {
            None => next,
            Some(first) => first.merge(next).map_err(|error| {
                Failure::unusable(format!("the files that KUBECONFIG names do not go together: {error}"))
            })?,
        });
    }
    match merged {
        Some(merged) => Ok(Some(merged)),
        None => {
            let names: Vec<String> = named.iter().map(|path| path.display().to_string()).collect();
            let names = kleym_core::text::quoted_list(names.iter().map(String::as_str));
            Err(Failure::unusable(format!("KUBECONFIG names {names}, but there is no such file")))
        }
    }
}

/// A mistake in a kubeconfig, with its place.
fn misread(file: &File, problem: &Problem) -> Failure {
    let (line, column) = file.position(problem.range.start);
    // What is wrong with the file itself is a sentence of its own.
    let what = match file.problem {
        Some(_) => format!("the kubeconfig cannot be read: {}", problem.message),
        None => format!("the kubeconfig {}", problem.message),
    };
    let problems = vec![format!("{}:{line}:{column}: {what}", file.name)];
    Failure::Unusable { problems, hint: problem.hint.clone() }
}

fn read(path: &Path) -> Result<Kubeconfig, Failure> {
    if !path.is_file() {
        let shown = Quoted(&path.display().to_string()).to_string();
        let what = if path.exists() { "is no file" } else { "cannot be read: there is no such file" };
        return Err(Failure::unusable(format!("the kubeconfig {shown} {what}")));
    }
    let files = Files::one(path)?;
    for (id, file) in files.iter() {
        let problems = documents(id, file, drop);
        if let Some(problem) = problems.first() {
            return Err(misread(file, problem));
        }
    }
    Kubeconfig::read_from(path).map_err(|error| {
        if let (KubeconfigError::Parse(error), Some((_, file))) = (&error, files.iter().next()) {
            return misread(file, &yaml_problem(&file.text, error));
        }
        let shown = Quoted(&path.display().to_string()).to_string();
        Failure::unusable(format!("the kubeconfig {shown} cannot be used: {}", innermost(&error)))
    })
}
