use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use kleym_core::announce::{Announcement, Object, Vigil, Weight};
use kleym_core::fact::Mode;
use kleym_core::name::{Namespace, ObjectName, Uid};
use kleym_core::output::{LiveOutput, OutputSpec, OutputStats};
use kleym_core::plan::{Remnant, Standing, Wait};
use kleym_core::refusal::Refusal;
use kleym_core::resolve::Troubles;

use super::names::{ALL, Type};
use super::*;

fn key(name: &str) -> BindingKey {
    BindingKey::new(Namespace::parse("llm").unwrap(), ObjectName::parse(name).unwrap())
}

fn at(milliseconds: u64) -> Now {
    Duration::from_millis(milliseconds)
}

fn refused() -> Standing {
    Standing::Refused { refusal: Refusal::PoolCrdMissing(None), remnant: Remnant::Nothing }
}

fn end(standing: &Standing) -> TurnEnd<'_> {
    TurnEnd { standing, mode: Some(Mode::PoolOnly), tried_again: false }
}

/// A whole turn of a binding, from the change to the end.
fn turn(metrics: &Metrics, name: &str, end: &TurnEnd<'_>) {
    metrics.changed(&key(name), at(0));
    metrics.turn_begins(&key(name), at(1));
    metrics.turn_ends(&key(name), at(3), end);
}

/// Metrics in which every family has a sample.
fn busy() -> Metrics {
    let metrics = Metrics::default();
    turn(&metrics, "a", &end(&refused()));
    metrics.leads("kleym-operator-default", true);
    let answered = metrics.count_calls("10.0.0.1:443");
    drop(tower::Layer::layer(&answered, ()));
    metrics.0.calls.count(["200", "GET", "10.0.0.1:443"].map(Value::Borrowed));
    metrics
}

#[test]
fn every_family_of_the_table_is_exposed_and_nothing_else() {
    let text = busy().text();
    let types: BTreeMap<&str, &str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "))
        .map(|line| line.split_once(' ').unwrap())
        .collect();
    let wanted: BTreeMap<&str, &str> = ALL
        .iter()
        .map(|family| {
            let kind = match family.kind {
                Type::Counter => "counter",
                Type::Gauge => "gauge",
                Type::Histogram => "histogram",
            };
            (family.base(), kind)
        })
        .collect();
    assert_eq!(types, wanted);
}

/// The families with the label names of their samples, as a scraper sees them.
fn scraped(text: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut families: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (name, _) = line.split_once(['{', ' ']).unwrap();
        let labels = line.split_once('{').map_or("", |(_, rest)| rest.split_once('}').unwrap().0);
        let labels = labels.split(',').filter_map(|label| Some(label.split_once('=')?.0.to_owned()));
        families.entry(name.to_owned()).or_default().extend(labels);
    }
    families
}

#[test]
fn samples_have_the_names_and_labels_that_the_table_says() {
    let mut wanted = BTreeMap::new();
    for family in ALL {
        let labels: BTreeSet<String> = family.labels.iter().map(|label| (*label).to_owned()).collect();
        if family.kind == Type::Histogram {
            let with_bound = labels.iter().cloned().chain(["le".to_owned()]).collect();
            wanted.insert(format!("{}_bucket", family.name), with_bound);
            for part in ["sum", "count"] {
                wanted.insert(format!("{}_{part}", family.name), labels.clone());
            }
        } else {
            wanted.insert(family.name.to_owned(), labels);
        }
    }
    assert_eq!(scraped(&busy().text()), wanted);
}

/// What promtool and the OpenMetrics specification ask of a page, as far as it concerns ours.
#[test]
fn the_page_is_well_formed_openmetrics() {
    let text = busy().text();
    assert!(text.ends_with("\n# EOF\n") && text.matches("# EOF").count() == 1);
    let mut family = "";
    let mut seen = BTreeSet::new();
    let mut samples = BTreeSet::new();
    let mut described = 0;
    for line in text.lines().filter(|line| *line != "# EOF") {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, words) = help.split_once(' ').unwrap();
            assert!(seen.insert(name), "`{name}` is there twice");
            assert!(words.len() > 10 && words.ends_with('.') && !words.ends_with(".."), "{line}");
            family = name;
            described += 1;
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            assert_eq!(kind.split_once(' ').unwrap().0, family, "{line}");
            described += 1;
        } else {
            assert_eq!(described % 2, 0, "{line}: a family without type or help");
            assert!(line.starts_with(family), "`{line}` stands under `{family}`");
            let (sample, value) = line.rsplit_once(' ').unwrap();
            assert!(samples.insert(sample), "`{sample}` is there twice");
            assert!(value.parse::<f64>().unwrap() >= 0.0 && !value.starts_with('-'), "{line}");
        }
    }
    let bad = |family: &&names::Family| {
        family.help.ends_with('.') || (family.kind == Type::Counter) != family.name.ends_with("_total")
    };
    assert_eq!(ALL.iter().find(bad), None);
}

#[test]
fn the_gauge_of_bindings_follows_each_of_them() {
    let metrics = Metrics::default();
    let gauge = || samples(&metrics, "kleym_identity_bindings{");
    turn(&metrics, "a", &end(&refused()));
    turn(&metrics, "b", &end(&refused()));
    let missing = |count| {
        format!(
            r#"kleym_identity_bindings{{condition="InvalidRef",reason="InferencePoolCRDMissing",mode="PoolOnly"}} {count}"#
        )
    };
    assert_eq!(gauge(), [missing(2)]);
    turn(&metrics, "a", &end(&refused()));
    assert_eq!(gauge(), [missing(2)]);
    let waiting = Standing::Waiting(Wait::Cooling);
    turn(&metrics, "a", &TurnEnd { mode: None, ..end(&waiting) });
    let initializing =
        r#"kleym_identity_bindings{condition="Ready",reason="Initializing",mode="Unknown"} 1"#.to_owned();
    assert_eq!(gauge(), [missing(1), initializing.clone()]);
    for name in ["a", "b"] {
        turn(&metrics, name, &end(&Standing::Leaving));
    }
    assert_eq!(gauge(), [missing(0), initializing.replace("} 1", "} 0")]);
    let outcomes = samples(&metrics, "kleym_identity_binding_outcomes_total");
    assert_eq!(
        outcomes,
        [
            r#"kleym_identity_binding_outcomes_total{condition="InvalidRef",reason="InferencePoolCRDMissing",mode="PoolOnly"} 3"#,
            r#"kleym_identity_binding_outcomes_total{condition="Ready",reason="Initializing",mode="Unknown"} 1"#,
        ]
    );
}

#[test]
fn nothing_is_remembered_of_bindings_that_left() {
    let metrics = Metrics::default();
    for number in 0..1000 {
        let name = format!("b-{number}");
        turn(&metrics, &name, &end(&refused()));
        turn(&metrics, &name, &end(&Standing::Leaving));
        // A sweep of an orphan, whose binding was never there.
        turn(&metrics, &format!("orphan-{number}"), &end(&Standing::Leaving));
    }
    assert_eq!(metrics.0.turns.remembered(), 0);
}

fn value(metrics: &Metrics, sample: &str) -> f64 {
    let lines = samples(metrics, sample);
    let line = lines.first().unwrap_or_else(|| panic!("there is no `{sample}`"));
    line.rsplit_once(' ').unwrap().1.parse().unwrap()
}

#[test]
fn the_queue_is_counted_as_its_readers_expect() {
    let metrics = Metrics::default();
    let queue = || {
        ["workqueue_depth", "workqueue_adds_total", "controller_runtime_active_workers"]
            .map(|name| value(&metrics, name))
    };
    assert_eq!(queue(), [0.0, 0.0, 0.0]);
    metrics.changed(&key("a"), at(0));
    metrics.changed(&key("a"), at(1));
    metrics.changed(&key("b"), at(1));
    assert_eq!(queue(), [2.0, 2.0, 0.0]);
    metrics.turn_begins(&key("a"), at(5));
    assert_eq!(queue(), [1.0, 2.0, 1.0]);
    metrics.changed(&key("a"), at(6));
    assert_eq!(queue(), [1.0, 3.0, 1.0], "what is asked for during a turn is ready after it");
    metrics.turn_ends(&key("a"), at(7), &end(&refused()));
    assert_eq!(queue(), [2.0, 3.0, 0.0]);
    metrics.turn_begins(&key("c"), at(8));
    assert_eq!(queue(), [2.0, 4.0, 1.0], "a delayed turn was asked for when it was due");
    let refusal = refused();
    metrics.turn_ends(&key("c"), at(9), &TurnEnd { tried_again: true, ..end(&refusal) });
    let result = |result: &str| {
        let sample = r#"controller_runtime_reconcile_total{controller="inferenceidentitybinding",result=""#;
        value(&metrics, &format!("{sample}{result}\"}}"))
    };
    assert_eq!((result("success"), result("error"), result("requeue_after")), (1.0, 1.0, 0.0));
    assert_eq!(value(&metrics, "workqueue_retries_total"), 1.0);
    assert_eq!(value(&metrics, "controller_runtime_reconcile_errors_total"), 1.0);
    assert_eq!(value(&metrics, "workqueue_queue_duration_seconds_count"), 2.0);
    assert_eq!(value(&metrics, "workqueue_queue_duration_seconds_sum"), 0.005);
    assert_eq!(value(&metrics, "workqueue_work_duration_seconds_count"), 2.0);
}

#[test]
fn the_time_to_settle_runs_from_the_first_change_to_the_turn_that_decides() {
    let metrics = Metrics::default();
    let settled = || {
        ["count", "sum"].map(|part| value(&metrics, &format!("kleym_identity_binding_settle_seconds_{part}")))
    };
    let (waiting, undecided) = (Standing::Waiting(Wait::Cooling), Standing::Undecided(Troubles::new()));
    let refusal = refused();
    let failing = TurnEnd { tried_again: true, ..end(&refusal) };
    metrics.changed(&key("a"), at(0));
    for (millisecond, ending) in [(10, end(&waiting)), (20, end(&undecided)), (30, failing)] {
        metrics.turn_begins(&key("a"), at(millisecond));
        metrics.turn_ends(&key("a"), at(millisecond + 5), &ending);
        assert_eq!(settled(), [0.0, 0.0]);
    }
    metrics.turn_begins(&key("a"), at(40));
    metrics.changed(&key("a"), at(42));
    metrics.turn_ends(&key("a"), at(50), &end(&refused()));
    assert_eq!(settled(), [1.0, 0.05]);
    metrics.turn_begins(&key("a"), at(60));
    metrics.turn_ends(&key("a"), at(62), &end(&refused()));
    assert_eq!(settled()[0], 2.0);
    assert!((settled()[1] - 0.07).abs() < 1e-9, "the change during the turn was settled by the next one");
    metrics.turn_begins(&key("a"), at(70));
    metrics.turn_ends(&key("a"), at(71), &end(&refused()));
    assert_eq!(settled()[0], 2.0, "a turn that no change asked for settles nothing");
}

#[test]
fn outputs_are_exposed_by_what_spire_says_of_them() {
    let metrics = Metrics::default();
    let mut vigil = Vigil::default();
    let stats = OutputStats { pods_selected: 1, ..OutputStats::default() };
    for (name, stats) in [("a", None), ("b", Some(stats)), ("c", None)] {
        let output = LiveOutput {
            name: ObjectName::parse(name).unwrap(),
            uid: Uid::parse(name).unwrap(),
            resource_version: "1".into(),
            created: None,
            deleting: false,
            finalizers: Box::default(),
            owned: false,
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            spec: OutputSpec::default(),
            stats,
        };
        vigil.saw(&output, 0, 0);
    }
    metrics.outputs(vigil.counts());
    assert_eq!(
        samples(&metrics, "kleym_cluster_spiffe_ids"),
        [
            r#"kleym_cluster_spiffe_ids{spire_status="absent"} 2"#,
            r#"kleym_cluster_spiffe_ids{spire_status="failing"} 1"#,
            r#"kleym_cluster_spiffe_ids{spire_status="reported"} 0"#,
        ]
    );
}

#[test]
fn withdrawals_orphans_and_foreign_objects_are_counted_by_what_is_told_of_them() {
    let metrics = Metrics::default();
    let counted = || {
        ["kleym_identities_withdrawn_total", "kleym_orphans_removed_total", "kleym_foreign_objects_met_total"]
            .map(|name| value(&metrics, name))
    };
    // What is withdrawn because its binding goes is told without a warning.
    for (weight, expected) in [(Weight::Normal, [0.0, 1.0, 1.0]), (Weight::Warning, [1.0, 2.0, 2.0])] {
        for occasion in Occasion::ALL {
            metrics.announced(&Announcement {
                regarding: Object::Binding(key("a"), Uid::parse("u").unwrap()),
                related: None,
                occasion: *occasion,
                weight,
                note: String::new(),
            });
        }
        assert_eq!(counted(), expected);
    }
}

#[test]
fn the_process_and_the_build_are_described() {
    let metrics = Metrics::default();
    let build = samples(&metrics, "kleym_build_info");
    let version = concat!(r#"kleym_build_info{version=""#, env!("CARGO_PKG_VERSION"), r#"",revision=""#);
    assert!(build.len() == 1 && build[0].starts_with(version) && build[0].ends_with("} 1"), "{build:?}");
    for (name, least) in [
        ("process_open_fds", 1.0),
        ("process_resident_memory_bytes", 100_000.0),
        ("process_virtual_memory_bytes", 100_000.0),
        ("process_start_time_seconds", 1.6e9),
    ] {
        assert!(value(&metrics, name) >= least, "{name}");
    }
}

#[test]
fn many_threads_count_exactly() {
    let metrics = Arc::new(Metrics::default());
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let metrics = Arc::clone(&metrics);
            scope.spawn(move || {
                for number in 0..250 {
                    let name = format!("b-{thread}-{number}");
                    turn(&metrics, &name, &end(&refused()));
                    metrics.event(EventResult::Created);
                    if number % 2 == 0 {
                        turn(&metrics, &name, &end(&Standing::Leaving));
                    }
                }
            });
        }
    });
    assert_eq!(value(&metrics, "kleym_identity_bindings{"), 500.0);
    assert_eq!(value(&metrics, r#"kleym_events_total{result="created"}"#), 1000.0);
}
