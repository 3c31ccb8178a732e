//! How far the API server was seen to be, kind by kind: what tells the present from the past.
//!
//! Guarantees: an answer to a request that was sent after something was seen cannot be older than that, unless it comes
//! from a cache on the way, or the store was restored from an older snapshot. The former proves nothing; after the latter
//! nothing that is remembered is true any more, and the process begins anew.
//!
//! Assumptions: resourceVersions are numbers of one sequence, as they are where etcd is behind the API server. Others are
//! never found to be old.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use kleym_core::kind::Kind;

/// The highest resourceVersion that was seen of one kind. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Horizon(Arc<AtomicU64>);

/// Where a horizon was when a request was sent.
#[derive(Debug, Clone, Copy)]
pub struct Before(u64);

impl Horizon {
    /// Notes what was seen.
    pub fn saw(&self, version: &str) {
        if let Ok(version) = version.parse() {
            self.0.fetch_max(version, Ordering::Relaxed);
        }
    }

    /// Where it is now; asked before a request is sent.
    pub fn before(&self) -> Before {
        Before(self.0.load(Ordering::Relaxed))
    }
}

impl Before {
    /// Whether an answer of this version shows an older state than what had been seen when it was asked for.
    pub fn is_after(self, version: &str) -> bool {
        version.parse::<u64>().is_ok_and(|version| version < self.0)
    }

    /// Whether a list of this version can prove anything: it says how old it is, and is not older than what had been seen.
    pub fn admits(self, version: &str) -> bool {
        !version.is_empty() && version != "0" && !self.is_after(version)
    }
}

/// A horizon for every kind. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Horizons(Arc<[Horizon; Kind::ALL.len()]>);

impl Horizons {
    /// The horizon of a kind.
    pub fn of(&self, kind: Kind) -> &Horizon {
        let place = Kind::ALL.iter().position(|known| *known == kind);
        place.and_then(|place| self.0.get(place)).unwrap_or_else(|| unreachable!("every kind has one"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_old_when_it_shows_less_than_had_been_seen_when_it_was_asked_for() {
        let horizons = Horizons::default();
        let horizon = horizons.of(Kind::Output);
        let first = horizon.before();
        horizon.saw("7");
        horizon.saw("5");
        horizon.saw("not a number");
        let second = horizons.clone().of(Kind::Output).before();
        assert!(!first.is_after("1"), "nothing had been seen");
        assert!(second.is_after("6") && !second.is_after("7") && !second.is_after("8"));
        assert!(!second.is_after("opaque"));
        assert!(second.admits("7") && !second.admits("6") && !second.admits("") && !second.admits("0"));
        assert!(!horizons.of(Kind::Binding).before().is_after("1"), "each kind has its own");
    }
}
