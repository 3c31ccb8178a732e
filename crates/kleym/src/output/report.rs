//! Reports on stdout, as JSON or YAML.

use std::io::{self, Write};

use super::objects;
use crate::args::Format;
use crate::reports::{Report, Reported};

/// Prints a report.
pub(crate) fn report(out: &mut dyn Write, format: Format, body: impl Reported) -> io::Result<()> {
    objects(out, format, &[Report::of(body)])
}
