//! The words of every refusal: what, where, and after a semicolon what to do. At most 1,024 bytes, without any text
//! from an API reply that could change from try to try.

use super::{Refusal, WriteFailure};
use crate::fact::{PoolSelectorError, ValueProblem};
use crate::kind::{Kind, ObjectiveGroup, PoolGroup};
use crate::output::FINALIZER;
use crate::status::{served_as, what_then, why_not};
use crate::text::{MAX_MESSAGE_BYTES, Quoted, bounded, cut_to, quoted_list};

impl Refusal {
    /// The message of the conditions: what and where, then what to do.
    pub fn message(&self) -> String {
        match self.hint() {
            // What to do is never what is cut.
            Some(hint) => format!("{}; {hint}", cut_to(self.what(), MAX_MESSAGE_BYTES - hint.len() - 2)),
            None => bounded(self.what()),
        }
    }

    /// What is wrong, and where.
    pub fn what(&self) -> String {
        match self {
            Refusal::Spec(error) => format!("{} {}", error.field, error.problem),
            Refusal::ObjectiveNotFound { namespace, name, group, deleting } => {
                let gone = if *deleting { "is being deleted" } else { "does not exist" };
                let wherein = group.map(|g| format!(" of {g}")).unwrap_or_default();
                format!(
                    "InferenceObjective {}{wherein} {gone} in namespace `{namespace}`",
                    Quoted(name.as_str())
                )
            }
            Refusal::PoolNotFound { namespace, name, group, objective, deleting } => {
                let gone = if *deleting { "is being deleted" } else { "does not exist" };
                let wherein = group.map(|g| format!(" of {g}")).unwrap_or_default();
                let by = objective
                    .as_ref()
                    .map(|o| format!(", named by InferenceObjective {},", Quoted(o.as_str())))
                    .unwrap_or_default();
                format!(
                    "InferencePool {}{wherein}{by} {gone} in namespace `{namespace}`",
                    Quoted(name.as_str())
                )
            }
            Refusal::PoolRef { group, objective, error } => {
                format!(
                    "InferenceObjective {} ({group}) points to no pool: {error}",
                    Quoted(objective.as_str())
                )
            }
            Refusal::Ambiguous { kind, name, leads } => {
                let leads: Vec<String> =
                    leads.iter().map(|lead| format!("{} leads to {}", lead.group, lead.to)).collect();
                format!(
                    "several objects of kind {kind} are called {} and disagree: {}",
                    Quoted(name.as_str()),
                    leads.join(", ")
                )
            }
            Refusal::ObjectiveCrdMissing(Some(group)) => {
                format!("no CustomResourceDefinition `inferenceobjectives.{group}` is installed")
            }
            Refusal::ObjectiveCrdMissing(None) => {
                let groups = quoted_list(ObjectiveGroup::ALL.map(ObjectiveGroup::as_str));
                format!(
                    "no CustomResourceDefinition of InferenceObjective is installed in any of the groups {groups}"
                )
            }
            Refusal::PoolCrdMissing(Some(group)) => {
                format!("no CustomResourceDefinition `inferencepools.{group}` is installed")
            }
            Refusal::PoolCrdMissing(None) => {
                let groups = quoted_list(PoolGroup::ALL.map(PoolGroup::as_str));
                format!(
                    "no CustomResourceDefinition of InferencePool is installed in any of the groups {groups}"
                )
            }
            Refusal::PoolSelector { group, pool, error } => {
                format!(
                    "the selector of InferencePool {} ({group}) cannot be proved safe: {error}",
                    Quoted(pool.as_str())
                )
            }
            Refusal::PoolTargetPerObjective => {
                "spec.targetRef.kind InferencePool needs spec.mode PoolOnly".to_owned()
            }
            Refusal::MissingDiscriminator => {
                "spec.containerDiscriminator is required in mode PerObjective".to_owned()
            }
            Refusal::DiscriminatorInPoolOnly => {
                "spec.containerDiscriminator is not allowed in mode PoolOnly".to_owned()
            }
            Refusal::Discriminator { value, error } => {
                format!("spec.containerDiscriminator.value {}: the selector {error}", Quoted(value))
            }
            Refusal::SelectorTemplate { index, error } => {
                format!("spec.workloadSelectorTemplates[{index}] {error}")
            }
            Refusal::SelectorItem { index, rendered, error } => {
                format!("spec.workloadSelectorTemplates[{index}]: the selector {} {error}", Quoted(rendered))
            }
            Refusal::SelectorSet(error) => error.to_string(),
            Refusal::SpiffeIdTemplate(error) => format!("spec.spiffeIDTemplate {error}"),
            Refusal::SpiffeId { rendered, templated: true, error } => {
                format!("spec.spiffeIDTemplate gives the SPIFFE ID {}, which {error}", Quoted(rendered))
            }
            Refusal::SpiffeId { rendered, templated: false, error } => {
                format!("the default SPIFFE ID {} {error}", Quoted(rendered))
            }
            Refusal::Conflict(conflict) => conflict.what(),
            Refusal::OutputCrdMissing => {
                "no CustomResourceDefinition `clusterspiffeids.spire.spiffe.io` is installed".to_owned()
            }
            Refusal::OutputForeign { name } => {
                format!("ClusterSPIFFEID {} exists and is not this binding's", Quoted(name.as_str()))
            }
            Refusal::OutputWrite { name, failure } => {
                let what = match failure {
                    WriteFailure::NotServed => {
                        let output = served_as(Kind::Output);
                        return format!(
                            "ClusterSPIFFEID {} cannot be written: the API server does not serve {output}",
                            Quoted(name.as_str())
                        );
                    }
                    WriteFailure::Rejected => "is rejected by the API server or an admission webhook",
                    WriteFailure::FieldUnknown => {
                        "has a field that the installed CustomResourceDefinition cannot hold"
                    }
                    WriteFailure::Altered => {
                        "grants the identity, but is not stored as Kleym writes it: defaults of its CustomResourceDefinition or a mutating webhook change it"
                    }
                    WriteFailure::Widened => {
                        "does not stay, because it would grant more: defaults of its CustomResourceDefinition or a mutating webhook add to what Kleym writes"
                    }
                    WriteFailure::Forbidden => "may not be written with the operator's permissions",
                    WriteFailure::Terminating => {
                        return format!(
                            "ClusterSPIFFEID {} cannot be written: the CustomResourceDefinition `{}` is being deleted",
                            Quoted(name.as_str()),
                            Kind::Output.crd_name()
                        );
                    }
                    WriteFailure::Outrun => {
                        "cannot be written: somebody else changes or deletes it at the same time"
                    }
                    WriteFailure::Unavailable => {
                        "cannot be written: the API server or an admission webhook does not answer"
                    }
                };
                format!("ClusterSPIFFEID {} {what}", Quoted(name.as_str()))
            }
            Refusal::FinalizerWrite { failure } => format!(
                "the binding lacks the finalizer `{FINALIZER}`, without which no ClusterSPIFFEID is made, and {}",
                why_not(*failure, "added", Kind::Binding)
            ),
        }
    }

    /// What to do, where `what` does not say it already.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Refusal::Spec(error) => match error.problem {
                ValueProblem::Missing => "add it to the binding".to_owned(),
                _ => "correct it in the binding".to_owned(),
            },
            Refusal::ObjectiveNotFound { deleting: true, .. } | Refusal::PoolNotFound { deleting: true, .. } => {
                "create it again or point elsewhere".to_owned()
            }
            Refusal::ObjectiveNotFound { .. } => "create it or correct spec.targetRef".to_owned(),
            Refusal::PoolNotFound { objective: Some(_), group: Some(_), .. } => {
                "create it or correct the objective's spec.poolRef, whose group must be the pool's".to_owned()
            }
            Refusal::PoolNotFound { objective: Some(_), .. } => {
                "create it or correct the objective's spec.poolRef".to_owned()
            }
            Refusal::PoolNotFound { .. } => "create it or correct spec.targetRef".to_owned(),
            Refusal::PoolRef { .. } => "correct the objective".to_owned(),
            Refusal::Ambiguous { .. } => "pin one with spec.targetRef.group or remove the others".to_owned(),
            Refusal::ObjectiveCrdMissing(_) => {
                "install it, or bind a pool with spec.targetRef.kind InferencePool and mode PoolOnly".to_owned()
            }
            Refusal::PoolCrdMissing(_) => {
                "install the CustomResourceDefinitions of the Gateway API Inference Extension".to_owned()
            }
            Refusal::PoolSelector { error, .. } => match error {
                PoolSelectorError::Empty => "name the labels of the pool's pods in its spec.selector",
                PoolSelectorError::Key { .. } | PoolSelectorError::Value { .. } | PoolSelectorError::Item { .. } => {
                    "use another label in the pool's spec.selector, and on its pods"
                }
                PoolSelectorError::Field { .. }
                | PoolSelectorError::MatchExpressions
                | PoolSelectorError::UnknownField(_)
                | PoolSelectorError::TooMany(_) => "correct the pool's spec.selector",
            }
            .to_owned(),
            Refusal::SpiffeId { templated: false, .. } => "set another one with spec.spiffeIDTemplate".to_owned(),
            Refusal::PoolTargetPerObjective => "set spec.mode: PoolOnly or name an InferenceObjective".to_owned(),
            Refusal::MissingDiscriminator => {
                "say which container serves the objective, such as `type: ContainerName` with `value: vllm`, or set spec.mode: PoolOnly"
                    .to_owned()
            }
            Refusal::DiscriminatorInPoolOnly => "remove it or set spec.mode: PerObjective".to_owned(),
            Refusal::OutputCrdMissing => "install spire-controller-manager's CustomResourceDefinitions".to_owned(),
            Refusal::OutputForeign { name } => {
                format!("find out who made it, then remove it: `kubectl delete clusterspiffeid {name}`")
            }
            Refusal::OutputWrite { failure, .. } => match failure {
                WriteFailure::Rejected => {
                    "see the operator's log for the answer; it is tried again when the binding's spec, what it refers to or the CustomResourceDefinition changes, or the operator restarts"
                }
                WriteFailure::Altered | WriteFailure::Widened => {
                    "see the operator's log for what differs, and end that; it is tried again when the binding's spec, what it refers to or the CustomResourceDefinition changes, or the operator restarts"
                }
                WriteFailure::FieldUnknown => {
                    "upgrade the CustomResourceDefinition to that of spire-controller-manager 0.6.0 or newer"
                }
                WriteFailure::NotServed => {
                    "install the CustomResourceDefinition of spire-controller-manager 0.6.0 or newer, or let the installed one serve that version again"
                }
                WriteFailure::Forbidden => "give the operator the permissions of its ClusterRole",
                WriteFailure::Terminating => {
                    "wait until it is gone, or remove what the finalizers of its last objects wait for, and install it again; the operator tries again by itself"
                }
                WriteFailure::Outrun | WriteFailure::Unavailable => "the operator tries again by itself",
            }
            .to_owned(),
            Refusal::FinalizerWrite { failure } => what_then(*failure),
            Refusal::Conflict(conflict) => conflict.hint(),
            Refusal::Discriminator { .. }
            | Refusal::SelectorTemplate { .. }
            | Refusal::SelectorItem { .. }
            | Refusal::SelectorSet(_)
            | Refusal::SpiffeIdTemplate(_)
            | Refusal::SpiffeId { templated: true, .. } => return None,
        };
        Some(hint)
    }
}
