//! `kleym diff`

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::{Connection, Scope, Settings};

/// Show what files would change: bindings, outputs, and which pods gain and lose which identity
///
/// The files are laid over the cluster, as applying them would; with --from they are compared with other files, and no
/// cluster is asked. Objects that are only in the cluster stay; objects that are only in --from go.
///
/// Pods, the flags of the operator's Deployment and the settings of spire-controller-manager may be in the files too; what
/// only one side of files speaks of at all counts for both. Engine settings default to what the bindings' status reports, in
/// files too. Pods are those that there are: of a Deployment or another workload in files no pod is made up.
///
/// Exit codes: 0 nothing changes, 1 something changes, 2 the change introduces error findings, 4 and 5 as everywhere.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  kleym diff -f pr/
  kleym diff --from main/ -f pr/ -R
  kustomize build . | kleym diff -f - -o json")]
pub(crate) struct Diff {
    /// What is new: file, folder, or - for standard input; repeatable, or separated by commas
    #[arg(long, short, value_name = "PATH", required = true)]
    pub(crate) filename: Vec<PathBuf>,

    /// Compare with these files instead of a cluster; repeatable
    #[arg(long, value_name = "PATH", conflicts_with_all = ["kubeconfig", "context", "impersonate"])]
    pub(crate) from: Vec<PathBuf>,

    /// Read sub-folders too
    #[arg(long, short = 'R')]
    pub(crate) recursive: bool,

    #[command(flatten)]
    pub(crate) scope: Scope,

    /// How the difference is printed
    #[arg(long, short, value_enum, value_name = "FORMAT", default_value_t = DiffFormat::Text)]
    pub(crate) output: DiffFormat,

    #[command(flatten)]
    pub(crate) connection: Connection,

    #[command(flatten)]
    pub(crate) settings: Settings,
}

/// How a difference is printed.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DiffFormat {
    /// For people
    Text,
    /// A DiffReport
    Json,
    /// A DiffReport
    Yaml,
    /// Tables, for a comment on a pull request
    Markdown,
}
