//! The container that the selectors match.

use super::super::chain::{Evidence, Link, LinkKind};
use super::{Subject, pod_object};
use crate::fact::Binding;
use crate::report::{Code, Finding, workloads};
use crate::spire::{Answer, item_matches, set_matches};
use crate::text::{Quoted, quoted_list};

impl Subject<'_> {
    pub(super) fn container(&self) -> Link {
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
                (&*container.name, set_matches(texts, pod, container, space))
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
        let elsewhere = pod
            .containers
            .iter()
            .any(|container| set_matches(identity.selectors.texts(), pod, container, space).possible());
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
}
