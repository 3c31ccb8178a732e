//! The connections of the proxy: one call in, one answer out, and in between what a fault asks for.

use std::io;
use std::sync::Arc;

use axum::body::{Body, Bytes, to_bytes};
use axum::http::{HeaderMap, Method, Request, Response, Uri};
use futures::stream;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use kube::Client;
use tokio::net::TcpListener;
use tokio::time::sleep;

use super::asked::passed_on;
use super::fault::{Fault, Reply};
use super::{Asked, Fate, Point, Shared};

/// Larger than anything that an API server takes.
const LARGEST_REQUEST: usize = 16 << 20;

pub(super) async fn accept(listener: TcpListener, client: Client, shared: Arc<Shared>) {
    // When the proxy goes, its connections go.
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        // An answer is small, and whoever measures its way does not want to wait for more of it.
        let _ = stream.set_nodelay(true);
        let (client, shared) = (client.clone(), Arc::clone(&shared));
        let service = service_fn(move |request| {
            // Not part of the connection: what was let through is carried out, whoever is gone by then.
            let call = tokio::spawn(answer(client.clone(), Arc::clone(&shared), request));
            async { call.await.map_err(io::Error::other)? }
        });
        // An error is a client that went away, or a fault.
        connections.spawn(async move {
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
        while connections.try_join_next().is_some() {}
    }
}

type Answered = io::Result<Response<Body>>;

fn cut() -> io::Error {
    io::ErrorKind::ConnectionReset.into()
}

async fn answer(client: Client, shared: Arc<Shared>, request: Request<Incoming>) -> Answered {
    let (parts, body) = request.into_parts();
    let body = to_bytes(Body::new(body), LARGEST_REQUEST).await.map_err(io::Error::other)?;
    let (method, uri) = (parts.method.clone(), parts.uri.clone());
    let (asked, fate) = shared.arrives(|number| Asked::read(number, &method, &uri, &body));
    let passage = Passage { client, shared, asked, method, uri, headers: parts.headers, body };
    match fate {
        Fate::Passes => passage.pass().await,
        Fate::Suffers(fault) => passage.suffer(fault).await,
        Fate::Stops(limbo, None) => {
            limbo.pass().await;
            Err(cut())
        }
        Fate::Stops(limbo, Some(point)) => {
            let response = match point {
                Point::Before => Err(cut()),
                Point::AfterCommit | Point::AfterReply => passage.pass().await,
            };
            if point == Point::AfterReply {
                passage.shared.springs();
                return response;
            }
            passage.shared.springs();
            limbo.pass().await;
            Err(cut())
        }
    }
}

/// One call on its way.
struct Passage {
    client: Client,
    shared: Arc<Shared>,
    asked: Arc<Asked>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
}

impl Passage {
    async fn suffer(&self, fault: Fault) -> Answered {
        match fault {
            Fault::Answer(reply) => Ok(reply.into()),
            Fault::AnswerAfter(reply) => {
                self.pass().await?;
                Ok(reply.into())
            }
            Fault::Delay(time) => {
                sleep(time).await;
                self.pass().await
            }
            Fault::Hold(gate) => {
                gate.pass().await;
                self.pass().await
            }
            Fault::HoldAnswer(gate) => {
                let response = self.pass().await;
                gate.pass().await;
                response
            }
            Fault::Twice => {
                self.pass().await?;
                self.pass().await
            }
            Fault::Truncate(length) => {
                let (mut parts, body) = self.pass().await?.into_parts();
                let whole = to_bytes(body, usize::MAX).await.map_err(io::Error::other)?;
                parts.headers.insert("content-length", whole.len().into());
                let start = whole.slice(..length.min(whole.len().saturating_sub(1)));
                Ok(Response::from_parts(parts, Body::from_stream(stream::iter([Ok(start), Err(cut())]))))
            }
            Fault::Cut => Err(cut()),
            Fault::CutAfter => {
                self.pass().await?;
                Err(cut())
            }
        }
    }

    /// Has the API server carry it out.
    async fn pass(&self) -> Answered {
        let path = self.uri.path_and_query().map_or("/", |path| path.as_str());
        let mut request = Request::builder().method(self.method.clone()).uri(path);
        for (name, value) in passed_on(&self.headers) {
            request = request.header(name, value);
        }
        let body = kube::client::Body::from(self.body.to_vec());
        let request = request.body(body).map_err(io::Error::other)?;
        // An API server that is away is a connection that breaks.
        let response = self.client.send(request).await.map_err(|_| cut())?;
        let (parts, body) = response.into_parts();
        let mut response = Response::builder().status(parts.status);
        for (name, value) in passed_on(&parts.headers) {
            response = response.header(name, value);
        }
        let body = Body::new(body);
        let body = if self.asked.verb == "watch" && parts.status.is_success() {
            Arc::clone(&self.shared.streams).pass(Arc::clone(&self.asked), body)
        } else {
            // Whole, so that it has happened when it is answered.
            to_bytes(body, usize::MAX).await.map_err(io::Error::other)?.into()
        };
        response.body(body).map_err(io::Error::other)
    }
}

impl From<Reply> for Response<Body> {
    fn from(reply: Reply) -> Self {
        let mut response = Response::builder().status(reply.code);
        for (name, value) in reply.headers {
            response = response.header(name, value);
        }
        let unusable = |error: axum::http::Error| panic!("a test's own answer cannot be sent: {error}");
        response.body(reply.body.into()).unwrap_or_else(unusable)
    }
}
