//! What can be listed: resources by name, and collections of them.

use kleym_core::kind::Kind;
use kleym_core::name::Namespace;

/// A resource of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Resource {
    /// A kind that the engine reads or writes.
    Kind(Kind),
    /// `pods`
    Pods,
    /// `nodes`
    Nodes,
    /// `namespaces`
    Namespaces,
    /// `customresourcedefinitions.apiextensions.k8s.io`
    Definitions,
    /// `configmaps`
    ConfigMaps,
    /// `deployments.apps`
    Deployments,
    /// `daemonsets.apps`
    DaemonSets,
    /// `leases.coordination.k8s.io`
    Leases,
}

impl Resource {
    /// The API group; empty for the core group.
    pub(crate) const fn group(self) -> &'static str {
        match self {
            Resource::Kind(kind) => kind.group(),
            Resource::Pods | Resource::Nodes | Resource::Namespaces | Resource::ConfigMaps => "",
            Resource::Definitions => "apiextensions.k8s.io",
            Resource::Deployments | Resource::DaemonSets => "apps",
            Resource::Leases => "coordination.k8s.io",
        }
    }

    /// The version that is read.
    pub(crate) const fn version(self) -> &'static str {
        match self {
            Resource::Kind(kind) => kind.version(),
            Resource::Pods
            | Resource::Nodes
            | Resource::Namespaces
            | Resource::Definitions
            | Resource::ConfigMaps
            | Resource::Deployments
            | Resource::DaemonSets
            | Resource::Leases => "v1",
        }
    }

    /// The name in URLs and RBAC.
    pub(crate) const fn plural(self) -> &'static str {
        match self {
            Resource::Kind(kind) => kind.plural(),
            Resource::Pods => "pods",
            Resource::Nodes => "nodes",
            Resource::Namespaces => "namespaces",
            Resource::Definitions => "customresourcedefinitions",
            Resource::ConfigMaps => "configmaps",
            Resource::Deployments => "deployments",
            Resource::DaemonSets => "daemonsets",
            Resource::Leases => "leases",
        }
    }

    /// The kind's name.
    pub(crate) const fn kind(self) -> &'static str {
        match self {
            Resource::Kind(kind) => kind.kind(),
            Resource::Pods => "Pod",
            Resource::Nodes => "Node",
            Resource::Namespaces => "Namespace",
            Resource::Definitions => "CustomResourceDefinition",
            Resource::ConfigMaps => "ConfigMap",
            Resource::Deployments => "Deployment",
            Resource::DaemonSets => "DaemonSet",
            Resource::Leases => "Lease",
        }
    }

    /// Whether its objects live in namespaces.
    pub(crate) const fn namespaced(self) -> bool {
        match self {
            Resource::Kind(kind) => kind.namespaced(),
            Resource::Pods
            | Resource::ConfigMaps
            | Resource::Deployments
            | Resource::DaemonSets
            | Resource::Leases => true,
            Resource::Nodes | Resource::Namespaces | Resource::Definitions => false,
        }
    }

    /// `<plural>.<group>`, as kubectl names it.
    pub(crate) fn name(self) -> String {
        match self.group() {
            "" => self.plural().to_owned(),
            group => format!("{}.{group}", self.plural()),
        }
    }

    /// The name of its CustomResourceDefinition, if it has one.
    pub(crate) fn definition(self) -> Option<String> {
        match self {
            Resource::Kind(kind) => Some(kind.crd_name()),
            Resource::Pods
            | Resource::Nodes
            | Resource::Namespaces
            | Resource::Definitions
            | Resource::ConfigMaps
            | Resource::Deployments
            | Resource::DaemonSets
            | Resource::Leases => None,
        }
    }

    /// The resource of an object by its `apiVersion` and `kind`.
    pub(crate) fn find(api_version: &str, kind: &str) -> Option<Self> {
        const BESIDE: [Resource; 8] = [
            Resource::Kind(Kind::Output),
            Resource::Pods,
            Resource::Nodes,
            Resource::Namespaces,
            Resource::Definitions,
            Resource::ConfigMaps,
            Resource::Deployments,
            Resource::DaemonSets,
        ];
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        BESIDE
            .into_iter()
            .find(|known| known.group() == group && known.version() == version && known.kind() == kind)
    }
}

/// The objects of a resource: all of them, or those of one namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Collection {
    /// Of what.
    pub(crate) resource: Resource,
    /// In which namespace; `None` for all.
    pub(crate) namespace: Option<Namespace>,
    /// Only objects with these labels.
    pub(crate) labels: Option<String>,
    /// Whether only metadata is asked for.
    pub(crate) metadata_only: bool,
}

impl Collection {
    /// The whole objects of a resource; the namespace counts only where the resource has namespaces.
    pub(crate) fn of(resource: Resource, namespace: Option<&Namespace>) -> Self {
        let namespace = namespace.filter(|_| resource.namespaced()).cloned();
        Self { resource, namespace, labels: None, metadata_only: false }
    }

    /// What it is and where: `pods in namespace llm`, `nodes`.
    pub(super) fn in_words(&self) -> String {
        let name = self.resource.name();
        let labels = self.labels.as_ref().map(|labels| format!(" with {labels}")).unwrap_or_default();
        match (&self.namespace, self.resource.namespaced()) {
            (Some(namespace), _) => format!("{name}{labels} in namespace {namespace}"),
            (None, true) => format!("{name}{labels} in all namespaces"),
            (None, false) => format!("{name}{labels}"),
        }
    }

    /// Where it is.
    pub(super) fn path(&self) -> String {
        let (group, version, plural) =
            (self.resource.group(), self.resource.version(), self.resource.plural());
        let root =
            if group.is_empty() { format!("/api/{version}") } else { format!("/apis/{group}/{version}") };
        match &self.namespace {
            Some(namespace) => format!("{root}/namespaces/{namespace}/{plural}"),
            None => format!("{root}/{plural}"),
        }
    }
}
