//! An HTTP/1.1 upstream by hand, without TLS.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;

pub(super) struct Plain {
    pub(super) listener: TcpListener,
}

impl Plain {
    pub(super) async fn new() -> Self {
        Self {
            listener: TcpListener::bind("127.0.0.1:0").await.unwrap(),
        }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.listener.local_addr().unwrap())
    }

    pub(super) fn pool(&self) -> TestPool {
        self.pool_with(Limits::default())
    }

    pub(super) fn pool_with(&self, limits: Limits) -> TestPool {
        pool_with(cluster(vec![self.url()], &Authority::new(), token()), limits)
    }

    pub(super) async fn accept(&self) -> Peer {
        Peer {
            tcp: self.listener.accept().await.unwrap().0,
            unread: Vec::new(),
        }
    }
}

/// One accepted connection.
pub(super) struct Peer {
    tcp: TcpStream,
    unread: Vec<u8>,
}

impl Peer {
    /// The next request head as it came. A body behind it stays for [`Peer::bytes`].
    pub(super) async fn head(&mut self) -> String {
        loop {
            if let Some(end) = self.unread.windows(4).position(|four| four == b"\r\n\r\n") {
                let head: Vec<u8> = self.unread.drain(..end + 4).collect();
                return String::from_utf8(head).unwrap();
            }
            assert!(self.more().await > 0, "closed before a head");
        }
    }

    /// The next request head, or nothing where the gateway closes before one.
    pub(super) async fn head_or_end(&mut self) -> Option<String> {
        while !self.unread.windows(4).any(|four| four == b"\r\n\r\n") {
            if self.more().await == 0 {
                return None;
            }
        }
        Some(self.head().await)
    }

    pub(super) async fn bytes(&mut self, length: usize) -> Vec<u8> {
        while self.unread.len() < length {
            assert!(self.more().await > 0, "closed before the body's end");
        }
        self.unread.drain(..length).collect()
    }

    async fn more(&mut self) -> usize {
        let mut buffer = [0; 4096];
        let count = self.tcp.read(&mut buffer).await.unwrap_or(0);
        self.unread.extend_from_slice(&buffer[..count]);
        count
    }

    pub(super) async fn write(&mut self, text: &str) {
        self.tcp.write_all(text.as_bytes()).await.unwrap();
    }

    /// Waits until the gateway closes; nothing may come before that.
    pub(super) async fn closed(&mut self) {
        while self.more().await > 0 {}
        assert!(self.unread.is_empty(), "{:?}", String::from_utf8_lossy(&self.unread));
    }

    /// RST instead of FIN.
    pub(super) fn reset(self) {
        socket2::SockRef::from(&self.tcp)
            .set_linger(Some(Duration::ZERO))
            .unwrap();
    }
}

pub(super) const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
