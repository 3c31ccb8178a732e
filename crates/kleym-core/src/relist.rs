//! Turns one watch into differences: a list is buffered and applied as one difference at its end, so that an
//! interrupted list leaves no ghost and an object deleted while the watch was away is noticed.

/// What a watch reports of objects `T` known by keys `K`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen<T, K> {
    /// A list begins; whatever an unfinished one brought is dropped.
    ListBegins,
    /// An object of the list.
    ListItem(T),
    /// The list is complete.
    ListEnds,
    /// An object was created or changed.
    Put(T),
    /// An object is gone.
    Gone(K),
}

/// What a report changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference<T, K> {
    /// The objects are exactly these.
    Listed(Vec<T>),
    /// An object is now like this.
    Put(T),
    /// An object is gone.
    Gone(K),
}

/// The state of one watch.
#[derive(Debug)]
pub struct Relist<T> {
    /// What the list under way has brought; none when there is no list under way.
    buffer: Option<Vec<T>>,
}

impl<T> Default for Relist<T> {
    fn default() -> Self {
        Self { buffer: None }
    }
}

impl<T> Relist<T> {
    /// A watch that has reported nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// What this report changes; nothing while a list is under way. The item or the end of a list that never began says
    /// nothing.
    pub fn apply<K>(&mut self, seen: Seen<T, K>) -> Option<Difference<T, K>> {
        match seen {
            Seen::ListBegins => {
                self.buffer = Some(Vec::new());
                None
            }
            Seen::ListItem(item) => {
                if let Some(buffer) = &mut self.buffer {
                    buffer.push(item);
                }
                None
            }
            Seen::ListEnds => self.buffer.take().map(Difference::Listed),
            Seen::Put(item) => Some(Difference::Put(item)),
            Seen::Gone(key) => Some(Difference::Gone(key)),
        }
    }
}
