//! Requests to the provider: the trait that the console needs, and one implementation.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{Request, Response, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Body as _;
use hyper_util::rt::TokioIo;
use rustls::RootCertStore;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::settings::is_loopback;

/// Most bytes of an answer.
const MAX_BODY: usize = 1024 * 1024;
/// From the first packet to the last byte.
const DEADLINE: Duration = Duration::from_secs(10);

/// Why a request has no answer. Nothing of request or answer is in it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// The address is not https, nor http on loopback.
    #[error("the address of the provider is neither https nor http on loopback")]
    Address,
    /// No connection.
    #[error("no connection to `{host}`")]
    Connect {
        /// The host that was tried.
        host: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The connection broke, or what came is no HTTP.
    #[error("the connection to the provider broke")]
    Broken(#[source] hyper::Error),
    /// Longer than 1 MiB.
    #[error("the provider's answer is longer than 1 MiB")]
    TooLong,
    /// Longer than 10 seconds.
    #[error("the provider did not answer within 10 seconds")]
    TooSlow,
}

/// Sends one request and reads the whole answer. Follows no redirects: a client secret must not travel to an address
/// that the provider did not publish, and a code must not be sent twice.
pub trait Fetch: Send + Sync {
    /// Sends. Dropping the future drops the connection.
    fn fetch(&self, request: Request<Bytes>) -> BoxFuture<'_, Result<Response<Bytes>, FetchError>>;
}

/// HTTP/1.1 over a connection of its own for each request: sign-ins and renewals are rare, and a connection that is
/// never shared cannot mix up two people's answers. The price is one handshake each.
#[derive(Clone)]
pub struct HyperFetch {
    tls: TlsConnector,
}

impl fmt::Debug for HyperFetch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HyperFetch")
    }
}

/// Why no client can be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchSetupError {
    /// The text holds no readable certificate.
    #[error("the CA file holds no readable certificate in PEM form")]
    NoCertificate,
    /// The machine has none and none were given.
    #[error("the system has no CA certificates; install them or name a CA file")]
    NoRoots,
    /// TLS says no.
    #[error("TLS cannot be set up")]
    Tls(#[source] rustls::Error),
}

impl HyperFetch {
    /// With the system's CA certificates, or with those in `ca_pem` alone.
    ///
    /// # Errors
    /// See [`FetchSetupError`].
    pub fn new(ca_pem: Option<&[u8]>) -> Result<Self, FetchSetupError> {
        let roots = match ca_pem {
            Some(pem) => given_roots(pem)?,
            None => system_roots()?,
        };
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(FetchSetupError::Tls)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self {
            tls: TlsConnector::from(Arc::new(config)),
        })
    }

    async fn send(&self, mut request: Request<Bytes>) -> Result<Response<Bytes>, FetchError> {
        let target = Target::of(request.uri())?;
        prepare(&mut request, &target)?;
        let connect = |source| FetchError::Connect {
            host: target.host.clone(),
            source,
        };
        let stream = TcpStream::connect((target.host.as_str(), target.port))
            .await
            .map_err(connect)?;
        if !target.secure {
            return exchange(stream, request).await;
        }
        let name = ServerName::try_from(target.host.clone()).map_err(|_| FetchError::Address)?;
        let stream = self.tls.connect(name, stream).await.map_err(connect)?;
        exchange(stream, request).await
    }
}

impl Fetch for HyperFetch {
    fn fetch(&self, request: Request<Bytes>) -> BoxFuture<'_, Result<Response<Bytes>, FetchError>> {
        Box::pin(async move {
            match tokio::time::timeout(DEADLINE, self.send(request)).await {
                Ok(answer) => answer,
                Err(_) => Err(FetchError::TooSlow),
            }
        })
    }
}

struct Target {
    host: String,
    port: u16,
    secure: bool,
}

impl Target {
    fn of(uri: &Uri) -> Result<Self, FetchError> {
        let host = uri.host().ok_or(FetchError::Address)?;
        let secure = match uri.scheme_str() {
            Some("https") => true,
            Some("http") if is_loopback(host) => false,
            _ => return Err(FetchError::Address),
        };
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        Ok(Self { host, port, secure })
    }
}

/// Origin form and `Host`, as a connection to the server itself wants them.
fn prepare(request: &mut Request<Bytes>, target: &Target) -> Result<(), FetchError> {
    let uri = request.uri().clone();
    let authority = uri.authority().ok_or(FetchError::Address)?;
    let host = http::HeaderValue::from_str(authority.as_str()).map_err(|_| FetchError::Address)?;
    debug_assert!(!target.host.is_empty());
    request.headers_mut().insert(header::HOST, host);
    request
        .headers_mut()
        .insert(header::CONNECTION, http::HeaderValue::from_static("close"));
    let path = uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    *request.uri_mut() = path.parse().map_err(|_| FetchError::Address)?;
    Ok(())
}

async fn exchange<S>(stream: S, request: Request<Bytes>) -> Result<Response<Bytes>, FetchError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(FetchError::Broken)?;
    let answer = async move {
        let response = sender
            .send_request(request.map(Full::new))
            .await
            .map_err(FetchError::Broken)?;
        let (head, body) = response.into_parts();
        if body.size_hint().lower() > MAX_BODY as u64 {
            return Err(FetchError::TooLong);
        }
        let body = Limited::new(body, MAX_BODY).collect().await.map_err(read_error)?;
        Ok(Response::from_parts(head, body.to_bytes()))
    };
    // Both on this task: when the caller gives up, the connection is gone too.
    tokio::pin!(answer);
    tokio::select! {
        biased;
        answer = &mut answer => answer,
        broken = connection => match broken {
            Ok(()) => answer.await,
            Err(error) => Err(FetchError::Broken(error)),
        },
    }
}

fn read_error(error: Box<dyn std::error::Error + Send + Sync>) -> FetchError {
    match error.downcast::<hyper::Error>() {
        Ok(error) => FetchError::Broken(*error),
        Err(_) => FetchError::TooLong,
    }
}

fn given_roots(pem: &[u8]) -> Result<RootCertStore, FetchSetupError> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|_| FetchSetupError::NoCertificate)?;
        roots.add(certificate).map_err(|_| FetchSetupError::NoCertificate)?;
    }
    if roots.is_empty() {
        Err(FetchSetupError::NoCertificate)
    } else {
        Ok(roots)
    }
}

fn system_roots() -> Result<RootCertStore, FetchSetupError> {
    let mut roots = RootCertStore::empty();
    // Single unreadable certificates in the system's store are not our error; none at all is.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        Err(FetchSetupError::NoRoots)
    } else {
        Ok(roots)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// Answers each connection with the same bytes, then keeps it open.
    async fn server(answer: Vec<u8>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/token", listener.local_addr().unwrap());
        tokio::spawn(async move {
            let mut held = Vec::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                let _ = stream.read(&mut [0; 4096]).await;
                let _ = stream.write_all(&answer).await;
                held.push(stream);
            }
        });
        url
    }

    async fn fetch(url: &str) -> Result<Response<Bytes>, FetchError> {
        let request = Request::get(url).body(Bytes::new()).unwrap();
        HyperFetch::new(None).unwrap().fetch(request).await
    }

    #[tokio::test]
    async fn a_redirect_is_handed_back_and_not_followed() {
        let url =
            server(b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n".to_vec()).await;
        assert_eq!(fetch(&url).await.unwrap().status(), http::StatusCode::FOUND);
    }

    #[tokio::test]
    async fn an_answer_over_one_mebibyte_is_refused_announced_or_not() {
        let announced = b"HTTP/1.1 200 OK\r\ncontent-length: 1048577\r\n\r\n".to_vec();
        assert!(matches!(
            fetch(&server(announced).await).await,
            Err(FetchError::TooLong)
        ));
        let mut dripped = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
        for _ in 0..17 {
            dripped.extend_from_slice(b"10000\r\n");
            dripped.extend(std::iter::repeat_n(b'x', 65_536));
            dripped.extend_from_slice(b"\r\n");
        }
        assert!(matches!(fetch(&server(dripped).await).await, Err(FetchError::TooLong)));
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_never_ends_is_given_up() {
        let url = server(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf".to_vec()).await;
        assert!(matches!(fetch(&url).await, Err(FetchError::TooSlow)));
    }

    #[tokio::test]
    async fn plain_http_leaves_this_machine_never() {
        for url in [
            "http://idp.example/token",
            "http://192.0.2.1/token",
            "ftp://127.0.0.1/",
            "http://127.0.0.1.evil.example/",
        ] {
            assert!(matches!(fetch(url).await, Err(FetchError::Address)), "{url}");
        }
    }

    #[test]
    fn a_ca_file_without_a_certificate_is_refused_by_name() {
        assert!(matches!(
            HyperFetch::new(Some(b"no pem")),
            Err(FetchSetupError::NoCertificate)
        ));
    }
}
