//! A small API server: fixed answers of 1,000 bytes, the lists and watches that the gateway's observer asks for, reviews
//! that say yes, and the issuer of the people's tokens. Made to cost little; it is no stand-in for a cluster.

use super::world::World;
use anyhow::Context;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use serde_json::{Value, json};
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// Length of an answer's body.
pub const ANSWER_BYTES: usize = 1_000;

/// A running server; it ends with its runtime.
#[derive(Debug)]
pub struct Api {
    /// Plain HTTP/1.1; also the issuer.
    pub plain: SocketAddr,
    /// TLS, HTTP/2 and HTTP/1.1.
    pub tls: SocketAddr,
    state: Arc<State>,
}

struct State {
    world: Arc<World>,
    issuer: String,
    hits: AtomicU64,
    asserted: AtomicU64,
    reviews: AtomicU64,
    delay_ms: AtomicU64,
    changing: AtomicBool,
    changes: tokio::sync::broadcast::Sender<Arc<str>>,
    answer: Vec<u8>,
    body: Bytes,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State")
            .field("hits", &self.hits)
            .finish_non_exhaustive()
    }
}

/// A place to listen, taken before the world is made, because tokens name their issuer.
///
/// # Errors
/// No port is free.
pub async fn place() -> anyhow::Result<TcpListener> {
    Ok(TcpListener::bind("127.0.0.1:0").await?)
}

/// The issuer at a place.
///
/// # Errors
/// The socket is gone.
pub fn issuer_at(place: &TcpListener) -> anyhow::Result<String> {
    Ok(format!("http://{}/people", place.local_addr()?))
}

impl Api {
    /// Begins to serve `world` at `plain` and at a TLS port.
    ///
    /// # Errors
    /// The certificate does not fit.
    pub async fn start(plain: TcpListener, world: Arc<World>, identity: &crate::pki::Identity) -> anyhow::Result<Self> {
        let secure = place().await?;
        let acceptor = TlsAcceptor::from(server_config(identity, true)?);
        let body = Bytes::from(padded());
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nCache-Control: no-cache, private\r\nDate: Sat, 21 Nov 2026 08:00:00 GMT\r\nContent-Length: {ANSWER_BYTES}\r\n\r\n"
        );
        let state = Arc::new(State {
            issuer: issuer_at(&plain)?,
            hits: AtomicU64::new(0),
            asserted: AtomicU64::new(0),
            reviews: AtomicU64::new(0),
            delay_ms: AtomicU64::new(0),
            changing: AtomicBool::new(false),
            changes: tokio::sync::broadcast::channel(64).0,
            answer: [head.as_bytes(), &body].concat(),
            body,
            world,
        });
        let api = Self {
            plain: plain.local_addr()?,
            tls: secure.local_addr()?,
            state: Arc::clone(&state),
        };
        let for_plain = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((stream, _)) = plain.accept().await {
                let _ = stream.set_nodelay(true);
                tokio::spawn(http1(stream, Arc::clone(&for_plain)));
            }
        });
        let for_tls = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((stream, _)) = secure.accept().await {
                let _ = stream.set_nodelay(true);
                let (acceptor, state) = (acceptor.clone(), Arc::clone(&for_tls));
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else {
                        return;
                    };
                    if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
                        http2(stream, state).await;
                    } else {
                        http1(stream, state).await;
                    }
                });
            }
        });
        tokio::spawn(changes(Arc::clone(&state)));
        tokio::spawn(renewals(state));
        Ok(api)
    }

    /// Requests of people that came so far.
    #[must_use]
    pub fn hits(&self) -> u64 {
        self.state.hits.load(Ordering::Relaxed)
    }

    /// Of these, in clear text, those that said by an assertion who calls.
    #[must_use]
    pub fn asserted(&self) -> u64 {
        self.state.asserted.load(Ordering::Relaxed)
    }

    /// Reviews that were asked so far.
    #[must_use]
    pub fn reviews(&self) -> u64 {
        self.state.reviews.load(Ordering::Relaxed)
    }

    /// From now on each answer comes so much later.
    pub fn delay(&self, by: Duration) {
        let milliseconds = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
        self.state.delay_ms.store(milliseconds, Ordering::Relaxed);
    }

    /// Whether one RBAC object changes, and ten tokens are renewed, each second.
    pub fn changing(&self, is: bool) {
        self.state.changing.store(is, Ordering::Relaxed);
    }

    /// How a gateway finds the issuer.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.state.issuer
    }
}

/// A server's TLS for `identity`.
///
/// # Errors
/// Certificate and key do not fit.
pub fn server_config(identity: &crate::pki::Identity, http2: bool) -> anyhow::Result<Arc<rustls::ServerConfig>> {
    use rustls::pki_types::pem::PemObject as _;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    let unreadable = |error| anyhow::anyhow!("{error:?}");
    let chain = CertificateDer::pem_slice_iter(identity.certificate.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(unreadable)?;
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).map_err(unreadable)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    if http2 {
        config.alpn_protocols = vec![b"h2".to_vec()];
    }
    config.alpn_protocols.push(b"http/1.1".to_vec());
    Ok(Arc::new(config))
}

fn padded() -> Vec<u8> {
    let mut body = br#"{"kind":"Pod","apiVersion":"v1","metadata":{"name":"pod-0","namespace":"namespace-000","uid":"2d1c9a1e-0d53-4a4c-9c57-0f2d9d2f9e11","resourceVersion":"4711"},"spec":{"text":""#.to_vec();
    body.resize(ANSWER_BYTES - 3, b'x');
    body.extend_from_slice(br#""}}"#);
    body
}

/// A request's or answer's declared length.
#[must_use]
pub fn content_length(head: &[u8]) -> Option<usize> {
    let mut lines = head.split(|byte| *byte == b'\n');
    let line = lines.find(|line| {
        line.len() > 15
            && line
                .get(..15)
                .is_some_and(|name| name.eq_ignore_ascii_case(b"content-length:"))
    })?;
    std::str::from_utf8(line.get(15..)?).ok()?.trim().parse().ok()
}

async fn http1<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, state: Arc<State>) {
    let mut held = Vec::with_capacity(8_192);
    loop {
        let (head, body) = loop {
            if let Some(end) = memchr::memmem::find(&held, b"\r\n\r\n") {
                let body = if held.starts_with(b"GET ") {
                    0
                } else {
                    content_length(held.get(..end).unwrap_or_default()).unwrap_or(0)
                };
                if held.len() >= end + 4 + body {
                    break (end + 4, body);
                }
            }
            match stream.read_buf(&mut held).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
        };
        let line = held.split(|byte| *byte == b'\r').next().unwrap_or_default();
        let target = line.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
        let outcome = if is_watch(target) {
            state.arrived().await;
            watch(&mut stream, &state, "pods").await
        } else if is_person(target) {
            let is_asserted = memchr::memmem::find(held.get(..head).unwrap_or_default(), ASSERTION).is_some();
            state.asserted.fetch_add(u64::from(is_asserted), Ordering::Relaxed);
            state.arrived().await;
            stream.write_all(&state.answer).await
        } else {
            let target = String::from_utf8_lossy(target).into_owned();
            let body = held.get(head..head + body).unwrap_or_default();
            own(&mut stream, &state, &target, body).await
        };
        if outcome.is_err() || stream.flush().await.is_err() {
            return;
        }
        held.drain(..head + body);
    }
}

/// The end of the header's name, which proxies write in two cases.
const ASSERTION: &[u8] = b"ssertion: ey";

impl State {
    fn arrived(&self) -> impl Future<Output = ()> + use<> {
        self.hits.fetch_add(1, Ordering::Relaxed);
        let delay = self.delay_ms.load(Ordering::Relaxed);
        async move {
            if delay > 0 {
                tokio::time::sleep(Duration::from_millis(delay)).await;
            }
        }
    }
}

/// Below one namespace; what proxies leave of the gateway's own prefix is as good.
fn is_person(target: &[u8]) -> bool {
    let target = target.strip_prefix(b"/clusters/bench").unwrap_or(target);
    target.starts_with(b"/api/v1/namespaces/")
}

fn is_watch(target: &[u8]) -> bool {
    is_person(target) && memchr::memmem::find(target, b"watch=true").is_some()
}

async fn own<S: AsyncWrite + Unpin>(stream: &mut S, state: &State, target: &str, body: &[u8]) -> std::io::Result<()> {
    let path = target.split('?').next().unwrap_or_default();
    let (_, plural) = path.rsplit_once('/').unwrap_or_default();
    if target.contains("watch=true") {
        return watch(stream, state, plural).await;
    }
    let (status, answer) = match path {
        // Who issues its own accounts' tokens is somebody else than who issues people's.
        "/.well-known/openid-configuration" => (200, json!({ "issuer": "https://kubernetes.default.svc" })),
        "/people/.well-known/openid-configuration" => (200, discovery(&state.issuer)),
        "/people/jwks" => (200, state.world.keys()),
        _ if path.ends_with("/tokenreviews") => (201, reviewed(body)),
        _ if path.ends_with("/subjectaccessreviews") => {
            state.reviews.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(state.delay_ms.load(Ordering::Relaxed))).await;
            let status = json!({ "allowed": true, "reason": "the bench says yes" });
            (
                201,
                json!({ "kind": "SubjectAccessReview", "apiVersion": "authorization.k8s.io/v1", "metadata": {}, "spec": {}, "status": status }),
            )
        }
        _ => (200, state.world.list(plural)),
    };
    let answer = answer.to_string();
    let head = format!(
        "HTTP/1.1 {status} OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        answer.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(answer.as_bytes()).await
}

/// Whose ServiceAccount's token it is: what the token says is believed, whoever has signed it.
fn reviewed(review: &[u8]) -> Value {
    let review: Value = serde_json::from_slice(review).unwrap_or_default();
    let token = review["spec"]["token"].as_str().unwrap_or_default();
    let claims = token
        .split('.')
        .nth(1)
        .and_then(|claims| URL_SAFE_NO_PAD.decode(claims).ok());
    let claims: Value = claims
        .and_then(|claims| serde_json::from_slice(&claims).ok())
        .unwrap_or_default();
    let namespace = claims["kubernetes.io"]["namespace"].as_str().unwrap_or_default();
    let of_namespace = format!("system:serviceaccounts:{namespace}");
    let groups = ["system:serviceaccounts", &of_namespace, "system:authenticated"];
    json!({ "kind": "TokenReview", "apiVersion": "authentication.k8s.io/v1", "metadata": {}, "spec": {}, "status": {
        "authenticated": true, "audiences": claims["aud"],
        "user": { "username": claims["sub"], "uid": claims["kubernetes.io"]["serviceaccount"]["uid"], "groups": groups },
    } })
}

fn discovery(issuer: &str) -> Value {
    json!({
        "issuer": issuer, "jwks_uri": format!("{issuer}/jwks"),
        "authorization_endpoint": format!("{issuer}/authorize"), "token_endpoint": format!("{issuer}/token"),
        "response_types_supported": ["code"], "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
    })
}

/// A watch: the changes of role bindings, silence for all else.
async fn watch<S: AsyncWrite + Unpin>(stream: &mut S, state: &State, plural: &str) -> std::io::Result<()> {
    stream
        .write_all(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
        .await?;
    stream.flush().await?;
    let mut changes = state.changes.subscribe();
    loop {
        let event = changes.recv().await.map_err(std::io::Error::other)?;
        if plural == "rolebindings" {
            stream
                .write_all(format!("{:x}\r\n{event}\n\r\n", event.len() + 1).as_bytes())
                .await?;
            stream.flush().await?;
        }
    }
}

async fn changes(state: Arc<State>) {
    let mut beat = tokio::time::interval(Duration::from_secs(1));
    let mut serial = 0;
    loop {
        beat.tick().await;
        if state.changing.load(Ordering::Relaxed) {
            // Nobody listens while no gateway runs.
            let _ = state.changes.send(state.world.change(serial).to_string().into());
            serial += 1;
        }
    }
}

async fn renewals(state: Arc<State>) {
    let mut beat = tokio::time::interval(Duration::from_millis(100));
    let mut serial = 1;
    loop {
        beat.tick().await;
        if state.changing.load(Ordering::Relaxed) {
            // A person whose renewal fails keeps the old token.
            let _ = state.world.renew(serial * 7 % state.world.people(), serial);
            serial += 1;
        }
    }
}

async fn http2<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(stream: S, state: Arc<State>) {
    let mut builder = h2::server::Builder::new();
    builder.max_concurrent_streams(250);
    let Ok(mut connection) = builder.handshake::<_, Bytes>(stream).await else {
        return;
    };
    while let Some(Ok((request, respond))) = connection.accept().await {
        let arrived = state.arrived();
        if is_watch(
            request
                .uri()
                .path_and_query()
                .map_or("", |target| target.as_str())
                .as_bytes(),
        ) {
            tokio::spawn(hold_open(respond));
        } else if state.delay_ms.load(Ordering::Relaxed) > 0 || !request.body().is_end_stream() {
            let body = state.body.clone();
            tokio::spawn(async move {
                arrived.await;
                let mut upload = request.into_body();
                while let Some(Ok(piece)) = upload.data().await {
                    let _ = upload.flow_control().release_capacity(piece.len());
                }
                answer(respond, body)
            });
        } else if answer(respond, state.body.clone()).is_err() {
            return;
        }
    }
}

/// A watch on which nothing happens: one event, then silence until the other side resets it.
async fn hold_open(mut respond: h2::server::SendResponse<Bytes>) -> anyhow::Result<()> {
    let head = http::Response::builder()
        .header("content-type", "application/json")
        .body(())?;
    let mut stream = respond.send_response(head, false)?;
    stream.send_data(Bytes::from_static(EVENT), false)?;
    std::future::poll_fn(|cx| stream.poll_reset(cx)).await?;
    Ok(())
}

const EVENT: &[u8] = b"{\"type\":\"BOOKMARK\",\"object\":{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"metadata\":{\"resourceVersion\":\"1\"}}}\n";

fn answer(mut respond: h2::server::SendResponse<Bytes>, body: Bytes) -> anyhow::Result<()> {
    let head = http::Response::builder()
        .header("content-type", "application/json")
        .header("cache-control", "no-cache, private")
        .header("content-length", ANSWER_BYTES)
        .body(())
        .context("an answer")?;
    respond.send_response(head, false)?.send_data(body, true)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_is_found_whatever_its_case_and_place() {
        assert_eq!(
            content_length(b"POST / HTTP/1.1\r\nHost: a\r\ncontent-length: 12\r\n"),
            Some(12)
        );
        assert_eq!(content_length(b"GET / HTTP/1.1\r\nHost: a"), None);
    }
}
