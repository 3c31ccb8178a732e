//! Candidates, an API server and a bad network in virtual time: never two leaders, and soon one again.
//!
//! Every candidate is the real [`State`]; everything else is simulated from one seed. A candidate has a clock of its
//! own with its own origin and rate, can be paused at any moment (between deciding and sending too) and killed; a
//! call can be lost on either way, answered late, carried out late or twice; a watch can lag, break or be dead
//! without a word; somebody deletes and overwrites the lease. Time is in milliseconds.

mod world;

use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::proptest;
use proptest::test_runner::{Config, TestCaseError, TestRunner};

use super::*;
use world::{Fault, Garbage, Rules, Violation, World};

const SEATS: usize = 3;

/// So many cases at proptest's default of 256; `PROPTEST_CASES` scales all alike.
fn cases(count: u32) -> Config {
    let cases = count.saturating_mul(Config::default().cases) / 256;
    Config { cases: cases.max(1), failure_persistence: None, ..Config::default() }
}

fn garbage() -> impl Strategy<Value = Garbage> {
    prop_oneof![
        Just(Garbage::NoHolder),
        Just(Garbage::Stranger),
        (0..SEATS).prop_map(Garbage::Named),
        Just(Garbage::Nothing),
        any::<i32>().prop_map(Garbage::Duration),
        any::<i32>().prop_map(Garbage::Transitions),
        Just(Garbage::Label),
        Just(Garbage::Old),
        Just(Garbage::Release),
    ]
}

fn fault() -> impl Strategy<Value = Fault> {
    let seat = 0..SEATS;
    let long = 1..40_000_u64;
    prop_oneof![
        2 => seat.clone().prop_map(Fault::Kill),
        2 => seat.clone().prop_map(Fault::Stop),
        3 => (seat.clone(), long.clone()).prop_map(|(seat, long)| Fault::Pause(seat, long)),
        3 => (seat.clone(), long).prop_map(|(seat, long)| Fault::CutOff(seat, long)),
        1 => seat.prop_map(Fault::DeadWatch),
        1 => Just(Fault::Delete),
        2 => garbage().prop_map(Fault::Overwrite),
        2 => (0..100_u64).prop_map(Fault::BadNetwork),
        1 => Just(Fault::BadNetwork(0)),
    ]
}

fn faults() -> impl Strategy<Value = Vec<(u64, Fault)>> {
    vec((prop_oneof![0..500_u64, 0..8_000_u64, 0..40_000_u64], fault()), 0..24)
}

fn rates() -> impl Strategy<Value = [u64; SEATS]> {
    // In hundredths: one clock may run a fifth faster than another.
    [90..=108_u64, 90..=108, 90..=108]
}

/// Runs a world through its faults.
fn after(rules: Rules, seed: u64, rates: [u64; SEATS], faults: &[(u64, Fault)]) -> Result<World, Violation> {
    let mut world = World::new(rules, seed, rates);
    for (gap, fault) in faults {
        world.run_for(*gap)?;
        world.strike(*fault);
    }
    Ok(world)
}

/// How much longer real time may be than a slow candidate's.
fn slowly(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap() * 100 / 90
}

proptest! {
    #![proptest_config(cases(8_192))]

    #[test]
    fn never_two_lead_and_after_the_last_fault_one_leads_soon_and_stays(
        seed in any::<u64>(), rates in rates(), faults in faults(),
    ) {
        let timing = Timing::DEFAULT;
        let mut world = after(Rules::default(), seed, rates, &faults).unwrap();
        let end = world.calm();
        world.run_until(end).unwrap();
        // Two periods until a dead watch is noticed, the duration, and two seconds.
        world.run_for(slowly(2 * timing.period + timing.duration + Duration::from_secs(2))).unwrap();
        let leader = world.leader();
        assert!(leader.is_some(), "nobody leads");
        let before = world.calls();
        world.run_for(60_000).unwrap();
        assert_eq!(world.leader(), leader);
        let [looks, writes] = world.calls_since(before);
        assert_eq!(looks, 0);
        let period = u64::try_from(timing.period.as_millis()).unwrap();
        assert!((60_000 * 90 / 100 / period..=60_000 * 108 / 100 / period + 1).contains(&writes), "{writes} writes");
    }

    #[test]
    fn when_the_leader_is_killed_another_leads_within_the_duration_and_two_seconds(
        seed in any::<u64>(), moment in 0..10_000_u64,
    ) {
        let mut world = settled(seed);
        let leader = world.leader().unwrap();
        world.run_for(moment).unwrap();
        world.strike(Fault::Kill(world.seat(leader)));
        world.run_for(17_000).unwrap();
        assert!(world.leader().is_some_and(|next| next != leader));
    }

    #[test]
    fn when_the_leader_stops_another_leads_at_once(seed in any::<u64>(), moment in 0..10_000_u64) {
        let mut world = settled(seed);
        let leader = world.leader().unwrap();
        world.run_for(moment).unwrap();
        world.strike(Fault::Stop(world.seat(leader)));
        // A call under way, the release, the watch's word of it, the claim.
        world.run_for(4 * world::SLOWEST_GOOD_CALL).unwrap();
        assert!(world.leader().is_some_and(|next| next != leader));
    }

    #[test]
    fn when_the_lease_is_deleted_one_leads_within_the_duration_and_two_seconds(
        seed in any::<u64>(), moment in 0..10_000_u64,
    ) {
        let mut world = settled(seed);
        world.run_for(moment).unwrap();
        world.strike(Fault::Delete);
        world.run_for(17_000).unwrap();
        assert!(world.leader().is_some());
    }
}

/// A world with good clocks and network in which somebody leads.
fn settled(seed: u64) -> World {
    let mut world = World::new(Rules::default(), seed, [100; SEATS]);
    world.run_for(20_000).unwrap();
    assert!(world.leader().is_some());
    world
}

/// Whether the property that never two lead fails under these rules.
fn two_lead_under(rules: Rules, rates: [u64; SEATS]) -> bool {
    let config = Config { max_shrink_iters: 0, ..cases(1_024) };
    let never_two = |(seed, faults): (u64, Vec<(u64, Fault)>)| {
        let lived = after(rules, seed, rates, &faults).and_then(|mut world| world.run_for(60_000));
        lived.map_err(|two| TestCaseError::fail(format!("{two:?}")))
    };
    TestRunner::new(config).run(&(any::<u64>(), faults()), never_two).is_err()
}

#[test]
fn the_simulation_notices_every_rule_that_is_broken() {
    let (sound, even) = (Rules::default(), [100; SEATS]);
    let led_too_long = Timing { lead: Duration::from_secs(20), ..Timing::DEFAULT };
    let waits_too_short = Timing { duration: Duration::from_secs(9), ..Timing::DEFAULT };
    assert!(!two_lead_under(sound, even), "two lead by the rules");
    for (what, rules, rates) in [
        ("a leader that leads longer than others wait", Rules { timing: led_too_long, ..sound }, even),
        ("others that wait less than a leader leads", Rules { timing: waits_too_short, ..sound }, even),
        ("a server that ignores the version", Rules { checks_version: false, ..sound }, even),
        ("a release that somebody forged", Rules { forges_releases: true, ..sound }, even),
        ("a clock that runs at a third", sound, [33, 100, 100]),
    ] {
        assert!(two_lead_under(rules, rates), "{what} was not noticed");
    }
}
