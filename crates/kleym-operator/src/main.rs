//! `kleym-operator`: reads its settings, then runs.

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use kleym_operator::settings::{Configuration, Errand, Flags};
use kleym_operator::{log, run, uninstall};
use tokio::runtime::Runtime;

/// How long the uninstall check may take; the chart's hook allows twice that.
const UNINSTALL_CHECK_DEADLINE: Duration = Duration::from_secs(30);

fn main() -> ExitCode {
    let flags = match Flags::try_parse() {
        Ok(flags) => flags,
        Err(error) => return misused(&error),
    };
    let configuration = match flags.resolve(&|name| std::env::var_os(name)) {
        Ok(configuration) => configuration,
        Err(error) => {
            say(&error);
            return ExitCode::from(2);
        }
    };
    let runtime = match Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            say(&format_args!("cannot start: {error}"));
            return ExitCode::FAILURE;
        }
    };
    match flags.errand {
        Some(Errand::UninstallCheck) => runtime.block_on(uninstall_check(&configuration)),
        None => {
            log::start(&configuration);
            operate(&runtime, configuration)
        }
    }
}

/// Answers flags that cannot be read with one line, and a question for help or the version with what was asked for.
fn misused(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        drop(error.print());
        return ExitCode::SUCCESS;
    }
    // The library's own words, without the advice that it adds on lines of its own.
    let text = error.to_string();
    let advice = |line: &&str| line.starts_with("Usage:") || line.starts_with("For more information,");
    let lines = text.lines().map(str::trim).take_while(|line| !advice(line));
    let said: Vec<&str> = lines.filter(|line| !line.is_empty()).collect();
    let said = said.join("; ");
    let said = said.strip_prefix("error: ").unwrap_or(&said);
    say(&format_args!("{}; see `kleym-operator --help`", printable(said)));
    ExitCode::from(2)
}

/// A text that does nothing to a terminal.
fn printable(text: &str) -> String {
    let escaped = |c: char| match c {
        ' '..='~' => c.to_string(),
        c => c.escape_default().to_string(),
    };
    text.chars().map(escaped).collect()
}

fn operate(runtime: &Runtime, configuration: Configuration) -> ExitCode {
    match runtime.block_on(run::run(configuration)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn uninstall_check(configuration: &Configuration) -> ExitCode {
    let looked = tokio::time::timeout(UNINSTALL_CHECK_DEADLINE, uninstall::check(configuration)).await;
    let problem = match looked {
        Ok(Ok(left)) if left.is_empty() => {
            drop(writeln!(io::stdout(), "nothing is left that only this operator would clean up"));
            return ExitCode::SUCCESS;
        }
        Ok(Ok(left)) => left.message(),
        Ok(Err(error)) => format!("{error:#}"),
        Err(_) => "the API server did not answer in time".to_owned(),
    };
    say(&format_args!("not to be uninstalled now: {}", problem.trim_end()));
    ExitCode::FAILURE
}

/// A line on standard error; when nobody reads it, that is no failure of its own.
fn say(what: &dyn Display) {
    drop(writeln!(io::stderr(), "kleym-operator: {what}"));
}
