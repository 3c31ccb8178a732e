//! How many events one object may have: some at once, and few after that. An object that flaps must not flood anybody, nor
//! one that somebody deletes and creates again and again: what counts is its name.

use std::time::{Duration, Instant};

use kleym_core::announce::Object;

use crate::recent::Recent;

/// How many events of one object are sent at once.
const AT_ONCE: u32 = 25;
/// After this long an object may have one more.
const REFILL: Duration = Duration::from_secs(300);
/// How many objects are remembered.
const OBJECTS: usize = 4096;

/// What the objects have left.
#[derive(Debug)]
pub(super) struct Budget {
    objects: Recent<String, Purse>,
}

#[derive(Debug, Clone, Copy)]
struct Purse {
    left: u32,
    filled: Instant,
}

impl Budget {
    /// Nobody has spent anything.
    pub(super) fn new() -> Self {
        Self { objects: Recent::new(OBJECTS) }
    }

    /// Spends one event of an object; answers whether there was one left.
    pub(super) fn spend(&mut self, object: &Object, now: Instant) -> bool {
        let object = match object {
            Object::Binding(key, _) => key.to_string(),
            Object::Output(name, _) => name.to_string(),
        };
        let Some(purse) = self.objects.get(&object) else {
            self.objects.insert(object, Purse { left: AT_ONCE - 1, filled: now });
            return true;
        };
        let refills = now.saturating_duration_since(purse.filled).as_secs() / REFILL.as_secs();
        let refills = u32::try_from(refills).unwrap_or(AT_ONCE).min(AT_ONCE);
        if refills > 0 {
            purse.left = purse.left.saturating_add(refills).min(AT_ONCE);
            purse.filled = now;
        }
        let spent = purse.left > 0;
        purse.left = purse.left.saturating_sub(1);
        spent
    }
}

#[cfg(test)]
mod tests {
    use kleym_core::name::{ObjectName, Uid};

    use super::*;

    #[test]
    fn an_object_has_some_events_at_once_and_then_one_every_five_minutes() {
        let (mut budget, start) = (Budget::new(), Instant::now());
        // Each time another object of the name.
        let (a, b) = (ObjectName::parse("a").unwrap(), ObjectName::parse("b").unwrap());
        let mut sent = |name: &ObjectName, seconds: u64, tries: usize| {
            let now = start + Duration::from_secs(seconds);
            let object =
                |uid: &usize| Object::Output(name.clone(), Uid::parse(&format!("{seconds}-{uid}")).unwrap());
            (0..tries).filter(|uid| budget.spend(&object(uid), now)).count()
        };
        assert_eq!(sent(&a, 0, 100), 25);
        assert_eq!(sent(&b, 0, 1), 1, "another object has its own");
        assert_eq!(sent(&a, 299, 5), 0);
        assert_eq!(sent(&a, 300, 5), 1);
        assert_eq!(sent(&a, 1000, 5), 2);
        assert_eq!(sent(&a, 1_000_000, 100), 25);
    }
}
