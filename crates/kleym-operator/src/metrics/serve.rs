//! The page that metrics are read from: plain, or by TLS to readers with a permission.
//!
//! Guarantees: one request a connection, and a bound on how many there are, how long one may take and how much it may send,
//! so that nobody keeps a scraper out for long; no page without a permission, where one is asked for.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::extract::State;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use kube::Client;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::review::{PATH, Reviewer, Unanswered, Verdict};
use super::tls::{Certificate, Tls};
use super::{CONTENT_TYPE as OPEN_METRICS, Metrics};
use crate::bind::bind;
use crate::connections::{self, AtOnce, HEAD_DEADLINE, answer};

/// How many connections there may be at once; others wait to be accepted.
const CONNECTIONS: usize = 32;
/// How long a client has to agree on TLS.
const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(5);

/// What protects the metrics.
#[derive(Debug, Clone)]
pub struct Secure {
    tls: Arc<Tls>,
    reviewer: Arc<Reviewer>,
}

impl Secure {
    /// Takes the certificate into use; readers are asked about with this client.
    ///
    /// # Errors
    /// When the certificate cannot be used.
    pub async fn new(certificate: Certificate, client: &Client) -> anyhow::Result<Self> {
        let tls = Tls::load(certificate).await.context("cannot protect the metrics")?;
        Ok(Self { tls: Arc::new(tls), reviewer: Arc::new(Reviewer::new(client)) })
    }
}

/// Opens the listener, so that a taken address stops the start.
///
/// # Errors
/// When the address cannot be listened on.
pub async fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let listener = bind(address).await;
    let listener = listener.with_context(|| format!("cannot listen on `{address}` for metrics"))?;
    // With port 0 nobody else knows it.
    let address = listener.local_addr().context("a listener without an address")?;
    tracing::info!(%address, "listening for metrics requests");
    Ok(listener)
}

/// Serves `/metrics` until it is told to stop.
///
/// # Errors
/// Never; a connection that fails concerns nobody else.
pub async fn serve(
    listener: TcpListener,
    secure: Option<Secure>,
    metrics: Metrics,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    serve_within(HEAD_DEADLINE, listener, secure, metrics, stop).await
}

async fn serve_within(
    head_deadline: Duration,
    listener: TcpListener,
    secure: Option<Secure>,
    metrics: Metrics,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let (tls, reviewer) = secure.map(|secure| (secure.tls, secure.reviewer)).unzip();
    let router = Router::new().route(PATH, get(page)).with_state(Page { metrics, reviewer });
    connections::serve(listener, AtOnce::UpTo(CONNECTIONS), stop, |stream| {
        connection(stream, tls.clone(), router.clone(), head_deadline)
    })
    .await;
    Ok(())
}

async fn connection(
    stream: TcpStream,
    tls: Option<Arc<Tls>>,
    router: Router,
    head_deadline: Duration,
) -> anyhow::Result<()> {
    let Some(tls) = tls else { return answer(stream, router, head_deadline).await };
    let acceptor = TlsAcceptor::from(tls.config().await);
    let stream = timeout(HANDSHAKE_DEADLINE, acceptor.accept(stream)).await.context("TLS took too long")?;
    answer(stream.context("no TLS")?, router, head_deadline).await
}

#[derive(Debug, Clone)]
struct Page {
    metrics: Metrics,
    reviewer: Option<Arc<Reviewer>>,
}

async fn page(State(page): State<Page>, headers: HeaderMap) -> Response {
    let verdict = match (&page.reviewer, bearer(&headers)) {
        (None, _) => Ok(Verdict::Allowed),
        (Some(_), None) => Ok(Verdict::Unauthenticated),
        (Some(reviewer), Some(token)) => reviewer.review(token).await,
    };
    match verdict {
        Ok(Verdict::Allowed) => ([(CONTENT_TYPE, OPEN_METRICS)], page.metrics.text()).into_response(),
        Ok(Verdict::Unauthenticated) => {
            let say = "show a token that the API server knows: `Authorization: Bearer <token>`\n";
            (StatusCode::UNAUTHORIZED, [(WWW_AUTHENTICATE, "Bearer")], say).into_response()
        }
        Ok(Verdict::Forbidden) => {
            let say = "the token's user may not `get` the non-resource URL `/metrics`; bind a ClusterRole that allows it\n";
            (StatusCode::FORBIDDEN, say).into_response()
        }
        Err(Unanswered) => {
            let say = "the API server did not say who you are or what you may do; see the operator's log\n";
            (StatusCode::SERVICE_UNAVAILABLE, say).into_response()
        }
    }
}

/// The token of `Authorization: Bearer <token>`.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::task::JoinHandle;

    use super::*;
    use crate::connections::HEAD_BYTES;

    /// The page served plainly on loopback.
    struct Served {
        address: SocketAddr,
        stop: CancellationToken,
        task: JoinHandle<anyhow::Result<()>>,
    }

    impl Served {
        async fn start() -> Self {
            Self::start_within(HEAD_DEADLINE).await
        }

        async fn start_within(head_deadline: Duration) -> Self {
            let listener = listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
            let address = listener.local_addr().unwrap();
            let stop = CancellationToken::new();
            let task =
                tokio::spawn(serve_within(head_deadline, listener, None, Metrics::default(), stop.clone()));
            Self { address, stop, task }
        }

        /// Sends this much and gives what comes back until the connection ends.
        async fn ask(&self, request: &[u8]) -> String {
            let mut stream = TcpStream::connect(self.address).await.unwrap();
            stream.write_all(request).await.unwrap();
            let mut answer = Vec::new();
            // A server that had enough may reset the connection.
            let _ = stream.read_to_end(&mut answer).await;
            String::from_utf8(answer).unwrap()
        }
    }

    #[tokio::test]
    async fn the_page_is_openmetrics_and_there_is_no_other() {
        let served = Served::start().await;
        let answer = served.ask(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        assert!(
            head.contains("content-type: application/openmetrics-text; version=1.0.0; charset=utf-8"),
            "{head}"
        );
        assert!(body.ends_with("# EOF\n"), "{body}");
        for (request, code) in [("GET /", 404), ("GET /metrics/", 404), ("POST /metrics", 405)] {
            let answer = served.ask(format!("{request} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {code} ")), "{request}: {answer}");
        }
    }

    #[tokio::test]
    async fn a_head_that_is_too_long_is_not_read_to_its_end() {
        let served = Served::start().await;
        let mut request = b"GET /metrics HTTP/1.1\r\nHost: x\r\nX: ".to_vec();
        request.extend(vec![b'x'; 4 * HEAD_BYTES]);
        let answer = served.ask(&request).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431 "), "{answer}");
    }

    #[tokio::test]
    async fn a_client_that_sends_its_head_too_slowly_is_sent_away_and_another_has_its_place() {
        let served = Served::start_within(Duration::from_millis(20)).await;
        // More than there is room for: the last ones are accepted when the first were sent away.
        let slow = (0..CONNECTIONS + 3).map(|_| served.ask(b"GET /metrics HTTP/1.1\r\n"));
        for answer in futures::future::join_all(slow).await {
            assert!(!answer.starts_with("HTTP/1.1 200 "), "{answer}");
        }
        let answer = served.ask(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }

    #[tokio::test]
    async fn it_ends_when_it_is_told_to_stop() {
        let served = Served::start().await;
        served.stop.cancel();
        served.task.await.unwrap().unwrap();
        assert!(TcpStream::connect(served.address).await.is_err());
    }

    #[test]
    fn a_token_is_taken_from_a_bearer_header_and_from_no_other() {
        for (header, token) in [
            ("Bearer abc", Some("abc")),
            ("bearer  abc ", Some("abc")),
            ("Bearer", None),
            ("Basic abc", None),
            ("", None),
        ] {
            let headers = HeaderMap::from_iter([(AUTHORIZATION, header.parse().unwrap())]);
            assert_eq!(bearer(&headers), token, "{header:?}");
        }
        assert_eq!(bearer(&HeaderMap::new()), None);
    }
}
