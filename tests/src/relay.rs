//! A relay between the gateway and an API server that loses what it is told to lose.
//!
//! It ends TLS under the cluster's own authority, so that it knows which request it has before it, and passes everything
//! else on as it came. It is no proxy of ours: nothing here decides, and the API server sees the gateway's own credential.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::cluster::Cluster;
use crate::gateway::Upstream;
use crate::measure::{api, load};

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Its stream is refused, which says that nothing was done (RFC 9113 §8.7, `REFUSED_STREAM`).
    Refused,
    /// The connection ends; the server never sees it.
    LostBefore,
    /// The server has answered it, and the connection ends before the answer is passed on.
    LostAfter,
}

/// A running relay. Its connections end with it.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    orders: Arc<Orders>,
    _runtime: tokio::runtime::Runtime,
}

/// What was ordered for whom, and who came.
#[derive(Debug, Default)]
struct Orders {
    fates: Mutex<Vec<(String, VecDeque<Fate>)>>,
    seen: Mutex<Vec<String>>,
}

impl Orders {
    fn next(&self, target: &str) -> Option<Fate> {
        self.seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(target.to_owned());
        let mut fates = self.fates.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, fates) = fates.iter_mut().find(|(whole, _)| target == whole)?;
        fates.pop_front()
    }
}

impl Relay {
    /// Starts one before a cluster, on a port of its own.
    ///
    /// # Errors
    /// The system refuses, or the certificates are unusable.
    pub fn before(cluster: &Cluster) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let identity = cluster.ca().server(&["127.0.0.1"])?;
        let mut tls = Arc::unwrap_or_clone(api::server_config(&identity, true)?);
        tls.alpn_protocols.push(b"http/1.1".to_vec());
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        let server = Arc::new(Server {
            address: cluster.address(),
            tls: TlsConnector::from(load::client_config(cluster.ca().certificate(), true)?),
        });
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
        let address = listener.local_addr()?;
        let orders = Arc::<Orders>::default();
        runtime.spawn(accept(listener, acceptor, server, Arc::clone(&orders)));
        Ok(Self {
            address,
            orders,
            _runtime: runtime,
        })
    }

    /// How a gateway in front of the relay's cluster is configured.
    ///
    /// # Errors
    /// The gateway's accounts are missing.
    pub fn upstream(&self, cluster: &Cluster) -> anyhow::Result<Upstream> {
        cluster.apply_gateway_rights()?;
        Ok(Upstream {
            server: format!("https://{}", self.address),
            ca: Some(cluster.ca().certificate().to_owned()),
            impersonator: cluster.service_account_token("gatescribe", "impersonator")?,
            observer: cluster.service_account_token("gatescribe", "observer")?,
        })
    }

    /// What becomes of the next requests for `target`, one after another. Later ones are passed on.
    pub fn order(&self, target: &str, fates: &[Fate]) {
        let mut all = self.orders.fates.lock().unwrap_or_else(PoisonError::into_inner);
        all.push((target.to_owned(), fates.iter().copied().collect()));
    }

    /// How many requests came for `target`, passed on or not.
    #[must_use]
    pub fn came(&self, target: &str) -> usize {
        let seen = self.orders.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.iter().filter(|seen| *seen == target).count()
    }
}

struct Server {
    address: SocketAddr,
    tls: TlsConnector,
}

impl Server {
    async fn dial(&self) -> anyhow::Result<SendRequest<Incoming>> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let name = rustls::pki_types::ServerName::IpAddress(self.address.ip().into());
        let stream = self.tls.connect(name, stream).await?;
        let (sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(sender)
    }
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, server: Arc<Server>, orders: Arc<Orders>) {
    while let Ok((stream, _)) = listener.accept().await {
        // A connection that breaks is its ends' business.
        let serving = serve(stream, acceptor.clone(), Arc::clone(&server), Arc::clone(&orders));
        tokio::spawn(async move { drop(serving.await) });
    }
}

/// One connection, with one of its own to the server, until either ends or a request on it is to be lost.
async fn serve(
    stream: TcpStream,
    acceptor: TlsAcceptor,
    server: Arc<Server>,
    orders: Arc<Orders>,
) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let stream = acceptor.accept(stream).await?;
    let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let sender = server.dial().await?;
    let (cut, address) = (Arc::new(Notify::new()), server.address);
    let noticed = Arc::clone(&cut);
    let service = hyper::service::service_fn(move |request| {
        let (sender, orders, cut) = (sender.clone(), Arc::clone(&orders), Arc::clone(&cut));
        async move { pass(request, address, sender, &orders, &cut).await }
    });
    let io = TokioIo::new(stream);
    if is_http2 {
        let serving = hyper::server::conn::http2::Builder::new(TokioExecutor::new()).serve_connection(io, service);
        tokio::select! { served = serving => served?, () = noticed.notified() => {} }
    } else {
        let serving = hyper::server::conn::http1::Builder::new().serve_connection(io, service);
        tokio::select! { served = serving => served?, () = noticed.notified() => {} }
    }
    Ok(())
}

/// Why a request is not answered; hyper looks for the reason of a reset among the sources.
#[derive(Debug)]
enum Broken {
    Refused(h2::Error),
    Other(anyhow::Error),
}

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Refused(_) => f.write_str("refused as ordered"),
            Self::Other(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Broken {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Refused(reset) => Some(reset),
            Self::Other(_) => None,
        }
    }
}

async fn pass(
    request: Request<Incoming>,
    server: SocketAddr,
    sender: SendRequest<Incoming>,
    orders: &Orders,
    cut: &Notify,
) -> Result<Response<Incoming>, Broken> {
    let target = request.uri().path_and_query().map(ToString::to_string);
    match orders.next(&target.unwrap_or_default()) {
        None => pass_on(request, server, sender).await.map_err(Broken::Other),
        Some(Fate::Refused) => Err(Broken::Refused(h2::Reason::REFUSED_STREAM.into())),
        Some(Fate::LostBefore) => lost(cut).await,
        Some(Fate::LostAfter) => {
            let answer = pass_on(request, server, sender).await.map_err(Broken::Other)?;
            // All of it: the server is done with the request.
            let whole = answer.into_body().collect().await;
            whole.map_err(|error| Broken::Other(error.into()))?;
            lost(cut).await
        }
    }
}

async fn pass_on(
    mut request: Request<Incoming>,
    server: SocketAddr,
    mut sender: SendRequest<Incoming>,
) -> anyhow::Result<Response<Incoming>> {
    let target = request.uri().path_and_query().context("a target")?;
    *request.uri_mut() = format!("https://{server}{target}").parse()?;
    *request.version_mut() = http::Version::HTTP_2;
    request.headers_mut().remove(http::header::HOST);
    Ok(sender.send_request(request).await?)
}

/// Ends the connection; what comes after is never polled.
async fn lost<T>(cut: &Notify) -> T {
    cut.notify_one();
    std::future::pending().await
}
