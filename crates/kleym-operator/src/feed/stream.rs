//! One list-and-watch of one collection, told as reports: what a list brings, what changes, what fails, and that the
//! watch is open again. Unlike the library's watcher it says when it recovers, and no list page can hang.
//!
//! Guarantees: a list is read without a resourceVersion, so it is as new as the request; a watch goes on from the last
//! resourceVersion it was told; whatever could have lost a change (410, an unreadable event, a missing API) is followed by
//! a new list, and lists that follow upon each other have ever longer pauses between them. A page that is too large to be
//! read is asked for again with fewer objects. A watch that broke is opened again only when the API server is not behind
//! what was seen: one whose store was restored from an older snapshot would keep it open and tell nothing. It never ends by
//! itself.

use std::pin::pin;
use std::time::Duration;

use futures::StreamExt;
use http::Request;
use http::header::ACCEPT;
use kleym_core::fact::Trouble;
use kube::Client;
use kube::core::WatchEvent;
use serde_json::Value;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout};

use super::page::{Lean, Page};
use crate::client::{CALL_DEADLINE, TooLarge, describe};
use crate::horizon::Horizon;

/// Objects a page of a list has at the most.
const PAGE: u32 = 500;
/// How many times fewer objects a page has than one that was too large.
const SHRINKS: u32 = 4;
/// How long the API server keeps a watch open.
const WATCH_SECONDS: u64 = 290;
/// It sends a bookmark about every minute, the first to a kind that nobody has asked for before after two: where any came, this
/// long a silence means that the connection is dead, although nobody closed it.
const SILENCE: Duration = Duration::from_secs(180);
/// Where none came: what stands between may swallow them, or the API server have no cache of the kind.
const SILENCE_WITHOUT_BOOKMARKS: Duration = Duration::from_secs(WATCH_SECONDS + 15);
const SHORTEST_WATCH: Duration = Duration::from_secs(1);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// How many lists in a row must be older than what was seen for the store to have gone back. A single one comes from a cache
/// on the way.
const LISTS_THAT_WENT_BACK: u32 = 2;

/// What one list-and-watch says.
#[derive(Debug)]
pub(super) enum Report {
    /// A list begins; an unfinished one before it counts for nothing.
    ListBegins,
    /// An object of the list.
    ListItem(Value),
    /// The list is complete.
    ListEnds,
    /// An object was created or changed.
    Put(Value),
    /// An object is gone.
    Gone(Value),
    /// The list that has ended was begun after this was asked for.
    Anew(u64),
    /// The watch is open: nothing is wrong.
    Open,
    /// A list failed, or the watch cannot be opened; it is tried again.
    Failed(Trouble),
    /// Lists, one after the other, are older than what was seen before them: the store was restored from an older snapshot,
    /// and nothing that was seen holds any more.
    WentBack,
}

/// Which collection, in which form.
#[derive(Debug, Clone)]
pub(super) struct Collection {
    /// `/apis/<group>/<version>/...`
    pub(super) path: String,
    /// What a list of it calls itself: anything else that is answered is no list of it.
    pub(super) list_kind: String,
    /// Whether only metadata is asked for.
    pub(super) metadata_only: bool,
    /// How far it was seen to be.
    pub(super) horizon: Horizon,
    /// Whenever this number grows, it is listed again.
    pub(super) anew: Option<watch::Receiver<u64>>,
}

/// Waits until a new list is asked for; answers which. For ever, where nobody asks.
pub(super) async fn asked(anew: &mut Option<watch::Receiver<u64>>) -> u64 {
    if let Some(anew) = anew
        && anew.changed().await.is_ok()
    {
        return *anew.borrow_and_update();
    }
    std::future::pending().await
}

impl Collection {
    /// Whether it is to be listed again.
    fn is_asked(&self) -> bool {
        self.anew.as_ref().is_some_and(|anew| anew.has_changed().unwrap_or(false))
    }
}

/// Why a step did not go on.
enum Broken {
    /// What was seen may have a gap: list again, after a pause if something failed.
    Gap(Option<Trouble>),
    /// The watch could not be opened, or broke: open it again.
    Watch(Option<Trouble>),
    /// A new list is asked for.
    Anew,
    /// Nobody listens any more.
    Ending,
}

/// Why a page of a list was not read.
enum Unread {
    /// It is larger than any answer may be.
    TooLarge,
    /// Something is wrong with the kind.
    Trouble(Trouble),
}

impl Unread {
    /// What it says of a kind, when no smaller page can be asked for.
    fn trouble(self) -> Trouble {
        match self {
            Unread::TooLarge => Trouble::Failing,
            Unread::Trouble(trouble) => trouble,
        }
    }
}

impl<T> From<mpsc::error::SendError<T>> for Broken {
    fn from(_: mpsc::error::SendError<T>) -> Self {
        Broken::Ending
    }
}

/// Lists and watches until nobody listens.
pub(super) async fn follow(client: Client, collection: Collection, reports: mpsc::Sender<Report>) {
    let mut source = Source {
        client,
        collection,
        reports,
        version: None,
        listed: None,
        broke: false,
        bookmarked: false,
        behind: 0,
    };
    let (mut pause, mut between_lists) = (FIRST_PAUSE, FIRST_PAUSE);
    loop {
        let trouble = match source.once(&mut pause).await {
            Ok(()) => continue,
            Err(Broken::Ending) => return,
            Err(Broken::Anew) => {
                source.version = None;
                continue;
            }
            Err(Broken::Gap(trouble)) => {
                source.version = None;
                // A gap that follows upon a list is there after the next one too, as a rule.
                if trouble.is_none() && source.listed.is_some_and(|at| at.elapsed() < LONGEST_PAUSE) {
                    source.rest_for(between_lists).await;
                    between_lists = (between_lists * 2).min(LONGEST_PAUSE);
                } else {
                    between_lists = FIRST_PAUSE;
                }
                trouble
            }
            Err(Broken::Watch(trouble)) => {
                source.broke = true;
                trouble
            }
        };
        if let Some(trouble) = trouble {
            if source.reports.send(Report::Failed(trouble)).await.is_err() {
                return;
            }
            source.rest_for(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

struct Source {
    client: Client,
    collection: Collection,
    reports: mpsc::Sender<Report>,
    /// The resourceVersion to watch from; none when a list is due.
    version: Option<String>,
    /// When the last list was complete.
    listed: Option<Instant>,
    /// Whether the last watch broke, or ended before its time.
    broke: bool,
    /// Whether the API server sends bookmarks.
    bookmarked: bool,
    /// How many lists in a row were older than what was seen before them.
    behind: u32,
}

impl Source {
    /// Does nothing for between half and all of a time, so that watches that failed together do not come back together.
    async fn rest_for(&self, pause: Duration) {
        let jitter = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), &self.collection.path);
        sleep(pause / 2 + pause / 2 * u32::from((jitter & 0xff) as u8) / 255).await;
    }

    /// One list, if one is due, and one watch until it ends.
    async fn once(&mut self, pause: &mut Duration) -> Result<(), Broken> {
        if self.collection.is_asked() {
            self.version = None;
        }
        let version = match self.version.clone() {
            Some(version) => {
                if self.broke {
                    self.is_not_behind().await?;
                }
                version
            }
            None => {
                let version = self.list().await?;
                self.version = Some(version.clone());
                version
            }
        };
        self.watch(&version, pause).await
    }

    fn request(&self, query: &str) -> Result<Request<Vec<u8>>, Broken> {
        let accept = match (self.collection.metadata_only, query.contains("watch=")) {
            (false, _) => "application/json",
            (true, true) => "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1",
            (true, false) => "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1",
        };
        Request::get(format!("{}?{query}", self.collection.path))
            .header(ACCEPT, accept)
            .body(Vec::new())
            .map_err(|_| Broken::Gap(Some(Trouble::Failing)))
    }

    /// A complete list, page by page; answers its resourceVersion.
    async fn list(&mut self) -> Result<String, Broken> {
        let before = self.collection.horizon.before();
        let anew = self.collection.anew.as_mut().map(|anew| *anew.borrow_and_update());
        self.reports.send(Report::ListBegins).await?;
        let (mut limit, mut place) = (PAGE, String::new());
        loop {
            let page = match self.page(&format!("limit={limit}{place}")).await {
                Ok(page) => page,
                Err(Unread::TooLarge) if limit > 1 => {
                    limit = (limit / SHRINKS).max(1);
                    tracing::info!(
                        path = self.collection.path,
                        limit,
                        "a page is asked for again, with fewer objects"
                    );
                    continue;
                }
                Err(unread) => return Err(Broken::Gap(Some(unread.trouble()))),
            };
            let page = self.read(&page).map_err(|trouble| Broken::Gap(Some(trouble)))?;
            for object in page.objects() {
                match object {
                    Ok(Lean(object)) => self.reports.send(Report::ListItem(object)).await?,
                    Err(error) => {
                        tracing::error!(path = self.collection.path, %error, "a list holds what is no object");
                    }
                }
            }
            let (version, next) = (page.version().to_owned(), page.next().to_owned());
            if !next.is_empty() {
                place = format!("&continue={}", encoded(&next));
            } else if version.is_empty() || version == "0" {
                return Err(Broken::Gap(Some(Trouble::Failing)));
            } else if before.is_after(&version) {
                return Err(self.is_behind(&version).await);
            } else {
                self.behind = 0;
                self.broke = false;
                self.collection.horizon.saw(&version);
                self.reports.send(Report::ListEnds).await?;
                if let Some(anew) = anew {
                    self.reports.send(Report::Anew(anew)).await?;
                }
                self.listed = Some(Instant::now());
                return Ok(version);
            }
        }
    }

    /// One page of a list, as it was sent.
    async fn page(&self, query: &str) -> Result<String, Unread> {
        let failing = Unread::Trouble(Trouble::Failing);
        let Ok(request) = self.request(query) else { return Err(failing) };
        match timeout(CALL_DEADLINE, self.client.request_text(request)).await {
            Ok(Ok(page)) => Ok(page),
            Ok(Err(error)) => {
                tracing::warn!(path = self.collection.path, error = describe(&error), "a list failed");
                let too_large = TooLarge::caused(&error);
                Err(if too_large { Unread::TooLarge } else { Unread::Trouble(trouble_of(&error)) })
            }
            Err(_) => {
                tracing::warn!(path = self.collection.path, "a list was not answered in time");
                Err(failing)
            }
        }
    }

    /// What a page says, if it is one of this collection's lists.
    fn read<'a>(&self, page: &'a str) -> Result<Page<'a>, Trouble> {
        match Page::read(page.as_bytes()) {
            Ok(page) if page.kind() == self.collection.list_kind => Ok(page),
            Ok(_) => {
                tracing::warn!(path = self.collection.path, "a list was answered by something else");
                Err(Trouble::Failing)
            }
            Err(error) => {
                tracing::warn!(path = self.collection.path, %error, "a list cannot be read");
                Err(Trouble::Failing)
            }
        }
    }

    /// Makes sure, before a watch that broke is opened again, that the API server has not gone back behind what was seen.
    async fn is_not_behind(&mut self) -> Result<(), Broken> {
        let before = self.collection.horizon.before();
        let page = match self.page("limit=1").await {
            Ok(page) => page,
            Err(unread) => return Err(Broken::Watch(Some(unread.trouble()))),
        };
        let page = self.read(&page).map_err(|trouble| Broken::Watch(Some(trouble)))?;
        if before.is_after(page.version()) {
            return Err(Broken::Gap(None));
        }
        self.broke = false;
        Ok(())
    }

    /// A list is older than what was seen before it was asked for.
    async fn is_behind(&mut self, version: &str) -> Broken {
        self.behind += 1;
        tracing::warn!(
            path = self.collection.path,
            version,
            "a list is older than what was seen before: it comes from a cache, or the store was restored"
        );
        if self.behind >= LISTS_THAT_WENT_BACK && self.reports.send(Report::WentBack).await.is_err() {
            return Broken::Ending;
        }
        Broken::Gap(Some(Trouble::Failing))
    }

    async fn watch(&mut self, version: &str, pause: &mut Duration) -> Result<(), Broken> {
        let query = format!(
            "watch=true&allowWatchBookmarks=true&timeoutSeconds={WATCH_SECONDS}&resourceVersion={}",
            encoded(version)
        );
        let opened = timeout(CALL_DEADLINE, self.client.request_events::<Lean>(self.request(&query)?)).await;
        let events = match opened {
            Ok(Ok(events)) => events,
            Ok(Err(error)) => return Err(self.not_opened(&error)),
            Err(_) => return Err(Broken::Watch(Some(Trouble::Failing))),
        };
        let opened_at = Instant::now();
        let pause_before = std::mem::replace(pause, FIRST_PAUSE);
        self.reports.send(Report::Open).await?;
        let mut events = pin!(events);
        loop {
            let silence = if self.bookmarked { SILENCE } else { SILENCE_WITHOUT_BOOKMARKS };
            let event = tokio::select! {
                event = timeout(silence, events.next()) => event,
                _ = asked(&mut self.collection.anew) => return Err(Broken::Anew),
            };
            let event = match event {
                Ok(Some(Ok(event))) => event,
                // The API server closes a watch when its time is over. One that it closes at once is not asked for in a
                // tight loop.
                Ok(None) => {
                    self.broke = opened_at.elapsed() < Duration::from_secs(WATCH_SECONDS - 5);
                    sleep(SHORTEST_WATCH.saturating_sub(opened_at.elapsed())).await;
                    return Ok(());
                }
                // What is too large now is too large in a moment: a new list shows what can be read, and each time later.
                Ok(Some(Err(error))) if TooLarge::caused(&error) => {
                    tracing::warn!(path = self.collection.path, error = describe(&error), "a watch broke");
                    *pause = pause_before;
                    return Err(Broken::Gap(Some(Trouble::Failing)));
                }
                Ok(Some(Err(kube::Error::ReadEvents(error)))) => {
                    tracing::debug!(path = self.collection.path, %error, "a watch broke");
                    return Err(Broken::Watch(None));
                }
                Ok(Some(Err(error))) => {
                    let error = describe(&error);
                    tracing::warn!(path = self.collection.path, error, "a watch sent what cannot be read");
                    return Err(Broken::Gap(None));
                }
                Err(_) => {
                    tracing::warn!(
                        path = self.collection.path,
                        ?silence,
                        "a watch went silent; it is opened again"
                    );
                    return Err(Broken::Watch(None));
                }
            };
            match event {
                WatchEvent::Added(Lean(object)) | WatchEvent::Modified(Lean(object)) => {
                    self.note_version(&object);
                    self.reports.send(Report::Put(object)).await?;
                }
                WatchEvent::Deleted(Lean(object)) => {
                    self.note_version(&object);
                    self.reports.send(Report::Gone(object)).await?;
                }
                WatchEvent::Bookmark(bookmark) => {
                    self.bookmarked = true;
                    self.collection.horizon.saw(&bookmark.metadata.resource_version);
                    self.version = Some(bookmark.metadata.resource_version);
                }
                WatchEvent::Error(status) => {
                    tracing::debug!(
                        path = self.collection.path,
                        code = status.code,
                        "a watch ended with an error"
                    );
                    return Err(Broken::Gap((status.code != 410).then_some(Trouble::Failing)));
                }
            }
        }
    }

    fn not_opened(&self, error: &kube::Error) -> Broken {
        let code = match error {
            kube::Error::Api(status) => status.code,
            _ => 0,
        };
        if code == 410 {
            return Broken::Gap(None);
        }
        tracing::warn!(path = self.collection.path, error = describe(error), "a watch could not be opened");
        let trouble = Some(trouble_of(error));
        if code == 404 { Broken::Gap(trouble) } else { Broken::Watch(trouble) }
    }

    fn note_version(&mut self, object: &Value) {
        if let Some(version) = object.pointer("/metadata/resourceVersion").and_then(Value::as_str) {
            self.collection.horizon.saw(version);
            self.version = Some(version.to_owned());
        }
    }
}

/// What a failed list or a watch that cannot be opened says of a kind. Nothing of it is an absence.
fn trouble_of(error: &kube::Error) -> Trouble {
    match error {
        kube::Error::Api(status) => match status.code {
            401 | 403 => Trouble::Forbidden,
            404 => Trouble::NotServed,
            _ => Trouble::Failing,
        },
        _ => Trouble::Failing,
    }
}

/// Percent-encodes a query value: everything but unreserved characters (RFC 3986 section 2.3).
fn encoded(value: &str) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(value.len());
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_value_is_encoded() {
        assert_eq!(encoded("eyJ2Ij+/=&"), "eyJ2Ij%2B%2F%3D%26");
    }
}
