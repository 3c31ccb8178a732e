//! The API client: where it connects, how it calls itself, how much of an answer it reads, and that it neither retries nor
//! waits by itself. Retries belong to the queue, deadlines to the callers.

mod answer;

use std::error::Error;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, anyhow};
use http::header::USER_AGENT;
use http::{HeaderValue, Request};
use kleym_core::text::bounded;
use kube::client::ClientBuilder;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::Value;

use crate::metrics::Metrics;
use answer::BoundAnswers;
pub use answer::TooLarge;

/// The longest a single call may take.
pub const CALL_DEADLINE: Duration = Duration::from_secs(10);

/// What an error comes from in the end; the library's errors repeat their causes in their own texts. Its first line: those
/// that follow show the file it was met in, and a kubeconfig holds secrets.
pub(crate) fn cause(error: &dyn Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    bounded(innermost.to_string().lines().next().unwrap_or_default().to_owned())
}

/// Connects as the service account when in a cluster, else by the named kubeconfig or `KUBECONFIG`.
///
/// # Errors
/// Says which configuration cannot be used.
pub async fn connect(kubeconfig: Option<&Path>, metrics: &Metrics) -> anyhow::Result<Client> {
    let mut config = match kubeconfig {
        Some(path) => {
            let file = Kubeconfig::read_from(path)
                .map_err(|error| anyhow!("cannot read the kubeconfig `{}`: {}", path.display(), cause(&error)))?;
            Config::from_custom_kubeconfig(file, &KubeConfigOptions::default())
                .await
                .map_err(|error| anyhow!("cannot use the kubeconfig `{}`: {}", path.display(), cause(&error)))?
        }
        None if std::env::var_os("KUBERNETES_SERVICE_HOST").is_some() => {
            Config::incluster().context("cannot use the service account of the pod")?
        }
        None => Config::from_kubeconfig(&KubeConfigOptions::default()).await.map_err(|error| {
            let cause = cause(&error);
            match std::env::var("KUBECONFIG") {
                Ok(paths) if !paths.is_empty() => {
                    anyhow!("not in a cluster, and `{paths}`, which KUBECONFIG names, cannot be used: {cause}")
                }
                _ => anyhow!(
                    "not in a cluster, and no kubeconfig can be used; give one with --kubeconfig or KUBECONFIG: {cause}"
                ),
            }
        })?,
    };
    config.default_retry = false;
    config.connect_timeout = Some(CALL_DEADLINE);
    let agent = format!("kleym-operator/{}", env!("CARGO_PKG_VERSION"));
    config.headers.push((USER_AGENT, HeaderValue::from_str(&agent).context("the user agent is no header")?));
    let host = config.cluster_url.authority().map(ToString::to_string).unwrap_or_default();
    let client = ClientBuilder::try_from(config).context("cannot set up the API client")?;
    // Counted above, so that an answer that was given up counts as none.
    Ok(client.with_layer(&BoundAnswers).with_layer(&metrics.count_calls(&host)).build())
}

/// Asks, and reads JSON. The library would log the whole of an answer that is none.
///
/// # Errors
/// Whatever went wrong on the way, and what is no JSON.
pub async fn ask(client: &Client, request: Request<Vec<u8>>) -> kube::Result<Value> {
    let text = client.request_text(request).await?;
    serde_json::from_str(&text).map_err(kube::Error::SerdeError)
}

/// An error as one bounded line for the log: code, reason and message of the API server, or what broke on the way.
pub fn describe(error: &kube::Error) -> String {
    bounded(match error {
        kube::Error::Api(status) => format!("{} {}: {}", status.code, status.reason, status.message),
        other => cause(other),
    })
}
