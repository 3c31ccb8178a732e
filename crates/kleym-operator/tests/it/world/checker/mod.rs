//! The one checker of every test: what the operator asked for, from the audit log, and what that did to bindings and
//! outputs, from their whole history, against the rules that hold at every moment.
//!
//! What hands other than the operator's did is not held against it: an output that somebody else ever wrote, or a binding
//! whose finalizers somebody else touched, is left out of the rules that it could break alone.

mod apart;
mod foreign;
mod rendered;
#[path = "../../../rules/mod.rs"]
mod rules;
mod safety;
mod sending;
mod settled;
mod states;
mod testimony;
#[cfg(test)]
mod tests;
mod wire;

use jiff::Timestamp;
use kleym_core::kind::Kind;
use kleym_core::name::{BindingKey, Namespace, ObjectName, output_name};
use kleym_core::settings::Settings;
use kleym_testenv::Call;
use serde_json::Value;

use super::recorder::Version;

pub(crate) use settled::{End, settled};
pub(crate) use testimony::Testimony;

/// What ClusterSPIFFEIDs are in the audit log.
pub(crate) const OUTPUTS: &str = "spire.spiffe.io/clusterspiffeids";
/// What bindings are there.
const BINDINGS: &str = "kleym.sonda.red/inferenceidentitybindings";

/// What is looked at: the calls, and the history of one namespace.
pub(crate) struct Evidence<'a> {
    /// The operator's user.
    pub(crate) user: &'a str,
    /// The operator's instance name.
    pub(crate) instance: &'a str,
    /// The namespace.
    pub(crate) namespace: &'a str,
    /// Every call of everybody since the world began.
    pub(crate) calls: &'a [Call],
    /// Every version, by revision, of the outputs and bindings of the namespace, of whatever output the operator wrote to, and
    /// of all that the identities of these depend on.
    pub(crate) versions: &'a [Version],
    /// Rules that this test breaks on purpose.
    pub(crate) excused: &'a [&'static str],
    /// Outputs that a write which lands late may put beside others until they are swept.
    pub(crate) displaced: &'a [String],
    /// The settings of each operator, and when it began; empty when a test started it by itself.
    pub(crate) settings: &'a [(Timestamp, Settings)],
    /// What the operators said.
    pub(crate) testimony: &'a Testimony,
}

/// Broken rules, one line each: `<rule>: <what happened>`.
pub(crate) fn violations(evidence: &Evidence<'_>) -> Vec<String> {
    let mut found = wire::violations(evidence);
    found.extend(sending::violations(evidence));
    found.extend(safety::violations(evidence));
    found.retain(|line| !evidence.excused.iter().any(|rule| line.starts_with(rule)));
    found
}

impl Evidence<'_> {
    /// The operator's calls.
    fn made(&self) -> impl Iterator<Item = &Call> {
        self.calls.iter().filter(|call| call.user == self.user)
    }

    /// Its writes to outputs, whatever became of them.
    fn writes(&self) -> impl Iterator<Item = &Call> {
        let writes = |call: &&Call| ["create", "update", "delete"].contains(&call.verb.as_str());
        self.made().filter(|call| call.resource == OUTPUTS && call.subresource.is_empty()).filter(writes)
    }

    /// The name of a binding's output.
    fn output_of(&self, binding: &str) -> Option<String> {
        let namespace = Namespace::parse(self.namespace).ok()?;
        let key = BindingKey::new(namespace, ObjectName::parse(binding).ok()?);
        Some(output_name(self.instance, &key).to_string())
    }
}

/// The version of an output that an update replaced, or was to replace: it is bound to one.
fn written_over<'a>(evidence: &Evidence<'a>, call: &Call) -> Option<&'a Version> {
    let body = call.request.as_ref().filter(|_| call.verb == "update")?;
    let revision: u64 = body.pointer("/metadata/resourceVersion")?.as_str()?.parse().ok()?;
    let stands = |version: &&Version| version.revision == revision && !version.gone;
    let mut versions = evidence.versions.iter().filter(|version| version.kind == Kind::Output);
    versions.find(|version| stands(version) && version.text("/metadata/name") == call.name)
}

/// An annotation of an object.
fn annotation<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    object["metadata"]["annotations"][key].as_str()
}

/// The binding that an output says it is for.
fn key_of(output: &Value) -> Option<BindingKey> {
    key(annotation(output, "kleym.sonda.red/binding")?)
}

/// A binding by `<namespace>/<name>`.
fn key(text: &str) -> Option<BindingKey> {
    let (namespace, name) = text.split_once('/')?;
    Some(BindingKey::new(Namespace::parse(namespace).ok()?, ObjectName::parse(name).ok()?))
}
