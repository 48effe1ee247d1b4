//! Answers by HTTP/1.0 without a length, which end where the connection does: one that breaks off never looks whole.

#![cfg(test)]

mod listener_support;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use http::{Request, Response};
use http_body_util::{StreamBody, combinators::BoxBody};
use hyper::body::Frame;
use listener_support::{Authority, ClientOptions, client_config, guarded, patient, tls};
use proxy::listener::{
    Conn, Handler, Head, Inbound, Listener, ListenerConfig, ListenerMetrics, Refused, Running, Security,
};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Notify;

/// Answers with two pieces. Behind them the answer ends, breaks off, or waits; it breaks off when it is told to.
#[derive(Debug, Default)]
struct Pieces {
    breaks: Arc<Notify>,
}

impl Handler for Pieces {
    type Body = BoxBody<Bytes, io::Error>;

    async fn handle(&self, _: Arc<Conn>, head: Head, _: Request<Inbound>) -> Response<Self::Body> {
        let pieces = ["half ", "of it"].map(|piece| Ok(Frame::data(Bytes::from(piece))));
        let breaks = Arc::clone(&self.breaks);
        let how = head.target.clone();
        let end = futures::stream::once(async move {
            match &*how {
                b"/breaks" => {
                    breaks.notified().await;
                    Some(Err(io::Error::from(io::ErrorKind::UnexpectedEof)))
                }
                b"/waits" => std::future::pending().await,
                _ => None,
            }
        });
        let pieces = futures::stream::iter(pieces).chain(end.filter_map(std::future::ready));
        Response::new(BoxBody::new(StreamBody::new(pieces)))
    }

    fn connection_refused(&self, _: &Conn, _: Refused) {}
}

fn start(security: Security) -> (Running, Arc<Pieces>) {
    let mut config = ListenerConfig::new("test", "127.0.0.1:0".parse().unwrap(), security);
    config.deadlines = patient();
    let handler = Arc::new(Pieces::default());
    let listener = Listener::bind(config, Arc::new(ListenerMetrics::default())).unwrap();
    (listener.start(Arc::clone(&handler)), handler)
}

async fn ask(running: &Running, target: &str, version: &str) -> TcpStream {
    let mut stream = TcpStream::connect(running.address()).await.unwrap();
    let request = format!("GET {target} HTTP/{version}\r\nHost: a\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

/// Reads as far as both pieces have come.
async fn read_pieces(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut read = Vec::new();
    while !read.windows(5).any(|piece| piece == b"of it") {
        assert!(guarded(stream.read_buf(&mut read)).await.unwrap() > 0, "it has ended");
    }
    String::from_utf8(read).unwrap()
}

async fn rest(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<String> {
    let mut rest = String::new();
    guarded(stream.read_to_string(&mut rest)).await.map(|_| rest)
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_never_a_whole_one_to_a_client_by_http_1_0() {
    let (running, handler) = start(Security::PlainLoopback);
    let mut whole = ask(&running, "/whole", "1.0").await;
    assert!(rest(&mut whole).await.unwrap().ends_with("half of it"));

    let mut broken = ask(&running, "/breaks", "1.0").await;
    let read = read_pieces(&mut broken).await;
    assert!(!read.contains("content-length") && !read.contains("chunked"), "{read}");
    handler.breaks.notify_one();
    let error = rest(&mut broken).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);

    // By HTTP/1.1 the last chunk is missing, which says it; what was sent is not thrown away by a reset.
    let mut chunked = ask(&running, "/breaks", "1.1").await;
    read_pieces(&mut chunked).await;
    handler.breaks.notify_one();
    assert!(!rest(&mut chunked).await.unwrap().contains("0\r\n\r\n"));

    // Cut at the end of a drain.
    let mut cut = ask(&running, "/waits", "1.0").await;
    read_pieces(&mut cut).await;
    running.drain(Duration::ZERO).await;
    assert_eq!(rest(&mut cut).await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_never_a_whole_one_over_tls_either() {
    let authority = Authority::new("ca");
    let (running, handler) = start(tls(&authority).0);
    let config = client_config(&authority, &ClientOptions::default());
    let stream = TcpStream::connect(running.address()).await.unwrap();
    let name = rustls_pki_types::ServerName::try_from("localhost").unwrap();
    let connecting = tokio_rustls::TlsConnector::from(config).connect(name, stream);
    let mut stream = guarded(connecting).await.unwrap();
    stream
        .write_all(b"GET /breaks HTTP/1.0\r\nHost: localhost\r\n\r\n")
        .await
        .unwrap();
    read_pieces(&mut stream).await;
    handler.breaks.notify_one();
    assert!(rest(&mut stream).await.is_err());
}
