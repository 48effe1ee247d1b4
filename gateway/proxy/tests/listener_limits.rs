//! Limits of connections and the drain: RES-09 in part, RES-13, RES-16; A-17.

#![cfg(test)]

mod listener_support;

use std::time::Duration;

use listener_support::{
    Authority, ClientOptions, Gate, deadlines, guarded, http2, limits, plain, read_answer, read_to_close, secure,
    start, status, tls,
};
use prometheus_client::{encoding::text::encode, registry::Registry};
use proxy::listener::{CloseReason, Refused, Security};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// When a drain cuts what goes on; what has to happen before has time on a slow machine, too.
const CUT: Duration = Duration::from_secs(5);
const GET: &[u8] = b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n";

#[tokio::test]
async fn an_address_with_too_many_connections_is_closed_and_has_room_again_later() {
    let gate = start(
        Security::PlainLoopback,
        limits(|limits| limits.connections_per_address = 2),
    );
    let mut open = [gate.connect().await, gate.connect().await];
    for stream in &mut open {
        stream.write_all(GET).await.unwrap();
        assert_eq!(status(&read_answer(stream).await), 200);
    }
    assert_eq!(read_to_close(&mut gate.connect().await).await, "");
    gate.notes
        .until(|notes| notes.refusals() == [Refused::AddressLimit])
        .await;
    assert_eq!(gate.metrics.over_address_limit(), 1);
    let [first, _second] = open;
    drop(first);
    guarded(async {
        while gate.metrics.open() > 1 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let mut again = gate.connect().await;
    again.write_all(GET).await.unwrap();
    assert_eq!(status(&read_answer(&mut again).await), 200);
}

#[tokio::test]
async fn a_full_listener_leaves_new_connections_to_the_kernel_until_one_ends() {
    let gate = start(Security::PlainLoopback, limits(|limits| limits.connections = 1));
    let mut first = gate.connect().await;
    first.write_all(GET).await.unwrap();
    assert_eq!(status(&read_answer(&mut first).await), 200);
    let mut second = gate.connect().await;
    second.write_all(GET).await.unwrap();
    assert!(
        tokio::time::timeout(Duration::from_millis(100), second.read_u8())
            .await
            .is_err()
    );
    assert_eq!(gate.metrics.accepted(), 1);
    drop(first);
    assert_eq!(status(&read_answer(&mut second).await), 200);
}

#[tokio::test]
async fn res_16_cancelled_requests_leave_nothing_open() {
    let gate = plain();
    for _ in 0..50 {
        let mut stream = gate.connect().await;
        stream
            .write_all(b"GET /held HTTP/1.1\r\nHost: a\r\n\r\n")
            .await
            .unwrap();
        drop(stream);
    }
    gate.notes.until(|_| gate.metrics.accepted() == 50).await;
    guarded(async {
        while gate.metrics.open() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_17_a_drain_ends_idle_connections_finishes_requests_and_cuts_streams_at_the_deadline() {
    let gate = plain();
    let mut idle = gate.connect().await;
    idle.write_all(GET).await.unwrap();
    read_answer(&mut idle).await;
    let (mut held, mut watch) = (gate.connect().await, gate.connect().await);
    held.write_all(b"GET /held HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    gate.notes.until(|notes| notes.targets().len() == 2).await;
    watch
        .write_all(b"GET /quiet HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    gate.notes.until(|notes| notes.targets().len() == 3).await;
    let Gate {
        running,
        notes,
        metrics,
    } = gate;
    let address = running.address();
    let draining = tokio::spawn(running.drain(CUT));
    assert_eq!(read_to_close(&mut idle).await, "", "an idle connection ends at once");
    assert!(
        tokio::net::TcpStream::connect(address).await.is_err(),
        "nothing is accepted any more"
    );
    notes.release.notify_one();
    let answer = read_to_close(&mut held).await;
    assert!(
        status(&answer) == 200 && answer.contains("connection: close"),
        "{answer}"
    );
    read_to_close(&mut watch).await;
    let report = guarded(draining).await.unwrap();
    assert_eq!((report.open_at_start, report.finished, report.cut), (3, 2, 1));
    assert_eq!(metrics.closed(CloseReason::DrainDeadline), 1);
    assert_eq!(metrics.open(), 0);
}

#[tokio::test]
async fn a_17_h2_17_a_drain_says_go_away_and_lets_running_streams_end() {
    let authority = Authority::new("a");
    let gate = start(tls(&authority).0, |_| {});
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
        .write_all(&[http2::opening(), http2::get(1, "/held")].concat())
        .await
        .unwrap();
    gate.notes.until(|notes| notes.targets().len() == 1).await;
    let Gate { running, notes, .. } = gate;
    let draining = tokio::spawn(running.drain(Duration::from_secs(20)));
    let mut frames = http2::Frames::default();
    frames.until(&mut stream, |frame| frame.kind == http2::GO_AWAY).await;
    // h2 measures with a PING how far the client has come before it names the last stream.
    let ping = frames.until(&mut stream, |frame| frame.kind == http2::PING).await;
    stream
        .write_all(&http2::frame(http2::PING, http2::ACK, 0, &ping.payload))
        .await
        .unwrap();
    notes.release.notify_one();
    assert_eq!(
        frames
            .until(&mut stream, |frame| frame.kind == http2::HEADERS)
            .await
            .status(),
        200
    );
    while frames.next(&mut stream).await.is_some() {}
    let report = guarded(draining).await.unwrap();
    assert_eq!((report.finished, report.cut), (1, 0));
}

#[tokio::test]
async fn a_tunnel_lives_through_a_drain_until_its_deadline() {
    let gate = start(Security::PlainLoopback, deadlines(|_| {}));
    let mut tunnel = gate.connect().await;
    tunnel
        .write_all(b"GET /upgrade HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
        .await
        .unwrap();
    assert_eq!(status(&read_answer(&mut tunnel).await), 101);
    let seen = gate.notes.seen.lock().unwrap()[0].connection.clone();
    let Gate { running, metrics, .. } = gate;
    let draining = tokio::spawn(running.drain(CUT));
    guarded(seen.draining().cancelled()).await;
    tunnel.write_all(b"still here").await.unwrap();
    let mut echoed = [0; 10];
    guarded(tunnel.read_exact(&mut echoed)).await.unwrap();
    assert_eq!(&echoed, b"still here");
    assert_eq!(read_to_close(&mut tunnel).await, "");
    let report = guarded(draining).await.unwrap();
    assert_eq!((report.open_at_start, report.cut), (1, 1));
    assert_eq!(metrics.open(), 0, "the tunnel was cut");
}

#[tokio::test]
async fn res_13_the_labels_of_all_counters_are_bounded() {
    let gate = plain();
    for number in 0..20 {
        gate.exchange(format!("M{number} /{number} HTTP/1.1\r\nHost: h{number}\r\n\r\n"))
            .await;
    }
    let mut registry = Registry::default();
    gate.metrics
        .register(registry.sub_registry_with_label(("listener".into(), "test".into())));
    let mut text = String::new();
    encode(&mut text, &registry).unwrap();
    assert!(
        text.contains("gateway_listener_violations_total{listener=\"test\",violation=\"MethodUnknown\"} 20"),
        "{text}"
    );
    assert!(!text.contains("\"M1") && !text.contains("\"h1"), "{text}");
}
