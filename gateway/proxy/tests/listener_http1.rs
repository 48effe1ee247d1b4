//! HTTP/1 over real sockets, byte for byte; names begin with the ids of docs/reference/statements.md.

#![cfg(test)]

mod listener_support;

use listener_support::{Gate, guarded, plain, read_answer, read_to_close, status};
use proxy::listener::{Refused, Violation as V};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A refusal: one answer with the status of the violation, the connection closed, nothing behind it executed.
async fn refused(id: &str, bytes: &[u8], expected: V) {
    let gate = plain();
    let smuggled = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    let answer = gate.exchange([bytes, smuggled].concat()).await;
    assert_eq!(status(&answer), expected.status().as_u16(), "{id}: {answer}");
    assert!(
        answer.contains("connection: close") && answer.ends_with(expected.text()),
        "{id}: {answer}"
    );
    assert_eq!(gate.notes.violations(), [Some(expected)], "{id}");
    assert_eq!(gate.metrics.violations(expected), 1, "{id}");
}

/// A request whose head is sound but for the given request line and headers.
fn request(line: &str, headers: &str) -> Vec<u8> {
    format!("{line}\r\n{headers}\r\n").into_bytes()
}

async fn all_refused(rows: &[(&str, &str, &str, V)]) {
    for (id, line, headers, violation) in rows {
        refused(id, &request(line, headers), *violation).await;
    }
}

const GET: &str = "GET / HTTP/1.1";
const POST: &str = "POST / HTTP/1.1";

#[tokio::test]
async fn appendix_a_framing_rows_are_refused() {
    all_refused(&[
        (
            "H1-01 A-11",
            POST,
            "Host: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            V::LengthAndTransferEncoding,
        ),
        (
            "H1-02 te first",
            POST,
            "Host: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n",
            V::LengthAndTransferEncoding,
        ),
        (
            "H1-02 two lengths",
            POST,
            "Host: a\r\nContent-Length: 5\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            V::ContentLengthRepeated,
        ),
        (
            "H1-03 equal",
            POST,
            "Host: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n",
            V::ContentLengthRepeated,
        ),
        (
            "H1-03 different",
            POST,
            "Host: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n",
            V::ContentLengthRepeated,
        ),
        (
            "H1-03 list",
            POST,
            "Host: a\r\nContent-Length: 1, 1\r\n",
            V::ContentLengthInvalid,
        ),
        (
            "H1-04 plus",
            POST,
            "Host: a\r\nContent-Length: +1\r\n",
            V::ContentLengthInvalid,
        ),
        (
            "H1-04 minus",
            POST,
            "Host: a\r\nContent-Length: -1\r\n",
            V::ContentLengthInvalid,
        ),
        (
            "H1-04 minus zero",
            POST,
            "Host: a\r\nContent-Length: -0\r\n",
            V::ContentLengthInvalid,
        ),
        (
            "H1-04 hex",
            POST,
            "Host: a\r\nContent-Length: 0x1\r\n",
            V::ContentLengthInvalid,
        ),
        (
            "H1-04 empty",
            POST,
            "Host: a\r\nContent-Length:\r\n",
            V::ContentLengthInvalid,
        ),
        (
            "H1-04 zeros",
            POST,
            "Host: a\r\nContent-Length: 0001\r\n",
            V::ContentLengthInvalid,
        ),
        (
            "H1-04 space",
            POST,
            "Host: a\r\nContent-Length: 1 1\r\n",
            V::ContentLengthInvalid,
        ),
        (
            "H1-04 20 digits",
            POST,
            "Host: a\r\nContent-Length: 18446744073709551617\r\n",
            V::ContentLengthInvalid,
        ),
        (
            "H1-04 underscore",
            POST,
            "Host: a\r\nContent-Length: 1_0\r\n",
            V::ContentLengthInvalid,
        ),
        (
            "H1-05 identity",
            POST,
            "Host: a\r\nTransfer-Encoding: identity, chunked\r\n",
            V::TransferEncodingUnsupported,
        ),
        (
            "H1-05 gzip",
            POST,
            "Host: a\r\nTransfer-Encoding: gzip, chunked\r\n",
            V::TransferEncodingUnsupported,
        ),
        (
            "H1-05 comma",
            POST,
            "Host: a\r\nTransfer-Encoding: ,chunked\r\n",
            V::TransferEncodingUnsupported,
        ),
        (
            "H1-05 two lines",
            POST,
            "Host: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            V::TransferEncodingRepeated,
        ),
        (
            "H1-05 two orders",
            POST,
            "Host: a\r\nTransfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n",
            V::TransferEncodingUnsupported,
        ),
        (
            "H1-05 tab",
            POST,
            "Host: a\r\nTransfer-Encoding: chunked\t\r\n",
            V::TransferEncodingUnsupported,
        ),
        (
            "H1-06 xchunked",
            POST,
            "Host: a\r\nTransfer-Encoding: xchunked\r\n",
            V::TransferEncodingUnsupported,
        ),
        (
            "H1-06 parameter",
            POST,
            "Host: a\r\nTransfer-Encoding: chunked;a=b\r\n",
            V::TransferEncodingUnsupported,
        ),
        (
            "H1-06 trailing comma",
            POST,
            "Host: a\r\nTransfer-Encoding: chunked,\r\n",
            V::TransferEncodingUnsupported,
        ),
        (
            "H1-06 vt",
            POST,
            "Host: a\r\nTransfer-Encoding: \u{b}chunked\r\n",
            V::HeaderValueInvalid,
        ),
        (
            "H1-06 underscore",
            POST,
            "Host: a\r\nTransfer_Encoding: chunked\r\n",
            V::FramingHeaderAlias,
        ),
        (
            "H1-06 length alias",
            POST,
            "Host: a\r\nContent.Length: 5\r\n",
            V::FramingHeaderAlias,
        ),
        (
            "H1-06 space before colon",
            POST,
            "Host: a\r\nTransfer-Encoding : chunked\r\n",
            V::HeaderNameInvalid,
        ),
        (
            "H1-06 folded",
            POST,
            "Host: a\r\nTransfer-Encoding:\r\n chunked\r\n",
            V::TransferEncodingUnsupported,
        ),
        (
            "H1-07",
            "POST / HTTP/1.0",
            "Host: a\r\nTransfer-Encoding: chunked\r\n",
            V::TransferEncodingOnHttp10,
        ),
        (
            "H1-07 keep-alive",
            "POST / HTTP/1.0",
            "Host: a\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n",
            V::TransferEncodingOnHttp10,
        ),
        ("H1-08", "POST / HTTP/1.0", "Host: a\r\n", V::LengthRequired),
    ])
    .await;
}

#[tokio::test]
async fn appendix_a_line_and_header_rows_are_refused() {
    for (id, bytes, violation) in [
        ("H1-09 request line", "GET / HTTP/1.1\nHost: a\r\n\r\n", V::BareLineFeed),
        (
            "H1-09 one header",
            "GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n",
            V::BareLineFeed,
        ),
        ("H1-09 all", "GET / HTTP/1.1\nHost: a\n\n", V::BareLineFeed),
        (
            "A-12 leading crlf",
            "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            V::LeadingBlankLine,
        ),
        (
            "A-12 leading lf",
            "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            V::LeadingBlankLine,
        ),
        (
            "H1-10 bare cr",
            "GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n",
            V::BareCarriageReturn,
        ),
        (
            "H1-10 obs-fold",
            "GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n",
            V::FoldedHeader,
        ),
        (
            "H1-10 leading space",
            "GET / HTTP/1.1\r\n Host: a\r\n\r\n",
            V::FoldedHeader,
        ),
        (
            "H1-10 space before colon",
            "GET / HTTP/1.1\r\nHost: a\r\nX : a\r\n\r\n",
            V::HeaderNameInvalid,
        ),
        (
            "H1-10 no colon",
            "GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n",
            V::HeaderNameInvalid,
        ),
        (
            "H1-10 empty name",
            "GET / HTTP/1.1\r\nHost: a\r\n: a\r\n\r\n",
            V::HeaderNameInvalid,
        ),
        (
            "H1-31 nul in value",
            "GET / HTTP/1.1\r\nHost: a\r\nCookie: a\0b\r\n\r\n",
            V::HeaderValueInvalid,
        ),
        (
            "H1-31 control in value",
            "GET / HTTP/1.1\r\nHost: a\r\nAuthorization: \u{1}\r\n\r\n",
            V::HeaderValueInvalid,
        ),
        (
            "H1-31 delete in value",
            "GET / HTTP/1.1\r\nHost: a\r\nX: \u{7f}\r\n\r\n",
            V::HeaderValueInvalid,
        ),
        (
            "H1-31 8-bit in name",
            "GET / HTTP/1.1\r\nHost: a\r\nXé: 1\r\n\r\n",
            V::HeaderNameInvalid,
        ),
    ] {
        refused(id, bytes.as_bytes(), violation).await;
    }
}

#[tokio::test]
async fn appendix_a_request_line_rows_are_refused() {
    let host = "Host: a\r\n";
    all_refused(&[
        ("H1-26 lower case", "get / HTTP/1.1", host, V::MethodUnknown),
        ("H1-26 G!T", "G!T / HTTP/1.1", host, V::MethodUnknown),
        ("H1-26 1.2", "GET / HTTP/1.2", host, V::VersionUnsupported),
        ("H1-26 2.0", "GET / HTTP/2.0", host, V::VersionUnsupported),
        ("H1-26 0.9", "GET /", host, V::RequestLineMalformed),
        ("H1-26 two spaces", "GET  / HTTP/1.1", host, V::RequestLineMalformed),
        ("H1-26 tab", "GET\t/ HTTP/1.1", host, V::RequestLineMalformed),
        ("H1-26 asterisk", "GET * HTTP/1.1", host, V::TargetFormUnknown),
        (
            "H1-18 A-14 CONNECT authority",
            "CONNECT a:443 HTTP/1.1",
            host,
            V::MethodForbidden,
        ),
        ("H1-18 CONNECT path", "CONNECT / HTTP/1.1", host, V::MethodForbidden),
        ("H1-19 TRACE", "TRACE / HTTP/1.1", host, V::MethodForbidden),
        ("H1-19 TRACK", "TRACK / HTTP/1.1", host, V::MethodForbidden),
        (
            "H2-21 preface on http/1.1",
            "PRI * HTTP/2.0",
            "\r\nSM\r\n",
            V::VersionUnsupported,
        ),
        (
            "H1-24 A-12 other host",
            "GET http://b/ HTTP/1.1",
            host,
            V::TargetHostMismatch,
        ),
        ("H1-24 ftp", "GET ftp://a/ HTTP/1.1", host, V::TargetSchemeForbidden),
        (
            "H1-24 other scheme",
            "GET https://a/ HTTP/1.1",
            host,
            V::TargetSchemeForbidden,
        ),
        ("H1-24 userinfo", "GET http://u@a/ HTTP/1.1", host, V::HostInvalid),
        (
            "A-12 PATH-05 fragment",
            "GET /a#b HTTP/1.1",
            host,
            V::TargetByteForbidden,
        ),
        ("C-07 backslash", "GET /a\\b HTTP/1.1", host, V::TargetByteForbidden),
        ("C-06 8-bit", "GET /é HTTP/1.1", host, V::TargetByteForbidden),
        ("C-06 %zz", "GET /%zz HTTP/1.1", host, V::TargetPercentInvalid),
        ("C-06 nul", "GET /\0 HTTP/1.1", host, V::TargetByteForbidden),
        ("PATH-08 quote", "GET /\" HTTP/1.1", host, V::TargetByteForbidden),
        ("no slash", "GET a HTTP/1.1", host, V::TargetFormUnknown),
    ])
    .await;
}

#[tokio::test]
async fn appendix_a_host_rows_are_refused() {
    all_refused(&[
        ("H1-23 A-12 missing", GET, "X: y\r\n", V::HostMissing),
        ("H1-23 missing on 1.0", "GET / HTTP/1.0", "X: y\r\n", V::HostMissing),
        ("H1-23 A-12 twice", GET, "Host: a\r\nHost: a\r\n", V::HostRepeated),
        ("H1-23 list", GET, "Host: a, b\r\n", V::HostInvalid),
        ("H1-23 path", GET, "Host: a/b\r\n", V::HostInvalid),
        ("H1-23 userinfo", GET, "Host: u@a\r\n", V::HostInvalid),
        ("H1-23 empty", GET, "Host:\r\n", V::HostInvalid),
        ("H1-23 port", GET, "Host: a:99999\r\n", V::HostInvalid),
        ("H1-23 8-bit", GET, "Host: é\r\n", V::HostInvalid),
        ("host alias", GET, "Host: a\r\nHost_: b\r\n", V::FramingHeaderAlias),
    ])
    .await;
}

#[tokio::test]
async fn appendix_a_expect_and_upgrade_rows_are_refused() {
    all_refused(&[
        (
            "D-16 H1-21",
            POST,
            "Host: a\r\nExpect: 200-ok\r\nContent-Length: 1\r\n",
            V::ExpectationUnknown,
        ),
        (
            "D-16 twice",
            POST,
            "Host: a\r\nExpect: 100-continue\r\nExpect: 100-continue\r\nContent-Length: 1\r\n",
            V::ExpectationUnknown,
        ),
        (
            "H1-17 without connection",
            GET,
            "Host: a\r\nUpgrade: websocket\r\n",
            V::UpgradeWithoutConnection,
        ),
        (
            "H1-17 on 1.0",
            "GET / HTTP/1.0",
            "Host: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n",
            V::UpgradeOnHttp10,
        ),
        (
            "H1-17 with body",
            POST,
            "Host: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 5\r\n",
            V::UpgradeWithBody,
        ),
        (
            "H1-17 chunked",
            POST,
            "Host: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\nTransfer-Encoding: chunked\r\n",
            V::UpgradeWithBody,
        ),
        (
            "H1-17 unknown",
            GET,
            "Host: a\r\nConnection: upgrade\r\nUpgrade: foo\r\n",
            V::UpgradeUnknown,
        ),
        (
            "H1-17 list",
            GET,
            "Host: a\r\nConnection: upgrade\r\nUpgrade: websocket, foo\r\n",
            V::UpgradeUnknown,
        ),
        (
            "H1-17 two lines",
            GET,
            "Host: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\nUpgrade: SPDY/3.1\r\n",
            V::UpgradeUnknown,
        ),
        (
            "H1-16 h2c",
            GET,
            "Host: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n",
            V::UpgradeUnknown,
        ),
        (
            "H-01 TLS",
            GET,
            "Host: a\r\nConnection: upgrade\r\nUpgrade: TLS/1.0\r\n",
            V::UpgradeUnknown,
        ),
    ])
    .await;
}

#[tokio::test]
async fn h1_27_heads_over_a_limit_are_refused_before_they_end() {
    for (id, bytes, violation) in [
        (
            "headers",
            format!("{GET}\r\nHost: a\r\n{}", "X: y\r\n".repeat(401)),
            V::TooManyHeaders,
        ),
        (
            "one giant header",
            format!("{GET}\r\nHost: a\r\nX: {}", "y".repeat(400_000)),
            V::HeaderLineTooLarge,
        ),
        (
            "block",
            format!(
                "{GET}\r\nHost: a\r\n{}",
                format!("X: {}\r\n", "y".repeat(60_000)).repeat(17)
            ),
            V::HeadTooLarge,
        ),
        (
            "target",
            format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(66_000)),
            V::TargetTooLong,
        ),
        (
            "endless target",
            format!("GET /{}", "a".repeat(70_000)),
            V::TargetTooLong,
        ),
    ] {
        let gate = plain();
        let answer = gate.exchange(&bytes).await;
        assert_eq!(status(&answer), violation.status().as_u16(), "{id}");
        assert_eq!(gate.notes.violations(), [Some(violation)], "{id}");
    }
}

#[tokio::test]
async fn a_refused_target_and_host_are_told_for_the_record() {
    let gate = plain();
    gate.exchange("POST /x?y HTTP/1.1\r\nHost: A.example\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n")
        .await;
    let seen = gate.notes.seen.lock().unwrap()[0].clone();
    assert_eq!(
        (seen.target.as_str(), seen.host.as_deref()),
        ("/x?y", Some("a.example"))
    );
    assert!(
        seen.headers
            .iter()
            .all(|(name, _)| name == "host" || name == "connection"),
        "the stand-in has nothing of the client"
    );
}

async fn accepted(gate: &Gate, bytes: &[u8]) -> String {
    let answer = gate.exchange(bytes).await;
    assert_eq!(status(&answer), 200, "{answer}");
    answer
}

#[tokio::test]
async fn c_02_targets_that_routes_judge_arrive_byte_for_byte() {
    let gate = plain();
    let targets = [
        "/a/../b",
        "/%2e%2e/x",
        "/a%2Fb",
        "///x",
        "/a;b=c",
        "/x?watch=1;y&%77atch=1",
        "/a/exec/",
        "/x?a={b}|c",
        "/%00",
    ];
    for target in targets {
        accepted(
            &gate,
            format!("GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").as_bytes(),
        )
        .await;
    }
    accepted(
        &gate,
        b"GET http://A:80/abs?x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    )
    .await;
    accepted(&gate, b"OPTIONS * HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    assert_eq!(gate.notes.targets(), [&targets[..], &["/abs?x", "*"]].concat());
    assert!(gate.notes.violations().iter().all(Option::is_none));
}

#[tokio::test]
async fn a_09_a_large_token_and_300_header_lines_are_accepted() {
    let gate = plain();
    let bytes = format!(
        "{GET}\r\nHost: a\r\nConnection: close\r\nAuthorization: Bearer {}\r\n{}\r\n",
        "t".repeat(48 * 1024),
        "X-H: y\r\n".repeat(297)
    );
    accepted(&gate, bytes.as_bytes()).await;
    assert_eq!(
        gate.notes.seen.lock().unwrap()[0].headers["authorization"].len(),
        48 * 1024 + 7
    );
}

#[tokio::test]
async fn c_09_a_long_query_is_accepted() {
    let gate = plain();
    let target = format!("/x?{}", "q=1&".repeat(16_000));
    accepted(
        &gate,
        format!("GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").as_bytes(),
    )
    .await;
    assert_eq!(gate.notes.targets(), [target]);
}

#[tokio::test]
async fn h1_27_a_head_sent_byte_by_byte_is_read() {
    let gate = plain();
    let mut stream = gate.connect().await;
    stream.set_nodelay(true).unwrap();
    for byte in b"GET /slow HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" {
        stream.write_all(&[*byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    assert_eq!(status(&read_to_close(&mut stream).await), 200);
    assert_eq!(gate.notes.targets(), ["/slow"]);
}

#[tokio::test]
async fn h1_25_a_thousand_pipelined_requests_are_answered_in_order() {
    let gate = plain();
    let mut bytes = String::new();
    for number in 0..1000 {
        bytes += &format!("POST /{number} HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc");
    }
    bytes += "GET /bad HTTP/1.1\r\n\r\nGET /never HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut stream = gate.connect().await;
    let (mut reading, mut writing) = stream.split();
    let (_, answer) = tokio::join!(writing.write_all(bytes.as_bytes()), read_to_close(&mut reading));
    assert_eq!(answer.matches("HTTP/1.1 200 OK").count(), 1000);
    assert_eq!(answer.matches("HTTP/1.1 400 Bad Request").count(), 1);
    let targets: Vec<String> = (0..1000)
        .map(|number| format!("/{number}"))
        .chain(["/bad".to_owned()])
        .collect();
    assert_eq!(gate.notes.targets(), targets);
}

#[tokio::test]
async fn h1_22_a_get_with_a_body_does_not_move_the_next_request() {
    let gate = plain();
    let body = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    let first = format!(
        "GET /1 HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    gate.exchange(format!(
        "{first}GET /2 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    ))
    .await;
    assert_eq!(gate.notes.targets(), ["/1", "/2"]);
}

#[tokio::test]
async fn h1_11_h1_12_h1_14_a_broken_chunk_is_an_error_and_never_an_end() {
    let extension = format!("5;{}\r\nhello\r\n0\r\n\r\n", "a".repeat(64 * 1024));
    let many = "1;a\r\nx\r\n".repeat(16_000);
    let rows = [
        ("5\nhello\r\n0\r\n\r\n", V::ChunkSizeInvalid),
        ("0x5\r\nhello\r\n0\r\n\r\n", V::ChunkSizeInvalid),
        ("+5\r\nhello\r\n0\r\n\r\n", V::ChunkSizeInvalid),
        ("1_0\r\nhello\r\n0\r\n\r\n", V::ChunkSizeInvalid),
        (" 5\r\nhello\r\n0\r\n\r\n", V::ChunkSizeInvalid),
        ("00000000000000005\r\nhello\r\n0\r\n\r\n", V::ChunkSizeInvalid),
        ("5;a\nb\r\nhello\r\n0\r\n\r\n", V::ChunkExtensionInvalid),
        (extension.as_str(), V::ChunkExtensionInvalid),
        (many.as_str(), V::ChunkExtensionInvalid),
        ("5\r\nhelloXX0\r\n\r\n", V::ChunkEndMissing),
        ("0\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n", V::TrailerInvalid),
    ];
    for (body, violation) in rows {
        let gate = plain();
        let answer = gate
            .exchange(format!("{POST}\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{body}"))
            .await;
        let short: String = body.chars().take(30).collect();
        assert_eq!(status(&answer), 400, "{short:?} {answer}");
        let seen = gate.notes.seen.lock().unwrap().clone();
        assert_eq!(seen.len(), 1, "{short:?}");
        assert!(
            seen[0]
                .body
                .as_ref()
                .is_err_and(|error| error.contains(violation.text())),
            "{short:?} {:?}",
            seen[0].body
        );
        gate.notes
            .until(|notes| notes.refusals() == [Refused::Body(violation)])
            .await;
    }
}

#[tokio::test]
async fn h1_13_trailers_are_dropped() {
    let gate = plain();
    let trailers = "Authorization: x\r\nImpersonate-User: root\r\nX-Remote-User: root\r\nHost: b\r\nContent-Length: 9\r\nCookie: c\r\n";
    accepted(&gate, format!("POST /t HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTE: trailers\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n{trailers}\r\n").as_bytes()).await;
    let seen = gate.notes.seen.lock().unwrap()[0].clone();
    assert_eq!(seen.body.unwrap(), "abc");
    assert!(!seen.headers.contains_key("authorization") && !seen.headers.contains_key("impersonate-user"));
}

#[tokio::test]
async fn j_09_chunk_extensions_and_small_chunks_are_accepted() {
    let gate = plain();
    accepted(&gate, b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: Chunked\r\n\r\n1;x=\"y\"\r\na\r\n1\r\nb\r\n0\r\n\r\n").await;
    assert_eq!(gate.notes.seen.lock().unwrap()[0].body.clone().unwrap(), "ab");
}

#[tokio::test]
async fn h1_20_the_rest_of_a_body_behind_an_early_answer_is_never_a_request() {
    let gate = plain();
    let body = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n".repeat(10_000);
    let answer = gate
        .exchange(format!(
            "POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}",
            body.len() * 2
        ))
        .await;
    assert_eq!(status(&answer), 401, "{answer}");
    assert_eq!(gate.notes.targets(), ["/early"]);
}

#[tokio::test]
async fn j_02_the_client_is_told_to_continue_only_when_the_body_is_wanted() {
    let gate = plain();
    let head = "Host: a\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n";
    let answer = gate.exchange(format!("POST /early HTTP/1.1\r\n{head}")).await;
    assert_eq!(status(&answer), 401);
    let answer = gate.exchange(format!("POST /wanted HTTP/1.1\r\n{head}abc")).await;
    assert!(
        answer.starts_with("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK"),
        "{answer}"
    );
}

const UPGRADE: &str = "Host: a\r\nConnection: keep-alive\r\nconnection: x, UPGRADE\r\nUpgrade: WebSocket\r\n\r\n";

#[tokio::test]
async fn h_08_a_granted_tunnel_gets_the_bytes_behind_the_head_once_and_in_order() {
    let gate = plain();
    let mut stream = gate.connect().await;
    stream
        .write_all(format!("GET /upgrade HTTP/1.1\r\n{UPGRADE}GET /first HTTP/1.1\r\n\r\n").as_bytes())
        .await
        .unwrap();
    let answer = read_answer(&mut stream).await;
    assert_eq!(status(&answer), 101, "{answer}");
    stream.write_all(b"\x00binary").await.unwrap();
    let mut echoed = vec![0; b"GET /first HTTP/1.1\r\n\r\n\x00binary".len()];
    guarded(stream.read_exact(&mut echoed)).await.unwrap();
    assert_eq!(echoed, b"GET /first HTTP/1.1\r\n\r\n\x00binary");
    assert_eq!(gate.notes.targets(), ["/upgrade"]);
    assert_eq!(gate.metrics.open(), 1, "a tunnel counts as an open connection");
    stream.shutdown().await.unwrap();
    assert_eq!(read_to_close(&mut stream).await, "");
}

#[tokio::test]
async fn h1_15_an_upgrade_that_was_not_granted_closes_and_drops_what_follows() {
    let gate = plain();
    let answer = gate
        .exchange(format!(
            "GET /denied HTTP/1.1\r\n{UPGRADE}GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
        ))
        .await;
    assert_eq!(status(&answer), 200);
    assert!(
        answer.contains("connection: close") && answer.matches("HTTP/1.1 ").count() == 1,
        "{answer}"
    );
    assert_eq!(gate.notes.targets(), ["/denied"]);
}

#[tokio::test]
async fn h1_16_an_answer_of_101_that_was_not_asked_for_never_passes() {
    let gate = plain();
    let answer = gate
        .exchange("GET /unasked-101 HTTP/1.1\r\nHost: a\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n")
        .await;
    assert_eq!(status(&answer), 502, "{answer}");
}

#[tokio::test]
async fn k_10_a_panic_is_an_answer_to_that_request_only() {
    let gate = plain();
    let mut stream = gate.connect().await;
    stream
        .write_all(b"GET /panic HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    assert_eq!(status(&read_answer(&mut stream).await), 500);
    stream
        .write_all(b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    assert_eq!(status(&read_answer(&mut stream).await), 200);
}

#[tokio::test]
async fn tls_11_tls_on_the_plain_port_is_refused() {
    let gate = plain();
    let answer = gate.exchange(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03").await;
    assert_eq!(status(&answer), 400);
    assert_eq!(gate.notes.violations(), [Some(V::RequestLineMalformed)]);
}

#[tokio::test]
async fn the_counts_of_a_connection_are_kept() {
    let gate = plain();
    let bytes = b"POST /c HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 3\r\n\r\nabc";
    accepted(&gate, bytes).await;
    let conn = gate.notes.seen.lock().unwrap()[0].connection.clone();
    assert_eq!(
        (conn.counters().requests(), conn.counters().bytes_read()),
        (1, bytes.len() as u64)
    );
    assert!(conn.counters().bytes_written() > 0 && conn.peer().ip().is_loopback() && conn.tls().is_none());
}
