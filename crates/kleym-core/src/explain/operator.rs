//! The operator, as its Deployment shows it: one that is scaled to none, or of which no replica is ready, is why an output
//! is not as it should be.

use super::Question;
use super::chain::Evidence;
use crate::name::Namespace;
use crate::report::{CLASS_FLAG, Called, TRUST_DOMAIN_FLAG};
use crate::text::{Quoted, quoted_list};

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
    /// The class of its outputs.
    pub class_name: Configured,
    /// The trust domain of its SPIFFE IDs.
    pub trust_domain: Configured,
}

/// A setting, as a Deployment gives it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Configured {
    /// What stands there, empty for nothing; None where it stands elsewhere.
    pub value: Option<String>,
    /// Whether its variable says it, and not its flag.
    pub variable: bool,
}

/// How the operator is called that writes the binding's output: by its Deployment, where that is the only one of the instance.
pub(super) fn called(question: &Question<'_>, namespace: &Namespace) -> Called {
    let settings = question.scene.index.settings_in(namespace);
    let plain = Called::of(settings);
    let instance = settings.instance.as_str();
    let all = (question.operators)();
    let own: Vec<&Operator> = all.iter().filter(|one| one.instance == instance).collect();
    match own.as_slice() {
        [only] => Called::new(format!("kleym-operator (Deployment `{}`)", only.path()), None)
            .with_variables(only.variables()),
        [] if all.is_empty() => plain,
        _ => {
            let seen = if own.is_empty() { all.iter().collect() } else { own };
            let paths: Vec<String> = seen.iter().map(|one| one.path()).collect();
            let instance = Quoted(instance);
            let find = if seen.iter().all(|one| one.instance == settings.instance.as_str()) {
                format!(
                    "{} have the instance {instance}: `--watch-namespace` of each says which is meant",
                    quoted_list(paths.iter().map(String::as_str))
                )
            } else {
                format!(
                    "it is the one whose `--instance` is {instance}, and none of {} seems to be",
                    quoted_list(paths.iter().map(String::as_str))
                )
            };
            Called::new(format!("the kleym-operator of instance {instance}"), Some(find))
        }
    }
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
    fn path(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    /// The flags whose values it takes from their variables.
    fn variables(&self) -> impl Iterator<Item = &'static str> {
        let both = [(CLASS_FLAG, &self.class_name), (TRUST_DOMAIN_FLAG, &self.trust_domain)];
        both.into_iter().filter(|(_, how)| how.variable).map(|(flag, _)| flag)
    }

    fn works(&self) -> bool {
        self.replicas > 0 && self.ready.is_none_or(|ready| ready > 0)
    }
}
