//! Kubernetes labels, validated by the rules of `k8s.io/apimachinery` (qualified names and label values), because
//! custom resources that carry them do not validate their keys.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::name::{MAX_LABEL, check_label_value, check_subdomain};

/// Why a text is no label key, or no label value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LabelError {
    /// Nothing there.
    Empty,
    /// White space at an end.
    Padded,
    /// More than 63 bytes (for a key: of the part after the `/`).
    TooLong,
    /// The part of a key before the `/` is no DNS-1123 subdomain, or there are two `/`.
    BadPrefix,
    /// A character, or its place, is not allowed.
    Malformed,
}

impl fmt::Display for LabelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LabelError::Empty => "is empty",
            LabelError::Padded => "starts or ends with white space",
            LabelError::TooLong => "is longer than 63 characters",
            LabelError::BadPrefix => "has a prefix that is not a DNS subdomain",
            LabelError::Malformed => {
                "is malformed: allowed are letters, digits, `-`, `_` and `.`, with a letter or digit at both ends"
            }
        })
    }
}

fn check_part(text: &str) -> Result<(), LabelError> {
    if text.is_empty() {
        Err(LabelError::Empty)
    } else if text.trim().len() != text.len() {
        Err(LabelError::Padded)
    } else if text.len() > MAX_LABEL {
        Err(LabelError::TooLong)
    } else if check_label_value(text).is_err() {
        Err(LabelError::Malformed)
    } else {
        Ok(())
    }
}

/// A label key: an optional DNS-1123 subdomain and `/`, then a name of 1 to 63 characters.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LabelKey(Arc<str>);

impl LabelKey {
    /// Parses a label key.
    ///
    /// # Errors
    /// Says which rule is broken.
    pub fn parse(text: &str) -> Result<Self, LabelError> {
        match text.split_once('/') {
            None => check_part(text)?,
            Some((prefix, name)) => {
                if prefix.trim().len() != prefix.len() {
                    return Err(LabelError::Padded);
                }
                check_subdomain(prefix).map_err(|_| LabelError::BadPrefix)?;
                if name.contains('/') {
                    return Err(LabelError::BadPrefix);
                }
                check_part(name)?;
            }
        }
        Ok(Self(text.into()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A label value that is not empty: 1 to 63 characters. (Kubernetes allows the empty value; as a selector it
/// says almost nothing, so Kleym refuses it.)
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LabelValue(Arc<str>);

impl LabelValue {
    /// Parses a label value.
    ///
    /// # Errors
    /// Says which rule is broken.
    pub fn parse(text: &str) -> Result<Self, LabelError> {
        check_part(text)?;
        Ok(Self(text.into()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for LabelKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Debug for LabelValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// Labels by key.
pub type Labels = BTreeMap<LabelKey, LabelValue>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_qualified_names() {
        for good in ["app", "app.kubernetes.io/name", "a/B_c.d-e", &format!("{}/x", "a".repeat(253))] {
            assert!(LabelKey::parse(good).is_ok(), "{good}");
        }
        for (bad, why) in [
            ("", LabelError::Empty),
            (" app", LabelError::Padded),
            ("a/b/c", LabelError::BadPrefix),
            ("A/b", LabelError::BadPrefix),
            ("/b", LabelError::BadPrefix),
            ("a/", LabelError::Empty),
            ("a:b", LabelError::Malformed),
            ("-a", LabelError::Malformed),
            ("\u{430}pp", LabelError::Malformed),
        ] {
            assert_eq!(LabelKey::parse(bad), Err(why), "{bad:?}");
        }
    }

    #[test]
    fn values_are_never_empty_padded_or_long() {
        assert!(LabelValue::parse(&"v".repeat(63)).is_ok());
        for (bad, why) in [
            ("", LabelError::Empty),
            (" ", LabelError::Padded),
            ("v\n", LabelError::Padded),
            (&"v".repeat(64), LabelError::TooLong),
            ("a{b", LabelError::Malformed),
        ] {
            assert_eq!(LabelValue::parse(bad), Err(why), "{bad:?}");
        }
    }
}
