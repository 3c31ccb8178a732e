//! What an administrator configures and every decision depends on.

use crate::name::{ClassName, Instance, Namespace};
use crate::spiffe::{PathGrants, PathPrefix, TrustDomain};

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

impl Settings {
    /// The prefixes granted to a namespace.
    pub fn grants_of(&self, namespace: &Namespace) -> impl Iterator<Item = &PathPrefix> {
        self.path_grants.of(namespace)
    }
}
