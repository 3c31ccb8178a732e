//! Answers that come when a watch has told more than they know. Each of these was found by a seed.

use std::time::Duration;

use kleym_core::kind::{Kind, ObjectiveGroup, PoolGroup};
use kleym_core::output::FINALIZER;
use kleym_operator::perform::Call;
use kleym_operator::reconciler::{Moment, Reconciler};

use crate::deed::Config;
use crate::feed::Report;
use crate::objects::{in_account, objective, output_of, per_objective, pool};
use crate::seen::Seen;
use crate::server::{Place, Response, Server, Writer};
use crate::wire::{self, Request, Verb};

const NAMESPACE: &str = "llm";

/// A server and an operator that is told everything by hand.
struct Scene {
    server: Server,
    seen: Seen,
    reconciler: Reconciler,
    /// How much of each kind's log was told.
    told: std::collections::BTreeMap<Kind, u64>,
}

fn binding(name: &str) -> Place {
    Place::new(Kind::Binding, NAMESPACE, name)
}

impl Scene {
    /// Two objectives of one pool, and an operator that knows of them.
    fn new() -> Self {
        let settings = Config::USUAL.settings();
        let moment = Moment { running: Duration::ZERO, wall: jiff::Timestamp::UNIX_EPOCH };
        let mut server = Server::new(&[NAMESPACE]);
        let (pool_kind, objective_kind) =
            (Kind::Pool(PoolGroup::Inference), Kind::Objective(ObjectiveGroup::LlmD));
        server.put_by_hand(&Place::new(pool_kind, NAMESPACE, "llama"), pool(&[("app", "llama")]));
        server.put_by_hand(&Place::new(objective_kind, NAMESPACE, "chat"), objective("llama"));
        server.put_by_hand(&Place::new(objective_kind, NAMESPACE, "code"), objective("llama"));
        let reconciler = Reconciler::new(settings.clone(), Config::USUAL.served(), moment);
        let mut scene =
            Self { server, seen: Seen::new(&settings), reconciler, told: std::collections::BTreeMap::new() };
        for kind in Kind::ALL {
            scene.list(kind);
        }
        scene
    }

    fn moment(&self) -> Moment {
        Moment { running: self.server.now, wall: self.server.wall() }
    }

    fn tell(&mut self, report: Report) {
        let news = self.seen.told(report);
        self.reconciler.take(self.moment(), news);
    }

    /// Tells all objects of a kind, as a new list does.
    fn list(&mut self, kind: Kind) {
        let all = self.server.of_kind(kind).map(|(_, stored)| std::rc::Rc::clone(&stored.value)).collect();
        self.told.insert(kind, self.server.version());
        self.tell(Report::Listed(kind, None, all));
    }

    /// Tells what happened to a kind since it was last told.
    fn watch(&mut self, kind: Kind) {
        let since = self.told.insert(kind, self.server.version()).unwrap_or_default();
        let events = self.server.since(kind, since).unwrap().to_vec();
        for event in events {
            self.tell(if event.gone {
                Report::Gone(kind, event.value)
            } else {
                Report::Put(kind, event.value)
            });
        }
    }

    fn next(&mut self) -> Option<Call> {
        self.reconciler.next_call(self.moment())
    }

    /// Has a call happen.
    fn arrive(&mut self, call: &Call) -> Response {
        self.server.answer(&Request::of(call), Writer::Operator)
    }

    /// Gives the answer to a call; answers the next call of its turn.
    fn answer(&mut self, call: Call, response: &Response) -> Option<Call> {
        let answer = wire::answer(&Request::of(&call), response.as_ref().map_err(|refused| *refused));
        self.reconciler.answered(self.moment(), call, &answer)
    }

    /// Gives the answer to a call, and has the rest of its turn happen at once.
    fn finish(&mut self, call: Call, response: &Response) {
        let mut next = self.answer(call, response);
        while let Some(call) = next {
            let response = self.arrive(&call);
            next = self.answer(call, &response);
        }
    }

    /// Has everything happen at once that the operator wants, until it wants a call like this, or nothing more.
    fn until(&mut self, wanted: impl Fn(&Request) -> bool) -> Option<Call> {
        let mut next = None;
        loop {
            let call = match next.take() {
                Some(call) => call,
                None => {
                    for kind in Kind::ALL {
                        self.watch(kind);
                    }
                    self.next()?
                }
            };
            if wanted(&Request::of(&call)) {
                return Some(call);
            }
            let response = self.arrive(&call);
            next = self.answer(call, &response);
        }
    }

    fn rest(&mut self) {
        assert!(self.until(|_| false).is_none());
    }

    fn output(&self, of: &str) -> bool {
        self.server.get(&Place::output(&output_of(NAMESPACE, of))).is_some()
    }
}

fn is(verb: Verb, of: &'static str) -> impl Fn(&Request) -> bool {
    move |request| request.verb == verb && request.name == output_of(NAMESPACE, of)
}

#[test]
fn a_look_that_found_nothing_says_nothing_of_what_was_seen_since() {
    let mut scene = Scene::new();
    scene.server.put_by_hand(&binding("a"), per_objective("chat", "vllm"));
    let create = scene.until(is(Verb::Create, "a")).unwrap();
    let late = Request::of(&create);
    let response = scene.arrive(&create);
    scene.finish(create, &response);
    scene.server.put_by_hand(&binding("a"), in_account(per_objective("chat", "vllm"), "not a name"));
    let look = scene.until(is(Verb::List, "a")).unwrap();
    let response = scene.arrive(&look);
    // The request of an operator that died, which lands now.
    scene.server.answer(&late, Writer::Late).unwrap();
    scene.watch(Kind::Output);
    scene.finish(look, &response);
    scene.rest();
    assert!(!scene.output("a"), "the output of a binding that is refused stays");
}

#[test]
fn an_answer_brings_nothing_back_that_a_list_made_since_does_not_hold() {
    let mut scene = Scene::new();
    scene.server.put_by_hand(&binding("a"), per_objective("chat", "vllm"));
    let create = scene.until(is(Verb::Create, "a")).unwrap();
    let response = scene.arrive(&create);
    scene.server.remove_definition(Kind::Output);
    scene.server.restore_definition(Kind::Output);
    scene.list(Kind::Output);
    scene.finish(create, &response);
    scene.rest();
    assert!(scene.output("a"), "an output that is gone is believed to be there");
}

#[test]
fn an_answer_brings_nothing_back_while_outputs_have_no_definition() {
    let mut scene = Scene::new();
    scene.server.put_by_hand(&binding("a"), per_objective("chat", "vllm"));
    let create = scene.until(is(Verb::Create, "a")).unwrap();
    let response = scene.arrive(&create);
    scene.server.remove_definition(Kind::Output);
    scene.tell(Report::Absent(Kind::Output));
    scene.server.put_by_hand(&binding("a"), in_account(per_objective("chat", "vllm"), "not a name"));
    scene.watch(Kind::Binding);
    let mut next = scene.answer(create, &response);
    while let Some(call) = next {
        assert_eq!(Request::of(&call).kind, Kind::Binding, "an output is asked for where there can be none");
        let response = scene.arrive(&call);
        next = scene.answer(call, &response);
    }
}

#[test]
fn what_lost_its_proof_is_in_nobodys_way_when_its_binding_is_gone() {
    let mut scene = Scene::new();
    scene.server.put_by_hand(&binding("a"), per_objective("chat", "vllm"));
    scene.rest();
    scene.server.now = Duration::from_secs(2);
    scene.server.put_by_hand(&binding("b"), per_objective("code", "vllm"));
    scene.rest();
    assert!(!scene.output("b"), "two have one container");
    scene.server.edit_by_hand(&binding("a"), |object| {
        object["metadata"]["finalizers"].as_array_mut().unwrap().retain(|finalizer| finalizer != FINALIZER);
    });
    scene.server.delete_by_hand(&binding("a"));
    let delete = scene.until(is(Verb::Delete, "a")).unwrap();
    scene.server.edit_by_hand(&Place::output(&output_of(NAMESPACE, "a")), |object| {
        object["metadata"]["labels"].as_object_mut().unwrap().shift_remove("kleym.sonda.red/managed-by");
    });
    scene.watch(Kind::Output);
    let response = scene.arrive(&delete);
    scene.finish(delete, &response);
    scene.server.now += Duration::from_secs(2);
    scene.rest();
    assert!(scene.output("b"), "an output that is gone is in the way");
}
