//! Two identities of one namespace: whether they compete, what proves them disjoint, and who comes first.
//!
//! The relation is symmetric and local: a binding's verdict depends on the peers that come before it and on nothing
//! else, so one who comes later never takes a running identity away.

use crate::fact::Binding;
use crate::name::ObjectName;
use crate::refusal::Reason;
use crate::render::Identity;
use crate::selector::{Item, ItemKey};
use crate::spiffe::SpiffeId;
use crate::text::{Quoted, quoted_list};

/// The order in which bindings of one namespace come: the oldest first, an absent timestamp last, then by name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Precedence {
    /// `false` sorts first: a binding that has a timestamp.
    undated: bool,
    created: i64,
    /// Decides within one second, and among undated ones.
    pub name: ObjectName,
}

impl Precedence {
    /// A binding's place.
    pub fn of(binding: &Binding) -> Self {
        Self {
            undated: binding.created.is_none(),
            created: binding.created.unwrap_or(0),
            name: binding.key.name.clone(),
        }
    }
}

/// Why two bindings cannot both hold their identities.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// They compete, have different SPIFFE IDs, and nothing proves their workloads disjoint.
    IdentityCollision,
    /// They have the same SPIFFE ID for different subjects.
    DuplicateSpiffeId,
}

impl Cause {
    /// The condition's reason.
    pub const fn reason(self) -> Reason {
        match self {
            Cause::IdentityCollision => Reason::IdentityCollision,
            Cause::DuplicateSpiffeId => Reason::DuplicateSpiffeId,
        }
    }
}

/// Whether two identities of one namespace claim the same kind of thing: the same mode, or different modes on pools
/// that are not the same. (PoolOnly beside PerObjective on one pool is layering.)
pub fn compete(a: &Identity, b: &Identity) -> bool {
    a.mode == b.mode || a.pool != b.pool
}

/// A key whose values differ, so that no workload can match both sets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Apart<'a> {
    /// The item of the first set.
    pub first: &'a Item,
    /// The item of the second set.
    pub second: &'a Item,
}

/// What proves two identities of one namespace disjoint, if anything does: different values for `sa`,
/// `container-name`, `node-name`, `pod-name` or one `pod-label` key, or different tagged `container-image`s. Nothing
/// else proves it: not namespace labels, counts, owners, digests or signatures.
pub fn disjoint<'a>(a: &'a Identity, b: &'a Identity) -> Option<Apart<'a>> {
    apart(a.selectors.items(), b.selectors.items())
}

/// Whether two sets of items, each sorted, are proved disjoint; the rule of [`disjoint`].
pub fn disjoint_items(a: &[Item], b: &[Item]) -> bool {
    apart(a, b).is_some()
}

fn apart<'a>(a: &'a [Item], b: &'a [Item]) -> Option<Apart<'a>> {
    let by_slot = a.iter().filter(|item| tells_apart(item)).find_map(|first| {
        // Items are sorted by text, so one of the same slot stands where its prefix would.
        let prefix = first.prefix();
        let second = b.get(b.partition_point(|item| item.as_str() < prefix))?;
        (second.as_str().starts_with(prefix) && second != first).then_some(Apart { first, second })
    });
    by_slot.or_else(|| {
        let tagged = |items: &'a [Item]| items.iter().filter(|item| item.tagged_image().is_some());
        tagged(a).find_map(|first| {
            tagged(b).find(|second| first.value() != second.value()).map(|second| Apart { first, second })
        })
    })
}

/// Whether a difference in this item's slot proves disjointness.
pub(crate) fn tells_apart(item: &Item) -> bool {
    matches!(
        item.key(),
        ItemKey::ServiceAccount
            | ItemKey::ContainerName
            | ItemKey::NodeName
            | ItemKey::PodName
            | ItemKey::PodLabel
    )
}

/// Why two identities of one namespace cannot both be held, if they cannot. IDs that differ in case alone are two IDs to a
/// workload and one to some databases, so both causes can hold of one pair; the collision is then the reason.
pub fn conflict(a: &Identity, b: &Identity) -> Option<Cause> {
    if a.spiffe_id != b.spiffe_id && compete(a, b) && disjoint(a, b).is_none() {
        return Some(Cause::IdentityCollision);
    }
    let same_id = a.spiffe_id.as_str().eq_ignore_ascii_case(b.spiffe_id.as_str());
    (same_id && !a.same_subject(b)).then_some(Cause::DuplicateSpiffeId)
}

/// How two identities of one namespace stand to each other, with what shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Relation<'a> {
    /// Both cannot be held.
    Conflict(Cause),
    /// One SPIFFE ID of one subject: two selector sets of the same identity.
    SameIdentity,
    /// No workload can match both.
    Disjoint(Apart<'a>),
    /// They do not compete: PoolOnly beside PerObjective on one pool. A workload may have both.
    Layered,
}

/// How two identities of one namespace stand to each other.
pub fn relate<'a>(a: &'a Identity, b: &'a Identity) -> Relation<'a> {
    match (conflict(a, b), disjoint(a, b)) {
        (Some(cause), _) => Relation::Conflict(cause),
        (None, _) if a.spiffe_id == b.spiffe_id => Relation::SameIdentity,
        (None, Some(apart)) => Relation::Disjoint(apart),
        (None, None) => Relation::Layered,
    }
}

/// A peer that comes first and claims the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its name, in the same namespace.
    pub name: ObjectName,
    /// Why both cannot be.
    pub cause: Cause,
    /// The identity it claims.
    pub spiffe_id: SpiffeId,
    /// Selector items both sets share in slots that could have told them apart.
    pub shared: Vec<Box<str>>,
}

/// The most peers a conflict lists.
pub const MAX_PEERS: usize = 16;

/// The peers that come first and claim the same: never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// What the binding itself would have.
    pub spiffe_id: SpiffeId,
    /// The one the message speaks of: the first with the reported cause.
    pub foremost: Peer,
    /// By precedence, at most [`MAX_PEERS`].
    pub peers: Vec<Peer>,
    /// How many there are.
    pub count: usize,
}

impl Conflict {
    /// Collects the conflicting among these peers, given by precedence; `None` if there are none.
    pub fn of<'a>(
        own: &Identity,
        peers: impl IntoIterator<Item = (&'a ObjectName, &'a Identity)>,
    ) -> Option<Self> {
        let mut listed: Vec<Peer> = Vec::new();
        let mut foremost: Option<Peer> = None;
        let mut count = 0;
        for (name, theirs) in peers {
            let Some(cause) = conflict(own, theirs) else { continue };
            count += 1;
            // The first collision outranks a duplicate that came before it; else the first of all.
            let leads = foremost.as_ref().is_none_or(|so_far| {
                so_far.cause == Cause::DuplicateSpiffeId && cause == Cause::IdentityCollision
            });
            if !leads && listed.len() >= MAX_PEERS {
                continue;
            }
            let peer = Peer::new(name.clone(), cause, own, theirs);
            if leads {
                foremost = Some(peer.clone());
            }
            if listed.len() < MAX_PEERS {
                listed.push(peer);
            }
        }
        Some(Self { spiffe_id: own.spiffe_id.clone(), foremost: foremost?, peers: listed, count })
    }

    /// The reported cause: a collision, if there is one.
    pub fn cause(&self) -> Cause {
        self.foremost.cause
    }

    /// Which peer, which overlap.
    pub fn what(&self) -> String {
        let peer = &self.foremost;
        let more = match self.count {
            1 => String::new(),
            2 => " (and one more binding)".to_owned(),
            n => format!(" (and {} more bindings)", n - 1),
        };
        let name = Quoted(peer.name.as_str());
        match peer.cause {
            Cause::IdentityCollision => format!(
                "InferenceIdentityBinding {name}{more} comes first and claims {} for workloads this binding claims too: nothing proves the two apart, both select {}",
                Quoted(peer.spiffe_id.as_str()),
                shared(&peer.shared),
            ),
            Cause::DuplicateSpiffeId => {
                let case =
                    if peer.spiffe_id == self.spiffe_id { "" } else { " (upper and lower case are one)" };
                format!(
                    "InferenceIdentityBinding {name}{more} comes first and holds the same SPIFFE ID {}{case} for another subject",
                    Quoted(peer.spiffe_id.as_str()),
                )
            }
        }
    }

    /// What would prove the two apart.
    pub fn hint(&self) -> String {
        match self.foremost.cause {
            // Two container names in one set exclude each other, so where both name one already it must be corrected, not
            // joined by another.
            Cause::IdentityCollision if self.foremost.shares_container_name() => {
                "if they are different containers, correct the container name of one (in mode PerObjective, spec.containerDiscriminator); otherwise tell them apart by service account, pod label, node or pod name; if they are the same, keep one binding"
                    .to_owned()
            }
            Cause::IdentityCollision => {
                "if they are different containers, name the container in both: by spec.containerDiscriminator in mode PerObjective, else by a selector `k8s:container-name:<name>`; otherwise tell them apart by service account, pod label, node or pod name; if they are the same, keep one binding"
                    .to_owned()
            }
            Cause::DuplicateSpiffeId => "change spec.spiffeIDTemplate of one, or remove one".to_owned(),
        }
    }
}

/// The first few of the shared items, so that what to do still fits the message.
fn shared(items: &[Box<str>]) -> String {
    const MOST: usize = 3;
    let shown = quoted_list(items.iter().take(MOST).map(|item| &**item));
    match items.len().saturating_sub(MOST) {
        0 => shown,
        more => format!("{shown} ({more} more)"),
    }
}

impl Peer {
    fn shares_container_name(&self) -> bool {
        self.shared.iter().any(|item| item.starts_with("k8s:container-name:"))
    }

    fn new(name: ObjectName, cause: Cause, own: &Identity, theirs: &Identity) -> Self {
        let shared = own
            .selectors
            .items()
            .iter()
            .filter(|item| tells_apart(item) && theirs.selectors.items().binary_search(item).is_ok())
            .map(|item| item.as_str().into())
            .collect();
        Self { name, cause, spiffe_id: theirs.spiffe_id.clone(), shared }
    }
}
