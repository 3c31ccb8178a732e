//! What there is to say about bindings, from the verdicts alone: nothing of pods, SPIRE or live outputs.

use std::collections::BTreeMap;
use std::fmt;

use super::code::Code;
use super::finding::{Finding, Reference, binding_key};
use super::origin::which_to_remove;
use super::place::{self, FieldPath};
use crate::fact::{Binding, FactKey, PoolRefError, PoolSelectorError};
use crate::index::{Index, Verdict};
use crate::kind::{Kind, ObjectiveGroup, PoolGroup};
use crate::name::{BindingKey, Namespace, ObjectName};
use crate::refusal::Refusal;
use crate::relation::Conflict;
use crate::spiffe::SpiffeIdError;
use crate::text::{Quoted, quoted_list};

/// The service account that every pod has that names none.
const DEFAULT_SERVICE_ACCOUNT: &str = "default";

/// Everything there is to say about the bindings of an index: by binding, the most serious first.
pub fn findings(index: &Index) -> Vec<Finding> {
    let verdicts: Vec<(&Binding, Verdict)> =
        index.bindings().map(|binding| (binding, index.verdict(&binding.key).verdict)).collect();
    let mut contested: BTreeMap<BindingKey, Vec<&Binding>> = BTreeMap::new();
    for (binding, verdict) in &verdicts {
        if let Verdict::Refused(Refusal::Conflict(conflict)) = verdict {
            for peer in &conflict.peers {
                let older = BindingKey::new(binding.key.namespace.clone(), peer.name.clone());
                contested.entry(older).or_default().push(binding);
            }
        }
    }
    let mut found = Vec::new();
    for (binding, verdict) in &verdicts {
        match verdict {
            Verdict::Gone => {}
            Verdict::Deleting => found.push(deleting(binding)),
            Verdict::Waiting(kinds) => {
                let kinds: Vec<String> = kinds.keys().map(|kind| kind.crd_name()).collect();
                let kinds = quoted_list(kinds.iter().map(String::as_str));
                let message = format!("`{}` is not decided: {kinds} cannot be read", binding.key);
                let key = binding_key(&binding.key);
                let finding = Finding::new(Code::Undecided, message).about(&key);
                found.push(finding.at(key, FieldPath::target()));
            }
            Verdict::Refused(refusal) => found.push(refused(index, binding, refusal)),
            Verdict::Wanted(identity) => {
                if identity.selectors.service_account() == DEFAULT_SERVICE_ACCOUNT {
                    found.push(shared_service_account(binding));
                }
                if let Some(later) = contested.get(&binding.key) {
                    found.push(contested_by(binding, later));
                }
            }
        }
    }
    found
}

fn deleting(binding: &Binding) -> Finding {
    let key = binding_key(&binding.key);
    let message = format!("`{}` is being deleted, so it is to have no output", binding.key);
    Finding::new(Code::BindingDeleting, message).about(&key).at(key, FieldPath::name())
}

fn shared_service_account(binding: &Binding) -> Finding {
    let key = binding_key(&binding.key);
    let message = format!(
        "service account `{DEFAULT_SERVICE_ACCOUNT}` is shared by everything in namespace `{}` that names none",
        binding.key.namespace
    );
    Finding::new(Code::SharedServiceAccount, message)
        .about(&key)
        .hint("give the model server its own service account and name it here")
        .at(key, place::of_item(binding, "k8s:sa:default"))
}

fn contested_by(binding: &Binding, later: &[&Binding]) -> Finding {
    let key = binding_key(&binding.key);
    let names: Vec<String> = later.iter().map(|peer| peer.key.to_string()).collect();
    let message = format!(
        "`{}` comes first and keeps what {} {} too",
        binding.key,
        quoted_list(names.iter().map(String::as_str)),
        if names.len() == 1 { "claims" } else { "claim" }
    );
    let mut finding = Finding::new(Code::Contested, message).about(&key).at(key, FieldPath::name());
    finding.references.extend(later.iter().map(|peer| Reference::from(&binding_key(&peer.key))));
    finding
}

/// A refusal as a finding: the refusal's own words, and where it shows.
pub fn refused(index: &Index, binding: &Binding, refusal: &Refusal) -> Finding {
    let key = binding_key(&binding.key);
    let message = format!("`{}` is refused: {}", binding.key, refusal.what());
    let mut finding = Finding::new(Code::of(refusal.reason()), message).about(&key);
    finding.hint = refusal.hint();
    finding.note = dropped_by_the_api_server(refusal);
    let place = place::of_refusal(index, binding, refusal);
    if place.object != key {
        finding = finding.about(&place.object);
    }
    finding.place = Some(place);
    match refusal {
        Refusal::Conflict(conflict) => first_come(index, finding, binding, conflict),
        Refusal::ObjectiveNotFound { name, group: Some(wanted), .. } => {
            let lookup = |group| Some(index.objective(&key.namespace, name, group)?.deleting);
            let missing = Missing { namespace: &key.namespace, name, wanted: *wanted };
            missing.in_another_group(finding, ObjectiveGroup::ALL, lookup, Kind::Objective, |group| {
                format!("set spec.targetRef.group to `{group}`, or leave it out")
            })
        }
        Refusal::PoolNotFound { name, group: Some(wanted), objective, .. } => {
            let lookup = |group| Some(index.pool(&key.namespace, name, group)?.deleting);
            let missing = Missing { namespace: &key.namespace, name, wanted: *wanted };
            missing.in_another_group(finding, PoolGroup::ALL, lookup, Kind::Pool, |group| match objective {
                Some(objective) => {
                    format!("set spec.poolRef.group of InferenceObjective `{objective}` to `{group}`")
                }
                None => format!("set spec.targetRef.group to `{group}`, or leave it out"),
            })
        }
        Refusal::Ambiguous { kind, name, leads } => {
            let objects = Kind::ALL
                .into_iter()
                .filter(|k| k.kind() == *kind && leads.iter().any(|lead| lead.group == k.group()))
                .map(|kind| FactKey { kind, namespace: binding.key.namespace.clone(), name: name.clone() });
            objects.fold(finding, |finding, object| finding.related("one of them", object))
        }
        Refusal::SelectorSet(error) => {
            finding.hint = which_to_remove(index, binding, error).or(finding.hint);
            finding
        }
        Refusal::SpiffeId { rendered, error: SpiffeIdError::OutsideNamespace { .. }, .. } => {
            finding.note = granted_to(index, &key.namespace, rendered);
            finding
        }
        _ => finding,
    }
}

/// Whose an ID is that lies outside: of the grants that whoever asks has given or may read. The refusal itself, which stands
/// in the binding's status, names no other namespace's.
fn granted_to(index: &Index, namespace: &Namespace, id: &str) -> Option<String> {
    let path = id.strip_prefix("spiffe://")?;
    let path = &path[path.find('/')?..];
    let (holder, prefix) = index.settings_in(namespace).path_grants.holder(path)?;
    if holder == namespace {
        return None;
    }
    Some(format!("{} is granted to namespace `{holder}` alone", Quoted(&prefix.to_string())))
}

/// What is not found in the group that is looked at.
struct Missing<'a, G> {
    namespace: &'a Namespace,
    name: &'a ObjectName,
    wanted: G,
}

impl<G: Copy + fmt::Display> Missing<'_, G> {
    /// The finding, with the object of that name that is there in another group; `lookup` says whether one of a group is being
    /// deleted, and `pin` how that group is named.
    fn in_another_group(
        &self,
        mut finding: Finding,
        groups: impl IntoIterator<Item = G>,
        lookup: impl Fn(G) -> Option<bool>,
        kind: impl Fn(G) -> Kind,
        pin: impl Fn(G) -> String,
    ) -> Finding {
        let Some(group) = groups.into_iter().find(|group| lookup(*group) == Some(false)) else {
            return finding;
        };
        let Self { namespace, name, wanted } = self;
        let object = FactKey { kind: kind(group), namespace: (*namespace).clone(), name: (*name).clone() };
        let kind = object.kind.kind();
        finding.note =
            Some(format!("there is an {kind} `{name}` in `{group}`, and only `{wanted}` is looked at"));
        finding.hint = Some(format!("{}, or create the {kind} in `{wanted}`", pin(group)));
        finding.related("the one of the other group", object)
    }
}

fn first_come(index: &Index, mut finding: Finding, binding: &Binding, conflict: &Conflict) -> Finding {
    let peer = BindingKey::new(binding.key.namespace.clone(), conflict.foremost.name.clone());
    if let Verdict::Refused(_) = index.verdict(&peer).verdict {
        finding.note = Some(format!(
            "`{peer}` is refused itself, and counts all the same: a binding that comes first does, whether or not it holds an output"
        ));
    }
    finding.related("the binding that comes first", binding_key(&peer))
}

/// Fields that the real CustomResourceDefinitions do not know: the API server takes them out before anyone sees them.
fn dropped_by_the_api_server(refusal: &Refusal) -> Option<String> {
    let field = match refusal {
        Refusal::PoolSelector { group: PoolGroup::Inference, error, .. } => match error {
            PoolSelectorError::MatchExpressions => "`spec.selector.matchExpressions`".to_owned(),
            PoolSelectorError::UnknownField(name) => {
                format!("the field {} of `spec.selector`", Quoted(name))
            }
            _ => return None,
        },
        Refusal::PoolRef { error: PoolRefError::OtherNamespace(_), .. } => {
            "`spec.poolRef.namespace`".to_owned()
        }
        _ => return None,
    };
    Some(format!(
        "the CustomResourceDefinition does not know {field}: kubectl refuses it by default; what other clients send, the API server drops without a word, and the object is read as if it had never been there"
    ))
}
