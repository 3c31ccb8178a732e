//! Settings of a namespace in which no binding has a status: what the operator's Deployment is started with, else what the
//! status of bindings in other namespaces reports, else what the outputs of Kleym carry. Only what nobody says at all is
//! assumed, and then that is said.

use std::collections::BTreeSet;

use kleym_api::decode;
use kleym_core::name::Namespace;
use kleym_core::output::{LABEL_BINDING_NAMESPACE, LABEL_INSTANCE, LABEL_MANAGED_BY, MANAGED_BY};
use kleym_core::report::{Code, Finding};
use kleym_core::settings::given::{Environment, several};
use kleym_core::settings::{DEFAULT_INSTANCE, DEFAULT_TRUST_DOMAIN};
use kleym_core::spiffe::PathGrants;
use kleym_core::text::{Quoted, quoted_list};
use serde_json::Value;

use super::reported::{Chosen, INSTANCE_AT, Report, SETTINGS, only, shown};
use super::{is_given, settings};
use crate::args;
use crate::deployment::{self, Setting, Watched, of_instance, repeated, setting, watched};
use crate::output::counted;

/// Where else settings can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Source {
    /// The Deployments of operators.
    Deployments,
    /// The bindings of all namespaces.
    Bindings,
    /// ClusterSPIFFEIDs.
    Outputs,
}

/// What is looked at.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct About<'a> {
    /// The only namespace, when there is one.
    pub(crate) namespace: Option<&'a Namespace>,
    /// The SPIFFE ID that is asked for: where nobody says a trust domain, the question can only be meant of its own.
    pub(crate) id: Option<&'a str>,
}

/// A setting that nobody says.
#[derive(Debug)]
pub(super) struct Assumed {
    /// What is taken instead.
    trust_domain: String,
    /// Whether that is the trust domain of what was asked for.
    asked: bool,
}

impl Assumed {
    /// That nobody says it, and what is taken instead.
    pub(super) fn finding(&self) -> Finding {
        let Self { trust_domain, asked } = self;
        let domain = Quoted(trust_domain);
        let taken = if *asked {
            format!("{domain} is taken, as in the SPIFFE ID that is asked for")
        } else {
            format!("{domain} is assumed")
        };
        let message = format!(
            "nobody says which trust domain kleym-operator has (no status of a binding, no Deployment and no output of Kleym could be read that does), so {taken}"
        );
        Finding::new(Code::SettingsDiffer, message).hint(
            "give the operator's --trust-domain, and its --clusterspiffeid-class-name when it has one; every SPIFFE ID that is said here rests on them",
        )
    }
}

/// What is said where, in words.
struct Said {
    from: String,
    what: Vec<String>,
}

impl Chosen {
    /// Completes what no binding that was read reports; `ask` reads what else there is, only when it is needed.
    pub(crate) fn completed(
        mut self,
        typed: &args::Settings,
        environment: Environment<'_>,
        about: About<'_>,
        ask: &mut dyn FnMut(Source) -> Vec<Value>,
    ) -> Self {
        let given: [bool; 3] = std::array::from_fn(|at| is_given(SETTINGS[at].0, typed, environment));
        if self.reported || given.iter().all(|given| *given) {
            return self;
        }
        let mut values: [Option<String>; 3] = Default::default();
        let mut said: Vec<Said> = Vec::new();
        let mut take = |from: String, found: [Option<String>; 3], values: &mut [Option<String>; 3]| {
            let mut what = Vec::new();
            for (at, found) in found.into_iter().enumerate() {
                if let Some(found) = found.filter(|_| !given[at] && values[at].is_none()) {
                    // That the instance is the usual one changes nothing that anybody looks for.
                    if at != INSTANCE_AT || found != DEFAULT_INSTANCE {
                        what.push(format!("{} {}", SETTINGS[at].1, shown(&found)));
                    }
                    values[at] = Some(found);
                }
            }
            said.extend((!what.is_empty()).then_some(Said { from, what }));
        };
        let open = |values: &[Option<String>; 3]| (0..3).any(|at| !given[at] && values[at].is_none());

        let deployments = ask(Source::Deployments);
        let outputs = if deployments.is_empty() { None } else { Some(ask(Source::Outputs)) };
        // Outputs that stand there say which operator wrote them, and it may be another one.
        let wrote = outputs.as_ref().and_then(|outputs| writer_of(outputs, about.namespace));
        let deployment = match &wrote {
            Some(instance) => of_instance(&deployments, instance),
            None => of_namespace(&deployments, about.namespace),
        };
        if let Some(deployment) = deployment {
            let from = format!("as {} has them", deployment::shown(deployment));
            take(from, started(deployment), &mut values);
        }
        if open(&values) {
            let bindings = ask(Source::Bindings);
            let reports: Vec<Report> = bindings.iter().filter_map(Report::read).collect();
            let agreed = std::array::from_fn(|at| only(reports.iter().map(|report| &report.values[at])));
            let from = format!(
                "as the status of {} in other namespaces reports",
                counted(reports.len(), "binding", "bindings")
            );
            take(from, agreed.map(|value| value.cloned()), &mut values);
        }
        if open(&values) {
            let outputs = outputs.unwrap_or_else(|| ask(Source::Outputs));
            take(
                "as the outputs of Kleym have them".to_owned(),
                carried(&outputs, about.namespace),
                &mut values,
            );
        }
        if !given[0] && values[0].is_none() {
            let asked = about.id.and_then(trust_domain_of).map(str::to_owned);
            self.assumed = Some(Assumed {
                asked: asked.is_some(),
                trust_domain: asked.clone().unwrap_or_else(|| self.settings.rest().trust_domain.to_string()),
            });
            values[0] = asked;
        }
        let grants = several("path-grant", &typed.path_grants, environment).unwrap_or_default();
        let own_grants = deployment.filter(|_| grants.is_empty());
        let own_grants = own_grants.map(|deployment| repeated(deployment, "path-grant")).unwrap_or_default();
        if let (false, Some(deployment)) = (own_grants.is_empty(), deployment) {
            let what = vec![format!("path grants {}", quoted_list(own_grants.iter().map(String::as_str)))];
            said.push(Said { from: format!("as {} has them", deployment::shown(deployment)), what });
        }
        let [trust_domain, class_name, instance] = values;
        let completed = args::Settings {
            trust_domain: trust_domain.or_else(|| typed.trust_domain.clone()),
            class_name: class_name.or_else(|| typed.class_name.clone()),
            instance: instance.or_else(|| typed.instance.clone()),
            path_grants: if own_grants.is_empty() { typed.path_grants.clone() } else { own_grants },
        };
        // What no operator would start with says nothing.
        let Ok(completed) = settings(&completed, environment) else { return self };
        if completed != *self.settings.rest() {
            if !said.is_empty() {
                let parts: Vec<String> =
                    said.iter().map(|Said { from, what }| format!("{} {from}", what.join(", "))).collect();
                let place = about.namespace.map(|only| format!(" of namespace `{only}`")).unwrap_or_default();
                self.remark =
                    Some(format!("settings, for no binding{place} has a status: {}", parts.join("; ")));
            }
            self.settings = completed.into();
        }
        self
    }

    /// Says where path grants that are given here cannot stand beside those that other namespaces have: the operator would not
    /// start with both.
    pub(crate) fn with_grants_elsewhere(
        mut self,
        typed: &args::Settings,
        environment: Environment<'_>,
        about: About<'_>,
        ask: &mut dyn FnMut(Source) -> Vec<Value>,
    ) -> Self {
        let given = several("path-grant", &typed.path_grants, environment).unwrap_or_default();
        if given.iter().all(|grant| grant.value.is_empty()) || about.namespace.is_none() {
            return self;
        }
        let deployments = ask(Source::Deployments);
        let mut there: BTreeSet<String> =
            deployments.iter().flat_map(|deployment| repeated(deployment, "path-grant")).collect();
        for binding in ask(Source::Bindings) {
            let namespace = binding.pointer("/metadata/namespace").and_then(Value::as_str).map(str::to_owned);
            if let (Some(namespace), Some(report)) = (namespace, Report::read(&binding)) {
                there.extend(report.path_grants.iter().map(|prefix| format!("{namespace}={prefix}")));
            }
        }
        let of = |grant: &str| grant.split_once('=').map(|(namespace, _)| namespace.trim().to_owned());
        // Those of a namespace that is spoken of here are replaced.
        let spoken_of: BTreeSet<String> = given.iter().filter_map(|grant| of(&grant.value)).collect();
        there.retain(|grant| of(grant).is_some_and(|namespace| !spoken_of.contains(&namespace)));
        let clash = given.iter().find_map(|own| {
            there.iter().find_map(|other| PathGrants::parse([own.value.as_str(), other]).err())
        });
        if let Some(clash) = clash {
            let message = format!("the operator would refuse to start with what is given here: {clash}");
            self.findings.push(Finding::new(Code::SettingsDiffer, message).hint(
                "choose a prefix that is not below or above another namespace's, or take that one's grant away first: every path belongs to one namespace",
            ));
        }
        self
    }
}

/// The Deployment of the operator that works in a namespace, or would; None when that cannot be told.
fn of_namespace<'a>(deployments: &'a [Value], namespace: Option<&Namespace>) -> Option<&'a Value> {
    if let [only] = deployments {
        return Some(only);
    }
    let namespace = namespace?;
    let mut watching = deployments.iter().filter(|one| match watched(one) {
        Watched::All | Watched::Elsewhere => true,
        Watched::These(names) => names.iter().any(|name| *name == namespace.as_str()),
    });
    watching.next().filter(|_| watching.next().is_none())
}

/// The instance that wrote the outputs that the bindings of the namespace have, or all outputs.
fn writer_of(outputs: &[Value], namespace: Option<&Namespace>) -> Option<String> {
    let own = ours(outputs, namespace);
    let here = |output: &&&Value| namespace.is_none_or(|own| is_of(output, own));
    only(own.iter().filter(here).filter_map(|output| label(output, LABEL_INSTANCE))).map(str::to_owned)
}

/// What an operator is started with, as far as its Deployment says.
fn started(deployment: &Value) -> [Option<String>; 3] {
    let defaults = [DEFAULT_TRUST_DOMAIN, "", DEFAULT_INSTANCE];
    std::array::from_fn(|at| match setting(deployment, SETTINGS[at].0) {
        Setting::Given(value) => Some(value.to_owned()),
        Setting::Default => Some(defaults[at].to_owned()),
        Setting::Elsewhere => None,
    })
}

fn label<'a>(output: &'a Value, key: &str) -> Option<&'a str> {
    decode::Meta::of(output).label(key)
}

/// Whether an output is of a binding of that namespace.
fn is_of(output: &Value, namespace: &Namespace) -> bool {
    label(output, LABEL_BINDING_NAMESPACE) == Some(namespace.as_str())
}

/// The outputs of Kleym: those of the namespace, when it has any.
fn ours<'a>(outputs: &'a [Value], namespace: Option<&Namespace>) -> Vec<&'a Value> {
    let ours = |output: &&Value| label(output, LABEL_MANAGED_BY) == Some(MANAGED_BY);
    let mut ours: Vec<&Value> = outputs.iter().filter(ours).collect();
    let here = |output: &&Value| namespace.is_some_and(|own| is_of(output, own));
    if ours.iter().any(here) {
        ours.retain(here);
    }
    ours
}

/// What the outputs of Kleym agree on.
fn carried(outputs: &[Value], namespace: Option<&Namespace>) -> [Option<String>; 3] {
    let ours = ours(outputs, namespace);
    let text =
        |output: &Value, pointer: &str| output.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    let domains = ours
        .iter()
        .filter_map(|output| trust_domain_of(&text(output, "/spec/spiffeIDTemplate")?).map(str::to_owned));
    let classes = ours.iter().map(|output| text(output, "/spec/className").unwrap_or_default());
    let mut found: [Option<String>; 3] = [only(domains), only(classes), None];
    found[INSTANCE_AT] =
        only(ours.iter().filter_map(|output| label(output, LABEL_INSTANCE))).map(str::to_owned);
    found
}

/// The trust domain of a SPIFFE ID.
fn trust_domain_of(id: &str) -> Option<&str> {
    id.strip_prefix("spiffe://")?
        .split('/')
        .next()
        .filter(|domain| !domain.is_empty() && !domain.contains('{'))
}
