//! The kinds Kleym reads and the one it writes, with the groups and versions it supports, in order of preference.
//! This table is the only place that knows them.

use std::fmt;

/// Groups that hold InferenceObjectives, in order of preference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ObjectiveGroup {
    /// `llm-d.ai/v1alpha2`, where the kind lives since June 2026.
    LlmD,
    /// `inference.networking.x-k8s.io/v1alpha2`, GAIE 1.0 to 1.5.
    InferenceX,
    /// `inference.networking.k8s.io/v1`, reserved by the contract and never shipped by GAIE so far.
    Inference,
}

/// Groups that hold InferencePools, in order of preference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PoolGroup {
    /// `inference.networking.k8s.io/v1`.
    Inference,
    /// `inference.networking.x-k8s.io/v1alpha2`, GAIE up to 1.4.
    InferenceX,
}

impl ObjectiveGroup {
    /// All of them, in order of preference.
    pub const ALL: [ObjectiveGroup; 3] =
        [ObjectiveGroup::LlmD, ObjectiveGroup::InferenceX, ObjectiveGroup::Inference];

    /// The API group.
    pub const fn as_str(self) -> &'static str {
        match self {
            ObjectiveGroup::LlmD => "llm-d.ai",
            ObjectiveGroup::InferenceX => "inference.networking.x-k8s.io",
            ObjectiveGroup::Inference => "inference.networking.k8s.io",
        }
    }

    /// The API version that is read.
    pub const fn version(self) -> &'static str {
        match self {
            ObjectiveGroup::LlmD | ObjectiveGroup::InferenceX => "v1alpha2",
            ObjectiveGroup::Inference => "v1",
        }
    }

    /// The group of that name, if Kleym reads objectives of it.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|group| group.as_str() == text)
    }
}

impl PoolGroup {
    /// All of them, in order of preference.
    pub const ALL: [PoolGroup; 2] = [PoolGroup::Inference, PoolGroup::InferenceX];

    /// The API group.
    pub const fn as_str(self) -> &'static str {
        match self {
            PoolGroup::Inference => "inference.networking.k8s.io",
            PoolGroup::InferenceX => "inference.networking.x-k8s.io",
        }
    }

    /// The API version that is read.
    pub const fn version(self) -> &'static str {
        match self {
            PoolGroup::Inference => "v1",
            PoolGroup::InferenceX => "v1alpha2",
        }
    }

    /// The group of that name, if Kleym reads pools of it.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|group| group.as_str() == text)
    }
}

impl fmt::Display for ObjectiveGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for PoolGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A kind that Kleym watches, each with its own availability.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// InferenceIdentityBinding, ours.
    Binding,
    /// InferenceObjective of one group.
    Objective(ObjectiveGroup),
    /// InferencePool of one group.
    Pool(PoolGroup),
    /// ClusterSPIFFEID.
    Output,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 7] = [
        Kind::Binding,
        Kind::Objective(ObjectiveGroup::LlmD),
        Kind::Objective(ObjectiveGroup::InferenceX),
        Kind::Objective(ObjectiveGroup::Inference),
        Kind::Pool(PoolGroup::Inference),
        Kind::Pool(PoolGroup::InferenceX),
        Kind::Output,
    ];

    /// The API group.
    pub const fn group(self) -> &'static str {
        match self {
            Kind::Binding => "kleym.sonda.red",
            Kind::Objective(group) => group.as_str(),
            Kind::Pool(group) => group.as_str(),
            Kind::Output => "spire.spiffe.io",
        }
    }

    /// The API version that is read and written.
    pub const fn version(self) -> &'static str {
        match self {
            Kind::Binding | Kind::Output => "v1alpha1",
            Kind::Objective(group) => group.version(),
            Kind::Pool(group) => group.version(),
        }
    }

    /// The kind's name.
    pub const fn kind(self) -> &'static str {
        match self {
            Kind::Binding => "InferenceIdentityBinding",
            Kind::Objective(_) => "InferenceObjective",
            Kind::Pool(_) => "InferencePool",
            Kind::Output => "ClusterSPIFFEID",
        }
    }

    /// The resource name in URLs and RBAC.
    pub const fn plural(self) -> &'static str {
        match self {
            Kind::Binding => "inferenceidentitybindings",
            Kind::Objective(_) => "inferenceobjectives",
            Kind::Pool(_) => "inferencepools",
            Kind::Output => "clusterspiffeids",
        }
    }

    /// Whether objects of this kind live in namespaces.
    pub const fn namespaced(self) -> bool {
        !matches!(self, Kind::Output)
    }

    /// The name of the CustomResourceDefinition: `<plural>.<group>`.
    pub fn crd_name(self) -> String {
        format!("{}.{}", self.plural(), self.group())
    }

    /// `apiVersion` of an object of this kind: `<group>/<version>`.
    pub fn api_version(self) -> String {
        format!("{}/{}", self.group(), self.version())
    }

    /// The kind with that group, version and kind name, if it is one of ours to read.
    pub fn find(group: &str, version: &str, kind: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|k| k.group() == group && k.version() == version && k.kind() == kind)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}/{})", self.kind(), self.group(), self.version())
    }
}
