//! What a Lease says, how long everything lasts, and what the Lease is called. Nothing in here decides who leads.

use std::fmt;
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::name::{Instance, ObjectName, hex};

/// A point in wall-clock time: microseconds since 1970. For people; nothing is decided by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stamp(pub i64);

/// What a lease says; what it does not say is absent or empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Who holds it; empty when nobody does.
    pub holder: String,
    /// For how long after a change nobody else takes it.
    pub duration_seconds: Option<i32>,
    /// How often the holder changed.
    pub transitions: i32,
    /// When the holder took it.
    pub acquired: Option<Stamp>,
    /// When the holder last wrote it.
    pub renewed: Option<Stamp>,
}

/// The duration that a released lease says it has, beside an empty holder: the mark by which a release is told from
/// a holder that somebody removed by hand.
pub const RELEASED_SECONDS: i32 = 1;

impl Record {
    /// Whether a leader that has stopped left this.
    pub fn is_released(&self) -> bool {
        self.holder.is_empty() && self.duration_seconds == Some(RELEASED_SECONDS)
    }
}

/// One version of the lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Live {
    /// The object's uid.
    pub uid: String,
    /// The version's resourceVersion; opaque.
    pub resource_version: String,
    /// What it says.
    pub record: Record,
}

impl Live {
    pub(super) fn is_whole(&self) -> bool {
        !self.uid.is_empty() && !self.resource_version.is_empty()
    }

    pub(super) fn is_same_version(&self, other: &Live) -> bool {
        self.uid == other.uid && self.resource_version == other.resource_version
    }

    pub(super) fn was_replaced_by(&self, other: &Live) -> bool {
        self.uid == other.uid && self.resource_version != other.resource_version
    }
}

/// What was seen of the lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sight {
    /// It is like this.
    Present(Live),
    /// There is none.
    Absent,
}

impl Sight {
    /// Whether it is something an API server says of an object.
    pub(super) fn is_whole(&self) -> bool {
        match self {
            Sight::Present(live) => live.is_whole(),
            Sight::Absent => true,
        }
    }
}

/// How long everything lasts, derived from the lease's duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// For how long nobody takes a lease that does not change.
    pub duration: Duration,
    /// How long a leader leads after it began to send a write that was acknowledged: two thirds of the duration.
    pub lead: Duration,
    /// How long after one renewal began the next one begins: a sixth of the duration.
    pub period: Duration,
    /// The longest a call may take: a fifth of the duration.
    pub call: Duration,
    /// The pause after a failure: a fifteenth of the duration.
    pub pause: Duration,
}

/// A lease duration that is not between 3 and 60 seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadDuration;

impl fmt::Display for BadDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a lease lasts {SHORTEST} to {LONGEST} seconds")
    }
}

impl std::error::Error for BadDuration {}

const SHORTEST: u8 = 3;
const LONGEST: u8 = 60;

impl Timing {
    /// The timing for a lease of 15 seconds: led for 10, renewed every 2.5, calls of at most 3, pauses of 1.
    pub const DEFAULT: Self = Self::of(15);

    const fn of(seconds: u8) -> Self {
        let whole = seconds as u64 * 1000;
        Self {
            duration: Duration::from_millis(whole),
            lead: Duration::from_millis(whole * 2 / 3),
            period: Duration::from_millis(whole / 6),
            call: Duration::from_millis(whole / 5),
            pause: Duration::from_millis(whole / 15),
        }
    }

    /// The timing for a lease of so many seconds.
    ///
    /// # Errors
    /// When that is less than 3 (a call must have time to be answered) or more than 60.
    pub const fn seconds(duration: u8) -> Result<Self, BadDuration> {
        if duration < SHORTEST || duration > LONGEST { Err(BadDuration) } else { Ok(Self::of(duration)) }
    }

    /// The duration as the record has it.
    pub(super) fn duration_seconds(&self) -> i32 {
        // At most 60 by construction.
        i32::try_from(self.duration.as_secs()).unwrap_or(i32::MAX)
    }

    /// How long a version must not change before it may be claimed: what it says itself, but never less than our
    /// own duration, which also counts when it says something that no holder writes.
    pub(super) fn wait(&self, record: &Record) -> Duration {
        let said = record.duration_seconds.and_then(|seconds| u8::try_from(seconds).ok());
        let said = said.filter(|seconds| (SHORTEST..=LONGEST).contains(seconds));
        self.duration.max(said.map_or(Duration::ZERO, |seconds| Duration::from_secs(seconds.into())))
    }
}

/// The name of an instance's Lease: `kleym-operator-<instance>` where that is a DNS-1123 subdomain, as object names
/// must be; else (an instance is a label value: it may have upper case, `_`, or a `.` beside a `-` or `.`)
/// `kleym-operator-<SHA-256 of the instance in lower-case hex>`. An instance has at most 63 characters and the hash
/// has 64, so no name of the one form is ever one of the other, and different instances have different Leases.
pub fn name(instance: &Instance) -> ObjectName {
    const PREFIX: &str = "kleym-operator-";
    ObjectName::parse(&format!("{PREFIX}{instance}")).unwrap_or_else(|_| {
        let hash = hex(&Sha256::digest(instance.as_str().as_bytes()));
        ObjectName::parse(&format!("{PREFIX}{hash}")).expect("lower-case letters, digits and `-`")
    })
}
