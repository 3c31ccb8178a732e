//! How much of an answer is read: a call's whole answer up to a size, a watch line by line, each up to the same size.
//!
//! Guarantees: whatever answers, no more than [`LARGEST`] bytes of it are held or parsed at once, so that neither memory nor
//! time that no deadline can cut is anybody else's to spend; what is larger is [`TooLarge`], which says nothing about the
//! cluster.
//!
//! Assumptions: no object is larger. An API server takes requests of 3 MiB, and etcd objects of 1.5 MiB unless it is told
//! otherwise. A page of a list can be larger: whoever asks for one asks for a smaller one then.

use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Either, Full, LengthLimitError, Limited};
use tower::{BoxError, Layer, Service};

/// The most bytes of a call's answer, or of one line of a watch.
const LARGEST: usize = 16 << 20;

/// An answer, or a line of a watch, that was given up because of its size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the answer is larger than {} MiB and was not read", LARGEST >> 20)]
pub struct TooLarge;

impl TooLarge {
    /// Whether an error comes from this.
    pub fn caused(error: &(dyn Error + 'static)) -> bool {
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

/// Bounds answers; a layer of the API client.
#[derive(Debug, Clone, Copy, Default)]
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
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<Either<Full<Bytes>, Lines<B>>>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, request: Request<A>) -> Self::Future {
        let watches = is_watch(request.uri());
        let answer = self.inner.call(request);
        Box::pin(async move {
            let (head, body) = answer.await.map_err(Into::into)?.into_parts();
            let body = if watches && head.status.is_success() {
                Either::Right(Lines { inner: body, length: 0 })
            } else {
                Either::Left(Full::new(whole(body).await?))
            };
            Ok(Response::from_parts(head, body))
        })
    }
}

fn is_watch(uri: &Uri) -> bool {
    uri.query().is_some_and(|query| query.split('&').any(|pair| pair == "watch=true"))
}

async fn whole<B>(body: B) -> Result<Bytes, BoxError>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    // What says beforehand that it is too large need not be begun.
    if body.size_hint().lower() > LARGEST as u64 {
        return Err(TooLarge.into());
    }
    match Limited::new(body, LARGEST).collect().await {
        Ok(read) => Ok(read.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(TooLarge.into()),
        Err(error) => Err(error),
    }
}

/// The body of a watch, which ends with [`TooLarge`] when a line of it has no end.
#[derive(Debug)]
pub(super) struct Lines<B> {
    inner: B,
    /// How much of the last line has come.
    length: usize,
}

impl<B> Lines<B> {
    /// Whether every line is short enough with these bytes added.
    fn takes(&mut self, bytes: &[u8]) -> bool {
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

impl<B> Body for Lines<B>
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

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::future::{Ready, ready};

    use http_body_util::StreamBody;

    use super::*;

    const PIECE: usize = 1 << 20;

    /// A server that answers with pieces of this content, so many of them.
    #[derive(Clone)]
    struct Server(u16, &'static [u8], usize);

    type Pieces = StreamBody<futures::stream::Iter<std::vec::IntoIter<Result<Frame<Bytes>, Infallible>>>>;

    impl Service<Request<()>> for Server {
        type Response = Response<Pieces>;
        type Error = Infallible;
        type Future = Ready<Result<Self::Response, Infallible>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: Request<()>) -> Self::Future {
            let Self(code, content, times) = *self;
            let pieces: Vec<_> = (0..times).map(|_| Ok(Frame::data(Bytes::from_static(content)))).collect();
            let body = StreamBody::new(futures::stream::iter(pieces));
            ready(Ok(Response::builder().status(code).body(body).unwrap()))
        }
    }

    /// How many bytes a client reads; none when it is told that there are too many.
    async fn read(server: Server, uri: &str) -> Option<usize> {
        let request = Request::get(uri).body(()).unwrap();
        let answer = BoundAnswers.layer(server).call(request).await;
        let read = match answer {
            Ok(answer) => answer.into_body().collect().await,
            Err(error) => Err(error),
        };
        match read {
            Ok(read) => Some(read.to_bytes().len()),
            Err(error) => {
                assert!(TooLarge::caused(&*error), "{error}");
                None
            }
        }
    }

    fn line(last: u8) -> &'static [u8] {
        let mut line = vec![b' '; PIECE];
        line[PIECE / 2] = last;
        line.leak()
    }

    #[tokio::test]
    async fn the_answer_to_a_call_is_read_up_to_a_size() {
        let pieces = LARGEST / PIECE;
        for code in [200, 404, 503] {
            assert_eq!(read(Server(code, line(b'\n'), pieces), "/x").await, Some(LARGEST), "{code}");
            assert_eq!(read(Server(code, line(b'\n'), pieces + 1), "/x").await, None, "{code}");
        }
    }

    #[tokio::test]
    async fn a_watch_is_read_for_ever_and_a_line_of_it_up_to_a_size() {
        let pieces = LARGEST / PIECE;
        let watch = "/x?allowWatchBookmarks=true&watch=true";
        assert_eq!(read(Server(200, line(b'\n'), 3 * pieces), watch).await, Some(3 * LARGEST));
        assert_eq!(read(Server(200, line(b' '), pieces), watch).await, Some(LARGEST));
        assert_eq!(read(Server(200, line(b' '), pieces + 1), watch).await, None);
        // What a watch is refused with is no line.
        assert_eq!(read(Server(500, line(b'\n'), pieces + 1), watch).await, None);
    }

    #[test]
    fn a_large_answer_is_told_from_every_other_error_however_it_is_wrapped() {
        let wrapped = kube::Error::Service(TooLarge.into());
        assert!(TooLarge::caused(&kube::Error::ReadEvents(std::io::Error::other(wrapped))));
        assert!(!TooLarge::caused(&kube::Error::Service("closed".into())));
    }
}
