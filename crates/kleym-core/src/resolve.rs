//! From a binding to its subject: objective, pool, labels. Only the binding's own namespace is looked at.
//!
//! A binding waits only for the kinds that its own resolution needs. What was last proved of a kind is held while
//! the kind is in trouble; that a kind is in trouble never proves that an object is gone.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::fact::{Availability, Known, Objective, Pool, PoolRef, Target, Trouble};
use crate::kind::{Kind, ObjectiveGroup, PoolGroup};
use crate::label::Labels;
use crate::name::{Namespace, ObjectName};
use crate::refusal::{Lead, Refusal};
use crate::text::Quoted;

/// Where resolution looks things up.
pub trait Facts {
    /// How well a kind is known.
    fn availability(&self, kind: Kind) -> Availability;
    /// The objective of that name in that group.
    fn objective(
        &self,
        namespace: &Namespace,
        name: &ObjectName,
        group: ObjectiveGroup,
    ) -> Option<&Objective>;
    /// The pool of that name in that group.
    fn pool(&self, namespace: &Namespace, name: &ObjectName, group: PoolGroup) -> Option<&Pool>;
}

/// A pool as identities know it: the group is not part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedPool {
    /// The pool's name.
    pub name: ObjectName,
    /// Its normalised labels.
    pub labels: Arc<Labels>,
}

/// What a binding's target leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// The objective and the group it was found in; none for a pool target.
    pub objective: Option<(ObjectName, ObjectiveGroup)>,
    /// The pool.
    pub pool: ResolvedPool,
    /// The group the pool was found in.
    pub pool_group: PoolGroup,
}

/// Kinds in trouble, with what is wrong.
pub type Troubles = BTreeMap<Kind, Trouble>;

/// Why resolution stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Halt {
    /// Kinds that it needs have never been listed.
    Waiting(Troubles),
    /// It cannot be followed.
    Refused(Refusal),
}

impl From<Refusal> for Halt {
    fn from(refusal: Refusal) -> Self {
        Halt::Refused(refusal)
    }
}

/// Resolves a target. `held` collects the kinds that were consulted and are in trouble: the answer stands on what
/// was last proved of them.
///
/// # Errors
/// A refusal, or the kinds to wait for.
pub fn resolve(
    facts: &impl Facts,
    namespace: &Namespace,
    target: &Target,
    held: &mut Troubles,
) -> Result<Resolved, Halt> {
    let mut resolver = Resolver { facts, namespace, held };
    match target {
        Target::Objective { name, group } => resolver.objective(name, *group),
        Target::Pool { name, group } => resolver.pool_target(name, *group),
    }
}

struct Resolver<'a, F> {
    facts: &'a F,
    namespace: &'a Namespace,
    held: &'a mut Troubles,
}

impl<'a, F: Facts> Resolver<'a, F> {
    /// Which of these kinds are installed, in the given order.
    fn installed(&mut self, kinds: &[Kind]) -> Result<Vec<Kind>, Halt> {
        let mut waiting = Troubles::new();
        let mut installed = Vec::new();
        for kind in kinds {
            let Availability { known, trouble } = self.facts.availability(*kind);
            match (known, trouble) {
                (Known::Nothing, trouble) => {
                    waiting.insert(*kind, trouble.unwrap_or(Trouble::Starting));
                }
                (_, Some(trouble)) => {
                    self.held.insert(*kind, trouble);
                }
                (_, None) => {}
            }
            if known == Known::Listed {
                installed.push(*kind);
            }
        }
        if waiting.is_empty() { Ok(installed) } else { Err(Halt::Waiting(waiting)) }
    }

    fn objective(&mut self, name: &ObjectName, pinned: Option<ObjectiveGroup>) -> Result<Resolved, Halt> {
        let groups = pinned.map_or(ObjectiveGroup::ALL.to_vec(), |group| vec![group]);
        let kinds: Vec<Kind> = groups.iter().map(|group| Kind::Objective(*group)).collect();
        if self.installed(&kinds)?.is_empty() {
            return Err(Refusal::ObjectiveCrdMissing(pinned).into());
        }
        let facts = self.facts;
        let all: Vec<&'a Objective> =
            groups.iter().filter_map(|group| facts.objective(self.namespace, name, *group)).collect();
        let hits: Vec<&'a Objective> = all.iter().copied().filter(|o| !o.deleting).collect();
        let Some((first, others)) = hits.split_first() else {
            return Err(Refusal::ObjectiveNotFound {
                namespace: self.namespace.clone(),
                name: name.clone(),
                group: pinned,
                deleting: !all.is_empty(),
            }
            .into());
        };
        // Equal references agree even where the pool does not exist; a malformed hit disagrees with every other.
        if others.iter().all(|other| other.pool_ref.is_ok() && other.pool_ref == first.pool_ref) {
            return self.follow(first);
        }
        let mut ends = Vec::new();
        for hit in &hits {
            match self.follow(hit) {
                Err(Halt::Waiting(kinds)) => return Err(Halt::Waiting(kinds)),
                end => ends.push(end),
            }
        }
        let same = |end: &Result<Resolved, Halt>| match (end, &ends[0]) {
            (Ok(a), Ok(b)) => a.pool == b.pool,
            _ => false,
        };
        if ends.iter().all(same) {
            return ends.swap_remove(0);
        }
        let leads =
            hits.iter().zip(&ends).map(|(hit, end)| Lead { group: hit.group.as_str(), to: lead(hit, end) });
        Err(Refusal::Ambiguous { kind: "InferenceObjective", name: name.clone(), leads: leads.collect() }
            .into())
    }

    /// From one objective to its pool.
    fn follow(&mut self, objective: &Objective) -> Result<Resolved, Halt> {
        let PoolRef { group, name } = objective.pool_ref.as_ref().map_err(|error| Refusal::PoolRef {
            group: objective.group,
            objective: objective.name.clone(),
            error: error.clone(),
        })?;
        let (pool_group, pool) = self.find_pool(name, *group, Some(&objective.name))?;
        Ok(Resolved { objective: Some((objective.name.clone(), objective.group)), pool, pool_group })
    }

    /// The pool of that name in the named group; with no group, the first in order of preference.
    fn find_pool(
        &mut self,
        name: &ObjectName,
        named: Option<PoolGroup>,
        objective: Option<&ObjectName>,
    ) -> Result<(PoolGroup, ResolvedPool), Halt> {
        let groups = named.map_or(PoolGroup::ALL.to_vec(), |group| vec![group]);
        let mut deleting = false;
        let mut any_installed = false;
        for group in groups {
            any_installed |= !self.installed(&[Kind::Pool(group)])?.is_empty();
            match self.facts.pool(self.namespace, name, group) {
                Some(pool) if pool.deleting => deleting = true,
                Some(pool) => return Ok((group, labels_of(pool)?)),
                None => {}
            }
        }
        Err(if any_installed {
            let objective = objective.cloned();
            Refusal::PoolNotFound {
                namespace: self.namespace.clone(),
                name: name.clone(),
                group: named,
                objective,
                deleting,
            }
        } else {
            Refusal::PoolCrdMissing(named)
        }
        .into())
    }

    /// A pool named by the binding itself: like objectives, all installed groups are looked at.
    fn pool_target(&mut self, name: &ObjectName, pinned: Option<PoolGroup>) -> Result<Resolved, Halt> {
        let groups = pinned.map_or(PoolGroup::ALL.to_vec(), |group| vec![group]);
        let kinds: Vec<Kind> = groups.iter().map(|group| Kind::Pool(*group)).collect();
        if self.installed(&kinds)?.is_empty() {
            return Err(Refusal::PoolCrdMissing(pinned).into());
        }
        let all: Vec<&Pool> =
            groups.iter().filter_map(|group| self.facts.pool(self.namespace, name, *group)).collect();
        let hits: Vec<&Pool> = all.iter().copied().filter(|pool| !pool.deleting).collect();
        let Some((first, others)) = hits.split_first() else {
            return Err(Refusal::PoolNotFound {
                namespace: self.namespace.clone(),
                name: name.clone(),
                group: pinned,
                objective: None,
                deleting: !all.is_empty(),
            }
            .into());
        };
        if others.iter().all(|other| other.labels.is_ok() && other.labels == first.labels) {
            return Ok(Resolved { objective: None, pool: labels_of(first)?, pool_group: first.group });
        }
        let leads = hits.iter().map(|pool| Lead { group: pool.group.as_str(), to: selector_in_words(pool) });
        Err(Refusal::Ambiguous { kind: "InferencePool", name: name.clone(), leads: leads.collect() }.into())
    }
}

fn labels_of(pool: &Pool) -> Result<ResolvedPool, Refusal> {
    match &pool.labels {
        Ok(labels) => Ok(ResolvedPool { name: pool.name.clone(), labels: Arc::clone(labels) }),
        Err(error) => {
            Err(Refusal::PoolSelector { group: pool.group, pool: pool.name.clone(), error: error.clone() })
        }
    }
}

fn lead(hit: &Objective, end: &Result<Resolved, Halt>) -> String {
    match (&hit.pool_ref, end) {
        (Err(_), _) => "no pool (malformed)".to_owned(),
        (Ok(_), Ok(resolved)) => {
            format!("pool {} ({})", Quoted(resolved.pool.name.as_str()), resolved.pool_group)
        }
        (Ok(pool_ref), Err(_)) => {
            let group = pool_ref.group.map(|group| format!(" ({group})")).unwrap_or_default();
            format!("pool {}{group}, which is missing or malformed", Quoted(pool_ref.name.as_str()))
        }
    }
}

fn selector_in_words(pool: &Pool) -> String {
    match &pool.labels {
        Err(_) => "a malformed selector".to_owned(),
        Ok(labels) => {
            const MOST: usize = 3;
            let shown: Vec<String> =
                labels.iter().take(MOST).map(|(k, v)| format!("{}={}", k.as_str(), v.as_str())).collect();
            let more = match labels.len().saturating_sub(MOST) {
                0 => String::new(),
                more => format!(" and {more} more labels"),
            };
            format!("the pods with {}{more}", Quoted(&shown.join(",")))
        }
    }
}
