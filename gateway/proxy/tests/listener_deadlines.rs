//! Every phase of a connection ends by a deadline of its own: TLS-01, RES-01, RES-02,
//! H2-15, H2-16. Each test shortens one deadline, leaves all others far away and waits for the close.

#![cfg(test)]

mod listener_support;

use std::time::Duration;

use listener_support::{
    Authority, ClientOptions, Gate, SHORT, deadlines, guarded, http2, plain, read_answer, read_to_close, secure, start,
    status, tls,
};
use proxy::listener::{CloseReason, Deadlines, Refused, Security, tls::TlsFailure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn with(adjust: impl FnOnce(&mut Deadlines)) -> Gate {
    start(Security::PlainLoopback, deadlines(adjust))
}

/// Sends bytes, then nothing; waits for the close and for its reason.
async fn closed_in_silence(gate: &Gate, bytes: &[u8], reason: CloseReason) -> String {
    let mut stream = gate.connect().await;
    stream.write_all(bytes).await.unwrap();
    let answer = read_to_close(&mut stream).await;
    gate.notes
        .until(|notes| notes.refusals() == [Refused::Closed(reason)])
        .await;
    gate.notes.until(|_| gate.metrics.closed(reason) == 1).await;
    answer
}

#[tokio::test]
async fn res_02_a_connection_without_a_byte_is_closed() {
    let gate = with(|deadlines| deadlines.first_byte = SHORT);
    closed_in_silence(&gate, b"", CloseReason::FirstByte).await;
}

#[tokio::test]
async fn res_02_one_byte_half_a_preface_and_half_a_head_are_closed() {
    for bytes in [&b"P"[..], b"PRI * HT", b"GET / HTTP/1.1\r\nHost: a\r\n"] {
        let gate = with(|deadlines| deadlines.head_progress = SHORT);
        closed_in_silence(&gate, bytes, CloseReason::RequestHead).await;
    }
}

#[tokio::test]
async fn a_06_a_head_that_drips_is_closed_at_the_deadline_of_the_whole() {
    let gate = with(|deadlines| deadlines.request_head = SHORT);
    let stream = gate.connect().await;
    let (mut reading, mut writing) = stream.into_split();
    let dripping = tokio::spawn(async move {
        let mut pause = tokio::time::interval(Duration::from_millis(10));
        while writing.write_all(b"X").await.is_ok() {
            pause.tick().await;
        }
    });
    read_to_close(&mut reading).await;
    gate.notes
        .until(|notes| notes.refusals() == [Refused::Closed(CloseReason::RequestHead)])
        .await;
    guarded(dripping).await.unwrap();
}

#[tokio::test]
async fn an_idle_connection_is_closed_behind_its_answer_and_not_before() {
    let gate = with(|deadlines| deadlines.keep_alive_idle = SHORT);
    let mut stream = gate.connect().await;
    stream
        .write_all(b"GET /held HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    gate.notes.until(|notes| !notes.targets().is_empty()).await;
    // The request takes longer than the idle deadline: that is no idleness.
    let mut byte = [0];
    assert!(tokio::time::timeout(SHORT * 3, stream.read(&mut byte)).await.is_err());
    gate.notes.release.notify_one();
    assert_eq!(status(&read_answer(&mut stream).await), 200);
    assert_eq!(read_to_close(&mut stream).await, "");
    gate.notes
        .until(|_| gate.metrics.closed(CloseReason::KeepAliveIdle) == 1)
        .await;
}

#[tokio::test]
async fn an_announced_body_that_is_never_sent_is_given_up() {
    for head in [
        "Content-Length: 5\r\n\r\nab",
        "Transfer-Encoding: chunked\r\n\r\n5\r\nab",
    ] {
        let gate = with(|deadlines| deadlines.body_progress = SHORT);
        let answer = gate.exchange(format!("POST / HTTP/1.1\r\nHost: a\r\n{head}")).await;
        assert_eq!(status(&answer), 408, "{answer}");
        assert!(
            gate.notes.seen.lock().unwrap()[0]
                .body
                .as_ref()
                .is_err_and(|error| error.contains("stopped"))
        );
    }
}

#[tokio::test]
async fn g_09_an_answer_that_nobody_reads_is_given_up_and_says_so() {
    for target in ["/endless", "/big"] {
        let gate = with(|deadlines| deadlines.write_progress = SHORT);
        let mut stream = gate.connect().await;
        stream
            .write_all(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes())
            .await
            .unwrap();
        gate.notes
            .until(|notes| notes.refusals() == [Refused::Closed(CloseReason::WriteProgress)])
            .await;
        assert_eq!(gate.metrics.open(), 0);
        assert_eq!(gate.notes.stalled(), [target]);
    }
}

#[tokio::test]
async fn g_09_a_client_that_left_has_not_stalled() {
    let gate = plain();
    let mut stream = gate.connect().await;
    stream
        .write_all(b"GET /endless HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    gate.notes.until(|notes| notes.targets() == ["/endless"]).await;
    drop(stream);
    guarded(async {
        while gate.metrics.open() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(gate.notes.stalled(), Vec::<String>::new());
}

#[tokio::test]
async fn g_03_a_quiet_answer_is_not_a_stalled_one() {
    let gate = with(|deadlines| {
        deadlines.write_progress = SHORT;
        deadlines.keep_alive_idle = SHORT;
        deadlines.body_progress = SHORT;
    });
    let mut stream = gate.connect().await;
    stream
        .write_all(b"GET /quiet HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    let mut bytes = vec![0; 1024];
    let len = guarded(stream.read(&mut bytes)).await.unwrap();
    assert_eq!(status(&String::from_utf8_lossy(&bytes[..len])), 200);
    assert!(
        tokio::time::timeout(SHORT * 4, stream.read(&mut bytes)).await.is_err(),
        "a watch lives without events"
    );
}

#[tokio::test]
async fn tls_01_a_client_without_client_hello_is_closed() {
    for bytes in [&b""[..], b"\x16\x03\x01\x02\x00\x01"] {
        let gate = start(
            tls(&Authority::new("a")).0,
            deadlines(|deadlines| deadlines.client_hello = SHORT),
        );
        let mut stream = gate.connect().await;
        stream.write_all(bytes).await.unwrap();
        read_to_close(&mut stream).await;
        gate.notes
            .until(|notes| notes.refusals() == [Refused::Tls(TlsFailure::ClientHelloDeadline)])
            .await;
        assert_eq!(gate.metrics.tls_failures(TlsFailure::ClientHelloDeadline), 1);
    }
}

#[tokio::test]
async fn tls_01_a_handshake_that_stops_is_closed() {
    let authority = Authority::new("a");
    let gate = start(tls(&authority).0, deadlines(|deadlines| deadlines.handshake = SHORT));
    let mut stream = gate.connect().await;
    stream
        .write_all(&listener_support::client_hello(&authority))
        .await
        .unwrap();
    read_to_close(&mut stream).await;
    gate.notes
        .until(|notes| notes.refusals() == [Refused::Tls(TlsFailure::HandshakeDeadline)])
        .await;
}

#[tokio::test]
async fn tls_01_a_handshake_and_then_nothing_is_closed_on_both_protocols() {
    for alpn in [&["http/1.1"][..], &["h2"]] {
        let authority = Authority::new("a");
        let gate = start(tls(&authority).0, deadlines(|deadlines| deadlines.first_byte = SHORT));
        let mut stream = secure(
            &gate,
            &authority,
            ClientOptions {
                alpn,
                ..ClientOptions::default()
            },
        )
        .await;
        read_to_close(&mut stream).await;
        gate.notes
            .until(|notes| notes.refusals() == [Refused::Closed(CloseReason::FirstByte)])
            .await;
    }
}

async fn http2_closed_in_silence(bytes: &[u8], reason: CloseReason, adjust: impl FnOnce(&mut Deadlines)) {
    let authority = Authority::new("a");
    let gate = start(tls(&authority).0, deadlines(adjust));
    let mut stream = secure(
        &gate,
        &authority,
        ClientOptions {
            alpn: &["h2"],
            ..ClientOptions::default()
        },
    )
    .await;
    stream.write_all(bytes).await.unwrap();
    read_to_close(&mut stream).await;
    gate.notes
        .until(|notes| notes.refusals() == [Refused::Closed(reason)])
        .await;
}

#[tokio::test]
async fn h2_16_a_preface_without_settings_or_without_acknowledgement_is_closed() {
    for bytes in [
        http2::PREFACE.to_vec(),
        b"PRI * HT".to_vec(),
        [http2::PREFACE, &http2::settings()[..]].concat(),
    ] {
        http2_closed_in_silence(&bytes, CloseReason::FirstByte, |deadlines| deadlines.first_byte = SHORT).await;
    }
}

#[tokio::test]
async fn h2_16_a_connection_that_opens_no_stream_is_closed() {
    http2_closed_in_silence(&http2::opening(), CloseReason::Http2FirstStream, |deadlines| {
        deadlines.http2_first_stream = SHORT
    })
    .await;
}

#[tokio::test]
async fn h2_16_headers_without_end_and_half_a_frame_are_closed() {
    let block = http2::fields(&http2::request("GET", "/"));
    let unfinished = http2::frame(http2::HEADERS, http2::END_STREAM, 1, &block);
    let half = &http2::frame(http2::HEADERS, http2::END_STREAM | http2::END_HEADERS, 1, &block)[..12];
    for bytes in [&unfinished[..], half] {
        http2_closed_in_silence(
            &[&http2::opening(), bytes].concat(),
            CloseReason::Http2Frame,
            |deadlines| deadlines.http2_frame = SHORT,
        )
        .await;
    }
}

#[tokio::test]
async fn h2_a_connection_without_streams_is_asked_to_end() {
    let authority = Authority::new("a");
    let gate = start(
        tls(&authority).0,
        deadlines(|deadlines| {
            deadlines.http2_idle = SHORT;
            deadlines.go_away = SHORT;
        }),
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
    stream.write_all(&http2::opening()).await.unwrap();
    stream.write_all(&http2::get(1, "/")).await.unwrap();
    let frames = http2::read_to_close(&mut stream).await;
    assert!(frames.iter().any(|frame| frame.kind == http2::GO_AWAY), "{frames:?}");
    gate.notes
        .until(|_| gate.metrics.closed(CloseReason::Http2Idle) == 1)
        .await;
}

#[tokio::test]
async fn h2_a_08_a_peer_that_answers_no_ping_is_closed_and_a_live_watch_is_not() {
    let authority = Authority::new("a");
    let gate = start(
        tls(&authority).0,
        deadlines(|deadlines| {
            deadlines.http2_ping_interval = SHORT;
            // Long enough for a slow machine's answers.
            deadlines.http2_ping_timeout = SHORT * 20;
        }),
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
    stream.write_all(&http2::opening()).await.unwrap();
    stream.write_all(&http2::get(1, "/quiet")).await.unwrap();
    let mut frames = http2::Frames::default();
    for _ in 0..3 {
        let ping = frames
            .until(&mut stream, |frame| frame.kind == http2::PING && frame.flags == 0)
            .await;
        stream
            .write_all(&http2::frame(http2::PING, http2::ACK, 0, &ping.payload))
            .await
            .unwrap();
    }
    http2::read_to_close(&mut stream).await;
    gate.notes
        .until(|_| gate.metrics.closed(CloseReason::Http2Ping) == 1)
        .await;
}

#[tokio::test]
async fn h2_15_g_09_a_stream_pinned_by_a_zero_window_is_reset_and_the_others_live() {
    let authority = Authority::new("a");
    let gate = start(
        tls(&authority).0,
        deadlines(|deadlines| deadlines.write_progress = SHORT),
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
    stream.write_all(&http2::opening_with_window(0)).await.unwrap();
    for (id, target) in [(1, "/pinned"), (3, "/quiet"), (5, "/endless")] {
        stream.write_all(&http2::get(id, target)).await.unwrap();
    }
    let mut frames = http2::Frames::default();
    let mut reset = Vec::new();
    for _ in 0..2 {
        reset.push(
            frames
                .until(&mut stream, |frame| frame.kind == http2::RST_STREAM)
                .await
                .stream,
        );
    }
    reset.sort_unstable();
    assert_eq!(reset, [1, 5], "a quiet watch waits for its upstream, not for the peer");
    assert_eq!(gate.metrics.stalled_streams(), 2);
    let mut stalled = gate.notes.stalled();
    stalled.sort_unstable();
    assert_eq!(stalled, ["/endless", "/pinned"]);
}

#[tokio::test]
async fn the_ordinary_request_meets_no_deadline() {
    let gate = plain();
    let answer = gate
        .exchange("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        .await;
    assert_eq!(status(&answer), 200);
    gate.notes.until(|notes| notes.refusals().is_empty()).await;
}
