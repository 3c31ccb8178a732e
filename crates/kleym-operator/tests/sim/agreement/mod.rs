//! The simulator's API server held against a real one: the same random operations on both, and every reply compared —
//! code, reason, details, the object, whether its version moved, its generation, what watches tell in which order. Uids
//! and versions are compared by when they were first seen; times only by whether they are there.
//!
//! `KLEYM_SIM_ROUNDS` is how many rounds are played, each with a seed of its own; `KLEYM_SIM_ROUND` plays one seed alone
//! and prints it.

mod operation;
mod real;
mod side;

use std::fmt::Write;

use anyhow::Result;
use kleym_core::kind::Kind;
use serde_json::{Value, json};

use crate::number;
use crate::server::{Definition, Place, Response, Server, Writer};
use crate::wire::{Request, Verb};
use operation::{Bound, FLEETING, HOME, Operation, PASSING, Shape, draw};
use real::{Answer, Real};
use side::Side;

/// How many rounds `make test` has time for.
const ROUNDS: u64 = 40;
/// How many operations a round has.
const OPERATIONS: usize = 100;
/// How often a round that fails is played again to shorten it.
const ATTEMPTS: usize = 60;

/// The same operations, played on both.
struct Round<'a> {
    real: &'a Real,
    server: Server,
    there: Side,
    here: Side,
    marks: u32,
    /// How many replies were compared.
    compared: u64,
    /// What was done and answered so far.
    history: Vec<String>,
}

/// Two replies that are not the same.
struct Difference(String);

impl<'a> Round<'a> {
    async fn begin(real: &'a mut Real) -> Result<Self> {
        real.begin().await?;
        let mut server = Server::new(&[HOME, PASSING]);
        server.set_unserved(operation::UNSERVED, true);
        let (there, here) = (Side::default(), Side::default());
        Ok(Self { real, server, there, here, marks: 0, compared: 0, history: Vec::new() })
    }

    /// Plays operations up to the first difference.
    async fn play(&mut self, operations: &[Operation]) -> Result<Option<Difference>> {
        for operation in operations {
            if let Err(difference) = self.once(operation).await? {
                return Ok(Some(difference));
            }
        }
        Ok(None)
    }

    async fn once(&mut self, operation: &Operation) -> Result<Result<(), Difference>> {
        let namespaces = self.server.namespace(PASSING).is_some();
        let definition = self.server.shelf(FLEETING).definition;
        match operation {
            Operation::Watch(kind, namespace, ago) => {
                return self.watch(*kind, namespace.unwrap_or_default(), *ago).await;
            }
            Operation::EndNamespace => {
                self.note(operation, "");
                if self.server.namespace(PASSING) == Some(crate::server::Namespace::Active) {
                    self.server.remove_namespace(PASSING);
                    self.real.end_namespace(PASSING).await?;
                }
            }
            Operation::BeginNamespace => {
                self.note(operation, "");
                if self.server.namespace(PASSING).is_none() {
                    self.server.create_namespace(PASSING);
                    self.real.begin_namespace(PASSING).await?;
                }
            }
            Operation::Undefine => {
                self.note(operation, "");
                if definition == Definition::Served {
                    self.server.remove_definition(FLEETING);
                    self.real.undefine().await?;
                }
            }
            Operation::Define => {
                self.note(operation, "");
                if definition == Definition::Absent {
                    self.server.restore_definition(FLEETING);
                    self.real.define().await?;
                }
            }
            _ => {
                let (Some(there), Some(here)) = (self.there.request(operation), self.here.request(operation))
                else {
                    return Ok(Ok(()));
                };
                if let Err(difference) = self.ask(&format!("{operation:?}"), &there, &here).await? {
                    return Ok(Err(difference));
                }
            }
        }
        if namespaces && self.server.namespace(PASSING).is_none() {
            self.real.finish_namespace(PASSING).await?;
        }
        if definition == Definition::Terminating
            && self.server.shelf(FLEETING).definition == Definition::Absent
        {
            self.real.undefined().await?;
        }
        Ok(Ok(()))
    }

    async fn ask(&mut self, what: &str, there: &Request, here: &Request) -> Result<Result<(), Difference>> {
        let place = Place::new(here.kind, &here.namespace, &here.name);
        let before = self.server.get(&place).map(|stored| stored.version);
        let mut response = self.server.answer(here, Writer::Hand);
        let changes = matches!(here.verb, Verb::Replace | Verb::ReplaceStatus | Verb::PatchFinalizers);
        let idle =
            changes && response.is_ok() && self.server.get(&place).map(|stored| stored.version) == before;
        let unchanged = if idle { Some(self.real.answer(&there.read()).await?.1) } else { None };
        let (code, body) = self.real.answer(there).await?;
        // Who owns which field is not simulated. Where nothing but that changed, the version moves all the same.
        if unchanged.is_some_and(|old| differs_in_managers_alone(&old, &body)) {
            response = Ok(self.server.restamp(&place));
        }
        let ours = answered(here, &response);
        Ok(self.compare_answers(what, here, &(code, body), &ours))
    }

    fn compare_answers(
        &mut self,
        what: &str,
        request: &Request,
        theirs: &Answer,
        ours: &Answer,
    ) -> Result<(), Difference> {
        let masked = |side: &mut Side, (code, body): &Answer| {
            if request.verb == Verb::Page {
                let token = body["metadata"]["continue"].as_str().filter(|token| !token.is_empty());
                let limit = request.body["limit"].as_u64().unwrap_or_default();
                side.open =
                    token.map(|token| (request.kind, request.namespace.clone(), limit, token.to_owned()));
            }
            json!({"code": code, "body": side.mask(request.kind, body)})
        };
        let theirs = masked(&mut self.there, theirs);
        let ours = masked(&mut self.here, ours);
        self.compare(what, &theirs, &ours)
    }

    async fn watch(&mut self, kind: Kind, namespace: &str, ago: u64) -> Result<Result<(), Difference>> {
        if kind == FLEETING && self.server.shelf(kind).changes > 0 {
            return Ok(Ok(()));
        }
        let (Some(then), Some(since)) = (self.there.version_ago(ago), self.here.version_ago(ago)) else {
            return Ok(Ok(()));
        };
        let (then, since) = (then.to_owned(), since.parse().unwrap());
        let (marks_there, marks_here) = self.mark(kind);
        let mark = marks_here.name.clone();
        if let Err(difference) = self.ask("mark", &marks_there, &marks_here).await? {
            return Ok(Err(difference));
        }
        let namespace = if kind.namespaced() { namespace } else { "" };
        if !namespace.is_empty() && namespace != HOME {
            return Ok(Ok(()));
        }
        let theirs = self.real.watch(kind, namespace, &then, &mark).await?;
        let ours = self.server.told_since(kind, namespace, since);
        let mask = |side: &mut Side, events: Vec<(&'static str, Value)>| -> Vec<Value> {
            events.iter().map(|(sort, object)| json!([sort, side.mask(kind, object)])).collect()
        };
        let theirs = json!(mask(&mut self.there, theirs));
        let ours = json!(mask(&mut self.here, ours));
        Ok(self.compare(&format!("watch {kind} in `{namespace}` since {ago} versions"), &theirs, &ours))
    }

    /// Requests for an object by which the end of what happened is known.
    fn mark(&mut self, kind: Kind) -> (Request, Request) {
        self.marks += 1;
        let place = Place::new(kind, HOME, &format!("mark-{}", self.marks));
        let shape = Shape { same: false, spec: 1, labels: 0, finalizers: 0, status: 0 };
        let marking = Operation::Write(Verb::Create, place, shape, Bound::Nothing, Bound::Nothing);
        let request = |side: &Side| side.request(&marking).expect("a write is a request");
        (request(&self.there), request(&self.here))
    }

    fn note(&mut self, operation: &Operation, answer: &str) {
        self.history.push(format!("{operation:?} {answer}"));
    }

    fn compare(&mut self, what: &str, theirs: &Value, ours: &Value) -> Result<(), Difference> {
        self.compared += 1;
        if theirs == ours {
            self.history.push(format!("{what}\n      {theirs}"));
            return Ok(());
        }
        let mut parts = Vec::new();
        parts_that_differ("", theirs, ours, &mut parts);
        Err(Difference(format!("{what}\n{}\n  really    {theirs}\n  simulated {ours}", parts.join("\n"))))
    }
}

/// Where two answers differ.
fn parts_that_differ(at: &str, theirs: &Value, ours: &Value, parts: &mut Vec<String>) {
    if theirs == ours {
        return;
    }
    match (theirs, ours) {
        (Value::Object(a), Value::Object(b)) => {
            for field in a.keys().chain(b.keys().filter(|field| !a.contains_key(*field))) {
                parts_that_differ(&format!("{at}/{field}"), &theirs[field], &ours[field], parts);
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (nth, (theirs, ours)) in a.iter().zip(b).enumerate() {
                parts_that_differ(&format!("{at}/{nth}"), theirs, ours, parts);
            }
        }
        _ => parts.push(format!("  {at}: really {theirs}, simulated {ours}")),
    }
}

/// Whether two states of an object differ only in who manages which field.
fn differs_in_managers_alone(old: &Value, new: &Value) -> bool {
    let without = |object: &Value| {
        let mut object = object.clone();
        if let Some(metadata) = object["metadata"].as_object_mut() {
            metadata.shift_remove("managedFields");
            metadata.shift_remove("resourceVersion");
        }
        object
    };
    old["metadata"]["managedFields"] != new["metadata"]["managedFields"] && without(old) == without(new)
}

/// The answer as HTTP has it.
fn answered(request: &Request, response: &Response) -> Answer {
    match response {
        Ok(body) if matches!(request.verb, Verb::Create | Verb::TryCreate) => (201, Value::clone(body)),
        Ok(body) => (200, Value::clone(body)),
        Err(refused) => (
            refused.code(),
            refused.status(&Place::new(request.kind, &request.namespace, &request.name)).unwrap_or_default(),
        ),
    }
}

/// The shortest history found that still shows a difference, and what it is.
async fn shorten(real: &mut Real, operations: Vec<Operation>) -> Result<String> {
    let mut operations = operations;
    let mut attempts = 0;
    let mut size = operations.len() / 2;
    while size > 0 {
        let mut start = 0;
        while start < operations.len() && attempts < ATTEMPTS {
            attempts += 1;
            let mut shorter = operations.clone();
            shorter.drain(start..(start + size).min(shorter.len()));
            if Round::begin(real).await?.play(&shorter).await?.is_some() {
                operations = shorter;
            } else {
                start += size;
            }
        }
        size /= 2;
    }
    let mut round = Round::begin(real).await?;
    let difference = round.play(&operations).await?;
    let last = round.history.len().saturating_sub(25);
    let mut text = round.history[last..].join("\n");
    match difference {
        Some(Difference(what)) => write!(text, "\n=> {what}")?,
        None => text.push_str("\n=> not again"),
    }
    Ok(text)
}

/// What random operations cannot bring about: a bookmark, a version that is too old to watch from, and a page of a list that
/// began before a version that is forgotten.
async fn edges(real: &mut Real) -> Result<u64> {
    let kind = Kind::Output;
    let mut round = Round::begin(real).await?;
    let operations: Vec<Operation> =
        draw(0, OPERATIONS).into_iter().filter(|operation| operation.is_about(kind)).collect();
    expect_none(round.play(&operations).await?);
    let old = (round.there.version_ago(3).unwrap().to_owned(), round.here.version_ago(3).unwrap().to_owned());
    let newest = round.there.version_ago(0).unwrap().to_owned();
    let (there, here) = round.mark(kind);
    let (theirs, bookmark) = round.real.bookmark(&there, &newest).await?;
    let ours = answered(&here, &round.server.answer(&here, Writer::Hand));
    expect_none(round.compare_answers("bookmarked", &here, &theirs, &ours).err());
    round.there.saw(&bookmark);
    round.here.saw(&round.server.version().to_string());
    // A watch that goes on from a bookmark tells only what comes after it.
    expect_none(round.watch(kind, "", 1).await?.err());
    expect_none(round.play(&[Operation::Page(kind, None, 1)]).await?);
    let next = |side: &Side| side.request(&Operation::Next).expect("there is a second page");
    let (next_there, next_here) = (next(&round.there), next(&round.here));
    let (mark_there, mark_here) = round.mark(kind);
    expect_none(round.ask("after the page", &mark_there, &mark_here).await?.err());
    let (mut there, mut here, server) = (round.there, round.here, round.server);
    let compared = round.compared;
    real.compact(there.version_ago(0).unwrap()).await?;
    real.restart().await?;
    let mut server = server;
    server.forget(kind);
    let theirs = real.watch(kind, "", &old.0, "").await?;
    let ours = server.told_since(kind, "", old.1.parse()?);
    let told = |side: &mut Side, events: Vec<(&'static str, Value)>| -> Vec<Value> {
        events.iter().map(|(sort, object)| json!([sort, side.mask(kind, object)])).collect()
    };
    assert_eq!(told(&mut there, theirs), told(&mut here, ours), "a version that is too old");
    let (code, theirs) = real.answer(&next_there).await?;
    let (expected, ours) = answered(&next_here, &server.answer(&next_here, Writer::Hand));
    let (theirs, ours) = (there.mask(kind, &theirs), here.mask(kind, &ours));
    assert_eq!((code, theirs), (expected, ours), "a page of a list that is too old");
    assert_eq!(code, 410);
    Ok(compared + 2)
}

fn expect_none(difference: Option<Difference>) {
    if let Some(Difference(what)) = difference {
        panic!("{what}");
    }
}

async fn agree() -> Result<u64> {
    let mut real = Real::start().await?;
    let alone = number("KLEYM_SIM_ROUND");
    let seeds = match alone {
        Some(seed) => seed..seed + 1,
        None => 1..1 + number("KLEYM_SIM_ROUNDS").unwrap_or(ROUNDS),
    };
    let mut compared = if alone.is_none() { edges(&mut real).await? } else { 0 };
    for seed in seeds {
        let operations = draw(seed, OPERATIONS);
        let mut round = Round::begin(&mut real).await?;
        let difference = round.play(&operations).await?;
        compared += round.compared;
        let played = round.history.len();
        if alone.is_some() {
            println!("{}", round.history.join("\n"));
        }
        if let Some(Difference(what)) = difference {
            let short = shorten(&mut real, operations[..operations.len().min(played + 1)].to_vec()).await?;
            panic!(
                "seed {seed}, after {played} operations: {what}\nagain with KLEYM_SIM_ROUND={seed}; shortened:\n{short}"
            );
        }
    }
    Ok(compared)
}

#[test]
fn the_simulated_api_server_answers_as_a_real_one() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let compared = runtime.block_on(agree()).unwrap();
    println!("{compared} replies compared");
}
