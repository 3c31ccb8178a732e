//! The output of a binding, one ClusterSPIFFEID: what it must look like, what a live one looks like, whose it is and
//! how the two differ. Decided by the live object alone, never by a status or a cache.

mod kept;

use std::collections::BTreeMap;

use crate::name::{BindingKey, Namespace, ObjectName, Uid, binding_name_label, hint, output_name};
use crate::render::Identity;
use crate::selector::Item;
use crate::settings::Settings;

pub use kept::{KeptOutput, Outputs};

/// The finalizer of bindings: while it is there, an output may exist.
pub const FINALIZER: &str = "kleym.sonda.red/inferenceidentitybinding-finalizer";
/// Label of every output; its value is [`MANAGED_BY`].
pub const LABEL_MANAGED_BY: &str = "kleym.sonda.red/managed-by";
/// The value of [`LABEL_MANAGED_BY`].
pub const MANAGED_BY: &str = "kleym";
/// Label: the operator's instance.
pub const LABEL_INSTANCE: &str = "kleym.sonda.red/instance";
/// Label: the binding's namespace.
pub const LABEL_BINDING_NAMESPACE: &str = "kleym.sonda.red/binding-namespace";
/// Label: the binding's name, or a short form of it.
pub const LABEL_BINDING_NAME: &str = "kleym.sonda.red/binding-name";
/// Label: the class, beside `spec.className`, because spire-controller-manager can be told to cache by it.
pub const LABEL_CLASS_NAME: &str = "spire.spiffe.io/class-name";
/// Annotation: `<namespace>/<name>` of the binding.
pub const ANNOTATION_BINDING: &str = "kleym.sonda.red/binding";
/// Annotation: the binding's uid.
pub const ANNOTATION_BINDING_UID: &str = "kleym.sonda.red/binding-uid";
/// The label every namespace carries with its own name; the API server keeps it so.
pub const LABEL_NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";

/// Labels or annotations as they stand in an object.
pub type Pairs = BTreeMap<Box<str>, Box<str>>;

/// A label selector as it stands in a ClusterSPIFFEID.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LabelSelector {
    /// `matchLabels`
    pub match_labels: Pairs,
    /// Whether there is anything else in it (`matchExpressions` or a value of another type).
    pub others: bool,
}

/// The spec of a ClusterSPIFFEID, as far as Kleym writes it; everything else is named in `unwanted`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OutputSpec {
    /// `spiffeIDTemplate`; Kleym writes a literal.
    pub spiffe_id: Box<str>,
    /// `namespaceSelector`
    pub namespace_selector: Option<LabelSelector>,
    /// `podSelector`
    pub pod_selector: Option<LabelSelector>,
    /// `workloadSelectorTemplates`; Kleym writes literals.
    pub selectors: Box<[Box<str>]>,
    /// `className`
    pub class_name: Option<Box<str>>,
    /// `fallback`
    pub fallback: Option<bool>,
    /// `hint`
    pub hint: Option<Box<str>>,
    /// Fields that are set and that Kleym never writes (`admin`, `ttl`, ...), or that have an unexpected type, sorted.
    pub unwanted: Box<[Box<str>]>,
}

/// What a binding's output must look like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedOutput {
    /// The name, one for the binding's whole life.
    pub name: ObjectName,
    /// Our labels.
    pub labels: Pairs,
    /// Our annotations; without `binding-uid` when the binding has no uid (a file).
    pub annotations: Pairs,
    /// The whole spec.
    pub spec: OutputSpec,
}

/// Labels that are ours to set and to take away.
pub const OUR_LABELS: [&str; 5] =
    [LABEL_MANAGED_BY, LABEL_INSTANCE, LABEL_BINDING_NAMESPACE, LABEL_BINDING_NAME, LABEL_CLASS_NAME];
/// Annotations that are ours to set and to take away.
pub const OUR_ANNOTATIONS: [&str; 2] = [ANNOTATION_BINDING, ANNOTATION_BINDING_UID];

fn pairs<const N: usize>(entries: [(&str, &str); N]) -> Pairs {
    entries.into_iter().map(|(key, value)| (key.into(), value.into())).collect()
}

impl WantedOutput {
    /// The output of a binding that is to have this identity.
    pub fn of(settings: &Settings, binding: &BindingKey, uid: Option<&Uid>, identity: &Identity) -> Self {
        let (spiffe_id, items) = (identity.spiffe_id.as_str(), identity.selectors.items());
        Self::granting(settings, binding, uid, spiffe_id, items)
    }

    fn granting(
        settings: &Settings,
        binding: &BindingKey,
        uid: Option<&Uid>,
        spiffe_id: &str,
        items: &[Item],
    ) -> Self {
        let mut labels = pairs([
            (LABEL_MANAGED_BY, MANAGED_BY),
            (LABEL_INSTANCE, settings.instance.as_str()),
            (LABEL_BINDING_NAMESPACE, binding.namespace.as_str()),
            (LABEL_BINDING_NAME, &binding_name_label(&binding.name)),
        ]);
        if let Some(class) = &settings.class_name {
            labels.insert(LABEL_CLASS_NAME.into(), class.as_str().into());
        }
        let mut annotations = pairs([(ANNOTATION_BINDING, &binding.to_string())]);
        if let Some(uid) = uid {
            annotations.insert(ANNOTATION_BINDING_UID.into(), uid.as_str().into());
        }
        let pod_labels = items.iter().filter_map(Item::pod_label);
        let pod_labels = pod_labels.map(|(key, value)| (key.into(), value.into())).collect();
        Self {
            name: output_name(settings.instance.as_str(), binding),
            labels,
            annotations,
            spec: OutputSpec {
                spiffe_id: spiffe_id.into(),
                namespace_selector: Some(namespace_pin(&binding.namespace)),
                pod_selector: Some(LabelSelector { match_labels: pod_labels, others: false }),
                selectors: items.iter().map(|item| item.as_str().into()).collect(),
                class_name: settings.class_name.as_ref().map(|class| class.as_str().into()),
                fallback: Some(false),
                hint: Some(hint(binding).into()),
                unwanted: Box::default(),
            },
        }
    }
}

/// The selector that matches one namespace and no other.
pub fn namespace_pin(namespace: &Namespace) -> LabelSelector {
    LabelSelector { match_labels: pairs([(LABEL_NAMESPACE_NAME, namespace.as_str())]), others: false }
}

/// A value that no namespace's name label can have, because a namespace's name has no dots.
const NO_NAMESPACE: &str = "withdrawn.kleym.sonda.red";

/// What spire-controller-manager last reported of an output. A report, tied to no generation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OutputStats {
    /// `status.stats.podsSelected`
    pub pods_selected: i64,
    /// `status.stats.entriesToSet`
    pub entries_to_set: i64,
    /// `status.stats.entryFailures`
    pub entry_failures: i64,
    /// `status.stats.entriesMasked`
    pub entries_masked: i64,
    /// `status.stats.podEntryRenderFailures`
    pub pod_entry_render_failures: i64,
    /// `status.stats.namespacesIgnored`
    pub namespaces_ignored: i64,
}

/// A ClusterSPIFFEID as it stands in the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveOutput {
    /// Its name.
    pub name: ObjectName,
    /// Its uid; deletes are bound to it.
    pub uid: Uid,
    /// Its resourceVersion; replaces are bound to it.
    pub resource_version: Box<str>,
    /// `metadata.creationTimestamp` in seconds since 1970.
    pub created: Option<i64>,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// Its finalizers, all foreign: Kleym puts none on outputs.
    pub finalizers: Box<[Box<str>]>,
    /// Whether it has ownerReferences; Kleym takes them away.
    pub owned: bool,
    /// All labels.
    pub labels: Pairs,
    /// All annotations.
    pub annotations: Pairs,
    /// Its spec.
    pub spec: OutputSpec,
    /// What spire-controller-manager reported, if anything.
    pub stats: Option<OutputStats>,
}

/// Whose an object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ownership {
    /// The live binding's.
    Ours,
    /// Of a binding that no longer lives: a grant nobody asked for.
    Orphan,
    /// Somebody else's: never changed, deleted or adopted.
    Foreign,
}

impl LiveOutput {
    /// What the API server holds once an output was written that nobody else has touched.
    pub fn as_written(wanted: WantedOutput, uid: Uid, resource_version: &str, created: Option<i64>) -> Self {
        let WantedOutput { name, labels, annotations, spec } = wanted;
        Self {
            name,
            uid,
            resource_version: resource_version.into(),
            created,
            deleting: false,
            finalizers: Box::default(),
            owned: false,
            labels,
            annotations,
            spec,
            stats: None,
        }
    }

    fn label(&self, key: &str) -> Option<&str> {
        self.labels.get(key).map(|value| &**value)
    }

    fn annotation(&self, key: &str) -> Option<&str> {
        self.annotations.get(key).map(|value| &**value)
    }

    /// Whether it carries our `managed-by` label.
    pub fn wears_our_label(&self) -> bool {
        self.label(LABEL_MANAGED_BY) == Some(MANAGED_BY)
    }

    /// The instance of Kleym that it says it is of, when it carries our label.
    pub fn instance(&self) -> Option<&str> {
        self.label(LABEL_INSTANCE).filter(|_| self.wears_our_label())
    }

    /// The binding that it says it was written for, as `<namespace>/<name>`.
    pub fn of_binding(&self) -> Option<&str> {
        self.annotation(ANNOTATION_BINDING)
    }

    /// The uid of the binding that it says it was written for.
    pub fn binding_uid(&self) -> Option<&str> {
        self.annotation(ANNOTATION_BINDING_UID)
    }

    /// Whose an object at a live binding's own output name is. `uid` is the live binding's.
    ///
    /// A `binding-uid` that is another uid makes it an orphan (with the other proofs) or foreign; otherwise it is ours
    /// when two of three hold: the label `managed-by`, the annotation `binding`, the annotation `binding-uid`.
    pub fn ownership_at_own_name(&self, binding: &BindingKey, uid: &Uid) -> Ownership {
        let managed = self.wears_our_label();
        let named = self.annotation(ANNOTATION_BINDING) == Some(binding.to_string().as_str());
        match self.binding_uid() {
            Some(other) if other != uid.as_str() => {
                if managed && named {
                    Ownership::Orphan
                } else {
                    Ownership::Foreign
                }
            }
            found => {
                if usize::from(managed) + usize::from(named) + usize::from(found.is_some()) >= 2 {
                    Ownership::Ours
                } else {
                    Ownership::Foreign
                }
            }
        }
    }

    /// The binding, and its uid, that an object with complete proof belonged to when it was written: labels
    /// `managed-by` and `instance`, both annotations, and exactly the name computed for that binding.
    pub fn proven_binding(&self, settings: &Settings) -> Option<(BindingKey, Uid)> {
        if !self.wears_our_label() || self.label(LABEL_INSTANCE) != Some(settings.instance.as_str()) {
            return None;
        }
        let (namespace, name) = self.annotation(ANNOTATION_BINDING)?.split_once('/')?;
        let binding = BindingKey::new(Namespace::parse(namespace).ok()?, ObjectName::parse(name).ok()?);
        let uid = Uid::parse(self.annotation(ANNOTATION_BINDING_UID)?).ok()?;
        (output_name(settings.instance.as_str(), &binding) == self.name).then_some((binding, uid))
    }

    /// Whether its namespaceSelector matches no namespace that can exist.
    pub fn selects_nothing(&self) -> bool {
        let matches = self.spec.namespace_selector.as_ref().map(|selector| &selector.match_labels);
        matches
            .and_then(|labels| labels.get(LABEL_NAMESPACE_NAME))
            .is_some_and(|name| **name == *NO_NAMESPACE)
    }

    /// The same output, changed so that it selects nothing; everything Kleym never writes is gone from it.
    pub fn neutralised(&self) -> WantedOutput {
        let ours = |live: &Pairs, keys: &[&str]| -> Pairs {
            live.iter()
                .filter(|(key, _)| keys.contains(&&***key))
                .map(|(k, v)| (k.clone(), v.clone()))
                .collect()
        };
        let nothing =
            LabelSelector { match_labels: pairs([(LABEL_NAMESPACE_NAME, NO_NAMESPACE)]), others: false };
        WantedOutput {
            name: self.name.clone(),
            labels: ours(&self.labels, &OUR_LABELS),
            annotations: ours(&self.annotations, &OUR_ANNOTATIONS),
            spec: OutputSpec {
                namespace_selector: Some(nothing),
                fallback: Some(false),
                unwanted: Box::default(),
                ..self.spec.clone()
            },
        }
    }

    /// Which parts differ from what is wanted; empty when the object is in sync. Foreign labels, annotations and
    /// finalizers do not count.
    pub fn drift(&self, wanted: &WantedOutput) -> Vec<&'static str> {
        // Destructured so that a new field cannot be forgotten.
        let OutputSpec {
            spiffe_id,
            namespace_selector,
            pod_selector,
            selectors,
            class_name,
            fallback,
            hint,
            unwanted,
        } = &self.spec;
        let spec = &wanted.spec;
        let ours = |live: &Pairs, keys: &[&str]| -> Pairs {
            let of_ours = |key: &&str| live.get_key_value(*key).map(|(k, v)| (k.clone(), v.clone()));
            keys.iter().filter_map(of_ours).collect()
        };
        let checks = [
            ("spec.spiffeIDTemplate", *spiffe_id == spec.spiffe_id),
            ("spec.namespaceSelector", *namespace_selector == spec.namespace_selector),
            ("spec.podSelector", *pod_selector == spec.pod_selector),
            ("spec.workloadSelectorTemplates", *selectors == spec.selectors),
            ("spec.className", *class_name == spec.class_name),
            ("spec.fallback", *fallback == spec.fallback),
            ("spec.hint", *hint == spec.hint),
            ("spec (fields Kleym never writes)", unwanted.is_empty()),
            ("metadata.labels", ours(&self.labels, &OUR_LABELS) == wanted.labels),
            ("metadata.annotations", ours(&self.annotations, &OUR_ANNOTATIONS) == wanted.annotations),
            ("metadata.ownerReferences", !self.owned),
        ];
        checks.into_iter().filter(|(_, same)| !same).map(|(part, _)| part).collect()
    }

    /// Whether it grants more than is wanted: another ID, a wanted selector or label missing, another
    /// namespaceSelector, or admin, downstream, DNS names or federation set. Then it cannot wait for a replace.
    pub fn grants_more_than(&self, wanted: &WantedOutput) -> bool {
        const GRANTING: [&str; 5] =
            ["admin", "downstream", "dnsNameTemplates", "autoPopulateDNSNames", "federatesWith"];
        let lacks_label = |wanted: &Option<LabelSelector>, live: &Option<LabelSelector>| {
            let live = live.as_ref().map(|selector| &selector.match_labels);
            wanted
                .iter()
                .flat_map(|selector| &selector.match_labels)
                .any(|(key, value)| live.and_then(|labels| labels.get(key)) != Some(value))
        };
        self.spec.spiffe_id != wanted.spec.spiffe_id
            || wanted.spec.selectors.iter().any(|item| !self.spec.selectors.contains(item))
            || self.spec.namespace_selector != wanted.spec.namespace_selector
            || lacks_label(&wanted.spec.pod_selector, &self.spec.pod_selector)
            || self.spec.unwanted.iter().any(|field| GRANTING.contains(&&**field))
    }

    /// The labels and annotations of a replace: ours as wanted, foreign ones as they are.
    pub fn merged(&self, wanted: &WantedOutput) -> (Pairs, Pairs) {
        let merge = |live: &Pairs, ours: &[&str], wanted: &Pairs| -> Pairs {
            let foreign = live.iter().filter(|(key, _)| !ours.contains(&&***key));
            foreign.chain(wanted).map(|(key, value)| (key.clone(), value.clone())).collect()
        };
        (
            merge(&self.labels, &OUR_LABELS, &wanted.labels),
            merge(&self.annotations, &OUR_ANNOTATIONS, &wanted.annotations),
        )
    }
}

/// Whether two resourceVersions are comparable (both numbers) and the first is older.
pub fn is_older(a: &str, b: &str) -> bool {
    matches!((a.parse::<u64>(), b.parse::<u64>()), (Ok(a), Ok(b)) if a < b)
}

fn same_but_for_status(a: &LiveOutput, b: &LiveOutput) -> bool {
    let LiveOutput {
        name,
        uid,
        resource_version: _,
        created,
        deleting,
        finalizers,
        owned,
        labels,
        annotations,
        spec,
        stats: _,
    } = a;
    *name == b.name
        && *uid == b.uid
        && *created == b.created
        && *deleting == b.deleting
        && *finalizers == b.finalizers
        && *owned == b.owned
        && *labels == b.labels
        && *annotations == b.annotations
        && *spec == b.spec
}
