//! What is drawn: everything, what is in one namespace, or what chosen bindings lead to.

use std::collections::BTreeSet;

use kleym_core::fact::{Objective, Pool, Target};
use kleym_core::index::Index;
use kleym_core::name::{BindingKey, Namespace, ObjectName};

/// A name in a namespace.
type Named = (Namespace, ObjectName);

/// What is drawn.
#[derive(Debug, Default)]
pub(crate) struct Choice<'a> {
    namespace: Option<&'a Namespace>,
    chosen: Option<Chosen>,
}

/// Bindings, and what they lead to.
#[derive(Debug, Default)]
struct Chosen {
    bindings: BTreeSet<BindingKey>,
    objectives: BTreeSet<Named>,
    pools: BTreeSet<Named>,
}

impl<'a> Choice<'a> {
    /// Everything in that namespace, or in all of them.
    pub(crate) fn all(namespace: Option<&'a Namespace>) -> Self {
        Self { namespace, chosen: None }
    }

    /// The bindings that are wanted, and what they lead to.
    pub(crate) fn of(
        index: &Index,
        namespace: Option<&'a Namespace>,
        wanted: impl Fn(&BindingKey) -> bool,
    ) -> Self {
        let mut chosen = Chosen::default();
        for binding in index.bindings().filter(|binding| wanted(&binding.key)) {
            let named = |name: &ObjectName| (binding.key.namespace.clone(), name.clone());
            match binding.spec.as_ref().map(|spec| &spec.target) {
                Ok(Target::Objective { name, .. }) => drop(chosen.objectives.insert(named(name))),
                Ok(Target::Pool { name, .. }) => drop(chosen.pools.insert(named(name))),
                Err(_) => {}
            }
            chosen.bindings.insert(binding.key.clone());
        }
        for objective in index.objectives() {
            let named = (objective.namespace.clone(), objective.name.clone());
            if let (true, Ok(to)) = (chosen.objectives.contains(&named), &objective.pool_ref) {
                chosen.pools.insert((objective.namespace.clone(), to.name.clone()));
            }
        }
        Self { namespace, chosen: Some(chosen) }
    }

    /// Whether only what chosen bindings lead to is drawn.
    pub(super) fn is_narrow(&self) -> bool {
        self.chosen.is_some()
    }

    /// Whether a namespace is looked at.
    pub(super) fn inside(&self, namespace: &str) -> bool {
        self.namespace.is_none_or(|only| only.as_str() == namespace)
    }

    /// Whether a binding is drawn.
    pub(super) fn binding(&self, key: &BindingKey) -> bool {
        self.inside(key.namespace.as_str())
            && self.chosen.as_ref().is_none_or(|chosen| chosen.bindings.contains(key))
    }

    /// Whether an objective is drawn.
    pub(super) fn objective(&self, objective: &Objective) -> bool {
        let Objective { namespace, name, .. } = objective;
        self.inside(namespace.as_str()) && self.named(namespace, name, |chosen| &chosen.objectives)
    }

    /// Whether a pool is drawn.
    pub(super) fn pool(&self, pool: &Pool) -> bool {
        let Pool { namespace, name, .. } = pool;
        self.inside(namespace.as_str()) && self.named(namespace, name, |chosen| &chosen.pools)
    }

    fn named(&self, namespace: &Namespace, name: &ObjectName, of: fn(&Chosen) -> &BTreeSet<Named>) -> bool {
        let named = || (namespace.clone(), name.clone());
        self.chosen.as_ref().is_none_or(|chosen| of(chosen).contains(&named()))
    }
}
