//! WebSocket frames and Kubernetes' channels in them (RFC 6455 §5, KEP-4006), for both ends of a story. Nothing is checked that
//! a story might want to break; it shares no code with the gateway.

use std::io::{Read, Write};

use anyhow::ensure;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// A message goes on in another frame.
pub const CONTINUATION: u8 = 0;
/// A text.
pub const TEXT: u8 = 1;
/// Bytes.
pub const BINARY: u8 = 2;
/// The end.
pub const CLOSE: u8 = 8;
/// Is somebody there?
pub const PING: u8 = 9;
/// Somebody is.
pub const PONG: u8 = 10;
/// The last frame of its message.
pub const LAST: u8 = 0x80;

const MASK: [u8; 4] = [0x11, 0xa2, 0x00, 0x7e];
/// What a command reads that shall end.
pub const EXIT: &[u8] = b"exit";
const SUCCESS: &[u8] = br#"{"metadata":{},"status":"Success"}"#;
/// Bytes of output in one message of [`numbered`].
const NUMBERED: usize = 16 * 1024;

/// A frame as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Its kind with [`LAST`] and whatever other bits it had.
    pub first: u8,
    /// Its payload, unmasked.
    pub payload: Vec<u8>,
}

impl Frame {
    /// Its kind alone.
    #[must_use]
    pub const fn kind(&self) -> u8 {
        self.first & 0x0f
    }

    /// Reads one of either side.
    ///
    /// # Errors
    /// The connection ended before or within it, or it is longer than a megabyte.
    pub fn read(from: &mut impl Read) -> anyhow::Result<Self> {
        let mut head = [0; 2];
        from.read_exact(&mut head)?;
        let [first, second] = head;
        let length = match second & 0x7f {
            126 => {
                let mut length = [0; 2];
                from.read_exact(&mut length)?;
                u64::from(u16::from_be_bytes(length))
            }
            127 => {
                let mut length = [0; 8];
                from.read_exact(&mut length)?;
                u64::from_be_bytes(length)
            }
            short => u64::from(short),
        };
        ensure!(length <= 1 << 20, "a frame of {length} bytes");
        let mut mask = [0; 4];
        if second & 0x80 != 0 {
            from.read_exact(&mut mask)?;
        }
        let mut payload = vec![0; usize::try_from(length)?];
        from.read_exact(&mut payload)?;
        for (byte, key) in payload.iter_mut().zip(mask.iter().cycle()) {
            *byte ^= key;
        }
        Ok(Self { first, payload })
    }
}

fn frame(first: u8, mask: Option<[u8; 4]>, payload: &[u8]) -> Vec<u8> {
    let masked = if mask.is_some() { 0x80 } else { 0 };
    let mut bytes = vec![first];
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(short @ 0..=125), _) => bytes.push(masked | short),
        (_, Ok(middle)) => {
            bytes.push(masked | 126);
            bytes.extend(middle.to_be_bytes());
        }
        _ => {
            bytes.push(masked | 127);
            bytes.extend((payload.len() as u64).to_be_bytes());
        }
    }
    bytes.extend(mask.iter().flatten());
    let key = mask.unwrap_or_default();
    bytes.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
    bytes
}

/// A frame as clients send it.
#[must_use]
pub fn of_client(first: u8, payload: &[u8]) -> Vec<u8> {
    frame(first, Some(MASK), payload)
}

/// A frame as servers send it.
#[must_use]
pub fn of_server(first: u8, payload: &[u8]) -> Vec<u8> {
    frame(first, None, payload)
}

/// A message of a client for channel `number` as a subprotocol writes it.
#[must_use]
pub fn typed(is_base64: bool, number: u8, bytes: &[u8]) -> Vec<u8> {
    let (kind, payload) = on_channel(is_base64, number, bytes);
    of_client(LAST | kind, &payload)
}

/// Kind and payload of a message on a channel.
#[must_use]
pub fn on_channel(is_base64: bool, number: u8, bytes: &[u8]) -> (u8, Vec<u8>) {
    if is_base64 {
        (TEXT, [&[b'0' + number], STANDARD.encode(bytes).as_bytes()].concat())
    } else {
        (BINARY, [&[number], bytes].concat())
    }
}

/// Message `number` of [`crate::fake::Then::Pour`]: output that begins with its number.
#[must_use]
pub fn numbered(number: u32) -> Vec<u8> {
    let mut payload = vec![b'.'; NUMBERED];
    payload.splice(..5, [&[1], number.to_be_bytes().as_slice()].concat());
    of_server(LAST | BINARY, &payload)
}

/// A container's side of a command that writes what it reads: each message comes back one channel up (standard input is 0,
/// output 1), a ping is answered. It ends well at [`EXIT`], at the end of its input (fifth version) or at the client's end; it says
/// so with `says_status` only, which servers do from the fourth version on.
/// `keep` is shown each payload.
///
/// # Errors
/// The connection broke.
pub fn serve_cat(
    from: &mut impl Read,
    to: &mut impl Write,
    says_status: bool,
    keep: &mut dyn FnMut(&[u8]) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    loop {
        let came = Frame::read(from)?;
        keep(&came.payload)?;
        let is_base64 = came.kind() == TEXT;
        match (came.kind(), came.payload.split_first()) {
            (CLOSE, _) => return Ok(to.write_all(&of_server(LAST | CLOSE, &came.payload))?),
            (PING, _) => to.write_all(&of_server(LAST | PONG, &came.payload))?,
            (TEXT | BINARY, Some((channel, bytes))) => {
                let is_exit = bytes == EXIT || bytes == STANDARD.encode(EXIT).as_bytes();
                if is_exit || *channel == 255 {
                    if says_status {
                        let (kind, payload) = on_channel(is_base64, 3, SUCCESS);
                        to.write_all(&of_server(LAST | kind, &payload))?;
                    }
                    return Ok(to.write_all(&of_server(LAST | CLOSE, &1000_u16.to_be_bytes()))?);
                }
                let back = [&[channel.wrapping_add(1)], bytes].concat();
                to.write_all(&of_server(came.first, &back))?;
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for length in [0, 1, 125, 126, 65_535, 65_536] {
            let payload = vec![7; length];
            for written in [of_client(LAST | BINARY, &payload), of_server(LAST | BINARY, &payload)] {
                let read = Frame::read(&mut written.as_slice()).unwrap();
                assert_eq!((read.first, read.payload.len()), (LAST | BINARY, length));
                assert!(read.payload.iter().all(|byte| *byte == 7));
            }
        }
    }

    #[test]
    fn a_cat_says_what_it_reads_and_ends_well() {
        let typed = [typed(false, 0, b"hi"), typed(false, 0, EXIT)].concat();
        let (mut said, mut kept) = (Vec::new(), Vec::new());
        let mut keep = |piece: &[u8]| {
            kept.extend_from_slice(piece);
            Ok(())
        };
        serve_cat(&mut typed.as_slice(), &mut said, true, &mut keep).unwrap();
        assert_eq!(kept, b"\0hi\0exit");
        let mut said = said.as_slice();
        let frames: Vec<Frame> = std::iter::from_fn(|| Frame::read(&mut said).ok()).collect();
        let payloads: Vec<&[u8]> = frames.iter().map(|frame| frame.payload.as_slice()).collect();
        let status = [&[3], SUCCESS].concat();
        assert_eq!(payloads, [b"\x01hi".as_slice(), &status, &[3, 232]]);
        let (mut input, mut said) = (typed.as_slice(), Vec::new());
        serve_cat(&mut input, &mut said, false, &mut |_| Ok(())).unwrap();
        let old = [of_server(LAST | BINARY, b"\x01hi"), of_server(LAST | CLOSE, &[3, 232])];
        assert_eq!(said, old.concat(), "an old version says nothing");
    }
}
