//! The pages of the book, done as a reader would do them from files: manifests give the findings that are said of them, and
//! answers that are shown are answers that come. What the marks in the pages mean is said in *Making a change* of the book.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use kleym_core::report::Code;
use kleym_testenv::pages::{Fence, fences, is_shown};
use serde_json::Value;

use crate::run::{Folder, command};

/// A healthy cluster as files, which examples change in one place.
const CLUSTER: &str = "examples/cluster";
/// Its operator's settings, which a cluster's statuses would tell.
pub(crate) const SETTINGS: &str =
    "--trust-domain example.org --clusterspiffeid-class-name spire-server-spire";

/// Findings that come from what no block of a page can show: a definition that is proved absent or serves something else, an
/// API that fails, a write that is rejected, the name of a file. Other tests meet them.
const BEYOND_EXAMPLES: [Code; 7] = [
    Code::InferenceObjectiveCrdMissing,
    Code::InferencePoolCrdMissing,
    Code::ClusterSpiffeIdCrdMissing,
    Code::ManagedOutputApplyFailed,
    Code::Undecided,
    Code::Unreadable,
    Code::FileNotRead,
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Every fenced block of the book and of the examples.
pub(crate) fn all() -> Vec<Fence> {
    ["docs/src", "examples"].iter().flat_map(|folder| fences(&root(), folder).unwrap()).collect()
}

/// Runs `kleym` in a folder; both of its answers, standard output first.
fn kleym(folder: &Path, arguments: &str, input: &str) -> (String, String) {
    let mut child = command(folder, arguments).spawn().unwrap();
    drop(child.stdin.take().unwrap().write_all(input.as_bytes()));
    let output = child.wait_with_output().unwrap();
    (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn every_manifest_in_the_book_gives_the_findings_that_are_said_of_it() {
    let (mut wrong, mut seen) = (Vec::new(), 0);
    for fence in all() {
        let declares = fence.text.contains("kind: Inference");
        let staged = fence.mark("in").is_some() || fence.is("applied");
        if fence.language != "yaml" || staged || !(declares || fence.mark("finds").is_some()) {
            continue;
        }
        seen += 1;
        let expected: BTreeSet<&str> = match fence.mark("finds") {
            None | Some("none") => BTreeSet::new(),
            Some(codes) => codes.split('+').collect(),
        };
        let beside = match fence.mark("beside") {
            None => "",
            Some("quickstart") => "-f examples/quickstart/inference.yaml",
            Some(other) => panic!("{}: beside={other} is not known", fence.place()),
        };
        let (said, _) = kleym(&root(), &format!("lint -f - {beside}"), &fence.text);
        let found: BTreeSet<&str> =
            said.match_indices("[KLM").filter_map(|(at, _)| said.get(at + 1..at + 8)).collect();
        if found != expected {
            wrong.push(format!("{}: {found:?} instead of {expected:?}\n{said}", fence.place()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(seen > 25, "only {seen} manifests were found");
}

/// What tells one object from another.
fn identity(object: &Value) -> String {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let group = text("/apiVersion").split_once('/').map(|(group, _)| group.to_owned()).unwrap_or_default();
    [group, text("/kind"), text("/metadata/namespace"), text("/metadata/name")].join(" ")
}

/// Lays an object over another of its name: fields replace fields, lists replace lists, and null removes.
fn merge(into: &mut Value, patch: Value) {
    match (into, patch) {
        (Value::Object(into), Value::Object(patch)) => {
            for (key, value) in patch {
                if value.is_null() {
                    into.remove(&key);
                } else {
                    merge(into.entry(key).or_insert(Value::Null), value);
                }
            }
        }
        (into, Value::Object(patch)) => {
            *into = Value::Object(serde_json::Map::new());
            merge(into, Value::Object(patch));
        }
        (into, patch) => *into = patch,
    }
}

/// The healthy cluster with an example laid over it, and without the files that a block says are not there.
pub(crate) fn staged(example: Option<&Fence>, asked: &Fence) -> Folder {
    let without: Vec<&str> = asked.mark("without").map(|all| all.split('+').collect()).unwrap_or_default();
    let mut texts = Vec::new();
    for entry in fs::read_dir(root().join(CLUSTER)).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        if path.extension().is_some_and(|extension| extension == "yaml") && !without.contains(&name.as_str())
        {
            texts.push(fs::read_to_string(path).unwrap());
        }
    }
    texts.extend(example.map(|fence| fence.text.clone()));
    let mut objects: BTreeMap<String, Value> = BTreeMap::new();
    let documents = texts.iter().flat_map(|text| serde_saphyr::from_multiple::<Value>(text).unwrap());
    for object in documents.filter(|document| !document.is_null()) {
        merge(objects.entry(identity(&object)).or_default(), object);
    }
    let folder = Folder::new();
    for (number, object) in objects.values().enumerate() {
        folder.put(&format!("{number:02}.json"), object.to_string().as_bytes());
    }
    folder
}

#[test]
fn every_answer_in_the_book_is_the_one_that_comes() {
    let (mut wrong, mut seen) = (Vec::new(), 0);
    let all = all();
    // The last example of a page is what the commands after it look at.
    let mut example: Option<&Fence> = None;
    for fence in &all {
        if example.is_some_and(|example| example.page != fence.page) {
            example = None;
        }
        if fence.mark("in").is_some() {
            assert_eq!(fence.mark("in"), Some("cluster"), "{}", fence.place());
            example = Some(fence);
        }
        if !fence.is("runs") {
            continue;
        }
        for shown in fence.commands().unwrap() {
            seen += 1;
            let Some(arguments) = shown.command.strip_prefix("kleym ") else {
                panic!("{}: only `kleym` is run, not `{}`", fence.place(), shown.command)
            };
            // Who names no files asks the cluster, which is the staged one.
            let files = arguments.split(' ').any(|word| word == "-f");
            let (out, err) = if files {
                kleym(&root(), arguments, "")
            } else {
                kleym(staged(example, fence).path(), &format!("{arguments} -f . {SETTINGS}"), "")
            };
            let said = format!("{out}{err}");
            if !is_shown(&shown.answer, &said) {
                wrong.push(format!("{}: `{}` answers\n{said}", fence.place(), shown.command));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(seen > 20, "only {seen} answers were found");
}

#[test]
fn every_finding_has_an_example_that_shows_it() {
    let all = all();
    let shown = |code: &Code| {
        let name = code.to_string();
        let page = format!("docs/src/findings/{name}.md");
        all.iter().filter(|fence| fence.page == page).any(|fence| {
            fence.mark("finds").is_some_and(|codes| codes.split('+').any(|code| code == name))
                || (fence.is("runs") || fence.is("live")) && fence.text.contains(&name)
        })
    };
    let missing: Vec<&Code> = Code::ALL.iter().filter(|code| !shown(code)).collect();
    let expected: Vec<&Code> = Code::ALL.iter().filter(|code| BEYOND_EXAMPLES.contains(code)).collect();
    assert_eq!(missing, expected);
}
