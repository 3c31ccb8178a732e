//! Which kubeconfig, as kubectl finds it: `--kubeconfig`, else every file that KUBECONFIG names, merged, else
//! `~/.kube/config`. Each file is first read by the parser that reads manifests too, so that a mistake in it is shown
//! with its line and column, and nothing in it can grow out of proportion.

use std::path::{Path, PathBuf};

use kleym_core::settings::given::Environment;
use kleym_core::text::Quoted;
use kube::config::Kubeconfig;

use super::words::innermost;
use crate::exit::Failure;
use crate::source::{Files, documents};

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

fn read(path: &Path) -> Result<Kubeconfig, Failure> {
    if !path.is_file() {
        let shown = Quoted(&path.display().to_string()).to_string();
        let what = if path.exists() { "is no file" } else { "cannot be read: there is no such file" };
        return Err(Failure::unusable(format!("the kubeconfig {shown} {what}")));
    }
    let files = Files::read(&[path.to_owned()], false)?;
    for (id, file) in files.iter() {
        let (_, problems) = documents(id, file);
        if let Some(problem) = problems.first() {
            let (line, column) = file.position(problem.range.start);
            let place = format!("{}:{line}:{column}", file.name);
            let problems = vec![format!("{place}: the kubeconfig {}", problem.message)];
            return Err(Failure::Unusable { problems, hint: problem.hint.clone() });
        }
    }
    Kubeconfig::read_from(path).map_err(|error| {
        let shown = Quoted(&path.display().to_string()).to_string();
        Failure::unusable(format!("the kubeconfig {shown} cannot be used: {}", innermost(&error)))
    })
}
