//! The pod's labels: does the pool select it.

use super::super::chain::{Evidence, Link, LinkKind};
use super::{Subject, missing, number, own_labels, pod_object, selects, shown};
use crate::label::Labels;
use crate::name::ObjectName;
use crate::refusal::Refusal;
use crate::report::Code;
use crate::spire::Pod;
use crate::text::{Quoted, quoted_list};

impl Subject<'_> {
    pub(super) fn labels(&self) -> Link {
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

    fn not_selected(&self, pod: &Pod, pool: &ObjectName, labels: &Labels) -> Link {
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
}
