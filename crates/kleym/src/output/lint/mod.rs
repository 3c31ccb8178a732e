//! Findings in the formats that other tools read. One file a format; none of them decides what is a finding.

mod github;
mod junit;
mod markdown;
mod sarif;

pub(crate) use self::github::github;
pub(crate) use self::junit::junit;
pub(crate) use self::markdown::{cell, findings_table, markdown};
pub(crate) use self::sarif::sarif;
