//! A client that reads answers one after another from one connection, whatever they are framed by.

use std::io::{ErrorKind, Read, Write};

use anyhow::{Context as _, ensure};
use tests::http::{Stream, field};

/// One answer.
#[derive(Debug)]
pub(super) struct Answered {
    /// The status.
    pub(super) status: u16,
    /// The lines of its head, without the status line.
    pub(super) head: String,
    /// The body.
    pub(super) body: Vec<u8>,
}

impl Answered {
    /// Whether the connection ends behind it.
    pub(super) fn closes(&self) -> bool {
        field(&self.head, "connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }

    /// The id under which the gateway recorded the request.
    pub(super) fn id(&self) -> Option<&str> {
        field(&self.head, "audit-id")
    }
}

/// A connection to the gateway.
pub(super) struct Wire {
    stream: Stream,
    read: Vec<u8>,
    ended: bool,
}

impl Wire {
    pub(super) const fn new(stream: Stream) -> Self {
        Self {
            stream,
            read: Vec::new(),
            ended: false,
        }
    }

    /// Sends all of it; that the other side has ended the connection meanwhile is no error here.
    pub(super) fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes).and_then(|()| self.stream.flush());
    }

    /// Says that nothing follows.
    pub(super) fn leave(&mut self) {
        self.stream.conn.send_close_notify();
        let _ = self.stream.flush();
        let _ = self.stream.sock.shutdown(std::net::Shutdown::Write);
    }

    /// The next answer that is none on the way; none where the connection has ended.
    pub(super) fn answer(&mut self, to_head: bool) -> anyhow::Result<Option<Answered>> {
        loop {
            let Some(end) = self.until(b"\r\n\r\n")? else {
                ensure!(self.read.is_empty(), "half a head: {:?}", self.text());
                return Ok(None);
            };
            let head = String::from_utf8_lossy(self.read.get(..end).unwrap_or_default()).into_owned();
            self.read.drain(..end + 4);
            let (line, fields) = head.split_once("\r\n").unwrap_or((&head, ""));
            ensure!(line.starts_with("HTTP/1."), "{line:?} begins no answer");
            let status: u16 = line.split(' ').nth(1).context("a status")?.parse()?;
            if status < 200 {
                continue;
            }
            let body = match to_head || matches!(status, 204 | 304) {
                true => Vec::new(),
                false => self.body(fields)?,
            };
            return Ok(Some(Answered {
                status,
                head: fields.to_owned(),
                body,
            }));
        }
    }

    /// Reads until the other side has said that the body may come, or anything else.
    pub(super) fn told_to_go_on(&mut self) -> anyhow::Result<()> {
        self.until(b"\r\n\r\n").map(drop)
    }

    /// Reads to the end of the connection.
    pub(super) fn rest(&mut self) -> anyhow::Result<Vec<u8>> {
        while self.more()? {}
        Ok(std::mem::take(&mut self.read))
    }

    fn body(&mut self, fields: &str) -> anyhow::Result<Vec<u8>> {
        if field(fields, "transfer-encoding").is_some() {
            let mut body = Vec::new();
            loop {
                let size = self.until(b"\r\n")?.context("a chunk")?;
                let line = String::from_utf8_lossy(&self.take(size)?).into_owned();
                self.take(2)?;
                let size = usize::from_str_radix(line.split(';').next().unwrap_or_default(), 16)?;
                body.extend(self.take(size)?);
                self.take(2)?;
                if size == 0 {
                    return Ok(body);
                }
            }
        }
        match field(fields, "content-length") {
            Some(length) => self.take(length.parse()?),
            None => self.rest(),
        }
    }

    fn take(&mut self, length: usize) -> anyhow::Result<Vec<u8>> {
        while self.read.len() < length {
            ensure!(self.more()?, "the connection ends within an answer: {:?}", self.text());
        }
        Ok(self.read.drain(..length).collect())
    }

    fn until(&mut self, what: &[u8]) -> anyhow::Result<Option<usize>> {
        loop {
            if let Some(at) = memchr::memmem::find(&self.read, what) {
                return Ok(Some(at));
            }
            if !self.more()? {
                return Ok(None);
            }
        }
    }

    /// False at the end.
    fn more(&mut self) -> anyhow::Result<bool> {
        if self.ended {
            return Ok(false);
        }
        let mut piece = [0; 16 * 1024];
        let read = match self.stream.read(&mut piece) {
            Ok(read) => read,
            Err(error) if is_end(error.kind()) => 0,
            Err(error) => return Err(error).with_context(|| format!("read so far: {:?}", self.text())),
        };
        self.ended = read == 0;
        self.read.extend(piece.get(..read).unwrap_or_default());
        Ok(!self.ended)
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.read).into_owned()
    }
}

fn is_end(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::BrokenPipe
    )
}
