//! The closed table of codes: number, severity, and what it means. A code is never used again for something else.

use std::fmt;

use crate::refusal::Reason;

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// An identity is not granted, or an input cannot be used.
    Error,
    /// It works, and is probably not what was meant.
    Warning,
    /// Worth knowing.
    Info,
}

impl Severity {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Info => "info",
        }
    }
}

macro_rules! codes {
    ($($name:ident = $number:literal, $severity:ident, $summary:literal;)*) => {
        /// What kind of finding it is: the table of all codes.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code { $(#[doc = $summary] $name,)* }

        impl Code {
            /// All of them, by number.
            pub const ALL: &[Code] = &[$(Code::$name,)*];

            /// The number behind `KLM`.
            pub const fn number(self) -> u16 {
                match self { $(Code::$name => $number,)* }
            }

            /// How much it matters.
            pub const fn severity(self) -> Severity {
                match self { $(Code::$name => Severity::$severity,)* }
            }

            /// What it means, in one line that speaks of no particular object.
            pub const fn summary(self) -> &'static str {
                match self { $(Code::$name => $summary,)* }
            }
        }
    };
}

codes! {
    TargetObjectiveNotFound = 1001, Error, "the InferenceObjective that a binding names does not exist";
    TargetPoolNotFound = 1002, Error, "the InferencePool that a target leads to does not exist";
    InvalidPoolRef = 1003, Error, "a binding's target or an objective's poolRef cannot be followed";
    AmbiguousTargetRef = 1004, Error, "objects of one name in several API groups lead to different pools";
    InferenceObjectiveCrdMissing = 1005, Error, "no CustomResourceDefinition of InferenceObjective is installed";
    InferencePoolCrdMissing = 1006, Error, "no CustomResourceDefinition of InferencePool is installed";
    Undecided = 1101, Warning, "a kind that a binding's resolution needs cannot be read";
    ObjectiveInTwoGroups = 1102, Warning, "the InferenceObjective that a binding names exists in several API groups";
    ObjectiveNotRead = 1103, Warning, "an InferenceObjective stands in a group that its router no longer reads";
    PoolPair = 1104, Info, "an InferencePool of one name exists in two API groups";
    UnsafeSelector = 2001, Error, "the selectors cannot be proved to stay inside the namespace";
    InvalidPoolSelector = 2002, Error, "the selector of an InferencePool cannot be proved safe";
    SelectorTemplateRenderFailed = 2003, Error, "a selector template cannot be rendered";
    MissingContainerDiscriminator = 2004, Error, "mode PerObjective without a container discriminator";
    InvalidContainerDiscriminator = 2005, Error, "a container discriminator is not allowed or is no selector value";
    SharedServiceAccount = 2101, Warning, "the selectors name the service account `default`";
    AccountNotUsed = 2110, Warning, "no pod that is selected runs as the service account that the selectors name";
    NoSuchContainer = 2111, Warning, "the container discriminator names no container of the selected pods";
    NothingMatches = 2112, Warning, "no container of the selected pods holds a selector";
    PodNotInPool = 2113, Warning, "a pod lacks labels that a pool selects";
    NoBinding = 2114, Warning, "no binding speaks of what a pod serves";
    OutsideOnPurpose = 2115, Info, "a pod is in no pool on purpose";
    SpiffeIdRenderFailed = 3001, Error, "a SPIFFE ID template cannot be rendered";
    InvalidSpiffeId = 3002, Error, "the rendered text is no SPIFFE ID that the binding may have";
    UnsupportedMode = 3003, Error, "the mode is unknown, or not possible for the target";
    IdentityCollision = 4001, Error, "a binding that comes first gives the same workloads another SPIFFE ID";
    DuplicateSpiffeId = 4002, Error, "a binding that comes first has the same SPIFFE ID for another subject";
    Contested = 4101, Info, "a binding that comes later claims the same and is refused";
    LayeredIdentities = 4110, Info, "a container has the identities of several bindings";
    ForeignIdentity = 4111, Warning, "a ClusterSPIFFEID that is not Kleym's gives the same containers another SPIFFE ID";
    SharedHint = 4112, Warning, "a ClusterSPIFFEID that is not Kleym's has the hint of an output, so SPIRE's agent hands out one of the two";
    ClusterSpiffeIdCrdMissing = 5001, Error, "no CustomResourceDefinition of ClusterSPIFFEID is installed";
    ManagedOutputConflict = 5002, Error, "a foreign object stands at the output's name";
    ManagedOutputApplyFailed = 5003, Error, "the output cannot be written";
    OutputMissing = 5010, Error, "a binding is to have an identity, and its output does not exist";
    OutputDrifted = 5011, Error, "an output differs from what its binding asks for";
    OrphanOutput = 5012, Error, "an output is left whose binding does not exist";
    OutputNotWithdrawn = 5013, Error, "an output is still there although its binding is refused";
    DeletionHeld = 5014, Error, "a finalizer that is not Kleym's keeps a deleted binding or output from going";
    BindingDeleting = 5101, Info, "a binding is being deleted, so it is to have no output";
    ClassNotWatched = 6001, Error, "the output has a class that spire-controller-manager does not watch";
    NamespaceIgnored = 6002, Error, "spire-controller-manager ignores the namespace";
    TrustDomainDiffers = 6003, Error, "the trust domain is not that of spire-controller-manager";
    EntryFailures = 6004, Error, "entries of an output are refused by SPIRE Server";
    ManagerHalted = 6005, Error, "a ClusterSPIFFEID stops spire-controller-manager altogether";
    EntryNotRendered = 6006, Error, "spire-controller-manager cannot make an entry for a pod";
    NamespaceNotRead = 6007, Error, "spire-controller-manager reads no pods of the namespace";
    FallbackDisplaced = 6101, Warning, "a binding takes the fallback identity of containers away and gives them none";
    NoPodSelected = 6102, Warning, "an output selects no pod";
    EntriesMasked = 6103, Warning, "another ClusterSPIFFEID makes the same entries";
    NotPickedUp = 6104, Warning, "spire-controller-manager has reported nothing about an output";
    PodsPending = 6105, Info, "pods are on no node yet, so they have no entry yet";
    ManagerUnknown = 6106, Info, "the settings of spire-controller-manager could not be read";
    AgentMissing = 6107, Warning, "no agent of SPIRE serves a pod's node";
    SocketNotMounted = 6108, Warning, "a container does not mount the socket of the Workload API";
    MeshIdentityReplaced = 7101, Warning, "a pod in an Istio mesh is given an ID that Istio does not authorise on";
    Unparsable = 9001, Error, "a file cannot be parsed";
    Unnamed = 9002, Error, "an object has no name or namespace by which it could be known";
    DeclaredTwice = 9003, Error, "an object is declared more than once";
    BadList = 9004, Error, "a List holds something that is no Kubernetes object";
    UnknownKind = 9005, Error, "an object was meant for Kleym and has a kind, group or version that does not exist";
    UnsupportedVersion = 9101, Warning, "an object has a version that Kleym does not read";
    LimitedByRbac = 9102, Warning, "a permission is missing, so a part of the answer is";
    Unreadable = 9103, Warning, "a kind cannot be read, so a part of the answer is missing";
    SettingsDiffer = 9104, Warning, "settings differ from those that the operator reports";
    StatusStale = 9105, Warning, "a binding's status does not say what the engine says";
    UnknownField = 9106, Warning, "a binding has a field that its CustomResourceDefinition does not know";
    UnreadableMetadata = 9107, Warning, "a binding's uid or creation time cannot be read";
    FileNotRead = 9108, Warning, "a file of a folder is not read, because of its name";
    NoObject = 9109, Warning, "a document is a list or a single value, and no object";
    OperatorNotFound = 9201, Warning, "no kleym-operator was found";
    OperatorNotReady = 9202, Error, "kleym-operator is there and does not work";
    DefinitionNotServed = 9203, Error, "a CustomResourceDefinition does not serve the version that Kleym reads";
    TwoOperators = 9204, Warning, "several operators have one instance name";
}

/// Where the page of each code is, by its name.
pub const PAGES: &str = "https://kleym.sonda.red/findings/";

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KLM{:04}", self.number())
    }
}

impl Code {
    /// The code of that text, such as `KLM1001`.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.to_string() == text)
    }

    /// Where it is explained, with causes, checks and fixes.
    pub fn page(self) -> String {
        format!("{PAGES}{self}.html")
    }

    /// The code of a refusal's reason: one each.
    pub const fn of(reason: Reason) -> Self {
        match reason {
            Reason::TargetObjectiveNotFound => Code::TargetObjectiveNotFound,
            Reason::TargetPoolNotFound => Code::TargetPoolNotFound,
            Reason::InvalidPoolRef => Code::InvalidPoolRef,
            Reason::AmbiguousTargetRef => Code::AmbiguousTargetRef,
            Reason::InferenceObjectiveCrdMissing => Code::InferenceObjectiveCrdMissing,
            Reason::InferencePoolCrdMissing => Code::InferencePoolCrdMissing,
            Reason::UnsafeSelector => Code::UnsafeSelector,
            Reason::InvalidPoolSelector => Code::InvalidPoolSelector,
            Reason::IdentityCollision => Code::IdentityCollision,
            Reason::DuplicateSpiffeId => Code::DuplicateSpiffeId,
            Reason::SelectorTemplateRenderFailed => Code::SelectorTemplateRenderFailed,
            Reason::MissingContainerDiscriminator => Code::MissingContainerDiscriminator,
            Reason::InvalidContainerDiscriminator => Code::InvalidContainerDiscriminator,
            Reason::UnsupportedMode => Code::UnsupportedMode,
            Reason::SpiffeIdRenderFailed => Code::SpiffeIdRenderFailed,
            Reason::InvalidSpiffeId => Code::InvalidSpiffeId,
            Reason::ClusterSpiffeIdCrdMissing => Code::ClusterSpiffeIdCrdMissing,
            Reason::ManagedOutputConflict => Code::ManagedOutputConflict,
            Reason::ManagedOutputApplyFailed => Code::ManagedOutputApplyFailed,
        }
    }
}
#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_reason_has_an_error_code_of_its_own() {
        let codes: BTreeSet<Code> = Reason::ALL.iter().map(|reason| Code::of(*reason)).collect();
        assert_eq!(codes.len(), Reason::ALL.len());
        assert!(codes.iter().all(|code| code.severity() == Severity::Error && code.number() % 1000 < 100));
    }

    #[test]
    fn codes_are_distinct_and_listed_by_number() {
        assert!(Code::ALL.windows(2).all(|pair| pair[0].number() < pair[1].number()));
        assert!(Code::ALL.iter().all(|code| Code::parse(&code.to_string()) == Some(*code)));
    }

    #[test]
    fn summaries_are_lower_case_without_a_period() {
        for code in Code::ALL {
            let summary = code.summary();
            assert!(
                !summary.ends_with('.') && summary.chars().next().is_some_and(char::is_lowercase),
                "{summary}"
            );
        }
    }
}
