//! `kleym lint`

use clap::{Args, ValueEnum};

use super::{Manager, Selector, Settings, Source, Strictness};

/// Say what is wrong with the bindings in files, and where
///
/// Findings go to stdout, in the chosen format, with the line of the file that shows them. Files that come from a cluster
/// are looked at like one: what bindings report, what was written for them, which pods run, and what
/// spire-controller-manager (SCM) makes of it. Engine settings default to what the bindings' status reports.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  kleym lint -f deploy/ -R
  kustomize build . | kleym lint -f - --strict
  kleym lint -f deploy/ -o sarif > kleym.sarif")]
pub(crate) struct Lint {
    #[command(flatten)]
    pub(crate) source: Source,

    #[command(flatten)]
    pub(crate) selector: Selector,

    #[command(flatten)]
    pub(crate) strictness: Strictness,

    /// How the findings are printed
    #[arg(long, short, value_enum, value_name = "FORMAT", default_value_t = LintFormat::Text)]
    pub(crate) output: LintFormat,

    #[command(flatten)]
    pub(crate) manager: Manager,

    #[command(flatten)]
    pub(crate) settings: Settings,
}

/// How findings are printed.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LintFormat {
    /// With the line of the file and a mark under what is meant
    Text,
    /// A LintReport
    Json,
    /// A LintReport
    Yaml,
    /// A table, for a comment on a pull request
    Markdown,
    /// Annotations of a workflow on GitHub
    Github,
    /// SARIF 2.1.0, for code scanning
    Sarif,
    /// JUnit XML, a test case for each binding
    Junit,
}
