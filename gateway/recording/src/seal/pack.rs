//! Packing: the plain bytes of a chunk as zstd frames (RFC 8878).
//!
//! What unpacks them is any zstd: several frames follow each other, and the last may be one that is skipped.

use std::io;

/// Level 1: recording must keep up with a tunnel, and terminals are small.
const LEVEL: i32 = 1;
/// The magic number of a frame that is skipped (RFC 8878 §3.1.2), and behind it the length of what is skipped.
const SKIPPED: [u8; 4] = 0x184d_2a50_u32.to_le_bytes();
const SKIPPED_HEADER: usize = 8;

pub(super) struct Packer {
    compressor: zstd::bulk::Compressor<'static>,
}

impl Packer {
    pub(super) fn new() -> io::Result<Self> {
        let compressor = zstd::bulk::Compressor::new(LEVEL)?;
        Ok(Self { compressor })
    }

    /// No packed bytes are more.
    pub(super) fn bound(plain: usize) -> usize {
        zstd::zstd_safe::compress_bound(plain)
    }

    /// Packs `plain` into the beginning of `into`; how many bytes it has become. None where it cannot be.
    pub(super) fn pack(&mut self, plain: &[u8], into: &mut [u8]) -> Option<usize> {
        self.compressor.compress_to_buffer(plain, into).ok()
    }
}

/// So many bytes at least [`fill`] takes to reach the next multiple of `block` from `length`; none where it stands there already.
pub(super) fn gap(length: u64, block: usize) -> usize {
    let block = u64::try_from(block).unwrap_or(1).max(1);
    let short = length
        .checked_next_multiple_of(block)
        .unwrap_or(length)
        .saturating_sub(length);
    let short = usize::try_from(short).unwrap_or_default();
    if (1..SKIPPED_HEADER).contains(&short) {
        short.saturating_add(usize::try_from(block).unwrap_or_default())
    } else {
        short
    }
}

/// Makes all of `into` one frame that is skipped. Into less than a frame's header nothing fits, as [`gap`] knows.
pub(super) fn fill(into: &mut [u8]) -> Option<()> {
    if into.is_empty() {
        return Some(());
    }
    let (header, skipped) = into.split_first_chunk_mut::<SKIPPED_HEADER>()?;
    let (magic, length) = header.split_first_chunk_mut::<4>()?;
    *magic = SKIPPED;
    length.copy_from_slice(&u32::try_from(skipped.len()).ok()?.to_le_bytes());
    skipped.fill(0);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_packed_and_filled_up_is_unpacked(plain in prop::collection::vec(any::<u8>(), 0..5000), start in 0..10_000_u64) {
            let mut room = vec![0xff; Packer::bound(plain.len()) + 2 * 4096];
            let packed = Packer::new().unwrap().pack(&plain, &mut room).unwrap();
            let gap = gap(start + packed as u64, 4096);
            prop_assert_eq!((start + packed as u64 + gap as u64) % 4096, 0);
            fill(&mut room[packed..packed + gap]).unwrap();
            prop_assert_eq!(zstd::bulk::decompress(&room[..packed + gap], plain.len()).unwrap(), plain);
        }
    }
}
