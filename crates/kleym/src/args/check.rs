//! `kleym check`

use clap::Args;
use clap_complete::engine::ArgValueCompleter;

use super::{Connection, Format, Manager, Settings, Strictness};
use crate::complete;

/// See whether Kleym can work in a cluster, and whether it does
///
/// Looks at definitions, the operator, spire-controller-manager (SCM) and every output, with one paged list a kind and
/// nothing an object. What may not be read is said, with verb and resource, and the rest is still looked at.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  kleym check
  kleym check -n llm
  kleym check --scm-class-name spire-server-spire --scm-ignore-namespaces kube-system")]
pub(crate) struct Check {
    /// Namespace whose bindings and outputs are looked at; by default all
    #[arg(long, short, value_name = "NAME", add = ArgValueCompleter::new(complete::namespaces))]
    pub(crate) namespace: Option<String>,

    /// All namespaces, as without -n
    #[arg(long, short = 'A', conflicts_with = "namespace")]
    pub(crate) all_namespaces: bool,

    /// How the answer is printed; by default for people
    #[arg(long, short, value_enum, value_name = "FORMAT")]
    pub(crate) output: Option<Format>,

    #[command(flatten)]
    pub(crate) strictness: Strictness,

    #[command(flatten)]
    pub(crate) connection: Connection,

    #[command(flatten)]
    pub(crate) manager: Manager,

    #[command(flatten)]
    pub(crate) settings: Settings,
}
