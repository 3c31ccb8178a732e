//! The operator, as its Deployment shows it: one that is scaled to none, or of which no replica is ready, is why an output
//! is not as it should be.

use std::collections::BTreeSet;

use super::Question;
use super::chain::Evidence;
use crate::brake::Difference;
use crate::name::{ClassName, Namespace};
use crate::report::{CLASS_FLAG, Called, Code, PATH_GRANT_FLAG, Scene, TRUST_DOMAIN_FLAG, stopped, typed};
use crate::settings::{DEFAULT_TRUST_DOMAIN, Settings};
use crate::spiffe::{PathGrants, TrustDomain};
use crate::text::{Quoted, bounded, quoted_list};

/// The most pods that are shown.
const SHOWN: usize = 3;

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
    /// Its path grants, separated by commas.
    pub path_grants: Configured,
    /// The only namespaces that it works in; None for all, and where they stand elsewhere.
    pub watches: Option<Vec<String>>,
    /// Those of its pods that can be seen and are not ready.
    pub pods: Vec<OperatorPod>,
}

/// A pod of an operator that is not ready.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OperatorPod {
    /// Its name.
    pub name: String,
    /// What its container waits for, such as `CrashLoopBackOff`; else the phase of the pod.
    pub waits: Option<String>,
    /// What the container said when it last ended.
    pub said: Option<String>,
    /// How often it was started again.
    pub restarts: i64,
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

/// What the Deployment of the operator says of a setting, by its flag, where there is one of the instance.
pub(super) fn setting(question: &Question<'_>, namespace: &Namespace, flag: &str) -> Option<Evidence> {
    let instance = question.scene.index.settings_in(namespace).instance.as_str();
    let all = (question.operators)();
    let mut own = all.iter().filter(|one| one.instance == instance);
    let operator = own.next().filter(|_| own.next().is_none())?;
    let said = if flag == TRUST_DOMAIN_FLAG { &operator.trust_domain } else { &operator.class_name };
    let field = if said.variable { "env" } else { "args" };
    let value = said.value.as_deref().map(|value| if value.is_empty() { "<none>" } else { value });
    let value = value.unwrap_or("<stands elsewhere>");
    let field = format!("spec.template.spec.containers[].{field}[{}]", typed(flag, said.variable));
    Some(Evidence::new(format!("Deployment {}", operator.path()), field, value))
}

/// Why nobody decides bindings and writes outputs.
pub(super) struct AtRest {
    /// What that is called.
    pub(super) code: Code,
    /// What was read.
    pub(super) read: Vec<Evidence>,
    /// What to do.
    pub(super) hint: String,
}

/// Why nobody works in a namespace. None where an operator of the instance seems to, or none is seen.
pub(super) fn at_rest(question: &Question<'_>, namespace: &Namespace) -> Option<AtRest> {
    let instance = question.scene.index.settings_in(namespace).instance.as_str();
    let operators: Vec<Operator> =
        (question.operators)().into_iter().filter(|one| one.instance == instance).collect();
    if operators.iter().any(|one| one.works() && one.watches(namespace)) {
        return None;
    }
    if let Some(outside) = operators.iter().find(|one| one.works()) {
        return Some(outside.elsewhere(namespace));
    }
    let first = operators.first()?;
    let read = operators.iter().flat_map(Operator::read);
    let settings = question.scene.index.settings_in(namespace);
    let misfit = first.misfit(&question.scene, settings);
    let pod = first.pods.first();
    let waits = pod.and_then(|pod| pod.waits.as_deref()).map(|reason| format!(" ({reason})"));
    let waits = waits.unwrap_or_default();
    let Operator { namespace, name, replicas, .. } = first;
    let hint = match (replicas, question.live) {
        (0, true) => format!(
            "kleym-operator is scaled to none: `kubectl scale deployment {name} -n {namespace} --replicas=1`"
        ),
        (0, false) => {
            format!("kleym-operator is scaled to none: give Deployment `{namespace}/{name}` a replica")
        }
        (_, _) if let Some(misfit) = &misfit => {
            let pod = pod.map(|pod| format!("; see pod `{namespace}/{}`", pod.name)).unwrap_or_default();
            format!("no replica of kleym-operator is ready{waits}: {misfit}{pod}")
        }
        (_, true) if let Some(pod) = pod => format!(
            "no replica of kleym-operator is ready{waits}: `kubectl describe pod {pod} -n {namespace}`, and `kubectl logs {pod} -n {namespace} --previous`, say why",
            pod = pod.name
        ),
        (_, false) if let Some(pod) = pod => format!(
            "no replica of kleym-operator is ready{waits}: see the log of pod `{namespace}/{}`, of its last start",
            pod.name
        ),
        (_, true) => format!(
            "no replica of kleym-operator is ready: `kubectl describe deployment {name} -n {namespace}`, and its log, say why"
        ),
        (_, false) => format!(
            "no replica of kleym-operator is ready: see the pods and the log of Deployment `{namespace}/{name}`"
        ),
    };
    Some(AtRest { code: Code::OperatorNotReady, read: read.collect(), hint })
}

impl Operator {
    fn path(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    /// What shows that it does not work.
    fn read(&self) -> Vec<Evidence> {
        let (field, value) =
            if self.replicas == 0 { ("spec.replicas", 0) } else { ("status.readyReplicas", 0) };
        let mut read = vec![Evidence::new(format!("Deployment {}", self.path()), field, value.to_string())];
        for pod in self.pods.iter().take(SHOWN) {
            let object = format!("Pod {}/{}", self.namespace, pod.name);
            let restarts = match pod.restarts {
                0 => String::new(),
                1 => ", 1 restart".to_owned(),
                number => format!(", {number} restarts"),
            };
            let waits = pod.waits.as_ref().map(|reason| {
                let field = "status.containerStatuses[].state.waiting.reason";
                Evidence::new(&*object, field, format!("{reason}{restarts}"))
            });
            let said = pod.said.as_ref().map(|said| {
                let field = "status.containerStatuses[].lastState.terminated.message";
                Evidence::new(&*object, field, bounded(said.clone()))
            });
            read.extend(waits.into_iter().chain(said));
        }
        read
    }

    /// The setting that its brake stops it with, and what to set instead.
    fn misfit(&self, scene: &Scene<'_>, settings: &Settings) -> Option<String> {
        let class = self.class_name.value.as_deref().and_then(|value| {
            let class_name = if value.is_empty() { None } else { Some(ClassName::parse(value).ok()?) };
            Some(Settings { class_name, ..settings.clone() })
        });
        let domain = self.trust_domain.value.as_deref().and_then(|value| {
            let value = if value.is_empty() { DEFAULT_TRUST_DOMAIN } else { value };
            Some(Settings { trust_domain: TrustDomain::parse(value).ok()?, ..settings.clone() })
        });
        let both = [(CLASS_FLAG, &self.class_name, class), (TRUST_DOMAIN_FLAG, &self.trust_domain, domain)];
        let mut both = both.into_iter();
        let of_one_value = both.find_map(|(flag, own, settings)| {
            let (Difference::ClassName { found, outputs, .. } | Difference::TrustDomain { found, outputs, .. }) =
                stopped(scene, &settings?, flag)?
            else {
                return None;
            };
            let setting = typed(flag, own.variable);
            let value = own.value.as_deref().filter(|value| !value.is_empty());
            let is = value.map_or_else(|| "not set".to_owned(), |value| Quoted(value).to_string());
            let carry = if outputs == 1 { "issued output carries" } else { "issued outputs carry" };
            let (they, set) = match found.as_slice() {
                [none] if none.is_empty() => ("no class".to_owned(), format!("take {setting} out again")),
                [one] => (Quoted(one).to_string(), format!("set {setting}={one}")),
                several => {
                    (quoted_list(several.iter().map(String::as_str)), format!("set {setting} as it was"))
                }
            };
            Some(format!(
                "{setting} is {is}, but {outputs} {carry} {they}, so it refuses to start: {set} in Deployment `{}` (--allow-configuration-change would move those identities)",
                self.path()
            ))
        });
        of_one_value.or_else(|| self.lost_grants(scene, settings))
    }

    /// The path grants without which it does not start, and which these are.
    fn lost_grants(&self, scene: &Scene<'_>, settings: &Settings) -> Option<String> {
        let own = self.path_grants.value.as_deref()?;
        let given = own.split(',').map(str::trim).filter(|grant| !grant.is_empty());
        let then = Settings { path_grants: PathGrants::parse(given).ok()?, ..settings.clone() };
        let Difference::PathGrants { found, outputs } = stopped(scene, &then, PATH_GRANT_FLAG)? else {
            return None;
        };
        let known = scene.index.settings_by_namespace().different().into_iter();
        let known = known.filter(|one| one.instance == settings.instance);
        let known: BTreeSet<String> = known
            .flat_map(|one| one.path_grants.iter())
            .map(|(namespace, prefix)| format!("{namespace}={prefix}"))
            .collect();
        let setting = typed(PATH_GRANT_FLAG, self.path_grants.variable);
        let is = if own.is_empty() { "not set".to_owned() } else { Quoted(own).to_string() };
        let lie = if outputs == 1 { "issued output lies" } else { "issued outputs lie" };
        let example = found.first().map(|id| format!(", such as {}", Quoted(id))).unwrap_or_default();
        let known: Vec<String> = known.into_iter().collect();
        let set = match known.as_slice() {
            [] => format!("set {setting} as it was"),
            // As the variable has them: a flag takes one grant each.
            known => format!(
                "set {}={}, as the bindings' status has it (or --{PATH_GRANT_FLAG} for each),",
                typed(PATH_GRANT_FLAG, true),
                known.join(",")
            ),
        };
        Some(format!(
            "{setting} is {is}, but {outputs} {lie} outside `/ns/`{example}, in no grant any more, so it refuses to start: {set} in Deployment `{}` (--allow-configuration-change would withdraw those identities)",
            self.path()
        ))
    }

    /// The flags whose values it takes from their variables.
    fn variables(&self) -> impl Iterator<Item = &'static str> {
        let both = [(CLASS_FLAG, &self.class_name), (TRUST_DOMAIN_FLAG, &self.trust_domain)];
        both.into_iter().filter(|(_, how)| how.variable).map(|(flag, _)| flag)
    }

    fn watches(&self, namespace: &Namespace) -> bool {
        self.watches.as_ref().is_none_or(|all| all.iter().any(|one| *one == namespace.as_str()))
    }

    /// That it works in other namespaces.
    fn elsewhere(&self, namespace: &Namespace) -> AtRest {
        let watched = self.watches.iter().flatten().map(String::as_str);
        let read = Evidence::new(
            format!("Deployment {}", self.path()),
            "--watch-namespace",
            bounded(watched.collect::<Vec<_>>().join(",")),
        );
        let hint = format!(
            "kleym-operator does not work in namespace `{namespace}`: add it to --watch-namespace (KLEYM_WATCH_NAMESPACE) of Deployment `{}`",
            self.path()
        );
        AtRest { code: Code::OperatorNotFound, read: vec![read], hint }
    }

    fn works(&self) -> bool {
        self.replicas > 0 && self.ready.is_none_or(|ready| ready > 0)
    }
}
