//! Names of Kubernetes objects, parsed once into types that cannot be wrong, and the names Kleym derives from
//! them: the output's name, its labels and its hint. The exact forms are part of the product's contract and have
//! published test vectors (`tests/it/vectors.rs`).

use std::fmt;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::text::{Quoted, cut};

/// The most bytes of a DNS-1123 subdomain (RFC 1123 as Kubernetes applies it to object names).
pub const MAX_SUBDOMAIN: usize = 253;
/// The most bytes of a DNS-1123 label, and of a label value.
pub const MAX_LABEL: usize = 63;

/// Why a text is no name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NameError {
    /// Nothing there.
    Empty,
    /// More bytes than the kind of name allows.
    TooLong {
        /// The limit in bytes.
        max: usize,
    },
    /// A character, or its place, is not allowed.
    Malformed {
        /// The rule in words.
        rule: &'static str,
    },
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NameError::Empty => f.write_str("is empty"),
            NameError::TooLong { max } => write!(f, "is longer than {max} bytes"),
            NameError::Malformed { rule } => write!(f, "is not {rule}"),
        }
    }
}

const LABEL_RULE: &str =
    "a DNS-1123 label (lower-case letters, digits and `-`, starting and ending with a letter or digit)";
const SUBDOMAIN_RULE: &str = "a DNS-1123 subdomain (lower-case letters, digits, `-` and `.`, each part starting and ending with a letter or digit)";

fn is_dns_label(text: &str) -> bool {
    let edge = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let bytes = text.as_bytes();
    edge(bytes.first())
        && edge(bytes.last())
        && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-')
}

fn check_label(text: &str) -> Result<(), NameError> {
    match text {
        "" => Err(NameError::Empty),
        _ if text.len() > MAX_LABEL => Err(NameError::TooLong { max: MAX_LABEL }),
        _ if !is_dns_label(text) => Err(NameError::Malformed { rule: LABEL_RULE }),
        _ => Ok(()),
    }
}

/// Whether a text is a DNS-1123 subdomain of 1 to 253 bytes.
///
/// # Errors
/// Says which rule is broken.
pub fn check_subdomain(text: &str) -> Result<(), NameError> {
    match text {
        "" => Err(NameError::Empty),
        _ if text.len() > MAX_SUBDOMAIN => Err(NameError::TooLong { max: MAX_SUBDOMAIN }),
        _ if !text.split('.').all(is_dns_label) => Err(NameError::Malformed { rule: SUBDOMAIN_RULE }),
        _ => Ok(()),
    }
}

macro_rules! text_type {
    ($(#[$doc:meta])* $name:ident, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Parses the text.
            ///
            /// # Errors
            /// Says which rule is broken.
            pub fn parse(text: &str) -> Result<Self, NameError> {
                let check: fn(&str) -> Result<(), NameError> = $check;
                check(text)?;
                Ok(Self(text.into()))
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }
    };
}

text_type!(
    /// A namespace: a DNS-1123 label of 1 to 63 bytes.
    Namespace,
    check_label
);
text_type!(
    /// The name of a namespaced object: a DNS-1123 subdomain of 1 to 253 bytes.
    ObjectName,
    check_subdomain
);
text_type!(
    /// The uid the API server gave an object: 1 to 128 printable ASCII bytes, otherwise opaque.
    Uid,
    |text| match text {
        "" => Err(NameError::Empty),
        _ if text.len() > 128 => Err(NameError::TooLong { max: 128 }),
        _ if !text.bytes().all(|b| b.is_ascii_graphic()) => {
            Err(NameError::Malformed { rule: "printable ASCII" })
        }
        _ => Ok(()),
    }
);

/// Which binding: its namespace and name. Ordered by namespace, then name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BindingKey {
    /// The binding's namespace.
    pub namespace: Namespace,
    /// The binding's name.
    pub name: ObjectName,
}

impl BindingKey {
    /// Puts namespace and name together.
    pub fn new(namespace: Namespace, name: ObjectName) -> Self {
        Self { namespace, name }
    }
}

impl fmt::Display for BindingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// Feeds a string into a digest with its length before it: the byte length as a big-endian u64, then the UTF-8
/// bytes. So no two lists of strings give the same input.
pub(crate) fn feed_length_prefixed(digest: &mut Sha256, text: &str) {
    // A usize never has more than 64 bits on a platform Rust supports.
    digest.update((text.len() as u64).to_be_bytes());
    digest.update(text.as_bytes());
}

/// Lower-case hex of some bytes.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}

fn short_digest(text: &str) -> String {
    hex(&Sha256::digest(text.as_bytes())[..8])
}

/// The name of a binding's ClusterSPIFFEID, one for the binding's whole life: `<p>-<h>` where `p` is
/// `kleym-<namespace>-<name>` cut to 220 bytes without trailing `-` and `.`, and `h` is the first 16 bytes, in
/// lower-case hex, of SHA-256 over the length-prefixed instance, namespace and name. Always a DNS-1123 subdomain
/// of at most 253 bytes; different instances or bindings never share one.
pub fn output_name(instance: &str, binding: &BindingKey) -> ObjectName {
    let mut digest = Sha256::new();
    for part in [instance, binding.namespace.as_str(), binding.name.as_str()] {
        feed_length_prefixed(&mut digest, part);
    }
    let hash = hex(&digest.finalize()[..16]);
    let prefix = format!("kleym-{}-{}", binding.namespace, binding.name);
    let prefix = cut(&prefix, 220).trim_end_matches(['-', '.']);
    ObjectName(format!("{prefix}-{hash}").into())
}

/// The value of the label `kleym.sonda.red/binding-name`: the name if it has at most 63 bytes; else its first 46
/// bytes without trailing non-alphanumerics, `_`, and the first 16 hex digits of SHA-256 of the name.
pub fn binding_name_label(name: &ObjectName) -> String {
    let name = name.as_str();
    if name.len() <= MAX_LABEL {
        return name.to_owned();
    }
    let head = cut(name, 46).trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
    format!("{head}_{}", short_digest(name))
}

/// The entry hint: `<namespace>/<binding>`; above 255 bytes cut to 238, `_`, and 16 hex digits of its SHA-256.
/// (SPIRE's hint column holds 255 bytes on MySQL and MariaDB.)
pub fn hint(binding: &BindingKey) -> String {
    let hint = binding.to_string();
    if hint.len() <= 255 {
        return hint;
    }
    format!("{}_{}", cut(&hint, 238), short_digest(&hint))
}

/// A setting that becomes a label value: 1 to 63 bytes of letters, digits, `-`, `_` and `.`, starting and ending
/// with a letter or digit.
///
/// # Errors
/// Says which rule is broken.
pub fn check_label_value(text: &str) -> Result<(), NameError> {
    const RULE: &str =
        "a label value (letters, digits, `-`, `_` and `.`, starting and ending with a letter or digit)";
    let edge = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    match text {
        "" => Err(NameError::Empty),
        _ if bytes.len() > MAX_LABEL => Err(NameError::TooLong { max: MAX_LABEL }),
        _ if edge(bytes.first())
            && edge(bytes.last())
            && bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(b)) =>
        {
            Ok(())
        }
        _ => Err(NameError::Malformed { rule: RULE }),
    }
}

text_type!(
    /// The operator's instance name: a label value.
    Instance,
    check_label_value
);
text_type!(
    /// The class that spire-controller-manager watches: a label value, because it is also a label of the output.
    ClassName,
    check_label_value
);

/// Shows a name problem together with the text that has it.
pub fn describe(text: &str, error: &NameError) -> String {
    format!("{} {error}", Quoted(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(namespace: &str, name: &str) -> BindingKey {
        BindingKey::new(Namespace::parse(namespace).unwrap(), ObjectName::parse(name).unwrap())
    }

    #[test]
    fn names_are_dns_1123() {
        for good in ["a", "a-b", "a.b", "0", &"a".repeat(253)] {
            assert!(ObjectName::parse(good).is_ok(), "{good}");
        }
        for bad in ["", ".", "..", "A", "a_b", "-a", "a-", "a..b", "a.", "é", "a\0", "a\n", &"a".repeat(254)]
        {
            assert!(ObjectName::parse(bad).is_err(), "{bad:?}");
        }
        assert!(Namespace::parse("a.b").is_err());
        assert!(Namespace::parse(&"a".repeat(64)).is_err());
    }

    #[test]
    fn an_output_name_is_a_valid_object_name_whatever_the_binding_is_called() {
        for binding in [
            key("llm", "chat"),
            key(&"n".repeat(63), &"b".repeat(253)),
            key("n", &format!("{}.{}", "b".repeat(205), "c".repeat(40))),
        ] {
            let name = output_name("default", &binding);
            assert_eq!(ObjectName::parse(name.as_str()), Ok(name.clone()), "{binding}");
        }
    }

    #[test]
    fn a_dash_moved_between_namespace_and_name_changes_the_output_name() {
        assert_ne!(output_name("default", &key("a-b", "c")), output_name("default", &key("a", "b-c")));
        assert_ne!(output_name("default", &key("a", "b")), output_name("other", &key("a", "b")));
    }

    #[test]
    fn a_binding_name_label_is_a_label_value() {
        for name in
            ["chat", &"b".repeat(63), &"b".repeat(64), &format!("{}.{}", "b".repeat(45), "c".repeat(200))]
        {
            let label = binding_name_label(&ObjectName::parse(name).unwrap());
            assert_eq!(check_label_value(&label), Ok(()), "{label}");
        }
    }

    #[test]
    fn a_hint_has_at_most_255_bytes() {
        assert_eq!(hint(&key("llm", "chat")), "llm/chat");
        assert_eq!(hint(&key(&"n".repeat(63), &"b".repeat(253))).len(), 255);
    }
}
