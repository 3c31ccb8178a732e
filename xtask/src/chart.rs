//! The chart's admission policies: those of the manifests, for any release's name and account. What the chart says in its
//! own words lies beside them, written by hand.

use std::fs;
use std::path::Path;

use anyhow::{Context, ensure};

use crate::artifact::{Artifact, MARK};

/// What the manifests say, and what the chart says there: names, account and labels.
const WORDS: [(&str, &str); 3] = [
    (
        "['system:serviceaccount:' + 'kleym-system' + ':' + 'kleym-operator']",
        "{{ include \"kleym.operators\" . }}",
    ),
    (": kleym-", ": {{ include \"kleym.fullname\" . }}-"),
    (
        "    app.kubernetes.io/name: kleym\n    app.kubernetes.io/instance: kleym\n    app.kubernetes.io/part-of: kleym\n",
        "    {{- include \"kleym.labels\" . | nindent 4 }}\n",
    ),
];

/// Every copy.
pub(crate) fn all(root: &Path) -> anyhow::Result<Vec<Artifact>> {
    Ok(vec![policies(root)?])
}

fn policies(root: &Path) -> anyhow::Result<Artifact> {
    const FROM: &str = "config/components/policy/policies.yaml";
    let mut text = fs::read_to_string(root.join(FROM)).with_context(|| format!("cannot read `{FROM}`"))?;
    ensure!(!text.contains("{{"), "`{FROM}` has braces, which the chart would execute");
    for (manifests, chart) in WORDS {
        ensure!(text.contains(manifests), "`{FROM}` lacks `{manifests}`, which the chart replaces");
        text = text.replace(manifests, chart);
    }
    let content = format!(
        "{{{{/* {MARK} from {FROM}. Do not edit. */}}}}\n{{{{- if .Values.admissionPolicies.enabled }}}}\n{text}{{{{- end }}}}\n"
    );
    Ok(Artifact { path: "charts/kleym/templates/admission_policies.yaml".to_owned(), content })
}
