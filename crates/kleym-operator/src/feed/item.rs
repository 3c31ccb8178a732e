//! One object as the driver wants it: decoded once, where it arrives.

use kleym_api::decode::{self, DecodeError};
use kleym_api::encode::StatusSeen;
use kleym_core::announce::Said;
use kleym_core::fact::{Binding, Fact};
use kleym_core::kind::Kind;
use kleym_core::name::ObjectName;
use kleym_core::output::KeptOutput;
use kleym_core::plan::LiveBinding;
use kleym_core::settings::Settings;
use serde_json::Value;

/// A binding with what writes to it are bound to.
#[derive(Debug)]
pub struct SeenBinding {
    /// What it declares.
    pub fact: Box<Binding>,
    /// What writes are bound to.
    pub live: LiveBinding,
    /// What its status says.
    pub status: StatusSeen,
    /// As much of it as decides whether something must be told again.
    pub said: Said,
}

/// An object of any kind.
#[derive(Debug)]
pub enum Item {
    /// A binding.
    Binding(Box<SeenBinding>),
    /// An objective or a pool.
    Input(Fact),
    /// A ClusterSPIFFEID.
    Output(KeptOutput),
}

/// Decodes a binding as the API server sent it.
///
/// # Errors
/// When it lacks what the API server gives every object.
pub fn binding(object: &Value) -> Result<SeenBinding, DecodeError> {
    let live = decode::live_binding(object)?;
    let status = StatusSeen::read(object.get("status"));
    let said = Said::of(ready_reason(object));
    match decode::fact(Kind::Binding, object)? {
        Fact::Binding(mut fact) => {
            // The same text, kept once.
            fact.uid = Some(live.uid.clone());
            Ok(SeenBinding { fact, live, status, said })
        }
        Fact::Objective(_) | Fact::Pool(_) => unreachable!("a binding decodes to a binding"),
    }
}

/// The reason of the condition `Ready`.
fn ready_reason(object: &Value) -> Option<&str> {
    let conditions = object.pointer("/status/conditions")?.as_array()?;
    let ready =
        conditions.iter().find(|condition| condition.get("type").and_then(Value::as_str) == Some("Ready"))?;
    ready.get("reason")?.as_str()
}

impl Item {
    /// The fact of an objective or a pool.
    pub fn into_input(self) -> Option<Fact> {
        match self {
            Item::Input(fact) => Some(fact),
            Item::Binding(_) | Item::Output(_) => None,
        }
    }

    /// The object's name.
    pub fn name(&self) -> &ObjectName {
        match self {
            Item::Binding(seen) => &seen.fact.key.name,
            Item::Input(Fact::Binding(binding)) => &binding.key.name,
            Item::Input(Fact::Objective(objective)) => &objective.name,
            Item::Input(Fact::Pool(pool)) => &pool.name,
            Item::Output(output) => output.name(),
        }
    }

    /// Decodes an object of a kind, for an operator with these settings.
    ///
    /// # Errors
    /// When it lacks what the API server gives every object.
    pub fn decode(kind: Kind, object: &Value, settings: &Settings) -> Result<Self, DecodeError> {
        Ok(match kind {
            Kind::Binding => Item::Binding(Box::new(binding(object)?)),
            Kind::Objective(_) | Kind::Pool(_) => Item::Input(decode::fact(kind, object)?),
            Kind::Output => Item::Output(KeptOutput::of(settings, decode::output(object)?)),
        })
    }
}
