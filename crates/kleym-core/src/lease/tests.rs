//! The state machine's rules, one sentence each.

use std::time::Duration;

use super::*;
use crate::name::{Instance, check_subdomain};

const US: &str = "us_1";
const THEM: &str = "them_1";
const UID: &str = "uid-1";
/// The wall clock of these tests: two seconds past the epoch.
const WALL: Stamp = Stamp(2_000_000);

fn at(seconds: f64) -> Now {
    Duration::from_secs_f64(seconds)
}

fn record(holder: &str, duration_seconds: i32, transitions: i32) -> Record {
    Record {
        holder: holder.to_owned(),
        duration_seconds: Some(duration_seconds),
        transitions,
        acquired: Some(Stamp(1)),
        renewed: Some(Stamp(1)),
    }
}

fn live(resource_version: &str, record: Record) -> Live {
    Live { uid: UID.to_owned(), resource_version: resource_version.to_owned(), record }
}

fn held_by(holder: &str, resource_version: &str) -> Live {
    live(resource_version, record(holder, 15, 7))
}

fn released(resource_version: &str, transitions: i32) -> Live {
    live(resource_version, record("", RELEASED_SECONDS, transitions))
}

fn candidate() -> State {
    State::new(Timing::DEFAULT, US)
}

/// The answer to a look.
fn sees(live: &Live) -> Answer {
    Answer::Seen(Sight::Present(live.clone()))
}

/// When a candidate claims the lease if it stays as this.
fn claims_at(state: &State, from: f64, known: &Live) -> Now {
    let (mut state, mut now) = (state.clone(), at(from));
    loop {
        match state.next(now, WALL) {
            Step::Wait { until } => now = until,
            Step::Look => state.answered(now, sees(known)),
            Step::Replace { resource_version, .. } if resource_version == known.resource_version => {
                return now;
            }
            step => panic!("{step:?}"),
        }
    }
}

/// A candidate that looked at the start and saw this.
fn that_saw(sight: Sight) -> State {
    let mut state = candidate();
    assert_eq!(state.next(at(0.0), WALL), Step::Look);
    state.answered(at(0.0), Answer::Seen(sight));
    state
}

fn that_saw_live(live: Live) -> State {
    that_saw(Sight::Present(live))
}

/// Begins a write at a time and gives what it writes; it must be bound to this version.
fn begins_to_replace(state: &mut State, now: Now, version: &str) -> Record {
    match state.next(now, WALL) {
        Step::Replace { uid, resource_version, record } => {
            assert_eq!((uid.as_str(), resource_version.as_str()), (UID, version));
            record
        }
        step => panic!("{step:?}"),
    }
}

/// Writes at a time over this version; the answer comes as late as given and leaves that version.
fn replaces(state: &mut State, begun: f64, over: &str, answered: f64, leaves: &str) {
    let record = begins_to_replace(state, at(begun), over);
    state.answered(at(answered), Answer::Written(live(leaves, record)));
}

/// A leader since the start, by a claim of a released lease; its version is `2`.
fn leader() -> State {
    let mut state = that_saw_live(released("1", 7));
    replaces(&mut state, 0.0, "1", 0.0, "2");
    assert_eq!(state.leading(at(0.0)), Some(at(10.0)));
    state
}

#[test]
fn a_released_lease_is_claimed_at_once_and_led_until_two_thirds_of_its_duration() {
    let mut state = that_saw_live(released("1", 7));
    let claim = begins_to_replace(&mut state, at(0.0), "1");
    let wanted = Record {
        holder: US.to_owned(),
        duration_seconds: Some(15),
        transitions: 8,
        acquired: Some(WALL),
        renewed: Some(WALL),
    };
    assert_eq!(claim, wanted);
    assert_eq!(state.leading(at(0.0)), None);
    state.answered(at(1.0), Answer::Written(live("2", claim)));
    assert_eq!((state.leading(at(9.9)), state.leading(at(10.0))), (Some(at(10.0)), None));
    assert_eq!(state.next(at(1.0), WALL), Step::Wait { until: at(2.5) });
}

#[test]
fn a_lease_that_was_missing_at_the_first_look_is_led_as_soon_as_it_is_created() {
    let mut state = that_saw(Sight::Absent);
    let Step::Create(record) = state.next(at(0.0), WALL) else { panic!("{state:?}") };
    state.answered(at(1.0), Answer::Written(live("1", record)));
    assert_eq!(state.leading(at(1.0)), Some(at(10.0)));
    assert_eq!(state.next(at(1.0), WALL), Step::Wait { until: at(2.5) });
    let renewal = begins_to_replace(&mut state, at(2.5), "1");
    assert_eq!((renewal.holder.as_str(), renewal.transitions), (US, 0));
}

#[test]
fn a_lease_that_was_seen_and_is_missing_is_created_and_led_only_after_it_was_held_for_its_duration() {
    let mut state = that_saw_live(held_by(THEM, "0"));
    state.saw(at(0.0), Sight::Absent);
    let Step::Create(record) = state.next(at(0.0), WALL) else { panic!("{state:?}") };
    assert_eq!((record.holder.as_str(), record.transitions), (US, 0));
    let created = live("1", record.clone());
    state.answered(at(1.0), Answer::Written(created.clone()));
    assert_eq!((state.leading(at(1.0)), claims_at(&state, 1.0, &created)), (None, at(16.0)));
    assert_eq!(state.next(at(6.0), WALL), Step::Look);
    state.answered(at(6.0), sees(&created));
    let first = begins_to_replace(&mut state, at(16.0), "1");
    assert_eq!(first, Record { renewed: Some(Stamp(WALL.0 + 1)), ..record });
    state.answered(at(16.1), Answer::Written(live("2", first)));
    assert_eq!(state.leading(at(16.1)), Some(at(26.0)));
}

#[test]
fn a_held_lease_is_claimed_when_its_version_did_not_change_for_its_duration() {
    let (first, second) = (held_by(THEM, "1"), held_by(THEM, "2"));
    let mut state = that_saw_live(first.clone());
    assert_eq!(claims_at(&state, 0.0, &first), at(15.0));
    state.saw(at(14.0), Sight::Present(second.clone()));
    assert_eq!(claims_at(&state, 15.0, &second), at(29.0));
    state.saw(at(20.0), Sight::Present(second.clone()));
    assert_eq!(claims_at(&state, 20.0, &second), at(29.0));
}

#[test]
fn a_version_that_does_not_change_is_looked_at_once_lest_the_watch_be_dead() {
    let first = held_by(THEM, "1");
    let mut state = that_saw_live(first.clone());
    assert_eq!(state.next(at(0.0), WALL), Step::Wait { until: at(5.0) });
    assert_eq!(state.next(at(5.0), WALL), Step::Look);
    let mut missed = state.clone();
    state.answered(at(5.0), sees(&first));
    assert_eq!(state.next(at(5.0), WALL), Step::Wait { until: at(15.0) });
    let second = held_by(THEM, "2");
    missed.answered(at(5.0), sees(&second));
    assert_eq!(claims_at(&missed, 5.0, &second), at(20.0));
}

#[test]
fn times_in_a_record_say_nothing() {
    let times = [None, Some(Stamp(i64::MIN)), Some(Stamp(0)), Some(Stamp(i64::MAX))];
    for (acquired, renewed) in times.into_iter().flat_map(|one| times.map(|other| (one, other))) {
        let record = Record { acquired, renewed, ..record(THEM, 15, 7) };
        let seen = live("1", record);
        assert_eq!(claims_at(&that_saw_live(seen.clone()), 0.0, &seen), at(15.0));
    }
}

#[test]
fn a_longer_duration_is_respected_and_one_that_no_holder_writes_counts_as_ours() {
    for (said, wait) in [
        (Some(30), 30.0),
        (Some(60), 60.0),
        (Some(61), 15.0),
        (Some(i32::MAX), 15.0),
        (Some(5), 15.0),
        (Some(1), 15.0),
        (Some(0), 15.0),
        (Some(i32::MIN), 15.0),
        (None, 15.0),
    ] {
        let record = Record { duration_seconds: said, ..record(THEM, 15, 7) };
        let seen = live("1", record);
        assert_eq!(claims_at(&that_saw_live(seen.clone()), 0.0, &seen), at(wait), "{said:?}");
    }
}

#[test]
fn a_holder_that_was_removed_by_hand_is_no_release() {
    for garbage in [record("", 15, 7), Record { duration_seconds: None, ..record("", 15, 7) }] {
        let seen = live("2", garbage);
        assert_eq!(claims_at(&that_saw_live(seen.clone()), 0.0, &seen), at(15.0));
        let mut state = that_saw_live(held_by(THEM, "1"));
        state.saw(at(1.0), Sight::Present(seen.clone()));
        assert_eq!(claims_at(&state, 1.0, &seen), at(16.0));
    }
}

#[test]
fn a_release_that_is_watched_is_claimed_at_once() {
    let mut state = that_saw_live(held_by(THEM, "1"));
    state.saw(at(3.0), Sight::Present(released("2", 7)));
    begins_to_replace(&mut state, at(3.0), "2");
}

#[test]
fn a_release_older_than_what_was_seen_or_of_another_object_is_not_believed() {
    let other = |uid: &str, live: Live| Live { uid: uid.to_owned(), ..live };
    for old in [released("2", 6), other("uid-2", released("2", 7))] {
        let mut state = that_saw_live(held_by(THEM, "1"));
        state.saw(at(1.0), Sight::Present(old.clone()));
        assert_eq!(claims_at(&state, 1.0, &old), at(16.0));
    }
    let mut state = that_saw(Sight::Absent);
    state.saw(at(1.0), Sight::Present(released("1", 7)));
    assert_eq!(claims_at(&state, 1.0, &released("1", 7)), at(16.0));
}

#[test]
fn a_leader_renews_every_period_and_asks_for_nothing_else() {
    let mut state = leader();
    for round in 1..100 {
        let due = f64::from(round) * 2.5;
        assert_eq!(state.next(at(due - 1.0), WALL), Step::Wait { until: at(due) });
        let over = (round + 1).to_string();
        let renewal = begins_to_replace(&mut state, at(due), &over);
        assert_eq!((renewal.holder.as_str(), renewal.transitions), (US, 8));
        state.answered(at(due + 0.5), Answer::Written(live(&(round + 2).to_string(), renewal)));
        assert_eq!(state.leading(at(due + 0.5)), Some(at(due + 10.0)));
    }
}

#[test]
fn a_renewal_keeps_when_the_lease_was_taken_and_always_changes_it() {
    let mut state = leader();
    let later = Stamp(WALL.0 + 9);
    let Step::Replace { record: renewal, .. } = state.next(at(2.5), later) else { panic!("{state:?}") };
    assert_eq!((renewal.acquired, renewal.renewed), (Some(WALL), Some(later)));
    state.answered(at(2.5), Answer::Written(live("3", renewal)));
    let Step::Replace { record: renewal, .. } = state.next(at(5.0), later) else { panic!("{state:?}") };
    assert_eq!(renewal.renewed, Some(Stamp(later.0 + 1)));
}

#[test]
fn a_write_that_left_the_version_as_it_was_or_wrote_another_object_does_not_count() {
    let foreign = |live: Live| Live { uid: "uid-2".to_owned(), ..live };
    for wrong in [
        held_by(US, "2"),
        foreign(held_by(US, "3")),
        held_by(THEM, "3"),
        held_by(US, ""),
        Live { uid: String::new(), ..held_by(US, "3") },
    ] {
        let mut state = leader();
        begins_to_replace(&mut state, at(2.5), "2");
        state.answered(at(2.5), Answer::Written(wrong.clone()));
        assert_eq!(state.leading(at(2.5)), Some(at(10.0)), "{wrong:?}");
        assert_eq!(state.next(at(2.5), WALL), Step::Wait { until: at(3.5) });
        begins_to_replace(&mut state, at(3.5), "2");
    }
}

#[test]
fn failed_renewals_are_tried_again_until_leadership_ends_for_ever() {
    let mut state = leader();
    for begun in [2.5, 3.5, 4.5, 5.5, 6.5, 7.5, 8.5, 9.5] {
        begins_to_replace(&mut state, at(begun), "2");
        state.answered(at(begun), Answer::Failed);
    }
    assert_eq!(state.next(at(9.5), WALL), Step::Wait { until: at(10.0) });
    assert_eq!(state.leading(at(10.0)), None);
    assert_eq!(state.next(at(10.0), WALL), Step::Lost(Loss::NotRenewed));
    assert_eq!(state.next(at(11.0), WALL), Step::Lost(Loss::NotRenewed));
}

#[test]
fn a_call_is_given_up_in_time_and_never_later_than_leadership_ends() {
    let state = leader();
    assert_eq!(state.call_deadline(at(2.5)), at(5.5));
    assert_eq!(state.call_deadline(at(9.0)), at(10.0));
    assert_eq!(candidate().call_deadline(at(9.0)), at(12.0));
}

#[test]
fn an_acknowledgement_that_comes_after_leadership_ended_does_not_bring_it_back() {
    let mut state = leader();
    replaces(&mut state, 9.5, "2", 10.0, "3");
    assert_eq!(state.leading(at(10.0)), None);
    assert_eq!(state.next(at(10.0), WALL), Step::Lost(Loss::NotRenewed));
}

#[test]
fn a_claim_that_is_acknowledged_too_late_is_made_again_at_once() {
    let mut state = that_saw_live(released("1", 7));
    replaces(&mut state, 0.0, "1", 10.0, "2");
    assert_eq!(state.leading(at(10.0)), None);
    replaces(&mut state, 10.0, "2", 10.1, "3");
    assert_eq!(state.leading(at(10.1)), Some(at(20.0)));
}

#[test]
fn a_leader_that_meets_a_conflict_looks_and_loses_a_lease_that_is_gone_or_taken() {
    for (found, loss) in [
        (Sight::Absent, Loss::Deleted),
        (Sight::Present(held_by(THEM, "9")), Loss::Taken { by: THEM.to_owned() }),
        (Sight::Present(held_by("", "9")), Loss::Taken { by: String::new() }),
    ] {
        let mut state = leader();
        begins_to_replace(&mut state, at(2.5), "2");
        state.answered(at(2.6), Answer::Conflict);
        assert_eq!(state.next(at(2.6), WALL), Step::Look);
        state.answered(at(2.7), Answer::Seen(found));
        assert_eq!(state.next(at(2.7), WALL), Step::Lost(loss));
        assert_eq!(state.leading(at(2.7)), None);
    }
}

#[test]
fn a_leader_goes_on_when_its_own_unanswered_renewal_or_a_foreign_label_is_the_conflict() {
    let mut state = leader();
    begins_to_replace(&mut state, at(2.5), "2");
    state.answered(at(5.5), Answer::Failed);
    begins_to_replace(&mut state, at(6.5), "2");
    state.answered(at(6.6), Answer::Conflict);
    assert_eq!(state.next(at(6.6), WALL), Step::Look);
    state.answered(at(6.7), sees(&held_by(US, "3")));
    assert_eq!(state.leading(at(6.7)), Some(at(10.0)));
    replaces(&mut state, 6.7, "3", 6.8, "4");
    assert_eq!(state.leading(at(6.8)), Some(at(16.7)));
}

#[test]
fn conflicts_in_a_row_are_paced() {
    let mut state = leader();
    let looks = |state: &mut State, now: f64, version: &str| {
        state.answered(at(now), Answer::Conflict);
        let step = state.next(at(now), WALL);
        if step == Step::Look {
            state.answered(at(now), sees(&held_by(US, version)));
        }
        step
    };
    begins_to_replace(&mut state, at(2.5), "2");
    assert_eq!(looks(&mut state, 2.5, "3"), Step::Look);
    begins_to_replace(&mut state, at(2.5), "3");
    assert_eq!(looks(&mut state, 2.5, "4"), Step::Wait { until: at(3.5) });
}

#[test]
fn a_claim_that_was_never_answered_is_recognised_when_it_was_carried_out() {
    let mut state = that_saw_live(released("1", 7));
    let claim = begins_to_replace(&mut state, at(0.0), "1");
    state.answered(at(3.0), Answer::Failed);
    assert_eq!(state.next(at(3.0), WALL), Step::Wait { until: at(4.0) });
    assert_eq!(state.next(at(4.0), WALL), Step::Look);
    // Not yet: the same claim is sent again, so that either of the two is recognised.
    state.answered(at(4.0), sees(&released("1", 7)));
    assert_eq!(
        state.next(at(4.0), Stamp(9)),
        Step::Replace { uid: UID.to_owned(), resource_version: "1".to_owned(), record: claim.clone() }
    );
    state.answered(at(7.0), Answer::Failed);
    assert_eq!(state.next(at(8.0), WALL), Step::Look);
    state.answered(at(8.0), sees(&live("2", claim)));
    assert_eq!(state.leading(at(8.0)), None);
    replaces(&mut state, 8.0, "2", 8.1, "3");
    assert_eq!(state.leading(at(8.1)), Some(at(18.0)));
}

#[test]
fn a_claim_that_was_never_answered_is_not_recognised_later_than_it_would_have_ended() {
    let mut state = that_saw_live(released("1", 7));
    let claim = begins_to_replace(&mut state, at(0.0), "1");
    state.answered(at(3.0), Answer::Failed);
    assert_eq!(state.next(at(4.0), WALL), Step::Look);
    state.answered(at(4.0), sees(&released("1", 7)));
    assert_eq!(begins_to_replace(&mut state, at(4.0), "1"), claim);
    state.answered(at(7.0), Answer::Failed);
    assert_eq!(state.next(at(9.9), WALL), Step::Look);
    let carried_out = live("2", claim);
    let mut late = state.clone();
    state.answered(at(9.9), sees(&carried_out));
    assert_eq!(claims_at(&state, 9.9, &carried_out), at(9.9));
    // By now another may have led, and somebody may have put this back.
    late.answered(at(10.0), sees(&carried_out));
    assert_eq!(claims_at(&late, 10.0, &carried_out), at(25.0));
}

#[test]
fn a_claim_is_of_one_version_and_forgotten_with_it() {
    let mut state = that_saw_live(released("1", 7));
    let old = begins_to_replace(&mut state, at(0.0), "1");
    state.answered(at(3.0), Answer::Failed);
    state.saw(at(3.0), Sight::Present(released("2", 9)));
    assert_eq!(state.next(at(4.0), WALL), Step::Look);
    state.answered(at(4.0), sees(&released("2", 9)));
    assert_eq!(begins_to_replace(&mut state, at(4.0), "2").transitions, 10);
    state.answered(at(4.0), Answer::Failed);
    let carried_out = live("3", old);
    state.saw(at(4.0), Sight::Present(carried_out.clone()));
    assert_eq!(claims_at(&state, 5.0, &carried_out), at(19.0));
}

#[test]
fn a_leader_does_not_heed_a_watch() {
    let mut state = leader();
    state.saw(at(1.0), Sight::Absent);
    begins_to_replace(&mut state, at(2.5), "2");
}

#[test]
fn a_record_that_names_us_and_that_we_did_not_send_is_not_trusted() {
    let mut state = that_saw_live(released("1", 7));
    begins_to_replace(&mut state, at(0.0), "1");
    state.answered(at(0.0), Answer::Conflict);
    assert_eq!(state.next(at(0.0), WALL), Step::Look);
    let forged = live("2", record(US, 15, 8));
    state.answered(at(0.0), sees(&forged));
    assert_eq!(claims_at(&state, 0.0, &forged), at(15.0));
}

#[test]
fn a_creation_that_was_never_answered_is_waited_for_like_anybodys() {
    let mut state = that_saw(Sight::Absent);
    let Step::Create(record) = state.next(at(0.0), WALL) else { panic!("{state:?}") };
    state.answered(at(3.0), Answer::Failed);
    assert_eq!(state.next(at(4.0), WALL), Step::Look);
    let created = live("1", record);
    state.answered(at(4.0), sees(&created));
    assert_eq!(claims_at(&state, 4.0, &created), at(19.0));
    // Nor is it led at once when somebody deleted it since.
    state.saw(at(5.0), Sight::Absent);
    let Step::Create(record) = state.next(at(5.0), WALL) else { panic!("{state:?}") };
    state.answered(at(5.0), Answer::Written(live("2", record)));
    assert_eq!(state.leading(at(5.0)), None);
}

#[test]
fn a_standby_creates_a_lease_that_was_deleted() {
    let mut state = that_saw_live(held_by(THEM, "1"));
    state.saw(at(3.0), Sight::Absent);
    assert!(matches!(state.next(at(3.0), WALL), Step::Create(_)));
}

#[test]
fn a_standby_that_is_not_watching_looks_again_after_a_pause_and_keeps_its_count() {
    let seen = held_by(THEM, "1");
    let mut state = that_saw_live(seen.clone());
    assert_eq!(state.watch_from(), Some("1"));
    state.not_watched(at(2.0));
    assert_eq!(state.watch_from(), None);
    assert_eq!(state.next(at(2.0), WALL), Step::Wait { until: at(3.0) });
    assert_eq!(state.next(at(3.0), WALL), Step::Look);
    state.answered(at(3.0), sees(&seen));
    assert_eq!((state.watch_from(), claims_at(&state, 3.0, &seen)), (Some("1"), at(15.0)));
}

#[test]
fn a_stopped_leader_gives_the_lease_back() {
    let mut state = leader();
    state.release();
    assert_eq!(state.leading(at(1.0)), None);
    let wanted = Record {
        holder: String::new(),
        duration_seconds: Some(RELEASED_SECONDS),
        transitions: 8,
        acquired: Some(WALL),
        renewed: Some(Stamp(WALL.0 + 1)),
    };
    let left = begins_to_replace(&mut state, at(1.0), "2");
    assert_eq!((left.is_released(), &left), (true, &wanted));
    state.answered(at(1.0), Answer::Written(live("3", left)));
    assert_eq!(state.next(at(1.0), WALL), Step::Over);
}

#[test]
fn a_release_is_tried_again_and_given_up_when_the_lease_is_no_longer_ours() {
    let mut state = leader();
    begins_to_replace(&mut state, at(2.5), "2");
    state.answered(at(5.5), Answer::Failed);
    state.release();
    begins_to_replace(&mut state, at(6.5), "2");
    state.answered(at(6.5), Answer::Conflict);
    assert_eq!(state.next(at(6.5), WALL), Step::Look);
    let mut taken = state.clone();
    state.answered(at(6.5), sees(&held_by(US, "3")));
    assert!(begins_to_replace(&mut state, at(6.5), "3").is_released());
    taken.answered(at(6.5), sees(&held_by(THEM, "3")));
    assert_eq!(taken.next(at(6.5), WALL), Step::Over);
}

#[test]
fn a_release_that_was_never_answered_is_only_sent_again_over_the_same_version() {
    let mut state = leader();
    state.release();
    begins_to_replace(&mut state, at(1.0), "2");
    state.answered(at(4.0), Answer::Failed);
    begins_to_replace(&mut state, at(5.0), "2");
    // It was carried out: by now another may lead, whatever the lease says.
    state.answered(at(5.0), Answer::Conflict);
    assert_eq!(state.next(at(5.0), WALL), Step::Over);
}

#[test]
fn a_leader_whose_time_is_up_gives_nothing_back() {
    let mut state = leader();
    state.release();
    begins_to_replace(&mut state.clone(), at(9.9), "2");
    assert_eq!(state.next(at(10.0), WALL), Step::Over);
}

#[test]
fn who_never_led_has_nothing_to_give_back() {
    let mut state = that_saw_live(held_by(THEM, "0"));
    state.saw(at(0.0), Sight::Absent);
    let Step::Create(record) = state.next(at(0.0), WALL) else { panic!("{state:?}") };
    // A leader under whom the lease was deleted may still be at work, so this is no release.
    state.answered(at(0.0), Answer::Written(live("1", record)));
    state.release();
    assert_eq!(state.next(at(0.0), WALL), Step::Over);
}

#[test]
fn an_answer_that_is_no_object_is_a_failure() {
    let mut state = candidate();
    assert_eq!(state.next(at(0.0), WALL), Step::Look);
    state.answered(at(0.0), sees(&held_by(THEM, "")));
    assert_eq!(state.next(at(0.0), WALL), Step::Wait { until: at(1.0) });
    assert_eq!(state.next(at(1.0), WALL), Step::Look);
}

#[test]
fn transitions_never_overflow_and_garbage_counts_as_none() {
    for (said, written) in [(i32::MAX, i32::MAX), (-5, 1), (0, 1)] {
        let seen = live("1", record(THEM, 15, said));
        let mut state = that_saw_live(seen.clone());
        assert_eq!(state.next(at(5.0), WALL), Step::Look);
        state.answered(at(5.0), sees(&seen));
        assert_eq!(begins_to_replace(&mut state, at(15.0), "1").transitions, written);
    }
}

#[test]
fn a_lease_lasts_three_to_sixty_seconds_and_is_led_for_less() {
    for seconds in [3, 15, 60] {
        let timing = Timing::seconds(seconds).unwrap();
        assert!(timing.lead < timing.duration && timing.period + timing.call < timing.lead, "{timing:?}");
    }
    assert_eq!(Timing::seconds(15), Ok(Timing::DEFAULT));
    for seconds in [0, 1, 2, 61, 255] {
        assert_eq!(Timing::seconds(seconds), Err(BadDuration));
    }
}

#[test]
fn a_lease_is_called_after_its_instance_and_every_instance_has_its_own() {
    let of = |instance: &str| name(&Instance::parse(instance).unwrap()).to_string();
    assert_eq!(of("default"), "kleym-operator-default");
    assert_eq!(of("a.b"), "kleym-operator-a.b");
    assert_eq!(
        of("Default"),
        "kleym-operator-21b111cbfe6e8fca2d181c43f53ad548b22e38aca955b9824706a504b0a07a2d"
    );
    let odd = ["a_b", "A.b", "a.B", "a..b", "a-.b", "a.-b", &"A".repeat(63), &"a".repeat(63), "a--b", "ab"];
    let mut names: Vec<String> = odd.into_iter().map(of).collect();
    assert!(names.iter().all(|name| check_subdomain(name).is_ok()));
    names.sort();
    names.dedup();
    assert_eq!(names.len(), odd.len());
}
