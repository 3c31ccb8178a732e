//! The pod's service account, and the one that the binding names.

use std::collections::BTreeMap;

use super::super::chain::{Evidence, Link, LinkKind};
use super::labels::in_its_template;
use super::{Subject, number, pod_object};
use crate::report::{Code, Finding, selector_field, workloads};
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

    /// What to do about a pod that runs as another account. The binding is not to be changed where others run as its own.
    fn own_account_or_the_bindings(&self, pod: &Pod, account: &str) -> String {
        let template = match in_its_template(pod) {
            template if template.is_empty() => " in the pod's template".to_owned(),
            template => template,
        };
        let set = format!("set `serviceAccountName: {account}`{template}");
        let pods = self.resolution().map(|resolved| self.pods_in(&resolved.pool.labels)).unwrap_or_default();
        match pods.iter().filter(|one| &*one.service_account == account).count() {
            // An account that everything of the namespace shares is none to name.
            0 if &*pod.service_account == "default" => set,
            0 => format!("{set}, or name `k8s:sa:{}` in the binding", pod.service_account),
            others => format!(
                "{set}; the binding is to stay as it is, for {} as `{account}`",
                number(others, "other pod runs", "other pods run")
            ),
        }
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
                    let hint = self.own_account_or_the_bindings(pod, account);
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
            let note = self.note_of_fallbacks(binding);
            return Link::ends(kind, Finding { note, ..finding }).read(each).read(of_binding(account));
        }
        Link::holds(kind, account).read(of_binding(account))
    }
}
