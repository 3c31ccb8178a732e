//! Facts about what runs: pods with their containers, nodes and namespaces, as far as identities depend on them.

use std::fmt;

use crate::name::{Namespace, ObjectName, Uid};
use crate::output::Pairs;

/// A pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pod {
    /// Its namespace.
    pub namespace: Namespace,
    /// Its name.
    pub name: ObjectName,
    /// Its uid; files have none.
    pub uid: Option<Uid>,
    /// All labels.
    pub labels: Pairs,
    /// `spec.serviceAccountName`; `default` where the object names none, as the API server fills it in.
    pub service_account: Box<str>,
    /// `spec.nodeName`; none while it is not scheduled.
    pub node_name: Option<Box<str>>,
    /// `status.phase`
    pub phase: Phase,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// `metadata.ownerReferences`
    pub owners: Box<[Owner]>,
    /// Regular containers, then init containers, each in their order; ephemeral ones are left out, because SPIRE's agent
    /// does not find them (`spire: lookUpContainerInPod`).
    pub containers: Box<[Container]>,
    /// Whether Istio's proxy was injected.
    pub istio: bool,
    /// `spec.tolerations`, with those that a controller added.
    pub tolerations: Box<[Toleration]>,
    /// `spec.nodeSelector`
    pub node_selector: Pairs,
    /// The condition Ready, where it is reported.
    pub ready: Option<bool>,
}

/// The phase of a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Not all containers have started.
    Pending,
    /// Running.
    Running,
    /// All containers ended well.
    Succeeded,
    /// All containers ended, one of them badly.
    Failed,
    /// Not reported, as in a file.
    Unknown,
}

impl Phase {
    /// The value of `status.phase`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Phase::Pending => "Pending",
            Phase::Running => "Running",
            Phase::Succeeded => "Succeeded",
            Phase::Failed => "Failed",
            Phase::Unknown => "Unknown",
        }
    }

    /// Whether all its containers have ended.
    pub const fn ended(self) -> bool {
        matches!(self, Phase::Succeeded | Phase::Failed)
    }
}

/// An owner of a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// `ReplicaSet`
    pub kind: Box<str>,
    /// Its name.
    pub name: Box<str>,
    /// Its uid.
    pub uid: Box<str>,
}

/// What kind of container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContainerKind {
    /// One of `spec.containers`.
    Regular,
    /// One of `spec.initContainers` that ends before the regular ones start.
    Init,
    /// One of `spec.initContainers` with `restartPolicy: Always`: a native sidecar, which keeps running.
    Sidecar,
}

impl ContainerKind {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            ContainerKind::Regular => "container",
            ContainerKind::Init => "init container",
            ContainerKind::Sidecar => "sidecar",
        }
    }

    /// Whether it stands in `spec.initContainers`.
    pub const fn is_init(self) -> bool {
        matches!(self, ContainerKind::Init | ContainerKind::Sidecar)
    }
}

/// A container of a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    /// Its name, unique in the pod.
    pub name: Box<str>,
    /// What kind.
    pub kind: ContainerKind,
    /// `image` of the pod's spec: what was asked for.
    pub image: Box<str>,
    /// What the kubelet reported; none before it did.
    pub running: Option<Image>,
    /// Whether it reaches the Workload API.
    pub access: Access,
}

/// Whether a container reaches the socket of the Workload API, as far as the mounts of its pod tell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Access {
    /// Nothing in the pod speaks of it.
    #[default]
    Untold,
    /// A volume that may hold the socket is mounted at this path.
    Mounted(Box<str>),
    /// Its pod has such a volume, or its environment names a socket, and it mounts nothing that could hold that.
    Missing {
        /// The volume, and what it is of; none where the pod has none.
        volume: Option<(Box<str>, Box<str>)>,
        /// `SPIFFE_ENDPOINT_SOCKET`
        endpoint: Option<Box<str>>,
        /// The names of what it mounts.
        mounts: Box<[Box<str>]>,
    },
}

/// What the kubelet reported of a container's image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// `status.containerStatuses[].image`
    pub image: Box<str>,
    /// `status.containerStatuses[].imageID`
    pub id: Box<str>,
}

/// A node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its name.
    pub name: Box<str>,
    /// Its uid.
    pub uid: Option<Uid>,
    /// All labels.
    pub labels: Pairs,
    /// `spec.taints`
    pub taints: Box<[Taint]>,
}

/// What keeps pods off a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taint {
    /// Its key.
    pub key: Box<str>,
    /// Its value, which may be empty.
    pub value: Box<str>,
    /// `NoSchedule`, `PreferNoSchedule` or `NoExecute`.
    pub effect: Box<str>,
}

/// A taint that a pod puts up with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Toleration {
    /// The key; empty for every one.
    pub key: Box<str>,
    /// Whether any value is meant (`operator: Exists`).
    pub any_value: bool,
    /// The value.
    pub value: Box<str>,
    /// The effect; empty for every one.
    pub effect: Box<str>,
}

impl Taint {
    /// Whether it keeps those off that do not tolerate it; the scheduler merely avoids a node with `PreferNoSchedule`.
    pub fn keeps_off(&self) -> bool {
        matches!(&*self.effect, "NoSchedule" | "NoExecute")
    }
}

impl Toleration {
    /// Whether it is for a taint (`kubernetes: core/v1 Toleration.ToleratesTaint`).
    pub fn tolerates(&self, taint: &Taint) -> bool {
        (self.effect.is_empty() || self.effect == taint.effect)
            && (self.key.is_empty() || self.key == taint.key)
            && (self.any_value || self.value == taint.value)
    }
}

impl fmt::Display for Taint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, value, effect } = self;
        let equals = if value.is_empty() { "" } else { "=" };
        write!(f, "{key}{equals}{value}:{effect}")
    }
}

impl fmt::Display for Toleration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = if self.key.is_empty() { "*" } else { &self.key };
        let value = if self.any_value || self.value.is_empty() { "" } else { &self.value };
        let effect = if self.effect.is_empty() { "*" } else { &self.effect };
        write!(f, "{key}{}{value}:{effect}", if value.is_empty() { "" } else { "=" })
    }
}

/// A namespace with its labels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Space {
    /// Its name.
    pub name: Namespace,
    /// The labels that are known.
    pub labels: Pairs,
    /// Whether these are all.
    pub complete: bool,
}

impl Space {
    /// A namespace of which nothing but its name is known: the API server keeps that in a label.
    pub fn named(name: Namespace) -> Self {
        let labels = [(crate::output::LABEL_NAMESPACE_NAME.into(), name.as_str().into())].into();
        Self { name, labels, complete: false }
    }
}

impl Pod {
    /// A pod in words: `namespace/name`.
    pub fn path(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    /// Whether a container can hold an identity: it runs, or will. Of a pod that has ended none does, and where the regular
    /// containers run those that start before them are over.
    pub fn can_hold(&self, container: &Container) -> bool {
        match self.phase {
            Phase::Succeeded | Phase::Failed => false,
            Phase::Running => container.kind != ContainerKind::Init,
            Phase::Pending | Phase::Unknown => true,
        }
    }

    /// The containers of `spec.initContainers`, or the others.
    pub fn of(&self, init: bool) -> impl Iterator<Item = &Container> {
        self.containers.iter().filter(move |container| container.kind.is_init() == init)
    }
}
