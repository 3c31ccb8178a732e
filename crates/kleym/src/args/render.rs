//! `kleym render`

use clap::Args;

use super::{Format, Selector, Settings, Source, Strictness};

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
    pub(crate) selector: Selector,

    #[command(flatten)]
    pub(crate) strictness: Strictness,

    /// How the objects are printed
    #[arg(long, short, value_enum, value_name = "FORMAT", default_value_t = Format::Yaml)]
    pub(crate) output: Format,

    #[command(flatten)]
    pub(crate) settings: Settings,
}
