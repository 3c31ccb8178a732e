//! One simulation: a server, operators that see it late, people and misfortune, and virtual time. Everything that
//! happens follows from a plan and its seed.

mod calls;
mod fate;
mod operators;
mod tally;
mod watches;

pub(crate) use fate::Fate;
pub(crate) use tally::Tally;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kleym_core::kind::Kind;
use kleym_core::name::BindingKey;

use crate::checks::{Verified, Violation, must};
use crate::deed::{self, Config, Deed, Sort, milliseconds};
use crate::feed::Weather;
use crate::mutant::Mutant;
use crate::objects::NAMESPACES;
use crate::random::Random;
use crate::server::{Place, Server};
use calls::Sent;
use operators::Operator;

/// How many calls an operator's driver makes at once.
const CALLS_AT_ONCE: usize = 16;
/// How long a call may take before the operator gives it up.
const DEADLINE: Duration = Duration::from_secs(10);
/// Longer than any back-off: who makes no call for this long makes none any more.
const LONG: Duration = Duration::from_secs(130);
/// More events than any simulation needs; whoever needs more runs in a circle.
const TOO_MANY: u64 = 60_000;

#[derive(Debug)]
enum Event {
    Pump(u32, Kind),
    Arrive(u64),
    Reply(u64),
    GiveUp(u64),
    Deed(Deed),
    Start,
    Elect,
    Resign(u32),
    Drive(u32),
    Calm,
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
    /// By how many seconds the operators' time of day is wrong, from when on.
    pub(crate) jumps: BTreeMap<Duration, i64>,
    random: Random,
    weather: Weather,
    outages: Vec<(Sort, u16, Duration)>,
    agenda: BTreeMap<(Duration, u64), Event>,
    entries: u64,
    /// How many operators there are when none has just died.
    replicas: u32,
    operators: Vec<Operator>,
    generations: u32,
    /// How often somebody began to lead.
    reigns: u32,
    calls: u64,
    sent: BTreeMap<u64, Sent>,
    noted: BTreeMap<Kind, (usize, u64)>,
    /// The version, by uid, at which a binding last lost the finalizer by somebody who does not lead.
    stripped: BTreeMap<String, u64>,
    hopeless: bool,
    /// Bindings whose output was rejected when it was last written.
    rejected: BTreeSet<BindingKey>,
}

impl World {
    /// A world in which nothing has happened yet; its operators start at once.
    pub(crate) fn new(seed: u64, config: Config, replicas: u32) -> Self {
        let mut world = Self {
            server: Server::new(&NAMESPACES),
            config,
            next_config: config,
            tally: Tally::default(),
            fates: BTreeMap::new(),
            last_call: Duration::ZERO,
            history: None,
            mutant: None,
            jumps: BTreeMap::new(),
            random: Random::new(seed).fork(1),
            weather: Weather::default(),
            outages: Vec::new(),
            agenda: BTreeMap::new(),
            entries: 0,
            replicas,
            operators: Vec::new(),
            generations: 0,
            reigns: 0,
            calls: 0,
            sent: BTreeMap::new(),
            noted: BTreeMap::new(),
            stripped: BTreeMap::new(),
            hopeless: false,
            rejected: BTreeSet::new(),
        };
        for _ in 0..replicas {
            world.at(Duration::ZERO, Event::Start);
        }
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
            // Who waits for answers sends nothing more, whatever is due.
            let leading = self
                .operators
                .iter()
                .filter(|operator| operator.reign.is_some() && operator.in_flight.len() < CALLS_AT_ONCE);
            let due = leading.filter_map(|operator| {
                let due = operator.reconciler.next_due()?;
                Some(((due + operator.born).max(self.server.now).max(operator.gathers), operator.id))
            });
            let (due, leader) = due.min().unzip();
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
                    self.drive(leader.expect("who is due leads"))?;
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
            history.push(format!("{:>10.3} {}", self.server.now.as_secs_f64(), line()));
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
            Event::Elect => self.elect()?,
            Event::Resign(id) => self.die(id, 500),
            Event::Drive(id) => self.drive(id)?,
            Event::Calm => self.calm(),
        }
        self.wake_watches();
        Ok(())
    }

    fn deed(&mut self, deed: Deed) -> Verified {
        self.note(|| deed::describe(&deed));
        let changes_the_server = deed::to_server(&mut self.server, &deed);
        if let Deed::Strip(place) = &deed {
            self.note_stripped(place);
        }
        if changes_the_server {
            return Ok(());
        }
        match deed {
            Deed::Trouble(kind, trouble) => {
                self.weather.troubles.insert(kind, trouble);
                self.pump_all_soon(kind);
            }
            Deed::NoTrouble(kind) => {
                self.weather.troubles.remove(&kind);
                self.pump_all_soon(kind);
            }
            Deed::Expire(kind) => {
                self.server.forget(kind);
                for operator in &mut self.operators {
                    operator.feed.expire(kind);
                }
                self.pump_all_soon(kind);
            }
            Deed::Freeze(kind, span) => {
                let until = self.now() + milliseconds(span);
                let only = match self.ids().as_slice() {
                    [_, ..] if self.replicas > 1 => Some(*self.random.pick(&self.ids())),
                    _ => None,
                };
                self.weather.frozen.insert(kind, (until, only));
            }
            Deed::Outage(sort, code, span) => {
                let until = self.now() + milliseconds(span);
                self.outages.push((sort, code, until));
            }
            Deed::Restart(config, span) => {
                self.next_config = config;
                for id in self.ids() {
                    self.die(id, span);
                }
            }
            Deed::HandOver(overlap) => self.hand_over(overlap)?,
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
}
