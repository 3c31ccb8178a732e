//! `kleym`: what the operator would decide, from files or a live cluster, and why. Read-only.
//!
//! What was typed (`args`) becomes what was meant (each command's own request, with its settings checked), and that
//! is done (`commands`). Data goes to stdout, everything else to stderr; `exit` picks the exit code. Everything that
//! is decided is decided by the engine that the operator runs.
//!
//! A library only so that pages and schemas can be generated from it; nothing else is meant to build on it.

mod agents;
mod args;
mod commands;
mod complete;
mod console;
mod declared;
mod deployment;
mod exit;
mod foresight;
#[cfg(fuzzing)]
pub mod fuzzing;
mod labels;
mod manager;
mod map;
mod output;
pub mod reports;
mod rows;
mod settings;
mod sides;
mod sight;
mod source;
mod survey;

use std::process::ExitCode;

/// The program: runs what this process was called with.
pub fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().collect();
    exit::guarded(|| commands::run(arguments, &|name| std::env::var_os(name))).into()
}

/// Everything that can be typed, for pages that are generated from it.
pub fn command_line() -> clap::Command {
    <args::Arguments as clap::CommandFactory>::command()
}
