//! `kleym status`

use clap::Args;

use super::{Input, Selector, Settings, Strictness, View};

/// Show how every binding stands: one row each, and what is wrong
///
/// Of a cluster, and of files that hold statuses, the rows show what the operator reported; where the engine, reading the
/// same, comes to another verdict, that is a finding. Of a binding in a file without a status they show what the engine
/// decides. Findings go to stderr. Engine settings default to what the bindings' status reports.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  kleym status
  kleym status -A -o wide
  kleym status -n llm -l team=search --watch
  kleym status -f examples/quickstart/ -A")]
pub(crate) struct Status {
    #[command(flatten)]
    pub(crate) input: Input,

    #[command(flatten)]
    pub(crate) selector: Selector,

    /// After the table, go on showing every binding that changes
    #[arg(long, short, conflicts_with_all = ["filename", "output"])]
    pub(crate) watch: bool,

    /// How the report is printed; by default as a table
    #[arg(long, short, value_enum, value_name = "FORMAT")]
    pub(crate) output: Option<View>,

    #[command(flatten)]
    pub(crate) strictness: Strictness,

    #[command(flatten)]
    pub(crate) settings: Settings,
}
