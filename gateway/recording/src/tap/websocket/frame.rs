//! The frames of one direction of a WebSocket (RFC 6455 §5), read as they come.
//!
//! It holds no payload but that of a control frame, which is short: an endless message costs no memory, and a masked one is unmasked into a scratch buffer piece by piece.
//! Invariant: what it says does not depend on how the bytes were cut.

use super::super::{Control, Why};

/// Where in its frames a direction stands.
#[derive(Debug)]
pub(super) struct Frames {
    /// Clients mask, servers do not (§5.1).
    is_masked: bool,
    header: [u8; LONGEST_HEADER],
    have: usize,
    at: At,
    left: u64,
    /// The key, turned so that its first byte is for the next byte of the payload.
    mask: [u8; 4],
    has_open_message: bool,
    /// A close frame has come.
    has_closed: bool,
    scratch: Box<[u8]>,
    /// The payload of a control frame, as far as it has come; it is told whole.
    control: [u8; LONGEST_CONTROL as usize],
    has_control: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Header,
    Data {
        is_last: bool,
    },
    /// Ping or pong.
    Control,
    Close,
}

/// What frames are made of.
#[derive(Debug)]
pub(super) enum Part<'a> {
    /// A message begins.
    Begin { is_text: bool },
    /// It goes on in another frame, of `bytes`.
    Continue { bytes: u64 },
    /// A piece of its payload, unmasked; never empty.
    Piece(&'a [u8]),
    /// It ends.
    End,
    /// The payload of a control frame; never empty.
    Control { kind: Control, bytes: &'a [u8] },
    /// The connection was closed.
    Close,
}

type Take<'t> = &'t mut dyn FnMut(Part<'_>) -> Result<(), Why>;

impl Frames {
    /// Before the first frame of a client, whose frames are masked, or of a server, whose are not.
    pub(super) fn new(is_masked: bool) -> Self {
        let scratch = if is_masked { SCRATCH_BYTES } else { 0 };
        Self {
            is_masked,
            header: [0; LONGEST_HEADER],
            have: 0,
            at: At::Header,
            left: 0,
            mask: [0; 4],
            has_open_message: false,
            has_closed: false,
            scratch: vec![0; scratch].into_boxed_slice(),
            control: [0; LONGEST_CONTROL as usize],
            has_control: 0,
        }
    }

    /// Reads `bytes`, which come next, and hands on what they are.
    pub(super) fn feed(&mut self, mut bytes: &[u8], take: Take<'_>) -> Result<(), Why> {
        while let Some((first, rest)) = bytes.split_first() {
            bytes = match self.at {
                At::Header => {
                    self.header_byte(*first)?;
                    if self.have == self.header_bytes() {
                        self.begin_frame(take)?;
                    }
                    rest
                }
                At::Data { .. } => self.data(bytes, take)?,
                At::Control | At::Close => self.control(bytes, take)?,
            };
        }
        Ok(())
    }

    /// Whether a message may begin here; never behind a close frame.
    pub(super) fn is_between_messages(&self) -> bool {
        self.at == At::Header && self.have == 0 && !self.has_open_message && !self.has_closed
    }

    fn header_byte(&mut self, byte: u8) -> Result<(), Why> {
        if let Some(place) = self.header.get_mut(self.have) {
            *place = byte;
        }
        self.have += 1;
        match self.have {
            1 => self.check_first(byte),
            2 => self.check_second(byte),
            // Go's reader drops this bit and reads on, so the two would part here.
            3 if self.length_code() == LENGTH_64 && byte & 0x80 != 0 => Err("a WebSocket frame of 2^63 bytes or more"),
            _ => Ok(()),
        }
    }

    fn check_first(&self, byte: u8) -> Result<(), Why> {
        if byte & RESERVED_BITS != 0 {
            return Err("a WebSocket frame with reserved bits"); // no extension is ever agreed upon
        }
        if self.has_closed && byte & OPCODE < CLOSE {
            // Nothing may follow (§1.4), but a peer that reads on would take it.
            return Err("a WebSocket message behind a close frame");
        }
        match (byte & OPCODE, self.has_open_message) {
            (CONTINUATION, false) => Err("a WebSocket continuation of nothing"),
            (TEXT | BINARY, true) => Err("a WebSocket message within a message"),
            (CONTINUATION | TEXT | BINARY, _) => Ok(()),
            (CLOSE | PING | PONG, _) if byte & LAST == 0 => Err("a WebSocket control frame in fragments"),
            (CLOSE | PING | PONG, _) => Ok(()),
            _ => Err("a WebSocket frame of a reserved kind"),
        }
    }

    fn check_second(&self, byte: u8) -> Result<(), Why> {
        let is_masked = byte & MASKED != 0;
        if is_masked != self.is_masked {
            return Err(match is_masked {
                true => "a masked WebSocket frame of a server",
                false => "an unmasked WebSocket frame of a client",
            });
        }
        if self.opcode() >= CLOSE && byte & LENGTH > LONGEST_CONTROL {
            return Err("a WebSocket control frame of more than 125 bytes");
        }
        Ok(())
    }

    /// How long this header is, as far as its first two bytes tell.
    fn header_bytes(&self) -> usize {
        if self.have < 2 {
            return LONGEST_HEADER;
        }
        let length = match self.length_code() {
            LENGTH_64 => 8,
            LENGTH_16 => 2,
            _ => 0,
        };
        2 + length + if self.is_masked { 4 } else { 0 }
    }

    fn begin_frame(&mut self, take: Take<'_>) -> Result<(), Why> {
        let [first, _, a, b, c, d, e, f, g, h, ..] = self.header;
        self.left = match self.length_code() {
            LENGTH_64 => u64::from_be_bytes([a, b, c, d, e, f, g, h]),
            LENGTH_16 => u64::from(u16::from_be_bytes([a, b])),
            short => u64::from(short),
        };
        if let Some(key) = self.header.get(..self.have).and_then(<[u8]>::last_chunk::<4>) {
            self.mask = *key;
        }
        self.have = 0;
        self.at = match self.opcode() {
            CLOSE => At::Close,
            PING | PONG => At::Control,
            kind => {
                take(match kind {
                    CONTINUATION => Part::Continue { bytes: self.left },
                    _ => Part::Begin { is_text: kind == TEXT },
                })?;
                self.has_open_message = true;
                At::Data {
                    is_last: first & LAST != 0,
                }
            }
        };
        self.end_frame(take)
    }

    /// Takes what of `bytes` belongs to this frame and gives back the rest.
    fn data<'b>(&mut self, bytes: &'b [u8], take: Take<'_>) -> Result<&'b [u8], Why> {
        let (mut piece, rest) = self.split(bytes);
        if self.is_masked {
            while !piece.is_empty() {
                let (now, later) = piece.split_at(piece.len().min(self.scratch.len()));
                if let Some(plain) = self.scratch.get_mut(..now.len()) {
                    unmask(now, plain, self.mask);
                    take(Part::Piece(plain))?;
                }
                self.mask.rotate_left(now.len() % 4);
                piece = later;
            }
        } else {
            take(Part::Piece(piece))?;
        }
        self.end_frame(take)?;
        Ok(rest)
    }

    fn control<'b>(&mut self, bytes: &'b [u8], take: Take<'_>) -> Result<&'b [u8], Why> {
        let (piece, rest) = self.split(bytes);
        let end = self.has_control.saturating_add(piece.len());
        if let Some(plain) = self.control.get_mut(self.has_control..end) {
            let mask = if self.is_masked { self.mask } else { [0; 4] };
            unmask(piece, plain, mask);
        }
        self.has_control = end;
        self.mask.rotate_left(piece.len() % 4);
        self.end_frame(take)?;
        Ok(rest)
    }

    /// Tells what a control frame carried, if anything.
    fn tell_control(&mut self, take: Take<'_>) -> Result<(), Why> {
        let length = std::mem::take(&mut self.has_control);
        let kind = match self.opcode() {
            CLOSE => Control::Close,
            PING => Control::Ping,
            _ => Control::Pong,
        };
        match self.control.get(..length) {
            Some(bytes) if length > 0 => take(Part::Control { kind, bytes }),
            _ => Ok(()),
        }
    }

    fn split<'b>(&mut self, bytes: &'b [u8]) -> (&'b [u8], &'b [u8]) {
        let taken = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
        self.left -= taken as u64;
        bytes.split_at(taken)
    }

    /// Goes on to the next frame if all of this one has come.
    fn end_frame(&mut self, take: Take<'_>) -> Result<(), Why> {
        if self.left > 0 {
            return Ok(());
        }
        match self.at {
            At::Data { is_last: true } => {
                self.has_open_message = false;
                self.at = At::Header;
                take(Part::End)
            }
            At::Close => {
                self.at = At::Header;
                self.tell_control(take)?;
                // Said once.
                if std::mem::replace(&mut self.has_closed, true) {
                    return Ok(());
                }
                take(Part::Close)
            }
            At::Control => {
                self.at = At::Header;
                self.tell_control(take)
            }
            At::Header | At::Data { is_last: false } => {
                self.at = At::Header;
                Ok(())
            }
        }
    }

    fn opcode(&self) -> u8 {
        let [first, ..] = self.header;
        first & OPCODE
    }

    fn length_code(&self) -> u8 {
        let [_, second, ..] = self.header;
        second & LENGTH
    }
}

/// Writes `masked` into `plain`, which is as long (§5.3). Eight bytes at a time, which the compiler widens further.
fn unmask(masked: &[u8], plain: &mut [u8], [a, b, c, d]: [u8; 4]) {
    let key = [a, b, c, d, a, b, c, d];
    let (from, from_rest) = masked.as_chunks::<8>();
    let (to, to_rest) = plain.as_chunks_mut::<8>();
    let word = u64::from_ne_bytes(key);
    for (to, from) in to.iter_mut().zip(from) {
        *to = (u64::from_ne_bytes(*from) ^ word).to_ne_bytes();
    }
    for ((to, from), key) in to_rest.iter_mut().zip(from_rest).zip(key) {
        *to = from ^ key;
    }
}

const LONGEST_HEADER: usize = 14;
/// A TLS record of the person fits.
const SCRATCH_BYTES: usize = 16 * 1024;
const LAST: u8 = 0x80;
const RESERVED_BITS: u8 = 0x70;
const OPCODE: u8 = 0x0f;
const MASKED: u8 = 0x80;
const LENGTH: u8 = 0x7f;
const LENGTH_16: u8 = 126;
const LENGTH_64: u8 = 127;
const LONGEST_CONTROL: u8 = 125;
const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;
