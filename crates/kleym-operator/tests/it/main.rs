//! The operator against its contract: the real program, on a real etcd and kube-apiserver. What it did is read from
//! the cluster, what it cost from the audit log; nothing in here looks inside the program.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests too")]

mod admission;
mod configuration;
mod conflicts;
mod cost;
mod crashes;
mod crowd;
mod definitions;
mod deletion;
mod events;
mod installed;
mod large;
mod late;
mod lease;
mod malformed;
mod metrics;
mod order;
mod ownership;
#[cfg(feature = "package")]
mod package;
mod packaging;
mod past;
mod program;
mod readiness;
mod replicas;
mod revocation;
mod rights;
mod rivals;
mod runs;
mod scenario;
mod snapshot;
mod spire;
mod status;
mod targets;
mod told;
mod uncertain;
mod world;
