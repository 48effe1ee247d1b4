//! A client of upgraded calls that writes and reads the very bytes of a connection: what no library would send.

use std::io::{self, ErrorKind, Read, Write};

use anyhow::{Context as _, ensure};

use crate::channels::Frame;
use crate::gateway::Gateway;
use crate::http::{self, Stream};

/// The key that the client sends, and what a server has to answer to it (RFC 6455 §1.3).
pub const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
/// The answer to [`KEY`].
pub const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// What is asked to switch to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Switch<'a> {
    /// SPDY/3.1 with a version of the stream protocol.
    Spdy(&'a str),
    /// A WebSocket with a subprotocol; none where it is empty.
    WebSocket(&'a str),
}

impl Switch<'_> {
    fn fields(self) -> String {
        match self {
            Self::Spdy(version) => format!("Upgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: {version}\r\n"),
            Self::WebSocket("") => {
                format!("Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n")
            }
            Self::WebSocket(protocol) => {
                format!(
                    "{}Sec-WebSocket-Protocol: {protocol}\r\n",
                    Switch::WebSocket("").fields()
                )
            }
        }
    }

    /// The answer of a server that grants it.
    #[must_use]
    pub fn granted(self) -> Vec<u8> {
        let chosen = match self {
            Self::Spdy(version) => format!("Upgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: {version}\r\n"),
            Self::WebSocket("") => format!("Upgrade: websocket\r\nSec-WebSocket-Accept: {ACCEPT}\r\n"),
            Self::WebSocket(protocol) => format!(
                "Upgrade: websocket\r\nSec-WebSocket-Accept: {ACCEPT}\r\nSec-WebSocket-Protocol: {protocol}\r\n"
            ),
        };
        format!("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n{chosen}\r\n").into_bytes()
    }
}

/// A connection behind its request to switch.
#[derive(Debug)]
pub struct Upgraded {
    /// The connection itself.
    pub stream: Stream,
    /// The head of the answer.
    pub head: String,
    /// What came with the head and was not read yet.
    behind: Vec<u8>,
}

impl Upgraded {
    /// Asks for a switch, with `early` right behind the head, and reads the head of the answer.
    ///
    /// # Errors
    /// There is no connection, or it ends within the head.
    pub fn ask(gateway: &Gateway, token: &str, target: &str, switch: Switch<'_>, early: &[u8]) -> anyhow::Result<Self> {
        Self::begin(gateway, token, target, switch, early)?.answer()
    }

    /// Asks alone; [`Asked::answer`] reads the head of the answer.
    ///
    /// # Errors
    /// There is no connection.
    pub fn begin(
        gateway: &Gateway,
        token: &str,
        target: &str,
        switch: Switch<'_>,
        early: &[u8],
    ) -> anyhow::Result<Asked> {
        let method = match switch {
            Switch::Spdy(_) => "POST",
            Switch::WebSocket(_) => "GET",
        };
        Self::begin_by(method, gateway, token, target, switch, early)
    }

    /// As [`Upgraded::begin`], by a method of one's own choice.
    ///
    /// # Errors
    /// There is no connection.
    pub fn begin_by(
        method: &str,
        gateway: &Gateway,
        token: &str,
        target: &str,
        switch: Switch<'_>,
        early: &[u8],
    ) -> anyhow::Result<Asked> {
        let mut stream = gateway.client()?.open()?;
        let head = format!(
            "{method} {target} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {token}\r\nConnection: Upgrade\r\n{}Content-Length: 0\r\n\r\n",
            gateway.address,
            switch.fields()
        );
        stream.write_all(&[head.as_bytes(), early].concat())?;
        Ok(Asked { stream })
    }

    /// Whether the switch was granted.
    #[must_use]
    pub fn is_granted(&self) -> bool {
        self.head.starts_with("HTTP/1.1 101 ")
    }

    /// A field of the answer's head.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        http::field(&self.head, name)
    }

    /// The id under which the session is recorded.
    ///
    /// # Errors
    /// The answer does not say it.
    pub fn id(&self) -> anyhow::Result<String> {
        let id = self.field("audit-id").map(str::to_owned);
        id.with_context(|| format!("no id in {}", self.head))
    }

    /// Sends bytes.
    ///
    /// # Errors
    /// The connection ended.
    pub fn write(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        self.stream.write_all(bytes)?;
        Ok(self.stream.flush()?)
    }

    /// The next frame of a WebSocket.
    ///
    /// # Errors
    /// The connection ended, or nothing came for a minute.
    pub fn frame(&mut self) -> anyhow::Result<Frame> {
        Frame::read(self)
    }

    /// All to the end, however the other side ends it.
    ///
    /// # Errors
    /// It does not end.
    pub fn rest(&mut self) -> anyhow::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        match self.read_to_end(&mut bytes) {
            Ok(_) => Ok(bytes),
            Err(error) if matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset) => Ok(bytes),
            Err(error) => Err(error.into()),
        }
    }
}

impl Read for Upgraded {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.behind.is_empty() {
            return self.stream.read(into);
        }
        let read = self.behind.as_slice().read(into)?;
        self.behind.drain(..read);
        Ok(read)
    }
}

impl Write for Upgraded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Write::write(&mut self.stream, bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// A connection on which a switch was asked for.
#[derive(Debug)]
pub struct Asked {
    /// The connection itself.
    pub stream: Stream,
}

impl Asked {
    /// Reads the head of the answer.
    ///
    /// # Errors
    /// The connection ends within it.
    pub fn answer(mut self) -> anyhow::Result<Upgraded> {
        let mut received = Vec::new();
        loop {
            if let Some(end) = received.windows(4).position(|four| four == b"\r\n\r\n") {
                let behind = received.split_off(end + 4);
                return Ok(Upgraded {
                    stream: self.stream,
                    head: String::from_utf8_lossy(&received).into_owned(),
                    behind,
                });
            }
            let mut piece = [0; 4096];
            let read = self.stream.read(&mut piece)?;
            let so_far = String::from_utf8_lossy(&received);
            ensure!(read > 0, "the connection ended in the head: {so_far}");
            received.extend(piece.iter().take(read));
        }
    }
}
