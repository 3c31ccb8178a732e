//! Findings: what there is to say about what was declared, in a closed vocabulary. Every finding has a stable code, and
//! says what is wrong, which objects it is about, which field of which object shows it, and what to do.
//!
//! Findings repeat verdicts, they never make one: [`findings`] reads an [`Index`] and changes nothing. Where a field
//! stands in a file is for whoever read the file to know.
//!
//! # Codes
//! A code is never renamed, renumbered or used again for something else. The first digit is the group:
//!
//! | codes | group |
//! | --- | --- |
//! | `KLM1nnn` | references: target, objective, pool |
//! | `KLM2nnn` | selectors, discriminator, pool selector |
//! | `KLM3nnn` | mode and SPIFFE ID |
//! | `KLM4nnn` | conflict and overlap |
//! | `KLM5nnn` | output |
//! | `KLM6nnn` | SPIRE and spire-controller-manager |
//! | `KLM7nnn` | service mesh |
//! | `KLM9nnn` | files and the tool itself |
//!
//! Within a group, `n0nn` are errors and `n1nn` warnings and remarks. [`Code`] is the table of them all.

mod place;

use std::collections::BTreeMap;
use std::fmt;

pub use self::place::{FieldPath, Place, Step};
use crate::fact::{Binding, FactKey, PoolRefError, PoolSelectorError};
use crate::index::{Index, Verdict};
use crate::kind::{Kind, PoolGroup};
use crate::name::BindingKey;
use crate::refusal::{Reason, Refusal};
use crate::relation::Conflict;
use crate::text::{Quoted, bounded, quoted_list};

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// An identity is not granted, or an input cannot be used.
    Error,
    /// It works, and is probably not what was meant.
    Warning,
    /// Worth knowing.
    Info,
}

impl Severity {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Info => "info",
        }
    }
}

macro_rules! codes {
    ($($name:ident = $number:literal, $severity:ident, $summary:literal;)*) => {
        /// What kind of finding it is: the table of all codes.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code { $(#[doc = $summary] $name,)* }

        impl Code {
            /// All of them, by number.
            pub const ALL: &[Code] = &[$(Code::$name,)*];

            /// The number behind `KLM`.
            pub const fn number(self) -> u16 {
                match self { $(Code::$name => $number,)* }
            }

            /// How much it matters.
            pub const fn severity(self) -> Severity {
                match self { $(Code::$name => Severity::$severity,)* }
            }

            /// What it means, in one line that speaks of no particular object.
            pub const fn summary(self) -> &'static str {
                match self { $(Code::$name => $summary,)* }
            }
        }
    };
}

codes! {
    TargetObjectiveNotFound = 1001, Error, "the InferenceObjective that a binding names does not exist";
    TargetPoolNotFound = 1002, Error, "the InferencePool that a target leads to does not exist";
    InvalidPoolRef = 1003, Error, "a binding's target or an objective's poolRef cannot be followed";
    AmbiguousTargetRef = 1004, Error, "objects of one name in several API groups lead to different pools";
    InferenceObjectiveCrdMissing = 1005, Error, "no CustomResourceDefinition of InferenceObjective is installed";
    InferencePoolCrdMissing = 1006, Error, "no CustomResourceDefinition of InferencePool is installed";
    Undecided = 1101, Warning, "a kind that a binding's resolution needs cannot be read";
    UnsafeSelector = 2001, Error, "the selectors cannot be proved to stay inside the namespace";
    InvalidPoolSelector = 2002, Error, "the selector of an InferencePool cannot be proved safe";
    SelectorTemplateRenderFailed = 2003, Error, "a selector template cannot be rendered";
    MissingContainerDiscriminator = 2004, Error, "mode PerObjective without a container discriminator";
    InvalidContainerDiscriminator = 2005, Error, "a container discriminator is not allowed or is no selector value";
    SharedServiceAccount = 2101, Warning, "the selectors name the service account `default`";
    SpiffeIdRenderFailed = 3001, Error, "a SPIFFE ID template cannot be rendered";
    InvalidSpiffeId = 3002, Error, "the rendered text is no SPIFFE ID that the binding may have";
    UnsupportedMode = 3003, Error, "the mode is unknown, or not possible for the target";
    IdentityCollision = 4001, Error, "a binding that comes first gives the same workloads another SPIFFE ID";
    DuplicateSpiffeId = 4002, Error, "a binding that comes first has the same SPIFFE ID for another subject";
    Contested = 4101, Info, "a binding that comes later claims the same and is refused";
    ClusterSpiffeIdCrdMissing = 5001, Error, "no CustomResourceDefinition of ClusterSPIFFEID is installed";
    ManagedOutputConflict = 5002, Error, "a foreign object stands at the output's name";
    ManagedOutputApplyFailed = 5003, Error, "the output cannot be written";
    BindingDeleting = 5101, Info, "a binding is being deleted and has no output";
    Unparsable = 9001, Error, "a file cannot be parsed";
    Unnamed = 9002, Error, "an object has no name or namespace by which it could be known";
    DeclaredTwice = 9003, Error, "an object is declared more than once";
    UnsupportedVersion = 9101, Warning, "an object has a version that Kleym does not read";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KLM{:04}", self.number())
    }
}

impl Code {
    /// The code of that text, such as `KLM1001`.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.to_string() == text)
    }

    /// The code of a refusal's reason: one each.
    pub const fn of(reason: Reason) -> Self {
        match reason {
            Reason::TargetObjectiveNotFound => Code::TargetObjectiveNotFound,
            Reason::TargetPoolNotFound => Code::TargetPoolNotFound,
            Reason::InvalidPoolRef => Code::InvalidPoolRef,
            Reason::AmbiguousTargetRef => Code::AmbiguousTargetRef,
            Reason::InferenceObjectiveCrdMissing => Code::InferenceObjectiveCrdMissing,
            Reason::InferencePoolCrdMissing => Code::InferencePoolCrdMissing,
            Reason::UnsafeSelector => Code::UnsafeSelector,
            Reason::InvalidPoolSelector => Code::InvalidPoolSelector,
            Reason::IdentityCollision => Code::IdentityCollision,
            Reason::DuplicateSpiffeId => Code::DuplicateSpiffeId,
            Reason::SelectorTemplateRenderFailed => Code::SelectorTemplateRenderFailed,
            Reason::MissingContainerDiscriminator => Code::MissingContainerDiscriminator,
            Reason::InvalidContainerDiscriminator => Code::InvalidContainerDiscriminator,
            Reason::UnsupportedMode => Code::UnsupportedMode,
            Reason::SpiffeIdRenderFailed => Code::SpiffeIdRenderFailed,
            Reason::InvalidSpiffeId => Code::InvalidSpiffeId,
            Reason::ClusterSpiffeIdCrdMissing => Code::ClusterSpiffeIdCrdMissing,
            Reason::ManagedOutputConflict => Code::ManagedOutputConflict,
            Reason::ManagedOutputApplyFailed => Code::ManagedOutputApplyFailed,
        }
    }
}

/// An object that a finding speaks of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reference {
    /// `InferencePool`
    pub kind: &'static str,
    /// Its namespace; none for an object that lives in no namespace.
    pub namespace: Option<Box<str>>,
    /// Its name.
    pub name: Box<str>,
}

impl From<&FactKey> for Reference {
    fn from(key: &FactKey) -> Self {
        Self {
            kind: key.kind.kind(),
            namespace: Some(key.namespace.as_str().into()),
            name: key.name.as_str().into(),
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind)?;
        f.write_str(" ")?;
        if let Some(namespace) = &self.namespace {
            write!(f, "{namespace}/")?;
        }
        f.write_str(&self.name)
    }
}

/// Another place that belongs to a finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Related {
    /// What is to be seen there.
    pub what: String,
    /// Where.
    pub place: Place,
}

/// One thing to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What kind of finding.
    pub code: Code,
    /// What is wrong, and with what; one line.
    pub message: String,
    /// Something beside it that is worth knowing.
    pub note: Option<String>,
    /// What to do.
    pub hint: Option<String>,
    /// The objects it speaks of; the first is the one it is about.
    pub references: Vec<Reference>,
    /// The field that shows it.
    pub place: Option<Place>,
    /// Other places that belong to it.
    pub related: Vec<Related>,
}

impl Finding {
    /// A finding with a message and nothing else.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: bounded(message.into()),
            note: None,
            hint: None,
            references: Vec::new(),
            place: None,
            related: Vec::new(),
        }
    }

    /// How much it matters.
    pub fn severity(&self) -> Severity {
        self.code.severity()
    }

    fn about(mut self, key: &FactKey) -> Self {
        self.references.push(key.into());
        self
    }

    fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    fn at(mut self, object: FactKey, field: FieldPath) -> Self {
        self.place = Some(Place { object, field });
        self
    }

    fn related(mut self, what: &str, object: FactKey) -> Self {
        self.references.push((&object).into());
        let place = Place { object, field: FieldPath::name() };
        self.related.push(Related { what: what.to_owned(), place });
        self
    }
}

fn binding_key(key: &BindingKey) -> FactKey {
    FactKey { kind: Kind::Binding, namespace: key.namespace.clone(), name: key.name.clone() }
}

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
                let kinds = quoted_list(kinds.keys().map(|kind| kind.kind()));
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
    let message = format!("`{}` is being deleted, so it has no output", binding.key);
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
fn refused(index: &Index, binding: &Binding, refusal: &Refusal) -> Finding {
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
        Refusal::Conflict(conflict) => first_come(finding, binding, conflict),
        Refusal::Ambiguous { kind, name, leads } => {
            let objects = Kind::ALL
                .into_iter()
                .filter(|k| k.kind() == *kind && leads.iter().any(|lead| lead.group == k.group()))
                .map(|kind| FactKey { kind, namespace: binding.key.namespace.clone(), name: name.clone() });
            objects.fold(finding, |finding, object| finding.related("one of them", object))
        }
        _ => finding,
    }
}

fn first_come(finding: Finding, binding: &Binding, conflict: &Conflict) -> Finding {
    let peer = BindingKey::new(binding.key.namespace.clone(), conflict.foremost.name.clone());
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
        "the API server would drop {field} without a word, so in a cluster the object would be read as if it were not there"
    ))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_reason_has_an_error_code_of_its_own() {
        let codes: BTreeSet<Code> = Reason::ALL.iter().map(|reason| Code::of(*reason)).collect();
        assert_eq!(codes.len(), Reason::ALL.len());
        assert!(codes.iter().all(|code| code.severity() == Severity::Error && code.number() % 1000 < 100));
    }

    #[test]
    fn codes_are_distinct_and_listed_by_number() {
        assert!(Code::ALL.windows(2).all(|pair| pair[0].number() < pair[1].number()));
        assert!(Code::ALL.iter().all(|code| Code::parse(&code.to_string()) == Some(*code)));
    }

    #[test]
    fn summaries_are_lower_case_without_a_period() {
        for code in Code::ALL {
            let summary = code.summary();
            assert!(
                !summary.ends_with('.') && summary.chars().next().is_some_and(char::is_lowercase),
                "{summary}"
            );
        }
    }
}
