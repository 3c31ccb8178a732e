//! Whether the API server serves a kind. Discovery lags behind a CustomResourceDefinition's last event by tens of
//! milliseconds, and no further event tells when it has caught up: so it is asked again, with a bounded back-off.

use std::time::Duration;

use kleym_core::fact::Trouble;
use kleym_core::kind::Kind;
use kube::Client;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::News;
use crate::client::{self, CALL_DEADLINE};

const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// How often discovery may say no before the kind counts as not served: about five seconds.
const NOES: u32 = 12;

/// Waits until the kind is served. What is wrong when that takes long is told as news: that it is not served (then
/// nothing is asked until the definition changes) or that discovery fails (then it is asked again).
pub(super) async fn wait(client: Client, kind: Kind, news: mpsc::Sender<News>) {
    // A driver that is gone is noticed at the next news.
    let report = async |trouble| drop(news.send(News::Trouble(kind, Some(trouble))).await);
    let mut pause = FIRST_PAUSE;
    let mut noes = 0;
    loop {
        match ask(&client, kind).await {
            Ok(true) => return,
            Ok(false) => {
                noes += 1;
                if noes == NOES {
                    report(Trouble::NotServed).await;
                    std::future::pending::<()>().await;
                }
                pause = (pause * 2).min(Duration::from_millis(500));
            }
            Err(trouble) => {
                report(trouble).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
        sleep(pause).await;
    }
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
