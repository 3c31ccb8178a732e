//! `kleym-operator`: reads its settings, then runs.

use std::process::ExitCode;

use clap::Parser;
use kleym_operator::settings::Flags;
use kleym_operator::{log, run};

fn main() -> ExitCode {
    let flags = Flags::parse();
    let configuration = match flags.resolve(&|name| std::env::var_os(name)) {
        Ok(configuration) => configuration,
        Err(error) => {
            eprintln!("kleym-operator: {error}");
            return ExitCode::from(2);
        }
    };
    log::start(&configuration);
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("kleym-operator: cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(run::run(configuration)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
