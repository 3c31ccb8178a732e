//! What the engine's settings are: from flags, else from the environment, by the rules that the operator has too; where
//! live bindings are looked at, in a cluster or in files made of one, else from what every binding's status reports, when
//! they all agree.

use std::collections::{BTreeMap, BTreeSet};

use kleym_core::report::{Code, Finding};
use kleym_core::settings::given::{BadSetting, Environment, one, several};
use kleym_core::settings::{Settings, TypedSettings};
use kleym_core::text::quoted_list;
use serde_json::Value;

use crate::args;
use crate::exit::Failure;
use crate::output::counted;

impl From<BadSetting> for Failure {
    fn from(bad: BadSetting) -> Self {
        Failure::unusable(bad.to_string())
    }
}

/// What the flags and the environment mean together.
///
/// # Errors
/// The first setting that cannot be used.
pub(crate) fn settings(typed: &args::Settings, environment: Environment<'_>) -> Result<Settings, BadSetting> {
    let args::Settings { trust_domain, class_name, path_grants, instance } = typed;
    let typed = TypedSettings {
        trust_domain: trust_domain.as_ref(),
        class_name: class_name.as_ref(),
        instance: instance.as_ref(),
        path_grants,
    };
    Settings::given(typed, environment)
}

/// Settings, and what is to be said of where they come from.
#[derive(Debug)]
pub(crate) struct Chosen {
    /// The settings.
    pub(crate) settings: Settings,
    /// Where they come from, when that is not what was given.
    pub(crate) remark: Option<String>,
    /// What does not fit.
    pub(crate) findings: Vec<Finding>,
    /// Whether the status of any binding reports settings.
    pub(crate) reported: bool,
}

/// Whether a setting was given, by its flag or its variable.
pub(crate) fn is_given(flag: &str, typed: &args::Settings, environment: Environment<'_>) -> bool {
    let args::Settings { trust_domain, class_name, path_grants: _, instance } = typed;
    let typed = match flag {
        "trust-domain" => trust_domain,
        "clusterspiffeid-class-name" => class_name,
        _ => instance,
    };
    !matches!(one(flag, typed.as_ref(), environment), Ok(None))
}

/// What was given, completed by what the status of live bindings reports. Status is a report and may be forged, so it
/// counts only when all bindings agree (contract, section 2).
///
/// # Errors
/// The first setting that cannot be used.
pub(crate) fn with_status<'a>(
    typed: &args::Settings,
    environment: Environment<'_>,
    bindings: impl Iterator<Item = &'a Value>,
) -> Result<Chosen, BadSetting> {
    let given = settings(typed, environment)?;
    let reports: Vec<Report> = bindings.filter_map(Report::read).collect();
    let reported = !reports.is_empty();
    let as_given = |findings| Ok(Chosen { settings: given.clone(), remark: None, findings, reported });
    if reports.is_empty() {
        return as_given(Vec::new());
    }
    let Some(agreed) = Agreed::of(&reports) else { return as_given(vec![disagreement(&reports)]) };

    let mut findings = Vec::new();
    let mut completed = args::Settings::default();
    let mut taken = Vec::new();
    let mut choose = |flag: &str, typed: Option<&String>, given: &str, reported: &str, name: &str| {
        if one(flag, typed, environment)?.is_none() {
            taken.push(format!(
                "{name} {}",
                if reported.is_empty() { "none".to_owned() } else { quoted_list([reported]) }
            ));
            return Ok(reported.to_owned());
        }
        if given != reported {
            findings.push(difference(name, given, reported, reports.len()));
        }
        Ok::<_, BadSetting>(given.to_owned())
    };
    let class = given.class_name.as_ref().map(ToString::to_string).unwrap_or_default();
    completed.trust_domain = Some(choose(
        "trust-domain",
        typed.trust_domain.as_ref(),
        &given.trust_domain.to_string(),
        &agreed.trust_domain,
        "trust domain",
    )?);
    completed.class_name = Some(choose(
        "clusterspiffeid-class-name",
        typed.class_name.as_ref(),
        &class,
        &agreed.class_name,
        "class",
    )?);
    completed.instance = Some(choose(
        "instance",
        typed.instance.as_ref(),
        given.instance.as_str(),
        &agreed.instance,
        INSTANCE,
    )?);
    let grants = several("path-grant", &typed.path_grants, environment)?;
    completed.path_grants = if grants.is_empty() {
        agreed.path_grants.clone()
    } else {
        grants.into_iter().map(|grant| grant.value).collect()
    };
    if !completed.path_grants.is_empty() && completed.path_grants == agreed.path_grants {
        taken.push(format!("path grants {}", quoted_list(agreed.path_grants.iter().map(String::as_str))));
    }
    match settings(&completed, &|_| None) {
        Ok(settings) => {
            let count = reports.len();
            let bindings = counted(count, "binding", "bindings");
            // That the instance is the usual one, or the operator's, changes nothing that anybody looks for.
            let worth_a_line = taken.iter().any(|setting| !setting.starts_with(INSTANCE));
            let remark = worth_a_line
                .then(|| format!("settings as the status of {bindings} reports: {}", taken.join(", ")));
            Ok(Chosen { settings, remark, findings, reported })
        }
        // Nobody but a forger reports what the operator would not start with.
        Err(bad) => {
            let message = format!("the settings that the bindings' status reports cannot be used: {bad}");
            as_given(vec![Finding::new(Code::SettingsDiffer, message).hint(GIVE_THEM)])
        }
    }
}

/// What the name of the operator is called.
const INSTANCE: &str = "instance";

const GIVE_THEM: &str =
    "give the operator's settings by flags, such as --trust-domain; they were not taken from the status";

/// What one status reports.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Report {
    trust_domain: String,
    class_name: String,
    instance: String,
    namespace: String,
    path_grants: Vec<String>,
}

impl Report {
    /// None when the operator has not written the status yet.
    fn read(binding: &Value) -> Option<Self> {
        let status = binding.get("status")?;
        let text = |field: &str| status.get(field).and_then(Value::as_str).map(str::to_owned);
        let grants = status.get("pathGrants").and_then(Value::as_array);
        Some(Self {
            trust_domain: text("trustDomain")?,
            class_name: text("clusterSPIFFEIDClassName").unwrap_or_default(),
            instance: text("instance")?,
            namespace: binding.pointer("/metadata/namespace")?.as_str()?.to_owned(),
            path_grants: grants.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect(),
        })
    }
}

/// What all of them report.
#[derive(Debug)]
struct Agreed {
    trust_domain: String,
    class_name: String,
    instance: String,
    path_grants: Vec<String>,
}

impl Agreed {
    fn of(reports: &[Report]) -> Option<Self> {
        let first = reports.first()?;
        let mut grants: BTreeMap<&str, &[String]> = BTreeMap::new();
        for report in reports {
            let same = report.trust_domain == first.trust_domain
                && report.class_name == first.class_name
                && report.instance == first.instance;
            let before = grants.insert(&report.namespace, &report.path_grants);
            if !same || before.is_some_and(|before| before != report.path_grants) {
                return None;
            }
        }
        let each = |(namespace, prefixes): (&&str, &&[String])| -> Vec<String> {
            prefixes.iter().map(|prefix| format!("{namespace}={prefix}")).collect()
        };
        Some(Self {
            trust_domain: first.trust_domain.clone(),
            class_name: first.class_name.clone(),
            instance: first.instance.clone(),
            path_grants: grants.iter().flat_map(each).collect(),
        })
    }
}

fn disagreement(reports: &[Report]) -> Finding {
    let all = |name: &str, value: fn(&Report) -> &str| {
        let values: BTreeSet<&str> = reports.iter().map(value).collect();
        (values.len() > 1).then(|| format!("{name} {}", quoted_list(values)))
    };
    let parts: Vec<String> = [
        all("trust domain", |report| &report.trust_domain),
        all("class", |report| &report.class_name),
        all("instance", |report| &report.instance),
    ]
    .into_iter()
    .flatten()
    .collect();
    let what = if parts.is_empty() { "path grants".to_owned() } else { parts.join(", ") };
    Finding::new(
        Code::SettingsDiffer,
        format!("the bindings' status reports settings that do not agree: {what}"),
    )
    .hint(GIVE_THEM)
}

fn difference(name: &str, given: &str, reported: &str, count: usize) -> Finding {
    let shown = |value: &str| if value.is_empty() { "none".to_owned() } else { quoted_list([value]) };
    let message = format!(
        "the {name} given here is {}, but the operator's is {}, as the status of {} reports",
        shown(given),
        shown(reported),
        counted(count, "binding", "bindings")
    );
    Finding::new(Code::SettingsDiffer, message)
        .hint("leave the flag or variable out to see what the operator sees, or keep it to see what a change would do")
}
