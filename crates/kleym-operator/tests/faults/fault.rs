//! What can go wrong, by name.

use std::time::Duration;

use kleym_testenv::proxy::{Asked, Fault, Point, Reply};
use serde_json::json;

use crate::runs::Reference;
use crate::scenario::Scenario;
use crate::wrong::At;

/// What goes wrong in a plan.
#[derive(Debug, Clone)]
pub(crate) enum Wrong {
    /// The operator is killed at the call.
    Kill(Point),
    /// The operator is killed at the call, and the next one at its first write.
    KillTwice(Point),
    /// The operator is told to stop while the call is under way.
    Terminate(Stopped),
    /// The call, or its answer, suffers.
    Call(Fault),
    /// The call is held for longer than the operator waits, and then carried out.
    BlackHole,
    /// Every write is answered so, several times over.
    Spell(Reply),
    /// Every write, or everything that is read, suffers so for a minute.
    Minute(Suffering, Fault),
    /// The watches of a kind stand still while everything happens.
    Frozen(&'static str),
    /// The watches of a kind lose the next event, and are then too old.
    Lost(&'static str),
    /// Every watch is too old, or breaks, in the middle.
    Expired,
    /// Every watch breaks in the middle.
    Broken,
    /// Every watch breaks in the middle of an event.
    Torn,
    /// Every watch says something that is no event.
    Garbage,
    /// Every watch breaks, and is answered so when it is opened again.
    Opening(Reply),
    /// Every event of a kind arrives twice.
    Doubled(&'static str),
    /// The events of a kind arrive later than any call may take.
    Slow(&'static str),
    /// The list of a kind, as it was before, is given once more.
    OldList(&'static str),
    /// A look at an output is answered from the time when there was none.
    OldLook,
    /// Some verbs of a resource are taken away for a while, and the watches broken.
    Revoked(&'static str, &'static [&'static str]),
    /// Somebody does something by hand in the middle.
    Hand(Hand),
    /// The operator takes part in an election, and its lease suffers.
    Lease(Suffers),
}

impl Wrong {
    /// Whether it can strike at all, by what happens when nothing goes wrong. What cannot is no plan.
    pub(crate) fn can_strike(&self, at: &At, reference: &Reference) -> bool {
        match self {
            // The second death is at a write that is left for the next operator.
            Self::KillTwice(Point::AfterCommit | Point::AfterReply) => {
                let Some((label, nth)) = at else { return false };
                let mut rest = reference.calls.iter();
                let alike = rest.by_ref().filter(|call| *call == label).nth(*nth);
                alike.is_some() && rest.any(|call| changes(call))
            }
            Self::Frozen(kind) | Self::Lost(kind) | Self::Doubled(kind) | Self::Slow(kind) => {
                reference.heard.contains(*kind)
            }
            Self::OldLook => reference.calls.iter().any(|call| call.starts_with("list-clusterspiffeids-of-")),
            // Hands are laid on bindings, and on what is theirs.
            Self::Hand(_) => {
                let of_bindings = |call: &String| call.contains("-inferenceidentitybindings");
                reference.calls.iter().any(|call| changes(call) && of_bindings(call))
            }
            // All watches are broken, so that a right to read is missed in any case.
            Self::Revoked(_, verbs) if verbs.contains(&"watch") => true,
            Self::Revoked(resource, verbs) => {
                let resource = resource.replace('/', ".");
                let of = |call: &String, verb: &str| call.starts_with(&format!("{verb}-{resource}-of-"));
                reference.calls.iter().any(|call| verbs.iter().any(|verb| of(call, verb)))
            }
            _ => true,
        }
    }
}

/// How an operator is when it is told to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stopped {
    /// Its call is carried out, and not answered yet.
    Unanswered,
    /// Its call is on its way.
    Unheard,
    /// Its call is not answered yet, and it leads by a lease.
    Leading,
}

/// Which calls suffer for a minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Suffering {
    /// What writes.
    Writes,
    /// What reads; every watch is too old then.
    Reads,
}

/// What somebody does by hand.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Hand {
    /// Takes our finalizer off every binding.
    StripsFinalizers,
    /// Writes a false status into every binding.
    ForgesStatus,
    /// Widens every output.
    EditsOutputs,
    /// Deletes every output.
    DeletesOutputs,
    /// Deletes the namespace, which then ends as a namespace does.
    DeletesNamespace,
}

/// What happens to a lease.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Suffers {
    /// It is deleted.
    Deletion,
    /// Somebody writes nonsense into it.
    Garbage,
    /// Somebody else takes it.
    Theft,
}

/// Whether a call with this label changes something.
pub(crate) fn changes(label: &str) -> bool {
    !["list-", "get-", "try-"].iter().any(|reads| label.starts_with(reads))
}

/// Whether the operator gives up after such an answer, until something changes.
pub(crate) fn rejects(name: &str) -> bool {
    ["400", "405", "413", "422"].iter().any(|code| name.contains(code))
}

fn codes() -> Vec<(&'static str, Reply)> {
    let status = |code, reason: &str| Reply::status(code, reason, "made up by a test");
    let details = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": "NotFound", "code": 404,
        "message": "not found", "details": {"name": "x", "group": "spire.spiffe.io", "kind": "clusterspiffeids"},
    });
    vec![
        ("400", status(400, "BadRequest")),
        ("401", status(401, "Unauthorized")),
        ("403", status(403, "Forbidden")),
        ("404-text", Reply::text(404, "text/plain", "404 page not found")),
        ("404-status", Reply::json(404, &details)),
        ("405", status(405, "MethodNotAllowed")),
        ("409", status(409, "Conflict")),
        ("413", status(413, "RequestEntityTooLarge")),
        ("422", status(422, "Invalid")),
        ("429", status(429, "TooManyRequests").with_header("retry-after", "-1")),
        ("429-long", status(429, "TooManyRequests").with_header("retry-after", "86400")),
        ("500", status(500, "InternalError")),
        ("503", status(503, "ServiceUnavailable")),
        ("504", status(504, "Timeout")),
        ("200-html", Reply::text(200, "text/html", "<html>Please log in</html>")),
    ]
}

const KILLS: [(&str, Point); 3] =
    [("before", Point::Before), ("after-commit", Point::AfterCommit), ("after-reply", Point::AfterReply)];

/// What can go wrong at a call of a scenario.
pub(crate) fn at_a_call(scenario: Scenario, call: &str) -> Vec<(String, Wrong)> {
    let mut all = vec![
        ("terminate".to_owned(), Wrong::Terminate(Stopped::Unanswered)),
        ("black-hole".to_owned(), Wrong::BlackHole),
        ("cut-before".to_owned(), Wrong::Call(Fault::Cut)),
        ("cut-after".to_owned(), Wrong::Call(Fault::CutAfter)),
        ("truncated".to_owned(), Wrong::Call(Fault::Truncate(40))),
        ("delayed".to_owned(), Wrong::Call(Fault::Delay(Duration::from_secs(3)))),
    ];
    for (name, point) in KILLS {
        all.push((format!("kill-{name}"), Wrong::Kill(point)));
        all.push((format!("kill-{name}-twice"), Wrong::KillTwice(point)));
    }
    // A crash scenario; what a single call suffers, the others show. A start reads the same with another trust domain as with
    // another class.
    let alike = scenario == Scenario::TrustDomain && !changes(call);
    if scenario == Scenario::GoodAmongBad || alike {
        return all;
    }
    // What only reads is not carried out differently before and after.
    if changes(call) {
        all.push(("twice".to_owned(), Wrong::Call(Fault::Twice)));
    }
    let mut answers = codes();
    if Scenario::MAIN.contains(&scenario) {
        all.push(("terminate-unheard".to_owned(), Wrong::Terminate(Stopped::Unheard)));
        all.push(("terminate-leading".to_owned(), Wrong::Terminate(Stopped::Leading)));
        answers.push(("200-large", Reply::text(200, "application/json", vec![b' '; 100 << 20])));
    }
    for (name, reply) in answers {
        all.push((format!("{name}-before"), Wrong::Call(Fault::Answer(reply.clone()))));
        if changes(call) {
            all.push((format!("{name}-after"), Wrong::Call(Fault::AnswerAfter(reply))));
        }
    }
    all
}

/// What can go wrong with a scenario as a whole.
pub(crate) fn of_the_whole(scenario: Scenario) -> Vec<(String, Wrong)> {
    let mut all: Vec<(String, Wrong)> = [
        ("expired", Wrong::Expired),
        ("broken", Wrong::Broken),
        ("torn", Wrong::Torn),
        ("garbage", Wrong::Garbage),
    ]
    .map(|(name, wrong)| (name.to_owned(), wrong))
    .into();
    for kind in ["inferenceidentitybindings", "inferenceobjectives", "inferencepools", "clusterspiffeids"] {
        all.push((format!("frozen-{kind}"), Wrong::Frozen(kind)));
        all.push((format!("lost-{kind}"), Wrong::Lost(kind)));
        all.push((format!("old-list-{kind}"), Wrong::OldList(kind)));
        all.push((format!("doubled-{kind}"), Wrong::Doubled(kind)));
        all.push((format!("slow-{kind}"), Wrong::Slow(kind)));
    }
    all.push(("old-look".to_owned(), Wrong::OldLook));
    for (name, hand) in [
        ("finalizers-stripped", Hand::StripsFinalizers),
        ("status-forged", Hand::ForgesStatus),
        ("outputs-edited", Hand::EditsOutputs),
        ("outputs-deleted", Hand::DeletesOutputs),
        ("namespace-deleted", Hand::DeletesNamespace),
    ] {
        all.push((name.to_owned(), Wrong::Hand(hand)));
    }
    for (name, suffers) in
        [("deleted", Suffers::Deletion), ("garbage", Suffers::Garbage), ("stolen", Suffers::Theft)]
    {
        all.push((format!("lease-{name}"), Wrong::Lease(suffers)));
    }
    for (name, reply) in codes() {
        if ["403", "429", "429-long", "500", "503", "504"].contains(&name) {
            all.push((format!("{name}-spell"), Wrong::Spell(reply.clone())));
        }
        if ["401", "404-text", "404-status", "429-long", "500", "200-html"].contains(&name) {
            all.push((format!("{name}-opening"), Wrong::Opening(reply.clone())));
        }
    }
    all.extend(minutes(scenario));
    for (name, resource, verbs) in REVOCABLE {
        all.push((format!("revoked-{name}"), Wrong::Revoked(resource, verbs)));
    }
    all
}

/// What lasts a minute. A minute is long: what is no write answered before it is carried out takes turns with the scenarios.
fn minutes(scenario: Scenario) -> Vec<(String, Wrong)> {
    let turn_of = |among: &[Scenario]| among.iter().position(|one| *one == scenario);
    let (main, more) = (turn_of(&Scenario::MAIN), turn_of(&LONG));
    let mut all = Vec::new();
    for (nth, (name, reply)) in codes().into_iter().enumerate() {
        let (before, after) = (Fault::Answer(reply.clone()), Fault::AnswerAfter(reply));
        if main.is_some() || more.is_some_and(|turn| nth % 8 == turn) {
            all.push((format!("{name}-minute"), Wrong::Minute(Suffering::Writes, before.clone())));
        }
        if main.is_some_and(|turn| nth % 2 == turn % 2) || more.is_some_and(|turn| nth % 8 == turn + 4) {
            all.push((format!("{name}-minute-after"), Wrong::Minute(Suffering::Writes, after)));
        }
        if main.is_some_and(|turn| nth % 4 == turn) {
            all.push((format!("{name}-minute-reads"), Wrong::Minute(Suffering::Reads, before)));
        }
    }
    all
}

/// Scenarios that have a part in what lasts long, beside the main ones.
const LONG: [Scenario; 4] = [Scenario::Swap, Scenario::PoolChange, Scenario::Stray, Scenario::Class];

/// Rights that are taken away for a while.
const REVOCABLE: [(&str, &str, &[&str]); 9] = [
    ("patch-bindings", "inferenceidentitybindings", &["patch"]),
    ("read-bindings", "inferenceidentitybindings", &["get", "list", "watch"]),
    ("status", "inferenceidentitybindings/status", &["get", "update", "patch"]),
    ("read-objectives", "inferenceobjectives", &["get", "list", "watch"]),
    ("read-pools", "inferencepools", &["get", "list", "watch"]),
    ("create-outputs", "clusterspiffeids", &["create"]),
    ("update-outputs", "clusterspiffeids", &["update"]),
    ("delete-outputs", "clusterspiffeids", &["delete"]),
    ("read-outputs", "clusterspiffeids", &["get", "list", "watch"]),
];

/// Whether a call reads; those of the lease are apart.
pub(crate) fn reads(asked: &Asked) -> bool {
    !asked.writes() && !asked.resource.starts_with("coordination.k8s.io/")
}

/// Whether a call writes; those of the lease are apart.
pub(crate) fn writes(asked: &Asked) -> bool {
    asked.writes() && !asked.resource.starts_with("coordination.k8s.io/")
}
