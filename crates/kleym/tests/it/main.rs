//! The `kleym` binary as people run it: exit code, stdout and stderr.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod agree;
mod astray;
mod book;
mod check;
mod corpus;
mod diff;
mod explain;
mod graph;
mod hostile;
mod inspect;
mod lint;
mod live;
mod manifests;
mod misuse;
mod operators;
mod paths;
mod render;
mod run;
mod sarif;
mod schemas;
mod settings;
mod status;
mod tools;
mod unsaid;
mod yaml;
