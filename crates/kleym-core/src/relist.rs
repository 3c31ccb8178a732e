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
    buffer: Vec<T>,
}

impl<T> Default for Relist<T> {
    fn default() -> Self {
        Self { buffer: Vec::new() }
    }
}

impl<T> Relist<T> {
    /// A watch that has reported nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// What this report changes; nothing while a list is under way.
    pub fn apply<K>(&mut self, seen: Seen<T, K>) -> Option<Difference<T, K>> {
        match seen {
            Seen::ListBegins => {
                self.buffer.clear();
                None
            }
            Seen::ListItem(item) => {
                self.buffer.push(item);
                None
            }
            Seen::ListEnds => Some(Difference::Listed(std::mem::take(&mut self.buffer))),
            Seen::Put(item) => Some(Difference::Put(item)),
            Seen::Gone(key) => Some(Difference::Gone(key)),
        }
    }
}
