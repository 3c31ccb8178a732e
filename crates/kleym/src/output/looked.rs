//! What a command looked at, for `-v`: which files or lists, which settings, and where each comes from. Decides nothing.

use kleym_core::fact::Known;
use kleym_core::index::Index;
use kleym_core::kind::Kind;
use kleym_core::settings::given::Environment;
use kleym_core::settings::{DEFAULT_INSTANCE, DEFAULT_TRUST_DOMAIN, Settings};
use kleym_core::text::Quoted;

use super::{NONE, counted, what_was_read_beside};
use crate::args;
use crate::console::Console;
use crate::settings::is_given;
use crate::sight::{BESIDE, Sight};
use crate::source::cluster::{Cluster, Found, Resource};
use crate::survey::{Survey, inputs};

/// Says what was read, and by which settings it is looked at.
pub(crate) fn what_was_looked_at(
    console: &mut Console,
    survey: &Survey,
    sight: &Sight,
    typed: &args::Settings,
    environment: Environment<'_>,
) {
    match &survey.cluster {
        Some(cluster) => lists(console, survey, cluster),
        None => what_was_read_beside(console, &survey.declared, is_looked_at),
    }
    for settings in survey.declared.index.settings_in_use() {
        console.remark(&format!("settings: {}", in_words(settings, typed, environment)));
    }
    for manager in sight.world().managers() {
        let assumed = manager.assumed;
        let what: Vec<&str> = [
            (assumed.class, "class"),
            (assumed.ignored, "ignored namespaces"),
            (assumed.trust_domain, "trust domain"),
        ]
        .into_iter()
        .filter_map(|(assumed, what)| assumed.then_some(what))
        .collect();
        let at = manager.at.as_deref().unwrap_or("no configuration that could be read");
        let assumed = if what.is_empty() {
            String::new()
        } else {
            format!("; taken to fit, for nobody says it: {}", what.join(", "))
        };
        console.remark(&format!("settings of spire-controller-manager: {at}{assumed}"));
    }
}

/// Settings of the engine, and where each comes from.
fn in_words(settings: &Settings, typed: &args::Settings, environment: Environment<'_>) -> String {
    let class = settings.class_name.as_ref().map(|class| class.as_str());
    let each = [
        ("trust-domain", "trust domain", Some(settings.trust_domain.as_str()), Some(DEFAULT_TRUST_DOMAIN)),
        ("clusterspiffeid-class-name", "class", class, None),
        ("instance", "instance", Some(settings.instance.as_str()), Some(DEFAULT_INSTANCE)),
    ];
    let each = each.map(|(flag, name, value, default)| {
        let from = if is_given(flag, typed, environment) {
            "given"
        } else if value == default {
            "the default"
        } else {
            "reported"
        };
        let value = value.map_or_else(|| NONE.to_owned(), |value| Quoted(value).to_string());
        format!("{name} {value} ({from})")
    });
    each.join(", ")
}

/// Whether objects of a kind, as `Pod (v1)`, are read beside what the engine reads.
fn is_looked_at(kind: &str) -> bool {
    let parts = kind.strip_suffix(')').and_then(|kind| kind.split_once(" ("));
    parts.is_some_and(|(kind, version)| Resource::find(version, kind).is_some())
}

/// Which lists a cluster was asked for, and what came.
fn lists(console: &mut Console, survey: &Survey, cluster: &Cluster) {
    let place = match &survey.scope {
        Some(namespace) => format!("namespace {namespace}"),
        None => "all namespaces".to_owned(),
    };
    console.remark(&format!("read of {}, {place}:", cluster.server()));
    for resource in inputs().chain(BESIDE) {
        let came = match (resource, survey.declared.beside(resource)) {
            (_, Found::All(objects)) => counted(objects.len(), "object", "objects"),
            (_, Found::Absent) => "not installed".to_owned(),
            (_, Found::Limited(limit)) => limit.message(),
            (Resource::Kind(kind), Found::NotAsked) => of_kind(&survey.declared.index, kind),
            (_, Found::NotAsked) => continue,
        };
        console.remark(&format!("  {}: {came}", resource.name()));
    }
}

/// What came of a kind that the engine reads.
fn of_kind(index: &Index, kind: Kind) -> String {
    let availability = index.availability(kind);
    let objects = match kind {
        Kind::Binding => index.bindings().count(),
        Kind::Objective(group) => index.objectives().filter(|one| one.group == group).count(),
        Kind::Pool(group) => index.pools().filter(|one| one.group == group).count(),
        Kind::Output => 0,
    };
    match (availability.trouble, availability.known) {
        (Some(_), _) => "could not be read".to_owned(),
        (None, Known::Absent) => "not installed".to_owned(),
        (None, Known::Listed | Known::Nothing) => counted(objects, "object", "objects"),
    }
}
