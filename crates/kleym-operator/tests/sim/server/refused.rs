//! Why a request is refused, as far as the answer says it.

use serde_json::{Value, json};

use super::Place;

/// A refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Nothing serves this path: the answer is text, not a Status.
    Unserved,
    /// There is no such object.
    NotFound,
    /// There is no such namespace.
    NoNamespace,
    /// There is one already.
    AlreadyExists,
    /// What the write is bound to is not what stands there.
    Conflict,
    /// What the delete is bound to is not what stands there.
    Precondition,
    /// The object cannot be like this.
    Invalid,
    /// The write is bound to no version.
    Unbound,
    /// The namespace or the definition is being deleted.
    Terminating,
    /// What was asked for is too long ago.
    Expired,
    /// Somebody on the way answers with this code.
    Misfortune(u16),
}

impl Refused {
    /// The code of the answer.
    pub(crate) fn code(self) -> u16 {
        match self {
            Refused::Unserved | Refused::NotFound | Refused::NoNamespace => 404,
            Refused::AlreadyExists | Refused::Conflict | Refused::Precondition => 409,
            Refused::Invalid | Refused::Unbound => 422,
            Refused::Terminating => 403,
            Refused::Expired => 410,
            Refused::Misfortune(code) => code,
        }
    }

    /// The reason that a Status names.
    fn reason(self) -> &'static str {
        match self {
            Refused::Unserved | Refused::Misfortune(_) => "",
            Refused::NotFound | Refused::NoNamespace => "NotFound",
            Refused::AlreadyExists => "AlreadyExists",
            Refused::Conflict | Refused::Precondition => "Conflict",
            Refused::Invalid | Refused::Unbound => "Invalid",
            Refused::Terminating => "Forbidden",
            Refused::Expired => "Expired",
        }
    }

    /// The Status of the answer about an object; none where the answer is text.
    pub(crate) fn status(self, Place { kind, namespace, name }: &Place) -> Option<Value> {
        let details = match self {
            Refused::Unserved | Refused::Misfortune(_) => return None,
            Refused::NoNamespace => json!({"name": namespace, "kind": "namespaces"}),
            Refused::Invalid | Refused::Precondition => {
                json!({"name": name, "group": kind.group(), "kind": kind.kind()})
            }
            Refused::Expired => Value::Null,
            Refused::NotFound
            | Refused::AlreadyExists
            | Refused::Conflict
            | Refused::Unbound
            | Refused::Terminating => {
                json!({"name": name, "group": kind.group(), "kind": kind.plural()})
            }
        };
        let mut status = json!({"status": "Failure", "reason": self.reason(), "code": self.code()});
        if !details.is_null() {
            status["details"] = details;
        }
        Some(status)
    }
}
