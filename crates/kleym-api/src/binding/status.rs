//! What the operator reports: `status` of a binding.
//!
//! A report, never an authority: no decision reads it back. It is written whole, and what is absent is left out, so
//! that clearing a field is writing the status without it.

#![expect(unreachable_pub, reason = "KubeSchema copies each `pub struct` into a function")]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::spec::Mode;

/// What became of the binding. Written by the operator alone, and always as a whole.
/// Example: `{observedGeneration: 3, conditions: [{type: Ready, status: "True", reason: Reconciled}]}`.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct InferenceIdentityBindingStatus {
    /// Generation of the binding that the rest of the status speaks of; -1 until the operator has seen it.
    /// Example: `3`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = -1))]
    pub observed_generation: Option<i64>,

    /// Ready says whether the identity is in the cluster; InvalidRef, UnsafeSelector, Conflict and RenderFailure
    /// say what stands against it; Reconciling and Stalled, there only when True, tell tools whether waiting helps.
    /// Example: `[{type: Ready, status: "True", reason: Reconciled, message: identity granted}]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".to_owned()]))]
    #[schemars(length(max = 16))]
    pub conditions: Vec<Condition>,

    /// The SPIFFE IDs that the binding stands for; only while Ready is True.
    /// Example: `[{mode: PerObjective, spiffeID: "spiffe://example.org/ns/llm/objective/chat-premium"}]`.
    #[serde(rename = "computedSpiffeIDs", default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    #[schemars(length(max = 8))]
    pub computed_spiffe_ids: Vec<ComputedSpiffeId>,

    /// For each SPIFFE ID the selectors that a workload must match, all of them; only while Ready is True.
    /// Example:
    /// `[{spiffeID: "spiffe://example.org/ns/llm/pool/chat", selectors: ["k8s:ns:llm", "k8s:sa:model-server"]}]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    #[schemars(length(max = 8))]
    pub rendered_selectors: Vec<RenderedSelectors>,

    /// The ClusterSPIFFEID that grants the identity; only while Ready is True.
    /// Example: `{name: kleym-llm-chat-premium-0123456789abcdef0123456789abcdef}`.
    #[serde(rename = "renderedClusterSPIFFEID", default, skip_serializing_if = "Option::is_none")]
    pub rendered_cluster_spiffe_id: Option<RenderedClusterSpiffeId>,

    /// Bindings of this namespace that claim the same and come first, in their order; the first 16 of them.
    /// Example: `[{bindingName: chat, cause: IdentityCollision}]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    #[schemars(length(max = 16))]
    pub conflicts: Vec<ConflictingBinding>,

    /// How many bindings claim the same and come first, those that conflicts does not list included.
    /// Example: `1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub conflict_count: Option<i64>,

    /// Trust domain that the operator was configured with when it wrote this status.
    /// Example: `example.org`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 255))]
    pub trust_domain: Option<String>,

    /// Class that the operator was configured with, which decides what SPIRE controller manager takes the output
    /// up; absent when there is none.
    /// Example: `spire-server-spire`.
    #[serde(rename = "clusterSPIFFEIDClassName", default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub cluster_spiffe_id_class_name: Option<String>,

    /// Name of the operator's instance.
    /// Example: `default`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub instance: Option<String>,

    /// Paths outside `/ns/` that an administrator granted to this namespace.
    /// Example: `["/teams/llm"]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    #[schemars(length(max = 1024), inner(length(min = 1, max = 255)))]
    pub path_grants: Vec<String>,
}

/// One aspect of the binding's state.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// Which aspect: Ready, InvalidRef, UnsafeSelector, Conflict, RenderFailure, Reconciling or Stalled.
    /// Example: `Ready`.
    #[serde(rename = "type")]
    #[schemars(
        length(min = 1, max = 316),
        regex(
            pattern = r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]$"
        )
    )]
    pub type_: String,

    /// Whether it holds: True, False or, while undecided, Unknown.
    /// Example: `"True"`.
    pub status: ConditionStatus,

    /// Generation of the binding that the condition speaks of.
    /// Example: `3`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub observed_generation: Option<i64>,

    /// When the status last changed from one value to another.
    /// Example: `2026-11-21T03:00:00Z`.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub last_transition_time: Time,

    /// Why, as one word for programs.
    /// Example: `Reconciled`.
    #[schemars(length(min = 1, max = 256), regex(pattern = r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$"))]
    pub reason: String,

    /// What, where and what to do, for people.
    /// Example: ``no InferenceObjective `chat-premium` in namespace `llm`: create it or correct
    /// `spec.targetRef.name` ``.
    #[schemars(length(max = 1024))]
    pub message: String,
}

/// Whether a condition holds.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConditionStatus {
    /// It holds.
    True,
    /// It does not.
    False,
    /// Not decided yet.
    Unknown,
}

/// A SPIFFE ID that a binding stands for.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ComputedSpiffeId {
    /// Mode that the ID was computed in.
    /// Example: `PerObjective`.
    pub mode: Mode,

    /// The SPIFFE ID.
    /// Example: `spiffe://example.org/ns/llm/objective/chat-premium`.
    #[serde(rename = "spiffeID")]
    #[schemars(length(min = 1, max = 255))]
    pub spiffe_id: String,
}

/// The selectors of one SPIFFE ID.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct RenderedSelectors {
    /// The SPIFFE ID.
    /// Example: `spiffe://example.org/ns/llm/objective/chat-premium`.
    #[serde(rename = "spiffeID")]
    #[schemars(length(min = 1, max = 255))]
    pub spiffe_id: String,

    /// The selectors, without duplicates, in byte order.
    /// Example: `["k8s:container-name:vllm", "k8s:ns:llm", "k8s:pod-label:app:chat", "k8s:sa:model-server"]`.
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    #[schemars(length(max = 128), inner(length(min = 1, max = 255)))]
    pub selectors: Vec<String>,
}

/// The ClusterSPIFFEID that grants an identity, as it was last seen in the cluster.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct RenderedClusterSpiffeId {
    /// Its name, the same for the binding's whole life.
    /// Example: `kleym-llm-chat-premium-0123456789abcdef0123456789abcdef`.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,

    /// Its uid.
    /// Example: `0d9f4a3e-6c1b-4f6e-9d43-1f2f5c7f6a10`.
    #[schemars(length(min = 1, max = 128))]
    pub uid: String,

    /// The SPIFFE ID that it grants.
    /// Example: `spiffe://example.org/ns/llm/objective/chat-premium`.
    #[serde(rename = "spiffeID")]
    #[schemars(length(min = 1, max = 255))]
    pub spiffe_id: String,

    /// Fingerprint of its selectors, the same for the same set in any order.
    /// Example: `sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855`.
    #[schemars(length(max = 71), regex(pattern = "^sha256:[0-9a-f]{64}$"))]
    pub selector_fingerprint: String,

    /// Generation of the binding that it was rendered from.
    /// Example: `3`.
    #[schemars(range(min = 0))]
    pub observed_generation: i64,
}

/// A binding that claims the same and comes first.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ConflictingBinding {
    /// Its name; it is in the same namespace.
    /// Example: `chat`.
    #[schemars(length(min = 1, max = 253))]
    pub binding_name: String,

    /// What the two have in common: `IdentityCollision` (workloads, but not the SPIFFE ID) or `DuplicateSPIFFEID`
    /// (the SPIFFE ID, but not the subject).
    /// Example: `IdentityCollision`.
    pub cause: ConflictCause,

    /// The SPIFFE ID that it claims.
    /// Example: `spiffe://example.org/ns/llm/objective/chat`.
    #[serde(rename = "spiffeID")]
    #[schemars(length(min = 1, max = 255))]
    pub spiffe_id: String,
}

/// Why two bindings cannot both stand.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConflictCause {
    /// They would give one workload two SPIFFE IDs.
    IdentityCollision,
    /// They would give different subjects one SPIFFE ID.
    #[serde(rename = "DuplicateSPIFFEID")]
    DuplicateSpiffeId,
}
