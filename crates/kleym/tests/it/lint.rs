//! `kleym lint`: every format says the same, and nothing that stands in a file breaks out of one.

use insta::assert_snapshot;
use serde_json::Value;

use crate::manifests::{ENOUGH, GOAL, LLAMA, VLLM, binding, chat, file, good};
use crate::run::Folder;

/// An error, a warning, a remark, and a file that cannot be parsed.
fn mixed() -> Folder {
    let shared = binding("shared", &["k8s:ns:llm", "k8s:sa:default"], VLLM);
    let later = binding(
        "zeta",
        &["k8s:ns:llm", "k8s:sa:default"],
        &format!("{VLLM}  spiffeIDTemplate: spiffe://kleym.sonda.red/ns/llm/x\n"),
    );
    Folder::with(&[
        ("a/good.yaml", &file([shared.as_str(), &later, GOAL, LLAMA])),
        ("a/broken.yaml", "a: [1\n"),
    ])
}

#[test]
fn findings_are_data_and_the_summary_is_not() {
    assert_snapshot!(mixed().kleym("lint -f a"));
}

#[test]
fn every_format_says_the_same() {
    let folder = mixed();
    for format in ["json", "yaml", "markdown", "github", "junit", "sarif"] {
        assert_snapshot!(format, folder.kleym(&format!("lint -f a -o {format}")));
    }
    let json: Value = serde_json::from_str(&folder.kleym("lint -f a -o json").out).unwrap();
    let yaml: Value = serde_saphyr::from_str(&folder.kleym("lint -f a -o yaml").out).unwrap();
    assert_eq!(json, yaml);
}

#[test]
fn what_is_fine_is_silent_and_warnings_fail_only_when_they_are_to() {
    let folder = Folder::with(&[("good.yaml", &good())]);
    let answer = folder.kleym("lint -f good.yaml");
    assert_eq!((answer.exit, answer.out.as_str()), (Some(0), ""));
    assert_eq!(answer.err, "1 binding, 1 identity, 0 errors, 0 warnings\n");
    let shared = binding("chat", &["k8s:ns:llm", "k8s:sa:default"], VLLM);
    let folder = Folder::with(&[("shared.yaml", &file([shared.as_str(), GOAL, LLAMA]))]);
    let exits = ["lint -f .", "lint -f . --strict", "lint -f . -o junit --strict"]
        .map(|asked| folder.kleym(asked).exit);
    assert_eq!(exits, [Some(0), Some(2), Some(2)]);
}

#[test]
fn a_name_in_several_groups_and_a_group_that_is_no_longer_read_are_told() {
    let older = GOAL.replace("llm-d.ai", "inference.networking.x-k8s.io");
    let folder = Folder::with(&[("twice.yaml", &file([chat().as_str(), GOAL, &older, LLAMA]))]);
    assert_snapshot!("objective_in_two_groups", folder.kleym("lint -f ."));
    let old_goal = older.replace("name: goal", "name: old");
    let old = binding("old", &ENOUGH, VLLM).replace("name: goal", "name: old").replace("vllm", "other");
    let folder = Folder::with(&[("kept.yaml", &file([chat().as_str(), GOAL, &old, &old_goal, LLAMA]))]);
    assert_snapshot!("objective_not_read", folder.kleym("lint -f ."));
    let twin = LLAMA
        .replace("inference.networking.k8s.io/v1", "inference.networking.x-k8s.io/v1alpha2")
        .replace("    matchLabels:\n      app", "    app");
    let goal = format!("{GOAL}    group: \"\"\n");
    let folder = Folder::with(&[("pair.yaml", &file([chat().as_str(), &goal, LLAMA, &twin]))]);
    assert_snapshot!("pool_pair", folder.kleym("lint -f ."));
}

#[test]
fn hostile_names_stay_text_in_every_format() {
    let evil = "x | <img src=x> & \" ' ]]> %0A::error:: \u{1b}[31m \u{202e} @all";
    let text = chat().replace("name: goal", &format!("name: {evil:?}").replace("\\'", "'"));
    let folder = Folder::with(&[("a,b:c.yaml", &file([text.as_str(), GOAL, LLAMA]))]);
    for format in ["text", "json", "markdown", "github", "junit", "sarif"] {
        let answer = folder.kleym(&format!("lint -f . -o {format}"));
        assert_eq!(answer.exit, Some(2), "{answer}");
        assert!(!answer.out.contains('\u{1b}') && !answer.err.contains('\u{1b}'), "{format}: {answer}");
        match format {
            "json" | "sarif" => drop(serde_json::from_str::<Value>(&answer.out).unwrap()),
            "github" => assert_eq!(answer.out.lines().count(), 1, "{answer}"),
            "junit" => assert!(!answer.out.contains("<img"), "{answer}"),
            "markdown" => {
                let row = answer.out.lines().last().unwrap();
                assert_eq!(row.replace("\\|", "").matches('|').count(), 6, "{answer}");
            }
            _ => {}
        }
    }
}

#[test]
fn a_field_that_the_definition_does_not_know_is_told_where_it_stands() {
    let misspelt = binding(
        "chat",
        &ENOUGH,
        &format!("{VLLM}  spiffeIdTemplate: spiffe://kleym.sonda.red/ns/llm/team\n  paused: true\n"),
    );
    let folder = Folder::with(&[("misspelt.yaml", &file([misspelt.as_str(), GOAL, LLAMA]))]);
    assert_snapshot!("unknown_fields", folder.kleym("lint -f . --strict"));
}

#[test]
fn a_misspelt_field_is_shown_at_its_name_with_the_one_that_was_meant() {
    for (right, wrong, line) in [
        ("  name: chat\n", "  name: chat\n  lables: {a: b}\n", "x.yaml:5:3"),
        ("  name: chat\n", "  name: chat\n  anotations: {a: b}\n", "x.yaml:5:3"),
        ("  namespace: llm\n", "  namespace: llm\n  namepsace: llm\n", "x.yaml:6:3"),
        ("spec:\n", "sepc: {a: b}\nspec:\n", "x.yaml:6:1"),
        ("    value:", "    vlaue: x\n    value:", "vlaue"),
        ("  containerDiscriminator:", "  containerDiscriminater: x\n  containerDiscriminator:", "x.yaml:"),
        ("  selectorSource:", "  slectorSuorce: x\n  selectorSource:", "x.yaml:"),
    ] {
        let text = chat();
        assert!(text.contains(right), "{right}: {text}");
        let folder =
            Folder::with(&[("x.yaml", &file([text.replacen(right, wrong, 1).as_str(), GOAL, LLAMA]))]);
        let answer = folder.kleym("lint -f .");
        let misspelt = wrong
            .lines()
            .map(|line| line.trim().split(':').next().unwrap())
            .find(|field| !text.contains(&format!("{field}:")));
        let misspelt = misspelt.unwrap();
        assert!(
            answer.out.contains(&format!(
                "warning[KLM9106]: InferenceIdentityBinding llm/chat has the unknown field `{misspelt}`"
            )),
            "{answer}"
        );
        assert!(answer.out.contains(line) && answer.out.contains("= help: write `"), "{answer}");
        // The caret is below the name.
        let lines: Vec<&str> = answer.out.lines().collect();
        let carets = lines.iter().position(|line| line.contains('^')).unwrap();
        let column = lines[carets].find('^').unwrap();
        assert!(lines[carets - 1][column..].starts_with(misspelt), "{answer}");
    }
}

#[test]
fn what_is_ignored_is_counted_in_words() {
    let pod = "apiVersion: v1\nkind: Service\nmetadata: {name: x}\n";
    let folder = Folder::with(&[("x.yaml", &file([good().as_str(), "a: 1\n", pod, pod]))]);
    let answer = folder.kleym("lint -f . -v");
    let says = "ignored 1 document that is no Kubernetes object, 2 objects of kind Service (v1)";
    assert!(answer.err.contains(says), "{answer}");
}

#[test]
fn the_account_that_the_pods_run_as_is_named_where_a_binding_names_none() {
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: p, namespace: llm, labels: {app: llama}}\nspec:\n  serviceAccountName: model\n  containers: [{name: vllm, image: vllm}]\n";
    let none = binding("chat", &["k8s:ns:llm"], VLLM);
    let folder = Folder::with(&[("x.yaml", &file([none.as_str(), GOAL, LLAMA, pod]))]);
    let hint = "add `k8s:sa:model` to spec.workloadSelectorTemplates: the pool's pods run as that";
    for command in ["lint", "status", "inspect binding/chat"] {
        let answer = folder.kleym(&format!("{command} -f x.yaml"));
        assert!(format!("{answer}").contains(hint), "{answer}");
    }
    let answer = folder.kleym("explain binding/chat -f x.yaml");
    assert!(answer.out.contains("for the pool's pods run as that"), "{answer}");
    // Of two accounts, or of everybody's, nobody is told to take one.
    for other in ["other", "default"] {
        let second = pod.replace("name: p,", "name: q,").replace("model", other);
        let first = if other == "default" { second.as_str() } else { pod };
        let folder = Folder::with(&[(
            "x.yaml",
            &file([none.as_str(), GOAL, LLAMA, first, &second.replace("name: q,", "name: r,")]),
        )]);
        let answer = folder.kleym("lint -f x.yaml");
        assert!(answer.out.contains("k8s:sa:<service account of the pods>"), "{answer}");
    }
}

#[test]
fn whose_a_path_is_is_said_where_the_grants_are_given() {
    let outside = format!("{VLLM}  spiffeIDTemplate: spiffe://{{{{ .TrustDomain }}}}/team/x\n");
    let folder =
        Folder::with(&[("x.yaml", &file([binding("chat", &ENOUGH, &outside).as_str(), GOAL, LLAMA]))]);
    let answer = folder.kleym("lint -f x.yaml --path-grant other=/team");
    assert!(answer.out.contains("note: `/team` is granted to namespace `other` alone"), "{answer}");
    let answer = folder.kleym("lint -f x.yaml");
    assert!(answer.out.contains("KLM3002") && !answer.out.contains("is granted to namespace"), "{answer}");
}
