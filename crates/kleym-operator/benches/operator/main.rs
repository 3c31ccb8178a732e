//! What the operator costs: the release program on a real etcd and kube-apiserver, its calls counted in the audit log,
//! its CPU and memory as the kernel has them, its speed beside that of a bare loop in the same run. `make bench` prints
//! it. It asserts nothing, because machines differ: it fails only where it could not measure.

#![expect(clippy::unwrap_used, reason = "what the tests share with it is made for tests")]

mod bare;
mod calls;
mod claim;
mod crowd;
mod failover;
mod field;
mod latency;
mod many;
mod table;
mod usage;
mod world;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, ValueEnum};

use crate::table::Table;

/// Measures the operator
#[derive(Parser)]
struct Arguments {
    /// What to measure; everything by default
    figures: Vec<Figure>,
    /// How large: at `small` only the counts can be compared with their targets
    #[arg(long, default_value = "full")]
    size: Size,
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Figure {
    /// Calls for a change
    Calls,
    /// Many bindings: settling, memory, restart, change to grant, failover
    Many,
    /// Five times as many: memory and restart
    More,
    /// One namespace full of bindings
    Crowd,
    /// Many bindings that claim one container
    Claim,
}

/// How much there is of everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Size {
    /// A few minutes
    Small,
    /// What the targets are for
    Full,
}

impl Size {
    /// Bindings in the namespaces of `many`, and of `more`.
    fn bindings(self) -> (usize, usize) {
        match self {
            Self::Small => (1_000, 5_000),
            Self::Full => (10_000, 50_000),
        }
    }

    /// Bindings of the one namespace of `crowd`, and of `claim`.
    fn together(self) -> (usize, usize) {
        match self {
            Self::Small => (500, 100),
            Self::Full => (5_000, 1_000),
        }
    }

    /// How often a change is timed.
    fn samples(self) -> usize {
        match self {
            Self::Small => 100,
            Self::Full => 300,
        }
    }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> ExitCode {
    // `cargo test --all-targets` runs benchmarks too, without this word: nothing is measured then.
    if !std::env::args().any(|word| word == "--bench") {
        return ExitCode::SUCCESS;
    }
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("the benchmark could not measure: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<()> {
    let Arguments { figures, size, json, bench: _ } = arguments;
    let wanted = |figure: Figure| figures.is_empty() || figures.contains(&figure);
    let mut table = Table::new(size == Size::Full);
    if wanted(Figure::Calls) {
        calls::measure(&mut table).await?;
    }
    if wanted(Figure::Crowd) {
        crowd::measure(&mut table, size.together().0).await?;
    }
    if wanted(Figure::Claim) {
        claim::measure(&mut table, size.together().1).await?;
    }
    if wanted(Figure::Many) || wanted(Figure::More) {
        let (many, more) = size.bindings();
        let more = wanted(Figure::More).then_some(more);
        many::measure(&mut table, wanted(Figure::Many), many, more, size.samples()).await?;
    }
    if json {
        println!("{}", table.json());
    } else {
        print!("{table}");
    }
    Ok(())
}
