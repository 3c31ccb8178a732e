//! Generates what is committed and derived from code, and checks that it is up to date.
//!
//! `cargo xtask generate` writes the files, `cargo xtask check` fails and shows the difference when a committed one
//! is out of date, missing or left over. Which files there are is said in [`artifact`] alone.

mod artifact;
mod chart;
mod difference;
mod install;
mod monitoring;
mod rights;
mod tree;
mod yaml;

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, bail};

const USAGE: &str = "usage: cargo xtask <generate|check>

  generate  write every generated file
  check     fail, with the difference, when a generated file is out of date";

fn main() -> ExitCode {
    match run(std::env::args().skip(1)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(mut arguments: impl Iterator<Item = String>) -> anyhow::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("xtask lies in no workspace")?;
    let (command, rest) = (arguments.next(), arguments.next());
    match (command.as_deref(), rest) {
        (Some("generate"), None) => {
            for change in tree::write(root, &artifact::all(root)?)? {
                println!("{change}");
            }
            Ok(())
        }
        (Some("check"), None) => {
            let findings = tree::compare(root, &artifact::all(root)?)?;
            for finding in &findings {
                println!("{finding}");
            }
            if findings.is_empty() {
                return Ok(());
            }
            bail!("{} out of date: run `cargo xtask generate` and commit the result", files(findings.len()))
        }
        (Some("--help" | "-h" | "help"), None) => {
            println!("{USAGE}");
            Ok(())
        }
        _ => bail!("nothing to do\n{USAGE}"),
    }
}

fn files(count: usize) -> String {
    match count {
        1 => "1 generated file is".to_owned(),
        _ => format!("{count} generated files are"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_committed_generated_file_is_up_to_date() {
        run(["check".to_owned()].into_iter()).unwrap();
    }

    #[test]
    fn an_unknown_command_is_refused() {
        assert!(run(["genrate".to_owned()].into_iter()).is_err());
        assert!(run(["check".to_owned(), "now".to_owned()].into_iter()).is_err());
        assert!(run(std::iter::empty()).is_err());
    }
}
