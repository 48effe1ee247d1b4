//! The frames of one direction of SPDY/3.1 (draft-mbelshe-httpbis-spdy-00 §2.2), read as they come.
//!
//! Data passes without being held; a control frame is held, which bounds it. Lengths are exact: Go's reader
//! (github.com/moby/spdystream/spdy) reads as many bytes of a RST_STREAM, PING or SETTINGS as it expects, whatever the frame's
//! length says, and takes what is left for the next frame. Invariant: what it says does not depend on how the bytes were cut.

use super::super::Why;

/// Where in its frames a direction stands.
#[derive(Debug)]
pub(super) struct Frames {
    header: [u8; HEADER_BYTES],
    have: usize,
    at: At,
    left: u32,
    /// Of the control frame that is being read.
    body: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
enum At {
    Header,
    Data { stream: u32, is_last: bool },
    Control { kind: Kind, flags: u8 },
}

/// The kinds of control frames (§2.6); Go's reader knows no CREDENTIAL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    SynStream,
    SynReply,
    RstStream,
    Settings,
    Ping,
    GoAway,
    Headers,
    WindowUpdate,
}

/// What frames are made of.
#[derive(Debug)]
pub(super) enum Part<'a> {
    /// A piece of a stream's data; never empty.
    Data { stream: u32, bytes: &'a [u8] },
    /// The last data frame of a stream was read.
    Last { stream: u32 },
    /// A whole control frame.
    Control { kind: Kind, flags: u8, body: &'a [u8] },
}

type Take<'t> = &'t mut dyn FnMut(Part<'_>) -> Result<(), Why>;

impl Frames {
    pub(super) fn new() -> Self {
        Self {
            header: [0; HEADER_BYTES],
            have: 0,
            at: At::Header,
            left: 0,
            body: Vec::new(),
        }
    }

    /// Reads `bytes`, which come next, and hands on what they are.
    pub(super) fn feed(&mut self, mut bytes: &[u8], take: Take<'_>) -> Result<(), Why> {
        while !bytes.is_empty() {
            bytes = match self.at {
                At::Header => self.header(bytes, take)?,
                At::Data { stream, .. } => {
                    let (piece, rest) = self.split(bytes);
                    take(Part::Data { stream, bytes: piece })?;
                    self.end_frame(take)?;
                    rest
                }
                At::Control { .. } => {
                    let (piece, rest) = self.split(bytes);
                    self.body.extend_from_slice(piece);
                    self.end_frame(take)?;
                    rest
                }
            };
        }
        Ok(())
    }

    /// Whether a frame may begin here.
    pub(super) fn is_between_frames(&self) -> bool {
        matches!(self.at, At::Header) && self.have == 0
    }

    pub(super) fn held_bytes(&self) -> usize {
        self.body.capacity()
    }

    fn header<'b>(&mut self, bytes: &'b [u8], take: Take<'_>) -> Result<&'b [u8], Why> {
        let (now, rest) = bytes.split_at(bytes.len().min(HEADER_BYTES - self.have));
        if let Some(places) = self.header.get_mut(self.have..self.have + now.len()) {
            places.copy_from_slice(now);
        }
        self.have += now.len();
        if self.have == HEADER_BYTES {
            self.have = 0;
            self.begin_frame()?;
            self.end_frame(take)?;
        }
        Ok(rest)
    }

    fn begin_frame(&mut self) -> Result<(), Why> {
        let [a, b, c, d, flags, high, middle, low] = self.header;
        self.left = u32::from_be_bytes([0, high, middle, low]);
        if a & CONTROL == 0 {
            let stream = u32::from_be_bytes([a, b, c, d]);
            if stream == 0 {
                return Err("SPDY data of stream 0");
            }
            let is_last = flags & FIN != 0;
            self.at = At::Data { stream, is_last };
            return Ok(());
        }
        if u16::from_be_bytes([a & !CONTROL, b]) != VERSION {
            return Err("a SPDY frame of another version");
        }
        self.at = match u16::from_be_bytes([c, d]) {
            1 => self.block(Kind::SynStream, flags, SYN_STREAM_BYTES)?,
            2 => self.block(Kind::SynReply, flags, STREAM_ID_BYTES)?,
            8 => self.block(Kind::Headers, flags, STREAM_ID_BYTES)?,
            3 => self.exactly(8, Kind::RstStream, flags)?,
            4 => self.settings(flags)?,
            6 => self.exactly(4, Kind::Ping, flags)?,
            7 => self.exactly(8, Kind::GoAway, flags)?,
            9 => self.exactly(8, Kind::WindowUpdate, flags)?,
            // Others shall go on (§2.2.1), Go's reader hangs up.
            _ => return Err("a SPDY frame of an unknown kind"),
        };
        Ok(())
    }

    /// A frame that ends in a header block, behind `fixed` bytes.
    fn block(&self, kind: Kind, flags: u8, fixed: u32) -> Result<At, Why> {
        match self.left.checked_sub(fixed) {
            None => Err("a SPDY frame too short for its kind"),
            Some(0..=MAX_BLOCK_BYTES) => Ok(At::Control { kind, flags }),
            Some(_) => Err("a SPDY header block of more than 64 KiB"),
        }
    }

    fn exactly(&self, bytes: u32, kind: Kind, flags: u8) -> Result<At, Why> {
        match (self.left == bytes, flags) {
            (true, 0) => Ok(At::Control { kind, flags }),
            (true, _) => Err("a SPDY frame with flags that its kind has not"),
            (false, _) => Err("a SPDY frame of another length than its kind has"),
        }
    }

    fn settings(&self, flags: u8) -> Result<At, Why> {
        let kind = Kind::Settings;
        if self.left > MAX_SETTINGS_BYTES {
            return Err("too many SPDY settings");
        }
        Ok(At::Control { kind, flags })
    }

    fn split<'b>(&mut self, bytes: &'b [u8]) -> (&'b [u8], &'b [u8]) {
        let taken = self.left.min(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
        self.left -= taken;
        bytes.split_at(usize::try_from(taken).unwrap_or(usize::MAX).min(bytes.len()))
    }

    /// Goes on to the next frame if all of this one has come.
    fn end_frame(&mut self, take: Take<'_>) -> Result<(), Why> {
        if self.left > 0 {
            return Ok(());
        }
        let ended = std::mem::replace(&mut self.at, At::Header);
        match ended {
            At::Data { stream, is_last: true } => take(Part::Last { stream }),
            At::Control { kind, flags } => {
                let body = &self.body;
                take(Part::Control { kind, flags, body })?;
                self.body.clear();
                if self.body.capacity() > KEPT_BYTES {
                    self.body = Vec::new();
                }
                Ok(())
            }
            At::Header | At::Data { is_last: false, .. } => Ok(()),
        }
    }
}

pub(super) const HEADER_BYTES: usize = 8;
pub(super) const CONTROL: u8 = 0x80;
pub(super) const FIN: u8 = 1;
const VERSION: u16 = 3;
const STREAM_ID_BYTES: u32 = 4;
/// Stream, associated stream, priority and slot (§2.6.1).
const SYN_STREAM_BYTES: u32 = 10;
/// Compressed. The draft asks for 16 KiB at least (§2.2.1); those of Kubernetes have about 60 bytes.
const MAX_BLOCK_BYTES: u32 = 64 * 1024;
/// There are eight kinds of settings of eight bytes each.
const MAX_SETTINGS_BYTES: u32 = 4 * 1024;
/// A larger buffer is given back.
const KEPT_BYTES: usize = 4 * 1024;
