//! A stand-in for an API server whose answers a story writes piece by piece, over plain HTTP/1.1 or over HTTP/2 with TLS: for
//! what a real one cannot be made to do at a given moment.
//!
//! What the gateway asks for itself is answered with nothing (lists) and a bookmark now and then (watches); every call of a
//! person waits until the story takes it with [`Fed::next`]. Its connections end with it.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::task::{Context, Poll};
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body, Frame, Incoming};
use hyper::header::{HeaderName, HeaderValue};
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;

use crate::fake;
use crate::gateway::Upstream;
use crate::measure::api;
use crate::pki::Ca;
use crate::wait::PATIENCE;

/// What it speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speaks {
    /// Without TLS.
    Http1,
    /// With TLS; HTTP/1.1 to whoever does not offer HTTP/2.
    Http2,
}

/// A running stand-in.
#[derive(Debug)]
pub struct Fed {
    address: SocketAddr,
    ca: Option<Ca>,
    calls: Mutex<mpsc::Receiver<Call>>,
    _runtime: tokio::runtime::Runtime,
}

/// A call of a person that waits for its answer.
#[derive(Debug)]
pub struct Call {
    /// Its method.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Its header fields.
    pub headers: HeaderMap,
    answer: oneshot::Sender<Answer>,
}

type Answer = Response<BoxBody<Bytes, std::io::Error>>;

/// An answer that has begun. Dropping it ends it cleanly.
#[derive(Debug)]
pub struct Feed(UnboundedSender<Option<Bytes>>);

impl Feed {
    /// Sends one piece at once.
    ///
    /// # Errors
    /// Nobody reads any more.
    pub fn say(&self, piece: impl Into<Bytes>) -> anyhow::Result<()> {
        Ok(self.0.send(Some(piece.into()))?)
    }

    /// Ends it as a failure does.
    pub fn break_off(self) {
        // Whoever has left needs no failure.
        let _ = self.0.send(None);
    }
}

impl Call {
    /// Begins an answer whose pieces come later.
    ///
    /// # Errors
    /// A header is none, or the caller has left.
    pub fn begin(self, status: u16, headers: &[(&str, &str)]) -> anyhow::Result<Feed> {
        let (feed, pieces) = unbounded_channel();
        self.reply(status, headers, Pieces(pieces).boxed())?;
        Ok(Feed(feed))
    }

    /// A whole answer.
    ///
    /// # Errors
    /// As of [`Call::begin`].
    pub fn answer(self, status: u16, headers: &[(&str, &str)], body: impl Into<Bytes>) -> anyhow::Result<()> {
        let body = Full::new(body.into()).map_err(|never| match never {});
        self.reply(status, headers, body.boxed())
    }

    /// A whole answer with a trailer behind it.
    ///
    /// # Errors
    /// As of [`Call::begin`].
    pub fn answer_with_trailer(
        self,
        body: &'static str,
        name: &'static str,
        value: &'static str,
    ) -> anyhow::Result<()> {
        let trailers = HeaderMap::from_iter([(HeaderName::from_static(name), HeaderValue::from_static(value))]);
        let body = Full::new(Bytes::from_static(body.as_bytes())).map_err(|never| match never {});
        self.reply(200, &[], body.with_trailers(async { Some(Ok(trailers)) }).boxed())
    }

    /// An answer of `pieces` pieces (see [`long_piece`]), each handed over when there is room for it; how many were.
    ///
    /// # Errors
    /// As of [`Call::begin`].
    pub fn answer_long(self, pieces: u64) -> anyhow::Result<Arc<AtomicU64>> {
        self.answer_in(pieces, long_piece)
    }

    /// As [`Call::answer_long`], in pieces of one byte.
    ///
    /// # Errors
    /// As of [`Call::begin`].
    pub fn answer_in_bytes(self, pieces: u64) -> anyhow::Result<Arc<AtomicU64>> {
        self.answer_in(pieces, |_| Bytes::from_static(b":"))
    }

    fn answer_in(self, pieces: u64, piece: fn(u64) -> Bytes) -> anyhow::Result<Arc<AtomicU64>> {
        let taken = Arc::<AtomicU64>::default();
        let body = Long {
            pieces,
            piece,
            taken: Arc::clone(&taken),
        };
        self.reply(200, &[("content-type", "application/json")], body.boxed())?;
        Ok(taken)
    }

    fn reply(self, status: u16, headers: &[(&str, &str)], body: BoxBody<Bytes, std::io::Error>) -> anyhow::Result<()> {
        let mut answer = Response::builder().status(status);
        for (name, value) in headers {
            answer = answer.header(*name, *value);
        }
        let answer = answer.body(body)?;
        self.answer.send(answer).ok().context("the caller has left")
    }
}

/// Bytes in each piece of a long answer.
pub const PIECE: usize = 16 * 1024;

/// Piece `number` of a long answer: no two that follow one another are the same.
#[must_use]
pub fn long_piece(number: u64) -> Bytes {
    let salt = number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes();
    let salted = salt.iter().cycle().zip(0..PIECE);
    salted
        .map(|(salt, at)| salt ^ u8::try_from(at % 251).unwrap_or_default())
        .collect()
}

impl Fed {
    /// Starts it on a free port.
    ///
    /// # Errors
    /// The system refuses.
    pub fn start(speaks: Speaks) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let (ca, acceptor) = match speaks {
            Speaks::Http1 => (None, None),
            Speaks::Http2 => {
                let ca = Ca::new("fed")?;
                let config = api::server_config(&ca.server(&["127.0.0.1"])?, true)?;
                (Some(ca), Some(TlsAcceptor::from(config)))
            }
        };
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
        let address = listener.local_addr()?;
        let (called, calls) = mpsc::channel();
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let serving = serve(stream, acceptor.clone(), called.clone());
                // A connection that breaks is the other side's business.
                tokio::spawn(async move { drop(serving.await) });
            }
        });
        Ok(Self {
            address,
            ca,
            calls: Mutex::new(calls),
            _runtime: runtime,
        })
    }

    /// How a gateway's configuration names it.
    #[must_use]
    pub fn upstream(&self) -> Upstream {
        let scheme = if self.ca.is_some() { "https" } else { "http" };
        Upstream {
            server: format!("{scheme}://{}", self.address),
            ca: self.ca.as_ref().map(|ca| ca.certificate().to_owned()),
            impersonator: "impersonator".to_owned(),
            observer: "observer".to_owned(),
        }
    }

    /// The next call of a person.
    ///
    /// # Errors
    /// None comes.
    pub fn next(&self) -> anyhow::Result<Call> {
        let calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        calls.recv_timeout(PATIENCE).context("no call came")
    }
}

async fn serve(stream: TcpStream, acceptor: Option<TlsAcceptor>, called: mpsc::Sender<Call>) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let service = hyper::service::service_fn(move |request| {
        let called = called.clone();
        async move { answered(request, &called).await }
    });
    let Some(acceptor) = acceptor else {
        let server = hyper::server::conn::http1::Builder::new();
        return Ok(server.serve_connection(TokioIo::new(stream), service).await?);
    };
    let stream = acceptor.accept(stream).await?;
    let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let io = TokioIo::new(stream);
    if is_http2 {
        let mut server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        server.max_concurrent_streams(250);
        return Ok(server.serve_connection(io, service).await?);
    }
    let server = hyper::server::conn::http1::Builder::new();
    Ok(server.serve_connection(io, service).await?)
}

async fn answered(request: Request<Incoming>, called: &mpsc::Sender<Call>) -> anyhow::Result<Answer> {
    let (head, _body) = request.into_parts();
    let target = head.uri.path_and_query().map(ToString::to_string).unwrap_or_default();
    let Some(id) = head.headers.get("audit-id").cloned() else {
        return own(head.method.as_str(), &target);
    };
    let (answer, answered) = oneshot::channel();
    called.send(Call {
        method: head.method.to_string(),
        target,
        headers: head.headers,
        answer,
    })?;
    let mut answer = answered.await?;
    answer.headers_mut().insert("audit-id", id); // said back, as the real one does
    Ok(answer)
}

/// What the gateway asks for itself.
fn own(method: &str, target: &str) -> anyhow::Result<Answer> {
    let builder = Response::builder().header("content-type", "application/json");
    if target.contains("watch=") {
        let (feed, pieces) = unbounded_channel();
        tokio::spawn(bookmarks(feed));
        return Ok(builder.body(Pieces(pieces).boxed())?);
    }
    let (status, text) = fake::answer(method, target);
    let status: u16 = status.split(' ').next().unwrap_or_default().parse()?;
    let body = Full::new(Bytes::from(text)).map_err(|never| match never {});
    Ok(builder.status(status).body(body.boxed())?)
}

/// A watch without any is believed stale.
async fn bookmarks(feed: UnboundedSender<Option<Bytes>>) {
    const BOOKMARK: &[u8] =
        b"{\"type\":\"BOOKMARK\",\"object\":{\"kind\":\"Any\",\"apiVersion\":\"v1\",\"metadata\":{\"resourceVersion\":\"1\"}}}\n";
    loop {
        tokio::time::sleep(Duration::from_secs(20)).await;
        if feed.send(Some(Bytes::from_static(BOOKMARK))).is_err() {
            return;
        }
    }
}

/// A body out of a channel; `None` in it breaks it off.
struct Pieces(UnboundedReceiver<Option<Bytes>>);

impl Body for Pieces {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        self.0.poll_recv(cx).map(|piece| match piece? {
            Some(piece) => Some(Ok(Frame::data(piece))),
            None => Some(Err(std::io::ErrorKind::BrokenPipe.into())),
        })
    }
}

struct Long {
    pieces: u64,
    piece: fn(u64) -> Bytes,
    taken: Arc<AtomicU64>,
}

impl Body for Long {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        let number = self.taken.load(Ordering::Acquire);
        if number >= self.pieces {
            return Poll::Ready(None);
        }
        self.taken.fetch_add(1, Ordering::AcqRel);
        Poll::Ready(Some(Ok(Frame::data((self.piece)(number)))))
    }
}
