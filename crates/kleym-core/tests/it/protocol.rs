//! Single steps of the protocol where it is easily got wrong: old views, refused writes, foreign finalizers, doubt. Whole
//! histories are the model's and the simulator's.

use std::collections::BTreeSet;
use std::sync::Arc;

use kleym_core::fact::{Availability, Known, Trouble};
use kleym_core::index::{Decision, Verdict};
use kleym_core::kind::{Kind, ObjectiveGroup};
use kleym_core::name::{BindingKey, ClassName, ObjectName, Uid};
use kleym_core::output::{FINALIZER, LiveOutput, WantedOutput};
use kleym_core::plan::{
    Failure, Finalizers, Gate, Granting, LiveBinding, Remnant, Reply, Situation, Standing, Step, Turn, Wait,
    next,
};
use kleym_core::refusal::{Refusal, WriteFailure};
use kleym_core::render::Identity;
use kleym_core::resolve::Troubles;
use kleym_core::settings::Settings;

use crate::world::{binding, key, name, settings};

fn uid(text: &str) -> Uid {
    Uid::parse(text).unwrap()
}

#[derive(Debug, Clone, Default)]
struct Others {
    blockers: BTreeSet<ObjectName>,
    in_the_way: bool,
}

impl Gate for Others {
    fn blockers(&self, _: &Identity) -> BTreeSet<ObjectName> {
        self.blockers.clone()
    }

    fn in_the_way(&self) -> bool {
        self.in_the_way
    }
}

/// What the protocol is asked about: the binding `llm/chat` with uid `b-1`, its verdict, and what stands at its output's
/// name.
#[derive(Clone)]
struct Scene {
    settings: Settings,
    key: BindingKey,
    verdict: Verdict,
    binding: Option<LiveBinding>,
    output: Option<LiveOutput>,
    others: Others,
    bindings: Availability,
    outputs: Availability,
    out_of_patience: bool,
    undone: bool,
    stripped: bool,
    unlisted: bool,
    rejected: Option<Failure>,
    turn: Turn,
}

fn identity_in(container: &str) -> Arc<Identity> {
    Arc::new(binding("chat").container(container).render().unwrap())
}

fn output_of(owner: &str, container: &str) -> LiveOutput {
    let wanted =
        WantedOutput::of(&settings(), &key("llm", "chat"), Some(&uid(owner)), &identity_in(container));
    LiveOutput::as_written(wanted, uid("o-1"), "7", Some(1000))
}

impl Scene {
    /// A binding with our finalizer that is to have the container `vllm`, and no output.
    fn new() -> Self {
        Self {
            settings: settings(),
            key: key("llm", "chat"),
            verdict: Verdict::Wanted(identity_in("vllm")),
            binding: Some(LiveBinding {
                uid: uid("b-1"),
                resource_version: "5".into(),
                generation: Some(1),
                finalizers: [FINALIZER].into_iter().collect(),
            }),
            output: None,
            others: Others::default(),
            bindings: Availability::LISTED,
            outputs: Availability::LISTED,
            out_of_patience: false,
            undone: false,
            stripped: false,
            unlisted: false,
            rejected: None,
            turn: Turn::new(),
        }
    }

    fn refused() -> Self {
        Self { verdict: Verdict::Refused(Refusal::MissingDiscriminator), ..Self::new() }
    }

    fn deleting() -> Self {
        Self { verdict: Verdict::Deleting, ..Self::new() }
    }

    fn undecided() -> Self {
        let kinds = [(Kind::Objective(ObjectiveGroup::LlmD), Trouble::Forbidden)];
        Self { verdict: Verdict::Waiting(Troubles::from(kinds)), ..Self::new() }
    }

    /// With an output that was written for this binding's uid and this container.
    fn with(mut self, owner: &str, container: &str) -> Self {
        self.output = Some(output_of(owner, container));
        self
    }

    fn output(&mut self) -> &mut LiveOutput {
        self.output.as_mut().unwrap()
    }

    fn kept(mut self) -> Self {
        self.output().finalizers = ["example.com/keep".into()].into();
        self
    }

    fn terminating(mut self) -> Self {
        self.output().deleting = true;
        self.kept()
    }

    fn without_our_finalizer(mut self) -> Self {
        self.binding.as_mut().unwrap().finalizers = Finalizers::default();
        self
    }

    fn in_doubt(mut self) -> Self {
        self.turn = Turn::in_doubt();
        self
    }

    fn next(&self) -> Step {
        let decision = Decision { verdict: self.verdict.clone(), held: Troubles::new() };
        let situation = Situation {
            settings: &self.settings,
            key: &self.key,
            decision: &decision,
            binding: self.binding.as_ref(),
            outputs: self.outputs,
            output: self.output.as_ref(),
            gate: &self.others,
            bindings: self.bindings,
            out_of_patience: self.out_of_patience,
            undone: self.undone,
            stripped: self.stripped,
            cooling: false,
            unlisted: self.unlisted,
            rejected: self.rejected,
        };
        next(&situation, &self.turn)
    }

    /// Gives the present step this reply, and answers the next one.
    fn after(&mut self, reply: &Reply) -> Step {
        let step = self.next();
        self.turn.take(&step, reply);
        self.next()
    }
}

fn delete() -> Step {
    Step::DeleteOutput { name: output_of("b-1", "vllm").name, uid: uid("o-1") }
}

fn look() -> Step {
    Step::LookAtOutput { name: output_of("b-1", "vllm").name }
}

fn neutralise() -> Step {
    Step::NeutraliseOutput { name: output_of("b-1", "vllm").name }
}

fn look_at_binding() -> Step {
    Step::LookAtBinding { suspect: uid("o-1") }
}

fn kept() -> Step {
    Step::Settle(Standing::Waiting(Wait::Finalizers(vec!["example.com/keep".into()])))
}

#[test]
fn the_output_of_a_binding_that_lives_is_no_orphan_however_old_the_view_is() {
    for mut scene in [Scene::new(), Scene::refused(), Scene::deleting(), Scene::undecided()] {
        // What was seen is the incarnation before the one that the output was written for.
        scene = scene.with("b-2", "vllm");
        assert_eq!(scene.next(), look_at_binding());
        let step = scene.after(&Reply::Lives(uid("b-2")));
        assert!(matches!(step, Step::Settle(_)), "{step:?}");
    }
}

#[test]
fn an_orphan_goes_once_a_live_look_shows_another_binding_or_none() {
    for reply in [Reply::Lives(uid("b-1")), Reply::ProvedAbsent] {
        for mut scene in [Scene::new(), Scene::refused(), Scene::deleting(), Scene::undecided()] {
            scene = scene.with("b-0", "vllm");
            assert_eq!(scene.next(), look_at_binding());
            assert_eq!(scene.after(&reply), delete());
        }
    }
}

#[test]
fn a_look_at_the_binding_counts_only_for_the_output_it_was_made_for() {
    let mut scene = Scene::refused().with("b-0", "vllm");
    scene.after(&Reply::Lives(uid("b-1")));
    scene.output().uid = uid("o-2");
    assert_eq!(scene.next(), Step::LookAtBinding { suspect: uid("o-2") });
}

#[test]
fn where_there_is_no_binding_an_orphan_goes_after_a_live_look_and_only_then() {
    let gone = || Scene { binding: None, verdict: Verdict::Gone, ..Scene::new() }.with("b-0", "vllm");
    for (reply, wanted) in [
        (Reply::ProvedAbsent, delete()),
        (Reply::Lives(uid("b-9")), delete()),
        (Reply::Lives(uid("b-0")), Step::Settle(Standing::Leaving)),
        (Reply::Failed(Failure::Transient), Step::Settle(Standing::Leaving)),
    ] {
        let mut scene = gone();
        assert_eq!(scene.next(), look_at_binding());
        assert_eq!(scene.after(&reply), wanted, "{reply:?}");
    }
    // That bindings have no definition may be over by now.
    let mut scene = Scene { bindings: Availability::ABSENT, ..gone() };
    assert_eq!(scene.next(), look_at_binding());
    assert_eq!(scene.after(&Reply::ProvedAbsent), delete());
    assert_eq!(Scene { bindings: Availability::STARTING, ..gone() }.next(), Step::Settle(Standing::Leaving));
}

#[test]
fn of_a_deleting_binding_without_our_finalizer_the_output_goes_too() {
    assert_eq!(Scene::deleting().without_our_finalizer().with("b-1", "vllm").next(), delete());
    let left = Scene::deleting().without_our_finalizer();
    assert_eq!(left.next(), Step::Settle(Standing::Leaving), "and costs nothing when there is none");
}

/// A deleting binding with these finalizers, without an output.
fn deleting_with(finalizers: &[&str]) -> Scene {
    let mut scene = Scene::deleting();
    scene.binding.as_mut().unwrap().finalizers = finalizers.iter().copied().collect();
    scene
}

fn released() -> Step {
    Step::Settle(Standing::Released { kept_by: vec!["example.com/hold".into()] })
}

#[test]
fn of_a_deleting_binding_that_a_foreign_finalizer_keeps_the_rest_is_told_once_ours_has_left() {
    let mut scene = deleting_with(&[FINALIZER, "example.com/hold"]);
    assert_eq!(scene.next(), look());
    assert_eq!(scene.after(&Reply::ProvedAbsent), Step::RemoveFinalizer { uid: uid("b-1") });
    assert_eq!(scene.after(&Reply::Done), released());
    // The next turn, or the next process, begins from what is live.
    assert_eq!(deleting_with(&["example.com/hold"]).next(), released());
    let absent = Scene { outputs: Availability::ABSENT, ..deleting_with(&["example.com/hold"]) };
    assert_eq!(absent.next(), released());
}

#[test]
fn that_an_output_is_gone_is_told_only_where_it_is_known() {
    let held = || deleting_with(&["example.com/hold"]);
    assert_eq!(held().with("b-1", "vllm").next(), delete());
    assert_eq!(held().in_doubt().next(), look());
    let trouble = Some(Trouble::Failing);
    for known in [Known::Nothing, Known::Listed, Known::Absent] {
        let blind = Scene { outputs: Availability { known, trouble }, ..held() };
        assert_eq!(blind.next(), Step::Settle(Standing::Leaving), "{known:?}");
    }
}

#[test]
fn nothing_holds_a_withdrawal_up() {
    assert_eq!(Scene::refused().with("b-1", "vllm").in_doubt().next(), delete(), "not a doubt");
    assert_eq!(Scene::deleting().with("b-1", "vllm").in_doubt().next(), delete());
    let mut way = Scene::new().with("b-1", "other").without_our_finalizer();
    way.others.in_the_way = true;
    assert_eq!(way.next(), delete(), "not a missing finalizer of ours");
    for failure in [
        Failure::Rejected,
        Failure::Transient,
        Failure::Forbidden,
        Failure::FieldUnknown,
        // It was taken, and selects as before.
        Failure::Widened,
    ] {
        let mut scene = Scene::refused().with("b-1", "vllm").kept();
        assert_eq!(scene.next(), neutralise());
        assert_eq!(scene.after(&Reply::Failed(failure)), delete(), "not that it cannot be neutralised");
        scene.turn.take(&delete(), &Reply::Done);
        scene.output().deleting = true;
        assert!(matches!(scene.next(), Step::Settle(Standing::Refused { .. })));
        assert!(scene.turn.tries_again(), "which is tried again later");
    }
}

/// What still stands of the output, as the status tells it.
fn granting(failure: WriteFailure, kept_by: &[&str]) -> Remnant {
    let live = output_of("b-1", "vllm");
    Remnant::Granting(Granting {
        output: live.name,
        spiffe_id: live.spec.spiffe_id,
        failure,
        kept_by: kept_by.iter().copied().map(Into::into).collect(),
    })
}

/// An output that grants as before, as the status tells it.
fn standing() -> Remnant {
    let live = output_of("b-1", "vllm");
    Remnant::AsBefore { output: live.name, spiffe_id: live.spec.spiffe_id }
}

/// What a turn that settled says of its output.
fn remnant(step: Step) -> Remnant {
    match step {
        Step::Settle(Standing::Refused { remnant, .. }) => remnant,
        Step::Settle(Standing::Waiting(Wait::Withdrawal(granting))) => Remnant::Granting(granting),
        Step::Settle(Standing::Waiting(Wait::Proof { output, failure })) => {
            Remnant::Unproved { output, failure }
        }
        Step::Settle(Standing::Leaving | Standing::Waiting(Wait::Absence)) => Remnant::Nothing,
        step => panic!("{step:?}"),
    }
}

#[test]
fn a_grant_that_cannot_be_withdrawn_is_told_when_that_does_not_pass_by_itself_or_has_lasted() {
    let way = || {
        let mut scene = Scene::new().with("b-1", "vllm");
        scene.output().spec.hint = None;
        scene.others.in_the_way = true;
        scene
    };
    for scene in [Scene::refused().with("b-1", "vllm"), Scene::deleting().with("b-1", "vllm"), way()] {
        for (failure, patience, told) in [
            (Failure::Forbidden, false, Some(WriteFailure::Forbidden)),
            (Failure::Rejected, false, Some(WriteFailure::Rejected)),
            (Failure::Transient, false, None),
            (Failure::Transient, true, Some(WriteFailure::Unavailable)),
            (Failure::Terminating, false, None),
            (Failure::Terminating, true, Some(WriteFailure::Terminating)),
        ] {
            let mut scene = scene.clone();
            scene.out_of_patience = patience;
            assert_eq!(scene.next(), delete());
            let told = told.map_or(Remnant::Nothing, |failure| granting(failure, &[]));
            assert_eq!(remnant(scene.after(&Reply::Failed(failure))), told, "{failure:?}, {patience}");
        }
    }
}

#[test]
fn what_keeps_a_deleted_binding_is_told_when_that_does_not_pass_by_itself_or_has_lasted() {
    let release = Step::RemoveFinalizer { uid: uid("b-1") };
    for (failure, patience, told) in [
        (Failure::Forbidden, false, Some(WriteFailure::Forbidden)),
        (Failure::Rejected, false, Some(WriteFailure::Rejected)),
        (Failure::Transient, false, None),
        (Failure::Transient, true, Some(WriteFailure::Unavailable)),
        // Somebody writes the binding all the time; that is not for him to be told.
        (Failure::Stale, true, None),
    ] {
        let leaving = || Step::Settle(Standing::Leaving);
        let waits = |wait| Step::Settle(Standing::Waiting(wait));
        let mut scene = Scene { out_of_patience: patience, ..Scene::deleting() };
        assert_eq!(scene.next(), look());
        assert_eq!(scene.after(&Reply::ProvedAbsent), release);
        let wanted = told.map_or_else(leaving, |failure| waits(Wait::Release(failure)));
        assert_eq!(scene.after(&Reply::Failed(failure)), wanted, "{failure:?}, {patience}");
        assert!(scene.turn.tries_again());

        let mut scene = Scene { out_of_patience: patience, ..Scene::deleting().with("b-1", "vllm") };
        assert_eq!(scene.after(&Reply::Done), look());
        let output = output_of("b-1", "vllm").name;
        let wanted = told.map_or_else(leaving, |failure| waits(Wait::Proof { output, failure }));
        assert_eq!(scene.after(&Reply::Failed(failure)), wanted, "{failure:?}, {patience}");
        assert!(scene.turn.tries_again());
    }
}

#[test]
fn a_deleted_binding_says_what_it_waits_for_while_outputs_were_never_listed() {
    let outputs = Availability { known: Known::Nothing, trouble: Some(Trouble::Forbidden) };
    let scene = Scene { outputs, ..Scene::deleting() };
    let troubles = Troubles::from([(Kind::Output, Trouble::Forbidden)]);
    assert_eq!(scene.next(), Step::Settle(Standing::Undecided(troubles)));
}

#[test]
fn of_a_refused_binding_it_is_said_that_its_output_cannot_be_looked_up_while_outputs_were_never_listed() {
    let output = output_of("b-1", "vllm").name;
    for (trouble, told) in [
        (Trouble::Forbidden, Some(WriteFailure::Forbidden)),
        (Trouble::NotServed, Some(WriteFailure::NotServed)),
        (Trouble::Failing, Some(WriteFailure::Unavailable)),
        (Trouble::Starting, None),
    ] {
        let with = |known| Availability { known, trouble: Some(trouble) };
        let blind = Scene { outputs: with(Known::Nothing), ..Scene::refused() };
        let unproved = told.map(|failure| Remnant::Unproved { output: output.clone(), failure });
        assert_eq!(remnant(blind.next()), unproved.unwrap_or_default(), "{trouble:?}");
        assert!(!blind.turn.tries_again(), "a list that comes brings the next turn");
        // The finalizer comes before the first output.
        assert_eq!(remnant(blind.without_our_finalizer().next()), Remnant::Nothing);
        for known in [Known::Listed, Known::Absent] {
            let seen = Scene { outputs: with(known), ..Scene::refused() };
            assert_eq!(remnant(seen.next()), Remnant::Nothing, "{known:?}");
        }
    }
}

#[test]
fn a_finalizer_that_cannot_be_put_on_is_told_as_that_and_nothing_is_made_or_taken_away() {
    for (output, remnant) in [(None, Remnant::Nothing), (Some(output_of("b-1", "vllm")), standing())] {
        for (failure, told) in [
            (Failure::Forbidden, WriteFailure::Forbidden),
            (Failure::Rejected, WriteFailure::Rejected),
            (Failure::Transient, WriteFailure::Unavailable),
        ] {
            let mut scene = Scene { output: output.clone(), ..Scene::new().without_our_finalizer() };
            assert_eq!(scene.next(), Step::AddFinalizer);
            let refusal = Refusal::FinalizerWrite { failure: told };
            let remnant = remnant.clone();
            let wanted = Step::Settle(Standing::Refused { refusal, remnant });
            assert_eq!(scene.after(&Reply::Failed(failure)), wanted, "{failure:?}");
            assert!(scene.turn.tries_again());
        }
    }
}

#[test]
fn of_an_output_whose_deletion_was_acknowledged_nobody_says_that_it_still_grants() {
    let output = output_of("b-1", "vllm").name;
    for (failure, told) in
        [(Failure::Transient, WriteFailure::Unavailable), (Failure::Forbidden, WriteFailure::Forbidden)]
    {
        for mut scene in [Scene::refused().with("b-1", "vllm"), Scene::deleting().with("b-1", "vllm")] {
            let unproved = Remnant::Unproved { output: output.clone(), failure: told };
            scene.out_of_patience = true;
            assert_eq!(scene.after(&Reply::Done), look());
            assert_eq!(remnant(scene.after(&Reply::Failed(failure))), unproved);
            // The next turn deletes it again, since nothing has told that it is gone.
            scene.turn = Turn::new();
            assert_eq!(scene.next(), delete());
            assert_eq!(scene.after(&Reply::Failed(Failure::Absent)), look());
            assert_eq!(remnant(scene.after(&Reply::Failed(failure))), unproved);
        }
    }
}

#[test]
fn what_could_not_be_made_to_select_nothing_and_cannot_be_looked_at_is_deleted_all_the_same() {
    for scene in [Scene::refused(), Scene::deleting()] {
        for failure in [Failure::Stale, Failure::Absent] {
            let mut scene = scene.clone().with("b-1", "vllm").kept();
            assert_eq!(scene.next(), neutralise());
            assert_eq!(scene.after(&Reply::Failed(failure)), look());
            assert_eq!(scene.after(&Reply::Failed(Failure::Forbidden)), delete());
            let told = remnant(scene.after(&Reply::Failed(Failure::Forbidden)));
            assert_eq!(told, granting(WriteFailure::Forbidden, &[]));
        }
    }
}

#[test]
fn an_orphan_that_could_not_be_made_to_select_nothing_and_cannot_be_looked_at_is_deleted_all_the_same() {
    let gone = Scene { verdict: Verdict::Gone, binding: None, ..Scene::new() };
    let living = |scene: &Scene| scene.binding.as_ref().map(|binding| binding.uid.clone());
    for scene in [Scene::refused(), Scene::deleting(), Scene::new(), gone] {
        let mut scene = scene.with("b-0", "vllm").kept();
        assert!(matches!(scene.next(), Step::LookAtBinding { .. }));
        let lives = living(&scene).map_or(Reply::ProvedAbsent, Reply::Lives);
        assert_eq!(scene.after(&lives), neutralise());
        assert_eq!(scene.after(&Reply::Failed(Failure::Stale)), look());
        assert_eq!(scene.after(&Reply::Failed(Failure::Forbidden)), delete());
    }
}

#[test]
fn what_somebody_changes_all_the_time_before_it_can_be_made_to_select_nothing_is_deleted_all_the_same() {
    for patience_is_over in [false, true] {
        let mut scene = Scene::refused().with("b-1", "vllm").kept();
        scene.out_of_patience = patience_is_over;
        let mut step = scene.next();
        for _ in 0..20 {
            step = match step {
                Step::NeutraliseOutput { .. } => scene.after(&Reply::Failed(Failure::Stale)),
                Step::LookAtOutput { .. } => scene.after(&Reply::Done),
                _ => break,
            };
        }
        assert_eq!(step == delete(), patience_is_over, "{step:?}");
    }
}

#[test]
fn what_conflicts_while_a_look_fails_for_a_moment_is_not_deleted_unseen() {
    let going = Scene { undone: true, ..Scene::new().with("b-1", "other") };
    for scene in [Scene::refused().with("b-1", "vllm"), going] {
        let mut scene = scene.kept();
        assert_eq!(scene.next(), neutralise());
        assert_eq!(scene.after(&Reply::Failed(Failure::Stale)), look());
        let step = scene.after(&Reply::Failed(Failure::Transient));
        assert!(matches!(step, Step::Settle(_)), "{step:?}");
    }
}

#[test]
fn of_a_terminating_output_that_a_write_does_not_find_nobody_says_that_it_still_grants() {
    for scene in [Scene::refused(), Scene::deleting()] {
        let mut scene = scene.with("b-1", "vllm").terminating();
        assert_eq!(scene.next(), neutralise());
        assert_eq!(scene.after(&Reply::Failed(Failure::Absent)), look());
        let output = output_of("b-1", "vllm").name;
        let unproved = Remnant::Unproved { output, failure: WriteFailure::Forbidden };
        assert_eq!(remnant(scene.after(&Reply::Failed(Failure::Forbidden))), unproved);
    }
}

#[test]
fn what_is_stored_too_wide_and_cannot_be_deleted_is_to_go_because_of_that_and_not_because_of_the_delete() {
    let refused = || {
        let refusal =
            Refusal::OutputWrite { name: output_of("b-1", "vllm").name, failure: WriteFailure::Widened };
        Step::Settle(Standing::Refused { refusal, remnant: granting(WriteFailure::Rejected, &[]) })
    };
    let mut scene = Scene::new();
    let create = scene.next();
    assert!(matches!(create, Step::CreateOutput(_)), "{create:?}");
    scene = scene.with("b-1", "vllm");
    scene.output().spec.namespace_selector = None;
    scene.turn.take(&create, &Reply::Failed(Failure::Widened));
    scene.rejected = Some(Failure::Widened);
    assert_eq!(scene.next(), delete());
    assert_eq!(scene.after(&Reply::Failed(Failure::Rejected)), refused());
    assert!(scene.turn.tries_again());
    // And so after each further try.
    scene.turn = Turn::new();
    assert_eq!(scene.next(), delete());
    assert_eq!(scene.after(&Reply::Failed(Failure::Rejected)), refused());
    assert!(scene.turn.tries_again());
}

#[test]
fn a_class_change_deletes_nothing_before_it_has_asked_whatever_fails() {
    for blocked in [false, true] {
        let mut scene = Scene::new().with("b-1", "vllm").without_our_finalizer();
        scene.settings.class_name = Some(ClassName::parse("spire").unwrap());
        scene.others.blockers.extend(blocked.then(|| name("somebody")));
        assert_eq!(scene.next(), Step::AddFinalizer);
        let step = scene.after(&Reply::Failed(Failure::Stale));
        assert!(matches!(step, Step::Settle(_)), "{step:?}");
    }
}

#[test]
fn a_class_change_whose_former_output_cannot_be_proved_gone_waits_for_that_and_says_so() {
    let mut scene = Scene::new().with("b-1", "vllm");
    scene.settings.class_name = Some(ClassName::parse("spire").unwrap());
    for reply in [Reply::Done, Reply::Failed(Failure::Absent)] {
        scene.turn = Turn::new();
        assert!(matches!(scene.next(), Step::TryOutput(_)));
        assert_eq!(scene.after(&Reply::Done), delete());
        assert_eq!(scene.after(&reply), look());
        let output = output_of("b-1", "vllm").name;
        let proof = Wait::Proof { output, failure: WriteFailure::Forbidden };
        assert_eq!(scene.after(&Reply::Failed(Failure::Forbidden)), Step::Settle(Standing::Waiting(proof)));
    }
}

#[test]
fn a_class_change_whose_delete_fails_waits_for_the_withdrawal_and_is_no_rejection() {
    let mut scene = Scene::new().with("b-1", "vllm");
    scene.settings.class_name = Some(ClassName::parse("spire").unwrap());
    assert!(matches!(scene.next(), Step::TryOutput(_)));
    assert_eq!(scene.after(&Reply::Failed(Failure::Stale)), delete());
    let step = scene.after(&Reply::Failed(Failure::Rejected));
    let Remnant::Granting(granting) = granting(WriteFailure::Rejected, &[]) else { panic!("it grants") };
    assert_eq!(step, Step::Settle(Standing::Waiting(Wait::Withdrawal(granting))));
    assert!(scene.turn.tries_again());
}

#[test]
fn what_foreign_finalizers_keep_and_cannot_be_made_to_select_nothing_still_grants() {
    for scene in [Scene::refused(), Scene::deleting(), Scene::new()] {
        for (failure, told) in [
            (Failure::Forbidden, granting(WriteFailure::Forbidden, &["example.com/keep"])),
            (Failure::Widened, granting(WriteFailure::Widened, &["example.com/keep"])),
            (Failure::Transient, Remnant::Nothing),
        ] {
            let mut scene = scene.clone().with("b-1", "vllm").terminating();
            assert_eq!(scene.next(), neutralise());
            assert_eq!(remnant(scene.after(&Reply::Failed(failure))), told, "{failure:?}");
        }
    }
}

#[test]
fn a_delete_that_was_acknowledged_and_did_not_happen_is_asked_again_and_again() {
    let sweep = || Scene { verdict: Verdict::Gone, binding: None, ..Scene::new().with("b-0", "vllm") };
    let cases = [
        Scene::deleting().with("b-1", "vllm"),
        Scene::deleting().with("b-1", "vllm").without_our_finalizer(),
        Scene::refused().with("b-1", "vllm"),
        Scene::new().with("b-0", "vllm"),
        sweep(),
        Scene::undecided().with("b-0", "vllm"),
    ];
    for mut scene in cases {
        let mut deletes = 0;
        for _ in 0..20 {
            let step = scene.next();
            let reply = match &step {
                Step::LookAtBinding { .. } => Reply::ProvedAbsent,
                Step::Settle(_) => break,
                _ => Reply::Done,
            };
            deletes += usize::from(step == delete());
            scene.turn.take(&step, &reply);
        }
        assert!(deletes > 1 && scene.turn.tries_again(), "{:?}: {deletes} deletes", scene.verdict);
        assert!(matches!(scene.next(), Step::Settle(_)), "{:?}", scene.next());
    }
    // What a foreign finalizer keeps is looked at too, unless it is seen going.
    let mut kept = Scene::deleting().with("b-1", "vllm").kept();
    let step = kept.next();
    kept.turn.take(&step, &Reply::Failed(Failure::Forbidden));
    assert_eq!(kept.next(), delete());
    assert_eq!(kept.after(&Reply::Done), look());
    assert_eq!(kept.after(&Reply::Done), delete());
}

#[test]
fn in_doubt_no_absence_is_believed_in_and_nothing_is_written() {
    for scene in [Scene::refused(), Scene::deleting(), Scene::new(), Scene::undecided()] {
        assert_eq!(scene.in_doubt().next(), look());
    }
    assert_eq!(Scene::deleting().without_our_finalizer().in_doubt().next(), look());
    assert_eq!(Scene { binding: None, verdict: Verdict::Gone, ..Scene::new() }.in_doubt().next(), look());
    assert_eq!(Scene::new().with("b-1", "other").in_doubt().next(), look());
}

#[test]
fn what_a_foreign_finalizer_keeps_is_neutral_and_keeps_our_finalizer() {
    for mut scene in [Scene::new(), Scene::refused()] {
        scene = scene.without_our_finalizer().with("b-1", "vllm").terminating();
        scene.rejected = Some(Failure::Rejected);
        assert_eq!(scene.next(), neutralise(), "whatever was said against the next output");
        let neutral = scene.output().neutralised();
        scene.output().spec = neutral.spec;
        assert_eq!(scene.after(&Reply::Done), Step::AddFinalizer);
        scene.binding.as_mut().unwrap().finalizers = [FINALIZER].into_iter().collect();
        let step = scene.after(&Reply::Done);
        let reported = match &step {
            Step::Settle(Standing::Refused { remnant: Remnant::Kept(by), .. }) => by.len() == 1,
            step => *step == kept(),
        };
        assert!(reported, "{step:?}");
    }
}

#[test]
fn a_grant_that_is_too_wide_goes_when_its_replace_is_hopeless_or_has_failed_for_too_long() {
    let other_container = || Scene::new().with("b-1", "other");
    let replaced = |failure, patience| {
        let mut scene = Scene { out_of_patience: patience, ..other_container() };
        assert!(matches!(scene.next(), Step::ReplaceOutput(_)));
        scene.after(&Reply::Failed(failure))
    };
    for failure in [Failure::Rejected, Failure::FieldUnknown] {
        assert_eq!(replaced(failure, false), delete(), "{failure:?}");
    }
    for failure in [Failure::Transient, Failure::Forbidden] {
        assert!(matches!(replaced(failure, false), Step::Settle(Standing::Refused { .. })), "{failure:?}");
        assert_eq!(replaced(failure, true), delete(), "{failure:?}");
    }
    // What grants no more than is wanted is kept, whatever is said, and that it grants is told.
    let mut narrower = Scene { out_of_patience: true, ..Scene::new().with("b-1", "vllm") };
    narrower.output().spec.hint = None;
    assert_eq!(remnant(narrower.after(&Reply::Failed(Failure::Rejected))), standing());
}

#[test]
fn that_somebody_else_writes_faster_revokes_nothing() {
    let mut scene = Scene { out_of_patience: true, ..Scene::new().with("b-1", "other") };
    for _ in 0..20 {
        let step = scene.next();
        if matches!(step, Step::Settle(_)) {
            return;
        }
        assert!(matches!(step, Step::ReplaceOutput(_) | Step::LookAtOutput { .. }), "{step:?}");
        let reply = if step == look() { Reply::Done } else { Reply::Failed(Failure::Stale) };
        scene.turn.take(&step, &reply);
    }
    panic!("the turn never ends");
}

#[test]
fn a_replace_that_is_kept_waiting_for_too_long_becomes_a_delete_when_the_grant_is_too_wide() {
    let waiting = |container: &str, patience| {
        let mut scene = Scene { out_of_patience: patience, ..Scene::new().with("b-1", container) };
        scene.output().spec.hint = None;
        scene.others.blockers.insert(name("somebody"));
        scene.next()
    };
    let waits = Step::Settle(Standing::Waiting(Wait::Outputs([name("somebody")].into())));
    assert_eq!(waiting("other", false), waits);
    assert_eq!(waiting("other", true), delete());
    assert_eq!(waiting("vllm", true), waits);
}

#[test]
fn what_somebody_undoes_again_and_again_is_put_right_after_a_pause_and_never_stands_too_wide() {
    let drifted = || {
        let mut scene = Scene { undone: true, ..Scene::new().with("b-1", "vllm") };
        scene.output().spec.hint = None;
        scene
    };
    let paused = || Step::Settle(Standing::Waiting(Wait::Undone(output_of("b-1", "vllm").name)));
    assert_eq!(drifted().next(), paused());
    assert_eq!(Scene { undone: true, ..Scene::new() }.next(), paused());
    let mut wide = drifted();
    wide.output().spec.unwanted = ["admin".into()].into();
    wide.others.blockers.insert(name("somebody"));
    assert_eq!(wide.next(), delete());
    assert_eq!(wide.after(&Reply::Done), look());
    wide.turn.take(&look(), &Reply::ProvedAbsent);
    wide.output = None;
    assert_eq!(wide.next(), paused());
    // Nothing that takes away waits.
    let mut way = drifted();
    way.others.in_the_way = true;
    assert_eq!(way.next(), delete());
    for scene in [Scene::refused(), Scene::deleting()] {
        assert_eq!(Scene { undone: true, ..scene.with("b-1", "vllm") }.next(), delete());
    }
}

#[test]
fn a_finalizer_that_somebody_takes_off_again_and_again_holds_nothing_up() {
    let stripped = |scene: Scene| Scene { stripped: true, ..scene.without_our_finalizer() };
    assert!(matches!(stripped(Scene::new().with("b-1", "other")).next(), Step::ReplaceOutput(_)));
    let granted = stripped(Scene::new().with("b-1", "vllm")).next();
    assert!(matches!(granted, Step::Settle(Standing::Granted { .. })), "{granted:?}");
    assert_eq!(
        stripped(Scene::new()).next(),
        Step::AddFinalizer,
        "before an output is created it must be there"
    );
}

#[test]
fn a_class_change_waits_before_it_deletes_and_asks_before_that() {
    let mut scene = Scene::new().with("b-1", "vllm");
    scene.settings.class_name = Some(ClassName::parse("spire").unwrap());
    scene.others.blockers.insert(name("somebody"));
    let waits = Step::Settle(Standing::Waiting(Wait::Outputs([name("somebody")].into())));
    assert_eq!(scene.next(), waits, "nobody loses an identity for a wait");
    scene.others.blockers.clear();
    assert!(matches!(scene.next(), Step::TryOutput(_)));
    assert_eq!(scene.after(&Reply::Failed(Failure::Stale)), delete());
    assert_eq!(scene.after(&Reply::Done), look());
    scene.output = None;
    assert!(matches!(scene.after(&Reply::ProvedAbsent), Step::CreateOutput(_)));
}

#[test]
fn a_revocation_that_fails_is_tried_once_a_turn() {
    for failure in
        [Failure::Transient, Failure::Absent, Failure::Stale, Failure::Forbidden, Failure::Rejected]
    {
        let mut scene = Scene { out_of_patience: true, ..Scene::new().with("b-1", "other") };
        assert_eq!(scene.after(&Reply::Failed(Failure::Transient)), delete());
        let step = scene.after(&Reply::Failed(failure));
        assert!(matches!(step, Step::Settle(Standing::Refused { .. })), "{failure:?}: {step:?}");
        assert!(scene.turn.tries_again(), "{failure:?}");
    }
}

#[test]
fn that_a_look_is_rejected_is_no_reason_to_revoke() {
    let mut scene = Scene::new().with("b-1", "other").in_doubt();
    assert_eq!(scene.next(), look());
    let step = scene.after(&Reply::Failed(Failure::Rejected));
    assert!(matches!(step, Step::Settle(Standing::Refused { .. })), "{step:?}");
}

#[test]
fn whether_a_kept_output_is_still_there_is_looked_at_when_a_list_did_not_hold_it() {
    for scene in [Scene::deleting(), Scene::refused()] {
        let mut scene = scene.with("b-1", "vllm").terminating().in_doubt();
        let neutral = scene.output().neutralised();
        scene.output().spec = neutral.spec;
        assert_eq!(scene.next(), look());
        scene.output = None;
        let step = scene.after(&Reply::ProvedAbsent);
        let done = matches!(step, Step::RemoveFinalizer { .. } | Step::Settle(Standing::Refused { .. }));
        assert!(done, "{step:?}");
    }
}

#[test]
fn what_waits_for_others_and_cannot_be_deleted_is_not_said_to_be_rejected() {
    let mut scene = Scene::new().with("b-1", "other");
    scene.out_of_patience = true;
    scene.others.blockers = BTreeSet::from([name("blocker")]);
    assert_eq!(scene.next(), delete());
    let Remnant::Granting(granting) = granting(WriteFailure::Rejected, &[]) else { panic!("it grants") };
    let wanted = Step::Settle(Standing::Waiting(Wait::Withdrawal(granting)));
    assert_eq!(scene.after(&Reply::Failed(Failure::Rejected)), wanted);
    assert!(scene.turn.tries_again());
}

#[test]
fn who_took_over_and_cannot_list_outputs_grants_nothing_and_takes_away_what_is_too_wide_after_the_patience() {
    let waits = Step::Settle(Standing::Waiting(Wait::List));
    assert_eq!(Scene { unlisted: true, ..Scene::new() }.next(), waits);
    let narrow = |patience| {
        let mut scene =
            Scene { unlisted: true, out_of_patience: patience, ..Scene::new().with("b-1", "vllm") };
        scene.output().spec.hint = None;
        scene
    };
    assert_eq!((narrow(false).next(), narrow(true).next()), (waits.clone(), waits.clone()));
    let wide =
        |patience| Scene { unlisted: true, out_of_patience: patience, ..Scene::new().with("b-1", "other") };
    assert_eq!((wide(false).next(), wide(true).next()), (waits, delete()));
}
