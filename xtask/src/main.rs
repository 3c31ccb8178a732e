//! Generates what is committed and derived from code, and checks that it is up to date; checks the pages of the book; writes
//! the operator's image.
//!
//! `cargo xtask generate` writes the files, `cargo xtask check` fails and shows the difference when a committed one
//! is out of date, missing or left over. Which files there are is said in [`artifact`] alone. What the book promises is checked
//! in [`book`]; `cargo xtask image` is in [`image`].

mod archive;
mod artifact;
mod book;
mod chart;
mod chart_page;
mod difference;
mod image;
mod install;
mod monitoring;
mod reference;
mod rights;
mod schema;
mod tree;
mod yaml;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};

const USAGE: &str = "usage: cargo xtask <generate|check|check-site FOLDER|image FOLDER PROGRAM...>

  generate  write every generated file
  check     fail, with the difference, when a generated file is out of date, and with the place when a page links to or
            names what is not there
  check-site FOLDER
            fail when a link of the built book leads nowhere, or a page loads something from elsewhere
  image FOLDER ARCHITECTURE=PROGRAM...
            write the operator's image as an OCI layout, and as an archive beside it; KLEYM_BUILD_REVISION is a label";

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
        (Some("image"), Some(folder)) => write_image(root, Path::new(&folder), arguments),
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
            let dead = book::check(root)?;
            for finding in &dead {
                println!("{finding}");
            }
            match (findings.is_empty(), dead.is_empty()) {
                (true, true) => return Ok(()),
                (true, false) => bail!("the pages promise what is not there"),
                (false, _) => {}
            }
            bail!("{} out of date: run `cargo xtask generate` and commit the result", files(findings.len()))
        }
        (Some("check-site"), Some(folder)) => {
            let dead = book::site::check(&root.join(folder))?;
            for finding in &dead {
                println!("{finding}");
            }
            if dead.is_empty() { Ok(()) } else { bail!("the built book has dead links") }
        }
        (Some("--help" | "-h" | "help"), None) => {
            println!("{USAGE}");
            Ok(())
        }
        _ => bail!("nothing to do\n{USAGE}"),
    }
}

fn write_image(root: &Path, folder: &Path, programs: impl Iterator<Item = String>) -> anyhow::Result<()> {
    let programs: BTreeMap<String, PathBuf> = programs
        .map(|program| {
            let (architecture, path) = program
                .split_once('=')
                .with_context(|| format!("`{program}` is no <architecture>=<program>"))?;
            Ok((architecture.to_owned(), PathBuf::from(path)))
        })
        .collect::<anyhow::Result<_>>()?;
    if programs.is_empty() {
        bail!("an image of no program\n{USAGE}");
    }
    let parts = image::Parts {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        revision: std::env::var("KLEYM_BUILD_REVISION").unwrap_or_else(|_| "unknown".to_owned()),
        licence: std::fs::read(root.join("LICENSE")).context("cannot read `LICENSE`")?,
        programs,
    };
    for (architecture, bytes) in image::write(folder, &parts)? {
        println!("{}: {architecture}, {bytes} bytes to pull", folder.display());
    }
    Ok(())
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
