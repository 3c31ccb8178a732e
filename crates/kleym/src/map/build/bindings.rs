//! Bindings, what they are of, and what they give.

use std::collections::BTreeSet;

use kleym_core::fact::{Binding, Target};
use kleym_core::index::Verdict;
use kleym_core::kind::{ObjectiveGroup, PoolGroup};
use kleym_core::name::output_name;
use kleym_core::refusal::Refusal;
use kleym_core::resolve::Resolved;

use super::{Builder, Key};
use crate::map::{Column, Link, Node, State};

impl Builder<'_> {
    pub(super) fn binding(&mut self, binding: &Binding) {
        let verdict = self.index.verdict(&binding.key).verdict;
        let (state, line) = match &verdict {
            Verdict::Wanted(_) => (State::Fine, String::new()),
            Verdict::Refused(refusal) => (State::Refused, refusal.reason().as_str().to_owned()),
            Verdict::Waiting(_) => (State::Pending, "not decided yet".to_owned()),
            Verdict::Deleting | Verdict::Gone => (State::Pending, "being deleted".to_owned()),
        };
        let mut node = Node::new(Column::Binding, binding.key.name.as_str(), state);
        match &binding.spec {
            Ok(spec) => {
                node.line = if line.is_empty() { spec.mode.as_str().to_owned() } else { line };
                let target = match &spec.target {
                    Target::Objective { name, .. } => format!("InferenceObjective {name}"),
                    Target::Pool { name, .. } => format!("InferencePool {name}"),
                };
                node = node.fact("mode", spec.mode.as_str()).fact("target", target);
            }
            Err(_) => node.line = line,
        }
        match &verdict {
            Verdict::Refused(refusal) => {
                node = node.fact("refused", refusal.reason().as_str()).fact("why", refusal.what());
                if let Some(hint) = refusal.hint() {
                    node = node.fact("what to do", hint);
                }
            }
            Verdict::Waiting(kinds) => {
                for (kind, trouble) in kinds {
                    node = node.fact("waits for", format!("{}: {}", kind.crd_name(), trouble.as_str()));
                }
            }
            Verdict::Deleting => node = node.fact("state", "being deleted; its output goes first"),
            Verdict::Wanted(_) | Verdict::Gone => {}
        }
        if let Some(identity) = self.index.identity(&binding.key) {
            let what = if state == State::Fine { "SPIFFE ID" } else { "would be" };
            node = node.fact(what, identity.spiffe_id.as_str());
            for item in identity.selectors.texts() {
                node = node.fact("selectors", item);
            }
        }
        let here = self.node(Key::Binding(binding.key.name.to_string()), || node);

        let granted = state == State::Fine;
        let link = if granted { Link::Granted } else { Link::Nothing };
        self.target(binding, here, link);
        self.own_output(binding, here, &verdict);
    }

    /// What the binding is of: everything to the left of it.
    fn target(&mut self, binding: &Binding, here: usize, link: Link) {
        let Ok(spec) = &binding.spec else { return };
        let refused = "the binding is refused";
        let why = if link == Link::Granted { "" } else { refused };
        let resolved = self.index.resolved(&binding.key);
        if let Some(Ok(Resolved { objective, pool, pool_group })) = &resolved
            && let Some(pool) = self.pools.get(&(pool.name.clone(), *pool_group)).copied()
        {
            let through = objective.as_ref().and_then(|key| self.objectives.get(key).copied());
            match through {
                Some(objective) => {
                    self.between(pool, objective, link, why);
                    self.between(objective, here, link, why);
                }
                None => self.between(pool, here, link, why),
            }
            if link == Link::Granted {
                for node in [Some(pool), through].into_iter().flatten() {
                    if self.nodes[node].state == State::Idle {
                        self.nodes[node].state = State::Fine;
                    }
                }
            }
            return;
        }
        match &spec.target {
            Target::Objective { name, group } => {
                let groups = group.map_or(ObjectiveGroup::ALL.to_vec(), |group| vec![group]);
                let mut found: BTreeSet<usize> = groups
                    .iter()
                    .filter_map(|group| self.objectives.get(&(name.clone(), *group)).copied())
                    .collect();
                if found.is_empty() {
                    found.insert(self.node(Key::Objective(name.to_string(), String::new()), || {
                        Node::new(Column::Objective, name.as_str(), State::Missing)
                            .line("not found")
                            .fact("state", "named by a binding, and not there")
                    }));
                }
                for objective in found {
                    self.between(objective, here, Link::Nothing, refused);
                    // Whatever leads to it leads no further either.
                    if let Some(pool) = self.pool_of.get(&objective).copied() {
                        self.between(pool, objective, Link::Nothing, refused);
                    }
                }
            }
            Target::Pool { name, group } => {
                let groups = group.map_or(PoolGroup::ALL.to_vec(), |group| vec![group]);
                let mut found: BTreeSet<usize> = groups
                    .iter()
                    .filter_map(|group| self.pools.get(&(name.clone(), *group)).copied())
                    .collect();
                if found.is_empty() {
                    found.insert(self.missing_pool(name));
                }
                for pool in found {
                    self.between(pool, here, Link::Nothing, refused);
                }
            }
        }
    }

    /// From the binding to its output.
    fn own_output(&mut self, binding: &Binding, here: usize, verdict: &Verdict) {
        let name =
            output_name(self.index.settings_in(&binding.key.namespace).instance.as_str(), &binding.key)
                .to_string();
        let there = self.keys.get(&Key::Output(name.clone())).copied();
        match (there, verdict) {
            (Some(output), Verdict::Wanted(_)) => self.between(here, output, Link::Granted, ""),
            (Some(output), _) => {
                self.between(here, output, Link::Nothing, "it has no right to this output any more")
            }
            (None, Verdict::Wanted(identity)) => {
                let output = self.node(Key::Output(name.clone()), || {
                    Node::new(Column::Output, name, State::Missing)
                        .line("not there")
                        .fact("state", "wanted, and not in the cluster")
                        .fact("would give", identity.spiffe_id.as_str())
                });
                self.between(here, output, Link::Nothing, "the output is not there");
            }
            (None, _) => {}
        }
    }

    /// From a refused binding to those that hold what it claims.
    pub(super) fn conflicts(&mut self, binding: &Binding) {
        let Verdict::Refused(Refusal::Conflict(conflict)) = self.index.verdict(&binding.key).verdict else {
            return;
        };
        let Some(here) = self.keys.get(&Key::Binding(binding.key.name.to_string())).copied() else { return };
        for peer in &conflict.peers {
            if let Some(there) = self.keys.get(&Key::Binding(peer.name.to_string())).copied() {
                let why = format!(
                    "{}: {} comes first and claims {}",
                    peer.cause.reason().as_str(),
                    peer.name,
                    peer.spiffe_id
                );
                self.between(here, there, Link::Conflict, why);
            }
        }
    }
}
