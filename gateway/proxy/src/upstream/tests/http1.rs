//! HTTP/1.1 upstreams.

use http_body_util::BodyExt as _;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::plain::{OK, Plain};
use super::*;
use crate::upstream::socket::Socket;

const SHORT: StreamClass = StreamClass::Short;

#[tokio::test]
async fn i_02_a_thousand_requests_in_a_row_use_one_connection() {
    let upstream = Plain::new().await;
    let pool = upstream.pool();
    let server = tokio::spawn(async move {
        let mut peer = upstream.accept().await;
        for _ in 0..1_000 {
            peer.head().await;
            peer.write(OK).await;
        }
    });
    for _ in 0..1_000 {
        let response = pool.send(&call(SHORT), get("/api")).await.unwrap();
        assert_eq!(text(response).await.unwrap(), "ok");
    }
    server.await.unwrap();
    assert_eq!(pool.metrics().connections(SHORT), 1);
    assert_eq!(pool.open_streams(), 0);
}

#[tokio::test]
async fn target_bytes_go_out_as_they_came_and_identity_credential_and_framing_are_ours() {
    let upstream = Plain::new().await;
    let pool = upstream.pool();
    let target = "/api/v1/../x%2fy//z;p?a=%20b&a=";
    let mut message = post(target, "body");
    message.headers_mut().insert("host", HeaderValue::from_static("evil"));
    message
        .headers_mut()
        .insert("transfer-encoding", HeaderValue::from_static("chunked"));
    message
        .headers_mut()
        .insert("content-length", HeaderValue::from_static("999"));
    let sent = fire(&pool, call(SHORT), message);
    let mut peer = upstream.accept().await;
    let head = peer.head().await;
    assert_eq!(peer.bytes(4).await, b"body");
    peer.write(OK).await;
    let response = sent.await.unwrap().unwrap();
    let mut lines: Vec<_> = head.trim_end().split("\r\n").collect();
    assert_eq!(lines.remove(0), format!("POST {target} HTTP/1.1"));
    lines.sort_unstable();
    let host = format!("host: {}", upstream.listener.local_addr().unwrap());
    assert_eq!(
        lines,
        [
            "authorization: Bearer impersonator",
            "content-length: 4",
            &host,
            "impersonate-user: ada"
        ]
    );
    let facts = response.extensions().get::<Facts>().unwrap();
    assert_eq!(
        (facts.peer, facts.resends),
        (upstream.listener.local_addr().unwrap().into(), 0)
    );
}

/// hyper leaves out the body of a GET or HEAD whose length it does not know.
#[tokio::test]
async fn a_body_whose_length_nobody_knows_goes_out_with_every_method() {
    let upstream = Plain::new().await;
    let pool = upstream.pool();
    for method in [Method::GET, Method::HEAD, Method::DELETE, Method::POST] {
        let (feed, body) = fed();
        feed.send(Ok("abc".into())).unwrap();
        drop(feed);
        let sent = fire(&pool, call(SHORT), request(method.clone(), "/api", body));
        let mut peer = upstream.accept().await;
        let head = peer.head().await;
        assert!(head.contains("\r\ntransfer-encoding: chunked\r\n"), "{head}");
        assert_eq!(peer.bytes(13).await, b"3\r\nabc\r\n0\r\n\r\n", "{method}");
        peer.write("HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            .await;
        assert_eq!(sent.await.unwrap().unwrap().status().as_u16(), 200);
    }
}

#[tokio::test]
async fn imp_17_i5_a_request_with_a_wrong_identity_comes_back_and_no_connection_is_opened() {
    let upstream = Plain::new().await;
    let pool = upstream.pool();
    let wrong = [
        ("", vec![], IdentityBroken::Missing),
        ("impersonate-user", vec!["ada", "eve"], IdentityBroken::Repeated),
        ("impersonate-user", vec![""], IdentityBroken::Empty),
        ("impersonate-user", vec!["eve"], IdentityBroken::Other),
        ("authorization", vec!["Bearer x"], IdentityBroken::ForeignCredential),
    ];
    for (name, values, expected) in wrong {
        let mut message = post("/api", "body");
        message.headers_mut().clear();
        for value in values {
            message
                .headers_mut()
                .append(http::HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let (message, why) = not_sent(pool.send(&call(SHORT), message).await);
        assert!(matches!(why, Why::Identity(found) if found == expected), "{why:?}");
        assert_eq!(why.fault(), Fault::Us);
        assert_eq!(message.into_body().collect().await.unwrap().to_bytes(), "body");
    }
    let mut nobody = call(SHORT);
    nobody.expected = Expected::Nobody;
    let (_, why) = not_sent(pool.send(&nobody, get("/")).await);
    assert!(matches!(why, Why::Identity(IdentityBroken::Unexpected)));
    assert_eq!(pool.metrics().connections(SHORT), 0);
}

#[tokio::test]
async fn ups_01_an_answer_that_breaks_off_never_ends_cleanly() {
    for partial in [
        "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\nhalf",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\nzz\r\n",
    ] {
        for reset in [false, true] {
            let upstream = Plain::new().await;
            let pool = upstream.pool();
            let sent = fire(&pool, call(SHORT), get("/api"));
            let mut peer = upstream.accept().await;
            peer.head().await;
            peer.write(partial).await;
            let response = sent.await.unwrap().unwrap();
            if reset {
                peer.reset()
            } else {
                drop(peer)
            }
            assert_eq!(text(response).await.unwrap_err(), BodyError::Truncated, "{partial:?}");
            until(|| open_connections(&pool, SHORT) == 0).await;
        }
    }
}

#[tokio::test]
async fn ups_01_a_connection_lost_before_the_head_leaves_the_outcome_unknown() {
    for partial in ["", "HTTP/1.1 200", "HTTP/1.1 200 OK\r\ncontent-le"] {
        let upstream = Plain::new().await;
        let pool = upstream.pool();
        let sent = fire(&pool, call(SHORT), post("/api", "body"));
        let mut peer = upstream.accept().await;
        peer.head().await;
        peer.bytes(4).await;
        peer.write(partial).await;
        drop(peer);
        let why = unknown(sent.await.unwrap());
        assert!(
            matches!(why, Why::Lost | Why::BadAnswer(BadAnswer::Malformed)),
            "{why:?}"
        );
    }
}

#[tokio::test]
async fn ups_02_an_upstream_that_never_answers_is_given_up_and_its_connection_closed() {
    let upstream = Plain::new().await;
    let pool = upstream.pool();
    let mut impatient = call(SHORT);
    impatient.answer_within = Some(SOON);
    let sent = fire(&pool, impatient, get("/api"));
    let mut peer = upstream.accept().await;
    peer.head().await;
    assert!(matches!(unknown(sent.await.unwrap()), Why::AnswerTimedOut { within } if within == SOON));
    peer.closed().await;
}

#[tokio::test]
async fn ups_04_an_idle_connection_that_was_closed_costs_nobody_an_error() {
    let upstream = Plain::new().await;
    let pool = upstream.pool();
    let first = fire(&pool, call(SHORT), get("/1"));
    let mut peer = upstream.accept().await;
    peer.head().await;
    peer.write(OK).await;
    text(first.await.unwrap().unwrap()).await.unwrap();
    drop(peer);
    until(|| open_connections(&pool, SHORT) == 0).await;

    let second = fire(&pool, call(SHORT), post("/2", "body"));
    let mut peer = upstream.accept().await;
    peer.head().await;
    peer.write(OK).await;
    assert_eq!(text(second.await.unwrap().unwrap()).await.unwrap(), "ok");
}

/// Opens a connection with one good answer, then closes it on reading the next head.
async fn closes_at_reuse(
    upstream: &Plain,
    pool: &TestPool,
    next: Call,
    message: Request<TestBody>,
) -> JoinHandle<Sent> {
    let first = fire(pool, call(SHORT), get("/1"));
    let mut peer = upstream.accept().await;
    peer.head().await;
    peer.write(OK).await;
    text(first.await.unwrap().unwrap()).await.unwrap();
    let second = fire(pool, next, message);
    peer.head().await;
    second
}

#[tokio::test]
async fn ups_04_closed_at_reuse_an_effect_is_never_sent_twice() {
    let upstream = Plain::new().await;
    let pool = upstream.pool();
    let second = closes_at_reuse(&upstream, &pool, call(SHORT), post("/2", "body")).await;
    assert!(matches!(unknown(second.await.unwrap()), Why::Lost));
    // A GET that is no pure read (services/proxy, exec) is an effect, too.
    let third = closes_at_reuse(&upstream, &pool, call(SHORT), get("/3")).await;
    assert!(matches!(unknown(third.await.unwrap()), Why::Lost));
    assert_eq!(
        pool.metrics().connections(SHORT),
        2,
        "no connection was opened for a resend"
    );
}

#[tokio::test]
async fn ups_04_closed_at_reuse_a_pure_read_is_sent_once_more_and_only_once() {
    let upstream = Plain::new().await;
    let pool = upstream.pool();
    let second = closes_at_reuse(&upstream, &pool, call(SHORT).pure_read(), get("/2")).await;
    let mut peer = upstream.accept().await;
    assert!(peer.head().await.starts_with("GET /2 "));
    peer.write(OK).await;
    let response = second.await.unwrap().unwrap();
    assert_eq!(response.extensions().get::<Facts>().unwrap().resends, 1);
    text(response).await.unwrap();

    let third = fire(&pool, call(SHORT).pure_read(), get("/3"));
    peer.head().await;
    drop(peer);
    let mut peer = upstream.accept().await;
    peer.head().await;
    drop(peer);
    assert!(matches!(unknown(third.await.unwrap()), Why::Lost));
}

#[tokio::test]
async fn h1_29_surplus_bytes_never_reach_a_second_request() {
    let poison = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison";
    for (method, answer) in [
        (Method::GET, OK),
        (
            Method::GET,
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        ),
        (Method::GET, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"),
        (Method::HEAD, "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n"),
        (Method::GET, "HTTP/1.1 204 No Content\r\n\r\n"),
        (Method::GET, "HTTP/1.1 304 Not Modified\r\n\r\n"),
    ] {
        for glued in [true, false] {
            let upstream = Plain::new().await;
            let pool = upstream.pool();
            let mut message = get("/1");
            *message.method_mut() = method.clone();
            let first = fire(&pool, call(SHORT), message);
            let mut peer = upstream.accept().await;
            peer.head().await;
            if glued {
                peer.write(&format!("{answer}{poison}")).await;
                text(first.await.unwrap().unwrap()).await.unwrap();
            } else {
                peer.write(answer).await;
                text(first.await.unwrap().unwrap()).await.unwrap();
                peer.write(poison).await;
                peer.closed().await;
                until(|| open_connections(&pool, SHORT) == 0).await;
            }
            let second = fire(&pool, call(SHORT), get("/2"));
            let mut fresh = upstream.accept().await;
            fresh.head().await;
            fresh.write("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nmine").await;
            assert_eq!(
                text(second.await.unwrap().unwrap()).await.unwrap(),
                "mine",
                "{answer:?} glued={glued}"
            );
        }
    }
}

#[tokio::test]
async fn h1_28_an_answer_whose_length_is_in_doubt_is_refused_and_its_connection_destroyed() {
    for bad in [
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nok",
        "HTTP/1.1 200 OK\r\ncontent-length: +2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        "HTTP/1.1 20 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nx: a\0b\r\n\r\n",
        "HTTP/1.1 200 OK\r\n folded: x\r\n\r\n",
        "ICY 200 OK\r\n\r\n",
    ] {
        let upstream = Plain::new().await;
        let pool = upstream.pool();
        let sent = fire(&pool, call(SHORT), get("/api"));
        let mut peer = upstream.accept().await;
        peer.head().await;
        peer.write(bad).await;
        let why = unknown(sent.await.unwrap());
        assert!(
            matches!(why, Why::BadAnswer(BadAnswer::Framing | BadAnswer::Malformed)),
            "{bad:?}: {why:?}"
        );
        peer.closed().await;
    }
}

#[tokio::test]
async fn ups_10_interim_answers_are_skipped_a_flood_and_impossible_statuses_are_refused() {
    let early = "HTTP/1.1 103 Early Hints\r\nset-cookie: x\r\n\r\n";
    let cases = [
        (format!("{}{OK}", early.repeat(3)), None),
        (format!("{}{OK}", early.repeat(100)), Some(BadAnswer::TooManyInterim)),
        (
            "HTTP/1.1 600 Odd\r\ncontent-length: 0\r\n\r\n".to_owned(),
            Some(BadAnswer::Status(600)),
        ),
        (
            "HTTP/1.1 999 Odd\r\ncontent-length: 0\r\n\r\n".to_owned(),
            Some(BadAnswer::Status(999)),
        ),
    ];
    for (bytes, expected) in cases {
        let upstream = Plain::new().await;
        let pool = upstream.pool();
        let sent = fire(&pool, call(SHORT), get("/api"));
        let mut peer = upstream.accept().await;
        peer.head().await;
        peer.write(&bytes).await;
        match expected {
            None => assert_eq!(text(sent.await.unwrap().unwrap()).await.unwrap(), "ok"),
            Some(expected) => {
                let why = unknown(sent.await.unwrap());
                assert!(matches!(why, Why::BadAnswer(found) if found == expected), "{why:?}");
                peer.closed().await;
            }
        }
    }
}

#[tokio::test]
async fn redirects_pass_through_and_are_not_followed() {
    let upstream = Plain::new().await;
    let pool = upstream.pool();
    let sent = fire(&pool, call(SHORT), get("/api"));
    let mut peer = upstream.accept().await;
    peer.head().await;
    peer.write("HTTP/1.1 302 Found\r\nlocation: http://elsewhere/\r\ncontent-length: 0\r\n\r\n")
        .await;
    let response = sent.await.unwrap().unwrap();
    assert_eq!(
        (response.status().as_u16(), &response.headers()["location"]),
        (302, &"http://elsewhere/".parse().unwrap())
    );
}

#[tokio::test]
async fn ups_09_a_switch_of_protocols_nobody_asked_for_is_refused() {
    for class in [SHORT, StreamClass::Watch, StreamClass::FollowLog, StreamClass::Proxied] {
        let upstream = Plain::new().await;
        let pool = upstream.pool();
        let sent = fire(&pool, call(class), get("/api"));
        let mut peer = upstream.accept().await;
        peer.head().await;
        peer.write("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n")
            .await;
        assert!(matches!(
            unknown(sent.await.unwrap()),
            Why::BadAnswer(BadAnswer::UnaskedUpgrade)
        ));
        peer.closed().await;
    }
}

fn exec() -> Request<TestBody> {
    let mut message = get("/exec");
    for (name, value) in [
        ("connection", "upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("sec-websocket-protocol", "v5.channel.k8s.io"),
    ] {
        message
            .headers_mut()
            .insert(http::HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    message
}

const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n";

#[tokio::test]
async fn ups_09_a_right_switch_hands_over_the_connection_with_glued_bytes_once() {
    let upstream = Plain::new().await;
    let pool = upstream.pool();
    let sent = fire(&pool, call(StreamClass::Upgrade), exec());
    let mut peer = upstream.accept().await;
    assert!(peer.head().await.contains("upgrade: websocket\r\n"));
    // The key and accept value of RFC 6455 §1.3.
    let accept = "sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nsec-websocket-protocol: v5.channel.k8s.io\r\n";
    peer.write(&format!("{SWITCH}{accept}\r\nglued")).await;
    let mut response = sent.await.unwrap().unwrap();
    let upgraded = hyper::upgrade::on(&mut response).await.unwrap();
    drop(response);
    let mut session = hyper_util::rt::TokioIo::new(upgraded);
    let mut read = [0; 5];
    session.read_exact(&mut read).await.unwrap();
    assert_eq!(&read, b"glued");
    session.write_all(b"typed").await.unwrap();
    session.flush().await.unwrap();
    assert_eq!(peer.bytes(5).await, b"typed");
    assert_eq!(pool.open_streams(), 1, "the session counts until its socket closes");
    drop(session);
    peer.closed().await;
    until(|| pool.open_streams() == 0).await;
}

/// A stopped process in a pod closes its window for hours; before the switch half a minute without a sign is enough.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn h_11_behind_a_switch_the_other_side_may_pause_for_as_long_as_it_likes() {
    let upstream = Plain::new().await;
    let pool = upstream.pool();
    let sent = fire(&pool, call(StreamClass::Upgrade), exec());
    let mut peer = upstream.accept().await;
    peer.head().await;
    let accept = "sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";
    peer.write(&format!("{SWITCH}{accept}\r\n")).await;
    let mut response = sent.await.unwrap().unwrap();
    let upgraded = hyper::upgrade::on(&mut response).await.unwrap();
    let parts = upgraded
        .downcast::<hyper_util::rt::TokioIo<Socket<TestBody>>>()
        .unwrap();
    let socket = parts.io.inner();
    let socket = socket2::SockRef::from(socket.tcp());
    assert_eq!(socket.tcp_user_timeout().unwrap(), None);
    assert!(
        socket.keepalive().unwrap(),
        "one that is gone while nothing is under way is noticed"
    );
    assert_eq!(socket.tcp_keepalive_time().unwrap(), Duration::from_secs(15));
}

#[tokio::test]
async fn ups_09_a_wrong_switch_is_refused() {
    let right = "sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";
    for wrong in [
        SWITCH.to_owned(),
        format!("{SWITCH}sec-websocket-accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n"),
        format!("{SWITCH}{right}{right}"),
        format!("{SWITCH}{right}sec-websocket-protocol: v4.channel.k8s.io\r\n"),
        format!("{SWITCH}{right}sec-websocket-extensions: permessage-deflate\r\n"),
        format!("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: SPDY/3.1\r\n{right}"),
    ] {
        let upstream = Plain::new().await;
        let pool = upstream.pool();
        let sent = fire(&pool, call(StreamClass::Upgrade), exec());
        let mut peer = upstream.accept().await;
        peer.head().await;
        peer.write(&format!("{wrong}\r\n")).await;
        assert!(
            matches!(unknown(sent.await.unwrap()), Why::BadAnswer(BadAnswer::WrongUpgrade)),
            "{wrong:?}"
        );
        peer.closed().await;
    }
}

#[tokio::test]
async fn h_09_a_refused_upgrade_answers_and_its_connection_is_never_used_again() {
    let upstream = Plain::new().await;
    let pool = upstream.pool();
    for _ in 0..2 {
        let sent = fire(&pool, call(StreamClass::Upgrade), exec());
        let mut peer = upstream.accept().await;
        peer.head().await;
        peer.write("HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno")
            .await;
        assert_eq!(text(sent.await.unwrap().unwrap()).await.unwrap(), "no");
        peer.closed().await;
    }
}

#[tokio::test]
async fn j_03_an_early_answer_reaches_the_caller_and_ends_upload_and_connection() {
    let upstream = Plain::new().await;
    let pool = upstream.pool();
    let (feed, body) = fed();
    feed.send(Ok("first".into())).unwrap();
    let sent = fire(&pool, call(SHORT), request(Method::POST, "/api", body));
    let mut peer = upstream.accept().await;
    peer.head().await;
    peer.write("HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\n\r\nno")
        .await;
    let response = sent.await.unwrap().unwrap();
    assert_eq!(response.status().as_u16(), 413);
    assert_eq!(text(response).await.unwrap(), "no");
    until(|| feed.is_closed()).await;
    until(|| open_connections(&pool, SHORT) == 0).await;
}

#[tokio::test]
async fn ups_12_a_connection_that_was_authenticated_itself_serves_nobody_else() {
    for scheme in ["NTLM", "Negotiate abc"] {
        let upstream = Plain::new().await;
        let pool = upstream.pool();
        let sent = fire(&pool, call(SHORT), get("/api"));
        let mut peer = upstream.accept().await;
        peer.head().await;
        let head = format!("HTTP/1.1 401 Unauthorized\r\nwww-authenticate: {scheme}\r\ncontent-length: 0\r\n\r\n");
        peer.write(&head).await;
        text(sent.await.unwrap().unwrap()).await.unwrap();
        peer.closed().await;
    }
}

#[tokio::test]
async fn g_06_a_dropped_answer_and_a_dropped_request_close_the_connection() {
    let upstream = Plain::new().await;
    let pool = upstream.pool();
    let sent = fire(&pool, call(StreamClass::Watch), get("/watch"));
    let mut peer = upstream.accept().await;
    peer.head().await;
    peer.write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nevnt\r\n")
        .await;
    let mut response = sent.await.unwrap().unwrap();
    let event = response.body_mut().frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!((event.as_ref(), pool.open_streams()), (&b"evnt"[..], 1));
    drop(response);
    peer.closed().await;
    assert_eq!(pool.open_streams(), 0);

    let waiting = fire(&pool, call(SHORT), get("/slow"));
    let mut peer = upstream.accept().await;
    peer.head().await;
    waiting.abort();
    peer.closed().await;
    until(|| pool.open_streams() == 0).await;
}

#[tokio::test]
async fn the_callers_own_body_breaking_off_is_the_callers_fault() {
    let upstream = Plain::new().await;
    let pool = upstream.pool();
    let (feed, body) = fed();
    let sent = fire(&pool, call(SHORT), request(Method::POST, "/api", body));
    let mut peer = upstream.accept().await;
    peer.head().await;
    feed.send(Err("gone".into())).unwrap();
    let why = unknown(sent.await.unwrap());
    assert!(matches!(why, Why::RequestBody), "{why:?}");
    assert_eq!(why.fault(), Fault::Client);
    peer.closed().await;
}

#[tokio::test]
async fn i_03_on_http1_short_requests_do_not_wait_behind_watches() {
    let upstream = Plain::new().await;
    let pool = upstream.pool_with(Limits {
        watch_sockets: 1,
        ..Limits::default()
    });
    let watch = fire(&pool, call(StreamClass::Watch), get("/watch"));
    let mut watched = upstream.accept().await;
    watched.head().await;
    let short = fire(&pool, call(SHORT), get("/short"));
    let mut peer = upstream.accept().await;
    peer.head().await;
    peer.write(OK).await;
    assert_eq!(text(short.await.unwrap().unwrap()).await.unwrap(), "ok");
    assert!(!watch.is_finished());
}

#[tokio::test]
async fn a_full_queue_and_a_long_wait_give_the_request_back() {
    let upstream = Plain::new().await;
    let limits = Limits {
        short_sockets: 1,
        waiters: 1,
        wait: SOON,
        ..Limits::default()
    };
    let pool = upstream.pool_with(limits);
    let first = fire(&pool, call(SHORT), get("/1"));
    let mut peer = upstream.accept().await;
    peer.head().await;
    let second = fire(&pool, call(SHORT), post("/2", "body"));
    let (waited, why) = not_sent(second.await.unwrap());
    assert!(
        matches!(why, Why::WaitedTooLong { within } if within == SOON),
        "{why:?}"
    );
    assert_eq!(waited.uri(), "/2");

    let patient = upstream.pool_with(Limits {
        wait: Duration::from_secs(60),
        ..limits
    });
    let holds = fire(&patient, call(SHORT), get("/1"));
    let mut other = upstream.accept().await;
    other.head().await;
    let waits = fire(&patient, call(SHORT), get("/2"));
    until(|| patient.waiting(SHORT) == 1).await;
    let (_, why) = not_sent(patient.send(&call(SHORT), get("/3")).await);
    assert!(matches!(why, Why::QueueFull), "{why:?}");
    // Whoever waits gets the connection as soon as it is free.
    other.write(OK).await;
    text(holds.await.unwrap().unwrap()).await.unwrap();
    assert!(other.head().await.starts_with("GET /2 "));
    other.write(OK).await;
    waits.await.unwrap().unwrap();
    peer.write(OK).await;
    first.await.unwrap().unwrap();
}

#[tokio::test]
async fn an_unreachable_cluster_gives_the_request_back() {
    let upstream = Plain::new().await;
    let pool = upstream.pool();
    drop(upstream);
    let (message, why) = not_sent(pool.send(&call(SHORT), post("/api", "body")).await);
    assert!(matches!(why, Why::Reach(reach::ReachError::Connect { .. })), "{why:?}");
    assert_eq!(why.fault(), Fault::Upstream);
    assert_eq!(message.into_body().collect().await.unwrap().to_bytes(), "body");
    until(|| open_connections(&pool, SHORT) == 0).await;
}

#[tokio::test]
async fn ups_07_with_one_of_two_servers_gone_requests_go_to_the_other() {
    let (one, two) = (Plain::new().await, Plain::new().await);
    let pool = pool_with(
        cluster(vec![one.url(), two.url()], &Authority::new(), token()),
        Limits::default(),
    );
    drop(one);
    for _ in 0..3 {
        let sent = fire(&pool, call(StreamClass::Upgrade), get("/api"));
        let mut peer = two.accept().await;
        peer.head().await;
        peer.write(OK).await;
        assert_eq!(text(sent.await.unwrap().unwrap()).await.unwrap(), "ok");
    }
}

#[tokio::test]
async fn ups_05_a_rotated_token_goes_out_with_the_next_request_on_a_new_connection() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "first").unwrap();
    let upstream = Plain::new().await;
    let cluster = cluster(
        vec![upstream.url()],
        &Authority::new(),
        CredentialSource::TokenFile(file.clone()),
    );
    let keeper = tokio::spawn(Arc::clone(&cluster).keep_fresh());
    let pool = pool_with(Arc::clone(&cluster), Limits::default());
    let sent = fire(&pool, call(SHORT), get("/1"));
    let mut peer = upstream.accept().await;
    assert!(peer.head().await.contains("authorization: Bearer first\r\n"));
    std::fs::write(&file, "second").unwrap();
    // The 401 is what makes the file be read again.
    peer.write("HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n")
        .await;
    assert_eq!(sent.await.unwrap().unwrap().status().as_u16(), 401);
    until(|| cluster.impersonator().current().generation() == 2).await;
    let sent = fire(&pool, call(SHORT), get("/2"));
    let mut fresh = upstream.accept().await;
    assert!(fresh.head().await.contains("authorization: Bearer second\r\n"));
    fresh.write(OK).await;
    sent.await.unwrap().unwrap();
    peer.closed().await;
    keeper.abort();
}

#[tokio::test]
async fn an_idle_connection_is_closed_after_its_time() {
    let upstream = Plain::new().await;
    let pool = upstream.pool_with(Limits {
        idle: SOON,
        ..Limits::default()
    });
    let sent = fire(&pool, call(SHORT), get("/1"));
    let mut peer = upstream.accept().await;
    peer.head().await;
    peer.write(OK).await;
    text(sent.await.unwrap().unwrap()).await.unwrap();
    peer.closed().await;
}
