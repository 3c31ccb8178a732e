//! The JSON Schemas of what the command line reports, from the types that it reports with.

use serde_json::Value;

use crate::artifact::{Artifact, MARK};

/// Where they lie.
pub(crate) const FOLDER: &str = "config/schemas";

/// One schema for each kind of report.
pub(crate) fn all() -> anyhow::Result<Vec<Artifact>> {
    kleym::reports::schemas().into_iter().map(|(kind, schema)| one(kind, schema.to_value())).collect()
}

fn one(kind: &str, schema: Value) -> anyhow::Result<Artifact> {
    let mut fields = serde_json::Map::new();
    // JSON has no comments of its own; a schema has.
    fields
        .insert("$comment".to_owned(), format!("{MARK} from crates/kleym/src/reports. Do not edit.").into());
    if let Value::Object(all) = schema {
        fields.extend(all);
    }
    let content = format!("{:#}\n", Value::Object(fields));
    Ok(Artifact {
        path: format!("{FOLDER}/cli.kleym.sonda.red_v1alpha1_{}.json", kind.to_lowercase()),
        content,
    })
}
