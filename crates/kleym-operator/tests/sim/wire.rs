//! What a call is on the wire, told a second time and apart from the operator's own code; and what every request must
//! carry.

use std::rc::Rc;

use kleym_api::encode;
use kleym_core::kind::Kind;
use kleym_core::name::Uid;
use kleym_core::output::FINALIZER;
use kleym_core::plan::{Failure, Reply, Step};
use kleym_operator::perform::{Action, Answer, Call};
use serde_json::{Value, json};

use crate::server::Refused;

/// What is to be done with an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    /// GET
    Get,
    /// The list of all objects of one name.
    List,
    /// A page of the list of all objects.
    Page,
    /// POST
    Create,
    /// POST with `dryRun=All`
    TryCreate,
    /// PUT
    Replace,
    /// PATCH of `metadata.finalizers`
    PatchFinalizers,
    /// PUT of the status
    ReplaceStatus,
    /// DELETE
    Delete,
}

impl Verb {
    /// Whether it changes anything.
    pub(crate) fn writes(self) -> bool {
        !matches!(self, Verb::Get | Verb::List | Verb::Page | Verb::TryCreate)
    }
}

/// A request.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Request {
    /// What to do.
    pub(crate) verb: Verb,
    /// With an object of which kind.
    pub(crate) kind: Kind,
    /// Empty for cluster-scoped kinds.
    pub(crate) namespace: String,
    /// Its name.
    pub(crate) name: String,
    /// The body, or what is asked of a page; null when there is none.
    pub(crate) body: Value,
}

impl Request {
    /// The request of a call.
    pub(crate) fn of(call: &Call) -> Self {
        let binding = |verb, body| Self {
            verb,
            kind: Kind::Binding,
            namespace: call.key.namespace.to_string(),
            name: call.key.name.to_string(),
            body,
        };
        let output = |verb, name: &str, body| Self {
            verb,
            kind: Kind::Output,
            namespace: String::new(),
            name: name.to_owned(),
            body,
        };
        let seen = || call.binding.as_ref().expect("a write to a binding that was seen");
        let live = || call.output.as_deref().expect("a write to an output that was seen");
        let step = match &call.action {
            Action::WriteStatus(status) => {
                let seen = seen();
                return binding(
                    Verb::ReplaceStatus,
                    json!({
                        "apiVersion": Kind::Binding.api_version(),
                        "kind": Kind::Binding.kind(),
                        "metadata": {
                            "namespace": call.key.namespace.as_str(),
                            "name": call.key.name.as_str(),
                            "uid": seen.uid.as_str(),
                            "resourceVersion": &*seen.resource_version,
                        },
                        "status": status,
                    }),
                );
            }
            Action::Step(step) => step,
        };
        let finalizers = |ours: bool| {
            let seen = seen();
            let mut finalizers: Vec<&str> = seen.finalizers.iter().filter(|f| *f != FINALIZER).collect();
            if ours {
                finalizers.push(FINALIZER);
            }
            let bound_to = json!({
                "uid": seen.uid.as_str(),
                "resourceVersion": &*seen.resource_version,
                "finalizers": finalizers,
            });
            binding(Verb::PatchFinalizers, json!({ "metadata": bound_to }))
        };
        let value = |object| serde_json::to_value(object).unwrap();
        match step {
            Step::AddFinalizer => finalizers(true),
            Step::RemoveFinalizer { .. } => finalizers(false),
            Step::CreateOutput(wanted) => {
                output(Verb::Create, wanted.name.as_str(), value(encode::cluster_spiffe_id(wanted)))
            }
            Step::TryOutput(wanted) => {
                output(Verb::TryCreate, wanted.name.as_str(), value(encode::cluster_spiffe_id(wanted)))
            }
            Step::ReplaceOutput(wanted) => {
                output(Verb::Replace, wanted.name.as_str(), value(encode::replacement(wanted, live())))
            }
            Step::NeutraliseOutput { name } => {
                let neutral = encode::replacement(&live().neutralised(), live());
                output(Verb::Replace, name.as_str(), value(neutral))
            }
            Step::DeleteOutput { name, uid } => {
                let options = json!({
                    "apiVersion": "v1",
                    "kind": "DeleteOptions",
                    "preconditions": {"uid": uid.as_str()},
                    "propagationPolicy": "Background",
                });
                output(Verb::Delete, name.as_str(), options)
            }
            Step::LookAtOutput { name } => output(Verb::List, name.as_str(), Value::Null),
            Step::LookAtBinding { .. } => binding(Verb::List, Value::Null),
            Step::Settle(_) => panic!("settling is no call"),
        }
    }

    /// The read of the object that it is about.
    pub(crate) fn read(&self) -> Self {
        Self { verb: Verb::Get, body: Value::Null, ..self.clone() }
    }

    /// What is missing in it: every write is bound to what was seen, every delete to a uid.
    pub(crate) fn fault(&self) -> Option<&'static str> {
        let text = |pointer: &str| self.body.pointer(pointer).and_then(Value::as_str).unwrap_or("");
        match self.verb {
            Verb::Get | Verb::List | Verb::Page => None,
            Verb::Create | Verb::TryCreate => (!text("/metadata/resourceVersion").is_empty()
                || !text("/metadata/uid").is_empty())
            .then_some("a create names a version or a uid"),
            Verb::Replace | Verb::PatchFinalizers | Verb::ReplaceStatus => {
                match (text("/metadata/resourceVersion"), text("/metadata/uid")) {
                    ("" | "0", _) => Some("a write is bound to no resourceVersion"),
                    (_, "") => Some("a write is bound to no uid"),
                    _ => None,
                }
            }
            Verb::Delete => {
                text("/preconditions/uid").is_empty().then_some("a delete has no uid as a precondition")
            }
        }
    }

    /// One line.
    pub(crate) fn describe(&self) -> String {
        let Self { verb, kind, namespace, name, body } = self;
        let slash = if namespace.is_empty() { "" } else { "/" };
        let detail = match verb {
            Verb::Create | Verb::Replace => {
                let selects = &body["spec"]["workloadSelectorTemplates"];
                let id = &body["spec"]["spiffeIDTemplate"];
                let pin = &body["spec"]["namespaceSelector"]["matchLabels"];
                format!(" {id} {selects} in {pin}")
            }
            Verb::PatchFinalizers => format!(" {}", body["metadata"]["finalizers"]),
            Verb::ReplaceStatus => ready(&body["status"]),
            Verb::Get | Verb::List | Verb::Page | Verb::TryCreate | Verb::Delete => String::new(),
        };
        format!("{verb:?} {} {namespace}{slash}{name}{detail}", kind.kind())
    }
}

fn ready(status: &Value) -> String {
    let conditions = status["conditions"].as_array().into_iter().flatten();
    let ready = conditions.filter(|condition| condition["type"] == "Ready");
    ready.map(|condition| format!(" Ready={} {}", condition["status"], condition["reason"])).collect()
}

/// What a refusal means, apart from the operator's own table.
pub(crate) fn failure(refused: Refused) -> Failure {
    match (refused, refused.code()) {
        (Refused::Terminating, _) => Failure::Terminating,
        (_, 401 | 403) => Failure::Forbidden,
        (_, 404) => Failure::Absent,
        (_, 409) => Failure::Stale,
        (_, 400) => Failure::FieldUnknown,
        (_, 405 | 413 | 422) => Failure::Rejected,
        _ => Failure::Transient,
    }
}

/// The answer that a response is.
pub(crate) fn answer(request: &Request, response: Result<&Rc<Value>, Refused>) -> Answer {
    let done = |objects| Answer { reply: Reply::Done, objects };
    let body = match response {
        Ok(body) => body,
        Err(refused) => return failed(failure(refused)),
    };
    match request.verb {
        Verb::List => match body["items"].as_array().unwrap().as_slice() {
            [] => Answer { reply: Reply::ProvedAbsent, objects: Vec::new() },
            items => {
                let uid = || Uid::parse(items[0]["metadata"]["uid"].as_str().unwrap()).unwrap();
                let reply = if request.kind == Kind::Binding { Reply::Lives(uid()) } else { Reply::Done };
                Answer { reply, objects: items.iter().map(|item| (request.kind, item.clone())).collect() }
            }
        },
        Verb::TryCreate => done(Vec::new()),
        Verb::Delete if body["kind"] == "Status" => done(Vec::new()),
        _ => done(vec![(request.kind, Value::clone(body))]),
    }
}

/// The answer to a call that failed.
pub(crate) fn failed(failure: Failure) -> Answer {
    Answer { reply: Reply::Failed(failure), objects: Vec::new() }
}
