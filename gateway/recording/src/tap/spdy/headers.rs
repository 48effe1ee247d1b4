//! Header blocks of SPDY/3.1 (draft-mbelshe-httpbis-spdy-00 §2.6.10): names and values, all blocks of one direction through one
//! zlib stream with a preset dictionary.
//!
//! A block must be exactly one list of names and values: what it inflates to beyond that would be the beginning of the next list
//! for Go's reader. It must end where its compressor was flushed, and have been flushed once: Go's reader is done behind the first
//! flush, and then gives up the connection or not, by how much of the rest has arrived (spdystream `readSynStreamFrame`, `headerReader.N`).
//! Invariant: a block costs at most 64 KiB whatever it inflates to; afterwards about 1 KiB is kept.

use flate2::{Decompress, FlushDecompress, Status};

use super::super::Why;
use super::super::negotiate::port;
use super::dictionary::DICTIONARY;

/// The blocks of one direction.
#[derive(Debug, Default)]
pub(super) struct Headers {
    inflate: Option<Decompress>,
    block: Vec<u8>,
}

/// What a stream says of itself when it is opened (k8s.io/api/core/v1 `StreamType`, `PortHeader`, `PortForwardRequestIDHeader`).
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Opening<'a> {
    pub(super) kind: Option<StreamKind>,
    pub(super) port: Option<u16>,
    /// Empty if it has none.
    pub(super) request: &'a [u8],
}

/// `streamType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StreamKind {
    Stdin,
    Stdout,
    Stderr,
    Error,
    Resize,
    Data,
}

impl Headers {
    /// Reads the next block of the direction. Each must be shown, or the ones behind it cannot be read.
    pub(super) fn read(&mut self, compressed: &[u8]) -> Result<Opening<'_>, Why> {
        if self.block.capacity() > KEPT_BYTES {
            self.block = Vec::new();
        }
        self.block.clear();
        self.inflate(compressed)?;
        let opening = opening(&self.block)?;
        let flushed = compressed.windows(FLUSHED.len()).position(|bytes| bytes == FLUSHED);
        if flushed.is_none_or(|at| at + FLUSHED.len() < compressed.len()) {
            return Err("a SPDY header block that does not end with its list");
        }
        Ok(opening)
    }

    pub(super) fn held_bytes(&self) -> usize {
        self.block.capacity()
    }

    fn inflate(&mut self, mut compressed: &[u8]) -> Result<(), Why> {
        let inflate = self.inflate.get_or_insert_with(|| Decompress::new(true));
        loop {
            if self.block.len() == self.block.capacity() {
                let most = MAX_BLOCK_BYTES + 1 - self.block.len();
                self.block.reserve_exact(KEPT_BYTES.max(self.block.len()).min(most));
            }
            let (read, written) = (inflate.total_in(), self.block.len());
            let outcome = inflate.decompress_vec(compressed, &mut self.block, FlushDecompress::Sync);
            let taken = usize::try_from(inflate.total_in() - read).unwrap_or(usize::MAX);
            compressed = compressed.get(taken..).unwrap_or_default();
            if self.block.len() > MAX_BLOCK_BYTES {
                return Err("a SPDY header block that inflates to more than 64 KiB");
            }
            match outcome {
                Ok(Status::StreamEnd) => return Err("an end of SPDY header compression"),
                Ok(Status::Ok | Status::BufError) => {
                    let has_room = self.block.len() < self.block.capacity();
                    let is_idle = taken == 0 && self.block.len() == written;
                    match (compressed.is_empty(), has_room, is_idle) {
                        (true, true, _) => return Ok(()),
                        (false, true, true) => return Err(INVALID),
                        _ => {}
                    }
                }
                // Asked for once, behind the two bytes that begin the zlib stream.
                Err(error) if error.needs_dictionary().is_some() => {
                    inflate.set_dictionary(DICTIONARY).map_err(|_| INVALID)?;
                }
                Err(_) => return Err(INVALID),
            }
        }
    }
}

/// Reads the list of names and values.
fn opening(block: &[u8]) -> Result<Opening<'_>, Why> {
    let mut opening = Opening::default();
    let mut names: Vec<&[u8]> = Vec::new();
    let (count, mut rest) = number(block)?;
    if count > MAX_PAIRS {
        return Err("too many SPDY headers");
    }
    for _ in 0..count {
        let (name, behind) = text(rest)?;
        let (value, behind) = text(behind)?;
        rest = behind;
        let is_lower = name
            .iter()
            .all(|byte| byte.is_ascii_graphic() && !byte.is_ascii_uppercase());
        if !is_lower || REFUSED.contains(&name) {
            return Err("a SPDY header that Go's reader refuses");
        }
        // Several values, in one header or in several, are several meanings.
        if names.contains(&name) || value.contains(&0) {
            return Err("a SPDY stream that says twice what it is");
        }
        names.push(name);
        match name {
            b"streamtype" => opening.kind = kind(value),
            b"port" => opening.port = port(value),
            b"requestid" => opening.request = value,
            _ => {}
        }
    }
    if !rest.is_empty() {
        return Err("a SPDY header block longer than its list");
    }
    if opening.request.len() > MAX_REQUEST_BYTES {
        return Err("a SPDY request id of more than 64 bytes");
    }
    Ok(opening)
}

fn kind(value: &[u8]) -> Option<StreamKind> {
    Some(match value {
        b"stdin" => StreamKind::Stdin,
        b"stdout" => StreamKind::Stdout,
        b"stderr" => StreamKind::Stderr,
        b"error" => StreamKind::Error,
        b"resize" => StreamKind::Resize,
        b"data" => StreamKind::Data,
        _ => return None,
    })
}

fn number(bytes: &[u8]) -> Result<(u32, &[u8]), Why> {
    let (number, rest) = bytes.split_first_chunk::<4>().ok_or(TOO_SHORT)?;
    Ok((u32::from_be_bytes(*number), rest))
}

fn text(bytes: &[u8]) -> Result<(&[u8], &[u8]), Why> {
    let (length, rest) = number(bytes)?;
    let length = usize::try_from(length).map_err(|_| TOO_SHORT)?;
    rest.split_at_checked(length).ok_or(TOO_SHORT)
}

const INVALID: Why = "a SPDY header block that does not inflate";
const TOO_SHORT: Why = "a SPDY header block shorter than its list";
/// Inflated.
const MAX_BLOCK_BYTES: usize = 64 * 1024;
/// A stream of Kubernetes has up to three.
const MAX_PAIRS: u32 = 16;
/// spdystream `invalidReqHeaders`.
const REFUSED: [&[u8]; 5] = [
    b"connection",
    b"host",
    b"keep-alive",
    b"proxy-connection",
    b"transfer-encoding",
];
/// The end of the empty piece that a flush leaves (RFC 1951 §3.2.4).
const FLUSHED: [u8; 4] = [0, 0, 0xff, 0xff];
/// kubectl counts from 0.
const MAX_REQUEST_BYTES: usize = 64;
const KEPT_BYTES: usize = 1024;
