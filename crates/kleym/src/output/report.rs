//! Reports on stdout, as JSON or YAML.

use std::io::{self, Write};

use serde::Serialize;

use super::objects;
use crate::args::Format;
use crate::reports::{Report, Reported};

/// Prints a report.
pub(crate) fn report(out: &mut dyn Write, format: Format, body: impl Reported + Serialize) -> io::Result<()> {
    objects(out, format, &[Report::of(body)])
}
