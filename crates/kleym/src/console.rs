//! Where answers and remarks go: data to stdout, everything else to stderr, with colour only where it is wanted.

use std::io::{self, BufWriter, IsTerminal, Write};

use kleym_core::settings::given::Environment;

use crate::args::Color;

/// The two streams.
pub(crate) struct Console {
    /// For data.
    pub(crate) out: Box<dyn Write>,
    /// For everything else.
    pub(crate) err: Box<dyn Write>,
    /// Whether stderr takes colour.
    pub(crate) color: bool,
    /// Whether stdout takes colour.
    pub(crate) color_out: bool,
    /// Whether to say what was read.
    pub(crate) verbose: bool,
}

impl Console {
    /// The process's own streams.
    pub(crate) fn new(color: Color, verbose: bool, environment: Environment<'_>) -> Self {
        let set = |name: &str| environment(name).is_some_and(|value| !value.is_empty());
        let dumb = environment("TERM").is_some_and(|term| term == "dumb");
        let on = |terminal: bool| match color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => terminal && !set("NO_COLOR") && !dumb,
        };
        Self {
            out: Box::new(BufWriter::new(io::stdout())),
            err: Box::new(BufWriter::new(io::stderr())),
            color: on(io::stderr().is_terminal()),
            color_out: on(io::stdout().is_terminal()),
            verbose,
        }
    }

    /// A line on stderr. Remarks that nobody can read are no failure.
    pub(crate) fn remark(&mut self, line: &str) {
        drop(writeln!(self.err, "{line}"));
    }
}
