//! ClusterSPIFFEID of `spire.spiffe.io/v1alpha1`, the kind that Kleym writes: every field of its spec, for writing,
//! and the counts in its status, read without ever failing.
//!
//! A spec from the cluster is never read through [`ClusterSpiffeIdSpec`]: an object of somebody else may hold what
//! these types cannot, and it must not hide the others.

use std::borrow::Cow;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use kube::core::ClusterResourceScope;
use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};
use serde_json::Value;

/// A ClusterSPIFFEID as it is written; its status is SPIRE's to write.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ClusterSpiffeId {
    /// Name, labels, annotations and, on a replace, resourceVersion and finalizers.
    pub metadata: ObjectMeta,
    /// What is granted, and to whom.
    pub spec: ClusterSpiffeIdSpec,
}

/// Everything that a ClusterSPIFFEID can say. What is absent is left out of the object.
#[derive(Serialize, Debug, Clone, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct ClusterSpiffeIdSpec {
    /// The SPIFFE ID; a Go template for spire-controller-manager, a literal from Kleym.
    #[serde(rename = "spiffeIDTemplate")]
    pub spiffe_id_template: String,
    /// The namespaces whose pods are selected; absent or empty means all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace_selector: Option<LabelSelector>,
    /// The pods that are selected; absent or empty means all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod_selector: Option<LabelSelector>,
    /// Selectors of the entry beside the pod's uid; Go templates, literals from Kleym.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub workload_selector_templates: Vec<String>,
    /// DNS names of the X.509 SVID; Go templates.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dns_name_templates: Vec<String>,
    /// Whether names of the services in front of a pod become DNS names.
    #[serde(rename = "autoPopulateDNSNames", skip_serializing_if = "Option::is_none")]
    pub auto_populate_dns_names: Option<bool>,
    /// Lifetime of X.509 SVIDs, as a Go duration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl: Option<String>,
    /// Lifetime of JWT SVIDs, as a Go duration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jwt_ttl: Option<String>,
    /// Foreign trust domains whose bundles the workload gets.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub federates_with: Vec<String>,
    /// Whether the workload may call SPIRE server's administrative APIs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admin: Option<bool>,
    /// Whether the workload is a SPIRE server below this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub downstream: Option<bool>,
    /// Which spire-controller-manager takes the object up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class_name: Option<String>,
    /// Whether the object applies only to pods that no other one gives an identity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fallback: Option<bool>,
    /// Hint of the entry, by which a workload with several identities tells them apart.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl kube::Resource for ClusterSpiffeId {
    type DynamicType = ();
    type Scope = ClusterResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        "ClusterSPIFFEID".into()
    }

    fn group((): &()) -> Cow<'_, str> {
        "spire.spiffe.io".into()
    }

    fn version((): &()) -> Cow<'_, str> {
        "v1alpha1".into()
    }

    fn plural((): &()) -> Cow<'_, str> {
        "clusterspiffeids".into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

impl Serialize for ClusterSpiffeId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { metadata, spec } = self;
        let mut object = serializer.serialize_struct("ClusterSPIFFEID", 4)?;
        object.serialize_field("apiVersion", &<Self as kube::Resource>::api_version(&()))?;
        object.serialize_field("kind", &<Self as kube::Resource>::kind(&()))?;
        object.serialize_field("metadata", metadata)?;
        object.serialize_field("spec", spec)?;
        object.end()
    }
}

/// What spire-controller-manager last counted for a ClusterSPIFFEID. The counts carry no generation and no time, so
/// they are never proof of anything but that somebody processed the object once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SpireStats {
    /// Namespaces that the object selects.
    pub namespaces_selected: i64,
    /// Selected namespaces that the configuration ignores.
    pub namespaces_ignored: i64,
    /// Pods that the object selects.
    pub pods_selected: i64,
    /// Pods for which no entry could be rendered.
    pub pod_entry_render_failures: i64,
    /// Entries that another object makes as well.
    pub entries_masked: i64,
    /// Entries that the object should have.
    pub entries_to_set: i64,
    /// Entries that SPIRE server did not take.
    pub entry_failures: i64,
}

impl SpireStats {
    /// Reads `status.stats` of a whole ClusterSPIFFEID. None when there are no stats at all: then nobody has
    /// processed the object. A count that is absent, or no integer, is 0.
    pub fn read(object: &Value) -> Option<Self> {
        let stats = object.get("status")?.get("stats")?.as_object()?;
        let count = |name: &str| stats.get(name).and_then(Value::as_i64).unwrap_or(0);
        Some(Self {
            namespaces_selected: count("namespacesSelected"),
            namespaces_ignored: count("namespacesIgnored"),
            pods_selected: count("podsSelected"),
            pod_entry_render_failures: count("podEntryRenderFailures"),
            entries_masked: count("entriesMasked"),
            entries_to_set: count("entriesToSet"),
            entry_failures: count("entryFailures"),
        })
    }
}
