//! The operator as its Deployment shows it: whether it is there, ready and leads, and with which settings it runs.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use kleym_core::output::{LABEL_INSTANCE, LABEL_MANAGED_BY, MANAGED_BY};
use kleym_core::report::{Code, Finding, Scene};
use kleym_core::settings::given::Environment;
use kleym_core::settings::{DEFAULT_TRUST_DOMAIN, Settings};
use kleym_core::text::{Quoted, quoted_list};
use serde_json::Value;

use super::{Group, Rest, text};
use crate::args;
use crate::deployment::{OPERATOR_LABELS, Setting, instance_of, of_instance, setting, shown};
use crate::settings::{Chosen, is_given};
use crate::source::cluster::Found;

/// How long a lease may be past its time before nobody leads.
const GRACE_SECONDS: i64 = 15;

/// Whether an operator is there, ready, and leads.
pub(super) fn operator(rest: &Rest, settings: &[&Settings]) -> Group {
    let mut group = Group::new("operator");
    let deployments = match &rest.deployments {
        Found::All(deployments) => deployments,
        // Told with the permissions.
        _ => return group,
    };
    if deployments.is_empty() {
        group.found(
            Finding::new(
                Code::OperatorNotFound,
                format!("no Deployment with the labels {} exists", Quoted(OPERATOR_LABELS)),
            )
            .hint(
                "install Kleym, by its chart (`helm upgrade --install kleym charts/kleym -n kleym-system --create-namespace`) or its manifests (`kubectl apply --server-side -f install.yaml`); when it runs outside this cluster, or under other labels, this is no fault",
            ),
        );
        return group;
    }
    let mut instances: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for deployment in deployments {
        let shown = shown(deployment);
        let ready = deployment.pointer("/status/readyReplicas").and_then(Value::as_i64).unwrap_or(0);
        let wanted = deployment.pointer("/spec/replicas").and_then(Value::as_i64).unwrap_or(1);
        if ready == 0 {
            group.found(
                Finding::new(Code::OperatorNotReady, format!("{shown} has no ready replica of {wanted}"))
                    .hint("see its pods and their log; a replica that may not list a kind is not ready"),
            );
        } else {
            group.fine(format!("{shown} has {ready} of {wanted} replicas ready"));
        }
        instances.entry(instance_of(deployment)).or_default().push(shown);
        if setting(deployment, "leader-elect") == Setting::Given("true") {
            lease(&mut group, &rest.leases, deployment);
        }
    }
    for (name, of) in instances.iter().filter(|(_, of)| of.len() > 1) {
        let message = format!(
            "{} have one instance name, {}",
            quoted_list(of.iter().map(String::as_str)),
            Quoted(name)
        );
        group.found(
            Finding::new(Code::TwoOperators, message)
                .hint("give each a name of its own with --instance, or watch different namespaces with --watch-namespace"),
        );
    }
    let mut here: Vec<&str> = settings.iter().map(|settings| settings.instance.as_str()).collect();
    here.sort_unstable();
    here.dedup();
    for instance in here.into_iter().filter(|instance| !instances.contains_key(instance)) {
        let known = quoted_list(instances.keys().copied());
        let message = format!("the instance is {} here, but the operators have {known}", Quoted(instance));
        group.found(Finding::new(Code::SettingsDiffer, message).hint("give --instance"));
    }
    group
}

/// The outputs of instances that no operator has, as far as Deployments and the status of bindings tell: nobody changes them,
/// and nobody takes them away. Of the instances that are looked at here, orphans are told one by one.
pub(super) fn left(scene: &Scene<'_>, deployments: &[Value]) -> Vec<Finding> {
    let settings = scene.index.settings_by_namespace();
    let mut known: BTreeSet<&str> = deployments.iter().map(instance_of).collect();
    known.extend(settings.different().iter().map(|settings| settings.instance.as_str()));
    known.insert(settings.rest().instance.as_str());
    let mut left: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for output in scene.outputs.unwrap_or_default() {
        let namespace =
            output.of_binding().and_then(|binding| binding.split_once('/')).map(|(namespace, _)| namespace);
        let looked_at = scene.scope.is_none_or(|scope| namespace == Some(scope.as_str()));
        if let Some(instance) = output.instance().filter(|instance| looked_at && !known.contains(instance)) {
            left.entry(instance).or_default().push(output.name.as_str());
        }
    }
    let finding = |(instance, names): (&str, Vec<&str>)| {
        let (outputs, are, them) = match names.len() {
            1 => ("output", "is a grant", "it"),
            _ => ("outputs", "are grants", "them"),
        };
        let message = format!(
            "{} {outputs} of the instance {}, which no operator has (no Deployment and no status says it), {are} that nobody changes or takes away: {}",
            names.len(),
            Quoted(instance),
            quoted_list(names)
        );
        let label = format!("{LABEL_MANAGED_BY}={MANAGED_BY},{LABEL_INSTANCE}={instance}");
        Finding::new(Code::OrphanOutput, message).hint(format!(
            "when its operator is gone for good, remove {them}: `kubectl delete clusterspiffeids -l {label}`; the pods keep what outputs of other instances give them"
        ))
    };
    left.into_iter().map(finding).collect()
}

/// The settings by which outputs are looked at, compared with those of the operator's Deployment: a status may be older than
/// the Deployment.
pub(super) fn compared(
    mut chosen: Chosen,
    typed: &args::Settings,
    environment: Environment<'_>,
    rest: &Rest,
) -> Chosen {
    let Found::All(deployments) = &rest.deployments else { return chosen };
    if !chosen.reported {
        return chosen;
    }
    let mut findings = Vec::new();
    for settings in chosen.settings.different() {
        if let Some(deployment) = of_instance(deployments, settings.instance.as_str()) {
            findings.extend(differences(deployment, settings, typed, environment));
        }
    }
    chosen.findings.extend(findings);
    chosen
}

/// Where the Deployment of an operator is started otherwise than it is looked at here.
fn differences(
    deployment: &Value,
    settings: &Settings,
    typed: &args::Settings,
    environment: Environment<'_>,
) -> Vec<Finding> {
    let shown = shown(deployment);
    let mut findings = Vec::new();
    let class = settings.class_name.as_ref().map(ToString::to_string).unwrap_or_default();
    let compared = [
        ("trust-domain", "trust domain", settings.trust_domain.to_string(), DEFAULT_TRUST_DOMAIN),
        ("clusterspiffeid-class-name", "class", class, ""),
    ];
    for (flag, name, here, default) in compared {
        let theirs = match setting(deployment, flag) {
            Setting::Given(theirs) => theirs,
            Setting::Default => default,
            Setting::Elsewhere => continue,
        };
        if theirs == here {
            continue;
        }
        let said = |value: &str| if value.is_empty() { "none".to_owned() } else { quoted_list([value]) };
        let (by, hint) = if is_given(flag, typed, environment) {
            ("is given here", format!("leave out --{flag} to see what the operator sees"))
        } else {
            (
                "is what the bindings' status reports",
                "wait until the new replicas lead and have written every status; when it stays so, see the operator's log".to_owned(),
            )
        };
        let message = format!("{shown} has the {name} {}, but {} {by}", said(theirs), said(&here));
        findings.push(Finding::new(Code::SettingsDiffer, message).hint(hint));
    }
    findings
}

/// Whether the lease of an operator is held.
fn lease(group: &mut Group, leases: &Found, deployment: &Value) {
    let Found::All(leases) = leases else { return };
    let home = text(deployment, "/metadata/namespace");
    let name = format!("kleym-operator-{}", instance_of(deployment));
    let of_it = leases
        .iter()
        .find(|lease| text(lease, "/metadata/name") == name && text(lease, "/metadata/namespace") == home);
    let shown = format!("Lease {home}/{name}");
    let hint = "see the operator's log: it says why it does not lead";
    let Some(lease) = of_it else {
        group.found(
            Finding::new(Code::OperatorNotReady, format!("{shown} does not exist, so no replica leads"))
                .hint(hint),
        );
        return;
    };
    let renewed = text(lease, "/spec/renewTime").parse::<Timestamp>().map(Timestamp::as_second);
    let duration = lease.pointer("/spec/leaseDurationSeconds").and_then(Value::as_i64).unwrap_or(15);
    let holder = text(lease, "/spec/holderIdentity");
    let fresh = renewed.is_ok_and(|at| Timestamp::now().as_second() <= at + duration + GRACE_SECONDS);
    if holder.is_empty() || !fresh {
        group.found(
            Finding::new(Code::OperatorNotReady, format!("{shown} is held by nobody, so no replica leads"))
                .hint(hint),
        );
    } else {
        group.fine(format!("{shown} is held by {holder}"));
    }
}
