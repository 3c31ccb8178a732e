//! The ClusterSPIFFEID that the engine wants, as it is created and as it replaces a live one.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use kleym_core::output::{self, LiveOutput, OutputSpec, Pairs, WantedOutput};

use crate::cluster_spiffe_id::{ClusterSpiffeId, ClusterSpiffeIdSpec};

/// A new output.
pub fn cluster_spiffe_id(wanted: &WantedOutput) -> ClusterSpiffeId {
    let metadata = ObjectMeta {
        name: Some(wanted.name.to_string()),
        labels: Some(strings(&wanted.labels)),
        annotations: Some(strings(&wanted.annotations)),
        ..ObjectMeta::default()
    };
    ClusterSpiffeId { metadata, spec: spec(&wanted.spec) }
}

/// The output that takes a live one's place: the whole spec, our labels and annotations; foreign labels, annotations
/// and finalizers stay, ownerReferences go. Bound to the live object's uid and resourceVersion.
pub fn replacement(wanted: &WantedOutput, live: &LiveOutput) -> ClusterSpiffeId {
    let (labels, annotations) = live.merged(wanted);
    let finalizers: Vec<String> = live.finalizers.iter().map(ToString::to_string).collect();
    let metadata = ObjectMeta {
        name: Some(live.name.to_string()),
        uid: Some(live.uid.to_string()),
        resource_version: Some(live.resource_version.to_string()),
        labels: Some(strings(&labels)),
        annotations: Some(strings(&annotations)),
        finalizers: (!finalizers.is_empty()).then_some(finalizers),
        ..ObjectMeta::default()
    };
    ClusterSpiffeId { metadata, spec: spec(&wanted.spec) }
}

fn spec(wanted: &OutputSpec) -> ClusterSpiffeIdSpec {
    // Destructured so that a field that the engine learns to want cannot be forgotten here. What it never wants has no
    // way into the object.
    let OutputSpec {
        spiffe_id,
        namespace_selector,
        pod_selector,
        selectors,
        class_name,
        fallback,
        hint,
        unwanted: _,
    } = wanted;
    ClusterSpiffeIdSpec {
        spiffe_id_template: spiffe_id.to_string(),
        namespace_selector: namespace_selector.as_ref().map(label_selector),
        pod_selector: pod_selector.as_ref().map(label_selector),
        workload_selector_templates: selectors.iter().map(ToString::to_string).collect(),
        class_name: class_name.as_ref().map(ToString::to_string),
        fallback: *fallback,
        hint: hint.as_ref().map(ToString::to_string),
        ..ClusterSpiffeIdSpec::default()
    }
}

fn label_selector(wanted: &output::LabelSelector) -> LabelSelector {
    LabelSelector { match_labels: Some(strings(&wanted.match_labels)), match_expressions: None }
}

fn strings(pairs: &Pairs) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect()
}
