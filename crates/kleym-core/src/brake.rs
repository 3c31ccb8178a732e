//! The brake: a lost variable must not revoke every identity. Before anything is written, the outputs that SPIRE has
//! made entries for are compared with the configuration; when it fits none of them, the operator refuses to start.
//!
//! What was never issued cannot be lost, so mending a first wrong setting meets no brake. One outlier among many is
//! drift, not configuration.

use std::borrow::Borrow;
use std::fmt;

use crate::name::{BindingKey, ClassName, Namespace};
use crate::output::{ANNOTATION_BINDING, LABEL_INSTANCE, LiveOutput};
use crate::settings::Settings;
use crate::text::{Quoted, quoted_list};

/// How the configuration differs from what is in the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// No issued output carries the configured trust domain.
    TrustDomain {
        /// The configured one.
        configured: String,
        /// Those of the outputs.
        found: Vec<String>,
        /// How many outputs there are.
        outputs: usize,
    },
    /// No issued output carries the configured class.
    ClassName {
        /// The configured one.
        configured: Option<ClassName>,
        /// Those of the outputs; an empty text for none.
        found: Vec<String>,
        /// How many outputs there are.
        outputs: usize,
    },
    /// The issued outputs outside `/ns/` lie in no path grant.
    PathGrants {
        /// Some of their SPIFFE IDs.
        found: Vec<String>,
        /// How many there are.
        outputs: usize,
    },
    /// Another instance has issued outputs for bindings that this one serves.
    Instance {
        /// The configured one.
        configured: String,
        /// The others.
        found: Vec<String>,
        /// How many outputs they have.
        outputs: usize,
    },
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |found: &[String]| quoted_list(found.iter().map(String::as_str));
        match self {
            Difference::TrustDomain { configured, found, outputs } => write!(
                f,
                "--trust-domain is {}, but the {outputs} outputs that SPIRE has made entries for carry {}",
                Quoted(configured),
                list(found)
            ),
            Difference::ClassName { configured, found, outputs } => write!(
                f,
                "--clusterspiffeid-class-name is {}, but the {outputs} outputs that SPIRE has made entries for carry {}",
                configured
                    .as_ref()
                    .map_or_else(|| "not set".to_owned(), |class| Quoted(class.as_str()).to_string()),
                list(found)
            ),
            Difference::PathGrants { found, outputs } => write!(
                f,
                "no --path-grant of their namespaces covers any of the {outputs} issued outputs outside `/ns/`, such as {}",
                list(found)
            ),
            Difference::Instance { configured, found, outputs } => write!(
                f,
                "--instance is {}, but {outputs} issued outputs of the instances {} name bindings that this one serves (they would stay granted beside its own, and it never removes them: remove them first, with the operator of that instance)",
                Quoted(configured),
                list(found)
            ),
        }
    }
}

/// The outputs of other instances that name bindings which this operator serves, issued or not, by name and instance: they
/// stay as they are, for another instance's objects are foreign.
pub fn of_other_instances(
    settings: &Settings,
    outputs: impl IntoIterator<Item = impl Borrow<LiveOutput>>,
    lives: impl Fn(&BindingKey) -> bool,
) -> Vec<(String, String)> {
    let outputs = outputs.into_iter();
    let others = outputs.filter(|output| is_of_another_instance(settings, output.borrow(), &lives));
    let named = others.map(|output| {
        let output = output.borrow();
        (output.name.as_str().to_owned(), instance_of(output).to_owned())
    });
    named.collect()
}

/// What is compared of an output that SPIRE has made entries for.
struct Issued {
    namespace: Namespace,
    spiffe_id: Box<str>,
    class: Option<Box<str>>,
}

/// Everything in which the configuration differs from the outputs that SPIRE has made entries for. `serves` says whether
/// a binding lives and is one of those that this operator serves.
pub fn differences(
    settings: &Settings,
    outputs: impl IntoIterator<Item = impl Borrow<LiveOutput>>,
    serves_namespace: impl Fn(&Namespace) -> bool,
    lives: impl Fn(&BindingKey) -> bool,
) -> Vec<Difference> {
    let mut owned: Vec<Issued> = Vec::new();
    let mut others: Vec<String> = Vec::new();
    for output in outputs {
        let output = output.borrow();
        if output.stats.is_none_or(|stats| stats.entries_to_set <= 0) {
            continue;
        }
        match output.proven_binding(settings) {
            Some((binding, _)) if serves_namespace(&binding.namespace) => owned.push(Issued {
                namespace: binding.namespace,
                spiffe_id: output.spec.spiffe_id.clone(),
                class: output.spec.class_name.clone(),
            }),
            Some(_) => {}
            None if is_of_another_instance(settings, output, &lives) => {
                others.push(instance_of(output).to_owned())
            }
            None => {}
        }
    }
    let mut found = Vec::new();
    let domain = format!("spiffe://{}/", settings.trust_domain);
    if !owned.is_empty() && !owned.iter().any(|output| output.spiffe_id.starts_with(&domain)) {
        let domains = owned.iter().map(|output| trust_domain_of(&output.spiffe_id).to_owned());
        found.push(Difference::TrustDomain {
            configured: settings.trust_domain.to_string(),
            found: distinct(domains),
            outputs: owned.len(),
        });
    }
    let class = settings.class_name.as_ref().map(ClassName::as_str);
    if !owned.is_empty() && !owned.iter().any(|output| output.class.as_deref() == class) {
        let classes = owned.iter().map(|output| output.class.as_deref().unwrap_or("").to_owned());
        found.push(Difference::ClassName {
            configured: settings.class_name.clone(),
            found: distinct(classes),
            outputs: owned.len(),
        });
    }
    let outside: Vec<_> =
        owned.iter().filter(|output| !path_of(&output.spiffe_id).starts_with("/ns/")).collect();
    if !outside.is_empty()
        && !outside
            .iter()
            .any(|output| settings.path_grants.covers(&output.namespace, path_of(&output.spiffe_id)))
    {
        found.push(Difference::PathGrants {
            found: distinct(outside.iter().map(|output| output.spiffe_id.to_string())),
            outputs: outside.len(),
        });
    }
    if !others.is_empty() {
        found.push(Difference::Instance {
            configured: settings.instance.to_string(),
            outputs: others.len(),
            found: distinct(others.into_iter()),
        });
    }
    found
}

fn instance_of(output: &LiveOutput) -> &str {
    output.labels.get(LABEL_INSTANCE).map_or("", |instance| &**instance)
}

fn is_of_another_instance(
    settings: &Settings,
    output: &LiveOutput,
    lives: impl Fn(&BindingKey) -> bool,
) -> bool {
    let binding = || {
        let (namespace, name) = output.annotations.get(ANNOTATION_BINDING)?.split_once('/')?;
        Some(BindingKey::new(Namespace::parse(namespace).ok()?, crate::name::ObjectName::parse(name).ok()?))
    };
    output.wears_our_label()
        && instance_of(output) != settings.instance.as_str()
        && binding().is_some_and(|b| lives(&b))
}

fn after_scheme(id: &str) -> &str {
    id.strip_prefix("spiffe://").unwrap_or(id)
}

fn trust_domain_of(id: &str) -> &str {
    after_scheme(id).split('/').next().unwrap_or("")
}

fn path_of(id: &str) -> &str {
    let rest = after_scheme(id);
    rest.find('/').map_or("", |at| &rest[at..])
}

fn distinct(texts: impl Iterator<Item = String>) -> Vec<String> {
    let texts: std::collections::BTreeSet<String> = texts.collect();
    texts.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::{Instance, ObjectName, Uid, output_name};
    use crate::output::{ANNOTATION_BINDING_UID, LABEL_MANAGED_BY, MANAGED_BY, OutputSpec, OutputStats};
    use crate::spiffe::{PathGrants, TrustDomain};

    fn settings(domain: &str, class: Option<&str>, grants: &[&str]) -> Settings {
        Settings {
            trust_domain: TrustDomain::parse(domain).unwrap(),
            class_name: class.map(|class| ClassName::parse(class).unwrap()),
            instance: Instance::parse("default").unwrap(),
            path_grants: PathGrants::parse(grants.iter().copied()).unwrap(),
        }
    }

    fn output(instance: &str, binding: &str, id: &str, class: Option<&str>, entries: i64) -> LiveOutput {
        let key = BindingKey::new(Namespace::parse("llm").unwrap(), ObjectName::parse(binding).unwrap());
        let pair = |key: &str, value: &str| (key.into(), value.into());
        LiveOutput {
            name: output_name(instance, &key),
            uid: Uid::parse("u").unwrap(),
            resource_version: "1".into(),
            created: None,
            deleting: false,
            finalizers: Box::default(),
            owned: false,
            labels: [pair(LABEL_MANAGED_BY, MANAGED_BY), pair(LABEL_INSTANCE, instance)].into(),
            annotations: [pair(ANNOTATION_BINDING, &key.to_string()), pair(ANNOTATION_BINDING_UID, "b")]
                .into(),
            spec: OutputSpec {
                spiffe_id: id.into(),
                class_name: class.map(Into::into),
                ..OutputSpec::default()
            },
            stats: Some(OutputStats { entries_to_set: entries, ..OutputStats::default() }),
        }
    }

    fn trips(settings: &Settings, outputs: &[LiveOutput]) -> Vec<String> {
        differences(settings, outputs, |_| true, |_| true).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_lost_trust_domain_or_class_is_noticed_when_it_fits_no_issued_output() {
        let live = [
            output("default", "a", "spiffe://example.org/ns/llm/x", Some("spire"), 1),
            output("default", "b", "spiffe://example.org/ns/llm/y", Some("spire"), 1),
        ];
        assert_eq!(trips(&settings("example.org", Some("spire"), &[]), &live), Vec::<String>::new());
        let lost = trips(&settings("kleym.sonda.red", None, &[]), &live);
        assert_eq!(lost.len(), 2);
        assert!(lost[0].contains("`kleym.sonda.red`") && lost[0].contains("`example.org`"), "{lost:?}");
        assert!(lost[1].contains("not set") && lost[1].contains("`spire`"), "{lost:?}");
    }

    #[test]
    fn what_was_never_issued_cannot_be_lost() {
        let live = [output("default", "a", "spiffe://wrong.org/ns/llm/x", Some("wrong"), 0)];
        assert_eq!(trips(&settings("example.org", Some("spire"), &[]), &live), Vec::<String>::new());
    }

    #[test]
    fn one_outlier_among_many_is_drift() {
        let live = [
            output("default", "a", "spiffe://example.org/ns/llm/x", None, 1),
            output("default", "b", "spiffe://other.org/ns/llm/y", Some("x"), 1),
        ];
        assert_eq!(trips(&settings("example.org", None, &[]), &live), Vec::<String>::new());
    }

    #[test]
    fn lost_path_grants_are_noticed() {
        let live = [output("default", "a", "spiffe://example.org/team/x", None, 1)];
        assert_eq!(trips(&settings("example.org", None, &["llm=/team"]), &live), Vec::<String>::new());
        assert_eq!(trips(&settings("example.org", None, &[]), &live).len(), 1);
        assert_eq!(trips(&settings("example.org", None, &["other=/team"]), &live).len(), 1);
    }

    #[test]
    fn outputs_of_another_instance_for_the_same_bindings_are_noticed() {
        let live = [output("blue", "a", "spiffe://example.org/ns/llm/x", None, 1)];
        let found = trips(&settings("example.org", None, &[]), &live);
        assert!(found.len() == 1 && found[0].contains("`blue`"), "{found:?}");
        // What allowing it means is said with it.
        assert!(found[0].contains("stay granted") && found[0].contains("remove them first"), "{found:?}");
        let elsewhere = differences(&settings("example.org", None, &[]), &live, |_| true, |_| false);
        assert_eq!(elsewhere, []);
    }

    #[test]
    fn outputs_of_another_instance_are_seen_before_anything_was_issued_too() {
        let live = [output("blue", "a", "spiffe://example.org/ns/llm/x", None, 0)];
        assert_eq!(trips(&settings("example.org", None, &[]), &live), Vec::<String>::new());
        let others = of_other_instances(&settings("example.org", None, &[]), &live, |_| true);
        assert_eq!(others, [(live[0].name.to_string(), "blue".to_owned())]);
        assert_eq!(of_other_instances(&settings("example.org", None, &[]), &live, |_| false), []);
        let own = [output("default", "a", "spiffe://example.org/ns/llm/x", None, 0)];
        assert_eq!(of_other_instances(&settings("example.org", None, &[]), &own, |_| true), []);
    }
}
