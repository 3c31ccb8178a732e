//! The page of metrics, from the operator's table of names.

use kleym_operator::metrics::names::{ALL, Family, Type};

use super::{cell, table};

const INTRO: &str = "\
# Metrics

The operator serves these on `/metrics` when `--metrics-bind-address` names an address; off by default. With
`--metrics-secure` the page is served by TLS, and only to readers that may `get` the path `/metrics` (the operator asks by
TokenReview and SubjectAccessReview, and remembers a yes for a minute and a no for 10 seconds at the most). The content type is
OpenMetrics 1.0.

Label values come from closed vocabularies: `condition` and `reason` are those of [Conditions](conditions.md), `mode` is
`PerObjective`, `PoolOnly`, or `Unknown` where the spec cannot be read. No namespace, name or SPIFFE ID is ever a label, so the
number of series does not grow with the number of bindings.

The alerts on them are in `config/components/monitoring/rules.yaml`, each with a [runbook](../operate/runbooks.md).
";

pub(super) fn page() -> String {
    let (own, common): (Vec<&Family>, Vec<&Family>) =
        ALL.iter().partition(|family| family.name.starts_with("kleym_"));
    format!(
        "{INTRO}\n## Kleym's own\n\n{}\n## As every operator's\n\nThe names that dashboards of operators expect.\n\n{}",
        families(own),
        families(common)
    )
}

fn families(families: Vec<&Family>) -> String {
    table(
        ["metric", "type", "labels", "what it says"],
        families.into_iter().map(|family| {
            let kind = match family.kind {
                Type::Counter => "counter",
                Type::Gauge => "gauge",
                Type::Histogram => "histogram",
            };
            let labels: Vec<String> = family.labels.iter().map(|label| format!("`{label}`")).collect();
            [format!("`{}`", family.name), kind.to_owned(), labels.join(", "), cell(family.help)]
        }),
    )
}
