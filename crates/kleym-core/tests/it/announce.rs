//! What is told when: transitions and nothing else, each of them once, and with words that say what to do.

use std::sync::Arc;

use kleym_core::announce::{Announcement, Object, Said, Settled, Told, Vigil, stranger};
use kleym_core::name::{ObjectName, Uid, output_name};
use kleym_core::output::{
    ANNOTATION_BINDING, ANNOTATION_BINDING_UID, LABEL_INSTANCE, LABEL_MANAGED_BY, LiveOutput, WantedOutput,
};
use kleym_core::plan::{Failure, Granting, Remnant, Reply, Standing, Step, Wait};
use kleym_core::refusal::{Refusal, WriteFailure};
use kleym_core::relation::Conflict;
use kleym_core::render::Identity;
use kleym_core::resolve::Troubles;

use crate::world::{assert_presentable, binding, key, name, settings};

pub(crate) fn uid(text: &str) -> Uid {
    Uid::parse(text).unwrap()
}

/// The name of the output of the binding `chat`.
pub(crate) fn output_of_chat() -> ObjectName {
    output_name("default", &key("llm", "chat"))
}

/// The identity of the binding `chat` with this container.
pub(crate) fn identity(container: &str) -> Arc<Identity> {
    Arc::new(binding("chat").container(container).render().unwrap())
}

/// The output of the binding `chat`, as it stands when it grants an identity.
pub(crate) fn live(identity: &Identity, uid_of_output: &str) -> LiveOutput {
    let wanted = WantedOutput::of(&settings(), &key("llm", "chat"), Some(&uid("chat-1")), identity);
    LiveOutput::as_written(wanted, uid(uid_of_output), "7", Some(1000))
}

fn stripped(mut output: LiveOutput) -> LiveOutput {
    output.labels.clear();
    output.annotations.clear();
    output
}

fn granted(identity: &Arc<Identity>, uid_of_output: &str) -> Standing {
    Standing::Granted { identity: Arc::clone(identity), output: output_of_chat(), uid: uid(uid_of_output) }
}

fn refused(refusal: Refusal) -> Standing {
    Standing::Refused { refusal, remnant: Remnant::Nothing }
}

fn not_found() -> Refusal {
    Refusal::ObjectiveNotFound {
        namespace: key("llm", "x").namespace,
        name: name("chat"),
        group: None,
        deleting: false,
    }
}

fn write_failure() -> Refusal {
    Refusal::OutputWrite { name: output_of_chat(), failure: WriteFailure::Unavailable }
}

fn foreign_at_our_name() -> Refusal {
    Refusal::OutputForeign { name: output_of_chat() }
}

/// A conflict with these peers, by precedence.
fn conflict(peers: &[&str]) -> Refusal {
    let peers: Vec<ObjectName> = peers.iter().map(|peer| name(peer)).collect();
    let theirs = binding("peer").id("spiffe://example.org/ns/llm/theirs").render().unwrap();
    Refusal::Conflict(Conflict::of(&identity("vllm"), peers.iter().map(|peer| (peer, &theirs))).unwrap())
}

/// What was announced, in short: `Warning IdentityRefused chat`.
pub(crate) fn short(announcements: &[Announcement]) -> Vec<String> {
    let one = |told: &Announcement| {
        assert_presentable(&told.note);
        format!("{} {} {}", told.weight.as_str(), told.occasion.as_str(), told.regarding.name())
    };
    announcements.iter().map(one).collect()
}

/// The memory of the binding `chat`.
#[derive(Default)]
struct Chat {
    told: Told,
    said: Option<&'static str>,
    in_doubt: bool,
}

impl Chat {
    fn after_a_restart(said: &'static str) -> Self {
        Self { said: Some(said), ..Self::default() }
    }

    fn settles_in_full(&mut self, standing: &Standing, output: Option<&LiveOutput>) -> Vec<Announcement> {
        self.settles_while(false, standing, output)
    }

    fn settles_while(
        &mut self,
        deleting: bool,
        standing: &Standing,
        output: Option<&LiveOutput>,
    ) -> Vec<Announcement> {
        self.told.begins(&uid("chat-1"), Said::of(self.said));
        self.told.settle(&Settled {
            settings: &settings(),
            key: &key("llm", "chat"),
            uid: Some(&uid("chat-1")),
            deleting,
            standing,
            output,
            in_doubt: self.in_doubt,
            peer: &|peer: &ObjectName| (peer.as_str() != "gone").then(|| uid(peer.as_str())),
        })
    }

    fn settles(&mut self, standing: &Standing, output: Option<&LiveOutput>) -> Vec<String> {
        short(&self.settles_in_full(standing, output))
    }

    fn writes(&mut self, step: &Step, reply: &Reply, before: &LiveOutput) -> Vec<Announcement> {
        let uid = uid("chat-1");
        let told = self.told.wrote(&settings(), &key("llm", "chat"), Some(&uid), step, reply, Some(before));
        told.into_iter().collect()
    }

    /// A binding that was granted an identity in this process, and of which that was told.
    fn granted(identity: &Arc<Identity>) -> Self {
        let mut chat = Self::default();
        let told = chat.settles(&granted(identity, "o-1"), Some(&live(identity, "o-1")));
        assert_eq!(told, ["Normal IdentityGranted chat"]);
        chat
    }
}

fn delete() -> Step {
    Step::DeleteOutput { name: output_of_chat(), uid: uid("o-1") }
}

fn replace(identity: &Identity) -> Step {
    let wanted = WantedOutput::of(&settings(), &key("llm", "chat"), Some(&uid("chat-1")), identity);
    Step::ReplaceOutput(Box::new(wanted))
}

pub(crate) const NOTHING: [&str; 0] = [];

#[test]
fn a_grant_is_told_once_with_the_output_beside_it() {
    let identity = identity("vllm");
    let mut chat = Chat::default();
    let output = live(&identity, "o-1");
    let told = chat.settles_in_full(&granted(&identity, "o-1"), Some(&output));
    assert_eq!(short(&told), ["Normal IdentityGranted chat"]);
    assert_eq!(told[0].regarding, Object::Binding(key("llm", "chat"), uid("chat-1")));
    assert_eq!(told[0].related, Some(Object::Output(output_of_chat(), uid("o-1"))));
    assert_eq!(
        told[0].note,
        format!("ClusterSPIFFEID `{}` grants `spiffe://example.org/ns/llm/objective/chat`", output_of_chat())
    );
    assert_eq!(chat.settles(&granted(&identity, "o-1"), Some(&output)), NOTHING);
}

#[test]
fn a_change_of_id_of_selectors_or_of_the_object_is_told_and_drift_that_was_repaired_is_not() {
    let (before, after) = (identity("vllm"), identity("proxy"));
    let mut chat = Chat::granted(&before);
    let mut change = |identity: &Arc<Identity>, object: &str| {
        let output = live(identity, object);
        let told = chat.settles_in_full(&granted(identity, object), Some(&output));
        (short(&told), told.into_iter().map(|told| told.note).collect::<String>())
    };
    assert_eq!(change(&before, "o-1").0, NOTHING);
    let (told, note) = change(&after, "o-1");
    assert_eq!(told, ["Normal IdentityChanged chat"]);
    assert!(note.contains("to other workloads than before") && note.contains(&after.selectors.fingerprint()));
    let (told, note) = change(&after, "o-2");
    assert_eq!(told, ["Normal IdentityChanged chat"]);
    assert!(note.contains("was created again"), "{note}");
    let other = Arc::new(binding("chat").id("spiffe://example.org/ns/llm/other").render().unwrap());
    let (told, note) = change(&other, "o-2");
    assert_eq!(told, ["Normal IdentityChanged chat"]);
    assert!(
        note.contains("grants `spiffe://example.org/ns/llm/other` instead of `spiffe://example.org/ns/llm/objective/chat`"),
        "{note}"
    );
}

#[test]
fn a_withdrawal_is_told_with_its_reason_and_the_grant_that_follows_it_too() {
    let identity = identity("vllm");
    let mut chat = Chat::granted(&identity);
    let told = chat.settles_in_full(&refused(not_found()), None);
    assert_eq!(short(&told), ["Warning IdentityWithdrawn chat"]);
    for part in ["spiffe://example.org/ns/llm/objective/chat", "SVID already issued", &not_found().message()]
    {
        assert!(told[0].note.contains(part), "{}", told[0].note);
    }
    assert_eq!(chat.settles(&refused(not_found()), None), NOTHING);
    let output = live(&identity, "o-2");
    assert_eq!(chat.settles(&granted(&identity, "o-2"), Some(&output)), ["Normal IdentityGranted chat"]);
}

#[test]
fn what_is_refused_but_still_stands_is_not_called_withdrawn_until_it_is_gone() {
    let identity = identity("vllm");
    let output = live(&identity, "o-1");
    let mut chat = Chat::granted(&identity);
    let told = chat.settles_in_full(&refused(not_found()), Some(&output));
    assert_eq!(short(&told), ["Warning IdentityRefused chat"]);
    assert!(told[0].note.contains("still grants"), "{}", told[0].note);
    assert_eq!(chat.settles(&refused(not_found()), None), ["Warning IdentityWithdrawn chat"]);
}

#[test]
fn of_what_was_to_be_deleted_and_cannot_be_looked_at_neither_is_told_that_it_stands_nor_that_it_is_gone() {
    let identity = identity("vllm");
    let output = live(&identity, "o-1");
    let mut chat = Chat::granted(&identity);
    chat.in_doubt = true;
    let told = chat.settles_in_full(&refused(not_found()), Some(&output));
    assert_eq!(short(&told), ["Warning IdentityRefused chat"]);
    let note = &told[0].note;
    assert!(!note.contains("still grants") && !note.contains("is gone"), "{note}");
    chat.in_doubt = false;
    assert_eq!(chat.settles(&refused(not_found()), None), ["Warning IdentityWithdrawn chat"]);
}

#[test]
fn what_was_deleted_and_is_kept_still_selecting_is_not_withdrawn() {
    let identity = identity("vllm");
    let mut output = live(&identity, "o-1");
    output.deleting = true;
    let granting = Granting {
        output: output_of_chat(),
        spiffe_id: output.spec.spiffe_id.clone(),
        failure: WriteFailure::Rejected,
        kept_by: vec!["example.com/keep".into()],
    };
    let standing = Standing::Refused { refusal: not_found(), remnant: Remnant::Granting(granting) };
    let told = Chat::granted(&identity).settles_in_full(&standing, Some(&output));
    assert_eq!(short(&told), ["Warning IdentityRefused chat"]);
    assert!(told[0].note.contains("still grants"), "{}", told[0].note);
}

#[test]
fn why_a_grant_still_stands_that_cannot_be_withdrawn_is_told_once() {
    let identity = identity("vllm");
    let output = live(&identity, "o-1");
    let mut chat = Chat::granted(&identity);
    assert_eq!(chat.settles(&refused(not_found()), Some(&output)), ["Warning IdentityRefused chat"]);
    let granting = Granting {
        output: output_of_chat(),
        spiffe_id: output.spec.spiffe_id.clone(),
        failure: WriteFailure::Forbidden,
        kept_by: Vec::new(),
    };
    let stuck = Standing::Refused { refusal: not_found(), remnant: Remnant::Granting(granting) };
    let told = chat.settles_in_full(&stuck, Some(&output));
    assert_eq!(short(&told), ["Warning IdentityRefused chat"]);
    for part in ["still grants `spiffe://example.org/", "may not be deleted", &not_found().message()] {
        assert!(told[0].note.contains(part), "{}", told[0].note);
    }
    assert_eq!(chat.settles(&stuck, Some(&output)), NOTHING);
    assert_eq!(chat.settles(&refused(not_found()), None), ["Warning IdentityWithdrawn chat"]);
}

#[test]
fn an_identity_that_stands_although_it_cannot_be_replaced_is_told_with_the_refusal_and_once() {
    let identity = identity("vllm");
    let output = live(&identity, "o-1");
    let mut chat = Chat::granted(&identity);
    let stands = Remnant::AsBefore { output: output.name.clone(), spiffe_id: output.spec.spiffe_id.clone() };
    let rejected = Standing::Refused { refusal: write_failure(), remnant: stands };
    let told = chat.settles_in_full(&rejected, Some(&output));
    assert_eq!(short(&told), ["Warning IdentityRefused chat"]);
    let expected = format!(
        "{}; meanwhile ClusterSPIFFEID `{}` grants `{}` as before",
        write_failure().message(),
        output.name,
        output.spec.spiffe_id
    );
    assert_eq!(told[0].note, expected);
    assert_eq!(chat.settles(&rejected, Some(&output)), NOTHING);
    assert_eq!(chat.settles(&refused(write_failure()), Some(&output)), NOTHING);
}

#[test]
fn an_output_that_selects_nothing_and_is_kept_by_a_finalizer_is_withdrawn() {
    let identity = identity("vllm");
    let mut output = live(&identity, "o-1");
    let mut chat = Chat::granted(&identity);
    output.spec = output.neutralised().spec;
    let kept =
        Standing::Refused { refusal: not_found(), remnant: Remnant::Kept(vec!["example.com/keep".into()]) };
    let told = chat.settles_in_full(&kept, Some(&output));
    assert_eq!(short(&told), ["Warning IdentityWithdrawn chat"]);
    let note = &told[0].note;
    assert!(
        note.contains("kept by the finalizers `example.com/keep`") && !note.contains("is gone"),
        "{note}"
    );
    assert_eq!(chat.settles(&kept, None), NOTHING);
}

#[test]
fn what_a_delete_does_not_find_is_not_withdrawn_once_more() {
    let identity = identity("vllm");
    let output = live(&identity, "o-1");
    let mut chat = Chat::granted(&identity);
    assert_eq!(chat.settles(&refused(not_found()), None), ["Warning IdentityWithdrawn chat"]);
    let delete = Step::DeleteOutput { name: output.name.clone(), uid: output.uid.clone() };
    chat.writes(&delete, &Reply::Failed(Failure::Absent), &output);
    assert_eq!(chat.settles(&refused(not_found()), None), NOTHING);
}

#[test]
fn a_refusal_is_told_again_when_its_message_changes_and_not_otherwise() {
    let mut chat = Chat::default();
    let foreign_pool = Refusal::PoolCrdMissing(None);
    assert_eq!(chat.settles(&refused(not_found()), None), ["Warning IdentityRefused chat"]);
    assert_eq!(chat.settles(&refused(not_found()), None), NOTHING);
    assert_eq!(chat.settles(&refused(foreign_pool), None), ["Warning IdentityRefused chat"]);
    let other = Refusal::ObjectiveNotFound {
        namespace: key("llm", "x").namespace,
        name: name("other"),
        group: None,
        deleting: false,
    };
    assert_eq!(chat.settles(&refused(not_found()), None), ["Warning IdentityRefused chat"]);
    assert_eq!(chat.settles(&refused(other), None), ["Warning IdentityRefused chat"]);
}

#[test]
fn a_write_that_fails_for_a_while_is_told_and_so_is_its_end() {
    let identity = identity("vllm");
    let output = live(&identity, "o-1");
    let mut chat = Chat::granted(&identity);
    assert_eq!(chat.settles(&refused(write_failure()), Some(&output)), ["Warning IdentityRefused chat"]);
    assert_eq!(chat.settles(&granted(&identity, "o-1"), Some(&output)), ["Normal IdentityGranted chat"]);
}

#[test]
fn the_binding_that_comes_first_is_told_once_of_a_younger_one_and_once_of_the_end() {
    let mut chat = Chat::default();
    let told = chat.settles_in_full(&refused(conflict(&["first", "second"])), None);
    assert_eq!(short(&told), ["Warning IdentityRefused chat", "Warning IdentityContested first"]);
    assert_eq!(told[1].regarding, Object::Binding(key("llm", "first"), uid("first")));
    assert!(
        told[1].note.contains("`chat`") && told[1].note.contains("IdentityCollision"),
        "{}",
        told[1].note
    );
    assert_eq!(chat.settles(&refused(conflict(&["first"])), None), NOTHING, "how many there are is no news");
    let identity = identity("vllm");
    let output = live(&identity, "o-1");
    let told = chat.settles(&granted(&identity, "o-1"), Some(&output));
    assert_eq!(told, ["Normal IdentityGranted chat", "Normal ConflictEnded first"]);
}

#[test]
fn when_the_first_of_several_rivals_goes_the_next_one_is_told() {
    let mut chat = Chat::default();
    chat.settles(&refused(conflict(&["first", "second"])), None);
    let told = chat.settles(&refused(conflict(&["second"])), None);
    let wanted =
        ["Warning IdentityRefused chat", "Normal ConflictEnded first", "Warning IdentityContested second"];
    assert_eq!(told, wanted);
    assert_eq!(chat.settles(&Standing::Leaving, None), ["Normal ConflictEnded second"]);
    let mut chat = Chat::default();
    assert_eq!(chat.settles(&refused(conflict(&["gone"])), None), ["Warning IdentityRefused chat"]);
}

#[test]
fn a_rival_that_still_stands_in_the_way_is_not_told_of_an_end_because_another_one_leads_now() {
    let mut chat = Chat::default();
    chat.settles(&refused(conflict(&["second"])), None);
    let told = chat.settles(&refused(conflict(&["first", "second"])), None);
    assert_eq!(told, ["Warning IdentityRefused chat", "Warning IdentityContested first"]);
    let told = chat.settles(&refused(conflict(&["second"])), None);
    assert_eq!(told, ["Warning IdentityRefused chat", "Normal ConflictEnded first"], "the second knows");
    chat.settles(&refused(conflict(&["first", "second"])), None);
    let told = chat.settles(&Standing::Leaving, None);
    assert_eq!(told, ["Normal ConflictEnded second", "Normal ConflictEnded first"]);
    // Of very many rivals not all are listed.
    let many: Vec<String> = (100..120).map(|place| format!("rival-{place}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).chain(["second"]).collect();
    let mut chat = Chat::default();
    chat.settles(&refused(conflict(&["second"])), None);
    let told = chat.settles(&refused(conflict(&many)), None);
    assert_eq!(told, ["Warning IdentityRefused chat", "Warning IdentityContested rival-100"]);
}

#[test]
fn an_identity_taken_by_an_older_rival_is_withdrawn_and_the_rival_is_told() {
    let identity = identity("vllm");
    let mut chat = Chat::granted(&identity);
    let told = chat.settles(&refused(conflict(&["first"])), None);
    assert_eq!(told, ["Warning IdentityWithdrawn chat", "Warning IdentityContested first"]);
}

#[test]
fn a_deleted_binding_tells_that_its_identity_is_gone() {
    let identity = identity("vllm");
    let mut chat = Chat::granted(&identity);
    let told = chat.settles_in_full(&Standing::Leaving, None);
    assert_eq!(short(&told), ["Normal IdentityWithdrawn chat"]);
    assert!(told[0].note.ends_with("the binding is deleted"), "{}", told[0].note);
    assert_eq!(chat.settles(&Standing::Leaving, None), NOTHING);
    assert_eq!(Chat::default().settles(&Standing::Leaving, None), NOTHING);
}

#[test]
fn a_deletion_that_a_foreign_finalizer_holds_up_is_told_as_a_deletion_and_alarms_nobody() {
    let identity = identity("vllm");
    let mut output = live(&identity, "o-1");
    let mut chat = Chat::granted(&identity);
    output.spec = output.neutralised().spec;
    let kept = Standing::Waiting(Wait::Finalizers(vec!["example.com/keep".into()]));
    let told = chat.settles_while(true, &kept, Some(&output));
    assert_eq!(short(&told), ["Normal IdentityWithdrawn chat"]);
    for part in ["the binding is being deleted", "selects nothing any more", "`example.com/keep`"] {
        assert!(told[0].note.contains(part), "{}", told[0].note);
    }
    assert_eq!(short(&chat.settles_while(true, &Standing::Leaving, None)), NOTHING);
}

#[test]
fn waiting_for_its_own_former_output_is_not_told_and_waiting_for_others_is_when_it_costs_the_grant() {
    let (before, after) = (identity("vllm"), identity("proxy"));
    for wait in [Wait::Absence, Wait::Cooling] {
        let mut chat = Chat::granted(&before);
        assert_eq!(chat.settles(&Standing::Waiting(wait), None), NOTHING);
        let told = chat.settles(&granted(&after, "o-2"), Some(&live(&after, "o-2")));
        assert_eq!(told, ["Normal IdentityChanged chat"]);
    }
    for wait in [Wait::Outputs([name("theirs")].into()), Wait::Finalizers(vec!["example.com/keep".into()])] {
        let mut chat = Chat::granted(&before);
        let waiting = Standing::Waiting(wait);
        assert_eq!(chat.settles(&waiting, Some(&live(&before, "o-1"))), NOTHING, "it still stands");
        assert_eq!(chat.settles(&waiting, None), ["Warning IdentityWithdrawn chat"]);
        let told = chat.settles(&granted(&before, "o-2"), Some(&live(&before, "o-2")));
        assert_eq!(told, ["Normal IdentityGranted chat"]);
    }
}

#[test]
fn after_a_restart_nothing_is_told_that_the_status_says_already() {
    let identity = identity("vllm");
    let output = live(&identity, "o-1");
    let mut chat = Chat::after_a_restart("Reconciled");
    assert_eq!(chat.settles(&granted(&identity, "o-1"), Some(&output)), NOTHING);
    assert_eq!(chat.settles(&refused(not_found()), None), ["Warning IdentityWithdrawn chat"]);

    let mut chat = Chat::after_a_restart("TargetObjectiveNotFound");
    assert_eq!(chat.settles(&refused(not_found()), None), NOTHING);
    assert_eq!(chat.settles(&refused(Refusal::PoolCrdMissing(None)), None), ["Warning IdentityRefused chat"]);

    let mut chat = Chat::after_a_restart("IdentityCollision");
    assert_eq!(chat.settles(&refused(conflict(&["first"])), None), NOTHING);
    let told = chat.settles(&granted(&identity, "o-1"), Some(&output));
    assert_eq!(told, ["Normal IdentityGranted chat", "Normal ConflictEnded first"]);

    let mut chat = Chat::after_a_restart("ManagedOutputConflict");
    let foreign = stripped(output.clone());
    assert_eq!(chat.settles(&refused(foreign_at_our_name()), Some(&foreign)), NOTHING);
}

#[test]
fn after_a_restart_what_the_status_does_not_say_is_told() {
    let identity = identity("vllm");
    let output = live(&identity, "o-1");
    for said in ["Initializing", "TargetObjectiveNotFound", "forged"] {
        let mut chat = Chat::after_a_restart(said);
        let told = chat.settles(&granted(&identity, "o-1"), Some(&output));
        assert_eq!(told, ["Normal IdentityGranted chat"], "{said}");
    }
    let mut chat = Chat::after_a_restart("Reconciled");
    assert_eq!(chat.settles(&refused(not_found()), None), ["Warning IdentityRefused chat"]);
}

#[test]
fn what_the_status_said_is_remembered_while_nothing_is_decided() {
    let identity = identity("vllm");
    let mut chat = Chat::after_a_restart("Reconciled");
    assert_eq!(chat.settles(&Standing::Undecided(Troubles::new()), None), NOTHING);
    chat.said = Some("Initializing");
    assert_eq!(chat.settles(&granted(&identity, "o-1"), Some(&live(&identity, "o-1"))), NOTHING);
}

#[test]
fn after_a_restart_what_had_to_be_written_is_told_by_what_stood_before_the_write() {
    let (before, after) = (identity("vllm"), identity("proxy"));
    let mut chat = Chat::after_a_restart("Reconciled");
    chat.writes(&replace(&after), &Reply::Done, &live(&before, "o-1"));
    let told = chat.settles(&granted(&after, "o-1"), Some(&live(&after, "o-1")));
    assert_eq!(told, ["Normal IdentityChanged chat"]);

    let mut chat = Chat::after_a_restart("Reconciled");
    let mut drifted = live(&before, "o-1");
    drifted.spec.unwanted = ["admin".into()].into();
    chat.writes(&replace(&before), &Reply::Done, &drifted);
    assert_eq!(chat.settles(&granted(&before, "o-1"), Some(&live(&before, "o-1"))), NOTHING);

    // The reply to a delete may be lost; that the output is gone is seen all the same.
    for reply in [Reply::Done, Reply::Failed(Failure::Transient)] {
        let mut chat = Chat::after_a_restart("Reconciled");
        chat.writes(&delete(), &reply, &live(&before, "o-1"));
        assert_eq!(chat.settles(&refused(not_found()), None), ["Warning IdentityWithdrawn chat"]);
        let mut chat = Chat::after_a_restart("Reconciled");
        chat.writes(&delete(), &reply, &live(&before, "o-1"));
        assert_eq!(chat.settles(&Standing::Leaving, None), ["Normal IdentityWithdrawn chat"]);
    }
}

#[test]
fn another_incarnation_of_a_binding_begins_with_nothing_told() {
    let identity = identity("vllm");
    let mut chat = Chat::granted(&identity);
    let (settings, key, second) = (settings(), key("llm", "chat"), uid("chat-2"));
    let mut output = live(&identity, "o-2");
    output.annotations.insert(ANNOTATION_BINDING_UID.into(), "chat-2".into());
    let told = chat.told.settle(&Settled {
        settings: &settings,
        key: &key,
        uid: Some(&second),
        deleting: false,
        standing: &granted(&identity, "o-2"),
        output: Some(&output),
        in_doubt: false,
        peer: &|_| None,
    });
    assert_eq!(short(&told), ["Normal IdentityGranted chat"]);
    assert_eq!(told[0].regarding, Object::Binding(key, second));
}

#[test]
fn a_removed_orphan_is_told_of_the_output_that_it_was() {
    let identity = identity("vllm");
    let mut output = live(&identity, "o-1");
    output.annotations.insert(ANNOTATION_BINDING_UID.into(), "of-an-earlier-life".into());
    let mut chat = Chat::default();
    assert_eq!(chat.writes(&delete(), &Reply::Failed(Failure::Transient), &output), []);
    let told = chat.writes(&delete(), &Reply::Done, &output);
    let wanted = format!("Warning OrphanRemoved {}", output_of_chat());
    assert_eq!(short(&told), [wanted.as_str()]);
    assert_eq!(told[0].regarding, Object::Output(output_of_chat(), uid("o-1")));
    assert!(told[0].note.contains("`llm/chat` with another uid than any that lives"), "{}", told[0].note);
    assert!(told[0].note.contains("and was deleted"), "{}", told[0].note);
    // One that a foreign finalizer keeps is not said to be gone.
    let kept = LiveOutput { finalizers: ["example.com/keep".into()].into(), ..output.clone() };
    let told = chat.writes(&delete(), &Reply::Done, &kept);
    for part in ["is being deleted", "select nothing", "`example.com/keep`"] {
        assert!(told[0].note.contains(part), "{}", told[0].note);
    }
    // The same without a living binding of that name.
    let (settings, key) = (settings(), key("llm", "chat"));
    let told = Told::default().wrote(&settings, &key, None, &delete(), &Reply::Done, Some(&output));
    assert_eq!(short(told.as_slice()), [wanted.as_str()]);
    let step = Step::NeutraliseOutput { name: output_of_chat() };
    assert_eq!(Told::default().wrote(&settings, &key, None, &step, &Reply::Done, Some(&output)), None);
}

#[test]
fn a_foreign_object_at_an_outputs_name_is_told_once_and_instead_of_the_refusal() {
    let foreign = stripped(live(&identity("vllm"), "theirs"));
    let mut chat = Chat::default();
    let told = chat.settles_in_full(&refused(foreign_at_our_name()), Some(&foreign));
    assert_eq!(short(&told), ["Warning ForeignObjectMet chat"]);
    assert_eq!(told[0].related, Some(Object::Output(output_of_chat(), uid("theirs"))));
    assert!(told[0].note.contains("kubectl delete clusterspiffeid"), "{}", told[0].note);
    assert_eq!(chat.settles(&refused(foreign_at_our_name()), Some(&foreign)), NOTHING);
    assert_eq!(chat.settles(&refused(not_found()), Some(&foreign)), ["Warning IdentityRefused chat"]);
}

#[test]
fn an_output_that_lost_its_proof_by_hand_is_told_as_foreign_and_not_as_withdrawn() {
    let identity = identity("vllm");
    let foreign = stripped(live(&identity, "o-1"));
    for standing in [refused(foreign_at_our_name()), Standing::Leaving] {
        let mut chat = Chat::granted(&identity);
        let told = chat.settles_in_full(&standing, Some(&foreign));
        assert_eq!(short(&told), ["Warning ForeignObjectMet chat"]);
        assert!(told[0].note.contains("still grants `spiffe://example.org/"), "{}", told[0].note);
    }
    // Where it was taken away and something else was put there, both are told.
    let mut chat = Chat::granted(&identity);
    let other = stripped(live(&identity, "theirs"));
    let told = chat.settles(&refused(foreign_at_our_name()), Some(&other));
    assert_eq!(told, ["Warning ForeignObjectMet chat", "Warning IdentityWithdrawn chat"]);
}

#[test]
fn a_stranger_is_told_of_when_it_wears_this_instances_labels_and_proves_nothing() {
    let proven = live(&identity("vllm"), "o-1");
    assert_eq!(stranger(&settings(), &proven), None, "a proven orphan is swept, not told of");
    let mut unproven = proven;
    unproven.annotations.remove(ANNOTATION_BINDING);
    let told = stranger(&settings(), &unproven).unwrap();
    let wanted = format!("Warning ForeignObjectMet {}", output_of_chat());
    assert_eq!(short(&[told]), [wanted]);
    for change in [(LABEL_MANAGED_BY, "somebody"), (LABEL_INSTANCE, "other")] {
        let mut other = unproven.clone();
        other.labels.insert(change.0.into(), change.1.into());
        assert_eq!(stranger(&settings(), &other), None, "{change:?}");
    }
    let mut vigil = Vigil::default();
    let mut told = || vigil.saw_stranger(&settings(), &unproven).map(|told| told.occasion.as_str());
    assert_eq!((told(), told()), (Some("ForeignObjectMet"), None));
}
