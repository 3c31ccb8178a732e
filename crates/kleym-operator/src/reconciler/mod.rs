//! The one owner of the index, the live outputs and the queue: takes news and answers, gives calls. It touches neither
//! network nor clock, so that the same code runs in the operator and, step by step, in a simulation.
//!
//! Flow: [`Reconciler::take`] news; ask [`Reconciler::next_call`] until there is none; make each call and hand its answer
//! to [`Reconciler::answered`], which may give the next call of that turn.
//!
//! Guarantees: nothing is started before every kind was listed, proved absent or found in trouble, or a first-start
//! grace is over; a binding has one turn, and one call, at a time; a turn always begins from what is live. What to do is
//! asked of the engine, never decided here.

mod answers;
mod book;
mod doubt;
mod gate;
mod memory;
mod outputs;
mod rest;
mod takeover;
mod turn;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use crate::feed::{GoneKey, Item, News};
use crate::metrics::Metrics;
use crate::perform::{Answer, Call};
use book::Book;
use doubt::Doubts;
use kleym_core::announce::{Announcement, Vigil};
use kleym_core::brake;
use kleym_core::fact::{Availability, Change, Known, Trouble};
use kleym_core::index::{Dirty, Index};
use kleym_core::kind::Kind;
use kleym_core::name::{BindingKey, Namespace, ObjectName};
use kleym_core::plan::{self, Situation, Step, Turn};
use kleym_core::queue::{Now, Queue};
use kleym_core::relist::Difference;
use kleym_core::settings::Settings;
use kleym_core::text::quoted_list;
use memory::Memory;
use takeover::Takeover;
use turn::Running;

/// How long the first start waits for a kind of which nothing at all is heard.
const GRACE: Duration = Duration::from_secs(10);

/// What tells which kinds there are.
const DEFINITIONS: &str = "customresourcedefinitions.apiextensions.k8s.io";

/// How many turns that need no call are taken in a row before whoever drives hears of anything else.
const QUIET_TURNS: usize = 64;

/// What the operator cannot vouch for: kinds that cannot be read, lists that are not complete. Ready when there is none.
pub type Unready = Vec<String>;

/// A moment, told from outside.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// How long the process has run, on a clock that never jumps.
    pub running: Now,
    /// The time of day, for transition times and for how old an output is when it is seen first; nothing is decided by it.
    pub wall: jiff::Timestamp,
}

impl Moment {
    /// How many whole seconds the process has run.
    fn seconds(&self) -> i64 {
        i64::try_from(self.running.as_secs()).unwrap_or(i64::MAX)
    }
}

/// From a situation and a turn to the next step: [`plan::next`], unless a test puts a broken one in its place.
pub type Protocol = fn(&Situation<'_>, &Turn) -> Step;

/// The reconciler.
#[derive(Debug)]
pub struct Reconciler {
    protocol: Protocol,
    index: Index,
    book: Book,
    queue: Queue<BindingKey>,
    running: HashMap<BindingKey, Running>,
    memory: HashMap<BindingKey, Memory>,
    /// Who waits for an output to go or to change.
    waiters: HashMap<ObjectName, Dirty>,
    /// Whose output may be something else than what was seen.
    doubts: Doubts,
    /// The namespaces that are served; empty means all.
    namespaces: BTreeSet<Namespace>,
    allow_configuration_change: bool,
    /// Why nothing is done, although everything was heard of.
    braked: Vec<brake::Difference>,
    /// Whether the configuration was compared with the outputs.
    compared: bool,
    /// The namespaces whose bindings were not known at the start, and are not yet.
    unread: BTreeSet<Namespace>,
    /// What cannot be read, and why.
    troubles: Vec<(String, Trouble)>,
    started: bool,
    /// What this replica waits for since it took over.
    takeover: Option<Takeover>,
    moment: Moment,
    /// When the definition of outputs last changed.
    redefined_at: Option<Now>,
    /// What is wrong with the watch of definitions.
    definitions: Option<Trouble>,
    vigil: Vigil,
    announcements: Vec<Announcement>,
    metrics: Metrics,
}

impl Reconciler {
    /// A reconciler that knows nothing yet.
    pub fn new(settings: Settings, namespaces: BTreeSet<Namespace>, moment: Moment) -> Self {
        let mut new = Self {
            protocol: plan::next,
            book: Book::new(&settings),
            index: Index::new(settings),
            queue: Queue::new(),
            running: HashMap::new(),
            memory: HashMap::new(),
            waiters: HashMap::new(),
            doubts: Doubts::default(),
            namespaces,
            allow_configuration_change: false,
            braked: Vec::new(),
            compared: false,
            unread: BTreeSet::new(),
            troubles: Vec::new(),
            started: false,
            takeover: None,
            moment,
            redefined_at: None,
            definitions: None,
            vigil: Vigil::default(),
            announcements: Vec::new(),
            metrics: Metrics::default(),
        };
        new.troubles = new.all_troubles();
        new
    }

    /// Lets it count in these metrics.
    #[must_use]
    pub fn with_metrics(mut self, metrics: Metrics) -> Self {
        self.metrics = metrics;
        self
    }

    /// Lets it follow another protocol, to show that a broken one would be noticed.
    #[must_use]
    pub fn with_protocol(mut self, protocol: Protocol) -> Self {
        self.protocol = protocol;
        self
    }

    /// What is to be told since it was last asked.
    pub fn announcements(&mut self) -> Vec<Announcement> {
        std::mem::take(&mut self.announcements)
    }

    /// Lets it start although the configuration fits no issued output.
    #[must_use]
    pub fn allow_configuration_change(mut self, allow: bool) -> Self {
        self.allow_configuration_change = allow;
        self
    }

    /// In what the configuration differs from every output that SPIRE has made entries for; nothing more is done then.
    pub fn braked(&self) -> &[brake::Difference] {
        &self.braked
    }

    /// Takes what a watch reported.
    pub fn take(&mut self, moment: Moment, news: News) {
        self.moment = moment;
        let about = match &news {
            News::Objects(kind, namespace, Difference::Listed(_)) | News::Trouble(kind, namespace, _) => {
                Some((*kind, namespace.clone(), self.available(*kind, namespace.as_ref())))
            }
            _ => None,
        };
        let absent = matches!(news, News::Absent(_));
        let dirty = self.changed_by(news);
        if about.is_some() || absent {
            self.troubles = self.all_troubles();
        }
        if let Some((kind, namespace, before)) = about {
            self.log_return(kind, namespace.as_ref(), before);
        }
        self.add(dirty);
        self.start_when_ready();
    }

    /// Takes that this replica leads from now on, and that outputs were asked to be listed anew. Nothing is begun before
    /// that list, for ten seconds at the most, and after that nothing is granted before it.
    pub fn takes_over(&mut self, moment: Moment, asked: u64) {
        self.moment = moment;
        self.takeover = Some(Takeover::new(asked, self.now()));
    }

    /// Until when nothing is begun because outputs are to be listed, or proved absent, anew. While nothing is known of them,
    /// nothing is granted or let go anyway.
    fn takes_over_until(&self) -> Option<Now> {
        let takeover = self.takeover.as_ref()?;
        let known = self.index.is_known(Kind::Output);
        Some(takeover.since + GRACE).filter(|until| known && *until > self.now())
    }

    /// Whether turns may begin.
    fn may_begin(&self) -> bool {
        self.started && self.braked.is_empty() && self.takes_over_until().is_none()
    }

    /// The first call of the next turn, if one is ready. Turns that need no call are taken and ended on the way, so many of
    /// them at the most that this takes a moment: [`Reconciler::is_ready`] tells whether there are others.
    pub fn next_call(&mut self, moment: Moment) -> Option<Call> {
        self.moment = moment;
        self.start_when_ready();
        if self.started {
            self.keep_vigil();
        }
        let turns = if self.may_begin() { QUIET_TURNS } else { 0 };
        for _ in 0..turns {
            let key = self.queue.pop(self.now())?;
            self.begin(&key);
            if let Some(call) = self.advance(key) {
                return Some(call);
            }
        }
        None
    }

    /// Takes the answer to a call; gives the next call of its turn, if there is one.
    pub fn answered(&mut self, moment: Moment, call: Call, answer: &Answer) -> Option<Call> {
        self.moment = moment;
        let key = call.key.clone();
        self.note_answer(call, answer);
        self.advance(key)
    }

    fn begin(&mut self, key: &BindingKey) {
        self.running.insert(key.clone(), Running::new(self.doubts.about(key)));
        self.metrics.turn_begins(key, self.now());
        let now = self.now();
        if let Some(memory) = self.memory.get_mut(key) {
            memory.forget_rejected(now);
        }
        if let Some(known) = self.book.binding(key) {
            let memory = self.memory.entry(key.clone()).or_default();
            if !memory.told.is_about(&known.live.uid) {
                memory.unmade();
                memory.settled();
            }
            memory.told.begins(&known.live.uid, known.said);
        }
    }

    /// Whether there are turns that could begin now.
    pub fn is_ready(&self) -> bool {
        self.may_begin() && self.queue.is_ready()
    }

    /// When [`Reconciler::next_call`] should be asked again although nothing happened.
    pub fn next_due(&self) -> Option<Now> {
        let vigil = self.vigil.next_due().filter(|_| self.started);
        let vigil = vigil.map(|due| Duration::from_secs(u64::try_from(due).unwrap_or(0)).max(self.now()));
        [vigil, self.next_turn_due()].into_iter().flatten().min()
    }

    fn next_turn_due(&self) -> Option<Now> {
        match self.takes_over_until() {
            Some(until) => Some(until),
            None if self.started => self.queue.next_due(),
            None => Some(GRACE).filter(|grace| *grace > self.now()),
        }
    }

    /// Whether nothing is ready, under way or due.
    pub fn is_idle(&self) -> bool {
        self.started && self.queue.is_idle()
    }

    fn now(&self) -> Now {
        self.moment.running
    }

    fn changed_by(&mut self, news: News) -> Dirty {
        match news {
            News::Objects(kind, namespace, difference) => self.objects(kind, namespace, difference),
            News::Absent(kind) => {
                tracing::info!(%kind, "the CustomResourceDefinition is not installed");
                let mut dirty = self.apply(Change::Absent(kind));
                match kind {
                    Kind::Output => {
                        // What comes back may take what the former definition did not, and nobody undid what went with it.
                        for memory in self.memory.values_mut() {
                            memory.rejected = None;
                            memory.unmade();
                        }
                        dirty.extend(self.outputs_absent());
                    }
                    Kind::Binding => {
                        let gone = self.book.bindings_absent();
                        for key in &gone {
                            self.refresh_grant(key, &mut dirty);
                        }
                        dirty.extend(gone);
                        dirty.extend(self.strays());
                    }
                    Kind::Objective(_) | Kind::Pool(_) => {}
                }
                dirty
            }
            News::Redefined(Kind::Output) => {
                self.redefined_at = Some(self.now());
                let rejected =
                    |(key, memory): (&BindingKey, &mut Memory)| memory.rejected.take().map(|_| key.clone());
                self.memory.iter_mut().filter_map(rejected).collect()
            }
            // What a definition dropped of a status, the next one may keep, once the API server judges by it. A definition
            // that goes on dropping it costs a write each time that it is touched.
            News::Redefined(Kind::Binding) => {
                for key in self.book.forget_dropped() {
                    self.queue.add_after(key, self.now(), rest::REDEFINED_FOR);
                }
                Dirty::new()
            }
            News::Redefined(_) => Dirty::new(),
            News::Anew(asked) => {
                let over = self.takeover.take_if(|takeover| takeover.asked <= asked);
                over.map(Takeover::over).unwrap_or_default()
            }
            News::Definitions(trouble) => {
                self.definitions = trouble;
                Dirty::new()
            }
            // It is told at every try, and is no news then.
            News::Trouble(kind, Some(namespace), trouble)
                if self.index.availability_in(kind, &namespace).trouble == trouble =>
            {
                Dirty::new()
            }
            News::Trouble(kind, None, trouble)
                if self.scopes(kind).all(|scope| self.available(kind, scope).trouble == trouble) =>
            {
                Dirty::new()
            }
            News::Trouble(kind, namespace, trouble) => {
                if let Some(trouble) = trouble {
                    let namespace = namespace.as_ref().map(tracing::field::display);
                    tracing::warn!(%kind, namespace, "cannot be read: {}", trouble.as_str());
                }
                let mut dirty = self.apply(match namespace {
                    None => Change::Trouble(kind, trouble),
                    Some(namespace) => Change::TroubleIn(kind, namespace, trouble),
                });
                match kind {
                    Kind::Output => dirty.extend(self.book.keys()),
                    Kind::Binding if trouble.is_none() => dirty.extend(self.strays()),
                    Kind::Binding | Kind::Objective(_) | Kind::Pool(_) => {}
                }
                dirty
            }
        }
    }

    /// Logs that a kind is there, or can be read, again. What becomes of it otherwise is logged where it is told.
    fn log_return(&self, kind: Kind, namespace: Option<&Namespace>, before: Availability) {
        let now = self.available(kind, namespace);
        let namespace = namespace.map(tracing::field::display);
        if before.known == Known::Absent && now.known == Known::Listed {
            tracing::info!(%kind, namespace, "the CustomResourceDefinition is installed");
        } else if before.trouble.is_some_and(|trouble| trouble != Trouble::Starting) && now.trouble.is_none()
        {
            tracing::info!(%kind, namespace, "can be read");
        }
    }

    /// How well a kind is known, as a whole or in one namespace.
    fn available(&self, kind: Kind, namespace: Option<&Namespace>) -> Availability {
        namespace.map_or_else(
            || self.index.availability(kind),
            |namespace| self.index.availability_in(kind, namespace),
        )
    }

    /// Where a kind is read: everywhere (`None`) by one list, or by one in each of the namespaces that are served.
    fn scopes(&self, kind: Kind) -> impl Iterator<Item = Option<&Namespace>> {
        let whole = self.namespaces.is_empty() || !kind.namespaced();
        let apart = self.namespaces.iter().filter(move |_| !whole);
        whole.then_some(None).into_iter().chain(apart.map(Some))
    }

    fn objects(
        &mut self,
        kind: Kind,
        namespace: Option<Namespace>,
        difference: Difference<Item, GoneKey>,
    ) -> Dirty {
        match (kind, difference) {
            (Kind::Output, Difference::Listed(items)) => self.outputs_listed(items),
            (Kind::Output, Difference::Put(Item::Output(output))) => self.saw_output(output),
            (Kind::Output, Difference::Gone(key)) => {
                self.book.departure_is_told(&key.name, key.uid.as_ref());
                self.output_gone(&key.name, key.uid.as_ref())
            }
            (Kind::Binding, Difference::Listed(items)) => {
                let index = &self.index;
                let (mut dirty, facts) =
                    self.book.bindings_listed(namespace.as_ref(), items, |key| index.binding(key).cloned());
                dirty.extend(self.apply(match namespace.clone() {
                    None => Change::Listed(kind, facts),
                    Some(namespace) => Change::ListedIn(kind, namespace, facts),
                }));
                for key in dirty.clone() {
                    self.refresh_grant(&key, &mut dirty);
                }
                dirty.extend(self.strays());
                if namespace.is_some_and(|namespace| self.unread.remove(&namespace)) {
                    self.knows_more_bindings();
                }
                dirty
            }
            (_, Difference::Listed(items)) => {
                let facts = items.into_iter().filter_map(Item::into_input).collect();
                self.apply(match namespace {
                    None => Change::Listed(kind, facts),
                    Some(namespace) => Change::ListedIn(kind, namespace, facts),
                })
            }
            (_, Difference::Put(Item::Binding(seen))) => self.saw_binding(*seen),
            (_, Difference::Put(Item::Input(fact))) => self.apply(Change::Put(fact)),
            (_, Difference::Put(Item::Output(_))) => Dirty::new(),
            (_, Difference::Gone(key)) => {
                let Some(fact_key) = key.fact_key(kind) else { return Dirty::new() };
                let mut dirty = Dirty::new();
                if kind == Kind::Binding {
                    let binding = BindingKey::new(fact_key.namespace.clone(), fact_key.name.clone());
                    if !self.book.binding_gone(&binding, key.uid.as_ref()) {
                        return dirty;
                    }
                    self.queue.succeeded(&binding);
                    dirty.insert(binding);
                }
                dirty.extend(self.apply(Change::Gone(fact_key)));
                for key in dirty.clone() {
                    self.refresh_grant(&key, &mut dirty);
                }
                dirty
            }
        }
    }

    /// Applies a change to the index; what was rejected of the bindings that it affects may be tried again.
    fn apply(&mut self, change: Change) -> Dirty {
        let dirty = self.index.apply(change);
        self.forget_rejections(&dirty);
        dirty
    }

    fn add(&mut self, dirty: Dirty) {
        for key in dirty {
            self.metrics.changed(&key, self.now());
            self.queue.add(key);
        }
    }

    /// Opens the gate: from here on turns are started. What cannot be read keeps it closed for a moment only, so the
    /// configuration is compared with the outputs when they are listed first, be it then or later: before any is written.
    fn start_when_ready(&mut self) {
        if !self.started && !self.can_start() {
            return;
        }
        if !self.compared && self.index.availability(Kind::Output).known == Known::Listed {
            self.compared = true;
            self.look_for_changes();
        }
        if self.started || !self.braked.is_empty() {
            return;
        }
        self.started = true;
        self.unread = self.unread_namespaces();
        self.begin_vigil();
        let (bindings, outputs) = (self.book.binding_count(), self.book.output_count());
        tracing::info!(bindings, outputs, "serving");
        let unread = self.unready();
        if !unread.is_empty() {
            tracing::warn!("nothing is decided that depends on what cannot be read: {}", unread.join(", "));
        }
    }

    fn can_start(&self) -> bool {
        let heard = |kind, scope| self.available(kind, scope) != Availability::STARTING;
        let heard_of_all =
            Kind::ALL.into_iter().all(|kind| self.scopes(kind).all(|scope| heard(kind, scope)));
        self.index.is_known(Kind::Binding) && (heard_of_all || self.now() >= GRACE)
    }

    /// The namespaces whose bindings are not known yet.
    fn unread_namespaces(&self) -> BTreeSet<Namespace> {
        let unread =
            |scope: &Option<&Namespace>| self.available(Kind::Binding, *scope).known == Known::Nothing;
        self.scopes(Kind::Binding).filter(unread).flatten().cloned().collect()
    }

    /// The bindings of a namespace are known that were not at the start: whose the outputs there are can only be told now,
    /// before anything is written for them.
    fn knows_more_bindings(&mut self) {
        if self.compared {
            self.tell_of_other_instances();
            let mut found = self.differences();
            // All else was compared already, and what was written since is no sign of a mistake.
            found.retain(|difference| matches!(difference, brake::Difference::Instance { .. }));
            self.brake_on(found);
        }
        if self.started {
            self.begin_vigil();
        }
    }

    fn differences(&self) -> Vec<brake::Difference> {
        brake::differences(
            self.index.settings(),
            self.book.outputs(),
            |namespace| self.serves(namespace),
            |binding| self.book.binding(binding).is_some(),
        )
    }

    fn brake_on(&mut self, found: Vec<brake::Difference>) {
        for difference in found.iter().filter(|_| self.allow_configuration_change) {
            tracing::warn!("the configuration changes, as allowed: {difference}");
        }
        if !self.allow_configuration_change {
            self.braked = found;
        }
    }

    /// Warns of the outputs of other instances. Issued or not, nobody else says of them that they stay.
    fn tell_of_other_instances(&self) {
        let others = brake::of_other_instances(self.index.settings(), self.book.outputs(), |binding| {
            self.book.binding(binding).is_some()
        });
        if others.is_empty() {
            return;
        }
        let named = quoted_list(others.iter().map(|(name, _)| name.as_str()));
        let instances: BTreeSet<&str> = others.iter().map(|(_, instance)| instance.as_str()).collect();
        tracing::warn!(
            outputs = others.len(),
            instances = %instances.into_iter().collect::<Vec<_>>().join(","),
            "outputs of another instance name bindings that are served here; they stay granted, and this operator never removes them: {named}"
        );
    }

    /// Compares the configuration with what is live, before any output is written.
    fn look_for_changes(&mut self) {
        self.tell_of_other_instances();
        let outside: Vec<ObjectName> = self
            .book
            .outputs()
            .filter(|output| {
                output
                    .proven_binding(self.index.settings())
                    .is_some_and(|(key, _)| !self.serves(&key.namespace))
            })
            .map(|output| output.name.clone())
            .collect();
        if !outside.is_empty() {
            let named = quoted_list(outside.iter().map(ObjectName::as_str));
            tracing::warn!(
                outputs = outside.len(),
                "outputs of this instance stand in namespaces that are not served, and are left alone: {named}"
            );
        }
        let found = self.differences();
        self.brake_on(found);
    }

    fn serves(&self, namespace: &Namespace) -> bool {
        self.namespaces.is_empty() || self.namespaces.contains(namespace)
    }

    fn all_troubles(&self) -> Vec<(String, Trouble)> {
        Kind::ALL.into_iter().flat_map(|kind| self.troubles_of(kind)).collect()
    }

    /// What is wrong with a kind, and with what of it.
    fn troubles_of(&self, kind: Kind) -> Vec<(String, Trouble)> {
        let mut troubles: BTreeMap<Trouble, Vec<&str>> = BTreeMap::new();
        for scope in self.scopes(kind) {
            if let Some(trouble) = self.available(kind, scope).trouble {
                troubles.entry(trouble).or_default().extend(scope.map(Namespace::as_str));
            }
        }
        let told = |(trouble, namespaces): (Trouble, Vec<&str>)| {
            let whole = namespaces.is_empty() || namespaces.len() == self.namespaces.len();
            let place =
                if whole { String::new() } else { format!(" in namespace {}", quoted_list(namespaces)) };
            (format!("{}{place}", kind.crd_name()), trouble)
        };
        troubles.into_iter().map(told).collect()
    }

    /// What the operator cannot vouch for.
    pub fn unready(&self) -> Unready {
        let of_definitions = self.definitions.map(|trouble| (DEFINITIONS.to_owned(), trouble));
        self.troubles
            .iter()
            .cloned()
            .chain(of_definitions)
            // What exists and is not served in our version is the cluster's state, not this replica's.
            .filter(|(_, trouble)| *trouble != Trouble::NotServed)
            .map(|(resource, trouble)| format!("{resource} is {}", trouble.as_str()))
            .chain((!self.started).then(|| "the first lists are not complete".to_owned()))
            .collect()
    }
}
