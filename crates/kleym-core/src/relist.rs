//! Turns one kind's watch into changes: a list is buffered and applied as one difference at its end, so that an
//! interrupted list leaves no ghost and an object deleted while the watch was away is noticed.

use crate::fact::{Change, Fact, FactKey};
use crate::kind::Kind;

/// What a watch of one kind reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// A list begins; whatever an unfinished one brought is dropped.
    ListBegins,
    /// An object of the list.
    ListItem(Fact),
    /// The list is complete.
    ListEnds,
    /// An object was created or changed.
    Put(Fact),
    /// An object is gone.
    Gone(FactKey),
}

/// The state of one kind's watch.
#[derive(Debug)]
pub struct Relist {
    kind: Kind,
    buffer: Option<Vec<Fact>>,
}

impl Relist {
    /// A watch that has reported nothing yet.
    pub fn new(kind: Kind) -> Self {
        Self { kind, buffer: None }
    }

    /// What this report changes; nothing while a list is under way.
    pub fn apply(&mut self, seen: Seen) -> Option<Change> {
        match seen {
            Seen::ListBegins => {
                self.buffer = Some(Vec::new());
                None
            }
            Seen::ListItem(fact) => {
                self.buffer.get_or_insert_default().push(fact);
                None
            }
            Seen::ListEnds => Some(Change::Listed(self.kind, self.buffer.take().unwrap_or_default())),
            Seen::Put(fact) => Some(Change::Put(fact)),
            Seen::Gone(key) => Some(Change::Gone(key)),
        }
    }
}
