//! What else the pods of an output are given, or lose, beside the identity that it gives: by other bindings, by objects that
//! are not Kleym's, and in a mesh.

use super::code::Code;
use super::fallback;
use super::finding::{Finding, binding_key};
use super::live::{about, names, object_reference};
use super::scene::Scene;
use crate::fact::Binding;
use crate::spire::{Container, Pod};
use crate::text::{Quoted, quoted_list};

/// One pod, and perhaps one container of it: all that is asked about.
#[derive(Debug, Clone, Copy)]
pub struct Only<'a> {
    /// The place of the pod.
    pub pod: usize,
    /// The container.
    pub container: Option<&'a str>,
}

impl Only<'_> {
    fn holds(only: Option<Self>, pod: usize, container: &Container) -> bool {
        only.is_none_or(|only| only.pod == pod && only.container.is_none_or(|name| name == &*container.name))
    }
}

/// What else the same pods are given, or lose; of one pod alone, when only that is asked about.
pub fn neighbours(scene: &Scene<'_>, binding: &Binding, only: Option<Only<'_>>) -> Vec<Finding> {
    let Some((place, _)) = scene.fate(&binding.key) else { return Vec::new() };
    let others = others(scene, place, only);
    let of_pod = only.map(|only| only.pod);
    [
        fallback::displaced(scene, binding, place, of_pod),
        layered(scene, binding, &others),
        same_hint(scene, binding, place, &others).or_else(|| foreign(scene, binding, &others)),
        mesh(scene, binding, place, of_pod),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// That SPIRE's agent hands out the ID of a foreign object instead of the binding's, as their hints are equal.
pub fn shared_hint(scene: &Scene<'_>, binding: &Binding, only: Option<Only<'_>>) -> Option<Finding> {
    let (place, _) = scene.fate(&binding.key)?;
    same_hint(scene, binding, place, &others(scene, place, only))
}

/// Another object that gives a container another ID: the pod, the container, the object, the ID.
type Other<'a> = (&'a Pod, &'a Container, usize, &'a str);

/// For every container of the object's pods: the other objects that give it another ID.
fn others<'a>(scene: &Scene<'a>, place: usize, only: Option<Only<'_>>) -> Vec<Other<'a>> {
    let mut found = Vec::new();
    for entry in scene.prediction.entries_by(place) {
        let pod = &scene.world.pods[entry.pod];
        let Some(own) = entry.spiffe_id.text() else { continue };
        for container in pod.containers.iter().filter(|one| Only::holds(only, entry.pod, one)) {
            let Some(ids) = scene.prediction.several(scene.world, entry.pod, container) else { continue };
            if !ids.contains(own) {
                continue;
            }
            for (other, _) in scene.given(entry.pod, container) {
                let id = other.spiffe_id.text().filter(|id| *id != own && ids.contains(id));
                found.extend(id.map(|id| (pod, container, other.by, id)));
            }
        }
    }
    found
}

fn layered(scene: &Scene<'_>, binding: &Binding, others: &[Other<'_>]) -> Option<Finding> {
    let (pod, container, by, id) = others
        .iter()
        .find(|(_, _, by, _)| scene.binding_of(*by).is_some_and(|other| other.key < binding.key))?;
    let other = scene.binding_of(*by)?;
    let message = format!(
        "container `{}` of pod `{}` has two identities: that of `{}`, and {} of `{}`",
        container.name,
        pod.name,
        binding.key,
        Quoted(id),
        other.key
    );
    let hint =
        "which of them a workload takes by default is arbitrary in SPIRE: let it choose by hint or path";
    Some(
        about(Code::LayeredIdentities, binding, message)
            .hint(hint)
            .about(&binding_key(&other.key))
            .with_pods([*pod]),
    )
}

/// Of the entries that match a workload and share a hint that is not empty, SPIRE's agent hands out one: the one that was
/// created first, of equally old ones that with the lower ID (`spire: pkg/agent/common/hintsfilter`).
fn same_hint(scene: &Scene<'_>, binding: &Binding, place: usize, others: &[Other<'_>]) -> Option<Finding> {
    let hint = &scene.object(place).hint;
    let shares = |by: usize| !hint.is_empty() && scene.object(by).hint == *hint;
    let (pod, container, by, id) =
        others.iter().find(|(_, _, by, _)| scene.binding_of(*by).is_none() && shares(*by))?;
    // Of another instance of Kleym the hint is the same when the binding is, and that it is there at all is what is wrong.
    if scene.other_instance(*by).is_some() {
        return None;
    }
    let object = Quoted(&scene.object(*by).name).to_string();
    let message = format!(
        "ClusterSPIFFEID {object}, which is not Kleym's, gives container `{}` of pod `{}` the identity {}, with the hint {} that the output of `{}` has too: of entries that share a hint SPIRE's agent hands out one alone, the oldest",
        container.name,
        pod.name,
        Quoted(id),
        Quoted(hint),
        binding.key,
    );
    let fallback = if scene.serves_alone(*by) { "" } else { ", or set `fallback: true` in it" };
    let advice = format!(
        "let whoever relies on {} accept the binding's identity too, which is handed out once {object} is gone; then delete that{fallback}; another hint alone leaves the workload with two identities, of which it takes one by default; making the binding or the pods anew helps nobody, for the entry of {object} stays the older, or becomes as old",
        Quoted(id),
    );
    Some(
        about(Code::SharedHint, binding, message)
            .hint(advice)
            .with(object_reference(&scene.object(*by).name))
            .with_pods([*pod]),
    )
}

fn foreign(scene: &Scene<'_>, binding: &Binding, others: &[Other<'_>]) -> Option<Finding> {
    let (pod, container, by, id) = others.iter().find(|(_, _, by, _)| scene.binding_of(*by).is_none())?;
    let object = scene.object(*by);
    let (whose, hint) = match scene.other_instance(*by) {
        Some(instance) => (
            format!("which is of another instance of Kleym, {}", Quoted(instance)),
            "two operators never share a namespace: correct `--watch-namespace` of one, or remove what an earlier one left (`kleym-operator uninstall-check` names it)".to_owned(),
        ),
        None => (
            "which is not Kleym's".to_owned(),
            narrowed(scene, pod, container, *by),
        ),
    };
    let message = format!(
        "ClusterSPIFFEID {}, {whose}, gives container `{}` of pod `{}` another identity beside that of `{}`: {}",
        Quoted(&object.name),
        container.name,
        pod.name,
        binding.key,
        Quoted(id)
    );
    Some(
        about(Code::ForeignIdentity, binding, message)
            .hint(hint)
            .with(object_reference(&object.name))
            .with_pods([*pod]),
    )
}

/// How an object no longer reaches a container, and takes nothing from others: a fallback gives a pod nothing for which
/// anybody else has an entry, whichever container that is for.
fn narrowed(scene: &Scene<'_>, pod: &Pod, container: &Container, by: usize) -> String {
    let object = scene.object(by);
    let index = scene.prediction.entries_by(by).iter().map(|entry| entry.pod);
    let index = index.into_iter().find(|index| std::ptr::eq(&scene.world.pods[*index], pod));
    let reached = |one: &&Container| {
        index.is_some_and(|index| scene.given(index, one).any(|(entry, _)| entry.by == by))
    };
    let others = pod.containers.iter().filter(|one| one.name != container.name && pod.can_hold(one));
    let others: Vec<&str> = others.filter(reached).map(|one| &*one.name).collect();
    let how = match (object.selectors.is_empty(), others.as_slice()) {
        (true, []) => "narrow its `spec.podSelector` or `spec.namespaceSelector`".to_owned(),
        (true, [other]) => format!(
            "set `spec.workloadSelectorTemplates: ['k8s:container-name:{other}']` in ClusterSPIFFEID {}, if it is meant for that container: it has none, so every container gets its identity",
            Quoted(&object.name)
        ),
        (true, others) => format!(
            "set `k8s:container-name:<container>` in `spec.workloadSelectorTemplates` of ClusterSPIFFEID {} for the container that needs it (beside `{}` it reaches {}): it has none, so every container gets its identity",
            Quoted(&object.name),
            container.name,
            quoted_list(others.iter().copied())
        ),
        (false, _) => format!(
            "narrow its `spec.workloadSelectorTemplates`, which container `{}` matches, or its `spec.podSelector`",
            container.name
        ),
    };
    let fallback = if scene.serves_alone(by) { "" } else { "; or make it a fallback (`fallback: true`)" };
    format!("{how}{fallback}; which of two identities a workload takes by default is arbitrary in SPIRE")
}

/// Istio's proxy.
const PROXY: &str = "istio-proxy";

/// Istio authorises on `ns/<ns>/sa/<sa>` alone (its `pkg/spiffe`), and its proxy asks SPIRE like any other container.
fn mesh(scene: &Scene<'_>, binding: &Binding, place: usize, only: Option<usize>) -> Option<Finding> {
    let mut pods: Vec<&Pod> = Vec::new();
    let mut first = None;
    let entries = scene.prediction.entries_by(place).iter();
    for entry in entries.filter(|entry| only.is_none_or(|only| only == entry.pod)) {
        let pod = &scene.world.pods[entry.pod];
        let Some(id) = entry.spiffe_id.text().filter(|id| pod.istio && !is_of_account(id, pod)) else {
            continue;
        };
        let proxy = pod.containers.iter().find(|container| *container.name == *PROXY);
        let given =
            || proxy.into_iter().flat_map(|proxy| scene.given(entry.pod, proxy)).map(|(entry, _)| entry);
        // A proxy that is not seen yet is injected, and then has whatever the whole pod has.
        let reached = match proxy {
            Some(_) => given().any(|entry| entry.by == place),
            None => !binding.spec.as_ref().is_ok_and(|spec| spec.discriminator.is_some()),
        };
        let own = given().any(|entry| entry.spiffe_id.text().is_some_and(|id| is_of_account(id, pod)));
        if reached || !own {
            pods.push(pod);
            first.get_or_insert((id, reached));
        }
    }
    let (id, reached) = first?;
    let (have, pod) = (if pods.len() == 1 { "has" } else { "have" }, pods.first()?);
    let what = match reached {
        true => format!("replaces that by {}, for the proxy too", Quoted(id)),
        false => format!(
            "gives another container {}, and a fallback identity steps aside for the whole pod, the proxy's too",
            Quoted(id)
        ),
    };
    let message = format!(
        "{} {have} Istio's proxy, which authorises on `ns/<namespace>/sa/<service account>`; `{}` {what}",
        names(pods.iter().copied()),
        binding.key,
    );
    let template = format!(
        "`spiffeIDTemplate: spiffe://{{{{ .TrustDomain }}}}/ns/{{{{ .Namespace }}}}/sa/{}`",
        pod.service_account
    );
    let one_by_one =
        format!("`containerDiscriminator: {{type: ContainerName, value: {PROXY}}}` and {template}");
    let hint = match reached {
        true => format!(
            "when Istio takes its certificates from SPIRE: set {template} in `{}`, and the pods keep the ID of their account; or, where an objective is served, replace it by one binding with mode PerObjective for each container that needs an identity, that of the proxy with {one_by_one}; an identity of the proxy's own BESIDE this one would not do, for it would have two",
            binding.key
        ),
        false => format!(
            "when Istio takes its certificates from SPIRE: give the proxy the ID of its account by a binding of its own, with {one_by_one}"
        ),
    };
    Some(about(Code::MeshIdentityReplaced, binding, message).hint(hint).with_pods(pods))
}

/// Whether an ID is the one that Istio authorises a pod on.
fn is_of_account(id: &str, pod: &Pod) -> bool {
    let path = id.strip_prefix("spiffe://").and_then(|rest| rest.find('/').map(|at| &rest[at..]));
    path == Some(format!("/ns/{}/sa/{}", pod.namespace, pod.service_account).as_str())
}
