//! How bindings stand.

use kleym_core::index::Index;
use kleym_core::settings::Settings;
use schemars::JsonSchema;
use serde::Serialize;

use super::{FindingEntry, Reported};

/// How every binding stands.
#[derive(Serialize, JsonSchema, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct StatusReport {
    /// How many bindings stand how.
    pub summary: StatusSummary,
    /// The engine settings that were used.
    pub settings: SettingsInUse,
    /// One row a binding, by namespace and name.
    pub bindings: Vec<BindingRow>,
    /// What there is to say.
    pub findings: Vec<FindingEntry>,
}

impl Reported for StatusReport {
    const KIND: &'static str = "StatusReport";
}

/// How many bindings stand how.
#[derive(Serialize, JsonSchema, Debug, Clone, Copy, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct StatusSummary {
    /// All of them.
    pub bindings: usize,
    /// Ready is True.
    pub ready: usize,
    /// Ready is False.
    pub refused: usize,
    /// Ready is Unknown, or not said.
    pub undecided: usize,
}

/// The engine settings that were used.
#[derive(Serialize, JsonSchema, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct SettingsInUse {
    /// Trust domain of every SPIFFE ID.
    pub trust_domain: String,
    /// Class of the outputs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class_name: Option<String>,
    /// Name of the operator.
    pub instance: String,
    /// Namespaces of other operators, which are looked at with the settings of these; absent where all are looked at with the
    /// settings above.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<SettingsElsewhere>,
}

/// The engine settings that were used for some namespaces.
#[derive(Serialize, JsonSchema, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct SettingsElsewhere {
    /// Which namespaces.
    pub namespaces: Vec<String>,
    /// Trust domain of every SPIFFE ID.
    pub trust_domain: String,
    /// Class of the outputs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class_name: Option<String>,
    /// Name of the operator.
    pub instance: String,
}

impl From<&Settings> for SettingsInUse {
    fn from(settings: &Settings) -> Self {
        Self {
            trust_domain: settings.trust_domain.to_string(),
            class_name: settings.class_name.as_ref().map(ToString::to_string),
            instance: settings.instance.to_string(),
            others: Vec::new(),
        }
    }
}

impl SettingsInUse {
    /// Those that everything of an index is rendered with: of the first of several operators, and of the others beside it.
    pub(crate) fn of(index: &Index) -> Self {
        let used = index.settings_in_use();
        let mut own = Self::from(used.first().copied().unwrap_or(index.settings()));
        own.others = used.iter().skip(1).map(|settings| SettingsElsewhere::of(index, settings)).collect();
        own
    }
}

impl SettingsElsewhere {
    fn of(index: &Index, settings: &Settings) -> Self {
        let mut namespaces: Vec<String> = index
            .bindings()
            .map(|binding| &binding.key.namespace)
            .filter(|namespace| index.settings_in(namespace) == settings)
            .map(ToString::to_string)
            .collect();
        namespaces.dedup();
        let SettingsInUse { trust_domain, class_name, instance, others: _ } = SettingsInUse::from(settings);
        Self { namespaces, trust_domain, class_name, instance }
    }
}

/// One binding.
#[derive(Serialize, JsonSchema, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct BindingRow {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// What it names: `InferenceObjective/chat`; absent when that cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Its mode; absent when that cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// The condition Ready: True, False or Unknown. From a cluster, or from a file that holds its status, as the operator
    /// reported it; from any other file as the engine decides.
    pub ready: String,
    /// The reason of the condition Ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The SPIFFE ID, while Ready.
    #[serde(rename = "spiffeID", skip_serializing_if = "Option::is_none")]
    pub spiffe_id: Option<String>,
    /// The name of the ClusterSPIFFEID, while Ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
    /// When it was created, in seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<i64>,
    /// When it was created, as the API server writes it: `2026-11-01T08:00:00Z` (RFC 3339).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub creation_timestamp: Option<String>,
}
