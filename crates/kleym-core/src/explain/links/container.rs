//! The container that the selectors match.

use std::collections::BTreeSet;

use super::super::chain::{Evidence, Link, LinkKind};
use super::image::IMAGE;
use super::labels::in_its_template;
use super::{Subject, number, own_labels, pod_object};
use crate::fact::{Binding, DiscriminatorType};
use crate::render::Identity;
use crate::report::{
    Code, Count, Finding, Standing, anyone_holds, anyone_holds_all, bind_too, counted_in, selector_field,
    unknown, workloads,
};
use crate::resolve::Resolved;
use crate::spire::{Answer, Container, Pod, item_matches, set_matches};
use crate::text::{Quoted, quoted_list};

/// The field of the discriminator's value.
pub(super) const DISCRIMINATOR: &str = "spec.containerDiscriminator.value";

/// How a selector for a label of the pod begins.
const POD_LABEL: &str = "k8s:pod-label:";

/// The most pods whose containers are shown.
const SHOWN: usize = 3;

/// Whether a binding names its container, and that is for certain not the one of the pod that is asked for.
pub(in crate::explain) fn is_of_another(binding: &Binding, pod: &Pod, container: &Container) -> bool {
    let Ok(spec) = &binding.spec else { return false };
    let discriminator = spec.discriminator.as_ref();
    let named = discriminator.map(|named| format!("{}:{}", named.kind.selector_key(), named.value));
    let templates = spec.selector_templates.iter().map(ToString::to_string);
    let literal = templates.filter(|text| text.starts_with("k8s:container-") && !text.contains("{{"));
    literal.chain(named).any(|item| item_matches(&item, pod, container, None) == Answer::No)
}

impl<'a> Subject<'a> {
    pub(super) fn container(&self) -> Link {
        let kind = LinkKind::Container;
        let (Some(binding), Some(identity)) = (self.binding, self.identity()) else {
            return Link::unseen(kind, "the binding has no selectors");
        };
        let Some((_, pod)) = self.pod else { return self.container_of_pods(binding, identity) };
        let space = self.scene.world.space(pod);
        let wanted = |name: &str| self.question.container.is_none_or(|only| only == name);
        let candidates: Vec<_> = pod.containers.iter().filter(|container| wanted(&container.name)).collect();
        let answers: Vec<(&str, Answer)> = candidates
            .iter()
            .map(|container| {
                let texts = identity.selectors.texts();
                (&*container.name, set_matches(texts, pod, container, space))
            })
            .collect();
        let matching = |answer: Answer| -> Vec<&str> {
            answers.iter().filter(|(_, found)| *found == answer).map(|(name, _)| *name).collect()
        };
        let certain = matching(Answer::Yes);
        if !certain.is_empty() {
            let ended = if pod.phase.ended() { ", but the pod has ended: nothing of it runs" } else { "" };
            // One of these names that is no regular container is easily overlooked.
            let named = certain.iter().map(|name| {
                let one = candidates.iter().find(|one| *one.name == **name).filter(|one| one.kind.is_init());
                one.map_or_else(|| (*name).to_owned(), |one| format!("{name} ({})", one.kind.as_str()))
            });
            let named: Vec<String> = named.collect();
            return Link::holds(kind, format!("{}{ended}", named.join(", ")));
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
        // The output is from before the binding was changed: that is what is told next.
        let holds_now = |container: &&&Container| {
            let by = self.scene.fate(&binding.key).map(|(place, _)| place);
            let index = self.pod.map_or(0, |(index, _)| index);
            let mut given = self.scene.given(index, container);
            matches!(self.scene.standing(binding, identity), Standing::Drifted(..))
                && given.any(|(entry, _)| Some(entry.by) == by)
        };
        if let Some(container) =
            candidates.iter().filter(|_| self.question.container.is_some()).find(holds_now)
        {
            let says = format!("{}, by the output as it is now; the binding wants another", container.name);
            return Link::holds(kind, says);
        }
        self.no_container(binding, identity, pod, &candidates)
    }

    /// None of the containers that are asked about matches.
    fn no_container(
        &self,
        binding: &Binding,
        identity: &Identity,
        pod: &'a Pod,
        asked: &[&'a Container],
    ) -> Link {
        let space = self.scene.world.space(pod);
        let elsewhere = pod
            .containers
            .iter()
            .any(|container| set_matches(identity.selectors.texts(), pod, container, space).possible());
        let fallback = self.displaced(binding);
        if let Some((container, fallback)) = self.question.container.filter(|_| elsewhere).zip(fallback) {
            return self.displaced_link(binding, pod, container, fallback);
        }
        // One that is asked for is the only candidate, but what no container has is not missing in that one alone.
        let candidates: Vec<&Container> =
            if elsewhere { asked.to_vec() } else { pod.containers.iter().collect() };
        let item = identity.selectors.texts().find(|item| {
            candidates.iter().all(|container| item_matches(item, pod, container, space) == Answer::No)
        });
        if let Some((item, label)) = item.and_then(|item| Some((item, item.strip_prefix(POD_LABEL)?))) {
            return self.without_label(binding, pod, item, label);
        }
        let of_image = item.filter(|item| !elsewhere && item.starts_with(IMAGE));
        if let Some(link) = of_image.and_then(|item| self.without_image(binding, identity, pod, item, asked))
        {
            return link;
        }
        if let Some(link) = item.and_then(|item| self.without_image_of_pod(binding, identity, pod, item)) {
            return link;
        }
        if let Some((item, count)) = item.and_then(|item| Some((item, Count::of(item)?))) {
            return self.without_count(binding, identity, pod, item, count);
        }
        let names: Vec<&str> = candidates.iter().map(|container| &*container.name).collect();
        let what = match item {
            Some(item) => format!("has {}", Quoted(item)),
            None => "matches all selectors of the binding".to_owned(),
        };
        let code = match item {
            Some(item) if item.starts_with("k8s:container-") => Code::NoSuchContainer,
            _ => Code::NothingMatches,
        };
        let (message, hint) = match self.question.container.filter(|_| elsewhere) {
            Some(container) => {
                let lacks = match item {
                    Some(item) => format!("have {}", Quoted(item)),
                    None => "match all selectors of the binding".to_owned(),
                };
                (
                    format!("container `{container}` of pod `{}` does not {lacks}", pod.name),
                    bind_too(self.scene, binding, pod, container),
                )
            }
            None => {
                let has = match names.as_slice() {
                    [] => "no container at all".to_owned(),
                    names => quoted_list(names.iter().copied()),
                };
                let message = format!("no container of pod `{}` {what}; it has {has}", pod.name);
                let others = item.map_or(0, |item| self.others_with(pod, item));
                let hint = match item.filter(|_| others > 0) {
                    Some(item) => like_the_others(binding, pod, item, others),
                    None => correction(binding, item, &self.free(binding, [pod])),
                };
                (message, hint)
            }
        };
        let mut finding = self.pod_finding(code, message, hint);
        finding.note = self.note_of_fallback(binding);
        Link::ends(LinkKind::Container, finding)
            .read([containers_of(pod, &candidates)])
            .read(item.map(|item| selector(binding, item)))
    }

    /// How many other pods of the binding's pool have a container with an item.
    pub(super) fn others_with(&self, pod: &Pod, item: &str) -> usize {
        let pods = self.resolution().map(|resolved| self.pods_in(&resolved.pool.labels)).unwrap_or_default();
        let others = pods.into_iter().filter(|one| !std::ptr::eq(*one, pod));
        let has = |one: &&Pod| {
            let space = self.scene.world.space(one);
            one.containers.iter().any(|container| item_matches(item, one, container, space) == Answer::Yes)
        };
        others.filter(has).count()
    }

    /// The names of containers of these pods that can hold an identity and that no other binding names.
    fn free<'p>(&self, binding: &Binding, pods: impl IntoIterator<Item = &'p Pod>) -> Vec<&'p str> {
        let pool = self.resolution().map(|resolved| (&resolved.pool.name, resolved.pool_group));
        let others = self.scene.index.bindings_of(&binding.key.namespace);
        let others = others.filter(|other| {
            let resolved = self.scene.index.resolved(&other.key).and_then(Result::ok);
            let same = |other: &Resolved| pool == Some((&other.pool.name, other.pool_group));
            other.key != binding.key && resolved.as_ref().is_some_and(same)
        });
        let named = others.filter_map(|other| {
            let discriminator = other.spec.as_ref().ok()?.discriminator.as_ref()?;
            (discriminator.kind == DiscriminatorType::ContainerName).then(|| discriminator.value.clone())
        });
        let named: BTreeSet<Box<str>> = named.map(|name| (*name).into()).collect();
        let pods = pods.into_iter();
        let all = pods.flat_map(|pod| pod.containers.iter().filter(|container| pod.can_hold(container)));
        let mut seen = BTreeSet::new();
        all.map(|container| &*container.name)
            .filter(|name| seen.insert(*name) && !named.contains(*name))
            .collect()
    }

    /// The pod has not a label that the binding's own templates ask for, beside those of the pool.
    fn without_label(&self, binding: &Binding, pod: &Pod, item: &str, label: &str) -> Link {
        // Label keys and values hold no colon.
        let (key, value) = label.split_once(':').unwrap_or((label, ""));
        let wanted = format!("{key}={value}");
        let has = match pod.labels.get(key) {
            Some(own) => format!("has label {} and not {}", Quoted(&format!("{key}={own}")), Quoted(&wanted)),
            None => format!("lacks label {}", Quoted(&wanted)),
        };
        let message = format!("pod `{}` {has}, which `{}` selects", pod.name, binding.key);
        let place = format!("{} in `{}` of `{}`", Quoted(item), selector_field(binding, item), binding.key);
        let label = format!("label the pod{} ({wanted})", in_its_template(pod));
        let hint = match self.others_with(pod, item) {
            0 => format!("{label}, or correct {place}"),
            others => {
                format!(
                    "{label}; {place} is to stay as it is, for {} it",
                    number(others, "other pod has", "other pods have")
                )
            }
        };
        let mut finding = self.pod_finding(Code::NothingMatches, message, hint);
        finding.note = self.note_of_fallback(binding);
        Link::ends(LinkKind::Container, finding)
            .read([Evidence::new(pod_object(pod), "metadata.labels", own_labels(pod))])
            .read([selector(binding, item)])
    }

    /// SPIRE counts another number of containers in the pod.
    fn without_count(
        &self,
        binding: &Binding,
        identity: &Identity,
        pod: &Pod,
        item: &str,
        count: Count<'_>,
    ) -> Link {
        let message = format!("pod `{}` does not have {}: {}", pod.name, Quoted(item), count.says(pod));
        let hint = count.hint(binding, identity, &[pod]);
        let hint = match self.others_with(pod, item) {
            0 => hint,
            others => format!(
                "{} {}, and no one number fits both: change this pod{}, or, when it is the others that are to go, {hint}",
                number(others, "other pod has", "other pods have"),
                Quoted(item),
                in_its_template(pod)
            ),
        };
        let mut finding = self.pod_finding(Code::NothingMatches, message, hint);
        finding.note = self.note_of_fallback(binding);
        Link::ends(LinkKind::Container, finding).read(counts_of(pod)).read([selector(binding, item)])
    }

    /// That the binding took the fallback identity away which the pod would have.
    pub(super) fn note_of_fallback(&self, binding: &Binding) -> Option<String> {
        if self.displaced(binding).is_none() {
            return self.note_of_doubt(binding);
        }
        let none = match self.question.container {
            Some(container) => format!("so `{container}` has none either"),
            None => "so no container of it has any".to_owned(),
        };
        Some(format!(
            "`{}` takes the fallback identity of the whole pod away and gives it none, {none} ({})",
            binding.key,
            Code::FallbackDisplaced
        ))
    }

    /// That it is not known whether the pod would have a fallback identity without the binding.
    fn note_of_doubt(&self, binding: &Binding) -> Option<String> {
        let (index, _) = self.pod?;
        let (place, _) = self.scene.fate(&binding.key)?;
        let maybe = self.scene.prediction.maybe_displaced_by(place).iter().find(|one| one.pod == index)?;
        let unknown = unknown(self.scene, maybe.fallback);
        Some(format!(
            "{unknown}; if so, `{}` takes that fallback identity away ({})",
            binding.key,
            Code::ManagerUnknown
        ))
    }

    /// The chain of a binding: whether any container of any of its pods matches.
    fn container_of_pods(&self, binding: &Binding, identity: &Identity) -> Link {
        let kind = LinkKind::Container;
        if !self.scene.pods_known {
            return Link::unseen(kind, self.no_pods());
        }
        let mut selected = self.scene.selected(&binding.key, identity);
        selected.retain(|pod| !pod.phase.ended());
        if selected.is_empty() {
            return Link::unseen(kind, "there is no pod to look at");
        }
        let breaks = |finding: &Finding| matches!(finding.code, Code::NoSuchContainer | Code::NothingMatches);
        let found = workloads(self.scene, binding, identity).into_iter().find(breaks);
        let Some(mut finding) = found else { return self.found_in_pods(binding, identity, &selected) };
        let image = identity
            .selectors
            .texts()
            .find(|item| item.starts_with(IMAGE) && !anyone_holds(self.scene, item, &selected).possible());
        if let Some(link) = image.and_then(|item| self.image_of_no_pod(binding, &finding, item, &selected)) {
            return link;
        }
        let pods = self.resolution().map(|resolved| self.pods_in(&resolved.pool.labels)).unwrap_or_default();
        let mut different: Vec<&'a Pod> = Vec::new();
        for pod in pods {
            let names = |pod: &Pod| pod.containers.iter().map(|one| one.name.clone()).collect::<Vec<_>>();
            if different.iter().all(|other| names(other) != names(pod)) {
                different.push(pod);
            }
        }
        let item = identity.selectors.texts().find(|item| {
            different.iter().all(|pod| {
                let space = self.scene.world.space(pod);
                let certain = |container| item_matches(item, pod, container, space) == Answer::No;
                pod.containers.iter().all(certain)
            })
        });
        finding.note = self.note_of_fallbacks(binding);
        if item.is_some_and(|item| Count::of(item).is_some()) {
            let read: Vec<Evidence> = different.iter().take(SHOWN).flat_map(|pod| counts_of(pod)).collect();
            return Link::ends(kind, finding).read(read).read(item.map(|item| selector(binding, item)));
        }
        let of_pod =
            item.and_then(|item| self.image_of_pod(binding, identity, different.first().copied()?, item));
        if let Some((says, hint, image)) = of_pod {
            finding.message = format!("{}: in pod `{}`, {says}", finding.message, different[0].name);
            finding.hint = Some(hint);
            return Link::ends(kind, finding).read([image]).read(item.map(|item| selector(binding, item)));
        }
        finding.hint = Some(correction(binding, item, &self.free(binding, different.iter().copied())));
        let read = different.iter().take(SHOWN).map(|pod| {
            let all: Vec<&Container> = pod.containers.iter().collect();
            containers_of(pod, &all)
        });
        let read: Vec<Evidence> = read.collect();
        Link::ends(kind, finding).read(read).read(item.map(|item| selector(binding, item)))
    }

    /// That a binding none of whose pods' containers match took their fallback identities away all the same.
    pub(super) fn note_of_fallbacks(&self, binding: &Binding) -> Option<String> {
        let (place, _) = self.scene.fate(&binding.key)?;
        let displaced = self.scene.prediction.displaced_by(place);
        let pods: BTreeSet<&str> =
            displaced.map(|one| self.scene.world.pods[one.pod].name.as_str()).collect();
        let (are, them) = if pods.len() == 1 { ("pod", "it") } else { ("pods", "them") };
        (!pods.is_empty()).then(|| {
            format!(
                "`{}` takes the fallback identity of {are} {} away and gives {them} none ({})",
                binding.key,
                quoted_list(pods),
                Code::FallbackDisplaced
            )
        })
    }

    /// Nothing speaks against a container of a binding's pods: that there is one is said only where one was seen.
    fn found_in_pods(&self, binding: &Binding, identity: &Identity, pods: &[&Pod]) -> Link {
        let kind = LinkKind::Container;
        match anyone_holds_all(self.scene, identity, pods) {
            Answer::Yes => {
                let items: Vec<&str> = identity.selectors.texts().collect();
                Link::holds(kind, format!("some container of the pods has {}", items.join(", ")))
            }
            Answer::Unknown => {
                let items = identity.selectors.texts();
                let items = items.filter(|item| anyone_holds(self.scene, item, pods) == Answer::Unknown);
                let items: Vec<&str> = items.collect();
                let what = if items.is_empty() { "all selectors".to_owned() } else { quoted_list(items) };
                Link::unseen(
                    kind,
                    format!("whether a container of the pods has {what} cannot be told from them yet"),
                )
            }
            Answer::No => {
                let message = format!(
                    "no container of the pods that `{}` selects matches all its selectors",
                    binding.key
                );
                let mut finding =
                    self.pod_finding(Code::NothingMatches, message, correction(binding, None, &[]));
                finding.note = self.note_of_fallbacks(binding);
                let read = pods.iter().take(SHOWN).map(|pod| {
                    let all: Vec<&Container> = pod.containers.iter().collect();
                    containers_of(pod, &all)
                });
                Link::ends(kind, finding).read(read.collect::<Vec<_>>())
            }
        }
    }

    /// The fallback object that gives the pod nothing because of the binding's output.
    fn displaced(&self, binding: &Binding) -> Option<&str> {
        let (index, _) = self.pod?;
        let (place, _) = self.scene.fate(&binding.key)?;
        let mut displaced = self.scene.prediction.displaced_by(place);
        let displaced = displaced.find(|displaced| displaced.pod == index)?;
        Some(&self.scene.object(displaced.fallback).name)
    }

    /// The container that was asked for is none of the binding's, and lost its fallback identity to it.
    fn displaced_link(&self, binding: &Binding, pod: &Pod, container: &str, fallback: &str) -> Link {
        let message = format!(
            "`{}` gives pod `{}` an identity, but not container `{container}`, and takes the fallback identity of {} from all of them",
            binding.key,
            pod.name,
            Quoted(fallback)
        );
        let hint = format!(
            "{}; or let the default ClusterSPIFFEID be no fallback (`fallback: false`)",
            bind_too(self.scene, binding, pod, container)
        );
        let finding = self.pod_finding(Code::FallbackDisplaced, message, hint);
        let mut read = vec![Evidence::new(format!("ClusterSPIFFEID {fallback}"), "spec.fallback", "true")];
        let named = binding.spec.as_ref().ok().and_then(|spec| spec.discriminator.as_ref());
        read.extend(named.map(|named| {
            let item = format!("{}:{}", named.kind.selector_key(), named.value);
            selector(binding, &item)
        }));
        Link::ends(LinkKind::Container, finding).read(read)
    }
}

/// The containers of a pod that were looked at.
fn containers_of(pod: &Pod, containers: &[&Container]) -> Evidence {
    let names = quoted_list(containers.iter().map(|container| &*container.name));
    Evidence::new(pod_object(pod), "spec.containers", names)
}

/// The containers of a pod, as SPIRE counts them.
fn counts_of(pod: &Pod) -> [Evidence; 2] {
    counted_in(pod).map(|(field, value)| Evidence::new(pod_object(pod), field, value))
}

/// Where a selector of the binding stands, with what stands there.
pub(super) fn selector(binding: &Binding, item: &str) -> Evidence {
    let field = selector_field(binding, item).to_string();
    let discriminator = binding.spec.as_ref().ok().and_then(|spec| spec.discriminator.as_ref());
    let value = match discriminator {
        Some(named) if field == DISCRIMINATOR => &*named.value,
        _ => item,
    };
    Evidence::new(format!("InferenceIdentityBinding {}", binding.key), field, value)
}

/// What to change of a pod that lacks what others of its pool have.
fn like_the_others(binding: &Binding, pod: &Pod, item: &str, others: usize) -> String {
    let field = selector_field(binding, item).to_string();
    let name = item.strip_prefix(DiscriminatorType::ContainerName.selector_key());
    let of_pod = match name.and_then(|rest| rest.strip_prefix(':')) {
        Some(name) => format!("call the container {}{}", Quoted(name), in_its_template(pod)),
        None => format!("change the pod{} so that it has {}", in_its_template(pod), Quoted(item)),
    };
    format!(
        "{of_pod}; `{field}` of `{}` is to stay as it is, for {} it",
        binding.key,
        number(others, "other pod has", "other pods have")
    )
}

/// What to change when no container has an item, and what to.
fn correction(binding: &Binding, item: Option<&str>, containers: &[&str]) -> String {
    let Some(item) = item else {
        return format!("correct the selectors of `{}`, or the pods", binding.key);
    };
    let field = selector_field(binding, item).to_string();
    let name = item.strip_prefix(DiscriminatorType::ContainerName.selector_key());
    match name.and_then(|rest| rest.strip_prefix(':')) {
        Some(name) if field == DISCRIMINATOR && !containers.is_empty() => format!(
            "set `{field}` of `{}` to {}{}, or call the container {} in the pods",
            binding.key,
            if containers.len() == 1 { "" } else { "one of " },
            quoted_list(containers.iter().copied()),
            Quoted(name)
        ),
        _ => format!("correct {} in `{field}` of `{}`, or the pods", Quoted(item), binding.key),
    }
}
