//! The pod's service account, and the one that the binding names.

use std::collections::BTreeMap;

use super::super::chain::{Evidence, Link, LinkKind};
use super::{Subject, pod_object};
use crate::report::{Code, selector_field, workloads};
use crate::spire::Pod;

/// The most accounts that are shown, each by one pod.
const SHOWN: usize = 3;

impl Subject<'_> {
    /// The account the binding names, from its identity or, when it has none, from its templates.
    fn account(&self) -> Option<&str> {
        if let Some(identity) = self.identity() {
            return Some(identity.selectors.service_account());
        }
        let spec = self.binding?.spec.as_ref().ok()?;
        let templates = spec.selector_templates.iter();
        let mut named = templates
            .filter_map(|template| template.strip_prefix("k8s:sa:"))
            .filter(|name| !name.contains("{{"));
        let first = named.next()?;
        named.next().is_none().then_some(first)
    }

    pub(super) fn service_account(&self) -> Link {
        let kind = LinkKind::ServiceAccount;
        let account = self.account();
        let of_binding = |account: &str| {
            self.binding.map(|binding| {
                let object = format!("InferenceIdentityBinding {}", binding.key);
                let item = format!("k8s:sa:{account}");
                Evidence::new(object, selector_field(binding, &item).to_string(), item)
            })
        };
        if let Some((_, pod)) = self.pod {
            let own = Evidence::new(pod_object(pod), "spec.serviceAccountName", &*pod.service_account);
            return match account {
                Some(account) if account != &*pod.service_account => {
                    let message = format!(
                        "pod `{}` runs as service account `{}`, but the binding names `{account}`",
                        pod.name, pod.service_account
                    );
                    let hint = format!(
                        "set `serviceAccountName: {account}` in the pod's template, or name `k8s:sa:{}` in the binding",
                        pod.service_account
                    );
                    let mut finding = self.pod_finding(Code::AccountNotUsed, message, hint);
                    finding.note = self.binding.and_then(|binding| self.note_of_fallback(binding));
                    Link::ends(kind, finding).read([own]).read(of_binding(account))
                }
                _ => Link::holds(kind, &*pod.service_account).read([own]),
            };
        }
        let Some(account) = account else {
            return Link::unseen(kind, "the binding names none that can be read");
        };
        if let Some((binding, identity)) = self.binding.zip(self.identity())
            && let Some(finding) =
                workloads(self.scene, binding, identity).into_iter().find(|f| f.code == Code::AccountNotUsed)
        {
            let pods = self.resolution().map(|resolved| self.pods_in(&resolved.pool.labels));
            let mut of_account: BTreeMap<&str, &Pod> = BTreeMap::new();
            for pod in pods.into_iter().flatten() {
                of_account.entry(&pod.service_account).or_insert(pod);
            }
            let each = of_account.into_iter().take(SHOWN);
            let each =
                each.map(|(name, pod)| Evidence::new(pod_object(pod), "spec.serviceAccountName", name));
            let each: Vec<Evidence> = each.collect();
            return Link::ends(kind, finding).read(each).read(of_binding(account));
        }
        Link::holds(kind, account).read(of_binding(account))
    }
}
