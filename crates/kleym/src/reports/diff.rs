//! What files would change.

use schemars::JsonSchema;
use serde::Serialize;

use super::{FindingEntry, Reported, SettingsInUse, VerdictName};

/// What files would change.
#[derive(Serialize, JsonSchema, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct DiffReport {
    /// The numbers.
    pub summary: DiffSummary,
    /// The engine settings that were used, after the change.
    pub settings: SettingsInUse,
    /// The settings of the operator and of spire-controller-manager that the change touches.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub setting_changes: Vec<SettingChange>,
    /// The bindings that appear, change or go, by namespace and name.
    pub bindings: Vec<BindingChange>,
    /// The containers that gain or lose an identity; absent when there are no pods to look at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workloads: Option<Vec<WorkloadChange>>,
    /// How the findings change.
    pub findings: FindingChanges,
}

impl Reported for DiffReport {
    const KIND: &'static str = "DiffReport";
}

/// The numbers of a difference.
#[derive(Serialize, JsonSchema, Debug, Clone, Copy, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct DiffSummary {
    /// Bindings that appear.
    pub appear: usize,
    /// Bindings that change.
    pub change: usize,
    /// Bindings that go.
    pub go: usize,
    /// Pods of which a container gains an identity.
    pub pods_gain: usize,
    /// Pods of which a container loses an identity.
    pub pods_lose: usize,
    /// Findings that were not there before.
    pub introduced: usize,
    /// Findings that are no longer there.
    pub mended: usize,
    /// Findings that stay.
    pub unchanged: usize,
}

/// A setting that changes.
#[derive(Serialize, JsonSchema, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct SettingChange {
    /// Whose it is: `kleym-operator` or `spire-controller-manager`.
    pub of: String,
    /// Which.
    pub setting: String,
    /// What it is before; absent when it is none, or not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// What it is after; absent when it is none, or not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

/// A binding that appears, changes or goes.
#[derive(Serialize, JsonSchema, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct BindingChange {
    /// Which of the three.
    pub change: ChangeName,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// How it stands before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<IdentitySide>,
    /// How it stands after.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<IdentitySide>,
    /// Selectors of its identity that are new.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub selectors_added: Vec<String>,
    /// Selectors of its identity that are gone.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub selectors_removed: Vec<String>,
}

/// What happens to a binding.
#[derive(Serialize, JsonSchema, Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChangeName {
    /// It is new.
    Appears,
    /// It, or what becomes of it, changes.
    Changes,
    /// It is no longer there.
    Goes,
}

/// How a binding stands on one side.
#[derive(Serialize, JsonSchema, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct IdentitySide {
    /// The engine's verdict.
    pub verdict: VerdictName,
    /// Why it is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The SPIFFE ID that it is to have.
    #[serde(rename = "spiffeID", skip_serializing_if = "Option::is_none")]
    pub spiffe_id: Option<String>,
    /// The output that it is to have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
}

/// A container that gains or loses an identity.
#[derive(Serialize, JsonSchema, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadChange {
    /// The pod's namespace.
    pub namespace: String,
    /// The pod.
    pub pod: String,
    /// The container.
    pub container: String,
    /// SPIFFE IDs that it has only after.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub gains: Vec<String>,
    /// SPIFFE IDs that it has only before.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub loses: Vec<String>,
    /// Whether all of this is certain; else something could not be told from what was read.
    pub certain: bool,
}

/// How the findings change.
#[derive(Serialize, JsonSchema, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct FindingChanges {
    /// Those that were not there before.
    pub introduced: Vec<FindingEntry>,
    /// Those that are no longer there.
    pub mended: Vec<FindingEntry>,
    /// Those that stay.
    pub unchanged: Vec<FindingEntry>,
}
