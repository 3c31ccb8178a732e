//! The page of Kubernetes Events. The texts stand in a match without a catch-all, so that an event cannot be added without.

use kleym_core::announce::Occasion;

use super::table;

const fn when(occasion: Occasion) -> &'static str {
    match occasion {
        Occasion::IdentityGranted => {
            "the binding's output grants its identity, and did not before; or it did, could not be written, and can be now"
        }
        Occasion::IdentityChanged => {
            "the output grants another SPIFFE ID, grants it to other workloads, or was created again by another object"
        }
        Occasion::IdentityWithdrawn => {
            "what the output granted is gone: the binding was deleted or refused, or waits for the outputs of others"
        }
        Occasion::IdentityRefused => {
            "the binding is refused, or its output cannot be written; the note has the condition's words"
        }
        Occasion::IdentityContested => {
            "a younger binding claims the same and is refused; told on the older one, which keeps its identity"
        }
        Occasion::ConflictEnded => "a binding that was refused because this one comes first no longer is",
        Occasion::OrphanRemoved => {
            "an output whose binding no longer lives was deleted, or is being deleted and kept by foreign finalizers; told on the ClusterSPIFFEID"
        }
        Occasion::ForeignObjectMet => {
            "an object that is not Kleym's stands at an output's name or wears Kleym's labels; it was left alone"
        }
        Occasion::NotPickedUp => {
            "spire-controller-manager has reported nothing two minutes after the output's creation or last change; an operator that has just started counts from the creation. The usual cause is a class that it does not watch"
        }
        Occasion::NotIssued => {
            "spire-controller-manager selects pods for the output, but has set no entry, or entries fail, for two minutes, counted likewise. A trust domain that is not SPIRE's looks like this"
        }
    }
}

const INTRO: &str = "\
# Events

The operator tells transitions as Kubernetes Events (`events.k8s.io/v1`), one each. Where nothing changes, nothing is told;
a restart repeats nothing that the status says already. A note says what, where and what to do.

- Events about a binding are in its namespace. Events about a ClusterSPIFFEID, which lives in no namespace, are in
  `default`.
- An event's name is computed from what it tells, so it stays one event over restarts; repetitions are a series.
- An object, and whatever has its name after it, has a few events at once and then one every five minutes. A failing event never delays a step.
- In a namespace that is being deleted events are dropped.

```console live
$ kubectl get events -n llm --field-selector involvedObject.kind=InferenceIdentityBinding
```

";

pub(super) fn page() -> String {
    let rows = Occasion::ALL.iter().map(|occasion| {
        [format!("`{}`", occasion.as_str()), occasion.action().to_owned(), when(*occasion).to_owned()]
    });
    format!("{INTRO}{}", table(["reason", "action", "when"], rows))
}
