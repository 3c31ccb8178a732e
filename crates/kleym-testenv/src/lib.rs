//! A private etcd and kube-apiserver on loopback, for tests, benches and the demo.
//!
//! [`ControlPlane::start`] finds the two programs (see [`assets`]), starts them with fresh certificates, RBAC
//! and an audit log, and ends them when it is dropped. Every call the API server answers can be counted
//! through [`Audit`], which is how tests prove what was and what was not asked of it.
//!
//! There is no kubelet, no scheduler and no controller manager: pods never run, owner references collect
//! nothing, and a namespace that is deleted stays `Terminating` until a test finalizes it.
//!
//! [`proxy::Proxy`] stands between a client and the API server and lets go wrong what a test wants to go wrong.
//!
//! This crate never talks to a cluster it did not start, and never reads the user's kubeconfig.

pub mod assets;
mod audit;
mod certificates;
mod control_plane;
mod eventually;
mod manifests;
pub mod pages;
mod process;
pub mod proxy;

pub use audit::{Audit, AuditLevel, Call, Mark, tally};
pub use control_plane::{ControlPlane, Options};
pub use eventually::eventually;
pub use manifests::{apply_manifests, apply_yaml, wait_for_crd};
pub use process::{Process, supervised};
