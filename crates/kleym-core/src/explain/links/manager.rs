//! What spire-controller-manager makes of the output.

use super::super::chain::{Evidence, Link, LinkKind, Mark};
use super::super::process::NotLoaded;
use super::super::{agent, operator};
use super::{Subject, number, own_labels, pod_object};
use crate::fact::Binding;
use crate::report::{Agents, Called, Code, Finding, TRUST_DOMAIN_FLAG, no_entry, poison, reported, watched};
use crate::spire::{Failure, Manager, Pod, Problem, Selector, Why};
use crate::text::Quoted;

/// The most nodes that are named.
const SHOWN: usize = 5;

impl Subject<'_> {
    pub(super) fn manager_read(&self, manager: &Manager, field: &str, value: String) -> Evidence {
        Evidence::new((self.question.manager_at)(manager, field), field, value)
    }

    /// Why SCM does not look at the output. Which operator is to be started anew is asked for only where that matters.
    pub(super) fn unwatched(&self, binding: &Binding) -> impl Iterator<Item = Finding> {
        let plain = Called::of(self.scene.index.settings_in(&binding.key.namespace));
        let mut found = watched(self.scene, binding, &plain);
        // What is wrong with a namespace is mended in SCM's settings alone.
        let of_namespace = [Code::NamespaceIgnored, Code::NamespaceNotRead];
        if found.iter().any(|finding| !of_namespace.contains(&finding.code)) {
            found = watched(self.scene, binding, &operator::called(self.question, &binding.key.namespace));
        }
        found.into_iter()
    }

    pub(super) fn manager(&self) -> Link {
        let kind = LinkKind::Manager;
        let (Some(binding), Some((place, _))) =
            (self.binding, self.binding.and_then(|b| self.scene.fate(&b.key)))
        else {
            return Link::unseen(kind, "no output to look at");
        };
        if let Some(mut finding) = poison(self.scene) {
            if !self.question.live {
                let hint = "delete it from the cluster, and do not patch it, for an update waits for the webhook of spire-controller-manager, which does not come up while it is there; where it comes from, write its durations as `1h30m`, a day as `24h`";
                finding.hint = Some(hint.to_owned());
            }
            let at_fault = self.scene.prediction.poison.iter().filter_map(|place| {
                let object = self.scene.object(*place);
                let Some(Problem::Poison { field, value }) = &object.problem else { return None };
                Some(Evidence::new(format!("ClusterSPIFFEID {}", object.name), &**field, &**value))
            });
            return Link::ends(kind, finding).read(at_fault);
        }
        let manager = self.scene.world.manager_of(self.scene.object(place));
        if let Some(finding) = self.unwatched(binding).find(|finding| finding.code != Code::ClassNotWatched) {
            let stats = self.scene.output(&binding.key).and_then(|live| live.stats);
            let selected = stats.filter(|_| finding.code == Code::NamespaceNotRead).map(|stats| {
                let object = format!("ClusterSPIFFEID {}", self.scene.object(place).name);
                Evidence::new(object, "status.stats.podsSelected", stats.pods_selected.to_string())
            });
            let read = match finding.code {
                Code::NamespaceIgnored => {
                    let patterns = manager.ignored.iter().flatten().map(|pattern| pattern.pattern());
                    self.manager_read(manager, "ignoreNamespaces", patterns.collect::<Vec<_>>().join(", "))
                }
                Code::NamespaceNotRead => {
                    let names = manager.cached.iter().flatten().map(|name| &**name);
                    self.manager_read(manager, "cacheNamespaces", names.collect::<Vec<_>>().join(", "))
                }
                _ => self.manager_read(
                    manager,
                    "trustDomain",
                    manager.trust_domain.as_deref().unwrap_or_default().to_owned(),
                ),
            };
            let differs = finding.code == Code::TrustDomainDiffers;
            let theirs = differs
                .then(|| operator::setting(self.question, &binding.key.namespace, TRUST_DOMAIN_FLAG))
                .flatten();
            return Link::ends(kind, finding).read([read]).read(theirs).read(selected);
        }
        let object = format!("ClusterSPIFFEID {}", self.scene.object(place).name);
        if let Some(finding) = reported(self.scene, binding).filter(|f| f.code == Code::EntryFailures) {
            let stats = self.scene.output(&binding.key).and_then(|live| live.stats);
            let failures = stats.map_or(0, |stats| stats.entry_failures);
            return Link::ends(kind, finding).read([Evidence::new(
                object,
                "status.stats.entryFailures",
                failures.to_string(),
            )]);
        }
        let stats = self.scene.output(&binding.key).and_then(|live| live.stats).map(|stats| {
            format!(
                "; last reported: {} selected, {} to set",
                number(usize::try_from(stats.pods_selected).unwrap_or(0), "pod", "pods"),
                stats.entries_to_set
            )
        });
        let stats = stats.unwrap_or_default();
        if let Some(link) = self.contradicted(binding, place, &object) {
            return link;
        }
        if let Some(link) = self.hidden(binding, place) {
            return link;
        }
        match self.pod {
            Some((index, pod)) => self.entry_of(place, index, pod, &stats),
            None => self.entries(place, &stats),
        }
    }

    /// Entries are foreseen, and what SCM last reported says that there are none.
    fn contradicted(&self, binding: &Binding, place: usize, object: &str) -> Option<Link> {
        let mut entries = self.scene.prediction.entries_by(place).iter();
        let foreseen = match self.pod {
            Some((index, _)) => entries.any(|entry| entry.pod == index),
            None => entries.next().is_some(),
        };
        let stats = self.scene.output(&binding.key)?.stats?;
        let none = stats.entries_to_set == 0 && stats.entries_masked == 0 && stats.entry_failures == 0;
        if !foreseen || !none {
            return None;
        }
        if stats.pods_selected == 0 && stats.namespaces_ignored > 0 {
            return Some(self.still_ignored(place, object, stats.namespaces_ignored));
        }
        let (code, field, value, why, hint) = if stats.pods_selected > 0 {
            (
                Code::EntryNotRendered,
                "status.stats.podEntryRenderFailures",
                stats.pod_entry_render_failures,
                "selects pods for the output and sets no entry",
                "see the log of spire-controller-manager: a trust domain that is not its own looks like this",
            )
        } else {
            (
                Code::NoPodSelected,
                "status.stats.podsSelected",
                stats.pods_selected,
                "selects no pod for the output",
                "see that spire-controller-manager runs and reads these pods: its report may be older than they are",
            )
        };
        let message = format!(
            "spire-controller-manager reports that it {why}, though by what was read there would be an entry"
        );
        let read = Evidence::new(object, field, value.to_string());
        Some(Link::ends(LinkKind::Manager, self.pod_finding(code, message, hint.to_owned())).read([read]))
    }

    /// SCM ignores the namespace, and by what was read, typed or assumed it does not.
    fn still_ignored(&self, place: usize, object: &str, ignored: i64) -> Link {
        let setting = "ignoreNamespaces";
        let manager = self.scene.world.manager_of(self.scene.object(place));
        let reports = "spire-controller-manager reports that it selects no pod for the output and ignores its namespace";
        let stats = Evidence::new(object, "status.stats.namespacesIgnored", ignored.to_string());
        let Some(not_loaded) = NotLoaded::of(self.question, manager, setting) else {
            let message = format!("{reports}, though by what was read there would be an entry");
            let hint = "see `ignoreNamespaces` of the spire-controller-manager that runs: it is not what was read or typed here";
            let finding = self.pod_finding(Code::NoPodSelected, message, hint.to_owned());
            return Link::ends(LinkKind::Manager, finding).read([stats]);
        };
        let NotLoaded { read, at, why, hint, .. } = not_loaded;
        let message = format!("{reports}, though no pattern of `{setting}` in {at} matches it{why}");
        let patterns = manager.ignored.iter().flatten().map(|pattern| pattern.pattern());
        let patterns = patterns.collect::<Vec<_>>().join(", ");
        Link::ends(LinkKind::Manager, self.pod_finding(Code::NoPodSelected, message, hint))
            .read([stats, self.manager_read(manager, setting, patterns)])
            .read(read)
    }

    /// What there will be for one pod.
    fn entry_of(&self, place: usize, index: usize, pod: &Pod, stats: &str) -> Link {
        let kind = LinkKind::Manager;
        let prediction = self.scene.prediction;
        if let Some(failure) = prediction.failures_by(place).iter().find(|failure| failure.pod == index) {
            return self.without_entry(failure);
        }
        match prediction.entries_by(place).iter().find(|entry| entry.pod == index) {
            Some(entry) => match entry.masked_by {
                Some(by) => Link::holds(
                    kind,
                    format!(
                        "the same entry is made by the older {}{stats}",
                        Quoted(&self.scene.object(by).name)
                    ),
                ),
                None if pod.phase.ended() => Link::holds(
                    kind,
                    format!("its entry stays until the pod is deleted, and nobody is left to use it{stats}"),
                ),
                None => {
                    let served = self.served(pod, format!("an entry for this pod is foreseen{stats}"));
                    let holds = served.mark == Mark::Holds;
                    let link = if holds { self.without_socket(place, index) } else { None };
                    link.unwrap_or(served)
                }
            },
            None => {
                let message = format!(
                    "spire-controller-manager makes no entry for pod `{}` from {}: it does not select it",
                    pod.name,
                    Quoted(&self.scene.object(place).name)
                );
                self.nothing_selected(place, message).read([Evidence::new(
                    pod_object(pod),
                    "metadata.labels",
                    own_labels(pod),
                )])
            }
        }
    }

    /// An entry is served by the agent on the pod's node: where agents were seen, and none there, that is the end.
    fn served(&self, pod: &Pod, says: String) -> Link {
        let agents = Agents::of(self.scene);
        if let Some(agent) = agents.unready(pod) {
            return self.unready(pod, agent);
        }
        match agents.only_elsewhere(pod) {
            Some(elsewhere) if !elsewhere.is_known() => {
                Link::unseen(LinkKind::Manager, elsewhere.message()).read(agent::read(&elsewhere))
            }
            Some(elsewhere) => {
                let finding = self.pod_finding(Code::AgentMissing, elsewhere.message(), elsewhere.hint());
                Link::ends(LinkKind::Manager, finding).read(agent::read(&elsewhere))
            }
            None => Link::holds(LinkKind::Manager, says),
        }
    }

    /// The agent is there and does not work.
    fn unready(&self, pod: &Pod, agent: &Pod) -> Link {
        let node = Quoted(pod.node_name.as_deref().unwrap_or_default()).to_string();
        let message = format!(
            "SPIRE's agent on node {node} of pod `{}` is not ready, and without it there is no SVID",
            pod.name
        );
        let hint = match self.question.live {
            true => format!(
                "`kubectl describe pod {name} -n {space}` and `kubectl logs {name} -n {space}` say why",
                name = agent.name,
                space = agent.namespace
            ),
            false => format!("see why in the status and the log of pod `{}`", agent.path()),
        };
        let read = [
            Evidence::new(pod_object(pod), "spec.nodeName", pod.node_name.as_deref().unwrap_or_default()),
            Evidence::new(pod_object(agent), "status.conditions[Ready]", "False"),
        ];
        Link::ends(LinkKind::Manager, self.pod_finding(Code::AgentMissing, message, hint)).read(read)
    }

    /// The same of all pods of a binding that have an entry.
    fn unserved(&self, place: usize) -> Option<Link> {
        let agents = Agents::of(self.scene);
        let entries = self.scene.prediction.entries_by(place).iter();
        let mut pods =
            entries.map(|entry| &self.scene.world.pods[entry.pod]).filter(|pod| !pod.phase.ended());
        if let Some((pod, agent)) = pods.find_map(|pod| Some((pod, agents.unready(pod)?))) {
            return Some(self.unready(pod, agent));
        }
        let (first, message) = Agents::of(self.scene).unserved(place)?;
        if !first.is_known() {
            return Some(Link::unseen(LinkKind::Manager, message).read(agent::read(&first)));
        }
        let finding = self.pod_finding(Code::AgentMissing, message, first.hint());
        Some(Link::ends(LinkKind::Manager, finding).read(agent::read(&first)))
    }

    /// What there will be for all pods of a binding.
    fn entries(&self, place: usize, stats: &str) -> Link {
        let kind = LinkKind::Manager;
        if !self.scene.pods_known {
            return Link::unseen(kind, format!("{}, so no entry can be foreseen{stats}", self.no_pods()));
        }
        let prediction = self.scene.prediction;
        let (entries, failures) = (prediction.entries_by(place).len(), prediction.failures_by(place));
        let pending = failures.iter().filter(|failure| failure.why == Why::Unscheduled).count();
        if entries == 0 {
            // What is wrong comes before what only waits.
            let wrong = failures.iter().find(|failure| failure.why != Why::Unscheduled);
            return match wrong.or(failures.first()) {
                Some(failure) => self.without_entry(failure),
                None if !self.scene.pods_complete => Link::unseen(
                    kind,
                    format!("no pod of the files has its labels, so no entry can be foreseen{stats}"),
                ),
                None => {
                    let object = Quoted(&self.scene.object(place).name);
                    self.nothing_selected(place, format!("no pod has the labels that {object} selects"))
                }
            };
        }
        let without = match (pending, failures.len() - pending) {
            (0, 0) => String::new(),
            (pending, 0) => format!("; {} on no node yet", number(pending, "pod is", "pods are")),
            (_, wrong) => format!("; none for {}", number(wrong, "other pod", "other pods")),
        };
        if let Some(link) = self.unserved(place) {
            return link;
        }
        Link::holds(kind, format!("{} foreseen{without}{stats}", number(entries, "entry", "entries")))
    }

    /// Why a pod that is selected gets no entry.
    fn without_entry(&self, failure: &Failure) -> Link {
        let pod = &self.scene.world.pods[failure.pod];
        let code = match &failure.why {
            Why::Unscheduled => Code::PodsPending,
            Why::NoNode(_) | Why::NoSpiffeId(_) | Why::TrustDomain(_) | Why::NoSelector(_) => {
                Code::EntryNotRendered
            }
        };
        let (message, hint) = no_entry(pod, &failure.why);
        let hint = match &failure.why {
            Why::Unscheduled if !self.question.live => {
                "see the conditions in its status, which say why it is not scheduled".to_owned()
            }
            Why::NoNode(_) if !self.question.live => "give the files of all nodes, or of none".to_owned(),
            _ => hint,
        };
        let node = pod.node_name.as_deref().unwrap_or("<none>");
        let nodes = self.scene.world.nodes.filter(|_| matches!(failure.why, Why::NoNode(_)));
        let nodes = nodes.map(|nodes| {
            let mut names: Vec<&str> = nodes.iter().take(SHOWN).map(|node| &*node.name).collect();
            if nodes.len() > SHOWN {
                names.push("...");
            }
            Evidence::new("Nodes", "metadata.name", names.join(", "))
        });
        Link::ends(LinkKind::Manager, self.pod_finding(code, message, hint))
            .read([Evidence::new(pod_object(pod), "spec.nodeName", node)])
            .read(nodes)
    }

    fn nothing_selected(&self, place: usize, message: String) -> Link {
        let object = self.scene.object(place);
        let rules = object.pods.iter().flat_map(Selector::rules).map(|rule| {
            let values: Vec<&str> = rule.values.iter().map(|value| &**value).collect();
            format!("{}={}", rule.key, values.join("|"))
        });
        let rules: Vec<String> = rules.collect();
        let hint = "compare the pods' labels with `spec.podSelector` of the output".to_owned();
        let selector =
            Evidence::new(format!("ClusterSPIFFEID {}", object.name), "spec.podSelector", rules.join(","));
        Link::ends(LinkKind::Manager, self.pod_finding(Code::NoPodSelected, message, hint)).read([selector])
    }
}
