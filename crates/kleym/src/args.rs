//! What can be typed. Nothing is checked here but the shape; what it means is each command's business.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Who the pods of your inference pools are: identities computed from declared objects
///
/// Reads files and never writes to a cluster. Everything it says comes from the engine that the operator runs.
///
/// Exit codes: 0 fine, 2 error findings (with --strict warnings too), 4 wrong usage or an unreadable path, 5 internal
/// error.
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
    /// Print the version
    Version,
}

/// Print the ClusterSPIFFEIDs that the operator would write for the bindings in files
///
/// The annotation `kleym.sonda.red/binding-uid` is there only for bindings whose files carry a uid. Findings go to
/// stderr.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  kleym render -f examples/quickstart/
  kustomize build . | kleym render -f -
  kleym render -f pr/ -R --trust-domain example.org -o json")]
pub(crate) struct Render {
    #[command(flatten)]
    pub(crate) source: Source,

    #[command(flatten)]
    pub(crate) strictness: Strictness,

    /// How the objects are printed
    #[arg(long, short, value_enum, value_name = "FORMAT", default_value_t = Format::Yaml)]
    pub(crate) output: Format,

    #[command(flatten)]
    pub(crate) settings: Settings,
}

/// How objects are printed.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// Documents separated by `---`.
    Yaml,
    /// One object, or a List of them.
    Json,
}

/// Where the objects are.
#[derive(Args, Debug)]
pub(crate) struct Source {
    /// File, folder with .yaml, .yml and .json files, or - for standard input; repeatable
    #[arg(long, short, value_name = "PATH", required = true)]
    pub(crate) filename: Vec<PathBuf>,

    /// Read sub-folders too
    #[arg(long, short = 'R')]
    pub(crate) recursive: bool,

    /// Namespace of objects that name none
    #[arg(long, short, value_name = "NAME", default_value = "default")]
    pub(crate) namespace: String,
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
