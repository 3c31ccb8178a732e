//! `kleym check`

use clap::Args;

use super::{Connection, Format, Manager, Scope, Settings, Strictness};

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
    #[command(flatten)]
    pub(crate) scope: Scope,

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
