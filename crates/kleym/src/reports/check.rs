//! What `kleym check` answers.

use schemars::JsonSchema;
use serde::Serialize;

use super::{FindingEntry, Reported};

/// What was looked at, in groups.
#[derive(Serialize, JsonSchema, Debug, Clone)]
#[serde(rename_all = "camelCase")]
pub struct CheckReport {
    /// `definitions`, `operator`, `SPIRE`, `identities`, `permissions`.
    pub groups: Vec<CheckGroup>,
}

/// One group.
#[derive(Serialize, JsonSchema, Debug, Clone)]
#[serde(rename_all = "camelCase")]
pub struct CheckGroup {
    /// Its name.
    pub name: String,
    /// What came out.
    pub results: Vec<CheckResult>,
}

/// One thing that was looked at.
#[derive(Serialize, JsonSchema, Debug, Clone)]
#[serde(rename_all = "camelCase")]
pub struct CheckResult {
    /// What there is to say.
    pub says: String,
    /// What is wrong; nothing when it is as it should be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finding: Option<FindingEntry>,
}

impl Reported for CheckReport {
    const KIND: &'static str = "CheckReport";
}
