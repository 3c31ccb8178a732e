//! A Deployment of Kleym's operator: how it is known, and with which settings it runs. Reads; decides nothing.

use kleym_api::decode;
use kleym_core::explain::{Configured, OperatorPod};
use kleym_core::index::Index;
use kleym_core::name::Namespace;
use kleym_core::report::{Code, Finding, typed};
use kleym_core::settings::given::{Environment, several};
use kleym_core::settings::{DEFAULT_INSTANCE, Settings};
use kleym_core::text::quoted_list;
use serde_json::Value;

use crate::args;
use crate::settings::{is_given, settings};

/// The labels by which Kleym's Deployment is known, whoever installed it.
pub(crate) const OPERATOR_LABELS: &str = "app.kubernetes.io/name=kleym,app.kubernetes.io/component=operator";

/// Whether a Deployment carries the operator's labels.
pub(crate) fn is_operator(deployment: &Value) -> bool {
    let labels = deployment.pointer("/metadata/labels");
    OPERATOR_LABELS
        .split(',')
        .filter_map(|label| label.split_once('='))
        .all(|(key, value)| labels.and_then(|labels| labels.get(key)).and_then(Value::as_str) == Some(value))
}

/// The one Deployment of an operator of that name, when there are not several.
pub(crate) fn of_instance<'a>(deployments: &'a [Value], instance: &str) -> Option<&'a Value> {
    let mut own = deployments.iter().filter(|one| instance_of(one) == instance);
    own.next().filter(|_| own.next().is_none())
}

/// A setting of the operator's container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Setting<'a> {
    /// Neither flag nor variable.
    Default,
    /// By a flag, else by its variable.
    Given(&'a str),
    /// By a variable whose value stands elsewhere.
    Elsewhere,
}

/// A flag of the operator's container, else its variable.
pub(crate) fn setting<'a>(deployment: &'a Value, flag: &str) -> Setting<'a> {
    let containers = deployment.pointer("/spec/template/spec/containers").and_then(Value::as_array);
    let variable = typed(flag, true);
    let mut elsewhere = false;
    for container in containers.into_iter().flatten() {
        let list = |field: &str| container.get(field).and_then(Value::as_array).into_iter().flatten();
        let mut words = list("command").chain(list("args")).filter_map(Value::as_str).peekable();
        while let Some(word) = words.next() {
            match word.strip_prefix("--").and_then(|word| word.strip_prefix(flag)) {
                Some("") => {
                    let value = words.peek().filter(|next| !next.starts_with('-'));
                    return Setting::Given(value.copied().unwrap_or("true"));
                }
                Some(rest) if rest.starts_with('=') => return Setting::Given(&rest[1..]),
                _ => {}
            }
        }
        for one in list("env").filter(|one| one.get("name").and_then(Value::as_str) == Some(&variable)) {
            match one.get("value").and_then(Value::as_str) {
                Some(value) if !value.is_empty() => return Setting::Given(value),
                _ => elsewhere |= one.get("valueFrom").is_some(),
            }
        }
        elsewhere |= list("envFrom").next().is_some();
    }
    if elsewhere { Setting::Elsewhere } else { Setting::Default }
}

/// A setting, and whether it is the flag or the variable that says it.
pub(crate) fn configured(deployment: &Value, flag: &str) -> Configured {
    let value = match setting(deployment, flag) {
        Setting::Given(value) => Some(value.to_owned()),
        Setting::Default => Some(String::new()),
        Setting::Elsewhere => None,
    };
    let containers = deployment.pointer("/spec/template/spec/containers").and_then(Value::as_array);
    let all = |field: &str| {
        let lists = containers.into_iter().flatten().filter_map(move |one| one.get(field)?.as_array());
        lists.flatten().cloned().collect::<Vec<Value>>()
    };
    let mut words = all("command").into_iter().chain(all("args"));
    let says = |word: &Value| {
        let rest = word.as_str().and_then(|word| word.strip_prefix("--")?.strip_prefix(flag));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
    };
    let by_flag = words.any(|word| says(&word));
    let name = typed(flag, true);
    let named = all("env").iter().any(|one| one.get("name").and_then(Value::as_str) == Some(&name));
    Configured { value, variable: named && !by_flag }
}

/// The same of a flag that may be repeated: all of its values, separated by commas.
pub(crate) fn all_configured(deployment: &Value, flag: &str) -> Configured {
    let Configured { value, variable } = configured(deployment, flag);
    Configured { value: value.map(|_| repeated(deployment, flag).join(",")), variable }
}

/// The pods that it selects and that are not ready, with why.
pub(crate) fn pods_not_ready(deployment: &Value, pods: &[Value]) -> Vec<OperatorPod> {
    let selector = deployment.pointer("/spec/selector/matchLabels").and_then(Value::as_object);
    let Some(selector) = selector.filter(|labels| !labels.is_empty()) else { return Vec::new() };
    let namespace = deployment.pointer("/metadata/namespace");
    let own = |pod: &&Value| {
        let has = |(key, value): (&String, &Value)| {
            pod.pointer("/metadata/labels").and_then(|labels| labels.get(key)) == Some(value)
        };
        pod.pointer("/metadata/namespace") == namespace && selector.iter().all(has)
    };
    let why = |pod: &Value| {
        let text = |from: &Value, pointer: &str| from.pointer(pointer)?.as_str().map(str::to_owned);
        let statuses = pod.pointer("/status/containerStatuses").and_then(Value::as_array);
        let ready = |one: &Value| one.get("ready").and_then(Value::as_bool) == Some(true);
        let mut one = OperatorPod { name: text(pod, "/metadata/name")?, ..OperatorPod::default() };
        match statuses.filter(|all| !all.is_empty()) {
            None => one.waits = text(pod, "/status/phase"),
            Some(all) => {
                let container = all.iter().find(|one| !ready(one))?;
                one.waits = text(container, "/state/waiting/reason");
                one.said = text(container, "/lastState/terminated/message").map(|said| last_words(&said));
                one.restarts = container.get("restartCount").and_then(Value::as_i64).unwrap_or(0);
            }
        }
        Some(one)
    };
    pods.iter().filter(own).filter_map(why).collect()
}

/// The last line of what a container said, and of a line of JSON its message.
fn last_words(said: &str) -> String {
    let line = said.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or_default();
    let json: Option<Value> = serde_json::from_str(line).ok();
    let message = json.as_ref().and_then(|json| json.get("message")?.as_str());
    message.unwrap_or(line).to_owned()
}

/// The instance that it serves.
pub(crate) fn instance_of(deployment: &Value) -> &str {
    match setting(deployment, "instance") {
        Setting::Given(instance) => instance,
        Setting::Default | Setting::Elsewhere => DEFAULT_INSTANCE,
    }
}

/// The namespaces that an operator works in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Watched {
    /// All of them.
    All,
    /// These and no others.
    These(Vec<String>),
    /// What its variable says, whose value stands elsewhere.
    Elsewhere,
}

/// The namespaces that the operator of a Deployment works in.
pub(crate) fn watched(deployment: &Value) -> Watched {
    let mut names = repeated(deployment, "watch-namespace");
    names.iter_mut().for_each(|name| *name = name.trim().to_owned());
    names.retain(|name| !name.is_empty());
    match setting(deployment, "watch-namespace") {
        _ if !names.is_empty() => Watched::These(names),
        Setting::Elsewhere => Watched::Elsewhere,
        Setting::Given(_) | Setting::Default => Watched::All,
    }
}

/// The namespaces with bindings in which no operator works that is there, for each watches others. None where an operator
/// may be elsewhere: one that reports an instance that none of these has.
pub(crate) fn unwatched(deployments: &[Value], index: &Index, scope: Option<&Namespace>) -> Option<Finding> {
    let mut watching: Vec<(&Value, Vec<String>)> = Vec::new();
    for deployment in deployments {
        let Watched::These(names) = watched(deployment) else { return None };
        watching.push((deployment, names));
    }
    let (first, _) = watching.first()?;
    let outside = |namespace: &&Namespace| {
        let own = index.settings_by_namespace().own_of(namespace).map(|own| own.instance.as_str());
        let elsewhere = own.is_some_and(|own| !deployments.iter().any(|one| instance_of(one) == own));
        let watched = watching.iter().any(|(_, names)| names.iter().any(|name| *name == namespace.as_str()));
        scope.is_none_or(|scope| scope == *namespace) && !watched && !elsewhere
    };
    let mut namespaces: Vec<&Namespace> = index.bindings().map(|binding| &binding.key.namespace).collect();
    namespaces.dedup();
    namespaces.retain(outside);
    let example = namespaces.first()?;
    let (noun, have) = if namespaces.len() == 1 { ("namespace", "has") } else { ("namespaces", "have") };
    let these = quoted_list(namespaces.iter().map(|namespace| namespace.as_str()));
    let each = watching.iter().map(|(deployment, names)| {
        format!("{} watches {}", shown(deployment), quoted_list(names.iter().map(String::as_str)))
    });
    let each: Vec<String> = each.take(MOST_SHOWN).collect();
    let message = format!(
        "no operator works in {noun} {these}, which {have} bindings: --watch-namespace of {}",
        each.join("; ")
    );
    Some(Finding::new(Code::OperatorNotFound, message).hint(format!(
        "add {example} to --watch-namespace (KLEYM_WATCH_NAMESPACE) of {}, or let it watch all; until then nothing is granted, changed or withdrawn there, whatever the status of a binding says",
        shown(first)
    )))
}

/// How many Deployments are shown.
const MOST_SHOWN: usize = 3;

/// The values of a flag that may be repeated, else of its variable.
pub(crate) fn repeated(deployment: &Value, flag: &str) -> Vec<String> {
    let containers = deployment.pointer("/spec/template/spec/containers").and_then(Value::as_array);
    let mut values = Vec::new();
    for container in containers.into_iter().flatten() {
        let list = |field: &str| container.get(field).and_then(Value::as_array).into_iter().flatten();
        let mut words = list("command").chain(list("args")).filter_map(Value::as_str);
        while let Some(word) = words.next() {
            match word.strip_prefix("--").and_then(|word| word.strip_prefix(flag)) {
                Some("") => values.extend(words.next().map(str::to_owned)),
                Some(rest) => values.extend(rest.strip_prefix('=').map(str::to_owned)),
                None => {}
            }
        }
    }
    match (values.is_empty(), setting(deployment, flag)) {
        (true, Setting::Given(all)) => all.split(',').map(str::to_owned).collect(),
        _ => values,
    }
}

/// What it means that a Deployment does not speak of a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unsaid {
    /// It is the whole Deployment, so the operator takes its default.
    Default,
    /// It is laid over one in a cluster, where the setting stays as it is: what `kubectl set env` has set, another applied
    /// manifest does not take away.
    Stays,
}

/// The settings that a Deployment starts with, and over them those that were given here. What stands elsewhere, or stays, is
/// taken to be as it is in `otherwise`. None when an operator would not start with them.
pub(crate) fn as_started(
    deployment: &Value,
    typed: &args::Settings,
    environment: Environment<'_>,
    otherwise: &Settings,
    unsaid: Unsaid,
) -> Option<Settings> {
    let given = |flag: &str, own: &Option<String>, otherwise: &dyn Fn() -> Option<String>| match setting(
        deployment, flag,
    ) {
        _ if is_given(flag, typed, environment) => own.clone(),
        Setting::Given(value) => Some(value.to_owned()),
        Setting::Elsewhere => otherwise(),
        Setting::Default if unsaid == Unsaid::Stays => otherwise(),
        Setting::Default => None,
    };
    let grants = several("path-grant", &typed.path_grants, environment).ok()?;
    let Settings { trust_domain, class_name, instance, path_grants } = otherwise;
    let stays = unsaid == Unsaid::Stays || setting(deployment, "path-grant") == Setting::Elsewhere;
    let kept = path_grants.iter().map(|(namespace, prefix)| format!("{namespace}={prefix}"));
    let completed = args::Settings {
        trust_domain: given("trust-domain", &typed.trust_domain, &|| Some(trust_domain.to_string())),
        class_name: given("clusterspiffeid-class-name", &typed.class_name, &|| {
            class_name.as_ref().map(ToString::to_string)
        }),
        instance: given("instance", &typed.instance, &|| Some(instance.to_string())),
        path_grants: match repeated(deployment, "path-grant") {
            _ if !grants.is_empty() => typed.path_grants.clone(),
            unsaid if unsaid.is_empty() && stays => kept.collect(),
            said => said,
        },
    };
    settings(&completed, environment).ok()
}

/// How it is called in messages.
pub(crate) fn shown(deployment: &Value) -> String {
    let meta = decode::Meta::of(deployment);
    format!("Deployment {}/{}", meta.namespace().unwrap_or_default(), meta.name().unwrap_or_default())
}
