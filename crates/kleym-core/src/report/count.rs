//! How many containers SPIRE counts in a pod, and which number a binding is to name where it names another one.

use super::place::selector_field;
use crate::fact::Binding;
use crate::render::Identity;
use crate::spire::{Container, ContainerKind, Pod};
use crate::text::{Quoted, quoted_list};

/// What is counted by a selector: regular containers alone, or those of `initContainers`, native sidecars among them.
const KEYS: [(bool, &str); 2] = [(false, "k8s:pod-image-count:"), (true, "k8s:pod-init-image-count:")];

/// A selector that counts containers.
#[derive(Debug, Clone, Copy)]
pub struct Count<'i> {
    item: &'i str,
    init: bool,
    number: &'i str,
}

impl<'i> Count<'i> {
    /// Nothing where a selector counts nothing.
    pub fn of(item: &'i str) -> Option<Self> {
        KEYS.iter().find_map(|(init, key)| {
            let number = item.strip_prefix(key)?;
            Some(Self { item, init: *init, number })
        })
    }

    /// What it counts, and what SPIRE counts in a pod.
    pub fn says(&self, pod: &Pod) -> String {
        let what = match self.init {
            false => "regular containers alone",
            true => "init containers alone, native sidecars among them",
        };
        format!("that counts {what}, and SPIRE counts {}", counted(pod))
    }

    /// What to write instead, where these pods are alike and are what is meant.
    pub fn hint(&self, binding: &Binding, identity: &Identity, pods: &[&Pod]) -> String {
        let place = format!("`{}` of `{}`", selector_field(binding, self.item), binding.key);
        let item = Quoted(self.item);
        let Some((first, own, other)) = self.alike(pods) else {
            return format!(
                "the pods are of several forms, so that no one number fits: take {item} out of {place}, or make the pods alike"
            );
        };
        let (own_key, other_key) = (KEYS[usize::from(self.init)].1, KEYS[usize::from(!self.init)].1);
        let wanted: Option<usize> = self.number.parse().ok();
        let more = wanted.is_some_and(|wanted| own > wanted);
        let mut change = format!("write `{own_key}{own}` instead of {item} in {place}");
        match identity.selectors.texts().find_map(|text| Some((text, text.strip_prefix(other_key)?))) {
            Some((_, number)) if number.parse() == Ok(other) => {}
            Some((text, _)) => change.push_str(&format!(
                ", and `{other_key}{other}` instead of {} in `{}`",
                Quoted(text),
                selector_field(binding, text)
            )),
            // What is counted elsewhere now was kept in check by the number before.
            None if !more && other > 0 => {
                change.push_str(&format!(
                    ", and add `{other_key}{other}` beside it so that still nothing else can be injected; or take the count out"
                ));
            }
            None => {}
        }
        if !more {
            return change;
        }
        let names: Vec<&str> = first.of(self.init).map(|one| &*one.name).collect();
        format!(
            "see first whether all of {} belong there, for the number keeps others out: if one does not, take it out of the pods; if all do, {change}",
            quoted_list(names)
        )
    }

    /// Both numbers of pods that have the same.
    fn alike<'p>(&self, pods: &[&'p Pod]) -> Option<(&'p Pod, usize, usize)> {
        let numbers = |pod: &Pod| (pod.of(self.init).count(), pod.of(!self.init).count());
        let first = pods.first()?;
        let (own, other) = numbers(first);
        pods.iter().all(|pod| numbers(pod) == (own, other)).then_some((*first, own, other))
    }
}

/// Which containers SPIRE counts, and as what: `1 regular (`vllm`), 1 init (`proxy`, a native sidecar)`.
fn counted(pod: &Pod) -> String {
    let each = KEYS.map(|(init, _)| {
        let containers: Vec<&Container> = pod.of(init).collect();
        format!("{} {}{}", containers.len(), if init { "init" } else { "regular" }, names(&containers))
    });
    each.join(", ")
}

/// ` (`a`; `b`, a native sidecar)`; empty for none.
fn names(containers: &[&Container]) -> String {
    let one = |container: &&Container| {
        let sidecar = if container.kind == ContainerKind::Sidecar { ", a native sidecar" } else { "" };
        format!("{}{sidecar}", Quoted(&container.name))
    };
    let each: Vec<String> = containers.iter().map(one).collect();
    if each.is_empty() { String::new() } else { format!(" ({})", each.join("; ")) }
}

/// The containers of a pod by the field in which each is counted; that of its status once the kubelet has reported all.
pub fn counted_in(pod: &Pod) -> [(&'static str, String); 2] {
    KEYS.map(|(init, _)| {
        let containers: Vec<&Container> = pod.of(init).collect();
        let reported = pod.containers.iter().any(|one| one.running.is_some());
        let field = match (init, reported && containers.iter().all(|one| one.running.is_some())) {
            (false, true) => "status.containerStatuses",
            (false, false) => "spec.containers",
            (true, true) => "status.initContainerStatuses",
            (true, false) => "spec.initContainers",
        };
        (field, format!("{}{}", containers.len(), names(&containers)))
    })
}
