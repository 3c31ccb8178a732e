//! Alerts and dashboard: the PrometheusRule around the rules, the Grafana dashboard from a table of panels, and the chart's
//! copies of both. That every metric in them exists is tested by the operator.

use std::fs;
use std::path::Path;

use anyhow::Context;
use serde_json::{Value, json};

use crate::artifact::{Artifact, MARK};

const RULES: &str = "config/components/monitoring/rules.yaml";

/// Everything that is made of rules and panels.
pub(crate) fn all(root: &Path) -> anyhow::Result<Vec<Artifact>> {
    let text = fs::read_to_string(root.join(RULES)).with_context(|| format!("cannot read `{RULES}`"))?;
    let (_, rules) = text.split_once("---\n").with_context(|| format!("`{RULES}` lacks its `---`"))?;
    let mark = format!("# {MARK} from {RULES}. Do not edit.\n");
    let indented: String =
        rules.lines().map(|line| format!("  {line}").trim_end().to_owned() + "\n").collect();
    let object = format!(
        "{mark}---\napiVersion: monitoring.coreos.com/v1\nkind: PrometheusRule\nmetadata:\n  name: kleym-operator\n  \
         namespace: kleym-system\n  labels:\n    app.kubernetes.io/name: kleym\n    app.kubernetes.io/instance: kleym\n    \
         app.kubernetes.io/part-of: kleym\n    app.kubernetes.io/component: operator\nspec:\n{indented}"
    );
    let dashboard = serde_json::to_string_pretty(&dashboard())? + "\n";
    let file = |path: &str, content: String| Artifact { path: path.to_owned(), content };
    Ok(vec![
        file("config/components/monitoring/prometheus_rule.yaml", object),
        file("charts/kleym/files/rules.yaml", format!("{mark}{rules}")),
        file("config/components/monitoring/dashboard.json", dashboard.clone()),
        file("charts/kleym/files/dashboard.json", dashboard),
    ])
}

/// How a panel shows its queries.
#[derive(Clone, Copy)]
enum Show {
    /// One number; red from one on, where that is bad.
    Number { bad: bool },
    /// Lines over time.
    Lines,
    /// Areas on top of each other over time.
    Stacked,
}

struct Panel {
    title: &'static str,
    says: &'static str,
    show: Show,
    unit: &'static str,
    width: u32,
    /// Each with its legend.
    queries: &'static [(&'static str, &'static str)],
}

/// Rows of panels.
const ROWS: [(&str, &[Panel]); 4] = [
    (
        "Identities",
        &[
            Panel {
                title: "Ready",
                says: "Bindings whose output in the cluster equals the rendered identity.",
                show: Show::Number { bad: false },
                unit: "none",
                width: 4,
                queries: &[(
                    r#"sum(max by (reason, mode) (kleym_identity_bindings{namespace=~"$namespace", reason="Reconciled"})) or vector(0)"#,
                    "",
                )],
            },
            Panel {
                title: "Not Ready",
                says: "Bindings that are refused or undecided.",
                show: Show::Number { bad: true },
                unit: "none",
                width: 4,
                queries: &[(
                    r#"sum(max by (reason, mode) (kleym_identity_bindings{namespace=~"$namespace", reason!="Reconciled"})) or vector(0)"#,
                    "",
                )],
            },
            Panel {
                title: "Not picked up",
                says: "ClusterSPIFFEIDs that spire-controller-manager says nothing of: usually a class that it does not watch.",
                show: Show::Number { bad: true },
                unit: "none",
                width: 4,
                queries: &[(
                    r#"max(kleym_cluster_spiffe_ids{namespace=~"$namespace", spire_status="absent"}) or vector(0)"#,
                    "",
                )],
            },
            Panel {
                title: "Not issued",
                says: "ClusterSPIFFEIDs that select pods and have no entry, or failing ones: often another trust domain than SPIRE's.",
                show: Show::Number { bad: true },
                unit: "none",
                width: 4,
                queries: &[(
                    r#"max(kleym_cluster_spiffe_ids{namespace=~"$namespace", spire_status="failing"}) or vector(0)"#,
                    "",
                )],
            },
            Panel {
                title: "Withdrawn",
                says: "Identities that were withdrawn in the shown time although their bindings stay.",
                show: Show::Number { bad: true },
                unit: "none",
                width: 4,
                queries: &[(
                    r#"sum(increase(kleym_identities_withdrawn_total{namespace=~"$namespace"}[$__range])) or vector(0)"#,
                    "",
                )],
            },
            Panel {
                title: "Orphans and foreign objects",
                says: "ClusterSPIFFEIDs of deleted bindings that were removed, and of others that were met, in the shown time.",
                show: Show::Number { bad: true },
                unit: "none",
                width: 4,
                queries: &[
                    (
                        r#"sum(increase(kleym_orphans_removed_total{namespace=~"$namespace"}[$__range])) or vector(0)"#,
                        "orphans",
                    ),
                    (
                        r#"sum(increase(kleym_foreign_objects_met_total{namespace=~"$namespace"}[$__range])) or vector(0)"#,
                        "foreign",
                    ),
                ],
            },
            Panel {
                title: "Bindings by reason",
                says: "What bindings stand with. The reasons are those of the status, each with a page.",
                show: Show::Stacked,
                unit: "none",
                width: 12,
                queries: &[(
                    r#"sum by (condition, reason) (max by (condition, reason, mode) (kleym_identity_bindings{namespace=~"$namespace"})) > 0"#,
                    "{{condition}}/{{reason}}",
                )],
            },
            Panel {
                title: "Turns by outcome",
                says: "What bindings' turns ended with, a second.",
                show: Show::Lines,
                unit: "ops",
                width: 12,
                queries: &[(
                    r#"sum by (condition, reason) (rate(kleym_identity_binding_outcomes_total{namespace=~"$namespace"}[$__rate_interval])) > 0"#,
                    "{{condition}}/{{reason}}",
                )],
            },
        ],
    ),
    (
        "Promptness",
        &[
            Panel {
                title: "From change to settled",
                says: "How long a change takes until every binding that it can affect has settled.",
                show: Show::Lines,
                unit: "s",
                width: 8,
                queries: &[
                    (
                        r#"histogram_quantile(0.5, sum by (le) (rate(kleym_identity_binding_settle_seconds_bucket{namespace=~"$namespace"}[$__rate_interval])))"#,
                        "half",
                    ),
                    (
                        r#"histogram_quantile(0.99, sum by (le) (rate(kleym_identity_binding_settle_seconds_bucket{namespace=~"$namespace"}[$__rate_interval])))"#,
                        "99 of 100",
                    ),
                ],
            },
            Panel {
                title: "Queue",
                says: "Bindings that are ready for a turn, and turns under way.",
                show: Show::Lines,
                unit: "none",
                width: 8,
                queries: &[
                    (
                        r#"sum by (pod) (workqueue_depth{namespace=~"$namespace", name="inferenceidentitybinding"})"#,
                        "waiting, {{pod}}",
                    ),
                    (
                        r#"sum by (pod) (controller_runtime_active_workers{namespace=~"$namespace", controller="inferenceidentitybinding"})"#,
                        "under way, {{pod}}",
                    ),
                ],
            },
            Panel {
                title: "Errors and retries",
                says: "Turns that are tried again after a back-off, a second.",
                show: Show::Lines,
                unit: "ops",
                width: 8,
                queries: &[
                    (
                        r#"sum(rate(controller_runtime_reconcile_errors_total{namespace=~"$namespace", controller="inferenceidentitybinding"}[$__rate_interval]))"#,
                        "errors",
                    ),
                    (
                        r#"sum(rate(workqueue_retries_total{namespace=~"$namespace", name="inferenceidentitybinding"}[$__rate_interval]))"#,
                        "retries",
                    ),
                ],
            },
        ],
    ),
    (
        "API server",
        &[
            Panel {
                title: "Calls by code",
                says: "Calls to the API server, a second. At rest only the lease is renewed.",
                show: Show::Stacked,
                unit: "reqps",
                width: 12,
                queries: &[(
                    r#"sum by (code, method) (rate(rest_client_requests_total{namespace=~"$namespace", pod=~"$pod"}[$__rate_interval]))"#,
                    "{{method}} {{code}}",
                )],
            },
            Panel {
                title: "Events",
                says: "What became of events, a second.",
                show: Show::Lines,
                unit: "ops",
                width: 12,
                queries: &[(
                    r#"sum by (result) (rate(kleym_events_total{namespace=~"$namespace"}[$__rate_interval]))"#,
                    "{{result}}",
                )],
            },
        ],
    ),
    (
        "Process",
        &[
            Panel {
                title: "Leader",
                says: "Which replica leads: exactly one, but for moments.",
                show: Show::Lines,
                unit: "none",
                width: 6,
                queries: &[(
                    r#"leader_election_master_status{namespace=~"$namespace", name=~"kleym-operator-.+"}"#,
                    "{{pod}}",
                )],
            },
            Panel {
                title: "Memory",
                says: "Resident memory of each replica.",
                show: Show::Lines,
                unit: "bytes",
                width: 6,
                queries: &[(
                    r#"process_resident_memory_bytes{namespace=~"$namespace", pod=~"$pod"}"#,
                    "{{pod}}",
                )],
            },
            Panel {
                title: "CPU",
                says: "Processors that each replica uses.",
                show: Show::Lines,
                unit: "none",
                width: 6,
                queries: &[(
                    r#"rate(process_cpu_seconds_total{namespace=~"$namespace", pod=~"$pod"}[$__rate_interval])"#,
                    "{{pod}}",
                )],
            },
            Panel {
                title: "Builds",
                says: "Which builds run.",
                show: Show::Lines,
                unit: "none",
                width: 6,
                queries: &[(
                    r#"count by (version, revision) (kleym_build_info{namespace=~"$namespace"})"#,
                    "{{version}} {{revision}}",
                )],
            },
        ],
    ),
];

/// The dashboard as Grafana imports it.
fn dashboard() -> Value {
    let mut panels = Vec::new();
    let (mut id, mut y) = (0_u32, 0_u32);
    for (title, row) in &ROWS {
        id += 1;
        panels.push(json!({
            "type": "row", "id": id, "title": title, "collapsed": false, "panels": [],
            "gridPos": {"x": 0, "y": y, "w": 24, "h": 1},
        }));
        y += 1;
        let (mut x, mut height) = (0, 0);
        for panel in *row {
            let tall = if matches!(panel.show, Show::Number { .. }) { 4 } else { 8 };
            if x + panel.width > 24 {
                (x, y, height) = (0, y + height, 0);
            }
            id += 1;
            panels.push(panel_json(panel, id, &json!({"x": x, "y": y, "w": panel.width, "h": tall})));
            x += panel.width;
            height = height.max(tall);
        }
        y += height;
    }
    json!({
        "uid": "kleym",
        "title": "Kleym",
        "description": "SPIFFE identities for inference. Runbooks: https://kleym.sonda.red/operate/runbooks.html",
        "tags": ["kleym", "spiffe"],
        "schemaVersion": 39,
        "version": 1,
        "editable": true,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "timezone": "",
        "links": [],
        "annotations": {"list": []},
        "templating": {"list": [
            {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Data source"},
            variable("namespace", "Namespace", "label_values(kleym_build_info, namespace)"),
            variable("pod", "Replica", r#"label_values(kleym_build_info{namespace=~"$namespace"}, pod)"#),
        ]},
        "panels": panels,
    })
}

fn variable(name: &str, label: &str, query: &str) -> Value {
    json!({
        "name": name, "label": label, "type": "query", "datasource": source(), "refresh": 2, "sort": 1,
        "query": {"query": query, "refId": name}, "includeAll": true, "allValue": ".*", "multi": true,
        "current": {"selected": true, "text": ["All"], "value": ["$__all"]},
    })
}

fn source() -> Value {
    json!({"type": "prometheus", "uid": "${datasource}"})
}

fn panel_json(panel: &Panel, id: u32, place: &Value) -> Value {
    let references = ["A", "B", "C"];
    let instant = matches!(panel.show, Show::Number { .. });
    let targets: Vec<Value> = panel
        .queries
        .iter()
        .zip(references)
        .map(|((query, legend), reference)| {
            json!({
                "refId": reference, "datasource": source(), "expr": query, "legendFormat": legend,
                "instant": instant, "range": !instant,
            })
        })
        .collect();
    let (kind, defaults, options) = match panel.show {
        Show::Number { bad } => {
            let mut steps = vec![json!({"color": "green", "value": null})];
            if bad {
                steps.push(json!({"color": "red", "value": 1}));
            }
            let defaults = json!({"unit": panel.unit, "decimals": 0, "thresholds": {"mode": "absolute", "steps": steps}});
            let reduce = json!({"calcs": ["lastNotNull"], "fields": "", "values": false});
            (
                "stat",
                defaults,
                json!({"reduceOptions": reduce, "colorMode": "value", "graphMode": "none", "textMode": "auto"}),
            )
        }
        Show::Lines | Show::Stacked => {
            let stacked = matches!(panel.show, Show::Stacked);
            let custom = json!({
                "drawStyle": "line", "lineWidth": 1, "fillOpacity": if stacked { 30 } else { 0 }, "showPoints": "never",
                "stacking": {"mode": if stacked { "normal" } else { "none" }, "group": "A"},
            });
            let defaults = json!({"unit": panel.unit, "min": 0, "custom": custom});
            let options = json!({
                "legend": {"displayMode": "list", "placement": "bottom", "showLegend": true},
                "tooltip": {"mode": "multi", "sort": "desc"},
            });
            ("timeseries", defaults, options)
        }
    };
    json!({
        "id": id, "type": kind, "title": panel.title, "description": panel.says, "datasource": source(),
        "gridPos": place, "targets": targets, "fieldConfig": {"defaults": defaults, "overrides": []}, "options": options,
    })
}
