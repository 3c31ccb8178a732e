//! The chart's README: how to install it, and every value with its meaning and default, from the schema and values.yaml.

use std::fs;
use std::path::Path;

use anyhow::Context;
use serde_json::Value;

use crate::artifact::{Artifact, MARK};

const SCHEMA: &str = "charts/kleym/values.schema.json";
const VALUES: &str = "charts/kleym/values.yaml";

/// The page.
pub(crate) fn page(root: &Path) -> anyhow::Result<Artifact> {
    let read =
        |path: &str| fs::read_to_string(root.join(path)).with_context(|| format!("cannot read `{path}`"));
    let schema: Value =
        serde_json::from_str(&read(SCHEMA)?).with_context(|| format!("`{SCHEMA}` is not JSON"))?;
    let values: Value =
        serde_saphyr::from_str(&read(VALUES)?).with_context(|| format!("`{VALUES}` is not YAML"))?;
    let mut rows = String::new();
    for_each("", &schema, &values, &mut rows);
    let content = format!(
        "<!-- {MARK} from {SCHEMA} and {VALUES}. Do not edit. -->\n# Kleym\n\nSPIFFE identities for LLM inference, compiled from \
         InferencePools and InferenceObjectives into ClusterSPIFFEIDs.\n\n```console\n$ helm install kleym charts/kleym --namespace \
         kleym-system --create-namespace \\\n    --set trustDomain=example.org --set className=spire-server-spire\n```\n\n\
         `trustDomain` is that of your SPIRE; `className` is the class that your spire-controller-manager watches, for \
         SPIRE's chart\n`<namespace>-<release>`. The notes that follow an install lead to a first binding. Delete the bindings \
         before the release:\n`kubectl delete inferenceidentitybindings --all --all-namespaces`.\n\n## Values\n\n\
         | value | default | meaning |\n| --- | --- | --- |\n{rows}"
    );
    Ok(Artifact { path: "charts/kleym/README.md".to_owned(), content })
}

fn for_each(prefix: &str, schema: &Value, values: &Value, rows: &mut String) {
    let Some(values) = values.as_object() else { return };
    for (name, value) in values {
        let (path, schema) = (format!("{prefix}{name}"), &schema["properties"][name]);
        if schema.get("properties").is_some() {
            for_each(&format!("{path}."), schema, value, rows);
        } else {
            let meaning = schema["description"].as_str().unwrap_or_default().replace('|', "\\|");
            rows.push_str(&format!("| `{path}` | `{value}` | {meaning} |\n"));
        }
    }
}
