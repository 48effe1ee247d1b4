//! Load: connections that are kept, one request at a time on each, over TLS. HTTP/1.1 is written by hand, because the
//! generator shares its core with the upstream and must not be what is measured; HTTP/2 is `h2`.

use super::crew::{Asks, Crew, Proof, Shared};
use super::world::{self, World};
use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use rustls::pki_types::ServerName;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Which requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    /// A connection speaks for one person 64 times, about eight pods, then for the next.
    Turns,
    /// Every request is by another person, about any of that person's pods.
    Scattered,
    /// By turns, in namespaces where nobody is bound.
    Elsewhere,
    /// By turns, a ConfigMap created each time.
    Writes,
    /// The same, of 2.5 KB in twenty values.
    LongWrites,
}

/// What to send where.
#[derive(Clone, Debug)]
pub struct Load {
    /// The proxy.
    pub address: SocketAddr,
    /// Trust, cipher, protocol.
    pub tls: Arc<rustls::ClientConfig>,
    /// HTTP/2 instead of HTTP/1.1.
    pub http2: bool,
    /// Connections.
    pub connections: usize,
    /// Each connection comes from an address of its own, as those of pods do.
    pub apart: bool,
    /// Which requests.
    pub plan: Plan,
    /// Before the measured time.
    pub warm: Duration,
    /// The measured time.
    pub measured: Duration,
}

/// What a load came to.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Answers, each 200 or 201 with its whole body, warm ones included.
    pub requests: u64,
    /// Of these in the measured time.
    pub measured: u64,
    /// CPU in the measured time, microseconds.
    pub cpu: f64,
    /// How long the measured time was, seconds.
    pub seconds: f64,
    /// Of each measured request, nanoseconds.
    pub latencies: Vec<u32>,
}

impl Outcome {
    /// CPU for each request, in microseconds.
    #[must_use]
    pub fn cpu_each(&self) -> f64 {
        self.cpu / self.measured.max(1) as f64
    }
}

/// Trusts `ca`, speaks TLS 1.3 with AES-128-GCM over X25519, as the proxies compared all can.
///
/// # Errors
/// The certificate cannot be read.
pub fn client_config(ca: &str, http2: bool) -> anyhow::Result<Arc<rustls::ClientConfig>> {
    use rustls::crypto::aws_lc_rs::{cipher_suite, default_provider, kx_group};
    use rustls::pki_types::pem::PemObject as _;
    let mut roots = rustls::RootCertStore::empty();
    for certificate in rustls::pki_types::CertificateDer::pem_slice_iter(ca.as_bytes()) {
        roots.add(certificate.map_err(|error| anyhow::anyhow!("{error:?}"))?)?;
    }
    let provider = rustls::crypto::CryptoProvider {
        cipher_suites: vec![cipher_suite::TLS13_AES_128_GCM_SHA256],
        kx_groups: vec![kx_group::X25519],
        ..default_provider()
    };
    let mut config = rustls::ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![if http2 { b"h2".to_vec() } else { b"http/1.1".to_vec() }];
    Ok(Arc::new(config))
}

/// Sends what people ask of the cluster until the time is over. `cpu` is read at both ends of the measured time.
///
/// # Errors
/// A connection breaks, or an answer is not what it must be.
pub async fn run(
    load: Load,
    world: Arc<World>,
    cpu: impl Fn() -> anyhow::Result<f64> + Send + 'static,
) -> anyhow::Result<Outcome> {
    let (plan, address) = (load.plan, load.address);
    run_as(
        load,
        move |number| Next::new(number, plan, address, Arc::clone(&world)),
        cpu,
    )
    .await
}

/// As [`run`], with what `asks` makes for each connection.
///
/// # Errors
/// As [`run`].
pub async fn run_as<A: Asks>(
    load: Load,
    asks: impl Fn(usize) -> A + Clone + Send + 'static,
    cpu: impl Fn() -> anyhow::Result<f64> + Send + 'static,
) -> anyhow::Result<Outcome> {
    let (warm, measured) = (load.warm, load.measured);
    crew(load, asks).for_a_while(warm, measured, cpu).await
}

/// As [`run_as`], until there is nothing more to ask for. All of it is measured.
///
/// # Errors
/// As [`run`].
pub async fn run_out<A: Asks>(
    load: Load,
    asks: impl Fn(usize) -> A + Clone + Send + 'static,
    cpu: impl Fn() -> anyhow::Result<f64> + Send + 'static,
) -> anyhow::Result<Outcome> {
    crew(load, asks).until_done(cpu).await
}

fn crew<A: Asks>(load: Load, asks: impl Fn(usize) -> A + Clone + Send + 'static) -> Crew {
    let http2 = load.http2;
    let (connections, to) = (load.connections, load);
    let connect = move |number| {
        let load = to.clone();
        async move { connect(load.address, &load.tls, load.apart.then(|| pod(number))).await }
    };
    Crew::gather(connections, connect, move |number, stream, shared| {
        let next = asks(number);
        async move {
            if http2 {
                spoken_2(stream, next, &shared).await
            } else {
                spoken_1(stream, next, &shared).await
            }
        }
    })
}

/// One address may have 2,000 connections, so many come from several addresses of loopback.
#[must_use]
pub fn source(connection: usize) -> IpAddr {
    let network = u8::try_from(connection / 1_900).unwrap_or(u8::MAX);
    Ipv4Addr::new(127, 0, network, 1).into()
}

/// The address of a pod of its own.
pub(super) fn pod(connection: usize) -> IpAddr {
    let [.., high, low] = connection.to_be_bytes();
    Ipv4Addr::new(127, 1, high, low).into()
}

/// Opens `load.connections` connections with `each` watches and holds them. HTTP/1.1 has one watch on a connection.
///
/// # Errors
/// A watch does not begin.
pub async fn watches(load: Load, each: usize, world: Arc<World>) -> anyhow::Result<Held> {
    let mut held = Held::new();
    for number in 0..load.connections {
        let mut next = Next::new(number, load.plan, load.address, Arc::clone(&world));
        let stream = connect(load.address, &load.tls, Some(source(number))).await?;
        if load.http2 {
            hold_2(stream, &mut next, each, &mut held).await?;
        } else {
            ensure!(each == 1, "one watch on each connection of HTTP/1.1");
            hold_1(stream, &mut next, &mut held).await?;
        }
    }
    Ok(held)
}

/// What is held: it ends with this value.
pub type Held = tokio::task::JoinSet<anyhow::Result<()>>;

async fn hold_1(mut stream: TlsStream<TcpStream>, next: &mut Next, held: &mut Held) -> anyhow::Result<()> {
    let target = next.watch();
    let request = format!(
        "GET {target} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\n\r\n",
        next.host, next.token
    );
    stream.write_all(request.as_bytes()).await?;
    stream.flush().await?;
    let mut answer = Vec::new();
    while memchr::memmem::find(&answer, b"BOOKMARK").is_none() {
        ensure!(
            stream.read_buf(&mut answer).await? > 0,
            "no watch: {}",
            String::from_utf8_lossy(&answer)
        );
    }
    held.spawn(async move {
        while stream.read_buf(&mut answer).await? > 0 {}
        Ok(())
    });
    Ok(())
}

async fn hold_2(stream: TlsStream<TcpStream>, next: &mut Next, each: usize, held: &mut Held) -> anyhow::Result<()> {
    let (mut send, connection) = h2::client::handshake(stream).await?;
    held.spawn(async move { Ok(connection.await?) });
    for _ in 0..each {
        let target = next.watch();
        let request = http::Request::builder()
            .uri(format!("https://{}{target}", next.host))
            .header("authorization", format!("Bearer {}", next.token))
            .body(())?;
        send = send.ready().await?;
        let (answer, _) = send.send_request(request, true)?;
        let mut body = answer.await?.into_body();
        body.data().await.context("no event")??;
        held.spawn(async move {
            // After an error there would be one more at once, and again.
            while let Some(piece) = body.data().await {
                piece?;
            }
            Ok(())
        });
    }
    Ok(())
}

/// A TLS connection that speaks the first protocol of `tls`.
///
/// # Errors
/// Nobody listens, or with another certificate or protocol.
pub async fn connect(
    address: SocketAddr,
    tls: &Arc<rustls::ClientConfig>,
    source: Option<IpAddr>,
) -> anyhow::Result<TlsStream<TcpStream>> {
    let socket = TcpSocket::new_v4()?;
    if let Some(source) = source {
        socket.bind((source, 0).into())?;
    }
    let stream = socket.connect(address).await?;
    stream.set_nodelay(true)?;
    let stream = TlsConnector::from(Arc::clone(tls))
        .connect(ServerName::IpAddress(address.ip().into()), stream)
        .await?;
    let (_, session) = stream.get_ref();
    // An API server that has no ALPN of a kind speaks HTTP/1.1.
    let spoken = session.alpn_protocol().unwrap_or(b"http/1.1");
    ensure!(
        tls.alpn_protocols.first().is_none_or(|wanted| wanted == spoken),
        "the proxy does not speak the protocol"
    );
    Ok(stream)
}

/// The order of requests on one connection.
struct Next {
    state: u64,
    plan: Plan,
    person: usize,
    left: usize,
    turn: u64,
    token: Arc<str>,
    host: String,
    target: String,
    world: Arc<World>,
}

impl Next {
    fn new(number: usize, plan: Plan, address: SocketAddr, world: Arc<World>) -> Self {
        Self {
            state: 0x9e37_79b9_7f4a_7c15 ^ ((number as u64 + 1) << 17),
            plan,
            person: 0,
            left: 0,
            turn: 0,
            token: Arc::default(),
            host: address.to_string(),
            target: String::new(),
            world,
        }
    }

    fn random(&mut self) -> usize {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        (self.state >> 20) as usize
    }

    fn go_on(&mut self) {
        if self.left == 0 {
            self.left = if self.plan == Plan::Scattered { 1 } else { 64 };
            self.person = self.random() % self.world.people();
            self.turn = self.random() as u64;
        }
        self.left -= 1;
        self.token = self.world.token(self.person);
        let any = self.random();
        let (nth, pod) = match self.plan {
            Plan::Scattered => (any, any / 64 % world::PODS),
            _ => ((self.turn as usize).wrapping_add(any % 4), (any / 4) % 2),
        };
        let namespace = match self.plan {
            Plan::Elsewhere => self.world.elsewhere(self.person, nth),
            _ => self.world.namespace(self.person, nth),
        };
        self.target.clear();
        // Writing into a string cannot fail.
        let _ = match self.plan {
            Plan::Writes | Plan::LongWrites => write!(
                self.target,
                "/clusters/bench/api/v1/namespaces/{}/configmaps",
                world::name(namespace)
            ),
            _ => write!(
                self.target,
                "/clusters/bench/api/v1/namespaces/{}/pods/pod-{pod}",
                world::name(namespace)
            ),
        };
    }

    /// The target of a watch on the pods of the next one's namespace.
    fn watch(&mut self) -> String {
        self.go_on();
        let (pods, _) = self.target.rsplit_once('/').unwrap_or_default();
        format!("{pods}?watch=true")
    }
}

impl Asks for Next {
    fn advance(&mut self) -> bool {
        self.go_on();
        true
    }

    fn host(&self) -> &str {
        &self.host
    }

    fn target(&self) -> &str {
        &self.target
    }

    fn proof(&self) -> Proof<'_> {
        Proof::Bearer(&self.token)
    }

    fn method(&self) -> &'static str {
        match self.plan {
            Plan::Writes | Plan::LongWrites => "POST",
            Plan::Turns | Plan::Scattered | Plan::Elsewhere => "GET",
        }
    }

    fn body(&self) -> &'static [u8] {
        match self.plan {
            Plan::Writes => CONFIG_MAP,
            Plan::LongWrites => LONG_CONFIG_MAP.as_bytes(),
            Plan::Turns | Plan::Scattered | Plan::Elsewhere => b"",
        }
    }
}

const AGENT: &str = "kubectl/v1.36.3 (linux/amd64) kubernetes/0a1b2c3";
const CONFIG_MAP: &[u8] =
    br#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"generateName":"bench-"},"data":{"key":"value"}}"#;
static LONG_CONFIG_MAP: LazyLock<String> = LazyLock::new(|| {
    let values = (0..20).map(|nth| format!(r#""key-{nth:02}":"{}""#, format!("value {nth:02}; ").repeat(11)));
    let (labels, data) = (r#"{"app":"bench","tier":"web"}"#, values.collect::<Vec<_>>().join(","));
    format!(
        r#"{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"generateName":"bench-","labels":{labels}}},"data":{{{data}}}}}"#
    )
});

async fn spoken_1(mut stream: TlsStream<TcpStream>, mut next: impl Asks, shared: &Shared) -> anyhow::Result<Vec<u32>> {
    let (mut request, mut answer, mut latencies) = (Vec::new(), Vec::with_capacity(8_192), Vec::new());
    while !shared.is_over() && next.advance() {
        request.clear();
        use std::io::Write as _;
        let (name, begin, proof) = next.proof().field();
        write!(
            request,
            "{} {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: {AGENT}\r\nAccept: application/json\r\n{name}: {begin}{proof}\r\nAccept-Encoding: gzip\r\n",
            next.method(),
            next.target(),
            next.host(),
        )?;
        if next.body().is_empty() {
            request.extend_from_slice(b"\r\n");
        } else {
            write!(
                request,
                "Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
                next.body().len()
            )?;
            request.extend_from_slice(next.body());
        }
        let began = Instant::now();
        stream.write_all(&request).await?;
        stream.flush().await?;
        answer_1(&mut stream, &mut answer).await?;
        shared.count(began, &mut latencies);
    }
    Ok(latencies)
}

async fn answer_1(stream: &mut TlsStream<TcpStream>, answer: &mut Vec<u8>) -> anyhow::Result<()> {
    answer.clear();
    let mut whole = None;
    while whole.is_none_or(|whole| answer.len() < whole) {
        if stream.read_buf(answer).await? == 0 {
            bail!("the connection ended in an answer: {}", String::from_utf8_lossy(answer));
        }
        if whole.is_none()
            && let Some(end) = memchr::memmem::find(answer, b"\r\n\r\n")
        {
            let head = answer.get(..end).unwrap_or_default();
            ensure!(
                head.starts_with(b"HTTP/1.1 20"),
                "the answer is {}",
                String::from_utf8_lossy(answer)
            );
            let length = super::api::content_length(head).context("an answer with a length")?;
            whole = Some(end + 4 + length);
        }
    }
    ensure!(Some(answer.len()) == whole, "an answer with a surplus");
    Ok(())
}

async fn spoken_2(stream: TlsStream<TcpStream>, mut next: impl Asks, shared: &Shared) -> anyhow::Result<Vec<u32>> {
    let (mut send, connection) = h2::client::handshake(stream).await?;
    let driver = tokio::spawn(connection);
    let mut latencies = Vec::new();
    while !shared.is_over() && next.advance() {
        let (name, begin, proof) = next.proof().field();
        let request = http::Request::builder()
            .method(next.method())
            .uri(format!("https://{}{}", next.host(), next.target()))
            .header("user-agent", AGENT)
            .header("accept", "application/json")
            .header(name, format!("{begin}{proof}"))
            .header("accept-encoding", "gzip");
        let request = match next.body().len() {
            0 => request.body(())?,
            length => request
                .header("content-type", "application/json")
                .header("content-length", length)
                .body(())?,
        };
        let began = Instant::now();
        send = send.ready().await?;
        let (answer, mut body) = send.send_request(request, next.body().is_empty())?;
        if !next.body().is_empty() {
            body.send_data(Bytes::from_static(next.body()), true)?;
        }
        answer_2(answer.await?).await?;
        shared.count(began, &mut latencies);
    }
    drop(send);
    driver.abort();
    Ok(latencies)
}

async fn answer_2(answer: http::Response<h2::RecvStream>) -> anyhow::Result<()> {
    ensure!(answer.status().is_success(), "the answer is {}", answer.status());
    let mut body = answer.into_body();
    let mut length = 0;
    while let Some(piece) = body.data().await {
        let piece = piece?;
        length += piece.len();
        body.flow_control().release_capacity(piece.len())?;
    }
    ensure!(length == super::api::ANSWER_BYTES, "an answer of {length} bytes");
    Ok(())
}
