//! HTTP/2 upstreams.

use http_body_util::BodyExt as _;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::framed::*;
use super::plain::OK;
use super::*;

const SHORT: StreamClass = StreamClass::Short;
const WATCH: StreamClass = StreamClass::Watch;

#[tokio::test]
async fn i_01_http2_where_offered_and_http1_for_follow_logs_and_upgrades() {
    let upstream = Framed::new().await;
    let pool = upstream.pool();
    let sent = fire(&pool, call(SHORT), get("/api"));
    let mut peer = upstream.accept(100).await;
    let stream = peer.request().await;
    peer.answer(stream, "ok").await;
    let response = sent.await.unwrap().unwrap();
    assert_eq!(
        response.extensions().get::<Facts>().unwrap().protocol,
        reach::Protocol::Http2
    );
    for class in [StreamClass::FollowLog, StreamClass::Proxied, StreamClass::Upgrade] {
        let sent = fire(&pool, call(class), get("/api"));
        let mut tls = upstream.accept_http1().await;
        let mut buffer = [0; 1024];
        assert!(tls.read(&mut buffer).await.unwrap() > 0);
        tls.write_all(OK.as_bytes()).await.unwrap();
        assert_eq!(text(sent.await.unwrap().unwrap()).await.unwrap(), "ok");
    }
}

#[tokio::test]
async fn n_06_a_service_that_is_known_to_speak_http_2_is_asked_so_in_clear_text_and_on_a_socket() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("web.sock");
    let sockets = tokio::net::UnixListener::bind(&path).unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let at_socket = reach::ServicePlace::Socket {
        path,
        url: "http://localhost".to_owned(),
    };
    for place in [reach::ServicePlace::Servers(vec![url.clone()]), at_socket] {
        let is_socket = matches!(place, reach::ServicePlace::Socket { .. });
        let source = reach::ServiceSource {
            place,
            protocol: reach::ServiceProtocol::H2c,
            authorities: Authorities::System,
            tls_server_name: None,
            certificate: None,
        };
        let name = model::service::ServiceName::new("web").unwrap();
        let service = reach::ServiceConnection::new(name, source, Tuning::default()).unwrap();
        let pool: TestPool = Arc::new(Pool::new(
            Arc::new(service),
            Limits::default(),
            UpstreamMetrics::default(),
        ));
        let sent = fire(&pool, call(SHORT), get("/x?y"));
        let uri = if is_socket {
            served(sockets.accept().await.unwrap().0).await
        } else {
            served(listener.accept().await.unwrap().0).await
        };
        let expected = if is_socket { "http://localhost" } else { &url };
        assert_eq!(uri.to_string(), format!("{expected}/x?y"));
        let response = sent.await.unwrap().unwrap();
        let facts = response.extensions().get::<Facts>().unwrap();
        assert_eq!(
            (facts.protocol, facts.peer == reach::Peer::Unix),
            (reach::Protocol::Http2, is_socket)
        );
    }
}

/// Answers all requests on all connections.
async fn answers(listener: tokio::net::TcpListener, protocol: reach::ServiceProtocol) {
    while let Ok((mut wire, _)) = listener.accept().await {
        tokio::spawn(async move {
            if protocol == reach::ServiceProtocol::H2c {
                let mut connection = h2::server::handshake(wire).await.unwrap();
                while let Some(Ok((_, mut respond))) = connection.accept().await {
                    respond.send_response(Response::new(()), true).unwrap();
                }
                return;
            }
            let mut head = [0; 4096];
            while wire.read(&mut head).await.unwrap_or(0) > 0 {
                wire.write_all(OK.as_bytes()).await.unwrap();
            }
        });
    }
}

#[tokio::test]
async fn a_pod_that_is_taken_out_gets_no_call_by_a_connection_that_stands() {
    for protocol in [reach::ServiceProtocol::Auto, reach::ServiceProtocol::H2c] {
        let mut pods = Vec::new();
        for _ in 0..2 {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            pods.push(listener.local_addr().unwrap());
            tokio::spawn(answers(listener, protocol));
        }
        let known = |ready: &[std::net::SocketAddr]| reach::Endpoints {
            ready: ready.to_vec(),
            is_known: true,
            ..reach::Endpoints::default()
        };
        let (says, endpoints) = tokio::sync::watch::channel(known(&pods[..1]));
        let source = reach::ServiceSource {
            place: reach::ServicePlace::Pods {
                url: "http://localhost".to_owned(),
                endpoints,
            },
            protocol,
            authorities: Authorities::System,
            tls_server_name: None,
            certificate: None,
        };
        let name = model::service::ServiceName::new("web").unwrap();
        let service = reach::ServiceConnection::new(name, source, Tuning::default()).unwrap();
        let pool: TestPool = Arc::new(Pool::new(
            Arc::new(service),
            Limits::default(),
            UpstreamMetrics::default(),
        ));
        let asked = async || {
            let response = pool.send(&call(SHORT), get("/")).await.unwrap();
            let peer = response.extensions().get::<Facts>().unwrap().peer;
            text(response).await.unwrap();
            peer
        };
        for _ in 0..3 {
            assert_eq!(asked().await, pods[0].into());
        }
        assert_eq!(pool.metrics().connections(SHORT), 1, "it stands, and is used again");
        says.send_replace(known(&pods[1..]));
        assert_eq!(asked().await, pods[1].into());
        says.send_replace(known(&[]));
        let (_, why) = not_sent(pool.send(&call(SHORT), get("/")).await);
        assert!(matches!(why, Why::Reach(_)), "{why:?}");
    }
}

/// Answers one request over HTTP/2 and says what was asked for.
async fn served(wire: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static) -> http::Uri {
    let mut connection = h2::server::handshake(wire).await.unwrap();
    let (request, mut respond) = connection.accept().await.unwrap().unwrap();
    respond.send_response(Response::new(()), true).unwrap();
    tokio::spawn(async move { while connection.accept().await.is_some() {} });
    request.uri().clone()
}

#[tokio::test]
async fn i_02_a_thousand_requests_in_a_row_use_one_connection() {
    let upstream = Framed::new().await;
    let pool = upstream.pool();
    let server = tokio::spawn(async move { upstream.accept(100).await.answer_all().await });
    for _ in 0..1_000 {
        let response = pool.send(&call(SHORT), get("/api")).await.unwrap();
        assert_eq!(text(response).await.unwrap(), "ok");
    }
    assert_eq!((pool.metrics().connections(SHORT), pool.open_streams()), (1, 0));
    drop(pool);
    server.await.unwrap();
}

/// Opens `count` watches on one connection of the upstream.
async fn watches(
    upstream: &Framed,
    pool: &TestPool,
    count: usize,
    limit: u32,
) -> (Peer, Vec<Response<UpstreamBody<TestBody>>>) {
    let sent: Vec<_> = (0..count).map(|_| fire(pool, call(WATCH), get("/watch"))).collect();
    let mut peer = upstream.accept(limit).await;
    for _ in 0..count {
        let stream = peer.request().await;
        peer.head(stream).await;
    }
    let mut open = Vec::new();
    for one in sent {
        open.push(one.await.unwrap().unwrap());
    }
    (peer, open)
}

#[tokio::test]
async fn i_03_with_all_streams_taken_by_watches_nobody_waits() {
    let upstream = Framed::new().await;
    let pool = upstream.pool();
    let (_first, mut open) = watches(&upstream, &pool, 10, 10).await;
    assert_eq!(pool.metrics().connections(WATCH), 1);
    // The eleventh watch gets a connection of its own, a short request one apart from both.
    let (_second, more) = watches(&upstream, &pool, 3, 10).await;
    open.extend(more);
    assert_eq!((pool.metrics().connections(WATCH), pool.open_streams()), (2, 13));
    let short = fire(&pool, call(SHORT), get("/short"));
    let mut peer = upstream.accept(10).await;
    let stream = peer.request().await;
    peer.answer(stream, "ok").await;
    assert_eq!(text(short.await.unwrap().unwrap()).await.unwrap(), "ok");
    drop(open);
    assert_eq!(pool.open_streams(), 0);
}

#[tokio::test]
async fn i_03_short_requests_beyond_the_peers_limit_open_another_connection() {
    let upstream = Framed::new().await;
    let pool = upstream.pool();
    let first = [fire(&pool, call(SHORT), get("/1")), fire(&pool, call(SHORT), get("/2"))];
    let mut one = upstream.accept(2).await;
    let streams = [one.request().await, one.request().await];
    let third = fire(&pool, call(SHORT), get("/3"));
    let mut two = upstream.accept(2).await;
    let stream = two.request().await;
    two.answer(stream, "third").await;
    assert_eq!(text(third.await.unwrap().unwrap()).await.unwrap(), "third");
    for stream in streams {
        one.answer(stream, "ok").await;
    }
    for sent in first {
        text(sent.await.unwrap().unwrap()).await.unwrap();
    }
}

#[tokio::test]
async fn i_03_a_limit_lowered_while_connected_counts_at_once() {
    let upstream = Framed::new().await;
    let pool = upstream.pool();
    let first = fire(&pool, call(SHORT), get("/1"));
    let mut one = upstream.accept(100).await;
    let stream = one.request().await;
    one.allow(1).await;
    // The acknowledgement: from here on the gateway knows.
    one.next(SETTINGS).await;
    let second = fire(&pool, call(SHORT), get("/2"));
    let mut two = upstream.accept(100).await;
    let other = two.request().await;
    two.answer(other, "second").await;
    assert_eq!(text(second.await.unwrap().unwrap()).await.unwrap(), "second");
    one.answer(stream, "first").await;
    assert_eq!(text(first.await.unwrap().unwrap()).await.unwrap(), "first");
}

#[tokio::test]
async fn i_04_fifty_stalled_readers_do_not_slow_another_on_their_connection() {
    let upstream = Framed::new().await;
    let pool = upstream.pool();
    let (mut peer, stalled) = watches(&upstream, &pool, 50, 100).await;
    let chunk = vec![b'x'; 16 * 1024];
    for stream in 0..50_u32 {
        // As much as each stream's window takes.
        for _ in 0..16 {
            peer.data(2 * stream + 1, &chunk, false).await;
        }
    }
    let sent = fire(&pool, call(WATCH), get("/watch"));
    let stream = peer.request().await;
    peer.head(stream).await;
    for _ in 0..16 {
        peer.data(stream, &chunk, false).await;
    }
    peer.data(stream, b"", true).await;
    let body = text(sent.await.unwrap().unwrap()).await.unwrap();
    assert_eq!(body.len(), 256 * 1024);
    assert_eq!(pool.metrics().connections(WATCH), 1);
    drop(stalled);
}

#[tokio::test]
async fn i_05_a_stalled_reader_of_tiny_frames_does_not_end_its_neighbours_watch() {
    let upstream = Framed::new().await;
    let pool = upstream.pool();
    let (mut peer, mut open) = watches(&upstream, &pool, 2, 100).await;
    for _ in 0..5_000 {
        peer.data(1, &[b'x'; 50], false).await;
    }
    peer.data(3, b"event", false).await;
    let event = open[1].body_mut().frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(event, "event");
}

#[tokio::test]
async fn j_01_a_hundred_uploads_at_once_against_hypers_server_arrive_whole() {
    let upstream = Framed::new().await;
    let pool = upstream.pool();
    let server = tokio::spawn(upstream.echo_for_ever(5));
    let sent: Vec<_> = (0..100_u8)
        .map(|number| {
            (
                number,
                fire(&pool, call(SHORT), post("/echo", vec![b'a' + number % 26; 300_000])),
            )
        })
        .collect();
    for (number, sent) in sent {
        let body = text(sent.await.unwrap().unwrap()).await.unwrap();
        assert_eq!(body.len(), 300_000);
        assert!(body.bytes().all(|byte| byte == b'a' + number % 26));
    }
    let connections = pool.metrics().connections(SHORT);
    assert!((20..=24).contains(&connections), "five streams each: {connections}");
    assert_eq!(pool.open_streams(), 0);
    server.abort();
}

#[tokio::test]
async fn i_06_after_goaway_open_streams_finish_and_new_requests_go_elsewhere() {
    let upstream = Framed::new().await;
    let pool = upstream.pool();
    let first = fire(&pool, call(SHORT), get("/1"));
    let mut old = upstream.accept(100).await;
    let stream = old.request().await;
    old.head(stream).await;
    let first = first.await.unwrap().unwrap();
    old.go_away(stream).await;
    // A ping behind it: answered only once the GOAWAY was read.
    old.write(PING, 0, 0, &[7; 8]).await;
    while old.next(PING).await.flags & ACK == 0 {}
    let second = fire(&pool, call(SHORT), post("/2", "body"));
    let mut new = upstream.accept(100).await;
    let other = new.request().await;
    assert_eq!(new.body().await, b"body");
    new.answer(other, "second").await;
    let second = second.await.unwrap().unwrap();
    assert_eq!(second.extensions().get::<Facts>().unwrap().resends, 0);
    old.data(stream, b"first", true).await;
    assert_eq!(text(first).await.unwrap(), "first");
    assert_eq!(text(second).await.unwrap(), "second");
}

#[tokio::test]
async fn i_06_a_request_above_goaways_last_stream_is_sent_again_whatever_its_method() {
    let upstream = Framed::new().await;
    let pool = upstream.pool();
    let sent = fire(&pool, call(SHORT), post("/api", "body"));
    let mut old = upstream.accept(100).await;
    old.request().await;
    assert_eq!(old.body().await, b"body");
    old.go_away(0).await;
    let mut new = upstream.accept(100).await;
    let stream = new.request().await;
    assert_eq!(new.body().await, b"body", "the body goes out again whole");
    new.answer(stream, "ok").await;
    let response = sent.await.unwrap().unwrap();
    assert_eq!(response.extensions().get::<Facts>().unwrap().resends, 1);
    assert_eq!(text(response).await.unwrap(), "ok");
}

#[tokio::test]
async fn ups_03_a_refused_stream_is_sent_again_and_given_back_when_refused_each_time() {
    let upstream = Framed::new().await;
    let pool = upstream.pool();
    let sent = fire(&pool, call(SHORT), post("/api", "body"));
    let mut peer = upstream.accept(100).await;
    let stream = peer.request().await;
    peer.body().await;
    peer.reset(stream, REFUSED_STREAM).await;
    let stream = peer.request().await;
    assert_eq!(peer.body().await, b"body");
    peer.answer(stream, "ok").await;
    assert_eq!(text(sent.await.unwrap().unwrap()).await.unwrap(), "ok");

    let sent = fire(
        &pool,
        call(SHORT),
        request(
            Method::DELETE,
            "/api",
            Empty::new().map_err(|n| match n {}).boxed_unsync(),
        ),
    );
    for _ in 0..5 {
        let stream = peer.request().await;
        peer.reset(stream, REFUSED_STREAM).await;
    }
    let (message, why) = not_sent(sent.await.unwrap());
    assert!(matches!(why, Why::Refused), "{why:?}");
    assert_eq!((message.method(), message.uri().path()), (&Method::DELETE, "/api"));
}

#[tokio::test]
async fn ups_03_refused_after_more_of_the_body_than_is_kept_says_unprocessed() {
    let upstream = Framed::new().await;
    let pool = upstream.pool();
    let (feed, body) = fed();
    let sent = fire(&pool, call(SHORT), request(Method::POST, "/api", body));
    let mut peer = upstream.accept(100).await;
    let stream = peer.request().await;
    // Three frames of 30 kB: more than is kept, and the peer opens its windows for them.
    peer.write(8, 0, 0, &200_000_u32.to_be_bytes()).await;
    peer.write(8, 0, stream, &200_000_u32.to_be_bytes()).await;
    let mut read = 0;
    for _ in 0..3 {
        feed.send(Ok(vec![b'x'; 30_000].into())).unwrap();
    }
    while read < 90_000 {
        read += peer.next(DATA).await.payload.len();
    }
    peer.reset(stream, REFUSED_STREAM).await;
    match sent.await.unwrap() {
        Err(NoAnswer {
            error: SendError::Unprocessed { why: Why::Refused },
            ..
        }) => {}
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn i_07_a_reset_after_the_request_may_have_been_processed_is_unknown() {
    let upstream = Framed::new().await;
    let pool = upstream.pool();
    let sent = fire(&pool, call(SHORT), post("/api", "body"));
    let mut peer = upstream.accept(100).await;
    let stream = peer.request().await;
    peer.body().await;
    peer.reset(stream, INTERNAL_ERROR).await;
    let why = unknown(sent.await.unwrap());
    assert!(
        matches!(
            why,
            Why::Reset {
                reason: h2::Reason::INTERNAL_ERROR
            }
        ),
        "{why:?}"
    );

    let read = fire(&pool, call(SHORT).pure_read(), get("/api"));
    let stream = peer.request().await;
    peer.reset(stream, INTERNAL_ERROR).await;
    let stream = peer.request().await;
    peer.answer(stream, "ok").await;
    assert_eq!(text(read.await.unwrap().unwrap()).await.unwrap(), "ok");
}

#[tokio::test]
async fn i_07_a_connection_lost_after_sending_is_unknown() {
    let upstream = Framed::new().await;
    let pool = upstream.pool();
    let sent = fire(&pool, call(SHORT), post("/api", "body"));
    let mut peer = upstream.accept(100).await;
    peer.request().await;
    peer.body().await;
    drop(peer);
    let why = unknown(sent.await.unwrap());
    assert!(matches!(why, Why::Lost), "{why:?}");
}

#[tokio::test]
async fn i_07_a_graceful_goaway_that_covers_the_request_does_not_send_it_twice() {
    let upstream = Framed::new().await;
    let pool = upstream.pool();
    let sent = fire(&pool, call(SHORT), post("/api", "body"));
    let mut peer = upstream.accept(100).await;
    peer.request().await;
    peer.body().await;
    peer.go_away(0x7fff_ffff).await;
    drop(peer);
    let why = unknown(sent.await.unwrap());
    assert!(matches!(why, Why::Lost), "{why:?}");
    assert_eq!(pool.metrics().connections(SHORT), 1);
}

#[tokio::test]
async fn i_08_and_ups_08_an_upstream_gone_silent_is_noticed_by_ping_and_its_address_avoided() {
    let upstream = Framed::new().await;
    let cluster = upstream.cluster();
    // Long enough for the first event to arrive before the first ping on a slow machine.
    let ping_interval = Duration::from_secs(3);
    let pool = pool_with(
        cluster,
        Limits {
            ping_interval,
            ping_timeout: SOON,
            ..Limits::default()
        },
    );
    let sent = fire(&pool, call(WATCH), get("/watch"));
    let mut peer = upstream.accept(100).await;
    peer.answers_pings = false;
    let stream = peer.request().await;
    peer.head(stream).await;
    peer.data(stream, b"event", false).await;
    let mut body = sent.await.unwrap().unwrap().into_body();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "event");
    assert_eq!(body.frame().await.unwrap().unwrap_err(), BodyError::Silent);
    let silent = pool
        .metrics()
        .silent_connections
        .get_or_create(&metrics::ByClass::of(WATCH))
        .clone();
    until(|| silent.get() == 1).await;
    until(|| open_connections(&pool, WATCH) == 0).await;
}

#[tokio::test]
async fn i_08_an_upstream_that_answers_pings_is_kept() {
    let upstream = Framed::new().await;
    let quick = Duration::from_millis(5);
    let patient = Duration::from_secs(60);
    let limits = Limits {
        ping_interval: quick,
        ping_timeout: patient,
        ..Limits::default()
    };
    let pool = pool_with(upstream.cluster(), limits);
    let sent = fire(&pool, call(WATCH), get("/watch"));
    let mut peer = upstream.accept(100).await;
    let stream = peer.request().await;
    peer.head(stream).await;
    for _ in 0..5 {
        peer.next(PING).await;
    }
    peer.data(stream, b"event", true).await;
    assert_eq!(text(sent.await.unwrap().unwrap()).await.unwrap(), "event");
}

#[tokio::test]
async fn g_07_no_reset_and_no_lost_connection_is_a_clean_end() {
    for code in [Some(0), Some(CANCEL), Some(INTERNAL_ERROR), None] {
        let upstream = Framed::new().await;
        let pool = upstream.pool();
        let sent = fire(&pool, call(WATCH), get("/watch"));
        let mut peer = upstream.accept(100).await;
        let stream = peer.request().await;
        peer.head(stream).await;
        let response = sent.await.unwrap().unwrap();
        let expected = match code {
            Some(code) => {
                peer.reset(stream, code).await;
                BodyError::Reset(code.into())
            }
            None => {
                drop(peer);
                BodyError::Truncated
            }
        };
        assert_eq!(text(response).await.unwrap_err(), expected);
        assert_eq!(pool.open_streams(), 0);
    }
}

#[tokio::test]
async fn ups_01_fewer_bytes_than_announced_are_an_error() {
    let upstream = Framed::new().await;
    let pool = upstream.pool();
    let sent = fire(&pool, call(SHORT), get("/api"));
    let mut peer = upstream.accept(100).await;
    let stream = peer.request().await;
    // `content-length: 9` as a literal with indexed name (28), not indexed.
    let head = [STATUS_200, &[0x0f, 0x0d, 1, b'9']].concat();
    peer.write(HEADERS, END_HEADERS, stream, &head).await;
    peer.data(stream, b"half", true).await;
    match sent.await.unwrap() {
        Ok(response) => assert!(text(response).await.is_err()),
        Err(none) => assert!(matches!(none.error, SendError::Unknown { .. })),
    }
}

#[tokio::test]
async fn g_06_a_dropped_answer_resets_its_stream_also_while_the_request_still_uploads() {
    let upstream = Framed::new().await;
    let pool = upstream.pool();
    let sent = fire(&pool, call(WATCH), get("/watch"));
    let mut peer = upstream.accept(100).await;
    let stream = peer.request().await;
    peer.head(stream).await;
    drop(sent.await.unwrap().unwrap());
    let reset = peer.next(RST_STREAM).await;
    assert_eq!((reset.stream, reset.payload), (stream, CANCEL.to_be_bytes().to_vec()));

    let (feed, body) = fed();
    let sent = fire(&pool, call(WATCH), request(Method::POST, "/both-ways", body));
    let stream = peer.request().await;
    peer.head(stream).await;
    let response = sent.await.unwrap().unwrap();
    feed.send(Ok("more".into())).unwrap();
    assert_eq!(
        peer.next(DATA).await.payload,
        b"more",
        "the upload goes on beside the answer"
    );
    drop(response);
    assert_eq!(peer.next(RST_STREAM).await.stream, stream);
    until(|| feed.is_closed()).await;
    assert_eq!(pool.open_streams(), 0);
}

#[tokio::test]
async fn g_06_a_dropped_request_resets_its_stream_and_the_connection_stays() {
    let upstream = Framed::new().await;
    let pool = upstream.pool();
    let waiting = fire(&pool, call(SHORT), get("/slow"));
    let mut peer = upstream.accept(100).await;
    let stream = peer.request().await;
    waiting.abort();
    assert_eq!(peer.next(RST_STREAM).await.stream, stream);
    let sent = fire(&pool, call(SHORT), get("/next"));
    let stream = peer.request().await;
    peer.answer(stream, "ok").await;
    assert_eq!(text(sent.await.unwrap().unwrap()).await.unwrap(), "ok");
    assert_eq!(pool.metrics().connections(SHORT), 1);
}

#[tokio::test]
async fn ups_10_a_flood_of_interim_answers_resets_the_stream() {
    let upstream = Framed::new().await;
    let pool = upstream.pool();
    let sent = fire(&pool, call(SHORT), get("/api"));
    let mut peer = upstream.accept(100).await;
    let stream = peer.request().await;
    for _ in 0..3 {
        peer.write(HEADERS, END_HEADERS, stream, STATUS_103).await;
    }
    peer.answer(stream, "ok").await;
    assert_eq!(text(sent.await.unwrap().unwrap()).await.unwrap(), "ok");

    let sent = fire(&pool, call(SHORT), get("/api"));
    let stream = peer.request().await;
    for _ in 0..20 {
        peer.write(HEADERS, END_HEADERS, stream, STATUS_103).await;
    }
    let why = unknown(sent.await.unwrap());
    assert!(matches!(why, Why::BadAnswer(BadAnswer::TooManyInterim)), "{why:?}");
    assert_eq!(peer.next(RST_STREAM).await.stream, stream);
}

#[tokio::test]
async fn ups_11_garbage_frames_end_the_connection_and_the_next_request_gets_another() {
    // A frame larger than allowed, DATA on stream 0, PUSH_PROMISE though switched off, an invalid header block.
    let garbage: [(u8, u8, u32, &[u8]); 4] = [
        (DATA, 0, 1, &[0; 20_000]),
        (DATA, 0, 0, b"x"),
        (5, END_HEADERS, 1, &[0, 0, 0, 2, 0x88]),
        (HEADERS, 4, 1, &[0xff; 9]),
    ];
    for (kind, flags, stream, payload) in garbage {
        let upstream = Framed::new().await;
        let pool = upstream.pool();
        let sent = fire(&pool, call(SHORT), get("/api"));
        let mut peer = upstream.accept(100).await;
        peer.request().await;
        peer.write(kind, flags, stream, payload).await;
        let sent = sent.await.unwrap().map_err(|none| none.error);
        assert!(matches!(sent, Err(SendError::Unknown { .. })), "{kind}");
        let sent = fire(&pool, call(SHORT), get("/api"));
        let mut peer = upstream.accept(100).await;
        let stream = peer.request().await;
        peer.answer(stream, "ok").await;
        assert_eq!(text(sent.await.unwrap().unwrap()).await.unwrap(), "ok");
    }
}

#[tokio::test]
async fn ups_02_the_time_for_an_answer_resets_the_stream_when_it_is_over() {
    let upstream = Framed::new().await;
    let pool = upstream.pool();
    let mut impatient = call(SHORT);
    impatient.answer_within = Some(SOON);
    let sent = fire(&pool, impatient, post("/api", "body"));
    let mut peer = upstream.accept(100).await;
    let stream = peer.request().await;
    assert!(matches!(unknown(sent.await.unwrap()), Why::AnswerTimedOut { .. }));
    assert_eq!(peer.next(RST_STREAM).await.stream, stream);
}

#[tokio::test]
async fn the_callers_own_body_breaking_off_resets_the_stream() {
    let upstream = Framed::new().await;
    let pool = upstream.pool();
    let (feed, body) = fed();
    let sent = fire(&pool, call(SHORT), request(Method::POST, "/api", body));
    let mut peer = upstream.accept(100).await;
    let stream = peer.request().await;
    feed.send(Err("gone".into())).unwrap();
    assert!(matches!(unknown(sent.await.unwrap()), Why::RequestBody));
    let reset = peer.next(RST_STREAM).await;
    assert_eq!((reset.stream, reset.payload), (stream, CANCEL.to_be_bytes().to_vec()));
}

#[tokio::test]
async fn trailers_pass_a_connection_both_ways() {
    let upstream = Framed::new().await;
    let pool = upstream.pool();
    let mut trailers = http::HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let frames = [
        Ok(http_body::Frame::data(Bytes::from("body"))),
        Ok(http_body::Frame::trailers(trailers.clone())),
    ];
    let body = StreamBody::new(futures::stream::iter(frames)).boxed_unsync();
    let sent = fire(&pool, call(SHORT), request(Method::POST, "/grpc", body));
    let mut peer = upstream.accept(100).await;
    let stream = peer.request().await;
    assert_eq!(peer.next(DATA).await.payload, b"body");
    let end = peer.next(HEADERS).await;
    assert_eq!(end.flags & END_STREAM, END_STREAM);
    peer.head(stream).await;
    // The very block that came, from HPACK's dynamic table or not, would be ours to decode; so a literal.
    let block = [&[0x00, 11][..], b"grpc-status", &[1, b'0']].concat();
    peer.write(HEADERS, END_HEADERS | END_STREAM, stream, &block).await;
    let collected = sent.await.unwrap().unwrap().into_body().collect().await.unwrap();
    assert_eq!(collected.trailers(), Some(&trailers));
}

#[tokio::test]
async fn the_pool_closes_its_connections_when_it_goes() {
    let upstream = Framed::new().await;
    let pool = upstream.pool();
    let sent = fire(&pool, call(SHORT), get("/api"));
    let mut peer = upstream.accept(100).await;
    let stream = peer.request().await;
    peer.answer(stream, "ok").await;
    text(sent.await.unwrap().unwrap()).await.unwrap();
    drop(pool);
    while peer.frame().await.is_some() {}
}
