//! The Lease object and what the state machine knows of it, either way. Nothing is decided here; what others put on
//! the object stays on it.

use std::borrow::Cow;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kleym_core::lease::{Live, Record, Stamp};
use kube::Resource;
use kube::core::Status;
use kube::core::response::StatusDetails;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

/// A Lease as far as it can be read. Times are for people, and the API server keeps some that nothing here can hold (the
/// last day of the year 9999); who wrote one, or a field manager with one, must not keep every replica from leading. What
/// cannot be read counts as not said, and the next write takes it away.
#[derive(Debug, Clone, Default)]
pub(super) struct Readable(pub(super) Lease);

impl<'de> Deserialize<'de> for Readable {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut lease = Value::deserialize(deserializer)?;
        if let Some(spec) = lease.get_mut("spec").and_then(Value::as_object_mut) {
            for field in ["acquireTime", "renewTime"] {
                if spec.get(field).is_some_and(|time| MicroTime::deserialize(time).is_err()) {
                    spec.remove(field);
                }
            }
        }
        if let Some(metadata) = lease.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove("managedFields");
        }
        serde_json::from_value(lease).map(Self).map_err(D::Error::custom)
    }
}

impl Serialize for Readable {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl Resource for Readable {
    type DynamicType = ();
    type Scope = <Lease as Resource>::Scope;

    fn kind((): &()) -> Cow<'_, str> {
        <Lease as Resource>::kind(&())
    }

    fn group((): &()) -> Cow<'_, str> {
        <Lease as Resource>::group(&())
    }

    fn version((): &()) -> Cow<'_, str> {
        <Lease as Resource>::version(&())
    }

    fn plural((): &()) -> Cow<'_, str> {
        <Lease as Resource>::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        &self.0.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.0.metadata
    }
}

/// A version of the lease; none when this is another object or no version of one.
pub(super) fn live(name: &str, lease: &Lease) -> Option<Live> {
    let ObjectMeta { name: Some(named), uid: Some(uid), resource_version: Some(version), .. } =
        &lease.metadata
    else {
        return None;
    };
    (named == name).then(|| Live {
        uid: uid.clone(),
        resource_version: version.clone(),
        record: lease.spec.as_ref().map(record).unwrap_or_else(|| record(&LeaseSpec::default())),
    })
}

fn record(spec: &LeaseSpec) -> Record {
    let stamp = |time: &MicroTime| Stamp(time.0.as_microsecond());
    Record {
        holder: spec.holder_identity.clone().unwrap_or_default(),
        duration_seconds: spec.lease_duration_seconds,
        transitions: spec.lease_transitions.unwrap_or_default(),
        acquired: spec.acquire_time.as_ref().map(stamp),
        renewed: spec.renew_time.as_ref().map(stamp),
    }
}

/// The whole spec; what is in the live one and not in the record (a strategy, say) goes.
fn spec(record: &Record) -> LeaseSpec {
    let Record { holder, duration_seconds, transitions, acquired, renewed } = record;
    let time = |stamp: &Option<Stamp>| {
        stamp.and_then(|Stamp(micros)| jiff::Timestamp::from_microsecond(micros).ok()).map(MicroTime)
    };
    LeaseSpec {
        holder_identity: Some(holder.clone()),
        lease_duration_seconds: *duration_seconds,
        lease_transitions: Some(*transitions),
        acquire_time: time(acquired),
        renew_time: time(renewed),
        ..LeaseSpec::default()
    }
}

/// A lease that is not there yet.
pub(super) fn new(name: &str, record: &Record) -> Lease {
    let metadata = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
    Lease { metadata, spec: Some(spec(record)) }
}

/// What a version is replaced by. `seen` is that version, as far as it is known whole. The uid matters beside the
/// resourceVersion: the API server creates a Lease by a PUT when there is none, except one that names a uid.
pub(super) fn replacement(
    name: &str,
    seen: Option<&Lease>,
    uid: &str,
    resource_version: &str,
    record: &Record,
) -> Lease {
    let bound = |seen: &&Lease| {
        let metadata = &seen.metadata;
        metadata.uid.as_deref() == Some(uid) && metadata.resource_version.as_deref() == Some(resource_version)
    };
    let metadata = ObjectMeta {
        name: Some(name.to_owned()),
        uid: Some(uid.to_owned()),
        resource_version: Some(resource_version.to_owned()),
        // The API server keeps them by itself when they are not sent.
        managed_fields: None,
        ..seen.filter(bound).map(|seen| seen.metadata.clone()).unwrap_or_default()
    };
    Lease { metadata, spec: Some(spec(record)) }
}

/// Whether the API server says that this very lease is not there; a proxy's 404, or that of an API that is not
/// served, does not say so.
pub(super) fn says_absent(name: &str, status: &Status) -> bool {
    let about = |details: &StatusDetails| details.name == name && details.kind == "leases";
    status.code == 404 && status.reason == "NotFound" && status.details.as_ref().is_some_and(about)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NAME: &str = "kleym-operator-default";

    fn written() -> Record {
        Record {
            holder: "pod_1".to_owned(),
            duration_seconds: Some(15),
            transitions: 3,
            acquired: Some(Stamp(1_700_000_000_000_000)),
            renewed: Some(Stamp(1_700_000_001_000_007)),
        }
    }

    fn lease(value: Value) -> Lease {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn what_is_written_is_read_back_to_the_microsecond() {
        let metadata = json!({"name": NAME, "uid": "u", "resourceVersion": "7"});
        let mut sent = serde_json::to_value(new(NAME, &written())).unwrap();
        sent["metadata"] = metadata;
        let expected = Live { uid: "u".to_owned(), resource_version: "7".to_owned(), record: written() };
        assert_eq!(live(NAME, &lease(sent)), Some(expected));
    }

    #[test]
    fn what_cannot_be_read_of_a_lease_counts_as_not_said() {
        let metadata = json!({"name": NAME, "uid": "u", "resourceVersion": "7"});
        let mut sent = serde_json::to_value(new(NAME, &written())).unwrap();
        sent["metadata"] = metadata;
        sent["metadata"]["managedFields"] = json!([{"manager": "x", "time": "9999-12-31T23:59:59Z"}]);
        sent["spec"]["renewTime"] = json!("9999-12-31T23:59:59.000000Z");
        let Readable(lease) = serde_json::from_value(sent).unwrap();
        let record = Record { renewed: None, ..written() };
        let expected = Live { uid: "u".to_owned(), resource_version: "7".to_owned(), record };
        assert_eq!(live(NAME, &lease), Some(expected));
    }

    #[test]
    fn a_lease_that_says_nothing_names_no_holder() {
        let nothing = Record {
            holder: String::new(),
            duration_seconds: None,
            transitions: 0,
            acquired: None,
            renewed: None,
        };
        for spec in [json!(null), json!({}), json!({"holderIdentity": ""})] {
            let lease =
                lease(json!({"metadata": {"name": NAME, "uid": "u", "resourceVersion": "7"}, "spec": spec}));
            assert_eq!(live(NAME, &lease).unwrap().record, nothing);
        }
    }

    #[test]
    fn what_is_no_version_of_the_lease_is_not_taken_for_one() {
        for metadata in [
            json!({"name": "other", "uid": "u", "resourceVersion": "7"}),
            json!({"name": NAME, "resourceVersion": "7"}),
            json!({"name": NAME, "uid": "u"}),
            json!({}),
        ] {
            assert_eq!(live(NAME, &lease(json!({"metadata": metadata}))), None);
        }
    }

    #[test]
    fn a_replacement_is_bound_to_one_version_and_keeps_what_others_put_there() {
        let seen = lease(json!({"metadata": {
            "name": NAME, "namespace": "kleym", "uid": "u", "resourceVersion": "7", "labels": {"team": "a"},
            "managedFields": [{"manager": "kubectl"}],
        }, "spec": {"strategy": "OldestEmulationVersion"}}));
        let of = |seen, uid, version| {
            serde_json::to_value(replacement(NAME, seen, uid, version, &written())).unwrap()
        };
        let spec = json!({
            "holderIdentity": "pod_1", "leaseDurationSeconds": 15, "leaseTransitions": 3,
            "acquireTime": "2023-11-14T22:13:20.000000Z", "renewTime": "2023-11-14T22:13:21.000007Z",
        });
        let whole = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {
            "name": NAME, "namespace": "kleym", "uid": "u", "resourceVersion": "7", "labels": {"team": "a"},
        }, "spec": spec});
        let bare = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {
            "name": NAME, "uid": "u", "resourceVersion": "8",
        }, "spec": spec});
        assert_eq!(of(Some(&seen), "u", "7"), whole);
        assert_eq!([of(Some(&seen), "u", "8"), of(None, "u", "8")], [bare.clone(), bare]);
    }

    #[test]
    fn only_a_status_that_names_the_lease_says_that_it_is_not_there() {
        let details = |name: &str, kind: &str| {
            let details = json!({"name": name, "group": "coordination.k8s.io", "kind": kind});
            Some(serde_json::from_value::<StatusDetails>(details).unwrap())
        };
        let says = |code, reason: &str, details| {
            let status = Status { code, reason: reason.to_owned(), details, ..Status::default() };
            says_absent(NAME, &status)
        };
        assert!(says(404, "NotFound", details(NAME, "leases")));
        assert!(!says(404, "NotFound", None));
        assert!(!says(404, "NotFound", details(NAME, "namespaces")));
        assert!(!says(404, "NotFound", details("other", "leases")));
        assert!(!says(404, "", details(NAME, "leases")));
        assert!(!says(410, "NotFound", details(NAME, "leases")));
    }
}
