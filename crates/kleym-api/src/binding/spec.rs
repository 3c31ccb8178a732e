//! What a user declares: `spec` of a binding, with the rules that the API server checks at admission.
//!
//! Every rule stands on `spec` or below. A rule on the root would refuse status writes and finalizer removal on
//! objects that were stored before the rule existed.

#![expect(unreachable_pub, reason = "KubeSchema copies each `pub struct` into a function")]
#![expect(clippy::duplicated_attributes, reason = "columns share a type and a priority")]

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::status::InferenceIdentityBindingStatus;

/// What to give an identity to, and how its workloads are told apart from all others.
/// Example: `{targetRef: {name: chat-premium}, selectorSource: DerivedFromPool, workloadSelectorTemplates:
/// ["k8s:ns:llm", "k8s:sa:model-server"], containerDiscriminator: {type: ContainerName, value: vllm}}`.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[kube(
    group = "kleym.sonda.red",
    version = "v1alpha1",
    kind = "InferenceIdentityBinding",
    plural = "inferenceidentitybindings",
    singular = "inferenceidentitybinding",
    shortname = "iib",
    category = "kleym",
    namespaced,
    status = "InferenceIdentityBindingStatus",
    derive = "PartialEq",
    doc = "Gives the model servers behind an InferenceObjective or InferencePool a SPIFFE ID.",
    selectable = ".spec.targetRef.name",
    selectable = ".spec.mode",
    printcolumn(
        json_path = ".spec.targetRef.name",
        name = "Target",
        type_ = "string",
        description = "The objective or pool that the binding refers to."
    ),
    printcolumn(
        json_path = ".spec.mode",
        name = "Mode",
        type_ = "string",
        description = "PerObjective or PoolOnly."
    ),
    printcolumn(
        json_path = r#".status.conditions[?(@.type=="Ready")].status"#,
        name = "Ready",
        type_ = "string",
        description = "True when the identity is in the cluster."
    ),
    printcolumn(
        json_path = r#".status.conditions[?(@.type=="Ready")].reason"#,
        name = "Reason",
        type_ = "string",
        description = "Why the binding is, or is not, Ready."
    ),
    printcolumn(
        json_path = ".status.computedSpiffeIDs[0].spiffeID",
        name = "SPIFFE-ID",
        type_ = "string",
        priority = 1,
        description = "The SPIFFE ID that is granted."
    ),
    printcolumn(
        json_path = ".status.renderedClusterSPIFFEID.name",
        name = "Output",
        type_ = "string",
        priority = 1,
        description = "The ClusterSPIFFEID that grants it."
    ),
    printcolumn(
        json_path = ".metadata.creationTimestamp",
        name = "Age",
        type_ = "date",
        description = "Time since the binding was created."
    )
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new(
        "!(has(self.mode) && self.mode == 'PoolOnly' && has(self.containerDiscriminator))"
    )
    .message(
        "remove containerDiscriminator or set mode to PerObjective: in mode PoolOnly the identity is the whole \
         pool's and names no container"
    )
    .field_path(".containerDiscriminator")
    .reason(Reason::FieldValueForbidden),
    validation = Rule::new(
        "(has(self.mode) && self.mode == 'PoolOnly') || has(self.containerDiscriminator)"
    )
    .message(
        "add containerDiscriminator or set mode to PoolOnly: in mode PerObjective, the default, it says which \
         container the identity is for"
    )
    .field_path(".containerDiscriminator")
    .reason(Reason::FieldValueRequired),
    validation = Rule::new(
        "!(has(self.targetRef.kind) && self.targetRef.kind == 'InferencePool') || \
         (has(self.mode) && self.mode == 'PoolOnly')"
    )
    .message(
        "set mode to PoolOnly or refer to an InferenceObjective: a target of kind InferencePool has no objective \
         that mode PerObjective, the default, could be about"
    )
    .field_path(".mode")
    .reason(Reason::FieldValueInvalid)
)]
pub struct InferenceIdentityBindingSpec {
    /// The object that the identity is of. It is looked up in the binding's own namespace, never in another.
    /// Example: `{name: chat-premium}`.
    pub target_ref: TargetRef,

    /// Overrides the SPIFFE ID that Kleym computes, which is
    /// `spiffe://<trust domain>/ns/<namespace>/objective/<objective>` or, in mode PoolOnly,
    /// `spiffe://<trust domain>/ns/<namespace>/pool/<pool>`. Placeholders are `{{ .Namespace }}`,
    /// `{{ .BindingName }}`, `{{ .ObjectiveName }}`, `{{ .PoolName }}`, `{{ .Mode }}`,
    /// `{{ .ContainerDiscriminatorType }}`, `{{ .ContainerDiscriminatorValue }}` and `{{ .TrustDomain }}`; nothing
    /// else of a template language is understood. The result must lie under `/ns/<namespace>/` or under a path
    /// that an administrator granted to the namespace.
    /// Example: `spiffe://{{ .TrustDomain }}/ns/{{ .Namespace }}/model/{{ .ObjectiveName }}`.
    #[serde(rename = "spiffeIDTemplate", default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub spiffe_id_template: Option<String>,

    /// Where the pod selector comes from. The only value is `DerivedFromPool`: from the pool that the target leads
    /// to.
    /// Example: `DerivedFromPool`.
    pub selector_source: SelectorSource,

    /// SPIRE workload selectors that are added to the pool's labels; a workload must match all of them, so each
    /// one narrows. Together they need exactly one `k8s:ns:` with the binding's namespace and exactly one
    /// `k8s:sa:`. The placeholders of spiffeIDTemplate may be used.
    /// Example: `["k8s:ns:{{ .Namespace }}", "k8s:sa:model-server"]`.
    #[x_kube(merge_strategy = ListMerge::Set)]
    #[schemars(length(min = 1, max = 32), inner(length(min = 1, max = 512)))]
    pub workload_selector_templates: Vec<String>,

    /// How fine the identity is: `PerObjective` gives one container of the pool's pods the objective's identity,
    /// `PoolOnly` gives every container that the selectors match the pool's.
    /// Example: `PerObjective`.
    #[serde(default)]
    pub mode: Mode,

    /// The container that the identity is for. Required in mode PerObjective, refused in mode PoolOnly.
    /// Example: `{type: ContainerName, value: vllm}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container_discriminator: Option<ContainerDiscriminator>,
}

/// Names the object that an identity is of.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new(
        "!(has(self.kind) && self.kind == 'InferencePool' && has(self.group)) || \
         self.group in ['inference.networking.k8s.io', 'inference.networking.x-k8s.io']"
    )
    .message(
        "remove group or use inference.networking.k8s.io or inference.networking.x-k8s.io: no other group has a \
         kind InferencePool"
    )
    .field_path(".group")
    .reason(Reason::FieldValueInvalid)
)]
pub struct TargetRef {
    /// Pins the API group of the target. Without it all groups that the cluster serves are looked at, and several
    /// hits that lead to different pools are refused.
    /// Example: `llm-d.ai`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "TargetGroup")]
    pub group: Option<TargetGroup>,

    /// Kind of the target: `InferenceObjective`, or `InferencePool` in mode PoolOnly for clusters without
    /// objectives.
    /// Example: `InferenceObjective`.
    #[serde(default)]
    pub kind: TargetKind,

    /// Name of the target in the binding's namespace.
    /// Example: `chat-premium`.
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
    )]
    pub name: String,
}

/// The kinds that a binding can refer to.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TargetKind {
    /// An InferenceObjective, which leads to its pool.
    #[default]
    InferenceObjective,
    /// An InferencePool itself; only in mode PoolOnly.
    InferencePool,
}

/// The API groups that a binding can pin.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetGroup {
    /// `llm-d.ai`, objectives only.
    #[serde(rename = "llm-d.ai")]
    LlmD,
    /// `inference.networking.x-k8s.io`.
    #[serde(rename = "inference.networking.x-k8s.io")]
    InferenceX,
    /// `inference.networking.k8s.io`.
    #[serde(rename = "inference.networking.k8s.io")]
    Inference,
}

/// Where the pod selector of an identity comes from.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SelectorSource {
    /// From the labels that the resolved pool selects its pods by.
    #[default]
    DerivedFromPool,
}

/// How fine an identity is.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// One identity for a pool.
    PoolOnly,
    /// One identity for an objective, in one container of the pool's pods.
    #[default]
    PerObjective,
}

/// Tells one container of a pod from the others.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ContainerDiscriminator {
    /// What the container is told by: `ContainerName` (its name in the pod) or `ContainerImage` (its image as SPIRE
    /// reports it).
    /// Example: `ContainerName`.
    #[serde(rename = "type")]
    pub type_: ContainerDiscriminatorType,

    /// The container's name or image.
    /// Example: `vllm`.
    #[schemars(length(min = 1, max = 512))]
    pub value: String,
}

/// What a container is told by.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContainerDiscriminatorType {
    /// Its name in the pod.
    ContainerName,
    /// Its image as SPIRE reports it.
    ContainerImage,
}
