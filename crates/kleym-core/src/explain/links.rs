//! Each link: what it says, what was read for it, and what breaks it.

use super::chain::{Chain, Evidence, Link, LinkKind};
use super::{Question, differs, ending};
use crate::fact::{Binding, Pool};
use crate::index::Verdict;
use crate::kind::PoolGroup;
use crate::label::Labels;
use crate::refusal::{Reason, Refusal};
use crate::render::Identity;
use crate::report::{
    Code, Finding, Reference, Scene, Standing, binding_key, output, poison, refused, reported, watched,
    workloads,
};
use crate::resolve::{Halt, Resolved};
use crate::spire::{Answer, Pod, Why, item_matches};
use crate::text::{Quoted, quoted_list};

/// What one chain is about.
struct Subject<'a> {
    question: &'a Question<'a>,
    scene: &'a Scene<'a>,
    pod: Option<(usize, &'a Pod)>,
    binding: Option<&'a Binding>,
    resolved: Option<Result<Resolved, Halt>>,
    verdict: Verdict,
}

/// The chain of a pod, a binding, or a pod through a binding.
pub(super) fn chain(question: &Question<'_>, pod: Option<usize>, binding: Option<&Binding>) -> Chain {
    let scene = &question.scene;
    let subject = Subject {
        question,
        scene,
        pod: pod.map(|pod| (pod, &scene.world.pods[pod])),
        binding,
        resolved: binding.and_then(|binding| scene.index.resolved(&binding.key)),
        verdict: binding.map_or(Verdict::Gone, |binding| scene.index.verdict(&binding.key).verdict),
    };
    let links = LinkKind::ALL.into_iter().map(|kind| match kind {
        LinkKind::Labels => subject.labels(),
        LinkKind::ServiceAccount => subject.service_account(),
        LinkKind::Pool => subject.pool(),
        LinkKind::Objective => subject.objective(),
        LinkKind::Binding => subject.binding(),
        LinkKind::Container => subject.container(),
        LinkKind::Output => subject.output(),
        LinkKind::Class => subject.class(),
        LinkKind::Manager => subject.manager(),
    });
    let mut chain = Chain::of(binding.map(|binding| binding.key.clone()), links);
    chain.spiffe_id = match &subject.verdict {
        Verdict::Wanted(identity) => Some(identity.spiffe_id.to_string()),
        Verdict::Refused(Refusal::Conflict(conflict)) => Some(conflict.spiffe_id.to_string()),
        _ => None,
    };
    chain
}

fn shown(labels: &Labels) -> String {
    labels
        .iter()
        .map(|(key, value)| format!("{}={}", key.as_str(), value.as_str()))
        .collect::<Vec<_>>()
        .join(",")
}

fn pod_object(pod: &Pod) -> String {
    format!("Pod {}", pod.path())
}

fn own_labels(pod: &Pod) -> String {
    let labels: Vec<String> = pod.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    if labels.is_empty() { "<none>".to_owned() } else { labels.join(",") }
}

fn selects(labels: &Labels, pod: &Pod) -> bool {
    labels.iter().all(|(key, value)| pod.labels.get(key.as_str()).is_some_and(|own| **own == *value.as_str()))
}

fn missing(labels: &Labels, pod: &Pod) -> Vec<String> {
    let differs = labels
        .iter()
        .filter(|(key, value)| pod.labels.get(key.as_str()).is_none_or(|own| **own != *value.as_str()));
    differs.map(|(key, value)| format!("{}={}", key.as_str(), value.as_str())).collect()
}

impl<'a> Subject<'a> {
    fn namespace(&self) -> &'a crate::name::Namespace {
        match (self.binding, self.pod) {
            (Some(binding), _) => &binding.key.namespace,
            (None, Some((_, pod))) => &pod.namespace,
            (None, None) => unreachable!("a chain is of a pod or of a binding"),
        }
    }

    fn pools(&self) -> impl Iterator<Item = &'a Pool> {
        let namespace = self.namespace();
        self.scene.index.pools().filter(move |pool| pool.namespace == *namespace && !pool.deleting)
    }

    /// The pools that select the pod, one of each name.
    fn own_pools(&self, pod: &Pod) -> Vec<&'a Pool> {
        let mut found: Vec<&Pool> = self
            .pools()
            .filter(|pool| pool.labels.as_ref().is_ok_and(|labels| selects(labels, pod)))
            .collect();
        found.dedup_by(|a, b| a.name == b.name);
        found
    }

    fn resolution(&self) -> Option<&Resolved> {
        self.resolved.as_ref()?.as_ref().ok()
    }

    fn identity(&self) -> Option<&Identity> {
        match &self.verdict {
            Verdict::Wanted(identity) => Some(identity),
            _ => None,
        }
    }

    fn refusal(&self) -> Option<&Refusal> {
        match &self.verdict {
            Verdict::Refused(refusal) => Some(refusal),
            _ => None,
        }
    }

    /// Whether the target leads to several pools, so that it leads to none for sure.
    fn leads_apart(&self) -> bool {
        matches!(self.refusal(), Some(Refusal::Ambiguous { .. }))
    }

    fn pods_in(&self, labels: &Labels) -> Vec<&'a Pod> {
        let namespace = self.namespace();
        let pods = self.scene.world.pods.iter();
        pods.filter(|pod| pod.namespace == *namespace && selects(labels, pod) && !pod.phase.ended()).collect()
    }

    fn pod_finding(&self, code: Code, message: String, hint: String) -> Finding {
        let mut finding = Finding::new(code, message).hint(hint);
        if let Some((_, pod)) = self.pod {
            finding.references.push(Reference {
                kind: "Pod",
                namespace: Some(pod.namespace.as_str().into()),
                name: pod.name.as_str().into(),
            });
        }
        if let Some(binding) = self.binding {
            finding = finding.about(&binding_key(&binding.key));
        }
        finding
    }

    fn labels(&self) -> Link {
        let kind = LinkKind::Labels;
        if let Some((_, pod)) = self.pod {
            let read = Evidence::new(pod_object(pod), "metadata.labels", own_labels(pod));
            if let Some(resolved) = self.resolution() {
                let pool = Evidence::new(
                    format!("InferencePool {}/{}", self.namespace(), resolved.pool.name),
                    "spec.selector",
                    shown(&resolved.pool.labels),
                );
                if selects(&resolved.pool.labels, pod) {
                    return Link::holds(kind, shown(&resolved.pool.labels)).read([read, pool]);
                }
                return self.not_selected(pod, &resolved.pool.name, &resolved.pool.labels).read([read, pool]);
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
            let nearest = self
                .pools()
                .filter_map(|pool| Some((pool, pool.labels.as_ref().ok()?)))
                .min_by_key(|(_, labels)| missing(labels, pod).len());
            return match nearest {
                Some((pool, labels)) => {
                    let other = Evidence::new(
                        format!("InferencePool {}/{}", pool.namespace, pool.name),
                        "spec.selector",
                        shown(labels),
                    );
                    self.not_selected(pod, &pool.name, labels).read([read, other])
                }
                None if self.binding.is_some() => {
                    Link::unseen(kind, "no InferencePool whose selector could be compared").read([read])
                }
                None => {
                    let message = format!(
                        "no InferencePool of namespace `{}` selects pod `{}`: there is none",
                        pod.namespace, pod.name
                    );
                    let hint = "create an InferencePool whose selector matches the pod's labels".to_owned();
                    Link::broken(kind, self.pod_finding(Code::PodNotInPool, message, hint)).read([read])
                }
            };
        }
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
            return Link::unseen(kind, format!("{labels}; the pods could not be read"));
        }
        let pods = self.pods_in(&resolved.pool.labels).len();
        let read = Evidence::new(
            format!("InferencePool {}/{}", self.namespace(), resolved.pool.name),
            "spec.selector",
            labels.clone(),
        );
        if pods == 0 {
            let message =
                format!("no pod of namespace `{}` has the labels {}", self.namespace(), Quoted(&labels));
            let hint = format!("see `kubectl get pods -n {} --show-labels`", self.namespace());
            return Link::broken(kind, self.pod_finding(Code::NoPodSelected, message, hint)).read([read]);
        }
        Link::holds(kind, format!("{labels}: {}", number(pods, "pod", "pods"))).read([read])
    }

    fn not_selected(&self, pod: &Pod, pool: &crate::name::ObjectName, labels: &Labels) -> Link {
        let lacks = missing(labels, pod);
        let message = format!(
            "pod `{}` is not in pool `{pool}`: it lacks {}",
            pod.name,
            quoted_list(lacks.iter().map(String::as_str))
        );
        let hint = format!(
            "label the pods in their Deployment's template ({}), or correct the pool's selector",
            lacks.join(", ")
        );
        Link::broken(LinkKind::Labels, self.pod_finding(Code::PodNotInPool, message, hint))
    }

    /// The account the binding names, from its identity or, when it has none, from its templates.
    fn account(&self) -> Option<&str> {
        if let Some(identity) = self.identity() {
            return Some(identity.selectors.service_account());
        }
        let spec = self.binding?.spec.as_ref().ok()?;
        let templates = spec.selector_templates.iter();
        let mut named = templates
            .filter_map(|template| template.strip_prefix("k8s:sa:"))
            .filter(|name| !name.contains("{{"));
        let first = named.next()?;
        named.next().is_none().then_some(first)
    }

    fn service_account(&self) -> Link {
        let kind = LinkKind::ServiceAccount;
        let account = self.account();
        let of_binding = |account: &str| {
            self.binding.map(|binding| {
                let object = format!("InferenceIdentityBinding {}", binding.key);
                Evidence::new(object, "spec.workloadSelectorTemplates", format!("k8s:sa:{account}"))
            })
        };
        if let Some((_, pod)) = self.pod {
            let own = Evidence::new(pod_object(pod), "spec.serviceAccountName", &*pod.service_account);
            return match account {
                Some(account) if account != &*pod.service_account => {
                    let message = format!(
                        "pod `{}` runs as service account `{}`, but the binding names `{account}`",
                        pod.name, pod.service_account
                    );
                    let hint = format!(
                        "set `serviceAccountName: {account}` in the pod's template, or name `k8s:sa:{}` in the binding",
                        pod.service_account
                    );
                    Link::broken(kind, self.pod_finding(Code::AccountNotUsed, message, hint))
                        .read([own])
                        .read(of_binding(account))
                }
                _ => Link::holds(kind, &*pod.service_account).read([own]),
            };
        }
        let Some(account) = account else {
            return Link::unseen(kind, "the binding names none that can be read");
        };
        if let Some((binding, identity)) = self.binding.zip(self.identity())
            && let Some(finding) =
                workloads(self.scene, binding, identity).into_iter().find(|f| f.code == Code::AccountNotUsed)
        {
            return Link::broken(kind, finding).read(of_binding(account));
        }
        Link::holds(kind, account).read(of_binding(account))
    }

    fn pool(&self) -> Link {
        let kind = LinkKind::Pool;
        let object = |name: &str| format!("InferencePool {}/{name}", self.namespace());
        if let Some(resolved) = self.resolution() {
            let pods = self.pods_in(&resolved.pool.labels).len();
            let group = resolved.pool_group;
            let counted = if self.scene.pods_known {
                format!(", {}", number(pods, "pod", "pods"))
            } else {
                String::new()
            };
            let says = format!("{} ({}/{}){counted}", resolved.pool.name, group.as_str(), group.version());
            return Link::holds(kind, says).read([Evidence::new(
                object(resolved.pool.name.as_str()),
                "spec.selector",
                shown(&resolved.pool.labels),
            )]);
        }
        if let (Some(refusal), Some(binding)) = (self.refusal(), self.binding) {
            let of_pool = match refusal {
                Refusal::PoolNotFound { .. } | Refusal::PoolCrdMissing(_) | Refusal::PoolSelector { .. } => {
                    true
                }
                Refusal::Ambiguous { kind, .. } => *kind == "InferencePool",
                _ => false,
            };
            if of_pool {
                return self.refused(kind, binding, refusal);
            }
        }
        let own = self.pod.map(|(_, pod)| self.own_pools(pod)).unwrap_or_default();
        match own.first() {
            Some(pool) => {
                Link::holds(kind, format!("{} ({}/{})", pool.name, pool.group, version(pool.group)))
                    .read([Evidence::new(object(pool.name.as_str()), "metadata.name", pool.name.as_str())])
            }
            None if self.leads_apart() => Link::unseen(kind, "the target leads to several"),
            None => Link::unseen(kind, "the target leads to none"),
        }
    }

    fn refused(&self, kind: LinkKind, binding: &Binding, refusal: &Refusal) -> Link {
        let finding = refused(self.scene.index, binding, refusal);
        let place = finding.place.clone();
        let link = Link::broken(kind, finding);
        match place {
            Some(place) => {
                let object =
                    format!("{} {}/{}", place.object.kind.kind(), place.object.namespace, place.object.name);
                link.read([Evidence::new(object, place.field.to_string(), refusal.what())])
            }
            None => link,
        }
    }

    fn objective(&self) -> Link {
        let kind = LinkKind::Objective;
        if let Some(resolved) = self.resolution() {
            return match &resolved.objective {
                Some((name, group)) => {
                    let says = format!(
                        "{name} ({}/{}) -> pool {}",
                        group.as_str(),
                        group.version(),
                        resolved.pool.name
                    );
                    let object = format!("InferenceObjective {}/{name}", self.namespace());
                    Link::holds(kind, says).read([Evidence::new(
                        object,
                        "spec.poolRef.name",
                        resolved.pool.name.as_str(),
                    )])
                }
                None => Link::holds(kind, "none: the binding targets the pool itself"),
            };
        }
        if let (Some(refusal), Some(binding)) = (self.refusal(), self.binding) {
            let of_objective = match refusal {
                Refusal::ObjectiveNotFound { .. }
                | Refusal::ObjectiveCrdMissing(_)
                | Refusal::PoolRef { .. } => true,
                Refusal::Ambiguous { kind, .. } => *kind == "InferenceObjective",
                _ => false,
            };
            if of_objective {
                return self.refused(kind, binding, refusal);
            }
        }
        // Without a binding: what leads to the pod's pools.
        let own = self.pod.map(|(_, pod)| self.own_pools(pod)).unwrap_or_default();
        let leading: Vec<String> = self
            .scene
            .index
            .objectives()
            .filter(|objective| objective.namespace == *self.namespace())
            .filter(|objective| {
                let to = objective.pool_ref.as_ref();
                to.is_ok_and(|to| own.iter().any(|pool| pool.name == to.name))
            })
            .map(|objective| objective.name.to_string())
            .collect();
        if leading.is_empty() {
            Link::unseen(kind, "none leads to this pool")
        } else {
            Link::holds(kind, leading.join(", "))
        }
    }

    fn binding(&self) -> Link {
        let kind = LinkKind::Binding;
        let Some(binding) = self.binding else {
            let Some((_, pod)) = self.pod else { return Link::unseen(kind, "none") };
            let pools = self.own_pools(pod);
            let pool = pools.first().map(|pool| format!(" or of pool `{}`", pool.name)).unwrap_or_default();
            let message = format!(
                "no InferenceIdentityBinding of namespace `{}` speaks of an objective{pool} that pod `{}` serves",
                pod.namespace, pod.name
            );
            let hint = "create an InferenceIdentityBinding for the objective or the pool".to_owned();
            return Link::broken(kind, self.pod_finding(Code::NoBinding, message, hint));
        };
        let object = format!("InferenceIdentityBinding {}", binding.key);
        let status = (self.question.status)(&binding.key);
        let seen = status.as_ref().map(|status| {
            Evidence::new(
                object.clone(),
                "status.conditions[Ready]",
                format!("{} {}", status.ready, status.reason),
            )
        });
        let says = || match &status {
            Some(status) => {
                let generations = match (status.observed, binding.generation) {
                    (Some(observed), Some(generation)) => format!(", generation {observed} of {generation}"),
                    _ => String::new(),
                };
                format!("{}   Ready={} {}{generations}", binding.key.name, status.ready, status.reason)
            }
            None => format!("{}   nothing is wrong with it", binding.key.name),
        };
        match &self.verdict {
            Verdict::Wanted(_) => Link::holds(kind, says()).read(seen),
            Verdict::Refused(refusal) => self.refused(kind, binding, refusal).read(seen),
            Verdict::Deleting => ending::link(self.question, binding),
            Verdict::Waiting(kinds) => {
                let kinds = quoted_list(kinds.keys().map(|kind| kind.kind()));
                Link::unseen(kind, format!("{}   not decided: {kinds} could not be read", binding.key.name))
                    .read(seen)
            }
            Verdict::Gone => Link::unseen(kind, "gone"),
        }
    }

    fn container(&self) -> Link {
        let kind = LinkKind::Container;
        let (Some(binding), Some(identity)) = (self.binding, self.identity()) else {
            return Link::unseen(kind, "the binding has no selectors");
        };
        let object = format!("InferenceIdentityBinding {}", binding.key);
        let Some((_, pod)) = self.pod else {
            if !self.scene.pods_known {
                return Link::unseen(kind, "the pods could not be read");
            }
            let breaks =
                |finding: &Finding| matches!(finding.code, Code::NoSuchContainer | Code::NothingMatches);
            return match workloads(self.scene, binding, identity).into_iter().find(breaks) {
                Some(finding) => Link::broken(kind, finding),
                None => Link::holds(kind, "some container of the pods matches"),
            };
        };
        let space = self.scene.world.space(pod);
        let wanted = |name: &str| self.question.container.is_none_or(|only| only == name);
        let candidates: Vec<_> = pod.containers.iter().filter(|container| wanted(&container.name)).collect();
        let answers: Vec<(&str, Answer)> = candidates
            .iter()
            .map(|container| {
                let texts = identity.selectors.texts();
                (&*container.name, crate::spire::set_matches(texts, pod, container, space))
            })
            .collect();
        let matching = |answer: Answer| -> Vec<&str> {
            answers.iter().filter(|(_, found)| *found == answer).map(|(name, _)| *name).collect()
        };
        let certain = matching(Answer::Yes);
        if !certain.is_empty() {
            return Link::holds(kind, certain.join(", "));
        }
        let unknown = matching(Answer::Unknown);
        if !unknown.is_empty() {
            let items = identity.selectors.texts().filter(|item| {
                candidates
                    .iter()
                    .any(|container| item_matches(item, pod, container, space) == Answer::Unknown)
            });
            let items = quoted_list(items);
            return Link::unseen(
                kind,
                format!("{} may match: {items} cannot be told from a pod", unknown.join(", ")),
            );
        }
        let elsewhere = pod.containers.iter().any(|container| {
            crate::spire::set_matches(identity.selectors.texts(), pod, container, space).possible()
        });
        let displaced = self.displaced(binding);
        if let Some(link) = displaced.clone().filter(|_| elsewhere) {
            return link;
        }
        // One that is asked for is the only candidate, but what no container has is not missing in that one alone.
        let candidates: Vec<_> = if elsewhere { candidates } else { pod.containers.iter().collect() };
        let item = identity.selectors.texts().find(|item| {
            candidates.iter().all(|container| item_matches(item, pod, container, space) == Answer::No)
        });
        let names = quoted_list(candidates.iter().map(|container| &*container.name));
        let (what, read) = match item {
            Some(item) => (format!("has {}", Quoted(item)), Some(Evidence::new(object, "selectors", item))),
            None => ("matches all selectors of the binding".to_owned(), None),
        };
        let code = match item {
            Some(item) if item.starts_with("k8s:container-") => Code::NoSuchContainer,
            _ => Code::NothingMatches,
        };
        let message = match self.question.container.filter(|_| elsewhere) {
            Some(container) => match item {
                Some(item) => {
                    format!("container `{container}` of pod `{}` does not have {}", pod.name, Quoted(item))
                }
                None => format!(
                    "container `{container}` of pod `{}` does not match all selectors of the binding",
                    pod.name
                ),
            },
            None => format!("no container of pod `{}` {what}; it has {names}", pod.name),
        };
        let hint = format!(
            "correct `spec.containerDiscriminator` or the selectors of `{}`, or the pod",
            binding.key
        );
        let mut finding = self.pod_finding(code, message, hint);
        finding.note = displaced.and_then(|link| link.finding).and(self.question.container).map(|container| {
            format!(
                "`{}` takes the fallback identity of the whole pod away and gives it none, so `{container}` has none either ({})",
                binding.key,
                Code::FallbackDisplaced
            )
        });
        Link::broken(kind, finding)
            .read([Evidence::new(pod_object(pod), "spec.containers", names)])
            .read(read)
    }

    /// The container that was asked for is none of the binding's, and lost its fallback identity to it.
    fn displaced(&self, binding: &Binding) -> Option<Link> {
        let (container, (index, pod)) = (self.question.container?, self.pod?);
        let (place, _) = self.scene.fate(&binding.key)?;
        let mut displaced = self.scene.prediction.displaced_by(place);
        let displaced = displaced.find(|displaced| displaced.pod == index)?;
        let fallback = &self.scene.object(displaced.fallback).name;
        let message = format!(
            "`{}` gives pod `{}` an identity, but not container `{container}`, and takes the fallback identity of {} from all of them",
            binding.key,
            pod.name,
            Quoted(fallback)
        );
        let hint =
            "bind this container too, or let the default ClusterSPIFFEID be no fallback (`fallback: false`)";
        let finding = self.pod_finding(Code::FallbackDisplaced, message, hint.to_owned());
        let fallback = format!("ClusterSPIFFEID {fallback}");
        Some(Link::broken(LinkKind::Container, finding).read([Evidence::new(
            fallback,
            "spec.fallback",
            "true",
        )]))
    }

    fn output(&self) -> Link {
        let kind = LinkKind::Output;
        let (Some(binding), Some(identity)) = (self.binding, self.identity()) else {
            return Link::unseen(kind, "none is wanted");
        };
        let name = self.scene.output_name(&binding.key);
        let object = format!("ClusterSPIFFEID {name}");
        match self.scene.standing(binding, identity) {
            Standing::Unknown => Link::unseen(kind, format!("{name}, as it would be written")),
            Standing::InSync(live) => {
                let read = Evidence::new(object, "spec.spiffeIDTemplate", &*live.spec.spiffe_id);
                Link::holds(kind, format!("{name}   in sync, owned")).read([read])
            }
            standing => {
                let status = (self.question.status)(&binding.key);
                let failed = Reason::ManagedOutputApplyFailed.as_str();
                let told = status.filter(|status| status.reason == failed && standing == Standing::Missing);
                if let Some(status) = told {
                    let finding = Finding::new(Code::ManagedOutputApplyFailed, status.message.clone())
                        .about(&binding_key(&binding.key))
                        .hint("see the log of kleym-operator for the API server's answer");
                    let read = Evidence::new(
                        format!("InferenceIdentityBinding {}", binding.key),
                        "status.conditions[Ready]",
                        status.message,
                    );
                    return Link::broken(kind, finding).read([read]);
                }
                let read = match &standing {
                    Standing::Missing => vec![Evidence::new(object, "metadata.name", "<not found>")],
                    Standing::Foreign(live) | Standing::Orphan(live) => vec![Evidence::new(
                        object,
                        "metadata.annotations[kleym.sonda.red/binding-uid]",
                        live.annotations
                            .get(crate::output::ANNOTATION_BINDING_UID)
                            .map_or("<none>", |uid| &**uid),
                    )],
                    Standing::Drifted(live, fields) => {
                        let wanted = self.scene.wanted_output(binding, identity, live);
                        let value = |field: &&'static str| {
                            Evidence::new(&*object, *field, differs::values(field, live, &wanted))
                        };
                        fields.iter().map(value).collect()
                    }
                    Standing::Unknown | Standing::InSync(_) => Vec::new(),
                };
                match output(self.scene, binding, identity) {
                    Some(finding) => Link::broken(kind, finding).read(read),
                    None => Link::unseen(kind, name.as_str()),
                }
            }
        }
    }

    fn manager_read(&self, field: &str, value: String) -> Evidence {
        Evidence::new(self.question.manager_at.unwrap_or("spire-controller-manager's flags"), field, value)
    }

    fn class(&self) -> Link {
        let kind = LinkKind::Class;
        let (Some(binding), Some((place, fate))) =
            (self.binding, self.binding.and_then(|b| self.scene.fate(&b.key)))
        else {
            return Link::unseen(kind, "no output to look at");
        };
        let object = self.scene.object(place);
        let class = if object.class_name.is_empty() { "<none>" } else { &*object.class_name };
        let own = Evidence::new(format!("ClusterSPIFFEID {}", object.name), "spec.className", class);
        if let Some(finding) =
            watched(self.scene, binding).into_iter().find(|finding| finding.code == Code::ClassNotWatched)
        {
            let theirs = self
                .scene
                .world
                .manager
                .class
                .as_ref()
                .map(|class| class.name.to_string())
                .unwrap_or_default();
            return Link::broken(kind, finding).read([own, self.manager_read("className", theirs)]);
        }
        let stats = self.scene.output(&binding.key).map(|live| live.stats.is_some());
        match (fate.watched, stats) {
            (Answer::Yes, _) => {
                Link::holds(kind, format!("{class}, which spire-controller-manager watches")).read([own])
            }
            (_, Some(true)) => Link::holds(
                kind,
                format!("{class}; spire-controller-manager has reported on it, so it is watched"),
            )
            .read([own]),
            (_, Some(false)) => match reported(self.scene, binding) {
                Some(finding) => Link::broken(kind, finding).read([
                    own,
                    Evidence::new(format!("ClusterSPIFFEID {}", object.name), "status.stats", "<none>"),
                ]),
                None => Link::unseen(
                    kind,
                    format!("{class}; the settings of spire-controller-manager are not known"),
                ),
            },
            (_, None) => {
                Link::unseen(kind, format!("{class}; the settings of spire-controller-manager are not known"))
                    .read([own])
            }
        }
    }

    fn manager(&self) -> Link {
        let kind = LinkKind::Manager;
        let (Some(binding), Some((place, _))) =
            (self.binding, self.binding.and_then(|b| self.scene.fate(&b.key)))
        else {
            return Link::unseen(kind, "no output to look at");
        };
        if let Some(finding) = poison(self.scene) {
            return Link::broken(kind, finding);
        }
        let manager = self.scene.world.manager;
        if let Some(finding) =
            watched(self.scene, binding).into_iter().find(|finding| finding.code != Code::ClassNotWatched)
        {
            let read = match finding.code {
                Code::NamespaceIgnored => {
                    let patterns = manager.ignored.iter().flatten().map(|pattern| pattern.pattern());
                    self.manager_read("ignoreNamespaces", patterns.collect::<Vec<_>>().join(", "))
                }
                _ => self.manager_read(
                    "trustDomain",
                    manager.trust_domain.as_deref().unwrap_or_default().to_owned(),
                ),
            };
            return Link::broken(kind, finding).read([read]);
        }
        let object = format!("ClusterSPIFFEID {}", self.scene.object(place).name);
        if let Some(finding) = reported(self.scene, binding).filter(|f| f.code == Code::EntryFailures) {
            let stats = self.scene.output(&binding.key).and_then(|live| live.stats);
            let failures = stats.map_or(0, |stats| stats.entry_failures);
            return Link::broken(kind, finding).read([Evidence::new(
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
        let Some((index, pod)) = self.pod else {
            let entries = self.scene.prediction.entries_by(place).len();
            return Link::holds(kind, format!("{} foreseen{stats}", number(entries, "entry", "entries")));
        };
        let failure = self.scene.prediction.failures_by(place).iter().find(|failure| failure.pod == index);
        if let Some(failure) = failure {
            let (code, message, hint) = match &failure.why {
                Why::Unscheduled => (
                    Code::PodsPending,
                    format!("pod `{}` is on no node yet, so there is no entry for it", pod.name),
                    format!(
                        "see why it is not scheduled: `kubectl describe pod {} -n {}`",
                        pod.name, pod.namespace
                    ),
                ),
                Why::NoNode(node) => (
                    Code::EntryNotRendered,
                    format!(
                        "the node {} of pod `{}` does not exist, so no agent can serve it",
                        Quoted(node),
                        pod.name
                    ),
                    "see `kubectl get nodes`".to_owned(),
                ),
                Why::NoSpiffeId(text) | Why::TrustDomain(text) | Why::NoSelector(text) => (
                    Code::EntryNotRendered,
                    format!("spire-controller-manager cannot use {}", Quoted(text)),
                    "see the log of spire-controller-manager".to_owned(),
                ),
            };
            let node = pod.node_name.as_deref().unwrap_or("<none>");
            return Link::broken(kind, self.pod_finding(code, message, hint)).read([Evidence::new(
                pod_object(pod),
                "spec.nodeName",
                node,
            )]);
        }
        let entry = self.scene.prediction.entries_by(place).iter().find(|entry| entry.pod == index);
        match entry {
            Some(entry) => match entry.masked_by {
                Some(by) => Link::holds(
                    kind,
                    format!(
                        "the same entry is made by the older {}{stats}",
                        Quoted(&self.scene.object(by).name)
                    ),
                ),
                None => Link::holds(kind, format!("an entry for this pod is foreseen{stats}")),
            },
            None => {
                let object = self.scene.object(place);
                let message = format!(
                    "spire-controller-manager makes no entry for pod `{}` from {}: it does not select it",
                    pod.name,
                    Quoted(&object.name)
                );
                Link::broken(
                    kind,
                    self.pod_finding(
                        Code::NoPodSelected,
                        message,
                        "compare the pod's labels with `spec.podSelector` of the output".to_owned(),
                    ),
                )
            }
        }
    }
}

fn version(group: PoolGroup) -> &'static str {
    group.version()
}

fn number(number: usize, one: &str, several: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { several })
}
