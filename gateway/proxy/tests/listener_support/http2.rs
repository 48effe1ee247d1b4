//! HTTP/2 frames by hand (RFC 9113, RFC 7541 literals only).

use tokio::io::{AsyncRead, AsyncReadExt};

use super::guarded;

pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GO_AWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const ACK: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = vec![length[1], length[2], length[3], kind, flags];
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

pub(crate) fn settings() -> Vec<u8> {
    frame(SETTINGS, 0, 0, &[])
}

/// Preface, SETTINGS and the acknowledgement of the server's.
pub(crate) fn opening() -> Vec<u8> {
    [PREFACE, &settings()[..], &frame(SETTINGS, ACK, 0, &[])[..]].concat()
}

pub(crate) fn opening_with_window(window: u32) -> Vec<u8> {
    let initial = [&[0, 4][..], &window.to_be_bytes()].concat();
    [
        PREFACE,
        &frame(SETTINGS, 0, 0, &initial)[..],
        &frame(SETTINGS, ACK, 0, &[])[..],
    ]
    .concat()
}

/// Literal fields without indexing.
pub(crate) fn fields(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            integer(&mut block, text.len());
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}

/// A seven-bit prefixed integer (RFC 7541 §5.1).
fn integer(block: &mut Vec<u8>, value: usize) {
    if value < 127 {
        block.push(u8::try_from(value).unwrap());
        return;
    }
    block.push(127);
    let mut rest = value - 127;
    while rest >= 128 {
        block.push(u8::try_from(rest % 128).unwrap() | 128);
        rest /= 128;
    }
    block.push(u8::try_from(rest).unwrap());
}

pub(crate) fn request<'a>(method: &'a str, path: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![
        (":method", method),
        (":scheme", "https"),
        (":authority", "localhost"),
        (":path", path),
    ]
}

/// HEADERS and, where needed, CONTINUATION.
pub(crate) fn headers(stream: u32, flags: u8, list: &[(&str, &str)]) -> Vec<u8> {
    let block = fields(list);
    let pieces: Vec<&[u8]> = block.chunks(16_000).collect();
    let mut bytes = Vec::new();
    for (at, piece) in pieces.iter().enumerate() {
        let last = if at + 1 == pieces.len() { END_HEADERS } else { 0 };
        let (kind, flags) = if at == 0 { (HEADERS, flags) } else { (CONTINUATION, 0) };
        bytes.extend(frame(kind, flags | last, stream, piece));
    }
    bytes
}

pub(crate) fn get(stream: u32, path: &str) -> Vec<u8> {
    headers(stream, END_STREAM, &request("GET", path))
}

#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    /// The status of a HEADERS frame of hyper: indexed (RFC 7541 appendix A) or a literal behind the indexed name.
    pub(crate) fn status(&self) -> u16 {
        match self.payload[..] {
            [first @ 0x88..=0x8e, ..] => [200, 204, 206, 304, 400, 404, 500][usize::from(first - 0x88)],
            [0x08 | 0x48, 3, a, b, c, ..] => String::from_utf8_lossy(&[a, b, c]).parse().unwrap(),
            [0x08 | 0x48, huffman, ..] if huffman & 0x80 != 0 => {
                huffman_digits(&self.payload[2..2 + usize::from(huffman & 0x7f)])
            }
            ref other => panic!("no status in {other:x?}"),
        }
    }
}

/// Digits in the Huffman code of RFC 7541 appendix B: 0–2 have five bits, the others six.
fn huffman_digits(bytes: &[u8]) -> u16 {
    let bits: Vec<u8> = bytes
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |at| byte >> at & 1))
        .collect();
    let value = |from: usize, len: usize| {
        bits[from..from + len]
            .iter()
            .fold(0_u16, |value, bit| value << 1 | u16::from(*bit))
    };
    let (mut at, mut digits) = (0, 0);
    for _ in 0..3 {
        let (digit, len) = match value(at, 5) {
            short @ 0..=2 => (short, 5),
            _ => (value(at, 6) - 0x19 + 3, 6),
        };
        digits = digits * 10 + digit;
        at += len;
    }
    digits
}

/// Reads frames from a stream.
#[derive(Default)]
pub(crate) struct Frames {
    buffer: Vec<u8>,
}

impl Frames {
    /// The next frame; none at the end of the stream.
    pub(crate) async fn next(&mut self, stream: &mut (impl AsyncRead + Unpin)) -> Option<Frame> {
        loop {
            if let Some(frame) = self.whole() {
                return Some(frame);
            }
            match guarded(stream.read_buf(&mut self.buffer)).await {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    pub(crate) async fn until(
        &mut self,
        stream: &mut (impl AsyncRead + Unpin),
        wanted: impl Fn(&Frame) -> bool,
    ) -> Frame {
        loop {
            let frame = self.next(stream).await.expect("the frame comes before the end");
            if wanted(&frame) {
                return frame;
            }
        }
    }

    fn whole(&mut self) -> Option<Frame> {
        let header: [u8; 9] = self.buffer.get(..9)?.try_into().unwrap();
        let length = usize::from(header[0]) << 16 | usize::from(header[1]) << 8 | usize::from(header[2]);
        let payload = self.buffer.get(9..9 + length)?.to_vec();
        self.buffer.drain(..9 + length);
        let stream = u32::from_be_bytes([header[5], header[6], header[7], header[8]]);
        Some(Frame {
            kind: header[3],
            flags: header[4],
            stream,
            payload,
        })
    }
}

pub(crate) async fn read_to_close(stream: &mut (impl AsyncRead + Unpin)) -> Vec<Frame> {
    let (mut frames, mut all) = (Frames::default(), Vec::new());
    while let Some(frame) = frames.next(stream).await {
        all.push(frame);
    }
    all
}
