//! `kleym`: what the operator would decide, from files, and why. Read-only.
//!
//! What was typed ([`args`]) becomes what was meant (each command's own request, with its settings checked), and that
//! is done ([`commands`]). Data goes to stdout, everything else to stderr; [`exit`] picks the exit code. Everything that
//! is decided is decided by the engine that the operator runs.

mod args;
mod commands;
mod console;
mod declared;
mod exit;
mod output;
mod settings;
mod source;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().collect();
    exit::guarded(|| commands::run(arguments, &|name| std::env::var_os(name))).into()
}
