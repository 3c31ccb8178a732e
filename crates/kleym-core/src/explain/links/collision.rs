//! Two bindings that claim the same containers: whether one was made anew, so that it lost its age; and the labels by which
//! their pods differ, that both have to name.

use std::collections::{BTreeMap, BTreeSet};

use super::super::Question;
use super::labels::{in_words, is_written, workload};
use crate::fact::Binding;
use crate::name::BindingKey;
use crate::relation::Conflict;
use crate::spire::Pod;
use crate::text::{Quoted, quoted_list};

/// How long after it was created a binding is still on its way to its first verdict, in seconds.
const SETTLED: i64 = 60;

fn peer<'a>(question: &Question<'a>, binding: &Binding, conflict: &Conflict) -> Option<&'a Binding> {
    let key = BindingKey::new(binding.key.namespace.clone(), conflict.foremost.name.clone());
    question.scene.index.binding(&key)
}

/// That the refused binding was made anew, where times tell: it is as it was created, and the older one is Ready only since
/// then, long after that was created.
pub(super) fn remade(question: &Question<'_>, binding: &Binding, conflict: &Conflict) -> Option<String> {
    let peer = peer(question, binding, conflict)?;
    if binding.generation != Some(1) {
        return None;
    }
    let (created, theirs) = (binding.created?, peer.created?);
    let status = (question.status)(&peer.key)?;
    let since = status.since.filter(|_| status.ready == "True" && status.observed == peer.generation)?;
    // As Kubernetes writes times, their order is that of the texts.
    let time = |seconds: i64| (question.time)(seconds);
    let anew = since >= time(created - SETTLED) && since <= time(created + SETTLED);
    let lost_before = since > time(theirs + SETTLED);
    (anew && lost_before).then(|| {
        format!(
            "`{}` was made anew at {} (its generation is 1), so it is now the younger of the two: `{}` is from {} and Ready only since {since}; where GitOps replaces the binding (in Argo CD `Replace=true` or `Force=true`), take that off, or it happens again",
            binding.key,
            time(created),
            peer.key,
            time(theirs)
        )
    })
}

/// How the two are told apart by a label that their pods have and that no controller writes.
pub(super) fn apart(question: &Question<'_>, binding: &Binding, conflict: &Conflict) -> Option<String> {
    let scene = &question.scene;
    let peer = peer(question, binding, conflict)?;
    let own = scene.index.identity(&binding.key)?;
    let theirs = scene.index.identity(&peer.key)?;
    let mut pods: Vec<&Pod> = scene.selected(&binding.key, own);
    for pod in scene.selected(&peer.key, theirs) {
        if !pods.iter().any(|one| std::ptr::eq(*one, pod)) {
            pods.push(pod);
        }
    }
    let mut groups: BTreeMap<(&str, &str), Vec<&Pod>> = BTreeMap::new();
    for pod in pods.into_iter().filter(|pod| !pod.phase.ended()) {
        groups.entry(workload(pod)?).or_default().push(pod);
    }
    if groups.len() != 2 {
        return None;
    }
    let named = |key: &str| {
        let mut all = own.selectors.pod_labels().chain(theirs.selectors.pod_labels());
        all.any(|(other, _)| other == key)
    };
    let keys: BTreeSet<&str> =
        groups.values().flatten().flat_map(|pod| pod.labels.keys().map(|key| &**key)).collect();
    let of_version = |key: &str| ["version", "revision", "hash"].iter().any(|word| key.contains(word));
    let keys = keys.into_iter().filter(|key| !is_written(key) && !named(key) && !of_version(key));
    let mut telling: Vec<(&str, Vec<&str>)> = keys
        .filter_map(|key| {
            let values = groups.values().map(|pods| {
                let first = &**pods.first()?.labels.get(key)?;
                pods.iter()
                    .all(|pod| pod.labels.get(key).is_some_and(|value| **value == *first))
                    .then_some(first)
            });
            let values: Vec<&str> = values.collect::<Option<_>>()?;
            (values.first() != values.last()).then_some((key, values))
        })
        .collect();
    telling.sort_by_key(|(key, _)| (key.contains('/'), *key));
    let (key, values) = telling.into_iter().next()?;
    let item = |value: &str| format!("`k8s:pod-label:{key}:{value}`");
    let (own, theirs) = (binding.key.name.as_str(), peer.key.name.as_str());
    // The value of one binding's pods is often a part of its name.
    let says = |name: &str, other: &str, value: &str| name.contains(value) && !other.contains(value);
    let both = match values.as_slice() {
        [a, b] if says(theirs, own, a) || says(own, theirs, b) => Some((*b, *a)),
        [a, b] if says(theirs, own, b) || says(own, theirs, a) => Some((*a, *b)),
        _ => None,
    };
    let add = match both {
        Some((of_own, of_theirs)) => format!(
            "add {} to `spec.workloadSelectorTemplates` of `{own}` and {} to that of `{theirs}`",
            item(of_own),
            item(of_theirs)
        ),
        None => {
            let each = groups
                .keys()
                .zip(&values)
                .map(|(of, value)| format!("{} for {}", item(value), in_words(*of)));
            format!(
                "add to `spec.workloadSelectorTemplates` of each the label of its own pods ({})",
                each.collect::<Vec<_>>().join(", ")
            )
        }
    };
    let values = quoted_list(values.iter().copied());
    Some(format!(
        "tell the two apart by the label {}, in which their pods differ ({values}): {add}, in BOTH, for in one alone it proves nothing; or let whoever owns `{theirs}` remove it; if they are the same, keep one binding",
        Quoted(key)
    ))
}
