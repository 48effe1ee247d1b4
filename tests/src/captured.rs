//! What arrived at a stand-in for an API server, as it arrived, and a stand-in that speaks HTTP/2.
//!
//! Heads of calls for people are kept (those with an `Audit-ID`); what the gateway asks for itself is answered and
//! forgotten. Over HTTP/1.1 a line here is a line on the wire. Over HTTP/2 it is one field as the library hands it over: in
//! its order, save that fields of one name stand together.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Frame, Incoming};
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::fake;
use crate::gateway::Upstream;
use crate::measure::api;
use crate::pki::Ca;

/// One request, text by text. Bytes that are no ASCII are escaped as Rust does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Arrived {
    /// The request line of HTTP/1.1, or `:method`, `:scheme`, `:authority` and `:path`.
    pub first: Vec<String>,
    /// `name: value`, one for each field line.
    pub fields: Vec<String>,
    /// Whatever followed a body as trailers.
    pub trailers: Vec<String>,
}

/// The requests kept so far.
#[derive(Debug, Default)]
pub(crate) struct Kept(Mutex<Vec<Arrived>>);

impl Kept {
    pub(crate) fn keep(&self, arrived: Arrived) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(arrived);
    }

    pub(crate) fn take(&self) -> Vec<Arrived> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A stand-in for an API server behind TLS that takes HTTP/2 where it is offered. Its connections end with it.
#[derive(Debug)]
pub struct CapturingHttp2 {
    address: SocketAddr,
    ca: Ca,
    kept: Arc<Kept>,
    _runtime: tokio::runtime::Runtime,
}

impl CapturingHttp2 {
    /// Starts it on a free port.
    ///
    /// # Errors
    /// The system refuses, or the certificate is unusable.
    pub fn start() -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let ca = Ca::new("captured")?;
        let acceptor = TlsAcceptor::from(api::server_config(&ca.server(&["127.0.0.1", "localhost"])?, true)?);
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
        let (address, kept) = (listener.local_addr()?, Arc::<Kept>::default());
        let keeping = Arc::clone(&kept);
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let serving = serve(stream, acceptor.clone(), Arc::clone(&keeping));
                // A connection that breaks is the other side's business.
                tokio::spawn(async move { drop(serving.await) });
            }
        });
        Ok(Self {
            address,
            ca,
            kept,
            _runtime: runtime,
        })
    }

    /// How a gateway's configuration names it.
    #[must_use]
    pub fn upstream(&self) -> Upstream {
        Upstream {
            server: format!("https://{}", self.address),
            ca: Some(self.ca.certificate().to_owned()),
            impersonator: "impersonator".to_owned(),
            observer: "observer".to_owned(),
        }
    }

    /// The calls for people that arrived since the last call.
    #[must_use]
    pub fn take_arrived(&self) -> Vec<Arrived> {
        self.kept.take()
    }
}

async fn serve(stream: TcpStream, acceptor: TlsAcceptor, kept: Arc<Kept>) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let stream = acceptor.accept(stream).await?;
    let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let io = TokioIo::new(stream);
    let service = hyper::service::service_fn(move |request| {
        let kept = Arc::clone(&kept);
        async move { answer(request, &kept).await }
    });
    if is_http2 {
        let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        return Ok(server.serve_connection(io, service).await?);
    }
    let server = hyper::server::conn::http1::Builder::new();
    Ok(server.serve_connection(io, service).await?)
}

async fn answer(request: Request<Incoming>, kept: &Kept) -> anyhow::Result<Response<BoxBody<Bytes, Infallible>>> {
    let (head, body) = request.into_parts();
    let target = head.uri.path_and_query().map(ToString::to_string).unwrap_or_default();
    if target.contains("watch=") {
        // The feeds' watches: open, and nothing happens. A story that lasts 90 s would need bookmarks.
        return Ok(answered(200, Silent.boxed())?);
    }
    let trailers = body.collect().await?.trailers().map(lines).unwrap_or_default();
    let id = head.headers.get("audit-id").cloned();
    if id.is_some() {
        let authority = head.uri.authority().map(ToString::to_string).unwrap_or_default();
        kept.keep(Arrived {
            first: vec![
                format!(":method: {}", head.method),
                format!(":scheme: {}", head.uri.scheme_str().unwrap_or_default()),
                format!(":authority: {authority}"),
                format!(":path: {target}"),
            ],
            fields: lines(&head.headers),
            trailers,
        });
    }
    let (status, text) = fake::answer(head.method.as_str(), &target);
    let status: u16 = status.split(' ').next().unwrap_or_default().parse()?;
    let mut answer = answered(status, Full::new(Bytes::from(text)).boxed())?;
    if let Some(id) = id {
        answer.headers_mut().insert("audit-id", id); // said back, as the real one does
    }
    Ok(answer)
}

fn answered(
    status: u16,
    body: BoxBody<Bytes, Infallible>,
) -> Result<Response<BoxBody<Bytes, Infallible>>, http::Error> {
    let answer = Response::builder().status(status);
    answer.header("content-type", "application/json").body(body)
}

/// Never a frame, never an end.
struct Silent;

impl hyper::body::Body for Silent {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Pending
    }
}

fn lines(headers: &http::HeaderMap) -> Vec<String> {
    let line =
        |(name, value): (&http::HeaderName, &http::HeaderValue)| format!("{name}: {}", value.as_bytes().escape_ascii());
    headers.iter().map(line).collect()
}
