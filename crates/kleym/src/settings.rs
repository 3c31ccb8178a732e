//! What the engine's settings are: from flags, else from the environment, by the rules that the operator has too.

use kleym_core::settings::given::{BadSetting, Environment};
use kleym_core::settings::{Settings, TypedSettings};

use crate::args;
use crate::exit::Failure;

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
