//! What the engine's settings are: from flags, else from the environment. The same rules as the operator's: a flag wins
//! over its variable, even an empty one; an empty variable counts as not set, a blank one is an error; repeatable flags
//! are comma-separated in the environment. A pure function: the environment is passed in.

use std::ffi::OsString;
use std::fmt;

use kleym_core::name::{ClassName, Instance};
use kleym_core::settings::{DEFAULT_INSTANCE, DEFAULT_TRUST_DOMAIN, Settings};
use kleym_core::spiffe::{PathGrants, TrustDomain};
use kleym_core::text::Quoted;

use crate::args;
use crate::exit::Failure;

/// What a variable holds.
pub(crate) type Environment<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// A flag or variable that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BadSetting {
    /// `--trust-domain`, or `KLEYM_TRUST_DOMAIN` when it came from the environment.
    name: String,
    /// What is wrong with it.
    problem: String,
}

impl fmt::Display for BadSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.problem)
    }
}

impl From<BadSetting> for Failure {
    fn from(bad: BadSetting) -> Self {
        Failure::unusable(bad.to_string())
    }
}

/// A value with where it came from, for messages.
struct Given {
    name: String,
    value: String,
}

impl Given {
    fn bad(&self, problem: impl fmt::Display) -> BadSetting {
        BadSetting { name: self.name.clone(), problem: format!("{} {problem}", Quoted(&self.value)) }
    }

    fn default(flag: &str, value: &str) -> Self {
        Self { name: format!("--{flag}"), value: value.to_owned() }
    }
}

fn one(
    flag: &str,
    typed: Option<&String>,
    environment: Environment<'_>,
) -> Result<Option<Given>, BadSetting> {
    if let Some(value) = typed {
        return Ok(Some(Given { name: format!("--{flag}"), value: value.clone() }));
    }
    let name = format!("KLEYM_{}", flag.replace('-', "_").to_ascii_uppercase());
    let Some(value) = environment(&name) else { return Ok(None) };
    let Ok(value) = value.into_string() else {
        return Err(BadSetting { name, problem: "is not valid Unicode".to_owned() });
    };
    match value.trim() {
        _ if value.is_empty() => Ok(None),
        "" => Err(BadSetting { name, problem: "is blank; give it a value or unset it".to_owned() }),
        _ => Ok(Some(Given { name, value })),
    }
}

fn several(flag: &str, typed: &[String], environment: Environment<'_>) -> Result<Vec<Given>, BadSetting> {
    if !typed.is_empty() {
        return Ok(typed.iter().map(|value| Given::default(flag, value)).collect());
    }
    let Some(all) = one(flag, None, environment)? else { return Ok(Vec::new()) };
    let each = |value: &str| Given { name: all.name.clone(), value: value.trim().to_owned() };
    Ok(all.value.split(',').map(each).collect())
}

/// What the flags and the environment mean together.
///
/// # Errors
/// The first setting that cannot be used.
pub(crate) fn settings(typed: &args::Settings, environment: Environment<'_>) -> Result<Settings, BadSetting> {
    let args::Settings { trust_domain, class_name, path_grants, instance } = typed;
    let trust_domain = one("trust-domain", trust_domain.as_ref(), environment)?
        .unwrap_or_else(|| Given::default("trust-domain", DEFAULT_TRUST_DOMAIN));
    let instance = one("instance", instance.as_ref(), environment)?
        .unwrap_or_else(|| Given::default("instance", DEFAULT_INSTANCE));
    let class_name = one("clusterspiffeid-class-name", class_name.as_ref(), environment)?
        .filter(|class| !class.value.is_empty());
    let grants = several("path-grant", path_grants, environment)?;
    let path_grants =
        PathGrants::parse(grants.iter().map(|grant| grant.value.as_str())).map_err(|error| {
            let name = grants.first().map_or_else(|| "--path-grant".to_owned(), |grant| grant.name.clone());
            BadSetting { name, problem: error.to_string() }
        })?;
    Ok(Settings {
        trust_domain: TrustDomain::parse(&trust_domain.value).map_err(|error| trust_domain.bad(error))?,
        class_name: class_name
            .map(|class| ClassName::parse(&class.value).map_err(|error| class.bad(error)))
            .transpose()?,
        instance: Instance::parse(&instance.value).map_err(|error| instance.bad(error))?,
        path_grants,
    })
}
