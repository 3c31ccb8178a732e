//! Files that are not what they should be: every one gets its line and column, and what to do.

use insta::assert_snapshot;

use crate::manifests::{GOAL, LLAMA, chat, file, good};
use crate::run::Folder;

/// The answer for one file.
fn answer(name: &str, bytes: &[u8]) -> String {
    let folder = Folder::new();
    folder.put(name, bytes);
    let answer = folder.kleym(&format!("render -f {name}"));
    assert_eq!(answer.exit, Some(2), "{answer}");
    answer.to_string()
}

fn answers(files: &[(&str, &[u8])]) -> String {
    let answers: Vec<String> = files.iter().map(|(name, bytes)| answer(name, bytes)).collect();
    answers.join("\n\n")
}

#[test]
fn yaml_that_is_none() {
    assert_snapshot!(answers(&[
        ("tab.yaml", b"a: 1\nb:\n\tc: 2\n"),
        ("duplicate.yaml", b"spec:\n  mode: PoolOnly\n  a: {b: 1, c: 2}\n  mode: PerObjective\n"),
        ("duplicate-flow.yaml", b"a: {b: 1, c: 2, b: 3}\n"),
        ("unclosed.yaml", b"a: [1, 2\nb: 3\n"),
        ("quote.yaml", b"a: \"x\nb: 1\n"),
        ("colon.yaml", b"a: b: c\n"),
        ("dedent.yaml", b"- a\nb: c\n"),
        ("chart.yaml", b"{{- if .Values.x }}\na: {{ .Values.y }}\n{{- end }}\n"),
        ("null-key.yaml", b"~: 1\n"),
        ("list-key.yaml", b"? [a]\n: 1\n"),
        ("one-key.yaml", b"a:\n  1: x\n  \"1\": y\n"),
        ("nan.yaml", b"a: .nan\n"),
        ("nul.yaml", b"a: b\0c\n"),
        ("escape.yaml", b"a: \x1b[31mred\n"),
        ("latin.yaml", b"a: 1\nb: caf\xe9 x\n"),
        ("utf16.yaml", b"\xff\xfea\0:\0 \x001\0"),
        ("no-anchor.yaml", b"a: *x\n"),
        ("itself.yaml", b"a: &a\n  b: *a\n"),
        ("crlf.yaml", b"a: 1\r\nb:\r\n\tc: 2\r\n"),
        ("bom.yaml", b"\xef\xbb\xbfa: b: c\n"),
    ]));
}

#[test]
fn json_that_is_none() {
    assert_snapshot!(answers(&[
        ("value.json", b"{\"a\": 1,\n \"b\": }"),
        ("duplicate.json", b"{\"a\": 1,\n \"a\": 2}"),
        ("trailing.json", b"{\"a\": 1} xx"),
        ("unclosed.json", b"{\"a\": [1, 2"),
    ]));
}

#[test]
fn what_grows_out_of_proportion_is_refused() {
    let bomb: String =
        (1..12).map(|i| format!("a{i}: &a{i} [{}]\n", vec![format!("*a{}", i - 1); 10].join(", "))).collect();
    let nested = "[".repeat(10_000) + &"]".repeat(10_000);
    assert_snapshot!(answers(&[
        ("bomb.yaml", format!("a0: &a0 [x]\n{bomb}").as_bytes()),
        ("flow.yaml", format!("a: {nested}\n").as_bytes()),
        ("block.yaml", (0..200).map(|i| format!("{}a:\n", " ".repeat(i))).collect::<String>().as_bytes()),
        ("deep.json", nested.as_bytes()),
    ]));
    let large = answer("large.yaml", " ".repeat(64 * 1024 * 1024 + 1).as_bytes());
    assert!(large.contains("the file is larger than 64 MiB"), "{large}");
}

#[test]
fn files_with_byte_order_marks_or_carriage_returns_read_the_same() {
    let plain = Folder::with(&[("good.yaml", &good())]).kleym("render -f good.yaml");
    for text in
        [format!("\u{feff}{}", good()), good().replace('\n', "\r\n"), format!("%YAML 1.1\n---\n{}", good())]
    {
        let answer = Folder::with(&[("good.yaml", &text)]).kleym("render -f good.yaml");
        assert_eq!((answer.exit, &answer.out, &answer.err), (plain.exit, &plain.out, &plain.err), "{text}");
    }
}

#[test]
fn keys_and_values_that_yaml_takes_for_something_else_are_what_they_are_to_kubectl() {
    let folder = Folder::with(&[
        (
            "key.yaml",
            &file([chat().as_str(), GOAL, &LLAMA.replace("app: llama", "on: \"x\"\n      0x10: \"y\"")]),
        ),
        ("value.yaml", &file([chat().as_str(), GOAL, &LLAMA.replace("app: llama", "app: on")])),
    ]);
    let answer = folder.kleym("render -f key.yaml");
    assert!(answer.out.contains("k8s:pod-label:true:x\n  - k8s:sa:server"), "{answer}");
    assert!(answer.out.contains("k8s:pod-label:16:y\n"), "{answer}");
    assert!(folder.kleym("render -f value.yaml").err.contains("must be a string, but is a boolean"));
}

#[test]
fn a_mistake_in_one_document_does_not_hide_the_others() {
    let text = file([chat().as_str(), "a: [\n", GOAL, "b:\n\tc\n", LLAMA]);
    let folder = Folder::with(&[("mixed.yaml", &text)]);
    let answer = folder.kleym("render -f mixed.yaml");
    assert!(answer.out.contains("spiffe://kleym.sonda.red/ns/llm/objective/goal"), "{answer}");
    assert_snapshot!(answer.err);
}

#[test]
fn what_a_broken_file_may_declare_is_said_with_what_is_missing() {
    let folder = Folder::with(&[("chat.yaml", &chat()), ("goal.yaml", "a: [\n"), ("llama.yaml", LLAMA)]);
    assert_snapshot!(folder.kleym("render -f ."));
}

#[test]
fn an_object_that_is_declared_twice_is_shown_in_both_places() {
    let folder = Folder::with(&[("a.yaml", &good()), ("b.yaml", LLAMA)]);
    assert_snapshot!(folder.kleym("render -f . -o json"));
}

#[test]
fn objects_that_cannot_be_known_are_shown() {
    let text = file([
        "apiVersion: kleym.sonda.red/v1alpha1\nkind: InferenceIdentityBinding\nmetadata:\n  generateName: x-\n",
        "apiVersion: llm-d.ai/v1alpha2\nkind: InferenceObjective\nspec: {}\n",
        "apiVersion: llm-d.ai/v1alpha2\nkind: InferenceObjective\nmetadata: []\n",
        "apiVersion: inference.networking.k8s.io/v1\nkind: InferencePool\nmetadata: {name: A_b, namespace: llm}\n",
        "apiVersion: inference.networking.k8s.io/v1\nkind: InferencePool\nmetadata:\n  name: a\n  namespace: 1\n",
    ]);
    assert_snapshot!(answer("unknown.yaml", text.as_bytes()));
}

#[test]
fn a_version_that_is_not_read_is_a_warning() {
    let folder = Folder::with(&[(
        "old.yaml",
        "apiVersion: inference.networking.x-k8s.io/v1alpha1\nkind: InferencePool\nmetadata:\n  name: llama\n",
    )]);
    assert_snapshot!(folder.kleym("render -f old.yaml"));
}
