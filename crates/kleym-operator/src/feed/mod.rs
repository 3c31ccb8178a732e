//! The eyes of the operator: watches of every kind that is served, each with its own back-off and availability, turned
//! into [`News`] for the driver. An absent or broken kind slows no other.
//!
//! Nothing is decided here, and an error never becomes an absence: only an empty list of CustomResourceDefinitions by
//! name proves that a kind is gone.

mod burst;
mod definitions;
mod item;
mod page;
mod served;
mod stream;
mod watch;

use std::collections::BTreeSet;
use std::sync::Arc;

use kleym_core::fact::{FactKey, Trouble};
use kleym_core::kind::Kind;
use kleym_core::name::{Namespace, ObjectName, Uid};
use kleym_core::relist::Difference;
use kleym_core::settings::Settings;
use kube::Client;
use tokio::sync::mpsc;
use tokio::sync::watch::Receiver;
use tokio::task::JoinSet;

use crate::horizon::Horizons;

pub use burst::Burst;
pub use item::{Item, SeenBinding, binding};

/// Which object is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GoneKey {
    /// Its namespace; none for cluster-scoped kinds.
    pub namespace: Option<Namespace>,
    /// Its name.
    pub name: ObjectName,
    /// The uid of the object that is gone, when the watch said it.
    pub uid: Option<Uid>,
}

/// What the driver is told.
#[derive(Debug)]
pub enum News {
    /// Objects of a kind, or of a kind in one namespace, changed.
    Objects(Kind, Option<Namespace>, Difference<Item, GoneKey>),
    /// A kind is proved not to exist.
    Absent(Kind),
    /// A kind's definition changed; it is still served, or its watch will fail.
    Redefined(Kind),
    /// Something is wrong with a kind, everywhere or in one namespace, or no longer.
    Trouble(Kind, Option<Namespace>, Option<Trouble>),
    /// The list of outputs that was told last was begun after this was asked for, or the proof that there are none.
    Anew(u64),
    /// Something is wrong with the watch of definitions, or no longer: meanwhile no kind is seen to come or go.
    Definitions(Option<Trouble>),
}

/// Starts the watches; news comes until the receiver is dropped. Whenever `anew` grows, outputs are listed again, and
/// [`News::Anew`] follows.
pub fn start(
    client: &Client,
    settings: &Arc<Settings>,
    namespaces: &BTreeSet<Namespace>,
    horizons: &Horizons,
    anew: &Receiver<u64>,
    tasks: &mut JoinSet<anyhow::Result<()>>,
) -> mpsc::Receiver<News> {
    // Small: the driver is faster than the API server, and a full channel only makes the watches wait.
    let (news, receiver) = mpsc::channel(256);
    let definitions = definitions::Definitions::new();
    for kind in Kind::ALL {
        let watch = watch::Watch {
            kind,
            client: client.clone(),
            settings: Arc::clone(settings),
            namespaces: if kind.namespaced() { namespaces.iter().cloned().collect() } else { Vec::new() },
            definition: definitions.subscribe(kind),
            horizon: horizons.of(kind).clone(),
            anew: (kind == Kind::Output).then(|| anew.clone()),
            news: news.clone(),
        };
        tasks.spawn(watch.run());
    }
    tasks.spawn(definitions.run(client.clone(), news));
    receiver
}

/// What is said when the process ends because it can believe nothing that it remembers.
fn went_back(definition: &str) -> String {
    format!(
        "`{definition}`: the API server shows an older state than before, as after a restore of etcd from a snapshot; starting anew"
    )
}

impl GoneKey {
    /// The key of the fact that is gone with it; none for cluster-scoped kinds.
    pub fn fact_key(&self, kind: Kind) -> Option<FactKey> {
        Some(FactKey { kind, namespace: self.namespace.clone()?, name: self.name.clone() })
    }
}
