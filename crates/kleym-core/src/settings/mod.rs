//! What an administrator configures and every decision depends on.

mod by_namespace;
pub mod given;

use crate::name::{ClassName, Instance, Namespace};
use crate::spiffe::{PathGrants, PathPrefix, TrustDomain};
use given::{BadSetting, Environment, Given};

pub use self::by_namespace::SettingsByNamespace;

/// The operator's configuration as the engine sees it; the same in the operator and in the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The trust domain of every identity.
    pub trust_domain: TrustDomain,
    /// The class that spire-controller-manager watches, if it watches one.
    pub class_name: Option<ClassName>,
    /// Which operator this is; part of every output's name.
    pub instance: Instance,
    /// Prefixes outside `/ns/`, by namespace.
    pub path_grants: PathGrants,
}

/// The default of `--trust-domain`.
pub const DEFAULT_TRUST_DOMAIN: &str = "kleym.sonda.red";
/// The default of `--instance`.
pub const DEFAULT_INSTANCE: &str = "default";

/// The engine's flags as they were typed.
#[derive(Debug, Clone, Copy)]
pub struct TypedSettings<'a> {
    /// `--trust-domain`
    pub trust_domain: Option<&'a String>,
    /// `--clusterspiffeid-class-name`
    pub class_name: Option<&'a String>,
    /// `--instance`
    pub instance: Option<&'a String>,
    /// `--path-grant`, repeatable
    pub path_grants: &'a [String],
}

impl Settings {
    /// What the flags and the environment mean together.
    ///
    /// # Errors
    /// The first setting that cannot be used.
    pub fn given(typed: TypedSettings<'_>, environment: Environment<'_>) -> Result<Self, BadSetting> {
        let trust_domain =
            given::or_default("trust-domain", typed.trust_domain, DEFAULT_TRUST_DOMAIN, environment)?;
        let instance = given::or_default("instance", typed.instance, DEFAULT_INSTANCE, environment)?;
        // Said explicitly, the empty class means none.
        let class_name = given::one("clusterspiffeid-class-name", typed.class_name, environment)?
            .filter(|class| !class.value.is_empty());
        let mut grants = given::several("path-grant", typed.path_grants, environment)?;
        // Said explicitly, the empty grant means none, whatever the variable holds.
        grants.retain(|grant| !(grant.value.is_empty() && grant.name.starts_with("--")));
        let path_grants =
            PathGrants::parse(grants.iter().map(|grant| grant.value.as_str())).map_err(|error| {
                let name =
                    grants.first().map_or_else(|| "--path-grant".to_owned(), |grant| grant.name.clone());
                let hint = grants.iter().map(Given::list_hint).find(|hint| !hint.is_empty()).unwrap_or("");
                BadSetting { name, problem: format!("{error}{hint}") }
            })?;
        let class = |class: Given| ClassName::parse(&class.value).map_err(|error| class.bad(error));
        Ok(Self {
            trust_domain: TrustDomain::parse(&trust_domain.value).map_err(|error| trust_domain.bad(error))?,
            class_name: class_name.map(class).transpose()?,
            instance: Instance::parse(&instance.value).map_err(|error| instance.bad(error))?,
            path_grants,
        })
    }

    /// The prefixes granted to a namespace.
    pub fn grants_of(&self, namespace: &Namespace) -> impl Iterator<Item = &PathPrefix> {
        self.path_grants.of(namespace)
    }
}
