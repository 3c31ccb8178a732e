//! Every scenario with every fault at every call that is not like another one.
//!
//! `KLEYM_FAULTS_SHARD=2/8` runs the second of eight parts, `KLEYM_FAULTS_ONLY=<text>` those whose names hold a text,
//! `KLEYM_FAULTS_PLANS` at most so many of them, mixed by `KLEYM_FAULTS_SEED`, and
//! `KLEYM_FAULTS_REPLAY=<scenario>/<call>/<fault>` runs one. `KLEYM_FAULTS_AT_ONCE` says how many worlds live side by side.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt, StreamExt, stream};
use tokio::time::Instant;

use crate::fault::{Hand, Stopped, Suffering, Wrong, at_a_call, of_the_whole, rejects};
use crate::runs::{Deeds, END_WITHIN, Reference, Run, reference};
use crate::scenario::Scenario;
use crate::world::World;
use crate::wrong::{At, go_wrong};

/// How many worlds live side by side when nobody says otherwise.
const AT_ONCE: usize = 12;
/// How long after its fault a plan may take until everything is as it should be: ten seconds, as long as the longest back-off
/// of few bindings, and some for a busy machine.
const SETTLES_WITHIN: Duration = Duration::from_secs(15);
/// How many plans of one hundred may find that their call is not made: what two bindings do at the same time differs from
/// run to run.
const NOT_REACHED: usize = 8;
/// The same for the plans of one fault, where there are at least `MANY`.
const OF_ONE_FAULT: usize = 30;
/// Of one hundred second kills: after the first one there may be no other call of this kind.
const OF_SECOND_KILLS: usize = 60;
const MANY: usize = 10;

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
    /// It passed, but took too long.
    Late,
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

    /// The bindings whose output the call may write.
    fn written(&self) -> Vec<String> {
        let Some((call, _)) = &self.at else { return Vec::new() };
        let writes = |role: &str| {
            ["create", "update"].iter().any(|verb| *call == format!("{verb}-clusterspiffeids-of-{role}"))
        };
        let bindings = self.scenario.bindings().into_iter();
        bindings.filter(|binding| writes(&self.scenario.role(binding))).collect()
    }

    fn flags(&self) -> &'static [&'static str] {
        match self.wrong {
            Wrong::Lease(_) | Wrong::Terminate(Stopped::Leading) => &["--leader-elect"],
            _ => &[],
        }
    }

    /// Whether outputs were created and deleted as often as when nothing goes wrong, or as the fault makes it.
    fn explains(&self, found: &Deeds, expected: &Deeds) -> bool {
        // What grants more than is wanted and cannot be replaced is deleted, and made again when it can be.
        let instead = match &self.wrong {
            Wrong::Call(_) => self.at_an_update() && rejects(&self.fault),
            // Nor can it wait for long until another output that is in its way is gone.
            Wrong::BlackHole => self.at_an_update() || self.at_a_delete(),
            Wrong::Spell(_) | Wrong::Minute(Suffering::Writes, _) => true,
            Wrong::Revoked(resource, verbs) => *resource == "clusterspiffeids" && verbs.contains(&"update"),
            _ => false,
        };
        // What cannot be deleted until it is wanted again need not be.
        let spared = match &self.wrong {
            Wrong::Spell(_) | Wrong::Minute(Suffering::Writes, _) => true,
            Wrong::Revoked(resource, verbs) => *resource == "clusterspiffeids" && verbs.contains(&"delete"),
            _ => false,
        };
        // Which of several that move at once makes way depends on whose edit is seen first.
        let races = [Scenario::Swap, Scenario::Shift].contains(&self.scenario);
        // What a foreign finalizer keeps can be deleted once more.
        let kept = [Scenario::Orphan, Scenario::StrayKept].contains(&self.scenario);
        let by_hand = matches!(self.wrong, Wrong::Hand(Hand::DeletesOutputs));
        let bindings: BTreeSet<&String> = found.keys().chain(expected.keys()).collect();
        bindings.into_iter().all(|binding| {
            let of = |deeds: &Deeds| deeds.get(binding).copied().unwrap_or_default();
            let ((created, deleted), (creates, deletes)) = (of(found), of(expected));
            (created, deleted) == (creates, deletes)
                || instead && (created, deleted) == (creates + 1, deletes + 1)
                || spared && deleted < deletes && created + deletes == creates + deleted
                || races && created == deleted && created <= 1 + usize::from(instead)
                || kept && created == creates && deleted.abs_diff(deletes) <= 1
                || by_hand && created <= creates + 1 && deleted <= deletes
        })
    }

    fn at_an_update(&self) -> bool {
        self.at.as_ref().is_some_and(|(call, _)| call.starts_with("update-clusterspiffeids-"))
    }

    fn at_a_delete(&self) -> bool {
        self.at.as_ref().is_some_and(|(call, _)| call.starts_with("delete-clusterspiffeids-"))
    }

    /// How long after the fault everything must be as it should be.
    fn within(&self) -> Duration {
        match self.wrong {
            // A lease that nobody gave back is waited for.
            Wrong::Lease(_) => END_WITHIN,
            // A watch that was refused again and again is opened ever more rarely.
            Wrong::Minute(Suffering::Reads, _) | Wrong::Opening(_) => END_WITHIN,
            Wrong::Revoked(_, verbs) if verbs.contains(&"watch") => END_WITHIN,
            _ => SETTLES_WITHIN,
        }
    }
}

async fn run(plan: &Plan, reference: &Reference) -> Outcome {
    let expected = reference.end.as_str();
    let mut late = false;
    let world = World::new(&plan.scenario.name()).await;
    match &plan.wrong {
        // A write that lands late, that nobody could hold back, may overlap until it is swept.
        Wrong::BlackHole => plan.written().iter().for_each(|binding| world.displaced(binding)),
        Wrong::Call(kleym_testenv::proxy::Fault::Twice) => world.excuse("wire: sent again"),
        _ => {}
    }
    let mut run = Run::prepared_with(plan.scenario, world, plan.alone(), plan.flags()).await;
    let reached = go_wrong(&mut run, &plan.at, &plan.wrong, expected).await;
    let not_made = ["-before", "-minute"].iter().any(|end| plan.fault.ends_with(end));
    // A class change is tried before anything is deleted, and what is only tried is never seen.
    let only_tried = plan.fault.ends_with("-minute-after") && plan.scenario == Scenario::Class;
    if rejects(&plan.fault) && (not_made || only_tried) {
        // What was rejected is not tried again by itself. What was carried out all the same is seen.
        run.world.at_rest().await;
        run.start().await;
    }
    if let Wrong::Hand(Hand::DeletesNamespace) = plan.wrong {
        run.world.at_rest().await;
    } else {
        let took = run.ends(expected).await;
        late = took > plan.within();
        let deeds = run.deeds().await;
        assert!(plan.explains(&deeds, &reference.deeds), "{deeds:?} instead of {:?}", reference.deeds);
    }
    run.lives().await;
    run.close().await;
    match (reached, late) {
        (_, true) => Outcome::Late,
        (true, false) => Outcome::Passed,
        (false, false) => Outcome::NotReached,
    }
}

/// The calls that are not alike, each with how many like it came before it. Of many that are alike, because as many bindings
/// do the same, the first and one in the middle stand for all.
pub(crate) fn distinct(calls: &[String]) -> Vec<(String, usize)> {
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
    let mut played: Vec<_> = stream::iter(scenarios)
        .map(|scenario| async move { (scenario, reference(scenario).await) })
        .buffer_unordered(at_once)
        .collect()
        .await;
    played.sort_by_key(|(scenario, _)| scenario.name());
    let mut all = Vec::new();
    let mut references = BTreeMap::new();
    for (scenario, reference) in played {
        let distinct = distinct(&reference.calls);
        println!("{}: {} calls, not alike: {distinct:?}", scenario.name(), reference.calls.len());
        let plan = |at: &At, (fault, wrong)| Plan { scenario, at: at.clone(), fault, wrong };
        for call in distinct {
            let faults = at_a_call(scenario, &call.0);
            let at = Some(call);
            all.extend(faults.into_iter().map(|fault| plan(&at, fault)));
        }
        all.extend(of_the_whole(scenario).into_iter().map(|fault| plan(&None, fault)));
        all.retain(|plan| plan.scenario != scenario || plan.wrong.can_strike(&plan.at, &reference));
        references.insert(scenario.name(), reference);
    }
    let faults: BTreeSet<String> = all.iter().map(|plan| plan.fault.clone()).collect();
    let there = all.len();
    let plans = chosen(all);
    let whole = plans.len() == there;
    let references = Arc::new(references);
    let began = Instant::now();
    // What lasts a minute waits most of the time, and holds up nobody.
    let (long, short): (Vec<Plan>, Vec<Plan>) =
        plans.into_iter().partition(|plan| matches!(plan.wrong, Wrong::Minute(..)));
    let (mut outcomes, long) =
        tokio::join!(run_all(short, &references, at_once), run_all(long, &references, at_once));
    outcomes.extend(long);
    // Beside eleven others a machine can be slow; nobody is beside these.
    let late: Vec<Plan> =
        outcomes.extract_if(.., |(_, outcome, _)| *outcome == Outcome::Late).map(|(plan, ..)| plan).collect();
    for (plan, outcome, took) in run_all(late, &references, 1).await {
        let outcome = if outcome == Outcome::Late { Outcome::Failed } else { outcome };
        outcomes.push((plan, outcome, took));
    }
    tell(&outcomes, began.elapsed());
    let of = |wanted| outcomes.iter().filter(move |(_, outcome, _)| *outcome == wanted);
    let failed: Vec<String> = of(Outcome::Failed).map(|(plan, ..)| plan.name()).collect();
    assert!(failed.is_empty(), "{failed:#?}");
    let missed = of(Outcome::NotReached).count();
    assert!(missed * 100 <= outcomes.len() * NOT_REACHED, "{missed} of {} met no fault", outcomes.len());
    let unmet: Vec<&String> = faults
        .iter()
        .filter(|fault| {
            let count = |wanted| of(wanted).filter(|(plan, ..)| plan.fault == **fault).count();
            let (met, missed) = (count(Outcome::Passed), count(Outcome::NotReached));
            // A part of the plans can only speak of what it has many of.
            let many = met + missed >= MANY;
            let most = if fault.ends_with("-twice") { OF_SECOND_KILLS } else { OF_ONE_FAULT };
            whole && met == 0 || many && missed * 100 > (met + missed) * most
        })
        .collect();
    assert!(unmet.is_empty(), "too often these faults were not met: {unmet:?}");
}

/// Runs plans, so many at a time.
async fn run_all(
    plans: Vec<Plan>,
    references: &Arc<BTreeMap<String, Reference>>,
    at_once: usize,
) -> Vec<(Plan, Outcome, Duration)> {
    let run_one = |plan: Plan| {
        let references = Arc::clone(references);
        // A task of its own, so that one that is busy holds up no other.
        tokio::spawn(async move {
            let began = Instant::now();
            let outcome = AssertUnwindSafe(run(&plan, &references[&plan.scenario.name()])).catch_unwind();
            let outcome = outcome.await.unwrap_or(Outcome::Failed);
            if [Outcome::Failed, Outcome::Late].contains(&outcome) {
                println!("{outcome:?}: KLEYM_FAULTS_REPLAY={} make test-faults", plan.name());
            }
            (plan, outcome, began.elapsed())
        })
    };
    stream::iter(plans).map(run_one).buffer_unordered(at_once).map(Result::unwrap).collect().await
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
