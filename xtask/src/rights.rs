//! Roles from the closed list of rights (`kleym_api::rights`), for the manifests and for the chart. Whom a role is bound to
//! is written by hand beside them.

use std::fmt::Write as _;

use kleym_api::rights::{EDIT, OPERATOR, PROTECTED_METRICS, Reach, Right, VIEW};
use serde_json::{Value, json};

use crate::artifact::{Artifact, MARK};
use crate::yaml;

const SOURCE: &str = "crates/kleym-api/src/rights.rs";
const VERSION: &str = "rbac.authorization.k8s.io/v1";

/// A list of rights with the name it has in roles and in the chart.
struct Part {
    name: &'static str,
    rights: Vec<Right>,
}

fn part(name: &'static str, rights: &[Right], reach: Option<Reach>) -> Part {
    let held = rights.iter().filter(|right| reach.is_none_or(|reach| right.reach == reach));
    Part { name, rights: held.copied().collect() }
}

/// The roles of the manifests, and the chart's named templates of rules.
pub(crate) fn all() -> anyhow::Result<Vec<Artifact>> {
    let cluster = part("kleym-operator", &OPERATOR, Some(Reach::Cluster));
    let watched = part("kleym-operator-watched", &OPERATOR, Some(Reach::Watched));
    let own = part("kleym-operator-own", &OPERATOR, Some(Reach::Own));
    let metrics = part("kleym-operator-protected-metrics", &PROTECTED_METRICS, None);
    let view = part("kleym-view", &VIEW, None);
    let edit = part("kleym-edit", &EDIT, None);

    let operator = [
        role(&cluster, "ClusterRole", &json!({})),
        role(&watched, "ClusterRole", &json!({})),
        role(&own, "Role", &json!({})),
    ];
    // Aggregated to `view`, and through it to `edit` and `admin`. The role that may write is never aggregated.
    let people = [
        role(&view, "ClusterRole", &json!({"rbac.authorization.k8s.io/aggregate-to-view": "true"})),
        role(&edit, "ClusterRole", &json!({})),
    ];
    Ok(vec![
        manifest("config/rbac/operator_roles.yaml", &operator)?,
        manifest("config/rbac/people_roles.yaml", &people)?,
        manifest(
            "config/components/protected-metrics/role.yaml",
            &[role(&metrics, "ClusterRole", &json!({}))],
        )?,
        templates(&[cluster, watched, own, metrics, view, edit])?,
    ])
}

fn manifest(path: &str, roles: &[Value]) -> anyhow::Result<Artifact> {
    let mut content = String::new();
    for (index, role) in roles.iter().enumerate() {
        let header = format!("{MARK} from {SOURCE}. Do not edit.");
        let header = if index == 0 { vec![header.as_str()] } else { Vec::new() };
        content.push_str(&yaml::document(&header, role)?);
    }
    Ok(Artifact { path: path.to_owned(), content })
}

fn role(part: &Part, kind: &str, labels: &Value) -> Value {
    let mut all = json!({
        "app.kubernetes.io/name": "kleym",
        "app.kubernetes.io/instance": "kleym",
        "app.kubernetes.io/part-of": "kleym",
    });
    if let (Some(all), Some(labels)) = (all.as_object_mut(), labels.as_object()) {
        all.extend(labels.clone());
    }
    let mut metadata = json!({"name": part.name, "labels": all});
    if kind == "Role" {
        metadata["namespace"] = json!("kleym-system");
    }
    json!({"apiVersion": VERSION, "kind": kind, "metadata": metadata, "rules": rules(part)})
}

fn rules(part: &Part) -> Vec<Value> {
    let rule = |right: &Right| json!({"apiGroups": right.groups, "resources": [right.resource], "verbs": right.verbs});
    part.rights.iter().map(rule).collect()
}

/// One named template for each part, `kleym.rules.<part>`, which gives the items of a role's `rules`.
fn templates(parts: &[Part]) -> anyhow::Result<Artifact> {
    let mut content = format!("{{{{/* {MARK} from {SOURCE}. Do not edit. */}}}}\n");
    for part in parts {
        let text = yaml::document(&[], &rules(part))?;
        let text = text.trim_start_matches("---\n");
        write!(content, "{{{{- define \"kleym.rules.{}\" -}}}}\n{text}{{{{- end }}}}\n", part.name)?;
    }
    Ok(Artifact { path: "charts/kleym/templates/_rules.tpl".to_owned(), content })
}
