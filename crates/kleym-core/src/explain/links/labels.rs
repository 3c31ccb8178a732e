//! The pod's labels: does the pool select it, and when no pool does, which comes nearest.

mod members;
mod purpose;
mod twin;

pub(super) use self::members::{in_words, workload};
pub(super) use self::purpose::is_written;

use std::cmp::Reverse;

use super::super::chain::{Evidence, Link, LinkKind};
use super::super::{read, role};
use super::{Subject, number, own_labels, pod_object, selects, shown};
use crate::fact::Pool;
use crate::label::Labels;
use crate::refusal::Refusal;
use crate::report::{Code, Finding};
use crate::resolve::Resolved;
use crate::spire::Pod;
use crate::text::{Quoted, quoted_list};

/// The most pools that are listed beside the nearest.
const OTHERS: usize = 5;

/// Of a pod that serves no model.
const NOTHING_TO_DO: &str = "any other pod has nothing to do with pools, nor with Kleym";

/// How far a pool's selector is from a pod's labels.
struct Distance<'a> {
    /// Labels that the pod has as the pool wants them.
    shared: Vec<String>,
    /// Labels that the pod has with another value: the pod's, and the pool's.
    others: Vec<(String, String)>,
    /// Labels that the pod has not.
    lacks: Vec<String>,
    /// Whether pods of the same workload are in the pool.
    siblings: bool,
    pool: &'a Pool,
    labels: &'a Labels,
}

impl<'a> Distance<'a> {
    fn of(pod: &Pod, pool: &'a Pool, labels: &'a Labels) -> Self {
        let (shared, others, lacks) = (Vec::new(), Vec::new(), Vec::new());
        let mut distance = Self { shared, others, lacks, siblings: false, pool, labels };
        for (key, value) in labels.iter() {
            let wanted = format!("{}={}", key.as_str(), value.as_str());
            match pod.labels.get(key.as_str()) {
                None => distance.lacks.push(wanted),
                Some(own) if **own == *value.as_str() => distance.shared.push(wanted),
                Some(own) => distance.others.push((format!("{}={own}", key.as_str()), wanted)),
            }
        }
        distance
    }

    /// One that others of the workload are in comes first, then the most labels in common, then the fewest that differ.
    fn order(&self) -> impl Ord + use<> {
        (!self.siblings, Reverse(self.shared.len()), Reverse(self.others.len()), self.lacks.len())
    }

    /// `it has `app=a` instead of `app=b`, and lacks `tier=gpu``
    fn in_words(&self) -> String {
        let mut parts: Vec<String> = self
            .others
            .iter()
            .map(|(own, wanted)| format!("has {} instead of {}", Quoted(own), Quoted(wanted)))
            .collect();
        if !self.lacks.is_empty() {
            parts.push(format!("lacks {}", quoted_list(self.lacks.iter().map(String::as_str))));
        }
        format!("it {}", parts.join(" and "))
    }

    /// The labels that the pod would need.
    fn needed(&self) -> String {
        let others = self.others.iter().map(|(_, wanted)| wanted.as_str());
        others.chain(self.lacks.iter().map(String::as_str)).collect::<Vec<_>>().join(",")
    }

    /// Whether a pod with those labels is no longer in a pool that selects it now.
    fn leaves(&self, pool: &Pool) -> bool {
        let needed = || self.labels.iter();
        pool.labels.as_ref().is_ok_and(|labels| {
            labels.iter().any(|(key, value)| {
                needed().any(|(other, theirs)| {
                    other.as_str() == key.as_str() && theirs.as_str() != value.as_str()
                })
            })
        })
    }

    fn selector(&self) -> Evidence {
        Evidence::new(pool_object(self.pool), "spec.selector", shown(self.labels))
    }
}

fn pool_object(pool: &Pool) -> String {
    format!("InferencePool {}/{}", pool.namespace, pool.name)
}

/// Where the labels of a pod come from: `in the template of Deployment `llama``; empty for a pod that nothing owns.
pub(super) fn in_its_template(pod: &Pod) -> String {
    let workload = workload(pod).map(in_words);
    workload.map(|workload| format!(" in the template of {workload}")).unwrap_or_default()
}

impl<'a> Subject<'a> {
    pub(super) fn labels(&self) -> Link {
        match self.pod {
            Some((_, pod)) => self.labels_of(pod),
            None => self.labels_of_pods(),
        }
    }

    fn labels_of(&self, pod: &Pod) -> Link {
        let kind = LinkKind::Labels;
        let read = Evidence::new(pod_object(pod), "metadata.labels", own_labels(pod));
        if let Some(resolved) = self.resolution() {
            if selects(&resolved.pool.labels, pod) {
                let pool = Evidence::new(
                    format!("InferencePool {}/{}", self.namespace(), resolved.pool.name),
                    "spec.selector",
                    shown(&resolved.pool.labels),
                );
                return Link::holds(kind, shown(&resolved.pool.labels)).read([read, pool]);
            }
            return self.not_in(pod, resolved, read);
        }
        let own = self.own_pools(pod);
        if let Some(labels) = own.first().and_then(|pool| pool.labels.as_ref().ok()) {
            return Link::holds(kind, shown(labels)).read([read]);
        }
        // A refused selector cannot be compared; the pool's link says why.
        if matches!(self.refusal(), Some(Refusal::PoolSelector { .. })) {
            return Link::unseen(kind, "the pool's selector is refused, so it cannot be compared")
                .read([read]);
        }
        self.in_no_pool(pod, read)
    }

    /// A pod that is not in the pool to which the binding leads.
    fn not_in(&self, pod: &Pod, resolved: &Resolved, own: Evidence) -> Link {
        let kind = LinkKind::Labels;
        let (name, group) = (&resolved.pool.name, resolved.pool_group);
        let Some(pool) = self.scene.index.pool(self.namespace(), name, group) else {
            let message = format!("pod `{}` is not in pool `{name}`", pod.name);
            return Link::ends(kind, self.pod_finding(Code::PodNotInPool, message, String::new()))
                .read([own]);
        };
        let distance = Distance::of(pod, pool, &resolved.pool.labels);
        let (template, needed) = (in_its_template(pod), distance.needed());
        let Some(twin) = self.twin(pod) else {
            let message = format!("pod `{}` is not in pool `{name}`: {}", pod.name, distance.in_words());
            let hint = self.way_into(pod, &distance, "the pool's selector");
            let mut finding = self.pod_finding(Code::PodNotInPool, message, hint);
            if let Some(binding) = self.binding
                && let Some(id) = self.given_still()
            {
                let leads = match &resolved.objective {
                    Some((objective, _)) => format!("InferenceObjective `{objective}`"),
                    None => format!("`{}`", binding.key),
                };
                let until = format!(
                    "it gives this pod {} until kleym-operator has written it anew ({})",
                    Quoted(id),
                    Code::OutputDrifted
                );
                if self.own_pools(pod).is_empty() {
                    finding.note = Some(format!(
                        "the output of `{}` is from before the selector of the pool was changed, or the target: {until}",
                        binding.key
                    ));
                    return Link::ends(kind, finding).read([own, distance.selector()]);
                }
                finding.note = Some(format!(
                    "the output of `{}` is from before the binding led to `{name}`: {until}",
                    binding.key
                ));
                let keep = format!(
                    "if the pod is to keep that, let {leads} lead to a pool that selects it{}",
                    self.in_own_pools(pod)
                );
                // Labels by which it leaves the pool that it is in are no help, nor are those that nobody sets by hand.
                let leaves = self.own_pools(pod).iter().any(|own| distance.leaves(own));
                finding.hint = Some(match leaves || !distance.written().is_empty() {
                    true => keep,
                    false => format!("{keep}, or label the pod{template} ({needed})"),
                });
            }
            return Link::ends(kind, finding).read([own, distance.selector()]);
        };
        self.in_the_twin(pod, resolved, &distance, twin, own)
    }

    /// The pools that select the pod, in brackets: ` (`llama`)`.
    fn in_own_pools(&self, pod: &Pod) -> String {
        let own = self.own_pools(pod);
        let names = quoted_list(own.iter().map(|pool| pool.name.as_str()));
        if own.is_empty() { String::new() } else { format!(" ({names})") }
    }

    /// The pools of the namespace, one of each name and selector.
    fn distinct_pools(&self) -> Vec<&'a Pool> {
        let mut pools: Vec<&Pool> = self.pools().collect();
        pools.sort_by(|a, b| (&a.name, a.group).cmp(&(&b.name, b.group)));
        pools.dedup_by(|a, b| a.name == b.name && a.labels.is_ok() && a.labels == b.labels);
        pools
    }

    /// A pod that no pool selects: how far it is from the nearest, and which others there are.
    fn in_no_pool(&self, pod: &Pod, own: Evidence) -> Link {
        let kind = LinkKind::Labels;
        let pools = self.distinct_pools();
        let mut near: Vec<Distance<'_>> = pools
            .iter()
            .copied()
            .filter_map(|pool| Some((pool, pool.labels.as_ref().ok()?)))
            .map(|(pool, labels)| Distance {
                siblings: self.has_siblings(pod, labels),
                ..Distance::of(pod, pool, labels)
            })
            .collect();
        near.sort_by_key(|distance| (distance.order(), distance.pool.name.clone()));
        let refused = pools.iter().filter_map(|pool| {
            let error = pool.labels.as_ref().err()?;
            Some(Evidence::new(pool_object(pool), "spec.selector", format!("refused: {error}")))
        });
        let refused: Vec<Evidence> = refused.take(OTHERS).collect();
        let Some((nearest, others)) = near.split_first() else {
            if self.binding.is_some() {
                let why = "no InferencePool whose selector could be compared";
                return Link::unseen(kind, why).read([own]).read(refused);
            }
            if refused.is_empty() {
                let finding = self.pointed_at_by_nothing(pod);
                return Link::ends(kind, finding).read([own]).read(self.what_there_is(pod));
            }
            let message = format!(
                "no InferencePool of namespace `{}` selects pod `{}`: no selector of one can be proved safe",
                pod.namespace, pod.name
            );
            let hint = "correct the selectors of the pools".to_owned();
            let finding = self.pod_finding(Code::PodNotInPool, message, hint);
            return Link::ends(kind, finding).read([own]).read(refused);
        };
        if let Some((finding, pool)) = self.on_purpose(pod, nearest) {
            let selector = if let Some(pool) = pool { pool.selector() } else { nearest.selector() };
            return Link::ends(kind, finding).read([own, selector]);
        }
        if nearest.shared.is_empty() && role::of(pod).is_some() {
            let finding = self.pointed_at_by_nothing(pod);
            return Link::ends(kind, finding).read([own, nearest.selector()]);
        }
        let (message, hint) = self.not_selected(pod, nearest, others);
        let mut finding = self.pod_finding(Code::PodNotInPool, message, hint);
        if others.len() > OTHERS {
            finding.note = Some(format!("there are {} more pools", others.len() - OTHERS));
        }
        Link::ends(kind, finding)
            .read([own, nearest.selector()])
            .read(others.iter().take(OTHERS).map(Distance::selector))
            .read(refused)
    }

    /// A pod that no pool, objective or binding has anything to do with, and need not have.
    fn pointed_at_by_nothing(&self, pod: &Pod) -> Finding {
        let (message, condition) = match role::of(pod) {
            Some(role) => (
                format!("nothing points at pod `{}`: it runs {role}, and serves no model", pod.name),
                "nothing is to be done, unless it serves a model after all: then",
            ),
            None => (
                format!(
                    "nothing points at pod `{}`: namespace `{}` has no InferencePool",
                    pod.name, pod.namespace
                ),
                "if it serves a model,",
            ),
        };
        let hint = format!(
            "{condition} it takes an InferencePool of namespace `{}` that selects it, and a binding; any other pod has its identity from somebody else's ClusterSPIFFEID",
            pod.namespace
        );
        let code = if role::of(pod).is_some() { Code::OutsideOnPurpose } else { Code::PodNotInPool };
        let mut finding = self.pod_finding(code, message, hint);
        let elsewhere = self.scene.index.pools().filter(|pool| {
            pool.namespace != pod.namespace && pool.labels.as_ref().is_ok_and(|labels| selects(labels, pod))
        });
        let elsewhere: Vec<String> =
            elsewhere.take(OTHERS).map(|pool| format!("{}/{}", pool.namespace, pool.name)).collect();
        if !elsewhere.is_empty() {
            finding.note = Some(format!(
                "its labels are those that {} would select, but a pool reaches the pods of its own namespace alone",
                quoted_list(elsewhere.iter().map(String::as_str))
            ));
        }
        finding
    }

    /// The pools and the bindings of the pod's namespace.
    fn what_there_is(&self, pod: &Pod) -> [Evidence; 2] {
        let pools = Evidence::new(format!("namespace {}", pod.namespace), "InferencePools", "<none>");
        [pools, read::bindings(self.scene.index, &pod.namespace)]
    }

    /// What is wrong, and what to do. No pool is blamed that others are as near as.
    fn not_selected(&self, pod: &Pod, nearest: &Distance<'_>, others: &[Distance<'_>]) -> (String, String) {
        let template = in_its_template(pod);
        if others.is_empty() {
            let message =
                format!("pod `{}` is not in pool `{}`: {}", pod.name, nearest.pool.name, nearest.in_words());
            let way = self.way_into(pod, nearest, "the pool's selector");
            // A pool that has pods is likely not short of one that has nothing in common with them.
            let a_stranger = nearest.shared.is_empty() && !nearest.siblings;
            if a_stranger && !self.pods_in(nearest.labels).is_empty() {
                let hint = format!("if it serves the pool's model, {way}; {NOTHING_TO_DO}");
                return (message, hint);
            }
            return (message, way);
        }
        let as_near = others.iter().filter(|other| other.order() == nearest.order());
        let as_near: Vec<&Distance<'_>> = std::iter::once(nearest).chain(as_near).collect();
        if nearest.shared.is_empty() && !nearest.siblings {
            let names = std::iter::once(nearest).chain(others).map(|one| one.pool.name.as_str());
            let message = format!(
                "pod `{}` is in no pool of namespace `{}`: it has no label that {} select",
                pod.name,
                pod.namespace,
                quoted_list(names)
            );
            let hint = format!(
                "if it serves a model, label the pod{template} as the pool selects that it is meant for, whose requests go to it then{}; {NOTHING_TO_DO}",
                self.or_correct(std::iter::once(nearest).chain(others))
            );
            return (message, hint);
        }
        if as_near.len() > 1 {
            let each = as_near.iter().take(OTHERS);
            let each: Vec<String> =
                each.map(|one| format!("`{}` ({})", one.pool.name, one.in_words())).collect();
            let message =
                format!("pod `{}` is in no pool; as near as each other are {}", pod.name, each.join(", "));
            let hint = format!(
                "label the pod{template} as the one selects that it is meant for, whose requests go to it then{}",
                self.or_correct(as_near.iter().copied())
            );
            return (message, hint);
        }
        let message = format!(
            "pod `{}` is in no pool; the nearest is `{}`: {}",
            pod.name,
            nearest.pool.name,
            nearest.in_words()
        );
        let its = format!("the selector of pool `{}`", nearest.pool.name);
        (message, self.way_into(pod, nearest, &its))
    }

    fn labels_of_pods(&self) -> Link {
        let kind = LinkKind::Labels;
        let Some(resolved) = self.resolution() else {
            let why = if self.leads_apart() {
                "the target leads to several pools"
            } else {
                "no pool to take them from"
            };
            return Link::unseen(kind, why);
        };
        let labels = shown(&resolved.pool.labels);
        if !self.scene.pods_known {
            return Link::unseen(kind, format!("{labels}; {}", self.no_pods()));
        }
        let pods = self.pods_in(&resolved.pool.labels).len();
        let twin = self.namesake(resolved);
        let pool = format!("InferencePool {}/{}", self.namespace(), resolved.pool.name);
        let read = Evidence::new(pool, "spec.selector", labels.clone());
        let selected = self.binding.zip(self.identity());
        let selected = selected.map(|(binding, identity)| {
            let selected = self.scene.selected(&binding.key, identity);
            let others = identity.selectors.pod_labels();
            let others: Vec<String> = others.map(|(key, value)| format!("{key}={value}")).collect();
            (selected.iter().filter(|pod| !pod.phase.ended()).count(), others)
        });
        if let Some((selected, mut wanted)) = selected.filter(|(selected, _)| (1..pods).contains(selected)) {
            let of_pool: Vec<String> =
                resolved.pool.labels.iter().map(|(k, v)| format!("{}={}", k.as_str(), v.as_str())).collect();
            wanted.retain(|label| !of_pool.contains(label));
            let says = format!(
                "{labels}: {}, of which {selected} {} {} too, which the binding selects; the other {} no identity of it",
                number(pods, "pod", "pods"),
                if selected == 1 { "has" } else { "have" },
                wanted.join(","),
                number(pods - selected, "pod gets", "pods get")
            );
            return Link::holds(kind, says).read([read]);
        }
        if pods > 0 {
            return Link::holds(kind, format!("{labels}: {}", number(pods, "pod", "pods"))).read([read]);
        }
        let namespace = self.namespace();
        if !self.scene.pods_complete {
            // A file may hold one pod and leave the others to controllers.
            return Link::unseen(kind, format!("{labels}: no pod of the files has them")).read([read]);
        }
        if self.refusal().is_some() {
            // Why it is refused has nothing to do with pods, and is what is to be mended first.
            return Link::unseen(kind, format!("{labels}: no pod has them")).read([read]);
        }
        let pool = self.scene.index.pool(namespace, &resolved.pool.name, resolved.pool_group);
        let nearest = pool.filter(|_| twin.is_none()).and_then(|pool| {
            let labels = pool.labels.as_ref().ok()?;
            self.nearest_pod(pool, labels)
        });
        let but = match (twin, &nearest) {
            (Some(_), _) => format!(" of pool `{}` of `{}`", resolved.pool.name, resolved.pool_group),
            (None, Some((pod, distance))) => {
                format!("; the nearest is pod `{}`: {}", pod.name, distance.in_words())
            }
            (None, None) => String::new(),
        };
        let message = format!("no pod of namespace `{namespace}` has the labels {}{but}", Quoted(&labels));
        let first = nearest.as_ref().map(|(pod, _)| *pod);
        let there = self.scene.world.pods.iter().filter(|pod| pod.namespace == *namespace);
        let there =
            there.filter(|pod| !pod.phase.ended() && !first.is_some_and(|one| std::ptr::eq(one, *pod)));
        let others = first.into_iter().chain(there).take(OTHERS);
        let others = others.map(|pod| Evidence::new(pod_object(pod), "metadata.labels", own_labels(pod)));
        let others: Vec<Evidence> = others.collect();
        let hint = match (&nearest, self.question.live) {
            (Some((pod, distance)), _) => self.way_into(pod, distance, "the pool's selector"),
            (None, true) => format!(
                "label the pods that serve the model so, or correct the pool's selector; if they are scaled to none, nothing else is wrong: see `kubectl get pods -n {namespace} --show-labels`"
            ),
            (None, false) if others.is_empty() => format!(
                "give the files of the pods of namespace `{namespace}` too; if there are none, scale the workload up"
            ),
            (None, false) => format!(
                "label the pods that serve the model ({labels}), or correct the pool's selector; if they are scaled to none, nothing else is wrong"
            ),
        };
        let finding = self.pod_finding(Code::NoPodSelected, message, hint);
        let (mut finding, read) = match twin {
            Some(twin) => self.of_the_twin(finding, resolved, twin),
            None => (finding, vec![read]),
        };
        let elsewhere = self.scene.world.pods.iter().filter(|pod| {
            pod.namespace != *namespace && selects(&resolved.pool.labels, pod) && !pod.phase.ended()
        });
        let elsewhere: Vec<String> = elsewhere.take(OTHERS).map(Pod::path).collect();
        if !elsewhere.is_empty() && finding.note.is_none() {
            finding.note = Some(format!(
                "{} of other namespaces have them, but a pool reaches the pods of its own namespace alone",
                quoted_list(elsewhere.iter().map(String::as_str))
            ));
        }
        Link::ends(kind, finding).read(read).read(others)
    }
}
