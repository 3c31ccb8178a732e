//! What is packaged fits the program: every flag is a value of the chart, every metric that an alert or a panel asks for
//! exists, and all of it has one version.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use clap::CommandFactory;
use kleym_operator::metrics::names::{self, Type};
use kleym_operator::settings::Flags;
use serde_json::Value;

fn file(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    fs::read_to_string(root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn yaml(path: &str) -> Value {
    serde_saphyr::from_str(&file(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The variables `KLEYM_...` that a text names.
fn variables(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_uppercase() || c == '_'));
    words.filter(|word| word.starts_with("KLEYM_")).map(str::to_owned).collect()
}

#[test]
fn every_flag_is_a_value_of_the_chart_and_the_manifests_set_no_other() {
    let command = Flags::command();
    let flags = command.get_arguments().filter_map(|argument| argument.get_long());
    let flags = flags.filter(|flag| !["help", "version"].contains(flag));
    let of_flags: BTreeSet<String> =
        flags.map(|flag| format!("KLEYM_{}", flag.to_uppercase().replace('-', "_"))).collect();
    assert_eq!(variables(&file("charts/kleym/templates/_helpers.tpl")), of_flags);
    let set = variables(&file("config/manager/deployment.yaml"));
    assert!(set.is_subset(&of_flags), "{set:?}");
}

#[test]
fn the_schema_of_the_values_has_every_value_and_no_other() {
    fn compare(at: &str, values: &Value, schema: &Value) {
        let (Some(values), Some(properties)) = (values.as_object(), schema["properties"].as_object()) else {
            return;
        };
        let known: BTreeSet<&String> = properties.keys().filter(|key| *key != "global").collect();
        assert_eq!(values.keys().collect::<BTreeSet<_>>(), known, "{at}");
        assert_eq!(schema["additionalProperties"], false, "{at}");
        for (key, value) in values {
            assert!(properties[key]["description"].is_string(), "{at}.{key} has no description");
            compare(&format!("{at}.{key}"), value, &properties[key]);
        }
    }
    let schema: Value = serde_json::from_str(&file("charts/kleym/values.schema.json")).unwrap();
    compare("values", &yaml("charts/kleym/values.yaml"), &schema);
}

#[test]
fn chart_manifests_and_program_have_one_version() {
    let version = env!("CARGO_PKG_VERSION");
    let chart = yaml("charts/kleym/Chart.yaml");
    assert_eq!([&chart["version"], &chart["appVersion"]], [version, version]);
    let image = format!("image: ghcr.io/sonda-red/kleym-operator:v{version}\n");
    assert!(file("config/manager/deployment.yaml").contains(&image));
    let values = yaml("charts/kleym/values.yaml");
    assert_eq!(values["image"]["repository"], "ghcr.io/sonda-red/kleym-operator");
}

#[test]
fn install_yaml_says_at_its_top_what_to_look_at_before_it_is_applied() {
    let text = file("install.yaml");
    let (top, _) = text.split_once("\n---\n").unwrap();
    assert!(top.lines().all(|line| line.starts_with('#')), "{top}");
    let deployment = yaml("config/manager/deployment.yaml");
    let image = deployment.pointer("/spec/template/spec/containers/0/image").and_then(Value::as_str).unwrap();
    let namespace = yaml("config/manager/namespace.yaml")["metadata"]["name"].clone();
    for words in [namespace.as_str().unwrap(), image.split(':').next().unwrap()] {
        assert!(top.contains(words), "{words}: {top}");
    }
    // What a user must set, and the file does not.
    let named = variables(top);
    assert_eq!(named, ["KLEYM_CLUSTERSPIFFEID_CLASS_NAME", "KLEYM_TRUST_DOMAIN"].map(str::to_owned).into());
    let set = deployment.pointer("/spec/template/spec/containers/0/env").and_then(Value::as_array).unwrap();
    assert!(set.iter().all(|one| !named.contains(one["name"].as_str().unwrap())), "{set:?}");
}

/// The metrics that a PromQL expression asks for: names outside of quotes, selectors, ranges and lists of labels that are
/// neither functions nor words of the language.
fn asked_for(expression: &str) -> BTreeSet<String> {
    const WORDS: [&str; 14] = [
        "and",
        "or",
        "unless",
        "by",
        "without",
        "on",
        "ignoring",
        "group_left",
        "group_right",
        "sum",
        "max",
        "min",
        "count",
        "bool",
    ];
    let mut rest = String::new();
    let (mut quoted, mut depth) = (false, 0_i32);
    for character in expression.chars() {
        match character {
            '"' => quoted = !quoted,
            '{' | '[' if !quoted => depth += 1,
            '}' | ']' if !quoted => depth -= 1,
            _ if quoted || depth > 0 => {}
            _ => rest.push(character),
        }
    }
    // A list of labels follows `by`.
    while let Some((head, tail)) = rest.split_once(" by (") {
        let (_, tail) = tail.split_once(')').unwrap();
        rest = format!("{head} {tail}");
    }
    let mut names = BTreeSet::new();
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut position = 0;
    while position < rest.len() {
        let tail = &rest[position..];
        let length = tail.find(|c| !is_name(c)).unwrap_or(tail.len());
        let (word, after) = tail.split_at(length);
        let function = after.trim_start().starts_with('(');
        if word.starts_with(|c: char| c.is_ascii_alphabetic()) && !function && !WORDS.contains(&word) {
            names.insert(word.to_owned());
        }
        position += length.max(1);
    }
    names
}

#[test]
fn metrics_are_found_in_expressions() {
    let expression = r#"histogram_quantile(0.5, sum by (le) (rate(a_seconds_bucket{x=~"y_total"}[$__r]))) > 0 or vector(0)"#;
    assert_eq!(asked_for(expression), BTreeSet::from(["a_seconds_bucket".to_owned()]));
    assert_eq!(
        asked_for("absent(up) and max by (a) (b_c) == 0"),
        BTreeSet::from(["b_c".to_owned(), "up".to_owned()])
    );
}

fn exposed() -> BTreeSet<String> {
    let samples = |family: &names::Family| match family.kind {
        Type::Histogram => ["_bucket", "_sum", "_count"].map(|end| format!("{}{end}", family.name)).to_vec(),
        Type::Counter | Type::Gauge => vec![family.name.to_owned()],
    };
    names::ALL.iter().flat_map(samples).collect()
}

fn rules() -> Vec<Value> {
    let rules = yaml("config/components/monitoring/rules.yaml");
    rules["groups"][0]["rules"].as_array().unwrap().clone()
}

#[test]
fn every_metric_of_an_alert_or_a_panel_exists_and_has_help() {
    for family in names::ALL {
        assert!(!family.help.is_empty(), "{}", family.name);
    }
    let exposed = exposed();
    let dashboard: Value =
        serde_json::from_str(&file("config/components/monitoring/dashboard.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().filter_map(|panel| panel["targets"].as_array()).flatten();
    let expressions: Vec<Value> = rules().iter().chain(targets).map(|one| one["expr"].clone()).collect();
    assert!(expressions.len() > 30, "{}", expressions.len());
    for expression in &expressions {
        let asked = asked_for(expression.as_str().unwrap());
        assert!(!asked.is_empty() && asked.is_subset(&exposed), "{expression}: {asked:?}");
    }
}

#[test]
fn every_alert_says_how_bad_it_is_what_happened_and_where_to_read_on() {
    let tests = file("config/components/monitoring/rules_test.yaml");
    let runbooks = file("docs/src/operate/runbooks.md");
    for rule in rules() {
        let name = rule["alert"].as_str().unwrap();
        assert!(name.starts_with("Kleym"), "{name}");
        let severity = rule["labels"]["severity"].as_str().unwrap();
        assert!(["critical", "warning", "info"].contains(&severity), "{name}: {severity}");
        // Alerts are routed by the namespace of what they are about; no aggregation may lose it.
        assert!(rule["expr"].as_str().unwrap().contains("namespace"), "{name}");
        let annotations = &rule["annotations"];
        for text in ["summary", "description"] {
            assert!(annotations[text].as_str().is_some_and(|text| text.ends_with('.')), "{name}: {text}");
        }
        let page = format!("https://kleym.sonda.red/operate/runbooks.html#{}", name.to_lowercase());
        assert_eq!(annotations["runbook_url"], page, "{name}");
        assert!(runbooks.contains(&format!("\n## {name}\n")), "{name} has no runbook");
        // Fires in at least one of promtool's tests, besides staying silent in the first.
        let fires = format!("    alertname: {name}\n    exp_alerts:\n");
        assert!(tests.contains(&fires), "no test in which {name} fires");
    }
}

#[test]
fn whom_the_manifests_bind_a_role_to_is_the_account_of_the_deployment() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let paths: Vec<PathBuf> =
        ["config/rbac/operator_bindings.yaml", "config/components/protected-metrics/binding.yaml"]
            .iter()
            .map(|path| root.join(path))
            .collect();
    let mut bindings = Vec::new();
    for path in paths {
        bindings.extend(serde_saphyr::from_multiple::<Value>(&fs::read_to_string(path).unwrap()).unwrap());
    }
    assert_eq!(bindings.len(), 4);
    let deployment = yaml("config/manager/deployment.yaml");
    let account = &deployment["spec"]["template"]["spec"]["serviceAccountName"];
    for binding in bindings {
        let subjects = binding["subjects"].as_array().unwrap();
        assert!(subjects.len() == 1 && subjects[0]["name"] == *account, "{binding}");
        assert_eq!(subjects[0]["namespace"], deployment["metadata"]["namespace"]);
    }
}
