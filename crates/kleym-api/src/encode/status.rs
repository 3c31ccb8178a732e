//! The status of a binding on the wire, and how a live one is compared with it. A status is written whole; what stands
//! in a live one is never read for a decision, only for whether it must be written again and for its transition times.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kleym_core::fact;
use kleym_core::refusal;
use kleym_core::relation::Cause;
use kleym_core::status::{ConditionFact, RECONCILING, STALLED, StatusFacts, Truth};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::binding::{
    ComputedSpiffeId, Condition, ConditionStatus, ConflictCause, ConflictingBinding,
    InferenceIdentityBindingStatus, Mode, RenderedClusterSpiffeId, RenderedSelectors,
};

/// A status, as short as it can be and still be told from every other: a digest over its content, transition times
/// and the order of object keys aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatusDigest([u8; 16]);

impl StatusDigest {
    /// The digest of a status.
    pub fn of(status: &Value) -> Self {
        let mut digest = Sha256::new();
        feed(&mut digest, status);
        let mut short = [0; 16];
        short.copy_from_slice(&digest.finalize()[..16]);
        Self(short)
    }
}

/// Everything that a status can say at its top.
const FIELDS: [&str; 11] = [
    "observedGeneration",
    "conditions",
    "computedSpiffeIDs",
    "renderedSelectors",
    "renderedClusterSPIFFEID",
    "conflicts",
    "conflictCount",
    "trustDomain",
    "clusterSPIFFEIDClassName",
    "instance",
    "pathGrants",
];

/// Whether what stands in a live status contradicts what was written there. What an older definition dropped does not, nor
/// what a newer one added; another value does, and so does one that was left out and that a status can have.
pub fn contradicts(stands: &Value, written: &Value) -> bool {
    let added = FIELDS.iter().any(|field| stands.get(field).is_some() && written.get(field).is_none());
    added || differs(stands, written)
}

/// Whether a value differs where both have one, times of transition aside.
fn differs(stands: &Value, written: &Value) -> bool {
    match (stands, written) {
        (Value::Object(stands), Value::Object(written)) => stands
            .iter()
            .filter(|(field, _)| *field != "lastTransitionTime")
            .any(|(field, value)| written.get(field).is_some_and(|written| differs(value, written))),
        (Value::Array(stands), Value::Array(written)) => {
            stands.len() != written.len()
                || stands.iter().zip(written).any(|(stands, written)| differs(stands, written))
        }
        _ => stands != written,
    }
}

/// Feeds a value with its structure, so that no two values give the same input; `lastTransitionTime`s are left out.
fn feed(digest: &mut Sha256, value: &Value) {
    match value {
        Value::Null => digest.update(b"n"),
        Value::Bool(b) => digest.update(if *b { b"t" } else { b"f" }),
        Value::Number(number) => feed_text(digest, b"#", &number.to_string()),
        Value::String(text) => feed_text(digest, b"s", text),
        Value::Array(items) => {
            feed_text(digest, b"a", &items.len().to_string());
            items.iter().for_each(|item| feed(digest, item));
        }
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().filter(|(key, _)| *key != "lastTransitionTime").collect();
            fields.sort_unstable_by_key(|(key, _)| *key);
            feed_text(digest, b"o", &fields.len().to_string());
            for (key, value) in fields {
                feed_text(digest, b"k", key);
                feed(digest, value);
            }
        }
    }
}

fn feed_text(digest: &mut Sha256, kind: &[u8], text: &str) {
    digest.update(kind);
    digest.update(text.len().to_be_bytes());
    digest.update(text.as_bytes());
}

/// What is remembered of a live status. There is one for every binding, so it is small.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusSeen {
    /// What it says.
    pub digest: StatusDigest,
    /// Of the conditions that are ours to write.
    transitions: Box<[Transition]>,
}

/// Since when a condition has its status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Transition {
    kind: Kind,
    status: Truth,
    /// In seconds since 1970: what we write has no fractions.
    since: i64,
}

/// The type of a condition that is ours to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Contract(refusal::Condition),
    Reconciling,
    Stalled,
}

impl Kind {
    fn of(text: &str) -> Option<Self> {
        match text {
            RECONCILING => Some(Kind::Reconciling),
            STALLED => Some(Kind::Stalled),
            _ => refusal::Condition::ALL.into_iter().find(|kind| kind.as_str() == text).map(Kind::Contract),
        }
    }
}

impl StatusSeen {
    /// Reads the `status` of a live object; an object without one has an empty status.
    pub fn read(status: Option<&Value>) -> Self {
        let empty = Value::Object(serde_json::Map::new());
        let status = status.unwrap_or(&empty);
        let conditions = status.get("conditions").and_then(Value::as_array).into_iter().flatten();
        let mut transitions: Vec<Transition> = Vec::new();
        for condition in conditions.take(16) {
            let text = |field: &str| condition.get(field).and_then(Value::as_str);
            let Some(kind) = text("type").and_then(Kind::of) else { continue };
            // Of several with one type the last counts.
            transitions.retain(|other| other.kind != kind);
            let truths = [Truth::True, Truth::False, Truth::Unknown];
            let status = truths.into_iter().find(|truth| Some(truth.as_str()) == text("status"));
            let since = text("lastTransitionTime").and_then(|text| text.parse::<Timestamp>().ok());
            if let (Some(status), Some(since)) = (status, since) {
                transitions.push(Transition { kind, status, since: since.as_second() });
            }
        }
        Self { digest: StatusDigest::of(status), transitions: transitions.into() }
    }

    /// Since when a condition has this status, if it has it.
    fn since(&self, fact: &ConditionFact) -> Option<Timestamp> {
        let kind = Kind::of(fact.kind)?;
        let live = self.transitions.iter().find(|live| live.kind == kind && live.status == fact.status)?;
        Timestamp::from_second(live.since).ok()
    }
}

/// The status that says this. A condition's transition time is the live one's while its status is the same, else
/// `now`, in whole seconds.
pub fn status(
    facts: &StatusFacts,
    seen: Option<&StatusSeen>,
    now: Timestamp,
) -> InferenceIdentityBindingStatus {
    let StatusFacts {
        observed_generation,
        conditions,
        grant,
        conflicts,
        conflict_count,
        trust_domain,
        class_name,
        instance,
        path_grants,
    } = facts;
    let now = Timestamp::from_second(now.as_second()).unwrap_or(now);
    let since = |fact: &ConditionFact| {
        let live = seen.and_then(|seen| seen.since(fact));
        live.filter(|since| *since <= now).unwrap_or(now)
    };
    let condition = |fact: &ConditionFact| Condition {
        type_: fact.kind.to_owned(),
        status: match fact.status {
            Truth::True => ConditionStatus::True,
            Truth::False => ConditionStatus::False,
            Truth::Unknown => ConditionStatus::Unknown,
        },
        observed_generation: *observed_generation,
        last_transition_time: Time(since(fact)),
        reason: fact.reason.to_owned(),
        message: fact.message.clone(),
    };
    let conflicting = conflicts.iter().map(|peer| ConflictingBinding {
        binding_name: peer.name.to_string(),
        cause: match peer.cause {
            Cause::IdentityCollision => ConflictCause::IdentityCollision,
            Cause::DuplicateSpiffeId => ConflictCause::DuplicateSpiffeId,
        },
        spiffe_id: peer.spiffe_id.to_string(),
    });
    InferenceIdentityBindingStatus {
        observed_generation: *observed_generation,
        conditions: conditions.iter().map(condition).collect(),
        computed_spiffe_ids: grant
            .iter()
            .map(|grant| ComputedSpiffeId {
                mode: match grant.mode {
                    fact::Mode::PoolOnly => Mode::PoolOnly,
                    fact::Mode::PerObjective => Mode::PerObjective,
                },
                spiffe_id: grant.spiffe_id.clone(),
            })
            .collect(),
        rendered_selectors: grant
            .iter()
            .map(|grant| RenderedSelectors {
                spiffe_id: grant.spiffe_id.clone(),
                selectors: grant.selectors.clone(),
            })
            .collect(),
        rendered_cluster_spiffe_id: grant.as_ref().map(|grant| RenderedClusterSpiffeId {
            name: grant.output.to_string(),
            uid: grant.output_uid.to_string(),
            spiffe_id: grant.spiffe_id.clone(),
            selector_fingerprint: grant.fingerprint.clone(),
            observed_generation: observed_generation.unwrap_or(0),
        }),
        conflicts: conflicting.collect(),
        conflict_count: (*conflict_count > 0).then(|| i64::try_from(*conflict_count).unwrap_or(i64::MAX)),
        trust_domain: Some(trust_domain.clone()),
        cluster_spiffe_id_class_name: class_name.clone(),
        instance: Some(instance.clone()),
        path_grants: path_grants.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_digest_ignores_times_and_key_order_and_nothing_else() {
        let a = json!({"a": [1, "1"], "b": {"lastTransitionTime": "x", "c": null}});
        let b = json!({"b": {"c": null, "lastTransitionTime": "y"}, "a": [1, "1"]});
        assert_eq!(StatusDigest::of(&a), StatusDigest::of(&b));
        for other in [json!({"a": ["1", "1"], "b": {"c": null}}), json!({"a": [1, "1"], "b": {}}), json!({})]
        {
            assert_ne!(StatusDigest::of(&a), StatusDigest::of(&other), "{other}");
        }
    }

    fn facts(status: Truth) -> StatusFacts {
        StatusFacts {
            observed_generation: Some(2),
            conditions: vec![ConditionFact {
                kind: "Ready",
                status,
                reason: "Reconciled",
                message: String::new(),
            }],
            grant: None,
            conflicts: vec![],
            conflict_count: 0,
            trust_domain: "example.org".into(),
            class_name: None,
            instance: "default".into(),
            path_grants: vec![],
        }
    }

    #[test]
    fn a_transition_time_moves_only_with_the_status() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let live = json!({"conditions": [
            {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}
        ]});
        let seen = StatusSeen::read(Some(&live));
        let time = |facts: &StatusFacts, now: &str| {
            status(facts, Some(&seen), at(now)).conditions[0].last_transition_time.0
        };
        assert_eq!(time(&facts(Truth::True), "2026-02-01T00:00:00.5Z"), at("2026-01-01T00:00:00Z"));
        assert_eq!(time(&facts(Truth::False), "2026-02-01T00:00:00.5Z"), at("2026-02-01T00:00:00Z"));
    }

    #[test]
    fn every_field_of_a_full_status_is_one_that_a_status_can_have() {
        let id = || "spiffe://example.org/a".to_owned();
        let filled = InferenceIdentityBindingStatus {
            conditions: vec![status(&facts(Truth::True), None, Timestamp::UNIX_EPOCH).conditions[0].clone()],
            computed_spiffe_ids: vec![ComputedSpiffeId { mode: Mode::PoolOnly, spiffe_id: id() }],
            rendered_selectors: vec![RenderedSelectors { spiffe_id: id(), selectors: vec![] }],
            conflicts: vec![ConflictingBinding {
                binding_name: "b".to_owned(),
                cause: ConflictCause::IdentityCollision,
                spiffe_id: id(),
            }],
            path_grants: vec!["a".to_owned()],
            observed_generation: Some(1),
            rendered_cluster_spiffe_id: Some(RenderedClusterSpiffeId {
                name: "a".to_owned(),
                uid: "b".to_owned(),
                spiffe_id: id(),
                selector_fingerprint: "c".to_owned(),
                observed_generation: 1,
            }),
            conflict_count: Some(1),
            trust_domain: Some("example.org".to_owned()),
            cluster_spiffe_id_class_name: Some("a".to_owned()),
            instance: Some("default".to_owned()),
        };
        let filled = serde_json::to_value(filled).unwrap();
        let mut fields: Vec<&String> = filled.as_object().unwrap().keys().collect();
        let mut known = FIELDS.to_vec();
        fields.sort_unstable();
        known.sort_unstable();
        assert_eq!(fields, known);
    }

    #[test]
    fn what_stands_contradicts_what_was_written_when_it_says_something_else_and_not_when_it_lacks_or_adds() {
        let written =
            json!({"trustDomain": "a", "conditions": [{"type": "Ready", "lastTransitionTime": "1"}]});
        for (stands, contradiction) in [
            (json!({}), false),
            (json!({"trustDomain": "a"}), false),
            (json!({"conditions": [{"type": "Ready", "lastTransitionTime": "2", "since": 1}]}), false),
            (json!({"trustDomain": "a", "ofANewerVersion": 1}), false),
            (json!({"trustDomain": "evil"}), true),
            (json!({"trustDomain": ["a"]}), true),
            (json!({"computedSpiffeIDs": []}), true),
            (json!({"conditions": []}), true),
            (json!({"conditions": [{"type": "Stalled"}]}), true),
        ] {
            assert_eq!(contradicts(&stands, &written), contradiction, "{stands}");
        }
    }

    #[test]
    fn a_forged_transition_time_in_the_future_is_not_kept() {
        let live = json!({"conditions": [
            {"type": "Ready", "status": "True", "lastTransitionTime": "9999-01-01T00:00:00Z"}
        ]});
        let seen = StatusSeen::read(Some(&live));
        let now: Timestamp = "2026-02-01T00:00:00Z".parse().unwrap();
        assert_eq!(status(&facts(Truth::True), Some(&seen), now).conditions[0].last_transition_time.0, now);
    }
}
