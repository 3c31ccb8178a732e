//! Engine settings: flags, variables, and what is said of bad ones.

use insta::assert_snapshot;

use crate::manifests::{ENOUGH, GOAL, LLAMA, VLLM, binding, file, good};
use crate::run::Folder;

#[test]
fn settings_shape_the_output() {
    let template = "  spiffeIDTemplate: spiffe://{{ .TrustDomain }}/models/{{ .BindingName }}\n";
    let chat = binding("chat", &ENOUGH, &format!("{VLLM}{template}"));
    let folder = Folder::with(&[("good.yaml", &file([chat.as_str(), GOAL, LLAMA]))]);
    assert_snapshot!(folder.kleym(
        "render -f good.yaml --trust-domain example.org --clusterspiffeid-class-name spire-spire \
         --path-grant llm=/models --instance east"
    ));
}

#[test]
fn variables_say_the_same_as_flags() {
    let folder = Folder::with(&[("good.yaml", &good())]);
    let flags = folder.kleym(
        "render -f good.yaml --trust-domain example.org --clusterspiffeid-class-name c --path-grant a=/x \
         --path-grant b=/y --instance east",
    );
    let variables = folder.run(
        "render -f good.yaml",
        &[
            ("KLEYM_TRUST_DOMAIN", "example.org"),
            ("KLEYM_CLUSTERSPIFFEID_CLASS_NAME", "c"),
            ("KLEYM_PATH_GRANT", "a=/x, b=/y"),
            ("KLEYM_INSTANCE", "east"),
        ],
        b"",
    );
    assert_eq!((flags.exit, &flags.out), (Some(0), &variables.out));
    assert!(flags.out.contains("spiffe://example.org/") && flags.out.contains("className: c"), "{flags}");
}

#[test]
fn a_flag_wins_over_its_variable_even_when_it_is_empty() {
    let folder = Folder::with(&[("good.yaml", &good())]);
    let class = |arguments: &str, value: &str| {
        let variables = [("KLEYM_CLUSTERSPIFFEID_CLASS_NAME", value)];
        let answer = folder.run(&format!("render -f good.yaml {arguments}"), &variables, b"");
        let line = answer.out.lines().find_map(|line| line.strip_prefix("  className: "));
        line.map(str::to_owned)
    };
    assert_eq!(class("", "variable").as_deref(), Some("variable"));
    assert_eq!(class("--clusterspiffeid-class-name flag", "variable").as_deref(), Some("flag"));
    assert_eq!(class("--clusterspiffeid-class-name=", "variable"), None);
    assert_eq!(class("", ""), None);
}

#[test]
fn bad_settings_are_named_in_one_line() {
    let folder = Folder::with(&[("good.yaml", &good())]);
    let mut answers = Vec::new();
    for arguments in [
        "--trust-domain=",
        "--trust-domain=spiffe://x",
        "--trust-domain={{",
        "--instance=-",
        "--clusterspiffeid-class-name=-x",
        "--path-grant=llm",
        "--path-grant=llm=/ns/x",
        "--path-grant=a=/x --path-grant=b=/x/y",
        "--namespace=A",
        "--namespace=",
    ] {
        answers.push(folder.kleym(&format!("render -f good.yaml {arguments}")));
    }
    for variable in [("KLEYM_TRUST_DOMAIN", " \t"), ("KLEYM_PATH_GRANT", "a=/x,"), ("KLEYM_INSTANCE", "a b")]
    {
        answers.push(folder.run("render -f good.yaml", &[variable], b""));
    }
    assert!(answers.iter().all(|answer| answer.exit == Some(4) && answer.err.lines().count() == 1));
    let answers: Vec<String> = answers.iter().map(ToString::to_string).collect();
    assert_snapshot!(answers.join("\n\n"));
}

/// What `kubectl get -o yaml` prints of a binding that an operator has reported on.
fn reported(name: &str, trust_domain: &str) -> String {
    let status = format!(
        "status: {{observedGeneration: 1, trustDomain: {trust_domain}, \
         clusterSPIFFEIDClassName: spire-spire, instance: east}}\n"
    );
    format!("{}{status}", binding(name, &ENOUGH, VLLM))
}

#[test]
fn files_of_a_cluster_bring_the_operators_settings() {
    let folder =
        Folder::with(&[("dump.yaml", &file([reported("chat", "example.org").as_str(), GOAL, LLAMA]))]);
    let id = "spiffe://example.org/ns/llm/objective/goal";
    for command in ["explain binding/chat", "inspect binding chat", "status", "graph", "lint -o json"] {
        let answer = folder.kleym(&format!("{command} -f dump.yaml"));
        let said = "settings as the status of 1 binding reports: trust domain `example.org`, class `spire-spire`, instance `east`";
        assert!(answer.err.contains(said), "{answer}");
        let shown = match command {
            "graph" => "spiffe://example.org/ns/llm",
            "status" => "chat",
            "lint -o json" => "\"trustDomain\": \"example.org\"",
            _ => id,
        };
        assert!(answer.out.contains(shown), "{answer}");
        assert!(!answer.err.contains("KLM9104"), "{answer}");
    }
    // What is given comes first, and that it differs is said.
    let answer = folder.kleym("explain binding/chat -f dump.yaml --trust-domain example.net");
    assert!(answer.out.contains("spiffe://example.net/ns/llm/objective/goal"), "{answer}");
    assert!(
        answer.err.contains("warning[KLM9104]: the trust domain given here is `example.net`"),
        "{answer}"
    );
    // A variable is given, too.
    let answer =
        folder.run("explain binding/chat -f dump.yaml", &[("KLEYM_TRUST_DOMAIN", "example.net")], b"");
    assert!(answer.out.contains("spiffe://example.net/ns/llm/objective/goal"), "{answer}");
}

#[test]
fn where_nothing_but_the_instance_is_taken_from_the_status_nothing_is_said() {
    let folder =
        Folder::with(&[("dump.yaml", &file([reported("chat", "example.org").as_str(), GOAL, LLAMA]))]);
    let given = "--trust-domain example.org --clusterspiffeid-class-name spire-spire";
    let answer = folder.kleym(&format!("status -f dump.yaml {given}"));
    assert!(!answer.err.contains("settings as"), "{answer}");
}

#[test]
fn files_whose_status_disagrees_bring_only_what_they_agree_on() {
    let both = [reported("chat", "example.org"), reported("other", "example.net")];
    let folder = Folder::with(&[("dump.yaml", &file([both[0].as_str(), both[1].as_str(), GOAL, LLAMA]))]);
    let answer = folder.kleym("explain binding/chat -f dump.yaml");
    assert!(answer.err.contains("warning[KLM9104]"), "{answer}");
    let said = "settings as the status of 2 bindings reports: class `spire-spire`, instance `east`\n";
    assert!(answer.err.contains(said), "{answer}");
    assert!(answer.out.contains("spiffe://kleym.sonda.red/ns/llm/objective/goal"), "{answer}");
}

#[test]
fn what_is_rendered_means_what_the_flags_say_whatever_status_a_file_carries() {
    let folder =
        Folder::with(&[("dump.yaml", &file([reported("chat", "example.org").as_str(), GOAL, LLAMA]))]);
    let answer = folder.kleym("render -f dump.yaml");
    assert!(answer.out.contains("spiffe://kleym.sonda.red/ns/llm/objective/goal"), "{answer}");
}

#[test]
fn wrong_calls_are_usage_errors() {
    let folder = Folder::new();
    for arguments in [
        "render",
        "render -f",
        "nonsense",
        "render -f x -o xml",
        "render -f x --nonsense",
        "--color x version",
    ] {
        let answer = folder.kleym(arguments);
        assert_eq!((answer.exit, answer.out.as_str()), (Some(4), ""), "{answer}");
        assert!(answer.err.starts_with("error: "), "{answer}");
    }
}

#[test]
fn help_and_version_are_answers() {
    let folder = Folder::new();
    for arguments in ["", "help", "--help", "render --help", "help render", "--version", "version"] {
        let answer = folder.kleym(arguments);
        assert_eq!((answer.exit, answer.err.as_str()), (Some(0), ""), "{answer}");
        assert!(!answer.out.is_empty());
    }
    assert_eq!(folder.kleym("version").out, format!("kleym {}\n", env!("CARGO_PKG_VERSION")));
    assert_snapshot!(folder.kleym("render --help"));
}
