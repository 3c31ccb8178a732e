//! What a command looked at, for `-v`: which files or lists, which settings, and where each comes from. Decides nothing.

use kleym_core::settings::given::Environment;
use kleym_core::settings::{DEFAULT_INSTANCE, DEFAULT_TRUST_DOMAIN, Settings};
use kleym_core::text::Quoted;

use super::{NONE, counted, what_was_read_beside};
use crate::args;
use crate::console::Console;
use crate::settings::is_given;
use crate::sight::Sight;
use crate::source::cluster::{Cluster, Resource};
use crate::survey::Survey;

/// Says what was read, and by which settings it is looked at.
pub(crate) fn what_was_looked_at(
    console: &mut Console,
    survey: &Survey,
    sight: &Sight,
    typed: &args::Settings,
    environment: Environment<'_>,
) {
    match &survey.cluster {
        Some(cluster) => what_was_asked(console, cluster),
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
pub(crate) fn what_was_asked(console: &mut Console, cluster: &Cluster) {
    let (requests, lists) = cluster.asked();
    let requests = counted(requests, "request", "requests");
    console.remark(&format!("read of {}, by {requests}:", cluster.server()));
    for list in lists {
        console.remark(&format!("  {list}"));
    }
}
