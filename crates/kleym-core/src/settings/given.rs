//! Settings as a person gives them: a flag, else its environment variable. One set of rules for the operator and the
//! command line. The environment is passed in; nothing is read here.
//!
//! A flag wins over its variable, even an empty one; an empty variable counts as not set, a blank one is an error;
//! repeatable flags are comma-separated in the environment.

use std::ffi::OsString;
use std::fmt;

use crate::text::Quoted;

/// What a variable holds, if it is set.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// A flag or variable that cannot be used: one line that names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadSetting {
    /// `--trust-domain`, or `KLEYM_TRUST_DOMAIN` when it came from the environment.
    pub name: String,
    /// What is wrong with it.
    pub problem: String,
}

impl fmt::Display for BadSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.problem)
    }
}

impl std::error::Error for BadSetting {}

/// A value with where it came from, for messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    /// The flag or the variable.
    pub name: String,
    /// As it was given.
    pub value: String,
}

impl Given {
    /// The value of a flag.
    pub fn flag(flag: &str, value: &str) -> Self {
        Self { name: format!("--{flag}"), value: value.to_owned() }
    }

    /// What to do about it, where a list stands in a flag that takes one value each time; in a variable it would be right.
    pub fn list_hint(&self) -> &'static str {
        let list = self.name.starts_with("--") && self.value.contains(',');
        if list { "; repeat the flag for each, only its variable takes a list with commas" } else { "" }
    }

    /// Says that the value cannot be used, and why: ``--instance: `a b` has a space``.
    pub fn bad(&self, problem: impl fmt::Display) -> BadSetting {
        BadSetting { name: self.name.clone(), problem: format!("{} {problem}", Quoted(&self.value)) }
    }
}

/// The value of a flag, else of its variable `KLEYM_<FLAG>`.
///
/// # Errors
/// When the variable is blank or not Unicode.
pub fn one(
    flag: &str,
    typed: Option<&String>,
    environment: Environment<'_>,
) -> Result<Option<Given>, BadSetting> {
    if let Some(value) = typed {
        return Ok(Some(Given::flag(flag, value)));
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

/// The value of a flag, else of its variable, else the default.
///
/// # Errors
/// As [`one`].
pub fn or_default(
    flag: &str,
    typed: Option<&String>,
    default: &str,
    environment: Environment<'_>,
) -> Result<Given, BadSetting> {
    Ok(one(flag, typed, environment)?.unwrap_or_else(|| Given::flag(flag, default)))
}

/// The values of a repeatable flag, else of its comma-separated variable.
///
/// # Errors
/// As [`one`].
pub fn several(flag: &str, typed: &[String], environment: Environment<'_>) -> Result<Vec<Given>, BadSetting> {
    if !typed.is_empty() {
        return Ok(typed.iter().map(|value| Given::flag(flag, value)).collect());
    }
    let Some(all) = one(flag, None, environment)? else { return Ok(Vec::new()) };
    let each = |value: &str| Given { name: all.name.clone(), value: value.trim().to_owned() };
    Ok(all.value.split(',').map(each).collect())
}
