//! `/healthz` and `/readyz`: alive while the process runs its tasks; ready while every kind can be read.

use std::net::SocketAddr;

use anyhow::Context;
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::bind::bind;
use crate::reconciler::Unready;

/// Opens the listener, so that a taken address stops the start.
///
/// # Errors
/// When the address cannot be listened on.
pub async fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let listener = bind(address).await;
    let listener = listener.with_context(|| format!("cannot listen on `{address}` for health probes"))?;
    // With port 0 nobody else knows it.
    let address = listener.local_addr().context("a listener without an address")?;
    tracing::info!(%address, "health probes are answered");
    Ok(listener)
}

/// Serves until it is told to stop.
///
/// # Errors
/// When the listener breaks.
pub async fn serve(
    listener: TcpListener,
    readiness: watch::Receiver<Unready>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let router = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .with_state(readiness);
    axum::serve(listener, router)
        .with_graceful_shutdown(stop.cancelled_owned())
        .await
        .context("the health probe listener broke")
}

async fn readyz(State(readiness): State<watch::Receiver<Unready>>) -> (StatusCode, String) {
    let unready = readiness.borrow().clone();
    if unready.is_empty() {
        (StatusCode::OK, "ok\n".to_owned())
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, unready.join("\n") + "\n")
    }
}
