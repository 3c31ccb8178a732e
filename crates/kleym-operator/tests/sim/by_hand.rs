//! A server and an operator that is told everything by hand, call by call.

use std::time::Duration;

use kleym_core::kind::{Kind, ObjectiveGroup, PoolGroup};
use kleym_core::output::FINALIZER;
use kleym_operator::perform::Call;
use kleym_operator::reconciler::{Moment, Reconciler};
use serde_json::Value;

use crate::deed::Config;
use crate::feed::Report;
use crate::objects::{objective, output_of, pool};
use crate::seen::Seen;
use crate::server::{Place, Response, Server, Writer};
use crate::wire::{self, Request, Verb};

pub(crate) const NAMESPACE: &str = "llm";
/// Another namespace, with nothing in it.
pub(crate) const QUIET: &str = "quiet";

/// The place of the output of a binding of that name.
pub(crate) fn output_place(of: &str) -> Place {
    Place::output(&output_of(NAMESPACE, of))
}

/// The scene.
pub(crate) struct Scene {
    pub(crate) server: Server,
    seen: Seen,
    reconciler: Reconciler,
    /// How much of each kind's log was told.
    told: std::collections::BTreeMap<Kind, u64>,
}

pub(crate) fn binding(name: &str) -> Place {
    Place::new(Kind::Binding, NAMESPACE, name)
}

impl Scene {
    /// Two objectives of one pool, and an operator that knows of them.
    pub(crate) fn new() -> Self {
        let settings = Config::USUAL.settings();
        let moment = Moment { running: Duration::ZERO, wall: jiff::Timestamp::UNIX_EPOCH };
        let mut server = Server::new(&[NAMESPACE, QUIET]);
        let (pool_kind, objective_kind) =
            (Kind::Pool(PoolGroup::Inference), Kind::Objective(ObjectiveGroup::LlmD));
        server.put_by_hand(&Place::new(pool_kind, NAMESPACE, "llama"), pool(&[("app", "llama")]));
        server.put_by_hand(&Place::new(objective_kind, NAMESPACE, "chat"), objective("llama"));
        server.put_by_hand(&Place::new(objective_kind, NAMESPACE, "code"), objective("llama"));
        let reconciler = Reconciler::new(settings.clone(), Config::USUAL.served(), moment);
        let mut scene =
            Self { server, seen: Seen::new(&settings), reconciler, told: std::collections::BTreeMap::new() };
        scene.list_all();
        scene
    }

    /// Another operator takes the place of this one, and knows nothing but what is live.
    pub(crate) fn restart(&mut self) {
        let settings = Config::USUAL.settings();
        self.reconciler = Reconciler::new(settings.clone(), Config::USUAL.served(), self.moment());
        self.seen = Seen::new(&settings);
        self.list_all();
    }

    /// This operator leads from now on, and has asked for outputs to be listed anew.
    pub(crate) fn takes_over(&mut self, asked: u64) {
        self.reconciler.takes_over(self.moment(), asked);
    }

    fn list_all(&mut self) {
        for kind in Kind::ALL {
            self.list(kind);
        }
    }

    pub(crate) fn moment(&self) -> Moment {
        Moment { running: self.server.now, wall: self.server.wall() }
    }

    pub(crate) fn tell(&mut self, report: Report) {
        let news = self.seen.told(report);
        self.reconciler.take(self.moment(), news);
    }

    /// Tells all objects of a kind, as a new list does.
    pub(crate) fn list(&mut self, kind: Kind) {
        let all = self.server.of_kind(kind).map(|(_, stored)| std::rc::Rc::clone(&stored.value)).collect();
        self.told.insert(kind, self.server.version());
        self.tell(Report::Listed(kind, None, all));
    }

    /// Tells what happened to a kind since it was last told.
    pub(crate) fn watch(&mut self, kind: Kind) {
        self.watch_until(kind, self.server.version());
    }

    /// The same, up to a version: what happened later is still on its way.
    pub(crate) fn watch_until(&mut self, kind: Kind, version: u64) {
        let since = self.told.insert(kind, version).unwrap_or_default();
        let events = self.server.since(kind, since).unwrap().to_vec();
        for event in events.into_iter().filter(|event| event.version <= version) {
            self.tell(if event.gone {
                Report::Gone(kind, event.value)
            } else {
                Report::Put(kind, event.value)
            });
        }
    }

    /// What the operator wants next, if it finds that out at once.
    pub(crate) fn look(&mut self) -> Option<Call> {
        self.reconciler.next_call(self.moment())
    }

    /// What the operator wants next.
    pub(crate) fn next(&mut self) -> Option<Call> {
        loop {
            let call = self.look();
            if call.is_some() || !self.reconciler.is_ready() {
                return call;
            }
        }
    }

    /// Has a call happen.
    pub(crate) fn arrive(&mut self, call: &Call) -> Response {
        self.server.answer(&Request::of(call), Writer::Operator)
    }

    /// Gives the answer to a call; answers the next call of its turn.
    pub(crate) fn answer(&mut self, call: Call, response: &Response) -> Option<Call> {
        let answer = wire::answer(&Request::of(&call), response.as_ref().map_err(|refused| *refused));
        self.reconciler.answered(self.moment(), call, &answer)
    }

    /// Gives an answer to a call as the operator reads it.
    pub(crate) fn reply(&mut self, call: Call, answer: &kleym_operator::perform::Answer) -> Option<Call> {
        self.reconciler.answered(self.moment(), call, answer)
    }

    /// Gives the answer to a call, and has the rest of its turn happen at once.
    pub(crate) fn finish(&mut self, call: Call, response: &Response) {
        let mut next = self.answer(call, response);
        while let Some(call) = next {
            let response = self.arrive(&call);
            next = self.answer(call, &response);
        }
    }

    /// Has everything happen at once that the operator wants, until it wants a call like this, or nothing more.
    pub(crate) fn until(&mut self, wanted: impl Fn(&Request) -> bool) -> Option<Call> {
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

    pub(crate) fn rest(&mut self) {
        assert!(self.until(|_| false).is_none());
    }

    /// Has everything happen at once that the operator wants, until it wants a call like this, or nothing more; no watch
    /// tells anything meanwhile. `next` is the call that it wants already.
    pub(crate) fn deaf_until(
        &mut self,
        mut next: Option<Call>,
        wanted: impl Fn(&Request) -> bool,
    ) -> Option<Call> {
        for _ in 0..60 {
            let call = next.take().or_else(|| self.next())?;
            if wanted(&Request::of(&call)) {
                return Some(call);
            }
            let response = self.arrive(&call);
            next = self.answer(call, &response);
        }
        panic!("it never rests");
    }

    /// The same until it wants nothing more.
    pub(crate) fn deaf(&mut self) {
        assert!(self.deaf_until(None, |_| false).is_none());
    }

    /// Has a binding with this spec be granted its identity; answers the request that created its output, which can land
    /// again.
    pub(crate) fn grant(&mut self, name: &'static str, spec: Value) -> Request {
        self.server.put_by_hand(&binding(name), spec);
        let create = self.until(is(Verb::Create, name)).unwrap();
        let request = Request::of(&create);
        let response = self.arrive(&create);
        self.finish(create, &response);
        request
    }

    pub(crate) fn output(&self, of: &str) -> bool {
        self.server.get(&output_place(of)).is_some()
    }

    /// Takes our finalizer off a binding.
    pub(crate) fn strip(&mut self, name: &str) {
        self.server.edit_by_hand(&binding(name), |object| {
            object["metadata"]["finalizers"]
                .as_array_mut()
                .unwrap()
                .retain(|finalizer| finalizer != FINALIZER);
        });
    }
}

/// Whether a call is this one on a binding's output.
pub(crate) fn is(verb: Verb, of: &'static str) -> impl Fn(&Request) -> bool {
    move |request| request.verb == verb && request.name == output_of(NAMESPACE, of)
}
