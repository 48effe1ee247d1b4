//! What an ingress forwards against what was judged, headers that a caller makes up, and WebSockets.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use tests::captured::Arrived;
use tests::http::{Answer, field};
use tests::upgraded::{KEY, Switch};
use tests::wait::PATIENCE;

use super::{SECRET, World, values};

/// Targets that servers read in more than one way, or that a proxy might write anew.
const TARGETS: [&str; 46] = [
    "/pictures/x",
    "/pictures/a%20b",
    "/a",
    "/a/",
    "/%61",
    "/a%2eb",
    "/a/./b",
    "/a/%2e%2e/pictures/x",
    "/a/../pictures/x",
    "/pictures/../a",
    "/pictures/%2e%2e/a",
    "/pictures/.%2e/a",
    "/pictures/..%2fa",
    "/pictures/%252e%252e/a",
    "/pictures/..;/a",
    "/pictures;x=1/a",
    "/a;x=1",
    "//a",
    "//web.localhost/a",
    "/a//b",
    "/a%2fb",
    "/a%2Fb",
    "/a%5cb",
    "/a\\b",
    "/pictures\\..\\a",
    "/a%00b",
    "/a%0d%0ab",
    "/a%",
    "/a%zz",
    "/a%20b",
    "/a+b",
    "/%C3%A4",
    "/\u{e4}",
    "/a!b",
    "/a|b",
    "/a^b{c}",
    "/{http.reverse_proxy.header.X-Gatescribe-Assertion}",
    "/$request_uri",
    "/a?",
    "/a??b",
    "/a?x=%2f..%2f&y=//;z",
    "/a#b",
    "/a%3Fb",
    "/.gatescribe/../a",
    "/x/../.gatescribe/../a",
    "http://web.localhost/absolute",
];

/// And bytes that are no text.
const BYTES: [&[u8]; 4] = [b"/a\xffb", b"/a\xc0\xafb", b"/a\x01b", b"/a\tb"];

/// One call in these very bytes, and the status of the answer. Also no answer at all is a no.
fn bytes(world: &World, method: &str, target: &[u8], credential: &str) -> anyhow::Result<u16> {
    let mut stream = TcpStream::connect(world.front)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    // The service keeps what has an `Audit-ID`: so also what nobody was asked about.
    let rest = format!(
        " HTTP/1.1\r\nHost: web.localhost:{}\r\nConnection: close\r\n{credential}Audit-ID: its-own\r\nContent-Length: 5\r\n\r\nhello",
        world.front.port()
    );
    stream.write_all(&[method.as_bytes(), b" ", target, rest.as_bytes()].concat())?;
    let mut answer = Vec::new();
    // Who refuses may cut.
    drop(stream.read_to_end(&mut answer));
    let answer = String::from_utf8_lossy(&answer);
    Ok(answer
        .split(' ')
        .nth(1)
        .and_then(|code| code.parse().ok())
        .unwrap_or(400))
}

/// What came to the service of what was asked for, and by whom.
struct Came<'c> {
    asked: String,
    sent: &'c [u8],
    credential: &'c str,
    arrived: Arrived,
}

/// What comes to the service is what was judged; nothing comes that was not.
pub(crate) fn differential(world: &World) -> anyhow::Result<()> {
    let _ = world.web.take_arrived();
    let bearer = format!("Authorization: {}\r\n", world.bearer("alice")?);
    let mut came = Vec::new();
    for target in TARGETS.iter().map(|target| target.as_bytes()).chain(BYTES) {
        // Without a sign-in all but the pictures is refused: a path of theirs that becomes another would be seen.
        for (method, credential) in [("GET", ""), ("GET", bearer.as_str()), ("POST", bearer.as_str())] {
            let status = bytes(world, method, target, credential)?;
            let arrived = world.web.take_arrived();
            let asked = format!("{method} {}", target.escape_ascii());
            ensure!(
                arrived.len() == usize::from(status < 300),
                "{asked}: {status}: {arrived:#?}\n{}",
                world.ingress.log_end()
            );
            came.extend(arrived.into_iter().map(|arrived| Came {
                asked: asked.clone(),
                sent: target,
                credential,
                arrived,
            }));
        }
    }
    ensure!(
        came.iter().any(|one| one.credential.is_empty()),
        "a picture comes to anybody"
    );
    is_what_was_judged(world, &came)?;
    let passes = |target: &str| came.iter().any(|one| one.asked == format!("POST {target}"));
    for target in [
        "/a",
        "/a/",
        "/a%20b",
        "/%C3%A4",
        "/a??b",
        "/a?x=%2f..%2f&y=//;z",
        "/a!b",
    ] {
        ensure!(passes(target), "{target} is a path like others");
    }
    for target in [
        "/pictures/..%2fa",
        "/a%2fb",
        "/a%5cb",
        "/a%00b",
        "/pictures/%2e%2e/a",
        "/a\\xffb",
    ] {
        ensure!(!passes(target), "{target} is read in two ways");
    }
    Ok(())
}

fn is_what_was_judged(world: &World, came: &[Came<'_>]) -> anyhow::Result<()> {
    let id = |one: &Came<'_>| values(&one.arrived, "audit-id").join(" ");
    let last = came.last().map(id).context("something came")?;
    let records = world.gateway.records_with("the last verdict", |records| {
        records.iter().any(|record| record["id"] == last.as_str())
    })?;
    for one in came {
        let (asked, arrived) = (&one.asked, &one.arrived);
        let is_its = |record: &&Value| record["kind"] == "verdict" && record["id"] == id(one).as_str();
        let record = records.iter().find(is_its);
        let record = record.with_context(|| format!("{asked}: no verdict: {arrived:#?}"))?;
        let mut words = arrived.first[0].split(' ');
        let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        ensure!(text(&record["req"]["method"]) == method, "{asked}: {arrived:#?}");
        let host = values(arrived, "host").join(" ");
        ensure!(
            host.split(':').next() == record["service"]["host"].as_str(),
            "{asked}: {arrived:#?}"
        );
        let sent = one.sent.split(|byte| *byte == b'#').next().unwrap_or_default();
        let sent = sent.strip_prefix(b"http://web.localhost").unwrap_or(sent);
        // Caddy writes some characters anew, as escapes.
        ensure!(plain(sent) == plain(target.as_bytes()), "{asked} came as {target}");
        let again = world.question(
            "/auth/forward",
            &[
                (
                    "Authorization",
                    one.credential.trim_start_matches("Authorization: ").trim_end(),
                ),
                ("X-Gatescribe-Ingress-Secret", SECRET),
                ("X-Forwarded-Method", method),
                ("X-Forwarded-Host", &host),
                ("X-Forwarded-Uri", target),
                ("X-Forwarded-For", "127.0.0.1"),
            ][usize::from(one.credential.is_empty())..],
        )?;
        ensure!(
            again.status == 200,
            "{asked}: of what came, {target}, it is said {again:?}"
        );
    }
    Ok(())
}

/// Over HTTP/2 Envoy lets bytes into a path that are no text, and forwards them; as text it would tell of another path.
pub(crate) fn bytes_over_http2(world: &World) -> anyhow::Result<()> {
    let bearer = world.bearer("alice")?;
    for (path, comes) in [(&b"/plain"[..], true), (b"/a\xffb", false), (b"/a\xc3\xa4b", false)] {
        let asked = path.escape_ascii();
        asked_over_http2(world, path, &bearer).with_context(|| asked.to_string())?;
        let arrived = world.web.take_arrived();
        ensure!(arrived.len() == usize::from(comes), "{asked}: {arrived:#?}");
    }
    Ok(())
}

/// One call in frames of our own (RFC 9113 §4), its fields as literals without an index (RFC 7541 §6.2.2), until it has an end.
fn asked_over_http2(world: &World, path: &[u8], bearer: &str) -> anyhow::Result<()> {
    let mut block = Vec::new();
    let fields: [(&str, &[u8]); 6] = [
        (":method", b"GET"),
        (":scheme", b"http"),
        (":path", path),
        (":authority", b"web.localhost"),
        ("authorization", bearer.as_bytes()),
        ("audit-id", b"its-own"),
    ];
    for (name, value) in fields {
        block.push(0);
        for text in [name.as_bytes(), value] {
            let mut rest = text.len();
            block.push(u8::try_from(rest.min(127))?);
            if rest >= 127 {
                rest -= 127;
                while rest >= 128 {
                    block.push(u8::try_from(rest % 128 + 128)?);
                    rest /= 128;
                }
                block.push(u8::try_from(rest)?);
            }
            block.extend(text);
        }
    }
    let length = u32::try_from(block.len())?.to_be_bytes();
    let mut stream = TcpStream::connect(world.front)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")?;
    stream.write_all(&[&length[1..], &[1, 5, 0, 0, 0, 1], &block].concat())?;
    let mut head = [0_u8; 9];
    while stream.read_exact(&mut head).is_ok() {
        let [a, b, c, kind, flags, _, _, _, id] = head;
        let length = u64::from(u32::from_be_bytes([0, a, b, c]));
        std::io::copy(&mut (&stream).take(length), &mut std::io::sink())?;
        let has_ended = id == 1 && (kind == 3 || kind <= 1 && flags & 1 == 1);
        if has_ended || kind == 7 {
            return Ok(());
        }
    }
    Ok(())
}

/// Without escapes.
fn plain(target: &[u8]) -> Vec<u8> {
    let (mut plain, mut rest) = (Vec::new(), target);
    while let [first, behind @ ..] = rest {
        let digits = behind
            .get(..2)
            .filter(|_| *first == b'%')
            .and_then(|digits| std::str::from_utf8(digits).ok());
        let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        plain.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &behind[2..] } else { behind };
    }
    plain
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// What a caller says of itself changes nothing of what is asked, and nothing of what the service is told.
pub(crate) fn header_tricks(world: &World) -> anyhow::Result<()> {
    let public = "/pictures/x";
    let tricks: [&[(&str, &str)]; 11] = [
        &[("X-Original-URL", public), ("X-Original-URL", public)],
        &[("X-Original-URL", public), ("x-original-url", "/other")],
        &[("X_Original_URL", public), ("X_Forwarded_Uri", public)],
        &[("X-Original_URL", public), ("X.Original.URL", public)],
        &[("X-Forwarded-Uri", public), ("X-Forwarded-Uri", public)],
        &[
            ("X-Forwarded-Method", "GET"),
            ("X-Forwarded-Method", "HEAD"),
            ("X-Forwarded-Host", "web.localhost"),
        ],
        &[("X-Envoy-Original-Path", public), ("X-Rewrite-URL", public)],
        &[("X-Gatescribe-Ingress-Secret", SECRET), ("X-Gatescribe-Cookie", "a=b")],
        &[(
            "Connection",
            "X-Original-URL, X-Original-Method, X-Forwarded-Uri, X-Forwarded-Method, X-Gatescribe-Ingress-Secret",
        )],
        &[
            ("X-Original-Address", "127.0.0.1"),
            ("Forwarded", "for=127.0.0.1;host=web.localhost"),
        ],
        &[("Content-Type", "application/grpc"), ("TE", "trailers")],
    ];
    for trick in tricks {
        let asked = [trick, &[("Accept", "*/*"), ("Audit-ID", "its-own")]].concat();
        let answer = world.ask(("GET", "/other"), &asked);
        // gRPC says no within a 200, which Envoy writes anew by itself.
        let is_no = |answer: &Answer| {
            answer.status >= 400 || field(&answer.head, "grpc-status").is_some_and(|status| status != "0")
        };
        ensure!(answer.as_ref().map_or(true, is_no), "{trick:?}: {answer:?}");
        ensure!(world.web.take_arrived().is_empty(), "{trick:?}: {answer:?}");
    }
    let bearer = world.bearer("alice")?;
    let told = [
        ("Authorization", bearer.as_str()),
        ("Cookie", "theme=dark"),
        ("Cookie", "size=2"),
        (
            "Connection",
            "X-Gatescribe-Assertion, Audit-ID, X-Forwarded-Uri, X-Original-URL",
        ),
        ("X_Gatescribe_Assertion", "forged"),
        ("X-Gatescribe_Assertion", "forged"),
        ("X.Gatescribe.Assertion", "forged"),
        ("Audit-ID", "its-own"),
        ("Remote-User", "forged"),
        ("X-Remote-User", "forged"),
        ("X_Remote_User", "forged"),
        ("Remote_User", "forged"),
        ("X.Remote.User", "forged"),
        ("X-Forwarded-User", "forged"),
        ("X-Auth-Request-User", "forged"),
        ("X-Original-URL", "/forged"),
        ("X-Rewrite-URL", "/forged"),
        ("X-WebAuth-User", "forged"),
        ("X-HTTP-Method-Override", "forged"),
    ];
    let answer = world.ask(("GET", "/other"), &told)?;
    let arrived = world.web.take_arrived();
    let [one] = &arrived[..] else {
        anyhow::bail!("{answer:?}: {arrived:#?}")
    };
    let assertions = values(one, "x-gatescribe-assertion");
    ensure!(
        assertions.len() == 1 && assertions[0].split('.').count() == 3,
        "{one:#?}"
    );
    ensure!(values(one, "cookie").join("; ") == "theme=dark; size=2", "{one:#?}");
    let ids = values(one, "audit-id");
    ensure!(ids.len() == 1 && ids[0] != "its-own", "{one:#?}");
    ensure!(!format!("{one:?}").contains("forged"), "{one:#?}");
    // It counts beside the proof of a workload alone.
    let shown = [
        ("Authorization", bearer.as_str()),
        ("X-Gatescribe-Assertion", assertions[0]),
    ];
    let refused = world.ask(("GET", "/other"), &shown)?;
    ensure!(refused.status == 403, "{refused:?}");
    ensure!(world.web.take_arrived().is_empty(), "{refused:?}");
    Ok(())
}

/// Asks for a WebSocket; the head of the answer.
fn socket(world: &World, headers: &[(&str, &str)]) -> anyhow::Result<(String, TcpStream)> {
    let mut request = format!(
        "GET /socket HTTP/1.1\r\nHost: web.localhost:{}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n",
        world.front.port()
    );
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str("\r\n");
    let mut stream = TcpStream::connect(world.front)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(request.as_bytes())?;
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        ensure!(
            stream.read(&mut byte)? == 1,
            "it ends: {}",
            String::from_utf8_lossy(&head)
        );
        head.extend(byte);
    }
    Ok((String::from_utf8_lossy(&head).into_owned(), stream))
}

/// Behind a switch to HTTP/2 whatever comes next on the connection would be asked about by nobody.
pub(crate) fn other_upgrades(world: &World) -> anyhow::Result<()> {
    let bearer = world.bearer("alice")?;
    let _ = world.web.take_arrived();
    for (protocol, connection) in [
        ("h2c", "Upgrade, HTTP2-Settings"),
        ("h2c", "upgrade"),
        ("websocket, h2c", "Upgrade"),
        ("tcp", "Upgrade"),
    ] {
        let headers = [
            ("Authorization", bearer.as_str()),
            ("Audit-ID", "its-own"),
            ("Upgrade", protocol),
            ("Connection", connection),
            ("HTTP2-Settings", "AAMAAABkAAQAAP__"),
        ];
        let answer = world.ask(("GET", "/other"), &headers);
        for one in world.web.take_arrived() {
            ensure!(values(&one, "upgrade").is_empty(), "{protocol}: {one:#?}");
        }
        ensure!(
            answer.as_ref().map_or(true, |answer| answer.status != 101),
            "{protocol}: {answer:?}"
        );
    }
    Ok(())
}

/// On a cookie a WebSocket counts from the service's own pages alone.
pub(crate) fn websockets(world: &World) -> anyhow::Result<()> {
    world.web.answer_upgrades(&Switch::WebSocket("").granted());
    world.gateway.provider.control("/auto", &json!({ "login": "alice" }))?;
    let authority = format!("web.localhost:{}", world.front.port());
    let mut browser = world.gateway.browser();
    browser.open(&format!("http://{authority}/"), "stop:")?;
    let cookies = browser.cookies(&authority);
    ensure!(cookies.contains("gatescribe-service"), "{cookies}");
    let own = format!("http://{authority}");
    let _ = world.web.take_arrived();
    for (headers, status) in [
        (&[][..], "401"),
        (&[("Cookie", cookies.as_str())], "403"),
        (
            &[("Cookie", cookies.as_str()), ("Origin", "http://evil.localhost")],
            "403",
        ),
        (&[("Cookie", cookies.as_str()), ("Origin", "null")], "403"),
        (&[("Cookie", cookies.as_str()), ("Origin", own.as_str())], "101"),
    ] {
        let (head, mut stream) = socket(world, headers)?;
        ensure!(
            head.starts_with(&format!("HTTP/1.1 {status}")),
            "{headers:?}: {head}\n{}",
            world.ingress.log_end()
        );
        let arrived = world.web.take_arrived();
        ensure!(
            arrived.len() == usize::from(status == "101"),
            "{headers:?}: {arrived:#?}"
        );
        if status == "101" {
            stream.write_all(b"\x81\x02hi")?;
            let mut back = [0; 4];
            stream.read_exact(&mut back)?;
            ensure!(&back == b"\x81\x02hi", "{back:?}");
            ensure!(!format!("{arrived:?}").contains("gatescribe-service"), "{arrived:#?}");
        }
    }
    Ok(())
}
