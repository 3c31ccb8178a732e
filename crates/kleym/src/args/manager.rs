//! What spire-controller-manager is configured with, where its ConfigMap cannot be read.

use clap::Args;

/// Settings of spire-controller-manager.
#[derive(Args, Debug, Default)]
#[command(next_help_heading = "spire-controller-manager (SCM), in place of what its ConfigMap says")]
pub(crate) struct Manager {
    /// Namespace of SCM's ConfigMap; by default namespaces with `spire` in their name are looked through
    #[arg(long, value_name = "NAME")]
    pub(crate) scm_namespace: Option<String>,

    /// Class that SCM watches (its `className`); empty for none
    #[arg(long, value_name = "NAME")]
    pub(crate) scm_class_name: Option<String>,

    /// Whether SCM watches objects without a class (its `watchClassless`)
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub(crate) scm_watch_classless: Option<bool>,

    /// Namespaces that SCM leaves out, as regular expressions (its `ignoreNamespaces`); repeatable
    #[arg(long, value_name = "REGEX", value_delimiter = ',')]
    pub(crate) scm_ignore_namespaces: Option<Vec<String>>,
}
