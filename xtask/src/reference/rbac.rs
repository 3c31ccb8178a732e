//! The page of permissions, from the list that the roles are generated from and the operator's tests grant.

use kleym_api::rights::{EDIT, OPERATOR, PROTECTED_METRICS, Reach, Right, VIEW};

use super::{cell, table};

const INTRO: &str = "\
# Permissions

What Kleym's accounts may do: one list, from which the roles in `config/rbac` and in the chart are generated, and which the
operator's tests give their operators. A verb that is missing fails a test, and none is there that is not used.

A permission that is missing in a cluster is said in the status of the bindings it matters to, in `/readyz`, and as a finding
of `kleym`; nothing is taken away for it.
";

const AFTER: &str = "
`kleym` itself needs `get` and `list` on what it is asked about, as the person who calls it, and `watch` for
`kleym status --watch`. What it may not read it names ([KLM9102](../findings/KLM9102.md)).
";

pub(super) fn page() -> String {
    let mut text = format!("{INTRO}\n## The operator\n\n{}", rights(&OPERATOR));
    text.push_str(&format!(
        "\n## With protected metrics\n\nA role of its own.\n\n{}",
        rights(&PROTECTED_METRICS)
    ));
    text.push_str(
        "\n## People\n\n### kleym-view\n\nPart of the cluster's own `view`, `edit` and `admin`.\n\n",
    );
    text.push_str(&rights(&VIEW));
    text.push_str(
        "\n### kleym-edit\n\nNever part of another role: who writes bindings decides who pods are.\n\n",
    );
    text.push_str(&rights(&EDIT));
    text.push_str(AFTER);
    text
}

fn rights(rights: &[Right]) -> String {
    let quoted = |words: &[&str]| words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ");
    table(
        ["resource", "API groups", "verbs", "where", "what for"],
        rights.iter().map(|right| {
            let Right { groups, resource, verbs, reach, purpose } = right;
            let reach = match reach {
                Reach::Cluster => "the cluster",
                Reach::Watched => "the watched namespaces",
                Reach::Own => "the operator's namespace",
            };
            [format!("`{resource}`"), quoted(groups), verbs.join(", "), reach.to_owned(), cell(purpose)]
        }),
    )
}
