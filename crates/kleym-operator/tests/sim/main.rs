//! The operator's decisions under a simulated API server, with virtual time and one seed for everything: crashes, lost
//! answers, late requests, stale watches, people who meddle. Nothing in here talks to a network or reads a clock.
//!
//! Three kinds of proof: random plans, one a seed; fixed scenarios with a fault at every single call; and broken
//! protocols, each of which must be noticed.
//!
//! `KLEYM_SIM_SEEDS` is how many seeds are run (10,000 by default), `KLEYM_SIM_FIRST` the first of them;
//! `KLEYM_SIM_SEED` runs one alone and prints its history. `KLEYM_SIM_SOAK` adds the faults that `make test` has no time
//! for; of the faults at calls `KLEYM_SIM_SHARD=2/8` plays the second of eight parts. `KLEYM_SIM_HISTORY` prints the history of
//! each scenario that fails.

#![expect(clippy::unwrap_used, reason = "a test whose world cannot be built is a failed test")]

mod absent;
mod agreement;
mod by_hand;
mod checks;
mod crash;
mod crowd;
mod deed;
mod feed;
mod in_place;
mod late;
mod mutant;
mod objects;
mod plan;
mod random;
mod rejected;
mod rewriting;
mod rivals;
mod runner;
mod scenario;
mod seen;
mod server;
mod undeletable;
mod unproved;
mod wire;
mod world;

use std::collections::BTreeMap;

use plan::Plan;
use random::Random;
use runner::{report, run, run_all};

fn is_soaking() -> bool {
    std::env::var_os("KLEYM_SIM_SOAK").is_some()
}

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

#[test]
fn every_scenario_ends_the_same_whoever_dies_at_any_call() {
    crash::stage(crash::EVERY_PACE, &crash::DEATHS, &[]).assert_clean();
}

#[test]
fn every_scenario_ends_the_same_when_the_leader_dies_at_any_call_and_the_standby_takes_over() {
    crash::stage_with_standby(is_soaking(), &crash::DEATHS).assert_clean();
}

/// Whatever the time of day is said to be, the same calls are made in the same order. Only transition times differ.
#[test]
fn the_time_of_day_decides_nothing() {
    // When an output is to be told of may move, and with it when the operator wakes and when nothing more happens; what
    // is done until then may not.
    let until_settled = |history: Vec<String>| -> Vec<String> {
        let ends =
            |line: &String| line.contains("everything has settled") || line.contains("refused for good");
        let what = |line: String| line.trim_start().split_once(' ').map(|(_, what)| what.to_owned());
        history.into_iter().take_while(|line| !ends(line)).filter_map(what).collect()
    };
    for seed in 1..=200 {
        let plan = Plan { jumps: BTreeMap::new(), ..Plan::of(seed) };
        let jumps = plan::jumps(&mut Random::new(seed), plan.calm);
        let steady = run(&plan, None, true);
        let jumping = run(&Plan { jumps, ..plan }, None, true);
        assert_eq!(steady.verified, Ok(()), "seed {seed}");
        assert_eq!(jumping.verified, Ok(()), "seed {seed}");
        let (steady, jumping) = (until_settled(steady.history), until_settled(jumping.history));
        assert_eq!(steady.iter().zip(&jumping).find(|(one, other)| one != other), None, "seed {seed}");
        assert_eq!(steady.len(), jumping.len(), "seed {seed}");
    }
}

#[test]
fn every_scenario_ends_the_same_whatever_befalls_any_call() {
    if is_soaking() {
        crash::stage(crash::EVERY_PACE, &crash::MISFORTUNES, &[]).assert_clean();
    } else {
        crash::stage(crash::ONE_PACE, &crash::MISFORTUNES[..3], &[]).assert_clean();
    }
}

#[test]
fn every_scenario_ends_the_same_when_two_die_one_soon_after_the_other() {
    if is_soaking() {
        crash::stage(crash::EVERY_PACE, &crash::DEATHS, &crash::DEATHS).assert_clean();
    } else {
        crash::stage(crash::ONE_PACE, &[crash::DEATHS[1]], &[crash::DEATHS[1]]).assert_clean();
    }
}

#[test]
fn a_write_that_lands_when_the_world_has_moved_on_leaves_no_grant() {
    crash::stage_moving(&crash::LATE).assert_clean();
}

#[test]
fn a_write_that_is_said_to_be_refused_and_was_made_leaves_no_grant() {
    crash::stage_moving(&crash::MISANSWERED).assert_clean();
    if is_soaking() {
        crash::stage(crash::EVERY_PACE, &crash::MISANSWERED, &[]).assert_clean();
    } else {
        crash::stage(crash::ONE_PACE, &crash::MISANSWERED[..2], &[]).assert_clean();
    }
}

#[test]
fn what_grants_too_much_goes_within_seconds_when_it_cannot_be_replaced() {
    for code in [400, 403, 422, 429, 500, 503, 504] {
        crash::survey(&scenario::impatient(code), scenario::Pace::Steady, &crash::DEATHS, &[]).assert_clean();
    }
}

#[test]
fn what_a_definition_could_not_hold_is_written_as_soon_as_it_is_another_one() {
    crash::survey(&scenario::outdated(), scenario::Pace::Steady, &crash::DEATHS, &[]).assert_clean();
}

#[test]
fn every_way_to_break_the_protocol_is_noticed() {
    assert_eq!(crash::notices(None), None);
    let noticed = crash::in_parallel(mutant::ALL, |mutant| (*mutant, crash::notices(Some(*mutant))));
    for (mutant, how) in &noticed {
        println!("{mutant:?}: {}", how.as_deref().unwrap_or("not noticed"));
    }
    let survivors: Vec<_> =
        noticed.iter().filter(|(_, how)| how.is_none()).map(|(mutant, _)| mutant).collect();
    assert!(survivors.is_empty(), "{survivors:?} are not noticed");
}
