//! Log lines on standard error: text for people, JSON for machines.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::settings::{Configuration, LogFormat};

/// Sets up logging for the process.
pub fn start(configuration: &Configuration) {
    // The filter was checked with the flags. kube's spans would repeat what our own lines say.
    let filter = EnvFilter::try_new(&configuration.log_filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match configuration.log_format {
        LogFormat::Text => subscriber.with_ansi(std::io::stderr().is_terminal()).with_target(false).init(),
        LogFormat::Json => subscriber.json().flatten_event(true).with_current_span(false).init(),
    }
}
