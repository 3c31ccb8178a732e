//! Runs plans: one seed, and what comes after it has settled; many seeds on all processors; and, when one fails, the
//! search for a shorter plan that fails the same way.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use kleym_core::kind::Kind;
use serde_json::{Value, json};

use crate::checks::{Snapshot, Verified, Violation, must, settled, snapshot};
use crate::deed::Deed;
use crate::mutant::Mutant;
use crate::plan::Plan;
use crate::world::{Tally, World};

/// How long it may take to settle once everything is calm: the longest back-off, and a call that is still held up.
const SETTLED_WITHIN: Duration = Duration::from_secs(70);

/// How one plan went.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Whether every rule was kept.
    pub(crate) verified: Verified,
    /// What happened, if it was kept.
    pub(crate) history: Vec<String>,
    /// What was counted.
    pub(crate) tally: Tally,
    /// How long it took to settle after everything was calm.
    pub(crate) settling: Duration,
    /// The reasons of the bindings in the end.
    pub(crate) ends: Vec<String>,
    /// How many calls there were until everything was settled.
    pub(crate) calls: u64,
    /// When the last of them was sent.
    pub(crate) last_call: Duration,
    /// Everything as it stood then.
    pub(crate) settled: Snapshot,
}

/// What a play came to.
#[derive(Debug, Default)]
struct Course {
    settling: Duration,
    calls: u64,
    last_call: Duration,
    settled: Snapshot,
}

/// Runs a plan.
pub(crate) fn run(plan: &Plan, mutant: Option<Mutant>, keep: bool) -> Outcome {
    let mut world = World::new(plan.seed, plan.config, plan.replicas);
    world.mutant = mutant;
    world.fates = plan.fates.clone();
    world.jumps = plan.jumps.clone();
    world.history = keep.then(Vec::new);
    let mut course = Course::default();
    let verified = catch_unwind(AssertUnwindSafe(|| play(&mut world, plan, &mut course)));
    let verified = verified.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic");
        Err(Violation { rule: "panic", what: text.to_owned() })
    });
    let tally = world.tally.clone();
    let ends = world.server.of_kind(Kind::Binding).map(|(_, stored)| {
        let deleting = if stored.deleting { "deleting: " } else { "" };
        let reason = stored.value.pointer("/status/conditions/0/reason").and_then(Value::as_str);
        format!("{deleting}{}", reason.unwrap_or("none"))
    });
    let ends = ends.collect();
    let history = world.history.take().unwrap_or_default();
    let Course { settling, calls, last_call, settled } = course;
    Outcome { verified, history, tally, settling, ends, calls, last_call, settled }
}

fn play(world: &mut World, plan: &Plan, course: &mut Course) -> Verified {
    for (at, deed) in &plan.deeds {
        world.plan(*at, deed.clone());
    }
    world.calm_at(plan.calm);
    world.run()?;
    if world.is_hopeless() {
        // A write that was refused for good is tried again when something changes; a new operator is such a change.
        world.note(|| "a write was refused for good: another operator".to_owned());
        let config = world.config;
        world.plan(Duration::ZERO, Deed::Restart(config, 1));
        world.run()?;
    } else {
        course.settling = world.last_call.saturating_sub(plan.calm);
        must(course.settling <= SETTLED_WITHIN, "L2", || {
            format!("it takes {:?} to settle", course.settling)
        })?;
    }
    course.calls = world.calls();
    course.last_call = world.last_call;
    course.settled = snapshot(&world.server);
    world.note(|| "everything has settled".to_owned());
    rests(world)
}

/// Everything is as it should be; what changes nothing costs nothing; and a new operator has nothing to do.
fn rests(world: &mut World) -> Verified {
    let obstacles = settled(&world.server, &world.config)?;
    let calls = world.calls();
    let outputs: Vec<_> = world.server.of_kind(Kind::Output).map(|(place, _)| place.clone()).collect();
    for place in outputs {
        world.server.report(&place, json!({"stats": {"podsSelected": 7, "entriesToSet": 7}}));
    }
    let now = world.now();
    let bindings: Vec<_> = world.server.of_kind(Kind::Binding).map(|(place, _)| place.clone()).collect();
    for place in bindings {
        world.plan(now, Deed::Touch(place));
    }
    world.run()?;
    must(world.calls() == calls, "L3", || "a change that changes nothing costs a call".to_owned())?;

    // A standby may ask for what it could not look at, but changes nothing.
    let version = world.server.version();
    world.plan(now, Deed::HandOver(0));
    world.run()?;
    must(world.server.version() == version, "L3", || {
        "a standby changes something although all is in sync".to_owned()
    })?;

    let (calls, writes) = (world.tally.all(), world.tally.writes());
    let config = world.config;
    world.plan(now, Deed::Restart(config, 1));
    world.run()?;
    must(world.tally.writes() == writes, "L3", || {
        "a new operator writes although all is in sync".to_owned()
    })?;
    let reads = usize::try_from(world.tally.all() - calls).unwrap();
    must(reads <= obstacles.len(), "L3", || {
        format!("a new operator makes {reads} reads, with {} foreign objects in the way", obstacles.len())
    })?;
    settled(&world.server, &world.config).map(drop)
}

/// A plan as short as it can be that still breaks the same rule.
pub(crate) fn shorten(plan: &Plan, rule: &str, mutant: Option<Mutant>) -> Plan {
    let fails =
        |plan: &Plan| run(plan, mutant, false).verified.is_err_and(|violation| violation.rule == rule);
    let mut plan = plan.clone();
    // What ends all trouble stays, or every plan would fail.
    let troubled = |plan: &Plan| plan.deeds.partition_point(|(at, _)| *at < plan.calm);
    loop {
        let before = plan.deeds.len() + plan.fates.len();
        let mut size = troubled(&plan).div_ceil(2).max(1);
        loop {
            let mut start = 0;
            while start < troubled(&plan) {
                let mut shorter = plan.clone();
                shorter.deeds.drain(start..(start + size).min(troubled(&plan)));
                if fails(&shorter) {
                    plan = shorter;
                } else {
                    start += size;
                }
            }
            if size == 1 {
                break;
            }
            size /= 2;
        }
        for number in plan.fates.clone().into_keys() {
            let mut shorter = plan.clone();
            shorter.fates.remove(&number);
            if fails(&shorter) {
                plan = shorter;
            }
        }
        if plan.deeds.len() + plan.fates.len() == before {
            return plan;
        }
    }
}

/// Says how a seed failed: the whole rule, and the last lines of the shortest history that breaks it.
pub(crate) fn report(plan: &Plan, mutant: Option<Mutant>, lines: usize) -> String {
    let Err(violation) = run(plan, mutant, false).verified else {
        return format!("seed {} is kept", plan.seed);
    };
    let short = shorten(plan, violation.rule, mutant);
    let outcome = run(&short, mutant, true);
    let skipped = outcome.history.len().saturating_sub(lines);
    let history = outcome.history[skipped..].join("\n");
    let what = outcome.verified.err().map(|violation| violation.what).unwrap_or_default();
    format!(
        "seed {} breaks {}; again with KLEYM_SIM_SEED={}\n({skipped} lines before)\n{history}\n=> {}: {what}",
        plan.seed, violation.rule, plan.seed, violation.rule
    )
}

/// What all seeds came to.
#[derive(Debug, Default)]
pub(crate) struct Total {
    /// Seeds run.
    pub(crate) seeds: u64,
    /// Seeds that broke a rule, with the rule.
    pub(crate) failed: Vec<(u64, &'static str)>,
    /// Calls, by what they do.
    pub(crate) calls: BTreeMap<&'static str, u64>,
    /// Ready conditions in the end, by reason.
    pub(crate) ends: BTreeMap<String, u64>,
    /// Identities written.
    pub(crate) grants: u64,
    /// Deaths of operators.
    pub(crate) deaths: u64,
    /// Requests that landed late.
    pub(crate) late: u64,
    /// Simulated events.
    pub(crate) events: u64,
    /// How long settling took, by seed.
    pub(crate) settling: Vec<(Duration, u64)>,
}

/// Runs these seeds on all processors.
pub(crate) fn run_all(first: u64, count: u64, enough: u64) -> Total {
    let next = AtomicU64::new(first);
    let failures = AtomicU64::new(0);
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(2);
    let totals: Vec<Total> = std::thread::scope(|scope| {
        let work = || {
            let mut total = Total::default();
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= first + count || failures.load(Ordering::Relaxed) >= enough {
                    return total;
                }
                let outcome = run(&Plan::of(seed), None, false);
                total.seeds += 1;
                for (call, count) in outcome.tally.calls {
                    *total.calls.entry(call).or_default() += count;
                }
                for reason in outcome.ends {
                    *total.ends.entry(reason).or_default() += 1;
                }
                total.grants += outcome.tally.grants;
                total.deaths += outcome.tally.deaths;
                total.late += outcome.tally.late;
                total.events += outcome.tally.events;
                total.settling.push((outcome.settling, seed));
                if let Err(violation) = outcome.verified {
                    failures.fetch_add(1, Ordering::Relaxed);
                    total.failed.push((seed, violation.rule));
                }
            }
        };
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        running.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let mut sum = Total::default();
    for total in totals {
        sum.seeds += total.seeds;
        sum.failed.extend(total.failed);
        for (call, count) in total.calls {
            *sum.calls.entry(call).or_default() += count;
        }
        for (reason, count) in total.ends {
            *sum.ends.entry(reason).or_default() += count;
        }
        sum.grants += total.grants;
        sum.deaths += total.deaths;
        sum.late += total.late;
        sum.events += total.events;
        sum.settling.extend(total.settling);
    }
    sum.failed.sort_unstable();
    sum.settling.sort_unstable();
    sum
}
