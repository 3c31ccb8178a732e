//! The long fault runs, `make test-faults`: every scenario with every fault at every call, on a real API server.
//!
//! A plan is a scenario, a call and a fault. Which plans there are follows from what the scenarios call when nothing goes
//! wrong; all of them are run, or a part, or one is replayed by its name.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests too")]
#![expect(dead_code, unused_imports, reason = "the world serves more tests than these")]

mod churn;
mod definitions;
mod fault;
mod plans;
#[path = "../it/runs.rs"]
mod runs;
#[path = "../it/scenario.rs"]
mod scenario;
mod silent;
#[path = "../it/snapshot.rs"]
mod snapshot;
#[path = "../it/world/mod.rs"]
mod world;
mod wrong;
