//! HTTP services behind the gateway, attacked: by who may call one, by who has not signed in, and by services that keep to no rule.

use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};
use tests::fake::FakeApiServer;
use tests::gateway::{Gateway, Options};
use tests::http::{Answer, field, plainly};
use tests::open::replace;
use tests::wait::{PATIENCE, try_until, wait_until};

/// One service: developers may do everything there, and everybody something.
fn documents(upstream: SocketAddr) -> String {
    format!(
        r"
apiVersion: gatescribe.dev/v1
kind: Service
metadata: {{ name: web }}
spec:
  hosts: [web.localhost]
  upstream: {{ url: 'http://{upstream}' }}
---
apiVersion: gatescribe.dev/v1
kind: AccessRule
metadata: {{ name: web-for-developers }}
spec:
  effect: allow
  subjects: {{ groups: [dev] }}
  services: [{{ hosts: [web.localhost], methods: ['*'], paths: ['/*'] }}]
---
apiVersion: gatescribe.dev/v1
kind: AccessRule
metadata: {{ name: some-for-everybody }}
spec:
  effect: allow
  subjects: {{ public: true }}
  services: [{{ hosts: [web.localhost], methods: [GET], paths: ['/pub/*'] }}]
"
    )
}

struct World {
    gateway: Gateway,
    upstream: SocketAddr,
    _cluster: FakeApiServer,
}

impl World {
    /// A gateway before a service whose connections are served so.
    fn before(serve: impl Fn(TcpStream) -> anyhow::Result<()> + Send + Sync + 'static) -> anyhow::Result<Self> {
        Self::with(Value::Null, serve)
    }

    /// The same, with these limits.
    fn with(
        limits: Value,
        serve: impl Fn(TcpStream) -> anyhow::Result<()> + Send + Sync + 'static,
    ) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let upstream = listener.local_addr()?;
        let serve = Arc::new(serve);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let serve = Arc::clone(&serve);
                // A connection that breaks is what the stories are about.
                std::thread::spawn(move || drop(serve(stream)));
            }
        });
        let cluster = FakeApiServer::start()?;
        let options = Options {
            identity: Some(json!({ "providers": [{ "acceptAudiences": ["kubernetes"] }] })),
            more: limits.is_object().then(|| json!({ "limits": limits })),
            ..Options::ruled(documents(upstream))
        };
        Ok(Self {
            gateway: Gateway::before(&cluster.upstream(), &options)?,
            upstream,
            _cluster: cluster,
        })
    }

    fn address(&self) -> anyhow::Result<SocketAddr> {
        let bare = self.gateway.url.strip_prefix("http://").context("plain http")?;
        Ok(bare.parse()?)
    }

    fn host(&self) -> anyhow::Result<String> {
        Ok(format!("web.localhost:{}", self.address()?.port()))
    }

    fn bearer(&self, person: &str) -> anyhow::Result<String> {
        Ok(format!("Bearer {}", self.gateway.provider.raw_token(person)?))
    }

    fn ask(&self, act: (&str, &str), headers: &[(&str, &str)], body: &[u8]) -> anyhow::Result<Answer> {
        plainly(self.address()?, &self.host()?, act, headers, body)
    }

    /// A connection on which a request was begun.
    fn begin(&self, request: &[u8]) -> anyhow::Result<TcpStream> {
        let mut stream = TcpStream::connect(self.address()?)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(request)?;
        Ok(stream)
    }

    /// The end of the first call of the service.
    fn outcome(&self) -> anyhow::Result<Value> {
        let of_service = |record: &&Value| !record["service"].is_null() && record["kind"] == "outcome";
        let records = self.gateway.records_with("the end of the call", |records| {
            records.iter().any(|record| of_service(&record))
        })?;
        records.iter().find(of_service).cloned().context("an end")
    }
}

/// The lines of the next head; none where the connection ends before it does.
fn next_head(reader: &mut impl BufRead) -> anyhow::Result<Option<String>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if reader.read_until(b'\n', &mut head)? == 0 {
            return Ok(None);
        }
    }
    Ok(Some(String::from_utf8_lossy(&head).into_owned()))
}

fn target(head: &str) -> &str {
    head.split(' ').nth(1).unwrap_or_default()
}

/// A server that answers by the head alone, as many do to a GET: what follows is the next request to it, whatever it was sent as.
fn reads_no_bodies(heads: &Mutex<Vec<String>>, mut stream: TcpStream) -> anyhow::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    while let Some(head) = next_head(&mut reader)? {
        let path = target(&head).to_owned();
        heads.lock().unwrap_or_else(PoisonError::into_inner).push(head);
        write!(
            stream,
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{path}",
            path.len()
        )?;
    }
    Ok(())
}

/// A body without an end of its own: whoever comes next on the connection would say the rest, her credential with it.
const SMUGGLED: &[u8] = b"GET /secret.txt HTTP/1.1\r\nHost: x\r\nX-User: root\r\nX-Ignore: ";

#[test]
fn promise_7_what_a_service_leaves_of_a_body_is_nobodys_next_request() -> anyhow::Result<()> {
    let heads: Arc<Mutex<Vec<String>>> = Arc::default();
    let seen = Arc::clone(&heads);
    let world = World::before(move |stream| reads_no_bodies(&seen, stream))?;
    let alice = world.bearer("alice")?;
    let alice = [("Authorization", alice.as_str())];
    for round in 0..3 {
        let sent = world.ask(("GET", "/pub/a.txt"), &[], SMUGGLED)?;
        ensure!((sent.status, &*sent.body) == (200, b"/pub/a.txt"), "{round}: {sent:?}");
        let hers = world.ask(("GET", "/a"), &alice, b"")?;
        ensure!((hers.status, &*hers.body) == (200, b"/a"), "{round}: {hers:?}");
        let sent = world.ask(("POST", "/b"), &alice, SMUGGLED)?;
        ensure!((sent.status, &*sent.body) == (200, b"/b"), "{round}: {sent:?}");
        let next = world.ask(("GET", "/pub/c.txt"), &[], b"")?;
        ensure!((next.status, &*next.body) == (200, b"/pub/c.txt"), "{round}: {next:?}");
    }
    let heads = heads.lock().unwrap_or_else(PoisonError::into_inner);
    let targets: Vec<&str> = heads.iter().map(|head| target(head)).collect();
    ensure!(
        targets == ["/pub/a.txt", "/a", "/b", "/pub/c.txt"].repeat(3),
        "{targets:?}"
    );
    ensure!(!heads.iter().any(|head| head.contains("root")), "{heads:#?}");
    Ok(())
}

/// Tells of each piece that it reads, and answers nothing.
fn takes_all(told: &Sender<Option<Vec<u8>>>, mut stream: TcpStream) -> anyhow::Result<()> {
    let mut piece = [0; 4096];
    loop {
        match stream.read(&mut piece) {
            Ok(0) | Err(_) => return Ok(told.send(None)?),
            Ok(read) => told.send(Some(piece.get(..read).unwrap_or_default().to_vec()))?,
        }
    }
}

/// What has arrived until its last bytes are these.
fn arrives(told: &Receiver<Option<Vec<u8>>>, last: &[u8]) -> anyhow::Result<()> {
    let mut all = Vec::new();
    while !all.ends_with(last) {
        let piece = told.recv_timeout(PATIENCE).context("nothing comes")?;
        all.extend(piece.context("it ends")?);
    }
    Ok(())
}

/// Somebody who may no longer speak to the service does not go on speaking to it because it has not answered yet.
#[test]
fn promise_3_an_upload_whose_answer_has_not_come_ends_with_the_right_to_it() -> anyhow::Result<()> {
    let (tell, told) = mpsc::channel();
    let world = World::before(move |stream| takes_all(&tell, stream))?;
    let request = format!(
        "POST /up HTTP/1.1\r\nHost: {}\r\nAuthorization: {}\r\nContent-Type: application/grpc\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        world.host()?,
        world.bearer("alice")?
    );
    let mut stream = world.begin(request.as_bytes())?;
    arrives(&told, b"5\r\nhello\r\n")?;
    let without = documents(world.upstream).replace("groups: [dev]", "groups: [nobody]");
    replace(&world.gateway, "rules.yaml", &without)?;
    let head = next_head(&mut BufReader::new(stream.try_clone()?))?.context("she is told")?;
    ensure!(field(&head, "grpc-status") == Some("7"), "{head}");
    ensure!(
        told.recv_timeout(PATIENCE).context("the upload goes on")?.is_none(),
        "it ends, and no piece comes before that"
    );
    // Whatever she still sends, nobody takes it.
    let _ = stream.write_all(b"5\r\nworld\r\n");
    let outcome = world.outcome()?;
    ensure!(outcome["outcome"]["end"] == "unknown", "it has arrived: {outcome:#}");
    let why = outcome["outcome"]["why"].as_str().unwrap_or_default();
    ensure!(why == "ended by the gateway: no rule allows it", "{outcome:#}");
    Ok(())
}

/// Answers at once, but for what is asked at `/pub/wait`, which is counted and hangs until its client leaves.
fn hangs_for_some(waiting: &AtomicUsize, mut stream: TcpStream) -> anyhow::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    while let Some(head) = next_head(&mut reader)? {
        if target(&head) == "/pub/wait" {
            waiting.fetch_add(1, Ordering::Relaxed);
            reader.read_to_end(&mut Vec::new())?;
            return Ok(());
        }
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")?;
    }
    Ok(())
}

/// A connection from a network of its own on the loopback, with which one more of the public waits for an answer.
fn waits_from(gateway: SocketAddr, host: &str, number: u16) -> anyhow::Result<TcpStream> {
    let [high, low] = number.to_be_bytes();
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::from(([127, high.saturating_add(1), low, 9], 0)).into())?;
    socket.connect(&gateway.into())?;
    let mut stream = TcpStream::from(socket);
    write!(stream, "GET /pub/wait HTTP/1.1\r\nHost: {host}\r\n\r\n")?;
    stream.set_nonblocking(true)?;
    Ok(stream)
}

/// Whether it was told 429; nothing has come where it waits.
fn is_turned_away(stream: &TcpStream) -> bool {
    let mut begin = [0; 13];
    stream.peek(&mut begin).is_ok() && begin.starts_with(b"HTTP/1.1 429 ")
}

/// Two thousand networks ask for what is open to everybody and let go of nothing: what the public has is full then, and nothing of what people
/// need.
#[test]
fn promise_8_thousands_of_addresses_fill_what_the_public_has_and_who_signed_in_calls_on() -> anyhow::Result<()> {
    const NETWORKS: u16 = 2_000;
    let reached: Arc<AtomicUsize> = Arc::default();
    let counted = Arc::clone(&reached);
    let world = World::with(json!({ "publicInFlight": 48, "longCalls": 64 }), move |stream| {
        hangs_for_some(&counted, stream)
    })?;
    let (gateway, host) = (world.address()?, world.host()?);
    let clients: Vec<TcpStream> = (0..NETWORKS)
        .map(|number| waits_from(gateway, &host, number))
        .collect::<anyhow::Result<_>>()?;
    let most = 16;
    wait_until("all but a quarter of the table are turned away", PATIENCE, || {
        let turned_away = clients.iter().filter(|client| is_turned_away(client)).count();
        (turned_away == clients.len() - most && reached.load(Ordering::Relaxed) == most).then_some(())
    })?;
    let alice = world.bearer("alice")?;
    for round in 0..40 {
        let hers = world.ask(("GET", "/a"), &[("Authorization", &alice)], b"")?;
        ensure!((hers.status, &*hers.body) == (200, b"ok"), "{round}: {hers:?}");
    }
    let theirs = world.ask(("GET", "/pub/a"), &[("Accept", "application/json")], b"")?;
    let words = String::from_utf8_lossy(&theirs.body).into_owned();
    ensure!(
        theirs.status == 429 && words.contains("or sign in"),
        "{theirs:?} {words}"
    );
    drop(clients);
    try_until("the public's places are free again", PATIENCE, || {
        let theirs = world.ask(("GET", "/pub/a"), &[], b"")?;
        ensure!(theirs.status == 200, "{theirs:?}");
        Ok(())
    })
}
