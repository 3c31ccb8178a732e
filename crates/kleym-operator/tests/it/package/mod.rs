//! The manifests and the chart, rendered by the pinned tools that `KLEYM_TOOLS` names, and tried on a real API server.
//! Part of the tests only with the feature `package`: `make package-test` brings the tools.

mod book;
mod gitops;
mod install;
mod released;
mod render;
mod schemas;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// The workspace's folder.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// Where a pinned tool lies.
fn tool_path(name: &str) -> PathBuf {
    Path::new(&std::env::var_os("KLEYM_TOOLS").expect("`make package-test` sets KLEYM_TOOLS")).join(name)
}

/// Runs a pinned tool in the workspace's folder, with a text as its input.
fn tool(name: &str, arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(tool_path(name))
        .args(arguments)
        .current_dir(root())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{name}: {error}"));
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    let writing = std::thread::spawn(move || {
        // A tool that refuses its arguments does not read its input.
        let _ = stdin.write_all(input.as_bytes());
    });
    let output = child.wait_with_output().unwrap();
    writing.join().unwrap();
    output
}

/// What a tool prints; it must succeed and have nothing to complain of.
fn printed(name: &str, arguments: &[&str], input: &str) -> String {
    let output = tool(name, arguments, input);
    let complaints = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && complaints.is_empty(), "{name} {arguments:?}: {complaints}");
    String::from_utf8(output.stdout).unwrap()
}

/// The chart, rendered with further arguments.
fn chart(arguments: &[&str]) -> String {
    let all = [
        &["template", "kleym", "charts/kleym", "--namespace=kleym-system", "--kube-version=1.36"],
        arguments,
    ];
    printed("helm", &all.concat(), "")
}

/// The objects of a YAML text.
fn objects(text: &str) -> Vec<Value> {
    let documents = serde_saphyr::from_multiple::<Value>(text).unwrap();
    documents.into_iter().filter(|document| !document.is_null()).collect()
}

fn as_text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
