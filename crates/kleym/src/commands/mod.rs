//! From what was typed to what is done: one module a command, each with what it was meant to do checked first.

mod check;
mod diff;
mod explain;
mod graph;
mod inspect;
mod lint;
mod render;
mod status;
mod tools;

use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::path::Path;

use clap::error::ErrorKind;
use clap::{CommandFactory, FromArgMatches};
use kleym_core::settings::given::Environment;

use crate::args::{Arguments, Command};
use crate::complete;
use crate::console::Console;
use crate::exit::{Exit, Failure};

/// Parses the arguments and runs the command.
pub(crate) fn run(arguments: Vec<OsString>, environment: Environment<'_>) -> Result<Exit, Failure> {
    if complete::answer(Arguments::command(), &arguments, environment)? {
        return Ok(Exit::Fine);
    }
    let typed = Arguments::command()
        .bin_name(called_as(arguments.first()))
        .try_get_matches_from(arguments)
        .and_then(|matches| Arguments::from_arg_matches(&matches));
    let Arguments { command, color, verbose } = match typed {
        Ok(typed) => typed,
        Err(answer) => return answered(&answer),
    };
    let mut console = Console::new(color, verbose, environment);
    let exit = match command {
        Command::Render(render) => render::run(&render, &mut console, environment)?,
        Command::Lint(lint) => lint::run(&lint, &mut console, environment)?,
        Command::Explain(explain) => explain::run(&explain, &mut console, environment)?,
        Command::Check(check) => check::run(&check, &mut console, environment)?,
        Command::Status(status) => status::run(&status, &mut console, environment)?,
        Command::Graph(graph) => graph::run(&graph, &mut console, environment)?,
        Command::Diff(diff) => diff::run(&diff, &mut console, environment)?,
        Command::Inspect(inspect) => inspect::run(&inspect, &mut console, environment)?,
        Command::Crd(crd) => tools::crd(&crd, &mut console)?,
        Command::Completion(completion) => tools::completion(&completion, &mut console)?,
        Command::Man(man) => tools::man(&man, Arguments::command(), &mut console)?,
        Command::Version(version) => tools::version(&version, &mut console)?,
        Command::Complete(typed) => {
            complete::for_kubectl(&mut console.out, Arguments::command(), &typed.words)?;
            Exit::Fine
        }
    };
    console.out.flush()?;
    drop(console.err.flush());
    Ok(exit)
}

/// Help and version are answers; everything else is a complaint. clap knows where each goes, but for the help that is
/// given unasked: that is an answer too.
fn answered(answer: &clap::Error) -> Result<Exit, Failure> {
    match answer.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => answer.print()?,
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => write!(io::stdout(), "{}", answer.render())?,
        _ => {
            answer.print()?;
            return Ok(Exit::Unusable);
        }
    }
    Ok(Exit::Fine)
}

/// How help texts name the program: as a plugin of kubectl it is called through that.
fn called_as(program: Option<&OsString>) -> &'static str {
    let name = program.and_then(|path| Path::new(path).file_name()).and_then(OsStr::to_str);
    if name.is_some_and(|name| name.starts_with("kubectl-")) { "kubectl kleym" } else { "kleym" }
}
