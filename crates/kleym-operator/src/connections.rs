//! Connections of whoever asks the operator something: health probes and metrics. Each has one request, a time to send its
//! head and a time to be over, so that a client that opens connections and says nothing keeps nobody else out.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

/// How long a client has to send its request's head.
pub(crate) const HEAD_DEADLINE: Duration = Duration::from_secs(5);
/// How many bytes a request's head may have.
pub(crate) const HEAD_BYTES: usize = 16 * 1024;
/// How long a connection may be there, from its first byte to its last.
const CONNECTION_DEADLINE: Duration = Duration::from_secs(30);
/// How long connections may take to end when the process stops.
const STOP_DEADLINE: Duration = Duration::from_secs(1);
/// The pause after a connection that could not be accepted, because there are too many open files, say.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How many connections there may be at once; others wait to be accepted.
#[derive(Debug, Clone, Copy)]
pub(crate) enum AtOnce {
    /// So many.
    UpTo(usize),
    /// Any number: nobody may be kept waiting.
    Unlimited,
}

/// Accepts connections, and has each answered beside the others, until it is told to stop.
pub(crate) async fn serve<F>(
    listener: TcpListener,
    at_once: AtOnce,
    stop: CancellationToken,
    answer: impl Fn(TcpStream) -> F,
) where
    F: Future<Output = anyhow::Result<()>> + Send + 'static,
{
    let places = match at_once {
        AtOnce::UpTo(places) => places,
        AtOnce::Unlimited => Semaphore::MAX_PERMITS,
    };
    let open = Arc::new(Semaphore::new(places));
    let mut connections = JoinSet::new();
    let accepting = async {
        loop {
            let Ok(place) = Arc::clone(&open).acquire_owned().await else { return };
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::debug!(%error, "a connection was not accepted");
                    sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let answering = answer(stream);
            connections.spawn(async move {
                if let Ok(Err(error)) = timeout(CONNECTION_DEADLINE, answering).await {
                    tracing::debug!("a connection failed: {error:#}");
                }
                drop(place);
            });
            while connections.try_join_next().is_some() {}
        }
    };
    tokio::select! {
        () = accepting => {}
        () = stop.cancelled() => {}
    }
    let finish = async { while connections.join_next().await.is_some() {} };
    let _ = timeout(STOP_DEADLINE, finish).await;
}

/// Answers the one request of a connection.
pub(crate) async fn answer(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    router: Router,
    head_deadline: Duration,
) -> anyhow::Result<()> {
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(head_deadline)
        .max_buf_size(HEAD_BYTES)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
        .await
        .context("no HTTP")
}
