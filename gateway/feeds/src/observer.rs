//! A Kubernetes client for the observer's credential, over the cluster's own way of being reached.
//!
//! HTTP/1.1 only: these are a handful of watches and small questions, never a person's bytes. Each watched kind has a
//! pulse of its own, beaten by every byte of a successful answer, so that a bookmark counts as a sign of life although the
//! watcher keeps it to itself. Invariant: nothing but the lists and watches of a kind says that the kind is known.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Request, Response, StatusCode, Uri};
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::client::legacy::{Client as HyperClient, Error as HyperError};
use hyper_util::rt::{TokioExecutor, TokioIo};
use kube::client::Body;
use model::time::Timestamp;
use reach::{ClusterConnection, ReachError, Security, Stream};
use tokio::time::{Instant, Sleep, sleep, timeout};
use tower::BoxError;
use tower::Service;

use crate::cluster::Kind;

/// Where the time comes from.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// When one kind of object was last heard of.
#[derive(Clone)]
pub(crate) struct Pulse {
    last: Arc<AtomicI64>,
    clock: Clock,
    /// A cluster that says "no such kind" has spoken of it, too.
    absence_counts: bool,
}

impl Pulse {
    /// One that counts for no kind of [`Heard`], but its own beats.
    pub(crate) fn alone() -> Self {
        let beats = AtomicI64::new(0);
        let count = move || beats.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        Self {
            last: Arc::default(),
            clock: Arc::new(move || Timestamp::from_unix_nanos(count())),
            absence_counts: false,
        }
    }

    /// Of one that is [`Pulse::alone`]: another number after each sign of life.
    pub(crate) fn beats(&self) -> i64 {
        self.last.load(Ordering::Relaxed)
    }

    fn beat(&self) {
        self.last.fetch_max((self.clock)().unix_nanos(), Ordering::Relaxed);
    }

    /// Takes the head of an answer in; says whether the pieces of its body are signs of life.
    fn hears(&self, status: StatusCode) -> bool {
        if status.is_success() || (self.absence_counts && status == StatusCode::NOT_FOUND) {
            self.beat();
        }
        status.is_success()
    }
}

/// When a cluster was last heard of: as long ago as the kind that has been silent longest. A decision rests on all kinds,
/// so that one of them, refused or stuck, makes the whole old.
#[derive(Clone)]
pub struct Heard {
    kinds: Arc<[Arc<AtomicI64>]>,
    clock: Clock,
}

impl std::fmt::Debug for Heard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Heard")
            .field("last", &self.last())
            .finish_non_exhaustive()
    }
}

impl Heard {
    /// Nothing has been heard of yet.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        Self {
            kinds: Kind::ALL.iter().map(|_| Arc::default()).collect(),
            clock,
        }
    }

    /// When the last byte of the most silent kind came; [`Timestamp::EPOCH`] while one has never been heard of.
    #[must_use]
    pub fn last(&self) -> Timestamp {
        let oldest = self.kinds.iter().map(|kind| kind.load(Ordering::Relaxed)).min();
        Timestamp::from_unix_nanos(oldest.unwrap_or_default())
    }

    /// The kinds that nothing was heard of for longer than `after`, by name.
    #[must_use]
    pub fn silent(&self, now: Timestamp, after: Duration) -> Vec<&'static str> {
        let heard = Kind::ALL.iter().zip(self.kinds.iter());
        heard
            .filter(|(_, last)| now.since(Timestamp::from_unix_nanos(last.load(Ordering::Relaxed))) > after)
            .map(|(kind, _)| kind.name())
            .collect()
    }

    pub(crate) fn pulse(&self, kind: Kind) -> Pulse {
        let place = Kind::ALL.iter().position(|known| *known == kind);
        let last = place.and_then(|place| self.kinds.get(place)).cloned();
        Pulse {
            last: last.unwrap_or_default(),
            clock: Arc::clone(&self.clock),
            absence_counts: kind.is_optional(),
        }
    }
}

/// A client that speaks as the observer and asks questions.
#[must_use]
pub fn client(connection: &Arc<ClusterConnection>) -> kube::Client {
    kube::Client::new(Observer::new(connection), "default")
}

/// A client for the lists and watches of one kind, whose answers beat its pulse.
pub(crate) fn watching(connection: &Arc<ClusterConnection>, pulse: Pulse) -> kube::Client {
    listening(Observer::new(connection), pulse)
}

/// A client over `inner` whose answers beat `pulse`.
pub(crate) fn listening<S, B>(inner: S, pulse: Pulse) -> kube::Client
where
    S: Service<Request<Body>, Response = Response<B>> + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: HttpBody<Data = Bytes> + Unpin + Send + 'static,
    B::Error: Into<BoxError>,
{
    kube::Client::new(Listening { inner, pulse }, "default")
}

struct Listening<S> {
    inner: S,
    pulse: Pulse,
}

impl<S, B> Service<Request<Body>> for Listening<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
{
    type Response = Response<Listened<B>>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (pulse, answer) = (self.pulse.clone(), self.inner.call(request));
        Box::pin(async move {
            let answered = timeout(SILENT_AFTER, answer).await.map_err(|_| Silent)?;
            let response = answered.map_err(Into::into)?;
            let pulse = pulse.hears(response.status()).then_some(pulse);
            Ok(response.map(|body| Listened::new(body, pulse)))
        })
    }
}

#[derive(Clone)]
struct Observer {
    connection: Arc<ClusterConnection>,
    http: HyperClient<Dialer, Body>,
}

impl Observer {
    fn new(connection: &Arc<ClusterConnection>) -> Self {
        Self {
            connection: Arc::clone(connection),
            http: HyperClient::builder(TokioExecutor::new()).build(Dialer(Arc::clone(connection))),
        }
    }
}

impl Service<Request<Body>> for Observer {
    type Response = Response<Incoming>;
    type Error = HyperError;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        *request.uri_mut() = at_cluster(request.uri());
        if let Some(authorization) = self.connection.observer().current().authorization() {
            request
                .headers_mut()
                .insert(http::header::AUTHORIZATION, authorization.clone());
        }
        let (http, connection) = (self.http.clone(), Arc::clone(&self.connection));
        Box::pin(async move {
            let response = http.request(request).await?;
            if response.status() == StatusCode::UNAUTHORIZED {
                connection.observer().was_refused();
            } else {
                connection.observer().was_accepted();
            }
            Ok(response)
        })
    }
}

/// The dialer knows where the cluster is; the authority only has to be there.
fn at_cluster(uri: &Uri) -> Uri {
    let mut parts = uri.clone().into_parts();
    parts.scheme = Some(Scheme::HTTP);
    parts.authority = Some(Authority::from_static("kubernetes"));
    parts.path_and_query.get_or_insert(PathAndQuery::from_static("/"));
    Uri::from_parts(parts).unwrap_or_default()
}

/// An API server sends each watch a bookmark a minute. One that is silent for longer has gone, whatever its socket says; it
/// is noticed here before what it said last is too old to decide by (90 s).
const SILENT_AFTER: Duration = Duration::from_secs(75);

/// The next list goes by another connection, and by another address if that one does not answer.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the API server said nothing for {} s", SILENT_AFTER.as_secs())]
struct Silent;

/// A response body that beats a pulse with each piece, and does not wait for ever for the next.
struct Listened<B> {
    body: B,
    pulse: Option<Pulse>,
    silence: Pin<Box<Sleep>>,
}

impl<B> Listened<B> {
    fn new(body: B, pulse: Option<Pulse>) -> Self {
        Self {
            body,
            pulse,
            silence: Box::pin(sleep(SILENT_AFTER)),
        }
    }
}

impl<B: HttpBody + Unpin> HttpBody for Listened<B>
where
    B::Error: Into<BoxError>,
{
    type Data = B::Data;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, BoxError>>> {
        let this = &mut *self;
        let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(cx) else {
            ready!(this.silence.as_mut().poll(cx));
            return Poll::Ready(Some(Err(Silent.into())));
        };
        if let (Some(Ok(_)), Some(pulse)) = (&frame, &this.pulse) {
            pulse.beat();
        }
        this.silence.as_mut().reset(Instant::now() + SILENT_AFTER);
        Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[derive(Clone)]
struct Dialer(Arc<ClusterConnection>);

impl Service<Uri> for Dialer {
    type Response = Dialled;
    type Error = ReachError;
    type Future = Pin<Box<dyn Future<Output = Result<Dialled, ReachError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let connection = Arc::clone(&self.0);
        Box::pin(async move {
            let established = connection.dial(connection.observer(), Security::Http1Only).await?;
            Ok(Dialled(TokioIo::new(established.stream)))
        })
    }
}

struct Dialled(TokioIo<Stream>);

impl Connection for Dialled {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl Read for Dialled {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: ReadBufCursor<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl Write for Dialled {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures::stream;
    use http_body_util::{BodyExt as _, StreamBody};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn ups_08_a_watch_that_goes_silent_ends_in_an_error_and_one_with_bookmarks_does_not() {
        let bookmarks = stream::unfold(0_u32, |told| async move {
            if told < 3 {
                sleep(Duration::from_secs(62)).await;
            } else {
                std::future::pending::<()>().await;
            }
            Some((Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"{}\n"))), told + 1))
        });
        let began = Instant::now();
        let mut watch = Listened::new(StreamBody::new(Box::pin(bookmarks)), None);
        for _ in 0..3 {
            assert!(watch.frame().await.unwrap().is_ok());
        }
        let error = watch.frame().await.unwrap().unwrap_err();
        assert!(error.is::<Silent>(), "{error}");
        assert_eq!(began.elapsed(), Duration::from_secs(3 * 62 + 75));
    }
}
