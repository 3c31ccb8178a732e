//! What can go wrong with one call, or with the watches, by name.

use std::time::Duration;

use kleym_testenv::proxy::{Fault, Point, Reply};
use serde_json::json;

/// What goes wrong in a plan.
#[derive(Debug, Clone)]
pub(crate) enum Wrong {
    /// The operator is killed at the call.
    Kill(Point),
    /// The operator is told to stop while the call is under way.
    Terminate,
    /// The call, or its answer, suffers.
    Call(Fault),
    /// The call is held for longer than the operator waits, and then carried out.
    BlackHole,
    /// From the call on, every write is answered so, several times over.
    Spell(Reply),
    /// The watches of a kind stand still while everything happens.
    Frozen(&'static str),
    /// The watches of a kind lose the next event, and are then too old.
    Lost(&'static str),
    /// Every watch is too old, or breaks, in the middle.
    Expired,
    /// Every watch breaks in the middle.
    Broken,
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
        ("200-large", Reply::text(200, "application/json", vec![b' '; 100 << 20])),
    ]
}

/// What can go wrong at a call.
pub(crate) fn at_a_call() -> Vec<(String, Wrong)> {
    let mut all = vec![
        ("kill-before".to_owned(), Wrong::Kill(Point::Before)),
        ("kill-after-commit".to_owned(), Wrong::Kill(Point::AfterCommit)),
        ("kill-after-reply".to_owned(), Wrong::Kill(Point::AfterReply)),
        ("terminate".to_owned(), Wrong::Terminate),
        ("black-hole".to_owned(), Wrong::BlackHole),
        ("cut-before".to_owned(), Wrong::Call(Fault::Cut)),
        ("cut-after".to_owned(), Wrong::Call(Fault::CutAfter)),
        ("twice".to_owned(), Wrong::Call(Fault::Twice)),
        ("truncated".to_owned(), Wrong::Call(Fault::Truncate(40))),
        ("delayed".to_owned(), Wrong::Call(Fault::Delay(Duration::from_secs(3)))),
    ];
    for (name, reply) in codes() {
        all.push((format!("{name}-before"), Wrong::Call(Fault::Answer(reply.clone()))));
        all.push((format!("{name}-after"), Wrong::Call(Fault::AnswerAfter(reply.clone()))));
        if name.starts_with('5') || name.starts_with("429") || name.starts_with("403") {
            all.push((format!("{name}-spell"), Wrong::Spell(reply)));
        }
    }
    all
}

/// What can go wrong with the watches.
pub(crate) fn of_the_watches() -> Vec<(String, Wrong)> {
    let mut all = vec![("expired".to_owned(), Wrong::Expired), ("broken".to_owned(), Wrong::Broken)];
    for kind in ["inferenceidentitybindings", "inferenceobjectives", "inferencepools", "clusterspiffeids"] {
        all.push((format!("frozen-{kind}"), Wrong::Frozen(kind)));
        all.push((format!("lost-{kind}"), Wrong::Lost(kind)));
    }
    all
}
