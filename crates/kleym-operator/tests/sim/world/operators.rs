//! The operators: how they start and die, and which of them leads. A standby sees everything and sends nothing.

use std::collections::BTreeSet;
use std::time::Duration;

use kleym_core::kind::Kind;
use kleym_operator::reconciler::{Moment, Reconciler};

use super::{Event, World};
use crate::checks::{Conduct, Verified};
use crate::deed::milliseconds;
use crate::feed::Feed;
use crate::mutant::Mutant;
use crate::seen::Seen;

/// How long a lease that nobody renews stands at the most, until a standby has taken it.
const LEASE: u64 = 17_000;

/// One operator.
pub(super) struct Operator {
    pub(super) id: u32,
    pub(super) born: Duration,
    /// The number of its leadership, if it leads or thinks so.
    pub(super) reign: Option<u32>,
    pub(super) reconciler: Reconciler,
    pub(super) feed: Feed,
    pub(super) seen: Seen,
    pub(super) in_flight: BTreeSet<u64>,
    pub(super) pumping: BTreeSet<Kind>,
    /// Until when it gathers a burst, whatever else is due.
    pub(super) gathers: Duration,
    pub(super) conduct: Conduct,
}

impl World {
    /// An operator that lives.
    pub(super) fn operator(&self, id: u32) -> Option<&Operator> {
        self.operators.iter().find(|operator| operator.id == id)
    }

    /// The same, to change it.
    pub(super) fn operator_mut(&mut self, id: u32) -> Option<&mut Operator> {
        self.operators.iter_mut().find(|operator| operator.id == id)
    }

    /// The operators that live.
    pub(super) fn ids(&self) -> Vec<u32> {
        self.operators.iter().map(|operator| operator.id).collect()
    }

    /// Starts an operator. It leads at once if it is alone.
    pub(super) fn start(&mut self) {
        let config = self.next_config;
        self.config = config;
        self.generations += 1;
        let id = self.generations;
        let moment = Moment { running: Duration::ZERO, wall: self.time_of_day() };
        let settings = config.settings();
        let alone = self.operators.is_empty();
        self.operators.push(Operator {
            id,
            born: self.now(),
            reign: None,
            seen: Seen::new(&settings),
            reconciler: Reconciler::new(settings, config.served(), moment)
                .allow_configuration_change(true)
                .with_protocol(self.mutant.map_or(kleym_core::plan::next, Mutant::protocol)),
            feed: Feed::new(&config.served(), &self.server),
            in_flight: BTreeSet::new(),
            pumping: BTreeSet::new(),
            gathers: Duration::ZERO,
            conduct: Conduct::default(),
        });
        self.note(|| format!("operator {id} starts: {config:?}"));
        if alone {
            self.crown(id);
        }
        for kind in Kind::ALL {
            self.pump_soon(id, kind);
        }
    }

    /// An operator leads from now on, whoever else still thinks that it does.
    fn crown(&mut self, id: u32) {
        self.reigns += 1;
        let reign = self.reigns;
        let moment = self.moment(id);
        let elected = self.replicas > 1;
        if let Some(operator) = self.operator_mut(id) {
            operator.reign = Some(reign);
            if elected {
                operator.feed.list_anew(reign.into());
                operator.reconciler.takes_over(moment, reign.into());
            }
        }
        if elected {
            self.pump_soon(id, Kind::Output);
        }
        if reign > 1 && self.replicas > 1 {
            self.note(|| format!("operator {id} leads"));
        }
    }

    /// A standby takes the lease, if nobody holds it.
    pub(super) fn elect(&mut self) -> Verified {
        if self.operators.iter().any(|operator| operator.reign.is_some()) {
            return Ok(());
        }
        let Some(id) = self.operators.first().map(|operator| operator.id) else { return Ok(()) };
        self.crown(id);
        self.drive(id)
    }

    /// A standby leads from now on. Who led until then notices after so many milliseconds, and its process ends.
    pub(super) fn hand_over(&mut self, overlap: u64) -> Verified {
        let Some(heir) = self.operators.iter().find(|operator| operator.reign.is_none()).map(|o| o.id) else {
            return Ok(());
        };
        let leaders: Vec<u32> = self.ids().into_iter().filter(|id| *id != heir).collect();
        for leader in leaders {
            if overlap == 0 {
                self.die(leader, 500);
            } else {
                let at = self.now() + milliseconds(overlap);
                self.at(at, Event::Resign(leader));
            }
        }
        self.crown(heir);
        self.drive(heir)
    }

    /// An operator dies; another one starts later. What it sent is on its way.
    pub(super) fn die(&mut self, id: u32, span: u64) {
        let Some(place) = self.operators.iter().position(|operator| operator.id == id) else { return };
        self.note(|| format!("operator {id} dies"));
        let dead = self.operators.remove(place);
        self.tally.deaths += 1;
        let at = self.now() + milliseconds(span);
        self.at(at, Event::Start);
        if dead.reign.is_some() && !self.operators.is_empty() {
            let vacant = if self.random.once_in(2) { LEASE } else { 1000 };
            let at = self.now() + milliseconds(self.random.within(1, vacant));
            self.at(at, Event::Elect);
        }
    }

    /// An operator dies at once, and another one starts soon.
    pub(super) fn die_at_once(&mut self, id: u32) {
        let span = if self.random.once_in(3) { self.random.within(1, 5000) } else { 500 };
        self.die(id, span);
    }

    /// The time, as an operator has it.
    pub(super) fn moment(&self, id: u32) -> Moment {
        let born = self.operator(id).map_or(Duration::ZERO, |operator| operator.born);
        Moment { running: self.now() - born, wall: self.time_of_day() }
    }

    /// The time of day on the operators' machines, which jumps where the plan says so.
    fn time_of_day(&self) -> jiff::Timestamp {
        let jumped = self.jumps.range(..=self.now()).next_back().map_or(0, |(_, seconds)| *seconds);
        self.server.wall() + jiff::SignedDuration::from_secs(jumped)
    }
}
