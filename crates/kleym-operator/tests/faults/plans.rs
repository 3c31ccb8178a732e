//! Every scenario with every fault at every call that is not like another one.
//!
//! `KLEYM_FAULTS_SHARD=2/8` runs the second of eight parts, `KLEYM_FAULTS_ONLY=<text>` those whose names hold a text,
//! `KLEYM_FAULTS_PLANS` at most so many of them, mixed by `KLEYM_FAULTS_SEED`, and
//! `KLEYM_FAULTS_REPLAY=<scenario>/<call>/<fault>` runs one. `KLEYM_FAULTS_AT_ONCE` says how many worlds live side by side.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt, StreamExt, stream};
use tokio::time::Instant;

use crate::fault::{Hand, Wrong, at_a_call, of_the_whole, rejects};
use crate::runs::{Run, reference};
use crate::scenario::Scenario;
use crate::world::World;
use crate::wrong::{At, go_wrong};

/// How many worlds live side by side when nobody says otherwise.
const AT_ONCE: usize = 12;
/// How many plans of one hundred may find that their call is not made: what two bindings do at the same time differs from
/// run to run, and a second kill may find nothing left to do.
const NOT_REACHED: usize = 15;

/// A scenario, a call and a fault.
#[derive(Debug, Clone)]
struct Plan {
    scenario: Scenario,
    at: At,
    fault: String,
    wrong: Wrong,
}

/// How a plan went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    Passed,
    NotReached,
    Failed,
}

impl Plan {
    fn name(&self) -> String {
        let at = self.at.as_ref().map_or_else(|| "-".to_owned(), |(call, nth)| format!("{call}.{nth}"));
        format!("{}/{at}/{}", self.scenario.name(), self.fault)
    }

    /// Whether the operator has its rights by itself, so that some can be taken away.
    fn alone(&self) -> bool {
        matches!(self.wrong, Wrong::Revoked(..))
    }

    fn flags(&self) -> &'static [&'static str] {
        if let Wrong::Lease(_) = self.wrong { &["--leader-elect"] } else { &[] }
    }
}

async fn run(plan: &Plan, expected: &str) -> Outcome {
    let world = World::new(&plan.scenario.name()).await;
    match plan.wrong {
        // A write that lands late, that nobody could hold back, may overlap until it is swept.
        Wrong::BlackHole => world.excuse("S4"),
        Wrong::Call(kleym_testenv::proxy::Fault::Twice) => world.excuse("wire: sent again"),
        _ => {}
    }
    let mut run = Run::prepared_with(plan.scenario, world, plan.alone(), plan.flags()).await;
    let reached = go_wrong(&mut run, &plan.at, &plan.wrong, expected).await;
    if rejects(&plan.fault) {
        // What was rejected is not tried again by itself.
        run.world.at_rest().await;
        run.start().await;
    }
    if let Wrong::Hand(Hand::DeletesNamespace) = plan.wrong {
        run.world.at_rest().await;
        assert_eq!(run.operator().probe("/healthz").await.0, 200);
    } else {
        run.ends(expected).await;
    }
    run.close().await;
    if reached { Outcome::Passed } else { Outcome::NotReached }
}

/// The calls that are not alike, each with how many like it came before it. Of many that are alike, because as many bindings
/// do the same, the first and one in the middle stand for all.
fn distinct(calls: &[String]) -> Vec<(String, usize)> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for call in calls {
        *counts.entry(call).or_insert(0) += 1;
    }
    let chosen = |(call, count): (&str, usize)| -> Vec<(String, usize)> {
        let many = if count >= 5 { vec![0, count / 2] } else { (0..count).collect() };
        many.into_iter().map(|nth| (call.to_owned(), nth)).collect()
    };
    counts.into_iter().flat_map(chosen).collect()
}

/// SplitMix64.
fn mixed(state: u64) -> u64 {
    let state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    state ^ (state >> 31)
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn number(name: &str) -> Option<usize> {
    variable(name).map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

/// The plans of this run.
fn chosen(mut all: Vec<Plan>) -> Vec<Plan> {
    if let Some(replay) = variable("KLEYM_FAULTS_REPLAY") {
        all.retain(|plan| plan.name() == replay);
        assert!(!all.is_empty(), "there is no plan `{replay}`");
        return all;
    }
    if let Some(only) = variable("KLEYM_FAULTS_ONLY") {
        all.retain(|plan| plan.name().contains(&only));
    }
    let seed = number("KLEYM_FAULTS_SEED").unwrap_or(1);
    let there = all.len();
    // Mixed, so that every part has as much to wait for as the others; by name, so that a plan is in the same part of every run,
    // although the calls of a scenario differ a little from run to run.
    let place =
        |plan: &Plan| plan.name().bytes().fold(seed as u64, |state, byte| mixed(state ^ u64::from(byte)));
    let shard = variable("KLEYM_FAULTS_SHARD").unwrap_or_else(|| "1/1".to_owned());
    let (part, parts) = shard.split_once('/').expect("KLEYM_FAULTS_SHARD is like 2/8");
    let (part, parts): (u64, u64) = (part.parse().unwrap(), parts.parse().unwrap());
    assert!((1..=parts).contains(&part), "KLEYM_FAULTS_SHARD is like 2/8");
    all.retain(|plan| place(plan) % parts == part - 1);
    all.sort_by_cached_key(place);
    let mut mine = all;
    mine.truncate(number("KLEYM_FAULTS_PLANS").unwrap_or(usize::MAX));
    println!("shard {shard} of seed {seed}: {} of {there} plans", mine.len());
    mine
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_goes_wrong_every_scenario_comes_to_its_end() {
    let at_once = number("KLEYM_FAULTS_AT_ONCE").unwrap_or(AT_ONCE);
    let scenarios: Vec<Scenario> = Scenario::MAIN.into_iter().chain(Scenario::FURTHER).collect();
    let mut references: Vec<_> = stream::iter(scenarios)
        .map(|scenario| async move { (scenario, reference(scenario).await) })
        .buffer_unordered(at_once)
        .collect()
        .await;
    references.sort_by_key(|(scenario, _)| scenario.name());
    let mut all = Vec::new();
    let mut expected = BTreeMap::new();
    for (scenario, reference) in references {
        let distinct = distinct(&reference.calls);
        println!("{}: {} calls, not alike: {distinct:?}", scenario.name(), reference.calls.len());
        let plan = |at: &At, (fault, wrong)| Plan { scenario, at: at.clone(), fault, wrong };
        for call in distinct {
            let faults = at_a_call(scenario, &call.0);
            let at = Some(call);
            all.extend(faults.into_iter().map(|fault| plan(&at, fault)));
        }
        all.extend(of_the_whole(scenario).into_iter().map(|fault| plan(&None, fault)));
        expected.insert(scenario.name(), reference.end);
    }
    let plans = chosen(all);
    let expected = Arc::new(expected);
    let began = Instant::now();
    let outcomes: Vec<(Plan, Outcome, Duration)> = stream::iter(plans)
        .map(|plan| {
            let expected = Arc::clone(&expected);
            // A task of its own, so that one that is busy holds up no other.
            tokio::spawn(async move {
                let began = Instant::now();
                let outcome = AssertUnwindSafe(run(&plan, &expected[&plan.scenario.name()])).catch_unwind();
                let outcome = outcome.await.unwrap_or(Outcome::Failed);
                if outcome == Outcome::Failed {
                    println!("FAILED: KLEYM_FAULTS_REPLAY={} make test-faults", plan.name());
                }
                (plan, outcome, began.elapsed())
            })
        })
        .buffer_unordered(at_once)
        .map(Result::unwrap)
        .collect()
        .await;
    tell(&outcomes, began.elapsed());
    let of = |wanted| outcomes.iter().filter(move |(_, outcome, _)| *outcome == wanted);
    let failed: Vec<String> = of(Outcome::Failed).map(|(plan, ..)| plan.name()).collect();
    assert!(failed.is_empty(), "{failed:#?}");
    let missed = of(Outcome::NotReached).count();
    assert!(missed * 100 <= outcomes.len() * NOT_REACHED, "{missed} of {} met no fault", outcomes.len());
}

/// Says what ran, and what of it took longest.
fn tell(outcomes: &[(Plan, Outcome, Duration)], took: Duration) {
    type Count = BTreeMap<String, BTreeMap<Outcome, usize>>;
    let (mut by_fault, mut by_scenario) = (Count::new(), Count::new());
    for (plan, outcome, _) in outcomes {
        *by_fault.entry(plan.fault.clone()).or_default().entry(*outcome).or_insert(0) += 1;
        *by_scenario.entry(plan.scenario.name()).or_default().entry(*outcome).or_insert(0) += 1;
    }
    println!("by fault: {by_fault:?}\nby scenario: {by_scenario:?}");
    let mut slowest: Vec<_> = outcomes.iter().map(|(plan, _, took)| (*took, plan.name())).collect();
    slowest.sort();
    println!("slowest: {:?}", slowest.iter().rev().take(10).collect::<Vec<_>>());
    let each: Duration = outcomes.iter().map(|(.., took)| *took).sum();
    let count = u32::try_from(outcomes.len()).unwrap().max(1);
    println!("{count} plans in {took:?}, each in {:?} on the average", each / count);
}
