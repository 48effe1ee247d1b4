//! One frame on disk: the smallest thing the ledger writes, and the parser of it. Not a file layout (see `segment`).
//!
//! ```text
//! offset  0  len      u32   length of the leaf (or part) in bytes, 1 ..= 65,535 (part: 131,072)
//!         4  crc32c   u32   over bytes 0..4 and 8..20+len (RFC 3720 appendix B.4 polynomial)
//!         8  kind     u8    a record kind, or 128 for a part
//!         9  flags    u8    bit 0: first frame of a batch; all others zero
//!        10  version  u16   1
//!        12  seq      u64   of the leaf; a part carries the number of the leaf that follows it
//!        20  leaf     len bytes
//! ```
//!
//! All numbers are little-endian. The leaf is compact JSON that begins `{"v":1,"kind":"<name>","seq":<n>`, so that kind,
//! version and sequence stand both in frame and leaf; [`Frame::check_leaf`] compares them.
//!
//! Invariant: [`read_frame`] takes foreign bytes, never panics, and never returns a frame whose checksum does not hold.

use model::event::RecordKind;

use crate::leaf;

/// Bytes before the leaf.
pub const FRAME_HEADER_LEN: usize = 20;
/// The longest leaf that is accepted or read, in bytes.
pub const MAX_LEAF_LEN: usize = 65_535;
/// The longest part that is accepted or read, in bytes: 64 KiB of body with room for its sealing.
pub const MAX_PART_LEN: usize = 131_072;
/// The version of frame and leaf.
pub const VERSION: u16 = 1;
/// The kind number of a part.
pub const PART_CODE: u8 = 128;

const BATCH_START: u8 = 1;
const CRC_FROM: usize = 8;

/// What a frame holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameKind {
    /// A record: a leaf of the tree.
    Leaf(RecordKind),
    /// Bytes that belong to the next leaf, opaque to the ledger; no leaf of the tree.
    Part,
}

impl FrameKind {
    /// The number in the frame.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Leaf(kind) => kind.code(),
            Self::Part => PART_CODE,
        }
    }

    fn from_code(code: u8) -> Option<Self> {
        if code == PART_CODE {
            Some(Self::Part)
        } else {
            RecordKind::from_code(code).map(Self::Leaf)
        }
    }

    const fn max_len(self) -> usize {
        match self {
            Self::Leaf(_) => MAX_LEAF_LEN,
            Self::Part => MAX_PART_LEN,
        }
    }
}

/// A frame whose checksum holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// What it holds.
    pub kind: FrameKind,
    /// Whether everything before it was synced when it was written (see `segment::scan`).
    pub starts_batch: bool,
    /// Sequence number of the leaf, or of the leaf that the part belongs to.
    pub seq: u64,
    /// The leaf, or the part's bytes.
    pub body: &'a [u8],
}

/// Why bytes are no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Nothing was written here yet.
    #[error("nothing is written here")]
    Empty,
    /// The bytes end inside the frame.
    #[error("the frame needs {need} bytes and {have} are there")]
    Short {
        /// Bytes that the frame needs in all, as far as is known.
        need: usize,
        /// Bytes that are there.
        have: usize,
    },
    /// A length that no frame has.
    #[error("a frame cannot be {0} bytes long")]
    Length(u32),
    /// An unknown kind.
    #[error("kind {0} is unknown to version 1")]
    Kind(u8),
    /// Unknown flags.
    #[error("flags {0:#04x} are unknown to version 1")]
    Flags(u8),
    /// Another version.
    #[error("version {0} is not known")]
    Version(u16),
    /// The checksum does not hold.
    #[error("the checksum does not hold")]
    Checksum,
}

/// Why the leaf does not belong to its frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("kind, version or sequence in the leaf differ from the frame")]
pub struct LeafMismatch;

impl Frame<'_> {
    /// Compares kind, version and sequence in the leaf with those of the frame; a part has none.
    ///
    /// # Errors
    /// [`LeafMismatch`] when they differ or the leaf does not begin with them.
    pub fn check_leaf(&self) -> Result<(), LeafMismatch> {
        match self.kind {
            FrameKind::Part => Ok(()),
            FrameKind::Leaf(kind) if leaf::begins_with(self.body, kind, self.seq) => Ok(()),
            FrameKind::Leaf(_) => Err(LeafMismatch),
        }
    }

    /// Bytes of the whole frame on disk.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        FRAME_HEADER_LEN + self.body.len()
    }
}

/// Reads the frame at the start of `data`.
///
/// # Errors
/// [`FrameError::Empty`] where nothing was written (no bytes, or a length of zero), else what is wrong with the bytes.
pub fn read_frame(data: &[u8]) -> Result<Frame<'_>, FrameError> {
    let head = Head::read(data)?;
    let need = FRAME_HEADER_LEN + head.len;
    let (Some(covered), Some(body), Some(len)) = (
        data.get(CRC_FROM..need),
        data.get(FRAME_HEADER_LEN..need),
        data.get(..4),
    ) else {
        return Err(FrameError::Short { need, have: data.len() });
    };
    if crc32c::crc32c_append(crc32c::crc32c(len), covered) != head.crc {
        return Err(FrameError::Checksum);
    }
    Ok(Frame {
        kind: head.kind,
        starts_batch: head.flags & BATCH_START != 0,
        seq: head.seq,
        body,
    })
}

struct Head {
    len: usize,
    crc: u32,
    kind: FrameKind,
    flags: u8,
    seq: u64,
}

impl Head {
    fn read(data: &[u8]) -> Result<Self, FrameError> {
        let short = FrameError::Short {
            need: FRAME_HEADER_LEN,
            have: data.len(),
        };
        let Some((len, rest)) = data.split_first_chunk::<4>() else {
            return Err(if data.iter().all(|byte| *byte == 0) {
                FrameError::Empty
            } else {
                short
            });
        };
        let len = u32::from_le_bytes(*len);
        if len == 0 {
            return Err(FrameError::Empty);
        }
        let (crc, rest) = rest.split_first_chunk::<4>().ok_or(short)?;
        let (&[kind, flags], rest) = rest.split_first_chunk::<2>().ok_or(short)?;
        let (version, rest) = rest.split_first_chunk::<2>().ok_or(short)?;
        let (seq, _) = rest.split_first_chunk::<8>().ok_or(short)?;
        let version = u16::from_le_bytes(*version);
        if version != VERSION {
            return Err(FrameError::Version(version));
        }
        if flags & !BATCH_START != 0 {
            return Err(FrameError::Flags(flags));
        }
        let kind = FrameKind::from_code(kind).ok_or(FrameError::Kind(kind))?;
        let bytes = usize::try_from(len).map_err(|_| FrameError::Length(len))?;
        if bytes > kind.max_len() {
            return Err(FrameError::Length(len));
        }
        let crc = u32::from_le_bytes(*crc);
        Ok(Self {
            len: bytes,
            crc,
            kind,
            flags,
            seq: u64::from_le_bytes(*seq),
        })
    }
}

/// Appends one frame to `out`; `fill` writes its leaf or part. Returns where in `out` those bytes stand.
///
/// The caller has checked the length (`MAX_LEAF_LEN`, `MAX_PART_LEN`); a longer one saturates and would not be read.
pub(crate) fn write_frame(
    out: &mut Vec<u8>,
    kind: FrameKind,
    starts_batch: bool,
    seq: u64,
    fill: impl FnOnce(&mut Vec<u8>),
) -> std::ops::Range<usize> {
    let start = out.len();
    out.extend_from_slice(&[0; 8]);
    out.push(kind.code());
    out.push(if starts_batch { BATCH_START } else { 0 });
    out.extend_from_slice(&VERSION.to_le_bytes());
    out.extend_from_slice(&seq.to_le_bytes());
    let body = out.len();
    fill(out);
    let len = u32::try_from(out.len() - body).unwrap_or(u32::MAX).to_le_bytes();
    let crc = crc32c::crc32c_append(crc32c::crc32c(&len), out.get(start + CRC_FROM..).unwrap_or_default());
    if let Some((head, _)) = out
        .get_mut(start..)
        .and_then(|frame| frame.split_first_chunk_mut::<8>())
    {
        let [a, b, c, d] = len;
        let [e, f, g, h] = crc.to_le_bytes();
        *head = [a, b, c, d, e, f, g, h];
    }
    body..out.len()
}

#[cfg(test)]
mod tests;
