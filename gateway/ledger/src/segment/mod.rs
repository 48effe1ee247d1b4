//! One segment file: its header, its footer, its name. Frames in between are `frame`'s, walking them is `scan`'s.
//!
//! ```text
//! <first seq, 20 digits>.seg     header | frames … | footer (only when sealed) | zeros (only while preallocated)
//! <first seq, 20 digits>.hashes  level-0 hashes of its leaves, 32 bytes each; derived, may be missing or short
//! spare-<n>                      a preallocated file of zeros that waits to become a segment
//! dropped-<seq>-<n>.bin          bytes that a recovery cut off, kept for a human
//! lock                           the writer's lock
//! ```
//!
//! The **header** carries the whole state at the segment's beginning: the tree's frontier, and every intent or stream
//! that has no end yet. So recovery reads the last segment only, however long ago a stream was opened.
//!
//! The **footer** is written after a sync of everything before it; a valid footer therefore proves that any damage before
//! it is damage and no torn write. A segment whose disk failed gets none: its successor's header says `abandoned` and
//! where the valid records of the old one end; bytes after that point are no records.

mod scan;

use std::collections::BTreeMap;

pub(crate) use scan::{BrokenWhy, Checksums, Evidence, Looked, Scan, evidence_of_sync, follow, scan, written};

use crate::leaf::ID_MAX;
use crate::tree::{Frontier, Hash};

/// Bytes of a footer.
pub const FOOTER_LEN: usize = 72;
/// The first eight bytes of a segment.
pub const HEADER_MAGIC: &[u8; 8] = b"GSLEDGER";
/// The first eight bytes of a footer; as a frame's length they would be impossible.
pub const FOOTER_MAGIC: &[u8; 8] = b"GSSEALED";

const VERSION: u16 = 1;
const ABANDONED: u16 = 1;
const FIXED_LEN: usize = 44;
const CRC_AT: usize = 12;
const OPEN_ENTRY_MAX: usize = 10 + ID_MAX;
/// No header is longer: what the options allow at most.
const HEADER_LEN_MAX: usize = 64 << 20;

/// An intent or stream that has no end yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OpenEntry {
    /// Whether it is a stream (`open`) and not an intent.
    pub(crate) is_stream: bool,
    /// The request id, cut to [`ID_MAX`] bytes.
    pub(crate) id: String,
}

/// By the sequence number of the intent.
pub(crate) type OpenSet = BTreeMap<u64, OpenEntry>;

/// The state at the beginning of a segment.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(crate) struct Header {
    /// The tree before the first record; its size is the first sequence number.
    pub(crate) frontier: Frontier,
    /// What had no end at that point.
    pub(crate) open: OpenSet,
    /// Where the records of an abandoned predecessor end; `None` after a sealed one.
    pub(crate) abandoned_at: Option<u64>,
}

impl Header {
    pub(crate) fn first_seq(&self) -> u64 {
        self.frontier.size()
    }

    /// magic 8 | version u16 | flags u16 | crc32c u32 | length u32 | open u32 | first seq u64 | predecessor's end u64 |
    /// peaks u32 | peaks 32 each | open: seq u64, kind u8, id length u8, id. The checksum covers all but itself.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(max_header_len(self.open.len()));
        out.extend_from_slice(HEADER_MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&(if self.abandoned_at.is_some() { ABANDONED } else { 0 }).to_le_bytes());
        out.extend_from_slice(&[0; 8]);
        out.extend_from_slice(&saturating_u32(self.open.len()).to_le_bytes());
        out.extend_from_slice(&self.first_seq().to_le_bytes());
        out.extend_from_slice(&self.abandoned_at.unwrap_or(0).to_le_bytes());
        out.extend_from_slice(&saturating_u32(self.frontier.peaks().len()).to_le_bytes());
        for peak in self.frontier.peaks() {
            out.extend_from_slice(peak);
        }
        for (seq, entry) in &self.open {
            out.extend_from_slice(&seq.to_le_bytes());
            out.push(u8::from(entry.is_stream));
            out.push(u8::try_from(entry.id.len()).unwrap_or(u8::MAX));
            out.extend_from_slice(entry.id.as_bytes());
        }
        let len = saturating_u32(out.len()).to_le_bytes();
        if let Some(at) = out.get_mut(CRC_AT + 4..CRC_AT + 8) {
            at.copy_from_slice(&len);
        }
        seal_crc(&mut out);
        out
    }

    /// Reads a header at the start of `data`; also says how long it is. `None` when it is not whole and valid.
    pub(crate) fn decode(data: &[u8]) -> Option<(Self, usize)> {
        let len = Self::len_in(data)?;
        let bytes = data.get(..len)?;
        if !crc_holds(bytes) {
            return None;
        }
        let mut fields = Fields(bytes.get(8..)?);
        let (version, flags) = (fields.u16()?, fields.u16()?);
        let (_crc, _len, open_count) = (fields.u32()?, fields.u32()?, fields.u32()?);
        let (first_seq, end, peak_count) = (fields.u64()?, fields.u64()?, fields.u32()?);
        if version != VERSION || flags & !ABANDONED != 0 || peak_count > 64 {
            return None;
        }
        let mut peaks = Vec::new();
        for _ in 0..peak_count {
            peaks.push(fields.array::<32>()?);
        }
        let mut open = OpenSet::new();
        for _ in 0..open_count {
            let (seq, kind, id_len) = (fields.u64()?, fields.u8()?, fields.u8()?);
            let id = std::str::from_utf8(fields.take(usize::from(id_len))?).ok()?.to_owned();
            open.insert(
                seq,
                OpenEntry {
                    is_stream: kind == 1,
                    id,
                },
            );
        }
        let frontier = Frontier::from_parts(first_seq, peaks)?;
        let abandoned_at = (flags & ABANDONED != 0).then_some(end);
        fields.0.is_empty().then_some((
            Self {
                frontier,
                open,
                abandoned_at,
            },
            len,
        ))
    }

    /// How long the header that begins here says it is; `None` when no header begins here.
    pub(crate) fn len_in(data: &[u8]) -> Option<usize> {
        if !data.starts_with(HEADER_MAGIC) {
            return None;
        }
        let len = Fields(data.get(CRC_AT + 4..)?).u32()?;
        usize::try_from(len)
            .ok()
            .filter(|len| (FIXED_LEN..=HEADER_LEN_MAX).contains(len))
    }
}

/// The longest header for this many open entries.
pub(crate) fn max_header_len(open: usize) -> usize {
    FIXED_LEN + 64 * 32 + open.saturating_mul(OPEN_ENTRY_MAX)
}

/// What a sealed segment says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Footer {
    /// Sequence number of the first record.
    pub first_seq: u64,
    /// Sequence number after the last record; equal to the first where there is none.
    pub next_seq: u64,
    /// Where the footer stands in the file.
    pub data_end: u64,
    /// The tree's root at size `next_seq`.
    pub root: Hash,
}

impl Footer {
    /// magic 8 | version u16 | flags u16 | crc32c u32 | first seq u64 | next seq u64 | data end u64 | root 32.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(FOOTER_LEN);
        out.extend_from_slice(FOOTER_MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&[0; 6]);
        out.extend_from_slice(&self.first_seq.to_le_bytes());
        out.extend_from_slice(&self.next_seq.to_le_bytes());
        out.extend_from_slice(&self.data_end.to_le_bytes());
        out.extend_from_slice(&self.root);
        seal_crc(&mut out);
        out
    }

    /// Reads a footer at the start of `data`; `None` when it is not whole and valid.
    pub(crate) fn decode(data: &[u8]) -> Option<Self> {
        let bytes = data.get(..FOOTER_LEN)?;
        if !bytes.starts_with(FOOTER_MAGIC) || !crc_holds(bytes) {
            return None;
        }
        let mut fields = Fields(bytes.get(8..)?);
        let (version, flags, _crc) = (fields.u16()?, fields.u16()?, fields.u32()?);
        if version != VERSION || flags != 0 {
            return None;
        }
        let (first_seq, next_seq, data_end) = (fields.u64()?, fields.u64()?, fields.u64()?);
        Some(Self {
            first_seq,
            next_seq,
            data_end,
            root: fields.array()?,
        })
    }
}

/// The file name of the segment that begins with this record.
pub(crate) fn segment_name(first_seq: u64) -> String {
    format!("{first_seq:020}.seg")
}

/// The file name of the level-0 hashes of that segment.
pub(crate) fn hashes_name(first_seq: u64) -> String {
    format!("{first_seq:020}.hashes")
}

/// The first sequence number in a segment's file name.
pub(crate) fn parse_segment_name(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".seg")?;
    (digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit())).then(|| digits.parse().ok())?
}

/// Cuts an id to what a header keeps, at a character's border.
pub(crate) fn cut_id(id: &str) -> String {
    id.get(..id.floor_char_boundary(ID_MAX)).unwrap_or_default().to_owned()
}

fn saturating_u32(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

fn seal_crc(bytes: &mut [u8]) {
    let crc = crc_of(bytes).to_le_bytes();
    if let Some(at) = bytes.get_mut(CRC_AT..CRC_AT + 4) {
        at.copy_from_slice(&crc);
    }
}

fn crc_holds(bytes: &[u8]) -> bool {
    bytes
        .get(CRC_AT..CRC_AT + 4)
        .is_some_and(|stored| stored == crc_of(bytes).to_le_bytes())
}

fn crc_of(bytes: &[u8]) -> u32 {
    let (before, after) = (
        bytes.get(..CRC_AT).unwrap_or_default(),
        bytes.get(CRC_AT + 4..).unwrap_or_default(),
    );
    crc32c::crc32c_append(crc32c::crc32c(before), after)
}

/// Little-endian fields, taken from the front.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(head)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }

    fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }
}

#[cfg(test)]
mod tests;
