//! SPIFFE IDs: syntax by the `spiffe` crate, and Kleym's own rules on top, so that every path belongs to exactly one
//! namespace.
//!
//! The crate normalises the case of scheme and trust domain and caps no length, so an ID must print back unchanged
//! and is measured here. 255 bytes is what SPIRE's entry table holds on MySQL and MariaDB; the specification
//! (SPIFFE-ID section 2.3) allows 2048.

mod grants;

use std::fmt;
use std::sync::Arc;

use crate::name::{Namespace, ObjectName};
use crate::text::{Quoted, quoted_list};

/// The most bytes of a SPIFFE ID that Kleym issues.
pub const MAX_ID_BYTES: usize = 255;

/// A SPIFFE trust domain name in canonical form (SPIFFE-ID section 2.1): 1 to 255 bytes of lower-case letters,
/// digits, `.`, `-` and `_`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct TrustDomain(Arc<str>);

impl TrustDomain {
    /// Parses a trust domain name; a whole SPIFFE ID or a name that is not canonical is refused.
    ///
    /// # Errors
    /// Says what is wrong, for a person who typed the setting.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() > 255 {
            return Err("is longer than 255 bytes".to_owned());
        }
        if text.contains("://") {
            return Err("is a URI; give the name alone, such as `example.org`".to_owned());
        }
        let parsed =
            ::spiffe::TrustDomain::new(text).map_err(|error| format!("is no trust domain: {error}"))?;
        if !text.bytes().any(|byte| byte.is_ascii_alphanumeric()) {
            // The specification allows it; to a URL it is a step in a path.
            return Err("has no letter and no digit".to_owned());
        }
        if parsed.as_str() != text {
            return Err(format!("is not in canonical form; write {}", Quoted(parsed.as_str())));
        }
        Ok(Self(text.into()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

pub use grants::{GrantError, PathGrants, PathPrefix};

/// The first path segment of everything that belongs to namespaces by itself.
const NS: &str = "ns";

/// A SPIFFE ID that Kleym may write for one namespace.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpiffeId(Arc<str>);

impl SpiffeId {
    /// The ID as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Keeps the text once, if this is the same.
    pub(crate) fn share(&mut self, text: &Arc<str>) {
        if self.0 == *text {
            self.0 = Arc::clone(text);
        }
    }

    /// The text, to be kept by others too.
    pub(crate) fn shared(&self) -> &Arc<str> {
        &self.0
    }

    /// The key under which IDs are the same: case ignored, as some SPIRE databases do.
    pub fn folded(&self) -> String {
        self.0.to_ascii_lowercase()
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// What an ID must be true of: the heads `sa`, `objective` and `pool` under `/ns/<namespace>/` speak of these.
#[derive(Debug, Clone, Copy)]
pub struct Truth<'a> {
    /// The binding's namespace.
    pub namespace: &'a Namespace,
    /// The service account of the selector set.
    pub service_account: &'a str,
    /// The objective, in PerObjective only.
    pub objective: Option<&'a ObjectName>,
    /// The resolved pool.
    pub pool: &'a ObjectName,
}

/// Why a text is no SPIFFE ID that this binding may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SpiffeIdError {
    /// More than [`MAX_ID_BYTES`].
    TooLong {
        /// How many there are.
        bytes: usize,
    },
    /// A `{` or `}`.
    Braces,
    /// Not a SPIFFE ID; what the parser says.
    Syntax(String),
    /// A SPIFFE ID that does not print back as it was written.
    NotCanonical(String),
    /// Another trust domain than the configured one.
    ForeignTrustDomain {
        /// The ID's.
        found: String,
        /// The configured one.
        wanted: String,
    },
    /// Outside `/ns/<namespace>/` and every prefix granted to the namespace.
    OutsideNamespace {
        /// Where it would have to lie.
        namespace: String,
        /// The prefixes granted to the namespace.
        granted: Vec<String>,
    },
    /// `/ns/...` or a head in another case.
    HeadCase {
        /// As written.
        found: String,
        /// As it must be.
        wanted: &'static str,
    },
    /// A head with nothing behind it: `/ns/<namespace>/sa`.
    BareHead(&'static str),
    /// `sa/<x>` where x is not the service account of the selectors.
    WrongServiceAccount {
        /// As written.
        found: String,
        /// The one of the selectors.
        wanted: String,
    },
    /// `objective/<x>` where x is not the objective this identity is of, or in PoolOnly.
    WrongObjective {
        /// As written.
        found: String,
        /// The objective; none in PoolOnly.
        wanted: Option<String>,
    },
    /// `pool/<x>` where x is not the resolved pool.
    WrongPool {
        /// As written.
        found: String,
        /// The resolved pool.
        wanted: String,
    },
    /// `pool/<x>` exactly, in PerObjective: it is the pool's own ID.
    PoolIdOfObjective,
}

impl fmt::Display for SpiffeIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SpiffeIdError::TooLong { bytes } => {
                write!(f, "has {bytes} bytes; SPIRE's databases hold at most {MAX_ID_BYTES}")
            }
            SpiffeIdError::Braces => {
                f.write_str("holds a brace; spire-controller-manager would execute it as a template")
            }
            SpiffeIdError::Syntax(error) => write!(f, "is no SPIFFE ID: {error}"),
            SpiffeIdError::NotCanonical(canonical) => {
                write!(f, "is not in canonical form; write {}", Quoted(canonical))
            }
            SpiffeIdError::ForeignTrustDomain { found, wanted } => write!(
                f,
                "has the trust domain {}, but the operator issues for {}; use `{{{{ .TrustDomain }}}}`",
                Quoted(found),
                Quoted(wanted)
            ),
            SpiffeIdError::OutsideNamespace { namespace, granted } => {
                write!(f, "must lie deeper than {}", Quoted(&format!("/ns/{namespace}")))?;
                if granted.is_empty() {
                    f.write_str("; no other path is granted to the namespace (`--path-grant`)")
                } else {
                    let granted = quoted_list(granted.iter().map(String::as_str));
                    write!(f, ", or deeper than a prefix granted to the namespace: {granted}")
                }
            }
            SpiffeIdError::HeadCase { found, wanted } => {
                write!(f, "has the segment {}; write `{wanted}`", Quoted(found))
            }
            SpiffeIdError::BareHead(head) => {
                write!(f, "ends in `{head}`, which must be followed by the name it speaks of")
            }
            SpiffeIdError::WrongServiceAccount { found, wanted } => write!(
                f,
                "speaks of the service account {}, but the selectors are of {}",
                Quoted(found),
                Quoted(wanted)
            ),
            SpiffeIdError::WrongObjective { found, wanted: Some(wanted) } => write!(
                f,
                "speaks of the objective {}, but the binding's is {}",
                Quoted(found),
                Quoted(wanted)
            ),
            SpiffeIdError::WrongObjective { found, wanted: None } => write!(
                f,
                "speaks of the objective {}, but in mode PoolOnly the identity is the pool's",
                Quoted(found)
            ),
            SpiffeIdError::WrongPool { found, wanted } => {
                write!(f, "speaks of the pool {}, but the resolved pool is {}", Quoted(found), Quoted(wanted))
            }
            SpiffeIdError::PoolIdOfObjective => f.write_str(
                "is the pool's own ID, which only mode PoolOnly may take; add a segment or change the mode",
            ),
        }
    }
}

/// Whether a text is a SPIFFE ID as it stands, whoever may have it.
///
/// # Errors
/// Names the rule that is broken.
pub fn well_formed(text: &str) -> Result<(), SpiffeIdError> {
    parsed(text).map(drop)
}

fn parsed(text: &str) -> Result<::spiffe::SpiffeId, SpiffeIdError> {
    let parsed = ::spiffe::SpiffeId::new(text).map_err(|error| SpiffeIdError::Syntax(error.to_string()))?;
    let canonical = parsed.to_string();
    if canonical == text { Ok(parsed) } else { Err(SpiffeIdError::NotCanonical(canonical)) }
}

/// Proves that a rendered text is a SPIFFE ID that this binding may have.
///
/// # Errors
/// Names the rule that is broken.
pub fn check(
    text: &str,
    trust_domain: &TrustDomain,
    grants: &PathGrants,
    truth: Truth<'_>,
) -> Result<SpiffeId, SpiffeIdError> {
    if text.len() > MAX_ID_BYTES {
        return Err(SpiffeIdError::TooLong { bytes: text.len() });
    }
    if text.contains(['{', '}']) {
        return Err(SpiffeIdError::Braces);
    }
    let parsed = parsed(text)?;
    if parsed.trust_domain_name() != trust_domain.as_str() {
        return Err(SpiffeIdError::ForeignTrustDomain {
            found: parsed.trust_domain_name().to_owned(),
            wanted: trust_domain.to_string(),
        });
    }
    let segments: Vec<&str> = parsed.path().split('/').skip(1).collect();
    let outside = || SpiffeIdError::OutsideNamespace {
        namespace: truth.namespace.to_string(),
        granted: grants.of(truth.namespace).map(ToString::to_string).collect(),
    };
    match segments.as_slice() {
        [head, namespace, rest @ ..] if head.eq_ignore_ascii_case(NS) => {
            exact_head(head, NS)?;
            if *namespace != truth.namespace.as_str() {
                return Err(outside());
            }
            check_heads(rest, truth)?.ok_or_else(outside)?;
        }
        path if !grants.cover(truth.namespace, path) => return Err(outside()),
        _ => {}
    }
    Ok(SpiffeId(text.into()))
}

fn exact_head(found: &str, wanted: &'static str) -> Result<(), SpiffeIdError> {
    if found == wanted { Ok(()) } else { Err(SpiffeIdError::HeadCase { found: found.to_owned(), wanted }) }
}

/// Checks what stands behind `/ns/<namespace>/`; nothing there gives `None`.
fn check_heads(rest: &[&str], truth: Truth<'_>) -> Result<Option<()>, SpiffeIdError> {
    let Some((found, behind)) = rest.split_first() else { return Ok(None) };
    let Some(head) = ["sa", "objective", "pool"].into_iter().find(|h| h.eq_ignore_ascii_case(found)) else {
        return Ok(Some(()));
    };
    exact_head(found, head)?;
    let Some((name, deeper)) = behind.split_first() else { return Err(SpiffeIdError::BareHead(head)) };
    let found = (*name).to_owned();
    match head {
        "sa" if *name != truth.service_account => {
            Err(SpiffeIdError::WrongServiceAccount { found, wanted: truth.service_account.to_owned() })
        }
        "objective" if truth.objective.is_none_or(|objective| objective.as_str() != *name) => {
            Err(SpiffeIdError::WrongObjective { found, wanted: truth.objective.map(ToString::to_string) })
        }
        "pool" if *name != truth.pool.as_str() => {
            Err(SpiffeIdError::WrongPool { found, wanted: truth.pool.to_string() })
        }
        "pool" if deeper.is_empty() && truth.objective.is_some() => Err(SpiffeIdError::PoolIdOfObjective),
        _ => Ok(Some(())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_in(text: &str, objective: Option<&str>, grants: &[&str]) -> Result<(), SpiffeIdError> {
        let namespace = Namespace::parse("llm").unwrap();
        let objective = objective.map(|o| ObjectName::parse(o).unwrap());
        let pool = ObjectName::parse("llama").unwrap();
        let truth = Truth {
            namespace: &namespace,
            service_account: "llama-sa",
            objective: objective.as_ref(),
            pool: &pool,
        };
        let grants = PathGrants::parse(grants.iter().copied()).unwrap();
        let id = check(text, &TrustDomain::parse("example.org").unwrap(), &grants, truth)?;
        assert_eq!(id.as_str(), text);
        Ok(())
    }

    fn path(path: &str) -> Result<(), SpiffeIdError> {
        check_in(&format!("spiffe://example.org{path}"), Some("chat"), &[])
    }

    #[test]
    fn a_path_under_the_own_namespace_is_allowed() {
        for good in [
            "/ns/llm/x",
            "/ns/llm/x/y",
            "/ns/llm/sa/llama-sa",
            "/ns/llm/sa/llama-sa/x",
            "/ns/llm/objective/chat",
        ] {
            assert_eq!(path(good), Ok(()), "{good}");
        }
        assert_eq!(path("/ns/llm/pool/llama/x"), Ok(()));
    }

    #[test]
    fn a_path_anywhere_else_is_refused() {
        for bad in [
            "",
            "/ns",
            "/ns/llm",
            "/ns/other/x",
            "/ns/LLM/x",
            "/ns/llm2/x",
            "/spire/agent/x",
            "/x",
            "/nsx/llm/x",
        ] {
            assert!(
                matches!(path(bad), Err(SpiffeIdError::OutsideNamespace { .. })),
                "{bad}: {:?}",
                path(bad)
            );
        }
    }

    #[test]
    fn heads_must_speak_the_truth() {
        let s = |s: &str| s.to_owned();
        assert_eq!(
            path("/ns/llm/sa/other/x"),
            Err(SpiffeIdError::WrongServiceAccount { found: s("other"), wanted: s("llama-sa") })
        );
        assert_eq!(
            path("/ns/llm/objective/batch"),
            Err(SpiffeIdError::WrongObjective { found: s("batch"), wanted: Some(s("chat")) })
        );
        assert_eq!(
            path("/ns/llm/pool/qwen/x"),
            Err(SpiffeIdError::WrongPool { found: s("qwen"), wanted: s("llama") })
        );
        assert_eq!(path("/ns/llm/pool/llama"), Err(SpiffeIdError::PoolIdOfObjective));
        assert_eq!(path("/ns/llm/pool"), Err(SpiffeIdError::BareHead("pool")));
        let pool_only = |path: &str| check_in(&format!("spiffe://example.org{path}"), None, &[]);
        assert_eq!(pool_only("/ns/llm/pool/llama"), Ok(()));
        assert_eq!(
            pool_only("/ns/llm/objective/chat"),
            Err(SpiffeIdError::WrongObjective { found: s("chat"), wanted: None })
        );
    }

    #[test]
    fn a_head_in_another_case_is_refused() {
        for bad in ["/NS/llm/x", "/ns/llm/SA/llama-sa", "/ns/llm/Objective/chat/x", "/ns/llm/Pool/llama"] {
            assert!(matches!(path(bad), Err(SpiffeIdError::HeadCase { .. })), "{bad}");
        }
    }

    #[test]
    fn a_granted_id_lies_deeper_than_its_prefix() {
        let granted =
            |path: &str| check_in(&format!("spiffe://example.org{path}"), Some("chat"), &["llm=/team-a/x"]);
        assert_eq!(granted("/team-a/x/y"), Ok(()));
        for bad in ["/team-a/x", "/team-a/xy", "/team-a/y", "/team-a"] {
            assert!(matches!(granted(bad), Err(SpiffeIdError::OutsideNamespace { .. })), "{bad}");
        }
    }

    #[test]
    fn an_id_must_be_canonical_and_of_the_configured_trust_domain() {
        let full = |id: &str| check_in(id, Some("chat"), &[]);
        assert!(matches!(full("SPIFFE://example.org/ns/llm/x"), Err(SpiffeIdError::NotCanonical(_))));
        assert!(matches!(
            full("spiffe://Example.org/ns/llm/x"),
            Err(SpiffeIdError::NotCanonical(_) | SpiffeIdError::Syntax(_))
        ));
        assert!(matches!(full("spiffe://other.org/ns/llm/x"), Err(SpiffeIdError::ForeignTrustDomain { .. })));
        for bad in [
            "",
            "ns/llm/x",
            "http://example.org/ns/llm/x",
            "spiffe://example.org/ns/llm/x/",
            "spiffe://example.org/ns/llm//x",
            "spiffe://example.org/ns/llm/../x",
            "spiffe://example.org/ns/llm/.",
            "spiffe://example.org/ns/llm/x?y",
            "spiffe://example.org/ns/llm/x#y",
            "spiffe://example.org/ns/llm/%78",
            "spiffe://example.org/ns/llm/a b",
            "spiffe://example.org/ns/llm/\u{e9}",
            "spiffe://example.org/ns/llm/x\n",
            "spiffe://user@example.org/ns/llm/x",
            "spiffe://example.org:80/ns/llm/x",
        ] {
            assert!(matches!(full(bad), Err(SpiffeIdError::Syntax(_))), "{bad:?}: {:?}", full(bad));
        }
        assert_eq!(full("spiffe://example.org/ns/llm/{{.X}}"), Err(SpiffeIdError::Braces));
        let long = format!("spiffe://example.org/ns/llm/{}", "x".repeat(228));
        assert_eq!(full(&long), Err(SpiffeIdError::TooLong { bytes: 256 }));
        assert_eq!(full(&long[..255]), Ok(()));
    }

    #[test]
    fn a_trust_domain_is_a_canonical_name() {
        for good in ["example.org", "kleym.sonda.red", "a_b-c.1"] {
            assert!(TrustDomain::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            " ",
            "Example.org",
            "spiffe://example.org",
            "example.org/x",
            "a:80",
            "{{",
            "\u{e9}",
            "a b",
            ".",
            "..",
            "-",
            &"a".repeat(256),
        ] {
            assert!(TrustDomain::parse(bad).is_err(), "{bad:?}");
        }
    }
}
