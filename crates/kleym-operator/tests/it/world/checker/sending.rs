//! When the operator sends: every write once, within its deadline, and never without the lease where there is one.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use kleym_testenv::Call;
use serde_json::Value;

use super::{Evidence, Testimony};

/// The longest that a call, from its decision to its answer, may take: its deadline, and some time for a busy machine.
///
/// That no request begins more than ten seconds after its decision is exact only in the operator, where the clock is read
/// each time before a call goes on (`lease::before`). The wire cannot show it to the second: the audit log says when a request
/// arrived, which a proxy or a busy machine may have held up for any time, and the operator says how long a call took when
/// it has the answer. What is looked at here is therefore the whole way, and only that there is a deadline at all.
const LONGEST_CALL: Duration = Duration::from_secs(12);

const LEASES: &str = "coordination.k8s.io/leases";

pub(super) fn violations(evidence: &Evidence<'_>) -> Vec<String> {
    let mut found = repeated(evidence);
    found.extend(unsaid(evidence));
    found.extend(unled(evidence));
    let slowest = evidence.testimony.slowest;
    if slowest > LONGEST_CALL {
        found.push(format!("wire: without a deadline: a call took {slowest:?}"));
    }
    found
}

/// The operator's writes to bindings and outputs.
fn writes<'a>(evidence: &'a Evidence<'_>) -> impl Iterator<Item = (&'a Call, &'static str)> {
    evidence
        .made()
        .filter(|call| ![LEASES, "events.k8s.io/events"].contains(&call.resource.as_str()))
        .filter_map(|call| {
            let method = match call.verb.as_str() {
                "create" => "POST",
                "update" => "PUT",
                "patch" => "PATCH",
                "delete" => "DELETE",
                _ => return None,
            };
            (!call.resource.starts_with("auth")).then_some((call, method))
        })
}

/// The same write arrived more often than the operator says that it made it: something below it repeats.
fn repeated(evidence: &Evidence<'_>) -> Vec<String> {
    let testimony = evidence.testimony;
    if testimony.made.is_empty() {
        return Vec::new();
    }
    let mut arrived: BTreeMap<(String, String), (usize, BTreeMap<String, usize>)> = BTreeMap::new();
    for (call, method) in writes(evidence) {
        let path = call.uri.split('?').next().unwrap_or_default();
        let (count, alike) = arrived.entry((method.to_owned(), path.to_owned())).or_default();
        *count += 1;
        *alike.entry(format!("{} {:?}", call.uri, call.request)).or_insert(0) += 1;
    }
    // An operator that is killed says nothing of its last call any more.
    let unsaid = testimony.operators.saturating_sub(1);
    let often = |place: &(String, String), count: usize| {
        count > testimony.made.get(place).copied().unwrap_or(0) + unsaid
    };
    arrived
        .iter()
        .filter(|(place, (count, alike))| often(place, *count) && alike.values().any(|alike| *alike > 1))
        .map(|((method, path), _)| {
            format!("wire: sent again by something below the operator: {method} {path}")
        })
        .collect()
}

/// Writes that no operator said a word of, so that nobody can tell whether they are repeated or wait for ever. Each operator
/// can have been killed before it could speak of its first.
fn unsaid(evidence: &Evidence<'_>) -> Option<String> {
    let Testimony { made, operators, .. } = evidence.testimony;
    let arrived = writes(evidence).count();
    let silent = made.is_empty() && *operators > 0 && arrived > *operators;
    silent.then(|| format!("wire: nobody spoke of {arrived} writes"))
}

/// Who holds the lease until when, as one write of it left it; none when that cannot be told.
struct Held {
    since: Timestamp,
    until: Option<(bool, Timestamp)>,
}

fn held(call: &Call) -> Held {
    let spec = call.request.as_ref().map(|body| &body["spec"]).unwrap_or(&Value::Null);
    let until = || {
        let holder = spec["holderIdentity"].as_str()?;
        let renewed: Timestamp = spec["renewTime"].as_str()?.parse().ok()?;
        let duration = jiff::SignedDuration::from_secs(spec["leaseDurationSeconds"].as_i64()?);
        Some((!holder.is_empty(), renewed.checked_add(duration).ok()?))
    };
    Held { since: call.answered, until: until() }
}

/// A write that arrived while the lease, as last written, was nobody's or over. Only where the operator takes part in an
/// election.
fn unled(evidence: &Evidence<'_>) -> Vec<String> {
    let name = format!("kleym-operator-{}", evidence.instance);
    let leases = evidence.calls.iter().filter(|call| call.resource == LEASES && call.name == name);
    let written: Vec<&Call> = leases
        .filter(|call| call.code < 300 && ["create", "update", "patch"].contains(&call.verb.as_str()))
        .collect();
    if !written.iter().any(|call| call.user == evidence.user) {
        return Vec::new();
    }
    let mut history: Vec<Held> = written.into_iter().map(held).collect();
    history.sort_by_key(|held| held.since);
    let leads = |at: Timestamp| match history.iter().rev().find(|held| held.since <= at) {
        None => false,
        Some(Held { until: None, .. }) => true,
        Some(Held { until: Some((held, until)), .. }) => *held && at <= *until,
    };
    writes(evidence)
        .filter(|(call, _)| !leads(call.received))
        .map(|(call, _)| {
            format!("wire: written without the lease: {} {} {}", call.verb, call.target(), call.name)
        })
        .collect()
}
