//! Of the same files every command says the same: `lint` and `status` say everything, `inspect` everything about one binding,
//! and `explain` names no cause that they do not name.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::book::{SETTINGS, all, staged};
use crate::explain::all_broken;
use crate::run::{Answer, Folder, at_the_root};

/// What `explain` alone says: of a pod that no binding speaks of, of what could not be read, of who holds a deletion, and of what
/// one pod mounts.
const OF_NO_BINDING: [&str; 6] = ["KLM2113", "KLM2114", "KLM2115", "KLM5014", "KLM6106", "KLM6108"];

/// A deletion that somebody else holds.
const HELD: &str = "KLM5014";

/// That no pod is there is the first link of the chain, whatever else is wrong; `lint` says it of a binding that is to have an
/// identity.
const NO_POD: &str = "KLM6102";

/// Files that a command is asked about: what is typed, and what it answers.
type Ask<'a> = dyn Fn(&str) -> Answer + 'a;

fn json(answer: &Answer) -> Value {
    serde_json::from_str(&answer.out).unwrap_or_else(|_| panic!("{answer}"))
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The binding that a finding is about, as `namespace/name`.
fn about(finding: &Value) -> Option<String> {
    let objects = finding["objects"].as_array()?;
    let binding = objects.iter().find(|object| object["kind"] == "InferenceIdentityBinding")?;
    Some(format!("{}/{}", text(binding, "/namespace"), text(binding, "/name")))
}

fn findings(answer: &Value) -> Vec<Value> {
    answer["findings"].as_array().unwrap().clone()
}

/// Every code that an answer names.
fn codes(answer: &Value, found: &mut BTreeSet<String>) {
    match answer {
        Value::Object(fields) => {
            found.extend(fields.get("code").and_then(Value::as_str).map(str::to_owned));
            fields.values().for_each(|value| codes(value, found));
        }
        Value::Array(items) => items.iter().for_each(|item| codes(item, found)),
        _ => {}
    }
}

/// Where the commands do not agree; `pods` are looked at too.
fn differences(what: &str, ask: &Ask<'_>, pods: &[(String, String)]) -> Vec<String> {
    let mut wrong = Vec::new();
    let lint = findings(&json(&ask("lint -o json")));
    let report = json(&ask("status -o json"));
    let status = findings(&report);
    if lint != status {
        wrong.push(format!("{what}: lint says {lint:#?}, status says {status:#?}"));
    }
    let mut of_binding: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for row in report["bindings"].as_array().unwrap() {
        let (namespace, name) = (text(row, "/namespace"), text(row, "/name"));
        let key = format!("{namespace}/{name}");
        let own: Vec<Value> = lint
            .iter()
            .filter(|finding| about(finding).is_none_or(|binding| binding == key))
            .cloned()
            .collect();
        let inspect = findings(&json(&ask(&format!("inspect binding/{name} -n {namespace} -o json"))));
        if own != inspect {
            wrong.push(format!("{what}: of {key} lint says {own:#?}, inspect says {inspect:#?}"));
        }
        let mut known = BTreeSet::new();
        own.iter().for_each(|finding| codes(finding, &mut known));
        let mut explained = BTreeSet::new();
        codes(&json(&ask(&format!("explain binding/{name} -n {namespace} -o json"))), &mut explained);
        if row["ready"] != "True" {
            explained.remove(NO_POD);
        }
        // Only there is it known who holds a deletion, and since when.
        if known.contains("KLM5101") {
            explained.remove(HELD);
        }
        if !explained.is_subset(&known) {
            wrong.push(format!("{what}: of {key} lint says {known:?}, explain says {explained:?}"));
        }
        of_binding.insert(key, known);
    }
    let known: BTreeSet<&str> = of_binding
        .values()
        .flatten()
        .map(String::as_str)
        .chain(OF_NO_BINDING)
        .chain(lint.iter().map(|finding| text(finding, "/code")))
        .collect();
    for (namespace, pod) in pods {
        let mut explained = BTreeSet::new();
        codes(&json(&ask(&format!("explain pod/{pod} -n {namespace} -o json"))), &mut explained);
        if !explained.iter().all(|code| known.contains(code.as_str())) {
            wrong.push(format!("{what}: of pod {pod} explain says {explained:?}, lint says {known:?}"));
        }
    }
    wrong
}

#[test]
fn of_every_broken_cluster_all_commands_say_the_same() {
    let pod = [("llm".to_owned(), "vllm-0".to_owned())];
    let mut wrong = Vec::new();
    for (name, dump) in all_broken() {
        let ask = |asked: &str| dump.kleym(&asked.replace(" -n llm", ""));
        wrong.extend(differences(name, &ask, &pod));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn of_every_example_in_the_book_all_commands_say_the_same() {
    let (mut wrong, mut silent) = (Vec::new(), BTreeSet::new());
    let mut seen = 0;
    let mut check = |what: &str, folder: &Folder, flags: &str| {
        seen += 1;
        let ask = |asked: &str| folder.kleym(&format!("{asked} -f . {flags}"));
        wrong.extend(differences(what, &ask, &[]));
    };
    let all = all();
    let mut example = None;
    for fence in &all {
        let code = fence.page.trim_start_matches("docs/src/findings/").trim_end_matches(".md");
        if !code.starts_with("KLM") {
            continue;
        }
        if fence.mark("in").is_some() {
            example = Some(fence);
        } else if fence.is("runs") && !fence.text.contains(" -f ") {
            let folder = staged(example.filter(|example| example.page == fence.page), fence);
            check(&fence.place(), &folder, SETTINGS);
            // What a page shows of a cluster is said by every command, not by `explain` alone.
            let mut said = BTreeSet::new();
            codes(&json(&folder.kleym(&format!("lint -f . -o json {SETTINGS}"))), &mut said);
            if !said.contains(code) {
                silent.insert(code.to_owned());
            }
        } else if fence.language == "yaml" && fence.mark("finds").is_some() && fence.mark("beside").is_none()
        {
            check(&fence.place(), &Folder::with(&[("x.yaml", &fence.text)]), "");
        }
    }
    assert!(seen > 25, "only {seen} examples were found");
    assert_eq!(silent, OF_NO_BINDING.map(str::to_owned).into());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn of_the_folders_of_examples_all_commands_say_the_same() {
    for folder in ["cluster", "conflict", "map", "quickstart"] {
        let ask = |asked: &str| at_the_root(&format!("{asked} -f examples/{folder}"));
        let wrong = differences(folder, &ask, &[]);
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}

#[test]
fn a_status_in_a_file_that_contradicts_the_engine_is_told_by_every_command() {
    let (_, dump) = all_broken().swap_remove(0);
    let stale = dump.edit(
        "binding.yaml",
        "spec:",
        "status: {observedGeneration: 2, conditions: [{type: Ready, status: 'True', reason: Reconciled}]}\nspec:",
    );
    for command in ["lint", "status", "inspect binding/chat"] {
        let answer = stale.kleym(command);
        let said = format!("{}{}", answer.out, answer.err);
        let line =
            "warning[KLM9105]: the status of `llm/chat` speaks of generation 2, but it has generation 3";
        assert!(said.contains(line), "{answer}");
    }
}
