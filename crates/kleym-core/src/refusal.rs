//! Every "no" Kleym says: one closed enum, each with its condition, its reason and a message that says what, where
//! and what to do. Reasons are API: never renamed, never reused.

mod message;

use crate::fact::{PoolRefError, PoolSelectorError, SpecError, SpecField};
use crate::kind::{ObjectiveGroup, PoolGroup};
use crate::name::{Namespace, ObjectName};
use crate::relation::Conflict;
use crate::selector::{ItemError, SetError};
use crate::spiffe::SpiffeIdError;
use crate::template::TemplateError;

/// Condition types of a binding's status that can be True for a failure, and `Ready`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Condition {
    /// The output in the cluster equals the rendered identity.
    Ready,
    /// Target, pool or a required CRD could not be resolved.
    InvalidRef,
    /// Selectors cannot be proved safe.
    UnsafeSelector,
    /// A binding that comes first claims the same.
    Conflict,
    /// Rendering or writing failed after resolution.
    RenderFailure,
}

impl Condition {
    /// All of them, in the order in which the status lists them.
    pub const ALL: [Condition; 5] = [
        Condition::Ready,
        Condition::InvalidRef,
        Condition::UnsafeSelector,
        Condition::Conflict,
        Condition::RenderFailure,
    ];

    /// The condition type.
    pub const fn as_str(self) -> &'static str {
        match self {
            Condition::Ready => "Ready",
            Condition::InvalidRef => "InvalidRef",
            Condition::UnsafeSelector => "UnsafeSelector",
            Condition::Conflict => "Conflict",
            Condition::RenderFailure => "RenderFailure",
        }
    }
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $text:literal => $condition:ident,)*) => {
        /// Why a binding is not Ready.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Reason { $($(#[$doc])* $name,)* }

        impl Reason {
            /// All of them.
            pub const ALL: &[Reason] = &[$(Reason::$name,)*];

            /// The condition's `reason`.
            pub const fn as_str(self) -> &'static str {
                match self { $(Reason::$name => $text,)* }
            }

            /// The condition that is True for this reason.
            pub const fn condition(self) -> Condition {
                match self { $(Reason::$name => Condition::$condition,)* }
            }
        }
    };
}

reasons! {
    /// The named objective does not exist, or is being deleted.
    TargetObjectiveNotFound = "TargetObjectiveNotFound" => InvalidRef,
    /// The pool does not exist, or is being deleted.
    TargetPoolNotFound = "TargetPoolNotFound" => InvalidRef,
    /// The binding's target or the objective's poolRef is not one Kleym can follow.
    InvalidPoolRef = "InvalidPoolRef" => InvalidRef,
    /// Objects of that name in several groups lead to different pools.
    AmbiguousTargetRef = "AmbiguousTargetRef" => InvalidRef,
    /// No CRD of InferenceObjective (or not the one of the pinned group) is installed.
    InferenceObjectiveCrdMissing = "InferenceObjectiveCRDMissing" => InvalidRef,
    /// No CRD of InferencePool (or not the one of the named group) is installed.
    InferencePoolCrdMissing = "InferencePoolCRDMissing" => InvalidRef,
    /// The selector set cannot be proved to stay inside the namespace.
    UnsafeSelector = "UnsafeSelector" => UnsafeSelector,
    /// The pool's selector is not one Kleym can prove.
    InvalidPoolSelector = "InvalidPoolSelector" => UnsafeSelector,
    /// A binding that comes first claims the same workloads with another SPIFFE ID.
    IdentityCollision = "IdentityCollision" => Conflict,
    /// A binding that comes first has the same SPIFFE ID for another subject.
    DuplicateSpiffeId = "DuplicateSPIFFEID" => Conflict,
    /// A selector template cannot be rendered.
    SelectorTemplateRenderFailed = "SelectorTemplateRenderFailed" => RenderFailure,
    /// PerObjective without a container discriminator.
    MissingContainerDiscriminator = "MissingContainerDiscriminator" => RenderFailure,
    /// A container discriminator that is not allowed or not a selector value.
    InvalidContainerDiscriminator = "InvalidContainerDiscriminator" => RenderFailure,
    /// The mode is unknown, or not possible for the target.
    UnsupportedMode = "UnsupportedMode" => RenderFailure,
    /// The SPIFFE ID template cannot be rendered.
    SpiffeIdRenderFailed = "SPIFFEIDRenderFailed" => RenderFailure,
    /// The rendered text is not a SPIFFE ID this binding may have.
    InvalidSpiffeId = "InvalidSPIFFEID" => RenderFailure,
    /// The ClusterSPIFFEID CRD is not installed.
    ClusterSpiffeIdCrdMissing = "ClusterSPIFFEIDCRDMissing" => RenderFailure,
    /// A foreign object stands at the output's name.
    ManagedOutputConflict = "ManagedOutputConflict" => RenderFailure,
    /// The output could not be written.
    ManagedOutputApplyFailed = "ManagedOutputApplyFailed" => RenderFailure,
}

/// Where a group of hits for one name leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lead {
    /// The group of the object that was found.
    pub group: &'static str,
    /// Where it leads, in words: `pool llama (inference.networking.k8s.io)`.
    pub to: String,
}

/// How writing an output, or a binding's finalizers, failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum WriteFailure {
    /// The API server or a webhook rejects the object; trying the same again is pointless.
    Rejected,
    /// The installed ClusterSPIFFEID CRD cannot hold a field Kleym writes.
    FieldUnknown,
    /// It is stored as something else that grants no more: by the defaults of its CRD, or by a mutating webhook.
    Altered,
    /// The same, but what was stored granted more, so that it was deleted.
    Widened,
    /// The operator may not write it.
    Forbidden,
    /// The API server does not serve its kind in the version Kleym writes.
    NotServed,
    /// The definition of its kind is being deleted: nothing is created under it any more.
    Terminating,
    /// Somebody else changes it all the time.
    Outrun,
    /// The API server or a webhook does not answer, or answers with a server error.
    Unavailable,
}

/// Every refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// Decoding: a field of the spec is not what its schema demands.
    Spec(SpecError),
    /// Resolution: no objective of that name.
    ObjectiveNotFound {
        /// Where it was looked for.
        namespace: Namespace,
        /// The name.
        name: ObjectName,
        /// The group pinned by the binding.
        group: Option<ObjectiveGroup>,
        /// Whether one is there that is being deleted.
        deleting: bool,
    },
    /// Resolution: no pool of that name.
    PoolNotFound {
        /// Where it was looked for.
        namespace: Namespace,
        /// The name.
        name: ObjectName,
        /// The group named by the objective, or pinned by the binding.
        group: Option<PoolGroup>,
        /// The objective that names it.
        objective: Option<ObjectName>,
        /// Whether one is there that is being deleted.
        deleting: bool,
    },
    /// Resolution: the objective's poolRef cannot be followed.
    PoolRef {
        /// The objective's group.
        group: ObjectiveGroup,
        /// The objective.
        objective: ObjectName,
        /// Why.
        error: PoolRefError,
    },
    /// Resolution: hits in several groups disagree.
    Ambiguous {
        /// The kind of the target.
        kind: &'static str,
        /// The name.
        name: ObjectName,
        /// Where each hit leads, in order of preference.
        leads: Vec<Lead>,
    },
    /// Resolution: the CRD of the pinned group, or every CRD of objectives, is absent.
    ObjectiveCrdMissing(Option<ObjectiveGroup>),
    /// Resolution: the CRD of the named group, or every CRD of pools, is absent.
    PoolCrdMissing(Option<PoolGroup>),
    /// The pool's selector.
    PoolSelector {
        /// The pool's group.
        group: PoolGroup,
        /// The pool.
        pool: ObjectName,
        /// Why.
        error: PoolSelectorError,
    },
    /// Mode: a pool target in PerObjective.
    PoolTargetPerObjective,
    /// Mode: PerObjective without a discriminator.
    MissingDiscriminator,
    /// Mode: a discriminator in PoolOnly.
    DiscriminatorInPoolOnly,
    /// Mode: the discriminator is no valid selector item.
    Discriminator {
        /// Its value.
        value: Box<str>,
        /// Why.
        error: ItemError,
    },
    /// Selector templates: one cannot be rendered.
    SelectorTemplate {
        /// Which, from 0.
        index: usize,
        /// Why.
        error: TemplateError,
    },
    /// Selector proof: one rendered item is not allowed.
    SelectorItem {
        /// Which template, from 0.
        index: usize,
        /// As rendered.
        rendered: Box<str>,
        /// Why.
        error: ItemError,
    },
    /// Selector proof: the items together are not safe.
    SelectorSet(SetError),
    /// SPIFFE ID: the template cannot be rendered.
    SpiffeIdTemplate(TemplateError),
    /// SPIFFE ID: the result is not one this binding may have.
    SpiffeId {
        /// As rendered.
        rendered: Box<str>,
        /// Whether it comes from the binding's template; else it is the default.
        templated: bool,
        /// Why.
        error: SpiffeIdError,
    },
    /// Conflict with bindings that come first.
    Conflict(Conflict),
    /// Writing: the ClusterSPIFFEID CRD is absent.
    OutputCrdMissing,
    /// Writing: a foreign object stands at the output's name.
    OutputForeign {
        /// The output's name.
        name: ObjectName,
    },
    /// Writing: the output could not be written.
    OutputWrite {
        /// The output's name.
        name: ObjectName,
        /// How it failed.
        failure: WriteFailure,
    },
    /// Writing: Kleym's finalizer, without which no output is made, could not be put on the binding.
    FinalizerWrite {
        /// How it failed.
        failure: WriteFailure,
    },
}

impl Refusal {
    /// The condition's reason.
    pub fn reason(&self) -> Reason {
        match self {
            Refusal::Spec(error) => match error.field {
                SpecField::Spec
                | SpecField::TargetRef
                | SpecField::TargetName
                | SpecField::TargetKind
                | SpecField::TargetGroup => Reason::InvalidPoolRef,
                SpecField::Mode => Reason::UnsupportedMode,
                SpecField::Discriminator | SpecField::DiscriminatorType | SpecField::DiscriminatorValue => {
                    Reason::InvalidContainerDiscriminator
                }
                SpecField::SelectorTemplates | SpecField::SelectorTemplate(_) => {
                    Reason::SelectorTemplateRenderFailed
                }
                SpecField::SelectorSource => Reason::UnsafeSelector,
                SpecField::SpiffeIdTemplate => Reason::SpiffeIdRenderFailed,
            },
            Refusal::ObjectiveNotFound { .. } => Reason::TargetObjectiveNotFound,
            Refusal::PoolNotFound { .. } => Reason::TargetPoolNotFound,
            Refusal::PoolRef { .. } => Reason::InvalidPoolRef,
            Refusal::Ambiguous { .. } => Reason::AmbiguousTargetRef,
            Refusal::ObjectiveCrdMissing(_) => Reason::InferenceObjectiveCrdMissing,
            Refusal::PoolCrdMissing(_) => Reason::InferencePoolCrdMissing,
            Refusal::PoolSelector { .. } => Reason::InvalidPoolSelector,
            Refusal::PoolTargetPerObjective => Reason::UnsupportedMode,
            Refusal::MissingDiscriminator => Reason::MissingContainerDiscriminator,
            Refusal::DiscriminatorInPoolOnly | Refusal::Discriminator { .. } => {
                Reason::InvalidContainerDiscriminator
            }
            Refusal::SelectorTemplate { .. } => Reason::SelectorTemplateRenderFailed,
            Refusal::SelectorItem { .. } | Refusal::SelectorSet(_) => Reason::UnsafeSelector,
            Refusal::SpiffeIdTemplate(_) => Reason::SpiffeIdRenderFailed,
            Refusal::SpiffeId { .. } => Reason::InvalidSpiffeId,
            Refusal::Conflict(conflict) => conflict.cause().reason(),
            Refusal::OutputCrdMissing => Reason::ClusterSpiffeIdCrdMissing,
            Refusal::OutputForeign { .. } => Reason::ManagedOutputConflict,
            Refusal::OutputWrite { .. } | Refusal::FinalizerWrite { .. } => Reason::ManagedOutputApplyFailed,
        }
    }

    /// The condition that is True.
    pub fn condition(&self) -> Condition {
        self.reason().condition()
    }

    /// Whether it can pass without anyone changing the binding (kstatus: `Reconciling` rather than `Stalled`): the
    /// target may arrive in the same commit, the API server may answer again.
    pub fn transient(&self) -> bool {
        match self.reason() {
            Reason::TargetObjectiveNotFound
            | Reason::TargetPoolNotFound
            | Reason::InferenceObjectiveCrdMissing
            | Reason::InferencePoolCrdMissing
            | Reason::ClusterSpiffeIdCrdMissing => true,
            Reason::ManagedOutputApplyFailed => matches!(
                self,
                Refusal::OutputWrite {
                    failure: WriteFailure::Unavailable
                        | WriteFailure::NotServed
                        | WriteFailure::Terminating
                        | WriteFailure::Outrun
                        | WriteFailure::Forbidden,
                    ..
                } | Refusal::FinalizerWrite { .. }
            ),
            _ => false,
        }
    }
}
