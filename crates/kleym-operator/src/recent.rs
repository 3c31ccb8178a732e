//! A memory of constant size: it keeps what was used lately and forgets the rest. It never grows beyond what it was made
//! for, whoever fills it.

use std::collections::HashMap;
use std::hash::Hash;

/// What was used lately. Two generations: what is used moves to the young one, and when that is full it becomes the old
/// one and the former old one is forgotten. So an entry outlives at least half as many others as there is room for.
#[derive(Debug)]
pub(crate) struct Recent<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
    half: usize,
}

impl<K: Eq + Hash, V> Recent<K, V> {
    /// A memory for at most so many entries, and at least two.
    pub(crate) fn new(most: usize) -> Self {
        Self { young: HashMap::new(), old: HashMap::new(), half: (most / 2).max(1) }
    }

    /// An entry, which counts as used now.
    pub(crate) fn get(&mut self, key: &K) -> Option<&mut V> {
        if !self.young.contains_key(key) {
            let (key, value) = self.old.remove_entry(key)?;
            self.insert(key, value);
        }
        self.young.get_mut(key)
    }

    /// Remembers an entry; what was there under this key is forgotten.
    pub(crate) fn insert(&mut self, key: K, value: V) {
        self.old.remove(&key);
        if self.young.len() >= self.half && !self.young.contains_key(&key) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, value);
    }

    /// Forgets an entry.
    pub(crate) fn remove(&mut self, key: &K) {
        self.young.remove(key);
        self.old.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_never_holds_more_than_it_was_made_for() {
        let mut recent = Recent::new(10);
        for number in 0..1000 {
            recent.insert(number, number);
            assert!(recent.young.len() + recent.old.len() <= 10, "after {number}");
        }
        assert_eq!(recent.get(&999), Some(&mut 999));
        assert_eq!(recent.get(&0), None);
    }

    #[test]
    fn what_is_used_again_and_again_is_kept() {
        let mut recent = Recent::new(4);
        recent.insert("kept", 1);
        for other in ["a", "b", "c", "d", "e", "f", "g", "h"] {
            recent.insert(other, 0);
            assert_eq!(recent.get(&"kept"), Some(&mut 1), "after {other}");
        }
    }

    #[test]
    fn an_entry_is_there_once() {
        let mut recent = Recent::new(2);
        recent.insert("a", 1);
        recent.insert("b", 2);
        recent.insert("a", 3);
        assert_eq!(recent.get(&"a"), Some(&mut 3));
        recent.remove(&"a");
        assert_eq!(recent.get(&"a"), None);
    }
}
