//! The two sides that `kleym diff` compares: a cluster as it is and with files applied to it, or files and other files. Each
//! side has its own declarations, pods, operator settings and settings of spire-controller-manager.
//!
//! What only one side of files speaks of at all (pods, the operator's Deployment, the settings of spire-controller-manager)
//! counts for both: a folder without pods does not say that there are none.

use std::collections::{BTreeMap, BTreeSet};

use kleym_core::kind::Kind;
use kleym_core::name::{BindingKey, Namespace};
use kleym_core::settings::given::Environment;
use kleym_core::settings::{Settings, SettingsByNamespace};
use kleym_core::spire::Manager;
use kleym_core::text::quoted_list;
use serde_json::Value;

use crate::args;
use crate::declared::Declared;
use crate::deployment::{Unsaid, as_started, of_instance};
use crate::exit::Failure;
use crate::manager::{KnownManager, in_cluster};
use crate::reports::SettingChange;
use crate::settings::{self, About, settings, with_status};
use crate::source::Files;
use crate::source::cluster::{Cluster, Found, Resource};
use crate::survey::{Question, completed_by_cluster, namespace, outputs_of, read};

/// One side.
pub(crate) struct Side {
    /// What is declared.
    pub(crate) declared: Declared,
    /// The settings of each spire-controller-manager, as far as they are known.
    pub(crate) managers: Vec<Manager>,
}

/// Both sides.
pub(crate) struct Sides {
    /// As it is.
    pub(crate) before: Side,
    /// As it would be.
    pub(crate) after: Side,
    /// The namespaces that the files speak of; empty when all are looked at.
    pub(crate) scope: BTreeSet<Namespace>,
    /// Where the settings come from, when they were not given.
    pub(crate) remark: Option<String>,
    /// The cluster, when one was asked.
    pub(crate) cluster: Option<Cluster>,
}

impl Sides {
    /// A cluster, and files laid over the namespaces that they speak of.
    ///
    /// # Errors
    /// What is wrong with flags, files or the connection.
    pub(crate) fn over_cluster(
        question: Question<'_>,
        environment: Environment<'_>,
    ) -> Result<Self, Failure> {
        let Question { input, settings: typed, beside, id } = question;
        let args::Input { filename, recursive, scope, connection } = input;
        let named = scope.namespace.as_deref().map(namespace).transpose()?;
        let given = settings(typed, environment)?;
        let files = Files::read(filename, *recursive)?;
        let cluster = Cluster::connect(connection, environment)?;
        let home = named.unwrap_or_else(|| cluster.namespace().clone());
        let alone = Declared::read(files.clone(), &home, given);
        let spoken_of = alone.namespaces();
        let scope = if scope.all_namespaces || spoken_of.is_empty() { BTreeSet::new() } else { spoken_of };
        let namespaces: Vec<Namespace> = scope.iter().cloned().collect();
        let live = read(&cluster, &namespaces, beside)?;
        let items = |resource| live.get(&resource).map(Found::items).unwrap_or_default();
        let bindings = settings::live(items(Resource::Kind(Kind::Binding)));
        let chosen = with_status(typed, environment, bindings)?;
        let only = if let [only] = namespaces.as_slice() { Some(only) } else { None };
        let about = About { namespace: only, id };
        let chosen =
            completed_by_cluster(chosen, typed, environment, about, &cluster, [None, outputs_of(&live)]);
        let names = items(Resource::Namespaces).iter();
        let names = names.filter_map(|space| space.pointer("/metadata/name")?.as_str());
        // What cannot be read of it is for `check` to say; then it is taken to fit.
        let managers = in_cluster(&args::Manager::default(), &cluster, names)?.managers;
        let started = started(&alone, typed, environment, &chosen.settings, Unsaid::Stays);
        let started = started.unwrap_or_else(|| chosen.settings.clone());
        let assumption = chosen.assumption();
        let mut before = Declared::over(live.clone(), Files::default(), &home, chosen.settings);
        let mut after = Declared::over(live, files, &home, started);
        before.remark(assumption.clone());
        after.remark(assumption);
        before.remark(chosen.findings.clone());
        after.remark(chosen.findings);
        let after_managers = managers_in(&after).unwrap_or_else(|| managers.clone());
        Ok(Self {
            before: Side { declared: before, managers },
            after: Side { declared: after, managers: after_managers },
            scope,
            remark: chosen.remark,
            cluster: Some(cluster),
        })
    }

    /// Files, and other files.
    ///
    /// # Errors
    /// Settings that cannot be used.
    pub(crate) fn of_files(
        [before, after]: [Files; 2],
        home: &Namespace,
        typed: &args::Settings,
        environment: Environment<'_>,
    ) -> Result<Self, Failure> {
        let given = settings(typed, environment)?;
        let first = [&before, &after].map(|files| Declared::read(files.clone(), home, given.clone()));
        // One operator serves both, so its bindings report of both.
        let reported: BTreeMap<&BindingKey, &Value> = first.iter().flat_map(Declared::reported).collect();
        let reported = reported.into_iter().map(|(key, binding)| (key.namespace.as_str(), binding));
        let chosen = with_status(typed, environment, reported)?;
        let [was, is] = [&first[0], &first[1]]
            .map(|side| started(side, typed, environment, &chosen.settings, Unsaid::Default));
        let was_or_is = |own: &Option<SettingsByNamespace>, other: &Option<SettingsByNamespace>| {
            own.clone().or_else(|| other.clone()).unwrap_or_else(|| chosen.settings.clone())
        };
        let wanted = [was_or_is(&was, &is), was_or_is(&is, &was)];
        let mut sides = first.into_iter().zip([before, after]).zip(wanted).map(|((side, files), wanted)| {
            let mut side = match *side.index.settings_by_namespace() == wanted {
                true => side,
                false => Declared::read(files, home, wanted),
            };
            side.remark(chosen.findings.clone());
            side
        });
        let (Some(before), Some(after)) = (sides.next(), sides.next()) else {
            unreachable!("there are two sides")
        };
        drop(sides);
        let [was, is] = [&before, &after].map(managers_in);
        let managers = |own: &Option<Vec<Manager>>, other: &Option<Vec<Manager>>| {
            own.clone().or_else(|| other.clone()).unwrap_or_default()
        };
        Ok(Self {
            before: Side { declared: before, managers: managers(&was, &is) },
            after: Side { declared: after, managers: managers(&is, &was) },
            scope: BTreeSet::new(),
            remark: chosen.remark,
            cluster: None,
        })
    }

    /// What of operators and of spire-controller-manager is configured otherwise.
    pub(crate) fn settings(&self) -> Vec<SettingChange> {
        let operator = |settings: &Settings| {
            let Settings { trust_domain, class_name, instance, path_grants } = settings;
            let grants: Vec<String> =
                path_grants.iter().map(|(namespace, prefix)| format!("{namespace}={prefix}")).collect();
            [
                ("trust domain", Some(trust_domain.to_string())),
                ("class", class_name.as_ref().map(ToString::to_string)),
                ("instance", Some(instance.to_string())),
                ("path grants", several(grants.iter().map(String::as_str))),
            ]
        };
        let manager = |manager: &Manager| {
            let Manager { class, ignored, cached, trust_domain, .. } = manager;
            [
                ("watched classes", class.as_ref().map(ToString::to_string)),
                ("ignored namespaces", several(ignored.iter().flatten().map(|one| one.pattern()))),
                ("namespaces that it reads", several(cached.iter().flatten().map(|name| &**name))),
                ("trust domain", trust_domain.as_deref().map(str::to_owned)),
            ]
        };
        let [before, after] =
            [&self.before, &self.after].map(|side| side.declared.index.settings_by_namespace());
        // Both sides have the operators of one set of namespaces.
        let namespaces = before.own().map(|(namespace, _)| namespace);
        let mut pairs: Vec<(&Settings, &Settings)> = Vec::new();
        for pair in namespaces.map(|namespace| (before.of(namespace), after.of(namespace))) {
            if !pairs.contains(&pair) {
                pairs.push(pair);
            }
        }
        if pairs.is_empty() {
            pairs.push((before.rest(), after.rest()));
        }
        let one = pairs.len() == 1;
        let mut changes: Vec<SettingChange> = Vec::new();
        for (was, is) in pairs {
            let of =
                if one { "kleym-operator".to_owned() } else { format!("kleym-operator {}", was.instance) };
            changes.extend(changed(&of, operator(was), operator(is)));
        }
        let default = Manager::default();
        let (was, is) = (&self.before.managers, &self.after.managers);
        let one = was.len() <= 1 && is.len() <= 1;
        for at in 0..was.len().max(is.len()).max(1) {
            let [was, is] = [was, is].map(|managers| managers.get(at).unwrap_or(&default));
            let at = was.at.as_ref().or(is.at.as_ref()).filter(|_| !one);
            let of = "spire-controller-manager";
            let of = at.map_or_else(|| of.to_owned(), |at| format!("{of} of {at}"));
            changes.extend(changed(&of, manager(was), manager(is)));
        }
        changes
    }
}

/// A value of a setting, by its name.
type Named = (&'static str, Option<String>);

fn changed<const N: usize>(of: &str, before: [Named; N], after: [Named; N]) -> Vec<SettingChange> {
    let pairs = before.into_iter().zip(after).filter(|((_, was), (_, is))| was != is);
    let change = |((setting, before), (_, after)): (Named, Named)| SettingChange {
        of: of.to_owned(),
        setting: setting.to_owned(),
        before,
        after,
    };
    pairs.map(change).collect()
}

fn several<'a>(values: impl Iterator<Item = &'a str>) -> Option<String> {
    Some(quoted_list(values)).filter(|list| !list.is_empty())
}

/// The settings of the operators whose Deployment is in files, when there is any.
fn started(
    side: &Declared,
    typed: &args::Settings,
    environment: Environment<'_>,
    otherwise: &SettingsByNamespace,
    unsaid: Unsaid,
) -> Option<SettingsByNamespace> {
    let deployments = side.beside(Resource::Deployments).items();
    let only = if let [only] = deployments { Some(only) } else { None };
    let alone = otherwise.different().len() == 1;
    let mut any = false;
    let settings = otherwise.map(|own| {
        // A Deployment of another name is the only operator's, for names change, too; of several it is another one's.
        let deployment = only.filter(|_| alone).or_else(|| of_instance(deployments, own.instance.as_str()));
        let started = deployment.and_then(|one| as_started(one, typed, environment, own, unsaid));
        any |= started.is_some();
        started.unwrap_or_else(|| own.clone())
    });
    any.then_some(settings)
}

/// The settings of each spire-controller-manager that files hold.
fn managers_in(side: &Declared) -> Option<Vec<Manager>> {
    let mut known = KnownManager::in_files(&args::Manager::default(), side).managers;
    known.retain(|manager| manager.at.is_some());
    (!known.is_empty()).then_some(known)
}
