//! The settings of spire-controller-manager (SCM): from its ConfigMap where that can be read, else from flags. Reads;
//! decides nothing.

use std::collections::BTreeSet;

use kleym_api::decode::{self, MANAGER_KIND};
use kleym_core::name::{Namespace, describe};
use kleym_core::report::{Code, Finding};
use kleym_core::spire::{Class, Ignored, Manager};
use serde_json::Value;

use crate::args;
use crate::declared::Declared;
use crate::exit::Failure;
use crate::source::cluster::{Cluster, Collection, Found, Resource};
use crate::survey::Survey;

/// What is known of SCM.
#[derive(Debug, Default)]
pub(crate) struct KnownManager {
    /// The settings of each that works in the cluster; of one, as far as nothing is known.
    pub(crate) managers: Vec<Manager>,
    /// What could not be read, and what does not fit.
    pub(crate) findings: Vec<Finding>,
}

/// Namespaces where SCM usually lives, where namespaces cannot be listed.
const USUAL: [&str; 4] = ["spire-server", "spire-system", "spire", "spire-mgmt"];
/// How many namespaces are looked through.
const MOST: usize = 8;
/// A configuration is far smaller than this.
const MAX_TEXT: usize = 1024 * 1024;

impl KnownManager {
    /// What a cluster or files say of SCM, and flags.
    ///
    /// # Errors
    /// Flags that cannot be used.
    pub(crate) fn of(survey: &Survey, typed: &args::Manager) -> Result<Self, Failure> {
        let items = |resource| survey.declared.beside(resource).items();
        match &survey.cluster {
            Some(cluster) => {
                let names = items(Resource::Namespaces).iter();
                let names = names.filter_map(|space| space.pointer("/metadata/name")?.as_str());
                in_cluster(typed, cluster, names)
            }
            None => Ok(Self::in_files(typed, &survey.declared)),
        }
    }

    /// What files say of SCM, and flags.
    pub(crate) fn in_files(typed: &args::Manager, declared: &Declared) -> Self {
        let found = declared.beside(Resource::ConfigMaps).items().iter().filter_map(read);
        completed(typed, found.collect(), Vec::new())
    }
}

/// What a cluster says of SCM, and flags. `spaces` are the names of the namespaces, as far as they are known.
///
/// # Errors
/// A namespace that is none.
pub(crate) fn in_cluster<'a>(
    typed: &args::Manager,
    cluster: &Cluster,
    spaces: impl Iterator<Item = &'a str>,
) -> Result<KnownManager, Failure> {
    let named = typed.scm_namespace.as_deref().map(|text| {
        Namespace::parse(text)
            .map_err(|error| Failure::unusable(format!("--scm-namespace: {}", describe(text, &error))))
    });
    let namespaces: Vec<Namespace> = match named.transpose()? {
        Some(namespace) => vec![namespace],
        None => {
            let mut known: BTreeSet<&str> = spaces.filter(|name| name.contains("spire")).collect();
            if known.is_empty() {
                known.extend(USUAL);
            }
            known.into_iter().take(MOST).filter_map(|name| Namespace::parse(name).ok()).collect()
        }
    };
    let collections: Vec<Collection> =
        namespaces.iter().map(|namespace| Collection::of(Resource::ConfigMaps, Some(namespace))).collect();
    let lists = cluster.lists(&collections);
    let found: Vec<Manager> = lists.iter().flat_map(Found::items).filter_map(read).collect();
    let given = typed.scm_class_name.is_some() && typed.scm_ignore_namespaces.is_some();
    let limits = lists.iter().filter_map(|found| match found {
        Found::Limited(limit) if !given => Some(limit.finding()),
        _ => None,
    });
    let limits = if !found.is_empty() { Vec::new() } else { limits.take(1).collect() };
    Ok(completed(typed, found, limits))
}

fn read(map: &Value) -> Option<Manager> {
    let texts = map.get("data")?.as_object()?.values().filter_map(Value::as_str);
    let mut texts = texts.filter(|text| text.len() <= MAX_TEXT && text.contains(MANAGER_KIND));
    let manager = texts.find_map(|text| {
        let file: Value = serde_saphyr::from_str(text).ok()?;
        decode::manager(&file)
    })?;
    let meta = decode::Meta::of(map);
    let (namespace, name) = (meta.namespace().unwrap_or_default(), meta.name().unwrap_or_default());
    Some(Manager { at: Some(format!("ConfigMap {namespace}/{name}").into()), ..manager })
}

/// Flags count over what was read, and speak of one SCM.
fn completed(typed: &args::Manager, mut found: Vec<Manager>, mut findings: Vec<Finding>) -> KnownManager {
    let args::Manager { scm_namespace: _, scm_class_name, scm_watch_classless, scm_ignore_namespaces } =
        typed;
    if scm_class_name.is_some() || scm_watch_classless.is_some() || scm_ignore_namespaces.is_some() {
        found.truncate(1);
    }
    if found.is_empty() {
        found.push(Manager::default());
    }
    for manager in &mut found {
        if scm_class_name.is_some() || scm_watch_classless.is_some() {
            let mut class = manager.class.take().unwrap_or_default();
            if let Some(name) = scm_class_name {
                class = Class { name: name.as_str().into(), by_label: class.by_label, ..class };
            }
            class.classless = scm_watch_classless.unwrap_or(class.classless);
            manager.class = Some(class);
        }
        if let Some(patterns) = scm_ignore_namespaces {
            let patterns = patterns.iter().filter(|pattern| !pattern.is_empty());
            manager.ignored = Some(patterns.map(|pattern| Ignored::new(pattern)).collect());
        }
    }
    if found.iter().any(|manager| manager.class.is_none() || manager.ignored.is_none()) {
        findings.push(
            Finding::new(Code::ManagerUnknown, "the settings of spire-controller-manager are not known")
                .hint("give --scm-class-name and --scm-ignore-namespaces, or --scm-namespace with the right to list ConfigMaps there"),
        );
    }
    let mut patterns = found.iter().flat_map(|manager| manager.ignored.iter().flatten());
    if let Some(pattern) = patterns.find(|pattern| !pattern.readable()) {
        let what = kleym_core::text::Quoted(pattern.pattern());
        findings.push(Finding::new(
            Code::ManagerUnknown,
            format!("{what} in `ignoreNamespaces` is no expression that can be read here, so it is not known which namespaces it ignores"),
        ).hint("spire-controller-manager does not start with an expression that Go cannot read; see its log"));
    }
    KnownManager { managers: found, findings }
}
