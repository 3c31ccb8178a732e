//! Fallback identities that a binding takes away: of which containers, and how these are given an identity instead. Nothing
//! is advised that would be refused in its turn.

use std::sync::Arc;

use super::code::Code;
use super::finding::Finding;
use super::live::{about, names, object_reference};
use super::scene::Scene;
use crate::fact::{Binding, BindingSpec, Discriminator, DiscriminatorType, Mode, Target};
use crate::index::Verdict;
use crate::kind::ObjectiveGroup;
use crate::name::BindingKey;
use crate::render::{self, Identity};
use crate::resolve::Resolved;
use crate::spire::{Answer, Container, Displaced, Pod, item_matches, set_matches};
use crate::text::{Quoted, quoted_list};

/// How a fallback object is made to apply beside others.
const NO_FALLBACK: &str = "let the default ClusterSPIFFEID be no fallback (`fallback: false`)";

/// What one fallback object no longer gives.
struct Lost<'a> {
    containers: Vec<&'a str>,
    pods: Vec<&'a Pod>,
    fallback: usize,
}

impl<'a> Lost<'a> {
    /// The containers that an object leaves without any identity, of the pods from which it took the fallback identity.
    fn of<'d>(
        scene: &Scene<'a>,
        binding: &Binding,
        displaced: impl Iterator<Item = &'d Displaced>,
    ) -> Option<Self> {
        let verdict = scene.index.verdict(&binding.key).verdict;
        // What the output leaves out only until it is as its binding wants it is not left without.
        let to_come = |pod: &Pod, container: &Container| match &verdict {
            Verdict::Wanted(identity) => {
                set_matches(identity.selectors.texts(), pod, container, scene.world.space(pod)).possible()
            }
            _ => false,
        };
        let (mut containers, mut pods, mut fallback): (Vec<&str>, Vec<&Pod>, _) =
            (Vec::new(), Vec::new(), None);
        for displaced in displaced {
            let pod = &scene.world.pods[displaced.pod];
            let left = scene.prediction.left_alone(scene.world, displaced.pod);
            let left = left.filter(|container| pod.can_hold(container) && !to_come(pod, container));
            let before = containers.len();
            containers.extend(left.map(|container| &*container.name));
            if containers.len() > before && !pods.iter().any(|known| std::ptr::eq(*known, pod)) {
                pods.push(pod);
            }
            fallback = Some(displaced.fallback);
        }
        containers.sort_unstable();
        containers.dedup();
        let fallback = fallback.filter(|_| !containers.is_empty())?;
        Some(Self { containers, pods, fallback })
    }
}

/// That a binding takes the fallback identity of containers away and gives them none; of one pod, when only that is asked
/// about.
pub(super) fn displaced(
    scene: &Scene<'_>,
    binding: &Binding,
    place: usize,
    only: Option<usize>,
) -> Option<Finding> {
    let asked = |displaced: &&Displaced| only.is_none_or(|only| only == displaced.pod);
    let certain = scene.prediction.displaced_by(place).filter(asked);
    let Some(Lost { containers, pods, fallback }) = Lost::of(scene, binding, certain) else {
        return maybe_displaced(scene, binding, place, only);
    };
    let fallback = &scene.object(fallback).name;
    let astray = astray(scene, binding, place, &containers, &pods);
    let others: Vec<&str> =
        containers.iter().copied().filter(|name| astray.is_none_or(|(_, own)| own != *name)).collect();
    let leaves = match (others.as_slice(), astray) {
        ([], _) | (_, None) => {
            let what = if containers.len() == 1 { "a container" } else { "containers" };
            format!("{what} without any: {}", quoted_list(containers.iter().copied()))
        }
        (others, Some((pod, own))) => format!(
            "{} without any: {}, and in pod `{}` `{own}` too, which it is for",
            if others.len() == 1 { "a container" } else { "containers" },
            quoted_list(others.iter().copied()),
            pod.name
        ),
    };
    let message = format!(
        "`{}` takes the fallback identity of {} ({}) away, and leaves {leaves}",
        binding.key,
        Quoted(fallback),
        names(pods.iter().copied()),
    );
    let hint = match meant_for(scene, binding, &containers, &pods) {
        None if let Some((pod, own)) = astray => format!(
            "`{}` gives container `{own}` its identity in other pods and not in `{}`: correct that first, as `kleym explain pod/{} -n {}` says; another binding of that container would give it a second identity, or be refused",
            binding.key, pod.name, pod.name, pod.namespace
        ),
        Some((other, what)) => format!(
            "`{other}` {what} and gives it nothing in these pods: correct that binding or the pods, for another one of the same container would compete with it{}",
            if containers.len() > 1 { "; bind the other containers too" } else { "" }
        ),
        None => instead(scene, binding, pods[0], &containers),
    };
    Some(
        about(Code::FallbackDisplaced, binding, message)
            .hint(hint)
            .with(object_reference(fallback))
            .with_pods(pods),
    )
}

/// A container that the binding gives its identity in other pods, and not in this one: it is not left out on purpose.
fn astray<'a>(
    scene: &Scene<'a>,
    binding: &Binding,
    place: usize,
    containers: &[&'a str],
    pods: &[&'a Pod],
) -> Option<(&'a Pod, &'a str)> {
    let Verdict::Wanted(identity) = scene.index.verdict(&binding.key).verdict else { return None };
    let gives = |pod: &Pod, name: &str| {
        let mut own = pod.containers.iter().filter(|one| *one.name == *name);
        own.any(|one| {
            set_matches(identity.selectors.texts(), pod, one, scene.world.space(pod)) == Answer::Yes
        })
    };
    let entries = || scene.prediction.entries_by(place).iter().map(|entry| &scene.world.pods[entry.pod]);
    let own = containers.iter().copied().find(|name| entries().any(|pod| gives(pod, name)))?;
    let has = |pod: &&&Pod| pod.containers.iter().any(|one| *one.name == *own) && !gives(pod, own);
    pods.iter().find(has).map(|pod| (*pod, own))
}

/// The same, where it is not known whether anybody had that fallback identity.
fn maybe_displaced(
    scene: &Scene<'_>,
    binding: &Binding,
    place: usize,
    only: Option<usize>,
) -> Option<Finding> {
    let displaced = scene.prediction.maybe_displaced_by(place).iter();
    let displaced = displaced.filter(|displaced| only.is_none_or(|only| only == displaced.pod));
    let Lost { containers, pods, fallback } = Lost::of(scene, binding, displaced)?;
    let message = format!(
        "{}, so it is not known whether `{}` takes a fallback identity away from {}: {}",
        unknown(scene, fallback),
        binding.key,
        if containers.len() == 1 { "a container" } else { "containers" },
        quoted_list(containers.iter().copied()),
    );
    Some(
        about(Code::ManagerUnknown, binding, message)
            .hint("say what spire-controller-manager is configured with: --scm-class-name, --scm-watch-classless and --scm-ignore-namespaces")
            .with(object_reference(&scene.object(fallback).name))
            .with_pods(pods),
    )
}

/// What is not known of an object, in words.
pub fn unknown(scene: &Scene<'_>, place: usize) -> String {
    let object = scene.object(place);
    let name = Quoted(&object.name);
    match scene.world.manager_of(object).watches(object).0 {
        Answer::Unknown if object.class_name.is_empty() => format!(
            "the fallback ClusterSPIFFEID {name} has no class, and nobody could read whether spire-controller-manager watches such"
        ),
        Answer::Unknown => format!(
            "the fallback ClusterSPIFFEID {name} has class {}, and nobody could read whether spire-controller-manager watches that",
            Quoted(&object.class_name)
        ),
        _ => format!("nobody could read whether the fallback ClusterSPIFFEID {name} selects these pods"),
    }
}

/// Another binding that is meant for one of these containers, in a pool of one of these pods, and gives it nothing there; with
/// how it is meant for it.
fn meant_for<'a>(
    scene: &Scene<'a>,
    binding: &Binding,
    containers: &[&str],
    pods: &[&'a Pod],
) -> Option<(&'a BindingKey, String)> {
    let mut others = scene.index.bindings_of(&binding.key.namespace).filter(|other| other.key != binding.key);
    others.find_map(|other| {
        let spec = other.spec.as_ref().ok()?;
        // What is narrowed on purpose is not meant for them.
        let narrowed = |begins: &str, pod: &Pod, container: &Container| {
            let literal = spec
                .selector_templates
                .iter()
                .filter(|text| text.starts_with(begins) && !text.contains("{{"));
            literal.into_iter().any(|item| !item_matches(item, pod, container, None).possible())
        };
        let meant = |pod: &Pod, container: &Container| match (&spec.discriminator, spec.mode) {
            (Some(named), _) => {
                let item = format!("{}:{}", named.kind.selector_key(), named.value);
                let has = item_matches(&item, pod, container, None) == Answer::Yes;
                let what = match named.kind {
                    DiscriminatorType::ContainerName => "names container",
                    DiscriminatorType::ContainerImage => "names the image of container",
                };
                (has && !narrowed("k8s:container-", pod, container))
                    .then(|| format!("{what} `{}`", container.name))
            }
            (None, Mode::PoolOnly) => (!narrowed("k8s:", pod, container))
                .then(|| "is for every container of its pool (`mode: PoolOnly`)".to_owned()),
            (None, Mode::PerObjective) => None,
        };
        let of_pod = |pod: &&'a Pod| {
            let mut left = pod.containers.iter().filter(|one| containers.contains(&&*one.name));
            left.find_map(|container| meant(pod, container))
        };
        let what = pods.iter().find_map(of_pod)?;
        let resolved = scene.index.resolved(&other.key)?.ok()?;
        let in_pool = |pod: &&Pod| {
            let mut labels = resolved.pool.labels.iter();
            labels
                .all(|(key, value)| pod.labels.get(key.as_str()).is_some_and(|own| **own == *value.as_str()))
        };
        pods.iter().any(in_pool).then_some((&other.key, what))
    })
}

/// How a container of a binding's pods may be given an identity by another binding.
enum Way<'a> {
    /// It would be granted; when not in every form, in this one.
    Open(Option<DiscriminatorType>),
    /// It would be refused, because of this one.
    Closed(Option<&'a BindingKey>),
}

/// The ways there are for containers of a pod of a binding.
struct Ways<'a> {
    /// By a binding of each one's own.
    own: Way<'a>,
    /// By one in mode PoolOnly.
    pool: Way<'a>,
}

impl<'a> Ways<'a> {
    fn of(scene: &Scene<'a>, binding: &Binding, pod: &Pod, containers: &[&str]) -> Self {
        let Some(Ok(resolved)) = scene.index.resolved(&binding.key) else {
            return Self { own: Way::Open(None), pool: Way::Open(None) };
        };
        // Whichever objective it would be of: where the binding is of a pool, one of any name.
        let any = || (resolved.pool.name.clone(), ObjectiveGroup::LlmD);
        let objective = Some(resolved.objective.clone().unwrap_or_else(any));
        let attempt = Attempt { scene, binding, pod, resolved: Resolved { objective, ..resolved } };
        Self { own: attempt.own(containers), pool: attempt.pool() }
    }
}

/// Bindings that nobody has written yet, to see whether they would be refused.
struct Attempt<'s, 'a> {
    scene: &'s Scene<'a>,
    binding: &'s Binding,
    pod: &'s Pod,
    resolved: Resolved,
}

impl<'a> Attempt<'_, 'a> {
    /// Who stands in the way of a binding, whichever objective it is of; nobody when it would be granted. `Err(None)` when it
    /// is refused by itself.
    fn granted(&self, discriminator: Option<Discriminator>) -> Result<(), Option<&'a BindingKey>> {
        let namespace = &self.binding.key.namespace;
        let (name, group) = (self.resolved.pool.name.clone(), Some(self.resolved.pool_group));
        let per_objective = discriminator.is_some();
        // The ID of an objective that nobody has bound is one that no binding has.
        let id = format!("spiffe://{{{{ .TrustDomain }}}}/ns/{namespace}/another/one");
        let account = &self.pod.service_account;
        let spec = BindingSpec {
            target: Target::Pool { name, group },
            mode: if per_objective { Mode::PerObjective } else { Mode::PoolOnly },
            discriminator,
            selector_templates: Arc::new([
                format!("k8s:ns:{namespace}").into(),
                format!("k8s:sa:{account}").into(),
            ]),
            spiffe_id_template: per_objective.then(|| id.into()),
        };
        let index = self.scene.index;
        let identity: Identity =
            render::render(index.settings_in(namespace), &self.binding.key, &spec, &self.resolved)
                .map_err(|_| None)?;
        match index.in_the_way(namespace, &identity) {
            Some(binding) => Err(Some(&binding.key)),
            None => Ok(()),
        }
    }

    fn own(&self, containers: &[&str]) -> Way<'a> {
        let by_name = containers.iter().map(|name| (DiscriminatorType::ContainerName, (*name).to_owned()));
        let by_name = self.each(by_name);
        let Err(against) = by_name else { return Way::Open(None) };
        let images: Option<Vec<String>> = containers.iter().map(|name| self.image(name)).collect();
        let by_image = images.map(|images| {
            self.each(images.into_iter().map(|image| (DiscriminatorType::ContainerImage, image)))
        });
        match by_image {
            Some(Ok(())) => Way::Open(Some(DiscriminatorType::ContainerImage)),
            _ => Way::Closed(against),
        }
    }

    fn each(
        &self,
        mut all: impl Iterator<Item = (DiscriminatorType, String)>,
    ) -> Result<(), Option<&'a BindingKey>> {
        all.try_for_each(|(kind, value)| self.granted(Some(Discriminator { kind, value: value.into() })))
    }

    /// The image of a container, as the kubelet reports it.
    fn image(&self, name: &str) -> Option<String> {
        let container = self.pod.containers.iter().find(|one| *one.name == *name)?;
        container.running.as_ref().map(|image| image.image.to_string())
    }

    fn pool(&self) -> Way<'a> {
        match self.granted(None) {
            Ok(()) => Way::Open(None),
            Err(against) => Way::Closed(against),
        }
    }
}

const BY_POOL: &str =
    "gives every container of the pool's pods the identity of the pool, beside what they have";

/// Which form a discriminator must have.
fn form(kind: Option<DiscriminatorType>) -> String {
    kind.map(|kind| format!(" of type `{}`", kind.as_str())).unwrap_or_default()
}

/// Why a binding would be refused.
fn refused(against: Option<&BindingKey>) -> String {
    let because = against.map(|key| format!(" because of `{key}`")).unwrap_or_default();
    format!("would be refused{because} ({})", Code::IdentityCollision)
}

/// What to do about containers that lost their fallback identity.
fn instead(scene: &Scene<'_>, binding: &Binding, pod: &Pod, containers: &[&str]) -> String {
    let Ways { own, pool } = Ways::of(scene, binding, pod, containers);
    match (own, pool) {
        (Way::Open(None), Way::Open(_)) => format!(
            "bind these containers too (one binding with `mode: PoolOnly` {BY_POOL}), or {NO_FALLBACK}"
        ),
        (Way::Open(kind), Way::Open(_)) => format!(
            "bind these containers too (one binding with `mode: PoolOnly` {BY_POOL}; each by itself by a `containerDiscriminator`{}), or {NO_FALLBACK}",
            form(kind)
        ),
        (Way::Open(kind), Way::Closed(against)) => format!(
            "bind these containers too (each by a binding of its own, with a `containerDiscriminator`{}; one with `mode: PoolOnly` {}), or {NO_FALLBACK}",
            form(kind),
            refused(against)
        ),
        (Way::Closed(against), Way::Open(_)) => format!(
            "bind these containers too, by one binding with `mode: PoolOnly`, which {BY_POOL} (one of their own {}), or {NO_FALLBACK}",
            refused(against)
        ),
        (Way::Closed(against), Way::Closed(_)) => {
            format!("{NO_FALLBACK}; another binding for these containers {}", refused(against))
        }
    }
}

/// How a container that another one's binding leaves out is given an identity.
pub fn bind_too(scene: &Scene<'_>, binding: &Binding, pod: &Pod, container: &str) -> String {
    let Ways { own, pool } = Ways::of(scene, binding, pod, &[container]);
    match (own, pool) {
        (Way::Open(kind), Way::Open(_)) => format!(
            "bind `{container}` too: by a binding of its own with `containerDiscriminator`{} for it, or by one with `mode: PoolOnly`, which {BY_POOL}",
            form(kind)
        ),
        (Way::Open(kind), Way::Closed(against)) => format!(
            "bind `{container}` too, by a binding of its own with `containerDiscriminator`{} for it; one with `mode: PoolOnly` {}",
            form(kind),
            refused(against)
        ),
        (Way::Closed(against), Way::Open(_)) => format!(
            "bind `{container}` too, by a binding with `mode: PoolOnly`, which {BY_POOL}; one of its own {}",
            refused(against)
        ),
        (Way::Closed(against), Way::Closed(_)) => {
            format!("correct the binding that is there: another one for `{container}` {}", refused(against))
        }
    }
}
