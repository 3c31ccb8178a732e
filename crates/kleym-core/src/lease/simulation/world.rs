//! The simulated world.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::{Answer, Live, Now, RELEASED_SECONDS, Record, Sight, Stamp, State, Step, Timing};
use super::SEATS;

/// The longest way there and back on a good network.
pub(super) const SLOWEST_GOOD_CALL: u64 = 100;
/// How slow a sound clock may be, in hundredths.
const SLOWEST_CLOCK: u64 = 90;
/// The longest that a request or an answer is under way on a bad network.
const LATEST: u64 = 60_000;

/// What holds in a world.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    pub(super) timing: Timing,
    /// A replacement must name the live uid and resourceVersion.
    pub(super) checks_version: bool,
    /// What somebody writes into the lease may look like a release.
    pub(super) forges_releases: bool,
}

impl Default for Rules {
    fn default() -> Self {
        Self { timing: Timing::DEFAULT, checks_version: true, forges_releases: false }
    }
}

/// What somebody writes into the lease.
#[derive(Debug, Clone, Copy)]
pub(super) enum Garbage {
    NoHolder,
    Stranger,
    /// The candidate in a seat.
    Named(usize),
    /// An empty spec.
    Nothing,
    Duration(i32),
    Transitions(i32),
    /// Only the version changes.
    Label,
    /// What the lease said some time ago.
    Old,
    /// What only a leader that has stopped may write.
    Release,
}

/// What goes wrong.
#[derive(Debug, Clone, Copy)]
pub(super) enum Fault {
    /// A candidate dies; its successor starts soon after.
    Kill(usize),
    /// A candidate is told to stop, and its successor starts soon after.
    Stop(usize),
    /// A candidate stands still for so long.
    Pause(usize, u64),
    /// Nothing gets from or to a candidate for so long.
    CutOff(usize, u64),
    /// A candidate's watch shows nothing more and does not say so.
    DeadWatch(usize),
    /// Somebody deletes the lease.
    Delete,
    /// Somebody writes into the lease.
    Overwrite(Garbage),
    /// So many of a hundred calls go wrong from now on.
    BadNetwork(u64),
}

/// Two that lead.
#[derive(Debug)]
#[expect(dead_code, reason = "shown by the test that fails")]
pub(super) struct Violation {
    at: u64,
    one: Term,
    other: Term,
}

/// Somebody believes to lead.
#[derive(Debug, Clone)]
#[expect(dead_code, reason = "the start is shown by the test that fails")]
struct Term {
    who: usize,
    from: u64,
    until: u64,
}

#[derive(Debug, Clone)]
enum Event {
    Wake { who: usize, number: u64 },
    Arrives { call: u64, who: usize, step: Step, answered_after: Option<u64> },
    Answered { call: u64, who: usize, answer: Answer },
    Watched { who: usize, watch: u64, sight: Sight },
    WatchEnds { who: usize, watch: u64 },
    Starts { seat: usize },
}

/// One process.
struct Candidate {
    seat: usize,
    state: State,
    origin: u64,
    rate: u64,
    dead: bool,
    stopping: bool,
    paused_until: u64,
    cut_off_until: u64,
    /// The call under way.
    call: Option<u64>,
    /// The watch that is open; its number.
    watch: Option<u64>,
    watch_is_dead: bool,
    /// Events of a watch come in order: not before this.
    watched_until: u64,
    wake: u64,
    term: Option<Term>,
}

impl Candidate {
    fn local(&self, now: u64) -> Now {
        Duration::from_micros((self.origin + now) * self.rate * 10)
    }

    /// The first moment of real time at which its clock shows at least this.
    fn real(&self, local: Now) -> u64 {
        let micros = u64::try_from(local.as_micros()).unwrap();
        micros.div_ceil(self.rate * 10).saturating_sub(self.origin)
    }
}

pub(super) struct World {
    rules: Rules,
    now: u64,
    random: u64,
    numbers: u64,
    events: BTreeMap<(u64, u64), Event>,
    rates: [u64; SEATS],
    /// Everybody who ever lived; dead ones too, whose terms others must still respect.
    candidates: Vec<Candidate>,
    /// Who sits where.
    seats: [usize; SEATS],
    /// Of a hundred calls, how many go wrong.
    bad: u64,
    live: Option<Live>,
    /// When somebody deleted the lease last.
    deleted_at: Option<u64>,
    /// Everything the lease ever was, by version.
    history: BTreeMap<u64, Sight>,
    looks: u64,
    writes: u64,
}

impl World {
    pub(super) fn new(rules: Rules, seed: u64, rates: [u64; SEATS]) -> Self {
        let mut world = Self {
            rules,
            now: 0,
            random: seed,
            numbers: 0,
            events: BTreeMap::new(),
            rates,
            candidates: Vec::new(),
            seats: [0; SEATS],
            bad: 0,
            live: None,
            deleted_at: None,
            history: BTreeMap::new(),
            looks: 0,
            writes: 0,
        };
        (0..SEATS).for_each(|seat| world.starts(seat));
        world
    }

    fn draw(&mut self, below: u64) -> u64 {
        // SplitMix64.
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % below.max(1)
    }

    fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    fn schedule(&mut self, at: u64, event: Event) {
        let number = self.number();
        self.events.insert((at.max(self.now), number), event);
    }

    fn starts(&mut self, seat: usize) {
        let who = self.candidates.len();
        let origin = self.draw(1_000_000_000);
        self.candidates.push(Candidate {
            seat,
            state: State::new(self.rules.timing, &format!("candidate-{who}")),
            origin,
            rate: self.rates[seat],
            dead: false,
            stopping: false,
            paused_until: 0,
            cut_off_until: 0,
            call: None,
            watch: None,
            watch_is_dead: false,
            watched_until: 0,
            wake: 0,
            term: None,
        });
        self.seats[seat] = who;
        self.schedule(self.now, Event::Wake { who, number: 0 });
    }

    /// The leader, if it lives.
    pub(super) fn leader(&self) -> Option<usize> {
        let leads =
            |who: &usize| self.candidates[*who].term.as_ref().is_some_and(|term| term.until > self.now);
        self.seats.into_iter().find(leads)
    }

    /// Where a candidate sits.
    pub(super) fn seat(&self, who: usize) -> usize {
        self.candidates[who].seat
    }

    /// How many looks and writes were sent.
    pub(super) fn calls(&self) -> [u64; 2] {
        [self.looks, self.writes]
    }

    pub(super) fn calls_since(&self, before: [u64; 2]) -> [u64; 2] {
        [self.looks - before[0], self.writes - before[1]]
    }

    /// Ends all faults; gives when the last of what they left under way has ended.
    pub(super) fn calm(&mut self) -> u64 {
        self.bad = 0;
        let under_way = |event: &Event| !matches!(event, Event::Wake { .. } | Event::Starts { .. });
        let last = self.events.iter().filter(|(_, event)| under_way(event)).map(|((at, _), _)| *at).max();
        let stuck = self.candidates.iter().filter(|candidate| !candidate.dead);
        let calls = stuck.clone().map(|candidate| {
            let call = candidate.state.call_deadline(candidate.local(self.now));
            if candidate.call.is_some() { candidate.real(call) } else { 0 }
        });
        let blocked = stuck.clone().map(|candidate| candidate.paused_until.max(candidate.cut_off_until));
        calls.chain(blocked).chain(last).chain([self.now]).max().unwrap_or_default()
    }

    pub(super) fn run_for(&mut self, long: u64) -> Result<(), Violation> {
        self.run_until(self.now + long)
    }

    pub(super) fn run_until(&mut self, end: u64) -> Result<(), Violation> {
        while let Some(((at, number), event)) = self.events.pop_first() {
            if at > end {
                self.events.insert((at, number), event);
                break;
            }
            self.now = at;
            self.happens(event)?;
        }
        self.now = end;
        Ok(())
    }

    fn happens(&mut self, event: Event) -> Result<(), Violation> {
        let who = match &event {
            Event::Arrives { call, who, step, answered_after } => {
                self.arrives(*call, *who, step, *answered_after);
                return Ok(());
            }
            Event::Starts { seat } => {
                self.starts(*seat);
                return Ok(());
            }
            Event::Wake { who, .. }
            | Event::Answered { who, .. }
            | Event::Watched { who, .. }
            | Event::WatchEnds { who, .. } => *who,
        };
        let candidate = &mut self.candidates[who];
        if candidate.dead {
            return Ok(());
        }
        if candidate.paused_until > self.now {
            let at = candidate.paused_until;
            self.schedule(at, event);
            return Ok(());
        }
        let now = candidate.local(self.now);
        match event {
            Event::Wake { number, .. } if number != candidate.wake => return Ok(()),
            Event::Wake { .. } => {
                if candidate.call.take().is_some() {
                    candidate.state.answered(now, Answer::Failed);
                }
            }
            Event::Answered { call, answer, .. } => {
                if candidate.call != Some(call) {
                    return Ok(());
                }
                candidate.call = None;
                candidate.state.answered(now, answer);
            }
            Event::Watched { watch, .. } | Event::WatchEnds { watch, .. }
                if candidate.watch != Some(watch) || candidate.call.is_some() =>
            {
                return Ok(());
            }
            Event::Watched { sight, .. } => candidate.state.saw(now, sight),
            Event::WatchEnds { .. } => {
                candidate.watch = None;
                candidate.state.not_watched(now);
            }
            Event::Arrives { .. } | Event::Starts { .. } => {}
        }
        self.turn(who)
    }

    /// Lets a candidate go on until it waits or has sent something.
    fn turn(&mut self, who: usize) -> Result<(), Violation> {
        self.believes(who)?;
        // Wall clocks jump all the time and often stand still; two of them never show the same microsecond.
        let wall = Stamp(i64::try_from(self.draw(3)).unwrap() + 8 * i64::try_from(who).unwrap());
        let number = self.number();
        let now = self.now;
        let candidate = &mut self.candidates[who];
        let local = candidate.local(now);
        if candidate.stopping {
            candidate.state.release();
        }
        let step = candidate.state.next(local, wall);
        candidate.wake = number;
        let wake = match &step {
            Step::Wait { until } => candidate.real(*until).max(now + 1),
            Step::Look | Step::Create(_) | Step::Replace { .. } => {
                // The watch is opened anew after whatever comes of this.
                candidate.watch = None;
                candidate.call = Some(number);
                candidate.real(candidate.state.call_deadline(local))
            }
            Step::Lost(_) | Step::Over => {
                candidate.dead = true;
                let seat = candidate.seat;
                self.believes(who)?;
                let soon = self.draw(500);
                self.schedule(now + soon, Event::Starts { seat });
                return Ok(());
            }
        };
        let watches = candidate.watch.is_none().then(|| candidate.state.watch_from()).flatten();
        let from = watches.map(|version| version.parse::<u64>().unwrap());
        self.schedule(wake, Event::Wake { who, number });
        match step {
            Step::Wait { .. } => {
                if let Some(from) = from {
                    self.watch(who, number, from);
                }
            }
            step => self.send(who, number, &step),
        }
        self.believes(who)
    }

    /// Notes whether a candidate believes to lead, and checks that nobody else does.
    fn believes(&mut self, who: usize) -> Result<(), Violation> {
        let now = self.now;
        let candidate = &mut self.candidates[who];
        let leads = candidate.state.leading(candidate.local(now)).map(|until| candidate.real(until));
        match (&mut candidate.term, leads) {
            (Some(term), Some(until)) if term.until > now => term.until = until,
            (term, Some(until)) => *term = Some(Term { who, from: now, until }),
            (Some(term), None) => term.until = term.until.min(now),
            (None, None) => {}
        }
        let leads = |candidate: &&Candidate| candidate.term.as_ref().is_some_and(|term| term.until > now);
        let mut terms = self.candidates.iter().filter(leads).filter_map(|candidate| candidate.term.clone());
        // Who starts after the lease was deleted under a leader cannot know of it; it ends with what that leader still has.
        let longest = u64::try_from(self.rules.timing.lead.as_millis()).unwrap() * 100 / SLOWEST_CLOCK;
        let unknowable = self.deleted_at.is_some_and(|at| now < at + longest);
        match (terms.next(), terms.next()) {
            (Some(_), Some(_)) if unknowable => Ok(()),
            (Some(one), Some(other)) => Err(Violation { at: now, one, other }),
            _ => Ok(()),
        }
    }

    fn send(&mut self, who: usize, call: u64, step: &Step) {
        *if *step == Step::Look { &mut self.looks } else { &mut self.writes } += 1;
        let goes_wrong = self.draw(100) < self.bad;
        let mut leaves = self.now;
        if goes_wrong && self.draw(8) == 0 {
            // Paused between deciding and sending.
            leaves += self.draw(40_000);
            self.candidates[who].paused_until = leaves;
        }
        let half = SLOWEST_GOOD_CALL / 2;
        let (there, back) = (leaves + 1 + self.draw(half), self.draw(half));
        let cut_off = self.candidates[who].cut_off_until > there;
        let far = self.draw(LATEST);
        let way = if cut_off { self.draw(2) } else { self.draw(6) };
        let (arrivals, answered_after) = match way {
            _ if !goes_wrong && !cut_off => (vec![there], Some(back)),
            0 => (vec![], None),
            1 => (vec![leaves + far], None),
            2 => (vec![there], None),
            3 => (vec![there], Some(far)),
            4 => (vec![there, leaves + far], Some(back)),
            _ => {
                self.schedule(there, Event::Answered { call, who, answer: Answer::Failed });
                return;
            }
        };
        for at in arrivals {
            self.schedule(at, Event::Arrives { call, who, step: step.clone(), answered_after });
        }
    }

    /// The API server carries a request out.
    fn arrives(&mut self, call: u64, who: usize, step: &Step, answered_after: Option<u64>) {
        let sight = |live: &Option<Live>| live.clone().map_or(Sight::Absent, Sight::Present);
        let answer = match (step, self.live.clone()) {
            (Step::Look, live) => Answer::Seen(sight(&live)),
            (Step::Create(record), None) => {
                let uid = format!("uid-{}", self.numbers);
                Answer::Written(self.store(uid, record.clone()))
            }
            (Step::Replace { uid, resource_version, record }, Some(live))
                if !self.rules.checks_version
                    || (uid == &live.uid && resource_version == &live.resource_version) =>
            {
                // A write that changes nothing leaves the version.
                let changes = live.record != *record;
                Answer::Written(if changes { self.store(live.uid, record.clone()) } else { live })
            }
            _ => Answer::Conflict,
        };
        if let Some(after) = answered_after
            && self.candidates[who].cut_off_until <= self.now
        {
            self.schedule(self.now + after, Event::Answered { call, who, answer });
        }
    }

    fn store(&mut self, uid: String, record: Record) -> Live {
        let version = self.number();
        let live = Live { uid, resource_version: version.to_string(), record };
        self.live = Some(live.clone());
        self.changed(version, &Sight::Present(live.clone()));
        live
    }

    fn changed(&mut self, version: u64, sight: &Sight) {
        self.history.insert(version, sight.clone());
        for who in 0..self.candidates.len() {
            if let Some(watch) = self.candidates[who].watch {
                self.shows(who, watch, sight.clone());
            }
        }
    }

    fn watch(&mut self, who: usize, watch: u64, from: u64) {
        let candidate = &mut self.candidates[who];
        candidate.watch = Some(watch);
        candidate.watch_is_dead = false;
        let missed: Vec<Sight> = self.history.range(from + 1..).map(|(_, sight)| sight.clone()).collect();
        for sight in missed {
            self.shows(who, watch, sight);
        }
    }

    /// A watch shows a change, sooner or later, or breaks over it.
    fn shows(&mut self, who: usize, watch: u64, sight: Sight) {
        let half = SLOWEST_GOOD_CALL / 2;
        let mut after = self.draw(half);
        if self.draw(100) < self.bad {
            match self.draw(3) {
                0 => after = self.draw(LATEST),
                1 => return self.schedule(self.now + after, Event::WatchEnds { who, watch }),
                _ => self.candidates[who].watch_is_dead = true,
            }
        }
        let candidate = &mut self.candidates[who];
        if candidate.watch_is_dead {
            return;
        }
        let at = (self.now + after).max(candidate.watched_until).max(candidate.cut_off_until);
        candidate.watched_until = at;
        self.schedule(at, Event::Watched { who, watch, sight });
    }

    pub(super) fn strike(&mut self, fault: Fault) {
        let now = self.now;
        let seated = |world: &Self, seat: usize| world.seats[seat];
        match fault {
            Fault::Kill(seat) => {
                let who = seated(self, seat);
                if !self.candidates[who].dead {
                    self.candidates[who].dead = true;
                    let soon = self.draw(3_000);
                    self.schedule(now + soon, Event::Starts { seat });
                }
            }
            Fault::Stop(seat) => {
                let who = seated(self, seat);
                let number = self.number();
                let candidate = &mut self.candidates[who];
                candidate.stopping = true;
                if candidate.call.is_none() {
                    candidate.wake = number;
                    self.schedule(now, Event::Wake { who, number });
                }
            }
            Fault::Pause(seat, long) => {
                let who = seated(self, seat);
                let candidate = &mut self.candidates[who];
                candidate.paused_until = candidate.paused_until.max(now + long);
            }
            Fault::CutOff(seat, long) => {
                let who = seated(self, seat);
                let candidate = &mut self.candidates[who];
                candidate.cut_off_until = candidate.cut_off_until.max(now + long);
            }
            Fault::DeadWatch(seat) => {
                let who = seated(self, seat);
                self.candidates[who].watch_is_dead = true;
            }
            Fault::Delete => {
                if self.live.take().is_some() {
                    self.deleted_at = Some(self.now);
                    let version = self.number();
                    self.changed(version, &Sight::Absent);
                }
            }
            Fault::Overwrite(garbage) => self.overwrite(garbage),
            Fault::BadNetwork(bad) => self.bad = bad,
        }
    }

    fn overwrite(&mut self, garbage: Garbage) {
        let Some(live) = self.live.clone() else { return };
        let old = live.record;
        let holder = |holder: &str| Record { holder: holder.to_owned(), ..old.clone() };
        let nothing = || Record {
            holder: String::new(),
            duration_seconds: None,
            transitions: 0,
            acquired: None,
            renewed: None,
        };
        let record = match garbage {
            Garbage::NoHolder => holder(""),
            Garbage::Stranger => holder("stranger"),
            Garbage::Named(seat) => holder(self.candidates[self.seats[seat]].state.identity()),
            Garbage::Nothing => nothing(),
            Garbage::Duration(seconds) => Record { duration_seconds: Some(seconds), ..old.clone() },
            Garbage::Transitions(transitions) => Record { transitions, ..old.clone() },
            Garbage::Label => old.clone(),
            Garbage::Release => Record { duration_seconds: Some(RELEASED_SECONDS), ..holder("") },
            Garbage::Old => {
                let past = usize::try_from(self.draw(1_000)).unwrap() % self.history.len();
                match self.history.values().nth(past) {
                    Some(Sight::Present(live)) => live.record.clone(),
                    Some(Sight::Absent) | None => nothing(),
                }
            }
        };
        let forged = record.is_released() && !old.is_released();
        if !forged || self.rules.forges_releases {
            self.store(live.uid, record);
        }
    }
}
