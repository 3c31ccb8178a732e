//! One selector item, `k8s:<key>:<value>` or `unix:<key>:<value>`, with a key of a closed list.
//!
//! The list is what SPIRE's `k8s` and `unix` workload attestors produce. Limits: 255 bytes (SPIRE keeps selectors
//! in varchar(255) on MySQL and MariaDB), printable ASCII without braces (spire-controller-manager executes the
//! strings it gets as Go templates), and no text that could be mistaken for the start of another item
//! (spire-controller-manager joins type and value without separators when it keys its entries).

use std::fmt;
use std::sync::Arc;

use crate::label::{LabelError, LabelKey, LabelValue};
use crate::name::{NameError, Namespace, check_subdomain};
use crate::text::Quoted;

/// The most bytes of an item.
pub const MAX_ITEM_BYTES: usize = 255;

/// What an item speaks of, without its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ItemKey {
    /// `k8s:ns`
    Namespace,
    /// `k8s:sa`
    ServiceAccount,
    /// `k8s:node-name`
    NodeName,
    /// `k8s:pod-name`
    PodName,
    /// `k8s:pod-label:<key>`
    PodLabel,
    /// `k8s:ns-label:<key>`
    NamespaceLabel,
    /// `k8s:container-name`
    ContainerName,
    /// `k8s:container-image`
    ContainerImage,
    /// `k8s:pod-image`
    PodImage,
    /// `k8s:pod-init-image`
    PodInitImage,
    /// `k8s:pod-image-count`
    PodImageCount,
    /// `k8s:pod-init-image-count`
    PodInitImageCount,
    /// `k8s:pod-owner:<kind>`
    PodOwner,
    /// `k8s:pod-owner-uid:<kind>`
    PodOwnerUid,
    /// `k8s:image-signature` and the keys that begin with `image-signature-`
    ImageSignature,
    /// `k8s:image-attestations`
    ImageAttestations,
    /// Any key of the `unix` attestor
    Unix,
}

/// Keys of the `k8s` type that take a value directly.
const PLAIN: &[(&str, ItemKey)] = &[
    ("ns", ItemKey::Namespace),
    ("sa", ItemKey::ServiceAccount),
    ("node-name", ItemKey::NodeName),
    ("pod-name", ItemKey::PodName),
    ("container-name", ItemKey::ContainerName),
    ("container-image", ItemKey::ContainerImage),
    ("pod-image", ItemKey::PodImage),
    ("pod-init-image", ItemKey::PodInitImage),
    ("pod-image-count", ItemKey::PodImageCount),
    ("pod-init-image-count", ItemKey::PodInitImageCount),
    ("image-signature", ItemKey::ImageSignature),
    ("image-signature-value", ItemKey::ImageSignature),
    ("image-signature-subject", ItemKey::ImageSignature),
    ("image-signature-issuer", ItemKey::ImageSignature),
    ("image-signature-log-id", ItemKey::ImageSignature),
    ("image-signature-log-index", ItemKey::ImageSignature),
    ("image-signature-integrated-time", ItemKey::ImageSignature),
    ("image-signature-signed-entry-timestamp", ItemKey::ImageSignature),
    ("image-attestations", ItemKey::ImageAttestations),
];

/// Keys of the `k8s` type that take a key of their own before the value.
const NESTED: &[(&str, ItemKey)] = &[
    ("pod-label", ItemKey::PodLabel),
    ("ns-label", ItemKey::NamespaceLabel),
    ("pod-owner", ItemKey::PodOwner),
    ("pod-owner-uid", ItemKey::PodOwnerUid),
];

/// Keys of the `unix` type.
const UNIX: &[&str] =
    &["uid", "user", "gid", "group", "supplementary_gid", "supplementary_group", "path", "sha256"];

/// The key that is never allowed: spire-controller-manager adds the pod's own.
const POD_UID: &str = "pod-uid";

/// Why a text is no selector item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ItemError {
    /// More than [`MAX_ITEM_BYTES`].
    TooLong {
        /// How many there are.
        bytes: usize,
    },
    /// A character outside printable ASCII, white space included.
    NotPrintable,
    /// A `{` or `}`.
    Braces,
    /// Not of the form `<type>:<key>:<value>`.
    Shape,
    /// A type other than `k8s` and `unix`.
    UnknownType(String),
    /// A key outside the closed list of its type.
    UnknownKey {
        /// The type: `k8s` or `unix`.
        kind: &'static str,
        /// As written.
        found: String,
    },
    /// `k8s:pod-uid`.
    PodUid,
    /// Nothing after the key.
    EmptyValue,
    /// The label key of `pod-label` or `ns-label` is invalid.
    LabelKey(LabelError),
    /// The label value of `pod-label` or `ns-label` is invalid.
    LabelValue(LabelError),
    /// The value of `ns` is no namespace name.
    Namespace(NameError),
    /// The value of `sa` is no service account name.
    ServiceAccount(NameError),
    /// The value holds what spire-controller-manager could take for the start of another item.
    Embedded(String),
}

impl fmt::Display for ItemError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ItemError::TooLong { bytes } => {
                write!(f, "has {bytes} bytes; SPIRE's databases hold at most {MAX_ITEM_BYTES}")
            }
            ItemError::NotPrintable => {
                f.write_str("holds a character that is not printable ASCII, or white space")
            }
            ItemError::Braces => {
                f.write_str("holds a brace; spire-controller-manager would execute it as a template")
            }
            ItemError::Shape => f.write_str("is not of the form `k8s:<key>:<value>` or `unix:<key>:<value>`"),
            ItemError::UnknownType(found) => {
                write!(f, "has the unknown selector type {}; use `k8s` or `unix`", Quoted(found))
            }
            ItemError::UnknownKey { kind, found } => {
                write!(f, "has the unknown selector key {}; type `{kind}` has", Quoted(found))?;
                known_keys(kind).try_for_each(|key| write!(f, " {key}"))
            }
            ItemError::PodUid => {
                f.write_str("names a pod uid; spire-controller-manager adds the pod's own, so remove it")
            }
            ItemError::EmptyValue => f.write_str("has no value"),
            ItemError::LabelKey(error) => write!(f, "has a label key that {error}"),
            ItemError::LabelValue(error) => write!(f, "has a label value that {error}"),
            ItemError::Namespace(error) => write!(f, "has a namespace that {error}"),
            ItemError::ServiceAccount(error) => write!(f, "has a service account that {error}"),
            ItemError::Embedded(found) => write!(
                f,
                "holds {}, which spire-controller-manager could take for the start of another selector",
                Quoted(found)
            ),
        }
    }
}

/// A selector item that is valid by itself. Ordered bytewise by its text.
#[derive(Debug, Clone)]
pub struct Item {
    /// Shared by all that have it.
    text: Arc<str>,
    key: ItemKey,
    /// Where the value starts in `text`; at most 255.
    value_at: u8,
}

impl Item {
    /// Parses an item as it stands in `workloadSelectorTemplates`, after rendering.
    ///
    /// # Errors
    /// Says what is wrong with it; a value from outside is quoted and bounded.
    pub fn parse(text: &str) -> Result<Self, ItemError> {
        if text.len() > MAX_ITEM_BYTES {
            return Err(ItemError::TooLong { bytes: text.len() });
        }
        if !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(ItemError::NotPrintable);
        }
        if text.contains(['{', '}']) {
            return Err(ItemError::Braces);
        }
        let (kind, rest) = text.split_once(':').ok_or(ItemError::Shape)?;
        let (key, value) = match kind {
            "k8s" => parse_k8s(rest)?,
            "unix" => parse_unix(rest)?,
            _ => return Err(ItemError::UnknownType(kind.to_owned())),
        };
        if let Some(found) = embedded_start(rest) {
            return Err(ItemError::Embedded(found));
        }
        // The value is a suffix of a text of at most 255 bytes.
        let value_at =
            u8::try_from(text.len() - value.len()).map_err(|_| ItemError::TooLong { bytes: text.len() })?;
        Ok(Self { text: text.into(), key, value_at })
    }

    /// The whole item.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What it speaks of.
    pub fn key(&self) -> ItemKey {
        self.key
    }

    /// The value, after the last structural colon.
    pub fn value(&self) -> &str {
        &self.text[usize::from(self.value_at)..]
    }

    /// Type and key without the value: `k8s:sa`, `k8s:pod-label:app`.
    pub fn slot(&self) -> &str {
        &self.text[..usize::from(self.value_at) - 1]
    }

    /// The slot with the colon behind it: what every item of the slot starts with, and no other item.
    pub fn prefix(&self) -> &str {
        &self.text[..usize::from(self.value_at)]
    }

    /// Label key and value of a `k8s:pod-label` (and of nothing else).
    pub fn pod_label(&self) -> Option<(&str, &str)> {
        (self.key == ItemKey::PodLabel).then(|| (&self.slot()["k8s:pod-label:".len()..], self.value()))
    }

    /// Whether a workload holds at most one value for this slot, so that two different values can never both
    /// match (source: SPIRE's `k8s` workload attestor).
    pub fn single_valued(&self) -> bool {
        matches!(
            self.key,
            ItemKey::Namespace
                | ItemKey::ServiceAccount
                | ItemKey::ContainerName
                | ItemKey::NodeName
                | ItemKey::PodName
                | ItemKey::PodImageCount
                | ItemKey::PodInitImageCount
                | ItemKey::PodLabel
                | ItemKey::NamespaceLabel
        )
    }

    /// The image reference of a `k8s:container-image` of the form `name:tag`: a tag after the last `/`, no `@`, and
    /// a name other than `sha256`. A container reports one such reference at a time.
    pub fn tagged_image(&self) -> Option<&str> {
        if self.key != ItemKey::ContainerImage || self.value().contains('@') {
            return None;
        }
        let last = self.value().rsplit('/').next()?;
        let (name, tag) = last.split_once(':')?;
        (!name.is_empty() && !tag.is_empty() && name != "sha256").then(|| self.value())
    }
}

/// The keys of a type, for messages; the rarer `image-signature-` ones are told by their beginning.
fn known_keys(kind: &str) -> impl Iterator<Item = &'static str> {
    let (plain, nested, unix): (&[_], &[_], &[_]) =
        if kind == "unix" { (&[], &[], UNIX) } else { (PLAIN, NESTED, &[]) };
    let words = plain.iter().chain(nested).map(|(word, _)| *word).chain(unix.iter().copied());
    words.filter(|word| !word.starts_with("image-signature-"))
}

fn parse_k8s(rest: &str) -> Result<(ItemKey, &str), ItemError> {
    let (word, value) = rest.split_once(':').ok_or(ItemError::Shape)?;
    if word == POD_UID {
        return Err(ItemError::PodUid);
    }
    if let Some((_, key)) = PLAIN.iter().find(|(known, _)| *known == word) {
        if value.is_empty() {
            return Err(ItemError::EmptyValue);
        }
        match key {
            ItemKey::Namespace => drop(Namespace::parse(value).map_err(ItemError::Namespace)?),
            ItemKey::ServiceAccount => check_subdomain(value).map_err(ItemError::ServiceAccount)?,
            _ => {}
        }
        return Ok((*key, value));
    }
    let Some((_, key)) = NESTED.iter().find(|(known, _)| *known == word) else {
        return Err(ItemError::UnknownKey { kind: "k8s", found: word.to_owned() });
    };
    let (inner, value) = value.split_once(':').ok_or(ItemError::Shape)?;
    match key {
        ItemKey::PodLabel | ItemKey::NamespaceLabel => {
            LabelKey::parse(inner).map_err(ItemError::LabelKey)?;
            LabelValue::parse(value).map_err(ItemError::LabelValue)?;
        }
        _ if inner.is_empty() || value.is_empty() => return Err(ItemError::EmptyValue),
        _ => {}
    }
    Ok((*key, value))
}

fn parse_unix(rest: &str) -> Result<(ItemKey, &str), ItemError> {
    let (word, value) = rest.split_once(':').ok_or(ItemError::Shape)?;
    if !UNIX.contains(&word) {
        return Err(ItemError::UnknownKey { kind: "unix", found: word.to_owned() });
    }
    if value.is_empty() {
        return Err(ItemError::EmptyValue);
    }
    Ok((ItemKey::Unix, value))
}

/// Finds `k8s` or `unix` directly followed by a known key and a colon, anywhere in what SPIRE calls the value.
fn embedded_start(rest: &str) -> Option<String> {
    let known = || {
        let k8s = PLAIN.iter().chain(NESTED).map(|(word, _)| *word);
        k8s.chain(UNIX.iter().copied()).chain([POD_UID])
    };
    for kind in ["k8s", "unix"] {
        for (at, _) in rest.match_indices(kind) {
            let after = &rest[at + kind.len()..];
            if let Some((word, _)) = after.split_once(':')
                && known().any(|k| k == word)
            {
                return Some(format!("{kind}{word}:"));
            }
        }
    }
    None
}

impl PartialEq for Item {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Item {}

impl PartialOrd for Item {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Item {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.text.cmp(&other.text)
    }
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_of_the_closed_list_is_read() {
        for (text, key, value) in [
            ("k8s:ns:llm", ItemKey::Namespace, "llm"),
            ("k8s:sa:llama.svc", ItemKey::ServiceAccount, "llama.svc"),
            ("k8s:pod-label:app.kubernetes.io/name:vllm", ItemKey::PodLabel, "vllm"),
            ("k8s:ns-label:team:a", ItemKey::NamespaceLabel, "a"),
            ("k8s:container-image:registry:5000/vllm:v1", ItemKey::ContainerImage, "registry:5000/vllm:v1"),
            ("k8s:pod-owner:ReplicaSet:vllm-7c9", ItemKey::PodOwner, "vllm-7c9"),
            ("k8s:image-signature-subject:a@b.c", ItemKey::ImageSignature, "a@b.c"),
            ("unix:path:/usr/bin/vllm", ItemKey::Unix, "/usr/bin/vllm"),
        ] {
            let item = Item::parse(text).unwrap();
            assert_eq!((item.key(), item.value(), item.as_str()), (key, value, text));
        }
    }

    #[test]
    fn what_is_not_on_the_list_is_refused() {
        let word = |w: &str| w.to_owned();
        for (text, error) in [
            ("", ItemError::Shape),
            ("k8s", ItemError::Shape),
            ("k8s:sa", ItemError::Shape),
            ("docker:label:a", ItemError::UnknownType(word("docker"))),
            ("K8s:ns:llm", ItemError::UnknownType(word("K8s"))),
            ("k8s:NS:llm", ItemError::UnknownKey { kind: "k8s", found: word("NS") }),
            ("k8s:pod-uid:1", ItemError::PodUid),
            ("k8s:sa:", ItemError::EmptyValue),
            ("k8s:container-name:", ItemError::EmptyValue),
            ("k8s:pod-label:app", ItemError::Shape),
            ("k8s:pod-label:app:", ItemError::LabelValue(LabelError::Empty)),
            ("k8s:pod-label:a/b/c:x", ItemError::LabelKey(LabelError::BadPrefix)),
            ("k8s:pod-label:app:a:b", ItemError::LabelValue(LabelError::Malformed)),
            ("k8s:pod-owner::x", ItemError::EmptyValue),
            ("unix:selinux:x", ItemError::UnknownKey { kind: "unix", found: word("selinux") }),
            ("k8s:container-name:a b", ItemError::NotPrintable),
            ("k8s:container-name:a\n", ItemError::NotPrintable),
            ("k8s:container-name:\u{202e}", ItemError::NotPrintable),
            ("k8s:container-name:{{.PodMeta.Name}}", ItemError::Braces),
            ("k8s:container-name:}", ItemError::Braces),
        ] {
            assert_eq!(Item::parse(text), Err(error), "{text:?}");
        }
        let long = format!("k8s:container-image:{}", "a".repeat(236));
        assert_eq!(Item::parse(&long), Err(ItemError::TooLong { bytes: 256 }));
        assert!(Item::parse(&long[..255]).is_ok());
    }

    #[test]
    fn no_value_may_look_like_the_start_of_another_item() {
        for text in [
            "k8s:container-image:ak8scontainer-image:b",
            "k8s:container-image:xk8spod-uid:1",
            "k8s:pod-image:aunixuid:0",
            "unix:path:/k8spod-label:a:b",
        ] {
            assert!(matches!(Item::parse(text), Err(ItemError::Embedded(_))), "{text}");
        }
        assert!(Item::parse("k8s:container-image:k8s.gcr.io/pause:3.9").is_ok());
        assert!(Item::parse("k8s:container-image:mirror/k8s:v1").is_ok());
    }

    #[test]
    fn only_a_tag_after_the_last_slash_names_an_image_for_sure() {
        let tagged = |value: &str| {
            Item::parse(&format!("k8s:container-image:{value}")).unwrap().tagged_image().is_some()
        };
        assert!(tagged("vllm:v1") && tagged("registry:5000/vllm:v1"));
        assert!(!tagged("registry:5000/vllm") && !tagged("vllm") && !tagged("sha256:abc"));
        assert!(!tagged("vllm:v1@sha256:abc"));
    }
}
