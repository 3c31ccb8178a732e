//! Everything about one binding.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::{BindingRow, FindingEntry, Reported, SettingsInUse};

/// Everything about one binding.
#[derive(Serialize, JsonSchema, Debug, Clone, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct BindingReport {
    /// The engine settings that were used.
    pub settings: SettingsInUse,
    /// The binding in short: in a cluster as the operator reports it.
    pub binding: BindingRow,
    /// What its spec declares; absent when that is not what the schema demands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub declares: Option<DeclaredView>,
    /// What the engine computes.
    pub engine: EngineView,
    /// `status` of the binding as it stands in the cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<Value>,
    /// Its output.
    pub output: OutputView,
    /// The other bindings of the namespace that have an identity.
    pub peers: Vec<PeerView>,
    /// The pods that the output selects by their labels; absent when pods were not read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pods: Option<Vec<PodView>>,
    /// What there is to say about the binding.
    pub findings: Vec<FindingEntry>,
}

impl Reported for BindingReport {
    const KIND: &'static str = "BindingReport";
}

/// What a binding declares beside its target and its mode.
#[derive(Serialize, JsonSchema, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct DeclaredView {
    /// `spec.workloadSelectorTemplates`
    pub workload_selector_templates: Vec<String>,
    /// `spec.containerDiscriminator`, as type and value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container_discriminator: Option<String>,
    /// `spec.spiffeIDTemplate`
    #[serde(rename = "spiffeIDTemplate", skip_serializing_if = "Option::is_none")]
    pub spiffe_id_template: Option<String>,
}

/// What the engine computes.
#[derive(Serialize, JsonSchema, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct EngineView {
    /// The verdict.
    pub verdict: VerdictName,
    /// The conditions that follow from it, times aside; absent when nothing is decided here.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<ConditionView>,
    /// The pool that the target leads to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// The SPIFFE ID that the binding renders to, whether or not it may have it.
    #[serde(rename = "spiffeID", skip_serializing_if = "Option::is_none")]
    pub spiffe_id: Option<String>,
    /// The selectors that it renders to.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub selectors: Vec<String>,
    /// The fingerprint of the selectors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector_fingerprint: Option<String>,
}

/// What is to become of a binding.
#[derive(Serialize, JsonSchema, Debug, Clone, Copy, PartialEq, Eq)]
pub enum VerdictName {
    /// It is to have its identity.
    Wanted,
    /// It is refused and must have no output.
    Refused,
    /// What it needs cannot be read, so nothing is decided.
    Undecided,
    /// It is being deleted.
    Deleting,
}

/// A condition, its times aside.
#[derive(Serialize, JsonSchema, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ConditionView {
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// True, False or Unknown.
    pub status: String,
    /// Its reason.
    pub reason: String,
    /// What, where and what to do.
    pub message: String,
}

/// The output of a binding.
#[derive(Serialize, JsonSchema, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct OutputView {
    /// The only name that it can have.
    pub name: String,
    /// How it stands.
    pub state: OutputState,
    /// The fields in which it differs from what is wanted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub drift: Vec<String>,
    /// What stands in these fields, and what is wanted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub differences: Vec<FieldDifference>,
    /// What spire-controller-manager last counted; absent when it has not processed the object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub counts: Option<OutputCounts>,
}

/// A field of an output that differs.
#[derive(Serialize, JsonSchema, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct FieldDifference {
    /// The field.
    pub field: String,
    /// What was found there and is not wanted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub found: Vec<String>,
    /// What is wanted and was not found.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub wanted: Vec<String>,
}

/// How an output stands.
#[derive(Serialize, JsonSchema, Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputState {
    /// It is as it should be.
    InSync,
    /// It differs from what is wanted.
    Drifted,
    /// It should be there, and is not.
    Missing,
    /// It should not be there, and is not.
    None,
    /// It is there, and should not be.
    Unwanted,
    /// Somebody else's object has its name.
    Foreign,
    /// It was made for a binding of this name that no longer lives.
    Orphan,
    /// Outputs were not read.
    Unknown,
}

/// What spire-controller-manager last counted. It says so without a time or a generation.
#[derive(Serialize, JsonSchema, Debug, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct OutputCounts {
    /// Pods that the object selects.
    pub pods_selected: i64,
    /// Entries that the object should have.
    pub entries_to_set: i64,
    /// Entries that SPIRE did not take.
    pub entry_failures: i64,
    /// Entries that another object makes as well.
    pub entries_masked: i64,
}

/// Another binding of the namespace.
#[derive(Serialize, JsonSchema, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct PeerView {
    /// Its name.
    pub name: String,
    /// Its SPIFFE ID.
    #[serde(rename = "spiffeID")]
    pub spiffe_id: String,
    /// How the two stand to each other.
    pub relation: Relation,
    /// Whether it comes first when the two cannot both be.
    pub comes_first: bool,
    /// The selectors that prove the two disjoint: this binding's and the other one's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub apart_by: Option<[String; 2]>,
}

/// How two bindings stand to each other.
#[derive(Serialize, JsonSchema, Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Relation {
    /// They would give one workload two SPIFFE IDs.
    IdentityCollision,
    /// They would give different subjects one SPIFFE ID.
    #[serde(rename = "DuplicateSPIFFEID")]
    DuplicateSpiffeId,
    /// One is of the pool, the other of an objective in it: a workload may have both.
    Layered,
    /// They add selectors to one identity.
    SameIdentity,
    /// No workload matches both.
    Disjoint,
}

/// A pod.
#[derive(Serialize, JsonSchema, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct PodView {
    /// Its name.
    pub name: String,
    /// Its phase.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
    /// Its service account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_account: Option<String>,
    /// Its node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
}

impl VerdictName {
    /// The word for it, as it stands in reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            VerdictName::Wanted => "Wanted",
            VerdictName::Refused => "Refused",
            VerdictName::Undecided => "Undecided",
            VerdictName::Deleting => "Deleting",
        }
    }
}

impl OutputState {
    /// The word for it, as it stands in reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            OutputState::InSync => "InSync",
            OutputState::Drifted => "Drifted",
            OutputState::Missing => "Missing",
            OutputState::None => "None",
            OutputState::Unwanted => "Unwanted",
            OutputState::Foreign => "Foreign",
            OutputState::Orphan => "Orphan",
            OutputState::Unknown => "Unknown",
        }
    }
}

impl Relation {
    /// The word for it, as it stands in reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Relation::IdentityCollision => "IdentityCollision",
            Relation::DuplicateSpiffeId => "DuplicateSPIFFEID",
            Relation::Layered => "Layered",
            Relation::SameIdentity => "SameIdentity",
            Relation::Disjoint => "Disjoint",
        }
    }
}
