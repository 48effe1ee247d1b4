//! An HTTP/2 upstream by hand, over TLS: frames in, frames out (RFC 9113 §4, §6).

use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::*;

pub(super) struct Framed {
    listener: TcpListener,
    acceptor: TlsAcceptor,
    authority: Authority,
}

#[derive(Debug)]
pub(super) struct Frame {
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
    pub(super) payload: Vec<u8>,
}

impl Framed {
    pub(super) async fn new() -> Self {
        let authority = Authority::new();
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        let chain = vec![CertificateDer::from(params.signed_by(&key, &authority.0).unwrap())];
        let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap();
        let mut config = builder.with_no_client_auth().with_single_cert(chain, key).unwrap();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self {
            listener,
            acceptor: TlsAcceptor::from(Arc::new(config)),
            authority,
        }
    }

    pub(super) fn cluster(&self) -> Arc<ClusterConnection> {
        cluster(
            vec![format!("https://{}", self.listener.local_addr().unwrap())],
            &self.authority,
            token(),
        )
    }

    pub(super) fn pool(&self) -> TestPool {
        pool_with(self.cluster(), Limits::default())
    }

    /// Accepts a connection and speaks the preface, allowing `streams` at once.
    pub(super) async fn accept(&self, streams: u32) -> Peer {
        let tcp = self.listener.accept().await.unwrap().0;
        tcp.set_nodelay(true).unwrap();
        let mut tls = self.acceptor.accept(tcp).await.unwrap();
        assert_eq!(tls.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let mut preface = [0; 24];
        tls.read_exact(&mut preface).await.unwrap();
        assert_eq!(&preface, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        let mut peer = Peer {
            tls,
            answers_pings: true,
        };
        peer.allow(streams).await;
        peer
    }

    /// hyper's own server, giving each request's body back.
    pub(super) async fn echo_for_ever(self, streams: u32) {
        let echo = |request: Request<hyper::body::Incoming>| async move {
            Ok::<_, std::convert::Infallible>(Response::new(request.into_body()))
        };
        loop {
            let tcp = self.listener.accept().await.unwrap().0;
            let acceptor = self.acceptor.clone();
            tokio::spawn(async move {
                let tls = hyper_util::rt::TokioIo::new(acceptor.accept(tcp).await.unwrap());
                let executor = hyper_util::rt::TokioExecutor::new();
                let mut server = hyper::server::conn::http2::Builder::new(executor);
                server.max_concurrent_streams(streams);
                // Ends with the client's connection, whichever way.
                let _ = server.serve_connection(tls, hyper::service::service_fn(echo)).await;
            });
        }
    }

    pub(super) async fn accept_http1(&self) -> TlsStream<TcpStream> {
        let tcp = self.listener.accept().await.unwrap().0;
        tcp.set_nodelay(true).unwrap();
        let tls = self.acceptor.accept(tcp).await.unwrap();
        assert_eq!(tls.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
        tls
    }
}

pub(super) struct Peer {
    tls: TlsStream<TcpStream>,
    pub(super) answers_pings: bool,
}

impl Peer {
    /// SETTINGS with MAX_CONCURRENT_STREAMS.
    pub(super) async fn allow(&mut self, streams: u32) {
        let mut payload = vec![0, 3];
        payload.extend(streams.to_be_bytes());
        self.write(SETTINGS, 0, 0, &payload).await;
    }

    pub(super) async fn write(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let mut frame = vec![length[1], length[2], length[3], kind, flags];
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        self.tls.write_all(&frame).await.unwrap();
        self.tls.flush().await.unwrap();
    }

    /// The next frame, `None` at the end of the connection.
    pub(super) async fn frame(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.tls.read_exact(&mut head).await.ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        self.tls.read_exact(&mut payload).await.ok()?;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        Some(Frame {
            kind: head[3],
            flags: head[4],
            stream,
            payload,
        })
    }

    /// The next frame of this kind, doing the chores of a server meanwhile.
    pub(super) async fn next(&mut self, kind: u8) -> Frame {
        loop {
            let frame = self.frame().await.expect("connection ended");
            match frame.kind {
                SETTINGS if frame.flags & ACK == 0 => self.write(SETTINGS, ACK, 0, &[]).await,
                PING if frame.flags & ACK == 0 && self.answers_pings => {
                    self.write(PING, ACK, 0, &frame.payload).await;
                }
                _ => {}
            }
            if frame.kind == kind && (kind != SETTINGS || frame.flags & ACK != 0) {
                return frame;
            }
        }
    }

    /// The next request; its stream.
    pub(super) async fn request(&mut self) -> u32 {
        self.next(HEADERS).await.stream
    }

    /// Reads a request's body to its end.
    pub(super) async fn body(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        loop {
            let frame = self.next(DATA).await;
            body.extend(frame.payload);
            if frame.flags & END_STREAM != 0 {
                return body;
            }
        }
    }

    /// 200 without a body yet.
    pub(super) async fn head(&mut self, stream: u32) {
        self.write(HEADERS, END_HEADERS, stream, STATUS_200).await;
    }

    pub(super) async fn data(&mut self, stream: u32, data: &[u8], end: bool) {
        self.write(DATA, if end { END_STREAM } else { 0 }, stream, data).await;
    }

    pub(super) async fn answer(&mut self, stream: u32, data: &str) {
        self.head(stream).await;
        self.data(stream, data.as_bytes(), true).await;
    }

    pub(super) async fn reset(&mut self, stream: u32, code: u32) {
        self.write(RST_STREAM, 0, stream, &code.to_be_bytes()).await;
    }

    pub(super) async fn go_away(&mut self, last: u32) {
        let mut payload = last.to_be_bytes().to_vec();
        payload.extend([0; 4]);
        self.write(GOAWAY, 0, 0, &payload).await;
    }

    /// Answers every request with `ok` until the gateway closes.
    pub(super) async fn answer_all(mut self) {
        while let Some(frame) = self.frame().await {
            match frame.kind {
                SETTINGS if frame.flags & ACK == 0 => self.write(SETTINGS, ACK, 0, &[]).await,
                PING if frame.flags & ACK == 0 => self.write(PING, ACK, 0, &frame.payload).await,
                HEADERS => self.answer(frame.stream, "ok").await,
                _ => {}
            }
        }
    }
}

/// `:status: 200`, from HPACK's static table (RFC 7541 appendix A, index 8).
pub(super) const STATUS_200: &[u8] = &[0x88];
/// `:status: 103` as a literal with indexed name, not indexed.
pub(super) const STATUS_103: &[u8] = &[0x08, 3, b'1', b'0', b'3'];

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PING: u8 = 6;
pub(super) const GOAWAY: u8 = 7;
pub(super) const ACK: u8 = 1;
pub(super) const END_STREAM: u8 = 1;
pub(super) const END_HEADERS: u8 = 4;
pub(super) const INTERNAL_ERROR: u32 = 2;
pub(super) const REFUSED_STREAM: u32 = 7;
pub(super) const CANCEL: u32 = 8;
