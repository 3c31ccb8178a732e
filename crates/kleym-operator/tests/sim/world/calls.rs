//! The calls of the operators: how they are sent, what becomes of them on the way, and what is answered.

use std::collections::BTreeMap;
use std::sync::Arc;

use kleym_core::kind::Kind;
use kleym_core::output::FINALIZER;
use kleym_core::plan::{Reply, Step};
use kleym_core::render::Identity;
use kleym_operator::perform::{Action, Answer, Call};

use super::tally::name_of;
use super::{CALLS_AT_ONCE, DEADLINE, Event, Fate, World};
use crate::checks::{Commit, Verified, Violation, committed, issued};
use crate::deed::milliseconds;
use crate::mutant::Mutant;
use crate::objects::output_of;
use crate::server::{Place, Refused, Response, Writer};
use crate::wire::{self, Request, Verb};

/// A call that is under way.
pub(super) struct Sent {
    by: u32,
    /// The leadership in which it was sent.
    reign: Option<u32>,
    call: Call,
    request: Request,
    identity: Option<Arc<Identity>>,
    /// Versions of outputs that had been seen when it was sent.
    known: Vec<(String, u64)>,
    /// The identities that other bindings of the namespace had had by then, by output.
    neighbours: BTreeMap<String, Vec<Arc<Identity>>>,
    fate: Option<Fate>,
    given_up: bool,
    answer: Option<Answer>,
}

impl World {
    /// Lets an operator send what it has to send, if it leads.
    pub(super) fn drive(&mut self, id: u32) -> Verified {
        loop {
            let moment = self.moment(id);
            let leads = self.operator_mut(id).filter(|operator| operator.reign.is_some());
            let Some(operator) = leads else { return Ok(()) };
            if operator.in_flight.len() >= CALLS_AT_ONCE {
                return Ok(());
            }
            match operator.reconciler.next_call(moment) {
                Some(call) => self.send(id, call)?,
                None if operator.reconciler.is_ready() => {}
                None => return Ok(()),
            }
        }
    }

    fn send(&mut self, id: u32, call: Call) -> Verified {
        let Some(operator) = self.operators.iter_mut().find(|operator| operator.id == id) else {
            return Ok(());
        };
        let request = Request::of(&call);
        let identity = issued(&operator.seen, &self.config, &call, &request)?;
        operator.conduct.sends(&operator.seen, &self.config, &call, &request, self.server.now)?;
        let number = self.calls;
        self.calls += 1;
        let fate = self.fates.get(&number).copied();
        self.note(|| format!("[{id}] {number}: {} {fate:?}", request.describe()));
        if fate == Some(Fate::KilledBefore) {
            self.die_at_once(id);
            return Ok(());
        }
        self.last_call = self.now();
        *self.tally.calls.entry(name_of(&call)).or_default() += 1;
        if let Some(answer) = Mutant::answers(self.mutant, &call, &self.rejected) {
            self.note(|| format!("{number} is not sent: {:?}", answer.reply));
            return self.sent_without(id, number, call, request, answer);
        }
        let Some(operator) = self.operators.iter_mut().find(|operator| operator.id == id) else {
            return Ok(());
        };
        operator.in_flight.insert(number);
        let known = if request.verb.writes() {
            let outputs = self.server.of_kind(Kind::Output).map(|(_, stored)| stored);
            let known = outputs.filter(|stored| operator.seen.has_seen(&stored.uid, stored.version));
            known.map(|stored| (stored.uid.clone(), stored.version)).collect()
        } else {
            Vec::new()
        };
        let mut neighbours = BTreeMap::new();
        if identity.is_some() {
            for (key, had) in operator.seen.neighbours(&call.key) {
                neighbours.insert(output_of(key.namespace.as_str(), key.name.as_str()), had.to_vec());
            }
        }
        let (by, reign) = (id, operator.reign);
        let sent = Sent {
            by,
            reign,
            call,
            request,
            identity,
            known,
            neighbours,
            fate,
            given_up: false,
            answer: None,
        };
        self.sent.insert(number, sent);
        let travel = match fate {
            Some(Fate::Held(span) | Fate::KilledDuring(span)) => span,
            _ => self.travel(),
        };
        let now = self.now();
        if fate == Some(Fate::Dropped) {
            self.at(now + DEADLINE, Event::GiveUp(number));
        } else {
            if milliseconds(travel) >= DEADLINE {
                self.at(now + DEADLINE, Event::GiveUp(number));
            }
            self.at(now + milliseconds(travel), Event::Arrive(number));
        }
        if matches!(fate, Some(Fate::KilledDuring(_))) {
            self.die_at_once(id);
        }
        Ok(())
    }

    fn sent_without(
        &mut self,
        id: u32,
        number: u64,
        call: Call,
        request: Request,
        answer: Answer,
    ) -> Verified {
        let Some(operator) = self.operator_mut(id) else { return Ok(()) };
        operator.in_flight.insert(number);
        let reign = operator.reign;
        let sent = Sent {
            by: id,
            reign,
            call,
            request,
            identity: None,
            known: Vec::new(),
            neighbours: BTreeMap::new(),
            fate: None,
            given_up: false,
            answer: Some(answer),
        };
        self.sent.insert(number, sent);
        let at = self.now() + milliseconds(2);
        self.at(at, Event::Reply(number));
        Ok(())
    }

    fn travel(&mut self) -> u64 {
        match self.random.below(60) {
            0 => self.random.within(200, 4000),
            1..=8 => self.random.within(10, 200),
            _ => self.random.within(1, 8),
        }
    }

    /// A request arrives.
    pub(super) fn arrive(&mut self, number: u64) -> Verified {
        let Some(sent) = self.sent.get(&number) else { return Ok(()) };
        let by = sent.by;
        let waited_for = self.operator(by).is_some_and(|operator| operator.in_flight.contains(&number));
        let fate = sent.fate;
        let waits = sent.reign == Some(self.reigns) && !sent.given_up;
        let writer = if waits { Writer::Operator } else { Writer::Late };
        if writer == Writer::Late {
            self.tally.late += 1;
        }
        self.outages.retain(|(_, _, until)| *until > self.server.now);
        let outage =
            self.outages.iter().find(|(sort, _, _)| sort.has(&sent.request)).map(|(_, code, _)| *code);
        let refused = match fate {
            Some(Fate::Refused(code)) => Some(code),
            _ => outage,
        };
        let response = match refused {
            Some(code) => Err(Refused::Misfortune(code)),
            None => self.commit(number, writer)?,
        };
        if fate == Some(Fate::Twice) && refused.is_none() {
            self.commit(number, writer)?.ok();
        }
        if fate == Some(Fate::KilledAfterCommit) {
            self.die_at_once(by);
        }
        let lost = matches!(fate, Some(Fate::AnswerLost | Fate::AnswerLostAfter(_)));
        let Some(sent) = self.sent.get_mut(&number) else { return Ok(()) };
        // What happened all the same, a watch tells of.
        let misanswered = matches!(fate, Some(Fate::Misanswered(_))) && response.is_ok();
        let seen = match fate {
            Some(Fate::Misanswered(code)) => Err(Refused::Misfortune(code)),
            _ if lost => Err(Refused::Misfortune(504)),
            _ => response,
        };
        let given_up = !misanswered
            && matches!(sent.request.verb, Verb::Create | Verb::Replace | Verb::ReplaceStatus)
            && matches!(&seen, Err(refused) if matches!(refused.code(), 400 | 405 | 413 | 422));
        let answer = wire::answer(&sent.request, seen.as_ref().map_err(|refused| *refused));
        sent.answer = Some(Mutant::hears(self.mutant, &sent.call, answer));
        self.hopeless |= given_up;
        if waited_for {
            let back = match fate {
                Some(Fate::AnswerLost) => self.random.within(1, 9000),
                Some(Fate::AnswerLostAfter(span)) => span,
                _ => self.travel(),
            };
            let at = self.now() + milliseconds(back);
            self.at(at, Event::Reply(number));
        }
        if let (Some(sent), Some(_)) = (self.sent.get(&number), &self.history) {
            let line = match &sent.answer {
                Some(answer) if lost => {
                    format!("{number} happens ({writer:?}), the answer is lost: {:?}", answer.reply)
                }
                Some(answer) if misanswered => {
                    format!("{number} happens ({writer:?}), and is said not to: {:?}", answer.reply)
                }
                Some(answer) => format!("{number} is answered ({writer:?}): {:?}", answer.reply),
                None => String::new(),
            };
            self.note(|| line);
        }
        if !waited_for {
            self.sent.remove(&number);
        }
        Ok(())
    }

    /// Has a request happen.
    fn commit(&mut self, number: u64, writer: Writer) -> Result<Response, Violation> {
        let Some(sent) = self.sent.get(&number) else { return Ok(Err(Refused::Misfortune(500))) };
        let request = Mutant::sends(self.mutant, &sent.request, &self.server);
        // What arrives counts, not what was meant to be sent.
        if let Some(fault) = request.fault() {
            return Err(Violation { rule: "wire", what: fault.to_owned() });
        }
        let place = Place::new(request.kind, &request.namespace, &request.name);
        let before = self.server.get(&place).cloned();
        let response = self.server.answer(&request, writer);
        if response.is_err() || !request.verb.writes() {
            return Ok(response);
        }
        if let Some(identity) = &sent.identity {
            self.tally.grants += 1;
            self.server.note_identity(&place, Arc::clone(identity));
        }
        let commit = Commit {
            call: &sent.call,
            request: &sent.request,
            after: &request.body,
            identity: sent.identity.as_deref(),
            writer,
            before: before.as_ref(),
            known: &sent.known,
            neighbours: &sent.neighbours,
            stripped: &self.stripped,
        };
        committed(&self.server, &commit)?;
        if writer == Writer::Late && request.verb == Verb::PatchFinalizers {
            self.note_stripped(&place);
        }
        Ok(response)
    }

    /// Notes a binding that has lost the finalizer by somebody who does not lead.
    pub(super) fn note_stripped(&mut self, place: &Place) {
        if let Some(stored) = self.server.get(place)
            && !stored.finalizers().any(|finalizer| finalizer == FINALIZER)
        {
            self.stripped.insert(stored.uid.clone(), stored.version);
        }
    }

    /// An answer comes back.
    pub(super) fn reply(&mut self, number: u64) -> Verified {
        let Some(sent) = self.sent.get(&number) else { return Ok(()) };
        let waits = self.operator(sent.by).is_some();
        let Some(sent) = self.sent.remove(&number).filter(|_| waits) else { return Ok(()) };
        let answer = sent.answer.expect("an answer was noted when the request arrived");
        self.answered(sent.by, number, sent.call, &answer, sent.fate)
    }

    /// A call was waited for long enough.
    pub(super) fn give_up(&mut self, number: u64) -> Verified {
        let Some(sent) = self.sent.get(&number).filter(|sent| sent.answer.is_none()) else { return Ok(()) };
        if self.operator(sent.by).is_none() {
            return Ok(());
        }
        let (by, call, fate) = (sent.by, sent.call.clone(), sent.fate);
        if let Some(sent) = self.sent.get_mut(&number) {
            sent.given_up = true;
        }
        self.note(|| format!("{number} is given up"));
        let answer = wire::failed(kleym_core::plan::Failure::Transient);
        let answer = Mutant::hears(self.mutant, &call, answer);
        self.answered(by, number, call, &answer, fate)
    }

    fn answered(
        &mut self,
        id: u32,
        number: u64,
        call: Call,
        answer: &Answer,
        fate: Option<Fate>,
    ) -> Verified {
        let moment = self.moment(id);
        let Some(operator) = self.operators.iter_mut().find(|operator| operator.id == id) else {
            return Ok(());
        };
        operator.in_flight.remove(&number);
        if let Action::Step(Step::CreateOutput(_) | Step::ReplaceOutput(_)) = &call.action {
            match &answer.reply {
                Reply::Failed(failure) if !failure.passes() => self.rejected.insert(call.key.clone()),
                _ => self.rejected.remove(&call.key),
            };
        }
        operator.conduct.hears(&operator.seen, &call, answer, self.server.now);
        operator.seen.answered(answer);
        let next = operator.reconciler.answered(moment, call, answer);
        operator.reconciler.announcements();
        if fate == Some(Fate::KilledAfterReply) {
            self.die_at_once(id);
            return Ok(());
        }
        if let Some(next) = next {
            self.send(id, next)?;
        }
        self.drive(id)
    }
}
