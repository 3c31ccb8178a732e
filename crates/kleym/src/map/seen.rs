//! What the map is told of outputs and pods: which there are, and what each container is given. Who tells it has asked the
//! engine; nothing is worked out here.

use kleym_core::name::BindingKey;

/// Outputs and pods.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// The ClusterSPIFFEIDs.
    pub(crate) outputs: Vec<Output>,
    /// The pods; `None` when nobody looked.
    pub(crate) pods: Option<Vec<Pod>>,
}

/// A ClusterSPIFFEID.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Output {
    /// Its name.
    pub(crate) name: String,
    /// The binding it is of; none for a foreign one.
    pub(crate) binding: Option<BindingKey>,
    /// The instance of Kleym that it is of, when that is not the operator here.
    pub(crate) instance: Option<String>,
    /// What it gives: a literal, or a template of a foreign one.
    pub(crate) spiffe_id: String,
    /// `spec.className`
    pub(crate) class_name: Option<String>,
    /// Whether it is a fallback.
    pub(crate) fallback: bool,
    /// What is to be said of it, and that.
    pub(crate) facts: Vec<(&'static str, String)>,
    /// Why spire-controller-manager makes nothing of it, if that is so.
    pub(crate) ignored: Option<String>,
}

/// A pod and what its containers are given.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Pod {
    /// Its namespace.
    pub(crate) namespace: String,
    /// Its name.
    pub(crate) name: String,
    /// What owns it, kind and name.
    pub(crate) owner: Option<(String, String)>,
    /// Its service account.
    pub(crate) service_account: String,
    /// Its labels.
    pub(crate) labels: Vec<(String, String)>,
    /// The outputs whose selectors of labels and namespace select it.
    pub(crate) selected_by: Vec<String>,
    /// Its containers, in the order of the pod.
    pub(crate) containers: Vec<Given>,
}

/// What one container is given.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Given {
    /// Which container.
    pub(crate) container: super::Container,
    /// The identities it has.
    pub(crate) granted: Vec<Grant>,
    /// The fallback identities that it would have, had not another output given the pod an entry.
    pub(crate) displaced: Vec<Displaced>,
}

/// An identity that a container has.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Grant {
    /// The output that gives it.
    pub(crate) output: String,
    /// What it is.
    pub(crate) spiffe_id: String,
    /// Whether it certainly has it; otherwise something that decides over it cannot be told.
    pub(crate) certain: bool,
}

/// A fallback identity that a container does not have.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Displaced {
    /// The fallback output.
    pub(crate) output: String,
    /// What the container would be.
    pub(crate) spiffe_id: String,
    /// The outputs because of which it is not.
    pub(crate) by: Vec<String>,
}
