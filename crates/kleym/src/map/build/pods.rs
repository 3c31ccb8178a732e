//! Pods, what each of their containers is given, and the outputs that give nobody anything.

use std::collections::BTreeSet;

use kleym_core::relation::compete;

use super::{Builder, Key};
use crate::map::fold::fold;
use crate::map::seen::{Grant, Pod};
use crate::map::{Column, End, Link, Node, State};

impl Builder<'_> {
    pub(super) fn pods(&mut self, pods: &[&Pod]) {
        for (number, group) in fold(pods.iter().copied()).into_iter().enumerate() {
            let Pod { service_account, labels, selected_by, containers, .. } = &group.like;
            let count = group.pods.len();
            let mut node = Node::new(Column::Pods, group.name.as_str(), State::Idle);
            node.pods = count;
            let many = if count == 1 { "1 pod".to_owned() } else { format!("{count} pods") };
            node.line = if group.owner.is_empty() { many } else { format!("{many} of {}", group.owner) };
            node = node.fact("service account", service_account.as_str());
            for (key, value) in labels.iter().filter(|(key, _)| key != "pod-template-hash") {
                node = node.fact("labels", format!("{key}={value}"));
            }
            const SHOWN: usize = 20;
            for pod in group.pods.iter().take(SHOWN) {
                node = node.fact("pods", pod.as_str());
            }
            if count > SHOWN {
                node = node.fact("pods", format!("and {} more", count - SHOWN));
            }
            node.containers = containers.iter().map(|given| given.container.clone()).collect();
            if containers.iter().any(|given| !given.granted.is_empty()) {
                node.state = State::Fine;
            }
            let here = self.node(Key::Pods(number), || node);
            let mut matched: BTreeSet<&str> = BTreeSet::new();
            for (container, given) in containers.iter().enumerate() {
                let end = End { node: here, container: Some(container) };
                for grant in &given.granted {
                    matched.insert(&grant.output);
                    let overlap = given.granted.iter().find(|other| self.excludes(grant, other));
                    self.grant(end, grant, overlap);
                }
                for lost in &given.displaced {
                    matched.insert(&lost.output);
                    let output = self.any_output(&lost.output);
                    let identity = self.identity(&lost.spiffe_id, State::Idle);
                    let by: Vec<String> = lost.by.iter().map(|by| self.in_words(by)).collect();
                    let why =
                        format!("{} stands aside, because {} serves the pod", lost.output, by.join(", "));
                    self.edge(end, End::node(identity), Some(output), Link::Displaced, why.clone());
                    self.edge(End::node(output), end, Some(output), Link::Displaced, why);
                }
            }
            for output in selected_by.iter().filter(|output| !matched.contains(output.as_str())) {
                let output = self.any_output(output);
                let why = "selects these pods, and none of their containers";
                self.between(output, here, Link::Nothing, why);
            }
        }
    }

    fn grant(&mut self, container: End, grant: &Grant, overlap: Option<&Grant>) {
        let output = self.any_output(&grant.output);
        let foreign = self.nodes[output].state == State::Foreign;
        let identity = self.identity(&grant.spiffe_id, if foreign { State::Foreign } else { State::Fine });
        let (link, why) = match overlap {
            None if grant.certain => (Link::Granted, String::new()),
            None => (Link::Granted, "as far as can be told from what was read".to_owned()),
            Some(other) => {
                let why = format!(
                    "{} gives {}, although {} gives the same container {}",
                    self.in_words(&grant.output),
                    grant.spiffe_id,
                    self.in_words(&other.output),
                    other.spiffe_id
                );
                (Link::Overlap, why)
            }
        };
        self.edge(End::node(output), container, Some(output), link, why.clone());
        self.edge(container, End::node(identity), Some(output), link, why);
    }

    /// Whether a container should not have both: another ID, and not two bindings that may be layered. Of a foreign
    /// output and one of Kleym's the foreign one is marked.
    fn excludes(&self, grant: &Grant, other: &Grant) -> bool {
        if grant.spiffe_id == other.spiffe_id {
            return false;
        }
        let identity = |grant: &Grant| {
            let binding = self.outputs.get(grant.output.as_str())?.binding.as_ref()?;
            let identity = self.index.identity(binding)?;
            (identity.spiffe_id.as_str() == grant.spiffe_id).then_some(identity)
        };
        match (identity(grant), identity(other)) {
            (Some(own), Some(other)) => compete(own, other),
            (Some(_), None) => false,
            (None, _) => true,
        }
    }

    /// An output, named after its binding when it has one.
    fn in_words(&self, output: &str) -> String {
        let binding = self.outputs.get(output).and_then(|output| output.binding.as_ref());
        binding.map_or_else(|| output.to_owned(), |binding| format!("binding {}", binding.name))
    }

    /// Outputs that give no container anything: where nobody looked for pods they are taken at their word, otherwise they
    /// match nothing.
    pub(super) fn without_pods(&mut self) {
        let giving: BTreeSet<usize> = self
            .edges
            .iter()
            .filter(|(_, (link, _))| matches!(link, Link::Granted | Link::Overlap | Link::Displaced))
            .filter_map(|((_, _, of), _)| *of)
            .collect();
        let selecting: BTreeSet<usize> = self
            .edges
            .keys()
            .filter(|(_, to, _)| self.nodes[to.node].column == Column::Pods)
            .map(|(from, ..)| from.node)
            .collect();
        let outputs: Vec<(usize, String)> = self
            .keys
            .iter()
            .filter_map(|(key, node)| match key {
                Key::Output(name) if !giving.contains(node) => Some((*node, name.clone())),
                _ => None,
            })
            .collect();
        for (node, name) in outputs {
            let Some(output) = self.outputs.get(name.as_str()).copied() else { continue };
            if output.binding.is_none() {
                continue;
            }
            let (link, state, why) = match &output.ignored {
                Some(why) => (Link::Nothing, State::Idle, why.clone()),
                None if self.pods_known => {
                    let why = if selecting.contains(&node) {
                        "no container of its pods matches its selectors"
                    } else {
                        "it selects no pod"
                    };
                    (Link::Nothing, State::Idle, why.to_owned())
                }
                None => (Link::Granted, State::Fine, String::new()),
            };
            let identity = self.identity(&output.spiffe_id, state);
            self.between(node, identity, link, why);
        }
    }
}
