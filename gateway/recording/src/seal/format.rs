//! The bytes of a `.rec` file: its header, and the header of each sealed chunk.
//!
//! All numbers are little-endian. The headers are in the clear, so that a chain can be verified without the key; they are
//! authenticated as the chunk's associated data.

use aws_lc_rs::digest::{Context, SHA256};
use uuid::Uuid;

/// A file begins with it.
pub(crate) const MAGIC: [u8; 8] = *b"gsrec\r\n\x1a";
/// Version of the file's format.
pub(crate) const VERSION: u16 = 1;
/// zstd (RFC 8878) inside AES-256-GCM (NIST SP 800-38D).
pub(crate) const SUITE: u16 = 1;
/// Length of a file's header.
pub(crate) const FILE_HEADER: usize = 28;
/// Length of a chunk's header.
pub(crate) const CHUNK_HEADER: usize = 84;
/// Where the checksum stands in it; what is before is covered by all: checksum, hash and associated data.
pub(crate) const COVERED: usize = 80;
/// Length of the tag behind the sealed bytes, which counts among them.
pub(crate) const TAG: usize = 16;
/// The flag of the chunk that ends a recording.
const LAST: u32 = 1;

/// A SHA-256.
pub(crate) type Hash = [u8; 32];

/// The first bytes of a file: `magic 8 | version u16 | suite u16 | session 16`.
pub(crate) fn file_header(session: Uuid) -> [u8; FILE_HEADER] {
    let mut out = Vec::with_capacity(FILE_HEADER);
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&VERSION.to_le_bytes());
    out.extend_from_slice(&SUITE.to_le_bytes());
    out.extend_from_slice(session.as_bytes());
    fixed(&out)
}

/// The session of a file, where these are the first bytes of one that this release can read.
pub(crate) fn session_of(header: &[u8; FILE_HEADER]) -> Option<Uuid> {
    let session = Uuid::from_slice(header.get(12..)?).ok()?;
    (file_header(session) == *header).then_some(session)
}

/// What stands in front of a chunk's sealed bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ChunkHeader {
    /// Length of the sealed bytes with their tag.
    pub(crate) sealed: u32,
    /// Length of the plain bytes.
    pub(crate) plain: u32,
    pub(crate) number: u64,
    pub(crate) first_frame: u64,
    pub(crate) from_micros: u64,
    pub(crate) until_micros: u64,
    pub(crate) frames: u32,
    pub(crate) is_last: bool,
    /// Hash of the chunk before, or of the file's header.
    pub(crate) before: Hash,
    /// CRC-32C of what is covered and of the sealed bytes; tells a torn write from a forgery.
    pub(crate) check: u32,
}

impl ChunkHeader {
    /// What checksum, hash and tag cover.
    pub(crate) fn covered(&self) -> [u8; COVERED] {
        let mut out = Vec::with_capacity(COVERED);
        out.extend_from_slice(&self.sealed.to_le_bytes());
        out.extend_from_slice(&self.plain.to_le_bytes());
        for number in [self.number, self.first_frame, self.from_micros, self.until_micros] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(&self.frames.to_le_bytes());
        out.extend_from_slice(&u32::from(self.is_last).to_le_bytes());
        out.extend_from_slice(&self.before);
        fixed(&out)
    }

    /// Reads a header; none when its flags are of a later release.
    pub(crate) fn parse(bytes: &[u8; CHUNK_HEADER]) -> Option<Self> {
        let u32_at = |at: usize| Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
        let u64_at = |at: usize| Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
        let flags = u32_at(44)?;
        Some(Self {
            sealed: u32_at(0)?,
            plain: u32_at(4)?,
            number: u64_at(8)?,
            first_frame: u64_at(16)?,
            from_micros: u64_at(24)?,
            until_micros: u64_at(32)?,
            frames: u32_at(40)?,
            is_last: (flags <= LAST).then_some(flags == LAST)?,
            before: *bytes.get(48..)?.first_chunk()?,
            check: u32_at(80)?,
        })
    }
}

/// What the tag covers besides the sealed bytes: version, session, and the chunk's header with the hash of the chunk before.
pub(crate) fn associated(session: Uuid, covered: &[u8; COVERED]) -> Vec<u8> {
    let mut out = file_header(session).to_vec();
    out.extend_from_slice(covered);
    out
}

/// The nonce of a chunk. The key is of one session and its chunks have different numbers, so none comes twice.
pub(crate) fn nonce(number: u64) -> [u8; 12] {
    let mut out = [0; 12];
    if let Some(end) = out.last_chunk_mut::<8>() {
        *end = number.to_be_bytes();
    }
    out
}

/// The hash of a chunk: of the covered part of its header, in which the hash before stands, and of its sealed bytes.
pub(crate) fn chunk_hash(covered: &[u8; COVERED], sealed: &[u8]) -> Hash {
    let mut context = Context::new(&SHA256);
    context.update(covered);
    context.update(sealed);
    fixed(context.finish().as_ref())
}

/// The hash of a file's header, which the first chunk names as the one before.
pub(crate) fn header_hash(session: Uuid) -> Hash {
    fixed(aws_lc_rs::digest::digest(&SHA256, &file_header(session)).as_ref())
}

/// The checksum that tells a torn write from a forgery.
pub(crate) fn check(covered: &[u8; COVERED], sealed: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(covered), sealed)
}

/// The first `N` bytes; zeros where there are fewer.
fn fixed<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.first_chunk().copied().unwrap_or([0; N])
}
