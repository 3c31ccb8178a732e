//! What `kleym explain` answers.

use kleym_core::explain::{Chain, Claim, Explanation, Given, Left, Mark};
use kleym_core::spire::Answer;
use schemars::JsonSchema;
use serde::Serialize;

use super::{FindingEntry, Reported};

/// The chains of a pod, a binding or a SPIFFE ID.
#[derive(Serialize, JsonSchema, Debug, Clone)]
#[serde(rename_all = "camelCase")]
pub struct ExplainReport {
    /// What was asked for.
    pub subject: String,
    /// The chains that hold; else the one that leads furthest.
    pub chains: Vec<ExplainedChain>,
    /// What each container is given, by everybody.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub containers: Vec<ContainerIdentities>,
    /// The containers that could hold an identity and are given none, though a chain of the pod holds.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub without_identity: Vec<ContainerWithout>,
    /// The other bindings that would give this pod an identity, and are refused or being deleted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub other_claims: Vec<OtherClaim>,
    /// What else there is to say.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<FindingEntry>,
}

/// One chain.
#[derive(Serialize, JsonSchema, Debug, Clone)]
#[serde(rename_all = "camelCase")]
pub struct ExplainedChain {
    /// The binding it goes through, as `namespace/name`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub binding: Option<String>,
    /// The SPIFFE ID at its end, as far as it is known.
    #[serde(rename = "spiffeID", skip_serializing_if = "Option::is_none")]
    pub spiffe_id: Option<String>,
    /// Every link, in order.
    pub links: Vec<ExplainedLink>,
    /// Why it ends before SPIRE: what is broken, or with severity `info` what it waits for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<FindingEntry>,
}

/// One link.
#[derive(Serialize, JsonSchema, Debug, Clone)]
#[serde(rename_all = "camelCase")]
pub struct ExplainedLink {
    /// Which: `labels`, `service account`, `pool`, `objective`, `binding`, `container`, `output`, `class`, `SCM`.
    pub link: String,
    /// How it stands.
    pub mark: LinkMark,
    /// In a few words.
    pub says: String,
    /// What was read for it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<ReadField>,
}

/// How a link stands.
#[derive(Serialize, JsonSchema, Debug, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum LinkMark {
    /// It holds.
    Holds,
    /// It is broken.
    Broken,
    /// Nothing is wrong, and the chain ends here: for now (a pod that is on no node yet, a binding that is being deleted), or
    /// because the pod is in no pool on purpose.
    Waits,
    /// It could not be seen.
    Unseen,
    /// It was not looked at, because the chain ends before it.
    Skipped,
}

/// A field of an object that was read.
#[derive(Serialize, JsonSchema, Debug, Clone)]
#[serde(rename_all = "camelCase")]
pub struct ReadField {
    /// The object: `Pod llm/vllm-0`.
    pub object: String,
    /// The field: `spec.serviceAccountName`.
    pub field: String,
    /// What stands there.
    pub value: String,
}

/// What a container is given.
#[derive(Serialize, JsonSchema, Debug, Clone)]
#[serde(rename_all = "camelCase")]
pub struct ContainerIdentities {
    /// The container.
    pub container: String,
    /// `container`, `init container` or `sidecar`.
    pub kind: String,
    /// Its identities.
    pub identities: Vec<GivenIdentity>,
    /// Whether it may have more than these, for the objects that give identities could not be read; absent where not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub incomplete: Option<bool>,
    /// Its SPIFFE IDs once outputs that are not as their bindings want them are repaired; absent where none is to be.
    #[serde(rename = "afterRepair", skip_serializing_if = "Option::is_none")]
    pub after_repair: Option<Vec<String>>,
}

/// A container that is given nothing.
#[derive(Serialize, JsonSchema, Debug, Clone)]
#[serde(rename_all = "camelCase")]
pub struct ContainerWithout {
    /// The container.
    pub container: String,
    /// Why.
    pub cause: FindingEntry,
}

/// A binding that would give a pod an identity.
#[derive(Serialize, JsonSchema, Debug, Clone)]
#[serde(rename_all = "camelCase")]
pub struct OtherClaim {
    /// The binding, as `namespace/name`.
    pub binding: String,
    /// Why it gives none.
    pub cause: FindingEntry,
}

/// An identity that a container is given.
#[derive(Serialize, JsonSchema, Debug, Clone)]
#[serde(rename_all = "camelCase")]
pub struct GivenIdentity {
    /// The SPIFFE ID.
    #[serde(rename = "spiffeID")]
    pub spiffe_id: String,
    /// The ClusterSPIFFEID that gives it.
    pub from: String,
    /// Whether it is certain; else something in it cannot be told from what was read.
    pub certain: bool,
}

impl Reported for ExplainReport {
    const KIND: &'static str = "ExplainReport";
}

impl ExplainReport {
    /// `before` is what is to be said of the files.
    pub(crate) fn of(subject: &str, explanation: &Explanation, before: Vec<FindingEntry>) -> Self {
        let Explanation { chains, given, left, claims, findings, socket_untold: _ } = explanation;
        let without = |one: &Left| ContainerWithout {
            container: one.container.to_string(),
            cause: FindingEntry::from(&one.why),
        };
        let claim = |one: &Claim| OtherClaim {
            binding: one.binding.to_string(),
            cause: FindingEntry::from(&one.why),
        };
        Self {
            subject: subject.to_owned(),
            chains: chains.iter().map(ExplainedChain::of).collect(),
            containers: given.iter().map(ContainerIdentities::of).collect(),
            without_identity: left.iter().map(without).collect(),
            other_claims: claims.iter().map(claim).collect(),
            findings: before.into_iter().chain(findings.iter().map(FindingEntry::from)).collect(),
        }
    }
}

impl ExplainedChain {
    fn of(chain: &Chain) -> Self {
        let links = chain.links.iter().map(|link| ExplainedLink {
            link: link.kind.as_str().to_owned(),
            mark: match link.mark {
                Mark::Holds => LinkMark::Holds,
                Mark::Broken => LinkMark::Broken,
                Mark::Waits | Mark::Apart => LinkMark::Waits,
                Mark::Unseen => LinkMark::Unseen,
                Mark::Skipped => LinkMark::Skipped,
            },
            says: link.says.clone(),
            evidence: link
                .evidence
                .iter()
                .map(|read| ReadField {
                    object: read.object.clone(),
                    field: read.field.clone(),
                    value: read.value.clone(),
                })
                .collect(),
        });
        Self {
            binding: chain.binding.as_ref().map(ToString::to_string),
            spiffe_id: chain.spiffe_id.clone(),
            links: links.collect(),
            cause: chain.end().and_then(|link| link.finding.as_ref()).map(FindingEntry::from),
        }
    }
}

impl ContainerIdentities {
    fn of(given: &Given) -> Self {
        let identities = given.identities.iter().map(|(id, from, answer)| GivenIdentity {
            spiffe_id: id.to_string(),
            from: from.to_string(),
            certain: *answer == Answer::Yes,
        });
        Self {
            container: given.container.to_string(),
            kind: given.kind.to_owned(),
            identities: identities.collect(),
            incomplete: given.incomplete.then_some(true),
            after_repair: given
                .repaired
                .as_ref()
                .map(|ids| ids.iter().map(|(id, _)| id.to_string()).collect()),
        }
    }
}
