//! Counts the calls to the API server where they leave: every call of every part of the operator passes here, watches and
//! lease renewals included.

use std::pin::Pin;
use std::task::{Context, Poll};

use http::{Method, Request, Response, StatusCode};
use prometheus_client::registry::Registry;
use tower::{Layer, Service};

use super::names;
use super::table::{Count, Table, Value};

/// Counts calls; a layer of the API client.
#[derive(Debug, Clone)]
pub struct CountCalls {
    table: Table<3, Count>,
    host: Value,
}

/// A client's service with its calls counted.
#[derive(Debug, Clone)]
pub struct Counted<S> {
    inner: S,
    calls: CountCalls,
}

pub(super) fn register(registry: &mut Registry) -> Table<3, Count> {
    Table::register(&names::CALLS, registry)
}

impl CountCalls {
    pub(super) fn new(table: Table<3, Count>, host: &str) -> Self {
        Self { table, host: Value::Owned(host.to_owned()) }
    }

    fn count(&self, method: &'static str, code: &'static str) {
        self.table.count([Value::Borrowed(code), Value::Borrowed(method), self.host.clone()]);
    }
}

impl<S> Layer<S> for CountCalls {
    type Service = Counted<S>;

    fn layer(&self, inner: S) -> Counted<S> {
        Counted { inner, calls: self.clone() }
    }
}

impl<S, A, B> Service<Request<A>> for Counted<S>
where
    S: Service<Request<A>, Response = Response<B>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<A>) -> Self::Future {
        // A call that nobody waits for any more was made all the same, and has no answer.
        let mut call =
            Unanswered { calls: self.calls.clone(), method: method_of(request.method()), open: true };
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await;
            if let Ok(answer) = &answer {
                call.open = false;
                call.calls.count(call.method, code_of(answer.status()));
            }
            answer
        })
    }
}

/// A call without an answer; counted as such when it is dropped.
struct Unanswered {
    calls: CountCalls,
    method: &'static str,
    open: bool,
}

impl Drop for Unanswered {
    fn drop(&mut self) {
        if self.open {
            self.calls.count(self.method, "<error>");
        }
    }
}

fn method_of(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        _ => "other",
    }
}

/// The codes that API servers and what stands before them answer with; any other by its class.
fn code_of(code: StatusCode) -> &'static str {
    const KNOWN: [(u16, &str); 26] = [
        (200, "200"),
        (201, "201"),
        (202, "202"),
        (204, "204"),
        (301, "301"),
        (302, "302"),
        (304, "304"),
        (307, "307"),
        (400, "400"),
        (401, "401"),
        (403, "403"),
        (404, "404"),
        (405, "405"),
        (406, "406"),
        (408, "408"),
        (409, "409"),
        (410, "410"),
        (413, "413"),
        (415, "415"),
        (422, "422"),
        (425, "425"),
        (429, "429"),
        (500, "500"),
        (502, "502"),
        (503, "503"),
        (504, "504"),
    ];
    match KNOWN.iter().find(|(known, _)| *known == code.as_u16()) {
        Some((_, text)) => text,
        None => match code.as_u16() / 100 {
            1 => "1xx",
            2 => "2xx",
            3 => "3xx",
            4 => "4xx",
            _ => "5xx",
        },
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::future::{pending, ready};

    use super::*;
    use crate::metrics::{Metrics, samples};

    /// A service that answers with this code, or not at all.
    #[derive(Clone)]
    struct Server(Option<u16>);

    impl Service<Request<()>> for Server {
        type Response = Response<()>;
        type Error = Infallible;
        type Future = Pin<Box<dyn Future<Output = Result<Response<()>, Infallible>> + Send>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: Request<()>) -> Self::Future {
            match self.0 {
                Some(code) => Box::pin(ready(Ok(Response::builder().status(code).body(()).unwrap()))),
                None => Box::pin(pending()),
            }
        }
    }

    async fn call(metrics: &Metrics, server: Server, method: &str) {
        let mut counted = metrics.count_calls("127.0.0.1:6443").layer(server.clone());
        let answer = counted.call(Request::builder().method(method).body(()).unwrap());
        match server.0 {
            Some(_) => drop(answer.await),
            None => drop(answer),
        }
    }

    #[tokio::test]
    async fn calls_are_counted_by_code_and_method_and_nothing_else_becomes_a_label() {
        let metrics = Metrics::default();
        for (code, method) in
            [(Some(200), "GET"), (Some(200), "GET"), (Some(409), "PUT"), (Some(418), "BREW"), (None, "POST")]
        {
            call(&metrics, Server(code), method).await;
        }
        assert_eq!(
            samples(&metrics, "rest_client_requests"),
            [
                r#"rest_client_requests_total{code="200",method="GET",host="127.0.0.1:6443"} 2"#,
                r#"rest_client_requests_total{code="409",method="PUT",host="127.0.0.1:6443"} 1"#,
                r#"rest_client_requests_total{code="4xx",method="other",host="127.0.0.1:6443"} 1"#,
                r#"rest_client_requests_total{code="<error>",method="POST",host="127.0.0.1:6443"} 1"#,
            ]
        );
    }
}
