//! A set that mostly has one member: then it takes no memory of its own, where a set that is ready for more would take
//! that of eleven.

use std::collections::BTreeSet;

use crate::name::ObjectName;

/// Names, at least one.
#[derive(Debug)]
#[expect(clippy::box_collection, reason = "so that this is no larger than one name")]
pub(super) enum Few {
    One(ObjectName),
    Many(Box<BTreeSet<ObjectName>>),
}

impl Few {
    pub(super) fn len(&self) -> usize {
        match self {
            Few::One(_) => 1,
            Few::Many(names) => names.len(),
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &ObjectName> {
        let (one, many) = match self {
            Few::One(name) => (Some(name), None),
            Few::Many(names) => (None, Some(names.iter())),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }

    pub(super) fn insert(&mut self, name: &ObjectName) {
        match self {
            Few::One(only) if only == name => {}
            Few::One(only) => *self = Few::Many(Box::new(BTreeSet::from([only.clone(), name.clone()]))),
            Few::Many(names) => drop(names.insert(name.clone())),
        }
    }

    /// Takes a name out; answers whether none is left, and then this is to be dropped.
    pub(super) fn remove(&mut self, name: &ObjectName) -> bool {
        match self {
            Few::One(only) => only == name,
            Few::Many(names) => {
                names.remove(name);
                if let (Some(only), 1) = (names.first(), names.len()) {
                    *self = Few::One(only.clone());
                }
                false
            }
        }
    }
}
