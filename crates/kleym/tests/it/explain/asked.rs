//! How it is asked, and what to type next.

use super::{BINDING, FALLBACK, POD, SETTINGS, h};
use crate::run::at_the_root;

#[test]
fn one_name_in_two_namespaces_has_to_be_said_which() {
    let pod = POD.replace("namespace: llm", "namespace: web");
    let binding = BINDING.replace("namespace: llm", "namespace: web");
    let dump = h().with("pod-2.yaml", &pod).with("binding-2.yaml", &binding);
    for (what, kind) in [("pod/vllm-0", "pod `vllm-0`"), ("binding/chat", "binding `chat`")] {
        for all in ["", " -A"] {
            let answer = dump.ask(&format!("explain {what} -f dump{all} {SETTINGS}"));
            assert_eq!((answer.exit, answer.out.as_str()), (Some(4), ""), "{answer}");
            let error =
                format!("error: there is a {kind} in each of the namespaces `llm` and `web`\n  = help: ");
            assert!(answer.err.starts_with(&error) && answer.err.contains("-n llm"), "{answer}");
        }
        let named = dump.ask(&format!("explain {what} -f dump -n llm {SETTINGS}"));
        assert_eq!(named.exit, Some(0), "{named}");
        // The only one is meant, wherever it is.
        let only = h().ask(&format!("explain {what} -f dump {SETTINGS}"));
        assert_eq!(only.exit, Some(0), "{only}");
    }
}

#[test]
fn type_and_name_may_be_two_words() {
    for (one, two) in [("pod/vllm-0", "pod vllm-0"), ("iib/chat", "binding chat")] {
        let (one, two) = (h().kleym(&format!("explain {one}")), h().kleym(&format!("explain {two}")));
        assert_eq!((one.exit, &one.out, &one.err), (two.exit, &two.out, &two.err), "{two}");
    }
    for wrong in ["node x", "pod a/b", "pod vllm-0 vllm", "spiffe://a/b c"] {
        let answer = h().kleym(&format!("explain {wrong}"));
        assert_eq!(answer.exit, Some(4), "{answer}");
    }
    for wrong in ["pod llm/vllm-0", "pod/llm/vllm-0"] {
        let answer = h().kleym(&format!("explain {wrong}"));
        assert_eq!(answer.exit, Some(4), "{answer}");
        assert!(answer.err.ends_with("name the namespace with -n: pod/vllm-0 -n llm\n"), "{answer}");
    }
}

#[test]
fn no_answer_from_files_says_to_ask_a_cluster() {
    let answers = [
        h().without("pod.yaml")
            .with("pod.yaml", &POD.replace("app: vllm", "app: other"))
            .kleym("explain binding/chat"),
        h().edit("node.yaml", "name: gpu-14", "name: gpu-15").explain(),
        h().edit("pod.yaml", "  nodeName: gpu-14\n", "").explain(),
        h().with("default.yaml", &FALLBACK.replace("fallback: true", "ttl: 5d")).explain(),
        h().edit("output.yaml", "kleym.sonda.red/managed-by: kleym", "app: other")
            .edit("output.yaml", "kleym.sonda.red/binding-uid: uid-of-chat", "app: other")
            .explain(),
    ];
    for answer in answers {
        let fix = answer.out.lines().find(|line| line.starts_with("fix ")).unwrap();
        assert!(!fix.contains("`kubectl"), "{answer}");
    }
}

#[test]
fn what_stands_in_a_file_cannot_disturb_a_terminal() {
    let odd = h().edit("pod.yaml", "labels: {app: vllm}", r#"labels: {app: "v\e[31m\u202e"}"#).explain();
    let plain = |c: char| c == '\n' || !c.is_control() && c != '\u{202e}';
    assert!(odd.out.chars().all(plain) && odd.err.chars().all(plain), "{odd}");
    assert!(odd.out.contains(r"metadata.labels = app=v\u{1b}[31m\u{202e}"), "{odd}");
}

#[test]
fn what_cannot_be_parsed_comes_first_and_the_answer_says_that_it_may_be_incomplete() {
    let broken = || h().with("z.yaml", "a: [1\nb: 2\n");
    let note = "note: what stands in a file that cannot be parsed is not known, so this answer may be incomplete or wrong";
    for asked in ["pod/nobody", "binding/nobody", "spiffe://example.org/nobody"] {
        let answer = broken().kleym(&format!("explain {asked}"));
        assert_eq!((answer.exit, answer.out.as_str()), (Some(3), ""), "{answer}");
        let place = |text: &str| answer.err.find(text).unwrap_or_else(|| panic!("{text}: {answer}"));
        assert!(answer.err.starts_with("error[KLM9001]"), "{answer}");
        assert!(place(note) < place("in what could be parsed"), "{answer}");
    }
    let answer = broken().explain();
    assert_eq!(answer.exit, Some(2), "{answer}");
    assert!(answer.err.starts_with("error[KLM9001]") && answer.err.contains(note), "{answer}");
    let json = broken().kleym("explain pod/vllm-0 -o json");
    let read: serde_json::Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(read["findings"][0]["code"], "KLM9001", "{json}");
    let inspect = broken().kleym("inspect binding/nobody");
    assert!(inspect.err.starts_with("error[KLM9001]"), "{inspect}");
    assert!(
        inspect.err.contains(
            "there is no InferenceIdentityBinding `nobody` in namespace `llm` in what could be parsed"
        ),
        "{inspect}"
    );
    assert!(!h().kleym("explain pod/nobody").err.contains("parsed"));
}

#[test]
fn what_is_no_spiffe_id_is_a_usage_error_that_says_why() {
    let all: Vec<String> = [
        "spiffe://",
        "spiffe:///ns/llm/objective/chat",
        "spiffe:/example.org/x",
        "spiffe:example.org",
        "SPIFFE://example.org/x",
        "spiffe://Example.org/x",
        "spiffe://example.org:80/x",
        "spiffe://u@example.org/x",
        "spiffe://example.org/",
        "spiffe://example.org/x/",
        "spiffe://example.org//x",
        "spiffe://example.org/../x",
        "spiffe://example.org/x?a=b",
        "spiffe://example.org/ü",
        "https://example.org/x",
    ]
    .into_iter()
    .map(|asked| {
        let answer = h().kleym(&format!("explain {asked}"));
        assert_eq!((answer.exit, answer.out.as_str()), (Some(4), ""), "{answer}");
        assert!(answer.err.starts_with("error: `") && answer.err.contains("\n  = help: write "), "{answer}");
        format!("{asked}\n{}", answer.err)
    })
    .collect();
    insta::assert_snapshot!(all.join("\n"));
    // A trust domain alone is one, and nobody has it; what a binding asks for is found, though it can never have it.
    assert_eq!(h().kleym("explain spiffe://example.org").exit, Some(3));
    let asks = h().edit("binding.yaml", "spec:", "spec:\n  spiffeIDTemplate: spiffe://example.org/ns/llm/x/");
    let answer = asks.kleym("explain spiffe://example.org/ns/llm/x/");
    assert_eq!((answer.exit, super::cause(&answer)), (Some(2), Some("KLM3002")), "{answer}");
}

#[test]
fn verbose_says_what_was_read_and_by_which_settings() {
    let odd = "kind: Secret\napiVersion: v1\nmetadata: {name: x}\n";
    for command in ["explain pod/vllm-0 -v", "inspect binding/chat -v"] {
        let answer = h().with("odd.yaml", odd).kleym(command);
        let lines: Vec<&str> = answer.err.lines().take(4).collect();
        assert_eq!(
            lines,
            [
                "read 8 documents in 8 files",
                "ignored 1 object of kind Secret (v1)",
                "settings: trust domain `example.org` (given), class `spire-spire` (given), instance `default` (the default)",
                "settings of spire-controller-manager: ConfigMap spire-server/spire-controller-manager",
            ],
            "{answer}"
        );
    }
    let assumed = h().without("manager.yaml").ask("explain pod/vllm-0 -f dump -v");
    assert!(assumed.err.contains("settings of spire-controller-manager: no configuration that could be read; taken to fit, for nobody says it: class, ignored namespaces, trust domain\n"), "{assumed}");
    assert!(!h().explain().err.contains("settings"));
}

#[test]
fn the_help_says_how_a_subject_is_written_as_kubectl_would() {
    let folder = crate::run::Folder::new();
    let explain = folder.kleym("explain --help").out;
    assert!(
        explain.contains("kleym explain [OPTIONS] <TYPE/NAME | TYPE NAME | SPIFFE-ID | CODE>\n"),
        "{explain}"
    );
    let inspect = folder.kleym("inspect --help").out;
    assert!(inspect.contains("kleym inspect [OPTIONS] <TYPE/NAME | TYPE NAME>\n"), "{inspect}");
}

#[test]
fn what_is_not_there_is_told_with_what_is_nearest() {
    let id = "`spiffe://example.org/ns/llm/objective/chat` of binding/chat of namespace llm";
    for asked in [
        "spiffe://example.org/ns/lm/objective/chat",
        "spiffe://example.com/ns/llm/objective/chat",
        "spiffe://example.org/ns/llm/objective/chatt",
    ] {
        let answer = h().ask(&format!("explain {asked} -f dump {SETTINGS}"));
        assert_eq!(answer.exit, Some(3), "{answer}");
        assert!(answer.err.ends_with(&format!("  = help: the nearest to it: {id}\n")), "{answer}");
    }
    let far = h().ask(&format!("explain spiffe://example.com/shop -f dump {SETTINGS}"));
    assert!(!far.err.contains("help"), "{far}");
    for asked in ["pod/vllm-0", "binding/chat"] {
        let answer = h().ask(&format!("explain {asked} -n web -f dump {SETTINGS}"));
        assert_eq!(answer.exit, Some(3), "{answer}");
        assert!(
            answer.err.ends_with("  = help: there is one in namespace `llm`: name it with -n llm\n"),
            "{answer}"
        );
    }
}

#[test]
fn the_code_of_a_finding_is_explained_without_files_or_a_cluster() {
    for typed in ["KLM4001", "klm4001"] {
        let answer = crate::run::Folder::new().kleym(&format!("explain {typed}"));
        assert_eq!((answer.exit, answer.err.as_str()), (Some(0), ""), "{answer}");
        assert!(answer.out.starts_with("KLM4001 (error): a binding that comes first"), "{answer}");
        for section in ["\nCause\n  ", "\nCheck\n  ", "\nFix\n  - Different containers"] {
            assert!(answer.out.contains(section), "{answer}");
        }
    }
    let unknown = crate::run::Folder::new().kleym("explain KLM0001");
    assert_eq!(unknown.exit, Some(4), "{unknown}");
    let data = crate::run::Folder::new().kleym("explain KLM4001 -o json");
    assert_eq!(data.exit, Some(4), "{data}");
}

#[test]
fn a_container_that_no_pod_has_is_not_found_through_a_binding_either() {
    let answer = at_the_root("explain binding/chat -c nobody -f examples/cluster");
    assert_eq!(answer.exit, Some(3), "{answer}");
    assert!(answer.err.contains("no pod of namespace `llm` has a container `nobody`"), "{answer}");
    assert_eq!(at_the_root("explain binding/chat -c proxy -f examples/cluster").exit, Some(0));
}
