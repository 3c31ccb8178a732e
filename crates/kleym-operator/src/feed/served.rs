//! Whether the API server serves a kind. Discovery lags behind a CustomResourceDefinition's last event by tens of
//! milliseconds, and no further event tells when it has caught up: so it is asked again, with a bounded back-off. What it
//! says for longer is held against the definition itself.

use std::time::Duration;

use kleym_core::fact::Trouble;
use kleym_core::kind::Kind;
use kube::Client;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::{News, definitions};
use crate::client::{self, CALL_DEADLINE};

const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
const LONGEST_PAUSE_AFTER_A_NO: Duration = Duration::from_millis(500);
/// How often discovery may say no before that is more than a lag: about five seconds.
const NOES: u32 = 12;

/// Waits until the kind is served. What is wrong when that takes long is told as news: that it is not served, where its
/// definition says so too (then nothing is asked until the definition changes); else that discovery fails, which is
/// asked again, because nothing would tell that it is right again.
pub(super) async fn wait(client: Client, kind: Kind, news: mpsc::Sender<News>) {
    // A driver that is gone is noticed at the next news.
    let report = async |trouble| drop(news.send(News::Trouble(kind, None, Some(trouble))).await);
    let mut pause = FIRST_PAUSE;
    let mut noes = 0;
    loop {
        match ask(&client, kind).await {
            Ok(true) => return,
            Ok(false) if noes + 1 < NOES => {
                noes += 1;
                pause = (pause * 2).min(LONGEST_PAUSE_AFTER_A_NO);
            }
            Ok(false) => {
                match is_defined(&client, kind).await {
                    Ok(false) => {
                        report(Trouble::NotServed).await;
                        std::future::pending::<()>().await;
                    }
                    Ok(true) => report(Trouble::Failing).await,
                    // Neither is it known to be served, nor that it is not.
                    Err(trouble) => report(trouble).await,
                }
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            Err(trouble) => {
                report(trouble).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
        sleep(pause).await;
    }
}

/// Whether the kind's definition lists our version as served, whatever discovery says. A definition that is not there does
/// not; whether it is gone is for the watch of definitions to tell.
async fn is_defined(client: &Client, kind: Kind) -> Result<bool, Trouble> {
    let request = definitions::by_name(&kind.crd_name()).map_err(|_| Trouble::Failing)?;
    let list = match timeout(CALL_DEADLINE, client::ask(client, request)).await {
        Ok(Ok(list)) => list,
        Ok(Err(kube::Error::Api(status))) if matches!(status.code, 401 | 403) => {
            return Err(Trouble::Forbidden);
        }
        Ok(Err(_)) | Err(_) => return Err(Trouble::Failing),
    };
    let items = definitions::items(&list).ok_or(Trouble::Failing)?;
    let versions = items.iter().filter_map(|item| item.pointer("/spec/versions")?.as_array()).flatten();
    let ours = |version: &Value| {
        version.get("name").and_then(Value::as_str) == Some(kind.version())
            && version.get("served").and_then(Value::as_bool) == Some(true)
    };
    Ok(versions.into_iter().any(ours))
}

/// One question. A 404 is a no of discovery, not a proof of anything.
async fn ask(client: &Client, kind: Kind) -> Result<bool, Trouble> {
    let uri = format!("/apis/{}/{}", kind.group(), kind.version());
    let request = http::Request::get(uri).body(Vec::new()).map_err(|_| Trouble::Failing)?;
    match timeout(CALL_DEADLINE, client::ask(client, request)).await {
        Ok(Ok(list)) => {
            let resources = list.get("resources").and_then(Value::as_array).ok_or(Trouble::Failing)?;
            let named =
                |resource: &Value| resource.get("name").and_then(Value::as_str) == Some(kind.plural());
            Ok(resources.iter().any(named))
        }
        Ok(Err(kube::Error::Api(status))) if status.code == 404 => Ok(false),
        Ok(Err(kube::Error::Api(status))) if matches!(status.code, 401 | 403) => Err(Trouble::Forbidden),
        Ok(Err(_)) | Err(_) => Err(Trouble::Failing),
    }
}
