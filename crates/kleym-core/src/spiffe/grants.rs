//! Paths outside `/ns/` that an administrator granted to namespaces, so that every path still belongs to exactly one.

use std::collections::BTreeMap;
use std::fmt;

use super::{MAX_ID_BYTES, NS};
use crate::name::{NameError, Namespace};
use crate::text::Quoted;

/// Segments that begin like this are SPIRE's own (`/spire/...`, `/spire-controller-manager...`).
const SPIRE: &str = "spire";

/// The most bytes of a prefix: with the shortest trust domain and one character below it, an ID must still fit.
const MAX_PREFIX_BYTES: usize = MAX_ID_BYTES - "spiffe://x".len() - "/y".len();

/// The most prefixes of one namespace: a binding's status lists them all.
const MAX_PREFIXES: usize = 1024;

/// A path prefix that an administrator granted to a namespace: `/team-a` or `/org/team-a`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PathPrefix(Box<[Box<str>]>);

impl PathPrefix {
    fn parse(text: &str) -> Result<Self, GrantError> {
        let malformed = |why: String| GrantError::Prefix { prefix: text.to_owned(), why };
        if !text.starts_with('/') {
            return Err(malformed("must start with `/`".to_owned()));
        }
        if text.len() > MAX_PREFIX_BYTES {
            return Err(malformed(format!(
                "has {} bytes, but no SPIFFE ID of at most {MAX_ID_BYTES} bytes lies below more than {MAX_PREFIX_BYTES}",
                text.len()
            )));
        }
        // The path rules of SPIFFE-ID section 2.2, as the parser of IDs applies them.
        ::spiffe::SpiffeId::new(format!("spiffe://x{text}")).map_err(|error| malformed(error.to_string()))?;
        let segments: Box<[Box<str>]> = text.split('/').skip(1).map(Into::into).collect();
        match segments.first() {
            Some(first) if first.eq_ignore_ascii_case(NS) => {
                Err(malformed("`/ns` belongs to the namespaces themselves".to_owned()))
            }
            Some(first) if starts_with_ignoring_case(first, SPIRE) => {
                Err(malformed("paths that begin with `/spire` are SPIRE's own".to_owned()))
            }
            _ => Ok(Self(segments)),
        }
    }

    /// Whether a path lies deeper than this prefix, case ignored.
    fn is_above(&self, path: &[&str]) -> bool {
        self.0.len() < path.len() && self.0.iter().zip(path).all(|(a, b)| a.eq_ignore_ascii_case(b))
    }

    fn meets(&self, other: &PathPrefix) -> bool {
        self.0.iter().zip(other.0.iter()).all(|(a, b)| a.eq_ignore_ascii_case(b))
    }
}

impl fmt::Display for PathPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|segment| write!(f, "/{segment}"))
    }
}

fn starts_with_ignoring_case(text: &str, start: &str) -> bool {
    text.get(..start.len()).is_some_and(|head| head.eq_ignore_ascii_case(start))
}

/// Why a set of path grants is refused. The operator does not start with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GrantError {
    /// Not of the form `<namespace>=<prefix>`.
    Shape(String),
    /// The namespace is no namespace name.
    Namespace {
        /// As written.
        namespace: String,
        /// What is wrong.
        why: NameError,
    },
    /// The prefix is not one that can be granted.
    Prefix {
        /// As written.
        prefix: String,
        /// What is wrong.
        why: String,
    },
    /// Prefixes of two namespaces are equal or nested, so that a path would belong to both.
    Overlap(String, String),
    /// More prefixes for one namespace than a status can list.
    TooMany(String),
}

impl fmt::Display for GrantError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            GrantError::Shape(text) => {
                write!(f, "path grant {} is not of the form `<namespace>=/<prefix>`", Quoted(text))
            }
            GrantError::Namespace { namespace, why } => {
                write!(f, "the namespace {} of a path grant {why}", Quoted(namespace))
            }
            GrantError::Prefix { prefix, why } => {
                write!(f, "the path prefix {} cannot be granted: {why}", Quoted(prefix))
            }
            GrantError::TooMany(namespace) => {
                write!(f, "namespace {} is granted more than {MAX_PREFIXES} path prefixes", Quoted(namespace))
            }
            GrantError::Overlap(a, b) => write!(
                f,
                "path grants {} and {} overlap, but every path must belong to exactly one namespace",
                Quoted(a),
                Quoted(b)
            ),
        }
    }
}

/// Prefixes outside `/ns/` that an administrator granted, by namespace. Those of two namespaces never meet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PathGrants(BTreeMap<Namespace, Vec<PathPrefix>>);

impl PathGrants {
    /// Parses `<namespace>=<prefix>` grants. The same grant twice counts as one.
    ///
    /// # Errors
    /// Names the first grant that is malformed, or two that overlap.
    pub fn parse<'a>(grants: impl IntoIterator<Item = &'a str>) -> Result<Self, GrantError> {
        let mut parsed: BTreeMap<Namespace, Vec<PathPrefix>> = BTreeMap::new();
        for grant in grants {
            let (namespace, prefix) =
                grant.split_once('=').ok_or_else(|| GrantError::Shape(grant.to_owned()))?;
            let key = Namespace::parse(namespace)
                .map_err(|why| GrantError::Namespace { namespace: namespace.to_owned(), why })?;
            let prefix = PathPrefix::parse(prefix)?;
            for (other, prefixes) in parsed.iter().filter(|(other, _)| **other != key) {
                if let Some(taken) = prefixes.iter().find(|taken| taken.meets(&prefix)) {
                    return Err(GrantError::Overlap(format!("{other}={taken}"), format!("{key}={prefix}")));
                }
            }
            let prefixes = parsed.entry(key).or_default();
            if let Err(at) = prefixes.binary_search(&prefix) {
                if prefixes.len() == MAX_PREFIXES {
                    return Err(GrantError::TooMany(namespace.to_owned()));
                }
                prefixes.insert(at, prefix);
            }
        }
        Ok(Self(parsed))
    }

    /// The prefixes granted to a namespace, sorted.
    pub fn of(&self, namespace: &Namespace) -> impl Iterator<Item = &PathPrefix> {
        self.0.get(namespace).into_iter().flatten()
    }

    /// Every grant as namespace and prefix, sorted.
    pub fn iter(&self) -> impl Iterator<Item = (&Namespace, &PathPrefix)> {
        self.0.iter().flat_map(|(namespace, prefixes)| prefixes.iter().map(move |prefix| (namespace, prefix)))
    }

    /// Whether a path, such as `/team/x`, lies deeper than a prefix granted to the namespace.
    pub fn covers(&self, namespace: &Namespace, path: &str) -> bool {
        self.cover(namespace, &segments(path))
    }

    pub(super) fn cover(&self, namespace: &Namespace, path: &[&str]) -> bool {
        self.of(namespace).any(|prefix| prefix.is_above(path))
    }

    /// Whose a path is, such as `/team/x`: the one namespace to which a prefix above it is granted, and that prefix.
    pub fn holder(&self, path: &str) -> Option<(&Namespace, &PathPrefix)> {
        let path = segments(path);
        self.iter().find(|(_, prefix)| prefix.is_above(&path))
    }
}

fn segments(path: &str) -> Vec<&str> {
    path.split('/').skip(1).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grants_of_two_namespaces_never_meet() {
        let parse = |grants: &[&str]| PathGrants::parse(grants.iter().copied());
        assert!(parse(&["a=/x", "a=/x/y", "b=/y", "a=/x"]).is_ok());
        for clash in [["a=/x", "b=/x"], ["a=/x", "b=/X/y"], ["a=/x/y", "b=/x"]] {
            assert!(matches!(parse(&clash), Err(GrantError::Overlap(_, _))), "{clash:?}");
        }
        assert!(parse(&["a=/x", "b=/xy"]).is_ok());
        for bad in [
            "",
            "a",
            "a=",
            "=/x",
            "A=/x",
            "a=x",
            "a=/",
            "a=/x/",
            "a=//x",
            "a=/../x",
            "a=/ns",
            "a=/NS/b",
            "a=/Spire-x/y",
            "a=/{{",
        ] {
            assert!(parse(&[bad]).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_path_has_one_holder_or_none() {
        let grants = PathGrants::parse(["a=/org/a", "a=/org/a/deep", "b=/org/b"]).unwrap();
        let holder = |path| grants.holder(path).map(|(holder, prefix)| format!("{holder}={prefix}"));
        assert_eq!(holder("/org/a/x").as_deref(), Some("a=/org/a"));
        assert_eq!(holder("/ORG/B/x/y").as_deref(), Some("b=/org/b"));
        for path in ["/org/a", "/org", "/org/ab/x", "/", ""] {
            assert_eq!(holder(path), None, "{path:?}");
        }
        for path in ["/org/a/x", "/org/a/deep/x", "/org/b/x", "/org/b", "/org/c/x"] {
            for namespace in ["a", "b", "c"].map(|name| Namespace::parse(name).unwrap()) {
                let holds = grants.holder(path).is_some_and(|(holder, _)| *holder == namespace);
                assert_eq!(grants.covers(&namespace, path), holds, "{namespace} {path}");
            }
        }
    }

    #[test]
    fn what_a_status_cannot_hold_is_refused() {
        let longest = format!("a=/{}", "x".repeat(MAX_PREFIX_BYTES - 1));
        assert!(PathGrants::parse([longest.as_str()]).is_ok());
        let error = PathGrants::parse([format!("{longest}x").as_str()]).unwrap_err();
        assert!(error.to_string().contains("has 244 bytes"), "{error}");
        let many: Vec<String> = (0..=MAX_PREFIXES).map(|i| format!("a=/x{i}")).collect();
        let all = || many.iter().map(String::as_str);
        assert!(PathGrants::parse(all().take(MAX_PREFIXES)).is_ok());
        assert_eq!(PathGrants::parse(all()), Err(GrantError::TooMany("a".into())));
    }
}
