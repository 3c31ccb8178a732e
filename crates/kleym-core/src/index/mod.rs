//! Everything that was declared, kept so that a change costs what it affects and not what the cluster holds.
//!
//! Flow: [`Index::apply`] takes a [`Change`] and answers which bindings may have another verdict now;
//! [`Index::verdict`] computes a binding's verdict when it is asked for.
//!
//! Guarantees: after any history of changes the index equals one built from the final state alone; the dirty set may
//! be too large, never too small; nothing depends on the order of arrival.

mod availability;
mod claims;
mod few;
mod grants;
mod neighbours;
mod room;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::fact::{Availability, Binding, Change, Fact, FactKey, Known, Objective, Pool};
use crate::grant::Grant;
use crate::kind::{Kind, ObjectiveGroup, PoolGroup};
use crate::name::{BindingKey, Namespace, ObjectName};
use crate::refusal::Refusal;
use crate::render::Identity;
use crate::resolve::{self, Facts, Halt, Resolved, Troubles};
use crate::settings::{Settings, SettingsByNamespace};

use availability::Availabilities;
use claims::Looks;
use room::{Affected, Room};

/// At how many peers one change may look to find whom it affects: some milliseconds.
const LOOKS: usize = 20_000;

/// The bindings whose verdict may have changed.
pub type Dirty = BTreeSet<BindingKey>;

/// What is to become of a binding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// There is no such binding.
    Gone,
    /// It is being deleted: its output must go.
    Deleting,
    /// Kinds that its resolution needs have never been listed: nothing is decided.
    Waiting(Troubles),
    /// It is refused: it must have no output.
    Refused(Refusal),
    /// It is to have this identity.
    Wanted(Arc<Identity>),
}

/// A verdict, and the kinds in trouble it stands on: while there are any, it is held from what was last proved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// The verdict.
    pub verdict: Verdict,
    /// Kinds that were consulted and are in trouble.
    pub held: Troubles,
}

/// Whom a change affects, while it is found out.
#[derive(Debug)]
struct Finding {
    dirty: Dirty,
    /// Namespaces of which everybody is affected.
    whole: BTreeSet<Namespace>,
    looks: Looks,
}

/// The index.
#[derive(Debug)]
pub struct Index {
    settings: SettingsByNamespace,
    availability: Availabilities,
    rooms: BTreeMap<Namespace, Room>,
    looks: usize,
}

/// What resolution sees of one namespace.
struct View<'a> {
    availability: &'a Availabilities,
    namespace: &'a Namespace,
    room: &'a Room,
}

impl Facts for View<'_> {
    fn availability(&self, kind: Kind) -> Availability {
        self.availability.within(kind, self.namespace)
    }

    // An event that was under way when its kind was proved absent brings no object back.
    fn objective(&self, _: &Namespace, name: &ObjectName, group: ObjectiveGroup) -> Option<&Objective> {
        self.exists(Kind::Objective(group)).then(|| self.room.objective(name, group))?
    }

    fn pool(&self, _: &Namespace, name: &ObjectName, group: PoolGroup) -> Option<&Pool> {
        self.exists(Kind::Pool(group)).then(|| self.room.pool(name, group))?
    }
}

impl View<'_> {
    fn exists(&self, kind: Kind) -> bool {
        self.availability(kind).known != Known::Absent
    }
}

impl Index {
    /// An index that knows nothing yet.
    pub fn new(settings: impl Into<SettingsByNamespace>) -> Self {
        Self {
            settings: settings.into(),
            availability: Availabilities::default(),
            rooms: BTreeMap::new(),
            looks: LOOKS,
        }
    }

    /// Lets one change look at so many peers; where that is not enough, everyone of the namespace is dirty. Verdicts do
    /// not depend on it.
    #[must_use]
    pub fn looking_at(mut self, peers: usize) -> Self {
        self.looks = peers;
        self
    }

    /// The settings everything is rendered with, but what has settings of its own ([`Index::settings_in`]). An operator has
    /// no others.
    pub fn settings(&self) -> &Settings {
        self.settings.rest()
    }

    /// The settings that everything of a namespace is rendered with.
    pub fn settings_in(&self, namespace: &Namespace) -> &Settings {
        self.settings.of(namespace)
    }

    /// The settings of every namespace.
    pub fn settings_by_namespace(&self) -> &SettingsByNamespace {
        &self.settings
    }

    /// The different settings of the namespaces that have bindings; where there are none, those that one would have.
    pub fn settings_in_use(&self) -> Vec<&Settings> {
        let mut used: Vec<&Settings> = Vec::new();
        for (namespace, room) in &self.rooms {
            let own = self.settings.of(namespace);
            if room.bindings().next().is_some() && !used.contains(&own) {
                used.push(own);
            }
        }
        if used.is_empty() { vec![self.settings.rest()] } else { used }
    }

    /// How well a kind is known as a whole.
    pub fn availability(&self, kind: Kind) -> Availability {
        self.availability.of(kind)
    }

    /// How well a kind is known in a namespace: as a whole, where that is not read by lists of its own.
    pub fn availability_in(&self, kind: Kind, namespace: &Namespace) -> Availability {
        self.availability.within(kind, namespace)
    }

    /// Takes a change; answers which bindings may have another verdict. Equal facts change nothing.
    pub fn apply(&mut self, change: Change) -> Dirty {
        let mut found = Finding { dirty: Dirty::new(), whole: BTreeSet::new(), looks: Looks(self.looks) };
        match change {
            Change::Put(fact) => self.put(fact, &mut found),
            Change::Gone(key) => self.gone(&key, &mut found),
            Change::Listed(kind, facts) => {
                self.replace_all(kind, None, facts, &mut found);
                let changed = self.availability.proved(kind, Availability::LISTED);
                self.available(kind, changed, &mut found);
            }
            Change::ListedIn(kind, namespace, facts) => {
                self.replace_all(kind, Some(&namespace), facts, &mut found);
                let changed = self.availability.listed_in(kind, &namespace);
                self.available_in(kind, &namespace, changed, &mut found);
            }
            Change::Absent(kind) => {
                self.replace_all(kind, None, Vec::new(), &mut found);
                let changed = self.availability.proved(kind, Availability::ABSENT);
                self.available(kind, changed, &mut found);
            }
            Change::Trouble(kind, trouble) => {
                let changed = self.availability.trouble(kind, trouble);
                self.available(kind, changed, &mut found);
            }
            Change::TroubleIn(kind, namespace, trouble) => {
                let changed = self.availability.trouble_in(kind, &namespace, trouble);
                self.available_in(kind, &namespace, changed, &mut found);
            }
        }
        let Finding { mut dirty, whole, .. } = found;
        for (namespace, room) in whole.iter().filter_map(|namespace| self.rooms.get_key_value(namespace)) {
            dirty.extend(room.names().into_iter().map(|name| BindingKey::new(namespace.clone(), name)));
        }
        dirty
    }

    /// A binding's verdict, with everything that is known now.
    pub fn verdict(&self, key: &BindingKey) -> Decision {
        match self.rooms.get(&key.namespace) {
            Some(room) => room.decision(&key.name),
            None => Decision { verdict: Verdict::Gone, held: Troubles::new() },
        }
    }

    /// A binding as declared.
    pub fn binding(&self, key: &BindingKey) -> Option<&Binding> {
        self.rooms.get(&key.namespace)?.binding(&key.name)
    }

    /// Every binding, by namespace and name.
    pub fn bindings(&self) -> impl Iterator<Item = &Binding> {
        self.rooms.values().flat_map(Room::bindings)
    }

    /// Every binding of a namespace, by name.
    pub fn bindings_of(&self, namespace: &Namespace) -> impl Iterator<Item = &Binding> {
        self.rooms.get(namespace).into_iter().flat_map(Room::bindings)
    }

    /// The binding of a namespace, of all that claim an identity the one that comes first, that stands in the way of another
    /// one's having this identity, were that to come now.
    pub fn in_the_way(&self, namespace: &Namespace, identity: &Identity) -> Option<&Binding> {
        let room = self.rooms.get(namespace)?;
        room.binding(room.in_the_way(identity)?)
    }

    /// The identity a binding renders to, whether or not it may hold it.
    pub fn identity(&self, key: &BindingKey) -> Option<&Arc<Identity>> {
        self.rooms.get(&key.namespace)?.identity(&key.name)
    }

    /// What a binding's target leads to, peers and rendering aside; none when there is no such binding, or its spec
    /// cannot be read.
    pub fn resolved(&self, key: &BindingKey) -> Option<Result<Resolved, Halt>> {
        let room = self.rooms.get(&key.namespace)?;
        let spec = room.binding(&key.name)?.spec.as_ref().ok()?;
        let view = View { availability: &self.availability, namespace: &key.namespace, room };
        Some(resolve::resolve(&view, &key.namespace, &spec.target, &mut Troubles::new()))
    }

    /// The bindings of the namespace that claim an identity and may not be disjoint from this one's, or have its SPIFFE
    /// ID: a superset of those it can meet, found without looking at everybody. Empty when it claims nothing itself.
    pub fn neighbours(&self, key: &BindingKey) -> BTreeSet<&ObjectName> {
        let room = self.rooms.get(&key.namespace);
        room.map(|room| room.neighbours(&key.name)).unwrap_or_default()
    }

    /// The objective of that name in that group.
    pub fn objective(
        &self,
        namespace: &Namespace,
        name: &ObjectName,
        group: ObjectiveGroup,
    ) -> Option<&Objective> {
        self.rooms.get(namespace)?.objective(name, group)
    }

    /// Every objective, by namespace, name and group.
    pub fn objectives(&self) -> impl Iterator<Item = &Objective> {
        self.rooms.values().flat_map(Room::objectives)
    }

    /// Every pool, by namespace, name and group.
    pub fn pools(&self) -> impl Iterator<Item = &Pool> {
        self.rooms.values().flat_map(Room::pools)
    }

    /// The pool of that name in that group.
    pub fn pool(&self, namespace: &Namespace, name: &ObjectName, group: PoolGroup) -> Option<&Pool> {
        self.rooms.get(namespace)?.pool(name, group)
    }

    /// Keeps once what a grant, which is to be noted for this binding, has in common with what is known already.
    pub fn share(&self, binding: &BindingKey, grant: &mut Grant) {
        if let Some(room) = self.rooms.get(&binding.namespace) {
            room.share_grant(&binding.name, grant);
        }
    }

    /// Notes what a live output grants that was written for this binding, or (`None`) that it is gone; answers whether
    /// that changed.
    pub fn set_grant(&mut self, binding: &BindingKey, output: &ObjectName, grant: Option<Grant>) -> bool {
        let standing = grant.map(|grant| grants::Standing { binding: binding.name.clone(), grant });
        if standing.is_none() && !self.rooms.contains_key(&binding.namespace) {
            return false;
        }
        let room = self.rooms.entry(binding.namespace.clone()).or_default();
        let changed = room.set_grant(output, standing);
        if room.is_empty() {
            self.rooms.remove(&binding.namespace);
        }
        changed
    }

    /// The live outputs, other than the binding's own, that stand against writing its identity: it must wait until
    /// they are confirmed gone or replaced. `written` gives the identities that were written for a binding of the namespace
    /// and may still stand, where that is known.
    pub fn blockers<'a>(
        &'a self,
        key: &BindingKey,
        wanted: &Identity,
        written: impl Fn(&ObjectName) -> &'a [Arc<Identity>],
    ) -> BTreeSet<ObjectName> {
        let room = self.rooms.get(&key.namespace);
        room.map(|room| room.blockers(&key.name, wanted, written)).unwrap_or_default()
    }

    /// Whether a binding's live output stands against what a peer that comes first is to have: it is then deleted
    /// rather than replaced, so that waits end.
    pub fn stands_against_older(
        &self,
        key: &BindingKey,
        output: &ObjectName,
        written: &[Arc<Identity>],
    ) -> bool {
        self.rooms
            .get(&key.namespace)
            .is_some_and(|room| room.stands_against_older(&key.name, output, written))
    }

    fn put(&mut self, mut fact: Fact, found: &mut Finding) {
        let known = self.rooms.get_key_value(fact.namespace_mut()).map(|(namespace, _)| namespace.clone());
        let namespace = known.unwrap_or_else(|| fact.namespace_mut().clone());
        fact.namespace_mut().clone_from(&namespace);
        let room = self.rooms.entry(namespace.clone()).or_default();
        let affected = room.put(fact);
        self.settle(&namespace, affected, found);
    }

    fn gone(&mut self, key: &FactKey, found: &mut Finding) {
        if let Some(room) = self.rooms.get_mut(&key.namespace) {
            let affected = room.remove(key, &mut found.looks);
            self.settle(&key.namespace, affected, found);
            if self.rooms.get(&key.namespace).is_some_and(Room::is_empty) {
                self.rooms.remove(&key.namespace);
            }
        }
    }

    /// Makes the objects of a kind (in one namespace, or everywhere) exactly these; a fact given twice counts once, the
    /// last one.
    fn replace_all(&mut self, kind: Kind, only: Option<&Namespace>, facts: Vec<Fact>, found: &mut Finding) {
        let inside = |namespace: &Namespace| only.is_none_or(|only| only == namespace);
        let listed: BTreeMap<FactKey, Fact> = facts
            .into_iter()
            .map(|fact| (fact.key(), fact))
            .filter(|(key, _)| key.kind == kind && inside(&key.namespace))
            .collect();
        let vanished: Vec<FactKey> = self
            .rooms
            .iter()
            .filter(|(namespace, _)| inside(namespace))
            .flat_map(|(namespace, room)| room.keys(namespace, kind))
            .filter(|key| !listed.contains_key(key))
            .collect();
        for key in vanished {
            self.gone(&key, found);
        }
        for fact in listed.into_values() {
            self.put(fact, found);
        }
    }

    /// How well a kind is known everywhere has changed, or not.
    fn available(&mut self, kind: Kind, changed: bool, found: &mut Finding) {
        let namespaces: Vec<Namespace> =
            if changed { self.rooms.keys().cloned().collect() } else { Vec::new() };
        for namespace in namespaces {
            self.available_in(kind, &namespace, changed, found);
        }
    }

    /// How well a kind is known in a namespace has changed, or not.
    fn available_in(&mut self, kind: Kind, namespace: &Namespace, changed: bool, found: &mut Finding) {
        // Bindings and outputs are gated as a whole by whoever drives the index; only inputs are looked up in here.
        if !changed || !matches!(kind, Kind::Objective(_) | Kind::Pool(_)) {
            return;
        }
        let Some(room) = self.rooms.get(namespace) else { return };
        let everyone = Affected::render(room.names().into_iter());
        self.settle(namespace, everyone, found);
    }

    /// Renders bindings again and marks them, and the peers that their old and new claims can affect.
    fn settle(&mut self, namespace: &Namespace, mut affected: Affected, found: &mut Finding) {
        let Some(room) = self.rooms.get_mut(namespace) else { return };
        for name in std::mem::take(&mut affected.render) {
            let view = View { availability: &self.availability, namespace, room };
            if let Some(rendered) = room.render(self.settings.of(namespace), &view, &name) {
                room.settle(&name, rendered, &mut found.looks, &mut affected);
            }
        }
        let Affected { dirty, everyone, .. } = affected;
        found.dirty.extend(dirty.into_iter().map(|name| BindingKey::new(namespace.clone(), name)));
        if everyone {
            found.whole.insert(namespace.clone());
        }
    }

    /// Whether a complete list of a kind was seen, of one namespace at least, or its absence proved.
    pub fn is_known(&self, kind: Kind) -> bool {
        self.availability.anywhere(kind)
    }
}
