//! One namespace: its bindings, objectives and pools, and who refers to whom.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::claims::{Claim, Claims, Looks, Peers};
use super::few::Few;
use super::grants::{Grants, Standing};
use super::neighbours::Face;
use super::{Decision, Verdict};
use crate::fact::{Binding, Fact, FactKey, Objective, Pool, Target};
use crate::grant::Grant;
use crate::kind::{Kind, ObjectiveGroup, PoolGroup};
use crate::name::{Namespace, ObjectName};
use crate::refusal::Refusal;
use crate::relation::{Conflict, Precedence, disjoint_items};
use crate::render::{self, Identity};
use crate::resolve::{self, Facts, Halt, Troubles};
use crate::settings::Settings;

/// What a binding's own declaration leads to, peers aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    Waiting(Troubles),
    Refused(Box<Refusal>),
    Rendered(Arc<Identity>),
}

/// What a change in a room leads to.
#[derive(Debug, Default)]
pub(super) struct Affected {
    /// Bindings that must be rendered again.
    pub(super) render: BTreeSet<ObjectName>,
    /// Bindings that are dirty whatever they render to.
    pub(super) dirty: BTreeSet<ObjectName>,
    /// Everyone is dirty.
    pub(super) everyone: bool,
}

impl Affected {
    pub(super) fn render(names: impl Iterator<Item = ObjectName>) -> Self {
        Self { render: names.collect(), ..Self::default() }
    }

    /// Adds the peers that are affected too.
    pub(super) fn add(&mut self, peers: Peers) {
        match peers {
            Peers::Those(names) => self.dirty.extend(names),
            Peers::Everyone => self.everyone = true,
        }
    }
}

#[derive(Debug)]
struct Entry {
    binding: Binding,
    /// None until it was rendered for the first time, within the change that brought it.
    outcome: Option<Outcome>,
    held: Troubles,
}

impl Entry {
    fn identity(&self) -> Option<&Arc<Identity>> {
        match &self.outcome {
            Some(Outcome::Rendered(identity)) => Some(identity),
            _ => None,
        }
    }
}

/// Who refers to a name: sets by name, without empty ones.
#[derive(Debug, Default)]
struct Referrers(BTreeMap<ObjectName, Few>);

impl Referrers {
    fn add(&mut self, to: &ObjectName, from: &ObjectName) {
        let known = self.0.entry(to.clone()).and_modify(|names| names.insert(from));
        known.or_insert_with(|| Few::One(from.clone()));
    }

    fn remove(&mut self, to: &ObjectName, from: &ObjectName) {
        if self.0.get_mut(to).is_some_and(|names| names.remove(from)) {
            self.0.remove(to);
        }
    }

    fn of(&self, to: &ObjectName) -> impl Iterator<Item = &ObjectName> {
        self.0.get(to).into_iter().flat_map(Few::iter)
    }
}

#[derive(Debug, Default)]
pub(super) struct Room {
    bindings: BTreeMap<ObjectName, Box<Entry>>,
    objectives: BTreeMap<(ObjectName, ObjectiveGroup), Objective>,
    pools: BTreeMap<(ObjectName, PoolGroup), Box<Pool>>,
    /// Bindings by the objective they name.
    of_objective: Referrers,
    /// Bindings by the pool they name themselves.
    of_pool: Referrers,
    /// Objectives by the pool they name, one entry for each group's object.
    objectives_of_pool: BTreeMap<ObjectName, BTreeSet<(ObjectName, ObjectiveGroup)>>,
    claims: Claims,
    grants: Grants,
}

impl Room {
    pub(super) fn is_empty(&self) -> bool {
        self.bindings.is_empty()
            && self.objectives.is_empty()
            && self.pools.is_empty()
            && self.grants.is_empty()
    }

    pub(super) fn objective(&self, name: &ObjectName, group: ObjectiveGroup) -> Option<&Objective> {
        self.objectives.get(&(name.clone(), group))
    }

    pub(super) fn pool(&self, name: &ObjectName, group: PoolGroup) -> Option<&Pool> {
        self.pools.get(&(name.clone(), group)).map(AsRef::as_ref)
    }

    pub(super) fn objectives(&self) -> impl Iterator<Item = &Objective> {
        self.objectives.values()
    }

    pub(super) fn pools(&self) -> impl Iterator<Item = &Pool> {
        self.pools.values().map(AsRef::as_ref)
    }

    pub(super) fn binding(&self, name: &ObjectName) -> Option<&Binding> {
        self.bindings.get(name).map(|entry| &entry.binding)
    }

    pub(super) fn bindings(&self) -> impl Iterator<Item = &Binding> {
        self.bindings.values().map(|entry| &entry.binding)
    }

    /// The other claims that may meet this binding's: a superset.
    pub(super) fn neighbours(&self, name: &ObjectName) -> BTreeSet<&ObjectName> {
        let Some(own) = self.claims.get(name) else { return BTreeSet::new() };
        let near = self.claims.near(own.face()).map(|peer| &peer.precedence.name);
        near.filter(|peer| *peer != name).collect()
    }

    /// Of the claims that conflict with an identity the one that comes first.
    pub(super) fn in_the_way(&self, identity: &Identity) -> Option<&ObjectName> {
        self.claims.first_conflict(identity).map(|claim| &claim.precedence.name)
    }

    pub(super) fn identity(&self, name: &ObjectName) -> Option<&Arc<Identity>> {
        self.bindings.get(name)?.identity()
    }

    pub(super) fn names(&self) -> BTreeSet<ObjectName> {
        self.bindings.keys().cloned().collect()
    }

    /// The keys of every object of a kind.
    pub(super) fn keys(&self, namespace: &Namespace, kind: Kind) -> Vec<FactKey> {
        let names: Vec<&ObjectName> = match kind {
            Kind::Binding => self.bindings.keys().collect(),
            Kind::Objective(group) => {
                self.objectives.keys().filter(|(_, of)| *of == group).map(|(name, _)| name).collect()
            }
            Kind::Pool(group) => {
                self.pools.keys().filter(|(_, of)| *of == group).map(|(name, _)| name).collect()
            }
            Kind::Output => Vec::new(),
        };
        let key = |name: &ObjectName| FactKey { kind, namespace: namespace.clone(), name: name.clone() };
        names.into_iter().map(key).collect()
    }

    /// Stores a fact; answers which bindings must be rendered again and which are dirty already. An equal fact
    /// affects none.
    pub(super) fn put(&mut self, fact: Fact) -> Affected {
        match fact {
            Fact::Binding(binding) => self.put_binding(*binding),
            Fact::Objective(objective) => {
                let key = (objective.name.clone(), objective.group);
                if self.objectives.get(&key) == Some(&objective) {
                    return Affected::default();
                }
                self.unlink_objective(&key);
                if let Ok(pool_ref) = &objective.pool_ref {
                    self.objectives_of_pool.entry(pool_ref.name.clone()).or_default().insert(key.clone());
                }
                self.objectives.insert(key.clone(), objective);
                Affected::render(self.of_objective.of(&key.0).cloned())
            }
            Fact::Pool(pool) => {
                let key = (pool.name.clone(), pool.group);
                if self.pools.get(&key).is_some_and(|known| **known == pool) {
                    return Affected::default();
                }
                self.pools.insert(key.clone(), Box::new(pool));
                self.dependents_of_pool(&key.0)
            }
        }
    }

    /// Forgets an object; answers which bindings must be rendered again and which are dirty already.
    pub(super) fn remove(&mut self, key: &FactKey, looks: &mut Looks) -> Affected {
        match key.kind {
            Kind::Binding => match self.bindings.remove(&key.name) {
                Some(entry) => {
                    self.unlink_target(&entry.binding);
                    let dirty = BTreeSet::from([key.name.clone()]);
                    let mut affected = Affected { dirty, ..Affected::default() };
                    affected.add(self.claims.set(&key.name, None, looks));
                    affected
                }
                None => Affected::default(),
            },
            Kind::Objective(group) => {
                let own = (key.name.clone(), group);
                self.unlink_objective(&own);
                match self.objectives.remove(&own) {
                    Some(_) => Affected::render(self.of_objective.of(&key.name).cloned()),
                    None => Affected::default(),
                }
            }
            Kind::Pool(group) => match self.pools.remove(&(key.name.clone(), group)) {
                Some(_) => self.dependents_of_pool(&key.name),
                None => Affected::default(),
            },
            Kind::Output => Affected::default(),
        }
    }

    /// Keeps once what an identity has in common with others of the namespace.
    fn share(&self, identity: &mut Identity) {
        if let Some(grant) = self.grants.of(identity) {
            identity.share(&grant.spiffe_id, &grant.items);
        } else if let Some(peer) = self.claims.alike(identity.selectors.items()) {
            identity.share(peer.spiffe_id.shared(), peer.selectors.shared());
        }
    }

    /// Keeps once what a binding has in common with the one before it.
    fn share_spec(&self, binding: &mut Binding) {
        let before = self.bindings.range(..&binding.key.name).next_back();
        if let Ok(spec) = &mut binding.spec
            && let Some(Ok(other)) = before.map(|(_, entry)| &entry.binding.spec)
            && spec.selector_templates == other.selector_templates
        {
            spec.selector_templates = Arc::clone(&other.selector_templates);
        }
    }

    fn put_binding(&mut self, mut binding: Binding) -> Affected {
        let name = binding.key.name.clone();
        let old = self.bindings.remove(&name);
        let outcome = match old {
            Some(entry) if entry.binding == binding => {
                self.bindings.insert(name, entry);
                return Affected::default();
            }
            Some(entry) => {
                self.unlink_target(&entry.binding);
                entry.outcome
            }
            None => None,
        };
        self.share_spec(&mut binding);
        match binding.spec.as_ref().map(|spec| &spec.target) {
            Ok(Target::Objective { name: to, .. }) => self.of_objective.add(to, &name),
            Ok(Target::Pool { name: to, .. }) => self.of_pool.add(to, &name),
            Err(_) => {}
        }
        let entry = Entry { binding, outcome, held: Troubles::new() };
        self.bindings.insert(name.clone(), Box::new(entry));
        Affected { dirty: BTreeSet::from([name.clone()]), ..Affected::render([name].into_iter()) }
    }

    fn unlink_target(&mut self, binding: &Binding) {
        match binding.spec.as_ref().map(|spec| &spec.target) {
            Ok(Target::Objective { name: to, .. }) => self.of_objective.remove(to, &binding.key.name),
            Ok(Target::Pool { name: to, .. }) => self.of_pool.remove(to, &binding.key.name),
            Err(_) => {}
        }
    }

    /// What a binding's declaration leads to now, and the troubled kinds it stands on.
    pub(super) fn render(
        &self,
        settings: &Settings,
        facts: &impl Facts,
        name: &ObjectName,
    ) -> Option<(Outcome, Troubles)> {
        let binding = &self.bindings.get(name)?.binding;
        let mut held = Troubles::new();
        let outcome = match &binding.spec {
            Err(error) => Outcome::Refused(Box::new(Refusal::Spec(error.clone()))),
            Ok(spec) => match resolve::resolve(facts, &binding.key.namespace, &spec.target, &mut held) {
                Err(Halt::Waiting(kinds)) => Outcome::Waiting(kinds),
                Err(Halt::Refused(refusal)) => Outcome::Refused(Box::new(refusal)),
                Ok(resolved) => match render::render(settings, &binding.key, spec, &resolved) {
                    Ok(mut identity) => {
                        self.share(&mut identity);
                        Outcome::Rendered(Arc::new(identity))
                    }
                    Err(refusal) => Outcome::Refused(Box::new(refusal)),
                },
            },
        };
        Some((outcome, held))
    }

    /// Takes what a binding rendered to; adds it if that is new, and the peers whose verdict may change with it.
    pub(super) fn settle(
        &mut self,
        name: &ObjectName,
        (outcome, held): (Outcome, Troubles),
        looks: &mut Looks,
        affected: &mut Affected,
    ) {
        let Some(entry) = self.bindings.get_mut(name) else { return };
        let changed = entry.outcome.as_ref() != Some(&outcome) || entry.held != held;
        if changed {
            entry.outcome = Some(outcome);
            entry.held = held;
        }
        // A deleting binding claims until its finalizer, and with it its output, is gone.
        let claims = !entry.binding.deleting || entry.binding.finalizer;
        let claim = entry.identity().filter(|_| claims).map(|identity| Claim {
            precedence: Precedence::of(&entry.binding),
            identity: Arc::clone(identity),
        });
        affected.add(self.claims.set(name, claim, looks));
        if changed {
            affected.dirty.insert(name.clone());
        }
    }

    /// The verdict, with the peers that come first.
    pub(super) fn decision(&self, name: &ObjectName) -> Decision {
        let Some(entry) = self.bindings.get(name) else {
            return Decision { verdict: Verdict::Gone, held: Troubles::new() };
        };
        let verdict = if entry.binding.deleting {
            Verdict::Deleting
        } else {
            match &entry.outcome {
                None => Verdict::Waiting(Troubles::new()),
                Some(Outcome::Waiting(kinds)) => Verdict::Waiting(kinds.clone()),
                Some(Outcome::Refused(refusal)) => Verdict::Refused((**refusal).clone()),
                Some(Outcome::Rendered(identity)) => match self.conflict(name) {
                    Some(conflict) => Verdict::Refused(Refusal::Conflict(conflict)),
                    None => Verdict::Wanted(Arc::clone(identity)),
                },
            }
        };
        Decision { verdict, held: entry.held.clone() }
    }

    /// Keeps once what a grant has in common with others of the namespace.
    pub(super) fn share_grant(&self, binding: &ObjectName, grant: &mut Grant) {
        if let Some(identity) = self.identity(binding).filter(|identity| grant.is_of(identity)) {
            grant.share(identity.spiffe_id.shared(), identity.selectors.shared());
        } else if let Some(peer) = self.claims.alike(&grant.items) {
            grant.share(peer.spiffe_id.shared(), peer.selectors.shared());
        } else if let Some(peer) = self.grants.alike(&grant.items) {
            grant.share(&peer.spiffe_id, &peer.items);
        }
    }

    /// Notes what an output of a binding of this namespace grants, or that it is gone; answers whether that changed.
    pub(super) fn set_grant(&mut self, output: &ObjectName, standing: Option<Standing>) -> bool {
        self.grants.set(output, standing)
    }

    /// The identity that is known to be an output's: its binding's present one, or one that was written for it.
    fn known<'a>(&'a self, standing: &Standing, written: &'a [Arc<Identity>]) -> Option<&'a Identity> {
        let mut possible = self.identity(&standing.binding).into_iter().chain(written).map(Arc::as_ref);
        possible.find(|identity| standing.grant.is_of(identity))
    }

    /// Whether a live output stands against writing an identity.
    ///
    /// After a restart it is not known what an output is of whose pool was relabelled meanwhile. If its binding has the same
    /// SPIFFE ID for the same subject now, and no workload can match both sets, it is taken to be of that subject: else
    /// several bindings of one subject would wait for each other, and a relabelled pool would cost them their outputs.
    fn stands_against(&self, standing: &Standing, known: Option<&Identity>, wanted: &Identity) -> bool {
        let grant = &standing.grant;
        let taken_for_its_subject = || {
            *grant.spiffe_id == *wanted.spiffe_id.as_str()
                && disjoint_items(&grant.items, wanted.selectors.items())
                && self.identity(&standing.binding).is_some_and(|present| {
                    present.spiffe_id == wanted.spiffe_id && present.subject == wanted.subject
                })
        };
        grant.stands_against(known, wanted) && (known.is_some() || !taken_for_its_subject())
    }

    /// The live outputs, other than the binding's own, that stand against writing its identity.
    pub(super) fn blockers<'a>(
        &'a self,
        name: &ObjectName,
        wanted: &Identity,
        written: impl Fn(&ObjectName) -> &'a [Arc<Identity>],
    ) -> BTreeSet<ObjectName> {
        self.grants
            .near(wanted)
            .filter(|(_, standing)| standing.binding != *name)
            .filter(|(_, standing)| {
                self.stands_against(standing, self.known(standing, written(&standing.binding)), wanted)
            })
            .map(|(output, _)| output.clone())
            .collect()
    }

    /// Whether a binding's live output stands against what a peer that comes first is to have.
    pub(super) fn stands_against_older(
        &self,
        name: &ObjectName,
        output: &ObjectName,
        written: &[Arc<Identity>],
    ) -> bool {
        let (Some(own), Some(standing)) = (self.claims.get(name), self.grants.get(output)) else {
            return false;
        };
        let known = self.known(standing, written);
        let face = Face { spiffe_id: &standing.grant.spiffe_id, items: &standing.grant.items };
        let mut against: Vec<&Precedence> = self
            .claims
            .near(face)
            .filter(|peer| peer.precedence < own.precedence)
            .filter(|peer| self.stands_against(standing, known, &peer.identity))
            .map(|peer| &peer.precedence)
            .collect();
        // Of those that meet each other the first one is granted, so that one verdict is mostly enough.
        against.sort();
        against.iter().any(|peer| matches!(self.decision(&peer.name).verdict, Verdict::Wanted(_)))
    }

    fn conflict(&self, name: &ObjectName) -> Option<Conflict> {
        let own = self.claims.get(name)?;
        let peers = self.claims.earlier_conflicts(own);
        Conflict::of(&own.identity, peers.iter().map(|peer| (&peer.precedence.name, &*peer.identity)))
    }

    fn unlink_objective(&mut self, key: &(ObjectName, ObjectiveGroup)) {
        if let Some(Objective { pool_ref: Ok(pool_ref), .. }) = self.objectives.get(key)
            && let Some(set) = self.objectives_of_pool.get_mut(&pool_ref.name)
        {
            set.remove(key);
            if set.is_empty() {
                self.objectives_of_pool.remove(&pool_ref.name);
            }
        }
    }

    fn dependents_of_pool(&self, pool: &ObjectName) -> Affected {
        let through = self.objectives_of_pool.get(pool).into_iter().flatten();
        let through = through.flat_map(|(objective, _)| self.of_objective.of(objective));
        Affected::render(through.chain(self.of_pool.of(pool)).cloned())
    }
}
