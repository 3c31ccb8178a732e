//! What holds of every single request of the operator.

use kleym_api::rights::{OPERATOR, PROTECTED_METRICS};
use kleym_testenv::Call;
use serde_json::Value;

use super::Evidence;

/// The largest body.
const LARGEST: usize = 256 << 10;
/// The longest message of a condition, in bytes.
const LONGEST_MESSAGE: usize = 1024;

pub(super) fn violations(evidence: &Evidence<'_>) -> Vec<String> {
    let mut found = Vec::new();
    // Tests ask for reviews of their own to learn when a right is in force.
    let probes = |call: &&Call| call.resource == "authorization.k8s.io/selfsubjectaccessreviews";
    for call in evidence.made().filter(|call| !probes(call)) {
        let mut broken = |what: String| {
            found.push(format!(
                "wire: {what}: {} {} {} ({})",
                call.verb,
                call.target(),
                call.name,
                call.code
            ));
        };
        if !allowed(call) {
            broken("not among the operator's rights".to_owned());
        }
        let agent = format!("kleym-operator/{}", env!("CARGO_PKG_VERSION"));
        if call.user_agent != agent {
            broken(format!("the user agent is `{}`", call.user_agent));
        }
        if call.uri.contains("resourceVersion=0") {
            broken("asks for anything that is cached".to_owned());
        }
        let body = call.request.as_ref().unwrap_or(&Value::Null);
        if body.to_string().len() >= LARGEST {
            broken("the body is too large".to_owned());
        }
        let is_event = call.resource == "events.k8s.io/events";
        let version = body.pointer("/metadata/resourceVersion").and_then(Value::as_str).unwrap_or("");
        match call.verb.as_str() {
            // A call that the API server turned away before it read the body has none in the log.
            _ if call.request.is_none() && !was_read(call.code) => {}
            "create" | "update" | "patch" | "delete" if call.request.is_none() => {
                broken("has no body".to_owned());
            }
            "update" | "patch" if !is_event && (version.is_empty() || version == "0") => {
                broken("bound to no resourceVersion".to_owned());
            }
            "delete"
                if body.pointer("/preconditions/uid").and_then(Value::as_str).is_none_or(str::is_empty) =>
            {
                broken("bound to no uid".to_owned());
            }
            _ => {}
        }
        for condition in body.pointer("/status/conditions").and_then(Value::as_array).into_iter().flatten() {
            let message = condition["message"].as_str().unwrap_or("");
            if message.len() > LONGEST_MESSAGE {
                broken(format!("a message of {} bytes", message.len()));
            }
        }
    }
    found
}

/// Whether the API server must have read the body to answer so: it did what was asked, or judged it by what it says.
fn was_read(code: u16) -> bool {
    code < 300 || [409, 422].contains(&code)
}

/// Whether the shipped roles allow it, or everybody may ask it.
fn allowed(call: &Call) -> bool {
    let (group, resource) = call.resource.split_once('/').unwrap_or(("", &call.resource));
    let target = match call.subresource.as_str() {
        "" => resource.to_owned(),
        subresource => format!("{resource}/{subresource}"),
    };
    if target.is_empty() {
        // Discovery of a group.
        return call.verb == "get" && call.uri.starts_with("/apis/");
    }
    // A role cannot name the one Lease in a create, so this is the only place that says it.
    let own = target != "leases" || call.name.is_empty() || call.name.starts_with("kleym-operator-");
    own && OPERATOR.iter().chain(&PROTECTED_METRICS).any(|right| {
        right.groups.contains(&group) && right.resource == target && right.verbs.contains(&call.verb.as_str())
    })
}
