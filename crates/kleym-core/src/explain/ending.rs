//! A binding that is being deleted: what holds it, and what to do until it is gone.

use super::chain::{Evidence, Link, LinkKind};
use super::{Question, operator};
use crate::fact::Binding;
use crate::output::{FINALIZER, Ownership};
use crate::report::{Code, FieldPath, Finding, binding_key};
use crate::text::{Quoted, quoted_list};

/// What `metadata` says of a deletion.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Deletion {
    /// `metadata.deletionTimestamp`, as it is written.
    pub timestamp: String,
    /// `metadata.finalizers`
    pub finalizers: Vec<String>,
}

/// The binding's link, at which the chain ends.
pub(super) fn link(question: &Question<'_>, binding: &Binding) -> Link {
    let key = binding_key(&binding.key);
    let deletion = (question.deletion)(&binding.key).unwrap_or_default();
    let (own, foreign): (Vec<&str>, Vec<&str>) =
        deletion.finalizers.iter().map(String::as_str).partition(|finalizer| *finalizer == FINALIZER);
    let again = "when the binding is gone, create it again if the identity is still wanted";
    let hint = match (own.is_empty(), foreign.as_slice()) {
        (true, []) => format!("nothing seems to hold it: see that it goes; {again}"),
        (false, []) => format!(
            "see that kleym-operator runs and leads (`kleym check`), for it has not let go of the binding yet; {again}"
        ),
        (_, foreign) => format!(
            "it stays until {} {} removed: wait for whoever set {}, or clear {} if nobody will; {again}",
            quoted_list(foreign.iter().copied()),
            if foreign.len() == 1 { "is" } else { "are" },
            if foreign.len() == 1 { "it" } else { "them" },
            if foreign.len() == 1 { "it" } else { "them" },
        ),
    };
    // The operator is what lets go of it, where nobody else holds it.
    let idle = if own.is_empty() || !foreign.is_empty() {
        None
    } else {
        operator::at_rest(question, &binding.key.namespace)
    };
    let (seen, hint) = match idle {
        Some((seen, why)) => (seen, format!("{why}; {again}")),
        None => (Vec::new(), hint),
    };
    // Withdrawn is what is gone.
    let ours = question.scene.whose(binding).filter(|(_, ownership)| *ownership == Ownership::Ours);
    let message = match ours {
        Some((live, _)) => format!(
            "`{}` is being deleted, and its output {} is still there: it grants {} until it is withdrawn",
            binding.key,
            Quoted(live.name.as_str()),
            Quoted(&live.spec.spiffe_id)
        ),
        None => format!("`{}` is being deleted, so its identity is withdrawn", binding.key),
    };
    let finding = Finding::new(Code::BindingDeleting, message)
        .about(&key)
        .at(key, FieldPath::dotted("metadata.deletionTimestamp"))
        .hint(hint);

    let object = format!("InferenceIdentityBinding {}", binding.key);
    let mut read = Vec::new();
    if !deletion.timestamp.is_empty() {
        read.push(Evidence::new(&*object, "metadata.deletionTimestamp", deletion.timestamp.as_str()));
    }
    if !deletion.finalizers.is_empty() {
        let whose = |finalizer: &String| match finalizer == FINALIZER {
            true => format!("{finalizer} (Kleym's)"),
            false => format!("{finalizer} (not Kleym's)"),
        };
        let finalizers: Vec<String> = deletion.finalizers.iter().map(whose).collect();
        read.push(Evidence::new(&*object, "metadata.finalizers", finalizers.join(", ")));
    }
    let status = (question.status)(&binding.key);
    read.extend(status.map(|status| {
        // Nobody reports that an identity is granted once it is withdrawn.
        let before = if status.ready == "True" { " (from before the deletion)" } else { "" };
        Evidence::new(
            object,
            "status.conditions[Ready]",
            format!("{} {}{before}", status.ready, status.reason),
        )
    }));
    Link::ends(LinkKind::Binding, finding).read(read).read(seen)
}
