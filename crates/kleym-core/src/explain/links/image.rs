//! An image that no container has as the kubelet reports it, which is what counts: a node may name the same image by another tag.

use std::collections::BTreeSet;

use super::super::chain::{Evidence, Link, LinkKind};
use super::container::{DISCRIMINATOR, selector};
use super::{Subject, number, pod_object};
use crate::fact::{Binding, BindingSpec, Discriminator, DiscriminatorType};
use crate::name::BindingKey;
use crate::relation::conflict;
use crate::render::{self, Identity};
use crate::report::{Code, Finding, bind_too, digest, is_latest, meant, of_one_repository, selector_field};
use crate::spire::{Container, Image, Pod};
use crate::text::{Quoted, quoted_list};

/// How a selector for the image of a container begins.
pub(super) const IMAGE: &str = "k8s:container-image:";

/// How a selector for the image of any container of a pod begins: of a regular one, and of one of `initContainers`.
const OF_POD: [(bool, &str); 2] = [(false, "k8s:pod-image:"), (true, "k8s:pod-init-image:")];

/// The most pods whose containers are shown.
const SHOWN: usize = 3;

/// A container whose image another pod's node reports by the name that is looked for.
struct Twin<'a> {
    container: &'a Container,
    own: &'a Image,
    pod: &'a Pod,
    theirs: &'a Image,
    /// How many pods report this image for the container; none where they do not all.
    all: Option<usize>,
}

impl<'a> Subject<'a> {
    /// The container of a pod that runs the image by another tag, as another pod's node shows.
    fn twin_image(
        &self,
        binding: &Binding,
        identity: &Identity,
        pod: &'a Pod,
        of: &[&'a Container],
        reference: &str,
    ) -> Option<Twin<'a>> {
        let mut pods = self.scene.selected(&binding.key, identity);
        pods.retain(|one| !one.phase.ended());
        let named = |pod: &'a Pod, name: &str| {
            let container = pod.containers.iter().find(|one| *one.name == *name)?;
            container.running.as_ref()
        };
        of.iter().find_map(|container| {
            let own = container.running.as_ref()?;
            let same = |theirs: &&Image| {
                let is = *theirs.image == *reference || *theirs.id == *reference;
                is && digest(&theirs.id).is_some() && digest(&theirs.id) == digest(&own.id)
            };
            let others = pods.iter().filter(|other| !std::ptr::eq(**other, pod));
            let (other, theirs) = others
                .filter_map(|other| Some((*other, named(other, &container.name)?)))
                .find(|(_, it)| same(it))?;
            let reports: Vec<&Image> = pods.iter().filter_map(|pod| named(pod, &container.name)).collect();
            let all = reports.iter().all(|one| one.id == own.id).then_some(reports.len());
            Some(Twin { container, own, pod: other, theirs, all })
        })
    }

    /// No container has an image as the kubelet reports it; nothing where it has reported none.
    pub(super) fn without_image(
        &self,
        binding: &Binding,
        identity: &Identity,
        pod: &'a Pod,
        item: &str,
        asked: &[&'a Container],
    ) -> Option<Link> {
        let reference = item.strip_prefix(IMAGE)?;
        let all: Vec<&Container> = pod.containers.iter().collect();
        let there = images(asked)?;
        if let Some(twin) = self.twin_image(binding, identity, pod, &all, reference) {
            return Some(self.by_another_tag(binding, pod, item, &twin));
        }
        let message =
            format!("no container of pod `{}` has {}; the kubelet reports {there}", pod.name, Quoted(item));
        let candidates = meant(reference, &all);
        let (hint, named) =
            self.of_these(binding, item, if candidates.is_empty() { asked } else { &candidates });
        let hint = self.and_bind(binding, pod, &candidates, named, hint);
        let mut finding = self.pod_finding(Code::NoSuchContainer, message, hint);
        finding.note = self.note_of_fallback(binding);
        let read = Evidence::new(pod_object(pod), "status.containerStatuses[].image", there);
        Some(Link::ends(LinkKind::Container, finding).read([read, selector(binding, item)]))
    }

    /// The node of the pod names the image by another tag than others do.
    fn by_another_tag(&self, binding: &Binding, pod: &'a Pod, item: &str, twin: &Twin<'_>) -> Link {
        let Twin { container, own, pod: other, theirs, all } = twin;
        let on = |pod: &Pod| match &pod.node_name {
            Some(node) => format!("node {}", Quoted(node)),
            None => "its node".to_owned(),
        };
        let way = if of_one_repository(&own.image, &theirs.image) { "tag" } else { "name" };
        let message = format!(
            "no container of pod `{}` has {}: {} names the same image of container `{}` by another {way}, {} (pod `{}` on {} reports {} with the same digest)",
            pod.name,
            Quoted(item),
            on(pod),
            container.name,
            Quoted(&own.image),
            other.name,
            on(other),
            Quoted(&theirs.image)
        );
        let field = selector_field(binding, item);
        let id = all.filter(|_| own.id.contains("@sha256:")).map(|all| {
            let reported =
                if all == 1 { "which it reports".to_owned() } else { format!("which all {all} pods report") };
            format!(
                "{} in `{field}`, {reported} as imageID and which has to follow every release",
                in_ticks(&self.as_item(binding, item, &own.id))
            )
        });
        let latest = match is_latest(&own.image) {
            true => format!("; do not write {}, for that tag moves", Quoted(&own.image)),
            false => String::new(),
        };
        let by_name = self.by_name(binding, item, container);
        let named = by_name.is_ok() && field.to_string() == DISCRIMINATOR;
        // Beside a digest no other container could be bound.
        let id = id.filter(|_| !named || self.asked_beside(&[*container]).is_none());
        let hint = match (by_name, id) {
            (Ok(name), Some(id)) => format!(
                "{name}, the steadier of two ways, for no node and no release changes it; or write {id}; the SPIFFE ID stays the same{latest}"
            ),
            (Ok(name), None) => format!("{name}; the SPIFFE ID stays the same{latest}"),
            (Err(refused), Some(id)) => format!("write {id}{refused}{latest}"),
            (Err(refused), None) => {
                format!("let the node name the image as the others do{refused}{latest}")
            }
        };
        let hint = self.and_bind(binding, pod, &[*container], named, hint);
        let mut finding = self.pod_finding(Code::NoSuchContainer, message, hint);
        finding.note = self.note_of_fallback(binding);
        let of = |pod: &Pod, image: &Image| {
            let field = |last: &str| format!("{}[{}].{last}", statuses(container), container.name);
            [
                Evidence::new(pod_object(pod), field("image"), &*image.image),
                Evidence::new(pod_object(pod), field("imageID"), &*image.id),
            ]
        };
        let node = pod.node_name.as_deref().unwrap_or("<none>");
        Link::ends(LinkKind::Container, finding)
            .read([Evidence::new(pod_object(pod), "spec.nodeName", node)])
            .read(of(pod, own))
            .read(of(other, theirs))
            .read([selector(binding, item)])
    }

    /// How a container is named instead of its image. `Err` says why not, where another binding stands in the way.
    fn by_name(&self, binding: &Binding, item: &str, container: &Container) -> Result<String, String> {
        let name = &container.name;
        let by_name = format!("k8s:container-name:{name}");
        let field = selector_field(binding, item).to_string();
        let spec = binding.spec.as_ref().ok();
        let discriminator = spec.and_then(|spec| spec.discriminator.as_ref());
        let named = |spec: &&BindingSpec| {
            let by_type = spec
                .discriminator
                .as_ref()
                .is_some_and(|it| it.kind == DiscriminatorType::ContainerName && it.value == *name);
            by_type || spec.selector_templates.iter().any(|text| **text == *by_name)
        };
        if spec.filter(named).is_some() && field != DISCRIMINATOR {
            return Ok(format!(
                "take {} out of `{field}` of `{}`, which names container `{name}` already",
                Quoted(item),
                binding.key
            ));
        }
        let mut then = spec.ok_or_else(String::new)?.clone();
        let kind = DiscriminatorType::ContainerName;
        let change = if field == DISCRIMINATOR {
            then.discriminator = Some(Discriminator { kind, value: name.clone() });
            format!(
                "discriminate by `ContainerName: {name}` in `spec.containerDiscriminator` of `{}`",
                binding.key
            )
        } else {
            // Another name of a container is there, or an image that is one.
            if discriminator.is_some_and(|named| named.kind == kind) {
                return Err(String::new());
            }
            let texts = then.selector_templates.iter();
            let texts =
                texts.map(|text| if **text == *item { by_name.as_str().into() } else { text.clone() });
            then.selector_templates = texts.collect();
            format!("write `{by_name}` instead of {} in `{field}` of `{}`", Quoted(item), binding.key)
        };
        match self.in_the_way(binding, &then) {
            Ok(()) => Ok(change),
            Err(Some(other)) => Err(format!(
                "; `ContainerName: {name}` would be refused because of `{other}` ({})",
                Code::IdentityCollision
            )),
            Err(None) => Err(String::new()),
        }
    }

    /// The binding that this one would meet, were it written so; `Err(None)` where it would be refused by itself.
    fn in_the_way(&self, binding: &Binding, then: &BindingSpec) -> Result<(), Option<BindingKey>> {
        let index = self.scene.index;
        let namespace = &binding.key.namespace;
        let resolved = self.resolution().ok_or(None)?;
        let identity = render::render(index.settings_in(namespace), &binding.key, then, resolved);
        let identity = identity.map_err(|_| None)?;
        let mut others = index.bindings_of(namespace).filter(|other| other.key != binding.key);
        let meets = |other: &&Binding| {
            let theirs = index.identity(&other.key);
            theirs.is_some_and(|theirs| conflict(&identity, theirs).is_some())
        };
        others.find(meets).map_or(Ok(()), |other| Err(Some(other.key.clone())))
    }

    /// How the container that is meant is named, or its image as the kubelet reports it: of these, where that is one. And whether
    /// it is discriminated by its name then.
    fn of_these(&self, binding: &Binding, item: &str, candidates: &[&Container]) -> (String, bool) {
        let field = selector_field(binding, item);
        let mut names: Vec<&str> = candidates.iter().map(|one| &*one.name).collect();
        names.sort_unstable();
        names.dedup();
        let reported = images(candidates).filter(|_| self.nobody_has(item));
        let steady = candidates.iter().all(|one| one.running.as_ref().is_none_or(|it| !is_latest(&it.image)));
        let image = reported.filter(|_| steady).map(|images| {
            format!("write the image as the kubelet reports it, in `{field}` of `{}`: {images}", binding.key)
        });
        let ([_], Some(first)) = (names.as_slice(), candidates.first()) else {
            let names = quoted_list(names);
            let place = format!("`{}`", binding.key);
            let hint = match field.to_string() == DISCRIMINATOR {
                true => format!(
                    "name the container that is meant, one of {names}, by `ContainerName` in `spec.containerDiscriminator` of {place}"
                ),
                false => format!(
                    "name the container that is meant, one of {names}, by `k8s:container-name:<name>` instead of {} in `{field}` of {place}",
                    Quoted(item)
                ),
            };
            return (hint, false);
        };
        let by_name = self.by_name(binding, item, first);
        let named = by_name.is_ok() && field.to_string() == DISCRIMINATOR;
        // Beside an image no other container could be bound by its name.
        let image = image.filter(|_| !named || self.asked_beside(candidates).is_none());
        let hint = match (by_name, image) {
            (Ok(name), Some(image)) => format!("{name}, which no other tag of the image changes; or {image}"),
            (Ok(name), None) => format!("{name}, which no other tag of the image changes"),
            (Err(refused), Some(image)) => format!("{image}{refused}"),
            (Err(refused), None) => {
                let id = candidates.iter().find_map(|one| one.running.as_ref()).map(|image| &image.id);
                let id = id.map(|id| in_ticks(&self.as_item(binding, item, id))).unwrap_or_default();
                format!(
                    "write what the kubelet reports as imageID, in `{field}` of `{}`: {id}{refused}",
                    binding.key
                )
            }
        };
        (hint, named)
    }

    /// Whether no pod of the binding's pool has what is to be changed.
    fn nobody_has(&self, item: &str) -> bool {
        self.pod.is_none_or(|(_, pod)| self.others_with(pod, item) == 0)
    }

    /// A value as it is written where an item stands.
    fn as_item(&self, binding: &Binding, item: &str, value: &str) -> String {
        if selector_field(binding, item).to_string() == DISCRIMINATOR {
            return value.to_owned();
        }
        let key = std::iter::once(IMAGE).chain(OF_POD.map(|(_, key)| key)).find(|key| item.starts_with(key));
        format!("{}{value}", key.unwrap_or_default())
    }

    /// The container that was asked for, where it is not one of those that are meant.
    fn asked_beside(&self, meant: &[&Container]) -> Option<&'a str> {
        let other = self.question.container.filter(|_| !meant.is_empty());
        other.filter(|name| meant.iter().all(|one| *one.name != **name))
    }

    /// That the container which was asked for is to be bound, too, where it is not the one that is meant; `named` says whether
    /// that one is discriminated by its name then, so that this one can be, too.
    fn and_bind(
        &self,
        binding: &Binding,
        pod: &Pod,
        meant: &[&Container],
        named: bool,
        hint: String,
    ) -> String {
        let Some(other) = self.asked_beside(meant) else { return hint };
        let names = quoted_list(meant.iter().map(|one| &*one.name));
        let then = binding.spec.as_ref().ok().filter(|_| named).map(|spec| BindingSpec {
            discriminator: Some(Discriminator {
                kind: DiscriminatorType::ContainerName,
                value: other.into(),
            }),
            ..spec.clone()
        });
        let bind = match then.filter(|then| self.in_the_way(binding, then).is_ok()) {
            Some(_) => format!("bind `{other}` too, by a binding of its own with `ContainerName: {other}`"),
            None => bind_too(self.scene, binding, pod, other),
        };
        format!("for container {names}: {hint}; and {bind}")
    }

    /// No container of any pod has an image as the kubelet reports it: each report is shown once.
    pub(super) fn image_of_no_pod(
        &self,
        binding: &Binding,
        finding: &Finding,
        item: &str,
        pods: &[&Pod],
    ) -> Option<Link> {
        let reference = item.strip_prefix(IMAGE)?;
        let mut different: Vec<(&Pod, String)> = Vec::new();
        for pod in pods {
            let all: Vec<&Container> = pod.containers.iter().collect();
            if let Some(images) = images(&all)
                && different.iter().all(|(_, other)| *other != images)
            {
                different.push((pod, images));
            }
        }
        let all: Vec<&Container> = pods.iter().flat_map(|pod| &pod.containers).collect();
        images(&all)?;
        let candidates = meant(reference, &all);
        let (hint, _) = self.of_these(binding, item, if candidates.is_empty() { &all } else { &candidates });
        let finding = Finding { hint: Some(hint), note: self.note_of_fallbacks(binding), ..finding.clone() };
        let read = different
            .into_iter()
            .take(SHOWN)
            .map(|(pod, images)| Evidence::new(pod_object(pod), "status.containerStatuses[].image", images));
        Some(Link::ends(LinkKind::Container, finding).read(read).read([selector(binding, item)]))
    }

    /// No container of the kind that an item speaks of has its image in these pods, which are alike in that: what the kubelet
    /// reports, and what to write. Nothing for another item, and where nothing was reported.
    pub(super) fn image_of_pod(
        &self,
        binding: &Binding,
        identity: &Identity,
        pod: &'a Pod,
        item: &str,
    ) -> Option<(String, String, Evidence)> {
        let (init, key, reference) =
            OF_POD.iter().find_map(|(init, key)| Some((*init, *key, item.strip_prefix(key)?)))?;
        let [own, others]: [Vec<&Container>; 2] = [init, !init].map(|init| pod.of(init).collect());
        let sort = |init: bool| if init { "init container" } else { "regular container" };
        let there = images(&own);
        if there.is_none() && images(&others).is_none() {
            return None;
        }
        let says = match &there {
            Some(there) => format!("of its {}s the kubelet reports {there}", sort(init)),
            None if own.is_empty() => format!("it has no {}", sort(init)),
            None => format!("of its {}s the kubelet reports none yet", sort(init)),
        };
        let place = format!("`{}` of `{}`", selector_field(binding, item), binding.key);
        let write = |key: &str, image: &str| {
            format!("write {} instead of {} in {place}", in_ticks(&format!("{key}{image}")), Quoted(item))
        };
        let candidates = meant(reference, &own);
        let twin = self.twin_image(binding, identity, pod, &own, reference);
        let exact = |one: &Container| one.running.as_ref().map(|image| steady(image).to_owned());
        let hint = match (twin, candidates.as_slice(), meant(reference, &others).as_slice()) {
            (Some(twin), ..) => write(key, &twin.own.id),
            (None, [], [other, ..]) => {
                let of = if init { "regular container" } else { other.kind.as_str() };
                format!(
                    "that image is of {of} `{}`, which SPIRE counts among the {}s: {}",
                    other.name,
                    sort(!init),
                    write(OF_POD[usize::from(!init)].1, &exact(other)?)
                )
            }
            (None, [one], _) => write(key, &exact(one)?),
            (None, several, _) => {
                let of = if several.is_empty() { &own } else { &candidates };
                let items = of.iter().filter_map(|one| Some(in_ticks(&format!("{key}{}", exact(one)?))));
                let items: BTreeSet<String> = items.collect();
                match items.len() {
                    0 => format!("take {} out of {place}", Quoted(item)),
                    1 => format!(
                        "write {} instead of {} in {place}",
                        items.into_iter().collect::<String>(),
                        Quoted(item)
                    ),
                    _ => format!(
                        "write that of the container which is meant instead of {} in {place}: {}",
                        Quoted(item),
                        items.into_iter().collect::<Vec<_>>().join(" or ")
                    ),
                }
            }
        };
        let field =
            if init { "status.initContainerStatuses[].image" } else { "status.containerStatuses[].image" };
        let read = Evidence::new(pod_object(pod), field, there.unwrap_or_else(|| "<none>".to_owned()));
        Some((says, hint, read))
    }

    /// The link of a pod for such an item.
    pub(super) fn without_image_of_pod(
        &self,
        binding: &Binding,
        identity: &Identity,
        pod: &'a Pod,
        item: &str,
    ) -> Option<Link> {
        let (says, hint, read) = self.image_of_pod(binding, identity, pod, item)?;
        let message = format!("pod `{}` does not have {}: {says}", pod.name, Quoted(item));
        let hint = match self.others_with(pod, item) {
            0 => hint,
            others => format!("{hint} ({} the former)", number(others, "other pod has", "other pods have")),
        };
        let mut finding = self.pod_finding(Code::NothingMatches, message, hint);
        finding.note = self.note_of_fallback(binding);
        Some(Link::ends(LinkKind::Container, finding).read([read, selector(binding, item)]))
    }
}

/// What of a report stays the same: the tag, but for one that everybody moves.
fn steady(image: &Image) -> &str {
    if is_latest(&image.image) && digest(&image.id).is_some() { &image.id } else { &image.image }
}

/// The field in which the kubelet reports a container.
fn statuses(container: &Container) -> &'static str {
    if container.kind.is_init() { "status.initContainerStatuses" } else { "status.containerStatuses" }
}

/// The images of containers, as the kubelet reports them.
fn images(containers: &[&Container]) -> Option<String> {
    let images = containers.iter().filter_map(|one| one.running.as_ref());
    let images: BTreeSet<&str> = images.map(|running| &*running.image).collect();
    (!images.is_empty()).then(|| quoted_list(images))
}

/// A value that is to be copied, and so is not cut where it is what an image may be.
fn in_ticks(value: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@".contains(c);
    if value.chars().all(plain) { format!("`{value}`") } else { Quoted(value).to_string() }
}
