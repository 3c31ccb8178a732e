//! What can be typed. Nothing is checked here but the shape; what it means is each command's business. What several
//! commands take is here; each command's own flags are in a module of its name.

mod check;
mod deadline;
mod diff;
mod explain;
mod graph;
mod inspect;
mod lint;
mod manager;
mod render;
mod status;
mod tools;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::engine::ArgValueCompleter;

pub(crate) use self::check::Check;
pub(crate) use self::deadline::Deadline;
pub(crate) use self::diff::{Diff, DiffFormat};
pub(crate) use self::explain::Explain;
pub(crate) use self::graph::{Drawing, Graph};
pub(crate) use self::inspect::Inspect;
pub(crate) use self::lint::{Lint, LintFormat};
pub(crate) use self::manager::Manager;
pub(crate) use self::render::Render;
pub(crate) use self::status::Status;
pub(crate) use self::tools::{Complete, Completion, Crd, Man, Shell, Version};
use crate::complete;

/// Who the pods of your inference pools are: identities computed from declared objects
///
/// Reads files and clusters and never writes to a cluster. Everything it says comes from the engine that the operator
/// runs.
///
/// Exit codes: 0 fine, 2 error findings (with --strict warnings too), 3 not found, 4 wrong usage, an unreadable path, no
/// connection or no permission, 5 internal error.
#[derive(Parser, Debug)]
#[command(name = "kleym", version, arg_required_else_help = true, max_term_width = 110)]
pub(crate) struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,

    /// When to use colour on stderr
    #[arg(long, global = true, value_enum, value_name = "WHEN", default_value_t = Color::Auto)]
    pub(crate) color: Color,

    /// Say what was read and what was ignored
    #[arg(long, short, global = true)]
    pub(crate) verbose: bool,
}

/// When to use colour.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Color {
    /// On a terminal, unless NO_COLOR is set.
    Auto,
    /// Even into a pipe.
    Always,
    /// Not at all.
    Never,
}

/// The commands.
#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    Render(Render),
    Lint(Lint),
    Diff(Diff),
    Status(Status),
    Explain(Explain),
    Check(Check),
    Graph(Graph),
    Inspect(Inspect),
    Crd(Crd),
    Completion(Completion),
    Man(Man),
    Version(Version),
    #[command(name = "__complete", hide = true)]
    Complete(Complete),
}

/// How objects are printed.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// Documents separated by `---`.
    Yaml,
    /// One object, or a List of them.
    Json,
}

/// How a report is printed, as with `kubectl get -o`.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum View {
    /// A table with more columns
    Wide,
    /// The whole report as JSON
    Json,
    /// The whole report as YAML
    Yaml,
    /// Only the names, as TYPE/NAME
    Name,
}

/// Where the objects are: files alone.
#[derive(Args, Debug)]
pub(crate) struct Source {
    /// File, folder with .yaml, .yml and .json files, or - for standard input; repeatable, or separated by commas
    #[arg(long, short, value_name = "PATH", required = true)]
    pub(crate) filename: Vec<PathBuf>,

    /// Read sub-folders too
    #[arg(long, short = 'R')]
    pub(crate) recursive: bool,

    /// Namespace of objects that name none
    #[arg(long, short, value_name = "NAME", default_value = "default")]
    pub(crate) namespace: String,
}

/// Where the objects are: in a cluster, unless files are given.
#[derive(Args, Debug, Default, Clone)]
pub(crate) struct Input {
    /// Read files instead of a cluster: file, folder, or - for standard input; repeatable, or separated by commas
    #[arg(long, short, value_name = "PATH")]
    pub(crate) filename: Vec<PathBuf>,

    /// Read sub-folders too
    #[arg(long, short = 'R', requires = "filename")]
    pub(crate) recursive: bool,

    #[command(flatten)]
    pub(crate) scope: Scope,

    #[command(flatten)]
    pub(crate) connection: Connection,
}

/// Which bindings.
#[derive(Args, Debug, Default, Clone)]
pub(crate) struct Selector {
    /// Only bindings with these labels
    #[arg(long, short = 'l', value_name = "SELECTOR")]
    pub(crate) selector: Option<String>,
}

/// Which namespaces.
#[derive(Args, Debug, Default, Clone)]
pub(crate) struct Scope {
    /// Namespace; by default the context's, and for files all; objects of files that name none are in it
    #[arg(long, short, value_name = "NAME", add = ArgValueCompleter::new(complete::namespaces))]
    pub(crate) namespace: Option<String>,

    /// All namespaces
    #[arg(long, short = 'A', conflicts_with = "namespace")]
    pub(crate) all_namespaces: bool,
}

/// Which cluster, and as whom, as with kubectl.
#[derive(Args, Debug, Default, Clone)]
#[command(next_help_heading = "Cluster, as with kubectl")]
pub(crate) struct Connection {
    /// kubeconfig to use instead of KUBECONFIG and ~/.kube/config
    #[arg(long, value_name = "PATH")]
    pub(crate) kubeconfig: Option<PathBuf>,

    /// Context of the kubeconfig
    #[arg(long, value_name = "NAME", add = ArgValueCompleter::new(complete::contexts))]
    pub(crate) context: Option<String>,

    /// User to impersonate
    #[arg(long = "as", value_name = "USER")]
    pub(crate) impersonate: Option<String>,

    /// Group to impersonate; repeatable
    #[arg(long = "as-group", value_name = "GROUP", requires = "impersonate")]
    pub(crate) impersonate_groups: Vec<String>,

    /// How long one request may take, such as 10s or 2m; 0 for as long as it takes
    #[arg(long, value_name = "DURATION", default_value = "30s")]
    pub(crate) request_timeout: Deadline,
}

/// What the operator is configured with; the names are its own.
#[derive(Args, Debug, Default)]
#[command(next_help_heading = "Engine settings, as the operator's; each also as a variable KLEYM_<FLAG>")]
pub(crate) struct Settings {
    /// Trust domain of every SPIFFE ID [default: kleym.sonda.red]
    #[arg(long, value_name = "NAME")]
    pub(crate) trust_domain: Option<String>,

    /// Class that spire-controller-manager watches; none by default
    #[arg(long = "clusterspiffeid-class-name", value_name = "NAME")]
    pub(crate) class_name: Option<String>,

    /// Grants a namespace the SPIFFE ID paths below a prefix; repeatable
    #[arg(long = "path-grant", value_name = "NAMESPACE=PREFIX")]
    pub(crate) path_grants: Vec<String>,

    /// Name of the operator, part of every output's name [default: default]
    #[arg(long, value_name = "NAME")]
    pub(crate) instance: Option<String>,
}

/// What makes the exit code 2.
#[derive(Args, Debug)]
pub(crate) struct Strictness {
    /// Exit with 2 for warnings too
    #[arg(long)]
    pub(crate) strict: bool,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_of_the_arguments_is_consistent() {
        Arguments::command().debug_assert();
    }
}
