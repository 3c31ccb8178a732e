//! How much of an answer is read: a whole answer up to a size, a watch line by line, each up to the same size. The operator
//! has the same rule; the two never meet, so each has its own layer.
//!
//! Guarantees: whoever answers, and that may be anybody who stands where a kubeconfig points, no more than [`LARGEST`] bytes
//! of an answer are held at once. What is larger is [`TooLarge`], which says nothing about the cluster. A page of a list can
//! be larger: then a smaller one is asked for ([`super::list`]).

use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures::TryFutureExt;
use futures::future::MapOk;
use http::{Request, Response, Uri};
use http_body::{Body, Frame, SizeHint};
use tower::{BoxError, Layer, Service};

/// The most bytes of an answer, or of one line of a watch.
const LARGEST: usize = 16 << 20;

/// An answer, or a line of a watch, that was given up because of its size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooLarge;

impl fmt::Display for TooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the answer is larger than {} MiB and was not read", LARGEST >> 20)
    }
}

impl Error for TooLarge {}

impl TooLarge {
    /// Whether an error comes from this.
    pub(super) fn caused(error: &(dyn Error + 'static)) -> bool {
        let mut next = Some(error);
        while let Some(error) = next {
            if error.is::<Self>() {
                return true;
            }
            next = error.source();
        }
        false
    }
}

/// Bounds answers; a layer of the client.
#[derive(Debug, Clone, Copy)]
pub(super) struct BoundAnswers;

/// A client's service with its answers bounded.
#[derive(Debug, Clone)]
pub(super) struct Bounded<S> {
    inner: S,
}

impl<S> Layer<S> for BoundAnswers {
    type Service = Bounded<S>;

    fn layer(&self, inner: S) -> Bounded<S> {
        Bounded { inner }
    }
}

impl<S, A, B> Service<Request<A>> for Bounded<S>
where
    S: Service<Request<A>, Response = Response<B>>,
{
    type Response = Response<Measured<B>>;
    type Error = S::Error;
    type Future = MapOk<S::Future, Box<dyn FnOnce(Response<B>) -> Self::Response + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<A>) -> Self::Future {
        let watches = is_watch(request.uri());
        self.inner.call(request).map_ok(Box::new(move |answer| {
            // What a watch is refused with is no line.
            let by_line = watches && answer.status().is_success();
            answer.map(|inner| Measured { inner, by_line, length: 0 })
        }))
    }
}

fn is_watch(uri: &Uri) -> bool {
    uri.query().is_some_and(|query| query.split('&').any(|pair| pair == "watch=true"))
}

/// A body that ends with [`TooLarge`] when there is too much of it.
#[derive(Debug)]
pub(super) struct Measured<B> {
    inner: B,
    by_line: bool,
    /// How much has come; of a watch, of its last line.
    length: usize,
}

impl<B> Measured<B> {
    /// Whether everything is small enough with these bytes added.
    fn takes(&mut self, bytes: &[u8]) -> bool {
        if !self.by_line {
            self.length += bytes.len();
            return self.length <= LARGEST;
        }
        let mut parts = bytes.split(|byte| *byte == b'\n');
        // The first part goes on with the last line.
        let mut length = self.length + parts.next().map_or(0, <[u8]>::len);
        let mut longest = length;
        for part in parts {
            length = part.len();
            longest = longest.max(length);
        }
        self.length = length;
        longest <= LARGEST
    }
}

impl<B> Body for Measured<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = match ready!(Pin::new(&mut self.inner).poll_frame(context)) {
            None => return Poll::Ready(None),
            Some(Err(error)) => return Poll::Ready(Some(Err(error.into()))),
            Some(Ok(frame)) => frame,
        };
        let taken = frame.data_ref().is_none_or(|bytes| self.takes(bytes));
        Poll::Ready(Some(if taken { Ok(frame) } else { Err(TooLarge.into()) }))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    // What says beforehand that it is large is not believed: nobody is to set so much aside.
    fn size_hint(&self) -> SizeHint {
        let hint = self.inner.size_hint();
        if hint.lower() > LARGEST as u64 { SizeHint::default() } else { hint }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn takes(by_line: bool, pieces: &[(u8, usize)]) -> bool {
        let mut body = Measured { inner: (), by_line, length: 0 };
        pieces.iter().all(|(byte, times)| body.takes(&vec![*byte; *times]))
    }

    #[test]
    fn an_answer_is_read_up_to_a_size_and_a_watch_line_by_line() {
        let half = LARGEST / 2;
        assert!(takes(false, &[(b' ', half), (b'\n', half)]));
        assert!(!takes(false, &[(b' ', half), (b'\n', half), (b'\n', 1)]));
        assert!(takes(true, &[(b' ', half), (b' ', half), (b'\n', 1), (b' ', LARGEST), (b'\n', LARGEST)]));
        assert!(!takes(true, &[(b' ', half), (b' ', half), (b' ', 1)]));
        assert!(is_watch(&Uri::from_static("/x?allowWatchBookmarks=true&watch=true")));
        assert!(!is_watch(&Uri::from_static("/watch=true?limit=1")));
    }
}
