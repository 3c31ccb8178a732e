//! What spire-controller-manager (SCM) and SPIRE will do with a set of ClusterSPIFFEIDs, Kleym's and anybody else's: which
//! pods get an entry, which lose their fallback identity, which containers an entry matches, and what SPIRE Server would
//! refuse. A prediction for people and for the proofs; no grant is decided from it.
//!
//! # Sources
//! Read in spiffe/spire-controller-manager v0.6.6 (named `scm:` below) and spiffe/spire v1.15.3 (`spire:`), and run against
//! both. Each rule names the place it was read from.
//!
//! # Guarantees
//! Three answers: yes, no, and unknown. What cannot be told from the objects at hand (a template beyond the simplest, a
//! setting nobody could read, an image digest before the kubelet reported one) is unknown, never a guess.
//!
//! # Caveats
//! Nothing here has run: an entry that is foreseen may not be there yet. ClusterStaticEntries are not looked at; an agent
//! with `disable_container_selectors` matches no container.

mod answer;
mod fact;
mod labels;
mod manager;
mod predict;
mod registration;
mod server;
mod template;
mod workload;

pub use self::answer::Answer;
pub use self::fact::{
    Access, Container, ContainerKind, Image, Node, Owner, Phase, Pod, Space, Taint, Toleration,
};
pub use self::labels::{LabelRule, Operator, RuleError, Selector};
pub use self::manager::{Assumed, Class, Ignored, Manager, NotWatched};
pub use self::predict::{Displaced, Entry, Failure, Fate, Prediction, Stats, Why, World, predict};
pub use self::registration::{Problem, Registration};
pub use self::server::{ServerRefusal, refusal};
pub use self::template::{Data, Rendered, Template};
pub use self::workload::{item_matches, set_matches};
