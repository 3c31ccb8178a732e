//! The hands: one step, one API call, one classified reply. Nothing here decides what to do next.

mod classify;
mod request;

use std::sync::Arc;

use http::Request;
use kleym_core::kind::Kind;
use kleym_core::name::{BindingKey, ObjectName, Uid};
use kleym_core::output::{LiveOutput, Ownership};
use kleym_core::plan::{Failure, LiveBinding, Reply, Step};
use kleym_core::text::Quoted;
use kube::Client;
use serde_json::Value;
use tokio::time::Instant;

use crate::client::{CALL_DEADLINE, ask, describe};
use crate::horizon::{Before, Horizons};
use crate::lease::before;
use request::Unbuildable;

/// A step with what its call is bound to.
#[derive(Debug, Clone)]
pub enum Action {
    /// A step of the protocol.
    Step(Step),
    /// Write the binding's status.
    WriteStatus(Value),
}

/// One call to be made.
#[derive(Debug, Clone)]
pub struct Call {
    /// For which binding.
    pub key: BindingKey,
    /// What to do.
    pub action: Action,
    /// The binding as last seen.
    pub binding: Option<LiveBinding>,
    /// The output as last seen.
    pub output: Option<Arc<LiveOutput>>,
    /// How many turns of the binding have failed in a row.
    pub failures: u32,
}

impl Call {
    /// Whether its failure is worth a warning: what fails again and again is told ever more rarely, or the same line of many
    /// bindings would hide every other.
    pub(crate) fn warns(&self) -> bool {
        self.failures == 0 || self.failures.is_power_of_two()
    }

    /// What a call that fails was to take away from nobody: the binding that the log names by its key does not exist.
    fn orphan(&self) -> Option<String> {
        let takes_away =
            matches!(self.action, Action::Step(Step::DeleteOutput { .. } | Step::NeutraliseOutput { .. }));
        let live = self.output.as_deref().filter(|live| takes_away && !live.selects_nothing())?;
        let of_the_living = self
            .binding
            .as_ref()
            .is_some_and(|binding| live.ownership_at_own_name(&self.key, &binding.uid) != Ownership::Orphan);
        let (name, id) = (&live.name, Quoted(&live.spec.spiffe_id));
        (!of_the_living)
            .then(|| format!("ClusterSPIFFEID `{name}` of no binding that lives may still grant {id}"))
    }
}

/// What a call answered.
#[derive(Debug)]
pub struct Answer {
    /// The classified reply.
    pub reply: Reply,
    /// Objects the answer showed, as they stood then.
    pub objects: Vec<(Kind, Value)>,
}

impl Answer {
    /// The answer to a call that was given up, or never made, because this replica leads no more.
    pub fn not_made() -> Self {
        Self::failed(Failure::Transient)
    }

    fn failed(failure: Failure) -> Self {
        Self { reply: Reply::Failed(failure), objects: Vec::new() }
    }
}

/// When a call was decided, and until when it may be made.
#[derive(Debug, Clone, Copy)]
pub struct Term {
    decided: Instant,
    until: Instant,
}

impl Term {
    /// The term of what is decided now, for somebody who may write until then: a decision is never older than the deadline
    /// of a call when a request begins.
    pub fn of_now(until: Instant) -> Self {
        let decided = Instant::now();
        Self { decided, until: until.min(decided + CALL_DEADLINE) }
    }
}

/// Makes a call within its term and without retries.
pub async fn perform(client: &Client, horizons: &Horizons, call: &Call, term: Term) -> Answer {
    let (request, kind) = match build(call) {
        Ok(built) => built,
        Err(error) => {
            tracing::error!(binding = %call.key, %error, "a call was not made");
            return Answer::failed(Failure::Rejected);
        }
    };
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let horizon = horizons.of(kind);
    let seen_before = horizon.before();
    let answer = match before(term.until, ask(client, request)).await {
        Some(Ok(body)) => {
            let version = body
                .pointer("/metadata/resourceVersion")
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned();
            let answer = read(call, kind, body, seen_before);
            horizon.saw(&version);
            answer
        }
        Some(Err(error)) => {
            let failure = classify::failure(&error);
            let error = describe(&error);
            // That somebody else was faster is everyday life; the next step looks again. So is that what is deleted is gone,
            // or what is looked at has no definition.
            let missing =
                failure == Failure::Absent && matches!(method, http::Method::GET | http::Method::DELETE);
            if failure == Failure::Stale || missing {
                tracing::debug!(binding = %call.key, %method, path = uri.path(), error, "a call met a newer state");
            } else if call.warns() {
                let orphan = call.orphan();
                tracing::warn!(binding = %call.key, %method, path = uri.path(), ?failure, error, before = call.failures, orphan, "a call failed");
            } else {
                tracing::debug!(binding = %call.key, %method, path = uri.path(), ?failure, error, before = call.failures, "a call failed");
            }
            Answer::failed(failure)
        }
        None => {
            if call.warns() {
                let orphan = call.orphan();
                tracing::warn!(binding = %call.key, %method, path = uri.path(), before = call.failures, orphan, "a call was not answered in time");
            }
            Answer::failed(Failure::Transient)
        }
    };
    tracing::debug!(binding = %call.key, %method, path = uri.path(), reply = ?answer.reply, took = ?term.decided.elapsed(), "call");
    answer
}

fn build(call: &Call) -> Result<(Request<Vec<u8>>, Kind), Unbuildable> {
    let missing = || Unbuildable::because("what it is bound to was never seen");
    let binding = || call.binding.as_ref().ok_or_else(missing);
    let step = match &call.action {
        Action::WriteStatus(status) => {
            return Ok((request::replace_status(&call.key, binding()?, status)?, Kind::Binding));
        }
        Action::Step(step) => step,
    };
    Ok(match step {
        Step::AddFinalizer => (request::patch_finalizers(&call.key, binding()?, true)?, Kind::Binding),
        Step::RemoveFinalizer { .. } => {
            (request::patch_finalizers(&call.key, binding()?, false)?, Kind::Binding)
        }
        Step::TryOutput(wanted) => (request::try_output(wanted)?, Kind::Output),
        Step::CreateOutput(wanted) => (request::create_output(wanted)?, Kind::Output),
        Step::ReplaceOutput(wanted) => {
            (request::replace_output(wanted, call.output.as_deref().ok_or_else(missing)?)?, Kind::Output)
        }
        Step::NeutraliseOutput { .. } => {
            let live = call.output.as_deref().ok_or_else(missing)?;
            (request::replace_output(&live.neutralised(), live)?, Kind::Output)
        }
        Step::LookAtBinding { .. } => (request::list_bindings(&call.key)?, Kind::Binding),
        Step::DeleteOutput { name, uid } => (request::delete_output(name, uid)?, Kind::Output),
        Step::LookAtOutput { name } => (request::list_outputs(name)?, Kind::Output),
        Step::Settle(_) => return Err(Unbuildable::because("settling needs no call")),
    })
}

/// Reads a 2xx answer. What is not the object or list that was asked for proves nothing, and neither does a list that is
/// older than what had been seen before.
fn read(call: &Call, kind: Kind, body: Value, before: Before) -> Answer {
    let is = |wanted: &str| body.get("kind").and_then(Value::as_str) == Some(wanted);
    let looked_for = match &call.action {
        Action::Step(Step::LookAtOutput { name }) => Some(name),
        Action::Step(Step::LookAtBinding { .. }) => Some(&call.key.name),
        _ => None,
    };
    if let Some(name) = looked_for {
        let version = body.pointer("/metadata/resourceVersion").and_then(Value::as_str).unwrap_or_default();
        let list = is(&format!("{}List", kind.kind())) && before.admits(version);
        return match body.get("items").and_then(Value::as_array) {
            Some(items) if list && items.is_empty() && !continues(&body) => {
                Answer { reply: Reply::ProvedAbsent, objects: Vec::new() }
            }
            Some(items)
                if list
                    && !items.is_empty()
                    && items
                        .iter()
                        .all(|item| object_name(item) == Some(name.as_str()) && is_bound(item)) =>
            {
                let reply = match &call.action {
                    Action::Step(Step::LookAtBinding { .. }) => lives(items),
                    _ => Reply::Done,
                };
                Answer { reply, objects: items.iter().map(|item| (kind, item.clone())).collect() }
            }
            _ => Answer::failed(Failure::Transient),
        };
    }
    if let Action::Step(Step::TryOutput(_)) = &call.action {
        // What a dry run shows does not exist.
        return Answer { reply: Reply::Done, objects: Vec::new() };
    }
    if let Action::Step(Step::DeleteOutput { name, .. }) = &call.action {
        // A Status, or the object that is now being deleted. Either says only that the request was taken.
        let succeeded = is("Status") && body.get("status").and_then(Value::as_str) == Some("Success");
        if succeeded {
            return Answer { reply: Reply::Done, objects: Vec::new() };
        }
        return if is(kind.kind()) && object_name(&body) == Some(name.as_str()) {
            Answer { reply: Reply::Done, objects: vec![(kind, body)] }
        } else {
            Answer::failed(Failure::Transient)
        };
    }
    if is(kind.kind()) && object_name(&body) == Some(written(call).as_str()) && is_bound(&body) {
        Answer { reply: Reply::Done, objects: vec![(kind, body)] }
    } else {
        Answer::failed(Failure::Transient)
    }
}

/// Which binding lives, as a list of one name shows it.
fn lives(items: &[Value]) -> Reply {
    let uid = match items {
        [binding] => binding.pointer("/metadata/uid").and_then(Value::as_str),
        _ => None,
    };
    match uid.and_then(|uid| Uid::parse(uid).ok()) {
        Some(uid) => Reply::Lives(uid),
        None => Reply::Failed(Failure::Transient),
    }
}

/// The name of the object that a write is of.
fn written(call: &Call) -> &ObjectName {
    match &call.action {
        Action::Step(Step::CreateOutput(wanted) | Step::ReplaceOutput(wanted)) => &wanted.name,
        Action::Step(Step::NeutraliseOutput { name }) => name,
        _ => &call.key.name,
    }
}

fn continues(list: &Value) -> bool {
    list.pointer("/metadata/continue").and_then(Value::as_str).is_some_and(|token| !token.is_empty())
}

/// Whether an object has what every object in the cluster has, and what a write to it would be bound to.
fn is_bound(object: &Value) -> bool {
    ["/metadata/uid", "/metadata/resourceVersion"]
        .into_iter()
        .all(|field| object.pointer(field).and_then(Value::as_str).is_some_and(|text| !text.is_empty()))
}

fn object_name(object: &Value) -> Option<&str> {
    object.pointer("/metadata/name").and_then(Value::as_str)
}

#[cfg(test)]
mod tests {
    use kleym_core::name::Namespace;
    use serde_json::json;

    use super::*;

    #[test]
    fn what_fails_again_and_again_is_told_ever_more_rarely() {
        let key = BindingKey::new(Namespace::parse("llm").unwrap(), ObjectName::parse("chat").unwrap());
        let warns = |failures: &u32| {
            let action = Action::WriteStatus(Value::Null);
            Call { key: key.clone(), action, binding: None, output: None, failures: *failures }.warns()
        };
        assert_eq!((0..100).filter(warns).collect::<Vec<u32>>(), [0, 1, 2, 4, 8, 16, 32, 64]);
    }

    fn look() -> (Call, String) {
        let key = BindingKey::new(Namespace::parse("llm").unwrap(), ObjectName::parse("chat").unwrap());
        let name = kleym_core::name::output_name("default", &key);
        let text = name.to_string();
        let action = Action::Step(Step::LookAtOutput { name });
        (Call { key, action, binding: None, output: None, failures: 0 }, text)
    }

    #[test]
    fn a_list_without_a_version_proves_nothing() {
        let horizons = Horizons::default();
        horizons.of(Kind::Output).saw("7");
        let before = horizons.of(Kind::Output).before();
        for metadata in [json!({}), json!({"resourceVersion": ""}), json!({"resourceVersion": "0"})] {
            let body = json!({"kind": "ClusterSPIFFEIDList", "metadata": metadata, "items": []});
            let reply = read(&look().0, Kind::Output, body, before).reply;
            assert_eq!(reply, Reply::Failed(Failure::Transient));
        }
    }

    #[test]
    fn a_list_of_what_cannot_be_read_is_no_answer() {
        let (call, name) = look();
        let before = Horizons::default().of(Kind::Output).before();
        let unbound = json!({"metadata": {"name": name}});
        let body = json!({
            "kind": "ClusterSPIFFEIDList", "metadata": {"resourceVersion": "9"}, "items": [unbound],
        });
        assert_eq!(read(&call, Kind::Output, body, before).reply, Reply::Failed(Failure::Transient));
    }
}
