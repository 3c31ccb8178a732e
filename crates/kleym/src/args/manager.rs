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

impl Manager {
    /// The flag that was typed in place of a setting of SCM.
    pub(crate) fn flag_of(&self, setting: &str) -> Option<&'static str> {
        match setting {
            "className" => self.scm_class_name.as_ref().map(|_| "--scm-class-name"),
            "watchClassless" => self.scm_watch_classless.map(|_| "--scm-watch-classless"),
            "ignoreNamespaces" => self.scm_ignore_namespaces.as_ref().map(|_| "--scm-ignore-namespaces"),
            _ => None,
        }
    }
}
