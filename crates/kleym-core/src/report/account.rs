//! Which service account is meant, where a binding names none: that of the pods which are there.

use super::code::Code;
use super::finding::Finding;
use super::scene::Scene;
use crate::fact::Binding;
use crate::index::Verdict;
use crate::refusal::Refusal;
use crate::selector::SetError;
use crate::text::Quoted;

/// The account of the pods of the pool that a binding leads to, when all have one, and that is not everybody's.
pub fn account_of_pods<'a>(scene: &Scene<'a>, binding: &Binding) -> Option<&'a str> {
    let resolved = scene.index.resolved(&binding.key)?.ok()?;
    let pods = scene.pods_with(&binding.key.namespace, &resolved.pool.labels);
    let mut accounts = pods.into_iter().map(|pod| &*pod.service_account);
    let account = accounts.next().filter(|account| !matches!(*account, "" | "default"))?;
    accounts.all(|other| other == account).then_some(account)
}

/// Names the account in what to do about a binding that names none.
pub(super) fn name_them(scene: &Scene<'_>, found: &mut [Finding]) {
    for finding in found.iter_mut().filter(|finding| finding.code == Code::UnsafeSelector) {
        let Some(binding) = finding.about_binding().and_then(|key| scene.index.binding(&key)) else {
            continue;
        };
        let Verdict::Refused(refusal) = scene.index.verdict(&binding.key).verdict else { continue };
        if !matches!(refusal, Refusal::SelectorSet(SetError::NoServiceAccount)) {
            continue;
        }
        if let Some(account) = account_of_pods(scene, binding) {
            let item = format!("k8s:sa:{account}");
            finding.hint = Some(format!(
                "add {} to spec.workloadSelectorTemplates: the pool's pods run as that",
                Quoted(&item)
            ));
        }
    }
}
