//! What the program knows of itself: definition, completion, manual pages, version, and its name as a plugin.

use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};

use insta::assert_snapshot;
use serde_json::Value;

use crate::live::Cluster;
use crate::manifests::{GOAL, LLAMA, chat, homeless};
use crate::run::{Folder, at_the_root};

#[test]
fn the_definition_is_the_committed_one() {
    let printed: Value = serde_saphyr::from_str(&at_the_root("crd").out).unwrap();
    let path = "../../config/crd/kleym.sonda.red_inferenceidentitybindings.yaml";
    let committed: Value = serde_saphyr::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert_eq!(printed, committed);
    let json: Value = serde_json::from_str(&at_the_root("crd -o json").out).unwrap();
    assert_eq!(json, committed);
}

#[test]
fn the_version_is_one_line_or_data() {
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(at_the_root("version").out, format!("kleym {version}\n"));
    assert_eq!(at_the_root("version -o json").out, format!("{{\n  \"version\": \"{version}\"\n}}\n"));
}

#[test]
fn every_shell_has_a_script_and_kubectl_a_helper() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let answer = at_the_root(&format!("completion {shell}"));
        assert!(answer.exit == Some(0) && answer.out.contains("kleym"), "{answer}");
    }
    assert_snapshot!(at_the_root("completion kubectl"));
}

#[test]
fn every_command_has_a_manual_page() {
    let folder = Folder::new();
    assert_eq!(folder.kleym("man --folder pages").exit, Some(0));
    let mut pages: Vec<String> = std::fs::read_dir(folder.path().join("pages"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    pages.sort();
    assert!(
        pages.contains(&"kleym.1".to_owned()) && pages.contains(&"kleym-render.1".to_owned()),
        "{pages:?}"
    );
    assert!(!pages.iter().any(|page| page.contains("__")), "{pages:?}");
    let page = folder.kleym("man render");
    assert!(page.exit == Some(0) && page.out.contains(".TH kleym-render 1"), "{page}");
    assert_eq!(folder.kleym("man nothing").exit, Some(4));
}

#[test]
fn as_a_plugin_it_calls_itself_by_the_plugins_name() {
    let folder = Folder::new();
    let plugin = folder.path().join("kubectl-kleym");
    symlink(env!("CARGO_BIN_EXE_kleym"), &plugin).unwrap();
    let help = Command::new(&plugin).args(["status", "--help"]).env_clear().output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    assert!(help.contains("Usage: kubectl kleym status"), "{help}");
}

/// What bash is offered for a line that ends with this word.
fn offered(folder: &Folder, words: &[&str]) -> Vec<String> {
    let output = Command::new(env!("CARGO_BIN_EXE_kleym"))
        .current_dir(folder.path())
        .env_clear()
        .env("COMPLETE", "bash")
        .env("_CLAP_COMPLETE_INDEX", (words.len() - 1).to_string())
        .env("_CLAP_COMPLETE_COMP_TYPE", "9")
        .env("_CLAP_COMPLETE_SPACE", "true")
        .env("_CLAP_IFS", "\n")
        .arg("--")
        .args(words)
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn names_are_completed_from_the_cluster_for_shells_and_for_kubectl() {
    let cluster = Cluster::with("complete-names", &homeless(&[&chat(), GOAL, LLAMA])).await;
    let kubeconfig = cluster.kubeconfig();
    let base = ["kleym", "inspect", "--kubeconfig", &kubeconfig];
    let with = |words: &[&'static str]| offered(&cluster.folder, &[&base[..], words].concat());
    assert_eq!(with(&["-n", "complete-names", "binding", ""])[0], "chat");
    assert_eq!(with(&["-n", "complete-names", "binding/c"]), ["binding/chat"]);
    assert_eq!(with(&["-n", "complete-n"]), ["complete-names"]);
    assert_eq!(with(&["--context", ""])[0], "kleym-testenv");
    assert_eq!(with(&["-n", "complete-names", "binding", "x"]), Vec::<String>::new());
    let commands = offered(&cluster.folder, &["kleym", "re"]);
    assert_eq!(commands, ["render"]);
    let answer = cluster
        .folder
        .kleym(&format!("__complete inspect --kubeconfig {kubeconfig} -n complete-names binding/"));
    assert_eq!(answer.out, "binding/chat\n:4\n");
    // Nothing reachable is no reason to disturb whoever types.
    let silent = cluster.folder.kleym("__complete inspect --kubeconfig nowhere binding/");
    assert_eq!((silent.exit, silent.out.as_str(), silent.err.as_str()), (Some(0), ":4\n", ""));
}
