//! The page of conditions: every type and reason, when it is said and what to do. The texts stand here, in matches without
//! a catch-all, so that a reason cannot be added without them.

use kleym_core::refusal::{Condition, Reason};
use kleym_core::report::Code;
use kleym_core::status::{
    REASON_API_UNAVAILABLE, REASON_INITIALIZING, REASON_RECONCILED, REASON_RESOLVED, RECONCILING, STALLED,
};

use super::table;

/// What is said of one reason.
struct Words {
    /// When it is said.
    when: &'static str,
    /// What a person does.
    fix: &'static str,
    /// The condition for GitOps tools that stands beside it.
    beside: &'static str,
}

const fn words(reason: Reason) -> Words {
    let (when, fix, beside) = match reason {
        Reason::TargetObjectiveNotFound => (
            "No InferenceObjective of the name in `spec.targetRef.name` exists in the binding's namespace (in the pinned group, when there is one), or it is being deleted.",
            "Create the objective in this namespace, or correct `spec.targetRef`. It may arrive later: the binding becomes Ready by itself.",
            RECONCILING,
        ),
        Reason::TargetPoolNotFound => (
            "The InferencePool that the objective, or the binding itself, names does not exist in the binding's namespace, or it is being deleted.",
            "Create the pool in this namespace, or correct the objective's `spec.poolRef`. It may arrive later.",
            RECONCILING,
        ),
        Reason::InvalidPoolRef => (
            "The binding's `spec.targetRef` or the objective's `spec.poolRef` cannot be followed: a field is missing or malformed, the kind is not InferencePool, the group has no pools Kleym reads, or the pool would be in another namespace.",
            "Correct the object and field that the message names.",
            STALLED,
        ),
        Reason::AmbiguousTargetRef => (
            "Objects of the target's name exist in several API groups and lead to different pools, or one of them leads nowhere.",
            "Pin one with `spec.targetRef.group`, or remove the others.",
            STALLED,
        ),
        Reason::InferenceObjectiveCrdMissing => (
            "No definition of InferenceObjective is installed, or not the one of the group in `spec.targetRef.group`. Said only when the absence is proved by a list of definitions by name.",
            "Install the definition, or bind a pool: `spec.targetRef.kind: InferencePool` with `mode: PoolOnly`.",
            RECONCILING,
        ),
        Reason::InferencePoolCrdMissing => (
            "No definition of InferencePool is installed, or not the one of the group that the objective names. Said only when the absence is proved.",
            "Install the definitions of the Gateway API Inference Extension.",
            RECONCILING,
        ),
        Reason::UnsafeSelector => (
            "The selectors cannot be proved to stay inside the namespace and service account: `k8s:ns` or `k8s:sa` is missing or wrong, an item is not on the closed list, two items exclude each other, or `spec.selectorSource` is unknown.",
            "Correct `spec.workloadSelectorTemplates` as the message says; for a missing item it holds the exact line to add.",
            STALLED,
        ),
        Reason::InvalidPoolSelector => (
            "The pool's selector is missing or empty, holds anything but labels, or a label is malformed, empty, or too long for a SPIRE selector.",
            "Correct the pool's `spec.selector`.",
            STALLED,
        ),
        Reason::IdentityCollision => (
            "A binding of this namespace that comes first gives the same workloads another SPIFFE ID, and nothing proves the two apart.",
            "Put different `k8s:container-name:<name>` selectors in both if they are different containers (or differ in service account, pod label, node or pod name); keep one binding if they are the same.",
            STALLED,
        ),
        Reason::DuplicateSpiffeId => (
            "A binding of this namespace that comes first has the same SPIFFE ID, case ignored, for another subject.",
            "Change `spec.spiffeIDTemplate` of one, or remove one.",
            STALLED,
        ),
        Reason::SelectorTemplateRenderFailed => (
            "An entry of `spec.workloadSelectorTemplates` has an unclosed brace, an unknown placeholder, or one that has no value here; or the list is empty or not a list of strings.",
            "Correct the entry whose number the message gives. The known placeholders are listed in it.",
            STALLED,
        ),
        Reason::MissingContainerDiscriminator => (
            "The mode is PerObjective, the default, and `spec.containerDiscriminator` is absent.",
            "Say which container serves the objective, or set `spec.mode: PoolOnly`.",
            STALLED,
        ),
        Reason::InvalidContainerDiscriminator => (
            "`spec.containerDiscriminator` stands in mode PoolOnly, has an unknown type, or its value is no selector value.",
            "Remove it, or correct its type or value.",
            STALLED,
        ),
        Reason::UnsupportedMode => (
            "`spec.mode` is unknown, or is PerObjective for a target of kind InferencePool.",
            "Set `spec.mode` to `PoolOnly` or `PerObjective`; a pool target needs `PoolOnly`.",
            STALLED,
        ),
        Reason::SpiffeIdRenderFailed => (
            "`spec.spiffeIDTemplate` has an unclosed brace, an unknown placeholder, or one that has no value here.",
            "Correct the template. The known placeholders are listed in the message.",
            STALLED,
        ),
        Reason::InvalidSpiffeId => (
            "The rendered text is no SPIFFE ID, is too long, has another trust domain, lies where the namespace may not go, or a head (`sa`, `objective`, `pool`) does not speak the truth.",
            "Correct `spec.spiffeIDTemplate`; the message names the rule. For a path outside `/ns/<namespace>/` an administrator has to grant the prefix.",
            STALLED,
        ),
        Reason::ClusterSpiffeIdCrdMissing => (
            "No definition of ClusterSPIFFEID is installed. Said only when the absence is proved.",
            "Install the definitions of spire-controller-manager.",
            RECONCILING,
        ),
        Reason::ManagedOutputConflict => (
            "At the name of the binding's output stands an object that is not Kleym's. It is not touched.",
            "Find out who made it, then remove it. The message holds the command.",
            STALLED,
        ),
        Reason::ManagedOutputApplyFailed => (
            "The output, or the finalizer on the binding without which none is made, could not be written: rejected by the API server or a webhook, a definition that cannot hold a field or is being deleted, something that changes what is stored, no permission, or no answer. The message says which, and what the output grants meanwhile.",
            "Rejected: see the operator's log for the answer, then change the binding's spec; or the webhook, and restart the operator, which does not try again before. Not stored as it is written, or it would grant more: the log names what differs; end that in the definition or the webhook, and after the latter restart. Unknown field: upgrade the definition to spire-controller-manager 0.6.0 or newer. The definition is being deleted: install it again once it is gone. No permission: give the operator its ClusterRole. No answer: the operator tries again by itself.",
            "`Reconciling` when it can pass by itself (no answer, no permission, a definition that is being deleted or not served), else `Stalled`",
        ),
    };
    Words { when, fix, beside }
}

const fn means(condition: Condition) -> &'static str {
    match condition {
        Condition::Ready => "the output in the cluster equals the rendered identity",
        Condition::InvalidRef => "target, pool or a required definition could not be resolved",
        Condition::UnsafeSelector => "the selectors cannot be proved safe",
        Condition::Conflict => "a binding that comes first claims the same",
        Condition::RenderFailure => "rendering or writing failed after resolution",
    }
}

const INTRO: &str = "\
# Conditions

Every binding has the five conditions below; GitOps tools get one more. Types and reasons are API: they are never renamed
and never used for something else.

- Every condition carries `observedGeneration`. `lastTransitionTime` moves only with the status.
- A message says what, where and what to do. It has at most 1,024 bytes and no text of an API reply that could change from
  try to try.
- Of several failures the first in this order is reported: decoding, resolution, pool selector, mode and discriminator,
  selector templates, selector proof, SPIFFE ID, conflict, writing. Types that were not reached are False.
- A condition is a report. No decision of the operator reads it back.
";

const AFTER: &str = "
## How they stand together

| the binding is | Ready | the other four | for GitOps tools |
| --- | --- | --- | --- |
| granted | True, `Reconciled` | False, `Resolved` | |
| refused | False, with the reason | one True with the same reason and message, the others False, `Resolved` | `Reconciling` or `Stalled`, as below |
| resolved, and waiting for an absence | Unknown, `Initializing` | False, `Resolved` | `Reconciling` |
| being deleted, its output gone, and kept by another finalizer | Unknown, `Initializing` | False, `Resolved` | `Reconciling` |
| not decided yet | Unknown, `Initializing` | Unknown, `Initializing` | `Reconciling` |
| held: a kind it needs cannot be read | as last decided | as last decided | `Reconciling`, `APIUnavailable` |

While Ready is not True, `computedSpiffeIDs`, `renderedSelectors` and `renderedClusterSPIFFEID` are absent. The output of a
refused binding is withdrawn; that of an undecided or held one stays as it is. Withdrawn means that the ClusterSPIFFEID is
gone. SPIRE's entry goes when spire-controller-manager next runs, an SVID that was issued lives until it expires, and the pods
get back whatever fallback identity the cluster gives them.

Where the output of a refused binding still grants because it cannot be deleted or made to select nothing, or where it cannot be
looked up whether it is gone, the message begins with that, and with what to do; the refusal follows after `it is to be gone,
because`.

## For GitOps tools

`Reconciling` and `Stalled` are there only when True, as kstatus wants them.

| type | True means |
| --- | --- |
| `Reconciling` | waiting can help: the target may arrive, an API may answer, an output may go |
| `Stalled` | nothing changes unless somebody changes something |

A new object's status starts at `observedGeneration: -1`, so that a tool waits for the operator instead of taking the object
for settled.
";

pub(super) fn page() -> String {
    let mut text = format!("{INTRO}\n## Types\n\n");
    text.push_str(&table(
        ["type", "True means", "reasons when True"],
        Condition::ALL.into_iter().map(|condition| {
            let mut reasons: Vec<String> = Reason::ALL
                .iter()
                .filter(|reason| reason.condition() == condition)
                .map(|reason| link(*reason))
                .collect();
            if condition == Condition::Ready {
                reasons.push(format!("[`{REASON_RECONCILED}`](#reconciled)"));
            }
            [format!("`{}`", condition.as_str()), means(condition).to_owned(), reasons.join(", ")]
        }),
    ));
    text.push_str(AFTER);
    text.push_str("\n## Reasons of refusals\n");
    for reason in Reason::ALL {
        let Words { when, fix, beside } = words(*reason);
        let (name, condition, code) = (reason.as_str(), reason.condition().as_str(), Code::of(*reason));
        let beside = if beside.contains('`') { beside.to_owned() } else { format!("`{beside}`") };
        text.push_str(&format!("\n### {name}\n\n"));
        text.push_str(&table(
            ["", ""],
            [
                ["condition".to_owned(), format!("`{condition}`")],
                ["when".to_owned(), when.to_owned()],
                ["what to do".to_owned(), fix.to_owned()],
                ["for GitOps tools".to_owned(), beside],
                ["finding".to_owned(), format!("[{code}](../findings/{code}.md)")],
            ],
        ));
    }
    text.push_str("\n## Other reasons\n");
    for (name, when) in [
        (
            REASON_RECONCILED,
            "Ready is True: the output in the cluster equals the rendered identity. Nothing to do.",
        ),
        (
            REASON_RESOLVED,
            "A failure condition is False: nothing of its kind stands against the binding, as far as it was looked at.",
        ),
        (
            REASON_INITIALIZING,
            "Not decided yet, or decided and waiting: for a kind that cannot be read yet, for the outputs of other bindings to go, for the binding's own former output to go, for the operator's finalizer to come off a binding that is being deleted, or for the back-off after a withdrawal. The message says which.",
        ),
        (
            REASON_API_UNAVAILABLE,
            "`Reconciling` is True because a kind the binding needs cannot be read. The last verdict and output are held. The message names the definition and the trouble.",
        ),
    ] {
        text.push_str(&format!("\n### {name}\n\n{when}\n"));
    }
    text
}

fn link(reason: Reason) -> String {
    let name = reason.as_str();
    format!("[`{name}`](#{})", name.to_ascii_lowercase())
}
