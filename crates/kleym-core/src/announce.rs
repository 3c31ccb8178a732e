//! What is told when: a closed vocabulary of events, and from how a binding stood to how it stands now which of them
//! happened.
//!
//! Flow: [`Told`] remembers, for one binding, what was told last; [`Told::begins`] takes the beginning of each turn,
//! [`Told::wrote`] each write to its output and [`Told::settle`] the end. [`Vigil`] watches what spire-controller-manager
//! makes of the outputs.
//!
//! Guarantees: only transitions are told; the first settled turn of a process tells nothing that the live status says
//! already; equal transitions give equal announcements, so that whoever sends them can keep them single; a note has at
//! most 1,024 bytes and says what, where and what to do.
//!
//! Caveats: nothing is remembered over a restart; a transition that happened between two processes is told only as far
//! as the next one has to write for it.
//!
//! Nothing in here sends anything, and no decision depends on it.

mod note;
mod told;
mod vigil;

use sha2::{Digest, Sha256};

use crate::name::{BindingKey, ObjectName, Uid, feed_length_prefixed, hex};
use crate::output::{LABEL_INSTANCE, LiveOutput};
use crate::settings::Settings;

pub use told::{Said, Settled, Told};
pub use vigil::{Counts, GRACE, SpireStatus, Vigil, Watched};

macro_rules! occasions {
    ($($(#[$doc:meta])* $name:ident => $action:literal,)*) => {
        /// What happened.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Occasion { $($(#[$doc])* $name,)* }

        impl Occasion {
            /// All of them.
            pub const ALL: &[Occasion] = &[$(Occasion::$name,)*];

            /// The event's `reason`.
            pub const fn as_str(self) -> &'static str {
                match self { $(Occasion::$name => stringify!($name),)* }
            }

            /// The event's `action`: what Kleym did.
            pub const fn action(self) -> &'static str {
                match self { $(Occasion::$name => $action,)* }
            }
        }
    };
}

occasions! {
    /// A binding's output grants its identity, and did not before; or it did, could not be written, and can be now.
    IdentityGranted => "Grant",
    /// A binding's output grants something else than before.
    IdentityChanged => "Change",
    /// What a binding's output granted is gone.
    IdentityWithdrawn => "Withdraw",
    /// A binding is refused, or its output cannot be written.
    IdentityRefused => "Refuse",
    /// A younger binding is refused because this one comes first.
    IdentityContested => "Compare",
    /// A binding that was refused because this one comes first no longer is.
    ConflictEnded => "Compare",
    /// An output whose binding no longer lives was deleted.
    OrphanRemoved => "Delete",
    /// A foreign object stands where an output belongs, or wears our labels.
    ForeignObjectMet => "Leave",
    /// spire-controller-manager says nothing of an output.
    NotPickedUp => "Watch",
    /// spire-controller-manager selects pods for an output, but sets no entry for them.
    NotIssued => "Watch",
}

impl Occasion {
    /// Whether it is a state that lasts, told once an output: a process that finds it anew has nothing to add.
    pub const fn lasts(self) -> bool {
        matches!(self, Occasion::NotPickedUp | Occasion::NotIssued)
    }
}

/// The event's `type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Weight {
    /// As it should be.
    Normal,
    /// Somebody should look.
    Warning,
}

impl Weight {
    /// The value of `type`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Weight::Normal => "Normal",
            Weight::Warning => "Warning",
        }
    }
}

/// An object that an announcement is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Object {
    /// A binding.
    Binding(BindingKey, Uid),
    /// A ClusterSPIFFEID.
    Output(ObjectName, Uid),
}

impl Object {
    /// The object's name.
    pub fn name(&self) -> &ObjectName {
        match self {
            Object::Binding(key, _) => &key.name,
            Object::Output(name, _) => name,
        }
    }

    /// The object's uid.
    pub fn uid(&self) -> &Uid {
        match self {
            Object::Binding(_, uid) | Object::Output(_, uid) => uid,
        }
    }
}

/// One thing to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announcement {
    /// Whom it is about.
    pub regarding: Object,
    /// What else it is about: the output, where there is one.
    pub related: Option<Object>,
    /// What happened.
    pub occasion: Occasion,
    /// How much it matters.
    pub weight: Weight,
    /// What, where and what to do; at most 1,024 bytes.
    pub note: String,
}

/// The most bytes of the object's name that an event's name begins with.
const NAME_HEAD: usize = 200;

impl Announcement {
    /// The event's name: the same for the same thing told of the same object, whoever tells it and how often. The
    /// object's name, cut to 200 bytes, and 32 hex digits of a SHA-256 over the length-prefixed uid, reason and note.
    pub fn event_name(&self) -> String {
        let mut digest = Sha256::new();
        for part in [self.regarding.uid().as_str(), self.occasion.as_str(), &self.note] {
            feed_length_prefixed(&mut digest, part);
        }
        let head = crate::text::cut(self.regarding.name().as_str(), NAME_HEAD).trim_end_matches(['-', '.']);
        format!("{head}.{}", hex(&digest.finalize()[..16]))
    }
}

/// What an output grants, as short as it can be and still be told from everything else.
type Mark = [u8; 16];

fn mark<'a>(parts: impl IntoIterator<Item = &'a str>) -> Mark {
    let mut digest = Sha256::new();
    for part in parts {
        feed_length_prefixed(&mut digest, part);
    }
    let mut short = [0; 16];
    short.copy_from_slice(&digest.finalize()[..16]);
    short
}

/// A ClusterSPIFFEID that wears this instance's labels at a name that is no living binding's, and does not prove that it
/// ever was an output: left alone, and told once. Another instance's outputs are not its business.
pub fn stranger(settings: &Settings, live: &LiveOutput) -> Option<Announcement> {
    let ours =
        live.labels.get(LABEL_INSTANCE).is_some_and(|instance| **instance == *settings.instance.as_str());
    if !live.wears_our_label() || !ours || live.proven_binding(settings).is_some() {
        return None;
    }
    Some(Announcement {
        regarding: Object::Output(live.name.clone(), live.uid.clone()),
        related: None,
        occasion: Occasion::ForeignObjectMet,
        weight: Weight::Warning,
        note: note::stranger(&live.name),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::Namespace;

    fn about(name: &str, uid: &str, note: &str) -> Announcement {
        let key = BindingKey::new(Namespace::parse("llm").unwrap(), ObjectName::parse(name).unwrap());
        Announcement {
            regarding: Object::Binding(key, Uid::parse(uid).unwrap()),
            related: None,
            occasion: Occasion::IdentityGranted,
            weight: Weight::Normal,
            note: note.to_owned(),
        }
    }

    #[test]
    fn an_event_name_is_a_valid_object_name_whatever_the_binding_is_called() {
        for name in ["chat", &"b".repeat(253), &format!("{}.{}", "b".repeat(199), "c".repeat(40))] {
            let name = about(name, "u", "n").event_name();
            assert_eq!(ObjectName::parse(&name).unwrap().as_str(), name);
        }
    }

    #[test]
    fn an_event_name_is_the_same_for_the_same_news_and_another_for_any_other() {
        let name = about("chat", "u", "n").event_name();
        assert_eq!(name, about("chat", "u", "n").event_name());
        assert_ne!(name, about("chat", "v", "n").event_name());
        assert_ne!(name, about("chat", "u", "m").event_name());
        let warned = Announcement { weight: Weight::Warning, ..about("chat", "u", "n") };
        assert_eq!(name, warned.event_name());
        let changed = Announcement { occasion: Occasion::IdentityChanged, ..about("chat", "u", "n") };
        assert_ne!(name, changed.event_name());
    }

    #[test]
    fn reasons_are_upper_camel_case_and_each_is_there_once() {
        let mut reasons: Vec<&str> = Occasion::ALL.iter().map(|occasion| occasion.as_str()).collect();
        for reason in &reasons {
            assert!(reason.starts_with(|c: char| c.is_ascii_uppercase()), "{reason}");
            assert!(reason.chars().all(|c| c.is_ascii_alphanumeric()), "{reason}");
        }
        reasons.sort_unstable();
        reasons.dedup();
        assert_eq!(reasons.len(), Occasion::ALL.len());
    }
}
