//! Each link, in a file of its own: what it says, what was read for it, and what breaks it. Here is what they share.

mod account;
mod binding;
mod class;
mod collision;
mod container;
mod hint;
mod image;
mod labels;
mod manager;
mod mend;
mod objective;
mod output;
mod pool;
mod socket;

use super::Question;
use super::chain::{Chain, Evidence, Link, LinkKind, Mark};
use crate::fact::{Binding, Pool};
use crate::index::Verdict;
use crate::label::Labels;
use crate::name::Namespace;
use crate::output::Ownership;
use crate::refusal::{Reason, Refusal};
use crate::render::Identity;
use crate::report::{Code, Finding, Reference, Scene, binding_key, refused};
use crate::resolve::{Halt, Resolved};
use crate::spire::Pod;

/// Whether a binding names its container, and that is not the one that is asked for.
pub(super) fn is_of_another_container(question: &Question<'_>, pod: usize, binding: &Binding) -> bool {
    let pod = &question.scene.world.pods[pod];
    let asked = |only: &str| pod.containers.iter().find(|container| *container.name == *only);
    let asked = question.container.and_then(asked);
    asked.is_some_and(|container| container::is_of_another(binding, pod, container))
}

/// Whether a binding leads to a pool that does not select the pod, and one of the same name in another group does.
pub(super) fn leads_to_a_twin(question: &Question<'_>, pod: usize, binding: &Binding) -> bool {
    let subject = Subject::of(question, Some(pod), Some(binding));
    subject.pod.is_some_and(|(_, pod)| subject.twin(pod).is_some())
}

/// Whether the output of a binding, as it is now, gives the pod an identity.
pub(super) fn still_gives(question: &Question<'_>, pod: usize, binding: &Binding) -> bool {
    Subject::of(question, Some(pod), Some(binding)).given_still().is_some()
}

/// That pods of a workload are in no pool, where others of it are in the binding's.
pub(super) fn left_out(question: &Question<'_>, binding: &Binding, chain: &Chain) -> Option<Finding> {
    Subject::of(question, None, Some(binding)).left_out(chain)
}

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
    let subject = Subject::of(question, pod, binding);
    let links = LinkKind::ALL.into_iter().map(|kind| {
        subject.if_decided(match kind {
            LinkKind::Labels => subject.labels(),
            LinkKind::ServiceAccount => subject.service_account(),
            LinkKind::Pool => subject.pool(),
            LinkKind::Objective => subject.objective(),
            LinkKind::Binding => subject.binding(),
            LinkKind::Container => subject.container(),
            LinkKind::Output => subject.output(),
            LinkKind::Class => subject.class(),
            LinkKind::Manager => subject.manager(),
        })
    });
    let mut chain = Chain::of(binding.map(|binding| binding.key.clone()), links);
    if let Some(binding) = binding {
        add_what_the_status_says(question, binding, &mut chain);
    }
    chain.spiffe_id = match &subject.verdict {
        Verdict::Wanted(identity) => Some(identity.spiffe_id.to_string()),
        Verdict::Refused(Refusal::Conflict(conflict)) => Some(conflict.spiffe_id.to_string()),
        _ => None,
    };
    chain
}

/// Whoever reports that a binding is not ready says why; that is shown where the chain ends, unless it is said there.
fn add_what_the_status_says(question: &Question<'_>, binding: &Binding, chain: &mut Chain) {
    let Some(status) = (question.status)(&binding.key) else { return };
    let message = status.message.trim();
    let speaks_of_this = status.ready != "True" && status.observed >= binding.generation;
    if !speaks_of_this || message.is_empty() {
        return;
    }
    let Some(end) = chain.links.iter_mut().find(|link| link.finding.is_some()) else { return };
    let of_finding = |finding: &Finding| {
        // Of a refusal the status says what the engine says, with what to do in one.
        let reason = Reason::ALL.iter().find(|reason| reason.as_str() == status.reason);
        reason.is_some_and(|reason| Code::of(*reason) == finding.code) || finding.message.contains(message)
    };
    let of_evidence = |read: &Evidence| read.value.contains(message);
    if end.finding.as_ref().is_some_and(of_finding) || end.evidence.iter().any(of_evidence) {
        return;
    }
    let object = format!("InferenceIdentityBinding {}", binding.key);
    end.evidence.push(Evidence::new(object, "status.conditions[Ready].message", message));
}

pub(super) fn shown(labels: &Labels) -> String {
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

impl<'a> Subject<'a> {
    fn of(question: &'a Question<'a>, pod: Option<usize>, binding: Option<&'a Binding>) -> Self {
        let scene = &question.scene;
        Self {
            question,
            scene,
            pod: pod.map(|pod| (pod, &scene.world.pods[pod])),
            binding,
            resolved: binding.and_then(|binding| scene.index.resolved(&binding.key)),
            verdict: binding.map_or(Verdict::Gone, |binding| scene.index.verdict(&binding.key).verdict),
        }
    }

    fn namespace(&self) -> &'a Namespace {
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

    /// The pool that selects the pod and has only its name in common with the one that the binding leads to.
    fn twin(&self, pod: &Pod) -> Option<&'a Pool> {
        let resolved = self.resolution().filter(|resolved| !selects(&resolved.pool.labels, pod))?;
        self.own_pools(pod).into_iter().find(|own| own.name == resolved.pool.name)
    }

    /// The SPIFFE ID that the binding's output gives the pod as it is now.
    fn given_still(&self) -> Option<&'a str> {
        let (binding, (index, _)) = self.binding.zip(self.pod)?;
        let (_, ownership) = self.scene.whose(binding)?;
        let (place, _) = self.scene.fate(&binding.key).filter(|_| ownership == Ownership::Ours)?;
        let mut entries = self.scene.prediction.entries_by(place).iter();
        entries.find(|entry| entry.pod == index)?.spiffe_id.text()
    }

    /// What could not be seen because the binding is not decided is not known. That is not `none`.
    fn if_decided(&self, link: Link) -> Link {
        let waits = matches!(self.verdict, Verdict::Waiting(_));
        let rests_on_it = link.mark == Mark::Unseen && link.kind != LinkKind::Binding;
        if waits && rests_on_it {
            Link::unseen(link.kind, "not known: the binding is not decided")
        } else {
            link
        }
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

    /// Why nothing can be said of pods.
    fn no_pods(&self) -> &'static str {
        if self.question.live { "the pods could not be read" } else { "there is no pod in the files" }
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

    fn refused(&self, kind: LinkKind, binding: &Binding, refusal: &Refusal) -> Link {
        let mut finding = refused(self.scene.index, binding, refusal);
        let alone = self.pod.is_some_and(|(_, pod)| pod.containers.len() == 1);
        if alone && finding.code == Code::IdentityCollision {
            finding.hint = Some(
                "tell the two apart by service account, or by a pod label, node or pod name that BOTH name, each that of its own pods (this pod has one container, so its name tells nothing); or let whoever owns the other remove it; if they are the same, keep one binding".to_owned(),
            );
        }
        finding.hint = self.mended(binding, refusal, &finding);
        finding.note = finding.note.or_else(|| self.note_of_grants(binding, refusal));
        if let Refusal::Conflict(conflict) = refusal {
            if finding.code == Code::IdentityCollision
                && let Some(apart) = collision::apart(self.question, binding, conflict)
            {
                finding.hint = Some(apart);
            }
            let edited = super::read::edited(self.question, binding, conflict).map(|(_, edited)| edited);
            if let Some(why) = edited.or_else(|| collision::remade(self.question, binding, conflict)) {
                finding.note =
                    Some(finding.note.map_or_else(|| why.clone(), |note| format!("{note}; {why}")));
            }
        }
        Link::ends(kind, finding).read(super::read::of_refusal(self.question, binding, refusal))
    }
}

fn number(number: usize, one: &str, several: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { several })
}
