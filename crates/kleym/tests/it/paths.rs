//! Where objects come from: files, folders, standard input; and what is said when they cannot be read.

use insta::assert_snapshot;

use crate::manifests::{GOAL, LLAMA, chat, good};
use crate::run::Folder;

fn identities(folder: &Folder, arguments: &str) -> usize {
    let answer = folder.kleym(arguments);
    assert_eq!(answer.exit, Some(0), "{answer}");
    answer.out.matches("kind: ClusterSPIFFEID").count()
}

#[test]
fn a_folder_is_read_for_its_manifests() {
    let folder = Folder::with(&[
        ("all/chat.yaml", &chat()),
        ("all/goal.yml", GOAL),
        (
            "all/llama.json",
            r#"{"apiVersion":"inference.networking.k8s.io/v1","kind":"InferencePool","metadata":{"name":"llama","namespace":"llm"},"spec":{"selector":{"matchLabels":{"app":"llama"}}}}"#,
        ),
        ("all/notes.txt", "not: [read"),
        ("all/.yaml", "not: [read"),
        ("all/deeper/broken.yaml", "not: [read"),
    ]);
    assert_eq!(identities(&folder, "render -f all"), 1);
    assert_eq!(folder.kleym("render -f all -R").exit, Some(2));
}

#[test]
fn sub_folders_are_read_when_asked_for() {
    let folder =
        Folder::with(&[("a/chat.yaml", &chat()), ("a/b/goal.yaml", GOAL), ("a/b/c/llama.yaml", LLAMA)]);
    assert_eq!(identities(&folder, "render -R -f a"), 1);
}

#[test]
fn a_file_that_is_named_twice_is_read_once() {
    let folder = Folder::with(&[("a/good.yaml", &good())]);
    assert_eq!(identities(&folder, "render -f a -f a/good.yaml -f ./a/../a/good.yaml"), 1);
}

#[test]
fn commas_separate_paths_and_patterns_are_expanded_as_kubectl_does() {
    let folder = Folder::with(&[
        ("a/chat.yaml", &chat()),
        ("a/goal.yaml", GOAL),
        ("b/llama.yaml", LLAMA),
        ("c,d/good.yaml", &good()),
    ]);
    for paths in ["a,b", "a/chat.yaml,a/goal.yaml,b/llama.yaml", "a/*.yaml,b", "?/[a-l]*.yaml", "c,d"] {
        assert_eq!(identities(&folder, &format!("render -f {paths}")), 1, "{paths}");
    }
    let piped = folder.run("render -f a,-", &[], LLAMA.as_bytes());
    assert_eq!(piped.exit, Some(0), "{piped}");
    for (paths, says) in [
        (
            "a,nowhere",
            "`nowhere` cannot be read: there is no such file or folder (a comma separates paths, so `a,nowhere` names several)",
        ),
        ("a/x*.yaml", "`a/x*.yaml` cannot be read: no file or folder matches it"),
        (
            "https://example.org/x.yaml",
            "`https://example.org/x.yaml` cannot be read: it is no file; fetch it, and give it to `-f -`",
        ),
    ] {
        let answer = folder.kleym(&format!("render -f {paths}"));
        assert_eq!(
            (answer.exit, answer.err.as_str()),
            (Some(4), format!("error: {says}\n").as_str()),
            "{answer}"
        );
    }
}

#[test]
fn standard_input_is_read() {
    let folder = Folder::new();
    let answer = folder.run("render -f -", &[], good().as_bytes());
    assert_eq!((answer.exit, answer.out.matches("kind: ClusterSPIFFEID").count()), (Some(0), 1), "{answer}");
    assert_snapshot!(folder.run("render -f -", &[], chat().as_bytes()));
}

#[test]
fn a_list_is_read_item_by_item() {
    let items = r#"{"apiVersion":"v1","kind":"List","items":[
  {"apiVersion":"kleym.sonda.red/v1alpha1","kind":"InferenceIdentityBinding",
   "metadata":{"name":"chat","namespace":"llm"},
   "spec":{"targetRef":{"name":"goal"},"selectorSource":"DerivedFromPool",
           "workloadSelectorTemplates":["k8s:ns:llm","k8s:sa:server","k8s:ns:other"],
           "containerDiscriminator":{"type":"ContainerName","value":"vllm"}}},
  {"apiVersion":"v1","kind":"Service","metadata":{"name":"x"}}
]}
{"apiVersion":"llm-d.ai/v1alpha2","kind":"InferenceObjectiveList","items":[
  {"metadata":{"name":"goal","namespace":"llm"},"spec":{"poolRef":{"name":"llama"}}}
]}
"#;
    let folder = Folder::with(&[("items.json", items), ("llama.yaml", LLAMA)]);
    assert_snapshot!(folder.kleym("render -f items.json -f llama.yaml -v"));
}

#[test]
fn what_kleym_does_not_read_is_ignored_and_counted() {
    let others = "\
apiVersion: apps/v1
kind: Deployment
---
kind: Service
apiVersion: v1
---
apiVersion: apps/v1
kind: Deployment
---
apiVersion: spire.spiffe.io/v1alpha1
kind: ClusterSPIFFEID
---
just a text
---
- a list
---
# nothing
---
values: of a chart
";
    let folder = Folder::with(&[("others.yaml", others), ("good.yaml", &good()), ("empty.yaml", "")]);
    let quiet = folder.kleym("render -f .");
    assert_eq!(quiet.exit, Some(0), "{quiet}");
    assert!(quiet.err.starts_with("1 binding, 1 identity, 0 errors, 1 warning\n"), "{quiet}");
    // Only that documents are no objects at all is worth a word.
    assert_eq!(quiet.err.matches("KLM").count(), 1, "{quiet}");
    assert!(quiet.err.contains("warning[KLM9109]: the document is a text, and no object"), "{quiet}");
    let read = folder.kleym("render -f . -v").err;
    let read: Vec<&str> = read.split_inclusive('\n').take(3).collect();
    assert_eq!(
        read.concat(),
        "read 10 documents in 3 files\n\
         ignored 3 documents that are no Kubernetes objects, \
         1 object of kind ClusterSPIFFEID (spire.spiffe.io/v1alpha1), 2 objects of kind Deployment (apps/v1), \
         1 object of kind Service (v1)\n\
         1 binding, 1 identity, 0 errors, 1 warning\n"
    );
}

#[test]
fn a_path_that_cannot_be_read_ends_it() {
    let folder =
        Folder::with(&[("good.yaml", &good()), ("empty/notes.txt", ""), ("links/good.yaml", &good())]);
    #[cfg(unix)]
    std::os::unix::fs::symlink("nowhere", folder.path().join("links/gone.yaml")).unwrap();
    let answers = ["-f nowhere.yaml -f good.yaml -f no/where", "-f empty", "-R -f empty", "-f links"]
        .map(|arguments| folder.kleym(&format!("render {arguments}")).to_string());
    assert_snapshot!(answers.join("\n\n"));
}
