//! What can be typed after `kleym graph`.

use clap::{Args, ValueEnum};

use super::{Input, Manager, Selector, Settings};

/// Draw who can be whom: from the pool over objective, binding and output to pods and SPIFFE IDs
///
/// Red: two bindings claim the same, or one container is given identities that exclude each other. Dashed: a fallback
/// identity that pods no longer have. Grey: it matches nothing. The page (-o html) is one file that needs no network; it
/// holds a table and the overlap of every two bindings, too.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  kleym graph -A -o html > map.html
  kleym graph -n llm -l team=search
  kleym graph -f examples/quickstart/ -o dot | dot -Tsvg > map.svg")]
pub(crate) struct Graph {
    #[command(flatten)]
    pub(crate) input: Input,

    #[command(flatten)]
    pub(crate) selector: Selector,

    /// What the map is drawn as
    #[arg(long, short, value_enum, value_name = "FORMAT", default_value_t = Drawing::Mermaid)]
    pub(crate) output: Drawing,

    #[command(flatten)]
    pub(crate) manager: Manager,

    #[command(flatten)]
    pub(crate) settings: Settings,
}

/// What a map is drawn as.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Drawing {
    /// A Mermaid flowchart, which many pages render.
    Mermaid,
    /// Graphviz's language.
    Dot,
    /// One page for a browser, with search, a table and the overlap matrix; it needs no network.
    Html,
    /// For programs.
    Json,
}
