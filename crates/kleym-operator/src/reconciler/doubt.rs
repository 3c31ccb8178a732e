//! Outputs of which it is not known what they are: writes that are under way, writes whose outcome nobody told, objects
//! that a list, perhaps older than an answer, did not hold. Until a live look, they count as what they may be.

use std::collections::BTreeMap;
use std::sync::Arc;

use kleym_core::name::BindingKey;
use kleym_core::relation::conflict;
use kleym_core::render::Identity;

/// When a doubt arose, or a call was sent: counted, not measured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Tick(u64);

#[derive(Debug, Default)]
struct Doubt {
    since: Tick,
    /// What may have been written.
    identities: Vec<Arc<Identity>>,
}

/// The doubts, by binding.
#[derive(Debug, Default)]
pub(super) struct Doubts {
    open: BTreeMap<BindingKey, Doubt>,
    now: Tick,
}

impl Doubts {
    /// The moment of what happens now.
    pub(super) fn now(&self) -> Tick {
        self.now
    }

    /// Notes that a binding's output may be something else than what was seen, from now on.
    pub(super) fn arises(&mut self, key: &BindingKey) {
        self.now.0 += 1;
        self.open.entry(key.clone()).or_default().since = self.now;
    }

    /// The same, with the identity that is being written.
    pub(super) fn writes(&mut self, key: &BindingKey, identity: &Arc<Identity>) {
        self.arises(key);
        if let Some(doubt) = self.open.get_mut(key) {
            doubt.identities.push(Arc::clone(identity));
        }
    }

    /// Ends a doubt by an answer to a call that was sent at this moment; a doubt that arose later stays. Answers whether
    /// there was one.
    pub(super) fn ends(&mut self, key: &BindingKey, sent: Tick) -> bool {
        let over = self.open.get(key).is_some_and(|doubt| doubt.since <= sent);
        if over {
            self.open.remove(key);
        }
        over
    }

    /// Ends every doubt but those about what is being written: there are no outputs at all, but a call that is under way
    /// can still make one when their definition is back.
    pub(super) fn end_all_but(&mut self, under_way: impl Fn(&BindingKey) -> bool) {
        self.open.retain(|key, _| under_way(key));
    }

    /// The bindings about whose outputs there is a doubt, some of them perhaps gone.
    pub(super) fn keys(&self) -> impl Iterator<Item = &BindingKey> {
        self.open.keys()
    }

    /// Whether there is a doubt about a binding's output.
    pub(super) fn about(&self, key: &BindingKey) -> bool {
        self.open.contains_key(key)
    }

    /// The other bindings of the namespace whose output may stand against this identity.
    pub(super) fn against<'a>(
        &'a self,
        key: &'a BindingKey,
        wanted: &'a Identity,
    ) -> impl Iterator<Item = &'a BindingKey> {
        let stands = |doubt: &Doubt| doubt.identities.iter().any(|i| conflict(i, wanted).is_some());
        self.open
            .iter()
            .filter(move |(other, _)| other.namespace == key.namespace && *other != key)
            .filter(move |(_, doubt)| stands(doubt))
            .map(|(other, _)| other)
    }
}

#[cfg(test)]
mod tests {
    use kleym_core::name::{Namespace, ObjectName};

    use super::*;

    #[test]
    fn an_answer_ends_only_a_doubt_that_was_there_when_its_call_was_sent() {
        let key = BindingKey::new(Namespace::parse("llm").unwrap(), ObjectName::parse("chat").unwrap());
        let mut doubts = Doubts::default();
        doubts.arises(&key);
        let sent = doubts.now();
        doubts.arises(&key);
        assert!(!doubts.ends(&key, sent) && doubts.about(&key));
        assert!(doubts.ends(&key, doubts.now()) && !doubts.about(&key));
    }

    #[test]
    fn what_is_being_written_stays_in_doubt_although_there_are_no_outputs() {
        let key = |name| BindingKey::new(Namespace::parse("llm").unwrap(), ObjectName::parse(name).unwrap());
        let mut doubts = Doubts::default();
        doubts.arises(&key("written"));
        doubts.arises(&key("seen"));
        doubts.end_all_but(|under_way| *under_way == key("written"));
        assert!(doubts.about(&key("written")) && !doubts.about(&key("seen")));
    }
}
