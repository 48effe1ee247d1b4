//! Real servers behind the gateway with all that is hard to carry: gRPC's own test service under grpcurl, events, WebSockets, gigabytes,
//! ranges, HTTP/1.0, sockets and addresses that are rewritten (issue 6, §4.3).

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use tests::backends::grpc::{Grpc, SERVICE, grpcurl};
use tests::backends::web::{GIBIBYTE, Web, digest_of, digest_read, generated, read_head, send_generated};
use tests::backends::{body_of, connect};
use tests::channels::{BINARY, CLOSE, Frame, LAST, TEXT, of_client};
use tests::fake::FakeApiServer;
use tests::gateway::{Gateway, Options};
use tests::http::field;
use tests::kubectl::Output;
use tests::measure::cpu::{peak_kib, resident_kib};
use tests::once::Once;
use tests::pki::Ca;
use tests::process::Folder;
use tests::upgraded::{ACCEPT, KEY};

const RULE: &str = "
apiVersion: gatescribe.dev/v1
kind: AccessRule
metadata: { name: for-developers }
spec:
  effect: allow
  subjects: { groups: [dev] }
  services: [{ hosts: ['*.localhost', '*.gate.example'], methods: ['*'], paths: ['/*'] }]
---
apiVersion: gatescribe.dev/v1
kind: AccessRule
metadata: { name: nobody-asks-for-nothing }
spec:
  effect: forbid
  subjects: { groups: ['*'] }
  services: [{ hosts: ['*.localhost', '*.gate.example'], methods: ['*'], paths: ['/grpc.testing.TestService/UnimplementedCall'] }]
";

fn service(name: &str, host: &str, rest: &str) -> String {
    format!(
        "
apiVersion: gatescribe.dev/v1
kind: Service
metadata: {{ name: {name} }}
spec:
  hosts: [{host}]
{rest}
---"
    )
}

fn gateway(documents: &str, secure_host: bool) -> anyhow::Result<Gateway> {
    let options = Options {
        identity: Some(json!({ "providers": [{ "acceptAudiences": ["kubernetes"] }] })),
        secure_host,
        ..Options::ruled(format!("{documents}{RULE}"))
    };
    Gateway::before(&FakeApiServer::start()?.upstream(), &options)
}

/// One server, published on a host of its own, below a path that it does not see, and on its socket.
struct World {
    web: Web,
    gateway: Gateway,
    token: String,
}

impl World {
    fn shared() -> anyhow::Result<&'static Self> {
        static WORLD: Once<World> = Once::new();
        WORLD.get(Self::start)
    }

    fn start() -> anyhow::Result<Self> {
        let web = Web::start()?;
        let url = web.server.url();
        let documents = [
            // An upload on a busy machine takes as long as it takes.
            service(
                "web",
                "web.localhost",
                &format!("  upstream: {{ url: '{url}' }}\n  timeouts: {{ answer: 10m }}"),
            ),
            service(
                "below",
                "below.localhost",
                &format!(
                    "  path: /app/web\n  upstream: {{ url: '{url}' }}\n  rewrite: {{ stripPath: true, redirects: true }}"
                ),
            ),
            service(
                "socket",
                "socket.localhost",
                &format!("  upstream: {{ unix: '{}' }}", web.socket().display()),
            ),
        ];
        let gateway = gateway(&documents.concat(), false)?;
        let token = gateway.provider.raw_token("alice")?;
        Ok(Self { web, gateway, token })
    }

    fn address(&self) -> anyhow::Result<SocketAddr> {
        Ok(self
            .gateway
            .url
            .strip_prefix("http://")
            .context("plain http")?
            .parse()?)
    }

    /// Sends a request line with these fields (each ended by CRLF), and gives the connection.
    fn send(&self, host: &str, line: &str, fields: &str) -> anyhow::Result<TcpStream> {
        let address = self.address()?;
        let mut stream = connect(address)?;
        let head = format!(
            "{line}\r\nHost: {host}.localhost:{}\r\nAuthorization: Bearer {}\r\n{fields}\r\n",
            address.port(),
            self.token
        );
        stream.write_all(head.as_bytes())?;
        Ok(stream)
    }

    /// The whole answer to one request.
    fn ask(&self, host: &str, target: &str, fields: &str) -> anyhow::Result<Vec<u8>> {
        let fields = format!("{fields}Connection: close\r\n");
        let mut stream = self.send(host, &format!("GET {target} HTTP/1.1"), &fields)?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        Ok(answer)
    }

    /// Head and body of it, where the body has a length.
    fn answer(&self, host: &str, target: &str, fields: &str) -> anyhow::Result<(String, Vec<u8>)> {
        let answer = self.ask(host, target, fields)?;
        let body = body_of(&answer)?.to_vec();
        let head = answer.get(..answer.len() - body.len()).unwrap_or_default();
        Ok((String::from_utf8_lossy(head).into_owned(), body))
    }
}

#[test]
fn n_06_events_come_one_by_one_and_end_with_whoever_reads_them() -> anyhow::Result<()> {
    let world = World::shared()?;
    let events = world.send("web", "GET /events?stream=e HTTP/1.1", "Accept: text/event-stream\r\n")?;
    let mut events = BufReader::new(events);
    world.web.has("open", "e", 1)?;
    for number in 1..=20 {
        let words = format!("event {number}");
        // The next one is said only when this one came.
        ensure!(world.web.say("e", &words)? == 1, "nobody listens");
        let mut line = String::new();
        while line.trim() != format!("data: {words}") {
            line.clear();
            ensure!(events.read_line(&mut line)? > 0, "the stream ended before {words}");
        }
    }
    drop(events);
    world.web.has("ended", "e", 1)
}

#[test]
fn n_06_a_websocket_carries_text_and_large_pieces_both_ways() -> anyhow::Result<()> {
    let world = World::shared()?;
    let fields = format!(
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\
         Sec-WebSocket-Protocol: echo.bench\r\n"
    );
    for host in ["web", "socket"] {
        let name = format!("s-{host}");
        let mut socket = world.send(host, &format!("GET /socket?stream={name} HTTP/1.1"), &fields)?;
        let head = read_head(&mut socket)?;
        ensure!(head.starts_with("HTTP/1.1 101 ") && head.contains(ACCEPT), "{head}");
        ensure!(field(&head, "sec-websocket-protocol") == Some("echo.bench"), "{head}");
        for (kind, payload) in [(TEXT, "hä".as_bytes().to_vec()), (BINARY, vec![0xff; 700_000])] {
            socket.write_all(&of_client(LAST | kind, &payload))?;
            let back = Frame::read(&mut socket)?;
            ensure!(
                back.first == LAST | kind && back.payload == payload,
                "another frame comes back"
            );
        }
        ensure!(world.web.say(&name, "pushed")? == 1, "nobody listens");
        ensure!(Frame::read(&mut socket)?.payload == b"pushed", "another push");
        socket.write_all(&of_client(LAST | CLOSE, &1000_u16.to_be_bytes()))?;
        ensure!(Frame::read(&mut socket)?.kind() == CLOSE, "no close");
        world.web.has("ended", &name, 1)?;
    }
    Ok(())
}

#[test]
fn n_06_parts_of_an_answer_come_as_they_are_asked_for() -> anyhow::Result<()> {
    let world = World::shared()?;
    let mut content = Vec::new();
    generated(64, |piece| {
        content.extend_from_slice(piece);
        Ok(())
    })?;
    for host in ["web", "socket"] {
        let (head, body) = world.answer(host, "/bytes?size=64", "Range: bytes=5-20\r\n")?;
        ensure!(head.starts_with("HTTP/1.1 206 "), "{head}");
        ensure!(field(&head, "content-range") == Some("bytes 5-20/64"), "{head}");
        ensure!(Some(body.as_slice()) == content.get(5..21), "{body:?}");
        let (head, _) = world.answer(host, "/bytes?size=64", "Range: bytes=0-1,30-31\r\n")?;
        ensure!(
            head.starts_with("HTTP/1.1 206 ") && head.contains("multipart/byteranges"),
            "{head}"
        );
        let (head, body) = world.answer(host, "/bytes?size=64", "Range: bytes=5-20\r\nIf-Range: \"1\"\r\n")?;
        ensure!(head.starts_with("HTTP/1.1 200 ") && body == content, "{head}");
        let (head, _) = world.answer(host, "/bytes?size=64", "Range: bytes=64-\r\n")?;
        ensure!(head.starts_with("HTTP/1.1 416 "), "{head}");
        let etag = world.answer(host, "/bytes?size=64", "")?;
        let etag = field(&etag.0, "etag").context("an etag")?.to_owned();
        let (head, body) = world.answer(host, "/bytes?size=64", &format!("If-None-Match: {etag}\r\n"))?;
        ensure!(head.starts_with("HTTP/1.1 304 ") && body.is_empty(), "{head}");
    }
    Ok(())
}

#[test]
fn n_06_an_answer_of_http_1_0_comes_whole_and_one_that_waits_comes_piece_by_piece() -> anyhow::Result<()> {
    let world = World::shared()?;
    let mut content = Vec::new();
    generated(100_000, |piece| {
        content.extend_from_slice(piece);
        Ok(())
    })?;
    // Over HTTP/1.0 an answer without a length ends with the connection, on both sides.
    let mut stream = world.send("web", "GET /old?size=100000 HTTP/1.0", "")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    ensure!(body_of(&answer)? == content, "{} bytes", answer.len());
    // Over HTTP/1.1 the client is told where it ends.
    let answer = world.ask("web", "/old?size=100000", "")?;
    let head = String::from_utf8_lossy(answer.get(..400).unwrap_or_default()).into_owned();
    ensure!(field(&head, "transfer-encoding") == Some("chunked"), "{head}");
    ensure!(answer.ends_with(b"\r\n0\r\n\r\n"), "it has an end");

    let mut held = world.send("web", "GET /held?gate=g&at=body HTTP/1.0", "")?;
    read_head(&mut held)?;
    let mut first = [0; 6];
    held.read_exact(&mut first)?;
    ensure!(&first == b"begun\n", "{first:?}");
    world.web.has("waiting", "g", 1)?;
    world.web.release("g")?;
    let mut rest = String::new();
    held.read_to_string(&mut rest)?;
    ensure!(rest == "done\n", "{rest}");
    Ok(())
}

#[test]
fn n_07_below_a_path_that_it_does_not_see_a_server_leads_and_sets_cookies_where_it_is_published() -> anyhow::Result<()>
{
    let world = World::shared()?;
    let port = world.address()?.port();
    let own = world.web.server.url();
    for (said, comes) in [
        ("/x".to_owned(), "/app/web/x".to_owned()),
        (
            format!("{own}/x?y=z"),
            format!("http://below.localhost:{port}/app/web/x?y=z"),
        ),
        ("x/y".to_owned(), "x/y".to_owned()),
        (
            "https://elsewhere.example/x".to_owned(),
            "https://elsewhere.example/x".to_owned(),
        ),
    ] {
        let written = said.replace('?', "%3f").replace('=', "%3d").replace('&', "%26");
        let target = format!("/app/web/answer?status=302&field=Location:{written}&field=Set-Cookie:a%3db");
        let (head, _) = world.answer("below", &target, "")?;
        ensure!(head.starts_with("HTTP/1.1 302 "), "{head}");
        ensure!(field(&head, "location") == Some(comes.as_str()), "{said}: {head}");
    }
    let cookie = "/app/web/answer?field=Set-Cookie:a%3db%3b%20Path%3d/x";
    let (head, _) = world.answer("below", cookie, "")?;
    ensure!(field(&head, "set-cookie") == Some("a=b; Path=/app/web/x"), "{head}");
    // The path is decided on and recorded whole.
    let id = field(&head, "audit-id").context("an id")?.to_owned();
    let records = world.gateway.records_with("the record", |records| {
        records
            .iter()
            .any(|record| record["kind"] == "intent" && record["id"] == id.as_str())
    })?;
    let record = records
        .iter()
        .find(|record| record["kind"] == "intent" && record["id"] == id.as_str());
    ensure!(
        record.context("a record")?["req"]["path"] == "/app/web/answer",
        "{record:?}"
    );
    Ok(())
}

#[test]
fn n_06_a_gibibyte_goes_up_and_comes_down_whole_and_is_never_held() -> anyhow::Result<()> {
    let world = World::shared()?;
    let whole = digest_of(GIBIBYTE);
    let pid = world.gateway.process().pid()?.as_raw();
    let before = resident_kib(pid)?;
    let mut down = world.send(
        "web",
        &format!("GET /bytes?size={GIBIBYTE} HTTP/1.1"),
        "Connection: close\r\n",
    )?;
    let head = read_head(&mut down)?;
    ensure!(
        field(&head, "content-length") == Some(GIBIBYTE.to_string().as_str()),
        "{head}"
    );
    ensure!(
        digest_read(&mut down)? == (GIBIBYTE, whole.clone()),
        "other bytes came down"
    );
    let between = resident_kib(pid)?;

    let fields = format!("Content-Length: {GIBIBYTE}\r\nConnection: close\r\n");
    let mut up = world.send("web", "POST /digest HTTP/1.1", &fields)?;
    send_generated(&mut up, GIBIBYTE)?;
    let mut answer = Vec::new();
    up.read_to_end(&mut answer)?;
    let told: Value = serde_json::from_slice(body_of(&answer)?)?;
    ensure!(told == json!({"length": GIBIBYTE, "sha256": whole}), "{told}");
    let (after, peak) = (resident_kib(pid)?, peak_kib(pid)?);
    println!("a gibibyte: resident_kib before={before} after_download={between} after_upload={after} peak={peak}");
    // A quarter of it would be holding it.
    ensure!(peak < before + 256.0 * 1024.0, "the gateway held {peak} KiB");
    Ok(())
}

/// The same calls, straight and through the gateway.
struct Called<'w> {
    /// What every call begins with: how to speak, and who one is.
    words: Vec<&'w str>,
    place: &'w str,
}

impl Called<'_> {
    fn call(&self, more: &[&str], method: &str, requests: &str) -> anyhow::Result<Output> {
        let method = format!("{SERVICE}/{method}");
        let words = [self.words.as_slice(), &["-d", "@"], more, &[self.place, &method]];
        grpcurl(&words.concat(), requests)
    }

    /// Every kind of method, reflection among them; what each said.
    fn all(&self) -> anyhow::Result<Vec<Output>> {
        let many = r#"{"responseParameters": [{"size": 1}, {"size": 2}, {"size": 300000}]}"#;
        let three = r#"{"payload": {"body": "YWJj"}}"#.repeat(3);
        let failing = r#"{"responseStatus": {"code": 7, "message": "no way"}}"#;
        Ok(vec![
            grpcurl(&[self.words.as_slice(), &[self.place, "list"]].concat(), "")?,
            self.call(&[], "EmptyCall", "{}")?,
            self.call(&[], "UnaryCall", r#"{"payload": {"body": "YWJj"}}"#)?,
            self.call(&[], "StreamingOutputCall", many)?,
            self.call(&[], "StreamingInputCall", &three)?,
            self.call(&[], "FullDuplexCall", &three)?,
            self.call(&[], "UnaryCall", failing)?,
        ])
    }
}

#[test]
fn n_06_grpcurl_is_told_the_same_through_the_gateway_as_by_the_service() -> anyhow::Result<()> {
    let ca = Ca::new("services")?;
    let (plain, tls) = (Grpc::start()?, Grpc::over_tls(&ca.server(&["127.0.0.1"])?)?);
    let files = Folder::new("services")?;
    let authority = files.write("services.crt", ca.certificate())?;
    let documents = [
        service(
            "grpc",
            "grpc.gate.example",
            &format!("  upstream: {{ url: '{}', protocol: h2c }}", plain.server.url()),
        ),
        service(
            "grpc-tls",
            "grpc-tls.gate.example",
            &format!(
                "  upstream: {{ url: 'https://{}', caFile: '{}' }}",
                tls.server.address(),
                authority.display()
            ),
        ),
    ];
    let gateway = gateway(&documents.concat(), true)?;
    let trusted = files.write("gateway.crt", gateway.ca())?.display().to_string();
    let place = gateway.url.strip_prefix("https://").context("https")?;
    let bearer = format!("authorization: Bearer {}", gateway.provider.raw_token("alice")?);
    let straight = Called {
        words: vec!["-plaintext"],
        place: &plain.server.address().to_string(),
    }
    .all()?;
    for (host, grpc) in [("grpc.gate.example", &plain), ("grpc-tls.gate.example", &tls)] {
        let words = vec!["-cacert", &trusted, "-authority", host, "-H", &bearer];
        let through = Called {
            words: words.clone(),
            place,
        };
        for (through, straight) in through.all()?.iter().zip(&straight) {
            ensure!(
                (through.code, &through.stdout, &through.stderr) == (straight.code, &straight.stdout, &straight.stderr),
                "{host}: through the gateway {through}\nstraight {straight}"
            );
        }
        let told = through.call(&["-v"], "UnaryCall", r#"{"payload": {"body": "YWJj"}}"#)?;
        ensure!(told.stdout.contains("x-bench-calls: "), "a trailer: {told}");
        refused(&Called { words, place }, grpc, &bearer)?;
    }
    Ok(())
}

/// What is no call of the service's, in words of gRPC; and what arrived is asserted by the gateway and bears no token.
fn refused(through: &Called<'_>, grpc: &Grpc, bearer: &str) -> anyhow::Result<()> {
    let forbidden = through.call(&[], "UnimplementedCall", "{}")?;
    ensure!(
        forbidden.code != 0 && forbidden.stderr.contains("PermissionDenied"),
        "{forbidden}"
    );
    let words = through
        .words
        .iter()
        .copied()
        .filter(|word| *word != "-H" && *word != bearer);
    let nobody = Called {
        words: words.collect(),
        place: through.place,
    };
    // Without reflection grpcurl knows no method, so it is that which is refused.
    let nobody = nobody.call(&[], "EmptyCall", "{}")?;
    ensure!(
        nobody.code != 0 && nobody.stderr.contains("Unauthenticated"),
        "{nobody}"
    );
    let seen = grpc.seen()?;
    let asserted = seen
        .iter()
        .filter(|seen| seen.values("x-gatescribe-assertion").len() == 1);
    let asserted: Vec<_> = asserted.collect();
    ensure!(asserted.len() >= 8, "{} calls came asserted", asserted.len());
    for seen in asserted {
        ensure!(seen.values("authorization").is_empty(), "a token came: {seen:?}");
    }
    Ok(())
}
