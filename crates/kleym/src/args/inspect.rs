//! `kleym inspect`

use clap::Args;
use clap_complete::engine::ArgValueCompleter;

use super::{Input, Manager, Settings, Strictness, View};
use crate::complete;

/// Show everything about one binding: what it declares, what the engine computes, what its status says, what its output
/// holds, its peers and its pods
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  kleym inspect binding chat -n llm
  kleym inspect binding/chat -o yaml
  kleym inspect binding chat -f examples/quickstart/")]
pub(crate) struct Inspect {
    /// The binding: `binding NAME` or `binding/NAME`
    #[arg(value_name = "TYPE/NAME | TYPE NAME", add = ArgValueCompleter::new(complete::bindings))]
    pub(crate) object: String,

    /// The name, behind a type
    #[arg(value_name = "NAME", hide = true, add = ArgValueCompleter::new(complete::bindings))]
    pub(crate) name: Option<String>,

    #[command(flatten)]
    pub(crate) input: Input,

    /// How the report is printed; by default for people
    #[arg(long, short, value_enum, value_name = "FORMAT")]
    pub(crate) output: Option<View>,

    #[command(flatten)]
    pub(crate) strictness: Strictness,

    #[command(flatten)]
    pub(crate) manager: Manager,

    #[command(flatten)]
    pub(crate) settings: Settings,
}
