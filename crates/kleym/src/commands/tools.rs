//! `kleym crd`, `completion`, `man` and `version`: what the program knows of itself. None of them reads anything.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use clap::Command;
use clap_complete::env::Shells;
use clap_mangen::Man;
use kleym_api::binding;
use kleym_core::text::Quoted;
use serde_json::{Value, json};

use crate::args::{self, Shell};
use crate::complete;
use crate::console::Console;
use crate::exit::{Exit, Failure, in_words};
use crate::output;

/// Prints the definition of our kind.
pub(super) fn crd(typed: &args::Crd, console: &mut Console) -> Result<Exit, Failure> {
    let definition = serde_json::to_value(binding::definition()).map_err(io::Error::other)?;
    output::objects(&mut console.out, typed.output, &[with_whole_numbers(definition)])?;
    Ok(Exit::Fine)
}

/// The schema types hold every limit as a float; in a definition they are whole numbers, and are written as such.
fn with_whole_numbers(value: Value) -> Value {
    match value {
        Value::Number(number) => match number.as_f64() {
            #[expect(clippy::cast_possible_truncation, reason = "whole, and far below the limit")]
            Some(float) if number.is_f64() && float.fract() == 0.0 && float.abs() < 1e15 => {
                (float as i64).into()
            }
            _ => Value::Number(number),
        },
        Value::Array(items) => items.into_iter().map(with_whole_numbers).collect(),
        Value::Object(fields) => {
            Value::Object(fields.into_iter().map(|(name, value)| (name, with_whole_numbers(value))).collect())
        }
        other => other,
    }
}

/// Prints the version.
pub(super) fn version(typed: &args::Version, console: &mut Console) -> Result<Exit, Failure> {
    let version = env!("CARGO_PKG_VERSION");
    match typed.output {
        None => writeln!(console.out, "kleym {version}")?,
        Some(format) => output::objects(&mut console.out, format, &[json!({ "version": version })])?,
    }
    Ok(Exit::Fine)
}

/// The helper by which kubectl completes a plugin: it must be called `kubectl_complete-kleym` and be in the PATH.
const KUBECTL_HELPER: &str = "#!/bin/sh
# Completes `kubectl kleym`. kubectl runs this with the words that were typed.
exec kubectl-kleym __complete \"$@\"
";

/// Prints a shell's script.
pub(super) fn completion(typed: &args::Completion, console: &mut Console) -> Result<Exit, Failure> {
    let name = match typed.shell {
        Shell::Bash => "bash",
        Shell::Elvish => "elvish",
        Shell::Fish => "fish",
        Shell::Powershell => "powershell",
        Shell::Zsh => "zsh",
        Shell::Kubectl => {
            console.out.write_all(KUBECTL_HELPER.as_bytes())?;
            return Ok(Exit::Fine);
        }
    };
    let shells = Shells::builtins();
    let Some(shell) = shells.completer(name) else {
        return Err(Failure::Internal(format!("no completion for {name}")));
    };
    shell.write_registration(complete::VARIABLE, "kleym", "kleym", "kleym", &mut console.out)?;
    Ok(Exit::Fine)
}

/// Prints a manual page, or writes all of them.
pub(super) fn man(typed: &args::Man, command: Command, console: &mut Console) -> Result<Exit, Failure> {
    let args::Man { command: name, folder } = typed;
    let mut root = command;
    root.build();
    if let Some(folder) = folder {
        return pages(&root, folder);
    }
    let page = match name {
        None => root,
        Some(name) => match root.find_subcommand(name) {
            Some(found) => page_of(found),
            None => return Err(Failure::unusable(format!("there is no command {}", Quoted(name)))),
        },
    };
    Man::new(page).render(&mut console.out)?;
    Ok(Exit::Fine)
}

/// A command as it is called in its own page.
fn page_of(command: &Command) -> Command {
    let name = format!("kleym-{}", command.get_name());
    command.clone().name(name.clone()).display_name(name)
}

fn pages(root: &Command, folder: &Path) -> Result<Exit, Failure> {
    let shown = Quoted(&folder.display().to_string()).to_string();
    let unwritable =
        |error: io::Error| Failure::unusable(format!("{shown} cannot be written: {}", in_words(&error)));
    fs::create_dir_all(folder).map_err(unwritable)?;
    let visible =
        root.get_subcommands().filter(|command| !command.is_hide_set() && command.get_name() != "help");
    for page in std::iter::once(root.clone()).chain(visible.map(page_of)) {
        let mut text = Vec::new();
        let file = format!("{}.1", page.get_name());
        Man::new(page).render(&mut text)?;
        fs::write(folder.join(file), text).map_err(unwritable)?;
    }
    Ok(Exit::Fine)
}
