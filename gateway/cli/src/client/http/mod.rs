//! A small HTTP/1.1 client for one gateway: one connection for each request, certificates always verified, proxies of
//! the environment honoured, no redirects.
//!
//! A command makes one to three requests, so a pool would only add states. Nothing is sent twice: an exchange of a
//! rotating handle that was sent once must not be repeated by a helpful layer below the one that keeps the handle.

mod error;
mod proxy;
mod trust;

pub(crate) use error::HttpError;
pub(crate) use trust::{Fingerprint, Trust};

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use model::time::Timestamp;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use proxy::{Proxies, Way};
use trust::Seen;

const CONNECT_WITHIN: Duration = Duration::from_secs(10);
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// For whoever takes the body as it comes: longer than an API server lets a call last that is none of the long ones (60 s).
const HEAD_WITHIN: Duration = Duration::from_secs(90);
const MAX_BODY: usize = 4 * 1024 * 1024;
/// More than this and certificates, tokens and codes begin to fail for no visible reason.
const SKEW_WORTH_SAYING: Duration = Duration::from_secs(60);

/// Bytes both ways, encrypted or not.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// Speaks to servers that `trust` vouches for.
pub(crate) struct Client {
    tls: Option<(TlsConnector, Seen)>,
    trust: Trust,
    proxies: Proxies,
    clocks: Mutex<Option<Clocks>>,
}

/// The server's clock and ours, where they differ by more than a minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Clocks {
    /// The server's.
    pub(crate) server: Timestamp,
    /// Ours at the same moment.
    pub(crate) here: Timestamp,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("trust", &self.trust)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// Reads the CA certificates when `secure`; plain connections need none.
    pub(crate) fn new(trust: &Trust, secure: bool) -> Result<Self, HttpError> {
        let tls = if secure { Some(trust.connector()?) } else { None };
        Ok(Self {
            tls,
            trust: trust.clone(),
            proxies: Proxies::of_environment(),
            clocks: Mutex::new(None),
        })
    }

    /// Sends, and reads the whole answer.
    pub(crate) async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        self.send_for(ANSWER_WITHIN, MAX_BODY, request).await
    }

    /// The same of an answer that may be so long and take so long.
    pub(crate) async fn send_for(
        &self,
        within: Duration,
        most: usize,
        request: Request<Bytes>,
    ) -> Result<Response<Bytes>, HttpError> {
        let host = Target::of(request.uri())?.authority;
        let whole = async {
            let (head, body) = self.open(request).await?.into_parts();
            let body = Limited::new(body, most)
                .collect()
                .await
                .map_err(|error| HttpError::reading(&host, error))?;
            Ok(Response::from_parts(head, body.to_bytes()))
        };
        match tokio::time::timeout(within, whole).await {
            Ok(answer) => answer,
            Err(_) => Err(HttpError::TooSlow {
                host,
                seconds: within.as_secs(),
            }),
        }
    }

    /// Sends, and hands the body out as it comes. What comes is not waited for without end: see [`super::lines::heard`].
    pub(crate) async fn open(&self, mut request: Request<Bytes>) -> Result<Response<Incoming>, HttpError> {
        let target = Target::of(request.uri())?;
        let too_slow = |waited: Duration| HttpError::TooSlow {
            host: target.authority.clone(),
            seconds: waited.as_secs(),
        };
        let broken = |cause| HttpError::Broken {
            host: target.authority.clone(),
            cause,
        };
        let mut sender = self.dial(&target).await?;
        prepare(&mut request, &target)?;
        let answered = tokio::time::timeout(HEAD_WITHIN, sender.send_request(request.map(Full::new))).await;
        let response = answered.map_err(|_| too_slow(HEAD_WITHIN))?.map_err(broken)?;
        self.compare_clocks(&response);
        Ok(response)
    }

    /// A connection for many questions to the server of this address, one after the other.
    pub(crate) async fn line(&self, uri: &Uri) -> Result<Line, HttpError> {
        let target = Target::of(uri)?;
        let sender = self.dial(&target).await?;
        Ok(Line { sender, target })
    }

    async fn dial(&self, target: &Target) -> Result<SendRequest<Full<Bytes>>, HttpError> {
        let connected = tokio::time::timeout(CONNECT_WITHIN, self.connect(target)).await;
        let stream = connected.map_err(|_| HttpError::TooSlow {
            host: target.authority.clone(),
            seconds: CONNECT_WITHIN.as_secs(),
        })??;
        let shaken = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let (sender, connection) = shaken.map_err(|cause| HttpError::Broken {
            host: target.authority.clone(),
            cause,
        })?;
        // Ends with the runtime, or when sender and body are gone. Its error reaches us through them.
        tokio::spawn(connection);
        Ok(sender)
    }

    /// The clocks, if an answer showed that they differ.
    pub(crate) fn clocks(&self) -> Option<Clocks> {
        *self.clocks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn compare_clocks<B>(&self, response: &Response<B>) {
        let date = response.headers().get(header::DATE).and_then(|date| date.to_str().ok());
        let found = date.and_then(|date| Clocks::compare(date, now()));
        *self.clocks.lock().unwrap_or_else(PoisonError::into_inner) = found;
    }

    async fn connect(&self, target: &Target) -> Result<Box<dyn Stream>, HttpError> {
        let stream = match self.proxies.way(target.secure, &target.host, target.port)? {
            Way::Straight => {
                let connected = TcpStream::connect((target.host.as_str(), target.port)).await;
                connected.map_err(|cause| HttpError::Connect {
                    host: target.authority.clone(),
                    cause,
                })?
            }
            Way::Through(proxy) => proxy.tunnel(&target.host, target.port).await?,
        };
        // A delay of small packets; without it everything is only slower.
        let _ = stream.set_nodelay(true);
        match (&self.tls, target.secure) {
            (_, false) => Ok(Box::new(stream)),
            (Some((connector, seen)), true) => encrypt(connector, seen, target, stream).await,
            (None, true) => Err(HttpError::Address(target.authority.clone())),
        }
    }
}

async fn encrypt(
    connector: &TlsConnector,
    seen: &Seen,
    target: &Target,
    stream: TcpStream,
) -> Result<Box<dyn Stream>, HttpError> {
    let name = ServerName::try_from(target.host.clone()).map_err(|_| HttpError::Address(target.authority.clone()))?;
    seen.forget();
    match connector.connect(name, stream).await {
        Ok(stream) => Ok(Box::new(stream)),
        Err(cause) => Err(match seen.take() {
            Some(presented) => HttpError::Untrusted {
                host: target.authority.clone(),
                presented: Box::new(presented),
            },
            None => HttpError::Tls {
                host: target.authority.clone(),
                cause,
            },
        }),
    }
}

/// One connection to one server. After an error it is of no more use.
pub(crate) struct Line {
    sender: SendRequest<Full<Bytes>>,
    target: Target,
}

impl std::fmt::Debug for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Line").field(&self.target.authority).finish()
    }
}

impl Line {
    /// Sends, and reads the whole answer, of `most` bytes at most and within this time.
    pub(crate) async fn send(
        &mut self,
        mut request: Request<Bytes>,
        most: usize,
        within: Duration,
    ) -> Result<Response<Bytes>, HttpError> {
        prepare(&mut request, &self.target)?;
        let host = &self.target.authority;
        let broken = |cause| HttpError::Broken {
            host: host.clone(),
            cause,
        };
        let sender = &mut self.sender;
        let whole = async {
            sender.ready().await.map_err(broken)?;
            let answer = sender.send_request(request.map(Full::new)).await.map_err(broken)?;
            let (head, body) = answer.into_parts();
            let body = Limited::new(body, most).collect().await;
            let body = body.map_err(|error| HttpError::reading(host, error))?;
            Ok(Response::from_parts(head, body.to_bytes()))
        };
        let answered = tokio::time::timeout(within, whole).await;
        answered.unwrap_or_else(|_| {
            Err(HttpError::TooSlow {
                host: host.clone(),
                seconds: within.as_secs(),
            })
        })
    }

    /// Whether it may be used again.
    pub(crate) fn is_open(&self) -> bool {
        !self.sender.is_closed()
    }
}

impl Clocks {
    fn compare(date: &str, here: Timestamp) -> Option<Self> {
        let server = jiff::fmt::rfc2822::parse(date).ok()?.timestamp().as_second();
        let server = Timestamp::from_unix_seconds(server);
        let apart = server.since(here).max(here.since(server));
        (apart > SKEW_WORTH_SAYING).then_some(Self { server, here })
    }
}

impl std::fmt::Display for Clocks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let apart = self.server.since(self.here).max(self.here.since(self.server)).as_secs();
        let (minutes, seconds) = (apart / 60, apart % 60);
        let whole = crate::client::session::in_seconds;
        write!(
            f,
            "the gateway's clock and this machine's differ by {minutes} min {seconds} s (there {}, here {})",
            whole(self.server),
            whole(self.here)
        )
    }
}

/// The time of this machine.
pub(crate) fn now() -> Timestamp {
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp::EPOCH.plus(since)
}

/// Whom a request goes to.
struct Target {
    host: String,
    port: u16,
    secure: bool,
    authority: String,
}

impl Target {
    fn of(uri: &Uri) -> Result<Self, HttpError> {
        let wrong = || HttpError::Address(uri.to_string());
        let authority = uri.authority().ok_or_else(wrong)?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        let secure = match uri.scheme_str() {
            Some("https") => true,
            Some("http") if is_loopback(host) => false,
            _ => return Err(wrong()),
        };
        Ok(Self {
            host: host.to_owned(),
            port: uri.port_u16().unwrap_or(if secure { 443 } else { 80 }),
            secure,
            authority: authority.as_str().to_owned(),
        })
    }
}

/// Plain http carries secrets; only the machine itself may see them.
pub(crate) fn is_loopback(host: &str) -> bool {
    host == "localhost"
        || host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

/// Origin form, `Host`, and who we are.
fn prepare(request: &mut Request<Bytes>, target: &Target) -> Result<(), HttpError> {
    let wrong = |_| HttpError::Address(target.authority.clone());
    let host = http::HeaderValue::from_str(&target.authority).map_err(wrong)?;
    let path = request
        .uri()
        .path_and_query()
        .map_or("/", http::uri::PathAndQuery::as_str)
        .to_owned();
    *request.uri_mut() = path.parse().map_err(|_| HttpError::Address(path))?;
    let headers = request.headers_mut();
    headers.insert(header::HOST, host);
    let agent = http::HeaderValue::from_static(concat!("gatescribe/", env!("CARGO_PKG_VERSION")));
    headers.entry(header::USER_AGENT).or_insert(agent);
    Ok(())
}

impl Trust {
    fn connector(&self) -> Result<(TlsConnector, Seen), HttpError> {
        let (config, seen) = self.config()?;
        Ok((TlsConnector::from(Arc::new(config)), seen))
    }
}

#[cfg(test)]
mod tests;
