//! Fact to wire: the objects that Kleym writes, exactly as the engine wants them. Nothing is decided here.

mod output;
mod status;

pub use output::{cluster_spiffe_id, replacement};
pub use status::{StatusDigest, StatusSeen, contradicts, status};
