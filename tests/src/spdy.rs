//! SPDY/3.1 as kubectl speaks it to a pod (draft-mbelshe-httpbis-spdy-00), written by hand: a hundred of them must not be what is
//! measured, and nothing is shared with the gateway. Streams are opened, bytes go both ways; a header block is a zlib stream in
//! which nothing is compressed, and that names no dictionary.

use std::io::{Read, Write};

use anyhow::{Context as _, bail, ensure};

use crate::channels::{BINARY, CLOSE, Frame, LAST, of_client};

/// What the frames of SPDY travel in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carried {
    /// Nothing: they are the connection's bytes.
    Bare,
    /// Binary messages of a WebSocket (`SPDY/3.1+portforward.k8s.io`, KEP-4006).
    Messages,
}

/// A client's side of a connection.
#[derive(Debug)]
pub struct Spdy<S> {
    /// The connection itself.
    pub stream: S,
    carried: Carried,
    /// What came and was not read as frames yet.
    received: Vec<u8>,
    /// The next stream that is opened: a client's are odd.
    next: u32,
}

const SYN_STREAM: [u8; 4] = [0x80, 3, 0, 1];
const RST_STREAM: [u8; 4] = [0x80, 3, 0, 3];
const GO_AWAY: [u8; 4] = [0x80, 3, 0, 7];
/// zlib without compression (RFC 1950 §2.2); it is said once, as all blocks of a connection are one zlib stream.
const ZLIB: [u8; 2] = [0x78, 0x01];
/// Flag of a stream's last frame.
const FIN: u8 = 1;

impl<S: Read + Write> Spdy<S> {
    /// Of a connection behind its switch.
    pub const fn new(stream: S, carried: Carried) -> Self {
        Self {
            stream,
            carried,
            received: Vec::new(),
            next: 1,
        }
    }

    /// Opens a stream with these header fields (names in lower case); its number.
    ///
    /// # Errors
    /// The connection ended.
    pub fn open(&mut self, fields: &[(&str, &str)]) -> anyhow::Result<u32> {
        let id = self.next;
        let block = block(fields, id == 1)?;
        self.next += 2;
        let length = u32::try_from(block.len() + 10)?.to_be_bytes();
        let mut frame = SYN_STREAM.to_vec();
        frame.push(0);
        frame.extend_from_slice(&length[1..]);
        frame.extend(id.to_be_bytes());
        frame.extend([0; 6]); // belongs to no other stream, priority 0, slot 0
        frame.extend(block);
        self.send(&frame)?;
        Ok(id)
    }

    /// Sends bytes on a stream.
    ///
    /// # Errors
    /// The connection ended.
    pub fn write(&mut self, id: u32, bytes: &[u8]) -> anyhow::Result<()> {
        let length = u32::try_from(bytes.len())?.to_be_bytes();
        let mut frame = id.to_be_bytes().to_vec();
        frame.push(0);
        frame.extend_from_slice(&length[1..]);
        frame.extend(bytes);
        self.send(&frame)
    }

    /// Says that nothing more comes on a stream.
    ///
    /// # Errors
    /// The connection ended.
    pub fn close(&mut self, id: u32) -> anyhow::Result<()> {
        let mut frame = id.to_be_bytes().to_vec();
        frame.extend([FIN, 0, 0, 0]);
        self.send(&frame)
    }

    fn send(&mut self, frame: &[u8]) -> anyhow::Result<()> {
        match self.carried {
            Carried::Bare => self.stream.write_all(frame)?,
            Carried::Messages => self.stream.write_all(&of_client(LAST | BINARY, frame))?,
        }
        Ok(self.stream.flush()?)
    }

    /// The next piece of a stream's bytes, with its number; whatever else comes is passed over.
    ///
    /// # Errors
    /// The connection ended, or nothing comes for longer than it waits.
    pub fn data(&mut self) -> anyhow::Result<(u32, Vec<u8>)> {
        loop {
            let frame = self.frame()?;
            let (head, rest) = frame.split_first_chunk::<4>().context("a head")?;
            if head[0] & 0x80 == 0 {
                return Ok((u32::from_be_bytes(*head), rest.get(4..).unwrap_or_default().to_vec()));
            }
        }
    }

    /// The next whole frame.
    fn frame(&mut self) -> anyhow::Result<Vec<u8>> {
        loop {
            if let Some(frame) = self.take() {
                return Ok(frame);
            }
            match self.carried {
                Carried::Bare => {
                    let mut piece = [0; 4096];
                    let read = self.stream.read(&mut piece)?;
                    ensure!(read > 0, "the connection ended");
                    self.received.extend(piece.iter().take(read));
                }
                Carried::Messages => {
                    let frame = Frame::read(&mut self.stream)?;
                    match frame.kind() {
                        CLOSE => bail!("closed: {}", String::from_utf8_lossy(&frame.payload)),
                        BINARY => self.received.extend(frame.payload),
                        _ => {}
                    }
                }
            }
        }
    }

    /// Reads until a client takes what it has open for ended: a stream ends or is given up by the server, or it takes no more of
    /// them. What is said before that goes into `said`.
    ///
    /// # Errors
    /// As of [`Spdy::data`]; the end of the connection is one.
    pub fn until_over(&mut self, said: &mut Vec<u8>) -> anyhow::Result<()> {
        loop {
            let frame = self.frame()?;
            said.extend(frame.get(8..).unwrap_or_default());
            let is_data = frame.first().is_some_and(|first| first & 0x80 == 0);
            let is_last = frame.get(4).is_some_and(|flags| flags & FIN != 0);
            if (is_data && is_last) || frame.starts_with(&RST_STREAM) || frame.starts_with(&GO_AWAY) {
                return Ok(());
            }
        }
    }

    /// Reads until a stream has said this much, and holds it against what it has to say.
    ///
    /// # Errors
    /// It says something else, or as of [`Spdy::data`].
    pub fn says(&mut self, id: u32, what: &[u8]) -> anyhow::Result<()> {
        let mut said = Vec::new();
        while said.len() < what.len() {
            let (of, bytes) = self.data()?;
            ensure!(of == id, "on stream {of}: {}", String::from_utf8_lossy(&bytes));
            said.extend(bytes);
        }
        ensure!(said == what, "{:?}", String::from_utf8_lossy(&said));
        Ok(())
    }

    /// One whole frame off the front.
    fn take(&mut self) -> Option<Vec<u8>> {
        let head = self.received.first_chunk::<8>()?;
        let length = u32::from_be_bytes([0, head[5], head[6], head[7]]);
        let whole = usize::try_from(length).ok()?.checked_add(8)?;
        (self.received.len() >= whole).then(|| self.received.drain(..whole).collect())
    }
}

/// Names and values (§2.6.10), in one stored block (RFC 1951 §3.2.4) that more blocks may follow.
fn block(fields: &[(&str, &str)], is_first: bool) -> anyhow::Result<Vec<u8>> {
    let mut plain = u32::try_from(fields.len())?.to_be_bytes().to_vec();
    for word in fields.iter().flat_map(|(name, value)| [name, value]) {
        plain.extend(u32::try_from(word.len())?.to_be_bytes());
        plain.extend(word.bytes());
    }
    let mut block = if is_first { ZLIB.to_vec() } else { Vec::new() };
    let length = u16::try_from(plain.len())?;
    block.push(0);
    block.extend(length.to_le_bytes());
    block.extend((!length).to_le_bytes());
    block.extend(plain);
    // An empty block flushes: without one Go's reader waits for what follows before it hands on what it has.
    block.extend([0, 0, 0, 0xff, 0xff]);
    Ok(block)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    /// The dictionary counts only for a stream that names it, so that any inflater reads these.
    #[test]
    fn header_blocks_are_one_zlib_stream_over_the_connection() {
        let mut inflater = flate2::Decompress::new(true);
        let mut read = |block: &[u8]| {
            let mut plain = Vec::with_capacity(1_000);
            inflater
                .decompress_vec(block, &mut plain, flate2::FlushDecompress::Sync)
                .unwrap();
            plain
        };
        let first = block(&[("streamtype", "error")], true).unwrap();
        assert_eq!(read(&first), b"\0\0\0\x01\0\0\0\x0astreamtype\0\0\0\x05error");
        let second = block(&[("a", "b"), ("c", "")], false).unwrap();
        assert_eq!(read(&second), b"\0\0\0\x02\0\0\0\x01a\0\0\0\x01b\0\0\0\x01c\0\0\0\0");
    }

    #[test]
    fn a_stream_says_what_its_frames_hold_however_they_travel() {
        let ping = b"\x80\x03\x00\x06\x00\x00\x00\x04\0\0\0\x01";
        let data = b"\0\0\0\x03\0\0\0\x02hi\0\0\0\x03\0\0\0\x01!";
        let bare = [ping.as_slice(), data].concat();
        let messages: Vec<u8> = bare
            .chunks(5)
            .flat_map(|piece| crate::channels::of_server(LAST | BINARY, piece))
            .collect();
        for (carried, bytes) in [(Carried::Bare, bare), (Carried::Messages, messages)] {
            let mut spdy = Spdy::new(Cursor::new(bytes), carried);
            spdy.says(3, b"hi!").unwrap();
            assert!(spdy.data().is_err(), "the end");
        }
        let mut spdy = Spdy::new(Cursor::new(data.to_vec()), Carried::Bare);
        assert!(spdy.says(1, b"hi").is_err(), "another stream");
        for (end, ends) in [
            (b"\0\0\0\x01\x01\0\0\x03why".to_vec(), true),
            ([GO_AWAY.as_slice(), b"\0\0\0\x08\0\0\0\0\0\0\0\0"].concat(), true),
            (
                [RST_STREAM.as_slice(), b"\0\0\0\x08\0\0\0\x03\0\0\0\x05"].concat(),
                true,
            ),
            (ping.to_vec(), false),
        ] {
            let (mut spdy, mut said) = (
                Spdy::new(Cursor::new([data.as_slice(), &end].concat()), Carried::Bare),
                Vec::new(),
            );
            assert_eq!(spdy.until_over(&mut said).is_ok(), ends);
            assert!(said.starts_with(b"hi!"));
        }
    }
}
