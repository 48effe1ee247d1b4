//! A Kubernetes client for the observer's credential, over the cluster's own way of being reached.
//!
//! HTTP/1.1 only: these are a handful of watches and small questions, never a person's bytes. Every response byte marks
//! the cluster as heard of, so that a bookmark counts as a sign of life although the watcher keeps it to itself.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::task::{Context, Poll};
use std::time::SystemTime;

use bytes::Bytes;
use futures::future::BoxFuture;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Request, Response, Uri};
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::client::legacy::{Client as HyperClient, Error as HyperError};
use hyper_util::rt::{TokioExecutor, TokioIo};
use kube::client::Body;
use model::time::Timestamp;
use reach::{ClusterConnection, ReachError, Security, Stream};
use tower::Service;

/// When the cluster was last heard of: updated by each byte that it sends.
#[derive(Clone, Debug, Default)]
pub struct Heard(Arc<AtomicI64>);

impl Heard {
    /// When the last byte came; [`Timestamp::EPOCH`] when none has.
    #[must_use]
    pub fn last(&self) -> Timestamp {
        Timestamp::from_unix_nanos(self.0.load(Ordering::Relaxed))
    }

    fn now(&self) {
        let since = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        self.0
            .fetch_max(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX), Ordering::Relaxed);
    }
}

/// A client that speaks as the observer.
#[must_use]
pub fn client(connection: &Arc<ClusterConnection>, heard: &Heard) -> kube::Client {
    let http = HyperClient::builder(TokioExecutor::new()).build(Dialer(Arc::clone(connection)));
    kube::Client::new(
        Observer {
            connection: Arc::clone(connection),
            http,
            heard: heard.clone(),
        },
        "default",
    )
}

#[derive(Clone)]
struct Observer {
    connection: Arc<ClusterConnection>,
    http: HyperClient<Dialer, Body>,
    heard: Heard,
}

impl Service<Request<Body>> for Observer {
    type Response = Response<Listened>;
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
        let (http, heard, connection) = (self.http.clone(), self.heard.clone(), Arc::clone(&self.connection));
        Box::pin(async move {
            let response = http.request(request).await?;
            if response.status() == http::StatusCode::UNAUTHORIZED {
                connection.observer().was_refused();
            } else {
                heard.now();
            }
            Ok(response.map(|body| Listened { body, heard }))
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

/// A response body that marks the cluster as heard of with each piece.
#[derive(Debug)]
pub struct Listened {
    body: Incoming,
    heard: Heard,
}

impl HttpBody for Listened {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if matches!(polled, Poll::Ready(Some(Ok(_)))) {
            self.heard.now();
        }
        polled
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
