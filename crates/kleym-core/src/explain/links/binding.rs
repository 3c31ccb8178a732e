//! The binding: what the engine decides of it, and what its status reports.

use super::super::chain::{Evidence, Link, LinkKind};
use super::super::{ending, operator, read};
use super::{Subject, shown};
use crate::fact::Binding;
use crate::index::Verdict;
use crate::report::{Code, Finding, Standing, binding_key};
use crate::spire::Pod;
use crate::text::quoted_list;

impl Subject<'_> {
    pub(super) fn binding(&self) -> Link {
        let kind = LinkKind::Binding;
        let Some(binding) = self.binding else {
            let Some((_, pod)) = self.pod else { return Link::unseen(kind, "none") };
            return self.no_binding(pod);
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
        let undecided = self.scene.statuses.get(&binding.key).is_some_and(Option::is_none);
        let says = || match &status {
            Some(status) => {
                let generations = match (status.observed, binding.generation) {
                    (Some(observed), Some(generation)) => format!(", generation {observed} of {generation}"),
                    _ => String::new(),
                };
                format!("{}   Ready={} {}{generations}", binding.key.name, status.ready, status.reason)
            }
            None if undecided => format!("{}   no status yet: no operator has decided it", binding.key.name),
            None => format!("{}   nothing is wrong with it", binding.key.name),
        };
        let told = status.as_ref().is_some_and(|one| one.observed >= binding.generation);
        match &self.verdict {
            Verdict::Wanted(identity)
                if !told
                    && self.scene.standing(binding, identity) == Standing::Unknown
                    && let Some(idle) = self.nobody_decides(binding, None) =>
            {
                idle.read(seen)
            }
            // What a status says of another generation it does not say of this one.
            Verdict::Wanted(_) if status.as_ref().is_some_and(|one| one.observed < binding.generation) => {
                let says = format!("{}, so it is stale ({})", says(), Code::StatusStale);
                Link::unseen(kind, says).read(seen)
            }
            Verdict::Wanted(_) => Link::holds(kind, says()).read(seen),
            Verdict::Refused(refusal) => {
                let refused = self.refused(kind, binding, refusal);
                let idle = if told { None } else { self.nobody_decides(binding, refused.finding.as_ref()) };
                idle.unwrap_or(refused).read(seen)
            }
            Verdict::Deleting => ending::link(self.question, binding),
            Verdict::Waiting(kinds) => {
                // Kinds of one name differ by their group.
                let kinds: Vec<String> = kinds.keys().map(|kind| kind.crd_name()).collect();
                let kinds = quoted_list(kinds.iter().map(String::as_str));
                // What an operator has decided, which may read them, counts more than that nobody else can.
                let says = match &status {
                    Some(_) => format!("{}; not decided here: {kinds} could not be read", says()),
                    None => format!("{}   not decided: {kinds} could not be read", binding.key.name),
                };
                Link::unseen(kind, says).read(seen)
            }
            Verdict::Gone => Link::unseen(kind, "gone"),
        }
    }

    /// That no operator has decided a binding, for none works there; and why it will be refused once one does.
    fn nobody_decides(&self, binding: &Binding, refusal: Option<&Finding>) -> Option<Link> {
        // A file that nobody has applied waits for no operator.
        self.scene.statuses.get(&binding.key)?;
        let idle = operator::at_rest(self.question, &binding.key.namespace)?;
        let key = &binding.key;
        let message =
            format!("no operator has decided `{key}` as it is now, for none works in its namespace");
        let mut finding = Finding::new(idle.code, message).about(&binding_key(key)).hint(idle.hint);
        finding.note = refusal.map(|why| {
            let then = why.hint.as_ref().map(|hint| format!("; {hint}")).unwrap_or_default();
            format!("once one works, it refuses the binding ({}): {}{then}", why.code, why.message)
        });
        Some(Link::ends(LinkKind::Binding, finding).read(idle.read))
    }

    /// Nothing speaks of what a pod serves, or of the one container that is asked for.
    fn no_binding(&self, pod: &Pod) -> Link {
        let namespace = &pod.namespace;
        let pools = self.own_pools(pod);
        let (message, hint) = match self.question.container {
            Some(container) => (
                format!(
                    "no InferenceIdentityBinding of namespace `{namespace}` speaks of container `{container}` of pod `{}`",
                    pod.name
                ),
                format!(
                    "create one with `containerDiscriminator` for `{container}`, or one with `mode: PoolOnly`, which gives every container of the pool's pods an identity"
                ),
            ),
            None => {
                let pool =
                    pools.first().map(|pool| format!(" or of pool `{}`", pool.name)).unwrap_or_default();
                (
                    format!(
                        "no InferenceIdentityBinding of namespace `{namespace}` speaks of an objective{pool} that pod `{}` serves",
                        pod.name
                    ),
                    "create an InferenceIdentityBinding for the objective or the pool".to_owned(),
                )
            }
        };
        if let Some(link) = self.left_behind(pod, &pools) {
            return link;
        }
        let selectors = pools.iter().filter_map(|pool| {
            let labels = shown(pool.labels.as_ref().ok()?);
            Some(Evidence::new(format!("InferencePool {namespace}/{}", pool.name), "spec.selector", labels))
        });
        let selectors: Vec<Evidence> = selectors.collect();
        Link::ends(LinkKind::Binding, self.pod_finding(Code::NoBinding, message, hint))
            .read(selectors)
            .read([read::bindings(self.scene.index, namespace)])
    }
}
