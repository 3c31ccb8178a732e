//! The one checker of every test: what the operator asked for, from the audit log, and what that did to bindings and
//! outputs, from their whole history, against the rules that hold at every moment.
//!
//! What hands other than the operator's did is not held against it: an output that somebody else ever wrote, or a binding
//! whose finalizers somebody else touched, is left out of the rules that it could break alone.

mod safety;
mod sending;
mod settled;
mod testimony;
#[cfg(test)]
mod tests;
mod wire;

use kleym_core::name::{BindingKey, Namespace, ObjectName, output_name};
use kleym_testenv::Call;

use super::recorder::Version;

pub(crate) use settled::settled;
pub(crate) use testimony::Testimony;

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
    /// Every version of bindings and outputs, by revision.
    pub(crate) versions: &'a [Version],
    /// Rules that this test breaks on purpose.
    pub(crate) excused: &'a [&'static str],
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

    /// The name of a binding's output.
    fn output_of(&self, binding: &str) -> Option<String> {
        let namespace = Namespace::parse(self.namespace).ok()?;
        let key = BindingKey::new(namespace, ObjectName::parse(binding).ok()?);
        Some(output_name(self.instance, &key).to_string())
    }
}
