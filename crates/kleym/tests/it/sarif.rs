//! The SARIF that `lint` writes keeps the rules of the published schema of version 2.1.0 (OASIS, `sarif-schema-2.1.0`)
//! that it relies on, and what code scanning asks beyond it. The schema's rules are written down here as far as our
//! output goes: which properties an object may have, which it must have, and of which type or set they are.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::manifests::{ENOUGH, GOAL, LLAMA, VLLM, binding, file};
use crate::run::Folder;

/// The name of a definition, the properties it requires, and the types of those it may have.
type Definition = (&'static str, &'static [&'static str], &'static [(&'static str, Type)]);

/// The definitions of the schema: name, required properties, and the properties that we use with their types.
const DEFINITIONS: &[Definition] = &[
    (
        "sarifLog",
        &["version", "runs"],
        &[("$schema", Type::Uri), ("version", Type::OneOf(&["2.1.0"])), ("runs", Type::List("run"))],
    ),
    (
        "run",
        &["tool"],
        &[
            ("tool", Type::Object("tool")),
            ("results", Type::List("result")),
            ("columnKind", Type::OneOf(&["utf16CodeUnits", "unicodeCodePoints"])),
        ],
    ),
    ("tool", &["driver"], &[("driver", Type::Object("toolComponent"))]),
    (
        "toolComponent",
        &["name"],
        &[
            ("name", Type::Text),
            ("semanticVersion", Type::Text),
            ("informationUri", Type::Uri),
            ("rules", Type::List("reportingDescriptor")),
        ],
    ),
    (
        "reportingDescriptor",
        &["id"],
        &[
            ("id", Type::Text),
            ("shortDescription", Type::Object("multiformatMessageString")),
            ("helpUri", Type::Uri),
            ("defaultConfiguration", Type::Object("reportingConfiguration")),
        ],
    ),
    ("multiformatMessageString", &["text"], &[("text", Type::Text)]),
    ("reportingConfiguration", &[], &[("level", Type::OneOf(LEVELS))]),
    (
        "result",
        &["message"],
        &[
            ("ruleId", Type::Text),
            ("ruleIndex", Type::AtLeast(0)),
            ("level", Type::OneOf(LEVELS)),
            ("message", Type::Object("message")),
            ("locations", Type::List("location")),
            ("relatedLocations", Type::List("location")),
            ("partialFingerprints", Type::Texts),
        ],
    ),
    ("message", &["text"], &[("text", Type::Text)]),
    (
        "location",
        &[],
        &[
            ("id", Type::AtLeast(0)),
            ("message", Type::Object("message")),
            ("physicalLocation", Type::Object("physicalLocation")),
        ],
    ),
    (
        "physicalLocation",
        &["artifactLocation"],
        &[("artifactLocation", Type::Object("artifactLocation")), ("region", Type::Object("region"))],
    ),
    ("artifactLocation", &["uri"], &[("uri", Type::Text)]),
    (
        "region",
        &["startLine"],
        &[
            ("startLine", Type::AtLeast(1)),
            ("startColumn", Type::AtLeast(1)),
            ("endLine", Type::AtLeast(1)),
            ("endColumn", Type::AtLeast(1)),
        ],
    ),
];

const LEVELS: &[&str] = &["none", "note", "warning", "error"];

#[derive(Clone, Copy)]
enum Type {
    Text,
    Uri,
    OneOf(&'static [&'static str]),
    AtLeast(i64),
    Texts,
    Object(&'static str),
    List(&'static str),
}

fn check(definition: &str, value: &Value, path: &str) {
    let (_, required, properties) = DEFINITIONS.iter().find(|(name, ..)| *name == definition).unwrap();
    let object = value.as_object().unwrap_or_else(|| panic!("{path} is no object"));
    for name in *required {
        assert!(object.contains_key(*name), "{path} has no `{name}`");
    }
    for (name, value) in object {
        let path = format!("{path}.{name}");
        let (_, kind) =
            properties.iter().find(|(known, _)| known == name).unwrap_or_else(|| panic!("{path} is unknown"));
        match kind {
            Type::Text => assert!(value.as_str().is_some_and(|text| !text.is_empty()), "{path}"),
            Type::Uri => assert!(value.as_str().is_some_and(|text| text.starts_with("https://")), "{path}"),
            Type::OneOf(words) => assert!(value.as_str().is_some_and(|text| words.contains(&text)), "{path}"),
            Type::AtLeast(least) => assert!(value.as_i64().is_some_and(|number| number >= *least), "{path}"),
            Type::Texts => {
                assert!(value.as_object().is_some_and(|all| all.values().all(Value::is_string)), "{path}")
            }
            Type::Object(definition) => check(definition, value, &path),
            Type::List(definition) => {
                for (index, one) in value.as_array().unwrap().iter().enumerate() {
                    check(definition, one, &format!("{path}[{index}]"));
                }
            }
        }
    }
}

fn sarif(folder: &Folder) -> Value {
    let answer = folder.kleym("lint -f . -R -o sarif");
    serde_json::from_str(&answer.out).unwrap_or_else(|_| panic!("{answer}"))
}

fn many() -> Vec<String> {
    let twice = binding("twice", &ENOUGH, VLLM);
    let mut documents = vec![
        twice.clone(),
        twice,
        binding("foreign", &["k8s:ns:other", "k8s:sa:server"], VLLM),
        binding("shared", &["k8s:ns:llm", "k8s:sa:default"], VLLM),
        binding("none", &ENOUGH, ""),
    ];
    documents.extend([GOAL.to_owned(), LLAMA.to_owned()]);
    documents
}

#[test]
fn the_output_keeps_the_rules_of_the_schema() {
    let documents = many();
    let text = file(documents.iter().map(String::as_str));
    let folder = Folder::with(&[("a b/many.yaml", &text), ("broken.yaml", "a: [\n")]);
    let log = sarif(&folder);
    check("sarifLog", &log, "$");
    let run = &log["runs"][0];
    let rules: Vec<&str> = run["tool"]["driver"]["rules"]
        .as_array()
        .unwrap()
        .iter()
        .map(|rule| rule["id"].as_str().unwrap())
        .collect();
    assert_eq!(rules.iter().collect::<BTreeSet<_>>().len(), rules.len(), "a rule is there once");
    let results = run["results"].as_array().unwrap();
    assert!(results.len() >= 5);
    for result in results {
        let rule = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
        assert_eq!(result["ruleId"], rules[rule]);
        for location in result["locations"].as_array().unwrap() {
            let place = &location["physicalLocation"];
            let uri = place["artifactLocation"]["uri"].as_str().unwrap();
            assert!(
                ["a%20b/many.yaml", "broken.yaml"].contains(&uri),
                "{uri} is not relative to where it ran"
            );
            let at = |name: &str| place["region"][name].as_u64().unwrap();
            assert!((at("startLine"), at("startColumn")) < (at("endLine"), at("endColumn")), "{place}");
        }
    }
    let prints: BTreeSet<String> =
        results.iter().map(|result| result["partialFingerprints"].to_string()).collect();
    assert_eq!(prints.len(), results.len(), "no two results share a fingerprint");
}

#[test]
fn a_fingerprint_survives_lines_that_move() {
    let documents = many();
    let text = file(documents.iter().map(String::as_str));
    let prints = |text: &str| -> Vec<String> {
        let log = sarif(&Folder::with(&[("many.yaml", text)]));
        log["runs"][0]["results"]
            .as_array()
            .unwrap()
            .iter()
            .map(|result| result["partialFingerprints"].to_string())
            .collect()
    };
    assert_eq!(prints(&text), prints(&format!("# one\n# two\n\n{text}")));
}
