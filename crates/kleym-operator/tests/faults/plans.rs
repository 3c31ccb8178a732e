//! Every scenario with one fault, drawn by a seed.
//!
//! `KLEYM_FAULTS_SEED` draws the same plans again, `KLEYM_FAULTS_PLANS` says how many (`all` for every one),
//! `KLEYM_FAULTS_SHARD=2/4` takes the second of four parts, and `KLEYM_FAULTS_REPLAY=<scenario>/<call>/<fault>` runs one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::ensure;
use futures::{FutureExt, StreamExt, stream};
use kleym_testenv::eventually;
use kleym_testenv::proxy::{Asked, EventFault, Fault, Gate, Proxy};

use crate::fault::{Wrong, at_a_call, of_the_watches, rejects};
use crate::scenario::Scenario;
use crate::world::{Operator, SOON, World};

/// How many worlds live side by side.
const AT_ONCE: usize = 4;
/// How many plans are tried when nobody says otherwise.
const PLANS: usize = 600;
/// How often a spell is answered.
const SPELL: usize = 4;

/// A scenario, a call and a fault.
#[derive(Debug, Clone)]
struct Plan {
    scenario: Scenario,
    /// The call; of watches, none.
    nth: usize,
    fault: String,
    wrong: Wrong,
}

impl Plan {
    fn name(&self) -> String {
        format!("{}/{}/{}", self.scenario.name(), self.nth, self.fault)
    }
}

/// A call that counts: everything but watches and the lease.
fn counts(asked: &Asked) -> bool {
    asked.verb != "watch" && !asked.resource.starts_with("coordination.k8s.io/")
}

/// How often a scenario calls when nothing goes wrong, and how it ends.
async fn reference(scenario: Scenario) -> (Scenario, usize, String) {
    let world = World::new(&format!("{}-ref", scenario.name())).await;
    let proxy = world.proxy().await;
    let _operator = world.operator_by(&proxy).await;
    scenario.prepare(&world).await;
    world.at_rest().await;
    let before = proxy.asked().len();
    scenario.act(&world).await;
    scenario.end(&world).await;
    world.at_rest().await;
    world.is_settled().await;
    let calls = proxy.asked()[before..].iter().filter(|asked| counts(asked)).count();
    (scenario, calls, world.snapshot().await)
}

/// Waits for the end of a plan; whoever waits for something else meanwhile loses nothing.
async fn ended(plan: &Plan, world: &World) {
    plan.scenario.end(world).await;
}

/// Does what is wrong; gives the operator that then lives.
async fn go_wrong(plan: &Plan, world: &World, proxy: &Proxy, operator: Operator) -> Operator {
    let (nth, seen) = (plan.nth, Arc::new(AtomicUsize::new(0)));
    let the_call = move |asked: &Asked| counts(asked) && seen.fetch_add(1, Ordering::Relaxed) == nth;
    let watches = |kind: &'static str| move |asked: &Asked| asked.is("watch", kind);
    match plan.wrong.clone() {
        Wrong::Kill(point) => {
            let mut sprung = proxy.trap(counts, nth, point);
            plan.scenario.act(world).await;
            tokio::select! {
                sprung = sprung.wait_for(|sprung| *sprung) => { sprung.unwrap(); }
                () = async { ended(plan, world).await; world.at_rest().await; } => return operator,
            }
            drop(operator);
            proxy.heal();
            world.operator_by(proxy).await
        }
        Wrong::Terminate => {
            let gate = Gate::new();
            proxy.once(the_call, Fault::HoldAnswer(gate.clone()));
            plan.scenario.act(world).await;
            tokio::select! {
                () = gate.reached() => {}
                () = async { ended(plan, world).await; world.at_rest().await; } => return operator,
            }
            operator.signal("TERM");
            gate.open();
            assert_eq!(operator.end().await.code(), Some(0));
            world.operator_by(proxy).await
        }
        Wrong::Call(fault) => {
            proxy.once(the_call, fault);
            plan.scenario.act(world).await;
            operator
        }
        Wrong::BlackHole => {
            let gate = Gate::new();
            proxy.once(the_call, Fault::Hold(gate.clone()));
            plan.scenario.act(world).await;
            ended(plan, world).await;
            gate.open();
            operator
        }
        Wrong::Spell(reply) => {
            proxy.always(Asked::writes, Fault::Answer(reply));
            let before = proxy.asked().len();
            plan.scenario.act(world).await;
            let tried = || proxy.asked()[before..].iter().filter(|asked| asked.writes()).count();
            let spell = eventually("the spell is over", SOON, || async {
                ensure!(tried() >= SPELL, "{} calls", tried());
                Ok(())
            });
            spell.await.unwrap();
            proxy.heal();
            operator
        }
        Wrong::Frozen(kind) => {
            let gate = proxy.freeze(watches(kind));
            plan.scenario.act(world).await;
            // As long as the others need.
            let _ = tokio::time::timeout(Duration::from_secs(3), ended(plan, world)).await;
            gate.open();
            operator
        }
        Wrong::Lost(kind) => {
            proxy.on_event(watches(kind), |event| event["type"] != "BOOKMARK", EventFault::Drop);
            plan.scenario.act(world).await;
            let _ = tokio::time::timeout(Duration::from_secs(2), ended(plan, world)).await;
            proxy.expire(watches(kind));
            operator
        }
        Wrong::Expired => {
            plan.scenario.act(world).await;
            proxy.expire(|_| true);
            operator
        }
        Wrong::Broken => {
            plan.scenario.act(world).await;
            proxy.break_watches(|_| true);
            operator
        }
    }
}

async fn run(plan: &Plan, expected: &str) {
    let name = format!("{}-{}", plan.scenario.name(), plan.nth);
    let world = World::new(&name).await;
    // A write that lands late or twice, that nobody could hold back, may overlap until it is swept.
    if matches!(plan.wrong, Wrong::BlackHole) {
        world.excuse("S4");
    }
    let proxy = world.proxy().await;
    let operator = world.operator_by(&proxy).await;
    plan.scenario.prepare(&world).await;
    world.at_rest().await;
    let mut operator = go_wrong(plan, &world, &proxy, operator).await;
    if rejects(&plan.fault) {
        // What was rejected is not tried again by itself.
        world.at_rest().await;
        drop(operator);
        operator = world.operator_by(&proxy).await;
    }
    ended(plan, &world).await;
    world.at_rest_for(Duration::from_secs(1)).await;
    world.is_settled().await;
    assert_eq!(world.snapshot().await, expected);
    drop(operator);
}

/// SplitMix64.
fn draw(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The plans of this run, and every one there is.
fn chosen(mut all: Vec<Plan>) -> Vec<Plan> {
    if let Some(replay) = variable("KLEYM_FAULTS_REPLAY") {
        all.retain(|plan| plan.name() == replay);
        assert!(!all.is_empty(), "there is no plan `{replay}`");
        return all;
    }
    let seed = variable("KLEYM_FAULTS_SEED").map_or_else(
        || u64::try_from(jiff::Timestamp::now().as_second()).unwrap(),
        |seed| seed.parse().expect("KLEYM_FAULTS_SEED is a number"),
    );
    let there = all.len();
    let mut state = seed;
    for last in (1..all.len()).rev() {
        let other = usize::try_from(draw(&mut state) % (last as u64 + 1)).unwrap();
        all.swap(last, other);
    }
    let shard = variable("KLEYM_FAULTS_SHARD").unwrap_or_else(|| "1/1".to_owned());
    let (part, parts) = shard.split_once('/').expect("KLEYM_FAULTS_SHARD is like 2/4");
    let (part, parts): (usize, usize) = (part.parse().unwrap(), parts.parse().unwrap());
    let mut mine: Vec<Plan> = all.into_iter().skip(part - 1).step_by(parts).collect();
    match variable("KLEYM_FAULTS_PLANS").as_deref() {
        Some("all") => {}
        Some(number) => mine.truncate(number.parse().expect("KLEYM_FAULTS_PLANS is a number or `all`")),
        None => mine.truncate(PLANS),
    }
    println!("seed {seed}, shard {shard}: {} of {there} plans", mine.len());
    mine
}

#[tokio::test]
async fn whatever_goes_wrong_once_every_scenario_comes_to_its_end() {
    let scenarios: Vec<Scenario> = Scenario::MAIN.into_iter().chain(Scenario::FURTHER).collect();
    let references: Vec<(Scenario, usize, String)> =
        stream::iter(scenarios).map(reference).buffer_unordered(AT_ONCE).collect().await;
    let mut all = Vec::new();
    let mut expected = BTreeMap::new();
    let mut references = references;
    references.sort_by_key(|(scenario, ..)| scenario.name());
    for (scenario, calls, end) in references {
        println!("{}: {calls} calls when nothing goes wrong", scenario.name());
        let plan = |nth, (fault, wrong)| Plan { scenario, nth, fault, wrong };
        for nth in 0..calls {
            all.extend(at_a_call().into_iter().map(|fault| plan(nth, fault)));
        }
        all.extend(of_the_watches().into_iter().map(|fault| plan(0, fault)));
        expected.insert(scenario.name(), end);
    }
    let plans = chosen(all);
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    for plan in &plans {
        *kinds.entry(&plan.fault).or_insert(0) += 1;
    }
    println!("faults, and on how many calls each: {kinds:?}");
    let failed: Vec<String> = stream::iter(&plans)
        .map(|plan| async {
            let outcome =
                std::panic::AssertUnwindSafe(run(plan, &expected[&plan.scenario.name()])).catch_unwind();
            match outcome.await {
                Ok(()) => None,
                Err(_) => {
                    println!("FAILED: KLEYM_FAULTS_REPLAY={} make test-faults", plan.name());
                    Some(plan.name())
                }
            }
        })
        .buffer_unordered(AT_ONCE)
        .filter_map(|failed| async { failed })
        .collect()
        .await;
    println!("{} plans, {} failed", plans.len(), failed.len());
    assert!(failed.is_empty(), "{failed:#?}");
}
