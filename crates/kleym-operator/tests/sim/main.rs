//! The operator's decisions under a simulated API server, with virtual time and one seed for everything: crashes, lost
//! answers, late requests, stale watches, people who meddle. Nothing in here talks to a network or reads a clock.
//!
//! `KLEYM_SIM_SEEDS` is how many seeds are run (10,000 by default), `KLEYM_SIM_FIRST` the first of them;
//! `KLEYM_SIM_SEED` runs one alone and prints its history.

mod checks;
mod deed;
mod feed;
mod mutant;
mod objects;
mod plan;
mod random;
mod runner;
mod seen;
mod server;
mod wire;
mod world;

use plan::Plan;
use runner::{report, run, run_all};

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect("a number"))
}

#[test]
fn whatever_happens_no_grant_is_unasked_for_and_everything_settles() {
    if let Some(seed) = number("KLEYM_SIM_SEED") {
        let plan = Plan::of(seed);
        let outcome = run(&plan, None, true);
        if outcome.verified.is_err() && std::env::var_os("KLEYM_SIM_WHOLE").is_none() {
            panic!("{}", report(&plan, None, 400));
        }
        println!("{}", outcome.history.join("\n"));
        outcome.verified.unwrap();
        return;
    }
    let count = number("KLEYM_SIM_SEEDS").unwrap_or(10_000);
    let first = number("KLEYM_SIM_FIRST").unwrap_or(1);
    let total = run_all(first, count, number("KLEYM_SIM_STOP").unwrap_or(5));
    let longest = total.settling.last().copied().unwrap_or_default();
    println!(
        "{} seeds: {} events, {} identities written, {} deaths, {} late requests; slowest to settle: {:?} (seed {})\ncalls: {:?}\nin the end: {:?}",
        total.seeds,
        total.events,
        total.grants,
        total.deaths,
        total.late,
        longest.0,
        longest.1,
        total.calls,
        total.ends
    );
    if let Some((seed, _)) = total.failed.first() {
        panic!("{:?}\n{}", total.failed, report(&Plan::of(*seed), None, 40));
    }
}
