//! The `kleym` binary as people run it: exit code, stdout and stderr.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod book;
mod check;
mod explain;
mod graph;
mod hostile;
mod live;
mod manifests;
mod paths;
mod render;
mod run;
mod settings;
mod status;
mod yaml;
