//! What is wrong with files.

use schemars::JsonSchema;
use serde::Serialize;

use super::{FindingEntry, Reported, SettingsInUse};

/// What is wrong with files.
#[derive(Serialize, JsonSchema, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct LintReport {
    /// The numbers.
    pub summary: LintSummary,
    /// The engine settings that were used.
    pub settings: SettingsInUse,
    /// What there is to say, the most serious first.
    pub findings: Vec<FindingEntry>,
}

impl Reported for LintReport {
    const KIND: &'static str = "LintReport";
}

/// The numbers of a report.
#[derive(Serialize, JsonSchema, Debug, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct LintSummary {
    /// How many bindings there are.
    pub bindings: usize,
    /// How many of them are to have an identity.
    pub identities: usize,
    /// How many findings are errors.
    pub errors: usize,
    /// How many are warnings.
    pub warnings: usize,
    /// How many are remarks.
    pub infos: usize,
}
