//! Yes, no, or unknown: what cannot be told is never taken for either.

/// An answer about something that can only partly be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Answer {
    /// Certainly not.
    No,
    /// It cannot be told.
    Unknown,
    /// Certainly.
    Yes,
}

impl Answer {
    /// Both hold: a certain no is enough for a no.
    #[must_use]
    pub fn and(self, other: Answer) -> Answer {
        self.min(other)
    }

    /// One of both holds.
    #[must_use]
    pub fn or(self, other: Answer) -> Answer {
        self.max(other)
    }

    /// Whether it may be so.
    pub fn possible(self) -> bool {
        self != Answer::No
    }

    /// Whether it is so, for certain.
    pub fn certain(self) -> bool {
        self == Answer::Yes
    }

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Answer::No => "no",
            Answer::Unknown => "unknown",
            Answer::Yes => "yes",
        }
    }
}

impl From<bool> for Answer {
    fn from(yes: bool) -> Self {
        if yes { Answer::Yes } else { Answer::No }
    }
}
