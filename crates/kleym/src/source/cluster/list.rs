//! Reading collections: paged lists, each page with a deadline, and watches. One request a page, never one an object.
//!
//! A list whose continuation expired (410) is begun again; anything else that fails ends it. A watch is opened again
//! when it ends, from a new list when a change could have been lost.

use std::future::Future;
use std::ops::ControlFlow;
use std::pin::pin;
use std::time::Duration;

use futures::StreamExt;
use http::Request;
use http::header::ACCEPT;
use kleym_api::decode;
use kleym_core::kind::Kind;
use kleym_core::output::{LABEL_MANAGED_BY, MANAGED_BY};
use kube::Client;
use kube::core::WatchEvent;
use serde_json::Value;
use tokio::time::timeout;

use super::answer::TooLarge;
use super::words::why;
use super::{Asked, Collection, Resource, Why};

/// Objects a page has at the most.
const PAGE: usize = 500;
/// By what a page becomes smaller that is too large to be read.
const FEWER: usize = 8;
/// How often a list is begun again because its continuation expired.
const ATTEMPTS: usize = 3;
/// How long the API server is to keep a watch open.
const WATCH_SECONDS: u64 = 290;
/// The pause before a watch that broke is opened again.
const PAUSE: Duration = Duration::from_secs(1);
/// How often in a row that may fail.
const FAILURES: usize = 5;

const METADATA_ONLY: &str = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

/// What a watch tells of an object.
#[derive(Debug)]
pub(crate) enum Seen {
    /// It is there, and like this.
    Put(Value),
    /// It is gone.
    Gone(Value),
}

/// A list, and the version that it shows.
struct Listed {
    items: Vec<Value>,
    version: String,
}

/// Every object of a collection.
pub(super) async fn all(
    client: &Client,
    deadline: Option<Duration>,
    collection: &Collection,
    asked: &Asked,
) -> Result<Vec<Value>, Why> {
    Ok(list(client, deadline, collection, asked).await?.items)
}

async fn list(
    client: &Client,
    deadline: Option<Duration>,
    collection: &Collection,
    asked: &Asked,
) -> Result<Listed, Why> {
    for _ in 0..ATTEMPTS {
        if let Some(listed) = pages(client, deadline, collection, asked).await? {
            return Ok(listed);
        }
    }
    Err(Why::Failing(format!("the list expired {ATTEMPTS} times while it was read")))
}

/// One attempt; `None` when it expired on the way.
async fn pages(
    client: &Client,
    deadline: Option<Duration>,
    collection: &Collection,
    asked: &Asked,
) -> Result<Option<Listed>, Why> {
    let mut items = Vec::new();
    let mut token = String::new();
    let mut limit = PAGE;
    loop {
        asked.requests.set(asked.requests.get() + 1);
        let mut page = match get(client, deadline, collection, limit, &token).await {
            Ok(page) => page,
            // So many objects of such a size are too much; fewer of them may be read.
            Err(error) if limit > 1 && TooLarge::caused(&error) => {
                limit = limit.div_ceil(FEWER);
                continue;
            }
            Err(kube::Error::Api(status)) if status.code == 410 && !token.is_empty() => return Ok(None),
            Err(error) => return Err(why(&error)),
        };
        let Some(Value::Array(found)) = page.get_mut("items").map(Value::take) else {
            return Err(Why::Failing("the answer is not a list".to_owned()));
        };
        asked.objects.set(asked.objects.get() + found.len());
        items.extend(found.into_iter().map(|object| without_managed_fields(collection.resource, object)));
        let metadata = |field: &str| page["metadata"][field].as_str().unwrap_or_default().to_owned();
        token = metadata("continue");
        if token.is_empty() {
            return Ok(Some(Listed { items, version: metadata("resourceVersion") }));
        }
    }
}

/// They are often more than half of an object. What is read of them is who holds an object that is being deleted, and who
/// made a ClusterSPIFFEID that is not Kleym's.
fn without_managed_fields(resource: Resource, mut object: Value) -> Value {
    let foreign = || {
        let label = decode::Meta::of(&object).label(LABEL_MANAGED_BY) == Some(MANAGED_BY);
        resource == Resource::Kind(Kind::Output) && !label
    };
    if object.pointer("/metadata/deletionTimestamp").is_some() || foreign() {
        return object;
    }
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
    object
}

async fn get(
    client: &Client,
    deadline: Option<Duration>,
    collection: &Collection,
    limit: usize,
    token: &str,
) -> kube::Result<Value> {
    let Collection { labels, metadata_only, .. } = collection;
    let mut uri = format!("{}?limit={limit}", collection.path());
    if let Some(labels) = labels {
        uri.push_str(&format!("&labelSelector={}", encoded(labels)));
    }
    if !token.is_empty() {
        uri.push_str(&format!("&continue={}", encoded(token)));
    }
    let mut request = Request::get(uri);
    if *metadata_only {
        request = request.header(ACCEPT, METADATA_ONLY);
    }
    let request = request.body(Vec::new()).map_err(kube::Error::HttpError)?;
    within(deadline, client.request::<Value>(request)).await
}

/// A value of a query. Everything but what is plain in a URL is written as its bytes.
fn encoded(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    text.bytes().map(byte).collect()
}

/// An answer, if it comes in time.
async fn within<T>(
    deadline: Option<Duration>,
    answer: impl Future<Output = kube::Result<T>>,
) -> kube::Result<T> {
    match deadline {
        None => answer.await,
        Some(limit) => match timeout(limit, answer).await {
            Ok(answer) => answer,
            Err(_) => Err(kube::Error::Service(format!("no answer within {limit:?}").into())),
        },
    }
}

/// Whether a CustomResourceDefinition is proved not to exist: a complete list by its name that is empty.
pub(super) async fn definition_is_absent(
    client: &Client,
    deadline: Option<Duration>,
    name: &str,
    asked: &Asked,
) -> kube::Result<bool> {
    asked.requests.set(asked.requests.get() + 1);
    let uri = format!("{DEFINITIONS}?fieldSelector=metadata.name%3D{name}");
    let request = Request::get(uri).body(Vec::new()).map_err(kube::Error::HttpError)?;
    let list = within(deadline, client.request::<Value>(request)).await?;
    let is_list = list["kind"] == "CustomResourceDefinitionList";
    Ok(is_list && list["items"].as_array().is_some_and(Vec::is_empty))
}

/// Follows a collection; see [`super::Cluster::watch`].
pub(super) async fn watch(
    client: &Client,
    deadline: Option<Duration>,
    collection: &Collection,
    asked: &Asked,
    each: &mut dyn FnMut(Seen) -> ControlFlow<()>,
) -> Result<(), Why> {
    let mut version = String::new();
    let mut failures = 0;
    loop {
        if version.is_empty() {
            let listed = list(client, deadline, collection, asked).await?;
            for object in listed.items {
                if each(Seen::Put(object)).is_break() {
                    return Ok(());
                }
            }
            version = listed.version;
        }
        match stream(client, deadline, collection, &mut version, each).await {
            Ok(ControlFlow::Break(())) => return Ok(()),
            Ok(ControlFlow::Continue(())) => failures = 0,
            Err(error) => {
                failures += 1;
                if failures == FAILURES {
                    return Err(why(&error));
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// One watch, until it ends. An empty version asks for a new list.
async fn stream(
    client: &Client,
    deadline: Option<Duration>,
    collection: &Collection,
    version: &mut String,
    each: &mut dyn FnMut(Seen) -> ControlFlow<()>,
) -> kube::Result<ControlFlow<()>> {
    let uri = format!(
        "{}?watch=true&allowWatchBookmarks=true&timeoutSeconds={WATCH_SECONDS}&resourceVersion={}{}",
        collection.path(),
        encoded(version),
        collection
            .labels
            .as_ref()
            .map(|labels| format!("&labelSelector={}", encoded(labels)))
            .unwrap_or_default()
    );
    let request = Request::get(uri).body(Vec::new()).map_err(kube::Error::HttpError)?;
    let events = within(deadline, client.request_events::<Value>(request)).await?;
    let mut events = pin!(events);
    let silence = Duration::from_secs(WATCH_SECONDS + 10);
    while let Ok(Some(event)) = timeout(silence, events.next()).await {
        let newest = |object: &Value| object["metadata"]["resourceVersion"].as_str().map(str::to_owned);
        let seen = match event? {
            WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                *version = newest(&object).unwrap_or_default();
                Seen::Put(without_managed_fields(collection.resource, object))
            }
            WatchEvent::Deleted(object) => {
                *version = newest(&object).unwrap_or_default();
                Seen::Gone(object)
            }
            WatchEvent::Bookmark(mark) => {
                version.clone_from(&mark.metadata.resource_version);
                continue;
            }
            // 410 or worse: what happened meanwhile is only in a new list.
            WatchEvent::Error(_) => {
                version.clear();
                return Ok(ControlFlow::Continue(()));
            }
        };
        if each(seen).is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
    Ok(ControlFlow::Continue(()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_of_a_query_is_only_that_value() {
        assert_eq!(encoded("team=a,b in (c),!d"), "team%3Da%2Cb%20in%20%28c%29%2C%21d");
        assert_eq!(encoded("a&limit=1#\u{e4}"), "a%26limit%3D1%23%C3%A4");
    }
}
