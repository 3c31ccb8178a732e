//! Log lines on standard error: text for people, JSON for machines.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::settings::{Configuration, LogFormat};

/// The filter, with the library's words on calls left out unless somebody asks for them: it gives the whole of what cannot
/// be read, and says of what failed neither what it was nor why, both of which our own lines do.
fn with_library(filter: &str) -> String {
    if filter.contains("kube") { filter.to_owned() } else { format!("{filter},kube_client::client=off") }
}

/// Sets up logging for the process.
pub fn start(configuration: &Configuration) {
    // The filter was checked with the flags.
    let filter = with_library(&configuration.log_filter);
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info"));
    // What nobody reads any more cannot be complained about either.
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .log_internal_errors(false);
    match configuration.log_format {
        LogFormat::Text => subscriber.with_ansi(std::io::stderr().is_terminal()).with_target(false).init(),
        LogFormat::Json => subscriber.json().flatten_event(true).with_current_span(false).init(),
    }
}
