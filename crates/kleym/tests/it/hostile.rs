//! Input that nobody would write by accident: no panic, no hang, no control character on a terminal, and the same answer
//! every time.

use crate::manifests::{ENOUGH, GOAL, LLAMA, VLLM, binding, chat, file, good};
use crate::run::Folder;

/// Reads one file and checks what holds of every answer.
fn check(name: &str, bytes: &[u8]) {
    let folder = Folder::new();
    folder.put(name, bytes);
    let answer = folder.kleym(&format!("render -f {name} -v"));
    let start = String::from_utf8_lossy(&bytes[..bytes.len().min(120)]).into_owned();
    assert!(matches!(answer.exit, Some(0 | 2)), "{start:?}: {answer}");
    let printable = |text: &str| text.chars().all(|c| c == '\n' || !c.is_control());
    assert!(printable(&answer.out) && printable(&answer.err), "{start:?}: {answer}");
    let again = folder.kleym(&format!("render -f {name} -v"));
    assert_eq!((answer.out, answer.err), (again.out, again.err), "{start:?}");
}

/// Texts for names and values.
fn texts() -> Vec<String> {
    let mut texts: Vec<String> = [
        "",
        " ",
        ".",
        "..",
        "A",
        "a/b",
        "a%2f",
        "a\\b",
        "a:b",
        "a?b",
        "a#b",
        "a@b",
        "a\nb",
        "a\0b",
        "a\u{1b}[31mb",
        "a\u{202e}b",
        "\u{430}",
        "e\u{301}",
        "\u{e9}",
        "\u{1f600}",
        "{{.TrustDomain}}",
        "{{/*",
        "}}",
        "{{-",
        "{{ .Nope }}",
        "{{ {{.Namespace}} }}",
        "{",
        "k8s:ns:x",
        "unix:uid:0",
        "null",
        "~",
        "*",
        "&a",
        "!!int 1",
        "- a",
        "\u{7f}",
        "\u{85}",
        "\u{2028}",
        "\u{feff}",
    ]
    .map(str::to_owned)
    .to_vec();
    texts.extend([63, 64, 253, 254, 255, 256, 512, 513, 1025, 100_000].map(|length| "a".repeat(length)));
    texts.push("{{.Namespace}}".repeat(10_000));
    texts
}

/// A JSON string is a YAML scalar too, whatever stands in it.
fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap()
}

#[test]
fn odd_texts_in_every_field() {
    for text in texts() {
        let text = quoted(&text);
        let fields = [
            chat().replace("name: chat", &format!("name: {text}")),
            chat().replace("namespace: llm", &format!("namespace: {text}")),
            chat().replace("name: goal", &format!("name: {text}")),
            chat().replace("value: vllm", &format!("value: {text}")),
            chat().replace("\"k8s:sa:server\"", &text),
            chat().replace("DerivedFromPool", &text),
            chat() + &format!("  mode: {text}\n"),
            chat() + &format!("  spiffeIDTemplate: {text}\n"),
            GOAL.replace("name: llama", &format!("name: {text}")),
            GOAL.to_owned() + &format!("    group: {text}\n    kind: {text}\n"),
            LLAMA.replace("app: llama", &format!("app: {text}")),
            LLAMA.replace("app: llama", &format!("? {text}\n      : llama")),
            LLAMA.to_owned() + &format!("    ? {text}\n    : {text}\n"),
            format!("apiVersion: {text}\nkind: {text}\n"),
            format!(
                "apiVersion: inference.networking.k8s.io/{text}\nkind: InferencePool\nmetadata: {text}\n"
            ),
        ];
        // All in one run: each in a namespace of its own would be slower, and names may well collide.
        let documents: Vec<&str> = fields.iter().map(String::as_str).chain([GOAL, LLAMA, "a: 1\n"]).collect();
        check("odd.yaml", file(documents).as_bytes());
    }
}

#[test]
fn values_of_every_other_type() {
    let mut documents = vec![GOAL.to_owned(), LLAMA.to_owned()];
    let values =
        ["null", "true", "1", "-0.5", "1e308", "18446744073709551616", "[]", "[1, [2]]", "{}", "{a: {b: c}}"];
    for (number, value) in values.iter().enumerate() {
        let name = format!("chat-{number}");
        let binding = |text: String| text.replace("name: chat", &format!("name: {name}"));
        documents.push(binding(chat().replace("name: goal", &format!("name: {value}"))));
        documents.push(binding(chat() + &format!("  mode: {value}\n")));
        documents.push(binding(
            chat().replace("\n    type: ContainerName\n    value: vllm", &format!(" {value}")),
        ));
        documents.push(format!(
            "apiVersion: kleym.sonda.red/v1alpha1\nkind: InferenceIdentityBinding\nmetadata: {{name: s{number}}}\nspec: {value}\n"
        ));
        documents.push(format!("apiVersion: {value}\nkind: {value}\nmetadata: {value}\n"));
        documents
            .push(format!("apiVersion: llm-d.ai/v1alpha2\nkind: InferenceObjective\nmetadata: {value}\n"));
        documents.push(
            LLAMA.replace("name: llama", "name: p").replace("\n      app: llama", &format!(" {value}")),
        );
        documents.push(format!("apiVersion: v1\nkind: List\nitems: {value}\n"));
        documents.push(format!("{value}\n"));
    }
    check("types.yaml", file(documents.iter().map(String::as_str)).as_bytes());
    check("types.json", format!("[{}]", ["null", "1", "{}", "[]", "\"x\"", "1e400"].join(",")).as_bytes());
}

#[test]
fn shapes_that_break_parsers() {
    let deep = |open: &str, close: &str| open.repeat(100_000) + &close.repeat(100_000);
    let shapes: Vec<Vec<u8>> = vec![
        deep("[", "]").into(),
        deep("{a: ", "}").into(),
        deep("{\"a\":", "}").into(),
        "- ".repeat(100_000).into(),
        "? ".repeat(100_000).into(),
        "&a ".repeat(10_000).into(),
        "*a ".repeat(10_000).into(),
        "!!".repeat(10_000).into(),
        "'".repeat(100_001).into(),
        "\"\\x".repeat(1_000).into(),
        "---\n".repeat(20_000).into(),
        "...\n".repeat(20_000).into(),
        "%YAML 1.2\n".repeat(1_000).into(),
        "--- |\n".repeat(1_000).into(),
        "a: >\n".repeat(1_000).into(),
        "<<: ".repeat(1_000).into(),
        "a: &a [x]\n".repeat(3).into(),
        "\u{feff}".repeat(1_000).into(),
        "\r".repeat(10_000).into(),
        "a: 1\r---\rb: 2\r".into(),
        "\t\n".repeat(1_000).into(),
        "{".into(),
        "[".into(),
        "\"".into(),
        "{\"a\"".into(),
        "{}{}{}[]1 2\"x\"null".into(),
        "a: \u{2028}b\nc: \u{85}d\n".into(),
        (0..=255).collect(),
        vec![0; 10_000],
        vec![0xff; 10_000],
        "a: ".bytes().chain(std::iter::repeat_n(b'x', 1_000_000)).collect(),
        (0..2_000).map(|i| format!("k{i}: &k{i} {{<<: *k{}}}\n", i / 2)).collect::<String>().into(),
    ];
    for shape in &shapes {
        check("shape.yaml", shape);
        check("shape.json", shape);
    }
}

#[test]
fn a_good_file_cut_anywhere_or_with_any_byte_changed() {
    let good = good();
    for at in (0..good.len()).step_by(23) {
        check("cut.yaml", &good.as_bytes()[..at]);
        for byte in [b'\0', b'\t', b'{', b'"', 0xff] {
            let mut bytes = good.clone().into_bytes();
            bytes[at] = byte;
            check("changed.yaml", &bytes);
        }
    }
}

#[test]
fn many_bindings_that_claim_one_container() {
    let bindings: Vec<String> = (0..300)
        .map(|i| {
            binding(
                &format!("b{i}"),
                &ENOUGH,
                &format!("{VLLM}  spiffeIDTemplate: spiffe://kleym.sonda.red/ns/llm/b{i}\n"),
            )
        })
        .collect();
    let text = file(bindings.iter().map(String::as_str).chain([GOAL, LLAMA]));
    let folder = Folder::with(&[("many.yaml", &text)]);
    let answer = folder.kleym("render -f many.yaml");
    assert_eq!(answer.exit, Some(2));
    assert!(
        answer.err.starts_with("300 bindings, 1 identity, 299 errors, 0 warnings, 1 info\n"),
        "{}",
        answer.err
    );
}

#[test]
fn no_text_of_an_object_disturbs_a_terminal_or_forges_a_line() {
    let hostile = "a\\e[31mb\\nForged: \\u202Ex";
    let selector = good().replace("k8s:sa:server", hostile);
    let container = good().replace("value: vllm", &format!("value: \"{hostile}\""));
    let status = format!(
        "{}status: {{conditions: [{{type: Ready, status: \"{hostile}\", reason: \"{hostile}\", message: m}}]}}\n",
        chat()
    );
    let status = file([status.as_str(), GOAL, LLAMA]);
    let folder = Folder::with(&[
        ("selector.yaml", &selector),
        ("container.yaml", &container),
        ("status.yaml", &status),
    ]);
    for name in ["selector", "container", "status"] {
        for command in
            ["status -f", "inspect binding/chat -f", "explain binding/chat -f", "graph -f", "lint -f"]
        {
            let answer = folder.kleym(&format!("{command} {name}.yaml"));
            assert!(matches!(answer.exit, Some(0 | 2)), "{answer}");
            for text in [&answer.out, &answer.err] {
                let turns = |c: char| c == '\u{202e}';
                assert!(
                    !text.chars().any(|c| c != '\n' && c.is_control() || turns(c)),
                    "{command} {name}: {answer}"
                );
                assert!(
                    !text.lines().any(|line| line.trim_start().starts_with("Forged")),
                    "{command} {name}: {answer}"
                );
            }
        }
    }
}
