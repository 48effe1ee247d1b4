//! What services do that the Kubernetes API does not: leave bodies unread, and take long ones.

use super::framed::*;
use super::plain::{OK, Plain};
use super::*;

const SHORT: StreamClass = StreamClass::Short;

fn service_call() -> Call {
    Call::new(SHORT, Expected::Nobody)
}

fn patient_for(limit: Duration) -> Call {
    Call {
        answer_within: Some(limit),
        ..service_call()
    }
}

/// As what goes to a service: nobody is named.
fn unnamed(mut request: Request<TestBody>) -> Request<TestBody> {
    request.headers_mut().clear();
    request
}

fn with_body(method: Method, body: impl Into<Bytes>) -> Request<TestBody> {
    let body = Full::new(body.into()).map_err(|never| match never {}).boxed_unsync();
    unnamed(request(method, "/pub/a.txt", body))
}

fn chunked(method: Method) -> Request<TestBody> {
    let (feed, body) = fed();
    feed.send(Ok(Bytes::from_static(SMUGGLED))).unwrap();
    unnamed(request(method, "/pub/a.txt", body))
}

const SMUGGLED: &[u8] = b"GET /secret.txt HTTP/1.1\r\nHost: x\r\nX-User: root\r\nX-Ignore: ";

/// The service answers by the head alone and never reads the body: on the same connection the body would be the beginning of the next
/// request, whoever sends that.
#[tokio::test]
async fn promise_7_what_a_service_leaves_of_a_body_begins_nobodys_request() {
    let methods = [
        Method::GET,
        Method::HEAD,
        Method::DELETE,
        Method::OPTIONS,
        Method::POST,
        Method::PUT,
        Method::PATCH,
    ];
    for method in methods {
        let exact = (with_body(method.clone(), SMUGGLED), SMUGGLED.len());
        let of_chunks = (chunked(method.clone()), SMUGGLED.len() + "3d\r\n\r\n0\r\n\r\n".len());
        // hyper sends no chunks with GET and HEAD.
        let has_chunks = !matches!(method, Method::GET | Method::HEAD);
        for (message, length) in [exact].into_iter().chain(has_chunks.then_some(of_chunks)) {
            let upstream = Plain::new().await;
            let pool = upstream.pool();
            let sent = fire(&pool, service_call(), message);
            let mut peer = upstream.accept().await;
            let head = peer.head().await;
            assert!(head.contains("connection: close\r\n"), "{head}");
            // All of it has gone up, and nobody looks at it.
            peer.bytes(length).await;
            let answer = if method == Method::HEAD {
                "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n"
            } else {
                OK
            };
            peer.write(answer).await;
            text(sent.await.unwrap().unwrap()).await.unwrap();
            let next = fire(&pool, service_call(), unnamed(get("/a")));
            let on_the_same = async {
                if let Some(head) = peer.head_or_end().await {
                    panic!("behind the body of {method}: {head}");
                }
                std::future::pending::<()>().await;
            };
            let mut another = tokio::select! {
                another = upstream.accept() => another,
                () = on_the_same => unreachable!(),
            };
            let head = another.head().await;
            assert!(head.starts_with("GET /a HTTP/1.1\r\n"), "{head}");
            assert!(!head.contains("connection:"), "without a body it may go on: {head}");
            another.write(OK).await;
            assert_eq!(text(next.await.unwrap().unwrap()).await.unwrap(), "ok");
        }
    }
}

/// The price is paid for bodies alone.
#[tokio::test]
async fn what_has_no_body_shares_a_connection_to_a_service() {
    let upstream = Plain::new().await;
    let pool = upstream.pool();
    let server = tokio::spawn(async move {
        let mut peer = upstream.accept().await;
        for _ in 0..4 {
            let head = peer.head().await;
            assert!(!head.contains("connection:"), "{head}");
            peer.write(OK).await;
        }
    });
    for method in [Method::GET, Method::POST, Method::DELETE, Method::GET] {
        let response = pool.send(&service_call(), with_body(method, "")).await.unwrap();
        assert_eq!(text(response).await.unwrap(), "ok");
    }
    server.await.unwrap();
    assert_eq!(pool.metrics().connections(SHORT), 1);
}

/// A stream has an end of its own, whoever reads it.
#[tokio::test]
async fn over_http_2_a_body_costs_no_connection() {
    let upstream = Framed::new().await;
    let pool = upstream.pool();
    let first = fire(&pool, service_call(), with_body(Method::POST, "body"));
    let mut peer = upstream.accept(100).await;
    let mut next = Some(with_body(Method::GET, "body"));
    let mut sent = first;
    loop {
        let stream = peer.request().await;
        assert_eq!(peer.body().await, b"body");
        peer.answer(stream, "ok").await;
        assert_eq!(text(sent.await.unwrap().unwrap()).await.unwrap(), "ok");
        let Some(message) = next.take() else { break };
        sent = fire(&pool, service_call(), message);
    }
    assert_eq!(pool.metrics().connections(SHORT), 1);
}

/// Lets so much time pass at once, of which the machine takes none.
async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

const LIMIT: Duration = Duration::from_secs(60);

#[tokio::test]
async fn the_time_for_an_answer_begins_when_the_body_has_been_taken() {
    let upstream = Plain::new().await;
    let pool = upstream.pool();
    let (feed, body) = fed();
    let sent = fire(
        &pool,
        patient_for(LIMIT),
        unnamed(request(Method::POST, "/upload", body)),
    );
    let mut peer = upstream.accept().await;
    peer.head().await;
    for _ in 0..3 {
        feed.send(Ok(Bytes::from_static(b"piece"))).unwrap();
        assert_eq!(peer.bytes(10).await, b"5\r\npiece\r\n");
        pass(LIMIT * 2).await;
    }
    drop(feed);
    assert_eq!(peer.bytes(5).await, b"0\r\n\r\n");
    pass(LIMIT - Duration::from_secs(5)).await;
    peer.write(OK).await;
    assert_eq!(text(sent.await.unwrap().unwrap()).await.unwrap(), "ok");
}

#[tokio::test]
async fn the_time_for_an_answer_that_does_not_come_is_over_behind_the_body() {
    let upstream = Plain::new().await;
    let pool = upstream.pool();
    let (feed, body) = fed();
    let sent = fire(
        &pool,
        patient_for(LIMIT),
        unnamed(request(Method::POST, "/upload", body)),
    );
    let mut peer = upstream.accept().await;
    peer.head().await;
    feed.send(Ok(Bytes::from_static(b"piece"))).unwrap();
    assert_eq!(peer.bytes(10).await, b"5\r\npiece\r\n");
    pass(LIMIT).await;
    assert!(!sent.is_finished());
    drop(feed);
    assert_eq!(peer.bytes(5).await, b"0\r\n\r\n");
    pass(LIMIT).await;
    assert!(matches!(unknown(sent.await.unwrap()), Why::AnswerTimedOut { within } if within == LIMIT));
    peer.closed().await;
}

/// Nothing of the client's holds it up, so the service's time runs.
#[tokio::test]
async fn a_service_that_takes_nothing_of_a_body_is_given_up() {
    let upstream = Plain::new().await;
    let pool = upstream.pool();
    let (feed, body) = fed();
    for _ in 0..256 {
        feed.send(Ok(Bytes::from(vec![b'x'; 256 * 1024]))).unwrap();
    }
    let sent = fire(
        &pool,
        patient_for(SOON),
        unnamed(request(Method::POST, "/upload", body)),
    );
    let mut peer = upstream.accept().await;
    peer.head().await;
    assert!(matches!(unknown(sent.await.unwrap()), Why::AnswerTimedOut { .. }));
    drop(feed);
}

#[tokio::test]
async fn over_http_2_too_the_time_for_an_answer_begins_when_the_body_has_been_taken() {
    let upstream = Framed::new().await;
    let limits = Limits {
        ping_interval: LIMIT * 10,
        ..Limits::default()
    };
    let pool = pool_with(upstream.cluster(), limits);
    let (feed, body) = fed();
    let sent = fire(
        &pool,
        patient_for(LIMIT),
        unnamed(request(Method::POST, "/upload", body)),
    );
    let mut peer = upstream.accept(100).await;
    let stream = peer.request().await;
    for _ in 0..3 {
        feed.send(Ok(Bytes::from_static(b"piece"))).unwrap();
        assert_eq!(peer.next(DATA).await.payload, b"piece");
        pass(LIMIT * 2).await;
    }
    drop(feed);
    assert!(peer.body().await.is_empty());
    peer.answer(stream, "ok").await;
    assert_eq!(text(sent.await.unwrap().unwrap()).await.unwrap(), "ok");
}
