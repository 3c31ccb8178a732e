//! What can become of one call.

/// What becomes of one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is refused with this code, and nothing happens.
    Refused(u16),
    /// It happens, and its answer is lost.
    AnswerLost,
    /// It happens, and after so many milliseconds its answer is lost.
    AnswerLostAfter(u64),
    /// It happens, and somebody on the way answers that it was refused, with this code.
    Misanswered(u16),
    /// It is held up for so many milliseconds, and lands then whatever happened meanwhile.
    Held(u64),
    /// It never arrives.
    Dropped,
    /// It arrives twice.
    Twice,
    /// The operator dies before it sends it.
    KilledBefore,
    /// The operator dies with the call on its way; it lands after so many milliseconds.
    KilledDuring(u64),
    /// The operator dies after it happened, before the answer comes.
    KilledAfterCommit,
    /// The operator dies after it took the answer.
    KilledAfterReply,
}
