//! An HTTP/2 client frame by frame, for what a library would mend or keep from saying: it would stop asking at the first
//! GOAWAY, answer the PING behind it, and cut a path that is none. Fields go as literals without indexing (RFC 7541 §6.2.2).

use std::io::{Read as _, Write as _};

use anyhow::ensure;

use crate::http::Stream;

/// A frame of a body.
pub const DATA: u8 = 0;
/// A frame of fields.
pub const HEADERS: u8 = 1;
/// The connection takes no new streams.
pub const GO_AWAY: u8 = 7;
/// A stream was given up.
pub const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const ACK: u8 = 1;
/// Flag of the last frame of an answer.
pub const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// One frame (RFC 9113 §4.1).
#[derive(Debug)]
pub struct Frame {
    /// Its type.
    pub kind: u8,
    /// Its flags.
    pub flags: u8,
    /// Which stream.
    pub stream: u32,
    /// What is in it.
    pub payload: Vec<u8>,
}

/// A connection.
#[derive(Debug)]
pub struct Http2(Stream);

impl Http2 {
    /// Sends the preface.
    ///
    /// # Errors
    /// The connection ended.
    pub fn begin(stream: Stream) -> anyhow::Result<Self> {
        Self::with_settings(stream, &[])
    }

    /// Sends the preface of a client that takes no byte of any answer until it says so with [`Http2::takes`].
    ///
    /// # Errors
    /// The connection ended.
    pub fn begin_without_window(stream: Stream) -> anyhow::Result<Self> {
        // SETTINGS_INITIAL_WINDOW_SIZE is 0.
        Self::with_settings(stream, &[0, 4, 0, 0, 0, 0])
    }

    fn with_settings(mut stream: Stream, settings: &[u8]) -> anyhow::Result<Self> {
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")?;
        let mut this = Self(stream);
        this.write(SETTINGS, 0, 0, settings)?;
        Ok(this)
    }

    /// Takes so many more bytes of an answer.
    ///
    /// # Errors
    /// The connection ended.
    pub fn takes(&mut self, stream: u32, bytes: u32) -> anyhow::Result<()> {
        for stream in [stream, 0] {
            self.write(WINDOW_UPDATE, 0, stream, &bytes.to_be_bytes())?;
        }
        Ok(())
    }

    /// The next frame of a stream, doing a client's chores meanwhile: settings are acknowledged and pings answered.
    ///
    /// # Errors
    /// The connection ended.
    pub fn next_frame(&mut self) -> anyhow::Result<Frame> {
        loop {
            let frame = self.read()?;
            match frame.kind {
                SETTINGS if frame.flags & ACK == 0 => self.write(SETTINGS, ACK, 0, &[])?,
                PING if frame.flags & ACK == 0 => self.write(PING, ACK, 0, &frame.payload)?,
                _ if frame.stream != 0 => return Ok(frame),
                _ => {}
            }
        }
    }

    /// How long to wait for a frame.
    ///
    /// # Errors
    /// The system refuses.
    pub fn patient(self, patience: std::time::Duration) -> anyhow::Result<Self> {
        self.0.sock.set_read_timeout(Some(patience))?;
        Ok(self)
    }

    fn write(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> anyhow::Result<()> {
        let length = u32::try_from(payload.len())?.to_be_bytes();
        let mut frame = vec![length[1], length[2], length[3], kind, flags];
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        self.0.write_all(&frame)?;
        Ok(self.0.flush()?)
    }

    /// A GET of `path`, and `more` fields behind the pseudo ones.
    ///
    /// # Errors
    /// The connection ended.
    pub fn get(&mut self, stream: u32, authority: &str, path: &str, more: &[(&str, &str)]) -> anyhow::Result<()> {
        let pseudo = [
            (":method", "GET"),
            (":scheme", "https"),
            (":authority", authority),
            (":path", path),
        ];
        let fields = pseudo.iter().chain(more);
        let fields: Vec<(&[u8], &[u8])> = fields
            .map(|(name, value)| (name.as_bytes(), value.as_bytes()))
            .collect();
        self.fields(stream, &fields, true)
    }

    /// These very fields, at the beginning of a stream or behind its body; `ends` where nothing follows them.
    ///
    /// # Errors
    /// The connection ended.
    pub fn fields(&mut self, stream: u32, fields: &[(&[u8], &[u8])], ends: bool) -> anyhow::Result<()> {
        let mut block = Vec::new();
        for (name, value) in fields {
            block.push(0);
            for text in [name, value] {
                integer(&mut block, text.len());
                block.extend(*text);
            }
        }
        let end = if ends { END_STREAM } else { 0 };
        self.write(HEADERS, end | END_HEADERS, stream, &block)
    }

    /// A piece of a body; `ends` where nothing follows it.
    ///
    /// # Errors
    /// The connection ended.
    pub fn data(&mut self, stream: u32, piece: &[u8], ends: bool) -> anyhow::Result<()> {
        self.write(DATA, if ends { END_STREAM } else { 0 }, stream, piece)
    }

    /// The next frame.
    ///
    /// # Errors
    /// The connection ended.
    pub fn read(&mut self) -> anyhow::Result<Frame> {
        let mut head = [0; 9];
        self.0.read_exact(&mut head)?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; usize::try_from(length)?];
        self.0.read_exact(&mut payload)?;
        Ok(Frame {
            kind: head[3],
            flags: head[4],
            stream: u32::from_be_bytes([head[5], head[6], head[7], head[8]]),
            payload,
        })
    }

    /// The whole body of a stream's answer; what else comes is passed over.
    ///
    /// # Errors
    /// The stream is reset, the connection ended, or the body is no text.
    pub fn body(&mut self, stream: u32) -> anyhow::Result<String> {
        let mut body = Vec::new();
        loop {
            let frame = self.read()?;
            if frame.stream != stream {
                continue;
            }
            ensure!(
                frame.kind == DATA || frame.kind == HEADERS,
                "stream {stream} ended with frame {}",
                frame.kind
            );
            if frame.kind == DATA {
                body.extend(frame.payload);
            }
            if frame.flags & END_STREAM != 0 {
                return Ok(String::from_utf8(body)?);
            }
        }
    }
}

/// RFC 7541 §5.1 with a prefix of seven bits.
fn integer(block: &mut Vec<u8>, number: usize) {
    let mut rest = match u8::try_from(number) {
        Ok(small) if small < 127 => return block.push(small),
        _ => number - 127,
    };
    block.push(127);
    while rest >= 128 {
        block.push(u8::try_from(rest % 128).unwrap_or_default() | 128);
        rest /= 128;
    }
    block.push(u8::try_from(rest).unwrap_or_default());
}
