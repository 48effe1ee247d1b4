//! Reads a segment in pieces, and hashes each frame while the processor still has its bytes at hand.
//!
//! A segment is larger than any cache: read as a whole and walked afterwards, each of its bytes would be fetched from memory a second time. So all that
//! needs every byte of a frame is done here, right behind the reading: its checksum, its leaf's hash, and whether its leaf can speak of parts. What a frame
//! means, and what stands where none can be read, is the walk's (`segment`).

use crate::disk::DiskFile;
use crate::frame::{FRAME_HEADER_LEN, Frame, FrameKind, read_frame};
use crate::parts::may_declare;
use crate::segment::Header;
use crate::tree::{Hash, leaf_hash, leaf_hash_behind_zero};

/// Bytes that are read at once: less than a core's own cache has.
const PIECE: usize = 256 << 10;

/// A frame whose checksum holds, by the place where it begins.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    pos: usize,
    body: usize,
    kind: FrameKind,
    starts_batch: bool,
    seq: u64,
    /// Whether leaf and frame agree.
    pub(super) agrees: bool,
    /// Whether the leaf can speak of parts.
    pub(super) may_declare: bool,
    /// Of a leaf.
    pub(super) hash: Option<Hash>,
}

impl Known {
    /// All that can be known of a frame of `data` that begins at `pos`.
    pub(super) fn of(data: &[u8], pos: usize, frame: &Frame<'_>) -> Self {
        let is_leaf = matches!(frame.kind, FrameKind::Leaf(_));
        let hash = || {
            // The last byte of a frame's header is the highest of the number, which is zero below 2^56 records.
            let behind_zero = data.get(pos + FRAME_HEADER_LEN - 1..pos + frame.encoded_len());
            behind_zero
                .and_then(leaf_hash_behind_zero)
                .unwrap_or_else(|| leaf_hash(frame.body))
        };
        Self {
            pos,
            body: frame.body.len(),
            kind: frame.kind,
            starts_batch: frame.starts_batch,
            seq: frame.seq,
            agrees: frame.check_leaf().is_ok(),
            may_declare: is_leaf && may_declare(frame.body),
            hash: is_leaf.then(hash),
        }
    }

    /// The frame itself, if all of it is in `data`.
    pub(super) fn frame<'a>(&self, data: &'a [u8]) -> Option<Frame<'a>> {
        let from = self.pos + FRAME_HEADER_LEN;
        Some(Frame {
            kind: self.kind,
            starts_batch: self.starts_batch,
            seq: self.seq,
            body: data.get(from..from + self.body)?,
        })
    }

    /// Where it begins.
    pub(super) const fn pos(&self) -> usize {
        self.pos
    }
}

/// The bytes of a segment, and what is known of its frames up to the first place where none can be read. Used again for the next one: a new buffer is a page fault for
/// each page, which costs about as much as the reading.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    pub(super) data: Vec<u8>,
    pub(super) known: Vec<Known>,
}

impl Ahead {
    /// Reads at most `most` bytes of this file.
    pub(super) fn read(&mut self, file: &dyn DiskFile, most: u64) -> std::io::Result<()> {
        let len = usize::try_from(file.len()?.min(most)).unwrap_or(usize::MAX);
        if self.data.capacity() < len {
            self.data = vec![0; len];
        } else {
            self.data.resize(len, 0);
        }
        self.known.clear();
        let (mut have, mut pos): (usize, Option<usize>) = (0, None);
        loop {
            let to = have.saturating_add(PIECE).min(len);
            let Some(rest) = self.data.get_mut(have..to).filter(|rest| !rest.is_empty()) else {
                break;
            };
            match file.read_at(rest, u64::try_from(have).unwrap_or(u64::MAX))? {
                0 => break,
                read => have += read,
            }
            let there = self.data.get(..have).unwrap_or_default();
            // The header stands before the first frame, whether it is the right one or not.
            let Some(mut at) = pos.or_else(|| Header::decode(there).map(|(_, len)| len)) else {
                continue;
            };
            while let Some(frame) = there.get(at..).and_then(|rest| read_frame(rest).ok()) {
                self.known.push(Known::of(there, at, &frame));
                at += frame.encoded_len();
            }
            pos = Some(at);
        }
        self.data.truncate(have);
        Ok(())
    }
}
