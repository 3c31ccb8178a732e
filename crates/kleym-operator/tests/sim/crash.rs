//! Every scenario with a fault at every single call: it must end as it does without one.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::mutant::Mutant;
use crate::plan::Plan;
use crate::runner::{Outcome, run};
use crate::scenario::{Pace, Scenario};
use crate::world::Fate;

/// Deaths of an operator around a call. The last one leaves its request on the way, to land when another has started.
pub(crate) const DEATHS: [Fate; 4] =
    [Fate::KilledBefore, Fate::KilledAfterCommit, Fate::KilledAfterReply, Fate::KilledDuring(3000)];

/// Misfortunes of a call that its operator lives through.
pub(crate) const MISFORTUNES: [Fate; 10] = [
    Fate::AnswerLost,
    Fate::Held(25_000),
    Fate::Refused(409),
    Fate::Dropped,
    Fate::Twice,
    Fate::Held(8000),
    Fate::Refused(404),
    Fate::Refused(429),
    Fate::Refused(403),
    Fate::Refused(503),
];

/// A write that lands when the world has moved on, its operator alive or dead.
pub(crate) const LATE: [Fate; 6] = [
    Fate::AnswerLostAfter(7000),
    Fate::Held(7000),
    Fate::Held(9900),
    Fate::Held(25_000),
    Fate::KilledDuring(7000),
    Fate::KilledDuring(15_000),
];

/// A write that happens and is said to be refused: by every code that says so for certain, and what the operator makes of
/// it, once in each way first.
pub(crate) const MISANSWERED: [Fate; 9] = [
    Fate::Misanswered(422),
    Fate::Misanswered(404),
    Fate::Misanswered(409),
    Fate::Misanswered(403),
    Fate::Misanswered(400),
    Fate::Misanswered(401),
    Fate::Misanswered(405),
    Fate::Misanswered(413),
    Fate::Misanswered(429),
];

/// What all runs came to.
#[derive(Debug, Default)]
pub(crate) struct Survey {
    /// How many runs there were.
    pub(crate) runs: usize,
    /// How long they took, one after the other.
    pub(crate) took: Duration,
    /// Each with a line that says how to see it again.
    pub(crate) failures: Vec<String>,
}

impl Survey {
    fn add(&mut self, other: Self) {
        self.runs += other.runs;
        self.took += other.took;
        self.failures.extend(other.failures);
    }

    /// Fails with the first failures, if there are any.
    pub(crate) fn assert_clean(&self) {
        let each = self.took / u32::try_from(self.runs).unwrap().max(1);
        println!("{} runs, each in {each:?}", self.runs);
        let some: Vec<&str> = self.failures.iter().take(10).map(String::as_str).collect();
        assert!(some.is_empty(), "{} of {} runs fail:\n{}", self.failures.len(), self.runs, some.join("\n"));
    }
}

/// Does something with each of these, on two processors.
pub(crate) fn in_parallel<T: Sync, R: Send>(all: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let one = || {
            let mut done = Vec::new();
            while let Some(item) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
                done.push(work(item));
            }
            done
        };
        let threads: Vec<_> = (0..2).map(|_| scope.spawn(one)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    })
}

/// A scenario without a fault, then with each of these fates for each of its calls; with `twice`, each also followed by
/// each of these deaths a few calls later.
pub(crate) fn survey(scenario: &Scenario, pace: Pace, fates: &[Fate], twice: &[Fate]) -> Survey {
    survey_of(scenario, pace, fates, twice, None)
}

/// The same with a mutant, up to the first failure.
pub(crate) fn survey_of(
    scenario: &Scenario,
    pace: Pace,
    fates: &[Fate],
    twice: &[Fate],
    mutant: Option<Mutant>,
) -> Survey {
    let began = Instant::now();
    let plan = scenario.plan(pace);
    let reference = run(&plan, None, false);
    let mut survey = Survey { runs: 1, ..Survey::default() };
    if let Err(violation) = &reference.verified {
        survey.failures.push(format!("{:?} without a fault: {violation:?}", scenario.name));
        return survey;
    }
    let alone = (0..reference.calls).flat_map(|number| fates.iter().map(move |fate| (number, *fate)));
    let all = alone.flat_map(|(number, fate)| {
        let later = number + 1..number + 1 + twice.len().min(3) as u64;
        let pairs = later.flat_map(move |later| {
            twice.iter().map(move |death| BTreeMap::from([(number, fate), (later, *death)]))
        });
        pairs.chain([BTreeMap::from([(number, fate)])])
    });
    let (part, parts) = if mutant.is_none() { shard() } else { (0, 1) };
    let mine = all.enumerate().filter(|(nth, _)| nth % parts == part).map(|(_, fates)| fates);
    for fates in [BTreeMap::new()].into_iter().chain(mine) {
        let plan = Plan { fates, ..plan.clone() };
        survey.runs += 1;
        let outcome = run(&plan, mutant, false);
        if let Some(how) = differs(&outcome, &reference) {
            if std::env::var_os("KLEYM_SIM_HISTORY").is_some() {
                println!("{}", run(&plan, mutant, true).history.join("\n"));
            }
            survey.failures.push(format!("{:?} {pace:?} with {:?}: {how}", scenario.name, plan.fates));
            if mutant.is_some() {
                break;
            }
        }
    }
    survey.took = began.elapsed();
    survey
}

/// Which part of all runs, from 0 on, and of how many parts: `KLEYM_SIM_SHARD=2/8` is the second of eight.
fn shard() -> (usize, usize) {
    let Ok(text) = std::env::var("KLEYM_SIM_SHARD") else { return (0, 1) };
    let (part, parts) = text.split_once('/').expect("KLEYM_SIM_SHARD is like 2/8");
    let (part, parts): (usize, usize) = (part.parse().unwrap(), parts.parse().unwrap());
    assert!((1..=parts).contains(&part), "KLEYM_SIM_SHARD is like 2/8");
    (part - 1, parts)
}

fn differs(outcome: &Outcome, reference: &Outcome) -> Option<String> {
    if let Err(violation) = &outcome.verified {
        return Some(format!("{}: {}", violation.rule, violation.what));
    }
    if outcome.settled == reference.settled {
        return None;
    }
    let places = outcome.settled.keys().chain(reference.settled.keys());
    let place =
        places.into_iter().find(|place| outcome.settled.get(*place) != reference.settled.get(*place))?;
    let shown = |outcome: &Outcome| outcome.settled.get(place).map(ToString::to_string);
    Some(format!(
        "L1: {place:?} ends as\n  {:?}\nbut without a fault as\n  {:?}",
        shown(outcome),
        shown(reference)
    ))
}

/// Every scenario at every pace that suits it.
pub(crate) const EVERY_PACE: bool = true;
/// Every scenario at the quickest pace that suits it.
pub(crate) const ONE_PACE: bool = false;

/// Every scenario, with these fates.
pub(crate) fn stage(every_pace: bool, fates: &[Fate], twice: &[Fate]) -> Survey {
    stage_of(crate::scenario::all(), every_pace, fates, twice)
}

/// The same with a standby, that takes over from who dies.
pub(crate) fn stage_with_standby(every_pace: bool, fates: &[Fate]) -> Survey {
    let all = crate::scenario::all().into_iter().map(Scenario::with_standby).collect();
    stage_of(all, every_pace, fates, &[])
}

fn stage_of(scenarios: Vec<Scenario>, every_pace: bool, fates: &[Fate], twice: &[Fate]) -> Survey {
    let mut jobs: Vec<(Scenario, Pace)> = Vec::new();
    for scenario in scenarios {
        let brisk = scenario.at_any_pace();
        if brisk {
            jobs.push((scenario.clone(), Pace::Brisk));
        }
        if every_pace || !brisk {
            jobs.push((scenario, Pace::Calm));
        }
    }
    let mut all = Survey::default();
    for survey in in_parallel(&jobs, |(scenario, pace)| survey(scenario, *pace, fates, twice)) {
        all.add(survey);
    }
    all
}

/// Every scenario in which the world moves on while it is not known what became of a write.
pub(crate) fn stage_moving(fates: &[Fate]) -> Survey {
    let mut all = Survey::default();
    for survey in
        in_parallel(&crate::scenario::moving(), |scenario| survey(scenario, Pace::Steady, fates, &[]))
    {
        all.add(survey);
    }
    all
}

/// How a scenario without a fault breaks a rule; it must be over soon after its last act.
fn breaks(scenario: &Scenario, pace: Pace, mutant: Option<Mutant>) -> Option<String> {
    let outcome = run(&scenario.plan(pace), mutant, false);
    if let Err(violation) = outcome.verified {
        return Some(format!("{} in {:?}: {}", violation.rule, scenario.name, violation.what));
    }
    let took = outcome.last_call.saturating_sub(scenario.over(pace));
    (took > SOON).then(|| format!("L2 in {:?}: it takes {took:?}", scenario.name))
}

/// How soon everything is settled without a fault.
const SOON: Duration = Duration::from_secs(3);

/// How the scenarios or the first seeds notice a broken protocol; for none, what fault they find with the real one.
pub(crate) fn notices(mutant: Option<Mutant>) -> Option<String> {
    let mut calm = crate::scenario::all().into_iter().map(|scenario| (scenario, Pace::Calm));
    if let Some(how) = calm.find_map(|(scenario, pace)| breaks(&scenario, pace, mutant)) {
        return Some(how);
    }
    let pressed = [
        crate::scenario::impatient(503),
        crate::scenario::outdated(),
        crate::scenario::unreadable(),
        crate::scenario::unserved(),
    ];
    if let Some(how) = pressed.iter().find_map(|scenario| breaks(scenario, Pace::Steady, mutant)) {
        return Some(how);
    }
    let moving = crate::scenario::moving();
    let late = moving.iter().find_map(|scenario| {
        survey_of(scenario, Pace::Steady, &[LATE[0], MISANSWERED[0]], &[], mutant).failures.into_iter().next()
    });
    let seeds = if mutant.is_some() { SEEDS_FOR_A_MUTANT } else { 0 };
    late.or_else(|| {
        (1..=seeds).find_map(|seed| {
            let violation = run(&Plan::of(seed), mutant, false).verified.err()?;
            Some(format!("{} in seed {seed}: {}", violation.rule, violation.what))
        })
    })
}

/// How many seeds a broken protocol may live through at most.
const SEEDS_FOR_A_MUTANT: u64 = 1000;
