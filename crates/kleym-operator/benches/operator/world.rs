//! What the benchmark shares with the operator's tests: objects as people write them, and the program as a child process.

#![expect(dead_code, reason = "the tests use more of it")]

#[path = "../../tests/it/world/objects.rs"]
mod objects;
#[path = "../../tests/it/world/operator.rs"]
mod operator;

use std::path::Path;
use std::time::Duration;

pub(crate) use objects::{Object, objective, per_objective, pool};
pub(crate) use operator::{Operator, get};

use kleym_core::kind::Kind;

/// How long anything may take that is expected to happen soon.
pub(crate) const SOON: Duration = Duration::from_secs(30);
/// Kind InferencePool as GAIE ships it today.
pub(crate) const POOL: Kind = Kind::Pool(kleym_core::kind::PoolGroup::Inference);
/// Kind InferenceObjective of llm-d.
pub(crate) const OBJECTIVE: Kind = Kind::Objective(kleym_core::kind::ObjectiveGroup::LlmD);

/// Starts an operator, for one namespace or for all; it need not be ready yet.
pub(crate) async fn start(
    kubeconfig: &Path,
    namespace: Option<&str>,
    instance: &str,
    flags: &[&str],
) -> Operator {
    Operator::start(kubeconfig, namespace, instance, flags).await
}
