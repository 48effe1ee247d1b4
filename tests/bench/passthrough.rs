//! A bare reverse proxy on the gateway's own crates, to compare with: TLS in, the request as it came to one upstream, the
//! answer as it came back. No identity, no decision, no record, no limits. It is not a part of the gateway.
//!
//! `gatescribe-passthrough LISTEN UPSTREAM CERT KEY [UPSTREAM_CA]`; with an authority the upstream is spoken to in TLS, by
//! HTTP/2.

use anyhow::Context as _;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use tests::measure::{api, load};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

struct Upstream {
    address: SocketAddr,
    tls: Option<Arc<rustls::ClientConfig>>,
    free: Mutex<Vec<http1::SendRequest<Incoming>>>,
    shared: tokio::sync::OnceCell<http2::SendRequest<Incoming>>,
}

fn main() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(serve())
}

async fn serve() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [listen, upstream, certificate, key, rest @ ..] = arguments.as_slice() else {
        anyhow::bail!("LISTEN UPSTREAM CERT KEY [UPSTREAM_CA]")
    };
    let identity = tests::pki::Identity {
        certificate: std::fs::read_to_string(certificate)?,
        key: std::fs::read_to_string(key)?,
    };
    let acceptor = TlsAcceptor::from(api::server_config(&identity, true)?);
    let authority = rest.first().map(std::fs::read_to_string).transpose()?;
    let upstream = Arc::new(Upstream {
        address: upstream.parse()?,
        tls: authority.map(|ca| load::client_config(&ca, true)).transpose()?,
        free: Mutex::default(),
        shared: tokio::sync::OnceCell::new(),
    });
    let listener = TcpListener::bind(listen).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(connection(acceptor.clone(), Arc::clone(&upstream), stream));
    }
}

async fn connection(acceptor: TlsAcceptor, upstream: Arc<Upstream>, stream: TcpStream) {
    let Ok(stream) = acceptor.accept(stream).await else {
        return;
    };
    let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let service = hyper::service::service_fn(move |request| {
        let upstream = Arc::clone(&upstream);
        async move { upstream.send(request).await }
    });
    let io = TokioIo::new(stream);
    // A client that leaves is no error.
    let _ = if is_http2 {
        hyper::server::conn::http2::Builder::new(TokioExecutor::new())
            .serve_connection(io, service)
            .await
    } else {
        hyper::server::conn::http1::Builder::new()
            .serve_connection(io, service)
            .await
    };
}

impl Upstream {
    async fn send(&self, mut request: Request<Incoming>) -> anyhow::Result<Response<Incoming>> {
        if self.tls.is_some() {
            let mut shared = self.shared.get_or_try_init(|| self.dial_http2()).await?.clone();
            let target = request
                .uri()
                .path_and_query()
                .map_or("/", |target| target.as_str())
                .to_owned();
            *request.uri_mut() = format!("https://{}{target}", self.address).parse()?;
            *request.version_mut() = http::Version::HTTP_2;
            request.headers_mut().remove(http::header::HOST);
            return Ok(shared.send_request(request).await?);
        }
        let target = request
            .uri()
            .path_and_query()
            .map_or("/", |target| target.as_str())
            .to_owned();
        *request.uri_mut() = target.parse()?;
        *request.version_mut() = http::Version::HTTP_11;
        if !request.headers().contains_key(http::header::HOST) {
            request
                .headers_mut()
                .insert(http::header::HOST, self.address.to_string().parse()?);
        }
        let held = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut sender = match held {
            Some(sender) => sender,
            None => self.dial().await?,
        };
        sender.ready().await?;
        let answer = sender.send_request(request).await?;
        self.free.lock().unwrap_or_else(PoisonError::into_inner).push(sender);
        Ok(answer)
    }

    async fn dial(&self) -> anyhow::Result<http1::SendRequest<Incoming>> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(sender)
    }

    async fn dial_http2(&self) -> anyhow::Result<http2::SendRequest<Incoming>> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let tls = self.tls.clone().context("no TLS")?;
        let name = rustls::pki_types::ServerName::IpAddress(self.address.ip().into());
        let stream = TlsConnector::from(tls).connect(name, stream).await?;
        let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(sender)
    }
}
