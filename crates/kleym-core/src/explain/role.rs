//! Pods that plainly serve no model: nobody is told to make an InferencePool for them.

use crate::report::image_name as name;
use crate::spire::Pod;

/// What runs in images of these names.
const IMAGES: [(&str, &str); 5] = [
    ("kleym-operator", "Kleym's operator"),
    ("spire-agent", "SPIRE's agent"),
    ("spire-server", "SPIRE Server"),
    ("spire-controller-manager", "spire-controller-manager"),
    ("spiffe-csi-driver", "the SPIFFE CSI driver"),
];

/// What an endpoint picker runs, whoever built it: `epp`, `llm-d-inference-scheduler`, `llm-d-router-endpoint-picker`.
fn is_picker(image: &str) -> bool {
    let parts = ["endpoint-picker", "inference-scheduler"];
    image == "epp" || image.ends_with("-epp") || parts.iter().any(|part| image.contains(part))
}

/// What a pod is, where that is plain.
pub(super) fn of(pod: &Pod) -> Option<&'static str> {
    let label = |key: &str| pod.labels.get(key).map(|value| &**value);
    let component = label("app.kubernetes.io/component");
    if label("app.kubernetes.io/name") == Some("kleym") && component == Some("operator") {
        return Some(IMAGES[0].1);
    }
    let mut images = pod.containers.iter().filter(|one| !one.kind.is_init()).map(|one| name(&one.image));
    images.find_map(|image| {
        let known = IMAGES.iter().find(|(name, _)| *name == image).map(|(_, role)| *role);
        known.or_else(|| is_picker(image).then_some("an endpoint picker"))
    })
}

#[cfg(test)]
mod tests {
    use super::name;

    #[test]
    fn an_image_is_known_by_its_name_alone() {
        for image in [
            "spire-agent",
            "spire-agent:1.14.0",
            "r:5000/a/spire-agent:1@sha256:0",
            "r/spire-agent@sha256:a/b",
        ] {
            assert_eq!(name(image), "spire-agent", "{image}");
        }
    }
}
