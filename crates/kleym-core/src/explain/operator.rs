//! The operator, as its Deployment shows it: one that is scaled to none, or of which no replica is ready, is why an output
//! is not as it should be.

use super::Question;
use super::chain::Evidence;
use crate::name::Namespace;

/// A Deployment of Kleym's operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operator {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The instance that it serves.
    pub instance: String,
    /// `spec.replicas`
    pub replicas: i64,
    /// `status.readyReplicas`, where a status is reported.
    pub ready: Option<i64>,
}

/// Why nobody writes outputs: what was read, and what to do. None where an operator of the instance seems to work, or none
/// is seen.
pub(super) fn at_rest(question: &Question<'_>, namespace: &Namespace) -> Option<(Vec<Evidence>, String)> {
    let instance = question.scene.index.settings_in(namespace).instance.as_str();
    let operators: Vec<Operator> =
        (question.operators)().into_iter().filter(|one| one.instance == instance).collect();
    if operators.iter().any(Operator::works) {
        return None;
    }
    let first = operators.first()?;
    let read = operators.iter().map(|one| {
        let (field, value) =
            if one.replicas == 0 { ("spec.replicas", 0) } else { ("status.readyReplicas", 0) };
        Evidence::new(format!("Deployment {}/{}", one.namespace, one.name), field, value.to_string())
    });
    let Operator { namespace, name, replicas, .. } = first;
    let hint = match (replicas, question.live) {
        (0, true) => format!(
            "kleym-operator is scaled to none: `kubectl scale deployment {name} -n {namespace} --replicas=1`"
        ),
        (0, false) => {
            format!("kleym-operator is scaled to none: give Deployment `{namespace}/{name}` a replica")
        }
        (_, true) => format!(
            "no replica of kleym-operator is ready: `kubectl describe deployment {name} -n {namespace}`, and its log, say why"
        ),
        (_, false) => format!(
            "no replica of kleym-operator is ready: see the pods and the log of Deployment `{namespace}/{name}`"
        ),
    };
    Some((read.collect(), hint))
}

impl Operator {
    fn works(&self) -> bool {
        self.replicas > 0 && self.ready.is_none_or(|ready| ready > 0)
    }
}
