//! What waits to be sent, in lanes of namespaces that take turns: a flood in one delays no other, and where there is no room
//! left it is the flood that loses.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use kleym_core::announce::{Announcement, Object};
use kleym_core::lanes::Lanes;
use kleym_core::name::Namespace;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// How many announcements wait; there is one token for each.
pub(super) const ROOM: usize = 1024;

#[derive(Debug)]
pub(super) struct Queued {
    pub(super) announcement: Announcement,
    pub(super) happened: Timestamp,
    pub(super) since: Instant,
}

/// By namespace; what is told of outputs has a lane of its own.
type Waiting = Arc<Mutex<Lanes<Option<Namespace>, Queued>>>;

/// Where announcements are put. Clones share one backlog.
#[derive(Debug, Clone)]
pub(super) struct Entrance {
    waiting: Waiting,
    tokens: mpsc::Sender<()>,
}

/// Where they are taken out.
#[derive(Debug)]
pub(super) struct Exit {
    waiting: Waiting,
    tokens: mpsc::Receiver<()>,
}

/// An empty backlog.
pub(super) fn backlog() -> (Entrance, Exit) {
    let waiting = Waiting::default();
    let (sender, receiver) = mpsc::channel(ROOM);
    (Entrance { waiting: Arc::clone(&waiting), tokens: sender }, Exit { waiting, tokens: receiver })
}

fn lock(waiting: &Waiting) -> MutexGuard<'_, Lanes<Option<Namespace>, Queued>> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Entrance {
    /// Puts an announcement in; answers whether nothing was lost for it. Never waits.
    pub(super) fn put(&self, queued: Queued) -> bool {
        let lane = match &queued.announcement.regarding {
            Object::Binding(key, _) => Some(key.namespace.clone()),
            Object::Output(..) => None,
        };
        let mut waiting = lock(&self.waiting);
        waiting.push(lane, queued);
        // No token is left when all are taken, or when nobody sends any more.
        let room = self.tokens.try_send(()).is_ok();
        if !room {
            waiting.pop_of_fullest();
        }
        room
    }
}

impl Exit {
    /// The next announcement; none when nobody is left who could put one in.
    pub(super) async fn next(&mut self) -> Option<Queued> {
        self.tokens.recv().await?;
        lock(&self.waiting).pop()
    }
}
