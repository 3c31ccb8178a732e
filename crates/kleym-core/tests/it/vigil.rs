//! What spire-controller-manager makes of the outputs: counted, and told once when nothing comes of them.

use std::sync::Arc;

use kleym_core::announce::{Announcement, GRACE, Object, SpireStatus, Vigil, Watched};
use kleym_core::name::{ClassName, ObjectName, output_name};
use kleym_core::output::{LiveOutput, OutputStats};

use crate::announce::{NOTHING, identity, live, output_of_chat, short, uid};
use crate::world::{key, name, settings};

/// The vigil over the output of `chat`, created at second 1000.
struct Post {
    vigil: Vigil,
    output: LiveOutput,
}

impl Post {
    fn new() -> Self {
        Self { vigil: Vigil::default(), output: live(&identity("vllm"), "o-1") }
    }

    fn sees(&mut self, stats: Option<OutputStats>, now: i64) {
        self.output.stats = stats;
        self.vigil.saw(&self.output, now, now);
    }

    fn tells(&mut self, now: i64) -> Vec<Announcement> {
        let (key, uid) = (key("llm", "chat"), uid("chat-1"));
        let output = Arc::new(self.output.clone());
        self.vigil.due(&settings(), now, |name| {
            (*name == output.name).then(|| Watched { binding: &key, uid: &uid, output: Arc::clone(&output) })
        })
    }

    fn told(&mut self, now: i64) -> Vec<String> {
        short(&self.tells(now))
    }
}

fn counts(pods: i64, entries: i64, failures: i64) -> Option<OutputStats> {
    let stats = OutputStats { pods_selected: pods, entries_to_set: entries, ..OutputStats::default() };
    Some(OutputStats { entry_failures: failures, ..stats })
}

#[test]
fn an_output_that_is_not_picked_up_is_told_once_two_minutes_after_its_creation() {
    let mut post = Post::new();
    post.sees(None, 1001);
    assert_eq!(post.vigil.next_due(), Some(1000 + GRACE));
    assert_eq!(post.told(1000 + GRACE - 1), NOTHING);
    let told = post.tells(1000 + GRACE);
    assert_eq!(short(&told), ["Warning NotPickedUp chat"]);
    assert_eq!(told[0].related, Some(Object::Output(output_of_chat(), uid("o-1"))));
    assert!(told[0].note.contains("--clusterspiffeid-class-name"), "{}", told[0].note);
    assert_eq!(post.vigil.next_due(), None);
    post.sees(None, 2000);
    assert_eq!(post.told(9999), NOTHING);
}

#[test]
fn a_time_of_day_that_jumps_makes_nobody_wait_for_longer_nor_hear_of_it_earlier() {
    const DAY: i64 = 86_400;
    for jump in [-DAY, 0, DAY] {
        // The process has run for ten seconds when it sees the output, which was made a second ago.
        let mut post = Post::new();
        post.vigil.saw(&post.output, 10, 1001);
        assert_eq!(post.vigil.next_due(), Some(9 + GRACE));
        post.output.resource_version = "9".into();
        post.vigil.saw(&post.output, 20, 1011 + jump);
        assert_eq!(post.vigil.next_due(), Some(9 + GRACE), "{jump}");
        // A change begins now, whatever the time of day.
        post.output.spec.class_name = Some("other".into());
        post.vigil.saw(&post.output, 30, 1021 + jump);
        assert_eq!(post.told(30 + GRACE - 1), NOTHING, "{jump}");
        assert_eq!(post.told(30 + GRACE), ["Warning NotPickedUp chat"], "{jump}");
    }
    // Where it is wrong from the beginning, the two minutes begin when the output is seen, or are over.
    for (wall, due) in [(1001 - DAY, 10 + GRACE), (1001 + DAY, 10)] {
        let mut post = Post::new();
        post.vigil.saw(&post.output, 10, wall);
        assert_eq!(post.vigil.next_due(), Some(due), "{wall}");
    }
}

#[test]
fn what_is_told_of_an_output_is_the_same_after_a_restart() {
    let mut told = [1001, 5000].map(|now| {
        let mut post = Post::new();
        post.sees(None, now);
        post.tells(5000)
    });
    let [first, second] = &mut told;
    assert_eq!(first, second);
    assert_eq!(first[0].event_name(), second[0].event_name());
}

#[test]
fn an_output_that_is_reported_in_time_is_never_told_of() {
    let mut post = Post::new();
    post.sees(None, 1000);
    post.sees(counts(1, 1, 0), 1010);
    assert_eq!((post.vigil.next_due(), post.told(9999)), (None, vec![]));
    post.sees(counts(0, 0, 0), 1020);
    assert_eq!((post.vigil.next_due(), post.told(9999)), (None, vec![]));
}

#[test]
fn entries_that_are_missing_or_failing_for_two_minutes_are_told_once() {
    for failing in [counts(2, 0, 0), counts(2, 2, 1)] {
        let mut post = Post::new();
        post.sees(failing, 1010);
        assert_eq!(post.told(1000 + GRACE), ["Warning NotIssued chat"]);
        post.sees(counts(2, 2, 0), 1200);
        post.sees(failing, 1300);
        assert_eq!(post.told(9999), NOTHING);
    }
    let mut post = Post::new();
    post.sees(counts(2, 2, 0), 1010);
    post.sees(counts(2, 2, 1), 5000);
    assert_eq!(post.vigil.next_due(), Some(5000 + GRACE));
    post.sees(counts(2, 2, 0), 5001);
    assert_eq!(post.told(9999), NOTHING, "a failure that passes is no news");
}

#[test]
fn masked_entries_are_another_outputs_and_not_missing() {
    let masked = OutputStats { pods_selected: 1, entries_masked: 1, ..OutputStats::default() };
    assert_eq!(SpireStatus::of(Some(&masked)), SpireStatus::Reported);
}

#[test]
fn a_change_of_the_output_begins_the_two_minutes_anew_and_a_change_of_metadata_does_not() {
    let mut post = Post::new();
    post.sees(None, 1000);
    post.output.resource_version = "9".into();
    post.output.labels.insert("team".into(), "a".into());
    post.sees(None, 1100);
    assert_eq!(post.vigil.next_due(), Some(1000 + GRACE));
    post.output.spec.class_name = Some("other".into());
    post.sees(None, 1100);
    assert_eq!(post.vigil.next_due(), Some(1100 + GRACE));
    assert_eq!(post.told(1100 + GRACE), ["Warning NotPickedUp chat"]);
    post.output.spec.spiffe_id = "spiffe://example.org/ns/llm/other".into();
    post.sees(None, 2000);
    assert_eq!(post.told(2000 + GRACE), ["Warning NotPickedUp chat"]);
}

#[test]
fn an_output_that_is_going_or_gone_is_not_told_of() {
    let mut post = Post::new();
    post.sees(None, 1000);
    post.vigil.gone(&output_of_chat());
    assert_eq!((post.vigil.next_due(), post.told(9999)), (None, vec![]));
    let mut post = Post::new();
    post.sees(None, 1000);
    post.output.deleting = true;
    post.sees(None, 1001);
    assert_eq!((post.vigil.next_due(), post.vigil.counts().of(SpireStatus::Absent)), (None, 0));
}

#[test]
fn outputs_are_counted_by_what_spire_says_of_them() {
    let mut vigil = Vigil::default();
    let base = live(&identity("vllm"), "o-1");
    let mut see = |number: usize, stats| {
        let name = name(&format!("output-{number}"));
        vigil.saw(&LiveOutput { name, stats, ..base.clone() }, 1000, 1000);
        SpireStatus::ALL.map(|status| vigil.counts().of(status))
    };
    assert_eq!(see(1, None), [0, 1, 0]);
    assert_eq!(see(2, counts(1, 0, 0)), [0, 1, 1]);
    assert_eq!(see(3, counts(1, 1, 0)), [1, 1, 1]);
    assert_eq!(see(1, counts(1, 1, 0)), [2, 0, 1]);
    assert_eq!(see(1, counts(1, 1, 0)), [2, 0, 1]);
}

#[test]
fn thousands_that_fall_due_together_are_told_in_portions() {
    let base = live(&identity("vllm"), "o-1");
    let mut vigil = Vigil::default();
    let settings = settings();
    let (uid, keys): (_, Vec<_>) =
        (uid("b"), (0..120).map(|number| key("llm", &format!("b-{number}"))).collect());
    let outputs: Vec<LiveOutput> =
        keys.iter().map(|key| LiveOutput { name: output_name("default", key), ..base.clone() }).collect();
    outputs.iter().for_each(|output| vigil.saw(output, 1000, 1000));
    let find = |name: &ObjectName| {
        let place = outputs.iter().position(|output| output.name == *name)?;
        Some(Watched { binding: &keys[place], uid: &uid, output: Arc::new(outputs[place].clone()) })
    };
    let portions: Vec<(usize, Option<i64>)> =
        (0..4).map(|second| (vigil.due(&settings, 5000 + second, find).len(), vigil.next_due())).collect();
    assert_eq!(portions, [(50, Some(5001)), (50, Some(5002)), (20, None), (0, None)]);
}

#[test]
fn the_class_of_the_output_that_nobody_may_watch_is_named() {
    let mut settings = settings();
    settings.class_name = Some(ClassName::parse("configured-since").unwrap());
    let mut output = live(&identity("vllm"), "o-1");
    output.spec.class_name = Some("spire-server-spire".into());
    let mut vigil = Vigil::default();
    vigil.saw(&output, 1000, 1000);
    let (key, uid) = (key("llm", "chat"), uid("chat-1"));
    let output = Arc::new(output);
    let told = vigil
        .due(&settings, 5000, |_| Some(Watched { binding: &key, uid: &uid, output: Arc::clone(&output) }));
    assert!(told[0].note.contains("`spire-server-spire`"), "{}", told[0].note);
}
