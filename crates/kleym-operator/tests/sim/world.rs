//! One simulation: a server, an operator that sees it late, people and misfortune, and virtual time. Everything that
//! happens follows from a plan and its seed.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use kleym_core::kind::Kind;
use kleym_core::plan::Step;
use kleym_core::render::Identity;
use kleym_operator::feed::News;
use kleym_operator::perform::{Action, Answer, Call};
use kleym_operator::reconciler::{Moment, Reconciler};
use serde_json::Value;

use crate::checks::{Commit, Conduct, Verified, Violation, committed, issued, must};
use crate::deed::{self, Config, Deed, Sort, milliseconds};
use crate::feed::{Feed, Weather};
use crate::mutant::Mutant;
use crate::objects::output_of;
use crate::random::Random;
use crate::seen::Seen;
use crate::server::{Place, Response, Server, Writer};
use crate::wire::{self, Request, Verb};

/// How many calls the operator's driver makes at once.
const CALLS_AT_ONCE: usize = 16;
/// How long a call may take before the operator gives it up.
const DEADLINE: Duration = Duration::from_secs(10);
/// Longer than any back-off: who makes no call for this long makes none any more.
const LONG: Duration = Duration::from_secs(130);
/// More events than any simulation needs; whoever needs more runs in a circle.
const TOO_MANY: u64 = 60_000;

/// What becomes of one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is refused with this code, and nothing happens.
    Refused(u16),
    /// It happens, and its answer is lost.
    AnswerLost,
    /// It happens, and after so many milliseconds its answer is lost.
    AnswerLostAfter(u64),
    /// It is held up for so many milliseconds, and lands then whatever happened meanwhile.
    Held(u64),
    /// It never arrives.
    Dropped,
    /// It arrives twice.
    Twice,
    /// The operator dies before it sends it.
    KilledBefore,
    /// The operator dies with the call on its way; it lands after so many milliseconds.
    KilledDuring(u64),
    /// The operator dies after it happened, before the answer comes.
    KilledAfterCommit,
    /// The operator dies after it took the answer.
    KilledAfterReply,
}

#[derive(Debug)]
enum Event {
    Pump(u32, Kind),
    Arrive(u64),
    Reply(u64),
    GiveUp(u64),
    Deed(Deed),
    Start,
    Drive,
    Calm,
}

struct Operator {
    id: u32,
    born: Duration,
    reconciler: Reconciler,
    feed: Feed,
    seen: Seen,
    in_flight: BTreeSet<u64>,
    pumping: BTreeSet<Kind>,
    conduct: Conduct,
}

struct Sent {
    by: u32,
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

/// What was counted.
#[derive(Debug, Default, Clone)]
pub(crate) struct Tally {
    /// Calls, by what they do.
    pub(crate) calls: BTreeMap<&'static str, u64>,
    /// How often an operator died.
    pub(crate) deaths: u64,
    /// Events of the simulation.
    pub(crate) events: u64,
    /// Identities written.
    pub(crate) grants: u64,
    /// Requests that landed late.
    pub(crate) late: u64,
}

impl Tally {
    /// How many calls were made.
    pub(crate) fn all(&self) -> u64 {
        self.calls.values().sum()
    }

    /// How many of them were to change something.
    pub(crate) fn writes(&self) -> u64 {
        let reads = ["look at output", "look at binding", "try output"];
        self.calls.iter().filter(|(call, _)| !reads.contains(call)).map(|(_, count)| count).sum()
    }
}

/// One simulation.
pub(crate) struct World {
    /// The API server.
    pub(crate) server: Server,
    /// With what the operator runs.
    pub(crate) config: Config,
    /// With what the next one will.
    next_config: Config,
    /// What was counted.
    pub(crate) tally: Tally,
    /// What becomes of calls, by their number.
    pub(crate) fates: BTreeMap<u64, Fate>,
    /// When the last call was sent.
    pub(crate) last_call: Duration,
    /// What happened, when it is kept.
    pub(crate) history: Option<Vec<String>>,
    pub(crate) mutant: Option<Mutant>,
    random: Random,
    weather: Weather,
    outages: Vec<(Sort, u16, Duration)>,
    agenda: BTreeMap<(Duration, u64), Event>,
    entries: u64,
    operator: Option<Operator>,
    generations: u32,
    calls: u64,
    sent: BTreeMap<u64, Sent>,
    noted: BTreeMap<Kind, (usize, u64)>,
    stripped: Vec<String>,
    hopeless: bool,
}

impl World {
    /// A world in which nothing has happened yet; an operator starts at once.
    pub(crate) fn new(seed: u64, config: Config) -> Self {
        let mut world = Self {
            server: Server::new(),
            config,
            next_config: config,
            tally: Tally::default(),
            fates: BTreeMap::new(),
            last_call: Duration::ZERO,
            history: None,
            mutant: None,
            random: Random::new(seed).fork(1),
            weather: Weather::default(),
            outages: Vec::new(),
            agenda: BTreeMap::new(),
            entries: 0,
            operator: None,
            generations: 0,
            calls: 0,
            sent: BTreeMap::new(),
            noted: BTreeMap::new(),
            stripped: Vec::new(),
            hopeless: false,
        };
        world.at(Duration::ZERO, Event::Start);
        world
    }

    /// How long the simulation has run.
    pub(crate) fn now(&self) -> Duration {
        self.server.now
    }

    /// How many calls were sent.
    pub(crate) fn calls(&self) -> u64 {
        self.calls
    }

    /// Whether an output or a status was refused for good, so that nothing but a change makes it be tried again.
    pub(crate) fn is_hopeless(&self) -> bool {
        self.hopeless
    }

    /// Has something happen at a time.
    pub(crate) fn plan(&mut self, at: Duration, deed: Deed) {
        self.at(at.max(self.now()), Event::Deed(deed));
    }

    /// Ends everything that disturbs calls and watches, at a time.
    pub(crate) fn calm_at(&mut self, at: Duration) {
        self.at(at, Event::Calm);
    }

    fn calm(&mut self) {
        self.fates.clear();
        self.outages.clear();
        self.weather.frozen.clear();
    }

    /// Runs until nothing more happens by itself.
    pub(crate) fn run(&mut self) -> Verified {
        let mut steps = 0;
        loop {
            let agenda = self.agenda.first_key_value().map(|((at, _), _)| *at);
            let due = self.operator.as_ref().and_then(|operator| {
                operator.reconciler.next_due().map(|due| (due + operator.born).max(self.server.now))
            });
            match (agenda, due) {
                (None, None) => return Ok(()),
                (None, Some(due)) if due > self.last_call.max(self.last_event()) + LONG => return Ok(()),
                (Some(at), due) if due.is_none_or(|due| at <= due) => {
                    self.server.now = at;
                    let Some((_, event)) = self.agenda.pop_first() else { continue };
                    self.happen(event)?;
                }
                (_, Some(due)) => {
                    self.server.now = due;
                    self.drive()?;
                }
                (Some(_), None) => unreachable!("what is planned comes before nothing"),
            }
            steps += 1;
            self.tally.events += 1;
            if steps > TOO_MANY {
                return Err(Violation { rule: "L1", what: "it never comes to rest".to_owned() });
            }
        }
    }

    fn last_event(&self) -> Duration {
        // The agenda is empty when this is asked; what happened last is what made the operator's last timer.
        self.last_call
    }

    /// Adds a line to the history, if it is kept.
    pub(crate) fn note(&mut self, line: impl FnOnce() -> String) {
        if let Some(history) = &mut self.history {
            let id = self.operator.as_ref().map_or("-".to_owned(), |operator| operator.id.to_string());
            history.push(format!("{:>10.3} [{id}] {}", self.server.now.as_secs_f64(), line()));
        }
    }

    fn at(&mut self, at: Duration, event: Event) {
        self.entries += 1;
        self.agenda.insert((at, self.entries), event);
    }

    fn happen(&mut self, event: Event) -> Verified {
        match event {
            Event::Pump(id, kind) => self.pump(id, kind)?,
            Event::Arrive(number) => self.arrive(number)?,
            Event::Reply(number) => self.reply(number)?,
            Event::GiveUp(number) => self.give_up(number)?,
            Event::Deed(deed) => self.deed(deed)?,
            Event::Start => self.start(),
            Event::Drive => self.drive()?,
            Event::Calm => self.calm(),
        }
        self.wake_watches();
        Ok(())
    }

    fn deed(&mut self, deed: Deed) -> Verified {
        self.note(|| deed::describe(&deed));
        if let Deed::Strip(place) = &deed
            && let Some(stored) = self.server.get(place)
        {
            self.stripped.push(stored.uid.clone());
        }
        if deed::to_server(&mut self.server, &deed) {
            return Ok(());
        }
        match deed {
            Deed::Trouble(kind, trouble) => {
                self.weather.troubles.insert(kind, trouble);
                self.pump_soon(kind);
            }
            Deed::NoTrouble(kind) => {
                self.weather.troubles.remove(&kind);
                self.pump_soon(kind);
            }
            Deed::Expire(kind) => {
                if let Some(operator) = &mut self.operator {
                    operator.feed.expire(kind);
                }
                self.pump_soon(kind);
            }
            Deed::Freeze(kind, span) => {
                let until = self.now() + milliseconds(span);
                self.weather.frozen.insert(kind, until);
            }
            Deed::Outage(sort, code, span) => {
                let until = self.now() + milliseconds(span);
                self.outages.push((sort, code, until));
            }
            Deed::Restart(config, span) => {
                self.next_config = config;
                self.die(span);
            }
            Deed::MustGrant(place, item) => {
                must(self.grants(&place, item), "L1", || format!("{} does not grant {item}", place.name))?;
            }
            Deed::MustNotGrant(place, item) => {
                must(!self.grants(&place, item), "patience", || {
                    format!("{} still grants {item}", place.name)
                })?;
            }
            _ => unreachable!("everything else was done to the server"),
        }
        Ok(())
    }

    fn grants(&self, place: &Place, item: &str) -> bool {
        self.server.get(place).is_some_and(|stored| stored.value["spec"].to_string().contains(item))
    }

    fn start(&mut self) {
        let config = self.next_config;
        self.config = config;
        self.generations += 1;
        let id = self.generations;
        let moment = Moment { running: Duration::ZERO, wall: self.server.wall() };
        let settings = config.settings();
        self.operator = Some(Operator {
            id,
            born: self.now(),
            seen: Seen::new(&settings),
            reconciler: Reconciler::new(settings, config.served(), moment)
                .allow_configuration_change(true)
                .with_protocol(self.mutant.map_or(kleym_core::plan::next, Mutant::protocol)),
            feed: Feed::new(&config.served(), &self.server),
            in_flight: BTreeSet::new(),
            pumping: BTreeSet::new(),
            conduct: Conduct::default(),
        });
        self.note(|| format!("an operator starts: {config:?}"));
        for kind in Kind::ALL {
            self.pump_soon(kind);
        }
    }

    /// The operator dies; another one starts later. What it sent is on its way.
    fn die(&mut self, span: u64) {
        if self.operator.is_none() {
            return;
        }
        self.note(|| "the operator dies".to_owned());
        self.operator = None;
        self.tally.deaths += 1;
        let at = self.now() + milliseconds(span);
        self.at(at, Event::Start);
    }

    fn die_at_once(&mut self) {
        let span = if self.random.once_in(3) { self.random.within(1, 5000) } else { 500 };
        self.die(span);
    }

    // ---- watches

    fn wake_watches(&mut self) {
        for kind in Kind::ALL {
            let shelf = self.server.shelf(kind);
            let now = (shelf.log.len(), shelf.changes);
            if self.noted.insert(kind, now) != Some(now) {
                self.pump_soon(kind);
            }
        }
    }

    fn pump_soon(&mut self, kind: Kind) {
        let lag = match self.random.below(40) {
            0 => self.random.within(300, 3000),
            1..=4 => self.random.within(20, 300),
            _ => self.random.within(1, 15),
        };
        self.pump_at(kind, self.now() + milliseconds(lag));
    }

    fn pump_at(&mut self, kind: Kind, at: Duration) {
        let Some(operator) = &mut self.operator else { return };
        if operator.pumping.insert(kind) {
            let event = Event::Pump(operator.id, kind);
            self.at(at, event);
        }
    }

    fn pump(&mut self, id: u32, kind: Kind) -> Verified {
        let Some(operator) = self.operator.as_mut().filter(|operator| operator.id == id) else {
            return Ok(());
        };
        operator.pumping.remove(&kind);
        let (reports, next) = operator.feed.pump(kind, &self.server, &self.weather, &mut self.random);
        let any = !reports.is_empty();
        for report in reports {
            let Some(report) = Mutant::sees(self.mutant, report) else { continue };
            self.note(|| describe(&report));
            let moment = self.moment();
            let Some(operator) = &mut self.operator else { break };
            operator.conduct.hears_of(&report, self.server.now);
            let news: News = operator.seen.told(report);
            operator.reconciler.take(moment, news);
        }
        if let Some(next) = next {
            self.pump_at(kind, next);
        }
        if !any {
            return Ok(());
        }
        // A burst may be seen as a whole before anything is started.
        if self.random.once_in(4) {
            let at = self.now() + milliseconds(2);
            self.at(at, Event::Drive);
            return Ok(());
        }
        self.drive()
    }

    fn moment(&self) -> Moment {
        let born = self.operator.as_ref().map_or(Duration::ZERO, |operator| operator.born);
        Moment { running: self.now() - born, wall: self.server.wall() }
    }

    // ---- calls

    fn drive(&mut self) -> Verified {
        loop {
            let moment = self.moment();
            let Some(operator) = &mut self.operator else { return Ok(()) };
            if operator.in_flight.len() >= CALLS_AT_ONCE {
                return Ok(());
            }
            let Some(call) = operator.reconciler.next_call(moment) else { return Ok(()) };
            self.send(call)?;
        }
    }

    fn send(&mut self, call: Call) -> Verified {
        let Some(operator) = &mut self.operator else { return Ok(()) };
        let request = Request::of(&call);
        let identity = issued(&operator.seen, &self.config, &call, &request)?;
        operator.conduct.sends(&operator.seen, &self.config, &call, &request, self.server.now)?;
        let number = self.calls;
        self.calls += 1;
        let fate = self.fates.get(&number).copied();
        self.note(|| format!("{number}: {} {fate:?}", request.describe()));
        if fate == Some(Fate::KilledBefore) {
            self.die_at_once();
            return Ok(());
        }
        self.last_call = self.now();
        *self.tally.calls.entry(name_of(&call)).or_default() += 1;
        if let Some(answer) = Mutant::answers(self.mutant, &call) {
            self.note(|| format!("{number} is not sent: {:?}", answer.reply));
            return self.sent_without(number, call, request, answer);
        }
        let Some(operator) = &mut self.operator else { return Ok(()) };
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
        let by = operator.id;
        let sent =
            Sent { by, call, request, identity, known, neighbours, fate, given_up: false, answer: None };
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
            self.die_at_once();
        }
        Ok(())
    }

    fn sent_without(&mut self, number: u64, call: Call, request: Request, answer: Answer) -> Verified {
        let Some(operator) = &mut self.operator else { return Ok(()) };
        operator.in_flight.insert(number);
        let by = operator.id;
        let sent = Sent {
            by,
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

    fn arrive(&mut self, number: u64) -> Verified {
        let Some(sent) = self.sent.get(&number) else { return Ok(()) };
        let waited_for = self
            .operator
            .as_ref()
            .is_some_and(|operator| operator.id == sent.by && operator.in_flight.contains(&number));
        let fate = sent.fate;
        let waits = self.generations == sent.by && !sent.given_up;
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
            Some(code) => Err(code),
            None => self.commit(number, writer)?,
        };
        if fate == Some(Fate::Twice) && refused.is_none() {
            self.commit(number, writer)?.ok();
        }
        if fate == Some(Fate::KilledAfterCommit) {
            self.die_at_once();
        }
        let lost = matches!(fate, Some(Fate::AnswerLost | Fate::AnswerLostAfter(_)));
        let Some(sent) = self.sent.get_mut(&number) else { return Ok(()) };
        let seen = if lost { Err(504) } else { response };
        let given_up = matches!(sent.request.verb, Verb::Create | Verb::Replace | Verb::ReplaceStatus)
            && matches!(seen, Err(400 | 405 | 413 | 422));
        let answer = wire::answer(&sent.request, seen.as_ref().map_err(|code| *code));
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
        let Some(sent) = self.sent.get(&number) else { return Ok(Err(500)) };
        let request = Mutant::sends(self.mutant, &sent.request, &self.server);
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
        Ok(response)
    }

    fn reply(&mut self, number: u64) -> Verified {
        let Some(sent) = self.sent.get(&number) else { return Ok(()) };
        let waits = self.operator.as_ref().is_some_and(|operator| operator.id == sent.by);
        let Some(sent) = self.sent.remove(&number).filter(|_| waits) else { return Ok(()) };
        let answer = sent.answer.expect("an answer was noted when the request arrived");
        self.answered(number, sent.call, &answer, sent.fate)
    }

    fn give_up(&mut self, number: u64) -> Verified {
        let Some(sent) = self.sent.get(&number).filter(|sent| sent.answer.is_none()) else { return Ok(()) };
        if self.operator.as_ref().is_none_or(|operator| operator.id != sent.by) {
            return Ok(());
        }
        let (call, fate) = (sent.call.clone(), sent.fate);
        if let Some(sent) = self.sent.get_mut(&number) {
            sent.given_up = true;
        }
        self.note(|| format!("{number} is given up"));
        let answer = wire::failed(kleym_core::plan::Failure::Transient);
        let answer = Mutant::hears(self.mutant, &call, answer);
        self.answered(number, call, &answer, fate)
    }

    fn answered(&mut self, number: u64, call: Call, answer: &Answer, fate: Option<Fate>) -> Verified {
        let moment = self.moment();
        let Some(operator) = &mut self.operator else { return Ok(()) };
        operator.in_flight.remove(&number);
        operator.conduct.hears(&operator.seen, &call, answer, self.server.now);
        operator.seen.answered(answer);
        let next = operator.reconciler.answered(moment, call, answer);
        operator.reconciler.announcements();
        if fate == Some(Fate::KilledAfterReply) {
            self.die_at_once();
            return Ok(());
        }
        if let Some(next) = next {
            self.send(next)?;
        }
        self.drive()
    }
}

fn name_of(call: &Call) -> &'static str {
    let step = match &call.action {
        Action::WriteStatus(_) => return "write status",
        Action::Step(step) => step,
    };
    match step {
        Step::AddFinalizer => "add finalizer",
        Step::RemoveFinalizer { .. } => "remove finalizer",
        Step::TryOutput(_) => "try output",
        Step::CreateOutput(_) => "create output",
        Step::ReplaceOutput(_) => "replace output",
        Step::DeleteOutput { .. } => "delete output",
        Step::NeutraliseOutput { .. } => "neutralise output",
        Step::LookAtOutput { .. } => "look at output",
        Step::LookAtBinding { .. } => "look at binding",
        Step::Settle(_) => "settle",
    }
}

fn describe(report: &crate::feed::Report) -> String {
    use crate::feed::Report;
    let object = |object: &Rc<Value>| {
        let metadata = &object["metadata"];
        let text = |field: &str| metadata[field].as_str().unwrap_or("").to_owned();
        format!("{}/{} at {}", text("namespace"), text("name"), text("resourceVersion"))
    };
    match report {
        Report::Listed(kind, _, objects) => {
            let all: Vec<String> = objects.iter().map(object).collect();
            format!("sees all of {}: {}", kind.crd_name(), all.join(", "))
        }
        Report::Put(kind, value) => format!("sees {} {}", kind.crd_name(), object(value)),
        Report::Gone(kind, value) => format!("sees that {} {} is gone", kind.crd_name(), object(value)),
        Report::Redefined(kind) => format!("sees that {} was redefined", kind.crd_name()),
        Report::Absent(kind) => format!("sees that {} is absent", kind.crd_name()),
        Report::Trouble(kind, trouble) => format!("trouble with {}: {trouble:?}", kind.crd_name()),
    }
}
