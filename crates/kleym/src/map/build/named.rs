//! What stands by itself: pools, objectives, outputs and SPIFFE IDs.

use std::collections::BTreeMap;

use kleym_core::fact::{Objective, Pool};
use kleym_core::kind::PoolGroup;
use kleym_core::label::Labels;
use kleym_core::name::ObjectName;

use super::{Builder, Key};
use crate::map::seen::Output;
use crate::map::{Column, Link, Node, SERVED_IN, State};

impl Builder<'_> {
    pub(super) fn pool(&mut self, pool: &Pool) {
        let (selector, state) = match &pool.labels {
            Ok(labels) => (in_words(labels), State::Idle),
            Err(error) => (error.to_string(), State::Refused),
        };
        let key = Key::Pool(pool.name.to_string(), selector.clone());
        let what = if pool.labels.is_ok() { "selects pods with" } else { "refused" };
        let node = self.node(key, || {
            Node::new(Column::Pool, pool.name.as_str(), state).line(selector.clone()).fact(what, selector)
        });
        let group = format!("{}/{}", pool.group.as_str(), pool.group.version());
        self.nodes[node].facts.push((SERVED_IN, group));
        if pool.deleting {
            self.nodes[node].state = State::Pending;
            self.nodes[node].facts.push(("state", "being deleted; counts as not found".to_owned()));
        }
        self.pools.insert((pool.name.clone(), pool.group), node);
    }

    /// Says of pools of one name in several groups, which are one where they select the same, which group each is of.
    pub(super) fn twins(&mut self, pools: &[&Pool]) {
        let mut groups: BTreeMap<usize, Vec<&str>> = BTreeMap::new();
        for pool in pools {
            let twin = |group: &PoolGroup| {
                *group != pool.group && self.pools.contains_key(&(pool.name.clone(), *group))
            };
            if PoolGroup::ALL.iter().any(twin)
                && let Some(node) = self.pools.get(&(pool.name.clone(), pool.group))
            {
                groups.entry(*node).or_default().push(pool.group.as_str());
            }
        }
        for (node, groups) in groups {
            let groups = groups.join(" and ");
            let line = &mut self.nodes[node].line;
            *line = format!("{line}; in {groups}");
        }
    }

    pub(super) fn objective(&mut self, objective: &Objective) {
        let points = match &objective.pool_ref {
            Ok(to) => match to.group {
                Some(group) => format!("{} ({group})", to.name),
                None => to.name.to_string(),
            },
            Err(error) => error.to_string(),
        };
        let state = if objective.pool_ref.is_ok() { State::Idle } else { State::Refused };
        let key = Key::Objective(objective.name.to_string(), points.clone());
        let node = self.node(key, || {
            let node = Node::new(Column::Objective, objective.name.as_str(), state);
            let line = objective.pool_ref.as_ref().map_or(points.clone(), |to| format!("pool {}", to.name));
            node.line(line).fact("points to pool", points)
        });
        let group = format!("{}/{}", objective.group.as_str(), objective.group.version());
        self.nodes[node].facts.push((SERVED_IN, group));
        if objective.deleting {
            self.nodes[node].state = State::Pending;
            self.nodes[node].facts.push(("state", "being deleted; counts as not found".to_owned()));
        }
        self.objectives.insert((objective.name.clone(), objective.group), node);
        if let Ok(to) = &objective.pool_ref {
            let groups = to.group.map_or(PoolGroup::ALL.to_vec(), |group| vec![group]);
            let found = groups.iter().find_map(|group| self.pools.get(&(to.name.clone(), *group)).copied());
            let pool = found.unwrap_or_else(|| self.missing_pool(&to.name));
            self.pool_of.insert(node, pool);
            self.between(pool, node, Link::Nothing, "no binding makes an identity of it");
        }
    }

    pub(super) fn missing_pool(&mut self, name: &ObjectName) -> usize {
        self.node(Key::Pool(name.to_string(), String::new()), || {
            Node::new(Column::Pool, name.as_str(), State::Missing)
                .line("not found")
                .fact("state", "named by another object, and not there")
        })
    }

    pub(super) fn output(&mut self, output: &Output) -> usize {
        self.node(Key::Output(output.name.clone()), || {
            let ours = output.binding.is_some();
            let state = match (&output.ignored, ours) {
                (Some(_), _) => State::Idle,
                (None, true) => State::Fine,
                (None, false) => State::Foreign,
            };
            let class =
                output.class_name.as_ref().map_or("no class".to_owned(), |class| format!("class {class}"));
            let line = match (ours, &output.instance, output.fallback) {
                (true, ..) => class,
                (false, Some(instance), _) => format!("of Kleym instance {instance}"),
                (false, None, true) => "foreign, fallback".to_owned(),
                (false, None, false) => "foreign".to_owned(),
            };
            let mut node = Node::new(Column::Output, output.name.as_str(), state)
                .line(line)
                .fact("gives", output.spiffe_id.as_str())
                .fact("class", output.class_name.as_deref().unwrap_or("none"));
            if output.fallback {
                node = node.fact("fallback", "only pods that no other output gives an entry");
            }
            node.facts.extend(output.facts.iter().cloned());
            if let Some(ignored) = &output.ignored {
                node = node.fact("ignored", ignored.as_str());
            }
            node
        })
    }

    pub(super) fn any_output(&mut self, name: &str) -> usize {
        match self.outputs.get(name).copied() {
            Some(output) => self.output(output),
            None => {
                self.node(Key::Output(name.to_owned()), || Node::new(Column::Output, name, State::Foreign))
            }
        }
    }

    pub(super) fn identity(&mut self, spiffe_id: &str, state: State) -> usize {
        let node = self.node(Key::Identity(spiffe_id.to_owned()), || {
            Node::new(Column::Identity, spiffe_id, state).fact("SPIFFE ID", spiffe_id)
        });
        if state == State::Fine || self.nodes[node].state == State::Idle {
            self.nodes[node].state = state;
        }
        node
    }
}

fn in_words(labels: &Labels) -> String {
    let labels: Vec<String> =
        labels.iter().map(|(key, value)| format!("{}={}", key.as_str(), value.as_str())).collect();
    labels.join(", ")
}
