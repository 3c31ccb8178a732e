//! Settings as the status of bindings reports them. Several operators may work in one cluster, each with namespaces of its
//! own, so what holds for a binding is what is reported in its namespace.
//!
//! Status is a report and may be forged (contract, section 2): within a namespace a setting counts only when all its
//! bindings agree, and prefixes that two namespaces claim count for neither. What is in dispute takes nothing else with it.

use std::collections::{BTreeMap, BTreeSet};

use kleym_core::index::Index;
use kleym_core::name::Namespace;
use kleym_core::report::{Code, Finding};
use kleym_core::settings::given::{BadSetting, Environment, one, several};
use kleym_core::settings::{Settings, SettingsByNamespace};
use kleym_core::spiffe::PathGrants;
use kleym_core::text::quoted_list;
use serde_json::Value;

use super::elsewhere::Assumed;
use super::settings;
use crate::args;
use crate::output::counted;

/// Settings, and what is to be said of where they come from.
#[derive(Debug)]
pub(crate) struct Chosen {
    /// The settings.
    pub(crate) settings: SettingsByNamespace,
    /// Where they come from, when that is not what was given.
    pub(crate) remark: Option<String>,
    /// What does not fit.
    pub(crate) findings: Vec<Finding>,
    /// Whether the status of any binding reports settings.
    pub(crate) reported: bool,
    /// What is only assumed of a namespace that nobody reports on, where operators have different settings.
    open: Option<Open>,
    /// The trust domain, when nobody says it.
    pub(super) assumed: Option<Assumed>,
}

/// What of the settings nobody says.
#[derive(Debug)]
struct Open {
    /// What is taken instead.
    taken: String,
    /// The flags that say otherwise.
    flags: String,
}

impl Chosen {
    /// What is to be said of the namespaces of which nobody can tell which operator they have.
    pub(crate) fn unsaid(&self, index: &Index) -> Option<Finding> {
        if index.bindings().next().is_some()
            && let Some(assumed) = self.assumption()
        {
            return Some(assumed);
        }
        let Open { taken, flags } = self.open.as_ref()?;
        let spaces = index.bindings().map(|binding| &binding.key.namespace);
        let mut silent: Vec<&Namespace> =
            spaces.filter(|namespace| self.settings.own_of(namespace).is_none()).collect();
        silent.dedup();
        let one = silent.first()?;
        let message = format!(
            "no binding in {} has a status, and operators elsewhere have different settings, so {taken} is taken there",
            named(&silent)
        );
        Some(Finding::new(Code::SettingsDiffer, message).hint(format!(
            "look at one such namespace alone, with the settings of its operator: -n {one} {flags}"
        )))
    }

    /// That nobody says which trust domain there is, when that is so.
    pub(crate) fn assumption(&self) -> Option<Finding> {
        self.assumed.as_ref().map(Assumed::finding)
    }
}

/// The settings that a status reports as one value: flag, and what it is called.
pub(super) const SETTINGS: [(&str, &str); 3] =
    [("trust-domain", "trust domain"), ("clusterspiffeid-class-name", "class"), (INSTANCE, INSTANCE)];
/// What the name of the operator is called.
const INSTANCE: &str = "instance";
/// Where it stands among [`SETTINGS`].
pub(super) const INSTANCE_AT: usize = 2;

/// The values of [`SETTINGS`], an empty class for none.
type Values = [String; 3];

/// The bindings of a cluster, with their namespaces.
pub(crate) fn live(bindings: &[Value]) -> impl Iterator<Item = (&str, &Value)> {
    bindings.iter().filter_map(|binding| Some((binding.pointer("/metadata/namespace")?.as_str()?, binding)))
}

/// What was given, completed by what the status of bindings reports; of each, its namespace and itself.
///
/// # Errors
/// The first setting that cannot be used.
pub(crate) fn with_status<'a>(
    typed: &args::Settings,
    environment: Environment<'_>,
    bindings: impl Iterator<Item = (&'a str, &'a Value)>,
) -> Result<Chosen, BadSetting> {
    let given = Given::of(typed, environment)?;
    let mut spaces: BTreeMap<Namespace, Vec<Report>> = BTreeMap::new();
    for (namespace, binding) in bindings {
        if let (Ok(namespace), Some(report)) = (Namespace::parse(namespace), Report::read(binding)) {
            spaces.entry(namespace).or_default().push(report);
        }
    }
    if spaces.is_empty() {
        let settings = given.settings.into();
        return Ok(Chosen {
            settings,
            remark: None,
            findings: Vec::new(),
            reported: false,
            open: None,
            assumed: None,
        });
    }
    Ok(Reports { given, spaces }.chosen())
}

/// What flags and variables say.
struct Given {
    /// With defaults for what they do not say.
    settings: Settings,
    /// The values of those that are said.
    said: [Option<String>; 3],
    /// The path grants, when any are said.
    grants: Option<Vec<String>>,
}

impl Given {
    fn of(typed: &args::Settings, environment: Environment<'_>) -> Result<Self, BadSetting> {
        let args::Settings { trust_domain, class_name, path_grants, instance } = typed;
        let said = |at: usize, typed: &Option<String>| {
            one(SETTINGS[at].0, typed.as_ref(), environment).map(|given| given.map(|given| given.value))
        };
        let grants = several("path-grant", path_grants, environment)?;
        Ok(Self {
            settings: settings(typed, environment)?,
            said: [said(0, trust_domain)?, said(1, class_name)?, said(INSTANCE_AT, instance)?],
            grants: (!grants.is_empty()).then(|| grants.into_iter().map(|grant| grant.value).collect()),
        })
    }

    fn values(&self) -> Values {
        let Settings { trust_domain, class_name, instance, path_grants: _ } = &self.settings;
        let class = class_name.as_ref().map(ToString::to_string).unwrap_or_default();
        [trust_domain.to_string(), class, instance.to_string()]
    }
}

/// What one status reports.
#[derive(Debug)]
pub(super) struct Report {
    /// By [`SETTINGS`].
    pub(super) values: Values,
    pub(super) path_grants: Vec<String>,
}

impl Report {
    /// None when the operator has not written the status yet.
    pub(super) fn read(binding: &Value) -> Option<Self> {
        let status = binding.get("status")?;
        let text = |field: &str| status.get(field).and_then(Value::as_str).map(str::to_owned);
        let grants = status.get("pathGrants").and_then(Value::as_array);
        Some(Self {
            values: [
                text("trustDomain")?,
                text("clusterSPIFFEIDClassName").unwrap_or_default(),
                text("instance")?,
            ],
            path_grants: grants.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect(),
        })
    }
}

/// The only one of several values.
pub(super) fn only<T: PartialEq>(mut values: impl Iterator<Item = T>) -> Option<T> {
    let first = values.next()?;
    values.all(|value| value == first).then_some(first)
}

/// An operator, as far as statuses tell one: namespaces that report the same.
#[derive(Default)]
struct Operator<'a> {
    namespaces: Vec<&'a Namespace>,
    /// `<namespace>=<prefix>`
    grants: Vec<String>,
    /// Which of [`SETTINGS`] are as reported.
    taken: [bool; 3],
}

/// What is given, and what is reported, by namespace.
struct Reports {
    given: Given,
    spaces: BTreeMap<Namespace, Vec<Report>>,
}

impl Reports {
    fn chosen(&self) -> Chosen {
        let defaults = self.given.values();
        let everywhere: [Option<&String>; 3] =
            [0, 1, INSTANCE_AT].map(|at| only(self.all().map(|report| &report.values[at])));
        // Of a namespace that reports nothing, or not the same.
        let rest: Values = std::array::from_fn(|at| match (&self.given.said[at], everywhere[at]) {
            (None, Some(agreed)) => agreed.clone(),
            _ => defaults[at].clone(),
        });
        let mut operators: BTreeMap<Values, Operator<'_>> = BTreeMap::new();
        for (namespace, reports) in &self.spaces {
            let agreed: [Option<&String>; 3] =
                [0, 1, INSTANCE_AT].map(|at| only(reports.iter().map(|report| &report.values[at])));
            let taken: [bool; 3] =
                std::array::from_fn(|at| self.given.said[at].is_none() && agreed[at].is_some());
            let values = std::array::from_fn(|at| match agreed[at].filter(|_| taken[at]) {
                Some(agreed) => agreed.clone(),
                None => rest[at].clone(),
            });
            let operator = operators.entry(values).or_default();
            operator.namespaces.push(namespace);
            for (own, taken) in operator.taken.iter_mut().zip(taken) {
                *own |= taken;
            }
            if self.given.grants.is_none() {
                let grants = only(reports.iter().map(|report| &report.path_grants));
                let grants = grants.into_iter().flatten();
                operator.grants.extend(grants.map(|prefix| format!("{namespace}={prefix}")));
            }
        }
        let mut findings: Vec<Finding> = self.differences();
        findings.extend(self.disputed(&rest));
        findings.extend(self.one_name());
        findings.extend(apart(&mut operators));
        let several = operators.len() > 1;
        let open = self.open(&everywhere, &rest).filter(|_| several);
        let remark = self.remark(&operators);

        let mut own = BTreeMap::new();
        for (values, operator) in &operators {
            let settings = self.settings(values, &operator.grants).unwrap_or_else(|bad| {
                // Nobody but a forger reports what an operator would not start with.
                let message = format!(
                    "the settings that the status of bindings in {} reports cannot be used: {bad}",
                    named(&operator.namespaces)
                );
                findings.push(Finding::new(Code::SettingsDiffer, message).hint(
                    "no operator starts with these, so somebody else wrote them: see who may, and that the operator runs and leads (`kleym check`), for it writes every status anew; until then give its settings by flags, such as --trust-domain",
                ));
                self.given.settings.clone()
            });
            own.extend(operator.namespaces.iter().map(|namespace| ((*namespace).clone(), settings.clone())));
        }
        let first = own.values().next().cloned().filter(|_| !several);
        let settings = match first {
            Some(only) => only.into(),
            None => {
                let rest = self.settings(&rest, &[]).unwrap_or_else(|_| self.given.settings.clone());
                SettingsByNamespace::new(rest, own)
            }
        };
        Chosen { settings, remark, findings, reported: true, open, assumed: None }
    }

    fn all(&self) -> impl Iterator<Item = &Report> {
        self.spaces.values().flatten()
    }

    /// Settings of these values, with the path grants that are given, else with these.
    fn settings(&self, values: &Values, grants: &[String]) -> Result<Settings, BadSetting> {
        let [trust_domain, class_name, instance] = values.clone();
        let typed = args::Settings {
            trust_domain: Some(trust_domain),
            class_name: Some(class_name),
            instance: Some(instance),
            path_grants: self.given.grants.clone().unwrap_or_else(|| grants.to_vec()),
        };
        settings(&typed, &|_| None)
    }

    /// Where the settings come from.
    fn remark(&self, operators: &BTreeMap<Values, Operator<'_>>) -> Option<String> {
        let several = operators.len() > 1;
        let parts = operators.iter().filter_map(|(values, operator)| {
            let mut taken: Vec<String> = (0..SETTINGS.len())
                .filter(|at| operator.taken[*at])
                .map(|at| format!("{} {}", SETTINGS[at].1, shown(&values[at])))
                .collect();
            if !operator.grants.is_empty() {
                // Which namespace has them is said by those that are reported.
                taken
                    .push(format!("path grants {}", quoted_list(operator.grants.iter().map(String::as_str))));
            }
            // That the instance is the usual one, or the operator's, changes nothing that anybody looks for.
            let worth_a_line = several || taken.iter().any(|setting| !setting.starts_with(INSTANCE));
            let taken = taken.join(", ");
            let part =
                if several { format!("in {} {taken}", named(&operator.namespaces)) } else { taken.clone() };
            (worth_a_line && !taken.is_empty()).then_some(part)
        });
        let parts: Vec<String> = parts.collect();
        let bindings = counted(self.all().count(), "binding", "bindings");
        (!parts.is_empty())
            .then(|| format!("settings as the status of {bindings} reports: {}", parts.join("; ")))
    }

    /// What is given, and reported otherwise.
    fn differences(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        for (at, (_, name)) in SETTINGS.iter().enumerate() {
            let Some(given) = self.given.said[at].as_ref() else { continue };
            let mut reported: BTreeMap<&String, usize> = BTreeMap::new();
            for report in self.all() {
                *reported.entry(&report.values[at]).or_default() += 1;
            }
            for (value, count) in reported.into_iter().filter(|(value, _)| *value != given) {
                let message = format!(
                    "the {name} given here is {}, but the operator's is {}, as the status of {} reports",
                    shown(given),
                    shown(value),
                    counted(count, "binding", "bindings")
                );
                findings.push(Finding::new(Code::SettingsDiffer, message).hint(
                    "leave the flag or variable out to see what the operator sees, or keep it to see what a change would do",
                ));
            }
        }
        findings.extend(self.other_grants());
        findings
    }

    /// The path grants that are given, where the operator has others.
    fn other_grants(&self) -> Option<Finding> {
        self.given.grants.as_ref()?;
        let path_grants = &self.given.settings.path_grants;
        let differ = self.spaces.iter().filter_map(|(namespace, reports)| {
            let reported = only(reports.iter().map(|report| &report.path_grants))?;
            let given: BTreeSet<String> = path_grants.of(namespace).map(ToString::to_string).collect();
            let reported: BTreeSet<String> = reported.iter().cloned().collect();
            (given != reported).then_some((namespace, given, reported))
        });
        let differ: Vec<_> = differ.collect();
        let (namespace, given, reported) = differ.first()?;
        let said = |grants: &BTreeSet<String>| {
            if grants.is_empty() { "none".to_owned() } else { quoted_list(grants.iter().map(String::as_str)) }
        };
        let more = match differ.len() - 1 {
            0 => String::new(),
            more => format!(" (and {} more)", counted(more, "namespace differs", "namespaces differ")),
        };
        let message = format!(
            "the path grants of namespace `{namespace}` are {} here, but the operator's are {}, as the status of its bindings reports{more}",
            said(given),
            said(reported)
        );
        Some(Finding::new(Code::SettingsDiffer, message).hint(
            "path grants that are given replace all that the operator has: repeat those, too, or leave the flag or variable out to see what the operator sees",
        ))
    }

    /// The namespaces whose bindings do not agree.
    fn disputed(&self, rest: &Values) -> Option<Finding> {
        let mut namespaces: Vec<&Namespace> = Vec::new();
        let mut values: [BTreeSet<&str>; 3] = Default::default();
        let mut grants = false;
        for (namespace, reports) in &self.spaces {
            let mut disputed = false;
            for (at, values) in values.iter_mut().enumerate() {
                if only(reports.iter().map(|report| &report.values[at])).is_none() {
                    values.extend(reports.iter().map(|report| report.values[at].as_str()));
                    disputed = true;
                }
            }
            if only(reports.iter().map(|report| &report.path_grants)).is_none() {
                (disputed, grants) = (true, true);
            }
            namespaces.extend(Some(namespace).filter(|_| disputed));
        }
        if namespaces.is_empty() {
            return None;
        }
        let (mut what, mut flags, mut taken) = (Vec::new(), Vec::new(), Vec::new());
        for (at, (flag, name)) in SETTINGS.iter().enumerate() {
            if values[at].is_empty() {
                continue;
            }
            what.push(format!("{name} {}", quoted_list(values[at].iter().copied())));
            if self.given.said[at].is_none() {
                flags.push(format!("--{flag}"));
                taken.push(format!("{name} {}", shown(&rest[at])));
            }
        }
        if grants {
            what.push("path grants".to_owned());
            if self.given.grants.is_none() {
                flags.push("--path-grant".to_owned());
                taken.push("no path grants".to_owned());
            }
        }
        let message = format!(
            "the status of bindings in {} reports settings that do not agree: {}",
            named(&namespaces),
            what.join(", ")
        );
        let until = match flags.as_slice() {
            [] => "; until then what is given here is taken".to_owned(),
            flags => format!(
                "; until then {} is taken, unless {} says otherwise",
                taken.join(", "),
                flags.join(", ")
            ),
        };
        Some(Finding::new(Code::SettingsDiffer, message).hint(format!(
            "a namespace has one operator, which writes every status anew when its settings change or somebody else wrote one: see that it runs and leads (`kleym check`){until}"
        )))
    }

    /// An instance that reports one thing in one namespace and another in another one: that is one operator in the middle
    /// of a change, or two of one name, or no operator at all.
    fn one_name(&self) -> Option<Finding> {
        let mut by_instance: BTreeMap<&str, BTreeMap<[&str; 2], Vec<&Namespace>>> = BTreeMap::new();
        for (namespace, reports) in &self.spaces {
            let Some([trust_domain, class, instance]) = only(reports.iter().map(|report| &report.values))
            else {
                continue;
            };
            let of_instance = by_instance.entry(instance).or_default();
            of_instance.entry([trust_domain, class]).or_default().push(namespace);
        }
        let (instance, several) = by_instance.into_iter().find(|(_, several)| several.len() > 1)?;
        let each = several.iter().map(|([trust_domain, class], namespaces)| {
            format!(
                "trust domain {} and class {} in {}",
                shown(trust_domain),
                shown(class),
                named(namespaces)
            )
        });
        let each: Vec<String> = each.collect();
        let message = format!(
            "the status of bindings reports the instance {} with different settings: {}",
            shown(instance),
            each.join("; ")
        );
        Some(Finding::new(Code::SettingsDiffer, message).hint(
            "two operators: give each its own --instance. One operator: see that it runs and leads (`kleym check`), for it writes every status anew",
        ))
    }

    /// What cannot be told of a namespace that nobody reports on.
    fn open(&self, everywhere: &[Option<&String>; 3], rest: &Values) -> Option<Open> {
        let open = |at: &usize| self.given.said[*at].is_none() && everywhere[*at].is_none();
        let open: Vec<usize> = (0..SETTINGS.len()).filter(open).collect();
        let taken = open.iter().map(|at| format!("{} {}", SETTINGS[*at].1, shown(&rest[*at])));
        let taken = taken.collect::<Vec<_>>().join(", ");
        let flags = open.iter().map(|at| format!("--{}", SETTINGS[*at].0)).collect::<Vec<_>>().join(", ");
        (!open.is_empty()).then_some(Open { taken, flags })
    }
}

/// Takes path grants back that are none, or that two namespaces of one trust domain would share: every path belongs to one
/// namespace.
fn apart(operators: &mut BTreeMap<Values, Operator<'_>>) -> Vec<Finding> {
    let mut by_domain: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for ([trust_domain, ..], operator) in operators.iter() {
        by_domain.entry(trust_domain.clone()).or_default().extend(operator.grants.iter().cloned());
    }
    let mut findings = Vec::new();
    for (trust_domain, grants) in by_domain {
        let Err(error) = PathGrants::parse(grants.iter().map(String::as_str)) else { continue };
        for (_, operator) in operators.iter_mut().filter(|([own, ..], _)| *own == trust_domain) {
            operator.grants.clear();
        }
        let message = format!(
            "the path grants that the bindings' status reports cannot all be true, so none is taken: {error}"
        );
        findings.push(Finding::new(Code::SettingsDiffer, message).hint(
            "give those of the operator with --path-grant; one operator refuses to start with these, and two of one trust domain must not have them",
        ));
    }
    findings
}

/// A value as it is said; an empty class is none.
pub(super) fn shown(value: &str) -> String {
    if value.is_empty() { "none".to_owned() } else { quoted_list([value]) }
}

/// Namespaces, the first few by name.
fn named(namespaces: &[&Namespace]) -> String {
    let noun = if namespaces.len() == 1 { "namespace" } else { "namespaces" };
    format!("{noun} {}", quoted_list(namespaces.iter().map(|namespace| namespace.as_str())))
}
