//! How it is asked, and what to type next.

use super::{BINDING, FALLBACK, POD, SETTINGS, h};

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
