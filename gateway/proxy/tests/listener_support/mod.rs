//! A listener on a free port with a handler that notes what reached it, and clients that send exact bytes.

#![expect(dead_code, reason = "each test binary uses its own part of the support")]

pub(crate) mod http2;

use std::{
    convert::Infallible,
    future::Future,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper_util::rt::TokioIo;
use proxy::listener::{
    Conn, Deadlines, Handler, Head, Inbound, InboundError, Limits, Listener, ListenerConfig, ListenerMetrics, Refused,
    Running, Security, Taking, Violation,
    tls::{CertificateStore, ClientAuthorities, ClientCertificateRules, TrustedDomains},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::{Notify, watch},
};

/// What the handler saw of one request.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: Method,
    pub(crate) target: String,
    pub(crate) host: Option<String>,
    pub(crate) violation: Option<Violation>,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Result<Bytes, String>,
    pub(crate) connection: Arc<Conn>,
    pub(crate) taking: Taking,
}

/// Notes everything; answers by path.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    pub(crate) seen: Mutex<Vec<Seen>>,
    pub(crate) refused: Mutex<Vec<Refused>>,
    pub(crate) changed: watch::Sender<u64>,
    pub(crate) tunnelled: Mutex<Vec<u8>>,
    pub(crate) release: Notify,
}

impl Notes {
    /// Waits until `condition` holds; it is asked again after every request and refusal, and now and then: what is
    /// counted may come about without either.
    pub(crate) async fn until(&self, condition: impl Fn(&Self) -> bool) {
        let mut changes = self.changed.subscribe();
        guarded(async {
            while !condition(self) {
                let _ = tokio::time::timeout(Duration::from_millis(10), changes.changed()).await;
            }
        })
        .await;
    }

    pub(crate) fn targets(&self) -> Vec<String> {
        self.seen
            .lock()
            .unwrap()
            .iter()
            .map(|seen| seen.target.clone())
            .collect()
    }

    /// The targets of which the client took no more of the answer.
    pub(crate) fn stalled(&self) -> Vec<String> {
        let seen = self.seen.lock().unwrap();
        let stalled = seen.iter().filter(|seen| seen.taking.is_stalled());
        stalled.map(|seen| seen.target.clone()).collect()
    }

    pub(crate) fn violations(&self) -> Vec<Option<Violation>> {
        self.seen.lock().unwrap().iter().map(|seen| seen.violation).collect()
    }

    pub(crate) fn refusals(&self) -> Vec<Refused> {
        self.refused.lock().unwrap().clone()
    }
}

type Body = BoxBody<Bytes, Infallible>;

impl Handler for Notes {
    type Body = Body;

    async fn handle(&self, conn: Arc<Conn>, head: Head, mut request: Request<Inbound>) -> Response<Body> {
        let path = String::from_utf8_lossy(&head.target).into_owned();
        let mut response = match path.as_str() {
            _ if head.violation.is_some() => refusal(head.violation.unwrap()),
            "/panic" => panic!("asked for"),
            "/upgrade" => self.upgrade(&mut request),
            "/unasked-101" => answer(StatusCode::SWITCHING_PROTOCOLS, ""),
            "/early" => answer(StatusCode::UNAUTHORIZED, "early"),
            "/endless" => endless(),
            "/big" => answer(StatusCode::OK, "x".repeat(32 * 1024 * 1024)),
            "/quiet" => quiet(),
            "/held" => {
                self.note(conn.clone(), &head, &request, Ok(Bytes::new()));
                self.release.notified().await;
                return answer(StatusCode::OK, "released");
            }
            _ => answer(StatusCode::OK, "ok"),
        };
        let body = if matches!(path.as_str(), "/early") {
            Ok(Bytes::new())
        } else {
            collect(request.body_mut()).await
        };
        if let Err(error) = &body {
            *response.status_mut() = if error.contains("stopped") {
                StatusCode::REQUEST_TIMEOUT
            } else {
                StatusCode::BAD_REQUEST
            };
        }
        self.note(conn, &head, &request, body);
        response
    }

    fn connection_refused(&self, _conn: &Conn, reason: Refused) {
        self.refused.lock().unwrap().push(reason);
        self.changed.send_modify(|changes| *changes += 1);
    }
}

impl Notes {
    fn note(&self, connection: Arc<Conn>, head: &Head, request: &Request<Inbound>, body: Result<Bytes, String>) {
        self.seen.lock().unwrap().push(Seen {
            method: request.method().clone(),
            target: String::from_utf8_lossy(&head.target).into_owned(),
            host: head.host.as_ref().map(ToString::to_string),
            violation: head.violation,
            headers: request.headers().clone(),
            body,
            connection,
            taking: request.body().taking(),
        });
        self.changed.send_modify(|changes| *changes += 1);
    }

    /// Echoes the tunnel until it ends.
    fn upgrade(&self, request: &mut Request<Inbound>) -> Response<Body> {
        let upgrade = hyper::upgrade::on(request);
        tokio::spawn(async move {
            let mut tunnel = TokioIo::new(upgrade.await.unwrap());
            let mut buffer = [0; 4096];
            while let Ok(len @ 1..) = tunnel.read(&mut buffer).await {
                tunnel.write_all(&buffer[..len]).await.unwrap();
            }
            let _ = tunnel.shutdown().await;
        });
        let mut response = answer(StatusCode::SWITCHING_PROTOCOLS, "");
        response.headers_mut().insert("connection", "upgrade".parse().unwrap());
        response.headers_mut().insert("upgrade", "websocket".parse().unwrap());
        response
    }
}

async fn collect(body: &mut Inbound) -> Result<Bytes, String> {
    let mut collected = Vec::new();
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => collected.extend_from_slice(&frame.into_data().expect("trailers are dropped")),
            Err(error @ (InboundError::Stalled | InboundError::Malformed(_) | InboundError::Disconnected(_))) => {
                return Err(error.to_string());
            }
        }
    }
    Ok(collected.into())
}

pub(crate) fn refusal(violation: Violation) -> Response<Body> {
    answer(violation.status(), violation.text())
}

fn answer(status: StatusCode, text: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Full::new(text.into()).boxed());
    *response.status_mut() = status;
    response
}

fn endless() -> Response<Body> {
    let chunks = futures::stream::repeat_with(|| Ok(hyper::body::Frame::data(Bytes::from(vec![b'x'; 16 * 1024]))));
    Response::new(BoxBody::new(StreamBody::new(chunks)))
}

/// A watch on which nothing happens.
fn quiet() -> Response<Body> {
    Response::new(BoxBody::new(StreamBody::new(futures::stream::pending())))
}

/// A running listener with its notes.
pub(crate) struct Gate {
    pub(crate) running: Running,
    pub(crate) notes: Arc<Notes>,
    pub(crate) metrics: Arc<ListenerMetrics>,
}

impl Gate {
    pub(crate) fn address(&self) -> SocketAddr {
        self.running.address()
    }

    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address()).await.unwrap()
    }

    /// Sends bytes and reads until the gate closes.
    pub(crate) async fn exchange(&self, bytes: impl AsRef<[u8]>) -> String {
        let mut stream = self.connect().await;
        // The gate may refuse and close before all is sent.
        let _ = stream.write_all(bytes.as_ref()).await;
        read_to_close(&mut stream).await
    }
}

pub(crate) fn start(security: Security, adjust: impl FnOnce(&mut ListenerConfig)) -> Gate {
    let mut config = ListenerConfig::new("test", "127.0.0.1:0".parse().unwrap(), security);
    config.deadlines = patient();
    adjust(&mut config);
    let (metrics, notes) = (Arc::new(ListenerMetrics::default()), Arc::new(Notes::default()));
    let running = Listener::bind(config, metrics.clone()).unwrap().start(notes.clone());
    Gate {
        running,
        notes,
        metrics,
    }
}

pub(crate) fn plain() -> Gate {
    start(Security::PlainLoopback, |_| {})
}

/// Deadlines that no test reaches; each test shortens the one it is about.
pub(crate) fn patient() -> Deadlines {
    let long = Duration::from_secs(60);
    Deadlines {
        client_hello: long,
        handshake: long,
        first_byte: long,
        request_head: long,
        head_progress: long,
        keep_alive_idle: long,
        body_progress: long,
        write_progress: long,
        http2_frame: long,
        http2_first_stream: long,
        http2_idle: long,
        http2_ping_interval: long,
        http2_ping_timeout: long,
        go_away: long,
        linger: Duration::from_millis(50),
    }
}

pub(crate) const SHORT: Duration = Duration::from_millis(150);

/// Fails instead of hanging; nothing is asserted about how long a success takes.
pub(crate) async fn guarded<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(120), future)
        .await
        .expect("the condition came about")
}

pub(crate) async fn read_to_close(stream: &mut (impl AsyncReadExt + Unpin)) -> String {
    let mut bytes = Vec::new();
    // A reset behind the answer is an end as well.
    let _ = guarded(stream.read_to_end(&mut bytes)).await;
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Reads one answer with a `Content-Length` body and leaves the connection open.
pub(crate) async fn read_answer(stream: &mut (impl AsyncReadExt + Unpin)) -> String {
    let mut bytes = Vec::new();
    guarded(async {
        loop {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let length = head
                    .lines()
                    .find_map(|line| line.strip_prefix("content-length: "))
                    .map_or(0, |length| length.parse().unwrap());
                if body.len() >= length {
                    return text;
                }
            }
            let mut byte = [0];
            stream.read_exact(&mut byte).await.unwrap();
            bytes.extend_from_slice(&byte);
        }
    })
    .await
}

pub(crate) fn status(answer: &str) -> u16 {
    answer
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .unwrap_or(0)
}

/// An authority with a serving certificate for `localhost`, `gate.example` and 127.0.0.1.
pub(crate) struct Authority {
    certificate: rcgen::Certificate,
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = rcgen::CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Self {
            certificate,
            issuer: rcgen::Issuer::new(params, key),
        }
    }

    pub(crate) fn pem(&self) -> String {
        self.certificate.pem()
    }

    /// Certificate and key in PEM.
    pub(crate) fn serving(&self) -> (String, String) {
        let names = ["localhost", "gate.example", "cluster.example", "127.0.0.1"]
            .map(str::to_owned)
            .to_vec();
        self.issue(rcgen::CertificateParams::new(names).unwrap())
    }

    pub(crate) fn client(&self, name: &str) -> (String, String) {
        let mut params = rcgen::CertificateParams::new(Vec::<String>::new()).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params
            .extended_key_usages
            .push(rcgen::ExtendedKeyUsagePurpose::ClientAuth);
        self.issue(params)
    }

    pub(crate) fn expired_client(&self, name: &str) -> (String, String) {
        let mut params = rcgen::CertificateParams::new(Vec::<String>::new()).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params
            .extended_key_usages
            .push(rcgen::ExtendedKeyUsagePurpose::ClientAuth);
        params.not_before = rcgen::date_time_ymd(2001, 1, 1);
        params.not_after = rcgen::date_time_ymd(2002, 1, 1);
        self.issue(params)
    }

    /// An X.509-SVID of this workload, with whatever else is set.
    pub(crate) fn workload(&self, id: &str, more: impl FnOnce(&mut rcgen::CertificateParams)) -> (String, String) {
        let mut params = rcgen::CertificateParams::new(Vec::<String>::new()).unwrap();
        params.subject_alt_names = vec![rcgen::SanType::URI(id.try_into().unwrap())];
        params.key_usages = vec![rcgen::KeyUsagePurpose::DigitalSignature];
        more(&mut params);
        self.issue(params)
    }

    fn issue(&self, params: rcgen::CertificateParams) -> (String, String) {
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (certificate.pem(), key.serialize_pem())
    }
}

pub(crate) fn tls(authority: &Authority) -> (Security, Arc<CertificateStore>) {
    let (certificate, key) = authority.serving();
    let store = Arc::new(CertificateStore::load(certificate.as_bytes(), key.as_bytes()).unwrap());
    (
        Security::Tls {
            certificates: store.clone(),
            client_certificates: None,
        },
        store,
    )
}

pub(crate) fn tls_asking(authority: &Authority, clients: Arc<ClientAuthorities>) -> Security {
    tls_asking_for(authority, Some(clients), None)
}

pub(crate) fn tls_asking_for(
    authority: &Authority,
    authorities: Option<Arc<ClientAuthorities>>,
    workloads: Option<Arc<TrustedDomains>>,
) -> Security {
    let (Security::Tls { certificates, .. }, _) = tls(authority) else {
        panic!("tls")
    };
    let rules = ClientCertificateRules {
        authorities,
        workloads,
        silent_names: ["gate.example".into()].into(),
    };
    Security::Tls {
        certificates,
        client_certificates: Some(rules),
    }
}

/// How a TLS client behaves.
#[derive(Default)]
pub(crate) struct ClientOptions<'a> {
    pub(crate) alpn: &'a [&'a str],
    pub(crate) server_name: Option<&'a str>,
    pub(crate) no_sni: bool,
    pub(crate) certificate: Option<&'a (String, String)>,
    pub(crate) only_tls12: bool,
}

pub(crate) fn client_config(authority: &Authority, options: &ClientOptions<'_>) -> Arc<rustls::ClientConfig> {
    use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
    let mut roots = rustls::RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap())
        .unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let versions: &[_] = if options.only_tls12 {
        &[&rustls::version::TLS12]
    } else {
        rustls::ALL_VERSIONS
    };
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match options.certificate {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => builder
            .with_client_auth_cert(
                vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()],
                PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap(),
            )
            .unwrap(),
    };
    config.alpn_protocols = options.alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    config.enable_sni = !options.no_sni;
    Arc::new(config)
}

pub(crate) type TlsClient = tokio_rustls::client::TlsStream<TcpStream>;

pub(crate) async fn handshake(
    gate: &Gate,
    config: Arc<rustls::ClientConfig>,
    name: &str,
) -> std::io::Result<TlsClient> {
    let name = rustls_pki_types::ServerName::try_from(name.to_owned()).unwrap();
    guarded(tokio_rustls::TlsConnector::from(config).connect(name, gate.connect().await)).await
}

pub(crate) async fn secure(gate: &Gate, authority: &Authority, options: ClientOptions<'_>) -> TlsClient {
    let name = options.server_name.unwrap_or("localhost");
    handshake(gate, client_config(authority, &options), name).await.unwrap()
}

pub(crate) fn limits(adjust: impl FnOnce(&mut Limits)) -> impl FnOnce(&mut ListenerConfig) {
    |config| adjust(&mut config.limits)
}

pub(crate) fn deadlines(adjust: impl FnOnce(&mut Deadlines)) -> impl FnOnce(&mut ListenerConfig) {
    |config| adjust(&mut config.deadlines)
}

/// The first bytes of a handshake that a client would send.
pub(crate) fn client_hello(authority: &Authority) -> Vec<u8> {
    let config = client_config(authority, &ClientOptions::default());
    let name = rustls_pki_types::ServerName::try_from("localhost").unwrap();
    let mut bytes = Vec::new();
    rustls::ClientConnection::new(config, name)
        .unwrap()
        .write_tls(&mut bytes)
        .unwrap();
    bytes
}
