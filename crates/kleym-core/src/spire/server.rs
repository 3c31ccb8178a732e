//! What SPIRE Server refuses although SCM sends it: SCM counts `entryFailures` and tries again for ever.

use std::collections::BTreeSet;
use std::fmt;

/// The most bytes of a hint (`spire: pkg/server/api/entry.go`).
const MAX_HINT_BYTES: usize = 1024;

/// Why SPIRE Server refuses an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerRefusal {
    /// The ID has no path (`spire: pkg/server/api/id.go, VerifyTrustDomainWorkloadID`).
    NoPath,
    /// The path is `/spire` or lies under it (same place).
    ReservedPath,
    /// Two selectors are equal: the database has a unique index (`spire: pkg/server/datastore/sqlstore/models.go`).
    DuplicateSelector,
    /// The hint has more than 1,024 bytes.
    LongHint,
}

impl fmt::Display for ServerRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ServerRefusal::NoPath => "the SPIFFE ID has no path",
            ServerRefusal::ReservedPath => "the path `/spire` is reserved",
            ServerRefusal::DuplicateSelector => "a selector is there twice",
            ServerRefusal::LongHint => "the hint has more than 1,024 bytes",
        })
    }
}

/// Why SPIRE Server refuses an entry, if it does. The ID is one that SCM accepted; the selectors are those beside the pod's
/// uid, which SCM puts first.
pub fn refusal(
    spiffe_id: &str,
    selectors: &[&str],
    pod_uid: Option<&str>,
    hint: &str,
) -> Option<ServerRefusal> {
    let rest = spiffe_id.strip_prefix("spiffe://").unwrap_or(spiffe_id);
    let path = rest.find('/').map_or("", |at| &rest[at..]);
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    let own = pod_uid.map(|uid| format!("k8s:pod-uid:{uid}"));
    seen.extend(own.as_deref());
    if path.is_empty() {
        Some(ServerRefusal::NoPath)
    } else if path == "/spire" || path.starts_with("/spire/") {
        Some(ServerRefusal::ReservedPath)
    } else if !selectors.iter().all(|item| seen.insert(item)) {
        Some(ServerRefusal::DuplicateSelector)
    } else {
        (hint.len() > MAX_HINT_BYTES).then_some(ServerRefusal::LongHint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_spire_server_refuses_is_named() {
        let refused = |id: &str, items: &[&str]| refusal(id, items, Some("u1"), "");
        assert_eq!(refused("spiffe://a/b", &["k8s:ns:a", "k8s:sa:a"]), None);
        assert_eq!(refused("spiffe://a", &[]), Some(ServerRefusal::NoPath));
        assert_eq!(refused("spiffe://a/spire/agent", &[]), Some(ServerRefusal::ReservedPath));
        assert_eq!(refused("spiffe://a/spire-x", &[]), None);
        assert_eq!(
            refused("spiffe://a/b", &["k8s:ns:a", "k8s:ns:a"]),
            Some(ServerRefusal::DuplicateSelector)
        );
        assert_eq!(refused("spiffe://a/b", &["k8s:pod-uid:u1"]), Some(ServerRefusal::DuplicateSelector));
        assert_eq!(refusal("spiffe://a/b", &[], None, &"h".repeat(1025)), Some(ServerRefusal::LongHint));
    }
}
