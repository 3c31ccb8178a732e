//! What the engine's settings are: from flags, else from the environment, by the rules that the operator has too; where
//! live bindings are looked at, in a cluster or in files made of one, else from what their status reports
//! ([`with_status`]), and where none has a status from what else there is ([`Chosen::completed`]).

mod elsewhere;
mod reported;

use kleym_core::settings::given::{BadSetting, Environment, one};
use kleym_core::settings::{Settings, TypedSettings};

use crate::args;
use crate::exit::Failure;

pub(crate) use self::elsewhere::{About, Source};
pub(crate) use self::reported::{Chosen, live, with_status};

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
