//! InferenceIdentityBinding, the kind that Kleym owns: the wire types from which its CustomResourceDefinition is
//! generated. The doc comments of fields are what `kubectl explain` prints, so each carries an example.
//!
//! These types are for building and for writing. Objects that come from a cluster or a file are never read through
//! them: one odd field would hide a whole list. They decide nothing either; what the schema refuses is refused
//! again by the engine, because a CRD can be older than the program and a stored object older than a rule.

mod definition;
mod spec;
mod status;
mod unknown;

pub use definition::definition;
pub use spec::{
    ContainerDiscriminator, ContainerDiscriminatorType, InferenceIdentityBinding,
    InferenceIdentityBindingSpec, Mode, SelectorSource, TargetGroup, TargetKind, TargetRef,
};
pub use status::{
    ComputedSpiffeId, Condition, ConditionStatus, ConflictCause, ConflictingBinding,
    InferenceIdentityBindingStatus, RenderedClusterSpiffeId, RenderedSelectors,
};
pub use unknown::{UnknownField, unknown_fields};
