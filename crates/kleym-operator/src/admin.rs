//! `/healthz` and `/readyz`: alive while the process runs its tasks; ready while every kind can be read.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::bind::bind;
use crate::connections::{self, AtOnce, HEAD_DEADLINE};
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
/// Never; a connection that fails concerns nobody else.
pub async fn serve(
    listener: TcpListener,
    readiness: watch::Receiver<Unready>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    serve_within(HEAD_DEADLINE, listener, readiness, stop).await
}

async fn serve_within(
    head_deadline: Duration,
    listener: TcpListener,
    readiness: watch::Receiver<Unready>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let router = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .with_state(readiness);
    // A probe that waits for its turn would fail, and have a process restarted that is well.
    connections::serve(listener, AtOnce::Unlimited, stop, |stream| {
        connections::answer(stream, router.clone(), head_deadline)
    })
    .await;
    Ok(())
}

async fn readyz(State(readiness): State<watch::Receiver<Unready>>) -> (StatusCode, String) {
    let unready = readiness.borrow().clone();
    if unready.is_empty() {
        (StatusCode::OK, "ok\n".to_owned())
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, unready.join("\n") + "\n")
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;

    async fn ask(address: SocketAddr, request: &[u8]) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request).await.unwrap();
        rest_of(&mut stream).await
    }

    /// What comes until the other side ends the connection; it may reset it.
    async fn rest_of(stream: &mut TcpStream) -> String {
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8(answer).unwrap()
    }

    #[tokio::test]
    async fn clients_that_say_nothing_are_sent_away_and_keep_no_probe_waiting() {
        let listener = listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (unready, readiness) = watch::channel(vec!["starting".to_owned()]);
        let stop = CancellationToken::new();
        let deadline = Duration::from_millis(200);
        let serving = tokio::spawn(serve_within(deadline, listener, readiness, stop.clone()));
        let mut silent = Vec::new();
        for _ in 0..100 {
            silent.push(TcpStream::connect(address).await.unwrap());
        }
        let probe = ask(address, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert!(probe.starts_with("HTTP/1.1 200 ") && probe.ends_with("ok\n"), "{probe}");
        let probe = ask(address, b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert!(probe.starts_with("HTTP/1.1 503 ") && probe.ends_with("starting\n"), "{probe}");
        unready.send_replace(Vec::new());
        let probe = ask(address, b"GET /readyz HTTP/1.0\r\n\r\n").await;
        assert!(probe.starts_with("HTTP/1.0 200 "), "{probe}");
        // Each of them ends, although nothing was sent.
        for stream in &mut silent {
            assert!(!rest_of(stream).await.contains("200"));
        }
        let slow = ask(address, b"GET /healthz HTTP/1.1\r\n").await;
        assert!(!slow.starts_with("HTTP/1.1 200 "), "{slow}");
        stop.cancel();
        serving.await.unwrap().unwrap();
    }
}
