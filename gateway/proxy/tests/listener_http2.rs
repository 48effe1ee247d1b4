//! HTTP/2 over real TLS, frame by frame; names begin with the ids of docs/reference/statements.md.

#![cfg(test)]

mod listener_support;

use listener_support::{
    Authority, ClientOptions, Gate, SHORT, TlsClient, deadlines, guarded, http2, limits, read_to_close, secure, start,
    tls,
};
use proxy::listener::{CloseReason, ListenerConfig, Violation as V};
use tokio::io::AsyncWriteExt;

async fn open(adjust: impl FnOnce(&mut ListenerConfig)) -> (Gate, TlsClient) {
    let authority = Authority::new("a");
    let gate = start(tls(&authority).0, adjust);
    let mut stream = secure(
        &gate,
        &authority,
        ClientOptions {
            alpn: &["h2"],
            ..ClientOptions::default()
        },
    )
    .await;
    stream.write_all(&http2::opening()).await.unwrap();
    (gate, stream)
}

/// The first answer or reset of a stream.
async fn outcome(stream: &mut TlsClient, id: u32) -> http2::Frame {
    let mut frames = http2::Frames::default();
    frames
        .until(stream, |frame| {
            frame.stream == id && matches!(frame.kind, http2::HEADERS | http2::RST_STREAM)
        })
        .await
}

fn with<'a>(method: &'a str, path: &'a str, more: &[(&'a str, &'a str)]) -> Vec<u8> {
    http2::headers(
        1,
        http2::END_STREAM,
        &[&http2::request(method, path)[..], more].concat(),
    )
}

#[tokio::test]
async fn checks_of_ours_answer_with_the_status_of_the_violation_and_then_go_away() {
    let long = "x".repeat(60_000);
    let rows: Vec<(&str, Vec<u8>, V)> = vec![
        (
            "A-13 H2-10 host",
            with("GET", "/", &[("host", "b.example")]),
            V::TargetHostMismatch,
        ),
        (
            "H2-10 two hosts",
            with("GET", "/", &[("host", "localhost"), ("host", "localhost")]),
            V::HostRepeated,
        ),
        ("A-14 TRACE", with("TRACE", "/", &[]), V::MethodForbidden),
        ("H1-26 lower case", with("get", "/", &[]), V::MethodUnknown),
        ("C-06", with("GET", "/%zz", &[]), V::TargetPercentInvalid),
        ("C-07", with("GET", "/a\\b", &[]), V::TargetByteForbidden),
        (
            "H1-04",
            with("POST", "/", &[("content-length", "00")]),
            V::ContentLengthInvalid,
        ),
        ("C-07 8-bit bytes", with("GET", "/\u{e9}", &[]), V::TargetByteForbidden),
        ("D-16", with("POST", "/", &[("expect", "x")]), V::ExpectationUnknown),
        (
            "D-16 twice",
            with("POST", "/", &[("expect", "100-continue"), ("expect", "100-continue")]),
            V::ExpectationUnknown,
        ),
        (
            "H2-10 host list",
            with("GET", "/", &[("host", "localhost, b.example")]),
            V::HostInvalid,
        ),
        (
            "alias",
            with("GET", "/", &[("transfer_encoding", "chunked")]),
            V::FramingHeaderAlias,
        ),
        (
            "missing authority",
            http2::headers(1, 1, &[(":method", "GET"), (":scheme", "https"), (":path", "/")]),
            V::HostMissing,
        ),
        (
            "scheme",
            http2::headers(
                1,
                1,
                &[
                    (":method", "GET"),
                    (":scheme", "http"),
                    (":authority", "localhost"),
                    (":path", "/"),
                ],
            ),
            V::TargetSchemeForbidden,
        ),
        (
            "line",
            with("GET", "/", &[("x-a", &long), ("x-b", "y")]),
            V::HeaderLineTooLarge,
        ),
    ];
    for (id, bytes, violation) in rows {
        let (gate, mut stream) = open(|config| {
            config.head.header_line_bytes = 50_000;
            config.deadlines.go_away = SHORT;
        })
        .await;
        stream.write_all(&bytes).await.unwrap();
        let frames = http2::read_to_close(&mut stream).await;
        let answer = frames.iter().find(|frame| frame.stream == 1).unwrap();
        assert_eq!(
            (answer.kind, answer.status()),
            (http2::HEADERS, violation.status().as_u16()),
            "{id}"
        );
        assert!(frames.iter().any(|frame| frame.kind == http2::GO_AWAY), "{id}");
        assert_eq!(gate.notes.violations(), [Some(violation)], "{id}");
    }
}

#[tokio::test]
async fn h2_08_h2_09_h2_11_h2_14_malformed_requests_are_reset_and_reach_nobody() {
    let pseudo = |list: &[(&str, &str)]| http2::headers(1, http2::END_STREAM, list);
    let whole = http2::request("GET", "/");
    let rows: Vec<(&str, Vec<u8>)> = vec![
        ("connection", with("GET", "/", &[("connection", "x")])),
        ("keep-alive", with("GET", "/", &[("keep-alive", "x")])),
        ("upgrade", with("GET", "/", &[("upgrade", "websocket")])),
        (
            "transfer-encoding",
            with("POST", "/", &[("transfer-encoding", "chunked")]),
        ),
        ("proxy-connection", with("GET", "/", &[("proxy-connection", "x")])),
        ("te", with("GET", "/", &[("te", "gzip")])),
        ("upper case name", with("GET", "/", &[("X-A", "x")])),
        ("crlf in value", with("GET", "/", &[("x-a", "x\r\ny: z")])),
        ("space in name", with("GET", "/", &[("x a", "x")])),
        ("nul in value", with("GET", "/", &[("x-a", "\0")])),
        (":status", with("GET", "/", &[(":status", "200")])),
        (
            "unknown pseudo-header",
            pseudo(&[&whole[..], &[(":foo", "x")]].concat()),
        ),
        (
            "pseudo-header behind fields",
            pseudo(&[
                (":method", "GET"),
                (":scheme", "https"),
                ("x-a", "1"),
                (":path", "/"),
                (":authority", "localhost"),
            ]),
        ),
        ("duplicate :path", pseudo(&[&whole[..], &[(":path", "/b")]].concat())),
        ("missing :path", pseudo(&whole[..3])),
        ("missing :method", pseudo(&whole[1..])),
        ("empty :path", with("GET", "", &[])),
        (
            "extended CONNECT",
            pseudo(&[&http2::request("CONNECT", "/")[..], &[(":protocol", "websocket")]].concat()),
        ),
        (":protocol on GET", with("GET", "/", &[(":protocol", "websocket")])),
        (
            "H2-12 length and END_STREAM",
            with("POST", "/", &[("content-length", "5")]),
        ),
    ];
    for (id, bytes) in rows {
        let (gate, mut stream) = open(|_| {}).await;
        stream.write_all(&bytes).await.unwrap();
        let mut frames = http2::Frames::default();
        let end = frames
            .until(&mut stream, |frame| {
                matches!(frame.kind, http2::RST_STREAM | http2::GO_AWAY | http2::HEADERS)
            })
            .await;
        assert!(end.kind != http2::HEADERS || end.status() == 400, "{id}: {end:?}");
        assert!(gate.notes.targets().is_empty(), "{id}");
    }
}

#[tokio::test]
async fn h2_13_connect_is_refused_with_405() {
    let (gate, mut stream) = open(|_| {}).await;
    let connect = http2::headers(1, 0, &[(":method", "CONNECT"), (":authority", "localhost:443")]);
    let body = http2::frame(http2::DATA, http2::END_STREAM, 1, b"GET /smuggled HTTP/1.1\r\n\r\n");
    stream.write_all(&[connect, body].concat()).await.unwrap();
    assert_eq!(outcome(&mut stream, 1).await.status(), 405);
    assert_eq!(gate.notes.violations(), [Some(V::MethodForbidden)]);
}

#[tokio::test]
async fn h2_12_a_body_of_another_length_is_an_error() {
    for (length, data) in [("5", &b"abcdef"[..]), ("5", b"abc")] {
        let (gate, mut stream) = open(|_| {}).await;
        let mut list = http2::request("POST", "/");
        list.push(("content-length", length));
        let body = http2::frame(http2::DATA, http2::END_STREAM, 1, data);
        stream
            .write_all(&[http2::headers(1, 0, &list), body].concat())
            .await
            .unwrap();
        assert_eq!(outcome(&mut stream, 1).await.kind, http2::RST_STREAM);
        assert!(gate.notes.seen.lock().unwrap().iter().all(|seen| seen.body.is_err()));
    }
}

#[tokio::test]
async fn h1_13_trailers_over_http2_are_dropped() {
    let (gate, mut stream) = open(|_| {}).await;
    let head = http2::headers(1, 0, &http2::request("POST", "/t"));
    let data = http2::frame(http2::DATA, 0, 1, b"abc");
    let trailers = http2::headers(
        1,
        http2::END_STREAM,
        &[("impersonate-user", "root"), ("authorization", "x")],
    );
    stream.write_all(&[head, data, trailers].concat()).await.unwrap();
    assert_eq!(outcome(&mut stream, 1).await.status(), 200);
    let seen = gate.notes.seen.lock().unwrap()[0].clone();
    assert_eq!(seen.body.unwrap(), "abc");
    assert!(seen.headers.is_empty());
}

/// `http::Uri` cuts it off within h2, before anything of ours; docs/explanation/threat-model.md says so.
#[tokio::test]
async fn path_05_of_a_path_with_a_fragment_every_station_gets_what_stands_before_it() {
    for (written, given) in [("/a#b", "/a"), ("/a?x=1#b", "/a?x=1"), ("/a#/../b?y", "/a")] {
        let (gate, mut stream) = open(|_| {}).await;
        stream.write_all(&with("GET", written, &[])).await.unwrap();
        assert_eq!(outcome(&mut stream, 1).await.status(), 200, "{written}");
        assert_eq!(gate.notes.targets(), [given], "{written}");
    }
}

#[tokio::test]
async fn h2_18_cookie_crumbs_arrive_as_one_line() {
    let (gate, mut stream) = open(|_| {}).await;
    stream
        .write_all(&with("GET", "/", &[("cookie", "a=1"), ("cookie", "b=2")]))
        .await
        .unwrap();
    assert_eq!(outcome(&mut stream, 1).await.status(), 200);
    assert_eq!(gate.notes.seen.lock().unwrap()[0].headers["cookie"], "a=1; b=2");
}

#[tokio::test]
async fn a_09_a_large_token_and_300_fields_are_accepted_on_http2() {
    let (gate, mut stream) = open(|_| {}).await;
    let token = format!("Bearer {}", "t".repeat(48 * 1024));
    let more: Vec<_> = [("authorization", token.as_str())]
        .into_iter()
        .chain(std::iter::repeat_n(("x-h", "y"), 296))
        .collect();
    stream.write_all(&with("GET", "/?a=b", &more)).await.unwrap();
    assert_eq!(outcome(&mut stream, 1).await.status(), 200);
    assert_eq!(
        (gate.notes.targets(), gate.notes.violations()),
        (vec!["/?a=b".to_owned()], vec![None])
    );
}

#[tokio::test]
async fn a_10_h2_07_a_list_over_the_limit_is_431_on_that_stream_and_the_connection_lives() {
    let (_gate, mut stream) = open(|_| {}).await;
    let value = "x".repeat(60_000);
    stream
        .write_all(&with("GET", "/", &[("x-a", &value), ("x-b", &value), ("x-c", &value)]))
        .await
        .unwrap();
    assert_eq!(outcome(&mut stream, 1).await.status(), 431);
    stream.write_all(&http2::get(3, "/next")).await.unwrap();
    assert_eq!(outcome(&mut stream, 3).await.status(), 200);
}

#[tokio::test]
async fn h2_04_thousands_of_crumbs_or_fields_are_refused() {
    for name in ["cookie", "x-a"] {
        let (gate, mut stream) = open(|_| {}).await;
        stream
            .write_all(&with("GET", "/", &vec![(name, "a"); 1000]))
            .await
            .unwrap();
        assert_eq!(outcome(&mut stream, 1).await.status(), 431);
        assert_eq!(gate.notes.violations(), [Some(V::TooManyHeaders)]);
    }
}

#[tokio::test]
async fn a_18_an_unauthenticated_request_is_answered_and_then_the_connection_goes_away() {
    let (gate, mut stream) = open(deadlines(|deadlines| deadlines.go_away = SHORT)).await;
    stream.write_all(&http2::get(1, "/early")).await.unwrap();
    let frames = http2::read_to_close(&mut stream).await;
    assert_eq!(frames.iter().find(|frame| frame.stream == 1).unwrap().status(), 401);
    assert!(frames.iter().any(|frame| frame.kind == http2::GO_AWAY));
    gate.notes
        .until(|_| gate.metrics.closed(CloseReason::Finished) == 1)
        .await;
}

#[tokio::test]
async fn a_07_a_ping_is_answered() {
    let (_gate, mut stream) = open(|_| {}).await;
    stream
        .write_all(&http2::frame(http2::PING, 0, 0, b"12345678"))
        .await
        .unwrap();
    let mut frames = http2::Frames::default();
    let pong = frames.until(&mut stream, |frame| frame.kind == http2::PING).await;
    assert_eq!((pong.flags, &pong.payload[..]), (http2::ACK, &b"12345678"[..]));
}

#[tokio::test]
async fn h2_06_floods_of_frames_without_use_close_the_connection() {
    let rows = [
        ("ping", http2::frame(http2::PING, 0, 0, b"12345678")),
        ("settings", http2::settings()),
        ("priority", http2::frame(2, 0, 3, &[0, 0, 0, 0, 1])),
        ("unknown", http2::frame(0xbb, 0, 0, b"x")),
    ];
    for (id, frame) in rows {
        let (gate, stream) = open(limits(|limits| limits.http2_idle_frames = 500)).await;
        let (mut reading, mut writing) = tokio::io::split(stream);
        let flood = frame.repeat(1000);
        let _ = tokio::join!(
            async { while writing.write_all(&flood).await.is_ok() {} },
            read_to_close(&mut reading)
        );
        gate.notes
            .until(|_| gate.metrics.closed(CloseReason::Http2Flood) == 1)
            .await;
        assert_eq!(gate.metrics.open(), 0, "{id}");
    }
}

#[tokio::test]
async fn h2_01_a_19_rapid_resets_close_the_connection_after_a_bounded_number() {
    let (gate, stream) = open(|_| {}).await;
    let (mut reading, mut writing) = tokio::io::split(stream);
    let mut flood = Vec::new();
    for id in (1..20_001).step_by(2) {
        flood.extend(http2::get(id, "/quiet"));
        flood.extend(http2::frame(http2::RST_STREAM, 0, id, &8_u32.to_be_bytes()));
    }
    let (_, frames) = tokio::join!(writing.write_all(&flood), http2::read_to_close(&mut reading));
    assert!(
        frames
            .iter()
            .any(|frame| frame.kind == http2::GO_AWAY && frame.payload[4..8] == 11_u32.to_be_bytes())
    );
    assert!(gate.notes.targets().len() < 5_000, "{}", gate.notes.targets().len());
}

#[tokio::test]
async fn h2_02_streams_that_the_peer_makes_us_reset_close_the_connection() {
    let (_gate, stream) = open(|_| {}).await;
    let (mut reading, mut writing) = tokio::io::split(stream);
    let mut flood = Vec::new();
    for id in (1..2_001).step_by(2) {
        flood.extend(http2::get(id, "/quiet"));
        flood.extend(http2::frame(http2::WINDOW_UPDATE, 0, id, &0_u32.to_be_bytes()));
    }
    let (_, frames) = tokio::join!(writing.write_all(&flood), http2::read_to_close(&mut reading));
    assert!(frames.iter().any(|frame| frame.kind == http2::GO_AWAY));
}

#[tokio::test]
async fn h2_03_a_flood_of_continuations_is_closed() {
    let (gate, stream) = open(|_| {}).await;
    let (mut reading, mut writing) = tokio::io::split(stream);
    let mut flood = http2::frame(
        http2::HEADERS,
        http2::END_STREAM,
        1,
        &http2::fields(&http2::request("GET", "/")),
    );
    for _ in 0..10_000 {
        flood.extend(http2::frame(http2::CONTINUATION, 0, 1, &http2::fields(&[("x-a", "b")])));
    }
    let (_, _) = tokio::join!(writing.write_all(&flood), http2::read_to_close(&mut reading));
    assert!(gate.notes.targets().is_empty());
}

#[tokio::test]
async fn h2_21_http1_bytes_behind_alpn_h2_are_dropped() {
    let authority = Authority::new("a");
    let gate = start(
        tls(&authority).0,
        deadlines(|deadlines| deadlines.first_byte = SHORT * 20),
    );
    let mut stream = secure(
        &gate,
        &authority,
        ClientOptions {
            alpn: &["h2"],
            ..ClientOptions::default()
        },
    )
    .await;
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await
        .unwrap();
    let answer = read_to_close(&mut stream).await;
    assert!(!answer.contains("HTTP/1.1"));
    assert!(gate.notes.targets().is_empty());
}

#[tokio::test]
async fn k_10_a_panic_is_an_answer_to_that_stream_only() {
    let (_gate, mut stream) = open(|_| {}).await;
    stream
        .write_all(&[http2::get(1, "/panic"), http2::get(3, "/next")].concat())
        .await
        .unwrap();
    let mut frames = http2::Frames::default();
    let mut statuses = std::collections::BTreeMap::new();
    while statuses.len() < 2 {
        let frame = frames.until(&mut stream, |frame| frame.kind == http2::HEADERS).await;
        statuses.insert(frame.stream, frame.status());
    }
    assert_eq!(statuses.into_iter().collect::<Vec<_>>(), [(1, 500), (3, 200)]);
}

#[tokio::test]
async fn more_streams_than_the_limit_are_refused_and_the_others_live() {
    let (gate, mut stream) = open(limits(|limits| limits.http2_streams = 2)).await;
    let three = [http2::get(1, "/held"), http2::get(3, "/held"), http2::get(5, "/held")].concat();
    stream.write_all(&three).await.unwrap();
    let mut frames = http2::Frames::default();
    let reset = frames.until(&mut stream, |frame| frame.kind == http2::RST_STREAM).await;
    assert_eq!(
        (reset.stream, &reset.payload[..]),
        (5, &7_u32.to_be_bytes()[..]),
        "REFUSED_STREAM"
    );
    guarded(gate.notes.until(|notes| notes.targets().len() == 2)).await;
}
